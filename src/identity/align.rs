//! Which domains speak for which: organisational domains and DMARC's alignment modes.
//!
//! The public suffix list is the one compiled in, private suffixes (github.io and the like) included: tenants of one
//! host are strangers to each other. All here is pure; the record is fetched by the caller.

use crate::address::Domain;

/// Names looked up for one: hosts have two or three labels before their owner's.
pub const NAMES_MAX: usize = 6;

/// How closely an authenticated domain must match the author's (RFC 7489 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The organisational domains are the same. What holds when nothing is published.
    #[default]
    Relaxed,
    /// The domains are the same.
    Strict,
}

/// The alignment modes a domain asks for in its DMARC record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// `adkim`.
    pub dkim: Mode,
    /// `aspf`.
    pub spf: Mode,
}

/// The domain under which one owner registers everything: one label more than the public suffix.
/// `None` for a public suffix itself, whose names below belong to many.
#[must_use]
pub fn organisation(domain: &Domain) -> Option<&str> {
    domain.organisation()
}

/// A name and those above it, up to the one under which its owner registers; at most [`NAMES_MAX`]. A public suffix
/// stands alone.
pub fn up_to_organisation(name: &Domain) -> impl Iterator<Item = Domain> {
    let top = organisation(name).unwrap_or(name.as_str()).len();
    let above = move |name: &Domain| {
        let (_, rest) = name.as_str().split_once('.')?;
        if rest.len() < top { None } else { rest.parse().ok() }
    };
    std::iter::successors(Some(name.clone()), above).take(NAMES_MAX)
}

/// Whether two domains belong to one organisation; a domain always belongs to itself.
#[must_use]
pub fn same_organisation(a: &Domain, b: &Domain) -> bool {
    a.is_of_organisation(b)
}

/// Whether an authenticated domain speaks for the author's in this mode.
#[must_use]
pub fn aligned(authenticated: &Domain, author: &Domain, mode: Mode) -> bool {
    match mode {
        Mode::Strict => authenticated == author,
        Mode::Relaxed => same_organisation(authenticated, author),
    }
}

/// The modes in the TXT records at `_dmarc.<domain>`; `None` when there is no DMARC record. Several are as good as one that
/// asks for nothing: no other domain's record is looked for then (RFC 7489 §6.6.3).
///
/// A tag that cannot be read counts as not there (RFC 7489 §6.3), so a broken record is a relaxed one.
#[must_use]
pub fn modes<R: AsRef<[u8]>>(records: &[R]) -> Option<Modes> {
    let mut found = records.iter().map(AsRef::as_ref).filter(|record| is_dmarc(record));
    let record = match (found.next(), found.next()) {
        (Some(record), None) => record,
        (Some(_), Some(_)) => return Some(Modes::default()),
        (None, _) => return None,
    };
    let mut modes = Modes::default();
    for (name, value) in tags(record) {
        let mode = if value.eq_ignore_ascii_case(b"s") { Mode::Strict } else { Mode::Relaxed };
        match name {
            b"adkim" => modes.dkim = mode,
            b"aspf" => modes.spf = mode,
            _ => {}
        }
    }
    Some(modes)
}

fn is_dmarc(record: &[u8]) -> bool {
    tags(record).next() == Some((b"v", b"DMARC1"))
}

/// The tags of a DMARC or DKIM record, white space around names and values cut off; what is no tag is passed over.
pub(super) fn tags(record: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    record.split(|&b| b == b';').filter_map(|tag| {
        let equals = tag.iter().position(|&b| b == b'=')?;
        Some((tag.get(..equals)?.trim_ascii(), tag.get(equals + 1..)?.trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(s: &str) -> Domain {
        s.parse().unwrap()
    }

    #[test]
    fn who_belongs_together() {
        let table = [
            ("b.example", "b.example", true),
            ("mail.b.example", "b.example", true),
            ("mail.b.example", "news.b.example", true),
            ("b.example", "bb.example", false),
            ("b.example", "c.example", false),
            ("a.co.uk", "b.co.uk", false),
            ("mail.a.co.uk", "a.co.uk", true),
            ("a.github.io", "b.github.io", false),
            ("www.a.github.io", "a.github.io", true),
            ("github.io", "a.github.io", false),
            ("github.io", "github.io", true),
            ("co.uk", "a.co.uk", false),
            ("co.uk", "co.uk", true),
        ];
        for (a, b, same) in table {
            assert_eq!(same_organisation(&d(a), &d(b)), same, "{a} {b}");
            assert_eq!(same_organisation(&d(b), &d(a)), same, "{b} {a}");
            assert_eq!(aligned(&d(a), &d(b), Mode::Relaxed), same, "{a} {b}");
            assert_eq!(aligned(&d(a), &d(b), Mode::Strict), a == b, "{a} {b}");
        }
    }

    #[test]
    fn the_names_above_one() {
        for (name, names) in [
            ("mx.old.example", "mx.old.example old.example"),
            ("old.example", "old.example"),
            ("1.mx.old.co.uk", "1.mx.old.co.uk mx.old.co.uk old.co.uk"),
            ("me.github.io", "me.github.io"),
            ("github.io", "github.io"),
            (
                "9.8.7.6.5.4.3.2.1.old.example",
                "9.8.7.6.5.4.3.2.1.old.example 8.7.6.5.4.3.2.1.old.example 7.6.5.4.3.2.1.old.example 6.5.4.3.2.1.old.example 5.4.3.2.1.old.example 4.3.2.1.old.example",
            ),
        ] {
            let found: Vec<String> = up_to_organisation(&d(name)).map(|name| name.to_string()).collect();
            assert_eq!(found.join(" "), names);
        }
    }

    #[test]
    fn what_a_dmarc_record_asks_for() {
        let (r, s) = (Mode::Relaxed, Mode::Strict);
        type Row<'a> = (&'a [&'a str], Option<(Mode, Mode)>);
        let table: &[Row<'_>] = &[
            (&[], None),
            (&["v=DMARC1; p=none"], Some((r, r))),
            (&["v=DMARC1; p=none; adkim=s"], Some((s, r))),
            (&["v=DMARC1;p=reject;aspf=S;adkim=r"], Some((r, s))),
            (&[" v = DMARC1 ; adkim = s ; aspf = s ;"], Some((s, s))),
            (&["v=DMARC1; p=reject; adkim=strict; aspf"], Some((r, r))),
            (&["v=DMARC1; ;;=; p; adkim=s"], Some((s, r))),
            (&["v=DMARC2; adkim=s"], None),
            (&["p=none; v=DMARC1; adkim=s"], None),
            (&["v=spf1 -all", "v=DMARC1; adkim=s"], Some((s, r))),
            (&["v=DMARC1; adkim=s", "v=DMARC1; aspf=s"], Some((r, r))),
            (&[""], None),
        ];
        for &(records, modes_of) in table {
            let want = modes_of.map(|(dkim, spf)| Modes { dkim, spf });
            assert_eq!(modes(records), want, "{records:?}");
        }
    }
}
