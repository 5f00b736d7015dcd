//! `POST /v1/grants`: a starter amount for work, where the site gives one (SPEC.md §10).
//!
//! The work is a hashcash stamp for the resource `account@office`, so it is nobody else's. Once a UTC day an account,
//! within the day's budget; the same proof again gets the same answer.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};

use super::{
    SharedOffice, limits,
    problem::Problem,
    request::signed_call,
    wire::{Credit, GrantBody, GrantOffer},
};
use crate::{
    address::Domain,
    clock::{DAY_S, unix_now},
    config,
    ledger::{
        AccountKey, Ledger,
        funding::{GrantRequest, Granted},
    },
    money::Micros,
    stamp::hashcash::Hashcash,
};

/// What an office grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// To an account, a day.
    pub amount: Micros,
    /// Hashcash bits asked for it.
    pub bits: u32,
    /// To all accounts, a day.
    pub daily_max: Micros,
}

impl Terms {
    /// What a configuration says; `None`: there are no grants.
    #[must_use]
    pub fn of(office: &config::Office) -> Option<Self> {
        let terms = Self { amount: office.grant, bits: office.grant_bits, daily_max: office.grant_daily };
        (terms.amount != Micros::ZERO).then_some(terms)
    }

    /// What the office says of it to the world.
    pub(super) async fn offer(&self, ledger: &dyn Ledger, now: u64) -> Result<GrantOffer, Problem> {
        let given = ledger.granted_on_day_of(now).await?;
        let left = self.daily_max.checked_sub(given).unwrap_or_default();
        Ok(GrantOffer { bits: self.bits, left, amount: self.amount })
    }
}

/// What the work for a grant is done for.
#[must_use]
pub fn resource(account: &AccountKey, office: &Domain) -> String {
    format!("{account}@{office}")
}

/// Answers the call.
///
/// # Errors
/// 400 (no proof, or one that does not count), 401, 404 (no grants here), 413, 429 (one a day, the day's budget), 503.
pub async fn grant(State(office): State<SharedOffice>, request: Request) -> Result<Json<Credit>, Problem> {
    let (client, site, now) = (limits::client_of(&request), office.site(), unix_now());
    let call = signed_call(request, &site, now).await?;
    office.counters().account(call.account, 0)?;
    let none = || Problem::new(StatusCode::NOT_FOUND, "this office gives no grants");
    let terms = site.grant.ok_or_else(none)?;
    let GrantBody { proof } = serde_json::from_slice(&call.body)?;
    let proof = Hashcash::parse(proof.as_bytes()).map_err(Problem::bad)?;
    let resource = resource(&call.account, &site.domain);
    proof.check(resource.as_bytes(), terms.bits, now).map_err(|fault| {
        Problem::bad(format!("{fault}; asked are {} bits for the resource {resource}", terms.bits))
    })?;
    office.counters().guess(client, call.account)?;
    let Terms { amount, daily_max, .. } = terms;
    let request = GrantRequest { now, account: call.account, amount, daily_max, proof: proof.id() };
    match office.ledger().grant(request).await? {
        Granted::Credited { amount, balance, again } => {
            tracing::info!(
                account = %call.account, amount_micros = amount.get(), balance_micros = balance.get(), again,
                "a grant was given"
            );
            Ok(Json(Credit { credited: amount, balance }))
        }
        Granted::HadToday => Err(tomorrow(now, "this account had its grant today")),
        Granted::BudgetUsed => Err(tomorrow(now, "today's grants are all given")),
    }
}

/// 429 until the next UTC day.
fn tomorrow(now: u64, what: &str) -> Problem {
    let detail = format!("{what}; come again tomorrow (UTC)");
    Problem {
        retry_after_s: Some(DAY_S - now % DAY_S),
        ..Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }
}
