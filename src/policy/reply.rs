//! What the gate says to the sending server when it does not take a letter (SPEC.md §6).
//!
//! The text is what a refused sender reads, so it names the recipient, the price and where to go. Someone
//! whose authentication failed hears word for word what a stranger hears.

use std::fmt::Write as _;

use farthing_milter::text::SmtpReply;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Class;
use crate::{
    address::{Address, escaped},
    money::Micros,
    stamp::Word,
};

/// Recipients named in one reply before the rest is only counted; a reply line should stay near 200 octets.
const NAMED_MAX: usize = 2;

/// A path segment: letters, digits and `-._~@+` as they are (SPEC.md §6).
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@').remove(b'+');

/// Where a sender learns how to pay.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What a stranger pays.
    pub price: Micros,
    /// The office's URL, ending in `/`, if there is an office.
    pub office_url: Option<&'a str>,
}

impl Terms<'_> {
    fn see(&self, recipient: &Address) -> String {
        match self.office_url {
            Some(url) => format!("{url}p/{}", address_segment(recipient)),
            None => format!("_postage.{} in DNS", recipient.domain()),
        }
    }
}

/// An address as one segment of a URL's path.
#[must_use]
pub fn address_segment(address: &Address) -> String {
    let bytes = address.to_bytes();
    match std::str::from_utf8(&bytes) {
        Ok(text) => utf8_percent_encode(text, SEGMENT).to_string(),
        Err(_) => percent_encoding::percent_encode(&bytes, SEGMENT).to_string(),
    }
}

/// `<bob@b.example>`, `<bob@b.example>, <carol@b.example>`, `<bob@b.example> and 7 more`.
fn named(recipients: &[&Address]) -> String {
    let mut text = String::new();
    let shown = if recipients.len() > NAMED_MAX { 1 } else { recipients.len() };
    for (i, recipient) in recipients.iter().take(shown).enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        let _ = write!(text, "{separator}<{recipient}>");
    }
    if shown < recipients.len() {
        let _ = write!(text, " and {} more", recipients.len() - shown);
    }
    text
}

/// The refusal of a letter, by the classes of those who refuse it.
#[must_use]
pub fn refusal(recipients: &[(&Address, Class)], terms: &Terms<'_>) -> SmtpReply {
    let who: Vec<&Address> = recipients.iter().map(|(recipient, _)| *recipient).collect();
    let names = named(&who);
    let text = match recipients.first() {
        Some((_, Class::Blocked)) => format!("{names}: not accepted"),
        Some((first, class)) => {
            let price = terms.price;
            let see = terms.see(first);
            match class {
                Class::Invalid(word) => {
                    format!(
                        "{names}: postage refused: {}; postage of {price} required; see {see}",
                        word.as_str()
                    )
                }
                _ => format!("{names}: postage of {price} required from new senders; see {see}"),
            }
        }
        None => "not accepted".into(),
    };
    permanent("5.7.1", &text)
}

/// The refusal of mail to the command address that does not come by authenticated submission (SPEC.md §8).
#[must_use]
pub fn not_submitted(address: &Address) -> SmtpReply {
    permanent("5.7.1", &format!("<{address}>: commands are taken from submission only"))
}

/// The refusal of command mail whose author the login does not own (SPEC.md §8).
#[must_use]
pub fn not_own(address: &Address) -> SmtpReply {
    permanent(
        "5.7.1",
        &format!("<{address}>: commands are taken only from an address of your own login; look at From"),
    )
}

/// The deferral of a letter for trouble of our own.
#[must_use]
pub fn deferral(recipients: &[&Address]) -> SmtpReply {
    temporary("4.7.1", &format!("{}: postage cannot be checked now; try again", named(recipients)))
}

/// The deferral of a letter whose work, or whose retry, comes too often today.
#[must_use]
pub fn later(recipients: &[&Address], terms: &Terms<'_>) -> SmtpReply {
    let see = recipients.first().map_or_else(String::new, |first| format!("; or see {}", terms.see(first)));
    temporary("4.7.1", &format!("{}: enough of this for today; try again tomorrow{see}", named(recipients)))
}

/// A reply of class 5 with this text, cut and escaped so that it is always one.
#[must_use]
pub fn permanent(enhanced: &str, text: &str) -> SmtpReply {
    reply(550, enhanced, text)
}

/// A reply of class 4 with this text, cut and escaped so that it is always one.
#[must_use]
pub fn temporary(enhanced: &str, text: &str) -> SmtpReply {
    reply(451, enhanced, text)
}

fn reply(code: u16, enhanced: &str, text: &str) -> SmtpReply {
    /// Octets of a reply line that every MTA passes on (RFC 5321 §4.5.3.1.5 less code and enhanced code).
    const TEXT_OCTETS_MAX: usize = 490;
    let mut text = escaped(text.as_bytes());
    while text.len() > TEXT_OCTETS_MAX {
        text.pop();
    }
    SmtpReply::new(code, enhanced, [text]).unwrap_or_else(|_| SmtpReply::trouble("try again"))
}

/// The word of an invalid class.
#[must_use]
pub const fn word(class: Class) -> Option<Word> {
    match class {
        Class::Invalid(word) => Some(word),
        _ => None,
    }
}
