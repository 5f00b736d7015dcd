//! The end of postage: kept, burned, given back unused, and dropped from the books (SPEC.md §7).

use std::sync::Arc;

use farthing::ledger::{
    Ledger, Ledgered, Mark, MarkError, MarkTarget, Order, Outcome, RETRY_WINDOW_S, Sale,
    settings::PostageState,
    settling::{
        CLOCK_STEP_S, CLOSED_AT_ONCE_MAX, Done, FOREIGN_AFTER_S, HISTORY_KEPT_S, Keep, Lag, RETURN_AFTER_S,
        SETTLED_AT_ONCE_MAX, Terms,
    },
    tally::Money,
};

use crate::support::*;

/// When the window of a letter of [`NOW`] is over.
const OVER: u64 = NOW + REFUND_WINDOW + 1;

fn money(count: u64, value: u64) -> Money {
    Money { count, value: micros(value) }
}

async fn wanted(ledger: &dyn Ledger, number: u64, now: u64) -> farthing::ledger::Marked {
    ledger.mark(MarkTarget::Number(number), Mark::Wanted, now).await.unwrap()
}

pub async fn what_nobody_wanted_is_kept_when_the_window_is_over(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let mut numbers = vec![];
    for n in 1..=3 {
        numbers.push(paid(&redeem_one(ledger, to_bob(n, &[stamp(n)])).await));
    }
    wanted(ledger, numbers[0], NOW).await;
    assert_eq!(settle(ledger, OVER - 1).await, Done::default(), "it can be wanted to the last second");
    wanted(ledger, numbers[1], OVER - 1).await;
    let done = settle(ledger, OVER).await;
    assert_eq!(done.settled, money(1, PRICE));
    assert_eq!(site.balance("kept").await, 2_500);
    assert_eq!(site.balance("escrow:b.example").await, 0);
    assert_eq!(settle(ledger, OVER).await, Done::default());
    // What is settled stays so, even for a clock that was set back.
    for now in [OVER, NOW] {
        let marked = wanted(ledger, numbers[2], now).await;
        assert!(marked.too_late && marked.refunded.is_none() && marked.known, "{marked:?}");
        let (bob, alice) = (address("bob@b.example"), address("alice@a.example"));
        let marked = ledger.mark_sender(&bob, &alice, Mark::Wanted, now);
        assert_eq!(marked.await.unwrap().letters, 0);
    }
    assert!(wanted(ledger, numbers[0], OVER).await.already_refunded);
}

pub async fn what_nobody_wanted_is_burned_where_the_site_says_so(site: &Site) {
    let ledger = site.with_stamps(1).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    let terms = Terms { keep: Keep::Burn, ..terms(OVER) };
    ledger.settle(terms).await.unwrap();
    assert_eq!((site.balance("burned").await, site.balance("kept").await), (2_500, 0));
}

pub async fn each_domain_and_office_is_settled(site: &Site) {
    let ledger = site.with_stamps(1).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    redeem_one(ledger, letter(2, &[want("zoe@c.example", &[foreign(2, "other.example")])])).await;
    assert_eq!(settle(ledger, OVER).await.settled, money(2, 2 * PRICE));
    assert_eq!(site.balance("kept").await, 5_000);
    assert_eq!(site.balance("escrow:c.example").await, 0);
    assert_eq!(site.balance("office:other.example").await, -2_500, "its money stays here");
}

pub async fn many_redemptions_are_settled_in_several_steps(site: &Site) {
    let ledger = &*site.ledger;
    let count = u64::from(SETTLED_AT_ONCE_MAX) + 5;
    for n in 0..count {
        redeem_one(ledger, at(NOW, numbered_letter(n))).await;
    }
    let first = ledger.settle(terms(OVER)).await.unwrap();
    assert_eq!((first.settled.count, first.more), (u64::from(SETTLED_AT_ONCE_MAX), true));
    must_balance(ledger).await;
    assert_eq!(settle(ledger, OVER).await.settled.count, 5);
}

