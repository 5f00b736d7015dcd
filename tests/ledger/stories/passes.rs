//! Passes got on the page of a refusal (SPEC.md §10).

use farthing::ledger::{
    Ledger, Letter, Outcome, Want,
    owners::Owners,
    passes::{
        Got, Means, NewPass, PASS_LIFETIME_S, PASSES_OF_A_PAIR_MAX, Pass, PassMade, WORKED_PASSES_DAILY_MAX,
    },
};

use crate::support::*;

const UNTIL: u64 = NOW + PASS_LIFETIME_S;

fn pass(got: Got) -> NewPass {
    NewPass { now: NOW, author: address("alice@a.example"), recipient: address("bob@b.example"), got }
}

fn worked(n: u32) -> NewPass {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    pass(Got::Work(id))
}

fn bought(n: u8) -> NewPass {
    pass(Got::Stamp(stamp(n), vec![n]))
}

async fn made(ledger: &dyn Ledger, pass: NewPass) -> PassMade {
    ledger.pass_add(pass).await.unwrap()
}

/// The passes from alice to bob.
async fn waiting(ledger: &dyn Ledger, now: u64) -> Vec<Pass> {
    between(ledger, "alice@a.example", "bob@b.example", now).await
}

async fn between(ledger: &dyn Ledger, author: &str, recipient: &str, now: u64) -> Vec<Pass> {
    ledger.passes(&address(author), &address(recipient), now).await.unwrap()
}

/// A letter to bob with the passes that are there, as the gate brings them.
async fn by_pass(ledger: &dyn Ledger, number: u8, now: u64) -> Letter {
    let work = waiting(ledger, now).await.iter().map(|pass| pass.work(now)).collect();
    at(now, letter(number, &[Want { work, ..want("bob@b.example", &[]) }]))
}

pub async fn a_pass_is_made_once_for_its_two(site: &Site) {
    let ledger = &*site.ledger;
    assert_eq!(made(ledger, worked(1)).await, PassMade::Until(UNTIL));
    let again = NewPass { now: NOW + DAY, ..worked(1) };
    assert_eq!(made(ledger, again).await, PassMade::Until(UNTIL), "the same again gains no time");
    let expected = Pass { id: *worked(1).got.id(), expires: UNTIL, means: Means::Work };
    assert_eq!(waiting(ledger, NOW).await, [expected]);
    for (author, recipient) in [
        ("alice@a.example", "eve@b.example"),
        ("alice@a.example", "bob+x@b.example"),
        ("al@a.example", "bob@b.example"),
    ] {
        assert_eq!(between(ledger, author, recipient, NOW).await, [], "{author} to {recipient}");
    }
    assert!(ledger.balances().await.unwrap().is_empty(), "no money moves");
}

pub async fn a_bought_pass_is_a_stamp_that_was_sold_and_is_not_spent(site: &Site) {
    let ledger = site.with_stamps(2).await;
    assert_eq!(made(ledger, bought(1)).await, PassMade::Until(UNTIL));
    assert_eq!(waiting(ledger, NOW).await[0].means, Means::Stamp(vec![1]));
    assert_eq!(made(ledger, bought(3)).await, PassMade::Unsold);
    let other = pass(Got::Stamp(foreign(4, "other.example"), vec![]));
    assert_eq!(made(ledger, other).await, PassMade::Unsold, "only our own office's");
    let elsewhere = NewPass { recipient: address("bob@c.example"), ..bought(2) };
    assert_eq!(made(ledger, elsewhere).await, PassMade::Unsold, "it is for another domain");
    paid(&redeem_one(ledger, to_bob(1, &[stamp(2)])).await);
    assert_eq!(made(ledger, bought(2)).await, PassMade::Spent);
    // What the pass pays for is a redemption like any other.
    paid(&redeem_one(ledger, to_bob(2, &[stamp(1)])).await);
    assert_eq!(made(ledger, bought(1)).await, PassMade::Until(UNTIL), "asked again after its letter");
    assert_eq!(site.balance("escrow:b.example").await, 2 * PRICE as i64);
}

pub async fn a_bought_pass_ends_with_its_stamp(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let late = NewPass { now: EXPIRY - DAY, ..bought(1) };
    assert_eq!(made(ledger, late).await, PassMade::Until(EXPIRY));
}

