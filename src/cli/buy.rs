//! `farthing buy`: stamps for a domain into the wallet.

use clap::Args;
use serde_json::json;

use super::{
    Context, Exit, Failure,
    market::{Terms, short_of_money},
    wallet::WalletFile,
};
use crate::{
    address::{Address, Domain},
    clock::unix_now,
    money::Micros,
    wallet::{PURSE_STAMPS_MAX, Purchase, Wallet, WalletError},
};

pub const EXAMPLES: &str = "Examples:
  farthing buy b.example                                        ten stamps; office and price by DNS
  farthing buy b.example --count 3 --value 0.5c
  farthing buy b.example --office https://b.example/            the office in the refusal you got

An order that was not answered is sent again by the next `buy` and charged once: run the same command again.";

/// What to buy.
#[derive(Args)]
pub struct BuyArgs {
    /// The mail domain the stamps are for; it alone can redeem them.
    #[arg(value_parser = Domain::from_any)]
    domain: Domain,
    /// How many.
    #[arg(long, default_value_t = 10, value_parser = count)]
    count: usize,
    /// What each is worth: 0.25c, 2500u or 0.0025 [default: the domain's price].
    #[arg(long, value_name = "AMOUNT")]
    value: Option<Micros>,
    /// Who sells them [default: the office that DNS names for the domain].
    #[arg(long, value_name = "URL")]
    office: Option<String>,
    #[command(flatten)]
    file: WalletFile,
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=PURSE_STAMPS_MAX).contains(count));
    count.ok_or_else(|| format!("a number from 1 to {PURSE_STAMPS_MAX}"))
}

/// Carries it out.
///
/// # Errors
/// [`Failure`]: 1 when the account lacks the money, 69 and 75 when the office does not answer as it should.
pub fn run(args: &BuyArgs, context: &Context) -> Result<(), Failure> {
    let mut wallet = args.file.open()?;
    let postmaster = Address::from_parts(b"postmaster", args.domain.clone())
        .ok_or_else(|| Failure::new(Exit::Data, "that domain cannot have mail"))?;
    let known = wallet.offices().to_vec();
    let terms =
        Terms { office: args.office.as_deref(), value: args.value, recipient: &postmaster, known: &known };
    let bought = purchase(&mut wallet, &terms, args.count, context)?;
    let in_hand: usize = wallet
        .held(unix_now())
        .iter()
        .filter(|held| held.audience == args.domain)
        .map(|held| held.count)
        .sum();
    let Bought { office, value, count, others } = bought;
    let json = json!({
        "office": office, "audience": args.domain, "value": value, "count": count, "others": others, "in_hand": in_hand,
    });
    context.print(&json, || {
        let others = match others {
            0 => String::new(),
            n => format!("; {n} of other kinds came from orders that had not been answered"),
        };
        format!(
            "{count} stamps of {value} for {} bought from {office}{others}; {in_hand} for it in hand\n",
            args.domain
        )
    })
}

/// What came of a purchase.
pub struct Bought {
    /// Who sold.
    pub office: Domain,
    /// What each stamp is worth.
    pub value: Micros,
    /// How many of them.
    pub count: usize,
    /// Stamps of other kinds, from orders that had been left open.
    pub others: usize,
}

/// Finds an office and buys there.
///
/// # Errors
/// As [`run`].
pub fn purchase(
    wallet: &mut Wallet,
    terms: &Terms<'_>,
    count: usize,
    context: &Context,
) -> Result<Bought, Failure> {
    let offer = terms.offer(context)?;
    let audience = terms.recipient.domain().clone();
    let purchase = Purchase { audience, value: offer.value, count };
    let account = wallet.account().to_string();
    let bought = wallet.buy(&offer.client, &offer.office, &purchase).map_err(|error| match error {
        WalletError::Client(error) => short_of_money(error.into(), &account, &offer.office.office),
        error => error.into(),
    })?;
    Ok(Bought { office: offer.office.office, value: offer.value, count: bought.count, others: bought.others })
}
