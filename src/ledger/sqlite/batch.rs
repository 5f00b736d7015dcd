//! One open transaction of the writer: the accounts' balances while it runs, and the rows it adds.
//!
//! What always holds: money enters and leaves accounts only by [`Batch::enter`] and [`Batch::enter_redeemed`],
//! each of which writes one row with a debit and a credit; each balance is read once and written once a batch;
//! what one request did, the next one sees.

use std::collections::HashMap;

use rusqlite::{Connection, Row, params};

use super::{
    Site,
    fail::Fail,
    rows::{Statements, columns},
};
use crate::{
    ledger::{
        LedgerError,
        chain::{BatchRows, Cut, EntryRow, GENESIS, Head, OrderRow, RedeemedRow, SoldRow},
    },
    money::Micros,
};

/// Accounts whose numbers are remembered between batches; beyond it all are forgotten and looked up anew.
const ACCOUNTS_REMEMBERED: usize = 16_384;

/// What a redemption's row is made of, but for the number SQLite gives it.
pub(super) struct NewRedeemed<'a> {
    pub time: i64,
    pub day: i64,
    pub office: &'a str,
    pub id: &'a [u8; 16],
    pub debit: &'a str,
    pub credit: &'a str,
    pub amount: Micros,
    pub order: Option<i64>,
    pub number: u64,
    pub claim: &'a [u8; 16],
    pub recipient: &'a [u8],
    pub author: Option<&'a [u8]>,
    pub authenticated: bool,
}

/// What an entry is made of.
pub(super) struct NewEntry<'a> {
    pub time: i64,
    pub kind: &'static str,
    pub debit: &'a str,
    pub credit: &'a str,
    pub amount: Micros,
    pub memo: &'a str,
    /// The redemption given back.
    pub redeemed: Option<i64>,
}

/// Numbers of accounts and offices by name. They never change while the file stays the same.
#[derive(Default)]
pub(super) struct Names {
    accounts: HashMap<Box<str>, i64>,
    offices: HashMap<Box<str>, i64>,
}

impl Names {
    /// Forgets all: a transaction that may have made some of them was undone, or the file is another.
    pub fn forget(&mut self) {
        self.accounts.clear();
        self.offices.clear();
    }

    fn remember_account(&mut self, name: &str, id: i64) {
        if self.accounts.len() >= ACCOUNTS_REMEMBERED {
            self.accounts.clear();
        }
        self.accounts.insert(name.into(), id);
    }
}

#[derive(Clone, Copy)]
struct Balance {
    was: i64,
    is: i64,
}

/// What is undone when a request is.
#[derive(Clone)]
struct Tally {
    balances: HashMap<i64, Balance>,
    /// Stamps of each order redeemed in this batch, here or (given back by a foreign domain) elsewhere.
    redeemed: HashMap<i64, i64>,
    rows: BatchRows,
    time: i64,
    /// Numbers of the newest entry and the newest redemption, once they were looked up. Rows may have been dropped, so
    /// the tables alone do not tell, and no number is given twice.
    newest: Option<(i64, i64)>,
}

/// One open transaction.
pub(super) struct Batch<'c> {
    pub conn: &'c Connection,
    pub site: &'c Site,
    names: &'c mut Names,
    /// The head before this batch; read with the first row, for other processes write heads too.
    before: Option<(i64, [u8; 32])>,
    tally: Tally,
}

/// A state of the batch to come back to.
pub(super) struct Mark(Tally);

impl<'c> Batch<'c> {
    pub fn new(conn: &'c Connection, site: &'c Site, names: &'c mut Names) -> Self {
        let tally = Tally {
            balances: HashMap::new(),
            redeemed: HashMap::new(),
            rows: BatchRows::new(),
            time: 0,
            newest: None,
        };
        Self { conn, site, names, before: None, tally }
    }

    /// Remembers where the batch stands, beside a savepoint.
    pub fn mark(&self) -> Mark {
        Mark(self.tally.clone())
    }

    /// Goes back to the mark, after the savepoint was rolled back.
    pub fn undo_to(&mut self, mark: Mark) {
        self.tally = mark.0;
        self.names.forget();
    }

