//! A voucher's code: what an office prints, people type, and an account gets money for (SPEC.md §10).
//!
//! Pure: random octets are an argument. A [`Code`] is well-formed: its check symbols agree, so that any one or two wrong
//! symbols, two swapped ones among them, are told from the rest by anybody, without asking an office. Whether it is
//! worth anything only a ledger knows, by its hash.

mod sheet;

use std::{fmt, str::FromStr};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use sheet::{Leaf, Sheet, SheetError};

/// Random octets a code is made of; of their bits the first 90 count.
pub const RANDOM_OCTETS: usize = 12;
/// Symbols that carry the secret: 90 bits. A million machines that guess once a second for a year find one of a million
/// codes with a chance of one in forty million.
const SECRET_SYMBOLS: usize = 18;
/// Symbols of a code, two for checking among them.
const SYMBOLS: usize = SECRET_SYMBOLS + 2;
/// Symbols between two hyphens: as many as people keep in mind on the way from paper to keyboard.
const GROUP: usize = 5;
/// Characters of a code that are looked at, hyphens and white space among them: it may be copied out of a letter.
const CHARACTERS_MAX: usize = 100;
/// The symbols by value: no I, L, O and U, which are taken for others (I and L for 1, O for 0) or make words.
const ALPHABET: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Separates the hash of a code from every other use of BLAKE3.
const HASH_CONTEXT: &str = "farthing ledger 1 code of a voucher";

/// A code, well-formed. It is as good as money: `Debug` does not show it, and it leaves memory with its owner.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Code {
    /// Values of 0 to 31.
    symbols: [u8; SYMBOLS],
}

/// Why a text is no code. Nothing here depends on what codes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It has too few or too many symbols.
    #[error("a voucher's code has {SYMBOLS} letters and digits, this one {0}")]
    Length(usize),
    /// It has a character that no code has.
    #[error("a voucher's code is of letters (without U) and digits, in groups with hyphens")]
    Symbol,
    /// Its check symbols do not agree.
    #[error("the voucher's code is mistyped: look at it again, character by character")]
    Check,
}

impl Code {
    /// The code of these random octets.
    #[must_use]
    pub fn from_random(random: &[u8; RANDOM_OCTETS]) -> Self {
        let mut bits = u128::from_be_bytes(std::array::from_fn(|at| {
            at.checked_sub(16 - RANDOM_OCTETS).and_then(|at| random.get(at)).copied().unwrap_or_default()
        }));
        let mut symbols = [0; SYMBOLS];
        for symbol in symbols.iter_mut().take(SECRET_SYMBOLS) {
            *symbol = (bits & 31) as u8;
            bits >>= 5;
        }
        bits.zeroize();
        let check = check_symbols(symbols.iter().take(SECRET_SYMBOLS));
        for (symbol, check) in symbols.iter_mut().skip(SECRET_SYMBOLS).zip(check) {
            *symbol = check;
        }
        Self { symbols }
    }

    /// What stands in the ledger for it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(HASH_CONTEXT);
        hasher.update(self.symbols.get(..SECRET_SYMBOLS).unwrap_or_default());
        *hasher.finalize().as_bytes()
    }

    /// As people read it: `WNFZF-D637G-JC9HK-JC6FB`.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SYMBOLS + SYMBOLS / GROUP));
        for (at, symbol) in self.symbols.iter().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(ALPHABET.get(usize::from(*symbol)).copied().map_or('?', char::from));
        }
        text
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl FromStr for Code {
    type Err = CodeError;

    /// Reads what people type: in any case, hyphens and white space anywhere, I and L for 1, O for 0.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let mut code = Self { symbols: [0; SYMBOLS] };
        let mut count = 0;
        for character in text.chars().take(CHARACTERS_MAX).filter(|c| *c != '-' && !c.is_whitespace()) {
            let value = value(character).ok_or(CodeError::Symbol)?;
            if let Some(symbol) = code.symbols.get_mut(count) {
                *symbol = value;
            }
            count += 1;
        }
        if count != SYMBOLS {
            return Err(CodeError::Length(count));
        }
        if check_symbols(code.symbols.iter().take(SECRET_SYMBOLS))
            .iter()
            .ne(code.symbols.iter().skip(SECRET_SYMBOLS))
        {
            return Err(CodeError::Check);
        }
        Ok(code)
    }
}

/// The value of a character as people write it.
fn value(character: char) -> Option<u8> {
    let symbol = match character.to_ascii_uppercase() {
        'I' | 'L' => b'1',
        'O' => b'0',
        other => u8::try_from(other).ok()?,
    };
    ALPHABET.iter().position(|known| *known == symbol).and_then(|at| u8::try_from(at).ok())
}

