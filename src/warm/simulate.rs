//! What today's settings and book would have done to a letter that came long ago.
//!
//! The verdict is the gate's own (`policy::verdict`). What the gate would have asked DNS is taken from the letter's
//! stored Authentication-Results of trusted servers; where they say nothing and it would decide, nobody can tell. Postage
//! counts as this host's own Postage-Status said it did. Nothing is changed.

use super::{
    overview::{SenderLine, word},
    recipient_of, time_of, trusts,
};
use crate::{
    address::Address,
    config::{Config, IdentityCheck},
    identity::{
        align::same_organisation,
        results::{self, Results, Told},
    },
    ledger::{
        Ledger, LedgerError,
        book::{Known, Sender},
    },
    message::{
        Message,
        kind::{Kind, kind_of_message},
    },
    policy::{Authenticated, Class, Facts, Postage, author_matters, status, verdict},
    stamp::{freepost::Freepost, tokens::TokenKey},
};

/// Local parts that are never asked for postage (RFC 5321 §4.5.1, RFC 2142).
const ROLES: [&[u8]; 2] = [b"postmaster", b"abuse"];
/// What a letter's sender is called when it has not exactly one author.
const NO_AUTHOR: &str = "(no author)";

/// Judges old letters.
pub struct Simulation<'a, L: Ledger + ?Sized> {
    /// The settings.
    pub config: &'a Config,
    /// The keys freepost addresses are made with.
    pub tokens: &'a [TokenKey],
    /// The book.
    pub ledger: &'a L,
    /// Whose mail it is, where the letters need not say it.
    pub recipient: Option<&'a Address>,
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
    /// What would have become of a letter.
    ///
    /// # Errors
    /// [`LedgerError`] when the book cannot be read.
    pub async fn judge(&self, message: &Message<'_>) -> Result<Judged, LedgerError> {
        let recipient = self.recipient.cloned().or_else(|| recipient_of(message, self.config));
        let author = message.author();
        let kind = kind_of_message(message);
        let fields =
            results::of_trusted(message.values(results::FIELD), |server| trusts(self.config, server));
        let (class, reason) =
            self.verdict(message, author.as_ref(), recipient.as_ref(), &kind, &fields).await?;
        let (sender, kind_word, known_as) = match (&kind, author) {
            (Kind::List(list), _) => (list.to_string(), "list", Some(list.clone())),
            (kind, Some(author)) => (author.to_string(), kind.word(), Some(Sender::Address(author))),
            (kind, None) => (NO_AUTHOR.into(), kind.word(), None),
        };
        let stays_out = matches!(class, Class::Unpaid | Class::Invalid(_));
        let allow = known_as.filter(|_| stays_out).map(|sender| command(&sender, recipient.as_ref()));
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

    async fn verdict(
        &self,
        message: &Message<'_>,
        author: Option<&Address>,
        recipient: Option<&Address>,
        kind: &Kind,
        fields: &[Results],
    ) -> Result<(Class, String), LedgerError> {
        let role = recipient.is_some_and(|r| ROLES.contains(&r.without_detail().local()));
        if role {
            return Ok((Class::Exempt, "postmaster and abuse are never asked".into()));
        }
        let postage = self.postage(message);
        let told = author.map(|author| results::judge(fields, author.domain()));
        let names = author.map(Sender::names_of_author);
        let facts = Facts {
            exempt: false,
            book: self.book(recipient, names.unwrap_or_default()).await?,
            freepost: postage == Some("freepost") || self.is_freepost(recipient, time_of(message)).await?,
            own_domain: author.is_some_and(|author| self.config.welcomes_as_own(author.domain())),
            authenticated: self.authenticated(told.as_ref()),
            postage: match postage {
                Some("paid") => Postage::Paid,
                Some("work") => Postage::Work,
                _ => Postage::None,
            },
            ..Facts::default()
        };
        let class = verdict(&facts);
        if !matches!(class, Class::Known | Class::Blocked | Class::Freepost)
            && let Kind::List(list) = kind
        {
            let by_list = Facts {
                book: self.book(recipient, vec![list.clone()]).await?,
                own_domain: false,
                authenticated: self.list_authenticated(list, fields),
                ..facts
            };
            if author_matters(&by_list) {
                let class = verdict(&by_list);
                return Ok((class, reason(class, &by_list, None)));
            }
        }
        Ok((class, reason(class, &facts, told.as_ref())))
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

    /// Whether the recipient is an address that was handed out, was good when the letter came and is not revoked now.
    async fn is_freepost(&self, recipient: Option<&Address>, time: Option<u64>) -> Result<bool, LedgerError> {
        let (Some(freepost), Some(time)) = (recipient.and_then(Freepost::parse), time) else {
            return Ok(false);
        };
        if freepost.has_expired(time) || !freepost.is_genuine(self.tokens) {
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

    /// Whether the letter is from the list: a domain that SPF or DKIM authenticated aligns with the List-Id.
    fn list_authenticated(&self, list: &Sender, fields: &[Results]) -> Authenticated {
        let Sender::List(id) = list else { return Authenticated::No };
        if self.config.identity.check == IdentityCheck::None {
            return Authenticated::No;
        }
        let Ok(id) = crate::address::Domain::from_any(id) else { return Authenticated::No };
        match () {
            () if results::passed(fields).any(|domain| same_organisation(&domain, &id)) => Authenticated::Yes,
            () if fields
                .iter()
                .any(|f| f.results.iter().any(|r| r.method == "spf" || r.method == "dkim")) =>
            {
                Authenticated::No
            }
            () => Authenticated::Trouble,
        }
    }

    /// What this host said of the postage when the letter came.
    fn postage(&self, message: &Message<'_>) -> Option<&'static str> {
        let value = message.values(status::STATUS).find(|value| {
            status::is_own_status(status::STATUS.as_bytes(), value, &self.config.gate.hostname)
        })?;
        let tags = value.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let result = tags.filter_map(|tag| tag.strip_prefix(b"result=")).next()?;
        ["paid", "work", "freepost"].into_iter().find(|word| word.as_bytes() == result)
    }
}

/// The line that would let such letters in; `None` for a name that could not be typed safely.
fn command(sender: &Sender, recipient: Option<&Address>) -> Option<String> {
    let text = sender.to_string();
    let whose = recipient.map(|r| format!(" --for {}", r.without_detail())).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_+@:=/".contains(&b);
    (!text.starts_with('-') && text.bytes().chain(whose.bytes()).all(|b| plain(b) || b == b' '))
        .then(|| format!("farthing known add {text}{whose}"))
}

fn reason(class: Class, facts: &Facts, told: Option<&Told>) -> String {
    let proof = told.map_or_else(|| "of the list".to_owned(), ToString::to_string);
    match class {
        Class::Known if facts.book == Known::Allowed => format!("in the book; {proof}"),
        Class::Known => format!("of our own domain; {proof}"),
        Class::Blocked => format!("blocked in the book; {proof}"),
        Class::Freepost => "to an address that was handed out".into(),
        Class::Paid | Class::Work => "paid when it came".into(),
        Class::Trouble if told.is_none() => {
            "the list is in the book, but nothing says whether it was really from it".into()
        }
        Class::Trouble => format!(
            "in the book or of our own domain, but nothing says whether it was really from there: {proof}"
        ),
        _ if author_matters(facts) => {
            format!("in the book or of our own domain, but not proven to be from there: {proof}")
        }
        _ => "not in the book".into(),
    }
}
