//! Other offices in SQLite: stamps of theirs that are owed for, refunds to report, and refunds reported to us.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteLedger,
    batch::{Batch, NewEntry},
    fail::{Fail, read_time, stored_time},
    redeem::office_account,
    rows::{Statements, columns},
    settling::settled_to,
};
use crate::{
    address::Domain,
    clock::DAY_S,
    ledger::{
        LedgerError, StampId,
        foreign::{Foreign, REPORT_KEPT_S, REPORTED_AT_ONCE_MAX, Refund, Report, Standing},
    },
    money::Micros,
};

/// Characters kept of why an office took no report.
const TROUBLE_CHARS_MAX: usize = 300;

/// The first name of the accounts where postage ends that nobody wanted back.
const ENDS: [&str; 2] = ["kept", "burned"];

/// Keeps a redeemed stamp of another office as it stood on the letter.
pub(super) fn keep_field(
    conn: &Connection,
    redeemed: i64,
    office: &Domain,
    audience: &Domain,
    id: &StampId,
    field: &str,
) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO foreign_stamp (redeemed, office, audience, id, field)
         VALUES (?1, (SELECT id FROM office WHERE name = ?2), ?3, ?4, ?5)",
        params![redeemed, office, audience, id, field],
    )?;
    Ok(())
}

/// The postage of this redemption went back to the office's account: the office is to be told.
pub(super) fn to_be_reported(conn: &Connection, redeemed: i64, now: u64) -> Result<(), Fail> {
    conn.change(
        "UPDATE foreign_stamp SET refunded = ?2 WHERE redeemed = ?1",
        params![redeemed, stored_time(now)],
    )?;
    Ok(())
}

fn next_report(conn: &Connection, now: u64) -> Result<Option<Report>, Fail> {
    // Of those in trouble, whoever has waited longest; whoever is not in trouble comes first.
    let found = conn.find(
        "SELECT f.office, o.name, f.audience, coalesce(r.tries, 0)
         FROM (SELECT DISTINCT office, audience FROM foreign_stamp WHERE refunded IS NOT NULL) f
         JOIN office o ON o.id = f.office
         LEFT JOIN reporting r ON r.office = f.office AND r.audience = f.audience
         WHERE r.due IS NULL OR r.due <= ?1 ORDER BY coalesce(r.due, 0) LIMIT 1",
        [stored_time(now)],
        columns::<(i64, Domain, Domain, u32)>,
    )?;
    let Some((number, office, audience, tries)) = found else { return Ok(None) };
    let refunds = conn.all(
        "SELECT redeemed, id, field FROM foreign_stamp
         WHERE office = ?1 AND audience = ?2 AND refunded IS NOT NULL ORDER BY redeemed LIMIT ?3",
        params![number, audience, REPORTED_AT_ONCE_MAX],
        |row| Ok(Refund { redemption: row.get(0)?, id: row.get(1)?, field: row.get(2)? }),
    )?;
    Ok(Some(Report { office, audience, tries, refunds }))
}

fn report_taken(conn: &Connection, report: &Report) -> Result<(), Fail> {
    for refund in &report.refunds {
        conn.change("DELETE FROM foreign_stamp WHERE redeemed = ?1", [refund.redemption])?;
    }
    conn.change(
        "DELETE FROM reporting WHERE office = (SELECT id FROM office WHERE name = ?1) AND audience = ?2",
        [report.office.as_str(), report.audience.as_str()],
    )?;
    Ok(())
}

fn report_failed(conn: &Connection, report: &Report, trouble: &str, due: u64) -> Result<(), Fail> {
    let trouble: String = trouble.chars().take(TROUBLE_CHARS_MAX).collect();
    let tries = report.tries.saturating_add(1);
    conn.change(
        "INSERT INTO reporting (office, audience, tries, due, trouble)
         VALUES ((SELECT id FROM office WHERE name = ?1), ?2, ?3, ?4, ?5)
         ON CONFLICT (office, audience) DO UPDATE SET tries = ?3, due = ?4, trouble = ?5",
        params![report.office, report.audience, tries, stored_time(due), trouble],
    )?;
    Ok(())
}

