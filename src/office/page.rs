//! `GET /p/ADDRESS`: the page a refused sender opens. Plain words, no script, nothing from elsewhere.
//!
//! It says the same of every address of a domain, whether anybody reads mail there or not, but for those whose readers
//! made a price of their own public.

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};
use data_encoding::BASE64URL_NOPAD;
use percent_encoding::percent_decode_str;

use super::{SharedOffice, calls::told_price, problem::Problem};
use crate::address::Address;

/// Octets of an address that may stand in a command for people to copy: nothing that a shell reads as its own.
const PLAIN: &[u8] = b".-_+@";

/// Answers the call.
///
/// # Errors
/// 404 for what is no address, and for domains that are not the site's own.
pub async fn show(State(office): State<SharedOffice>, request: Request) -> Result<Response, Problem> {
    let site = office.site();
    let segment = request.uri().path().strip_prefix("/p/").unwrap_or_default();
    let octets: Vec<u8> = percent_decode_str(segment).collect();
    let address = Address::parse(&octets).ok().filter(|address| site.tells_price_of(address.domain()));
    let Some(address) = address else {
        return not_found(request.headers());
    };
    let price = told_price(&office, &site, &address).await?;
    let mut in_commands = address.to_string();
    if !is_plain(&address) {
        in_commands = "ADDRESS".into();
    }
    page(StatusCode::OK, Forms::None, |nonce| Pay {
        nonce,
        quote: site.quote(&address, price),
        price: price.to_string(),
        price_in_units: units(price.get()),
        value: (price != site.price).then(|| price.to_string()),
        domain: address.domain().to_string(),
        office: site.domain.to_string(),
        url: site.url.clone(),
        address: in_commands,
    })
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

/// Whether a browser asks.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/html")
}

/// A page for a person, a problem document for a program.
fn not_found(headers: &HeaderMap) -> Result<Response, Problem> {
    if wants_page(headers) {
        return page(StatusCode::NOT_FOUND, Forms::None, |nonce| NotHere { nonce });
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "that is not an address of a mail domain of this office"))
}

/// Where the forms of a page may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forms {
    /// It has none.
    None,
    /// Back to the office.
    Here,
}

/// A page under a policy that lets nothing run and nothing load but its own style, whose nonce it is given.
pub(super) fn page<T: Template>(
    status: StatusCode,
    forms: Forms,
    with: impl FnOnce(String) -> T,
) -> Result<Response, Problem> {
    let trouble = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a page was not made");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be made now; try again")
    };
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| trouble(&e))?;
    let nonce = BASE64URL_NOPAD.encode(&random);
    let forms = match forms {
        Forms::None => "'none'",
        Forms::Here => "'self'",
    };
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action {forms}; frame-ancestors 'none'"
    );
    let policy = HeaderValue::try_from(policy).map_err(|e| trouble(&e))?;
    let html = with(nonce).render().map_err(|e| trouble(&e))?;
    let mut response = (status, Html(html)).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response.headers_mut().insert(header::CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    Ok(response)
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Postage for {{ quote.to }}</title>
<style nonce="{{ nonce }}">
:root { color-scheme: light dark }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.3 }
h2 { font-size: 1.2rem; margin-top: 2rem }
pre { overflow-x: auto; padding: .8rem; border: 1px solid; border-radius: .3rem; font-size: .95rem }
li { margin: .5rem 0 }
</style>
</head>
<body>
<main>
<h1>A letter to {{ quote.to }} needs a stamp of {{ price }}</h1>
<p>If your letter was refused, this is why: {{ domain }} asks people it does not know yet for postage,
<strong>{{ price }}</strong> ({{ price_in_units }} {{ quote.currency }}) once for each letter.</p>
<h2>Why?</h2>
<p>To you it is next to nothing. To someone who sends a million unwanted letters it is a fortune, and that is the
whole purpose. If the reader of your letter answers it or says it was wanted, you get the money back, you are known
from then on, and your letters need no more stamps.</p>
<h2>How to send it</h2>
<p>With the command line program <code>farthing</code>:</p>
<ol>
<li><p>Once, make a wallet. It shows your account, a long word of letters and digits.</p>
<pre tabindex="0"><code>farthing wallet new</code></pre></li>
<li><p>Put money on that account. With a voucher of this post office (it asks for the code):</p>
<pre tabindex="0"><code>farthing topup --voucher - --office {{ url }}</code></pre>
<p>Or ask <a href="mailto:postmaster@{{ office }}">postmaster@{{ office }}</a> to do it; letters to the postmaster
need no stamp.</p></li>
<li><p>Buy stamps, here ten of them.</p>
<pre tabindex="0"><code>farthing buy {{ domain }} --count 10{% if let Some(value) = value %} --value {{ value }}{% endif %} --office {{ url }}</code></pre></li>
<li><p>Put one on the letter, and send the result the way you send mail.
{%- if address == "ADDRESS" %} In place of ADDRESS write the address, quoted as your shell needs it.{% endif %}</p>
<pre tabindex="0"><code>farthing stamp --to {{ address }} &lt; letter.eml &gt; stamped.eml</code></pre></li>
</ol>
{% if quote.work_bits > 0 %}
<h2>Without money</h2>
<p>A little work of your computer is taken instead: a hashcash stamp of {{ quote.work_bits }} bits in a field
<code>X-Hashcash</code> of the letter.</p>
<pre tabindex="0"><code>hashcash -m -b {{ quote.work_bits }} -X {{ address }}</code></pre>
{% endif %}
<h2>If the reader knows you</h2>
<p>Ask them by another way to write to you first, or to allow your address: then your letters need no stamp.</p>
<hr>
<p>Post office of {{ office }}. For programs: <a href="{{ url }}.well-known/postage">description</a>.</p>
</main>
</body>
</html>
"#
)]
struct Pay {
    nonce: String,
    quote: super::wire::Quote,
    price: String,
    price_in_units: String,
    /// The value to buy, where it is not the domain's usual one.
    value: Option<String>,
    domain: String,
    office: String,
    url: String,
    /// The recipient, or the word ADDRESS where it cannot be copied into a shell as it is.
    address: String,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not an address of this office</title>
<style nonce="{{ nonce }}">
:root { color-scheme: light dark }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem }
</style>
</head>
<body>
<main>
<h1>Not an address of this office</h1>
<p>This post office knows the postage of its own mail domains only. Open the link in the refusal you got as it
stands there; it ends in the address you wrote to.</p>
</main>
</body>
</html>
"#
)]
struct NotHere {
    nonce: String,
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
