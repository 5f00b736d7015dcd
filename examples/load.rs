//! A load generator: brings letters to a real `farthingd` over many milter connections, and prints messages a
//! second and latencies for each kind of letter, beside a milter server that answers "accept" without looking.
//!
//! ```text
//! cargo build --release --bins --example load
//! target/release/examples/load --connections 64 --messages 20000
//! ```
//!
//! Daemon and generator share the machine's cores. Everything is on loopback and under a temporary directory.

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use farthing::{
    clock::unix_now,
    config::Config,
    demo::dns::ZoneServer,
    keys::Keys,
    ledger::{
        AccountKey, Ledger as _, ORDER_STAMPS_MAX, Order, OrderedStamp, Sale,
        book::{How, NewEntry, Sender},
    },
    money::Micros,
    stamp::{SecretKey, Terms},
};
use farthing_milter::{
    address::{Client, ClientAddress},
    client::{FULL_OFFER, Letter, Manner, MtaClient, Said},
    handler::{Context, Handler, Peer, Service},
    negotiate::Wanted,
    server::{Address, Limits, Listen, Server},
    verdict::Reply,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ALICE: &str = "alice@a.example";
const BOB: &str = "bob@b.example";
const PRICE_MICROS: u64 = 2_500;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, socket] = arguments.as_slice()
        && command == "accept-server"
    {
        return accept_server(Path::new(socket));
    }
    let option = |name: &str, default: usize| -> Result<usize, Failure> {
        match arguments.iter().position(|a| a == name) {
            Some(at) => Ok(arguments.get(at + 1).ok_or(format!("{name} needs a number"))?.parse()?),
            None => Ok(default),
        }
    };
    let connections = option("--connections", 64)?;
    let messages = option("--messages", 20_000)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(connections, messages))
}

async fn run(connections: usize, messages: usize) -> Result<(), Failure> {
    println!(
        "{messages} letters of each kind over {connections} connections; daemon and generator on the same cores"
    );
    println!("{:28} {:>10} {:>9} {:>9} {:>14}", "", "letters/s", "p50 ms", "p99 ms", "server CPU us");

    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("accept.sock");
    let accept =
        Process::start(Command::new(std::env::current_exe()?).arg("accept-server").arg(&socket), &socket)?;
    let letters = (0..messages).map(|n| letter(n).header("X-Pad", "x".repeat(600))).collect();
    print("accept without looking", &load(&Address::Unix(socket), &accept, connections, letters, 250).await?);
    drop(accept);

    let site = Site::start()?;
    let milter = Address::Unix(site.directory.path().join("milter.sock"));
    let letters = (0..messages).map(letter).collect();
    print("refused at headers", &load(&milter, &site.daemon, connections, letters, 550).await?);

    let letters = site.stamped(messages).await?;
    print("paid, durable", &load(&milter, &site.daemon, connections, letters, 250).await?);

    site.know_alice().await?;
    let letters = (0..messages).map(letter).collect();
    print("known, by SPF", &load(&milter, &site.daemon, connections, letters, 250).await?);

    println!("daemon's memory: {} MB", site.daemon.memory_kb()? / 1024);
    let proof = farthing::daemon::open_ledger(&site.config)?.check().await?;
    println!("ledger check: {} transactions, {} faults", proof.transactions, proof.faults.len());
    if proof.faults.is_empty() { Ok(()) } else { Err(proof.faults.join("; ").into()) }
}

fn letter(n: usize) -> Letter {
    Letter::new(ALICE, &[BOB], &format!("Letter {n}"))
        .header("To", BOB)
        .header("Date", "Mon, 02 Nov 2026 09:00:00 +0000")
        .header("Message-ID", format!("<{n}.{}@a.example>", std::process::id()))
        .header("MIME-Version", "1.0")
        .header("Content-Type", "text/plain; charset=utf-8")
        .body("Dear Bob,\r\n\r\nhere is what you asked for.\r\n\r\nYours\r\nAlice\r\n".repeat(20))
}

