//! What pays for a letter, and how often.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use farthing::ledger::{Ledgered::*, Letter, Order, Outcome, StampKey};

use crate::support::*;

pub async fn a_sold_stamp_pays_one_letter(site: &Site) {
    let ledger = site.with_stamps(1).await;
    paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    assert_eq!(redeem_one(ledger, to_bob(2, &[stamp(1)])).await, unpaid(&[Spent]));
    assert_eq!(site.balance("stamps").await, 0);
    assert_eq!(site.balance("escrow:b.example").await, 2_500);
}

pub async fn a_stamp_that_was_not_sold_exactly_so_is_unsold(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let elsewhere = Order { audience: domain("c.example"), ..order(&[2]) };
    ledger.sell(elsewhere).await.unwrap();
    let as_sold = stamp(1);
    let another_day = StampKey { day: EXPIRY_DAY + 1, ..as_sold.key.clone() };
    let table = [
        ("another signature", farthing::ledger::StampCandidate { signature: [0; 64], ..as_sold.clone() }),
        ("a higher value", farthing::ledger::StampCandidate { value: micros(PRICE + 1), ..as_sold.clone() }),
        ("a lower value", farthing::ledger::StampCandidate { value: micros(PRICE - 1), ..as_sold.clone() }),
        ("a later day", farthing::ledger::StampCandidate { key: another_day, ..as_sold.clone() }),
        ("for another domain", stamp(2)),
        ("never sold", stamp(3)),
    ];
    for (what, candidate) in table {
        assert_eq!(redeem_one(ledger, to_bob(1, &[candidate])).await, unpaid(&[Unsold]), "{what}");
    }
    paid(&redeem_one(ledger, to_bob(1, &[as_sold])).await);
}

pub async fn a_stamp_of_another_office_is_owed_by_it(site: &Site) {
    let ledger = &*site.ledger;
    paid(&redeem_one(ledger, to_bob(1, &[foreign(1, "other.example")])).await);
    assert_eq!(redeem_one(ledger, to_bob(2, &[foreign(1, "other.example")])).await, unpaid(&[Spent]));
    assert_eq!(site.balance("office:other.example").await, -2_500);
    assert_eq!(site.balance("escrow:b.example").await, 2_500);
}

pub async fn one_id_of_two_offices_is_two_stamps(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let first = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let second = paid(&redeem_one(ledger, to_bob(2, &[foreign(1, "other.example")])).await);
    let third = paid(&redeem_one(ledger, to_bob(3, &[foreign(1, "third.example")])).await);
    assert_eq!(BTreeSet::from([first, second, third]).len(), 3);
}

pub async fn the_first_stamp_that_pays_is_taken(site: &Site) {
    let ledger = site.with_stamps(3).await;
    paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let outcome =
        redeem_one(ledger, to_bob(2, &[stamp(9), stamp(1), bad(stamp(2)), stamp(3), stamp(2)])).await;
    assert!(matches!(outcome, Outcome::Stamp { index: 3, retry: false, .. }), "{outcome:?}");
    let rest = redeem_one(ledger, to_bob(3, &[stamp(9), stamp(1), bad(stamp(2)), stamp(3)])).await;
    assert_eq!(rest, unpaid(&[Unsold, Spent, NotGood, Spent]));
    paid(&redeem_one(ledger, to_bob(4, &[stamp(2)])).await);
}

pub async fn a_stamp_with_a_fault_is_never_redeemed(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let head = ledger.check().await.unwrap().head;
    let worthless = farthing::ledger::StampCandidate { value: micros(0), ..foreign(2, "other.example") };
    for candidate in [bad(stamp(1)), bad(foreign(1, "other.example")), worthless] {
        assert_eq!(redeem_one(ledger, to_bob(1, &[candidate])).await, unpaid(&[NotGood]));
    }
    assert_eq!(ledger.check().await.unwrap().head, head, "nothing was written");
    paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
}

pub async fn each_recipient_pays_with_a_stamp_of_his_own(site: &Site) {
    let ledger = site.with_stamps(2).await;
    let both = [want("bob@b.example", &[stamp(1)]), want("eve@b.example", &[stamp(2)])];
    let outcomes = ledger.redeem(letter(1, &both)).await.unwrap();
    assert_ne!(paid(&outcomes[0]), paid(&outcomes[1]));
    assert_eq!(site.balance("escrow:b.example").await, 5_000);
}

