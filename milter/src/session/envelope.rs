//! Which recipients a message has, as far as it matters: a verdict must not delete them all.
//!
//! Keeps a number for each in place of the address, so that a message to thousands costs little.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::address::EnvelopeAddress;
use crate::modification::Modification;

/// Recipients kept track of, a count; beyond it a message is taken to keep some whatever is deleted. Ten times
/// what Postfix and Sendmail take by default.
const MAX_TRACKED: usize = 10_000;

/// The recipients of the message in hand.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    taken: Vec<u64>,
    asked: Option<u64>,
    untracked: bool,
}

impl Envelope {
    /// A recipient was offered.
    pub(super) fn ask(&mut self, recipient: EnvelopeAddress<'_>) {
        self.asked = Some(fingerprint(recipient.bytes()));
    }

    /// Whether the handler took the recipient that was offered last.
    pub(super) fn settle(&mut self, taken: bool) {
        match self.asked.take() {
            Some(recipient) if taken && self.taken.len() < MAX_TRACKED => self.taken.push(recipient),
            Some(_) if taken => self.untracked = true,
            _ => {}
        }
    }

    /// The message is over.
    pub(super) fn clear(&mut self) {
        self.taken.clear();
        self.asked = None;
        self.untracked = false;
    }

    /// Whether these changes would leave the message without a recipient.
    pub(super) fn is_emptied_by(&self, modifications: &[Modification]) -> bool {
        let adds = modifications.iter().any(|change| matches!(change, Modification::AddRecipient(..)));
        let deleted: Vec<u64> = modifications
            .iter()
            .filter_map(|change| match change {
                Modification::DeleteRecipient(address) => Some(fingerprint(address.bytes())),
                _ => None,
            })
            .collect();
        !adds
            && !self.untracked
            && !deleted.is_empty()
            && self.taken.iter().all(|recipient| deleted.contains(recipient))
    }
}

/// The same for the same address in any case: an MTA may find `Bob@b.example` when asked to delete `bob@b.example`.
fn fingerprint(address: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for byte in address {
        byte.to_ascii_lowercase().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{EsmtpArgs, Mailbox};

    fn delete(addresses: &[&str]) -> Vec<Modification> {
        addresses
            .iter()
            .map(|address| Modification::DeleteRecipient(Mailbox::new(address).unwrap()))
            .collect()
    }

    fn envelope(addresses: &[&str]) -> Envelope {
        let mut envelope = Envelope::default();
        for address in addresses {
            envelope.ask(EnvelopeAddress::new(address.as_bytes()));
            envelope.settle(true);
        }
        envelope
    }

    #[test]
    fn pitfall_22_deleting_the_last_recipient_is_noticed() {
        for (taken, deleted, emptied) in [
            (&["<bob@b.example>"][..], &["bob@b.example"][..], true),
            (&["<bob@b.example>"], &["BOB@b.example"], true),
            (&["<bob@b.example>", "<eve@b.example>"], &["bob@b.example"], false),
            (&["<bob@b.example>", "<eve@b.example>"], &["eve@b.example", "bob@b.example"], true),
            (&["<bob@b.example>", "<bob@b.example>"], &["bob@b.example"], true),
            (&["<bob@b.example>"], &["eve@b.example"], false),
            (&["<bob@b.example>"], &[], false),
        ] {
            assert_eq!(
                envelope(taken).is_emptied_by(&delete(deleted)),
                emptied,
                "{taken:?} less {deleted:?}"
            );
        }
    }

    #[test]
    fn pitfall_22_an_added_recipient_may_take_the_place_of_the_last() {
        let mut changes = delete(&["bob@b.example"]);
        changes.push(Modification::AddRecipient(Mailbox::new("eve@b.example").unwrap(), EsmtpArgs::none()));
        assert!(!envelope(&["<bob@b.example>"]).is_emptied_by(&changes));
    }

    #[test]
    fn a_recipient_that_was_refused_does_not_count() {
        let mut envelope = envelope(&["<bob@b.example>"]);
        envelope.ask(EnvelopeAddress::new(b"<eve@b.example>"));
        envelope.settle(false);
        envelope.settle(true);
        envelope.ask(EnvelopeAddress::new(b"<kim@b.example>"));
        assert!(envelope.is_emptied_by(&delete(&["bob@b.example"])));
        envelope.clear();
        assert!(envelope.is_emptied_by(&delete(&["bob@b.example"])), "nobody left is nobody left");
    }
}
