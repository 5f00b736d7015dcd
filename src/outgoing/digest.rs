//! What a digest says: which strangers paid to write to a recipient, and which were refused.
//!
//! Pure. Every word of a sender in it is somebody else's text: one line, cut, escaped. It loads nothing from anywhere, and
//! its length does not grow with the flood it tells of.

use std::{collections::HashMap, fmt::Write as _};

use askama::Template;
use jiff::{Timestamp, tz::TimeZone};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{compose::Text, schedule::Period};
use crate::{
    address::Address,
    ledger::settings::{Cadence, PostageState, StrangerLetter},
    stamp::tokens::{Token, TokenKey, Verb},
};

/// Letters let in that are listed, and senders refused; of more, the newest.
pub const LISTED_MAX: usize = 50;
/// Characters of a sender's address that are shown.
const SENDER_CHARS_MAX: usize = 100;
/// What is escaped in a mailto URL (RFC 6068): there a plus is a plus, but not every program knows.
const IN_MAILTO: &AsciiSet = &NON_ALPHANUMERIC.remove(b'@').remove(b'.').remove(b'-').remove(b'_');

/// What a digest is made of.
#[derive(Clone, Copy)]
pub struct Digest<'a> {
    /// Whose it is.
    pub owner: &'a Address,
    /// The address that takes commands and tokens.
    pub commands: &'a Address,
    /// The office's URL, ending in `/`, if there is an office: without it no links are given.
    pub office_url: Option<&'a str>,
    /// What makes tokens.
    pub key: Option<&'a TokenKey>,
    /// How often it comes.
    pub cadence: Cadence,
    /// The time it tells of.
    pub period: Period,
    /// The letters of that time, newest first.
    pub letters: &'a [StrangerLetter],
    /// There were more letters than these.
    pub more: bool,
    /// Where the reader's clock is.
    pub zone: &'a TimeZone,
}

/// The subject and the text of a digest; `None` when there is nothing to say.
#[must_use]
pub fn digest(digest: &Digest<'_>) -> Option<(String, Text)> {
    let page = Page::of(digest)?;
    let html = page.render().inspect_err(|error| tracing::error!(%error, "a digest has no HTML")).ok();
    Some((page.subject.clone(), Text { plain: page.plain(), html }))
}

/// What the marks mean.
const WANTED: &str = "Wanted gives the postage back to the sender, who is known to you from then on if the address is proven. An \
answer does the same. The postage of unwanted letters is not given back.";
/// What refused senders know, and what the reader does not.
const REFUSED: &str =
    "These senders were told how to pay. The addresses are those they gave: nobody has proved them.";

/// A letter that was let in.
struct Paid {
    sender: String,
    time: String,
    /// `postage 0.25c`, or `by work`, and what else is to be said of it.
    postage: String,
    says: Vec<Say>,
}

/// All the refused letters of a sender.
struct Refused {
    sender: String,
    count: usize,
    time: String,
    reason: String,
    says: Vec<Say>,
}

/// A way to say something about a letter: by a link, by mail, or both.
struct Say {
    /// What is said.
    words: &'static str,
    link: Option<String>,
    /// A `mailto:` URL.
    mailto: String,
    /// How to do the same by hand.
    by_hand: String,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{{ subject }}</title></head>
<body>
<p>Letters of strangers to {{ owner }}, {{ since }} to {{ until }}.</p>
{% if !paid.is_empty() %}
<h3>Delivered ({{ paid_count }})</h3>
<ul>
{% for letter in paid %}<li><b>{{ letter.sender }}</b>, {{ letter.time }}, {{ letter.postage }}
{% for say in letter.says %}<br>{% if let Some(link) = say.link %}<a href="{{ link }}">{{ say.words }}</a> (<a href="{{ say.mailto }}">by mail</a>){% else %}<a href="{{ say.mailto }}">{{ say.words }}</a>{% endif %}
{% endfor %}</li>
{% endfor %}</ul>
{% if let Some(more) = paid_more %}<p>{{ more }}</p>
{% endif %}<p>{{ WANTED }}</p>
{% endif %}{% if !refused.is_empty() %}
<h3>Refused ({{ refused_count }})</h3>
<ul>
{% for sender in refused %}<li><b>{{ sender.sender }}</b>, {{ sender.letters() }} {{ sender.time }}: {{ sender.reason }}
{% for say in sender.says %}<br><a href="{{ say.mailto }}">{{ say.words }}</a>
{% endfor %}</li>
{% endfor %}</ul>
{% if let Some(more) = refused_more %}<p>{{ more }}</p>
{% endif %}<p>{{ REFUSED }}</p>
{% endif %}<hr>
<p>You get this {{ cadence }}. <a href="{{ stop.mailto }}">{{ stop.words }}</a> &middot; <a href="{{ help.mailto }}">{{ help.words }}</a></p>
</body>
</html>
"#
)]
struct Page {
    subject: String,
    owner: String,
    since: String,
    until: String,
    cadence: &'static str,
    paid: Vec<Paid>,
    paid_count: String,
    paid_more: Option<String>,
    refused: Vec<Refused>,
    refused_count: String,
    refused_more: Option<String>,
    stop: Say,
    help: Say,
}