/// A letter with a foreign stamp of its own.
fn numbered_letter(n: u64) -> farthing::ledger::Letter {
    let mut stamp = foreign(1, "other.example");
    stamp.key.id[..8].copy_from_slice(&n.to_be_bytes());
    stamp.fingerprint = stamp.key.id;
    let mut letter = to_bob(1, &[stamp]);
    letter.digest[..8].copy_from_slice(&n.to_be_bytes());
    letter
}

pub async fn unused_stamps_go_back_to_their_buyer(site: &Site) {
    let ledger = site.with_stamps(3).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    let before = site.balance(&buyer_account()).await;
    assert_eq!(settle(ledger, EXPIRY + RETURN_AFTER_S).await.returned, Money::default());
    let done = settle(ledger, EXPIRY + RETURN_AFTER_S + 1).await;
    assert_eq!(done.returned, money(2, 5_000));
    assert_eq!(site.balance(&buyer_account()).await, before + 5_000);
    assert_eq!(site.balance("stamps").await, 0);
    let newest = ledger.entries(buyer(), 1).await.unwrap().remove(0);
    assert_eq!((newest.kind.as_str(), newest.amount), ("return", 5_000));
    assert_eq!(newest.memo, "2 unused stamps");
    // Nothing pays twice: neither a stamp that went back nor one that was used.
    let late = to_bob(2, &[stamp(2), stamp(1)]);
    assert_eq!(redeem_one(ledger, late).await, unpaid(&[Ledgered::Unsold, Ledgered::Spent]));
    assert_eq!(settle(ledger, EXPIRY + 2 * RETURN_AFTER_S).await.returned, Money::default());
}

pub async fn a_used_up_order_ends_without_an_entry(site: &Site) {
    let ledger = site.with_stamps(1).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    let now = EXPIRY + RETURN_AFTER_S + 1;
    assert_eq!(ledger.lag(&terms(now)).await.unwrap().unreturned, 1);
    assert_eq!(settle(ledger, now).await.returned, Money::default());
    assert_eq!(ledger.lag(&terms(now)).await.unwrap().unreturned, 0);
}

pub async fn unused_stamps_for_foreign_domains_do_not_go_back(site: &Site) {
    let ledger = &*site.ledger;
    site.credit(5_000).await;
    let abroad = |ids: &[u8]| Order { audience: domain("far.example"), ..order(ids) };
    assert!(matches!(ledger.sell(abroad(&[7, 8])).await.unwrap(), Sale::Sold(_)));
    let over = EXPIRY + FOREIGN_AFTER_S;
    assert_eq!(settle(ledger, over).await.given_up, Money::default());
    assert_eq!(settle(ledger, over + 1).await.given_up, money(2, 5_000));
    assert_eq!((site.balance("kept").await, site.balance("stamps").await), (5_000, 0));
}

pub async fn many_orders_are_ended_in_several_steps(site: &Site) {
    let ledger = &*site.ledger;
    site.credit(10_000_000).await;
    let count = u8::try_from(CLOSED_AT_ONCE_MAX).unwrap() + 20;
    for n in 0..count {
        assert!(matches!(ledger.sell(order(&[n])).await.unwrap(), Sale::Sold(_)));
    }
    let now = EXPIRY + RETURN_AFTER_S + 1;
    let first = ledger.settle(terms(now)).await.unwrap();
    assert_eq!((first.returned.count, first.more), (u64::from(CLOSED_AT_ONCE_MAX), true));
    must_balance(ledger).await;
    assert_eq!(settle(ledger, now).await.returned.count, 20);
}

pub async fn the_settling_clock_follows_a_day_a_pass(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let clock = async |now| ledger.settling_clock(now).await.unwrap();
    assert_eq!(clock(NOW + 10).await, NOW + 10);
    // A year ahead by mistake: a few days in as many passes.
    let ahead = NOW + 365 * DAY;
    assert_eq!(clock(ahead).await, NOW + 10 + CLOCK_STEP_S);
    assert_eq!(clock(ahead).await, NOW + 10 + 2 * CLOCK_STEP_S);
    assert_eq!(clock(NOW + 20).await, NOW + 20, "never ahead of the wall clock");
    // 1970 for a moment costs a day.
    assert_eq!(clock(0).await, 0);
    assert_eq!(clock(NOW + 30).await, NOW + 30);
}

