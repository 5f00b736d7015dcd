//! Hashcash version 1: work that stands for postage of value 0 (SPEC.md §4), as the `hashcash` program
//! makes and checks it.
//!
//! `1:bits:date:resource:ext:rand:counter`; the SHA-1 of the whole text begins with that many zero bits.
//! Whether a stamp was used before, only the ledger knows.

use std::ops::Range;

use jiff::{civil, tz::TimeZone};
use sha1::{Digest, Sha1};

use super::DAY_S;
use crate::{address::Address, ledger::WorkCandidate};

/// Names of the fields that carry such a stamp.
pub const WORK_FIELDS: [&str; 2] = ["X-Hashcash", "Hashcash"];
/// Octets of a stamp without white space: the longest address and ample room for the rest.
pub const STAMP_OCTETS_MAX: usize = 1_024;
/// How old a stamp's date may be, in seconds.
pub const AGE_MAX_S: u64 = 28 * DAY_S;
/// How far ahead a stamp's date may be, in seconds: it is in the sender's local time, and clocks differ.
pub const AHEAD_MAX_S: u64 = 2 * DAY_S;

/// Why a stamp of work does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// It is not of the form of a version 1 stamp.
    #[error("this is no hashcash stamp of version 1")]
    Form,
    /// It was made for something else.
    #[error("the hashcash stamp was made for another address")]
    Resource,
    /// It claims fewer bits than asked.
    #[error("the hashcash stamp claims fewer bits than asked")]
    TooFewBits,
    /// Its date is more than 28 days ago.
    #[error("the hashcash stamp is more than 28 days old")]
    TooOld,
    /// Its date is more than 2 days ahead.
    #[error("the hashcash stamp's date is more than 2 days ahead")]
    TooEarly,
    /// It has fewer bits than it claims.
    #[error("the hashcash stamp has fewer bits than it claims")]
    NotDone,
}

/// A hashcash stamp of the right form; [`Hashcash::check`] says whether it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashcash {
    /// Without white space.
    text: Vec<u8>,
    bits: u32,
    /// Start of the date's period, in Unix seconds.
    date: u64,
    resource: Range<usize>,
}

impl Hashcash {
    /// Reads a field's value. The `hashcash` program folds long stamps anywhere, so white space is dropped.
    ///
    /// # Errors
    /// [`WorkError::Form`].
    pub fn parse(value: &[u8]) -> Result<Self, WorkError> {
        let is_white = |b: u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
        let text: Vec<u8> =
            value.iter().copied().filter(|&b| !is_white(b)).take(STAMP_OCTETS_MAX + 1).collect();
        if text.len() > STAMP_OCTETS_MAX || text.iter().any(u8::is_ascii_control) {
            return Err(WorkError::Form);
        }
        let parts: Vec<&[u8]> = text.split(|&b| b == b':').collect();
        let [b"1", bits, date, resource, _ext, _rand, counter] = parts.as_slice() else {
            return Err(WorkError::Form);
        };
        if resource.is_empty() || counter.is_empty() {
            return Err(WorkError::Form);
        }
        let (bits, from) = (number(bits, 1..=3).ok_or(WorkError::Form)?, 4 + bits.len() + date.len());
        let date = read_date(date).ok_or(WorkError::Form)?;
        let resource = from..from + resource.len();
        Ok(Self { bits, date, resource, text })
    }

    /// What it was made for, as written.
    #[must_use]
    pub fn resource(&self) -> &[u8] {
        self.text.get(self.resource.clone()).unwrap_or_default()
    }

    /// The bits it claims.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// Whether it was made for this resource, without regard to case.
    #[must_use]
    pub fn is_for(&self, resource: &[u8]) -> bool {
        self.resource().eq_ignore_ascii_case(resource)
    }

    /// Whether it counts for a resource, at so many bits asked, at `now` in Unix seconds.
    ///
    /// # Errors
    /// [`WorkError`], the first that fits.
    pub fn check(&self, resource: &[u8], bits_asked: u32, now: u64) -> Result<(), WorkError> {
        if !self.is_for(resource) {
            return Err(WorkError::Resource);
        }
        if self.bits < bits_asked {
            return Err(WorkError::TooFewBits);
        }
        if self.date < now.saturating_sub(AGE_MAX_S) {
            return Err(WorkError::TooOld);
        }
        if self.date > now.saturating_add(AHEAD_MAX_S) {
            return Err(WorkError::TooEarly);
        }
        if zero_bits(&Sha1::digest(&self.text)) < self.bits { Err(WorkError::NotDone) } else { Ok(()) }
    }

