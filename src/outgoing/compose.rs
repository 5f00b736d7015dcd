//! Writing our own mail: answers to commands, and whatever else the daemon has to say to a local user.
//!
//! Pure: time and randomness come in, octets go out. Every mail goes to one address, from the command address, and says
//! that no person wrote it, so that no honest robot answers it (RFC 3834).

use std::time::{Duration, UNIX_EPOCH};

use lettre::{
    Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};

use crate::{
    address::Address,
    ledger::outbox::{AnswerPart, MailKind, NewMail, WaitingAnswers},
    message::build::{date_value, message_id_value},
};

/// Message-IDs one mail says it answers: beyond it, threads are no clearer.
const ANSWERED_IDS_MAX: usize = 10;
/// The last second that a Date field can show: the end of year 9999.
const DATE_LAST_S: u64 = 253_402_300_799;

/// What a mail says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The command address.
    pub from: &'a Address,
    /// The one recipient.
    pub to: &'a Address,
    /// Without encoding; control characters become spaces.
    pub subject: &'a str,
    /// What it is.
    pub kind: MailKind,
    /// Message-IDs that it answers, with or without brackets.
    pub in_reply_to: &'a [&'a str],
}

/// What a mail says.
#[derive(Clone, Debug)]
pub struct Text {
    /// For people who read text.
    pub plain: String,
    /// The same for people who click, a whole HTML document; may be missing.
    pub html: Option<String>,
}

/// The mail cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// An address of another form than mail software takes.
    #[error("mail cannot be written to or from {0}: {1}")]
    Address(Address, String),
    /// What the message builder says.
    #[error("the mail cannot be written: {0}")]
    Message(String),
}

/// An address as the SMTP client and the message builder take it.
///
/// # Errors
/// [`ComposeError::Address`] for octets beyond UTF-8 and for forms that few servers would take.
pub fn mail_address(address: &Address) -> Result<lettre::Address, ComposeError> {
    let fault = |words: String| ComposeError::Address(address.clone(), words);
    let local = std::str::from_utf8(address.local()).map_err(|e| fault(e.to_string()))?;
    lettre::Address::new(local, address.domain().as_str()).map_err(|e| fault(e.to_string()))
}

/// An envelope's address, as the SMTP client takes it: word for word.
#[must_use]
pub fn envelope_address(given: &[u8]) -> Option<lettre::Address> {
    std::str::from_utf8(given).ok()?.parse().ok()
}

/// Writes a mail; `random` makes its Message-ID.
///
/// # Errors
/// [`ComposeError`].
pub fn mail(head: &Head<'_>, text: Text, now: u64, random: &[u8; 16]) -> Result<NewMail, ComposeError> {
    let mailbox = |address| Ok::<_, ComposeError>(Mailbox::new(None, mail_address(address)?));
    let message_id = message_id_value(random, head.from.domain());
    let robot = match head.kind {
        MailKind::Answer | MailKind::Bounce => "auto-replied",
        MailKind::Digest => "auto-generated",
    };
    let mut builder = Message::builder()
        .date(UNIX_EPOCH + Duration::from_secs(now.min(DATE_LAST_S)))
        .from(mailbox(head.from)?)
        .to(mailbox(head.to)?)
        .subject(printable(head.subject))
        .message_id(Some(message_id.clone()))
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), robot.into()));
    let answered: Vec<String> = head.in_reply_to.iter().filter_map(|id| bracketed(id)).collect();
    if !answered.is_empty() {
        let answered = answered.get(..ANSWERED_IDS_MAX).unwrap_or(&answered).join(" ");
        builder = builder.in_reply_to(answered.clone()).references(answered);
    }
    // Each part gets a line end of its own.
    let plain = SinglePart::plain(text.plain.trim_end_matches('\n').to_owned());
    let message = match text.html {
        None => builder.singlepart(plain),
        // The boundary stands in no text: nobody knows the random octets before.
        Some(html) => builder.multipart(
            MultiPart::alternative()
                .boundary(data_encoding::HEXLOWER.encode(random))
                .singlepart(plain)
                .singlepart(SinglePart::html(html)),
        ),
    };
    let message = message.map_err(|e| ComposeError::Message(e.to_string()))?.formatted();
    Ok(NewMail { to: head.to.clone(), kind: head.kind, message_id, message, now })
}

