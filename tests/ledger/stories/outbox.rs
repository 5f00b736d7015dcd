//! Our own outgoing mail: what waits, what is due, what became of it.

use std::time::Duration;

use farthing::ledger::{
    Ledger,
    outbox::{
        ANSWER_OCTETS_MAX, ANSWERS_DAILY_MAX, ANSWERS_WAITING_MAX, AnswerAbout, Attempt, DIGESTS_SHARE, Mail,
        MailKind, NewMail, OUTBOX_OCTETS_MAX, OutboxState, Queued, WaitingAnswers,
    },
    settings::Cadence,
};

use crate::support::*;

const BOB: &str = "bob@b.example";

fn about(subject: &str) -> AnswerAbout {
    AnswerAbout {
        from: address("postage@b.example"),
        subject: subject.into(),
        in_reply_to: Some(format!("<{subject}@b.example>")),
    }
}

async fn answer(ledger: &dyn Ledger, to: &str, subject: &str, now: u64) {
    ledger.answer(&address(to), about(subject), format!("about {subject}\n"), now).await.unwrap();
}

fn mail(to: &str, kind: MailKind, id: &str, now: u64) -> NewMail {
    let message = format!("Message-ID: {id}\r\n\r\ntext\r\n").into_bytes();
    NewMail { to: address(to), kind, message_id: id.into(), message, now }
}

/// Makes a mail of what is due, whose Message-ID is this.
async fn make(ledger: &dyn Ledger, id: &str, now: u64) -> WaitingAnswers {
    let waiting = ledger.answers_due(now).await.unwrap().unwrap();
    let mail = mail(&waiting.to.to_string(), MailKind::Answer, id, now);
    assert!(ledger.queue_answers(&waiting, Some(mail), now).await.unwrap());
    waiting
}

/// The same, and the smarthost takes it at once.
async fn send(ledger: &dyn Ledger, id: &str, now: u64) -> WaitingAnswers {
    let waiting = make(ledger, id, now).await;
    take(ledger, now).await;
    waiting
}

fn subjects(waiting: &WaitingAnswers) -> Vec<&str> {
    waiting.parts.iter().map(|part| part.about.subject.as_str()).collect()
}

async fn due(ledger: &dyn Ledger, now: u64) -> Option<Mail> {
    ledger.mail_due(now).await.unwrap()
}

async fn take(ledger: &dyn Ledger, now: u64) {
    let mail = due(ledger, now).await.unwrap();
    ledger.mail_tried(mail.seq, Attempt::Taken, now).await.unwrap();
}

pub async fn an_answer_waits_until_its_mail_is_made(site: &Site) {
    let ledger = &*site.ledger;
    assert_eq!(ledger.answers_due(NOW).await.unwrap(), None);
    answer(ledger, BOB, "one", NOW).await;
    let again = site.engine.open();
    let waiting = again.answers_due(NOW).await.unwrap().unwrap();
    assert_eq!((waiting.to.to_string().as_str(), waiting.left_out), (BOB, 0));
    let part = &waiting.parts[0];
    assert_eq!((&part.about, part.text.as_str(), part.time), (&about("one"), "about one\n", NOW));
    assert_eq!(due(ledger, NOW).await, None, "no mail is made by asking");

    let made = mail(BOB, MailKind::Answer, "<1@b.example>", NOW);
    assert!(ledger.queue_answers(&waiting, Some(made.clone()), NOW).await.unwrap());
    assert_eq!(again.answers_due(NOW + DAY).await.unwrap(), None);
    assert!(!ledger.queue_answers(&waiting, Some(made), NOW).await.unwrap(), "they went into a mail already");
    // An address to which no mail can be written.
    answer(ledger, "carol@b.example", "two", NOW).await;
    let waiting = ledger.answers_due(NOW).await.unwrap().unwrap();
    assert!(ledger.queue_answers(&waiting, None, NOW).await.unwrap());
    assert_eq!(ledger.answers_due(NOW + DAY).await.unwrap(), None);
    assert_eq!(ledger.outbox_state().await.unwrap().mails, 1);
}

