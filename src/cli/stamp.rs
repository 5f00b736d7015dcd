//! `farthing stamp`: the letter on stdin, with its stamps, on stdout.

use std::path::Path;

use clap::Args;

use super::{
    Context, Exit, Failure,
    buy::{self, Wish},
    read_message, say_bytes,
    wallet::WalletFile,
};
use crate::{
    address::Address,
    clock::unix_now,
    money::Micros,
    wallet::{BUYING_TRIES_MAX, Buyer, Count, Postmark, Wallet, WalletError},
};

pub const EXAMPLES: &str = "Examples:
  farthing stamp --to bob@b.example < letter.eml > stamped.eml
  farthing stamp --to bob@b.example --to eve@c.example < letter.eml | sendmail -t
  farthing stamp --to bob@b.example --buy < letter.eml > stamped.eml

The stamp is bound to the recipient and to the letter's From address. Date and Message-ID are added when missing; \
     everything else stays as it is. A recipient without a stamp is named, nothing is written, no stamp is used up. Hand \
     in one copy of a letter for each recipient domain, and one for each Bcc recipient, each with its own stamps alone.";

/// What to put on the letter.
#[derive(Args)]
pub struct StampArgs {
    /// A recipient, as the envelope will name him; one stamp each.
    #[arg(long = "to", value_name = "ADDRESS", required = true, num_args = 1..)]
    recipients: Vec<Address>,
    /// Use stamps worth at least this [default: the cheapest in hand for the recipient's domain].
    #[arg(long, value_name = "AMOUNT")]
    value: Option<Micros>,
    /// Buy the stamps that are missing; without it no network is asked.
    #[arg(long)]
    buy: bool,
    /// Who sells them, with --buy [default: the office that DNS names].
    #[arg(long, value_name = "URL", requires = "buy")]
    office: Option<String>,
    #[command(flatten)]
    file: WalletFile,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`]: 1 when a recipient lacks a stamp, 65 when the letter has not exactly one author.
pub fn run(args: &StampArgs, context: &Context) -> Result<(), Failure> {
    let message = read_message()?;
    let path = args.file.path()?;
    let mut wallet = Wallet::open(&path)?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| Failure::new(Exit::Software, e))?;
    let postmark = Postmark { now: unix_now(), random };
    let least = args.value.unwrap_or(Micros::ZERO);
    let mut tries = if args.buy { BUYING_TRIES_MAX } else { 0 };
    let stamped = loop {
        match wallet.stamp(&message, &args.recipients, least, postmark) {
            Err(WalletError::Lacking(lacking)) if tries > 0 => {
                tries -= 1;
                drop(wallet);
                wallet = buy_for(&path, &lacking, args, context)?;
            }
            stamped => break stamped,
        }
    };
    let stamped = stamped.map_err(|error| match &error {
        WalletError::Lacking(lacking) => {
            let domain = lacking.first().map(|recipient| recipient.domain().to_string()).unwrap_or_default();
            Failure::new(Exit::No, format!("{error}; buy some with: farthing buy {domain}, or add --buy"))
        }
        _ => error.into(),
    })?;
    say_bytes(&stamped)
}

/// One stamp for each recipient who lacks one, at his own price.
fn buy_for(path: &Path, lacking: &[Address], args: &StampArgs, context: &Context) -> Result<Wallet, Failure> {
    let buyer = Buyer::wait(path)?;
    for recipient in lacking {
        let (office, value, count) = (args.office.as_deref(), args.value, Count::More(1));
        buy::purchase(&buyer, &Wish { office, value, recipient, count }, context)?;
    }
    Ok(buyer.wallet()?)
}
