//! The book of known senders in SQLite.
//!
//! Keys are bytes: an address may hold any octets. The site's own entries have the empty recipient. A
//! recipient's book is that of the address without `+detail` (DESIGN.md "The verdict").

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    fail::{Fail, read_time, stored_time},
    mark::address,
};
use crate::{
    address::{Address, Domain},
    ledger::{
        LedgerError,
        book::{BookEntry, How, Known, NewEntry, Sender, Standing, strongest},
        zone::Zone,
    },
};

/// Before a List-Id in a sender's key; no address or domain begins so.
const LIST_PREFIX: &[u8] = b"list:";
/// Before a zone in a sender's key; no address or domain begins so.
const ZONE_PREFIX: u8 = b'.';

/// What follows from all entries under these names of one sender, the recipient's and the site's.
pub(super) fn known(conn: &Connection, recipient: &Address, senders: &[Sender]) -> Result<Known, Fail> {
    let mut find = conn.prepare_cached(
        "SELECT recipient <> x'', block, how FROM book WHERE recipient IN (?1, x'') AND sender = ?2",
    )?;
    let reader = recipient.without_detail().to_bytes();
    let mut standing = Vec::new();
    for sender in senders {
        let mut rows = find.query(params![reader, key(sender)])?;
        while let Some(row) = rows.next()? {
            let by_hand = row.get_ref(2)?.as_str().is_ok_and(|how| how == How::Added.as_str());
            let exactness = sender.exactness();
            standing.push(Standing { exactness, own: row.get(0)?, block: row.get(1)?, by_hand });
        }
    }
    Ok(strongest(&standing))
}

/// Makes a sender known unless an entry stands there already, be it a block.
pub(super) fn learn(
    conn: &Connection,
    recipient: &Address,
    sender: &Sender,
    how: How,
    now: u64,
) -> Result<bool, Fail> {
    let entry = NewEntry {
        recipient: Some(recipient.clone()),
        sender: sender.clone(),
        block: false,
        how,
        since: now,
    };
    add(conn, &entry)
}

/// Makes a known sender unknown; a block stays.
pub(super) fn forget(conn: &Connection, recipient: &Address, sender: &Sender) -> Result<bool, Fail> {
    let mut delete =
        conn.prepare_cached("DELETE FROM book WHERE recipient = ?1 AND sender = ?2 AND NOT block")?;
    Ok(delete.execute(params![reader(Some(recipient)), key(sender)])? > 0)
}

/// Fails for entries that may not be written at all, before any is.
pub(super) fn check<'a>(mut entries: impl Iterator<Item = &'a NewEntry>) -> Result<(), LedgerError> {
    match entries.find(|entry| !entry.block && entry.sender.check_welcome().is_err()) {
        Some(_) => {
            Err(LedgerError::Invalid("anybody can have a name there: it may be blocked, not made known"))
        }
        None => Ok(()),
    }
}

/// Writes an entry; false when it stands there already or may not be written over a block.
pub(super) fn add(conn: &Connection, entry: &NewEntry) -> Result<bool, Fail> {
    let (reader, key) = (reader(entry.recipient.as_ref()), key(&entry.sender));
    let mut find = conn.prepare_cached("SELECT block FROM book WHERE recipient = ?1 AND sender = ?2")?;
    let stands: Option<bool> = find.query_row(params![reader, key], |row| row.get(0)).optional()?;
    let written = match stands {
        None => true,
        Some(blocked) => blocked != entry.block && (entry.block || entry.how == How::Added),
    };
    if written {
        let mut write = conn.prepare_cached(
            "INSERT OR REPLACE INTO book (recipient, sender, block, how, since) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        write.execute(params![reader, key, entry.block, entry.how.as_str(), stored_time(entry.since)])?;
    }
    Ok(written)
}

/// Takes an entry out, be it a block; false when there was none.
pub(super) fn remove(conn: &Connection, recipient: Option<&Address>, sender: &Sender) -> Result<bool, Fail> {
    let mut delete = conn.prepare_cached("DELETE FROM book WHERE recipient = ?1 AND sender = ?2")?;
    Ok(delete.execute(params![reader(recipient), key(sender)])? > 0)
}

/// A recipient's book, or everybody's and the site's, in order of recipient and sender.
pub(super) fn list(conn: &Connection, recipient: Option<&Address>) -> Result<Vec<BookEntry>, Fail> {
    const COLUMNS: &str = "SELECT recipient, sender, block, how, since FROM book";
    let mut find = match recipient {
        Some(_) => conn.prepare_cached(&format!("{COLUMNS} WHERE recipient = ?1 ORDER BY sender"))?,
        None => conn.prepare_cached(&format!("{COLUMNS} ORDER BY recipient, sender"))?,
    };
    let mut rows = match recipient {
        Some(_) => find.query([reader(recipient)])?,
        None => find.query([])?,
    };
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(read_entry(row)?);
    }
    Ok(entries)
}

fn read_entry(row: &Row<'_>) -> Result<BookEntry, Fail> {
    let recipient: Vec<u8> = row.get(0)?;
    let recipient = if recipient.is_empty() { None } else { Some(address(&recipient)?) };
    let how: String = row.get(3)?;
    Ok(BookEntry {
        recipient,
        sender: sender(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?,
        block: row.get(2)?,
        how: How::from_word(&how).ok_or_else(|| Fail::damaged(format!("the book says `{how}`")))?,
        since: read_time(row.get(4)?),
    })
}

fn reader(recipient: Option<&Address>) -> Vec<u8> {
    recipient.map(|address| address.without_detail().to_bytes()).unwrap_or_default()
}

fn key(sender: &Sender) -> Vec<u8> {
    match sender {
        Sender::Address(address) => address.to_bytes(),
        Sender::Domain(domain) => domain.as_str().into(),
        Sender::Zone(zone) => [&[ZONE_PREFIX], zone.as_str().as_bytes()].concat(),
        Sender::List(id) => [LIST_PREFIX, id.as_bytes()].concat(),
    }
}

fn sender(key: &[u8]) -> Result<Sender, Fail> {
    if let Some(id) = key.strip_prefix(LIST_PREFIX) {
        return Ok(Sender::List(String::from_utf8_lossy(id).into_owned()));
    }
    if key.contains(&b'@') {
        return Ok(Sender::Address(address(key)?));
    }
    if key.first() == Some(&ZONE_PREFIX) {
        let zone: Result<Zone, _> = String::from_utf8_lossy(key).parse();
        return Ok(Sender::Zone(zone.map_err(|e| Fail::damaged(e.to_string()))?));
    }
    let domain: Result<Domain, _> = String::from_utf8_lossy(key).parse();
    Ok(Sender::Domain(domain.map_err(|e| Fail::damaged(e.to_string()))?))
}