pub async fn one_stamp_for_two_recipients_pays_for_one(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let both = [want("bob@b.example", &[stamp(1)]), want("eve@b.example", &[stamp(1)])];
    let outcomes = ledger.redeem(letter(1, &both)).await.unwrap();
    assert_eq!(outcomes, [unpaid(&[Untouched]), unpaid(&[Spent])]);
    let each = Letter { all_or_nothing: false, ..letter(1, &both) };
    let outcomes = ledger.redeem(each).await.unwrap();
    paid(&outcomes[0]);
    assert_eq!(outcomes[1], unpaid(&[Spent]));
}

pub async fn a_recipient_named_twice_pays_once(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let twice = [want("bob@b.example", &[stamp(1)]), want("bob@b.example", &[stamp(1)])];
    let outcomes = ledger.redeem(letter(1, &twice)).await.unwrap();
    assert_eq!(paid(&outcomes[0]), retried_number(ledger, &twice).await);
    retried(&outcomes[1]);
    assert_eq!(site.balance("escrow:b.example").await, 2_500);
}

async fn retried_number(ledger: &dyn farthing::ledger::Ledger, wants: &[farthing::ledger::Want]) -> u64 {
    retried(&ledger.redeem(letter(1, wants)).await.unwrap()[0])
}

pub async fn all_or_nothing_redeems_nothing_when_one_is_unpaid(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let head = ledger.check().await.unwrap().head;
    let wants =
        [want("bob@b.example", &[stamp(9), stamp(1), stamp(2)]), want("eve@b.example", &[bad(stamp(3))])];
    let outcomes = ledger.redeem(letter(1, &wants)).await.unwrap();
    assert_eq!(outcomes, [unpaid(&[Unsold, Untouched, Untouched]), unpaid(&[NotGood])]);
    assert_eq!(ledger.check().await.unwrap().head, head, "nothing was written");
    paid(&redeem_one(ledger, to_bob(2, &[stamp(1)])).await);
}

pub async fn without_all_or_nothing_each_pays_for_himself(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let wants = [want("bob@b.example", &[stamp(1)]), want("eve@b.example", &[])];
    let outcomes = ledger.redeem(Letter { all_or_nothing: false, ..letter(1, &wants) }).await.unwrap();
    paid(&outcomes[0]);
    assert_eq!(outcomes[1], unpaid(&[]));
}

pub async fn a_letter_without_candidates_is_unpaid(site: &Site) {
    let outcomes = site.ledger.redeem(letter(1, &[want("bob@b.example", &[])])).await.unwrap();
    assert_eq!(outcomes, [unpaid(&[])]);
    assert_eq!(site.ledger.redeem(letter(1, &[])).await.unwrap(), []);
}

pub async fn redemption_numbers_are_not_zero_and_differ(site: &Site) {
    let ledger = site.with_stamps(40).await;
    let mut numbers = BTreeSet::new();
    for n in 1..=40 {
        numbers.insert(paid(&redeem_one(ledger, to_bob(n, &[stamp(n)])).await));
    }
    assert_eq!(numbers.len(), 40);
    assert!(!numbers.contains(&0));
    let steps: BTreeSet<_> = numbers.iter().zip(numbers.iter().skip(1)).map(|(a, b)| b - a).collect();
    assert_eq!(steps.len(), 39, "they are not counted up");
}

pub async fn one_stamp_raced_by_many_letters_pays_one(site: &Site) {
    site.with_stamps(1).await;
    let letters = (0..100).map(|n| {
        let ledger = Arc::clone(&site.ledger);
        tokio::spawn(async move { redeem_one(&*ledger, to_bob(n, &[stamp(1)])).await })
    });
    let mut won = 0;
    for task in letters.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Outcome::Stamp { retry: false, .. } => won += 1,
            other => assert_eq!(other, unpaid(&[Spent])),
        }
    }
    assert_eq!(won, 1);
}

pub async fn ids_raced_through_two_handles_are_won_once_each(site: &Site) {
    site.with_stamps(40).await;
    let other = site.engine.open();
    let mut tasks = Vec::new();
    for round in 0..6_u8 {
        for n in 1..=40_u8 {
            let ledger = if (round + n) % 2 == 0 { Arc::clone(&site.ledger) } else { Arc::clone(&other) };
            tasks.push(tokio::spawn(async move {
                (n, redeem_one(&*ledger, to_bob(100 + round, &[stamp(n)])).await)
            }));
        }
    }
    let mut wins = BTreeMap::<u8, u32>::new();
    for task in tasks {
        let (n, outcome) = task.await.unwrap();
        if matches!(outcome, Outcome::Stamp { retry: false, .. }) {
            *wins.entry(n).or_default() += 1;
        }
    }
    assert_eq!(wins.len(), 40, "every id was won");
    assert!(wins.values().all(|&count| count == 1), "by one letter: {wins:?}");
}
