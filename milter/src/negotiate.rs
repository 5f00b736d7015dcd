//! Negotiation: what the MTA offers, what the filter wants, what they agree on.
//!
//! What always holds: the answer never holds more than was offered, for Postfix and Sendmail answer that by
//! failing every message. A wish that is not offered is left out; a need that is not offered ends the session.

use thiserror::Error;

pub use crate::flags::{Actions, Steps};
use crate::frame::{put, put_string};
use crate::macros::Stage;

/// The oldest version spoken.
pub const MIN_VERSION: u32 = 2;
/// The newest version spoken.
pub const MAX_VERSION: u32 = 6;

/// Bits that libmilter keeps for itself (`SMFI_INTERNAL`), larger data sizes among them; never asked for.
const INTERNAL_BITS: u32 = 0x7000_0000;

/// The stages whose macros a filter may choose (`SETSYMLIST`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacroList {
    /// With CONNECT.
    Connect = 0,
    /// With HELO.
    Helo = 1,
    /// With MAIL.
    Mail = 2,
    /// With RCPT.
    Rcpt = 3,
    /// With DATA.
    Data = 4,
    /// With the end of message. Sendmail heeds it only beside a list for [`MacroList::EndOfHeaders`], which is
    /// therefore sent with it.
    EndOfMessage = 5,
    /// With the end of the header.
    EndOfHeaders = 6,
}

/// What the MTA offers, and in the same form what the filter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The newest version it speaks.
    pub version: u32,
    /// What the filter may do.
    pub actions: Actions,
    /// How the dialogue may go.
    pub steps: Steps,
}

impl Offer {
    /// Code of a negotiation packet, both ways.
    pub const CODE: u8 = b'O';

    /// Reads the three numbers; what follows them is not looked at.
    pub fn decode(payload: &[u8]) -> Option<Offer> {
        let mut numbers =
            payload.chunks_exact(4).map(|bytes| bytes.iter().fold(0, |n, &b| n << 8 | u32::from(b)));
        Some(Offer {
            version: numbers.next()?,
            actions: Actions::from_bits(numbers.next()?),
            steps: Steps::from_bits(numbers.next()?),
        })
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put(out, Offer::CODE, |out| self.put(out));
    }

    fn put(&self, out: &mut Vec<u8>) {
        for number in [self.version, self.actions.bits(), self.steps.bits()] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// What a filter wants of every MTA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Without these the filter cannot work: a session whose MTA does not offer them all is closed.
    pub needed: Actions,
    /// Taken where offered; see [`Terms`].
    pub actions: Actions,
    /// Taken where offered; see [`Terms`].
    pub steps: Steps,
    /// Macros wanted at a stage, with braces when longer than a letter: `i`, `{auth_authen}`. They replace what the
    /// admin set for that stage; an empty list changes nothing. Taken where the MTA lets a filter choose.
    pub macros: Vec<(MacroList, Vec<&'static str>)>,
}

impl Wanted {
    /// A filter that only looks: no action, every command sent and answered.
    pub fn nothing() -> Wanted {
        Wanted::default()
    }

    /// Actions without which the filter cannot work.
    pub fn need(mut self, actions: Actions) -> Wanted {
        self.needed = self.needed | actions;
        self
    }

    /// Actions to take where offered.
    pub fn actions(mut self, actions: Actions) -> Wanted {
        self.actions = self.actions | actions;
        self
    }

    /// Steps to take where offered.
    pub fn steps(mut self, steps: Steps) -> Wanted {
        self.steps = self.steps | steps;
        self
    }

    /// Macros wanted at a stage.
    pub fn macros(mut self, stage: MacroList, names: &[&'static str]) -> Wanted {
        self.macros.push((stage, names.to_vec()));
        self
    }
}

/// Why there is no agreement. The session is closed; nothing is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NegotiationError {
    /// Older than [`MIN_VERSION`].
    #[error("milter protocol version {0} offered: the oldest spoken is {MIN_VERSION}; raise milter_protocol")]
    Version(u32),
    /// The filter cannot do its work.
    #[error("the MTA does not allow what the filter needs: {0}")]
    Actions(Actions),
}

/// What filter and MTA agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// From [`MIN_VERSION`] to [`MAX_VERSION`].
    pub version: u32,
    /// What the filter may do.
    pub actions: Actions,
    /// How the dialogue goes.
    pub steps: Steps,
}

impl Terms {
    /// Whether the MTA waits for an answer to this stage's command.
    pub fn owes_reply(&self, stage: Stage) -> bool {
        let flag = Steps::no_reply(stage);
        flag == Steps::NONE || !self.steps.contains(flag)
    }

