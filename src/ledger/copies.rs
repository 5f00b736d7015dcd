//! Copies of users' letters that go apart: to those whom the others may not see, and to those whose stamps are being bought.
//!
//! They are made by [`Franking::frank`](super::franking::Franking::frank), in the commit that takes the stamps. What always
//! holds: a copy is durable before its recipient is taken off the letter in hand, and there until it was handed in or its
//! sender is told that it was not; it has one stamp at the most, and the same one however often it is tried.

use async_trait::async_trait;

use super::{
    LedgerError,
    franking::PurseStamp,
    outbox::{Attempt, NewMail},
};
use crate::{
    address::{Address, Domain},
    clock::DAY_S,
    message::dsn::Dsn,
};

/// Octets of a message of which copies are made. What mail providers take; it stands in the daemon's memory and in the
/// ledger's file.
pub const COPY_OCTETS_MAX: usize = 25 * 1_024 * 1_024;
/// Octets of all messages that are kept for copies: ten of the largest, thousands of the usual.
pub const COPIES_OCTETS_MAX: u64 = 256 * 1_024 * 1_024;
/// Octets of the disk that no copy takes: mail that is let in needs a kilobyte a letter, and without it all waits.
pub const DISK_LEFT_OCTETS: u64 = 128 * 1_024 * 1_024;
/// Copies that wait.
pub const COPIES_MAX: u64 = 10_000;
/// Of the copies and the octets that wait, one login's may be this part: a machine that was taken over does not keep
/// everybody else's from going.
pub const LOGIN_SHARE: u64 = 4;
/// A message of more octets than this goes when no smaller one is due: it takes seconds, and those behind it are many.
pub const LARGE_OCTETS: usize = 1_024 * 1_024;
/// Copies of one letter; who writes to more strangers at once sends them apart himself.
pub const COPIES_OF_LETTER_MAX: usize = 100;
/// A message is written in parts of so many octets, each in a commit of its own: mail that is let in meanwhile waits for
/// one part, not for all.
pub const PART_OCTETS: usize = 256 * 1_024;
/// How long a letter is known when it is sent again, in seconds: a mail program whose server failed after our answer tries
/// until somebody looks at it.
pub const LETTER_KEPT_S: u64 = DAY_S;
/// A message that was written and belongs to no letter after this was given up, in seconds.
pub const UNFINISHED_KEPT_S: u64 = 3_600;

/// A copy to hand in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Names it.
    pub seq: i64,
    /// Whose letter it is.
    pub login: String,
    /// The envelope's sender.
    pub sender: Vec<u8>,
    /// The author of the letter.
    pub author: Address,
    /// The one recipient.
    pub recipient: Address,
    /// The same, as the envelope had it.
    pub envelope: Vec<u8>,
    /// What the sender wants to hear of it.
    pub dsn: Dsn,
    /// His stamp.
    pub stamp: Option<PurseStamp>,
    /// The letter as it came.
    pub message: Vec<u8>,
    /// When it was queued, in Unix seconds.
    pub queued: u64,
}

/// What waits, for `farthing status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiesState {
    /// Copies that wait for a stamp.
    pub unstamped: u64,
    /// Copies to hand in.
    pub ready: u64,
    /// Octets of the messages.
    pub octets: u64,
    /// When the oldest was queued, in Unix seconds.
    pub oldest: Option<u64>,
    /// Why the last one was put off.
    pub last_error: Option<String>,
}

/// The queue of copies.
#[async_trait]
pub trait Copies {
    /// Keeps a message of which copies may be made, durably; returns its name, or `None` when it is longer than
    /// [`COPY_OCTETS_MAX`], too many wait, or the disk would be left less than [`DISK_LEFT_OCTETS`].
    async fn keep_message(&self, message: Vec<u8>, now: u64) -> Result<Option<i64>, LedgerError>;

    /// The copy that is due for longest, of a message beyond [`LARGE_OCTETS`] when no other is. One that has waited for its
    /// stamp for as long as it may is let go without, and what was counted for it is taken back.
    async fn copy_due(&self, now: u64) -> Result<Option<Copy>, LedgerError>;

    /// Lets the copies for this domain that wait for a stamp go: with what is in hand, else without. Returns how many go
    /// without.
    async fn copies_let_go(&self, audience: &Domain, now: u64) -> Result<usize, LedgerError>;

    /// Writes down what became of a copy. One that is given up goes in the commit that queues the mail that tells its sender;
    /// then the letter may be sent again.
    async fn copy_tried(
        &self,
        seq: i64,
        attempt: Attempt,
        bounce: Option<NewMail>,
        now: u64,
    ) -> Result<(), LedgerError>;

    /// When the next copy is due, in Unix seconds.
    async fn copies_next(&self) -> Result<Option<u64>, LedgerError>;

    /// Drops a little of what is kept and not needed any more; returns whether there is more.
    async fn copies_tidy(&self, now: u64) -> Result<bool, LedgerError>;

    /// What waits.
    async fn copies_state(&self) -> Result<CopiesState, LedgerError>;
}
