//! Who sent a letter: asked in the cheapest order, and only where the answer could change a verdict.

use std::time::Duration;

use super::{Assessment, Party, forwarded::Through};
use crate::{
    address::{Address, Domain},
    config::IdentityCheck,
    gate::{
        Site,
        client::Client,
        letter::{Kept, Letter},
        told,
    },
    identity::{Authentication, Inquiry, Means, Step, dkim, spf::Envelope},
    ledger::{Ledger, message_id_hash},
    policy::{self, Authenticated},
};

/// Waiting for offices' keys at the end of the header after which SPF is left for the end of the message. The two waits
/// together would be longer than an MTA waits there (Sendmail: 10 s).
const HEADER_PATIENCE: Duration = Duration::from_secs(2);

/// How far it has been looked into whether a domain stands behind the letter.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::gate) enum Behind {
    /// Nothing hangs on it, or it is not looked into here.
    #[default]
    NotAsked,
    /// Only a signature can still show it (or SPF, when it has not been asked), once the body is there.
    AskLater,
    /// That is the answer.
    Found(Authenticated),
}

impl Behind {
    pub(in crate::gate) const fn found(self) -> Authenticated {
        match self {
            Self::Found(found) => found,
            Self::NotAsked | Self::AskLater => Authenticated::No,
        }
    }
}

impl Assessment {
    /// Asks SPF, if it matters at all who sent the letter, and if DNS has not been waited for long already: then it is
    /// asked when the letter is complete, where the MTA can be asked for patience. Or reads what a trusted server says.
    pub(super) async fn ask_spf(
        mut self,
        site: &Site,
        letter: &Letter,
        client: &Client,
        ledger: &dyn Ledger,
    ) -> Self {
        let author = self.author.as_ref().map(Address::domain);
        let author = author.filter(|_| self.parties.iter().any(Party::asks_author));
        let list = self.list.as_ref().filter(|_| self.parties.iter().any(Party::asks_list));
        if author.is_none() && list.is_none() {
            return self;
        }
        match site.config.identity.check {
            IdentityCheck::None => {}
            IdentityCheck::Results => {
                let heard = told::told(&site.config.identity.trusted, letter, client.relays_passed);
                self.by_author = author.map_or(Behind::NotAsked, |a| Behind::Found(heard.of_author(a)));
                self.by_list = list.map_or(Behind::NotAsked, |l| Behind::Found(heard.of_list(l)));
                // Of lists they say nothing but what SPF says.
                self.list_by_spf = self.by_list.found() == Authenticated::Yes;
                self.words.author = author.map(|author| heard.words(author));
                self.words.list = list.map(|list| heard.words(list));
            }
            IdentityCheck::Verify => {
                let envelope = Envelope::new(client.ip, &client.helo, &letter.mail_from);
                let mut inquiry = Inquiry::new(site.dns.clone(), envelope);
                let late = self.begun.elapsed() > HEADER_PATIENCE;
                let by = |step: Step| match step {
                    Step::Aligned(proof) => (Behind::Found(Authenticated::Yes), Some(proof.to_string())),
                    Step::AskDkim => (Behind::AskLater, None),
                };
                let later = (Behind::AskLater, None);
                if let Some(author) = author {
                    let found = if late { later.clone() } else { by(inquiry.by_spf(author).await) };
                    (self.by_author, self.words.author) = found;
                }
                if let Some(list) = list {
                    let found = if late { later } else { by(inquiry.list_by_spf(list).await) };
                    (self.by_list, self.words.list) = found;
                    self.list_by_spf = self.by_list.found() == Authenticated::Yes;
                }
                self.inquiry = Some(Box::new(inquiry));
                if self.asks_later() {
                    self.allow_sealers(site, letter, ledger).await;
                }
            }
        }
        self
    }

