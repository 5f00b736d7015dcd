//! The strict tag list of SPEC.md §3: `name=value` joined by `;`, in fields and in TXT records.
//!
//! Stricter than DKIM's: a doubtful list is no list, so that two readers never see two different stamps.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;

/// What is wrong with a tag list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagListError {
    /// A control octet or one beyond ASCII.
    #[error("it holds the octet 0x{0:02x}, which is not printable ASCII")]
    Octet(u8),
    /// Nothing, or nothing between two semicolons.
    #[error("it has an empty tag")]
    Empty,
    /// A tag without `=`.
    #[error("its tag `{0}` has no `=`")]
    NoValue(String),
    /// A name that is not `[A-Za-z][A-Za-z0-9_]*`.
    #[error("`{0}` is no name of a tag")]
    Name(String),
    /// White space where none is ignored.
    #[error("the value of `{0}` has white space inside")]
    Space(String),
    /// The same name again.
    #[error("it has the tag `{0}` twice")]
    Twice(String),
}

/// A well-formed tag list: names are unique, values are printable ASCII without white space.
#[derive(Clone, Debug)]
pub struct TagList<'a> {
    /// Sorted by name.
    tags: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> TagList<'a> {
    /// Reads a list; white space inside the values of `base64_names` is dropped, elsewhere it is a fault.
    ///
    /// # Errors
    /// [`TagListError`], the first fault found.
    pub fn parse(value: &'a [u8], base64_names: &[&str]) -> Result<Self, TagListError> {
        if let Some(&octet) = value.iter().find(|&&b| !b.is_ascii_graphic() && !is_white(char::from(b))) {
            return Err(TagListError::Octet(octet));
        }
        let text = std::str::from_utf8(value).map_err(|_| TagListError::Octet(0x80))?;
        let text = text.trim_end_matches(is_white);
        let text = text.strip_suffix(';').unwrap_or(text);
        let mut tags =
            text.split(';').map(|tag| read_tag(tag, base64_names)).collect::<Result<Vec<_>, _>>()?;
        tags.sort_unstable_by_key(|(name, _)| *name);
        for pair in tags.windows(2) {
            if let [(first, _), (second, _)] = pair
                && first == second
            {
                return Err(TagListError::Twice((*first).to_owned()));
            }
        }
        Ok(Self { tags })
    }

    /// The value of a tag, if the list has it; it may be empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.tags.binary_search_by_key(&name, |(name, _)| name).ok()?;
        self.tags.get(at).map(|(_, value)| &**value)
    }
}

fn read_tag<'a>(tag: &'a str, base64_names: &[&str]) -> Result<(&'a str, Cow<'a, str>), TagListError> {
    let tag = tag.trim_matches(is_white);
    if tag.is_empty() {
        return Err(TagListError::Empty);
    }
    let (name, value) = tag.split_once('=').ok_or_else(|| TagListError::NoValue(cut(tag)))?;
    let (name, value) = (name.trim_end_matches(is_white), value.trim_start_matches(is_white));
    if !is_name(name) {
        return Err(TagListError::Name(cut(name)));
    }
    if !value.contains(is_white) {
        return Ok((name, Cow::Borrowed(value)));
    }
    if !base64_names.contains(&name) {
        return Err(TagListError::Space(cut(name)));
    }
    Ok((name, Cow::Owned(value.split(is_white).collect())))
}

fn is_name(name: &str) -> bool {
    let mut octets = name.bytes();
    octets.next().is_some_and(|b| b.is_ascii_alphabetic())
        && octets.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The only white space of a tag list.
fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// What an error shows of a piece of the list.
fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Exactly `N` bytes of base64url without padding; stray bits are a fault (SPEC.md, introduction).
#[must_use]
pub fn base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    if BASE64URL_NOPAD.decode_len(text.len()) != Ok(N) {
        return None;
    }
    let mut bytes = [0; N];
    BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut bytes).ok()?;
    Some(bytes)
}

