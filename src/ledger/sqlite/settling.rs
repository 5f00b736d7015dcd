//! Settling what is due: postage whose refund window is over, and stamps that expired unused.
//!
//! What always holds: a redemption is settled by one range of one entry for each mail domain, and the fact `settled`,
//! written with it, is what keeps it from being settled or refunded again; an order is ended once, by key, and none of
//! its stamps pays any more. Time is the settling clock's, never ahead of the wall clock.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    Site, SqliteLedger,
    batch::{Batch, NewEntry},
    cut,
    fail::{Fail, read_time, stored_time},
    foreign,
    redeem::day_of,
    rows::{Statements, columns},
    tally,
};
use crate::{
    clock::DAY_S,
    ledger::{
        LedgerError, RETRY_WINDOW_S,
        settling::{
            CLOCK_STEP_S, CLOSED_AT_ONCE_MAX, Done, FOREIGN_AFTER_S, Keep, LAG_COUNTED_MAX, Lag,
            RETURN_AFTER_S, SETTLED_AT_ONCE_MAX, Settling, Terms,
        },
        tally::Money,
    },
    money::Micros,
};

/// The fact that says up to which redemption all is settled or given back.
const SETTLED: &str = "settled";
/// The fact that holds the settling clock.
const CLOCK: &str = "settling_clock";
/// Days of memory that are dropped after the last on which anybody asks for them: clocks of hosts differ.
const MEMORY_SLACK_DAYS: i64 = 1;
/// Rows of memory dropped from one table in one step.
const FORGOTTEN_AT_ONCE: u32 = 500;

impl Keep {
    const fn account(self) -> &'static str {
        match self {
            Self::Treasury => "kept",
            Self::Burn => "burned",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Treasury => "keep",
            Self::Burn => "burn",
        }
    }
}

/// The redemption up to which all is settled or given back, for good; 0 before any is.
pub(super) fn settled_to(conn: &Connection) -> Result<i64, Fail> {
    fact(conn, SETTLED).map(Option::unwrap_or_default)
}

fn fact(conn: &Connection, name: &str) -> Result<Option<i64>, Fail> {
    conn.value("SELECT value FROM facts WHERE name = ?1", [name])
}

fn set_fact(conn: &Connection, name: &str, value: i64) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        params![name, value],
    )?;
    Ok(())
}

fn clock(conn: &Connection, now: u64) -> Result<u64, Fail> {
    let stood = match fact(conn, CLOCK)? {
        Some(stood) => read_time(stood),
        None => {
            match conn.value("SELECT time FROM heads ORDER BY batch DESC LIMIT 1", [])? {
                Some(time) => read_time(time).min(now),
                // Books without history: nothing is due, and the clock has nothing to begin with.
                None => return Ok(now),
            }
        }
    };
    let stands = now.clamp(stood.saturating_sub(CLOCK_STEP_S), stood.saturating_add(CLOCK_STEP_S));
    set_fact(conn, CLOCK, stored_time(stands))?;
    Ok(stands.min(now))
}

/// Some of what is due; and forgets some of what nobody asks for any more.
fn settle(batch: &mut Batch<'_>, terms: &Terms) -> Result<Done, Fail> {
    let mut done = escrow(batch, terms)?;
    for domain in &terms.domains {
        done = done.and(close_orders(batch, terms, Some(domain.as_str()), RETURN_AFTER_S)?);
        if done.more {
            return Ok(done);
        }
    }
    done = done.and(close_orders(batch, terms, None, FOREIGN_AFTER_S)?);
    Ok(done.and(forget(batch.conn, terms)?))
}

/// One redemption as settling sees it.
struct Waiting {
    seq: i64,
    time: u64,
    escrow: String,
    amount: Micros,
    refunded: bool,
}

/// Whether the time for refunds is over, as a mark would say too.
const fn is_over(time: u64, clock: u64, site: &Site) -> bool {
    clock.saturating_sub(time) > site.refund_window_s
}

