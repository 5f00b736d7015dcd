//! Minting hashcash stamps on all cores (SPEC.md §4): [`stamp::hashcash`](crate::stamp::hashcash) with threads and
//! randomness.
//!
//! Knows nothing of letters or offices, shows nothing: who wants to show how far it is reads the counter.

use std::{
    num::NonZeroUsize,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::stamp::hashcash;

/// Counters that a thread takes at a time: a fraction of a second's work, so that all stop soon after one has found it.
const STRIDE: u64 = 65_536;
/// The most bits that are minted: at a hundred million counters a second, three hours' work.
pub const BITS_MAX: u32 = 40;

/// Why nothing was minted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Nobody could wait for it.
    #[error("{0} bits are more than the {BITS_MAX} that can be minted")]
    TooMuch(u32),
    /// It could not stand in a stamp.
    #[error("a hashcash stamp cannot be made for that resource: it has a colon or white space")]
    Resource,
    /// The system has no randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// It was told to stop.
    #[error("the work was broken off")]
    Stopped,
}

/// How a job stands while others do it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Counters looked at so far, by all threads; about 2^bits will be.
    pub tried: AtomicU64,
    /// Set to break the work off.
    pub stop: AtomicBool,
}

/// Mints a stamp of so many bits for a resource, dated `now` (Unix seconds), on so many threads; returns when one has it.
///
/// # Errors
/// [`MintError`].
pub fn mint(
    resource: &str,
    bits: u32,
    now: u64,
    threads: NonZeroUsize,
    progress: &Progress,
) -> Result<String, MintError> {
    if bits > BITS_MAX {
        return Err(MintError::TooMuch(bits));
    }
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(MintError::Random)?;
    let prefix = hashcash::prefix(resource, bits, now, &random).ok_or(MintError::Resource)?;
    let (next, found) = (AtomicU64::new(0), OnceLock::new());
    let work = || {
        while found.get().is_none() && !progress.stop.load(Ordering::Relaxed) {
            let from = next.fetch_add(STRIDE, Ordering::Relaxed);
            if let Some(stamp) = hashcash::search(&prefix, bits, from..from.saturating_add(STRIDE)) {
                // Another thread may have one too: any will do.
                let _ = found.set(stamp);
            }
            progress.tried.fetch_add(STRIDE, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner().ok_or(MintError::Stopped)
}

/// As many threads as this machine has cores for us.
#[must_use]
pub fn all_cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::hashcash::Hashcash;

    const NOW: u64 = 1_795_305_600;

    #[test]
    fn what_is_minted_counts() {
        let progress = Progress::default();
        for (threads, bits) in [(1, 0), (1, 8), (3, 12), (16, 18)] {
            let threads = NonZeroUsize::new(threads).unwrap();
            let stamp = mint("Key-_@post.example", bits, NOW, threads, &progress).unwrap();
            let stamp = Hashcash::parse(stamp.as_bytes()).unwrap();
            assert_eq!(stamp.check(b"key-_@POST.example", bits, NOW), Ok(()), "{bits} bits");
        }
        assert!(progress.tried.load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn no_two_are_the_same() {
        let mint = || mint("bob@b.example", 4, NOW, NonZeroUsize::MIN, &Progress::default()).unwrap();
        assert_ne!(mint(), mint());
    }

    #[test]
    fn work_that_nobody_can_do_or_wants_is_not_done() {
        let progress = Progress { stop: true.into(), ..Progress::default() };
        let mint = |resource, bits| mint(resource, bits, NOW, all_cores(), &progress);
        assert_eq!(mint("bob@b.example", 40), Err(MintError::Stopped));
        assert_eq!(mint("bob@b.example", 41), Err(MintError::TooMuch(41)));
        assert_eq!(mint("a:b@b.example", 4), Err(MintError::Resource));
    }
}
