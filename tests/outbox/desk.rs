//! A courier at work under a clock that the test moves, with a ledger of its own.

use std::sync::Arc;

use farthing::{
    config::Config,
    daemon::{Missing, open_ledger, site},
    ledger::{
        Ledger,
        outbox::{AnswerAbout, Outbox as _, OutboxState},
        sqlite::SqliteLedger,
    },
    outgoing::Courier,
};
use jiff::tz::TimeZone;

use crate::support::BOB;

/// Fri, 15 Jan 2027 08:00 UTC.
pub const NOW: u64 = 1_800_000_000;
pub const DAY: u64 = 86_400;

pub struct Desk {
    pub directory: tempfile::TempDir,
    pub ledger: Arc<SqliteLedger>,
    pub courier: Courier,
    smarthost: String,
}

impl Desk {
    /// A desk whose mail goes to this smarthost. Inside a tokio runtime.
    pub fn new(smarthost: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, courier) = opened(&directory, smarthost);
        Self { directory, ledger, courier, smarthost: smarthost.into() }
    }

    /// As after a kill -9: nothing is closed, and another process goes on with the same ledger.
    pub fn killed_and_started(&mut self) {
        let (ledger, courier) = opened(&self.directory, &self.smarthost);
        (self.ledger, self.courier) = (ledger, courier);
    }

    /// Another daemon on the same ledger.
    pub fn beside(&self) -> (Arc<SqliteLedger>, Courier) {
        opened(&self.directory, &self.smarthost)
    }

    pub async fn answer(&self, to: &str, subject: &str, now: u64) {
        let about = AnswerAbout {
            from: "postage@b.example".parse().unwrap(),
            subject: format!("Re: {subject}"),
            in_reply_to: Some(format!("<{subject}@b.example>")),
        };
        self.ledger.answer(&to.parse().unwrap(), about, format!("{subject}: done\n"), now).await.unwrap();
    }

    pub async fn answer_bob(&self, subject: &str, now: u64) {
        self.answer(BOB, subject, now).await;
    }

    pub async fn round(&mut self, now: u64) {
        self.courier.round(now, || false).await.unwrap();
    }

    pub async fn state(&self) -> OutboxState {
        self.ledger.outbox_state().await.unwrap()
    }
}

pub fn config(directory: &tempfile::TempDir, smarthost: &str) -> Config {
    let text = format!(
        "[gate]\nhostname = \"mx.b.example\"\ndomains = [\"a.example\", \"b.example\"]\n\
         [office]\ndomain = \"b.example\"\nurl = \"https://b.example/post\"\nkeys = \"keys\"\n\
         [ledger]\nurl = \"sqlite:ledger.db\"\n[commands]\nsmtp = \"{smarthost}\"\n"
    );
    Config::parse(&text, &directory.path().join("farthing.toml")).unwrap()
}

fn opened(directory: &tempfile::TempDir, smarthost: &str) -> (Arc<SqliteLedger>, Courier) {
    let config = config(directory, smarthost);
    let ledger = Arc::new(open_ledger(&config).unwrap());
    let site = Arc::new(site(config, Missing::Make).unwrap());
    let courier = Courier::new(ledger.clone() as Arc<dyn Ledger>, move || site.clone());
    (ledger, courier.in_zone(TimeZone::UTC))
}
