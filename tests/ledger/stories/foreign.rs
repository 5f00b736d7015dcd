//! Other post offices: what they may owe, refunds reported to them, and refunds they report (SPEC.md §7, §10).

use std::sync::Arc;

use farthing::ledger::{
    Ledger,
    Ledgered::*,
    Letter, Mark, MarkTarget, Order, Outcome, Sale, StampCandidate, StampId,
    foreign::{REPORT_KEPT_S, REPORTED_AT_ONCE_MAX, Report, Standing},
    settling::{FOREIGN_AFTER_S, Terms},
};

use crate::support::*;

const OTHER: &str = "other.example";
/// When the window of a letter of [`NOW`] is over.
const OVER: u64 = NOW + REFUND_WINDOW + 1;

fn capped(stamps: u64, letter: Letter) -> Letter {
    Letter { office_cap: micros(stamps * PRICE), ..letter }
}

/// A stamp of another office with its field.
fn shown(n: u8, office: &str) -> StampCandidate {
    StampCandidate { field: Some(format!("v=1; i={office}; n={n}").into()), ..foreign(n, office) }
}

async fn wanted(ledger: &dyn Ledger, number: u64, now: u64) -> farthing::ledger::Marked {
    ledger.mark(MarkTarget::Number(number), Mark::Wanted, now).await.unwrap()
}

/// Stamps of ours for a foreign domain.
async fn sell_for(ledger: &dyn Ledger, audience: &str, ids: &[u8]) {
    let order = Order { audience: domain(audience), ..order(ids) };
    assert!(matches!(ledger.sell(order).await.unwrap(), Sale::Sold(_)));
}

async fn give_back(ledger: &dyn Ledger, audience: &str, ids: &[u8], now: u64) -> Vec<StampId> {
    let ids: Vec<_> = ids.iter().map(|n| id(*n)).collect();
    ledger.give_back(&domain(audience), &ids, now).await.unwrap()
}

pub async fn an_office_owes_up_to_its_cap(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let first = capped(2, to_bob(1, &[foreign(1, OTHER)]));
    let number = paid(&redeem_one(ledger, first.clone()).await);
    paid(&redeem_one(ledger, capped(2, to_bob(2, &[foreign(2, OTHER)]))).await);
    let third = capped(2, to_bob(3, &[foreign(3, OTHER)]));
    assert_eq!(redeem_one(ledger, third.clone()).await, unpaid(&[Capped]));
    assert_eq!(site.balance("office:other.example").await, -5_000);
    // Nobody else pays for it: not the retry of a letter that was let in, nor other offices, nor our own.
    retried(&redeem_one(ledger, first).await);
    paid(&redeem_one(ledger, capped(2, to_bob(4, &[foreign(3, "third.example")]))).await);
    paid(&redeem_one(ledger, capped(2, to_bob(5, &[foreign(4, OTHER), stamp(1)]))).await);
    assert_eq!(
        redeem_one(ledger, capped(0, to_bob(6, &[foreign(1, OTHER)]))).await,
        unpaid(&[Spent]),
        "spent is spent"
    );
    // What was given back it owes no more.
    wanted(ledger, number, NOW).await;
    paid(&redeem_one(ledger, third).await);
}

pub async fn the_cap_counts_all_stamps_of_a_letter(site: &Site) {
    let ledger = &*site.ledger;
    let both = [want("bob@b.example", &[foreign(1, OTHER)]), want("eve@b.example", &[foreign(2, OTHER)])];
    let outcomes = ledger.redeem(capped(1, letter(1, &both))).await.unwrap();
    assert_eq!(outcomes, [unpaid(&[Untouched]), unpaid(&[Capped])]);
    assert_eq!(site.balance("office:other.example").await, 0);
    let apart = Letter { all_or_nothing: false, ..capped(1, letter(1, &both)) };
    let outcomes = ledger.redeem(apart).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Stamp { retry: false, .. }), "{outcomes:?}");
    assert_eq!(outcomes[1], unpaid(&[Capped]));
}

