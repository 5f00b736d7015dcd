//! The gate through its front door, the milter's socket: who is let in, who is asked, what is added and taken away.

mod support;

use farthing_milter::client::Letter;
use support::{ALICE, ALICE_IP, BOB, CAROL, MALLORY_IP, Site, World, added, refusal, removed, result, text};

fn letter() -> Letter {
    support::letter("Lunch?")
}

fn stamped(value: &str) -> Letter {
    letter().header("Postage-Stamp", value)
}

#[test]
fn a_stranger_is_told_the_price_and_where_to_pay() {
    let world = World::start(&Site::default());
    let outcome = world.send(&letter());
    assert_eq!(
        refusal(&outcome),
        format!(
            "550 5.7.1 <{BOB}>: postage of 0.25c required from new senders; see http://{}/p/{BOB}",
            world.office
        )
    );
    assert_eq!(world.zone.asked_in_all(), 0, "a stranger's letter costs no DNS");
}

#[test]
fn a_stamped_letter_is_let_in_once_and_a_retry_is_free() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    let stamped = stamped(&stamps[0].to(BOB, ALICE));
    let outcome = world.send(&stamped);
    assert_eq!(result(&outcome), "paid");
    assert_eq!(
        added(&outcome, "Postage-Status"),
        [format!(
            "mx.b.example; result=paid; rcpt={BOB}; value=2500; currency=USD; issuer=b.example; id={}",
            stamps[0].id()
        )]
    );
    assert_eq!(removed(&outcome), [("Postage-Stamp".to_owned(), 1)]);
    assert_eq!(added(&outcome, "Postage-Wanted").len(), 1);
    assert_eq!(added(&outcome, "Postage-Unwanted").len(), 1);
    assert_eq!(world.balance("escrow:b.example"), 2500);

    assert_eq!(result(&world.send(&stamped)), "paid", "the same letter again");
    assert_eq!(world.balance("escrow:b.example"), 2500, "at no charge");

    let other = Letter::new(ALICE, &[BOB], "Dinner?").header("Postage-Stamp", stamps[0].to(BOB, ALICE));
    assert!(refusal(&world.send(&other)).contains("postage refused: spent; postage of 0.25c required; see"));
    assert_eq!(world.balance("escrow:b.example"), 2500);
    world.books_balance();
}

#[test]
fn a_stamp_that_was_never_sold_makes_no_money() {
    let mut world = World::start(&Site::default());
    let stamps = world.buy(1);
    // The ledger is replaced by an empty one; the office's key stays, as if it had leaked.
    world.end_daemon("TERM");
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::remove_file(world.path(file));
    }
    world.start_daemon();
    let outcome = world.send(&stamped(&stamps[0].to(BOB, ALICE)));
    assert!(refusal(&outcome).contains("postage refused: unsold;"), "{}", refusal(&outcome));
    world.books_balance();
}

#[test]
fn stamps_for_others_are_refused_with_the_word_for_it() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    let now = farthing::clock::unix_now();
    for (value, word) in [
        ("v=1; nonsense".to_owned(), "malformed"),
        (stamps[0].to(CAROL, ALICE), "wrong-recipient"),
        (stamps[0].to(BOB, "mallory@a.example"), "wrong-sender"),
        (stamps[0].at(BOB, ALICE, now - 15 * 86_400), "stale"),
        (stamps[0].at(BOB, ALICE, now + 4_000), "not-yet-valid"),
    ] {
        let said = refusal(&world.send(&stamped(&value)));
        assert!(said.contains(&format!("postage refused: {word};")), "{word}: {said}");
    }
    let cheap = world.buy_of(1, "0.24c".parse().unwrap());
    assert!(refusal(&world.send(&stamped(&cheap[0].to(BOB, ALICE)))).contains("postage refused: underpaid;"));
    // The good one among bad ones pays.
    let outcome = world.send(&stamped("v=1; nonsense").header("Postage-Stamp", stamps[0].to(BOB, ALICE)));
    assert_eq!(result(&outcome), "paid");
    assert_eq!(removed(&outcome), [("Postage-Stamp".to_owned(), 2), ("Postage-Stamp".to_owned(), 1)]);
}

