//! Recipients' own settings, the letters of strangers, and marks on a sender, in SQLite.

use std::collections::HashSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    SqliteLedger,
    batch::Batch,
    book,
    fail::{Fail, read_time, stored_time},
    mark,
    rows::{Statements, columns},
};
use crate::{
    address::{Address, Domain},
    clock::DAY_S,
    ledger::{
        Decision, LedgerError, Mark, StampId,
        book::{How, Known, Sender},
        owners::Owned,
        settings::{
            Cadence, MARKED_AT_ONCE_MAX, MarkedSender, OwnPrice, OwnSettings, PaidPostage, PostageState,
            STRANGERS_MAX, Settings, StrangerLetter,
        },
    },
    money::Micros,
};

/// Results of letters whose senders are strangers.
const STRANGERS: [&str; 4] = ["paid", "work", "unpaid", "invalid"];

const COLUMNS: &str = "price, price_public, digest, digest_sent, owner FROM settings";

/// What a recipient has set.
pub(super) fn settings(conn: &Connection, owner: &Address) -> Result<OwnSettings, Fail> {
    let sql = format!("SELECT {COLUMNS} WHERE owner = ?1");
    Ok(conn.find(&sql, [key(owner)], read_settings)?.unwrap_or_default())
}

fn read_settings(row: &Row<'_>) -> Result<OwnSettings, Fail> {
    let (price, digest): (Option<i64>, String) = (row.get(0)?, row.get(2)?);
    let public = row.get(1)?;
    Ok(OwnSettings {
        price: price.and_then(Micros::from_signed).map(|value| OwnPrice { value, public }),
        digest: Cadence::from_word(&digest)
            .ok_or_else(|| Fail::damaged(format!("the settings say `{digest}`")))?,
        digest_sent: row.get::<_, Option<i64>>(3)?.map(read_time),
    })
}

fn set_price(conn: &Connection, owner: &Address, price: Option<OwnPrice>) -> Result<(), Fail> {
    if price.is_some_and(|price| price.value == Micros::ZERO) {
        return Err(Fail::invalid("a price is more than nothing"));
    }
    let value = price.map(|price| price.value.signed());
    conn.change(
        "INSERT INTO settings (owner, price, price_public) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner) DO UPDATE SET price = ?2, price_public = ?3",
        params![key(owner), value, price.is_some_and(|price| price.public)],
    )?;
    Ok(())
}

fn set_digest(conn: &Connection, owner: &Address, digest: Cadence, now: u64) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO settings (owner, digest, digest_sent) VALUES (?1, ?2, iif(?2 = 'off', NULL, ?3))
         ON CONFLICT (owner) DO UPDATE
         SET digest_sent = iif(?2 = 'off', NULL, coalesce(digest_sent, ?3)), digest = ?2",
        params![key(owner), digest.as_str(), stored_time(now)],
    )?;
    Ok(())
}

fn list(conn: &Connection, those: &str) -> Result<Vec<(Address, OwnSettings)>, Fail> {
    let sql = format!("SELECT {COLUMNS} WHERE {those} ORDER BY owner");
    conn.all(&sql, [], |row| Ok((row.get(4)?, read_settings(row)?)))
}

/// Notes that a digest is made, unless somebody else did since.
pub(super) fn digest_made(
    conn: &Connection,
    owner: &Address,
    last: Option<u64>,
    now: u64,
) -> Result<bool, Fail> {
    Ok(conn.change(
        "UPDATE settings SET digest_sent = ?3 WHERE owner = ?1 AND digest_sent IS ?2 AND digest <> 'off'",
        params![key(owner), last.map(stored_time), stored_time(now)],
    )? > 0)
}

/// Under whom a decision is found as a stranger's letter.
pub(super) fn reader_of(decision: &Decision) -> Option<Vec<u8>> {
    STRANGERS.contains(&decision.result).then(|| key(&decision.recipient))
}

