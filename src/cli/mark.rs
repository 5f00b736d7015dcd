//! `farthing wanted` and `farthing unwanted`: by hand, or piped from the IMAP server's Sieve (SPEC.md §7).

use std::time::Duration;

use clap::Args;
use mail_parser::{MessageParser, MessagePart, MimeHeaders as _};
use serde::Serialize;

use super::{Context, Exit, Failure, block_on, ids, open, read_message};
use crate::{
    address::{Address, shown},
    clock::unix_now,
    commands::LetterId,
    keys::Keys,
    ledger::{DECISION_DELAY_MS, Ledger, LedgerError, Mark, MarkError, MarkTarget, Marked, message_id_hash},
    message::{is_nested_deeply, split_message},
    policy::status,
    stamp::tokens::{Token, Verb},
};

pub const EXAMPLES: &str = "Examples:
  farthing wanted 2f6qxgy3kqaaac46hy433rxluheswwp7      the token in Postage-Wanted
  farthing wanted HCg35w7TlOudJrnzCsj-Qg                the id in Postage-Status
  farthing wanted '<17@a.example>' --for bob@b.example  Message-ID and recipient
  farthing wanted --stdin < letter.eml                  the letter, as Sieve pipes it";

/// Which letters.
#[derive(Args)]
pub struct MarkArgs {
    /// Token, stamp id (or OFFICE/ID), or Message-ID with --for.
    #[arg(value_name = "ID", value_parser = ids::typed, required_unless_present = "stdin", conflicts_with = "stdin")]
    ids: Vec<String>,
    /// Read a delivered letter, or an abuse report about one, from standard input.
    #[arg(long)]
    stdin: bool,
    /// Whose letter it is, where a Message-ID names it.
    #[arg(long = "for", value_name = "RCPT")]
    recipient: Option<Address>,
}

#[derive(Serialize)]
struct Done {
    id: String,
    mark: &'static str,
    recipient: String,
    author: Option<String>,
    refunded: u64,
    already_refunded: bool,
    too_late: bool,
    known: bool,
}

/// Carries it out: every letter that is found is marked; those that are not are named at the end.
///
/// # Errors
/// 1 when a letter was not found, and [`Failure`] of the configuration or the ledger.
pub fn run(args: &MarkArgs, mark: Mark, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let (ledger, keys) = (open::ledger(&config)?, open::keys(&config)?);
    let marker = Marker { ledger: &ledger, keys: &keys, recipient: args.recipient.as_ref() };
    let mut done = Vec::new();
    let mut failed: Option<Failure> = None;
    if args.stdin {
        let letter = read_message()?;
        done.push(block_on(marker.letter(&letter, mark))??);
    } else {
        for id in &args.ids {
            match block_on(marker.id(id, mark))? {
                Ok(one) => done.push(one),
                Err(failure) => {
                    let message = format!("{}: {}", shown(id.as_bytes()), failure.message);
                    let text = failed.map_or(String::new(), |f| format!("{}\n", f.message));
                    failed = Some(Failure { exit: failure.exit, message: text + &message });
                }
            }
        }
    }
    context.print(&done, || done.iter().map(sentence).collect())?;
    failed.map_or(Ok(()), Err)
}

fn sentence(done: &Done) -> String {
    let author = done.author.as_deref().unwrap_or("a sender without an address");
    let money = match (done.refunded, done.already_refunded, done.too_late) {
        (0, true, _) => "the postage had gone back before".into(),
        (0, _, true) => "the refund window is over, no money moved".into(),
        (0, ..) => "no money moved".into(),
        (micros, ..) => format!("{} went back", crate::money::signed_cents(micros.cast_signed())),
    };
    let known = if done.known { "is known" } else { "is not known" };
    format!("{} from {author} to {}: {money}; the sender {known} there\n", done.mark, done.recipient)
}

struct Marker<'a, L: Ledger> {
    ledger: &'a L,
    keys: &'a Keys,
    recipient: Option<&'a Address>,
}

