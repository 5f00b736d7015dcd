//! Copies of users' letters: who gets one, what becomes of it, and that a letter sent again changes nothing.

use farthing::ledger::{
    AccountKey, Ledger, Mark, MarkTarget, StampId,
    copies::{
        COPIES_MAX, COPIES_OCTETS_MAX, COPY_OCTETS_MAX, Copy, LETTER_KEPT_S, LOGIN_SHARE, PART_OCTETS,
        UNFINISHED_KEPT_S,
    },
    franking::{Budget, Copying, Given, Need, OutgoingLetter, Over, PurseOrder, Taken, Wish},
    outbox::{Attempt, MailKind, NewMail},
};

use super::franking::{PLENTY, bought, fill, letter, wishes};
use crate::support::*;

const MESSAGE: &[u8] = b"Subject: Lunch?\r\n\r\nHello\r\n";

/// A letter whose message is kept.
async fn kept(ledger: &dyn Ledger, wishes: Vec<Wish>) -> OutgoingLetter {
    let kept = ledger.keep_message(MESSAGE.to_vec(), NOW).await.unwrap().unwrap();
    OutgoingLetter { copying: Copying::Kept(kept), ..letter("carol", wishes) }
}

async fn frank(ledger: &dyn Ledger, letter: &OutgoingLetter) -> Vec<Given> {
    match ledger.frank(letter.clone(), PLENTY, NOW).await.unwrap() {
        Taken::Given(given) => given,
        other => panic!("{other:?}"),
    }
}

async fn due(ledger: &dyn Ledger, now: u64) -> Copy {
    ledger.copy_due(now).await.unwrap().unwrap()
}

fn kinds(given: &[Given]) -> String {
    let kind = |given: &Given| match given {
        Given::Stamp(_) => 's',
        Given::Copy => 'c',
        Given::Nothing => '-',
    };
    given.iter().map(kind).collect()
}

pub async fn who_gets_a_copy(site: &Site) {
    let ledger = &*site.ledger;
    // Stamps in hand for b.example; whether he may be seen, whether he could wait; whether copies can be made.
    let table = [
        (1, false, true, true, "s"),
        (1, false, false, false, "s"),
        (1, true, true, true, "c"),
        (1, true, false, true, "c"),
        (1, true, true, false, "-"),
        (0, false, true, true, "c"),
        (0, true, true, true, "c"),
        (0, false, false, true, "-"),
        (0, true, false, true, "-"),
        (0, true, true, false, "-"),
        (0, false, true, false, "451"),
    ];
    for (number, (stamps, apart, waits, copies, expected)) in (1..).zip(table) {
        let audience = format!("b{number}.example");
        if stamps > 0 {
            fill(ledger, vec![bought(number, &audience, PRICE)]).await;
        }
        let wish = Wish { apart, wait_s: waits.then_some(600), ..wishes(&audience, 1).remove(0) };
        let copying = if copies { Copying::Possible } else { Copying::Impossible };
        let mut asked = OutgoingLetter { copying, ..letter("carol", vec![wish]) };
        let mut taken = ledger.frank(asked.clone(), PLENTY, NOW).await.unwrap();
        assert_eq!(taken == Taken::Keep, expected == "c", "{number}");
        if taken == Taken::Keep {
            let name = ledger.keep_message(MESSAGE.to_vec(), NOW).await.unwrap().unwrap();
            asked.copying = Copying::Kept(name);
            taken = ledger.frank(asked, PLENTY, NOW).await.unwrap();
        }
        let found = match taken {
            Taken::Given(given) => kinds(&given),
            Taken::Lacking(domains) => {
                assert_eq!(domains, [domain(&audience)]);
                "451".into()
            }
            other => panic!("{number}: {other:?}"),
        };
        assert_eq!(found, expected, "{number}");
    }
}

