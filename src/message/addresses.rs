//! The addresses in a To or Cc field. Pure, and bounded whatever is in it.

use mail_parser::MessageParser;

use crate::address::Address;

/// Addresses read from one To or Cc field. Who writes to more at once has not written to each.
pub const ADDRESSES_MAX: usize = 100;
/// Octets of a To or Cc field that is read. Mail servers cut fields at about this length.
pub const ADDRESSES_OCTETS_MAX: usize = 65_536;

/// The addresses in the value of a To or Cc field, the first [`ADDRESSES_MAX`]; those that cannot be read are left out.
#[must_use]
pub fn addresses(value: &[u8]) -> Vec<Address> {
    if value.len() > ADDRESSES_OCTETS_MAX {
        return Vec::new();
    }
    let field = [b"To:", value, b"\r\n\r\n"].concat();
    let message = MessageParser::new().with_address_headers().parse_headers(&field);
    let Some(list) = message.as_ref().and_then(|message| message.to()) else { return Vec::new() };
    let texts = list.iter().take(ADDRESSES_MAX).filter_map(|one| one.address.as_deref());
    texts.filter_map(|text| Address::parse(text.trim().as_bytes()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_a_field() {
        let texts =
            |value: &str| addresses(value.as_bytes()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            texts(
                " Alice <Alice@a.example>,\r\n \"B, C\" <b@c.example>, d@e.example (D), =?utf-8?q?x?= <f@g.example>"
            ),
            ["alice@a.example", "b@c.example", "d@e.example", "f@g.example"]
        );
        assert_eq!(
            texts("friends: a@b.example, c@d.example;, e@f.example"),
            ["a@b.example", "c@d.example", "e@f.example"]
        );
        assert!(texts("undisclosed-recipients:;").is_empty());
        assert!(texts("").is_empty());
        assert_eq!(texts(&"a@b.example, ".repeat(4_000)).len(), ADDRESSES_MAX);
        for piece in ["(", "\"", "<", "=?utf-8?b?QUFB?= ", "a:", "@", ","] {
            assert!(
                addresses(piece.repeat(ADDRESSES_OCTETS_MAX / piece.len()).as_bytes()).len() <= ADDRESSES_MAX
            );
        }
    }
}
