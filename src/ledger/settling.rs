//! The end of postage: kept or burned when nobody wanted it back in time, given back when its stamp was never used, and
//! dropped from the books when nobody can ask for it any more (SPEC.md §7, DESIGN.md "The books").
//!
//! Everything is done in small steps, each a transaction of its own; a step that was broken off is done again, one that
//! was done has nothing left to do. What always holds: postage is settled or refunded, never both; money that leaves
//! `escrow` or `stamps` does so by an entry in the audit chain; what is dropped lives on in the sums of the accounts.

use async_trait::async_trait;

use super::{LedgerError, tally::Money};
use crate::{address::Domain, clock::DAY_S};

/// Redemptions looked at in one step: a read of some milliseconds and one entry a mail domain.
pub const SETTLED_AT_ONCE_MAX: u32 = 1_000;
/// Orders ended in one step; each is an entry.
pub const CLOSED_AT_ONCE_MAX: u32 = 100;
/// Rows dropped in one step, roughly (a batch goes as a whole): some milliseconds of a commit that mail waits for.
pub const DROPPED_AT_ONCE_MAX: u64 = 500;
/// How long after expiry unused stamps go back, in seconds: the clock of no host of the site may still take them.
pub const RETURN_AFTER_S: u64 = DAY_S;
/// How long after expiry stamps for foreign domains are given up, in seconds. Whether they were used only those domains
/// know; what they want refunded they say by then (expiry, their refund window, and time to tell).
pub const FOREIGN_AFTER_S: u64 = 90 * DAY_S;
/// Every row is kept at least so long, in seconds, for reports and for accounts that look back: as decisions are.
pub const HISTORY_KEPT_S: u64 = super::tally::DECISIONS_KEPT_S;
/// How far the settling clock follows the wall clock in one pass, either way, in seconds. A clock that is set ahead by
/// mistake ends the time for refunds of a day's postage a pass and no more; after a long stop the passes catch up.
pub const CLOCK_STEP_S: u64 = DAY_S;

/// What becomes of postage that was not wanted back (`[ledger] keep`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The site's, in the account `kept`.
    Treasury,
    /// Nobody's, in the account `burned`.
    Burn,
}

/// By what is settled.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Unix seconds; stands in the entries.
    pub now: u64,
    /// The settling clock ([`Settling::settling_clock`]); never ahead of `now`. What is due is due by it.
    pub clock: u64,
    /// Where the money goes.
    pub keep: Keep,
    /// The domains whose stamps this ledger alone redeems.
    pub domains: Vec<Domain>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Redemptions that were kept or burned.
    pub settled: Money,
    /// Unused stamps that went back to their buyers.
    pub returned: Money,
    /// Stamps for foreign domains that were kept or burned.
    pub given_up: Money,
    /// Rows dropped: movements of money, and what was remembered beside them.
    pub dropped: u64,
    /// There may be more to do at once.
    pub more: bool,
}

impl Done {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            settled: self.settled.and(other.settled),
            returned: self.returned.and(other.returned),
            given_up: self.given_up.and(other.given_up),
            dropped: self.dropped.saturating_add(other.dropped),
            more: self.more || other.more,
        }
    }
}

/// What is due and not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Redemptions whose refund window is over; counted to [`LAG_COUNTED_MAX`].
    pub unsettled: u64,
    /// Orders whose stamps have expired, and are to be given back or given up; likewise.
    pub unreturned: u64,
    /// Since when the oldest of them is due, in Unix seconds.
    pub oldest: Option<u64>,
    /// The settling clock, in Unix seconds; `None` before the first pass.
    pub clock: Option<u64>,
}

/// Where counting what is due ends: beyond it the number says enough.
pub const LAG_COUNTED_MAX: u64 = 100_000;

/// The end of postage.
#[async_trait]
pub trait Settling {
    /// Moves the settling clock towards `now`, by [`CLOCK_STEP_S`] at most, and says where it stands: never ahead of
    /// `now`. It begins where the newest movement in the books is. Called once a pass.
    async fn settling_clock(&self, now: u64) -> Result<u64, LedgerError>;

    /// Settles, gives back and drops some of what is due.
    async fn settle(&self, terms: Terms) -> Result<Done, LedgerError>;

    /// What is due and not done.
    async fn lag(&self, terms: &Terms) -> Result<Lag, LedgerError>;
}
