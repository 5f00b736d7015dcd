//! Talking to a post office (SPEC.md §10): https, or plain http on this machine; answers are bounded in time and size,
//! and whatever is in them is held against what was asked.

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use ureq::{
    Agent,
    http::{Method, Request, Response},
    tls::{RootCerts, TlsConfig},
};

use crate::{
    address::{Address, Domain, shown},
    clock::unix_now,
    money::{Currency, Micros, STAMP_VALUE_MAX},
    office::{
        signed,
        wire::{
            AccountAnswer, Credit, GrantBody, GrantOffer, OrderAnswer, OrderBody, Quote, ReturnsAnswer,
            ReturnsBody, SettlementAnswer, SettlementBody, VoucherBody, WellKnown,
        },
    },
    stamp::{PublicKey, SecretKey, Selector, records::is_office_url},
    voucher::Code,
};

/// A whole call. The office itself gives up before.
const CALL_TIME: Duration = Duration::from_secs(30);
/// Reaching the office.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Octets of an answer: the largest has the signatures of a thousand stamps, 90,000.
const ANSWER_OCTETS_MAX: u64 = 1_024 * 1_024;

/// Why a call to an office gave no answer to go by.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a URL an office may have.
    #[error("`{0}` is not an office's URL: https://…, or http:// on this machine, without a query")]
    Url(String),
    /// Nobody there, or it cannot be trusted.
    #[error("{url} cannot be reached: {what}; is that the office's URL? try again")]
    Unreachable {
        /// The office's URL.
        url: String,
        /// What happened.
        what: String,
    },
    /// Too slow.
    #[error("{url} did not answer in time; try again")]
    TimeOut {
        /// The office's URL.
        url: String,
    },
    /// It said no.
    #[error("{url} answers {status}: {detail}")]
    Refused {
        /// The office's URL.
        url: String,
        /// The HTTP status.
        status: u16,
        /// Its words, safe to show.
        detail: String,
        /// What the account holds, where that is why.
        balance: Option<Micros>,
        /// When to come again, in seconds, where it says.
        retry_after_s: Option<u64>,
    },
    /// Its answer is not what was asked for.
    #[error("{url} answers something else than was asked: {what}")]
    Answer {
        /// The office's URL.
        url: String,
        /// What is wrong.
        what: String,
    },
}

impl ClientError {
    /// Whether it says of an order that it was not done and never will be. The office looks at what was sold before it
    /// looks at anything else, so these words mean that nothing was. Others may be those of a server on the way: by 403 a
    /// web server turns clients away that an office has sold something to.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 402 | 409 | 422, .. })
    }

    /// Whether the same call may fare better in a moment.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimeOut { .. } => true,
            // It took too long, comes too early or too often, or the office is in trouble itself.
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Url(_) | Self::Answer { .. } => false,
        }
    }
}

/// What an office says of itself, checked.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its domain.
    pub office: Domain,
    /// The keys of its stamps.
    pub keys: Vec<(Selector, PublicKey)>,
    /// What its amounts are in.
    pub currency: Currency,
    /// The most a stamp may be worth.
    pub value_max: Micros,
    /// How money comes onto an account.
    pub funding: Vec<String>,
    /// The starter amount for work, where there is one.
    pub grant: Option<GrantOffer>,
    /// Where people pay money onto an account: https, printable.
    pub payment: Option<String>,
}

impl Description {
    /// The key of a selector.
    #[must_use]
    pub fn key(&self, selector: &Selector) -> Option<&PublicKey> {
        self.keys.iter().find(|(name, _)| name == selector).map(|(_, key)| key)
    }
}

/// A post office as its customers reach it.
pub struct OfficeClient {
    agent: Agent,
    /// Ends in `/`.
    url: String,
}

