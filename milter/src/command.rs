//! Commands: what an MTA sends.
//!
//! Read leniently: a packet that is too short, or has no NUL at its end, or bytes of any kind in its strings,
//! gives a command all the same; strict readers have dropped people's mail. Only an unknown code and a
//! negotiation packet without its numbers are errors.

use thiserror::Error;

use crate::address::{Args, Client, ClientAddress, EnvelopeAddress};
use crate::frame::{Frame, put, put_string, split_string};
use crate::macros::{MacroPairs, Stage};
use crate::negotiate::Offer;

/// One command; what it holds borrows the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `O`: the MTA's offer, first of all.
    Negotiate(Offer),
    /// `D`: macros for the command of this code, which may be one that is never sent, or unknown.
    Macros(u8, MacroPairs<'a>),
    /// `C`: a client connected.
    Connect(Client),
    /// `H`: the name given with HELO or EHLO.
    Helo(&'a [u8]),
    /// `M`: MAIL FROM.
    Mail(EnvelopeAddress<'a>, Args<'a>),
    /// `R`: RCPT TO.
    Rcpt(EnvelopeAddress<'a>, Args<'a>),
    /// `T`: DATA.
    Data,
    /// `L`: a header field, name and value; lines of a folded value are joined by LF.
    Header(&'a [u8], &'a [u8]),
    /// `N`: the header is over.
    EndOfHeaders,
    /// `B`: a piece of the body.
    Body(&'a [u8]),
    /// `E`: the message is over; libmilter permits a last piece of the body here.
    EndOfMessage(&'a [u8]),
    /// `U`: an SMTP command the MTA does not know.
    Unknown(&'a [u8]),
    /// `A`: forget the message in hand, if any.
    Abort,
    /// `Q`: the end.
    Quit,
    /// `K`: the end of this SMTP connection; another follows on the same socket.
    QuitNewConnection,
}

/// A packet that is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No version has it.
    #[error("a packet of unknown type {:?}", char::from(*.0))]
    Code(u8),
    /// Version, actions and steps are not all there.
    #[error("a negotiation packet of {0} bytes, too short")]
    ShortOffer(usize),
}

impl<'a> Command<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn decode(frame: Frame<'a>) -> Result<Command<'a>, CommandError> {
        let payload = frame.payload;
        Ok(match frame.code {
            b'O' => {
                Command::Negotiate(Offer::decode(payload).ok_or(CommandError::ShortOffer(payload.len()))?)
            }
            b'D' => {
                let (stage, pairs) =
                    payload.split_first().map_or((0, payload), |(&stage, pairs)| (stage, pairs));
                Command::Macros(stage, MacroPairs::new(pairs))
            }
            b'C' => Command::Connect(client(payload)),
            b'H' => Command::Helo(split_string(payload).0),
            b'M' => envelope(payload, Command::Mail),
            b'R' => envelope(payload, Command::Rcpt),
            b'T' => Command::Data,
            b'L' => {
                let (name, rest) = split_string(payload);
                Command::Header(name, split_string(rest).0)
            }
            b'N' => Command::EndOfHeaders,
            b'B' => Command::Body(payload),
            b'E' => Command::EndOfMessage(payload),
            b'U' => Command::Unknown(split_string(payload).0),
            b'A' => Command::Abort,
            b'Q' => Command::Quit,
            b'K' => Command::QuitNewConnection,
            code => return Err(CommandError::Code(code)),
        })
    }

    /// Appends the packet, as an MTA sends it. The payload must fit into a frame
    /// ([`crate::frame::MAX_PAYLOAD_BYTES`]).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let strings = |out: &mut Vec<u8>, code, strings: &[&[u8]]| {
            put(out, code, |out| strings.iter().for_each(|string| put_string(out, string)));
        };
        match self {
            Command::Negotiate(offer) => offer.encode(out),
            Command::Macros(stage, pairs) => put(out, b'D', |out| {
                out.push(*stage);
                out.extend_from_slice(pairs.bytes());
            }),
            Command::Connect(client) => put(out, b'C', |out| put_client(client, out)),
            Command::Helo(name) => strings(out, b'H', &[name]),
            Command::Mail(address, args) => put(out, b'M', |out| put_envelope(*address, *args, out)),
            Command::Rcpt(address, args) => put(out, b'R', |out| put_envelope(*address, *args, out)),
            Command::Data => strings(out, b'T', &[]),
            Command::Header(name, value) => strings(out, b'L', &[name, value]),
            Command::EndOfHeaders => strings(out, b'N', &[]),
            Command::Body(chunk) => put(out, b'B', |out| out.extend_from_slice(chunk)),
            Command::EndOfMessage(chunk) => put(out, b'E', |out| out.extend_from_slice(chunk)),
            Command::Unknown(command) => strings(out, b'U', &[command]),
            Command::Abort => strings(out, b'A', &[]),
            Command::Quit => strings(out, b'Q', &[]),
            Command::QuitNewConnection => strings(out, b'K', &[]),
        }
    }

    /// The stage it belongs to, unless it is about the session itself.
    pub fn stage(&self) -> Option<Stage> {
        Some(match self {
            Command::Connect(_) => Stage::Connect,
            Command::Helo(_) => Stage::Helo,
            Command::Mail(..) => Stage::Mail,
            Command::Rcpt(..) => Stage::Rcpt,
            Command::Data => Stage::Data,
            Command::Header(..) => Stage::Header,
            Command::EndOfHeaders => Stage::EndOfHeaders,
            Command::Body(_) => Stage::Body,
            Command::EndOfMessage(_) => Stage::EndOfMessage,
            Command::Unknown(_) => Stage::Unknown,
            Command::Negotiate(_)
            | Command::Macros(..)
            | Command::Abort
            | Command::Quit
            | Command::QuitNewConnection => return None,
        })
    }
}

