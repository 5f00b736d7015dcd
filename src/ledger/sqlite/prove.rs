//! Reads every row of the books, in order of the batches, for the proof; and asks SQLite about its own keys.
//!
//! One read transaction: the proof is about one commit, whatever is written meanwhile. Memory grows with the
//! accounts and orders, not with the redemptions.

use std::collections::HashMap;

use rusqlite::{
    Connection, OptionalExtension, Row, Statement, Transaction, TransactionBehavior,
    fallible_streaming_iterator::FallibleStreamingIterator,
};

use super::{
    batch::{CUT, may_be_negative, newest_cut, read_cut},
    fail::Fail,
    funding,
    rows::{Statements as _, columns},
    schema,
    settling::settled_to,
};
use crate::ledger::{
    Proof,
    chain::{EntryRow, Head, OrderRow, RedeemedRow, SoldRow},
    check::{GivenBack, Prover, ReportedAs, SoldAs},
};

/// Faults of its own that SQLite is asked for.
const SQLITE_FAULTS_MAX: i64 = 20;

/// Proves the books.
pub(super) fn prove(conn: &Connection) -> Result<Proof, Fail> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Deferred)?;
    let mut prover = Prover::new(newest_cut(conn)?);
    ask_sqlite(conn, &mut prover)?;
    for fault in funding::faults(conn)? {
        prover.fault(fault);
    }
    let names = Names { accounts: numbered(conn, "account")?, offices: numbered(conn, "office")? };
    let mut all = conn.prepare("SELECT name, carried FROM account")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        prover.carried(&name, row.get(1)?);
    }
    walk(conn, &names, &mut prover)?;
    let mut orders = conn.prepare("SELECT seq, redeemed FROM orders")?;
    let mut rows = orders.query([])?;
    while let Some(row) = rows.next()? {
        prover.order_redeemed(row.get(0)?, row.get(1)?);
    }
    let settled_to = settled_to(conn)?;
    prover.settled_to(settled_to);
    let waiting = waiting(conn, settled_to)?;
    let mut total = 0_i128;
    let mut accounts = conn.prepare("SELECT name, balance, id FROM account ORDER BY name")?;
    let mut rows = accounts.query([])?;
    while let Some(row) = rows.next()? {
        let (name, balance): (String, i64) = (row.get(0)?, row.get(1)?);
        prover.balance(&name, balance, may_be_negative(&name));
        if name.starts_with("escrow:") {
            prover.escrow(&name, balance, waiting.get(&row.get(2)?).copied().unwrap_or_default());
        }
        total += i128::from(balance);
    }
    drop(transaction);
    Ok(prover.conclude(total))
}

/// What can still be given back, for each account it waits in.
fn waiting(conn: &Connection, settled_to: i64) -> Result<HashMap<i64, i128>, Fail> {
    let mut find = conn.prepare(
        "SELECT r.credit, r.amount FROM redeemed r
         WHERE r.seq > ?1 AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.redeemed = r.seq)",
    )?;
    let mut rows = find.query([settled_to])?;
    let mut sums = HashMap::new();
    while let Some(row) = rows.next()? {
        *sums.entry(row.get(0)?).or_default() += i128::from(row.get::<_, i64>(1)?);
    }
    Ok(sums)
}

/// Torn pages, rows missing from an index, keys twice, references into nothing.
fn ask_sqlite(conn: &Connection, prover: &mut Prover) -> Result<(), Fail> {
    for name in schema::deviations(conn)? {
        prover.fault(format!("{name} is not as this program made it: tables or keys were changed by hand"));
    }
    let mut check = conn.prepare(&format!("PRAGMA integrity_check({SQLITE_FAULTS_MAX})"))?;
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        let words: String = row.get(0)?;
        if words != "ok" {
            prover.fault(format!("SQLite: {words}"));
        }
    }
    let mut check = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        prover.fault(format!("a row of {table} names a row of {parent} that is not there"));
    }
    Ok(())
}

struct Names {
    accounts: HashMap<i64, String>,
    offices: HashMap<i64, String>,
}

impl Names {
    fn account(&self, id: i64) -> &str {
        self.accounts.get(&id).map_or("an account that is not there", String::as_str)
    }

    fn office(&self, id: i64) -> &str {
        self.offices.get(&id).map_or("an office that is not there", String::as_str)
    }
}

fn numbered(conn: &Connection, table: &str) -> Result<HashMap<i64, String>, Fail> {
    let named: Vec<(i64, String)> = conn.all(&format!("SELECT id, name FROM {table}"), [], columns)?;
    Ok(named.into_iter().collect())
}

/// A table read row by row, one row ahead.
struct Ahead<'s> {
    rows: rusqlite::Rows<'s>,
    /// Batch of the row that comes next.
    next: Option<i64>,
}

impl<'s> Ahead<'s> {
    fn new(statement: &'s mut Statement<'_>) -> Result<Self, Fail> {
        let mut ahead = Self { rows: statement.query([])?, next: None };
        ahead.step()?;
        Ok(ahead)
    }

