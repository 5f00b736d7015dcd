//! SMTP delivers at least once: the same letter again costs nothing (SPEC.md §3).

use std::sync::Arc;

use farthing::ledger::{Ledgered::*, Letter, Outcome};

use crate::support::*;

#[derive(Debug, PartialEq)]
enum Told {
    Paid,
    Retry,
    TooOften,
    Spent,
}

fn told(outcome: &Outcome) -> Told {
    match outcome {
        Outcome::Stamp { retry: false, .. } | Outcome::Work { retry: false, .. } => Told::Paid,
        Outcome::Stamp { retry: true, .. } | Outcome::Work { retry: true, .. } => Told::Retry,
        Outcome::TooOften => Told::TooOften,
        Outcome::Answer => panic!("nothing was sent that could be answered"),
        Outcome::Unpaid { .. } => Told::Spent,
    }
}

/// Times since the first letter, how often it comes then, and what each is told.
const TABLE: &[(u64, u32, Told)] = &[
    (0, 1, Told::Paid),
    (0, 1, Told::Retry),
    (HOUR, 9, Told::Retry),
    (HOUR, 2, Told::TooOften),
    (11 * HOUR, 1, Told::TooOften),
    (13 * HOUR, 10, Told::Retry), // the next UTC day
    (14 * HOUR, 1, Told::TooOften),
    (2 * DAY, 3, Told::Retry),
    (6 * DAY, 1, Told::Retry), // to the second
    (6 * DAY + 1, 3, Told::Spent),
    (100 * DAY, 1, Told::Spent),
];

pub async fn the_same_letter_again_is_free_within_limits(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let mut number = 0;
    for (after, times, expected) in TABLE {
        for time in 1..=*times {
            let outcome = redeem_one(ledger, at(NOW + after, to_bob(1, &[stamp(1)]))).await;
            assert_eq!(told(&outcome), *expected, "{after} s after the first, time {time}");
            match expected {
                Told::Paid => number = paid(&outcome),
                Told::Retry => assert_eq!(retried(&outcome), number, "under the number it was let in with"),
                Told::TooOften | Told::Spent => {}
            }
        }
    }
    assert_eq!(site.balance("escrow:b.example").await, 2_500);
}

pub async fn a_retry_needs_the_same_letter_recipient_and_stamp(site: &Site) {
    let ledger = site.with_stamps(1).await;
    paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let resigned = farthing::ledger::StampCandidate { fingerprint: [99; 16], ..stamp(1) };
    for (what, letter) in [
        ("another digest", to_bob(2, &[stamp(1)])),
        ("another recipient", letter(1, &[want("eve@b.example", &[stamp(1)])])),
        ("a detail of the recipient", letter(1, &[want("bob+x@b.example", &[stamp(1)])])),
        ("other stamp bytes under the id", to_bob(1, &[resigned])),
    ] {
        assert_eq!(redeem_one(ledger, letter).await, unpaid(&[Spent]), "{what}");
    }
    // Whatever its author, its time, its key or the price now say.
    let stale = Letter { author: None, authenticated: false, ..to_bob(1, &[bad(stamp(1))]) };
    retried(&redeem_one(ledger, stale).await);
    assert_eq!(redeem_one(ledger, to_bob(2, &[bad(stamp(1))])).await, unpaid(&[Spent]));
}

pub async fn a_retry_is_looked_for_in_all_stamps_before_one_is_redeemed(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(2)])).await);
    let again = redeem_one(ledger, to_bob(1, &[stamp(1), stamp(3), stamp(2)])).await;
    assert_eq!(again, Outcome::Stamp { index: 2, number, retry: true });
    assert_eq!(site.balance("escrow:b.example").await, 2_500);
    for _ in 0..9 {
        retried(&redeem_one(ledger, to_bob(1, &[stamp(1), stamp(2)])).await);
    }
    let eleventh = redeem_one(ledger, to_bob(1, &[stamp(1), stamp(2)])).await;
    assert_eq!(eleventh, Outcome::TooOften, "a fresh stamp is not taken either");
}

pub async fn retries_of_a_refused_letter_are_not_counted(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let wants = [want("bob@b.example", &[stamp(1)]), want("eve@b.example", &[])];
    for _ in 0..20 {
        let outcomes = ledger.redeem(letter(1, &wants)).await.unwrap();
        assert_eq!(outcomes, [Outcome::Stamp { index: 0, number, retry: true }, unpaid(&[])]);
    }
    for _ in 0..10 {
        retried(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    }
    assert_eq!(redeem_one(ledger, to_bob(1, &[stamp(1)])).await, Outcome::TooOften);
}

pub async fn after_the_window_another_stamp_pays(site: &Site) {
    let ledger = site.with_stamps(2).await;
    paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let late = at(NOW + 7 * DAY, to_bob(1, &[stamp(1), stamp(2)]));
    let outcome = redeem_one(ledger, late).await;
    assert!(matches!(outcome, Outcome::Stamp { index: 1, retry: false, .. }), "{outcome:?}");
}

pub async fn the_same_letter_raced_is_charged_once(site: &Site) {
    site.with_stamps(1).await;
    let copies = (0..30).map(|_| {
        let ledger = Arc::clone(&site.ledger);
        tokio::spawn(async move { told(&redeem_one(&*ledger, to_bob(1, &[stamp(1)])).await) })
    });
    let mut all = Vec::new();
    for copy in copies.collect::<Vec<_>>() {
        all.push(copy.await.unwrap());
    }
    let count = |what| all.iter().filter(|t| **t == what).count();
    assert_eq!((count(Told::Paid), count(Told::Retry), count(Told::TooOften)), (1, 10, 19));
}
