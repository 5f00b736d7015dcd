//! `POST /v1/vouchers`: a code becomes money on the account that signs (SPEC.md §10).
//!
//! Of a code that is worth nothing the caller hears one sentence, whether it never was, was used by another, made
//! void, or has expired. Guessing is counted for the address and the account.
//!
//! Where no browser keeps a key, a code opens an account of its own ([`own_account`]), from which the page's form pays.
//! Whoever has the code has what is there: brought for another account, it moves all of it to that.

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
    ledger::{
        AccountKey, LedgerError,
        funding::{VoucherState, VoucherUse},
    },
    money::Micros,
    voucher::{Code, CodeError},
    wallet::Signer,
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

/// Puts what a code is worth on an account, and counts it as a guess.
async fn credit(
    office: &SharedOffice,
    client: Option<IpAddr>,
    account: AccountKey,
    code: &Code,
) -> Result<Credit, Problem> {
    office.counters().guess(client, account)?;
    put(office, account, code).await
}

/// The account that a code opens by itself.
#[must_use]
pub fn own_account(code: &Code) -> AccountKey {
    AccountKey(Signer::of_voucher(code).account().public().to_bytes())
}

/// What a code can pay from its own account, once [`open`] has put its voucher there; `None`: the code is worth nothing
/// here. The caller counts it as a guess.
///
/// # Errors
/// 503.
pub async fn worth(office: &SharedOffice, code: &Code) -> Result<Option<Micros>, Problem> {
    let (ledger, own) = (office.ledger(), own_account(code));
    let left = ledger.balance(own).await?;
    let Some(voucher) = ledger.voucher_find(code.hash()).await? else {
        return Ok((left > Micros::ZERO).then_some(left));
    };
    match voucher.state {
        VoucherState::Open if voucher.expiry.is_none_or(|last| unix_now() <= last) => {
            Ok(Some(left.checked_add(voucher.value).ok_or(LedgerError::Overflow)?))
        }
        VoucherState::Used { account, .. } if account == own => Ok(Some(left)),
        _ => Ok((left > Micros::ZERO).then_some(left)),
    }
}

/// Puts a voucher on its code's own account, if it is good, and all that is there then on this one. Done again it
/// changes nothing.
///
/// # Errors
/// 503.
pub async fn open(office: &SharedOffice, account: AccountKey, code: &Code) -> Result<(), Problem> {
    let (ledger, own) = (office.ledger(), own_account(code));
    let used = ledger.voucher_use(code.hash(), own, unix_now()).await?;
    let moved = if own == account { Micros::ZERO } else { ledger.gather(own, account, unix_now()).await? };
    tracing::info!(%account, %own, ?used, moved_micros = moved.get(), "a voucher was opened by its code");
    Ok(())
}

/// Puts what a code is worth on an account, once; the same account may send it again. The caller counts it as a guess.
///
/// # Errors
/// 404 (worth nothing here), 503.
pub async fn put(office: &SharedOffice, account: AccountKey, code: &Code) -> Result<Credit, Problem> {
    match office.ledger().voucher_use(code.hash(), account, unix_now()).await? {
        VoucherUse::Credited { number, value, balance, again } => {
            tracing::info!(
                %account, voucher = number, value_micros = value.get(),
                balance_micros = balance.get(), again, "a voucher was used"
            );
            Ok(Credit { credited: value, balance, before: again })
        }
        VoucherUse::No => gather(office, account, code).await,
    }
}

/// Moves what is left on the code's own account.
async fn gather(office: &SharedOffice, account: AccountKey, code: &Code) -> Result<Credit, Problem> {
    let (ledger, own) = (office.ledger(), own_account(code));
    // Who guesses costs no write.
    let left = ledger.balance(own).await?;
    let moved = if left > Micros::ZERO { ledger.gather(own, account, unix_now()).await? } else { left };
    if moved == Micros::ZERO {
        return Err(worthless());
    }
    let balance = ledger.balance(account).await?;
    tracing::info!(%account, from = %own, value_micros = moved.get(), "what was left of a voucher was moved");
    Ok(Credit { credited: moved, balance, before: false })
}

/// 404: a code that is worth nothing, whatever the reason.
#[must_use]
pub fn worthless() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "this code is worth nothing here: it is of another office, was used, was made void, or has expired; ask \
         whoever gave it to you",
    )
    .of(Kind::VoucherWorthless)
}

/// 400: no voucher ever had this code.
pub fn mistyped(fault: CodeError) -> Problem {
    Problem::bad(fault).of(Kind::VoucherMistyped)
}
