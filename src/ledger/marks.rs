//! Marks on letters that are named by what a person answers or types, not by a recipient and a key (SPEC.md §7, §8).
//!
//! Who may say so, and whether a person wrote the answer, is the caller's to find out.

use async_trait::async_trait;

use super::{LedgerError, MarkError, Marked, StampId};
use crate::address::{Address, Domain};

/// Addresses of a letter's Reply-To that are remembered. Honest letters name one.
pub const REPLY_TO_MAX: usize = 4;
/// Recipients of one letter that an answer, or a Message-ID that was typed, can be about.
pub const NAMED_RECIPIENTS_MAX: usize = 100;
/// Letters of one Message-ID that are looked at for the one that is answered; who sends more shares it among strangers.
pub const SAME_ID_LETTERS_MAX: usize = 1_000;

/// A letter that a local user wrote to answer another.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Unix seconds.
    pub now: u64,
    /// [`message_id_hash`](super::message_id_hash) of what its In-Reply-To names first.
    pub message_id: [u8; 16],
    /// Who wrote it.
    pub author: Address,
    /// Every address of his login, `+detail` aside; the author's among them.
    pub own: Vec<Address>,
    /// Whom it goes to.
    pub recipients: Vec<Address>,
}

/// Marks by what a person answers or types.
#[async_trait]
pub trait Marks {
    /// Marks what a local user answers as wanted: the first letter of that Message-ID whose author, or an address in
    /// whose Reply-To, the answer goes to; one to the user's own addresses before one to somebody else's (a shared
    /// mailbox). Of a letter to several addresses of his, each. Its author comes to be known to the user too, if it
    /// authenticated as his. An address where mail to the user said to unsubscribe is no one's to answer.
    async fn mark_answered(&self, answered: Answered) -> Result<Vec<Marked>, LedgerError>;

    /// The recipient of the letter that this stamp paid for.
    async fn recipient_of_stamp(&self, office: Option<&Domain>, id: &StampId) -> Result<Address, MarkError>;

    /// The recipients of delivered letters with this Message-ID (the hash of [`message_id_hash`](super::message_id_hash)),
    /// each once, in the order of their letters; at most [`SAME_ID_LETTERS_MAX`].
    async fn recipients_of_message_id(&self, message_id: &[u8; 16]) -> Result<Vec<Address>, LedgerError>;

    /// Notes that mail by authenticated submission came through the gate.
    async fn note_submission(&self, now: u64) -> Result<(), LedgerError>;

    /// When [`Marks::note_submission`] was last called, in Unix seconds, and whether any letter was decided at all.
    async fn last_submission(&self) -> Result<(Option<u64>, bool), LedgerError>;
}
