//! Amounts of money: whole micros, never a fraction, never a float (SPEC.md §2).
//!
//! An amount here is never negative; balances, which may be for `funding:*`, are plain `i64` micros
//! inside the ledger. All arithmetic is checked.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Micros in one unit of a currency.
pub const MICROS_PER_UNIT: u64 = 1_000_000;
/// Micros in a hundredth of the unit, which people write as `c`.
pub const MICROS_PER_CENT: u64 = 10_000;
/// The most one stamp may be worth, in micros (SPEC.md §2).
pub const STAMP_VALUE_MAX: Micros = Micros(1_000_000_000_000);

/// An amount of 0 to `i64::MAX` micros (millionths of the currency's unit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Micros(u64);

impl Micros {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// The amount of that many micros; `None` beyond `i64::MAX`, which no ledger column could hold.
    #[must_use]
    pub const fn new(micros: u64) -> Option<Self> {
        if micros <= i64::MAX as u64 { Some(Self(micros)) } else { None }
    }

    /// The number of micros.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of micros as the ledger keeps it; never negative.
    #[must_use]
    pub const fn signed(self) -> i64 {
        self.0.cast_signed()
    }

    /// The amount a ledger column holds; `None` for a negative one.
    #[must_use]
    pub fn from_signed(micros: i64) -> Option<Self> {
        u64::try_from(micros).ok().map(Self)
    }

    /// The sum, unless it is beyond what an amount can be.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::new)
    }

    /// The difference, unless it would be negative.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// So many times this amount, unless it is beyond what an amount can be.
    #[must_use]
    pub fn checked_mul(self, times: u64) -> Option<Self> {
        self.0.checked_mul(times).and_then(Self::new)
    }
}

/// What is wrong with an amount a person wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an amount{reason}; write 0.25c (hundredths), 2500u (micros) or 0.0025 (units)")]
pub struct AmountError {
    text: String,
    reason: &'static str,
}

impl FromStr for Micros {
    type Err = AmountError;

    /// Reads `[0-9]+(\.[0-9]+)?[cu]?`: hundredths with at most 4 decimals, whole micros, or units with at
    /// most 6 decimals (SPEC.md §2). Nothing is rounded.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let fault = |reason| AmountError { text: text.chars().take(40).collect(), reason };
        let (number, decimals_max) = match text.as_bytes().last() {
            Some(b'c') => (&text[..text.len() - 1], 4),
            Some(b'u') => (&text[..text.len() - 1], 0),
            _ => (text, 6),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !fraction.is_none_or(digits) {
            return Err(fault(""));
        }
        let fraction = fraction.unwrap_or("");
        if fraction.len() > decimals_max {
            return Err(fault(": it has too many decimals"));
        }
        let mut micros: u64 = 0;
        let padding = std::iter::repeat_n(b'0', decimals_max - fraction.len());
        for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
            micros = micros
                .checked_mul(10)
                .and_then(|m| m.checked_add(u64::from(digit - b'0')))
                .ok_or_else(|| fault(": it is too large"))?;
        }
        Self::new(micros).ok_or_else(|| fault(": it is too large"))
    }
}

impl fmt::Display for Micros {
    /// Writes hundredths without trailing zeros: `0.25c` (SPEC.md §2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&in_cents(self.0))
    }
}

fn in_cents(micros: u64) -> String {
    let (whole, fraction) = (micros / MICROS_PER_CENT, micros % MICROS_PER_CENT);
    if fraction == 0 {
        return format!("{whole}c");
    }
    let decimals = format!("{fraction:04}");
    format!("{whole}.{}c", decimals.trim_end_matches('0'))
}

/// A balance in micros for people, which may be negative: `-5c`.
#[must_use]
pub fn signed_cents(micros: i64) -> String {
    let text = in_cents(micros.unsigned_abs());
    if micros < 0 { format!("-{text}") } else { text }
}

impl<'de> Deserialize<'de> for Micros {
    /// A JSON integer of micros.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let micros = u64::deserialize(d)?;
        Self::new(micros).ok_or_else(|| serde::de::Error::custom("the amount is too large"))
    }
}

/// An ISO 4217 currency code: three upper-case ASCII letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

/// A currency is not three upper-case letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three upper-case letters, like USD")]
pub struct CurrencyError;

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(CurrencyError),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_people_write() {
        let table: &[(&str, Option<u64>)] = &[
            ("0.25c", Some(2500)),
            ("2500u", Some(2500)),
            ("0.0025", Some(2500)),
            ("10c", Some(100_000)),
            ("5.00", Some(5_000_000)),
            ("0", Some(0)),
            ("007", Some(7_000_000)),
            ("0.0001c", Some(1)),
            ("0.000001", Some(1)),
            ("9223372036854775807u", Some(i64::MAX as u64)),
            ("9223372036854775808u", None),
            ("99999999999999999999999", None),
            ("0.00001c", None),
            ("0.0000001", None),
            ("1.5u", None),
            ("", None),
            ("c", None),
            ("1.", None),
            (".5", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("1 c", None),
            ("1C", None),
            ("1e3", None),
            ("0.25€", None),
        ];
        for (text, micros) in table {
            assert_eq!(text.parse::<Micros>().ok().map(Micros::get), *micros, "{text}");
        }
    }

    #[test]
    fn amounts_programs_write() {
        for (micros, text) in [
            (2500, "0.25c"),
            (0, "0c"),
            (10_000, "1c"),
            (1, "0.0001c"),
            (1_000_000, "100c"),
            (12_345, "1.2345c"),
        ] {
            assert_eq!(Micros(micros).to_string(), text);
            assert_eq!(text.parse::<Micros>().unwrap().get(), micros, "and back");
        }
        assert_eq!(signed_cents(-2500), "-0.25c");
    }

    #[test]
    fn arithmetic_never_wraps() {
        let most = Micros::new(i64::MAX as u64).unwrap();
        assert_eq!(most.checked_add(Micros(1)), None);
        assert_eq!(Micros(1).checked_sub(Micros(2)), None);
        assert_eq!(most.checked_mul(2), None);
        assert_eq!(Micros(2500).checked_mul(1000), Some(Micros(2_500_000)));
    }

    #[test]
    fn currencies() {
        assert_eq!("USD".parse::<Currency>().unwrap().to_string(), "USD");
        for bad in ["usd", "US", "USDT", "U D", "ÜSD"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
    }
}
