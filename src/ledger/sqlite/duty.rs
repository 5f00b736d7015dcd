//! The duty of handing mail in: a lock on a file beside the ledger.
//!
//! A lease in the books would have to run out after a kill -9; the system lets a lock go at that moment. SQLite has locks of
//! its own on the ledger's files, which a process loses when it closes any one of them: so it is another file. It stays: if
//! it were removed two could hold it.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::SqliteLedger;
use crate::ledger::{LedgerError, duty::Duty};

/// The lock of a handle, held or not.
pub(super) struct CourierLock {
    ledger: PathBuf,
    held: Mutex<Option<File>>,
}

impl CourierLock {
    pub fn of(ledger: &Path) -> Self {
        Self { ledger: ledger.to_owned(), held: Mutex::default() }
    }

    fn take(&self) -> io::Result<bool> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            let file = self.open()?;
            match file.try_lock() {
                Ok(()) => *held = Some(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(held.is_some())
    }

    fn leave(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// One file, by whatever name the ledger is reached; its owner's, as SQLite's are, whoever comes first.
    fn open(&self) -> io::Result<File> {
        let ledger = self.ledger.canonicalize()?;
        let mut name = OsString::from(".");
        name.push(ledger.file_name().unwrap_or_default());
        name.push(".courier");
        let path = ledger.with_file_name(name);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let owner = fs::metadata(&ledger)?;
        if file.metadata()?.uid() != owner.uid() {
            // Root may, and nobody else needs to.
            let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
        }
        Ok(file)
    }
}

#[async_trait::async_trait]
impl Duty for SqliteLedger {
    async fn take_duty(&self) -> Result<bool, LedgerError> {
        if self.writer.is_none() {
            return Err(LedgerError::Unavailable("it was opened for reading only".into()));
        }
        // Nothing here waits for anybody.
        self.courier_lock.take().map_err(|error| {
            let path = self.courier_lock.ledger.display();
            LedgerError::Unavailable(format!("the lock beside {path} cannot be had: {error}"))
        })
    }

    async fn leave_duty(&self) {
        self.courier_lock.leave();
    }
}
