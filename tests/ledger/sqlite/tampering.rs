//! Whoever changes the file by hand is found by the proof.

use farthing::ledger::{Ledger, foreign::Foreign as _};

use super::{SqliteBooks, outsider};
use crate::support::*;

/// What is done to the file, and words of the faults that must be found.
const TABLE: &[(&str, &[&str])] = &[
    (
        "UPDATE account SET balance = balance + 1 WHERE name = 'stamps'",
        &["stamps is kept as", "sum to 1 micros"],
    ),
    (
        "UPDATE account SET balance = balance + 500 WHERE name GLOB 'account:*';
         UPDATE account SET balance = balance - 500 WHERE name = 'funding:credit'",
        &["account:", "funding:credit is kept as"],
    ),
    (
        "UPDATE journal SET amount = amount + 1 WHERE kind = 'credit'",
        &["batch 1 does not hold", "entries sum to"],
    ),
    ("UPDATE journal SET memo = 'gift' WHERE kind = 'credit'", &["batch 1 does not hold the rows"]),
    (
        "UPDATE journal SET amount = 2499 WHERE kind = 'refund'",
        &["gives back 0.2499c of 0.25c", "entries sum to"],
    ),
    ("DELETE FROM journal WHERE kind = 'refund'", &["has 0 rows and should have 1", "entries sum to"]),
    (
        "DELETE FROM redeemed WHERE seq = 2",
        &["batch 4 has 0 rows", "says 3 of its stamps were redeemed, but 2"],
    ),
    (
        "DELETE FROM redeemed WHERE seq = 2; DELETE FROM heads WHERE batch = 4",
        &["batches 4 to 4 are missing", "chain breaks at batch 5"],
    ),
    ("UPDATE redeemed SET id = randomblob(16) WHERE seq = 1", &["our own office that was not sold"]),
    (
        "UPDATE redeemed SET amount = 5000 WHERE seq = 1",
        &["does not agree with the stamp that was sold", "entries sum"],
    ),
    (
        "UPDATE redeemed SET recipient = CAST('eve@b.example' AS BLOB) WHERE seq = 1",
        &["batch 3 does not hold"],
    ),
    ("UPDATE redeemed SET claim = randomblob(16) WHERE seq = 1", &["batch 3 does not hold"]),
    ("UPDATE orders SET redeemed = 2", &["says 2 of its stamps were redeemed, but 3 were"]),
    ("UPDATE orders SET value = 2501", &["order 2 does not agree with its entry", "batch 2 does not hold"]),
    (
        "UPDATE sold SET signature = randomblob(64) WHERE id = x'09090909090909090909090909090909'",
        &["batch 2 does not hold"],
    ),
    (
        "DELETE FROM sold WHERE id = x'01010101010101010101010101010101'",
        &["order 2 has 8 stamps and should have 9", "not sold"],
    ),
    (
        "UPDATE heads SET head = randomblob(32) WHERE batch = 2",
        &["chain breaks at batch 2", "chain breaks at batch 3"],
    ),
    ("UPDATE heads SET time = time + 1 WHERE batch = 6", &["chain breaks at batch 6"]),
    ("DELETE FROM heads WHERE batch = 7", &["batch 7 has no head"]),
    (
        "UPDATE account SET name = 'swap' WHERE name = 'escrow:b.example';
         UPDATE account SET name = 'escrow:b.example' WHERE name = 'stamps';
         UPDATE account SET name = 'stamps' WHERE name = 'swap'",
        &["does not hold the rows", "went to stamps"],
    ),
    (
        "PRAGMA foreign_keys = OFF; DELETE FROM account WHERE name = 'office:other.example'",
        &["names a row of account that is not there"],
    ),
    (
        "UPDATE account SET balance = -balance WHERE name = 'escrow:b.example'",
        &["escrow:b.example is below zero", "entries sum to"],
    ),
];

