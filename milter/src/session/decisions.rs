//! What the handler has decided, and for how long it holds.

use crate::macros::Stage;
use crate::verdict::Reply;

/// A decision for the connection, for what was said at HELO, for the message in hand. Never [`Reply::Continue`].
#[derive(Debug, Default)]
pub(super) struct Decisions {
    connection: Option<Reply>,
    helo: Option<Reply>,
    message: Option<Reply>,
}

impl Decisions {
    /// Keeps a decision for what it is about, by the stage where it fell.
    pub(super) fn decide(&mut self, stage: Stage, reply: Reply) {
        match stage {
            Stage::Connect => self.connection = Some(reply),
            Stage::Helo => self.helo = Some(reply),
            Stage::Unknown => {}
            _ => self.message = Some(reply),
        }
    }

    /// The decision that holds at a stage. An unknown command belongs to no message and no HELO.
    pub(super) fn at(&self, stage: Stage) -> Option<&Reply> {
        match stage {
            Stage::Connect | Stage::Helo | Stage::Unknown => self.connection.as_ref(),
            _ => self.connection.as_ref().or(self.helo.as_ref()).or(self.message.as_ref()),
        }
    }

    /// The client has said HELO anew.
    pub(super) fn forget_helo(&mut self) {
        self.helo = None;
    }

    /// The message is over.
    pub(super) fn forget_message(&mut self) {
        self.message = None;
    }
}
