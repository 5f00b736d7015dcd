//! Answers to commands, from the ledger to the smarthost.

use std::{fs, os::unix::fs::PermissionsExt as _};

use farthing::ledger::outbox::{AnswerAbout, Outbox as _};

use crate::{
    desk::{DAY, Desk, NOW},
    sink::{HANG_UP, Sink},
    support::{BOB, CAROL, PATIENCE},
};

#[tokio::test]
async fn an_answer_goes_to_its_author_alone_and_once() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    desk.answer_bob("list", NOW).await;
    desk.round(NOW).await;
    let taken = sink.taken();
    let [mail] = &taken[..] else { panic!("one mail, not {taken:#?}") };
    assert_eq!((mail.from.as_str(), &mail.to[..]), ("", &[BOB.to_owned()][..]), "from nobody, to Bob");
    for (name, value) in [
        ("From", "postage@b.example"),
        ("To", BOB),
        ("Subject", "Re: list"),
        ("In-Reply-To", "<list@b.example>"),
        ("Auto-Submitted", "auto-replied"),
        ("Date", "Fri, 15 Jan 2027 08:00:00 +0000"),
    ] {
        assert_eq!(mail.field(name), value);
    }
    assert_eq!(mail.text(), "list: done\n");
    desk.round(NOW + 1).await;
    desk.killed_and_started();
    desk.round(NOW + DAY).await;
    assert_eq!(sink.taken().len(), 1);
    assert_eq!(desk.state().await.oldest, None);
}

#[tokio::test]
async fn answers_within_a_minute_go_together_and_fifty_mails_a_day() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    for (subject, at) in [("one", NOW), ("two", NOW + 1), ("three", NOW + 2)] {
        desk.answer_bob(subject, at).await;
        desk.round(at).await;
    }
    desk.answer(CAROL, "hers", NOW + 2).await;
    desk.round(NOW + 59).await;
    assert_eq!(
        sink.taken().iter().map(|mail| mail.field("Subject")).collect::<Vec<_>>(),
        ["Re: one", "Re: hers"]
    );
    desk.round(NOW + 60).await;
    let mail = sink.taken().pop().unwrap();
    assert_eq!(mail.field("Subject"), "Re: three (and 1 more)");
    assert_eq!(mail.field("In-Reply-To"), "<three@b.example> <two@b.example>");
    assert!(mail.text().contains("two: done") && mail.text().contains("three: done"), "{}", mail.text());

    // Somebody who writes every ten seconds for a day reads fifty mails, and every answer until then.
    for n in 12..(DAY / 10) {
        if n % 100 == 0 {
            desk.answer_bob(&format!("n{n}"), NOW + n * 10).await;
        }
        if n % 6 == 0 {
            desk.round(NOW + n * 10).await;
        }
    }
    let to_bob = sink.taken().iter().filter(|mail| mail.to == [BOB]).count();
    assert_eq!(to_bob, 50);
    desk.round(NOW + DAY).await;
    let last = sink.taken().pop().unwrap();
    assert!(last.field("Subject").contains(" more)") && last.text().contains(": done"), "{last:#?}");
}

#[tokio::test]
async fn refused_for_now_is_tried_again_and_refused_for_good_is_given_up() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    desk.answer_bob("list", NOW).await;
    sink.say("RCPT", "450 4.2.0 mailbox busy");
    desk.round(NOW).await;
    assert_eq!(desk.state().await.last_error.unwrap(), "450 4.2.0 mailbox busy");
    sink.say_nothing_else();
    desk.round(NOW + 59).await;
    assert_eq!(sink.taken().len(), 0);
    desk.round(NOW + 60).await;
    assert_eq!(sink.taken().len(), 1);

    for (n, (at, words)) in [
        ("MAIL", "550 5.1.8 no"),
        ("RCPT", "550 5.1.1 nobody"),
        ("DATA", "554 5.7.0 no"),
        (".", "554 5.6.0 no"),
    ]
    .into_iter()
    .enumerate()
    {
        let later = NOW + DAY * (n as u64 + 1);
        desk.answer_bob("again", later).await;
        sink.say(at, words);
        desk.round(later).await;
        sink.say_nothing_else();
        desk.round(later + DAY / 2).await;
        assert_eq!((sink.taken().len(), desk.state().await.oldest), (1, None), "{at} {words}");
    }
}

#[tokio::test]
async fn a_mail_that_is_never_taken_is_given_up_after_days() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    desk.answer_bob("list", NOW).await;
    sink.say("RCPT", "450 4.2.0 mailbox busy");
    let (mut now, mut tries) = (NOW, 0);
    while desk.state().await.mails > 0 || tries == 0 {
        desk.round(now).await;
        tries += 1;
        now += 3_600;
        assert!(tries < 200);
    }
    assert_eq!(tries, 5 * 24, "once an hour for five days");
    assert_eq!(sink.taken(), []);
}

