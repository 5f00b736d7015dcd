//! How money comes onto an account: vouchers, starter grants, payments told of by a provider (SPEC.md §7, §10).
//!
//! What an admin moves by hand is [`Ledger::credit`](super::Ledger::credit). What always holds here: of each voucher,
//! proof and payment money moves at most once, whoever asks how often and through how many processes; the unique key
//! does it. Of a voucher's code the ledger knows a hash alone.

use async_trait::async_trait;

use super::{AccountKey, LedgerError};
use crate::money::Micros;

/// Vouchers in one issue: they are entered in one transaction, in which no mail is let in.
pub const ISSUE_VOUCHERS_MAX: usize = 1_000;

/// What stands in the ledger for a voucher's code: [`Code::hash`](crate::voucher::Code::hash).
pub type CodeHash = [u8; 32];

/// Vouchers to issue, all alike.
#[derive(Clone, Debug)]
pub struct NewVouchers {
    /// Unix seconds.
    pub now: u64,
    /// Of each; more than nothing.
    pub value: Micros,
    /// The last second at which they are good, in Unix seconds; `None`: for ever.
    pub expiry: Option<u64>,
    /// What the admin wants to remember of them; nobody else sees it.
    pub memo: String,
    /// 1 to [`ISSUE_VOUCHERS_MAX`].
    pub codes: Vec<CodeHash>,
}

/// A voucher as its office sees it: its code is not there to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// Its public handle, counted from 1.
    pub number: u64,
    /// What it is worth.
    pub value: Micros,
    /// When it was issued, in Unix seconds.
    pub issued: u64,
    /// The last second at which it is good, in Unix seconds.
    pub expiry: Option<u64>,
    /// What the admin wanted to remember.
    pub memo: String,
    /// What became of it.
    pub state: VoucherState,
}

/// What became of a voucher. One that is open may have expired: see [`Voucher::expiry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoucherState {
    /// It was neither used nor made void.
    Open,
    /// Its money went onto an account.
    Used {
        /// Whose.
        account: AccountKey,
        /// When, in Unix seconds.
        time: u64,
    },
    /// It was made void.
    Void {
        /// When, in Unix seconds.
        time: u64,
    },
}

/// What became of a code that somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoucherUse {
    /// Its money is on the account, now or since this account sent it before.
    Credited {
        /// The voucher's number.
        number: u64,
        /// What it was worth.
        value: Micros,
        /// What the account holds now.
        balance: Micros,
        /// It had been used by this account before; nothing moved now.
        again: bool,
    },
    /// No such code, or it was used by another account, made void, or has expired. Which of these is nobody's business.
    No,
}

/// What became of a voucher that was to be made void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voided {
    /// It is void from now on.
    Now,
    /// It had been before.
    Before,
    /// Too late: its money is on an account. [`Ledger::debit`](super::Ledger::debit) takes it off again.
    Used(AccountKey),
    /// There is no voucher of that number.
    NoSuch,
}

/// Names a network of clients: its first address, of IPv4 mapped into IPv6; zeros where it is not known.
pub type NetworkKey = [u8; 16];

/// A starter grant that somebody asks for. The caller has checked the proof.
#[derive(Clone, Copy, Debug)]
pub struct GrantRequest {
    /// Unix seconds.
    pub now: u64,
    /// Who gets it; the proof was made for this account.
    pub account: AccountKey,
    /// What a grant is; more than nothing.
    pub amount: Micros,
    /// What all grants of a UTC day may sum to.
    pub daily_max: Micros,
    /// From which network it is asked for.
    pub network: NetworkKey,
    /// What all grants of a UTC day to that network may sum to.
    pub network_max: Micros,
    /// What may have been granted this UTC day before a proof of no more work than this one counts no longer.
    pub given_max: Micros,
    /// Names the proof ([`Hashcash::id`](crate::stamp::hashcash::Hashcash::id)).
    pub proof: [u8; 16],
}

/// What became of a grant that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// The money is on the account, now or since this account sent the same proof before.
    Credited {
        /// What was granted.
        amount: Micros,
        /// What the account holds now.
        balance: Micros,
        /// It had been granted before; nothing moved now.
        again: bool,
    },
    /// The account had one today, by another proof.
    HadToday,
    /// Today's budget is used up.
    BudgetUsed,
    /// Today's grants to this network are used up.
    NetworkUsed,
    /// So much is given today that more work is asked for the rest.
    MoreWork {
        /// What is given today.
        given: Micros,
    },
}

/// A payment that a provider told of and vouches for.
#[derive(Clone, Debug)]
pub struct Payment {
    /// Unix seconds.
    pub now: u64,
    /// The provider: the money comes from `funding:<provider>`.
    pub provider: &'static str,
    /// What the provider calls this piece of news; the same again moves nothing.
    pub event: String,
    /// What the provider calls what was paid; told of in other news, it moves nothing again.
    pub reference: String,
    /// Who is credited.
    pub account: AccountKey,
    /// What was paid; more than nothing.
    pub amount: Micros,
}

/// What became of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paid {
    /// Credited; the new balance.
    Credited(Micros),
    /// It was credited before; nothing moved.
    Before,
}

/// The ways money comes onto an account but for an admin's hand.
#[async_trait]
pub trait Funding: Send + Sync {
    /// Enters vouchers, all or none; their numbers, in the order of the codes.
    async fn voucher_issue(&self, new: NewVouchers) -> Result<Vec<u64>, LedgerError>;

    /// The newest vouchers, newest first, at most so many.
    async fn voucher_list(&self, count_max: u32) -> Result<Vec<Voucher>, LedgerError>;

    /// Makes an open voucher void, for good.
    async fn voucher_void(&self, number: u64, now: u64) -> Result<Voided, LedgerError>;

    /// The voucher of this code, if there ever was one.
    async fn voucher_find(&self, code: CodeHash) -> Result<Option<Voucher>, LedgerError>;

    /// Moves a voucher's value from `funding:voucher` to the account: once, ever. The same account may ask again and
    /// hears the same.
    async fn voucher_use(
        &self,
        code: CodeHash,
        account: AccountKey,
        now: u64,
    ) -> Result<VoucherUse, LedgerError>;

    /// Moves all that one account can buy with to another, and returns how much that was: nothing when it is asked again.
    /// The caller has made sure that both are one person's.
    async fn gather(&self, from: AccountKey, to: AccountKey, now: u64) -> Result<Micros, LedgerError>;

    /// Moves a grant from `grants` to the account: once a UTC day an account, once a proof, within the day's budget
    /// and the network's part of it. Nothing moves but for [`Granted::Credited`].
    async fn grant(&self, request: GrantRequest) -> Result<Granted, LedgerError>;

    /// What grants have given away on the UTC day of this time.
    async fn granted_on_day_of(&self, now: u64) -> Result<Micros, LedgerError>;

    /// Moves a payment from `funding:<provider>` to the account: once for each event and each reference.
    async fn payment(&self, payment: Payment) -> Result<Paid, LedgerError>;
}
