//! Stamps in the site's hand for the letters that its users send: bought ahead at other offices, put on within budgets.
//!
//! They are no money of these books: it left them, or another office's, when they were bought. What always holds: a stamp
//! is handed out once, durably, together with the count of what it cost its user's day and with the copies that go apart
//! ([`super::copies`]); an order is durable before it is sent, and stays until its stamps are here or it is known to be void.

use async_trait::async_trait;

use super::{LedgerError, StampId};
use crate::{
    address::{Address, Domain},
    clock::DAY_S,
    message::dsn::{LetterDsn, RecipientDsn},
    money::Micros,
};

/// A stamp with less time left than this, in seconds, is not put on a letter: it may wait in a queue for five days.
pub const LIFE_LEFT_MIN_S: u64 = 7 * DAY_S;
/// Stamps are kept for a domain for so long after it was last written to, in seconds.
pub const WANTED_FOR_S: u64 = 30 * DAY_S;
/// Stamps bought in one order.
pub const BOUGHT_AT_ONCE_MAX: u32 = 100;
/// Orders that nobody answered for so long are forgotten, in seconds: if they were done after all, the stamps expire unused
/// and the money is back on the account.
pub const ORDER_KEPT_S: u64 = 7 * DAY_S;
/// Octets of a login that are kept.
pub const LOGIN_OCTETS_MAX: usize = 255;

/// A stamp in hand. Its holder's key comes from the office and the id, by the secret of the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurseStamp {
    /// Who sold it.
    pub office: Domain,
    /// Its id.
    pub id: StampId,
    /// The selector of the key that signed it.
    pub selector: String,
    /// The domain it is for.
    pub audience: Domain,
    /// What it is worth.
    pub value: Micros,
    /// x, Unix seconds.
    pub expiry: u64,
    /// The office's signature.
    pub signature: [u8; 64],
}

/// A recipient of a letter whose domain wants stamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The offices whose stamps his domain takes; for all of a domain the same. Stamps of others that are in hand for it
    /// are thrown away.
    pub offices: Vec<Domain>,
    /// Who. Of a letter no two are the same.
    pub recipient: Address,
    /// The same, as the envelope has it.
    pub envelope: Vec<u8>,
    /// What his stamp must be worth at the least; for all of a domain the same.
    pub least: Micros,
    /// The others may not see him: his stamp goes on a copy of its own.
    pub apart: bool,
    /// Where no stamp is in hand he gets a copy that waits for one, at most so many seconds; `None`: he goes without.
    pub wait_s: Option<u64>,
    /// What the sender wants to hear of him.
    pub dsn: RecipientDsn,
}

/// Whether recipients can get copies of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// They cannot.
    Impossible,
    /// They can, once the message is kept ([`Copies::keep_message`](super::copies::Copies::keep_message)).
    Possible,
    /// The message is kept under this name.
    Kept(i64),
}

/// A letter of a local user that wants stamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingLetter {
    /// Whose it is.
    pub login: String,
    /// The same letter, sent again, has the same; no other has.
    pub key: [u8; 16],
    /// The envelope's sender, as it came.
    pub sender: Vec<u8>,
    /// What he wants to hear of it.
    pub dsn: LetterDsn,
    /// The author.
    pub author: Address,
    /// Recipients whose domains want stamps.
    pub wishes: Vec<Wish>,
    /// Whether copies can be made.
    pub copying: Copying,
}

/// What may be put on letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// On one letter.
    pub per_letter: Micros,
    /// On the letters of one login in a UTC day.
    pub per_user: Micros,
    /// On all letters in a UTC day.
    pub per_day: Micros,
    /// The login pays, from the account of its own ([`logins`](super::logins)).
    pub by_login: bool,
}

/// Which budget a letter goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// That of one letter.
    Letter,
    /// That of its user.
    User,
    /// That of the site.
    Site,
    /// What its login's own account holds.
    Account,
}

