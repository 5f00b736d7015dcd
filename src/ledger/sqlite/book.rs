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
    identity::forwarder::{HOST_PREFIX, SEALER_PREFIX},
    ledger::book::{BookEntry, How, Known, NewEntry, Sender},
};

/// Before a List-Id in a sender's key; no address or domain begins so.
const LIST_PREFIX: &[u8] = b"list:";

/// The strongest entry for any of these names: a block, then a welcome, the recipient's or the site's.
pub(super) fn known(conn: &Connection, recipient: &Address, senders: &[Sender]) -> Result<Known, Fail> {
    let mut find =
        conn.prepare_cached("SELECT max(block) FROM book WHERE recipient IN (?1, x'') AND sender = ?2")?;
    let reader = recipient.without_detail().to_bytes();
    let mut found = Known::Unknown;
    for sender in senders {
        match find.query_row(params![reader, key(sender)], |row| row.get::<_, Option<bool>>(0))? {
            Some(true) => return Ok(Known::Blocked),
            Some(false) => found = Known::Allowed,
            None => {}
        }
    }
    Ok(found)
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
        Sender::List(id) => [LIST_PREFIX, id.as_bytes()].concat(),
        // As they are written: no domain has a colon in it.
        Sender::Sealer(_) | Sender::Host(_) => sender.to_string().into_bytes(),
    }
}

fn sender(key: &[u8]) -> Result<Sender, Fail> {
    if let Some(id) = key.strip_prefix(LIST_PREFIX) {
        return Ok(Sender::List(String::from_utf8_lossy(id).into_owned()));
    }
    if key.contains(&b'@') {
        return Ok(Sender::Address(address(key)?));
    }
    let text = String::from_utf8_lossy(key);
    let domain = |text: &str| text.parse::<Domain>().map_err(|e| Fail::damaged(e.to_string()));
    Ok(if let Some(sealer) = text.strip_prefix(SEALER_PREFIX) {
        Sender::Sealer(domain(sealer)?)
    } else if let Some(host) = text.strip_prefix(HOST_PREFIX) {
        Sender::Host(domain(host)?)
    } else {
        Sender::Domain(domain(&text)?)
    })
}
