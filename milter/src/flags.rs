//! The flags of a negotiation: what a filter may do, and how the dialogue goes.

use std::fmt;
use std::ops::BitOr;

use crate::macros::Stage;

macro_rules! flags {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $flag:ident = $value:expr;)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(u32);

        impl $name {
            /// None of them.
            pub const NONE: $name = $name(0);
            $($(#[$inner])* pub const $flag: $name = $name($value);)*
            const NAMES: &[(&str, u32)] = &[$((stringify!($flag), $value),)*];

            /// From the wire; any bits.
            pub const fn from_bits(bits: u32) -> $name {
                $name(bits)
            }

            /// For the wire.
            pub fn bits(self) -> u32 {
                self.0
            }

            /// Whether all of `others` are among these.
            pub fn contains(self, others: $name) -> bool {
                self.0 & others.0 == others.0
            }

            /// Those in both.
            pub fn and(self, others: $name) -> $name {
                $name(self.0 & others.0)
            }

            /// Those in `self` alone.
            pub fn without(self, others: $name) -> $name {
                $name(self.0 & !others.0)
            }
        }

        impl BitOr for $name {
            type Output = $name;
            fn bitor(self, others: $name) -> $name {
                $name(self.0 | others.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut names = $name::NAMES.iter().filter(|(_, bits)| self.0 & bits != 0).map(|(name, _)| *name);
                f.write_str(names.next().unwrap_or("none"))?;
                names.try_for_each(|name| write!(f, " {name}"))
            }
        }
    };
}

flags! {
    /// What a filter may do to a message (`SMFIF_*`).
    Actions {
        /// Add and insert header fields.
        ADD_HEADERS = 0x01;
        /// Replace the body.
        CHANGE_BODY = 0x02;
        /// Add recipients.
        ADD_RECIPIENTS = 0x04;
        /// Delete recipients.
        DELETE_RECIPIENTS = 0x08;
        /// Change and delete header fields.
        CHANGE_HEADERS = 0x10;
        /// Hold the message.
        QUARANTINE = 0x20;
        /// Change the envelope sender.
        CHANGE_SENDER = 0x40;
        /// Add recipients with ESMTP arguments.
        ADD_RECIPIENTS_ARGS = 0x80;
        /// Name the macros wanted at each stage.
        CHOOSE_MACROS = 0x100;
    }
}

flags! {
    /// How the dialogue goes (`SMFIP_*`): which commands are not sent, which are not answered, and extensions.
    Steps {
        /// CONNECT is not sent.
        NO_CONNECT = 0x01;
        /// HELO is not sent.
        NO_HELO = 0x02;
        /// MAIL is not sent.
        NO_MAIL = 0x04;
        /// RCPT is not sent.
        NO_RCPT = 0x08;
        /// The body is not sent. Stalwart then sends no end of message either, so there is no verdict.
        NO_BODY = 0x10;
        /// Header fields are not sent.
        NO_HEADERS = 0x20;
        /// The end of the header is not sent.
        NO_END_OF_HEADERS = 0x40;
        /// Header fields are not answered.
        NR_HEADER = 0x80;
        /// Unknown SMTP commands are not sent.
        NO_UNKNOWN = 0x100;
        /// DATA is not sent.
        NO_DATA = 0x200;
        /// The filter may skip the rest of the body.
        SKIP = 0x400;
        /// Recipients that the MTA refused are sent too.
        REJECTED_RECIPIENTS = 0x800;
        /// CONNECT is not answered.
        NR_CONNECT = 0x1000;
        /// HELO is not answered.
        NR_HELO = 0x2000;
        /// MAIL is not answered.
        NR_MAIL = 0x4000;
        /// RCPT is not answered.
        NR_RCPT = 0x8000;
        /// DATA is not answered.
        NR_DATA = 0x1_0000;
        /// Unknown SMTP commands are not answered.
        NR_UNKNOWN = 0x2_0000;
        /// The end of the header is not answered.
        NR_END_OF_HEADERS = 0x4_0000;
        /// Body chunks are not answered.
        NR_BODY = 0x8_0000;
        /// Header values keep the space after the colon, both ways.
        LEADING_SPACE = 0x10_0000;
    }
}

impl Steps {
    /// The flag that leaves this stage's command unanswered. The end of message is always answered.
    pub fn no_reply(stage: Stage) -> Steps {
        match stage {
            Stage::Connect => Steps::NR_CONNECT,
            Stage::Helo => Steps::NR_HELO,
            Stage::Mail => Steps::NR_MAIL,
            Stage::Rcpt => Steps::NR_RCPT,
            Stage::Data => Steps::NR_DATA,
            Stage::Header => Steps::NR_HEADER,
            Stage::EndOfHeaders => Steps::NR_END_OF_HEADERS,
            Stage::Body => Steps::NR_BODY,
            Stage::EndOfMessage => Steps::NONE,
            Stage::Unknown => Steps::NR_UNKNOWN,
        }
    }

    /// The flag that keeps this stage's command from being sent. The end of message always comes.
    pub fn no_command(stage: Stage) -> Steps {
        match stage {
            Stage::Connect => Steps::NO_CONNECT,
            Stage::Helo => Steps::NO_HELO,
            Stage::Mail => Steps::NO_MAIL,
            Stage::Rcpt => Steps::NO_RCPT,
            Stage::Data => Steps::NO_DATA,
            Stage::Header => Steps::NO_HEADERS,
            Stage::EndOfHeaders => Steps::NO_END_OF_HEADERS,
            Stage::Body => Steps::NO_BODY,
            Stage::EndOfMessage => Steps::NONE,
            Stage::Unknown => Steps::NO_UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_themselves() {
        assert_eq!((Actions::QUARANTINE | Actions::ADD_HEADERS).to_string(), "ADD_HEADERS QUARANTINE");
        assert_eq!(Steps::NONE.to_string(), "none");
    }
}
