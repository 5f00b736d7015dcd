//! The e-mail addresses in an address book: vCard 2.1, 3.0 and 4.0 (RFC 2426, RFC 6350). Pure.

use crate::address::Address;

/// Whether a file begins like an address book.
#[must_use]
pub fn is_vcard(octets: &[u8]) -> bool {
    const BEGIN: &[u8] = b"BEGIN:VCARD";
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets).trim_ascii_start();
    octets.get(..BEGIN.len()).is_some_and(|start| start.eq_ignore_ascii_case(BEGIN))
}

/// Every address in an EMAIL line, in order; values that are no addresses are given as they stand.
pub fn emails(octets: &[u8]) -> impl Iterator<Item = Result<Address, Vec<u8>>> + use<'_> {
    logical_lines(octets).filter_map(|line| {
        let (name, value) = property(&line)?;
        let mut parts = name.split(|&b| b == b';');
        // `item1.EMAIL` is in a group.
        let own_name = parts.next()?.rsplit(|&b| b == b'.').next()?;
        if !own_name.eq_ignore_ascii_case(b"EMAIL") {
            return None;
        }
        let value = if parts.any(is_quoted_printable) { decoded(value) } else { value.to_vec() };
        let value = value.trim_ascii();
        let address = match value.get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"mailto:") => value.get(7..).unwrap_or_default(),
            _ => value,
        };
        (!address.is_empty()).then(|| Address::parse(address).map_err(|_| value.to_vec()))
    })
}

/// Lines with their folds undone: a line that begins with white space continues the one before (3.0, 4.0), as does what
/// follows a `=` at the end of a quoted-printable one (2.1).
fn logical_lines(octets: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<'_> {
    let mut lines = octets.split(|&b| b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)).peekable();
    std::iter::from_fn(move || {
        let mut line = lines.next()?.to_vec();
        let soft =
            property(&line).is_some_and(|(name, _)| name.split(|&b| b == b';').any(is_quoted_printable));
        loop {
            if soft && line.last() == Some(&b'=') {
                line.pop();
                let Some(next) = lines.next() else { break };
                line.extend_from_slice(next);
            } else if let Some(next) = lines.next_if(|next| matches!(next.first(), Some(b' ' | b'\t'))) {
                line.extend_from_slice(next.get(1..).unwrap_or_default());
            } else {
                break;
            }
        }
        Some(line)
    })
}

/// Name with parameters, and value; a colon in a quoted parameter does not end the name.
fn property(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut quoted = false;
    let colon = line.iter().position(|&b| {
        quoted ^= b == b'"';
        b == b':' && !quoted
    })?;
    Some((line.get(..colon)?, line.get(colon + 1..)?))
}

fn is_quoted_printable(parameter: &[u8]) -> bool {
    let value = parameter.rsplit(|&b| b == b'=').next().unwrap_or_default();
    value.eq_ignore_ascii_case(b"QUOTED-PRINTABLE")
}

/// Quoted-printable undone; what is no `=XX` stays.
fn decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, after)) = rest.split_first() {
        let octet = match (first, after) {
            (b'=', [a, b, ..]) => {
                std::str::from_utf8(&[*a, *b]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        out.push(octet.unwrap_or(first));
        rest = if octet.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_version() {
        let book = "\u{feff}BEGIN:VCARD\r\nVERSION:2.1\r\nEMAIL;INTERNET;ENCODING=QUOTED-PRINTABLE:alice=40a=\r\n.example\r\nEND:VCARD\r\n\
                    begin:vcard\nVERSION:3.0\nitem1.EMAIL;type=INTERNET;type=pref:Bob@\n b.example\nNOTE:EMAIL:no@x.example\nEND:VCARD\n\
                    BEGIN:VCARD\nVERSION:4.0\nemail;TYPE=\"work:home\":mailto:carol@c.example\nEMAIL:\nEMAIL:nonsense\n\
                    NOTE;ENCODING=QUOTED-PRINTABLE:=\nEMAIL:note@x.example\nEND:VCARD";
        assert!(is_vcard(book.as_bytes()));
        let found: Vec<String> = emails(book.as_bytes())
            .map(|e| e.map_or_else(|bad| format!("!{}", String::from_utf8_lossy(&bad)), |a| a.to_string()))
            .collect();
        assert_eq!(found, ["alice@a.example", "bob@b.example", "carol@c.example", "!nonsense"]);
        for none in ["", "BEGIN:VCALENDAR", "Subject: BEGIN:VCARD"] {
            assert!(!is_vcard(none.as_bytes()), "{none}");
        }
    }

    #[test]
    fn address_books_made_to_be_slow_are_read_at_once() {
        for piece in
            ["EMAIL:a\n ", "EMAIL;QUOTED-PRINTABLE:=\n", "=", "\"", ":", "\n", ";", "EMAIL:a@b.example\n"]
        {
            let book = piece.repeat((1 << 20) / piece.len());
            assert!(emails(book.as_bytes()).count() <= 1 << 17);
        }
    }
}
