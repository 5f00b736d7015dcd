//! Marks by what a person answers, or types as a Message-ID, in SQLite.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    batch::Batch,
    book,
    fail::{Fail, read_time, stored_time},
    mark::{self, Letter, address},
    sent::{lines, names_unsubscribe},
};
use crate::{
    address::Address,
    ledger::{
        Decision, Mark, Marked,
        book::{How, Sender},
        marks::{Answered, NAMED_RECIPIENTS_MAX, REPLY_TO_MAX, SAME_ID_LETTERS_MAX},
    },
};

/// A delivered letter, for one recipient.
struct Delivered {
    time: i64,
    number: Option<i64>,
    letter: Letter,
    reply_to: Vec<Address>,
}

/// Where a letter wants its answers, as it is stored.
pub(super) fn reply_to_column(decision: &Decision) -> Option<Vec<u8>> {
    let addresses: Vec<_> = decision.reply_to.iter().take(REPLY_TO_MAX).map(Address::to_bytes).collect();
    (decision.delivered && !addresses.is_empty()).then(|| addresses.join(&b'\n'))
}

/// Marks what is answered as wanted.
pub(super) fn mark_answered(batch: &mut Batch<'_>, answered: &Answered) -> Result<Vec<Marked>, Fail> {
    let owners = batch.site.owners();
    let reader = owners.of(&answered.author);
    let mut answers_to = HashSet::new();
    for recipient in &answered.recipients {
        if !names_unsubscribe(batch.conn, &reader, recipient)? {
            answers_to.insert(recipient);
        }
    }
    let mut letters = delivered(batch.conn, &answered.message_id)?;
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

/// Who got letters with this Message-ID, each once.
pub(super) fn recipients(conn: &Connection, message_id: &[u8; 16]) -> Result<Vec<Address>, Fail> {
    let mut recipients: Vec<Address> = Vec::new();
    for found in delivered(conn, message_id)? {
        if !recipients.contains(&found.letter.recipient) {
            recipients.push(found.letter.recipient);
        }
    }
    Ok(recipients)
}

/// Letters with this Message-ID that were let in, the first first.
fn delivered(conn: &Connection, message_id: &[u8; 16]) -> Result<Vec<Delivered>, Fail> {
    let mut find = conn.prepare_cached(
        "SELECT time, number, recipient, author, authenticated, list, reply_to FROM decisions
         WHERE time / 86400 = ?1 AND message_id = ?2 AND delivered AND message_id IS NOT NULL
         ORDER BY time, seq LIMIT ?3",
    )?;
    let mut later = conn.prepare_cached(
        "SELECT time / 86400 FROM decisions WHERE time / 86400 > ?1 AND delivered AND message_id IS NOT NULL
         ORDER BY time / 86400 LIMIT 1",
    )?;
    let mut letters = Vec::new();
    let mut day = -1_i64;
    while let Some(next) = later.query_row([day], |row| row.get(0)).optional()? {
        day = next;
        let left = SAME_ID_LETTERS_MAX.saturating_sub(letters.len());
        let mut rows = find.query(params![day, message_id, i64::try_from(left).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            letters.push(read(row)?);
        }
        if letters.len() >= SAME_ID_LETTERS_MAX {
            break;
        }
    }
    Ok(letters)
}

fn read(row: &Row<'_>) -> Result<Delivered, Fail> {
    let (recipient, author): (Vec<u8>, Option<Vec<u8>>) = (row.get(2)?, row.get(3)?);
    let reply_to: Option<Vec<u8>> = row.get(6)?;
    Ok(Delivered {
        time: row.get(0)?,
        number: row.get(1)?,
        letter: Letter {
            recipient: address(&recipient)?,
            author: author.map(|octets| address(&octets)).transpose()?,
            authenticated: row.get(4)?,
            list: row.get(5)?,
        },
        reply_to: lines(&reply_to.unwrap_or_default())?,
    })
}

/// Notes that mail by authenticated submission came.
pub(super) fn note_submission(conn: &Connection, now: u64) -> Result<(), Fail> {
    let mut write = conn.prepare_cached(
        "INSERT INTO facts (name, value) VALUES ('submission', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1",
    )?;
    write.execute([stored_time(now)])?;
    Ok(())
}

/// When that was noted last, and whether any letter was decided.
pub(super) fn last_submission(conn: &Connection) -> Result<(Option<u64>, bool), Fail> {
    let mut find = conn.prepare_cached("SELECT value FROM facts WHERE name = 'submission'")?;
    let last: Option<i64> = find.query_row([], |row| row.get(0)).optional()?;
    let mut any = conn.prepare_cached("SELECT 1 FROM decisions LIMIT 1")?;
    Ok((last.map(read_time), any.exists([])?))
}
