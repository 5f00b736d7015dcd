//! The sender's side: one secret, stamps in hand, buying more, putting them on letters.
//!
//! A wallet is a file for its owner alone. While a [`Wallet`] lives, its file is locked: other programs wait, so nobody
//! keeps one while an office or DNS is asked. What always holds, whatever is killed when: money spent is stamps in hand or an order that will still bring them, and a
//! stamp that has left the wallet is never handed out again.

mod attach;
mod buy;
mod client;
mod contents;
mod file;
mod limits;
mod seed;

use std::path::Path;

use zeroize::Zeroizing;

pub use attach::Postmark;
pub use buy::{BUYING_TRIES_MAX, Bought, Buyer, Count, PURSE_STAMPS_MAX, Purchase};
pub use client::{ClientError, Description, OfficeClient};
pub use contents::{Held, KnownOffice, NotAhead, OpenOrder};
pub use file::FileError;
pub use limits::{AHEAD_MAX, AHEAD_PAUSE_S, Limits, OverLimit};

use crate::{
    address::{Address, Domain},
    clock::unix_now,
    ledger::{AccountKey, StampId},
    money::{Currency, Micros},
    office::wire::{AccountAnswer, Credit},
    stamp::{SecretKey, sign::CancelError},
    voucher::Code,
};
use contents::Contents;
use file::WalletFile;
use seed::Seed;
pub use seed::WordsError;

/// Octets of an empty wallet and of one stamp in it, at the most: what a buffer is made for.
const EMPTY_OCTETS: usize = 64 * 1_024;
const STAMP_OCTETS: usize = 160;

/// Why a wallet did not do it.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in its file.
    #[error("{path} is not a wallet, or is damaged: {what}; take it from your backup")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A newer program wrote it.
    #[error("{0} was written by a newer farthing; use that one")]
    TooNew(String),
    /// The system has no randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// The office.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It would hold too many stamps.
    #[error("a wallet holds at most {PURSE_STAMPS_MAX} stamps; use some first")]
    Full,
    /// A letter has not exactly one author.
    #[error("the message must have one From field with one address, user@domain: a stamp is bound to it")]
    NoAuthor,
    /// No stamp for a recipient.
    #[error("no stamp in hand for {}", names(.0))]
    Lacking(Vec<Address>),
    /// The words of a backup.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The owner's limits.
    #[error(transparent)]
    Limit(#[from] OverLimit),
    /// A stamp could not be written out.
    #[error(transparent)]
    Cancel(CancelError),
}

fn names(recipients: &[Address]) -> String {
    recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A sender's wallet, open and locked.
pub struct Wallet {
    contents: Contents,
    file: WalletFile,
}

impl Wallet {
    /// Makes a new wallet, with a new account, in a file that does not exist yet.
    ///
    /// # Errors
    /// [`WalletError`] of the file.
    pub fn create(path: &Path) -> Result<Self, WalletError> {
        let contents = Contents::new(Seed::random().map_err(WalletError::Random)?);
        let file = WalletFile::create(path, &serialized(&contents)?)?;
        Ok(Self { contents, file })
    }

    /// Makes a wallet of a backup, in a file that does not exist yet: of its words, or of what another wallet's file
    /// holds, such as the one that the page of a refusal saves. It has the account again; stamps that were in hand stay
    /// in the old file, and their money comes back when they expire.
    ///
    /// # Errors
    /// [`WalletError::Words`] or [`WalletError::Damaged`] when it is neither, or [`WalletError`] of the file.
    pub fn restore(path: &Path, backup: &str) -> Result<Self, WalletError> {
        let contents = if backup.trim_start().starts_with('{') {
            parsed(backup.as_bytes(), "what was given")?.account_alone()
        } else {
            Contents::new(Seed::from_words(backup)?)
        };
        let file = WalletFile::create(path, &serialized(&contents)?)?;
        Ok(Self { contents, file })
    }

    /// Writes account and offices, without the stamps in hand, into a file that does not exist yet: a wallet that the
    /// page of a refusal loads.
    ///
    /// # Errors
    /// [`WalletError`] of that file.
    pub fn copy_account(&self, path: &Path) -> Result<(), WalletError> {
        WalletFile::create(path, &serialized(&self.contents.account_alone())?)?;
        Ok(())
    }

    /// The 24 words of which [`Wallet::restore`] makes the account again: whoever reads them has the money.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        // 32 octets always have words.
        self.contents.seed.words().unwrap_or_default()
    }

    /// Opens a wallet, waiting while another process uses it.
    ///
    /// # Errors
    /// [`WalletError`] of the file or its content.
    pub fn open(path: &Path) -> Result<Self, WalletError> {
        let (file, content) = WalletFile::open(path)?;
        let contents = parsed(&content, &file.path().display().to_string())?;
        Ok(Self { contents, file })
    }

    /// The wallet's account, the same at every office.
    #[must_use]
    pub fn account(&self) -> AccountKey {
        AccountKey(self.contents.seed.account().public().to_bytes())
    }

    /// The wallet's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Stamps in hand that have not expired, by kind.
    #[must_use]
    pub fn held(&self, now: u64) -> Vec<Held> {
        self.contents.held(now)
    }

    /// Offices this wallet has dealt with.
    #[must_use]
    pub fn offices(&self) -> &[KnownOffice] {
        &self.contents.offices
    }

    /// Remembers an office, to be asked for its balance.
    ///
    /// # Errors
    /// [`WalletError`] of the file.
    pub fn meet(&mut self, office: &Domain, url: &str) -> Result<(), WalletError> {
        self.contents.met(office, url);
        self.save()
    }

    /// What its owner lets it spend.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.contents.limits
    }

    /// Whether stamps of these values would be within the limits of a letter and of today.
    ///
    /// # Errors
    /// [`WalletError::Limit`].
    pub fn may_spend(
        &self,
        values: impl Iterator<Item = (Currency, Micros)>,
        now: u64,
    ) -> Result<(), WalletError> {
        let values: Vec<_> = values.collect();
        Ok(self.contents.spent.clone().count(&values, &self.contents.limits, now)?)
    }

    /// Sets what it may spend, durably.
    ///
    /// # Errors
    /// [`WalletError`] of the file.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), WalletError> {
        self.contents.limits = limits;
        self.save()
    }

    /// Orders that were not answered: the next purchase at their office sends them again.
    #[must_use]
    pub fn open_orders(&self) -> &[OpenOrder] {
        &self.contents.orders
    }

    /// What its stamps on letters were worth today, by currency.
    #[must_use]
    pub fn spent(&self, now: u64) -> Vec<(Currency, Micros)> {
        self.contents.spent.on_day_of(now)
    }

    /// Stamps in hand that a letter to this domain could bear, each worth at least `least`.
    #[must_use]
    pub fn usable(&self, audience: &Domain, least: Micros, now: u64) -> usize {
        self.contents.usable(audience, least, now)
    }

    /// Where buying ahead failed when it was tried last.
    #[must_use]
    pub fn not_ahead(&self) -> &[NotAhead] {
        &self.contents.not_ahead
    }

    /// Notes, durably, that stamps could not be bought ahead; forgotten when some are bought.
    ///
    /// # Errors
    /// [`WalletError`] of the file.
    pub fn note_not_ahead(&mut self, failure: NotAhead) -> Result<(), WalletError> {
        self.contents.not_ahead.retain(|other| other.audience != failure.audience);
        self.contents.not_ahead.push(failure);
        self.save()
    }

    /// Who can ask for balances when the wallet is closed again, so that nobody waits for an office meanwhile.
    #[must_use]
    pub fn teller(&self) -> Teller {
        Teller(self.contents.seed.account())
    }

    /// Who signs for the wallet when it is closed again: orders with its account's key, stamps with theirs.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer(self.contents.seed.clone())
    }

    fn save(&mut self) -> Result<(), WalletError> {
        self.contents.tidy(unix_now());
        Ok(self.file.replace(&serialized(&self.contents)?)?)
    }
}