    /// Whether the whole message will be needed: a signature could still speak for the author or the list, or a seal.
    pub(super) fn needs_body(&self, letter: &Letter) -> bool {
        let by = |behind: Behind, domain: Option<&Domain>| {
            behind == Behind::AskLater
                && domain.is_some_and(|domain| {
                    letter.values("DKIM-Signature").any(|value| dkim::may_speak_for(value, domain))
                })
        };
        by(self.by_author, self.author.as_ref().map(Address::domain))
            || by(self.by_list, self.list.as_ref())
            || self.parties.iter().any(|party| party.sealers > 0)
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
            self = self.ask_spf(site, letter, client, ledger).await;
        }
        let inquiry = self.inquiry.take().filter(|_| self.asks_later());
        let message = inquiry.as_ref().map(|_| letter.take_message());
        let whole = match &message {
            Some(Ok(message)) => Some(dkim::Letter::from_message(&message.octets)),
            // The daemon holds too much mail just now; it may be looked into later.
            Some(Err(Kept::NoRoom)) => None,
            _ => Some(dkim::Letter::from_message(b"")),
        };
        let mut inquiry = inquiry;
        if let Some(inquiry) = &mut inquiry {
            self.by_dkim(inquiry, whole.as_ref()).await;
        }
        for party in &mut self.parties {
            party.facts.authenticated = self.by_author.found();
            party.facts.list_authenticated = match self.by_list.found() {
                _ if !party.asks_list() => Authenticated::No,
                Authenticated::Yes if party.list_by_address && !self.list_by_spf => Authenticated::No,
                found => found,
            };
        }
        if let Some(inquiry) = inquiry {
            let through = Through { site, letter, client, whole };
            self.by_forwarder(*inquiry, through, ledger).await;
        }
        self.bring_passes(site);
        self
    }

    fn asks_later(&self) -> bool {
        self.by_author == Behind::AskLater || self.by_list == Behind::AskLater
    }

    async fn by_dkim(&mut self, inquiry: &mut Inquiry, whole: Option<&dkim::Letter<'_>>) {
        let Some(whole) = whole else {
            let words = [&mut self.words.author, &mut self.words.list];
            for (behind, words) in [&mut self.by_author, &mut self.by_list].into_iter().zip(words) {
                if *behind == Behind::AskLater {
                    *behind = Behind::Found(Authenticated::Trouble);
                    *words = Some("too much mail is held just now to check its signatures".into());
                }
            }
            return;
        };
        if let (Behind::AskLater, Some(author)) = (self.by_author, &self.author) {
            let found = inquiry.by_dkim(author.domain(), whole).await;
            self.words.author = Some(found.to_string());
            self.by_author = Behind::Found(heard(found));
        }
        if let (Behind::AskLater, Some(list)) = (self.by_list, &self.list) {
            let found = inquiry.list_by_dkim(list, whole).await;
            self.list_by_spf = matches!(&found, Authentication::Aligned(proof) if proof.means == Means::Spf);
            self.words.list = Some(found.to_string());
            self.by_list = Behind::Found(heard(found));
        }
    }
}

impl Party {
    /// Whether it matters for him who the author is.
    pub(super) fn asks_author(&self) -> bool {
        policy::author_matters(&self.facts) || self.may_teach()
    }

    /// Whether it matters for him which list the letter is from.
    pub(super) fn asks_list(&self) -> bool {
        policy::list_matters(&self.facts) || self.may_teach()
    }

    /// A letter that is let in from a stranger may teach, when it is wanted, who its sender is.
    fn may_teach(&self) -> bool {
        // A stamp too cheap by what is asked in silence is looked into like one that pays: DNS would tell else.
        let may_pay = self.postage.has_good() || self.postage.is_priced_out();
        !self.facts.exempt && (may_pay || self.lets_strangers_in && !self.facts.freepost)
    }
}

pub(super) fn heard(found: Authentication) -> Authenticated {
    match found {
        Authentication::Aligned(_) => Authenticated::Yes,
        Authentication::Not(_) => Authenticated::No,
        Authentication::Trouble(why) => {
            tracing::warn!(why, "cannot tell now who sent it");
            Authenticated::Trouble
        }
    }
}
