//! Work instead of money (SPEC.md §4).

use farthing::ledger::{Ledgered::*, Letter, Outcome, Want, WorkCandidate};

use crate::support::*;

fn used_up() -> Outcome {
    Outcome::Unpaid { stamps: vec![], work_used_up: true, work_untouched: false }
}

fn by_bob(number: u8, work: &[WorkCandidate]) -> Letter {
    letter(number, &[want_by_work("bob@b.example", work)])
}

pub async fn work_lets_in_a_few_letters_a_day(site: &Site) {
    let ledger = &*site.ledger;
    for n in 1..=3 {
        assert_eq!(redeem_one(ledger, by_bob(n, &[work(n)])).await, by_work(0, false));
    }
    assert_eq!(redeem_one(ledger, by_bob(4, &[work(4)])).await, used_up());
    let eve = letter(5, &[want_by_work("eve@b.example", &[work(5)])]);
    assert_eq!(redeem_one(ledger, eve).await, by_work(0, false), "her day is her own");
    let tomorrow = at(NOW + DAY, by_bob(4, &[work(4)]));
    assert_eq!(redeem_one(ledger, tomorrow).await, by_work(0, false));
    let none = Letter { work_daily_max: 0, ..at(NOW + 2 * DAY, by_bob(6, &[work(6)])) };
    assert_eq!(redeem_one(ledger, none).await, used_up());
    assert!(ledger.balances().await.unwrap().is_empty(), "no money moves");
}

pub async fn details_of_an_address_share_its_day(site: &Site) {
    let ledger = &*site.ledger;
    for n in 1..=3 {
        let recipient = format!("bob+{n}@b.example");
        let letter = letter(n, &[want_by_work(&recipient, &[work(n)])]);
        assert_eq!(redeem_one(ledger, letter).await, by_work(0, false));
    }
    assert_eq!(redeem_one(ledger, by_bob(4, &[work(4)])).await, used_up());
}

pub async fn a_work_stamp_is_used_once(site: &Site) {
    let ledger = &*site.ledger;
    assert_eq!(redeem_one(ledger, by_bob(1, &[work(1)])).await, by_work(0, false));
    assert_eq!(redeem_one(ledger, by_bob(2, &[work(1)])).await, unpaid(&[]));
    assert_eq!(redeem_one(ledger, by_bob(2, &[work(1), work(2)])).await, by_work(1, false));
    let faulty = WorkCandidate { good: false, ..work(3) };
    assert_eq!(redeem_one(ledger, by_bob(3, &[faulty])).await, unpaid(&[]));
}

pub async fn the_same_letter_by_work_is_free_within_limits(site: &Site) {
    let ledger = &*site.ledger;
    assert_eq!(redeem_one(ledger, by_bob(1, &[work(1)])).await, by_work(0, false));
    let expired = WorkCandidate { good: false, ..work(1) };
    for _ in 0..10 {
        assert_eq!(redeem_one(ledger, by_bob(1, std::slice::from_ref(&expired))).await, by_work(0, true));
    }
    assert_eq!(redeem_one(ledger, by_bob(1, &[work(1)])).await, Outcome::TooOften);
    let tomorrow = at(NOW + DAY, by_bob(1, &[work(1)]));
    assert_eq!(redeem_one(ledger, tomorrow).await, by_work(0, true));
    let late = at(NOW + 6 * DAY + 1, by_bob(1, &[work(1)]));
    assert_eq!(redeem_one(ledger, late).await, unpaid(&[]));
    // Retries took nothing of the day.
    for n in 2..=3 {
        assert_eq!(redeem_one(ledger, by_bob(n, &[work(n)])).await, by_work(0, false));
    }
    assert_eq!(redeem_one(ledger, by_bob(4, &[work(4)])).await, used_up());
}

pub async fn work_is_not_looked_at_when_a_stamp_pays(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let both = Want { work: vec![work(1)], ..want("bob@b.example", &[stamp(1)]) };
    paid(&redeem_one(ledger, letter(1, &[both])).await);
    assert_eq!(redeem_one(ledger, by_bob(2, &[work(1)])).await, by_work(0, false), "it was not used up");
}

pub async fn a_retry_by_work_saves_the_stamp(site: &Site) {
    let ledger = site.with_stamps(1).await;
    assert_eq!(redeem_one(ledger, by_bob(1, &[work(1)])).await, by_work(0, false));
    let both = Want { work: vec![work(1)], ..want("bob@b.example", &[stamp(1)]) };
    assert_eq!(redeem_one(ledger, letter(1, &[both])).await, by_work(0, true));
    paid(&redeem_one(ledger, to_bob(2, &[stamp(1)])).await);
}

pub async fn work_is_untouched_when_another_recipient_is_unpaid(site: &Site) {
    let ledger = &*site.ledger;
    let wants = [want_by_work("bob@b.example", &[work(1)]), want("eve@b.example", &[stamp(1)])];
    let outcomes = ledger.redeem(letter(1, &wants)).await.unwrap();
    let untouched = Outcome::Unpaid { stamps: vec![], work_used_up: false, work_untouched: true };
    assert_eq!(outcomes, [untouched, unpaid(&[Unsold])]);
    assert_eq!(redeem_one(ledger, by_bob(2, &[work(1)])).await, by_work(0, false));
}

pub async fn two_recipients_of_a_letter_share_a_days_work(site: &Site) {
    let ledger = &*site.ledger;
    let wants: Vec<_> = (1..=4).map(|n| want_by_work(&format!("bob+{n}@b.example"), &[work(n)])).collect();
    let each = Letter { all_or_nothing: false, ..letter(1, &wants) };
    let outcomes = ledger.redeem(each).await.unwrap();
    assert_eq!(outcomes[..3], [by_work(0, false), by_work(0, false), by_work(0, false)]);
    assert_eq!(outcomes[3], used_up());
}
