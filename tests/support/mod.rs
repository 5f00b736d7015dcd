//! A world for the tests: a site on loopback with its daemon (the real program), a name server, and a purse of stamps.
#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use farthing::{
    address::Address,
    clock::unix_now,
    config::Config,
    demo::dns::ZoneServer,
    keys::Keys,
    ledger::{AccountKey, Ledger as _, Order, OrderedStamp, Sale, sqlite::SqliteLedger},
    money::Micros,
    stamp::{CancelledStamp, SecretKey, Stamp, Terms},
};
use farthing_milter::{
    address::{Client, ClientAddress},
    client::{Change, FULL_OFFER, Letter, Manner, MtaClient, Outcome, Said},
    server::Address as MilterAddress,
};

/// How long anything on loopback may take before the test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of the daemon's log that a failed test shows.
const LOG_LINES_SHOWN: usize = 40;
/// Where Alice's mail server is, by SPF.
pub const ALICE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Where nobody's is.
pub const MALLORY_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66));

pub const ALICE: &str = "alice@a.example";
pub const BOB: &str = "bob@b.example";
pub const CAROL: &str = "carol@b.example";

/// Whose stamps those of [`World::buy`] are.
pub const BUYER: AccountKey = AccountKey([9; 32]);

/// What a site is to be like; `Site::default()` requires postage and exempts no network.
#[derive(Clone)]
pub struct Site {
    pub mode: &'static str,
    /// Lines for `[gate]`.
    pub gate: String,
    /// Lines for other sections, with their heads.
    pub more: String,
    pub office: bool,
}

impl Default for Site {
    fn default() -> Self {
        Self { mode: "require", gate: String::new(), more: String::new(), office: true }
    }
}

impl Site {
    pub fn mode(mode: &'static str) -> Self {
        Self { mode, ..Self::default() }
    }

    pub fn gate(line: &str) -> Self {
        Self { gate: format!("{line}\n"), ..Self::default() }
    }
}

pub struct World {
    pub directory: tempfile::TempDir,
    pub zone: ZoneServer,
    pub office: SocketAddr,
    daemon: Option<Running>,
}

struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl World {
    /// A site with its daemon running and ready.
    pub fn start(site: &Site) -> Self {
        let mut world = Self::without_daemon(site);
        world.start_daemon();
        world
    }

    /// Another site with its daemon, of this domain, that asks the same name server.
    pub fn beside(zone: &ZoneServer, domain: &str, site: &Site) -> Self {
        let mut world = Self::without_daemon(site);
        let text = fs::read_to_string(world.config_path()).unwrap();
        let (own, shared) = (world.zone.address().to_string(), zone.address().to_string());
        fs::write(world.config_path(), text.replace("b.example", domain).replace(&own, &shared)).unwrap();
        world.start_daemon();
        world
    }

    /// Publishes at a name server what the site says of itself with `farthing key dns`.
    pub fn publish(&self, zone: &ZoneServer) {
        for record in self.json(&["key", "dns"]).as_array().unwrap() {
            zone.txt(record["name"].as_str().unwrap(), record["txt"].as_str().unwrap());
        }
    }

    /// The same, before anything was started.
    pub fn without_daemon(site: &Site) -> Self {
        let directory = tempfile::Builder::new().prefix("farthing").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let zone = ZoneServer::start().unwrap();
        zone.txt("a.example", format!("v=spf1 ip4:{ALICE_IP} -all"));
        let office = free_address();
        let world = Self { directory, zone, office, daemon: None };
        world.configure(site);
        world
    }

    /// Writes the configuration.
    pub fn configure(&self, site: &Site) {
        let office = if site.office {
            let address = self.office;
            format!(
                "[office]\ndomain = \"b.example\"\nlisten = \"{address}\"\nurl = \"http://{address}/\"\nkeys = \"keys\"\n"
            )
        } else {
            String::new()
        };
        let exempt = if site.gate.contains("exempt_networks") { "" } else { "exempt_networks = []\n" };
        let text = format!(
            "[gate]\nlisten = [\"unix:milter.sock\"]\nsocket_mode = \"0666\"\nhostname = \"mx.b.example\"\n\
             domains = [\"b.example\"]\nmode = \"{}\"\nprice = \"0.25c\"\n{exempt}{}\n{office}\
             [ledger]\nurl = \"sqlite:ledger.db\"\n[dns]\nservers = [\"{}\"]\n{}\n",
            site.mode,
            site.gate,
            self.zone.address(),
            site.more,
        );
        fs::write(self.config_path(), text).unwrap();
    }

    /// Writes the configuration with other domains to guard, and has the daemon take it.
    pub fn guard(&self, site: &Site, domains: &[&str]) {
        self.configure(site);
        let text = fs::read_to_string(self.config_path()).unwrap();
        fs::write(self.config_path(), text.replace("[\"b.example\"]", &format!("{domains:?}"))).unwrap();
        self.reload();
    }

    /// Has the daemon read its configuration again, and waits until it has.
    pub fn reload(&self) {
        let said = |log: &str| log.matches("reloaded").count();
        let before = said(&self.log());
        self.signal("HUP");
        wait_until("a reload", || said(&self.log()) > before);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config_path(&self) -> PathBuf {
        self.path("farthing.toml")
    }

    pub fn config(&self) -> Config {
        Config::load(&self.config_path()).unwrap()
    }

    pub fn milter(&self) -> MilterAddress {
        MilterAddress::Unix(self.path("milter.sock"))
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start_daemon(&mut self) {
        self.start_daemon_under(&[]);
    }

    /// Starts the daemon by way of a command that puts it under some constraint, such as `prlimit --nofile=100`.
    pub fn start_daemon_under(&mut self, prefix: &[&str]) {
        let socket = self.path("notify");
        let _ = fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        // The daemon may run as another user.
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        notify.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let program = [prefix, &[env!("CARGO_BIN_EXE_farthingd")]].concat();
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .arg("-c")
            .arg(self.config_path())
            .env("NOTIFY_SOCKET", &socket)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut stderr, copy) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut chunk) {
                copy.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
        });
        // From here on it is ended with the world, even if it never gets ready.
        let daemon = self.daemon.insert(Running { child, log });
        let end = std::time::Instant::now() + PATIENCE;
        let mut buffer = [0; 1024];
        loop {
            if notify.recv(&mut buffer).is_ok_and(|n| buffer[..n].starts_with(b"READY=1")) {
                break;
            }
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended with {ended:?}");
            assert!(std::time::Instant::now() < end, "the daemon is not ready");
        }
    }

    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().child.id()
    }

    /// A figure of the daemon's memory in KiB, by its name in /proc: `VmRSS`, `VmHWM` (the most there was of it).
    pub fn memory_kib(&self, figure: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon_pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(|d| d.log.lock().unwrap().clone()).unwrap_or_default()
    }

    /// Sends the daemon a signal, by name.
    pub fn signal(&self, name: &str) {
        let pid = self.daemon_pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends the daemon with a signal and gives its exit status.
    pub fn end_daemon(&mut self, signal: &str) -> std::process::ExitStatus {
        self.signal(signal);
        self.daemon.take().unwrap().child.wait().unwrap()
    }

    /// Waits until the daemon has ended by itself and gives its exit status.
    pub fn wait_for_end(&mut self) -> std::process::ExitStatus {
        let mut daemon = self.daemon.take().unwrap();
        let mut status = None;
        wait_until("the end of the daemon", || {
            status = daemon.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Keeps everybody else from writing the ledger until it is dropped.
    pub fn lock_ledger(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path("ledger.db")).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
        connection
    }

    /// Waits until the daemon's log holds this text.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the daemon's log"), || self.log().contains(text));
    }

    /// Runs `farthing` with this configuration.
    pub fn farthing(&self, arguments: &[&str]) -> Output {
        self.farthing_with(arguments, b"")
    }

    pub fn farthing_with(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        use std::io::Write as _;
        let mut child = Command::new(env!("CARGO_BIN_EXE_farthing"))
            .args(arguments)
            .env("FARTHING_CONFIG", self.config_path())
            .env("FARTHING_WALLET", self.path("wallet"))
            .env("FARTHING_DNS", self.zone.address().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }

    /// Waits until the daemon has written down what became of a letter, as other programs find it by its Message-ID.
    pub fn wait_for_decision(&self, message_id: &str, recipient: &str) {
        // Marking as unwanted moves no money and makes nobody known.
        let mark = ["unwanted", message_id, "--for", recipient];
        wait_until("a decision in the ledger", || self.farthing(&mark).status.success());
    }

    /// What the office answers to a GET, head and body.
    pub fn get(&self, target: &str) -> String {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(self.office).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.office)
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The JSON value that `farthing --json …` prints; it must end with 0.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.farthing(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Balances by account, in micros.
    pub fn balance(&self, account: &str) -> i64 {
        self.json(&["ledger", "balances"])["balances"][account].as_i64().unwrap_or(0)
    }

    /// The books balance, by `farthing ledger check`.
    pub fn books_balance(&self) {
        let proof = self.json(&["ledger", "check"]);
        assert_eq!(proof["ok"], true, "{proof}");
    }

    /// The ledger, beside the daemon.
    pub fn ledger(&self) -> SqliteLedger {
        farthing::daemon::open_ledger(&self.config()).unwrap()
    }

    /// Stamps of the site's own office at the usual price.
    pub fn buy(&self, count: usize) -> Vec<Bought> {
        self.buy_of(count, "0.25c".parse().unwrap())
    }

    pub fn buy_of(&self, count: usize, value: Micros) -> Vec<Bought> {
        self.buy_ids((0..count).map(|_| random()), value)
    }

    /// Stamps with these ids, for account [`BUYER`].
    pub fn buy_ids(&self, ids: impl Iterator<Item = [u8; 16]>, value: Micros) -> Vec<Bought> {
        block_on(async {
            let ledger = self.ledger();
            let keys = Keys::load(&self.config().keys_directory()).unwrap();
            let key = keys.signing().unwrap();
            let now = unix_now();
            let expiry = (now / 86_400 + 91) * 86_400 - 1;
            let account = BUYER;
            let bought: Vec<Bought> = ids
                .map(|id| {
                    let holder = SecretKey::from_seed(&random());
                    let terms = Terms {
                        office: "b.example".parse().unwrap(),
                        selector: key.selector.clone(),
                        id,
                        value,
                        currency: "USD".parse().unwrap(),
                        audience: "b.example".parse().unwrap(),
                        expiry,
                        holder: holder.public().to_bytes(),
                    };
                    Bought { stamp: key.secret.sell(terms).unwrap(), holder }
                })
                .collect();
            for part in bought.chunks(1_000) {
                let cost = value.checked_mul(part.len() as u64).unwrap();
                ledger.credit(account, "credit", cost, "", now).await.unwrap();
                let stamps = part
                    .iter()
                    .map(|b| OrderedStamp {
                        id: b.stamp.terms.id,
                        holder: b.stamp.terms.holder,
                        signature: b.stamp.signature,
                    })
                    .collect();
                let order = Order {
                    now,
                    account,
                    audience: "b.example".parse().unwrap(),
                    value,
                    expiry,
                    selector: key.selector.to_string(),
                    stamps,
                };
                assert!(matches!(ledger.sell(order).await.unwrap(), Sale::Sold(_)));
            }
            ledger.close().await;
            bought
        })
    }

    /// Brings a letter to the gate as Postfix does, from Alice's server.
    pub fn send(&self, letter: &Letter) -> Outcome {
        self.send_from(ALICE_IP, letter)
    }

    pub fn send_from(&self, ip: IpAddr, letter: &Letter) -> Outcome {
        self.send_as(ip, Manner::Postfix, letter)
    }

    pub fn send_as(&self, ip: IpAddr, manner: Manner, letter: &Letter) -> Outcome {
        block_on(async {
            let mut mta = MtaClient::connect(&self.milter(), FULL_OFFER, manner).await.unwrap();
            mta.greet(&client(ip), "mx.a.example").await.unwrap();
            let outcome = mta.deliver(letter).await.unwrap();
            mta.quit().await.unwrap();
            outcome
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
            if std::thread::panicking() {
                let log = daemon.log.lock().unwrap();
                let lines: Vec<&str> = log.lines().collect();
                let last = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
                eprintln!("the end of the daemon's log:\n{}", last.join("\n"));
            }
        }
    }
}

/// A stamp and the key it belongs to.
pub struct Bought {
    pub stamp: Stamp,
    pub holder: SecretKey,
}

impl Bought {
    /// Written out to a recipient, now.
    pub fn to(&self, recipient: &str, author: &str) -> String {
        self.at(recipient, author, unix_now())
    }

    pub fn at(&self, recipient: &str, author: &str, time: u64) -> String {
        self.cancelled(recipient, author, time).to_field_value().replace("\r\n", "\n")
    }

    pub fn cancelled(&self, recipient: &str, author: &str, time: u64) -> CancelledStamp {
        let (recipient, author): (Address, Address) = (recipient.parse().unwrap(), author.parse().unwrap());
        self.holder.cancel(self.stamp.clone(), &recipient, &author, time).unwrap()
    }

    /// Its id as people see it.
    pub fn id(&self) -> String {
        data_encoding::BASE64URL_NOPAD.encode(&self.stamp.terms.id)
    }
}

/// A letter of Alice's to Bob.
pub fn letter(subject: &str) -> Letter {
    Letter::new(ALICE, &[BOB], subject)
        .header("Message-ID", format!("<{subject}@a.example>"))
        .header("Date", "Mon, 02 Nov 2026 09:00:00 +0000")
}

/// The same with this stamp.
pub fn stamped(stamp: &Bought, subject: &str) -> Letter {
    letter(subject).header("Postage-Stamp", stamp.to(BOB, ALICE))
}

/// An SMTP client at this address.
pub fn client(ip: IpAddr) -> Client {
    Client { host: b"mx.a.example".to_vec(), address: ClientAddress::Ip(ip), port: 25_025 }
}

/// What the refused sender reads.
pub fn refusal(outcome: &Outcome) -> String {
    match &outcome.said {
        Said::Reply(text) => text.clone(),
        said => format!("no refusal: {said:?}"),
    }
}

/// The values of fields of this name that the gate put on top, in the order in which they stand.
pub fn added(outcome: &Outcome, name: &str) -> Vec<String> {
    let mut values: Vec<String> = outcome
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::InsertHeader(0, n, value) if n == name => {
                Some(String::from_utf8_lossy(value).trim_start().to_owned())
            }
            _ => None,
        })
        .collect();
    values.reverse();
    values
}

/// Fields that the gate took away: name and index.
pub fn removed(outcome: &Outcome) -> Vec<(String, u32)> {
    let removed = outcome.changes.iter().filter_map(|change| match change {
        Change::ChangeHeader(index, name, value) if value.is_empty() => Some((name.clone(), *index)),
        _ => None,
    });
    removed.collect()
}

/// `result=…` of the Postage-Status the gate put on top.
pub fn result(outcome: &Outcome) -> String {
    assert!(outcome.is_delivered(), "{outcome:?}");
    let status = added(outcome, "Postage-Status");
    assert_eq!(status.len(), 1, "{outcome:?}");
    let result = status[0].split("; result=").nth(1).unwrap();
    result.split(';').next().unwrap().to_owned()
}

/// Waits for something that another process or thread does.
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !ready() {
        assert!(std::time::Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Text of a process's output.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a path is there, for waiting.
pub fn exists(path: &Path) -> bool {
    path.exists()
}
