//! Logins' own accounts in SQLite.

use rusqlite::{Connection, params};

use super::{
    SqliteLedger,
    batch::{Batch, NewEntry, short_of},
    fail::{Fail, stored_time},
    franking::counted,
    returns,
    rows::{Statements, columns},
    trade,
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
    trade::amount(batch.balance_of(&account_name(login))?)
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
    let ends = stored_time(stamp.expiry.saturating_add(RETURNS_AFTER_EXPIRY_S));
    conn.change(
        "INSERT INTO franked_charge (office, id, login, charged, ends, asked)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![stamp.office, stamp.id, login, charged, ends, stored_time(now)],
    )?;
    Ok(())
}

fn is_any_to_ask(conn: &Connection, now: u64) -> Result<bool, Fail> {
    let before = stored_time(now.saturating_sub(RETURNS_ASKED_EVERY_S));
    conn.has(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM franked_charge WHERE asked < ?1)
         OR EXISTS (SELECT 1 FROM franked_charge WHERE ends < ?2)",
        params![before, stored_time(now)],
    )
}

fn to_ask(conn: &Connection, now: u64) -> Result<Option<(Domain, Vec<StampId>)>, Fail> {
    conn.change("DELETE FROM franked_charge WHERE ends < ?1", [stored_time(now)])?;
    let before = stored_time(now.saturating_sub(RETURNS_ASKED_EVERY_S));
    let oldest = "SELECT office FROM franked_charge WHERE asked < ?1 ORDER BY asked LIMIT 1";
    let Some(office) = conn.value::<Domain>(oldest, [before])? else { return Ok(None) };
    let ids = conn.all(
        "SELECT id FROM franked_charge WHERE office = ?1 AND asked < ?2 ORDER BY asked LIMIT ?3",
        params![office, before, RETURNS_ASKED_MAX],
        |row| Ok(row.get(0)?),
    )?;
    for id in &ids {
        let note = "UPDATE franked_charge SET asked = ?3 WHERE office = ?1 AND id = ?2";
        conn.change(note, params![office, id, stored_time(now)])?;
    }
    Ok(Some((office, ids)))
}

fn returned(batch: &mut Batch<'_>, office: &Domain, ids: &[StampId], now: u64) -> Result<usize, Fail> {
    let mut count = 0;
    for id in ids {
        // The row goes: what comes back does so once.
        let take = "DELETE FROM franked_charge WHERE office = ?1 AND id = ?2 RETURNING login, charged";
        let found = batch.conn.find(take, params![office, id], columns::<(String, Micros)>)?;
        let Some((login, charged)) = found else { continue };
        let memo = format!("{office} gives back {}", data_encoding::BASE64URL_NOPAD.encode(id));
        transfer(batch, "unfrank", FRANKING, &account_name(&login), charged, &memo, now)?;
        count += 1;
    }
    Ok(count)
}

fn accounts(conn: &Connection) -> Result<Vec<(String, Micros)>, Fail> {
    // ';' is the character after ':', so the range is every name with the prefix.
    conn.all(
        "SELECT name, balance FROM account WHERE name > 'login:' AND name < 'login;' ORDER BY name",
        [],
        |row| {
            let name: String = row.get(0)?;
            Ok((name.strip_prefix(LOGIN_PREFIX).unwrap_or(&name).to_owned(), row.get(1)?))
        },
    )
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
            let balance = conn.value("SELECT balance FROM account WHERE name = ?1", [&name])?;
            Ok(balance.unwrap_or_default())
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
