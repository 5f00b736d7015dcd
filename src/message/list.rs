//! What a letter says of the mailing list it came by: its List-Id, and where it says to post and to unsubscribe (RFC 2919,
//! RFC 2369).
//!
//! Anybody can write these fields; whether the list stands behind them is `identity`'s to find out.

use crate::address::{Address, Domain};

/// Octets of a List-Id value; longer ones are no list's.
const LIST_ID_VALUE_OCTETS_MAX: usize = 1_024;
/// Octets of a List-Unsubscribe or List-Post value that are looked at.
const VALUE_OCTETS_MAX: usize = 4_096;
/// Addresses to unsubscribe at, or to post to, that are read of one letter. Honest ones name one.
pub const ADDRESSES_MAX: usize = 3;

/// The List-Id, given the value of every List-Id field: what stands between the last angle brackets, lower-case;
/// `None` when there is not exactly one field, or it names nothing that a domain could stand behind.
#[must_use]
pub fn list_id(values: &[&[u8]]) -> Option<Domain> {
    let [value] = values else { return None };
    if value.len() > LIST_ID_VALUE_OCTETS_MAX {
        return None;
    }
    let value = value.trim_ascii();
    let id = match value.strip_suffix(b">") {
        Some(rest) => rest.get(rest.iter().rposition(|&b| b == b'<')? + 1..)?,
        // Old list servers leave the brackets out.
        None => value,
    };
    std::str::from_utf8(id).ok()?.to_ascii_lowercase().parse().ok()
}

/// The mail addresses in the values of List-Unsubscribe or List-Post fields, at most [`ADDRESSES_MAX`].
pub fn mailto_addresses<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<Address> {
    const SCHEME: &[u8] = b"mailto:";
    let mut found = Vec::new();
    for value in values.take(ADDRESSES_MAX) {
        let value = value.get(..VALUE_OCTETS_MAX).unwrap_or(value);
        for link in value.split(|&b| b == b'<').skip(1) {
            let link = link.split(|&b| b == b'>' || b == b'?').next().unwrap_or_default().trim_ascii();
            let Some((scheme, address)) = link.split_at_checked(SCHEME.len()) else { continue };
            if !scheme.eq_ignore_ascii_case(SCHEME) {
                continue;
            }
            let address: Vec<u8> = percent_encoding::percent_decode(address).collect();
            if let Ok(address) = Address::parse(&address)
                && found.len() < ADDRESSES_MAX
            {
                found.push(address);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_ids() {
        let table: &[(&str, Option<&str>)] = &[
            (" <users.lists.example>", Some("users.lists.example")),
            (" Users of it <Users.Lists.Example>", Some("users.lists.example")),
            (" \"a <b.c>\" <users.lists.example> ", Some("users.lists.example")),
            (" =?utf-8?q?=3Cevil.example=3E?= <users.lists.example>", Some("users.lists.example")),
            (" users.lists.example", Some("users.lists.example")),
            (" <users>", None),
            (" <users lists.example>", None),
            (" <users@lists.example>", None),
            (" <>", None),
            (" >", None),
            ("", None),
        ];
        for (value, id) in table {
            assert_eq!(list_id(&[value.as_bytes()]).map(|id| id.to_string()).as_deref(), *id, "{value:?}");
        }
        let one: &[u8] = b"<users.lists.example>";
        assert_eq!(list_id(&[]), None);
        assert_eq!(list_id(&[one, one]), None, "whose it is must be plain");
        let long = format!("{}<users.lists.example>", "x".repeat(10_240));
        assert_eq!(list_id(&[long.as_bytes()]), None);
    }

    #[test]
    fn where_to_post_and_to_unsubscribe() {
        let addresses = |values: &[&str]| -> Vec<String> {
            mailto_addresses(values.iter().map(|v| v.as_bytes())).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            addresses(&[
                " <https://lists.example/u>, <MAILTO:leave%2bbob@lists.example?subject=unsubscribe>"
            ]),
            ["leave+bob@lists.example"]
        );
        assert_eq!(addresses(&[" mailto:leave@lists.example", " <mailto:>", "<"]), Vec::<String>::new());
        assert_eq!(addresses(&[&" <mailto:a@lists.example>,".repeat(5_000)]).len(), ADDRESSES_MAX);
    }
}