/// A decimal number of 1 to 15 digits without leading zero.
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    const DIGITS_MAX: usize = 15;
    let digits = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (digits && canonical).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_that_are_read() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("a=1", &[("a", "1")]),
            ("a=1;", &[("a", "1")]),
            ("a=1; \r\n", &[("a", "1")]),
            (" a\t=\r\n 1 ;\tB_2=x=y", &[("a", "1"), ("B_2", "x=y")]),
            ("a=", &[("a", "")]),
            ("a= ;b=2", &[("a", ""), ("b", "2")]),
            ("a=1;A=2", &[("a", "1"), ("A", "2")]),
            ("p=ab\r\n cd", &[("p", "abcd")]),
        ];
        for (text, tags) in table {
            let list = TagList::parse(text.as_bytes(), &["p"]).unwrap_or_else(|e| panic!("{text:?}: {e}"));
            for (name, value) in *tags {
                assert_eq!(list.get(name), Some(*value), "{text:?}");
            }
            assert_eq!(list.get("zz"), None);
        }
    }

    #[test]
    fn lists_that_are_not() {
        let table: &[(&[u8], TagListError)] = &[
            (b"", TagListError::Empty),
            (b" \r\n", TagListError::Empty),
            (b";", TagListError::Empty),
            (b"a=1;;", TagListError::Empty),
            (b"a=1; ;b=2", TagListError::Empty),
            (b";a=1", TagListError::Empty),
            (b"a", TagListError::NoValue("a".into())),
            (b"=1", TagListError::Name(String::new())),
            (b"1a=1", TagListError::Name("1a".into())),
            (b"a b=1", TagListError::Name("a b".into())),
            (b"_a=1", TagListError::Name("_a".into())),
            (b"a=1 2", TagListError::Space("a".into())),
            (b"a=1;a=1", TagListError::Twice("a".into())),
            (b"a=1;p=x;c=2; a = 3", TagListError::Twice("a".into())),
            (b"a=\x0b", TagListError::Octet(0x0b)),
            (b"a=1\x00", TagListError::Octet(0)),
            (b"a=\x7f", TagListError::Octet(0x7f)),
            (b"a=\xc3\xa9", TagListError::Octet(0xc3)),
        ];
        for (text, fault) in table {
            assert_eq!(TagList::parse(text, &["p"]).unwrap_err(), *fault, "{}", text.escape_ascii());
        }
    }

    /// Were any of this quadratic the test would not end well.
    #[test]
    fn lists_made_to_be_slow_are_read_at_once() {
        const TAGS: usize = 100_000;
        let many: String = (0..TAGS).rev().map(|number| format!("a{number}={number};")).collect();
        let list = TagList::parse(many.as_bytes(), &[]).unwrap();
        assert_eq!(list.get("a99"), Some("99"));
        let twice = many.clone() + "a0=";
        assert_eq!(TagList::parse(twice.as_bytes(), &[]).unwrap_err(), TagListError::Twice("a0".into()));
        for piece in [";", "=", " ", "a", "a=", "a=;", "p= a", "\r\n"] {
            let text = format!("p={}", piece.repeat((1 << 20) / piece.len()));
            let _ = TagList::parse(text.as_bytes(), &["p"]);
        }
    }

    #[test]
    fn numbers() {
        for (text, number) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("999999999999999", Some(999_999_999_999_999)),
            ("2500", Some(2500)),
        ] {
            assert_eq!(decimal(text), number);
        }
        for bad in ["", "00", "01", "+1", "-1", "1 ", "0x1", "1000000000000000", "1.0", "١"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_is_exact() {
        assert_eq!(base64::<2>("AAE"), Some([0, 1]));
        for bad in ["", "AA", "AAEA", "AAF", "AAE=", "AA E", "AA+", "AAEAA"] {
            assert_eq!(base64::<2>(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            let _ = TagList::parse(&octets, &["p"]);
        }

        #[test]
        fn what_is_written_is_read(tags in prop::collection::btree_map("[A-Za-z][A-Za-z0-9_]{0,9}", "[!-:<-~]{0,20}", 1..20)) {
            let text: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let text = text.join(";\r\n ");
            let list = TagList::parse(text.as_bytes(), &[]).unwrap();
            for (name, value) in &tags {
                prop_assert_eq!(list.get(name), Some(value.as_str()));
            }
        }
    }
}