/// One mail of all the answers that wait for an address.
///
/// # Errors
/// [`ComposeError`]; also when there are none.
pub fn answers(waiting: &WaitingAnswers, now: u64, random: &[u8; 16]) -> Result<NewMail, ComposeError> {
    let Some(newest) = waiting.parts.last() else {
        return Err(ComposeError::Message("there is nothing to answer".into()));
    };
    let others = waiting.parts.len() - 1;
    let subject = match others {
        0 => newest.about.subject.clone(),
        _ => format!("{} (and {others} more)", newest.about.subject),
    };
    let ids: Vec<&str> =
        waiting.parts.iter().rev().filter_map(|part| part.about.in_reply_to.as_deref()).collect();
    let head = Head {
        from: &newest.about.from,
        to: &waiting.to,
        subject: &subject,
        kind: MailKind::Answer,
        in_reply_to: &ids,
    };
    mail(&head, Text { plain: answers_text(waiting, newest), html: None }, now, random)
}

fn answers_text(waiting: &WaitingAnswers, newest: &AnswerPart) -> String {
    let mut text = String::new();
    if waiting.parts.len() == 1 {
        text.push_str(&newest.text);
        end_line(&mut text);
    } else {
        text.push_str(&format!(
            "You wrote {} mails in a short time; here are the answers to all of them.\n",
            waiting.parts.len()
        ));
        for part in &waiting.parts {
            let subject = printable(&part.about.subject);
            text.push_str(&format!("\n=== {subject} ({})\n\n{}", date_value(part.time), part.text));
            end_line(&mut text);
        }
    }
    if waiting.left_out > 0 {
        text.push_str(&format!(
            "\nAnswers to {} more of your mails were left out, because too many waited.\n\
             What they asked for was done as far as it could be.\n",
            waiting.left_out
        ));
    }
    text
}