pub async fn a_mail_keeps_its_id_until_it_is_taken(site: &Site) {
    let ledger = &*site.ledger;
    answer(ledger, BOB, "one", NOW).await;
    make(ledger, "<1@b.example>", NOW).await;
    let first = due(ledger, NOW).await.unwrap();
    assert_eq!(
        (first.kind, first.queued, first.message_id.as_str()),
        (MailKind::Answer, NOW, "<1@b.example>")
    );
    assert_eq!(first.message, b"Message-ID: <1@b.example>\r\n\r\ntext\r\n");
    assert_eq!(due(&*site.engine.open(), NOW).await, Some(first.clone()), "handed over and not marked");

    let put_off = Attempt::PutOff { next_try: NOW + 60, error: "450 later".into() };
    ledger.mail_tried(first.seq, put_off, NOW).await.unwrap();
    assert_eq!(due(ledger, NOW + 59).await, None);
    assert_eq!(due(ledger, NOW + 60).await, Some(first.clone()));
    ledger.mail_tried(first.seq, Attempt::Taken, NOW + 60).await.unwrap();
    assert_eq!(due(ledger, NOW + DAY).await, None);
    let late = Attempt::PutOff { next_try: NOW + 70, error: "450 later".into() };
    ledger.mail_tried(first.seq, late, NOW + 61).await.unwrap();
    assert_eq!(due(ledger, NOW + DAY).await, None, "what is done stays done");

    answer(ledger, "carol@b.example", "two", NOW).await;
    make(ledger, "<2@b.example>", NOW).await;
    let second = due(ledger, NOW).await.unwrap();
    ledger.mail_tried(second.seq, Attempt::GivenUp, NOW).await.unwrap();
    assert_eq!(due(ledger, NOW + DAY).await, None);
}

pub async fn answers_beyond_the_limits_wait_and_go_together(site: &Site) {
    let ledger = &*site.ledger;
    answer(ledger, BOB, "one", NOW).await;
    send(ledger, "<1@b.example>", NOW).await;
    answer(ledger, BOB, "two", NOW + 10).await;
    answer(ledger, BOB, "three", NOW + 20).await;
    answer(ledger, "carol@b.example", "four", NOW + 20).await;
    assert_eq!(subjects(&send(ledger, "<2@b.example>", NOW + 20).await), ["four"], "each has his own minute");
    assert_eq!(ledger.answers_due(NOW + 59).await.unwrap(), None);
    assert_eq!(ledger.outbox_next().await.unwrap(), Some(NOW + 60));
    assert_eq!(subjects(&send(ledger, "<3@b.example>", NOW + 60).await), ["two", "three"]);

    // Two are Bob's by now; the rest of his day's.
    for n in 2..ANSWERS_DAILY_MAX as u64 {
        answer(ledger, BOB, "more", NOW + n * 60).await;
        send(ledger, &format!("<more{n}@b.example>"), NOW + n * 60).await;
    }
    answer(ledger, BOB, "one too many", NOW + HOUR).await;
    assert_eq!(ledger.answers_due(NOW + DAY - 1).await.unwrap(), None);
    assert_eq!(ledger.outbox_next().await.unwrap(), Some(NOW + DAY));
    assert_eq!(subjects(&make(ledger, "<last@b.example>", NOW + DAY).await), ["one too many"]);
}

pub async fn answers_wait_behind_a_mail_that_is_not_taken(site: &Site) {
    let ledger = &*site.ledger;
    answer(ledger, BOB, "one", NOW).await;
    make(ledger, "<1@b.example>", NOW).await;
    let mail = due(ledger, NOW).await.unwrap();
    answer(ledger, BOB, "two", NOW + 100).await;
    answer(ledger, BOB, "three", NOW + 200).await;
    assert_eq!(ledger.answers_due(NOW + HOUR).await.unwrap(), None);
    let put_off = Attempt::PutOff { next_try: NOW + HOUR, error: "450 later".into() };
    ledger.mail_tried(mail.seq, put_off, NOW + 300).await.unwrap();
    assert_eq!(ledger.answers_due(NOW + HOUR).await.unwrap(), None);
    assert_eq!(ledger.outbox_next().await.unwrap(), Some(NOW + HOUR), "nothing is due before it");
    take(ledger, NOW + HOUR).await;
    assert_eq!(
        ledger.answers_due(NOW + HOUR + 59).await.unwrap(),
        None,
        "a minute after the smarthost took it"
    );
    assert_eq!(subjects(&make(ledger, "<2@b.example>", NOW + HOUR + 60).await), ["two", "three"]);
}

pub async fn what_came_while_a_mail_was_made_waits_for_the_next(site: &Site) {
    let ledger = &*site.ledger;
    answer(ledger, BOB, "one", NOW).await;
    let waiting = ledger.answers_due(NOW).await.unwrap().unwrap();
    answer(ledger, BOB, "two", NOW).await;
    let first = mail(BOB, MailKind::Answer, "<1@b.example>", NOW);
    assert!(ledger.queue_answers(&waiting, Some(first), NOW).await.unwrap());
    take(ledger, NOW).await;
    assert_eq!(ledger.answers_due(NOW + 59).await.unwrap(), None);
    assert_eq!(subjects(&make(ledger, "<2@b.example>", NOW + 60).await), ["two"]);
}

