//! What local users sent: whom they come to know by it, and which letters answer it (DESIGN.md "The verdict" rows 1, 6).
//!
//! Whether a letter was really sent by its author, and by a person, is the caller's to find out.

use crate::{
    address::{Address, Domain},
    clock::DAY_S,
};

/// How long an answer to a letter comes in by its Message-ID, in seconds.
pub const ANSWERS_WINDOW_S: u64 = 60 * DAY_S;
/// Recipients of a letter beyond which its Message-ID is no secret among correspondents, and answers pay.
pub const SENT_RECIPIENTS_MAX: usize = 10;
/// Letters and bounces let in for one Message-ID, whoever sends them; later ones must come from where it went.
pub const ANSWERS_MAX: u32 = 5;
/// How long an address named by a List-Unsubscribe is remembered, in seconds: nobody unsubscribes from older mail.
pub const UNSUBSCRIBE_KEPT_S: u64 = 365 * DAY_S;

/// How long it is remembered where a list takes letters after its last one, in seconds: longer than any quiet list's pause.
pub const LIST_ADDRESS_KEPT_S: u64 = 365 * DAY_S;

/// A letter that a local user sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Unix seconds.
    pub now: u64,
    /// Who wrote it.
    pub author: Address,
    /// Everybody it goes to but the author.
    pub recipients: Vec<Address>,
    /// [`message_id_hash`](super::message_id_hash) of its Message-ID, if it has one.
    pub message_id: Option<[u8; 16]>,
}

/// A sent letter that others may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answerable {
    /// Of its Message-ID.
    pub message_id: [u8; 16],
    /// The domains it went to.
    pub domains: Vec<Domain>,
    /// [`ANSWERS_MAX`] answers have come: the next must be authenticated, and from where it [went](Self::went_to).
    pub used_up: bool,
}

impl Answerable {
    /// Whether it went to this domain, or to another of the same organisation: who is asked at shop.example may answer
    /// from desk.shop.example.
    #[must_use]
    pub fn went_to(&self, domain: &Domain) -> bool {
        self.domains.iter().any(|to| to.is_of_organisation(domain))
    }
}

/// What a letter claims to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answering {
    /// [`Answerable::message_id`] of what the recipient sent.
    pub message_id: [u8; 16],
    /// The author's domain, when the letter authenticated as its.
    pub from: Option<Domain>,
}
