//! `farthing settings`: what recipients have set for themselves, for an admin to see and to help with.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Context, Exit, Failure, block_on, open, ours, say, shown_time, table};
use crate::{
    address::Address,
    clock::unix_now,
    config::Config,
    ledger::settings::{Cadence, OwnPrice, OwnSettings, Settings as _},
    money::Micros,
    policy::price::Price,
};

/// What to do with settings.
#[derive(Subcommand)]
pub enum SettingsCommand {
    /// Everybody who has set something, or one recipient.
    List {
        /// Whose; without it everybody's.
        #[arg(long = "for", value_name = "RCPT")]
        recipient: Option<Address>,
    },
    /// What strangers pay a recipient, at most `[gate] max_price`; `default` for the site's price.
    #[command(after_help = "Example:\n  farthing settings price 1c --public --for bob@b.example")]
    Price {
        /// An amount, or `default`.
        #[arg(value_parser = price)]
        amount: PriceWish,
        /// Told to whoever asks; else strangers hear the site's price.
        #[arg(long)]
        public: bool,
        #[command(flatten)]
        whose: Whose,
    },
    /// How often a recipient gets a digest of strangers' letters.
    Digest {
        /// off, daily or weekly.
        #[arg(value_parser = cadence)]
        digest: Cadence,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Whose settings.
#[derive(Args)]
pub struct Whose {
    /// The recipient.
    #[arg(long = "for", value_name = "RCPT")]
    recipient: Address,
}

/// A price as it is typed; `None`: the site's.
#[derive(Clone, Copy)]
pub struct PriceWish(Option<Micros>);

fn price(text: &str) -> Result<PriceWish, String> {
    if text == "default" {
        return Ok(PriceWish(None));
    }
    text.parse().map(|amount| PriceWish(Some(amount))).map_err(|e| format!("{e}, or default"))
}

fn cadence(text: &str) -> Result<Cadence, String> {
    Cadence::from_word(text).ok_or_else(|| "a digest is off, daily or weekly".to_owned())
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration, the price or the ledger.
pub fn run(command: &SettingsCommand, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let ledger = open::ledger(&config)?;
    match command {
        SettingsCommand::List { recipient: None } => {
            list(&block_on(ledger.all_settings())??, &config, context)
        }
        SettingsCommand::List { recipient: Some(owner) } => {
            let settings = block_on(ledger.settings(owner))??;
            list(&[(owner.without_detail(), settings)], &config, context)
        }
        SettingsCommand::Price { amount: PriceWish(amount), public, whose } => {
            let owner = ours(&whose.recipient, &config)?;
            if let Some(value) = *amount {
                let most = config.gate.max_price;
                if value == Micros::ZERO || value > most {
                    let text = format!("a price here is more than 0 and at most {most} ([gate] max_price)");
                    return Err(Failure::new(Exit::Data, text));
                }
            }
            let own = amount.map(|value| OwnPrice { value, public: *public });
            block_on(ledger.set_price(owner, own))??;
            done(owner, &block_on(ledger.settings(owner))??, &config, context)
        }
        SettingsCommand::Digest { digest, whose } => {
            let owner = ours(&whose.recipient, &config)?;
            block_on(ledger.set_digest(owner, *digest, unix_now()))??;
            done(owner, &block_on(ledger.settings(owner))??, &config, context)
        }
    }
}

fn done(owner: &Address, own: &OwnSettings, config: &Config, context: &Context) -> Result<(), Failure> {
    let owner = owner.without_detail();
    if context.json {
        return context.print(&shown(&owner, own), String::new);
    }
    say(&format!("{owner}: {}, digest {}\n", price_in_words(own, config), own.digest.as_str()))
}

fn price_in_words(own: &OwnSettings, config: &Config) -> String {
    let asked = Price::of(own.price, config.gate.price, config.gate.max_price).asked;
    match own.price {
        None => format!("{asked} (the site's)"),
        Some(OwnPrice { public: true, .. }) => format!("{asked} (public)"),
        Some(_) => asked.to_string(),
    }
}

fn shown(owner: &Address, own: &OwnSettings) -> Value {
    json!({
        "recipient": owner, "price": own.price.map(|price| price.value),
        "public": own.price.is_some_and(|price| price.public),
        "digest": own.digest.as_str(), "digest_sent": own.digest_sent,
    })
}

fn list(all: &[(Address, OwnSettings)], config: &Config, context: &Context) -> Result<(), Failure> {
    let value: Vec<Value> = all.iter().map(|(owner, own)| shown(owner, own)).collect();
    context.print(&value, || {
        if all.is_empty() {
            return "nobody has set anything; all ask the site's price\n".into();
        }
        let row = |(owner, own): &(Address, OwnSettings)| {
            let sent = own.digest_sent.map_or_else(String::new, shown_time);
            vec![owner.to_string(), price_in_words(own, config), own.digest.as_str().to_owned(), sent]
        };
        table(&["RECIPIENT", "PRICE", "DIGEST", "LAST DIGEST"], all.iter().map(row).collect())
    })
}