fn escrow(batch: &mut Batch<'_>, terms: &Terms) -> Result<Done, Fail> {
    let from = settled_to(batch.conn)?;
    let rows = waiting(batch.conn, from)?;
    let due = due(batch.conn, &rows, terms, batch.site)?;
    let Some(last) = due.last().map(|row| row.seq) else { return Ok(Done::default()) };
    let mut sums: Vec<(&str, Money)> = Vec::new();
    for row in due.iter().filter(|row| !row.refunded) {
        let one = Money { count: 1, value: row.amount };
        match sums.iter_mut().find(|(escrow, _)| *escrow == row.escrow) {
            Some((_, sum)) => *sum = sum.and(one),
            None => sums.push((&row.escrow, one)),
        }
    }
    let mut done = Done { more: true, ..Done::default() };
    for (escrow, sum) in sums {
        let entry = batch.enter(&NewEntry {
            time: stored_time(terms.now),
            kind: terms.keep.kind(),
            debit: escrow,
            credit: terms.keep.account(),
            amount: sum.value,
            memo: "",
            redeemed: None,
        })?;
        batch.enter_settled(entry, escrow, from + 1, last)?;
        done.settled = done.settled.and(sum);
    }
    set_fact(batch.conn, SETTLED, last)?;
    Ok(done)
}

fn waiting(conn: &Connection, from: i64) -> Result<Vec<Waiting>, Fail> {
    conn.all(
        "SELECT r.seq, r.time, c.name, r.amount, EXISTS (SELECT 1 FROM journal j WHERE j.redeemed = r.seq)
         FROM redeemed r JOIN account c ON c.id = r.credit WHERE r.seq > ?1 ORDER BY r.seq LIMIT ?2",
        params![from, SETTLED_AT_ONCE_MAX],
        |row| {
            Ok(Waiting {
                seq: row.get(0)?,
                time: read_time(row.get(1)?),
                escrow: row.get(2)?,
                amount: row.get(3)?,
                refunded: row.get(4)?,
            })
        },
    )
}

/// The first of these rows that are due. They stand in the order of their commits, so one that is dated in the future
/// (the clock was wrong for a while) is older than the next one that is not, and due with it.
fn due<'r>(
    conn: &Connection,
    rows: &'r [Waiting],
    terms: &Terms,
    site: &Site,
) -> Result<&'r [Waiting], Fail> {
    let mut count = 0;
    for (at, row) in rows.iter().enumerate() {
        if row.time > terms.now {
            continue;
        }
        if !is_over(row.time, terms.clock, site) {
            return Ok(rows.get(..count).unwrap_or_default());
        }
        count = at + 1;
    }
    if count < rows.len()
        && let Some(last) = rows.last()
    {
        let sql = "SELECT time FROM redeemed WHERE seq > ?1 AND time <= ?2 ORDER BY seq LIMIT 1";
        let next: Option<i64> = conn.value(sql, params![last.seq, stored_time(terms.now)])?;
        if next.is_some_and(|time| is_over(read_time(time), terms.clock, site)) {
            count = rows.len();
        }
    }
    Ok(rows.get(..count).unwrap_or_default())
}

/// Ends orders whose stamps expired so long ago: what was not used goes back to the buyer where we alone redeem the
/// audience, else whether it was used nobody here can know, and it is kept or burned.
fn close_orders(batch: &mut Batch<'_>, terms: &Terms, own: Option<&str>, after_s: u64) -> Result<Done, Fail> {
    let before = stored_time(terms.clock.saturating_sub(after_s));
    let by = if own.is_some() { "audience = ?3 AND" } else { "?3 IS NULL AND" };
    let sql = format!(
        "SELECT o.seq, a.name, o.value, o.stamps - o.redeemed FROM orders o JOIN account a ON a.id = o.account
         WHERE {by} o.closed IS NULL AND o.expiry < ?1 ORDER BY o.expiry LIMIT ?2"
    );
    let orders = batch.conn.all(
        &sql,
        params![before, CLOSED_AT_ONCE_MAX, own],
        columns::<(i64, String, Micros, i64)>,
    )?;
    let mut done = Done { more: !orders.is_empty(), ..Done::default() };
    for (seq, buyer, value, unused) in orders {
        let unused = unused - batch.redeemed_of(seq);
        if unused > 0 {
            let sum = end_order(batch, terms, seq, own.map(|_| buyer.as_str()), value, unused)?;
            let to = if own.is_some() { &mut done.returned } else { &mut done.given_up };
            *to = to.and(sum);
        }
        let newest = batch.newest_redeemed()?;
        batch.conn.change("UPDATE orders SET closed = ?2 WHERE seq = ?1", params![seq, newest])?;
    }
    Ok(done)
}

