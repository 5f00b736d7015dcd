//! Sent letters, the answers to them, and addresses to unsubscribe at, in SQLite.
//!
//! What is too old goes a few rows at a time whenever a row is added, so the tables follow the rate of the mail.

use rusqlite::{Connection, params};

use super::{
    batch::Batch,
    book,
    fail::{Fail, read_time, stored_time},
    rows::{Statements, address, columns},
};
use crate::{
    address::{Address, Domain},
    clock::DAY_S,
    ledger::{
        Decision,
        book::{How, Known, Sender},
        owners::Owned,
        sent::{
            ANSWERS_MAX, ANSWERS_WINDOW_S, Answerable, Answering, LIST_ADDRESS_KEPT_S, SENT_RECIPIENTS_MAX,
            Sent, UNSUBSCRIBE_KEPT_S,
        },
    },
    message::envelope,
};

/// Old rows that go for each new one: more than come, so the old never pile up.
const DROPPED_AT_ONCE: u32 = 4;
/// How often it is written down again that a list lives, in seconds: a busy list costs no write a letter.
const LIST_SEEN_AGAIN_S: u64 = 7 * DAY_S;
/// Old rows that go in one request, however many it adds.
const DROPPED_AT_ONCE_MAX: u32 = 100;

/// Makes the recipients known to the author and remembers the Message-ID; returns how many are newly known.
pub(super) fn learn(batch: &mut Batch<'_>, sent: &Sent) -> Result<usize, Fail> {
    let (conn, owners) = (batch.conn, batch.site.owners());
    let author = owners.of(&sent.author);
    let mut learned = 0;
    let mut to_list = false;
    for recipient in &sent.recipients {
        to_list = to_list || is_list(conn, &author, recipient)?;
        if let Some(whom) = envelope::correspondent(recipient)
            && !names_unsubscribe(conn, &author, &whom)?
        {
            let sender = Sender::Address(whom);
            learned += usize::from(book::learn(conn, &owners, &sent.author, &sender, How::Sent, sent.now)?);
        }
    }
    if let Some(message_id) = &sent.message_id {
        remember(conn, sent, &owners.owner(&sent.author), message_id, to_list)?;
    }
    Ok(learned)
}

/// Whether an address is where a list takes its mail: one that a list has named as such to the author, or one whose
/// List-Id stands in the author's or the site's book.
fn is_list(conn: &Connection, author: &Owned, recipient: &Address) -> Result<bool, Fail> {
    let sql = "SELECT 1 FROM list_address WHERE recipient = ?1 AND address = ?2";
    for own in &author.own {
        if conn.has(sql, params![own, recipient.without_detail()])? {
            return Ok(true);
        }
    }
    let Some(list) = Sender::list_at(recipient) else { return Ok(false) };
    Ok(book::known(conn, author, &[list])? == Known::Allowed)
}

/// Takes to heart that a letter came from a list: what its reader has sent there, before anyone could know that it is
/// a list's address, is a post, and so is what comes back to him by the list.
pub(super) fn note_list(conn: &Connection, reader: &Owned, decision: &Decision) -> Result<(), Fail> {
    let (Some(list), Some(owner)) = (&decision.list, reader.own.first()) else { return Ok(()) };
    if let Some(message_id) = &decision.message_id {
        let post = "UPDATE sent SET to_list = 1 WHERE author = ?1 AND message_id = ?2 AND NOT to_list";
        for own in &reader.own {
            conn.change(post, params![own, message_id])?;
        }
    }
    for address in decision.list_posts.iter().chain(&Sender::address_of_list(list)) {
        let address = address.without_detail();
        let sql = "SELECT time FROM list_address WHERE recipient = ?1 AND address = ?2";
        let seen: Option<i64> = conn.value(sql, params![owner, address])?;
        if seen.is_some_and(|seen| decision.time.saturating_sub(read_time(seen)) < LIST_SEEN_AGAIN_S) {
            continue;
        }
        if seen.is_none() {
            for own in &reader.own {
                mark_posts(conn, own, &address)?;
            }
        }
        conn.change(
            "INSERT OR REPLACE INTO list_address (recipient, address, time) VALUES (?1, ?2, ?3)",
            params![owner, address, stored_time(decision.time)],
        )?;
        let old = stored_time(decision.time.saturating_sub(LIST_ADDRESS_KEPT_S));
        conn.change(
            "DELETE FROM list_address WHERE (recipient, address) IN
             (SELECT recipient, address FROM list_address WHERE time < ?1 ORDER BY time LIMIT ?2)",
            params![old, DROPPED_AT_ONCE],
        )?;
    }
    Ok(())
}

