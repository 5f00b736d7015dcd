//! The book of known senders: who takes mail from whom without postage, and from whom never.
//!
//! An entry counts only for mail that authenticated as its sender; the book itself does not look at mail.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::zone::Zone;
use crate::{
    address::{Address, AddressError, Domain},
    identity::forwarder::{ForwarderError, HOST_PREFIX, SEALER_PREFIX, own_name},
};

/// Octets of the memo of an entry: a line, not a file.
pub const MEMO_OCTETS_MAX: usize = 200;
/// Octets of a List-Id that can be written into the book.
pub const LIST_ID_OCTETS_MAX: usize = 255;

/// A sender as people write it: ADDRESS, DOMAIN, `.DOMAIN` or `list:LIST-ID` (INTERFACE.md).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// One author.
    Address(Address),
    /// Every author of a domain, exactly.
    Domain(Domain),
    /// Every author of a domain or of one below it.
    Zone(Zone),
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
    #[error("{0}; a sender is an address, a domain, .DOMAIN with its subdomains, or list:LIST-ID")]
    Address(#[from] AddressError),
    /// A List-Id that is empty, too long or has white space in it.
    #[error("`{0}` is not a List-Id; copy what stands between < and > in the List-Id field")]
    ListId(String),
    /// No forwarder.
    #[error(transparent)]
    Forwarder(#[from] ForwarderError),
    /// A welcome for all the world.
    #[error(
        "anybody can have a name below `{0}`: name the domains you mean, like .a{0}; it can only be blocked"
    )]
    OpenToAnyone(Zone),
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
        } else if text.starts_with('.') {
            Ok(Self::Zone(text.parse()?))
        } else {
            Ok(Self::Domain(Domain::from_any(text)?))
        }
    }
}

/// What stands before the `@` of the addresses at which people join a list, behind its name.
const LIST_JOINS: [&str; 5] = ["", "-request", "-subscribe", "-join", "-leave"];

impl Sender {
    /// Every name by which an author may stand in a book: the address, its domain, and the zones around that.
    #[must_use]
    pub fn names_of_author(author: &Address) -> Vec<Self> {
        let domain = author.domain();
        let mut names = vec![Self::Address(author.clone()), Self::Domain(domain.clone())];
        names.extend(Zone::around(domain).into_iter().map(Self::Zone));
        names
    }

    /// Fails for one who may be blocked but not be made known: below a public suffix anybody can have a name.
    ///
    /// # Errors
    /// [`SenderError::OpenToAnyone`].
    pub fn check_welcome(&self) -> Result<(), SenderError> {
        match self {
            Self::Zone(zone) if zone.is_open_to_anyone() => Err(SenderError::OpenToAnyone(zone.clone())),
            _ => Ok(()),
        }
    }

    /// How exactly it names a sender; of two names of one sender, that with more is the more exact.
    #[must_use]
    pub fn exactness(&self) -> usize {
        match self {
            Self::Address(_) | Self::List(_) => usize::MAX,
            Self::Domain(_) | Self::Sealer(_) | Self::Host(_) => usize::MAX - 1,
            Self::Zone(zone) => zone.labels(),
        }
    }

    /// Every name by which a list may stand in a book: its List-Id, the address that goes with it (`users@lists.example`
    /// with `users.lists.example`), and those at which people join it: who wrote to one of them wants its mail. Only
    /// the List-Id where the domain behind the list's name belongs to others (a public suffix).
    #[must_use]
    pub fn names_of_list(id: &str) -> Vec<Self> {
        let mut names = vec![Self::List(id.to_owned())];
        if let Some(address) = Self::address_of_list(id) {
            let at = |end: &&str| {
                Address::from_parts(&[address.local(), end.as_bytes()].concat(), address.domain().clone())
            };
            names.extend(LIST_JOINS.iter().filter_map(at).map(Self::Address));
        }
        names
    }

