//! Accounts, orders, and what is told of them.

use std::sync::Arc;

use farthing::ledger::{AccountKey, AccountState, Entry, LedgerError, Order, OrderedStamp, Sale};

use crate::support::*;

pub async fn bought_stamps_leave_the_account_and_stand_outstanding(site: &Site) {
    site.credit(10_000).await;
    assert_eq!(site.ledger.sell(order(&[1, 2, 3])).await.unwrap(), Sale::Sold(micros(2_500)));
    let state = site.ledger.account(buyer(), NOW).await.unwrap();
    assert_eq!(state, AccountState { balance: micros(2_500), outstanding: micros(7_500) });
    assert_eq!(site.ledger.balance(buyer()).await.unwrap(), state.balance);
    assert_eq!(site.ledger.balance(AccountKey([9; 32])).await.unwrap(), micros(0));
    assert_eq!(site.balance("stamps").await, 7_500);
    assert_eq!(site.balance("funding:credit").await, -10_000);
    assert_eq!(site.ledger.accounts(NOW).await.unwrap(), [(buyer(), state)]);
    let nobody = site.ledger.account(AccountKey([9; 32]), NOW).await.unwrap();
    assert_eq!(nobody, AccountState { balance: micros(0), outstanding: micros(0) });
}

pub async fn the_same_order_again_is_told_and_charged_nothing(site: &Site) {
    site.credit(10_000).await;
    assert_eq!(site.ledger.sell(order(&[1, 2])).await.unwrap(), Sale::Sold(micros(5_000)));
    assert_eq!(site.ledger.sell(order(&[1, 2])).await.unwrap(), Sale::SomeSold);
    assert_eq!(site.balance(&buyer_account()).await, 5_000);
}

pub async fn an_order_with_one_sold_id_sells_none_of_it(site: &Site) {
    site.credit(10_000).await;
    site.ledger.sell(order(&[1])).await.unwrap();
    // An id counts once, whatever the day of expiry, and before the balance is looked at.
    let later = Order { expiry: EXPIRY + DAY, ..order(&[2, 1, 3, 4, 5, 6]) };
    assert_eq!(site.ledger.sell(later).await.unwrap(), Sale::SomeSold);
    assert_eq!(site.ledger.sold(&[id(2)]).await.unwrap(), [None]);
}

pub async fn an_order_beyond_the_balance_sells_nothing(site: &Site) {
    site.credit(4_999).await;
    assert_eq!(site.ledger.sell(order(&[1, 2])).await.unwrap(), Sale::Short(micros(4_999)));
    let stranger = Order { account: AccountKey([9; 32]), ..order(&[1]) };
    assert_eq!(site.ledger.sell(stranger).await.unwrap(), Sale::Short(micros(0)));
    assert_eq!(site.ledger.sold(&[id(1), id(2)]).await.unwrap(), [None, None]);
}

pub async fn orders_that_make_no_sense_are_refused(site: &Site) {
    site.credit(10_000).await;
    let many = (0..1_001_u32).map(|n| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        OrderedStamp { id, holder: [0; 32], signature: [0; 64] }
    });
    let table = [
        ("of nothing", order(&[])),
        ("an id twice", order(&[1, 2, 1])),
        ("of no value", Order { value: micros(0), ..order(&[1]) }),
        ("too many", Order { value: micros(1), stamps: many.collect(), ..order(&[]) }),
    ];
    for (what, order) in table {
        let refused = site.ledger.sell(order).await;
        assert!(matches!(refused, Err(LedgerError::Invalid(_))), "{what}: {refused:?}");
    }
    let nothing = site.ledger.credit(buyer(), "credit", micros(0), "", NOW).await;
    assert!(matches!(nothing, Err(LedgerError::Invalid(_))), "{nothing:?}");
    assert_eq!(site.balance(&buyer_account()).await, 10_000);
}

