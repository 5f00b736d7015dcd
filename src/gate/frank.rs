//! Stamps for a letter that a local user sends (`[franking]`): for whom, and what follows when they are not there.
//!
//! Only for letters by authenticated submission whose login owns From, and only for recipients that the letter names in
//! To or Cc, or its only one: a stamp is bound to its recipient, and whoever can guess the address could find a Bcc
//! recipient by it. DNS is asked whether a domain wants stamps, no office is. Trouble with DNS or the ledger holds no
//! outgoing mail up: the letter goes without.

use std::time::Duration;

use farthing_milter::{
    modification::Modification,
    text::{HeaderName, HeaderValue, SmtpReply},
    verdict::Verdict,
};

use super::{
    Site,
    learn::{Submission, is_null_sender},
    letter::Letter,
};
use crate::{
    address::{Address, Domain},
    config,
    dns::Budget,
    franking::{Franker, budget},
    ledger::{
        Ledger,
        franking::{Over, PurseStamp, Taken, Wish},
        outbox::AnswerAbout,
    },
    message::addresses,
    policy::reply,
    stamp::{CancelledStamp, STAMP_FIELD, STAMP_FIELDS_MAX, check::is_for},
};

/// Domains of one letter that are asked whether they want stamps; a letter to more is written to nobody in particular.
const DOMAINS_MAX: usize = 20;
/// Waiting for all of their answers.
const POLICIES_TIME: Duration = Duration::from_secs(3);

/// What becomes of a letter.
pub enum Franked {
    /// It goes with these values of Postage-Stamp fields, or none.
    With(Vec<String>),
    /// It is put off.
    Deferred(SmtpReply),
}

impl Franked {
    /// A delivery with its fields.
    pub fn on(self, verdict: Verdict) -> Verdict {
        match (self, verdict) {
            (Self::With(values), Verdict::Deliver(mut delivery)) => {
                let field = |value| {
                    Some(Modification::InsertHeader(
                        0,
                        HeaderName::new(STAMP_FIELD).ok()?,
                        HeaderValue::new(value).ok()?,
                    ))
                };
                delivery.modifications.extend(values.into_iter().filter_map(field));
                Verdict::Deliver(delivery)
            }
            (Self::Deferred(reply), Verdict::Deliver(_)) => Verdict::Refuse(reply),
            (_, verdict) => verdict,
        }
    }
}

/// A letter to put stamps on.
pub struct Outgoing<'a> {
    /// By which it is judged.
    pub site: &'a Site,
    /// Of it.
    pub letter: &'a Letter,
    /// Who handed it in.
    pub submission: &'a Submission,
    /// Unix seconds.
    pub now: u64,
}

/// Recipients of one domain, and what they cost.
struct Asking {
    domain: Domain,
    recipients: Vec<Address>,
    wish: Wish,
}

