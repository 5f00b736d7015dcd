//! Our own outgoing mail in SQLite: what waits, what is due, what became of it.
//!
//! What waits is bounded by the limits of [`crate::ledger::outbox`]; what is done goes a few rows at a time.

use async_trait::async_trait;
use rusqlite::{Connection, Params, Row, params};

use super::{
    SqliteLedger,
    fail::{Fail, read_time, stored_time},
    rows::{Statements, columns},
    settings,
};
use crate::{
    address::Address,
    clock::DAY_S,
    ledger::{
        LedgerError,
        outbox::{
            ANSWER_FIELD_OCTETS_MAX, ANSWER_OCTETS_MAX, ANSWERS_WAITING_MAX, ANSWERS_WAITING_OCTETS_MAX,
            AnswerAbout, AnswerPart, Attempt, DIGESTS_SHARE, Mail, MailKind, NewMail, OUTBOX_AHEAD_MAX_S,
            OUTBOX_KEPT_S, OUTBOX_OCTETS_MAX, OUTBOX_ROWS_MAX, Outbox, OutboxState, Queued, WaitingAnswers,
            answer_due,
        },
    },
};

/// Rows that are done and old that go for each mail that is done: more than come, so they never pile up.
const DROPPED_AT_ONCE: u32 = 4;

/// An address gets no answer mail while the smarthost has yet to take an earlier one: all would arrive together when it
/// does.
const NONE_ON_ITS_WAY: &str = "NOT EXISTS (SELECT 1 FROM outgoing o WHERE o.address = answer_due.address
    AND o.kind = 'answer' AND o.next_try IS NOT NULL)";

/// Where a text ends that was longer.
const CUT: &str = "\n[cut here: the answer was too long]\n";

/// Whether an answer was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    /// Too much waits for this address.
    AddressFull,
    /// Too much waits in all.
    Full,
}

fn answer(conn: &Connection, to: &Address, about: &AnswerAbout, text: &str, now: u64) -> Result<Kept, Fail> {
    let text = if text.len() > ANSWER_OCTETS_MAX {
        format!("{}{CUT}", cut(text, ANSWER_OCTETS_MAX - CUT.len()))
    } else {
        text.to_owned()
    };
    let subject = cut(&about.subject, ANSWER_FIELD_OCTETS_MAX);
    // A Message-ID that is cut is another's.
    let in_reply_to = about.in_reply_to.as_deref().filter(|id| id.len() <= ANSWER_FIELD_OCTETS_MAX);
    let octets = count(text.len() + subject.len() + in_reply_to.map_or(0, str::len));
    let (parts, waiting_octets) =
        counts(conn, "SELECT count(*), coalesce(sum(octets), 0) FROM answer_parts WHERE address = ?1", [to])?;
    if parts >= ANSWERS_WAITING_MAX || waiting_octets.saturating_add(octets) > ANSWERS_WAITING_OCTETS_MAX {
        conn.change("UPDATE answer_due SET left_out = left_out + 1 WHERE address = ?1", [to])?;
        return Ok(Kept::AddressFull);
    }
    if !has_room(conn, octets, 1)? {
        return Ok(Kept::Full);
    }
    conn.change(
        "INSERT INTO answer_parts (address, time, sender, subject, in_reply_to, text, octets)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![to, stored_time(now), about.from, subject, in_reply_to, text, stored_time(octets)],
    )?;
    note_due(conn, to, now)?;
    Ok(Kept::Yes)
}

/// Writes down from when on the address may get what waits for it.
fn note_due(conn: &Connection, to: &Address, now: u64) -> Result<(), Fail> {
    let since = stored_time(now.saturating_sub(DAY_S));
    let history = conn.all(
        "SELECT max(queued, coalesce(tried, 0)) AS got FROM outgoing
         WHERE address = ?1 AND kind = 'answer' AND got > ?2",
        params![to, since],
        |row| Ok(read_time(row.get(0)?)),
    )?;
    let due = answer_due(now, &history);
    conn.change(
        "INSERT INTO answer_due (address, due) VALUES (?1, ?2) ON CONFLICT (address) DO UPDATE SET due = ?2",
        params![to, stored_time(due)],
    )?;
    Ok(())
}

/// Whether so many octets more fit into one part in `share` of the room.
fn has_room(conn: &Connection, octets: u64, share: u64) -> Result<bool, Fail> {
    let (rows, waiting) = counts(
        conn,
        "SELECT count(*), coalesce(sum(octets), 0) FROM
         (SELECT octets FROM answer_parts UNION ALL SELECT octets FROM outgoing WHERE next_try IS NOT NULL)",
        [],
    )?;
    Ok(rows < OUTBOX_ROWS_MAX / share && waiting.saturating_add(octets) <= OUTBOX_OCTETS_MAX / share)
}

