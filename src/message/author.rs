//! The author of a letter: the address of exactly one From field that holds exactly one mailbox (SPEC.md §3).
//!
//! Strict where it matters: a value that two readers could take for two different addresses has no author.
//! Tolerant where it does not: comments, folds, octets beyond ASCII and obsolete phrases in the name.
//! Time and memory are linear in the value's length, whatever is in it.

use crate::address::{Address, Domain, is_atext};

/// Octets of a From value; a longer one has no author. Mail servers cut fields at about this length.
pub const FROM_OCTETS_MAX: usize = 65_536;

/// The author, given the value of every From field (what stands after the colon); `None` when there is none or
/// more than one field, address or group, or when the value is no RFC 5322 mailbox. Encoded words are not decoded.
#[must_use]
pub fn author(from_values: &[&[u8]]) -> Option<Address> {
    match from_values {
        [value] => mailbox(value),
        _ => None,
    }
}

/// Reads `name-addr / addr-spec` of RFC 5322 §3.4, and nothing around it but comments and white space.
fn mailbox(value: &[u8]) -> Option<Address> {
    if value.len() > FROM_OCTETS_MAX {
        return None;
    }
    let tokens = Lexer { rest: value }.collect::<Option<Vec<_>>>()?;
    let Some(open) = tokens.iter().position(|token| *token == Token::Special(b'<')) else {
        return addr_spec(&tokens);
    };
    let (name, angle) = tokens.split_at_checked(open)?;
    match angle {
        [_, inner @ .., Token::Special(b'>')] if is_phrase(name) => addr_spec(without_route(inner)?),
        _ => None,
    }
}

/// A display name: words, and dots after the first (obsolete, but everywhere: `John Q. Public`); or none at all.
fn is_phrase(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [] => true,
        [first, rest @ ..] => {
            first.is_word() && rest.iter().all(|t| t.is_word() || *t == Token::Special(b'.'))
        }
    }
}

/// Takes the obsolete route off: `@a.example,@b.example:` before the address.
fn without_route<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    if tokens.first() != Some(&Token::Special(b'@')) {
        return Some(tokens);
    }
    let colon = tokens.iter().position(|token| *token == Token::Special(b':'))?;
    let (route, rest) = (tokens.get(..colon)?, tokens.get(colon + 1..)?);
    let hop_ok =
        |hop: &[Token<'_>]| matches!(hop, [Token::Special(b'@'), domain @ ..] if dotted(domain).is_some());
    route.split(|token| *token == Token::Special(b',')).all(hop_ok).then_some(rest)
}

/// `local@domain`. Of the obsolete forms white space around dots is taken, quoted words between dots are not.
fn addr_spec(tokens: &[Token<'_>]) -> Option<Address> {
    let at = tokens.iter().position(|token| *token == Token::Special(b'@'))?;
    let (local, domain) = (tokens.get(..at)?, tokens.get(at + 1..)?);
    let domain = String::from_utf8(dotted(domain)?).ok()?;
    let domain = Domain::from_any(&domain).ok()?;
    match local {
        [Token::Quoted(local)] => Address::from_parts(local, domain),
        _ => Address::from_parts(&dotted(local)?, domain),
    }
}

/// Atoms with single dots between them, put together.
fn dotted(tokens: &[Token<'_>]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for (number, token) in tokens.iter().enumerate() {
        match (number % 2, token) {
            (0, Token::Atom(atom)) => text.extend_from_slice(atom),
            (1, Token::Special(b'.')) => text.push(b'.'),
            _ => return None,
        }
    }
    (tokens.len() % 2 == 1).then_some(text)
}

/// A lexical token; comments and white space are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A run of atom text, any octet beyond ASCII among it.
    Atom(&'a [u8]),
    /// A quoted string with its quotes.
    Quoted(&'a [u8]),
    /// Any other printable octet.
    Special(u8),
}

impl Token<'_> {
    const fn is_word(&self) -> bool {
        matches!(self, Self::Atom(_) | Self::Quoted(_))
    }
}

/// Cuts a value into tokens; yields `None` where it cannot be one, which ends the reading.
struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Option<Token<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = *self.rest.first()?;
            match first {
                b' ' | b'\t' | b'\r' | b'\n' => self.rest = self.rest.get(1..)?,
                b'(' => match comment_length(self.rest) {
                    Some(length) => self.rest = self.rest.get(length..)?,
                    None => return Some(None),
                },
                b'"' => {
                    return Some(
                        quoted_length(self.rest).and_then(|length| self.take(length)).map(Token::Quoted),
                    );
                }
                0..=0x1f | 0x7f => return Some(None),
                _ if is_atext(first) => {
                    let length = self.rest.iter().position(|&b| !is_atext(b)).unwrap_or(self.rest.len());
                    return Some(self.take(length).map(Token::Atom));
                }
                _ => return Some(self.take(1).map(|_| Token::Special(first))),
            }
        }
    }
}