/// The remainder of the symbols, as a polynomial over the field of 32 elements, by (x - 1)(x - α): a Reed-Solomon code of
/// distance 3 for up to 31 symbols, so that no two different codes differ in fewer than three places.
fn check_symbols<'a>(symbols: impl Iterator<Item = &'a u8>) -> [u8; 2] {
    let [mut high, mut low] = [0, 0];
    for symbol in symbols {
        let carry = symbol ^ high;
        // (x - 1)(x - α) = x² + (1 + α)x + α
        high = low ^ carry ^ times_alpha(carry);
        low = times_alpha(carry);
    }
    [high, low]
}

/// Times α in the field of 32 elements, where α⁵ = α² + 1.
const fn times_alpha(value: u8) -> u8 {
    let shifted = value << 1;
    if shifted & 0b10_0000 == 0 { shifted } else { shifted ^ 0b10_0101 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(seed: u8) -> Code {
        Code::from_random(&[seed; RANDOM_OCTETS])
    }

    #[test]
    fn a_code_reads_back_as_people_write_it() {
        let made = Code::from_random(b"twelve bytes");
        let text = made.to_text();
        assert_eq!(text.len(), 23);
        assert_eq!(text.matches('-').count(), 3);
        let spaced = text.replace('-', " ");
        let variants = [
            text.to_string(),
            text.to_lowercase(),
            text.replace('-', ""),
            format!("  {spaced}\r\n"),
            text.replace('1', "I").replace('0', "O"),
            text.replace('1', "l").replace('0', "o"),
        ];
        for variant in variants {
            assert_eq!(variant.parse::<Code>().as_ref(), Ok(&made), "{variant}");
        }
        assert_eq!(format!("{made:?}"), "Code(…)");
    }

    #[test]
    fn what_is_no_code_is_told_why() {
        let text = code(3).to_text();
        let table = [
            (String::new(), CodeError::Length(0)),
            (text[..22].to_owned(), CodeError::Length(19)),
            (format!("{}7", *text), CodeError::Length(21)),
            ("7".repeat(10_000), CodeError::Length(CHARACTERS_MAX)),
            (text.replacen('-', "_", 1), CodeError::Symbol),
            (format!("U{}", &text[1..]), CodeError::Symbol),
            (format!("é{}", &text[1..]), CodeError::Symbol),
            (format!("{}{}", if text.starts_with('7') { '8' } else { '7' }, &text[1..]), CodeError::Check),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Code>().unwrap_err(), error, "{text:.60}");
        }
    }

    #[test]
    fn every_wrong_symbol_and_every_two_shows() {
        let good = Code::from_random(b"any old bits");
        let agrees = |code: &Code| code.to_text().parse::<Code>().is_ok();
        assert!(agrees(&good));
        for first in 0..SYMBOLS {
            for by in 1..32 {
                let mut one = good.clone();
                one.symbols[first] ^= by;
                assert!(!agrees(&one), "{first} {by}");
            }
            for second in 0..first {
                let mut swapped = good.clone();
                swapped.symbols.swap(first, second);
                assert_eq!(agrees(&swapped), swapped == good, "{first} {second}");
                for by in [(1, 1), (1, 2), (7, 19), (31, 16)] {
                    let mut two = good.clone();
                    two.symbols[first] ^= by.0;
                    two.symbols[second] ^= by.1;
                    assert!(!agrees(&two), "{first} {second} {by:?}");
                }
            }
        }
    }

    #[test]
    fn different_bits_are_different_codes_and_hashes() {
        let (a, b) = (code(1), code(2));
        assert_ne!(a.hash(), b.hash());
        assert_eq!(a.hash(), a.to_text().to_lowercase().parse::<Code>().unwrap().hash());
        let mut flipped = [1; RANDOM_OCTETS];
        flipped[11] ^= 1;
        assert_ne!(Code::from_random(&flipped).hash(), a.hash(), "the last bit counts");
        flipped = [1; RANDOM_OCTETS];
        flipped[1] ^= 1;
        assert_ne!(Code::from_random(&flipped).hash(), a.hash(), "90 bits reach to here");
    }

    proptest! {
        #[test]
        fn any_bits_make_a_code_that_reads_back(random: [u8; RANDOM_OCTETS]) {
            let code = Code::from_random(&random);
            prop_assert_eq!(code.to_text().parse::<Code>(), Ok(code));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            if let Ok(code) = text.parse::<Code>() {
                prop_assert_eq!(code.to_text().parse::<Code>(), Ok(code));
            }
        }
    }
}
