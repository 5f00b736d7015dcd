//! Logins' own accounts in SQLite.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteLedger,
    batch::{Batch, NewEntry, short_of},
    fail::{Fail, stored_time},
    franking::{amount, counted, domain},
    returns, trade,
};
use crate::{
    address::Domain,
    ledger::{
        AccountKey, Entry, LedgerError, StampId,
        franking::PurseStamp,
        logins::{
            FRANKING, LOGIN_PREFIX, Logins, RETURNS_AFTER_EXPIRY_S, RETURNS_ASKED_EVERY_S, RETURNS_ASKED_MAX,
        },
    },
    money::Micros,
};

/// Where money comes from and goes to when an admin moves it by hand.
const SOURCE: &str = "funding:credit";

fn account_name(login: &str) -> String {
    format!("{LOGIN_PREFIX}{login}")
}

/// What a login's account holds.
pub(super) fn balance(batch: &mut Batch<'_>, login: &str) -> Result<Micros, Fail> {
    amount(batch.balance_of(&account_name(login))?)
}

/// Takes from a login's account what the stamps of a letter cost.
pub(super) fn pay(
    batch: &mut Batch<'_>,
    login: &str,
    cost: Micros,
    stamps: usize,
    now: u64,
) -> Result<(), Fail> {
    let memo = format!("{stamps} stamps on a letter");
    transfer(batch, "frank", &account_name(login), FRANKING, cost, &memo, now)
}

/// Gives back what was paid for a stamp that never came.
pub(super) fn pay_back(batch: &mut Batch<'_>, login: &str, cost: Micros, now: u64) -> Result<(), Fail> {
    transfer(batch, "unfrank", FRANKING, &account_name(login), cost, "no stamp could be bought", now)
}

fn transfer(
    batch: &mut Batch<'_>,
    kind: &'static str,
    debit: &str,
    credit: &str,
    amount: Micros,
    memo: &str,
    now: u64,
) -> Result<(), Fail> {
    if amount == Micros::ZERO {
        return Err(Fail::invalid("an amount is more than nothing"));
    }
    let time = stored_time(now);
    batch.enter(&NewEntry { time, kind, debit, credit, amount, memo, redeemed: None })?;
    Ok(())
}

/// Writes down whose the money is if this stamp comes back.
pub(super) fn note_charge(
    conn: &Connection,
    login: &str,
    stamp: &PurseStamp,
    charged: Micros,
    now: u64,
) -> Result<(), Fail> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO franked_charge (office, id, login, charged, ends, asked) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let ends = stored_time(stamp.expiry.saturating_add(RETURNS_AFTER_EXPIRY_S));
    insert.execute(params![
        stamp.office.as_str(),
        stamp.id,
        login,
        charged.signed(),
        ends,
        stored_time(now)
    ])?;
    Ok(())
}

fn is_any_to_ask(conn: &Connection, now: u64) -> Result<bool, Fail> {
    let before = stored_time(now.saturating_sub(RETURNS_ASKED_EVERY_S));
    let mut find = conn.prepare_cached(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM franked_charge WHERE asked < ?1)
                     OR EXISTS (SELECT 1 FROM franked_charge WHERE ends < ?2)",
    )?;
    Ok(find.exists(params![before, stored_time(now)])?)
}

fn to_ask(conn: &Connection, now: u64) -> Result<Option<(Domain, Vec<StampId>)>, Fail> {
    conn.prepare_cached("DELETE FROM franked_charge WHERE ends < ?1")?.execute([stored_time(now)])?;
    let before = stored_time(now.saturating_sub(RETURNS_ASKED_EVERY_S));
    let mut find =
        conn.prepare_cached("SELECT office FROM franked_charge WHERE asked < ?1 ORDER BY asked LIMIT 1")?;
    let Some(office) = find.query_row([before], |row| row.get::<_, String>(0)).optional()? else {
        return Ok(None);
    };
    let mut find = conn.prepare_cached(
        "SELECT id FROM franked_charge WHERE office = ?1 AND asked < ?2 ORDER BY asked LIMIT ?3",
    )?;
    let rows = find.query_map(params![office, before, RETURNS_ASKED_MAX], |row| row.get(0))?;
    let ids: Vec<StampId> = rows.collect::<Result<_, _>>()?;
    let mut note =
        conn.prepare_cached("UPDATE franked_charge SET asked = ?3 WHERE office = ?1 AND id = ?2")?;
    for id in &ids {
        note.execute(params![office, id, stored_time(now)])?;
    }
    Ok(Some((domain(&office)?, ids)))
}

