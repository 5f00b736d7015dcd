//! The book of known senders in SQLite.
//!
//! Keys are bytes: an address may hold any octets. The site's own entries have the empty recipient. A
//! recipient's book stands under his owner's address; what other addresses of his had before is read beside it.

use rusqlite::{Connection, Row, params, params_from_iter};

use super::{
    fail::{Fail, read_time, stored_time},
    rows::{Statements, address},
};
use crate::{
    address::{Address, Domain},
    identity::forwarder::{HOST_PREFIX, SEALER_PREFIX},
    ledger::{
        LedgerError,
        book::{BookEntry, How, Known, NewEntry, Sender, Standing, strongest},
        owners::{Owned, Owners},
        zone::Zone,
    },
};

/// Before a List-Id in a sender's key; no address or domain begins so.
const LIST_PREFIX: &[u8] = b"list:";
/// Before a zone in a sender's key; no address or domain begins so.
const ZONE_PREFIX: u8 = b'.';

/// What follows from all entries under these names of one sender, the reader's and the site's.
pub(super) fn known(conn: &Connection, reader: &Owned, senders: &[Sender]) -> Result<Known, Fail> {
    let readers: Vec<Vec<u8>> = reader.all().map(Address::to_bytes).collect();
    let sql = format!(
        "SELECT recipient <> x'', block, how FROM book WHERE recipient IN (x'', {}) AND sender = ?1",
        slots(2, readers.len())
    );
    let mut standing = Vec::new();
    for sender in senders {
        let key = key(sender);
        let names = params_from_iter([&key].into_iter().chain(&readers));
        standing.extend(conn.all(&sql, names, |row| {
            let by_hand = row.get_ref(2)?.as_str().is_ok_and(|how| how == How::Added.as_str());
            let exactness = sender.exactness();
            Ok(Standing { exactness, own: row.get(0)?, block: row.get(1)?, by_hand })
        })?);
    }
    Ok(strongest(&standing))
}

/// So many numbered parameters, from this number on.
fn slots(from: usize, count: usize) -> String {
    (from..from + count).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ")
}

/// Makes a sender known unless an entry stands there already, be it a block.
pub(super) fn learn(
    conn: &Connection,
    owners: &Owners,
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
    add(conn, owners, &entry)
}

