//! `farthing account`: the accounts of those who buy stamps here.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Exit, Failure, block_on, ids, open, shown_time, table};
use crate::{
    clock::unix_now,
    ledger::{AccountKey, Ledger as _},
    money::{Micros, signed_cents},
};

/// Where money comes from and goes to when an admin moves it by hand.
const SOURCE: &str = "credit";
/// Movements that `show` shows.
const ENTRIES_SHOWN: u32 = 50;

/// What to do with accounts.
#[derive(Subcommand)]
pub enum Account {
    /// Every account with its balance and the value of its unused stamps.
    List,
    /// One account and its newest movements.
    Show {
        /// The account: a public key in base64url, as `farthing wallet show` prints it.
        #[arg(value_parser = ids::typed)]
        key: String,
    },
    /// Put money on an account.
    #[command(after_help = "Example:\n  farthing account credit KEY 5.00 --memo \"paid by invoice 17\"")]
    Credit(Movement),
    /// Take money off an account again; it must hold as much.
    Debit(Movement),
}

/// Money to move.
#[derive(Args)]
pub struct Movement {
    /// The account: a public key in base64url.
    #[arg(value_parser = ids::typed)]
    key: String,
    /// 0.25c (hundredths), 2500u (micros) or 0.0025 (units).
    amount: Micros,
    /// What for; stands in the books.
    #[arg(long, default_value = "", value_name = "TEXT")]
    memo: String,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration, the key or the ledger.
pub fn run(command: &Account, context: &Context) -> Result<(), Failure> {
    let ledger = open::ledger(&context.load_config()?)?;
    match command {
        Account::List => {
            let accounts = block_on(ledger.accounts(unix_now()))??;
            let value: Vec<_> = accounts
                .iter()
                .map(|(key, state)| json!({"account": key.to_string(), "balance": state.balance, "outstanding": state.outstanding}))
                .collect();
            context.print(&value, || {
                if accounts.is_empty() {
                    return "no accounts yet; `farthing account credit KEY AMOUNT` opens one\n".into();
                }
                let rows = accounts
                    .iter()
                    .map(|(key, s)| vec![key.to_string(), s.balance.to_string(), s.outstanding.to_string()])
                    .collect();
                table(&["ACCOUNT", "BALANCE", "IN STAMPS"], rows)
            })
        }
        Account::Show { key } => show(&ledger, account_key(key)?, context),
        Account::Credit(m) | Account::Debit(m) => {
            let key = account_key(&m.key)?;
            if m.amount == Micros::ZERO {
                return Err(Failure::new(Exit::Data, "the amount is zero; nothing was moved"));
            }
            let balance = if matches!(command, Account::Credit(_)) {
                block_on(ledger.credit(key, SOURCE, m.amount, &m.memo, unix_now()))??
            } else {
                block_on(ledger.debit(key, SOURCE, m.amount, &m.memo, unix_now()))??
            };
            context.print(&json!({"account": key.to_string(), "balance": balance}), || {
                format!("{key} now holds {balance}\n")
            })
        }
    }
}

fn show(ledger: &impl crate::ledger::Ledger, key: AccountKey, context: &Context) -> Result<(), Failure> {
    let state = block_on(ledger.account(key, unix_now()))??;
    let entries = block_on(ledger.entries(key, ENTRIES_SHOWN))??;
    let value = json!({
        "account": key.to_string(), "balance": state.balance, "outstanding": state.outstanding,
        "entries": entries.iter().map(|e| json!({"time": e.time, "kind": e.kind, "amount": e.amount, "memo": e.memo})).collect::<Vec<_>>(),
    });
    context.print(&value, || {
        let rows = entries
            .iter()
            .map(|e| {
                vec![
                    shown_time(e.time),
                    e.kind.clone(),
                    signed_cents(e.amount),
                    crate::address::escaped(e.memo.as_bytes()),
                ]
            })
            .collect();
        format!(
            "{key}\nbalance {}, in stamps {}\n\n{}",
            state.balance,
            state.outstanding,
            table(&["TIME (UTC)", "KIND", "AMOUNT", "MEMO"], rows)
        )
    })
}

/// A key as people copy it.
pub fn account_key(text: &str) -> Result<AccountKey, Failure> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default();
    bytes.try_into().map(AccountKey).map_err(|_| {
        let shown = crate::address::shown(text.as_bytes());
        Failure::new(
            Exit::Data,
            format!(
                "`{shown}` is not an account: 43 characters of base64url, as `farthing wallet show` prints it"
            ),
        )
    })
}
