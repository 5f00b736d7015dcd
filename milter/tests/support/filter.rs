//! A filter for tests: writes down all it hears, answers by rules, runs in a thread of its own.

#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)] // a fault here fails the test, as it should

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use farthing_milter::address::{Args, Client, EnvelopeAddress};
use farthing_milter::handler::{Context, Handler, Peer, Service};
use farthing_milter::negotiate::{Actions, Steps, Wanted};
use farthing_milter::server::{Address, Limits, Listen, Server, Summary};
use farthing_milter::text::SmtpReply;
use farthing_milter::verdict::{BodyReply, Delivery, RcptReply, Reply, Verdict};
use tokio::sync::oneshot;

/// What to do at an event.
#[derive(Clone, Debug)]
pub enum Act {
    Accept,
    Discard,
    Refuse(SmtpReply),
    /// Take this long before going on.
    Take(Duration),
    Panic,
    Deliver(Delivery),
    Skip,
}

/// Refuses with this code and text.
pub fn refuse(code: u16, enhanced: &str, text: &str) -> Act {
    Act::Refuse(SmtpReply::new(code, enhanced, [text]).unwrap())
}

/// A filter's rules, wishes and limits.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the first rule whose text is in an event's line, what to do.
    pub rules: Vec<(&'static str, Act)>,
    pub wanted: Wanted,
    pub limits: Limits,
    /// What `body` answers when no rule fits.
    pub body: BodyReply,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            rules: Vec::new(),
            wanted: Wanted::nothing(),
            limits: Limits { drain: Duration::from_secs(10), ..Limits::default() },
            body: BodyReply::Continue,
        }
    }
}

impl Plan {
    pub fn rule(mut self, text: &'static str, act: Act) -> Plan {
        self.rules.push((text, act));
        self
    }

    pub fn need(mut self, actions: Actions) -> Plan {
        self.wanted = self.wanted.need(actions);
        self
    }

    pub fn steps(mut self, steps: Steps) -> Plan {
        self.wanted = self.wanted.steps(steps);
        self
    }
}

/// What the filter heard, one line an event: `1 MAIL <ann@a.example>`, the number being the session's.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The lines of one session without its number.
    pub fn session(&self, number: u64) -> Vec<String> {
        let prefix = format!("{number} ");
        self.lines().iter().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_string).collect()
    }

    /// How many lines hold this text.
    pub fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for so many lines with this text.
    pub fn wait_for(&self, text: &str, count: usize) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.count(text) < count {
            assert!(Instant::now() < end, "{text:?} did not come {count} times: {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn put(&self, session: u64, line: String) {
        self.0.lock().unwrap().push(format!("{session} {line}"));
    }
}

/// The service that follows a plan.
#[derive(Debug)]
pub struct Scripted {
    pub plan: Plan,
    pub journal: Journal,
}

impl Service for Scripted {
    type Handler = ScriptedHandler;

    fn open(&self, peer: Peer) -> ScriptedHandler {
        self.journal.put(peer.session, format!("OPEN listener={}", peer.listener));
        ScriptedHandler { plan: self.plan.clone(), journal: self.journal.clone(), session: peer.session }
    }

    fn wanted(&self) -> Wanted {
        self.plan.wanted.clone()
    }
}

#[derive(Debug)]
pub struct ScriptedHandler {
    plan: Plan,
    journal: Journal,
    session: u64,
}

impl ScriptedHandler {
    /// Writes the line down and gives what the first rule that fits it says.
    fn hear(&self, ctx: &Context, line: String) -> Option<Act> {
        let line = match ctx.queue_id() {
            Some(id) => format!("{line} i={}", id.escape_ascii()),
            None => line,
        };
        let act = self.plan.rules.iter().find(|(text, _)| line.contains(text)).map(|(_, act)| act.clone());
        self.journal.put(self.session, line);
        if let Some(Act::Panic) = act {
            panic!("as the plan says");
        }
        act
    }

    async fn answer(&self, ctx: &Context, line: String) -> Reply {
        match self.hear(ctx, line) {
            Some(Act::Accept) => Reply::Accept,
            Some(Act::Discard) => Reply::Discard,
            Some(Act::Refuse(reply)) => Reply::Refuse(reply),
            Some(Act::Take(time)) => {
                tokio::time::sleep(time).await;
                Reply::Continue
            }
            _ => Reply::Continue,
        }
    }

    async fn answer_one(&self, ctx: &Context, line: String) -> RcptReply {
        match self.answer(ctx, line).await {
            Reply::Refuse(reply) => RcptReply::Refuse(reply),
            _ => RcptReply::Continue,
        }
    }
}

