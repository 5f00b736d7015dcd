//! Wanted and unwanted (SPEC.md §7).

use std::sync::Arc;

use farthing::ledger::{
    Decision, Letter, Mark, MarkError, MarkTarget, Marked,
    book::{How, Known, NewEntry, Sender},
    marks::Answered,
    message_id_hash,
};

use crate::support::*;

fn known_now() -> Marked {
    Marked {
        recipient: address("bob@b.example"),
        author: Some(address("alice@a.example")),
        refunded: None,
        already_refunded: false,
        too_late: false,
        known: true,
    }
}

fn alice() -> [Sender; 1] {
    [Sender::Address(address("alice@a.example"))]
}

async fn is_known(site: &Site) -> Known {
    site.ledger.known(&address("bob@b.example"), &alice()).await.unwrap()
}

fn decided(recipient: &str, message_id: &str, number: Option<u64>) -> Decision {
    Decision {
        time: NOW,
        recipient: address(recipient),
        author: Some(address("alice@a.example")),
        authenticated: true,
        message_id: Some(message_id_hash(message_id.as_bytes())),
        result: "paid",
        reason: "",
        delivered: true,
        number,
        list: None,
        unsubscribe: vec![],
        reply_to: vec![],
        list_posts: vec![],
    }
}

fn by_message_id(id: &str) -> MarkTarget {
    MarkTarget::MessageId(message_id_hash(id.as_bytes()), address("bob@b.example"))
}

pub async fn wanted_gives_the_postage_back_once(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let before = site.balance(&buyer_account()).await;
    let marked = ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW + DAY).await.unwrap();
    assert_eq!(marked, Marked { refunded: Some(micros(PRICE)), ..known_now() });
    let again = ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW + 2 * DAY).await.unwrap();
    assert_eq!(again, Marked { already_refunded: true, ..known_now() });
    assert_eq!(site.balance(&buyer_account()).await, before + 2_500);
    assert_eq!(site.balance("escrow:b.example").await, 0);
    let newest = ledger.entries(buyer(), 1).await.unwrap().remove(0);
    assert_eq!((newest.kind.as_str(), newest.amount, newest.time), ("refund", 2_500, NOW + DAY));
    // Given back, not unspent.
    assert_eq!(
        redeem_one(ledger, to_bob(2, &[stamp(1)])).await,
        unpaid(&[farthing::ledger::Ledgered::Spent])
    );
    retried(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
}

pub async fn wanted_makes_the_author_known(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let letter = letter(1, &[want("bob+shop@b.example", &[stamp(1)])]);
    let number = paid(&redeem_one(ledger, letter).await);
    assert_eq!(is_known(site).await, Known::Unknown);
    ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW + 9).await.unwrap();
    assert_eq!(is_known(site).await, Known::Allowed);
    let book = ledger.book_list(None).await.unwrap();
    assert_eq!(book.len(), 1);
    assert_eq!((book[0].how, book[0].since), (How::Wanted, NOW + 9));
    assert_eq!(book[0].recipient, Some(address("bob@b.example")), "the book of the address without detail");
}

pub async fn unwanted_moves_no_money_and_may_turn_to_wanted(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    for _ in 0..2 {
        let marked = ledger.mark(MarkTarget::Number(number), Mark::Unwanted, NOW).await.unwrap();
        assert_eq!(marked, Marked { known: false, ..known_now() });
    }
    assert_eq!(site.balance("escrow:b.example").await, 2_500);
    let marked = ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked.refunded, Some(micros(PRICE)));
    let marked = ledger.mark(MarkTarget::Number(number), Mark::Unwanted, NOW).await.unwrap();
    assert_eq!(marked, Marked { known: false, ..known_now() }, "the money is back for good");
    assert_eq!(site.balance("escrow:b.example").await, 0);
}

pub async fn unwanted_makes_a_known_sender_unknown(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap();
    ledger.mark(MarkTarget::Number(number), Mark::Unwanted, NOW).await.unwrap();
    assert_eq!(is_known(site).await, Known::Unknown);
}

