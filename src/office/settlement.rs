//! `POST /v1/settlements`: the domain that redeemed stamps of ours gives them back to their buyers (SPEC.md §10).
//!
//! The domain proves itself by a key it publishes in DNS, each stamp by the cancellation of its holder. A stamp counts
//! that was sold exactly so for that domain, once; others are passed over, for nothing that could be said of them would
//! help an honest reporter. Stamps for our own domains are redeemed in our own books and are not reported.

use std::collections::HashSet;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};

use super::{
    SharedOffice, Site,
    problem::Problem,
    request::signed_call,
    wire::{Bytes, SettlementAnswer, SettlementBody},
};
use crate::{
    address::{Domain, shown},
    clock::unix_now,
    ledger::{AccountKey, ORDER_STAMPS_MAX, SoldStamp, StampId},
    stamp::{
        CancelledStamp, Selector, Stamp,
        check::{CLOCK_AHEAD_MAX_S, is_cancelled},
        records,
    },
};

/// Answers the call.
///
/// # Errors
/// 400, 401 (the signature, or the key is not the domain's), 403 (one of our own domains), 413, 429, 503.
pub async fn settle(
    State(office): State<SharedOffice>,
    request: Request,
) -> Result<Json<SettlementAnswer>, Problem> {
    let site = office.site();
    let now = unix_now();
    let call = signed_call(request, &site, now).await?;
    let body = serde_json::from_slice(&call.body).map_err(Problem::from);
    let report = body.and_then(Report::of);
    // What cannot be read counts as a call too.
    office.counters().account(call.account, report.as_ref().map_or(0, |r| r.stamps.len()))?;
    let report = report?;
    report.is_by(call.account, &site).await?;

    let audience = report.audience.clone();
    let told = report.stamps.len();
    let stamps = cancelled(&office, site, report, now).await?;
    let ids: Vec<StampId> = stamps.iter().map(|stamp| stamp.terms.id).collect();
    let ledger = office.ledger();
    let sold = ledger.sold(&ids).await?;
    let genuine: Vec<StampId> = stamps
        .iter()
        .zip(&sold)
        .filter(|(stamp, sold)| sold.as_ref().is_some_and(|sold| is_exactly(stamp, sold)))
        .map(|(stamp, _)| stamp.terms.id)
        .collect();
    let credited =
        if genuine.is_empty() { vec![] } else { ledger.give_back(&audience, &genuine, now).await? };
    tracing::info!(%audience, told, credited = credited.len(), "refunds of another domain");
    Ok(Json(SettlementAnswer { credited: credited.into_iter().map(Bytes).collect() }))
}

/// A report as it was sent, well-formed.
struct Report {
    audience: Domain,
    selector: Selector,
    /// 1 to [`ORDER_STAMPS_MAX`] values of fields.
    stamps: Vec<String>,
}

impl Report {
    fn of(body: SettlementBody) -> Result<Self, Problem> {
        let count = body.stamps.len();
        if !(1..=ORDER_STAMPS_MAX).contains(&count) {
            return Err(Problem::bad(format!(
                "a settlement holds 1 to {ORDER_STAMPS_MAX} stamps, this one {count}; send several"
            )));
        }
        let selector = body
            .s
            .parse()
            .map_err(|_| Problem::bad(format!("`{}` is no selector", shown(body.s.as_bytes()))))?;
        Ok(Self { audience: body.audience, selector, stamps: body.stamps })
    }

    /// Whether the key that signed is one of the domain's.
    async fn is_by(&self, account: AccountKey, site: &Site) -> Result<(), Problem> {
        let audience = &self.audience;
        if site.tells_price_of(audience) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!(
                    "stamps for {audience} are redeemed in this office's own books; there is nothing to report"
                ),
            ));
        }
        let name = records::key_name(&self.selector, audience);
        match site.discovery.office_key(audience, &self.selector).await {
            Ok(Ok(key)) if key.to_bytes() == account.0 => Ok(()),
            Ok(Ok(_)) => {
                Err(Problem::unsigned(format!("the key at {name} in DNS is not the one that signed")))
            }
            Ok(Err(why)) => Err(Problem::unsigned(format!(
                "{name} in DNS holds no key: {why}; publish the key that signs settlements there"
            ))),
            Err(trouble) => {
                // Whoever calls names the domain: how often this happens is his to choose.
                tracing::debug!(%trouble, "the key of a domain that reports refunds cannot be looked up");
                Err(Problem::unavailable(format!(
                    "{name} cannot be looked up in DNS now; send the same again"
                )))
            }
        }
    }

    /// The stamps of ours for this domain that their holders have cancelled, each id once.
    fn cancelled(&self, office: &Domain, now: u64) -> Vec<Stamp> {
        let mut ids = HashSet::new();
        let stamps = self.stamps.iter().filter_map(|value| CancelledStamp::parse(value.as_bytes()).ok());
        stamps
            .filter(|CancelledStamp { stamp, cancellation }| {
                stamp.terms.office == *office
                    && stamp.terms.audience == self.audience
                    && cancellation.time <= now.saturating_add(CLOCK_AHEAD_MAX_S)
                    && is_cancelled(stamp, cancellation)
                    && ids.insert(stamp.terms.id)
            })
            .map(|cancelled| cancelled.stamp)
            .collect()
    }
}

/// Checks the holders' signatures, on a thread where that holds nobody up.
async fn cancelled(
    office: &SharedOffice,
    site: std::sync::Arc<Site>,
    report: Report,
    now: u64,
) -> Result<Vec<Stamp>, Problem> {
    let failed = || {
        tracing::error!("a settlement was not checked");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the office could not check it; nothing was credited")
    };
    let permit = office.signing_permit().await.ok_or_else(failed)?;
    let checking = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        report.cancelled(&site.domain, now)
    });
    checking.await.map_err(|_| failed())
}

/// Whether this is the very stamp that was sold. Its signature is the one in the books, so it need not be checked again.
fn is_exactly(stamp: &Stamp, sold: &SoldStamp) -> bool {
    let terms = &stamp.terms;
    stamp.signature == sold.stamp.signature
        && terms.holder == sold.stamp.holder
        && terms.value == sold.value
        && terms.expiry == sold.expiry
        && terms.audience == sold.audience
        && terms.selector.as_str() == sold.selector
}
