//! Recipients' own settings, the letters of strangers, and marks on a sender (SPEC.md §7, §8).

use farthing::ledger::{
    Decision, LedgerError, Letter, Mark, MarkTarget,
    book::{How, Known, NewEntry, Sender},
    settings::{Cadence, MARKED_AT_ONCE_MAX, MarkedSender, OwnPrice, OwnSettings, PostageState},
};

use crate::support::*;

const BOB: &str = "bob@b.example";
const ALICE: &str = "alice@a.example";

async fn known(site: &Site) -> Known {
    site.ledger.known(&address(BOB), &[Sender::Address(address(ALICE))]).await.unwrap()
}

fn refused(time: u64, recipient: &str, result: &'static str) -> Decision {
    Decision {
        time,
        recipient: address(recipient),
        author: Some(address(ALICE)),
        authenticated: false,
        message_id: None,
        result,
        reason: if result == "invalid" { "spent" } else { "" },
        delivered: false,
        number: None,
        list: None,
        unsubscribe: vec![],
        reply_to: vec![],
        list_posts: vec![],
    }
}

fn delivered(time: u64, recipient: &str, number: u64) -> Decision {
    Decision {
        authenticated: true,
        delivered: true,
        number: Some(number),
        ..refused(time, recipient, "paid")
    }
}

pub async fn a_price_of_ones_own_is_kept_and_taken_back(site: &Site) {
    let (ledger, bob) = (&site.ledger, address(BOB));
    assert_eq!(ledger.settings(&bob).await.unwrap(), OwnSettings::default());
    for (value, public) in [(10_000, false), (20_000, true)] {
        let price = Some(OwnPrice { value: micros(value), public });
        ledger.set_price(&address("bob+shop@b.example"), price).await.unwrap();
        assert_eq!(ledger.settings(&bob).await.unwrap().price, price, "of the address without detail");
    }
    let free = Some(OwnPrice { value: micros(0), public: false });
    assert!(matches!(ledger.set_price(&bob, free).await, Err(LedgerError::Invalid(_))));
    ledger.set_digest(&bob, Cadence::Daily, NOW).await.unwrap();
    ledger.set_price(&bob, None).await.unwrap();
    let left = ledger.settings(&bob).await.unwrap();
    assert_eq!(ledger.all_settings().await.unwrap(), [(bob.clone(), left)]);
    assert_eq!((left.price, left.digest), (None, Cadence::Daily));
    assert_eq!(ledger.settings(&address("carol@b.example")).await.unwrap(), OwnSettings::default());
}

pub async fn digests_are_made_once_by_whoever_is_first(site: &Site) {
    let (ledger, bob) = (&site.ledger, address(BOB));
    assert_eq!(ledger.digest_owners().await.unwrap(), []);
    assert!(!ledger.digest_made(&bob, None, NOW).await.unwrap(), "nobody asked for it");
    ledger.set_price(&bob, Some(OwnPrice { value: micros(1), public: false })).await.unwrap();
    ledger.set_digest(&address("bob+x@b.example"), Cadence::Weekly, NOW).await.unwrap();
    ledger.set_digest(&address("al@b.example"), Cadence::Daily, NOW + 1).await.unwrap();
    let owners = ledger.digest_owners().await.unwrap();
    let told: Vec<_> = owners.iter().map(|(a, s)| (a.to_string(), s.digest, s.digest_sent)).collect();
    assert_eq!(
        told,
        [("al@b.example".into(), Cadence::Daily, Some(NOW + 1)), (BOB.into(), Cadence::Weekly, Some(NOW))]
    );
    // Asking again does not put the next one off.
    ledger.set_digest(&bob, Cadence::Daily, NOW + DAY).await.unwrap();
    assert_eq!(ledger.settings(&bob).await.unwrap().digest_sent, Some(NOW));
    assert!(ledger.digest_made(&bob, Some(NOW), NOW + DAY).await.unwrap());
    assert!(!ledger.digest_made(&bob, Some(NOW), NOW + DAY).await.unwrap(), "made by another meanwhile");
    ledger.set_digest(&bob, Cadence::Off, NOW + DAY).await.unwrap();
    assert!(!ledger.digest_made(&bob, Some(NOW + DAY), NOW + 2 * DAY).await.unwrap());
    assert_eq!(ledger.digest_owners().await.unwrap().len(), 1);
}

pub async fn letters_of_strangers_are_told_newest_first(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let mut numbers = vec![];
    for n in 1..=3 {
        let when = NOW + u64::from(n) * HOUR;
        let to_bob = letter(n, &[want("bob+shop@b.example", &[stamp(n)])]);
        let number = paid(&redeem_one(ledger, at(when, to_bob)).await);
        ledger.decided(delivered(when, "bob+shop@b.example", number));
        numbers.push(number);
    }
    // A retry, a day later, is the same letter.
    ledger.decided(delivered(NOW + DAY + 3 * HOUR, "bob+shop@b.example", numbers[2]));
    ledger.decided(refused(NOW - DAY, BOB, "invalid"));
    ledger.decided(refused(NOW - 9 * DAY, BOB, "unpaid"));
    ledger.decided(refused(NOW, BOB, "known"));
    ledger.decided(refused(NOW, BOB, "blocked"));
    ledger.decided(refused(NOW, "carol@b.example", "unpaid"));
    ledger.mark(MarkTarget::Number(numbers[0]), Mark::Wanted, NOW + DAY).await.unwrap();
    ledger.mark(MarkTarget::Number(numbers[1]), Mark::Unwanted, NOW + DAY).await.unwrap();

    let found = ledger.strangers(&address(BOB), NOW - 2 * DAY, 100).await.unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|l| (l.result.as_str(), l.reason.as_str(), l.postage.as_ref().map(|p| (p.number, p.state))))
        .collect();
    assert_eq!(
        told,
        [
            ("paid", "", Some((numbers[2], PostageState::Waiting))),
            ("paid", "", Some((numbers[1], PostageState::Unwanted))),
            ("paid", "", Some((numbers[0], PostageState::Refunded))),
            ("invalid", "spent", None),
        ]
    );
    let newest = &found[0];
    assert_eq!(newest.time, NOW + DAY + 3 * HOUR);
    assert_eq!(newest.recipient, address("bob+shop@b.example"));
    assert_eq!((newest.author.clone(), newest.authenticated), (Some(address(ALICE)), true));
    let postage = newest.postage.as_ref().unwrap();
    assert_eq!((postage.value, postage.id), (micros(PRICE), id(3)));
    assert_eq!(postage.office, own_office());
    assert_eq!(ledger.strangers(&address("bob+y@b.example"), NOW - 2 * DAY, 2).await.unwrap(), found[..2]);
    assert_eq!(ledger.strangers(&address(BOB), 0, 100).await.unwrap().len(), 5);
    assert_eq!(ledger.strangers(&address("eve@b.example"), 0, 100).await.unwrap(), []);
}

