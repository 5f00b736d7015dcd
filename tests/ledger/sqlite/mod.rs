//! What an SQLite file can do and suffer.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use farthing::ledger::{
    Ledger,
    sqlite::{self, Options, SqliteLedger},
};

use crate::support::*;

mod crash;
mod opening;
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
