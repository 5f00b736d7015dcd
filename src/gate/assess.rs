//! What is known of a letter before the ledger is asked: who may have sent it, what it offers.
//!
//! The book is read first; DNS is asked only where its answer could change the verdict, or on a letter that a
//! stamp would pay for (what a later `wanted` may teach). Trouble is kept as trouble: it is no "no".

use std::time::{Duration, Instant};

use super::{
    Site,
    client::Client,
    learn::is_null_sender,
    letter::{Kept, Letter},
    postage::{ForRecipient, Offered},
    settle::Settled,
};
use crate::{
    address::{Address, Domain},
    config::{IdentityCheck, Mode},
    identity::{Authentication, Inquiry, Step, dkim, spf::Envelope},
    ledger::{
        Ledger,
        book::{Known, Sender},
        message_id_hash,
        passes::Pass,
    },
    message::{self, robot::is_report, thread::first_message_id},
    policy::{self, Answers, Authenticated, Decision, Facts, Postage},
    stamp::{Asked, CancelledStamp, PublicKey, Word, check::signed, freepost::Freepost},
};

/// Waiting for offices' keys at the end of the header after which SPF is left for the end of the message. The two waits
/// together would be longer than an MTA waits there (Sendmail: 10 s).
const HEADER_PATIENCE: Duration = Duration::from_secs(2);

/// What is known for one recipient.
pub struct Party {
    /// The recipient.
    pub address: Address,
    /// For the verdict.
    pub facts: Facts,
    /// The freepost address it is, if it is a valid one.
    pub freepost: Option<Freepost>,
    /// What was offered for him.
    pub postage: ForRecipient,
    /// What he sent, by its Message-ID, and the letter answers or returns.
    pub answering: Option<[u8; 16]>,
    /// What the author the letter names has got on the page for letters to him.
    pub passes: Vec<Pass>,
}

/// How far it has been looked into whether a domain stands behind the letter.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Behind {
    /// Nothing hangs on it, or it is not looked into here.
    #[default]
    NotAsked,
    /// Only a signature can still show it (or SPF, when it has not been asked), once the body is there.
    AskLater,
    /// That is the answer.
    Found(Authenticated),
}

impl Behind {
    const fn found(self) -> Authenticated {
        match self {
            Self::Found(found) => found,
            Self::NotAsked | Self::AskLater => Authenticated::No,
        }
    }
}

/// All that is known of a letter.
pub struct Assessment {
    /// Unix seconds; the letter is judged as of then.
    pub now: u64,
    /// The author, if there is exactly one.
    pub author: Option<Address>,
    /// The list it names, if it names one.
    pub list: Option<Domain>,
    /// One for each recipient of ours, in their order.
    pub parties: Vec<Party>,
    /// The book could not be read.
    pub ledger_trouble: bool,
    begun: Instant,
    /// A bounce or another report: what it returns stands in its body.
    awaits_return: bool,
    inquiry: Option<Box<Inquiry>>,
    by_author: Behind,
    by_list: Behind,
}

impl Assessment {
    /// Reads the header, the book, and checks the stamps' signatures.
    pub async fn of(site: &Site, letter: &Letter, ledger: &dyn Ledger, now: u64) -> Self {
        let gate = &site.config.gate;
        let from: Vec<&[u8]> = letter.values("From").collect();
        let author = message::author(&from);
        let own_domain = author.as_ref().is_some_and(|author| gate.guards(author.domain()));
        let offered = Offered::read(|name| letter.values(name), gate.work_bits > 0);
        let several = letter.recipients.len() > 1;
        let senders: Vec<Sender> = author
            .iter()
            .flat_map(|author| [Sender::Address(author.clone()), Sender::Domain(author.domain().clone())])
            .collect();
        let list = message::list::list_id(&letter.values("List-Id").collect::<Vec<_>>());
        let list_names: Vec<Sender> = list.iter().flat_map(|id| Sender::names_of_list(id.as_str())).collect();
        let answered: Vec<[u8; 16]> =
            letter.values("In-Reply-To").take(1).filter_map(first_message_id).map(message_id_hash).collect();
        let mut assessment = Self {
            now,
            author,
            list,
            parties: vec![],
            ledger_trouble: false,
            begun: Instant::now(),
            awaits_return: is_null_sender(&letter.mail_from) || is_report(|name| letter.values(name)),
            inquiry: None,
            by_author: Behind::NotAsked,
            by_list: Behind::NotAsked,
        };
        for recipient in &letter.recipients {
            let mut facts = Facts { exempt: recipient.role, own_domain, ..Facts::default() };
            let mut postage = ForRecipient::default();
            let mut freepost = None;
            if !recipient.role {
                facts.book = assessment.book(ledger, &recipient.address, &senders).await;
                freepost = assessment.freepost(site, ledger, &recipient.address).await;
                facts.freepost = freepost.is_some();
                facts.list = assessment.book(ledger, &recipient.address, &list_names).await;
                let asked = Asked {
                    recipient: &recipient.address,
                    author: assessment.author.as_ref(),
                    currency: site.config.ledger.currency,
                    price: site.price(),
                    now,
                };
                postage = offered.for_recipient(&asked, several, gate.work_bits);
            }
            let address = recipient.address.clone();
            assessment.parties.push(Party {
                address,
                facts,
                freepost,
                postage,
                answering: None,
                passes: vec![],
            });
        }
        assessment.look_up_answered(ledger, &answered).await;
        if site.config.identity.check != IdentityCheck::None {
            assessment.look_up_passes(ledger).await;
        }
        assessment.check_signatures(site).await;
        assessment
    }

