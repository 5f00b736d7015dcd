//! What the books say of a letter before it is judged, by one read connection.

use async_trait::async_trait;
use rusqlite::Connection;

use super::{SqliteLedger, book, fail::Fail, freepost, passes, sent, settings};
use crate::ledger::{
    LedgerError,
    book::Known,
    dossier::{About, Dossier, Dossiers, Recipient},
    owners::Owners,
};

#[async_trait]
impl Dossiers for SqliteLedger {
    async fn dossiers(&self, about: About) -> Result<Vec<Dossier>, LedgerError> {
        let owners = self.site.owners();
        self.readers
            .read(move |conn| {
                // Of one instant: a friend who is blocked and a price that is raised are so together.
                let conn = conn.unchecked_transaction()?;
                about.recipients.iter().map(|recipient| dossier(&conn, &owners, &about, recipient)).collect()
            })
            .await
    }
}

fn dossier(
    conn: &Connection,
    owners: &Owners,
    about: &About,
    recipient: &Recipient,
) -> Result<Dossier, Fail> {
    let reader = owners.of(&recipient.address);
    let author = book::known(conn, &reader, &about.senders)?;
    let list = book::known(conn, &reader, &about.list)?;
    let by_id = about.list.get(..1).unwrap_or_default();
    let bearer = about.bearer.as_ref().filter(|_| author == Known::Unknown);
    Ok(Dossier {
        author,
        list,
        list_by_id: list == Known::Allowed && book::known(conn, &reader, by_id)? == Known::Allowed,
        freepost_revoked: match &recipient.freepost {
            Some((owner, label)) => freepost::is_revoked(conn, owner, label)?,
            None => false,
        },
        answers: match about.answers.as_slice() {
            [] => None,
            ids => sent::answerable(conn, &reader, ids, about.now)?.map(|(_, found)| found),
        },
        passes: match bearer {
            Some(author) => passes::find(conn, author, &recipient.address, about.now)?,
            None => vec![],
        },
        settings: settings::settings(conn, &owners.owner(&recipient.address))?,
    })
}
