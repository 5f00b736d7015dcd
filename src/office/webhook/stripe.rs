//! Stripe: completed Checkout sessions, signed as Stripe signs webhooks.
//!
//! `Stripe-Signature: t=<Unix seconds>,v1=<hex>[,v1=…]`, each v1 an HMAC-SHA256 over `t.body` by one of the endpoint's
//! secrets. The session's `client_reference_id` is the account, `amount_total` counts minor units of `currency`.

use std::path::Path;

use axum::http::HeaderMap;
use data_encoding::HEXLOWER;
use ring::hmac;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Number;

use super::{Delivery, DeliveryFault, News, Provider};
use crate::{
    address::shown,
    keys::{self, KeyError},
    ledger::{AccountKey, funding::Payment},
    money::Micros,
    stamp::{PublicKey, taglist},
};

/// Its name in paths and books.
const NAME: &str = "stripe";
/// Field with the signatures.
const SIGNATURE: &str = "Stripe-Signature";
/// How far the time of signing may be from our clock, in seconds, either way: a delivery that somebody recorded is
/// worthless after.
const WINDOW_S: u64 = 300;
/// Signatures of one delivery that are looked at: one for each secret while secrets rotate.
const SIGNATURES_MAX: usize = 8;
/// Secrets of one endpoint that are good at a time, likewise.
const SECRETS_MAX: usize = 8;
/// Octets of a secret's file.
const FILE_OCTETS_MAX: u64 = 4_096;
/// Octets of a secret, at the least: a shorter one is a slip of the hand.
const SECRET_OCTETS_MIN: usize = 16;
/// Said of a secret that cannot be one; names [`SECRET_OCTETS_MIN`].
const SECRET_UNFIT: &str =
    "a line of it is no signing secret (whsec_…): that has at least 16 characters, all ASCII";
/// Octets of an id, as Stripe has them at the most.
const ID_OCTETS_MAX: usize = 255;

/// What Stripe counts in whole units, and what in thousandths (docs.stripe.com/currencies); all else is in hundredths.
/// ISK and UGX, which have no minor unit any more, are in hundredths there.
const WHOLE: [&str; 15] =
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// Stripe, with the secrets of our endpoint there.
pub struct Stripe {
    secrets: Vec<hmac::Key>,
}

impl Stripe {
    /// The secrets of a file that nobody else can read: one a line (`whsec_…`), `#` begins a comment. While one is
    /// replaced by another, both stand there.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text = keys::read_private(path, FILE_OCTETS_MAX)?;
        let fault = |what| KeyError::NotAKey { path: path.to_path_buf(), what };
        let lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        let secrets: Vec<&[u8]> = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).collect();
        if secrets.is_empty() || secrets.len() > SECRETS_MAX {
            return Err(fault("it should hold Stripe's signing secret (whsec_…), one a line, at most 8"));
        }
        if secrets.iter().any(|secret| secret.len() < SECRET_OCTETS_MIN || !secret.is_ascii()) {
            return Err(fault(SECRET_UNFIT));
        }
        Ok(Self::new(&secrets))
    }

    fn new(secrets: &[&[u8]]) -> Self {
        Self { secrets: secrets.iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret)).collect() }
    }

    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), DeliveryFault> {
        let signed = Signed::of(delivery.headers).ok_or(DeliveryFault::Field(SIGNATURE))?;
        let message = [signed.time.as_bytes(), b".", delivery.body].concat();
        let by = |key: &hmac::Key, tag: &[u8]| hmac::verify(key, &message, tag).is_ok();
        if !self.secrets.iter().any(|key| signed.tags.iter().any(|tag| by(key, tag))) {
            return Err(DeliveryFault::Signature);
        }
        let time = taglist::decimal(signed.time).ok_or(DeliveryFault::Field(SIGNATURE))?;
        let away = time.abs_diff(delivery.now);
        if away > WINDOW_S { Err(DeliveryFault::Window(away, WINDOW_S)) } else { Ok(()) }
    }
}

impl Provider for Stripe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn read(&self, delivery: &Delivery<'_>) -> Result<News, DeliveryFault> {
        self.verify(delivery)?;
        let event: Event = parsed(delivery.body)?;
        if let Some(connected) = event.account {
            return Ok(News::Unusable(format!(
                "event {} tells of the account {}, which is not ours but connected to it",
                shown(event.id.as_bytes()),
                shown(connected.as_bytes())
            )));
        }
        if !matches!(
            event.kind.as_str(),
            "checkout.session.completed" | "checkout.session.async_payment_succeeded"
        ) {
            return Ok(News::Nothing("this kind of event is not for the books"));
        }
        let Of { data } = parsed(delivery.body)?;
        Ok(data.object.news(event.id, delivery))
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, DeliveryFault> {
    serde_json::from_slice(body).map_err(|_| DeliveryFault::Body)
}

/// The field, taken apart.
struct Signed<'a> {
    time: &'a str,
    tags: Vec<Vec<u8>>,
}

