//! Putting fields into a message: what a sender's program adds before it hands a letter in.

use std::borrow::Cow;

use data_encoding::BASE32_NOPAD;
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};

use super::split_message;
use crate::address::Domain;

/// The message with these fields at its top, in their order, with the message's own line ends. A field's value may be
/// folded with CRLF or LF and begins without the space that follows the colon. An mbox `From ` line stays first.
#[must_use]
pub fn add_fields(message: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let parts = split_message(message);
    let rest = message.get(parts.envelope_line.len()..).unwrap_or_default();
    let line_end = line_end(message);
    let added: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    let mut out = Vec::with_capacity(message.len() + added);
    out.extend_from_slice(parts.envelope_line);
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        for (number, line) in value.lines().enumerate() {
            if number > 0 {
                out.extend_from_slice(line_end);
            }
            out.extend_from_slice(line.as_bytes());
        }
        out.extend_from_slice(line_end);
    }
    // Without a header of its own the text would become part of ours.
    if parts.headers.is_empty() && parts.body.len() == rest.len() {
        out.extend_from_slice(line_end);
    }
    out.extend_from_slice(rest);
    out
}

/// The message without the fields of these names; everything else of it stays octet by octet.
#[must_use]
pub fn without(message: &[u8], is_unwanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let parts = split_message(message);
    let mut out = Vec::with_capacity(message.len());
    out.extend_from_slice(parts.envelope_line);
    let mut headers = 0;
    for header in &parts.headers {
        headers += header.raw.len();
        if !is_unwanted(header.name) {
            out.extend_from_slice(header.raw);
        }
    }
    out.extend_from_slice(message.get(parts.envelope_line.len() + headers..).unwrap_or_default());
    out
}

/// The message as SMTP wants it: every line ends in CRLF, and a CR without LF, which ends none here and elsewhere might,
/// is a space. Where a server sees a line's end and we do not, the message could end and what follows be a client's words, or
/// a field begin that nobody has looked at (RFC 5321 §2.3.8).
#[must_use]
pub fn with_crlf(message: &[u8]) -> Cow<'_, [u8]> {
    let is_pair = |at: usize| message.get(at..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    let is_bare = |(at, b): (usize, &u8)| match b {
        b'\r' => !is_pair(at),
        b'\n' => at.checked_sub(1).is_none_or(|before| !is_pair(before)),
        _ => false,
    };
    if !message.iter().enumerate().any(is_bare) {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 16);
    for (at, &b) in message.iter().enumerate() {
        match b {
            b'\r' if is_pair(at) => {}
            b'\r' => out.push(b' '),
            b'\n' => out.extend_from_slice(b"\r\n"),
            _ => out.push(b),
        }
    }
    Cow::Owned(out)
}

/// How the message ends its lines: as it ends the first one; CRLF when it has none.
fn line_end(message: &[u8]) -> &'static [u8] {
    let first = message.iter().position(|&b| b == b'\n');
    let bare = first.is_some_and(|at| at == 0 || message.get(at - 1) != Some(&b'\r'));
    if bare { b"\n" } else { b"\r\n" }
}

/// A Date field's value for `now` in Unix seconds, in UTC. A time beyond year 9999 is shown as the last there is.
#[must_use]
pub fn date_value(now: u64) -> String {
    let time =
        i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok()).unwrap_or(Timestamp::MAX);
    rfc2822::to_string(&time.to_zoned(TimeZone::UTC)).unwrap_or_default()
}

/// A Message-ID field's value of 16 random bytes and a domain of the sender.
#[must_use]
pub fn message_id_value(random: &[u8; 16], domain: &Domain) -> String {
    format!("<{}@{domain}>", BASE32_NOPAD.encode(random).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn added(message: &str) -> String {
        String::from_utf8(add_fields(message.as_bytes(), &[("P", "1;\r\n 2"), ("Q", "3")])).unwrap()
    }

    #[test]
    fn fields_stand_at_the_top_with_the_message_s_line_ends() {
        for (message, whole) in [
            ("A: 1\r\n\r\nx\r\n", "P: 1;\r\n 2\r\nQ: 3\r\nA: 1\r\n\r\nx\r\n"),
            ("A: 1\n\nx\n", "P: 1;\n 2\nQ: 3\nA: 1\n\nx\n"),
            ("A: 1", "P: 1;\r\n 2\r\nQ: 3\r\nA: 1"),
            ("From a Fri\nA: 1\n\nx", "From a Fri\nP: 1;\n 2\nQ: 3\nA: 1\n\nx"),
            ("\nx\n", "P: 1;\n 2\nQ: 3\n\nx\n"),
            ("x\n", "P: 1;\n 2\nQ: 3\n\nx\n"),
            ("", "P: 1;\r\n 2\r\nQ: 3\r\n\r\n"),
        ] {
            assert_eq!(added(message), whole, "{message:?}");
        }
    }

    #[test]
    fn lines_end_as_smtp_wants_it() {
        for (message, sent) in [
            ("", ""),
            ("a\nb", "a\r\nb"),
            ("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
            ("\n.\n", "\r\n.\r\n"),
            ("a\n.\r\nb", "a\r\n.\r\nb"),
            ("a\r.\r\nb", "a .\r\nb"),
            ("a\r\r\n.\r", "a \r\n. "),
            ("\n\r\n\r", "\r\n\r\n "),
            ("Subject: a\rBcc: b\n\n", "Subject: a Bcc: b\r\n\r\n"),
        ] {
            assert_eq!(with_crlf(message.as_bytes()), sent.as_bytes(), "{message:?}");
            assert!(matches!(with_crlf(sent.as_bytes()), Cow::Borrowed(_)), "{sent:?}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(date_value(1_800_000_000), "Fri, 15 Jan 2027 08:00:00 +0000");
        assert_eq!(date_value(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert!(date_value(u64::MAX).contains(" 9999 "));
    }

    #[test]
    fn message_ids() {
        let domain = "a.example".parse().unwrap();
        assert_eq!(message_id_value(&[0; 16], &domain), "<aaaaaaaaaaaaaaaaaaaaaaaaaa@a.example>");
        assert_ne!(message_id_value(&[1; 16], &domain), message_id_value(&[2; 16], &domain));
    }

    proptest! {
        #[test]
        fn the_letter_stays_the_letter(message in "([A-B]: ?[a ]{0,5}\n( [a]{0,3}\n){0,2}){0,4}\n?[a-b:\n ]{0,20}") {
            let with = add_fields(message.as_bytes(), &[("P", "1"), ("Q", "2")]);
            let (before, after) = (split_message(message.as_bytes()), split_message(&with));
            prop_assert_eq!(&after.headers[2..], &before.headers[..]);
            prop_assert_eq!(after.body, before.body);
            prop_assert_eq!(after.values("P").collect::<Vec<_>>(), [b" 1"]);
        }
    }
}
