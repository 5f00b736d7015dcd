//! Passes in SQLite: made once by author, recipient and id; used by [`super::redeem`] as stamps and work are.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteLedger,
    batch::Batch,
    fail::{Fail, read_time, stored_time},
    redeem::{day_of, is_redeemed, sold_by},
    rows::Statements,
};
use crate::{
    address::Address,
    clock::DAY_S,
    ledger::{
        LedgerError, RETRY_WINDOW_S,
        passes::{
            Got, Means, NewPass, PASS_LIFETIME_S, PASSES_OF_A_PAIR_MAX, Pass, PassMade, Passes,
            WORKED_PASSES_DAILY_MAX,
        },
    },
};

/// Old rows that go when a new one comes: more than come, so that the table never lags behind.
const FORGOTTEN_AT_ONCE: u32 = 20;

fn add(batch: &Batch<'_>, new: &NewPass) -> Result<PassMade, Fail> {
    let conn = batch.conn;
    let (author, recipient) = (&new.author, &new.recipient);
    let before = conn.value(
        "SELECT expires FROM pass WHERE author = ?1 AND recipient = ?2 AND id = ?3",
        params![author, recipient, new.got.id()],
    )?;
    if let Some(expires) = before {
        return Ok(PassMade::Until(read_time(expires)));
    }
    forget(conn, new.now)?;
    let sql = "SELECT count(*) FROM pass WHERE author = ?1 AND recipient = ?2 AND expires >= ?3";
    let kept: Option<u32> = conn.value(sql, params![author, recipient, useless_before(new.now)])?;
    if kept.unwrap_or_default() >= PASSES_OF_A_PAIR_MAX {
        return Ok(PassMade::TooMany);
    }
    let stamp = match &new.got {
        Got::Stamp(stamp, field) => {
            let own = batch.site.is_own(&stamp.key.office);
            let sold = sold_by(conn, stamp, new.recipient.domain())?;
            if !own || !stamp.good || sold.is_none_or(|sold| sold.closed || sold.reported) {
                return Ok(PassMade::Unsold);
            }
            if is_redeemed(conn, &stamp.key)? {
                return Ok(PassMade::Spent);
            }
            Some(field)
        }
        Got::Work(_) => {
            if !count_work(batch, new)? {
                return Ok(PassMade::TooManyToday);
            }
            None
        }
    };
    let week = new.now.saturating_add(PASS_LIFETIME_S);
    let expires = match &new.got {
        // No longer than the stamp itself.
        Got::Stamp(stamp, _) => week.min(end_of_day(stamp.key.day)),
        Got::Work(_) => week,
    };
    let (made, until) = (stored_time(new.now), stored_time(expires));
    conn.change(
        "INSERT INTO pass (author, recipient, id, made, expires, stamp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![author, recipient, new.got.id(), made, until, stamp],
    )?;
    Ok(PassMade::Until(expires))
}

/// Counts a pass worked for; false when the day of the address is full. Each address has a day of its own, whoever owns
/// it: of a shared one anybody could learn, by working it full, which addresses are one person's.
fn count_work(batch: &Batch<'_>, new: &NewPass) -> Result<bool, Fail> {
    let reader = new.recipient.without_detail();
    Ok(batch.conn.change(
        "INSERT INTO pass_days (day, recipient, passes) VALUES (?1, ?2, 1)
         ON CONFLICT (day, recipient) DO UPDATE SET passes = passes + 1 WHERE passes < ?3",
        params![day_of(new.now), reader, WORKED_PASSES_DAILY_MAX],
    )? > 0)
}

/// The last second of a UTC day.
fn end_of_day(day: u32) -> u64 {
    (u64::from(day) + 1) * DAY_S - 1
}

/// A pass that expired before this has no letter any more, nor a retry of one.
fn useless_before(now: u64) -> i64 {
    stored_time(now.saturating_sub(RETRY_WINDOW_S))
}

/// Drops some of what no letter can use any more.
fn forget(conn: &Connection, now: u64) -> Result<(), Fail> {
    let over = useless_before(now);
    conn.change(
        "DELETE FROM pass WHERE (author, recipient, id) IN
         (SELECT author, recipient, id FROM pass WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        params![over, FORGOTTEN_AT_ONCE],
    )?;
    conn.change(
        "DELETE FROM pass_days WHERE (day, recipient) IN
         (SELECT day, recipient FROM pass_days WHERE day < ?1 ORDER BY day LIMIT ?2)",
        params![day_of(now), FORGOTTEN_AT_ONCE],
    )?;
    Ok(())
}

/// The passes from an author to a recipient.
pub(super) fn find(
    conn: &Connection,
    author: &Address,
    recipient: &Address,
    now: u64,
) -> Result<Vec<Pass>, Fail> {
    conn.all(
        "SELECT id, expires, stamp FROM pass
         WHERE author = ?1 AND recipient = ?2 AND expires >= ?3 ORDER BY expires, id",
        params![author, recipient, useless_before(now)],
        |row| {
            let means = row.get::<_, Option<Vec<u8>>>(2)?.map_or(Means::Work, Means::Stamp);
            Ok(Pass { id: row.get(0)?, expires: read_time(row.get(1)?), means })
        },
    )
}

#[async_trait]
impl Passes for SqliteLedger {
    async fn pass_add(&self, pass: NewPass) -> Result<PassMade, LedgerError> {
        self.write(move |batch| add(batch, &pass)).await
    }

    async fn passes(
        &self,
        author: &Address,
        recipient: &Address,
        now: u64,
    ) -> Result<Vec<Pass>, LedgerError> {
        let (author, recipient) = (author.clone(), recipient.clone());
        self.readers.read(move |conn| find(conn, &author, &recipient, now)).await
    }
}