pub async fn the_settling_clock_begins_with_the_books(site: &Site) {
    let ledger = site.with_stamps(1).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    let other = site.engine.open();
    assert_eq!(other.settling_clock(NOW + 300 * DAY).await.unwrap(), NOW + CLOCK_STEP_S);
}

pub async fn a_letter_of_a_wrong_clock_is_settled_with_the_next(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let ahead = NOW + 10 * 365 * DAY;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    let number = paid(&redeem_one(ledger, at(ahead, to_bob(2, &[stamp(2)]))).await);
    assert_eq!(settle(ledger, OVER).await.settled.count, 1, "nothing says yet when it was");
    redeem_one(ledger, at(NOW + DAY, to_bob(3, &[stamp(3)]))).await;
    assert_eq!(settle(ledger, OVER).await.settled.count, 0);
    assert_eq!(settle(ledger, OVER + DAY).await.settled.count, 2);
    assert!(wanted(ledger, number, OVER + DAY).await.too_late);
}

/// History up to so long after [`NOW`] can be dropped then.
const DROPPABLE: u64 = EXPIRY + 1 + RETRY_WINDOW_S + HISTORY_KEPT_S + DAY;

pub async fn old_history_goes_and_the_books_still_prove(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    redeem_one(ledger, to_bob(2, &[stamp(2)])).await;
    redeem_one(ledger, to_bob(3, &[foreign(3, "other.example")])).await;
    wanted(ledger, number, NOW).await;
    settle(ledger, EXPIRY + RETURN_AFTER_S + 1).await;
    let before = ledger.balances().await.unwrap();
    let all = ledger.check().await.unwrap().transactions;

    let done = settle(ledger, DROPPABLE).await;
    assert!(done.dropped > 0);
    must_balance(ledger).await;
    assert_eq!(ledger.balances().await.unwrap(), before, "what is dropped is in the sums");
    let left = ledger.check().await.unwrap();
    assert!(left.transactions < all, "{} of {all} are left", left.transactions);
    let gone = ledger.mark(MarkTarget::Number(number), Mark::Wanted, DROPPABLE).await;
    assert!(matches!(gone, Err(MarkError::NoSuchLetter)));
    assert_eq!(ledger.sold(&[id(1)]).await.unwrap(), [None]);

    // Life goes on, with numbers that nobody had before.
    let later = Order { now: DROPPABLE, expiry: DROPPABLE + 90 * DAY, ..order(&[21]) };
    let day = u32::try_from(later.expiry / DAY).unwrap();
    ledger.credit(buyer(), "credit", micros(100_000), "", DROPPABLE).await.unwrap();
    assert!(matches!(ledger.sell(later).await.unwrap(), Sale::Sold(_)));
    let mut new = stamp(21);
    new.key.day = day;
    let number = paid(&redeem_one(ledger, at(DROPPABLE, to_bob(21, &[new]))).await);
    assert_eq!(wanted(ledger, number, DROPPABLE).await.refunded, Some(micros(PRICE)));
    must_balance(&*site.engine.open()).await;
}

pub async fn a_mark_that_was_dropped_is_no_second_chance(site: &Site) {
    let ledger = site.with_stamps(1).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    redeem_one(ledger, to_bob(2, &[foreign(2, "other.example")])).await;
    ledger.credit(buyer(), "credit", micros(1), "", NOW).await.unwrap();
    assert!(settle(ledger, DROPPABLE).await.dropped > 0);
    // The clock was wrong, and the same letters come again.
    let stamps = [stamp(1), foreign(2, "other.example")];
    for now in [NOW, DROPPABLE] {
        let outcome = redeem_one(ledger, at(now, to_bob(2, &stamps))).await;
        assert_eq!(outcome, unpaid(&[Ledgered::Unsold, Ledgered::Spent]));
    }
    assert_eq!(site.balance("escrow:b.example").await, 0);
}

