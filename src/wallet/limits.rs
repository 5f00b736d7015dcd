//! What a wallet may spend by itself: an infected machine, or a script run wild, empties no purse at once. Pure.

use serde::{Deserialize, Serialize};

use crate::{
    clock::DAY_S,
    money::{Currency, Micros},
};

/// Stamps that may be bought ahead for a domain.
pub const AHEAD_MAX: usize = 100;
/// After stamps could not be bought ahead, letters go out for so many seconds before it is tried again: an office in
/// trouble, or an empty account, is not asked with every letter.
pub const AHEAD_PAUSE_S: u64 = 15 * 60;
/// More than any limit.
const MOST: Micros = match Micros::new(i64::MAX.unsigned_abs()) {
    Some(most) => most,
    None => Micros::ZERO,
};

/// The owner's limits. Amounts are in the stamps' currency, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The value of all stamps on one letter.
    pub per_letter: Micros,
    /// The value of all stamps of one currency in a UTC day.
    pub per_day: Micros,
    /// Stamps kept in hand for each domain that was written to with `farthing sendmail`, at most [`AHEAD_MAX`].
    pub ahead: usize,
}

impl Default for Limits {
    /// Ten cents a letter, one unit a day: forty recipients at the usual price, four hundred a day.
    fn default() -> Self {
        let micros = |n| Micros::new(n).unwrap_or(Micros::ZERO);
        Self { per_letter: micros(100_000), per_day: micros(1_000_000), ahead: 0 }
    }
}

/// Why stamps are not put on a letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverLimit {
    /// The letter alone.
    #[error(
        "{asked} for one letter is over the wallet's limit of {limit}; if that is meant: farthing wallet set --per-letter {asked}"
    )]
    Letter {
        /// Of all its stamps.
        asked: Micros,
        /// The limit.
        limit: Micros,
    },
    /// With what went before it today.
    #[error(
        "{asked} more would be over the wallet's limit of {limit} a day, of which {spent} is used; wait for tomorrow (UTC), or: farthing wallet set --per-day AMOUNT"
    )]
    Day {
        /// Of all the letter's stamps.
        asked: Micros,
        /// Used today.
        spent: Micros,
        /// The limit.
        limit: Micros,
    },
}

/// What was spent today.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// UTC day since 1970-01-01.
    day: u64,
    sums: Vec<Sum>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    #[serde(with = "super::contents::text")]
    currency: Currency,
    micros: Micros,
}

impl Spent {
    /// What was spent on the day of this time, by currency.
    pub fn on_day_of(&self, now: u64) -> Vec<(Currency, Micros)> {
        let sums = if self.day == now / DAY_S { self.sums.as_slice() } else { &[] };
        sums.iter().map(|sum| (sum.currency, sum.micros)).collect()
    }

    /// Counts the stamps of one letter, or nothing if they are over a limit.
    ///
    /// # Errors
    /// [`OverLimit`].
    pub fn count(
        &mut self,
        stamps: &[(Currency, Micros)],
        limits: &Limits,
        now: u64,
    ) -> Result<(), OverLimit> {
        let day = now / DAY_S;
        let before = if self.day == day { self.sums.clone() } else { vec![] };
        let mut letter: Vec<Sum> = vec![];
        for (currency, value) in stamps {
            add(&mut letter, *currency, *value);
        }
        let mut sums = before;
        for Sum { currency, micros: asked } in letter {
            if asked > limits.per_letter {
                return Err(OverLimit::Letter { asked, limit: limits.per_letter });
            }
            let spent =
                sums.iter().find(|sum| sum.currency == currency).map_or(Micros::ZERO, |sum| sum.micros);
            add(&mut sums, currency, asked);
            if sums.iter().any(|sum| sum.currency == currency && sum.micros > limits.per_day) {
                return Err(OverLimit::Day { asked, spent, limit: limits.per_day });
            }
        }
        *self = Self { day, sums };
        Ok(())
    }
}

/// Adds; what is more than can be counted is over every limit.
fn add(sums: &mut Vec<Sum>, currency: Currency, value: Micros) {
    match sums.iter_mut().find(|sum| sum.currency == currency) {
        Some(sum) => sum.micros = sum.micros.checked_add(value).unwrap_or(MOST),
        None => sums.push(Sum { currency, micros: value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 1_795_305_600;

    #[test]
    fn letters_and_days_have_their_limits() {
        let (usd, eur): (Currency, Currency) = ("USD".parse().unwrap(), "EUR".parse().unwrap());
        let micros = |n| Micros::new(n).unwrap();
        let limits = Limits { per_letter: micros(10), per_day: micros(25), ahead: 0 };
        let mut spent = Spent::default();
        let mut count = |stamps: &[(Currency, u64)], now| {
            let stamps: Vec<_> = stamps.iter().map(|(currency, value)| (*currency, micros(*value))).collect();
            spent.count(&stamps, &limits, now)
        };
        assert_eq!(count(&[(usd, 10)], DAY), Ok(()));
        let letter = |asked| Err(OverLimit::Letter { asked: micros(asked), limit: micros(10) });
        assert_eq!(count(&[(usd, 11)], DAY), letter(11));
        assert_eq!(count(&[(usd, 6), (usd, 6)], DAY), letter(12));
        assert_eq!(count(&[(usd, 6), (eur, 6)], DAY), Ok(()), "each currency by itself");
        assert_eq!(
            count(&[(usd, 10)], DAY + 86_399),
            Err(OverLimit::Day { asked: micros(10), spent: micros(16), limit: micros(25) })
        );
        assert_eq!(count(&[(usd, 9)], DAY + 86_399), Ok(()), "what was refused is not counted");
        assert_eq!(count(&[(usd, 10)], DAY + 86_400), Ok(()), "a new day");
        assert_eq!(count(&[], DAY), Ok(()));
    }
}
