//! The purse in SQLite.

use rusqlite::{Connection, Row, params};

use super::{
    SqliteLedger,
    batch::Batch,
    copies,
    fail::{Fail, read_time, stored_time},
    frank,
    redeem::day_of,
    rows::Statements,
};
use crate::{
    address::Domain,
    clock::DAY_S,
    ledger::{
        LedgerError, StampId,
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
    let mut find = conn.prepare_cached(&format!(
        "{STAMP} WHERE audience = ?1 AND value >= ?2 AND expiry >= ?3 ORDER BY value, expiry, id LIMIT ?4"
    ))?;
    let until = stored_time(now.saturating_add(LIFE_LEFT_MIN_S));
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut rows = find.query(params![audience.as_str(), least.signed(), until, count])?;
    let mut stamps = Vec::new();
    while let Some(row) = rows.next()? {
        stamps.push(read_stamp(row, 0)?);
    }
    Ok(stamps)
}

/// Takes a stamp out of the purse.
pub(super) fn take(conn: &Connection, stamp: &PurseStamp) -> Result<(), Fail> {
    conn.change("DELETE FROM purse WHERE office = ?1 AND id = ?2", params![stamp.office.as_str(), stamp.id])?;
    Ok(())
}

/// Throws away the stamps in hand for a domain that are not of these offices: with one of them a letter would be refused.
/// What they cost is the office's to give back, as for all that expire unused. Nor are as many kept ahead again before as
/// many were asked for: a domain that changes its offices with every letter has nothing bought for nothing.
pub(super) fn throw_away_others(
    conn: &Connection,
    audience: &Domain,
    offices: &[Domain],
) -> Result<(), Fail> {
    let mut find = conn.prepare_cached("SELECT DISTINCT office FROM purse WHERE audience = ?1")?;
    let in_hand: Vec<String> =
        find.query_map([audience.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for office in in_hand {
        if offices.iter().all(|taken| taken.as_str() != office) {
            let count = conn.change(
                "DELETE FROM purse WHERE audience = ?1 AND office = ?2",
                params![audience.as_str(), office],
            )?;
            conn.change("UPDATE purse_wanted SET asked = 0 WHERE audience = ?1", [audience.as_str()])?;
            tracing::warn!(%audience, office, count, "the domain takes stamps of this office no longer; those in hand are thrown away");
        }
    }
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
    let mut find = conn.prepare_cached(
        "SELECT w.audience, max(min(?1, w.asked), w.missing)
                + (SELECT count(*) FROM franked_to t WHERE t.audience = w.audience AND t.waits)
                - (SELECT count(*) FROM purse p
                WHERE p.audience = w.audience AND p.value >= w.price AND p.expiry >= ?2),
                w.price
         FROM purse_wanted w ORDER BY w.last DESC",
    )?;
    let until = stored_time(now.saturating_add(LIFE_LEFT_MIN_S));
    let rows = find.query_map(params![ahead, until], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?))
    })?;
    let mut needs = Vec::new();
    for row in rows {
        let (audience, missing, price) = row?;
        let count = u32::try_from(missing.clamp(0, i64::from(BOUGHT_AT_ONCE_MAX))).unwrap_or_default();
        if count > 0 {
            needs.push(Need { audience: domain(&audience)?, count, price: amount(price)? });
        }
    }
    Ok(needs)
}

fn keep_order(conn: &Connection, order: &PurseOrder, per_day: Micros) -> Result<Option<i64>, Fail> {
    let mut find = conn.prepare_cached(
        "SELECT (SELECT coalesce(sum(spent), 0) FROM purse_bought WHERE day = ?1)
         + (SELECT coalesce(sum(value * (length(ids) / 16)), 0) FROM purse_orders)",
    )?;
    let before: i64 = find.query_row([day_of(order.time)], |row| row.get(0))?;
    let cost = order.value.checked_mul(order.ids.len() as u64);
    let spent = cost.and_then(|cost| amount(before).ok()?.checked_add(cost));
    if spent.is_none_or(|spent| spent > per_day) {
        return Ok(None);
    }
    let ids = order.ids.concat();
    let (office, audience) = (order.office.as_str(), order.audience.as_str());
    let seq = conn.insert(
        "INSERT INTO purse_orders (office, audience, value, ids, time) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![office, audience, order.value.signed(), ids, stored_time(order.time)],
    )?;
    Ok(Some(seq))
}

