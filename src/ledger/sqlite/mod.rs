//! The books in one SQLite file: one writer with group commit, a few readers.
//!
//! WAL, `synchronous=FULL`: an answer means the change survives a crash. Other processes may open the same
//! file at the same time; what one has committed, all see. Nothing here talks to the network or reads a clock
//! for what it stores: times come with the requests.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};

use super::{
    AccountKey, AccountState, Decision, Entry, Ledger, LedgerError, Letter, Mark, MarkError, MarkTarget,
    Marked, Order, Outcome, Proof, Sale, SoldStamp, StampId, Want,
    book::{BookEntry, Known, MEMO_OCTETS_MAX, NewEntry, Sender},
    freepost::{Label, NewLabel},
    owners::Owners,
    sent::{Answerable, Sent},
    tally::Tally,
};
use crate::{
    address::{Address, Domain},
    clock::DAY_S,
    money::{Currency, Micros},
};

mod answered;
mod backup;
mod batch;
mod book;
mod copies;
mod cut;
mod dossier;
mod duty;
mod fail;
mod foreign;
mod foresee;
mod frank;
mod franking;
mod freepost;
mod funding;
mod logins;
mod mark;
mod outbox;
mod passes;
mod place;
mod prove;
mod queue;
mod readers;
mod redeem;
mod returns;
mod rows;
mod schema;
mod sent;
mod settings;
mod settling;
mod tally;
mod trade;
mod writer;

pub use backup::BackupError;
pub use schema::OpenError;

use fail::Fail;
use place::{Place, Role};
use readers::Readers;
use redeem::Plan;
use rows::Statements;
use trade::Funding;
use writer::Writer;

/// Refund window when the configuration says nothing, in seconds (SPEC.md §7).
pub const REFUND_WINDOW_DEFAULT_S: u64 = 30 * DAY_S;
/// How long a request waits for another process that holds the ledger's lock, in milliseconds: longer than any
/// honest transaction, shorter than the patience of a mail server.
pub const BUSY_TIMEOUT_DEFAULT_MS: u64 = 5_000;

/// What the ledger must know of the site.
#[derive(Clone, Debug)]
pub struct Options {
    /// Currency of all amounts; an existing ledger must be in the same.
    pub currency: Currency,
    /// The site's own post office: its stamps count only if this ledger sold them. `None`: there is none.
    pub office: Option<Domain>,
    /// How long after its redemption postage can be given back, in seconds.
    pub refund_window_s: u64,
    /// How long to wait for a lock of another process, in milliseconds.
    pub busy_timeout_ms: u64,
    /// Which addresses belong together.
    pub owners: Owners,
}

impl Options {
    /// The defaults for a site without a post office of its own.
    #[must_use]
    pub const fn new(currency: Currency) -> Self {
        Self {
            currency,
            office: None,
            refund_window_s: REFUND_WINDOW_DEFAULT_S,
            busy_timeout_ms: BUSY_TIMEOUT_DEFAULT_MS,
            owners: Owners::apart(),
        }
    }

    fn place(&self, path: &Path) -> Place {
        Place { path: path.to_owned(), currency: self.currency, busy_timeout_ms: self.busy_timeout_ms }
    }
}

/// What the requests need of [`Options`].
struct Site {
    office: Option<Domain>,
    refund_window_s: u64,
    owners: RwLock<Owners>,
}

impl Site {
    fn of(options: Options) -> Arc<Self> {
        let Options { office, refund_window_s, owners, .. } = options;
        Arc::new(Self { office, refund_window_s, owners: RwLock::new(owners) })
    }

