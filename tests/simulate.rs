//! Seeing before doing: `farthing simulate` over old mail, and `farthing report` of what happened.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use farthing::{
    ledger::{Ledger as _, message_id_hash, sent::Sent},
    message::split_message,
};
use farthing_milter::client::Letter;
use serde_json::Value;
use support::{
    ALICE, ALICE_IP, BOB, CAROL, MALLORY_IP, Site, World, block_on, refusal, result, text, wait_until,
};

fn put(world: &World, path: &str, letter: &str) -> String {
    let file = world.path(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, letter).unwrap();
    world.path(path.split('/').next().unwrap()).to_str().unwrap().to_owned()
}

/// A letter as it lies in Bob's Maildir.
fn came(from: &str, more: &str) -> String {
    format!(
        "Received: from mx by mx.b.example; Mon, 2 Nov 2026 09:00:00 +0000\nX-Original-To: {BOB}\nFrom: {from}\n{more}\n\nHello\n"
    )
}

fn by(results: &str) -> String {
    format!("Authentication-Results: mx.b.example; {results}")
}

/// A signature that covers List-Id; whether it holds the server said.
const SIGNED: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=lists.example; s=s1;\n h=from:list-id; \
                      bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=";

/// The lines for a sender.
fn line<'a>(value: &'a Value, sender: &str) -> Vec<&'a Value> {
    value["senders"].as_array().unwrap().iter().filter(|line| line["sender"] == sender).collect()
}

#[test]
fn old_mail_is_judged_by_todays_settings_and_nothing_changes() {
    let mut world = World::start(&Site::default());
    assert!(world.end_daemon("TERM").success());
    world.json(&["known", "add", ALICE, "--for", BOB]);
    world.json(&["known", "add", "list:users.lists.example", "--for", BOB]);
    world.json(&["known", "block", "evil.example", "--for", BOB]);
    let letters = [
        came(ALICE, &by("dmarc=pass header.from=a.example")),
        came(ALICE, &by("spf=fail smtp.mailfrom=a.example; dkim=none")),
        came(ALICE, ""),
        came(ALICE, "Authentication-Results: mx.evil.example; dmarc=pass header.from=a.example"),
        came("stranger@x.example", &by("dmarc=pass header.from=x.example")),
        came("stranger@x.example", ""),
        came("eve@evil.example", &by("dkim=pass header.d=evil.example")),
        came("carol@b.example", &by("dkim=pass header.d=b.example")),
        came(
            "poster@y.example",
            &format!("{}\n{SIGNED}\nList-Id: <users.lists.example>", by("dkim=pass header.d=lists.example")),
        ),
        came(
            "news@z.example",
            &format!(
                "{}\n{}\nList-Id: News <news.z.example>",
                by("dkim=pass header.d=z.example"),
                SIGNED.replace("lists.example", "z.example")
            ),
        ),
        came("no-reply@shop.example", &by("dkim=pass header.d=shop.example")),
        came("payer@p.example", "Postage-Status: mx.b.example; result=paid; rcpt=bob@b.example"),
        came("cheat@p.example", "Postage-Status: mx.elsewhere.example; result=paid; rcpt=bob@b.example"),
        came("x@x.example", "").replace("bob@", "postmaster@"),
    ];
    for (number, letter) in letters.iter().enumerate() {
        put(&world, &format!("Maildir/cur/{number:02}"), letter);
    }
    put(&world, "Maildir/cur/nothing", "");
    put(&world, "Maildir/.Sent/new/.keep", "");
    put(&world, "Maildir/.Sent/cur/1", &format!("From: {BOB}\nTo: {ALICE}\n\nYes\n"));
    let maildir = put(&world, "Maildir/new/last", &came("last@x.example", ""));
    let address = text(&world.farthing(&["freepost", "new", "shop", "--for", BOB]).stdout);
    let address = address.lines().last().unwrap().to_owned();
    put(&world, "Maildir/cur/shop", &came("sales@shop.example", "").replace(BOB, &address));
    put(
        &world,
        "Maildir/cur/shop-made-up",
        &came("sales@shop.example", "").replace(BOB, &format!("x{address}")),
    );
    let before = world.json(&["known", "list"]);

    let page = world.path("page.html");
    let told = world.json(&["simulate", &maildir, "--html", page.to_str().unwrap()]);
    assert_eq!(told["messages"], 17);
    let results = &told["results"];
    for (word, count) in [
        ("known", 3),
        ("exempt", 1),
        ("paid", 1),
        ("work", 0),
        ("freepost", 1),
        ("unpaid", 8),
        ("invalid", 0),
        ("blocked", 1),
        ("unknown", 2),
    ] {
        assert_eq!(results[word], count, "{word}: {told}");
    }
    let sum: u64 = results.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sum, 17);
    assert_eq!(told["days"]["2026-11-02"]["unpaid"], 8);
    assert_eq!((&told["not_received"], &told["unread"]), (&1.into(), &1.into()), "{told}");
    let news = line(&told, "list:news.z.example")[0];
    assert_eq!((&news["kind"], &news["result"]), (&"list".into(), &"unpaid".into()));
    assert_eq!(news["allow"], format!("farthing known add list:news.z.example --for {BOB}"));
    assert_eq!(line(&told, "list:users.lists.example")[0]["result"], "known");
    let shop = line(&told, "no-reply@shop.example")[0];
    assert_eq!((&shop["kind"], &shop["result"]), (&"robot".into(), &"unpaid".into()));
    assert_eq!(line(&told, ALICE).len(), 3, "known, forged, and who can tell");
    assert!(
        told["senders"].as_array().unwrap().iter().all(|line| !line["reason"].as_str().unwrap().is_empty())
    );

    assert_eq!(world.json(&["simulate", &maildir]), told, "the same again");
    assert_eq!(world.json(&["known", "list"]), before, "nothing changed");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && html.contains("list:news.z.example") && !html.contains("<script"));
    let output = world.farthing(&["simulate", &maildir]);
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("farthing known add list:news.z.example"), "{said}");
    // The command that is shown does what it says.
    world.json(&["known", "add", "list:news.z.example", "--for", BOB]);
    assert_eq!(world.json(&["simulate", &maildir])["results"]["known"], 4);
}

