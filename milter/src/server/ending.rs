//! How a session ended, and the one line that says so: an admin must be able to tell a crash from a time-out
//! from an MTA that hung up, and which message it hit.

use std::io;
use std::sync::Mutex;

use thiserror::Error;
use tokio::task::JoinError;
use tracing::{debug, error, info, warn};

use crate::frame::FrameError;
use crate::handler::Peer;
use crate::pace::Waiting;
use crate::session::{Session, State, Violation};

/// How a session ended.
#[derive(Debug, Error)]
pub(super) enum Ending {
    #[error("the MTA said goodbye")]
    Quit,
    #[error("the MTA hung up")]
    HungUp,
    #[error("the MTA hung up within a packet")]
    HungUpWithinPacket,
    #[error("the server stops")]
    Drained,
    #[error("the server stopped before the message was complete")]
    Cut,
    #[error("the MTA sent no {0} in time")]
    TimedOut(Waiting),
    #[error("the MTA did not take an answer in time")]
    WriteTimedOut,
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Violation(#[from] Violation),
    #[error("the handler panicked: {0}")]
    Panicked(String),
}

impl Ending {
    /// Of a task that did not come to its own end.
    pub(super) fn of_task(error: JoinError) -> Ending {
        match error.try_into_panic() {
            Ok(payload) => Ending::Panicked(panic_text(payload.as_ref())),
            Err(_) => Ending::Cut,
        }
    }

    /// Whether the MTA, or nobody, did something unusual.
    fn is_ordinary(&self) -> bool {
        matches!(self, Ending::Quit | Ending::HungUp | Ending::Drained | Ending::TimedOut(Waiting::Idle))
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text").to_string()
}

/// What is known of a session when it is gone, even by a panic.
#[derive(Debug)]
pub(super) struct Record {
    peer: Peer,
    message: Mutex<Option<Unfinished>>,
}

/// A message that was in hand when the session ended.
#[derive(Debug)]
struct Unfinished {
    queue_id: String,
    state: State,
}

impl Record {
    pub(super) fn new(peer: Peer) -> Record {
        Record { peer, message: Mutex::new(None) }
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// Keeps what the session knows of the message in hand; the first to say so is right.
    pub(super) fn note(&self, session: &Session) {
        let mut message = self.message.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if session.in_message() && message.is_none() {
            let queue_id = session.context().queue_id().unwrap_or(b"unknown");
            *message =
                Some(Unfinished { queue_id: queue_id.escape_ascii().to_string(), state: session.state() });
        }
    }

    /// One line; for a session that ended as it should, only for those who debug.
    pub(super) fn log(&self, ending: &Ending) {
        let (session, listener) = (self.peer.session, self.peer.listener);
        let message = self.message.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match (&*message, ending) {
            (Some(Unfinished { queue_id, state }), Ending::Panicked(_)) => {
                error!(session, listener, queue_id, "milter session ended {state}: {ending}");
            }
            (None, Ending::Panicked(_)) => error!(session, listener, "milter session ended: {ending}"),
            // Clients that go away in the middle of a message are everyday.
            (Some(Unfinished { queue_id, state }), Ending::HungUp) => {
                info!(session, listener, queue_id, "milter session ended {state}: {ending}");
            }
            (Some(Unfinished { queue_id, state }), _) => {
                warn!(session, listener, queue_id, "milter session ended {state}: {ending}");
            }
            (None, _) if ending.is_ordinary() => debug!(session, listener, "milter session ended: {ending}"),
            (None, _) => warn!(session, listener, "milter session ended: {ending}"),
        }
    }
}

/// Makes sure that [`Record::note`] is called, on whatever way a session ends.
pub(super) struct Noted<'a> {
    pub(super) session: Session,
    record: &'a Record,
}

impl<'a> Noted<'a> {
    pub(super) fn new(session: Session, record: &'a Record) -> Noted<'a> {
        Noted { session, record }
    }

    /// Ends the session and says whether the handler is to be told that its message is over.
    pub(super) fn end(&mut self) -> bool {
        self.record.note(&self.session);
        self.session.end()
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.record.note(&self.session);
    }
}
