//! Freepost addresses as the ledger keeps them (SPEC.md §9): by owner and label.

use crate::address::Address;

/// A label to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLabel {
    /// Whose mail the address takes.
    pub owner: Address,
    /// In lower case.
    pub label: String,
    /// Days since 1970-01-01; 0: for ever.
    pub expiry_day: u16,
    /// Unix seconds.
    pub now: u64,
}

/// A label as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whose mail the address takes.
    pub owner: Address,
    /// In lower case.
    pub label: String,
    /// Unix seconds.
    pub made: u64,
    /// Days since 1970-01-01; 0: for ever.
    pub expiry_day: u16,
    /// When it was revoked, in Unix seconds.
    pub revoked: Option<u64>,
    /// Letters that came through it.
    pub letters: u64,
    /// When the last one came, in Unix seconds.
    pub last_letter: Option<u64>,
    /// The author of the first: to whom it was probably given.
    pub first_author: Option<Address>,
}
