//! What an import has found out so far, in a file of its own: however much mail there is, little of it is in memory, and
//! an import that was interrupted goes on from the last thing written down.
//!
//! It is scratch, not the books: it is deleted when the import is done. It holds addresses, so it is the owner's alone
//! (0600). Written in pieces of [`PIECE_MESSAGES`], each all or nothing, marks of what was read together with what was
//! found there: nothing counts twice.

use std::{
    fs::OpenOptions,
    io,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension as _, Params, params};

use crate::{
    address::Address,
    ledger::book::{How, NewEntry, Sender},
    mailbox::Done,
};

/// Messages between two times that something is written down: what an interruption may cost.
pub const PIECE_MESSAGES: u32 = 500;
/// Octets of mail likewise: a second or two of a slow disk.
pub const PIECE_OCTETS: u64 = 64 * 1024 * 1024;
/// Memory for pages of the file, in KiB (negative: SQLite's way to say KiB).
const CACHE_KIB: i64 = -32_768;
/// What the file looks like; one of another look is begun anew.
const FORMAT: i64 = 1;
/// Says in SQLite's header that the file is of this kind ("frth", "import"): no other database is ever written to.
const APPLICATION_ID: i64 = 0x6672_7469;
/// What could not be read that is kept by name.
const UNREAD_NAMED_MAX: u64 = 1_000;

const TABLES: &str = "
    CREATE TABLE done (file BLOB PRIMARY KEY, octets INTEGER NOT NULL, messages INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE came (id BLOB, owner BLOB, author BLOB NOT NULL, PRIMARY KEY (id, owner)) WITHOUT ROWID;
    CREATE TABLE answered (id BLOB, owner BLOB, PRIMARY KEY (id, owner)) WITHOUT ROWID;
    CREATE TABLE known (owner BLOB, sender BLOB, written INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (owner, sender)) WITHOUT ROWID;
    CREATE TABLE lists (owner BLOB, list TEXT, letters INTEGER NOT NULL, PRIMARY KEY (owner, list)) WITHOUT ROWID;
    CREATE TABLE list_address (address BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE unread (place TEXT NOT NULL, why TEXT NOT NULL);
    CREATE TABLE counted (what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;";

/// Why nothing can be written down.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The file cannot be made.
    #[error(
        "{path}: what an import finds out is kept there and it cannot be made: {error}; name another with --state"
    )]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is something else in its place.
    #[error("{0}: this is no file that an import made; it is left alone, name another with --state")]
    Foreign(PathBuf),
    /// Another program has it open.
    #[error("{0}: another import of the same mail is running")]
    InUse(PathBuf),
    /// The file cannot be written or read.
    #[error("what the import finds out cannot be kept: {0}; make room, or name another file with --state")]
    Storage(#[from] rusqlite::Error),
}

/// What can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Messages read.
    Messages,
    /// Addresses of address books.
    Addresses,
    /// Entries that are new in the book.
    New,
    /// Messages of mboxes that could not be read.
    Unread,
}

impl Count {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Addresses => "addresses",
            Self::New => "new",
            Self::Unread => "unread",
        }
    }
}

/// The facts. What cannot be kept or read fails as [`FactsError::Storage`].
pub struct Facts {
    conn: Connection,
    /// Where they are; `None`: in memory.
    path: Option<PathBuf>,
    messages: u32,
    octets: u64,
}

impl Facts {
    /// Facts that end with the program.
    #[cfg(test)]
    pub(super) fn in_memory() -> Result<Self, FactsError> {
        Self::over(Connection::open_in_memory()?, None)
    }

