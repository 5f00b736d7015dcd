//! The mail that tells a user that a copy of his letter could not be delivered (RFC 3464), with the letter or its header.
//!
//! Pure. It goes from the null sender, as all our mail does, so nothing answers it.

use super::compose::mail_address;
use crate::{
    address::{Address, Domain, escaped},
    ledger::outbox::{MailKind, NewMail},
    message::{
        build::{date_value, message_id_value},
        dsn::{Dsn, Ret},
        split_message,
    },
};

/// Octets of a letter that comes back whole; of a longer one its header does.
const WHOLE_OCTETS_MAX: usize = 50_000;
/// Octets of a header that comes back; a field beyond it is left out with all that follow.
const HEADER_OCTETS_MAX: usize = 100_000;

/// What failed.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// The envelope's sender.
    pub sender: &'a [u8],
    /// Who did not get it.
    pub recipient: &'a Address,
    /// What the server said.
    pub error: &'a str,
    /// What we call ourselves.
    pub hostname: &'a str,
    /// The domain whose postmaster says so.
    pub domain: &'a Domain,
    /// What he wanted to hear of it.
    pub dsn: &'a Dsn,
    /// The letter, lines ended by CRLF.
    pub message: &'a [u8],
    /// When it was sent, in Unix seconds.
    pub queued: u64,
}

/// To whom a letter of this sender comes back; `None`: to nobody, and no copy may be made that could fail.
#[must_use]
pub fn recipient(sender: &[u8]) -> Option<Address> {
    Address::parse(sender).ok().filter(|to| mail_address(to).is_ok())
}

/// Writes the mail; `random` makes its Message-ID. `None` when there is nobody to write to.
#[must_use]
pub fn bounce(failed: &Failed<'_>, now: u64, random: &[u8; 16]) -> Option<NewMail> {
    let to = recipient(failed.sender)?;
    let message_id = message_id_value(random, failed.domain);
    let boundary = data_encoding::HEXLOWER.encode(random);
    let (recipient, sender) = (escaped(&failed.recipient.to_bytes()), escaped(failed.sender));
    let (error, hostname, domain) = (escaped(failed.error.as_bytes()), failed.hostname, failed.domain);
    // What a machine reads is ASCII.
    let error: String = error.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    let returned = returned(failed.message, failed.dsn.letter.ret());
    let field =
        |name: &str, value: Option<&str>| value.map_or(String::new(), |value| format!("{name}: {value}\r\n"));
    let all_ascii = returned.octets.is_ascii() && recipient.is_ascii() && sender.is_ascii();
    let encoding = if all_ascii { "7bit" } else { "8bit" };
    let head = format!(
        "From: Mail Delivery System <postmaster@{domain}>\r\nTo: <{sender}>\r\n\
         Subject: Undelivered mail: {recipient}\r\nDate: {date}\r\nMessage-ID: {message_id}\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n\
         Your letter of {sent} could not be delivered to\r\n\r\n    <{recipient}>\r\n\r\n\
         His copy went by itself, so that others do not see who else got one, or because\r\n\
         postage had to be bought for it. All other recipients are not concerned.\r\n\r\n\
         The mail server said:\r\n\r\n    {error}\r\n\r\n\
         --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n\
         {envelope_id}Reporting-MTA: dns; {hostname}\r\nArrival-Date: {sent}\r\n\r\n\
         {original}Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: {status}\r\n\
         Diagnostic-Code: smtp; {error}\r\n\r\n\
         --{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n",
        date = date_value(now),
        sent = date_value(failed.queued),
        envelope_id = field("Original-Envelope-Id", failed.dsn.letter.envelope_id()),
        original = field("Original-Recipient", failed.dsn.recipient.original_recipient()),
        status = status(failed.error),
        kind = returned.kind,
    );
    let mut message = head.into_bytes();
    message.extend_from_slice(returned.octets);
    message.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Some(NewMail { to, kind: MailKind::Bounce, message_id, message, now })
}

/// What comes back of a letter.
struct Returned<'a> {
    kind: &'static str,
    octets: &'a [u8],
}

fn returned(message: &[u8], ret: Option<Ret>) -> Returned<'_> {
    if message.len() <= WHOLE_OCTETS_MAX && ret != Some(Ret::Headers) {
        return Returned { kind: "message/rfc822", octets: message };
    }
    let parts = split_message(message);
    let mut end = parts.envelope_line.len();
    for header in &parts.headers {
        if end + header.raw.len() > HEADER_OCTETS_MAX {
            break;
        }
        end += header.raw.len();
    }
    Returned { kind: "text/rfc822-headers", octets: message.get(..end).unwrap_or_default() }
}