fn returned(batch: &mut Batch<'_>, office: &Domain, ids: &[StampId], now: u64) -> Result<usize, Fail> {
    let mut count = 0;
    for id in ids {
        // The row goes: what comes back does so once.
        let mut take = batch.conn.prepare_cached(
            "DELETE FROM franked_charge WHERE office = ?1 AND id = ?2 RETURNING login, charged",
        )?;
        let row =
            take.query_row(params![office.as_str(), id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
        let Some((login, charged)) = row.optional()? else { continue };
        let memo = format!("{office} gives back {}", data_encoding::BASE64URL_NOPAD.encode(id));
        transfer(batch, "unfrank", FRANKING, &account_name(&login), amount(charged)?, &memo, now)?;
        count += 1;
    }
    Ok(count)
}

fn accounts(conn: &Connection) -> Result<Vec<(String, Micros)>, Fail> {
    // ';' is the character after ':', so the range is every name with the prefix.
    let mut find = conn.prepare_cached(
        "SELECT name, balance FROM account WHERE name > 'login:' AND name < 'login;' ORDER BY name",
    )?;
    let rows = find.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let mut accounts = Vec::new();
    for row in rows {
        let (name, balance) = row?;
        let login = name.strip_prefix(LOGIN_PREFIX).unwrap_or(&name);
        accounts.push((login.to_owned(), amount(balance)?));
    }
    Ok(accounts)
}

#[async_trait::async_trait]
impl Logins for SqliteLedger {
    async fn login_credit(
        &self,
        login: &str,
        amount: Micros,
        memo: &str,
        now: u64,
    ) -> Result<Micros, LedgerError> {
        let (login, memo) = (counted(login), memo.to_owned());
        self.write(move |batch| {
            transfer(batch, "credit", SOURCE, &account_name(&login), amount, &memo, now)?;
            balance(batch, &login)
        })
        .await
    }

    async fn login_debit(
        &self,
        login: &str,
        amount: Micros,
        memo: &str,
        now: u64,
    ) -> Result<Micros, LedgerError> {
        let (login, memo) = (counted(login), memo.to_owned());
        self.write(move |batch| {
            let held = balance(batch, &login)?;
            if held < amount {
                return Err(short_of(held.signed()));
            }
            transfer(batch, "debit", &account_name(&login), SOURCE, amount, &memo, now)?;
            balance(batch, &login)
        })
        .await
    }

    async fn login_account(&self, login: &str) -> Result<Micros, LedgerError> {
        let name = account_name(&counted(login));
        let read = move |conn: &Connection| {
            let mut find = conn.prepare_cached("SELECT balance FROM account WHERE name = ?1")?;
            let balance: Option<i64> = find.query_row([&name], |row| row.get(0)).optional()?;
            amount(balance.unwrap_or_default())
        };
        self.readers.read(read).await
    }

    async fn login_accounts(&self) -> Result<Vec<(String, Micros)>, LedgerError> {
        self.readers.read(accounts).await
    }

    async fn login_entries(&self, login: &str, count_max: u32) -> Result<Vec<Entry>, LedgerError> {
        let name = account_name(&counted(login));
        self.readers.read(move |conn| trade::entries(conn, &name, count_max)).await
    }

    async fn returns_to_ask(&self, now: u64) -> Result<Option<(Domain, Vec<StampId>)>, LedgerError> {
        // Mostly there is nothing to do, and then nothing is written.
        if !self.readers.read(move |conn| is_any_to_ask(conn, now)).await? {
            return Ok(None);
        }
        self.write(move |batch| to_ask(batch.conn, now)).await
    }

    async fn returned(&self, office: &Domain, ids: &[StampId], now: u64) -> Result<usize, LedgerError> {
        let (office, ids) = (office.clone(), ids.to_vec());
        self.write(move |batch| returned(batch, &office, &ids, now)).await
    }

    async fn came_back(&self, account: AccountKey, ids: &[StampId]) -> Result<Vec<StampId>, LedgerError> {
        let (ids, office) = (ids.to_vec(), self.site.office.clone());
        self.readers.read(move |conn| returns::came_back(conn, office.as_ref(), &account, &ids)).await
    }
}
