//! What a letter is, as far as postage needs to know: its fields as raw octets, its author, its digest.
//!
//! Pure and tolerant: any octets are a message. Values are what stands after the colon, folds and all,
//! without the last line end; nothing is decoded.

pub mod addresses;
pub mod author;
pub mod build;
pub mod digest;
pub mod dsn;
pub mod envelope;
pub mod kind;
pub mod list;
pub mod parts;
pub mod thread;

use crate::address::Address;

pub use author::author;
pub use build::{add_fields, date_value, message_id_value, without};
pub use digest::DigestBuilder;

/// A header field as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// What stands before the colon, in any case; white space before the colon is cut off.
    pub name: &'a [u8],
    /// What stands after the colon, without the last line end.
    pub value: &'a [u8],
    /// The whole field, with its line ends.
    pub raw: &'a [u8],
}

impl Header<'_> {
    /// Whether this is the field of that name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        is_name(self.name, name)
    }
}

/// A message in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// An mbox `From ` line at the top, with its line end; not part of the message.
    pub envelope_line: &'a [u8],
    /// The fields, in order.
    pub headers: Vec<Header<'a>>,
    /// What follows the first empty line, or the first line that is no field.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The values of all fields of that name, in order.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'_, 'a, 'n> {
        self.headers.iter().filter(move |header| header.is(name)).map(|header| header.value)
    }

    /// The author, if there is exactly one (SPEC.md §3).
    #[must_use]
    pub fn author(&self) -> Option<Address> {
        author(&self.values("From").collect::<Vec<_>>())
    }

    /// The digest (SPEC.md §3).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = DigestBuilder::new();
        for header in &self.headers {
            digest.header(header.name, header.value);
        }
        digest.body(self.body);
        digest.finish()
    }
}

/// Whether a field's name, as it came, is this one: in any case, white space before the colon ignored.
#[must_use]
pub fn is_name(given: &[u8], name: &str) -> bool {
    trim_end(given).eq_ignore_ascii_case(name.as_bytes())
}

/// Fields of one message; what stands behind them is its body. Honest mail has under a hundred, and a hostile one of 64 MiB
/// could have twenty million, each with half a hundred octets of memory to remember it.
pub const FIELDS_MAX: usize = 100_000;

/// Takes a message apart. Lines end in CRLF or LF; a first line `From …` of an mbox is set aside; a line that is
/// neither field nor continuation begins the body, as a mail server sees it.
#[must_use]
pub fn split_message(message: &[u8]) -> Message<'_> {
    let mut envelope_line: &[u8] = &[];
    let mut rest = message;
    if message.starts_with(b"From ") && next_header(message).is_none() {
        (envelope_line, rest) = split_line(message);
    }
    let mut headers = Vec::new();
    while headers.len() < FIELDS_MAX
        && let Some((header, after)) = next_header(rest)
    {
        headers.push(header);
        rest = after;
    }
    let (line, after) = split_line(rest);
    let body = if line_content(line).is_empty() { after } else { rest };
    Message { envelope_line, headers, body }
}

/// Letters inside of letters, as attachments, beyond which a message is not taken apart. What a person forwards has a few.
const LETTERS_INSIDE_MAX: usize = 100;

/// Whether letters stand in letters so often that taking the whole apart by mail-parser, and then away, could go too deep. What makes
/// a part a letter is told by these words alone.
#[must_use]
pub fn is_nested_deeply(message: &[u8]) -> bool {
    const WORDS: [&[u8]; 3] = [b"rfc822", b"global", b"digest"];
    let is_word = |octets: &&[u8]| WORDS.iter().any(|word| octets.eq_ignore_ascii_case(word));
    message.windows(6).filter(is_word).count() > LETTERS_INSIDE_MAX
}

/// The field that begins here, and what follows it.
fn next_header(text: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let (first, mut rest) = split_line(text);
    let colon = first.iter().position(|&b| b == b':')?;
    let name = trim_end(first.get(..colon)?);
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    while rest.first().is_some_and(|&b| is_white(b)) {
        rest = split_line(rest).1;
    }
    let whole = text.get(..text.len() - rest.len())?;
    let value = line_content(whole).get(colon + 1..)?;
    Some((Header { name, value, raw: whole }, rest))
}