/// What this author has sent to this address is a list's.
fn mark_posts(conn: &Connection, author: &Address, address: &Address) -> Result<(), Fail> {
    // The part before a `+detail` and all after it; which address it is, is looked at exactly.
    let posts = conn.all(
        "SELECT message_id, recipients FROM sent
         WHERE author = ?1 AND NOT to_list AND instr(recipients, ?2) > 0",
        params![author, address.local()],
        columns::<(Vec<u8>, Vec<u8>)>,
    )?;
    for (message_id, recipients) in posts {
        if lines(&recipients)?.iter().any(|recipient| recipient.without_detail() == *address) {
            let mark = "UPDATE sent SET to_list = 1 WHERE author = ?1 AND message_id = ?2";
            conn.change(mark, params![author, message_id])?;
        }
    }
    Ok(())
}

/// Whether mail to this author said to unsubscribe at this address.
pub(super) fn names_unsubscribe(
    conn: &Connection,
    author: &Owned,
    recipient: &Address,
) -> Result<bool, Fail> {
    let sql = "SELECT 1 FROM unsubscribe WHERE recipient = ?1 AND address = ?2";
    for own in &author.own {
        if conn.has(sql, params![own, recipient])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One letter may be handed in in several copies: its recipients are those of all of them.
fn remember(
    conn: &Connection,
    sent: &Sent,
    author: &Address,
    message_id: &[u8; 16],
    to_list: bool,
) -> Result<(), Fail> {
    let author = author.to_bytes();
    let before: Option<(Vec<u8>, bool)> = conn.find(
        "SELECT recipients, to_list FROM sent WHERE author = ?1 AND message_id = ?2",
        params![author, message_id],
        columns,
    )?;
    let (before, was_to_list) = before.unwrap_or_default();
    let mut recipients = lines(&before)?;
    for recipient in &sent.recipients {
        if recipients.len() > SENT_RECIPIENTS_MAX {
            break;
        }
        if !recipients.contains(recipient) {
            recipients.push(recipient.clone());
        }
    }
    let text = recipients.iter().map(Address::to_bytes).collect::<Vec<_>>().join(&b'\n');
    conn.change(
        "INSERT OR REPLACE INTO sent (author, message_id, time, to_list, recipients)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![author, message_id, stored_time(sent.now), to_list || was_to_list, text],
    )?;
    let old = stored_time(sent.now.saturating_sub(ANSWERS_WINDOW_S));
    conn.change(
        "DELETE FROM sent WHERE (author, message_id) IN
         (SELECT author, message_id FROM sent WHERE time < ?1 ORDER BY time LIMIT ?2)",
        params![old, DROPPED_AT_ONCE],
    )?;
    Ok(())
}

/// Addresses that stand one a line.
pub(super) fn lines(text: &[u8]) -> Result<Vec<Address>, Fail> {
    text.split(|&b| b == b'\n').filter(|line| !line.is_empty()).map(address).collect()
}

/// The first of these letters that this reader sent and that others may answer, and whose it is in the table.
pub(super) fn answerable(
    conn: &Connection,
    reader: &Owned,
    message_ids: &[[u8; 16]],
    now: u64,
) -> Result<Option<(Vec<u8>, Answerable)>, Fail> {
    let authors: Vec<&Address> = reader.all().collect();
    let pairs = message_ids.iter().flat_map(|id| authors.iter().map(move |author| (id, *author)));
    for (message_id, author) in pairs {
        let sql = "SELECT time, recipients FROM sent WHERE author = ?1 AND message_id = ?2 AND NOT to_list";
        let found = conn.find(sql, params![author, message_id], columns::<(i64, Vec<u8>)>)?;
        let Some((time, recipients)) = found else { continue };
        let recipients = lines(&recipients)?;
        if now.saturating_sub(read_time(time)) > ANSWERS_WINDOW_S || recipients.len() > SENT_RECIPIENTS_MAX {
            continue;
        }
        let mut domains: Vec<Domain> = recipients.iter().map(|r| r.domain().clone()).collect();
        domains.sort_unstable();
        domains.dedup();
        let sql = "SELECT count(*) FROM answered WHERE author = ?1 AND message_id = ?2";
        let answers: Option<u32> = conn.value(sql, params![author, message_id])?;
        let used_up = answers.unwrap_or_default() >= ANSWERS_MAX;
        return Ok(Some((author.to_bytes(), Answerable { message_id: *message_id, domains, used_up })));
    }
    Ok(None)
}

/// What the ledger says of a letter that claims to be an answer.
pub(super) enum Answer {
    /// It is one, and was first let in then (as stored).
    Again(i64),
    /// It is one; letting it in is to be counted, with whose letter it answers.
    New(Vec<u8>),
    /// It is none, or one too many.
    No,
}

/// Whether a letter, named by its claim, is let in as an answer.
pub(super) fn answer(
    conn: &Connection,
    reader: &Owned,
    answering: &Answering,
    claim: &[u8; 16],
    now: u64,
) -> Result<Answer, Fail> {
    let Some((author, sent)) = answerable(conn, reader, &[answering.message_id], now)? else {
        return Ok(Answer::No);
    };
    let sql = "SELECT time FROM answered WHERE author = ?1 AND message_id = ?2 AND claim = ?3";
    if let Some(first) = conn.value(sql, params![author, answering.message_id, claim])? {
        return Ok(Answer::Again(first));
    }
    let from_there = answering.from.as_ref().is_some_and(|from| sent.went_to(from));
    Ok(if from_there || !sent.used_up { Answer::New(author) } else { Answer::No })
}

/// Counts a letter that is let in as an answer.
pub(super) fn count(
    batch: &Batch<'_>,
    author: &[u8],
    answering: &Answering,
    claim: &[u8; 16],
    now: u64,
) -> Result<(), Fail> {
    batch.conn.change(
        "INSERT INTO answered (author, message_id, claim, time) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
        params![author, answering.message_id, claim, stored_time(now)],
    )?;
    // A letter can be answered until its window ends, so what was counted for it is old when it is.
    let old = stored_time(now.saturating_sub(2 * ANSWERS_WINDOW_S));
    batch.conn.change(
        "DELETE FROM answered WHERE (author, message_id, claim) IN
         (SELECT author, message_id, claim FROM answered WHERE time < ?1 ORDER BY time LIMIT ?2)",
        params![old, DROPPED_AT_ONCE],
    )?;
    Ok(())
}

/// Remembers where mail to a recipient says to unsubscribe.
pub(super) fn note_unsubscribe(
    conn: &Connection,
    owner: &Address,
    addresses: &[Address],
    now: u64,
) -> Result<(), Fail> {
    for address in addresses {
        conn.change(
            "INSERT INTO unsubscribe (recipient, address, time) VALUES (?1, ?2, ?3)
             ON CONFLICT (recipient, address) DO UPDATE SET time = excluded.time",
            params![owner, address, stored_time(now)],
        )?;
    }
    let old = stored_time(now.saturating_sub(UNSUBSCRIBE_KEPT_S));
    let count = u32::try_from(addresses.len()).unwrap_or(DROPPED_AT_ONCE_MAX).saturating_mul(DROPPED_AT_ONCE);
    conn.change(
        "DELETE FROM unsubscribe WHERE (recipient, address) IN
         (SELECT recipient, address FROM unsubscribe WHERE time < ?1 ORDER BY time LIMIT ?2)",
        params![old, count.min(DROPPED_AT_ONCE_MAX)],
    )?;
    Ok(())
}