/// The enhanced status code that the server gave, if it gave a permanent one (RFC 3463).
fn status(error: &str) -> &str {
    let is_code = |word: &&str| {
        let numbers: Vec<&str> = word.split('.').collect();
        let [class, subject, detail] = numbers.as_slice() else { return false };
        let is_number =
            |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        *class == "5" && is_number(subject) && is_number(detail)
    };
    error.split([' ', '-']).take(3).find(is_code).unwrap_or("5.0.0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::dsn::{LetterDsn, RecipientDsn};

    fn failed<'a>(message: &'a [u8], error: &'a str, parties: &'a (Address, Domain, Dsn)) -> Failed<'a> {
        Failed {
            sender: b"Carol+x@c.example",
            recipient: &parties.0,
            error,
            hostname: "mx.c.example",
            domain: &parties.1,
            dsn: &parties.2,
            message,
            queued: 1_800_000_000,
        }
    }

    fn parties() -> (Address, Domain, Dsn) {
        ("eve@b.example".parse().unwrap(), "c.example".parse().unwrap(), Dsn::default())
    }

    #[test]
    fn a_mail_program_reads_what_failed_and_why() {
        let parties = parties();
        let letter = b"From: carol@c.example\r\nSubject: Lunch?\r\n\r\nat noon\r\n";
        let told =
            bounce(&failed(letter, "550 5.1.1 nobody\u{e4}\r\nX: y", &parties), 1_800_000_100, &[7; 16]);
        let told = told.unwrap();
        assert_eq!((told.to.to_string().as_str(), told.kind), ("carol+x@c.example", MailKind::Bounce));
        assert!(told.message.is_ascii());
        let parsed = mail_parser::MessageParser::default().parse(&told.message).unwrap();
        assert_eq!(parsed.message_id().unwrap(), told.message_id.trim_matches(['<', '>']));
        assert_eq!(parsed.parts.len(), 4, "{}", String::from_utf8_lossy(&told.message));
        let text = parsed.body_text(0).unwrap();
        assert!(text.contains("<eve@b.example>") && text.contains("550 5.1.1 nobody"), "{text}");
        let whole = String::from_utf8(told.message.clone()).unwrap();
        assert!(
            whole.contains(
                "\r\nFinal-Recipient: rfc822; eve@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
            )
        );
        assert!(!whole.contains("\r\nX: y"), "what the server said stays in its line");
        assert!(parsed.attachment(0).is_some());
        assert!(whole.contains("Subject: Lunch?\r\n\r\nat noon\r\n"));
    }

    #[test]
    fn of_a_long_letter_the_header_comes_back() {
        let parties = parties();
        let letter = [b"Subject: \xc3\xa4\r\n\r\n".as_slice(), &b"body\r\n".repeat(10_000)].concat();
        let told = bounce(&failed(&letter, "gone", &parties), 1_800_000_100, &[7; 16]).unwrap();
        let whole = String::from_utf8_lossy(&told.message).into_owned();
        assert!(whole.contains("text/rfc822-headers") && whole.contains("Subject: \u{e4}"), "{whole}");
        assert!(whole.contains("Content-Transfer-Encoding: 8bit") && !whole.contains("body"));
        assert!(whole.contains("Status: 5.0.0"));
        let nobody = Failed { sender: b"nobody", ..failed(&letter, "gone", &parties) };
        assert_eq!(bounce(&nobody, 0, &[7; 16]), None);
    }

    #[test]
    fn it_says_what_its_sender_asked_for_and_returns_no_more() {
        let dsn = Dsn {
            letter: LetterDsn::new(Some(b"HDRS"), Some(b"Q+2B1")),
            recipient: RecipientDsn::new(None, Some(b"rfc822;Eve+2Bx@b.example")),
        };
        let parties = (parties().0, parties().1, dsn);
        let letter = b"Subject: Lunch?\r\n\r\nat noon\r\n";
        let told = bounce(&failed(letter, "550 5.1.1 no", &parties), 1_800_000_100, &[7; 16]).unwrap();
        let whole = String::from_utf8(told.message).unwrap();
        assert!(whole.contains("\r\n\r\nOriginal-Envelope-Id: Q+1\r\nReporting-MTA: "), "{whole}");
        let recipient = "\r\n\r\nOriginal-Recipient: rfc822;Eve+x@b.example\r\nFinal-Recipient: ";
        assert!(whole.contains(recipient), "{whole}");
        assert!(whole.contains("text/rfc822-headers") && !whole.contains("at noon"), "{whole}");
    }

    #[test]
    fn codes_of_servers() {
        let table = [
            ("550 5.7.1 <x>: no", "5.7.1"),
            ("554-5.2.2 full", "5.2.2"),
            ("550 no such user", "5.0.0"),
            ("451 4.7.1 later", "5.0.0"),
            ("5.1", "5.0.0"),
            ("5.1234.1", "5.0.0"),
            ("5.x.1", "5.0.0"),
        ];
        for (error, code) in table {
            assert_eq!(status(error), code, "{error}");
        }
    }
}
