//! Freepost addresses in SQLite: made, used and revoked by owner and label.

use rusqlite::{Connection, Row, params};

use super::{
    fail::{Fail, read_time, stored_time},
    rows::Statements,
};
use crate::{
    address::Address,
    ledger::freepost::{Label, NewLabel},
};

/// Enters a label, or a new expiry for one that stands; false when it was revoked, for its old address would come alive.
pub(super) fn add(conn: &Connection, new: &NewLabel) -> Result<bool, Fail> {
    if is_revoked(conn, &new.owner, &new.label)? {
        return Ok(false);
    }
    conn.change(
        "INSERT INTO freepost (owner, label, made, expiry_day) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (owner, label) DO UPDATE SET expiry_day = ?4",
        params![new.owner, new.label, stored_time(new.now), new.expiry_day],
    )?;
    Ok(true)
}

/// Revokes a label for good; false when it was revoked before.
pub(super) fn revoke(conn: &Connection, owner: &Address, label: &str, now: u64) -> Result<bool, Fail> {
    // One that never was entered is revoked too: its address may have been made elsewhere with the site's key.
    Ok(conn.change(
        "INSERT INTO freepost (owner, label, made, expiry_day, revoked) VALUES (?1, ?2, ?3, 0, ?3)
         ON CONFLICT (owner, label) DO UPDATE SET revoked = ?3 WHERE revoked IS NULL",
        params![owner, label, stored_time(now)],
    )? > 0)
}

/// Whether a label was revoked.
pub(super) fn is_revoked(conn: &Connection, owner: &Address, label: &str) -> Result<bool, Fail> {
    let found: Option<bool> = conn.value(
        "SELECT revoked IS NOT NULL FROM freepost WHERE owner = ?1 AND label = ?2",
        params![owner, label],
    )?;
    Ok(found == Some(true))
}

/// Counts a letter that came through an address.
pub(super) fn used(
    conn: &Connection,
    owner: &Address,
    label: &str,
    author: Option<&Address>,
    now: u64,
) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO freepost (owner, label, made, expiry_day, letters, last_letter, first_author)
         VALUES (?1, ?2, ?3, 0, 1, ?3, ?4)
         ON CONFLICT (owner, label) DO UPDATE
         SET letters = letters + 1, last_letter = ?3, first_author = coalesce(first_author, ?4)",
        params![owner, label, stored_time(now), author],
    )?;
    Ok(())
}

/// Every label of an owner, or of everybody.
pub(super) fn list(conn: &Connection, owner: Option<&Address>) -> Result<Vec<Label>, Fail> {
    conn.all(
        "SELECT owner, label, made, expiry_day, revoked, letters, last_letter, first_author FROM freepost
         WHERE ?1 IS NULL OR owner = ?1 ORDER BY owner, label",
        [owner],
        read,
    )
}

fn read(row: &Row<'_>) -> Result<Label, Fail> {
    Ok(Label {
        owner: row.get(0)?,
        label: row.get(1)?,
        made: read_time(row.get(2)?),
        expiry_day: row.get(3)?,
        revoked: row.get::<_, Option<i64>>(4)?.map(read_time),
        letters: read_time(row.get(5)?),
        last_letter: row.get::<_, Option<i64>>(6)?.map(read_time),
        first_author: row.get(7)?,
    })
}