fn answers_due(conn: &Connection, now: u64) -> Result<Option<WaitingAnswers>, Fail> {
    let sql = format!(
        "SELECT address, left_out FROM answer_due
         WHERE (due <= ?1 OR due > ?2) AND {NONE_ON_ITS_WAY} ORDER BY due LIMIT 1"
    );
    let ahead = stored_time(now.saturating_add(OUTBOX_AHEAD_MAX_S));
    let found = conn.find(&sql, params![stored_time(now), ahead], columns::<(Address, i64)>)?;
    let Some((to, left_out)) = found else { return Ok(None) };
    let parts = conn.all(
        "SELECT seq, time, sender, subject, in_reply_to, text FROM answer_parts WHERE address = ?1
         ORDER BY seq",
        [&to],
        part,
    )?;
    Ok(Some(WaitingAnswers { to, parts, left_out: read_time(left_out) }))
}

fn part(row: &Row<'_>) -> Result<AnswerPart, Fail> {
    let about = AnswerAbout { from: row.get(2)?, subject: row.get(3)?, in_reply_to: row.get(4)? };
    Ok(AnswerPart { seq: row.get(0)?, time: read_time(row.get(1)?), about, text: row.get(5)? })
}

fn queue_answers(
    conn: &Connection,
    made_of: &WaitingAnswers,
    mail: Option<&NewMail>,
    now: u64,
) -> Result<bool, Fail> {
    let to = &made_of.to;
    let last = made_of.parts.last().map_or(0, |part| part.seq);
    let sql = "SELECT count(*) FROM answer_parts WHERE address = ?1 AND seq <= ?2";
    let there = conn.value(sql, params![to, last])?.unwrap_or_default();
    if made_of.parts.is_empty() || read_time(there) != count(made_of.parts.len()) {
        return Ok(false);
    }
    conn.change("DELETE FROM answer_parts WHERE address = ?1 AND seq <= ?2", params![to, last])?;
    conn.change("DELETE FROM answer_due WHERE address = ?1", [to])?;
    if let Some(mail) = mail {
        insert(conn, mail)?;
    }
    // What came while the mail was written waits for the next one.
    let more = conn.has("SELECT 1 FROM answer_parts WHERE address = ?1", [to])?;
    if more {
        note_due(conn, to, now)?;
    }
    Ok(true)
}

fn queue_digest(
    conn: &Connection,
    owner: &Address,
    last: Option<u64>,
    until: u64,
    mail: Option<&NewMail>,
) -> Result<Queued, Fail> {
    if let Some(mail) = mail
        && !has_room(conn, count(mail.message.len()), DIGESTS_SHARE)?
    {
        return Ok(Queued::Full);
    }
    if !settings::digest_made(conn, owner, last, until)? {
        return Ok(Queued::NotDue);
    }
    if let Some(mail) = mail {
        insert(conn, mail)?;
    }
    Ok(Queued::Yes)
}

/// Queues a mail, whatever room there is.
pub(super) fn insert(conn: &Connection, mail: &NewMail) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO outgoing (message_id, kind, address, queued, message, octets, next_try)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?4)",
        params![
            mail.message_id,
            mail.kind.as_str(),
            mail.to,
            stored_time(mail.now),
            mail.message,
            stored_time(count(mail.message.len())),
        ],
    )?;
    Ok(())
}

/// The mail that is due for longest, of the first kind of which one is.
fn mail_due(conn: &Connection, now: u64) -> Result<Option<Mail>, Fail> {
    const DUE: &str = "SELECT seq, address, message_id, message, queued FROM outgoing
         WHERE kind = ?1 AND next_try IS NOT NULL AND (next_try <= ?2 OR next_try > ?3)
         ORDER BY next_try, seq LIMIT 1";
    let ahead = stored_time(now.saturating_add(OUTBOX_AHEAD_MAX_S));
    for kind in MailKind::ALL {
        let mail = conn.find(DUE, params![kind.as_str(), stored_time(now), ahead], |row| {
            Ok(Mail {
                seq: row.get(0)?,
                to: row.get(1)?,
                kind,
                message_id: row.get(2)?,
                message: row.get(3)?,
                queued: read_time(row.get(4)?),
            })
        })?;
        if mail.is_some() {
            return Ok(mail);
        }
    }
    Ok(None)
}

fn mail_tried(conn: &Connection, seq: i64, attempt: &Attempt, now: u64) -> Result<(), Fail> {
    if let Attempt::PutOff { next_try, error } = attempt {
        let error = cut(error, ANSWER_FIELD_OCTETS_MAX);
        conn.change(
            "UPDATE outgoing SET next_try = ?2, tried = ?3, last_error = ?4
             WHERE seq = ?1 AND next_try IS NOT NULL",
            params![seq, stored_time(*next_try), stored_time(now), error],
        )?;
        return Ok(());
    }
    conn.change(
        "UPDATE outgoing SET next_try = NULL, message = NULL, tried = ?2
         WHERE seq = ?1 AND next_try IS NOT NULL",
        params![seq, stored_time(now)],
    )?;
    note_due_behind(conn, seq, now)?;
    conn.change(
        "DELETE FROM outgoing WHERE seq IN
         (SELECT seq FROM outgoing WHERE next_try IS NULL AND tried < ?1 ORDER BY tried LIMIT ?2)",
        params![stored_time(now.saturating_sub(OUTBOX_KEPT_S)), DROPPED_AT_ONCE],
    )?;
    Ok(())
}

