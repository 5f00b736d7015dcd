//! `farthing topup`: money onto this wallet's account, by voucher or by work; or where to pay it in.
//!
//! A voucher is as good as money to whoever sees its code, so it goes to an office that was named by its URL; one that
//! DNS alone names is asked about first.

use std::{
    io::{BufRead as _, IsTerminal as _, Read as _},
    path::Path,
};

use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    Context, Exit, Failure,
    market::{Names, must_be_itself},
    wallet::WalletFile,
    work::minted,
};
use crate::{
    address::{Domain, shown},
    money::Micros,
    office::{
        grants,
        wire::{Credit, GrantOffer, payment_link},
    },
    voucher::Code,
    wallet::{ClientError, Description, KnownOffice, OfficeClient, Teller, Wallet},
};

pub const EXAMPLES: &str = "Examples:
  farthing topup --voucher - --office https://b.example/
      asks for the code, which stays out of the shell's history
  farthing topup --voucher WNFZF-D637G-JC9HK-JC6FB --office https://b.example/
  farthing topup --work --office https://b.example/
      a starter amount for work, where the office gives one
  farthing topup --office https://b.example/
      where to pay by card, where the office has such a place

A code that was sent and not answered can be sent again: it is credited once.";

/// Octets of a line with a code.
const LINE_OCTETS_MAX: u64 = 1_024;
/// Proofs minted for one grant: an office asks for one bit more at most three times a day.
const GRANT_TRIES_MAX: u32 = 4;

/// How to top up, and where.
#[derive(Args)]
pub struct TopupArgs {
    /// A voucher's code; `-` reads it from standard input. Without this and --work: says where to pay.
    #[arg(long, value_name = "CODE", conflicts_with = "work")]
    voucher: Option<String>,
    /// Let this computer work for a starter amount, on all cores.
    #[arg(long)]
    work: bool,
    /// The office's URL; a domain is looked up in DNS [default: the one office this wallet knows].
    #[arg(long, value_name = "URL")]
    office: Option<String>,
    /// Send the voucher to an office found by DNS without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    file: WalletFile,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`]: 64 when no way is named and the office has no place to pay, 65 for a code that is none, 1 when the office says no, 75 when it may say yes later, 77 when nobody is there
/// to ask about the office.
pub fn run(args: &TopupArgs, context: &Context) -> Result<(), Failure> {
    let code = args.voucher.as_deref().map(code).transpose()?;
    let path = args.file.path()?;
    // Closed again at once: others may use it while DNS and the office are asked.
    let known = Wallet::open(&path)?.offices().to_vec();
    let place = Place::find(args.office.as_deref(), &known, context)?;
    let client = OfficeClient::new(&place.url)?;
    let office = client.describe()?;
    place.must_be(&office)?;
    must_be_itself(&client, &office.office, &known, context)?;
    let credit = match &code {
        Some(code) => {
            if !place.named && !args.yes {
                confirm(&office.office, client.url())?;
            }
            by_voucher(code, &path, &client, &office)?
        }
        None if args.work => by_work(&path, &client, &office)?,
        None => return tell_where(&path, &office, context),
    };
    let Credit { credited, balance, before } = credit;
    let mut json = json!({"office": office.office, "credited": credited, "balance": balance});
    if let (true, Value::Object(members)) = (before, &mut json) {
        members.insert("before".into(), json!(true));
    }
    let when = if before { "were credited before" } else { "credited" };
    context.print(&json, || format!("{credited} {when} at {}; the account holds {balance}\n", office.office))
}

/// Says where people pay money onto this wallet's account.
fn tell_where(path: &Path, office: &Description, context: &Context) -> Result<(), Failure> {
    let name = &office.office;
    let Some(payment) = &office.payment else {
        let work = if office.grant.is_some() { ", or --work" } else { "" };
        let text = format!("{name} names no place to pay: give a voucher's code with --voucher{work}");
        return Err(Failure::new(Exit::Usage, text));
    };
    let link = payment_link(payment, &Wallet::open(path)?.account().to_string());
    context.print(&json!({"office": name, "payment": link}), || {
        format!("pay at {link}\nand then look here: farthing wallet show\n")
    })
}

/// The code as it was given, or read.
fn code(given: &str) -> Result<Code, Failure> {
    let line = if given == "-" { read_line()? } else { Zeroizing::new(given.to_owned()) };
    line.parse().map_err(|e| Failure::new(Exit::Data, e))
}

fn read_line() -> Result<Zeroizing<String>, Failure> {
    let stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        eprint!("code: ");
    }
    let mut line = Zeroizing::new(String::with_capacity(256));
    match stdin.take(LINE_OCTETS_MAX).read_line(&mut line) {
        Ok(_) => Ok(line),
        Err(e) => Err(Failure::new(Exit::Data, format!("the code cannot be read from standard input: {e}"))),
    }
}

