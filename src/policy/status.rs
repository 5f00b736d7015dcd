//! The fields the gate adds to mail it lets in, and those it takes away (SPEC.md §6).

use super::Class;
use crate::{
    address::{Address, Domain},
    money::{Currency, Micros},
    stamp::{
        CancelledStamp,
        tokens::{Token, TokenKey, Verb},
    },
};

/// The verdict, for the recipient and for filters behind us.
pub const STATUS: &str = "Postage-Status";
/// A mailto link that marks the letter as wanted.
pub const WANTED: &str = "Postage-Wanted";
/// A mailto link that marks it as unwanted.
pub const UNWANTED: &str = "Postage-Unwanted";
/// What a sender attaches.
pub const STAMP: &str = crate::stamp::STAMP_FIELD;

/// What the status of a letter to one recipient says beyond the result.
#[derive(Clone, Debug)]
pub struct PaidBy<'a> {
    /// What moved.
    pub value: Micros,
    /// In which currency.
    pub currency: Currency,
    /// The post office.
    pub issuer: &'a Domain,
    /// The stamp's id.
    pub id: &'a [u8; 16],
}

/// The value of `Postage-Status` for a letter to one recipient here.
#[must_use]
pub fn status_of_one(hostname: &str, class: Class, recipient: &Address, paid: Option<&PaidBy<'_>>) -> String {
    let mut value = format!("{hostname}; result={}", let_in_as(class).as_str());
    if let Class::Invalid(word) = class {
        value.push_str(&format!("; reason={}", word.as_str()));
    }
    value.push_str(&format!("; rcpt={}", tag_value(recipient)));
    if let Some(paid) = paid {
        let id = data_encoding::BASE64URL_NOPAD.encode(paid.id);
        value.push_str(&format!(
            "; value={}; currency={}; issuer={}; id={id}",
            paid.value.get(),
            paid.currency,
            paid.issuer
        ));
    }
    value
}

/// The value of `Postage-Status` for a letter to several recipients here: the last of their results in the order of SPEC.md §6.
#[must_use]
pub fn status_of_several(hostname: &str, classes: &[Class]) -> String {
    let last = classes.iter().copied().map(let_in_as).max().unwrap_or(Class::Exempt);
    let reason = match last {
        Class::Invalid(word) => format!("; reason={}", word.as_str()),
        _ => String::new(),
    };
    format!("{hostname}; result={}{reason}", last.as_str())
}

/// Letters let in although nobody could check, or although blocked (`observe`), are let in by policy: `unpaid`.
fn let_in_as(class: Class) -> Class {
    match class {
        Class::Blocked | Class::Trouble | Class::Later => Class::Unpaid,
        class => class,
    }
}

/// The values of `Postage-Wanted` and `Postage-Unwanted`: mail to the command address with a token in its detail.
#[must_use]
pub fn links(key: &TokenKey, command: &str, recipient: &Address, number: u64) -> (String, String) {
    let link = |letter, verb| {
        let token = Token::make(key, verb, number, recipient);
        format!("<mailto:{command}+{letter}.{token}@{}>", recipient.domain())
    };
    (link('w', Verb::Wanted), link('u', Verb::Unwanted))
}

/// An address as a tag's value: what would end the tag or the field is percent-encoded.
fn tag_value(address: &Address) -> String {
    let mut text = String::new();
    for c in address.to_string().chars() {
        if c == ';' || c == '%' || c.is_whitespace() {
            text.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether a field that came with a letter must go before it is let in: every field of ours, and stamps for our
/// domains, malformed ones too. `guarded` says which domains are ours.
#[must_use]
pub fn must_go(name: &[u8], value: &[u8], guarded: impl Fn(&Domain) -> bool) -> bool {
    let is = |own: &str| name.trim_ascii().eq_ignore_ascii_case(own.as_bytes());
    if is(STATUS) || is(WANTED) || is(UNWANTED) {
        return true;
    }
    is(STAMP) && CancelledStamp::parse(value).map_or(true, |stamp| guarded(&stamp.stamp.terms.audience))
}

/// Whether a field is this host's own `Postage-Status`: the letter has passed here before.
#[must_use]
pub fn is_own_status(name: &[u8], value: &[u8], hostname: &str) -> bool {
    let host = value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    name.trim_ascii().eq_ignore_ascii_case(STATUS.as_bytes())
        && host.eq_ignore_ascii_case(hostname.as_bytes())
}