struct Measured {
    took: Duration,
    /// The server's processor time for one letter, in microseconds: what a busy machine does not change.
    cpu_us: f64,
    latencies: Vec<Duration>,
}

fn print(what: &str, measured: &Measured) {
    let mut sorted = measured.latencies.clone();
    sorted.sort();
    let at = |share: f64| {
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(0.0, |d| d.as_secs_f64() * 1e3)
    };
    let rate = sorted.len() as f64 / measured.took.as_secs_f64();
    println!("{what:28} {rate:10.0} {:9.2} {:9.2} {:14.0}", at(0.5), at(0.99), measured.cpu_us);
}

/// Brings all letters, each connection one after the other; every one must be answered with `code`.
async fn load(
    address: &Address,
    server: &Process,
    connections: usize,
    letters: Vec<Letter>,
    code: u16,
) -> Result<Measured, Failure> {
    let cpu_before = server.cpu_us()?;
    let letters = Arc::new(letters);
    let next = Arc::new(AtomicUsize::new(0));
    let client = Client { host: b"mx.a.example".to_vec(), address: ClientAddress::Ip(CLIENT), port: 25_025 };
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (letters, next, client, address) =
            (letters.clone(), next.clone(), client.clone(), address.clone());
        tasks.spawn(async move {
            let mut mta = MtaClient::connect(&address, FULL_OFFER, Manner::Postfix).await?;
            mta.greet(&client, "mx.a.example").await?;
            let mut latencies = Vec::new();
            while let Some(letter) = letters.get(next.fetch_add(1, Ordering::Relaxed)) {
                let began = Instant::now();
                let outcome = mta.deliver(letter).await?;
                latencies.push(began.elapsed());
                if outcome.said.code() != code {
                    let said = match outcome.said {
                        Said::Reply(text) => text,
                        said => format!("{said:?}"),
                    };
                    return Err(Failure::from(format!("{code} was expected, this came: {said}")));
                }
            }
            mta.quit().await?;
            Ok(latencies)
        });
    }
    let mut latencies = Vec::with_capacity(letters.len());
    while let Some(joined) = tasks.join_next().await {
        latencies.extend(joined??);
    }
    let took = began.elapsed();
    let cpu_us = (server.cpu_us()? - cpu_before) / letters.len().max(1) as f64;
    Ok(Measured { took, cpu_us, latencies })
}

/// A process that ends with its owner.
struct Process(Child);