pub async fn a_copy_waits_for_its_stamp_and_the_oldest_gets_the_first(site: &Site) {
    let ledger = &*site.ledger;
    for _ in 0..2 {
        assert_eq!(kinds(&frank(ledger, &kept(ledger, wishes("b.example", 1)).await).await), "c");
    }
    let state = ledger.copies_state().await.unwrap();
    assert_eq!((state.unstamped, state.ready, state.octets), (2, 0, 2 * MESSAGE.len() as u64));
    assert_eq!(ledger.copies_next().await.unwrap(), Some(NOW + 600));
    assert_eq!(ledger.copy_due(NOW).await.unwrap(), None);
    let needs = ledger.purse_needs(5, NOW).await.unwrap();
    assert_eq!(
        needs,
        [Need { audience: domain("b.example"), count: 4, price: micros(PRICE) }],
        "for them, and as many ahead"
    );
    fill(ledger, vec![bought(1, "b.example", PRICE)]).await;
    let copy = due(ledger, NOW).await;
    assert_eq!(copy.stamp, Some(bought(1, "b.example", PRICE)));
    assert_eq!((copy.message.as_slice(), copy.sender.as_slice()), (MESSAGE, &b"Carol@c.example"[..]));
    // It is put off, and has the same stamp when it is tried again.
    let put_off = Attempt::PutOff { next_try: NOW + 60, error: "450 later".into() };
    ledger.copy_tried(copy.seq, put_off, None, NOW).await.unwrap();
    assert_eq!(ledger.copies_state().await.unwrap().last_error.as_deref(), Some("450 later"));
    assert_eq!(ledger.copy_due(NOW + 59).await.unwrap(), None);
    assert_eq!(due(ledger, NOW + 60).await, copy);
    ledger.copy_tried(copy.seq, Attempt::Taken, None, NOW + 60).await.unwrap();
    // The other's time is over: what was counted for it is taken back.
    let other = due(ledger, NOW + 600).await;
    assert_eq!((other.stamp.is_none(), other.seq > copy.seq), (true, true));
    assert_eq!(ledger.purse(NOW).await.unwrap().spent[0].1, micros(PRICE));
    fill(ledger, vec![bought(2, "b.example", PRICE)]).await;
    assert_eq!(due(ledger, NOW + 600).await.stamp, None, "too late");
    ledger.copy_tried(other.seq, Attempt::Taken, None, NOW + 600).await.unwrap();
    assert_eq!(ledger.copies_next().await.unwrap(), None);
}

pub async fn a_copy_takes_no_stamp_that_costs_more_than_was_counted_for_it(site: &Site) {
    // Its domain asks more once the letter is on its way: the budgets would have seen nothing of it.
    let ledger = &*site.ledger;
    ledger.login_credit("carol", micros(PRICE), "", NOW).await.unwrap();
    let budget = Budget { by_login: true, ..PLENTY };
    let letter = kept(ledger, wishes("b.example", 1)).await;
    let taken = ledger.frank(letter, budget, NOW).await.unwrap();
    assert_eq!(taken, Taken::Given(vec![Given::Copy]));
    fill(ledger, vec![bought(1, "b.example", 10 * PRICE)]).await;
    assert_eq!(ledger.copy_due(NOW).await.unwrap(), None);
    fill(ledger, vec![bought(2, "b.example", PRICE)]).await;
    assert_eq!(due(ledger, NOW).await.stamp, Some(bought(2, "b.example", PRICE)));
    assert_eq!(ledger.purse(NOW).await.unwrap().in_hand[0].value, micros(10 * PRICE), "for who pays that");
}