#[test]
fn answers_lists_and_stamps_count_in_old_mail_as_they_do_at_the_gate() {
    let mut world = World::start(&Site::default());
    let stamps = world.buy(2);
    assert!(world.end_daemon("TERM").success());
    world.json(&["known", "add", "list:users.lists.example", "--for", BOB]);
    let sent = |id: &str, to: &str| {
        format!(
            "From: {BOB}\nTo: {to}\nDate: Sun, 01 Nov 2026 09:00:00 +0000\nMessage-ID: <{id}@b.example>\n\nHello\n"
        )
    };
    put(&world, "Maildir/.Sent/new/.keep", "");
    put(&world, "Maildir/.Sent/cur/1", &sent("1", "alice@a.example"));
    put(&world, "Maildir/.Sent/cur/2", &sent("2", "users@lists.example"));
    put(&world, "Maildir/.Sent/cur/3", &sent("3", "nobody@m.example"));
    let now = 1_793_610_000; // 2026-11-02 09:00 UTC
    let good = stamps[0].at(BOB, "dan@d.example", now);
    let others = stamps[1].at("carol@b.example", "dan@d.example", now);
    let bounce = "Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: text/rfc822-headers\n\n";
    let spf = |domain: &str| by(&format!("spf=pass smtp.mailfrom=bounce@{domain}"));
    let list = "List-Id: <users.lists.example>";
    let letters = [
        (came("al@elsewhere.example", "In-Reply-To: <1@b.example>"), "known", "answers"),
        (came("erin@e.example", "In-Reply-To: <2@b.example>"), "unpaid", "not in the book"),
        (came("eve@e.example", "In-Reply-To: <made-up@b.example>"), "unpaid", "not in the book"),
        (came("rob@m.example", &format!("{bounce}Message-ID: <3@b.example>")), "known", "answers or returns"),
        (
            came("list1@x.example", &format!("{}\n{list}", spf("lists.example"))),
            "known",
            "proven to be from there",
        ),
        (came("list2@x.example", &format!("{}\n{list}", spf("evil.example"))), "unpaid", "not proven"),
        (
            came("list3@x.example", &format!("{}\n{list}", by("dkim=pass header.d=lists.example"))),
            "unpaid",
            "not proven",
        ),
        (came("list4@x.example", list), "unknown", "nothing says"),
        (came("dan@d.example", &format!("Postage-Stamp: {good}")), "paid", "not spent before"),
        (came("dan@d.example", &format!("Postage-Stamp: {others}")), "invalid", "wrong-recipient"),
        (came("mallory@m.example", &format!("Postage-Stamp: {good}")), "invalid", "wrong-sender"),
    ];
    for (number, (letter, result, reason)) in letters.iter().enumerate() {
        let folder = format!("m{number}");
        let maildir = put(&world, &format!("{folder}/cur/1"), letter);
        put(&world, &format!("{folder}/new/.keep"), "");
        let sent = world.path("Maildir");
        let told = world.json(&["simulate", &maildir, sent.to_str().unwrap()]);
        let line = &told["senders"][0];
        assert_eq!(line["result"], *result, "{letter}\n{told}");
        assert!(line["reason"].as_str().unwrap().contains(reason), "{letter}\n{line}");
        assert_eq!((&told["messages"], &told["not_received"]), (&1.into(), &3.into()));
    }
    // Without the folder of sent mail nobody knows what was answered.
    assert_eq!(world.json(&["simulate", world.path("m0").to_str().unwrap()])["results"]["unpaid"], 1);
    // Five answers to one letter; the sixth may be anybody's.
    for number in 0..7 {
        put(
            &world,
            &format!("Maildir/cur/{number}"),
            &came(&format!("x{number}@x.example"), "In-Reply-To: <1@b.example>"),
        );
    }
    let maildir = put(&world, "Maildir/new/.keep", "");
    let results = world.json(&["simulate", &maildir])["results"].clone();
    assert_eq!((&results["known"], &results["unpaid"]), (&5.into(), &2.into()), "{results}");
}

