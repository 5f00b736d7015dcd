//! The one secret of a wallet, and the keys that come of it.
//!
//! The account's key and every stamp's own key are derived from 32 random bytes, so that stamps need no secret of
//! their own in the file and a copy of the seed is a copy of the money on the account. None of it is ever shown.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::{
    address::Domain,
    ledger::StampId,
    stamp::{SecretKey, taglist},
};

/// Contexts of BLAKE3's key derivation: they keep the keys apart, and changing one loses every key made with it.
const ACCOUNT_CONTEXT: &str = "farthing wallet 1: the account's key";
const HOLDER_CONTEXT: &str = "farthing wallet 1: the key of one stamp, by id and office";

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
    }

    #[test]
    fn a_damaged_seed_is_not_shown() {
        let error = serde_json::from_str::<Seed>("\"secretsecret\"").err().unwrap().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