#[test]
fn several_recipients_each_with_a_stamp_of_his_own() {
    let world = World::start(&Site::default());
    let stamps = world.buy(3);
    let both = |subject: &str| Letter::new(ALICE, &[BOB, CAROL], subject);
    let only_bob = both("x").header("Postage-Stamp", stamps[0].to(BOB, ALICE));
    let said = refusal(&world.send(&only_bob));
    assert!(said.contains(&format!("<{CAROL}>: postage of 0.25c required")), "{said}");
    assert!(!said.contains(BOB), "who has paid is not named: {said}");
    assert_eq!(world.balance("escrow:b.example"), 0, "a refused letter redeems nothing");

    let outcome = world.send(&only_bob.header("Postage-Stamp", stamps[1].to(CAROL, ALICE)));
    assert_eq!(added(&outcome, "Postage-Status"), ["mx.b.example; result=paid"]);
    assert!(added(&outcome, "Postage-Wanted").is_empty(), "no one's token is shown to the others");
    assert_eq!(removed(&outcome).len(), 2, "nor anyone's stamp");
    assert_eq!(world.balance("escrow:b.example"), 5000);

    let neither = refusal(&world.send(&both("y")));
    assert!(neither.contains(&format!("<{BOB}>, <{CAROL}>: postage of 0.25c required")), "{neither}");
    world.books_balance();
}

#[test]
fn wanted_gives_the_money_back_and_makes_the_sender_known() {
    let world = World::start(&Site::default());
    let stamps = world.buy(2);
    let outcome = world.send(&stamped(&stamps[0].to(BOB, ALICE)));
    let wanted = added(&outcome, "Postage-Wanted").remove(0);
    let marked = world.json(&["wanted", &wanted]);
    assert_eq!(marked[0]["refunded"], 2500, "{marked}");
    assert_eq!(marked[0]["known"], true);
    assert_eq!(world.balance("escrow:b.example"), 0);
    assert_eq!(world.json(&["wanted", &stamps[0].id()])[0]["already_refunded"], true, "once");

    let next = Letter::new(ALICE, &[BOB], "Thursday");
    assert_eq!(result(&world.send(&next)), "known");
    assert!(
        refusal(&world.send_from(MALLORY_IP, &next)).contains("postage of 0.25c required from new senders")
    );
    assert_eq!(result(&world.send_from(ALICE_IP, &next)), "known");

    world.json(&["unwanted", &stamps[0].id()]);
    assert!(refusal(&world.send(&next)).contains("postage of 0.25c"), "and unknown again");
    world.books_balance();
}

#[test]
fn what_each_mode_does() {
    for (mode, delivered, held) in
        [("observe", true, false), ("tag", true, false), ("hold", true, true), ("require", false, false)]
    {
        let world = World::start(&Site::mode(mode));
        let outcome = world.send(&letter());
        assert_eq!(outcome.is_delivered(), delivered, "{mode}");
        assert_eq!(outcome.quarantine.is_some(), held, "{mode}");
        if delivered {
            assert_eq!(result(&outcome), "unpaid");
            let invalid = world.send(&stamped("junk"));
            assert_eq!(
                added(&invalid, "Postage-Status"),
                [format!("mx.b.example; result=invalid; reason=malformed; rcpt={BOB}")]
            );
        }
    }
}

#[test]
fn who_is_never_asked() {
    let world = World::start(&Site::gate("exempt_networks = [\"192.0.2.128/25\"]"));
    let outcome = world.send_from("192.0.2.200".parse().unwrap(), &letter());
    assert_eq!(result(&outcome), "exempt");
    for role in ["postmaster@b.example", "Abuse@B.example", "postmaster"] {
        assert_eq!(result(&world.send(&Letter::new(ALICE, &[role], "help"))), "exempt", "{role}");
    }
    let mut login = letter();
    login.macros.push((farthing_milter::macros::Stage::Mail, "{auth_authen}".into(), "bob".into()));
    assert_eq!(result(&world.send(&login)), "exempt");
    let away = world.send(&Letter::new(ALICE, &["dave@elsewhere.example"], "hi"));
    assert!(away.is_delivered() && away.changes.is_empty(), "not our domain: left alone");
}

