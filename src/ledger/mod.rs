//! The books: what was sold, redeemed and given back, and who is known to whom.
//!
//! This module holds the types and the trait; an engine (SQLite in `sqlite`) carries them out. What always
//! holds, whatever the engine (DESIGN.md "The books"):
//!
//! - every movement of money is a balanced transfer of a positive number of micros;
//! - a stamp, named by (expiry day, office, id), is redeemed at most once: the unique key does it;
//! - an answer is given only after the commit that makes it true has returned;
//! - balances never go below zero but for `funding:*`, `grants` and `office:*`.

use std::fmt;

use async_trait::async_trait;

use crate::{
    address::{Address, Domain},
    clock::DAY_S,
    money::{Currency, Micros},
};

pub mod book;
mod carried;
mod chain;
mod check;
pub mod copies;
pub mod dossier;
pub mod duty;
pub mod foreign;
pub mod foresee;
pub mod franking;
pub mod freepost;
pub mod funding;
pub mod logins;
pub mod marks;
pub mod outbox;
pub mod owners;
pub mod passes;
pub mod sent;
pub mod settings;
pub mod settling;
pub mod sqlite;
pub mod tally;
pub mod zone;

use book::{BookEntry, Known, NewEntry, Sender};
use foreign::Foreign;
use freepost::{Label, NewLabel};
use funding::Funding;
use marks::Marks;
use outbox::Outbox;
use owners::Owners;
use passes::Passes;
use sent::{Answerable, Answering, Sent};
use settings::Settings;
use settling::Settling;
use tally::Tally;

/// A letter refused for double spending is a retry of the same letter for so long after the first, in seconds (SPEC.md §3).
pub const RETRY_WINDOW_S: u64 = 6 * DAY_S;
/// Free retries of one letter a UTC day (SPEC.md §3).
pub const RETRIES_DAILY_MAX: u32 = 10;
/// How long a decision may wait for company before it is written, in milliseconds.
pub const DECISION_DELAY_MS: u64 = 250;
/// Stamps in one order (SPEC.md §10).
pub const ORDER_STAMPS_MAX: usize = 1_000;

/// An account is an Ed25519 public key: who signs with it owns it (SPEC.md §1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey(pub [u8; 32]);

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account:{self}")
    }
}

/// The 16 bytes a buyer chose for a stamp (SPEC.md §3 `id`).
pub type StampId = [u8; 16];

/// What makes a stamp one of a kind: it can be redeemed once. All three are in the signed bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StampKey {
    /// The UTC day of expiry: x / 86,400.
    pub day: u32,
    /// The post office.
    pub office: Domain,
    /// The id.
    pub id: StampId,
}

/// Why a stamp or a hashcash stamp may not be redeemed afresh; a retry of an earlier letter still counts.
pub type Fault = &'static str;

/// A stamp of the letter that is bound to this recipient and this author, whatever else may be wrong with it.
#[derive(Clone, Debug)]
pub struct StampCandidate {
    /// Names the stamp.
    pub key: StampKey,
    /// Its value; what moves when it is redeemed.
    pub value: Micros,
    /// The office's signature `b`. Of our own office the ledger must have sold exactly this.
    pub signature: [u8; 64],
    /// First 16 bytes of BLAKE3(stamp bytes || b): a retry brings the very same stamp.
    pub fingerprint: [u8; 16],
    /// False when a check other than the ledger's failed: then only a retry can count.
    pub good: bool,
    /// The value of its field, for a stamp of another office: what that office is shown when the postage goes back.
    /// Without it nothing is reported.
    pub field: Option<Box<str>>,
}

/// A hashcash stamp for this recipient (SPEC.md §4), or a pass worked for ([`passes`]).
#[derive(Clone, Debug)]
pub struct WorkCandidate {
    /// First 16 bytes of BLAKE3 of the stamp's text, resource lower-cased.
    pub id: [u8; 16],
    /// The UTC day after which it can no longer be valid: date + 28 days.
    pub day: u32,
    /// False when a check failed: then only a retry can count.
    pub good: bool,
    /// Whether it is one of the recipient's few letters by work of a day; a pass is not.
    pub counts: bool,
}

