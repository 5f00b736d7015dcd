//! `farthing known`: who is known to whom, or to the site.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Exit, Failure, block_on, import, open, ours, shown_time, table};
use crate::{
    address::Address,
    clock::unix_now,
    config::Config,
    ledger::{
        Ledger as _,
        book::{BookEntry, How, MEMO_OCTETS_MAX, NewEntry, Sender, SenderError},
    },
};

/// What to do with the book.
#[derive(Subcommand)]
pub enum Known {
    /// Show the book: of one recipient, or of everybody and the site.
    List(Whose),
    /// Take mail from a sender without postage, once it authenticates.
    #[command(after_help = "Examples:\n  farthing known add alice@a.example --for bob@b.example\n  \
                            farthing known add a.example                 (the whole site)\n  \
                            farthing known add .a.example                (its subdomains too)\n  \
                            farthing known add list:users.lists.example --for bob@b.example\n  \
                            farthing known add arc:old.example --for bob@b.example   (it forwards Bob's mail)")]
    Add(NewlySaid),
    /// Take an entry out of the book again, known or blocked.
    Remove(Entry),
    /// Take nothing from a sender any more, with postage or without.
    #[command(
        after_help = "A block wins over whom the recipient wrote to and over what the site lets in. To except someone, \
                            add the more exact name by hand:\n  farthing known block .a.example\n  farthing known add friend@a.example"
    )]
    Block(NewlySaid),
    /// Make those known whom a user wrote to, answered or keeps letters of, from old mail and address books.
    #[command(after_help = import::EXAMPLES)]
    Import(import::ImportArgs),
}

/// Whose book.
#[derive(Args)]
pub struct Whose {
    /// The recipient; without it the whole site's.
    #[arg(long = "for", value_name = "RCPT")]
    recipient: Option<Address>,
}

/// One entry of the book.
#[derive(Args)]
pub struct Entry {
    /// ADDRESS, DOMAIN, .DOMAIN (with its subdomains) or list:LIST-ID; or a forwarder: arc:DOMAIN (whose ARC seals
    /// count) or host:NAME.
    #[arg(value_parser = sender)]
    sender: Sender,
    #[command(flatten)]
    whose: Whose,
}

/// A sender as people write it, or copy it from a From field; with a word for those who write it as other programs do.
fn sender(text: &str) -> Result<Sender, String> {
    let bare = match text.rsplit_once('<') {
        Some((_, address)) if !text.starts_with("list:") => address.strip_suffix('>').unwrap_or(text),
        _ => text,
    };
    if let Some(domain) = bare.strip_prefix('*').unwrap_or(bare).strip_prefix('@').filter(|d| !d.is_empty()) {
        return Err(format!("for everybody at that domain write {domain}"));
    }
    if let Some(domain) = bare.strip_prefix("*.") {
        return Err(format!("for a domain and all below it write .{domain}"));
    }
    bare.parse().map_err(|e: SenderError| e.to_string())
}

/// An entry to write.
#[derive(Args)]
pub struct NewlySaid {
    #[command(flatten)]
    entry: Entry,
    /// Why, for whoever reads the book later.
    #[arg(long, value_name = "TEXT", value_parser = memo)]
    memo: Option<String>,
}

/// A memo is one line, for it stands in a table.
fn memo(text: &str) -> Result<String, String> {
    if text.len() > MEMO_OCTETS_MAX || text.chars().any(char::is_control) {
        return Err(format!("a memo is one line of at most {MEMO_OCTETS_MAX} octets"));
    }
    Ok(text.trim().to_owned())
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration or the ledger; 1 when there was nothing to remove.
pub fn run(command: &Known, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let ledger = open::ledger(&config)?;
    match command {
        Known::Import(args) => import::run(args, &config, &ledger, context),
        Known::List(whose) => {
            let recipient = whose.recipient.as_ref().map(Address::without_detail);
            list(block_on(ledger.book_list(recipient.as_ref()))??, context)
        }
        Known::Add(entry) => write(&config, &ledger, entry, false, context),
        Known::Block(entry) => write(&config, &ledger, entry, true, context),
        Known::Remove(entry) => {
            let recipient = entry.whose.recipient.as_ref().map(Address::without_detail);
            if !block_on(ledger.book_remove(recipient.as_ref(), &entry.sender))?? {
                let others = block_on(ledger.book_list(None))??;
                return Err(not_there(entry, recipient.as_ref(), &others));
            }
            context.print(&json!({"removed": entry.sender}), || format!("{} removed\n", entry.sender))
        }
    }
}

fn not_there(entry: &Entry, recipient: Option<&Address>, book: &[BookEntry]) -> Failure {
    let whose = recipient.map_or("the site's book".into(), |r| format!("the book of {r}"));
    let mut text = format!("{} does not stand in {whose}", entry.sender);
    match book.iter().find(|other| other.sender == entry.sender).map(|other| &other.recipient) {
        Some(Some(other)) => text += &format!(", but in that of {other}: --for {other} names it"),
        Some(None) => text += ", but in the site's: leave --for away",
        None => {}
    }
    Failure::new(Exit::No, text)
}

fn write(
    config: &Config,
    ledger: &impl crate::ledger::Ledger,
    said: &NewlySaid,
    block: bool,
    context: &Context,
) -> Result<(), Failure> {
    let entry = &said.entry;
    entry.whose.recipient.as_ref().map(|recipient| ours(recipient, config)).transpose()?;
    if !block {
        entry.sender.check_welcome().map_err(|e| Failure::new(Exit::Data, e))?;
    }
    let recipient = entry.whose.recipient.as_ref().map(Address::without_detail);
    let whom = recipient.as_ref().map_or("the whole site".into(), ToString::to_string);
    let new = NewEntry {
        recipient: recipient.clone(),
        sender: entry.sender.clone(),
        block,
        how: How::Added,
        since: unix_now(),
    };
    let added = block_on(ledger.book_add(new))??;
    if let Some(memo) = &said.memo {
        block_on(ledger.book_memo(recipient.as_ref(), &entry.sender, memo))??;
    }
    let word = if block { "blocked for" } else { "known to" };
    context.print(&json!({"sender": entry.sender, "block": block, "new": added}), || {
        let already = if added { "" } else { " already" };
        match (&entry.sender, block) {
            (Sender::Sealer(_) | Sender::Host(_), false) => {
                format!(
                    "{} is{already} believed, for {whom}, about whose letters it sends on\n",
                    entry.sender
                )
            }
            _ => format!("{} is{already} {word} {whom}\n", entry.sender),
        }
    })
}

fn list(entries: Vec<BookEntry>, context: &Context) -> Result<(), Failure> {
    context.print(&entries, || {
        if entries.is_empty() {
            return "nobody is known yet; `farthing known add SENDER --for RCPT` adds someone\n".into();
        }
        let rows = entries
            .iter()
            .map(|e| {
                vec![
                    e.recipient.as_ref().map_or("(site)".into(), ToString::to_string),
                    e.sender.to_string(),
                    if e.block { "blocked".into() } else { e.how.as_str().into() },
                    shown_time(e.since),
                    e.memo.clone(),
                ]
            })
            .collect();
        table(&["RECIPIENT", "SENDER", "HOW", "SINCE (UTC)", "MEMO"], rows)
    })
}
