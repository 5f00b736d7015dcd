//! The calls that change nothing: what the office is, what a stamp costs, what an account holds.

use axum::{
    Json,
    extract::{RawQuery, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use percent_encoding::percent_decode_str;

use super::{
    STAMP_VALUE_MIN, SharedOffice, Site,
    problem::Problem,
    request::signed_call,
    wire::{AccountAnswer, Bytes, Key, Movement, OfficeAt, Quote, WellKnown},
};
use crate::{
    address::{Address, Domain},
    clock::{DAY_S, unix_now},
    ledger::Entry,
    money::Micros,
    policy::price::Price,
    stamp::{PublicKey, Selector},
};

/// Movements an account shows of itself.
const ENTRIES_SHOWN: u32 = 100;
/// What the office says of itself may be kept this long, in seconds: a new key must not be news for long.
const DESCRIPTION_AGE: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// `GET /.well-known/postage`
///
/// # Errors
/// 503 when the ledger cannot say what is left of today's grants.
pub async fn well_known(
    State(office): State<SharedOffice>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<WellKnown>), Problem> {
    let site = office.site();
    let grant = match site.grant {
        None => None,
        Some(terms) => Some(terms.offer(office.ledger(), unix_now()).await?),
    };
    let key = |(selector, public): &(Selector, PublicKey)| Key {
        selector: selector.to_string(),
        public: Bytes(public.to_bytes()),
    };
    let description = WellKnown {
        office: site.domain.clone(),
        selector: site.selector.to_string(),
        public: Bytes(site.public.to_bytes()),
        keys: site.keys.iter().map(key).collect(),
        currency: site.currency.to_string(),
        min: STAMP_VALUE_MIN,
        max: site.value_max,
        lifetime_days: site.stamp_lifetime_s / DAY_S,
        funding: site.funding(),
        openapi: site.openapi(),
        grant,
        payment: site.payment_url.clone(),
    };
    Ok(([(header::CACHE_CONTROL, DESCRIPTION_AGE)], Json(description)))
}

/// `GET /v1/quote?to=ADDRESS`
///
/// # Errors
/// 400 for what is no address, 404 for domains that are not the site's own.
pub async fn quote(
    State(office): State<SharedOffice>,
    RawQuery(query): RawQuery,
) -> Result<Json<Quote>, Problem> {
    let site = office.site();
    let to = recipient(query.as_deref().unwrap_or_default())?;
    if !site.tells_price_of(to.domain()) {
        let detail = format!(
            "{} is not a mail domain of this office; its own price stands in DNS at _postage.{}",
            to.domain(),
            to.domain()
        );
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    let price = told_price(&office, &site, &to).await?;
    Ok(Json(site.quote(&to, price)))
}

/// What strangers are told: the recipient's own price if he made it public, else the site's. It is looked up for every
/// address, whether anybody reads mail there or not.
///
/// # Errors
/// 503 when the ledger cannot say.
pub(super) async fn told_price(office: &SharedOffice, site: &Site, to: &Address) -> Result<Micros, Problem> {
    let own = office.ledger().settings(to).await?.price;
    Ok(Price::of(own, site.price, site.value_max).told)
}

impl Site {
    /// What a stranger pays to write to this address.
    pub(super) fn quote(&self, to: &Address, price: Micros) -> Quote {
        let at = |office: &Domain| OfficeAt {
            office: office.clone(),
            url: if *office == self.domain { self.url.clone() } else { format!("https://{office}/") },
        };
        Quote {
            to: to.to_string(),
            micros: price,
            currency: self.currency.to_string(),
            offices: self.accepted.iter().map(at).collect(),
            work_bits: self.work_bits,
        }
    }
}

/// The address in `to`. A `+` is a plus: addresses hold many, and no spaces.
fn recipient(query: &str) -> Result<Address, Problem> {
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("to="));
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::bad("name one recipient: /v1/quote?to=bob@b.example"));
    };
    let octets: Vec<u8> = percent_decode_str(value).collect();
    Address::parse(&octets).map_err(Problem::bad)
}

/// `GET /v1/account`
///
/// # Errors
/// 401, 429, 503.
pub async fn account(
    State(office): State<SharedOffice>,
    request: Request,
) -> Result<Json<AccountAnswer>, Problem> {
    let now = unix_now();
    let account = signed_call(request, &office.site(), now).await?.account;
    office.counters().account(account, 0)?;
    let state = office.ledger().account(account, now).await?;
    let entries = office.ledger().entries(account, ENTRIES_SHOWN).await?;
    let movement = |entry: Entry| Movement {
        time: entry.time,
        kind: entry.kind,
        amount: entry.amount,
        memo: entry.memo,
    };
    Ok(Json(AccountAnswer {
        account: Bytes(account.0),
        balance: state.balance,
        outstanding: state.outstanding,
        entries: entries.into_iter().map(movement).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_in_queries() {
        let table: &[(&str, Option<&str>)] = &[
            ("to=bob@b.example", Some("bob@b.example")),
            ("to=bob%40b.example", Some("bob@b.example")),
            ("to=bob+shop@b.example", Some("bob+shop@b.example")),
            ("to=bob%2Bshop@b.example", Some("bob+shop@b.example")),
            ("x=1&to=BOB@B.example&y", Some("bob@b.example")),
            ("to=zo%EB@b.example", Some("zo\\xeb@b.example")),
            ("to=bob@xn--bcher-kva.example", Some("bob@xn--bcher-kva.example")),
            ("to=bob@b%C3%BCcher.example", Some("bob@xn--bcher-kva.example")),
            ("", None),
            ("to", None),
            ("to=", None),
            ("to=bob", None),
            ("to=bob@b.example&to=eve@b.example", None),
            ("too=bob@b.example", None),
            ("to=bob%0d%0a@b.example", None),
        ];
        for (query, address) in table {
            let found = recipient(query).map(|address| address.to_string()).ok();
            assert_eq!(found.as_deref(), *address, "{query}");
        }
    }
}
