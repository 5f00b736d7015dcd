//! Envelope senders that stand for another address: SRS (a forwarder's way back to the author) and VERP (a list's way
//! to learn whose address bounced). Tags of BATV are [`Address::without_tag`]'s.
//!
//! Pure. Nothing here can tell whether such an address is genuine: whoever made it knows, by a secret of its own. So an
//! address read out of another one proves nothing; it says what to look at next, or that nobody lives there.

use crate::address::{Address, Domain};

/// Forwarders that a rewritten address is followed back through. SRS itself names at most two.
const REWRITTEN_MAX: usize = 3;

/// The sender that a forwarder put its own in place of: `alice@a.example` of `SRS0=hash=day=a.example=alice@old.example`,
/// and of `SRS1=hash=first.example==hash=day=a.example=alice@second.example` the one that first.example had written.
#[must_use]
pub fn before_forwarding(sender: &Address) -> Option<Address> {
    let (kind, rest) = sender.local().split_at_checked(4)?;
    // The first separator may be any of these; the others are always `=`.
    if !matches!(rest.first(), Some(b'=' | b'-' | b'+')) {
        return None;
    }
    let rest = rest.get(1..)?;
    match kind {
        b"srs0" => {
            let mut parts = rest.splitn(4, |&b| b == b'=');
            let (_hash, _day) = (given(parts.next())?, given(parts.next())?);
            let domain = domain(given(parts.next())?)?;
            Address::from_parts(given(parts.next())?, domain)
        }
        b"srs1" => {
            let mut parts = rest.splitn(3, |&b| b == b'=');
            let (_hash, first) = (given(parts.next())?, domain(given(parts.next())?)?);
            let theirs = given(parts.next())?;
            let local = [b"srs0", theirs].concat();
            before_forwarding(&Address::from_parts(&local, first.clone())?)?;
            Address::from_parts(&local, first)
        }
        _ => None,
    }
}

/// [`before_forwarding`] of an envelope sender as it came.
#[must_use]
pub fn before_forwarding_of(sender: &[u8]) -> Option<Address> {
    before_forwarding(&Address::parse(sender).ok()?)
}

/// The sender before all forwarding that an address tells of; `None` for an address that is no forwarder's.
#[must_use]
pub fn original(sender: &Address) -> Option<Address> {
    let mut found = before_forwarding(sender)?;
    for _ in 1..REWRITTEN_MAX {
        match before_forwarding(&found) {
            Some(earlier) => found = earlier,
            None => break,
        }
    }
    Some(found)
}

/// Whether an address carries another one in it, as lists and newsletters make one for each reader:
/// `users-bounces+bob=b.example@lists.example`, `users-return-12-bob=b.example@lists.example`.
#[must_use]
pub fn is_verp(address: &Address) -> bool {
    let local = address.local();
    let Some(equals) = local.iter().rposition(|&b| b == b'=') else { return false };
    let (before, after) = local.split_at(equals);
    let reader = before.iter().rposition(|&b| b == b'+' || b == b'-');
    reader.is_some_and(|at| at > 0 && at + 1 < before.len())
        && after.get(1..).and_then(domain).is_some()
        && local.first() != Some(&b'"')
}

/// What list servers put behind the name of a list, and a `-`, in the envelope senders of its letters.
const BEHIND_LIST_NAME: [&[u8]; 7] =
    [b"bounces", b"bounce", b"return", b"owner", b"request", b"admin", b"errors"];
/// What they put before it.
const BEFORE_LIST_NAME: [&[u8]; 3] = [b"owner-", b"bounce-", b"bounces-"];

/// Whether an envelope sender is one of those that the server of the list at this address gives its letters:
/// `users-bounces+bob=b.example@lists.example` for `users@lists.example`. Where people have addresses beside it, as at a
/// provider of mailboxes, none of them has one of these for his own.
#[must_use]
pub fn is_of_list(sender: &Address, list: &Address) -> bool {
    let sender = sender.without_tag();
    if !sender.domain().is_of_organisation(list.domain()) {
        return false;
    }
    let local = sender.local();
    let ends = |rest: &[u8]| matches!(rest.first(), None | Some(b'+' | b'='));
    let by_server = |rest: &[u8]| {
        let Some(rest) = rest.strip_prefix(b"-") else { return false };
        let after = |word: &&[u8]| rest.strip_prefix(*word);
        BEHIND_LIST_NAME.iter().filter_map(after).any(|rest| ends(rest) || rest.starts_with(b"-"))
    };
    let named =
        |text: &[u8]| text.strip_prefix(list.local()).is_some_and(|rest| ends(rest) || by_server(rest));
    named(local) || BEFORE_LIST_NAME.iter().filter_map(|word| local.strip_prefix(*word)).any(named)
}

/// Whom somebody who writes to this address has written to: the address without a tag. `None` where nobody writes letters
/// from it: a bounce comes back to it, and that is all it is for.
#[must_use]
pub fn correspondent(address: &Address) -> Option<Address> {
    let address = address.without_tag();
    (before_forwarding(&address).is_none() && !is_verp(&address)).then_some(address)
}

fn given(part: Option<&[u8]>) -> Option<&[u8]> {
    part.filter(|part| !part.is_empty())
}

