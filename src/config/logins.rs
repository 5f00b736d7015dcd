//! Which addresses a login owns: a file of lines `login address …`, else the login itself, or the login at any of our
//! domains.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use super::parse::content_lines;
use crate::{
    address::{Address, Domain, shown},
    ledger::owners::Owners,
};

/// Faults of a file that are named one by one.
const FAULTS_NAMED: usize = 5;

/// Which addresses a login owns.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    /// By login in lower case; `None`: nothing is listed.
    listed: Option<HashMap<String, HashSet<Address>>>,
    owners: Owners,
}

impl Logins {
    /// Whether this login owns this address, `+detail` aside.
    #[must_use]
    pub fn owns(&self, login: &str, address: &Address, domains: &[Domain]) -> bool {
        let bare = address.without_detail();
        if let Some(listed) = &self.listed {
            return listed.get(&login.to_ascii_lowercase()).is_some_and(|own| own.contains(&bare));
        }
        if login.contains('@') {
            return login.parse::<Address>().is_ok_and(|own| own.without_detail() == bare);
        }
        domains.contains(bare.domain())
            && Address::from_parts(login.as_bytes(), bare.domain().clone()).is_some_and(|own| own == bare)
    }

    /// The addresses that a login owns, `+detail` aside.
    #[must_use]
    pub fn addresses(&self, login: &str, domains: &[Domain]) -> Vec<Address> {
        if let Some(listed) = &self.listed {
            let own = listed.get(&login.to_ascii_lowercase());
            return own.into_iter().flatten().cloned().collect();
        }
        if login.contains('@') {
            return login.parse::<Address>().map(|own| own.without_detail()).into_iter().collect();
        }
        domains.iter().filter_map(|domain| Address::from_parts(login.as_bytes(), domain.clone())).collect()
    }

    /// Which addresses share one book. Without a list each has its own: a login `bob` may be two people's in two domains.
    #[must_use]
    pub const fn owners(&self) -> &Owners {
        &self.owners
    }

    /// How many logins and addresses are listed; `None` without a list.
    #[must_use]
    pub fn counts(&self) -> Option<(usize, usize)> {
        let listed = self.listed.as_ref()?;
        Some((listed.len(), listed.values().flatten().collect::<HashSet<_>>().len()))
    }

    /// Reads the value of `[gate] logins`; `base` is what a relative path is taken from.
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let path = text.strip_prefix("file:").ok_or("write file:PATH, a file of lines `login address …`")?;
        let path = base.join(path);
        Self::of_lines(&content_lines(&path)?).map_err(|fault| format!("{}{fault}", path.display()))
    }

    /// Reads the lines of the file, each with its number. A fault begins with `:LINE: `.
    fn of_lines(lines: &[(usize, String)]) -> Result<Self, String> {
        let mut faults = vec![];
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut in_order: Vec<Vec<Address>> = vec![];
        for (number, line) in lines {
            let mut words = line.split_whitespace();
            let Some(login) = words.next() else { continue };
            let at = *numbers.entry(login.to_ascii_lowercase()).or_insert(in_order.len());
            if at == in_order.len() {
                in_order.push(vec![]);
            }
            for word in words {
                match (word.parse::<Address>(), in_order.get_mut(at)) {
                    (Ok(address), Some(own)) => own.push(address.without_detail()),
                    (Err(e), _) => {
                        faults.push(format!("{number}: of the login {}: {e}", shown(login.as_bytes())))
                    }
                    (Ok(_), None) => {}
                }
            }
        }
        if !faults.is_empty() {
            let named: Vec<&str> = faults.iter().take(FAULTS_NAMED).map(String::as_str).collect();
            let more = faults.len() - named.len();
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            return Err(format!(":{}{more}; a line is `login address …`", named.join("; line ")));
        }
        let owners = Owners::of_logins(&in_order);
        let own = |at: usize| in_order.get(at).into_iter().flatten().cloned().collect();
        let listed = numbers.into_iter().map(|(login, at)| (login, own(at))).collect();
        Ok(Self { listed: Some(listed), owners })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Logins, String> {
        let lines: Vec<_> = text.lines().enumerate().map(|(n, line)| (n + 1, line.to_owned())).collect();
        Logins::of_lines(&lines)
    }

    #[test]
    fn whom_a_login_is() {
        let domains = ["b.example".parse().unwrap(), "c.example".parse().unwrap()];
        let default = Logins::default();
        let listed =
            read("bob bob@b.example Robert+x@B.example\nCarol carol@b.example\nbob b@c.example\neve")
                .unwrap();
        for (logins, login, address, owns) in [
            (&default, "bob", "bob@b.example", true),
            (&default, "bob", "bob+x@c.example", true),
            (&default, "BOB", "bob@b.example", true),
            (&default, "bob", "bob@elsewhere.example", false),
            (&default, "bob", "carol@b.example", false),
            (&default, "bob@b.example", "bob@b.example", true),
            (&default, "bob@b.example", "bob@c.example", false),
            (&listed, "Bob", "robert@b.example", true),
            (&listed, "bob", "robert+y@b.example", true),
            (&listed, "bob", "b@c.example", true),
            (&listed, "carol", "carol@b.example", true),
            (&listed, "carol", "bob@b.example", false),
            (&listed, "eve", "eve@b.example", false),
            (&listed, "dave", "dave@b.example", false),
        ] {
            let address: Address = address.parse().unwrap();
            assert_eq!(logins.owns(login, &address, &domains), owns, "{login} {address}");
            let listed = logins.addresses(login, &domains).contains(&address.without_detail());
            assert_eq!(listed, owns, "{login} {address}");
        }
        let owner = |logins: &Logins, a: &str| logins.owners().owner(&a.parse().unwrap()).to_string();
        assert_eq!(owner(&listed, "robert@b.example"), "bob@b.example");
        assert_eq!(owner(&default, "bob@c.example"), "bob@c.example", "who else could be bob there");
        assert_eq!((listed.counts(), default.counts()), (Some((3, 4)), None));
    }

    #[test]
    fn broken_lines_are_named() {
        let fault = |text: &str| read(text).unwrap_err();
        let one = fault("bob bob@b.example\ncarol@b.example carol\n");
        assert!(one.starts_with(":2: of the login carol@b.example: `carol` is not an address"), "{one}");
        let many = fault(&"bob x\n".repeat(100_000));
        assert!(many.len() < 1_000 && many.contains("; and 99995 more;"), "{many}");
        assert!(fault("bob \u{7}@\u{1b}[2J").chars().all(|c| !c.is_control()));
    }
}
