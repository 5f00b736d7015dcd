//! Which letter another one answers or returns: Message-IDs in In-Reply-To, and in what a bounce brings back.
//!
//! Message-IDs are compared as their octets between the angle brackets; nothing is decoded or unfolded inside them.

use super::is_white;

/// Octets of a Message-ID; RFC 5322's lines are no longer.
pub const MESSAGE_ID_OCTETS_MAX: usize = 998;
/// Octets of an In-Reply-To field that are looked at: the first id stands there or nowhere.
const FIELD_OCTETS_MAX: usize = 4_096;
/// Message-IDs remembered of a returned letter. A bounce of one letter brings one; some name their own beside it.
pub const RETURNED_IDS_MAX: usize = 4;
/// Octets of a body in which a returned header is looked for: what failed, in words and for programs, stands before it.
pub const RETURNED_OCTETS_MAX: usize = 1024 * 1024;

/// The first Message-ID in a value, between its angle brackets; without any, the first word.
#[must_use]
pub fn first_message_id(value: &[u8]) -> Option<&[u8]> {
    let value = value.get(..FIELD_OCTETS_MAX).unwrap_or(value);
    let id = match value.iter().position(|&b| b == b'<') {
        Some(open) => {
            let rest = value.get(open + 1..)?;
            rest.get(..rest.iter().position(|&b| b == b'>')?)?
        }
        None => value.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?,
    };
    let sound =
        !id.is_empty() && id.len() <= MESSAGE_ID_OCTETS_MAX && !id.iter().any(u8::is_ascii_whitespace);
    sound.then_some(id)
}

/// Finds the Message-ID fields in a body that returns a letter, as it streams by, whatever frame the bounce puts it in
/// (message/rfc822, text/rfc822-headers, plain text below a line of dashes). Who knows the Message-ID of a letter he
/// did not get could as well put it into In-Reply-To, so it does not matter where in the body it stands.
#[derive(Debug, Default)]
pub struct Returned {
    line: Vec<u8>,
    seen_octets: usize,
    /// The field's name stood on the last line, its value is on the next.
    open: bool,
    ids: Vec<Vec<u8>>,
}

impl Returned {
    /// Takes the next octets of the body, cut anywhere.
    pub fn push(&mut self, chunk: &[u8]) {
        let left = RETURNED_OCTETS_MAX.saturating_sub(self.seen_octets);
        let mut chunk = chunk.get(..left).unwrap_or(chunk);
        self.seen_octets = self.seen_octets.saturating_add(chunk.len());
        while let Some(end) = chunk.iter().position(|&b| b == b'\n') {
            let (line, rest) = chunk.split_at(end);
            self.extend(line);
            self.end_line();
            chunk = rest.get(1..).unwrap_or_default();
        }
        self.extend(chunk);
    }

