//! Pages of a few words and a form, without scripts: those of the digest's links.

use askama::Template;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};
use data_encoding::BASE64URL_NOPAD;

use super::{Problem, trouble};

/// Whether a browser asks.
pub fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/html")
}

/// Where the forms of a page may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forms {
    /// It has none.
    None,
    /// Back to the office.
    Here,
}

/// A page under a policy that lets nothing run and nothing load but its own style, whose nonce it is given.
///
/// # Errors
/// 500 when it cannot be made.
pub fn page<T: Template>(
    status: StatusCode,
    forms: Forms,
    with: impl FnOnce(String) -> T,
) -> Result<Response, Problem> {
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
