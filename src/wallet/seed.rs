//! The one secret of a wallet, and the keys that come of it.
//!
//! The account's key and every stamp's own key are derived from 32 random bytes, so that stamps need no secret of
//! their own in the file and a copy of the seed is a copy of the money on the account. None of it is ever shown.

use std::fmt;

use bip39::{Language, Mnemonic};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::{
    address::Domain,
    ledger::StampId,
    stamp::{SecretKey, taglist},
    voucher::Code,
};

/// Contexts of BLAKE3's key derivation: they keep the keys apart, and changing one loses every key made with it.
const ACCOUNT_CONTEXT: &str = "farthing wallet 1: the account's key";
const HOLDER_CONTEXT: &str = "farthing wallet 1: the key of one stamp, by id and office";
const VOUCHER_CONTEXT: &str = "farthing wallet 1: the seed of a voucher's own account";

/// Why words are no seed. They themselves do not stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// There are not 24 of them.
    #[error("a wallet's backup has 24 words; some are missing, or too many")]
    Count,
    /// One of them is in no list.
    #[error("word {0} is not one of the list; look how it is written")]
    Unknown(usize),
    /// Each is a word, but together they are none that a wallet gave out.
    #[error("these words do not fit together: one is wrong, or two have changed places")]
    Checksum,
}

impl WordsError {
    const fn of(error: bip39::Error) -> Self {
        match error {
            bip39::Error::UnknownWord(index) => Self::Unknown(index + 1),
            bip39::Error::BadWordCount(_) | bip39::Error::BadEntropyBitCount(_) => Self::Count,
            _ => Self::Checksum,
        }
    }
}

/// 32 random bytes. They leave memory when dropped; there is no way to print them.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A new seed.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        Ok(Self(seed))
    }

    /// The seed of the account that a voucher's code opens by itself, for who has nothing else to keep a key in: whoever
    /// has the code has what is left on it.
    pub fn of_voucher(code: &Code) -> Self {
        Self(Zeroizing::new(blake3::derive_key(VOUCHER_CONTEXT, code.to_text().as_bytes())))
    }

    /// The seed as 24 words of BIP-39's English list, checksum and all: a copy on paper.
    pub fn words(&self) -> Option<Zeroizing<String>> {
        let mnemonic = Zeroizing::new(Mnemonic::from_entropy(self.0.as_ref()).ok()?);
        Some(Zeroizing::new(mnemonic.to_string()))
    }

    /// The seed of its words, in any case, with any white space and line numbers between them.
    pub fn from_words(words: &str) -> Result<Self, WordsError> {
        let words = words.split_whitespace().filter(|word| !word.bytes().all(|b| b.is_ascii_digit()));
        let words = Zeroizing::new(words.collect::<Vec<_>>().join(" ").to_ascii_lowercase());
        let mnemonic =
            Zeroizing::new(Mnemonic::parse_in_normalized(Language::English, &words).map_err(WordsError::of)?);
        let (entropy, octets) = mnemonic.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let seed = entropy.get(..octets).and_then(|seed| seed.try_into().ok());
        seed.map(|seed| Self(Zeroizing::new(seed))).ok_or(WordsError::Count)
    }

    /// The key of the wallet's account, the same at every office.
    pub fn account(&self) -> SecretKey {
        SecretKey::from_seed(&Zeroizing::new(blake3::derive_key(ACCOUNT_CONTEXT, self.0.as_ref())))
    }

    /// The key `k` of one stamp (SPEC.md §3).
    pub fn holder(&self, office: &Domain, id: &StampId) -> SecretKey {
        let mut material = Zeroizing::new(Vec::with_capacity(32 + 16 + 253));
        material.extend_from_slice(self.0.as_ref());
        material.extend_from_slice(id);
        material.extend_from_slice(office.as_str().as_bytes());
        SecretKey::from_seed(&Zeroizing::new(blake3::derive_key(HOLDER_CONTEXT, &material)))
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&Zeroizing::new(BASE64URL_NOPAD.encode(self.0.as_ref())))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Seed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a seed")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Seed, E> {
                // The text itself must not come into an error.
                taglist::base64(text)
                    .map(|seed| Seed(Zeroizing::new(seed)))
                    .ok_or_else(|| E::custom("the seed is damaged"))
            }
        }
        d.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(byte: u8) -> Seed {
        Seed(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn keys_come_of_the_seed_alone_and_differ_by_what_they_are_for() {
        let (a, b): (Domain, Domain) = ("a.example".parse().unwrap(), "b.example".parse().unwrap());
        let key = |key: SecretKey| key.public().to_bytes();
        assert_eq!(key(seed(1).account()), key(seed(1).account()));
        assert_eq!(key(seed(1).holder(&a, &[1; 16])), key(seed(1).holder(&a, &[1; 16])));
        let all = [
            key(seed(1).account()),
            key(seed(2).account()),
            key(seed(1).holder(&a, &[1; 16])),
            key(seed(1).holder(&a, &[2; 16])),
            key(seed(1).holder(&b, &[1; 16])),
            key(seed(2).holder(&a, &[1; 16])),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn what_a_wallet_of_today_derives_a_later_one_must_derive_too() {
        let office: Domain = "a.example".parse().unwrap();
        assert_eq!(seed(7).account().public().to_string(), "HjpDS1sUwV1g8maR4GapOkKFZ8fu-KtN9lenDEYuH4o");
        assert_eq!(
            seed(7).holder(&office, &[1; 16]).public().to_string(),
            "b_mUtzd9PgfdkQabgLMCg2Vkq6IUuA_dHw2dLA1aDBE"
        );
        let typed = "wnfzf-d637g jc9hk-jc6fb".parse().unwrap();
        let account = Seed::of_voucher(&typed).account().public().to_string();
        assert_eq!(account, "lVpK0AK-I7iNZsVjesPQAY97mYRlKBYziJC71BlOC70");
    }

    #[test]
    fn words_on_paper_are_the_seed_again() {
        let words = seed(7).words().unwrap();
        assert_eq!(words.split(' ').count(), 24);
        let again = Seed::from_words(&format!(" 1 {}\n", words.to_uppercase().replace(' ', "\n "))).unwrap();
        assert_eq!(again.account().public().to_bytes(), seed(7).account().public().to_bytes());
        // The vector of BIP-39 for 32 octets of 0x7f.
        assert_eq!(
            *seed(0x7f).words().unwrap(),
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful \
             legal winner thank year wave sausage worth title"
        );
        let fault = |words: &str| Seed::from_words(words).err().unwrap();
        let (first, rest) = words.split_once(' ').unwrap();
        assert_eq!(fault(rest), WordsError::Count);
        assert_eq!(fault(""), WordsError::Count);
        assert_eq!(
            fault("legal winner thank year wave sausage worth useful legal winner thank yellow"),
            WordsError::Count
        );
        assert_eq!(
            fault(&format!("{first} farthingale {}", rest.split_once(' ').unwrap().1)),
            WordsError::Unknown(2)
        );
        assert_eq!(fault(&words.replacen(first, "zoo", 1)), WordsError::Checksum);
    }

    #[test]
    fn a_damaged_seed_is_not_shown() {
        let error = serde_json::from_str::<Seed>("\"secretsecret\"").err().unwrap().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
