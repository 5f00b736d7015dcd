//! The JSON of the office's calls, for both ends (SPEC.md §10): what the office writes, the wallet reads.
//!
//! Unknown members are passed over in silence; amounts are integers in micros; bytes are base64url.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Number;

use crate::{address::Domain, money::Micros, stamp::taglist};

/// `N` bytes that are base64url without padding in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text<const N: usize>;
        impl<const N: usize> de::Visitor<'_> for Text<N> {
            type Value = Bytes<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes in base64url without padding")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes<N>, E> {
                let fault = || E::custom(format_args!("not {N} bytes in base64url without padding"));
                taglist::base64(text).map(Bytes).ok_or_else(fault)
            }
        }
        d.deserialize_str(Text)
    }
}

/// Answer of `GET /.well-known/postage`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WellKnown {
    /// The office's domain, as in `i` of its stamps.
    pub office: Domain,
    /// The selector of the key that signs now.
    pub selector: String,
    /// That key.
    pub public: Bytes<32>,
    /// Every key whose stamps are good, those that sign no more among them.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// What all amounts are in.
    pub currency: String,
    /// The least a stamp may be worth.
    pub min: Micros,
    /// The most a stamp may be worth.
    pub max: Micros,
    /// Days from sale to expiry, at the least.
    pub lifetime_days: u64,
    /// How money comes onto an account: `voucher`; `grant` for work; a payment provider by name; `credit` is by the
    /// office's postmaster.
    #[serde(default)]
    pub funding: Vec<String>,
    /// Where the description of all calls is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub openapi: String,
    /// The starter amount, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantOffer>,
    /// Where people pay money onto an account; see [`payment_link`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
}

/// Where the money for this account is paid: the office's payment URL that names it, as Stripe's payment links take it.
#[must_use]
pub fn payment_link(url: &str, account: &str) -> String {
    let before = if url.contains('?') { '&' } else { '?' };
    format!("{url}{before}client_reference_id={account}")
}

/// What work brings: once a UTC day an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantOffer {
    /// Hashcash bits asked now; more as the day's budget goes.
    pub bits: u32,
    /// What is left of today's budget, in micros.
    pub left: Micros,
    /// What one grant is, in micros.
    #[serde(default)]
    pub amount: Micros,
}

/// Body of `POST /v1/vouchers`.
#[derive(Serialize, Deserialize)]
pub struct VoucherBody {
    /// As people write it.
    pub code: String,
}

/// Body of `POST /v1/grants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantBody {
    /// A hashcash stamp for the resource `account@office`.
    pub proof: String,
}

/// Answer of `POST /v1/vouchers` and `POST /v1/grants`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// What came onto the account, now or when the same was sent before.
    pub credited: Micros,
    /// What the account holds now.
    pub balance: Micros,
    /// Whether it came onto the account when the same was sent before, and nothing moved now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub before: bool,
}

/// One key of an office.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    /// Its selector.
    pub selector: String,
    /// The key.
    pub public: Bytes<32>,
}

/// Answer of `GET /v1/quote`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quote {
    /// The recipient, as it is signed.
    pub to: String,
    /// The price in micros.
    pub micros: Micros,
    /// Of the price.
    pub currency: String,
    /// Whose stamps are taken.
    pub offices: Vec<OfficeAt>,
    /// Hashcash bits taken instead; 0: none.
    pub work_bits: u32,
}

/// An office and where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfficeAt {
    /// Its domain.
    pub office: Domain,
    /// How it is reached; ends in `/`.
    pub url: String,
}

/// Body of `POST /v1/stamps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderBody {
    /// The domain that may redeem the stamps.
    pub audience: Domain,
    /// Of each stamp, in micros. Any JSON number here, so that the office can say what is wrong with it.
    pub value: Number,
    /// The stamps.
    pub stamps: Vec<Wish>,
}

/// One stamp of an order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// Chosen by the buyer at random.
    pub id: Bytes<16>,
    /// The holder's public key, fresh for every stamp.
    pub k: Bytes<32>,
}

/// Answer of `POST /v1/stamps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAnswer {
    /// The selector of the key that signed.
    pub s: String,
    /// When they expire, in Unix seconds.
    pub x: u64,
    /// The office's signatures, in the order of the order.
    pub b: Vec<Bytes<64>>,
}

/// Body of `POST /v1/settlements`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SettlementBody {
    /// The domain that redeemed the stamps and gives them back.
    pub audience: Domain,
    /// The selector of its key in DNS, which signs the request.
    pub s: String,
    /// The stamps, as the values of their fields.
    pub stamps: Vec<String>,
}

/// Answer of `POST /v1/settlements`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementAnswer {
    /// Ids of the stamps that are given back, now or before.
    pub credited: Vec<Bytes<16>>,
}

/// Body of `POST /v1/returns`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReturnsBody {
    /// Ids of stamps that the account bought, at most 1,000.
    pub stamps: Vec<Bytes<16>>,
}

/// Answer of `POST /v1/returns`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnsAnswer {
    /// Of these the account has the postage back.
    pub returned: Vec<Bytes<16>>,
}

/// Answer of `GET /v1/account`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountAnswer {
    /// The account.
    pub account: Bytes<32>,
    /// What it can buy stamps with.
    pub balance: Micros,
    /// The value of stamps bought, not redeemed and not expired.
    pub outstanding: Micros,
    /// The newest movements, newest first.
    #[serde(default)]
    pub entries: Vec<Movement>,
}

/// One movement on an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Movement {
    /// Unix seconds.
    pub time: u64,
    /// `credit`, `debit`, `sell`, `refund`, …
    pub kind: String,
    /// Micros, negative when they left the account.
    pub amount: i64,
    /// What was said with it; may be empty.
    #[serde(default)]
    pub memo: String,
}
