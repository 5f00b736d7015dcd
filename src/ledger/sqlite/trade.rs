//! Selling stamps, and the accounts that buy them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    batch::{Batch, NewEntry, short_of},
    fail::{Fail, read_time, stored_time},
    foreign,
    rows::{Statements, columns},
};
use crate::{
    ledger::{
        AccountKey, AccountState, Entry, LedgerError, ORDER_STAMPS_MAX, Order, OrderedStamp, Sale, SoldStamp,
        StampId,
        chain::{OrderRow, SoldRow},
    },
    money::Micros,
};

/// Begins the name of a buyer's account.
const ACCOUNT_PREFIX: &str = "account:";

/// Where money stands between sale and redemption.
const STAMPS: &str = "stamps";

/// Sells an order, or says why not and does nothing (SPEC.md §10).
pub(super) fn sell(batch: &mut Batch<'_>, order: &Order) -> Result<Sale, Fail> {
    let mut stamps: Vec<&OrderedStamp> = order.stamps.iter().collect();
    stamps.sort_unstable_by_key(|stamp| stamp.id);
    if stamps.is_empty() || stamps.len() > ORDER_STAMPS_MAX {
        return Err(Fail::invalid("an order has 1 to 1,000 stamps"));
    }
    if stamps.windows(2).any(|pair| matches!(pair, [a, b] if a.id == b.id)) {
        return Err(Fail::invalid("the order names an id twice"));
    }
    if order.value == Micros::ZERO {
        return Err(Fail::invalid("a stamp has a value"));
    }
    let mut is_sold = batch.conn.prepare_cached("SELECT 1 FROM sold WHERE id = ?1")?;
    for stamp in &stamps {
        if is_sold.exists([stamp.id])? {
            return Ok(Sale::SomeSold);
        }
    }
    let Some(price) = order.value.checked_mul(stamps.len() as u64) else {
        return Err(Fail::Refused(LedgerError::Overflow));
    };
    let account = account_name(&order.account);
    let balance = amount(batch.balance_of(&account)?)?;
    let Some(left) = balance.checked_sub(price) else { return Ok(Sale::Short(balance)) };
    let seq = batch.enter(&NewEntry {
        time: stored_time(order.now),
        kind: "sell",
        debit: &account,
        credit: STAMPS,
        amount: price,
        memo: "",
        redeemed: None,
    })?;
    let row = OrderRow {
        account: &account,
        audience: order.audience.as_str(),
        value: order.value.signed(),
        expiry: stored_time(order.expiry),
        selector: &order.selector,
        stamps: i64::try_from(stamps.len()).unwrap_or(i64::MAX),
    };
    batch.enter_order(seq, &row)?;
    for OrderedStamp { id, holder, signature } in stamps {
        batch.enter_sold(seq, &SoldRow { id, holder, signature })?;
    }
    Ok(Sale::Sold(left))
}

/// The stamps of these ids, in order.
pub(super) fn sold(conn: &Connection, ids: &[StampId]) -> Result<Vec<Option<SoldStamp>>, Fail> {
    // One snapshot: a sale that commits meanwhile is seen whole or not at all.
    let snapshot = conn.unchecked_transaction()?;
    let mut find = snapshot.prepare_cached(
        "SELECT s.holder, s.signature, a.name, o.audience, o.value, o.expiry, o.selector
         FROM sold s JOIN orders o ON o.seq = s.order_seq JOIN account a ON a.id = o.account WHERE s.id = ?1",
    )?;
    let read = |id: &StampId| find.query_row([id], |row| Ok(read_sold(*id, row))).optional()?.transpose();
    ids.iter().map(read).collect()
}

fn read_sold(id: StampId, row: &Row<'_>) -> Result<SoldStamp, Fail> {
    let name: String = row.get(2)?;
    Ok(SoldStamp {
        account: account_key(&name)?,
        audience: row.get(3)?,
        value: row.get(4)?,
        expiry: read_time(row.get(5)?),
        selector: row.get(6)?,
        stamp: OrderedStamp { id, holder: row.get(0)?, signature: row.get(1)? },
    })
}

/// A movement between an account and where its money comes from.
pub(super) struct Funding {
    pub key: AccountKey,
    pub source: String,
    pub amount: Micros,
    pub memo: String,
    pub now: u64,
}

/// Moves money from its source to the account; returns the new balance.
pub(super) fn credit(batch: &mut Batch<'_>, funding: &Funding) -> Result<Micros, Fail> {
    let name = account_name(&funding.key);
    move_funds(batch, funding, "credit", &source_account(&funding.source), &name)
}

