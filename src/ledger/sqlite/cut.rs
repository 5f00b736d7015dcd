//! Cutting off old history: the oldest batches go, as a whole and in order, when nothing hangs on them any more.
//!
//! What always holds: a redemption goes only when it is settled, its stamp has expired and the time for retries is over;
//! an order only when it is ended and all its redemptions are settled; what goes is added to what is carried forward
//! on each account. The cut itself is a row of the audit chain, so what is carried cannot be changed unseen.

use std::collections::HashMap;

use rusqlite::{Connection, Row, Statement, fallible_streaming_iterator::FallibleStreamingIterator, params};

use super::{
    batch::{Batch, newest_cut},
    fail::{Fail, read_time, stored_time},
    rows::Statements,
    settling,
};
use crate::clock::DAY_S;
use crate::ledger::{
    RETRY_WINDOW_S,
    carried::Carried,
    chain::Cut,
    settling::{DROPPED_AT_ONCE_MAX, Done, HISTORY_KEPT_S, Terms},
};

/// The fact that holds the set hash of what is carried forward.
const CARRIED: &str = "carried";

/// Cuts off some of the oldest history, if any of it can go.
pub(super) fn cut(batch: &mut Batch<'_>, terms: &Terms) -> Result<Done, Fail> {
    if batch.has_cut() {
        return Ok(Done { more: true, ..Done::default() });
    }
    let conn = batch.conn;
    let before = newest_cut(conn)?;
    let found = Search::new(conn, &before, terms)?.run()?;
    // A cut is a row too: it is not made for the sake of earlier cuts alone.
    if found.rows == 0 {
        return Ok(Done::default());
    }
    let mut carried = carried(conn)?;
    carry(conn, &found.changes, &mut carried)?;
    let cut = Cut {
        through: found.through,
        head: found.head,
        entries: found.entries.max(before.entries),
        redeemed: found.redeemed.max(before.redeemed),
        day: found.day.max(before.day),
        carried: carried.digest(),
    };
    drop_rows(conn, &cut)?;
    conn.change(
        "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        params![CARRIED, carried.octets()],
    )?;
    batch.enter_cut(&cut, stored_time(terms.now))?;
    Ok(Done { dropped: found.rows, more: true, ..Done::default() })
}

/// What is carried forward on all accounts, as one set hash.
pub(super) fn carried(conn: &Connection) -> Result<Carried, Fail> {
    let octets: Option<Vec<u8>> = conn.value("SELECT value FROM facts WHERE name = ?1", [CARRIED])?;
    match octets {
        None => Ok(Carried::nothing()),
        Some(octets) => Carried::from_octets(&octets)
            .ok_or_else(|| Fail::damaged("what is carried forward is no set hash")),
    }
}

/// Adds what the dropped rows moved to what is carried forward.
fn carry(conn: &Connection, changes: &HashMap<i64, i64>, carried: &mut Carried) -> Result<(), Fail> {
    let mut find = conn.prepare_cached("SELECT name, carried FROM account WHERE id = ?1")?;
    for (&account, &change) in changes.iter().filter(|(_, change)| **change != 0) {
        let (name, was): (String, i64) = find.query_row([account], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let is = was.checked_add(change).ok_or_else(Fail::overflow)?;
        carried.change(&name, was, is);
        conn.change("UPDATE account SET carried = ?2 WHERE id = ?1", params![account, is])?;
    }
    Ok(())
}

fn drop_rows(conn: &Connection, cut: &Cut) -> Result<(), Fail> {
    // Children before parents.
    for delete in [
        "DELETE FROM settled WHERE entry <= ?1",
        "DELETE FROM closed WHERE entry <= ?1",
        "DELETE FROM reported WHERE entry <= ?1",
        "DELETE FROM sold WHERE order_seq <= ?1",
        "DELETE FROM orders WHERE seq <= ?1",
        "DELETE FROM journal WHERE seq <= ?1",
    ] {
        conn.change(delete, [cut.entries])?;
    }
    for delete in ["DELETE FROM unwanted WHERE redeemed <= ?1", "DELETE FROM redeemed WHERE seq <= ?1"] {
        conn.change(delete, [cut.redeemed])?;
    }
    for delete in ["DELETE FROM heads WHERE batch <= ?1", "DELETE FROM cuts WHERE batch <= ?1"] {
        conn.change(delete, [cut.through])?;
    }
    Ok(())
}

/// Batches that can go, one after the other.
#[derive(Default)]
struct Found {
    through: i64,
    head: [u8; 32],
    entries: i64,
    redeemed: i64,
    day: i64,
    /// Rows of money, and stamps of orders.
    rows: u64,
    changes: HashMap<i64, i64>,
}

impl Found {
    fn absorb(&mut self, later: Self) -> Result<(), Fail> {
        self.through = later.through;
        self.head = later.head;
        self.entries = self.entries.max(later.entries);
        self.redeemed = self.redeemed.max(later.redeemed);
        self.day = self.day.max(later.day);
        self.rows += later.rows;
        for (account, change) in later.changes {
            self.add(account, change)?;
        }
        Ok(())
    }

    fn transfer(&mut self, debit: i64, credit: i64, amount: i64) -> Result<(), Fail> {
        self.add(debit, -amount)?;
        self.add(credit, amount)
    }

    fn add(&mut self, account: i64, change: i64) -> Result<(), Fail> {
        let sum = self.changes.entry(account).or_default();
        *sum = sum.checked_add(change).ok_or_else(Fail::overflow)?;
        Ok(())
    }
}

/// Whether a row keeps its batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// It can go.
    Old,
    /// It is dated in the future, for the clock was wrong for a while: it can go with a later one that can.
    Misdated,
    /// Something hangs on it.
    Needed,
}