pub async fn a_forged_letter_teaches_nothing(site: &Site) {
    let ledger = site.with_stamps(2).await;
    let forged = Letter { authenticated: false, ..to_bob(1, &[stamp(1)]) };
    let number = paid(&redeem_one(ledger, forged).await);
    let marked = ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked, Marked { refunded: Some(micros(PRICE)), known: false, ..known_now() });
    assert_eq!(is_known(site).await, Known::Unknown);
    // Nor does it make a friend a stranger.
    let number = paid(&redeem_one(ledger, to_bob(2, &[stamp(2)])).await);
    ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap();
    ledger.decided(Decision { authenticated: false, ..decided("bob@b.example", "forged@a.example", None) });
    let marked = ledger.mark(by_message_id("forged@a.example"), Mark::Unwanted, NOW).await.unwrap();
    assert!(marked.known);
    assert_eq!(is_known(site).await, Known::Allowed);
}

pub async fn a_block_outlives_marks(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let block = NewEntry {
        recipient: Some(address("bob@b.example")),
        sender: alice()[0].clone(),
        block: true,
        how: How::Added,
        since: NOW,
    };
    assert!(ledger.book_add(block).await.unwrap());
    for mark in [Mark::Wanted, Mark::Unwanted] {
        let marked = ledger.mark(MarkTarget::Number(number), mark, NOW).await.unwrap();
        assert!(!marked.known);
        assert_eq!(is_known(site).await, Known::Blocked);
    }
}

pub async fn after_the_window_nothing_goes_back(site: &Site) {
    let ledger = site.with_stamps(2).await;
    let first = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let second = paid(&redeem_one(ledger, to_bob(2, &[stamp(2)])).await);
    let last_second =
        ledger.mark(MarkTarget::Number(first), Mark::Wanted, NOW + REFUND_WINDOW).await.unwrap();
    assert_eq!(last_second.refunded, Some(micros(PRICE)));
    let late = ledger.mark(MarkTarget::Number(second), Mark::Wanted, NOW + REFUND_WINDOW + 1).await.unwrap();
    assert_eq!(late, Marked { too_late: true, ..known_now() });
    let again = ledger.mark(MarkTarget::Number(first), Mark::Wanted, NOW + 2 * REFUND_WINDOW).await.unwrap();
    assert_eq!(again, Marked { already_refunded: true, ..known_now() }, "it had gone back in time");
}

pub async fn postage_of_another_office_goes_back_to_it(site: &Site) {
    let ledger = &*site.ledger;
    let number = paid(&redeem_one(ledger, to_bob(1, &[foreign(1, "other.example")])).await);
    let marked = ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked.refunded, Some(micros(PRICE)));
    assert_eq!(site.balance("office:other.example").await, 0);
    assert_eq!(site.balance("escrow:b.example").await, 0);
}

pub async fn letters_are_found_by_stamp(site: &Site) {
    let ledger = site.with_stamps(2).await;
    paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    paid(&redeem_one(ledger, at(NOW + DAY, to_bob(2, &[foreign(2, "other.example")]))).await);
    let wanted =
        async |office, n| ledger.mark(MarkTarget::Stamp(office, id(n)), Mark::Wanted, NOW + DAY).await;
    assert_eq!(wanted(None, 1).await.unwrap().refunded, Some(micros(PRICE)));
    assert!(wanted(Some(own_office()), 1).await.unwrap().already_refunded);
    assert_eq!(wanted(None, 2).await.unwrap().refunded, Some(micros(PRICE)));
    assert!(
        matches!(wanted(Some(own_office()), 2).await, Err(MarkError::NoSuchLetter)),
        "sold, not redeemed"
    );
    // The same id of another office.
    paid(&redeem_one(ledger, to_bob(3, &[foreign(1, "other.example")])).await);
    assert!(matches!(wanted(None, 1).await, Err(MarkError::Ambiguous)));
    assert!(wanted(Some(own_office()), 1).await.unwrap().already_refunded);
    assert_eq!(wanted(Some(domain("other.example")), 1).await.unwrap().refunded, Some(micros(PRICE)));
}