impl<'a> Signed<'a> {
    fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(SIGNATURE).iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let (mut time, mut tags) = (None, vec![]);
        for part in value.split(',') {
            match part.trim().split_once('=')? {
                ("t", digits) if time.is_none() => time = Some(digits),
                ("t", _) => return None,
                // Others are of schemes for tests.
                ("v1", hex) if tags.len() < SIGNATURES_MAX => {
                    tags.push(HEXLOWER.decode(hex.as_bytes()).ok()?)
                }
                _ => {}
            }
        }
        time.filter(|_| !tags.is_empty()).map(|time| Self { time, tags })
    }
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    /// Of the business whose event it is, where that is not the endpoint's own but one connected to it.
    account: Option<String>,
}

#[derive(Deserialize)]
struct Of {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Session,
}

/// A Checkout session, as far as it matters.
#[derive(Deserialize)]
struct Session {
    id: String,
    payment_status: Option<String>,
    client_reference_id: Option<String>,
    amount_total: Option<Number>,
    currency: Option<String>,
}

impl Session {
    fn news(self, event: String, delivery: &Delivery<'_>) -> News {
        if self.payment_status.as_deref() != Some("paid") {
            return News::Nothing("the session is not paid");
        }
        let Some(reference) = self.client_reference_id else {
            return News::Nothing("the session names no account in client_reference_id");
        };
        let session = shown(self.id.as_bytes());
        let unusable = |what: String| News::Unusable(format!("session {session}: {what}"));
        let is_id =
            |id: &str| (1..=ID_OCTETS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        if !is_id(&event) || !is_id(&self.id) {
            return unusable("an id that is none".into());
        }
        let Some(account) = account(&reference) else {
            return unusable(format!("client_reference_id `{}` is no account", shown(reference.as_bytes())));
        };
        let currency = self.currency.unwrap_or_default().to_ascii_uppercase();
        if currency != delivery.currency.as_str() {
            let paid = shown(currency.as_bytes());
            return unusable(format!("paid in `{paid}`, the books are in {}", delivery.currency));
        }
        match self.amount_total.as_ref().and_then(|minor| micros(minor, &currency)) {
            None => unusable("an amount that no account can hold".into()),
            Some(Micros::ZERO) => News::Nothing("nothing was paid"),
            Some(amount) => News::Paid(Payment {
                now: delivery.now,
                provider: NAME,
                event,
                reference: self.id,
                account,
                amount,
            }),
        }
    }
}

fn account(text: &str) -> Option<AccountKey> {
    let key: [u8; 32] = taglist::base64(text)?;
    // Money on what is no key nobody could spend.
    PublicKey::from_bytes(&key).is_ok().then_some(AccountKey(key))
}

/// An amount in minor units.
fn micros(minor: &Number, currency: &str) -> Option<Micros> {
    let micros_per_minor = if WHOLE.contains(&currency) {
        1_000_000
    } else if THOUSANDTHS.contains(&currency) {
        1_000
    } else {
        10_000
    };
    Micros::new(minor.as_u64()?)?.checked_mul(micros_per_minor)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::{Value, json};

    use super::*;
    use crate::stamp::SecretKey;

    const NOW: u64 = 1_795_305_600;
    const SECRET: &[u8] = b"whsec_a_secret_of_the_tests";
    const OLD_SECRET: &[u8] = b"whsec_the_one_before_it";

    fn someone() -> String {
        SecretKey::from_seed(&[1; 32]).public().to_string()
    }

    fn tag(secret: &[u8], time: u64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        HEXLOWER.encode(hmac::sign(&key, &[time.to_string().as_bytes(), b".", body].concat()).as_ref())
    }

    fn header(time: u64, body: &[u8]) -> String {
        format!("t={time},v1={}", tag(SECRET, time, body))
    }

    fn read_in(currency: &str, header: &str, body: &[u8]) -> Result<News, DeliveryFault> {
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, HeaderValue::from_str(header).unwrap());
        let delivery = Delivery { headers: &headers, body, now: NOW, currency: currency.parse().unwrap() };
        Stripe::new(&[SECRET, OLD_SECRET]).read(&delivery)
    }

