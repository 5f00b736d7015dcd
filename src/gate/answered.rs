//! Answers as marks: who answers a letter says that it was wanted (SPEC.md §7).

use super::{
    Site,
    learn::{Submission, is_null_sender},
    letter::Letter,
};
use crate::{
    ledger::{Ledger, marks::Answered, message_id_hash},
    message::{
        kind::{is_robot, kind},
        thread::first_message_id,
    },
};

/// What the letter answers; `None` when it answers nothing, when a program wrote it, or not the login's owner. What its
/// parts say, and so whether a calendar wrote it, is not known yet.
#[must_use]
pub fn answers(submission: &Submission, site: &Site, letter: &Letter, now: u64) -> Option<Answered> {
    if letter.header_cut || is_null_sender(&letter.mail_from) || !kind(|name| letter.values(name)).is_person()
    {
        return None;
    }
    let message_id = letter.values("In-Reply-To").next().and_then(first_message_id).map(message_id_hash)?;
    let author = submission.author(site, letter).filter(|author| !is_robot(author))?;
    let recipients = submission.recipients().to_vec();
    if recipients.is_empty() {
        return None;
    }
    let gate = &site.config.gate;
    let mut own = gate.logins.addresses(submission.login(), &gate.domains);
    own.push(author.without_detail());
    Some(Answered { now, message_id, author, own, recipients })
}

/// Marks what is answered, durably before the letter is answered. A ledger in trouble holds no outgoing mail up: the
/// letter can still be marked in other ways.
pub async fn mark(answered: Answered, ledger: &dyn Ledger) {
    let author = answered.author.clone();
    match ledger.mark_answered(answered).await {
        Ok(marked) => {
            for letter in marked {
                let refunded = letter.refunded.map(|micros| micros.to_string()).unwrap_or_default();
                let from = letter.author.map(|from| from.to_string()).unwrap_or_default();
                tracing::info!(%author, to = %letter.recipient, from, refunded, "an answer: the letter was wanted");
            }
        }
        Err(error) => tracing::error!(%error, %author, "what is answered is not marked as wanted"),
    }
}
