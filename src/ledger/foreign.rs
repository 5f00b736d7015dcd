//! Other post offices: what they owe us for their stamps, and the refunds that offices report to each other (SPEC.md §7,
//! §10 `/v1/settlements`).
//!
//! Here, as the gate of a domain: a stamp of another office is redeemed on that office's word, which its account
//! `office:<domain>` counts up to a cap; when the postage goes back the account is relieved, and the refund waits, durably,
//! to be reported. There, as the office that sold a stamp: a reported refund moves its value from `stamps` to the buyer.
//!
//! What always holds: a stamp is given back once, by key, however often and by whomever it is reported; what is reported
//! was sold, and was neither redeemed here nor given up; no cash moves between offices.

use async_trait::async_trait;

use super::{LedgerError, StampId};
use crate::{address::Domain, money::Micros};

/// Refunds in one report. A field's value has at most 2,048 octets, so a report stays within what an office reads.
pub const REPORTED_AT_ONCE_MAX: u32 = 100;
/// A refund that its office has not taken for so long is given up, in seconds: by then the office has ended the stamp,
/// as we would ([`super::settling::FOREIGN_AFTER_S`] after its expiry).
pub const REPORT_KEPT_S: u64 = super::settling::FOREIGN_AFTER_S;

/// Refunds that an office is to be told of, in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who sold the stamps.
    pub office: Domain,
    /// The domain they were for, whose key signs the report.
    pub audience: Domain,
    /// How often the office was told in vain since it last took a report.
    pub tries: u32,
    /// At most [`REPORTED_AT_ONCE_MAX`].
    pub refunds: Vec<Refund>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Names the redemption.
    pub redemption: i64,
    /// The stamp's id.
    pub id: StampId,
    /// The value of the field on the letter.
    pub field: String,
}

/// How we stand with another office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The office.
    pub office: Domain,
    /// The value of its stamps that were redeemed here and not given back.
    pub outstanding: Micros,
    /// Refunds that wait to be reported to it.
    pub waiting: u64,
    /// When the oldest of them was granted, in Unix seconds.
    pub oldest: Option<u64>,
    /// Why it was not told at the last try, and when the next one is due.
    pub trouble: Option<(String, u64)>,
}

/// Dealings with other offices.
#[async_trait]
pub trait Foreign {
    /// Refunds of one office and one domain that are to be reported now, the oldest first; `None` when none are.
    async fn next_report(&self, now: u64) -> Result<Option<Report>, LedgerError>;

    /// The office has answered: none of these refunds is reported again.
    async fn report_taken(&self, report: &Report) -> Result<(), LedgerError>;

    /// The office has not taken the report: it is told again at `due`, Unix seconds.
    async fn report_failed(&self, report: &Report, trouble: &str, due: u64) -> Result<(), LedgerError>;

    /// Every office whose stamps were redeemed here, by name.
    async fn standings(&self) -> Result<Vec<Standing>, LedgerError>;

    /// Gives the value of stamps that our office sold for this domain back to their buyers; the caller has made sure that
    /// they are exactly those sold, were cancelled by their holders, and that the domain says so. Returns the ids that are
    /// given back now, by this call or by an earlier one.
    async fn give_back(
        &self,
        audience: &Domain,
        ids: &[StampId],
        now: u64,
    ) -> Result<Vec<StampId>, LedgerError>;

    /// Gives up what an office owes us, up to `amount`, against what was kept or burned: money that never comes. Returns
    /// how much that was.
    async fn forgive(&self, office: &Domain, amount: Micros, now: u64) -> Result<Micros, LedgerError>;
}
