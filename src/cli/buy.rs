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
    wallet::{AHEAD_PAUSE_S, Buyer, Count, NotAhead, PURSE_STAMPS_MAX, Purchase, Wallet, WalletError},
};

pub const EXAMPLES: &str = "Examples:
  farthing buy b.example                                        ten stamps; office and price by DNS
  farthing buy b.example --count 3 --value 0.5c
  farthing buy b.example --up-to 10                             so that ten are in hand
  farthing buy b.example --office https://b.example/            the office in the refusal you got

An order that was not answered is sent again by the next `buy` and charged once: run the same command again.";

/// What to buy.
#[derive(Args)]
pub struct BuyArgs {
    /// The mail domain the stamps are for; it alone can redeem them.
    #[arg(value_parser = audience)]
    domain: Domain,
    /// How many.
    #[arg(long, default_value_t = 10, value_parser = count, conflicts_with = "up_to")]
    count: usize,
    /// As many as are missing to have so many in hand.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    up_to: Option<usize>,
    /// As `farthing sendmail` calls it: a failure is noted in the wallet, and tried again no sooner than in a while.
    #[arg(long, hide = true, requires = "up_to")]
    ahead: bool,
    /// What each is worth: 0.25c, 2500u or 0.0025 [default: the domain's price].
    #[arg(long, value_name = "AMOUNT")]
    value: Option<Micros>,
    /// Who sells them [default: the office that DNS names for the domain].
    #[arg(long, value_name = "URL")]
    office: Option<String>,
    #[command(flatten)]
    file: WalletFile,
}

/// A domain. Who types an address means the domain of it: that is said and not done, for stamps for a domain are good for
/// all who have mail there.
fn audience(text: &str) -> Result<Domain, String> {
    let meant = text.rsplit_once('@').and_then(|(_, domain)| Domain::from_any(domain).ok());
    if let Some(domain) = meant {
        return Err(format!("stamps are for a domain, not for one address: you mean {domain}"));
    }
    Domain::from_any(text).map_err(|e| e.to_string())
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
    let path = args.file.path()?;
    let postmaster = Address::from_parts(b"postmaster", args.domain.clone())
        .ok_or_else(|| Failure::new(Exit::Data, "that domain cannot have mail"))?;
    let wish = Wish {
        office: args.office.as_deref(),
        value: args.value,
        recipient: &postmaster,
        count: args.up_to.map_or(Count::More(args.count), Count::UpTo),
    };
    let buyer = Buyer::wait(&path)?;
    if args.ahead && has_failed_lately(&buyer.wallet()?, &args.domain) {
        return Err(Failure::new(Exit::TempFail, "it failed a while ago; see farthing wallet show"));
    }
    let (wallet, bought) = match purchase(&buyer, &wish, context) {
        Err(failure) if args.ahead => {
            let (audience, why) = (args.domain.clone(), failure.message.clone());
            buyer.wallet()?.note_not_ahead(NotAhead { audience, time: unix_now(), why })?;
            return Err(failure);
        }
        done => done?,
    };
    let in_hand: usize = wallet
        .held(unix_now())
        .iter()
        .filter(|held| held.audience == args.domain)
        .map(|held| held.count)
        .sum();
    drop(wallet);
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

/// What to buy, as the command line says it.
pub struct Wish<'a> {
    /// `--office URL`
    pub office: Option<&'a str>,
    /// `--value AMOUNT`
    pub value: Option<Micros>,
    /// Whose price is asked, where no value was given; the stamps are for his domain.
    pub recipient: &'a Address,
    /// How many.
    pub count: Count,
}

/// Finds an office and buys there; the wallet, open, with what was bought in it.
///
/// # Errors
/// As [`run`].
pub fn purchase(buyer: &Buyer, wish: &Wish<'_>, context: &Context) -> Result<(Wallet, Bought), Failure> {
    let wallet = buyer.wallet()?;
    let (known, account) = (wallet.offices().to_vec(), wallet.account().to_string());
    // Letters are stamped while DNS and the office are asked.
    drop(wallet);
    let Wish { office, value, recipient, count } = *wish;
    let offer = Terms { office, value, recipient, known: &known }.offer(context)?;
    let purchase = Purchase { audience: recipient.domain().clone(), value: offer.value, count };
    let (wallet, bought) =
        buyer.buy(&offer.client, &offer.office, &purchase).map_err(|error| match error {
            WalletError::Client(error) => short_of_money(error.into(), &account, &offer.office.office),
            error => error.into(),
        })?;
    let office = offer.office.office;
    Ok((wallet, Bought { office, value: offer.value, count: bought.count, others: bought.others }))
}

/// Whether buying ahead for this domain failed so short a time ago that it is not tried yet.
#[must_use]
pub fn has_failed_lately(wallet: &Wallet, domain: &Domain) -> bool {
    let now = unix_now();
    wallet
        .not_ahead()
        .iter()
        .any(|failure| failure.audience == *domain && now.saturating_sub(failure.time) < AHEAD_PAUSE_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_for_a_domain() {
        assert_eq!(audience("B.example.").unwrap().as_str(), "b.example");
        assert!(audience("bob@b.example").unwrap_err().ends_with("you mean b.example"));
        for bad in ["bob@", "@", "b example", "bob@b..example"] {
            assert!(!audience(bad).unwrap_err().contains("you mean"), "{bad}");
        }
    }
}
