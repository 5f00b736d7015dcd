//! Ed25519 keys: those of offices, holders, accounts and audit chains, and how strictly a signature is checked.
//!
//! Secret keys leave memory when dropped and are never shown. Verification is RFC 8032 without cofactor,
//! S < L, without small-order or non-canonical points (SPEC.md §3), so that all who check agree.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

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
        self.0.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok()
    }
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
