//! Seeing before doing: `farthing simulate` over old mail, and `farthing report` of what happened.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::fs;

use farthing_milter::client::Letter;
use serde_json::Value;
use support::{ALICE, BOB, MALLORY_IP, Site, World, result, text, wait_until};

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

/// `result count kind` for a sender.
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
            &format!("{}\nList-Id: <users.lists.example>", by("dkim=pass header.d=lists.example")),
        ),
        came(
            "news@z.example",
            &format!("{}\nList-Id: News <news.z.example>", by("dkim=pass header.d=z.example")),
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
    world.json(&["wanted", &stamps[0].id()]);
    wait_until("every decision in the report", || world.json(&["report"])["messages"] == 4);
    let page = world.path("page.html");
    let told = world.json(&["report", "--days", "1", "--html", page.to_str().unwrap()]);
    let results = &told["results"];
    assert_eq!((&results["known"], &results["paid"], &results["unpaid"]), (&1.into(), &1.into(), &2.into()));
    assert_eq!((&told["delivered"], &told["refused"]), (&2.into(), &2.into()));
    assert_eq!((&told["paid"]["value"], &told["refunded"]["value"]), (&2500.into(), &2500.into()));
    assert_eq!(line(&told, "eve@e.example")[0]["messages"], 2);
    assert!(fs::read_to_string(&page).unwrap().contains("eve@e.example"));
    let said = text(&world.farthing(&["report"]).stdout);
    assert!(
        said.starts_with("The last 7 days: 4 letters, 2 let in, 2 refused or deferred; 1 stamps paid 0.25c"),
        "{said}"
    );
    assert_eq!(world.farthing(&["report", "--days", "61"]).status.code(), Some(64));
}
