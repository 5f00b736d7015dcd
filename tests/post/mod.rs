//! A post office on loopback with a ledger of its own, and its customers.
#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod proxy;

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use data_encoding::BASE64URL_NOPAD;
use farthing::{
    clock::unix_now,
    config::Config,
    discovery::Discovery,
    dns::Dns,
    keys::{self, Keys},
    ledger::{AccountKey, AccountState, Ledger as _, Proof, sqlite::SqliteLedger},
    money::Micros,
    office::{self, Limits, Listener, Office, Rate, signed},
    stamp::{PublicKey, SecretKey},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

/// How long anything on loopback may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running office.
pub struct Post {
    pub runtime: Runtime,
    pub address: SocketAddr,
    pub ledger: Arc<SqliteLedger>,
    pub office: Arc<Office>,
    pub directory: tempfile::TempDir,
    path_of_url: String,
    more: String,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

/// As an office has them, but with room for many tests' calls a second: how fast a machine is decides nothing.
pub fn patient() -> Limits {
    let often = Rate { per_s: NonZeroU32::new(10_000).unwrap(), burst: NonZeroU32::new(10_000).unwrap() };
    Limits { address: often, account: often, ..Limits::default() }
}

impl Post {
    /// The office b.example of the mail domains b.example and bb.example, at 0.25c, at most 10c a stamp.
    pub fn start() -> Self {
        Self::with(patient(), "")
    }

    /// The same with more lines of configuration: for `[office]`, and further sections.
    pub fn with_config(more: &str) -> Self {
        Self::build(patient(), "", more)
    }

    /// The same with these limits, reached below this path.
    pub fn with(limits: Limits, path_of_url: &str) -> Self {
        Self::build(limits, path_of_url, "page_work_bits = 4\n")
    }

    fn build(limits: Limits, path_of_url: &str, more: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let listener = runtime
            .block_on(Listener::bind(&farthing::config::ListenHttp::Tcp("127.0.0.1:0".parse().unwrap())))
            .unwrap();
        let address = listener.address().unwrap();
        let mut post = Self {
            ledger: {
                let config = config(&directory, address, path_of_url, more);
                let _inside = runtime.enter();
                Arc::new(farthing::daemon::open_ledger(&config).unwrap())
            },
            office: {
                let _inside = runtime.enter();
                let config = config(&directory, address, path_of_url, more);
                let ledger = Arc::new(farthing::daemon::open_ledger(&config).unwrap());
                Office::new(site(&config), ledger, limits)
            },
            runtime,
            address,
            directory,
            path_of_url: path_of_url.to_owned(),
            more: more.to_owned(),
            stop: None,
            serving: None,
        };
        let (stop, stopped) = oneshot::channel();
        let serving = office::serve(listener, post.office.clone(), async {
            let _ = stopped.await;
        });
        post.serving = Some(post.runtime.spawn(serving));
        post.stop = Some(stop);
        post
    }

    /// How customers reach it.
    pub fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.path_of_url)
    }

    pub fn config(&self) -> Config {
        config(&self.directory, self.address, &self.path_of_url, &self.more)
    }

    pub fn keys(&self) -> Keys {
        Keys::load(&self.config().keys_directory()).unwrap()
    }

    /// The key that signs.
    pub fn public(&self) -> PublicKey {
        self.keys().signing().unwrap().public
    }

    /// Reads the keys anew, as SIGHUP does.
    pub fn reload(&self) {
        self.office.reload(site(&self.config()));
    }

    pub fn credit(&self, account: &str, amount: &str) -> Micros {
        let key = BASE64URL_NOPAD.decode(account.as_bytes()).unwrap();
        let (key, amount) = (AccountKey(key.try_into().unwrap()), amount.parse().unwrap());
        self.runtime.block_on(self.ledger.credit(key, "credit", amount, "for tests", unix_now())).unwrap()
    }

    pub fn account(&self, account: &str) -> AccountState {
        let key = BASE64URL_NOPAD.decode(account.as_bytes()).unwrap();
        self.runtime.block_on(self.ledger.account(AccountKey(key.try_into().unwrap()), unix_now())).unwrap()
    }

    /// The books balance.
    pub fn proof(&self) -> Proof {
        let proof = self.runtime.block_on(self.ledger.check()).unwrap();
        assert!(proof.faults.is_empty(), "{:?}", proof.faults);
        proof
    }

    /// Stops serving; true when the requests in hand were finished in time.
    pub fn stop(&mut self) -> bool {
        drop(self.stop.take());
        let serving = self.serving.take().unwrap();
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, serving).await.is_ok() })
    }

    /// An unsigned GET.
    pub fn get(&self, target: &str) -> Answer {
        self.get_as(target, "*/*")
    }

    /// An unsigned POST of a JSON value.
    pub fn post(&self, target: &str, value: &Value) -> Answer {
        let request = ureq::http::Request::post(format!("http://{}{target}", self.address));
        Answer::of(agent().run(request.body(value.to_string()).unwrap()).unwrap())
    }

    /// The same from this client, as the site's web server says.
    pub fn post_from(&self, target: &str, value: &Value, client: &str) -> Answer {
        let request = ureq::http::Request::post(format!("http://{}{target}", self.address))
            .header("X-Forwarded-For", client);
        Answer::of(agent().run(request.body(value.to_string()).unwrap()).unwrap())
    }

    /// An unsigned GET with one field more.
    pub fn get_with(&self, target: &str, name: &str, value: &str) -> Answer {
        let request =
            ureq::http::Request::get(format!("http://{}{target}", self.address)).header(name, value);
        Answer::of(agent().run(request.body(()).unwrap()).unwrap())
    }

    /// How many octets come to someone who takes gzip and gets it.
    pub fn get_packed(&self, target: &str) -> usize {
        let request = ureq::http::Request::get(format!("http://{}{target}", self.address));
        let request = request.header("Accept-Encoding", "gzip, br").body(()).unwrap();
        let mut answer = agent().run(request).unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        assert!(answer.headers()["vary"].to_str().unwrap().contains("Accept-Encoding"));
        let octets = answer.body_mut().read_to_vec().unwrap();
        assert_eq!(octets[..2], [0x1f, 0x8b]);
        octets.len()
    }

    /// An unsigned GET of someone who takes these media types.
    pub fn get_as(&self, target: &str, accept: &str) -> Answer {
        let request =
            ureq::http::Request::get(format!("http://{}{target}", self.address)).header("Accept", accept);
        Answer::of(agent().run(request.body(()).unwrap()).unwrap())
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if self.serving.is_some() {
            self.stop();
        }
    }
}