/// Lets go fields of stamps whose postage does not go back any more, and refunds that no office took for too long.
pub(super) fn forget(conn: &Connection, at_once: u32, clock: u64) -> Result<u64, Fail> {
    let mut dropped = conn.change(
        "DELETE FROM foreign_stamp WHERE redeemed IN
         (SELECT redeemed FROM foreign_stamp WHERE redeemed <= ?1 AND refunded IS NULL LIMIT ?2)",
        params![settled_to(conn)?, at_once],
    )?;
    let given_up = conn.change(
        "DELETE FROM foreign_stamp WHERE redeemed IN
         (SELECT redeemed FROM foreign_stamp WHERE refunded IS NOT NULL AND refunded < ?1 LIMIT ?2)",
        params![stored_time(clock.saturating_sub(REPORT_KEPT_S)), at_once],
    )?;
    if given_up > 0 {
        tracing::warn!(refunds = given_up, "refunds were given up that their offices have not taken");
        // Trouble with an office that is told nothing any more is none.
        conn.change(
            "DELETE FROM reporting WHERE NOT EXISTS (SELECT 1 FROM foreign_stamp f
             WHERE f.office = reporting.office AND f.audience = reporting.audience AND f.refunded IS NOT NULL)",
            [],
        )?;
    }
    dropped += given_up;
    Ok(dropped as u64)
}

fn standings(conn: &Connection) -> Result<Vec<Standing>, Fail> {
    // ';' is the character after ':', so the range is every name with the prefix.
    conn.all(
        "SELECT substr(a.name, 8), a.balance, count(f.redeemed), min(f.refunded),
                (SELECT r.trouble FROM reporting r WHERE r.office = o.id ORDER BY r.due LIMIT 1),
                (SELECT min(r.due) FROM reporting r WHERE r.office = o.id)
         FROM account a LEFT JOIN office o ON o.name = substr(a.name, 8)
         LEFT JOIN foreign_stamp f ON f.office = o.id AND f.refunded IS NOT NULL
         WHERE a.name > 'office:' AND a.name < 'office;' GROUP BY a.id ORDER BY a.name",
        [],
        |row| {
            let (trouble, due): (Option<String>, Option<i64>) = (row.get(4)?, row.get(5)?);
            Ok(Standing {
                office: row.get(0)?,
                outstanding: owed(row.get(1)?)?,
                waiting: row.get::<_, i64>(2)?.unsigned_abs(),
                oldest: row.get::<_, Option<i64>>(3)?.map(read_time),
                trouble: trouble.zip(due.map(read_time)),
            })
        },
    )
}

/// The balance of an account as it was committed; zero for one that is not there.
pub(super) fn balance(conn: &Connection, account: &str) -> Result<i64, Fail> {
    Ok(conn.value("SELECT balance FROM account WHERE name = ?1", [account])?.unwrap_or_default())
}

/// What an office owes, by the balance of its account: above zero when it was forgiven what went back later.
pub(super) fn owed(balance: i64) -> Result<Micros, Fail> {
    let owed = balance.min(0).checked_neg().ok_or_else(Fail::overflow)?;
    Micros::from_signed(owed).ok_or_else(Fail::overflow)
}

/// A stamp that our office sold for a foreign domain.
struct Sold {
    order: i64,
    buyer: String,
    value: Micros,
    expiry: i64,
    open: bool,
    reported: bool,
}

