//! What a redemption would come to, by a read connection.

use async_trait::async_trait;

use super::{SqliteLedger, foreign, redeem::Plan};
use crate::ledger::{LedgerError, Letter, Outcome, foresee::Foresee};

#[async_trait]
impl Foresee for SqliteLedger {
    async fn foresee(&self, letter: Letter) -> Result<Vec<Outcome>, LedgerError> {
        let site = self.site.clone();
        self.readers
            .read(move |conn| {
                let balance = |account: &str| foreign::balance(conn, account);
                Ok(Plan::of(&letter, conn, &site, balance)?.into_outcomes())
            })
            .await
    }
}
