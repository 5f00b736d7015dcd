//! The book of known senders: who takes mail from whom without postage, and from whom never.
//!
//! An entry counts only for mail that authenticated as its sender; the book itself does not look at mail.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{
    address::{Address, AddressError, Domain},
    identity::forwarder::{ForwarderError, HOST_PREFIX, SEALER_PREFIX, own_name},
};

/// Octets of a List-Id that can be written into the book.
pub const LIST_ID_OCTETS_MAX: usize = 255;

/// A sender as people write it: ADDRESS, DOMAIN or `list:LIST-ID` (INTERFACE.md).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// One author.
    Address(Address),
    /// Every author of a domain, exactly.
    Domain(Domain),
    /// A mailing list by its List-Id, lower-cased, without brackets.
    List(String),
    /// No sender, but a forwarder whose seals (ARC) as this domain or one below it say who the sender is.
    Sealer(Domain),
    /// The same, a host of this name or one below it.
    Host(Domain),
}

/// What was written is no sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// Neither an address nor a domain.
    #[error("{0}; a sender is an address, a domain or list:LIST-ID")]
    Address(#[from] AddressError),
    /// A List-Id that is empty, too long or has white space in it.
    #[error("`{0}` is not a List-Id; copy what stands between < and > in the List-Id field")]
    ListId(String),
    /// No forwarder.
    #[error(transparent)]
    Forwarder(#[from] ForwarderError),
}

impl FromStr for Sender {
    type Err = SenderError;

    fn from_str(text: &str) -> Result<Self, SenderError> {
        if let Some(id) = text.strip_prefix("list:") {
            let id = id.trim_start_matches('<').trim_end_matches('>').to_ascii_lowercase();
            if id.is_empty() || id.len() > LIST_ID_OCTETS_MAX || !id.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(SenderError::ListId(crate::address::shown(id.as_bytes())));
            }
            return Ok(Self::List(id));
        }
        if let Some(domain) = text.strip_prefix(SEALER_PREFIX) {
            return Ok(Self::Sealer(own_name(domain)?));
        }
        if let Some(name) = text.strip_prefix(HOST_PREFIX) {
            return Ok(Self::Host(own_name(name)?));
        }
        if text.contains('@') {
            Ok(Self::Address(text.parse()?))
        } else {
            Ok(Self::Domain(Domain::from_any(text)?))
        }
    }
}

/// What stands before the `@` of the addresses at which people join a list, behind its name.
const LIST_JOINS: [&str; 5] = ["", "-request", "-subscribe", "-join", "-leave"];

impl Sender {
    /// Every name by which a list may stand in a book: its List-Id, the address that goes with it (`users@lists.example`
    /// with `users.lists.example`), and those at which people join it: who wrote to one of them wants its mail. Only
    /// the List-Id where the domain behind the list's name belongs to others (a public suffix).
    #[must_use]
    pub fn names_of_list(id: &str) -> Vec<Self> {
        let mut names = vec![Self::List(id.to_owned())];
        if let Some((name, domain)) = id.split_once('.')
            && let Ok(domain) = domain.parse::<Domain>()
            && psl::domain_str(domain.as_str()).is_some()
        {
            let at = |end: &str| Address::from_parts(format!("{name}{end}").as_bytes(), domain.clone());
            names.extend(LIST_JOINS.into_iter().filter_map(at).map(Self::Address));
        }
        names
    }

    /// The list that takes its mail at this address, if it is one.
    #[must_use]
    pub fn list_at(address: &Address) -> Option<Self> {
        let bare = address.without_detail();
        let id = format!("{}.{}", std::str::from_utf8(bare.local()).ok()?, bare.domain());
        format!("list:{id}").parse().ok()
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
            Self::List(id) => write!(f, "list:{id}"),
            Self::Sealer(domain) => write!(f, "{SEALER_PREFIX}{domain}"),
            Self::Host(name) => write!(f, "{HOST_PREFIX}{name}"),
        }
    }
}

impl Serialize for Sender {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// How an entry came into the book (INTERFACE.md `known list`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// By hand.
    Added,
    /// A letter was marked as wanted.
    Wanted,
    /// The recipient wrote to the sender.
    Sent,
    /// The recipient answered the sender.
    Reply,
    /// From old mail or an address book.
    Imported,
}

impl How {
    /// The word in the ledger and in `known list`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Wanted => "wanted",
            Self::Sent => "sent",
            Self::Reply => "reply",
            Self::Imported => "imported",
        }
    }

    /// The way that word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Added, Self::Wanted, Self::Sent, Self::Reply, Self::Imported]
            .into_iter()
            .find(|h| h.as_str() == word)
    }
}

/// What the book says of a sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    #[default]
    Unknown,
    /// Welcome without postage.
    Allowed,
    /// Not accepted, postage or not.
    Blocked,
}

/// An entry to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// Whose book; `None`: the site's.
    pub recipient: Option<Address>,
    /// Who is known or blocked.
    pub sender: Sender,
    /// Blocked instead of known.
    pub block: bool,
    /// How it came there.
    pub how: How,
    /// Unix seconds.
    pub since: u64,
}

/// An entry as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BookEntry {
    /// Whose book; `None`: the site's.
    pub recipient: Option<Address>,
    /// Who is known or blocked.
    pub sender: Sender,
    /// Blocked instead of known.
    pub block: bool,
    /// How it came there.
    pub how: How,
    /// Unix seconds.
    pub since: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_as_people_write_them() {
        for (text, shown) in [
            ("Alice@A.example", "alice@a.example"),
            ("A.example", "a.example"),
            ("list:<Users.List.example>", "list:users.list.example"),
            ("arc:Old.example", "arc:old.example"),
            ("host:MX.old.example.", "host:mx.old.example"),
        ] {
            assert_eq!(text.parse::<Sender>().unwrap().to_string(), shown);
        }
        for bad in ["alice", "", "list:", "list:a b", "@", "alice@", "arc:co.uk", "host:", "host:192.0.2.1"] {
            assert!(bad.parse::<Sender>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_names_of_a_list() {
        let names = |id: &str| Sender::names_of_list(id).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            names("users.lists.example"),
            [
                "list:users.lists.example",
                "users@lists.example",
                "users-request@lists.example",
                "users-subscribe@lists.example",
                "users-join@lists.example",
                "users-leave@lists.example"
            ]
        );
        assert_eq!(names("me.github.io"), ["list:me.github.io"], "who is me need not be me@github.io");
        assert_eq!(names("users.example"), ["list:users.example"]);
        let list_at = |text: &str| Sender::list_at(&text.parse().unwrap()).map(|list| list.to_string());
        assert_eq!(list_at("users+x@lists.example").as_deref(), Some("list:users.lists.example"));
        assert_eq!(list_at("\"a b\"@lists.example"), None);
    }
}
