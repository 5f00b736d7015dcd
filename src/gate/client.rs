//! Who brought a letter: the SMTP client, or, where that is a relay of ours, the client its Received field names.
//!
//! A relay (a backup MX, a filter) hides the real client, but writes on top of the letter from whom it has it. That is
//! believed of a relay and of nobody else. What cannot be read names nobody: the relay's own address never
//! authenticates anyone, and exempts nobody.

use std::net::{IpAddr, Ipv6Addr};

use super::letter::Letter;
use crate::address::Domain;

/// Relays of ours that a letter may pass one after the other.
const RELAYS_MAX: usize = 10;
/// Octets of a Received value that are looked at; what it came from stands at its beginning.
const RECEIVED_OCTETS_MAX: usize = 2_048;

/// Who brought a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its address, if it is known.
    pub ip: Option<IpAddr>,
    /// The name it gave.
    pub helo: Vec<u8>,
    /// The name that the MTA found for its address; empty behind a relay.
    pub name: Vec<u8>,
    /// Relays of ours it has passed: so many Received fields are theirs.
    pub relays_passed: usize,
}

impl Client {
    /// The real client, given the one that connected and which addresses are relays'.
    #[must_use]
    pub fn behind(connected: &Self, letter: &Letter, is_relay: impl Fn(&IpAddr) -> bool) -> Self {
        let mut client = connected.clone();
        let mut received = letter.values("Received").skip(connected.relays_passed);
        while client.ip.as_ref().is_some_and(&is_relay) {
            if client.relays_passed >= RELAYS_MAX {
                return Self { ip: None, helo: vec![], name: vec![], ..client };
            }
            let (ip, helo) =
                received.next().and_then(origin).map_or((None, vec![]), |(ip, helo)| (Some(ip), helo));
            client = Self { ip, helo, name: vec![], relays_passed: client.relays_passed + 1 };
        }
        client
    }

    /// The names it may have, each once; none of them is proven.
    #[must_use]
    pub fn names(&self) -> Vec<Domain> {
        let read = |name: &[u8]| Domain::from_any(std::str::from_utf8(name).ok()?).ok();
        let mut names: Vec<Domain> = [&self.helo, &self.name].into_iter().filter_map(|n| read(n)).collect();
        names.dedup();
        names
    }
}