pub async fn a_wanted_sender_gets_all_back_that_the_window_holds(site: &Site) {
    let ledger = site.with_stamps(8).await;
    let before = site.balance(&buyer_account()).await;
    let at_bob = |n: u8, recipient: &str, when: u64| at(when, letter(n, &[want(recipient, &[stamp(n)])]));
    redeem_one(ledger, at_bob(1, BOB, NOW - REFUND_WINDOW - 1)).await;
    redeem_one(ledger, at_bob(2, BOB, NOW - REFUND_WINDOW)).await;
    redeem_one(ledger, at_bob(3, "bob+shop@b.example", NOW - DAY)).await;
    redeem_one(ledger, at_bob(4, "carol@b.example", NOW)).await;
    redeem_one(ledger, Letter { authenticated: false, ..at_bob(5, BOB, NOW) }).await;
    redeem_one(ledger, Letter { author: Some(address("eve@a.example")), ..at_bob(6, BOB, NOW) }).await;
    let number = paid(&redeem_one(ledger, at_bob(7, BOB, NOW)).await);
    ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(site.balance(&buyer_account()).await, before + 2_500);

    let (bob, alice) = (address("bob+any@b.example"), address(ALICE));
    let marked = ledger.mark_sender(&bob, &alice, Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked, MarkedSender { letters: 2, refunded: micros(5_000), known: true });
    assert_eq!(known(site).await, Known::Allowed);
    assert_eq!(site.balance(&buyer_account()).await, before + 7_500);
    let again = ledger.mark_sender(&bob, &alice, Mark::Wanted, NOW).await.unwrap();
    assert_eq!(again, MarkedSender { letters: 0, refunded: micros(0), known: true });
    assert_eq!(site.balance("escrow:b.example").await, 4 * 2_500);
}

pub async fn an_unwanted_sender_is_unknown_and_keeps_nothing_from_turning(site: &Site) {
    let ledger = site.with_stamps(2).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    let (bob, alice) = (address(BOB), address(ALICE));
    ledger.mark_sender(&bob, &alice, Mark::Wanted, NOW).await.unwrap();
    redeem_one(ledger, to_bob(2, &[stamp(2)])).await;
    let marked = ledger.mark_sender(&bob, &alice, Mark::Unwanted, NOW).await.unwrap();
    assert_eq!(marked, MarkedSender { letters: 1, refunded: micros(0), known: false });
    assert_eq!(site.balance("escrow:b.example").await, 2_500);
    let again = ledger.mark_sender(&bob, &alice, Mark::Unwanted, NOW).await.unwrap();
    assert_eq!(again, MarkedSender::default());
    let turned = ledger.mark_sender(&bob, &alice, Mark::Wanted, NOW).await.unwrap();
    assert_eq!(turned, MarkedSender { letters: 1, refunded: micros(2_500), known: true });
}

pub async fn a_blocked_sender_gets_back_what_he_paid_and_stays_blocked(site: &Site) {
    let ledger = site.with_stamps(1).await;
    redeem_one(ledger, to_bob(1, &[stamp(1)])).await;
    let block = NewEntry {
        recipient: Some(address(BOB)),
        sender: Sender::Address(address(ALICE)),
        block: true,
        how: How::Added,
        since: NOW,
    };
    ledger.book_add(block).await.unwrap();
    let marked = ledger.mark_sender(&address(BOB), &address(ALICE), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked, MarkedSender { letters: 1, refunded: micros(2_500), known: false });
    assert_eq!(known(site).await, Known::Blocked);
}

pub async fn a_sender_of_many_letters_is_marked_in_several_steps(site: &Site) {
    let ledger = &site.ledger;
    let count = u64::from(MARKED_AT_ONCE_MAX) + 7;
    for n in 0..count {
        let mut stamp = foreign(1, "other.example");
        stamp.key.id[..8].copy_from_slice(&n.to_be_bytes());
        stamp.fingerprint = stamp.key.id;
        let mut letter = at(NOW + n, to_bob(1, &[stamp]));
        letter.digest[..8].copy_from_slice(&n.to_be_bytes());
        paid(&redeem_one(&**ledger, letter).await);
    }
    let marked = ledger.mark_sender(&address(BOB), &address(ALICE), Mark::Wanted, NOW + count).await.unwrap();
    assert_eq!(marked.letters, count);
    assert_eq!(marked.refunded, micros(count * PRICE));
    assert_eq!(site.balance("office:other.example").await, 0);
}
