//! `farthing known import`: who should be known, from old mail and address books.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{
    Context, Exit, Failure, block_on, ours,
    overview::{Unread, no_messages},
    progress::Progress,
};
use crate::{
    address::{Address, shown},
    clock::unix_now,
    config::{Config, LedgerUrl},
    ledger::Ledger,
    mailbox::{Done, Item, Place, Visitor, visit},
    message::split_message,
    warm::{
        facts::{Count, Facts, FactsError},
        import::Import,
        vcard::emails,
        welcome,
    },
};

/// Entries written at once: a lock of the books for some milliseconds.
const BATCH_ENTRIES: u32 = 500;
/// Lists named in the text.
const LISTS_SHOWN: usize = 20;

pub const EXAMPLES: &str = "Known become, to the user whose mail it is:
  - whom he wrote to (To and Cc of letters in a folder of sent mail, or
    elsewhere when they are certainly his; not of letters to more than ten),
  - whose letters he answered,
  - whose letters he keeps in a folder other than Inbox, Strangers, junk,
    trash, drafts,
  - everybody in an address book.
Lists, newsletters and programs do not; lists are named, to be let in one by
one.
It may be interrupted at any time: the same command goes on where it was. It
may be run again at any time, too: what is known stays as it is, and so do
blocks. What it has found out until it is done stands in a file beside the
ledger.

Examples:
  farthing known import ~bob/Maildir --for bob@b.example
  farthing known import /var/vmail/b.example
      everybody's mail; whose it is stands in Delivered-To
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
    /// Where to keep what was found out until the import is done [default: import-….state beside the ledger].
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Begin anew, even if an import of the same mail was interrupted.
    #[arg(long)]
    restart: bool,
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
    recipient.map(|recipient| ours(recipient, config)).transpose()?;
    let path = args.state.clone().unwrap_or_else(|| state_path(args, config));
    let mut facts = Facts::open(&path)?;
    if args.restart {
        facts.discard();
        facts = Facts::open(&path)?;
    }
    let before = facts.counted(Count::Messages)?;
    if before > 0 && !context.json {
        eprintln!(
            "going on where an import was interrupted, {before} messages were read; --restart begins anew"
        );
    }
    let import = Import::new(config, recipient, facts);
    let progress = Progress::over(&args.paths);
    let mut reading = Reading { import, recipient, progress, unread: Unread::default() };
    let flow = visit(&args.paths, &mut reading);
    reading.progress.end();
    if let ControlFlow::Break(error) = flow {
        return Err(error.into());
    }
    let Reading { import, mut unread, .. } = reading;
    let mut facts = import.into_facts();
    unread.add_noted(facts.unread_named()?, facts.counted(Count::Unread)?);
    let (messages, cards) = (facts.counted(Count::Messages)?, facts.counted(Count::Addresses)?);
    if messages == 0 && cards == 0 {
        facts.discard();
        return Err(no_messages(&unread));
    }
    let senders = facts.conclude()?;
    loop {
        let entries = facts.entries(BATCH_ENTRIES, unix_now())?;
        if entries.is_empty() {
            break;
        }
        let new = block_on(ledger.book_add_all(entries.clone()))??;
        facts.written(&entries, new)?;
    }
    let (new, found_lists) = (facts.counted(Count::New)?, facts.lists()?);
    facts.discard();
    let lists: Vec<_> = found_lists
        .iter()
        .map(|(owner, list, letters)| json!({"recipient": owner, "sender": list, "messages": letters}))
        .collect();
    let value = json!({
        "messages": messages, "read_before": before, "addresses": cards, "senders": senders, "new": new,
        "lists": lists, "unread": unread.count(), "broken": unread.shown(),
    });
    context.print(&value, || {
        let mut text = format!("{messages} messages read");
        if cards > 0 {
            text += &format!(", {cards} addresses in address books");
        }
        text += &format!("; {senders} senders found, {new} of them new in the book\n");
        if !found_lists.is_empty() {
            text += "\nLists are not let in by themselves. These send mail here:\n";
        }
        for (owner, list, letters) in found_lists.iter().take(LISTS_SHOWN) {
            // Whose it is a letter has said: what a shell could take for more is not offered to be typed.
            let line = welcome(list, Some(owner)).unwrap_or_else(|| format!("{list}, for {owner}"));
            text += &format!("  {letters:>6}  {line}\n");
        }
        if found_lists.len() > LISTS_SHOWN {
            text += &format!("  and {} more; --json names all\n", found_lists.len() - LISTS_SHOWN);
        }
        text + &unread.text()
    })
}

/// Where an import of this mail keeps its facts: the same for the same command, beside the ledger, where there is room and
/// the right to write.
fn state_path(args: &ImportArgs, config: &Config) -> PathBuf {
    let LedgerUrl::Sqlite(ledger) = &config.ledger.url;
    let mut hash = blake3::Hasher::new();
    for path in &args.paths {
        let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
        hash.update(whole.as_os_str().as_encoded_bytes()).update(b"\0");
    }
    hash.update(args.recipient.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
    let name = hash.finalize().to_hex();
    ledger.with_file_name(format!("import-{}.state", name.get(..16).unwrap_or(&name)))
}

/// The mail as it is read.
struct Reading<'a> {
    import: Import<'a>,
    recipient: Option<&'a Address>,
    progress: Progress,
    unread: Unread,
}

impl Visitor<FactsError> for Reading<'_> {
    fn done(&mut self, file: &Path, _folder: &str, octets: u64) -> Done {
        // What cannot be looked up is read, and then cannot be written down either: that is told.
        let done = self.import.facts().done(file, octets).unwrap_or(Done::Nothing);
        match done {
            Done::Nothing => {}
            Done::All => self.progress.pass_over(octets),
            Done::To { octets, .. } => self.progress.pass_over(octets),
        }
        done
    }

    fn item(&mut self, item: Item<'_>) -> ControlFlow<FactsError> {
        match self.take(item) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Reading<'_> {
    fn take(&mut self, item: Item<'_>) -> Result<(), FactsError> {
        match item {
            Item::Message { place, octets } => {
                self.import.message(&split_message(octets), place.folder)?;
                self.read(&place, octets)
            }
            Item::Cards { place, octets } => {
                let Some(owner) = self.recipient else {
                    self.unread.add(&place, "an address book; say whose it is with --for RCPT".into());
                    return Ok(());
                };
                for email in emails(octets) {
                    match email {
                        Ok(address) => self.import.address(owner, &address)?,
                        Err(value) => self.unread.add(&place, format!("`{}` is no address", shown(&value))),
                    }
                }
                self.read(&place, octets)
            }
            // A message within an mbox is passed over with those around it; a file is looked at again.
            Item::Unread { place, why } if place.number > 0 => {
                self.import.facts().unread(&place.to_string(), &why)?;
                self.read(&place, &[])
            }
            Item::Unread { place, why } => {
                self.unread.add(&place, why);
                Ok(())
            }
        }
    }

    fn read(&mut self, place: &Place<'_>, octets: &[u8]) -> Result<(), FactsError> {
        let length = octets.len() as u64;
        self.progress.step(length, place.folder);
        self.import.facts().mark(place.file, place.end, place.number, length)
    }
}

impl From<FactsError> for Failure {
    fn from(error: FactsError) -> Self {
        let exit = if matches!(error, FactsError::InUse(_)) { Exit::TempFail } else { Exit::Io };
        Self::new(exit, error)
    }
}
