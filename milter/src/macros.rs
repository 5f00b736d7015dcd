//! Macros: what the MTA tells about a stage beside its command (`D` packets).
//!
//! Kept as they came, one packet a stage, and read only when asked for. What always holds: no packet is
//! refused, whatever it holds; nothing said about one message is found in the next.

use crate::frame::split_string;

/// A stage of the SMTP dialogue, by the command that macros go with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// A client connected.
    Connect,
    /// HELO or EHLO.
    Helo,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// One header field.
    Header,
    /// The empty line after the header.
    EndOfHeaders,
    /// A piece of the body.
    Body,
    /// The final dot.
    EndOfMessage,
    /// A command that the MTA does not know; belongs to no message.
    Unknown,
}

impl Stage {
    /// All of them, in the order in which they come.
    pub const ALL: [Stage; 10] = [
        Stage::Connect,
        Stage::Helo,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Header,
        Stage::EndOfHeaders,
        Stage::Body,
        Stage::EndOfMessage,
        Stage::Unknown,
    ];

    /// The code of its command.
    pub fn code(self) -> u8 {
        match self {
            Stage::Connect => b'C',
            Stage::Helo => b'H',
            Stage::Mail => b'M',
            Stage::Rcpt => b'R',
            Stage::Data => b'T',
            Stage::Header => b'L',
            Stage::EndOfHeaders => b'N',
            Stage::Body => b'B',
            Stage::EndOfMessage => b'E',
            Stage::Unknown => b'U',
        }
    }

    /// The stage of a command's code, if it is one that macros go with.
    pub fn from_code(code: u8) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.code() == code)
    }

    /// Whether what is said here is about one message.
    fn is_of_a_message(self) -> bool {
        (Stage::Mail..=Stage::EndOfMessage).contains(&self)
    }
}

/// The pairs of one packet: name, NUL, value, NUL, and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MacroPairs<'a> {
    bytes: &'a [u8],
}

impl<'a> MacroPairs<'a> {
    /// Takes any bytes. A name without a value at the end has an empty one.
    pub fn new(bytes: &'a [u8]) -> MacroPairs<'a> {
        MacroPairs { bytes }
    }

    /// Name, as it came, and value.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (name, tail) = if rest.is_empty() { return None } else { split_string(rest) };
            let (value, tail) = split_string(tail);
            rest = tail;
            Some((name, value))
        })
    }

    /// As in the packet.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }
}

/// Memory of a stage's packet, bytes, that is kept for the next; more than any MTA sends by default.
const KEEP_BYTES: usize = 2 * 1024;

/// The macros in force: of the connection, of HELO, and of the message in hand.
#[derive(Debug, Default)]
pub struct Macros {
    packets: [Vec<u8>; Stage::ALL.len()],
}

impl Macros {
    /// The value of a macro, named with or without braces (`i` and `{i}` are the same), at the latest stage that
    /// gives one. An empty value counts as none: some MTAs leave such a macro out, others send it.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        Stage::ALL.into_iter().rev().find_map(|stage| self.get_at(stage, name))
    }

    /// The value that this stage's packet gives, if it does.
    pub fn get_at(&self, stage: Stage, name: &str) -> Option<&[u8]> {
        let name = bare(name.as_bytes());
        let packet = self.packets.get(stage as usize)?;
        let (_, value) = MacroPairs::new(packet).iter().find(|(found, _)| bare(found) == name)?;
        Some(value).filter(|value| !value.is_empty())
    }

    /// Takes a packet in: it replaces the stage's former one. The packet before MAIL begins a message, that
    /// before CONNECT a connection, so what was said about former ones goes.
    pub(crate) fn store(&mut self, stage: Stage, pairs: MacroPairs<'_>) {
        match stage {
            Stage::Connect => self.clear(),
            Stage::Mail => self.clear_message(),
            _ => {}
        }
        if let Some(packet) = self.packets.get_mut(stage as usize) {
            packet.clear();
            packet.extend_from_slice(pairs.bytes());
        }
    }

    /// MAIL has come: forgets what is about a former message, but not what came just before MAIL.
    pub(crate) fn begin_message(&mut self) {
        let stages = Stage::ALL.into_iter().filter(|stage| stage.is_of_a_message() && *stage != Stage::Mail);
        stages.for_each(|stage| self.clear_stage(stage));
    }

    /// Forgets what is about one message.
    pub(crate) fn clear_message(&mut self) {
        Stage::ALL
            .into_iter()
            .filter(|stage| stage.is_of_a_message())
            .for_each(|stage| self.clear_stage(stage));
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        Stage::ALL.into_iter().for_each(|stage| self.clear_stage(stage));
    }

    /// Forgets one stage.
    pub(crate) fn clear_stage(&mut self, stage: Stage) {
        if let Some(packet) = self.packets.get_mut(stage as usize) {
            packet.clear();
            packet.shrink_to(KEEP_BYTES);
        }
    }
}

