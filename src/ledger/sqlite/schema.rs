//! Whether a file is a ledger, of which schema and currency; making one, and bringing an old one up to date.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use refinery::{Migration, Runner};
use rusqlite::{Connection, OptionalExtension};

use super::{
    fail::Fail,
    place::{Place, Role},
};
use crate::{ledger::LedgerError, money::Currency};

/// `PRAGMA application_id` of a ledger: "FRTG".
const APPLICATION_ID: i64 = 0x4652_5447;
/// Every migration, in order. One that was released is never edited: refinery would refuse the ledgers it made.
const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__books", include_str!("v1.sql")),
    ("V2__freepost", include_str!("v2.sql")),
    ("V3__sent", include_str!("v3.sql")),
    ("V4__book", include_str!("v4.sql")),
    ("V5__marks", include_str!("v5.sql")),
    ("V6__outbox", include_str!("v6.sql")),
    ("V7__life", include_str!("v7.sql")),
    ("V8__funding", include_str!("v8.sql")),
    ("V9__passes", include_str!("v9.sql")),
    ("V10__offices", include_str!("v10.sql")),
    ("V11__copies", include_str!("v11.sql")),
    ("V12__grants", include_str!("v12.sql")),
    ("V13__franking", include_str!("v13.sql")),
];
/// Permissions of a new ledger: it names who writes to whom.
const FILE_MODE: u32 = 0o600;
/// Pause before looking again whether another process has finished the same migration, in milliseconds.
const MIGRATION_PAUSE_MS: u64 = 20;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory for a new ledger is not there.
    #[error("{}: the directory {} does not exist; create it, owned by the daemon's user", path.display(), directory.display())]
    NoDirectory {
        /// The ledger.
        path: PathBuf,
        /// Where it should stand.
        directory: PathBuf,
    },
    /// Only opened for reading, and not there.
    #[error("{}: no ledger there yet; the daemon makes it at its first start", .0.display())]
    Missing(PathBuf),
    /// The file cannot be made, opened or read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The ledger.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// SQLite cannot work with it.
    #[error("{}: {words}", path.display())]
    Storage {
        /// The ledger.
        path: PathBuf,
        /// What SQLite says.
        words: String,
    },
    /// Some other file.
    #[error("{}: this file is not a ledger of farthing; name another in ledger.url or move it away", .0.display())]
    NotALedger(PathBuf),
    /// Written by a newer version of this program.
    #[error("{}: its schema is {found}, newer than {known} that this program knows; install the newer farthing", path.display())]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Newest schema known here.
        known: i64,
    },
    /// Written by an older version, and only opened for reading.
    #[error("{}: its schema is {found}, older than {known}; start the daemon once to bring it up to date", path.display())]
    Older {
        /// The ledger.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Newest schema known here.
        known: i64,
    },
    /// The books are in another currency; amounts cannot be read as this one.
    #[error("{}: its books are in {found}, but ledger.currency is {asked}", path.display())]
    Currency {
        /// The ledger.
        path: PathBuf,
        /// Currency of the books.
        found: String,
        /// Currency asked for.
        asked: Currency,
    },
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// An empty database, or one whose making was broken off.
    Empty,
    /// A ledger of this schema version.
    Ledger(i64),
    /// Somebody else's.
    Foreign,
}

/// Looks what the database is.
pub(super) fn standing(conn: &Connection) -> rusqlite::Result<Standing> {
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let has = |table: &str| -> rusqlite::Result<bool> {
        conn.query_row("SELECT count(*) FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
    };
    let history = has("refinery_schema_history")?;
    if application == APPLICATION_ID {
        if !history {
            return Ok(Standing::Foreign);
        }
        let version: Option<i64> =
            conn.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))?;
        return Ok(version.map_or(Standing::Empty, Standing::Ledger));
    }
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let empty = application == 0 && (tables == 0 || (history && !has("account")?));
    Ok(if empty { Standing::Empty } else { Standing::Foreign })
}

/// Fails unless the database is a ledger that this program can use as it stands.
pub(super) fn require_current(
    conn: &Connection,
    standing: &Standing,
    path: &Path,
    currency: Currency,
) -> Result<(), OpenError> {
    let path = path.to_owned();
    let known = newest_schema();
    match *standing {
        Standing::Foreign => return Err(OpenError::NotALedger(path)),
        Standing::Empty => return Err(OpenError::Missing(path)),
        Standing::Ledger(found) if found > known => return Err(OpenError::Newer { path, found, known }),
        Standing::Ledger(found) if found < known => return Err(OpenError::Older { path, found, known }),
        Standing::Ledger(_) => {}
    }
    match currency_of(conn).map_err(|e| sqlite_error(&path, &e))? {
        Some(found) if found == currency.as_str() => Ok(()),
        found => Err(OpenError::Currency { path, found: found.unwrap_or_default(), asked: currency }),
    }
}

