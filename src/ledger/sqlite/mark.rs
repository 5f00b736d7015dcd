//! Marks: finding the letter, giving its postage back, changing the recipient's book (SPEC.md §7).

use rusqlite::{Connection, Row, params};

use super::{
    answered,
    batch::{Batch, NewEntry},
    book,
    fail::{Fail, read_time, stored_time},
    foreign,
    rows::{Statements, columns},
    sent, settings, settling,
};
use crate::{
    address::{Address, Domain},
    ledger::{
        Decision, Mark, MarkError, MarkTarget, Marked, StampId,
        book::{How, Known, Sender},
        owners::Owners,
    },
    money::Micros,
};

/// A redemption as a mark needs it.
pub(super) struct Redeemed {
    pub seq: i64,
    pub time: i64,
    debit: String,
    credit: String,
    pub amount: Micros,
    /// Account of the buyer, for a stamp of our own office.
    buyer: Option<String>,
    pub letter: Letter,
}

/// Whose letter it was.
#[derive(Clone)]
pub(super) struct Letter {
    pub recipient: Address,
    pub author: Option<Address>,
    pub authenticated: bool,
    /// The list it came from, if it authenticated as the list's.
    pub list: Option<String>,
}

const REDEEMED: &str =
    "SELECT r.seq, r.time, d.name, c.name, r.amount, b.name, r.recipient, r.author, r.authenticated,
     (SELECT l.list FROM decisions l WHERE l.time = r.time AND l.number = r.number AND l.list IS NOT NULL)
     FROM redeemed r JOIN account d ON d.id = r.debit JOIN account c ON c.id = r.credit
     LEFT JOIN orders o ON o.seq = r.order_seq LEFT JOIN account b ON b.id = o.account";

/// The recipient of the letter with this redemption number.
pub(super) fn recipient_of(conn: &Connection, number: u64) -> Result<Option<Address>, Fail> {
    Ok(by_number(conn, number)?.map(|found| found.letter.recipient))
}

/// Marks a letter.
pub(super) fn mark(
    batch: &mut Batch<'_>,
    target: &MarkTarget,
    mark: Mark,
    now: u64,
) -> Result<Result<Marked, MarkError>, Fail> {
    let (redeemed, letter) = match find(batch.conn, &batch.site.owners(), target)? {
        Found::Redeemed(found) => {
            let letter = found.letter.clone();
            (Some(found), letter)
        }
        Found::Free(letter) => (None, letter),
        Found::Nothing => return Ok(Err(MarkError::NoSuchLetter)),
        Found::Two => return Ok(Err(MarkError::Ambiguous)),
    };
    mark_found(batch, redeemed.as_ref(), &letter, mark, How::Wanted, now).map(Ok)
}

/// Marks a letter that was found, with what was redeemed for it; `how` is what the book says of a sender who is new to it.
pub(super) fn mark_found(
    batch: &mut Batch<'_>,
    redeemed: Option<&Redeemed>,
    letter: &Letter,
    mark: Mark,
    how: How,
    now: u64,
) -> Result<Marked, Fail> {
    let mut marked = Marked {
        recipient: letter.recipient.clone(),
        author: letter.author.clone(),
        refunded: None,
        already_refunded: false,
        too_late: false,
        known: false,
    };
    if let Some(redeemed) = redeemed {
        match mark {
            Mark::Wanted => give_back(batch, redeemed, now, &mut marked)?,
            Mark::Unwanted => note_unwanted(batch.conn, redeemed.seq, now)?,
        }
    }
    marked.known = teach(batch, letter, mark, how, now)?;
    Ok(marked)
}

/// The recipient of the letter that a stamp paid for.
pub(super) fn recipient_of_stamp(
    conn: &Connection,
    office: Option<&Domain>,
    id: &StampId,
) -> Result<Result<Address, MarkError>, Fail> {
    Ok(match by_stamp(conn, office, id)? {
        Found::Redeemed(found) => Ok(found.letter.recipient),
        Found::Two => Err(MarkError::Ambiguous),
        Found::Free(_) | Found::Nothing => Err(MarkError::NoSuchLetter),
    })
}

/// Notes that a paid letter was unwanted.
pub(super) fn note_unwanted(conn: &Connection, seq: i64, now: u64) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO unwanted (redeemed, time) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![seq, stored_time(now)],
    )?;
    Ok(())
}