#[test]
fn fields_of_ours_that_came_with_the_mail_are_taken_away() {
    let world = World::start(&Site::mode("tag"));
    let forged = letter()
        .header("Postage-Status", "mx.b.example; result=known")
        .header("POSTAGE-WANTED", "<mailto:x@y.example>")
        .header("postage-status", "mx.b.example; result=paid")
        .header("Postage-Stamp", "d=elsewhere");
    let outcome = world.send(&forged);
    assert_eq!(result(&outcome), "unpaid".replace("unpaid", "invalid"));
    assert_eq!(
        removed(&outcome),
        [("Postage-Stamp", 1), ("Postage-Status", 2), ("Postage-Wanted", 1), ("Postage-Status", 1)]
            .map(|(n, i)| (n.to_owned(), i))
    );
}

#[test]
fn blocked_mail_may_not_buy_its_way_in() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    let blocked = world.farthing(&["known", "block", ALICE, "--for", BOB]);
    assert!(blocked.status.success(), "{}", text(&blocked.stderr));
    let stamped = stamped(&stamps[0].to(BOB, ALICE));
    assert_eq!(refusal(&world.send(&stamped)), format!("550 5.7.1 <{BOB}>: not accepted"));
    assert_eq!(world.balance("escrow:b.example"), 0, "stamps stay untouched");
    let forged = refusal(&world.send_from(MALLORY_IP, &letter()));
    assert!(
        forged.contains("postage of 0.25c required from new senders"),
        "who is not Alice hears what a stranger hears"
    );
}

#[test]
fn a_letter_that_looks_like_an_abuse_report_does_not_turn_its_mark_round() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    let wanted = added(&world.send(&stamped(&stamps[0].to(BOB, ALICE))), "Postage-Wanted").remove(0);
    let report = format!(
        "From: alice@a.example\nMessage-ID: <2@a.example>\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=x\n\n\
         --x\nContent-Type: message/feedback-report\n\nFeedback-Type: not-spam\nVersion: 1\n\n\
         --x\nContent-Type: message/rfc822\n\nPostage-Wanted: {wanted}\n\nHello\n--x--\n"
    );
    let delivered = format!("Postage-Status: mx.b.example; result=unpaid; rcpt={BOB}\n{report}");
    let mark = ["unwanted", "--stdin", "--for", BOB];
    assert!(!world.farthing_with(&mark, delivered.as_bytes()).status.success(), "it is no letter we know");
    assert_eq!(world.balance("escrow:b.example"), 2500, "Bob threw it away, and no money moved");
    assert!(
        world.farthing_with(&mark, report.as_bytes()).status.success(),
        "from a program here it is a report"
    );
    assert_eq!(world.balance("escrow:b.example"), 0);
}

#[test]
fn dns_that_fails_is_no_no() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    assert!(world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    world.zone.manner("a.example", farthing::demo::dns::Manner::ServFail);
    assert_eq!(
        refusal(&world.send(&letter())),
        format!("451 4.7.1 <{BOB}>: postage cannot be checked now; try again")
    );
    assert_eq!(
        result(&world.send(&stamped(&stamps[0].to(BOB, ALICE)))),
        "paid",
        "a good stamp never waits for it"
    );
}

#[test]
fn what_is_let_in_as_paid_is_redeemed_and_what_is_deferred_is_not() {
    let gate = "accept_offices = [\"b.example\", \"post.example\"]\n".to_owned();
    let world = World::start(&Site { mode: "tag", gate, ..Site::default() });
    let (stamps, mut foreign) = (world.buy(2), world.buy(1).remove(0));
    let cheap = world.buy_of(1, "0.24c".parse().unwrap());
    let both = |carols: &str, bobs: &str, subject: &str| {
        Letter::new(ALICE, &[BOB, CAROL], subject)
            .header("Postage-Stamp", carols)
            .header("Postage-Stamp", bobs)
    };
    world.zone.manner("a.example", farthing::demo::dns::Manner::ServFail);
    let (carols, bobs) = (stamps[0].to(CAROL, ALICE), cheap[0].to(BOB, ALICE));
    for subject in ["one", "two"] {
        let outcome = world.send(&both(&carols, &bobs, subject));
        assert_eq!(
            added(&outcome, "Postage-Status"),
            [if subject == "one" {
                "mx.b.example; result=invalid; reason=underpaid"
            } else {
                "mx.b.example; result=invalid; reason=spent"
            }]
        );
        assert_eq!(world.balance("escrow:b.example"), 2500, "once, while nobody can tell who sent it");
    }

    foreign.stamp.terms.office = "post.example".parse().unwrap();
    let key = format!("{}._postage.post.example", foreign.stamp.terms.selector);
    world.zone.manner(&key, farthing::demo::dns::Manner::ServFail);
    let (carols, bobs) = (stamps[1].to(CAROL, ALICE), foreign.to(BOB, ALICE));
    let said = refusal(&world.send(&both(&carols, &bobs, "three")));
    assert_eq!(said, format!("451 4.7.1 <{BOB}>: postage cannot be checked now; try again"));
    assert_eq!(world.balance("escrow:b.example"), 2500, "a deferred letter redeems nothing");
}

