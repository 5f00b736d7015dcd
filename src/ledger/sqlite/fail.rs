//! What can go wrong in SQLite, sorted by what must happen next.

use rusqlite::{Error, ErrorCode, types::FromSqlError};

use crate::ledger::LedgerError;

/// Why a statement or a request did not do its work.
#[derive(Debug)]
pub(super) enum Fail {
    /// The request is refused and has written nothing; the batch goes on.
    Refused(LedgerError),
    /// The request cannot be done and may have written something: undo it alone and go on with the others.
    Poison(LedgerError),
    /// The storage does not work: the whole batch fails and the connection is opened anew.
    Storage(LedgerError),
    /// Another process holds the lock for too long: everything that waits fails; the connection is good.
    Busy(LedgerError),
}

impl Fail {
    /// What the caller of the ledger is told.
    pub fn into_error(self) -> LedgerError {
        match self {
            Self::Refused(e) | Self::Poison(e) | Self::Storage(e) | Self::Busy(e) => e,
        }
    }

    /// What is stored contradicts itself.
    pub fn damaged(what: impl Into<String>) -> Self {
        Self::Poison(LedgerError::Damaged(what.into()))
    }

    /// A sum would not fit.
    pub const fn overflow() -> Self {
        Self::Poison(LedgerError::Overflow)
    }

    /// The caller asked for nonsense.
    pub const fn invalid(what: &'static str) -> Self {
        Self::Refused(LedgerError::Invalid(what))
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        match &error {
            Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy(LedgerError::Unavailable(
                    format!("{words}: another process holds it; find it with fuser"),
                )),
                ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => {
                    Self::Poison(LedgerError::Damaged(words))
                }
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                    Self::Storage(LedgerError::Damaged(words))
                }
                _ => Self::Storage(LedgerError::Unavailable(words)),
            },
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => Self::Poison(LedgerError::Damaged(words)),
            _ => Self::Storage(LedgerError::Unavailable(words)),
        }
    }
}

impl From<FromSqlError> for Fail {
    fn from(error: FromSqlError) -> Self {
        Error::from(error).into()
    }
}

/// Unix seconds as SQLite keeps them; what is beyond cannot come, and is the end of time.
pub(super) fn stored_time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Unix seconds as they were stored; a negative one is 1970.
pub(super) fn read_time(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or_default()
}
