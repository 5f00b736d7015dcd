//! Copies of users' letters on their way to the smarthost: each to one recipient, from the sender of its letter, with its
//! own stamp and no other.

use super::{
    Courier, bounce,
    bounce::Failed,
    compose::envelope_address,
    handover::{Fault, Parcel, hand_over},
    put_off_until, random, retry_at,
};
use crate::{
    address::{Address, escaped},
    config::Config,
    ledger::{LedgerError, copies::Copy, outbox::Attempt},
    message::build::add_fields,
    stamp::STAMP_FIELD,
};

/// On every copy, with the name of the gate that made it: it puts nothing on this letter again, however it comes back.
pub const COPY_FIELD: &str = "Postage-Copy";

/// The recipient of a copy as the SMTP client takes him: as the letter's envelope had him or, where that is a form of old
/// (a source route, a dot at the end), as we write him. `None`: no copy can be handed in for him.
#[must_use]
pub fn to(envelope: &[u8], recipient: &Address) -> Option<lettre::Address> {
    envelope_address(envelope).or_else(|| envelope_address(&recipient.to_bytes()))
}

impl Courier {
    /// Tries a copy once.
    pub(super) async fn try_copy(&mut self, copy: Copy, now: u64) -> Result<(), LedgerError> {
        let site = (self.site)();
        let config = &site.config;
        let handed = self.hand_over_copy(&copy, config, now).await;
        let (to, login, stamped) = (&copy.recipient, &copy.login, copy.stamp.is_some());
        let smarthost = &config.commands.smtp;
        if !matches!(handed, Err(Fault::Away(_))) {
            self.smarthost_answers(smarthost);
        }
        let fault = match handed {
            Ok(answer) => {
                tracing::info!(%to, login, stamped, answer, "a copy of a letter was handed in");
                return self.ledger.copy_tried(copy.seq, Attempt::Taken, None, now).await;
            }
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Deferred(error)) => put_off_until(copy.queued, retry_at(copy.queued, now), error),
            Err(Fault::Away(error)) => {
                let pause_s = self.smarthost_is_away(smarthost, &error, now);
                put_off_until(copy.queued, now.saturating_add(pause_s), error)
            }
        };
        match fault {
            Ok((next_try, error)) => {
                tracing::warn!(%to, login, error, "a copy of a letter was put off");
                self.ledger.copy_tried(copy.seq, Attempt::PutOff { next_try, error }, None, now).await
            }
            Err(error) => {
                let told = copy.dsn.recipient.tells_failure();
                tracing::warn!(%to, login, error, told, "a copy of a letter is given up");
                self.give_up(&copy, &error, config, now).await
            }
        }
    }

    async fn hand_over_copy(&self, copy: &Copy, config: &Config, now: u64) -> Result<String, Fault> {
        let unfit = |what: &[u8]| Fault::Refused(format!("`{}` cannot stand in an envelope", escaped(what)));
        let from = envelope_address(&copy.sender).ok_or_else(|| unfit(&copy.sender))?;
        let to = to(&copy.envelope, &copy.recipient).ok_or_else(|| unfit(&copy.envelope))?;
        let hostname = &config.gate.hostname;
        let stamp = copy.stamp.as_ref().and_then(|stamp| {
            let franker = self.franker.as_ref()?;
            franker.cancel(stamp, config.ledger.currency, &copy.recipient, &copy.author, now)
        });
        let stamp = stamp.map(|stamp| stamp.to_field_value());
        let mut fields: Vec<(&str, &str)> = stamp.iter().map(|value| (STAMP_FIELD, value.as_str())).collect();
        fields.push((COPY_FIELD, hostname));
        let message = add_fields(&copy.message, &fields);
        let parcel = Parcel { from: Some(from), to, dsn: &copy.dsn, message: &message };
        hand_over(&config.commands.smtp, hostname, &parcel).await
    }

    /// Tells the sender, in the commit that ends the copy, unless he asked not to be told (RFC 3461, NOTIFY).
    async fn give_up(&self, copy: &Copy, error: &str, config: &Config, now: u64) -> Result<(), LedgerError> {
        if !copy.dsn.recipient.tells_failure() {
            return self.ledger.copy_tried(copy.seq, Attempt::GivenUp, None, now).await;
        }
        let failed = Failed {
            sender: &copy.sender,
            recipient: &copy.recipient,
            error,
            hostname: &config.gate.hostname,
            domain: copy.author.domain(),
            dsn: &copy.dsn,
            message: &copy.message,
            queued: copy.queued,
        };
        let bounce = random().ok().and_then(|random| bounce::bounce(&failed, now, &random));
        if bounce.is_none() {
            let (to, from) = (&copy.recipient, escaped(&copy.sender));
            tracing::error!(%to, from, "the sender of a copy that was given up cannot be told");
        }
        self.ledger.copy_tried(copy.seq, Attempt::GivenUp, bounce, now).await
    }
}
