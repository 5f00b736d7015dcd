//! Starting warm: `farthing known import` over old mail, through the real program.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::fs;

use serde_json::Value;
use support::{BOB, Site, World, text};

/// A site that ran once, so that it has a ledger.
fn world() -> World {
    let mut world = World::start(&Site::default());
    assert!(world.end_daemon("TERM").success());
    world
}

fn put(world: &World, path: &str, letter: &str) -> String {
    let file = world.path(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, letter).unwrap();
    world.path(path.split('/').next().unwrap()).to_str().unwrap().to_owned()
}

/// A letter as it lies in Bob's Maildir.
fn came(from: &str, more: &str) -> String {
    format!(
        "Received: from mx by mx.b.example; Mon, 2 Nov 2026 09:00:00 +0000\nX-Original-To: {BOB}\nFrom: {from}\n\
         Message-ID: <{from}>\n{more}Subject: x\n\nHello\n"
    )
}

fn known(world: &World) -> Vec<String> {
    let list = world.json(&["known", "list", "--for", BOB]);
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| format!("{} {}", word(entry, "sender"), word(entry, "how"))).collect()
}

#[test]
fn those_bob_answered_or_keeps_are_known_and_a_second_run_changes_nothing() {
    let world = world();
    put(&world, "Maildir/cur/1", &came("stranger@x.example", ""));
    put(&world, "Maildir/cur/2", &came("alice@a.example", ""));
    put(&world, "Maildir/new/3", "\0\u{1}binary");
    put(&world, "Maildir/cur/4", "");
    put(&world, "Maildir/.Family/cur/1", &came("mum@home.example", ""));
    put(&world, "Maildir/.Family/new/.keep", "");
    put(&world, "Maildir/.Junk/cur/1", &came("spam@x.example", ""));
    put(&world, "Maildir/.Junk/new/.keep", "");
    put(&world, "Maildir/.Lists/cur/1", &came("poster@x.example", "List-Id: Users <users.lists.example>\n"));
    put(&world, "Maildir/.Lists/new/.keep", "");
    put(&world, "Maildir/.Shops/cur/1", &came("no-reply@shop.example", ""));
    put(&world, "Maildir/.Shops/new/.keep", "");
    put(&world, "Maildir/.Sent/new/.keep", "");
    let maildir = put(
        &world,
        "Maildir/.Sent/cur/1",
        &format!("From: {BOB}\nTo: Carol <carol@c.example>\nIn-Reply-To: <alice@a.example>\n\nYes\n"),
    );
    let summary = world.json(&["known", "import", &maildir]);
    assert_eq!(
        (&summary["messages"], &summary["senders"], &summary["new"]),
        (&7.into(), &3.into(), &3.into())
    );
    assert_eq!(summary["unread"], 2, "{summary}");
    assert_eq!(summary["lists"][0]["sender"], "list:users.lists.example");
    let want = ["alice@a.example imported", "carol@c.example imported", "mum@home.example imported"];
    assert_eq!(known(&world), want);

    assert_eq!(world.json(&["known", "import", &maildir])["new"], 0);
    assert_eq!(known(&world), want);
}

#[test]
fn an_import_that_was_killed_goes_on_where_it_was_and_comes_to_the_same() {
    const LETTERS: usize = 20_000;
    let world = world();
    // The answers come first: what they answer is found after the interruption.
    let answer = |n: usize| {
        format!(
            "From {BOB} Mon Nov  2 09:00:00 2026\nFrom: {BOB}\nTo: x@list.example\nIn-Reply-To: <a{n}@a.example>\n\nYes\n\n"
        )
    };
    let letter = |n: usize| {
        format!("From x Mon Nov  2 09:00:00 2026\n{}\n", came(&format!("a{n}@a.example"), ""))
            .replace("\n\nHello", "\n\nHello,\n>From here")
    };
    put(&world, "mail/Sent", &(0..50).map(|n| answer(n * 300)).collect::<String>());
    put(&world, "mail/inbox", &(0..LETTERS).map(letter).collect::<String>());
    put(
        &world,
        "mail/lists",
        &letter(1)
            .replace("Subject:", "List-Id: <l.x.example>\nList-Post: <mailto:x@list.example>\nSubject:"),
    );
    let mail = put(&world, "mail/kept.eml", &came("mum@home.example", ""));
    let state = world.path("state");
    let import = ["known", "import", &mail, "--for", BOB, "--state", state.to_str().unwrap()];

    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_farthing"))
        .args(import)
        .env("FARTHING_CONFIG", world.config_path())
        .spawn()
        .unwrap();
    support::wait_until("the first thousands of letters", || {
        world.path("state-wal").metadata().is_ok_and(|about| about.len() > 1_000_000)
    });
    let again = world.farthing(&import);
    assert_eq!(again.status.code(), Some(75), "one import at a time: {}", text(&again.stderr));
    assert!(child.try_wait().unwrap().is_none(), "it has more to do");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(known(&world).is_empty());

    let summary = world.json(&import);
    let before = summary["read_before"].as_u64().unwrap();
    assert!(before >= 500 && before < LETTERS as u64, "{summary}");
    assert_eq!(summary["messages"], LETTERS + 52, "none twice: {summary}");
    assert_eq!((&summary["senders"], &summary["new"]), (&51.into(), &51.into()), "{summary}");
    assert_eq!(summary["lists"][0]["messages"], 1);
    assert!(!state.exists() && !world.path("state-wal").exists(), "nothing is left beside the ledger");
    let whole = world.json(&import);
    assert_eq!((&whole["messages"], &whole["senders"]), (&summary["messages"], &summary["senders"]));
    assert_eq!((&whole["read_before"], &whole["new"]), (&0.into(), &0.into()));
}

