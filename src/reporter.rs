//! The daemon's task that tells other offices what was given back of their stamps (SPEC.md §7, §10), so that it reaches the
//! buyers' accounts there; and that says in the log when an office owes as much as it may.
//!
//! What waits is in the ledger: the task may be stopped or killed at any instant. A refund may be told twice and is
//! credited once. An office that does not answer is told again, ever more seldom, and holds up no other.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    address::Domain,
    clock::unix_now,
    gate::Site,
    ledger::{
        Ledger, LedgerError, StampId,
        foreign::{Report, Standing},
    },
    money::Micros,
    office::wire::SettlementBody,
    stamp::{SecretKey, Selector},
    wallet::OfficeClient,
};

/// Between two looks for refunds to report. A look is one read of an index that is empty most of the time.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After trouble with the ledger, before it is asked again.
const TROUBLE_PAUSE: Duration = Duration::from_secs(60);
/// After the first time in vain, in seconds; from then on twice as long each time.
const RETRY_FIRST_S: u64 = 60;
/// The longest pause between two tries, in seconds: who comes back hears of it within hours.
const RETRY_MOST_S: u64 = 6 * 3_600;
/// An office that owes so many hundredths of what it may is spoken of in the log.
const NEARLY_PERCENT: u64 = 80;

/// Runs until it is stopped; `site` gives the site as of now.
pub async fn run(
    ledger: Arc<dyn Ledger>,
    site: impl Fn() -> Arc<Site> + Send,
    mut stopped: watch::Receiver<bool>,
) {
    let mut in_trouble = false;
    let mut watch = CapWatch::default();
    loop {
        let passed = tokio::select! {
            passed = pass(&*ledger, &site, &mut watch) => passed,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        if let Err(error) = &passed
            && !in_trouble
        {
            // Once, not every minute; the ledger logs what it cannot do itself.
            tracing::error!(%error, "refunds are not reported to other offices");
        }
        in_trouble = passed.is_err();
        tokio::select! {
            () = tokio::time::sleep(if in_trouble { TROUBLE_PAUSE } else { LOOK_EVERY }) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// Reports all that is due.
async fn pass(
    ledger: &dyn Ledger,
    site: &(impl Fn() -> Arc<Site> + Send),
    watch: &mut CapWatch,
) -> Result<(), LedgerError> {
    while let Some(report) = ledger.next_report(unix_now()).await? {
        let site = site();
        match tell(&site, &report).await {
            Ok(credited) => {
                log_taken(&report, &credited);
                ledger.report_taken(&report).await?;
            }
            Err(why) => {
                let pause_s = pause_after(report.tries);
                tracing::warn!(
                    office = %report.office, audience = %report.audience, tries = report.tries + 1, pause_s, why,
                    "an office took no refunds"
                );
                ledger.report_failed(&report, &why, unix_now().saturating_add(pause_s)).await?;
            }
        }
    }
    let site = site();
    if site.config.takes_foreign_stamps() {
        watch.look(&ledger.standings().await?, site.config.gate.office_cap);
    }
    Ok(())
}

/// How long to wait after so many tries in vain before this one, in seconds.
const fn pause_after(tries: u32) -> u64 {
    let doubled = RETRY_FIRST_S.saturating_mul(1 << if tries < 32 { tries } else { 32 });
    if doubled < RETRY_MOST_S { doubled } else { RETRY_MOST_S }
}

/// Tells the office; the ids it credited, or why it did not take the report.
async fn tell(site: &Site, report: &Report) -> Result<Vec<StampId>, String> {
    let key = site.keys.signing().ok_or("there is no key to sign with; run: farthing key new")?;
    let url = site.discovery.office_url(&report.office).await.map_err(|trouble| trouble.to_string())?;
    let (secret, selector): (SecretKey, Selector) = (key.secret.clone(), key.selector.clone());
    let report = report.clone();
    let told = tokio::task::spawn_blocking(move || {
        let body = SettlementBody {
            audience: report.audience.clone(),
            s: selector.to_string(),
            stamps: report.refunds.iter().map(|refund| refund.field.clone()).collect(),
        };
        let client = OfficeClient::new(&url)?;
        client.must_be(&report.office)?;
        client.settle(&report.office, &secret, &body)
    });
    let answer = told.await.map_err(|_| "the call was broken off".to_owned())?;
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(answer.credited.into_iter().map(|id| id.0).collect())
}

fn log_taken(report: &Report, credited: &[StampId]) {
    let (office, told) = (&report.office, report.refunds.len());
    let taken = report.refunds.iter().filter(|refund| credited.contains(&refund.id)).count();
    if taken == told {
        tracing::info!(%office, audience = %report.audience, told, "refunds reported to their office");
    } else {
        // It has answered, and would answer the same again.
        tracing::warn!(
            %office, audience = %report.audience, told, credited = taken,
            "an office did not credit all refunds; what it did not, its customers lose"
        );
    }
}

/// Which offices were said to owe much: once, until they owe less.
#[derive(Default)]
struct CapWatch {
    said: HashSet<Domain>,
}

impl CapWatch {
    fn look(&mut self, standings: &[Standing], cap: Micros) {
        for Standing { office, outstanding, .. } in standings {
            let nearly = is_nearly(*outstanding, cap);
            if !nearly {
                self.said.remove(office);
            } else if self.said.insert(office.clone()) {
                tracing::warn!(
                    %office, %outstanding, %cap,
                    "an office owes nearly as much as [gate] office_cap allows; beyond it its stamps are not taken"
                );
            }
        }
    }
}

/// Whether an office owes so much that somebody should look.
#[must_use]
pub fn is_nearly(outstanding: Micros, cap: Micros) -> bool {
    u128::from(outstanding.get()) * 100 >= u128::from(cap.get()) * u128::from(NEARLY_PERCENT)
        && outstanding > Micros::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_some_hours() {
        let pauses: Vec<u64> = (0..12).map(pause_after).collect();
        assert_eq!(pauses[..9], [60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360]);
        assert_eq!(pauses[9..], [RETRY_MOST_S; 3]);
        assert_eq!(pause_after(u32::MAX), RETRY_MOST_S);
    }

    #[test]
    fn an_office_is_spoken_of_once_until_it_owes_less() {
        let micros = |n| Micros::new(n).unwrap();
        for (owed, cap, nearly) in [
            (0, 100, false),
            (79, 100, false),
            (80, 100, true),
            (200, 100, true),
            (0, 0, false),
            (1, 0, true),
        ] {
            assert_eq!(is_nearly(micros(owed), micros(cap)), nearly, "{owed} of {cap}");
        }
        let standing = |owed| Standing {
            office: "other.example".parse().unwrap(),
            outstanding: micros(owed),
            waiting: 0,
            oldest: None,
            trouble: None,
        };
        let mut watch = CapWatch::default();
        for (owed, said) in [(79, 0), (90, 1), (95, 1), (10, 0), (100, 1)] {
            watch.look(&[standing(owed)], micros(100));
            assert_eq!(watch.said.len(), said, "{owed}");
        }
    }
}
