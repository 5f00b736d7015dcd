//! Our own outgoing mail as the ledger keeps it: answers that wait for their address, and finished mails that wait for
//! the smarthost (SPEC.md §8).
//!
//! Nothing here writes or sends a mail. What always holds: an answer is durable once it was taken; a mail gets its
//! Message-ID and its octets when it is queued, in the same commit in which what it is made of goes, and keeps them however
//! often it is handed over. A mail handed over and not yet marked is handed over again after a crash, as the same mail.

use async_trait::async_trait;

use super::LedgerError;
use crate::{address::Address, clock::DAY_S};

/// Seconds between two answer mails to one address (SPEC.md §8: at most one a minute).
pub const ANSWER_PAUSE_S: u64 = 60;
/// Answer mails to one address within any [`DAY_S`]: what a person reads, and a loop is not fed by.
pub const ANSWERS_DAILY_MAX: usize = 50;
/// Octets of one answer's text; a longer one is cut. A hundred commands with long words take about 30,000.
pub const ANSWER_OCTETS_MAX: usize = 64 * 1_024;
/// Octets of a subject or a Message-ID to answer; RFC 5322 has lines of 998 at most.
pub const ANSWER_FIELD_OCTETS_MAX: usize = 900;
/// Answers that wait for one address; later ones are counted and left out.
pub const ANSWERS_WAITING_MAX: u64 = 50;
/// Octets of answers that wait for one address: they become one mail.
pub const ANSWERS_WAITING_OCTETS_MAX: u64 = 256 * 1_024;
/// Answers and mails that wait in all.
pub const OUTBOX_ROWS_MAX: u64 = 20_000;
/// Octets of answers and mails that wait in all: they stand in the ledger's file.
pub const OUTBOX_OCTETS_MAX: u64 = 64 * 1_024 * 1_024;
/// Digests may fill one part in so many of both: they must not keep an answer out.
pub const DIGESTS_SHARE: u64 = 2;
/// How long a mail that was taken or given up is remembered, in seconds: the answer limits look as far back.
pub const OUTBOX_KEPT_S: u64 = DAY_S;
/// Due times further ahead than this, in seconds, were written under a clock that ran ahead; they count as due.
pub const OUTBOX_AHEAD_MAX_S: u64 = 2 * DAY_S;

/// Which mail an answer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerAbout {
    /// The command address that was written to; the answer comes from it.
    pub from: Address,
    /// The subject of the answer, without encoding.
    pub subject: String,
    /// The Message-ID that is answered, with or without angle brackets.
    pub in_reply_to: Option<String>,
}

/// An answer that waits for its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerPart {
    /// In the order in which they came.
    pub seq: i64,
    /// When it was given, in Unix seconds.
    pub time: u64,
    /// What it answers.
    pub about: AnswerAbout,
    /// What it says.
    pub text: String,
}

/// All that waits for one address and may go now, in one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingAnswers {
    /// Whom it is for.
    pub to: Address,
    /// At least one, the oldest first.
    pub parts: Vec<AnswerPart>,
    /// Answers that were left out because too many waited.
    pub left_out: u64,
}

/// What a mail of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    /// It answers command mail, and counts for [`answer_due`].
    Answer,
    /// It tells a user that a copy of his letter could not be delivered.
    Bounce,
    /// A digest.
    Digest,
}

impl MailKind {
    /// Every kind, in the order in which they go: who wrote a moment ago waits for the answer.
    pub const ALL: [Self; 3] = [Self::Answer, Self::Bounce, Self::Digest];

    /// The word in the ledger and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Bounce => "bounce",
            Self::Digest => "digest",
        }
    }

    /// The kind that word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A finished mail to queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMail {
    /// The one recipient.
    pub to: Address,
    /// What it is.
    pub kind: MailKind,
    /// As it stands in the mail; unique for ever.
    pub message_id: String,
    /// The mail, header and body, lines ended by CRLF.
    pub message: Vec<u8>,
    /// Unix seconds.
    pub now: u64,
}

/// A mail that waits for the smarthost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Names it.
    pub seq: i64,
    /// The one recipient.
    pub to: Address,
    /// What it is.
    pub kind: MailKind,
    /// As it stands in the mail.
    pub message_id: String,
    /// The mail.
    pub message: Vec<u8>,
    /// When it was queued, in Unix seconds.
    pub queued: u64,
}

/// What became of an attempt to hand a mail over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The smarthost has it.
    Taken,
    /// It is to be tried again.
    PutOff {
        /// From when on, in Unix seconds.
        next_try: u64,
        /// Why.
        error: String,
    },
    /// It will not be tried again.
    GivenUp,
}