fn give_back(
    batch: &mut Batch<'_>,
    audience: &Domain,
    ids: &[StampId],
    now: u64,
) -> Result<Vec<StampId>, Fail> {
    let mut given = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(sold) = sold(batch.conn, audience, id)? else { continue };
        if !sold.reported {
            if !sold.open || is_redeemed_here(batch, &sold, id)? {
                continue;
            }
            let entry = batch.enter(&NewEntry {
                time: stored_time(now),
                kind: "settlement",
                debit: "stamps",
                credit: &sold.buyer,
                amount: sold.value,
                memo: audience.as_str(),
                redeemed: None,
            })?;
            batch.enter_reported(entry, sold.order, id)?;
        }
        given.push(*id);
    }
    Ok(given)
}

fn sold(conn: &Connection, audience: &Domain, id: &StampId) -> Result<Option<Sold>, Fail> {
    conn.find(
        "SELECT o.seq, a.name, o.value, o.expiry, o.closed IS NULL,
                EXISTS (SELECT 1 FROM reported r WHERE r.id = s.id)
         FROM sold s JOIN orders o ON o.seq = s.order_seq JOIN account a ON a.id = o.account
         WHERE s.id = ?1 AND o.audience = ?2",
        params![id, audience],
        |row| {
            Ok(Sold {
                order: row.get(0)?,
                buyer: row.get(1)?,
                value: row.get(2)?,
                expiry: row.get(3)?,
                open: row.get(4)?,
                reported: row.get(5)?,
            })
        },
    )
}

/// Whether the stamp was redeemed in these very books, when its domain was still one of ours.
fn is_redeemed_here(batch: &Batch<'_>, sold: &Sold, id: &StampId) -> Result<bool, Fail> {
    let Some(own) = &batch.site.office else { return Ok(true) };
    let day = read_time(sold.expiry) / DAY_S;
    batch.conn.has(
        "SELECT 1 FROM redeemed
         WHERE day = ?1 AND office = (SELECT id FROM office WHERE name = ?2) AND id = ?3",
        params![stored_time(day), own, id],
    )
}

fn forgive(batch: &mut Batch<'_>, office: &Domain, amount: Micros, now: u64) -> Result<Micros, Fail> {
    let account = office_account(office);
    let owed = owed(batch.balance_of(&account)?)?;
    let mut left = amount.min(owed);
    let mut given = Micros::ZERO;
    for end in ENDS {
        let held = Micros::from_signed(batch.balance_of(end)?).unwrap_or_default();
        let part = left.min(held);
        if part == Micros::ZERO {
            continue;
        }
        batch.enter(&NewEntry {
            time: stored_time(now),
            kind: "forgive",
            debit: end,
            credit: &account,
            amount: part,
            memo: "",
            redeemed: None,
        })?;
        left = left.checked_sub(part).unwrap_or_default();
        given = given.checked_add(part).ok_or_else(Fail::overflow)?;
    }
    Ok(given)
}

#[async_trait]
impl Foreign for SqliteLedger {
    async fn next_report(&self, now: u64) -> Result<Option<Report>, LedgerError> {
        self.readers.read(move |conn| next_report(conn, now)).await
    }

    async fn report_taken(&self, report: &Report) -> Result<(), LedgerError> {
        let report = report.clone();
        self.write(move |batch| report_taken(batch.conn, &report)).await
    }

    async fn report_failed(&self, report: &Report, trouble: &str, due: u64) -> Result<(), LedgerError> {
        let (report, trouble) = (report.clone(), trouble.to_owned());
        self.write(move |batch| report_failed(batch.conn, &report, &trouble, due)).await
    }

    async fn standings(&self) -> Result<Vec<Standing>, LedgerError> {
        self.readers.read(standings).await
    }

    async fn give_back(
        &self,
        audience: &Domain,
        ids: &[StampId],
        now: u64,
    ) -> Result<Vec<StampId>, LedgerError> {
        let (audience, ids) = (audience.clone(), ids.to_vec());
        self.write(move |batch| give_back(batch, &audience, &ids, now)).await
    }

    async fn forgive(&self, office: &Domain, amount: Micros, now: u64) -> Result<Micros, LedgerError> {
        let office = office.clone();
        self.write(move |batch| forgive(batch, &office, amount, now)).await
    }
}
