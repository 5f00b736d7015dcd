//! Freepost addresses: `bob+LABEL.CODE@b.example` takes mail without postage (SPEC.md §9).
//!
//! The code proves that the recipient's site made the address; whether the label was revoked, the book knows.

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;

use super::tokens::{TokenKey, base32};
use crate::{address::Address, clock::DAY_S};

/// Characters of a label.
pub const LABEL_CHARS_MAX: usize = 24;
const DAY_OCTETS: usize = 2;
const MAC_OCTETS: usize = 8;

/// Why there is no such freepost address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreepostError {
    /// The label is not of its form.
    #[error(
        "a label is 1 to {LABEL_CHARS_MAX} of a-z, 0-9, `.`, `-` and `_`, with no dot at its end and no two together"
    )]
    Label,
    /// The owner's address takes no detail: a quoted local part, or one too long.
    #[error("this address cannot be given a +detail")]
    Owner,
}

/// A freepost address as read; only [`Freepost::is_genuine`] says whether it is one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freepost {
    owner: Address,
    label: String,
    expiry_day: u16,
    mac: [u8; MAC_OCTETS],
}

impl Freepost {
    /// The freepost address of an owner for a label, valid to the end of that UTC day (days since 1970-01-01; 0: for ever).
    ///
    /// # Errors
    /// [`FreepostError`] for a bad label, or an owner that can have no such address.
    pub fn make(
        key: &TokenKey,
        owner: &Address,
        label: &str,
        expiry_day: u16,
    ) -> Result<Self, FreepostError> {
        let label = label.to_ascii_lowercase();
        // Two dots together, one of them perhaps the code's, would be no dot-atom and so no address.
        if !is_label(label.as_bytes()) || label.ends_with('.') || label.contains("..") {
            return Err(FreepostError::Label);
        }
        let mac = Self::mac(key, owner, &label, expiry_day);
        let freepost = Self { owner: owner.clone(), label, expiry_day, mac };
        freepost.address().ok_or(FreepostError::Owner)?;
        Ok(freepost)
    }

    /// Reads an address of that form: the label stands behind the last `+`, the code behind the last dot.
    #[must_use]
    pub fn parse(address: &Address) -> Option<Self> {
        let local = address.local();
        let plus = local.iter().rposition(|&b| b == b'+')?;
        let (owner, detail) = (local.get(..plus)?, local.get(plus + 1..)?);
        let dot = detail.iter().rposition(|&b| b == b'.')?;
        let (label, code) = (detail.get(..dot)?, detail.get(dot + 1..)?);
        if !is_label(label) {
            return None;
        }
        let code: [u8; DAY_OCTETS + MAC_OCTETS] = base32(code)?;
        let (day, mac) = code.split_first_chunk()?;
        Some(Self {
            owner: Address::from_parts(owner, address.domain().clone())?,
            label: std::str::from_utf8(label).ok()?.to_owned(),
            expiry_day: u16::from_be_bytes(*day),
            mac: mac.try_into().ok()?,
        })
    }

    /// Whose mail it takes: the address before the last `+`.
    #[must_use]
    pub const fn owner(&self) -> &Address {
        &self.owner
    }

    /// What it was made for, in lower case; revoked by it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The last UTC day it is good for, in days since 1970-01-01; 0: for ever.
    #[must_use]
    pub const fn expiry_day(&self) -> u16 {
        self.expiry_day
    }

    /// Whether its time is over at `now`, in Unix seconds.
    #[must_use]
    pub fn has_expired(&self, now: u64) -> bool {
        self.expiry_day != 0 && now / DAY_S > u64::from(self.expiry_day)
    }

    /// Whether one of the site's keys made it. Takes the same time whatever differs.
    #[must_use]
    pub fn is_genuine(&self, keys: &[TokenKey]) -> bool {
        keys.iter()
            .any(|key| Self::mac(key, &self.owner, &self.label, self.expiry_day).ct_eq(&self.mac).into())
    }

    /// The address to give away; `None` when the owner's local part takes no detail.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        let code = [self.expiry_day.to_be_bytes().as_slice(), &self.mac].concat();
        let code = BASE32_NOPAD.encode(&code).to_ascii_lowercase();
        let local = [self.owner.local(), b"+", self.label.as_bytes(), b".", code.as_bytes()].concat();
        Address::from_parts(&local, self.owner.domain().clone())
    }

    fn mac(key: &TokenKey, owner: &Address, label: &str, expiry_day: u16) -> [u8; MAC_OCTETS] {
        key.mac(&[
            b"postage-freepost-v1\0",
            &owner.to_bytes(),
            b"\0",
            label.as_bytes(),
            &expiry_day.to_be_bytes(),
        ])
    }
}

