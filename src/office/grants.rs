//! `POST /v1/grants`: a starter amount for work, where the site gives one (SPEC.md §10).
//!
//! The work is a hashcash stamp for the resource `account@office`, so it is nobody else's. Once a UTC day an account,
//! within the day's budget; the same proof again gets the same answer.
//!
//! Accounts cost nothing, so the budget is bounded twice more: one network of clients gets a tenth of it, and with
//! each quarter that is given away the work asked for doubles.

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

/// One network of clients gets this part of a day's budget, but one grant at least: ten at once, all with computers to
/// spare, are needed to leave nothing for others.
const NETWORK_PARTS: u64 = 10;
/// With each of these parts of the day's budget that is given away, one bit more is asked.
const STEPS: u32 = 4;

/// What an office grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// To an account, a day.
    pub amount: Micros,
    /// Hashcash bits asked for it while little of the day's budget is given.
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
        Ok(GrantOffer { bits: self.bits_asked(given), left, amount: self.amount })
    }

    /// Hashcash bits asked when so much of the day's budget is given: one more for each quarter.
    fn bits_asked(&self, given: Micros) -> u32 {
        let more = (0..STEPS).find(|more| given <= self.given_max(self.bits.saturating_add(*more)));
        self.bits.saturating_add(more.unwrap_or(STEPS - 1))
    }

    /// The most that may be given of the day's budget for a proof of so many bits to count: [`Terms::bits_asked`] read
    /// the other way.
    fn given_max(&self, bits: u32) -> Micros {
        let step = bits.saturating_sub(self.bits).saturating_add(1);
        if step >= STEPS {
            return self.daily_max;
        }
        // Below the end of the step.
        let end = u128::from(self.daily_max.get()) * u128::from(step);
        let last = end.saturating_sub(1) / u128::from(STEPS);
        u64::try_from(last).ok().and_then(Micros::new).unwrap_or(self.daily_max)
    }

    /// What one network of clients gets of a day's budget.
    fn network_max(&self) -> Micros {
        self.amount.max(Micros::new(self.daily_max.get() / NETWORK_PARTS).unwrap_or_default())
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
    let (client, site) = (limits::client_of(&request), office.site());
    let call = signed_call(request, &site, unix_now()).await?;
    // Its body may have taken a while: who holds it back over midnight has nothing of the day before.
    let now = unix_now();
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
    let network = limits::Neighbours::of(client);
    let request = GrantRequest {
        now,
        account: call.account,
        amount: terms.amount,
        daily_max: terms.daily_max,
        network: network.key(),
        network_max: terms.network_max(),
        given_max: terms.given_max(proof.bits()),
        proof: proof.id(),
    };
    match office.ledger().grant(request).await? {
        Granted::Credited { amount, balance, again } => {
            tracing::info!(
                account = %call.account, amount_micros = amount.get(), balance_micros = balance.get(), again,
                "a grant was given"
            );
            Ok(Json(Credit { credited: amount, balance, before: again }))
        }
        Granted::HadToday => Err(tomorrow(now, "this account had its grant today")),
        Granted::BudgetUsed => Err(tomorrow(now, "today's grants are all given")),
        Granted::NetworkUsed => {
            match client {
                Some(_) => tracing::info!(%network, "a network had its part of today's grants"),
                None => tracing::warn!(
                    "clients of whom the web server does not say where they are (X-Forwarded-For) had their part of \
                     today's grants"
                ),
            }
            Err(tomorrow(now, &format!("{network} had its part of today's grants")))
        }
        Granted::MoreWork { given } => Err(Problem::bad(format!(
            "fewer bits than asked; {given} of today's {} are given, and {} bits are asked now",
            terms.daily_max,
            terms.bits_asked(given)
        ))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(n: u64) -> Micros {
        Micros::new(n).unwrap()
    }

    #[test]
    fn the_work_doubles_with_each_quarter_of_the_budget() {
        for daily in [1, 2, 3, 4, 7, 1_000_000, i64::MAX.unsigned_abs()] {
            let terms = Terms { amount: micros(1), bits: 26, daily_max: micros(daily) };
            let asked = |given| terms.bits_asked(micros(given));
            assert_eq!(asked(0), 26, "{daily}");
            for quarter in 1..=3_u64 {
                // The first that is not below so many quarters.
                let begin = (u128::from(daily) * u128::from(quarter)).div_ceil(4) as u64;
                let bits = 26 + quarter as u32;
                assert!(asked(begin) >= bits && asked(begin - 1) < bits, "{daily} {begin}");
                assert!(terms.given_max(bits - 1) < micros(begin), "{daily} {begin}");
            }
            assert_eq!((asked(daily), terms.given_max(29), terms.given_max(64)), {
                (29, micros(daily), micros(daily))
            });
            for given in [0, daily / 3, daily / 2, daily - 1, daily] {
                assert!(
                    micros(given) <= terms.given_max(asked(given)),
                    "what is asked is enough: {daily} {given}"
                );
            }
        }
    }

    #[test]
    fn a_network_gets_a_tenth_but_one_grant_at_least() {
        let part =
            |amount, daily| Terms { amount: micros(amount), bits: 1, daily_max: micros(daily) }.network_max();
        assert_eq!(part(25_000, 1_000_000), micros(100_000));
        assert_eq!(part(25_000, 60_000), micros(25_000));
    }
}