    /// The number of the account of that name, if there is one.
    fn find_account(&mut self, name: &str) -> Result<Option<i64>, Fail> {
        if let Some(id) = self.names.accounts.get(name) {
            return Ok(Some(*id));
        }
        let found = self.conn.value("SELECT id FROM account WHERE name = ?1", [name])?;
        if let Some(id) = found {
            self.names.remember_account(name, id);
        }
        Ok(found)
    }

    /// The number of the account of that name, which is made when there is none.
    fn account(&mut self, name: &str) -> Result<i64, Fail> {
        if let Some(id) = self.find_account(name)? {
            return Ok(id);
        }
        let id = self.conn.insert("INSERT INTO account (name) VALUES (?1)", [name])?;
        self.names.remember_account(name, id);
        Ok(id)
    }

    /// The number of the office of that name, which is made when there is none.
    fn office(&mut self, name: &str) -> Result<i64, Fail> {
        if let Some(id) = self.names.offices.get(name) {
            return Ok(*id);
        }
        let id = match self.conn.value("SELECT id FROM office WHERE name = ?1", [name])? {
            Some(id) => id,
            None => self.conn.insert("INSERT INTO office (name) VALUES (?1)", [name])?,
        };
        self.names.offices.insert(name.into(), id);
        Ok(id)
    }

    /// The balance now, with what earlier requests of the batch did; zero for an account that is not there,
    /// and asking does not make it: anybody may ask in the name of a new key.
    pub fn balance_of(&mut self, name: &str) -> Result<i64, Fail> {
        match self.find_account(name)? {
            Some(account) => self.balance(account),
            None => Ok(0),
        }
    }

    fn balance(&mut self, account: i64) -> Result<i64, Fail> {
        self.entry_of(account).map(|balance| balance.is)
    }

