//! `farthing account`: the accounts of those who buy stamps here, and of logins that pay for the stamps on their letters.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Exit, Failure, block_on, ids, open, shown_time, table};
use crate::{
    clock::unix_now,
    ledger::{
        AccountKey, Entry, Ledger,
        logins::{LOGIN_PREFIX, Logins as _},
    },
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
        /// The account: a public key in base64url, as `farthing wallet show` prints it, or login:NAME.
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
    /// The account: a public key in base64url, or login:NAME ([franking] pays = "login").
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
            let logins = block_on(ledger.login_accounts())??;
            let keys =
                accounts.iter().map(|(key, state)| (key.to_string(), state.balance, state.outstanding));
            let logins = logins
                .into_iter()
                .map(|(login, balance)| (format!("{LOGIN_PREFIX}{login}"), balance, Micros::ZERO));
            let all: Vec<_> = keys.chain(logins).collect();
            let value: Vec<_> = all
                .iter()
                .map(|(account, balance, outstanding)| json!({"account": account, "balance": balance, "outstanding": outstanding}))
                .collect();
            context.print(&value, || {
                if all.is_empty() {
                    return "no accounts yet; `farthing account credit KEY AMOUNT` opens one\n".into();
                }
                let row = |(account, balance, outstanding): &(String, Micros, Micros)| {
                    let account = crate::address::escaped(account.as_bytes());
                    vec![account, balance.to_string(), outstanding.to_string()]
                };
                table(&["ACCOUNT", "BALANCE", "IN STAMPS"], all.iter().map(row).collect())
            })
        }
        Account::Show { key } => show(&ledger, &holder(key)?, context),
        Account::Credit(m) | Account::Debit(m) => {
            let holder = holder(&m.key)?;
            if m.amount == Micros::ZERO {
                return Err(Failure::new(Exit::Data, "the amount is zero; nothing was moved"));
            }
            let (amount, memo, now) = (m.amount, &m.memo, unix_now());
            let balance = match (&holder, command) {
                (Holder::Key(key), Account::Credit(_)) => {
                    block_on(ledger.credit(*key, SOURCE, amount, memo, now))??
                }
                (Holder::Key(key), _) => block_on(ledger.debit(*key, SOURCE, amount, memo, now))??,
                (Holder::Login(login), Account::Credit(_)) => {
                    block_on(ledger.login_credit(login, amount, memo, now))??
                }
                (Holder::Login(login), _) => block_on(ledger.login_debit(login, amount, memo, now))??,
            };
            let name = holder.to_string();
            context.print(&json!({"account": name, "balance": balance}), || {
                format!("{name} now holds {balance}\n")
            })
        }
    }
}

fn show(ledger: &impl Ledger, holder: &Holder, context: &Context) -> Result<(), Failure> {
    let name = holder.to_string();
    let (balance, outstanding, entries) = match holder {
        Holder::Key(key) => {
            let state = block_on(ledger.account(*key, unix_now()))??;
            (state.balance, state.outstanding, block_on(ledger.entries(*key, ENTRIES_SHOWN))??)
        }
        Holder::Login(login) => {
            let entries: Vec<Entry> = block_on(ledger.login_entries(login, ENTRIES_SHOWN))??;
            (block_on(ledger.login_account(login))??, Micros::ZERO, entries)
        }
    };
    let value = json!({
        "account": name, "balance": balance, "outstanding": outstanding,
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
            "{name}\nbalance {balance}, in stamps {outstanding}\n\n{}",
            table(&["TIME (UTC)", "KIND", "AMOUNT", "MEMO"], rows)
        )
    })
}

/// Whose account it is.
enum Holder {
    /// Who signs with this key.
    Key(AccountKey),
    /// A login of the mail server's.
    Login(String),
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Login(login) => write!(f, "{LOGIN_PREFIX}{}", crate::address::escaped(login.as_bytes())),
        }
    }
}

/// An account as people write it.
fn holder(text: &str) -> Result<Holder, Failure> {
    match text.strip_prefix(LOGIN_PREFIX) {
        Some("") => Err(Failure::new(Exit::Data, "`login:` names nobody; write login:NAME, as users log in")),
        Some(login) => Ok(Holder::Login(login.to_lowercase())),
        None => account_key(text).map(Holder::Key),
    }
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