/// Gives the postage of this redemption back, if it can be; returns what went back.
pub(super) fn give_back_one(batch: &mut Batch<'_>, seq: i64, now: u64) -> Result<Option<Micros>, Fail> {
    let redeemed = batch.conn.find(&format!("{REDEEMED} WHERE r.seq = ?1"), [seq], read_redeemed)?;
    let redeemed = redeemed.ok_or_else(|| Fail::damaged("a redemption is gone"))?;
    let mut marked = Marked {
        recipient: redeemed.letter.recipient.clone(),
        author: None,
        refunded: None,
        already_refunded: false,
        too_late: false,
        known: false,
    };
    give_back(batch, &redeemed, now, &mut marked)?;
    Ok(marked.refunded)
}

/// Postage goes back where it came from: to the buyer, or to the account of the office that sold the stamp.
fn give_back(batch: &mut Batch<'_>, redeemed: &Redeemed, now: u64, marked: &mut Marked) -> Result<(), Fail> {
    batch.conn.change("DELETE FROM unwanted WHERE redeemed = ?1", [redeemed.seq])?;
    marked.already_refunded = batch.conn.has("SELECT 1 FROM journal WHERE redeemed = ?1", [redeemed.seq])?;
    if marked.already_refunded {
        return Ok(());
    }
    // What is settled stays so, whatever the window or the clock are now.
    marked.too_late = is_final(batch.conn, redeemed.seq)?
        || now.saturating_sub(read_time(redeemed.time)) > batch.site.refund_window_s;
    if marked.too_late {
        return Ok(());
    }
    let amount = redeemed.amount;
    batch.enter(&NewEntry {
        time: stored_time(now),
        kind: "refund",
        debit: &redeemed.credit,
        credit: redeemed.buyer.as_deref().unwrap_or(&redeemed.debit),
        amount,
        memo: "",
        redeemed: Some(redeemed.seq),
    })?;
    if redeemed.buyer.is_none() {
        foreign::to_be_reported(batch.conn, redeemed.seq, now)?;
    }
    marked.refunded = Some(amount);
    Ok(())
}

/// Changes the recipient's book and says whether the author is known to him now. Only a letter that
/// authenticated teaches: else whoever forges a friend's name could make him a stranger.
fn teach(batch: &Batch<'_>, letter: &Letter, mark: Mark, how: How, now: u64) -> Result<bool, Fail> {
    let owners = batch.site.owners();
    let reader = owners.of(&letter.recipient);
    if let Some(id) = &letter.list {
        match mark {
            Mark::Wanted => {
                book::learn(batch.conn, &owners, &letter.recipient, &Sender::List(id.clone()), how, now)?;
            }
            Mark::Unwanted => {
                // The addresses that go with a List-Id may be people's: a letter that only names them, and of
                // which nothing was known, makes nobody a stranger.
                if book::forget(batch.conn, &reader, &Sender::List(id.clone()))? {
                    for name in Sender::names_of_list(id) {
                        book::forget(batch.conn, &reader, &name)?;
                    }
                }
            }
        }
    }
    let Some(author) = &letter.author else { return Ok(false) };
    let sender = Sender::Address(author.clone());
    if letter.authenticated {
        match mark {
            Mark::Wanted => {
                book::learn(batch.conn, &owners, &letter.recipient, &sender, how, now)?;
            }
            Mark::Unwanted => {
                book::forget(batch.conn, &reader, &sender)?;
            }
        }
    }
    Ok(book::known(batch.conn, &reader, &Sender::names_of_author(author))? == Known::Allowed)
}

enum Found {
    Redeemed(Redeemed),
    /// A letter that cost nothing.
    Free(Letter),
    Nothing,
    /// Stamps of two offices.
    Two,
}

fn find(conn: &Connection, owners: &Owners, target: &MarkTarget) -> Result<Found, Fail> {
    let one = |found: Option<Redeemed>| found.map_or(Found::Nothing, Found::Redeemed);
    match target {
        MarkTarget::Number(number) => by_number(conn, *number).map(one),
        MarkTarget::Stamp(office, id) => by_stamp(conn, office.as_ref(), id),
        MarkTarget::MessageId(hash, recipient) => {
            match by_message_id(conn, hash, |to| to == recipient)? {
                // A letter to another address of his: a mailbox knows its login, not to which address a letter went.
                Found::Nothing => {
                    let owner = owners.owner(recipient);
                    by_message_id(conn, hash, |to| owners.owner(to) == owner)
                }
                found => Ok(found),
            }
        }
    }
}

/// Whether the refund window of this redemption is over for good.
pub(super) fn is_final(conn: &Connection, seq: i64) -> Result<bool, Fail> {
    Ok(seq <= settling::settled_to(conn)?)
}

