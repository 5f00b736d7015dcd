//! Who is known, through the milter's socket: whom local users write to, what answers them, and lists.

mod support;

use farthing_milter::{client::Letter, macros::Stage};
use support::{ALICE, ALICE_IP, BOB, CAROL, MALLORY_IP, Site, World, refusal, result};

const DAVE: &str = "dave@d.example";

/// A letter that bob hands in by authenticated submission.
fn from_bob(recipients: &[&str], message_id: &str) -> Letter {
    let mut letter = Letter::new(BOB, recipients, "Lunch?").header("Message-ID", message_id);
    letter.macros.push((Stage::Mail, "{auth_authen}".into(), "bob".into()));
    letter
}

fn from_alice(subject: &str) -> Letter {
    Letter::new(ALICE, &[BOB], subject)
}

fn from_mallory(subject: &str) -> Letter {
    Letter::new("mallory@m.example", &[BOB], subject)
}

fn is_asked(world: &World, letter: &Letter) {
    let said = refusal(&world.send(letter));
    assert!(said.contains("postage of 0.25c required from new senders"), "{said}");
}

#[test]
fn whom_bob_writes_to_may_write_to_him() {
    let world = World::start(&Site::default());
    is_asked(&world, &from_alice("before"));
    let outcome = world.send(&from_bob(&[ALICE, CAROL, "Dave@D.example"], "<1@b.example>"));
    assert_eq!(result(&outcome), "exempt");
    assert_eq!(outcome.changes.len(), 1, "nothing but the status for Carol: {outcome:?}");
    assert_eq!(result(&world.send(&from_alice("after"))), "known");
    let forged = refusal(&world.send_from(MALLORY_IP, &from_alice("after")));
    assert!(forged.contains("required from new senders"), "{forged}");
    is_asked(&world, &Letter::new(ALICE, &[CAROL], "to somebody else"));
    let book = world.json(&["known", "list"]);
    let rows: Vec<_> = book
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            (e["recipient"].as_str().unwrap(), e["sender"].as_str().unwrap(), e["how"].as_str().unwrap())
        })
        .collect();
    assert_eq!(rows, [(BOB, ALICE, "sent"), (BOB, CAROL, "sent"), (BOB, DAVE, "sent")]);
}

#[test]
fn mail_that_goes_away_only_is_learned_from_and_left_alone() {
    let world = World::start(&Site::default());
    let away = world.send(&from_bob(&[ALICE], "<1@b.example>"));
    assert!(away.is_delivered() && away.changes.is_empty(), "{away:?}");
    assert_eq!(result(&world.send(&from_alice("after"))), "known");
}

#[test]
fn what_teaches_nothing() {
    let world = World::start(&Site::default());
    let to_alice = || from_bob(&[ALICE], "<1@b.example>");
    let mut null = to_alice();
    null.sender = "<>".into();
    let mut carols = to_alice();
    carols.macros = vec![(Stage::Mail, "{auth_authen}".into(), "carol".into())];
    let mut nobodys = to_alice();
    nobodys.macros.clear();
    let in_parts = |content_type: &str| {
        let body =
            format!("--x\r\n\r\nBob comes.\r\n--x\r\nContent-Type: {content_type}\r\n\r\nx\r\n--x--\r\n");
        to_alice().header("Content-Type", "multipart/mixed; boundary=x").body(body)
    };
    for (what, letter) in [
        ("a vacation answer", to_alice().header("Auto-Submitted", "auto-replied")),
        ("an old vacation answer", to_alice().header("Precedence", "bulk")),
        ("a post by a list server", to_alice().header("List-Id", "<users.b.example>")),
        ("a receipt", to_alice().header("Content-Type", "multipart/report; report-type=x")),
        ("what a calendar says", to_alice().header("Content-Type", "text/calendar; method=REPLY")),
        (
            "what a calendar says beside a text",
            to_alice().header("Content-Type", "multipart/alternative; boundary=x").body(
                "--x\r\nContent-Type: text/plain\r\n\r\nBob declines\r\n--x\r\n\
                 Content-Type: text/calendar;\r\n method=REPLY\r\n\r\nBEGIN:VCALENDAR\r\n--x--\r\n",
            ),
        ),
        ("a receipt beside a text", in_parts("message/disposition-notification")),
        ("a tracker's notice", to_alice().header("X-JIRA-FingerPrint", "1")),
        ("a bounce", null),
        ("another user's login", carols),
        ("no login", nobodys),
        ("two authors", to_alice().header("From", CAROL)),
    ] {
        assert!(world.send(&letter).is_delivered(), "{what}");
        let said = refusal(&world.send(&from_alice(what)));
        assert!(said.contains("required from new senders"), "{what}: {said}");
    }
    let invitation = to_alice().header("Content-Type", "text/calendar; method=REQUEST");
    let forwarded_bounce = in_parts("message/delivery-status");
    for (what, letter) in [
        ("an invitation", invitation),
        ("one in parts", in_parts("text/calendar; method=REQUEST")),
        ("a bounce sent on", forwarded_bounce),
    ] {
        let world = World::start(&Site::default());
        assert!(world.send(&letter).is_delivered());
        assert_eq!(result(&world.send(&from_alice("I come"))), "known", "{what} is a person's");
    }
    let off = World::start(&Site { more: "[identity]\nlearn_from_sent = false\n".into(), ..Site::default() });
    off.send(&to_alice());
    is_asked(&off, &from_alice("after"));
}

