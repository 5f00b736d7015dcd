//! Carrying a command out, over the ledger; and the sentence that says what was done.
//!
//! A letter counts only if it went to an address of the caller's. What is said of another's letter is what is said of
//! one that does not exist.

use std::fmt::Write as _;

use super::{Command, LetterId, Which};
use crate::{
    address::{Address, Domain, escaped},
    clock::{DAY_S, utc_date, utc_day},
    ledger::{
        Ledger, LedgerError, Mark, MarkError, MarkTarget, Marked, StampId,
        book::{BookEntry, How, NewEntry, Sender},
        freepost::NewLabel,
        settings::{Cadence, MarkedSender, OwnPrice, PostageState, StrangerLetter},
    },
    money::Micros,
    stamp::{
        freepost::Freepost,
        tokens::{Token, TokenKey, Verb},
    },
};

/// Entries of the book that `list` shows.
const BOOK_SHOWN_MAX: usize = 200;
/// Letters of strangers that `list` shows.
const STRANGERS_SHOWN_MAX: u32 = 20;
/// How far back it looks for them, in seconds.
const STRANGERS_SHOWN_S: u64 = 14 * DAY_S;

/// Who gives commands: an author whose login owns his address.
pub struct Caller<'a> {
    /// The author of the mail.
    pub author: &'a Address,
    /// Every address of his login, `+detail` aside.
    pub own: &'a [Address],
}

impl Caller<'_> {
    /// Whether mail to this address is the caller's.
    #[must_use]
    pub fn owns(&self, address: &Address) -> bool {
        let bare = address.without_detail();
        self.own.contains(&bare) || self.author.without_detail() == bare
    }

    /// Whose book and settings are changed.
    fn owner(&self) -> Address {
        self.author.without_detail()
    }
}

/// What commands are carried out with.
pub struct Desk<'a> {
    /// The books.
    pub ledger: &'a dyn Ledger,
    /// The site's token keys, the newest last.
    pub tokens: &'a [TokenKey],
    /// The site's domains.
    pub domains: &'a [Domain],
    /// What strangers pay who write to somebody without a price of his own.
    pub site_price: Micros,
    /// The most that anybody may ask.
    pub max_price: Micros,
    /// The address that takes the commands.
    pub address: &'a Address,
    /// Unix seconds.
    pub now: u64,
}

