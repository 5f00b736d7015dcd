//! The server with the client of this crate at its door: limits, faults of one session, the stop.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::time::{Duration, Instant};

use farthing_milter::address::{Client, ClientAddress};
use farthing_milter::client::{Change, ClientError, FULL_OFFER, Letter, Manner, MtaClient, Said};
use farthing_milter::macros::Stage;
use farthing_milter::negotiate::{Actions, Offer, Steps};
use farthing_milter::server::{Limits, Listen, Server};
use farthing_milter::verdict::{BodyReply, Delivery};
use support::filter::{Act, Filter, Journal, Plan, Scripted, refuse};

fn stranger() -> Client {
    Client { host: b"mx.a.example".to_vec(), address: ClientAddress::parse(b"192.0.2.1"), port: 40_000 }
}

async fn client(filter: &Filter, manner: Manner) -> MtaClient {
    let mut client = MtaClient::connect(&filter.addresses[0], FULL_OFFER, manner).await.unwrap();
    assert_eq!(client.greet(&stranger(), "a.example").await.unwrap(), Said::Continue);
    client
}

fn letter(subject: &str) -> Letter {
    Letter::new("ann@a.example", &["bob@b.example"], subject)
}

#[tokio::test]
async fn a_message_goes_through_every_stage_in_both_manners() {
    for (manner, queue_id_at) in [(Manner::Postfix, "DATA i="), (Manner::Sendmail, "MAIL <ann@a.example> i=")]
    {
        let filter = Filter::start(Plan::default());
        let mut mta = client(&filter, manner).await;
        for _ in 0..3 {
            let outcome = mta.deliver(&letter("hello")).await.unwrap();
            assert!(outcome.is_delivered(), "{outcome:?}");
        }
        mta.quit().await.unwrap();
        filter.journal.wait_for("CLOSE", 1);
        let lines = filter.journal.session(1);
        assert_eq!(lines.iter().filter(|line| line.contains(queue_id_at)).count(), 3, "{lines:#?}");
        let stages: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        let message = ["MAIL", "RCPT", "DATA", "HEADER", "HEADER", "EOH", "BODY", "EOM"];
        let expected = [&["OPEN", "CONNECT", "HELO"][..], &message, &message, &message, &["CLOSE"]].concat();
        assert_eq!(stages, expected, "no ABORT: every message had its verdict");
    }
}

#[tokio::test]
async fn pitfall_28_clients_can_connect_as_soon_as_the_server_is_bound() {
    let server = Server::bind(&["inet:127.0.0.1:0".parse().unwrap()], Limits::default()).await.unwrap();
    let address = server.addresses().remove(0);
    let mut early = MtaClient::connect_only(&address, FULL_OFFER, Manner::Postfix).await.unwrap();
    let service = Scripted { plan: Plan::default(), journal: Journal::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(service, async { drop(stopped.await) }));
    early.negotiate().await.unwrap();
    stop.send(()).unwrap();
    assert_eq!(serving.await.unwrap().sessions, 1);
}

#[tokio::test]
async fn unanswered_stages_take_no_answer_and_the_verdict_still_comes() {
    let all = Steps::NR_CONNECT
        | Steps::NR_HELO
        | Steps::NR_MAIL
        | Steps::NR_RCPT
        | Steps::NR_DATA
        | Steps::NR_HEADER
        | Steps::NR_END_OF_HEADERS
        | Steps::NR_BODY;
    for manner in [Manner::Postfix, Manner::Sendmail] {
        let plan = Plan::default().steps(all).rule("Subject:no", refuse(550, "5.7.1", "no"));
        let filter = Filter::start(plan);
        let mut mta = client(&filter, manner).await;
        let good = mta.deliver(&letter("yes")).await.unwrap();
        let bad = mta.deliver(&letter("no")).await.unwrap();
        let again = mta.deliver(&letter("yes")).await.unwrap();
        assert!(good.is_delivered() && again.is_delivered());
        assert_eq!((bad.stage, bad.said), (Stage::EndOfMessage, Said::Reply("550 5.7.1 no".into())));
    }
}

#[tokio::test]
async fn pitfall_04_a_client_of_an_old_version_is_served_whole() {
    for version in 2..=7 {
        let filter =
            Filter::start(Plan::default().need(Actions::ADD_HEADERS).steps(Steps::SKIP | Steps::NR_HEADER));
        let offer = Offer { version, actions: Actions::from_bits(0x3F), steps: Steps::from_bits(0x7F) };
        let mut mta = MtaClient::connect(&filter.addresses[0], offer, Manner::Sendmail).await.unwrap();
        assert_eq!(mta.terms().version, version.min(6));
        assert_eq!(mta.terms().steps, Steps::NONE);
        mta.greet(&stranger(), "a.example").await.unwrap();
        assert!(mta.deliver(&letter("hello")).await.unwrap().is_delivered());
    }
}

