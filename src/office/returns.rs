//! `POST /v1/returns`: which of its stamps an account has the postage back of, so that who bought them for others can give
//! it on.

use axum::{
    Json,
    extract::{Request, State},
};

use super::{
    SharedOffice,
    problem::Problem,
    request::signed_call,
    wire::{Bytes, ReturnsAnswer, ReturnsBody},
};
use crate::{
    clock::unix_now,
    ledger::{ORDER_STAMPS_MAX, StampId},
};

/// Answers the call. Of stamps that are another account's, or none, nothing is said.
///
/// # Errors
/// 400, 401, 413, 429, 503.
pub async fn returns(
    State(office): State<SharedOffice>,
    request: Request,
) -> Result<Json<ReturnsAnswer>, Problem> {
    let call = signed_call(request, &office.site(), unix_now()).await?;
    let body = serde_json::from_slice(&call.body).map_err(Problem::from);
    // What cannot be read counts as a call too.
    office
        .counters()
        .account(call.account, body.as_ref().map_or(0, |body: &ReturnsBody| body.stamps.len()))?;
    let ReturnsBody { stamps } = body?;
    if stamps.len() > ORDER_STAMPS_MAX {
        return Err(Problem::bad(format!("ask for at most {ORDER_STAMPS_MAX} stamps at a time")));
    }
    let ids: Vec<StampId> = stamps.into_iter().map(|id| id.0).collect();
    let returned = office.ledger().came_back(call.account, &ids).await?;
    Ok(Json(ReturnsAnswer { returned: returned.into_iter().map(Bytes).collect() }))
}
