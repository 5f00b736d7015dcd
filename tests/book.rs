//! The book through the front doors: domains with their subdomains, the addresses of one login, and lists that nobody
//! knew to be lists.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use farthing_milter::{client::Letter, macros::Stage};
use support::{ALICE, ALICE_IP, BOB, CAROL, MALLORY_IP, Site, World, added, refusal, result, text};

const ROBERT: &str = "robert@b.example";
const INFO: &str = "info@b.example";
const LOGINS: &str =
    "bob bob@b.example robert@b.example info@b.example\ncarol carol@b.example info@b.example\n";

/// A letter that a login hands in.
fn submitted(login: &str, author: &str, recipients: &[&str], message_id: &str) -> Letter {
    let mut letter = Letter::new(author, recipients, "Lunch?").header("Message-ID", message_id);
    letter.macros.push((Stage::Mail, "{auth_authen}".into(), login.into()));
    letter
}

/// A letter of an author below a.example, by Alice's server.
fn from_below(author: &str) -> Letter {
    let mut letter = Letter::new(author, &[BOB], "Offers");
    letter.sender = format!("<{ALICE}>");
    letter
}

fn is_asked(world: &World, letter: &Letter) {
    let said = refusal(&world.send(letter));
    assert!(said.contains("postage of 0.25c required from new senders"), "{said}");
}

