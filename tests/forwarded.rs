//! Letters that did not come straight from their author, through the milter's socket: sent on by a forwarder or a list, or
//! back to an address that stands for another.

#![allow(clippy::unwrap_used)] // a fault here fails the test, as it should

mod support;

use std::net::{IpAddr, Ipv4Addr};

use ed25519_dalek::SigningKey;
use farthing::{dns::Dns, message::split_message};
use farthing_milter::{
    address::{Client, ClientAddress},
    client::{FULL_OFFER, Letter, Manner, MtaClient, Outcome},
    macros::Stage,
};
use mail_auth::{
    AuthenticatedMessage, AuthenticationResults,
    arc::ArcSealer,
    common::{crypto::Ed25519Key, headers::HeaderWriter},
};
use support::{ALICE, ALICE_IP, BOB, CAROL, MALLORY_IP, Site, World, block_on, refusal, result};

/// The host that gets Bob's mail at his old address.
const OLD_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200));
const OLD: &str = "mx.old.example";

/// A site where Alice is known to Bob, and old.example has a key for its seals and a name for its host.
fn world(identity: &str) -> World {
    let more = if identity.is_empty() { String::new() } else { format!("[identity]\n{identity}\n") };
    let world = World::start(&Site { more, ..Site::default() });
    world.zone.address_of(OLD, OLD_IP).txt("arc._domainkey.old.example", key().1);
    knows(&world, ALICE);
    world
}

fn knows(world: &World, sender: &str) {
    let added = world.farthing(&["known", "add", sender, "--for", BOB]);
    assert!(added.status.success(), "{}", support::text(&added.stderr));
}

fn is_asked(outcome: &Outcome) {
    let said = refusal(outcome);
    assert!(said.contains("postage of 0.25c required from new senders"), "{said}");
}

fn key() -> (Ed25519Key, String) {
    let seed = [7; 32];
    let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let key = Ed25519Key::from_seed_and_public_key(&seed, &public).unwrap();
    (key, format!("v=DKIM1; k=ed25519; p={}", data_encoding::BASE64.encode(&public)))
}

/// Brings a letter as a host that names itself and has the name that the MTA found.
fn bring(world: &World, ip: IpAddr, helo: &str, found: &str, letter: &Letter) -> Outcome {
    block_on(async {
        let client = Client { host: found.into(), address: ClientAddress::Ip(ip), port: 25_025 };
        let mut mta = MtaClient::connect(&world.milter(), FULL_OFFER, Manner::Postfix).await.unwrap();
        mta.greet(&client, helo).await.unwrap();
        let outcome = mta.deliver(letter).await.unwrap();
        mta.quit().await.unwrap();
        outcome
    })
}

fn through_old(world: &World, letter: &Letter) -> Outcome {
    bring(world, OLD_IP, OLD, "unknown", letter)
}

/// Alice's letter, as old.example sends it on, having got it from this address.
fn forwarded(ip: IpAddr) -> Letter {
    let received = format!("from mx.a.example (mx.a.example [{ip}])\n\tby {OLD} (Postfix) with ESMTP id 1");
    with_top(Letter::new(ALICE, &[BOB], "Lunch?"), "Received", &received)
}

fn with_top(mut letter: Letter, name: &str, value: &str) -> Letter {
    letter.headers.insert(0, (name.to_owned(), value.as_bytes().to_vec()));
    letter
}

/// The letter with the seal of this domain, which found these results.
fn sealed(world: &World, domain: &str, found: &str, letter: &Letter) -> Letter {
    let mut text = Vec::new();
    for (name, value) in &letter.headers {
        text.extend_from_slice(
            format!("{name}: {}\r\n", String::from_utf8_lossy(value).replace('\n', "\r\n")).as_bytes(),
        );
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&letter.body);
    let message = AuthenticatedMessage::parse(&text).unwrap();
    let results = format!("{OLD}; {found}");
    let results = AuthenticationResults::new(&results);
    let sealer =
        ArcSealer::from_key(key().0).domain(domain).selector("arc").headers(["From", "Subject", "List-Id"]);
    let set = block_on(async {
        let dns = Dns::new(&[world.zone.address()]).unwrap();
        let chain = dns.authenticator().verify_arc(&message).await;
        sealer.seal(&message, &results, &chain).unwrap().to_header()
    });
    let mut sealed = letter.clone();
    for (at, field) in split_message(set.as_bytes()).headers.iter().enumerate() {
        let value = String::from_utf8_lossy(field.value).replace("\r\n", "\n");
        let name = String::from_utf8_lossy(field.name).into_owned();
        sealed.headers.insert(at, (name, value.trim_start().as_bytes().to_vec()));
    }
    sealed
}