#[tokio::test]
async fn the_smarthost_goes_away_and_comes_back() {
    let sink = Sink::start();
    let address = sink.address;
    let mut desk = Desk::new(&sink.url());
    drop(sink);
    for n in 0..5 {
        desk.answer(&format!("u{n}@b.example"), "list", NOW).await;
    }
    desk.round(NOW).await;
    let state = desk.state().await;
    assert_eq!(state.mails, 5);
    assert!(state.last_error.unwrap().contains(&address.to_string()), "it says who is away");
    desk.killed_and_started();
    desk.round(NOW + 1).await;

    // It is there again, but not well.
    let sink = Sink::start_at(address);
    sink.say("connect", "554 5.3.2 not today");
    desk.round(NOW + 10).await;
    assert_eq!((sink.connections(), desk.state().await.mails), (1, 5), "one look for all of them");
    desk.round(NOW + 11).await;
    assert_eq!(sink.connections(), 1, "left alone for a while");
    sink.say_nothing_else();
    desk.round(NOW + 310).await;
    let mut to: Vec<String> = sink.taken().into_iter().flat_map(|mail| mail.to).collect();
    to.sort();
    assert_eq!(to, ["u0@b.example", "u1@b.example", "u2@b.example", "u3@b.example", "u4@b.example"]);
    assert_eq!(desk.state().await.oldest, None);
}

#[tokio::test]
async fn an_answer_that_gets_lost_brings_the_same_mail_again() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    desk.answer_bob("list", NOW).await;
    sink.say(".", HANG_UP);
    desk.round(NOW).await;
    sink.say_nothing_else();
    desk.killed_and_started();
    desk.round(NOW + 10).await;
    let taken = sink.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0], taken[1], "octet for octet, Message-ID and all");
}

#[tokio::test]
async fn one_mail_that_the_smarthost_stumbles_over_holds_up_no_other() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    desk.answer_bob("list", NOW).await;
    sink.say(".", HANG_UP);
    desk.round(NOW).await;
    desk.answer(CAROL, "list", NOW + 1).await;
    sink.say_nothing_else();
    // The pause is over; Bob's mail and Carol's are due, and each is tried.
    desk.round(NOW + 5).await;
    assert_eq!(sink.taken().iter().filter(|mail| mail.to == [CAROL]).count(), 1);
}

#[tokio::test]
async fn a_mailbox_that_was_full_gets_one_mail_of_all_that_waited() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    sink.say("RCPT", "452 4.2.2 mailbox full");
    for minute in 0..30 {
        desk.answer_bob(&format!("n{minute}"), NOW + minute * 60).await;
        desk.round(NOW + minute * 60).await;
    }
    sink.say_nothing_else();
    for minute in 30..120 {
        desk.round(NOW + minute * 60).await;
    }
    let subjects: Vec<String> = sink.taken().iter().map(|mail| mail.field("Subject")).collect();
    assert_eq!(subjects, ["Re: n0", "Re: n29 (and 28 more)"]);
}

#[tokio::test]
async fn a_courier_at_work_takes_an_answer_at_once_and_stops_when_told() {
    let sink = Sink::start();
    let Desk { ledger, courier, directory, .. } = Desk::new(&sink.url());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let at_work = tokio::spawn(courier.run(stopped));
    for subject in ["one", "two"] {
        let to = format!("{subject}@b.example").parse().unwrap();
        let about = AnswerAbout {
            from: "postage@b.example".parse().unwrap(),
            subject: subject.into(),
            in_reply_to: None,
        };
        ledger.answer(&to, about, "done\n".into(), farthing::clock::unix_now()).await.unwrap();
        let before = std::time::Instant::now();
        while !sink.taken().iter().any(|mail| mail.field("Subject") == subject) {
            assert!(before.elapsed() < PATIENCE, "far sooner than it would look by itself");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    stop.send(true).unwrap();
    tokio::time::timeout(PATIENCE, at_work).await.unwrap().unwrap();
    drop(directory);
}

#[tokio::test]
async fn a_program_like_sendmail() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("sendmail");
    let record = directory.path().join("record");
    let becomes = |end: &str| {
        let script = format!("#!/bin/sh\nprintf '[%s]' \"$@\" > {0}\ncat >> {0}\n{end}\n", record.display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let mut desk = Desk::new(&format!("sendmail:{}", program.display()));
    let mut now = NOW;
    desk.answer_bob("list", now).await;
    desk.round(now).await;
    assert!(desk.state().await.last_error.unwrap().contains("No such file"), "it is not there yet");

    becomes("echo 'queue full' >&2; exit 75");
    now += DAY / 2;
    desk.round(now).await;
    assert!(desk.state().await.last_error.unwrap().contains("queue full"));
    becomes("exit 0");
    now += DAY / 2;
    desk.round(now).await;
    let recorded = fs::read_to_string(&record).unwrap();
    assert!(recorded.starts_with(&format!("[-i][-f][<>][--][{BOB}]")), "{recorded}");
    assert!(recorded.ends_with("\n\nlist: done\n") && !recorded.contains('\r'), "{recorded:?}");
    assert_eq!(desk.state().await.oldest, None);

    becomes("exit 67");
    desk.answer_bob("list", now + 60).await;
    desk.round(now + 60).await;
    assert_eq!(desk.state().await.oldest, None, "no such user, and never will be");
    // One that reads nothing of what it is given.
    fs::write(&program, "#!/bin/sh\nexit 0\n").unwrap();
    desk.answer_bob(&"x".repeat(100), now + DAY).await;
    desk.round(now + DAY).await;
    assert_eq!(desk.state().await.oldest, None);
}

#[tokio::test]
async fn an_address_that_no_mail_can_be_written_to_stops_nothing() {
    let sink = Sink::start();
    let mut desk = Desk::new(&sink.url());
    desk.answer(&format!("{}@b.example", "x".repeat(400)), "list", NOW).await;
    desk.answer_bob("list", NOW).await;
    desk.round(NOW).await;
    assert_eq!(sink.taken().len(), 1);
    assert_eq!(desk.state().await.oldest, None);
}
