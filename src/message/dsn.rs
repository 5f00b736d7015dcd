//! What a sender wants to hear of his letter: the options of MAIL and RCPT that ask for delivery status notifications
//! (RFC 3461).
//!
//! Pure. A value is kept as it came, if it is of the form that RFC 3461 gives it, and is safe to write into a command, an
//! argument or a field; another counts as not given.

use std::{fmt, str};

/// Characters of an ENVID (RFC 3461 §4.4).
const ENVID_CHARS_MAX: usize = 100;
/// Characters of an ORCPT (RFC 3461 §4.2).
const ORCPT_CHARS_MAX: usize = 500;
/// The word of a sender who wants to hear nothing.
const NEVER: &str = "NEVER";

/// Options of a letter for one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dsn {
    /// Of the letter.
    pub letter: LetterDsn,
    /// Of the recipient.
    pub recipient: RecipientDsn,
}

/// Options of MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterDsn {
    ret: Option<Ret>,
    envid: Option<Xtext>,
}

/// Options of RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientDsn {
    notify: Option<Notify>,
    orcpt: Option<Xtext>,
}

/// RET: what comes back of a letter that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// NOTIFY: on what the sender is told; nothing set: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    success: bool,
    failure: bool,
    delay: bool,
}

/// A checked value as it came, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Xtext {
    written: String,
    said: String,
}

impl Dsn {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl LetterDsn {
    /// What these values of RET and ENVID ask for.
    #[must_use]
    pub fn new(ret: Option<&[u8]>, envid: Option<&[u8]>) -> Self {
        Self { ret: ret.and_then(Ret::parse), envid: envid.and_then(|value| xtext(value, ENVID_CHARS_MAX)) }
    }

    /// RET.
    #[must_use]
    pub const fn ret(&self) -> Option<Ret> {
        self.ret
    }

    /// ENVID, in xtext.
    #[must_use]
    pub fn envid(&self) -> Option<&str> {
        self.envid.as_ref().map(|envid| envid.written.as_str())
    }

    /// ENVID, decoded: printable ASCII.
    #[must_use]
    pub fn envelope_id(&self) -> Option<&str> {
        self.envid.as_ref().map(|envid| envid.said.as_str())
    }
}

impl RecipientDsn {
    /// What these values of NOTIFY and ORCPT ask for.
    #[must_use]
    pub fn new(notify: Option<&[u8]>, orcpt: Option<&[u8]>) -> Self {
        Self { notify: notify.and_then(Notify::parse), orcpt: orcpt.and_then(original_recipient) }
    }

    /// NOTIFY.
    #[must_use]
    pub const fn notify(&self) -> Option<Notify> {
        self.notify
    }

    /// ORCPT, its address in xtext.
    #[must_use]
    pub fn orcpt(&self) -> Option<&str> {
        self.orcpt.as_ref().map(|orcpt| orcpt.written.as_str())
    }

    /// ORCPT, decoded: printable ASCII.
    #[must_use]
    pub fn original_recipient(&self) -> Option<&str> {
        self.orcpt.as_ref().map(|orcpt| orcpt.said.as_str())
    }

    /// Whether the sender is to be told that the letter could not be delivered; he is if he said nothing.
    #[must_use]
    pub fn tells_failure(&self) -> bool {
        self.notify.is_none_or(|notify| notify.failure)
    }
}

impl Ret {
    fn parse(value: &[u8]) -> Option<Self> {
        [Self::Full, Self::Headers]
            .into_iter()
            .find(|ret| value.eq_ignore_ascii_case(ret.as_str().as_bytes()))
    }

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

impl Notify {
    fn parse(value: &[u8]) -> Option<Self> {
        let mut notify = Self::default();
        if value.eq_ignore_ascii_case(NEVER.as_bytes()) {
            return Some(notify);
        }
        for word in value.split(|&b| b == b',') {
            let flag = match word.to_ascii_uppercase().as_slice() {
                b"SUCCESS" => &mut notify.success,
                b"FAILURE" => &mut notify.failure,
                b"DELAY" => &mut notify.delay,
                _ => return None,
            };
            *flag = true;
        }
        Some(notify)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let asked: Vec<&str> =
            words.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, word)| word).collect();
        f.write_str(if asked.is_empty() { NEVER.into() } else { asked.join(",") }.as_str())
    }
}