const ALICE_PASSED: &str = "spf=pass smtp.mailfrom=alice@a.example; dmarc=pass header.from=a.example";

#[test]
fn the_seal_of_a_forwarder_that_bob_allows_speaks_for_alice() {
    let world = world("");
    let letter = sealed(&world, "old.example", ALICE_PASSED, &Letter::new(ALICE, &[BOB], "Lunch?"));
    is_asked(&through_old(&world, &letter));
    let added = world.farthing(&["known", "add", "arc:old.example", "--for", BOB]);
    let said = support::text(&added.stdout);
    assert_eq!(said, format!("arc:old.example is believed, for {BOB}, about whose letters it sends on\n"));
    assert_eq!(result(&through_old(&world, &letter)), "known");
    assert_eq!(
        result(&world.send_from(MALLORY_IP, &letter)),
        "known",
        "whoever brings it: the seal is old.example's"
    );
    let mut altered = letter.clone();
    altered.body = b"Buy this\r\n".to_vec();
    is_asked(&through_old(&world, &altered));
    let failed =
        sealed(&world, "old.example", "dmarc=fail header.from=a.example", &Letter::new(ALICE, &[BOB], "x"));
    is_asked(&through_old(&world, &failed));
    let claimed = with_top(
        Letter::new(ALICE, &[BOB], "x"),
        "Authentication-Results",
        &format!("{OLD}; {ALICE_PASSED}"),
    );
    is_asked(&through_old(&world, &claimed));
    let mut carols = letter.clone();
    carols.recipients = vec![format!("<{CAROL}>")];
    is_asked(&through_old(&world, &carols));
    let book = world.json(&["known", "list", "--for", BOB]);
    assert_eq!(book[1]["sender"], "arc:old.example", "{book}");
    assert!(world.farthing(&["known", "remove", "arc:old.example", "--for", BOB]).status.success());
    is_asked(&through_old(&world, &letter));
}

#[test]
fn a_recipient_may_allow_what_another_does_not_and_a_block_is_the_last_word() {
    let world = world("forwarders = [\"arc:old.example\"]");
    assert!(world.farthing(&["known", "add", ALICE]).status.success());
    let letter =
        |to: &[&str]| sealed(&world, "mail.old.example", ALICE_PASSED, &Letter::new(ALICE, to, "Lunch?"));
    world.zone.txt("arc._domainkey.mail.old.example", key().1);
    assert_eq!(
        result(&through_old(&world, &letter(&[BOB, CAROL]))),
        "known",
        "the whole site takes its word"
    );
    assert!(world.farthing(&["known", "block", "arc:old.example", "--for", CAROL]).status.success());
    assert_eq!(result(&through_old(&world, &letter(&[BOB]))), "known");
    let said = refusal(&through_old(&world, &letter(&[BOB, CAROL])));
    assert!(said.contains(CAROL) && !said.contains(BOB), "{said}");
    let of_mallory = sealed(&world, "m.example", ALICE_PASSED, &Letter::new(ALICE, &[BOB], "x"));
    is_asked(&through_old(&world, &of_mallory));
    let own_seal = sealed(&world, "m.example", ALICE_PASSED, &letter(&[BOB]));
    is_asked(&through_old(&world, &own_seal));
}

#[test]
fn a_list_that_rewrites_letters_and_seals_them_speaks_for_their_authors() {
    let world = world("");
    let mut post =
        Letter::new(ALICE, &[BOB], "[users] Lunch?").body("Hello\r\n-- \r\nusers@lists.example\r\n");
    post.sender = "<users-bounces+bob=b.example@lists.example>".into();
    world.zone.txt("arc._domainkey.lists.example", key().1);
    let post = sealed(&world, "lists.example", "dkim=pass header.d=a.example", &post);
    is_asked(&world.send_from(MALLORY_IP, &post));
    knows(&world, "arc:lists.example");
    assert_eq!(result(&world.send_from(MALLORY_IP, &post)), "known");
    // A signature that lets anybody write on below it, and a list that did not mind.
    let open = "v=1; a=rsa-sha256; d=a.example; s=x; h=from; l=5; bh=AAAA; b=AAAA";
    is_asked(&world.send_from(MALLORY_IP, &with_top(post, "DKIM-Signature", open)));
}