fn done(world: &World, arguments: &[&str]) {
    let output = world.farthing(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
}

/// A site with this login file.
fn with_logins(lines: &str) -> World {
    let world = World::without_daemon(&Site::gate("logins = \"file:logins\""));
    fs::write(world.path("logins"), lines).unwrap();
    world
}

#[test]
fn a_domain_is_let_in_or_shut_out_with_its_subdomains() {
    let world = World::start(&Site::default());
    is_asked(&world, &from_below("news@x.a.example"));
    done(&world, &["known", "add", ".a.example", "--for", BOB]);
    for author in ["news@a.example", "news@x.a.example", "news@y.x.a.example"] {
        assert_eq!(result(&world.send(&from_below(author))), "known", "{author}");
        let forged = refusal(&world.send_from(MALLORY_IP, &Letter::new(author, &[BOB], "Offers")));
        assert!(forged.contains("required from new senders"), "{forged}");
    }
    done(&world, &["known", "remove", ".a.example", "--for", BOB]);
    is_asked(&world, &from_below("news@x.a.example"));

    done(&world, &["known", "block", ".a.example"]);
    world.send(&submitted("bob", BOB, &["pen@x.a.example", "friend@x.a.example"], "<1@b.example>"));
    let blocked = format!("550 5.7.1 <{BOB}>: not accepted");
    assert_eq!(refusal(&world.send(&from_below("pen@x.a.example"))), blocked, "written to, but blocked");
    done(&world, &["known", "add", "friend@x.a.example", "--for", BOB]);
    assert_eq!(result(&world.send(&from_below("friend@x.a.example"))), "known", "by hand, and more exact");
    assert_eq!(refusal(&world.send(&from_below("foe@x.a.example"))), blocked);
    done(&world, &["known", "block", ".a.example", "--memo", "floods us since May"]);
    let book = world.json(&["known", "list"]);
    assert_eq!((&book[0]["sender"], &book[0]["memo"]), (&".a.example".into(), &"floods us since May".into()));
    let two_lines = world.farthing(&["known", "block", ".a.example", "--memo", "two\nlines"]);
    assert_eq!(two_lines.status.code(), Some(64), "{}", text(&two_lines.stderr));
}

#[test]
fn nobody_lets_all_the_world_in_by_a_slip() {
    let world = World::start(&Site::default());
    for (sender, more) in [(".com", ".a.com"), (".co.uk", ".a.co.uk"), (".github.io", ".a.github.io")] {
        let refused = world.farthing(&["known", "add", sender]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(65), "{said}");
        assert!(said.contains(&format!("below `{sender}`")) && said.contains(more), "{said}");
        done(&world, &["known", "block", sender]);
    }
    for sender in ["..a.example", ".", ".a@b.example"] {
        assert_eq!(world.farthing(&["known", "block", sender]).status.code(), Some(64), "{sender}");
    }
}

#[test]
fn what_one_address_of_a_login_learns_the_others_know() {
    let mut world = with_logins(LOGINS);
    world.start_daemon();
    world.send(&submitted("Bob", ROBERT, &[ALICE], "<1@b.example>"));
    for to in [BOB, ROBERT, "bob+x@b.example"] {
        assert_eq!(result(&world.send(&Letter::new(ALICE, &[to], "hello"))), "known", "{to}");
    }
    for to in [CAROL, INFO] {
        is_asked(&world, &Letter::new(ALICE, &[to], "hello"));
    }
    // From the mailbox they share, Alice is welcome to both.
    world.send(&submitted("carol", INFO, &[ALICE], "<2@b.example>"));
    for to in [CAROL, INFO] {
        assert_eq!(result(&world.send(&Letter::new(ALICE, &[to], "hello"))), "known", "{to}");
    }
    done(&world, &["known", "block", ALICE, "--for", ROBERT]);
    let blocked = format!("550 5.7.1 <{BOB}>: not accepted");
    assert_eq!(refusal(&world.send(&Letter::new(ALICE, &[BOB], "hello"))), blocked);
    assert_eq!(result(&world.send(&Letter::new(ALICE, &[INFO], "hello"))), "known");
}

#[test]
fn an_answer_may_come_to_another_address_of_the_login() {
    let mut world = with_logins(LOGINS);
    world.start_daemon();
    world.send(&submitted("bob", ROBERT, &[ALICE], "<1@b.example>"));
    let answer = |to: &str| {
        Letter::new("mallory@m.example", &[to], &format!("Re: {to}")).header("In-Reply-To", "<1@b.example>")
    };
    assert_eq!(result(&world.send(&answer(BOB))), "known");
    assert_eq!(result(&world.send(&answer(ROBERT))), "known");
    is_asked(&world, &answer(CAROL));
}

#[test]
fn logins_can_be_rewritten_while_it_runs() {
    let mut world = with_logins("bob bob@b.example\nrobert robert@b.example\n");
    world.start_daemon();
    let to_bob = Letter::new(ALICE, &[BOB], "hello");
    world.send(&submitted("robert", ROBERT, &[ALICE], "<1@b.example>"));
    is_asked(&world, &to_bob);
    fs::write(world.path("logins"), LOGINS).unwrap();
    world.reload();
    assert_eq!(result(&world.send(&to_bob)), "known", "what Robert's address had is Bob's too");
    // A file that cannot be read changes nothing.
    fs::write(world.path("logins"), "bob bob@b.example robert").unwrap();
    world.signal("HUP");
    world.wait_for_log("logins:1: of the login bob: `robert` is not an address");
    assert_eq!(result(&world.send(&to_bob)), "known");
    fs::write(world.path("logins"), "bob bob@b.example\n").unwrap();
    world.reload();
    is_asked(&world, &to_bob);
    assert_eq!(result(&world.send(&Letter::new(ALICE, &[ROBERT], "hello"))), "known", "nothing was moved");
}

#[test]
fn ten_thousand_addresses_of_a_login_are_as_good_as_one() {
    let many: String = (0..10_000).map(|n| format!(" a{n}@b.example")).collect();
    let mut world = with_logins(&format!("bob{many}\n"));
    world.start_daemon();
    world.send(&submitted("bob", "a7000@b.example", &[ALICE], "<1@b.example>"));
    for to in ["a0@b.example", "a7000@b.example", "a9999@b.example"] {
        assert_eq!(result(&world.send(&Letter::new(ALICE, &[to], "hello"))), "known", "{to}");
    }
    let status = world.farthing(&["status"]);
    assert!(text(&status.stdout).contains("1 logins with 10000 addresses"), "{}", text(&status.stdout));
}

const LIST_IP: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77));

/// A letter of a list to bob.
fn list_post(message_id: &str) -> Letter {
    let mut post = Letter::new("erin@e.example", &[BOB], "[users] news")
        .header("Message-ID", message_id)
        .header("List-Id", "Users <users.lists.example>");
    post.sender = "<users-bounces@lists.example>".into();
    post
}

