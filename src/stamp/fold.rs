//! Writes a tag list as a folded field value that arrives as it was sent.
//!
//! Lines keep to 76 columns, so that no server folds or cuts them anew; only base64, in which white space is
//! ignored, is ever cut (SPEC.md §3).

use data_encoding::BASE64URL_NOPAD;

/// Columns of a line: what RFC 5322 asks for.
pub(super) const COLUMNS_MAX: usize = 76;

/// Writes tags one after the other and begins a new line before one would run over.
pub(super) struct Folder {
    text: String,
    column: usize,
}

impl Folder {
    /// Begins at that column: behind the field's name.
    pub(super) fn new(column: usize) -> Self {
        Self { text: String::with_capacity(640), column }
    }

    /// A tag that stays in one piece, however long its domain is.
    pub(super) fn tag(&mut self, name: &str, value: &str) {
        let tag = format!("{name}={value}");
        self.separate(tag.len());
        self.push(&tag);
    }

    /// A tag that is cut where it is longer than a line.
    pub(super) fn base64(&mut self, name: &str, bytes: &[u8]) {
        let tag = format!("{name}={}", BASE64URL_NOPAD.encode(bytes));
        self.separate(tag.len());
        let mut rest = tag.as_str();
        while let Some((piece, more)) =
            rest.split_at_checked(COLUMNS_MAX - 2).filter(|(_, more)| !more.is_empty())
        {
            self.push(piece);
            self.fold();
            rest = more;
        }
        self.push(rest);
    }

    /// The value, without a semicolon at its end.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Ends the tag before, and the line if a tag of that length and its semicolon would run over.
    fn separate(&mut self, length: usize) {
        if self.text.is_empty() {
            return;
        }
        self.push(";");
        if self.column + " ".len() + length + ";".len() > COLUMNS_MAX { self.fold() } else { self.push(" ") }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.len();
    }

    fn fold(&mut self) {
        self.text.push_str("\r\n ");
        self.column = 1;
    }
}
