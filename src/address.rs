//! Mail addresses and domains in the one form that is signed, hashed and compared (SPEC.md §1).
//!
//! A value of these types is a checked value. Nothing here looks at DNS, and a local part stays bytes:
//! it may hold any octets, as a letter from far away may.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Octets of a whole domain, without trailing dot (SPEC.md §1).
pub const DOMAIN_OCTETS_MAX: usize = 253;
/// Octets of one label of a domain.
pub const LABEL_OCTETS_MAX: usize = 63;
/// Octets of a local part. RFC 5321 says 64; real ones (VERP, SRS) are longer, and what is beyond this is no address.
pub const LOCAL_OCTETS_MAX: usize = 512;

/// What is wrong with an address or a domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@`.
    #[error("`{0}` is not an address: it has no @")]
    NoAt(String),
    /// The part before the `@` is empty, too long, or not a dot-atom or quoted string.
    #[error("`{0}` is not an address: the part before the @ is not well-formed")]
    Local(String),
    /// What should be a domain with its subdomains is none.
    #[error("`{0}` is not a domain with its subdomains, like .a.example")]
    Zone(String),
    /// What should be a domain is none.
    #[error("`{0}` is not a domain of two or more labels")]
    Domain(String),
}

/// A domain on the wire: two or more lower-case A-labels, no trailing dot, at most 253 octets (SPEC.md §1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Box<str>);

impl Domain {
    /// Reads a domain as a person or another program writes it: any case, U-labels, a trailing dot.
    ///
    /// # Errors
    /// [`AddressError::Domain`] when it is not two or more labels that UTS 46 maps to A-labels.
    pub fn from_any(text: &str) -> Result<Self, AddressError> {
        let fault = || AddressError::Domain(shown(text.as_bytes()));
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > 4 * DOMAIN_OCTETS_MAX {
            return Err(fault());
        }
        if text.is_ascii() && !text.contains("xn--") {
            return text.to_ascii_lowercase().parse();
        }
        // STD3 rules and lengths are checked by from_str; UTS 46 here is non-transitional.
        let ascii = idna::domain_to_ascii(text).map_err(|_| fault())?;
        ascii.parse().map_err(|_| fault())
    }

    /// The domain's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain under which one owner registers everything: one label more than the public suffix, private ones
    /// (github.io) included. `None` for a public suffix itself, whose names below belong to many.
    #[must_use]
    pub fn organisation(&self) -> Option<&str> {
        psl::domain_str(&self.0)
    }

    /// Whether two domains belong to one organisation; a domain always belongs to itself.
    #[must_use]
    pub fn is_of_organisation(&self, other: &Self) -> bool {
        self == other || self.organisation().is_some_and(|own| other.organisation() == Some(own))
    }

