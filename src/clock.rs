//! The one place that reads the wall clock. Everything that decides takes the time as an argument. And times for people.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds in a UTC day.
pub const DAY_S: u64 = 86_400;

/// Unix seconds now; 0 for a clock before 1970.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A time in UTC as `format` of strftime(3) has it; 1970 for one that no calendar has.
#[must_use]
pub fn utc(unix_s: u64, format: &str) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.unwrap_or_default().strftime(format).to_string()
}

/// `2026-11-22`, in UTC.
#[must_use]
pub fn utc_date(unix_s: u64) -> String {
    utc(unix_s, "%Y-%m-%d")
}

/// The same for days since 1970.
#[must_use]
pub fn utc_day(day: u64) -> String {
    utc_date(day.saturating_mul(DAY_S))
}
