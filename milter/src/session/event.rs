//! What a session gives out: events to answer, and what is wrong with a peer or an answer.

use thiserror::Error;

use crate::address::{Args, Client, EnvelopeAddress};
use crate::command::CommandError;
use crate::macros::Stage;
use crate::negotiate::{Actions, NegotiationError};

/// What one frame came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<'f> {
    /// A message that the handler knows of was ended by this frame without its having decided it. Tell it
    /// before anything else.
    pub aborts: bool,
    /// What to do.
    pub event: Event<'f>,
}

/// What to ask the handler. Every variant but the last four waits for the answer named with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'f> {
    /// [`super::Session::answer`].
    Connect(Client),
    /// [`super::Session::answer`].
    Helo(&'f [u8]),
    /// [`super::Session::answer`].
    Mail(EnvelopeAddress<'f>, Args<'f>),
    /// [`super::Session::answer_one`].
    Rcpt(EnvelopeAddress<'f>, Args<'f>),
    /// [`super::Session::answer`].
    Data,
    /// [`super::Session::answer`].
    Header(&'f [u8], &'f [u8]),
    /// [`super::Session::answer`].
    EndOfHeaders,
    /// [`super::Session::answer_body`].
    Body(&'f [u8]),
    /// [`super::Session::answer_verdict`]. A last piece of the body may come with it; it is empty otherwise, and when the
    /// rest of the body is not wanted.
    EndOfMessage(&'f [u8]),
    /// [`super::Session::answer_one`].
    Unknown(&'f [u8]),
    /// A recipient that the MTA has refused. No answer.
    RejectedRcpt(EnvelopeAddress<'f>),
    /// Nothing to ask.
    Nothing,
    /// This SMTP session is over and another follows: drop the handler and open another.
    NewConnection,
    /// The MTA is done: close.
    Quit,
}

/// What an MTA in step never sends. The session cannot go on; the MTA does with the message in hand what its
/// default action says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Something else than an offer came first.
    #[error("the first packet is of type {:?} and not a milter negotiation", char::from(*.0))]
    NotNegotiated(u8),
    /// The offer cannot be agreed on.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    /// Not a packet of the protocol.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A known command where none of that kind can stand.
    #[error("a packet of type {:?} {state}", char::from(*code))]
    OutOfOrder {
        /// Its code.
        code: u8,
        /// Where the session stood.
        state: State,
    },
}

/// A verdict that cannot be carried out. The message was given a temporary failure in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misuse {
    /// Not agreed on with the MTA, which would take it for a fault of the filter.
    #[error("a verdict needs what was not agreed on with the MTA: {0}")]
    NotAgreed(Actions),
    /// The message would vanish without a trace.
    #[error("a verdict would delete every recipient")]
    NoRecipientLeft,
}

/// How far the dialogue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing but macros came.
    Fresh,
    /// Negotiated.
    Negotiated,
    /// A client is connected and no message is in hand.
    Connected,
    /// A message is in hand; this was its last command.
    Message(Stage),
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Fresh => f.write_str("before the negotiation"),
            State::Negotiated => f.write_str("before a client has connected"),
            State::Connected => f.write_str("with no message in hand"),
            State::Message(stage) => write!(f, "after the message's {stage:?}"),
        }
    }
}
