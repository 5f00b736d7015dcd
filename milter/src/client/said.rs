//! What a filter said, as an MTA takes it.

use crate::negotiate::Actions;
use crate::reply::Answer;

use super::ClientError;

/// An answer to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Said {
    /// Go on.
    #[default]
    Continue,
    /// Take it.
    Accept,
    /// Take it and drop it.
    Discard,
    /// Refuse it, in the MTA's words.
    Reject,
    /// Refuse it for now, in the MTA's words.
    Tempfail,
    /// Refuse it in these words, as the SMTP client sees them: `%` single, lines joined by LF.
    Reply(String),
    /// No more of this.
    Skip,
    /// Answer 421 and hang up.
    Shutdown,
    /// Hang up.
    ConnectionFailed,
}

impl Said {
    pub(super) fn read(answer: Answer<'_>) -> Result<Said, ClientError> {
        Ok(match answer {
            Answer::Continue => Said::Continue,
            Answer::Accept => Said::Accept,
            Answer::Discard => Said::Discard,
            Answer::Reject => Said::Reject,
            Answer::Tempfail => Said::Tempfail,
            Answer::ReplyCode(text) => Said::Reply(reply_text(text)?),
            Answer::Skip => Said::Skip,
            Answer::Shutdown => Said::Shutdown,
            Answer::ConnectionFailed => Said::ConnectionFailed,
            other => return Err(ClientError::OutOfPlace(format!("{other:?}"), "a command")),
        })
    }

    /// The code of the SMTP reply that follows from it.
    pub fn code(&self) -> u16 {
        match self {
            Said::Continue | Said::Accept | Said::Discard | Said::Skip => 250,
            Said::Reject => 550,
            Said::Tempfail => 451,
            Said::Reply(text) => text.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0),
            Said::Shutdown | Said::ConnectionFailed => 421,
        }
    }
}

/// The text of a reply as strict MTAs read it: each line with the same code, the first digit of the enhanced code the
/// same as the code's, every `%` doubled, CR LF between lines and nowhere else.
fn reply_text(text: &[u8]) -> Result<String, ClientError> {
    let fault = |what: &str| {
        ClientError::OutOfPlace(
            format!("reply text {:?} ({what})", text.escape_ascii().to_string()),
            "a command",
        )
    };
    let text = std::str::from_utf8(text).map_err(|_| fault("not UTF-8"))?;
    let lines: Vec<&str> = text.split("\r\n").collect();
    let code = text
        .get(..3)
        .filter(|code| code.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(|| fault("no code"))?;
    for (number, line) in lines.iter().enumerate() {
        let separator = if number + 1 == lines.len() { ' ' } else { '-' };
        let rest = line.strip_prefix(code).and_then(|rest| rest.strip_prefix(separator));
        let rest = rest.ok_or_else(|| fault("codes or separators differ between lines"))?;
        if !rest.starts_with(code.get(..1).unwrap_or_default()) || rest.contains(char::is_control) {
            return Err(fault("class of the enhanced code, or a control character"));
        }
    }
    let plain = text.replace("%%", "\u{0}");
    if plain.contains('%') {
        return Err(fault("a single %"));
    }
    Ok(plain.replace('\u{0}', "%").replace("\r\n", "\n"))
}

/// A change of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Name, value.
    AddHeader(String, Vec<u8>),
    /// Index, name, value.
    InsertHeader(u32, String, Vec<u8>),
    /// Which of that name, name, value; empty deletes.
    ChangeHeader(u32, String, Vec<u8>),
    /// Address, ESMTP arguments.
    ChangeSender(String, String),
    /// Address, ESMTP arguments.
    AddRecipient(String, String),
    /// Address.
    DeleteRecipient(String),
    /// A piece of the new body.
    ReplaceBody(Vec<u8>),
}

impl Change {
    /// The change, and what must have been agreed on for it; `None` for an answer that is no change.
    pub(super) fn read(answer: Answer<'_>) -> Option<(Change, Actions)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(match answer {
            Answer::AddHeader(name, value) => {
                (Change::AddHeader(text(name), value.to_vec()), Actions::ADD_HEADERS)
            }
            Answer::InsertHeader(index, name, value) => {
                (Change::InsertHeader(index, text(name), value.to_vec()), Actions::ADD_HEADERS)
            }
            Answer::ChangeHeader(index, name, value) => {
                (Change::ChangeHeader(index, text(name), value.to_vec()), Actions::CHANGE_HEADERS)
            }
            Answer::ChangeSender(address, args) => {
                (Change::ChangeSender(text(address), text(args)), Actions::CHANGE_SENDER)
            }
            Answer::AddRecipient(address) => {
                (Change::AddRecipient(text(address), String::new()), Actions::ADD_RECIPIENTS)
            }
            Answer::AddRecipientArgs(address, args) => {
                (Change::AddRecipient(text(address), text(args)), Actions::ADD_RECIPIENTS_ARGS)
            }
            Answer::DeleteRecipient(address) => {
                (Change::DeleteRecipient(text(address)), Actions::DELETE_RECIPIENTS)
            }
            Answer::ReplaceBody(chunk) => (Change::ReplaceBody(chunk.to_vec()), Actions::CHANGE_BODY),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitfall_16_reply_texts_are_read_as_a_strict_mta_reads_them() {
        for (text, expected) in [
            (&b"550 5.7.1 no"[..], Some("550 5.7.1 no")),
            (b"451 4.7.1 50%% off", Some("451 4.7.1 50% off")),
            (b"550-5.7.1 a\r\n550 5.7.1 b", Some("550-5.7.1 a\n550 5.7.1 b")),
            (b"451 4.7.1 50% off", None),
            (b"550 4.7.1 no", None),
            (b"550-5.7.1 a\r\n551 5.7.1 b", None),
            (b"550 5.7.1 a\r\n550 5.7.1 b", None),
            (b"550 5.7.1 a\r\n", None),
            (b"550 5.7.1 a\nb", None),
            (b"no", None),
            (b"", None),
        ] {
            assert_eq!(reply_text(text).ok().as_deref(), expected, "{}", text.escape_ascii());
        }
    }
}