/// `TYPE;ADDRESS`, the address in xtext.
fn original_recipient(value: &[u8]) -> Option<Xtext> {
    let whole = xtext(value, ORCPT_CHARS_MAX)?;
    let (kind, _) = whole.written.split_once(';')?;
    let is_atom = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_atom.then_some(whole)
}

/// Text in which `+` and two hexadecimal digits stand for a character (RFC 3461 §4): printable ASCII once decoded.
fn xtext(value: &[u8], chars_max: usize) -> Option<Xtext> {
    if value.is_empty() || value.len() > chars_max {
        return None;
    }
    let written = str::from_utf8(value).ok()?.to_owned();
    let mut said = String::new();
    let mut octets = value.iter();
    while let Some(&octet) = octets.next() {
        said.push(char::from(match octet {
            b'=' => return None,
            b'+' => {
                let code = [*octets.next()?, *octets.next()?];
                code.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                let decoded = u8::from_str_radix(str::from_utf8(&code).ok()?, 16).ok()?;
                Some(decoded).filter(|decoded| (b' '..=b'~').contains(decoded))?
            }
            _ => Some(octet).filter(u8::is_ascii_graphic)?,
        }));
    }
    Some(Xtext { written, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(ret: &str, envid: &str) -> LetterDsn {
        LetterDsn::new(Some(ret.as_bytes()), Some(envid.as_bytes()))
    }

    fn recipient(notify: &str, orcpt: &str) -> RecipientDsn {
        RecipientDsn::new(Some(notify.as_bytes()), Some(orcpt.as_bytes()))
    }

    #[test]
    fn what_is_asked_for_of_a_letter() {
        for (value, ret) in
            [("FULL", Some(Ret::Full)), ("hdrs", Some(Ret::Headers)), ("", None), ("HEADERS", None)]
        {
            assert_eq!(letter(value, "x").ret(), ret, "{value}");
        }
        let long = "x".repeat(ENVID_CHARS_MAX);
        for (value, said) in [
            ("QQ314159", Some("QQ314159")),
            ("a+2Bb+3d+20c", Some("a+b= c")),
            (&long, Some(long.as_str())),
            (&format!("{long}x"), None),
            ("", None),
            ("a=b", None),
            ("a+2", None),
            ("a+2g", None),
            ("a++2", None),
            ("a+0D+0AX:", None),
            ("a+7F", None),
            ("a b", None),
            ("a\r\nRCPT TO:<eve@b.example>", None),
            ("\u{e4}", None),
        ] {
            let asked = letter("", value);
            assert_eq!(asked.envelope_id(), said, "{value}");
            assert_eq!(asked.envid(), said.map(|_| value), "as it came");
        }
    }

    #[test]
    fn what_is_asked_for_of_a_recipient() {
        for (value, notify, tells_failure) in [
            ("NEVER", Some("NEVER"), false),
            ("never", Some("NEVER"), false),
            ("delay,Success", Some("SUCCESS,DELAY"), false),
            ("SUCCESS,FAILURE,DELAY", Some("SUCCESS,FAILURE,DELAY"), true),
            ("FAILURE,FAILURE", Some("FAILURE"), true),
            ("NEVER,FAILURE", None, true),
            ("SUCCESS,", None, true),
            ("", None, true),
            ("SUCCESS FAILURE", None, true),
        ] {
            let asked = recipient(value, "");
            assert_eq!(asked.notify().map(|n| n.to_string()).as_deref(), notify, "{value}");
            assert_eq!(asked.tells_failure(), tells_failure, "{value}");
        }
        let long = format!("rfc822;{}", "x".repeat(ORCPT_CHARS_MAX - 7));
        for (value, said) in [
            ("rfc822;Bob+2Bshop@b.example", Some("rfc822;Bob+shop@b.example")),
            ("utf-8;\\x{e4}@b.example", Some("utf-8;\\x{e4}@b.example")),
            (&long, Some(long.as_str())),
            (&format!("{long}x"), None),
            ("bob@b.example", None),
            (";bob@b.example", None),
            ("x+20y;bob@b.example", None),
            ("rfc822;bob+0A@b.example", None),
        ] {
            let asked = recipient("", value);
            assert_eq!(asked.original_recipient(), said, "{value}");
            assert_eq!(asked.orcpt(), said.map(|_| value), "as it came");
        }
        assert!(RecipientDsn::new(None, None).tells_failure() && Dsn::default().is_empty());
    }
}
