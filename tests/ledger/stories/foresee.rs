//! What the books would answer, without consequences.

use farthing::ledger::{Ledgered::*, Outcome};

use crate::support::*;

pub async fn what_is_foreseen_is_what_then_happens_and_nothing_happens_by_it(site: &Site) {
    let ledger = site.with_stamps(2).await;
    let before = ledger.balances().await.unwrap();
    for _ in 0..3 {
        let foreseen = ledger.foresee(to_bob(1, &[stamp(1)])).await.unwrap();
        assert!(matches!(foreseen[..], [Outcome::Stamp { index: 0, retry: false, .. }]), "{foreseen:?}");
    }
    assert_eq!(ledger.foresee(to_bob(1, &[stamp(9)])).await.unwrap(), [unpaid(&[Unsold])]);
    assert_eq!(ledger.balances().await.unwrap(), before);

    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    assert_eq!(ledger.recipient_of(number).await.unwrap(), Some(address("bob@b.example")));
    assert_eq!(ledger.foresee(to_bob(2, &[stamp(1)])).await.unwrap(), [unpaid(&[Spent])]);
    let again = ledger.foresee(to_bob(1, &[stamp(1)])).await.unwrap();
    assert!(matches!(again[..], [Outcome::Stamp { retry: true, .. }]), "{again:?}");
}