fn answer_from_mallory(message_id: &str) -> Letter {
    Letter::new("mallory@m.example", &[BOB], &format!("Re: {message_id}")).header("In-Reply-To", message_id)
}

#[test]
fn the_first_post_to_a_list_is_a_post_once_the_list_has_written() {
    let world = World::start(&Site::default());
    world.zone.txt("lists.example", format!("v=spf1 ip4:{LIST_IP} -all"));
    world.send(&submitted("bob", BOB, &["users@lists.example"], "<first@b.example>"));
    world.send(&submitted("bob", BOB, &["all@lists.example"], "<other@b.example>"));
    assert_eq!(result(&world.send(&answer_from_mallory("<first@b.example>"))), "known", "as yet a letter");
    let from_list = list_post("<news@e.example>")
        .header("List-Post", "<mailto:all@lists.example>, <mailto:carol@b.example>");
    assert_eq!(result(&world.send_from(LIST_IP, &from_list)), "known");
    world.wait_for_decision("<news@e.example>", BOB);
    is_asked(&world, &answer_from_mallory("<first@b.example>"));
    is_asked(&world, &answer_from_mallory("<other@b.example>"));
    // A list speaks for no address of others.
    world.send(&submitted("bob", BOB, &["carol@b.example", ALICE], "<carols@b.example>"));
    assert_eq!(result(&world.send(&answer_from_mallory("<carols@b.example>"))), "known");
}

#[test]
fn what_comes_by_a_list_is_no_answer() {
    let world = World::start(&Site::default());
    world.send(&submitted("bob", BOB, &[ALICE], "<1@b.example>"));
    for (name, value) in
        [("List-Id", "<x.m.example>"), ("List-Id", "out of form"), ("List-Post", "<mailto:x@m.example>")]
    {
        is_asked(&world, &answer_from_mallory("<1@b.example>").header(name, value));
    }
    // A help desk's machine may say that it is one.
    let desk = answer_from_mallory("<1@b.example>").header("Precedence", "bulk");
    assert_eq!(result(&world.send(&desk)), "known");
}

#[test]
fn after_five_answers_the_organisation_that_was_asked_still_may() {
    let world = World::start(&Site::default());
    world.send(&submitted("bob", BOB, &[ALICE], "<1@b.example>"));
    for n in 0..5 {
        let answer = Letter::new("mallory@m.example", &[BOB], &format!("Re: {n}"));
        assert_eq!(result(&world.send(&answer.header("In-Reply-To", "<1@b.example>"))), "known", "{n}");
    }
    is_asked(&world, &answer_from_mallory("<1@b.example>"));
    let desk =
        |n: &str| from_below("help@desk.a.example").header("In-Reply-To", "<1@b.example>").header("Date", n);
    assert_eq!(result(&world.send(&desk("1"))), "known");
    let said = refusal(&world.send_from(MALLORY_IP, &desk("2")));
    assert!(said.contains("required from new senders"), "{said}");
}

#[test]
fn a_blind_copy_is_not_shown_to_those_elsewhere() {
    let world = World::start(&Site::default());
    let outcome = world.send(&submitted("bob", BOB, &[ALICE, CAROL], "<1@b.example>"));
    assert_eq!(added(&outcome, "Postage-Status"), ["mx.b.example; result=exempt"]);
    assert!(!format!("{:?}", outcome.changes).contains("carol"), "{outcome:?}");
    let alone = world.send(&submitted("bob", BOB, &[CAROL], "<2@b.example>"));
    assert_eq!(added(&alone, "Postage-Status"), ["mx.b.example; result=exempt; rcpt=carol@b.example"]);
}

#[test]
fn one_tenant_of_a_host_speaks_for_no_other() {
    let world = World::start(&Site::default());
    world.zone.txt("a.github.io", format!("v=spf1 ip4:{ALICE_IP} -all"));
    done(&world, &["known", "add", ".b.github.io", "--for", BOB]);
    let mut letter = Letter::new("x@b.github.io", &[BOB], "hello");
    letter.sender = "<x@a.github.io>".into();
    is_asked(&world, &letter);
}
