//! A domain with everything below it, as the book holds it: `.a.example` is a.example and all its subdomains.
//!
//! One label is a zone too (`.top`): a site may want nothing from there.

use std::{fmt, str::FromStr};

use crate::address::{AddressError, Domain};

/// Labels of a zone: names people register have two to four. A look-up tries no more, so it costs the same however many
/// labels a sender's domain has.
pub const ZONE_LABELS_MAX: usize = 8;

/// A domain and all its subdomains: lower-case A-labels joined by dots, one to [`ZONE_LABELS_MAX`] of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(Box<str>);

impl Zone {
    /// The zones a domain lies in, the narrowest first: at most [`ZONE_LABELS_MAX`], those with the fewest labels.
    #[must_use]
    pub fn around(domain: &Domain) -> Vec<Self> {
        let text = domain.as_str();
        let starts = text.rmatch_indices('.').map(|(at, _)| at + 1).chain([0]);
        let mut zones: Vec<Self> =
            starts.take(ZONE_LABELS_MAX).filter_map(|at| Some(Self(text.get(at..)?.into()))).collect();
        zones.reverse();
        zones
    }

    /// Without the dot at its front.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many labels it has: of two zones around one domain, that with more is the narrower.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.0.split('.').count()
    }

    /// Whether anybody can have a name in it: it is a public suffix (`co.uk`, `github.io`) or above one.
    #[must_use]
    pub fn is_open_to_anyone(&self) -> bool {
        psl::domain_str(&self.0).is_none()
    }
}

impl FromStr for Zone {
    type Err = AddressError;

    /// Reads `.a.example` as people write it: any case, U-labels, a trailing dot.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fault = || AddressError::Zone(crate::address::shown(text.as_bytes()));
        let name = text.strip_prefix('.').ok_or_else(fault)?;
        // A domain has two labels or more, so one label is read with another before it.
        let whole = Domain::from_any(&format!("x.{name}")).map_err(|_| fault())?;
        let name = whole.as_str().strip_prefix("x.").ok_or_else(fault)?;
        let zone = Self(name.into());
        if zone.labels() <= ZONE_LABELS_MAX { Ok(zone) } else { Err(fault()) }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_as_people_write_them() {
        let longest = format!(".{}", ["a"; ZONE_LABELS_MAX].join("."));
        for (text, shown) in [
            (".A.example", Some(".a.example")),
            (".a.example.", Some(".a.example")),
            (".top", Some(".top")),
            (".Bücher.example", Some(".xn--bcher-kva.example")),
            (&longest, Some(&*longest)),
            (&format!(".x{longest}"), None),
            ("a.example", None),
            ("..a.example", None),
            (".", None),
            (". a.example", None),
            (".a@b.example", None),
            ("", None),
        ] {
            let zone = text.parse::<Zone>().ok().map(|zone| zone.to_string());
            assert_eq!(zone.as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn zones_around_a_domain() {
        let around = |text: &str| {
            Zone::around(&text.parse().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(around("news.shop.example"), [".news.shop.example", ".shop.example", ".example"]);
        let deep = format!("{}.example", vec!["x"; 100].join("."));
        assert_eq!(around(&deep).len(), ZONE_LABELS_MAX);
        assert_eq!(around(&deep).last().unwrap(), ".example", "no depth leads past a zone");
    }

    #[test]
    fn where_anybody_can_have_a_name() {
        for (zone, open) in [
            (".com", true),
            (".co.uk", true),
            (".uk", true),
            (".github.io", true),
            (".a.github.io", false),
            (".a.co.uk", false),
            (".a.example", false),
        ] {
            assert_eq!(zone.parse::<Zone>().unwrap().is_open_to_anyone(), open, "{zone}");
        }
    }
}
