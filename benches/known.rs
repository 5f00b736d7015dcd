//! Look-ups in books of known senders of a thousand to a million entries, side by side: they cost the same. One entry in
//! ten is a domain with its subdomains.
//!
//! `cargo bench --bench known [-- ENTRIES …]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use farthing::{
    address::Address,
    ledger::{
        Ledger as _,
        book::{How, Known, NewEntry, Sender},
        sqlite::{self, Options, SqliteLedger},
    },
};

/// Entries of one reader's book.
const ENTRIES_A_READER: u64 = 500;
/// Entries of which one is a domain with its subdomains.
const ENTRIES_A_ZONE: u64 = 10;
/// Entries written in one transaction while filling.
const BATCH: u64 = 10_000;
/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(2);

fn main() {
    let mut sizes: Vec<u64> = env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    let directory = tempfile::tempdir_in(env::var_os("CARGO_TARGET_DIR").unwrap_or(".".into())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    println!("{:>9} {:<10} {:>10} {:>9} {:>9}", "entries", "sender", "a second", "p50 µs", "p99 µs");
    for entries in sizes {
        let path = directory.path().join(format!("{entries}.db"));
        runtime.block_on(measure(&path, entries));
        let file_mib = fs::metadata(&path).unwrap().len() >> 20;
        println!("{entries:>9} the file has {file_mib} MiB, this process {} MiB", resident_mib());
    }
}

async fn measure(path: &Path, entries: u64) {
    let ledger = sqlite::open(path, Options::new("USD".parse().unwrap())).unwrap();
    for from in (0..entries).step_by(BATCH as usize) {
        ledger.book_add_all((from..entries.min(from + BATCH)).map(entry).collect()).await.unwrap();
    }
    // Written by another handle, so that what is measured of memory is what looking up takes.
    ledger.close().await;
    let ledger = sqlite::open(path, Options::new("USD".parse().unwrap())).unwrap();
    ask(&ledger, entries, "known", Known::Allowed, |n| sender(if is_zone(n) { n - 1 } else { n })).await;
    ask(&ledger, entries, "below", Known::Allowed, |n| below(n - n % ENTRIES_A_ZONE + ENTRIES_A_ZONE - 1))
        .await;
    ask(&ledger, entries, "stranger", Known::Unknown, |n| sender(n + entries * 2)).await;
    ask(&ledger, entries, "deep", Known::Unknown, |n| {
        format!("x@a.b.c.d.e.f.g.h.d{n}.example").parse().unwrap()
    })
    .await;
    ledger.close().await;
}

async fn ask(ledger: &SqliteLedger, entries: u64, what: &str, want: Known, sender: impl Fn(u64) -> Address) {
    let mut micros = Vec::new();
    let begun = Instant::now();
    let mut n = 1_u64;
    while begun.elapsed() < SPAN {
        // Everywhere in the book, in no order that a cache would like.
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (n >> 20) % entries;
        let sender = sender(at);
        let asked = Instant::now();
        let names = Sender::names_of_author(&sender);
        assert_eq!(ledger.known(&reader(at), &names).await.unwrap(), want);
        micros.push(asked.elapsed().as_micros());
    }
    let rate = micros.len() as f64 / begun.elapsed().as_secs_f64();
    micros.sort_unstable();
    let at = |share: usize| micros[micros.len() * share / 100];
    println!("{entries:>9} {what:<10} {rate:>10.0} {:>9} {:>9}", at(50), at(99));
}

fn reader(n: u64) -> Address {
    format!("reader{}@b.example", n / ENTRIES_A_READER).parse().unwrap()
}

fn sender(n: u64) -> Address {
    format!("sender{n}@d{}.example", n % 7_919).parse().unwrap()
}

/// Whether entry `n` is a domain with its subdomains.
fn is_zone(n: u64) -> bool {
    n % ENTRIES_A_ZONE == ENTRIES_A_ZONE - 1
}

/// An author below the domain of entry `n`.
fn below(n: u64) -> Address {
    format!("news@mail.z{n}.example").parse().unwrap()
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

fn entry(n: u64) -> NewEntry {
    let sender =
        if is_zone(n) { format!(".z{n}.example").parse().unwrap() } else { Sender::Address(sender(n)) };
    NewEntry { recipient: Some(reader(n)), sender, block: false, how: How::Imported, since: 1 }
}