impl Desk<'_> {
    /// Carries a command out and says what was done.
    ///
    /// # Errors
    /// [`LedgerError`] when the ledger cannot answer; the same again does the rest.
    pub async fn perform(&self, command: &Command, caller: &Caller<'_>) -> Result<String, LedgerError> {
        match command {
            Command::Mark(mark, which) => self.mark(*mark, which, caller).await,
            Command::Allow(sender) => self.write(sender, false, caller).await,
            Command::Block(sender) => self.write(sender, true, caller).await,
            Command::Forget(sender) => {
                let was_there = self.ledger.book_remove(Some(&caller.owner()), sender).await?;
                let said = if was_there { "no longer stands" } else { "did not stand" };
                Ok(format!("{sender} {said} in your book"))
            }
            Command::Price(price) => self.set_price(*price, caller).await,
            Command::Freepost { label, days } => self.freepost(label, *days, caller).await,
            Command::Digest(cadence) => {
                self.ledger.set_digest(&caller.owner(), *cadence, self.now).await?;
                Ok(match cadence {
                    Cadence::Off => "you get no digest".into(),
                    Cadence::Daily => "you get a digest every day on which strangers wrote".into(),
                    Cadence::Weekly => "you get a digest every week in which strangers wrote".into(),
                })
            }
            Command::List => self.list(caller).await,
            Command::Help => Ok(self.help()),
        }
    }

    /// Marks the letter that a token in mail names: `None` when it names none of the caller's.
    ///
    /// # Errors
    /// [`LedgerError`] when the ledger cannot answer.
    pub async fn mark_by_token(
        &self,
        token: &Token,
        verb: Verb,
        caller: &Caller<'_>,
    ) -> Result<Option<Marked>, LedgerError> {
        let mark = match verb {
            Verb::Wanted | Verb::LinkWanted => Mark::Wanted,
            Verb::Unwanted | Verb::LinkUnwanted => Mark::Unwanted,
        };
        self.mark_if_genuine(token, &[verb], mark, caller).await
    }

    async fn mark_if_genuine(
        &self,
        token: &Token,
        verbs: &[Verb],
        mark: Mark,
        caller: &Caller<'_>,
    ) -> Result<Option<Marked>, LedgerError> {
        let Some(recipient) = self.ledger.recipient_of(token.number()).await? else { return Ok(None) };
        let genuine = verbs.iter().any(|verb| token.is_genuine(self.tokens, *verb, &recipient));
        if !genuine || !caller.owns(&recipient) {
            return Ok(None);
        }
        self.mark_target(MarkTarget::Number(token.number()), mark).await
    }

    async fn mark_target(&self, target: MarkTarget, mark: Mark) -> Result<Option<Marked>, LedgerError> {
        match self.ledger.mark(target, mark, self.now).await {
            Ok(marked) => Ok(Some(marked)),
            Err(MarkError::NoSuchLetter | MarkError::Ambiguous) => Ok(None),
            Err(MarkError::Ledger(error)) => Err(error),
        }
    }

    async fn mark(&self, mark: Mark, which: &Which, caller: &Caller<'_>) -> Result<String, LedgerError> {
        match which {
            Which::From(author) => self.mark_sender(mark, author, caller).await,
            Which::Named(id) => {
                let found = self.mark_named(mark, id, caller).await?;
                Ok(found.unwrap_or_else(|| match id {
                    LetterId::Message(_) => {
                        "no letter to you has that Message-ID; a sender's address is written \
                                             without < >"
                            .into()
                    }
                    LetterId::Token(_) | LetterId::Stamp(..) => {
                        "no letter to you has that name; copy all of it".into()
                    }
                }))
            }
        }
    }

    async fn mark_named(
        &self,
        mark: Mark,
        id: &LetterId,
        caller: &Caller<'_>,
    ) -> Result<Option<String>, LedgerError> {
        let marked = match id {
            LetterId::Token(token) => {
                let verbs = [Verb::Wanted, Verb::Unwanted, Verb::LinkWanted, Verb::LinkUnwanted];
                self.mark_if_genuine(token, &verbs, mark, caller).await?.into_iter().collect()
            }
            LetterId::Stamp(office, id) => match self.ledger.recipient_of_stamp(office.as_ref(), id).await {
                Ok(recipient) if caller.owns(&recipient) => {
                    let target = MarkTarget::Stamp(office.clone(), *id);
                    self.mark_target(target, mark).await?.into_iter().collect()
                }
                Err(MarkError::Ledger(error)) => return Err(error),
                Err(error @ MarkError::Ambiguous) => return Ok(Some(error.to_string())),
                Ok(_) | Err(MarkError::NoSuchLetter) => vec![],
            },
            LetterId::Message(hash) => {
                let recipients = self.ledger.recipients_of_message_id(hash).await?;
                let mut marked = Vec::new();
                for recipient in recipients.into_iter().filter(|recipient| caller.owns(recipient)) {
                    marked.extend(self.mark_target(MarkTarget::MessageId(*hash, recipient), mark).await?);
                }
                marked
            }
        };
        let said: Vec<String> = marked.iter().map(sentence).collect();
        Ok((!said.is_empty()).then(|| said.join("\n")))
    }

    async fn mark_sender(
        &self,
        mark: Mark,
        author: &Address,
        caller: &Caller<'_>,
    ) -> Result<String, LedgerError> {
        let MarkedSender { letters, refunded, known } =
            self.ledger.mark_sender(&caller.owner(), author, mark, self.now).await?;
        let them = if letters == 1 { "1 letter".into() } else { format!("{letters} letters") };
        let done = match (mark, letters) {
            (Mark::Wanted, 0) => "nothing that was paid waits to go back".into(),
            (Mark::Wanted, _) => format!("{refunded} went back for {them}"),
            (Mark::Unwanted, 0) => "no paid letter waits for your word".into(),
            (Mark::Unwanted, _) => format!("{them} noted as unwanted"),
        };
        let known = match (known, mark) {
            (true, _) => "needs no postage to write to you".into(),
            (false, Mark::Unwanted) => "is not known to you".into(),
            // Only a block stands against his word.
            (false, Mark::Wanted) => format!("is blocked all the same; to take that mail: allow {author}"),
        };
        Ok(format!("{done}; {author} {known}"))
    }

    async fn write(&self, sender: &Sender, block: bool, caller: &Caller<'_>) -> Result<String, LedgerError> {
        let (recipient, sender_) = (Some(caller.owner()), sender.clone());
        let entry = NewEntry { recipient, sender: sender_, block, how: How::Added, since: self.now };
        let already = if self.ledger.book_add(entry).await? { "" } else { " already" };
        Ok(if block {
            format!("mail that really comes from {sender} is{already} refused")
        } else {
            format!("mail that really comes from {sender} needs{already} no postage")
        })
    }

    async fn set_price(&self, price: Option<OwnPrice>, caller: &Caller<'_>) -> Result<String, LedgerError> {
        if price.is_some_and(|price| price.value > self.max_price) {
            return Ok(format!("not done: the most that may be asked here is {}", self.max_price));
        }
        self.ledger.set_price(&caller.owner(), price).await?;
        Ok(self.price_said(price))
    }

    fn price_said(&self, price: Option<OwnPrice>) -> String {
        match price {
            None => format!("strangers pay the site's price, {}", self.site_price),
            Some(OwnPrice { value, public: true }) => {
                format!("strangers pay {value}, and whoever asks is told so")
            }
            Some(OwnPrice { value, public: false }) => {
                format!("strangers pay {value}; who asks hears the site's price")
            }
        }
    }

    async fn freepost(
        &self,
        label: &str,
        days: Option<u16>,
        caller: &Caller<'_>,
    ) -> Result<String, LedgerError> {
        let owner = caller.owner();
        if !self.domains.contains(owner.domain()) {
            return Ok(format!("not done: {owner} is no address of this site"));
        }
        let expiry_day = match days {
            None => Some(0),
            Some(days) => u16::try_from(self.now / DAY_S + u64::from(days)).ok(),
        };
        let Some(expiry_day) = expiry_day else { return Ok("not done: that is too far ahead".into()) };
        let Some(key) = self.tokens.last() else {
            return Ok("not done: the site has no token key yet".into());
        };
        let made = match Freepost::make(key, &owner, label, expiry_day) {
            Ok(made) => made,
            Err(error) => return Ok(format!("not done: {error}")),
        };
        let new = NewLabel { owner, label: made.label().to_owned(), expiry_day, now: self.now };
        if !self.ledger.freepost_add(new).await? {
            return Ok(format!("not done: `{label}` was revoked; choose another label"));
        }
        let until = if expiry_day == 0 {
            "until it is revoked".into()
        } else {
            format!("until {}", utc_day(expiry_day.into()))
        };
        let address = made.address().map_or_else(String::new, |address| address.to_string());
        Ok(format!("mail to this address needs no postage, {until}:\n{address}"))
    }

    async fn list(&self, caller: &Caller<'_>) -> Result<String, LedgerError> {
        let owner = caller.owner();
        let settings = self.ledger.settings(&owner).await?;
        let book = self.ledger.book_list(Some(&owner)).await?;
        let labels = self.ledger.freepost_list(Some(&owner)).await?;
        let since = self.now.saturating_sub(STRANGERS_SHOWN_S);
        let strangers = self.ledger.strangers(&owner, since, STRANGERS_SHOWN_MAX).await?;
        let mut text = format!("{}; digest {}", self.price_said(settings.price), settings.digest.as_str());
        let (blocked, known): (Vec<_>, Vec<_>) = book.iter().partition(|entry| entry.block);
        push_book(&mut text, "Known, and free to write to you", &known);
        push_book(&mut text, "Blocked", &blocked);
        let made: Vec<String> = labels
            .iter()
            .filter(|label| label.revoked.is_none())
            .filter_map(|label| {
                let key = self.tokens.last()?;
                Freepost::make(key, &label.owner, &label.label, label.expiry_day).ok()?.address()
            })
            .map(|address| address.to_string())
            .collect();
        if !made.is_empty() {
            let _ = write!(text, "\n\nYour freepost addresses:\n{}", made.join("\n"));
        }
        if !strangers.is_empty() {
            let _ = write!(text, "\n\nStrangers' newest letters to you (UTC):");
            strangers.iter().for_each(|letter| push_stranger(&mut text, letter));
        }
        Ok(text)
    }

    /// The commands, each with what it does.
    #[must_use]
    pub fn help(&self) -> String {
        format!(
            "Write to {address}, one command a line:\n\
             wanted alice@a.example    what she paid goes back, and she writes to you free from now on\n\
             wanted ID                 the same for one letter: ID is the token in its Postage-Wanted field,\n\
             \x20                         the id in its Postage-Status field, or its Message-ID in < >\n\
             unwanted alice@a.example  she is a stranger again; also with an ID\n\
             allow WHOM                no postage for an address, a domain, or list:LIST-ID\n\
             block WHOM                nothing from there any more, with postage or without\n\
             forget WHOM               take an address, a domain or a list out of your book\n\
             price 1c                  what strangers pay to write to you, {max} at most; `price 1c public`\n\
             \x20                         tells it to whoever asks; `price default` is the site's, {price}\n\
             freepost shop 90          make an address for a shop that is free to write to, for 90 days\n\
             digest weekly             what strangers paid or were refused, by mail; daily, weekly or off\n\
             list                      your settings, your book, and strangers' newest letters\n\
             help                      this\n\
             You can also just answer a letter: that says that it was wanted.",
            address = self.address,
            max = self.max_price,
            price = self.site_price,
        )
    }
}

