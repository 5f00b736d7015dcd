//! Copies of users' letters in SQLite: their messages, what waits for a stamp, what is due, what became of it.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    SqliteLedger,
    batch::Batch,
    fail::{Fail, read_time, stored_time},
    frank, franking, logins, outbox,
    rows::{Statements, address, columns},
};
use crate::{
    address::Domain,
    ledger::{
        LedgerError,
        copies::{
            COPIES_MAX, COPIES_OCTETS_MAX, COPY_OCTETS_MAX, Copies, CopiesState, Copy, DISK_LEFT_OCTETS,
            LARGE_OCTETS, LETTER_KEPT_S, LOGIN_SHARE, PART_OCTETS, UNFINISHED_KEPT_S,
        },
        franking::{BOUGHT_AT_ONCE_MAX, OutgoingLetter, PurseStamp, Wish},
        outbox::{ANSWER_FIELD_OCTETS_MAX, Attempt, NewMail, OUTBOX_AHEAD_MAX_S},
    },
    message::dsn::{Dsn, LetterDsn, RecipientDsn, Ret},
    money::Micros,
};

/// Parts that are dropped in one commit.
const PARTS_DROPPED_AT_ONCE: u32 = 4;
/// Letters that are dropped in one commit.
const LETTERS_DROPPED_AT_ONCE: u32 = 50;
/// Messages that are written at the same time: a commit holds no more parts than this.
pub(super) const MESSAGES_WRITTEN_MAX: usize = 2;

/// What a recipient of a letter got, to be written down.
pub(super) struct NewRow<'a> {
    pub letter: i64,
    pub wish: &'a Wish,
    pub stamp: Option<&'a PurseStamp>,
    pub charged: Micros,
    pub by_login: bool,
    pub apart: bool,
    /// When the copy is due, with its stamp or without.
    pub next_try: Option<u64>,
}

/// Begins a message of so many octets with its first part; `None` when too much waits.
fn begin(conn: &Connection, octets: usize, first: &[u8], now: u64) -> Result<Option<i64>, Fail> {
    let mut waiting = conn.prepare_cached(
        "SELECT (SELECT coalesce(sum(octets), 0) FROM franked_letter WHERE octets > 0),
         (SELECT count(*) FROM franked_to WHERE next_try IS NOT NULL)",
    )?;
    let (kept, copies): (i64, i64) = waiting.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let octets = u64::try_from(octets).unwrap_or(u64::MAX);
    let is_full =
        read_time(kept).saturating_add(octets) > COPIES_OCTETS_MAX || read_time(copies) >= COPIES_MAX;
    if is_full || !disk_left(conn).is_none_or(|left| fits(octets, left)) {
        return Ok(None);
    }
    let seq = conn.insert(
        "INSERT INTO franked_letter (login, sender, author, time, octets) VALUES ('', x'', x'', ?1, ?2)",
        params![stored_time(now), stored_time(octets.max(1))],
    )?;
    part(conn, seq, 0, first)?;
    Ok(Some(seq))
}

/// Octets that are free where the ledger is, if the system says so.
fn disk_left(conn: &Connection) -> Option<u64> {
    let place = rustix::fs::statvfs(conn.path().filter(|path| !path.is_empty())?).ok()?;
    Some(place.f_bavail.saturating_mul(place.f_frsize))
}

/// Whether a message leaves enough of the disk. It is written twice: what is committed goes to the log, and from there into
/// the file.
const fn fits(octets: u64, left: u64) -> bool {
    octets.saturating_mul(2).saturating_add(DISK_LEFT_OCTETS) <= left
}

fn part(conn: &Connection, letter: i64, number: usize, octets: &[u8]) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO franked_part (letter, part, octets) VALUES (?1, ?2, ?3)",
        params![letter, i64::try_from(number).unwrap_or(i64::MAX), octets],
    )?;
    Ok(())
}

