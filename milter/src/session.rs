//! One MTA connection as a state machine: frames in, events to answer and bytes out. No socket, no clock.
//!
//! What always holds, whatever comes in:
//! - the MTA gets exactly one answer for each command that it waits for and none for any other;
//! - an event is given out only where the handler's answer can still change something;
//! - what was said and decided about one message is gone when the next begins;
//! - a message that was begun ends once: by a decision of the handler or with [`Received::aborts`].

mod answers;
mod decisions;
mod envelope;
mod event;

use std::sync::Arc;

use crate::command::Command;
use crate::frame::Frame;
use crate::handler::Context;
use crate::macros::Stage;
use crate::negotiate::{self, Actions, Offer, Steps, Terms, Wanted};
use crate::reply::Answer;

use decisions::Decisions;
use envelope::Envelope;
pub use event::{Event, Misuse, Received, State, Violation};

/// Memory for output, bytes, that a connection keeps: more than any answer without changes of the message.
const KEEP_OUTPUT_BYTES: usize = 4 * 1024;

/// The state of one MTA connection.
#[derive(Debug)]
pub struct Session {
    wanted: Arc<Wanted>,
    context: Context,
    state: State,
    /// The stage of the event that the handler has not answered yet.
    asked: Option<Stage>,
    /// Whether the handler is to hear of the end of the message in hand.
    undecided: bool,
    decisions: Decisions,
    body_skipped: bool,
    /// Whether the macros of the recipient to come are those of an earlier one.
    rcpt_macros_used: bool,
    envelope: Envelope,
    out: Vec<u8>,
}

impl Session {
    /// A connection on which nothing has come yet.
    pub fn new(wanted: Arc<Wanted>) -> Session {
        let terms = Terms { version: negotiate::MIN_VERSION, actions: Actions::NONE, steps: Steps::NONE };
        Session {
            wanted,
            context: Context::new(terms),
            state: State::Fresh,
            asked: None,
            undecided: false,
            decisions: Decisions::default(),
            body_skipped: false,
            rcpt_macros_used: true,
            envelope: Envelope::default(),
            out: Vec::new(),
        }
    }

    /// What a handler may know beside the event.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How far the dialogue has come.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a message is in hand.
    pub fn in_message(&self) -> bool {
        matches!(self.state, State::Message(_))
    }

    /// Bytes for the MTA. Send them and then call [`Session::sent`].
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// This many bytes of the output went out.
    pub fn sent(&mut self, bytes: usize) {
        self.out.drain(..bytes.min(self.out.len()));
        self.out.shrink_to(KEEP_OUTPUT_BYTES);
    }