#[test]
fn without_a_check_nobody_is_known_and_without_mail_nothing_is_said() {
    let mut world = World::start(&Site { more: "[identity]\ncheck = \"none\"\n".into(), ..Site::default() });
    assert!(world.end_daemon("TERM").success());
    world.json(&["known", "add", ALICE]);
    let mail = put(&world, "mail/1.eml", &came(ALICE, &by("dmarc=pass header.from=a.example")));
    assert_eq!(world.json(&["simulate", &mail])["results"]["unpaid"], 1);
    let empty = world.path("empty");
    fs::create_dir_all(&empty).unwrap();
    assert_eq!(world.farthing(&["simulate", empty.to_str().unwrap()]).status.code(), Some(1));
    assert_eq!(world.farthing(&["simulate", "/nonexistent"]).status.code(), Some(65));
    assert_eq!(world.farthing(&["simulate"]).status.code(), Some(64));
}

#[test]
fn the_report_tells_what_really_happened() {
    let world = World::start(&Site::default());
    assert_eq!(world.json(&["report"])["messages"], 0);
    world.json(&["known", "add", ALICE, "--for", BOB]);
    let letter = || Letter::new(ALICE, &[BOB], "Lunch?");
    assert_eq!(result(&world.send(&letter().header("Message-ID", "<1@a.example>"))), "known");
    let stamps = world.buy(1);
    let payer = Letter::new("dan@d.example", &[BOB], "Offer");
    let stamped = payer.header("Postage-Stamp", stamps[0].to(BOB, "dan@d.example"));
    assert_eq!(result(&world.send_from(MALLORY_IP, &stamped)), "paid");
    for _ in 0..2 {
        assert!(!world.send_from(MALLORY_IP, &Letter::new("eve@e.example", &[BOB], "Buy!")).is_delivered());
    }
    world.zone.txt("lists.example", format!("v=spf1 ip4:{MALLORY_IP} -all"));
    world.json(&["known", "add", "list:users.lists.example", "--for", BOB]);
    for writer in ["ann@x.example", "ben@y.example"] {
        let mut post = Letter::new(writer, &[BOB], "[users] hi").header("List-Id", "<users.lists.example>");
        post.sender = "<users-bounces@lists.example>".into();
        assert_eq!(result(&world.send_from(MALLORY_IP, &post)), "known");
    }
    world.json(&["wanted", &stamps[0].id()]);
    wait_until("every decision in the report", || world.json(&["report"])["messages"] == 6);
    let page = world.path("page.html");
    let told = world.json(&["report", "--days", "1", "--html", page.to_str().unwrap()]);
    let results = &told["results"];
    assert_eq!((&results["known"], &results["paid"], &results["unpaid"]), (&3.into(), &1.into(), &2.into()));
    assert_eq!((&told["delivered"], &told["refused"]), (&4.into(), &2.into()));
    let list = line(&told, "list:users.lists.example")[0];
    assert_eq!(
        (&list["messages"], &list["kind"], &list["result"]),
        (&2.into(), &"list".into(), &"known".into())
    );
    assert_eq!((&told["paid"]["value"], &told["refunded"]["value"]), (&2500.into(), &2500.into()));
    let eve = line(&told, "eve@e.example")[0];
    assert_eq!(eve["messages"], 2);
    assert_eq!(eve["allow"], "farthing known add eve@e.example --for bob@b.example");
    assert_eq!(list["allow"], serde_json::Value::Null, "it is let in");
    assert!(fs::read_to_string(&page).unwrap().contains("eve@e.example"));
    let said = text(&world.farthing(&["report"]).stdout);
    assert!(
        said.starts_with("The last 7 days: 6 letters, 4 let in, 2 refused or deferred; 1 stamps paid 0.25c"),
        "{said}"
    );
    for days in ["61", "0", "x"] {
        let refused = world.farthing(&["report", "--days", days]);
        assert_eq!(refused.status.code(), Some(64));
        assert!(text(&refused.stderr).contains("a number of days from 1 to 60"), "{}", text(&refused.stderr));
    }
}

