//! Vouchers, grants, payments: each moves its money once.

use std::sync::Arc;

use farthing::ledger::{
    AccountKey, Ledger, LedgerError,
    funding::{
        CodeHash, GrantRequest, Granted, ISSUE_VOUCHERS_MAX, NewVouchers, Paid, Payment, Voided,
        VoucherState, VoucherUse,
    },
};

use crate::support::*;

const VALUE: u64 = 5_000_000;

fn someone(n: u8) -> AccountKey {
    AccountKey([n; 32])
}

fn code(n: u8) -> CodeHash {
    [n; 32]
}

fn vouchers(codes: &[u8]) -> NewVouchers {
    NewVouchers {
        now: NOW,
        value: micros(VALUE),
        expiry: None,
        memo: "for the shop".into(),
        codes: codes.iter().map(|n| code(*n)).collect(),
    }
}

fn credited(outcome: &VoucherUse) -> (u64, u64, bool) {
    match outcome {
        VoucherUse::Credited { value, balance, again, .. } => (value.get(), balance.get(), *again),
        VoucherUse::No => panic!("not credited"),
    }
}

pub async fn a_voucher_is_good_once_and_its_user_may_ask_again(site: &Site) {
    let ledger = &site.ledger;
    assert_eq!(ledger.voucher_issue(vouchers(&[1, 2])).await.unwrap(), [1, 2]);
    assert_eq!(site.balance("funding:voucher").await, 0, "nothing moves before it is used");
    let first = ledger.voucher_use(code(1), buyer(), NOW).await.unwrap();
    assert_eq!(credited(&first), (VALUE, VALUE, false));
    let again = ledger.voucher_use(code(1), buyer(), NOW + DAY).await.unwrap();
    assert_eq!(credited(&again), (VALUE, VALUE, true));
    assert_eq!(ledger.voucher_use(code(1), someone(9), NOW).await.unwrap(), VoucherUse::No);
    assert_eq!(ledger.voucher_use(code(9), buyer(), NOW).await.unwrap(), VoucherUse::No, "never issued");
    let second = ledger.voucher_use(code(2), buyer(), NOW).await.unwrap();
    assert_eq!(credited(&second), (VALUE, 2 * VALUE, false));
    assert_eq!(site.balance("funding:voucher").await, -2 * VALUE.cast_signed());
    let entries = ledger.entries(buyer(), 10).await.unwrap();
    let told: Vec<_> = entries.iter().map(|e| (e.kind.as_str(), e.amount, e.memo.as_str())).collect();
    let value = VALUE.cast_signed();
    assert_eq!(told, [("voucher", value, "voucher 2"), ("voucher", value, "voucher 1")]);
}

pub async fn vouchers_are_listed_with_what_became_of_them(site: &Site) {
    let ledger = &site.ledger;
    assert_eq!(ledger.voucher_list(10).await.unwrap(), []);
    ledger.voucher_issue(vouchers(&[1, 2])).await.unwrap();
    let expiring = NewVouchers { expiry: Some(NOW + DAY), memo: String::new(), ..vouchers(&[3]) };
    assert_eq!(ledger.voucher_issue(expiring).await.unwrap(), [3], "numbers go on");
    ledger.voucher_use(code(1), buyer(), NOW + 5).await.unwrap();
    ledger.voucher_void(2, NOW + 7).await.unwrap();
    let list = ledger.voucher_list(10).await.unwrap();
    let states: Vec<_> = list.iter().map(|v| (v.number, v.state)).collect();
    assert_eq!(
        states,
        [
            (3, VoucherState::Open),
            (2, VoucherState::Void { time: NOW + 7 }),
            (1, VoucherState::Used { account: buyer(), time: NOW + 5 }),
        ]
    );
    assert_eq!((list[0].expiry, list[0].value, list[0].issued), (Some(NOW + DAY), micros(VALUE), NOW));
    assert_eq!((list[1].expiry, list[1].memo.as_str()), (None, "for the shop"));
    assert_eq!(ledger.voucher_list(1).await.unwrap().len(), 1);
}

