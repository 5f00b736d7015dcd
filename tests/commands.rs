//! Recipients tell the gate what to do, through the milter's socket: command mail, tokens, and answers that say that a
//! letter was wanted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "commands/answers.rs"]
mod answers;
#[path = "commands/behind_postfix.rs"]
mod behind_postfix;
#[path = "../milter/tests/support/postfix.rs"]
mod postfix;
#[path = "../milter/tests/support/smtp.rs"]
mod smtp;
mod support;
#[path = "commands/trouble.rs"]
mod trouble;

use std::{fs, os::unix::fs::PermissionsExt as _};

use farthing::ledger::{Ledger as _, outbox::Outbox as _};
use farthing_milter::{
    client::{Change, Letter, Outcome, Said},
    macros::Stage,
};
use support::{
    ALICE, ALICE_IP, BOB, BUYER, Bought, CAROL, MALLORY_IP, Site, World, added, refusal, result, wait_until,
};

const POSTAGE: &str = "postage@b.example";
const ESCROW: &str = "escrow:b.example";
const PRICE: i64 = 2_500;

/// A site whose answers are handed to a program that files them.
fn with_answers(site: &Site) -> World {
    let mut world = World::without_daemon(site);
    let program = world.path("file-mail");
    let directory = world.path("mail");
    fs::create_dir(&directory).unwrap();
    let text = format!(
        "#!/bin/sh\nf={0}/$(date +%s%N).$$\n{{ printf 'X-Arguments: %s\\n' \"$*\"; cat; }} >\"$f.new\" && mv \"$f.new\" \"$f\"\n",
        directory.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let more = format!("{}[commands]\nsmtp = \"sendmail:{}\"\n", site.more, program.display());
    world.configure(&Site { more, ..site.clone() });
    world.start_daemon();
    world
}

/// The mails that were handed in so far.
fn answers(world: &World) -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir(world.path("mail"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|e| e != "new"))
        .collect();
    files.sort();
    files.iter().map(|path| plain(&fs::read_to_string(path).unwrap())).collect()
}

/// A mail with its lines whole.
fn plain(mail: &str) -> String {
    mail.replace("\r\n", "\n").replace("=\n", "").replace("=3D", "=")
}

