//! The author of a letter as mail servers complete it: programs leave out the domain, or the whole field, and a stamp is
//! bound to the address that the recipient's server will see. What is complete stays as it is.

use crate::{
    address::{Address, Domain},
    message::{add_fields, split_message},
};

/// Where Debian's mail servers look for the domain of local names.
const MAIL_NAME: &str = "/etc/mailname";
/// The machine's name, which is one if it has a dot.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The domain of local names on this machine, if it has one.
pub fn mail_name() -> Option<Domain> {
    let named = |path| Domain::from_any(std::fs::read_to_string(path).ok()?.lines().next()?.trim()).ok();
    [MAIL_NAME, HOST_NAME].into_iter().find_map(named)
}

/// The letter with `@domain` behind the local name that its one From field consists of, as in `root (Cron Daemon)` or
/// `"(Cron Daemon)" <root>`; `None` if it is none.
pub fn qualified(letter: &[u8], domain: &Domain) -> Option<Vec<u8>> {
    let parts = split_message(letter);
    let mut fields = parts.headers.iter().filter(|header| header.is("From"));
    let (Some(from), None) = (fields.next(), fields.next()) else { return None };
    let before: usize =
        parts.headers.iter().take_while(|other| !other.is("From")).map(|header| header.raw.len()).sum();
    let colon = from.raw.iter().position(|&b| b == b':')?;
    let value = parts.envelope_line.len() + before + colon + 1;
    let end = value + end_of_local_name(from.value)?;
    let (before, after) = letter.split_at_checked(end)?;
    let whole = [before, b"@", domain.as_str().as_bytes(), after].concat();
    // Whatever else stands there: only what is one author now was one before.
    split_message(&whole).author().is_some().then_some(whole)
}

/// The letter with a From field, for one that has none.
pub fn with_author(letter: &[u8], address: &Address, name: Option<&str>) -> Vec<u8> {
    let value = match name.filter(|name| name.is_ascii() && !name.contains(['\r', '\n', '"', '\\'])) {
        Some(name) => format!("\"{name}\" <{address}>"),
        None => address.to_string(),
    };
    add_fields(letter, &[("From", &value)])
}

/// Where in a From field's value the name ends that lacks its domain: in brackets, or the first word, which only a
/// comment may follow.
fn end_of_local_name(value: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(value).ok()?;
    if let Some((_, behind)) = text.rsplit_once('<') {
        let (name, _) = behind.split_once('>')?;
        return is_local_name(name.trim()).then(|| value.len() - behind.len() + name.trim_end().len());
    }
    let begin = text.len() - text.trim_start().len();
    let word = text.trim_start().split([' ', '\t', '(', '\r', '\n']).next()?;
    let end = begin + word.len();
    let rest = text.get(end..)?.trim();
    let only_comment = rest.is_empty() || rest.starts_with('(') && rest.ends_with(')');
    (only_comment && is_local_name(word)).then_some(end)
}

/// The login names that machines have.
fn is_local_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_get_a_domain_and_everything_else_stays() {
        let domain: Domain = "a.example".parse().unwrap();
        for (from, becomes) in [
            ("root (Cron Daemon)", Some("root@a.example (Cron Daemon)")),
            ("\"(Cron Daemon)\" <root>", Some("\"(Cron Daemon)\" <root@a.example>")),
            ("root", Some("root@a.example")),
            ("  www-data\t", Some("  www-data@a.example\t")),
            ("Alice A. < alice >", Some("Alice A. < alice@a.example >")),
            ("alice@b.example", None),
            ("Alice <alice@b.example>", None),
            ("alice, bob", None),
            ("Alice A.", None),
            ("group: ;", None),
            ("<>", None),
            ("", None),
            ("r\u{f6}\u{f6}t", None),
        ] {
            let letter =
                |from: &str| format!("X: 1\r\nFrom:{from}\r\nTo: bob@b.example\r\n\r\nFrom: root\r\n");
            let found = qualified(letter(from).as_bytes(), &domain);
            let becomes = becomes.map(letter);
            assert_eq!(found.map(|found| String::from_utf8(found).unwrap()), becomes, "{from:?}");
        }
        let of_mbox = "From root Sun Nov 22\nfrom : root\n\nx\n";
        let found = qualified(of_mbox.as_bytes(), &domain).unwrap();
        assert_eq!(found, b"From root Sun Nov 22\nfrom : root@a.example\n\nx\n");
        assert_eq!(qualified(b"From: root\nFrom: root\n\nx\n", &domain), None, "of two nobody knows which");
        assert_eq!(qualified(b"To: bob@b.example\n\nx\n", &domain), None);
    }

    #[test]
    fn a_letter_without_author_gets_one() {
        let address: Address = "alice@a.example".parse().unwrap();
        for (name, value) in [
            (None, "alice@a.example"),
            (Some("Alice A."), "\"Alice A.\" <alice@a.example>"),
            (Some("Al\"ice"), "alice@a.example"),
        ] {
            let letter = with_author(b"To: x\n\nx\n", &address, name);
            assert_eq!(letter, format!("From: {value}\nTo: x\n\nx\n").into_bytes());
            assert_eq!(split_message(&letter).author(), Some(address.clone()));
        }
    }
}
