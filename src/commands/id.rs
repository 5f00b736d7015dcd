//! The names by which a person calls a letter: a token, a stamp's id, a Message-ID (SPEC.md §7, §8).

use crate::{
    address::Domain,
    ledger::{StampId, message_id_hash},
    stamp::tokens::Token,
};

/// A name of a letter, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterId {
    /// A token; whether it is one of ours only its keys tell.
    Token(Token),
    /// A stamp's id, of any office or of this one.
    Stamp(Option<Domain>, StampId),
    /// A Message-ID, as the ledger keeps it.
    Message([u8; 16]),
}

impl LetterId {
    /// Reads a name. Tokens may stand in the address or the link they came in; what has an `@` and is no token is a
    /// Message-ID, with or without angle brackets. `None` for anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if let Some(token) = token(text) {
            return Some(Self::Token(token));
        }
        if text.contains('@') || text.starts_with('<') {
            return Some(Self::Message(message_id_hash(text.as_bytes())));
        }
        let (office, id) = match text.split_once('/') {
            Some((office, id)) => (Some(Domain::from_any(office).ok()?), id),
            None => (None, text),
        };
        let id = data_encoding::BASE64URL_NOPAD.decode(id.as_bytes()).ok()?;
        Some(Self::Stamp(office, id.try_into().ok()?))
    }
}

/// The token in a text: bare, behind `w.` or `u.`, or in `<mailto:postage+w.TOKEN@b.example>`.
fn token(text: &str) -> Option<Token> {
    let detail =
        ["+w.", "+u.", "+W.", "+U."].iter().find_map(|verb| text.split_once(verb)).map(|(_, rest)| rest);
    let bare = detail.map_or(text, |rest| rest.split(['@', '>']).next().unwrap_or(rest));
    let bare = ["w.", "u.", "W.", "U."].iter().find_map(|verb| bare.strip_prefix(verb)).unwrap_or(bare);
    Token::parse(bare.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_id_is() {
        let token = "aaaaaaaaaaaac46hy433rxluheswwp7q";
        for text in [
            token.to_owned(),
            token.to_uppercase(),
            format!("w.{token}"),
            format!("<mailto:postage+w.{token}@b.example>"),
            format!("POSTAGE+U.{token}@B.EXAMPLE"),
        ] {
            let read = LetterId::read(&text);
            assert!(matches!(read, Some(LetterId::Token(t)) if t.number() == 1), "{text}");
        }
        assert!(matches!(LetterId::read("HCg35w7TlOudJrnzCsj-Qg"), Some(LetterId::Stamp(None, _))));
        assert!(matches!(LetterId::read("-Cg35w7TlOudJrnzCsj-Qg"), Some(LetterId::Stamp(None, _))));
        let of_office = LetterId::read("b.example/HCg35w7TlOudJrnzCsj-Qg");
        assert!(matches!(of_office, Some(LetterId::Stamp(Some(_), _))));
        assert!(matches!(LetterId::read("<a/b@c.example>"), Some(LetterId::Message(_))));
        assert_eq!(LetterId::read("<17@a.example>"), LetterId::read("17@a.example"));
        for nothing in ["nonsense", "", "a/b", "/", "b.example/", "é"] {
            assert_eq!(LetterId::read(nothing), None, "{nothing}");
        }
    }
}
