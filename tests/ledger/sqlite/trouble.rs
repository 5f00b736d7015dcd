//! Trouble with the storage: an answer that says so, and all is well again when it is over.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use farthing::ledger::{
    Ledger, LedgerError, Letter, Mark, MarkError, MarkTarget,
    sqlite::{self, Options, SqliteLedger},
};

use super::{SqliteBooks, options, outsider};
use crate::support::*;

/// Long enough to tell from at once, short enough for a test.
const PATIENCE_MS: u64 = 300;

fn opened_impatiently(path: &Path) -> SqliteLedger {
    sqlite::open(path, Options { busy_timeout_ms: PATIENCE_MS, ..options() }).unwrap()
}

async fn must_be_unavailable(ledger: &dyn Ledger, letter: Letter, words: &str) {
    let answer = ledger.redeem(letter).await;
    let Err(LedgerError::Unavailable(said)) = &answer else { panic!("{answer:?}") };
    assert!(said.contains(words), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_held_for_long_is_given_up_on_by_all_at_once() {
    let books = SqliteBooks::new();
    books.lived_in().await.close().await;
    let ledger = Arc::new(opened_impatiently(&books.path()));
    let holder = outsider(&books.path());
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let tasks = (0..50).map(|n| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { must_be_unavailable(&*ledger, to_bob(n, &[stamp(5)]), "locked").await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(PATIENCE_MS), "it waited for the lock: {waited:?}");
    assert!(waited < Duration::from_millis(10 * PATIENCE_MS), "and not once for each: {waited:?}");
    let marked = ledger.mark(MarkTarget::Number(1), Mark::Wanted, NOW).await;
    assert!(matches!(marked, Err(MarkError::Ledger(LedgerError::Unavailable(_)))), "{marked:?}");
    assert!(ledger.health().await.is_err());
    ledger.balances().await.unwrap();
    holder.execute_batch("ROLLBACK").unwrap();
    paid(&redeem_one(&*ledger, to_bob(5, &[stamp(5)])).await);
    must_balance(&*ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_lock_is_waited_for() {
    let books = SqliteBooks::new();
    books.lived_in().await.close().await;
    let ledger = Arc::new(books.opened());
    let holder = outsider(&books.path());
    holder.execute_batch("BEGIN IMMEDIATE; UPDATE facts SET value = value").unwrap();
    let waiting = {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { paid(&redeem_one(&*ledger, to_bob(5, &[stamp(5)])).await) })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    holder.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_given_up_before_its_turn_redeems_nothing() {
    let books = SqliteBooks::new();
    books.lived_in().await.close().await;
    let ledger = Arc::new(books.opened());
    let holder = outsider(&books.path());
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let given_up = {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.redeem(to_bob(5, &[stamp(5)])).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    holder.execute_batch("ROLLBACK").unwrap();
    paid(&redeem_one(&*ledger, to_bob(6, &[stamp(5)])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_queue_holds_are_sent_away_at_once() {
    let books = SqliteBooks::new();
    books.lived_in().await.close().await;
    let ledger = Arc::new(opened_impatiently(&books.path()));
    let holder = outsider(&books.path());
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let tasks = (0..6_000_u32).map(|_| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.redeem(to_bob(5, &[stamp(5)])).await })
    });
    let mut full = 0;
    for task in tasks.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Err(LedgerError::QueueFull) => full += 1,
            Err(LedgerError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(full > 0);
    holder.execute_batch("ROLLBACK").unwrap();
    paid(&redeem_one(&*ledger, to_bob(5, &[stamp(5)])).await);
}

#[tokio::test]
async fn a_ledger_taken_away_is_missed_and_found_again() {
    let books = SqliteBooks::new();
    let ledger = books.lived_in().await;
    let away = books.directory().join("away");
    fs::create_dir(&away).unwrap();
    let names = ["ledger.db", "ledger.db-wal", "ledger.db-shm"];
    for name in names {
        fs::rename(books.directory().join(name), away.join(name)).unwrap();
    }
    must_be_unavailable(&*ledger, to_bob(5, &[stamp(5)]), "No such file").await;
    must_be_unavailable(&*ledger, to_bob(2, &[bad(stamp(2))]), "No such file").await;
    assert!(ledger.health().await.is_err());
    assert!(!books.path().exists(), "no new one is made in its place");
    for name in names {
        fs::rename(away.join(name), books.directory().join(name)).unwrap();
    }
    paid(&redeem_one(&*ledger, to_bob(5, &[stamp(5)])).await);
    ledger.health().await.unwrap();
    must_balance(&*ledger).await;
}

#[tokio::test]
async fn a_ledger_replaced_by_another_is_opened_anew() {
    let books = SqliteBooks::new();
    let ledger = books.lived_in().await;
    let copy = books.directory().join("copy.db");
    ledger.backup(&copy).await.unwrap();
    paid(&redeem_one(&*ledger, to_bob(5, &[stamp(5)])).await);
    for name in ["ledger.db-wal", "ledger.db-shm"] {
        fs::remove_file(books.directory().join(name)).unwrap();
    }
    fs::rename(&copy, books.path()).unwrap();
    // The copy knows nothing of the fifth stamp; what is answered now is about the copy.
    paid(&redeem_one(&*ledger, to_bob(6, &[stamp(5)])).await);
    retried(&redeem_one(&*ledger, to_bob(2, &[bad(stamp(2))])).await);
    must_balance(&*ledger).await;
    must_balance(&books.opened()).await;
}

#[tokio::test]
async fn a_log_deleted_by_a_tidy_hand_costs_nothing() {
    for deleted in [&["ledger.db-wal"][..], &["ledger.db-shm"], &["ledger.db-wal", "ledger.db-shm"]] {
        let books = SqliteBooks::new();
        let ledger = books.lived_in().await;
        for name in deleted {
            fs::remove_file(books.directory().join(name)).unwrap();
        }
        paid(&redeem_one(&*ledger, to_bob(5, &[stamp(5)])).await);
        for n in [2, 3, 5] {
            retried(&redeem_one(&books.opened(), to_bob(n, &[stamp(n)])).await);
        }
        must_balance(&books.opened()).await;
        must_balance(&*ledger).await;
    }
}

#[tokio::test]
async fn another_program_s_file_in_its_place_is_not_written() {
    let books = SqliteBooks::new();
    let ledger = books.lived_in().await;
    let mine = books.directory().join("mine");
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        fs::rename(books.directory().join(name), format!("{}{}", mine.display(), &name[9..])).unwrap();
    }
    outsider(&books.path()).execute_batch("CREATE TABLE diary (text)").unwrap();
    must_be_unavailable(&*ledger, to_bob(5, &[stamp(5)]), "not a ledger").await;
}

#[tokio::test]
async fn a_ledger_that_may_not_be_written_says_so() {
    let books = SqliteBooks::new();
    let ledger = books.lived_in().await;
    let hand = outsider(&books.path());
    // The way a file system that turned read-only shows, for any user: no row can be written.
    hand.execute_batch("CREATE TRIGGER stop BEFORE INSERT ON redeemed BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let refused = ledger.redeem(to_bob(5, &[stamp(5)])).await;
    assert!(matches!(refused, Err(LedgerError::Damaged(_))), "{refused:?}");
    hand.execute_batch("DROP TRIGGER stop").unwrap();
    paid(&redeem_one(&*ledger, to_bob(5, &[stamp(5)])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_request_fails_alone() {
    let books = SqliteBooks::new();
    books.lived_in().await.close().await;
    let ledger = Arc::new(books.opened());
    let hand = outsider(&books.path());
    hand.execute_batch(
        "CREATE TRIGGER poison BEFORE INSERT ON redeemed WHEN NEW.id = x'06060606060606060606060606060606'
         BEGIN SELECT RAISE(ABORT, 'poison'); END;
         BEGIN IMMEDIATE;",
    )
    .unwrap();
    // While the lock is held they gather, and form one batch when it goes.
    let tasks = (5..=9_u8).map(|n| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { (n, ledger.redeem(to_bob(n, &[stamp(n)])).await) })
    });
    let tasks: Vec<_> = tasks.collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    hand.execute_batch("ROLLBACK").unwrap();
    for task in tasks {
        let (n, outcome) = task.await.unwrap();
        match outcome {
            Err(LedgerError::Damaged(words)) => assert!(n == 6 && words.contains("poison"), "{n}: {words}"),
            other => drop(paid(&other.unwrap()[0])),
        }
    }
    hand.execute_batch("DROP TRIGGER poison").unwrap();
    paid(&redeem_one(&*ledger, to_bob(6, &[stamp(6)])).await);
    must_balance(&*ledger).await;
}

#[tokio::test]
async fn dropping_a_ledger_returns_at_once_and_keeps_what_was_queued() {
    let books = SqliteBooks::new();
    let ledger = books.lived_in().await;
    let holder = outsider(&books.path());
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    ledger.decided(farthing::ledger::Decision {
        time: NOW,
        recipient: address("bob@b.example"),
        author: Some(address("alice@a.example")),
        authenticated: true,
        message_id: Some([1; 16]),
        result: "known",
        reason: "",
        delivered: true,
        number: None,
        list: None,
        unsubscribe: vec![],
        reply_to: vec![],
        list_posts: vec![],
    });
    let begun = Instant::now();
    drop(ledger);
    assert!(begun.elapsed() < Duration::from_secs(1), "it does not wait for the lock");
    holder.execute_batch("ROLLBACK").unwrap();
    let again = books.opened();
    let target = MarkTarget::MessageId([1; 16], address("bob@b.example"));
    let deadline = Instant::now() + Duration::from_secs(5);
    while again.mark(target.clone(), Mark::Wanted, NOW).await.is_err() {
        assert!(Instant::now() < deadline, "the decision was written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
