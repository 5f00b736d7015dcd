//! Tries a second for a hashcash stamp: this crate on one core and on all, beside the `hashcash` program's fastest.
//!
//! `cargo bench --bench work`

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    num::NonZeroUsize,
    process::Command,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use farthing::work::{Progress, all_cores, mint};

/// How long each is measured.
const SPAN: Duration = Duration::from_secs(3);
/// Bits that nobody finds in that time.
const BITS: u32 = 40;

fn main() {
    for threads in [NonZeroUsize::MIN, all_cores()] {
        println!("{:>12.1} M/s  farthing, threads: {threads}", ours(threads) / 1e6);
    }
    match Command::new("hashcash").args(["-s", "-q"]).output() {
        Ok(output) => {
            let rate: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
            println!("{:>12.1} M/s  hashcash, which uses one core", rate / 1e6);
        }
        Err(error) => println!("hashcash cannot be run: {error}; it is in Debian's package hashcash"),
    }
}

fn ours(threads: NonZeroUsize) -> f64 {
    let progress = Progress::default();
    thread::scope(|scope| {
        let begun = Instant::now();
        scope.spawn(|| mint("bob@b.example", BITS, 1_795_305_600, threads, &progress));
        thread::sleep(SPAN);
        let tried = progress.tried.load(Ordering::Relaxed);
        let seconds = begun.elapsed().as_secs_f64();
        progress.stop.store(true, Ordering::Relaxed);
        f64::from(u32::try_from(tried).unwrap()) / seconds
    })
}
