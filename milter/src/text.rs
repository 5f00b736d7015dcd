//! Texts that go to the MTA, checked when made: SMTP replies, quarantine reasons, header fields.
//!
//! What always holds: a value of these types can be put on the wire as it is. MTAs turn a text they do not
//! like into one of their own or into a failure of the filter, so none may leave here.

use std::fmt;

use thiserror::Error;

use crate::frame::put_string;

/// An SMTP reply that refuses: `550 5.7.1 text`, in one or several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpReply {
    code: u16,
    enhanced: String,
    lines: Vec<String>,
}

/// Why something is no [`SmtpReply`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SmtpReplyError {
    /// Only 400 to 599 refuse.
    #[error("an SMTP reply of code {0}: a refusal has a code from 400 to 599")]
    Code(u16),
    /// Not of the form of RFC 3463.
    #[error("{0:?} is no enhanced status code such as 5.7.1")]
    Enhanced(String),
    /// Postfix takes a 550 with 4.x.x for a fault of the filter.
    #[error("code {code} does not go with enhanced code {enhanced}: they must begin with the same digit")]
    Class {
        /// The reply's code.
        code: u16,
        /// The enhanced code.
        enhanced: String,
    },
    /// None, or more than [`SmtpReply::MAX_LINES`].
    #[error("{0} lines of text: an SMTP reply has from 1 to {max}", max = SmtpReply::MAX_LINES)]
    LineCount(usize),
    /// Longer than [`SmtpReply::MAX_LINE_BYTES`] as it would stand on the wire.
    #[error("a reply line of {bytes} bytes, `%` counted twice: at most {max}", max = SmtpReply::MAX_LINE_BYTES)]
    LineLength {
        /// Its length on the wire.
        bytes: usize,
    },
    /// Line breaks, NUL, terminal escapes.
    #[error("a reply line with a control character: {0:?}")]
    Control(String),
}

impl SmtpReply {
    /// What libmilter and Sendmail take (`MAXREPLIES`).
    pub const MAX_LINES: usize = 32;
    /// What libmilter and Sendmail take (`MAXREPLYLEN`), bytes.
    pub const MAX_LINE_BYTES: usize = 980;

    /// Checks and keeps a reply. `enhanced` is a code such as `5.7.1`; `lines` have no line ends and no code.
    /// Text should be ASCII unless the session speaks SMTPUTF8.
    ///
    /// # Errors
    /// [`SmtpReplyError`] says which part is wrong.
    pub fn new<L: Into<String>>(
        code: u16,
        enhanced: &str,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<SmtpReply, SmtpReplyError> {
        if !(400..600).contains(&code) {
            return Err(SmtpReplyError::Code(code));
        }
        let class = enhanced_class(enhanced).ok_or_else(|| SmtpReplyError::Enhanced(enhanced.into()))?;
        if class != code / 100 {
            return Err(SmtpReplyError::Class { code, enhanced: enhanced.into() });
        }
        let lines: Vec<String> = lines.into_iter().map(Into::into).take(SmtpReply::MAX_LINES + 1).collect();
        if lines.is_empty() || lines.len() > SmtpReply::MAX_LINES {
            return Err(SmtpReplyError::LineCount(lines.len()));
        }
        lines.iter().try_for_each(|line| check_line(line))?;
        Ok(SmtpReply { code, enhanced: enhanced.into(), lines })
    }

    /// A reply of this crate's own for trouble that passes; `line` is fit by its making.
    #[must_use]
    pub fn trouble(line: &'static str) -> SmtpReply {
        debug_assert_eq!(check_line(line), Ok(()));
        SmtpReply { code: 451, enhanced: "4.3.0".into(), lines: vec![line.into()] }
    }

    /// From 400 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Such as `5.7.1`.
    pub fn enhanced(&self) -> &str {
        &self.enhanced
    }

    /// From 1 to [`SmtpReply::MAX_LINES`] of them.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether the sender may try again (a code below 500).
    pub fn is_temporary(&self) -> bool {
        self.code < 500
    }

    /// Appends the payload of a reply packet: every line with its codes, CR LF between them, `%` doubled (the
    /// MTA reads the text as a format), NUL at the end.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (number, line) in self.lines.iter().enumerate() {
            let separator = if number == last { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{separator}{} ", self.code, self.enhanced).as_bytes());
            for byte in line.bytes() {
                out.push(byte);
                if byte == b'%' {
                    out.push(byte);
                }
            }
            if number < last {
                out.extend_from_slice(b"\r\n");
            }
        }
        out.push(0);
    }
}

impl fmt::Display for SmtpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.enhanced, self.lines.join(" / "))
    }
}

