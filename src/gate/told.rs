//! What a trusted server in front of us has found out about a letter: `[identity] check = "results"`.
//!
//! Only Authentication-Results of servers named in `trusted` count, and only those above the first Received field that no
//! relay of ours has written. That alone does not keep forged ones out, for a letter need not have any Received field:
//! every Authentication-Results field in the trusted server's own name that comes with a letter must be taken away before
//! (RFC 8601 §5), as the README has Postfix do it; milters that do so by themselves are known to miss some.

use super::letter::Letter;
use crate::{
    address::Domain,
    identity::results::{FIELD, Results, Told, judge, list_passes, of_trusted},
    policy::Authenticated,
};

/// Fields of trusted servers that are read; honest chains have two or three.
const FIELDS_MAX: usize = 10;

/// What trusted servers say.
pub struct Heard(Vec<Results>);

/// Reads what the trusted servers say of a letter that has passed so many relays of ours.
#[must_use]
pub fn told(trusted: &[String], letter: &Letter, relays_passed: usize) -> Heard {
    let values = letter.values_above(FIELD, relays_passed).take(FIELDS_MAX);
    Heard(of_trusted(values, |server| trusted.iter().any(|name| name.eq_ignore_ascii_case(server))))
}

impl Heard {
    /// Whether the author's domain stands behind the letter.
    #[must_use]
    pub fn of_author(&self, author: &Domain) -> Authenticated {
        match judge(&self.0, author) {
            Told::Aligned { .. } => Authenticated::Yes,
            Told::Trouble(_) => Authenticated::Trouble,
            Told::Not(_) | Told::Silent => Authenticated::No,
        }
    }

    /// What they say of a domain, for people.
    #[must_use]
    pub fn words(&self, domain: &Domain) -> String {
        judge(&self.0, domain).to_string()
    }

    /// Whether a list stands behind it.
    #[must_use]
    pub fn of_list(&self, list: &Domain) -> Authenticated {
        if list_passes(&self.0, list) { Authenticated::Yes } else { Authenticated::No }
    }
}
