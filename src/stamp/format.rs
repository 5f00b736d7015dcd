//! The stamp and its cancellation: the field value, the bytes that are signed, the bindings (SPEC.md §3).
//!
//! A value of these types is well-formed; no signature has been looked at.

use super::{
    STAMP_FIELD,
    fold::Folder,
    selector::Selector,
    taglist::{TagList, TagListError, base64, decimal},
};
use crate::{
    address::{Address, Domain},
    clock::DAY_S,
    ledger::{StampCandidate, StampId, StampKey},
    money::{Currency, Micros, STAMP_VALUE_MAX},
};

/// Octets of a field's value, not counting CR and LF (SPEC.md §3).
pub const VALUE_OCTETS_MAX: usize = 2_048;
/// The greatest time a stamp can carry, in Unix seconds: 15 digits (SPEC.md §3).
pub const TIME_MAX: u64 = 999_999_999_999_999;
/// Tags whose values are base64, in which white space is ignored.
const BASE64_TAGS: &[&str] = &["id", "k", "b", "r", "f", "h"];

/// Why a field is `malformed` (SPEC.md §3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is longer than [`VALUE_OCTETS_MAX`].
    #[error("the stamp is longer than {VALUE_OCTETS_MAX} octets")]
    TooLong,
    /// It is not a tag list.
    #[error("the stamp is no tag list: {0}")]
    TagList(#[from] TagListError),
    /// A tag is missing.
    #[error("the stamp has no tag `{0}`")]
    Missing(&'static str),
    /// A tag's value is not of its form.
    #[error("the stamp's tag `{0}` has a value that is not of its form")]
    Value(&'static str),
}

/// Terms no stamp can have: a stamp of them would be malformed for everybody who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// The value is not 1 to 10^12 micros.
    #[error("a stamp's value is 1 to {} micros", STAMP_VALUE_MAX.get())]
    Value,
    /// The expiry has more than 15 digits.
    #[error("a stamp's expiry has at most 15 digits")]
    Expiry,
}

/// What an office promises with a stamp: the bytes it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `i`: the post office.
    pub office: Domain,
    /// `s`: which of the office's keys signs.
    pub selector: Selector,
    /// `id`: chosen by the buyer, unique within the office.
    pub id: StampId,
    /// `n`: 1 to 10^12 micros.
    pub value: Micros,
    /// `c`.
    pub currency: Currency,
    /// `d`: the domain that alone may redeem it.
    pub audience: Domain,
    /// `x`: Unix seconds, at most [`TIME_MAX`].
    pub expiry: u64,
    /// `k`: the holder's public key, fresh for every stamp. Any 32 bytes; a bad key only fails its own signature.
    pub holder: [u8; 32],
}

impl Terms {
    /// Whether a stamp can have these terms.
    ///
    /// # Errors
    /// [`TermsError`] says what is out of range.
    pub fn check(&self) -> Result<(), TermsError> {
        if self.value == Micros::ZERO || self.value > STAMP_VALUE_MAX {
            return Err(TermsError::Value);
        }
        if self.expiry > TIME_MAX { Err(TermsError::Expiry) } else { Ok(()) }
    }

    /// The stamp bytes of SPEC.md §3, which the office signs.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(b"postage-stamp-v1\0");
        push_text(&mut bytes, self.office.as_str());
        push_text(&mut bytes, self.selector.as_str());
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.value.get().to_be_bytes());
        push_text(&mut bytes, self.currency.as_str());
        push_text(&mut bytes, self.audience.as_str());
        bytes.extend_from_slice(&self.expiry.to_be_bytes());
        bytes.extend_from_slice(&self.holder);
        bytes
    }
}

/// `lp(s)`: no text here is longer than a domain, so its length fits in 16 bits.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// A stamp as it is sold: terms and the office's signature, which may or may not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// What the office promised.
    pub terms: Terms,
    /// `b`.
    pub signature: [u8; 64],
}

impl Stamp {
    /// BLAKE3(stamp bytes || b): names exactly this stamp, in the cancellation and in the ledger.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        *blake3::Hasher::new()
            .update(&self.terms.signed_bytes())
            .update(&self.signature)
            .finalize()
            .as_bytes()
    }

    /// What it is redeemed under.
    #[must_use]
    pub fn key(&self) -> StampKey {
        // A day beyond u32 is thousands of years ahead: never good, and the office and id still tell stamps apart.
        let day = u32::try_from(self.terms.expiry / DAY_S).unwrap_or(u32::MAX);
        StampKey { day, office: self.terms.office.clone(), id: self.terms.id }
    }

    /// What the ledger is asked about; `good` when every check but the ledger's was passed.
    #[must_use]
    pub fn candidate(&self, good: bool) -> StampCandidate {
        let mut fingerprint = [0; 16];
        fingerprint.iter_mut().zip(self.fingerprint()).for_each(|(to, from)| *to = from);
        StampCandidate {
            key: self.key(),
            value: self.terms.value,
            signature: self.signature,
            fingerprint,
            good,
            field: None,
        }
    }
}

