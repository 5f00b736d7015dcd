//! Stamps for a letter that a local user sends (`[franking]`): what goes on the letter, what on copies of their own, and
//! what follows when stamps are not there.
//!
//! Only for letters by authenticated submission whose login owns From. A recipient whom the letter does not name, beside
//! others, gets his stamp on a copy of his own; so does one whose stamp must be bought first, and his copy waits for it. DNS
//! is asked whether a domain wants stamps, no office is. Trouble with DNS or the ledger holds no outgoing mail up: the
//! letter goes without.

mod wanted;

use farthing_milter::{
    address::Mailbox,
    modification::Modification,
    text::{HeaderName, HeaderValue, SmtpReply},
    verdict::Verdict,
};

use super::{
    Site,
    learn::Submission,
    letter::{Letter, Message},
};
use crate::{
    address::{Address, Domain, without_source_route},
    config,
    franking::{COPY_WAITS_S, Franker, budget},
    ledger::{
        Ledger, LedgerError,
        franking::{Copying, Given, OutgoingLetter, Over, Taken, Wish},
        outbox::AnswerAbout,
    },
    message::{is_name, without},
    outgoing::copies::COPY_FIELD,
    policy::reply,
    stamp::STAMP_FIELD,
};

pub use wanted::Wanted;

/// Fields that stand on no copy: who else got one, and stamps that are others'.
const NOT_COPIED: [&str; 4] = ["Bcc", "Resent-Bcc", STAMP_FIELD, COPY_FIELD];
/// By which a letter that somebody sends anew is told from one that an MTA sends again (RFC 5322 §3.6.6).
const RESENT: [&str; 2] = ["Resent-Date", "Resent-Message-ID"];
/// What a letter's key is computed with.
const KEY_CONTEXT: &[u8] = b"postage-franked-letter-v1\0";

/// What the postmaster can do about a budget of a day or a letter.
const BUDGET_ADVICE: &str = "A day ends at midnight, UTC. If this is not meant, look\nafter the machine of that user; if it is, raise the \
    limit under [franking].";
/// What the postmaster can do about an account.
const ACCOUNT_ADVICE: &str = "Put money on it, after a look at what it was spent on:\nfarthing account show login:NAME and \
    farthing account credit login:NAME AMOUNT.";

/// What becomes of a letter.
pub enum Franked {
    /// It goes.
    Goes(Postage),
    /// It is put off.
    Deferred(SmtpReply),
}

/// What a letter goes with.
#[derive(Default)]
pub struct Postage {
    /// Values of its Postage-Stamp fields.
    stamps: Vec<String>,
    /// Recipients who get copies of their own, as the envelope has them.
    taken_off: Vec<Vec<u8>>,
    /// All its recipients do.
    nobody_left: bool,
}

impl Postage {
    /// A delivery with its fields, and without those who get copies.
    pub fn on(self, verdict: Verdict) -> Verdict {
        let Verdict::Deliver(mut delivery) = verdict else { return verdict };
        if self.nobody_left {
            // An envelope without recipients means something else to every MTA.
            return Verdict::Discard;
        }
        let field = |value| {
            let (name, value) = (HeaderName::new(STAMP_FIELD).ok()?, HeaderValue::new(value).ok()?);
            Some(Modification::InsertHeader(0, name, value))
        };
        delivery.modifications.extend(self.stamps.into_iter().filter_map(field));
        for given in &self.taken_off {
            // Postfix tells us of a source route, and knows the recipient without it.
            let bare = Some(without_source_route(given)).filter(|bare| bare != given);
            let off = [Some(given.as_slice()), bare].into_iter().flatten();
            let off = off.filter_map(|recipient| Mailbox::new(recipient).ok());
            delivery.modifications.extend(off.map(Modification::DeleteRecipient));
        }
        Verdict::Deliver(delivery)
    }
}

/// A letter to put stamps on.
pub struct Outgoing<'a> {
    /// By which it is judged.
    pub site: &'a Site,
    /// Who handed it in.
    pub submission: &'a Submission,
    /// What it wants.
    pub wanted: Wanted,
    /// Unix seconds.
    pub now: u64,
}

