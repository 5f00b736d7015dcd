//! The page a refused sender opens, `/p/ADDRESS` (SPEC.md §10): what is asked and why, and two ways to a pass; and the
//! page that a printed voucher names.
//!
//! `GET` makes the page here, in the reader's language (`words`); its script and style come from `assets`; `pass` is
//! what the script asks (`POST`), and `puzzle` the work it does; without scripts `form` takes a voucher. What always
//! holds: nothing comes from elsewhere and nothing stands in the page that runs; it says the same of every address of a
//! domain, whether anybody reads mail there or not, but for those whose readers made a price of their own public.

pub mod assets;
mod cost;
mod form;
mod gzip;
pub mod pass;
mod plain;
pub mod puzzle;
mod words;

use askama::Template;
use axum::{
    Json,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{Html, IntoResponse as _, Response},
};
use flate2::Compression;
use percent_encoding::percent_decode_str;

pub use plain::{Forms, page, wants_page};

use super::{
    SharedOffice, Site,
    calls::told_price,
    problem::Problem,
    wire::{Quote, payment_link},
};
use crate::{address::Address, money::Micros};
use cost::Cost;
use form::Typed;
use words::{Filled, Language};

/// Octets of an address that may stand in a command for people to copy: nothing that a shell reads as its own.
const PLAIN: &[u8] = b".-_+@";
/// Octets of a page that is packed; they have ten thousand.
const PAGE_OCTETS_MAX: usize = 1_024 * 1_024;
/// What the page may do: load its own style and scripts, run them as workers, and ask this office.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Answers the call.
///
/// # Errors
/// 404 for what is no address, and for domains that are not the site's own.
pub async fn show(State(office): State<SharedOffice>, request: Request) -> Result<Response, Problem> {
    let site = office.site();
    let language = language_of(&request)?;
    let Some(address) = recipient(&site, request.uri()) else {
        return not_found(language, request.headers());
    };
    let micros = told_price(&office, &site, &address).await?;
    let empty = Typed::new().map_err(|e| trouble(&e))?;
    let page = pay_page(&site, language, &address, micros, StatusCode::OK, empty)?;
    smaller(page, request.headers()).await
}

/// The page packed, for who takes it so.
async fn smaller(page: Response, headers: &HeaderMap) -> Result<Response, Problem> {
    if !gzip::is_taken(headers) {
        return Ok(page);
    }
    let (mut head, body) = page.into_parts();
    let html = to_bytes(body, PAGE_OCTETS_MAX).await.map_err(|e| trouble(&e))?;
    Ok(match gzip::packed(&html, Compression::fast()) {
        None => Response::from_parts(head, html.into()),
        Some(packed) => {
            head.headers.insert(header::CONTENT_ENCODING, gzip::GZIP);
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, packed.into())
        }
    })
}

/// `POST /p/ADDRESS`: what the page's script asks, or its form.
///
/// # Errors
/// See [`pass::make`] and [`form::pay`].
pub async fn ask(State(office): State<SharedOffice>, request: Request) -> Result<Response, Problem> {
    if form::is_form(request.headers()) {
        return form::pay(&office, request).await;
    }
    pass::make(&office, request).await.map(|answer| Json(answer).into_response())
}

/// The page about an address, at this price, with this in its form. Where somebody has sent the form no script runs
/// over what is to be read.
fn pay_page(
    site: &Site,
    language: &'static Language,
    address: &Address,
    micros: Micros,
    status: StatusCode,
    typed: Typed,
) -> Result<Response, Problem> {
    let quote = site.quote(address, micros);
    let price = micros.to_string();
    let cost = Cost::of(site.page_work_bits);
    let blanks = [
        ("to", quote.to.as_str()),
        ("price", &price),
        ("units", &language.number(&units(micros.get()))),
        ("currency", &quote.currency),
        ("domain", address.domain().as_str()),
        ("office", site.domain.as_str()),
        ("bits", &quote.work_bits.to_string()),
        ("least", &language.number(&cost.least_s)),
        ("most", &language.number(&cost.most_s)),
        ("joules", &language.number(&cost.joules)),
        ("cents", &language.number(&cost.us_cents)),
    ];
    let page = Pay {
        lang: language.code,
        words: language.filled(&blanks),
        script_words: language.for_script(),
        languages: words::languages(),
        assets: assets_path(),
        passes: site.gives_passes,
        work: site.page_work_bits > 0,
        domain: address.domain().to_string(),
        office: site.domain.to_string(),
        url: site.url.clone(),
        value: (micros != site.price).then(|| price.clone()),
        address: if is_plain(address) { address.to_string() } else { "ADDRESS".into() },
        payment: site.payment_url.as_ref().map(|url| payment_link(url, "")),
        grants: site.grant.is_some(),
        scripts: typed.fault.is_empty(),
        puzzles: puzzle::PUZZLES,
        bits_each: site.page_work_bits.saturating_sub(puzzle::BITS_MIN),
        memory_kib: puzzle::MEMORY_KIB,
        typed,
        price,
        quote,
    };
    answer(status, language, &page)
}