#[test]
fn what_old_example_forwards_is_from_whom_its_received_field_says() {
    for allowed in ["host:mx.old.example", "host:old.example"] {
        let world = world("");
        is_asked(&through_old(&world, &forwarded(ALICE_IP)));
        knows(&world, allowed);
        assert_eq!(result(&through_old(&world, &forwarded(ALICE_IP))), "known", "{allowed}");
        let by_name = bring(&world, OLD_IP, "localhost", OLD, &forwarded(ALICE_IP));
        assert_eq!(result(&by_name), "known", "{allowed}: by the name that the MTA found");
        is_asked(&through_old(&world, &forwarded(MALLORY_IP)));
        is_asked(&through_old(&world, &Letter::new(ALICE, &[BOB], "no Received field")));
        // Somebody else under that name.
        is_asked(&bring(&world, MALLORY_IP, OLD, OLD, &forwarded(ALICE_IP)));
        let below = with_top(forwarded(ALICE_IP), "Received", &format!("from x (x [{MALLORY_IP}]) by {OLD}"));
        is_asked(&through_old(&world, &below));
    }
}

#[test]
fn a_site_names_forwarders_by_network_and_senders_rewritten_by_them_are_understood() {
    let world = world("forwarders = [\"192.0.2.200\", \"127.0.0.1\"]");
    let rewritten = |sender: &str, ip: IpAddr| {
        let mut letter = forwarded(ip);
        letter.sender = format!("<{sender}>");
        letter
    };
    let srs = "SRS0=HHHH=5Z=a.example=alice@old.example";
    for (letter, known) in [
        (forwarded(ALICE_IP), true),
        (rewritten(srs, ALICE_IP), true),
        (rewritten(srs, MALLORY_IP), false),
        (rewritten("SRS0=HHHH=5Z=m.example=mallory@old.example", ALICE_IP), false),
        // Two have rewritten it, one has brought it.
        (rewritten("SRS1=HHHH=first.example==HHHH=5Z=a.example=alice@old.example", ALICE_IP), false),
        // A filter on the forwarder itself.
        (
            with_top(
                forwarded(ALICE_IP),
                "Received",
                &format!("from localhost (localhost [127.0.0.1]) by {OLD}"),
            ),
            true,
        ),
    ] {
        let outcome = through_old(&world, &letter);
        if known { assert_eq!(result(&outcome), "known", "{letter:?}") } else { is_asked(&outcome) }
    }
    is_asked(&world.send_from(MALLORY_IP, &forwarded(ALICE_IP)));
}

#[test]
fn a_list_by_spf_comes_through_a_forwarder() {
    let world = world("forwarders = [\"192.0.2.200\"]");
    world.zone.txt("lists.example", format!("v=spf1 ip4:{ALICE_IP} -all"));
    knows(&world, "list:users.lists.example");
    let mut post = forwarded(ALICE_IP).header("List-Id", "<users.lists.example>");
    post.headers.retain(|(name, _)| name != "From");
    post = post.header("From", "erin@e.example");
    post.sender = "<users-bounces+bob=old.example@lists.example>".into();
    assert_eq!(result(&through_old(&world, &post)), "known");
    is_asked(&world.send_from(MALLORY_IP, &post));
}

#[test]
fn a_forwarder_in_trouble_is_a_later_and_not_a_no() {
    let world = world("forwarders = [\"arc:old.example\", \"host:old.example\"]");
    let letter = sealed(&world, "old.example", ALICE_PASSED, &Letter::new(ALICE, &[BOB], "Lunch?"));
    world.zone.manner("arc._domainkey.old.example", farthing::demo::dns::Manner::ServFail);
    let said = refusal(&world.send_from(MALLORY_IP, &letter));
    assert_eq!(said, format!("451 4.7.1 <{BOB}>: postage cannot be checked now; try again"));
    world.zone.manner(OLD, farthing::demo::dns::Manner::ServFail);
    assert!(refusal(&through_old(&world, &forwarded(ALICE_IP))).starts_with("451 4.7.1 "));
    is_asked(&world.send_from(MALLORY_IP, &Letter::new(ALICE, &[BOB], "no forwarder")));
}