pub async fn copies_go_with_what_is_in_hand_when_no_more_comes(site: &Site) {
    let ledger = &*site.ledger;
    for audience in ["b.example", "d.example"] {
        assert_eq!(kinds(&frank(ledger, &kept(ledger, wishes(audience, 2)).await).await), "cc");
    }
    fill(ledger, vec![bought(1, "b.example", PRICE)]).await;
    assert_eq!(ledger.copies_let_go(&domain("b.example"), NOW).await.unwrap(), 1);
    let mut stamped = 0;
    for _ in 0..2 {
        let copy = due(ledger, NOW).await;
        stamped += usize::from(copy.stamp.is_some());
        assert_eq!(copy.recipient.domain(), &domain("b.example"));
        ledger.copy_tried(copy.seq, Attempt::Taken, None, NOW).await.unwrap();
    }
    assert_eq!(stamped, 1);
    assert_eq!(ledger.copy_due(NOW + 599).await.unwrap(), None, "others wait on");
    assert_eq!(ledger.purse(NOW).await.unwrap().spent[0].1, micros(3 * PRICE));
}

pub async fn a_copy_that_went_without_counts_for_what_may_be_bought(site: &Site) {
    let ledger = &*site.ledger;
    let own = farthing::ledger::franking::Budget { per_user: micros(2 * PRICE), ..PLENTY };
    for (audience, expected) in [("b.example", "c"), ("d.example", "c"), ("e.example", "-")] {
        let letter = kept(ledger, wishes(audience, 1)).await;
        let Taken::Given(given) = ledger.frank(letter, own, NOW).await.unwrap() else { panic!("{audience}") };
        assert_eq!(kinds(&given), expected, "{audience}");
        ledger.copies_let_go(&domain(audience), NOW).await.unwrap();
        while let Some(copy) = ledger.copy_due(NOW).await.unwrap() {
            ledger.copy_tried(copy.seq, Attempt::Taken, None, NOW).await.unwrap();
        }
        assert_eq!(ledger.purse(NOW).await.unwrap().spent[0].1, micros(0), "none was spent");
    }
}

pub async fn a_letter_sent_again_gets_what_it_got(site: &Site) {
    let ledger = &*site.ledger;
    fill(ledger, (1..=9).map(|n| bought(n, "b.example", PRICE)).collect()).await;
    let mut wished = wishes("b.example", 2);
    wished[1].apart = true;
    let first = kept(ledger, wished.clone()).await;
    let given = frank(ledger, &first).await;
    assert_eq!(kinds(&given), "sc");
    for copying in [first.copying, Copying::Possible, Copying::Impossible] {
        let again = OutgoingLetter { copying, ..first.clone() };
        assert_eq!(frank(ledger, &again).await, given);
    }
    // Somebody more: only he is new.
    let more = OutgoingLetter { wishes: wishes("b.example", 3), ..first.clone() };
    let more = frank(ledger, &more).await;
    assert_eq!((&more[..2], kinds(&more).as_str()), (&given[..], "scs"));
    assert_eq!(ledger.purse(NOW).await.unwrap().spent[0].1, micros(3 * PRICE));
    let copy = due(ledger, NOW).await;
    ledger.copy_tried(copy.seq, Attempt::Taken, None, NOW).await.unwrap();
    while ledger.copies_tidy(NOW + LETTER_KEPT_S).await.unwrap() {}
    assert_eq!(ledger.copies_state().await.unwrap().octets, 0, "its message is not kept");
    assert_eq!(frank(ledger, &first).await, given, "it went, and is known for a while");
    while ledger.copies_tidy(NOW + LETTER_KEPT_S + 1).await.unwrap() {}
    let anew = frank(ledger, &letter("carol", wishes("b.example", 1))).await;
    assert_ne!(anew[0], given[0]);
    assert_eq!(ledger.frank(first, PLENTY, NOW).await.unwrap(), Taken::Keep, "as a new one");
}