#[test]
fn an_mbox_an_address_book_and_what_the_user_is_told() {
    let world = world();
    let message = |from: &str| format!("From {from} Mon Nov  2 09:00:00 2026\n{}\n", came(from, ""));
    let mbox = put(&world, "friends", &(message("alice@a.example") + &message("dan@d.example")));
    let cards = put(
        &world,
        "contacts.vcf",
        "BEGIN:VCARD\r\nVERSION:3.0\r\nEMAIL;TYPE=home:eve@\r\n e.example\r\nEMAIL:nonsense\r\nEND:VCARD\r\n",
    );
    let output = world.farthing(&["known", "import", &mbox, &cards, "--for", BOB]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.starts_with("2 messages read, 1 addresses in address books; 3 senders found, 3 of them new"),
        "{said}"
    );
    assert!(said.contains("`nonsense` is no address"), "{said}");
    assert_eq!(
        known(&world),
        ["alice@a.example imported", "dan@d.example imported", "eve@e.example imported"]
    );
    let nobodys = world.farthing(&["known", "import", &cards]);
    assert_eq!(nobodys.status.code(), Some(65));
    assert!(text(&nobodys.stderr).contains("--for RCPT"), "{}", text(&nobodys.stderr));
    assert_eq!(world.farthing(&["known", "import", "/nonexistent"]).status.code(), Some(65));
    assert_eq!(
        world.farthing(&["known", "import", &mbox, "--for", "x@elsewhere.example"]).status.code(),
        Some(65)
    );
}

#[test]
fn a_block_and_what_was_added_by_hand_stay_as_they_are() {
    let world = world();
    world.json(&["known", "block", "alice@a.example", "--for", BOB]);
    world.json(&["known", "add", "mum@home.example", "--for", BOB]);
    put(&world, "kept/1.eml", &came("alice@a.example", ""));
    let kept = put(&world, "kept/2.eml", &came("mum@home.example", ""));
    let summary = world.json(&["known", "import", &kept, "--for", BOB]);
    assert_eq!((&summary["senders"], &summary["new"]), (&2.into(), &0.into()));
    let list = world.json(&["known", "list", "--for", BOB]);
    assert_eq!((&list[0]["block"], &list[1]["how"]), (&true.into(), &"added".into()));
}

#[test]
fn what_is_broken_in_an_mbox_is_named_and_the_rest_is_read() {
    let world = world();
    let line = "From x Mon Nov  2 09:00:00 2026\n";
    let letter = |from: &str| format!("{line}{}\n", came(from, ""));
    let broken = format!("{line}\u{1}\u{2} no header\n\n");
    let mbox = put(&world, "friends", &(letter("a@a.example") + &broken + &letter("b@b2.example") + line));
    let summary = world.json(&["known", "import", &mbox, "--for", BOB]);
    assert_eq!((&summary["messages"], &summary["unread"]), (&2.into(), &2.into()), "{summary}");
    assert_eq!(summary["broken"][0]["place"], format!("{mbox} message 2"));
    assert_eq!(summary["broken"][1]["why"], "empty");
    assert_eq!(known(&world), ["a@a.example imported", "b@b2.example imported"]);
}

#[test]
fn letters_made_to_break_programs_are_read_in_no_time() {
    let world = world();
    let long =
        |name: &str, piece: &str, octets: usize| format!("{name}: {}\n", piece.repeat(octets / piece.len()));
    let letters = [
        came("a@a.example", &long("List-Id", "x", 10_000)),
        came("a@a.example", &long("References", "<1@a.example> ", 5_000 * 14)),
        came("a@a.example", &long("In-Reply-To", "<1@a.example> ", 5_000 * 14)),
        format!("From: {}\n\n", "a@a.example, ".repeat(5_000)),
        format!("From: {} <a@a.example>\n\n", "=?utf-8?B?////?= ".repeat(4_000)),
        format!("To: {}\nFrom: {BOB}\n\n", "=?utf-8?q?=41?= <".repeat(4_000)),
        format!("To: {}\nFrom: {BOB}\n\n", "(".repeat(60_000)),
        format!("From: {BOB}\n{}\n", "To: x@x.example\n".repeat(50_000)),
        "X:\n ".repeat(200_000),
    ];
    for (number, letter) in letters.iter().enumerate() {
        put(&world, &format!("broken/{number}.eml"), letter);
    }
    let broken = put(&world, "broken/random", &String::from_utf8_lossy(&support::random::<4096>()));
    let begun = std::time::Instant::now();
    let summary = world.json(&["known", "import", &broken, "--for", BOB]);
    assert_eq!(summary["messages"], letters.len());
    let simulated = world.json(&["simulate", &broken, "--for", BOB]);
    assert_eq!(simulated["messages"], letters.len());
    for letter in &letters {
        let explained = world.farthing_with(&["explain", "--rcpt", BOB], letter.as_bytes());
        assert!(explained.status.success(), "{}", text(&explained.stderr));
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn no_letter_puts_words_into_a_shell_and_no_other_database_is_an_imports() {
    let world = world();
    put(&world, "Maildir/.Lists/new/.keep", "");
    let letter = "From: x@x.example\nTo: `reboot`@b.example\nList-Id: <users.lists.example>\n\nx\n";
    let maildir = put(&world, "Maildir/.Lists/cur/1", letter);
    let said = world.farthing(&["known", "import", &maildir]);
    let said = text(&said.stdout);
    assert!(said.contains("list:users.lists.example, for `reboot`@b.example"), "{said}");
    assert!(!said.contains("known add"), "{said}");
    let books = world.path("ledger.db");
    let refused =
        world.farthing(&["known", "import", &maildir, "--state", books.to_str().unwrap(), "--restart"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("no file that an import made"), "{}", text(&refused.stderr));
    world.books_balance();
}