    /// Whether this is `other` or a name below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        match self.0.strip_suffix(&*other.0) {
            Some(rest) => rest.is_empty() || rest.ends_with('.'),
            None => false,
        }
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    /// Reads exactly the form on the wire; what would first have to be mapped is an error.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let label_ok = |label: &str| {
            let bytes = label.as_bytes();
            (1..=LABEL_OCTETS_MAX).contains(&bytes.len())
                && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && bytes.first() != Some(&b'-')
                && bytes.last() != Some(&b'-')
        };
        if text.len() <= DOMAIN_OCTETS_MAX && text.contains('.') && text.split('.').all(label_ok) {
            Ok(Self(text.into()))
        } else {
            Err(AddressError::Domain(shown(text.as_bytes())))
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Domain {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An address as it is signed and compared: unquoted where it can be, ASCII lower-cased, the domain in A-labels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: Box<[u8]>,
    domain: Domain,
}

impl Address {
    /// Reads an address as it stands in an envelope or a field: with or without `<>`, a source route, a trailing dot, quotes.
    ///
    /// # Errors
    /// [`AddressError`] when it has no domain, or its local part is neither a dot-atom nor a quoted string.
    pub fn parse(given: &[u8]) -> Result<Self, AddressError> {
        let text = match given {
            [b'<', inner @ .., b'>'] => inner,
            _ => given,
        };
        let text = without_source_route(text);
        let at = text.iter().rposition(|&b| b == b'@').ok_or_else(|| AddressError::NoAt(shown(given)))?;
        let (local, domain) = text.split_at(at);
        let domain = domain.get(1..).unwrap_or_default();
        let domain = std::str::from_utf8(domain).map_err(|_| AddressError::Domain(shown(domain)))?;
        Self::from_parts(local, Domain::from_any(domain)?).ok_or_else(|| AddressError::Local(shown(given)))
    }

    /// What an MTA might deliver although it is no address to us: a local part out of form is quoted, a missing or odd
    /// domain is taken to be the first of `domains`. So is the one it seems to name, if none of them, where a comment, an
    /// escape or a second `@` may hide the one that counts: MTAs read `bob@b.example(@x.example` as `bob@b.example`.
    /// `None` for the null address and without `domains`.
    #[must_use]
    pub fn out_of_form(given: &[u8], domains: &[Domain]) -> Option<Self> {
        let given = without_source_route(given);
        let (local, named) = match given.iter().rposition(|&b| b == b'@') {
            Some(at) => {
                let (local, domain) = given.split_at(at);
                let domain = std::str::from_utf8(domain.get(1..)?).ok();
                (local, domain.and_then(|domain| Domain::from_any(domain).ok()))
            }
            None => (given, None),
        };
        let plain = local.iter().all(|&b| is_atext(b) || b == b'.');
        let domain = match named {
            Some(named) if plain || domains.contains(&named) => named,
            _ => domains.first()?.clone(),
        };
        if let Some(address) = Self::from_parts(local, domain.clone()) {
            return Some(address);
        }
        let mut quoted = vec![b'"'];
        for &b in local.iter().take(LOCAL_OCTETS_MAX - 2) {
            match b {
                0..=31 | 127 | b'"' | b'\\' => quoted.push(b'?'),
                b => quoted.push(b),
            }
        }
        quoted.push(b'"');
        if local.is_empty() { None } else { Self::from_parts(&quoted, domain) }
    }

    /// An address of a local part as written (quoted or not) and a domain; `None` when the local part is not well-formed.
    #[must_use]
    pub fn from_parts(local: &[u8], domain: Domain) -> Option<Self> {
        let local = canonical_local(local)?;
        Some(Self { local: local.into(), domain })
    }

    /// The local part's octets, lower-cased, quotes only where they are needed.
    #[must_use]
    pub fn local(&self) -> &[u8] {
        &self.local
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The whole address: what is hashed and signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.local.len() + 1 + self.domain.0.len());
        bytes.extend_from_slice(&self.local);
        bytes.push(b'@');
        bytes.extend_from_slice(self.domain.0.as_bytes());
        bytes
    }

    /// The mailbox: the same address without its [tag](Self::without_tag) and without `+detail`; itself when it has
    /// neither. A quoted local part has no detail.
    #[must_use]
    pub fn without_detail(&self) -> Self {
        let local = after_tag(&self.local);
        let bare = match local.iter().position(|&b| b == b'+') {
            Some(at) if at > 0 && local.first() != Some(&b'"') => local.get(..at).unwrap_or_default(),
            _ => local,
        };
        Self { local: bare.into(), domain: self.domain.clone() }
    }

    /// The same address without the tag that its mail server puts before it in the envelope to tell bounces of its own
    /// mail from others (BATV): `bob@b.example` of `prvs=2150abcdef=bob@b.example`. Its server alone can tell whether the
    /// tag is genuine.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self { local: after_tag(&self.local).into(), domain: self.domain.clone() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Address {
    /// The address for people: octets that are not printable UTF-8 are escaped as `\xNN`, so that it is safe in a log or a reply.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", escaped(&self.local), self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What follows BATV's tag: `prvs=`, a key's digit, three of the day and six of a hash in hexadecimal, `=`.
fn after_tag(local: &[u8]) -> &[u8] {
    const TAG_OCTETS: usize = 10;
    let tagged = local.strip_prefix(b"prvs=").and_then(|rest| rest.split_at_checked(TAG_OCTETS));
    match tagged {
        Some((tag, [b'=', bare @ ..])) if tag.iter().all(u8::is_ascii_hexdigit) && is_dot_atom(bare) => bare,
        _ => local,
    }
}

/// `@a.example,@b.example:bob@c.example` is bob@c.example (RFC 5321 appendix C).
pub(crate) fn without_source_route(text: &[u8]) -> &[u8] {
    let Some(colon) = text.iter().position(|&b| b == b':').filter(|_| text.first() == Some(&b'@')) else {
        return text;
    };
    match text.split_at_checked(colon) {
        // A colon in a comment or a quoted string ends no route.
        Some((route, [_, rest @ ..])) if route.iter().all(|&b| is_atext(b) || b"@.,[]".contains(&b)) => rest,
        _ => text,
    }
}

/// Whether an octet may stand in a dot-atom between dots. Octets beyond ASCII may (RFC 6532); UTF-8 is not asked for.
pub(crate) fn is_atext(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b) || b >= 0x80
}

fn is_dot_atom(local: &[u8]) -> bool {
    local.split(|&b| b == b'.').all(|atom| !atom.is_empty() && atom.iter().all(|&b| is_atext(b)))
}

fn canonical_local(local: &[u8]) -> Option<Vec<u8>> {
    if local.is_empty() || local.len() > LOCAL_OCTETS_MAX {
        return None;
    }
    if let [b'"', inner @ .., b'"'] = local {
        if is_dot_atom(inner) {
            return Some(inner.to_ascii_lowercase());
        }
        return is_quoted_content(inner).then(|| local.to_ascii_lowercase());
    }
    is_dot_atom(local).then(|| local.to_ascii_lowercase())
}