pub async fn sold_stamps_are_found_by_id_in_the_order_asked(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let found = ledger.sold(&[id(3), id(9), id(1)]).await.unwrap();
    let [Some(third), None, Some(first)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((third.stamp, first.stamp), (order(&[3]).stamps[0], order(&[1]).stamps[0]));
    assert_eq!(third.account, buyer());
    assert_eq!(third.audience, domain("b.example"));
    assert_eq!(third.value, micros(PRICE));
    assert_eq!(third.expiry, EXPIRY);
    assert_eq!(third.selector, "s1");
}

pub async fn what_is_outstanding_goes_down_by_redemption_and_expiry(site: &Site) {
    let ledger = site.with_stamps(4).await;
    let outstanding = async |now| ledger.account(buyer(), now).await.unwrap().outstanding.get();
    assert_eq!(outstanding(NOW).await, 10_000);
    paid(&redeem_one(ledger, to_bob(1, &[stamp(2)])).await);
    assert_eq!(outstanding(NOW).await, 7_500);
    assert_eq!(outstanding(EXPIRY).await, 7_500, "valid to its last second");
    assert_eq!(outstanding(EXPIRY + 1).await, 0);
}

pub async fn credit_and_debit_are_written_down_newest_first(site: &Site) {
    let ledger = &site.ledger;
    let balance = ledger.credit(buyer(), "voucher", micros(9_000), "code A", NOW).await.unwrap();
    assert_eq!(balance, micros(9_000));
    ledger.sell(order(&[1])).await.unwrap();
    let balance = ledger.debit(buyer(), "credit", micros(500), "mistake", NOW + 5).await.unwrap();
    assert_eq!(balance, micros(6_000));
    let entry =
        |time, kind: &str, amount, memo: &str| Entry { time, kind: kind.into(), amount, memo: memo.into() };
    assert_eq!(
        ledger.entries(buyer(), 10).await.unwrap(),
        [
            entry(NOW + 5, "debit", -500, "mistake"),
            entry(NOW, "sell", -2_500, ""),
            entry(NOW, "credit", 9_000, "code A"),
        ]
    );
    assert_eq!(ledger.entries(buyer(), 1).await.unwrap().len(), 1);
    assert_eq!(site.balance("funding:voucher").await, -9_000);
    assert_eq!(site.balance("funding:credit").await, 500);
    ledger.credit(buyer(), "grants", micros(1), "", NOW).await.unwrap();
    assert_eq!(site.balance("grants").await, -1);
}

pub async fn a_debit_beyond_the_balance_moves_nothing(site: &Site) {
    site.credit(1_000).await;
    let short = site.ledger.debit(buyer(), "credit", micros(1_001), "", NOW).await;
    assert!(matches!(short, Err(LedgerError::Short(holds)) if holds == micros(1_000)), "{short:?}");
    assert_eq!(site.balance(&buyer_account()).await, 1_000);
}

pub async fn amounts_beyond_an_integer_are_refused(site: &Site) {
    let most = micros(i64::MAX as u64);
    site.ledger.credit(buyer(), "credit", most, "", NOW).await.unwrap();
    for source in ["credit", "other"] {
        let more = site.ledger.credit(buyer(), source, micros(1), "", NOW).await;
        assert!(matches!(more, Err(LedgerError::Overflow)), "{more:?}");
    }
    let dear = Order { value: most, ..order(&[1, 2]) };
    let dear = site.ledger.sell(dear).await;
    assert!(matches!(dear, Err(LedgerError::Overflow)), "{dear:?}");
    assert_eq!(site.balance(&buyer_account()).await, i64::MAX);
}

pub async fn the_last_money_is_spent_once_by_many_orders_at_a_time(site: &Site) {
    site.credit(5 * PRICE).await;
    let orders = (1..=40).map(|n| {
        let ledger = Arc::clone(&site.ledger);
        tokio::spawn(async move { ledger.sell(order(&[n])).await.unwrap() })
    });
    let orders: Vec<_> = orders.collect();
    let mut sold = 0;
    for task in orders {
        match task.await.unwrap() {
            Sale::Sold(_) => sold += 1,
            other => assert_eq!(other, Sale::Short(micros(0))),
        }
    }
    assert_eq!(sold, 5);
}