#[test]
fn what_old_mail_cannot_tell_names_whom_to_trust_and_bounces_are_not_to_be_let_in() {
    let world = World::start(&Site::default());
    world.json(&["known", "add", ALICE, "--for", BOB]);
    let old = "Authentication-Results: old.b.example; spf=pass smtp.mailfrom=a.example";
    put(&world, "mail/1", &came(ALICE, old));
    let report = "Return-Path: <>\nContent-Type: multipart/report; report-type=delivery-status; boundary=x";
    put(&world, "mail/2", &came("MAILER-DAEMON@d.example", report));
    let mail = world.path("mail");
    let mail = mail.to_str().unwrap();
    let told = world.json(&["simulate", mail, "--for", BOB]);
    let bounce = line(&told, "mailer-daemon@d.example")[0];
    assert_eq!((&bounce["result"], &bounce["kind"]), (&"unpaid".into(), &"robot".into()));
    assert_eq!(bounce["allow"], Value::Null);
    assert_eq!(bounce["reason"], "a bounce or report about nothing that the recipient sent");
    let said = text(&world.farthing(&["simulate", mail, "--for", BOB]).stdout);
    assert!(said.contains("are not of mx.b.example, but of: old.b.example (1)."), "{said}");
    let elsewhere = world.farthing(&["simulate", mail, "--for", "bob@elsewhere.example"]);
    assert_eq!(elsewhere.status.code(), Some(65));
    world.configure(&Site { more: "[identity]\ntrusted = [\"old.b.example\"]\n".into(), ..Site::default() });
    let said = text(&world.farthing(&["simulate", mail, "--for", BOB]).stdout);
    assert!(said.contains("spf of a.example") && !said.contains("nobody can tell,"), "{said}");
}

