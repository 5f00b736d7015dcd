//! How fast a filter that does nothing is: messages a second over many connections, and how long one takes.
//!
//! `cargo run --release -p farthing-milter --features client --example throughput [connections] [seconds]`. Filter and
//! load share the processors; the load speaks as Postfix does, over a unix socket.

use std::time::{Duration, Instant};

use farthing_milter::address::{Client, ClientAddress};
use farthing_milter::client::{FULL_OFFER, Letter, Manner, MtaClient};
use farthing_milter::handler::{Handler, Peer, Service};
use farthing_milter::negotiate::{Steps, Wanted};
use farthing_milter::server::{Address, Limits, Listen, Server};

struct Nothing {
    steps: Steps,
}

struct Idle;

impl Handler for Idle {}

impl Service for Nothing {
    type Handler = Idle;

    fn open(&self, _peer: Peer) -> Idle {
        Idle
    }

    fn wanted(&self) -> Wanted {
        Wanted::nothing().steps(self.steps)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let connections: usize = args.next().unwrap_or("64".into()).parse()?;
    let time = Duration::from_secs(args.next().unwrap_or("5".into()).parse()?);
    for (name, steps) in [
        ("every command answered", Steps::NONE),
        ("header fields unanswered, body skipped", Steps::NR_HEADER | Steps::SKIP),
    ] {
        let path = std::env::temp_dir().join(format!("throughput-{}", std::process::id()));
        let server = Server::bind(&[Listen::unix(&path)], Limits::default()).await?;
        let address = server.addresses().remove(0);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(Nothing { steps }, async { drop(stopped.await) }));
        let clients = (0..connections).map(|_| tokio::spawn(load(address.clone(), time)));
        let mut times = Vec::new();
        for client in clients.collect::<Vec<_>>() {
            times.extend(client.await?.map_err(|error| error.to_string())?);
        }
        let _ = stop.send(());
        serving.await?;
        times.sort();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        let rate = times.len() as f64 / time.as_secs_f64();
        println!("{name}: {rate:.0} messages/s, p50 {:?}, p99 {:?}", at(50), at(99));
    }
    Ok(())
}

/// One connection's messages, and how long each took.
async fn load(
    address: Address,
    time: Duration,
) -> Result<Vec<Duration>, farthing_milter::client::ClientError> {
    let mut client = MtaClient::connect(&address, FULL_OFFER, Manner::Postfix).await?;
    let stranger =
        Client { host: b"mx.a.example".to_vec(), address: ClientAddress::parse(b"192.0.2.1"), port: 40_000 };
    client.greet(&stranger, "mx.a.example").await?;
    let mut letter = Letter::new("ann@a.example", &["bob@b.example"], "hello").body(vec![b'x'; 2_000]);
    for (name, value) in [
        ("To", "bob@b.example"),
        ("Date", "Sat, 21 Nov 2026 08:00:00 +0000"),
        ("Message-Id", "<1@a.example>"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
    ] {
        letter = letter.header(name, value);
    }
    let mut times = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let start = Instant::now();
        client.deliver(&letter).await?;
        times.push(start.elapsed());
    }
    client.quit().await?;
    Ok(times)
}
