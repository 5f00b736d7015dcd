//! Who sent a letter: asked in the cheapest order, and only where the answer could change a verdict.

use std::time::Duration;

use super::{Assessment, Party};
use crate::{
    address::{Address, Domain},
    config::IdentityCheck,
    gate::{
        Site,
        client::Client,
        letter::{Kept, Letter},
        told,
    },
    identity::{Authentication, Inquiry, Step, dkim, spf::Envelope},
    ledger::{Ledger, message_id_hash},
    policy::{self, Authenticated},
};

/// Waiting for offices' keys at the end of the header after which SPF is left for the end of the message. The two waits
/// together would be longer than an MTA waits there (Sendmail: 10 s).
const HEADER_PATIENCE: Duration = Duration::from_secs(2);

/// How far it has been looked into whether a domain stands behind the letter.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Behind {
    /// Nothing hangs on it, or it is not looked into here.
    #[default]
    NotAsked,
    /// Only a signature can still show it (or SPF, when it has not been asked), once the body is there.
    AskLater,
    /// That is the answer.
    Found(Authenticated),
}

impl Behind {
    pub(super) const fn found(self) -> Authenticated {
        match self {
            Self::Found(found) => found,
            Self::NotAsked | Self::AskLater => Authenticated::No,
        }
    }
}

impl Assessment {
    /// Asks SPF, if it matters at all who sent the letter, and if DNS has not been waited for long already: then it is
    /// asked when the letter is complete, where the MTA can be asked for patience. Or reads what a trusted server says.
    pub async fn ask_spf(mut self, site: &Site, letter: &Letter, client: &Client) -> Self {
        let good = |party: &Party| !party.facts.exempt && party.postage.has_good();
        let ask_author = self.parties.iter().any(|p| policy::author_matters(&p.facts) || good(p));
        let ask_list = self.parties.iter().any(|p| policy::list_matters(&p.facts) || good(p));
        let author = self.author.as_ref().map(Address::domain).filter(|_| ask_author);
        let list = self.list.as_ref().filter(|_| ask_list);
        if author.is_none() && list.is_none() {
            return self;
        }
        match site.config.identity.check {
            IdentityCheck::None => {}
            IdentityCheck::Results => {
                let heard = told::told(&site.config.identity.trusted, letter, client.relays_passed);
                self.by_author = author.map_or(Behind::NotAsked, |a| Behind::Found(heard.of_author(a)));
                self.by_list = list.map_or(Behind::NotAsked, |l| Behind::Found(heard.of_list(l)));
            }
            IdentityCheck::Verify => {
                let envelope = Envelope::new(client.ip, &client.helo, &letter.mail_from);
                let mut inquiry = Inquiry::new(site.dns.clone(), envelope);
                let late = self.begun.elapsed() > HEADER_PATIENCE;
                let by = |step: Step| match step {
                    Step::Aligned(_) => Behind::Found(Authenticated::Yes),
                    Step::AskDkim => Behind::AskLater,
                };
                if let Some(author) = author {
                    self.by_author = if late { Behind::AskLater } else { by(inquiry.by_spf(author).await) };
                }
                if let Some(list) = list {
                    self.by_list = if late { Behind::AskLater } else { by(inquiry.list_by_spf(list).await) };
                }
                self.inquiry = Some(Box::new(inquiry));
            }
        }
        self
    }

    /// Whether the whole message will be needed: a signature could still speak for the author or the list.
    #[must_use]
    pub fn needs_body(&self, letter: &Letter) -> bool {
        let by = |behind: Behind, domain: Option<&Domain>| {
            behind == Behind::AskLater
                && domain.is_some_and(|domain| {
                    letter.values("DKIM-Signature").any(|value| dkim::may_speak_for(value, domain))
                })
        };
        by(self.by_author, self.author.as_ref().map(Address::domain)) || by(self.by_list, self.list.as_ref())
    }

    /// Finds out the rest of who sent it, and what it returns, now that the body is there.
    pub async fn authenticate(
        mut self,
        site: &Site,
        letter: &mut Letter,
        client: &Client,
        ledger: &dyn Ledger,
    ) -> Self {
        let returned: Vec<[u8; 16]> = letter.take_returned().iter().map(|id| message_id_hash(id)).collect();
        self.look_up_answered(ledger, &returned).await;
        if !returned.is_empty() && self.by_author == Behind::NotAsked {
            self = self.ask_spf(site, letter, client).await;
        }
        if let Some(mut inquiry) = self.inquiry.take()
            && (self.by_author == Behind::AskLater || self.by_list == Behind::AskLater)
        {
            self.by_dkim(&mut inquiry, letter).await;
        }
        for party in &mut self.parties {
            party.facts.authenticated = self.by_author.found();
            party.facts.list_authenticated = self.by_list.found();
        }
        self
    }

    async fn by_dkim(&mut self, inquiry: &mut Inquiry, letter: &mut Letter) {
        let message = match letter.take_message() {
            Ok(message) => Some(message),
            // The daemon holds too much mail just now; it may be looked into later.
            Err(Kept::NoRoom) => {
                for behind in [&mut self.by_author, &mut self.by_list] {
                    if *behind == Behind::AskLater {
                        *behind = Behind::Found(Authenticated::Trouble);
                    }
                }
                return;
            }
            Err(Kept::All | Kept::TooLong) => None,
        };
        let octets = message.as_ref().map_or(&b""[..], |message| &message.octets);
        let whole = dkim::Letter::from_message(octets);
        if let (Behind::AskLater, Some(author)) = (self.by_author, &self.author) {
            self.by_author = Behind::Found(heard(inquiry.by_dkim(author.domain(), &whole).await));
        }
        if let (Behind::AskLater, Some(list)) = (self.by_list, &self.list) {
            self.by_list = Behind::Found(heard(inquiry.list_by_dkim(list, &whole).await));
        }
    }

    /// Whether the letter is from its author, as far as it was asked.
    #[must_use]
    pub const fn authenticated(&self) -> Authenticated {
        self.by_author.found()
    }

    /// The list the letter is really from.
    #[must_use]
    pub fn authentic_list(&self) -> Option<&Domain> {
        self.list.as_ref().filter(|_| self.by_list.found() == Authenticated::Yes)
    }
}

fn heard(found: Authentication) -> Authenticated {
    match found {
        Authentication::Aligned(_) => Authenticated::Yes,
        Authentication::Not(_) => Authenticated::No,
        Authentication::Trouble(why) => {
            tracing::warn!(why, "cannot tell now who sent it");
            Authenticated::Trouble
        }
    }
}