    /// Whether this stage's command will not be sent.
    pub(crate) fn omits(&self, stage: Stage) -> bool {
        let flag = Steps::no_command(stage);
        flag != Steps::NONE && self.steps.contains(flag)
    }
}

/// Agrees on the most of what is wanted that `offer` allows.
///
/// # Errors
/// [`NegotiationError`] when the version is too old or a needed action is not offered.
pub fn agree(offer: &Offer, wanted: &Wanted) -> Result<Terms, NegotiationError> {
    if offer.version < MIN_VERSION {
        return Err(NegotiationError::Version(offer.version));
    }
    let missing = wanted.needed.without(offer.actions);
    if missing != Actions::NONE {
        return Err(NegotiationError::Actions(missing));
    }
    let choose = if wanted.macros.is_empty() { Actions::NONE } else { Actions::CHOOSE_MACROS };
    Ok(Terms {
        version: offer.version.min(MAX_VERSION),
        actions: (wanted.needed | wanted.actions | choose).and(offer.actions),
        steps: wanted.steps.and(offer.steps).without(Steps::from_bits(INTERNAL_BITS)),
    })
}

/// Appends the answer to an offer: the terms, and the macro lists where the MTA takes them.
pub fn encode_terms(terms: &Terms, wanted: &Wanted, out: &mut Vec<u8>) {
    put(out, Offer::CODE, |out| {
        Offer { version: terms.version, actions: terms.actions, steps: terms.steps }.put(out);
        if terms.actions.contains(Actions::CHOOSE_MACROS) {
            macro_lists(wanted).for_each(|(list, names)| {
                out.extend_from_slice(&(list as u32).to_be_bytes());
                put_string(out, names.join(" ").as_bytes());
            });
        }
    });
}

/// The lists to send: those with something in them, and for Sendmail one for the end of the header beside one
/// for the end of message.
fn macro_lists(wanted: &Wanted) -> impl Iterator<Item = (MacroList, &[&'static str])> {
    let list = |wanted_list: MacroList| {
        let names = wanted.macros.iter().rev().find(|(list, _)| *list == wanted_list);
        names.map(|(_, names)| names.as_slice()).filter(|names| !names.is_empty())
    };
    let end_of_headers = list(MacroList::EndOfHeaders).or_else(|| list(MacroList::EndOfMessage));
    [MacroList::Connect, MacroList::Helo, MacroList::Mail, MacroList::Rcpt, MacroList::Data]
        .into_iter()
        .map(move |which| (which, list(which)))
        .chain([
            (MacroList::EndOfHeaders, end_of_headers),
            (MacroList::EndOfMessage, list(MacroList::EndOfMessage)),
        ])
        .filter_map(|(which, names)| Some((which, names?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(version: u32, actions: u32, steps: u32) -> Offer {
        Offer { version, actions: Actions::from_bits(actions), steps: Steps::from_bits(steps) }
    }

    fn wanted() -> Wanted {
        let mut wanted = Wanted::nothing()
            .need(Actions::ADD_HEADERS)
            .steps(Steps::SKIP | Steps::NR_HEADER | Steps::NO_DATA | Steps::from_bits(0xF000_0000))
            .macros(MacroList::Mail, &["i", "{auth_authen}"])
            .macros(MacroList::Helo, &[])
            .macros(MacroList::EndOfMessage, &["i"]);
        wanted.actions = Actions::QUARANTINE;
        wanted
    }

    #[test]
    fn pitfall_04_every_version_and_mask_is_answered_with_no_more_than_was_offered() {
        for version in 0..=8 {
            for actions in [0, 1, 0x21, 0x3F, 0x1FF, u32::MAX] {
                for steps in [0, 0x7F, 0x480, 0x1F_FFFF, 0x3000_0000, u32::MAX] {
                    let offer = offer(version, actions, steps);
                    let agreed = agree(&offer, &wanted());
                    if version < 2 {
                        assert_eq!(agreed, Err(NegotiationError::Version(version)));
                        continue;
                    }
                    if actions == 0 {
                        assert_eq!(agreed, Err(NegotiationError::Actions(Actions::ADD_HEADERS)));
                        continue;
                    }
                    let terms = agreed.unwrap();
                    assert_eq!(terms.version, version.min(6));
                    assert!(offer.actions.contains(terms.actions) && offer.steps.contains(terms.steps));
                    assert_eq!(terms.steps.bits() & 0x7000_0000, 0, "larger data sizes are never asked for");
                    assert_eq!(terms.steps.contains(Steps::SKIP), steps & 0x400 != 0);
                    assert_eq!(terms.actions.contains(Actions::QUARANTINE), actions & 0x20 != 0);
                }
            }
        }
    }

    #[test]
    fn pitfall_04_a_short_offer_is_none() {
        for length in 0..12 {
            assert_eq!(Offer::decode(&vec![0; length]), None);
        }
        let mut bytes = Vec::new();
        offer(6, 0x1FF, 0x1F_FFFF).encode(&mut bytes);
        assert_eq!(Offer::decode(&bytes[5..]), Some(offer(6, 0x1FF, 0x1F_FFFF)));
        bytes.extend_from_slice(b"more");
        assert_eq!(Offer::decode(&bytes[5..]), Some(offer(6, 0x1FF, 0x1F_FFFF)));
    }

    #[test]
    fn macro_lists_go_out_only_where_they_are_taken_and_with_one_for_the_end_of_the_header() {
        let bytes = |actions| {
            let terms = agree(&offer(6, actions, 0), &wanted()).unwrap();
            let mut out = Vec::new();
            encode_terms(&terms, &wanted(), &mut out);
            out
        };
        assert_eq!(bytes(0x01), b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x01\0\0\0\0");
        let expected =
            b"O\0\0\0\x06\0\0\x01\x01\0\0\0\0\0\0\0\x02i {auth_authen}\0\0\0\0\x06i\0\0\0\0\x05i\0";
        assert_eq!(bytes(0x101)[4..], expected[..]);
    }

    #[test]
    fn which_stages_are_answered() {
        let terms = Terms { version: 6, actions: Actions::NONE, steps: Steps::from_bits(u32::MAX) };
        for stage in Stage::ALL {
            assert_eq!(terms.owes_reply(stage), stage == Stage::EndOfMessage);
            assert_eq!(terms.omits(stage), stage != Stage::EndOfMessage);
        }
    }
}