    fn owners(&self) -> Owners {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_own(&self, office: &Domain) -> bool {
        self.office.as_ref() == Some(office)
    }
}

/// The books in an SQLite file. Methods must be called inside a tokio runtime.
///
/// Dropping it without [`Ledger::close`] loses no answer that was given: the writer finishes what is queued.
pub struct SqliteLedger {
    currency: Currency,
    site: Arc<Site>,
    readers: Arc<Readers>,
    /// None when opened for reading only.
    writer: Option<Writer>,
    /// Told when mail of ours, or a copy of a user's, was queued.
    outbox: Notify,
    /// Messages that may be written now, for copies.
    messages_written: Semaphore,
    courier_lock: duty::CourierLock,
}

/// Opens the ledger for reading and writing; makes it (mode 0600, in a directory that exists) when there is
/// none, and brings an older one up to date. Blocks while it does.
///
/// # Errors
/// [`OpenError`], which names the file and what to do.
pub fn open(path: impl AsRef<Path>, options: Options) -> Result<SqliteLedger, OpenError> {
    let place = options.place(path.as_ref());
    schema::prepare(&place)?;
    let live = connect(&place, Role::Writer)?;
    let currency = options.currency;
    let site = Site::of(options);
    let writer = Writer::start(place.clone(), Arc::clone(&site), live)
        .map_err(|error| OpenError::Io { path: place.path.clone(), error })?;
    Ok(SqliteLedger {
        currency,
        site,
        courier_lock: duty::CourierLock::of(&place.path),
        readers: Arc::new(Readers::new(place, Role::Reader)),
        writer: Some(writer),
        outbox: Notify::new(),
        messages_written: Semaphore::new(copies::MESSAGES_WRITTEN_MAX),
    })
}

/// Opens the ledger to look at it: creates and changes nothing, not even the files that SQLite makes beside
/// it; every change asked for is refused. For a moment's look (`--check`): for a long one beside a running
/// daemon use [`open`].
///
/// # Errors
/// [`OpenError`]; [`OpenError::Missing`] when there is no ledger, [`OpenError::Older`] when it is to be migrated.
pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<SqliteLedger, OpenError> {
    let place = options.place(path.as_ref());
    if !place.path.exists() {
        return Err(OpenError::Missing(place.path));
    }
    drop(connect(&place, Role::Onlooker)?);
    Ok(SqliteLedger {
        currency: options.currency,
        site: Site::of(options),
        courier_lock: duty::CourierLock::of(&place.path),
        readers: Arc::new(Readers::new(place, Role::Onlooker)),
        writer: None,
        outbox: Notify::new(),
        messages_written: Semaphore::new(copies::MESSAGES_WRITTEN_MAX),
    })
}

fn connect(place: &Place, role: Role) -> Result<place::Live, OpenError> {
    let fault = |e: rusqlite::Error| schema::sqlite_error(&place.path, &e);
    // What is wrong with the file is said in full here; later connections say it in one line.
    let conn = place.open_file(role).map_err(fault)?;
    let standing = schema::standing(&conn).map_err(fault)?;
    schema::require_current(&conn, &standing, &place.path, place.currency)?;
    drop(conn);
    place
        .connect(role)
        .map_err(|fail| OpenError::Storage { path: place.path.clone(), words: fail.into_error().to_string() })
}

impl SqliteLedger {
    /// Writes a copy of the ledger, as one commit left it, into a new file (mode 0600) while the ledger is in
    /// use; the file has its name only once it is complete and durable.
    ///
    /// # Errors
    /// [`BackupError`]; the copy is then not there.
    pub async fn backup(&self, to: impl Into<PathBuf>) -> Result<(), BackupError> {
        let to = to.into();
        let copied = self.readers.read(move |conn| Ok(backup::copy(conn, &to))).await;
        copied.map_err(BackupError::Ledger)?
    }

    async fn write<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnMut(&mut batch::Batch<'_>) -> Result<T, Fail> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.queue.submit(work).await,
            None => Err(LedgerError::Unavailable("it was opened for reading only".into())),
        }
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    fn currency(&self) -> Currency {
        self.currency
    }

    fn set_owners(&self, owners: Owners) {
        *self.site.owners.write().unwrap_or_else(PoisonError::into_inner) = owners;
    }