fn is_label(label: &[u8]) -> bool {
    (1..=LABEL_CHARS_MAX).contains(&label.len())
        && label.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> TokenKey {
        TokenKey::new([1; 32])
    }

    fn bob() -> Address {
        "bob@b.example".parse().unwrap()
    }

    #[test]
    fn labels() {
        let most = "a".repeat(LABEL_CHARS_MAX);
        for (label, kept) in [
            ("shop", "shop"),
            ("Shop-1_x", "shop-1_x"),
            ("news.letter", "news.letter"),
            (".a", ".a"),
            (&most, &most),
        ] {
            let made = Freepost::make(&key(), &bob(), label, 0).unwrap();
            assert_eq!(made.label(), kept);
            assert_eq!(Freepost::parse(&made.address().unwrap()), Some(made));
        }
        let over = "a".repeat(LABEL_CHARS_MAX + 1);
        for bad in ["", "a b", "a+b", "a.", "a..b", "é", &over] {
            assert_eq!(Freepost::make(&key(), &bob(), bad, 0), Err(FreepostError::Label), "{bad}");
        }
    }

    #[test]
    fn owners() {
        let quoted = Address::parse(b"\"bob smith\"@b.example").unwrap();
        assert_eq!(Freepost::make(&key(), &quoted, "shop", 0), Err(FreepostError::Owner));
        let detailed: Address = "bob+x@b.example".parse().unwrap();
        let made = Freepost::make(&key(), &detailed, "shop", 0).unwrap();
        let read = Freepost::parse(&made.address().unwrap()).unwrap();
        assert_eq!((read.owner(), read.label()), (&detailed, "shop"), "the label stands behind the last +");
    }

    #[test]
    fn a_code_is_good_for_one_owner_one_label_and_one_day() {
        let keys = [TokenKey::new([9; 32]), key()];
        let made = Freepost::make(&key(), &bob(), "shop", 20_900).unwrap();
        assert!(made.is_genuine(&keys));
        assert!(!made.is_genuine(&keys[..1]) && !made.is_genuine(&[]));
        let others = [
            Freepost { owner: "carol@b.example".parse().unwrap(), ..made.clone() },
            Freepost { owner: "bob@c.example".parse().unwrap(), ..made.clone() },
            Freepost { label: "shops".into(), ..made.clone() },
            Freepost { expiry_day: 0, ..made.clone() },
            Freepost { expiry_day: 20_901, ..made.clone() },
        ];
        for other in others {
            assert!(!other.is_genuine(&keys), "{other:?}");
        }
    }

    #[test]
    fn it_ends_with_its_day() {
        let made = Freepost::make(&key(), &bob(), "shop", 20_900).unwrap();
        assert!(!made.has_expired(20_901 * DAY_S - 1));
        assert!(made.has_expired(20_901 * DAY_S));
        assert!(!Freepost::make(&key(), &bob(), "shop", 0).unwrap().has_expired(u64::MAX));
    }

    #[test]
    fn addresses_of_another_form() {
        let code = "aaaaaaaaaaaaaaaa";
        assert!(Freepost::parse(&format!("bob+shop.{code}@b.example").parse().unwrap()).is_some());
        for other in [
            "bob@b.example".to_owned(),
            "bob+shop@b.example".to_owned(),
            format!("bob.{code}@b.example"),
            format!("bob+{code}@b.example"),
            format!("bob+shop{code}@b.example"),
            format!("bob+shop.{code}a@b.example"),
            format!("bob+sh!p.{code}@b.example"),
            format!("+shop.{code}@b.example"),
            format!("\"bob+shop.{code} \"@b.example"),
            "bob+shop.aaaaaaaaaaaaaaa1@b.example".to_owned(),
        ] {
            assert_eq!(Freepost::parse(&other.parse().unwrap()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(key: [u8; 32], label in "[a-z0-9_-]{1,24}", expiry_day: u16) {
            let key = TokenKey::new(key);
            let made = Freepost::make(&key, &bob(), &label, expiry_day).unwrap();
            let address = made.address().unwrap().to_string().to_ascii_uppercase();
            let read = Freepost::parse(&address.parse().unwrap()).unwrap();
            prop_assert!(read.is_genuine(&[key]));
            prop_assert_eq!((read.expiry_day(), read), (expiry_day, made));
        }

        #[test]
        fn any_address_is_read_or_refused(local in "[a-z+.]{1,40}(\\+[a-z.]{0,9}\\.[a-z2-7]{15,17})?") {
            if let Some(address) = Address::from_parts(local.as_bytes(), "b.example".parse().unwrap()) {
                let _ = Freepost::parse(&address);
            }
        }
    }
}
