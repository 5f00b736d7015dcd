//! The daemon's task that ends postage: every hour it settles what is due, gives unused stamps back and drops old
//! history, in small steps with pauses, so that mail goes first ([`crate::ledger::settling`]).
//!
//! It may be stopped or killed at any instant, and other processes may do the same on the same books.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    clock::unix_now,
    config::Config,
    ledger::{
        Ledger, LedgerError,
        settling::{Done, Keep, Terms},
    },
};

/// Before the first pass: mail that has waited for the start goes first.
const START_PAUSE: Duration = Duration::from_secs(10);
/// Between two passes. What is due by the day need not be done by the minute.
const PASS_EVERY: Duration = Duration::from_secs(3_600);
/// Between two steps of a pass: a step takes a few milliseconds of the writer, and mail the rest.
const STEP_PAUSE: Duration = Duration::from_millis(50);
/// After trouble with the ledger, before the pass is tried again.
const TROUBLE_PAUSE: Duration = Duration::from_secs(60);

/// By what a site settles, as of its configuration.
#[must_use]
pub fn terms(config: &Config, now: u64, clock: u64) -> Terms {
    Terms {
        now,
        clock,
        keep: if config.ledger.keep_in_treasury { Keep::Treasury } else { Keep::Burn },
        domains: config.gate.domains.clone(),
    }
}

/// Runs until it is stopped; `terms_at` gives the terms of this moment for (now, settling clock).
pub async fn run(
    ledger: Arc<dyn Ledger>,
    terms_at: impl Fn(u64, u64) -> Terms + Send,
    mut stopped: watch::Receiver<bool>,
) {
    let mut in_trouble = false;
    let mut pause = START_PAUSE;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.wait_for(|stop| *stop) => break,
        }
        let mut done = Done::default();
        let passed = tokio::select! {
            passed = pass(&*ledger, &terms_at, &mut done) => Some(passed),
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        log(&done);
        let Some(passed) = passed else { break };
        pause = match passed {
            Ok(()) => PASS_EVERY,
            Err(error) => {
                // Once, not every minute; the ledger logs what it cannot do itself.
                if !in_trouble {
                    tracing::error!(%error, "postage that is due is not settled");
                }
                TROUBLE_PAUSE
            }
        };
        in_trouble = pause == TROUBLE_PAUSE;
    }
}

async fn pass(
    ledger: &dyn Ledger,
    terms_at: &(impl Fn(u64, u64) -> Terms + Send),
    all: &mut Done,
) -> Result<(), LedgerError> {
    let clock = ledger.settling_clock(unix_now()).await?;
    loop {
        let now = unix_now();
        let done = ledger.settle(terms_at(now, clock.min(now))).await?;
        *all = all.and(done);
        if !done.more {
            return Ok(());
        }
        tokio::time::sleep(STEP_PAUSE).await;
    }
}

/// One line for a pass that did something.
fn log(done: &Done) {
    let Done { settled, returned, given_up, dropped, more } = *done;
    if *done == (Done { more, ..Done::default() }) {
        return;
    }
    tracing::info!(
        letters = settled.count,
        kept_or_burned = %settled.value,
        unused_stamps = returned.count,
        returned = %returned.value,
        foreign_stamps = given_up.count,
        given_up = %given_up.value,
        rows_dropped = dropped,
        "postage settled"
    );
}
