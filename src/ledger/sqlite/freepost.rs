//! Freepost addresses in SQLite: made, used and revoked by owner and label.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    fail::{Fail, read_time, stored_time},
    mark::address,
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
    let mut write = conn.prepare_cached(
        "INSERT INTO freepost (owner, label, made, expiry_day) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (owner, label) DO UPDATE SET expiry_day = ?4",
    )?;
    write.execute(params![new.owner.to_bytes(), new.label, stored_time(new.now), new.expiry_day])?;
    Ok(true)
}

/// Revokes a label for good; false when it was revoked before.
pub(super) fn revoke(conn: &Connection, owner: &Address, label: &str, now: u64) -> Result<bool, Fail> {
    // One that never was entered is revoked too: its address may have been made elsewhere with the site's key.
    let mut write = conn.prepare_cached(
        "INSERT INTO freepost (owner, label, made, expiry_day, revoked) VALUES (?1, ?2, ?3, 0, ?3)
         ON CONFLICT (owner, label) DO UPDATE SET revoked = ?3 WHERE revoked IS NULL",
    )?;
    Ok(write.execute(params![owner.to_bytes(), label, stored_time(now)])? > 0)
}

/// Whether a label was revoked.
pub(super) fn is_revoked(conn: &Connection, owner: &Address, label: &str) -> Result<bool, Fail> {
    let mut find =
        conn.prepare_cached("SELECT revoked IS NOT NULL FROM freepost WHERE owner = ?1 AND label = ?2")?;
    let found: Option<bool> =
        find.query_row(params![owner.to_bytes(), label], |row| row.get(0)).optional()?;
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
    let mut write = conn.prepare_cached(
        "INSERT INTO freepost (owner, label, made, expiry_day, letters, last_letter, first_author)
         VALUES (?1, ?2, ?3, 0, 1, ?3, ?4)
         ON CONFLICT (owner, label) DO UPDATE
         SET letters = letters + 1, last_letter = ?3, first_author = coalesce(first_author, ?4)",
    )?;
    write.execute(params![owner.to_bytes(), label, stored_time(now), author.map(Address::to_bytes)])?;
    Ok(())
}

/// Every label of an owner, or of everybody.
pub(super) fn list(conn: &Connection, owner: Option<&Address>) -> Result<Vec<Label>, Fail> {
    let mut find = conn.prepare_cached(
        "SELECT owner, label, made, expiry_day, revoked, letters, last_letter, first_author FROM freepost
         WHERE ?1 IS NULL OR owner = ?1 ORDER BY owner, label",
    )?;
    let mut rows = find.query([owner.map(Address::to_bytes)])?;
    let mut labels = Vec::new();
    while let Some(row) = rows.next()? {
        labels.push(read(row)?);
    }
    Ok(labels)
}

fn read(row: &Row<'_>) -> Result<Label, Fail> {
    let owner: Vec<u8> = row.get(0)?;
    let first_author: Option<Vec<u8>> = row.get(7)?;
    Ok(Label {
        owner: address(&owner)?,
        label: row.get(1)?,
        made: read_time(row.get(2)?),
        expiry_day: row.get(3)?,
        revoked: row.get::<_, Option<i64>>(4)?.map(read_time),
        letters: read_time(row.get(5)?),
        last_letter: row.get::<_, Option<i64>>(6)?.map(read_time),
        first_author: first_author.as_deref().map(address).transpose()?,
    })
}