/// When the example letters are judged: the stamp and the work on them are in their time then.
const AT: u64 = 1_795_340_000;

/// Every example letter with what the gate would do and why, in the order of `names`.
fn explained(world: &World, names: &[PathBuf]) -> BTreeMap<String, String> {
    let explain = |path: &PathBuf| {
        let letter = fs::read(path).unwrap();
        let parts = split_message(&letter);
        let author = parts.author().map_or("mallory@m.example".into(), |author| author.to_string());
        let from = if parts.values("Return-Path").next().is_some() { "" } else { &author };
        let (at, ip) = (AT.to_string(), ALICE_IP.to_string());
        let arguments =
            ["explain", "--at", &at, "--ip", &ip, "--helo", "mx.a.example", "--from", from, "--rcpt", BOB];
        let output = world.farthing_with(&arguments, &letter);
        assert!(output.status.success(), "{path:?}: {}", text(&output.stderr));
        let said = text(&output.stdout).replace(&world.office.to_string(), "office.b.example");
        (path.file_name().unwrap().to_str().unwrap().to_owned(), said)
    };
    names.iter().map(explain).collect()
}

/// What is decided about each kind of letter, and in which words, stands in `decisions/letters.txt`. When it changes for a
/// reason, `FARTHING_WRITE_DECISIONS=1 cargo nextest run --test simulate` writes the file anew: read the difference.
#[test]
fn every_example_letter_is_judged_for_the_same_reasons_again() {
    let mut world = World::start(&Site::gate("work_bits = 20"));
    assert!(world.end_daemon("TERM").success());
    for domain in ["lists.example", "m.example"] {
        world.zone.txt(domain, format!("v=spf1 ip4:{ALICE_IP} -all"));
    }
    world.json(&["known", "add", "list:letter-box.lists.example", "--for", BOB]);
    world.json(&["known", "add", "zoe@a.example", "--for", BOB]);
    world.json(&["known", "block", "offers@m.example", "--for", BOB]);
    block_on(async {
        let ledger = world.ledger();
        for id in ["20261120080000.77", "20261122115900.78", "20261122122900.79"] {
            let sent = Sent {
                now: AT - 86_400,
                author: BOB.parse().unwrap(),
                recipients: vec!["carol@c.example".parse().unwrap()],
                message_id: Some(message_id_hash(format!("{id}@b.example").as_bytes())),
            };
            ledger.learn(sent).await.unwrap();
        }
        ledger.close().await;
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/letters");
    let mut names: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "eml"));
    names.sort();
    let before = fs::read(world.path("ledger.db")).unwrap();
    let first = explained(&world, &names);
    names.reverse();
    assert_eq!(explained(&world, &names), first, "the order makes no difference");
    assert_eq!(fs::read(world.path("ledger.db")).unwrap(), before, "and nothing has changed");

    let told: String = first.iter().map(|(name, said)| format!("== {name}\n{said}\n")).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions/letters.txt");
    if std::env::var_os("FARTHING_WRITE_DECISIONS").is_some() {
        fs::write(&file, &told).unwrap();
    }
    let want = fs::read_to_string(&file).unwrap();
    for (line, (told, want)) in told.lines().zip(want.lines()).enumerate() {
        assert_eq!(told, want, "{}, line {}", file.display(), line + 1);
    }
    assert_eq!(told.lines().count(), want.lines().count());
}