impl<L: Ledger> Marker<'_, L> {
    /// Marks the letter an id names.
    async fn id(&self, id: &str, mark: Mark) -> Result<Done, Failure> {
        let target = match LetterId::read(id) {
            Some(LetterId::Token(token)) => self.token(&token).await?.ok_or_else(|| {
                Failure::new(Exit::No, "that token names no letter of this site; copy all 32 characters")
            })?,
            Some(LetterId::Stamp(office, id)) => MarkTarget::Stamp(office, id),
            Some(LetterId::Message(hash)) => MarkTarget::MessageId(hash, self.recipient_of_message_id()?),
            None => {
                return Err(Failure::new(
                    Exit::Data,
                    "not a token (32 letters and digits), a stamp id (22 characters of base64url, or office/id) or a Message-ID",
                ));
            }
        };
        self.mark(id, target, mark).await
    }

    fn recipient_of_message_id(&self) -> Result<Address, Failure> {
        let text = "a Message-ID needs the recipient too: add --for RCPT";
        self.recipient.cloned().ok_or_else(|| Failure::new(Exit::Usage, text))
    }

    /// Marks a delivered letter, or the letter an abuse report is about, whose type then decides the mark. What bears a
    /// Postage-Status came by mail and is a letter, whatever it looks like: its sender must not decide how it is marked.
    async fn letter(&self, letter: &[u8], mark: Mark) -> Result<Done, Failure> {
        let came_by_mail = split_message(letter).values(status::STATUS).next().is_some();
        if !came_by_mail && let Some((mark, original)) = abuse_report(letter) {
            return self.delivered(&original, mark).await;
        }
        self.delivered(letter, mark).await
    }

    async fn delivered(&self, letter: &[u8], mark: Mark) -> Result<Done, Failure> {
        let letter = split_message(letter);
        let field = if mark == Mark::Wanted { status::WANTED } else { status::UNWANTED };
        for value in letter.values(field) {
            let text = String::from_utf8_lossy(value);
            if let Some(LetterId::Token(token)) = LetterId::read(text.trim())
                && let Some(target) = self.token(&token).await?
            {
                return self.mark("(the letter)", target, mark).await;
            }
        }
        let Some(message_id) = letter.values("Message-ID").next() else {
            return Err(Failure::new(
                Exit::Data,
                "the letter has neither a token of this site nor a Message-ID",
            ));
        };
        let target = MarkTarget::MessageId(message_id_hash(message_id), self.recipient_of_message_id()?);
        self.mark(String::from_utf8_lossy(message_id).trim(), target, mark).await
    }

    /// The letter a token names, if it is one of ours. Its MAC covers the recipient, whom the ledger knows.
    async fn token(&self, token: &Token) -> Result<Option<MarkTarget>, LedgerError> {
        let Some(recipient) = self.ledger.recipient_of(token.number()).await? else { return Ok(None) };
        let verbs = [Verb::Wanted, Verb::Unwanted, Verb::LinkWanted, Verb::LinkUnwanted];
        let genuine = verbs.iter().any(|verb| token.is_genuine(&self.keys.tokens, *verb, &recipient));
        Ok(genuine.then_some(MarkTarget::Number(token.number())))
    }

    /// Marks it. A letter that was let in this moment is written down a little later: it is looked for once more.
    async fn found(&self, target: MarkTarget, mark: Mark) -> Result<Marked, MarkError> {
        match self.ledger.mark(target.clone(), mark, unix_now()).await {
            Err(MarkError::NoSuchLetter) if matches!(target, MarkTarget::MessageId(..)) => {
                tokio::time::sleep(Duration::from_millis(2 * DECISION_DELAY_MS)).await;
                self.ledger.mark(target, mark, unix_now()).await
            }
            marked => marked,
        }
    }

    async fn mark(&self, id: &str, target: MarkTarget, mark: Mark) -> Result<Done, Failure> {
        let Marked { recipient, author, refunded, already_refunded, too_late, known } =
            self.found(target, mark).await?;
        Ok(Done {
            id: shown(id.as_bytes()),
            mark: if mark == Mark::Wanted { "wanted" } else { "unwanted" },
            recipient: recipient.to_string(),
            author: author.map(|a| a.to_string()),
            refunded: refunded.map_or(0, crate::money::Micros::get),
            already_refunded,
            too_late,
            known,
        })
    }
}