/// Whether as much of a login's waits as may.
pub(super) fn is_full_for(conn: &Connection, login: &str) -> Result<bool, Fail> {
    let mut find = conn.prepare_cached(
        "SELECT (SELECT coalesce(sum(octets), 0) FROM franked_letter WHERE octets > 0 AND login = ?1),
         (SELECT count(*) FROM franked_to t JOIN franked_letter l ON l.seq = t.letter
          WHERE t.next_try IS NOT NULL AND l.login = ?1)",
    )?;
    let (octets, copies): (i64, i64) = find.query_row([login], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(read_time(octets) >= COPIES_OCTETS_MAX / LOGIN_SHARE || read_time(copies) >= COPIES_MAX / LOGIN_SHARE)
}

/// Lets a message go that came to belong to no letter.
pub(super) fn let_go(conn: &Connection, seq: i64) -> Result<(), Fail> {
    conn.change("UPDATE franked_letter SET time = 0 WHERE seq = ?1 AND key IS NULL", [seq])?;
    Ok(())
}

/// Whether a message of that name is kept and belongs to no letter yet.
pub(super) fn is_message(conn: &Connection, seq: i64) -> Result<bool, Fail> {
    conn.has("SELECT 1 FROM franked_letter WHERE seq = ?1 AND key IS NULL", [seq])
}

/// Writes a letter down, the one whose message is kept or one without; returns its name.
pub(super) fn enter_letter(
    conn: &Connection,
    letter: &OutgoingLetter,
    kept: Option<i64>,
    now: u64,
) -> Result<i64, Fail> {
    let author = letter.author.to_bytes();
    let time = stored_time(now);
    let (ret, envid) = (letter.dsn.ret().map(Ret::as_str), letter.dsn.envid());
    if let Some(seq) = kept {
        conn.change(
            "UPDATE franked_letter
             SET key = ?2, login = ?3, sender = ?4, author = ?5, time = ?6, ret = ?7, envid = ?8
             WHERE seq = ?1",
            params![seq, letter.key, letter.login, letter.sender, author, time, ret, envid],
        )?;
        return Ok(seq);
    }
    conn.insert(
        "INSERT INTO franked_letter (key, login, sender, author, time, octets, ret, envid)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7)",
        params![letter.key, letter.login, letter.sender, author, time, ret, envid],
    )
}

/// Writes down what a recipient got.
pub(super) fn enter_row(conn: &Connection, row: &NewRow<'_>) -> Result<(), Fail> {
    let seq = conn.insert(
        "INSERT INTO franked_to
             (letter, recipient, envelope, audience, charged, by_login, apart, waits, next_try, notify, orcpt)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            row.letter,
            row.wish.recipient.to_bytes(),
            row.wish.envelope,
            row.wish.recipient.domain().as_str(),
            row.charged.signed(),
            row.by_login,
            row.apart,
            row.stamp.is_none(),
            row.next_try.map(stored_time),
            row.wish.dsn.notify().map(|notify| notify.to_string()),
            row.wish.dsn.orcpt(),
        ],
    )?;
    row.stamp.map_or(Ok(()), |stamp| give(conn, seq, stamp, row.next_try))
}

fn give(conn: &Connection, seq: i64, stamp: &PurseStamp, next_try: Option<u64>) -> Result<(), Fail> {
    conn.change(
        "UPDATE franked_to SET office = ?2, id = ?3, selector = ?4, value = ?5, expiry = ?6, signature = ?7,
         waits = 0, next_try = ?8 WHERE seq = ?1",
        params![
            seq,
            stamp.office.as_str(),
            stamp.id,
            stamp.selector,
            stamp.value.signed(),
            stored_time(stamp.expiry),
            stamp.signature,
            next_try.map(stored_time),
        ],
    )?;
    Ok(())
}

/// Gives copies that wait, for this domain or any, the stamps that are in hand; returns how many got one.
pub(super) fn give_stamps(batch: &mut Batch<'_>, audience: Option<&Domain>, now: u64) -> Result<usize, Fail> {
    let conn = batch.conn;
    let mut find = conn.prepare_cached(
        "SELECT t.seq, t.audience, t.charged, t.by_login, l.login
         FROM franked_to t JOIN franked_letter l ON l.seq = t.letter
         WHERE t.waits AND (?1 IS NULL OR t.audience = ?1) ORDER BY t.seq LIMIT ?2",
    )?;
    let rows = find.query_map(params![audience.map(Domain::as_str), BOUGHT_AT_ONCE_MAX], |row| {
        Ok((
            row.get(0)?,
            row.get::<_, String>(1)?,
            row.get(2)?,
            row.get::<_, bool>(3)?,
            row.get::<_, String>(4)?,
        ))
    })?;
    let mut given = 0;
    for (seq, audience, charged, by_login, login) in rows.collect::<Result<Vec<_>, _>>()? {
        let (audience, charged) = (franking::domain(&audience)?, franking::amount(charged)?);
        // One that costs more would be paid for past every budget.
        let stamp = franking::in_hand(conn, &audience, charged, 1, now)?.pop();
        let Some(stamp) = stamp.filter(|stamp| stamp.value == charged) else { continue };
        franking::take(conn, &stamp)?;
        give(conn, seq, &stamp, Some(now))?;
        if by_login {
            logins::note_charge(conn, &login, &stamp, charged, now)?;
        }
        given += 1;
    }
    Ok(given)
}

