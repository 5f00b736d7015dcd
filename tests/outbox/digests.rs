//! Digests: made on schedule, once, of what strangers paid and of what was refused.

use farthing::{
    address::Address,
    ledger::{
        Decision, Ledger as _,
        settings::{Cadence, Settings as _},
    },
};

use crate::{
    desk::{DAY, Desk, NOW},
    sink::Sink,
    support::BOB,
};

/// 07:00 UTC on the day of [`NOW`], a Friday.
const SEVEN: u64 = NOW - 3_600;

async fn refuse(desk: &Desk, author: &str, time: u64) {
    let recipient: Address = "bob+shop@b.example".parse().unwrap();
    desk.ledger.decided(Decision {
        time,
        recipient: recipient.clone(),
        author: Some(author.parse().unwrap()),
        authenticated: false,
        message_id: None,
        result: "unpaid",
        reason: "",
        delivered: false,
        number: None,
        list: None,
        unsubscribe: vec![],
        reply_to: vec![],
        list_posts: vec![],
    });
    // Decisions go into the ledger with whatever is written next.
    desk.ledger.health().await.unwrap();
    let letters = desk.ledger.strangers(&recipient, time, 100).await.unwrap();
    assert!(letters.iter().any(|letter| letter.time == time), "{letters:?}");
}

async fn asks_for(desk: &Desk, cadence: Cadence, now: u64) {
    desk.ledger.set_digest(&BOB.parse().unwrap(), cadence, now).await.unwrap();
}

#[tokio::test]
async fn a_digest_comes_once_a_day_at_its_hour_over_restarts() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    asks_for(&desk, Cadence::Daily, SEVEN - 10 * 3_600).await;
    refuse(&desk, "early@e.example", SEVEN - 11 * 3_600).await;
    refuse(&desk, "eve@e.example", SEVEN - 3_600).await;
    for at in [SEVEN - 600, SEVEN - 60, SEVEN] {
        desk.round(at).await;
        assert_eq!(sink.taken(), [], "not before its hour");
    }
    for at in [SEVEN + 60, SEVEN + 120, SEVEN + 3_600, SEVEN + DAY - 60] {
        desk.round(at).await;
        desk.killed_and_started();
        desk.round(at).await;
        assert_eq!(sink.taken().len(), 1);
    }
    let mail = sink.taken().pop().unwrap();
    assert_eq!((mail.from.as_str(), &mail.to[..]), ("", &[BOB.to_owned()][..]));
    assert_eq!(mail.field("Subject"), "Letters of strangers: 0 delivered, 1 refused");
    assert_eq!(mail.field("Auto-Submitted"), "auto-generated");
    assert!(mail.field("Content-Type").starts_with("multipart/alternative"), "{}", mail.message);
    let text = mail.text();
    assert!(text.contains("eve@e.example") && !text.contains("early@e.example"), "since he asked: {text}");
    let parsed = mail_parser::MessageParser::default().parse(mail.message.as_bytes()).unwrap();
    assert!(parsed.body_html(0).unwrap().contains("<b>eve@e.example</b>"));

    refuse(&desk, "fred@f.example", SEVEN + 7_200).await;
    desk.round(SEVEN + DAY + 60).await;
    let next = sink.taken().pop().unwrap();
    assert!(next.text().contains("fred@f.example") && !next.text().contains("eve@e.example"));
    assert_ne!(next.field("Message-ID"), mail.field("Message-ID"));
}

#[tokio::test]
async fn nothing_to_say_is_no_mail_and_off_is_off() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    asks_for(&desk, Cadence::Daily, SEVEN - DAY).await;
    desk.round(SEVEN + 60).await;
    desk.round(SEVEN + DAY + 60).await;
    refuse(&desk, "eve@e.example", SEVEN + DAY + 600).await;
    asks_for(&desk, Cadence::Off, SEVEN + DAY + 700).await;
    desk.round(SEVEN + 2 * DAY + 60).await;
    assert_eq!((sink.taken(), desk.state().await.oldest), (vec![], None));
}

#[tokio::test]
async fn weekly_ones_come_on_mondays() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    asks_for(&desk, Cadence::Weekly, SEVEN).await;
    refuse(&desk, "eve@e.example", SEVEN + 60).await;
    let mut days = vec![];
    for day in 0..12 {
        desk.round(SEVEN + day * DAY + 60).await;
        if sink.taken().len() > days.len() {
            days.push(day);
            refuse(&desk, "fred@f.example", SEVEN + day * DAY + 600).await;
        }
    }
    assert_eq!(days, [3, 10], "the first letter came on a Friday");
}

#[tokio::test]
async fn a_digest_missed_is_sent_late_and_a_smarthost_that_was_away_gets_it_once() {
    let sink = Sink::start();
    let address = sink.address;
    let mut desk = Desk::new(&sink.url());
    drop(sink);
    asks_for(&desk, Cadence::Daily, SEVEN - 3_600).await;
    refuse(&desk, "eve@e.example", SEVEN - 60).await;
    desk.round(SEVEN + 5 * 3_600).await;
    assert_eq!(desk.state().await.mails, 1);
    desk.killed_and_started();
    let sink = Sink::start_at(address);
    desk.round(SEVEN + 6 * 3_600).await;
    desk.round(SEVEN + 7 * 3_600).await;
    assert_eq!(sink.taken().len(), 1);
}

#[tokio::test]
async fn letters_of_the_last_moment_stand_in_one_digest() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    asks_for(&desk, Cadence::Daily, SEVEN - DAY).await;
    let first_look = SEVEN + 30;
    for ago in 0..12 {
        refuse(&desk, &format!("s{ago}@e.example"), first_look - ago).await;
    }
    desk.round(first_look).await;
    desk.round(first_look + DAY).await;
    let taken = sink.taken();
    assert_eq!(taken.len(), 2);
    for ago in 0..12 {
        let sender = format!("* s{ago}@e.example\n");
        let count = taken.iter().filter(|mail| mail.text().contains(&sender)).count();
        assert_eq!(count, 1, "{sender}");
    }
}