fn orders(conn: &Connection) -> Result<Vec<PurseOrder>, Fail> {
    let mut find =
        conn.prepare_cached("SELECT seq, office, audience, value, ids, time FROM purse_orders ORDER BY seq")?;
    let mut rows = find.query([])?;
    let mut orders = Vec::new();
    while let Some(row) = rows.next()? {
        let (office, audience): (String, String) = (row.get(1)?, row.get(2)?);
        let ids: Vec<u8> = row.get(4)?;
        orders.push(PurseOrder {
            seq: row.get(0)?,
            office: domain(&office)?,
            audience: domain(&audience)?,
            value: amount(row.get(3)?)?,
            ids: ids.as_chunks::<16>().0.to_vec(),
            time: read_time(row.get(5)?),
        });
    }
    Ok(orders)
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
        params![day_of(read_time(time)), cost.signed()],
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
    let mut find = conn.prepare_cached(
        "SELECT audience, count(*), sum(value) FROM purse WHERE expiry >= ?1 GROUP BY audience
         ORDER BY audience",
    )?;
    let until = stored_time(now.saturating_add(LIFE_LEFT_MIN_S));
    let mut rows = find.query([until])?;
    let mut purse = Purse::default();
    while let Some(row) = rows.next()? {
        let (audience, count): (String, i64) = (row.get(0)?, row.get(1)?);
        let value = amount(row.get(2)?)?;
        purse.in_hand.push(InHand { audience: domain(&audience)?, count: count.unsigned_abs(), value });
    }
    let mut find = conn.prepare_cached("SELECT login, spent FROM franked WHERE day = ?1 ORDER BY login")?;
    let mut rows = find.query([day_of(now)])?;
    while let Some(row) = rows.next()? {
        purse.spent.push((row.get(0)?, amount(row.get(1)?)?));
    }
    let mut find = conn.prepare_cached(
        "SELECT w.audience FROM purse_wanted w WHERE w.last >= ?1
            AND NOT EXISTS (SELECT 1 FROM purse p
            WHERE p.audience = w.audience AND p.value >= w.price AND p.expiry >= ?2)
            AND NOT EXISTS (SELECT 1 FROM purse_orders o WHERE o.audience = w.audience)
         ORDER BY w.audience",
    )?;
    let mut rows = find.query([stored_time(now.saturating_sub(DAY_S)), until])?;
    while let Some(row) = rows.next()? {
        purse.lacking.push(domain(&row.get::<_, String>(0)?)?);
    }
    Ok(purse)
}

/// A stamp: office, id, selector, audience, value, expiry and signature, from this column on.
pub(super) fn read_stamp(row: &Row<'_>, from: usize) -> Result<PurseStamp, Fail> {
    let (office, audience): (String, String) = (row.get(from)?, row.get(from + 3)?);
    Ok(PurseStamp {
        office: domain(&office)?,
        id: row.get::<_, StampId>(from + 1)?,
        selector: row.get(from + 2)?,
        audience: domain(&audience)?,
        value: amount(row.get(from + 4)?)?,
        expiry: read_time(row.get(from + 5)?),
        signature: row.get(from + 6)?,
    })
}

pub(super) fn amount(micros: i64) -> Result<Micros, Fail> {
    Micros::from_signed(micros).ok_or_else(|| Fail::damaged("a stamp in the purse of no value"))
}

pub(super) fn domain(text: &str) -> Result<Domain, Fail> {
    text.parse().map_err(|_| Fail::damaged(format!("`{text}` is no domain")))
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
