//! Recipients of one message that differ: one SMTP reply is all that a message gets, so those who are likely to be
//! treated unlike the first are deferred at RCPT, and the sending server brings them in a transaction of their own.
//!
//! Only where SPF has passed for the envelope sender: else anyone could ask, in anyone's name, whom Bob knows.

use std::net::IpAddr;

use super::{Site, assess::genuine_freepost, letter::Recipient};
use crate::{
    address::Address,
    clock::unix_now,
    config::{IdentityCheck, Mixed, Mode},
    identity::{
        Inquiry,
        spf::{Envelope, SpfResult},
    },
    ledger::{
        Ledger,
        book::{Known, Sender},
    },
};

/// How a letter from the envelope's sender is likely to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likely {
    Exempt,
    Freepost,
    Book(Known),
}

/// What decides whether recipients are split.
pub struct Splitter {
    sender: Option<Address>,
    inquiry: Inquiry,
    first: Option<Recipient>,
    /// How the first is likely to be treated, once a second has come: most letters have one recipient.
    first_likely: Option<Likely>,
    /// The answer of SPF, once it was asked.
    passed: Option<bool>,
}

impl Splitter {
    /// For a message from this envelope; `None` where recipients are not split.
    pub fn new(site: &Site, ip: Option<IpAddr>, helo: &[u8], mail_from: &[u8]) -> Option<Self> {
        let gate = &site.config.gate;
        let wanted = gate.mixed == Mixed::Split
            && gate.mode != Mode::Observe
            && site.config.identity.check == IdentityCheck::Verify;
        wanted.then(|| Self {
            // An address rewritten by somebody else, SRS or not, stays what it is: SPF has passed for its domain alone.
            sender: Address::parse(mail_from).ok().map(|sender| sender.without_tag()),
            inquiry: Inquiry::new(site.dns.clone(), Envelope::new(ip, helo, mail_from)),
            first: None,
            first_likely: None,
            passed: None,
        })
    }

    /// Whether this recipient is better brought separately. The first one of ours never is.
    pub async fn differs(&mut self, site: &Site, recipient: &Recipient, ledger: &dyn Ledger) -> bool {
        let Some(first) = self.first.clone() else {
            self.first = Some(recipient.clone());
            return false;
        };
        if self.first_likely.is_none() {
            self.first_likely = self.likely(site, &first, ledger).await;
        }
        match (self.first_likely, self.likely(site, recipient, ledger).await) {
            (Some(first), Some(likely)) => first != likely && self.spf_passed().await,
            _ => false,
        }
    }

    /// `None` when the book cannot be read: then nobody is split for it.
    async fn likely(&self, site: &Site, recipient: &Recipient, ledger: &dyn Ledger) -> Option<Likely> {
        if recipient.role {
            return Some(Likely::Exempt);
        }
        if genuine_freepost(site, &recipient.address, unix_now()).is_some() {
            return Some(Likely::Freepost);
        }
        let Some(sender) = &self.sender else { return Some(Likely::Book(Known::Unknown)) };
        let names = Sender::names_of_author(sender);
        ledger.known(&recipient.address.without_detail(), &names).await.ok().map(Likely::Book)
    }

    async fn spf_passed(&mut self) -> bool {
        if self.passed.is_none() {
            self.passed = Some(self.inquiry.spf().await.result == SpfResult::Pass);
        }
        self.passed == Some(true)
    }
}