/// What waited behind this mail is due a while after it.
fn note_due_behind(conn: &Connection, seq: i64, now: u64) -> Result<(), Fail> {
    let behind: Option<Address> = conn.value(
        "SELECT address FROM answer_due WHERE address = (SELECT address FROM outgoing WHERE seq = ?1)",
        [seq],
    )?;
    behind.map_or(Ok(()), |to| note_due(conn, &to, now))
}

fn next(conn: &Connection) -> Result<Option<u64>, Fail> {
    let answer = format!("SELECT min(due) FROM answer_due WHERE {NONE_ON_ITS_WAY}");
    let mail = "SELECT min(next_try) FROM outgoing WHERE kind = ?1 AND next_try IS NOT NULL";
    let mut next: Option<i64> = conn.value(&answer, [])?.flatten();
    for kind in MailKind::ALL {
        let due = conn.value::<Option<i64>>(mail, [kind.as_str()])?.flatten();
        next = next.into_iter().chain(due).min();
    }
    Ok(next.map(read_time))
}

fn state(conn: &Connection) -> Result<OutboxState, Fail> {
    let waiting = |select: &str| -> Result<(u64, Option<u64>), Fail> {
        let (count, oldest): (i64, Option<i64>) = conn.find(select, [], columns)?.unwrap_or_default();
        Ok((read_time(count), oldest.map(read_time)))
    };
    let (answers, oldest_answer) = waiting("SELECT count(*), min(time) FROM answer_parts")?;
    let (mails, oldest_mail) =
        waiting("SELECT count(*), min(queued) FROM outgoing WHERE next_try IS NOT NULL")?;
    let last_error: Option<Option<String>> = conn.value(
        "SELECT last_error FROM outgoing WHERE next_try IS NOT NULL AND tried IS NOT NULL
         ORDER BY tried DESC LIMIT 1",
        [],
    )?;
    Ok(OutboxState {
        answers,
        mails,
        oldest: oldest_answer.into_iter().chain(oldest_mail).min(),
        last_error: last_error.flatten(),
    })
}

fn counts(conn: &Connection, select: &str, params: impl Params) -> Result<(u64, u64), Fail> {
    let (rows, octets): (i64, i64) = conn.find(select, params, columns)?.unwrap_or_default();
    Ok((read_time(rows), read_time(octets)))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The beginning of a text, cut between characters.
pub(super) fn cut(text: &str, octets_max: usize) -> &str {
    text.get(..text.floor_char_boundary(octets_max)).unwrap_or_default()
}

#[async_trait]
impl Outbox for SqliteLedger {
    async fn answer(
        &self,
        to: &Address,
        about: AnswerAbout,
        text: String,
        now: u64,
    ) -> Result<(), LedgerError> {
        let owner = to.clone();
        match self.write(move |batch| answer(batch.conn, &owner, &about, &text, now)).await? {
            Kept::Yes => self.outbox.notify_one(),
            Kept::AddressFull => {
                tracing::warn!(%to, "an answer was left out: too many wait for that address");
            }
            Kept::Full => {
                tracing::error!(%to, "an answer was left out: too much mail of ours waits; look at farthing status");
            }
        }
        Ok(())
    }

    async fn answers_due(&self, now: u64) -> Result<Option<WaitingAnswers>, LedgerError> {
        self.readers.read(move |conn| answers_due(conn, now)).await
    }

    async fn queue_answers(
        &self,
        made_of: &WaitingAnswers,
        mail: Option<NewMail>,
        now: u64,
    ) -> Result<bool, LedgerError> {
        let made_of = made_of.clone();
        self.write(move |batch| queue_answers(batch.conn, &made_of, mail.as_ref(), now)).await
    }

    async fn queue_digest(
        &self,
        owner: &Address,
        last: Option<u64>,
        until: u64,
        mail: Option<NewMail>,
    ) -> Result<Queued, LedgerError> {
        let owner = owner.clone();
        self.write(move |batch| queue_digest(batch.conn, &owner, last, until, mail.as_ref())).await
    }

    async fn mail_due(&self, now: u64) -> Result<Option<Mail>, LedgerError> {
        self.readers.read(move |conn| mail_due(conn, now)).await
    }

    async fn mail_tried(&self, seq: i64, attempt: Attempt, now: u64) -> Result<(), LedgerError> {
        self.write(move |batch| mail_tried(batch.conn, seq, &attempt, now)).await
    }

    async fn outbox_next(&self) -> Result<Option<u64>, LedgerError> {
        self.readers.read(next).await
    }

    async fn outbox_changed(&self) {
        self.outbox.notified().await;
    }

    async fn outbox_state(&self) -> Result<OutboxState, LedgerError> {
        self.readers.read(state).await
    }
}