/// What a recipient got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A stamp on the letter itself.
    Stamp(PurseStamp),
    /// A copy of his own, which is queued: he gets it, with a stamp or at last without.
    Copy,
    /// Nothing.
    Nothing,
}

/// What became of the stamps of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// For each wish, in order: stamps are out of the purse and counted, copies are queued.
    Given(Vec<Given>),
    /// Copies are needed, and the message is not kept yet; nothing was taken.
    Keep,
    /// Recipients in these domains would have to wait, and no copies can be made; nothing was taken.
    Lacking(Vec<Domain>),
    /// They would cost too much; nothing was taken. `first`: the first time that day for that user, or the site.
    Over {
        /// Which budget.
        which: Over,
        /// Somebody should hear of it.
        first: bool,
    },
}

/// Stamps to buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The domain.
    pub audience: Domain,
    /// How many, at least 1.
    pub count: u32,
    /// What it asked when somebody last wrote to it, and so what was counted for those who wait.
    pub price: Micros,
}

/// Stamps ordered and not yet here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurseOrder {
    /// Names it; 0 before it is kept.
    pub seq: i64,
    /// Where.
    pub office: Domain,
    /// For which domain.
    pub audience: Domain,
    /// Of each stamp.
    pub value: Micros,
    /// The ids, chosen at random.
    pub ids: Vec<StampId>,
    /// When, in Unix seconds.
    pub time: u64,
}

/// What is in hand for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InHand {
    /// The domain.
    pub audience: Domain,
    /// Stamps that can go on a letter.
    pub count: u64,
    /// Their value.
    pub value: Micros,
}

/// How the purse stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purse {
    /// Stamps in hand, by domain.
    pub in_hand: Vec<InHand>,
    /// What was put on letters today (UTC), by login; the empty one is all together.
    pub spent: Vec<(String, Micros)>,
    /// Domains that were written to in the last day and for which nothing is in hand that would do, nor ordered.
    pub lacking: Vec<Domain>,
}

/// The purse.
#[async_trait]
pub trait Franking {
    /// Takes the stamps that a letter needs and are there, queues the copies of it, counts what all that costs, and notes
    /// for which domains stamps are wanted, in one commit. Stamps are bought for the letters of a login until these have
    /// spent its day's budget, or had so much bought that they did not use; then letters go with what is in hand. Of the
    /// same letter sent again within [`LETTER_KEPT_S`](super::copies::LETTER_KEPT_S) nothing is taken or queued twice: each
    /// recipient gets what he got.
    async fn frank(&self, letter: OutgoingLetter, budget: Budget, now: u64) -> Result<Taken, LedgerError>;

    /// What is to be bought so that `ahead` stamps are in hand for each domain written to lately, but no more than letters
    /// there have asked for: after the first one, one. And one for each copy that waits, and as many as the last letter
    /// lacked. Orders that were not answered do not count: send those again first. Lets go what expired, and what is known of
    /// old days.
    async fn purse_needs(&self, ahead: u32, now: u64) -> Result<Vec<Need>, LedgerError>;

    /// Keeps an order, before it is sent, and counts what it costs; returns its name. `None`, and nothing is kept, when the
    /// orders of its UTC day would cost more than `per_day`.
    async fn purse_order(&self, order: PurseOrder, per_day: Micros) -> Result<Option<i64>, LedgerError>;

    /// Orders that were not answered.
    async fn purse_orders(&self) -> Result<Vec<PurseOrder>, LedgerError>;

    /// An order has brought these stamps, or is void when it has brought none: it goes in the same commit. Copies that wait
    /// for such stamps get theirs, the oldest first.
    async fn purse_filled(&self, order: i64, stamps: Vec<PurseStamp>, now: u64) -> Result<(), LedgerError>;

    /// How the purse stands.
    async fn purse(&self, now: u64) -> Result<Purse, LedgerError>;
}
