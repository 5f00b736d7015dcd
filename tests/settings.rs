//! What recipients set for themselves, as senders meet it: at the milter's socket, at the office, in the daemon's books.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use farthing::{
    address::Address,
    clock::{DAY_S, unix_now},
    ledger::{
        Ledger as _, Mark,
        settings::{OwnPrice, Settings as _},
        settling::Settling as _,
    },
    money::Micros,
};
use farthing_milter::client::Letter;
use support::{ALICE, BOB, CAROL, Site, World, block_on, refusal, result};

fn letter(to: &str, subject: &str) -> Letter {
    Letter::new(ALICE, &[to], subject)
        .header("Message-ID", format!("<{subject}@a.example>"))
        .header("Date", "Mon, 02 Nov 2026 09:00:00 +0000")
}

fn cents(text: &str) -> Micros {
    text.parse().unwrap()
}

fn set_price(world: &World, owner: &str, price: Option<(&str, bool)>) {
    let owner: Address = owner.parse().unwrap();
    let price = price.map(|(value, public)| OwnPrice { value: cents(value), public });
    block_on(async {
        let ledger = world.ledger();
        ledger.set_price(&owner, price).await.unwrap();
        ledger.close().await;
    });
}

fn quoted(world: &World, to: &str) -> u64 {
    let answer = world.get(&format!("/v1/quote?to={to}"));
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let quote: serde_json::Value = serde_json::from_str(body).unwrap();
    quote["micros"].as_u64().unwrap()
}

#[test]
fn a_public_price_is_told_to_everybody() {
    let world = World::start(&Site::default());
    set_price(&world, BOB, Some(("1c", true)));
    assert!(refusal(&world.send(&letter(BOB, "a"))).contains("postage of 1c required from new senders"));
    assert_eq!(quoted(&world, BOB), 10_000);
    assert_eq!(quoted(&world, "bob+shop@b.example"), 10_000);
    assert_eq!(quoted(&world, CAROL), 2_500);
    // A command on the page may be wrapped between its options.
    let page_of = |to: &str| world.get(&format!("/p/{to}")).replace("<span>", "").replace("</span>", "");
    let page = page_of(BOB);
    assert!(page.contains("needs a stamp of 1c") && page.contains("--count 10 --value 1c"), "{page}");
    assert!(page_of(CAROL).contains("--count 10 --office"));

    let cheap = world.buy(1);
    let said = refusal(&world.send(&letter(BOB, "b").header("Postage-Stamp", cheap[0].to(BOB, ALICE))));
    assert!(said.contains("postage refused: underpaid; postage of 1c required"), "{said}");
    let enough = world.buy_of(1, cents("1c"));
    let outcome = world.send(&letter(BOB, "c").header("Postage-Stamp", enough[0].to(BOB, ALICE)));
    assert_eq!(result(&outcome), "paid");
    assert_eq!(world.balance("escrow:b.example"), 10_000);
    // Who asks for both is told what is enough for both.
    let both = Letter::new(ALICE, &[CAROL, BOB], "d");
    assert!(refusal(&world.send(&both)).contains("postage of 1c required"));

    set_price(&world, BOB, None);
    assert!(refusal(&world.send(&letter(BOB, "e"))).contains("postage of 0.25c required"));
    assert_eq!(quoted(&world, BOB), 2_500);
    world.books_balance();
}

#[test]
fn a_private_price_is_named_to_good_stamps_only() {
    let world = World::start(&Site::default());
    set_price(&world, BOB, Some(("1c", false)));
    assert_eq!(quoted(&world, BOB), quoted(&world, "nobody@b.example"));
    let page = |to: &str| world.get(&format!("/p/{to}")).contains("needs a stamp of 0.25c");
    assert!(page(BOB) && page("nobody@b.example"));
    let told = |said: &str| said.split_once(": ").unwrap().1.to_owned();
    let to_bob = refusal(&world.send(&letter(BOB, "a")));
    assert!(to_bob.contains("postage of 0.25c required from new senders"), "{to_bob}");

    // Cheaper than the site's price, and a forged one: what every recipient's refusal says.
    let cheap = world.buy_of(2, cents("0.2c"));
    for to in [BOB, CAROL] {
        let said = refusal(&world.send(&letter(to, "b").header("Postage-Stamp", cheap[0].to(to, ALICE))));
        assert!(told(&said).starts_with("postage refused: underpaid; postage of 0.25c required"), "{said}");
    }
    let stamps = world.buy(3);
    let mut forged = stamps[0].cancelled(BOB, ALICE, unix_now());
    forged.stamp.signature[0] ^= 1;
    let forged = forged.to_field_value().replace("\r\n", "\n");
    let said = refusal(&world.send(&letter(BOB, "c").header("Postage-Stamp", forged)));
    assert!(said.contains("postage refused: bad-signature; postage of 0.25c required"), "{said}");

    // A stamp that was spent on another letter learns nothing.
    let outcome = world.send(&letter(CAROL, "d").header("Postage-Stamp", stamps[1].to(CAROL, ALICE)));
    assert_eq!(result(&outcome), "paid");
    let said = refusal(&world.send(&letter(BOB, "e").header("Postage-Stamp", stamps[1].to(BOB, ALICE))));
    assert!(said.contains("postage refused: spent; postage of 0.25c required"), "{said}");

    // A good one does, and stays good.
    let said = refusal(&world.send(&letter(BOB, "f").header("Postage-Stamp", stamps[2].to(BOB, ALICE))));
    assert!(said.contains("postage refused: underpaid; postage of 1c required"), "{said}");
    let outcome = world.send(&letter(CAROL, "g").header("Postage-Stamp", stamps[2].to(CAROL, ALICE)));
    assert_eq!(result(&outcome), "paid");
    let enough = world.buy_of(1, cents("1c"));
    let outcome = world.send(&letter(BOB, "h").header("Postage-Stamp", enough[0].to(BOB, ALICE)));
    assert_eq!(result(&outcome), "paid");
    world.books_balance();
}

