//! What a filter implements: a [`Service`] that opens a [`Handler`] for each MTA connection.

use std::future::{Future, ready};
use std::net::SocketAddr;

use crate::address::{Args, Client, EnvelopeAddress};
use crate::macros::{MacroPairs, Macros, Stage};
use crate::negotiate::{Terms, Wanted};
use crate::verdict::{BodyReply, RcptReply, Reply, Verdict};

/// What is known beside a command: macros, and what was agreed on with the MTA.
#[derive(Debug)]
pub struct Context {
    pub(crate) macros: Macros,
    pub(crate) terms: Terms,
}

impl Context {
    /// One without macros, to call a handler without a session.
    pub fn new(terms: Terms) -> Context {
        Context { macros: Macros::default(), terms }
    }

    /// Takes a packet of macros in, as a session does.
    pub fn set_macros(&mut self, stage: Stage, pairs: MacroPairs<'_>) {
        self.macros.store(stage, pairs);
    }

    /// The macros in force at this stage.
    pub fn macros(&self) -> &Macros {
        &self.macros
    }

    /// The MTA's name for the message in hand, once it has one: Postfix from the second recipient or DATA on,
    /// Sendmail from MAIL on.
    pub fn queue_id(&self) -> Option<&[u8]> {
        self.macros.get("i")
    }

    /// What was agreed on.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }
}

/// Who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Number of the session, from 1, unique while the server runs.
    pub session: u64,
    /// Which of the server's listeners, counted from 0 in the order in which they were bound. Mail that comes
    /// by sendmail(1) is best told by a listener of its own.
    pub listener: usize,
    /// The MTA's address; `None` on a unix socket.
    pub address: Option<SocketAddr>,
}

/// One for each MTA connection, and so for each SMTP session; several messages may come one after the other.
///
/// [`Handler::mail`] begins a message (for a filter that wants no MAIL, whatever comes first of it). It ends with an answer that decides it ([`Reply::Accept`], [`Reply::Discard`],
/// [`Reply::Refuse`]), with the verdict of [`Handler::end_of_message`], or with [`Handler::abort`]. Nothing else can be relied on: Postfix
/// says that a message is over only when it has something else to say, or never.
///
/// Once a message is decided the handler hears no more of it, even if the MTA goes on sending. A decision at a stage
/// that is not answered on the wire is told at the next stage that is.
///
/// A panic ends this session alone. A call that takes too long is dropped where it waits, its stage answered
/// with a temporary failure, and [`Handler::abort`] called if that ended the message.
pub trait Handler: Send {
    /// A client has connected to the MTA.
    fn connect(&mut self, _ctx: &Context, _client: &Client) -> impl Future<Output = Reply> + Send {
        ready(Reply::Continue)
    }

    /// HELO or EHLO; may come again at any time, and ends a message in hand.
    fn helo(&mut self, _ctx: &Context, _name: &[u8]) -> impl Future<Output = Reply> + Send {
        ready(Reply::Continue)
    }

    /// A message begins.
    fn mail(
        &mut self,
        _ctx: &Context,
        _sender: EnvelopeAddress<'_>,
        _args: Args<'_>,
    ) -> impl Future<Output = Reply> + Send {
        ready(Reply::Continue)
    }

    /// A recipient, which the MTA is ready to take.
    fn rcpt(
        &mut self,
        _ctx: &Context,
        _recipient: EnvelopeAddress<'_>,
        _args: Args<'_>,
    ) -> impl Future<Output = RcptReply> + Send {
        ready(RcptReply::Continue)
    }

    /// A recipient that the MTA itself has refused; comes only with [`crate::negotiate::Steps::REJECTED_RECIPIENTS`]. Not to be treated
    /// as one of the message's.
    fn rejected_rcpt(&mut self, _ctx: &Context, _recipient: EnvelopeAddress<'_>) {}

    /// DATA.
    fn data(&mut self, _ctx: &Context) -> impl Future<Output = Reply> + Send {
        ready(Reply::Continue)
    }

    /// A header field. Lines of a folded value are joined by LF; the space after the colon is there only with
    /// [`crate::negotiate::Steps::LEADING_SPACE`]. Any bytes but NUL; the name may be empty. Not a future: it comes a hundred times a
    /// message and should only keep what it needs.
    fn header(&mut self, _ctx: &Context, _name: &[u8], _value: &[u8]) -> Reply {
        Reply::Continue
    }

    /// The header is over. Some MTAs leave this out when there was no header field.
    fn end_of_headers(&mut self, _ctx: &Context) -> impl Future<Output = Reply> + Send {
        ready(Reply::Continue)
    }

    /// A piece of the body, as it stands on SMTP's wire (CR LF, dots undoubled), cut anywhere.
    fn body(&mut self, _ctx: &Context, _chunk: &[u8]) -> BodyReply {
        BodyReply::Skip
    }

    /// The message is complete. The MTA waits, and is kept patient meanwhile; this is the place for what takes long.
    fn end_of_message(&mut self, _ctx: &Context) -> impl Future<Output = Verdict> + Send {
        ready(Verdict::deliver())
    }

    /// An SMTP command that the MTA does not know; it refuses it itself.
    fn unknown(&mut self, _ctx: &Context, _command: &[u8]) -> impl Future<Output = RcptReply> + Send {
        ready(RcptReply::Continue)
    }

    /// The message in hand is over, and this handler did not decide it: the client went away or began another,
    /// or an answer took too long. Called at most once a message, never after a verdict.
    fn abort(&mut self) {}
}

/// A filter: what it wants of an MTA, and a handler for each connection.
pub trait Service: Send + Sync + 'static {
    /// What looks after one connection.
    type Handler: Handler + 'static;

    /// A connection has come.
    fn open(&self, peer: Peer) -> Self::Handler;

    /// What to ask of every MTA. Asked once, when the server begins to run.
    fn wanted(&self) -> Wanted;
}
