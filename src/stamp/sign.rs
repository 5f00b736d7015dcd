//! Ed25519 keys: those of offices, holders, accounts and audit chains, and how strictly a signature is checked.
//!
//! Secret keys leave memory when dropped and are never shown. Verification is RFC 8032 without cofactor,
//! S < L, without small-order or non-canonical points (SPEC.md §3), so that all who check agree.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

use super::{
    format::{
        Cancellation, CancelledStamp, Stamp, TIME_MAX, Terms, TermsError, recipient_binding, sender_binding,
    },
    taglist::base64,
};
use crate::{address::Address, ledger::AccountKey};

/// A secret Ed25519 key. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// Why a stamp cannot be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// The stamp's `k` is another key.
    #[error("the stamp belongs to another key; cancel it with the key it was bought for")]
    WrongHolder,
    /// The time has more than 15 digits.
    #[error("the time of a cancellation has at most 15 digits")]
    Time,
}

impl SecretKey {
    /// The key of a seed of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public key, which may be published.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature over these bytes. Their first words must say what they are for, as all in SPEC.md do.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }

    /// As the office's key: makes a stamp of these terms.
    ///
    /// # Errors
    /// [`TermsError`] for terms that no stamp can have.
    pub fn sell(&self, terms: Terms) -> Result<Stamp, TermsError> {
        terms.check()?;
        let signature = self.sign(&terms.signed_bytes());
        Ok(Stamp { terms, signature })
    }

    /// As the stamp's holder: writes it out to a recipient, from an author, at a time (Unix seconds).
    ///
    /// # Errors
    /// [`CancelError`] when the stamp belongs to another key or the time is no time.
    pub fn cancel(
        &self,
        stamp: Stamp,
        recipient: &Address,
        author: &Address,
        time: u64,
    ) -> Result<CancelledStamp, CancelError> {
        if stamp.terms.holder != self.public().to_bytes() {
            return Err(CancelError::WrongHolder);
        }
        if time > TIME_MAX {
            return Err(CancelError::Time);
        }
        let id = &stamp.terms.id;
        let mut cancellation = Cancellation {
            time,
            recipient: recipient_binding(id, recipient),
            sender: sender_binding(id, author),
            signature: [0; 64],
        };
        cancellation.signature = self.sign(&cancellation.signed_bytes(&stamp));
        Ok(CancelledStamp { stamp, cancellation })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret key of {}", self.public())
    }
}

/// A public Ed25519 key, checked and decompressed once: keep it where many signatures are checked with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// 32 bytes are no key that a signature may be checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no Ed25519 public key: not a point in canonical form, or one of small order")]
pub struct KeyError;

impl PublicKey {
    /// The key of 32 bytes.
    ///
    /// # Errors
    /// [`KeyError`] when they are no point, not in canonical form, or a point of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_canonical(bytes) {
            return Err(KeyError);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError)?;
        if key.is_weak() { Err(KeyError) } else { Ok(Self(key)) }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Whether the signature over these bytes is this key's.
    #[must_use]
    pub fn verify(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        // Strictness without dalek's own `verify_strict`, which decompresses R only to see whether it is of small
        // order: R is compared with a computed point in canonical form, so its bytes tell, and a sixth of the time is saved.
        let [r, _] = signature.as_chunks::<32>().0 else { return false };
        !is_small_order(r) && self.0.verify(bytes, &Signature::from_bytes(signature)).is_ok()
    }
}

/// The y coordinates of the eight points of small order: of order 1, 2, 4, and twice 8.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    little_endian(1, 0, 0, 0),
    little_endian(0xffff_ffff_ffff_ffec, u64::MAX, u64::MAX, 0x7fff_ffff_ffff_ffff),
    little_endian(0, 0, 0, 0),
    little_endian(0x4fd8_4d3d_706a_17c7, 0x0f67_100d_760b_3cba, 0xc6cc_392c_fa53_202a, 0x7a03_ac92_77fd_c74e),
    little_endian(0xb027_b2c2_8f95_e826, 0xf098_eff2_89f4_c345, 0x3933_c6d3_05ac_dfd5, 0x05fc_536d_8802_38b1),
];

const fn little_endian(a: u64, b: u64, c: u64, d: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let words = [a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), d.to_le_bytes()];
    bytes.copy_from_slice(words.as_flattened());
    bytes
}

/// Whether a point in canonical form is of small order, whatever the sign of its x.
fn is_small_order(point: &[u8; 32]) -> bool {
    let mut y = *point;
    if let Some(high) = y.last_mut() {
        *high &= 0x7f;
    }
    SMALL_ORDER_Y.contains(&y)
}

/// Whether y is below 2^255 - 19. A sign bit at x = 0 needs no look: both such points are of small order.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    !(high & 0x7f == 0x7f && middle.iter().all(|&b| b == 0xff) && *low >= 0xed)
}

impl From<PublicKey> for AccountKey {
    fn from(key: PublicKey) -> Self {
        Self(key.to_bytes())
    }
}