pub async fn young_history_stays(site: &Site) {
    let ledger = site.with_stamps(2).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    for now in [OVER, EXPIRY + RETURN_AFTER_S + 1, EXPIRY + 1 + RETRY_WINDOW_S] {
        settle(ledger, now).await;
        assert!(ledger.sold(&[id(2)]).await.unwrap()[0].is_some());
        retried(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
        assert!(wanted(ledger, number, now).await.too_late);
    }
}

pub async fn a_mark_at_the_last_second_races_with_settling(site: &Site) {
    let ledger = site.with_stamps(20).await;
    let mut numbers = vec![];
    for n in 1..=20 {
        let when = NOW + u64::from(n);
        numbers.push(paid(&redeem_one(ledger, at(when, to_bob(n, &[stamp(n)]))).await));
    }
    let other = site.engine.open();
    let settling = tokio::spawn(async move {
        for second in 0..=21 {
            settle(&*other, OVER + second).await;
        }
    });
    let mut refunded = 0;
    for (n, number) in numbers.iter().enumerate() {
        let marked = wanted(ledger, *number, OVER + n as u64).await;
        assert_ne!(marked.refunded.is_some(), marked.too_late, "one or the other");
        refunded += marked.refunded.map_or(0, |value| value.signed());
    }
    settling.await.unwrap();
    assert_eq!(site.balance("escrow:b.example").await, 0);
    assert_eq!(site.balance("kept").await, 20 * 2_500 - refunded);
}

pub async fn two_processes_settle_side_by_side(site: &Site) {
    let count = 300;
    for n in 0..count {
        redeem_one(&*site.ledger, at(NOW, numbered_letter(n))).await;
    }
    let handles: Vec<Arc<dyn Ledger>> = (0..3).map(|_| site.engine.open()).collect();
    let tasks: Vec<_> = handles
        .into_iter()
        .map(|ledger| tokio::spawn(async move { settle(&*ledger, DROPPABLE).await.settled.count }))
        .collect();
    let mut settled = 0;
    for task in tasks {
        settled += task.await.unwrap();
    }
    assert_eq!(settled, count);
}

pub async fn what_is_due_and_not_done_is_said(site: &Site) {
    let ledger = site.with_stamps(2).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    assert_eq!(ledger.lag(&terms(OVER - 1)).await.unwrap(), Lag::default());
    let now = EXPIRY + RETURN_AFTER_S + 5;
    let lag = ledger.lag(&terms(now)).await.unwrap();
    assert_eq!((lag.unsettled, lag.unreturned, lag.oldest), (1, 1, Some(OVER - 1)));
    ledger.settling_clock(now).await.unwrap();
    settle(ledger, now).await;
    let lag = ledger.lag(&terms(now)).await.unwrap();
    assert_eq!((lag.unsettled, lag.unreturned, lag.oldest), (0, 0, None));
    assert_eq!(lag.clock, Some(NOW + CLOCK_STEP_S));
}

pub async fn settled_postage_is_told_as_final(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    ledger.decided(farthing::ledger::Decision {
        time: NOW,
        recipient: address("bob@b.example"),
        author: None,
        authenticated: false,
        message_id: None,
        result: "paid",
        reason: "",
        delivered: true,
        number: Some(number),
        list: None,
        unsubscribe: vec![],
        list_posts: vec![],
        reply_to: vec![],
    });
    settle(ledger, OVER).await;
    let letters = ledger.strangers(&address("bob@b.example"), NOW, 9).await.unwrap();
    assert_eq!(letters[0].postage.as_ref().unwrap().state, PostageState::Final);
    assert_eq!(
        redeem_one(ledger, to_bob(1, &[stamp(1)])).await,
        Outcome::Stamp { index: 0, number, retry: true },
        "a retry is free still"
    );
}