/// The first line with its line end, and what follows it.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&b| b == b'\n').map_or(text.len(), |at| at + 1);
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// A line without its line end.
fn line_content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Space and tab: RFC 5322's WSP.
const fn is_white(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&b| !is_white(b)).map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message as `name=value` for each field, and the body.
    fn shape(message: &str) -> (Vec<String>, String) {
        let parts = split_message(message.as_bytes());
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let headers =
            parts.headers.iter().map(|header| format!("{}={}", text(header.name), text(header.value)));
        (headers.collect(), text(parts.body))
    }

    #[test]
    fn messages_come_apart() {
        let table: &[(&str, &[&str], &str)] = &[
            ("", &[], ""),
            ("\r\n", &[], ""),
            ("A: 1\r\nB:2\r\n\r\nbody\r\n", &["A= 1", "B=2"], "body\r\n"),
            ("A: 1\nB:2\n\nbody\n", &["A= 1", "B=2"], "body\n"),
            ("A: 1\r\n\t2\r\n 3\r\nB: 4", &["A= 1\r\n\t2\r\n 3", "B= 4"], ""),
            ("A:\n 1\n\n", &["A=\n 1"], ""),
            ("A \t: 1\n\nx", &["A= 1"], "x"),
            ("A: b:c\n\n", &["A= b:c"], ""),
            ("A:\n \n\nx", &["A=\n "], "x"),
            ("\nA: 1\n", &[], "A: 1\n"),
            ("\n\nx", &[], "\nx"),
            ("A: 1\nno field\nB: 2\n\nx", &["A= 1"], "no field\nB: 2\n\nx"),
            ("no field", &[], "no field"),
            (" A: 1\n", &[], " A: 1\n"),
            (": 1\n", &[], ": 1\n"),
            ("A B: 1\n", &[], "A B: 1\n"),
            ("Ä: 1\n", &[], "Ä: 1\n"),
            ("From alice@a.example  Fri Sep  6 11:40:19 2002\nA: 1\n\nx", &["A= 1"], "x"),
            ("From : alice@a.example\nA: 1\n\nx", &["From= alice@a.example", "A= 1"], "x"),
            ("A: 1\nFrom alice Fri\n\n", &["A= 1"], "From alice Fri\n\n"),
            ("A: 1\r", &["A= 1"], ""),
        ];
        for (message, headers, body) in table {
            let wanted = (headers.iter().map(ToString::to_string).collect(), (*body).to_owned());
            assert_eq!(shape(message), wanted, "{message:?}");
        }
    }

    #[test]
    fn fields_are_found_by_name() {
        let message = split_message(b"from : alice@a.example\nSubject: one\nSUBJECT\t: two\n\n");
        assert_eq!(message.values("Subject").collect::<Vec<_>>(), [b" one", b" two"]);
        assert_eq!(message.values("From").count(), 1);
        assert_eq!(message.values("Fro").count(), 0);
        assert_eq!(message.author().unwrap().to_string(), "alice@a.example");
    }

    /// Were any of this quadratic the test would not end well.
    #[test]
    fn messages_made_to_be_slow_are_read_at_once() {
        const OCTETS: usize = 1 << 20;
        for piece in [
            "A:\n",
            "A: 1\r\n ",
            "\n",
            " ",
            "\r",
            "a",
            "a:",
            ":",
            "From ",
            "From: \"",
            "From: (\n ",
            "Subject: x\n",
        ] {
            let text = piece.repeat(OCTETS / piece.len());
            let message = split_message(text.as_bytes());
            let _ = (message.author(), message.digest());
        }
    }

    #[test]
    fn of_a_million_fields_so_many_are_fields() {
        let text = "A:\n".repeat(FIELDS_MAX + 10);
        let message = split_message(text.as_bytes());
        assert_eq!((message.headers.len(), message.body.len()), (FIELDS_MAX, 30));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(message in "(From [a ]{0,5}\n)?([A-B]:[a \t]{0,5}\r?\n( [a]{0,3}\n){0,2}){0,4}(\r?\n)?[a-b:\n ]{0,20}") {
            let parts = split_message(message.as_bytes());
            let mut rest = message.as_bytes().strip_prefix(parts.envelope_line).unwrap();
            for header in &parts.headers {
                rest = rest.strip_prefix(header.name).unwrap();
                rest = &rest[rest.iter().position(|&b| b == b':').unwrap() + 1..];
                rest = rest.strip_prefix(header.value).unwrap();
                rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest);
            }
            let separator = rest.strip_suffix(parts.body).unwrap();
            prop_assert!(matches!(separator, b"" | b"\n" | b"\r\n"), "{:?}", separator);
        }

        #[test]
        fn any_octets_are_a_message(octets: Vec<u8>) {
            let message = split_message(&octets);
            let _ = (message.author(), message.digest());
        }
    }
}