#[tokio::test]
async fn pitfall_04_an_mta_that_does_not_allow_what_is_needed_is_hung_up_on() {
    let filter = Filter::start(Plan::default().need(Actions::QUARANTINE));
    for (version, actions) in [(6, 0x1F), (6, 0), (1, 0x1FF), (0, 0)] {
        let offer = Offer { version, actions: Actions::from_bits(actions), steps: Steps::NONE };
        let refused = MtaClient::connect(&filter.addresses[0], offer, Manner::Postfix).await;
        assert!(matches!(refused, Err(ClientError::HungUp)), "{refused:?}");
    }
}

#[tokio::test]
async fn pitfall_15_skip_is_said_only_where_it_was_offered() {
    for offered in [FULL_OFFER.steps, FULL_OFFER.steps.without(Steps::SKIP)] {
        let plan = Plan { body: BodyReply::Skip, ..Plan::default().steps(Steps::SKIP) };
        let filter = Filter::start(plan);
        let offer = Offer { steps: offered, ..FULL_OFFER };
        let mut mta = MtaClient::connect(&filter.addresses[0], offer, Manner::Sendmail).await.unwrap();
        mta.greet(&stranger(), "a.example").await.unwrap();
        for _ in 0..2 {
            let outcome = mta.deliver(&letter("long").body(vec![b'x'; 200_000])).await.unwrap();
            assert!(outcome.is_delivered());
        }
        assert_eq!(
            filter.journal.count("BODY"),
            2,
            "one piece a message: the rest is swallowed where it cannot be skipped"
        );
    }
}

#[tokio::test]
async fn pitfall_15_the_end_of_message_may_bring_the_last_of_the_body() {
    let filter = Filter::start(Plan::default());
    let mut mta = client(&filter, Manner::Sendmail).await;
    mta.send_raw(b"\0\0\0\x0bM<a@a.ex>\0\0").await.unwrap();
    assert_eq!(mta.read_raw().await.unwrap().0, b'c');
    mta.send_raw(b"\0\0\0\x07Elast\r\n").await.unwrap();
    assert_eq!(mta.read_raw().await.unwrap().0, b'c');
    assert_eq!(filter.journal.count("BODY 6 bytes last"), 1);
    assert_eq!(filter.journal.count("EOM"), 1);
}

#[tokio::test]
async fn pitfall_17_one_recipient_is_refused_and_the_others_stay() {
    let filter = Filter::start(Plan::default().rule("RCPT <eve@", refuse(550, "5.1.1", "no such user")));
    let mut mta = client(&filter, Manner::Postfix).await;
    let recipients = ["bob@b.example", "eve@b.example", "kim@b.example"];
    let outcome = mta.deliver(&Letter::new("ann@a.example", &recipients, "hello")).await.unwrap();
    let codes: Vec<_> = outcome.recipients.iter().map(Said::code).collect();
    assert_eq!(codes, [250, 550, 250]);
    assert!(outcome.is_delivered());

    let outcome = mta.deliver(&Letter::new("ann@a.example", &["eve@b.example"], "hello")).await.unwrap();
    assert_eq!((outcome.stage, outcome.said.code()), (Stage::Rcpt, 550));
    mta.quit().await.unwrap();
    filter.journal.wait_for("CLOSE", 1);
    assert_eq!(
        filter.journal.count("ABORT"),
        1,
        "a message all of whose recipients were refused is over undecided"
    );
}

#[tokio::test]
async fn pitfall_20_a_slow_verdict_keeps_the_mta_patient_and_too_slow_a_one_is_a_temporary_failure() {
    let limits = Limits {
        progress: Duration::from_millis(100),
        verdict: Duration::from_millis(1_000),
        answer: Duration::from_millis(300),
        ..Limits::default()
    };
    let plan = Plan { limits, ..Plan::default() }
        .rule("EOM i=SLOW", Act::Take(Duration::from_millis(550)))
        .rule("EOM i=STUCK", Act::Take(Duration::from_secs(3_600)))
        .rule("MAIL <stuck@", Act::Take(Duration::from_secs(3_600)));
    let filter = Filter::start(plan);
    let mut mta = client(&filter, Manner::Sendmail).await;
    let send = async |mta: &mut MtaClient, id: &str| {
        mta.deliver(&Letter { queue_id: id.into(), ..letter("hello") }).await.unwrap()
    };
    let slow = send(&mut mta, "SLOW").await;
    assert!(slow.is_delivered());
    assert!((3..=5).contains(&slow.progress), "{slow:?}");

    let stuck = send(&mut mta, "STUCK").await;
    assert_eq!(stuck.said.code(), 451, "{stuck:?}");
    assert_eq!(filter.journal.count("EOM DONE"), 1);
    assert_eq!(filter.journal.count("ABORT"), 1, "the handler is told that its message is over");

    let mail = mta.deliver(&Letter::new("stuck@a.example", &["bob@b.example"], "x")).await.unwrap();
    assert_eq!((mail.stage, mail.said.code()), (Stage::Mail, 451));
    assert_eq!(mail.progress, 0, "patience is never asked for elsewhere");
    assert_eq!(filter.journal.count("ABORT"), 2);

    assert!(send(&mut mta, "QUICK").await.is_delivered(), "the session goes on");
}