fn strangers(
    conn: &Connection,
    recipient: &Address,
    since: u64,
    count_max: u32,
) -> Result<Vec<StrangerLetter>, Fail> {
    let count_max = count_max.min(STRANGERS_MAX) as usize;
    let mut find = conn.prepare_cached(
        "SELECT time, recipient, author, authenticated, result, reason, delivered, number FROM decisions
         WHERE time / 86400 = ?1 AND reader = ?2 AND time >= ?3 ORDER BY time DESC, seq DESC",
    )?;
    let mut earlier = conn.prepare_cached(
        "SELECT time / 86400 FROM decisions
         WHERE time / 86400 < ?1 AND time / 86400 >= ?2 AND reader IS NOT NULL
         ORDER BY time / 86400 DESC LIMIT 1",
    )?;
    let (reader, first_day) = (key(recipient), stored_time(since / DAY_S));
    let (mut letters, mut told) = (Vec::new(), HashSet::new());
    let mut day = i64::MAX;
    while let Some(next) = earlier.query_row([day, first_day], |row| row.get(0)).optional()? {
        day = next;
        let mut rows = find.query(params![day, reader, stored_time(since)])?;
        while let Some(row) = rows.next()? {
            if letters.len() >= count_max {
                return Ok(letters);
            }
            let number: Option<i64> = row.get(7)?;
            if number.is_none_or(|number| told.insert(number)) {
                letters.push(read_letter(conn, row, number)?);
            }
        }
    }
    Ok(letters)
}

fn read_letter(conn: &Connection, row: &Row<'_>, number: Option<i64>) -> Result<StrangerLetter, Fail> {
    Ok(StrangerLetter {
        time: read_time(row.get(0)?),
        recipient: row.get(1)?,
        author: row.get(2)?,
        authenticated: row.get(3)?,
        result: row.get(4)?,
        reason: row.get(5)?,
        delivered: row.get(6)?,
        postage: number.map(|number| postage(conn, number.cast_unsigned())).transpose()?.flatten(),
    })
}

fn paid_letter(conn: &Connection, number: u64) -> Result<Option<StrangerLetter>, Fail> {
    let Some(found) = mark::by_number(conn, number)? else { return Ok(None) };
    Ok(Some(StrangerLetter {
        time: read_time(found.time),
        recipient: found.letter.recipient,
        author: found.letter.author,
        authenticated: found.letter.authenticated,
        result: "paid".into(),
        reason: String::new(),
        delivered: true,
        postage: postage(conn, number)?,
    }))
}

/// What was paid under this number, if the redemption is still there.
fn postage(conn: &Connection, number: u64) -> Result<Option<PaidPostage>, Fail> {
    let Some(found) = mark::by_number(conn, number)? else { return Ok(None) };
    let more = conn.find(
        "SELECT o.name, r.id, EXISTS (SELECT 1 FROM journal j WHERE j.redeemed = r.seq),
                EXISTS (SELECT 1 FROM unwanted u WHERE u.redeemed = r.seq)
         FROM redeemed r JOIN office o ON o.id = r.office WHERE r.seq = ?1",
        [found.seq],
        columns::<(Domain, StampId, bool, bool)>,
    )?;
    let Some((office, id, refunded, unwanted)) = more else { return Ok(None) };
    let state = if refunded {
        PostageState::Refunded
    } else if mark::is_final(conn, found.seq)? {
        PostageState::Final
    } else if unwanted {
        PostageState::Unwanted
    } else {
        PostageState::Waiting
    };
    Ok(Some(PaidPostage { number, value: found.amount, office, id, state }))
}

/// Marks some of a sender's paid letters and changes the book; true when there may be more.
fn mark_sender(
    batch: &mut Batch<'_>,
    recipient: &Address,
    author: &Address,
    mark: Mark,
    now: u64,
) -> Result<(MarkedSender, bool), Fail> {
    let mut marked = MarkedSender::default();
    let owners = batch.site.owners();
    let reader = owners.of(recipient);
    let seqs = unmarked(batch, &reader, author, mark, now)?;
    let more = seqs.len() >= MARKED_AT_ONCE_MAX as usize;
    for seq in seqs {
        match mark {
            Mark::Wanted => {
                let value = mark::give_back_one(batch, seq, now)?;
                marked.letters += u64::from(value.is_some());
                marked.refunded =
                    marked.refunded.checked_add(value.unwrap_or_default()).ok_or_else(Fail::overflow)?;
            }
            Mark::Unwanted => {
                mark::note_unwanted(batch.conn, seq, now)?;
                marked.letters += 1;
            }
        }
    }
    let sender = Sender::Address(author.clone());
    match mark {
        Mark::Wanted => book::learn(batch.conn, &owners, recipient, &sender, How::Wanted, now)?,
        Mark::Unwanted => book::forget(batch.conn, &reader, &sender)?,
    };
    marked.known = book::known(batch.conn, &reader, &Sender::names_of_author(author))? == Known::Allowed;
    Ok((marked, more))
}