    /// Names the stamp in the ledger: the first 16 bytes of BLAKE3 over its text, the resource lower-cased.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        let mut text = self.text.clone();
        if let Some(resource) = text.get_mut(self.resource.clone()) {
            resource.make_ascii_lowercase();
        }
        let mut id = [0; 16];
        blake3::Hasher::new().update(&text).finalize_xof().fill(&mut id);
        id
    }

    /// The UTC day after which it can no longer count.
    #[must_use]
    pub fn last_day(&self) -> u32 {
        u32::try_from((self.date + AGE_MAX_S) / DAY_S).unwrap_or(u32::MAX)
    }

    /// What the ledger is asked about for this recipient; `None` when the stamp is for somebody else.
    #[must_use]
    pub fn candidate(&self, recipient: &Address, bits_asked: u32, now: u64) -> Option<WorkCandidate> {
        let resource = recipient.to_bytes();
        let good = match self.check(&resource, bits_asked, now) {
            Ok(()) => true,
            Err(WorkError::Resource) => return None,
            Err(_) => false,
        };
        Some(WorkCandidate { id: self.id(), day: self.last_day(), good })
    }
}

/// The text of a stamp to be made, all but its counter. `random` makes it unlike any other.
#[must_use]
pub fn prefix(resource: &str, bits: u32, now: u64, random: &[u8; 12]) -> Option<String> {
    let now = jiff::Timestamp::from_second(i64::try_from(now).ok()?).ok()?.to_zoned(TimeZone::UTC);
    let date = now.strftime("%y%m%d");
    let random = data_encoding::BASE64.encode(random);
    let prefix = format!("1:{bits}:{date}:{resource}::{random}:");
    // Only what a reader would take back: no colon or white space in the resource.
    Hashcash::parse(format!("{prefix}0").as_bytes())
        .is_ok_and(|made| made.is_for(resource.as_bytes()))
        .then_some(prefix)
}

/// The first stamp of this prefix with so many bits whose counter is in the range; `None` when there is none.
/// About 2^bits counters are looked at before one is found, so callers go by short ranges.
#[must_use]
pub fn search(prefix: &str, bits: u32, counters: Range<u64>) -> Option<String> {
    let begun = Sha1::new_with_prefix(prefix);
    let mut digits = [0; 16];
    counters.into_iter().find_map(|counter| {
        let digits = hex(counter, &mut digits);
        let hash = begun.clone().chain_update(digits).finalize();
        (zero_bits(&hash) >= bits).then(|| format!("{prefix}{counter:x}"))
    })
}

/// Hexadecimal digits without leading zeros.
fn hex(mut number: u64, digits: &mut [u8; 16]) -> &[u8] {
    let mut from = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef".get((number & 15) as usize).copied().unwrap_or(b'0');
        number >>= 4;
        from -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(from..).unwrap_or_default()
}

fn zero_bits(hash: &[u8]) -> u32 {
    let mut bits = 0;
    for octet in hash {
        bits += octet.leading_zeros();
        if *octet != 0 {
            break;
        }
    }
    bits
}

/// A decimal number of so many digits.
fn number(digits: &[u8], count: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let all = count.contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

/// YYMMDD, YYMMDDhhmm or YYMMDDhhmmss, of this century, in UTC.
fn read_date(text: &[u8]) -> Option<u64> {
    if !matches!(text.len(), 6 | 10 | 12) {
        return None;
    }
    let pairs = text.chunks(2).map(|pair| number(pair, 2..=2)?.try_into().ok());
    let mut pairs = pairs.collect::<Option<Vec<i8>>>()?.into_iter();
    let mut next = || pairs.next();
    let (year, month, day) = (2_000 + i16::from(next()?), next()?, next()?);
    let (hour, minute, second) = (next().unwrap_or(0), next().unwrap_or(0), next().unwrap_or(0));
    let time = civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second().try_into().ok()
}
