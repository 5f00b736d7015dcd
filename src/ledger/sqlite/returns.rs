//! Which stamps of an account came back to it, in SQLite.

use rusqlite::{Connection, params};

use super::{fail::Fail, rows::Statements, trade::account_name};
use crate::{
    address::Domain,
    clock::DAY_S,
    ledger::{AccountKey, StampId},
};

/// Of these stamps those that the account has bought and has the postage back of: given back by their reader, here or
/// where they were redeemed, or by their end.
pub(super) fn came_back(
    conn: &Connection,
    office: Option<&Domain>,
    account: &AccountKey,
    ids: &[StampId],
) -> Result<Vec<StampId>, Fail> {
    let sql = format!(
        "WITH mine AS (
             SELECT s.id, o.seq, (SELECT d.seq FROM redeemed d
                                  WHERE d.day = o.expiry / {DAY_S} AND d.id = s.id
                                  AND d.office = (SELECT f.id FROM office f WHERE f.name = ?3)) AS redeemed
             FROM sold s JOIN orders o ON o.seq = s.order_seq JOIN account a ON a.id = o.account
             WHERE s.id = ?1 AND a.name = ?2)
         SELECT EXISTS (SELECT 1 FROM reported r WHERE r.id = m.id)
             OR CASE WHEN m.redeemed IS NULL
                     THEN EXISTS (SELECT 1 FROM closed c JOIN journal j ON j.seq = c.entry
                                  WHERE c.order_seq = m.seq AND j.kind = 'return')
                     ELSE EXISTS (SELECT 1 FROM journal j WHERE j.redeemed = m.redeemed) END
         FROM mine m"
    );
    let name = account_name(account);
    let mut back = Vec::new();
    for id in ids {
        let found = conn.value::<bool>(&sql, params![id, name, office])?;
        if found == Some(true) {
            back.push(*id);
        }
    }
    Ok(back)
}