/// The same for books whose oldest history was dropped.
const AGED: &[(&str, &[&str])] = &[
    (
        "UPDATE account SET carried = carried + 500, balance = balance + 500 WHERE name GLOB 'account:*';
         UPDATE account SET carried = carried - 500, balance = balance - 500 WHERE name = 'funding:credit'",
        &["is not what it was when history was cut off"],
    ),
    ("UPDATE account SET carried = carried + 1 WHERE name = 'kept'", &["and not to zero", "entries sum to"]),
    ("UPDATE cuts SET carried = zeroblob(32)", &["one was changed", "is not what it was"]),
    ("UPDATE cuts SET through = through - 1", &["one was changed", "are missing"]),
    ("UPDATE cuts SET head = randomblob(32)", &["one was changed", "chain breaks"]),
    ("UPDATE cuts SET day = 0", &["one was changed"]),
    ("DELETE FROM cuts", &["are missing", "no history was cut off"]),
    ("UPDATE settled SET last = last - 1", &["one was changed", "that were not given back sum to"]),
    ("DELETE FROM settled", &["does not say what it ends"]),
    ("UPDATE facts SET value = value + 1 WHERE name = 'settled'", &["what can still be given back sums to"]),
    ("UPDATE facts SET value = 0 WHERE name = 'settled'", &["entries settle them up to"]),
    (
        "UPDATE journal SET amount = amount - 1 WHERE kind = 'keep' AND seq = (SELECT max(entry) FROM settled)",
        &["that were not given back sum to", "entries sum to"],
    ),
];

/// The same for books in which a foreign domain gave a stamp back.
const SETTLED_ABROAD: &[(&str, &[&str])] = &[
    ("DELETE FROM reported", &["does not say which stamp it gives back", "does not hold the rows"]),
    ("UPDATE reported SET id = x'0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c'", &["does not hold the rows"]),
    ("UPDATE reported SET id = randomblob(16)", &["gives back a stamp that order", "does not hold the rows"]),
    (
        "UPDATE reported SET order_seq = 2",
        &["gives back a stamp that order 2", "of its stamps were redeemed"],
    ),
    (
        "UPDATE journal SET amount = amount - 1 WHERE kind = 'settlement'",
        &["does not give back to its buyer", "entries sum to", "stamps holds"],
    ),
    (
        "UPDATE journal SET credit = (SELECT id FROM account WHERE name = 'funding:credit') WHERE kind = 'settlement'",
        &["does not give back to its buyer", "entries sum to"],
    ),
    (
        "UPDATE orders SET redeemed = 0 WHERE audience = 'd.example'",
        &["says 0 of its stamps were redeemed, but 1 were"],
    ),
];

#[tokio::test]
async fn every_hand_on_a_settlement_is_found() {
    for (change, words) in SETTLED_ABROAD {
        let books = SqliteBooks::new();
        let ledger = books.lived_in().await;
        let sale = farthing::ledger::Order { audience: domain("d.example"), ..order(&[11, 12]) };
        ledger.sell(sale).await.unwrap();
        ledger.give_back(&domain("d.example"), &[id(11)], NOW).await.unwrap();
        must_balance(&*ledger).await;
        ledger.close().await;
        must_be_found(&books, change, words).await;
    }
}

#[tokio::test]
async fn every_hand_on_a_file_with_a_cut_is_found() {
    for (change, words) in AGED {
        let books = SqliteBooks::new();
        books.aged().await.close().await;
        must_be_found(&books, change, words).await;
    }
}

#[tokio::test]
async fn every_hand_on_the_file_is_found() {
    for (change, words) in TABLE {
        let books = SqliteBooks::new();
        books.lived_in().await.close().await;
        must_be_found(&books, change, words).await;
    }
}

async fn must_be_found(books: &SqliteBooks, change: &str, words: &[&str]) {
    {
        let hand = outsider(&books.path());
        hand.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
        hand.execute_batch(change).unwrap();
        drop(hand);
        let ledger = books.opened();
        let faults = ledger.check().await.unwrap().faults;
        for word in words {
            assert!(faults.iter().any(|fault| fault.contains(word)), "{change}: no `{word}` in {faults:#?}");
        }
    }
}