pub async fn a_worked_pass_lets_in_one_letter_and_is_none_of_the_few(site: &Site) {
    let ledger = &*site.ledger;
    for n in 1..=3 {
        let by_work = letter(n, &[want_by_work("bob@b.example", &[work(n)])]);
        assert_eq!(redeem_one(ledger, by_work).await, Outcome::Work { index: 0, retry: false });
    }
    made(ledger, worked(1)).await;
    // Hashcash that is good, on a day that is full, does not stand in its way.
    let passes: Vec<_> = waiting(ledger, NOW).await.iter().map(|pass| pass.work(NOW)).collect();
    let both = Want { work: [vec![work(9)], passes].concat(), ..want("bob@b.example", &[]) };
    assert_eq!(redeem_one(ledger, letter(4, &[both])).await, by_work(1, false));
    assert_eq!(redeem_one(ledger, by_pass(ledger, 5, NOW).await).await, unpaid(&[]), "it is used");
    assert_eq!(redeem_one(ledger, by_pass(ledger, 4, NOW).await).await, by_work(0, true), "a retry");
    made(ledger, worked(2)).await;
    assert_eq!(redeem_one(ledger, by_pass(ledger, 5, NOW).await).await, by_work(1, false));
}

pub async fn a_refused_letter_uses_no_pass(site: &Site) {
    let ledger = &*site.ledger;
    made(ledger, worked(1)).await;
    let mut to_two = by_pass(ledger, 1, NOW).await;
    to_two.wants.push(want("eve@b.example", &[]));
    let outcomes = ledger.redeem(to_two).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Unpaid { work_untouched: true, .. }), "{outcomes:?}");
    assert_eq!(redeem_one(ledger, by_pass(ledger, 2, NOW).await).await, by_work(0, false));
}

pub async fn a_pass_waits_a_week_and_is_remembered_for_its_retries(site: &Site) {
    let ledger = &*site.ledger;
    made(ledger, worked(1)).await;
    made(ledger, worked(2)).await;
    assert_eq!(redeem_one(ledger, by_pass(ledger, 1, UNTIL).await).await, by_work(0, false), "just in time");
    assert_eq!(redeem_one(ledger, by_pass(ledger, 2, UNTIL + 1).await).await, unpaid(&[]), "too late");
    let retry = by_pass(ledger, 1, UNTIL + 5 * DAY).await;
    assert_eq!(redeem_one(ledger, retry).await, by_work(0, true), "the queue of the sender is patient");
    assert!(waiting(ledger, UNTIL + 6 * DAY + 1).await.is_empty());
}

pub async fn what_one_can_heap_up_is_bounded(site: &Site) {
    let ledger = &*site.ledger;
    ledger.set_owners(Owners::of_logins(&[vec![address("bob@b.example"), address("robert@b.example")]]));
    for n in 0..WORKED_PASSES_DAILY_MAX {
        let recipient = if n % 2 == 0 { "bob@b.example" } else { "bob+shop@b.example" };
        let pass = NewPass { recipient: address(recipient), ..worked(n) };
        assert_eq!(made(ledger, pass).await, PassMade::Until(UNTIL));
    }
    assert_eq!(made(ledger, worked(900)).await, PassMade::TooManyToday);
    assert_eq!(made(ledger, worked(0)).await, PassMade::Until(UNTIL), "that one is there");
    let eve = NewPass { recipient: address("eve@b.example"), ..worked(901) };
    assert_eq!(made(ledger, eve).await, PassMade::Until(UNTIL), "her day is her own");
    let robert = NewPass { recipient: address("robert@b.example"), ..worked(903) };
    let told = made(ledger, robert).await;
    assert_eq!(told, PassMade::Until(UNTIL), "nobody learns that he is bob");
    let stays = NewPass { now: NOW + DAY, ..worked(902) };
    assert_eq!(made(ledger, stays).await, PassMade::Until(UNTIL + DAY));
    for n in 0..3 * WORKED_PASSES_DAILY_MAX {
        let day = 2 + u64::from(n / WORKED_PASSES_DAILY_MAX);
        let result = made(ledger, NewPass { now: NOW + day * DAY, ..worked(1_000 + n) }).await;
        if result == PassMade::TooMany {
            break;
        }
    }
    let kept = waiting(ledger, NOW + 4 * DAY).await.len();
    assert_eq!(kept, PASSES_OF_A_PAIR_MAX as usize);
    let later = NOW + 30 * DAY;
    for n in 0..10 {
        made(ledger, NewPass { now: later, ..worked(2_000 + n) }).await;
    }
    assert_eq!(waiting(ledger, later).await.len(), 10, "old ones have made room");
}

pub async fn one_pass_raced_by_many_letters_lets_in_one(site: &Site) {
    made(&*site.ledger, worked(1)).await;
    let handles = [site.engine.open(), site.engine.open()];
    let mut letters = Vec::new();
    for n in 0..24 {
        let ledger = handles[usize::from(n % 2)].clone();
        letters
            .push(tokio::spawn(async move { redeem_one(&*ledger, by_pass(&*ledger, n, NOW).await).await }));
    }
    let mut let_in = 0;
    for letter in letters {
        let_in += u32::from(letter.await.unwrap() == by_work(0, false));
    }
    assert_eq!(let_in, 1);
}