pub async fn the_cap_holds_for_letters_at_a_time(site: &Site) {
    let handles: [Arc<dyn Ledger>; 2] = [site.engine.open(), site.engine.open()];
    let letters = (0..40).map(|n| {
        let ledger = handles[usize::from(n) % 2].clone();
        tokio::spawn(async move {
            let letter = capped(7, to_bob(n, &[foreign(n, OTHER)]));
            matches!(redeem_one(&*ledger, letter).await, Outcome::Stamp { retry: false, .. })
        })
    });
    let mut won = 0;
    for letter in letters.collect::<Vec<_>>() {
        won += i32::from(letter.await.unwrap());
    }
    assert_eq!(won, 7);
    assert_eq!(site.balance("office:other.example").await, -7 * 2_500);
}

pub async fn what_is_given_back_is_reported_once(site: &Site) {
    let ledger = &*site.ledger;
    let number = paid(&redeem_one(ledger, to_bob(1, &[shown(1, OTHER)])).await);
    paid(&redeem_one(ledger, to_bob(2, &[shown(2, OTHER)])).await);
    assert_eq!(ledger.next_report(NOW).await.unwrap(), None, "nothing was given back yet");
    for _ in 0..2 {
        wanted(ledger, number, NOW + 5).await;
    }
    let report = ledger.next_report(NOW + 5).await.unwrap().unwrap();
    assert_eq!((report.office.as_str(), report.audience.as_str(), report.tries), (OTHER, "b.example", 0));
    assert_eq!(report.refunds.len(), 1);
    assert_eq!(
        (report.refunds[0].id, report.refunds[0].field.as_str()),
        (id(1), "v=1; i=other.example; n=1")
    );
    let standing = |waiting| Standing {
        office: domain(OTHER),
        outstanding: micros(PRICE),
        waiting,
        oldest: (waiting > 0).then_some(NOW + 5),
        trouble: None,
    };
    assert_eq!(ledger.standings().await.unwrap(), [standing(1)]);
    ledger.report_taken(&report).await.unwrap();
    assert_eq!(ledger.next_report(NOW + DAY).await.unwrap(), None);
    assert_eq!(ledger.standings().await.unwrap(), [standing(0)]);
    wanted(ledger, number, NOW + DAY).await;
    assert_eq!(ledger.next_report(NOW + DAY).await.unwrap(), None, "and never again");
}

pub async fn a_report_in_vain_is_told_again_and_holds_up_no_other(site: &Site) {
    let ledger = &*site.ledger;
    let at_c = want("zoe@c.example", &[shown(3, OTHER)]);
    for letter in [to_bob(1, &[shown(1, OTHER)]), to_bob(2, &[shown(2, "third.example")]), letter(3, &[at_c])]
    {
        let number = paid(&redeem_one(ledger, letter).await);
        wanted(ledger, number, NOW).await;
    }
    let mut told = Vec::new();
    while let Some(report) = ledger.next_report(NOW).await.unwrap() {
        assert_eq!(report.refunds.len(), 1);
        told.push((report.office.to_string(), report.audience.to_string()));
        ledger.report_failed(&report, "nobody there", NOW + 60).await.unwrap();
    }
    told.sort();
    let pair = |office: &str, audience: &str| (office.to_owned(), audience.to_owned());
    assert_eq!(
        told,
        [pair(OTHER, "b.example"), pair(OTHER, "c.example"), pair("third.example", "b.example")]
    );
    assert_eq!(ledger.next_report(NOW + 59).await.unwrap(), None);
    let trouble = ledger.standings().await.unwrap()[0].trouble.clone();
    assert_eq!(trouble, Some(("nobody there".into(), NOW + 60)));
    let again = ledger.next_report(NOW + 60).await.unwrap().unwrap();
    assert_eq!(again.tries, 1);
    ledger.report_failed(&again, "still nobody", NOW + 180).await.unwrap();
    // It waits over a restart, too.
    let later = site.engine.open();
    let tries = async |now| {
        let mut tries = Vec::new();
        while let Some(report) = later.next_report(now).await.unwrap() {
            tries.push(report.tries);
            later.report_taken(&report).await.unwrap();
        }
        tries
    };
    assert_eq!(tries(NOW + 179).await, [1, 1]);
    assert_eq!(tries(NOW + 180).await, [2]);
    assert!(later.standings().await.unwrap().iter().all(|s| s.trouble.is_none() && s.waiting == 0));
}