/// A copy that is due, by its name; true: it still waits for its stamp.
fn due(conn: &Connection, now: u64) -> Result<Option<(i64, bool)>, Fail> {
    let ahead = stored_time(now.saturating_add(OUTBOX_AHEAD_MAX_S));
    let found = params![stored_time(now), ahead, LARGE_OCTETS as i64];
    conn.find(
        "SELECT t.seq, t.waits FROM franked_to t JOIN franked_letter l ON l.seq = t.letter
         WHERE t.next_try IS NOT NULL AND (t.next_try <= ?1 OR t.next_try > ?2)
         ORDER BY l.octets > ?3, t.next_try, t.seq LIMIT 1",
        found,
        columns,
    )
}

/// Lets a copy go without the stamp it has waited for.
fn go_without(batch: &mut Batch<'_>, seq: i64, now: u64) -> Result<(), Fail> {
    let mut write = batch.conn.prepare_cached(
        "UPDATE franked_to SET waits = 0, next_try = ?2 WHERE seq = ?1 AND waits
         RETURNING charged, by_login, letter",
    )?;
    let row = write.query_row(params![seq, stored_time(now)], |row| {
        Ok((row.get(0)?, row.get::<_, bool>(1)?, row.get::<_, i64>(2)?))
    });
    let Some((charged, by_login, letter)) = row.optional()? else { return Ok(()) };
    let charged = franking::amount(charged)?;
    let mut find = batch.conn.prepare_cached("SELECT login, time FROM franked_letter WHERE seq = ?1")?;
    let (login, time): (String, i64) = find.query_row([letter], |row| Ok((row.get(0)?, row.get(1)?)))?;
    frank::uncount(batch.conn, &login, charged, time)?;
    if by_login { logins::pay_back(batch, &login, charged, now) } else { Ok(()) }
}

fn read(conn: &Connection, seq: i64) -> Result<Option<Copy>, Fail> {
    let mut find = conn.prepare_cached(
        "SELECT l.login, l.sender, l.author, t.recipient, t.envelope, l.time, l.seq,
                t.office, t.id, t.selector, t.audience, t.value, t.expiry, t.signature,
                l.ret, l.envid, t.notify, t.orcpt
         FROM franked_to t JOIN franked_letter l ON l.seq = t.letter
         WHERE t.seq = ?1 AND t.next_try IS NOT NULL AND NOT t.waits",
    )?;
    let mut rows = find.query([seq])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (author, recipient): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
    let stamp = match row.get::<_, Option<String>>(7)? {
        Some(_) => Some(franking::read_stamp(row, 7)?),
        None => None,
    };
    Ok(Some(Copy {
        seq,
        login: row.get(0)?,
        sender: row.get(1)?,
        author: address(&author)?,
        recipient: address(&recipient)?,
        envelope: row.get(4)?,
        dsn: dsn(row, 14)?,
        queued: read_time(row.get(5)?),
        stamp,
        message: message(conn, row.get(6)?)?,
    }))
}

/// RET, ENVID, NOTIFY and ORCPT, from this column on.
fn dsn(row: &Row<'_>, from: usize) -> Result<Dsn, Fail> {
    let text = |column: usize| -> Result<Option<&[u8]>, Fail> {
        Ok(row.get_ref(from + column)?.as_bytes_or_null().map_err(rusqlite::Error::from)?)
    };
    Ok(Dsn { letter: LetterDsn::new(text(0)?, text(1)?), recipient: RecipientDsn::new(text(2)?, text(3)?) })
}