fn list(args: Args<'_>) -> String {
    args.iter().map(|argument| format!(" {}", argument.escape_ascii())).collect()
}

impl Handler for ScriptedHandler {
    async fn connect(&mut self, ctx: &Context, client: &Client) -> Reply {
        let host = client.host.escape_ascii();
        self.answer(ctx, format!("CONNECT {host} {} {}", client.address, client.port)).await
    }

    async fn helo(&mut self, ctx: &Context, name: &[u8]) -> Reply {
        self.answer(ctx, format!("HELO {}", name.escape_ascii())).await
    }

    async fn mail(&mut self, ctx: &Context, sender: EnvelopeAddress<'_>, args: Args<'_>) -> Reply {
        self.answer(ctx, format!("MAIL {}{}", sender.raw().escape_ascii(), list(args))).await
    }

    async fn rcpt(&mut self, ctx: &Context, recipient: EnvelopeAddress<'_>, args: Args<'_>) -> RcptReply {
        self.answer_one(ctx, format!("RCPT {}{}", recipient.raw().escape_ascii(), list(args))).await
    }

    fn rejected_rcpt(&mut self, ctx: &Context, recipient: EnvelopeAddress<'_>) {
        self.hear(ctx, format!("REJECTED {}", recipient.raw().escape_ascii()));
    }

    async fn data(&mut self, ctx: &Context) -> Reply {
        self.answer(ctx, "DATA".into()).await
    }

    fn header(&mut self, ctx: &Context, name: &[u8], value: &[u8]) -> Reply {
        match self.hear(ctx, format!("HEADER {}:{}", name.escape_ascii(), value.escape_ascii())) {
            Some(Act::Accept) => Reply::Accept,
            Some(Act::Discard) => Reply::Discard,
            Some(Act::Refuse(reply)) => Reply::Refuse(reply),
            _ => Reply::Continue,
        }
    }

    async fn end_of_headers(&mut self, ctx: &Context) -> Reply {
        self.answer(ctx, "EOH".into()).await
    }

    fn body(&mut self, ctx: &Context, chunk: &[u8]) -> BodyReply {
        match self.hear(
            ctx,
            format!("BODY {} bytes {}", chunk.len(), chunk.get(..40).unwrap_or(chunk).escape_ascii()),
        ) {
            Some(Act::Skip) => BodyReply::Skip,
            _ => self.plan.body,
        }
    }

    async fn end_of_message(&mut self, ctx: &Context) -> Verdict {
        match self.hear(ctx, "EOM".into()) {
            Some(Act::Refuse(reply)) => Verdict::Refuse(reply),
            Some(Act::Discard) => Verdict::Discard,
            Some(Act::Deliver(delivery)) => delivery.into(),
            Some(Act::Take(time)) => {
                tokio::time::sleep(time).await;
                self.journal.put(self.session, "EOM DONE".into());
                Verdict::deliver()
            }
            _ => Verdict::deliver(),
        }
    }

    async fn unknown(&mut self, ctx: &Context, command: &[u8]) -> RcptReply {
        self.answer_one(ctx, format!("UNKNOWN {}", command.escape_ascii())).await
    }

    fn abort(&mut self) {
        self.journal.put(self.session, "ABORT".into());
    }
}

impl Drop for ScriptedHandler {
    fn drop(&mut self) {
        self.journal.put(self.session, "CLOSE".into());
    }
}

/// A filter at work in a thread of its own, for tests that are not asynchronous themselves.
pub struct Filter {
    pub journal: Journal,
    pub addresses: Vec<Address>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Summary>>,
}

impl Filter {
    /// On a free port of 127.0.0.1.
    pub fn start(plan: Plan) -> Filter {
        Filter::start_on(plan, vec!["inet:127.0.0.1:0".parse().unwrap()])
    }

    pub fn start_on(plan: Plan, listens: Vec<Listen>) -> Filter {
        let journal = Journal::default();
        let service = Scripted { plan: plan.clone(), journal: journal.clone() };
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = Server::bind(&listens, plan.limits).await.expect("the filter can listen");
                ready.send(server.addresses()).unwrap();
                server.run(service, async { drop(stopped.await) }).await
            })
        });
        let addresses = bound.recv().expect("the filter listens");
        Filter { journal, addresses, stop: Some(stop), thread: Some(thread) }
    }

    /// In Postfix's words.
    pub fn postfix_name(&self) -> String {
        self.addresses[0].to_string()
    }

    /// Tells it to stop, and does not wait.
    pub fn begin_stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }

    /// Stops it and waits.
    pub fn stop(mut self) -> Summary {
        self.begin_stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            // A test that already fails is not to be hidden by this.
            let _ = thread.join();
        }
    }
}
