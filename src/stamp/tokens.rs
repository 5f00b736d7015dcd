//! Tokens: who has one can say of a letter that it was wanted or not (SPEC.md §6).
//!
//! A token names a redemption; it does not name the recipient, whom the ledger knows and who is checked
//! with it. Possession alone is not enough in mail: who calls asks for authentication as well.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::address::Address;

const NUMBER_OCTETS: usize = 8;
const MAC_OCTETS: usize = 12;

/// A site's secret for tokens and freepost codes. The newest makes, all check. Wiped when dropped, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first `N` bytes of BLAKE3-keyed over the parts, one after the other.
    pub(crate) fn mac<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        let mut mac = [0; N];
        hasher.finalize_xof().fill(&mut mac);
        mac
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token key")
    }
}

/// What a token lets its owner say, and where: a token of mail is none in a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `w`: wanted, in mail.
    Wanted,
    /// `u`: unwanted, in mail.
    Unwanted,
    /// `W`: wanted, in a link.
    LinkWanted,
    /// `U`: unwanted, in a link.
    LinkUnwanted,
}

impl Verb {
    const fn letter(self) -> u8 {
        match self {
            Self::Wanted => b'w',
            Self::Unwanted => b'u',
            Self::LinkWanted => b'W',
            Self::LinkUnwanted => b'U',
        }
    }
}

/// A token as read; only [`Token::is_genuine`] says whether it is one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    number: u64,
    mac: [u8; MAC_OCTETS],
}

impl Token {
    /// The token for a redemption and its recipient.
    #[must_use]
    pub fn make(key: &TokenKey, verb: Verb, number: u64, recipient: &Address) -> Self {
        let mac =
            key.mac(&[b"postage-token-v1\0", &[verb.letter()], &number.to_be_bytes(), &recipient.to_bytes()]);
        Self { number, mac }
    }

    /// Reads 32 characters of base32, in any case; `None` when they are not that.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes: [u8; NUMBER_OCTETS + MAC_OCTETS] = base32(text)?;
        let (number, mac) = bytes.split_first_chunk()?;
        Some(Self { number: u64::from_be_bytes(*number), mac: mac.try_into().ok()? })
    }

    /// Reads what stands behind the command address's `+`: `w.TOKEN` or `u.TOKEN`, in any case.
    #[must_use]
    pub fn parse_detail(detail: &[u8]) -> Option<(Verb, Self)> {
        let (verb, text) = match detail {
            [b'w' | b'W', b'.', text @ ..] => (Verb::Wanted, text),
            [b'u' | b'U', b'.', text @ ..] => (Verb::Unwanted, text),
            _ => return None,
        };
        Some((verb, Self::parse(text)?))
    }

    /// The redemption it names.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether one of the site's keys made it, for this verb and this recipient. Takes the same time whatever differs.
    #[must_use]
    pub fn is_genuine(&self, keys: &[TokenKey], verb: Verb, recipient: &Address) -> bool {
        keys.iter().any(|key| Self::make(key, verb, self.number, recipient).mac.ct_eq(&self.mac).into())
    }
}

impl fmt::Display for Token {
    /// 32 characters of base32 in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.number.to_be_bytes().as_slice(), &self.mac].concat();
        f.write_str(&BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

/// Exactly `N` bytes of base32 in any case, without padding.
pub(super) fn base32<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if BASE32_NOPAD.decode_len(text.len()) != Ok(N) {
        return None;
    }
    let mut bytes = [0; N];
    BASE32_NOPAD.decode_mut(&text.to_ascii_uppercase(), &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bob() -> Address {
        "bob@b.example".parse().unwrap()
    }

    #[test]
    fn a_token_is_good_for_one_verb_one_recipient_and_one_letter() {
        let keys = [TokenKey::new([1; 32])];
        let verbs = [Verb::Wanted, Verb::Unwanted, Verb::LinkWanted, Verb::LinkUnwanted];
        for verb in verbs {
            let token = Token::make(&keys[0], verb, 7, &bob());
            for other in verbs {
                assert_eq!(token.is_genuine(&keys, other, &bob()), verb == other, "{verb:?} as {other:?}");
            }
            assert!(!token.is_genuine(&keys, verb, &"carol@b.example".parse().unwrap()));
            assert!(!Token { number: 8, ..token }.is_genuine(&keys, verb, &bob()));
        }
    }

    #[test]
    fn every_key_checks_and_no_other() {
        let (old, new) = (TokenKey::new([1; 32]), TokenKey::new([2; 32]));
        let token = Token::make(&old, Verb::Wanted, 7, &bob());
        assert!(token.is_genuine(&[new.clone(), old], Verb::Wanted, &bob()));
        assert!(!token.is_genuine(&[new], Verb::Wanted, &bob()));
        assert!(!token.is_genuine(&[], Verb::Wanted, &bob()));
    }

    #[test]
    fn what_stands_behind_the_command_address() {
        let text = Token::make(&TokenKey::new([1; 32]), Verb::Wanted, 7, &bob()).to_string();
        assert_eq!(text.len(), 32);
        let token = Token::parse(text.as_bytes()).unwrap();
        for (detail, verb) in [
            (format!("w.{text}"), Some(Verb::Wanted)),
            (format!("W.{}", text.to_ascii_uppercase()), Some(Verb::Wanted)),
            (format!("u.{text}"), Some(Verb::Unwanted)),
            (format!("U.{text}"), Some(Verb::Unwanted)),
            (format!("x.{text}"), None),
            (format!("w{text}"), None),
            (format!("w.{text}a"), None),
            (format!("w.{}", &text[1..]), None),
            (format!("w.{}1", &text[1..]), None),
            (String::new(), None),
        ] {
            let read = Token::parse_detail(detail.as_bytes());
            assert_eq!(read, verb.map(|verb| (verb, token)), "{detail}");
        }
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", TokenKey::new([65; 32])), "token key");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, key: [u8; 32]) {
            let token = Token::make(&TokenKey::new(key), Verb::Wanted, number, &bob());
            prop_assert_eq!(Token::parse(token.to_string().as_bytes()), Some(token));
            prop_assert_eq!(Token::parse(token.to_string().to_ascii_uppercase().as_bytes()), Some(token));
        }

        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            let _ = Token::parse(&octets);
            let _ = Token::parse_detail(&octets);
        }
    }
}
