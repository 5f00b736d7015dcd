//! Counting decisions, and letting old ones go.

use rusqlite::{Connection, Row, params};

use super::{
    fail::{Fail, stored_time},
    rows::{Statements, columns},
};
use crate::{
    ledger::tally::{DECISIONS_KEPT_S, DayCount, Money, SenderCount, TALLY_SENDERS_MAX, Tally},
    money::Micros,
};

/// Old decisions looked at for each new one: more than one, so that a backlog shrinks; few, so that no batch waits for it.
const FORGOTTEN_PER_NEW: usize = 4;

/// Counts what was decided, redeemed and given back since a time.
pub(super) fn tally(conn: &Connection, since: u64) -> Result<Tally, Fail> {
    let since = stored_time(since);
    let days = conn.all(
        "SELECT time / 86400, result, delivered, count(*) FROM decisions WHERE time >= ?1 GROUP BY 1, 2, 3",
        [since],
        |row| {
            Ok(DayCount {
                day: row.get::<_, i64>(0)?.unsigned_abs(),
                result: row.get(1)?,
                delivered: row.get(2)?,
                letters: count(row, 3)?,
            })
        },
    )?;
    // With max(), SQLite takes the bare column from the row of the maximum: the newest.
    let senders = conn.all(
        "SELECT iif(list IS NULL, author, NULL) AS writer, list, result, reason, count(*) AS letters,
         max(seq),
                iif(count(DISTINCT recipient) = 1, recipient, NULL)
         FROM decisions WHERE time >= ?1
         GROUP BY writer, list, result ORDER BY letters DESC, writer, list, result LIMIT ?2",
        params![since, i64::try_from(TALLY_SENDERS_MAX).unwrap_or(i64::MAX)],
        |row| {
            Ok(SenderCount {
                author: row.get(0)?,
                list: row.get(1)?,
                recipient: row.get(6)?,
                result: row.get(2)?,
                reason: row.get(3)?,
                letters: count(row, 4)?,
            })
        },
    )?;
    Ok(Tally {
        days,
        senders,
        // The index on days of redemption finds the first of them.
        paid: money(
            conn,
            "SELECT count(*), coalesce(sum(amount), 0) FROM redeemed
             WHERE time / 86400 >= ?1 / 86400 AND time >= ?1",
            since,
        )?,
        refunded: money(
            conn,
            "SELECT count(*), coalesce(sum(amount), 0) FROM journal
             WHERE kind = 'refund' AND redeemed IS NOT NULL AND time >= ?1",
            since,
        )?,
    })
}

fn money(conn: &Connection, select: &str, since: i64) -> Result<Money, Fail> {
    let (count, sum): (i64, i64) = conn.find(select, [since], columns)?.unwrap_or_default();
    Ok(Money { count: count.unsigned_abs(), value: Micros::from_signed(sum).unwrap_or_default() })
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// Lets the oldest decisions go when they are too old: a few for each that was just written, so that no batch is long.
/// Says how many went.
pub(super) fn forget(conn: &Connection, written: usize, newest: u64) -> Result<usize, Fail> {
    let before = stored_time(newest.saturating_sub(DECISIONS_KEPT_S));
    let looked_at = i64::try_from(written.saturating_mul(FORGOTTEN_PER_NEW)).unwrap_or(i64::MAX);
    conn.change(
        "DELETE FROM decisions
         WHERE seq IN (SELECT seq FROM decisions ORDER BY seq LIMIT ?2) AND time < ?1",
        params![before, looked_at],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Decision, sqlite::mark};

    fn ledger() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        super::super::schema::run_migrations(&mut conn).unwrap();
        conn
    }

    fn decide(
        conn: &Connection,
        time: u64,
        author: Option<&str>,
        result: &'static str,
        reason: &'static str,
    ) {
        let decision = Decision {
            time,
            recipient: "bob@b.example".parse().unwrap(),
            author: author.map(|a| a.parse().unwrap()),
            authenticated: false,
            message_id: None,
            result,
            reason,
            delivered: result == "known",
            number: None,
            list: None,
            unsubscribe: vec![],
            reply_to: vec![],
            list_posts: vec![],
        };
        mark::note(conn, &crate::ledger::owners::Owners::apart(), &decision).unwrap();
    }

    #[test]
    fn decisions_are_counted_by_day_and_sender() {
        let conn = ledger();
        let day = 86_400;
        decide(&conn, day, Some("old@a.example"), "known", "");
        decide(&conn, 2 * day, Some("alice@a.example"), "known", "");
        decide(&conn, 2 * day + 5, Some("eve@e.example"), "invalid", "spent");
        decide(&conn, 3 * day, Some("eve@e.example"), "invalid", "expired");
        decide(&conn, 3 * day, None, "unpaid", "");
        for author in ["ann@x.example", "ben@y.example"] {
            decide(&conn, 3 * day, Some(author), "known", "");
            conn.execute(
                "UPDATE decisions SET list = 'users.lists.example' WHERE seq = last_insert_rowid()",
                [],
            )
            .unwrap();
        }
        let tally = tally(&conn, 2 * day).unwrap();
        let days: Vec<_> =
            tally.days.iter().map(|d| (d.day, d.result.as_str(), d.delivered, d.letters)).collect();
        assert_eq!(
            days,
            [
                (2, "invalid", false, 1),
                (2, "known", true, 1),
                (3, "invalid", false, 1),
                (3, "known", true, 2),
                (3, "unpaid", false, 1)
            ]
        );
        let first = tally.senders.iter().find(|sender| sender.result == "invalid").unwrap();
        assert_eq!((first.letters, first.result.as_str(), first.reason.as_str()), (2, "invalid", "expired"));
        let list = tally.senders.iter().find(|sender| sender.list.is_some()).unwrap();
        assert_eq!(
            (list.list.as_deref(), &list.author, list.letters),
            (Some("users.lists.example"), &None, 2)
        );
        assert_eq!(tally.senders.len(), 4);
        assert_eq!((tally.paid, tally.refunded), (Money::default(), Money::default()));
    }

    #[test]
    fn old_decisions_go_a_few_at_a_time_and_young_ones_stay() {
        let conn = ledger();
        let now = DECISIONS_KEPT_S + 1_000;
        (0..10).for_each(|time| decide(&conn, time, None, "unpaid", ""));
        (0..10).for_each(|i| decide(&conn, now - i, None, "unpaid", ""));
        let left =
            || conn.query_row("SELECT count(*) FROM decisions", [], |row| row.get::<_, i64>(0)).unwrap();
        forget(&conn, 1, now).unwrap();
        assert_eq!(left(), 20 - 4);
        for _ in 0..10 {
            forget(&conn, 1, now).unwrap();
        }
        assert_eq!(left(), 10);
        forget(&conn, 100, now).unwrap();
        assert_eq!(left(), 10);
    }
}
