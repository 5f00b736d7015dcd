//! The daemon itself: it sends what it finds in the ledger, is killed in the middle, and shows what waits.

use farthing::{
    clock::unix_now,
    ledger::{
        Ledger as _,
        outbox::{AnswerAbout, Outbox as _},
    },
};

use crate::{
    sink::{HANG_UP, Sink},
    support::{BOB, Site, World, block_on, wait_until},
};

/// A site whose mail goes to this smarthost.
fn site(smarthost: &str) -> Site {
    Site { more: format!("[commands]\nsmtp = \"{smarthost}\"\n"), ..Site::default() }
}

fn answer(world: &World, to: &str, subject: &str) {
    block_on(async {
        let ledger = world.ledger();
        let about = AnswerAbout {
            from: "postage@b.example".parse().unwrap(),
            subject: subject.into(),
            in_reply_to: None,
        };
        ledger.answer(&to.parse().unwrap(), about, "done\n".into(), unix_now()).await.unwrap();
        ledger.close().await;
    });
}

fn outgoing(world: &World) -> (bool, String) {
    let output = world.farthing(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = status["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "outgoing mail").unwrap();
    (check["ok"].as_bool().unwrap(), check["detail"].as_str().unwrap().to_owned())
}

#[test]
fn a_daemon_killed_between_handing_over_and_noting_it_sends_the_same_mail_again() {
    let sink = Sink::start();
    let mut world = World::without_daemon(&site(&sink.url()));
    answer(&world, BOB, "Re: list");
    // The smarthost has the mail, and its answer never comes.
    sink.say(".", HANG_UP);
    world.start_daemon();
    wait_until("the mail at the smarthost", || !sink.taken().is_empty());
    let _ = world.end_daemon("KILL");
    sink.say_nothing_else();
    world.start_daemon();
    world.wait_for_log("mail of ours was handed in");
    let taken = sink.taken();
    assert!(taken.len() >= 2);
    assert!(taken.iter().all(|mail| *mail == taken[0]), "one Message-ID: {taken:#?}");
    assert_eq!(outgoing(&world), (true, "nothing waits".into()));
    let count = taken.len();
    assert!(world.end_daemon("TERM").success());
    world.start_daemon();
    assert_eq!(sink.taken().len(), count, "and not again");
}

#[test]
fn what_waits_is_shown_and_goes_when_the_smarthost_is_back() {
    let sink = Sink::start();
    let address = sink.address;
    let mut world = World::without_daemon(&site(&sink.url()));
    drop(sink);
    answer(&world, BOB, "Re: list");
    world.start_daemon();
    world.wait_for_log("our mail cannot be handed in; it waits");
    wait_until("the error in the ledger", || !outgoing(&world).0);
    let (_, detail) = outgoing(&world);
    assert!(detail.starts_with("1 to hand in, 0 answers held back"), "{detail}");
    assert!(detail.contains(&format!("does smtp://{address} take mail")), "{detail}");
    let sink = Sink::start_at(address);
    wait_until("the mail at the smarthost", || sink.taken().len() == 1);
    world.wait_for_log("our mail can be handed in again");
    wait_until("an empty queue", || outgoing(&world) == (true, "nothing waits".into()));
    assert!(world.end_daemon("TERM").success());
}

#[test]
fn a_reload_names_another_smarthost() {
    let (first, second) = (Sink::start(), Sink::start());
    first.say("RCPT", "450 4.2.0 not now");
    let mut world = World::without_daemon(&site(&first.url()));
    answer(&world, BOB, "Re: one");
    world.start_daemon();
    world.wait_for_log("mail of ours was put off");
    world.configure(&site(&second.url()));
    world.reload();
    answer(&world, "carol@b.example", "Re: two");
    let _ = world.end_daemon("TERM");
    world.start_daemon();
    wait_until("Carol's mail", || second.taken().len() == 1);
    assert_eq!(second.taken()[0].to, ["carol@b.example"]);
    assert_eq!(first.taken(), []);
}
