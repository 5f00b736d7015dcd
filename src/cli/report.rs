//! `farthing report`: what was let in, refused, paid and refunded.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    Context, Failure, block_on, open,
    overview::{text, value, write_page},
};
use crate::{
    clock::{DAY_S, unix_now},
    ledger::{
        Ledger as _,
        book::Sender,
        tally::{DECISIONS_KEPT_S, Tally},
    },
    message::kind::is_robot,
    warm::{
        overview::{Overview, RESULTS, SenderLine},
        welcome,
    },
};

/// What letters without one author are called.
const NO_AUTHOR: &str = "(no author)";

pub const EXAMPLES: &str = "Each letter counts once for each recipient. Decisions are kept for 60 days. Mail
of own users is not counted.

Examples:
  farthing report
  farthing report --days 30 --html report.html";

/// How far back.
#[derive(Args)]
pub struct ReportArgs {
    /// Days back from now.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = days)]
    days: u64,
    /// Write one page with plots, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn days(text: &str) -> Result<u64, String> {
    const MAX: u64 = DECISIONS_KEPT_S / DAY_S;
    let days = text.parse().ok().filter(|days| (1..=MAX).contains(days));
    days.ok_or_else(|| format!("write a number of days from 1 to {MAX}: decisions are kept so long"))
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration or the ledger.
pub fn run(args: &ReportArgs, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let ledger = open::ledger(&config)?;
    let now = unix_now();
    let since = now.saturating_sub(args.days.saturating_mul(DAY_S));
    let tally = block_on(ledger.tally(since))??;
    let overview = overview(&tally);
    let delivered: u64 = tally.days.iter().filter(|day| day.delivered).map(|day| day.letters).sum();
    let refused = overview.messages() - delivered;
    let (paid, refunded) = (tally.paid, tally.refunded);
    let days = if args.days == 1 { "day".to_owned() } else { format!("{} days", args.days) };
    let summary = format!(
        "The last {days}: {} letters, {delivered} let in, {refused} refused or deferred; {} stamps paid {}, {} of them \
         or of earlier ones were given back: {}",
        overview.messages(),
        paid.count,
        paid.value,
        refunded.count,
        refunded.value
    );
    write_page(args.html.as_deref(), "What the gate did", &summary, &overview)?;
    let money = |m: crate::ledger::tally::Money| json!({"count": m.count, "value": m.value});
    let more = json!({
        "since": since, "until": now, "delivered": delivered, "refused": refused,
        "paid": money(paid), "refunded": money(refunded),
    });
    context.print(&value(&overview, more), || {
        if overview.messages() == 0 {
            return format!("{summary}\n");
        }
        format!("{summary}\n\n{}", text(&overview))
    })
}

fn overview(tally: &Tally) -> Overview {
    let mut overview = Overview::default();
    for day in &tally.days {
        overview.count(&day.result, Some(day.day), day.letters);
    }
    for sender in &tally.senders {
        let result = RESULTS.into_iter().find(|word| *word == sender.result).unwrap_or("unknown");
        let kind = match (&sender.list, &sender.author) {
            (Some(_), _) => "list",
            (None, Some(author)) if is_robot(author) => "robot",
            _ => "person",
        };
        let stays_out = matches!(result, "unpaid" | "invalid");
        let name = match (&sender.list, &sender.author) {
            (Some(list), _) => format!("list:{list}").parse().ok(),
            (None, author) => author.clone().map(Sender::Address),
        };
        let allow = name.filter(|_| stays_out).and_then(|name| welcome(&name, sender.recipient.as_ref()));
        let author = || sender.author.as_ref().map_or(NO_AUTHOR.into(), ToString::to_string);
        overview.sender(SenderLine {
            sender: sender.list.as_ref().map_or_else(author, |list| format!("list:{list}")),
            messages: sender.letters,
            result,
            kind,
            reason: sender.reason.clone(),
            allow,
        });
    }
    overview
}
