//! Vouchers, grants and payments (SPEC.md §10): each moves its money once, by key.
//!
//! Row and movement are written in one transaction of the writer; another process that writes the same file waits
//! for its lock and then sees the row.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{
    SqliteLedger,
    batch::{Batch, NewEntry},
    fail::{Fail, read_time, stored_time},
    redeem::day_of,
    rows::{Statements, columns},
    trade::{account_name, amount},
};
use crate::{
    ledger::{
        AccountKey, LedgerError,
        funding::{
            CodeHash, Funding, GrantRequest, Granted, ISSUE_VOUCHERS_MAX, NetworkKey, NewVouchers, Paid,
            Payment, Voided, Voucher, VoucherState, VoucherUse,
        },
    },
    money::Micros,
};

/// UTC days that a grant is remembered: its proof is dated at most 2 days ahead of it, and valid for 28 more.
const GRANT_DAYS_KEPT: i64 = 31;
/// Old grants forgotten with each new one: more than come, and little work.
const GRANTS_FORGOTTEN_MAX: i64 = 16;

#[async_trait]
impl Funding for SqliteLedger {
    async fn voucher_issue(&self, new: NewVouchers) -> Result<Vec<u64>, LedgerError> {
        self.write(move |batch| issue(batch, &new)).await
    }

    async fn voucher_list(&self, count_max: u32) -> Result<Vec<Voucher>, LedgerError> {
        self.readers.read(move |conn| list(conn, count_max)).await
    }

    async fn voucher_void(&self, number: u64, now: u64) -> Result<Voided, LedgerError> {
        self.write(move |batch| void(batch, number, now)).await
    }

    async fn voucher_use(
        &self,
        code: CodeHash,
        account: AccountKey,
        now: u64,
    ) -> Result<VoucherUse, LedgerError> {
        // Who guesses costs no write, and does not stand in the way of mail.
        let found = self.readers.read(move |conn| find(conn, &code)).await?;
        if found.is_none_or(|voucher| voucher.standing_for(&account, now).is_none()) {
            return Ok(VoucherUse::No);
        }
        self.write(move |batch| use_voucher(batch, &code, &account, now)).await
    }

    async fn voucher_find(&self, code: CodeHash) -> Result<Option<Voucher>, LedgerError> {
        self.readers.read(move |conn| find(conn, &code)).await
    }

    async fn gather(&self, from: AccountKey, to: AccountKey, now: u64) -> Result<Micros, LedgerError> {
        self.write(move |batch| gather(batch, &from, &to, now)).await
    }

    async fn grant(&self, request: GrantRequest) -> Result<Granted, LedgerError> {
        self.write(move |batch| grant(batch, &request)).await
    }

    async fn granted_on_day_of(&self, now: u64) -> Result<Micros, LedgerError> {
        self.readers.read(move |conn| given(conn, day_of(now))).await
    }

    async fn payment(&self, payment: Payment) -> Result<Paid, LedgerError> {
        self.write(move |batch| pay(batch, &payment)).await
    }
}

fn issue(batch: &mut Batch<'_>, new: &NewVouchers) -> Result<Vec<u64>, Fail> {
    if new.codes.is_empty() || new.codes.len() > ISSUE_VOUCHERS_MAX {
        return Err(Fail::invalid("an issue has 1 to 1,000 vouchers"));
    }
    if new.value == Micros::ZERO {
        return Err(Fail::invalid("a voucher has a value"));
    }
    let mut insert = batch.conn.prepare_cached(
        "INSERT INTO voucher (code, value, issued, expiry, memo) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let (value, issued, expiry) = (new.value.signed(), stored_time(new.now), new.expiry.map(stored_time));
    let enter = |code: &CodeHash| -> Result<u64, Fail> {
        Ok(insert.insert(params![code, value, issued, expiry, new.memo])?.cast_unsigned())
    };
    new.codes.iter().map(enter).collect()
}

const VOUCHERS: &str = "SELECT v.number, v.value, v.issued, v.expiry, v.memo, e.time, e.account
    FROM voucher v LEFT JOIN voucher_end e ON e.number = v.number";

fn list(conn: &Connection, count_max: u32) -> Result<Vec<Voucher>, Fail> {
    conn.all(&format!("{VOUCHERS} ORDER BY v.number DESC LIMIT ?1"), [count_max], read)
}

fn find(conn: &Connection, code: &CodeHash) -> Result<Option<Voucher>, Fail> {
    conn.find(&format!("{VOUCHERS} WHERE v.code = ?1"), [code], read)
}

fn read(row: &Row<'_>) -> Result<Voucher, Fail> {
    let number: i64 = row.get(0)?;
    let (ended, account): (Option<i64>, Option<[u8; 32]>) = (row.get(5)?, row.get(6)?);
    Ok(Voucher {
        number: number.cast_unsigned(),
        value: row.get(1)?,
        issued: read_time(row.get(2)?),
        expiry: row.get::<_, Option<i64>>(3)?.map(read_time),
        memo: row.get(4)?,
        state: match (ended.map(read_time), account) {
            (None, _) => VoucherState::Open,
            (Some(time), Some(account)) => VoucherState::Used { account: AccountKey(account), time },
            (Some(time), None) => VoucherState::Void { time },
        },
    })
}

fn void(batch: &mut Batch<'_>, number: u64, now: u64) -> Result<Voided, Fail> {
    let sql = format!("{VOUCHERS} WHERE v.number = ?1");
    let found = batch.conn.find(&sql, [number.cast_signed()], read)?;
    Ok(match found.map(|voucher| voucher.state) {
        None => Voided::NoSuch,
        Some(VoucherState::Void { .. }) => Voided::Before,
        Some(VoucherState::Used { account, .. }) => Voided::Used(account),
        Some(VoucherState::Open) => {
            end(batch, number, None, now)?;
            Voided::Now
        }
    })
}

fn use_voucher(
    batch: &mut Batch<'_>,
    code: &CodeHash,
    account: &AccountKey,
    now: u64,
) -> Result<VoucherUse, Fail> {
    let Some(voucher) = find(batch.conn, code)? else { return Ok(VoucherUse::No) };
    let Some(standing) = voucher.standing_for(account, now) else { return Ok(VoucherUse::No) };
    let (Voucher { number, value, .. }, again) = (voucher, standing == Standing::TheirsAlready);
    let name = account_name(account);
    if !again {
        end(batch, number, Some(account), now)?;
        batch.enter(&NewEntry {
            time: stored_time(now),
            kind: "voucher",
            debit: "funding:voucher",
            credit: &name,
            amount: value,
            memo: &format!("voucher {number}"),
            redeemed: None,
        })?;
    }
    Ok(VoucherUse::Credited { number, value, balance: amount(batch.balance_of(&name)?)?, again })
}

/// What a voucher is to somebody who has its code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    TheirsAlready,
}