impl Refused {
    fn letters(&self) -> String {
        match self.count {
            1 => "1 letter on".into(),
            count => format!("{count} letters, the last on"),
        }
    }
}

impl Page {
    fn of(digest: &Digest<'_>) -> Option<Self> {
        let of_period = || digest.letters.iter().filter(|letter| letter.time < digest.period.until);
        let let_in: Vec<&StrangerLetter> = of_period()
            .filter(|letter| letter.delivered && ["paid", "work"].contains(&&*letter.result))
            .collect();
        let turned_away: Vec<&StrangerLetter> = of_period().filter(|letter| !letter.delivered).collect();
        if let_in.is_empty() && turned_away.is_empty() {
            return None;
        }
        let senders = by_sender(digest, &turned_away);
        // Of what was not looked at nobody knows which kind it was.
        let count = |n: usize| if digest.more { format!("at least {n}") } else { n.to_string() };
        let more = |all: usize, what: &str| {
            let rest = all.saturating_sub(LISTED_MAX);
            (rest > 0).then(|| format!("and {} {what}", count(rest)))
        };
        let (paid_count, refused_count) = (count(let_in.len()), count(turned_away.len()));
        Some(Self {
            subject: subject(&paid_count, &refused_count),
            owner: digest.owner.to_string(),
            since: shown_time(digest.period.since, digest.zone),
            until: shown_time(digest.period.until, digest.zone),
            cadence: digest.cadence.as_str(),
            paid_more: more(let_in.len(), "more"),
            paid: let_in.iter().take(LISTED_MAX).map(|letter| paid(digest, letter)).collect(),
            paid_count,
            refused_more: more(senders.len(), "more senders"),
            refused: senders.into_iter().take(LISTED_MAX).collect(),
            refused_count,
            stop: command(digest, "Stop it", "digest off"),
            help: command(digest, "What else you can say", "help"),
        })
    }

    fn plain(&self) -> String {
        let mut text = format!("Letters of strangers to {}, {} to {}.\n", self.owner, self.since, self.until);
        if !self.paid.is_empty() {
            let _ = write!(text, "\nDELIVERED ({})\n", self.paid_count);
            for letter in &self.paid {
                let _ = write!(text, "\n* {}\n  {}, {}\n", letter.sender, letter.time, letter.postage);
                letter.says.iter().for_each(|say| say.write_to(&mut text));
            }
            if let Some(more) = &self.paid_more {
                let _ = write!(text, "\n{more}\n");
            }
            let _ = write!(text, "\n{WANTED}\n");
        }
        if !self.refused.is_empty() {
            let _ = write!(text, "\nREFUSED ({})\n", self.refused_count);
            for sender in &self.refused {
                let _ = write!(
                    text,
                    "\n* {}\n  {} {}: {}\n",
                    sender.sender,
                    sender.letters(),
                    sender.time,
                    sender.reason
                );
                sender.says.iter().for_each(|say| say.write_to(&mut text));
            }
            if let Some(more) = &self.refused_more {
                let _ = write!(text, "\n{more}\n");
            }
            let _ = write!(text, "\n{REFUSED}\n");
        }
        let _ = write!(
            text,
            "\nYou get this {}. To stop it, {}.\nWhat else you can say: {}.\n",
            self.cadence, self.stop.by_hand, self.help.by_hand
        );
        text
    }
}

impl Say {
    fn write_to(&self, text: &mut String) {
        let _ = match &self.link {
            Some(link) => writeln!(text, "  {}: {link}\n    or {}", self.words, self.by_hand),
            None => writeln!(text, "  {}: {}", self.words, self.by_hand),
        };
    }
}

