//! What a handler may answer, by stage. The types leave no room for answers that hurt: a recipient is refused
//! or not, but never accepts or drops the whole message; a message that is held is not refused.

use crate::modification::Modification;
use crate::text::{QuarantineReason, SmtpReply};

/// An answer to a stage that is about the connection or the whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Go on.
    Continue,
    /// Take the message (at CONNECT and HELO: all of this connection's) without asking further.
    Accept,
    /// Say that it was taken, and drop it.
    Discard,
    /// Refuse it.
    Refuse(SmtpReply),
}

/// An answer to one recipient, or to an SMTP command that the MTA does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RcptReply {
    /// Take this one.
    Continue,
    /// Refuse this one; the others stay.
    Refuse(SmtpReply),
}

/// An answer to a piece of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyReply {
    /// More of it, please.
    Continue,
    /// The rest of the body is not needed. MTAs that do not know this send it all the same; it is then
    /// swallowed.
    Skip,
}

/// The answer to a whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take it, changed or held.
    Deliver(Delivery),
    /// Say that it was taken, and drop it.
    Discard,
    /// Refuse it.
    Refuse(SmtpReply),
}

impl Verdict {
    /// Take it as it is.
    pub fn deliver() -> Verdict {
        Verdict::Deliver(Delivery::default())
    }
}

/// How a message is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Changes, made in this order.
    pub modifications: Vec<Modification>,
    /// Hold it, for this reason.
    pub quarantine: Option<QuarantineReason>,
}

impl From<Delivery> for Verdict {
    fn from(delivery: Delivery) -> Verdict {
        Verdict::Deliver(delivery)
    }
}