/// A macro's name without its braces.
fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn macros(packets: &[(Stage, &[u8])]) -> Macros {
        let mut macros = Macros::default();
        packets.iter().for_each(|(stage, bytes)| macros.store(*stage, MacroPairs::new(bytes)));
        macros
    }

    #[test]
    fn pitfall_10_a_macro_is_found_with_and_without_braces() {
        for packet in [&b"i\0Q1\0"[..], b"{i}\0Q1\0", b"{mail_host}\0x\0i\0Q1"] {
            let macros = macros(&[(Stage::Mail, packet)]);
            assert_eq!(macros.get("i"), Some(&b"Q1"[..]));
            assert_eq!(macros.get("{i}"), Some(&b"Q1"[..]));
            assert_eq!(macros.get("j"), None);
        }
    }

    #[test]
    fn pitfall_10_the_queue_id_may_come_first_at_the_second_recipient_or_at_data() {
        let mut macros =
            macros(&[(Stage::Mail, b"{mail_addr}\0a@a\0"), (Stage::Rcpt, b"{rcpt_addr}\0b@b\0")]);
        assert_eq!(macros.get("i"), None);
        macros.store(Stage::Rcpt, MacroPairs::new(b"i\0Q2\0{rcpt_addr}\0c@b\0"));
        assert_eq!(macros.get("i"), Some(&b"Q2"[..]));
        assert_eq!(macros.get("rcpt_addr"), Some(&b"c@b"[..]));
        macros.store(Stage::Data, MacroPairs::new(b"i\0Q3\0"));
        assert_eq!(macros.get("i"), Some(&b"Q3"[..]), "the latest stage wins");
        assert_eq!(macros.get_at(Stage::Rcpt, "i"), Some(&b"Q2"[..]));
    }

    #[test]
    fn pitfall_09_any_bytes_are_taken() {
        for packet in [&b""[..], b"\0", b"\0\0\0\0", b"a", b"a\0", b"a\0b\0c\0", b"\xff\xfe\0\0{\0}\0{}\0x\0"]
        {
            for stage in Stage::ALL {
                let macros = macros(&[(stage, packet)]);
                assert_eq!(macros.get("zz"), None);
            }
        }
        assert_eq!(macros(&[(Stage::Body, b"a\0b\0c\0")]).get("c"), None, "a name without value");
        assert_eq!(macros(&[(Stage::Body, b"a\0\0c\0d")]).get("a"), None, "an empty value is none");
        assert_eq!(macros(&[(Stage::Unknown, b"a\0\0c\0d")]).get("c"), Some(&b"d"[..]));
    }

    #[test]
    fn pitfall_06_macros_of_one_message_are_gone_in_the_next() {
        let all: Vec<_> = Stage::ALL.into_iter().map(|stage| (stage, &b"x\0y\0"[..])).collect();
        let mut kept = macros(&all);
        kept.clear_message();
        let left: Vec<_> =
            Stage::ALL.into_iter().filter(|stage| kept.get_at(*stage, "x").is_some()).collect();
        assert_eq!(left, [Stage::Connect, Stage::Helo, Stage::Unknown]);

        let mut next = macros(&[(Stage::Connect, b"j\0mx\0"), (Stage::Data, b"i\0Q1\0")]);
        next.store(Stage::Mail, MacroPairs::new(b""));
        assert_eq!(next.get("i"), None, "the packet before MAIL begins a message");
        assert_eq!(next.get("j"), Some(&b"mx"[..]));
        next.store(Stage::Connect, MacroPairs::new(b""));
        assert_eq!(next.get("j"), None);
    }

    #[test]
    fn codes_and_stages_go_both_ways() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_code(stage.code()), Some(stage));
        }
        assert_eq!(Stage::from_code(b'Q'), None);
        assert_eq!(Stage::from_code(0), None);
    }
}