    async fn book(&mut self, ledger: &dyn Ledger, recipient: &Address, senders: &[Sender]) -> Known {
        if senders.is_empty() || self.ledger_trouble {
            return Known::Unknown;
        }
        match ledger.known(&recipient.without_detail(), senders).await {
            Ok(known) => known,
            Err(error) => {
                // The ledger logs its trouble itself, once and not for every letter.
                tracing::debug!(%error, "the book of known senders cannot be read");
                self.ledger_trouble = true;
                Known::Unknown
            }
        }
    }

    /// The freepost address this is, if the site made it and nobody revoked it.
    async fn freepost(&mut self, site: &Site, ledger: &dyn Ledger, recipient: &Address) -> Option<Freepost> {
        let freepost = genuine_freepost(site, recipient, self.now)?;
        match ledger.freepost_revoked(freepost.owner(), freepost.label()).await {
            Ok(revoked) => (!revoked).then_some(freepost),
            Err(error) => {
                tracing::error!(%error, "freepost addresses cannot be read");
                self.ledger_trouble = true;
                None
            }
        }
    }

    /// Looks whether the recipients sent what the letter claims to answer or to return.
    async fn look_up_answered(&mut self, ledger: &dyn Ledger, message_ids: &[[u8; 16]]) {
        if message_ids.is_empty() {
            return;
        }
        let from = self.author.as_ref().map(Address::domain);
        for party in &mut self.parties {
            if party.facts.exempt || party.answering.is_some() || self.ledger_trouble {
                continue;
            }
            match ledger.answerable(&party.address, message_ids, self.now).await {
                Ok(None) => {}
                Ok(Some(sent)) => {
                    party.facts.answers = if !sent.used_up {
                        Answers::Yes
                    } else if from.is_some_and(|from| sent.domains.contains(from)) {
                        Answers::IfAuthentic
                    } else {
                        Answers::IfRetry
                    };
                    party.answering = Some(sent.message_id);
                }
                Err(error) => {
                    tracing::error!(%error, "what was sent cannot be looked up");
                    self.ledger_trouble = true;
                }
            }
        }
    }

    /// Looks for passes of the author, for recipients who would refuse him otherwise. One read a letter.
    async fn look_up_passes(&mut self, ledger: &dyn Ledger) {
        let Some(author) = self.author.clone().filter(|_| !self.ledger_trouble) else { return };
        let asks = |party: &&mut Party| {
            let facts = &party.facts;
            let could_help = facts.book == Known::Unknown && facts.answers != Answers::Yes;
            could_help && !facts.exempt && !facts.freepost && !facts.own_domain
        };
        let mut parties: Vec<&mut Party> = self.parties.iter_mut().filter(asks).collect();
        if parties.is_empty() {
            return;
        }
        let recipients: Vec<Address> = parties.iter().map(|party| party.address.clone()).collect();
        match ledger.passes(&author, &recipients, self.now).await {
            Ok(all) => {
                for (party, passes) in parties.iter_mut().zip(all) {
                    party.facts.pass = !passes.is_empty();
                    party.passes = passes;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "passes cannot be looked up");
                self.ledger_trouble = true;
            }
        }
    }