#[tokio::test]
async fn pitfall_25_a_panic_ends_one_session_and_no_other() {
    let filter = Filter::start(Plan::default().rule("Subject:boom", Act::Panic));
    let mut other = client(&filter, Manner::Postfix).await;
    let mut mta = client(&filter, Manner::Postfix).await;
    assert!(other.deliver(&letter("one")).await.unwrap().is_delivered());
    let broken = mta.deliver(&letter("boom")).await;
    assert!(matches!(broken, Err(ClientError::HungUp | ClientError::Io(_))), "{broken:?}");
    assert!(other.deliver(&letter("two")).await.unwrap().is_delivered());
    assert!(client(&filter, Manner::Postfix).await.deliver(&letter("three")).await.unwrap().is_delivered());
}

#[tokio::test]
async fn pitfall_27_one_connection_too_many_is_closed_at_once() {
    let plan = Plan { limits: Limits { connections: 2, ..Limits::default() }, ..Plan::default() };
    let filter = Filter::start(plan);
    let first = client(&filter, Manner::Postfix).await;
    let _second = client(&filter, Manner::Postfix).await;
    let start = Instant::now();
    let third = MtaClient::connect(&filter.addresses[0], FULL_OFFER, Manner::Postfix).await;
    assert!(matches!(third, Err(ClientError::HungUp | ClientError::Io(_))), "{third:?}");
    assert!(start.elapsed() < Duration::from_secs(2));
    first.quit().await.unwrap();
    filter.journal.wait_for("CLOSE", 1);
    // The place is free once the server has seen the end, a moment after the handler has.
    let end = Instant::now() + Duration::from_secs(10);
    while MtaClient::connect(&filter.addresses[0], FULL_OFFER, Manner::Postfix).await.is_err() {
        assert!(Instant::now() < end, "the place of a session that ended stays taken");
    }
}

#[tokio::test]
async fn pitfall_24_a_stop_finishes_the_message_in_hand_and_takes_no_other() {
    let plan = Plan::default().rule("EOM", Act::Take(Duration::from_millis(500)));
    let mut filter = Filter::start(plan);
    let mut idle = client(&filter, Manner::Postfix).await;
    let mut busy = client(&filter, Manner::Postfix).await;
    let journal = filter.journal.clone();
    let address = filter.addresses[0].clone();
    let delivering = tokio::spawn(async move { busy.deliver(&letter("in hand")).await });
    tokio::task::spawn_blocking(move || journal.wait_for("EOM", 1)).await.unwrap();
    filter.begin_stop();
    let outcome = delivering.await.unwrap().unwrap();
    assert!(outcome.is_delivered(), "{outcome:?}");
    assert!(idle.deliver(&letter("after")).await.is_err(), "an idle connection is closed");
    let refused = MtaClient::connect(&address, FULL_OFFER, Manner::Postfix).await;
    assert!(matches!(refused, Err(ClientError::Io(_))), "{refused:?}");
    let summary = tokio::task::spawn_blocking(move || filter.stop()).await.unwrap();
    assert_eq!((summary.sessions, summary.cut), (2, 0));
}

#[tokio::test]
async fn pitfall_24_a_stop_cuts_what_is_not_finished_in_time() {
    let limits = Limits { drain: Duration::from_millis(200), ..Limits::default() };
    let filter =
        Filter::start(Plan { limits, ..Plan::default() }.rule("EOM", Act::Take(Duration::from_secs(3_600))));
    let mut busy = client(&filter, Manner::Postfix).await;
    let journal = filter.journal.clone();
    let delivering = tokio::spawn(async move { busy.deliver(&letter("in hand")).await });
    tokio::task::spawn_blocking(move || journal.wait_for("EOM", 1)).await.unwrap();
    let start = Instant::now();
    let summary = tokio::task::spawn_blocking(move || filter.stop()).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(summary.cut, 1);
    assert!(delivering.await.unwrap().is_err(), "no verdict was given");
}

