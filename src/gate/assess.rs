//! What is known of a letter before the ledger is asked: who may have sent it, what it offers.
//!
//! The book is read first; DNS is asked only where its answer could change the verdict, or on a letter that a
//! stamp would pay for (what a later `wanted` may teach). Trouble is kept as trouble: it is no "no".

use std::time::{Duration, Instant};

use super::{
    Site,
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
    },
    policy::{self, Authenticated, Decision, Facts, Postage},
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
}

/// How far the letter's sender has been looked into.
enum Identity {
    /// Nothing hangs on it, or it is not looked into here.
    NotAsked,
    /// SPF shows it.
    Spf,
    /// Only a signature can still show it (or SPF, when it has not been asked), once the body is there.
    Later(Box<Inquiry>),
    /// That is the answer.
    Found(Authenticated),
}

/// All that is known of a letter.
pub struct Assessment {
    /// Unix seconds; the letter is judged as of then.
    pub now: u64,
    /// The author, if there is exactly one.
    pub author: Option<Address>,
    /// One for each recipient of ours, in their order.
    pub parties: Vec<Party>,
    /// The book could not be read.
    pub ledger_trouble: bool,
    begun: Instant,
    identity: Identity,
}

impl Assessment {
    /// Reads the header, the book, and checks the stamps' signatures.
    pub async fn of(site: &Site, letter: &Letter, ledger: &dyn Ledger, now: u64) -> Self {
        let gate = &site.config.gate;
        let from: Vec<&[u8]> = letter.values("From").collect();
        let author = crate::message::author(&from);
        let own_domain = author.as_ref().is_some_and(|author| gate.guards(author.domain()));
        let offered = Offered::read(|name| letter.values(name), gate.work_bits > 0);
        let several = letter.recipients.len() > 1;
        let senders: Vec<Sender> = author
            .iter()
            .flat_map(|author| [Sender::Address(author.clone()), Sender::Domain(author.domain().clone())])
            .collect();
        let mut assessment = Self {
            now,
            author,
            parties: vec![],
            ledger_trouble: false,
            begun: Instant::now(),
            identity: Identity::NotAsked,
        };
        for recipient in &letter.recipients {
            let mut facts = Facts { exempt: recipient.role, own_domain, ..Facts::default() };
            let mut postage = ForRecipient::default();
            let mut freepost = None;
            if !recipient.role {
                facts.book = assessment.book(ledger, &recipient.address, &senders).await;
                freepost = assessment.freepost(site, ledger, &recipient.address).await;
                facts.freepost = freepost.is_some();
                let asked = Asked {
                    recipient: &recipient.address,
                    author: assessment.author.as_ref(),
                    currency: site.config.ledger.currency,
                    price: site.price(),
                    now,
                };
                postage = offered.for_recipient(&asked, several, gate.work_bits);
            }
            assessment.parties.push(Party { address: recipient.address.clone(), facts, freepost, postage });
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
        if gate.mode != Mode::Require || self.ledger_trouble {
            return None;
        }
        let certain = |party: &Party| {
            party.facts.exempt
                || !policy::identity_matters(&party.facts)
                    && !party.postage.has_candidates()
                    && !party.postage.key_trouble
        };
        if !self.parties.iter().all(certain) {
            return None;
        }
        let settled = Settled::without_ledger(self, site);
        matches!(settled.decision, Decision::Refuse(_)).then_some(settled)
    }

    /// Asks SPF, if the letter's identity matters at all, and if DNS has not been waited for long already: then SPF is
    /// asked when the letter is complete, where the MTA can be asked for patience.
    pub async fn ask_spf(mut self, site: &Site, envelope: Envelope) -> Self {
        let matters = self.parties.iter().any(|party| {
            policy::identity_matters(&party.facts) || !party.facts.exempt && party.postage.has_good()
        });
        if let (true, Some(author)) =
            (matters && site.config.identity.check == IdentityCheck::Verify, &self.author)
        {
            let mut inquiry = Inquiry::new(site.dns.clone(), envelope);
            let late = self.begun.elapsed() > HEADER_PATIENCE;
            self.identity = match late {
                false if matches!(inquiry.by_spf(author.domain()).await, Step::Aligned(_)) => Identity::Spf,
                _ => Identity::Later(Box::new(inquiry)),
            };
        }
        self
    }

    /// Whether the digest will be needed: only a letter with postage of its own can be redeemed or be a retry.
    #[must_use]
    pub fn needs_digest(&self) -> bool {
        self.parties.iter().any(|party| party.postage.has_candidates())
    }

    /// Whether the whole message will be needed: a signature could still speak for the author.
    #[must_use]
    pub fn needs_body(&self, letter: &Letter) -> bool {
        match (&self.identity, &self.author) {
            (Identity::Later(_), Some(author)) => {
                letter.values("DKIM-Signature").any(|value| dkim::may_speak_for(value, author.domain()))
            }
            _ => false,
        }
    }

    /// Finds out the rest of who sent it, now that the body is there.
    pub async fn authenticate(mut self, letter: &mut Letter) -> Self {
        let found = match (self.identity, &self.author) {
            (Identity::NotAsked, _) | (Identity::Later(_), None) => Authenticated::No,
            (Identity::Spf, _) => Authenticated::Yes,
            (Identity::Found(found), _) => found,
            (Identity::Later(mut inquiry), Some(author)) => {
                by_dkim(&mut inquiry, author.domain(), letter).await
            }
        };
        self.identity = Identity::Found(found);
        self.parties.iter_mut().for_each(|party| party.facts.authenticated = found);
        self
    }

    /// Whether the letter is from its author, as far as it was asked.
    #[must_use]
    pub const fn authenticated(&self) -> Authenticated {
        match self.identity {
            Identity::Found(found) => found,
            Identity::Spf => Authenticated::Yes,
            _ => Authenticated::No,
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

async fn by_dkim(inquiry: &mut Inquiry, author: &Domain, letter: &mut Letter) -> Authenticated {
    let message = match letter.take_message() {
        Ok(message) => Some(message),
        // The daemon holds too much mail just now; it may be looked into later.
        Err(Kept::NoRoom) => return Authenticated::Trouble,
        Err(Kept::All | Kept::TooLong) => None,
    };
    let octets = message.as_ref().map_or(&b""[..], |message| &message.octets);
    match inquiry.by_dkim(author, &dkim::Letter::from_message(octets)).await {
        Authentication::Aligned(_) => Authenticated::Yes,
        Authentication::Not(_) => Authenticated::No,
        Authentication::Trouble(why) => {
            tracing::warn!(%author, why, "cannot tell now who sent it");
            Authenticated::Trouble
        }
    }
}

impl Party {
    /// What the offered postage is worth before the ledger was asked, for one with nothing to ask it about.
    #[must_use]
    pub fn postage_without_ledger(&self) -> Postage {
        if self.postage.key_trouble {
            return Postage::Trouble;
        }
        self.postage.word(&[]).map_or(Postage::None, Postage::Bad)
    }
}