fn message(conn: &Connection, letter: i64) -> Result<Vec<u8>, Fail> {
    let mut find = conn.prepare_cached("SELECT octets FROM franked_part WHERE letter = ?1 ORDER BY part")?;
    let mut rows = find.query([letter])?;
    let mut message = Vec::new();
    while let Some(row) = rows.next()? {
        message.extend_from_slice(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
    }
    Ok(message)
}

fn tried(
    conn: &Connection,
    seq: i64,
    attempt: &Attempt,
    bounce: Option<&NewMail>,
    now: u64,
) -> Result<(), Fail> {
    let open = "seq = ?1 AND next_try IS NOT NULL AND NOT waits";
    match attempt {
        Attempt::PutOff { next_try, error } => {
            let error = outbox::cut(error, ANSWER_FIELD_OCTETS_MAX);
            conn.change(
                &format!("UPDATE franked_to SET next_try = ?2, tried = ?3, last_error = ?4 WHERE {open}"),
                params![seq, stored_time(*next_try), stored_time(now), error],
            )?;
        }
        Attempt::Taken => {
            conn.change(
                &format!("UPDATE franked_to SET next_try = NULL, tried = ?2 WHERE {open}"),
                params![seq, stored_time(now)],
            )?;
        }
        Attempt::GivenUp => {
            // Another daemon may have done with it before.
            if conn.change(&format!("DELETE FROM franked_to WHERE {open}"), [seq])? > 0
                && let Some(bounce) = bounce
            {
                outbox::insert(conn, bounce)?;
            }
        }
    }
    Ok(())
}

/// Letters that nothing is left to do for since that time.
const LETTERS_OVER: &str = "SELECT l.seq FROM franked_letter l
    WHERE l.time < ?1 AND l.key IS NOT NULL AND l.octets = 0
    AND NOT EXISTS (SELECT 1 FROM franked_to t WHERE t.letter = l.seq
                    AND (t.next_try IS NOT NULL OR t.tried >= ?1))";

/// Letters whose message is kept and that no copy is left to make of; and messages that never came to belong to one by
/// that time.
const MESSAGES_OVER: &str =
    "SELECT l.seq FROM franked_letter l WHERE l.octets > 0 AND (l.key IS NOT NULL OR l.time < ?1)
     AND NOT EXISTS (SELECT 1 FROM franked_to t WHERE t.letter = l.seq AND t.next_try IS NOT NULL)";

/// Until when a letter was franked that is known no more, and a message written that is given up.
fn bounds(now: u64) -> (i64, i64) {
    let before = |seconds| stored_time(now.saturating_sub(seconds));
    (before(LETTER_KEPT_S), before(UNFINISHED_KEPT_S))
}

fn is_tidy(conn: &Connection, now: u64) -> Result<bool, Fail> {
    let (kept, unfinished) = bounds(now);
    let messages = conn.has(&format!("{MESSAGES_OVER} LIMIT 1"), [unfinished])?;
    Ok(!messages && !conn.has(&format!("{LETTERS_OVER} LIMIT 1"), [kept])?)
}

/// Drops some; a commit of its own, for mail goes between.
fn tidy(conn: &Connection, now: u64) -> Result<(), Fail> {
    let (kept, unfinished) = bounds(now);
    if let Some(letter) = conn.value::<i64>(&format!("{MESSAGES_OVER} LIMIT 1"), [unfinished])? {
        return drop_message(conn, letter);
    }
    let mut find = conn.prepare_cached(&format!("{LETTERS_OVER} LIMIT ?2"))?;
    let rows = find.query_map(params![kept, LETTERS_DROPPED_AT_ONCE], |row| row.get::<_, i64>(0))?;
    for letter in rows.collect::<Result<Vec<_>, _>>()? {
        conn.change("DELETE FROM franked_to WHERE letter = ?1", [letter])?;
        conn.change("DELETE FROM franked_letter WHERE seq = ?1", [letter])?;
    }
    Ok(())
}

/// Drops some parts of a message, and with the last ones what says that there is one.
fn drop_message(conn: &Connection, letter: i64) -> Result<(), Fail> {
    if conn.change(
        "DELETE FROM franked_part WHERE letter = ?1 AND part IN
         (SELECT part FROM franked_part WHERE letter = ?1 ORDER BY part DESC LIMIT ?2)",
        params![letter, PARTS_DROPPED_AT_ONCE],
    )? < PARTS_DROPPED_AT_ONCE as usize
    {
        conn.change("DELETE FROM franked_letter WHERE seq = ?1 AND key IS NULL", [letter])?;
        conn.change("UPDATE franked_letter SET octets = 0 WHERE seq = ?1", [letter])?;
    }
    Ok(())
}

fn state(conn: &Connection) -> Result<CopiesState, Fail> {
    let mut find = conn.prepare_cached(
        "SELECT count(*) FILTER (WHERE t.waits), count(*) FILTER (WHERE NOT t.waits), min(l.time)
         FROM franked_to t JOIN franked_letter l ON l.seq = t.letter WHERE t.next_try IS NOT NULL",
    )?;
    let (unstamped, ready, oldest): (i64, i64, Option<i64>) =
        find.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut find =
        conn.prepare_cached("SELECT coalesce(sum(octets), 0) FROM franked_letter WHERE octets > 0")?;
    let octets = find.query_row([], |row| row.get(0).map(read_time))?;
    let last_error: Option<Option<String>> = conn.value(
        "SELECT last_error FROM franked_to WHERE next_try IS NOT NULL AND tried IS NOT NULL
         ORDER BY tried DESC LIMIT 1",
        [],
    )?;
    Ok(CopiesState {
        unstamped: read_time(unstamped),
        ready: read_time(ready),
        octets,
        oldest: oldest.map(read_time),
        last_error: last_error.flatten(),
    })
}

#[async_trait::async_trait]
impl Copies for SqliteLedger {
    async fn keep_message(&self, message: Vec<u8>, now: u64) -> Result<Option<i64>, LedgerError> {
        if message.len() > COPY_OCTETS_MAX {
            return Ok(None);
        }
        let closed = |_| LedgerError::Unavailable("the ledger is closed".into());
        let _turn = self.messages_written.acquire().await.map_err(closed)?;
        let octets = message.len();
        let mut parts = message.chunks(PART_OCTETS).map(<[u8]>::to_vec);
        let first = parts.next().unwrap_or_default();
        let begun = self.write(move |batch| begin(batch.conn, octets, &first, now)).await?;
        let Some(seq) = begun else { return Ok(None) };
        for (number, octets) in (1..).zip(parts) {
            self.write(move |batch| part(batch.conn, seq, number, &octets)).await?;
        }
        Ok(Some(seq))
    }

    async fn copy_due(&self, now: u64) -> Result<Option<Copy>, LedgerError> {
        let Some((seq, waits)) = self.readers.read(move |conn| due(conn, now)).await? else {
            return Ok(None);
        };
        if waits {
            self.write(move |batch| go_without(batch, seq, now)).await?;
        }
        self.readers.read(move |conn| read(conn, seq)).await
    }

    async fn copies_let_go(&self, audience: &Domain, now: u64) -> Result<usize, LedgerError> {
        let audience = audience.clone();
        let go = move |batch: &mut Batch<'_>| {
            while give_stamps(batch, Some(&audience), now)? > 0 {}
            let mut write = batch
                .conn
                .prepare_cached("UPDATE franked_to SET next_try = ?2 WHERE waits AND audience = ?1")?;
            Ok(write.execute(params![audience.as_str(), stored_time(now)])?)
        };
        let gone = self.write(go).await?;
        self.outbox.notify_one();
        Ok(gone)
    }

    async fn copy_tried(
        &self,
        seq: i64,
        attempt: Attempt,
        bounce: Option<NewMail>,
        now: u64,
    ) -> Result<(), LedgerError> {
        self.write(move |batch| tried(batch.conn, seq, &attempt, bounce.as_ref(), now)).await
    }

    async fn copies_next(&self) -> Result<Option<u64>, LedgerError> {
        let next = "SELECT min(next_try) FROM franked_to WHERE next_try IS NOT NULL";
        let read = move |conn: &Connection| {
            let next: Option<i64> = conn.prepare_cached(next)?.query_row([], |row| row.get(0))?;
            Ok(next.map(read_time))
        };
        self.readers.read(read).await
    }

    async fn copies_tidy(&self, now: u64) -> Result<bool, LedgerError> {
        if self.readers.read(move |conn| is_tidy(conn, now)).await? {
            return Ok(false);
        }
        self.write(move |batch| tidy(batch.conn, now)).await?;
        Ok(true)
    }

    async fn copies_state(&self) -> Result<CopiesState, LedgerError> {
        self.readers.read(state).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_the_disk_is_not_for_copies() {
        let octets = 1_000;
        for (left, goes) in [
            (u64::MAX, true),
            (DISK_LEFT_OCTETS + 2 * octets, true),
            (DISK_LEFT_OCTETS + 2 * octets - 1, false),
            (octets, false),
            (0, false),
        ] {
            assert_eq!(fits(octets, left), goes, "{left}");
        }
        assert!(!fits(u64::MAX, u64::MAX - 1));
        let directory = tempfile::tempdir().unwrap();
        let conn = Connection::open(directory.path().join("ledger.db")).unwrap();
        assert!(disk_left(&conn).is_some_and(|left| left > 0), "the system is asked about the file");
        assert_eq!(disk_left(&Connection::open_in_memory().unwrap()), None);
    }
}
