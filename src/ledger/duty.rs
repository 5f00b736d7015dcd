//! Which daemon takes mail out of the ledger, where several work on one: while a new one starts beside the old one, or one
//! for each of two ports.
//!
//! What always holds: at most one of them has the duty, so no mail is handed in by two; and it is free at once when its
//! holder ends, however that comes about. All else that daemons do over one ledger they may do at the same time.

use async_trait::async_trait;

use super::LedgerError;

/// The duty of handing mail in.
#[async_trait]
pub trait Duty {
    /// Takes the duty, or keeps it if this handle has it already; false while another one has it.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] when it cannot be told.
    async fn take_duty(&self) -> Result<bool, LedgerError>;

    /// Gives it back, if this handle has it. One that is dropped gives it back too.
    async fn leave_duty(&self);
}
