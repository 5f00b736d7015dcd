//! `farthing verify`: the stamps of a letter, by the table of SPEC.md §3, without any ledger.

use std::str::FromStr;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{Context, Exit, Failure, market::Names, read_message, table};
use crate::{
    address::{Address, Domain},
    clock::unix_now,
    discovery::MessageKeys,
    message::split_message,
    money::{Currency, Micros},
    stamp::{
        Asked, CancelledStamp, PublicKey, STAMP_FIELD, STAMP_FIELDS_MAX, Selector, Word,
        check::{bound, in_order, signed},
        records::MailPolicy,
    },
};

pub const EXAMPLES: &str = "Examples:
  farthing verify --to bob@b.example < letter.eml
  farthing verify --to bob@b.example --price 0.25c \\
      --key b.example:s1:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo < letter.eml

One word a stamp, in the order of the fields; `ok` is one that pays. Whether a stamp was sold or spent only the \
     recipient's own server knows. Without --key the offices and their keys, the price and the \
     currency are those in DNS.";

/// What to hold the stamps against.
#[derive(Args)]
pub struct VerifyArgs {
    /// The recipient, as the envelope named him.
    #[arg(long = "to", value_name = "ADDRESS")]
    recipient: Address,
    /// A key of an accepted office; with it DNS is not asked. May be given several times.
    #[arg(long = "key", value_name = "OFFICE:SELECTOR:B64")]
    keys: Vec<OfficeKey>,
    /// The price [default: what the recipient's domain publishes; with --key any].
    #[arg(long, value_name = "AMOUNT")]
    price: Option<Micros>,
    /// The currency of the price [default: what the recipient's domain publishes, or USD].
    #[arg(long, value_name = "CODE")]
    currency: Option<Currency>,
    /// The time to check at, in Unix seconds [default: now].
    #[arg(long, value_name = "UNIX")]
    at: Option<u64>,
}

/// `--key`
#[derive(Clone)]
struct OfficeKey {
    office: Domain,
    selector: Selector,
    key: PublicKey,
}

impl FromStr for OfficeKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [office, selector, key] = parts.as_slice() else {
            return Err(
                "write OFFICE:SELECTOR:KEY, like b.example:s1:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                    .into(),
            );
        };
        Ok(Self {
            office: Domain::from_any(office).map_err(|e| e.to_string())?,
            selector: selector.parse().map_err(|e: crate::stamp::selector::SelectorError| e.to_string())?,
            key: key.parse().map_err(|_| "the key is not an Ed25519 public key in base64url".to_owned())?,
        })
    }
}

#[derive(Serialize)]
struct Checked {
    result: &'static str,
    office: Option<Domain>,
    id: Option<String>,
    value: Option<Micros>,
}

/// Carries it out.
///
/// # Errors
/// 1 when no stamp pays, 75 when DNS cannot say.
pub fn run(args: &VerifyArgs, context: &Context) -> Result<(), Failure> {
    let message = read_message()?;
    let message = split_message(&message);
    let author = message.author();
    let mut source = if args.keys.is_empty() { Source::dns(context)? } else { Source::Given(&args.keys) };
    let policy = match &source {
        Source::Dns(dns) => dns.names.policy(args.recipient.domain())?,
        Source::Given(_) => None,
    };
    let usd = "USD".parse().map_err(|e| Failure::new(Exit::Software, e))?;
    let asked = Asked {
        recipient: &args.recipient,
        author: author.as_ref(),
        currency: args.currency.or(policy.as_ref().map(|policy| policy.currency)).unwrap_or(usd),
        price: args.price.or(policy.as_ref().map(|policy| policy.price)).unwrap_or(Micros::ZERO),
        now: args.at.unwrap_or_else(unix_now),
    };
    let mut stamps = vec![];
    for field in message.values(STAMP_FIELD).take(STAMP_FIELDS_MAX) {
        stamps.push(checked(field, &asked, policy.as_ref(), &mut source)?);
    }
    let pays = stamps.iter().find(|stamp| stamp.result == "ok").and_then(|stamp| stamp.value);
    let value = json!({"enough": pays.is_some(), "value": pays.unwrap_or(Micros::ZERO), "stamps": stamps});
    context.print(&value, || text(&stamps))?;
    if pays.is_some() { Ok(()) } else { Err(Failure::said(Exit::No)) }
}

fn text(stamps: &[Checked]) -> String {
    if stamps.is_empty() {
        return format!("no {STAMP_FIELD} field\n");
    }
    let row = |stamp: &Checked| {
        vec![
            stamp.result.to_owned(),
            stamp.value.map_or_else(String::new, |value| value.to_string()),
            stamp.office.as_ref().map_or_else(String::new, ToString::to_string),
            stamp.id.clone().unwrap_or_default(),
        ]
    };
    // No header: each line begins with its word, for scripts.
    table(&[], stamps.iter().map(row).collect())
}

/// One field, held against what is asked, and against the offices that the domain says it accepts.
fn checked(
    field: &[u8],
    asked: &Asked<'_>,
    policy: Option<&MailPolicy>,
    source: &mut Source<'_>,
) -> Result<Checked, Failure> {
    let Ok(stamp) = CancelledStamp::parse(field) else {
        return Ok(Checked { result: Word::Malformed.as_str(), office: None, id: None, value: None });
    };
    let terms = &stamp.stamp.terms;
    let mut result = bound(&stamp, asked).and_then(|()| in_order(&stamp, asked));
    if result.is_ok() && policy.is_some_and(|policy| !policy.offices.contains(&terms.office)) {
        result = Err(Word::UnknownIssuer);
    }
    if result.is_ok() {
        let key = source.key(&terms.office, &terms.selector)?;
        result = key.ok_or(Word::UnknownIssuer).and_then(|key| signed(&stamp, &key));
    }
    Ok(Checked {
        result: result.map_or_else(Word::as_str, |()| "ok"),
        office: Some(terms.office.clone()),
        id: Some(data_encoding::BASE64URL_NOPAD.encode(&terms.id)),
        value: Some(terms.value),
    })
}

/// Where the offices' keys are from.
enum Source<'a> {
    Given(&'a [OfficeKey]),
    Dns(Box<Published>),
}

/// DNS, and what it said of this message's keys.
struct Published {
    names: Names,
    keys: MessageKeys,
}

impl Source<'_> {
    fn dns(context: &Context) -> Result<Self, Failure> {
        let names = Names::new(context)?;
        let keys = names.ask(async |discovery| Ok(discovery.keys()))?;
        Ok(Self::Dns(Box::new(Published { names, keys })))
    }

    fn key(&mut self, office: &Domain, selector: &Selector) -> Result<Option<PublicKey>, Failure> {
        match self {
            Self::Given(keys) => {
                let found = keys.iter().find(|key| (&key.office, &key.selector) == (office, selector));
                Ok(found.map(|found| found.key))
            }
            Self::Dns(dns) => {
                let Published { names, keys } = &mut **dns;
                names.ask(async |_| keys.key(office, selector).await)
            }
        }
    }
}
