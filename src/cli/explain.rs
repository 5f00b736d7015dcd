//! `farthing explain`: what the gate would do with a letter, and why.

use std::net::IpAddr;

use clap::Args;

use super::{Context, Exit, Failure, block_on, read_message};
use crate::{
    clock::unix_now,
    config::LedgerUrl,
    daemon::{self, Missing},
    gate::explain::{Envelope, Explanation, explain},
    ledger::sqlite::{self, OpenError},
    message::split_message,
    warm::recipient_of,
};

pub const EXAMPLES: &str = "The letter is judged by the book, the stamps and DNS as they are now; nothing
is changed, and no stamp is spent. Each row of the verdict says what was found,
up to the one that decides. Several --rcpt are judged as one copy for all of
them, but for those whose copy the gate asks for apart (mixed = split).

Examples:
  farthing explain --ip 192.0.2.1 --helo mx.a.example \\
      --from alice@a.example --rcpt bob@b.example < letter.eml
  farthing explain --ip 192.0.2.1 < delivered.eml
      sender and recipient from Return-Path and X-Original-To";

/// The letter's envelope.
#[derive(Args)]
pub struct ExplainArgs {
    /// The address of the server that brings it; without it SPF passes for nobody.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// The name that server gives.
    #[arg(long, value_name = "NAME", default_value = "")]
    helo: String,
    /// The name that your mail server finds for its address in DNS.
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    /// The envelope sender, `` or <> for the null sender [default: Return-Path].
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// A recipient of the envelope [default: X-Original-To, Delivered-To, else the first of ours in To and Cc].
    #[arg(long = "rcpt", value_name = "ADDRESS")]
    recipients: Vec<String>,
    /// Handed in by this login (authenticated submission).
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,
    /// The time to judge at, in Unix seconds [default: now].
    #[arg(long, value_name = "UNIX")]
    at: Option<u64>,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration or the ledger; 64 when the letter says not to whom it goes.
pub fn run(args: &ExplainArgs, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let message = read_message()?;
    let letter = split_message(&message);
    let bare = |text: &[u8]| {
        let text = text.trim_ascii();
        text.strip_prefix(b"<").and_then(|t| t.strip_suffix(b">")).unwrap_or(text).to_vec()
    };
    let mut recipients: Vec<Vec<u8>> = args.recipients.iter().map(|r| bare(r.as_bytes())).collect();
    if recipients.is_empty() {
        recipients.extend(recipient_of(&letter, &config).map(|address| address.to_bytes()));
    }
    if recipients.is_empty() {
        return Err(Failure::new(Exit::Usage, "the letter names no recipient of ours; name one with --rcpt"));
    }
    let returned = || letter.values("Return-Path").next().map(bare).unwrap_or_default();
    let envelope = Envelope {
        client: args.ip,
        helo: args.helo.clone().into_bytes(),
        name: args.name.clone().into_bytes(),
        mail_from: args.from.as_ref().map_or_else(returned, |from| bare(from.as_bytes())),
        recipients,
        login: args.login.clone(),
    };
    let LedgerUrl::Sqlite(path) = &config.ledger.url;
    let ledger = sqlite::open_read_only(path, daemon::ledger_options(&config)).map_err(|error| {
        let once = "start farthingd once";
        match error {
            OpenError::Missing(_) => Failure::new(Exit::Unavailable, format!("{error}; {once}, it makes it")),
            error => Failure::new(Exit::Unavailable, error),
        }
    })?;
    let site = daemon::site(config, Missing::Leave).map_err(|e| Failure::new(Exit::Config, e))?;
    let now = args.at.unwrap_or_else(unix_now);
    let told = block_on(explain(&site, &ledger, &envelope, &message, now))?;
    context.print(&told, || text(&told))
}

fn text(told: &Explanation) -> String {
    let mut text = match told.decision {
        "deliver" => "let in\n".to_owned(),
        "hold" => "let in, and held in the queue\n".to_owned(),
        "defer" => format!("deferred: {}\n", told.reply),
        _ => format!("refused: {}\n", told.reply),
    };
    for recipient in &told.recipients {
        text += &format!("\n{}: {}\n", recipient.recipient, recipient.result);
        for row in &recipient.rows {
            let mark = if row.decides { '>' } else { ' ' };
            text += &format!("{mark} {}  {:<11} {}\n", row.row, row.rule, row.found);
        }
    }
    text
}
