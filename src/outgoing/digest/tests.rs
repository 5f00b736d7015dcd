use jiff::tz;

use super::*;
use crate::{ledger::settings::PaidPostage, money::Micros};

/// Mon, 11 Jan 2027 06:00 UTC.
const NOW: u64 = 1_799_647_200;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn refused(ago_s: u64, author: Option<&str>, reason: &str) -> StrangerLetter {
    StrangerLetter {
        time: NOW - ago_s,
        recipient: address("bob@b.example"),
        author: author.map(address),
        authenticated: false,
        result: if reason.is_empty() { "unpaid" } else { "invalid" }.into(),
        reason: reason.into(),
        delivered: false,
        postage: None,
    }
}

fn paid(ago_s: u64, author: &str, number: u64, state: PostageState) -> StrangerLetter {
    StrangerLetter {
        result: "paid".into(),
        delivered: true,
        authenticated: true,
        postage: Some(PaidPostage {
            number,
            value: Micros::new(2_500).unwrap(),
            office: "b.example".parse().unwrap(),
            id: [1; 16],
            state,
        }),
        ..refused(ago_s, Some(author), "")
    }
}

struct Given {
    key: Option<TokenKey>,
    office_url: Option<&'static str>,
    more: bool,
}

impl Default for Given {
    fn default() -> Self {
        Self { key: Some(TokenKey::new([1; 32])), office_url: Some("https://b.example/post/"), more: false }
    }
}

fn made(given: &Given, letters: &[StrangerLetter]) -> Option<(String, String, String)> {
    let zone = TimeZone::fixed(tz::offset(1));
    let made = digest(&Digest {
        owner: &address("bob@b.example"),
        commands: &address("postage@b.example"),
        office_url: given.office_url,
        key: given.key.as_ref(),
        cadence: Cadence::Daily,
        period: Period { since: NOW - 86_400, until: NOW },
        letters,
        more: given.more,
        zone: &zone,
    })?;
    Some((made.0, made.1.plain, made.1.html.unwrap()))
}

#[test]
fn letters_that_paid_and_letters_that_were_refused() {
    let letters = [
        refused(60, Some("eve@e.example"), ""),
        paid(120, "alice@a.example", 7, PostageState::Waiting),
        refused(180, Some("eve@e.example"), "spent"),
        refused(200, None, "underpaid"),
    ];
    let (subject, plain, html) = made(&Given::default(), &letters).unwrap();
    assert_eq!(subject, "Letters of strangers: 1 delivered, 3 refused");
    let token = |verb| Token::make(&TokenKey::new([1; 32]), verb, 7, &address("bob@b.example")).to_string();
    let expected = format!(
        "Letters of strangers to bob@b.example, Sun, 10 Jan 2027 07:00 to Mon, 11 Jan 2027 07:00.

DELIVERED (1)

* alice@a.example
  Mon, 11 Jan 2027 06:58, postage 0.25c
  wanted: https://b.example/post/w/{}
    or write to postage+w.{}@b.example
  unwanted: https://b.example/post/u/{}
    or write to postage+u.{}@b.example

{WANTED}

REFUSED (3)

* eve@e.example
  2 letters, the last on Mon, 11 Jan 2027 06:59: no postage
  let in without postage from now on: write to postage@b.example with the subject: allow eve@e.example

* (not exactly one author)
  1 letter on Mon, 11 Jan 2027 06:56: postage underpaid

{REFUSED}

You get this daily. To stop it, write to postage@b.example with the subject: digest off.
What else you can say: write to postage@b.example with the subject: help.
",
        token(Verb::LinkWanted),
        token(Verb::Wanted),
        token(Verb::LinkUnwanted),
        token(Verb::Unwanted),
    );
    assert_eq!(plain, expected);
    for part in [
        format!("<a href=\"https://b.example/post/w/{}\">wanted</a>", token(Verb::LinkWanted)),
        format!("<a href=\"mailto:postage%2Bu.{}@b.example\">by mail</a>", token(Verb::Unwanted)),
        "<a href=\"mailto:postage@b.example?subject=allow%20eve@e.example\">".into(),
        "<a href=\"mailto:postage@b.example?subject=digest%20off\">Stop it</a>".into(),
    ] {
        assert!(html.contains(&part), "{part}: {html}");
    }
    assert_eq!(html.matches("http").count(), 2, "nothing but the two links leads anywhere: {html}");
    assert!(!html.contains("src="), "{html}");
}

