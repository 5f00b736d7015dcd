//! All that the books say of a letter before it is judged, in one look: a look costs the gate more by its way to the
//! ledger and back than by what is read there.
//!
//! Only reading. What becomes of its postage the ledger says when it is redeemed.

use async_trait::async_trait;

use super::{
    LedgerError,
    book::{Known, Sender},
    passes::Pass,
    sent::Answerable,
    settings::OwnSettings,
};
use crate::address::Address;

/// A letter, as far as the books may know of it.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Unix seconds.
    pub now: u64,
    /// Whom it goes to.
    pub recipients: Vec<Recipient>,
    /// The names under which its author may be known.
    pub senders: Vec<Sender>,
    /// The names under which the list it names may be known; the List-Id first.
    pub list: Vec<Sender>,
    /// [`message_id_hash`](super::message_id_hash) of the letters it claims to answer.
    pub answers: Vec<[u8; 16]>,
    /// Whose passes are looked for, where he is a stranger. `None`: nobody's.
    pub bearer: Option<Address>,
}

/// One recipient of it.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// As the envelope names him.
    pub address: Address,
    /// Owner and label, where it is a freepost address.
    pub freepost: Option<(Address, String)>,
}

/// What the books say for one recipient. The default is what they say of strangers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dossier {
    /// Of the author.
    pub author: Known,
    /// Of the list.
    pub list: Known,
    /// The list is known by its List-Id, and not only by an address that goes with it.
    pub list_by_id: bool,
    /// That freepost label was revoked.
    pub freepost_revoked: bool,
    /// What he sent, of what the letter claims to answer.
    pub answers: Option<Answerable>,
    /// The bearer's for letters to him, used ones included; none where he is known or blocked.
    pub passes: Vec<Pass>,
    /// What he has set for himself.
    pub settings: OwnSettings,
}

/// Answers about letters.
#[async_trait]
pub trait Dossiers {
    /// What the books say of a letter, for each recipient in order, all as of one instant.
    ///
    /// # Errors
    /// [`LedgerError`] when they cannot be read.
    async fn dossiers(&self, about: About) -> Result<Vec<Dossier>, LedgerError>;
}