#[test]
fn a_block_stays_and_the_unwanted_are_learned_again_by_writing_again() {
    let world = World::start(&Site::default());
    assert!(world.farthing(&["known", "block", ALICE, "--for", BOB]).status.success());
    world.send(&from_bob(&[ALICE], "<1@b.example>"));
    assert_eq!(refusal(&world.send(&from_alice("hi"))), format!("550 5.7.1 <{BOB}>: not accepted"));

    let mut world = World::start(&Site::default());
    world.send(&from_bob(&[ALICE], "<1@b.example>"));
    let letter = from_alice("an offer").header("Message-ID", "<offer@a.example>");
    assert_eq!(result(&world.send(&letter)), "known");
    // Decisions are written before the daemon ends.
    world.end_daemon("TERM");
    world.json(&["unwanted", "<offer@a.example>", "--for", BOB]);
    world.start_daemon();
    is_asked(&world, &from_alice("another offer"));
    world.send(&from_bob(&[ALICE], "<2@b.example>"));
    assert_eq!(result(&world.send(&from_alice("thanks"))), "known");
}

#[test]
fn a_letter_let_in_without_postage_teaches_who_its_sender_is_once_it_is_wanted() {
    let mut world = World::start(&Site::mode("tag"));
    let wanted = |world: &mut World, id: &str| {
        // Decisions are written before the daemon ends.
        world.end_daemon("TERM");
        world.json(&["wanted", id, "--for", BOB]);
        world.start_daemon();
    };
    let offer = |id| from_alice("an offer").header("Message-ID", id);
    assert_eq!(result(&world.send_from(MALLORY_IP, &offer("<forged@a.example>"))), "unpaid");
    wanted(&mut world, "<forged@a.example>");
    assert_eq!(result(&world.send(&offer("<offer@a.example>"))), "unpaid", "what was forged taught nothing");
    wanted(&mut world, "<offer@a.example>");
    assert_eq!(result(&world.send(&from_alice("another offer"))), "known");
}

#[test]
fn writing_where_a_list_says_to_unsubscribe_makes_nobody_known() {
    let mut world = World::start(&Site::mode("tag"));
    let news = from_alice("News")
        .header("List-Unsubscribe", "<https://a.example/u>, <mailto:alice@a.example?subject=unsubscribe>");
    assert_eq!(result(&world.send(&news)), "unpaid");
    world.end_daemon("TERM");
    world.start_daemon();
    world.send(&from_bob(&[ALICE, DAVE], "<1@b.example>"));
    assert_eq!(result(&world.send(&from_alice("More news"))), "unpaid");
    let book = world.json(&["known", "list", "--for", BOB]);
    assert_eq!(book.as_array().unwrap().len(), 1, "Dave alone: {book}");
}

fn answer_from_mallory(subject: &str, message_id: &str) -> Letter {
    from_mallory(subject).header("In-Reply-To", message_id)
}

#[test]
fn an_answer_comes_in_from_whatever_address_and_changes_no_book() {
    let world = World::start(&Site::default());
    is_asked(&world, &answer_from_mallory("Re: too early", "<1@b.example>"));
    world.send(&from_bob(&[ALICE], "<1@b.example>"));
    let before = world.zone.asked_in_all();
    let outcome = world.send(&answer_from_mallory("Re: Lunch?", "<1@b.example> <0@a.example>"));
    assert_eq!(result(&outcome), "known");
    assert_eq!(world.zone.asked_in_all(), before, "an answer needs no DNS");
    is_asked(&world, &from_mallory("by the way"));
    is_asked(&world, &from_mallory("References alone").header("References", "<1@b.example>"));
    is_asked(&world, &answer_from_mallory("not the first", "<0@a.example> <1@b.example>"));
    let carols =
        Letter::new("mallory@m.example", &[CAROL], "Re: Lunch?").header("In-Reply-To", "<1@b.example>");
    is_asked(&world, &carols);
    let book = world.json(&["known", "list"]);
    assert_eq!(book.as_array().unwrap().len(), 1, "{book}");
}

