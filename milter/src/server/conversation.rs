//! One connection: reads frames, asks the handler, writes answers, watches the clocks.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::warn;

use super::ending::{Ending, Noted, Record};
use crate::frame::FrameBuffer;
use crate::handler::{Handler, Service};
use crate::macros::Stage;
use crate::negotiate::Wanted;
use crate::pace::{Due, Limits, ReadClock, VerdictClock, Waiting};
use crate::session::{Event, Session, State};
use crate::text::SmtpReply;
use crate::verdict::{BodyReply, RcptReply, Reply, Verdict};

/// Output, bytes, that is sent before more packets are looked at: a peer that sends a thousand packets at once
/// must not make us hold a thousand answers.
const FLUSH_BYTES: usize = 32 * 1024;

/// What a sender reads when a handler did not answer in time.
const TOO_SLOW: &str = "the mail filter did not answer in time; try again later";

/// One connection and all that looks after it.
pub(super) struct Conversation<'a, I, S: Service> {
    stream: I,
    frames: FrameBuffer,
    noted: Noted<'a>,
    handler: S::Handler,
    service: &'a S,
    limits: &'a Limits,
    record: &'a Record,
}

impl<'a, I: AsyncRead + AsyncWrite + Unpin, S: Service> Conversation<'a, I, S> {
    pub(super) fn new(
        stream: I,
        service: &'a S,
        wanted: Arc<Wanted>,
        limits: &'a Limits,
        record: &'a Record,
    ) -> Conversation<'a, I, S> {
        let noted = Noted::new(Session::new(wanted), record);
        let handler = service.open(record.peer());
        Conversation { stream, frames: FrameBuffer::new(), noted, handler, service, limits, record }
    }

    /// Goes on until one side has had enough. `drain` turns true when the server is to stop.
    pub(super) async fn run(&mut self, drain: watch::Receiver<bool>) -> Ending {
        let ending = match self.converse(drain).await {
            Ok(ending) | Err(ending) => ending,
        };
        if self.noted.end() {
            self.handler.abort();
        }
        ending
    }

    async fn converse(&mut self, mut drain: watch::Receiver<bool>) -> Result<Ending, Ending> {
        let start = Instant::now();
        let mut clock = ReadClock::new(start.into_std());
        let mut alarm = pin!(sleep_until(start + self.limits.first_packet));
        let mut draining = false;
        loop {
            let handled = self.handle_frames(draining).await;
            // What was answered before a fault still goes out.
            self.flush().await?;
            let progressed = match handled? {
                Handled::Over(ending) => return Ok(ending),
                Handled::Frames(count) => count > 0,
            };
            let in_message = self.noted.session.in_message();
            if !in_message {
                self.frames.release();
                if draining {
                    return Ok(Ending::Drained);
                }
            }
            let deadline = clock.wait(Instant::now().into_std(), self.waiting(), progressed, self.limits);
            let deadline = Instant::from_std(deadline);
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                read = self.stream.read_buf(self.frames.spare()) => {
                    if read? == 0 {
                        return Ok(self.hung_up());
                    }
                }
                () = rung(alarm.as_mut(), deadline) => return Err(Ending::TimedOut(clock.waiting())),
                _ = drain.wait_for(|draining| *draining), if !draining => draining = true,
            }
        }
    }

    fn waiting(&self) -> Waiting {
        match self.noted.session.state() {
            State::Fresh => Waiting::FirstPacket,
            _ if self.frames.is_partial() => Waiting::MidFrame,
            _ => Waiting::Idle,
        }
    }

    fn hung_up(&self) -> Ending {
        if self.frames.is_partial() { Ending::HungUpWithinPacket } else { Ending::HungUp }
    }

    /// Handles every complete frame that was read.
    async fn handle_frames(&mut self, draining: bool) -> Result<Handled, Ending> {
        let mut count = 0;
        while let Some(frame) = self.frames.next_frame()? {
            count += 1;
            let received = self.noted.session.receive(frame)?;
            if received.aborts {
                self.handler.abort();
            }
            let mut turn = Turn {
                stream: &mut self.stream,
                session: &mut self.noted.session,
                handler: &mut self.handler,
                limits: self.limits,
                record: self.record,
            };
            match received.event {
                Event::Nothing => {}
                Event::Quit => return Ok(Handled::Over(Ending::Quit)),
                Event::NewConnection => self.handler = self.service.open(self.record.peer()),
                event => turn.ask(event).await?,
            }
            if draining && !self.noted.session.in_message() {
                return Ok(Handled::Over(Ending::Drained));
            }
            if self.noted.session.output().len() >= FLUSH_BYTES {
                flush(&mut self.stream, &mut self.noted.session, self.limits).await?;
            }
        }
        Ok(Handled::Frames(count))
    }

    async fn flush(&mut self) -> Result<(), Ending> {
        flush(&mut self.stream, &mut self.noted.session, self.limits).await
    }
}