pub async fn a_void_or_expired_voucher_is_worth_nothing(site: &Site) {
    let ledger = &site.ledger;
    ledger.voucher_issue(vouchers(&[1, 2])).await.unwrap();
    assert_eq!(ledger.voucher_void(1, NOW).await.unwrap(), Voided::Now);
    assert_eq!(ledger.voucher_void(1, NOW).await.unwrap(), Voided::Before);
    assert_eq!(ledger.voucher_use(code(1), buyer(), NOW).await.unwrap(), VoucherUse::No);
    ledger.voucher_use(code(2), buyer(), NOW).await.unwrap();
    assert_eq!(ledger.voucher_void(2, NOW).await.unwrap(), Voided::Used(buyer()));
    for number in [0, 3, u64::MAX, 1 << 63] {
        assert_eq!(ledger.voucher_void(number, NOW).await.unwrap(), Voided::NoSuch, "{number}");
    }
    ledger.voucher_issue(NewVouchers { expiry: Some(NOW + 10), ..vouchers(&[4, 5]) }).await.unwrap();
    assert_eq!(credited(&ledger.voucher_use(code(4), buyer(), NOW + 10).await.unwrap()).0, VALUE);
    assert_eq!(ledger.voucher_use(code(5), buyer(), NOW + 11).await.unwrap(), VoucherUse::No);
    let late = ledger.voucher_use(code(4), buyer(), NOW + DAY).await.unwrap();
    assert!(credited(&late).2, "what was credited in time stays so");
    assert_eq!(site.balance(&buyer_account()).await, 2 * VALUE.cast_signed());
}

pub async fn issues_that_make_no_sense_are_refused(site: &Site) {
    let many = NewVouchers { codes: vec![code(0); ISSUE_VOUCHERS_MAX + 1], ..vouchers(&[]) };
    let worthless = NewVouchers { value: micros(0), ..vouchers(&[1]) };
    for (what, new) in [("none", vouchers(&[])), ("too many", many), ("worthless", worthless)] {
        let refused = site.ledger.voucher_issue(new).await;
        assert!(matches!(refused, Err(LedgerError::Invalid(_))), "{what}: {refused:?}");
    }
    site.ledger.voucher_issue(vouchers(&[1])).await.unwrap();
    site.ledger.voucher_issue(vouchers(&[2, 1])).await.unwrap_err();
    assert_eq!(site.ledger.voucher_list(10).await.unwrap().len(), 1, "all or none");
}

/// Forty accounts by turns through two handles, which are to each other as two processes are.
pub async fn a_code_raced_through_two_handles_is_won_once(site: &Site) {
    site.ledger.voucher_issue(vouchers(&[1, 2, 3, 4, 5])).await.unwrap();
    let handles = [Arc::clone(&site.ledger), site.engine.open()];
    let racers = (0..200_u8).map(|n| {
        let ledger = Arc::clone(&handles[usize::from(n) % 2]);
        let (code, account) = (code(1 + n % 5), someone(100 + n / 5));
        tokio::spawn(async move { ledger.voucher_use(code, account, NOW).await.unwrap() })
    });
    let racers: Vec<_> = racers.collect();
    let mut won = 0;
    for racer in racers {
        if let VoucherUse::Credited { again, .. } = racer.await.unwrap() {
            assert!(!again);
            won += 1;
        }
    }
    assert_eq!(won, 5);
    assert_eq!(site.balance("funding:voucher").await, -5 * VALUE.cast_signed());
}

pub async fn one_account_that_asks_many_times_at_once_is_credited_once(site: &Site) {
    site.ledger.voucher_issue(vouchers(&[1])).await.unwrap();
    let handles = [Arc::clone(&site.ledger), site.engine.open()];
    let asking = (0..60_usize).map(|n| {
        let ledger = Arc::clone(&handles[n % 2]);
        tokio::spawn(async move { ledger.voucher_use(code(1), buyer(), NOW).await.unwrap() })
    });
    let asking: Vec<_> = asking.collect();
    let mut anew = 0;
    for asked in asking {
        let (value, balance, again) = credited(&asked.await.unwrap());
        assert_eq!((value, balance), (VALUE, VALUE));
        anew += u32::from(!again);
    }
    assert_eq!(anew, 1);
}