/// What one recipient of a letter could be paid with.
#[derive(Clone, Debug)]
pub struct Want {
    /// The envelope's recipient.
    pub recipient: Address,
    /// What the letter claims to answer, if the recipient sent it; looked at before anything else, and free.
    pub answering: Option<Answering>,
    /// In the order of the message's fields.
    pub stamps: Vec<StampCandidate>,
    /// In the order of the message's fields; looked at when no stamp pays.
    pub work: Vec<WorkCandidate>,
}

/// One letter that asks to be let in by postage, for all its recipients that need some.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Unix seconds.
    pub now: u64,
    /// The letter's digest (SPEC.md §3).
    pub digest: [u8; 32],
    /// The author, if the letter has one.
    pub author: Option<Address>,
    /// Whether the letter authenticated as its author's: what a later `wanted` may teach.
    pub authenticated: bool,
    /// What each recipient could be paid with.
    pub wants: Vec<Want>,
    /// Redeem nothing unless every want is paid: the letter would be refused, and a refused letter costs nothing.
    pub all_or_nothing: bool,
    /// Letters a UTC day that work lets in for one recipient; retries do not count.
    pub work_daily_max: u32,
    /// What another office may owe for its stamps; one that would owe more is not redeemed.
    pub office_cap: Micros,
}

/// What became of one want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stamp `index` of the want paid (or had paid, when `retry`), under this redemption number.
    Stamp {
        /// Index into `Want::stamps`.
        index: usize,
        /// The redemption number, drawn at random; tokens carry it.
        number: u64,
        /// The same letter had been let in before, at no new charge.
        retry: bool,
    },
    /// Hashcash stamp `index` of the want did.
    Work {
        /// Index into `Want::work`.
        index: usize,
        /// The same letter had been let in before.
        retry: bool,
    },
    /// It answers, or returns, what the recipient sent ([`sent`]).
    Answer,
    /// Nothing pays: for each stamp what the ledger says of it.
    Unpaid {
        /// One for each of `Want::stamps`.
        stamps: Vec<Ledgered>,
        /// Work would have been enough, but today's letters by work are used up: try again tomorrow (451).
        work_used_up: bool,
        /// Work would have paid, but another recipient of the letter had nothing that pays.
        work_untouched: bool,
    },
    /// A retry beyond [`RETRIES_DAILY_MAX`]: try again later (451).
    TooOften,
}

/// What the ledger says of a stamp that did not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledgered {
    /// It was never good, and is not known to be spent; whether it was sold was not asked.
    NotGood,
    /// Of our own office, and not sold.
    Unsold,
    /// Redeemed before, for another letter.
    Spent,
    /// Good, but its office owes as much here as it may ([`Letter::office_cap`]).
    Capped,
    /// It could have paid, but another recipient of the letter had nothing that pays.
    Untouched,
}

/// An order of stamps, signed and ready to be sold.
#[derive(Clone, Debug)]
pub struct Order {
    /// Unix seconds.
    pub now: u64,
    /// Who pays.
    pub account: AccountKey,
    /// The domain that may redeem them.
    pub audience: Domain,
    /// Of each stamp.
    pub value: Micros,
    /// Of each stamp: x, Unix seconds, the end of a UTC day.
    pub expiry: u64,
    /// The selector of the key that signed.
    pub selector: String,
    /// 1 to [`ORDER_STAMPS_MAX`].
    pub stamps: Vec<OrderedStamp>,
}

/// One stamp of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderedStamp {
    /// Chosen by the buyer.
    pub id: StampId,
    /// The holder's public key k.
    pub holder: [u8; 32],
    /// The office's signature b.
    pub signature: [u8; 64],
}