    /// Checks office and signatures of every stamp that is in order otherwise: forged ones never reach the ledger.
    async fn check_signatures(&mut self, site: &Site) {
        let own_office = site.config.office.as_ref().map(|office| &office.domain);
        let accepted = site.config.accepted_offices();
        let mut foreign = site.discovery.keys();
        for party in &mut self.parties {
            for bound in party.postage.stamps.iter_mut().filter(|bound| bound.word.is_none()) {
                let terms = &bound.stamp.stamp.terms;
                let word = if !accepted.contains(&terms.office) {
                    Some(Word::UnknownIssuer)
                } else if own_office == Some(&terms.office) {
                    // Known from its files, without DNS.
                    signed_by(&bound.stamp, site.keys.of(&terms.selector).map(|key| &key.public))
                } else {
                    match foreign.key(&terms.office, &terms.selector).await {
                        Ok(key) => signed_by(&bound.stamp, key.as_ref()),
                        Err(error) => {
                            tracing::warn!(%error, "an office's key cannot be looked up");
                            party.postage.key_trouble = true;
                            Some(Word::UnknownIssuer)
                        }
                    }
                };
                bound.word = word;
            }
        }
    }

    /// The refusal, if nothing that could still be found out would change it: no body, no DNS, no ledger needed.
    #[must_use]
    pub fn certain_refusal(&self, site: &Site) -> Option<Settled> {
        let gate = &site.config.gate;
        if gate.mode != Mode::Require || self.ledger_trouble || self.awaits_return {
            return None;
        }
        let certain = |party: &Party| {
            party.facts.exempt
                || !policy::may_be_known(&party.facts)
                    && !party.postage.has_candidates()
                    && !party.postage.key_trouble
        };
        if !self.parties.iter().all(certain) {
            return None;
        }
        let settled = Settled::without_ledger(self, site);
        matches!(settled.decision, Decision::Refuse(_)).then_some(settled)
    }

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
                let told = super::told::told(&site.config.identity.trusted, letter, client.relays_passed);
                self.by_author = author.map_or(Behind::NotAsked, |a| Behind::Found(told.of_author(a)));
                self.by_list = list.map_or(Behind::NotAsked, |l| Behind::Found(told.of_list(l)));
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

    /// Whether the digest will be needed: only a letter that is redeemed for, or counted, can be a retry.
    #[must_use]
    pub fn needs_digest(&self) -> bool {
        self.awaits_return || self.parties.iter().any(|party| party.asks_ledger() || party.facts.pass)
    }

    /// Whether the body has to be looked through for what the letter returns.
    #[must_use]
    pub fn awaits_return(&self) -> bool {
        self.awaits_return && self.parties.iter().any(|p| !p.facts.exempt && p.answering.is_none())
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
        if self.by_author.found() == Authenticated::Yes {
            self.bring_passes(site);
        }
        self
    }

    /// Counts the passes as postage of the letter: its author is who got them.
    fn bring_passes(&mut self, site: &Site) {
        for party in &mut self.parties {
            let asked = Asked {
                recipient: &party.address,
                author: self.author.as_ref(),
                currency: site.config.ledger.currency,
                price: site.price(),
                now: self.now,
            };
            party.postage.add_passes(&party.passes, &asked);
        }
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

/// The freepost address this is, if the site made it and its time is not over; it may have been revoked.
pub fn genuine_freepost(site: &Site, recipient: &Address, now: u64) -> Option<Freepost> {
    Freepost::parse(recipient)
        .filter(|freepost| !freepost.has_expired(now) && freepost.is_genuine(&site.keys.tokens))
}

fn signed_by(stamp: &CancelledStamp, key: Option<&PublicKey>) -> Option<Word> {
    key.map_or(Some(Word::UnknownIssuer), |key| signed(stamp, key).err())
}

impl Party {
    /// Whether the ledger has a word to say: about postage that could pay or be a retry's, or about an answer to count.
    #[must_use]
    pub fn asks_ledger(&self) -> bool {
        self.postage.has_candidates() || self.facts.answers != Answers::No
    }

    /// What the offered postage is worth before the ledger was asked, for one with nothing to ask it about.
    #[must_use]
    pub fn postage_without_ledger(&self) -> Postage {
        if self.postage.key_trouble {
            return Postage::Trouble;
        }
        self.postage.word(&[]).map_or(Postage::None, Postage::Bad)
    }
}
