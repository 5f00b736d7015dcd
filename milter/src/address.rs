//! Names of the envelope and of clients: addresses of MAIL and RCPT, their ESMTP arguments, the client of CONNECT.
//!
//! Bytes stay as the MTA sent them; only what differs between MTAs for the same thing is made the same: the
//! angle brackets of an address, the notations of a client's address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

use crate::frame::split_string;

/// The argument of MAIL or RCPT, borrowed from the packet. Any bytes but NUL, UTF-8 or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnvelopeAddress<'a> {
    raw: &'a [u8],
}

impl<'a> EnvelopeAddress<'a> {
    /// Takes it as it came, with or without `<>`.
    pub fn new(raw: &'a [u8]) -> EnvelopeAddress<'a> {
        EnvelopeAddress { raw }
    }

    /// As it came. Postfix leaves the `<>` out for mail that sendmail(1) took.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Without the `<>` around it and white space around that. Empty for the null sender.
    pub fn bytes(self) -> &'a [u8] {
        let trimmed = self.raw.trim_ascii();
        trimmed.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(trimmed)
    }

    /// Whether it came in `<>`, as all that is spoken over SMTP does.
    pub fn has_brackets(self) -> bool {
        self.bytes().len() < self.raw.trim_ascii().len()
    }

    /// Whether it is the null sender, `<>`.
    pub fn is_null(self) -> bool {
        self.bytes().is_empty()
    }
}

impl fmt::Display for EnvelopeAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.bytes().escape_ascii())
    }
}

impl fmt::Debug for EnvelopeAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The ESMTP arguments of MAIL or RCPT: `SIZE=1000`, `BODY=8BITMIME`, `SMTPUTF8` …
#[derive(Clone, Copy, Default)]
pub struct Args<'a> {
    bytes: &'a [u8],
}

impl PartialEq for Args<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Args<'_> {}

impl<'a> Args<'a> {
    /// Takes the arguments as they stand in the packet: each ends in NUL, the last one's may be missing.
    pub fn new(bytes: &'a [u8]) -> Args<'a> {
        Args { bytes }
    }

    /// Each argument, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (argument, tail) = if rest.is_empty() { return None } else { split_string(rest) };
            rest = tail;
            Some(argument)
        })
    }

    /// The value of the argument with this keyword, in any case; empty for one without `=`.
    pub fn value(self, keyword: &str) -> Option<&'a [u8]> {
        self.iter().find_map(|argument| {
            let (name, rest) = argument.split_at_checked(keyword.len())?;
            match rest.split_first() {
                _ if !name.eq_ignore_ascii_case(keyword.as_bytes()) => None,
                None => Some(rest),
                Some((b'=', value)) => Some(value),
                Some(_) => None,
            }
        })
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|argument| argument.escape_ascii().to_string())).finish()
    }
}

/// An address for a change of the envelope: no NUL, no line break, at most [`Mailbox::MAX_BYTES`]. Kept without `<>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox(Vec<u8>);

/// ESMTP arguments for a change of the envelope, `NOTIFY=NEVER RET=HDRS`: checked as a [`Mailbox`] is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EsmtpArgs(Vec<u8>);

/// Why bytes are no [`Mailbox`] or [`EsmtpArgs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MailboxError {
    /// A NUL or line break would end it early on the wire or in SMTP.
    #[error("an address or its arguments must not hold NUL, CR or LF")]
    Control,
    /// Over [`Mailbox::MAX_BYTES`].
    #[error("an address, or its arguments, of more than {} bytes", Mailbox::MAX_BYTES)]
    TooLong,
}

/// Checks what is to stand as one string in a packet and one word in SMTP.
fn check(text: &[u8]) -> Result<Vec<u8>, MailboxError> {
    if text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        Err(MailboxError::Control)
    } else if text.len() > Mailbox::MAX_BYTES {
        Err(MailboxError::TooLong)
    } else {
        Ok(text.to_vec())
    }
}

impl EsmtpArgs {
    /// No arguments.
    pub fn none() -> EsmtpArgs {
        EsmtpArgs::default()
    }

    /// Checks arguments, with a space between them. Empty is none.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub fn new(args: impl AsRef<[u8]>) -> Result<EsmtpArgs, MailboxError> {
        check(args.as_ref()).map(EsmtpArgs)
    }

    /// As they go out.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Mailbox {
    /// More than SMTP allows (RFC 5321 §4.5.3.1: 64 + 1 + 255), for MTAs that take more.
    pub const MAX_BYTES: usize = 1_000;

    /// Checks an address, with or without `<>`. Empty is the null sender.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub fn new(address: impl AsRef<[u8]>) -> Result<Mailbox, MailboxError> {
        check(EnvelopeAddress::new(address.as_ref()).bytes()).map(Mailbox)
    }

    /// Without `<>`.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The SMTP client, as CONNECT tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The host name the MTA found, or `[address]`, or nothing; not to be believed more than the MTA's checks.
    pub host: Vec<u8>,
    /// Where it connects from.
    pub address: ClientAddress,
    /// TCP port; 0 when there is none: unix socket, or mail taken by sendmail(1).
    pub port: u16,
}

