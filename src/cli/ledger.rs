//! `farthing ledger`: the books.

use clap::Subcommand;
use serde_json::json;

use super::{Context, Exit, Failure, block_on, open, table};
use crate::{ledger::Ledger as _, money::signed_cents};

/// What to do with the books.
#[derive(Subcommand)]
pub enum Ledger {
    /// Prove the books: recompute everything from the entries. Ends with 1 if they do not balance.
    Check,
    /// Every account of the books; they sum to zero.
    Balances,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration or the ledger; 1 when the books do not balance.
pub fn run(command: &Ledger, context: &Context) -> Result<(), Failure> {
    let ledger = open::ledger(&context.load_config()?)?;
    match command {
        Ledger::Check => {
            let proof = block_on(ledger.check())??;
            let ok = proof.faults.is_empty();
            let head = data_encoding::BASE64URL_NOPAD.encode(&proof.head);
            let value =
                json!({"ok": ok, "transactions": proof.transactions, "head": head, "faults": proof.faults});
            context.print(&value, || {
                let faults: String = proof.faults.iter().map(|f| format!("fault: {f}\n")).collect();
                let verdict = if ok { "the books balance" } else { "THE BOOKS DO NOT BALANCE" };
                format!("{faults}{verdict}: {} transactions, head {head}\n", proof.transactions)
            })?;
            if ok { Ok(()) } else { Err(Failure::said(Exit::No)) }
        }
        Ledger::Balances => {
            let balances = block_on(ledger.balances())??;
            let map: serde_json::Map<_, _> =
                balances.iter().map(|(name, micros)| (name.clone(), json!(micros))).collect();
            context.print(&json!({"currency": ledger.currency(), "balances": map}), || {
                let rows =
                    balances.iter().map(|(name, micros)| vec![name.clone(), signed_cents(*micros)]).collect();
                table(&["ACCOUNT", "BALANCE"], rows)
            })
        }
    }
}