#[test]
fn an_answer_takes_no_stamp_and_is_counted_when_it_is_let_in() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    world.send(&from_bob(&[ALICE], "<1@b.example>"));
    let stamped = answer_from_mallory("Re: 0", "<1@b.example>")
        .header("Postage-Stamp", stamps[0].to(BOB, "mallory@m.example"));
    assert_eq!(result(&world.send(&stamped)), "known");
    assert_eq!(world.balance("escrow:b.example"), 0);
    // Refused for Carol's sake, so nothing is counted.
    for n in 0..7 {
        let both = Letter::new("mallory@m.example", &[BOB, CAROL], &format!("to both {n}"))
            .header("In-Reply-To", "<1@b.example>");
        let said = refusal(&world.send(&both));
        assert!(said.contains(CAROL) && !said.contains(BOB), "{said}");
    }
    for n in 1..5 {
        let letter = answer_from_mallory(&format!("Re: {n}"), "<1@b.example>");
        assert_eq!(result(&world.send(&letter)), "known", "{n}");
        assert_eq!(result(&world.send(&letter)), "known", "{n}, a retry of it");
    }
    is_asked(&world, &answer_from_mallory("Re: 5", "<1@b.example>"));
    let from_there = Letter::new("al@a.example", &[BOB], "Re: 6").header("In-Reply-To", "<1@b.example>");
    assert_eq!(result(&world.send(&from_there)), "known", "from a domain it went to");
    let forged = Letter::new("al@a.example", &[BOB], "Re: 7").header("In-Reply-To", "<1@b.example>");
    let forged = refusal(&world.send_from(MALLORY_IP, &forged));
    assert!(forged.contains("required from new senders"), "{forged}");
    world.books_balance();
}

#[test]
fn wide_mail_and_list_posts_cannot_be_answered_free() {
    let world = World::start(&Site::default());
    let many: Vec<String> = (0..11).map(|n| format!("r{n}@a.example")).collect();
    world.send(&from_bob(&many.iter().map(String::as_str).collect::<Vec<_>>(), "<wide@b.example>"));
    is_asked(&world, &answer_from_mallory("Re: wide", "<wide@b.example>"));
    assert!(world.farthing(&["known", "add", "list:users.lists.example", "--for", BOB]).status.success());
    world.send(&from_bob(&["users@lists.example"], "<post@b.example>"));
    is_asked(&world, &answer_from_mallory("Re: post", "<post@b.example>"));
}

fn bounce(returned: &str) -> Letter {
    let mut letter = Letter::new("mailer-daemon@m.example", &[BOB], "Undelivered Mail Returned to Sender")
        .header("Content-Type", "multipart/report; report-type=delivery-status; boundary=x")
        .body(format!(
            "--x\r\n\r\nSorry.\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nFrom: bob@b.example\r\n\
             Message-ID: {returned}\r\n\r\nHello\r\n--x--\r\n"
        ));
    letter.sender = "<>".into();
    letter
}

#[test]
fn bounces_of_what_was_sent_come_in_and_backscatter_does_not() {
    let world = World::start(&Site::default());
    is_asked(&world, &bounce("<1@b.example>"));
    world.send(&from_bob(&["nobody@m.example"], "<1@b.example>"));
    assert_eq!(result(&world.send(&bounce("<1@b.example>"))), "known");
    is_asked(&world, &bounce("<2@b.example>"));
    let mut by_field = bounce("<2@b.example>").header("In-Reply-To", "<1@b.example>");
    assert_eq!(result(&world.send(&by_field)), "known");
    by_field = bounce("<1@b.example>");
    by_field.headers.retain(|(name, _)| name != "Content-Type");
    assert_eq!(result(&world.send(&by_field)), "known", "a bounce in plain text");
    let mut person = bounce("<1@b.example>");
    person.headers.retain(|(name, _)| name != "Content-Type");
    person.sender = "<mallory@m.example>".into();
    is_asked(&world, &person);
}

const LIST_IP: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77));

fn list_post() -> Letter {
    let mut post = Letter::new("erin@e.example", &[BOB], "[users] news")
        .header("Message-ID", "<post@e.example>")
        .header("List-Id", "Users <users.lists.example>");
    post.sender = "<users-bounces+bob=b.example@lists.example>".into();
    post
}