#[test]
fn a_price_below_the_sites_is_taken_in_silence() {
    let world = World::start(&Site::default());
    set_price(&world, BOB, Some(("0.1c", false)));
    assert_eq!(quoted(&world, BOB), 2_500);
    assert!(refusal(&world.send(&letter(BOB, "a"))).contains("postage of 0.25c required"));
    let cheap = world.buy_of(2, cents("0.1c"));
    let outcome = world.send(&letter(BOB, "b").header("Postage-Stamp", cheap[0].to(BOB, ALICE)));
    assert_eq!(result(&outcome), "paid");
    let said = refusal(&world.send(&letter(CAROL, "c").header("Postage-Stamp", cheap[1].to(CAROL, ALICE))));
    assert!(said.contains("underpaid; postage of 0.25c required"), "{said}");
}

/// What a refusal says, whoever it names.
fn words(said: &str, to: &str) -> String {
    said.replace(to, "RCPT")
}

#[test]
fn a_price_below_the_sites_is_told_by_no_refusal() {
    let world = World::start(&Site::default());
    set_price(&world, BOB, Some(("0.1c", false)));
    let good = world.buy_of(1, cents("0.1c"));
    let (nobody, dave) = ("nobody@b.example", "dave@b.example");
    let full = world.buy(1);
    let outcome = world.send(&letter(dave, "spent").header("Postage-Stamp", full[0].to(dave, ALICE)));
    assert_eq!(result(&outcome), "paid");

    // A stamp nobody signed costs nothing.
    let forged = |to: &str| {
        let mut forged = good[0].cancelled(to, ALICE, unix_now());
        forged.stamp.signature[0] ^= 1;
        letter(to, "a").header("Postage-Stamp", forged.to_field_value().replace("\r\n", "\n"))
    };
    let unheard_of = |to: &str| {
        let mut stamp = good[0].cancelled(to, ALICE, unix_now());
        stamp.stamp.terms.office = "office.example".parse().unwrap();
        letter(to, "b").header("Postage-Stamp", stamp.to_field_value().replace("\r\n", "\n"))
    };
    // Nor does a good one beside a recipient who refuses the letter.
    let beside = |to: &str| {
        let both = Letter::new(ALICE, &[to, dave], "c").header("Message-ID", "<c@a.example>");
        both.header("Postage-Stamp", good[0].to(to, ALICE))
    };
    let beside_spent = |to: &str| beside(to).header("Postage-Stamp", full[0].to(dave, ALICE));
    for letter in [&forged as &dyn Fn(&str) -> Letter, &unheard_of, &beside, &beside_spent] {
        let to_bob = refusal(&world.send(&letter(BOB)));
        let to_nobody = refusal(&world.send(&letter(nobody)));
        assert_eq!(words(&to_bob, BOB), words(&to_nobody, nobody));
        assert!(to_bob.contains("postage of 0.25c required"), "{to_bob}");
    }
    // It is still taken, and spent it says no more than it would have.
    let outcome = world.send(&letter(BOB, "d").header("Postage-Stamp", good[0].to(BOB, ALICE)));
    assert_eq!(result(&outcome), "paid");
    let again =
        |to: &str| refusal(&world.send(&letter(to, "e").header("Postage-Stamp", good[0].to(to, ALICE))));
    assert_eq!(words(&again(BOB), BOB), words(&again(nobody), nobody));
    // The letter it paid for may come again.
    let outcome = world.send(&letter(BOB, "d").header("Postage-Stamp", good[0].to(BOB, ALICE)));
    assert_eq!(result(&outcome), "paid");
    world.books_balance();
}

#[test]
fn a_price_above_the_sites_is_told_only_where_another_recipient_would_have_been_paid() {
    let world = World::start(&Site::default());
    set_price(&world, BOB, Some(("1c", false)));
    let stamps = world.buy(2);
    let (nobody, dave) = ("nobody@b.example", "dave@b.example");
    let outcome = world.send(&letter(dave, "spent").header("Postage-Stamp", stamps[0].to(dave, ALICE)));
    assert_eq!(result(&outcome), "paid");
    let beside_spent = |to: &str| {
        let both = Letter::new(ALICE, &[to, dave], "c").header("Message-ID", "<c@a.example>");
        let both = both.header("Postage-Stamp", stamps[1].to(to, ALICE));
        refusal(&world.send(&both.header("Postage-Stamp", stamps[0].to(dave, ALICE))))
    };
    assert_eq!(words(&beside_spent(BOB), BOB), words(&beside_spent(nobody), nobody));
    world.books_balance();
}

