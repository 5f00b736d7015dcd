//! Selectors: the names of an office's keys, on the wire and in DNS (SPEC.md §3 `s`, §5).

use std::{fmt, str::FromStr};

use crate::address::{DOMAIN_OCTETS_MAX, LABEL_OCTETS_MAX};

/// Selector of an office's key: labels of lower-case letters, digits and inner hyphens, joined by dots (SPEC.md §3 `s`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Box<str>);

/// A text is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a selector is labels of lower-case letters, digits and inner hyphens, like s1 or 2026a.mail")]
pub struct SelectorError;

impl Selector {
    /// The selector's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let label_ok = |label: &str| {
            (1..=LABEL_OCTETS_MAX).contains(&label.len())
                && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let fits = text.len() <= DOMAIN_OCTETS_MAX;
        (fits && text.split('.').all(label_ok)).then(|| Self(text.into())).ok_or(SelectorError)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        let long = "a".repeat(LABEL_OCTETS_MAX);
        for good in ["s1", "a", "2026a", "2026a.mail", "a-b.c--d", &long, &[&*long; 3].join(".")] {
            assert_eq!(good.parse::<Selector>().map(|s| s.to_string()).as_deref(), Ok(good));
        }
        let too_long = "a".repeat(LABEL_OCTETS_MAX + 1);
        for bad in [
            "",
            "S1",
            "s_1",
            "-s",
            "s-",
            "s.",
            ".s",
            "a..b",
            "a.-b",
            "é",
            "a b",
            &too_long,
            &[&*long; 4].join("."),
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