pub async fn a_voucher_is_used_or_void_and_never_both(site: &Site) {
    let codes: Vec<u8> = (1..=30).collect();
    site.ledger.voucher_issue(vouchers(&codes)).await.unwrap();
    let other = site.engine.open();
    let mut used = 0;
    for number in codes {
        let (here, there) = (Arc::clone(&site.ledger), Arc::clone(&other));
        let using = tokio::spawn(async move { here.voucher_use(code(number), buyer(), NOW).await.unwrap() });
        let voiding = tokio::spawn(async move { there.voucher_void(number.into(), NOW).await.unwrap() });
        match (using.await.unwrap(), voiding.await.unwrap()) {
            (VoucherUse::Credited { .. }, Voided::Used(_)) => used += 1,
            (VoucherUse::No, Voided::Now) => {}
            both => panic!("{both:?}"),
        }
    }
    assert_eq!(site.balance("funding:voucher").await, -used * VALUE.cast_signed());
}

pub async fn a_voucher_beyond_what_an_account_can_hold_stays_good(site: &Site) {
    site.credit(i64::MAX as u64 - VALUE).await;
    site.ledger.voucher_issue(vouchers(&[1, 2])).await.unwrap();
    assert_eq!(credited(&site.ledger.voucher_use(code(1), buyer(), NOW).await.unwrap()).1, i64::MAX as u64);
    let over = site.ledger.voucher_use(code(2), buyer(), NOW).await;
    assert!(matches!(over, Err(LedgerError::Overflow)), "{over:?}");
    assert_eq!(site.ledger.voucher_list(1).await.unwrap()[0].state, VoucherState::Open);
    assert_eq!(credited(&site.ledger.voucher_use(code(2), someone(9), NOW).await.unwrap()).1, VALUE);
}

fn grant_for(account: AccountKey, proof: u8) -> GrantRequest {
    let daily_max = micros(60_000);
    GrantRequest {
        now: NOW,
        account,
        amount: micros(25_000),
        daily_max,
        network: [0; 16],
        network_max: daily_max,
        given_max: daily_max,
        proof: [proof; 16],
    }
}

fn granted(amount: u64, balance: u64, again: bool) -> Granted {
    Granted::Credited { amount: micros(amount), balance: micros(balance), again }
}

pub async fn a_grant_comes_once_a_day_and_once_a_proof(site: &Site) {
    let ledger = &site.ledger;
    let first = grant_for(buyer(), 1);
    assert_eq!(ledger.grant(first).await.unwrap(), granted(25_000, 25_000, false));
    assert_eq!(ledger.grant(first).await.unwrap(), granted(25_000, 25_000, true));
    assert_eq!(ledger.grant(grant_for(buyer(), 2)).await.unwrap(), Granted::HadToday);
    let tomorrow = |request: GrantRequest| GrantRequest { now: NOW + DAY, ..request };
    assert_eq!(ledger.grant(tomorrow(first)).await.unwrap(), granted(25_000, 25_000, true), "a late retry");
    assert_eq!(ledger.grant(tomorrow(grant_for(buyer(), 2))).await.unwrap(), granted(25_000, 50_000, false));
    let stolen = ledger.grant(GrantRequest { account: someone(9), ..first }).await;
    assert!(matches!(stolen, Err(LedgerError::Invalid(_))), "{stolen:?}");
    assert_eq!(site.balance("grants").await, -50_000);
    assert_eq!(ledger.entries(buyer(), 1).await.unwrap()[0].kind, "grant");
    let nothing = ledger.grant(GrantRequest { amount: micros(0), ..grant_for(someone(8), 8) }).await;
    assert!(matches!(nothing, Err(LedgerError::Invalid(_))), "{nothing:?}");
}

