//! A copy of the ledger taken while it is in use.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, backup::Backup, backup::StepResult};

use crate::ledger::LedgerError;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A backup never writes over a file.
    #[error("{}: there is a file already; name a new one", .0.display())]
    Exists(PathBuf),
    /// The copy cannot be written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The copy.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// SQLite did not copy.
    #[error("{}: {words}", path.display())]
    Storage {
        /// The copy.
        path: PathBuf,
        /// What SQLite says.
        words: String,
    },
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(LedgerError),
}

/// Copies what the connection sees at this moment into a new file.
pub(super) fn copy(from: &Connection, to: &Path) -> Result<(), BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let copied = copy_to(from, &partial, to);
    if copied.is_err() {
        // What was written of it is of no use to anybody.
        let _ = fs::remove_file(&partial);
    }
    copied
}

fn copy_to(from: &Connection, partial: &Path, to: &Path) -> Result<(), BackupError> {
    let io_fault = |error| BackupError::Io { path: to.to_owned(), error };
    let fault = |e: rusqlite::Error| BackupError::Storage { path: to.to_owned(), words: e.to_string() };
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial).map_err(io_fault)?;
    let mut copy = Connection::open(partial).map_err(fault)?;
    {
        let backup = Backup::new(from, &mut copy).map_err(fault)?;
        // All pages in one step: one read transaction, so the copy is what one commit left, and nothing that is
        // written meanwhile starts it over.
        if backup.step(-1).map_err(fault)? != StepResult::Done {
            return Err(BackupError::Storage { path: to.to_owned(), words: "the ledger is locked".into() });
        }
    }
    copy.close().map_err(|(_, e)| fault(e))?;
    File::open(partial).and_then(|file| file.sync_all()).map_err(io_fault)?;
    // A link, not a renaming: it fails when somebody else's file has come to stand there.
    fs::hard_link(partial, to).map_err(io_fault)?;
    fs::remove_file(partial).map_err(io_fault)?;
    let directory = to.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    File::open(directory).and_then(|d| d.sync_all()).map_err(io_fault)
}