/// What came of the frames that were read.
enum Handled {
    /// How many there were.
    Frames(usize),
    /// The session is over.
    Over(Ending),
}

/// What is needed to answer one event, while the frame it came in stays borrowed.
struct Turn<'t, I, H> {
    stream: &'t mut I,
    session: &'t mut Session,
    handler: &'t mut H,
    limits: &'t Limits,
    record: &'t Record,
}

impl<I: AsyncWrite + Unpin, H: Handler> Turn<'_, I, H> {
    /// Asks the handler and gives the session its answer.
    async fn ask(&mut self, event: Event<'_>) -> Result<(), Ending> {
        let limit = self.limits.answer;
        let (handler, ctx) = (&mut *self.handler, self.session.context());
        match event {
            Event::Connect(client) => {
                let reply = within(limit, handler.connect(ctx, &client)).await;
                self.answer(Stage::Connect, reply);
            }
            Event::Helo(name) => {
                let reply = within(limit, handler.helo(ctx, name)).await;
                self.answer(Stage::Helo, reply);
            }
            Event::Mail(sender, args) => {
                let reply = within(limit, handler.mail(ctx, sender, args)).await;
                self.answer(Stage::Mail, reply);
            }
            Event::Rcpt(recipient, args) => {
                let reply = within(limit, handler.rcpt(ctx, recipient, args)).await;
                self.answer_one(Stage::Rcpt, reply);
            }
            Event::Data => {
                let reply = within(limit, handler.data(ctx)).await;
                self.answer(Stage::Data, reply);
            }
            Event::EndOfHeaders => {
                let reply = within(limit, handler.end_of_headers(ctx)).await;
                self.answer(Stage::EndOfHeaders, reply);
            }
            Event::Unknown(command) => {
                let reply = within(limit, handler.unknown(ctx, command)).await;
                self.answer_one(Stage::Unknown, reply);
            }
            Event::Header(name, value) => {
                let reply = handler.header(ctx, name, value);
                self.session.answer(reply);
            }
            Event::Body(chunk) => {
                let reply = handler.body(ctx, chunk);
                self.session.answer_body(reply);
            }
            Event::EndOfMessage(chunk) => {
                let _: Option<BodyReply> = (!chunk.is_empty()).then(|| handler.body(ctx, chunk));
                return self.end_of_message().await;
            }
            Event::RejectedRcpt(recipient) => handler.rejected_rcpt(ctx, recipient),
            Event::Nothing | Event::NewConnection | Event::Quit => {}
        }
        Ok(())
    }

    fn answer(&mut self, stage: Stage, reply: Option<Reply>) {
        let late = reply.is_none();
        self.session.answer(reply.unwrap_or_else(|| Reply::Refuse(SmtpReply::trouble(TOO_SLOW))));
        if late {
            self.log_late(stage);
            if self.session.in_message() {
                self.handler.abort();
            }
        }
    }

    fn answer_one(&mut self, stage: Stage, reply: Option<RcptReply>) {
        if reply.is_none() {
            self.log_late(stage);
        }
        self.session.answer_one(reply.unwrap_or_else(|| RcptReply::Refuse(SmtpReply::trouble(TOO_SLOW))));
    }

    /// Lets the handler work as long as it may, asking the MTA for patience meanwhile.
    async fn end_of_message(&mut self) -> Result<(), Ending> {
        let mut sent = 0;
        let verdict = {
            let session = &*self.session;
            let mut work = pin!(self.handler.end_of_message(session.context()));
            match poll_once(work.as_mut()).await {
                Some(verdict) => Some(verdict),
                None => {
                    write(self.stream, session.output(), self.limits).await?;
                    sent = session.output().len();
                    patiently(self.stream, session, self.limits, work).await?
                }
            }
        };
        self.session.sent(sent);
        match verdict {
            Some(verdict) => {
                let queue_id = self.queue_id();
                if let Err(misuse) = self.session.answer_verdict(verdict) {
                    warn!(session = self.record.peer().session, queue_id, "answered 451: {misuse}");
                }
            }
            None => {
                self.log_late(Stage::EndOfMessage);
                // Cannot be misused: it changes nothing.
                let _ = self.session.answer_verdict(Verdict::Refuse(SmtpReply::trouble(TOO_SLOW)));
                self.handler.abort();
            }
        }
        Ok(())
    }

    fn log_late(&self, stage: Stage) {
        let (session, queue_id) = (self.record.peer().session, self.queue_id());
        warn!(session, queue_id, "answered 451: the handler took too long at {stage:?}");
    }

    fn queue_id(&self) -> String {
        self.session.context().queue_id().unwrap_or(b"unknown").escape_ascii().to_string()
    }
}

