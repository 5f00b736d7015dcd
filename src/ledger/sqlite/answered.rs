//! Marks by what a person answers, or types as a Message-ID, in SQLite.

use std::collections::HashSet;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{
    SqliteLedger,
    batch::Batch,
    book,
    fail::{Fail, read_time, stored_time},
    mark::{self, Letter},
    rows::Statements,
    sent::{lines, names_unsubscribe},
};
use crate::{
    address::{Address, Domain},
    ledger::{
        Decision, LedgerError, Mark, MarkError, Marked, StampId,
        book::{How, Sender},
        marks::{Answered, Marks, NAMED_RECIPIENTS_MAX, REPLY_TO_MAX, SAME_ID_LETTERS_MAX},
        sent::SENT_RECIPIENTS_MAX,
    },
};

/// A delivered letter, for one recipient.
pub(super) struct Delivered {
    time: i64,
    pub number: Option<i64>,
    pub letter: Letter,
    reply_to: Vec<Address>,
}

/// Where a letter wants its answers, as it is stored.
pub(super) fn reply_to_column(decision: &Decision) -> Option<Vec<u8>> {
    let addresses: Vec<_> = decision.reply_to.iter().take(REPLY_TO_MAX).map(Address::to_bytes).collect();
    (decision.delivered && !addresses.is_empty()).then(|| addresses.join(&b'\n'))
}

fn mark_answered(batch: &mut Batch<'_>, answered: &Answered) -> Result<Vec<Marked>, Fail> {
    let owners = batch.site.owners();
    let reader = owners.of(&answered.author);
    let mut answers_to = HashSet::new();
    for recipient in &answered.recipients {
        if !names_unsubscribe(batch.conn, &reader, recipient)? {
            answers_to.insert(recipient);
        }
    }
    if answers_colleague(batch, answered)? {
        return Ok(Vec::new());
    }
    let mut letters = delivered(batch.conn, &answered.message_id, SAME_ID_LETTERS_MAX)?;
    letters.retain(|found| {
        let wants_answers_at = found.letter.author.iter().chain(&found.reply_to);
        wants_answers_at.into_iter().any(|address| answers_to.contains(address))
    });
    let mut marked = Vec::new();
    for found in chosen(&letters, &answered.own) {
        let redeemed = found.number.map(|n| mark::by_number(batch.conn, n.cast_unsigned())).transpose()?;
        let (letter, now) = (&found.letter, answered.now);
        marked.push(mark::mark_found(
            batch,
            redeemed.flatten().as_ref(),
            letter,
            Mark::Wanted,
            How::Reply,
            now,
        )?);
        if let Some(author) = letter.author.as_ref().filter(|_| letter.authenticated) {
            let sender = Sender::Address(author.clone());
            book::learn(batch.conn, &owners, &answered.author, &sender, How::Reply, now)?;
        }
    }
    Ok(marked)
}

