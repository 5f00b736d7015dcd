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
    /// missing, [`WalletError::Limit`] when they are worth more than the owner allows, or what became of the wallet's
    /// file; then every stamp stays in the wallet.
    pub fn stamp(
        &mut self,
        message: &[u8],
        recipients: &[Address],
        least: Micros,
        postmark: Postmark,
    ) -> Result<Vec<u8>, WalletError> {
        let copy = recipients.iter().map(|recipient| (recipient.clone(), least)).collect();
        Ok(self.stamp_copies(message, &[copy], postmark)?.pop().unwrap_or_default())
    }

    /// The same for several copies of one letter, each with the recipients whose stamps it bears and the least that
    /// each is to be worth. All have one Date and one Message-ID; all are stamped or none.
    ///
    /// # Errors
    /// As [`Wallet::stamp`].
    pub fn stamp_copies(
        &mut self,
        message: &[u8],
        copies: &[Vec<(Address, Micros)>],
        postmark: Postmark,
    ) -> Result<Vec<Vec<u8>>, WalletError> {
        let parts = split_message(message);
        let author = parts.author().ok_or(WalletError::NoAuthor)?;
        let mut missing: Vec<(&str, String)> = vec![];
        if parts.values("Date").next().is_none() {
            missing.push(("Date", date_value(postmark.now)));
        }
        if parts.values("Message-ID").next().is_none() {
            missing.push(("Message-ID", message_id_value(&postmark.random, author.domain())));
        }
        let with_stamps = |stamps: Vec<CancelledStamp>| {
            let values = stamps.iter().map(|stamp| (STAMP_FIELD, stamp.to_field_value()));
            let fields: Vec<(&str, String)> = missing.iter().cloned().chain(values).collect();
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            add_fields(message, &fields)
        };
        let cancelled = self.cancelled(copies, &author, postmark.now)?;
        Ok(cancelled.into_iter().map(with_stamps).collect())
    }

    /// The cancelled stamps of each copy, taken out durably; all or none.
    fn cancelled(
        &mut self,
        copies: &[Vec<(Address, Micros)>],
        author: &Address,
        now: u64,
    ) -> Result<Vec<Vec<CancelledStamp>>, WalletError> {
        let mut taken: Vec<Vec<(&Address, Stamp)>> = vec![];
        let mut lacking = vec![];
        for copy in copies {
            let mut stamps = vec![];
            for (recipient, least) in distinct(copy) {
                match self.contents.take(recipient.domain(), *least, now) {
                    Some(stamp) => stamps.push((recipient, stamp)),
                    None => lacking.push(recipient.clone()),
                }
            }
            taken.push(stamps);
        }
        let before = self.contents.spent.clone();
        let done = if lacking.is_empty() {
            self.cancel_and_save(&taken, author, now)
        } else {
            Err(WalletError::Lacking(lacking))
        };
        if done.is_err() {
            self.contents.spent = before;
            self.contents.put(taken.into_iter().flatten().map(|(_, stamp)| stamp));
        }
        done
    }

    fn cancel_and_save(
        &mut self,
        taken: &[Vec<(&Address, Stamp)>],
        author: &Address,
        now: u64,
    ) -> Result<Vec<Vec<CancelledStamp>>, WalletError> {
        let values = taken.iter().flatten().map(|(_, stamp)| (stamp.terms.currency, stamp.terms.value));
        let limits = self.contents.limits;
        self.contents.spent.count(&values.collect::<Vec<_>>(), &limits, now)?;
        let cancelled =
            taken.iter().map(|copy| self.cancel_all(copy, author, now)).collect::<Result<_, _>>()?;
        self.save()?;
        Ok(cancelled)
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
fn distinct(recipients: &[(Address, Micros)]) -> Vec<&(Address, Micros)> {
    let mut once: Vec<&(Address, Micros)> = vec![];
    for recipient in recipients {
        if !once.iter().any(|other| other.0 == recipient.0) {
            once.push(recipient);
        }
    }
    once
}