#[test]
fn nothing_to_say() {
    let observed = StrangerLetter { delivered: true, ..refused(60, Some("eve@e.example"), "") };
    let later = StrangerLetter { time: NOW, ..refused(0, Some("eve@e.example"), "") };
    assert_eq!(made(&Given::default(), &[]), None);
    assert_eq!(made(&Given::default(), &[observed, later]), None, "let in free, or in the next one");
}

#[test]
fn what_can_still_be_said() {
    let work = StrangerLetter {
        result: "work".into(),
        postage: None,
        authenticated: false,
        ..paid(60, "dora@d.example", 1, PostageState::Waiting)
    };
    let table = [
        (paid(60, "alice@a.example", 7, PostageState::Waiting), "postage 0.25c\n", true),
        (paid(60, "alice@a.example", 7, PostageState::Unwanted), "postage 0.25c, marked as unwanted\n", true),
        (paid(60, "alice@a.example", 7, PostageState::Refunded), "postage 0.25c, given back\n", false),
        (paid(60, "alice@a.example", 7, PostageState::Final), "postage 0.25c\n", false),
        (work, "by work, address not proven\n  let in without postage from now on: write to", false),
    ];
    for (letter, said, links) in table {
        let (_, plain, html) = made(&Given::default(), &[letter]).unwrap();
        assert!(plain.contains(said), "{plain}");
        assert_eq!((plain.contains("/w/"), html.contains("/u/")), (links, links), "{plain}");
    }
}

#[test]
fn a_site_without_office_or_keys() {
    let letters = [paid(60, "alice@a.example", 7, PostageState::Waiting)];
    let (_, plain, html) = made(&Given { office_url: None, ..Given::default() }, &letters).unwrap();
    assert!(plain.contains("wanted: write to postage+w.") && !html.contains("http"), "{plain}");
    let (_, plain, _) = made(&Given { key: None, ..Given::default() }, &letters).unwrap();
    assert!(plain.contains("alice@a.example") && !plain.contains("unwanted:"), "{plain}");
}

#[test]
fn what_a_sender_calls_himself_stays_text() {
    let evil = [
        "\"<img src=//e.example>\"@e.example",
        "\"a b\r\nBcc: x\"@e.example",
        "a'b&c=<b>@e.example",
        "zo\\xeb@e.example",
    ];
    for text in evil {
        let Ok(author) = Address::parse(text.as_bytes()) else { continue };
        let letter = StrangerLetter { author: Some(author), ..refused(60, None, "") };
        let (_, plain, html) = made(&Given::default(), &[letter]).unwrap();
        assert!(!html.contains("<img") && !html.contains("<b>@"), "{html}");
        assert!(!plain.contains("subject: allow") && !html.contains("subject=allow"), "{plain}");
    }
    let long = format!("{}@e.example", "x".repeat(300));
    let (_, plain, _) = made(&Given::default(), &[refused(60, Some(&long), "")]).unwrap();
    assert!(plain.contains(&format!("* {}…\n", "x".repeat(SENDER_CHARS_MAX))), "{plain}");
}

#[test]
fn its_length_does_not_grow_with_the_flood() {
    let author = |n: u64| format!("s{n}@e.example");
    let mut letters: Vec<_> = (1..=87).map(|n| refused(n, Some(&author(n)), "")).collect();
    letters.extend((0..60).map(|n| paid(100 + n, &author(n), n + 1, PostageState::Waiting)));
    let (subject, plain, html) = made(&Given::default(), &letters).unwrap();
    assert_eq!(subject, "Letters of strangers: 60 delivered, 87 refused");
    for text in [&plain, &html] {
        assert!(text.contains("and 10 more") && text.contains("and 37 more senders"), "{text}");
    }
    assert_eq!(plain.matches("\n* ").count(), 2 * LISTED_MAX);
    let (subject, plain, _) = made(&Given { more: true, ..Given::default() }, &letters).unwrap();
    assert_eq!(subject, "Letters of strangers: at least 60 delivered, at least 87 refused");
    assert!(plain.contains("and at least 37 more senders"), "{plain}");
}