/// A stamp sold earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoldStamp {
    /// Who bought it.
    pub account: AccountKey,
    /// Whom it is for.
    pub audience: Domain,
    /// Its value.
    pub value: Micros,
    /// x.
    pub expiry: u64,
    /// s.
    pub selector: String,
    /// Id, k and b.
    pub stamp: OrderedStamp,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sale {
    /// Sold and debited; the balance that is left.
    Sold(Micros),
    /// At least one id is sold already; nothing was done. Look at [`Ledger::sold`].
    SomeSold,
    /// The account holds only this much; nothing was done.
    Short(Micros),
}

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// What it can buy stamps with.
    pub balance: Micros,
    /// The value of stamps bought, not redeemed and not expired.
    pub outstanding: Micros,
}

/// One movement on an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unix seconds.
    pub time: u64,
    /// `credit`, `debit`, `sell`, `refund`, …
    pub kind: String,
    /// Micros, negative when they left the account.
    pub amount: i64,
    /// What was said with it; may be empty.
    pub memo: String,
}

/// Which letter is marked (SPEC.md §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkTarget {
    /// By redemption number and recipient, as a token names them. The caller has checked the token.
    Number(u64),
    /// By stamp id, of any office.
    Stamp(Option<Domain>, StampId),
    /// By Message-ID (the hash of [`message_id_hash`]) and recipient; else another address of the same owner.
    MessageId([u8; 16], Address),
}

/// What the recipient says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Postage goes back, once, for good; the sender becomes known if the mail was authenticated.
    Wanted,
    /// No money moves; a known sender becomes unknown again. May still turn to wanted.
    Unwanted,
}

/// What a mark did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The letter's recipient.
    pub recipient: Address,
    /// The letter's author, if it had one.
    pub author: Option<Address>,
    /// Money that went back with this mark.
    pub refunded: Option<Micros>,
    /// The money had gone back before.
    pub already_refunded: bool,
    /// The refund window had ended; nothing moved.
    pub too_late: bool,
    /// The author is known to the recipient now, by this mark or before it.
    pub known: bool,
}

/// Why a mark did nothing.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// No letter answers to that name.
    #[error("no such letter: nothing redeemed or delivered here has that id")]
    NoSuchLetter,
    /// Two offices sold a stamp of this id and both were redeemed here.
    #[error("two offices share that stamp id; write office/id")]
    Ambiguous,
    /// The ledger could not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A letter that was decided: what a mark by Message-ID and the report need of it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Unix seconds.
    pub time: u64,
    /// The envelope's recipient.
    pub recipient: Address,
    /// The author, if there is one.
    pub author: Option<Address>,
    /// Whether the letter authenticated as its author's.
    pub authenticated: bool,
    /// [`message_id_hash`] of its Message-ID, if it has one.
    pub message_id: Option<[u8; 16]>,
    /// The result word of Postage-Status, or `blocked`, `refused`.
    pub result: &'static str,
    /// The word of SPEC.md §3 for `invalid`; else empty.
    pub reason: &'static str,
    /// Whether it was let in.
    pub delivered: bool,
    /// The redemption, if it paid.
    pub number: Option<u64>,
    /// The List-Id, when the letter authenticated as the list's: what a mark may teach.
    pub list: Option<String>,
    /// Where it says to unsubscribe; writing there makes nobody known.
    pub unsubscribe: Vec<Address>,
    /// Where its answers should go, if not to the author; at most [`marks::REPLY_TO_MAX`] are kept.
    pub reply_to: Vec<Address>,
    /// Where the list takes letters, as far as it can speak for these addresses: what is written there is for all of it.
    pub list_posts: Vec<Address>,
}

/// Sixteen bytes that stand for a Message-ID (without white space and angle brackets) in the ledger.
#[must_use]
pub fn message_id_hash(id: &[u8]) -> [u8; 16] {
    let id = id.trim_ascii();
    let id = id.strip_prefix(b"<").unwrap_or(id);
    let id = id.strip_suffix(b">").unwrap_or(id);
    let mut hash = [0; 16];
    blake3::Hasher::new().update(id).finalize_xof().fill(&mut hash);
    hash
}

