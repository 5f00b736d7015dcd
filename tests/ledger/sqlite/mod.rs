//! What an SQLite file can do and suffer.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use farthing::ledger::{
    Ledger, Order,
    sqlite::{self, Options, SqliteLedger},
};

use crate::support::*;

mod crash;
mod growth;
mod opening;
mod settling;
mod tampering;
mod trouble;

/// Books in a file of a directory of their own.
pub struct SqliteBooks {
    directory: tempfile::TempDir,
}

impl SqliteBooks {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("ledger.db")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn opened(&self) -> SqliteLedger {
        sqlite::open(self.path(), options()).unwrap()
    }

    /// Books with stamps 1 to 9 sold and 1 to 3 redeemed by letters 1 to 3, the first of them refunded.
    pub async fn lived_in(&self) -> Arc<SqliteLedger> {
        use farthing::ledger::{Mark, MarkTarget};
        let ledger = Arc::new(self.opened());
        ledger.credit(buyer(), "credit", micros(100_000), "first", NOW).await.unwrap();
        ledger.sell(order(&[1, 2, 3, 4, 5, 6, 7, 8, 9])).await.unwrap();
        let mut numbers = Vec::new();
        for n in 1..=3 {
            numbers.push(paid(&redeem_one(&*ledger, to_bob(n, &[stamp(n)])).await));
        }
        ledger.mark(MarkTarget::Number(numbers[0]), Mark::Wanted, NOW).await.unwrap();
        paid(&redeem_one(&*ledger, to_bob(4, &[foreign(4, "other.example")])).await);
        must_balance(&*ledger).await;
        ledger
    }
}

impl SqliteBooks {
    /// Books of which a part was settled, given back and dropped, and in which life went on.
    pub async fn aged(&self) -> Arc<SqliteLedger> {
        let ledger = self.lived_in().await;
        let later = EXPIRY + 100 * DAY;
        ledger.credit(buyer(), "credit", micros(50_000), "second", later - 9 * DAY).await.unwrap();
        settle(&*ledger, later).await;
        let sale = Order { now: later, expiry: later + 90 * DAY, ..order(&[21, 22, 23]) };
        ledger.sell(sale).await.unwrap();
        for (n, when) in [(21, later), (22, later), (23, later + 20 * DAY)] {
            let mut stamp = stamp(n);
            stamp.key.day = u32::try_from((later + 90 * DAY) / DAY).unwrap();
            paid(&redeem_one(&*ledger, at(when, to_bob(n, &[stamp]))).await);
        }
        settle(&*ledger, later + 40 * DAY).await;
        must_balance(&*ledger).await;
        ledger
    }
}

impl Engine for SqliteBooks {
    fn open(&self) -> Arc<dyn Ledger> {
        Arc::new(self.opened())
    }
}

pub fn options() -> Options {
    Options { office: Some(own_office()), refund_window_s: REFUND_WINDOW, ..Options::new(usd()) }
}

/// Another program's connection to the same file.
pub fn outsider(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}
