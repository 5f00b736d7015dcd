//! Our own outgoing mail: what the queue manager of a small MTA is, for the few mails that a post office writes itself.
//!
//! A task of the daemon. `compose` writes mails (`digest` what stands in those that come by themselves, `schedule` when), the ledger ([`crate::ledger::outbox`]) keeps them, `handover` gives them to
//! the smarthost; `copies` does so with copies of users' letters, and `bounce` tells their senders what failed. It delivers nothing itself and takes mail from nobody but the ledger. What always holds: a mail is in
//! the ledger before it is handed over; one that was refused for now is tried again; one of ours that is never taken is given up
//! with a line in the log, and no bounce, for it has no sender.

pub mod bounce;
pub mod compose;
pub mod copies;
pub mod digest;
pub mod handover;
pub mod schedule;

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tokio::{sync::watch, time::sleep};

use crate::{
    address::Address,
    clock::{DAY_S, unix_now},
    config::{Config, Smarthost},
    franking::Franker,
    gate::Site,
    ledger::{
        Ledger, LedgerError,
        outbox::{Attempt, Mail, MailKind, NewMail, Queued},
        settings::OwnSettings,
    },
    message::dsn::Dsn,
};
use compose::mail_address;
use digest::Digest;
use handover::{Fault, Parcel, hand_over};
use schedule::Period;

/// The first pause after a mail was refused for now, in seconds. From then on it is tried again when as much time as it
/// has waited already has passed once more.
const RETRY_PAUSE_LEAST_S: u64 = 60;
/// The longest such pause, in seconds.
const RETRY_PAUSE_MOST_S: u64 = 3_600;
/// A mail that is refused for now is given up after this, in seconds: as long as MTAs usually keep trying.
const GIVE_UP_S: u64 = 5 * DAY_S;
/// The first pause when the smarthost is away, in seconds; each one that follows is twice as long.
const AWAY_PAUSE_LEAST_S: u64 = 2;
/// The longest such pause, in seconds: how late mail goes when the smarthost is back.
const AWAY_PAUSE_MOST_S: u64 = 300;
/// At the latest after this the queue is looked at, in seconds: another process may have queued something, or the clock
/// been set.
const LOOK_EVERY_S: u64 = 60;
/// How often it is looked whether the daemon that hands mail in over the same ledger has ended, in seconds.
const DUTY_LOOK_S: u64 = 2;
/// At the soonest after this, in seconds: what is due and could not be done is not tried in a circle.
const LOOK_PAUSE_S: u64 = 1;

/// At the soonest after this it is looked whose digest is due, in seconds: the look reads everybody's settings.
const DIGEST_LOOK_S: u64 = 30;
/// A digest tells of what was decided until so long ago, in seconds: by then every decision stands in the ledger.
const DIGEST_LAG_S: u64 = 5;
/// Mails handed over before it is looked what else is due: an answer does not wait for a day's digests.
const MAILS_AT_ONCE_MAX: usize = 100;
/// Digests made before mail goes on.
const DIGESTS_AT_ONCE_MAX: usize = 100;
/// Letters of strangers that are read for a digest; in a flood it says "at least".
const DIGEST_LETTERS_MAX: u32 = 2_000;

/// Takes mail from the ledger to the smarthost.
pub struct Courier {
    ledger: Arc<dyn Ledger>,
    /// The configuration in force.
    site: Box<dyn Fn() -> Arc<Site> + Send + Sync>,
    /// Writes out the stamps of copies.
    franker: Option<Arc<Franker>>,
    away: Option<Away>,
    /// What was last said of whether it has the duty to hand mail in.
    duty: OnDuty,
    /// When it was last looked whose digest is due, in Unix seconds; 0: some are left to make.
    digests_looked: u64,
    /// By whose clock people read their digests.
    zone: TimeZone,
}

/// Whether this daemon hands the mail of its ledger in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDuty {
    Yes,
    /// Another one does.
    No,
    /// It cannot be told.
    Unknown,
}

/// The smarthost cannot be had.
#[derive(Clone, Copy, Debug)]
struct Away {
    /// Not to be asked before, in Unix seconds.
    until: u64,
    /// The pause that ends then, in seconds.
    pause_s: u64,
}