impl OfficeClient {
    /// The office at this URL; nothing is asked yet.
    ///
    /// # Errors
    /// [`ClientError::Url`]: plain http to anywhere but this machine would show the world what one buys.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        if !is_office_url(url) || url.contains(['?', '#']) || url.parse::<ureq::http::Uri>().is_err() {
            return Err(ClientError::Url(shown(url.as_bytes())));
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // A signature is for one target: what is moved elsewhere is not followed.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A connection kept from the call before may be closing: an order would go nowhere for nothing.
            .max_idle_connections(0)
            .timeout_global(Some(CALL_TIME))
            .timeout_connect(Some(CONNECT_TIME))
            .user_agent(concat!("farthing/", env!("CARGO_PKG_VERSION")));
        if url.starts_with("http://") {
            // This machine is not reached by way of another.
            config = config.proxy(None);
        }
        let slash = if url.ends_with('/') { "" } else { "/" };
        Ok(Self { agent: config.build().new_agent(), url: format!("{url}{slash}") })
    }

    /// The office's URL, ending in `/`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the office says of itself.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn describe(&self) -> Result<Description, ClientError> {
        let said: WellKnown = self.get("/.well-known/postage")?;
        let key = |selector: &str, public: &[u8; 32]| {
            Some((selector.parse().ok()?, PublicKey::from_bytes(public).ok()?))
        };
        let mut keys: Vec<_> =
            said.keys.iter().filter_map(|entry| key(&entry.selector, &entry.public.0)).collect();
        let signing = key(&said.selector, &said.public.0).ok_or_else(|| self.answer("its key is none"))?;
        keys.push(signing);
        let currency = said.currency.parse().map_err(|e| self.answer(e))?;
        Ok(Description {
            office: said.office,
            keys,
            currency,
            value_max: said.max,
            funding: said.funding,
            grant: said.grant,
            payment: said.payment.filter(|url| url.starts_with("https://") && is_office_url(url)),
        })
    }

    /// Makes sure that what a URL found in DNS leads to is the office it was found for, before anything is sent there.
    /// With https the certificate says who is asked. On this machine nothing does: a stranger's record could lead to any
    /// program here that does as it is told by whoever is here too. Such a program is asked for the description alone.
    ///
    /// # Errors
    /// [`ClientError`], never a refusal: nothing was asked that could be refused.
    pub fn must_be(&self, office: &Domain) -> Result<(), ClientError> {
        if !self.url.starts_with("http://") {
            return Ok(());
        }
        match self.describe() {
            Ok(found) if found.office == *office => Ok(()),
            Ok(found) => Err(self.answer(format_args!("it is the office {}, not {office}", found.office))),
            Err(error @ ClientError::Refused { .. }) if error.may_pass() => {
                Err(ClientError::Unreachable { url: self.url.clone(), what: error.to_string() })
            }
            Err(ClientError::Refused { status, .. }) => {
                Err(self.answer(format_args!("{status}, where {office} should describe itself")))
            }
            Err(error) => Err(error),
        }
    }

    /// What it costs to write to someone of the office's own mail domains.
    ///
    /// # Errors
    /// [`ClientError`]; status 404 for other domains.
    pub fn quote(&self, to: &Address) -> Result<Quote, ClientError> {
        let target = format!("/v1/quote?to={}", percent_encode(&to.to_bytes(), NON_ALPHANUMERIC));
        let quote: Quote = self.get(&target)?;
        if quote.micros == Micros::ZERO || quote.micros > STAMP_VALUE_MAX {
            return Err(self.answer("a price that no stamp can have"));
        }
        let currency: Currency = quote.currency.parse().map_err(|e| self.answer(e))?;
        let offices = quote.offices.into_iter().filter(|at| is_office_url(&at.url)).collect();
        // What is in it may be shown: nothing is taken over as it came that could be more than it seems.
        Ok(Quote { to: to.to_string(), currency: currency.to_string(), offices, ..quote })
    }

    /// Sends an order; the same again is charged once.
    ///
    /// # Errors
    /// [`ClientError`]; after anything but a refusal the order may have been done.
    pub fn order(
        &self,
        office: &Domain,
        account: &SecretKey,
        order: &OrderBody,
    ) -> Result<OrderAnswer, ClientError> {
        let body = serde_json::to_vec(order).map_err(|e| self.answer(e))?;
        self.signed(Method::POST, "/v1/stamps", office, account, body)
    }

    /// Reports refunds of the office's stamps, signed by the key of their domain; the same again is credited once.
    ///
    /// # Errors
    /// [`ClientError`]; after anything but a refusal they may have been credited.
    pub fn settle(
        &self,
        office: &Domain,
        key: &SecretKey,
        refunds: &SettlementBody,
    ) -> Result<SettlementAnswer, ClientError> {
        let body = serde_json::to_vec(refunds).map_err(|e| self.answer(e))?;
        self.signed(Method::POST, "/v1/settlements", office, key, body)
    }

    /// What the account holds.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn account(&self, office: &Domain, account: &SecretKey) -> Result<AccountAnswer, ClientError> {
        self.signed(Method::GET, "/v1/account", office, account, vec![])
    }

    /// Of these stamps those that the account has the postage back of.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn returns(
        &self,
        office: &Domain,
        account: &SecretKey,
        stamps: &ReturnsBody,
    ) -> Result<ReturnsAnswer, ClientError> {
        let body = serde_json::to_vec(stamps).map_err(|e| self.answer(e))?;
        self.signed(Method::POST, "/v1/returns", office, account, body)
    }

    /// Sends a voucher's code; the same again is credited once.
    ///
    /// # Errors
    /// [`ClientError`]; after anything but a refusal it may have been credited.
    pub fn voucher(&self, office: &Domain, account: &SecretKey, code: &Code) -> Result<Credit, ClientError> {
        let body = VoucherBody { code: code.to_text().to_string() };
        let body = serde_json::to_vec(&body).map_err(|e| self.answer(e))?;
        self.signed(Method::POST, "/v1/vouchers", office, account, body)
    }

    /// Asks for a starter amount with a proof of work; the same again is credited once.
    ///
    /// # Errors
    /// [`ClientError`]; after anything but a refusal it may have been credited.
    pub fn grant(&self, office: &Domain, account: &SecretKey, proof: String) -> Result<Credit, ClientError> {
        let body = serde_json::to_vec(&GrantBody { proof }).map_err(|e| self.answer(e))?;
        self.signed(Method::POST, "/v1/grants", office, account, body)
    }

    fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.call(Request::get(self.at(target)), vec![])
    }

    fn signed<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        office: &Domain,
        account: &SecretKey,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let date = unix_now().to_string();
        let request = signed::Request { method: method.as_str(), target, office, body: &body };
        let signature = account.sign(&request.signed_bytes(&date));
        let request = Request::builder()
            .method(&method)
            .uri(self.at(target))
            .header(signed::ACCOUNT, account.public().to_string())
            .header(signed::DATE, date)
            .header(signed::SIGNATURE, BASE64URL_NOPAD.encode(&signature));
        self.call(request, body)
    }

    fn call<T: DeserializeOwned>(
        &self,
        request: ureq::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let bad_request = |e: ureq::http::Error| self.answer(e);
        let response = if body.is_empty() {
            self.agent.run(request.body(()).map_err(bad_request)?)
        } else {
            let request = request.header("Content-Type", "application/json");
            self.agent.run(request.body(body).map_err(bad_request)?)
        };
        let mut response = response.map_err(|e| self.trouble(e))?;
        let answer = response.body_mut().with_config().limit(ANSWER_OCTETS_MAX).read_to_vec();
        let answer = answer.map_err(|e| self.trouble(e))?;
        if response.status().as_u16() != 200 {
            return Err(self.refused(&response, &answer));
        }
        serde_json::from_slice(&answer).map_err(|e| self.answer(e))
    }

    /// A target on the office's host, below the office's own path.
    fn at(&self, target: &str) -> String {
        format!("{}{}", self.url, target.trim_start_matches('/'))
    }

    fn refused(&self, response: &Response<ureq::Body>, answer: &[u8]) -> ClientError {
        #[derive(Default, Deserialize)]
        struct Document {
            detail: Option<String>,
            balance: Option<Micros>,
        }
        let document: Document = serde_json::from_slice(answer).unwrap_or_default();
        let words = response.status().canonical_reason().unwrap_or("no reason given");
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        ClientError::Refused {
            url: self.url.clone(),
            status: response.status().as_u16(),
            detail: document.detail.map_or_else(|| words.to_owned(), |detail| escaped_line(&detail)),
            balance: document.balance,
            retry_after_s: retry_after.and_then(|seconds| seconds.parse().ok()),
        }
    }

    pub(super) fn answer(&self, what: impl std::fmt::Display) -> ClientError {
        ClientError::Answer { url: self.url.clone(), what: shown(what.to_string().as_bytes()) }
    }

    fn trouble(&self, error: ureq::Error) -> ClientError {
        let url = self.url.clone();
        match error {
            ureq::Error::Timeout(_) => ClientError::TimeOut { url },
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut => ClientError::TimeOut { url },
            ureq::Error::BodyExceedsLimit(_) => self.answer("the answer is too long"),
            error => ClientError::Unreachable { url, what: shown(error.to_string().as_bytes()) },
        }
    }
}