pub async fn letters_are_found_by_message_id(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let first = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let second = paid(&redeem_one(ledger, to_bob(2, &[stamp(2)])).await);
    let refused =
        Decision { delivered: false, result: "unpaid", ..decided("bob@b.example", "x@a.example", None) };
    ledger.decided(refused);
    ledger.decided(decided("eve@b.example", "x@a.example", None));
    ledger.decided(Decision { time: NOW + 2 * DAY, ..decided("bob@b.example", "x@a.example", Some(second)) });
    ledger.decided(decided("bob@b.example", "x@a.example", Some(first)));
    let marked = ledger.mark(by_message_id(" <x@a.example> "), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked, Marked { refunded: Some(micros(PRICE)), ..known_now() });
    let first_again = ledger.mark(MarkTarget::Number(first), Mark::Wanted, NOW).await.unwrap();
    assert!(first_again.already_refunded, "of two letters with one Message-ID, the first");
}

pub async fn free_letters_can_be_marked(site: &Site) {
    let ledger = &*site.ledger;
    let free = Decision { result: "unpaid", ..decided("bob@b.example", "free@a.example", None) };
    ledger.decided(free);
    let marked = ledger.mark(by_message_id("free@a.example"), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked, known_now());
    let marked = ledger.mark(by_message_id("free@a.example"), Mark::Unwanted, NOW).await.unwrap();
    assert_eq!(marked, Marked { known: false, ..known_now() });
    ledger.decided(Decision { author: None, ..decided("bob@b.example", "nobody@a.example", None) });
    let marked = ledger.mark(by_message_id("nobody@a.example"), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked, Marked { author: None, known: false, ..known_now() });
}

pub async fn unknown_letters_are_said_to_be_unknown(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    ledger.decided(decided("bob@b.example", "x@a.example", Some(number)));
    let targets = [
        MarkTarget::Number(0),
        MarkTarget::Number(number ^ 1),
        MarkTarget::Stamp(None, id(2)),
        MarkTarget::Stamp(Some(domain("other.example")), id(1)),
        by_message_id("y@a.example"),
        MarkTarget::MessageId(message_id_hash(b"x@a.example"), address("eve@b.example")),
    ];
    for target in targets {
        let answer = ledger.mark(target.clone(), Mark::Wanted, NOW).await;
        assert!(matches!(answer, Err(MarkError::NoSuchLetter)), "{target:?}: {answer:?}");
    }
}

pub async fn the_recipient_of_a_number_is_known(site: &Site) {
    let ledger = site.with_stamps(2).await;
    let bob = paid(&redeem_one(ledger, letter(1, &[want("bob+x@b.example", &[stamp(1)])])).await);
    let eve =
        paid(&redeem_one(ledger, at(NOW + 3 * DAY, letter(2, &[want("eve@b.example", &[stamp(2)])]))).await);
    assert_eq!(ledger.recipient_of(bob).await.unwrap(), Some(address("bob+x@b.example")));
    assert_eq!(ledger.recipient_of(eve).await.unwrap(), Some(address("eve@b.example")));
    assert_eq!(ledger.recipient_of(bob ^ 1).await.unwrap(), None);
}

pub async fn one_refund_however_many_ask_at_once(site: &Site) {
    let ledger = site.with_stamps(1).await;
    let number = paid(&redeem_one(ledger, to_bob(1, &[stamp(1)])).await);
    let other = site.engine.open();
    let asks = (0..50).map(|n| {
        let ledger = if n % 2 == 0 { Arc::clone(&site.ledger) } else { Arc::clone(&other) };
        tokio::spawn(async move { ledger.mark(MarkTarget::Number(number), Mark::Wanted, NOW).await.unwrap() })
    });
    let mut refunds = 0;
    for ask in asks.collect::<Vec<_>>() {
        let marked = ask.await.unwrap();
        assert_ne!(marked.refunded.is_some(), marked.already_refunded);
        refunds += u32::from(marked.refunded.is_some());
    }
    assert_eq!(refunds, 1);
}

