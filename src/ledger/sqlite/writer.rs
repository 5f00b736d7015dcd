//! The one writer: a thread that puts whatever has queued into one transaction, commits, and then answers.
//!
//! What always holds: nobody is answered before the commit has returned, and nobody is told "done" when the
//! file that was written is no longer the ledger. A request that fails by itself fails alone: the batch is
//! undone and run again with a savepoint around each request.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::watch;

use super::{
    Site,
    batch::{Batch, Names},
    fail::Fail,
    mark,
    place::{Live, Place, Role},
    queue::{Job, Queue, Taken},
    tally,
};
use crate::ledger::{Decision, LedgerError, owners::Owners};

/// Pause between two looks whether another process has let go of the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// The writer as the ledger holds it.
pub(super) struct Writer {
    pub queue: Arc<Queue>,
    /// Closed when the thread has ended.
    ended: watch::Receiver<()>,
}

impl Writer {
    /// Starts the thread on a connection that is open already.
    pub fn start(place: Place, site: Arc<Site>, live: Live) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (running, ended) = watch::channel(());
        let mut worker = Worker {
            queue: Arc::clone(&queue),
            place,
            site,
            live: Some(live),
            names: Names::default(),
            trouble: None,
        };
        thread::Builder::new().name("ledger-writer".into()).spawn(move || {
            worker.run();
            drop(running);
        })?;
        Ok(Self { queue, ended })
    }

    /// Waits until the thread has done what was queued and ended. Call [`Queue::close`] first.
    pub async fn ended(&self) {
        // Nothing is ever sent: the end of the sender is the message.
        let _ = self.ended.clone().changed().await;
    }
}

impl Drop for Writer {
    /// The thread finishes what is queued and ends by itself; nobody waits for it.
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct Worker {
    queue: Arc<Queue>,
    place: Place,
    site: Arc<Site>,
    live: Option<Live>,
    names: Names,
    /// The trouble that was logged and is not over.
    trouble: Option<String>,
}

/// What became of each request of a batch that was committed.
type Results = Vec<Result<(), LedgerError>>;

impl Worker {
    fn run(&mut self) {
        while let Some(mut taken) = self.queue.take() {
            // A panic would be a fault of this program; it must not stop the mail for good.
            let written = catch_unwind(AssertUnwindSafe(|| self.write(&mut taken)));
            let written = written.unwrap_or_else(|_| {
                Err(Fail::Storage(LedgerError::Unavailable("the writer stumbled over a request".into())))
            });
            self.answer(taken.jobs, written);
        }
        self.leave();
    }

    fn answer(&mut self, jobs: Vec<Box<dyn Job>>, written: Result<Results, Fail>) {
        let fail = match written {
            Ok(results) => {
                if self.trouble.take().is_some() {
                    tracing::info!(path = %self.place.path.display(), "the ledger is written again");
                }
                for (job, result) in jobs.into_iter().zip(results) {
                    job.answer(result);
                }
                return;
            }
            Err(fail) => fail,
        };
        // What of the transaction is known of names is undone with it.
        self.names.forget();
        let mut jobs = jobs;
        match &fail {
            // The next batch would only wait as long again for the same lock.
            Fail::Busy(_) => jobs.extend(self.queue.drain()),
            _ => self.live = None,
        }
        let error = fail.into_error();
        let words = error.to_string();
        // Once, not for every letter that has to wait.
        if self.trouble.as_ref() != Some(&words) {
            tracing::error!(%error, path = %self.place.path.display(), "the ledger is not written");
            self.trouble = Some(words);
        }
        for job in jobs {
            job.answer(Err(error.clone()));
        }
    }