pub async fn many_refunds_are_reported_in_several_calls(site: &Site) {
    let ledger = &*site.ledger;
    let count = u8::try_from(REPORTED_AT_ONCE_MAX).unwrap() + 5;
    for n in 0..count {
        let number = paid(&redeem_one(ledger, to_bob(n, &[shown(n, OTHER)])).await);
        wanted(ledger, number, NOW).await;
    }
    let mut told = Vec::new();
    while let Some(report) = ledger.next_report(NOW).await.unwrap() {
        told.push(report.refunds.len());
        ledger.report_taken(&report).await.unwrap();
    }
    assert_eq!(told, [100, 5]);
}

pub async fn what_is_kept_is_never_reported(site: &Site) {
    let ledger = &*site.ledger;
    let number = paid(&redeem_one(ledger, to_bob(1, &[shown(1, OTHER)])).await);
    let done = settle(ledger, OVER).await;
    assert_eq!((done.settled.count, done.dropped), (1, 1), "with the money goes the field");
    assert!(wanted(ledger, number, OVER).await.too_late);
    assert_eq!(ledger.next_report(OVER).await.unwrap(), None);
    assert_eq!(ledger.standings().await.unwrap()[0].outstanding, micros(PRICE), "it owes it for good");
}

pub async fn refunds_that_no_office_takes_are_given_up(site: &Site) {
    let ledger = &*site.ledger;
    let number = paid(&redeem_one(ledger, to_bob(1, &[shown(1, OTHER)])).await);
    wanted(ledger, number, NOW).await;
    settle(ledger, OVER).await;
    let report: Report = ledger.next_report(OVER).await.unwrap().unwrap();
    ledger.report_failed(&report, "nobody there", OVER + 60).await.unwrap();
    settle(ledger, NOW + REPORT_KEPT_S).await;
    assert_eq!(ledger.standings().await.unwrap()[0].waiting, 1);
    settle(ledger, NOW + REPORT_KEPT_S + 1).await;
    let standing = ledger.standings().await.unwrap().remove(0);
    assert_eq!((standing.waiting, standing.trouble), (0, None));
}

pub async fn a_reported_refund_reaches_its_buyer_once(site: &Site) {
    let ledger = site.with_stamps(1).await;
    sell_for(ledger, "d.example", &[2, 3, 4]).await;
    let before = site.balance(&buyer_account()).await;
    let outstanding = async || ledger.account(buyer(), NOW).await.unwrap().outstanding;
    assert_eq!(outstanding().await, micros(4 * PRICE));
    assert_eq!(give_back(ledger, "d.example", &[2, 9], NOW).await, [id(2)]);
    assert_eq!(site.balance(&buyer_account()).await, before + 2_500);
    assert_eq!(outstanding().await, micros(3 * PRICE));
    let newest = ledger.entries(buyer(), 1).await.unwrap().remove(0);
    assert_eq!(
        (newest.kind.as_str(), newest.amount, newest.memo.as_str()),
        ("settlement", 2_500, "d.example")
    );
    let head = ledger.check().await.unwrap().head;
    assert_eq!(give_back(ledger, "d.example", &[2], NOW + DAY).await, [id(2)], "told the same again");
    assert_eq!(give_back(ledger, "e.example", &[2, 3], NOW).await, [[0; 16]; 0], "not theirs");
    assert_eq!(give_back(ledger, "d.example", &[1, 9], NOW).await, [[0; 16]; 0], "ours, or nobody's");
    assert_eq!(ledger.check().await.unwrap().head, head, "nothing was written");
}