    /// Facts in this file: those it holds, or none yet.
    pub fn open(path: &Path) -> Result<Self, FactsError> {
        let create = |error| FactsError::Create { path: path.into(), error };
        // New, and so through no link: whoever may write beside the ledger chooses no other file for it.
        match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !std::fs::symlink_metadata(path).map_err(create)?.is_file() {
                    return Err(FactsError::Foreign(path.into()));
                }
            }
            made => drop(made.map_err(create)?),
        }
        let in_use = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => FactsError::InUse(path.into()),
            Some(rusqlite::ErrorCode::NotADatabase) => FactsError::Foreign(path.into()),
            _ => error.into(),
        };
        Self::over(Connection::open(path)?, Some(path.into())).map_err(|error| match error {
            FactsError::Storage(error) => in_use(error),
            error => error,
        })
    }

    fn over(conn: Connection, path: Option<PathBuf>) -> Result<Self, FactsError> {
        conn.busy_timeout(std::time::Duration::ZERO)?;
        let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let things: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if things > 0 && application != APPLICATION_ID {
            return Err(FactsError::Foreign(path.unwrap_or_default()));
        }
        conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        // After a loss of power the last pieces may be missing; they are read again.
        conn.pragma_update(None, "synchronous", "NORMAL")?;
        conn.pragma_update(None, "cache_size", CACHE_KIB)?;
        conn.set_prepared_statement_cache_capacity(32);
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let format: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if format != FORMAT {
            let mut tables = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
            let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            drop(tables);
            for name in names {
                conn.execute_batch(&format!("DROP TABLE \"{}\"", name.replace('"', "\"\"")))?;
            }
            conn.execute_batch(TABLES)?;
            conn.pragma_update(None, "application_id", APPLICATION_ID)?;
            conn.pragma_update(None, "user_version", FORMAT)?;
        }
        Ok(Self { conn, path, messages: 0, octets: 0 })
    }

    /// Writes down what has come since the last time.
    pub fn write_down(&mut self) -> Result<(), FactsError> {
        (self.messages, self.octets) = (0, 0);
        Ok(self.conn.execute_batch("COMMIT; BEGIN IMMEDIATE")?)
    }

    fn change(&self, sql: &str, params: impl Params) -> Result<(), FactsError> {
        self.conn.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    /// Deletes them: the import is done.
    pub fn discard(self) {
        let _ = self.conn.execute_batch("COMMIT");
        drop(self.conn);
        for suffix in ["-wal", "-shm", ""] {
            if let Some(path) = &self.path {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                let _ = std::fs::remove_file(name);
            }
        }
    }

    /// How much of a file of this length was read before.
    pub fn done(&self, file: &Path, length: u64) -> Result<Done, FactsError> {
        let mut find = self.conn.prepare_cached("SELECT octets, messages FROM done WHERE file = ?1")?;
        let row = find
            .query_row([key(file)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?
            .map(|(octets, messages)| (octets.unsigned_abs(), messages.unsigned_abs()));
        Ok(match row {
            Some((octets, _)) if octets == length => Done::All,
            Some((octets, messages)) if messages > 0 => Done::To { octets, messages },
            _ => Done::Nothing,
        })
    }

    /// Notes that a file was read up to the end of a message, the so many-th of an mbox (0: it is the file).
    pub fn mark(&mut self, file: &Path, end: u64, number: u64, octets: u64) -> Result<(), FactsError> {
        self.change(
            "INSERT OR REPLACE INTO done VALUES (?1, ?2, ?3)",
            params![key(file), end.cast_signed(), number.cast_signed()],
        )?;
        self.messages += 1;
        self.octets = self.octets.saturating_add(octets);
        if self.messages >= PIECE_MESSAGES || self.octets >= PIECE_OCTETS {
            self.write_down()?;
        }
        Ok(())
    }

    /// Counts.
    pub fn count(&self, what: Count, more: u64) -> Result<(), FactsError> {
        self.change(
            "INSERT INTO counted VALUES (?1, ?2)
             ON CONFLICT (what) DO UPDATE SET count = count + excluded.count",
            params![what.as_str(), more.cast_signed()],
        )
    }

    /// What was counted, interruptions aside.
    pub fn counted(&self, what: Count) -> Result<u64, FactsError> {
        let mut find = self.conn.prepare_cached("SELECT count FROM counted WHERE what = ?1")?;
        let count: Option<i64> = find.query_row([what.as_str()], |row| row.get(0)).optional()?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    /// Notes a message of an mbox that could not be read.
    pub fn unread(&self, place: &str, why: &str) -> Result<(), FactsError> {
        self.count(Count::Unread, 1)?;
        if self.counted(Count::Unread)? <= UNREAD_NAMED_MAX {
            self.change("INSERT INTO unread VALUES (?1, ?2)", [place, why])?;
        }
        Ok(())
    }

    /// The first of those messages: where, and why.
    pub fn unread_named(&self) -> Result<Vec<(String, String)>, FactsError> {
        let mut find = self.conn.prepare_cached("SELECT place, why FROM unread ORDER BY rowid")?;
        let rows = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes that somebody is known.
    pub fn known(&self, owner: &Address, sender: &Address) -> Result<(), FactsError> {
        self.change("INSERT OR IGNORE INTO known (owner, sender) VALUES (?1, ?2)", [owner, sender])
    }

    /// Notes a letter that came; of two authors' with the same Message-ID neither counts, for anybody can write one that he
    /// has seen.
    pub fn came(&self, id: &[u8; 16], owner: &Address, author: &Address) -> Result<(), FactsError> {
        self.change(
            "INSERT INTO came VALUES (?1, ?2, ?3)
             ON CONFLICT (id, owner) DO UPDATE SET author = x'' WHERE author <> excluded.author",
            params![id, owner, author],
        )
    }

    /// Notes a letter that somebody answered.
    pub fn answered(&self, id: &[u8; 16], owner: &Address) -> Result<(), FactsError> {
        self.change("INSERT OR IGNORE INTO answered VALUES (?1, ?2)", params![id, owner])
    }

    /// Counts a letter of a list.
    pub fn list(&self, owner: &Address, list: &Sender) -> Result<(), FactsError> {
        self.change(
            "INSERT INTO lists VALUES (?1, ?2, 1)
             ON CONFLICT (owner, list) DO UPDATE SET letters = letters + 1",
            params![owner, list.to_string()],
        )
    }

    /// Notes an address that a list takes letters at: nobody's own.
    pub fn list_address(&self, address: &Address) -> Result<(), FactsError> {
        self.change("INSERT OR IGNORE INTO list_address VALUES (?1)", [address])
    }

    /// Brings together letters and answers to them, and leaves lists' addresses out; returns how many are known.
    pub fn conclude(&mut self) -> Result<u64, FactsError> {
        self.conn.execute_batch(
            "INSERT OR IGNORE INTO known (owner, sender)
                 SELECT came.owner, came.author FROM answered JOIN came USING (id, owner)
                 WHERE came.author <> x'';
             DELETE FROM known WHERE sender IN (SELECT address FROM list_address);",
        )?;
        self.write_down()?;
        let known: i64 = self.conn.query_row("SELECT count(*) FROM known", [], |row| row.get(0))?;
        Ok(known.unsigned_abs())
    }

    /// The next entries to write into the book, in order of recipient and sender; none when all are written.
    pub fn entries(&self, max: u32, now: u64) -> Result<Vec<NewEntry>, FactsError> {
        let mut find = self
            .conn
            .prepare_cached("SELECT owner, sender FROM known WHERE NOT written ORDER BY 1, 2 LIMIT ?1")?;
        let mut rows = find.query([max])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            if let (Some(owner), Some(sender)) = (address(row, 0)?, address(row, 1)?) {
                let sender = Sender::Address(sender);
                entries.push(NewEntry {
                    recipient: Some(owner),
                    sender,
                    block: false,
                    how: How::Imported,
                    since: now,
                });
            }
        }
        Ok(entries)
    }

    /// Notes that these entries stand in the book, so many of them newly.
    pub fn written(&mut self, entries: &[NewEntry], new: u64) -> Result<(), FactsError> {
        for entry in entries {
            if let (Some(owner), Sender::Address(sender)) = (&entry.recipient, &entry.sender) {
                let sql = "UPDATE known SET written = 1 WHERE owner = ?1 AND sender = ?2";
                self.change(sql, [owner, sender])?;
            }
        }
        self.count(Count::New, new)?;
        self.write_down()
    }

    /// Lists with a List-Id: whose, which, and how many letters, most letters first.
    pub fn lists(&self) -> Result<Vec<(Address, Sender, u64)>, FactsError> {
        let mut find = self
            .conn
            .prepare_cached("SELECT owner, list, letters FROM lists ORDER BY letters DESC, owner, list")?;
        let mut rows = find.query([])?;
        let mut lists = Vec::new();
        while let Some(row) = rows.next()? {
            let list = row.get::<_, String>(1)?.parse();
            if let (Some(owner), Ok(list)) = (address(row, 0)?, list) {
                lists.push((owner, list, row.get::<_, i64>(2)?.unsigned_abs()));
            }
        }
        Ok(lists)
    }
}

fn address(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Address>> {
    Ok(Address::parse(&row.get::<_, Vec<u8>>(column)?).ok())
}

/// By which a file is known again. In a Maildir that is its name without flags, whether it lies in `new` or `cur`: a mail
/// program that shows a letter moves it, and it is still the same.
fn key(file: &Path) -> [u8; 16] {
    let name = file.file_name().unwrap_or_default().as_bytes();
    let bare = name.windows(3).rposition(|part| part == b":2,").and_then(|at| name.get(..at)).unwrap_or(name);
    let parent = file.parent().unwrap_or(Path::new(""));
    let directory = if parent.ends_with("new") { parent.with_file_name("cur") } else { parent.to_owned() };
    let mut hash = blake3::Hasher::new();
    hash.update(directory.as_os_str().as_bytes()).update(b"\0").update(bare);
    let mut key = [0; 16];
    hash.finalize_xof().fill(&mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_was_shown_is_still_the_same() {
        let same = |a: &str, b: &str| key(Path::new(a)) == key(Path::new(b));
        assert!(same("/m/new/17.x", "/m/cur/17.x:2,"));
        assert!(same("/m/cur/17.x:2,S", "/m/cur/17.x:2,RS"));
        assert!(!same("/m/cur/17.x", "/m/cur/18.x"));
        assert!(!same("/m/cur/17.x", "/m/.Sent/cur/17.x"));
        assert!(!same("/m/a", "/m/b"));
    }

    #[test]
    fn what_was_written_down_is_there_after_an_interruption_and_the_rest_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("import.state");
        let (mbox, letter) = (Path::new("/m/mbox"), Path::new("/m/cur/1"));
        let mut facts = Facts::open(&path).unwrap();
        facts.mark(mbox, 100, 3, 100).unwrap();
        facts.mark(letter, 50, 0, 50).unwrap();
        facts.count(Count::Messages, 4).unwrap();
        facts.write_down().unwrap();
        facts.count(Count::Messages, 1).unwrap();
        assert!(matches!(Facts::open(&path), Err(FactsError::InUse(_))));
        drop(facts);
        let facts = Facts::open(&path).unwrap();
        assert_eq!(facts.counted(Count::Messages).unwrap(), 4);
        assert_eq!(facts.done(mbox, 100).unwrap(), Done::All);
        assert_eq!(facts.done(mbox, 200).unwrap(), Done::To { octets: 100, messages: 3 });
        assert_eq!(facts.done(letter, 50).unwrap(), Done::All);
        assert_eq!(facts.done(letter, 51).unwrap(), Done::Nothing, "another letter of that name");
        assert_eq!(facts.done(Path::new("/m/cur/2"), 50).unwrap(), Done::Nothing);
        facts.discard();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn what_no_import_made_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let foreign = |path: &Path| {
            assert!(matches!(Facts::open(path), Err(FactsError::Foreign(p)) if p == path), "{path:?}");
        };
        let text = directory.path().join("text");
        std::fs::write(&text, "no database, and longer than the header of one".repeat(10)).unwrap();
        foreign(&text);
        let books = directory.path().join("farthing.db");
        let conn = Connection::open(&books).unwrap();
        conn.execute_batch("CREATE TABLE money (micros INTEGER); PRAGMA user_version = 7").unwrap();
        foreign(&books);
        let money: i64 = conn.query_row("SELECT count(*) FROM money", [], |row| row.get(0)).unwrap();
        assert_eq!(money, 0, "the table is there");
        let (link, elsewhere) = (directory.path().join("import.state"), directory.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        foreign(&link);
        assert!(!elsewhere.exists());
        foreign(directory.path());
    }
}
