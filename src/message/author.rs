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
