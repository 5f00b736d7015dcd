//! The digest by which a gate knows the same letter again (SPEC.md §3): streaming, and the same however
//! the letter is cut into chunks and whether its lines end in CRLF or LF.
//!
//! It binds nothing and stands nowhere on the wire.

use super::{is_name, is_white};

/// The fields that count, in the order in which they are hashed.
const FIELDS: [&str; 4] = ["from", "date", "message-id", "subject"];
/// Canonical octets gathered before they are hashed: BLAKE3 is fastest on long pieces.
const BUFFER_OCTETS: usize = 16 * 1024;

/// Computes a letter's digest: first every header field in order, then the body in chunks.
#[derive(Clone, Debug, Default)]
pub struct DigestBuilder {
    /// The canonical fields of each name, first to last.
    fields: [Vec<u8>; FIELDS.len()],
    /// Begins with the first chunk of the body; then the fields are hashed and gone.
    body: Option<RelaxedBody>,
}

impl DigestBuilder {
    /// A digest of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a header field: its name, and its value as it stands after the colon, folded or not. Only the four names
    /// that count take memory, as much as their values are long; the caller bounds that. After the body has
    /// begun there are no fields, and none is taken.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        if self.body.is_some() {
            return;
        }
        for (field, canonical) in FIELDS.iter().zip(&mut self.fields) {
            if is_name(name, field) {
                canonical.extend_from_slice(field.as_bytes());
                canonical.push(b':');
                relax_value(value, canonical);
                canonical.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Takes the next octets of the body, cut anywhere.
    pub fn body(&mut self, chunk: &[u8]) {
        self.begin_body().update(chunk);
    }

    /// The digest.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        self.begin_body().finish()
    }

    fn begin_body(&mut self) -> &mut RelaxedBody {
        let fields = &mut self.fields;
        self.body.get_or_insert_with(|| {
            let mut hasher = blake3::Hasher::new();
            for canonical in fields {
                hasher.update(&std::mem::take(canonical));
            }
            RelaxedBody::new(hasher)
        })
    }
}

/// A field's value relaxed (RFC 6376 §3.4.2): unfolded, runs of white space one space, none at the ends.
fn relax_value(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut space = false;
    for (at, &b) in value.iter().enumerate() {
        let line_end = b == b'\n' || (b == b'\r' && value.get(at + 1) == Some(&b'\n'));
        if line_end {
            continue;
        }
        if is_white(b) {
            space = true;
            continue;
        }
        if space && out.len() > start {
            out.push(b' ');
        }
        space = false;
        out.push(b);
    }
}

/// Hashes a body relaxed (RFC 6376 §3.4.4): runs of white space one space, none at line ends, no empty lines at
/// the end. Line ends that may turn out to be the last ones are counted, not kept.
#[derive(Clone, Debug)]
struct RelaxedBody {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    /// Line ends not hashed yet.
    line_ends: u64,
    /// White space not hashed yet.
    space: bool,
    /// A CR that may be half of a line end.
    carriage_return: bool,
    /// Something was hashed, so the body ends with a line end.
    any: bool,
}

impl RelaxedBody {
    fn new(hasher: blake3::Hasher) -> Self {
        Self { hasher, buffer: Vec::new(), line_ends: 0, space: false, carriage_return: false, any: false }
    }

    fn update(&mut self, mut chunk: &[u8]) {
        while let Some(&first) = chunk.first() {
            if self.carriage_return && first != b'\n' {
                self.carriage_return = false;
                self.push(b"\r");
            }
            let run = match first {
                b'\n' => {
                    (self.carriage_return, self.space) = (false, false);
                    self.line_ends += 1;
                    1
                }
                b'\r' => {
                    self.carriage_return = true;
                    1
                }
                b' ' | b'\t' => {
                    self.space = true;
                    1
                }
                _ => {
                    let run = chunk
                        .iter()
                        .position(|&b| matches!(b, b'\n' | b'\r' | b' ' | b'\t'))
                        .unwrap_or(chunk.len());
                    self.push(chunk.get(..run).unwrap_or_default());
                    run
                }
            };
            chunk = chunk.get(run..).unwrap_or_default();
        }
    }

    /// Hashes octets of a line, and what was held back before them.
    fn push(&mut self, octets: &[u8]) {
        self.any = true;
        while self.line_ends > 0 {
            self.line_ends -= 1;
            self.emit(b"\r\n");
        }
        if std::mem::take(&mut self.space) {
            self.emit(b" ");
        }
        self.emit(octets);
    }