impl Courier {
    /// A courier between this ledger and the smarthost of the site in force, which may change.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, site: impl Fn() -> Arc<Site> + Send + Sync + 'static) -> Self {
        let (site, zone) = (Box::new(site), TimeZone::system());
        Self { ledger, site, franker: None, away: None, duty: OnDuty::Yes, digests_looked: 0, zone }
    }

    /// The same, with the wallet of the stamps on copies of users' letters.
    #[must_use]
    pub fn with_franker(self, franker: Option<Arc<Franker>>) -> Self {
        Self { franker, ..self }
    }

    /// The same, by the clocks of another zone than the system's.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// Works until `stopped` says so; a mail in hand is finished first. While another daemon works on the same ledger it
    /// waits for that one to end, so that no mail goes twice.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let ledger = self.ledger.clone();
        while !*stopped.borrow() {
            let pause = match self.duty().await {
                OnDuty::Yes => self.work(&stopped).await,
                OnDuty::No | OnDuty::Unknown => Duration::from_secs(DUTY_LOOK_S),
            };
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                () = ledger.outbox_changed() => {}
                () = sleep(pause) => {}
            }
        }
        ledger.leave_duty().await;
    }

    /// Takes the duty to hand mail in if nobody has it, and says so when that changes.
    async fn duty(&mut self) -> OnDuty {
        let taken = self.ledger.take_duty().await;
        let duty = match taken {
            Ok(true) => OnDuty::Yes,
            Ok(false) => OnDuty::No,
            Err(_) => OnDuty::Unknown,
        };
        if self.duty != duty {
            match taken {
                Ok(true) => tracing::info!("this daemon hands mail of ours in from now on"),
                Ok(false) => tracing::warn!(
                    "another daemon hands mail of ours in, from the same ledger; this one does when that one has ended"
                ),
                Err(error) => tracing::error!(%error, "mail of ours cannot be handed in; it waits"),
            }
        }
        self.duty = duty;
        duty
    }

    /// Does what is due, and says how long nothing will be.
    async fn work(&mut self, stopped: &watch::Receiver<bool>) -> Duration {
        let done = self.round(unix_now(), || *stopped.borrow()).await;
        let next = match done {
            Ok(()) => self.next().await,
            Err(error) => Err(error),
        };
        let now = unix_now();
        let pause_s = match next {
            Ok(_) if self.digests_looked == 0 => LOOK_PAUSE_S,
            Ok(None) => LOOK_EVERY_S,
            Ok(Some(next)) => {
                let held = self.held_until(now).unwrap_or_default();
                next.max(held).saturating_sub(now).clamp(LOOK_PAUSE_S, LOOK_EVERY_S)
            }
            // The ledger has logged its trouble.
            Err(_) => LOOK_EVERY_S,
        };
        Duration::from_secs(pause_s)
    }

    /// Makes mails of the answers and digests that are due at `now` (Unix seconds), and hands over the mails that are;
    /// between two of them `is_over` may end it.
    ///
    /// # Errors
    /// [`LedgerError`]; what was not written down is done again in the next round.
    pub async fn round(&mut self, now: u64, is_over: impl Fn() -> bool) -> Result<(), LedgerError> {
        // Trouble with one is none of the others'.
        let answers = self.write_answers(now, &is_over).await;
        let digests = self.write_digests(now, &is_over).await;
        let copies = self.hand_over_copies(now, &is_over).await;
        let mails = self.hand_over_mails(now, &is_over).await;
        answers.and(digests).and(copies).and(mails)
    }

    /// When there is something to do again, in Unix seconds.
    async fn next(&self) -> Result<Option<u64>, LedgerError> {
        let (mails, copies) = (self.ledger.outbox_next().await?, self.ledger.copies_next().await?);
        Ok(mails.into_iter().chain(copies).min())
    }

    /// Hands copies of users' letters in, and drops what is kept of those that are done.
    async fn hand_over_copies(&mut self, now: u64, is_over: impl Fn() -> bool) -> Result<(), LedgerError> {
        for _ in 0..MAILS_AT_ONCE_MAX {
            if is_over() || self.held_until(now).is_some() {
                break;
            }
            let Some(copy) = self.ledger.copy_due(now).await? else { break };
            self.try_copy(copy, now).await?;
        }
        while !is_over() && self.ledger.copies_tidy(now).await? {}
        Ok(())
    }

    async fn hand_over_mails(&mut self, now: u64, is_over: impl Fn() -> bool) -> Result<(), LedgerError> {
        if self.held_until(now).is_some() {
            return Ok(());
        }
        for _ in 0..MAILS_AT_ONCE_MAX {
            if is_over() {
                break;
            }
            let Some(mail) = self.ledger.mail_due(now).await? else { break };
            self.try_mail(mail, now).await?;
            if self.away.is_some() {
                break;
            }
        }
        Ok(())
    }

    async fn write_answers(&self, now: u64, is_over: impl Fn() -> bool) -> Result<(), LedgerError> {
        while !is_over()
            && let Some(waiting) = self.ledger.answers_due(now).await?
        {
            let mail = random()
                .and_then(|random| compose::answers(&waiting, now, &random).map_err(|e| e.to_string()))
                .inspect_err(|error| tracing::error!(to = %waiting.to, %error, "an answer was given up"))
                .ok();
            if !self.ledger.queue_answers(&waiting, mail, now).await? {
                // Another daemon works on the same ledger, and was faster.
                break;
            }
        }
        Ok(())
    }

    async fn write_digests(&mut self, now: u64, is_over: impl Fn() -> bool) -> Result<(), LedgerError> {
        if (self.digests_looked..self.digests_looked.saturating_add(DIGEST_LOOK_S)).contains(&now) {
            return Ok(());
        }
        self.digests_looked = now;
        let mut made = 0;
        for (owner, settings) in self.ledger.digest_owners().await? {
            if is_over() {
                break;
            }
            let until = now.saturating_sub(DIGEST_LAG_S);
            let period = schedule::due(settings.digest, settings.digest_sent, until, &self.zone);
            let Some(period) = period else { continue };
            let mail = self.digest_mail(&owner, &settings, period, now).await?;
            let queued = self.ledger.queue_digest(&owner, settings.digest_sent, period.until, mail).await?;
            if queued == Queued::Full {
                tracing::error!(%owner, "digests wait: too much mail of ours waits; look at farthing status");
                break;
            }
            made += 1;
            if made == DIGESTS_AT_ONCE_MAX {
                self.digests_looked = 0;
                break;
            }
        }
        Ok(())
    }

    /// The mail of a digest; `None` when there is nothing to say, or no way to say it.
    async fn digest_mail(
        &self,
        owner: &Address,
        settings: &OwnSettings,
        period: Period,
        now: u64,
    ) -> Result<Option<NewMail>, LedgerError> {
        let site = (self.site)();
        let config = &site.config;
        let Some(commands) = command_address(config, owner) else { return Ok(None) };
        let letters = self.ledger.strangers(owner, period.since, DIGEST_LETTERS_MAX).await?;
        let told = digest::digest(&Digest {
            owner,
            commands: &commands,
            office_url: config.office.as_ref().map(|office| office.url.as_str()),
            key: site.keys.tokens.last(),
            cadence: settings.digest,
            period,
            letters: &letters,
            more: letters.len() >= usize::try_from(DIGEST_LETTERS_MAX).unwrap_or(usize::MAX),
            zone: &self.zone,
        });
        let Some((subject, text)) = told else { return Ok(None) };
        let head = compose::Head {
            from: &commands,
            to: owner,
            subject: &subject,
            kind: MailKind::Digest,
            in_reply_to: &[],
        };
        let mail = random()
            .and_then(|random| compose::mail(&head, text, now, &random).map_err(|e| e.to_string()))
            .inspect_err(|error| tracing::error!(to = %owner, %error, "a digest was given up"));
        Ok(mail.ok())
    }

    /// Until when the smarthost is left alone, if it is.
    fn held_until(&self, now: u64) -> Option<u64> {
        // A pause that seems longer than any comes of a clock that was set back.
        self.away.map(|away| away.until).filter(|until| (now + 1..=now + AWAY_PAUSE_MOST_S).contains(until))
    }

    async fn try_mail(&mut self, mail: Mail, now: u64) -> Result<(), LedgerError> {
        let site = (self.site)();
        let config = &site.config;
        let smarthost = &config.commands.smtp;
        let handed = match mail_address(&mail.to) {
            Ok(to) => {
                let parcel = Parcel { from: None, to, dsn: &Dsn::default(), message: &mail.message };
                hand_over(smarthost, &config.gate.hostname, &parcel).await
            }
            Err(error) => Err(Fault::Refused(error.to_string())),
        };
        let (to, kind, id) = (&mail.to, mail.kind.as_str(), mail.message_id.as_str());
        let attempt = match handed {
            Ok(answer) => {
                tracing::info!(%to, kind, id, answer, "mail of ours was handed in");
                self.smarthost_answers(smarthost);
                Attempt::Taken
            }
            Err(Fault::Refused(error)) => {
                tracing::error!(%to, kind, id, error, "mail of ours was refused and is given up");
                self.smarthost_answers(smarthost);
                Attempt::GivenUp
            }
            Err(Fault::Deferred(error)) => {
                self.smarthost_answers(smarthost);
                put_off(&mail, retry_at(mail.queued, now), error)
            }
            Err(Fault::Away(error)) => {
                let pause_s = self.smarthost_is_away(smarthost, &error, now);
                put_off(&mail, now.saturating_add(pause_s), error)
            }
        };
        self.ledger.mail_tried(mail.seq, attempt, now).await
    }

    fn smarthost_answers(&mut self, smarthost: &Smarthost) {
        if self.away.take().is_some() {
            tracing::info!(%smarthost, "our mail can be handed in again");
        }
    }

    /// Logs it once, and gives the pause in seconds.
    fn smarthost_is_away(&mut self, smarthost: &Smarthost, error: &str, now: u64) -> u64 {
        if self.away.is_none() {
            tracing::error!(%smarthost, error, "our mail cannot be handed in; it waits");
        }
        let pause_s = self.away.map_or(AWAY_PAUSE_LEAST_S, |away| (2 * away.pause_s).min(AWAY_PAUSE_MOST_S));
        self.away = Some(Away { until: now.saturating_add(pause_s), pause_s });
        pause_s
    }
}

