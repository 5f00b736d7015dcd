//! The daemon asked by somebody else's program: Debian's `miltertest`, one Lua script a story, in `tests/miltertest`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::{path::Path, process::Command};

use support::{ALICE, BOB, Bought, Site, World};

/// Runs a script against the world's daemon; it sees what is given as global variables.
fn miltertest(world: &World, script: &str, given: &[(&str, &str)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/miltertest");
    let mut command = Command::new("miltertest");
    command.current_dir(&folder).args(["-s", script]);
    let socket = format!("unix:{}", world.path("milter.sock").display());
    for (name, value) in [("socket", socket.as_str())].iter().chain(given) {
        command.args(["-D", &format!("{name}={value}")]);
    }
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run miltertest: {error}. This test needs it: apt-get install miltertest (tests/run does it)")
    });
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{script}: {}: {}", output.status, String::from_utf8_lossy(&said));
}

/// A stamp to Bob in one line, and the status that a letter with it gets.
fn stamp_and_status(stamp: &Bought) -> (String, String) {
    let line = stamp.to(BOB, ALICE).split_whitespace().collect::<Vec<_>>().join(" ");
    let status = format!(
        "mx.b.example; result=paid; rcpt={BOB}; value=2500; currency=USD; issuer=b.example; id={}",
        stamp.id()
    );
    (line, status)
}

#[test]
fn a_stranger_is_refused_at_the_end_of_the_header() {
    let world = World::start(&Site::default());
    miltertest(&world, "refused_at_the_end_of_the_header.lua", &[]);
    world.wait_for_log("queue_id=\"4STRANGER\"");
    world.wait_for_log("postage refused: malformed; postage of 0.25c required");
}

#[test]
fn a_stamped_letter_is_delivered_with_the_fields_on_top() {
    let world = World::start(&Site::default());
    let (stamp, status) = stamp_and_status(&world.buy(1)[0]);
    miltertest(&world, "delivered_with_our_fields_on_top.lua", &[("stamp", &stamp), ("status", &status)]);
    assert_eq!(world.balance("escrow:b.example"), 2_500);
}

#[test]
fn what_lacks_postage_is_held_with_its_reason() {
    let world = World::start(&Site::mode("hold"));
    miltertest(&world, "held_with_its_reason.lua", &[]);
}

#[test]
fn a_letter_given_up_in_between_costs_nothing() {
    let world = World::start(&Site::default());
    let (stamp, status) = stamp_and_status(&world.buy(1)[0]);
    miltertest(&world, "given_up_in_between.lua", &[("stamp", &stamp), ("status", &status)]);
    assert_eq!(world.balance("escrow:b.example"), 2_500, "paid once, at the end");
    world.books_balance();
}

#[test]
fn two_messages_on_one_connection_share_nothing() {
    let world = World::start(&Site::default());
    let (stamp, status) = stamp_and_status(&world.buy(1)[0]);
    let spent = format!(
        "<{BOB}>: postage refused: spent; postage of 0.25c required; see http://{}/p/{BOB}",
        world.office
    );
    let given = [("stamp", stamp.as_str()), ("status", &status), ("spent", &spent)];
    miltertest(&world, "two_messages_on_one_connection.lua", &given);
    assert_eq!(world.balance("escrow:b.example"), 2_500);
    world.books_balance();
}