/// The one answer, once it is there.
fn answer(world: &World) -> String {
    wait_until("an answer", || !answers(world).is_empty());
    let mut all = answers(world);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// A letter handed in by authenticated submission.
fn by(login: &str, from: &str, to: &[&str], subject: &str) -> Letter {
    let mut letter = Letter::new(from, to, subject);
    letter.macros.push((Stage::Mail, "{auth_authen}".into(), login.into()));
    letter
}

/// Bob's mail to the command address.
fn command(subject: &str, body: &str) -> Letter {
    by("bob", BOB, &[POSTAGE], subject)
        .header("Message-ID", "<command@b.example>")
        .body(body.replace('\n', "\r\n"))
}

fn is_done(outcome: &Outcome) {
    assert_eq!((&outcome.said, &outcome.changes), (&Said::Discard, &vec![]), "{outcome:?}");
}

/// A paid letter of Alice's to a recipient, delivered.
fn paid(world: &World, stamp: &Bought, to: &str, message_id: &str) -> Outcome {
    paid_by(world, stamp, Letter::new(ALICE, &[to], message_id), message_id)
}

fn paid_by(world: &World, stamp: &Bought, letter: Letter, message_id: &str) -> Outcome {
    let bare = |address: &str| address.trim_matches(['<', '>']).to_owned();
    let postage = stamp.to(&bare(&letter.recipients[0]), &bare(&letter.sender));
    let letter = letter.header("Message-ID", message_id).header("Postage-Stamp", postage);
    let outcome = world.send(&letter);
    assert_eq!(result(&outcome), "paid");
    outcome
}

/// The address that marks a delivered letter as wanted.
fn token_address(outcome: &Outcome, field: &str) -> String {
    let value = added(outcome, field).remove(0);
    value.trim_start_matches("<mailto:").trim_end_matches('>').to_owned()
}

/// What went back to the buyer so far, and what waits.
fn refunded(world: &World) -> (i64, i64) {
    world.books_balance();
    (world.balance(&format!("account:{BUYER}")), world.balance(ESCROW))
}

fn book(world: &World, owner: &str) -> Vec<(String, String)> {
    let book = world.json(&["known", "list", "--for", owner]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    book.as_array().unwrap().iter().map(|e| (text(&e["sender"]), text(&e["how"]))).collect()
}

#[test]
fn a_command_mail_is_carried_out_line_by_line_and_answered_once() {
    let world = with_answers(&Site::default());
    let stamps = world.buy(2);
    paid(&world, &stamps[0], BOB, "<1@a.example>");
    paid(&world, &stamps[1], BOB, "<2@a.example>");
    assert_eq!(refunded(&world), (0, 2 * PRICE));
    let body = "allow dave@d.example\nblock spam.example\nwantd x\nlist:\nfreepost Shop 90\nwanted <1@a.example>\n\
                digest weekly\nprice 1c public\nprice 100c\n\nOn Monday, Alice wrote:\n> block alice@a.example\n-- \nforget dave@d.example\n";
    is_done(&world.send(&command("wanted alice@a.example", body)));
    assert_eq!(refunded(&world), (2 * PRICE, 0), "by the subject");
    let (dave, alice) = (("dave@d.example".into(), "added".into()), (ALICE.into(), "wanted".into()));
    assert_eq!(book(&world, BOB), [alice, dave, ("spam.example".into(), "added".into())]);
    let answer = answer(&world);
    for line in [
        "X-Arguments: -i -f <> -- bob@b.example",
        "To: bob@b.example",
        "From: postage@b.example",
        "Auto-Submitted: auto-replied",
        "In-Reply-To: <command@b.example>",
        "> wanted alice@a.example",
        "0.5c went back for 2 letters; alice@a.example needs no postage to write to you",
        "mail that really comes from dave@d.example needs no postage",
        "mail that really comes from spam.example is refused",
        "> wantd x",
        "this is no command; did you mean `wanted`?",
        "mail to this address needs no postage, until ",
        "the letter from alice@a.example to bob@b.example: the postage had gone back before; the sender needs no postage",
        "you get a digest every week in which strangers wrote",
        "strangers pay 1c, and whoever asks is told so",
        "not done: the most that may be asked here is 10c",
    ] {
        assert!(answer.lines().any(|l| l.starts_with(line)), "{line:?} in:\n{answer}");
    }
    assert!(!answer.contains("forget") && !answer.contains("block alice"), "{answer}");
    assert_eq!(answer.matches("> list:").count(), 1);
    let shop = answer.lines().find(|line| line.starts_with("bob+shop.")).unwrap();
    assert_eq!(
        result(&world.send_from(MALLORY_IP, &Letter::new("m@m.example", &[shop], "an order"))),
        "freepost"
    );
    assert_eq!(result(&world.send(&Letter::new(ALICE, &[BOB], "hello again"))), "known");
}

#[test]
fn the_list_offers_to_give_back_what_still_waits_and_nothing_else() {
    let mut world = with_answers(&Site::default());
    let stamps = world.buy(2);
    paid(&world, &stamps[0], BOB, "<1@a.example>");
    paid(&world, &stamps[1], BOB, "<2@a.example>");
    // Decisions are written before the daemon ends.
    world.end_daemon("TERM");
    world.start_daemon();
    is_done(
        &world.send(&command("list", "wanted <1@a.example>\nlist\nblock .e.example\nwanted eve@e.example\n")),
    );
    let answer = answer(&world);
    let (before, after) = answer.split_once("> list\n").unwrap().1.split_once("> list\n").unwrap();
    assert_eq!(
        before.matches("paid, came in; 0.25c waits for your word; to give it back:\nwanted ").count(),
        2
    );
    assert_eq!(after.matches("to give it back:\nwanted b.example/").count(), 1, "{answer}");
    assert!(after.contains("paid, came in; 0.25c went back\n"), "{answer}");
    let offered: Vec<&str> = after.lines().filter(|line| line.starts_with("wanted b.example/")).collect();
    let blocked = "eve@e.example is blocked all the same; to take that mail: allow eve@e.example\n";
    assert!(after.contains(blocked), "{answer}");
    let again = command("", &offered.join("\n"));
    is_done(&world.send(&again));
    assert_eq!(refunded(&world), (2 * PRICE, 0), "what it offers can be copied as it stands");
}

#[test]
fn the_same_mail_again_does_nothing_twice() {
    let world = with_answers(&Site::default());
    let stamps = world.buy(1);
    paid(&world, &stamps[0], BOB, "<1@a.example>");
    for _ in 0..3 {
        is_done(&world.send(&command("", &format!("wanted {}\nallow dave@d.example\n", stamps[0].id()))));
    }
    assert_eq!(refunded(&world), (PRICE, 0));
    assert!(answer(&world).contains("0.25c went back"), "the two others wait for their minute");
    assert_eq!(book(&world, BOB).len(), 2);
}

#[test]
fn tokens_mark_without_an_answer() {
    let world = with_answers(&Site::default());
    let stamps = world.buy(2);
    let first = paid(&world, &stamps[0], BOB, "<1@a.example>");
    let wanted = token_address(&first, "Postage-Wanted");
    let unwanted = token_address(&first, "Postage-Unwanted");
    is_done(&world.send(&by("bob", BOB, &[&wanted.to_uppercase()], "")));
    assert_eq!(refunded(&world), (PRICE, 0));
    assert_eq!(book(&world, BOB), [(ALICE.to_owned(), "wanted".to_owned())]);
    is_done(&world.send(&by("bob", BOB, &[&unwanted], "block alice@a.example").body("block a.example\r\n")));
    assert_eq!(refunded(&world), (PRICE, 0), "the money is back for good");
    assert_eq!(book(&world, BOB), [], "a stranger again; what stands in token mail is no command");
    // Both, and commands, in one message.
    let second = token_address(&paid(&world, &stamps[1], BOB, "<2@a.example>"), "Postage-Wanted");
    is_done(&world.send(&by("bob", BOB, &[&second, &wanted, POSTAGE], "allow dave@d.example")));
    assert_eq!(refunded(&world), (2 * PRICE, 0));
    assert_eq!(book(&world, BOB).len(), 2);
    assert!(answer(&world).contains("dave@d.example"));
}

#[test]
fn nobody_marks_or_commands_for_another() {
    let world = with_answers(&Site::default());
    let stamps = world.buy(1);
    let outcome = paid(&world, &stamps[0], BOB, "<1@a.example>");
    let token = token_address(&outcome, "Postage-Wanted");
    let bare = token.split_once("+w.").unwrap().1.split_once('@').unwrap().0.to_owned();
    // Carol has Bob's token, his stamp's id and his letter's Message-ID.
    is_done(&world.send(&by("carol", CAROL, &[&token], "")));
    let body = format!(
        "wanted {bare}\r\nwanted {}\r\nwanted b.example/{}\r\nwanted <1@a.example>\r\nwanted {ALICE}\r\n",
        stamps[0].id(),
        stamps[0].id()
    );
    is_done(&world.send(&by("carol", CAROL, &[POSTAGE], "").body(body)));
    let answer = answer(&world);
    assert_eq!(answer.matches("no letter to you has that name").count(), 3, "{answer}");
    assert!(answer.contains("no letter to you has that Message-ID"), "{answer}");
    assert!(answer.contains("nothing that was paid waits to go back"), "{answer}");
    assert_eq!(refunded(&world), (0, PRICE));
    assert_eq!(book(&world, BOB), []);
    // In Bob's name.
    for letter in [
        by("carol", BOB, &[&token], ""),
        by("carol", BOB, &[POSTAGE], &format!("wanted {bare}")),
        by("bob", BOB, &[POSTAGE], &format!("wanted {bare}")).header("From", CAROL),
        by("bob", "bob@elsewhere.example", &[POSTAGE], &format!("wanted {bare}")),
    ] {
        let said = refusal(&world.send(&letter));
        assert!(
            said.starts_with("550 5.7.1 <postage@b.example>: ") && said.contains("your own login"),
            "{said}"
        );
    }
    // A token that nobody made, one with a verb changed, and what only looks like one.
    for detail in [
        "w.aaaaaaaaaaaac46hy433rxluheswwp7q".to_owned(),
        format!("u.{bare}"),
        format!("w.{}", &bare[1..]),
        "w.".to_owned(),
    ] {
        let mail = by("bob", BOB, &[&format!("postage+{detail}@b.example")], &format!("wanted {ALICE}"));
        is_done(&world.send(&mail));
    }
    assert_eq!(refunded(&world), (0, PRICE));
    assert_eq!(answers(&world).len(), 1, "token mail gets no answer");
    is_done(&world.send(&by("bob", BOB, &[POSTAGE], &format!("wanted {bare}"))));
    assert_eq!(refunded(&world), (PRICE, 0));
}

#[test]
fn a_login_commands_for_all_its_addresses_and_for_none_else() {
    let site = Site { gate: "logins = \"file:logins\"\n".into(), ..Site::default() };
    let mut world = World::without_daemon(&Site::default());
    fs::write(world.path("logins"), "u1 bob@b.example robert@b.example\nu2 carol@b.example\n").unwrap();
    world.configure(&site);
    world.start_daemon();
    let stamps = world.buy(3);
    let to_robert =
        token_address(&paid(&world, &stamps[0], "robert+x@b.example", "<1@a.example>"), "Postage-Wanted");
    paid_by(&world, &stamps[1], Letter::new("erin@a.example", &["robert@b.example"], "two"), "<2@a.example>");
    paid_by(
        &world,
        &stamps[2],
        Letter::new("fred@a.example", &["robert@b.example"], "three"),
        "<3@a.example>",
    );
    is_done(&world.send(&by("U1", BOB, &[&to_robert], "")));
    is_done(&world.send(&by("u1", BOB, &[POSTAGE], "wanted erin@a.example")));
    let answer = by("u1", BOB, &["fred@a.example"], "Re: three").header("In-Reply-To", "<3@a.example>");
    assert!(world.send(&answer).is_delivered());
    assert_eq!(refunded(&world), (3 * PRICE, 0));
    for (login, from) in [("bob", BOB), ("u2", BOB), ("u1", CAROL), ("", BOB)] {
        let said = refusal(&world.send(&by(login, from, &[POSTAGE], "allow x@x.example")));
        assert!(
            said.starts_with("550 5.7.1 <postage@b.example>: commands are taken"),
            "{login} {from}: {said}"
        );
    }
}

#[test]
fn commands_come_by_submission_only_whatever_the_mode() {
    for mode in ["require", "observe"] {
        let site = Site { gate: "exempt_networks = [\"198.51.100.0/24\"]\n".into(), ..Site::mode(mode) };
        let world = World::start(&site);
        let stamps = world.buy(1);
        let token = token_address(&paid(&world, &stamps[0], BOB, "<1@a.example>"), "Postage-Wanted");
        for ip in [ALICE_IP, MALLORY_IP, "198.51.100.7".parse().unwrap()] {
            for to in [
                POSTAGE,
                &token,
                "POSTAGE+anything@B.example",
                "postage@mx.b.example",
                "postage+w.@b.example",
            ] {
                let outcome = world.send_from(ip, &Letter::new(BOB, &[to], &format!("wanted {ALICE}")));
                let said = refusal(&outcome);
                assert_eq!(
                    said, "550 5.7.1 <postage@b.example>: commands are taken from submission only",
                    "{to}"
                );
            }
        }
        // The other recipients are not refused for it.
        let both = world.send(&Letter::new(ALICE, &[POSTAGE, "postmaster@b.example"], "hello"));
        assert_eq!(both.recipients[0].code(), 550);
        assert_eq!(both.recipients[1].code(), 250);
        assert_eq!(result(&both), "exempt");
        // By sendmail(1): a refusal at RCPT would block its queue.
        let mut local = Letter::new(BOB, &[POSTAGE], "list");
        local.sender = BOB.into();
        local.recipients = vec![POSTAGE.into()];
        let outcome = world.send_from("127.0.0.1".parse().unwrap(), &local);
        assert_eq!(outcome.recipients[0].code(), 250);
        assert!(refusal(&outcome).ends_with("commands are taken from submission only"), "{outcome:?}");
        assert_eq!(refunded(&world), (0, PRICE));
    }
}

#[test]
fn with_other_recipients_it_is_a_letter_and_the_command_address_is_taken_off() {
    let world = with_answers(&Site::default());
    let stamps = world.buy(1);
    let token = token_address(&paid(&world, &stamps[0], BOB, "<1@a.example>"), "Postage-Wanted");
    let off = |outcome: &Outcome| -> Vec<String> {
        let off = |change: &Change| match change {
            Change::DeleteRecipient(address) => Some(address.clone()),
            _ => None,
        };
        outcome.changes.iter().filter_map(off).collect()
    };
    let outcome =
        world.send(&by("bob", BOB, &[CAROL, "Postage@B.example", &token], &format!("wanted {ALICE}")));
    assert_eq!(result(&outcome), "exempt");
    assert_eq!(off(&outcome), ["<Postage@B.example>", &format!("<{token}>")], "as they were given");
    let away = world.send(&by("bob", BOB, &[POSTAGE, "dave@d.example"], &format!("wanted {ALICE}")));
    assert!(away.is_delivered());
    assert_eq!(away.changes, [Change::DeleteRecipient(format!("<{POSTAGE}>"))]);
    assert_eq!(refunded(&world), (0, PRICE), "no command, no mark");
    let names: Vec<_> = book(&world, BOB).into_iter().map(|(sender, _)| sender).collect();
    assert_eq!(names, [CAROL, "dave@d.example"], "and nobody learns the command address");
    // Somebody else's From is no matter of commands then.
    let forged = world.send(&by("carol", BOB, &[POSTAGE, "dave@d.example"], "hello"));
    assert!(forged.is_delivered() && off(&forged).len() == 1, "{forged:?}");
    assert!(answers(&world).is_empty());
}

#[test]
fn robots_are_neither_obeyed_nor_answered() {
    let world = with_answers(&Site::default());
    let mut null = command("allow x@x.example", "");
    null.sender = "<>".into();
    for letter in [
        command("allow x@x.example", "").header("Auto-Submitted", "auto-replied"),
        command("allow x@x.example", "").header("Auto-Submitted", "auto-generated"),
        command("allow x@x.example", "").header("Precedence", "bulk"),
        command("allow x@x.example", "").header("Precedence", "auto_reply"),
        command("allow x@x.example", "").header("X-Autoreply", "yes"),
        command("allow x@x.example", "").header("List-Id", "<users.lists.example>"),
        command("allow x@x.example", "")
            .header("Content-Type", "multipart/report; report-type=delivery-status"),
        by("noreply", "noreply@b.example", &[POSTAGE], "allow x@x.example"),
        null,
    ] {
        is_done(&world.send(&letter));
    }
    assert_eq!(book(&world, BOB), []);
    // One that is obeyed is answered; had the others been, their answers would be in it or before it.
    is_done(&world.send(&command("list", "")));
    let answer = answer(&world);
    assert_eq!(answer.matches("\n> ").count(), 1, "{answer}");
}

#[test]
fn a_subject_that_answers_or_forwards_holds_no_command_there() {
    let world = with_answers(&Site::default());
    for subject in ["Re: allow x@x.example", "Fwd: allow x@x.example", "AW: allow x@x.example", "allow"] {
        is_done(&world.send(&command(subject, "")));
    }
    assert_eq!(book(&world, BOB), []);
    let answer = answer(&world);
    assert!(
        answer.contains("There was no command in your mail.") && answer.contains("one command a line"),
        "{answer}"
    );
    is_done(
        &world.send(&command(
            "Re: your mail to postage@b.example",
            "allow y@y.example\n\n> allow x@x.example\n",
        )),
    );
    assert_eq!(book(&world, BOB), [("y@y.example".to_owned(), "added".to_owned())]);
}
