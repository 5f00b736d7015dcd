//! What today's settings and book would have done to a letter that came long ago.
//!
//! The verdict is the gate's own (`policy::verdict`). What the gate would have asked DNS is taken from the letter's
//! stored Authentication-Results of trusted servers; where they say nothing and it would decide, nobody can tell. Postage
//! counts as this host's own Postage-Status said it did; a stamp that still stands on the letter is checked as of then.
//! An answer is one to what the recipient sent, by the folders of sent mail and by the ledger. Nothing is changed.

use super::{
    overview::{SenderLine, word},
    recipient_of,
    sent::SentBefore,
    time_of, told_by_trusted, welcome,
};
use crate::{
    address::{Address, Domain},
    clock::unix_now,
    config::{Config, IdentityCheck},
    gate::{client::origin, postage::Offered},
    identity::{
        align::{same_organisation, up_to_organisation},
        arc,
        dkim::covers,
        results::{self, MethodResult, Results, Told},
    },
    keys::Keys,
    ledger::{
        Ledger, LedgerError,
        book::{Known, Sender},
        message_id_hash,
        sent::SENT_RECIPIENTS_MAX,
    },
    message::{
        Message,
        addresses::addresses,
        envelope::is_of_list,
        kind::{Kind, kind, kind_of_message},
        list::list_id,
        thread::{Returned, first_message_id},
    },
    policy::{
        Answers, Authenticated, Class, Facts, Postage, author_matters, is_role, list_matters, status, verdict,
    },
    stamp::{Asked, Word, check::signed, freepost::Freepost},
};

/// What a letter's sender is called when it has not exactly one author.
const NO_AUTHOR: &str = "(no author)";

/// Judges old letters.
pub struct Simulation<'a, L: Ledger + ?Sized> {
    /// The settings.
    pub config: &'a Config,
    /// The office's keys, and those freepost addresses are made with.
    pub keys: &'a Keys,
    /// The book.
    pub ledger: &'a L,
    /// Whose mail it is, where the letters need not say it.
    pub recipient: Option<&'a Address>,
    /// What was sent, by the folders looked into before.
    pub sent: SentBefore,
}

/// What would have become of a letter.
pub struct Judged {
    /// Counts it.
    pub line: SenderLine,
    /// When it came, in Unix seconds, if it says so.
    pub time: Option<u64>,
    /// Whose it was, if it says so.
    pub recipient: Option<Address>,
}