fn end_order(
    batch: &mut Batch<'_>,
    terms: &Terms,
    order: i64,
    buyer: Option<&str>,
    value: Micros,
    unused: i64,
) -> Result<Money, Fail> {
    let count = unused.unsigned_abs();
    let value = value.checked_mul(count).ok_or_else(Fail::overflow)?;
    let memo = if count == 1 { "1 unused stamp".to_owned() } else { format!("{count} unused stamps") };
    let entry = batch.enter(&NewEntry {
        time: stored_time(terms.now),
        kind: if buyer.is_some() { "return" } else { terms.keep.kind() },
        debit: "stamps",
        credit: buyer.unwrap_or(terms.keep.account()),
        amount: value,
        memo: &memo,
        redeemed: None,
    })?;
    batch.enter_closed(entry, order)?;
    Ok(Money { count, value })
}

/// Lets go what was remembered for retries and for the count of a day.
fn forget(conn: &Connection, terms: &Terms) -> Result<Done, Fail> {
    let today = day_of(terms.clock).saturating_sub(MEMORY_SLACK_DAYS);
    let retry_days = stored_time(RETRY_WINDOW_S / DAY_S);
    let tables = [
        ("worked", "id", today.saturating_sub(retry_days)),
        ("work_days", "recipient", today),
        ("retried", "claim", today),
    ];
    let mut done = Done::default();
    for (table, key, before) in tables {
        done.dropped += conn.change(
            &format!(
                "DELETE FROM {table} WHERE (day, {key}) IN
                 (SELECT day, {key} FROM {table} WHERE day < ?1 ORDER BY day, {key} LIMIT ?2)"
            ),
            params![before, FORGOTTEN_AT_ONCE],
        )? as u64;
    }
    done.dropped += foreign::forget(conn, FORGOTTEN_AT_ONCE, terms.clock)?;
    done.dropped += tally::forget(conn, FORGOTTEN_AT_ONCE as usize, terms.clock)? as u64;
    done.more = done.dropped > 0;
    Ok(done)
}

fn lag(conn: &Connection, terms: &Terms, site: &Site) -> Result<Lag, Fail> {
    let clock = fact(conn, CLOCK)?.map(read_time);
    let counted = stored_time(LAG_COUNTED_MAX);
    let over = stored_time(terms.now.saturating_sub(site.refund_window_s));
    let (count, oldest): (i64, Option<i64>) = conn
        .find(
            "SELECT count(*), min(time) FROM
             (SELECT time FROM redeemed WHERE seq > ?1 ORDER BY seq LIMIT ?3) WHERE time < ?2",
            params![settled_to(conn)?, over, counted],
            columns,
        )?
        .unwrap_or_default();
    let mut lag = Lag { unsettled: count.unsigned_abs(), clock, ..Lag::default() };
    let since = |time: i64, after_s: u64| read_time(time).saturating_add(after_s);
    let mut dues: Vec<u64> = oldest.map(|time| since(time, site.refund_window_s)).into_iter().collect();
    let mut count_orders = |own: Option<&str>, after_s: u64| -> Result<(), Fail> {
        let by = if own.is_some() { "audience = ?3 AND" } else { "?3 IS NULL AND" };
        let sql = format!(
            "SELECT count(*), min(expiry) FROM (SELECT expiry FROM orders
             WHERE {by} closed IS NULL AND expiry < ?1 ORDER BY expiry LIMIT ?2)"
        );
        let before = stored_time(terms.now.saturating_sub(after_s));
        let (count, oldest): (i64, Option<i64>) =
            conn.find(&sql, params![before, counted, own], columns)?.unwrap_or_default();
        lag.unreturned = lag.unreturned.saturating_add(count.unsigned_abs());
        dues.extend(oldest.map(|expiry| since(expiry, after_s)));
        Ok(())
    };
    for domain in &terms.domains {
        count_orders(Some(domain.as_str()), RETURN_AFTER_S)?;
    }
    count_orders(None, FOREIGN_AFTER_S)?;
    lag.oldest = dues.into_iter().min();
    Ok(lag)
}

#[async_trait]
impl Settling for SqliteLedger {
    async fn settling_clock(&self, now: u64) -> Result<u64, LedgerError> {
        self.write(move |batch| clock(batch.conn, now)).await
    }

    async fn settle(&self, terms: Terms) -> Result<Done, LedgerError> {
        let terms = Arc::new(terms);
        let of_step = Arc::clone(&terms);
        let done = self.write(move |batch| settle(batch, &of_step)).await?;
        // A transaction of its own: mail goes between.
        Ok(done.and(self.write(move |batch| cut::cut(batch, &terms)).await?))
    }

    async fn lag(&self, terms: &Terms) -> Result<Lag, LedgerError> {
        let (terms, site) = (terms.clone(), Arc::clone(&self.site));
        self.readers.read(move |conn| lag(conn, &terms, &site)).await
    }
}
