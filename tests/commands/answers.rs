//! An answer to a letter says that it was wanted: what is one, and what only looks like one.

use super::*;

/// Bob's answer to a letter.
fn reply(to: &[&str], message_id: &str) -> Letter {
    by("bob", BOB, to, "Re: hello").header("In-Reply-To", message_id).header("Message-ID", "<re@b.example>")
}

#[test]
fn an_answer_says_that_the_letter_was_wanted() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    paid(&world, &stamps[0], BOB, "<1@a.example>");
    let outcome = world.send(&reply(&[ALICE], "<1@a.example>"));
    assert!(outcome.is_delivered() && outcome.changes.is_empty(), "{outcome:?}");
    assert_eq!(refunded(&world), (PRICE, 0));
    assert_eq!(book(&world, BOB), [(ALICE.to_owned(), "reply".to_owned())]);
    assert!(world.send(&reply(&[ALICE], "<1@a.example>")).is_delivered());
    assert_eq!(refunded(&world), (PRICE, 0), "once");
    // Also where nothing is learned from what is sent.
    let off = World::start(&Site { more: "[identity]\nlearn_from_sent = false\n".into(), ..Site::default() });
    let stamps = off.buy(1);
    paid(&off, &stamps[0], BOB, "<1@a.example>");
    off.send(&reply(&[ALICE], "<1@a.example>"));
    assert_eq!(refunded(&off), (PRICE, 0));
    assert_eq!(book(&off, BOB), [(ALICE.to_owned(), "reply".to_owned())]);
}

#[test]
fn what_is_no_answer_gives_nothing_back() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    paid(&world, &stamps[0], BOB, "<1@a.example>");
    let to_alice = || reply(&[ALICE], "<1@a.example>");
    let mut null = to_alice();
    null.sender = "<>".into();
    let mut nobody = to_alice();
    nobody.macros.clear();
    let mut carol = to_alice();
    carol.macros = vec![(Stage::Mail, "{auth_authen}".into(), "carol".into())];
    let unthreaded = || by("bob", BOB, &[ALICE], "Re: hello").header("Message-ID", "<re@b.example>");
    let calendar = "--x\r\nContent-Type: text/plain\r\n\r\nBob accepts.\r\n--x\r\n\
                    Content-Type: text/calendar; charset=utf-8;\r\n method=REPLY\r\n\r\nBEGIN:VCALENDAR\r\n--x--\r\n";
    let receipt = "--x\r\nContent-Type: text/plain\r\n\r\nShown.\r\n--x\r\n\
                   Content-Type: message/disposition-notification\r\n\r\nDisposition: displayed\r\n--x--\r\n";
    for (what, letter) in [
        ("a vacation answer", to_alice().header("Auto-Submitted", "auto-replied (vacation)")),
        ("one from before RFC 3834", to_alice().header("Precedence", "junk")),
        ("an older one", to_alice().header("X-Autorespond", "out of office")),
        (
            "a ticket system",
            to_alice().header("Auto-Submitted", "auto-generated").header("X-Mailer", "Tickets"),
        ),
        ("a null sender", null),
        (
            "a receipt",
            to_alice().header("Content-Type", "multipart/report; report-type=disposition-notification"),
        ),
        (
            "a receipt in parts",
            to_alice().header("Content-Type", "multipart/mixed; boundary=x").body(receipt),
        ),
        ("a bounce", to_alice().header("Content-Type", "multipart/report; report-type=delivery-status")),
        ("a calendar", to_alice().header("Content-Type", "text/calendar; method=REPLY")),
        (
            "a calendar in parts",
            to_alice().header("Content-Type", "multipart/alternative; boundary=x").body(calendar),
        ),
        ("a list server", to_alice().header("List-Id", "<users.b.example>")),
        ("no login", nobody),
        ("another's login", carol),
        ("two authors", to_alice().header("From", CAROL)),
        ("somebody else is written to", reply(&["mallory@m.example"], "<1@a.example>")),
        ("another letter", reply(&[ALICE], "<2@a.example>")),
        ("References alone", unthreaded().header("References", "<1@a.example>")),
        ("a second In-Reply-To", unthreaded().header("In-Reply-To", "<0@x.example> <1@a.example>")),
    ] {
        assert!(world.send(&letter).is_delivered(), "{what}");
        assert_eq!(refunded(&world), (0, PRICE), "{what}");
    }
    world.send(
        &to_alice()
            .header("Content-Type", "multipart/alternative; boundary=x")
            .body("--x\r\n\r\nThanks\r\n--x--\r\n"),
    );
    assert_eq!(refunded(&world), (PRICE, 0), "a person's");
}

#[test]
fn an_answer_may_go_to_reply_to_and_come_from_whoever_reads_the_mailbox() {
    let world = World::start(&Site::default());
    let stamps = world.buy(5);
    let with_reply_to = |n: usize, to: &str| {
        let letter =
            Letter::new(ALICE, &[to], "hello").header("Reply-To", "Office <office@a.example>, al@a.example");
        paid_by(&world, &stamps[n], letter, &format!("<{n}@a.example>"));
    };
    with_reply_to(0, BOB);
    world.send(&reply(&["al@a.example"], "<0@a.example>"));
    assert_eq!(refunded(&world).0, PRICE, "to Reply-To");
    with_reply_to(1, "info@b.example");
    world.send(&reply(&["office@a.example", CAROL], "<1@a.example>"));
    assert_eq!(refunded(&world).0, 2 * PRICE, "a shared mailbox, answered by one who reads it");
    let knows = |who: &str| book(&world, who).iter().any(|(sender, _)| sender == ALICE);
    assert!(knows("info@b.example") && knows(BOB));
    assert!(!knows(CAROL));
    // Of two letters with one Message-ID, the user's own, and of those the first.
    for (n, to) in [(2, CAROL), (3, BOB), (4, BOB)] {
        let letter = Letter::new("erin@a.example", &[to], &format!("copy {n}"));
        paid_by(&world, &stamps[n], letter, "<same@a.example>");
    }
    for _ in 0..2 {
        world.send(&reply(&["erin@a.example"], "<same@a.example>"));
        assert_eq!(refunded(&world), (3 * PRICE, 2 * PRICE));
    }
    assert!(!knows(CAROL));
}

#[test]
fn a_forged_letter_that_is_answered_teaches_nothing_but_gives_its_postage_back() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    let letter = Letter::new(ALICE, &[BOB], "hello")
        .header("Message-ID", "<1@a.example>")
        .header("Reply-To", "mallory@m.example")
        .header("Postage-Stamp", stamps[0].to(BOB, ALICE));
    assert_eq!(result(&world.send_from(MALLORY_IP, &letter)), "paid");
    world.send(&reply(&["mallory@m.example"], "<1@a.example>"));
    assert_eq!(refunded(&world), (PRICE, 0));
    assert_eq!(book(&world, BOB), [("mallory@m.example".to_owned(), "sent".to_owned())], "whom Bob wrote to");
}