/// The first digit of an enhanced status code: 4 or 5, subject and detail of 1 to 3 digits (RFC 3463 §2).
fn enhanced_class(enhanced: &str) -> Option<u16> {
    let mut parts = enhanced.split('.');
    let class = parts.next().filter(|class| matches!(*class, "4" | "5"))?;
    let is_number =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let valid = is_number(parts.next()?) && is_number(parts.next()?) && parts.next().is_none();
    class.parse().ok().filter(|_| valid)
}

fn check_line(line: &str) -> Result<(), SmtpReplyError> {
    let bytes = line.len() + line.bytes().filter(|&byte| byte == b'%').count();
    if line.chars().any(char::is_control) {
        Err(SmtpReplyError::Control(line.into()))
    } else if bytes > SmtpReply::MAX_LINE_BYTES {
        Err(SmtpReplyError::LineLength { bytes })
    } else {
        Ok(())
    }
}

/// Why a message is held, for the admin: 1 to [`QuarantineReason::MAX_BYTES`] bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineReason(String);

/// Why a text is no [`QuarantineReason`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuarantineReasonError {
    /// Nothing in it.
    #[error("an empty quarantine reason")]
    Empty,
    /// Postfix would cut it.
    #[error("a quarantine reason of {0} bytes: at most {max}", max = QuarantineReason::MAX_BYTES)]
    TooLong(usize),
    /// Sendmail would write a broken queue file.
    #[error("a quarantine reason with a control character: {0:?}")]
    Control(String),
}

impl QuarantineReason {
    /// Where Postfix cuts, bytes.
    pub const MAX_BYTES: usize = 100;