/// What proving the books found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Movements of money looked at.
    pub transactions: u64,
    /// The newest head of the audit chain.
    pub head: [u8; 32],
    /// Every fault, in words; empty when the books balance.
    pub faults: Vec<String>,
}

/// Why the ledger gives no answer. Mail is tempfailed (451), never refused and never let in for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// More requests wait than the writer's queue holds.
    #[error("the ledger's queue is full; try again")]
    QueueFull,
    /// The storage did not do it: locked, read-only, full, gone, unreachable.
    #[error("the ledger cannot answer: {0}")]
    Unavailable(String),
    /// What is stored cannot be right; run `farthing ledger check`.
    #[error("the ledger is damaged: {0}; run `farthing ledger check`")]
    Damaged(String),
    /// An amount or a balance would leave what an integer of micros can hold.
    #[error("the amount is too large")]
    Overflow,
    /// The account holds too little.
    #[error("the account holds only {0}")]
    Short(Micros),
    /// What was asked makes no sense: an order of nothing, an id twice. The caller should have looked.
    #[error("the ledger cannot do that: {0}")]
    Invalid(&'static str),
}

/// The books. Every method that changes them answers only after the change is durable.
///
/// Book, sent letters and daily count of work are those of the recipient's owner ([`owners`]), whichever of his
/// addresses is given, `+detail` or not.
#[async_trait]
pub trait Ledger:
    copies::Copies
    + dossier::Dossiers
    + duty::Duty
    + foresee::Foresee
    + Foreign
    + franking::Franking
    + Funding
    + logins::Logins
    + Marks
    + Outbox
    + Passes
    + Settings
    + Settling
    + Send
    + Sync
    + 'static
{
    /// The currency all amounts are in.
    fn currency(&self) -> Currency;

    /// From now on addresses belong together as these say. Returns at once.
    fn set_owners(&self, owners: Owners);

    /// Redeems what pays for a letter's recipients, or finds that the same letter had paid before; one
    /// [`Outcome`] for each want, in order. A letter with no good candidate costs a read at the most.
    ///
    /// A request whose future is dropped before its turn comes redeems nothing.
    async fn redeem(&self, letter: Letter) -> Result<Vec<Outcome>, LedgerError>;

    /// The recipient of the letter that was let in under this redemption number; a token's MAC covers him.
    async fn recipient_of(&self, number: u64) -> Result<Option<Address>, LedgerError>;

    /// Marks a letter as wanted or unwanted; refund and book change in one transaction. The book changes only
    /// for a letter that authenticated as its author's, and a block stays: it was set by hand.
    async fn mark(&self, target: MarkTarget, mark: Mark, now: u64) -> Result<Marked, MarkError>;

    /// Remembers a decision. Returns at once; what the queue has no place for is dropped, for no money hangs on it.
    /// Marks through this ledger see it from then on, other processes within [`DECISION_DELAY_MS`].
    fn decided(&self, decision: Decision);

    /// Sells an order: debits the account and enters every stamp, or does nothing.
    async fn sell(&self, order: Order) -> Result<Sale, LedgerError>;

    /// The stamps of these ids that our office has sold, in order of the ids, all as of one instant: of an order that
    /// is being sold all are there or none.
    async fn sold(&self, ids: &[StampId]) -> Result<Vec<Option<SoldStamp>>, LedgerError>;

    /// Moves money from `funding:<source>` to an account; returns the new balance. The source `grants` is the
    /// account of that name.
    async fn credit(
        &self,
        key: AccountKey,
        source: &str,
        amount: Micros,
        memo: &str,
        now: u64,
    ) -> Result<Micros, LedgerError>;

    /// Moves money from an account back to `funding:<source>`; returns the new balance.
    async fn debit(
        &self,
        key: AccountKey,
        source: &str,
        amount: Micros,
        memo: &str,
        now: u64,
    ) -> Result<Micros, LedgerError>;

    /// What an account holds; zero for one never seen.
    async fn account(&self, key: AccountKey, now: u64) -> Result<AccountState, LedgerError>;

    /// What an account can buy stamps with, alone: what this reads does not grow with what was bought.
    async fn balance(&self, key: AccountKey) -> Result<Micros, LedgerError>;

    /// Every account of a buyer.
    async fn accounts(&self, now: u64) -> Result<Vec<(AccountKey, AccountState)>, LedgerError>;

    /// The newest movements on an account, newest first.
    async fn entries(&self, key: AccountKey, count_max: u32) -> Result<Vec<Entry>, LedgerError>;

    /// Every account of the books by name, in micros; they sum to zero.
    async fn balances(&self) -> Result<Vec<(String, i64)>, LedgerError>;

    /// Recomputes everything from the entries.
    async fn check(&self) -> Result<Proof, LedgerError>;

    /// What the recipient's book and the site's say of a sender, by all these names of his ([`book::strongest`]).
    async fn known(&self, recipient: &Address, senders: &[Sender]) -> Result<Known, LedgerError>;

    /// Writes an entry into the book; returns false when it stood there already. A block gives way only to an
    /// entry [`How::Added`](book::How::Added) by hand; any other is not written over it. What was learned becomes by hand
    /// when it is added by hand. Nobody is made known who could
    /// be anybody ([`Sender::check_welcome`]).
    async fn book_add(&self, entry: NewEntry) -> Result<bool, LedgerError>;

    /// Says why an entry stands in the book (`None`: the site's), in at most
    /// [`MEMO_OCTETS_MAX`](book::MEMO_OCTETS_MAX) octets; returns false when there is none.
    async fn book_memo(
        &self,
        recipient: Option<&Address>,
        sender: &Sender,
        memo: &str,
    ) -> Result<bool, LedgerError>;

    /// Writes many entries into the book, all or none, each as [`Ledger::book_add`] does; returns how many are new.
    async fn book_add_all(&self, entries: Vec<NewEntry>) -> Result<u64, LedgerError>;

    /// Takes an entry out of the book (`None`: the site's); returns false when there was none.
    async fn book_remove(&self, recipient: Option<&Address>, sender: &Sender) -> Result<bool, LedgerError>;

    /// The book of a recipient with those he shares, or of everybody and the site.
    async fn book_list(&self, recipient: Option<&Address>) -> Result<Vec<BookEntry>, LedgerError>;

    /// What was decided, paid and given back since a time (Unix seconds); decisions at most
    /// [`tally::DECISIONS_KEPT_S`] back.
    async fn tally(&self, since: u64) -> Result<Tally, LedgerError>;

    /// Enters a freepost label; false when it was revoked.
    async fn freepost_add(&self, label: NewLabel) -> Result<bool, LedgerError>;

    /// Revokes a label for good; false when it was revoked before.
    async fn freepost_revoke(&self, owner: &Address, label: &str, now: u64) -> Result<bool, LedgerError>;

    /// Whether a label was revoked.
    async fn freepost_revoked(&self, owner: &Address, label: &str) -> Result<bool, LedgerError>;

    /// Counts a letter that came through a freepost address.
    async fn freepost_used(
        &self,
        owner: &Address,
        label: &str,
        author: Option<&Address>,
        now: u64,
    ) -> Result<(), LedgerError>;

    /// The labels of an owner, or of everybody.
    async fn freepost_list(&self, owner: Option<&Address>) -> Result<Vec<Label>, LedgerError>;

    /// Makes the recipients of a sent letter known to its author and remembers its Message-ID; returns how many are
    /// newly known. Nobody whom a List-Unsubscribe of mail to the author named; a block stays.
    async fn learn(&self, sent: Sent) -> Result<usize, LedgerError>;

    /// The first of these letters, by [`message_id_hash`], that this recipient sent and that others may answer.
    async fn answerable(
        &self,
        recipient: &Address,
        message_ids: &[[u8; 16]],
        now: u64,
    ) -> Result<Option<Answerable>, LedgerError>;

    /// Whether the ledger can be read and written now, for status and health checks.
    async fn health(&self) -> Result<(), LedgerError>;

    /// Finishes what is queued and closes; later calls fail.
    async fn close(&self);
}