/// A mail refused for now: what to do with it.
fn put_off(mail: &Mail, next_try: u64, error: String) -> Attempt {
    let (to, kind, id) = (&mail.to, mail.kind.as_str(), mail.message_id.as_str());
    match put_off_until(mail.queued, next_try, error) {
        Ok((next_try, error)) => {
            tracing::warn!(%to, kind, id, error, "mail of ours was put off");
            Attempt::PutOff { next_try, error }
        }
        Err(error) => {
            tracing::error!(%to, kind, id, error, "mail of ours was put off for too long and is given up");
            Attempt::GivenUp
        }
    }
}

/// When to try again and why, or why no more.
fn put_off_until(queued: u64, next_try: u64, error: String) -> Result<(u64, String), String> {
    if next_try.saturating_sub(queued) >= GIVE_UP_S { Err(error) } else { Ok((next_try, error)) }
}

/// When a mail that was refused for now is tried again.
fn retry_at(queued: u64, now: u64) -> u64 {
    let pause_s = now.saturating_sub(queued).clamp(RETRY_PAUSE_LEAST_S, RETRY_PAUSE_MOST_S);
    now.saturating_add(pause_s)
}

/// The command address in the owner's domain, or in our first for an address elsewhere.
fn command_address(config: &Config, owner: &Address) -> Option<Address> {
    let own = Some(owner.domain()).filter(|domain| config.gate.guards(domain));
    config.command_address(own.or(config.gate.domains.first())?)
}

fn random() -> Result<[u8; 16], String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| e.to_string())?;
    Ok(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_a_mail_waits_the_longer_are_the_pauses() {
        let queued = 1_800_000_000;
        let table = [(0, 60), (59, 60), (61, 61), (600, 600), (3_600, 3_600), (86_400, 3_600)];
        for (age, pause) in table {
            assert_eq!(retry_at(queued, queued + age), queued + age + pause, "{age}");
        }
        assert_eq!(retry_at(queued, queued - 500), queued - 500 + 60, "a clock that was set back");
    }
}