/// Where an SMTP client connects from: one value for all notations of the same address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// A network address; IPv4 mapped into IPv6 is IPv4 here.
    Ip(IpAddr),
    /// A unix socket; its path may be empty.
    Unix(Vec<u8>),
    /// The MTA does not say, or says what is no address.
    Unknown,
}

impl ClientAddress {
    /// Reads `192.0.2.1`, `2001:db8::1`, `IPv6:2001:db8:0:0:0:0:0:1` (Sendmail), `::ffff:192.0.2.1`, `[::1]`, `fe80::1%eth0`;
    /// good for the macro `{client_addr}` too. What is none of them is [`ClientAddress::Unknown`].
    pub fn parse(text: &[u8]) -> ClientAddress {
        let text = text.trim_ascii();
        let text = text.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")).unwrap_or(text);
        let (text, tagged) = match text.split_at_checked(5) {
            Some((tag, rest)) if tag.eq_ignore_ascii_case(b"IPv6:") => (rest, true),
            _ => (text, false),
        };
        let text = text.split(|&byte| byte == b'%').next().unwrap_or(text);
        let Ok(text) = std::str::from_utf8(text) else { return ClientAddress::Unknown };
        let address = if tagged { text.parse::<Ipv6Addr>().map(IpAddr::V6) } else { text.parse() };
        address.map_or(ClientAddress::Unknown, |address| ClientAddress::Ip(address.to_canonical()))
    }

    /// The network address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            ClientAddress::Ip(ip) => Some(*ip),
            ClientAddress::Unix(_) | ClientAddress::Unknown => None,
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientAddress::Ip(ip) => ip.fmt(f),
            ClientAddress::Unix(path) => write!(f, "unix:{}", path.escape_ascii()),
            ClientAddress::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitfall_11_one_client_is_one_address_in_every_notation() {
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        for (text, expected) in [
            ("2001:db8::1", Some(v6)),
            ("IPv6:2001:db8:0:0:0:0:0:1", Some(v6)),
            ("ipv6:2001:DB8::1", Some(v6)),
            ("[IPv6:2001:db8::1]", Some(v6)),
            ("2001:db8::1%eth0", Some(v6)),
            ("192.0.2.7", Some(v4)),
            ("::ffff:192.0.2.7", Some(v4)),
            ("IPv6:::ffff:192.0.2.7", Some(v4)),
            ("[192.0.2.7]", Some(v4)),
            ("IPv6:192.0.2.7", None),
            ("", None),
            ("unknown", None),
            ("192.0.2.256", None),
        ] {
            assert_eq!(ClientAddress::parse(text.as_bytes()).ip(), expected, "{text}");
        }
        assert_eq!(ClientAddress::parse(b"\xff::1"), ClientAddress::Unknown);
    }

    #[test]
    fn pitfall_12_addresses_with_and_without_brackets_are_the_same() {
        for (raw, bytes, brackets) in [
            (&b"<ann@a.example>"[..], &b"ann@a.example"[..], true),
            (b"ann@a.example", b"ann@a.example", false),
            (b"<>", b"", true),
            (b"", b"", false),
            (b" <ann@a.example> ", b"ann@a.example", true),
            (b"<\"a b>\"@a.example>", b"\"a b>\"@a.example", true),
            (b"<j\xc3\xbcrg@a.example>", b"j\xc3\xbcrg@a.example", true),
            (b"<\xff@a.example>", b"\xff@a.example", true),
            (b"<", b"<", false),
        ] {
            let address = EnvelopeAddress::new(raw);
            assert_eq!(address.bytes(), bytes, "{address}");
            assert_eq!(address.has_brackets(), brackets, "{address}");
            assert_eq!(address.raw(), raw);
            assert_eq!(address.is_null(), bytes.is_empty());
        }
    }

    #[test]
    fn pitfall_12_arguments_are_found_by_keyword_and_may_lack_the_last_nul() {
        for bytes in [&b"SIZE=10\0BODY=8BITMIME\0smtputf8\0"[..], b"SIZE=10\0BODY=8BITMIME\0smtputf8"] {
            let args = Args::new(bytes);
            assert_eq!(args.iter().count(), 3);
            assert_eq!(args.value("size"), Some(&b"10"[..]));
            assert_eq!(args.value("SMTPUTF8"), Some(&b""[..]));
            assert_eq!(args.value("SIZ"), None);
            assert_eq!(args.value("AUTH"), None);
        }
        assert_eq!(Args::default().iter().count(), 0);
        assert_eq!(format!("{:?}", Args::new(b"A\0")), "[\"A\"]");
    }

    #[test]
    fn a_mailbox_cannot_hold_what_would_end_it() {
        assert_eq!(Mailbox::new("<bob@b.example>").unwrap().bytes(), b"bob@b.example");
        assert_eq!(Mailbox::new("<>").unwrap().bytes(), b"");
        assert_eq!(Mailbox::new("a\r\nRCPT TO:<b>"), Err(MailboxError::Control));
        assert_eq!(Mailbox::new([b'a'; Mailbox::MAX_BYTES + 1]), Err(MailboxError::TooLong));
    }
}
