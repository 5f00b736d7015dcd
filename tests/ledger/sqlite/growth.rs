//! The file follows the rate of the mail, not the age of the books.

use std::sync::Arc;

use farthing::ledger::{
    Decision, Ledger, Mark, MarkTarget, Order, OrderedStamp, RETRY_WINDOW_S, Sale, StampKey, WorkCandidate,
    settling::{HISTORY_KEPT_S, Settling as _},
    sqlite::SqliteLedger,
};

use super::{SqliteBooks, outsider};
use crate::support::*;

/// Letters a day, each with a stamp.
const LETTERS_DAILY: u64 = 8;
/// Days lived; more than twice what any row is kept.
const DAYS: u64 = 300;
/// How long stamps are good, in days.
const LIFETIME_DAYS: u64 = 30;
/// Every table that grows with the mail.
const TABLES: [&str; 13] = [
    "journal",
    "orders",
    "sold",
    "redeemed",
    "heads",
    "settled",
    "closed",
    "cuts",
    "worked",
    "work_days",
    "retried",
    "unwanted",
    "decisions",
];

/// A day of mail: an order, letters (some wanted, some unwanted, some again), one by work, some refused.
async fn live(ledger: &Arc<SqliteLedger>, day: u64) {
    let now = NOW + day * DAY;
    let expiry = (now / DAY + LIFETIME_DAYS) * DAY + DAY - 1;
    let id = move |n: u64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&day.to_be_bytes());
        id[8..].copy_from_slice(&n.to_be_bytes());
        id
    };
    let stamps =
        (0..LETTERS_DAILY + 2).map(|n| OrderedStamp { id: id(n), holder: [1; 32], signature: [1; 64] });
    let order = Order { now, expiry, stamps: stamps.collect(), ..order(&[]) };
    ledger.credit(buyer(), "credit", micros(50_000), "", now).await.unwrap();
    assert!(matches!(ledger.sell(order).await.unwrap(), Sale::Sold(_)));
    // At once, so that they share their commits.
    let mut letters = tokio::task::JoinSet::new();
    for n in 0..LETTERS_DAILY {
        let ledger = ledger.clone();
        letters.spawn(async move { live_letter(&*ledger, now, expiry, n, id(n)).await });
    }
    letters.join_all().await;
    let work =
        WorkCandidate { id: id(0), day: u32::try_from(now / DAY + 28).unwrap(), good: true, counts: true };
    redeem_one(&**ledger, at(now, letter(9, &[want_by_work("bob@b.example", &[work])]))).await;
    // As the daemon does it, though once a day.
    let clock = ledger.settling_clock(now).await.unwrap();
    assert_eq!(clock, now);
    settle(&**ledger, now).await;
}

async fn live_letter(ledger: &dyn Ledger, now: u64, expiry: u64, n: u64, id: [u8; 16]) {
    let mut candidate = stamp(0);
    candidate.key = StampKey { day: u32::try_from(expiry / DAY).unwrap(), id, ..candidate.key };
    candidate.signature = [1; 64];
    candidate.fingerprint = id;
    let mut letter = at(now, to_bob(0, &[candidate]));
    letter.digest[..16].copy_from_slice(&id);
    let number = paid(&redeem_one(ledger, letter.clone()).await);
    match n % 4 {
        0 => drop(ledger.mark(MarkTarget::Number(number), Mark::Wanted, now).await.unwrap()),
        1 => drop(ledger.mark(MarkTarget::Number(number), Mark::Unwanted, now).await.unwrap()),
        2 => drop(retried(&redeem_one(ledger, letter).await)),
        _ => {}
    }
    ledger.decided(Decision {
        time: now,
        recipient: address("bob@b.example"),
        author: None,
        authenticated: false,
        message_id: Some(id),
        result: "paid",
        reason: "",
        delivered: true,
        number: Some(number),
        list: None,
        unsubscribe: vec![],
        list_posts: vec![],
        reply_to: vec![],
    });
}

fn rows(books: &SqliteBooks) -> Vec<(&'static str, i64)> {
    let conn = outsider(&books.path());
    let count =
        |table| conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    TABLES.iter().map(|table| (*table, count(table))).collect()
}

fn pages(books: &SqliteBooks) -> i64 {
    outsider(&books.path()).query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn months_of_mail_take_no_more_room_than_a_few() {
    let books = SqliteBooks::new();
    let ledger = Arc::new(books.opened());
    // Longer than any row is kept: stamps, the time for retries, and history.
    let settled_in = LIFETIME_DAYS + (RETRY_WINDOW_S + HISTORY_KEPT_S) / DAY + 40;
    let mut then = None;
    for day in 0..DAYS {
        live(&ledger, day).await;
        if day == settled_in {
            then = Some((rows(&books), pages(&books)));
        }
        if day % 60 == 0 {
            must_balance(&*ledger).await;
        }
    }
    let (rows_then, pages_then) = then.unwrap();
    for ((table, then), (_, now)) in rows_then.into_iter().zip(rows(&books)) {
        // A busy machine puts less into a batch: there are more heads then, but not one for each day that went by.
        let more = if table == "heads" { then / 2 } else { then / 10 };
        assert!(
            now > 0 && now <= then + more + 40,
            "{table}: {then} rows, {} days later {now}",
            DAYS - settled_in
        );
    }
    let pages_now = pages(&books);
    assert!(pages_now <= pages_then + pages_then / 10, "{pages_then} pages became {pages_now}");
    must_balance(&*ledger).await;
    // And what was dropped is in the sums: all that was ever kept.
    let kept = ledger.balances().await.unwrap().into_iter().find(|(name, _)| name == "kept").unwrap().1;
    let settled_days = DAYS - 31;
    assert!(kept >= (settled_days * LETTERS_DAILY * 3 / 4 * PRICE).cast_signed() - 100_000, "{kept}");
    ledger.close().await;
}
