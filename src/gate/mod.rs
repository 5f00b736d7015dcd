//! The gate: a milter that asks strangers for postage.
//!
//! A message goes `session` (callbacks) -> `letter` (what is kept of it) -> `assess` (who sent it, what was
//! offered; DNS and the book are asked here, in the cheapest order) -> `crate::policy` (the verdict) -> `settle`
//! (the ledger redeems, the answer is made). Nothing is redeemed for a letter that is not let in.

mod answer;
mod answered;
mod assess;
pub mod client;
pub mod explain;
mod frank;
mod learn;
mod letter;
mod obey;
mod orders;
pub(crate) mod postage;
mod session;
mod settle;
mod split;
mod told;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use farthing_milter::{
    handler::{Peer, Service},
    negotiate::{Actions, MacroList, Steps, Wanted},
};

use crate::{
    config::Config,
    discovery::Discovery,
    dns::Dns,
    franking::Franker,
    keys::Keys,
    ledger::{Ledger, settings::OwnPrice},
    money::Micros,
    policy::{price::Price, reply::Terms},
};

pub use letter::BodyRoom;
pub use session::Session;

/// How often it is noted that mail by authenticated submission comes, in seconds.
const SUBMISSION_NOTED_S: u64 = 3_600;

/// What a reload replaces: configuration, keys, and whom to ask in DNS. A message is judged by one site from MAIL on.
pub struct Site {
    /// The checked configuration.
    pub config: Config,
    /// Office keys and token keys.
    pub keys: Keys,
    /// Whom to ask who really sent it.
    pub dns: Dns,
    /// Foreign offices' keys.
    pub discovery: Discovery,
}

impl Site {
    fn terms(&self, price: Micros) -> Terms<'_> {
        Terms { price, office_url: self.config.office.as_ref().map(|office| office.url.as_str()) }
    }

    /// What strangers pay a recipient who has set this for himself.
    fn price(&self, own: Option<OwnPrice>) -> Price {
        Price::of(own, self.config.gate.price, self.config.gate.max_price)
    }
}

/// The milter service: one for the daemon, shared by all its connections.
pub struct Gate {
    site: RwLock<Arc<Site>>,
    ledger: Arc<dyn Ledger>,
    room: BodyRoom,
    /// Puts stamps on outgoing mail.
    franker: Option<Arc<Franker>>,
    /// When mail by authenticated submission was last noted, in Unix seconds.
    submission_noted: AtomicU64,
}

impl Gate {
    /// A gate of this site over this ledger; `franker` has the stamps for what local users send, if they get any.
    #[must_use]
    pub fn new(site: Arc<Site>, ledger: Arc<dyn Ledger>, franker: Option<Arc<Franker>>) -> Arc<Self> {
        Arc::new(Self {
            franker,
            site: RwLock::new(site),
            ledger,
            room: BodyRoom::default(),
            submission_noted: AtomicU64::new(0),
        })
    }

    /// Judges messages that begin from now on by another site.
    pub fn reload(&self, site: Arc<Site>) {
        *self.site.write().unwrap_or_else(PoisonError::into_inner) = site;
    }

    /// Notes for `farthing status` that mail by authenticated submission comes through here; no letter waits for it twice
    /// an hour.
    async fn note_submission(&self, now: u64) {
        let last = self.submission_noted.swap(now, Ordering::Relaxed);
        if now.abs_diff(last) < SUBMISSION_NOTED_S {
            self.submission_noted.store(last, Ordering::Relaxed);
        } else if let Err(error) = self.ledger.note_submission(now).await {
            tracing::debug!(%error, "that users' mail comes is not noted");
        }
    }

    /// The site as it stands.
    #[must_use]
    pub fn site(&self) -> Arc<Site> {
        self.site.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// [`Gate`] as the milter server takes it.
pub struct GateService(pub Arc<Gate>);

impl Service for GateService {
    type Handler = Session;

    fn open(&self, _peer: Peer) -> Session {
        Session::new(self.0.clone())
    }

    fn wanted(&self) -> Wanted {
        let macros = ["i", "{auth_authen}", "{auth_type}"];
        Wanted::nothing()
            .need(
                Actions::ADD_HEADERS
                    | Actions::CHANGE_HEADERS
                    | Actions::DELETE_RECIPIENTS
                    | Actions::QUARANTINE,
            )
            .steps(
                Steps::NO_DATA
                    | Steps::NO_UNKNOWN
                    | Steps::NR_HEADER
                    | Steps::NR_BODY
                    | Steps::NR_HELO
                    | Steps::SKIP
                    | Steps::LEADING_SPACE,
            )
            .macros(MacroList::Mail, &macros)
            .macros(MacroList::EndOfHeaders, &macros)
            .macros(MacroList::EndOfMessage, &macros)
    }
}
