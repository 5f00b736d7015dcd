//! What waits for the writer: requests, bounded, and decisions, which may be dropped.
//!
//! A batch is whatever has queued while the last one was written; nothing waits for company but decisions,
//! which on their own are written at most every [`DECISION_DELAY_MS`].

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{batch::Batch, fail::Fail};
use crate::ledger::{DECISION_DELAY_MS, Decision, LedgerError};

/// Requests that may wait. At ten thousand a second this is under half a second of work: who would wait longer
/// is better told to come again.
pub(super) const QUEUE_REQUESTS_MAX: usize = 4_096;
/// Requests in one transaction: enough to share a sync among all, few enough to answer the first soon.
pub(super) const BATCH_REQUESTS_MAX: usize = 1_024;
/// Decisions that may wait, and that one transaction takes.
const DECISIONS_MAX: usize = 2_048;

/// One request to the writer.
pub(super) trait Job: Send {
    /// Nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// Does the work inside the open transaction. May be called again after the transaction was undone.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), Fail>;
    /// Answers: with what `run` found when the transaction was committed, else with the error.
    fn answer(self: Box<Self>, committed: Result<(), LedgerError>);
}

/// A request as a function, and where its answer goes.
struct Task<F, T> {
    work: F,
    found: Option<T>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<F, T> Job for Task<F, T>
where
    F: FnMut(&mut Batch<'_>) -> Result<T, Fail> + Send,
    T: Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), Fail> {
        self.found = Some((self.work)(batch)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), LedgerError>) {
        let Self { found, reply, .. } = *self;
        // The caller may have gone; what was committed stays.
        let _ = reply.send(committed.and_then(|()| found.ok_or_else(stopped)));
    }
}

fn stopped() -> LedgerError {
    LedgerError::Unavailable("the ledger is closed".into())
}

/// What the writer takes at once.
#[derive(Default)]
pub(super) struct Taken {
    pub jobs: Vec<Box<dyn Job>>,
    pub decisions: Vec<Decision>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn Job>>,
    decisions: Vec<Decision>,
    /// When the decisions have waited long enough.
    decisions_due: Option<Instant>,
    /// Somebody was turned away since work was last taken.
    full: bool,
    closed: bool,
}

/// The queue between the callers and the one writer.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

impl Queue {
    /// Queues a function for the writer and waits for its answer, which comes after the commit.
    pub async fn submit<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnMut(&mut Batch<'_>) -> Result<T, Fail> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(stopped());
            }
            if waiting.jobs.len() >= QUEUE_REQUESTS_MAX {
                if !std::mem::replace(&mut waiting.full, true) {
                    tracing::error!(requests = QUEUE_REQUESTS_MAX, "the ledger's queue is full");
                }
                return Err(LedgerError::QueueFull);
            }
            waiting.jobs.push_back(Box::new(Task { work, found: None, reply }));
        }
        self.ready.notify_one();
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Queues a decision, or drops it when too many wait.
    pub fn note(&self, decision: Decision) {
        let mut waiting = self.lock();
        if waiting.closed || waiting.decisions.len() >= DECISIONS_MAX {
            return;
        }
        waiting.decisions.push(decision);
        let count = waiting.decisions.len();
        waiting
            .decisions_due
            .get_or_insert_with(|| Instant::now() + Duration::from_millis(DECISION_DELAY_MS));
        drop(waiting);
        // Wake the writer to start its clock, and when it should not wait for it any longer.
        if count == 1 || count == DECISIONS_MAX / 2 {
            self.ready.notify_one();
        }
    }

    /// Waits for work; `None` once the queue is closed and empty.
    pub fn take(&self) -> Option<Taken> {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            let due = waiting.closed
                || waiting.decisions.len() >= DECISIONS_MAX / 2
                || waiting.decisions_due.is_some_and(|at| at <= now);
            if !waiting.jobs.is_empty() || (due && !waiting.decisions.is_empty()) {
                let count = waiting.jobs.len().min(BATCH_REQUESTS_MAX);
                waiting.decisions_due = None;
                waiting.full = false;
                return Some(Taken {
                    jobs: waiting.jobs.drain(..count).collect(),
                    decisions: std::mem::take(&mut waiting.decisions),
                });
            }
            if waiting.closed {
                return None;
            }
            waiting = match waiting.decisions_due {
                Some(at) => {
                    let wait = self.ready.wait_timeout(waiting, at.saturating_duration_since(now));
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Takes every request that waits: when the storage is locked, none of them need wait again for the same news.
    pub fn drain(&self) -> Vec<Box<dyn Job>> {
        self.lock().jobs.drain(..).collect()
    }

    /// Takes no more; what waits is still done.
    pub fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
