//! Putting stamps on a letter: everything else of it stays as it is, octet by octet.

use super::{Wallet, WalletError};
use crate::{
    address::Address,
    message::{add_fields, date_value, message_id_value, split_message},
    money::Micros,
    stamp::{CancelledStamp, STAMP_FIELD, Stamp},
};

/// What goes on a letter besides stamps, given by the caller: time and randomness.
#[derive(Clone, Copy, Debug)]
pub struct Postmark {
    /// Unix seconds.
    pub now: u64,
    /// For a Message-ID, where the letter has none.
    pub random: [u8; 16],
}

impl Wallet {
    /// The letter with a stamp worth at least `least` for each recipient, and Date and Message-ID where they are
    /// missing. When this returns, the stamps are out of the wallet for good, durably.
    ///
    /// # Errors
    /// [`WalletError::NoAuthor`] when the letter has not exactly one author, [`WalletError::Lacking`] when a stamp is
    /// missing, or what became of the wallet's file; then every stamp stays in the wallet.
    pub fn stamp(
        &mut self,
        message: &[u8],
        recipients: &[Address],
        least: Micros,
        postmark: Postmark,
    ) -> Result<Vec<u8>, WalletError> {
        let parts = split_message(message);
        let author = parts.author().ok_or(WalletError::NoAuthor)?;
        let mut fields: Vec<(&str, String)> = vec![];
        if parts.values("Date").next().is_none() {
            fields.push(("Date", date_value(postmark.now)));
        }
        if parts.values("Message-ID").next().is_none() {
            fields.push(("Message-ID", message_id_value(&postmark.random, author.domain())));
        }
        let cancelled = self.cancelled(recipients, &author, least, postmark.now)?;
        fields.extend(cancelled.iter().map(|stamp| (STAMP_FIELD, stamp.to_field_value())));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(add_fields(message, &fields))
    }

    /// A cancelled stamp for each recipient, taken out durably; all or none.
    fn cancelled(
        &mut self,
        recipients: &[Address],
        author: &Address,
        least: Micros,
        now: u64,
    ) -> Result<Vec<CancelledStamp>, WalletError> {
        let mut taken: Vec<(&Address, Stamp)> = vec![];
        let mut lacking = vec![];
        for recipient in distinct(recipients) {
            match self.contents.take(recipient.domain(), least, now) {
                Some(stamp) => taken.push((recipient, stamp)),
                None => lacking.push(recipient.clone()),
            }
        }
        let done = if lacking.is_empty() {
            self.cancel_all(&taken, author, now).and_then(|cancelled| self.save().map(|()| cancelled))
        } else {
            Err(WalletError::Lacking(lacking))
        };
        if done.is_err() {
            self.contents.put(taken.into_iter().map(|(_, stamp)| stamp));
        }
        done
    }

    fn cancel_all(
        &self,
        taken: &[(&Address, Stamp)],
        author: &Address,
        now: u64,
    ) -> Result<Vec<CancelledStamp>, WalletError> {
        let cancel = |(recipient, stamp): &(&Address, Stamp)| {
            let holder = self.contents.seed.holder(&stamp.terms.office, &stamp.terms.id);
            holder.cancel(stamp.clone(), recipient, author, now).map_err(WalletError::Cancel)
        };
        taken.iter().map(cancel).collect()
    }
}

/// Each address once: a stamp a recipient is enough, however often he is named.
fn distinct(recipients: &[Address]) -> Vec<&Address> {
    let mut once: Vec<&Address> = vec![];
    for recipient in recipients {
        if !once.contains(&recipient) {
            once.push(recipient);
        }
    }
    once
}