/// Where to go.
struct Place {
    url: String,
    /// Which office should be there, where it is known.
    office: Option<Domain>,
    /// Whether a person named its URL just now.
    named: bool,
}

impl Place {
    fn find(given: Option<&str>, known: &[KnownOffice], context: &Context) -> Result<Self, Failure> {
        match given {
            Some(url) if url.contains("://") => Ok(Self { url: url.to_owned(), office: None, named: true }),
            Some(domain) => {
                let office = Domain::from_any(domain).map_err(|_| {
                    let text = format!("`{}` is no URL and no domain of an office", shown(domain.as_bytes()));
                    Failure::new(Exit::Data, text)
                })?;
                let url = Names::new(context)?.office_url(&office)?;
                Ok(Self { url, office: Some(office), named: false })
            }
            None => match known {
                [one] => Ok(Self { url: one.url.clone(), office: Some(one.office.clone()), named: false }),
                [] => Err(Failure::new(Exit::Usage, "name the office: --office https://b.example/")),
                several => {
                    let all: Vec<&str> = several.iter().map(|known| known.url.as_str()).collect();
                    Err(Failure::new(
                        Exit::Usage,
                        format!("which office? --office with one of {}", all.join(", ")),
                    ))
                }
            },
        }
    }

    fn must_be(&self, found: &Description) -> Result<(), Failure> {
        match &self.office {
            Some(office) if *office != found.office => {
                let text = format!("{} is the office {}, not {office}", self.url, found.office);
                Err(Failure::new(Exit::Unavailable, text))
            }
            _ => Ok(()),
        }
    }
}

/// Asks before a voucher goes to an office that no person named by its URL.
fn confirm(office: &Domain, url: &str) -> Result<(), Failure> {
    let no = |what: &str| Err(Failure::new(Exit::NoPermission, format!("the voucher was not sent: {what}")));
    let stdin = std::io::stdin().lock();
    if !stdin.is_terminal() {
        return no(&format!(
            "nobody is here to say whether {office} at {url} issued it; if so, run again with --office {url}"
        ));
    }
    eprint!("Send the voucher to {office} at {url}? Only if it was issued there. [y/N] ");
    let mut answer = String::new();
    let read = stdin.take(LINE_OCTETS_MAX).read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { no("as you say") }
}

fn by_voucher(
    code: &Code,
    path: &Path,
    client: &OfficeClient,
    office: &Description,
) -> Result<Credit, Failure> {
    if !office.funding.iter().any(|way| way == "voucher") {
        return Err(Failure::new(Exit::No, format!("{} takes no vouchers", office.office)));
    }
    match teller(path, client, office)?.voucher(client, &office.office, code) {
        Err(ClientError::Refused { status: 404, detail, .. }) => Err(Failure::new(Exit::No, detail)),
        answer => Ok(answer?),
    }
}

fn by_work(path: &Path, client: &OfficeClient, office: &Description) -> Result<Credit, Failure> {
    let mut offer = offer_of(office)?;
    let teller = teller(path, client, office)?;
    let resource = grants::resource(&teller.account(), &office.office);
    for tries_left in (0..GRANT_TRIES_MAX).rev() {
        let proof = minted(&resource, offer.bits).map_err(|e| Failure::new(Exit::Unavailable, e))?;
        let refused = match teller.grant(client, &office.office, proof.stamp) {
            Err(refused @ ClientError::Refused { status: 400, .. }) if tries_left > 0 => refused,
            answer => return Ok(answer?),
        };
        // Others may have been given theirs while this computer worked, and the rest of the day's budget is dearer.
        let now = offer_of(&client.describe()?)?;
        if now.bits <= offer.bits {
            return Err(refused.into());
        }
        offer = now;
    }
    Err(gone(&office.office))
}

/// Who signs for the wallet, which remembers the office and is closed again.
fn teller(path: &Path, client: &OfficeClient, office: &Description) -> Result<Teller, Failure> {
    let mut wallet = Wallet::open(path)?;
    wallet.meet(&office.office, client.url())?;
    Ok(wallet.teller())
}

/// What the office gives for work, if it has any left today.
fn offer_of(office: &Description) -> Result<GrantOffer, Failure> {
    let none = || Failure::new(Exit::No, format!("{} gives nothing for work", office.office));
    let offer = office.grant.ok_or_else(none)?;
    let least = offer.amount.max(Micros::new(1).unwrap_or_default());
    if offer.left < least { Err(gone(&office.office)) } else { Ok(offer) }
}

fn gone(office: &Domain) -> Failure {
    let text = format!("{office} has given away what it gives today; try again tomorrow (UTC)");
    Failure::new(Exit::TempFail, text)
}