    async fn redeem(&self, letter: Letter) -> Result<Vec<Outcome>, LedgerError> {
        let candidate = |w: &Want| w.answering.is_some() || !w.stamps.is_empty() || !w.work.is_empty();
        let good = letter.wants.iter().any(|w| {
            w.answering.is_some() || w.stamps.iter().any(|s| s.good) || w.work.iter().any(|w| w.good)
        });
        if !letter.wants.iter().any(candidate) {
            let nothing = Outcome::Unpaid { stamps: Vec::new(), work_used_up: false, work_untouched: false };
            return Ok(vec![nothing; letter.wants.len()]);
        }
        let letter = Arc::new(letter);
        if !good {
            let (letter, site) = (Arc::clone(&letter), Arc::clone(&self.site));
            let plan = self
                .readers
                .read(move |conn| Plan::of(&letter, conn, &site, |name| foreign::balance(conn, name)))
                .await?;
            if !plan.writes() {
                return Ok(plan.into_outcomes());
            }
        }
        self.write(move |batch| {
            let (conn, site) = (batch.conn, batch.site);
            let plan = Plan::of(&letter, conn, site, |account| batch.balance_of(account))?;
            plan.carry_out(&letter, batch)?;
            Ok(plan.into_outcomes())
        })
        .await
    }

    async fn recipient_of(&self, number: u64) -> Result<Option<Address>, LedgerError> {
        self.readers.read(move |conn| mark::recipient_of(conn, number)).await
    }

    async fn mark(&self, target: MarkTarget, mark: Mark, now: u64) -> Result<Marked, MarkError> {
        self.write(move |batch| mark::mark(batch, &target, mark, now)).await?
    }

    fn decided(&self, decision: Decision) {
        if let Some(writer) = &self.writer {
            writer.queue.note(decision);
        }
    }

    async fn sell(&self, order: Order) -> Result<Sale, LedgerError> {
        self.write(move |batch| trade::sell(batch, &order)).await
    }

    async fn sold(&self, ids: &[StampId]) -> Result<Vec<Option<SoldStamp>>, LedgerError> {
        let ids = ids.to_vec();
        self.readers.read(move |conn| trade::sold(conn, &ids)).await
    }

    async fn credit(
        &self,
        key: AccountKey,
        source: &str,
        amount: Micros,
        memo: &str,
        now: u64,
    ) -> Result<Micros, LedgerError> {
        let funding = Funding { key, source: source.into(), amount, memo: memo.into(), now };
        self.write(move |batch| trade::credit(batch, &funding)).await
    }

    async fn debit(
        &self,
        key: AccountKey,
        source: &str,
        amount: Micros,
        memo: &str,
        now: u64,
    ) -> Result<Micros, LedgerError> {
        let funding = Funding { key, source: source.into(), amount, memo: memo.into(), now };
        self.write(move |batch| trade::debit(batch, &funding)).await
    }

    async fn account(&self, key: AccountKey, now: u64) -> Result<AccountState, LedgerError> {
        self.readers.read(move |conn| trade::account(conn, &key, now)).await
    }

    async fn balance(&self, key: AccountKey) -> Result<Micros, LedgerError> {
        self.readers.read(move |conn| trade::balance(conn, &key)).await
    }

    async fn accounts(&self, now: u64) -> Result<Vec<(AccountKey, AccountState)>, LedgerError> {
        self.readers.read(move |conn| trade::accounts(conn, now)).await
    }

    async fn entries(&self, key: AccountKey, count_max: u32) -> Result<Vec<Entry>, LedgerError> {
        self.readers.read(move |conn| trade::entries(conn, &trade::account_name(&key), count_max)).await
    }

    async fn balances(&self) -> Result<Vec<(String, i64)>, LedgerError> {
        self.readers.read(trade::balances).await
    }

    async fn check(&self) -> Result<Proof, LedgerError> {
        self.readers.read(prove::prove).await
    }

    async fn known(&self, recipient: &Address, senders: &[Sender]) -> Result<Known, LedgerError> {
        let (reader, senders) = (self.site.owners().of(recipient), senders.to_vec());
        self.readers.read(move |conn| book::known(conn, &reader, &senders)).await
    }

    async fn book_add(&self, entry: NewEntry) -> Result<bool, LedgerError> {
        book::check(std::iter::once(&entry))?;
        self.write(move |batch| book::add(batch.conn, &batch.site.owners(), &entry)).await
    }