/// Numbers are kept by day, so each day that has any is asked, the newest first.
pub(super) fn by_number(conn: &Connection, number: u64) -> Result<Option<Redeemed>, Fail> {
    let sql = format!("{REDEEMED} WHERE r.time / 86400 = ?1 AND r.number = ?2");
    let earlier =
        "SELECT time / 86400 FROM redeemed WHERE time / 86400 < ?1 ORDER BY time / 86400 DESC LIMIT 1";
    let mut day = i64::MAX;
    while let Some(next) = conn.value(earlier, [day])? {
        day = next;
        if let Some(found) = conn.find(&sql, params![day, number.cast_signed()], read_redeemed)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Stamps are kept by day and office; each pair that has any is asked.
fn by_stamp(conn: &Connection, office: Option<&Domain>, id: &StampId) -> Result<Found, Fail> {
    let sql = format!("{REDEEMED} WHERE r.day = ?1 AND r.office = ?2 AND r.id = ?3");
    let next = "SELECT r.day, r.office FROM redeemed r WHERE (r.day, r.office) > (?1, ?2)
         ORDER BY r.day, r.office LIMIT 1";
    let mut found: Option<(i64, Redeemed)> = None;
    let mut at = (i64::MIN, i64::MIN);
    while let Some(pair) = conn.find(next, [at.0, at.1], columns)? {
        at = pair;
        let Some(redeemed) = conn.find(&sql, params![at.0, at.1, id], read_redeemed)? else { continue };
        let seller: Option<Domain> = conn.value("SELECT name FROM office WHERE id = ?1", [at.1])?;
        if office.is_some_and(|asked| seller.as_ref() != Some(asked)) {
            continue;
        }
        if found.as_ref().is_some_and(|(other, _)| *other != at.1) {
            return Ok(Found::Two);
        }
        found = Some((at.1, redeemed));
    }
    Ok(found.map_or(Found::Nothing, |(_, redeemed)| Found::Redeemed(redeemed)))
}

/// Of two letters with one Message-ID to a recipient that fits, the first (SPEC.md §7).
fn by_message_id(conn: &Connection, hash: &[u8; 16], fits: impl Fn(&Address) -> bool) -> Result<Found, Fail> {
    let letters = answered::delivered(conn, hash, usize::MAX)?;
    let Some(found) = letters.into_iter().find(|found| fits(&found.letter.recipient)) else {
        return Ok(Found::Nothing);
    };
    let redeemed = found.number.map(|number| by_number(conn, number.cast_unsigned())).transpose()?;
    Ok(redeemed.flatten().map_or(Found::Free(found.letter), Found::Redeemed))
}

fn read_redeemed(row: &Row<'_>) -> Result<Redeemed, Fail> {
    Ok(Redeemed {
        seq: row.get(0)?,
        time: row.get(1)?,
        debit: row.get(2)?,
        credit: row.get(3)?,
        amount: row.get(4)?,
        buyer: row.get(5)?,
        letter: Letter {
            recipient: row.get(6)?,
            author: row.get(7)?,
            authenticated: row.get(8)?,
            list: row.get(9)?,
        },
    })
}

/// Writes a decision down.
pub(super) fn note(conn: &Connection, owners: &Owners, decision: &Decision) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO decisions (time, recipient, author, authenticated, message_id, result, reason,
         delivered, number, list,
                                reader, reply_to)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            stored_time(decision.time),
            decision.recipient,
            decision.author,
            decision.authenticated,
            decision.message_id,
            decision.result,
            decision.reason,
            decision.delivered,
            decision.number.map(u64::cast_signed),
            decision.list,
            settings::reader_of(decision),
            answered::reply_to_column(decision),
        ],
    )?;
    if decision.delivered
        && decision.result == "known"
        && let Some(id) = &decision.list
    {
        // Who wrote to a list's address gets its mail, and from now on answers to what he writes there are the list's.
        let names = Sender::names_of_list(id);
        if book::known(conn, &owners.of(&decision.recipient), &names)? == Known::Allowed {
            let list = Sender::List(id.clone());
            book::learn(conn, owners, &decision.recipient, &list, How::Sent, decision.time)?;
        }
    }
    // Of a list that nobody here knows its letters do not say which addresses are a list's.
    if decision.delivered && decision.result == "known" {
        sent::note_list(conn, &owners.of(&decision.recipient), decision)?;
    }
    if decision.delivered && !decision.unsubscribe.is_empty() {
        sent::note_unsubscribe(
            conn,
            &owners.owner(&decision.recipient),
            &decision.unsubscribe,
            decision.time,
        )?;
    }
    Ok(())
}