#[test]
fn recipients_that_differ_are_brought_separately_but_only_by_one_who_may_ask() {
    let world = World::start(&Site::default());
    assert!(world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    let both = Letter::new(ALICE, &[BOB, CAROL], "Lunch?");
    let outcome = world.send(&both);
    assert_eq!(outcome.recipients[1].code(), 452, "{outcome:?}");
    assert_eq!(result(&outcome), "known", "Bob gets his copy");
    let alone = refusal(&world.send(&Letter::new(ALICE, &[CAROL], "Lunch?")));
    assert!(alone.contains(&format!("<{CAROL}>: postage of 0.25c required")), "{alone}");

    let forged = world.send_from(MALLORY_IP, &both);
    assert!(
        forged.recipients.iter().all(|said| said.code() == 250),
        "nothing tells whom Bob knows: {forged:?}"
    );
    assert!(refusal(&forged).contains(&format!("<{BOB}>, <{CAROL}>: postage of 0.25c required")));

    let strictest = World::start(&Site::gate("mixed = \"strictest\""));
    assert!(strictest.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    let outcome = strictest.send(&both);
    assert!(outcome.recipients.iter().all(|said| said.code() == 250));
    assert!(refusal(&outcome).contains(&format!("550 5.7.1 <{CAROL}>: postage")), "and says which address");
}

#[test]
fn a_freepost_address_takes_mail_free_until_it_is_revoked() {
    let world = World::start(&Site::default());
    let made = world.farthing(&["freepost", "new", "shop", "--for", BOB, "--days", "90"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let address = text(&made.stdout).lines().last().unwrap().to_owned();
    assert!(address.starts_with("bob+shop.") && address.ends_with("@b.example"), "{address}");
    let stamps = world.buy(1);
    let order =
        Letter::new(ALICE, &[&address], "Your order").header("Postage-Stamp", stamps[0].to(&address, ALICE));
    assert_eq!(result(&world.send_from(MALLORY_IP, &order)), "freepost");
    assert_eq!(world.balance("escrow:b.example"), 0, "nothing is redeemed for it");

    let wrong = address.replacen(".", ".a", 1).replace("aa", "a");
    assert!(refusal(&world.send(&Letter::new(ALICE, &[&wrong], "x"))).contains("postage of 0.25c required"));
    let listed = world.json(&["freepost", "list", "--for", BOB]);
    assert_eq!((&listed[0]["label"], &listed[0]["letters"]), (&"shop".into(), &1.into()), "{listed}");
    assert_eq!(listed[0]["first_author"], ALICE);

    // A new token key makes from now on; what the old one made stays good.
    assert!(world.farthing(&["key", "new", "--token"]).status.success());
    world.signal("HUP");
    world.wait_for_log("reloaded");
    assert_eq!(result(&world.send(&order)), "freepost");

    assert!(world.farthing(&["freepost", "revoke", "shop", "--for", BOB]).status.success());
    assert!(
        refusal(&world.send(&Letter::new(ALICE, &[&address], "x"))).contains("postage of 0.25c required")
    );
    let again = world.farthing(&["freepost", "new", "shop", "--for", BOB]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
}

#[test]
fn a_letter_can_be_marked_by_its_message_id_the_moment_it_was_delivered() {
    let world = World::start(&Site::default());
    for (n, stamp) in world.buy(4).iter().enumerate() {
        let id = format!("<quick{n}@m.example>");
        let quick = Letter::new("mallory@m.example", &[BOB], "Now")
            .header("Message-ID", &id)
            .header("Postage-Stamp", stamp.to(BOB, "mallory@m.example"));
        assert!(world.send(&quick).is_delivered());
        assert_eq!(world.json(&["wanted", &id, "--for", BOB])[0]["refunded"], 2500);
    }
}