/// The wallet's keys, for stamps that are kept elsewhere.
pub struct Signer(Seed);

impl Signer {
    /// Of the account that a voucher's code opens by itself: whoever has the code has what is left on it.
    #[must_use]
    pub fn of_voucher(code: &Code) -> Self {
        Self(Seed::of_voucher(code))
    }

    /// The account's key, the same at every office.
    #[must_use]
    pub fn account(&self) -> SecretKey {
        self.0.account()
    }

    /// The key of one stamp (SPEC.md §3 `k`).
    #[must_use]
    pub fn holder(&self, office: &Domain, id: &StampId) -> SecretKey {
        self.0.holder(office, id)
    }
}

/// The account's key, to ask what the account holds and to put money on it.
pub struct Teller(SecretKey);

impl Teller {
    /// The wallet's account.
    #[must_use]
    pub fn account(&self) -> AccountKey {
        AccountKey(self.0.public().to_bytes())
    }

    /// What the account holds at an office.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn balance(&self, client: &OfficeClient, office: &Domain) -> Result<AccountAnswer, ClientError> {
        client.account(office, &self.0)
    }

    /// Sends a voucher's code; the same again is credited once. The office gets to know it, whatever it answers.
    ///
    /// # Errors
    /// [`ClientError`]; status 404 when it is worth nothing there.
    pub fn voucher(
        &self,
        client: &OfficeClient,
        office: &Domain,
        code: &Code,
    ) -> Result<Credit, ClientError> {
        client.voucher(office, &self.0, code)
    }

    /// Sends the proof of work for a starter amount.
    ///
    /// # Errors
    /// [`ClientError`]; status 429 when it is to be had another day.
    pub fn grant(
        &self,
        client: &OfficeClient,
        office: &Domain,
        proof: String,
    ) -> Result<Credit, ClientError> {
        client.grant(office, &self.0, proof)
    }
}

/// A wallet's file, read; `name` is what errors call it.
fn parsed(content: &[u8], name: &str) -> Result<Contents, WalletError> {
    let contents: Contents = serde_json::from_slice(content)
        .map_err(|e| WalletError::Damaged { path: name.to_owned(), what: e.to_string() })?;
    if contents.is_too_new() {
        return Err(WalletError::TooNew(name.to_owned()));
    }
    Ok(contents)
}

/// The file's content, in a buffer that never grows: what a growing one leaves behind is not wiped.
fn serialized(contents: &Contents) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    let mut text = Zeroizing::new(Vec::with_capacity(EMPTY_OCTETS + STAMP_OCTETS * contents.count()));
    serde_json::to_writer(&mut *text, contents)
        .map_err(|e| WalletError::Damaged { path: "the wallet".into(), what: e.to_string() })?;
    text.push(b'\n');
    Ok(text)
}
