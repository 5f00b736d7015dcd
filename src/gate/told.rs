//! What a trusted server in front of us has found out about a letter: `[identity] check = "results"`.
//!
//! Only Authentication-Results of servers named in `trusted` count, and only those above the first Received field that no
//! relay of ours has written. That alone does not keep forged ones out, for a letter need not have any Received field:
//! the trusted server must take away every Authentication-Results field in its own name that comes with a letter (RFC
//! 8601 §5), as OpenDKIM, OpenDMARC and rspamd do when they are told their authserv-id.

use super::letter::Letter;
use crate::{
    address::Domain,
    identity::{
        align::same_organisation,
        results::{FIELD, Results, Told, judge, of_trusted},
    },
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

    /// Whether a list stands behind it: by SPF only, for what a signature covers is not said in these fields.
    #[must_use]
    pub fn of_list(&self, list: &Domain) -> Authenticated {
        let passes = |domain: Option<Domain>| domain.is_some_and(|domain| same_organisation(&domain, list));
        let mut results = self.0.iter().flat_map(|field| &field.results);
        if results.any(|r| r.method == "spf" && r.result == "pass" && passes(r.domain())) {
            Authenticated::Yes
        } else {
            Authenticated::No
        }
    }
}