#[test]
fn no_price_is_above_the_highest_that_the_site_allows() {
    let world = World::start(&Site::gate("max_price = \"0.5c\""));
    set_price(&world, BOB, Some(("9c", true)));
    assert_eq!(quoted(&world, BOB), 5_000);
    let enough = world.buy_of(1, cents("0.5c"));
    let outcome = world.send(&letter(BOB, "a").header("Postage-Stamp", enough[0].to(BOB, ALICE)));
    assert_eq!(result(&outcome), "paid");
}

#[test]
fn an_admin_sees_and_sets_them() {
    let world = World::start(&Site::default());
    assert_eq!(world.json(&["settings", "list"]), serde_json::json!([]));
    let set = world.farthing(&["settings", "price", "1c", "--public", "--for", "bob+x@b.example"]);
    assert_eq!(support::text(&set.stdout), "bob@b.example: 1c (public), digest off\n");
    let set = world.farthing(&["settings", "digest", "weekly", "--for", CAROL]);
    assert_eq!(support::text(&set.stdout), "carol@b.example: 0.25c (the site's), digest weekly\n");
    let all = world.json(&["settings", "list"]);
    assert_eq!((&all[0]["recipient"], &all[0]["price"]), (&BOB.into(), &10_000.into()));
    assert_eq!((&all[1]["digest"], &all[1]["price"]), (&"weekly".into(), &serde_json::Value::Null));
    assert_eq!(world.json(&["settings", "list", "--for", "eve@b.example"])[0]["digest"], "off");
    assert_eq!(quoted(&world, BOB), 10_000);
    for (arguments, exit) in [
        (["settings", "price", "11c", "--for", BOB], 65),
        (["settings", "price", "0", "--for", BOB], 65),
        (["settings", "price", "much", "--for", BOB], 64),
        (["settings", "price", "1c", "--for", ALICE], 65),
        (["settings", "digest", "hourly", "--for", BOB], 64),
    ] {
        assert_eq!(world.farthing(&arguments).status.code(), Some(exit), "{arguments:?}");
    }
    let set = world.farthing(&["settings", "price", "default", "--for", BOB]);
    assert_eq!(support::text(&set.stdout), "bob@b.example: 0.25c (the site's), digest off\n");
}

#[test]
fn a_wanted_sender_gets_his_postage_back_and_writes_free() {
    let world = World::start(&Site::default());
    let stamps = world.buy(2);
    for (n, stamp) in stamps.iter().enumerate() {
        let outcome = world.send(&letter(BOB, &n.to_string()).header("Postage-Stamp", stamp.to(BOB, ALICE)));
        assert_eq!(result(&outcome), "paid");
    }
    let marked = block_on(async {
        let ledger = world.ledger();
        let (bob, alice) = (BOB.parse().unwrap(), ALICE.parse().unwrap());
        ledger.mark_sender(&bob, &alice, Mark::Wanted, unix_now()).await.unwrap()
    });
    assert_eq!((marked.letters, marked.refunded, marked.known), (2, cents("0.5c"), true));
    assert_eq!(world.balance("escrow:b.example"), 0);
    assert_eq!(result(&world.send(&letter(BOB, "free"))), "known");
    world.books_balance();
}

#[test]
fn the_daemon_settles_what_is_due_and_status_says_what_is_not() {
    let mut world = World::start(&Site::default());
    let stamps = world.buy(1);
    let outcome = world.send(&letter(BOB, "a").header("Postage-Stamp", stamps[0].to(BOB, ALICE)));
    assert_eq!(result(&outcome), "paid");
    world.end_daemon("TERM");
    // Forty days pass while nobody looks after the books.
    let hand = rusqlite::Connection::open(world.path("ledger.db")).unwrap();
    hand.execute("UPDATE redeemed SET time = time - ?1", [40 * DAY_S.cast_signed()]).unwrap();
    drop(hand);
    let due = |world: &World| {
        // Whatever else is not well in a world without its daemon.
        let output = world.farthing(&["--json", "status"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = status["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["name"] == "postage due").unwrap()
    };
    let said = due(&world);
    assert_eq!(said["ok"], false, "{said}");
    assert!(said["detail"].as_str().unwrap().contains("1 letters and 0 orders"), "{said}");

    world.start_daemon();
    support::wait_until("the letter's postage is kept", || world.balance("kept") == 2_500);
    assert_eq!(world.balance("escrow:b.example"), 0);
    assert_eq!(due(&world)["ok"], true);
    world.end_daemon("TERM");
    let lag = block_on(async {
        let ledger = world.ledger();
        let terms = farthing::settler::terms(&world.config(), unix_now(), unix_now());
        ledger.lag(&terms).await.unwrap()
    });
    assert_eq!((lag.unsettled, lag.oldest), (0, None));
}