/// Waits for a verdict, and asks the MTA for patience as often as needed; `None` when it took too long.
async fn patiently<I: AsyncWrite + Unpin>(
    stream: &mut I,
    session: &Session,
    limits: &Limits,
    mut work: Pin<&mut impl Future<Output = Verdict>>,
) -> Result<Option<Verdict>, Ending> {
    let mut clock = VerdictClock::new(Instant::now().into_std(), limits);
    loop {
        tokio::select! {
            biased;
            verdict = work.as_mut() => return Ok(Some(verdict)),
            () = sleep_until(Instant::from_std(clock.next())) => {}
        }
        match clock.due(Instant::now().into_std()) {
            Due::Nothing => {}
            Due::Progress => write(stream, session.progress(), limits).await?,
            Due::TooLong => return Ok(None),
        }
    }
}

/// Waits until `deadline`, setting the alarm anew when it was set for an earlier time: so that it need not be
/// touched at every packet.
async fn rung(mut alarm: Pin<&mut Sleep>, deadline: Instant) {
    loop {
        alarm.as_mut().await;
        if Instant::now() >= deadline {
            return;
        }
        alarm.as_mut().reset(deadline);
    }
}

/// Awaits an answer for so long. Most are there at once and cost no timer.
async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    match poll_once(answer.as_mut()).await {
        Some(answer) => Some(answer),
        None => timeout(limit, answer).await.ok(),
    }
}

async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn flush<I: AsyncWrite + Unpin>(
    stream: &mut I,
    session: &mut Session,
    limits: &Limits,
) -> Result<(), Ending> {
    write(stream, session.output(), limits).await?;
    session.sent(session.output().len());
    Ok(())
}