pub async fn a_copy_that_is_given_up_leaves_with_the_mail_that_says_so(site: &Site) {
    let ledger = &*site.ledger;
    fill(ledger, vec![bought(1, "b.example", PRICE), bought(2, "b.example", PRICE)]).await;
    let wish = Wish { apart: true, ..wishes("b.example", 1).remove(0) };
    let first = kept(ledger, vec![wish]).await;
    frank(ledger, &first).await;
    let copy = due(ledger, NOW).await;
    let bounce = NewMail {
        to: address("carol@c.example"),
        kind: MailKind::Bounce,
        message_id: "<1@c.example>".into(),
        message: b"told".to_vec(),
        now: NOW,
    };
    for _ in 0..2 {
        ledger.copy_tried(copy.seq, Attempt::GivenUp, Some(bounce.clone()), NOW).await.unwrap();
    }
    let told = ledger.mail_due(NOW).await.unwrap().unwrap();
    assert_eq!((told.kind, told.message.as_slice()), (MailKind::Bounce, &b"told"[..]));
    assert_eq!(ledger.outbox_state().await.unwrap().mails, 1, "once");
    // Sent again, it is a letter like any other.
    assert_eq!(ledger.frank(first, PLENTY, NOW).await.unwrap(), Taken::Keep);
}

pub async fn a_message_is_kept_whole_and_goes_when_nobody_wants_it(site: &Site) {
    let ledger = &*site.ledger;
    fill(ledger, (1..=3).map(|n| bought(n, "b.example", PRICE)).collect()).await;
    let long: Vec<u8> = (0..=250_u8).cycle().take(2 * PART_OCTETS + 17).collect();
    for message in [vec![], vec![7; PART_OCTETS], long] {
        let name = ledger.keep_message(message.clone(), NOW).await.unwrap().unwrap();
        let wish = Wish { apart: true, ..wishes("b.example", 1).remove(0) };
        let letter = OutgoingLetter { copying: Copying::Kept(name), ..letter("carol", vec![wish]) };
        frank(ledger, &letter).await;
        let copy = due(ledger, NOW).await;
        assert!(copy.message == message, "{}", message.len());
        ledger.copy_tried(copy.seq, Attempt::Taken, None, NOW).await.unwrap();
    }
    assert_eq!(ledger.keep_message(vec![0; COPY_OCTETS_MAX + 1], NOW).await.unwrap(), None);
    // What never came to belong to a letter goes later, and no letter may have it then.
    let lost = ledger.keep_message(MESSAGE.to_vec(), NOW).await.unwrap().unwrap();
    while ledger.copies_tidy(NOW + UNFINISHED_KEPT_S).await.unwrap() {}
    assert_eq!(ledger.copies_state().await.unwrap().octets, MESSAGE.len() as u64);
    while ledger.copies_tidy(NOW + UNFINISHED_KEPT_S + 1).await.unwrap() {}
    assert_eq!(ledger.copies_state().await.unwrap().octets, 0);
    let late = OutgoingLetter { copying: Copying::Kept(lost), ..letter("carol", wishes("b.example", 1)) };
    assert_eq!(ledger.frank(late, PLENTY, NOW).await.unwrap(), Taken::Keep);
}

pub async fn only_so_much_is_kept(site: &Site) {
    let ledger = &*site.ledger;
    let message = vec![0; COPY_OCTETS_MAX];
    let fit = COPIES_OCTETS_MAX / COPY_OCTETS_MAX as u64;
    for _ in 0..fit {
        assert!(ledger.keep_message(message.clone(), NOW).await.unwrap().is_some());
    }
    assert_eq!(ledger.keep_message(message, NOW).await.unwrap(), None);
    assert!(ledger.keep_message(MESSAGE.to_vec(), NOW).await.unwrap().is_some());
}

pub async fn what_no_letter_came_to_need_makes_room_at_once(site: &Site) {
    let ledger = &*site.ledger;
    fill(ledger, vec![bought(1, "b.example", 10 * PRICE)]).await;
    let budget = Budget { per_letter: micros(PRICE), ..PLENTY };
    let mut wished = wishes("b.example", 1);
    wished[0].apart = true;
    // What is in hand costs more than the letter may: nothing is written for it.
    let possible = OutgoingLetter { copying: Copying::Possible, ..letter("carol", wished.clone()) };
    let taken = ledger.frank(possible, budget, NOW).await.unwrap();
    assert_eq!(taken, Taken::Over { which: Over::Letter, first: true });
    // The same letter twice at once: both messages are kept before the first is judged.
    let first = kept(ledger, wished.clone()).await;
    let second = OutgoingLetter { key: first.key, ..kept(ledger, wished).await };
    for letter in [&first, &second] {
        assert_eq!(kinds(&frank(ledger, letter).await), "c");
    }
    while ledger.copies_tidy(NOW).await.unwrap() {}
    assert_eq!(ledger.copies_state().await.unwrap().octets, MESSAGE.len() as u64, "one is enough");
    assert_eq!(due(ledger, NOW).await.message, MESSAGE);
}

