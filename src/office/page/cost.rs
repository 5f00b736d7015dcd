//! What the page's work costs whoever does it: time, energy, money, in round numbers. Pure arithmetic; the page measures
//! its own computer and says more exactly.

use super::puzzle::PUZZLES;

/// Hashes of the puzzle a second that a slow computer does in a browser, with all the page's workers. Two cores of a
/// rented server did 31 in Chromium, 25 in Firefox, 11 to 15 in WebKit. Hashes of 32 MiB wait for memory, so that more
/// cores gain less than their number.
const SLOW_HASHES_PER_S: f64 = 20.0;
/// The same of a fast one, reckoned from these: four newer cores.
const FAST_HASHES_PER_S: f64 = 120.0;
/// The same of one in the middle, for energy.
const MIDDLE_HASHES_PER_S: f64 = 70.0;
/// What a laptop draws more while it calculates than while it does not.
const WATTS: f64 = 15.0;
/// What a household pays for a kilowatt hour, in US cents.
const US_CENTS_PER_KWH: f64 = 30.0;
/// Joules in a kilowatt hour.
const JOULES_PER_KWH: f64 = 3_600_000.0;
/// Standard deviations of a normal variable between which it is four times out of five.
const FOUR_OF_FIVE: f64 = 1.281_6;

/// What the work costs, to two digits, as texts.
pub struct Cost {
    /// Seconds on a fast computer with some luck.
    pub least_s: String,
    /// Seconds on a slow one without.
    pub most_s: String,
    /// Of a computer in the middle.
    pub joules: String,
    /// The same, in money.
    pub us_cents: String,
}

impl Cost {
    /// Of 2^bits hashes on average.
    #[must_use]
    pub fn of(bits: u32) -> Self {
        let hashes = f64::from(bits).exp2();
        let seconds = |sign: f64, per_s: f64| two_digits((hashes * luck(sign) / per_s).round().max(1.0));
        let joules = hashes / MIDDLE_HASHES_PER_S * WATTS;
        Self {
            least_s: seconds(-FOUR_OF_FIVE, FAST_HASHES_PER_S),
            most_s: seconds(FOUR_OF_FIVE, SLOW_HASHES_PER_S),
            joules: two_digits(joules),
            us_cents: two_digits(joules / JOULES_PER_KWH * US_CENTS_PER_KWH),
        }
    }
}

/// By how much tries differ from their average when luck is so many standard deviations off: as many geometric waits as
/// there are puzzles, one after the other, by the approximation of Wilson and Hilferty.
fn luck(deviations: f64) -> f64 {
    let ninth = 1.0 / (9.0 * PUZZLES as f64);
    (1.0 - ninth + deviations * ninth.sqrt()).powi(3)
}

/// To two significant digits, without an exponent.
fn two_digits(value: f64) -> String {
    if value <= 0.0 || !value.is_finite() {
        return "0".into();
    }
    let place = 10_f64.powf(value.log10().floor() - 1.0);
    let rounded = (value / place).round() * place;
    let decimals = if place >= 1.0 { 0.0 } else { -place.log10() };
    let text = format!("{rounded:.*}", decimals.round() as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_work_costs() {
        for (value, text) in [
            (29.257, "29"),
            (0.003_657, "0.0037"),
            (438.86, "440"),
            (1.0, "1"),
            (9.96, "10"),
            (0.25, "0.25"),
            (123_456.0, "120000"),
            (0.0, "0"),
        ] {
            assert_eq!(two_digits(value), text, "{value}");
        }
        let usual = Cost::of(11);
        assert_eq!((&*usual.least_s, &*usual.most_s), ("10", "150"));
        assert_eq!((&*usual.joules, &*usual.us_cents), ("440", "0.0037"));
        assert_eq!(&*Cost::of(3).most_s, "1");
    }

    #[test]
    fn luck_is_within_its_bounds_four_times_out_of_five() {
        // The deciles of a gamma distribution of shape 8, divided by 8.
        for (deviations, decile) in [(-FOUR_OF_FIVE, 0.582), (FOUR_OF_FIVE, 1.471)] {
            assert!((luck(deviations) - decile).abs() < 0.002, "{}", luck(deviations));
        }
    }
}