#[test]
fn mail_that_comes_straight_asks_no_more_than_before() {
    let world = world("forwarders = [\"arc:old.example\", \"host:old.example\", \"192.0.2.200\"]");
    let letter = sealed(&world, "old.example", ALICE_PASSED, &Letter::new(ALICE, &[BOB], "Lunch?"));
    let before = world.zone.asked_in_all();
    assert_eq!(result(&world.send(&letter)), "known");
    assert_eq!(world.zone.asked_in_all() - before, 1, "SPF alone");
    is_asked(&world.send_from(MALLORY_IP, &Letter::new(ALICE, &[BOB], "forged")));
    assert_eq!(world.zone.asked_in_all() - before, 1, "SPF from the cache, and nothing else");
    let strangers = sealed(
        &world,
        "old.example",
        "dmarc=pass header.from=s.example",
        &Letter::new("x@s.example", &[BOB], "x"),
    );
    let before = world.zone.asked_in_all();
    is_asked(&through_old(&world, &strangers));
    assert_eq!(world.zone.asked_in_all(), before, "nobody whom Bob knows");
}

#[test]
fn what_a_forwarder_brings_paid_can_be_wanted_and_then_is_free() {
    let mut world = World::start(&Site {
        more: "[identity]\nforwarders = [\"192.0.2.200\"]\n".into(),
        ..Site::default()
    });
    let stamp = world.buy(1).remove(0);
    let stamped = forwarded(ALICE_IP).header("Postage-Stamp", stamp.to(BOB, ALICE));
    assert_eq!(result(&through_old(&world, &stamped)), "paid");
    is_asked(&through_old(&world, &forwarded(ALICE_IP)));
    world.end_daemon("TERM");
    world.json(&["wanted", &stamp.id()]);
    world.start_daemon();
    assert_eq!(result(&through_old(&world, &forwarded(ALICE_IP))), "known");
    is_asked(&through_old(&world, &forwarded(MALLORY_IP)));
    world.books_balance();
}

/// A letter that bob hands in by authenticated submission.
fn from_bob(recipients: &[&str], message_id: &str) -> Letter {
    let mut letter = Letter::new(BOB, recipients, "Lunch?").header("Message-ID", message_id);
    letter.macros.push((Stage::Mail, "{auth_authen}".into(), "bob".into()));
    letter
}

fn bounce(to: &str, returned: &str) -> Letter {
    let mut letter = Letter::new("mailer-daemon@m.example", &[to], "Undelivered Mail Returned to Sender")
        .header("Content-Type", "multipart/report; report-type=delivery-status; boundary=x")
        .body(format!("--x\r\n\r\nSorry.\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: {returned}\r\n\r\n--x--\r\n"));
    letter.sender = "<>".into();
    letter
}

#[test]
fn a_bounce_to_bobs_tagged_address_finds_what_he_sent() {
    let world = World::start(&Site::default());
    let tagged = "prvs=2150abcdef=bob@b.example";
    is_asked(&world.send(&bounce(tagged, "<1@b.example>")));
    let mut sent = from_bob(
        &["prvs=0123456789=nobody@m.example", "users-bounces+bob=b.example@lists.example"],
        "<1@b.example>",
    );
    sent.sender = format!("<{tagged}>");
    world.send(&sent);
    assert_eq!(result(&world.send(&bounce(tagged, "<1@b.example>"))), "known");
    is_asked(&world.send(&bounce(tagged, "<2@b.example>")));
    let book = world.json(&["known", "list"]);
    let senders: Vec<&str> = book.as_array().unwrap().iter().map(|e| e["sender"].as_str().unwrap()).collect();
    assert_eq!(senders, ["nobody@m.example"], "no address that is there for bounces alone");
    assert!(world.farthing(&["known", "block", ALICE, "--for", BOB]).status.success());
    let said = refusal(&world.send(&Letter::new(ALICE, &[tagged], "round the block")));
    assert!(said.ends_with("not accepted"), "{said}");
}

