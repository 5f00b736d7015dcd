//! Redemptions a second, each durable before it is answered, beside what SQLite itself can do on the same disk.
//!
//! `cargo bench --bench ledger [-- ROWS]`: the second half is measured with ROWS (default a million) rows there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use farthing::{
    ledger::{
        AccountKey, Ledger, Letter, Order, OrderedStamp, Outcome, StampCandidate, StampKey, Want,
        book::Sender,
        sqlite::{self, Options, SqliteLedger},
    },
    money::Micros,
};
use rusqlite::{Connection, params};

const NOW: u64 = 1_800_000_000;
const EXPIRY: u64 = (NOW / 86_400 + 90) * 86_400 + 86_399;
const BUYER: AccountKey = AccountKey([7; 32]);
/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(3);
const REQUESTERS: [u64; 3] = [1, 16, 256];

fn main() {
    let rows: u64 = env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let directory = tempfile::tempdir_in(env::var_os("CARGO_TARGET_DIR").unwrap_or(".".into())).unwrap();
    println!("{:<44} {:>10} {:>9} {:>9}", "", "a second", "p50 µs", "p99 µs");
    for batch in [1, 16, 256] {
        raw(&directory.path().join(format!("raw{batch}.db")), batch);
    }
    let path = directory.path().join("ledger.db");
    let options =
        Options { office: Some("post.example".parse().unwrap()), ..Options::new("USD".parse().unwrap()) };
    let ledger = Arc::new(sqlite::open(&path, options).unwrap());
    let bench = Arc::new(Bench { ledger, next_sold: AtomicU64::new(0), next: AtomicU64::new(0) });
    runtime.block_on(async {
        bench.ledger.credit(BUYER, "credit", Micros::new(1 << 60).unwrap(), "", NOW).await.unwrap();
        for filled in [0, rows] {
            bench.fill(filled).await;
            for requesters in REQUESTERS {
                bench.redeem(requesters).await;
            }
            bench.ask("spent stamps refused (good signature)", 64, Bench::spent).await;
            bench.ask("bad stamps looked up", 64, Bench::bad).await;
            bench.ask("known, one at a time", 1, Bench::known).await;
            bench.ask("known", 64, Bench::known).await;
        }
        let begun = Instant::now();
        let proof = bench.ledger.check().await.unwrap();
        assert_eq!(proof.faults, Vec::<String>::new());
        println!("proof of {} movements in {:.1} s", proof.transactions, begun.elapsed().as_secs_f32());
    });
    let file = std::fs::metadata(&path).unwrap().len();
    println!("file {} MiB, memory {}", file >> 20, resident());
}

/// Peak memory of this process as the kernel says it.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("unknown").trim().to_owned()
}

/// SQLite alone: rows of a redemption's width with its unique key, so many a commit.
fn raw(path: &Path, batch: u32) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8192;
         CREATE TABLE spent (seq INTEGER PRIMARY KEY, day INTEGER, office INTEGER, id BLOB, amount INTEGER, rest BLOB);
         CREATE UNIQUE INDEX once ON spent (day, office, id);",
    )
    .unwrap();
    let (begun, mut times, mut n) = (Instant::now(), Vec::new(), 0_u64);
    while begun.elapsed() < SPAN {
        let start = Instant::now();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..batch {
            conn.prepare_cached(
                "INSERT INTO spent (day, office, id, amount, rest) VALUES (20000, 1, ?1, 2500, ?2)",
            )
            .unwrap()
            .execute(params![id(n), [0_u8; 80]])
            .unwrap();
            n += 1;
        }
        conn.execute_batch("COMMIT").unwrap();
        times.push(start.elapsed());
    }
    report(&format!("SQLite alone, {batch} rows a commit"), n, begun.elapsed(), times);
}

fn report(what: &str, count: u64, span: Duration, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_micros();
    #[allow(clippy::cast_precision_loss)]
    let rate = count as f64 / span.as_secs_f64();
    println!("{what:<44} {rate:>10.0} {:>9} {:>9}", at(50), at(99));
}

/// Ids as buyers draw them: far from each other.
fn id(n: u64) -> [u8; 16] {
    let mut id = [0; 16];
    blake3::Hasher::new().update(&n.to_be_bytes()).finalize_xof().fill(&mut id);
    id
}

