//! Two daemons on one ledger, as while a new one starts beside the old one: every mail goes once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use farthing::{
    clock::unix_now,
    ledger::{
        Ledger as _,
        duty::Duty as _,
        outbox::{AnswerAbout, Outbox as _},
        sqlite::SqliteLedger,
    },
    outgoing::Courier,
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    desk::Desk,
    sink::Sink,
    support::{PATIENCE, Site, World, block_on, wait_until},
};

/// A courier at work.
struct Daemon {
    ledger: Arc<SqliteLedger>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn started((ledger, courier): (Arc<SqliteLedger>, Courier)) -> Daemon {
    let (stop, stopped) = watch::channel(false);
    Daemon { ledger, stop, task: tokio::spawn(courier.run(stopped)) }
}

async fn answer_by(ledger: &SqliteLedger, to: &str) {
    let about = AnswerAbout {
        from: "postage@b.example".parse().unwrap(),
        subject: "Re: list".into(),
        in_reply_to: None,
    };
    ledger.answer(&to.parse().unwrap(), about, "done\n".into(), unix_now()).await.unwrap();
}

/// Waits until nothing is left to hand in.
async fn empty(ledger: &SqliteLedger) {
    let waiting = async {
        loop {
            // Of one look: an answer becomes a mail.
            let state = ledger.outbox_state().await.unwrap();
            if state.mails + state.answers == 0 {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("an empty queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_hand_each_mail_in_once_and_the_other_goes_on_when_one_ends() {
    let sink = Sink::start();
    let desk = Desk::new(&sink.url());
    for number in 0..20 {
        desk.answer(&format!("user{number}@b.example"), "list", unix_now()).await;
    }
    let (first, second) = (started(desk.beside()), started(desk.beside()));
    empty(&desk.ledger).await;
    let recipients = || sink.taken().into_iter().flat_map(|mail| mail.to).collect::<Vec<_>>();
    assert_eq!(recipients().len(), 20, "{:?}", recipients());
    // One is told to end, and one ends without a word; whichever had the duty, it goes on.
    first.stop.send(true).unwrap();
    first.task.await.unwrap();
    answer_by(&second.ledger, "user20@b.example").await;
    empty(&desk.ledger).await;
    second.task.abort();
    drop((second.task.await, first.ledger, second.ledger));
    desk.answer("user21@b.example", "list", unix_now()).await;
    let third = started(desk.beside());
    empty(&desk.ledger).await;
    assert_eq!(recipients().into_iter().collect::<HashSet<_>>().len(), 22);
    assert_eq!(recipients().len(), 22, "each once");
    assert!(!desk.ledger.take_duty().await.unwrap(), "the third one has it");
    third.stop.send(true).unwrap();
    third.task.await.unwrap();
    assert!(desk.ledger.take_duty().await.unwrap());
}

#[test]
fn a_daemon_that_was_killed_leaves_nothing_for_the_next_to_wait_for() {
    let sink = Sink::start();
    let site = Site { more: format!("[commands]\nsmtp = \"{}\"\n", sink.url()), ..Site::default() };
    let mut world = World::start(&site);
    let queue = |world: &World, to| {
        block_on(async {
            let ledger = world.ledger();
            answer_by(&ledger, to).await;
            ledger.close().await;
        });
    };
    let _ = world.end_daemon("TERM");
    for to in ["bob@b.example", "carol@b.example"] {
        queue(&world, to);
        world.start_daemon();
        wait_until("his mail", || sink.taken().iter().any(|mail| mail.to == [to]));
        let _ = world.end_daemon("KILL");
    }
    assert!(!world.log().contains("another daemon"), "{}", world.log());
}