pub async fn too_many_answers_for_an_address_are_counted_and_left_out(site: &Site) {
    let ledger = &*site.ledger;
    for n in 0..ANSWERS_WAITING_MAX + 3 {
        answer(ledger, BOB, &format!("n{n}"), NOW).await;
    }
    answer(ledger, "carol@b.example", "other", NOW + 1).await;
    let waiting = send(ledger, "<1@b.example>", NOW).await;
    assert_eq!((waiting.parts.len() as u64, waiting.left_out), (ANSWERS_WAITING_MAX, 3));
    assert_eq!(make(ledger, "<2@b.example>", NOW + 1).await.left_out, 0, "Carol's are her own");
    answer(ledger, BOB, "after", NOW + 1).await;
    let waiting = make(ledger, "<3@b.example>", NOW + 60).await;
    assert_eq!((subjects(&waiting), waiting.left_out), (vec!["after"], 0));

    let long = "x".repeat(ANSWER_OCTETS_MAX);
    for n in 0..5 {
        ledger.answer(&address("dora@b.example"), about(&format!("d{n}")), long.clone(), NOW).await.unwrap();
    }
    let waiting = make(ledger, "<4@b.example>", NOW).await;
    assert_eq!((waiting.parts.len(), waiting.left_out), (3, 2), "octets count too");
}

pub async fn long_texts_are_cut_between_characters(site: &Site) {
    let ledger = &*site.ledger;
    let long = format!("x{}", "ë".repeat(ANSWER_OCTETS_MAX));
    let about = AnswerAbout {
        from: address("postage@b.example"),
        subject: long.clone(),
        in_reply_to: Some(long.clone()),
    };
    ledger.answer(&address(BOB), about, long, NOW).await.unwrap();
    let waiting = ledger.answers_due(NOW).await.unwrap().unwrap();
    let part = &waiting.parts[0];
    assert!(part.text.len() <= ANSWER_OCTETS_MAX && part.text.starts_with("xëë"), "{}", part.text.len());
    assert!(part.text.ends_with("[cut here: the answer was too long]\n"));
    assert!(part.about.subject.len() <= 900 && part.about.subject.ends_with('ë'));
    assert_eq!(part.about.in_reply_to, None, "half a Message-ID is another's");
}

pub async fn a_clock_that_ran_ahead_holds_nothing_back(site: &Site) {
    let ledger = &*site.ledger;
    let ahead = NOW + 400 * DAY;
    answer(ledger, BOB, "one", ahead).await;
    make(ledger, "<1@b.example>", ahead).await;
    let later = Attempt::PutOff { next_try: ahead + HOUR, error: "450 later".into() };
    ledger.mail_tried(due(ledger, ahead).await.unwrap().seq, later, ahead).await.unwrap();
    answer(ledger, "carol@b.example", "two", ahead).await;
    send(ledger, "<2@b.example>", ahead).await;
    answer(ledger, "carol@b.example", "three", ahead).await;

    // The clock is put right.
    assert_eq!(due(ledger, NOW).await.unwrap().message_id, "<1@b.example>");
    assert_eq!(subjects(&make(ledger, "<3@b.example>", NOW).await), ["three"]);
}

pub async fn what_waits_is_told(site: &Site) {
    let ledger = &*site.ledger;
    assert_eq!(ledger.outbox_state().await.unwrap(), OutboxState::default());
    assert_eq!(ledger.outbox_next().await.unwrap(), None);
    answer(ledger, BOB, "one", NOW - 100).await;
    make(ledger, "<1@b.example>", NOW).await;
    answer(ledger, BOB, "two", NOW + 5).await;
    assert_eq!(ledger.outbox_next().await.unwrap(), Some(NOW));
    let mail = due(ledger, NOW).await.unwrap();
    let put_off = Attempt::PutOff { next_try: NOW + 100, error: "refused".into() };
    ledger.mail_tried(mail.seq, put_off, NOW).await.unwrap();
    assert_eq!(ledger.outbox_next().await.unwrap(), Some(NOW + 100));
    let state = OutboxState { answers: 1, mails: 1, oldest: Some(NOW), last_error: Some("refused".into()) };
    assert_eq!(ledger.outbox_state().await.unwrap(), state);
    ledger.mail_tried(mail.seq, Attempt::Taken, NOW).await.unwrap();
    let state = OutboxState { answers: 1, mails: 0, oldest: Some(NOW + 5), last_error: None };
    assert_eq!(ledger.outbox_state().await.unwrap(), state);
    assert_eq!(ledger.outbox_next().await.unwrap(), Some(NOW + 60));
}