/// Whether what is answered is what one of those that the answer goes to wrote to the user himself, by authenticated
/// submission. Of letters with its Message-ID that is the first: whoever else got it knows the id, and could win his
/// postage back by a letter that bears it.
fn answers_colleague(batch: &Batch<'_>, answered: &Answered) -> Result<bool, Fail> {
    let owners = batch.site.owners();
    for colleague in &answered.recipients {
        let key = params![owners.owner(colleague), answered.message_id];
        let Some(recipients) = batch
            .conn
            .value::<Vec<u8>>("SELECT recipients FROM sent WHERE author = ?1 AND message_id = ?2", key)?
        else {
            continue;
        };
        let recipients = lines(&recipients)?;
        // Of more it is not known who they are.
        let to_many = recipients.len() > SENT_RECIPIENTS_MAX;
        if to_many || recipients.iter().any(|to| answered.own.contains(&to.without_detail())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of these letters with one Message-ID the first, for each of the user's own addresses it went to; when none went to
/// any, the first that there is.
fn chosen<'a>(letters: &'a [Delivered], own: &[Address]) -> Vec<&'a Delivered> {
    let is_own = |found: &&Delivered| own.contains(&found.letter.recipient.without_detail());
    let Some(first) = letters.iter().find(is_own) else { return letters.first().into_iter().collect() };
    let mut chosen: Vec<&Delivered> = Vec::new();
    for found in letters.iter().filter(is_own) {
        let same = found.time == first.time && found.letter.author == first.letter.author;
        let told = chosen.iter().any(|other| other.letter.recipient == found.letter.recipient);
        if same && !told && chosen.len() < NAMED_RECIPIENTS_MAX {
            chosen.push(found);
        }
    }
    chosen
}

fn recipients(conn: &Connection, message_id: &[u8; 16]) -> Result<Vec<Address>, Fail> {
    let mut recipients: Vec<Address> = Vec::new();
    for found in delivered(conn, message_id, SAME_ID_LETTERS_MAX)? {
        if !recipients.contains(&found.letter.recipient) {
            recipients.push(found.letter.recipient);
        }
    }
    Ok(recipients)
}

/// Letters with this Message-ID that were let in, the first first.
pub(super) fn delivered(
    conn: &Connection,
    message_id: &[u8; 16],
    count_max: usize,
) -> Result<Vec<Delivered>, Fail> {
    const LETTERS: &str =
        "SELECT time, number, recipient, author, authenticated, list, reply_to FROM decisions
         WHERE time / 86400 = ?1 AND message_id = ?2 AND delivered AND message_id IS NOT NULL
         ORDER BY time, seq LIMIT ?3";
    const LATER: &str = "SELECT time / 86400 FROM decisions
         WHERE time / 86400 > ?1 AND delivered AND message_id IS NOT NULL ORDER BY time / 86400 LIMIT 1";
    let mut letters = Vec::new();
    let mut day = -1_i64;
    while let Some(next) = conn.value(LATER, [day])? {
        day = next;
        let left = count_max.saturating_sub(letters.len());
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        letters.extend(conn.all(LETTERS, params![day, message_id, left], read)?);
        if letters.len() >= count_max {
            break;
        }
    }
    Ok(letters)
}

fn read(row: &Row<'_>) -> Result<Delivered, Fail> {
    let reply_to: Option<Vec<u8>> = row.get(6)?;
    Ok(Delivered {
        time: row.get(0)?,
        number: row.get(1)?,
        letter: Letter {
            recipient: row.get(2)?,
            author: row.get(3)?,
            authenticated: row.get(4)?,
            list: row.get(5)?,
        },
        reply_to: lines(&reply_to.unwrap_or_default())?,
    })
}

fn note_submission(conn: &Connection, now: u64) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO facts (name, value) VALUES ('submission', ?1) ON CONFLICT (name) DO UPDATE
         SET value = ?1",
        [stored_time(now)],
    )?;
    Ok(())
}

fn last_submission(conn: &Connection) -> Result<(Option<u64>, bool), Fail> {
    let last: Option<i64> = conn.value("SELECT value FROM facts WHERE name = 'submission'", [])?;
    Ok((last.map(read_time), conn.has("SELECT 1 FROM decisions LIMIT 1", [])?))
}

#[async_trait]
impl Marks for SqliteLedger {
    async fn mark_answered(&self, answered: Answered) -> Result<Vec<Marked>, LedgerError> {
        // By the writer, which has seen letters that were decided a moment ago.
        self.write(move |batch| mark_answered(batch, &answered)).await
    }

    async fn recipient_of_stamp(&self, office: Option<&Domain>, id: &StampId) -> Result<Address, MarkError> {
        let (office, id) = (office.cloned(), *id);
        self.readers.read(move |conn| mark::recipient_of_stamp(conn, office.as_ref(), &id)).await?
    }

    async fn recipients_of_message_id(&self, message_id: &[u8; 16]) -> Result<Vec<Address>, LedgerError> {
        let message_id = *message_id;
        self.write(move |batch| recipients(batch.conn, &message_id)).await
    }

    async fn note_submission(&self, now: u64) -> Result<(), LedgerError> {
        self.write(move |batch| note_submission(batch.conn, now)).await
    }

    async fn last_submission(&self) -> Result<(Option<u64>, bool), LedgerError> {
        self.readers.read(last_submission).await
    }
}