    /// The address that goes with a List-Id, at which the list takes its mail, where the domain behind the list's name is
    /// one owner's.
    #[must_use]
    pub fn address_of_list(id: &str) -> Option<Address> {
        let (name, domain) = id.split_once('.')?;
        let domain: Domain = domain.parse().ok()?;
        domain.organisation()?;
        Address::from_parts(name.as_bytes(), domain)
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
            Self::Zone(zone) => zone.fmt(f),
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

/// An entry that stands under a name of the sender, as [`strongest`] needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// [`Sender::exactness`] of the name.
    pub exactness: usize,
    /// In the recipient's own book, not the site's.
    pub own: bool,
    /// Blocked instead of known.
    pub block: bool,
    /// Put there by hand ([`How::Added`]).
    pub by_hand: bool,
}

/// What follows from all entries under the names of one sender.
///
/// A block wins, but over a more exact welcome that was put there by hand, in the same book or in the recipient's own:
/// `.a.example` may be blocked and `friend@a.example` be welcome. What was only learned excepts nobody from a block, and
/// no welcome of the site brings a recipient what he has blocked.
#[must_use]
pub fn strongest(entries: &[Standing]) -> Known {
    let excepted = |block: &Standing| {
        entries.iter().any(|welcome| {
            !welcome.block
                && welcome.by_hand
                && welcome.exactness > block.exactness
                && (welcome.own || !block.own)
        })
    };
    if entries.iter().any(|entry| entry.block && !excepted(entry)) {
        Known::Blocked
    } else if entries.iter().any(|entry| !entry.block) {
        Known::Allowed
    } else {
        Known::Unknown
    }
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
    /// Why it is there, in the words of whoever put it there by hand; empty when nothing was said.
    pub memo: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_as_people_write_them() {
        for (text, shown) in [
            ("Alice@A.example", "alice@a.example"),
            ("A.example", "a.example"),
            (".A.example", ".a.example"),
            ("list:<Users.List.example>", "list:users.list.example"),
            ("arc:Old.example", "arc:old.example"),
            ("host:MX.old.example.", "host:mx.old.example"),
        ] {
            assert_eq!(text.parse::<Sender>().unwrap().to_string(), shown);
        }
        for bad in [
            "alice",
            "",
            "list:",
            "list:a b",
            "@",
            "alice@",
            ".",
            "..a.example",
            "arc:co.uk",
            "host:",
            "host:192.0.2.1",
        ] {
            assert!(bad.parse::<Sender>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_names_of_an_author() {
        let names = Sender::names_of_author(&"alice+x@news.a.example".parse().unwrap());
        let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
        let want = ["alice+x@news.a.example", "news.a.example", ".news.a.example", ".a.example", ".example"];
        assert_eq!(shown, want);
        assert!(names.is_sorted_by(|a, b| a.exactness() > b.exactness()), "the most exact first");
    }

    #[test]
    fn nobody_welcomes_all_the_world() {
        for (sender, fine) in
            [(".com", false), (".co.uk", false), (".github.io", false), (".a.co.uk", true), ("co.uk", true)]
        {
            assert_eq!(sender.parse::<Sender>().unwrap().check_welcome().is_ok(), fine, "{sender}");
        }
    }

    /// Whose book and how (`own`/`site`, `+` by hand, `~` learned, `-` blocked) and the name of each entry.
    #[test]
    fn the_strongest_of_several_entries() {
        use Known::{Allowed, Blocked, Unknown};
        let table: &[(&[(&str, &str)], Known)] = &[
            (&[], Unknown),
            (&[("own+", "al@x.a.example")], Allowed),
            (&[("own~", "al@x.a.example")], Allowed),
            (&[("site+", ".a.example")], Allowed),
            (&[("site-", ".a.example")], Blocked),
            // A block and, more exact, a welcome by hand.
            (&[("own-", ".a.example"), ("own+", "al@x.a.example")], Allowed),
            (&[("own-", ".a.example"), ("own+", ".x.a.example")], Allowed),
            (&[("own-", ".x.a.example"), ("own+", "x.a.example")], Allowed),
            (&[("site-", ".a.example"), ("site+", "al@x.a.example")], Allowed),
            (&[("site-", "x.a.example"), ("own+", "al@x.a.example")], Allowed),
            // The same, but learned: whom one wrote to once is not excepted.
            (&[("own-", ".a.example"), ("own~", "al@x.a.example")], Blocked),
            (&[("site-", ".a.example"), ("own~", "al@x.a.example")], Blocked),
            // As exact, or less.
            (&[("site-", "al@x.a.example"), ("own+", "al@x.a.example")], Blocked),
            (&[("own-", "al@x.a.example"), ("site+", "al@x.a.example")], Blocked),
            (&[("own-", "al@x.a.example"), ("own+", "x.a.example")], Blocked),
            (&[("own-", "x.a.example"), ("own+", ".x.a.example")], Blocked),
            (&[("own-", ".x.a.example"), ("own+", ".a.example")], Blocked),
            // The site's welcome brings nobody what he has blocked.
            (&[("own-", ".a.example"), ("site+", "al@x.a.example")], Blocked),
            // One exception is not one from every block.
            (&[("own-", ".a.example"), ("own+", ".x.a.example"), ("own-", "al@x.a.example")], Blocked),
            (&[("site-", ".a.example"), ("own-", ".a.example"), ("own+", "x.a.example")], Allowed),
        ];
        for (entries, known) in table {
            let entries: Vec<Standing> = entries
                .iter()
                .map(|(how, name)| Standing {
                    exactness: name.parse::<Sender>().unwrap().exactness(),
                    own: how.starts_with("own"),
                    block: how.ends_with('-'),
                    by_hand: !how.ends_with('~'),
                })
                .collect();
            assert_eq!(strongest(&entries), *known, "{entries:?}");
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