/// Moves money from the account back to its source; returns the new balance.
pub(super) fn debit(batch: &mut Batch<'_>, funding: &Funding) -> Result<Micros, Fail> {
    let name = account_name(&funding.key);
    let balance = batch.balance_of(&name)?;
    if balance < funding.amount.signed() {
        return Err(short_of(balance));
    }
    move_funds(batch, funding, "debit", &name, &source_account(&funding.source))
}

fn move_funds(
    batch: &mut Batch<'_>,
    funding: &Funding,
    kind: &'static str,
    from: &str,
    to: &str,
) -> Result<Micros, Fail> {
    if funding.amount == Micros::ZERO {
        return Err(Fail::invalid("an amount is more than nothing"));
    }
    batch.enter(&NewEntry {
        time: stored_time(funding.now),
        kind,
        debit: from,
        credit: to,
        amount: funding.amount,
        memo: &funding.memo,
        redeemed: None,
    })?;
    amount(batch.balance_of(&account_name(&funding.key))?)
}

const STATE: &str = "SELECT a.name, a.balance, (SELECT sum(o.value * (o.stamps - o.redeemed)) FROM orders o
    WHERE o.account = a.id AND o.expiry >= ?1) FROM account a";

/// What an account holds, and what its unused stamps are worth.
pub(super) fn account(conn: &Connection, key: &AccountKey, now: u64) -> Result<AccountState, Fail> {
    let sql = format!("{STATE} WHERE a.name = ?2");
    let found = conn.find(&sql, params![stored_time(now), account_name(key)], read_state)?;
    Ok(found.unwrap_or(AccountState { balance: Micros::ZERO, outstanding: Micros::ZERO }))
}

/// What an account holds, alone.
pub(super) fn balance(conn: &Connection, key: &AccountKey) -> Result<Micros, Fail> {
    amount(foreign::balance(conn, &account_name(key))?)
}

/// The same of every buyer's account.
pub(super) fn accounts(conn: &Connection, now: u64) -> Result<Vec<(AccountKey, AccountState)>, Fail> {
    // ';' is the character after ':', so the range is every name with the prefix.
    let sql = format!("{STATE} WHERE a.name > 'account:' AND a.name < 'account;' ORDER BY a.name");
    conn.all(&sql, [stored_time(now)], |row| {
        let name: String = row.get(0)?;
        Ok((account_key(&name)?, read_state(row)?))
    })
}

fn read_state(row: &Row<'_>) -> Result<AccountState, Fail> {
    Ok(AccountState {
        balance: row.get(1)?,
        outstanding: row.get::<_, Option<Micros>>(2)?.unwrap_or_default(),
    })
}

/// The newest entries of an account of that name, newest first.
pub(super) fn entries(conn: &Connection, name: &str, count_max: u32) -> Result<Vec<Entry>, Fail> {
    // Two indices merged from their ends: what is read is what is told, however long the account's history.
    conn.all(
        "SELECT seq, time, kind, amount, memo FROM journal
         WHERE credit = (SELECT id FROM account WHERE name = ?1)
         UNION ALL
         SELECT seq, time, kind, -amount, memo FROM journal
         WHERE debit = (SELECT id FROM account WHERE name = ?1)
         ORDER BY seq DESC LIMIT ?2",
        params![name, count_max],
        |row| {
            let time = read_time(row.get(1)?);
            Ok(Entry { time, kind: row.get(2)?, amount: row.get(3)?, memo: row.get(4)? })
        },
    )
}

/// Every account by name, as one commit left them.
pub(super) fn balances(conn: &Connection) -> Result<Vec<(String, i64)>, Fail> {
    conn.all("SELECT name, balance FROM account ORDER BY name", [], columns)
}

pub(super) fn account_name(key: &AccountKey) -> String {
    format!("{ACCOUNT_PREFIX}{key}")
}

fn account_key(name: &str) -> Result<AccountKey, Fail> {
    let key = name.strip_prefix(ACCOUNT_PREFIX).and_then(|b64| {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(b64.as_bytes()).ok()?;
        bytes.try_into().ok().map(AccountKey)
    });
    key.ok_or_else(|| Fail::damaged(format!("`{name}` is no buyer's account")))
}

fn source_account(source: &str) -> String {
    if source == "grants" { source.to_owned() } else { format!("funding:{source}") }
}

pub(super) fn amount(micros: i64) -> Result<Micros, Fail> {
    Micros::from_signed(micros).ok_or_else(|| Fail::damaged("an amount that cannot be negative is"))
}