pub async fn one_login_does_not_fill_the_queue(site: &Site) {
    let ledger = &*site.ledger;
    let most = u32::try_from(COPIES_MAX / LOGIN_SHARE).unwrap();
    assert_eq!(frank(ledger, &kept(ledger, wishes("b.example", most)).await).await.len(), most as usize);
    let more = OutgoingLetter { copying: Copying::Possible, ..letter("Carol", wishes("b.example", 1)) };
    let taken = ledger.frank(more.clone(), PLENTY, NOW).await.unwrap();
    assert_eq!(taken, Taken::Lacking(vec![domain("b.example")]));
    let other = ledger.frank(OutgoingLetter { login: "dave".into(), ..more }, PLENTY, NOW).await.unwrap();
    assert_eq!(other, Taken::Keep, "others' letters are copied as ever");
    // And of large messages.
    let large = vec![0; COPY_OCTETS_MAX];
    let mut wished = wishes("d.example", 1);
    wished[0].wait_s = Some(0);
    let mut copied = 0;
    loop {
        let asked = OutgoingLetter { copying: Copying::Possible, ..letter("eve", wished.clone()) };
        match ledger.frank(asked.clone(), PLENTY, NOW).await.unwrap() {
            Taken::Keep => {}
            Taken::Lacking(_) => break,
            other => panic!("{other:?}"),
        }
        let name = ledger.keep_message(large.clone(), NOW).await.unwrap().unwrap();
        frank(ledger, &OutgoingLetter { copying: Copying::Kept(name), ..asked }).await;
        copied += 1;
    }
    assert!(copied < COPIES_OCTETS_MAX / COPY_OCTETS_MAX as u64, "{copied}");
    // They go when no small one is due.
    let small = OutgoingLetter { login: "dave".into(), ..kept(ledger, wished).await };
    frank(ledger, &small).await;
    assert_eq!(due(ledger, NOW + 1).await.message, MESSAGE);
}

pub async fn a_login_pays_from_its_own_account(site: &Site) {
    let ledger = &*site.ledger;
    let budget = farthing::ledger::franking::Budget { by_login: true, ..PLENTY };
    let letter = |wishes| letter("Carol", wishes);
    let over = Taken::Over { which: Over::Account, first: true };
    assert_eq!(ledger.frank(letter(wishes("b.example", 1)), budget, NOW).await.unwrap(), over);
    assert_eq!(ledger.purse_needs(5, NOW).await.unwrap(), [], "nothing is bought for it");
    assert_eq!(
        ledger.login_credit("CAROL", micros(2 * PRICE), "pocket money", NOW).await.unwrap(),
        micros(5_000)
    );
    fill(ledger, (1..=9).map(|n| bought(n, "b.example", PRICE)).collect()).await;
    let both = letter(wishes("b.example", 2));
    for _ in 0..2 {
        let taken = ledger.frank(both.clone(), budget, NOW).await.unwrap();
        assert!(matches!(taken, Taken::Given(_)), "{taken:?}");
        assert_eq!(ledger.login_account("carol").await.unwrap(), micros(0), "charged once");
    }
    assert_eq!(site.balance("franking").await, 5_000);
    // One comes back, once, whoever says so how often.
    let office = domain("other.example");
    assert_eq!(ledger.returned(&domain("d.example"), &[id(1)], NOW).await.unwrap(), 0);
    assert_eq!(ledger.returned(&office, &[id(1), id(1), id(9)], NOW).await.unwrap(), 1);
    assert_eq!(ledger.returned(&office, &[id(1)], NOW).await.unwrap(), 0);
    assert_eq!(ledger.login_account("carol").await.unwrap(), micros(PRICE));
    let kinds: Vec<_> = ledger.login_entries("carol", 9).await.unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["unfrank", "frank", "credit"]);
    // The office is asked for the other, now and then.
    assert_eq!(ledger.returns_to_ask(NOW).await.unwrap(), None);
    assert_eq!(ledger.returns_to_ask(NOW + DAY).await.unwrap(), Some((office, vec![id(2)])));
    assert_eq!(ledger.returns_to_ask(NOW + DAY).await.unwrap(), None);
    assert_eq!(ledger.login_accounts().await.unwrap(), [("carol".to_owned(), micros(PRICE))]);
    ledger.login_debit("carol", micros(PRICE + 1), "", NOW).await.unwrap_err();
    assert_eq!(ledger.login_debit("carol", micros(PRICE), "", NOW).await.unwrap(), micros(0));
    site.must_balance().await;
}

