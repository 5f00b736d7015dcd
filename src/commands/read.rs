//! The lines of a command mail: its subject, and what its author wrote himself in its first text part (SPEC.md §8).
//!
//! Pure; any octets are read. Whose mail it is and whether he may say so is not looked at here.

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders as _, PartType};

use super::{
    html,
    own_words::{own_lines, unflowed},
    parse,
};
use crate::message::is_nested_deeply;

/// What a command mail says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The subject, decoded.
    pub subject: Option<String>,
    /// The author's own lines, none of them empty.
    pub lines: Vec<String>,
}

/// Reads a whole message, or the beginning of a long one.
#[must_use]
pub fn read(message: &[u8]) -> Said {
    let parsed = if is_nested_deeply(message) { None } else { MessageParser::default().parse(message) };
    let Some(parsed) = parsed else { return Said::default() };
    let text = plain(&text_of(&parsed));
    let lines = own_lines(&text, parse::is_command_word).into_iter().map(str::to_owned).collect();
    let subject = parsed.subject().map(|subject| plain(subject).trim().to_owned());
    Said { subject, lines }
}

/// The first text part; where it is empty beside HTML, the HTML.
fn text_of(message: &Message<'_>) -> String {
    let parts = [message.text_part(0), message.html_part(0), cut_off(message)];
    let mut texts = parts.into_iter().flatten().map(text_of_part);
    texts.find(|text| !text.trim().is_empty()).unwrap_or_default()
}

/// A text part without an end, as the last one of a mail that was cut.
fn cut_off<'m, 'x>(message: &'m Message<'x>) -> Option<&'m MessagePart<'x>> {
    let last = message.parts.iter().rfind(|part| !matches!(part.body, PartType::Multipart(_)))?;
    let is_text = last.content_type().is_none_or(|c| c.ctype() == "text" && c.subtype() == Some("plain"));
    let attached = last.content_disposition().is_some_and(|disposition| disposition.is_attachment());
    (last.is_encoding_problem && is_text && !attached).then_some(last)
}

fn text_of_part(part: &MessagePart<'_>) -> String {
    match &part.body {
        PartType::Html(html) => html::text_of(html),
        PartType::Text(text) => {
            let says = |name: &str, value: &str| {
                let content_type = part.content_type();
                content_type.and_then(|c| c.attribute(name)).is_some_and(|v| v.eq_ignore_ascii_case(value))
            };
            if says("format", "flowed") { unflowed(text, says("delsp", "yes")) } else { text.to_string() }
        }
        _ => String::new(),
    }
}

/// The text without characters that are not seen, and with plain spaces: mail programs put them where one copies from.
fn plain(text: &str) -> String {
    let unseen = ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\0'];
    let shown = text.chars().filter(|c| !unseen.contains(c));
    shown.map(|c| if matches!(c, '\u{a0}' | '\u{202f}' | '\u{3000}') { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
