//! The daemon put together: gate, office and ledger of one configuration, started, reloaded and stopped.
//!
//! `farthingd` runs it for a site, `farthing demo` and the tests on loopback. Every listener is bound before
//! anyone is told that it is ready; a stop finishes the mail in hand.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use farthing_milter::server::{
    Address, BindError, Limits, Listen as MilterListen, Server, Summary, UnixListen, group_number,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::{
    clock::unix_now,
    config::{Config, LedgerUrl, Listen, ListenHttp},
    discovery::Discovery,
    dns::{Dns, DnsSetupError},
    franking::{Franker, buyer},
    gate::{Gate, GateService, Site},
    keys::{self, KeyError},
    ledger::{
        Ledger,
        sqlite::{self, OpenError, Options, SqliteLedger},
    },
    office::{self, Office},
    outgoing::Courier,
    reporter, settler,
    tasks::{BEGIN_AGAIN, keep_going, tell_end},
    wallet::WalletError,
};

/// Connections of the MTA at a time: Postfix's default process limit is 100, a busy site's some thousands.
const MILTER_CONNECTIONS_MAX: usize = 5_000;
/// How long a stop waits for mail in hand; systemd's own limit is 90 s.
const DRAIN: Duration = Duration::from_secs(30);

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The resolver.
    #[error(transparent)]
    Dns(#[from] DnsSetupError),
    /// The wallet that franking pays from.
    #[error("[franking] wallet: {0}")]
    Wallet(#[from] WalletError),
    /// The milter's listeners.
    #[error(transparent)]
    Milter(#[from] BindError),
    /// The secret of a payment provider; or the office has no key, though one was made: somebody is at work there.
    #[error(transparent)]
    OfficeSite(#[from] office::SiteError),
    /// The office's listener.
    #[error("[office] listen: {address}: {error}")]
    Office {
        /// Where it should have listened.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// `[gate] socket_group` names no group of this system.
    #[error("[gate] socket_group: {0}")]
    Group(std::io::Error),
}

/// A running daemon.
pub struct Daemon {
    gate: Arc<Gate>,
    office: Option<Arc<Office>>,
    ledger: Arc<SqliteLedger>,
    milter_addresses: Vec<Address>,
    office_address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    milter_task: JoinHandle<Summary>,
    office_task: Option<JoinHandle<()>>,
    /// What goes on beside the mail.
    tasks: Vec<JoinHandle<()>>,
    ended: Arc<Notify>,
}

impl Daemon {
    /// Opens the ledger and the keys (making them at the first start), binds every listener and begins to serve.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let site = Arc::new(site(config, Missing::Make)?);
        let config = &site.config;
        let listens = config
            .gate
            .listen
            .iter()
            .map(|listen| milter_listen(listen, config))
            .collect::<Result<Vec<_>, _>>()?;
        let limits = Limits { connections: MILTER_CONNECTIONS_MAX, drain: DRAIN, ..Limits::default() };
        let ledger = Arc::new(open_ledger(config)?);
        let server = Server::bind(&listens, limits).await?;
        let milter_addresses = server.addresses();
        let office_listener = match &config.office {
            None => None,
            Some(office) => Some(bind_office(&office.listen).await?),
        };
        let office_address = office_listener.as_ref().and_then(office::Listener::address);

        let (stop, stopped) = watch::channel(false);
        let franker = match &site.config.franking {
            Some(franking) => Some(Arc::new(Franker::new(&franking.wallet)?)),
            None => None,
        };
        let gate = Gate::new(site.clone(), ledger.clone(), franker.clone());
        let office = match &office_listener {
            None => None,
            Some(_) => Some(Office::new(
                office::Site::new(&site.config, &site.keys, &site.discovery)?,
                ledger.clone(),
                office::Limits::default(),
            )),
        };
        let ended = Arc::new(Notify::new());
        let office_task = office_listener.zip(office.clone()).map(|(listener, office)| {
            tell_end(&ended, office::serve(listener, office, until(stopped.clone())))
        });
        let tasks = tasks(&gate, &ledger, franker, &stopped);
        let milter_task = tell_end(&ended, server.run(GateService(gate.clone()), until(stopped)));
        Ok(Self {
            gate,
            office,
            ledger,
            milter_addresses,
            office_address,
            stop,
            milter_task,
            office_task,
            tasks,
            ended,
        })
    }

    /// Where the milter listens, in the order of the configuration; a port 0 has become the one that was found.
    #[must_use]
    pub fn milter_addresses(&self) -> &[Address] {
        &self.milter_addresses
    }

    /// Where the office listens, if on TCP.
    #[must_use]
    pub const fn office_address(&self) -> Option<SocketAddr> {
        self.office_address
    }

    /// The books.
    #[must_use]
    pub fn ledger(&self) -> Arc<SqliteLedger> {
        self.ledger.clone()
    }

    /// Judges by another configuration and freshly read keys from the next message on. Listeners and the ledger stay as they
    /// are; the returned words name keys whose change waits for a restart.
    ///
    /// # Errors
    /// [`StartError`]; everything stays as it was then.
    pub fn reload(&self, config: Config) -> Result<Vec<&'static str>, StartError> {
        let old = self.gate.site();
        let waiting = waits_for_restart(&old.config, &config);
        let site = Arc::new(site(config, Missing::Make)?);
        let for_office = match (&self.office, &site.config.office) {
            (Some(office), Some(_)) => {
                Some((office, office::Site::new(&site.config, &site.keys, &site.discovery)?))
            }
            _ => None,
        };
        self.ledger.set_owners(site.config.gate.logins.owners().clone());
        self.gate.reload(site);
        if let Some((office, site)) = for_office {
            office.reload(site);
        }
        Ok(waiting)
    }

    /// Waits until the milter or the office listens no more though nobody has stopped them: a fault of this program.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Takes no more mail, finishes what is in hand, and closes the books.
    pub async fn stop(self) -> Summary {
        let _ = self.stop.send(true);
        let summary = self.milter_task.await.unwrap_or_default();
        let others = async {
            for task in self.office_task.into_iter().chain(self.tasks) {
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(DRAIN, others).await;
        self.ledger.close().await;
        summary
    }
}

/// Begins what goes on beside the mail.
fn tasks(
    gate: &Arc<Gate>,
    ledger: &Arc<SqliteLedger>,
    franker: Option<Arc<Franker>>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let gate = gate.clone();
    let site = move || gate.site();
    let (books, site_now) = (ledger.clone(), site.clone());
    let wallet = franker.clone();
    let courier = move |stopped| {
        Courier::new(books.clone(), site_now.clone()).with_franker(wallet.clone()).run(stopped)
    };
    let (books, site_now) = (ledger.clone(), site.clone());
    let settler = move |stopped| {
        let site = site_now.clone();
        let terms = move |now, clock| settler::terms(&site().config, now, clock);
        settler::run(books.clone(), terms, stopped)
    };
    let (books, site_now) = (ledger.clone(), site.clone());
    let reporter = move |stopped| reporter::run(books.clone(), site_now.clone(), stopped);
    let mut tasks = vec![
        keep_going("courier", BEGIN_AGAIN, stopped.clone(), courier),
        keep_going("settler", BEGIN_AGAIN, stopped.clone(), settler),
        keep_going("reporter", BEGIN_AGAIN, stopped.clone(), reporter),
    ];
    if let Some(franker) = franker {
        let books = ledger.clone();
        let buyer = move |stopped| buyer::run(franker.clone(), books.clone(), site.clone(), stopped);
        tasks.push(keep_going("buyer", BEGIN_AGAIN, stopped.clone(), buyer));
    }
    tasks
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the daemon itself is gone: then it is over too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// What to do about keys that are not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make them: a first start.
    Make,
    /// Leave them: only looking.
    Leave,
}

/// Keys and resolver of a configuration.
///
/// # Errors
/// [`StartError`] of keys or DNS.
pub fn site(config: Config, missing: Missing) -> Result<Site, StartError> {
    let directory = config.keys_directory();
    // Refunds of other offices' stamps are reported over the signature of a key of ours.
    let signs = config.office.is_some() || config.takes_foreign_stamps();
    let keys = match missing {
        Missing::Make => keys::ensure(&directory, signs, unix_now())?,
        Missing::Leave => keys::Keys::load(&directory)?,
    };
    let dns = Dns::new(&config.dns)?;
    let discovery = Discovery::new(dns.clone());
    Ok(Site { config, keys, dns, discovery })
}

/// Opens the ledger a configuration names, making it at the first start.
///
/// # Errors
/// [`OpenError`].
pub fn open_ledger(config: &Config) -> Result<SqliteLedger, OpenError> {
    let LedgerUrl::Sqlite(path) = &config.ledger.url;
    sqlite::open(path, ledger_options(config))
}

/// What the ledger is told of the configuration.
#[must_use]
pub fn ledger_options(config: &Config) -> Options {
    Options {
        office: config.office.as_ref().map(|office| office.domain.clone()),
        refund_window_s: config.ledger.refund_window_s,
        owners: config.gate.logins.owners().clone(),
        ..Options::new(config.ledger.currency)
    }
}

fn milter_listen(listen: &Listen, config: &Config) -> Result<MilterListen, StartError> {
    Ok(match listen {
        Listen::Inet(address) => MilterListen::Tcp(*address),
        Listen::Unix(path) => {
            let group = socket_group(config)?;
            MilterListen::Unix(UnixListen { path: path.clone(), mode: config.gate.socket_mode, group })
        }
    })
}

/// The number of the group that unix sockets are given to, if not the daemon's own.
///
/// # Errors
/// [`StartError::Group`] when this system has no such group.
pub fn socket_group(config: &Config) -> Result<Option<u32>, StartError> {
    match config.gate.socket_group.as_str() {
        "" => Ok(None),
        group => group_number(group).map(Some).map_err(StartError::Group),
    }
}

async fn bind_office(listen: &ListenHttp) -> Result<office::Listener, StartError> {
    let address = match listen {
        ListenHttp::Tcp(address) => address.to_string(),
        ListenHttp::Unix(path) => format!("unix:{}", path.display()),
    };
    office::Listener::bind(listen).await.map_err(|error| StartError::Office { address, error })
}

/// Settings that a reload does not change.
fn waits_for_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut waiting = vec![];
    let mut note = |changed: bool, key| {
        if changed {
            waiting.push(key);
        }
    };
    note(old.gate.listen != new.gate.listen, "[gate] listen");
    note(old.gate.socket_mode != new.gate.socket_mode, "[gate] socket_mode");
    note(old.gate.socket_group != new.gate.socket_group, "[gate] socket_group");
    note(old.ledger.url != new.ledger.url, "[ledger] url");
    note(old.ledger.currency != new.ledger.currency, "[ledger] currency");
    note(old.ledger.refund_window_s != new.ledger.refund_window_s, "[ledger] refund_window");
    let office = |c: &Config| c.office.as_ref().map(|o| (o.domain.clone(), o.listen.clone()));
    note(office(old) != office(new), "[office] domain or listen");
    let wallet = |c: &Config| c.franking.as_ref().map(|f| f.wallet.clone());
    note(wallet(old) != wallet(new), "[franking], or its wallet");
    note(old.log.level != new.log.level || old.log.json != new.log.json, "[log]");
    note(old.metrics != new.metrics, "[metrics] listen");
    waiting
}