/// What another machine said, as one line that cannot take a terminal over.
fn escaped_line(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 300;
    crate::address::escaped(text.chars().take(SHOWN_CHARS_MAX).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_office_may_be_reached() {
        for url in [
            "https://b.example",
            "https://b.example/post",
            "http://127.0.0.1:8895/",
            "http://localhost:1/x/",
            "http://[::1]:8895",
        ] {
            let client = OfficeClient::new(url).unwrap();
            assert!(client.url().ends_with('/') && client.url().starts_with(url), "{url}");
        }
        for url in [
            "http://b.example/",
            "http://127.0.0.1.b.example/",
            "http://192.0.2.1/",
            "ftp://b.example/",
            "b.example",
            "https://",
            "https://eve@b.example/",
            "https://b.example/?x=",
            "https://b.example/#x",
            "https://b.example/ x",
        ] {
            let error = OfficeClient::new(url).err().unwrap();
            assert!(matches!(error, ClientError::Url(_)), "{url}");
        }
    }

    #[test]
    fn what_another_machine_says_is_one_harmless_line() {
        assert_eq!(escaped_line("no\r\n\u{1b}[2Jmoney"), "no\\r\\n\\u{1b}[2Jmoney");
        assert!(escaped_line(&"x".repeat(10_000)).len() <= 300);
    }
}
