//! The purse in SQLite.

use rusqlite::{Connection, Row, params};

use super::{
    SqliteLedger,
    batch::Batch,
    copies,
    fail::{Fail, read_time, stored_time},
    frank,
    redeem::day_of,
    rows::{Statements, columns},
};
use crate::{
    address::Domain,
    ledger::{
        LedgerError,
        franking::{
            BOUGHT_AT_ONCE_MAX, Budget, Franking, Given, InHand, LIFE_LEFT_MIN_S, LOGIN_OCTETS_MAX, Need,
            OutgoingLetter, Purse, PurseOrder, PurseStamp, Taken, WANTED_FOR_S,
        },
    },
    money::Micros,
};

const STAMP: &str = "SELECT office, id, selector, audience, value, expiry, signature FROM purse";

/// The stamps that would be taken: the cheapest that will do, of those the first to expire.
pub(super) fn in_hand(
    conn: &Connection,
    audience: &Domain,
    least: Micros,
    count: usize,
    now: u64,
) -> Result<Vec<PurseStamp>, Fail> {
    let sql = format!(
        "{STAMP} WHERE audience = ?1 AND value >= ?2 AND expiry >= ?3 ORDER BY value, expiry, id LIMIT ?4"
    );
    let until = stored_time(now.saturating_add(LIFE_LEFT_MIN_S));
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    conn.all(&sql, params![audience, least, until, count], |row| read_stamp(row, 0))
}

/// Takes a stamp out of the purse.
pub(super) fn take(conn: &Connection, stamp: &PurseStamp) -> Result<(), Fail> {
    conn.change("DELETE FROM purse WHERE office = ?1 AND id = ?2", params![stamp.office, stamp.id])?;
    Ok(())
}

fn needs(conn: &Connection, ahead: u32, now: u64) -> Result<Vec<Need>, Fail> {
    let time = stored_time(now);
    conn.change("DELETE FROM purse WHERE expiry < ?1", [time])?;
    let long_ago = stored_time(now.saturating_sub(WANTED_FOR_S));
    conn.change("DELETE FROM purse_wanted WHERE last < ?1", [long_ago])?;
    for table in ["franked", "purse_bought"] {
        conn.change(&format!("DELETE FROM {table} WHERE day < ?1"), [day_of(now)])?;
    }
    let until = stored_time(now.saturating_add(LIFE_LEFT_MIN_S));
    let mut needs = conn.all(
        "SELECT w.audience, max(?1, w.missing)
                + (SELECT count(*) FROM franked_to t WHERE t.audience = w.audience AND t.waits)
                - (SELECT count(*) FROM purse p
                   WHERE p.audience = w.audience AND p.value >= w.price AND p.expiry >= ?2)
         FROM purse_wanted w ORDER BY w.last DESC",
        params![ahead, until],
        |row| {
            let missing = row.get::<_, i64>(1)?.clamp(0, i64::from(BOUGHT_AT_ONCE_MAX));
            Ok(Need { audience: row.get(0)?, count: u32::try_from(missing).unwrap_or_default() })
        },
    )?;
    needs.retain(|need| need.count > 0);
    Ok(needs)
}

fn keep_order(conn: &Connection, order: &PurseOrder, per_day: Micros) -> Result<Option<i64>, Fail> {
    let before: Option<Micros> = conn.value(
        "SELECT (SELECT coalesce(sum(spent), 0) FROM purse_bought WHERE day = ?1)
         + (SELECT coalesce(sum(value * (length(ids) / 16)), 0) FROM purse_orders)",
        [day_of(order.time)],
    )?;
    let cost = order.value.checked_mul(order.ids.len() as u64);
    let spent = cost.and_then(|cost| before.unwrap_or_default().checked_add(cost));
    if spent.is_none_or(|spent| spent > per_day) {
        return Ok(None);
    }
    let ids = order.ids.concat();
    let (office, audience) = (order.office.as_str(), order.audience.as_str());
    let seq = conn.insert(
        "INSERT INTO purse_orders (office, audience, value, ids, time) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![office, audience, order.value, ids, stored_time(order.time)],
    )?;
    Ok(Some(seq))
}

fn orders(conn: &Connection) -> Result<Vec<PurseOrder>, Fail> {
    conn.all("SELECT seq, office, audience, value, ids, time FROM purse_orders ORDER BY seq", [], |row| {
        let ids: Vec<u8> = row.get(4)?;
        Ok(PurseOrder {
            seq: row.get(0)?,
            office: row.get(1)?,
            audience: row.get(2)?,
            value: row.get(3)?,
            ids: ids.as_chunks::<16>().0.to_vec(),
            time: read_time(row.get(5)?),
        })
    })
}

