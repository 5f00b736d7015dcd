//! Reading: a few connections used by blocking threads, never by the threads that run async tasks.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{
    fail::Fail,
    place::{Live, Place, Role},
};
use crate::ledger::LedgerError;

/// Reads at a time. A proof of the books takes one for as long as it lasts; look-ups take microseconds each.
const READERS_MAX: usize = 4;

/// The read connections.
pub(super) struct Readers {
    place: Place,
    role: Role,
    idle: Mutex<Vec<Live>>,
    permits: Arc<Semaphore>,
    /// The trouble that was logged and is not over.
    trouble: Mutex<Option<String>>,
}

impl Readers {
    pub fn new(place: Place, role: Role) -> Self {
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        Self { place, role, idle: Mutex::default(), permits, trouble: Mutex::default() }
    }

    /// Runs a function on a read connection that sees everything committed before the call.
    pub async fn read<T, F>(self: &Arc<Self>, look: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fail> + Send + 'static,
    {
        let readers = Arc::clone(self);
        let closed = || LedgerError::Unavailable("the ledger is closed".into());
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return Err(closed()) };
        let task = tokio::task::spawn_blocking(move || {
            let found = readers.read_now(look);
            readers.note(found.as_ref().err());
            let found = found.map_err(Fail::into_error);
            // Given back when the read ends, even if nobody waits for it any more.
            drop(permit);
            found
        });
        task.await.unwrap_or_else(|e| Err(LedgerError::Unavailable(e.to_string())))
    }

    fn read_now<T>(&self, look: impl FnOnce(&Connection) -> Result<T, Fail>) -> Result<T, Fail> {
        let idle = self.idle().pop();
        let live = match idle {
            // A file that was replaced since is another ledger: look into that one.
            Some(live) if self.place.require_same(&live).is_ok() => live,
            _ => self.place.connect(self.role)?,
        };
        let found = look(&live.conn);
        // A connection on which the storage failed is not used again.
        if !matches!(found, Err(Fail::Storage(_))) && !self.permits.is_closed() {
            self.idle().push(live);
        }
        found
    }

    /// Logs what keeps the ledger from being read once, not for every letter that has to wait, and once that it is over.
    fn note(&self, fail: Option<&Fail>) {
        let error = match fail {
            Some(Fail::Poison(error) | Fail::Storage(error) | Fail::Busy(error)) => Some(error),
            // Refused for what was asked, by a ledger that was read.
            Some(Fail::Refused(_)) | None => None,
        };
        let path = self.place.path.display();
        let words = error.map(ToString::to_string);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) if *trouble != words => tracing::error!(%error, %path, "the ledger is not read"),
            None if trouble.is_some() => tracing::info!(%path, "the ledger is read again"),
            _ => {}
        }
        *trouble = words;
    }

    /// Closes the idle connections; reads that run end on their own, later ones fail.
    pub fn close(&self) {
        self.permits.close();
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Live>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
