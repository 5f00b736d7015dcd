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