    /// Takes the next frame in. The former event must have been answered: an answer that is still missing is
    /// taken to be "go on", a verdict to be a temporary failure.
    ///
    /// # Errors
    /// [`Violation`]: close the connection, after [`Session::end`].
    pub fn receive<'f>(&mut self, frame: Frame<'f>) -> Result<Received<'f>, Violation> {
        if let Some(stage) = self.asked {
            debug_assert!(false, "the event of {stage:?} was not answered");
            self.answer_missing(stage);
        }
        if self.state == State::Fresh && !matches!(frame.code, Offer::CODE | b'D') {
            return Err(Violation::NotNegotiated(frame.code));
        }
        let command = Command::decode(frame)?;
        let mut aborts = false;
        let event = match command {
            Command::Negotiate(offer) => {
                self.negotiate(&offer)?;
                Event::Nothing
            }
            Command::Macros(code, pairs) => {
                if let Some(stage) = Stage::from_code(code) {
                    self.context.macros.store(stage, pairs);
                    self.rcpt_macros_used &= stage != Stage::Rcpt;
                }
                Event::Nothing
            }
            Command::Abort => {
                aborts = self.end_message();
                Event::Nothing
            }
            Command::Quit => Event::Quit,
            Command::QuitNewConnection => {
                aborts = self.end_connection();
                Event::NewConnection
            }
            command => {
                let stage = command.stage().unwrap_or(Stage::Unknown);
                aborts = self.enter(stage)?;
                self.event(stage, command)
            }
        };
        aborts |= matches!(event, Event::Quit) && self.end_message();
        Ok(Received { aborts, event })
    }

    /// The connection is gone. Says whether the handler is to be told that its message is over.
    pub fn end(&mut self) -> bool {
        self.asked = None;
        self.end_message()
    }

    /// What asks the MTA for patience, to be sent after the output. Empty but at the end of a message: elsewhere
    /// Sendmail takes it for an error.
    pub fn progress(&self) -> &'static [u8] {
        const PROGRESS: &[u8] = b"\0\0\0\x01p";
        if self.asked == Some(Stage::EndOfMessage) { PROGRESS } else { b"" }
    }

    fn negotiate(&mut self, offer: &Offer) -> Result<(), Violation> {
        if self.state != State::Fresh {
            return Err(Violation::OutOfOrder { code: Offer::CODE, state: self.state });
        }
        self.context.terms = negotiate::agree(offer, &self.wanted)?;
        negotiate::encode_terms(&self.context.terms, &self.wanted, &mut self.out);
        self.state = State::Negotiated;
        Ok(())
    }

    /// Goes on to a stage, if it may stand here, and says whether that ends an undecided message.
    fn enter(&mut self, stage: Stage) -> Result<bool, Violation> {
        let omits = |stage| self.context.terms.omits(stage);
        let connected = self.state >= State::Connected || omits(Stage::Connect);
        let allowed = match (stage, self.state) {
            (Stage::Connect, State::Negotiated) => true,
            (Stage::Connect, _) => false,
            (Stage::Helo | Stage::Mail | Stage::Unknown, _) => connected,
            // A server that finds no fit recipient at DATA may be given another.
            (Stage::Rcpt, State::Message(last)) => last <= Stage::Data,
            (Stage::Header | Stage::Body, State::Message(last)) => last <= stage,
            (_, State::Message(last)) => last < stage || last == Stage::Data && stage == Stage::Data,
            (_, _) => connected && omits(Stage::Mail),
        };
        if !allowed {
            return Err(Violation::OutOfOrder { code: stage.code(), state: self.state });
        }
        let begins =
            stage == Stage::Mail || stage > Stage::Mail && stage != Stage::Unknown && !self.in_message();
        let aborts = match stage {
            Stage::Helo => self.end_message(),
            Stage::Mail => {
                self.context.macros.begin_message();
                self.end_message_but_macros()
            }
            _ => false,
        };
        if stage != Stage::Unknown {
            // What was said about an unknown command went with it.
            self.context.macros.clear_stage(Stage::Unknown);
        }
        match stage {
            Stage::Connect | Stage::Helo => self.state = State::Connected,
            Stage::Unknown => {}
            _ => self.state = State::Message(stage),
        }
        if stage == Stage::Helo {
            self.decisions.forget_helo();
        }
        self.undecided |= begins && self.decisions.at(stage).is_none();
        Ok(aborts)
    }

    /// The event for a command, or its answer when there is nothing to ask.
    fn event<'f>(&mut self, stage: Stage, command: Command<'f>) -> Event<'f> {
        let owed = self.context.terms.owes_reply(stage);
        if let Command::Rcpt(recipient, _) = &command {
            if self.is_rejected_rcpt() {
                self.put_if(owed, Answer::Continue);
                let decided = self.decisions.at(stage).is_some();
                return if decided { Event::Nothing } else { Event::RejectedRcpt(*recipient) };
            }
            self.envelope.ask(*recipient);
        }
        if let Some(reply) = self.decisions.at(stage).cloned() {
            self.put_decision(stage, &reply);
            if stage == Stage::EndOfMessage {
                self.end_message();
            }
            return Event::Nothing;
        }
        if matches!(command, Command::Body(_)) && self.body_skipped {
            self.put_if(owed, self.body_answer());
            return Event::Nothing;
        }
        self.asked = Some(stage);
        match command {
            Command::Connect(client) => Event::Connect(client),
            Command::Helo(name) => Event::Helo(name),
            Command::Mail(sender, args) => Event::Mail(sender, args),
            Command::Rcpt(recipient, args) => Event::Rcpt(recipient, args),
            Command::Data => Event::Data,
            Command::Header(name, value) => Event::Header(name, value),
            Command::EndOfHeaders => Event::EndOfHeaders,
            Command::Body(chunk) => Event::Body(chunk),
            Command::EndOfMessage(chunk) => Event::EndOfMessage(if self.body_skipped { b"" } else { chunk }),
            Command::Unknown(command) => Event::Unknown(command),
            // Commands without a stage do not come here.
            _ => {
                self.asked = None;
                Event::Nothing
            }
        }
    }

    /// Whether the recipient to come is one that the MTA refused: told by a mailer named `error`, if we asked
    /// to hear of such.
    fn is_rejected_rcpt(&mut self) -> bool {
        let told = !std::mem::replace(&mut self.rcpt_macros_used, true);
        told && self.context.terms.steps.contains(Steps::REJECTED_RECIPIENTS)
            && self.context.macros.get_at(Stage::Rcpt, "rcpt_mailer") == Some(b"error")
    }

    /// Forgets the message in hand and says whether the handler is to be told.
    fn end_message(&mut self) -> bool {
        self.context.macros.clear_message();
        self.end_message_but_macros()
    }

    fn end_message_but_macros(&mut self) -> bool {
        if self.in_message() {
            self.state = State::Connected;
        }
        self.decisions.forget_message();
        self.body_skipped = false;
        self.envelope.clear();
        std::mem::take(&mut self.undecided)
    }

    fn end_connection(&mut self) -> bool {
        let aborts = self.end_message();
        self.context.macros.clear();
        self.decisions = Decisions::default();
        self.state = State::Negotiated;
        aborts
    }
}
