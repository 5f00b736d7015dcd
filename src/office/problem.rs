//! What an office says when it does not do a call: RFC 9457 problem documents, every one of them.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Value, json};

use crate::{address::shown, ledger::LedgerError, money::Micros};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// After how long a client should come again when the ledger cannot answer, in seconds: it recovers by itself.
const LEDGER_RETRY_S: u64 = 5;
/// Likewise when DNS cannot, in seconds: somebody may have to look at it.
const OTHERS_RETRY_S: u64 = 60;

/// What kind of problem it is, in a word for programs that never changes: the member `code` of the document. The pages have
/// words of the reader's language for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A voucher's code that no office ever wrote.
    VoucherMistyped,
    /// A voucher's code that is worth nothing here, or nothing any more.
    VoucherWorthless,
    /// A stamp of a value that the office does not sell.
    ValueOutOfRange,
    /// The account holds less than the order costs.
    ShortOfMoney,
    /// What was ordered, or paid with, was sold or spent before.
    UsedBefore,
    /// The stamp is not one for this letter.
    StampUnfit,
    /// Not the address that a letter can be from.
    AddressUnfit,
    /// A form without what names it.
    FormBroken,
    /// No letter is let in here but with a stamp in itself.
    NoPasses,
    /// No work is taken here.
    NoWork,
    /// Work for another letter, or numbers that solve nothing.
    WorkUnfit,
    /// The work took too long.
    WorkOver,
    /// Enough work was taken for the address today.
    WorkEnough,
    /// Enough letters are let in between these two.
    PassesEnough,
    /// Too many calls; Retry-After says when to come again.
    TooManyCalls,
    /// Not now; the same again will do.
    Unavailable,
    /// Nothing that the caller can help.
    Trouble,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 17] = [
        Self::VoucherMistyped,
        Self::VoucherWorthless,
        Self::ValueOutOfRange,
        Self::ShortOfMoney,
        Self::UsedBefore,
        Self::StampUnfit,
        Self::AddressUnfit,
        Self::FormBroken,
        Self::NoPasses,
        Self::NoWork,
        Self::WorkUnfit,
        Self::WorkOver,
        Self::WorkEnough,
        Self::PassesEnough,
        Self::TooManyCalls,
        Self::Unavailable,
        Self::Trouble,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VoucherMistyped => "voucher-mistyped",
            Self::VoucherWorthless => "voucher-worthless",
            Self::ValueOutOfRange => "value-out-of-range",
            Self::ShortOfMoney => "short-of-money",
            Self::UsedBefore => "used-before",
            Self::StampUnfit => "stamp-unfit",
            Self::AddressUnfit => "address-unfit",
            Self::FormBroken => "form-broken",
            Self::NoPasses => "no-passes",
            Self::NoWork => "no-work",
            Self::WorkUnfit => "work-unfit",
            Self::WorkOver => "work-over",
            Self::WorkEnough => "work-enough",
            Self::PassesEnough => "passes-enough",
            Self::TooManyCalls => "too-many-calls",
            Self::Unavailable => "unavailable",
            Self::Trouble => "trouble",
        }
    }

    /// What the status alone says.
    fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::TOO_MANY_REQUESTS => Some(Self::TooManyCalls),
            StatusCode::SERVICE_UNAVAILABLE => Some(Self::Unavailable),
            StatusCode::INTERNAL_SERVER_ERROR => Some(Self::Trouble),
            _ => None,
        }
    }
}

/// Why a call was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{status}: {detail}")]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Member `code`, where there is one.
    pub kind: Option<Kind>,
    /// What happened, to what, and what to do.
    pub detail: String,
    /// Member `balance`, and `cost` beside it: what an order lacks the money for, in micros.
    pub short: Option<(Micros, Micros)>,
    /// Retry-After, in seconds.
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem with its words.
    pub fn new(status: StatusCode, detail: impl std::fmt::Display) -> Self {
        let kind = Kind::of_status(status);
        Self { status, kind, detail: detail.to_string(), short: None, retry_after_s: None }
    }

    /// The same, of this kind.
    #[must_use]
    pub fn of(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// 400: the request is not of its form.
    pub fn bad(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: the request's signature is missing or does not verify.
    pub fn unsigned(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 402: an order costs more than the account holds.
    #[must_use]
    pub fn short(balance: Micros, cost: Micros) -> Self {
        let detail = format!("the account holds {balance} and the order costs {cost}; nothing was sold");
        let problem = Self::new(StatusCode::PAYMENT_REQUIRED, detail).of(Kind::ShortOfMoney);
        Self { short: Some((balance, cost)), ..problem }
    }

    /// 429: too many calls.
    #[must_use]
    pub fn too_many(who: &str, retry_after_s: u64) -> Self {
        let detail = format!("too many calls from this {who}; come again in {retry_after_s} s");
        Self { retry_after_s: Some(retry_after_s), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// 503: somebody else, on whom the call hangs, does not answer now.
    pub fn unavailable(detail: impl std::fmt::Display) -> Self {
        Self { retry_after_s: Some(OTHERS_RETRY_S), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// Words for a status that came without any, from the layers around the calls.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::NOT_FOUND => {
                "there is no such call here; GET /.well-known/postage describes the office"
            }
            StatusCode::METHOD_NOT_ALLOWED => "this path does not take that method; see the Allow field",
            StatusCode::REQUEST_TIMEOUT => {
                "the request did not arrive or was not done in time; send it again"
            }
            _ => "the request was not done",
        };
        Self::new(status, detail)
    }
}

impl From<LedgerError> for Problem {
    /// The log gets the ledger's words, the caller only what it can act on.
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "a call to the office was not done");
        match error {
            LedgerError::QueueFull | LedgerError::Unavailable(_) => Self {
                retry_after_s: Some(LEDGER_RETRY_S),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the office's ledger cannot answer now; send the same request again",
                )
            },
            LedgerError::Damaged(_)
            | LedgerError::Overflow
            | LedgerError::Short(_)
            | LedgerError::Invalid(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the office's ledger did not do it; its postmaster has to look",
            ),
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::bad(format!("the body is not the JSON of this call: {}", shown(error.to_string().as_bytes())))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut document = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(kind), Value::Object(members)) = (self.kind, &mut document) {
            members.insert("code".into(), json!(kind.as_str()));
        }
        if let (Some((balance, cost)), Value::Object(members)) = (self.short, &mut document) {
            members.insert("balance".into(), json!(balance));
            members.insert("cost".into(), json!(cost));
        }
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2 asks for a challenge; there is no registered scheme for this one.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Postage-Signature"));
        }
        response
    }
}

/// Makes a problem document of any refusal that is none yet; pages for people stay.
pub async fn dress(response: Response<Body>) -> Response<Body> {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let has_words = kind.starts_with(MEDIA_TYPE.as_bytes()) || kind.starts_with(b"text/html");
    if has_words || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (given, _) = response.into_parts();
    let mut response = Problem::of_status(status).into_response();
    // Allow, of 405, stays.
    for (name, value) in &given.headers {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}
