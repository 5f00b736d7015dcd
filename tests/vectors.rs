//! The cases of another implementation of SPEC.md (tests/vectors/stamps.json): stamps, authors, digests,
//! tokens, freepost addresses and addresses must come out here as they did there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it is wrong"
)]

use std::{collections::HashMap, str::FromStr};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use farthing::{
    address::Address,
    message::{Message, split_message},
    money::Micros,
    stamp::{
        Asked, CancelledStamp, PublicKey, SecretKey, Stamp, Word, check,
        freepost::Freepost,
        tokens::{Token, TokenKey, Verb},
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    currency: String,
    audience: String,
    keys: Vec<OfficeKey>,
    office_seed: String,
    messages: HashMap<String, Letter>,
    cases: Vec<Case>,
    token_key: String,
    tokens: Vec<TokenCase>,
    freepost: Vec<FreepostCase>,
    addresses: Vec<AddressCase>,
}

#[derive(Deserialize)]
struct OfficeKey {
    office: String,
    selector: String,
    public: String,
}

#[derive(Deserialize)]
struct Letter {
    raw: String,
    author: Option<String>,
    digest: String,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    message: String,
    field: String,
    rcpt: String,
    price: u64,
    now: u64,
    spent: Vec<(String, String)>,
    expect: String,
}

#[derive(Deserialize)]
struct TokenCase {
    verb: String,
    number: String,
    rcpt: String,
    token: String,
}

#[derive(Deserialize)]
struct FreepostCase {
    rcpt: String,
    label: String,
    expiry_day: u16,
    address: String,
}

#[derive(Deserialize)]
struct AddressCase {
    given: String,
    signed: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/stamps.json")).unwrap()
}

fn base64<const N: usize>(text: &str) -> [u8; N] {
    BASE64URL_NOPAD.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

impl Letter {
    fn raw(&self) -> Vec<u8> {
        BASE64.decode(self.raw.as_bytes()).unwrap()
    }
}

impl Vectors {
    fn key(&self, stamp: &Stamp) -> Option<PublicKey> {
        let (office, selector) = (stamp.terms.office.as_str(), stamp.terms.selector.as_str());
        let key = self.keys.iter().find(|key| key.office == office && key.selector == selector)?;
        Some(key.public.parse().unwrap())
    }

    fn judge(&self, case: &Case, letter: &Message<'_>, field: &[u8]) -> &'static str {
        let recipient = address(&case.rcpt);
        assert_eq!(recipient.domain().as_str(), self.audience);
        let author = letter.author();
        let asked = Asked {
            recipient: &recipient,
            author: author.as_ref(),
            currency: self.currency.parse().unwrap(),
            price: Micros::new(case.price).unwrap(),
            now: case.now,
        };
        let ledger = |stamp: &Stamp| {
            let spent = |(office, id): &(String, String)| {
                *office == stamp.terms.office.as_str() && base64(id) == stamp.terms.id
            };
            if case.spent.iter().any(spent) { Err(Word::Spent) } else { Ok(()) }
        };
        check::check(field, &asked, |stamp| self.key(stamp), ledger).map_or_else(Word::as_str, |_| "ok")
    }
}

#[test]
fn every_stamp_gets_its_word() {
    let vectors = vectors();
    assert!(vectors.cases.len() > 80);
    for case in &vectors.cases {
        let raw = vectors.messages[&case.message].raw();
        let word = vectors.judge(case, &split_message(&raw), case.field.as_bytes());
        assert_eq!(word, case.expect, "{}", case.name);
    }
}

#[test]
fn every_stamp_gets_its_word_from_a_field_of_the_message() {
    let vectors = vectors();
    for case in &vectors.cases {
        for line_end in ["\r\n", "\n"] {
            let mut raw = b"Postage-Stamp: ".to_vec();
            raw.extend_from_slice(case.field.replace("\r\n", line_end).as_bytes());
            raw.extend_from_slice(line_end.as_bytes());
            raw.extend_from_slice(&vectors.messages[&case.message].raw());
            let letter = split_message(&raw);
            let fields: Vec<&[u8]> = letter.values("postage-stamp").collect();
            let [field] = fields.as_slice() else { panic!("{}: {} fields", case.name, fields.len()) };
            assert_eq!(vectors.judge(case, &letter, field), case.expect, "{}", case.name);
        }
    }
}

#[test]
fn good_stamps_are_written_as_they_are_read() {
    let vectors = vectors();
    for case in vectors.cases.iter().filter(|case| case.expect == "ok") {
        let stamp = CancelledStamp::parse(case.field.as_bytes()).unwrap();
        let written = stamp.to_field_value();
        assert_eq!(CancelledStamp::parse(written.as_bytes()).unwrap(), stamp, "{}", case.name);
    }
}

#[test]
fn the_office_makes_the_same_signatures() {
    let vectors = vectors();
    let key = SecretKey::from_seed(&base64(&vectors.office_seed));
    assert_eq!(key.public().to_string(), vectors.keys[0].public);
    let mut sold = 0;
    for case in vectors.cases.iter().filter(|case| case.expect == "ok") {
        let stamp = CancelledStamp::parse(case.field.as_bytes()).unwrap().stamp;
        if stamp.terms.office.as_str() == vectors.keys[0].office {
            assert_eq!(key.sell(stamp.terms.clone()).unwrap(), stamp, "{}", case.name);
            sold += 1;
        }
    }
    assert!(sold > 10);
}

#[test]
fn every_letter_has_its_author() {
    for (name, letter) in vectors().messages {
        let author = letter.author.as_deref().map(address);
        assert_eq!(split_message(&letter.raw()).author(), author, "{name}");
    }
}

#[test]
fn every_letter_has_its_digest() {
    for (name, letter) in vectors().messages {
        let digest = split_message(&letter.raw()).digest();
        assert_eq!(BASE64URL_NOPAD.encode(&digest), letter.digest, "{name}");
    }
}

#[test]
fn tokens_are_made_and_read() {
    let vectors = vectors();
    let key = TokenKey::new(base64(&vectors.token_key));
    for case in &vectors.tokens {
        let verb = match case.verb.as_str() {
            "w" => Verb::Wanted,
            "u" => Verb::Unwanted,
            "W" => Verb::LinkWanted,
            "U" => Verb::LinkUnwanted,
            other => panic!("verb {other}"),
        };
        let (number, recipient) = (u64::from_str(&case.number).unwrap(), address(&case.rcpt));
        assert_eq!(Token::make(&key, verb, number, &recipient).to_string(), case.token);
        let token = Token::parse(case.token.as_bytes()).unwrap();
        assert_eq!(token.number(), number);
        assert!(token.is_genuine(std::slice::from_ref(&key), verb, &recipient), "{}", case.token);
    }
}

#[test]
fn freepost_addresses_are_made_and_read() {
    let vectors = vectors();
    let key = TokenKey::new(base64(&vectors.token_key));
    for case in &vectors.freepost {
        let made = Freepost::make(&key, &address(&case.rcpt), &case.label, case.expiry_day).unwrap();
        assert_eq!(made.address().unwrap(), address(&case.address));
        let read = Freepost::parse(&address(&case.address)).unwrap();
        assert_eq!(read, made);
        assert!(read.is_genuine(std::slice::from_ref(&key)), "{}", case.address);
    }
}

#[test]
fn addresses_are_signed_in_one_form() {
    for case in vectors().addresses {
        let signed = Address::parse(case.given.as_bytes()).unwrap().to_bytes();
        assert_eq!(String::from_utf8(signed).unwrap(), case.signed, "{}", case.given);
    }
}