pub async fn a_refund_reported_by_many_at_once_is_one(site: &Site) {
    site.credit(100_000).await;
    sell_for(&*site.ledger, "d.example", &[1, 2, 3]).await;
    let before = site.balance(&buyer_account()).await;
    let handles: [Arc<dyn Ledger>; 2] = [site.engine.open(), site.engine.open()];
    let reports = (0..20_usize).map(|n| {
        let ledger = handles[n % 2].clone();
        tokio::spawn(async move { give_back(&*ledger, "d.example", &[1, 2], NOW).await })
    });
    for report in reports.collect::<Vec<_>>() {
        assert_eq!(report.await.unwrap(), [id(1), id(2)]);
    }
    assert_eq!(site.balance(&buyer_account()).await, before + 5_000);
}

pub async fn a_stamp_counts_here_or_there(site: &Site) {
    site.credit(100_000).await;
    let ledger = &*site.ledger;
    sell_for(ledger, "d.example", &[1, 2]).await;
    give_back(ledger, "d.example", &[1], NOW).await;
    // The domain has become one of ours.
    let to_zoe = |number, n| letter(number, &[want("zoe@d.example", &[stamp(n)])]);
    assert_eq!(redeem_one(ledger, to_zoe(1, 1)).await, unpaid(&[Spent]));
    paid(&redeem_one(ledger, to_zoe(2, 2)).await);
    assert_eq!(give_back(ledger, "d.example", &[1, 2], NOW).await, [id(1)], "2 was redeemed here");
}

pub async fn what_was_given_up_is_not_given_back(site: &Site) {
    site.credit(100_000).await;
    let ledger = &*site.ledger;
    sell_for(ledger, "d.example", &[1, 2]).await;
    let end = EXPIRY + FOREIGN_AFTER_S;
    assert_eq!(settle(ledger, end).await.given_up.count, 0);
    assert_eq!(give_back(ledger, "d.example", &[1], end).await, [id(1)], "to the last day");
    let done = settle(ledger, end + 1).await;
    assert_eq!((done.given_up.count, done.given_up.value), (1, micros(PRICE)));
    assert_eq!(give_back(ledger, "d.example", &[2], end + 2).await, [[0; 16]; 0]);
    assert_eq!(site.balance("stamps").await, 0);
}

pub async fn settlements_go_with_old_history_and_the_books_still_prove(site: &Site) {
    site.credit(100_000).await;
    let ledger = &*site.ledger;
    sell_for(ledger, "d.example", &[1, 2]).await;
    give_back(ledger, "d.example", &[1], NOW + DAY).await;
    // Something must stay: the newest head does.
    let late = EXPIRY + 2 * FOREIGN_AFTER_S;
    ledger.credit(buyer(), "credit", micros(1), "", late).await.unwrap();
    let mut dropped = 0;
    loop {
        let done = ledger.settle(Terms { ..terms(late) }).await.unwrap();
        dropped += done.dropped;
        must_balance(ledger).await;
        if !done.more {
            break;
        }
    }
    assert!(dropped > 0);
    assert_eq!(ledger.sold(&[id(1), id(2)]).await.unwrap(), [None, None], "the order is gone");
    assert_eq!(give_back(ledger, "d.example", &[1, 2], late).await, [[0; 16]; 0]);
}

pub async fn what_an_office_owes_can_be_forgiven(site: &Site) {
    let ledger = &*site.ledger;
    let letter_of = |n| capped(2, to_bob(n, &[foreign(n, OTHER)]));
    for n in 1..=2 {
        paid(&redeem_one(ledger, letter_of(n)).await);
    }
    assert_eq!(
        ledger.forgive(&domain(OTHER), micros(10_000), NOW).await.unwrap(),
        micros(0),
        "nothing is kept"
    );
    settle(ledger, OVER).await;
    assert_eq!(redeem_one(ledger, at(OVER, letter_of(3))).await, unpaid(&[Capped]));
    assert_eq!(ledger.forgive(&domain(OTHER), micros(2_500), OVER).await.unwrap(), micros(2_500));
    paid(&redeem_one(ledger, at(OVER, letter_of(3))).await);
    assert_eq!(ledger.forgive(&domain(OTHER), micros(100_000), OVER).await.unwrap(), micros(2_500));
    assert_eq!((site.balance("kept").await, site.balance("office:other.example").await), (0, -2_500));
    assert_eq!(ledger.forgive(&domain("nobody.example"), micros(1), OVER).await.unwrap(), micros(0));
}
