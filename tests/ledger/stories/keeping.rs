//! What outlives the process, and what closing means.

use farthing::ledger::{LedgerError, Mark, MarkTarget, book::Sender};

use crate::support::*;

pub async fn what_was_answered_is_there_after_reopening(site: &Site) {
    let ledger = site.with_stamps(2).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap();
    let (proof, balances) = (ledger.check().await.unwrap(), ledger.balances().await.unwrap());
    ledger.close().await;
    let again = site.engine.open();
    assert_eq!(again.check().await.unwrap(), proof);
    assert_eq!(again.balances().await.unwrap(), balances);
    assert_eq!(retried(&redeem_one(&*again, to_bob(1, &[stamp(1)])).await), number);
    paid(&redeem_one(&*again, to_bob(2, &[stamp(2)])).await);
}

pub async fn closed_books_answer_nothing(site: &Site) {
    let ledger = site.with_stamps(1).await;
    ledger.close().await;
    ledger.close().await;
    let closed = ledger.redeem(to_bob(1, &[stamp(1)])).await;
    assert!(matches!(closed, Err(LedgerError::Unavailable(_))), "{closed:?}");
    let sender = "alice@a.example".parse::<Sender>().unwrap();
    let closed = ledger.known(&address("bob@b.example"), &[sender]).await;
    assert!(matches!(closed, Err(LedgerError::Unavailable(_))), "{closed:?}");
}

pub async fn health_is_well(site: &Site) {
    site.ledger.health().await.unwrap();
    site.ledger.health().await.unwrap();
    assert_eq!(site.ledger.currency(), usd());
    assert_eq!(site.ledger.check().await.unwrap().transactions, 0, "looking moved nothing");
}

pub async fn the_chain_grows_with_every_change_of_money_only(site: &Site) {
    let ledger = &*site.ledger;
    let mut heads = vec![ledger.check().await.unwrap().head];
    assert_eq!(heads[0], [0; 32]);
    site.credit(10_000).await;
    heads.push(ledger.check().await.unwrap().head);
    ledger.sell(order(&[1])).await.unwrap();
    heads.push(ledger.check().await.unwrap().head);
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    heads.push(ledger.check().await.unwrap().head);
    ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap();
    heads.push(ledger.check().await.unwrap().head);
    let distinct: std::collections::BTreeSet<_> = heads.iter().collect();
    assert_eq!(distinct.len(), 5);
    assert_eq!(ledger.check().await.unwrap().transactions, 4);
    ledger.mark(MarkTarget::Number(number), Mark::Unwanted, NOW).await.unwrap();
    ledger.sell(order(&[1])).await.unwrap();
    redeem_one(ledger, to_bob(2, &[stamp(1)])).await;
    retried(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    assert_eq!(Some(&ledger.check().await.unwrap().head), heads.last());
}
