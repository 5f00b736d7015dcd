//! `POST /v1/vouchers`: a code becomes money on the account that signs (SPEC.md §10); `GET /p/voucher`: what a phone
//! shows of a printed one.
//!
//! Of a code that is worth nothing the caller hears one sentence, whether it never was, was used by another, made
//! void, or has expired. Guessing is counted for the address and the account.

use askama::Template;
use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use zeroize::Zeroizing;

use super::{
    SharedOffice, limits,
    page::{Forms, page},
    problem::Problem,
    request::signed_call,
    wire::{Credit, VoucherBody},
};
use crate::{clock::unix_now, ledger::funding::VoucherUse, voucher::Code};

/// Answers the call.
///
/// # Errors
/// 400 (no code, or a mistyped one), 401, 404 (worth nothing here), 413, 429, 503.
pub async fn redeem(State(office): State<SharedOffice>, request: Request) -> Result<Json<Credit>, Problem> {
    let client = limits::client_of(&request);
    let call = signed_call(request, &office.site(), unix_now()).await?;
    let body = Zeroizing::new(call.body);
    office.counters().account(call.account, 0)?;
    let VoucherBody { code } = serde_json::from_slice(&body)?;
    // A typo is told without a look at the ledger: it is no guess.
    let code: Code = Zeroizing::new(code).parse().map_err(Problem::bad)?;
    office.counters().guess(client, call.account)?;
    match office.ledger().voucher_use(code.hash(), call.account, unix_now()).await? {
        VoucherUse::Credited { number, value, balance, again } => {
            tracing::info!(
                account = %call.account, voucher = number, value_micros = value.get(),
                balance_micros = balance.get(), again, "a voucher was used"
            );
            Ok(Json(Credit { credited: value, balance }))
        }
        VoucherUse::No => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "this code is worth nothing here: it is of another office, was used, was made void, or has expired; ask \
             whoever gave it to you",
        )),
    }
}

/// The page a printed voucher's QR code opens. The code itself stands behind `#` and does not come here.
///
/// # Errors
/// 500 when it cannot be made.
pub async fn show(State(office): State<SharedOffice>) -> Result<Response, Problem> {
    let site = office.site();
    page(StatusCode::OK, Forms::None, |nonce| Voucher {
        nonce,
        office: site.domain.to_string(),
        url: site.url.clone(),
    })
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
<title>A voucher for postage at {{ office }}</title>
<style nonce="{{ nonce }}">
:root { color-scheme: light dark }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.3 }
pre { overflow-x: auto; padding: .8rem; border: 1px solid; border-radius: .3rem; font-size: .95rem }
</style>
</head>
<body>
<main>
<h1>A voucher for postage at {{ office }}</h1>
<p>Whoever writes to people here for the first time puts a stamp on the letter, and gets the money back when the letter
was wanted. This voucher pays for such stamps. Its code is the word of twenty letters and digits printed on it; it
is good once, so show it to nobody.</p>
<h2>How to use it</h2>
<p>If a letter of yours was refused, open the link in the refusal.</p>
<p>With the command line program <code>farthing</code>, which then asks for the code:</p>
<pre tabindex="0"><code>farthing wallet new
farthing topup --voucher - --office {{ url }}</code></pre>
</main>
</body>
</html>
"#
)]
struct Voucher {
    nonce: String,
    office: String,
    url: String,
}