    fn entry_of(&mut self, account: i64) -> Result<&mut Balance, Fail> {
        use std::collections::hash_map::Entry;
        match self.tally.balances.entry(account) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let mut read = self.conn.prepare_cached("SELECT balance FROM account WHERE id = ?1")?;
                let was = read.query_row([account], |row| row.get(0))?;
                Ok(entry.insert(Balance { was, is: was }))
            }
        }
    }

    /// Moves money between two accounts' balances; the row that says so is the caller's.
    fn transfer(&mut self, debit: &str, credit: &str, amount: Micros) -> Result<(i64, i64), Fail> {
        let (from, to) = (self.account(debit)?, self.account(credit)?);
        let left = self.balance(from)?.checked_sub(amount.signed()).ok_or_else(Fail::overflow)?;
        if left < 0 && !may_be_negative(debit) {
            return Err(Fail::damaged(format!("{debit} holds less than the {amount} that should leave it")));
        }
        let more = self.balance(to)?.checked_add(amount.signed()).ok_or_else(Fail::overflow)?;
        self.entry_of(from)?.is = left;
        self.entry_of(to)?.is = more;
        Ok((from, to))
    }

    /// Writes an entry into the journal and moves its money; returns its number.
    pub fn enter(&mut self, new: &NewEntry<'_>) -> Result<i64, Fail> {
        let batch = self.number()?;
        let (debit, credit) = self.transfer(new.debit, new.credit, new.amount)?;
        let (newest, _) = self.newest()?;
        *newest = newest.checked_add(1).ok_or_else(Fail::overflow)?;
        let seq = *newest;
        let amount = new.amount.signed();
        self.conn.change(
            "INSERT INTO journal (batch, time, kind, debit, credit, amount, memo, redeemed, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![batch, new.time, new.kind, debit, credit, amount, new.memo, new.redeemed, seq,],
        )?;
        self.tally.time = self.tally.time.max(new.time);
        self.tally.rows.entry(&EntryRow {
            seq,
            time: new.time,
            kind: new.kind,
            debit: new.debit,
            credit: new.credit,
            amount,
            memo: new.memo,
            redeemed: new.redeemed,
        });
        Ok(seq)
    }

    /// Writes the order of the entry just made.
    pub fn enter_order(&mut self, seq: i64, row: &OrderRow<'_>) -> Result<(), Fail> {
        let account = self.account(row.account)?;
        self.conn.change(
            "INSERT INTO orders (seq, account, audience, value, expiry, selector, stamps)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![seq, account, row.audience, row.value, row.expiry, row.selector, row.stamps],
        )?;
        self.tally.rows.order(row);
        Ok(())
    }

    /// Writes a stamp of that order. The unique key refuses an id that is sold.
    pub fn enter_sold(&mut self, seq: i64, row: &SoldRow<'_>) -> Result<(), Fail> {
        let mut insert = self
            .conn
            .prepare_cached("INSERT INTO sold (id, order_seq, holder, signature) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![row.id, seq, row.holder, row.signature])?;
        self.tally.rows.sold(row);
        Ok(())
    }

    /// Writes a redemption and moves its money; returns its number. The unique key refuses a stamp that is spent.
    pub fn enter_redeemed(&mut self, new: &NewRedeemed<'_>) -> Result<i64, Fail> {
        let batch = self.number()?;
        let office = self.office(new.office)?;
        let (debit, credit) = self.transfer(new.debit, new.credit, new.amount)?;
        let (_, newest) = self.newest()?;
        *newest = newest.checked_add(1).ok_or_else(Fail::overflow)?;
        let seq = *newest;
        let (amount, number) = (new.amount.signed(), new.number.cast_signed());
        self.conn.change(
            "INSERT INTO redeemed (batch, time, day, office, id, debit, credit, amount, order_seq, number,
                                   claim, recipient, author, authenticated, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                batch,
                new.time,
                new.day,
                office,
                new.id,
                debit,
                credit,
                amount,
                new.order,
                number,
                new.claim,
                new.recipient,
                new.author,
                new.authenticated,
                seq,
            ],
        )?;
        if let Some(order) = new.order {
            *self.tally.redeemed.entry(order).or_default() += 1;
        }
        self.tally.time = self.tally.time.max(new.time);
        self.tally.rows.redeemed(&RedeemedRow {
            seq,
            time: new.time,
            day: new.day,
            office: new.office,
            id: new.id,
            debit: new.debit,
            credit: new.credit,
            amount,
            order: new.order,
            number,
            claim: new.claim,
            recipient: new.recipient,
            author: new.author,
            authenticated: new.authenticated,
        });
        Ok(seq)
    }

    /// Writes which stamp of which order the entry just made gives back. The unique key refuses a stamp that was.
    pub fn enter_reported(&mut self, entry: i64, order: i64, id: &[u8; 16]) -> Result<(), Fail> {
        self.conn.change(
            "INSERT INTO reported (entry, order_seq, id) VALUES (?1, ?2, ?3)",
            params![entry, order, id],
        )?;
        *self.tally.redeemed.entry(order).or_default() += 1;
        self.tally.rows.reported(order, id);
        Ok(())
    }

    /// Writes which redemptions the entry just made settles. The unique key refuses a range that is settled.
    pub fn enter_settled(&mut self, entry: i64, escrow: &str, first: i64, last: i64) -> Result<(), Fail> {
        let escrow = self.account(escrow)?;
        let mut insert = self
            .conn
            .prepare_cached("INSERT INTO settled (entry, escrow, first, last) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![entry, escrow, first, last])?;
        self.tally.rows.settled(first, last);
        Ok(())
    }

    /// Writes which order the entry just made ends. The unique key refuses an order that is ended.
    pub fn enter_closed(&mut self, entry: i64, order: i64) -> Result<(), Fail> {
        self.conn.change("INSERT INTO closed (entry, order_seq) VALUES (?1, ?2)", params![entry, order])?;
        self.tally.rows.closed(order);
        Ok(())
    }

    /// Whether this batch has cut history already: it may do so once.
    pub const fn has_cut(&self) -> bool {
        self.tally.rows.has_cut()
    }

    /// Writes a cut; dropping the rows is the caller's.
    pub fn enter_cut(&mut self, cut: &Cut, now: i64) -> Result<(), Fail> {
        let batch = self.number()?;
        self.conn.change(
            "INSERT INTO cuts (batch, through, head, entries, redeemed, day, carried)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![batch, cut.through, cut.head, cut.entries, cut.redeemed, cut.day, cut.carried],
        )?;
        self.tally.time = self.tally.time.max(now);
        self.tally.rows.cut(cut);
        Ok(())
    }

    /// Stamps of this order redeemed by this batch, which the order does not count yet.
    pub fn redeemed_of(&self, order: i64) -> i64 {
        self.tally.redeemed.get(&order).copied().unwrap_or_default()
    }

    /// The number of the newest redemption; 0 when there was none yet.
    pub fn newest_redeemed(&mut self) -> Result<i64, Fail> {
        self.newest().map(|(_, redeemed)| *redeemed)
    }

    fn newest(&mut self) -> Result<(&mut i64, &mut i64), Fail> {
        let (entries, redeemed) = match self.tally.newest {
            Some(newest) => newest,
            None => {
                let cut = newest_cut(self.conn)?;
                let mut find = self.conn.prepare_cached(
                    "SELECT (SELECT max(seq) FROM journal), (SELECT max(seq) FROM redeemed)",
                )?;
                let (entries, redeemed): (Option<i64>, Option<i64>) =
                    find.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                (cut.entries.max(entries.unwrap_or(0)), cut.redeemed.max(redeemed.unwrap_or(0)))
            }
        };
        let (entries, redeemed) = self.tally.newest.insert((entries, redeemed));
        Ok((entries, redeemed))
    }

    /// The number of this batch in the chain.
    fn number(&mut self) -> Result<i64, Fail> {
        if self.before.is_none() {
            let head =
                self.conn.find("SELECT batch, head FROM heads ORDER BY batch DESC LIMIT 1", [], columns)?;
            self.before = Some(head.unwrap_or((0, GENESIS)));
        }
        let last = self.before.map_or(0, |(batch, _)| batch);
        last.checked_add(1).ok_or_else(Fail::overflow)
    }

    /// Writes the sums and the head; what is left is to commit.
    pub fn finish(mut self) -> Result<(), Fail> {
        let mut write = self.conn.prepare_cached("UPDATE account SET balance = ?2 WHERE id = ?1")?;
        for (account, balance) in &self.tally.balances {
            if balance.is != balance.was {
                write.execute(params![account, balance.is])?;
            }
        }
        let mut count =
            self.conn.prepare_cached("UPDATE orders SET redeemed = redeemed + ?2 WHERE seq = ?1")?;
        for (order, stamps) in &self.tally.redeemed {
            count.execute(params![order, stamps])?;
        }
        if self.tally.rows.count() == 0 {
            return Ok(());
        }
        let batch = self.number()?;
        let previous = self.before.map_or(GENESIS, |(_, head)| head);
        let Head { time, rows, root, head, .. } = Head::following(
            &previous,
            batch,
            self.tally.time,
            self.tally.rows.count(),
            self.tally.rows.root(),
        );
        self.conn.change(
            "INSERT INTO heads (batch, time, rows, root, head) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![batch, time, rows, root, head],
        )?;
        Ok(())
    }
}

/// Where history was cut off last.
pub(super) fn newest_cut(conn: &Connection) -> Result<Cut, Fail> {
    Ok(conn.find(&format!("{CUT} ORDER BY batch DESC LIMIT 1"), [], read_cut)?.unwrap_or(Cut::NONE))
}

/// Columns for [`read_cut`].
pub(super) const CUT: &str = "SELECT batch, through, head, entries, redeemed, day, carried FROM cuts";

/// A cut as it was written.
pub(super) fn read_cut(row: &Row<'_>) -> Result<Cut, Fail> {
    Ok(Cut {
        through: row.get(1)?,
        head: row.get(2)?,
        entries: row.get(3)?,
        redeemed: row.get(4)?,
        day: row.get(5)?,
        carried: row.get(6)?,
    })
}

/// Whether an account may owe: money comes in by them (DESIGN.md "The books").
pub(super) fn may_be_negative(account: &str) -> bool {
    account == "grants" || account.starts_with("funding:") || account.starts_with("office:")
}

/// A refusal that leaves no trace, with what the account holds.
pub(super) fn short_of(balance: i64) -> Fail {
    Fail::Refused(LedgerError::Short(Micros::from_signed(balance).unwrap_or_default()))
}