#[test]
fn an_explanation_is_what_the_gate_then_does() {
    let world = World::start(&Site::default());
    let stamps = world.buy(3);
    world.json(&["known", "add", ALICE, "--for", BOB]);
    let letter = |from: &str, more: &str| {
        format!("From: {from}\r\nTo: {BOB}\r\nSubject: x\r\nMessage-ID: <1@x.example>\r\n{more}\r\nHello\r\n")
    };
    let explain = |ip: IpAddr, from: &str, letter: &str| -> Value {
        let ip = ip.to_string();
        let arguments = ["--json", "explain", "--ip", &ip, "--from", from, "--rcpt", BOB];
        let output = world.farthing_with(&arguments, letter.as_bytes());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    };
    let decided = |told: &Value| -> (String, u64, String) {
        let recipient = &told["recipients"][0];
        let row = recipient["rows"].as_array().unwrap().last().unwrap();
        assert_eq!(row["decides"], true, "{told}");
        let word = recipient["result"].as_str().unwrap().to_owned();
        (word, row["row"].as_u64().unwrap(), row["found"].as_str().unwrap().to_owned())
    };
    let dan = "dan@d.example";
    let stamped = |n: usize| {
        letter(dan, &format!("Postage-Stamp: {}\r\n", stamps[n].to(BOB, dan).replace('\n', "\r\n")))
    };
    let sent = |ip: IpAddr, from: &str, field: Option<String>| {
        let letter = Letter::new(from, &[BOB], "x").header("Message-ID", "<1@x.example>");
        world.send_from(
            ip,
            &field.into_iter().fold(letter, |letter, field| letter.header("Postage-Stamp", field)),
        )
    };

    let told = explain(ALICE_IP, ALICE, &letter(ALICE, ""));
    assert_eq!((decided(&told).0.as_str(), decided(&told).1), ("known", 5), "{told}");
    assert!(decided(&told).2.ends_with("(proven: SPF of a.example)"), "{told}");
    assert_eq!(result(&sent(ALICE_IP, ALICE, None)), "known");

    let told = explain(MALLORY_IP, ALICE, &letter(ALICE, ""));
    assert_eq!((decided(&told).0.as_str(), decided(&told).1), ("unpaid", 9), "{told}");
    assert!(told["recipients"][0]["rows"][4]["found"].as_str().unwrap().contains("not proven"), "{told}");
    assert_eq!(told["reply"], refusal(&sent(MALLORY_IP, ALICE, None)), "the same words");

    for _ in 0..2 {
        let told = explain(MALLORY_IP, dan, &stamped(0));
        assert_eq!((decided(&told).0.as_str(), decided(&told).1), ("paid", 7), "{told}");
        assert!(decided(&told).2.ends_with("0.25c: ok"), "{told}");
    }
    assert_eq!(world.balance("escrow:b.example"), 0, "no stamp is spent by asking");
    assert_eq!(result(&sent(MALLORY_IP, dan, Some(stamps[0].to(BOB, dan)))), "paid");
    let told = explain(MALLORY_IP, dan, &stamped(0).replace("Subject: x", "Subject: y"));
    assert_eq!(decided(&told).0, "invalid");
    assert!(told["recipients"][0]["rows"][6]["found"].as_str().unwrap().ends_with(": spent"), "{told}");

    let two = [
        "--json",
        "explain",
        "--from",
        dan,
        "--rcpt",
        "x@elsewhere.example",
        "--rcpt",
        "postmaster@b.example",
    ];
    let told: Value =
        serde_json::from_slice(&world.farthing_with(&two, letter(dan, "").as_bytes()).stdout).unwrap();
    let words = |n: usize| told["recipients"][n]["result"].as_str().unwrap().to_owned();
    assert_eq!(
        (words(0).as_str(), words(1).as_str(), &told["decision"]),
        ("none", "exempt", &"deliver".into())
    );
    let login = ["explain", "--login", "bob", "--rcpt", BOB];
    let said = text(&world.farthing_with(&login, letter(BOB, "").as_bytes()).stdout);
    assert!(said.starts_with("let in\n") && said.contains("handed in by the login bob"), "{said}");
    assert_eq!(world.farthing_with(&["explain"], b"From: x@x.example\n\n").status.code(), Some(64));
    assert_eq!(world.farthing_with(&["explain", "--rcpt", BOB], b"").status.code(), Some(65));
}