fn end_line(text: &mut String) {
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

/// A text on one line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// `<id>`, if it can stand in a field: what came in a letter is somebody else's text.
fn bracketed(id: &str) -> Option<String> {
    let id = id.trim();
    let id = id.strip_prefix('<').unwrap_or(id);
    let id = id.strip_suffix('>').unwrap_or(id);
    let fits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
    fits.then(|| format!("<{id}>"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ledger::outbox::AnswerAbout, message::split_message};

    const NOW: u64 = 1_800_000_000;

    fn part(seq: i64, subject: &str, id: Option<&str>, text: &str) -> AnswerPart {
        AnswerPart {
            seq,
            time: NOW + seq.unsigned_abs(),
            about: AnswerAbout {
                from: "postage@b.example".parse().unwrap(),
                subject: subject.into(),
                in_reply_to: id.map(str::to_owned),
            },
            text: text.into(),
        }
    }

    fn waiting(parts: Vec<AnswerPart>) -> WaitingAnswers {
        WaitingAnswers { to: "bob@b.example".parse().unwrap(), parts, left_out: 0 }
    }

    fn written(waiting: &WaitingAnswers) -> String {
        String::from_utf8(answers(waiting, NOW, &[7; 16]).unwrap().message).unwrap()
    }

    fn field(message: &str, name: &str) -> Vec<String> {
        let values: Vec<_> = split_message(message.as_bytes())
            .values(name)
            .map(|value| String::from_utf8_lossy(value).split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        values
    }

    #[test]
    fn one_answer() {
        let message =
            written(&waiting(vec![part(1, "Re: help", Some("<1@b.example>"), "help: see below\n")]));
        for (name, value) in [
            ("From", "postage@b.example"),
            ("To", "bob@b.example"),
            ("Subject", "Re: help"),
            ("Date", "Fri, 15 Jan 2027 08:00:00 +0000"),
            ("Auto-Submitted", "auto-replied"),
            ("In-Reply-To", "<1@b.example>"),
            ("References", "<1@b.example>"),
            ("Message-ID", "<a4dqobyha4dqobyha4dqobyha4@b.example>"),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(field(&message, name), [value], "{message}");
        }
        assert!(message.ends_with("\r\n\r\nhelp: see below\r\n"), "{message}");
        assert!(!message.replace("\r\n", "").contains('\n'));
    }

    #[test]
    fn several_answers_are_one_mail() {
        let mut all = waiting(vec![
            part(1, "Re: wanted", Some("1@b.example"), "one"),
            part(2, "Re: list", None, "two\n"),
            part(3, "Re: help", Some("<3@b.example>"), "three"),
        ]);
        all.left_out = 4;
        let message = written(&all);
        assert_eq!(field(&message, "Subject"), ["Re: help (and 2 more)"]);
        assert_eq!(field(&message, "In-Reply-To"), ["<3@b.example> <1@b.example>"]);
        let parsed = mail_parser::MessageParser::default().parse(message.as_bytes()).unwrap();
        let body = parsed.body_text(0).unwrap();
        let at = |words: &str| body.find(words).unwrap_or_else(|| panic!("{words}: {body}"));
        assert!(at("You wrote 3 mails") < at("=== Re: wanted (Fri, 15 Jan 2027 08:00:01 +0000)"));
        assert!(at("one") < at("two") && at("two") < at("three") && at("three") < at("4 more of your mails"));
    }

    #[test]
    fn nothing_of_a_letter_gets_into_the_header() {
        let evil = "x\r\nBcc: eve@e.example\r\n\r\nbody";
        for id in [
            "<1@b.example>\r\nBcc: eve@e.example",
            "<1@b.example> <2@b.example>",
            "",
            "<>",
            "<zoë@b.example>",
        ] {
            let message = written(&waiting(vec![part(1, evil, Some(id), "text\n")]));
            assert_eq!(field(&message, "Bcc"), [""; 0], "{message}");
            assert_eq!(field(&message, "In-Reply-To"), [""; 0], "{message}");
            assert_eq!(field(&message, "Subject"), ["x Bcc: eve@e.example body"]);
        }
        let long = format!("<{}@b.example>", "x".repeat(880));
        let message = written(&waiting(vec![part(1, &"word ".repeat(180), Some(&long), "text\n")]));
        assert_eq!(field(&message, "In-Reply-To"), [long]);
        assert!(message.lines().all(|line| line.len() <= 998), "{message}");
    }

    #[test]
    fn words_beyond_ascii_survive() {
        let message = written(&waiting(vec![part(1, "Re: Grüße", None, "Grüße an Zoë\n.\nFrom here on\n")]));
        let parsed = mail_parser::MessageParser::default().parse(message.as_bytes()).unwrap();
        assert_eq!(parsed.subject(), Some("Re: Grüße"));
        assert_eq!(parsed.body_text(0).unwrap().replace("\r\n", "\n"), "Grüße an Zoë\n.\nFrom here on\n");
        assert!(message.is_ascii(), "any server takes it");
    }

    #[test]
    fn addresses_that_cannot_be_written_to() {
        for (address, can) in [
            ("bob@b.example", true),
            ("bob+x.y@b.example", true),
            ("\"bob b\"@b.example", true),
            ("zoë@b.example", true),
        ] {
            assert_eq!(mail_address(&address.parse().unwrap()).is_ok(), can, "{address}");
        }
        let odd = Address::parse(b"zo\xeb@b.example").unwrap();
        assert!(mail_address(&odd).is_err());
        let long = Address::parse(format!("{}@b.example", "x".repeat(500)).as_bytes()).unwrap();
        assert!(mail_address(&long).is_err());
    }
}