fn currency_of(conn: &Connection) -> rusqlite::Result<Option<String>> {
    conn.query_row("SELECT value FROM facts WHERE name = 'currency'", [], |row| row.get(0)).optional()
}

/// Makes the ledger when there is none, and brings an older one up to date. Two processes may do it at once.
pub(super) fn prepare(place: &Place) -> Result<(), OpenError> {
    create_file(&place.path)?;
    let fault = |e: rusqlite::Error| sqlite_error(&place.path, &e);
    let mut conn = place.open_file(Role::Writer).map_err(fault)?;
    let deadline = Instant::now() + Duration::from_millis(place.busy_timeout_ms);
    loop {
        let before = standing(&conn).map_err(fault)?;
        let tried = match before {
            Standing::Ledger(version) if version >= newest_schema() => break,
            Standing::Foreign => break,
            Standing::Empty | Standing::Ledger(_) => migrate(&mut conn),
        };
        // Another process may have done the same a moment earlier; then the next look finds it done.
        if let Err(words) = tried {
            if Instant::now() >= deadline {
                return Err(OpenError::Storage { path: place.path.clone(), words });
            }
            thread::sleep(Duration::from_millis(MIGRATION_PAUSE_MS));
        }
    }
    // Noted once, by whoever made the tables; or now, if he did not live to do it.
    if standing(&conn).map_err(fault)? == Standing::Ledger(newest_schema())
        && currency_of(&conn).map_err(fault)?.is_none()
    {
        conn.execute(
            "INSERT INTO facts (name, value) VALUES ('currency', ?1) ON CONFLICT DO NOTHING",
            [place.currency.as_str()],
        )
        .map_err(fault)?;
    }
    let now = standing(&conn).map_err(fault)?;
    require_current(&conn, &now, &place.path, place.currency)
}

/// Names of tables, indices and triggers that are not those of a ledger as this program makes it: without its
/// unique keys a ledger could hold a stamp twice.
pub(super) fn deviations(conn: &Connection) -> Result<Vec<String>, Fail> {
    let mut fresh = Connection::open_in_memory()?;
    run_migrations(&mut fresh).map_err(|words| Fail::Storage(LedgerError::Unavailable(words)))?;
    let (mut should, mut is) = (objects(&fresh)?, objects(conn)?);
    should.retain(|object| !is.remove(object));
    let mut names: Vec<_> = should.into_iter().chain(is).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn objects(conn: &Connection) -> Result<HashSet<(String, Option<String>)>, Fail> {
    // SQLite's own tables (sqlite_stat1) come and go.
    let mut all = conn.prepare("SELECT name, sql FROM sqlite_schema WHERE tbl_name NOT GLOB 'sqlite_*'")?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn migrate(conn: &mut Connection) -> Result<(), String> {
    // The log survives the process; a change of mode needs the file to itself for a moment.
    let mode: String =
        conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(|e| e.to_string())?;
    if mode != "wal" {
        return Err(format!("SQLite keeps journal mode {mode} there; the ledger needs a local file system"));
    }
    run_migrations(conn)
}

/// Makes the tables, or brings them up to date.
pub(super) fn run_migrations(conn: &mut Connection) -> Result<(), String> {
    let migrations: Result<Vec<_>, _> =
        MIGRATIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql)).collect();
    let migrations = migrations.map_err(|e| e.to_string())?;
    Runner::new(&migrations).run(conn).map_err(|e| e.to_string())?;
    Ok(())
}

fn create_file(path: &Path) -> Result<(), OpenError> {
    if path.exists() {
        return Ok(());
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(OpenError::NoDirectory { path: path.to_owned(), directory: directory.to_owned() });
    }
    let fault = |error| OpenError::Io { path: path.to_owned(), error };
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(_) => fs::File::open(directory).and_then(|d| d.sync_all()).map_err(fault),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(fault(e)),
    }
}

/// The version in the name of the last migration: numbers may be left out.
fn newest_schema() -> i64 {
    let digits = MIGRATIONS.last().and_then(|(name, _)| name.strip_prefix('V')?.split('_').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(i64::MAX)
}

pub(super) fn sqlite_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::NotALedger(path.to_owned()),
        _ => OpenError::Storage { path: path.to_owned(), words: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_of_every_older_schema_become_as_new_ones_are() {
        assert_eq!(newest_schema(), 13);
        for version in 1..MIGRATIONS.len() {
            let mut conn = Connection::open_in_memory().unwrap();
            let older: Vec<_> = MIGRATIONS
                .iter()
                .take(version)
                .map(|(name, sql)| Migration::unapplied(name, sql).unwrap())
                .collect();
            Runner::new(&older).run(&mut conn).unwrap();
            assert!(!deviations(&conn).unwrap().is_empty(), "{version}");
            run_migrations(&mut conn).unwrap();
            assert_eq!(deviations(&conn).unwrap(), Vec::<String>::new(), "{version}");
        }
    }
}