/// From which address a Received field says the letter came, and by which HELO name. The forms of Postfix and Sendmail,
/// `from helo (host [192.0.2.1])`; Exim, `from host ([192.0.2.1] helo=name)` and `from [192.0.2.1] (helo=name)`;
/// Exchange, `from name (192.0.2.1)`. `None` when it is none of them, or could be read in two ways.
#[must_use]
pub fn origin(value: &[u8]) -> Option<(IpAddr, Vec<u8>)> {
    let value = value.get(..RECEIVED_OCTETS_MAX).unwrap_or(value);
    let text = std::str::from_utf8(value).ok()?.trim_start();
    let (from, rest) = text.split_at_checked(4)?;
    if !from.eq_ignore_ascii_case("from") || !rest.starts_with(|c: char| c.is_ascii_whitespace()) {
        return None;
    }
    let rest = rest.trim_start();
    let end = rest.find(|c: char| c.is_ascii_whitespace())?;
    let (name, rest) = rest.split_at_checked(end)?;
    let comment = rest.trim_start().strip_prefix('(')?;
    let (comment, _) = comment.split_once(')')?;
    // The identity that a client claims for itself, or a comment inside the comment, could hold anything.
    if comment.contains(['(', '@', '\\', '"']) {
        return None;
    }
    let mut helo = None;
    let mut addresses = vec![];
    for word in comment.split_ascii_whitespace() {
        if let Some((key, said)) = word.split_once('=') {
            if key.eq_ignore_ascii_case("helo") {
                helo = Some(said);
            }
        } else if let Some(ip) = address(word) {
            addresses.push(ip);
        } else if word.contains('[') {
            return None;
        }
    }
    match (addresses.as_slice(), name.starts_with('[')) {
        ([ip], _) => Some((*ip, helo.unwrap_or(name).into())),
        // Exim, where the host has no name: the literal is its address, not what it said.
        ([], true) if helo.is_some() || comment.contains("port=") => {
            Some((address(name)?, helo.unwrap_or(name).into()))
        }
        _ => None,
    }
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]`, `[192.0.2.1]:25025`, `192.0.2.1`.
fn address(word: &str) -> Option<IpAddr> {
    let Some(inner) = word.strip_prefix('[') else { return word.parse().ok() };
    let (inner, after) = inner.split_once(']')?;
    let port = after.strip_prefix(':').is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()));
    if !port || !(after.is_empty() || after.starts_with(':')) {
        return None;
    }
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            inner.get(5..)?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_fields_of_the_usual_servers() {
        let table: &[(&str, Option<(&str, &str)>)] = &[
            (
                " from mx.a.example (mail.a.example [192.0.2.1])\n\tby backup.b.example (Postfix) with ESMTP id 4X",
                Some(("192.0.2.1", "mx.a.example")),
            ),
            (" from mx.a.example (unknown [192.0.2.1])\n by b", Some(("192.0.2.1", "mx.a.example"))),
            (
                " from mx.a.example (mail.a.example [IPv6:2001:db8::1]) by b",
                Some(("2001:db8::1", "mx.a.example")),
            ),
            ("from [198.51.100.9] (unknown [192.0.2.1]) by b", Some(("192.0.2.1", "[198.51.100.9]"))),
            (
                "from mx.a.example ([192.0.2.1]) by b (8.15.2/8.15.2) with ESMTP",
                Some(("192.0.2.1", "mx.a.example")),
            ),
            (
                "from mx.a.example (mail.a.example [192.0.2.1] may be forged) by b",
                Some(("192.0.2.1", "mx.a.example")),
            ),
            (
                "from mail.a.example ([192.0.2.1] helo=mx.a.example) by b with esmtp (Exim 4.96)",
                Some(("192.0.2.1", "mx.a.example")),
            ),
            (
                "from mail.a.example ([192.0.2.1]:41234 helo=[198.51.100.9]) by b",
                Some(("192.0.2.1", "[198.51.100.9]")),
            ),
            ("from [192.0.2.1] (helo=mx.a.example) by b", Some(("192.0.2.1", "mx.a.example"))),
            ("from [192.0.2.1] (port=4123 helo=mx.a.example) by b", Some(("192.0.2.1", "mx.a.example"))),
            (
                "from mx.a.example (192.0.2.1) by b (10.0.0.1) with Microsoft SMTP Server",
                Some(("192.0.2.1", "mx.a.example")),
            ),
            ("FROM mx.a.example (2001:db8::1) BY b", Some(("2001:db8::1", "mx.a.example"))),
            ("by b.example (Postfix, from userid 1000)", None),
            ("from mx.a.example by b.example", None),
            ("from mx.a.example (mail.a.example) by b [192.0.2.1]", None),
            ("from mx.a.example (IDENT:x[198.51.100.9]@mail.a.example [192.0.2.1]) by b", None),
            ("from mx.a.example ([198.51.100.9] [192.0.2.1]) by b", None),
            ("from mx.a.example (x[198.51.100.9] [192.0.2.1]) by b", None),
            ("from mx.a.example ((192.0.2.1)) by b", None),
            ("from [192.0.2.1] by b", None),
            ("from [192.0.2.1] (unknown) by b", None),
            ("from mx.a.example ([192.0.2.300]) by b", None),
            ("from mx.a.example ([192.0.2.1]evil) by b", None),
            ("from", None),
            ("", None),
        ];
        for (value, found) in table {
            let shown =
                origin(value.as_bytes()).map(|(ip, helo)| (ip.to_string(), String::from_utf8(helo).unwrap()));
            assert_eq!(shown.as_ref().map(|(ip, helo)| (ip.as_str(), helo.as_str())), *found, "{value:?}");
        }
        let _ = origin("(".repeat(100_000).as_bytes());
    }

    #[test]
    fn relays_are_looked_behind_one_after_the_other() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let relay = |ip: &IpAddr| ip.to_string().starts_with("10.");
        let connected = Client { ip: Some(ip("10.0.0.1")), helo: b"relay".to_vec(), ..Client::default() };
        let mut letter = Letter::new(b"");
        letter.header(b"Received", b" from outer (outer [10.0.0.2]) by relay", |_, _| false);
        assert_eq!(Client::behind(&connected, &letter, relay).ip, None, "nobody, rather than the relay");
        letter.header(b"Received", b" from mx.a.example (mail [192.0.2.1]) by outer", |_, _| false);
        letter.header(b"Received", b" from forged (forged [192.0.2.9]) by mx.a.example", |_, _| false);
        let (ip_of_mx, helo) = (Some(ip("192.0.2.1")), b"mx.a.example".to_vec());
        let client = Client { ip: ip_of_mx, helo, relays_passed: 2, ..Client::default() };
        assert_eq!(Client::behind(&connected, &letter, relay), client);
        let stranger = Client { ip: Some(ip("192.0.2.66")), ..connected };
        assert_eq!(
            Client::behind(&stranger, &letter, relay),
            stranger,
            "who is no relay is believed nothing"
        );
        let outer = Client { ip: Some(ip("10.0.0.2")), relays_passed: 1, ..Client::default() };
        assert_eq!(Client::behind(&outer, &letter, relay), client, "from where it has come to already");
    }

    #[test]
    fn the_names_a_client_may_have() {
        let names = |helo: &str, name: &str| {
            let client = Client { helo: helo.into(), name: name.into(), ..Client::default() };
            client.names().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names("MX.old.example", "out.old.example"), ["mx.old.example", "out.old.example"]);
        assert_eq!(names("mx.old.example.", "mx.old.example"), ["mx.old.example"]);
        assert_eq!(names("[192.0.2.1]", "unknown"), [""; 0]);
    }
}