/// The mark an abuse report asks for, and the letter it is about, whole or its header alone (RFC 5965).
fn abuse_report(letter: &[u8]) -> Option<(Mark, Vec<u8>)> {
    if is_nested_deeply(letter) {
        return None;
    }
    let message = MessageParser::default().parse(letter)?;
    let is_report = content_type(message.root_part()) == Some("multipart/report".into())
        && message
            .content_type()
            .and_then(|content_type| content_type.attribute("report-type"))
            .is_some_and(|kind| kind.eq_ignore_ascii_case("feedback-report"));
    if !is_report {
        return None;
    }
    let mut mark = None;
    let mut original = None;
    for part in message.parts.iter().skip(1) {
        match content_type(part)?.as_str() {
            "message/feedback-report" => mark = mark.or_else(|| feedback_type(part.contents())),
            "message/rfc822" | "message/global" => {
                original = original.or_else(|| part.message().map(|inner| inner.raw_message().to_vec()));
            }
            "text/rfc822-headers" => original = original.or_else(|| Some(part.contents().to_vec())),
            _ => {}
        }
    }
    Some((mark?, original?))
}

/// `text/plain`, which is also what a part is that says nothing.
fn content_type(part: &MessagePart<'_>) -> Option<String> {
    let Some(content_type) = part.content_type() else { return Some("text/plain".into()) };
    Some(format!("{}/{}", content_type.ctype(), content_type.subtype()?).to_ascii_lowercase())
}

fn feedback_type(text: &[u8]) -> Option<Mark> {
    let value = split_message(text).values("Feedback-Type").next()?.trim_ascii().to_ascii_lowercase();
    match value.as_slice() {
        b"not-spam" => Some(Mark::Wanted),
        b"abuse" => Some(Mark::Unwanted),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Dovecot's `report` action of Sieve writes them, and other makers.
    #[test]
    fn an_abuse_report_says_its_mark_and_brings_the_letter() {
        let report = |kind: &str, original: &str| {
            format!(
                "X-Sieve: Pigeonhole Sieve 0.5.19\r\nMessage-ID: <dovecot-sieve-1@b.example>\r\nFrom: <bob@b.example>\r\n\
                 To: <abuse@b.example>\r\nSubject: Report: {kind}\r\nAuto-Submitted: auto-generated (report)\r\n\
                 MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report;\r\n\tboundary=\"x/b\"\r\n\r\n\
                 This is a MIME-encapsulated message\r\n\r\n--x/b\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Disposition: inline\r\nContent-Transfer-Encoding: 8bit\r\n\r\nFeedback-Type: fraud, they say\r\n\r\n\
                 --x/b\r\nContent-Type: message/feedback-report\r\n\r\nVersion: 1\r\nFeedback-Type: {kind}\r\n\
                 User-Agent: Dovecot/2.3 Pigeonhole/0.5\r\nOriginal-Mail-From: <alice@a.example>\r\n\r\n--x/b\r\n\
                 {original}\r\n\r\nMessage-ID: <1@a.example>\r\nSubject: hi\r\n\r\nbody\r\n--x/b--\r\n"
            )
        };
        let whole = "Content-Type: message/rfc822\r\nContent-Disposition: attachment";
        for (kind, mark) in [("not-spam", Mark::Wanted), ("abuse", Mark::Unwanted), ("Abuse", Mark::Unwanted)]
        {
            for original in [whole, "Content-Type: text/rfc822-headers\r\nContent-Disposition: attachment"] {
                for text in [report(kind, original), report(kind, original).replace("\r\n", "\n")] {
                    let (found, letter) = abuse_report(text.as_bytes()).unwrap();
                    let id = split_message(&letter).values("Message-ID").next().unwrap().trim_ascii();
                    assert_eq!((found, id), (mark, &b"<1@a.example>"[..]), "{text}");
                }
            }
        }
        for none in [
            report("fraud", whole),
            report("abuse", "Content-Type: text/plain"),
            report("abuse", whole).replace("feedback-report;", "delivery-status;"),
            report("abuse", whole).replace("message/feedback-report", "text/plain"),
            "Subject: hi\n\nFeedback-Type: not-spam\n".into(),
            "Content-Type: message/rfc822\n\n".repeat(50_000),
        ] {
            assert!(abuse_report(none.as_bytes()).is_none(), "{none:.900}");
        }
    }
}