pub async fn whoever_waits_for_mail_is_told(site: &Site) {
    let ledger = site.ledger.clone();
    let told = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.outbox_changed().await }
    });
    answer(&*ledger, BOB, "one", NOW).await;
    tokio::time::timeout(Duration::from_secs(30), told).await.unwrap().unwrap();
    answer(&*ledger, BOB, "two", NOW).await;
    tokio::time::timeout(Duration::from_secs(30), ledger.outbox_changed())
        .await
        .expect("told although it came before");
}

pub async fn a_digest_is_made_once_for_its_time(site: &Site) {
    let ledger = &*site.ledger;
    let bob = address(BOB);
    let digest = |n: u64| Some(mail(BOB, MailKind::Digest, &format!("<d{n}@b.example>"), NOW));
    let queue = |last, until, mail| ledger.queue_digest(&bob, last, until, mail);
    assert_eq!(queue(None, NOW, digest(0)).await.unwrap(), Queued::NotDue, "he asked for none");
    ledger.set_digest(&bob, Cadence::Daily, NOW - DAY).await.unwrap();
    assert_eq!(queue(Some(NOW - DAY), NOW, digest(1)).await.unwrap(), Queued::Yes);
    assert_eq!(queue(Some(NOW - DAY), NOW, digest(2)).await.unwrap(), Queued::NotDue, "somebody was faster");
    assert_eq!(ledger.settings(&bob).await.unwrap().digest_sent, Some(NOW));
    assert_eq!(queue(Some(NOW), NOW + DAY, None).await.unwrap(), Queued::Yes, "nothing to say");
    assert_eq!(ledger.settings(&bob).await.unwrap().digest_sent, Some(NOW + DAY));
    assert_eq!(due(ledger, NOW).await.unwrap().message_id, "<d1@b.example>");
    take(ledger, NOW).await;
    assert_eq!(due(ledger, NOW + DAY).await, None);
    answer(ledger, BOB, "one", NOW).await;
    assert!(ledger.answers_due(NOW).await.unwrap().is_some(), "a digest is no answer mail");
}

pub async fn the_queue_is_bounded_and_digests_keep_no_answer_out(site: &Site) {
    const OCTETS: u64 = 8 * 1_024 * 1_024;
    let ledger = &*site.ledger;
    let message = vec![b'x'; OCTETS as usize];
    let mut sent = 0;
    for n in 0..20_u64 {
        let owner = address(&format!("u{n}@b.example"));
        ledger.set_digest(&owner, Cadence::Daily, NOW).await.unwrap();
        let id = format!("<{n}@b.example>");
        let big =
            NewMail { message: message.clone(), ..mail(&owner.to_string(), MailKind::Digest, &id, NOW) };
        match ledger.queue_digest(&owner, Some(NOW), NOW + DAY, Some(big)).await.unwrap() {
            Queued::Yes => sent += 1,
            Queued::Full => {
                let settings = ledger.settings(&owner).await.unwrap();
                assert_eq!(settings.digest_sent, Some(NOW), "it is made when there is room again");
                break;
            }
            Queued::NotDue => panic!("{owner}"),
        }
    }
    assert_eq!(sent, OUTBOX_OCTETS_MAX / DIGESTS_SHARE / OCTETS);
    answer(ledger, BOB, "one", NOW + 1).await;
    assert_eq!(subjects(&make(ledger, "<a@b.example>", NOW + 1).await), ["one"]);
    assert_eq!(due(ledger, NOW + 1).await.unwrap().kind, MailKind::Answer, "and it goes before them");

    let mut kept = 0;
    let long = "x".repeat(ANSWER_OCTETS_MAX - 100);
    while ledger.outbox_state().await.unwrap().answers == kept {
        ledger
            .answer(&address(&format!("v{kept}@b.example")), about("long"), long.clone(), NOW)
            .await
            .unwrap();
        kept += 1;
    }
    let room = OUTBOX_OCTETS_MAX / DIGESTS_SHARE / ANSWER_OCTETS_MAX as u64;
    assert!((room..room + 3).contains(&kept), "the last of {kept} was left out, and the log says so");
    take(ledger, NOW + 1).await;
    take(ledger, NOW + 1).await;
    answer(ledger, BOB, "two", NOW + 100).await;
    assert!(ledger.outbox_state().await.unwrap().answers == kept, "there is room again");
}
