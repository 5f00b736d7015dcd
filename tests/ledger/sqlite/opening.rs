//! Making, opening, looking without a trace, copying.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use farthing::ledger::{
    Ledger, LedgerError,
    sqlite::{self, BackupError, OpenError, Options},
};

use super::{SqliteBooks, options, outsider};
use crate::support::*;

#[tokio::test]
async fn a_new_ledger_is_readable_by_its_owner_alone() {
    let books = SqliteBooks::new();
    let ledger = books.opened();
    ledger.health().await.unwrap();
    for entry in fs::read_dir(books.directory()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    let pragma = |name: &str| -> String {
        outsider(&books.path()).query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let books = SqliteBooks::new();
    let path = books.directory().join("missing/ledger.db");
    let error = sqlite::open(&path, options()).err().unwrap();
    assert!(
        matches!(&error, OpenError::NoDirectory { directory, .. } if directory.ends_with("missing")),
        "{error}"
    );
}

#[test]
fn what_is_not_a_ledger_is_left_alone() {
    let books = SqliteBooks::new();
    for (name, make) in [
        ("text", (|path| fs::write(path, "dear diary, ".repeat(100)).unwrap()) as fn(&std::path::Path)),
        ("database", |path| outsider(path).execute_batch("CREATE TABLE account (id)").unwrap()),
        ("marked database", |path| outsider(path).execute_batch("PRAGMA application_id = 99").unwrap()),
    ] {
        let path = books.directory().join(name);
        make(&path);
        let before = fs::read(&path).unwrap();
        for opened in [sqlite::open(&path, options()), sqlite::open_read_only(&path, options())] {
            let error = opened.err().unwrap();
            assert!(matches!(&error, OpenError::NotALedger(_)), "{name}: {error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{name}");
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_ledger() {
    let books = SqliteBooks::new();
    fs::write(books.path(), "").unwrap();
    books.opened().health().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_not_touched() {
    let books = SqliteBooks::new();
    books.opened().close().await;
    outsider(&books.path())
        .execute_batch("INSERT INTO refinery_schema_history SELECT 99, 'later', applied_on, checksum FROM refinery_schema_history WHERE version = 1")
        .unwrap();
    for opened in [sqlite::open(books.path(), options()), sqlite::open_read_only(books.path(), options())] {
        let error = opened.err().unwrap();
        assert!(matches!(&error, OpenError::Newer { found: 99, .. }), "{error}");
    }
}

#[tokio::test]
async fn books_in_another_currency_are_refused() {
    let books = SqliteBooks::new();
    books.opened().close().await;
    let euro = Options { currency: "EUR".parse().unwrap(), ..options() };
    let error = sqlite::open(books.path(), euro).err().unwrap();
    assert!(matches!(&error, OpenError::Currency { found, .. } if found == "USD"), "{error}");
}

#[test]
fn many_may_make_it_at_once() {
    let books = SqliteBooks::new();
    std::thread::scope(|scope| {
        let opens: Vec<_> = (0..6).map(|_| scope.spawn(|| sqlite::open(books.path(), options()))).collect();
        for open in opens {
            open.join().unwrap().unwrap();
        }
    });
}

#[tokio::test]
async fn an_onlooker_leaves_no_trace() {
    let books = SqliteBooks::new();
    let missing = sqlite::open_read_only(books.path(), options()).err().unwrap();
    assert!(matches!(&missing, OpenError::Missing(_)), "{missing}");
    assert_eq!(fs::read_dir(books.directory()).unwrap().count(), 0);
    books.lived_in().await.close().await;
    let before = fs::read(books.path()).unwrap();
    let onlooker = sqlite::open_read_only(books.path(), options()).unwrap();
    must_balance(&onlooker).await;
    let refused = onlooker.credit(buyer(), "credit", micros(1), "", NOW).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    onlooker.close().await;
    drop(onlooker);
    assert_eq!(fs::read(books.path()).unwrap(), before);
    let names: Vec<_> = fs::read_dir(books.directory()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["ledger.db"]);
}

#[tokio::test]
async fn an_onlooker_sees_what_a_running_daemon_wrote() {
    let books = SqliteBooks::new();
    let running = books.lived_in().await;
    let onlooker = sqlite::open_read_only(books.path(), options()).unwrap();
    assert_eq!(onlooker.check().await.unwrap(), running.check().await.unwrap());
}

#[tokio::test]
async fn a_backup_while_running_is_whole() {
    let books = SqliteBooks::new();
    let ledger = books.lived_in().await;
    let copy = books.directory().join("copy.db");
    let busy = {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            for time in 0..200 {
                ledger.credit(buyer(), "credit", micros(1), "", NOW + time).await.unwrap();
            }
        })
    };
    ledger.backup(&copy).await.unwrap();
    busy.await.unwrap();
    assert!(matches!(ledger.backup(&copy).await, Err(BackupError::Exists(_))));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(books.directory()).unwrap().map(|e| e.unwrap().file_name()).collect();
    let beside: Vec<_> = names.iter().filter(|n| n.to_string_lossy().starts_with("copy")).collect();
    assert_eq!(beside, ["copy.db"], "nothing is left beside it");
    let copied = sqlite::open(&copy, options()).unwrap();
    must_balance(&copied).await;
    assert_eq!(retried_by(&copied).await, retried_by(&*ledger).await);
}

async fn retried_by(ledger: &dyn Ledger) -> u64 {
    retried(&redeem_one(ledger, to_bob(2, &[stamp(2)])).await)
}
