//! `farthing office`: other post offices whose stamps are taken here.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Context, Exit, Failure, block_on, open, shown_time, table};
use crate::{
    address::Domain,
    clock::unix_now,
    ledger::foreign::{Foreign as _, Standing},
    money::Micros,
    reporter::is_nearly,
};

/// What to do with other offices.
#[derive(Subcommand)]
pub enum OfficeCommand {
    /// What each owes for its stamps that were redeemed here, and refunds that wait to be reported to it.
    List,
    /// Give up what an office owes, so that its stamps are taken again: no money ever comes for them.
    #[command(after_help = "Example:\n  farthing office forgive post.example 50.00")]
    Forgive {
        /// The office.
        office: Domain,
        /// 0.25c (hundredths), 2500u (micros) or 0.0025 (units), at most what it owes and what was kept or burned here.
        amount: Micros,
    },
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration or the ledger; [`Exit::No`] when nothing could be given up.
pub fn run(command: &OfficeCommand, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let ledger = open::ledger(&config)?;
    match command {
        OfficeCommand::List => list(&block_on(ledger.standings())??, config.gate.office_cap, context),
        OfficeCommand::Forgive { office, amount } => {
            let forgiven = block_on(ledger.forgive(office, *amount, unix_now()))??;
            if forgiven == Micros::ZERO {
                return Err(Failure::new(
                    Exit::No,
                    format!("{office} owes nothing that was kept or burned here; nothing was given up"),
                ));
            }
            context.print(&json!({"office": office, "forgiven": forgiven}), || {
                format!("{forgiven} of what {office} owes were given up\n")
            })
        }
    }
}

fn list(standings: &[Standing], cap: Micros, context: &Context) -> Result<(), Failure> {
    let one = |s: &Standing| {
        json!({
            "office": s.office, "outstanding": s.outstanding, "cap": cap, "waiting": s.waiting, "oldest": s.oldest,
            "trouble": s.trouble.as_ref().map(|(words, _)| words), "next_try": s.trouble.as_ref().map(|(_, due)| due),
        })
    };
    let value: Vec<Value> = standings.iter().map(one).collect();
    context.print(&value, || {
        if standings.is_empty() {
            return "no stamp of another office was redeemed here\n".into();
        }
        let row = |s: &Standing| {
            let full = if is_nearly(s.outstanding, cap) { " (!)" } else { "" };
            vec![
                s.office.to_string(),
                format!("{}{full}", s.outstanding),
                s.waiting.to_string(),
                s.oldest.map(shown_time).unwrap_or_default(),
                s.trouble.as_ref().map(|(words, _)| words.clone()).unwrap_or_default(),
            ]
        };
        let rows = standings.iter().map(row).collect();
        format!(
            "{}at most {cap} each\n",
            table(&["OFFICE", "OWES", "REFUNDS WAITING", "SINCE (UTC)", "TROUBLE"], rows)
        )
    })
}
