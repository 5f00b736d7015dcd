//! From an HTTP request to what a call works on: the body within its limit, the account that signed.

use std::{future::poll_fn, pin::Pin};

use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    http::{HeaderMap, StatusCode},
};

use super::{Site, problem::Problem, signed};
use crate::ledger::{AccountKey, ORDER_STAMPS_MAX};

/// Octets of a body: an order of 1,000 stamps has 90,000, with room for white space and unknown members.
pub const BODY_OCTETS_MAX: usize = 256 * 1_024;
/// Octets of a body beyond the limit that are still taken and thrown away, so that the client reads the refusal
/// instead of seeing its connection break: an order a hundred times too large.
const DISCARDED_OCTETS_MAX: usize = 16 * 1_024 * 1_024;

/// A request that is its account's.
pub struct Call {
    /// Who signed it.
    pub account: AccountKey,
    /// The body as sent.
    pub body: Vec<u8>,
}

/// Reads a signed request and checks its signature.
///
/// # Errors
/// 400 for a body that breaks off, 413 for one too large, 401 for a signature that does not hold.
pub async fn signed_call(request: Request, site: &Site, now: u64) -> Result<Call, Problem> {
    let (head, body) = request.into_parts();
    let body = read_body(body).await?;
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let request = signed::Request { method: head.method.as_str(), target, office: &site.domain, body: &body };
    let fields =
        [signed::ACCOUNT, signed::DATE, signed::SIGNATURE].map(|name| only_value(&head.headers, name));
    let account = signed::verify(&request, fields, now).map_err(Problem::unsigned)?;
    Ok(Call { account, body })
}

/// The value of a field that is there exactly once.
fn only_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Reads a body within [`BODY_OCTETS_MAX`].
///
/// # Errors
/// 400 when it breaks off, 413 when it is too large.
pub async fn read_body(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut kept = Vec::new();
    let mut octets = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Problem::bad("the body breaks off; send the request again"))?;
        let Ok(data) = frame.into_data() else { continue };
        octets += data.len();
        if octets <= BODY_OCTETS_MAX {
            kept.extend_from_slice(&data);
        } else {
            kept = Vec::new();
        }
        if octets > DISCARDED_OCTETS_MAX {
            break;
        }
    }
    if octets > BODY_OCTETS_MAX {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the body has more than {BODY_OCTETS_MAX} octets; an order holds at most {ORDER_STAMPS_MAX} stamps"
            ),
        ));
    }
    Ok(kept)
}
