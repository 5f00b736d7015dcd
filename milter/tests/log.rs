//! What an admin reads when a session goes wrong: one line, with the queue id of the message it hit.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farthing_milter::address::{Client, ClientAddress};
use farthing_milter::client::{ClientError, FULL_OFFER, Letter, Manner, MtaClient};
use farthing_milter::server::{Limits, Server, Summary};
use support::filter::{Act, Journal, Plan, Scripted};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Keeps every line of level info and above.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("farthing_milter")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

/// A server on this thread, so that its lines are caught.
struct Watched {
    lines: Lines,
    journal: Journal,
    address: farthing_milter::server::Address,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Summary>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Watched {
    async fn start(plan: Plan) -> Watched {
        let lines = Lines::default();
        let guard = tracing::subscriber::set_default(lines.clone());
        let server = Server::bind(&["inet:127.0.0.1:0".parse().unwrap()], plan.limits.clone()).await.unwrap();
        let address = server.addresses().remove(0);
        let (stop, stopped) = oneshot::channel();
        let journal = Journal::default();
        let service = Scripted { plan, journal: journal.clone() };
        let task = tokio::spawn(server.run(service, async { drop(stopped.await) }));
        Watched { lines, journal, address, stop, task, _guard: guard }
    }

    async fn client(&self) -> MtaClient {
        let mut client = MtaClient::connect(&self.address, FULL_OFFER, Manner::Sendmail).await.unwrap();
        let stranger = Client { host: b"x".to_vec(), address: ClientAddress::Unknown, port: 0 };
        client.greet(&stranger, "a.example").await.unwrap();
        client
    }

    /// Stops the server and gives its lines.
    async fn finish(self) -> Vec<String> {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        self.lines.0.lock().unwrap().clone()
    }
}

fn letter() -> Letter {
    Letter { queue_id: "4ABC".into(), ..Letter::new("ann@a.example", &["bob@b.example"], "hello") }
}

#[tokio::test]
async fn pitfall_25_a_panic_is_one_line_with_the_queue_id() {
    let watched = Watched::start(Plan::default().rule("EOH", Act::Panic)).await;
    let mut mta = watched.client().await;
    assert!(matches!(mta.deliver(&letter()).await, Err(ClientError::HungUp | ClientError::Io(_))));
    let lines = watched.finish().await;
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.starts_with("ERROR"), "{line}");
    for part in
        ["queue_id=\"4ABC\"", "after the message's EndOfHeaders", "the handler panicked: as the plan says"]
    {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
}

#[tokio::test]
async fn pitfall_03_a_stranger_at_the_port_is_one_clear_line() {
    for (bytes, part) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "\"GET \""),
        (b"EHLO a.example\r\n", "\"EHLO\""),
        (b"UNKN\0\0\0\0", "\"UNKN\""),
        (b"\0\0\0\x06M<a@s>", "first packet is of type 'M'"),
        (b"\0\0\0\x05O\0\0\0\x06", "negotiation packet of 4 bytes"),
        (b"\0\0\0\x0dO\0\0\0\x01\0\0\0\0\0\0\0\0", "version 1 offered"),
    ] {
        let watched = Watched::start(Plan::default()).await;
        let mut stranger =
            MtaClient::connect_only(&watched.address, FULL_OFFER, Manner::Sendmail).await.unwrap();
        stranger.send_raw(bytes).await.unwrap();
        assert!(matches!(stranger.read_raw().await, Err(ClientError::HungUp | ClientError::Io(_))));
        let lines = watched.finish().await;
        let [line] = &lines[..] else { panic!("{part}: {lines:#?}") };
        assert!(line.starts_with("WARN") && line.contains(part), "{part:?} is not in {line}");
    }
}

#[tokio::test]
async fn pitfall_08_hanging_up_in_the_middle_of_a_message_is_one_line_and_elsewhere_none() {
    let watched = Watched::start(Plan::default()).await;
    drop(MtaClient::connect_only(&watched.address, FULL_OFFER, Manner::Sendmail).await.unwrap());
    drop(watched.client().await);
    watched.client().await.quit().await.unwrap();
    let mut done = watched.client().await;
    done.deliver(&letter()).await.unwrap();
    drop(done);
    assert_eq!(watched.finish().await, [""; 0]);

    let watched = Watched::start(Plan::default()).await;
    let mut mta = watched.client().await;
    mta.send_raw(b"\0\0\0\x09DMi\x004ABC\0\0\0\0\x06M<a@s>").await.unwrap();
    mta.read_raw().await.unwrap();
    drop(mta);
    let lines = watched.finish().await;
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.contains("4ABC") && line.contains("the MTA hung up"), "{line}");
}

#[tokio::test]
async fn a_handler_that_is_too_slow_is_named_with_the_queue_id() {
    let limits = Limits { verdict: Duration::from_millis(50), ..Limits::default() };
    let plan = Plan { limits, ..Plan::default() }.rule("EOM", Act::Take(Duration::from_secs(3_600)));
    let watched = Watched::start(plan).await;
    let mut mta = watched.client().await;
    assert_eq!(mta.deliver(&letter()).await.unwrap().said.code(), 451);
    drop(mta);
    let lines = watched.finish().await;
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.contains("queue_id=\"4ABC\"") && line.contains("took too long"), "{line}");
}

#[tokio::test]
async fn pitfall_24_a_session_that_is_cut_is_named_with_the_queue_id() {
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let plan = Plan { limits, ..Plan::default() }.rule("EOM", Act::Take(Duration::from_secs(3_600)));
    let watched = Watched::start(plan).await;
    let mut mta = watched.client().await;
    let delivering = tokio::spawn(async move { mta.deliver(&letter()).await });
    while watched.journal.count("EOM") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lines = watched.finish().await;
    assert!(delivering.await.unwrap().is_err());
    assert!(lines.iter().any(|line| line.contains("4ABC") && line.contains("server stopped")), "{lines:#?}");
}

#[tokio::test]
async fn pitfall_27_the_connection_limit_is_said_once() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let watched = Watched::start(Plan { limits, ..Plan::default() }).await;
    let _first = watched.client().await;
    for _ in 0..5 {
        assert!(MtaClient::connect(&watched.address, FULL_OFFER, Manner::Sendmail).await.is_err());
    }
    let lines = watched.finish().await;
    assert_eq!(lines.iter().filter(|line| line.contains("limit reached")).count(), 1, "{lines:#?}");
}