pub async fn what_a_login_paid_for_a_stamp_that_never_came_is_its_own_again(site: &Site) {
    let ledger = &*site.ledger;
    let budget = farthing::ledger::franking::Budget { by_login: true, ..PLENTY };
    ledger.login_credit("carol", micros(3 * PRICE), "", NOW).await.unwrap();
    let letter = kept(ledger, wishes("b.example", 2)).await;
    assert!(matches!(ledger.frank(letter, budget, NOW).await.unwrap(), Taken::Given(_)));
    assert_eq!(ledger.login_account("carol").await.unwrap(), micros(PRICE), "paid while they wait");
    let order = PurseOrder {
        seq: 0,
        office: domain("other.example"),
        audience: domain("b.example"),
        value: micros(PRICE),
        ids: vec![id(1)],
        time: NOW,
    };
    let seq = ledger.purse_order(order, micros(100_000)).await.unwrap().unwrap();
    ledger.purse_filled(seq, vec![bought(1, "b.example", PRICE)], NOW).await.unwrap();
    for stamped in [true, false] {
        let copy = due(ledger, NOW + 600).await;
        assert_eq!(copy.stamp.is_some(), stamped);
        ledger.copy_tried(copy.seq, Attempt::Taken, None, NOW + 600).await.unwrap();
    }
    assert_eq!(ledger.login_account("carol").await.unwrap(), micros(2 * PRICE));
    assert_eq!(ledger.returned(&domain("other.example"), &[id(1)], NOW).await.unwrap(), 1);
    assert_eq!(ledger.login_account("carol").await.unwrap(), micros(3 * PRICE));
    site.must_balance().await;
}

pub async fn a_buyer_hears_which_stamps_came_back(site: &Site) {
    let ledger = site.with_stamps(3).await;
    let ids: Vec<_> = (1..=4).map(id).collect();
    let back = async |account| ledger.came_back(account, &ids).await.unwrap();
    assert_eq!(back(buyer()).await, Vec::<StampId>::new(), "unused");
    for n in [1, 2] {
        paid(&redeem_one(ledger, to_bob(n, &[stamp(n)])).await);
    }
    assert_eq!(back(buyer()).await, Vec::<StampId>::new(), "in escrow");
    let marked = ledger.mark(MarkTarget::Stamp(None, id(2)), Mark::Wanted, NOW).await.unwrap();
    assert_eq!(marked.refunded, Some(micros(PRICE)));
    assert_eq!(back(buyer()).await, [id(2)]);
    assert_eq!(back(AccountKey([8; 32])).await, Vec::<StampId>::new(), "nobody else hears of it");
    settle(ledger, EXPIRY + 2 * DAY).await;
    assert_eq!(back(buyer()).await, [id(2), id(3)], "and what expired unused");
}
