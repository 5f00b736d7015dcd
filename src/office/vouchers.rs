//! `POST /v1/vouchers`: a code becomes money on the account that signs (SPEC.md §10).
//!
//! Of a code that is worth nothing the caller hears one sentence, whether it never was, was used by another, made
//! void, or has expired. Guessing is counted for the address and the account.

use std::net::IpAddr;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use zeroize::Zeroizing;

use super::{
    SharedOffice, limits,
    problem::{Kind, Problem},
    request::signed_call,
    wire::{Credit, VoucherBody},
};
use crate::{
    clock::unix_now,
    ledger::{AccountKey, funding::VoucherUse},
    voucher::{Code, CodeError},
};

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
    let code: Code = Zeroizing::new(code).parse().map_err(mistyped)?;
    credit(&office, client, call.account, &code).await.map(Json)
}

/// Puts what a code is worth on an account, once; the same account may send it again. Counts it as a guess.
///
/// # Errors
/// 404 (worth nothing here), 429, 503.
pub async fn credit(
    office: &SharedOffice,
    client: Option<IpAddr>,
    account: AccountKey,
    code: &Code,
) -> Result<Credit, Problem> {
    office.counters().guess(client, account)?;
    match office.ledger().voucher_use(code.hash(), account, unix_now()).await? {
        VoucherUse::Credited { number, value, balance, again } => {
            tracing::info!(
                %account, voucher = number, value_micros = value.get(),
                balance_micros = balance.get(), again, "a voucher was used"
            );
            Ok(Credit { credited: value, balance, before: again })
        }
        VoucherUse::No => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "this code is worth nothing here: it is of another office, was used, was made void, or has expired; ask \
             whoever gave it to you",
        )
        .of(Kind::VoucherWorthless)),
    }
}

/// 400: no voucher ever had this code.
pub fn mistyped(fault: CodeError) -> Problem {
    Problem::bad(fault).of(Kind::VoucherMistyped)
}
