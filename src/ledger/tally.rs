//! What really happened: decisions counted, for the report. Letters to several recipients count once for each.

use crate::{address::Address, clock::DAY_S, money::Micros};

/// Decisions are kept for so long, in seconds; then they go, a few with each batch. A mark by Message-ID reaches as
/// far back: twice the usual refund window.
pub const DECISIONS_KEPT_S: u64 = 60 * DAY_S;
/// Senders in a tally; of more, those with the fewest letters are left out.
pub const TALLY_SENDERS_MAX: usize = 10_000;

/// Decisions of a UTC day with one result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCount {
    /// Days since 1970.
    pub day: u64,
    /// The result word.
    pub result: String,
    /// Whether they were let in.
    pub delivered: bool,
    /// How many.
    pub letters: u64,
}

/// Decisions about one sender with one result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderCount {
    /// The author; `None` for letters that had not exactly one, and for a list's.
    pub author: Option<Address>,
    /// The List-Id, of letters that were proven to be a list's, whoever wrote them.
    pub list: Option<String>,
    /// To whom, if all of them went to one recipient.
    pub recipient: Option<Address>,
    /// The result word.
    pub result: String,
    /// The word of SPEC.md §3 for `invalid`, of the newest; else empty.
    pub reason: String,
    /// How many.
    pub letters: u64,
}

/// Movements of money of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub value: Micros,
}

impl Money {
    /// Both together; a sum beyond what an amount can be is the greatest amount.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let value = self.value.checked_add(other.value).or_else(|| Micros::from_signed(i64::MAX));
        Self { count: self.count.saturating_add(other.count), value: value.unwrap_or_default() }
    }
}

/// All of it, since some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By day and result.
    pub days: Vec<DayCount>,
    /// By sender and result, most letters first.
    pub senders: Vec<SenderCount>,
    /// Stamps redeemed.
    pub paid: Money,
    /// Postage given back.
    pub refunded: Money,
}