#[test]
fn a_tag_or_a_list_in_the_envelope_is_of_its_own_domain() {
    let world = world("");
    let sent_as = |sender: &str| {
        let mut letter = Letter::new(ALICE, &[BOB], "Lunch?");
        letter.sender = format!("<{sender}>");
        world.send(&letter)
    };
    assert_eq!(result(&sent_as("prvs=2150abcdef=alice@a.example")), "known");
    assert_eq!(result(&sent_as("news-bounces+bob=b.example@a.example")), "known");
    is_asked(&sent_as("SRS0=HHHH=5Z=a.example=alice@m.example"));
    is_asked(&sent_as("news-bounces+alice=a.example@m.example"));
}

#[test]
fn bounces_of_forwarded_mail_go_home_where_the_mta_answers_for_srs() {
    let abroad = "SRS0=HHHH=5Z=a.example=alice@b.example";
    let home = "SRS0=HHHH=5Z=b.example=bob@b.example";
    let plain = World::start(&Site::default());
    is_asked(&plain.send(&bounce(abroad, "<1@a.example>")));
    let world = World::start(&Site::gate("srs = true"));
    let away = world.send(&bounce(abroad, "<1@a.example>"));
    assert!(away.is_delivered() && away.changes.is_empty(), "{away:?}");
    is_asked(&world.send(&Letter::new("mallory@m.example", &[abroad], "no bounce")));
    is_asked(&world.send(&bounce(home, "<1@b.example>")));
    world.send(&from_bob(&["nobody@m.example"], "<1@b.example>"));
    assert_eq!(result(&world.send(&bounce(home, "<1@b.example>"))), "known");
}

#[test]
fn a_domain_of_ours_is_known_unless_the_site_says_otherwise() {
    for (setting, welcome) in [("", true), ("own_domains_known = false", false)] {
        let world = world(setting);
        world.zone.txt("b.example", format!("v=spf1 ip4:{ALICE_IP} -all"));
        let outcome = world.send(&Letter::new(CAROL, &[BOB], "from the branch office"));
        if welcome {
            assert_eq!(result(&outcome), "known")
        } else {
            is_asked(&outcome)
        }
        is_asked(&world.send_from(MALLORY_IP, &Letter::new(CAROL, &[BOB], "forged")));
        knows(&world, CAROL);
        assert_eq!(result(&world.send(&Letter::new(CAROL, &[BOB], "by Bob's own book"))), "known");
    }
}

#[test]
fn only_the_one_from_field_names_the_author() {
    let world = world("");
    let from = |values: &[&str]| {
        let mut letter = Letter::new("mallory@m.example", &[BOB], "Lunch?");
        letter.headers.retain(|(name, _)| name != "From");
        letter.sender = "<mallory@m.example>".into();
        for value in values {
            letter = letter.header("From", value);
        }
        letter
    };
    world.zone.txt("m.example", format!("v=spf1 ip4:{MALLORY_IP} -all"));
    // Mallory's own server: whatever he writes, he is not Alice.
    for letter in [
        from(&[ALICE]),
        from(&["\"alice@a.example\" <mallory@m.example>"]),
        from(&["<alice@a.example> <mallory@m.example>"]),
        from(&["alice@a.example (mallory@m.example)"]),
        from(&["=?utf-8?Q?alice=40a.example?="]),
        from(&["Friends: alice@a.example;"]),
        from(&["mallory@m.example, alice@a.example"]),
        from(&[ALICE, "mallory@m.example"]),
        from(&["mallory@m.example"]).header("Sender", ALICE),
        from(&["mallory@m.example"]).header("Reply-To", ALICE),
        from(&[]).header("Sender", ALICE),
    ] {
        is_asked(&world.send_from(MALLORY_IP, &letter));
    }
    // And Alice's server, where SPF passes for her.
    let mut both = from(&[ALICE, ALICE]);
    both.sender = format!("<{ALICE}>");
    is_asked(&world.send(&both));
    let mut named = from(&["\"mallory@m.example\" <alice@a.example>"]).header("Sender", "mallory@m.example");
    named.sender = format!("<{ALICE}>");
    assert_eq!(result(&world.send(&named)), "known");
}