impl Outgoing<'_> {
    /// Takes the stamps that the letter needs, if they are there and within the budgets.
    pub async fn frank(&self, franker: &Franker, ledger: &dyn Ledger) -> Franked {
        let nothing = Franked::With(vec![]);
        let Some(config) = &self.site.config.franking else { return nothing };
        if self.letter.header_cut || is_null_sender(&self.letter.mail_from) {
            return nothing;
        }
        let Some(author) = self.submission.author(self.site, self.letter) else { return nothing };
        let mut asking = self.asking(config).await;
        while !asking.is_empty() {
            let wishes = asking.iter().map(|one| one.wish.clone()).collect();
            let taken = ledger.frank(self.submission.login(), wishes, budget(config), self.now).await;
            match taken {
                Ok(Taken::Stamps(stamps)) => {
                    // What is left in hand may be fewer than are to be kept.
                    franker.wake();
                    return Franked::With(self.written(franker, &author, &asking, stamps));
                }
                Ok(Taken::Lacking(domains)) => {
                    franker.wake();
                    let awaited = domains.iter().find(|domain| config.waits && !franker.is_failing(domain));
                    if let Some(domain) = awaited {
                        return Franked::Deferred(reply::temporary(
                            "4.7.1",
                            &format!(
                                "postage for {domain} is being bought; please send this again in a minute"
                            ),
                        ));
                    }
                    asking.retain(|one| !domains.contains(&one.domain));
                }
                Ok(Taken::Over { which, first }) => {
                    if first {
                        self.alert(which, config, &author, ledger).await;
                    }
                    return Franked::Deferred(over(which, config));
                }
                Err(error) => {
                    tracing::error!(%error, "no stamps can be put on a letter");
                    return nothing;
                }
            }
        }
        nothing
    }

    /// Who wants stamps, of those who can have one.
    async fn asking(&self, config: &config::Franking) -> Vec<Asking> {
        let mut by_domain: Vec<(Domain, Vec<Address>)> = vec![];
        for recipient in self.recipients() {
            match by_domain.iter_mut().find(|(domain, _)| domain == recipient.domain()) {
                Some((_, recipients)) if recipients.contains(&recipient) => {}
                Some((_, recipients)) => recipients.push(recipient),
                None => by_domain.push((recipient.domain().clone(), vec![recipient])),
            }
        }
        if by_domain.len() > DOMAINS_MAX {
            return vec![];
        }
        let mut budget = Budget::of(POLICIES_TIME);
        let mut asking = vec![];
        for (domain, recipients) in by_domain {
            let Some(Ok(Ok(policy))) = budget.spend(self.site.discovery.policy(&domain)).await else {
                continue;
            };
            if policy.currency != self.site.config.ledger.currency || policy.price > config.max_price {
                tracing::info!(%domain, price = %policy.price, currency = %policy.currency, "asks for stamps that are not bought here");
                continue;
            }
            let count = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
            let wish = Wish { audience: domain.clone(), least: policy.price, count };
            asking.push(Asking { domain, recipients, wish });
        }
        asking
    }

    /// Recipients elsewhere that the letter names, or its only one, without those who have a stamp on it already.
    fn recipients(&self) -> Vec<Address> {
        let all = self.submission.recipients();
        let named: Vec<Address> = ["To", "Cc"]
            .into_iter()
            .flat_map(|name| self.letter.values(name).flat_map(addresses::addresses).collect::<Vec<_>>())
            .collect();
        let stamped: Vec<CancelledStamp> = self
            .letter
            .values(STAMP_FIELD)
            .take(STAMP_FIELDS_MAX)
            .filter_map(|value| CancelledStamp::parse(value).ok())
            .collect();
        let gate = &self.site.config.gate;
        let wanted = |recipient: &&Address| {
            !gate.guards(recipient.domain())
                && (all.len() == 1 || named.contains(recipient))
                && !stamped.iter().any(|stamp| is_for(stamp, recipient))
        };
        all.iter().filter(wanted).cloned().collect()
    }

    /// The fields: each stamp for one recipient of its domain.
    fn written(
        &self,
        franker: &Franker,
        author: &Address,
        asking: &[Asking],
        stamps: Vec<PurseStamp>,
    ) -> Vec<String> {
        let recipients = asking.iter().flat_map(|one| &one.recipients);
        let currency = self.site.config.ledger.currency;
        let mut values = vec![];
        for (recipient, stamp) in recipients.zip(&stamps) {
            match franker.cancel(stamp, currency, recipient, author, self.now) {
                // A milter's lines end in LF alone.
                Some(cancelled) => values.push(cancelled.to_field_value().replace("\r\n", "\n")),
                None => tracing::error!(office = %stamp.office, "a stamp in hand cannot be written out"),
            }
        }
        let (login, count) = (self.submission.login(), values.len());
        tracing::info!(login, %author, stamps = count, "stamps put on a letter");
        values
    }

    /// Tells the postmaster, once a day for a login: a machine may be infected.
    async fn alert(&self, which: Over, config: &config::Franking, author: &Address, ledger: &dyn Ledger) {
        let login = self.submission.login();
        let (what, limit) = match which {
            Over::Letter => ("a letter's postage is over [franking] per_letter", config.per_letter),
            Over::User => ("a user's postage of today is used up ([franking] per_user)", config.per_user),
            Over::Site => ("the site's postage of today is used up ([franking] per_day)", config.per_day),
        };
        tracing::warn!(login, %author, %limit, "{what}; letters that need more are put off");
        let domain = author.domain();
        let (Some(from), Some(to)) =
            (self.site.config.command_address(domain), Address::from_parts(b"postmaster", domain.clone()))
        else {
            return;
        };
        let about = AnswerAbout { from, subject: format!("Postage: {what}"), in_reply_to: None };
        let text = format!(
            "{what}: {limit}.\n\nThe login is {}, the letter came from {author}. Its letters to domains that ask for\n\
             postage are put off (451) for the rest of the day (UTC). If this is not meant, look after the machine\n\
             of that user; if it is, raise the limit under [franking].\n",
            crate::address::escaped(login.as_bytes())
        );
        if let Err(error) = ledger.answer(&to, about, text, self.now).await {
            tracing::error!(%error, "the postmaster is not told of a budget that is used up");
        }
    }
}

fn over(which: Over, config: &config::Franking) -> SmtpReply {
    let text = match which {
        Over::Letter => format!(
            "the stamps for this letter cost more than {}; send it to fewer at a time",
            config.per_letter
        ),
        Over::User => format!("your postage of {} for today is used up; send this tomorrow", config.per_user),
        Over::Site => "this server's postage for today is used up; send this tomorrow".to_owned(),
    };
    reply::temporary("4.7.1", &text)
}
