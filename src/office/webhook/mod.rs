//! `POST /v1/webhooks/PROVIDER`: a payment provider says that somebody paid, and the account gets the money.
//!
//! A provider is one small module that carries out [`Provider`]: it proves that the news is the provider's and new, and
//! reads a payment out of it; it is pure. What always holds: nothing of the body is believed, not even parsed,
//! before its signature holds; each event and each payment is credited once, by key; a provider is answered 200
//! once the money is in the books or the news is none of ours, and anything else makes it come again.

mod stripe;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
};
use serde::Serialize;

use super::{SharedOffice, problem::Problem, request::read_body};
use crate::{
    address::shown,
    clock::unix_now,
    config::Config,
    keys::KeyError,
    ledger::funding::{Paid, Payment},
    money::{Currency, Micros},
};

/// What came from a provider, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The request's fields.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
    /// Unix seconds.
    pub now: u64,
    /// What the ledger's amounts are in.
    pub currency: Currency,
}

/// What a delivery says, once it is proved to be the provider's.
#[derive(Clone, Debug)]
pub enum News {
    /// Somebody paid.
    Paid(Payment),
    /// Nothing for the books; why.
    Nothing(&'static str),
    /// Somebody paid and nobody can be credited; why. An admin has to look.
    Unusable(String),
}

/// Why a delivery is not believed: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryFault {
    /// The field with the signature is missing, there twice, or out of form.
    #[error("the field {0} is missing or out of form")]
    Field(&'static str),
    /// No signature holds.
    #[error("the signature does not verify: the secret is another one, or the body was changed on the way")]
    Signature,
    /// It was signed long ago, or not yet.
    #[error("it was signed {0} s away from the office's clock, at most {1} are allowed")]
    Window(u64, u64),
    /// Its body is not what this provider sends.
    #[error("the body is not the JSON of an event")]
    Body,
}

/// A payment provider whose webhook is understood.
pub trait Provider: Send + Sync {
    /// Its name: in the path, in `funding` of the office's description, and in the books as `funding:<name>`.
    fn name(&self) -> &'static str;

    /// Reads a delivery. Pure.
    ///
    /// # Errors
    /// [`DeliveryFault`] when it is not proved to be the provider's, and new.
    fn read(&self, delivery: &Delivery<'_>) -> Result<News, DeliveryFault>;
}

/// The providers a configuration names, with their secrets.
///
/// # Errors
/// [`KeyError`] of a secret's file: others can read it, or it holds none.
pub fn providers(config: &Config) -> Result<Vec<Box<dyn Provider>>, KeyError> {
    let mut providers: Vec<Box<dyn Provider>> = vec![];
    if let Some(path) = config.office.as_ref().and_then(|office| office.stripe_secret_file.as_ref()) {
        providers.push(Box::new(stripe::Stripe::from_file(path)?));
    }
    Ok(providers)
}

/// Answer of `POST /v1/webhooks/PROVIDER`.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// What was credited now, in micros; 0 when the news was known or is none for the books.
    credited: Micros,
    /// What was done, for the provider's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Receipt {
    fn nothing(note: impl Into<String>) -> Json<Self> {
        Json(Self { credited: Micros::ZERO, note: Some(note.into()) })
    }
}

/// Answers the call.
///
/// # Errors
/// 400 (not the provider's, or old), 404 (no such provider here), 413, 429, 503.
pub async fn receive(
    State(office): State<SharedOffice>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Receipt>, Problem> {
    let site = office.site();
    let provider = site.providers.iter().find(|provider| provider.name() == name);
    let provider = provider.ok_or_else(|| Problem::of_status(StatusCode::NOT_FOUND))?;
    let (head, body) = request.into_parts();
    let body = read_body(body).await?;
    let delivery = Delivery { headers: &head.headers, body: &body, now: unix_now(), currency: site.currency };
    let news = provider.read(&delivery).map_err(|fault| {
        tracing::warn!(provider = provider.name(), %fault, "a webhook was not believed");
        Problem::bad(fault)
    })?;
    let payment = match news {
        News::Paid(payment) => payment,
        News::Nothing(why) => return Ok(Receipt::nothing(why)),
        News::Unusable(why) => {
            tracing::error!(provider = provider.name(), why, "a payment was not credited; look at it there");
            return Ok(Receipt::nothing(why));
        }
    };
    let (account, amount) = (payment.account, payment.amount);
    let (event, reference) = (shown(payment.event.as_bytes()), shown(payment.reference.as_bytes()));
    match office.ledger().payment(payment).await? {
        Paid::Credited(balance) => {
            tracing::info!(
                provider = provider.name(), %account, event, reference, amount_micros = amount.get(),
                balance_micros = balance.get(), "a payment was credited"
            );
            Ok(Json(Receipt { credited: amount, note: None }))
        }
        Paid::Before => Ok(Receipt::nothing("credited before")),
    }
}
