//! What is in a wallet: the seed, stamps in hand, orders not yet answered, offices met. Pure; `file` keeps it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    limits::{Limits, Spent},
    seed::Seed,
};
use crate::{
    address::Domain,
    ledger::StampId,
    money::{Currency, Micros},
    office::wire::Bytes,
    stamp::{Selector, Stamp, Terms},
};

/// The form this program writes.
const VERSION: u32 = 1;
/// A stamp that expires within this many seconds is not put on a letter: it would expire in a queue on the way.
const LEFT_TO_LIVE_S: u64 = 6 * 3_600;

/// Everything a wallet's file holds.
#[derive(Serialize, Deserialize)]
pub struct Contents {
    version: u32,
    /// The secret everything comes of.
    pub seed: Seed,
    /// Offices the wallet has dealt with.
    #[serde(default)]
    pub offices: Vec<KnownOffice>,
    #[serde(default)]
    sheets: Vec<Sheet>,
    /// Orders sent, or about to be, that were not answered: sent again they are charged once.
    #[serde(default)]
    pub orders: Vec<OpenOrder>,
    /// What the owner lets it spend.
    #[serde(default)]
    pub limits: Limits,
    /// What it spent today.
    #[serde(default)]
    pub spent: Spent,
    /// Where buying ahead failed, one for a domain.
    #[serde(default)]
    pub not_ahead: Vec<NotAhead>,
}

/// Stamps for a domain that could not be bought ahead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAhead {
    /// The domain that may redeem them.
    pub audience: Domain,
    /// When it was tried last, in Unix seconds.
    pub time: u64,
    /// Why not.
    pub why: String,
}

/// An office the wallet has dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownOffice {
    /// Its domain.
    pub office: Domain,
    /// Where it was reached last.
    pub url: String,
}

/// Stamps that differ in id and signature alone.
#[derive(Clone, Serialize, Deserialize)]
struct Sheet {
    office: Domain,
    #[serde(with = "text")]
    selector: Selector,
    #[serde(with = "text")]
    currency: Currency,
    audience: Domain,
    value: Micros,
    expiry: u64,
    stamps: Vec<SheetStamp>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct SheetStamp {
    id: Bytes<16>,
    b: Bytes<64>,
}

/// An order as it is sent, again and again until it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOrder {
    /// The office that sells.
    pub office: Domain,
    /// The domain that may redeem the stamps.
    pub audience: Domain,
    /// Of each stamp.
    pub value: Micros,
    /// Of the value.
    #[serde(with = "text")]
    pub currency: Currency,
    /// When it was made, in Unix seconds.
    pub time: u64,
    /// The stamps.
    pub ids: Vec<Bytes<16>>,
}

/// Stamps in hand of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Who sold them.
    pub office: Domain,
    /// Who may redeem them.
    pub audience: Domain,
    /// Of each.
    pub value: Micros,
    /// Of the value.
    pub currency: Currency,
    /// How many.
    pub count: usize,
}

impl Contents {
    /// An empty wallet.
    pub fn new(seed: Seed) -> Self {
        Self {
            version: VERSION,
            seed,
            offices: vec![],
            sheets: vec![],
            orders: vec![],
            limits: Limits::default(),
            spent: Spent::default(),
            not_ahead: vec![],
        }
    }

    /// The same account with the offices it is at, and no stamps: two files must not hold the same ones.
    pub fn account_alone(&self) -> Self {
        Self { offices: self.offices.clone(), limits: self.limits, ..Self::new(self.seed.clone()) }
    }

    /// Whether a newer program wrote it, in a form that this one might damage.
    pub const fn is_too_new(&self) -> bool {
        self.version > VERSION
    }

    /// Stamps in hand, by kind; those of one kind from several purchases are counted together.
    pub fn held(&self, now: u64) -> Vec<Held> {
        let mut all: Vec<Held> = vec![];
        for sheet in self.sheets.iter().filter(|sheet| sheet.expiry >= now) {
            let kind = |held: &&mut Held| {
                (&held.office, &held.audience, held.value, held.currency)
                    == (&sheet.office, &sheet.audience, sheet.value, sheet.currency)
            };
            match all.iter_mut().find(kind) {
                Some(held) => held.count += sheet.stamps.len(),
                None => all.push(Held {
                    office: sheet.office.clone(),
                    audience: sheet.audience.clone(),
                    value: sheet.value,
                    currency: sheet.currency,
                    count: sheet.stamps.len(),
                }),
            }
        }
        all
    }

