//! `farthing known import`: who should be known, from old mail and address books.

use std::{convert::Infallible, ops::ControlFlow, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    Context, Exit, Failure, block_on,
    overview::{Progress, Unread, no_messages},
};
use crate::{
    address::{Address, shown},
    clock::unix_now,
    config::Config,
    ledger::Ledger,
    mailbox::{Item, read},
    message::split_message,
    warm::{import::Import, vcard::emails},
};

/// Entries written at once: a lock of the books for some milliseconds.
const BATCH_ENTRIES: usize = 500;
/// Lists named in the text.
const LISTS_SHOWN: usize = 20;

pub const EXAMPLES: &str = "Known become, to the user whose mail it is:
  - whom he wrote to (To and Cc of letters in a folder of sent mail, or elsewhere when they are certainly his;
    not of letters to more than ten),
  - whose letters he answered,
  - whose letters he keeps in a folder other than Inbox, junk, trash and drafts,
  - everybody in an address book.
Lists, newsletters and programs do not; lists are named, to be let in one by one.
It may be interrupted and run again at any time: what is known stays as it is, and so do blocks.

Examples:
  farthing known import ~bob/Maildir --for bob@b.example
  farthing known import /var/vmail/b.example     (everybody's; whose mail it is stands in Delivered-To)
  farthing known import contacts.vcf --for bob@b.example";

/// What to read.
#[derive(Args)]
pub struct ImportArgs {
    /// Maildirs, mboxes, single letters, vCards, or directories of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Whose mail it is; without it, what X-Original-To, Delivered-To, To or Cc says.
    #[arg(long = "for", value_name = "RCPT")]
    recipient: Option<Address>,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the ledger; 65 when nothing could be read at all.
pub fn run(
    args: &ImportArgs,
    config: &Config,
    ledger: &impl Ledger,
    context: &Context,
) -> Result<(), Failure> {
    let recipient = args.recipient.as_ref();
    if let Some(recipient) = recipient.filter(|r| !config.gate.guards(r.domain())) {
        let text = format!("{recipient} is not in one of the domains in gate.domains");
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut import = Import::new(config, recipient);
    let (mut unread, mut progress) = (Unread::default(), Progress::default());
    let mut cards = 0_u64;
    let _: ControlFlow<Infallible> = read(&args.paths, |item| {
        match item {
            Item::Message { place, octets } => {
                import.message(&split_message(octets), place.folder);
                progress.step(place.folder);
            }
            Item::Cards { place, octets } => match recipient {
                Some(owner) => {
                    for email in emails(octets) {
                        match email {
                            Ok(address) => {
                                import.address(owner, address);
                                cards += 1;
                            }
                            Err(value) => unread.add(&place, format!("`{}` is no address", shown(&value))),
                        }
                    }
                }
                None => unread.add(&place, "an address book; say whose it is with --for RCPT".into()),
            },
            Item::Unread { place, why } => unread.add(&place, why),
        }
        ControlFlow::Continue(())
    });
    progress.end();
    let messages = import.messages;
    if messages == 0 && cards == 0 {
        return Err(no_messages(&unread));
    }
    let found = import.finish(unix_now());
    let mut new = 0;
    for batch in found.entries.chunks(BATCH_ENTRIES) {
        new += block_on(ledger.book_add_all(batch.to_vec()))??;
    }
    let senders = found.entries.len();
    let lists: Vec<_> = found
        .lists
        .iter()
        .map(|((owner, list), letters)| json!({"recipient": owner, "sender": list, "messages": letters}))
        .collect();
    let value = json!({
        "messages": messages, "addresses": cards, "senders": senders, "new": new,
        "lists": lists, "unread": unread.count(), "broken": unread.shown(),
    });
    context.print(&value, || {
        let mut text = format!("{messages} messages read");
        if cards > 0 {
            text += &format!(", {cards} addresses in address books");
        }
        text += &format!("; {senders} senders found, {new} of them new in the book\n");
        if !found.lists.is_empty() {
            text += "\nLists are not let in by themselves. These send mail here:\n";
        }
        for ((owner, list), letters) in found.lists.iter().take(LISTS_SHOWN) {
            text += &format!("  {letters:>6}  farthing known add {list} --for {owner}\n");
        }
        if found.lists.len() > LISTS_SHOWN {
            text += &format!("  and {} more; --json names all\n", found.lists.len() - LISTS_SHOWN);
        }
        text + &unread.text()
    })
}