fn to(recipient: &str, id: &str, number: Option<u64>) -> Decision {
    Decision {
        reply_to: vec![address("office@a.example"), address("al@a.example")],
        ..decided(recipient, id, number)
    }
}

fn answered(author: &str, id: &str, to: &str) -> Answered {
    Answered {
        now: NOW,
        message_id: message_id_hash(id.as_bytes()),
        author: address(author),
        own: vec![address(author).without_detail()],
        recipients: vec![address("dave@d.example"), address(to)],
    }
}

/// A letter to a recipient, paid with stamp `n` and decided.
async fn paid_letter(site: &Site, n: u8, recipient: &str, id: &str) {
    let number = paid(&redeem_one(&*site.ledger, letter(n, &[want(recipient, &[stamp(n)])])).await);
    site.ledger.decided(to(recipient, id, Some(number)));
}

async fn answer(site: &Site, answered: Answered) -> Vec<(String, bool)> {
    let marked = site.ledger.mark_answered(answered).await.unwrap();
    marked.iter().map(|m| (m.recipient.to_string(), m.refunded.is_some())).collect()
}

fn one(recipient: &str, refunded: bool) -> Vec<(String, bool)> {
    vec![(recipient.to_owned(), refunded)]
}

pub async fn an_answer_marks_the_letter_it_answers(site: &Site) {
    site.with_stamps(3).await;
    paid_letter(site, 1, "bob+x@b.example", "1").await;
    paid_letter(site, 2, "bob@b.example", "2").await;
    assert_eq!(answer(site, answered("bob@b.example", "1", "mallory@m.example")).await, []);
    assert_eq!(answer(site, answered("bob@b.example", "3", "alice@a.example")).await, []);
    assert_eq!(site.balance("escrow:b.example").await, 5_000);
    assert_eq!(
        answer(site, answered("bob@b.example", "1", "alice@a.example")).await,
        one("bob+x@b.example", true)
    );
    assert_eq!(
        answer(site, answered("bob@b.example", "1", "alice@a.example")).await,
        one("bob+x@b.example", false)
    );
    assert_eq!(
        answer(site, answered("bob@b.example", "2", "al@a.example")).await,
        one("bob@b.example", true)
    );
    assert_eq!(site.balance("escrow:b.example").await, 0);
    let book = site.ledger.book_list(None).await.unwrap();
    assert_eq!(book.len(), 1);
    assert_eq!(book[0].how, How::Reply);
    // After the window nothing goes back, and a forged letter teaches nothing.
    paid_letter(site, 3, "bob@b.example", "late").await;
    let late =
        Answered { now: NOW + REFUND_WINDOW + 1, ..answered("bob@b.example", "late", "alice@a.example") };
    assert_eq!(answer(site, late).await, one("bob@b.example", false));
    let forged = Decision {
        author: Some(address("erin@a.example")),
        authenticated: false,
        ..decided("bob@b.example", "forged", None)
    };
    site.ledger.decided(forged);
    assert_eq!(answer(site, answered("bob@b.example", "forged", "erin@a.example")).await.len(), 1);
    assert_eq!(site.ledger.book_list(None).await.unwrap().len(), 1);
}

pub async fn an_answer_to_somebody_else_s_letter_marks_the_first(site: &Site) {
    site.with_stamps(2).await;
    paid_letter(site, 1, "info@b.example", "1").await;
    paid_letter(site, 2, "sales@b.example", "1").await;
    for refunded in [true, false] {
        let marked = answer(site, answered("bob@b.example", "1", "office@a.example")).await;
        assert_eq!(marked, one("info@b.example", refunded));
    }
    let readers: Vec<_> =
        site.ledger.book_list(None).await.unwrap().into_iter().map(|e| e.recipient).collect();
    assert_eq!(readers, [Some(address("bob@b.example")), Some(address("info@b.example"))]);
}