/// Redemptions inside the window that this sender paid to this recipient and that the mark would change.
fn unmarked(
    batch: &Batch<'_>,
    reader: &Owned,
    author: &Address,
    mark: Mark,
    now: u64,
) -> Result<Vec<i64>, Fail> {
    let conn = batch.conn;
    let mut find = conn.prepare_cached(
        "SELECT r.seq, r.recipient FROM redeemed r
         WHERE r.time / 86400 = ?1 AND r.author = ?2 AND r.authenticated AND r.author IS NOT NULL AND r.time >= ?3
           AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.redeemed = r.seq)
           AND NOT (?4 AND EXISTS (SELECT 1 FROM unwanted u WHERE u.redeemed = r.seq))
         ORDER BY r.seq",
    )?;
    let mut later = conn.prepare_cached(
        "SELECT time / 86400 FROM redeemed
         WHERE time / 86400 > ?1 AND authenticated AND author IS NOT NULL ORDER BY time / 86400 LIMIT 1",
    )?;
    let since = now.saturating_sub(batch.site.refund_window_s);
    let mut day = stored_time(since / DAY_S) - 1;
    let mut seqs = Vec::new();
    while let Some(next) = later.query_row([day], |row| row.get(0)).optional()? {
        day = next;
        let mut rows = find.query(params![day, author, stored_time(since), mark == Mark::Unwanted])?;
        while let Some(row) = rows.next()? {
            let (seq, to): (i64, Address) = columns(row)?;
            if !reader.own.contains(&to.without_detail()) || mark::is_final(conn, seq)? {
                continue;
            }
            seqs.push(seq);
            if seqs.len() >= MARKED_AT_ONCE_MAX as usize {
                return Ok(seqs);
            }
        }
    }
    Ok(seqs)
}

fn key(owner: &Address) -> Vec<u8> {
    owner.without_detail().to_bytes()
}

#[async_trait]
impl Settings for SqliteLedger {
    async fn settings(&self, owner: &Address) -> Result<OwnSettings, LedgerError> {
        let owner = self.site.owners().owner(owner);
        self.readers.read(move |conn| settings(conn, &owner)).await
    }

    async fn all_settings(&self) -> Result<Vec<(Address, OwnSettings)>, LedgerError> {
        self.readers.read(|conn| list(conn, "price IS NOT NULL OR digest <> 'off'")).await
    }

    async fn set_price(&self, owner: &Address, price: Option<OwnPrice>) -> Result<(), LedgerError> {
        let owner = self.site.owners().owner(owner);
        self.write(move |batch| set_price(batch.conn, &owner, price)).await
    }

    async fn set_digest(&self, owner: &Address, digest: Cadence, now: u64) -> Result<(), LedgerError> {
        let owner = self.site.owners().owner(owner);
        self.write(move |batch| set_digest(batch.conn, &owner, digest, now)).await
    }

    async fn digest_owners(&self) -> Result<Vec<(Address, OwnSettings)>, LedgerError> {
        self.readers.read(|conn| list(conn, "digest <> 'off'")).await
    }

    async fn digest_made(&self, owner: &Address, last: Option<u64>, now: u64) -> Result<bool, LedgerError> {
        let owner = self.site.owners().owner(owner);
        self.write(move |batch| digest_made(batch.conn, &owner, last, now)).await
    }

    async fn strangers(
        &self,
        recipient: &Address,
        since: u64,
        count_max: u32,
    ) -> Result<Vec<StrangerLetter>, LedgerError> {
        let owned = self.site.owners().of(recipient).own;
        self.readers
            .read(move |conn| {
                let mut letters = Vec::new();
                for own in &owned {
                    letters.extend(strangers(conn, own, since, count_max)?);
                }
                letters.sort_by_key(|letter| std::cmp::Reverse(letter.time));
                letters.truncate(count_max as usize);
                Ok(letters)
            })
            .await
    }

    async fn paid_letter(&self, number: u64) -> Result<Option<StrangerLetter>, LedgerError> {
        self.readers.read(move |conn| paid_letter(conn, number)).await
    }

    async fn mark_sender(
        &self,
        recipient: &Address,
        author: &Address,
        mark: Mark,
        now: u64,
    ) -> Result<MarkedSender, LedgerError> {
        let mut all = MarkedSender::default();
        loop {
            let (recipient, author) = (recipient.clone(), author.clone());
            let work = move |batch: &mut Batch<'_>| mark_sender(batch, &recipient, &author, mark, now);
            let (some, more) = self.write(work).await?;
            all.letters += some.letters;
            all.refunded = all.refunded.checked_add(some.refunded).ok_or(LedgerError::Overflow)?;
            all.known = some.known;
            if !more {
                return Ok(all);
            }
        }
    }
}
