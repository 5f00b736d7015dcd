//! What recipients set for themselves, and what they can look back at: the letters of strangers (SPEC.md §7, §8).
//!
//! Settings are those of the recipient's owner ([`super::owners`]), whichever of his addresses is given. Whether a price may be asked
//! is the caller's to find out (`[gate] max_price`); the ledger keeps what it is told.

use async_trait::async_trait;

use super::{LedgerError, Mark, StampId};
use crate::{
    address::{Address, Domain},
    money::Micros,
};

/// Letters of one sender marked in one transaction: few enough that no other letter waits for them.
pub const MARKED_AT_ONCE_MAX: u32 = 500;
/// Letters of strangers told at once; of more, the oldest are left out.
pub const STRANGERS_MAX: u32 = 10_000;

/// A price of a recipient's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnPrice {
    /// What strangers pay; more than nothing.
    pub value: Micros,
    /// Told to whoever asks the office; else strangers hear the site's.
    pub public: bool,
}

/// How often a recipient gets a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cadence {
    /// Never.
    #[default]
    Off,
    /// Once a day.
    Daily,
    /// Once a week.
    Weekly,
}

impl Cadence {
    /// The word in commands and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
        }
    }

    /// The cadence that word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Off, Self::Daily, Self::Weekly].into_iter().find(|cadence| cadence.as_str() == word)
    }
}

/// All that a recipient has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnSettings {
    /// `None`: the site's price.
    pub price: Option<OwnPrice>,
    /// Off unless asked for.
    pub digest: Cadence,
    /// When the last digest was made, or when digests were asked for; Unix seconds. `None`: never.
    pub digest_sent: Option<u64>,
}

/// A letter of a stranger, as it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrangerLetter {
    /// Unix seconds.
    pub time: u64,
    /// The envelope's recipient, `+detail` and all.
    pub recipient: Address,
    /// The author, if there is exactly one.
    pub author: Option<Address>,
    /// Whether the letter authenticated as its author's.
    pub authenticated: bool,
    /// `paid`, `work`, `unpaid` or `invalid`.
    pub result: String,
    /// The word of SPEC.md §3 for `invalid`; else empty.
    pub reason: String,
    /// Whether it was let in.
    pub delivered: bool,
    /// What was paid, when a stamp was.
    pub postage: Option<PaidPostage>,
}

/// The postage of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidPostage {
    /// The redemption number, for tokens.
    pub number: u64,
    /// What was redeemed.
    pub value: Micros,
    /// The office that sold the stamp.
    pub office: Domain,
    /// The stamp.
    pub id: StampId,
    /// What has become of it.
    pub state: PostageState,
}

/// What has become of postage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostageState {
    /// In escrow: it can still be given back.
    Waiting,
    /// Likewise, and the recipient said that the letter was unwanted.
    Unwanted,
    /// Given back.
    Refunded,
    /// The refund window is over.
    Final,
}

/// What a mark on a sender did (SPEC.md §8 `wanted ADDRESS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkedSender {
    /// Paid letters that the mark changed: refunded, or newly unwanted.
    pub letters: u64,
    /// What went back.
    pub refunded: Micros,
    /// The sender is known to the recipient now, by this mark or otherwise.
    pub known: bool,
}

/// Recipients' own settings.
#[async_trait]
pub trait Settings {
    /// What a recipient has set.
    async fn settings(&self, owner: &Address) -> Result<OwnSettings, LedgerError>;

    /// Everybody who has set something, in order of their addresses.
    async fn all_settings(&self) -> Result<Vec<(Address, OwnSettings)>, LedgerError>;

    /// Sets a recipient's own price, or goes back to the site's.
    async fn set_price(&self, owner: &Address, price: Option<OwnPrice>) -> Result<(), LedgerError>;

    /// Sets how often a recipient gets a digest. The first is due one cadence from now: asking twice changes nothing.
    async fn set_digest(&self, owner: &Address, digest: Cadence, now: u64) -> Result<(), LedgerError>;

    /// Every recipient who gets digests, with what they have set, in order of their addresses.
    async fn digest_owners(&self) -> Result<Vec<(Address, OwnSettings)>, LedgerError>;

    /// Notes that a digest is made, if the last one was made when `last` says; else false, for somebody else was
    /// faster.
    async fn digest_made(&self, owner: &Address, last: Option<u64>, now: u64) -> Result<bool, LedgerError>;

    /// Letters of strangers to this recipient (whatever the `+detail`), newest first: at most `count_max` of them, and
    /// [`STRANGERS_MAX`]; each paid letter once, its retries aside. Bounded in age as decisions are
    /// ([`DECISIONS_KEPT_S`](super::tally::DECISIONS_KEPT_S)).
    async fn strangers(
        &self,
        recipient: &Address,
        since: u64,
        count_max: u32,
    ) -> Result<Vec<StrangerLetter>, LedgerError>;

    /// The letter that was let in under this redemption number, as long as the redemption is kept.
    async fn paid_letter(&self, number: u64) -> Result<Option<StrangerLetter>, LedgerError>;

    /// Marks all mail inside the refund window that authenticated as this author's and was paid to this recipient
    /// (whatever the `+detail`), and makes the sender known or unknown; a block stays. At most
    /// [`MARKED_AT_ONCE_MAX`] letters a transaction: when one fails, what was done before stays done, and the same
    /// again does the rest.
    async fn mark_sender(
        &self,
        recipient: &Address,
        author: &Address,
        mark: Mark,
        now: u64,
    ) -> Result<MarkedSender, LedgerError>;
}