/// What is done to books with a voucher used, one open and a payment, and words of the fault that must be found.
const FUNDING: &[(&str, &str)] = &[
    ("DELETE FROM voucher_end", "voucher 1 was credited, but is not kept as used"),
    ("UPDATE voucher_end SET account = NULL", "voucher 1 was credited, but is not"),
    ("UPDATE voucher SET value = value + 1", "voucher 1 was credited, but is not"),
    ("DELETE FROM voucher_end; DELETE FROM voucher WHERE number = 1", "voucher 1 was credited, but is not"),
    ("DELETE FROM payment", "stripe cs_1 was credited, but is not"),
    ("UPDATE payment SET reference = 'cs_2'", "stripe cs_1 was credited, but is not"),
    (
        "INSERT INTO journal SELECT NULL, batch, time, kind, debit, credit, amount, memo, redeemed FROM journal",
        "voucher 1 was credited 2 times",
    ),
];

#[tokio::test]
async fn money_that_could_come_in_again_is_found() {
    use farthing::ledger::funding::{Funding as _, NewVouchers, Payment};
    for (change, words) in FUNDING {
        let books = SqliteBooks::new();
        let ledger = books.opened();
        let codes = vec![[1; 32], [2; 32]];
        let new = NewVouchers { now: NOW, value: micros(500), expiry: None, memo: String::new(), codes };
        ledger.voucher_issue(new).await.unwrap();
        ledger.voucher_use([1; 32], buyer(), NOW).await.unwrap();
        let (event, reference) = ("evt_1".into(), "cs_1".into());
        let (account, amount) = (buyer(), micros(700));
        ledger
            .payment(Payment { now: NOW, provider: "stripe", event, reference, account, amount })
            .await
            .unwrap();
        must_balance(&ledger).await;
        ledger.close().await;
        outsider(&books.path()).execute_batch(change).unwrap();
        let faults = books.opened().check().await.unwrap().faults;
        assert!(faults.iter().any(|fault| fault.contains(words)), "{change}: no `{words}` in {faults:#?}");
    }
}

#[tokio::test]
async fn an_id_redeemed_twice_behind_the_index_is_found() {
    let books = SqliteBooks::new();
    books.lived_in().await.close().await;
    let hand = outsider(&books.path());
    // The key taken away, a row doubled, and the key put back as a plain index by its old name.
    hand.execute_batch(
        "DROP INDEX redeemed_once;
         INSERT INTO redeemed SELECT 99, batch, time, day, office, id, debit, credit, amount, order_seq, number + 1,
                claim, recipient, author, authenticated FROM redeemed WHERE seq = 2;
         CREATE INDEX redeemed_once ON redeemed (day, office, id);",
    )
    .unwrap();
    drop(hand);
    let faults = books.opened().check().await.unwrap().faults;
    assert!(faults.iter().any(|f| f.contains("but 4 were")), "{faults:#?}");
    assert!(faults.iter().any(|f| f.contains("redeemed_once is not as")), "{faults:#?}");
}

#[tokio::test]
async fn a_torn_file_is_said_to_be_damaged_and_never_panics() {
    let books = SqliteBooks::new();
    books.lived_in().await.close().await;
    let whole = std::fs::read(books.path()).unwrap();
    let pages = whole.len() / 4096;
    for page in 1..pages {
        let mut torn = whole.clone();
        torn[page * 4096..(page + 1) * 4096].fill(0xA5);
        std::fs::write(books.path(), &torn).unwrap();
        let Ok(ledger) = farthing::ledger::sqlite::open(books.path(), super::options()) else { continue };
        let proof = ledger.check().await;
        assert!(proof.as_ref().map_or(true, |p| !p.faults.is_empty()), "page {page}: {proof:?}");
        // Whatever it answers, it answers.
        let _ = ledger.redeem(to_bob(5, &[stamp(5)])).await;
        let _ = ledger.balances().await;
        ledger.close().await;
    }
}