#[test]
fn recipients_whose_copies_are_asked_for_apart_are_explained_as_such() {
    let world = World::start(&Site::gate("mixed = \"split\""));
    world.json(&["known", "add", ALICE, "--for", BOB]);
    let letter =
        format!("From: {ALICE}\r\nTo: {BOB}\r\nSubject: x\r\nMessage-ID: <1@a.example>\r\n\r\nHello\r\n");
    let results = |ip: IpAddr| {
        let ip = ip.to_string();
        let recipients = ["--rcpt", BOB, "--rcpt", CAROL, "--rcpt", "x@elsewhere.example"];
        let arguments = [&["--json", "explain", "--ip", &ip, "--from", ALICE][..], &recipients].concat();
        let told: Value =
            serde_json::from_slice(&world.farthing_with(&arguments, letter.as_bytes()).stdout).unwrap();
        let word = |n: usize| told["recipients"][n]["result"].as_str().unwrap().to_owned();
        (word(0), word(1), word(2))
    };
    let words = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(results(ALICE_IP), words("known", "apart", "none"));
    assert_eq!(results(MALLORY_IP), words("unpaid", "unpaid", "none"), "not for whom SPF does not pass");
}

#[test]
fn a_name_found_for_the_client_makes_it_the_forwarder_that_is_allowed() {
    let world = World::start(&Site {
        more: "[identity]\nforwarders = [\"host:out.old.example\"]\n".into(),
        ..Site::default()
    });
    world.json(&["known", "add", ALICE, "--for", BOB]);
    world.zone.address_of("out.old.example", MALLORY_IP);
    let letter = format!(
        "Received: from mx.a.example (mx.a.example [{ALICE_IP}]) by out.old.example; Mon, 2 Nov 2026 09:00:00 +0000\r\n\
         From: {ALICE}\r\nTo: {BOB}\r\nSubject: x\r\nMessage-ID: <1@a.example>\r\n\r\nHello\r\n"
    );
    let ip = MALLORY_IP.to_string();
    let said = |more: &[&str]| {
        let arguments = [&["explain", "--ip", &ip, "--from", ALICE, "--rcpt", BOB][..], more].concat();
        text(&world.farthing_with(&arguments, letter.as_bytes()).stdout)
    };
    assert!(said(&[]).contains("bob@b.example: unpaid"), "{}", said(&[]));
    let named = said(&["--name", "out.old.example"]);
    assert!(named.contains("bob@b.example: known") && named.contains("proven by a forwarder"), "{named}");
}

#[test]
fn of_old_mail_that_a_forwarder_brought_nobody_can_tell_what_the_forwarder_saw() {
    let world = World::start(&Site {
        more: format!("[identity]\nforwarders = [\"{MALLORY_IP}\"]\n"),
        ..Site::default()
    });
    world.json(&["known", "add", ALICE, "--for", BOB]);
    let by_way_of = |ip: IpAddr| {
        let received = format!(
            "Received: from mx.old.example (mx.old.example [{ip}]) by mx.b.example; Mon, 2 Nov 2026 09:00:00 +0000"
        );
        format!("{received}\n{}", came(ALICE, &by("spf=fail smtp.mailfrom=a.example; dkim=none")))
    };
    for (ip, result) in [(MALLORY_IP, "unknown"), (ALICE_IP, "unpaid")] {
        let mail = put(&world, &format!("{ip}/1"), &by_way_of(ip));
        let told = world.json(&["simulate", &mail]);
        assert_eq!(line(&told, ALICE)[0]["result"], result, "{told}");
    }
}