pub async fn of_two_letters_with_one_message_id_the_users_own_is_answered(site: &Site) {
    site.with_stamps(4).await;
    for (n, recipient) in [(1, "carol@b.example"), (2, "bob@b.example")] {
        paid_letter(site, n, recipient, "1").await;
    }
    let number = paid(&redeem_one(&*site.ledger, at(NOW + 1, to_bob(3, &[stamp(3)]))).await);
    site.ledger.decided(Decision { time: NOW + 1, ..to("bob@b.example", "1", Some(number)) });
    for refunded in [true, false] {
        let marked = answer(site, answered("bob@b.example", "1", "alice@a.example")).await;
        assert_eq!(marked, one("bob@b.example", refunded));
    }
    assert_eq!(site.balance("escrow:b.example").await, 5_000, "one went back");
    let marked = answer(site, answered("carol@b.example", "1", "alice@a.example")).await;
    assert_eq!(marked, one("carol@b.example", true));
}

pub async fn one_letter_to_several_addresses_of_the_user_is_marked_for_each(site: &Site) {
    site.with_stamps(3).await;
    paid_letter(site, 1, "bob@b.example", "1").await;
    paid_letter(site, 2, "robert+x@b.example", "1").await;
    paid_letter(site, 3, "carol@b.example", "1").await;
    let mut by_bob = answered("bob@b.example", "1", "alice@a.example");
    by_bob.own.push(address("robert@b.example"));
    let marked = answer(site, by_bob).await;
    assert_eq!(marked, [one("bob@b.example", true), one("robert+x@b.example", true)].concat());
    assert_eq!(site.balance("escrow:b.example").await, 2_500, "Carol's is hers to answer");
}

pub async fn answering_where_to_unsubscribe_marks_nothing(site: &Site) {
    site.with_stamps(1).await;
    let number = paid(&redeem_one(&*site.ledger, to_bob(1, &[stamp(1)])).await);
    let unsubscribe = vec![address("al@a.example")];
    site.ledger.decided(Decision { unsubscribe, ..to("bob@b.example", "1", Some(number)) });
    assert_eq!(answer(site, answered("bob@b.example", "1", "al@a.example")).await, []);
    assert_eq!(
        answer(site, answered("bob@b.example", "1", "alice@a.example")).await,
        one("bob@b.example", true)
    );
}

pub async fn letters_are_named_by_stamp_and_message_id(site: &Site) {
    site.with_stamps(2).await;
    paid_letter(site, 1, "bob+x@b.example", "1").await;
    paid_letter(site, 2, "carol@b.example", "1").await;
    site.ledger.decided(to("bob+x@b.example", "1", None));
    site.ledger.decided(Decision { delivered: false, ..to("eve@b.example", "1", None) });
    let ledger = &site.ledger;
    assert_eq!(ledger.recipient_of_stamp(None, &id(2)).await.unwrap(), address("carol@b.example"));
    assert_eq!(
        ledger.recipient_of_stamp(Some(&own_office()), &id(1)).await.unwrap(),
        address("bob+x@b.example")
    );
    for (office, n) in [(None, 3), (Some(domain("other.example")), 1)] {
        let found = ledger.recipient_of_stamp(office.as_ref(), &id(n)).await;
        assert!(matches!(found, Err(MarkError::NoSuchLetter)), "{found:?}");
    }
    let recipients = ledger.recipients_of_message_id(&message_id_hash(b"1")).await.unwrap();
    assert_eq!(recipients, [address("bob+x@b.example"), address("carol@b.example")]);
    assert_eq!(ledger.recipients_of_message_id(&message_id_hash(b"2")).await.unwrap(), []);
}

pub async fn submission_is_noted(site: &Site) {
    let ledger = &site.ledger;
    assert_eq!(ledger.last_submission().await.unwrap(), (None, false));
    ledger.note_submission(NOW).await.unwrap();
    ledger.note_submission(NOW + 5).await.unwrap();
    ledger.decided(decided("bob@b.example", "1", None));
    // A mark sees what was decided, and so do readers once it is done.
    ledger.mark(by_message_id("1"), Mark::Unwanted, NOW).await.unwrap();
    assert_eq!(site.engine.open().last_submission().await.unwrap(), (Some(NOW + 5), true));
}