    /// Reads on; the first column of every statement is the batch.
    fn step(&mut self) -> Result<(), Fail> {
        self.rows.advance()?;
        self.next = self.rows.get().map(|row| row.get(0)).transpose()?;
        Ok(())
    }

    /// The row at hand if it is of this batch.
    fn of(&self, batch: i64) -> Option<&Row<'s>> {
        if self.next == Some(batch) { self.rows.get() } else { None }
    }
}

/// Goes through the three tables side by side, a batch at a time.
fn walk(conn: &Connection, names: &Names, prover: &mut Prover) -> Result<(), Fail> {
    let mut entries = conn.prepare(
        "SELECT batch, seq, time, kind, debit, credit, amount, memo, redeemed FROM journal ORDER BY seq",
    )?;
    let mut redeemed = conn.prepare(
        "SELECT r.batch, r.seq, r.time, r.day, r.office, r.id, r.debit, r.credit, r.amount, r.order_seq, r.number,
                r.claim, r.recipient, r.author, r.authenticated, o.seq, o.audience, o.value, o.expiry
         FROM redeemed r LEFT JOIN sold s ON r.order_seq IS NOT NULL AND s.id = r.id
                         LEFT JOIN orders o ON o.seq = s.order_seq
         ORDER BY r.seq",
    )?;
    let mut heads = conn.prepare("SELECT batch, time, rows, root, head FROM heads ORDER BY batch")?;
    let mut cuts = conn.prepare(&format!("{CUT} ORDER BY batch"))?;
    let (mut entries, mut redeemed, mut heads, mut cuts) = (
        Ahead::new(&mut entries)?,
        Ahead::new(&mut redeemed)?,
        Ahead::new(&mut heads)?,
        Ahead::new(&mut cuts)?,
    );
    let mut orders = Orders::new(conn)?;
    while let Some(batch) = [entries.next, redeemed.next, heads.next, cuts.next].into_iter().flatten().min() {
        prover.open_batch(batch);
        while let Some(row) = entries.of(batch) {
            read_entry(conn, names, row, &mut orders, prover)?;
            entries.step()?;
        }
        while let Some(row) = redeemed.of(batch) {
            read_redeemed(names, row, prover)?;
            redeemed.step()?;
        }
        while let Some(row) = cuts.of(batch) {
            prover.cut(read_cut(row)?);
            cuts.step()?;
        }
        let head = heads.of(batch).map(read_head).transpose()?;
        prover.close_batch(head.as_ref());
        if head.is_some() {
            heads.step()?;
        }
    }
    Ok(())
}

fn read_head(row: &Row<'_>) -> Result<Head, Fail> {
    Ok(Head {
        batch: row.get(0)?,
        time: row.get(1)?,
        rows: row.get(2)?,
        root: row.get(3)?,
        head: row.get(4)?,
    })
}

fn read_entry(
    conn: &Connection,
    names: &Names,
    row: &Row<'_>,
    orders: &mut Orders<'_>,
    prover: &mut Prover,
) -> Result<(), Fail> {
    let (kind, memo): (String, String) = (row.get(3)?, row.get(7)?);
    let entry = EntryRow {
        seq: row.get(1)?,
        time: row.get(2)?,
        kind: &kind,
        debit: names.account(row.get(4)?),
        credit: names.account(row.get(5)?),
        amount: row.get(6)?,
        memo: &memo,
        redeemed: row.get(8)?,
    };
    let Some(redeemed) = entry.redeemed else {
        prover.entry(&entry, None);
        return match kind.as_str() {
            "sell" => orders.read(names, &entry, prover),
            "keep" | "burn" | "return" => read_ended(conn, names, &entry, prover),
            "settlement" => read_reported(conn, names, &entry, prover),
            _ => Ok(()),
        };
    };
    let mut find = conn.prepare_cached(
        "SELECT r.debit, r.credit, r.amount, o.account, r.order_seq FROM redeemed r LEFT JOIN orders o ON o.seq = r.order_seq
         WHERE r.seq = ?1",
    )?;
    let back = find.query_row([redeemed], |row| {
        let buyer: Option<i64> = row.get(3)?;
        Ok(GivenBack {
            debit: names.account(row.get(0)?),
            credit: names.account(row.get(1)?),
            amount: row.get(2)?,
            order: row.get(4)?,
            buyer: buyer.map(|id| names.account(id)),
        })
    });
    prover.entry(&entry, back.optional()?.as_ref());
    Ok(())
}