impl<'a> Lexer<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Octets of the comment that begins here. Comments nest as deep as they like: depth is a number, not a recursion.
fn comment_length(text: &[u8]) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, &b) in text.iter().enumerate() {
        match b {
            0 => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Octets of the quoted string that begins here, quotes included.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, &b) in text.iter().enumerate().skip(1) {
        match b {
            0 => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(value: &[u8]) -> Option<String> {
        author(&[value]).map(|address| address.to_string())
    }

    #[test]
    fn one_mailbox_is_an_author() {
        let table: &[(&str, &str)] = &[
            (" alice@a.example", "alice@a.example"),
            ("Alice@A.Example", "alice@a.example"),
            (" <alice@a.example>", "alice@a.example"),
            (" Alice <alice@a.example>", "alice@a.example"),
            ("Alice<alice@a.example>", "alice@a.example"),
            (" Alice Q. Public <alice@a.example>", "alice@a.example"),
            (" A.B.C. <alice@a.example>", "alice@a.example"),
            (" \"Alice, of A\"\r\n\t<alice@a.example>", "alice@a.example"),
            (" \"Alice\n of A\" <alice@a.example> ", "alice@a.example"),
            (" \"mallory@x.example\" <alice@a.example>", "alice@a.example"),
            (" \"<mallory@x.example>\" <alice@a.example>", "alice@a.example"),
            (" \"a \\\" <m@x.example> \" <alice@a.example>", "alice@a.example"),
            (" \"\" <alice@a.example>", "alice@a.example"),
            (" alice@a.example (Alice)", "alice@a.example"),
            (" (one) alice (two) @ (three) a.example (four)", "alice@a.example"),
            (" alice@a.example (a (nested) \\) comment, <m@x.example>)", "alice@a.example"),
            (" (<mallory@x.example>) Alice (x@y) < (z) alice@a.example > (end)", "alice@a.example"),
            (" alice . smith @ a . example", "alice.smith@a.example"),
            (" \"alice\"@a.example", "alice@a.example"),
            (" \"alice smith\"@a.example", "\"alice smith\"@a.example"),
            (" <\"alice@home\"@a.example>", "\"alice@home\"@a.example"),
            (" <@m.example,@n.example:alice@a.example>", "alice@a.example"),
            (" =?utf-8?Q?Alice_=3Cevil=40x.example=3E?= <alice@a.example>", "alice@a.example"),
            (" =?utf-8?B?PGV2aWxAeC5leGFtcGxlPg==?= <alice@a.example>", "alice@a.example"),
            (" =?utf-8?Q?alice?=@a.example", "=?utf-8?q?alice?=@a.example"),
            (" Zoë <zoë@a.example>", "zoë@a.example"),
            (" alice@bücher.example", "alice@xn--bcher-kva.example"),
            (" alice@BÜCHER.example", "alice@xn--bcher-kva.example"),
            (" alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example"),
            (" alice@faß.example", "alice@xn--fa-hia.example"),
            (" O'Brien+x=y@a.example", "o'brien+x=y@a.example"),
            (" \"\u{1b}$B\" <alice@a.example>", "alice@a.example"),
            (" (\u{7}) <alice@a.example>", "alice@a.example"),
        ];
        for (value, address) in table {
            assert_eq!(of(value.as_bytes()).as_deref(), Some(*address), "{value:?}");
        }
        assert_eq!(of(b" Zo\xeb <alice@a.example>").as_deref(), Some("alice@a.example"), "Latin 1 in a name");
        assert_eq!(author(&[b"a\xeb@a.example"]).unwrap().local(), b"a\xeb");
    }

    #[test]
    fn anything_else_is_no_author() {
        let table: &[&str] = &[
            "",
            " ",
            " (Alice)",
            " alice",
            " alice@",
            " @a.example",
            " <>",
            " Alice <>",
            " Alice <alice>",
            " alice@a",
            " alice@[192.0.2.1]",
            " =?utf-8?Q?alice=40a.example?=",
            " =?utf-8?Q?alice=40a.example?= <>",
            " alice@=?utf-8?Q?a.example?=",
            " alice@a\u{3002}\u{3002}example",
            " alice@xn--a.example",
            " alice@a.example.",
            " alice@a..example",
            " alice..b@a.example",
            " .alice@a.example",
            " alice@a.example, mallory@x.example",
            " alice@a.example,",
            " ,alice@a.example",
            " <alice@a.example>, <mallory@x.example>",
            " <alice@a.example> <mallory@x.example>",
            " <alice@a.example> mallory@x.example",
            " <alice@a.example> Alice",
            " <alice@a.example>>",
            " <<alice@a.example>>",
            " <alice@a.example",
            " alice@a.example>",
            " alice@a.example <mallory@x.example>",
            " alice@a.example mallory@x.example",
            " Alice alice@a.example",
            " alice@a.example@x.example",
            " Friends: alice@a.example;",
            " alice@a.example;",
            " undisclosed:;",
            " Alice, of A <alice@a.example>",
            " . <alice@a.example>",
            " \"alice\".smith@a.example",
            " \"alice\" \"smith\"@a.example",
            " ali ce@a.example",
            " alice@a.exa mple",
            " \"alice@a.example",
            " alice@a.example (",
            " alice@a.example (\\)",
            " alice@a.example )",
            " alice\\@a.example",
            " <@m.example:>",
            " <@m.example alice@a.example>",
            " <@:alice@a.example>",
            " <m.example:alice@a.example>",
            " <mailto:alice@a.example>",
            " alice\u{0}@a.example",
            " \"\u{0}\" <alice@a.example>",
            " (\u{0}) <alice@a.example>",
            " ali\u{1}ce@a.example",
            " \"a\u{1}b\"@a.example",
        ];
        for value in table {
            assert_eq!(of(value.as_bytes()), None, "{value:?}");
        }
        assert_eq!(of(b"alice@\xff.example"), None);
    }

    #[test]
    fn one_field_has_an_author() {
        let alice: &[u8] = b"alice@a.example";
        assert!(author(&[alice]).is_some());
        assert!(author(&[]).is_none());
        assert!(author(&[alice, alice]).is_none());
    }

    /// Were any of this quadratic, or a recursion, the test would not end well.
    #[test]
    fn values_made_to_be_slow_are_read_at_once() {
        let wrap = |open: &str, inner: &str, close: &str| {
            let count = (FROM_OCTETS_MAX - inner.len()) / (open.len() + close.len());
            [open.repeat(count), inner.to_owned(), close.repeat(count)].concat()
        };
        for (open, close) in [("(", ")"), ("<", ">"), ("\"", "\""), ("a.", ".a")] {
            assert_eq!(of(wrap(open, " ", close).as_bytes()), None, "{open}");
        }
        let commented = format!("{}{}alice@a.example", "(".repeat(30_000), ")".repeat(30_000));
        assert_eq!(of(commented.as_bytes()).as_deref(), Some("alice@a.example"));
        for piece in [
            "(", ")", "\"", "\\", "<", ">", "@", ".", ",", ":", "a ", "a.", "\"\"", "()", "(\\", "\r\n ",
            "@a,", "=?",
        ] {
            let value = piece.repeat(FROM_OCTETS_MAX / piece.len());
            assert_eq!(of(value.as_bytes()), None, "{piece}");
        }
        let long = format!("{}<alice@a.example>", " ".repeat(FROM_OCTETS_MAX));
        assert_eq!(of(long.as_bytes()), None, "longer than any real one");
        assert!(of(&long.as_bytes()[20..]).is_some());
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            let _ = author(&[&octets]);
        }

        #[test]
        fn one_mailbox_more_is_one_too_many(value in "[ab ]{0,2}[ab.(]{1,5}@[ab.)]{0,3}a[.]b[ab(): \r\n]{0,9}") {
            if let Some(address) = author(&[value.as_bytes()]) {
                let named = format!("N <{value}>");
                prop_assert_eq!(author(&[named.as_bytes()]), Some(address), "{}", named);
                for more in ["{}, m@x.example", "{} m@x.example", "{} <m@x.example>", "m@x.example {}", "m@x.example, {}", "G: {};"] {
                    let several = more.replace("{}", &value);
                    prop_assert_eq!(author(&[several.as_bytes()]), None, "{}", several);
                }
            }
        }

        #[test]
        fn names_and_comments_change_nothing(name in "[A-Za-z0-9 ]{0,20}", quoted in "[ !#-\\[\\]-~]{0,20}", comment in "[ !-'*-\\[\\]-~]{0,20}") {
            let value = format!(" {name} \"{quoted}\" ({comment}) <alice@a.example> ({comment})");
            prop_assert_eq!(of(value.as_bytes()), Some("alice@a.example".to_owned()), "{}", value);
        }
    }
}
