//! `farthing price`: what it costs to write to someone.

use clap::Args;

use super::{Context, Exit, Failure, market::Names};
use crate::{
    address::Address,
    money::Micros,
    office::wire::{OfficeAt, Quote},
    policy::reply::address_segment,
    stamp::records::MailPolicy,
    wallet::OfficeClient,
};

pub const EXAMPLES: &str = "Example:
  farthing price bob@b.example";

/// Whose price.
#[derive(Args)]
pub struct PriceArgs {
    /// The recipient.
    address: Address,
}

/// Carries it out.
///
/// # Errors
/// 1 when the domain says nothing of postage, 75 when DNS cannot say.
pub fn run(args: &PriceArgs, context: &Context) -> Result<(), Failure> {
    let domain = args.address.domain();
    let names = Names::new(context)?;
    let policy = names.policy(domain)?.ok_or_else(|| {
        Failure::new(
            Exit::No,
            format!("{domain} says nothing of postage in DNS; write, it asks none as far as is known"),
        )
    })?;
    let own = own_quote(&args.address, &policy);
    // Only the domain's own office has the page; `u` may name another.
    let page = own.as_ref().and(policy.url.as_deref()).map(|url| page_line(url, &args.address));
    let quote = match own {
        Some(quote) => quote,
        None => by_policy(&args.address, &policy, &names)?,
    };
    context.print(&quote, || {
        let sellers: Vec<String> =
            quote.offices.iter().map(|at| format!("  {} at {}\n", at.office, at.url)).collect();
        let work = match quote.work_bits {
            0 => "no hashcash work taken".to_owned(),
            bits => format!("or {bits} bits of hashcash work"),
        };
        let page = page.unwrap_or_default();
        let price = Micros::to_string(&quote.micros);
        format!(
            "{}: {price} {}, {work}\nstamps are sold by\n{}{page}",
            quote.to,
            quote.currency,
            sellers.concat()
        )
    })
}

/// Where a person does the same in a browser.
fn page_line(url: &str, address: &Address) -> String {
    let slash = if url.ends_with('/') { "" } else { "/" };
    format!("or in a browser, nothing installed: {url}{slash}p/{}\n", address_segment(address))
}

/// What the domain's own office says: it knows prices that recipients made public. `None`: it does not answer.
fn own_quote(address: &Address, policy: &MailPolicy) -> Option<Quote> {
    let url = policy.url.as_ref()?;
    OfficeClient::new(url).and_then(|client| client.quote(address)).ok()
}

fn by_policy(address: &Address, policy: &MailPolicy, names: &Names) -> Result<Quote, Failure> {
    let at = |office: &crate::address::Domain| {
        Ok(OfficeAt { office: office.clone(), url: names.office_url(office)? })
    };
    Ok(Quote {
        to: address.to_string(),
        micros: policy.price,
        currency: policy.currency.to_string(),
        offices: policy.offices.iter().map(at).collect::<Result<_, Failure>>()?,
        work_bits: policy.work_bits.map_or(0, u32::from),
    })
}
