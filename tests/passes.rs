//! Passes: what a refused sender got on the page lets in one letter of his, once it is authenticated.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use farthing::{
    clock::unix_now,
    demo::dns::Manner,
    ledger::{
        Ledger as _,
        passes::{Got, NewPass, PassMade, Passes as _},
    },
    stamp::CancelledStamp,
};
use farthing_milter::client::Letter;
use support::{
    ALICE, BOB, Bought, CAROL, MALLORY_IP, Site, World, added, block_on, letter, random, refusal, removed,
    result,
};

fn add(world: &World, recipient: &str, got: Got) {
    let pass = NewPass {
        now: unix_now(),
        author: ALICE.parse().unwrap(),
        recipient: recipient.parse().unwrap(),
        got,
    };
    block_on(async {
        let ledger = world.ledger();
        assert!(matches!(ledger.pass_add(pass).await.unwrap(), PassMade::Until(_)));
        ledger.close().await;
    });
}

fn work_for(world: &World, recipient: &str) {
    add(world, recipient, Got::Work(random()));
}

fn pay_for(world: &World, recipient: &str, bought: &Bought) {
    let field = bought.to(recipient, ALICE).into_bytes();
    let stamp = CancelledStamp::parse(&field).unwrap();
    add(world, recipient, Got::Stamp(stamp.stamp.candidate(true), field));
}

#[test]
fn a_worked_pass_lets_in_one_letter_of_its_author() {
    let world = World::start(&Site::default());
    work_for(&world, BOB);
    assert_eq!(world.zone.asked_in_all(), 0);
    let forged = refusal(&world.send_from(MALLORY_IP, &letter("forged")));
    let page = world.office;
    let stranger =
        format!("550 5.7.1 <{BOB}>: postage of 0.25c required from new senders; see http://{page}/p/{BOB}");
    assert_eq!(forged, stranger, "word for word what a stranger hears");

    let outcome = world.send(&letter("one"));
    assert_eq!(added(&outcome, "Postage-Status"), ["mx.b.example; result=work; rcpt=bob@b.example"]);
    assert_eq!(result(&world.send(&letter("one"))), "work", "the same letter again");
    assert_eq!(refusal(&world.send(&letter("two"))), stranger, "it is used");
    let to_carol = Letter::new(ALICE, &[CAROL], "three");
    assert!(refusal(&world.send(&to_carol)).contains("postage of 0.25c required"), "another's pass");
}

#[test]
fn a_bought_pass_pays_as_a_stamp_does() {
    let world = World::start(&Site::default());
    let bought = world.buy(1).remove(0);
    pay_for(&world, BOB, &bought);
    assert_eq!(world.balance("stamps"), 2500, "it waits");
    let outcome = world.send(&letter("one"));
    let status = format!(
        "mx.b.example; result=paid; rcpt={BOB}; value=2500; currency=USD; issuer=b.example; id={}",
        bought.id()
    );
    assert_eq!(added(&outcome, "Postage-Status"), [status]);
    assert!(removed(&outcome).is_empty(), "nothing came with the letter");
    assert_eq!(world.balance("escrow:b.example"), 2500);
    assert_eq!(result(&world.send(&letter("one"))), "paid", "a retry is free");
    assert!(refusal(&world.send(&letter("two"))).contains("postage of 0.25c required from new senders"));
    let wanted = added(&outcome, "Postage-Wanted").remove(0);
    assert_eq!(world.json(&["wanted", &wanted])[0]["refunded"], 2500);
    assert_eq!(world.balance("escrow:b.example"), 0);
    assert_eq!(result(&world.send(&letter("three"))), "known", "by what was wanted");
    world.books_balance();
}

#[test]
fn a_pass_makes_up_for_postage_that_does_not_pay() {
    let world = World::start(&Site::default());
    let bought = world.buy(2);
    let spent = |subject| letter(subject).header("Postage-Stamp", bought[0].to(BOB, ALICE));
    assert_eq!(result(&world.send(&spent("one"))), "paid");
    assert!(refusal(&world.send(&spent("two"))).contains("postage refused: spent;"));
    pay_for(&world, BOB, &bought[1]);
    assert_eq!(result(&world.send(&spent("two"))), "paid", "as the refusal told");
    assert!(refusal(&world.send(&spent("three"))).contains("postage refused: spent;"));
}

#[test]
fn a_refused_letter_uses_no_pass_and_a_blocked_sender_has_none() {
    let world = World::start(&Site::default());
    work_for(&world, BOB);
    let both = Letter::new(ALICE, &[BOB, CAROL], "both");
    assert!(refusal(&world.send(&both)).contains("<carol@b.example>: postage of 0.25c required"));
    assert!(world.farthing(&["known", "block", ALICE, "--for", BOB]).status.success());
    assert_eq!(refusal(&world.send(&letter("one"))), format!("550 5.7.1 <{BOB}>: not accepted"));
    assert!(world.farthing(&["known", "remove", ALICE, "--for", BOB]).status.success());
    assert_eq!(result(&world.send(&letter("one"))), "work");
}

#[test]
fn a_price_of_ones_own_is_asked_of_a_bought_pass_too() {
    let world = World::start(&Site::default());
    assert!(world.farthing(&["settings", "price", "1c", "--for", BOB]).status.success());
    pay_for(&world, BOB, &world.buy(1)[0]);
    let said = refusal(&world.send(&letter("one")));
    assert!(said.contains("postage refused: underpaid; postage of 1c required; see"), "{said}");
    let forged = refusal(&world.send_from(MALLORY_IP, &letter("one")));
    assert!(forged.contains("postage of 0.25c required from new senders"), "{forged}");
    pay_for(&world, BOB, &world.buy_of(1, "1c".parse().unwrap())[0]);
    assert_eq!(result(&world.send(&letter("one"))), "paid");
    assert_eq!(world.balance("escrow:b.example"), 10_000);
    // A low price of one's own is taken in silence.
    assert!(world.farthing(&["settings", "price", "0.1c", "--for", BOB]).status.success());
    pay_for(&world, BOB, &world.buy_of(1, "0.1c".parse().unwrap())[0]);
    assert_eq!(result(&world.send(&letter("two"))), "paid", "0.25c was waiting still");
    assert_eq!(result(&world.send(&letter("three"))), "paid");
    let said = refusal(&world.send(&letter("four")));
    assert!(said.contains("postage of 0.25c required from new senders"), "{said}");
}

#[test]
fn while_dns_is_silent_a_pass_is_not_refused() {
    let world = World::start(&Site::default());
    work_for(&world, BOB);
    world.zone.manner("a.example", Manner::ServFail);
    assert_eq!(
        refusal(&world.send(&letter("one"))),
        format!("451 4.7.1 <{BOB}>: postage cannot be checked now; try again")
    );
    world.zone.manner("a.example", Manner::Records);
    assert_eq!(result(&world.send(&letter("one"))), "work");
}

#[test]
fn a_pass_and_what_it_let_in_survive_the_daemon() {
    let mut world = World::start(&Site::default());
    work_for(&world, BOB);
    world.end_daemon("KILL");
    world.start_daemon();
    assert_eq!(result(&world.send(&letter("one"))), "work");
    world.end_daemon("KILL");
    world.start_daemon();
    assert_eq!(result(&world.send(&letter("one"))), "work", "a retry");
    assert!(refusal(&world.send(&letter("two"))).contains("postage of 0.25c required"));
    world.books_balance();
}