impl Process {
    /// Starts it and waits until its socket is there.
    fn start(command: &mut Command, socket: &Path) -> Result<Self, Failure> {
        let process = Self(command.stdin(Stdio::null()).spawn()?);
        for _ in 0..3_000 {
            if std::os::unix::net::UnixStream::connect(socket).is_ok() {
                return Ok(process);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("{} does not answer", socket.display()).into())
    }

    /// Processor time used so far, in microseconds.
    fn cpu_us(&self) -> Result<f64, Failure> {
        /// `sysconf(_SC_CLK_TCK)` of every Linux.
        const TICK_US: f64 = 10_000.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let behind_name = stat.rsplit_once(')').ok_or("no stat")?.1;
        let ticks: f64 =
            behind_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
        Ok(ticks * TICK_US)
    }

    fn memory_kb(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Site {
    daemon: Process,
    config: Config,
    directory: tempfile::TempDir,
    _zone: ZoneServer,
}

impl Site {
    fn start() -> Result<Self, Failure> {
        let program: PathBuf = std::env::current_exe()?
            .parent()
            .and_then(Path::parent)
            .ok_or("no target directory")?
            .join("farthingd");
        if !program.exists() {
            return Err("farthingd is not built; run: cargo build --release --bins --example load".into());
        }
        let directory = tempfile::tempdir()?;
        let zone = ZoneServer::start()?;
        zone.txt("a.example", format!("v=spf1 ip4:{CLIENT} -all"));
        let office = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let path = directory.path().join("farthing.toml");
        std::fs::write(
            &path,
            format!(
                "[gate]\nlisten = [\"unix:milter.sock\"]\nhostname = \"mx.b.example\"\ndomains = [\"b.example\"]\n\
                 mode = \"require\"\nexempt_networks = []\n[office]\ndomain = \"b.example\"\nlisten = \"{office}\"\n\
                 url = \"http://{office}/\"\nkeys = \"keys\"\n[ledger]\nurl = \"sqlite:ledger.db\"\n\
                 [dns]\nservers = [\"{}\"]\n[log]\nlevel = \"warn\"\n",
                zone.address()
            ),
        )?;
        let daemon = Process::start(
            Command::new(program).arg("-c").arg(&path),
            &directory.path().join("milter.sock"),
        )?;
        let config = Config::load(&path)?;
        Ok(Self { daemon, config, directory, _zone: zone })
    }

    /// So many letters with a stamp each, sold by the site's office.
    async fn stamped(&self, count: usize) -> Result<Vec<Letter>, Failure> {
        let ledger = farthing::daemon::open_ledger(&self.config)?;
        let keys = Keys::load(&self.config.keys_directory())?;
        let key = keys.signing().ok_or("no key")?;
        let (now, account) = (unix_now(), AccountKey([9; 32]));
        let expiry = (now / 86_400 + 91) * 86_400 - 1;
        let value = Micros::new(PRICE_MICROS).ok_or("no price")?;
        let mut letters = Vec::with_capacity(count);
        while letters.len() < count {
            let mut stamps = Vec::new();
            for _ in 0..ORDER_STAMPS_MAX.min(count - letters.len()) {
                let (mut id, mut seed) = ([0; 16], [0; 32]);
                getrandom::fill(&mut id)?;
                getrandom::fill(&mut seed)?;
                let holder = SecretKey::from_seed(&seed);
                let terms = Terms {
                    office: "b.example".parse()?,
                    selector: key.selector.clone(),
                    id,
                    value,
                    currency: "USD".parse()?,
                    audience: "b.example".parse()?,
                    expiry,
                    holder: holder.public().to_bytes(),
                };
                let stamp = key.secret.sell(terms)?;
                stamps.push(OrderedStamp { id, holder: stamp.terms.holder, signature: stamp.signature });
                let cancelled = holder.cancel(stamp, &BOB.parse()?, &ALICE.parse()?, now)?;
                let field = cancelled.to_field_value().replace("\r\n", "\n");
                letters.push(letter(letters.len()).header("Postage-Stamp", field));
            }
            let cost = value.checked_mul(stamps.len() as u64).ok_or("too much money")?;
            ledger.credit(account, "credit", cost, "load", now).await?;
            let order = Order {
                now,
                account,
                audience: "b.example".parse()?,
                value,
                expiry,
                selector: key.selector.to_string(),
                stamps,
            };
            if !matches!(ledger.sell(order).await?, Sale::Sold(_)) {
                return Err("the stamps were not sold".into());
            }
        }
        ledger.close().await;
        Ok(letters)
    }

    async fn know_alice(&self) -> Result<(), Failure> {
        let ledger = farthing::daemon::open_ledger(&self.config)?;
        let (recipient, sender) = (Some(BOB.parse()?), Sender::Address(ALICE.parse()?));
        ledger
            .book_add(NewEntry { recipient, sender, block: false, how: How::Added, since: unix_now() })
            .await?;
        ledger.close().await;
        Ok(())
    }
}

/// The same server with a filter that accepts at MAIL.
fn accept_server(socket: &Path) -> Result<(), Failure> {
    struct Accept;
    impl Handler for Accept {
        async fn end_of_headers(&mut self, _: &Context) -> Reply {
            Reply::Accept
        }
    }
    struct AcceptAll;
    impl Service for AcceptAll {
        type Handler = Accept;
        fn open(&self, _: Peer) -> Accept {
            Accept
        }
        fn wanted(&self) -> Wanted {
            Wanted::nothing()
        }
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let server = Server::bind(&[Listen::unix(socket)], Limits::default()).await?;
        server.run(AcceptAll, std::future::pending::<()>()).await;
        Ok(())
    })
}