    fn emit(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
        if self.buffer.len() >= BUFFER_OCTETS {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }

    fn finish(&mut self) -> [u8; 32] {
        if std::mem::take(&mut self.carriage_return) {
            self.push(b"\r");
        }
        if self.any {
            self.emit(b"\r\n");
        }
        self.hasher.update(&self.buffer);
        *self.hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The canonical octets, put down without streaming.
    fn relaxed_body(body: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(body.to_vec()).unwrap().replace("\r\n", "\n");
        let lines = text.split('\n').map(|line| {
            let ends_white = line.starts_with([' ', '\t']);
            let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            let line = words.join(" ");
            if ends_white && !line.is_empty() { format!(" {line}") } else { line }
        });
        let text = lines.collect::<Vec<_>>().join("\r\n");
        let text = text.trim_end_matches("\r\n");
        if text.is_empty() { Vec::new() } else { format!("{text}\r\n").into_bytes() }
    }

    fn hash(octets: &[u8]) -> [u8; 32] {
        *blake3::hash(octets).as_bytes()
    }

    fn of_body(body: &[u8]) -> [u8; 32] {
        let mut digest = DigestBuilder::new();
        digest.body(body);
        digest.finish()
    }

    #[test]
    fn bodies() {
        let table: &[(&str, &str)] = &[
            ("", ""),
            ("\r\n", ""),
            ("\r\n\r\n", ""),
            (" \t\r\n ", ""),
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            ("a", "a\r\n"),
            ("a\n", "a\r\n"),
            ("a\r", "a\r\r\n"),
            ("a\r\r\nb", "a\r\r\nb\r\n"),
            ("a \r b", "a \r b\r\n"),
            ("\n\na\n\nb", "\r\n\r\na\r\n\r\nb\r\n"),
            ("a\n \n\t\n", "a\r\n"),
            ("a\n \n\tb", "a\r\n\r\n b\r\n"),
        ];
        for (body, canonical) in table {
            assert_eq!(of_body(body.as_bytes()), hash(canonical.as_bytes()), "{body:?}");
        }
    }

    #[test]
    fn fields_are_gathered_by_name() {
        let mut digest = DigestBuilder::new();
        for (name, value) in [
            (&b"SUBJECT "[..], &b"  one\r\n\t two \t"[..]),
            (b"X-From", b"nobody"),
            (b"Message-Id", b" <1@a.example>"),
            (b"from", b"\n alice@a.example\n"),
            (b"Subject", b""),
            (b"date", b" \r x"),
            (b"From", b"bob"),
        ] {
            digest.header(name, value);
        }
        let canonical = b"from:alice@a.example\r\nfrom:bob\r\ndate:\r x\r\nmessage-id:<1@a.example>\r\nsubject:one two\r\nsubject:\r\n";
        assert_eq!(digest.clone().finish(), hash(canonical));
        digest.body(b"Hi\r\n");
        digest.header(b"From", b"after the body has begun");
        assert_eq!(digest.finish(), hash(&[&canonical[..], b"Hi\r\n"].concat()));
    }

    #[test]
    fn a_letter_without_anything_has_a_digest() {
        assert_eq!(DigestBuilder::new().finish(), hash(b""));
    }

    #[test]
    fn what_is_held_back_takes_no_memory() {
        let mut body = RelaxedBody::new(blake3::Hasher::new());
        body.update(b"a");
        for _ in 0..1_000 {
            body.update(&b"\r\n \t".repeat(250));
        }
        assert_eq!((body.line_ends, body.buffer.len()), (250_000, 1));
        body.update(b"b");
        assert!(body.buffer.len() < BUFFER_OCTETS);
        assert_eq!(body.finish(), hash(&[b"a", b"\r\n".repeat(250_000).as_slice(), b" b\r\n"].concat()));
    }

    proptest! {
        #[test]
        fn the_digest_does_not_depend_on_chunks(body in "([a-c \t\r\n]|\r\n){0,60}", cuts: Vec<prop::sample::Index>) {
            let body = body.into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.sort_unstable();
            let mut digest = DigestBuilder::new();
            let mut from = 0;
            for cut in cuts {
                digest.body(&body[from..cut]);
                from = cut;
            }
            digest.body(&body[from..]);
            prop_assert_eq!(digest.finish(), of_body(&body));
            prop_assert_eq!(of_body(&body), hash(&relaxed_body(&body)));
        }

        #[test]
        fn line_ends_are_one(body in "[a-c \t\n]{0,60}", value in "[a-c \t]{0,20}(\n [a-c ]{0,9})?") {
            let digest = |line_end: &str| {
                let mut digest = DigestBuilder::new();
                digest.header(b"Subject", value.replace('\n', line_end).as_bytes());
                digest.body(body.replace('\n', line_end).as_bytes());
                digest.finish()
            };
            prop_assert_eq!(digest("\n"), digest("\r\n"));
        }

        #[test]
        fn any_octets_have_a_digest(fields: Vec<(Vec<u8>, Vec<u8>)>, body: Vec<u8>) {
            let mut digest = DigestBuilder::new();
            for (name, value) in &fields {
                digest.header(name, value);
                digest.header(b"From", value);
            }
            digest.body(&body);
            let _ = digest.finish();
        }
    }
}
