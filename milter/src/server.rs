//! The server: sockets, one task a connection, limits, and a stop that finishes the mail in hand.
//!
//! Not the protocol: that is [`crate::session`], which this only feeds. What always holds: whatever one
//! connection does, or its handler, the others go on.

mod conversation;
mod ending;
mod incoming;
mod listen;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, info, warn};

use crate::handler::{Peer, Service};
pub use crate::pace::Limits;
use conversation::Conversation;
use ending::{Ending, Record};
use incoming::{Arrival, Incoming};
use listen::Listener;
pub use listen::{Address, BindError, Listen, ListenError, UnixListen, group_number};

/// How long tasks that were told to end at once may take to do so; one that blocks its thread never does.
const ABORT_LIMIT: Duration = Duration::from_secs(1);

/// Listening sockets that are bound; connections wait in their backlogs until [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    limits: Limits,
}

/// How a server's run went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections served, those closed for the limit not counted.
    pub sessions: u64,
    /// Connections that were cut when the time to finish was over.
    pub cut: usize,
}

impl Server {
    /// Binds every listener, or none. Afterwards clients can connect, so that a caller may say that it is ready.
    ///
    /// # Errors
    /// [`BindError`] says which listener and why.
    pub async fn bind(listens: &[Listen], limits: Limits) -> Result<Server, BindError> {
        let mut listeners = Vec::with_capacity(listens.len());
        for listen in listens {
            listeners.push(Listener::bind(listen).await?);
        }
        Ok(Server { listeners, limits })
    }

    /// Where it listens, in the order given to [`Server::bind`]; a port 0 has become the one that was found.
    pub fn addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves until `shutdown` is ready. Then no connection is taken any more (the sockets are closed, unix ones
    /// removed), those between two messages are closed, and messages in hand have [`Limits::drain`] to come to their end.
    pub async fn run<S: Service>(self, service: S, shutdown: impl Future<Output = ()>) -> Summary {
        let wanted = Arc::new(service.wanted());
        let mut incoming = Incoming::new(self.listeners);
        let mut sessions =
            Sessions::new(Shared { service, wanted, limits: self.limits, drain: watch::Sender::new(false) });
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(joined) = sessions.tasks.join_next_with_id() => sessions.ended(joined),
                arrival = incoming.accept() => sessions.begin(arrival),
            }
        }
        drop(incoming);
        sessions.finish().await
    }
}

/// What every session needs.
struct Shared<S> {
    service: S,
    wanted: Arc<crate::negotiate::Wanted>,
    limits: Limits,
    drain: watch::Sender<bool>,
}

/// The running sessions.
struct Sessions<S> {
    shared: Arc<Shared<S>>,
    tasks: JoinSet<Ending>,
    records: HashMap<Id, Arc<Record>>,
    summary: Summary,
    /// The limit was reached. Over when a tenth of it is free, lest each end and begin be a line in the log.
    full: bool,
}

impl<S: Service> Sessions<S> {
    fn new(shared: Shared<S>) -> Sessions<S> {
        Sessions {
            shared: Arc::new(shared),
            tasks: JoinSet::new(),
            records: HashMap::new(),
            summary: Summary::default(),
            full: false,
        }
    }

    fn begin(&mut self, arrival: Arrival) {
        let limit = self.shared.limits.connections;
        if self.tasks.len() >= limit {
            if !std::mem::replace(&mut self.full, true) {
                warn!(limit, "milter connection limit reached: closing new connections until others end");
            }
            return;
        }
        self.summary.sessions += 1;
        let peer =
            Peer { session: self.summary.sessions, listener: arrival.listener, address: arrival.address };
        debug!(session = peer.session, listener = peer.listener, address = ?peer.address, "milter session begins");
        let record = Arc::new(Record::new(peer));
        let (shared, noted) = (Arc::clone(&self.shared), Arc::clone(&record));
        let task = self.tasks.spawn(async move {
            let mut conversation = Conversation::new(
                arrival.stream,
                &shared.service,
                Arc::clone(&shared.wanted),
                &shared.limits,
                &noted,
            );
            conversation.run(shared.drain.subscribe()).await
        });
        self.records.insert(task.id(), record);
    }

    fn ended(&mut self, joined: Result<(Id, Ending), JoinError>) {
        let (id, ending) = match joined {
            Ok((id, ending)) => (id, ending),
            Err(error) => (error.id(), Ending::of_task(error)),
        };
        if let Some(record) = self.records.remove(&id) {
            record.log(&ending);
        }
        self.summary.cut += usize::from(matches!(ending, Ending::Cut));
        if self.full && self.tasks.len() * 10 <= self.shared.limits.connections * 9 {
            self.full = false;
            info!("milter connections are taken again");
        }
    }

    /// Lets the messages in hand come to their end, then cuts what is left.
    async fn finish(mut self) -> Summary {
        self.shared.drain.send_replace(true);
        let limit = self.shared.limits.drain;
        if tokio::time::timeout(limit, self.join_all()).await.is_err() {
            warn!(sessions = self.tasks.len(), ?limit, "time to finish is over: cutting milter sessions");
            self.tasks.abort_all();
            if tokio::time::timeout(ABORT_LIMIT, self.join_all()).await.is_err() {
                warn!(sessions = self.tasks.len(), "handlers that block their thread are left behind");
                self.summary.cut += self.tasks.len();
                self.tasks.detach_all();
            }
        }
        self.summary
    }

    async fn join_all(&mut self) {
        while let Some(joined) = self.tasks.join_next_with_id().await {
            self.ended(joined);
        }
    }
}
