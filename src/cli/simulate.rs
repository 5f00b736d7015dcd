//! `farthing simulate`: what today's settings would have done to old mail.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{
    Context, Failure, open, ours,
    overview::{Unread, no_messages, text, value, write_page},
    progress::Progress,
};
use crate::{
    address::{Address, shown},
    cli::Exit,
    config::Config,
    identity::results,
    ledger::{LedgerError, sqlite::SqliteLedger},
    mailbox::{Done, Item, Purpose, Visitor, purpose, read, visit},
    message::{Message, split_message},
    warm::{overview::Overview, sent::SentBefore, simulate::Simulation, told_by_trusted},
};

pub const EXAMPLES: &str = "Whether a letter was really from its author is taken from the
Authentication-Results that this site's servers (gate.hostname,
identity.trusted) wrote into it; where they are missing and would decide, the
result is `unknown`. Sent mail is looked at for what others answered, and not
counted; neither are drafts. Run `farthing known import` first to start with a
full book.

Examples:
  farthing simulate ~bob/Maildir --for bob@b.example
  farthing simulate /var/vmail/b.example --html simulation.html";

/// Servers counted that wrote Authentication-Results, and are not trusted; anybody can write such names.
const SERVERS_MAX: usize = 1_000;
/// Of those, how many the text names.
const SERVERS_SHOWN: usize = 5;

/// What to look at.
#[derive(Args)]
pub struct SimulateArgs {
    /// Maildirs, mboxes, single letters, or directories of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Whose mail it is; without it, what X-Original-To, Delivered-To, To or Cc says.
    #[arg(long = "for", value_name = "RCPT")]
    recipient: Option<Address>,
    /// Write one page with plots, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration or the ledger; 65 when nothing could be read at all.
pub fn run(args: &SimulateArgs, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    args.recipient.as_ref().map(|recipient| ours(recipient, &config)).transpose()?;
    let ledger = open::ledger(&config)?;
    let keys = open::keys(&config)?;
    let mut simulation = Simulation {
        config: &config,
        keys: &keys,
        ledger: &ledger,
        recipient: args.recipient.as_ref(),
        sent: SentBefore::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Software, e))?;
    // What was sent first: the answers to it may lie anywhere.
    let mut outgoing = Outgoing { simulation: &mut simulation, runtime: &runtime };
    if let ControlFlow::Break(error) = visit(&args.paths, &mut outgoing) {
        return Err(error.into());
    }
    let (mut overview, mut unread, mut progress) =
        (Overview::default(), Unread::default(), Progress::over(&args.paths));
    let (mut not_received, mut nobodys, mut others) = (0_u64, 0_u64, Servers::default());
    let flow = read(&args.paths, |item| {
        match item {
            Item::Message { place, octets }
                if matches!(purpose(place.folder), Purpose::Sent | Purpose::Drafts) =>
            {
                not_received += 1;
                progress.step(octets.len() as u64, place.folder);
            }
            Item::Message { place, octets } => {
                let message = split_message(octets);
                match runtime.block_on(simulation.judge(&message)) {
                    Ok(judged) => {
                        if judged.line.result == "unknown" {
                            others.note(&message, &config);
                        }
                        nobodys += u64::from(judged.recipient.is_none());
                        overview.add(judged.line, judged.time);
                    }
                    Err(error) => return ControlFlow::Break(error),
                }
                progress.step(octets.len() as u64, place.folder);
            }
            Item::Cards { place, .. } => unread.add(&place, "an address book, no mail".into()),
            Item::Unread { place, why } => unread.add(&place, why),
        }
        ControlFlow::Continue(())
    });
    progress.end();
    if let ControlFlow::Break(error) = flow {
        return Err(error.into());
    }
    if overview.messages() == 0 && not_received == 0 {
        return Err(no_messages(&unread));
    }
    let mode = config.gate.mode.as_str();
    let summary = format!(
        "{} letters, as today's settings (mode {mode}, price {}) would have judged them",
        overview.messages(),
        config.gate.price
    );
    write_page(args.html.as_deref(), "Simulation", &summary, &overview)?;
    let more = json!({
        "mode": mode, "not_received": not_received, "without_recipient": nobodys,
        "unread": unread.count(), "broken": unread.shown(),
    });
    context.print(&value(&overview, more), || {
        let mut words = format!("{summary}\n\n{}", text(&overview));
        words += &others.text(&config);
        if nobodys > 0 {
            words += &format!(
                "\n{nobodys} letters name no recipient of ours: only the site's book was asked; --for RCPT says whose they are\n"
            );
        }
        if not_received > 0 {
            words += &format!("\n{not_received} letters in folders of sent mail and drafts were left out\n");
        }
        words + &unread.text()
    })
}

/// Who else wrote Authentication-Results into the letters of which nobody can tell: perhaps the site's own server, under
/// another name than the settings know.
#[derive(Default)]
struct Servers(BTreeMap<String, u64>);

impl Servers {
    /// The topmost field of a letter whose fields are none of a trusted server's.
    fn note(&mut self, message: &Message<'_>, config: &Config) {
        if !told_by_trusted(message, config).is_empty() {
            return;
        }
        let Some(first) = results::of_trusted(message.values(results::FIELD).take(1), |_| true).pop() else {
            return;
        };
        if self.0.len() < SERVERS_MAX || self.0.contains_key(&first.server) {
            *self.0.entry(first.server).or_default() += 1;
        }
    }

    fn text(&self, config: &Config) -> String {
        let mut servers: Vec<_> = self.0.iter().collect();
        servers.sort_by_key(|(_, letters)| std::cmp::Reverse(**letters));
        let each = servers.iter().take(SERVERS_SHOWN);
        let named: Vec<String> =
            each.map(|(server, letters)| format!("{} ({letters})", shown(server.as_bytes()))).collect();
        if named.is_empty() {
            return String::new();
        }
        format!(
            "\nOf some nobody can tell, because their Authentication-Results are not of {}, but of: {}.\nIf one of these \
             is your own server, name it in `trusted` under [identity].\n",
            config.gate.hostname,
            named.join(", ")
        )
    }
}

/// Looks into folders of sent mail, and into nothing else.
struct Outgoing<'s, 'a> {
    simulation: &'s mut Simulation<'a, SqliteLedger>,
    runtime: &'s tokio::runtime::Runtime,
}

impl Visitor<LedgerError> for Outgoing<'_, '_> {
    fn done(&mut self, _file: &Path, folder: &str, _octets: u64) -> Done {
        if purpose(folder) == Purpose::Sent { Done::Nothing } else { Done::All }
    }

    fn item(&mut self, item: Item<'_>) -> ControlFlow<LedgerError> {
        // What cannot be read is told of when everything is.
        let Item::Message { octets, .. } = item else { return ControlFlow::Continue(()) };
        match self.runtime.block_on(self.simulation.sent(&split_message(octets))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}
