//! Whether a stamp pays for a recipient: the table of words of SPEC.md §3, in its order.
//!
//! The checks are apart so that a caller can do the cheap ones first and ask DNS and the ledger last;
//! [`check`] does them all. Nothing here knows whether the letter needs a stamp.

use std::{borrow::Borrow, fmt};

use super::{
    format::{Cancellation, CancelledStamp, Stamp, recipient_binding, sender_binding},
    sign::PublicKey,
};
use crate::{
    address::Address,
    clock::DAY_S,
    money::{Currency, Micros},
};

/// How far ahead a stamp may expire, in seconds: what an office may promise, and what the ledger must remember.
pub const EXPIRY_AHEAD_MAX_S: u64 = 400 * DAY_S;
/// How far ahead of our clock a stamp may have been cancelled, in seconds.
pub const CLOCK_AHEAD_MAX_S: u64 = 3_600;
/// How long ago a stamp may have been cancelled, in seconds: longer than any queue keeps a letter.
pub const CANCELLED_AGE_MAX_S: u64 = 14 * DAY_S;

/// Why a stamp does not pay. The order is that of the table: the greatest of several is the one reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// The field is not of its form.
    Malformed,
    /// `d` is not the recipient's domain.
    WrongAudience,
    /// `r` is not this recipient's.
    WrongRecipient,
    /// `f` is not the author's, or there is not exactly one author.
    WrongSender,
    /// It is not in the currency asked.
    WrongCurrency,
    /// `x` is past.
    Expired,
    /// `x` or `t` is too far ahead.
    NotYetValid,
    /// `t` is too old.
    Stale,
    /// `n` is below the price.
    Underpaid,
    /// `i` is not an accepted office, or has no such key.
    UnknownIssuer,
    /// `b` does not verify.
    BadSignature,
    /// `h` does not verify.
    BadCancellation,
    /// It is of our own office, which has not sold it.
    Unsold,
    /// It was redeemed before, for another letter.
    Spent,
}

impl Word {
    /// Every word, in the order of the table.
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::WrongAudience,
        Self::WrongRecipient,
        Self::WrongSender,
        Self::WrongCurrency,
        Self::Expired,
        Self::NotYetValid,
        Self::Stale,
        Self::Underpaid,
        Self::UnknownIssuer,
        Self::BadSignature,
        Self::BadCancellation,
        Self::Unsold,
        Self::Spent,
    ];

    /// The word as replies, fields and `--json` write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongAudience => "wrong-audience",
            Self::WrongRecipient => "wrong-recipient",
            Self::WrongSender => "wrong-sender",
            Self::WrongCurrency => "wrong-currency",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Stale => "stale",
            Self::Underpaid => "underpaid",
            Self::UnknownIssuer => "unknown-issuer",
            Self::BadSignature => "bad-signature",
            Self::BadCancellation => "bad-cancellation",
            Self::Unsold => "unsold",
            Self::Spent => "spent",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a stamp is held against.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The envelope's recipient.
    pub recipient: &'a Address,
    /// The letter's author, if it has exactly one.
    pub author: Option<&'a Address>,
    /// The currency asked.
    pub currency: Currency,
    /// The least a stamp must be worth.
    pub price: Micros,
    /// Unix seconds.
    pub now: u64,
}

/// Whether the stamp's `r` is this recipient's: else, in a letter to several, the field is not his at all.
#[must_use]
pub fn is_for(stamp: &CancelledStamp, recipient: &Address) -> bool {
    stamp.cancellation.recipient == recipient_binding(&stamp.stamp.terms.id, recipient)
}

/// Whether the stamp is for this recipient and from this author. Only such a stamp can be a retry's.
///
/// # Errors
/// `wrong-audience`, `wrong-recipient` or `wrong-sender`.
pub fn bound(stamp: &CancelledStamp, asked: &Asked<'_>) -> Result<(), Word> {
    let terms = &stamp.stamp.terms;
    if terms.audience != *asked.recipient.domain() {
        return Err(Word::WrongAudience);
    }
    if !is_for(stamp, asked.recipient) {
        return Err(Word::WrongRecipient);
    }
    let sender = asked.author.map(|author| sender_binding(&terms.id, author));
    if sender == Some(stamp.cancellation.sender) { Ok(()) } else { Err(Word::WrongSender) }
}

/// Whether the stamp's currency, times and value will do.
///
/// # Errors
/// `wrong-currency`, `expired`, `not-yet-valid`, `stale` or `underpaid`.
pub fn in_order(stamp: &CancelledStamp, asked: &Asked<'_>) -> Result<(), Word> {
    let (terms, cancelled, now) = (&stamp.stamp.terms, stamp.cancellation.time, asked.now);
    if terms.currency != asked.currency {
        return Err(Word::WrongCurrency);
    }
    if terms.expiry < now {
        return Err(Word::Expired);
    }
    if terms.expiry > now.saturating_add(EXPIRY_AHEAD_MAX_S)
        || cancelled > now.saturating_add(CLOCK_AHEAD_MAX_S)
    {
        return Err(Word::NotYetValid);
    }
    if cancelled < now.saturating_sub(CANCELLED_AGE_MAX_S) {
        return Err(Word::Stale);
    }
    if terms.value < asked.price { Err(Word::Underpaid) } else { Ok(()) }
}

