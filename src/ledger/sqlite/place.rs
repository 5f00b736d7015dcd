//! Where the ledger is and how a connection to it is made: pragmas, and whether the file is still the same.
//!
//! What always holds: a connection from here is to a ledger of this schema and currency, and an answer given
//! through it is about the file that has the ledger's name, not about one that was moved away or deleted.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{fail::Fail, schema};
use crate::{ledger::LedgerError, money::Currency};

/// Prepared statements a connection keeps: all of them.
const STATEMENTS_CACHED: usize = 96;
/// Pages of the write-ahead log before they are moved into the file: 32 MiB, so that a page that many batches
/// touch is moved once.
const CHECKPOINT_PAGES: i64 = 8_192;
/// Size the log is cut back to after that, in bytes.
const LOG_OCTETS_MAX: i64 = 64 << 20;
/// Page cache of the writer, in KiB (negative: SQLite's way to say KiB): the hot index pages of a busy day.
const WRITER_CACHE_KIB: i64 = -24_576;
/// Page cache of each reader, in KiB.
const READER_CACHE_KIB: i64 = -4_096;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
    /// Looks and leaves no trace, not even the files that SQLite makes beside the ledger.
    Onlooker,
}

/// The ledger's file and how to open it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub path: PathBuf,
    pub currency: Currency,
    pub busy_timeout_ms: u64,
}

/// A connection, and the files it is connected to.
pub(super) struct Live {
    pub conn: Connection,
    file: FileId,
    /// The write-ahead log and its index, once they are there.
    beside: [Option<FileId>; 2],
}

/// What stays the same when a file is renamed, and differs for another file of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self { device: meta.dev(), inode: meta.ino() })
    }
}

impl Place {
    /// Connects to the ledger as it is; creates and migrates nothing.
    pub fn connect(&self, role: Role) -> Result<Live, Fail> {
        let file = FileId::of(&self.path).map_err(|e| self.gone(&e))?;
        let conn = self.open_file(role)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        let standing = schema::standing(&conn)?;
        schema::require_current(&conn, &standing, &self.path, self.currency)
            .map_err(|e| Fail::Storage(LedgerError::Unavailable(e.to_string())))?;
        let live = Live { conn, file, beside: self.beside() };
        self.require_same(&live)?;
        if role == Role::Writer {
            // From here on the writer waits for locks by itself.
            live.conn.busy_timeout(Duration::ZERO)?;
        }
        Ok(live)
    }

    /// Opens the file and sets what a connection of this role needs; looks at nothing in it.
    pub fn open_file(&self, role: Role) -> rusqlite::Result<Connection> {
        let conn = match role {
            // Nobody has a log-less WAL database open, so nothing can change under the onlooker but by a
            // program that starts in this very moment; and SQLite makes no files beside it.
            Role::Onlooker if !self.path_with("-wal").exists() => Connection::open_with_flags(
                self.immutable_uri(),
                OpenFlags::SQLITE_OPEN_READ_ONLY
                    | OpenFlags::SQLITE_OPEN_URI
                    | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?,
            Role::Onlooker | Role::Reader => Connection::open_with_flags(
                &self.path,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?,
            Role::Writer => Connection::open_with_flags(
                &self.path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?,
        };
        conn.busy_timeout(Duration::from_millis(self.busy_timeout_ms))?;
        if role == Role::Writer {
            conn.pragma_update(None, "synchronous", "FULL")?;
            conn.pragma_update(None, "foreign_keys", true)?;
            conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            conn.pragma_update(None, "journal_size_limit", LOG_OCTETS_MAX)?;
            conn.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
        } else {
            conn.pragma_update(None, "query_only", true)?;
            conn.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
        }
        Ok(conn)
    }

    /// Fails when the ledger's name no longer names the file of this connection: what was written there would
    /// be lost, and what is read there is old.
    pub fn require_same(&self, live: &Live) -> Result<(), Fail> {
        let now = FileId::of(&self.path).map_err(|e| self.gone(&e))?;
        let beside = live.beside.iter().zip(self.beside());
        if now == live.file && beside.into_iter().all(|(was, is)| was.is_none() || *was == is) {
            return Ok(());
        }
        let words = format!("{} was replaced while it was in use", self.path.display());
        Err(Fail::Storage(LedgerError::Unavailable(words)))
    }

    /// Before a connection that fails [`Self::require_same`] is given up: if somebody deleted the log or its index
    /// and left the file, what was committed is still in this connection's hands. Moves it into the file.
    pub fn rescue(&self, live: &Live) {
        let file_is_there = FileId::of(&self.path).is_ok_and(|now| now == live.file);
        let others = live.beside.iter().zip(self.beside()).any(|(was, is)| is.is_some() && *was != is);
        if file_is_there && !others {
            tracing::error!(path = %self.path.display(), "the ledger's log was deleted while it was in use");
            // Whether it worked shows at the next connection, which reads what is there.
            let _ = live.conn.busy_timeout(Duration::from_millis(self.busy_timeout_ms));
            let _ = live.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    fn beside(&self) -> [Option<FileId>; 2] {
        ["-wal", "-shm"].map(|suffix| FileId::of(&self.path_with(suffix)).ok())
    }

    fn gone(&self, error: &io::Error) -> Fail {
        Fail::Storage(LedgerError::Unavailable(format!("{}: {error}", self.path.display())))
    }

    /// A file that SQLite keeps beside the ledger.
    fn path_with(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        PathBuf::from(name)
    }

    fn immutable_uri(&self) -> String {
        use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
        use std::os::unix::ffi::OsStrExt;
        const IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#').add(b'"');
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        format!("file:{}?immutable=1", percent_encode(absolute.as_os_str().as_bytes(), IN_PATH))
    }
}