/// What became of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It is queued, or there was nothing to queue, and noted.
    Yes,
    /// The last one was made at another time than the caller knows: somebody else was faster, or digests are off.
    NotDue,
    /// Too much waits; nothing was done.
    Full,
}

/// What waits, for `farthing status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxState {
    /// Answers held back by the limits.
    pub answers: u64,
    /// Finished mails.
    pub mails: u64,
    /// When the oldest of both was queued, in Unix seconds.
    pub oldest: Option<u64>,
    /// Why the last mail that still waits was put off.
    pub last_error: Option<String>,
}

/// From when on an address may get its next answer mail, in Unix seconds: `history` holds when it got the ones before, in
/// any order (SPEC.md §8). Times after `now` come of a clock that ran ahead and do not count.
#[must_use]
pub fn answer_due(now: u64, history: &[u64]) -> u64 {
    let mut times: Vec<u64> = history.iter().copied().filter(|time| *time <= now).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    let after_last = times.first().map_or(0, |last| last.saturating_add(ANSWER_PAUSE_S));
    let oldest_of_day = times.get(ANSWERS_DAILY_MAX - 1);
    let after_day = oldest_of_day.map_or(0, |time| time.saturating_add(DAY_S));
    now.max(after_last).max(after_day)
}

/// The queue of our own mail.
#[async_trait]
pub trait Outbox {
    /// Takes an answer for an address; it is durable when this returns, and goes in the next mail that [`answer_due`] lets
    /// go. Text, subject and Message-ID are cut to their limits. When too much waits it is left out: the log says so, and
    /// the next answer mail if it is this address for which too much waits.
    async fn answer(
        &self,
        to: &Address,
        about: AnswerAbout,
        text: String,
        now: u64,
    ) -> Result<(), LedgerError>;

    /// The answers of one address that may go now, the address that has waited longest: none for which an answer mail
    /// waits yet to be taken.
    async fn answers_due(&self, now: u64) -> Result<Option<WaitingAnswers>, LedgerError>;

    /// Queues the mail made of these answers, which go in the same commit; false when they are not those that wait any
    /// more, and nothing was done. Without a mail they just go: there is no way to write to that address.
    async fn queue_answers(
        &self,
        made_of: &WaitingAnswers,
        mail: Option<NewMail>,
        now: u64,
    ) -> Result<bool, LedgerError>;

    /// Notes that the digest of the time before `until` (Unix seconds) is made, if the last one was made when `last` says,
    /// and queues its mail in the same commit; without a mail there was nothing to say.
    async fn queue_digest(
        &self,
        owner: &Address,
        last: Option<u64>,
        until: u64,
        mail: Option<NewMail>,
    ) -> Result<Queued, LedgerError>;

    /// The mail that is due for longest, of the first kind of which one is.
    async fn mail_due(&self, now: u64) -> Result<Option<Mail>, LedgerError>;

    /// Writes down what became of a mail.
    async fn mail_tried(&self, seq: i64, attempt: Attempt, now: u64) -> Result<(), LedgerError>;

    /// When the next answer or mail is due, in Unix seconds; `None`: nothing waits.
    async fn outbox_next(&self) -> Result<Option<u64>, LedgerError>;

    /// Returns when something was queued through this handle since the last return; at once if so.
    async fn outbox_changed(&self);

    /// What waits.
    async fn outbox_state(&self) -> Result<OutboxState, LedgerError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn one_a_minute_and_fifty_a_day() {
        let every = |pause: u64, count: u64| (0..count).map(|n| NOW - n * pause).collect::<Vec<_>>();
        let table: &[(&str, Vec<u64>, u64)] = &[
            ("the first goes at once", vec![], NOW),
            ("a minute after the last", vec![NOW], NOW + 60),
            ("what is left of the minute", vec![NOW - 59], NOW + 1),
            ("a minute has passed", vec![NOW - 60], NOW),
            ("order does not matter", vec![NOW - 500, NOW - 10, NOW - 300], NOW + 50),
            ("forty-nine of a day", every(600, 49), NOW + 60),
            ("fifty of a day: when the first is a day old", every(600, 50), NOW - 49 * 600 + DAY_S),
            ("older ones beyond fifty change nothing", every(600, 80), NOW - 49 * 600 + DAY_S),
            ("fifty, the first a day ago", every(DAY_S / 49 + 1, 50), NOW + 60),
            ("a clock that ran ahead binds nobody", vec![NOW + 1, NOW + 365 * DAY_S], NOW),
        ];
        for (what, history, due) in table {
            assert_eq!(answer_due(NOW, history), *due, "{what}");
        }
        assert_eq!(answer_due(u64::MAX, &[u64::MAX]), u64::MAX);
    }
}