fn subject(paid: &str, refused: &str) -> String {
    format!("Letters of strangers: {paid} delivered, {refused} refused")
}

fn paid(digest: &Digest<'_>, letter: &StrangerLetter) -> Paid {
    let proven = if letter.authenticated { "" } else { ", address not proven" };
    let (postage, says) = match &letter.postage {
        // There is no token where nothing was paid.
        None => (format!("by {}", letter.result), allow(digest, letter).into_iter().collect()),
        Some(paid) => {
            let open = matches!(paid.state, PostageState::Waiting | PostageState::Unwanted);
            let said = match paid.state {
                PostageState::Refunded => ", given back",
                PostageState::Unwanted => ", marked as unwanted",
                PostageState::Waiting | PostageState::Final => "",
            };
            let verbs = [
                ("wanted", Verb::Wanted, Verb::LinkWanted),
                ("unwanted", Verb::Unwanted, Verb::LinkUnwanted),
            ];
            let say = |(words, mail, link)| token(digest, letter, paid.number, words, [mail, link]);
            let says = verbs.into_iter().filter(|_| open).filter_map(say).collect();
            (format!("postage {}{said}", paid.value), says)
        }
    };
    Paid {
        sender: sender(letter),
        time: shown_time(letter.time, digest.zone),
        postage: format!("{postage}{proven}"),
        says,
    }
}

/// The ways to mark a letter: tokens of mail are none in links, and the other way round (SPEC.md §6).
fn token(
    digest: &Digest<'_>,
    letter: &StrangerLetter,
    number: u64,
    words: &'static str,
    [mail, link]: [Verb; 2],
) -> Option<Say> {
    let key = digest.key?;
    let verb = if mail == Verb::Wanted { "w" } else { "u" };
    let in_mail = Token::make(key, mail, number, &letter.recipient);
    let in_link = Token::make(key, link, number, &letter.recipient);
    let (local, domain) = (String::from_utf8_lossy(digest.commands.local()), digest.commands.domain());
    let address = format!("{local}+{verb}.{in_mail}@{domain}");
    Some(Say {
        words,
        link: digest.office_url.map(|url| format!("{url}{verb}/{in_link}")),
        mailto: format!("mailto:{}", utf8_percent_encode(&address, IN_MAILTO)),
        by_hand: format!("write to {address}"),
    })
}

/// Refused letters by sender, the one that wrote last first.
fn by_sender(digest: &Digest<'_>, letters: &[&StrangerLetter]) -> Vec<Refused> {
    let mut senders: Vec<Refused> = Vec::new();
    let mut places = HashMap::new();
    for letter in letters {
        let place = *places.entry(&letter.author).or_insert(senders.len());
        match senders.get_mut(place) {
            Some(refused) => refused.count += 1,
            None => senders.push(Refused {
                sender: sender(letter),
                count: 1,
                time: shown_time(letter.time, digest.zone),
                reason: reason(letter),
                says: allow(digest, letter).into_iter().collect(),
            }),
        }
    }
    senders
}

fn reason(letter: &StrangerLetter) -> String {
    match letter.reason.as_str() {
        "" => "no postage".into(),
        word => format!("postage {word}"),
    }
}

fn sender(letter: &StrangerLetter) -> String {
    let Some(author) = &letter.author else { return "(not exactly one author)".into() };
    let text = author.to_string();
    match text.char_indices().nth(SENDER_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

/// How to make the sender known: only an address that can stand in a command as it is.
fn allow(digest: &Digest<'_>, letter: &StrangerLetter) -> Option<Say> {
    let author = letter.author.as_ref()?;
    let text = author.to_string();
    let plain = text.len() <= SENDER_CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+=/@".contains(&b));
    plain.then(|| command(digest, "let in without postage from now on", &format!("allow {text}")))
}

fn command(digest: &Digest<'_>, words: &'static str, command: &str) -> Say {
    let address = digest.commands.to_string();
    let subject = utf8_percent_encode(command, IN_MAILTO);
    Say {
        words,
        link: None,
        mailto: format!("mailto:{}?subject={subject}", utf8_percent_encode(&address, IN_MAILTO)),
        by_hand: format!("write to {address} with the subject: {command}"),
    }
}

/// A time as the reader's clock showed it.
fn shown_time(unix_s: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default();
    time.to_zoned(zone.clone()).strftime("%a, %d %b %Y %H:%M").to_string()
}

#[cfg(test)]
mod tests;