impl Voucher {
    /// `None`: it is no good to this account.
    fn standing_for(&self, account: &AccountKey, now: u64) -> Option<Standing> {
        match self.state {
            // What was credited stays credited, whatever the date.
            VoucherState::Used { account: by, .. } => (by == *account).then_some(Standing::TheirsAlready),
            VoucherState::Open => self.expiry.is_none_or(|last| now <= last).then_some(Standing::Good),
            VoucherState::Void { .. } => None,
        }
    }
}

/// Ends a voucher. The key refuses a second end.
fn end(batch: &Batch<'_>, number: u64, account: Option<&AccountKey>, now: u64) -> Result<(), Fail> {
    batch.conn.change(
        "INSERT INTO voucher_end (number, time, account) VALUES (?1, ?2, ?3)",
        params![number.cast_signed(), stored_time(now), account.map(|key| key.0)],
    )?;
    Ok(())
}

/// Moves all that an account holds to another.
fn gather(batch: &mut Batch<'_>, from: &AccountKey, to: &AccountKey, now: u64) -> Result<Micros, Fail> {
    let name = account_name(from);
    let held = amount(batch.balance_of(&name)?)?;
    if held > Micros::ZERO && from != to {
        batch.enter(&NewEntry {
            time: stored_time(now),
            kind: "gather",
            debit: &name,
            credit: &account_name(to),
            amount: held,
            memo: "",
            redeemed: None,
        })?;
        return Ok(held);
    }
    Ok(Micros::ZERO)
}

fn grant(batch: &mut Batch<'_>, request: &GrantRequest) -> Result<Granted, Fail> {
    let GrantRequest { now, account, daily_max, network, network_max, given_max, proof, .. } = request;
    if request.amount == Micros::ZERO {
        return Err(Fail::invalid("a grant is more than nothing"));
    }
    let (day, name) = (day_of(*now), account_name(account));
    if let Some(granted) = granted_by(batch.conn, account, proof)? {
        let balance = amount(batch.balance_of(&name)?)?;
        return Ok(Granted::Credited { amount: granted, balance, again: true });
    }
    if batch.conn.has("SELECT 1 FROM granted WHERE day = ?1 AND account = ?2", params![day, account.0])? {
        return Ok(Granted::HadToday);
    }
    let given = given(batch.conn, day)?;
    let beyond = |given: Micros, most: Micros| given.checked_add(request.amount).is_none_or(|sum| sum > most);
    if beyond(given, *daily_max) {
        return Ok(Granted::BudgetUsed);
    }
    if beyond(given_to_network(batch.conn, day, network)?, *network_max) {
        return Ok(Granted::NetworkUsed);
    }
    if given > *given_max {
        return Ok(Granted::MoreWork { given });
    }
    forget_grants(batch.conn, day)?;
    batch.conn.change(
        "INSERT INTO granted (day, account, proof, amount) VALUES (?1, ?2, ?3, ?4)",
        params![day, account.0, proof, request.amount],
    )?;
    batch.conn.change(
        "INSERT INTO grant_days (day, given) VALUES (?1, ?2)
         ON CONFLICT (day) DO UPDATE SET given = given + excluded.given",
        params![day, request.amount],
    )?;
    batch.conn.change(
        "INSERT INTO grant_networks (day, network, given) VALUES (?1, ?2, ?3)
         ON CONFLICT (day, network) DO UPDATE SET given = given + excluded.given",
        params![day, network, request.amount],
    )?;
    batch.enter(&NewEntry {
        time: stored_time(*now),
        kind: "grant",
        debit: "grants",
        credit: &name,
        amount: request.amount,
        memo: "",
        redeemed: None,
    })?;
    let balance = amount(batch.balance_of(&name)?)?;
    Ok(Granted::Credited { amount: request.amount, balance, again: false })
}

