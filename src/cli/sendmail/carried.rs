//! Stamps that a letter bears before it is sent: one that was kept when it was not taken, or put on by
//! `farthing stamp`. They go with the copies of their recipients alone (SPEC.md §3), and nothing is paid twice. Pure.

use crate::{
    address::Address,
    message::{is_name, split_message, without},
    money::{Currency, Micros},
    stamp::{
        CancelledStamp, STAMP_FIELD, STAMP_FIELDS_MAX,
        check::{Asked, bound, in_order},
    },
};

/// The stamps of a letter, each with the value of its field.
pub struct Carried(Vec<(CancelledStamp, String)>);

/// The letter without its stamps, and the stamps. What stands in such a field and is none goes too.
pub fn taken_off(letter: &[u8]) -> (Vec<u8>, Carried) {
    let parts = split_message(letter);
    let read = |value: &[u8]| {
        let text = String::from_utf8(value.trim_ascii().to_vec()).ok()?;
        Some((CancelledStamp::parse(value).ok()?, text))
    };
    let stamps = parts.values(STAMP_FIELD).take(STAMP_FIELDS_MAX).filter_map(read).collect();
    (without(letter, |name| is_name(name, STAMP_FIELD)), Carried(stamps))
}

impl Carried {
    /// The field for this recipient: of the author's stamps one that is bound to him, in time, and worth what his domain
    /// asks, if that is known.
    pub fn value_for(
        &self,
        recipient: &Address,
        author: Option<&Address>,
        asked: Option<(Currency, Micros)>,
        now: u64,
    ) -> Option<&str> {
        let fits = |stamp: &CancelledStamp| {
            let (currency, price) = asked.unwrap_or((stamp.stamp.terms.currency, Micros::ZERO));
            let asked = Asked { recipient, author, currency, price, now };
            bound(stamp, &asked).and_then(|()| in_order(stamp, &asked)).is_ok()
        };
        self.0.iter().find(|(stamp, _)| fits(stamp)).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::{SecretKey, Stamp, Terms};

    const NOW: u64 = 1_795_262_400;

    fn field(recipient: &str, author: &str, value: u64) -> String {
        let holder = SecretKey::from_seed(&[1; 32]);
        let recipient: Address = recipient.parse().unwrap();
        let terms = Terms {
            office: "post.example".parse().unwrap(),
            selector: "s1".parse().unwrap(),
            id: [7; 16],
            value: Micros::new(value).unwrap(),
            currency: "USD".parse().unwrap(),
            audience: recipient.domain().clone(),
            expiry: NOW + 86_400,
            holder: holder.public().to_bytes(),
        };
        let stamp = Stamp { terms, signature: [0; 64] };
        let cancelled = holder.cancel(stamp, &recipient, &author.parse().unwrap(), NOW).unwrap();
        format!("Postage-Stamp: {}\r\n", cancelled.to_field_value())
    }

    #[test]
    fn a_stamp_is_for_its_recipient_from_its_author_at_its_price() {
        let stamps = field("bob@b.example", "alice@a.example", 2_500);
        let letter = format!(
            "{stamps}From: alice@a.example\r\npostage-stamp: nonsense\r\nTo: bob@b.example\r\n\r\nx\r\n"
        );
        let (rest, carried) = taken_off(letter.as_bytes());
        assert_eq!(rest, b"From: alice@a.example\r\nTo: bob@b.example\r\n\r\nx\r\n");
        let usd: Currency = "USD".parse().unwrap();
        let asked = |micros| Some((usd, Micros::new(micros).unwrap()));
        for (recipient, author, asked, now, found) in [
            ("bob@b.example", Some("alice@a.example"), asked(2_500), NOW, true),
            ("bob@b.example", Some("alice@a.example"), None, NOW, true),
            ("bob@b.example", Some("alice@a.example"), asked(2_501), NOW, false),
            ("bob@b.example", Some("alice@a.example"), asked(2_500), NOW + 86_401, false),
            ("bob@b.example", Some("mallory@a.example"), asked(2_500), NOW, false),
            ("bob@b.example", None, asked(2_500), NOW, false),
            ("carol@b.example", Some("alice@a.example"), asked(2_500), NOW, false),
        ] {
            let author: Option<Address> = author.map(|author| author.parse().unwrap());
            let value = carried.value_for(&recipient.parse().unwrap(), author.as_ref(), asked, now);
            assert_eq!(value.is_some(), found, "{recipient} {author:?} {asked:?} {now}");
        }
        let value = carried.value_for(
            &"bob@b.example".parse().unwrap(),
            Some(&"alice@a.example".parse().unwrap()),
            None,
            NOW,
        );
        assert_eq!(format!("Postage-Stamp: {}\r\n", value.unwrap()), stamps);
    }
}