    /// Whether more of the body could bring anything.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.seen_octets < RETURNED_OCTETS_MAX && self.ids.len() < RETURNED_IDS_MAX
    }

    /// The ids found, without brackets, first to last.
    #[must_use]
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.end_line();
        self.ids
    }

    fn extend(&mut self, octets: &[u8]) {
        let left = FIELD_OCTETS_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(octets.get(..left).unwrap_or(octets));
    }

    fn end_line(&mut self) {
        const NAME: &[u8] = b"message-id";
        let line = std::mem::take(&mut self.line);
        let folded = std::mem::take(&mut self.open) && line.first().is_some_and(|&b| is_white(b));
        let text = line.trim_ascii();
        let value = match text.split_at_checked(NAME.len()) {
            _ if folded => Some(text),
            Some((name, rest)) if name.eq_ignore_ascii_case(NAME) => {
                rest.trim_ascii_start().strip_prefix(b":")
            }
            _ => None,
        };
        let Some(value) = value else { return };
        if value.trim_ascii().is_empty() {
            self.open = true;
        } else if let Some(id) = first_message_id(value)
            && self.ids.len() < RETURNED_IDS_MAX
            && !self.ids.iter().any(|known| known == id)
        {
            self.ids.push(id.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(id: Option<&[u8]>) -> Option<&str> {
        id.map(|id| std::str::from_utf8(id).unwrap())
    }

    fn returned(body: &[u8]) -> Vec<String> {
        let mut returned = Returned::default();
        returned.push(body);
        returned.finish().into_iter().map(|id| String::from_utf8(id).unwrap()).collect()
    }

    #[test]
    fn the_first_message_id() {
        let table: &[(&str, Option<&str>)] = &[
            (" <1@a.example>", Some("1@a.example")),
            ("<1@a.example> <2@a.example>", Some("1@a.example")),
            ("\r\n\t<1@a.example>\r\n\t<2@a.example>", Some("1@a.example")),
            (" Your message of Monday <1@a.example>", Some("1@a.example")),
            (" 1@a.example", Some("1@a.example")),
            (" 1@a.example 2@a.example", Some("1@a.example")),
            ("", None),
            (" ", None),
            ("<>", None),
            ("<1@a.example", None),
            ("<1@a .example>", None),
            ("> <1@a.example>", Some("1@a.example")),
        ];
        for (value, id) in table {
            assert_eq!(text(first_message_id(value.as_bytes())), *id, "{value:?}");
        }
        let long = format!("<{}>", "x".repeat(MESSAGE_ID_OCTETS_MAX + 1));
        assert_eq!(first_message_id(long.as_bytes()), None);
        let many = "<1@a.example> ".repeat(5_000);
        assert_eq!(text(first_message_id(many.as_bytes())), Some("1@a.example"));
        assert_eq!(first_message_id(&[b" ".repeat(1_000_000), b"<1@a.example>".to_vec()].concat()), None);
    }

    #[test]
    fn what_a_bounce_returns() {
        let table: &[(&str, &[&str])] = &[
            ("Sorry.\r\n", &[]),
            (
                "--x\r\nContent-Type: message/rfc822\r\n\r\nFrom: bob\r\nMessage-ID: <1@b.example>\r\n",
                &["1@b.example"],
            ),
            ("MESSAGE-id : <1@b.example>", &["1@b.example"]),
            ("Message-ID:\r\n <1@b.example>\r\n", &["1@b.example"]),
            ("Message-ID:\r\nSubject: <1@b.example>\r\n", &[]),
            ("    Message-ID: <1@b.example>\n", &["1@b.example"]),
            (
                "Message-ID: <1@b.example>\nMessage-ID: <1@b.example>\nMessage-ID: <2@b.example>\n",
                &["1@b.example", "2@b.example"],
            ),
            ("X-Message-ID: <1@b.example>\n> Message-ID: <2@b.example>\n", &[]),
            ("In-Reply-To: <1@b.example>\n", &[]),
        ];
        for (body, ids) in table {
            assert_eq!(returned(body.as_bytes()), *ids, "{body:?}");
        }
    }

    #[test]
    fn a_body_made_to_be_large_is_looked_at_as_far_as_it_may() {
        let mut flood = Returned::default();
        for n in 0..100_000 {
            flood.push(format!("Message-ID: <{n}@b.example>\n").as_bytes());
        }
        assert!(!flood.wants_more());
        assert_eq!(flood.finish().len(), RETURNED_IDS_MAX);
        let mut one_line = Returned::default();
        for _ in 0..100 {
            one_line.push(&[b'x'; 65_536]);
        }
        assert!(one_line.line.len() <= FIELD_OCTETS_MAX);
        one_line.push(b"\nMessage-ID: <1@b.example>\n");
        assert!(!one_line.wants_more() && one_line.finish().is_empty());
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(body in "((Message-ID:|message-id :)?[ \r\n<>a@]{0,4}){0,8}", cut: prop::sample::Index) {
            let body = body.as_bytes();
            let (a, b) = body.split_at(cut.index(body.len() + 1));
            let mut parts = Returned::default();
            parts.push(a);
            parts.push(b);
            let mut whole = Returned::default();
            whole.push(body);
            prop_assert_eq!(parts.finish(), whole.finish());
        }
    }
}