/// Makes a known sender unknown; a block stays.
pub(super) fn forget(conn: &Connection, reader: &Owned, sender: &Sender) -> Result<bool, Fail> {
    let sql = "DELETE FROM book WHERE recipient = ?1 AND sender = ?2 AND NOT block";
    let mut gone = 0;
    for own in keys(Some(reader)) {
        gone += conn.change(sql, params![own, key(sender)])?;
    }
    Ok(gone > 0)
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
pub(super) fn add(conn: &Connection, owners: &Owners, entry: &NewEntry) -> Result<bool, Fail> {
    let reader = entry.recipient.as_ref().map(|recipient| owners.of(recipient));
    let (own, key) = (keys(reader.as_ref()), key(&entry.sender));
    let mut stands: Vec<(bool, bool)> = vec![];
    for own in &own {
        let sql = "SELECT block, how FROM book WHERE recipient = ?1 AND sender = ?2";
        stands.extend(conn.find(sql, params![own, key], |row| {
            Ok((row.get(0)?, row.get_ref(1)?.as_str()? == How::Added.as_str()))
        })?);
    }
    let blocked = stands.iter().any(|(block, _)| *block);
    let by_hand = entry.how == How::Added;
    // Who was only learned is welcomed by hand: that excepts him from wider blocks.
    let confirmed = by_hand && !stands.iter().any(|(_, by_hand)| *by_hand);
    let written = stands.is_empty() || confirmed || blocked != entry.block && (entry.block || by_hand);
    if written {
        // What another address of the owner had, before they were one owner's, must not speak against it.
        if !stands.is_empty() {
            remove(conn, reader.as_ref(), &entry.sender)?;
        }
        let how = entry.how.as_str();
        conn.change(
            "INSERT INTO book (recipient, sender, block, how, since) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![own.first(), key, entry.block, how, stored_time(entry.since)],
        )?;
    }
    Ok(written)
}

/// Takes an entry out (`None`: of the site's book), be it a block; false when there was none.
pub(super) fn remove(conn: &Connection, reader: Option<&Owned>, sender: &Sender) -> Result<bool, Fail> {
    let mut gone = 0;
    for own in keys(reader) {
        gone +=
            conn.change("DELETE FROM book WHERE recipient = ?1 AND sender = ?2", params![own, key(sender)])?;
    }
    Ok(gone > 0)
}

/// Says why an entry is there; false when there is none.
pub(super) fn memo(
    conn: &Connection,
    reader: Option<&Owned>,
    sender: &Sender,
    memo: &str,
) -> Result<bool, Fail> {
    let mut said = 0;
    for own in keys(reader) {
        let sql = "UPDATE book SET memo = ?3 WHERE recipient = ?1 AND sender = ?2";
        said += conn.change(sql, params![own, key(sender), memo])?;
    }
    Ok(said > 0)
}

/// A reader's book with those he shares, or everybody's and the site's, in order of recipient and sender.
pub(super) fn list(conn: &Connection, reader: Option<&Owned>) -> Result<Vec<BookEntry>, Fail> {
    const COLUMNS: &str = "SELECT recipient, sender, block, how, since, memo FROM book";
    const ORDER: &str = "ORDER BY recipient, sender";
    let readers: Vec<Vec<u8>> =
        reader.map(|reader| reader.all().map(Address::to_bytes).collect()).unwrap_or_default();
    let whose = reader.map(|_| format!("WHERE recipient IN ({})", slots(1, readers.len())));
    let sql = format!("{COLUMNS} {} {ORDER}", whose.unwrap_or_default());
    conn.all(&sql, params_from_iter(&readers), read_entry)
}

fn read_entry(row: &Row<'_>) -> Result<BookEntry, Fail> {
    let recipient: Vec<u8> = row.get(0)?;
    let recipient = if recipient.is_empty() { None } else { Some(address(&recipient)?) };
    let how: String = row.get(3)?;
    Ok(BookEntry {
        recipient,
        sender: sender(row.get_ref(1)?.as_blob()?)?,
        block: row.get(2)?,
        how: How::from_word(&how).ok_or_else(|| Fail::damaged(format!("the book says `{how}`")))?,
        since: read_time(row.get(4)?),
        memo: row.get(5)?,
    })
}

/// The keys of a reader's own book, that under which new entries go first; the site's is the empty one.
fn keys(reader: Option<&Owned>) -> Vec<Vec<u8>> {
    reader.map_or_else(|| vec![vec![]], |reader| reader.own.iter().map(Address::to_bytes).collect())
}

fn key(sender: &Sender) -> Vec<u8> {
    match sender {
        Sender::Address(address) => address.to_bytes(),
        Sender::Domain(domain) => domain.as_str().into(),
        Sender::Zone(zone) => [&[ZONE_PREFIX], zone.as_str().as_bytes()].concat(),
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
    if key.first() == Some(&ZONE_PREFIX) {
        let zone: Result<Zone, _> = text.parse();
        return Ok(Sender::Zone(zone.map_err(|e| Fail::damaged(e.to_string()))?));
    }
    let domain = |text: &str| text.parse::<Domain>().map_err(|e| Fail::damaged(e.to_string()));
    Ok(if let Some(sealer) = text.strip_prefix(SEALER_PREFIX) {
        Sender::Sealer(domain(sealer)?)
    } else if let Some(host) = text.strip_prefix(HOST_PREFIX) {
        Sender::Host(domain(host)?)
    } else {
        Sender::Domain(domain(&text)?)
    })
}
