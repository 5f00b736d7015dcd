//! Opening what the admin's commands work on: the ledger and the keys the configuration names.

use crate::{
    cli::{Exit, Failure},
    config::{Config, LedgerUrl},
    keys::Keys,
    ledger::{LedgerError, MarkError, sqlite::SqliteLedger},
};

/// The ledger of a configuration, for reading and writing beside the running daemon.
pub fn ledger(config: &Config) -> Result<SqliteLedger, Failure> {
    let LedgerUrl::Sqlite(path) = &config.ledger.url;
    if !path.exists() {
        let text = format!("{} does not exist yet; start farthingd once, it makes it", path.display());
        return Err(Failure::new(Exit::Unavailable, text));
    }
    crate::daemon::open_ledger(config).map_err(|e| Failure::new(Exit::Unavailable, e))
}

/// The keys of a configuration.
pub fn keys(config: &Config) -> Result<Keys, Failure> {
    Keys::load(&config.keys_directory()).map_err(|e| Failure::new(Exit::Config, e))
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let exit = match error {
            LedgerError::QueueFull | LedgerError::Unavailable(_) => Exit::TempFail,
            LedgerError::Damaged(_) => Exit::Software,
            LedgerError::Overflow | LedgerError::Invalid(_) => Exit::Data,
            LedgerError::Short(_) => Exit::No,
        };
        Self::new(exit, error)
    }
}

impl From<MarkError> for Failure {
    fn from(error: MarkError) -> Self {
        match error {
            MarkError::Ledger(error) => error.into(),
            error => Self::new(Exit::No, error),
        }
    }
}