    fn event() -> Value {
        json!({
            "id": "evt_1", "object": "event", "type": "checkout.session.completed", "livemode": true,
            "data": {"object": {
                "id": "cs_1", "object": "checkout.session", "payment_status": "paid", "amount_total": 500,
                "currency": "usd", "client_reference_id": someone(), "metadata": {"x": [1, null]},
            }},
        })
    }

    /// What becomes of an event, signed well.
    fn becomes(currency: &str, event: &Value) -> String {
        let body = event.to_string();
        match read_in(currency, &header(NOW, body.as_bytes()), body.as_bytes()).unwrap() {
            News::Paid(paid) => {
                format!("{} {} {} {}", paid.event, paid.reference, paid.account, paid.amount.get())
            }
            News::Nothing(why) => format!("nothing: {why}"),
            News::Unusable(why) => format!("unusable: {why}"),
        }
    }

    #[test]
    fn a_signature_holds_for_its_time_body_and_secret() {
        let body = event().to_string();
        let body = body.as_bytes();
        let good = tag(SECRET, NOW, body);
        let other = tag(b"whsec_of_someone_else", NOW, body);
        let said = |header: &str, body: &[u8]| read_in("USD", header, body).err();
        let field = Some(DeliveryFault::Field(SIGNATURE));
        let table = [
            (format!("t={NOW},v1={good}"), None),
            (format!("t={NOW}, v1={good}, v0=00ff"), None),
            (format!("v1={good},t={NOW}"), None),
            (format!("t={NOW},v1={other},v1={good}"), None),
            (format!("t={NOW},v1={}", tag(OLD_SECRET, NOW, body)), None),
            (header(NOW - 300, body), None),
            (header(NOW + 300, body), None),
            (header(NOW - 301, body), Some(DeliveryFault::Window(301, 300))),
            (header(NOW + 301, body), Some(DeliveryFault::Window(301, 300))),
            (format!("t={NOW},v1={other}"), Some(DeliveryFault::Signature)),
            (format!("t={},v1={good}", NOW - 1), Some(DeliveryFault::Signature)),
            (format!("t=0{NOW},v1={good}"), Some(DeliveryFault::Signature)),
            (format!("t={NOW},v0={good}"), field),
            (format!("t={NOW},v1={}", &good[2..]), Some(DeliveryFault::Signature)),
            (format!("t={NOW},v1="), Some(DeliveryFault::Signature)),
            (format!("t={NOW},v1=x{}", &good[1..]), field),
            (format!("t={NOW},t={NOW},v1={good}"), field),
            (format!("v1={good}"), field),
            (format!("t={NOW}"), field),
            (good.clone(), field),
            (String::new(), field),
        ];
        for (header, fault) in table {
            assert_eq!(said(&header, body), fault, "{header}");
        }
        let tampered = String::from_utf8(body.to_vec()).unwrap().replace("500", "501");
        assert_eq!(said(&header(NOW, body), tampered.as_bytes()), Some(DeliveryFault::Signature));
        let beyond = vec![format!("v1={other}"); SIGNATURES_MAX].join(",");
        assert_eq!(said(&format!("t={NOW},{beyond},v1={good}"), body), Some(DeliveryFault::Signature));
        // A signature over a time that is none proves nothing about when.
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        let no_time = HEXLOWER.encode(hmac::sign(&key, &[b"now.", body].concat()).as_ref());
        assert_eq!(said(&format!("t=now,v1={no_time}"), body), field);
    }

    #[test]
    fn the_scheme_is_stripes_own() {
        // By Python: hmac.new(b"whsec_test_secret_123", b"1700000000.{}", "sha256").hexdigest()
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec_test_secret_123");
        let tag =
            HEXLOWER.decode(b"c61da39a83078801eed36e027527ac71718ca621c86556f5c44b6213bd6952cd").unwrap();
        assert!(hmac::verify(&key, b"1700000000.{}", &tag).is_ok());
    }