/// What an entry settles, or which order it ends.
fn read_ended(
    conn: &Connection,
    names: &Names,
    entry: &EntryRow<'_>,
    prover: &mut Prover,
) -> Result<(), Fail> {
    let sql = "SELECT escrow, first, last FROM settled WHERE entry = ?1";
    let range: Option<(i64, i64, i64)> = conn.find(sql, [entry.seq], columns)?;
    let order: Option<(i64, Option<i64>)> = conn.find(
        "SELECT c.order_seq, o.account FROM closed c LEFT JOIN orders o ON o.seq = c.order_seq
         WHERE c.entry = ?1",
        [entry.seq],
        columns,
    )?;
    match (range, order) {
        (Some((escrow, first, last)), None) => {
            let mut find = conn.prepare_cached(
                "SELECT r.amount FROM redeemed r WHERE r.seq BETWEEN ?1 AND ?2 AND r.credit = ?3
                 AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.redeemed = r.seq)",
            )?;
            let mut rows = find.query([first, last, escrow])?;
            let mut sum = 0;
            while let Some(row) = rows.next()? {
                sum += i128::from(row.get::<_, i64>(0)?);
            }
            prover.settled(entry, first, last, sum);
        }
        (None, Some((order, account))) => {
            prover.closed(entry, order, account.map(|id| names.account(id)));
        }
        _ => prover.fault(format!("entry {} does not say what it ends", entry.seq)),
    }
    Ok(())
}

/// Which stamp an entry gives back that a foreign domain redeemed.
fn read_reported(
    conn: &Connection,
    names: &Names,
    entry: &EntryRow<'_>,
    prover: &mut Prover,
) -> Result<(), Fail> {
    let mut find = conn.prepare_cached(
        "SELECT p.order_seq, p.id, s.order_seq, o.account, o.value,
                EXISTS (SELECT 1 FROM redeemed r WHERE r.day = o.expiry / 86400 AND r.office IN (SELECT id FROM office)
                                                   AND r.id = p.id AND r.order_seq = p.order_seq)
         FROM reported p LEFT JOIN sold s ON s.id = p.id LEFT JOIN orders o ON o.seq = s.order_seq WHERE p.entry = ?1",
    )?;
    let mut rows = find.query([entry.seq])?;
    let Some(row) = rows.next()? else {
        prover.fault(format!("entry {} does not say which stamp it gives back", entry.seq));
        return Ok(());
    };
    let id = row.get_ref(1)?.as_blob()?;
    let sold = match (row.get(2)?, row.get(3)?, row.get(4)?) {
        (Some(order), Some(account), Some(value)) => {
            Some(ReportedAs { order, buyer: names.account(account), value, redeemed_here: row.get(5)? })
        }
        _ => None,
    };
    prover.reported(entry, row.get(0)?, id, sold.as_ref());
    Ok(())
}

/// Orders and their stamps, looked up for each entry of kind `sell`.
struct Orders<'c> {
    order: Statement<'c>,
    stamps: Statement<'c>,
}

impl<'c> Orders<'c> {
    fn new(conn: &'c Connection) -> Result<Self, Fail> {
        Ok(Self {
            order: conn.prepare(
                "SELECT account, audience, value, expiry, selector, stamps FROM orders WHERE seq = ?1",
            )?,
            stamps: conn
                .prepare("SELECT id, holder, signature FROM sold WHERE order_seq = ?1 ORDER BY id")?,
        })
    }

    fn read(&mut self, names: &Names, entry: &EntryRow<'_>, prover: &mut Prover) -> Result<(), Fail> {
        let mut orders = self.order.query([entry.seq])?;
        let Some(row) = orders.next()? else {
            prover.fault(format!("entry {} is a sale without its order", entry.seq));
            return Ok(());
        };
        let (audience, selector): (String, String) = (row.get(1)?, row.get(4)?);
        let order = OrderRow {
            account: names.account(row.get(0)?),
            audience: &audience,
            value: row.get(2)?,
            expiry: row.get(3)?,
            selector: &selector,
            stamps: row.get(5)?,
        };
        prover.order(entry, &order);
        let mut stamps = self.stamps.query([entry.seq])?;
        let mut found = 0;
        while let Some(row) = stamps.next()? {
            let blob = |at| row.get_ref(at)?.as_blob().map_err(rusqlite::Error::from);
            prover.sold(&SoldRow { id: blob(0)?, holder: blob(1)?, signature: blob(2)? });
            found += 1;
        }
        prover.order_ends(entry.seq, order.stamps, found);
        Ok(())
    }
}

fn read_redeemed(names: &Names, row: &Row<'_>, prover: &mut Prover) -> Result<(), Fail> {
    let blob = |at| row.get_ref(at)?.as_blob_or_null().map_err(rusqlite::Error::from);
    let whole = |at| blob(at).map(Option::unwrap_or_default);
    let redeemed = RedeemedRow {
        seq: row.get(1)?,
        time: row.get(2)?,
        day: row.get(3)?,
        office: names.office(row.get(4)?),
        id: whole(5)?,
        debit: names.account(row.get(6)?),
        credit: names.account(row.get(7)?),
        amount: row.get(8)?,
        order: row.get(9)?,
        number: row.get(10)?,
        claim: whole(11)?,
        recipient: whole(12)?,
        author: blob(13)?,
        authenticated: row.get(14)?,
    };
    let audience: Option<String> = row.get(16)?;
    let sold = match (row.get::<_, Option<i64>>(15)?, &audience) {
        (Some(order), Some(audience)) => {
            Some(SoldAs { order, audience, value: row.get(17)?, expiry: row.get(18)? })
        }
        _ => None,
    };
    prover.redeemed(&redeemed, sold.as_ref());
    Ok(())
}
