//! The post office over HTTP (SPEC.md §10): prices, stamps, accounts, and the page a refused sender opens.
//!
//! It knows no passwords and registers nobody: an account is a key, and a request is its account's by signature.
//! It stands behind the site's web server, which does TLS, on loopback or a unix socket. What always holds: money
//! moves only in the ledger, in one transaction an order; an address that does not exist reads like one that does.

mod calls;
pub mod grants;
mod journal;
mod limits;
mod links;
mod openapi;
mod order;
mod page;
mod problem;
mod request;
mod returns;
mod serve;
mod settlement;
pub mod signed;
mod vouchers;
pub mod webhook;
pub mod wire;

use std::{
    sync::{Arc, PoisonError, RwLock},
    thread::available_parallelism,
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{from_fn, from_fn_with_state, map_response},
    response::Response,
    routing::{MethodRouter, get, post},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::timeout::TimeoutLayer;

pub use page::puzzle::{BITS_MAX as PAGE_WORK_BITS_MAX, BITS_MIN as PAGE_WORK_BITS_MIN};

pub use limits::{Limits, Peer, Rate};
pub use problem::Problem;
pub use request::BODY_OCTETS_MAX;
pub use serve::{Listener, serve};

use crate::{
    address::Domain,
    config::{Config, IdentityCheck},
    discovery::Discovery,
    keys::{KeyError, Keys},
    ledger::{Ledger, Mark},
    money::{Currency, Micros, STAMP_VALUE_MAX},
    stamp::{PublicKey, SecretKey, Selector, tokens::TokenKey},
};
use limits::Counters;

/// The least a stamp may be worth: what can be written at all. A site's price may be as low.
pub const STAMP_VALUE_MIN: Micros = match Micros::new(1) {
    Some(least) => least,
    None => Micros::ZERO,
};
/// How long brought work waits to be checked before it is told to come again: shorter than a request may last.
const CHECKING_WAIT: Duration = Duration::from_secs(5);
/// Cores of which one may check work: what is brought costs nothing to make up, and mail and stamps come first.
const CORES_A_CHECKER: usize = 2;

/// What a reload replaces: what the office needs of configuration and keys.
pub struct Site {
    domain: Domain,
    url: String,
    selector: Selector,
    secret: SecretKey,
    public: PublicKey,
    /// Every key whose stamps are good.
    keys: Vec<(Selector, PublicKey)>,
    currency: Currency,
    price: Micros,
    value_max: Micros,
    /// Mail domains whose price it tells, sorted.
    domains: Vec<Domain>,
    accepted: Vec<Domain>,
    work_bits: u32,
    /// Whether a letter's author can be authenticated here; else a pass would never count.
    gives_passes: bool,
    /// log2 of the hashes that a pass takes; 0: none is given for work.
    page_work_bits: u32,
    stamp_lifetime_s: u64,
    /// Keys of the domains that report refunds.
    discovery: Discovery,
    grant: Option<grants::Terms>,
    /// Who may tell of payments.
    providers: Vec<Box<dyn webhook::Provider>>,
    /// Where customers pay, where there is such a place.
    payment_url: Option<String>,
    /// What checks the tokens of links and the challenges of the page; the newest makes challenges.
    tokens: Vec<TokenKey>,
}

/// Why there is no office.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The configuration has no section `[office]`.
    #[error("the configuration has no [office]; name its domain there to run one")]
    NoOffice,
    /// No key signs.
    #[error("the office has no active key; run: farthing key new")]
    NoKey,
    /// The secret of a payment provider.
    #[error(transparent)]
    Secret(#[from] KeyError),
}

impl Site {
    /// The office of a configuration, with its keys; it asks about the keys of others through `discovery`.
    ///
    /// # Errors
    /// [`SiteError`] when there is none, no key to sign with, or a secret that cannot be used.
    pub fn new(config: &Config, keys: &Keys, discovery: &Discovery) -> Result<Self, SiteError> {
        let office = config.office.as_ref().ok_or(SiteError::NoOffice)?;
        let signing = keys.signing().ok_or(SiteError::NoKey)?;
        Ok(Self {
            domain: office.domain.clone(),
            url: office.url.clone(),
            selector: signing.selector.clone(),
            secret: signing.secret.clone(),
            public: signing.public,
            keys: keys.office.iter().map(|key| (key.selector.clone(), key.public)).collect(),
            currency: config.ledger.currency,
            price: config.gate.price,
            value_max: config.gate.max_price.min(STAMP_VALUE_MAX),
            domains: config.gate.domains.clone(),
            accepted: config.accepted_offices(),
            work_bits: config.gate.work_bits,
            gives_passes: config.identity.check != IdentityCheck::None,
            page_work_bits: office.page_work_bits,
            stamp_lifetime_s: office.stamp_lifetime_s,
            discovery: discovery.clone(),
            grant: grants::Terms::of(office),
            providers: webhook::providers(config)?,
            payment_url: office.payment_url.clone(),
            tokens: keys.tokens.clone(),
        })
    }

    /// Whether this is a mail domain whose price the office tells.
    fn tells_price_of(&self, domain: &Domain) -> bool {
        self.domains.binary_search(domain).is_ok()
    }

    /// How money comes onto an account, the likeliest first.
    fn funding(&self) -> Vec<String> {
        let providers = self.providers.iter().map(|provider| provider.name());
        let grant = self.grant.map(|_| "grant");
        ["voucher"].into_iter().chain(providers).chain(grant).chain(["credit"]).map(Into::into).collect()
    }

    fn takes_value(&self, value: Micros) -> Result<(), Problem> {
        if (STAMP_VALUE_MIN..=self.value_max).contains(&value) {
            return Ok(());
        }
        let (least, most) = (STAMP_VALUE_MIN.get(), self.value_max.get());
        Err(Problem::bad(format!("a stamp is worth {least} to {most} micros here, not {}", value.get()))
            .of(problem::Kind::ValueOutOfRange))
    }
}

/// Every call, by its path as axum writes it. What is here stands in `openapi.json`, and the other way round.
fn routes() -> [(&'static str, MethodRouter<SharedOffice>); 15] {
    [
        ("/.well-known/postage", get(calls::well_known)),
        ("/v1/openapi.json", get(openapi::show)),
        ("/v1/quote", get(calls::quote)),
        ("/v1/stamps", post(order::sell)),
        ("/v1/account", get(calls::account)),
        ("/v1/returns", post(returns::returns)),
        ("/v1/settlements", post(settlement::settle)),
        ("/v1/vouchers", post(vouchers::redeem)),
        ("/v1/grants", post(grants::grant)),
        ("/v1/webhooks/{provider}", post(webhook::receive)),
        ("/p/voucher", get(page::voucher)),
        ("/p/-/{version}/{*name}", get(page::assets::show)),
        ("/p/{*address}", get(page::show).post(page::ask)),
        ("/w/{token}", links::of(Mark::Wanted)),
        ("/u/{token}", links::of(Mark::Unwanted)),
    ]
}

/// The paths of all calls, as OpenAPI writes them: `/p/{address}`.
#[must_use]
pub fn paths() -> Vec<String> {
    routes().iter().map(|(path, _)| path.replace("{*", "{")).collect()
}

/// The office of a daemon, shared by all its connections.
pub struct Office {
    site: RwLock<Arc<Site>>,
    ledger: Arc<dyn Ledger>,
    limits: Limits,
    counters: Counters,
    /// One for each core: signing is the only work here that takes one.
    signers: Arc<Semaphore>,
    /// Work that is checked at once, 32 MiB each.
    checkers: Arc<Semaphore>,
}

/// How the calls hold it.
pub type SharedOffice = Arc<Office>;

impl Office {
    /// The office of this site over this ledger.
    #[must_use]
    pub fn new(site: Site, ledger: Arc<dyn Ledger>, limits: Limits) -> SharedOffice {
        let cores = available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            site: RwLock::new(Arc::new(site)),
            ledger,
            limits,
            counters: Counters::new(limits),
            signers: Arc::new(Semaphore::new(cores)),
            checkers: Arc::new(Semaphore::new((cores / CORES_A_CHECKER).max(1))),
        })
    }

    /// Answers requests that come from now on as another site.
    pub fn reload(&self, site: Site) {
        *self.site.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(site);
    }

    /// The calls of SPEC.md §10 as far as this office has them; any other path is 404. A request bears the
    /// extension [`Peer`], else it counts as come over the unix socket.
    pub fn router(self: &Arc<Self>) -> Router {
        routes()
            .into_iter()
            .fold(Router::new(), |router, (path, calls)| router.route(path, calls))
            .layer(from_fn_with_state(self.clone(), limits::by_address))
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, self.limits.request_time))
            .layer(map_response(problem::dress))
            .layer(map_response(plain_fields))
            .layer(from_fn(journal::line))
            .with_state(self.clone())
    }

    fn site(&self) -> Arc<Site> {
        self.site.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Leave to keep a core busy with checking work; `None` when too many wait for it.
    async fn checking_permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(CHECKING_WAIT, self.checkers.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Leave to keep a core busy with signing.
    async fn signing_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.signers.clone().acquire_owned().await.ok()
    }
}

/// Fields of every answer: browsers keep and guess nothing, and nobody's price is kept longer than it holds.
async fn plain_fields(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// The office of b.example over a new ledger.
#[cfg(test)]
fn office_of_b(directory: &std::path::Path, limits: Limits) -> SharedOffice {
    use crate::{clock::unix_now, dns::Dns, keys, ledger::sqlite};
    let text = "[gate]\ndomains = [\"b.example\"]\n[office]\ndomain = \"b.example\"\n";
    let config = Config::parse(text, std::path::Path::new("farthing.toml")).unwrap();
    let keys = keys::ensure(directory, true, unix_now()).unwrap();
    let options = sqlite::Options::new(config.ledger.currency);
    let ledger = sqlite::open(directory.join("ledger.db"), options).unwrap();
    let discovery = Discovery::new(Dns::new(&config.dns).unwrap());
    Office::new(Site::new(&config, &keys, &discovery).unwrap(), Arc::new(ledger), limits)
}
