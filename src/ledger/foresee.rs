//! Looking what the books would answer, and changing nothing: for explanations.

use async_trait::async_trait;

use super::{LedgerError, Letter, Outcome};

/// Answers without consequences.
#[async_trait]
pub trait Foresee {
    /// What [`Ledger::redeem`](super::Ledger::redeem) would answer now; nothing is redeemed or counted, and redemption
    /// numbers in the answer are nobody's.
    ///
    /// # Errors
    /// [`LedgerError`] when the books cannot be read.
    async fn foresee(&self, letter: Letter) -> Result<Vec<Outcome>, LedgerError>;
}
