//! Franking: the gate puts stamps on what local users send to domains that ask for them (`[franking]`).
//!
//! Stamps are bought ahead, by [`buyer`], with the money of the site's wallet at the offices that those domains accept;
//! they are kept in the ledger ([`crate::ledger::franking`]). A letter takes what is in hand: SMTP never waits for an office.
//! Whoever finds nothing gets a copy of his own, which waits for the moment that buying takes ([`crate::ledger::copies`]).

pub mod buyer;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    address::{Address, Domain},
    config,
    ledger::franking::{Budget, PurseStamp},
    money::Currency,
    stamp::{CancelledStamp, Stamp, Terms},
    wallet::{FileError, Signer, Wallet, WalletError},
};

/// How long a copy waits for its stamp, in seconds: some tries to buy one fit in, and a reader would not call the letter
/// late. After that it goes without, and at once where no later try would bring a stamp.
pub const COPY_WAITS_S: u64 = 600;
/// Domains remembered for which stamps could not be bought; beyond it the oldest trouble is forgotten.
const FAILING_MAX: usize = 1_000;
/// After the first failure to buy for a domain, in seconds; from then on twice as long each time.
const RETRY_FIRST_S: u64 = 30;
/// The longest pause between two tries, in seconds.
const RETRY_MOST_S: u64 = 3_600;

/// What gate and buyer share: the wallet's keys, and for which domains nothing can be had.
pub struct Franker {
    signer: Signer,
    wake: Notify,
    failing: Mutex<HashMap<Dealing, Failing>>,
}

/// What there can be trouble with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Dealing {
    /// Buying stamps for a domain.
    For(Domain),
    /// Having an order answered at an office.
    At(Domain),
}

/// Trouble.
#[derive(Clone, Copy)]
struct Failing {
    tries: u32,
    due: u64,
}

impl Franker {
    /// Opens the wallet, or makes it at the first start.
    ///
    /// # Errors
    /// [`WalletError`].
    pub fn new(wallet: &Path) -> Result<Self, WalletError> {
        let wallet = match Wallet::open(wallet) {
            Err(WalletError::File(FileError::Missing(_))) => Wallet::create(wallet)?,
            opened => opened?,
        };
        Ok(Self { signer: wallet.signer(), wake: Notify::new(), failing: Mutex::default() })
    }

    /// Stamps are wanted.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether stamps for this domain could not be bought at the last try: no use in waiting for them.
    #[must_use]
    pub fn is_failing(&self, audience: &Domain) -> bool {
        self.lock().contains_key(&Dealing::For(audience.clone()))
    }

    /// A stamp of the purse, written out.
    #[must_use]
    pub fn cancel(
        &self,
        stamp: &PurseStamp,
        currency: Currency,
        recipient: &Address,
        author: &Address,
        now: u64,
    ) -> Option<CancelledStamp> {
        let holder = self.signer.holder(&stamp.office, &stamp.id);
        let terms = Terms {
            office: stamp.office.clone(),
            selector: stamp.selector.parse().ok()?,
            id: stamp.id,
            value: stamp.value,
            currency,
            audience: stamp.audience.clone(),
            expiry: stamp.expiry,
            holder: holder.public().to_bytes(),
        };
        let stamp = Stamp { terms, signature: stamp.signature };
        holder.cancel(stamp, recipient, author, now).ok()
    }

    fn is_put_off(&self, dealing: &Dealing, now: u64) -> bool {
        self.lock().get(dealing).is_some_and(|failing| now < failing.due)
    }

    /// Whether it is news.
    fn failed(&self, dealing: &Dealing, now: u64) -> bool {
        let mut all = self.lock();
        if all.len() >= FAILING_MAX && !all.contains_key(dealing) {
            let oldest =
                all.iter().min_by_key(|(_, failing)| failing.due).map(|(dealing, _)| dealing.clone());
            oldest.map(|dealing| all.remove(&dealing));
        }
        let failing = all.entry(dealing.clone()).or_insert(Failing { tries: 0, due: 0 });
        failing.due = now.saturating_add(pause_after(failing.tries));
        failing.tries = failing.tries.saturating_add(1);
        failing.tries == 1
    }

    fn succeeded(&self, dealing: &Dealing) {
        self.lock().remove(dealing);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Dealing, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be put on letters, by the configuration.
#[must_use]
pub const fn budget(franking: &config::Franking) -> Budget {
    Budget {
        per_letter: franking.per_letter,
        per_user: franking.per_user,
        per_day: franking.per_day,
        by_login: franking.by_login,
    }
}

/// How long to wait after so many failures before this one, in seconds.
const fn pause_after(tries: u32) -> u64 {
    let doubled = RETRY_FIRST_S.saturating_mul(1 << if tries < 32 { tries } else { 32 });
    if doubled < RETRY_MOST_S { doubled } else { RETRY_MOST_S }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_is_made_once_and_trouble_is_news_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("franking.wallet");
        let franker = Franker::new(&path).unwrap();
        let again = Franker::new(&path).unwrap();
        assert_eq!(franker.signer.account().public().to_bytes(), again.signer.account().public().to_bytes());
        let b: Domain = "b.example".parse().unwrap();
        let buying = Dealing::For(b.clone());
        assert!(!franker.is_failing(&b));
        assert!(franker.failed(&buying, 1_000));
        assert!(!franker.failed(&buying, 1_030), "not again");
        assert!(franker.is_failing(&b));
        assert!(franker.is_put_off(&buying, 1_089) && !franker.is_put_off(&buying, 1_090));
        franker.succeeded(&buying);
        assert!(!franker.is_failing(&b) && !franker.is_put_off(&buying, 0));
        franker.failed(&Dealing::At(b.clone()), 1_000);
        assert!(!franker.is_failing(&b), "trouble with an office is none with the domain of that name");
        assert_eq!((pause_after(0), pause_after(3), pause_after(u32::MAX)), (30, 240, RETRY_MOST_S));
    }

    #[test]
    fn only_so_much_trouble_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let franker = Franker::new(&directory.path().join("w")).unwrap();
        let name = |n: usize| format!("d{n}.example").parse::<Domain>().unwrap();
        for n in 0..=FAILING_MAX {
            franker.failed(&Dealing::For(name(n)), n as u64);
        }
        assert!(!franker.is_failing(&name(0)) && franker.is_failing(&name(1)));
        assert_eq!(franker.lock().len(), FAILING_MAX);
    }
}