#[tokio::test]
async fn a_unix_socket_serves_and_goes_when_the_server_stops() {
    let directory = support::postfix::open_directory();
    let path = directory.path().join("m.sock");
    let filter =
        Filter::start_on(Plan::default(), vec![Listen::unix(&path), "inet:127.0.0.1:0".parse().unwrap()]);
    for (number, address) in filter.addresses.clone().iter().enumerate() {
        let mut mta = MtaClient::connect(address, FULL_OFFER, Manner::Postfix).await.unwrap();
        mta.greet(&stranger(), "a.example").await.unwrap();
        assert!(mta.deliver(&letter("hello")).await.unwrap().is_delivered());
        assert_eq!(filter.journal.count(&format!("OPEN listener={number}")), 1);
    }
    filter.stop();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_slow_or_silent_client_is_hung_up_on() {
    let short = Duration::from_millis(200);
    let limits = Limits { first_packet: short, mid_frame: short, idle: short, ..Limits::default() };
    let filter = Filter::start(Plan { limits, ..Plan::default() });
    let address = filter.addresses[0].clone();
    let mut silent = MtaClient::connect_only(&address, FULL_OFFER, Manner::Postfix).await.unwrap();
    assert!(matches!(silent.read_raw().await, Err(ClientError::HungUp)));
    let mut half = MtaClient::connect(&address, FULL_OFFER, Manner::Postfix).await.unwrap();
    half.send_raw(b"\0\0\0\x05H").await.unwrap();
    assert!(matches!(half.read_raw().await, Err(ClientError::HungUp)));
    let mut idle = MtaClient::connect(&address, FULL_OFFER, Manner::Postfix).await.unwrap();
    assert!(matches!(idle.read_raw().await, Err(ClientError::HungUp)));
}

#[tokio::test]
async fn pitfall_22_changes_reach_the_mta_in_order_and_a_verdict_that_cannot_be_carried_out_is_a_temporary_failure()
 {
    use farthing_milter::address::Mailbox;
    use farthing_milter::modification::Modification;
    use farthing_milter::text::{HeaderName, HeaderValue, QuarantineReason};
    let name = HeaderName::new("X-Seen").unwrap();
    let delivery = Delivery {
        modifications: Modification::remove_copies(&name, 2)
            .chain([Modification::InsertHeader(0, name.clone(), HeaderValue::new("yes").unwrap())])
            .collect(),
        quarantine: Some(QuarantineReason::new("to be looked at").unwrap()),
    };
    let eve = Mailbox::new("eve@b.example").unwrap();
    let empty = Delivery { modifications: vec![Modification::DeleteRecipient(eve)], quarantine: None };
    let plan = Plan::default()
        .need(Actions::ADD_HEADERS | Actions::DELETE_RECIPIENTS)
        .rule("EOM i=ALL", Act::Deliver(delivery.clone()))
        .rule("EOM i=EMPTY", Act::Deliver(empty));
    let mut wide = plan.clone();
    wide.wanted.actions = Actions::CHANGE_HEADERS | Actions::QUARANTINE;

    let filter = Filter::start(wide);
    let mut mta = client(&filter, Manner::Sendmail).await;
    let all = mta.deliver(&Letter { queue_id: "ALL".into(), ..letter("x") }).await.unwrap();
    assert!(all.is_delivered());
    let expected = [
        Change::ChangeHeader(2, "X-Seen".into(), b"".to_vec()),
        Change::ChangeHeader(1, "X-Seen".into(), b"".to_vec()),
        Change::InsertHeader(0, "X-Seen".into(), b"yes".to_vec()),
    ];
    assert_eq!(all.changes, expected);
    assert_eq!(all.quarantine.as_deref(), Some("to be looked at"));
    let to_eve = Letter::new("ann@a.example", &["eve@b.example"], "x");
    let empty = mta.deliver(&Letter { queue_id: "EMPTY".into(), ..to_eve }).await.unwrap();
    assert_eq!((empty.said.code(), empty.changes.len()), (451, 0), "nothing of it is carried out");

    let filter = Filter::start(plan);
    let mut mta = client(&filter, Manner::Sendmail).await;
    let all = mta.deliver(&Letter { queue_id: "ALL".into(), ..letter("x") }).await.unwrap();
    assert_eq!(
        (all.said.code(), all.changes.len()),
        (451, 0),
        "quarantine was not agreed on, so nothing is lost"
    );
}