fn push_book(text: &mut String, head: &str, entries: &[&BookEntry]) {
    if entries.is_empty() {
        return;
    }
    let _ = write!(text, "\n\n{head}:");
    for entry in entries.iter().take(BOOK_SHOWN_MAX) {
        let _ = write!(text, "\n{} ({}, {})", entry.sender, entry.how.as_str(), utc_date(entry.since));
    }
    if entries.len() > BOOK_SHOWN_MAX {
        let _ = write!(text, "\nand {} more", entries.len() - BOOK_SHOWN_MAX);
    }
}

fn push_stranger(text: &mut String, letter: &StrangerLetter) {
    let author = letter.author.as_ref().map_or_else(|| "(no one address)".into(), ToString::to_string);
    let fate = if letter.delivered { "came in" } else { "was refused" };
    let _ = write!(text, "\n{} {author}: {}, {fate}", utc_date(letter.time), letter.result);
    if let Some(paid) = &letter.postage {
        let state = match paid.state {
            PostageState::Waiting => "waits for your word",
            PostageState::Unwanted => "marked unwanted",
            PostageState::Refunded => "went back",
            PostageState::Final => "was kept",
        };
        let _ = write!(text, "; {} {state}", paid.value);
        if matches!(paid.state, PostageState::Waiting | PostageState::Unwanted) {
            let _ = write!(text, "; to give it back:\nwanted {}/{}", paid.office, encoded(&paid.id));
        }
    }
}

fn encoded(id: &StampId) -> String {
    data_encoding::BASE64URL_NOPAD.encode(id)
}

fn sentence(marked: &Marked) -> String {
    let author =
        marked.author.as_ref().map_or_else(|| "a sender without an address".into(), ToString::to_string);
    let money = match (marked.refunded, marked.already_refunded, marked.too_late) {
        (Some(micros), ..) => format!("{micros} went back"),
        (None, true, _) => "the postage had gone back before".into(),
        (None, _, true) => "the refund window is over, no money moved".into(),
        (None, ..) => "no money moved".into(),
    };
    let known = if marked.known { "needs no postage to write to you" } else { "is not known to you" };
    format!("the letter from {author} to {}: {money}; the sender {known}", marked.recipient)
}

/// A line of the mail as it may stand in an answer or a log.
pub(super) fn shown_line(line: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 200;
    let cut: String = line.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if cut.len() < line.len() { "…" } else { "" };
    escaped(cut.as_bytes()) + more
}