    async fn book_memo(
        &self,
        recipient: Option<&Address>,
        sender: &Sender,
        memo: &str,
    ) -> Result<bool, LedgerError> {
        if memo.len() > MEMO_OCTETS_MAX {
            return Err(LedgerError::Invalid("the memo of an entry is a line of at most 200 octets"));
        }
        let reader = recipient.map(|recipient| self.site.owners().of(recipient));
        let (sender, memo) = (sender.clone(), memo.to_owned());
        self.write(move |batch| book::memo(batch.conn, reader.as_ref(), &sender, &memo)).await
    }

    async fn book_add_all(&self, entries: Vec<NewEntry>) -> Result<u64, LedgerError> {
        book::check(entries.iter())?;
        self.write(move |batch| {
            let (mut new, owners) = (0, batch.site.owners());
            for entry in &entries {
                new += u64::from(book::add(batch.conn, &owners, entry)?);
            }
            Ok(new)
        })
        .await
    }

    async fn book_remove(&self, recipient: Option<&Address>, sender: &Sender) -> Result<bool, LedgerError> {
        let (reader, sender) = (recipient.map(|r| self.site.owners().of(r)), sender.clone());
        self.write(move |batch| book::remove(batch.conn, reader.as_ref(), &sender)).await
    }

    async fn book_list(&self, recipient: Option<&Address>) -> Result<Vec<BookEntry>, LedgerError> {
        let reader = recipient.map(|recipient| self.site.owners().of(recipient));
        self.readers.read(move |conn| book::list(conn, reader.as_ref())).await
    }

    async fn tally(&self, since: u64) -> Result<Tally, LedgerError> {
        self.readers.read(move |conn| tally::tally(conn, since)).await
    }

    async fn freepost_add(&self, label: NewLabel) -> Result<bool, LedgerError> {
        self.write(move |batch| freepost::add(batch.conn, &label)).await
    }

    async fn freepost_revoke(&self, owner: &Address, label: &str, now: u64) -> Result<bool, LedgerError> {
        let (owner, label) = (owner.clone(), label.to_owned());
        self.write(move |batch| freepost::revoke(batch.conn, &owner, &label, now)).await
    }

    async fn freepost_revoked(&self, owner: &Address, label: &str) -> Result<bool, LedgerError> {
        let (owner, label) = (owner.clone(), label.to_owned());
        self.readers.read(move |conn| freepost::is_revoked(conn, &owner, &label)).await
    }

    async fn freepost_used(
        &self,
        owner: &Address,
        label: &str,
        author: Option<&Address>,
        now: u64,
    ) -> Result<(), LedgerError> {
        let (owner, label, author) = (owner.clone(), label.to_owned(), author.cloned());
        self.write(move |batch| freepost::used(batch.conn, &owner, &label, author.as_ref(), now)).await
    }

    async fn freepost_list(&self, owner: Option<&Address>) -> Result<Vec<Label>, LedgerError> {
        let owner = owner.cloned();
        self.readers.read(move |conn| freepost::list(conn, owner.as_ref())).await
    }

    async fn learn(&self, letter: Sent) -> Result<usize, LedgerError> {
        self.write(move |batch| sent::learn(batch, &letter)).await
    }

    async fn answerable(
        &self,
        recipient: &Address,
        message_ids: &[[u8; 16]],
        now: u64,
    ) -> Result<Option<Answerable>, LedgerError> {
        let (reader, message_ids) = (self.site.owners().of(recipient), message_ids.to_vec());
        self.readers
            .read(move |conn| Ok(sent::answerable(conn, &reader, &message_ids, now)?.map(|(_, found)| found)))
            .await
    }

    async fn health(&self) -> Result<(), LedgerError> {
        self.readers.read(|conn| Ok(conn.query_row("SELECT 1 FROM facts LIMIT 1", [], |_| Ok(()))?)).await?;
        self.write(|batch| {
            batch.conn.change(
                "INSERT INTO facts (name, value) VALUES ('alive', 1)
                 ON CONFLICT (name) DO UPDATE SET value = (value + 1) % 1000000",
                [],
            )?;
            Ok(())
        })
        .await
    }

    async fn close(&self) {
        // The writer last: whoever closes the file last puts the log into it and takes the log away.
        self.readers.close();
        if let Some(writer) = &self.writer {
            writer.queue.close();
            writer.ended().await;
        }
    }
}