/// The inside of a quoted string: no bare quote, no control octet, every backslash before a printable octet.
fn is_quoted_content(inner: &[u8]) -> bool {
    let mut escaped = false;
    for &b in inner {
        match b {
            0..=8 | 10..=31 | 127 => return false,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !escaped
}

/// Bytes for people and logs: printable UTF-8 as it is, everything else as `\xNN`.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_bidi_control(c) { out.extend(c.escape_default()) } else { out.push(c) }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

/// Marks that would reorder what a person reads in a terminal or a log.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// [`escaped`], cut to what fits in one line of an error.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    const SHOWN_OCTETS_MAX: usize = 120;
    match bytes.get(..SHOWN_OCTETS_MAX) {
        Some(cut) if bytes.len() > SHOWN_OCTETS_MAX => format!("{}…", escaped(cut)),
        _ => escaped(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_every_way_to_write_an_address() {
        let table: &[(&[u8], &[u8])] = &[
            (b"Bob@B.Example", b"bob@b.example"),
            (b"<bob+News@b.example>", b"bob+news@b.example"),
            (b"\"bob\"@b.example", b"bob@b.example"),
            (b"\"bob.smith\"@b.example", b"bob.smith@b.example"),
            (b"\"bob smith\"@b.example", b"\"bob smith\"@b.example"),
            (b"\"bob..smith\"@b.example", b"\"bob..smith\"@b.example"),
            (b"\"a\\\"b@c\"@b.example", b"\"a\\\"b@c\"@b.example"),
            (b"bob@b.example.", b"bob@b.example"),
            (b"<@relay.example,@two.example:bob@b.example>", b"bob@b.example"),
            ("zoë@b.example".as_bytes(), "zoë@b.example".as_bytes()),
            (b"zo\xeb@b.example", b"zo\xeb@b.example"),
            ("bob@faß.example".as_bytes(), b"bob@xn--fa-hia.example"),
            ("bob@BÜCHER.example".as_bytes(), b"bob@xn--bcher-kva.example"),
        ];
        for (given, signed) in table {
            assert_eq!(Address::parse(given).unwrap().to_bytes(), *signed, "{}", escaped(given));
        }
    }

    #[test]
    fn what_is_no_address() {
        let table: &[&[u8]] = &[
            b"",
            b"<>",
            b"bob",
            b"@b.example",
            b"bob@",
            b"bob@localhost",
            b"bob@b..example",
            b"bob@-b.example",
            b"bob@[127.0.0.1]",
            b"bob smith@b.example",
            b".bob@b.example",
            b"bob.@b.example",
            b"bo\r\nb@b.example",
            b"\"bo\"b\"@b.example",
            b"\"bob\\\"@b.example",
            b"bob@b_c.example",
            b"bob@b.exa\xffmple",
        ];
        for given in table {
            assert!(Address::parse(given).is_err(), "{}", escaped(given));
        }
    }

    #[test]
    fn details() {
        let bare = |s: &str| s.parse::<Address>().unwrap().without_detail().to_string();
        assert_eq!(bare("bob+shop@b.example"), "bob@b.example");
        assert_eq!(bare("bob@b.example"), "bob@b.example");
        assert_eq!(bare("+bob@b.example"), "+bob@b.example");
        assert_eq!(bare("\"a +b\"@b.example"), "\"a +b\"@b.example");
    }

    #[test]
    fn a_tag_of_the_envelope_is_no_part_of_the_mailbox() {
        for (tagged, untagged, mailbox) in [
            ("prvs=2150ABCDEF=Bob@b.example", "bob@b.example", "bob@b.example"),
            ("prvs=2150abcdef=bob+x@b.example", "bob+x@b.example", "bob@b.example"),
            ("prvs=2150abcdef=bob=x@b.example", "bob=x@b.example", "bob=x@b.example"),
            ("prvs=2150abcde=bob@b.example", "prvs=2150abcde=bob@b.example", "prvs=2150abcde=bob@b.example"),
            (
                "prvs=2150abcdxy=bob@b.example",
                "prvs=2150abcdxy=bob@b.example",
                "prvs=2150abcdxy=bob@b.example",
            ),
            ("prvs=2150abcdef=@b.example", "prvs=2150abcdef=@b.example", "prvs=2150abcdef=@b.example"),
            ("bob@b.example", "bob@b.example", "bob@b.example"),
        ] {
            let address: Address = tagged.parse().unwrap();
            assert_eq!(address.without_tag().to_string(), untagged);
            assert_eq!(address.without_detail().to_string(), mailbox);
        }
    }

    #[test]
    fn domains_within_domains() {
        let d = |s: &str| s.parse::<Domain>().unwrap();
        assert!(d("mail.b.example").is_within(&d("b.example")));
        assert!(d("b.example").is_within(&d("b.example")));
        assert!(!d("bb.example").is_within(&d("b.example")));
        assert!("B.example".parse::<Domain>().is_err(), "on the wire only lower case");
    }

    #[test]
    fn what_is_shown_cannot_break_a_line_or_a_terminal() {
        assert_eq!(escaped(b"a\r\nb\x1b[31m\xff"), "a\\r\\nb\\u{1b}[31m\\xff");
        assert_eq!(escaped("\u{202e}x".as_bytes()), "\\u{202e}x");
    }
}