fn stamp(n: u64) -> StampCandidate {
    StampCandidate {
        key: StampKey {
            day: u32::try_from(EXPIRY / 86_400).unwrap(),
            office: "post.example".parse().unwrap(),
            id: id(n),
        },
        value: Micros::new(2_500).unwrap(),
        signature: [1; 64],
        fingerprint: id(n),
        good: true,
        field: None,
    }
}

fn letter(n: u64, stamp: StampCandidate) -> Letter {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    Letter {
        now: NOW,
        digest,
        author: Some(format!("writer{n}@a.example").parse().unwrap()),
        authenticated: true,
        wants: vec![Want {
            recipient: format!("reader{}@b.example", n % 1000).parse().unwrap(),
            answering: None,
            stamps: vec![stamp],
            work: vec![],
        }],
        all_or_nothing: true,
        work_daily_max: 3,
        office_cap: Micros::new(1 << 50).unwrap_or_default(),
    }
}

struct Bench {
    ledger: Arc<SqliteLedger>,
    next_sold: AtomicU64,
    next: AtomicU64,
}

impl Bench {
    /// Sells `count` stamps more than were redeemed so far.
    async fn sell(&self, count: u64) {
        let until = self.next.load(Ordering::Relaxed) + count;
        while self.next_sold.load(Ordering::Relaxed) < until {
            let first = self.next_sold.fetch_add(1_000, Ordering::Relaxed);
            let stamp = |n| OrderedStamp { id: id(n), holder: [0; 32], signature: [1; 64] };
            let order = Order {
                now: NOW,
                account: BUYER,
                audience: "b.example".parse().unwrap(),
                value: Micros::new(2_500).unwrap(),
                expiry: EXPIRY,
                selector: "s1".into(),
                stamps: (first..first + 1_000).map(stamp).collect(),
            };
            self.ledger.sell(order).await.unwrap();
        }
    }

    async fn fill(self: &Arc<Self>, rows: u64) {
        if rows == 0 {
            return;
        }
        self.sell(rows).await;
        let until = self.next.load(Ordering::Relaxed) + rows;
        let begun = Instant::now();
        let tasks = (0..512).map(|_| {
            let bench = Arc::clone(self);
            tokio::spawn(async move {
                while bench.next.load(Ordering::Relaxed) < until {
                    Arc::clone(&bench).paid().await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        println!("{rows} rows written in {:.0} s", begun.elapsed().as_secs_f32());
    }

    async fn redeem(self: &Arc<Self>, requesters: u64) {
        self.sell(300_000).await;
        self.ask("redeemed", requesters, Self::paid).await;
    }

    async fn ask<F>(self: &Arc<Self>, what: &str, requesters: u64, one: fn(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let begun = Instant::now();
        let tasks = (0..requesters).map(|_| {
            let bench = Arc::clone(self);
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < SPAN {
                    let start = Instant::now();
                    one(Arc::clone(&bench)).await;
                    times.push(start.elapsed());
                }
                times
            })
        });
        let mut times = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            times.extend(task.await.unwrap());
        }
        let (count, rows) = (times.len() as u64, self.next.load(Ordering::Relaxed));
        report(
            &format!("{what}, {requesters} requesters, {} k rows", rows / 1_000),
            count,
            begun.elapsed(),
            times,
        );
    }

    async fn paid(self: Arc<Self>) {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let outcome = self.ledger.redeem(letter(n, stamp(n))).await.unwrap();
        assert!(matches!(outcome[..], [Outcome::Stamp { retry: false, .. }]), "{n}: {outcome:?}");
    }

    async fn spent(self: Arc<Self>) {
        let outcome = self.ledger.redeem(letter(u64::MAX, stamp(0))).await.unwrap();
        assert!(matches!(outcome[..], [Outcome::Unpaid { .. }]));
    }

    async fn bad(self: Arc<Self>) {
        let candidate = StampCandidate { good: false, ..stamp(u64::MAX) };
        self.ledger.redeem(letter(u64::MAX, candidate)).await.unwrap();
    }

    async fn known(self: Arc<Self>) {
        let senders: [Sender; 2] = ["alice@a.example".parse().unwrap(), "a.example".parse().unwrap()];
        self.ledger.known(&"bob@b.example".parse().unwrap(), &senders).await.unwrap();
    }
}