fn domain(text: &[u8]) -> Option<Domain> {
    Domain::from_any(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn text(address: Option<Address>) -> Option<String> {
        address.map(|address| address.to_string())
    }

    #[test]
    fn what_a_forwarder_has_rewritten() {
        let table: &[(&str, Option<&str>, Option<&str>)] = &[
            ("SRS0=abCD=5Z=a.example=alice@old.example", Some("alice@a.example"), Some("alice@a.example")),
            ("srs0+abcd=5z=A.example=alice@old.example", Some("alice@a.example"), Some("alice@a.example")),
            (
                "SRS0-x=y=a.example=al=ice+x@old.example",
                Some("al=ice+x@a.example"),
                Some("al=ice+x@a.example"),
            ),
            (
                "SRS1=ef=first.example==abcd=5z=a.example=alice@second.example",
                Some("srs0=abcd=5z=a.example=alice@first.example"),
                Some("alice@a.example"),
            ),
            (
                "SRS1=ef=first.example=+abcd=5z=a.example=alice@second.example",
                Some("srs0+abcd=5z=a.example=alice@first.example"),
                Some("alice@a.example"),
            ),
            (
                "SRS0=x=y=first.example=srs0=x=y=a.example=alice@second.example",
                Some("srs0=x=y=a.example=alice@first.example"),
                Some("alice@a.example"),
            ),
            ("alice@a.example", None, None),
            ("srs0@old.example", None, None),
            ("srs0=@old.example", None, None),
            ("srs0==5z=a.example=alice@old.example", None, None),
            ("srs0=abcd=5z=a.example=@old.example", None, None),
            ("srs0=abcd=5z=a.example@old.example", None, None),
            ("srs0=abcd=5z=a=alice@old.example", None, None),
            ("srs0abcd=5z=a.example=alice@old.example", None, None),
            ("srs2=abcd=5z=a.example=alice@old.example", None, None),
            ("srs1=ef=first.example=abcd=5z=a.example=alice@second.example", None, None),
            ("srs1=ef==abcd=5z=a.example=alice@second.example", None, None),
            ("srs@old.example", None, None),
        ];
        for (sender, one, all) in table {
            assert_eq!(text(before_forwarding(&a(sender))).as_deref(), *one, "{sender}");
            assert_eq!(text(original(&a(sender))).as_deref(), *all, "{sender}");
        }
    }

    #[test]
    fn who_is_written_to() {
        let table: &[(&str, Option<&str>)] = &[
            ("alice@a.example", Some("alice@a.example")),
            ("alice+shop@a.example", Some("alice+shop@a.example")),
            ("prvs=2150abcdef=alice@a.example", Some("alice@a.example")),
            ("users@lists.example", Some("users@lists.example")),
            ("users-request@lists.example", Some("users-request@lists.example")),
            ("reply+AAEF5=x@reply.a.example", Some("reply+aaef5=x@reply.a.example")),
            ("x=y.example@a.example", Some("x=y.example@a.example")),
            ("users-bounces+bob=b.example@lists.example", None),
            ("users-return-12-bob=b.example@lists.example", None),
            ("bounce-bob+x=b.example@news.example", None),
            ("SRS0=abcd=5z=a.example=alice@old.example", None),
            ("prvs=2150abcdef=bounce+bob=b.example@news.example", None),
            ("\"x-bob=b.example\"@a.example", None),
            ("\"x -bob=b.example\"@a.example", Some("\"x -bob=b.example\"@a.example")),
        ];
        for (address, whom) in table {
            assert_eq!(text(correspondent(&a(address))).as_deref(), *whom, "{address}");
        }
    }

    #[test]
    fn the_senders_of_a_lists_letters() {
        let table: &[(&str, bool)] = &[
            ("users@lists.example", true),
            ("users+bounces-12-bob=b.example@lists.example", true),
            ("users-bounces@lists.example", true),
            ("users-bounces+bob=b.example@lists.example", true),
            ("users-return-12-bob=b.example@lists.example", true),
            ("users-owner@mail.lists.example", true),
            ("owner-users@lists.example", true),
            ("bounce-users=bob=b.example@lists.example", true),
            ("prvs=2150abcdef=users-bounces@lists.example", true),
            ("users-bounces@elsewhere.example", false),
            ("mallory@lists.example", false),
            ("users2@lists.example", false),
            ("users-mallory@lists.example", false),
            ("users-bouncesx@lists.example", false),
            ("owner-users2@lists.example", false),
            ("superusers-bounces@lists.example", false),
            ("mallory+users-bounces@lists.example", false),
        ];
        for (sender, is) in table {
            assert_eq!(is_of_list(&a(sender), &a("users@lists.example")), *is, "{sender}");
        }
    }

    proptest! {
        #[test]
        fn any_address_can_be_read(local in "(srs[01]|prvs|[=+-]|[a-z]{1,4}|[.]?[a-z]|b[.]example|\\PC){1,12}") {
            if let Some(address) = Address::from_parts(local.as_bytes(), "old.example".parse().unwrap()) {
                let _ = original(&address);
                prop_assert!(correspondent(&address).is_none_or(|whom| whom.domain() == address.domain()));
            }
        }
    }
}