fn envelope<'a>(
    payload: &'a [u8],
    command: impl Fn(EnvelopeAddress<'a>, Args<'a>) -> Command<'a>,
) -> Command<'a> {
    let (address, args) = split_string(payload);
    command(EnvelopeAddress::new(address), Args::new(args))
}

fn put_envelope(address: EnvelopeAddress<'_>, args: Args<'_>, out: &mut Vec<u8>) {
    put_string(out, address.raw());
    args.iter().for_each(|argument| put_string(out, argument));
}

/// Host, NUL, family, and unless that is unknown, port and address.
fn client(payload: &[u8]) -> Client {
    let (host, rest) = split_string(payload);
    let (family, rest) = rest.split_first().map_or((b'U', rest), |(&family, rest)| (family, rest));
    let (port, text) =
        rest.split_first_chunk().map_or((0, rest), |(port, text)| (u16::from_be_bytes(*port), text));
    let text = split_string(text).0;
    let address = match family {
        b'4' | b'6' => ClientAddress::parse(text),
        b'L' => ClientAddress::Unix(text.to_vec()),
        _ => ClientAddress::Unknown,
    };
    let port = if matches!(address, ClientAddress::Ip(_)) { port } else { 0 };
    Client { host: host.to_vec(), address, port }
}

fn put_client(client: &Client, out: &mut Vec<u8>) {
    put_string(out, &client.host);
    let (family, text) = match &client.address {
        ClientAddress::Ip(ip) => (if ip.is_ipv4() { b'4' } else { b'6' }, ip.to_string().into_bytes()),
        ClientAddress::Unix(path) => (b'L', path.clone()),
        ClientAddress::Unknown => return out.push(b'U'),
    };
    out.push(family);
    out.extend_from_slice(&client.port.to_be_bytes());
    put_string(out, &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(code: u8, payload: &[u8]) -> Command<'_> {
        Command::decode(Frame { code, payload }).unwrap()
    }

    fn connect(host: &[u8], address: ClientAddress, port: u16) -> Command<'static> {
        Command::Connect(Client { host: host.to_vec(), address, port })
    }

    #[test]
    fn pitfall_11_connect_of_every_family() {
        let ip = |text: &str| ClientAddress::Ip(text.parse().unwrap());
        for (payload, expected) in [
            (&b"mx.a.example\x004\x04\xd2192.0.2.1\0"[..], connect(b"mx.a.example", ip("192.0.2.1"), 1234)),
            (b"[::1]\x006\0\x19::1\0", connect(b"[::1]", ip("::1"), 25)),
            (b"[IPv6:0:0:0:0:0:0:0:1]\x006\0\0IPv6:0:0:0:0:0:0:0:1\0", {
                connect(b"[IPv6:0:0:0:0:0:0:0:1]", ip("::1"), 0)
            }),
            (b"x\x006\0\x19::ffff:192.0.2.1\0", connect(b"x", ip("192.0.2.1"), 25)),
            (b"localhost\x004\0\x00127.0.0.1\0", connect(b"localhost", ip("127.0.0.1"), 0)),
            (b"localhost\0L\0\0/run/x\0", connect(b"localhost", ClientAddress::Unix(b"/run/x".to_vec()), 0)),
            (b"localhost\0L", connect(b"localhost", ClientAddress::Unix(vec![]), 0)),
            (b"unknown\0U", connect(b"unknown", ClientAddress::Unknown, 0)),
            (b"\x004\0\x19\0", connect(b"", ClientAddress::Unknown, 0)),
            (b"x\x004\0\x19192.0.2.1", connect(b"x", ip("192.0.2.1"), 25)),
            (b"x\x004\x19", connect(b"x", ClientAddress::Unknown, 0)),
            (b"x\x004", connect(b"x", ClientAddress::Unknown, 0)),
            (b"x\0Z\0\x19192.0.2.1\0", connect(b"x", ClientAddress::Unknown, 0)),
            (b"x", connect(b"x", ClientAddress::Unknown, 0)),
            (b"", connect(b"", ClientAddress::Unknown, 0)),
        ] {
            assert_eq!(decode(b'C', payload), expected, "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn pitfall_12_the_last_nul_may_be_missing() {
        for (payload, sender, args) in [
            (&b"<a@a.example>\0SIZE=1\0"[..], &b"a@a.example"[..], 1),
            (b"<a@a.example>\0SIZE=1", b"a@a.example", 1),
            (b"<a@a.example>\0", b"a@a.example", 0),
            (b"<a@a.example>", b"a@a.example", 0),
            (b"<>\0", b"", 0),
            (b"", b"", 0),
        ] {
            let Command::Mail(address, found) = decode(b'M', payload) else { panic!("not MAIL") };
            assert_eq!((address.bytes(), found.iter().count()), (sender, args));
        }
        assert_eq!(decode(b'H', b"a.example"), Command::Helo(b"a.example"));
        assert_eq!(decode(b'L', b"Subject\0hello"), Command::Header(b"Subject", b"hello"));
        assert_eq!(decode(b'L', b"Subject"), Command::Header(b"Subject", b""));
    }

    #[test]
    fn pitfall_13_raw_octets_are_kept() {
        assert_eq!(decode(b'H', b"\xff\xfe\0"), Command::Helo(b"\xff\xfe"));
        assert_eq!(
            decode(b'L', b"Subj\xe9ct\0caf\xe9\x80\0"),
            Command::Header(b"Subj\xe9ct", b"caf\xe9\x80")
        );
        assert_eq!(decode(b'B', b"\0\xff\r\n\0"), Command::Body(b"\0\xff\r\n\0"));
        let Command::Rcpt(address, _) = decode(b'R', b"<\xff@b.example>\0") else { panic!("not RCPT") };
        assert_eq!(address.raw(), b"<\xff@b.example>");
    }

    #[test]
    fn pitfall_14_header_fields_of_every_shape() {
        for (payload, name, value) in [
            (&b"Subject\0a\n\tb\0"[..], &b"Subject"[..], &b"a\n\tb"[..]),
            (b"Subject\0 a\0", b"Subject", b" a"),
            (b"Subject\0\0", b"Subject", b""),
            (b"\0a\0", b"", b"a"),
            (b"\0\0", b"", b""),
            (b"", b"", b""),
        ] {
            assert_eq!(decode(b'L', payload), Command::Header(name, value));
        }
        let mut long = b"X\0".to_vec();
        long.extend(std::iter::repeat_n(b'y', 60_000));
        long.push(0);
        assert_eq!(decode(b'L', &long), Command::Header(b"X", &[b'y'; 60_000]));
    }

    #[test]
    fn pitfall_09_macro_packets_of_every_shape_are_commands() {
        for payload in [&b""[..], b"M", b"X", b"Ma", b"Ma\0b\0c", b"\0\0\0", b"L", b"\xff\xff"] {
            assert!(matches!(decode(b'D', payload), Command::Macros(..)), "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn pitfall_03_what_is_no_command() {
        for code in [0, b'G', b'4', b'o', b'X', 0xFF] {
            assert_eq!(Command::decode(Frame { code, payload: b"" }), Err(CommandError::Code(code)));
        }
        assert_eq!(
            Command::decode(Frame { code: b'O', payload: b"\0\0\0\x06" }),
            Err(CommandError::ShortOffer(4))
        );
    }

    #[test]
    fn pitfall_15_the_end_of_message_may_bring_a_piece_of_the_body() {
        assert_eq!(decode(b'E', b"last\r\n"), Command::EndOfMessage(b"last\r\n"));
        assert_eq!(decode(b'E', b""), Command::EndOfMessage(b""));
    }
}
