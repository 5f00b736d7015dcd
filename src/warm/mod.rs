//! Starting warm: what old mail and the decisions so far say about who is known and what the gate would do.
//!
//! Nothing here changes mail, and only `import` writes into the book, through the caller. All of it is tolerant: what cannot be
//! read is listed, and the rest goes on.

pub mod facts;
pub mod import;
pub mod overview;
pub mod page;
pub mod sent;
pub mod simulate;
pub mod vcard;

use std::collections::HashMap;

use mail_parser::DateTime;

use crate::{
    address::Address,
    config::Config,
    identity::results::{self, Results},
    ledger::book::Sender,
    message::Message,
};

/// Fields that name the recipient a letter was delivered to, the surest first. Postfix writes both; the first is what
/// the envelope said.
const DELIVERED: [&str; 2] = ["X-Original-To", "Delivered-To"];

/// Whose letter this is: whom it was delivered to, else the first of ours it is addressed to. Only domains the gate
/// guards count.
#[must_use]
pub fn recipient_of(message: &Message<'_>, config: &Config) -> Option<Address> {
    let ours = |address: &Address| config.gate.guards(address.domain());
    let delivered = || {
        let values = DELIVERED.iter().flat_map(|name| message.values(name));
        values.filter_map(|value| Address::parse(value.trim_ascii()).ok()).find(ours)
    };
    let addressed = || {
        let values = ["To", "Cc"].into_iter().flat_map(|name| message.values(name));
        values.flat_map(crate::message::addresses::addresses).find(ours)
    };
    delivered().or_else(addressed)
}

/// When a letter came: by its topmost Received field, else its own Date; Unix seconds.
#[must_use]
pub fn time_of(message: &Message<'_>) -> Option<u64> {
    let received = message.values("Received").next().and_then(|value| value.rsplit(|&b| b == b';').next());
    [received, message.values("Date").next()].into_iter().flatten().find_map(|text| {
        // A date is short; what is longer is none.
        let text = std::str::from_utf8(text.get(..text.len().min(100))?).ok()?.trim();
        let date = DateTime::parse_rfc822(text).filter(DateTime::is_valid)?;
        u64::try_from(date.to_timestamp()).ok()
    })
}

/// By which server's word letters are judged: the gate's own name and those the configuration trusts.
fn trusts(config: &Config, server: &str) -> bool {
    config.gate.hostname.eq_ignore_ascii_case(server)
        || config.identity.trusted.iter().any(|trusted| trusted.eq_ignore_ascii_case(server))
}

/// What trusted servers said of a letter when it came. A field that came with the letter, in such a server's name, stands
/// below what the server wrote itself: of each method only the topmost results count, and those that stand between the same
/// two Received fields as they do.
#[must_use]
pub fn told_by_trusted(message: &Message<'_>, config: &Config) -> Vec<Results> {
    let mut hop = 0_u32;
    let mut topmost: HashMap<String, u32> = HashMap::new();
    let mut all = Vec::new();
    for field in &message.headers {
        if field.is("Received") {
            hop += 1;
        } else if field.is(results::FIELD) {
            for mut told in results::of_trusted([field.value], |server| trusts(config, server)) {
                told.results.retain(|r| *topmost.entry(r.method.clone()).or_insert(hop) == hop);
                all.push(told);
            }
        }
    }
    all
}

/// The line that would let such letters in. `None` for a name that could not be typed safely, and for those whose bounces
/// come in by themselves where they return what was sent, and are somebody else's where they do not.
#[must_use]
pub fn welcome(sender: &Sender, recipient: Option<&Address>) -> Option<String> {
    let bounces = |address: &Address| [&b"mailer-daemon"[..], b"postmaster"].contains(&address.local());
    if matches!(sender, Sender::Address(address) if bounces(address)) {
        return None;
    }
    let text = sender.to_string();
    let whose = recipient.map(|r| format!(" --for {}", r.without_detail())).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_+@:=/".contains(&b);
    (!text.starts_with('-') && text.bytes().chain(whose.bytes()).all(|b| plain(b) || b == b' '))
        .then(|| format!("farthing known add {text}{whose}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_with_a_letter_in_our_name_stands_below_our_own_and_does_not_count() {
        let (own, forged, other) = (
            "Authentication-Results: mx.b.example; spf=fail smtp.mailfrom=a.example; dkim=none\n",
            "Authentication-Results: mx.b.example; spf=pass smtp.mailfrom=a.example; dmarc=pass header.from=a.example\n",
            "Authentication-Results: mx.evil.example; dkim=pass header.d=a.example\n",
        );
        let hop = "Received: from x by y\n";
        let config = "[gate]\nhostname = \"mx.b.example\"\ndomains = [\"b.example\"]\nlisten = [\"unix:m\"]\n[ledger]\nurl = \"sqlite:l\"\n";
        for (header, counts) in [
            ([hop, own, hop, forged], "spf=fail dkim=none dmarc=pass"),
            ([own, hop, forged, hop], "spf=fail dkim=none dmarc=pass"),
            ([hop, forged, hop, own], "spf=pass dmarc=pass dkim=none"),
            ([hop, own, own, hop], "spf=fail dkim=none spf=fail dkim=none"),
            ([other, hop, other, own], "spf=fail dkim=none"),
            ([hop, hop, hop, hop], ""),
        ] {
            let config = Config::parse(config, std::path::Path::new("/farthing.toml")).unwrap();
            let letter = format!("{}\nHello\n", header.concat());
            let told = told_by_trusted(&crate::message::split_message(letter.as_bytes()), &config);
            let words = told.iter().flat_map(|t| &t.results).map(|r| format!("{}={}", r.method, r.result));
            assert_eq!(words.collect::<Vec<_>>().join(" "), counts, "{header:?}");
        }
    }

    #[test]
    fn what_strangers_wrote_is_no_command_of_a_shell() {
        let line = |sender: &str, recipient: &str| {
            welcome(&sender.parse().unwrap(), Some(&recipient.parse().unwrap()))
        };
        assert_eq!(
            line("list:users.lists.example", "bob+x@b.example").as_deref(),
            Some("farthing known add list:users.lists.example --for bob@b.example")
        );
        for (sender, recipient) in [
            ("list:users.lists.example", "`reboot`@b.example"),
            ("list:users.lists.example", "x|reboot@b.example"),
            ("list:users.lists.example", "\"x; reboot\"@b.example"),
            ("${reboot}@a.example", "bob@b.example"),
            ("-h@a.example", "bob@b.example"),
        ] {
            assert_eq!(line(sender, recipient), None, "{sender} {recipient}");
        }
    }
}
