//! The handler's answers: what goes to the MTA for each, where, and what holds from then on.

use crate::frame::put;
use crate::macros::Stage;
use crate::negotiate::{Actions, Steps};
use crate::reply::Answer;
use crate::text::SmtpReply;
use crate::verdict::{BodyReply, Delivery, RcptReply, Reply, Verdict};

use super::{Misuse, Session};

impl Session {
    /// Answers an event of the connection or the whole message. Without effect, as the other answers, when another
    /// kind of event waits for its answer, or none.
    pub fn answer(&mut self, reply: Reply) {
        let own = [Stage::Rcpt, Stage::Unknown, Stage::Body, Stage::EndOfMessage];
        let Some(stage) = self.asked.take_if(|stage| !own.contains(stage)) else { return };
        if reply == Reply::Continue {
            self.put_if(self.context.terms.owes_reply(stage), Answer::Continue);
        } else {
            self.put_decision(stage, &reply);
            self.decide(stage, reply);
        }
    }

    /// Answers an event about one recipient or an unknown command.
    ///
    /// Where the MTA waits for no answer to a recipient, it cannot be refused alone: the whole message is.
    pub fn answer_one(&mut self, reply: RcptReply) {
        let kinds = [Stage::Rcpt, Stage::Unknown];
        let Some(stage) = self.asked.take_if(|stage| kinds.contains(stage)) else { return };
        let owed = self.context.terms.owes_reply(stage);
        let taken = reply == RcptReply::Continue && stage == Stage::Rcpt;
        self.envelope.settle(taken);
        match reply {
            RcptReply::Continue => self.put_if(owed, Answer::Continue),
            RcptReply::Refuse(reply) if owed => self.put_reply(&reply),
            RcptReply::Refuse(reply) => self.decide(stage, Reply::Refuse(reply)),
        }
    }

    /// Answers a piece of the body.
    pub fn answer_body(&mut self, reply: BodyReply) {
        let Some(stage) = self.asked.take_if(|stage| *stage == Stage::Body) else { return };
        self.body_skipped = reply == BodyReply::Skip;
        self.put_if(self.context.terms.owes_reply(stage), self.body_answer());
    }

    /// Answers the end of the message, which is over then.
    ///
    /// # Errors
    /// [`Misuse`] when the verdict cannot be carried out; a temporary failure was answered in its place.
    pub fn answer_verdict(&mut self, verdict: Verdict) -> Result<(), Misuse> {
        if self.asked.take_if(|stage| *stage == Stage::EndOfMessage).is_none() {
            return Ok(());
        }
        let misuse = match &verdict {
            Verdict::Deliver(delivery) => self.deliver(delivery).err(),
            Verdict::Discard => {
                Answer::Discard.encode(&mut self.out);
                None
            }
            Verdict::Refuse(reply) => {
                self.put_reply(reply);
                None
            }
        };
        if misuse.is_some() {
            self.put_reply(&SmtpReply::trouble("the mail filter gave an answer that cannot be carried out"));
        }
        // It had its verdict, so nobody is to be told that it is over.
        self.end_message();
        misuse.map_or(Ok(()), Err)
    }

    /// For a driver that has not answered: the MTA must not wait for ever, nor mail pass unseen.
    pub(super) fn answer_missing(&mut self, stage: Stage) {
        match stage {
            Stage::Rcpt | Stage::Unknown => self.answer_one(RcptReply::Continue),
            Stage::Body => self.answer_body(BodyReply::Continue),
            Stage::EndOfMessage => {
                let trouble = SmtpReply::trouble("the mail filter gave no answer; try again later");
                // Cannot be misused: it changes nothing.
                let _ = self.answer_verdict(Verdict::Refuse(trouble));
            }
            _ => self.answer(Reply::Continue),
        }
    }

    fn decide(&mut self, stage: Stage, reply: Reply) {
        self.undecided &= stage == Stage::Unknown;
        self.decisions.decide(stage, reply);
    }

    /// Tells a decision at this stage, if the MTA waits for an answer there.
    pub(super) fn put_decision(&mut self, stage: Stage, reply: &Reply) {
        if !self.context.terms.owes_reply(stage) {
            return;
        }
        match reply {
            // To take or drop the message at one recipient would keep the others from being asked about:
            // the next stage takes that answer.
            Reply::Accept | Reply::Discard if stage == Stage::Rcpt => Answer::Continue.encode(&mut self.out),
            Reply::Continue => Answer::Continue.encode(&mut self.out),
            Reply::Accept => Answer::Accept.encode(&mut self.out),
            Reply::Discard => Answer::Discard.encode(&mut self.out),
            Reply::Refuse(reply) => self.put_reply(reply),
        }
    }

    fn put_reply(&mut self, reply: &SmtpReply) {
        put(&mut self.out, b'y', |out| reply.put(out));
    }

    pub(super) fn put_if(&mut self, condition: bool, answer: Answer<'_>) {
        if condition {
            answer.encode(&mut self.out);
        }
    }

    /// The answer to a piece of the body.
    pub(super) fn body_answer(&self) -> Answer<'static> {
        match self.body_skipped && self.context.terms.steps.contains(Steps::SKIP) {
            true => Answer::Skip,
            false => Answer::Continue,
        }
    }

    /// Sends the changes, the quarantine, and the final word, in the order that every MTA takes.
    fn deliver(&mut self, delivery: &Delivery) -> Result<(), Misuse> {
        let held = delivery.quarantine.as_ref().map_or(Actions::NONE, |_| Actions::QUARANTINE);
        let needed = delivery.modifications.iter().fold(held, |needed, change| needed | change.action());
        let missing = needed.without(self.context.terms.actions);
        if missing != Actions::NONE {
            return Err(Misuse::NotAgreed(missing));
        }
        if self.envelope.is_emptied_by(&delivery.modifications) {
            return Err(Misuse::NoRecipientLeft);
        }
        let leading_space = self.context.terms.steps.contains(Steps::LEADING_SPACE);
        delivery.modifications.iter().for_each(|change| change.encode(leading_space, &mut self.out));
        if let Some(reason) = &delivery.quarantine {
            Answer::Quarantine(reason.as_str().as_bytes()).encode(&mut self.out);
        }
        Answer::Continue.encode(&mut self.out);
        Ok(())
    }
}
