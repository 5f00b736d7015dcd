//! `farthing freepost`: addresses that take mail without postage, for shops and newsletters (SPEC.md §9).

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Context, Exit, Failure, block_on, open, ours, say, table};
use crate::{
    address::Address,
    clock::{DAY_S, unix_now, utc_day},
    ledger::{
        Ledger as _,
        freepost::{Label, NewLabel},
    },
    stamp::{freepost::Freepost, tokens::TokenKey},
};

/// What to do with freepost addresses.
#[derive(Subcommand)]
pub enum FreepostCommand {
    /// Make an address to give to a shop or a newsletter; its last line is the address.
    #[command(after_help = "Example:\n  farthing freepost new shop --for bob@b.example --days 90")]
    New {
        #[command(flatten)]
        name: Name,
        /// Days it stays good; without it, until it is revoked.
        #[arg(long, value_name = "N", value_parser = days)]
        days: Option<u16>,
    },
    /// The addresses that were made, and what came through each.
    List {
        /// Whose; without it everybody's.
        #[arg(long = "for", value_name = "RCPT")]
        recipient: Option<Address>,
    },
    /// Take no mail at an address any more without postage. For good: its label cannot be used again.
    Revoke(Name),
}

/// Names an address.
#[derive(Args)]
pub struct Name {
    /// 1 to 24 of a-z, 0-9, dot, hyphen and underscore.
    label: String,
    /// Whose mail it takes.
    #[arg(long = "for", value_name = "RCPT")]
    recipient: Address,
}

fn days(text: &str) -> Result<u16, String> {
    let days = text.parse().ok().filter(|days| *days > 0);
    days.ok_or_else(|| format!("write a number of days from 1 to {}", u16::MAX))
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration, the label or the ledger.
pub fn run(command: &FreepostCommand, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let (ledger, keys) = (open::ledger(&config)?, open::keys(&config)?);
    let key = keys.tokens.last().ok_or_else(|| {
        Failure::new(
            Exit::Config,
            "there is no token key yet; start farthingd once, or run: farthing key new --token",
        )
    })?;
    match command {
        FreepostCommand::New { name, days } => {
            ours(&name.recipient, &config)?;
            let today = unix_now() / DAY_S;
            let expiry_day = days.map_or(Some(0), |days| u16::try_from(today + u64::from(days)).ok());
            let expiry_day =
                expiry_day.ok_or_else(|| Failure::new(Exit::Data, "that many days is too far ahead"))?;
            let address = made(key, name, expiry_day)?;
            let new = NewLabel {
                owner: name.recipient.without_detail(),
                label: name.label.to_ascii_lowercase(),
                expiry_day,
                now: unix_now(),
            };
            if !block_on(ledger.freepost_add(new))?? {
                let text = format!(
                    "`{}` was revoked; its old address would come alive: choose another label",
                    name.label
                );
                return Err(Failure::new(Exit::No, text));
            }
            context.print(&json!({"address": address, "expiry_day": expiry_day}), || format!("{address}\n"))
        }
        FreepostCommand::List { recipient } => {
            let owner = recipient.as_ref().map(Address::without_detail);
            list(&block_on(ledger.freepost_list(owner.as_ref()))??, key, context)
        }
        FreepostCommand::Revoke(name) => {
            // The label must be one that could be given away, else a slip of the finger would revoke nothing.
            made(key, name, 0)?;
            let (owner, label) = (name.recipient.without_detail(), name.label.to_ascii_lowercase());
            // A label that is not listed may still have been given away, before a backup was put back.
            let listed = block_on(ledger.freepost_list(Some(&owner)))??.iter().any(|l| l.label == label);
            let revoked = block_on(ledger.freepost_revoke(&owner, &label, unix_now()))??;
            if context.json {
                return context.print(&json!({"revoked": label, "new": revoked}), String::new);
            }
            say(&match (revoked, listed) {
                (true, true) => format!("{label} revoked\n"),
                (true, false) => format!(
                    "{label} revoked, but no such address was made here: see `farthing freepost list --for {owner}`\n"
                ),
                (false, _) => format!("{label} was revoked already\n"),
            })
        }
    }
}

fn made(key: &TokenKey, name: &Name, expiry_day: u16) -> Result<Address, Failure> {
    Freepost::make(key, &name.recipient.without_detail(), &name.label, expiry_day)
        .map_err(|e| Failure::new(Exit::Data, e))?
        .address()
        .ok_or_else(|| Failure::new(Exit::Data, format!("{} can have no freepost address", name.recipient)))
}

fn list(labels: &[Label], key: &TokenKey, context: &Context) -> Result<(), Failure> {
    let address = |label: &Label| {
        let made =
            Freepost::make(key, &label.owner, &label.label, label.expiry_day).ok().and_then(|f| f.address());
        made.map_or_else(String::new, |address| address.to_string())
    };
    let value: Vec<Value> = labels
        .iter()
        .map(|l| {
            json!({
                "recipient": l.owner, "label": l.label, "address": address(l), "made": l.made,
                "expiry_day": l.expiry_day, "revoked": l.revoked, "letters": l.letters,
                "last_letter": l.last_letter, "first_author": l.first_author,
            })
        })
        .collect();
    context.print(&value, || {
        if labels.is_empty() {
            return "no freepost addresses yet; `farthing freepost new LABEL --for RCPT` makes one\n".into();
        }
        let row = |l: &Label| {
            let until = match (l.revoked, l.expiry_day) {
                (Some(_), _) => "revoked".into(),
                (None, 0) => "for ever".into(),
                (None, day) => utc_day(u64::from(day)),
            };
            let first = l.first_author.as_ref().map_or_else(String::new, ToString::to_string);
            vec![address(l), until, l.letters.to_string(), first]
        };
        table(&["ADDRESS", "GOOD UNTIL", "LETTERS", "FIRST FROM"], labels.iter().map(row).collect())
    })
}
