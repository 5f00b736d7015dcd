//! The one place that reads the wall clock. Everything that decides takes the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds in a UTC day.
pub const DAY_S: u64 = 86_400;

/// Unix seconds now; 0 for a clock before 1970.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