    /// Checks and keeps a reason.
    ///
    /// # Errors
    /// [`QuarantineReasonError`].
    pub fn new(reason: impl Into<String>) -> Result<QuarantineReason, QuarantineReasonError> {
        let reason = reason.into();
        match reason.len() {
            0 => Err(QuarantineReasonError::Empty),
            length if length > QuarantineReason::MAX_BYTES => Err(QuarantineReasonError::TooLong(length)),
            _ if reason.chars().any(char::is_control) => Err(QuarantineReasonError::Control(reason)),
            _ => Ok(QuarantineReason(reason)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a header field: 1 to [`HeaderName::MAX_BYTES`] visible ASCII characters without colon (RFC 5322 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(String);

/// Why something is no header name or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Empty, too long, or with white space, a colon or other than visible ASCII.
    #[error("not a header field's name: 1 to {} visible ASCII characters, no colon", HeaderName::MAX_BYTES)]
    Name,
    /// CR, NUL, or a line that the next header field could be hidden in.
    #[error("a header value with CR, NUL, or a line break not followed by white space and text")]
    ValueLine,
    /// Over [`HeaderValue::MAX_BYTES`].
    #[error("a header value of {0} bytes: at most {max}", max = HeaderValue::MAX_BYTES)]
    ValueLength(usize),
}

impl HeaderName {
    /// More than any field in use, bytes.
    pub const MAX_BYTES: usize = 255;

    /// Checks and keeps a name.
    ///
    /// # Errors
    /// [`HeaderError::Name`].
    pub fn new(name: impl Into<String>) -> Result<HeaderName, HeaderError> {
        let name = name.into();
        let visible = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        let fits = (1..=HeaderName::MAX_BYTES).contains(&name.len());
        if visible && fits { Ok(HeaderName(name)) } else { Err(HeaderError::Name) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The value of a header field, without the space after the colon (it is put there). Folded lines are joined by
/// LF and begin with a space or tab; no line but the first is blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValue(Vec<u8>);

impl HeaderValue {
    /// What Postfix lets a header field have when a milter looks at it, bytes.
    pub const MAX_BYTES: usize = 60_000;

    /// Checks and keeps a value.
    ///
    /// # Errors
    /// [`HeaderError::ValueLine`] or [`HeaderError::ValueLength`].
    pub fn new(value: impl Into<Vec<u8>>) -> Result<HeaderValue, HeaderError> {
        let value = value.into();
        let folded = |line: &[u8]| line.starts_with(b" ") || line.starts_with(b"\t");
        let continues = |line: &[u8]| folded(line) && !line.trim_ascii().is_empty();
        if value.len() > HeaderValue::MAX_BYTES {
            Err(HeaderError::ValueLength(value.len()))
        } else if value.iter().any(|byte| matches!(byte, 0 | b'\r'))
            || !value.split(|&byte| byte == b'\n').skip(1).all(continues)
        {
            Err(HeaderError::ValueLine)
        } else {
            Ok(HeaderValue(value))
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends it as a string of a packet. An MTA that was asked for leading spaces adds none of its own.
    pub(crate) fn put(&self, out: &mut Vec<u8>, leading_space: bool) {
        if leading_space {
            out.push(b' ');
        }
        put_string(out, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(reply: &SmtpReply) -> String {
        let mut out = Vec::new();
        reply.put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pitfall_16_a_reply_on_the_wire() {
        for (code, enhanced, lines, expected) in [
            (550, "5.7.1", vec!["no"], "550 5.7.1 no\0"),
            (451, "4.7.1", vec!["100% sure, 50%% off"], "451 4.7.1 100%% sure, 50%%%% off\0"),
            (550, "5.7.1", vec!["one", "", "three"], "550-5.7.1 one\r\n550-5.7.1 \r\n550 5.7.1 three\0"),
            (599, "5.999.123", vec!["j\u{fc}rg"], "599 5.999.123 j\u{fc}rg\0"),
        ] {
            let reply = SmtpReply::new(code, enhanced, lines.clone()).unwrap();
            assert_eq!(payload(&reply), expected);
            assert_eq!((reply.code(), reply.enhanced(), reply.lines().len()), (code, enhanced, lines.len()));
            assert_eq!(reply.is_temporary(), code < 500);
        }
    }

    #[test]
    fn pitfall_16_a_reply_that_an_mta_would_not_take_cannot_be_made() {
        let make = |code, enhanced: &str, line: &str| SmtpReply::new(code, enhanced, [line]).unwrap_err();
        for code in [0, 200, 250, 354, 399, 600, 999] {
            assert_eq!(make(code, "5.7.1", "x"), SmtpReplyError::Code(code));
        }
        for enhanced in
            ["", "5", "5.7", "5.7.1.1", "2.0.0", "5.7.", "5..1", "5.7.1234", "5.7.x", " 5.7.1", "5.7.+1"]
        {
            assert_eq!(make(550, enhanced, "x"), SmtpReplyError::Enhanced(enhanced.into()));
        }
        for (code, enhanced) in [(550, "4.7.1"), (450, "5.7.1")] {
            assert_eq!(make(code, enhanced, "x"), SmtpReplyError::Class { code, enhanced: enhanced.into() });
        }
        for line in ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\x1b[1m", "a\u{85}b"] {
            assert_eq!(make(550, "5.7.1", line), SmtpReplyError::Control(line.into()));
        }
        assert_eq!(make(550, "5.7.1", &"x".repeat(981)), SmtpReplyError::LineLength { bytes: 981 });
        assert_eq!(make(550, "5.7.1", &"%".repeat(491)), SmtpReplyError::LineLength { bytes: 982 });
        assert!(SmtpReply::new(550, "5.7.1", ["x".repeat(980), "%".repeat(490)]).is_ok());
        assert!(SmtpReply::new(550, "5.7.1", vec!["x"; 32]).is_ok());
        assert_eq!(SmtpReply::new(550, "5.7.1", vec!["x"; 33]), Err(SmtpReplyError::LineCount(33)));
        assert_eq!(SmtpReply::new(550, "5.7.1", Vec::<String>::new()), Err(SmtpReplyError::LineCount(0)));
    }

    #[test]
    fn pitfall_16_the_longest_reply_fits_into_a_frame() {
        let reply = SmtpReply::new(550, "5.999.999", vec!["x".repeat(980); 32]).unwrap();
        assert!(payload(&reply).len() <= crate::frame::MAX_PAYLOAD_BYTES);
    }

    #[test]
    fn pitfall_19_a_quarantine_reason_is_short_and_one_line() {
        assert_eq!(QuarantineReason::new("no postage").unwrap().as_str(), "no postage");
        assert!(QuarantineReason::new("x".repeat(100)).is_ok());
        assert_eq!(QuarantineReason::new("x".repeat(101)), Err(QuarantineReasonError::TooLong(101)));
        assert_eq!(QuarantineReason::new(""), Err(QuarantineReasonError::Empty));
        for reason in ["a\nb", "a\rb", "a\0b"] {
            assert_eq!(QuarantineReason::new(reason), Err(QuarantineReasonError::Control(reason.into())));
        }
    }

    #[test]
    fn a_header_cannot_hide_another() {
        for name in ["X-A", "Received", "a", "!#$"] {
            assert_eq!(HeaderName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "A B", "A:", "A\n", "\u{e4}", "A\0", &"x".repeat(256)] {
            assert_eq!(HeaderName::new(name), Err(HeaderError::Name), "{name:?}");
        }
        for value in [&b""[..], b"x", b"x\n\ty", b"x\n y\n z", b"\xff\xfe", b"\n folded at once"] {
            assert_eq!(HeaderValue::new(value).unwrap().bytes(), value);
        }
        for value in [&b"x\nBcc: y"[..], b"x\n", b"x\n\n y", b"x\r\n y", b"x\0", b"x\n \t\n y", b"x\n "] {
            assert_eq!(HeaderValue::new(value), Err(HeaderError::ValueLine), "{value:?}");
        }
        assert_eq!(HeaderValue::new(vec![b'x'; 60_001]), Err(HeaderError::ValueLength(60_001)));
    }
}