    #[test]
    fn what_becomes_of_events() {
        let with = |path: &str, value: Value| {
            let mut event = event();
            *event.pointer_mut(path).unwrap() = value;
            event
        };
        let session = |name: &str, value: Value| with(&format!("/data/object/{name}"), value);
        let paid = format!("evt_1 cs_1 {} 5000000", someone());
        let succeeded = with("/type", json!("checkout.session.async_payment_succeeded"));
        // Paid to a business that is connected to ours: its money.
        let mut of_another = event();
        of_another["account"] = json!("acct_2");
        let not_books = "nothing: this kind of event is not for the books";
        let table = [
            (event(), paid.as_str()),
            (succeeded, paid.as_str()),
            (of_another, "unusable: event evt_1 tells of the account acct_2"),
            (with("/type", json!("checkout.session.expired")), not_books),
            (with("/type", json!("payment_intent.succeeded")), not_books),
            (session("payment_status", json!("unpaid")), "nothing: the session is not paid"),
            (session("payment_status", json!("no_payment_required")), "nothing: the session is not paid"),
            (session("payment_status", Value::Null), "nothing: the session is not paid"),
            (session("client_reference_id", Value::Null), "nothing: the session names no account"),
            (
                session("client_reference_id", json!("")),
                "unusable: session cs_1: client_reference_id `` is no",
            ),
            (
                session("client_reference_id", json!("order 17\n")),
                "unusable: session cs_1: client_reference_id",
            ),
            (
                session("client_reference_id", json!("A".repeat(43))),
                "unusable: session cs_1: client_reference_id",
            ),
            (
                session("currency", json!("eur")),
                "unusable: session cs_1: paid in `EUR`, the books are in USD",
            ),
            (session("currency", Value::Null), "unusable: session cs_1: paid in ``"),
            (session("amount_total", json!(0)), "nothing: nothing was paid"),
            (session("amount_total", json!(-500)), "unusable: session cs_1: an amount"),
            (session("amount_total", json!(5.5)), "unusable: session cs_1: an amount"),
            (session("amount_total", json!(u64::MAX)), "unusable: session cs_1: an amount"),
            (session("amount_total", json!(i64::MAX / 10_000 + 1)), "unusable: session cs_1: an amount"),
            (session("amount_total", Value::Null), "unusable: session cs_1: an amount"),
            (session("id", json!("")), "unusable: session : an id"),
            (with("/id", json!("e".repeat(256))), "unusable: session cs_1: an id"),
        ];
        for (event, outcome) in table {
            let found = becomes("USD", &event);
            assert!(found.starts_with(outcome), "{event}: {found}");
        }
    }

    #[test]
    fn minor_units_are_those_of_the_currency() {
        for (currency, micros) in [
            ("USD", 5_000_000_u64),
            ("EUR", 5_000_000),
            ("JPY", 500_000_000),
            ("KRW", 500_000_000),
            ("KWD", 500_000),
            ("ISK", 5_000_000),
            ("UGX", 5_000_000),
        ] {
            let mut event = event();
            event["data"]["object"]["currency"] = json!(currency.to_lowercase());
            let found = becomes(currency, &event);
            assert!(found.ends_with(&format!(" {micros}")), "{currency}: {found}");
        }
    }

    #[test]
    fn what_is_signed_and_no_event_is_refused() {
        for body in ["", "null", "[]", "{", "{\"id\":\"evt_1\"}", "{\"id\":1,\"type\":\"x\"}", "\u{0}"] {
            let said = read_in("USD", &header(NOW, body.as_bytes()), body.as_bytes()).err();
            assert_eq!(said, Some(DeliveryFault::Body), "{body:.40}");
        }
        let mut no_session = event();
        no_session["data"]["object"] = json!("cs_1");
        let body = no_session.to_string();
        let said = read_in("USD", &header(NOW, body.as_bytes()), body.as_bytes()).err();
        assert_eq!(said, Some(DeliveryFault::Body));
        // Depth that is nothing to us costs nothing.
        let bomb =
            format!("{{\"id\":\"evt_1\",\"type\":\"x\",\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
        let said = read_in("USD", &header(NOW, bomb.as_bytes()), bomb.as_bytes());
        assert!(matches!(said, Ok(News::Nothing(_))), "{said:?}");
    }

    #[test]
    fn secrets_come_from_a_file_that_nobody_else_reads() {
        use std::{fs, os::unix::fs::PermissionsExt as _};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stripe.secret");
        let from = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Stripe::from_file(&path).map(|stripe| stripe.secrets.len()).map_err(|e| e.to_string())
        };
        assert_eq!(from("whsec_a_secret_of_the_tests\n", 0o600), Ok(1));
        assert_eq!(from("# new\nwhsec_a_secret_of_the_tests\r\n\n  whsec_the_one_before_it", 0o400), Ok(2));
        for (text, mode, words) in [
            ("whsec_a_secret_of_the_tests", 0o640, "chmod 600"),
            ("whsec_a_secret_of_the_tests", 0o604, "chmod 600"),
            ("", 0o600, "should hold"),
            ("# nothing\n", 0o600, "should hold"),
            ("short\n", 0o600, "at least 16 characters"),
            ("whsec_fifteen_c\n", 0o600, "at least 16 characters"),
        ] {
            let error = from(text, mode).unwrap_err();
            assert!(error.contains(words) && !error.contains("whsec_a"), "{error}");
        }
    }
}