    /// All stamps and all ids on order.
    pub fn count(&self) -> usize {
        let stamps: usize = self.sheets.iter().map(|sheet| sheet.stamps.len()).sum();
        stamps + self.orders.iter().map(|order| order.ids.len()).sum::<usize>()
    }

    /// Puts stamps in; one that is in already stays in once.
    pub fn put(&mut self, stamps: impl IntoIterator<Item = Stamp>) {
        let mut ids: HashSet<(Domain, StampId)> = HashSet::new();
        for sheet in &self.sheets {
            ids.extend(sheet.stamps.iter().map(|stamp| (sheet.office.clone(), stamp.id.0)));
        }
        for Stamp { terms, signature } in stamps {
            if !ids.insert((terms.office.clone(), terms.id)) {
                continue;
            }
            let stamp = SheetStamp { id: Bytes(terms.id), b: Bytes(signature) };
            match self.sheets.iter_mut().find(|sheet| sheet.is_of(&terms)) {
                Some(sheet) => sheet.stamps.push(stamp),
                None => self.sheets.push(Sheet::of(terms, stamp)),
            }
        }
    }

    /// Stamps that [`Contents::take`] would give for letters to this domain.
    pub fn usable(&self, audience: &Domain, least: Micros, now: u64) -> usize {
        let fitting = self.sheets.iter().filter(|sheet| sheet.fits(audience, least, now));
        fitting.map(|sheet| sheet.stamps.len()).sum()
    }

    /// Takes a stamp out for a letter to this domain: the cheapest worth at least `least`, of those the one that expires first.
    pub fn take(&mut self, audience: &Domain, least: Micros, now: u64) -> Option<Stamp> {
        let fitting = self.sheets.iter_mut().filter(|sheet| sheet.fits(audience, least, now));
        let sheet = fitting.min_by_key(|sheet| (sheet.value, sheet.expiry))?;
        let SheetStamp { id, b } = sheet.stamps.pop()?;
        let terms = Terms {
            office: sheet.office.clone(),
            selector: sheet.selector.clone(),
            id: id.0,
            value: sheet.value,
            currency: sheet.currency,
            audience: sheet.audience.clone(),
            expiry: sheet.expiry,
            holder: self.seed.holder(&sheet.office, &id.0).public().to_bytes(),
        };
        Some(Stamp { terms, signature: b.0 })
    }

    /// Drops what has expired (its money is back on the account) and empty sheets.
    pub fn tidy(&mut self, now: u64) {
        self.sheets.retain(|sheet| sheet.expiry >= now && !sheet.stamps.is_empty());
    }

    /// Remembers where an office is.
    pub fn met(&mut self, office: &Domain, url: &str) {
        match self.offices.iter_mut().find(|known| known.office == *office) {
            Some(known) => known.url = url.to_owned(),
            None => self.offices.push(KnownOffice { office: office.clone(), url: url.to_owned() }),
        }
    }
}

impl Sheet {
    fn of(terms: Terms, stamp: SheetStamp) -> Self {
        let Terms { office, selector, value, currency, audience, expiry, .. } = terms;
        Self { office, selector, currency, audience, value, expiry, stamps: vec![stamp] }
    }

    fn fits(&self, audience: &Domain, least: Micros, now: u64) -> bool {
        self.audience == *audience
            && self.value >= least
            && self.expiry >= now.saturating_add(LEFT_TO_LIVE_S)
            && !self.stamps.is_empty()
    }

    fn is_of(&self, terms: &Terms) -> bool {
        (&self.office, &self.selector, self.currency) == (&terms.office, &terms.selector, terms.currency)
            && (&self.audience, self.value, self.expiry) == (&terms.audience, terms.value, terms.expiry)
    }
}

