//! Work instead of money: `farthing work` and the `hashcash` program make stamps for each other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a fault here fails the test, as it should

mod support;

use std::process::Command;

use farthing_milter::client::Letter;
use support::{ALICE, BOB, Site, World, refusal, result, text};

const FARTHING: &str = env!("CARGO_BIN_EXE_farthing");

fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

#[test]
fn the_hashcash_program_takes_what_farthing_made() {
    let long = "a.very.very.very.very.long.local.part.indeed@averyveryveryveryverylongdomain.b.example";
    for recipient in [BOB, "bob+shop@b.example", long] {
        let stamp = printed(FARTHING, &["work", "--to", recipient, "--bits", "12"]);
        assert_eq!(stamp.lines().count(), 1, "nothing but the stamp where nobody looks on: {stamp}");
        printed("hashcash", &["-c", "-y", "-b", "12", "-S", "-r", recipient, &stamp]);
        let more =
            Command::new("hashcash").args(["-c", "-y", "-b", "60", "-S", "-r", recipient, &stamp]).output();
        assert!(!more.unwrap().status.success(), "or the check means nothing");
    }
}

#[test]
fn the_gate_takes_what_both_made() {
    let world = World::start(&Site::gate("work_bits = 12"));
    let ours = printed(FARTHING, &["work", "--to", BOB, "--bits", "12", "--header"]);
    let theirs = printed("hashcash", &["-m", "-q", "-u", "-X", "-b", "12", BOB]);
    for (n, field) in [ours, theirs].iter().enumerate() {
        let (name, value) = field.split_once(": ").unwrap();
        let letter = |subject: &str| Letter::new(ALICE, &[BOB], subject).header(name, value);
        assert_eq!(result(&world.send(&letter(&format!("first {n}")))), "work", "{field}");
        assert!(
            refusal(&world.send(&letter(&format!("again {n}")))).starts_with("550"),
            "it is spent: {field}"
        );
    }
}

#[test]
fn the_domain_says_how_many_bits_it_takes() {
    let world = World::without_daemon(&Site::default());
    let work = || world.farthing(&["work", "--to", BOB]);
    let no = |said: &str| {
        let output = work();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    };
    no("says nothing of postage");
    world.zone.txt("_postage.b.example", "v=postage1; c=USD; n=2500; i=b.example; w=11");
    let stamp = text(&work().stdout);
    assert!(stamp.starts_with("1:11:"), "{stamp}");
    let json = world.json(&["work", "--to", BOB, "--bits", "9"]);
    assert_eq!((&json["to"], &json["bits"]), (&BOB.into(), &9.into()));
    assert!(json["stamp"].as_str().is_some_and(|stamp| stamp.starts_with("1:9:")), "{json}");
    world.zone.remove("_postage.b.example");
    world.zone.txt("_postage.b.example", "v=postage1; c=USD; n=2500; i=b.example");
    no("takes no work");
}

#[test]
fn what_cannot_be_minted_is_said_at_once() {
    let world = World::without_daemon(&Site::default());
    for (to, bits, code) in
        [("\"a:b\"@b.example", "4", 65), (BOB, "41", 64), (BOB, "0", 64), ("bob", "4", 64)]
    {
        let output = world.farthing(&["work", "--to", to, "--bits", bits]);
        assert_eq!(output.status.code(), Some(code), "{to} {bits}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && text(&output.stderr).lines().count() == 1);
    }
}
