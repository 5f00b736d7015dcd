//! Hashcash version 1: work that stands for postage of value 0 (SPEC.md §4), as the `hashcash` program
//! makes and checks it.
//!
//! `1:bits:date:resource:ext:rand:counter`; the SHA-1 of the whole text begins with that many zero bits.
//! Whether a stamp was used before, only the ledger knows.

mod search;

use std::ops::Range;

use jiff::{civil, tz::TimeZone};
use sha1::{Digest, Sha1};

pub use search::search;

use crate::{address::Address, clock::DAY_S, ledger::WorkCandidate};

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
        Some(WorkCandidate { id: self.id(), day: self.last_day(), good, counts: true })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-22 00:00:00 UTC.
    const DAY: u64 = 1_795_305_600;

    /// Made by the `hashcash` program 1.22.
    const MADE: &str = "1:16:261122:bob@b.example::q+woiuh3ChwFmRHA:00000LWg";
    const MADE_FOLDED: &str = " 1:16:261122:averyveryveryveryveryveryverylonglocalpartindeed@averyve\n\t\
        ryveryverylongdomain.b.example::60Fiw1BhxmJD9WGN:00000000000000000000000\n\t\
        000000000000000003SS";
    const MADE_WITH_TIME: [&str; 2] = [
        "1:12:2611221331:bob@b.example::pBIvitrKHgK/IbIE:0000000000000000000000000000000000000000000000PS",
        "1:12:261122133143:bob@b.example::6il9Iza+3ZBwOlQ7:00000000000000000000000000000000000000000000D3",
    ];
    const MADE_WITH_EXTENSION: &str = "1:12:261122:x@b.example:a=1;b:sw+m/1Z3FkSfqoRH:001a7";

    fn parse(text: &str) -> Hashcash {
        Hashcash::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn stamps_of_the_program_count() {
        assert_eq!(parse(MADE).check(b"bob@b.example", 16, DAY), Ok(()));
        let long = b"averyveryveryveryveryveryverylonglocalpartindeed@averyveryveryverylongdomain.b.example";
        assert_eq!(parse(MADE_FOLDED).check(long, 16, DAY), Ok(()));
        assert_eq!(parse(&MADE_FOLDED.replace('\n', "\r\n")), parse(MADE_FOLDED));
        for (text, date) in MADE_WITH_TIME.into_iter().zip([13 * 3600 + 31 * 60, 13 * 3600 + 31 * 60 + 43]) {
            assert_eq!(parse(text).check(b"bob@b.example", 12, DAY), Ok(()));
            assert_eq!(parse(text).date, DAY + date);
        }
        assert_eq!(parse(MADE_WITH_EXTENSION).check(b"x@b.example", 12, DAY), Ok(()));
    }

    #[test]
    fn a_stamp_is_for_one_address_in_any_case() {
        let stamp = parse(MADE);
        assert_eq!(stamp.check(b"BOB@b.Example", 16, DAY), Ok(()));
        for other in [&b"carol@b.example"[..], b"bob@b.exampl", b"", b"bob+x@b.example"] {
            assert_eq!(stamp.check(other, 16, DAY), Err(WorkError::Resource));
        }
        let other_case = parse(&MADE.replace("bob@b.example", "Bob@B.example"));
        assert_eq!(other_case.id(), stamp.id(), "the same stamp for the ledger");
        assert_eq!(other_case.check(b"bob@b.example", 16, DAY), Err(WorkError::NotDone));
        assert_ne!(parse(&MADE.replace("LWg", "LWG")).id(), stamp.id());
    }

    #[test]
    fn bits_are_claimed_and_done() {
        let stamp = parse(MADE);
        assert_eq!(stamp.check(b"bob@b.example", 17, DAY), Err(WorkError::TooFewBits));
        let boast = parse(&MADE.replacen("16", "160", 1));
        assert_eq!(boast.check(b"bob@b.example", 16, DAY), Err(WorkError::NotDone));
        assert_eq!(zero_bits(&[0, 0, 1]), 23);
        assert_eq!(zero_bits(&[0x80]), 0);
        assert_eq!(zero_bits(&[0; 20]), 160);
    }

    #[test]
    fn dates_end_where_they_should() {
        let stamp = parse(MADE);
        for (now, verdict) in [
            (DAY + AGE_MAX_S, Ok(())),
            (DAY + AGE_MAX_S + 1, Err(WorkError::TooOld)),
            (DAY - AHEAD_MAX_S, Ok(())),
            (DAY - AHEAD_MAX_S - 1, Err(WorkError::TooEarly)),
            (0, Err(WorkError::TooEarly)),
            (u64::MAX, Err(WorkError::TooOld)),
        ] {
            assert_eq!(stamp.check(b"bob@b.example", 16, now), verdict, "{now}");
        }
        assert_eq!(u64::from(stamp.last_day()), (DAY + AGE_MAX_S) / DAY_S);
    }

    #[test]
    fn dates_that_are_none() {
        for (text, seconds) in
            [("000101", 946_684_800), ("240229", 1_709_164_800), ("991231235959", 4_102_444_799)]
        {
            assert_eq!(read_date(text.as_bytes()), Some(seconds), "{text}");
        }
        for bad in [
            "",
            "2611",
            "26112",
            "2611221",
            "26112213",
            "261322",
            "261100",
            "250229",
            "2611222400",
            "261122235960",
            "26-1-2",
        ] {
            assert_eq!(read_date(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn stamps_of_another_form() {
        let long = format!("1:16:261122:{}::x:0", "a".repeat(STAMP_OCTETS_MAX));
        for bad in [
            "",
            "1",
            "0:261122:bob@b.example:x",
            "2:16:261122:bob@b.example::x:0",
            "1:16:261122:bob@b.example::x",
            "1:16:261122:bob@b.example::x:0:0",
            "1::261122:bob@b.example::x:0",
            "1:-1:261122:bob@b.example::x:0",
            "1:1000:261122:bob@b.example::x:0",
            "1:16::bob@b.example::x:0",
            "1:16:261122:::x:0",
            "1:16:261122:bob@b.example::x:",
            "1:16:261122:bob@b.example::x:\u{7}",
            &long,
        ] {
            assert_eq!(Hashcash::parse(bad.as_bytes()), Err(WorkError::Form), "{bad:.60}");
        }
    }

    #[test]
    fn what_the_ledger_is_asked() {
        let bob = "bob@b.example".parse().unwrap();
        let candidate = parse(MADE).candidate(&bob, 16, DAY).unwrap();
        assert_eq!((candidate.id, candidate.day, candidate.good), (parse(MADE).id(), 20_807, true));
        assert!(!parse(MADE).candidate(&bob, 20, DAY).unwrap().good, "only a retry could count");
        assert!(parse(MADE).candidate(&"carol@b.example".parse().unwrap(), 16, DAY).is_none());
    }

    #[test]
    fn a_stamp_is_made_and_counts() {
        let prefix = prefix("bob@b.example", 10, DAY + 5, &[7; 12]).unwrap();
        assert_eq!(prefix, "1:10:261122:bob@b.example::BwcHBwcHBwcHBwcH:");
        let made = search(&prefix, 10, 0..100_000).unwrap();
        assert_eq!(parse(&made).check(b"bob@b.example", 10, DAY), Ok(()));
        let counter = u64::from_str_radix(made.strip_prefix(&prefix).unwrap(), 16).unwrap();
        assert_eq!(search(&prefix, 10, 0..counter), None, "it is the first");
        assert_eq!(search(&prefix, 10, counter..counter + 1), Some(made));
        for bad in ["", "a:b@b.example", "\"a b\"@b.example"] {
            assert_eq!(super::prefix(bad, 10, DAY, &[7; 12]), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            if let Ok(stamp) = Hashcash::parse(&octets) {
                let _ = (stamp.check(b"bob@b.example", 0, DAY), stamp.id());
            }
        }

        #[test]
        fn anything_between_colons_is_read_or_refused(parts in prop::collection::vec("[0-9a-z@.+ é\n]{0,12}", 4..=6)) {
            let text = format!("1:{}", parts.join(":"));
            if let Ok(stamp) = Hashcash::parse(text.as_bytes()) {
                prop_assert!(!stamp.resource().is_empty());
                let _ = stamp.check(b"bob@b.example", 0, DAY);
            }
        }
    }
}
