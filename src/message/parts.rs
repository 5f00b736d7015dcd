//! What the parts of a body say about the whole letter, as it streams by: calendars and receipts stand beside a text.

use super::{
    is_white,
    kind::{Kind, kind_of_content},
};

/// Octets of a body in which parts are looked for: text and calendar stand before pictures.
pub const PARTS_OCTETS_MAX: usize = 1024 * 1024;
/// Octets of a part's header field that are looked at.
const FIELD_OCTETS_MAX: usize = 1_024;

/// Looks at the Content-Type of each part in a body, however deep it stands: no boundary is looked for, but any line
/// that begins as one. Who quotes a whole message with its parts in his own text is taken for one who sends them.
#[derive(Debug, Default)]
pub struct PartKinds {
    line: Vec<u8>,
    seen_octets: usize,
    /// Within the header of a part.
    in_header: bool,
    /// The Content-Type that is being read.
    content_type: Option<Vec<u8>>,
    found: Option<Kind>,
}

impl PartKinds {
    /// Takes the next octets of the body, cut anywhere.
    pub fn push(&mut self, chunk: &[u8]) {
        let left = PARTS_OCTETS_MAX.saturating_sub(self.seen_octets);
        let chunk = chunk.get(..left).unwrap_or(chunk);
        self.seen_octets = self.seen_octets.saturating_add(chunk.len());
        for piece in chunk.split_inclusive(|&b| b == b'\n') {
            let room = FIELD_OCTETS_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// Whether more of the body could say anything.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.found.is_none() && self.seen_octets < PARTS_OCTETS_MAX
    }

    /// What the first part that says anything says.
    #[must_use]
    pub fn finish(mut self) -> Option<Kind> {
        self.end_line();
        self.end_field();
        self.found
    }

    fn end_line(&mut self) {
        const NAME: &[u8] = b"content-type";
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii_end();
        let folded = text.first().is_some_and(|&b| is_white(b));
        if let (true, Some(value)) = (folded, &mut self.content_type) {
            let room = FIELD_OCTETS_MAX.saturating_sub(value.len());
            value.extend_from_slice(text.get(..room).unwrap_or(text));
            return;
        }
        self.end_field();
        if text.starts_with(b"--") {
            self.in_header = true;
        } else if text.is_empty() {
            self.in_header = false;
        } else if self.in_header
            && let Some((name, rest)) = text.split_at_checked(NAME.len())
            && name.eq_ignore_ascii_case(NAME)
        {
            self.content_type = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::to_vec);
        }
    }

    fn end_field(&mut self) {
        if let Some(value) = self.content_type.take()
            && self.found.is_none()
        {
            self.found = kind_of_content(&value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(body: &str) -> Option<Kind> {
        let mut parts = PartKinds::default();
        parts.push(body.as_bytes());
        parts.finish()
    }

    #[test]
    fn what_the_parts_say() {
        for (body, kind) in [
            ("hello", None),
            ("--x\r\nContent-Type: text/plain\r\n\r\nyes\r\n--x--\r\n", None),
            (
                "--x\r\nContent-Type: text/plain\r\n\r\nyes\r\n--x\r\ncontent-type : TEXT/calendar;\r\n\tmethod=REPLY\r\n\r\n",
                Some(Kind::CalendarReply),
            ),
            ("--x\nContent-Transfer-Encoding: base64\nContent-Type: text/calendar", Some(Kind::Invitation)),
            ("--x\nContent-Type:\n message/disposition-notification\n\n", Some(Kind::Receipt)),
            ("--x\n\nContent-Type: text/calendar\n", None),
            ("Content-Type: text/calendar\n", None),
            ("--x\nX-Content-Type: text/calendar\n", None),
        ] {
            assert_eq!(of(body), kind, "{body:?}");
        }
    }

    #[test]
    fn a_body_made_to_be_large_is_looked_at_as_far_as_it_may() {
        let mut parts = PartKinds::default();
        for _ in 0..100 {
            parts.push(&[b'x'; 65_536]);
        }
        assert!(parts.line.len() <= FIELD_OCTETS_MAX && !parts.wants_more());
        assert_eq!(of(&("--x\nContent-Type: x\n".to_owned() + &" y\n".repeat(300_000))), None);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(body in "(--x|Content-Type:|text/calendar|;method=reply|[ \r\na]){0,12}", cut: prop::sample::Index) {
            let (a, b) = body.as_bytes().split_at(cut.index(body.len() + 1));
            let mut parts = PartKinds::default();
            parts.push(a);
            parts.push(b);
            prop_assert_eq!(parts.finish(), of(&body));
        }
    }
}