fn config(directory: &tempfile::TempDir, address: SocketAddr, path_of_url: &str, more: &str) -> Config {
    let text = format!(
        "[gate]\ndomains = [\"b.example\", \"bb.example\"]\nprice = \"0.25c\"\nmax_price = \"10c\"\nwork_bits = 20\n\
         [office]\ndomain = \"b.example\"\nlisten = \"{address}\"\nurl = \"http://{address}/{path_of_url}\"\nkeys = \"keys\"\n{more}\
         [ledger]\nurl = \"sqlite:ledger.db\"\n"
    );
    Config::parse(&text, &directory.path().join("farthing.toml")).unwrap()
}

fn site(config: &Config) -> office::Site {
    let keys = keys::ensure(&config.keys_directory(), true, unix_now()).unwrap();
    let discovery = Discovery::new(Dns::new(&config.dns).unwrap());
    office::Site::new(config, &keys, &discovery).unwrap()
}

/// A client that judges for itself what an answer means.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .new_agent()
}

/// What an office answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn of(mut response: ureq::http::Response<ureq::Body>) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().read_to_string().unwrap(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// It is a problem document of this status; its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], "about:blank");
        assert!(!document["title"].as_str().unwrap().is_empty());
        document["detail"].as_str().unwrap().to_owned()
    }
}

/// Someone with an account.
pub struct Customer {
    pub key: SecretKey,
    pub account: String,
}

impl Customer {
    pub fn new(seed: u8) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let account = key.public().to_string();
        Self { key, account }
    }

    /// The request they would send, signed for b.example now.
    pub fn request(&self, method: &'static str, target: &'static str, body: impl Into<Vec<u8>>) -> Signed {
        let date = unix_now().to_string();
        Signed {
            method,
            target: target.to_owned(),
            sent_to: target.to_owned(),
            office: "b.example",
            account: self.account.clone(),
            date,
            body: body.into(),
            signature: String::new(),
            client: None,
        }
        .signed_by(&self.key)
    }

    pub fn order(&self, order: &Value) -> Signed {
        self.request("POST", "/v1/stamps", order.to_string())
    }
}

/// A signed request, whose parts a test may change after it was signed.
#[derive(Clone)]
pub struct Signed {
    pub method: &'static str,
    /// As signed.
    pub target: String,
    /// As sent.
    pub sent_to: String,
    pub office: &'static str,
    pub account: String,
    pub date: String,
    pub body: Vec<u8>,
    pub signature: String,
    /// The address that the site's web server says it came from.
    pub client: Option<String>,
}

impl Signed {
    pub fn signed_by(mut self, key: &SecretKey) -> Self {
        let office = self.office.parse().unwrap();
        let request =
            signed::Request { method: self.method, target: &self.target, office: &office, body: &self.body };
        self.signature = BASE64URL_NOPAD.encode(&key.sign(&request.signed_bytes(&self.date)));
        self
    }

    pub fn send(&self, post: &Post) -> Answer {
        self.send_to(post.address)
    }

    /// Sends it to an office at that address.
    pub fn send_to(&self, address: SocketAddr) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(self.method)
            .uri(format!("http://{address}{}", self.sent_to))
            .header("Postage-Account", &self.account)
            .header("Postage-Date", &self.date)
            .header("Postage-Signature", &self.signature);
        if let Some(client) = &self.client {
            request = request.header("X-Forwarded-For", client);
        }
        Answer::of(agent().run(request.body(self.body.as_slice()).unwrap()).unwrap())
    }
}

/// An order of stamps of 0.25c for b.example, whose ids and keys begin with these numbers.
pub fn order(ids: impl IntoIterator<Item = u32>) -> Value {
    let stamps: Vec<Value> = ids.into_iter().map(wish).collect();
    json!({"audience": "b.example", "value": 2500, "stamps": stamps})
}

pub fn wish(number: u32) -> Value {
    let (mut id, mut k) = ([0; 16], [7; 32]);
    id[..4].copy_from_slice(&number.to_be_bytes());
    k[..4].copy_from_slice(&number.to_be_bytes());
    json!({"id": BASE64URL_NOPAD.encode(&id), "k": BASE64URL_NOPAD.encode(&k)})
}

/// Waits for something that is about to be true.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