impl<L: Ledger + ?Sized> Simulation<'_, L> {
    /// Notes a letter in a folder of sent mail.
    ///
    /// # Errors
    /// [`LedgerError`] when the book cannot be read.
    pub async fn sent(&mut self, message: &Message<'_>) -> Result<(), LedgerError> {
        let own = message.author().filter(|author| self.config.gate.guards(author.domain()));
        let Some(owner) = self.recipient.cloned().or(own) else { return Ok(()) };
        let mut lists = Vec::new();
        let to = ["To", "Cc"].into_iter().flat_map(|name| message.values(name)).flat_map(addresses);
        for to in to.take(SENT_RECIPIENTS_MAX) {
            if let Some(list) = Sender::list_at(&to)
                && self.ledger.known(&owner.without_detail(), &[list]).await? == Known::Allowed
            {
                lists.push(to);
            }
        }
        self.sent.note(message, &owner, |to| lists.contains(to));
        Ok(())
    }

    /// What would have become of a letter.
    ///
    /// # Errors
    /// [`LedgerError`] when the book cannot be read.
    pub async fn judge(&mut self, message: &Message<'_>) -> Result<Judged, LedgerError> {
        let recipient = self.recipient.cloned().or_else(|| recipient_of(message, self.config));
        let author = message.author();
        let kind = kind_of_message(message);
        let fields = told_by_trusted(message, self.config);
        let seen = Seen { message, author: author.as_ref(), recipient: recipient.as_ref(), fields: &fields };
        let (class, mut reason) = self.verdict(&seen).await?;
        if class == Class::Unpaid && kind.is_report() {
            reason = "a bounce or report about nothing that the recipient sent".into();
        } else if class == Class::Unpaid && author.is_none() {
            reason = "has not exactly one author".into();
        }
        let (sender, kind_word, known_as) = match (&kind, author) {
            (Kind::List(list), _) => (list.to_string(), "list", Some(list.clone())),
            (kind, Some(author)) => (author.to_string(), kind.word(), Some(Sender::Address(author))),
            (kind, None) => (NO_AUTHOR.into(), kind.word(), None),
        };
        let stays_out = matches!(class, Class::Unpaid | Class::Invalid(_));
        let allow = known_as
            .filter(|_| stays_out && !kind.is_report())
            .map(|sender| welcome(&sender, recipient.as_ref()));
        let line = SenderLine {
            sender,
            messages: 1,
            result: word(class),
            kind: kind_word,
            reason,
            allow: allow.flatten(),
        };
        Ok(Judged { line, time: time_of(message), recipient })
    }

    async fn verdict(&mut self, seen: &Seen<'_>) -> Result<(Class, String), LedgerError> {
        if seen.recipient.is_some_and(is_role) {
            return Ok((Class::Exempt, "postmaster and abuse are never asked".into()));
        }
        let (message, recipient) = (seen.message, seen.recipient);
        let stored = self.stored_postage(message);
        let told = seen.author.map(|author| results::judge(seen.fields, author.domain()));
        let names = seen.author.map(Sender::names_of_author);
        let list = list_id(&message.values("List-Id").collect::<Vec<_>>());
        let (known_list, by_address) = self.list(recipient, list.as_ref(), message).await?;
        let (answers, answered) = self.answers(seen).await?;
        let mut facts = Facts {
            exempt: false,
            book: self.book(recipient, names.unwrap_or_default()).await?,
            freepost: stored == Some("freepost") || self.is_freepost(recipient, time_of(message)).await?,
            own_domain: seen.author.is_some_and(|author| self.config.welcomes_as_own(author.domain())),
            authenticated: self.authenticated(told.as_ref()),
            list: known_list,
            list_authenticated: list
                .map_or(Authenticated::No, |id| self.list_authenticated(&id, by_address, seen)),
            answers,
            pass: false,
            postage: match stored {
                Some("paid") => Postage::Paid,
                Some("work") => Postage::Work,
                _ => self.postage_on(seen),
            },
        };
        let forwarded = self.may_come_by_forwarder(&mut facts, seen).await?;
        let class = verdict(&facts);
        if let (Class::Known, Some(key)) = (class, &answered)
            && verdict(&Facts { answers: Answers::No, ..facts }) != Class::Known
        {
            self.sent.count(key);
        }
        let mut reason = reason(class, &facts, told.as_ref(), stored);
        if forwarded && class == Class::Trouble {
            reason +=
                "; it came by a forwarder that is allowed, and only the gate can look what that one saw";
        }
        Ok((class, reason))
    }

    /// Whether a forwarder whose word the recipient takes brought the letter (`crate::identity::forwarder`). What it saw of
    /// the author or the list was looked up when the letter came, and nothing says how that ended.
    async fn may_come_by_forwarder(&self, facts: &mut Facts, seen: &Seen<'_>) -> Result<bool, LedgerError> {
        let hangs = |found, matters| found == Authenticated::No && matters;
        let author = hangs(facts.authenticated, author_matters(facts));
        let list = hangs(facts.list_authenticated, list_matters(facts));
        if !(author || list) || self.config.identity.check == IdentityCheck::None {
            return Ok(false);
        }
        let allowed = &self.config.identity.forwarders;
        let from = seen.message.values("Received").next().and_then(origin);
        let host = from.as_ref().and_then(|(_, helo)| Domain::from_any(std::str::from_utf8(helo).ok()?).ok());
        let sealer = arc::sealers(seen.message.values(arc::SEAL_FIELD)).into_iter().next();
        let mut takes = from.is_some_and(|(ip, _)| allowed.has_address(&ip));
        for (name, sender, by_site) in [
            (&host, Sender::Host as fn(Domain) -> Sender, host.as_ref().is_some_and(|h| allowed.has_host(h))),
            (&sealer, Sender::Sealer, sealer.as_ref().is_some_and(|s| allowed.has_sealer(s))),
        ] {
            if let Some(name) = name {
                let names = up_to_organisation(name).map(sender).collect();
                let book = self.book(seen.recipient, names).await?;
                takes |= book == Known::Allowed || by_site && book == Known::Unknown;
            }
        }
        if takes && author {
            facts.authenticated = Authenticated::Trouble;
        }
        if takes && list {
            facts.list_authenticated = Authenticated::Trouble;
        }
        Ok(takes)
    }

    /// Whether the letter answers or returns what its recipient sent; and the letter in [`SentBefore`] that it answers.
    async fn answers(&self, seen: &Seen<'_>) -> Result<(Answers, Option<[u8; 16]>), LedgerError> {
        let message = seen.message;
        // What comes by a list is the list's, whatever it answers: its subscribers read every Message-ID.
        let by_list = ["List-Id", "List-Post"].into_iter().any(|name| message.values(name).next().is_some());
        let Some(recipient) = seen.recipient.filter(|_| !by_list) else { return Ok((Answers::No, None)) };
        let mut ids: Vec<[u8; 16]> =
            message.values("In-Reply-To").take(1).filter_map(first_message_id).map(message_id_hash).collect();
        let bounced = message.values("Return-Path").next().is_some_and(|value| value.trim_ascii() == b"<>");
        if bounced || kind(|name| message.values(name)).is_report() {
            let mut returned = Returned::default();
            returned.push(message.body);
            ids.extend(returned.finish().iter().map(|id| message_id_hash(id)));
        }
        if ids.is_empty() {
            return Ok((Answers::No, None));
        }
        let (time, from) = (time_of(message), seen.author.map(Address::domain));
        let (answers, key) = self.sent.answers(recipient, &ids, time, from);
        if answers != Answers::No {
            return Ok((answers, key));
        }
        let remembered = self.ledger.answerable(recipient, &ids, time.unwrap_or_else(unix_now)).await?;
        Ok((remembered.map_or(Answers::No, |_| Answers::Yes), None))
    }

    /// What the postage that still stands on a letter was worth when it came, as far as the office's own keys can tell.
    fn postage_on(&self, seen: &Seen<'_>) -> Postage {
        let (Some(recipient), Some(now)) = (seen.recipient, time_of(seen.message)) else {
            return Postage::None;
        };
        let gate = &self.config.gate;
        let currency = self.config.ledger.currency;
        let asked = Asked { recipient, author: seen.author, currency, price: gate.price, now };
        let offered = Offered::read(|name| seen.message.values(name), gate.work_bits > 0);
        let mut found = offered.for_recipient(&asked, false, gate.work_bits);
        let own = self.config.office.as_ref().map(|office| &office.domain);
        let accepted = self.config.accepted_offices();
        for bound in found.stamps.iter_mut().filter(|bound| bound.word.is_none()) {
            let terms = &bound.stamp.stamp.terms;
            if own == Some(&terms.office) {
                let key = self.keys.of(&terms.selector);
                bound.word =
                    key.map_or(Some(Word::UnknownIssuer), |key| signed(&bound.stamp, &key.public).err());
            } else if accepted.contains(&terms.office) {
                // Its keys are in DNS, or were then.
                return Postage::Trouble;
            } else {
                bound.word = Some(Word::UnknownIssuer);
            }
        }
        match () {
            () if found.stamps.iter().any(|bound| bound.word.is_none()) => Postage::Paid,
            () if found.work.iter().any(|work| work.good) => Postage::Work,
            () => found.word(&[]).map_or(Postage::None, Postage::Bad),
        }
    }

    async fn book(&self, recipient: Option<&Address>, senders: Vec<Sender>) -> Result<Known, LedgerError> {
        // Of a letter that names no recipient of ours, only the site's own book can say anything: nobody has this address.
        let nobody =
            || self.config.gate.domains.first().and_then(|d| Address::from_parts(b"\"\"", d.clone()));
        match recipient.map(Address::without_detail).or_else(nobody) {
            Some(recipient) if !senders.is_empty() => self.ledger.known(&recipient, &senders).await,
            _ => Ok(Known::Unknown),
        }
    }

    /// What the book says of a list, and whether it says so only of the list's address. As at the gate, that then counts
    /// only for letters whose envelope sender is the list's own.
    async fn list(
        &self,
        recipient: Option<&Address>,
        list: Option<&Domain>,
        message: &Message<'_>,
    ) -> Result<(Known, bool), LedgerError> {
        let Some(id) = list.map(Domain::as_str) else { return Ok((Known::Unknown, false)) };
        let known = self.book(recipient, Sender::names_of_list(id)).await?;
        if known != Known::Allowed {
            return Ok((known, false));
        }
        if self.book(recipient, vec![Sender::List(id.to_owned())]).await? == Known::Allowed {
            return Ok((Known::Allowed, false));
        }
        let returned = message.values("Return-Path").next();
        let sender = returned.and_then(|value| Address::parse(value.trim_ascii()).ok());
        let own = sender.zip(Sender::address_of_list(id)).is_some_and(|(s, list)| is_of_list(&s, &list));
        Ok(if own { (Known::Allowed, true) } else { (Known::Unknown, false) })
    }

    /// Whether the recipient is an address that was handed out, was good when the letter came and is not revoked now.
    async fn is_freepost(&self, recipient: Option<&Address>, time: Option<u64>) -> Result<bool, LedgerError> {
        let (Some(freepost), Some(time)) = (recipient.and_then(Freepost::parse), time) else {
            return Ok(false);
        };
        if freepost.has_expired(time) || !freepost.is_genuine(&self.keys.tokens) {
            return Ok(false);
        }
        Ok(!self.ledger.freepost_revoked(freepost.owner(), freepost.label()).await?)
    }

    fn authenticated(&self, told: Option<&Told>) -> Authenticated {
        match told {
            _ if self.config.identity.check == IdentityCheck::None => Authenticated::No,
            None | Some(Told::Not(_)) => Authenticated::No,
            Some(Told::Aligned { .. }) => Authenticated::Yes,
            Some(Told::Trouble(_) | Told::Silent) => Authenticated::Trouble,
        }
    }

    /// Whether the letter is from the list, by SPF of its organisation or, unless only that counts, a signature of it that
    /// covers List-Id.
    fn list_authenticated(&self, list: &Domain, only_spf: bool, seen: &Seen<'_>) -> Authenticated {
        if self.config.identity.check == IdentityCheck::None {
            return Authenticated::No;
        }
        let results = || seen.fields.iter().flat_map(|field| &field.results);
        let signs = |domain: &Domain| {
            let mut signatures = seen.message.values("DKIM-Signature");
            signatures.any(|value| covers(value, "list-id").as_ref() == Some(domain))
        };
        let speaks = |result: &MethodResult| {
            let domain = result.domain().filter(|domain| same_organisation(domain, list));
            domain.is_some_and(|domain| {
                result.method == "spf" || !only_spf && result.method == "dkim" && signs(&domain)
            })
        };
        match () {
            () if results().any(|r| r.result == "pass" && speaks(r)) => Authenticated::Yes,
            () if results().any(|r| r.result == "temperror" && speaks(r)) => Authenticated::Trouble,
            () if results().any(|r| r.method == "spf" || r.method == "dkim") => Authenticated::No,
            () => Authenticated::Trouble,
        }
    }

    /// What this host said of the postage when the letter came.
    fn stored_postage(&self, message: &Message<'_>) -> Option<&'static str> {
        let value = message.values(status::STATUS).find(|value| {
            status::is_own_status(status::STATUS.as_bytes(), value, &self.config.gate.hostname)
        })?;
        let tags = value.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let result = tags.filter_map(|tag| tag.strip_prefix(b"result=")).next()?;
        ["paid", "work", "freepost"].into_iter().find(|word| word.as_bytes() == result)
    }
}