/// Values that are written as their text.
pub(super) mod text {
    use std::{borrow::Cow, fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub fn serialize<T: Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        Cow::<str>::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_262_400;
    const DAY: u64 = 86_400;

    fn stamp(id: u8, value: u64, expiry: u64) -> Stamp {
        Stamp {
            terms: Terms {
                office: "post.example".parse().unwrap(),
                selector: "s1".parse().unwrap(),
                id: [id; 16],
                value: Micros::new(value).unwrap(),
                currency: "USD".parse().unwrap(),
                audience: "b.example".parse().unwrap(),
                expiry,
                holder: [0; 32],
            },
            signature: [id; 64],
        }
    }

    fn contents(stamps: Vec<Stamp>) -> Contents {
        let mut contents = Contents::new(Seed::random().unwrap());
        contents.put(stamps);
        contents
    }

    #[test]
    fn the_cheapest_that_will_do_and_of_those_the_first_to_expire() {
        let b: Domain = "b.example".parse().unwrap();
        let mut wallet = contents(vec![
            stamp(1, 9000, NOW + 10 * DAY),
            stamp(2, 2500, NOW + 20 * DAY),
            stamp(3, 2500, NOW + 10 * DAY),
            stamp(4, 2500, NOW + 3_600),
            stamp(5, 100, NOW - 1),
        ]);
        let mut take =
            |least| wallet.take(&b, Micros::new(least).unwrap(), NOW).map(|stamp| stamp.terms.id[0]);
        assert_eq!(take(3000), Some(1));
        assert_eq!(take(3000), None);
        assert_eq!(
            (take(0), take(0), take(0)),
            (Some(3), Some(2), None),
            "the others have too little time left"
        );
        let other: Domain = "c.example".parse().unwrap();
        assert!(contents(vec![stamp(1, 1, NOW + DAY)]).take(&other, Micros::ZERO, NOW).is_none());
    }

    #[test]
    fn a_stamp_is_in_the_purse_once_and_taken_once() {
        let mut wallet = contents(vec![stamp(1, 2500, NOW + DAY), stamp(1, 2500, NOW + DAY)]);
        wallet.put([stamp(1, 2500, NOW + DAY)]);
        assert_eq!(wallet.count(), 1);
        let b: Domain = "b.example".parse().unwrap();
        let taken = wallet.take(&b, Micros::ZERO, NOW).unwrap();
        let holder = wallet.seed.holder(&taken.terms.office, &taken.terms.id).public().to_bytes();
        assert_eq!(taken.terms.holder, holder);
        assert!(wallet.take(&b, Micros::ZERO, NOW).is_none());
        wallet.put([taken]);
        assert_eq!(wallet.count(), 1, "what was not used goes back");
    }

    #[test]
    fn counting_by_kind_and_tidying() {
        let mut wallet = contents(vec![
            stamp(1, 2500, NOW + DAY),
            stamp(2, 2500, NOW + 2 * DAY),
            stamp(3, 100, NOW + DAY),
            stamp(4, 100, NOW - 1),
        ]);
        let counts = |wallet: &Contents| -> Vec<(u64, usize)> {
            wallet.held(NOW).iter().map(|held| (held.value.get(), held.count)).collect()
        };
        assert_eq!(counts(&wallet), [(2500, 2), (100, 1)]);
        assert_eq!(wallet.count(), 4);
        wallet.tidy(NOW);
        assert_eq!((wallet.count(), counts(&wallet)), (3, vec![(2500, 2), (100, 1)]));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut wallet = contents(vec![stamp(1, 2500, NOW + DAY), stamp(2, 2500, NOW + DAY)]);
        wallet.met(&"post.example".parse().unwrap(), "https://post.example/");
        wallet.met(&"post.example".parse().unwrap(), "https://new.example/");
        wallet.orders.push(OpenOrder {
            office: "post.example".parse().unwrap(),
            audience: "b.example".parse().unwrap(),
            value: Micros::new(7).unwrap(),
            currency: "USD".parse().unwrap(),
            time: NOW,
            ids: vec![Bytes([3; 16])],
        });
        let json = serde_json::to_string(&wallet).unwrap();
        let again: Contents = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), json);
        assert_eq!((again.count(), again.orders.len(), again.offices.len()), (3, 1, 1));
        assert_eq!(again.offices[0].url, "https://new.example/");
        assert!(!again.is_too_new());
        let later: Contents = serde_json::from_str(&json.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(later.is_too_new());
    }
}
