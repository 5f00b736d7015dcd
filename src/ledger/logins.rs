//! Logins that pay for the stamps on their letters themselves, from accounts of their own: `login:<login>`.
//!
//! The stamps are other offices', bought with the site's wallet; what a login pays for them goes to the account `franking`.
//! What always holds: a stamp is paid for in the commit that takes it from the purse; what its office gives back of it is
//! the login's again, once.

use async_trait::async_trait;

use super::{AccountKey, Entry, LedgerError, StampId};
use crate::{address::Domain, clock::DAY_S, money::Micros};

/// Where what logins pay stands.
pub const FRANKING: &str = "franking";
/// Before a login, in the name of its account.
pub const LOGIN_PREFIX: &str = "login:";
/// A stamp may still be given back so long after it has expired, in seconds: it was used on its last day, and its
/// recipient answers at the end of his site's refund window.
pub const RETURNS_AFTER_EXPIRY_S: u64 = 60 * DAY_S;
/// Stamps that an office is asked for at once.
pub const RETURNS_ASKED_MAX: u32 = 1_000;
/// How often an office is asked for the same stamp, in seconds.
pub const RETURNS_ASKED_EVERY_S: u64 = DAY_S / 4;

/// An account of a login, without regard to case.
#[async_trait]
pub trait Logins {
    /// Moves money from `funding:credit` to a login's account; returns what it holds then.
    async fn login_credit(
        &self,
        login: &str,
        amount: Micros,
        memo: &str,
        now: u64,
    ) -> Result<Micros, LedgerError>;

    /// Moves money back; returns what is left.
    ///
    /// # Errors
    /// [`LedgerError::Short`] when the account holds less.
    async fn login_debit(
        &self,
        login: &str,
        amount: Micros,
        memo: &str,
        now: u64,
    ) -> Result<Micros, LedgerError>;

    /// What a login's account holds.
    async fn login_account(&self, login: &str) -> Result<Micros, LedgerError>;

    /// Every login that has an account.
    async fn login_accounts(&self) -> Result<Vec<(String, Micros)>, LedgerError>;

    /// The newest movements on a login's account, newest first.
    async fn login_entries(&self, login: &str, count_max: u32) -> Result<Vec<Entry>, LedgerError>;

    /// Stamps that logins paid for, of one office, which was not asked for them lately; none when there are none. From now
    /// on it has been asked.
    async fn returns_to_ask(&self, now: u64) -> Result<Option<(Domain, Vec<StampId>)>, LedgerError>;

    /// The office gives back what these stamps cost: it is credited to those who paid for them, once. Returns how many that
    /// were.
    async fn returned(&self, office: &Domain, ids: &[StampId], now: u64) -> Result<usize, LedgerError>;

    /// Of these stamps of our own office those that this account has bought and has the postage back of.
    async fn came_back(&self, account: AccountKey, ids: &[StampId]) -> Result<Vec<StampId>, LedgerError>;
}
