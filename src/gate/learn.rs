//! Learning from mail that local users send: whom they write to becomes known to them, and what they sent may be
//! answered free (DESIGN.md "The verdict" row 1). Nothing is added to such mail.

use super::{Site, letter::Letter};
use crate::{
    address::Address,
    ledger::{Ledger, message_id_hash, sent::Sent},
    message::{
        author,
        dsn::{LetterDsn, RecipientDsn},
        kind::kind,
        thread::first_message_id,
    },
};

/// Recipients that one letter makes known; who writes to more at once writes to nobody in particular.
const LEARNED_MAX: usize = 500;

/// A recipient as the envelope has him.
pub struct Named {
    /// The address, word for word.
    pub address: Vec<u8>,
    /// What the sender wants to hear of him.
    pub dsn: RecipientDsn,
}

/// A letter handed in by authenticated submission.
pub struct Submission {
    login: String,
    recipients: Vec<Address>,
    /// Of each recipient, how the envelope has him.
    envelope: Vec<Named>,
    /// What its sender wants to hear of it.
    dsn: LetterDsn,
    /// Recipients in all, those among them whose addresses mean nothing here.
    count: usize,
}

impl Submission {
    /// Of this login, as the MTA names it, with the options of MAIL.
    #[must_use]
    pub fn of(login: &[u8], dsn: LetterDsn) -> Self {
        Self {
            login: String::from_utf8_lossy(login).into_owned(),
            recipients: vec![],
            envelope: vec![],
            dsn,
            count: 0,
        }
    }

    /// The login, as the MTA names it.
    #[must_use]
    pub fn login(&self) -> &str {
        &self.login
    }

    /// The recipients, ours and others; none when there are more than one letter is meant for.
    #[must_use]
    pub fn recipients(&self) -> &[Address] {
        if self.recipients.len() > LEARNED_MAX { &[] } else { &self.recipients }
    }

    /// The recipients with the envelope's own words for them; likewise.
    pub fn envelope(&self) -> impl Iterator<Item = (&Address, &Named)> {
        self.recipients().iter().zip(&self.envelope)
    }

    /// What its sender wants to hear of it.
    #[must_use]
    pub const fn dsn(&self) -> &LetterDsn {
        &self.dsn
    }

    /// How many recipients there are, some perhaps named twice.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The author of the letter, if there is exactly one and the login owns his address.
    #[must_use]
    pub fn author(&self, site: &Site, letter: &Letter) -> Option<Address> {
        let gate = &site.config.gate;
        author(&letter.values("From").collect::<Vec<_>>())
            .filter(|author| gate.logins.owns(&self.login, author, &gate.domains))
    }

    /// Adds a recipient, ours or not, with the options of RCPT.
    pub fn add_recipient(&mut self, recipient: &[u8], dsn: RecipientDsn) {
        self.count = self.count.saturating_add(1);
        if self.recipients.len() <= LEARNED_MAX
            && let Ok(address) = Address::parse(recipient)
        {
            self.recipients.push(address);
            self.envelope.push(Named { address: recipient.to_vec(), dsn });
        }
    }

    /// What the letter teaches; `None` when a robot wrote it, or not the login's owner, or to everybody.
    #[must_use]
    pub fn teaches(&self, site: &Site, letter: &Letter, now: u64) -> Option<Sent> {
        let gate = &site.config.gate;
        if !site.config.identity.learn_from_sent
            || letter.header_cut
            || is_null_sender(&letter.mail_from)
            || self.recipients.len() > LEARNED_MAX
            || !kind(|name| letter.values(name)).means_recipients()
        {
            return None;
        }
        let author = author(&letter.values("From").collect::<Vec<_>>())?;
        let own = |address: &Address| gate.logins.owns(&self.login, address, &gate.domains);
        if !own(&author) {
            return None;
        }
        let command = |address: &Address| {
            site.config.command_address(address.domain()).is_some_and(|c| c == address.without_detail())
                && gate.guards(address.domain())
        };
        let recipients: Vec<Address> =
            self.recipients.iter().filter(|r| !own(r) && !command(r)).cloned().collect();
        let mut ids = letter.values("Message-ID");
        let message_id = match (ids.next(), ids.next()) {
            (Some(value), None) => first_message_id(value).map(message_id_hash),
            _ => None,
        };
        (!recipients.is_empty()).then_some(Sent { now, author, recipients, message_id })
    }
}

/// Whether an envelope sender is the null one, which bounces and other reports have.
#[must_use]
pub fn is_null_sender(mail_from: &[u8]) -> bool {
    matches!(mail_from, b"" | b"<>")
}

/// Learns, durably before the letter is answered: what is lost here would be asked of a friend later. A ledger in
/// trouble holds no outgoing mail up.
pub async fn learn(sent: Sent, ledger: &dyn Ledger) {
    let author = sent.author.clone();
    match ledger.learn(sent).await {
        Ok(0) => {}
        Ok(learned) => tracing::info!(%author, learned, "come to be known by being written to"),
        Err(error) => tracing::error!(%error, %author, "what was sent is not learned from"),
    }
}