impl Outgoing<'_> {
    /// Takes the stamps that the letter needs, if they are there and within the budgets, and queues copies for those who
    /// cannot have theirs on the letter itself. They are durable when this returns.
    pub async fn frank(mut self, franker: &Franker, ledger: &dyn Ledger, letter: &mut Letter) -> Franked {
        let nothing = Franked::Goes(Postage::default());
        let (Some(config), Some(digest)) = (&self.site.config.franking, letter.take_digest()) else {
            return nothing;
        };
        let message = letter.take_message().ok().filter(|_| self.wanted.can_copy);
        for wish in &mut self.wanted.wishes {
            let waits = config.waits && !franker.is_failing(wish.recipient.domain());
            wish.wait_s = waits.then_some(COPY_WAITS_S);
        }
        let asked = OutgoingLetter {
            login: self.submission.login().to_owned(),
            key: self.key(letter, &digest),
            sender: letter.mail_from.clone(),
            dsn: self.submission.dsn().clone(),
            author: self.wanted.author.clone(),
            wishes: std::mem::take(&mut self.wanted.wishes),
            copying: if message.is_some() { Copying::Possible } else { Copying::Impossible },
        };
        match self.take(&asked, message, ledger, config).await {
            Ok(Taken::Given(given)) => {
                // What is left in hand may be fewer than are to be kept.
                franker.wake();
                Franked::Goes(self.postage(franker, &asked.wishes, given))
            }
            Ok(Taken::Lacking(domains)) => {
                franker.wake();
                domains.first().map_or(nothing, |domain| Franked::Deferred(being_bought(domain)))
            }
            Ok(Taken::Over { which, first }) => {
                if first {
                    self.alert(which, config, ledger).await;
                }
                Franked::Deferred(over(which, config))
            }
            Ok(Taken::Keep) => nothing,
            Err(error) => {
                tracing::error!(%error, "no stamps can be put on a letter");
                nothing
            }
        }
    }

    /// Asks the ledger, and has it keep the message once it turns out that copies are needed.
    async fn take(
        &self,
        asked: &OutgoingLetter,
        message: Option<Message>,
        ledger: &dyn Ledger,
        config: &config::Franking,
    ) -> Result<Taken, LedgerError> {
        let taken = ledger.frank(asked.clone(), budget(config), self.now).await?;
        let (Taken::Keep, Some(mut message)) = (&taken, message) else { return Ok(taken) };
        // Its room in memory is given back when the ledger has it.
        let is_not_copied = |name: &[u8]| NOT_COPIED.iter().any(|unwanted| is_name(name, unwanted));
        let octets = without(&std::mem::take(&mut message.octets), is_not_copied);
        let copying = match ledger.keep_message(octets, self.now).await? {
            Some(kept) => Copying::Kept(kept),
            None => {
                tracing::error!(
                    "a letter's copies cannot be queued: too many wait, or the disk is nearly full; look at farthing status"
                );
                Copying::Impossible
            }
        };
        ledger.frank(OutgoingLetter { copying, ..asked.clone() }, budget(config), self.now).await
    }

    /// Names the letter: the same one, sent again by an MTA, has the same key, and not what its author sends anew. One
    /// without Message-ID and Date has one of its own, for the next may well be another that reads the same: a program's,
    /// every hour.
    fn key(&self, letter: &Letter, digest: &[u8; 32]) -> [u8; 16] {
        let mut key = [0; 16];
        let is_named = ["Message-ID", "Date"].into_iter().any(|name| letter.values(name).next().is_some());
        if !is_named && getrandom::fill(&mut key).is_ok() {
            return key;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(KEY_CONTEXT).update(digest).update(self.submission.login().to_lowercase().as_bytes());
        hasher.update(b"\0").update(&letter.mail_from);
        // The digest knows nothing of them.
        for value in RESENT.into_iter().flat_map(|name| letter.values(name)) {
            hasher.update(b"\0").update(value);
        }
        hasher.finalize_xof().fill(&mut key);
        key
    }

    /// What was given, written out: each stamp for one recipient of its domain.
    fn postage(&self, franker: &Franker, wishes: &[Wish], given: Vec<Given>) -> Postage {
        let currency = self.site.config.ledger.currency;
        let author = &self.wanted.author;
        let mut postage = Postage::default();
        let mut copies = 0_usize;
        for (wish, given) in wishes.iter().zip(given) {
            match given {
                Given::Stamp(stamp) => {
                    match franker.cancel(&stamp, currency, &wish.recipient, author, self.now) {
                        // A milter's lines end in LF alone.
                        Some(cancelled) => {
                            postage.stamps.push(cancelled.to_field_value().replace("\r\n", "\n"));
                        }
                        None => {
                            tracing::error!(office = %stamp.office, "a stamp in hand cannot be written out");
                        }
                    }
                }
                Given::Copy => {
                    copies += 1;
                    let all = self.submission.envelope();
                    let his = all.filter(|(recipient, _)| **recipient == wish.recipient);
                    postage.taken_off.extend(his.map(|(_, named)| named.address.clone()));
                }
                Given::Nothing => {}
            }
        }
        postage.nobody_left = postage.taken_off.len() >= self.submission.count();
        let (login, stamps) = (self.submission.login(), postage.stamps.len());
        if stamps > 0 || copies > 0 {
            tracing::info!(login, %author, stamps, copies, "stamps put on a letter");
        }
        postage
    }

    /// Tells the postmaster, once a day for a login: a machine may be infected.
    async fn alert(&self, which: Over, config: &config::Franking, ledger: &dyn Ledger) {
        let (login, author) = (self.submission.login(), &self.wanted.author);
        let (what, advice) = match which {
            Over::Letter => (
                format!("a letter's postage is over [franking] per_letter, {}", config.per_letter),
                BUDGET_ADVICE,
            ),
            Over::User => (
                format!("a user's postage of today is used up ([franking] per_user, {})", config.per_user),
                BUDGET_ADVICE,
            ),
            Over::Site => (
                format!("the site's postage of today is used up ([franking] per_day, {})", config.per_day),
                BUDGET_ADVICE,
            ),
            Over::Account => ("the postage account of a login holds too little".to_owned(), ACCOUNT_ADVICE),
        };
        tracing::warn!(login, %author, "{what}; letters that need more are put off");
        let domain = author.domain();
        let (Some(from), Some(to)) =
            (self.site.config.command_address(domain), Address::from_parts(b"postmaster", domain.clone()))
        else {
            return;
        };
        let about = AnswerAbout { from, subject: format!("Postage: {what}"), in_reply_to: None };
        let login = crate::address::escaped(login.as_bytes());
        let text = format!(
            "{what}.\n\nThe login is {login}, the letter came from {author}. Its letters to domains that ask for\n\
             postage are put off (451) meanwhile. {advice}\n"
        );
        if let Err(error) = ledger.answer(&to, about, text, self.now).await {
            tracing::error!(%error, "the postmaster is not told of a budget that is used up");
        }
    }
}

fn being_bought(domain: &Domain) -> SmtpReply {
    let text = format!("postage for {domain} is being bought; please send this again in a minute");
    reply::temporary("4.7.1", &text)
}

fn over(which: Over, config: &config::Franking) -> SmtpReply {
    let text = match which {
        Over::Letter => format!(
            "the stamps for this letter cost more than {}; send it to fewer at a time",
            config.per_letter
        ),
        Over::User => format!("your postage of {} for today is used up; send this tomorrow", config.per_user),
        Over::Account => {
            "the postage account of your login holds too little for this letter; ask your postmaster to \
                          put money on it"
                .to_owned()
        }
        Over::Site => "this server's postage for today is used up; send this tomorrow".to_owned(),
    };
    reply::temporary("4.7.1", &text)
}