/// Whether office and holder signed it: the two costly checks, so the last before the ledger.
///
/// # Errors
/// `bad-signature` or `bad-cancellation`.
pub fn signed(stamp: &CancelledStamp, office_key: &PublicKey) -> Result<(), Word> {
    let CancelledStamp { stamp, cancellation } = stamp;
    if !office_key.verify(&stamp.terms.signed_bytes(), &stamp.signature) {
        return Err(Word::BadSignature);
    }
    if is_cancelled(stamp, cancellation) { Ok(()) } else { Err(Word::BadCancellation) }
}

/// Whether the stamp's holder signed this cancellation of it.
#[must_use]
pub fn is_cancelled(stamp: &Stamp, cancellation: &Cancellation) -> bool {
    PublicKey::from_bytes(&stamp.terms.holder)
        .is_ok_and(|holder| holder.verify(&cancellation.signed_bytes(stamp), &cancellation.signature))
}

/// The whole table for one field value: `key` finds the key of an accepted office's selector, `ledger` says `unsold` or `spent`.
/// Each is asked only when all before it is well.
///
/// # Errors
/// The first word that fits.
pub fn check<K: Borrow<PublicKey>>(
    field_value: &[u8],
    asked: &Asked<'_>,
    key: impl FnOnce(&Stamp) -> Option<K>,
    ledger: impl FnOnce(&Stamp) -> Result<(), Word>,
) -> Result<CancelledStamp, Word> {
    let stamp = CancelledStamp::parse(field_value).map_err(|_| Word::Malformed)?;
    bound(&stamp, asked)?;
    in_order(&stamp, asked)?;
    let key = key(&stamp.stamp).ok_or(Word::UnknownIssuer)?;
    signed(&stamp, key.borrow())?;
    ledger(&stamp.stamp)?;
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::{SecretKey, Terms};

    const NOW: u64 = 1_800_000_000;
    const PRICE: u64 = 2_500;

    /// A letter from alice to bob with a stamp, all of it good until a test changes something.
    struct Scene {
        office: SecretKey,
        holder: SecretKey,
        recipient: Address,
        author: Option<Address>,
        terms: Terms,
        cancelled: u64,
    }

    impl Scene {
        fn new() -> Self {
            let holder = SecretKey::from_seed(&[2; 32]);
            let terms = Terms {
                office: "post.example".parse().unwrap(),
                selector: "s1".parse().unwrap(),
                id: [3; 16],
                value: Micros::new(PRICE).unwrap(),
                currency: "USD".parse().unwrap(),
                audience: "b.example".parse().unwrap(),
                expiry: NOW + 30 * DAY_S,
                holder: holder.public().to_bytes(),
            };
            let office = SecretKey::from_seed(&[1; 32]);
            let (recipient, author) = ("bob@b.example".parse().unwrap(), "alice@a.example".parse().ok());
            Self { office, holder, recipient, author, terms, cancelled: NOW }
        }

        fn stamp(&self) -> CancelledStamp {
            let stamp = self.office.sell(self.terms.clone()).unwrap();
            let author = "alice@a.example".parse().unwrap();
            self.holder.cancel(stamp, &"bob@b.example".parse().unwrap(), &author, self.cancelled).unwrap()
        }

        fn asked(&self) -> Asked<'_> {
            Asked {
                recipient: &self.recipient,
                author: self.author.as_ref(),
                currency: "USD".parse().unwrap(),
                price: Micros::new(PRICE).unwrap(),
                now: NOW,
            }
        }

        fn word(&self) -> &'static str {
            let value = self.stamp().to_field_value();
            let key = SecretKey::from_seed(&[1; 32]).public();
            check(value.as_bytes(), &self.asked(), |_| Some(key), |_| Ok(()))
                .map_or_else(Word::as_str, |_| "ok")
        }
    }

    #[test]
    fn words_stand_in_the_order_of_the_table() {
        assert!(Word::ALL.is_sorted());
        assert_eq!(Word::ALL.map(Word::as_str)[0], "malformed");
        assert_eq!(Word::ALL.iter().max(), Some(&Word::Spent));
    }

    #[test]
    fn times_end_where_they_should() {
        let table: &[(u64, u64, &str)] = &[
            (NOW, NOW, "ok"),
            (NOW - 1, NOW, "expired"),
            (NOW + EXPIRY_AHEAD_MAX_S, NOW, "ok"),
            (NOW + EXPIRY_AHEAD_MAX_S + 1, NOW, "not-yet-valid"),
            (NOW, NOW + CLOCK_AHEAD_MAX_S, "ok"),
            (NOW, NOW + CLOCK_AHEAD_MAX_S + 1, "not-yet-valid"),
            (NOW, NOW - CANCELLED_AGE_MAX_S, "ok"),
            (NOW, NOW - CANCELLED_AGE_MAX_S - 1, "stale"),
            (NOW - 1, NOW - CANCELLED_AGE_MAX_S - 1, "expired"),
            (NOW - 1, NOW + CLOCK_AHEAD_MAX_S + 1, "expired"),
            (0, 0, "expired"),
        ];
        for &(expiry, cancelled, word) in table {
            let mut scene = Scene::new();
            (scene.terms.expiry, scene.cancelled) = (expiry, cancelled);
            assert_eq!(scene.word(), word, "x={expiry} t={cancelled}");
        }
    }

    #[test]
    fn a_clock_at_its_ends_says_a_word_and_does_not_stop() {
        let scene = Scene::new();
        for now in [0, u64::MAX] {
            let word = in_order(&scene.stamp(), &Asked { now, ..scene.asked() });
            assert_eq!(word, Err(if now == 0 { Word::NotYetValid } else { Word::Expired }));
        }
    }

    #[test]
    fn a_stamp_is_for_one_recipient_and_from_one_author() {
        let mut scene = Scene::new();
        scene.author = None;
        assert_eq!(scene.word(), "wrong-sender", "no author, nobody's stamp");
        scene.author = "alice+x@a.example".parse().ok();
        assert_eq!(scene.word(), "wrong-sender");
        scene.recipient = "bob+x@b.example".parse().unwrap();
        assert_eq!(scene.word(), "wrong-recipient");
        assert!(!is_for(&scene.stamp(), &scene.recipient));
        scene.recipient = "bob@c.example".parse().unwrap();
        assert_eq!(scene.word(), "wrong-audience");
        scene.recipient = "bob@sub.b.example".parse().unwrap();
        assert_eq!(scene.word(), "wrong-audience");
    }

    #[test]
    fn value_and_currency() {
        let mut scene = Scene::new();
        scene.terms.value = Micros::new(PRICE - 1).unwrap();
        assert_eq!(scene.word(), "underpaid");
        scene.terms.currency = "EUR".parse().unwrap();
        assert_eq!(scene.word(), "wrong-currency");
    }

    #[test]
    fn the_costly_and_the_far_are_asked_last() {
        let scene = Scene::new();
        let value = scene.stamp().to_field_value();
        let poor = Asked { price: Micros::new(PRICE + 1).unwrap(), ..scene.asked() };
        let key = |_: &Stamp| -> Option<PublicKey> { panic!("nobody asks for a key") };
        let ledger = |_: &Stamp| panic!("nobody asks the ledger");
        assert_eq!(check(value.as_bytes(), &poor, key, ledger), Err(Word::Underpaid));
        let none = |_: &Stamp| None::<PublicKey>;
        assert_eq!(check(value.as_bytes(), &scene.asked(), none, ledger), Err(Word::UnknownIssuer));
        let other = |_: &Stamp| Some(SecretKey::from_seed(&[9; 32]).public());
        assert_eq!(check(value.as_bytes(), &scene.asked(), other, ledger), Err(Word::BadSignature));
        let right = |_: &Stamp| Some(scene.office.public());
        for word in [Word::Unsold, Word::Spent] {
            assert_eq!(check(value.as_bytes(), &scene.asked(), right, |_| Err(word)), Err(word));
        }
    }

    #[test]
    fn only_the_holder_cancels() {
        let scene = Scene::new();
        let key = scene.office.public();
        let good = scene.stamp();
        assert_eq!(signed(&good, &key), Ok(()));

        let mut moved = good.clone();
        moved.cancellation.time += 1;
        assert_eq!(signed(&moved, &key), Err(Word::BadCancellation));

        let mut forged = good.clone();
        forged.cancellation.signature =
            SecretKey::from_seed(&[4; 32]).sign(&forged.cancellation.signed_bytes(&good.stamp));
        assert_eq!(signed(&forged, &key), Err(Word::BadCancellation));

        let mut weak = Scene::new();
        weak.terms.holder = [0; 32];
        let stamp = weak.office.sell(weak.terms.clone()).unwrap();
        let weak = CancelledStamp { stamp, ..good };
        assert_eq!(signed(&weak, &key), Err(Word::BadCancellation), "a key of small order holds nothing");
    }

    #[test]
    fn a_stamp_is_cancelled_by_its_key_only() {
        let scene = Scene::new();
        let stamp = scene.office.sell(scene.terms.clone()).unwrap();
        let author = "alice@a.example".parse().unwrap();
        let wrong = scene.office.cancel(stamp, &scene.recipient, &author, NOW);
        assert_eq!(wrong, Err(crate::stamp::sign::CancelError::WrongHolder));
    }
}