/// Looks for them.
struct Search<'c> {
    terms: &'c Terms,
    settled_to: i64,
    heads: Statement<'c>,
    entries: Statement<'c>,
    redeemed: Statement<'c>,
    from: &'c Cut,
}

impl<'c> Search<'c> {
    fn new(conn: &'c Connection, from: &'c Cut, terms: &'c Terms) -> Result<Self, Fail> {
        Ok(Self {
            terms,
            settled_to: settling::settled_to(conn)?,
            // The newest head stays: the next one follows from it.
            heads: conn.prepare(
                "SELECT batch, head FROM heads WHERE batch > ?1 AND batch < (SELECT max(batch) FROM heads) ORDER BY batch",
            )?,
            entries: conn.prepare(
                "SELECT j.batch, j.seq, j.time, j.debit, j.credit, j.amount, j.kind = 'sell', o.closed, o.stamps, o.expiry
                 FROM journal j LEFT JOIN orders o ON o.seq = j.seq WHERE j.seq > ?1 ORDER BY j.seq",
            )?,
            redeemed: conn.prepare(
                "SELECT batch, seq, time, debit, credit, amount, day FROM redeemed WHERE seq > ?1 ORDER BY seq",
            )?,
            from,
        })
    }

    /// Goes on from the last cut until a batch is needed, or enough is found.
    fn run(mut self) -> Result<Found, Fail> {
        let (clock, now, settled_to) = (self.terms.clock, self.terms.now, self.settled_to);
        let mut heads = self.heads.query([self.from.through])?;
        let mut entries = self.entries.query([self.from.entries])?;
        let mut redeemed = self.redeemed.query([self.from.redeemed])?;
        entries.advance()?;
        redeemed.advance()?;
        let (mut sure, mut misdated) = (Found::default(), Found::default());
        while let Some(head) = heads.next()? {
            let batch: i64 = head.get(0)?;
            let mut one = Found { through: batch, head: head.get(1)?, ..Found::default() };
            let mut age = Age::Old;
            for row in [entries.get(), redeemed.get()].into_iter().flatten() {
                if row.get::<_, i64>(0)? < batch {
                    return Err(Fail::damaged("a batch has no head"));
                }
            }
            while let Some(row) = entries.get().filter(|row| is_of(row, batch)) {
                age = age.max(age_of_entry(row, clock, now, settled_to)?);
                one.entries = row.get(1)?;
                one.rows += 1 + row.get::<_, Option<i64>>(8)?.unwrap_or_default().unsigned_abs();
                one.transfer(row.get(3)?, row.get(4)?, row.get(5)?)?;
                entries.advance()?;
            }
            while let Some(row) = redeemed.get().filter(|row| is_of(row, batch)) {
                age = age.max(age_of_redeemed(row, clock, now, settled_to)?);
                one.redeemed = row.get(1)?;
                one.day = one.day.max(row.get(6)?);
                one.rows += 1;
                one.transfer(row.get(3)?, row.get(4)?, row.get(5)?)?;
                redeemed.advance()?;
            }
            match age {
                Age::Needed => break,
                Age::Misdated => misdated.absorb(one)?,
                Age::Old if one.rows == 0 && misdated.rows > 0 => misdated.absorb(one)?,
                Age::Old => {
                    sure.absorb(std::mem::take(&mut misdated))?;
                    sure.absorb(one)?;
                }
            }
            if sure.rows + misdated.rows >= DROPPED_AT_ONCE_MAX {
                break;
            }
        }
        Ok(sure)
    }
}

fn is_of(row: &Row<'_>, batch: i64) -> bool {
    row.get::<_, i64>(0).is_ok_and(|of| of == batch)
}

fn age_by_time(time: i64, clock: u64, now: u64) -> Age {
    let time = read_time(time);
    if time > now {
        Age::Misdated
    } else if time.saturating_add(HISTORY_KEPT_S) < clock {
        Age::Old
    } else {
        Age::Needed
    }
}

fn age_of_entry(row: &Row<'_>, clock: u64, now: u64, settled_to: i64) -> Result<Age, Fail> {
    let (is_sale, closed): (bool, Option<i64>) = (row.get(6)?, row.get(7)?);
    if is_sale {
        let expiry = read_time(row.get::<_, Option<i64>>(9)?.unwrap_or_default());
        let ended = closed.is_some_and(|newest| newest <= settled_to);
        // As long as a retry of a letter may bring one of its stamps.
        if !ended || expiry.saturating_add(DAY_S + RETRY_WINDOW_S) >= clock {
            return Ok(Age::Needed);
        }
    }
    Ok(age_by_time(row.get(2)?, clock, now))
}

fn age_of_redeemed(row: &Row<'_>, clock: u64, now: u64, settled_to: i64) -> Result<Age, Fail> {
    let (seq, day): (i64, i64) = (row.get(1)?, row.get(6)?);
    let over = read_time(day).saturating_add(1).saturating_mul(DAY_S).saturating_add(RETRY_WINDOW_S);
    if seq > settled_to || over >= clock {
        return Ok(Age::Needed);
    }
    Ok(age_by_time(row.get(2)?, clock, now))
}