/// The holder's signature that binds a stamp to a sender, a recipient and a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    /// `t`: Unix seconds, at most [`TIME_MAX`].
    pub time: u64,
    /// `r`: [`recipient_binding`].
    pub recipient: [u8; 16],
    /// `f`: [`sender_binding`].
    pub sender: [u8; 16],
    /// `h`.
    pub signature: [u8; 64],
}

impl Cancellation {
    /// The cancellation bytes of SPEC.md §3, which the holder signs.
    #[must_use]
    pub fn signed_bytes(&self, stamp: &Stamp) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(b"postage-cancel-v1\0");
        bytes.extend_from_slice(&stamp.fingerprint());
        bytes.extend_from_slice(&self.time.to_be_bytes());
        bytes.extend_from_slice(&self.recipient);
        bytes.extend_from_slice(&self.sender);
        bytes
    }
}

/// A stamp on a letter: what one Postage-Stamp field says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelledStamp {
    /// The stamp.
    pub stamp: Stamp,
    /// To whom it was written out.
    pub cancellation: Cancellation,
}

impl CancelledStamp {
    /// Reads a field's value: the octets after the colon, folded or not. A space there is not counted, for some MTAs
    /// show it and others do not.
    ///
    /// # Errors
    /// [`Malformed`], which a gate reports as the word `malformed`.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let octets = value.iter().filter(|&&b| b != b'\r' && b != b'\n').count();
        if octets > VALUE_OCTETS_MAX {
            return Err(Malformed::TooLong);
        }
        let tags = Tags(TagList::parse(value, BASE64_TAGS)?);
        tags.read("v", |text| (text == "1").then_some(()))?;
        let terms = Terms {
            office: tags.read("i", |text| text.parse().ok())?,
            selector: tags.read("s", |text| text.parse().ok())?,
            id: tags.read("id", base64)?,
            value: tags.read("n", value_of)?,
            currency: tags.read("c", |text| text.parse().ok())?,
            audience: tags.read("d", |text| text.parse().ok())?,
            expiry: tags.read("x", decimal)?,
            holder: tags.read("k", base64)?,
        };
        let stamp = Stamp { terms, signature: tags.read("b", base64)? };
        let cancellation = Cancellation {
            time: tags.read("t", decimal)?,
            recipient: tags.read("r", base64)?,
            sender: tags.read("f", base64)?,
            signature: tags.read("h", base64)?,
        };
        Ok(Self { stamp, cancellation })
    }

    /// The field's value, folded with CRLF and a space at 76 columns; it begins behind `Postage-Stamp:` and a space.
    #[must_use]
    pub fn to_field_value(&self) -> String {
        let (stamp, cancellation) = (&self.stamp, &self.cancellation);
        let terms = &stamp.terms;
        let mut folder = Folder::new(STAMP_FIELD.len() + ": ".len());
        folder.tag("v", "1");
        folder.tag("i", terms.office.as_str());
        folder.tag("s", terms.selector.as_str());
        folder.base64("id", &terms.id);
        folder.tag("n", &terms.value.get().to_string());
        folder.tag("c", terms.currency.as_str());
        folder.tag("d", terms.audience.as_str());
        folder.tag("x", &terms.expiry.to_string());
        folder.base64("k", &terms.holder);
        folder.base64("b", &stamp.signature);
        folder.tag("t", &cancellation.time.to_string());
        folder.base64("r", &cancellation.recipient);
        folder.base64("f", &cancellation.sender);
        folder.base64("h", &cancellation.signature);
        folder.finish()
    }
}

/// `n`: 1 to 10^12.
pub(super) fn value_of(text: &str) -> Option<Micros> {
    Micros::new(decimal(text)?).filter(|&value| value != Micros::ZERO && value <= STAMP_VALUE_MAX)
}

struct Tags<'a>(TagList<'a>);

impl Tags<'_> {
    fn read<T>(&self, name: &'static str, reader: impl FnOnce(&str) -> Option<T>) -> Result<T, Malformed> {
        let text = self.0.get(name).ok_or(Malformed::Missing(name))?;
        reader(text).ok_or(Malformed::Value(name))
    }
}

/// `r`: binds a stamp to the envelope's recipient.
#[must_use]
pub fn recipient_binding(id: &StampId, recipient: &Address) -> [u8; 16] {
    binding(b"postage-rcpt-v1\0", id, recipient)
}

/// `f`: binds a stamp to the letter's author.
#[must_use]
pub fn sender_binding(id: &StampId, author: &Address) -> [u8; 16] {
    binding(b"postage-from-v1\0", id, author)
}

fn binding(context: &[u8], id: &StampId, address: &Address) -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut hasher = blake3::Hasher::new();
    hasher.update(context).update(id).update(&address.to_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