impl TryFrom<AccountKey> for PublicKey {
    type Error = KeyError;

    fn try_from(key: AccountKey) -> Result<Self, KeyError> {
        Self::from_bytes(&key.0)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads base64url without padding.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        base64(text).ok_or(KeyError).and_then(|bytes| Self::from_bytes(&bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BASE64URL_NOPAD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// One for each point of small order as R: the message's one octet, R and S. A check without the small-order rule takes them.
    const SMALL_ORDER_SIGNATURES: [(u8, &str); 8] = [
        (
            2,
            "010000000000000000000000000000000000000000000000000000000000000085254cee7f84ff563b308d15b3a2b48d455c5ec4f675101ebcd31f11a4d4da06",
        ),
        (
            1,
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a476d0bbb017628f5b207be97979fba9fd625d053d3ed5aad0efb6d262d0ebb09",
        ),
        (
            2,
            "00000000000000000000000000000000000000000000000000000000000000801e5849814b490085015be9e7d999a03744d558d32fa6997d3786725a0562fb0e",
        ),
        (
            2,
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05049ae0bb140c2b2b4b50659f3251a03fcc78664b207dc4553bc12013136f1908",
        ),
        (
            2,
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7fbf582d66192ddfe1db657e9b7b72a42bac67117f4fa9d68115aa77f1d9fa3d0d",
        ),
        (
            22,
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc857a4fad524dbfee06e370306fe4631571ffc135e83c7ac164847ed57887574b09",
        ),
        (
            0,
            "00000000000000000000000000000000000000000000000000000000000000003db6411a48d1a76182c9b22aebee37b619ee7745a8baaf94c71747ee41499e04",
        ),
        (
            2,
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03faa5e99c163412b373a2cd41459e2a80485f4ee3f7e513de86999de97ba201830e",
        ),
    ];

    #[test]
    fn a_signature_whose_r_is_of_small_order_is_refused() {
        let bytes = hex("800d37cffa8d4c57c727891e79792c77457a5eebc738189d8de39dfb31f76420");
        let ours = PublicKey::from_bytes(&bytes).unwrap();
        let theirs = VerifyingKey::from_bytes(&bytes).unwrap();
        for (message, text) in SMALL_ORDER_SIGNATURES {
            let signature = hex(text);
            assert!(
                theirs.verify(&[message], &Signature::from_bytes(&signature)).is_ok(),
                "{text} shows nothing"
            );
            assert!(theirs.verify_strict(&[message], &Signature::from_bytes(&signature)).is_err());
            assert!(!ours.verify(&[message], &signature), "{text}");
        }
    }

    #[test]
    fn keys_of_small_order_are_no_keys() {
        for y in SMALL_ORDER_Y {
            let mut negative = y;
            negative[31] |= 0x80;
            for bytes in [y, negative] {
                assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError), "{bytes:02x?}");
            }
        }
    }

    #[test]
    fn keys_in_another_form_are_no_keys() {
        // y = p + 0 to p + 18, both signs: the second way to write y = 0 to 18.
        for low in 0xed..=0xff_u8 {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError), "{bytes:02x?}");
            }
        }
        assert!(is_canonical(&hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")));
    }

    #[test]
    fn a_secret_key_does_not_show_itself() {
        let key = SecretKey::from_seed(&[7; 32]);
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("secret key of {}", key.public()));
        assert!(!shown.contains(&BASE64URL_NOPAD.encode(&[7; 32])));
    }

    #[test]
    fn keys_are_written_as_they_are_read() {
        let key = SecretKey::from_seed(&[7; 32]).public();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(PublicKey::try_from(AccountKey::from(key)), Ok(key));
        for bad in ["", "AAAA", &format!("{key}="), &format!("{key}A"), &"_".repeat(43)] {
            assert_eq!(bad.parse::<PublicKey>(), Err(KeyError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn we_take_what_dalek_takes_strictly(
            seed: [u8; 32], message: Vec<u8>, at in 0_usize..64, flip in 0_u8..=255,
        ) {
            let key = SecretKey::from_seed(&seed);
            let mut signature = key.sign(&message);
            prop_assert!(key.public().verify(&message, &signature));
            signature[at] ^= flip;
            let theirs = key.public().0.verify_strict(&message, &Signature::from_bytes(&signature)).is_ok();
            prop_assert_eq!(key.public().verify(&message, &signature), theirs);
            prop_assert_eq!(theirs, flip == 0);
        }

        #[test]
        fn any_octets_as_key_and_signature(bytes: [u8; 32], signature: [[u8; 32]; 2], message: Vec<u8>) {
            let signature = signature.as_flattened().try_into().unwrap();
            if let Ok(key) = PublicKey::from_bytes(&bytes) {
                prop_assert!(!key.verify(&message, &signature));
                prop_assert_eq!(key.to_bytes(), bytes);
            }
        }
    }
}