    fn write(&mut self, taken: &mut Taken) -> Result<Results, Fail> {
        self.connect()?;
        let Some(live) = &self.live else { return Err(closed()) };
        let patience = Duration::from_millis(self.place.busy_timeout_ms);
        let mut write_once = |apart| {
            let transaction = begin(&live.conn, patience)?;
            fill(transaction, &self.site, &mut self.names, taken, apart)
        };
        let results = match write_once(false) {
            Err(Fail::Poison(_)) => write_once(true)?,
            other => other?,
        };
        // Written to a file that was moved away meanwhile is not written.
        self.place.require_same(live)?;
        Ok(results)
    }

    /// Makes sure there is a connection, and that it is to the ledger of that name.
    fn connect(&mut self) -> Result<(), Fail> {
        if let Some(live) = self.live.take_if(|live| self.place.require_same(live).is_err()) {
            self.place.rescue(&live);
        }
        if self.live.is_none() {
            self.names.forget();
            self.live = Some(self.place.connect(Role::Writer)?);
        }
        Ok(())
    }

    /// Leaves a tidy file behind; whatever fails here is found out at the next start.
    fn leave(&mut self) {
        if let Some(live) = self.live.take() {
            let _ = live.conn.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);");
        }
    }
}

/// Takes the lock, waiting for other processes. SQLite's own waiting looks ever more seldom, and beside a busy
/// daemon that leaves the lock for moments only, the command line would look at the wrong ones.
fn begin(conn: &Connection, patience: Duration) -> Result<Transaction<'_>, Fail> {
    let deadline = Instant::now() + patience;
    loop {
        match Transaction::new_unchecked(conn, TransactionBehavior::Immediate).map_err(Fail::from) {
            Err(Fail::Busy(_)) if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
            begun => return begun,
        }
    }
}

/// Does all requests in the transaction. With `apart`, each has a savepoint of its own and fails alone.
fn fill(
    transaction: Transaction<'_>,
    site: &Site,
    names: &mut Names,
    taken: &mut Taken,
    apart: bool,
) -> Result<Results, Fail> {
    if apart {
        names.forget();
    }
    let mut batch = Batch::new(&transaction, site, names);
    let mut results = Results::with_capacity(taken.jobs.len());
    // Decisions first: a mark in the same batch may name one of them.
    let owners = site.owners();
    for decision in &taken.decisions {
        note(&transaction, &owners, decision, apart)?;
    }
    if let Some(newest) = taken.decisions.iter().map(|decision| decision.time).max() {
        tally::forget(&transaction, taken.decisions.len(), newest)?;
    }
    for job in &mut taken.jobs {
        let result = if job.is_abandoned() {
            Ok(())
        } else if apart {
            run_apart(&mut batch, job.as_mut())?
        } else {
            match job.run(&mut batch) {
                Err(Fail::Refused(error)) => Err(error),
                other => Ok(other?),
            }
        };
        results.push(result);
    }
    batch.finish()?;
    transaction.commit()?;
    Ok(results)
}

fn run_apart(batch: &mut Batch<'_>, job: &mut dyn Job) -> Result<Result<(), LedgerError>, Fail> {
    let mark = batch.mark();
    batch.conn.execute_batch("SAVEPOINT request")?;
    let result = match job.run(batch) {
        Ok(()) => Ok(()),
        Err(Fail::Refused(error)) => Err(error),
        Err(Fail::Poison(error)) => {
            batch.conn.execute_batch("ROLLBACK TO request")?;
            batch.undo_to(mark);
            tracing::error!(%error, "one request was left out of its batch");
            Err(error)
        }
        Err(fail) => return Err(fail),
    };
    batch.conn.execute_batch("RELEASE request")?;
    Ok(result)
}

fn note(conn: &Connection, owners: &Owners, decision: &Decision, apart: bool) -> Result<(), Fail> {
    match mark::note(conn, owners, decision) {
        // One row, so nothing needs to be undone.
        Err(Fail::Poison(_)) if apart => Ok(()),
        other => other,
    }
}

fn closed() -> Fail {
    Fail::Storage(LedgerError::Unavailable("the ledger is closed".into()))
}