/// `GET /p/voucher`: what the QR code of a printed voucher opens. The code itself stands behind `#` and does not come
/// here; the page's script puts it into the field.
///
/// # Errors
/// 500 when it cannot be made.
pub async fn voucher(State(office): State<SharedOffice>, request: Request) -> Result<Response, Problem> {
    let site = office.site();
    let language = language_of(&request)?;
    let page = Voucher {
        lang: language.code,
        words: language.filled(&[("office", site.domain.as_str())]),
        script_words: language.for_script(),
        languages: words::languages(),
        assets: assets_path(),
        office: site.domain.to_string(),
        currency: site.currency.to_string(),
        url: site.url.clone(),
    };
    answer(StatusCode::OK, language, &page)
}

/// The recipient whom the path names, if he is one of the site's.
fn recipient(site: &Site, uri: &Uri) -> Option<Address> {
    let segment = uri.path().strip_prefix("/p/")?;
    let octets: Vec<u8> = percent_decode_str(segment).collect();
    Address::parse(&octets).ok().filter(|address| site.tells_price_of(address.domain()))
}

fn language_of(request: &Request) -> Result<&'static Language, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let chosen = query.split('&').find_map(|pair| pair.strip_prefix("lang="));
    let accepted = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    words::language(chosen, accepted.unwrap_or_default()).ok_or_else(|| trouble(&"no language"))
}

/// Relative to the page, so that it is right below whatever path and host the office is reached.
fn assets_path() -> String {
    format!("-/{}/", assets::version())
}

/// Whether an address can stand in a command as it is.
fn is_plain(address: &Address) -> bool {
    let octets = address.to_bytes();
    !octets.starts_with(b"-") && octets.iter().all(|b| b.is_ascii_alphanumeric() || PLAIN.contains(b))
}

/// `0.0025`: an amount in whole units of the currency.
fn units(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A page for a person, a problem document for a program.
fn not_found(language: &'static Language, headers: &HeaderMap) -> Result<Response, Problem> {
    if wants_page(headers) {
        let page = NotHere { lang: language.code, words: language.filled(&[]), assets: assets_path() };
        return answer(StatusCode::NOT_FOUND, language, &page);
    }
    Err(no_such_address())
}

fn no_such_address() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "that is not an address of a mail domain of this office")
}

fn answer(status: StatusCode, language: &Language, page: &impl Template) -> Result<Response, Problem> {
    let html = page.render().map_err(|error| trouble(&error))?;
    let mut response = (status, Html(html)).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    fields.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.code));
    fields.insert(header::VARY, HeaderValue::from_static("Accept-Language, Accept-Encoding"));
    Ok(response)
}

fn trouble(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a page was not made");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be made now; try again")
}

#[derive(Template)]
#[template(config = "src/office/page/askama.toml", path = "pay.html")]
struct Pay {
    lang: &'static str,
    words: Filled,
    /// The texts that the script fills in, as JSON.
    script_words: String,
    languages: &'static [Language],
    /// Where the page's files are, seen from the page.
    assets: String,
    /// Whether a pass would count here.
    passes: bool,
    /// Whether one can be worked for.
    work: bool,
    /// What the work is, for the page to measure its computer by.
    puzzles: usize,
    bits_each: u32,
    memory_kib: u32,
    /// Whether the page's script is to run.
    scripts: bool,
    /// What stands in the form.
    typed: Typed,
    quote: Quote,
    domain: String,
    office: String,
    url: String,
    /// What a letter costs here, as people write it.
    price: String,
    /// Where money is paid onto an account, up to where the account's name comes.
    payment: Option<String>,
    /// Whether an account gets a starter amount for work.
    grants: bool,
    /// The price, where the program would not find it by itself.
    value: Option<String>,
    /// The recipient, or the word ADDRESS where it cannot be copied into a shell as it is.
    address: String,
}

#[derive(Template)]
#[template(config = "src/office/page/askama.toml", path = "voucher.html")]
struct Voucher {
    lang: &'static str,
    words: Filled,
    script_words: String,
    languages: &'static [Language],
    assets: String,
    office: String,
    currency: String,
    url: String,
}

#[derive(Template)]
#[template(config = "src/office/page/askama.toml", path = "not_here.html")]
struct NotHere {
    lang: &'static str,
    words: Filled,
    assets: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_stand_in_commands() {
        for (address, plain) in [
            ("bob@b.example", true),
            ("bob+shop.x_y-z@b.example", true),
            ("-rf@b.example", false),
            ("a$(reboot)@b.example", false),
            ("a`reboot`@b.example", false),
            ("a|sh@b.example", false),
            ("a'b@b.example", false),
            ("\"a b;c\"@b.example", false),
            ("zoë@b.example", false),
            ("a/../b@b.example", false),
        ] {
            let Ok(parsed) = address.parse::<Address>() else {
                assert!(!plain, "{address}");
                continue;
            };
            assert_eq!(is_plain(&parsed), plain, "{address}");
        }
    }

    #[test]
    fn amounts_in_units() {
        for (micros, text) in
            [(2_500, "0.0025"), (5_000_000, "5"), (1, "0.000001"), (1_500_000, "1.5"), (0, "0")]
        {
            assert_eq!(units(micros), text);
        }
    }
}
