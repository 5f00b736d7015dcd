//! When a digest is due, and of which time it tells.
//!
//! Pure. Due is what has not been sent since the last time of day at which it should have been: so a daemon that was
//! down then sends it when it is up again, one that starts again sends nothing twice, and a clock that is put forward or
//! back by an hour changes nothing.

use jiff::{Timestamp, ToSpan as _, civil::Weekday, tz::TimeZone};

use crate::{clock::DAY_S, ledger::settings::Cadence};

/// The local hour at which digests go out: they are there before people begin to read.
pub const DIGEST_HOUR: i8 = 7;
/// The day on which weekly ones do.
pub const DIGEST_WEEKDAY: Weekday = Weekday::Monday;

/// The time of which a digest tells, in Unix seconds: from `since` on, and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first second of it.
    pub since: u64,
    /// The first second after it.
    pub until: u64,
}

/// The period of the digest that is due at `now`, if one is; `last` is where the last one ended, or when digests were asked
/// for.
#[must_use]
pub fn due(cadence: Cadence, last: Option<u64>, now: u64, zone: &TimeZone) -> Option<Period> {
    let slot = last_slot(cadence, now, zone)?;
    let days = if cadence == Cadence::Weekly { 7 } else { 1 };
    // One that lies ahead was written under a clock that ran ahead.
    match last.filter(|last| *last <= now.saturating_add(DAY_S)) {
        Some(last) if last >= slot => None,
        Some(last) => Some(Period { since: last, until: now }),
        None => Some(Period { since: slot.saturating_sub(days * DAY_S), until: now }),
    }
}

/// The last time at or before `now` at which digests of this cadence go out.
fn last_slot(cadence: Cadence, now: u64, zone: &TimeZone) -> Option<u64> {
    let here = Timestamp::from_second(i64::try_from(now).ok()?).ok()?.to_zoned(zone.clone());
    // A week and the day of today, whose hour may be yet to come.
    for back in 0..=7_i64 {
        let date = here.date().checked_sub(back.days()).ok()?;
        let fits = match cadence {
            Cadence::Off => return None,
            Cadence::Daily => true,
            Cadence::Weekly => date.weekday() == DIGEST_WEEKDAY,
        };
        if !fits {
            continue;
        }
        // In an hour that is left out it is the one after; in one that comes twice, the first.
        let slot = date.at(DIGEST_HOUR, 0, 0, 0).to_zoned(zone.clone()).ok()?.timestamp().as_second();
        if let Some(slot) = u64::try_from(slot).ok().filter(|slot| *slot <= now) {
            return Some(slot);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central Europe's rules, wherever the test runs.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn at(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_second().unsigned_abs()
    }

    #[test]
    fn when_a_digest_is_due() {
        use Cadence::{Daily, Off, Weekly};
        // 2027-01-11 is a Monday.
        let table: &[(&str, Cadence, &str, &str, bool)] = &[
            ("not before the hour", Daily, "2027-01-11T06:00:00Z", "2027-01-12T05:59:59Z", false),
            ("at the hour", Daily, "2027-01-11T06:00:00Z", "2027-01-12T06:00:00Z", true),
            ("once a day", Daily, "2027-01-12T06:00:00Z", "2027-01-12T22:59:00Z", false),
            ("past midnight is not a new day", Daily, "2027-01-12T06:00:00Z", "2027-01-12T23:30:00Z", false),
            ("after a day off line", Daily, "2027-01-10T06:00:00Z", "2027-01-12T02:00:00Z", true),
            ("asked for this morning", Daily, "2027-01-12T08:00:00Z", "2027-01-12T09:00:00Z", false),
            ("late, and then at its time", Daily, "2027-01-12T02:00:00Z", "2027-01-12T06:00:00Z", true),
            ("never when off", Off, "2027-01-01T00:00:00Z", "2027-01-12T06:00:00Z", false),
            ("weekly, on Sunday", Weekly, "2027-01-04T06:00:00Z", "2027-01-10T20:00:00Z", false),
            (
                "weekly, on Monday before the hour",
                Weekly,
                "2027-01-04T06:00:00Z",
                "2027-01-11T05:00:00Z",
                false,
            ),
            ("weekly, on Monday", Weekly, "2027-01-04T06:00:00Z", "2027-01-11T06:00:00Z", true),
            ("weekly, on Tuesday, not sent", Weekly, "2027-01-04T06:00:00Z", "2027-01-12T09:00:00Z", true),
            ("weekly, once", Weekly, "2027-01-11T06:00:01Z", "2027-01-17T23:00:00Z", false),
        ];
        for (what, cadence, last, now, is_due) in table {
            let found = due(*cadence, Some(at(last)), at(now), &berlin());
            assert_eq!(found, is_due.then(|| Period { since: at(last), until: at(now) }), "{what}");
        }
    }

    #[test]
    fn one_a_day_when_clocks_are_put_forward_and_back() {
        // The night of the change is that before the last Sunday of March, of October; 07:00 is 05:00Z in summer.
        for (from, to) in [
            ("2027-03-26T12:00:00Z", "2027-03-31T12:00:00Z"),
            ("2027-10-29T12:00:00Z", "2027-11-03T12:00:00Z"),
        ] {
            let (mut now, end) = (at(from), at(to));
            let (mut last, mut sent) = (now, vec![]);
            while now < end {
                if let Some(period) = due(Cadence::Daily, Some(last), now, &berlin()) {
                    assert_eq!(period.since, last, "nothing is left out");
                    last = period.until;
                    let here = Timestamp::from_second(now.cast_signed()).unwrap().to_zoned(berlin());
                    sent.push(here.strftime("%d %H:%M").to_string());
                }
                now += 60;
            }
            let days: Vec<&str> = sent.iter().map(|text| &text[2..]).collect();
            assert_eq!(days, [" 07:00"; 5], "{sent:?}");
        }
    }

    #[test]
    fn an_hour_that_is_left_out_or_comes_twice() {
        let zone = TimeZone::posix("AAA-1BBB,M3.5.0/6:30,M10.5.0/7:30").unwrap();
        for day in ["2027-03-28", "2027-10-31"] {
            let start = at(&format!("{day}T00:00:00Z"));
            let (mut last, mut sent) = (start, 0);
            for now in (start..start + DAY_S).step_by(60) {
                if let Some(period) = due(Cadence::Daily, Some(last), now, &zone) {
                    last = period.until;
                    sent += 1;
                }
            }
            assert_eq!(sent, 1, "{day}");
        }
    }

    #[test]
    fn a_last_time_that_cannot_be() {
        let now = at("2027-01-12T06:00:10Z");
        let day_before = Period { since: at("2027-01-11T06:00:00Z"), until: now };
        assert_eq!(due(Cadence::Daily, None, now, &berlin()), Some(day_before));
        assert_eq!(due(Cadence::Daily, Some(now + 400 * DAY_S), now, &berlin()), Some(day_before));
        assert_eq!(due(Cadence::Daily, Some(now + 10), now, &berlin()), None, "a clock set back a little");
        assert_eq!(due(Cadence::Weekly, None, 5, &berlin()), None);
        assert_eq!(due(Cadence::Daily, None, u64::MAX, &berlin()), None);
    }
}
