//! The command addresses among a message's recipients: `postage@b.example`, `postage+w.TOKEN@b.example` (SPEC.md §6, §8).
//!
//! The envelope decides: a message to nobody else holds commands; from one with other recipients the command address
//! is taken off, and they get the letter.

use farthing_milter::{address::Mailbox, modification::Modification, verdict::Verdict};

use super::Site;
use crate::{
    address::Address,
    stamp::tokens::{Token, Verb},
};

/// Command addresses that one message can go to: each token is a mark. A person marks a few letters at a time.
const ORDERS_MAX: usize = 100;

/// What mail to a command address asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What its text says.
    Commands,
    /// To mark the letter of this token.
    Mark(Verb, Token),
    /// It was to be a token, and is none.
    Garbled,
}

/// A command address that a message goes to.
#[derive(Clone, Debug)]
pub struct Order {
    /// The recipient as the MTA knows it.
    given: Vec<u8>,
    /// The command address, without what stands behind its `+`: a token is nobody else's to read.
    pub address: Address,
    /// What is asked.
    pub ask: Ask,
}

impl Order {
    /// The order to a recipient of ours (`address`), which the MTA gave as `given`; `None` when it is no command address.
    pub fn of(given: &[u8], address: &Address, site: &Site) -> Option<Self> {
        let command_address = site.config.command_address(address.domain())?;
        let local = address.local();
        // What is out of form is quoted; it is still delivered to whoever stands before the `+`.
        let local = local.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(local);
        let (name, detail) = match local.iter().position(|&b| b == b'+') {
            Some(plus) => (local.get(..plus)?, local.get(plus + 1..)?),
            None => (local, &b""[..]),
        };
        if name != command_address.local() {
            return None;
        }
        let ask = match detail {
            [b'w' | b'u', b'.', ..] => {
                Token::parse_detail(detail).map_or(Ask::Garbled, |(verb, token)| Ask::Mark(verb, token))
            }
            _ => Ask::Commands,
        };
        Some(Self { given: given.to_vec(), address: command_address, ask })
    }
}

/// The command addresses of one message.
#[derive(Default)]
pub struct Orders {
    orders: Vec<Order>,
    /// The message goes to others too.
    pub others: bool,
}

impl Orders {
    /// Adds one; false when there are too many. One that is named again is one.
    pub fn add(&mut self, order: Order) -> bool {
        if self.orders.iter().any(|known| known.given == order.given) {
            return true;
        }
        let room = self.orders.len() < ORDERS_MAX;
        if room {
            self.orders.push(order);
        }
        room
    }

    /// The orders, if the message goes to nobody else.
    #[must_use]
    pub fn alone(&self) -> Option<&[Order]> {
        (!self.others && !self.orders.is_empty()).then_some(&self.orders[..])
    }

    /// Takes the command addresses off a message that goes to others.
    #[must_use]
    pub fn taken_off(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Deliver(mut delivery) if self.others => {
                let off = self.orders.iter().filter_map(|order| Mailbox::new(order.given.clone()).ok());
                delivery.modifications.extend(off.map(Modification::DeleteRecipient));
                Verdict::Deliver(delivery)
            }
            verdict => verdict,
        }
    }
}
