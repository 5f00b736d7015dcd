//! What a stranger pays one recipient, and what he is told of it. Pure.
//!
//! A price of a recipient's own that is not public says, by being another, that the address exists; so strangers hear
//! the site's (SPEC.md §10). Below the site's it is taken in silence. Above, it is named to whoever has shown a good
//! stamp of the site's price, bound to this recipient, and to nobody else: asking costs a stamp wherever the recipient
//! has no such price, for there it pays.

use crate::{ledger::settings::OwnPrice, money::Micros};

/// The price of one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// What strangers are told.
    pub told: Micros,
    /// What is asked.
    pub asked: Micros,
}

impl Price {
    /// Of a recipient with this price of his own, at a site with that one; `most` is the highest he may ask.
    #[must_use]
    pub fn of(own: Option<OwnPrice>, site: Micros, most: Micros) -> Self {
        match own {
            None => Self { told: site, asked: site },
            Some(own) => {
                let asked = own.value.min(most);
                Self { told: if own.public { asked } else { site }, asked }
            }
        }
    }

    /// Below this a stamp is too cheap, by what is told or by what is asked; from here on it is looked at.
    #[must_use]
    pub fn least(&self) -> Micros {
        self.told.min(self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_and_what_is_asked() {
        let micros = |value| Micros::new(value).unwrap();
        for (own, told, asked) in [
            (None, 2_500, 2_500),
            (Some((1_000, false)), 2_500, 1_000),
            (Some((1_000, true)), 1_000, 1_000),
            (Some((9_000, false)), 2_500, 9_000),
            (Some((9_000, true)), 9_000, 9_000),
            (Some((90_000, true)), 10_000, 10_000),
            (Some((90_000, false)), 2_500, 10_000),
        ] {
            let set = own.map(|(value, public)| OwnPrice { value: micros(value), public });
            let price = Price::of(set, micros(2_500), micros(10_000));
            assert_eq!(price, Price { told: micros(told), asked: micros(asked) }, "{own:?}");
            assert_eq!(price.least(), micros(told.min(asked)));
        }
    }
}
