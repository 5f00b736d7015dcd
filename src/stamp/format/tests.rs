//! Stamps written and read: every tag, every fault, any octets.

use proptest::prelude::*;

use super::*;
use crate::stamp::{SecretKey, fold::COLUMNS_MAX};

const GOOD: &str = "v=1; i=b.example; s=s1; id=AAECAwQFBgcICQoLDA0ODw; n=2500; c=USD; d=b.example; x=1831593599; \
    k=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; \
    b=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; \
    t=1800000000; r=AAAAAAAAAAAAAAAAAAAAAA; f=AAAAAAAAAAAAAAAAAAAAAA; \
    h=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// [`GOOD`] with another value for one tag.
fn with(name: &str, value: &str) -> String {
    let other = |tag: &str| match tag.trim().split_once('=') {
        Some((tag_name, _)) if tag_name == name => format!("{name}={value}"),
        _ => tag.trim().to_owned(),
    };
    GOOD.split(';').map(other).collect::<Vec<_>>().join(";")
}

fn parse(text: &str) -> Result<CancelledStamp, Malformed> {
    CancelledStamp::parse(text.as_bytes())
}

#[test]
fn a_stamp_is_read() {
    let CancelledStamp { stamp, cancellation } = parse(GOOD).unwrap();
    assert_eq!(stamp.terms.office.as_str(), "b.example");
    assert_eq!(stamp.terms.selector.as_str(), "s1");
    assert_eq!(stamp.terms.id, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    assert_eq!(stamp.terms.value.get(), 2500);
    assert_eq!(stamp.terms.currency.as_str(), "USD");
    assert_eq!(stamp.terms.audience.as_str(), "b.example");
    assert_eq!(stamp.terms.expiry, 1_831_593_599);
    assert_eq!(stamp.key().day, 21_198, "the day that ends with this second");
    assert_eq!(cancellation.time, 1_800_000_000);
}

#[test]
fn every_tag_is_needed() {
    for tag in GOOD.split(';') {
        let name = tag.trim().split_once('=').unwrap().0;
        let without: Vec<&str> = GOOD.split(';').filter(|other| *other != tag).collect();
        match parse(&without.join(";")) {
            Err(Malformed::Missing(missing)) => assert_eq!(missing, name),
            other => panic!("without {name}: {other:?}"),
        }
    }
}

#[test]
fn every_value_has_its_form() {
    let table: &[(&'static str, &[&str])] = &[
        ("v", &["", "0", "2", "01", "1.0"]),
        ("i", &["", "b", "B.example", "b.example.", "b..example", "b_b.example", "-b.example"]),
        ("s", &["", "S1", "s.", "s_1"]),
        (
            "id",
            &[
                "",
                "AAECAwQFBgcICQoLDA0O",
                "AAECAwQFBgcICQoLDA0ODw==",
                "AAECAwQFBgcICQoLDA0ODx",
                "AAEC+wQFBgcICQoLDA0ODw",
            ],
        ),
        ("n", &["", "0", "01", "1000000000001", "1000000000000000", "2.5", "0.25c"]),
        ("c", &["", "usd", "US", "USDT"]),
        ("d", &["", "b", "b.example,c.example"]),
        ("x", &["", "01", "-1", "1000000000000000"]),
        ("k", &["", "AAAA"]),
        ("b", &["", "AAAA"]),
        ("t", &["", "00", "1e9"]),
        ("r", &["", "AAAA"]),
        ("f", &["", "AAAA"]),
        ("h", &["", "AAAA"]),
    ];
    for (name, values) in table {
        for value in *values {
            assert_eq!(parse(&with(name, value)), Err(Malformed::Value(name)), "{name}={value}");
        }
    }
    for (name, value) in
        [("x", "0"), ("t", "0"), ("x", "999999999999999"), ("n", "1"), ("n", "1000000000000")]
    {
        assert!(parse(&with(name, value)).is_ok(), "{name}={value}");
    }
}

#[test]
fn the_length_is_counted_without_line_ends() {
    let padded = |octets: usize| format!("{GOOD};zz={}", "a".repeat(octets - GOOD.len() - ";zz=".len()));
    assert!(parse(&padded(VALUE_OCTETS_MAX)).is_ok());
    assert_eq!(parse(&padded(VALUE_OCTETS_MAX + 1)), Err(Malformed::TooLong));
    // Some MTAs show the space behind the colon, others do not.
    assert!(parse(&format!(" {}", padded(VALUE_OCTETS_MAX))).is_ok());
    assert_eq!(parse(&format!("  {}", padded(VALUE_OCTETS_MAX))), Err(Malformed::TooLong));
    let folded = padded(VALUE_OCTETS_MAX).replace("; ", ";\r\n ");
    assert!(folded.len() > VALUE_OCTETS_MAX && parse(&folded).is_ok());
}

#[test]
fn no_stamp_has_terms_that_nobody_could_read() {
    let key = SecretKey::from_seed(&[1; 32]);
    let good = parse(GOOD).unwrap().stamp.terms;
    let most = STAMP_VALUE_MAX;
    for value in [Micros::ZERO, most.checked_add(Micros::new(1).unwrap()).unwrap()] {
        assert_eq!(key.sell(Terms { value, ..good.clone() }), Err(TermsError::Value));
    }
    assert_eq!(key.sell(Terms { expiry: TIME_MAX + 1, ..good.clone() }), Err(TermsError::Expiry));
    assert!(key.sell(Terms { value: most, expiry: TIME_MAX, ..good }).is_ok());
}

#[test]
fn the_ledger_is_asked_about_exactly_this_stamp() {
    let stamp = parse(GOOD).unwrap().stamp;
    let candidate = stamp.candidate(true);
    assert_eq!(candidate.fingerprint, stamp.fingerprint()[..16]);
    assert_eq!((candidate.key, candidate.value, candidate.good), (stamp.key(), stamp.terms.value, true));
    let other = Stamp { signature: [1; 64], ..stamp.clone() };
    assert_ne!(other.fingerprint(), stamp.fingerprint());
    let far = Stamp { terms: Terms { expiry: TIME_MAX, ..stamp.terms.clone() }, ..stamp };
    assert_eq!(far.key().day, u32::MAX);
}

fn domain() -> impl Strategy<Value = Domain> {
    "[a-z0-9]{1,12}(-[a-z0-9]{1,8})?(\\.[a-z0-9]{1,20}){1,5}".prop_map(|text| text.parse().unwrap())
}

fn address() -> impl Strategy<Value = Address> {
    ("[A-Za-z0-9+_é-]{1,20}", domain())
        .prop_map(|(local, domain)| Address::from_parts(local.as_bytes(), domain).unwrap())
}

prop_compose! {
    fn terms(holder: [u8; 32])(
        office in domain(),
        selector in "[a-z0-9]{1,20}(\\.[a-z0-9]{1,20})?",
        id: [u8; 16],
        value in 1..=STAMP_VALUE_MAX.get(),
        currency in "[A-Z]{3}",
        audience in domain(),
        expiry in 0..=TIME_MAX,
    ) -> Terms {
        let (selector, currency) = (selector.parse().unwrap(), currency.parse().unwrap());
        Terms { office, selector, id, value: Micros::new(value).unwrap(), currency, audience, expiry, holder }
    }
}

fn cancelled() -> impl Strategy<Value = CancelledStamp> {
    let holder = SecretKey::from_seed(&[2; 32]);
    let parts = (terms(holder.public().to_bytes()), address(), address(), 0..=TIME_MAX);
    parts.prop_map(move |(terms, recipient, author, time)| {
        let stamp = SecretKey::from_seed(&[1; 32]).sell(terms).unwrap();
        holder.cancel(stamp, &recipient, &author, time).unwrap()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(stamp in cancelled()) {
        let value = stamp.to_field_value();
        prop_assert_eq!(CancelledStamp::parse(value.as_bytes()), Ok(stamp.clone()));
        for (number, line) in value.split("\r\n").enumerate() {
            prop_assert_eq!(line.starts_with(' '), number > 0);
            prop_assert!(!line.trim().is_empty() && !line.ends_with(' '), "{}", value);
            let column = if number == 0 { STAMP_FIELD.len() + 2 } else { 0 };
            prop_assert!(column + line.len() <= COLUMNS_MAX || line.contains(".") , "{}", value);
        }
    }

    #[test]
    fn servers_on_the_way_may_fold_it_anew(stamp in cancelled(), white in prop::sample::select(vec!["\n ", "\r\n\t", " ", "\r\n  \t", ""])) {
        let value = stamp.to_field_value();
        prop_assert_eq!(CancelledStamp::parse(value.replace("\r\n ", white).as_bytes()), Ok(stamp));
    }

    #[test]
    fn any_octets_are_read_or_refused(octets: Vec<u8>) {
        let _ = CancelledStamp::parse(&octets);
    }

    #[test]
    fn a_changed_octet_is_another_stamp_or_none(stamp in cancelled(), at: prop::sample::Index, octet: u8) {
        let mut value = stamp.to_field_value().into_bytes();
        let octet_was = std::mem::replace(at.get_mut(&mut value), octet);
        let same = octet == octet_was || (octet.is_ascii_whitespace() && octet_was.is_ascii_whitespace());
        if let Ok(other) = CancelledStamp::parse(&value) {
            prop_assert_eq!(other == stamp, same, "{}", value.escape_ascii());
        }
    }
}
