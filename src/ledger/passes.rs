//! Passes: what a refused sender has got on the page that the refusal names (SPEC.md §10, `/p/ADDRESS`).
//!
//! A pass lets in one letter from one author to one recipient, once the author is authenticated; the gate looks
//! for it only where the letter would be refused otherwise. A bought pass is a stamp, cancelled for exactly these
//! two, that the office keeps for the sender instead of the letter bringing it: it is redeemed, retried and given
//! back as any stamp. A pass worked for is used up as work is, but does not count among a reader's letters by work
//! of a day. What always holds: no pass is used for two letters, and none is used unless the letter is let in.

use async_trait::async_trait;

use super::{LedgerError, StampCandidate, StampId, WorkCandidate};
use crate::{address::Address, clock::DAY_S};

/// How long a pass waits for its letter, in seconds (SPEC.md §10).
pub const PASS_LIFETIME_S: u64 = 7 * DAY_S;
/// Passes kept of one author to one recipient, used ones included: someone who writes ten letters a day to one reader
/// who never answers. The gate reads them all.
pub const PASSES_OF_A_PAIR_MAX: u32 = 100;
/// Passes for one address (`+detail` or not) that are worked for in a UTC day. More strangers than this a person does not
/// hear from; a farm of machines that works all day long is worth stopping, and money is still taken.
pub const WORKED_PASSES_DAILY_MAX: u32 = 50;

/// How a pass was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// By a stamp that the office sold: the value of the field `Postage-Stamp`.
    Stamp(Vec<u8>),
    /// By work.
    Work,
}

/// A pass to be made.
#[derive(Clone, Debug)]
pub struct NewPass {
    /// Unix seconds.
    pub now: u64,
    /// From whom a letter is let in.
    pub author: Address,
    /// To whom; the envelope's address.
    pub recipient: Address,
    /// What it was got by.
    pub got: Got,
}

/// What a new pass was got by. The caller has checked it, but for what the ledger knows.
#[derive(Clone, Debug)]
pub enum Got {
    /// A stamp for these two, and its field's value.
    Stamp(StampCandidate, Vec<u8>),
    /// The solution of a challenge of this id.
    Work(StampId),
}

impl Got {
    /// What names the pass among those of its author and recipient.
    #[must_use]
    pub const fn id(&self) -> &StampId {
        match self {
            Self::Stamp(stamp, _) => &stamp.key.id,
            Self::Work(id) => id,
        }
    }
}

/// What became of a new pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassMade {
    /// It waits for its letter until then, in Unix seconds. The same answer to the same pass again.
    Until(u64),
    /// The office has not sold that stamp.
    Unsold,
    /// The stamp paid for a letter already.
    Spent,
    /// [`PASSES_OF_A_PAIR_MAX`] are there.
    TooMany,
    /// [`WORKED_PASSES_DAILY_MAX`] were worked for today.
    TooManyToday,
}

/// A pass as it is kept; whether it was used the ledger says when it is redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Names it.
    pub id: StampId,
    /// Unix seconds.
    pub expires: u64,
    /// How it was got.
    pub means: Means,
}

impl Pass {
    /// As the work that the ledger uses up: good until the pass expires, and not one of the reader's few a day.
    #[must_use]
    pub fn work(&self, now: u64) -> WorkCandidate {
        let day = u32::try_from(self.expires / DAY_S).unwrap_or(u32::MAX);
        WorkCandidate { id: self.id, day, good: now <= self.expires, counts: false }
    }
}

/// The passes of the books.
#[async_trait]
pub trait Passes {
    /// Makes a pass; the same again changes nothing.
    async fn pass_add(&self, pass: NewPass) -> Result<PassMade, LedgerError>;

    /// The passes from this author to this recipient, oldest first; expired ones as long as a letter they let in may be
    /// sent again.
    async fn passes(&self, author: &Address, recipient: &Address, now: u64)
    -> Result<Vec<Pass>, LedgerError>;
}