async fn write<I: AsyncWrite + Unpin>(stream: &mut I, bytes: &[u8], limits: &Limits) -> Result<(), Ending> {
    if bytes.is_empty() {
        return Ok(());
    }
    match within(limits.write, stream.write_all(bytes)).await {
        Some(written) => Ok(written?),
        None => Err(Ending::WriteTimedOut),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::frame::write_frame;
    use crate::handler::{Context, Peer};
    use crate::negotiate::Offer;

    /// Takes so long for a verdict.
    #[derive(Clone)]
    struct Slow(Duration);

    impl Service for Slow {
        type Handler = Slow;

        fn open(&self, _: Peer) -> Slow {
            self.clone()
        }

        fn wanted(&self) -> Wanted {
            Wanted::nothing()
        }
    }

    impl Handler for Slow {
        async fn end_of_message(&mut self, _: &Context) -> Verdict {
            tokio::time::sleep(self.0).await;
            Verdict::deliver()
        }
    }

    /// A conversation in simulated time; the MTA's end, the server's task, and what keeps it from stopping.
    fn converse(work: Duration) -> (DuplexStream, tokio::task::JoinHandle<Ending>, watch::Sender<bool>) {
        let (mta, stream) = tokio::io::duplex(64 * 1024);
        let (stop, drain) = watch::channel(false);
        let task = tokio::spawn(async move {
            let (service, limits) = (Slow(work), Limits::default());
            let record = Record::new(Peer { session: 1, listener: 0, address: None });
            Conversation::new(stream, &service, Arc::new(service.wanted()), &limits, &record).run(drain).await
        });
        (mta, task, stop)
    }

    /// An offer, and as many packets as there are codes.
    fn packets(codes: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Offer::decode(&[0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap().encode(&mut bytes);
        codes.iter().for_each(|code| write_frame(&mut bytes, *code, b"x\0U"));
        bytes
    }

    async fn codes(mta: &mut DuplexStream) -> String {
        let mut buffer = FrameBuffer::new();
        while mta.read_buf(buffer.spare()).await.unwrap() > 0 {}
        let mut codes = String::new();
        while let Some(frame) = buffer.next_frame().unwrap() {
            codes.push(char::from(frame.code));
        }
        codes
    }

    #[tokio::test(start_paused = true)]
    async fn pitfall_20_a_verdict_after_9_30_and_300_seconds() {
        for (seconds, expected, took) in
            [(9, "Occcpc", 9), (30, "Occcpppppc", 30), (300, "Occcpppppppppppppppppy", 90)]
        {
            let start = Instant::now();
            let (mut mta, task, _stop) = converse(Duration::from_secs(seconds));
            mta.write_all(&packets(b"CHME")).await.unwrap();
            let last = expected.len();
            let mut buffer = FrameBuffer::new();
            let mut seen = String::new();
            while seen.len() < last {
                mta.read_buf(buffer.spare()).await.unwrap();
                while let Some(frame) = buffer.next_frame().unwrap() {
                    seen.push(char::from(frame.code));
                }
            }
            assert_eq!(seen, expected, "{seconds} s");
            assert_eq!(start.elapsed().as_secs(), took);
            drop(mta);
            assert!(matches!(task.await.unwrap(), Ending::HungUp));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_mta_that_sends_nothing_is_given_up_after_its_time() {
        for (bytes, waiting, seconds) in [
            (Vec::new(), Waiting::FirstPacket, 10),
            (b"\0\0\0\x01D".repeat(3), Waiting::FirstPacket, 10),
            (packets(b"CHM"), Waiting::Idle, 7_210),
            ([packets(b"C"), b"\0\0\0\x09H".to_vec()].concat(), Waiting::MidFrame, 30),
        ] {
            let start = Instant::now();
            let (mut mta, task, _stop) = converse(Duration::ZERO);
            mta.write_all(&bytes).await.unwrap();
            codes(&mut mta).await;
            let ending = task.await.unwrap();
            assert!(matches!(ending, Ending::TimedOut(found) if found == waiting), "{ending:?}");
            assert_eq!(start.elapsed().as_secs(), seconds, "{waiting:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_mta_that_takes_no_answers_is_given_up() {
        let (mut mta, task, _stop) = converse(Duration::ZERO);
        let many = packets(&[b"CH".as_slice(), &b"U".repeat(100_000)].concat());
        let written = tokio::time::timeout(Duration::from_secs(100), mta.write_all(&many)).await;
        assert!(matches!(written, Ok(Err(_))), "the server holds no more answers than it must");
        assert!(matches!(task.await.unwrap(), Ending::WriteTimedOut));
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_message_in_hand_alone() {
        let (mut mta, task, stop) = converse(Duration::ZERO);
        mta.write_all(&packets(b"CHM")).await.unwrap();
        let mut answers = [0; 17 + 3 * 5];
        mta.read_exact(&mut answers).await.unwrap();
        stop.send(true).unwrap();
        mta.write_all(&packets(b"RE")[17..]).await.unwrap();
        assert_eq!(codes(&mut mta).await, "cc", "the message is finished, and then it hangs up");
        assert!(matches!(task.await.unwrap(), Ending::Drained));
    }
}