/// A letter and what is read of it.
struct Seen<'a> {
    message: &'a Message<'a>,
    author: Option<&'a Address>,
    recipient: Option<&'a Address>,
    /// What trusted servers said of it.
    fields: &'a [Results],
}

fn reason(class: Class, facts: &Facts, told: Option<&Told>, stored: Option<&str>) -> String {
    let proof = told.map_or_else(|| "no author".to_owned(), ToString::to_string);
    let is = |known| (facts.book, facts.authenticated) == (known, Authenticated::Yes);
    match class {
        Class::Known if is(Known::Allowed) => format!("in the book; {proof}"),
        Class::Known if facts.own_domain && facts.authenticated == Authenticated::Yes => {
            format!("of our own domain; {proof}")
        }
        Class::Known if (facts.list, facts.list_authenticated) == (Known::Allowed, Authenticated::Yes) => {
            "the list is in the book, and it is proven to be from there".into()
        }
        Class::Known => "answers or returns what the recipient sent".into(),
        Class::Blocked if is(Known::Blocked) => format!("blocked in the book; {proof}"),
        Class::Blocked => "the list is blocked in the book".into(),
        Class::Freepost => "to an address that was handed out".into(),
        Class::Paid | Class::Work if stored.is_some() => "paid when it came".into(),
        Class::Paid => "has a good stamp, if it was not spent before".into(),
        Class::Work => "has enough work, if it was not used before".into(),
        Class::Trouble if author_matters(facts) && facts.authenticated == Authenticated::Trouble => format!(
            "in the book or of our own domain, but nothing says whether it was really from there: {proof}"
        ),
        Class::Trouble if list_matters(facts) => {
            "the list is in the book, but nothing says whether it was really from it".into()
        }
        Class::Trouble => "has a stamp of another office, whose key is not looked up".into(),
        _ if author_matters(facts) => {
            format!("in the book or of our own domain, but not proven to be from there: {proof}")
        }
        _ if list_matters(facts) => "the list is in the book, but it is not proven to be from it".into(),
        Class::Invalid(word) => format!("not in the book, and its postage is {}", word.as_str()),
        _ => "not in the book".into(),
    }
}