fn with_list(site: &Site) -> World {
    let world = World::start(site);
    world.zone.txt("lists.example", format!("v=spf1 ip4:{LIST_IP} -all"));
    world
}

#[test]
fn a_list_is_known_by_its_id_when_its_domain_stands_behind_it() {
    let world = with_list(&Site::default());
    let refused = refusal(&world.send_from(LIST_IP, &list_post()));
    assert!(refused.contains("required from new senders"), "{refused}");
    assert!(world.farthing(&["known", "add", "list:Users.Lists.Example", "--for", BOB]).status.success());
    assert_eq!(result(&world.send_from(LIST_IP, &list_post())), "known");
    is_asked(&world, &list_post());
    let mut elsewhere = list_post();
    elsewhere.sender = format!("<{ALICE}>");
    is_asked(&world, &elsewhere);
    let two = list_post().header("List-Id", "<other.lists.example>");
    let refused = refusal(&world.send_from(LIST_IP, &two));
    assert!(refused.contains("required from new senders"), "{refused}");
    assert!(world.farthing(&["known", "block", "list:users.lists.example", "--for", BOB]).status.success());
    assert_eq!(refusal(&world.send_from(LIST_IP, &list_post())), format!("550 5.7.1 <{BOB}>: not accepted"));
}

#[test]
fn who_writes_to_a_list_or_joins_it_gets_its_mail() {
    for address in ["users@lists.example", "users-request@lists.example", "users-join@lists.example"] {
        let world = with_list(&Site::default());
        world.send(&from_bob(&[address], "<1@b.example>"));
        assert_eq!(result(&world.send_from(LIST_IP, &list_post())), "known", "{address}");
        let other = Letter::new("erin@e.example", &[BOB], "x").header("List-Id", "<others.lists.example>");
        let refused = refusal(&world.send_from(LIST_IP, &other));
        assert!(refused.contains("required from new senders"), "{refused}");
    }
}

#[test]
fn one_wanted_message_of_a_list_is_enough() {
    let mut world = with_list(&Site::default());
    let stamps = world.buy(1);
    let stamped = list_post().header("Postage-Stamp", stamps[0].to(BOB, "erin@e.example"));
    assert_eq!(result(&world.send_from(LIST_IP, &stamped)), "paid");
    world.end_daemon("TERM");
    world.json(&["wanted", &stamps[0].id()]);
    world.start_daemon();
    assert_eq!(result(&world.send_from(LIST_IP, &list_post())), "known");
    world.json(&["unwanted", &stamps[0].id()]);
    let refused = refusal(&world.send_from(LIST_IP, &list_post()));
    assert!(refused.contains("required from new senders"), "{refused}");
    world.books_balance();
}

/// A letter of one who has an address beside Alice's, at the same provider, and names a list of her name.
fn posing(sender: &str) -> Letter {
    let mut letter = Letter::new("mallory@a.example", &[BOB], "Buy this")
        .header("Message-ID", "<posing@a.example>")
        .header("List-Id", "<alice.a.example>");
    letter.sender = format!("<{sender}>");
    letter
}

#[test]
fn who_has_an_address_beside_a_friends_is_no_list_of_his() {
    let mut world = World::start(&Site::default());
    world.send(&from_bob(&[ALICE], "<1@b.example>"));
    assert_eq!(result(&world.send(&from_alice("Lunch?"))), "known");
    is_asked(&world, &posing("mallory@a.example"));
    is_asked(&world, &posing("mallory+alice-bounces@a.example"));
    let forged = refusal(&world.send_from(MALLORY_IP, &posing("alice-bounces@a.example")));
    assert!(forged.contains("required from new senders"), "only SPF shows whose envelope it is: {forged}");
    // What he pays for and Bob does not want makes Alice no stranger, and her address no list's.
    let stamps = world.buy(1);
    let paid = posing("mallory@a.example").header("Postage-Stamp", stamps[0].to(BOB, "mallory@a.example"));
    assert_eq!(result(&world.send(&paid)), "paid");
    world.end_daemon("TERM");
    world.json(&["unwanted", &stamps[0].id()]);
    let book = world.json(&["known", "list", "--for", BOB]);
    assert_eq!(book.as_array().unwrap().len(), 1, "{book}");
    world.start_daemon();
    assert_eq!(result(&world.send(&from_alice("Dinner?"))), "known");
    world.send(&from_bob(&[ALICE], "<2@b.example>"));
    let elsewhere = Letter::new("alice@home.example", &[BOB], "Re: 2").header("In-Reply-To", "<2@b.example>");
    assert_eq!(result(&world.send(&elsewhere)), "known");
}