fn filled(conn: &Connection, order: i64, stamps: &[PurseStamp]) -> Result<(), Fail> {
    // Another process may have finished the same order.
    let Some(time) = conn.value("DELETE FROM purse_orders WHERE seq = ?1 RETURNING time", [order])? else {
        return Ok(());
    };
    let mut cost = Micros::ZERO;
    for stamp in stamps {
        cost = cost.checked_add(stamp.value).ok_or_else(Fail::overflow)?;
    }
    conn.change(
        "INSERT INTO purse_bought (day, spent) VALUES (?1, ?2) ON CONFLICT (day) DO UPDATE
         SET spent = spent + ?2",
        params![day_of(read_time(time)), cost],
    )?;
    for stamp in stamps {
        let (office, audience) = (stamp.office.as_str(), stamp.audience.as_str());
        let (value, expiry) = (stamp.value.signed(), stored_time(stamp.expiry));
        conn.change(
            "INSERT INTO purse (office, id, selector, audience, value, expiry, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            params![office, stamp.id, stamp.selector, audience, value, expiry, stamp.signature],
        )?;
    }
    Ok(())
}

fn purse(conn: &Connection, now: u64) -> Result<Purse, Fail> {
    let until = stored_time(now.saturating_add(LIFE_LEFT_MIN_S));
    let in_hand = conn.all(
        "SELECT audience, count(*), sum(value) FROM purse WHERE expiry >= ?1 GROUP BY audience
         ORDER BY audience",
        [until],
        |row| {
            let count = row.get::<_, i64>(1)?.unsigned_abs();
            Ok(InHand { audience: row.get(0)?, count, value: row.get(2)? })
        },
    )?;
    let spent = "SELECT login, spent FROM franked WHERE day = ?1 ORDER BY login";
    Ok(Purse { in_hand, spent: conn.all(spent, [day_of(now)], columns)? })
}

/// A stamp: office, id, selector, audience, value, expiry and signature, from this column on.
pub(super) fn read_stamp(row: &Row<'_>, from: usize) -> Result<PurseStamp, Fail> {
    Ok(PurseStamp {
        office: row.get(from)?,
        id: row.get(from + 1)?,
        selector: row.get(from + 2)?,
        audience: row.get(from + 3)?,
        value: row.get(from + 4)?,
        expiry: read_time(row.get(from + 5)?),
        signature: row.get(from + 6)?,
    })
}

/// A login as it is counted: without regard to case, as mail servers take it, and never the one of all together.
pub(super) fn counted(login: &str) -> String {
    let mut login = login.to_lowercase();
    while login.len() > LOGIN_OCTETS_MAX {
        login.pop();
    }
    if login.is_empty() { "?".into() } else { login }
}

#[async_trait::async_trait]
impl Franking for SqliteLedger {
    async fn frank(&self, letter: OutgoingLetter, budget: Budget, now: u64) -> Result<Taken, LedgerError> {
        let letter = OutgoingLetter { login: counted(&letter.login), ..letter };
        let taken = self.write(move |batch| frank::frank(batch, &letter, &budget, now)).await?;
        if matches!(&taken, Taken::Given(given) if given.contains(&Given::Copy)) {
            self.outbox.notify_one();
        }
        Ok(taken)
    }

    async fn purse_needs(&self, ahead: u32, now: u64) -> Result<Vec<Need>, LedgerError> {
        let (given, needs) = self
            .write(move |batch| {
                let given = copies::give_stamps(batch, None, now)?;
                Ok((given, needs(batch.conn, ahead, now)?))
            })
            .await?;
        if given > 0 {
            self.outbox.notify_one();
        }
        Ok(needs)
    }

    async fn purse_order(&self, order: PurseOrder, per_day: Micros) -> Result<Option<i64>, LedgerError> {
        self.write(move |batch| keep_order(batch.conn, &order, per_day)).await
    }

    async fn purse_orders(&self) -> Result<Vec<PurseOrder>, LedgerError> {
        self.readers.read(orders).await
    }

    async fn purse_filled(&self, order: i64, stamps: Vec<PurseStamp>, now: u64) -> Result<(), LedgerError> {
        let work = move |batch: &mut Batch<'_>| {
            filled(batch.conn, order, &stamps)?;
            let audience = stamps.first().map(|stamp| &stamp.audience);
            audience.map_or(Ok(0), |audience| copies::give_stamps(batch, Some(audience), now))
        };
        if self.write(work).await? > 0 {
            self.outbox.notify_one();
        }
        Ok(())
    }

    async fn purse(&self, now: u64) -> Result<Purse, LedgerError> {
        self.readers.read(move |conn| purse(conn, now)).await
    }
}