pub async fn grants_of_a_day_stay_within_its_budget(site: &Site) {
    let handles = [Arc::clone(&site.ledger), site.engine.open()];
    let asking = (1..=40_u8).map(|n| {
        let ledger = Arc::clone(&handles[usize::from(n) % 2]);
        tokio::spawn(async move { ledger.grant(grant_for(someone(n), n)).await.unwrap() })
    });
    let asking: Vec<_> = asking.collect();
    let (mut got, mut too_late) = (0, 0);
    for asked in asking {
        match asked.await.unwrap() {
            Granted::Credited { again: false, .. } => got += 1,
            Granted::BudgetUsed => too_late += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((got, too_late), (2, 38), "60,000 hold two of 25,000");
    assert_eq!(site.ledger.granted_on_day_of(NOW).await.unwrap(), micros(50_000));
    assert_eq!(site.ledger.granted_on_day_of(NOW + DAY).await.unwrap(), micros(0));
    let tomorrow = GrantRequest { now: NOW + DAY, ..grant_for(someone(50), 50) };
    assert_eq!(site.ledger.grant(tomorrow).await.unwrap(), granted(25_000, 25_000, false));
}

pub async fn grants_to_a_network_and_for_little_work_stay_within_theirs(site: &Site) {
    let ledger = &site.ledger;
    let from = |network: u8, n: u8| GrantRequest {
        daily_max: micros(200_000),
        network: [network; 16],
        network_max: micros(50_000),
        given_max: micros(200_000),
        ..grant_for(someone(n), n)
    };
    let got = granted(25_000, 25_000, false);
    assert_eq!(ledger.grant(from(1, 1)).await.unwrap(), got);
    assert_eq!(ledger.grant(from(1, 2)).await.unwrap(), got);
    assert_eq!(ledger.grant(from(1, 3)).await.unwrap(), Granted::NetworkUsed);
    assert_eq!(
        ledger.grant(from(1, 1)).await.unwrap(),
        granted(25_000, 25_000, true),
        "what was given is given"
    );
    assert_eq!(ledger.grant(from(2, 3)).await.unwrap(), got, "another network");
    let little = |n| GrantRequest { given_max: micros(74_999), ..from(2, n) };
    assert_eq!(ledger.grant(little(4)).await.unwrap(), Granted::MoreWork { given: micros(75_000) });
    assert_eq!(ledger.grant(little(3)).await.unwrap(), granted(25_000, 25_000, true), "it was enough then");
    let enough = GrantRequest { given_max: micros(75_000), ..from(2, 4) };
    assert_eq!(ledger.grant(enough).await.unwrap(), got, "of the same proof nothing was used up");
    let tomorrow = GrantRequest { now: NOW + DAY, ..from(1, 5) };
    assert_eq!(ledger.grant(tomorrow).await.unwrap(), got, "a new day");
    assert_eq!(site.balance("grants").await, -125_000);
}

pub async fn old_grants_are_forgotten_when_their_proofs_are(site: &Site) {
    let once = grant_for(buyer(), 1);
    site.ledger.grant(once).await.unwrap();
    let later =
        |days: u64, proof: u8| GrantRequest { now: NOW + days * DAY, ..grant_for(someone(proof), proof) };
    site.ledger.grant(later(31, 2)).await.unwrap();
    assert_eq!(site.ledger.grant(once).await.unwrap(), granted(25_000, 25_000, true), "still remembered");
    site.ledger.grant(later(32, 3)).await.unwrap();
    assert_eq!(site.ledger.granted_on_day_of(NOW).await.unwrap(), micros(0), "and the sum of that day");
}

fn payment(event: &str, reference: &str) -> Payment {
    Payment {
        now: NOW,
        provider: "stripe",
        event: event.into(),
        reference: reference.into(),
        account: buyer(),
        amount: micros(VALUE),
    }
}

pub async fn a_payment_is_credited_once_for_each_event_and_reference(site: &Site) {
    let ledger = &site.ledger;
    let paid = async |event, reference| ledger.payment(payment(event, reference)).await.unwrap();
    assert_eq!(paid("evt_1", "cs_1").await, Paid::Credited(micros(VALUE)));
    assert_eq!(paid("evt_1", "cs_1").await, Paid::Before);
    assert_eq!(paid("evt_2", "cs_1").await, Paid::Before, "other news of the same payment");
    assert_eq!(paid("evt_1", "cs_2").await, Paid::Before, "the same news");
    assert_eq!(paid("evt_2", "cs_2").await, Paid::Credited(micros(2 * VALUE)));
    let elsewhere = Payment { provider: "other", ..payment("evt_1", "cs_1") };
    assert_eq!(ledger.payment(elsewhere).await.unwrap(), Paid::Credited(micros(3 * VALUE)));
    assert_eq!(site.balance("funding:stripe").await, -2 * VALUE.cast_signed());
    let entry = &ledger.entries(buyer(), 2).await.unwrap()[1];
    assert_eq!((entry.kind.as_str(), entry.memo.as_str()), ("payment", "stripe cs_2"));
    for nonsense in
        [payment("", "cs_3"), payment("evt_3", ""), Payment { amount: micros(0), ..payment("evt_3", "cs_3") }]
    {
        let refused = ledger.payment(nonsense).await;
        assert!(matches!(refused, Err(LedgerError::Invalid(_))), "{refused:?}");
    }
}

pub async fn one_payment_told_of_many_times_at_once_is_credited_once(site: &Site) {
    let handles = [Arc::clone(&site.ledger), site.engine.open()];
    let telling = (0..40_usize).map(|n| {
        let ledger = Arc::clone(&handles[n % 2]);
        let news = payment(&format!("evt_{}", n % 4), "cs_1");
        tokio::spawn(async move { ledger.payment(news).await.unwrap() })
    });
    let telling: Vec<_> = telling.collect();
    let mut credited = 0;
    for told in telling {
        credited += u32::from(told.await.unwrap() != Paid::Before);
    }
    assert_eq!(credited, 1);
}

pub async fn what_funded_an_account_is_there_after_reopening(site: &Site) {
    site.ledger.voucher_issue(vouchers(&[1])).await.unwrap();
    site.ledger.voucher_use(code(1), buyer(), NOW).await.unwrap();
    site.ledger.grant(grant_for(buyer(), 1)).await.unwrap();
    site.ledger.payment(payment("evt_1", "cs_1")).await.unwrap();
    site.ledger.close().await;
    let reopened = site.engine.open();
    let ledger: &dyn Ledger = &*reopened;
    assert_eq!(ledger.voucher_use(code(1), someone(9), NOW).await.unwrap(), VoucherUse::No);
    assert!(credited(&ledger.voucher_use(code(1), buyer(), NOW).await.unwrap()).2);
    assert_eq!(ledger.grant(grant_for(buyer(), 2)).await.unwrap(), Granted::HadToday);
    assert_eq!(ledger.payment(payment("evt_1", "cs_1")).await.unwrap(), Paid::Before);
    assert_eq!(ledger.account(buyer(), NOW).await.unwrap().balance, micros(2 * VALUE + 25_000));
    assert!(ledger.voucher_issue(vouchers(&[2])).await.is_ok());
}

pub async fn what_an_account_holds_is_gathered_onto_another_once(site: &Site) {
    let ledger = &site.ledger;
    ledger.voucher_issue(vouchers(&[1, 2])).await.unwrap();
    assert_eq!(ledger.voucher_find(code(9)).await.unwrap(), None);
    ledger.voucher_use(code(1), someone(8), NOW).await.unwrap();
    ledger.voucher_use(code(2), buyer(), NOW).await.unwrap();
    let found = ledger.voucher_find(code(1)).await.unwrap().unwrap();
    assert_eq!(found.state, VoucherState::Used { account: someone(8), time: NOW });
    let moves: Vec<_> = (0..8)
        .map(|_| {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move { ledger.gather(someone(8), buyer(), NOW + 1).await.unwrap() })
        })
        .collect();
    let mut moved = vec![];
    for one in moves {
        moved.push(one.await.unwrap().get());
    }
    moved.sort_unstable();
    assert_eq!(moved, [0, 0, 0, 0, 0, 0, 0, VALUE], "asked by many at once, it moves once");
    assert_eq!(ledger.gather(buyer(), buyer(), NOW).await.unwrap().get(), 0, "onto itself nothing moves");
    assert_eq!(ledger.gather(someone(7), buyer(), NOW).await.unwrap().get(), 0, "nobody ever saw that one");
    assert_eq!(ledger.balance(buyer()).await.unwrap().get(), 2 * VALUE);
    assert_eq!(ledger.balance(someone(8)).await.unwrap().get(), 0);
    let entry = &ledger.entries(someone(8), 1).await.unwrap()[0];
    assert_eq!((entry.kind.as_str(), entry.amount), ("gather", -VALUE.cast_signed()));
}