const RELAY_IP: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 200));

#[test]
fn behind_a_relay_the_client_is_the_one_its_received_names() {
    let site =
        Site::gate("relays = [\"192.0.2.200\"]\nexempt_networks = [\"192.0.2.200\", \"198.51.100.0/24\"]");
    let world = World::start(&site);
    assert!(world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    let through = |received: &str| {
        let mut letter = Letter::new(ALICE, &[BOB], "Lunch?");
        letter.headers.insert(0, ("Received".into(), received.as_bytes().to_vec()));
        world.send_from(RELAY_IP, &letter)
    };
    let by = "by backup.b.example (Postfix) with ESMTP id 1";
    assert_eq!(result(&through(&format!("from mx.a.example (mx.a.example [{ALICE_IP}])\n\t{by}"))), "known");
    assert_eq!(result(&through(&format!("from x (unknown [198.51.100.7]) {by}"))), "exempt");
    for received in [&format!("from mx.a.example (x [{MALLORY_IP}]) {by}"), "by qmail", ""] {
        let said = refusal(&through(received));
        assert!(said.contains("required from new senders"), "{received}: {said}");
    }
    let said = refusal(&world.send_from(MALLORY_IP, &{
        let mut forged = Letter::new(ALICE, &[BOB], "Lunch?");
        let received = format!("from mx.a.example (mx.a.example [{ALICE_IP}]) {by}");
        forged.headers.insert(0, ("Received".into(), received.into_bytes()));
        forged
    }));
    assert!(said.contains("required from new senders"), "who is no relay is believed nothing: {said}");
}

#[test]
fn results_of_a_trusted_server_are_believed_and_of_nobody_else() {
    let more = "[identity]\ncheck = \"results\"\ntrusted = [\"mx.b.example\"]\n".into();
    let world = World::start(&Site { more, ..Site::default() });
    assert!(world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    let with = |fields: &[(&str, &str)]| {
        let mut letter = Letter::new(ALICE, &[BOB], "Lunch?");
        for (at, (name, value)) in fields.iter().enumerate() {
            letter.headers.insert(at, ((*name).into(), value.as_bytes().to_vec()));
        }
        world.send_from(MALLORY_IP, &letter)
    };
    let pass = ("Authentication-Results", "mx.b.example; dmarc=pass header.from=a.example");
    let received = ("Received", "from x (x [192.0.2.66]) by mx.b.example");
    assert_eq!(result(&with(&[pass, received])), "known");
    let spf = ("Authentication-Results", "MX.b.example; spf=pass smtp.mailfrom=alice@mail.a.example");
    assert_eq!(result(&with(&[spf])), "known");
    for fields in [
        &[][..],
        &[("Authentication-Results", "mx.m.example; dmarc=pass header.from=a.example")],
        &[("Authentication-Results", "mx.b.example; dmarc=pass header.from=m.example")],
        &[(
            "Authentication-Results",
            "mx.b.example; dmarc=fail header.from=a.example; spf=pass smtp.mailfrom=a.example",
        )],
        &[received, pass],
    ] {
        let said = refusal(&with(fields));
        assert!(said.contains("required from new senders"), "{fields:?}: {said}");
    }
    assert_eq!(world.zone.asked_in_all(), 0, "nothing is looked up");
}

#[test]
fn letters_made_to_be_slow_are_answered_at_once() {
    let world = World::start(&Site::default());
    world.send(&from_bob(&[ALICE], "<1@b.example>"));
    let references = (0..5_000).map(|n| format!("<{n}@x>\n ")).collect::<String>();
    let bomb = "=?utf-8?B?PGFsaWNlQGEuZXhhbXBsZT4=?= ".repeat(1_700);
    let mut long_from = from_mallory("long From");
    long_from.headers[0].1 = format!("{bomb}<mallory@m.example>").into_bytes();
    for letter in [
        from_mallory("long List-Id").header("List-Id", format!("<{}.lists.example>", "x".repeat(10_240))),
        from_mallory("brackets").header("List-Id", "<".repeat(10_240)),
        from_mallory("references").header("References", &references),
        from_mallory("many answered").header("In-Reply-To", &references),
        from_mallory("links").header("List-Unsubscribe", "<mailto:a@m.example>,".repeat(2_500)),
        long_from,
    ] {
        let begun = std::time::Instant::now();
        is_asked(&world, &letter);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