/// What this account was granted for this proof. A proof names its account, so it is nobody else's.
fn granted_by(conn: &Connection, account: &AccountKey, proof: &[u8; 16]) -> Result<Option<Micros>, Fail> {
    let sql = "SELECT account, amount FROM granted WHERE proof = ?1";
    match conn.find(sql, [proof], columns::<([u8; 32], Micros)>)? {
        None => Ok(None),
        Some((by, amount)) if by == account.0 => Ok(Some(amount)),
        Some(_) => Err(Fail::invalid("a proof was granted to another account")),
    }
}

fn given(conn: &Connection, day: i64) -> Result<Micros, Fail> {
    Ok(conn.value("SELECT given FROM grant_days WHERE day = ?1", [day])?.unwrap_or_default())
}

fn given_to_network(conn: &Connection, day: i64, network: &NetworkKey) -> Result<Micros, Fail> {
    Ok(conn
        .value("SELECT given FROM grant_networks WHERE day = ?1 AND network = ?2", params![day, network])?
        .unwrap_or_default())
}

/// Forgets some of the grants whose proofs are too old to come again.
fn forget_grants(conn: &Connection, today: i64) -> Result<(), Fail> {
    let last = today.saturating_sub(GRANT_DAYS_KEPT);
    conn.change(
        "DELETE FROM granted WHERE (day, account) IN
         (SELECT day, account FROM granted WHERE day < ?1 ORDER BY day LIMIT ?2)",
        [last, GRANTS_FORGOTTEN_MAX],
    )?;
    conn.change("DELETE FROM grant_days WHERE day < ?1", [last])?;
    // Who asked from where is nobody's business tomorrow.
    conn.change("DELETE FROM grant_networks WHERE day < ?1", [today])?;
    Ok(())
}

fn pay(batch: &mut Batch<'_>, payment: &Payment) -> Result<Paid, Fail> {
    let Payment { provider, event, reference, .. } = payment;
    if payment.amount == Micros::ZERO || event.is_empty() || reference.is_empty() {
        return Err(Fail::invalid("a payment has an amount, an event and a reference"));
    }
    if batch.conn.has(
        "SELECT 1 FROM payment WHERE provider = ?1 AND event = ?2
         UNION ALL SELECT 1 FROM payment WHERE provider = ?1 AND reference = ?3",
        params![provider, event, reference],
    )? {
        return Ok(Paid::Before);
    }
    let time = stored_time(payment.now);
    batch.conn.change(
        "INSERT INTO payment (provider, event, reference, time) VALUES (?1, ?2, ?3, ?4)",
        params![provider, event, reference, time],
    )?;
    let name = account_name(&payment.account);
    batch.enter(&NewEntry {
        time,
        kind: "payment",
        debit: &format!("funding:{provider}"),
        credit: &name,
        amount: payment.amount,
        memo: &format!("{provider} {reference}"),
        redeemed: None,
    })?;
    Ok(Paid::Credited(amount(batch.balance_of(&name)?)?))
}

/// What moved money in and has no row that lets it happen once, in words. A row without its movement is no fault: old
/// movements may be rolled up.
pub(super) fn faults(conn: &Connection) -> Result<Vec<String>, Fail> {
    let mut vouchers = conn.prepare(
        "SELECT j.memo, count(*) FROM journal j
         LEFT JOIN voucher v ON v.number = CAST(substr(j.memo, 9) AS INTEGER) AND v.value = j.amount
         LEFT JOIN voucher_end e ON e.number = v.number AND e.account IS NOT NULL
         WHERE j.kind = 'voucher' GROUP BY j.memo HAVING count(*) > 1 OR count(e.number) = 0",
    )?;
    let mut payments = conn.prepare(
        "SELECT j.memo, count(*) FROM journal j
         LEFT JOIN payment p ON p.provider = substr(j.memo, 1, instr(j.memo, ' ') - 1)
                            AND p.reference = substr(j.memo, instr(j.memo, ' ') + 1)
         WHERE j.kind = 'payment' GROUP BY j.memo HAVING count(*) > 1 OR count(p.event) = 0",
    )?;
    let mut faults = vec![];
    for statement in [&mut vouchers, &mut payments] {
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (what, times): (String, i64) = (row.get(0)?, row.get(1)?);
            faults.push(if times > 1 {
                format!("{what} was credited {times} times")
            } else {
                format!("{what} was credited, but is not kept as used")
            });
        }
    }
    Ok(faults)
}
