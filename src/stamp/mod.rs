//! Stamps and what goes with them, as bytes (SPEC.md §3 to §6, §9).
//!
//! Everything here is pure: no I/O, no clock, no randomness; keys, times and random bytes are arguments.
//! A value of these types is well-formed; whether it pays is what [`check`] says, and whether it was sold
//! or spent only the ledger knows.

pub mod check;
mod fold;
pub mod format;
pub mod freepost;
pub mod hashcash;
pub mod records;
pub mod selector;
pub mod sign;
pub mod taglist;
pub mod tokens;

pub use check::{Asked, Word};
pub use format::{Cancellation, CancelledStamp, Malformed, Stamp, Terms};
pub use selector::Selector;
pub use sign::{PublicKey, SecretKey};

/// Name of the field that carries a stamp (SPEC.md §3).
pub const STAMP_FIELD: &str = "Postage-Stamp";
/// Fields of that name a gate looks at in one message; later ones count for nothing (SPEC.md §3).
pub const STAMP_FIELDS_MAX: usize = 100;
