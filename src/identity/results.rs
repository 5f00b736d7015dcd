//! What another server says it found out about a letter: the field Authentication-Results (RFC 8601).
//!
//! Pure. Only fields of servers the caller trusts are read, and only the site itself can see to it that a letter
//! from outside carries none in their names. Reading takes time and memory linear in the field's length; what
//! is not well-formed is passed over, never guessed at.

use super::align::{Mode, aligned, same_organisation};
use crate::address::{Address, Domain, shown};

/// Name of the field.
pub const FIELD: &str = "Authentication-Results";
/// Octets of one field; a longer one is not read. Mail servers cut fields at about this length.
pub const FIELD_OCTETS_MAX: usize = 65_536;
/// Results read from one field; honest servers give about five.
pub const RESULTS_MAX: usize = 100;
/// Properties kept of one result.
pub const PROPERTIES_MAX: usize = 20;

/// One field, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// The authserv-id: who says it, lower-cased.
    pub server: String,
    /// The results, in order.
    pub results: Vec<MethodResult>,
}

/// What one method came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodResult {
    /// `spf`, `dkim`, `dmarc`, …, lower-cased.
    pub method: String,
    /// `pass`, `fail`, `temperror`, …, lower-cased.
    pub result: String,
    /// `smtp.mailfrom`, `header.d`, …, lower-cased, with the value as it stands.
    pub properties: Vec<(String, String)>,
}

/// Whether the author's domain stands behind a letter, by the word of trusted servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It does: by this method, this domain was authenticated.
    Aligned {
        /// `dmarc`, `spf` or `dkim`.
        method: &'static str,
        /// The domain, which aligns with the author's.
        domain: Domain,
    },
    /// It does not; why, for people.
    Not(String),
    /// The server could not tell then; why, for people.
    Trouble(String),
    /// No trusted server said anything about it.
    Silent,
}

impl Results {
    /// What is left where signatures are not to be trusted: no pass of DKIM, nor one of DMARC that may rest on it.
    #[must_use]
    pub fn without_signatures(&self) -> Self {
        let kept = self.results.iter().filter(|r| r.method != "dkim" && !r.is("dmarc", "pass"));
        Self { server: self.server.clone(), results: kept.cloned().collect() }
    }
}

impl MethodResult {
    fn is(&self, method: &str, result: &str) -> bool {
        self.method == method && self.result == result
    }

    /// The value of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The domain this result is about: of the envelope sender, of the signature, of the author.
    #[must_use]
    pub fn domain(&self) -> Option<Domain> {
        let names: &[&str] = match self.method.as_str() {
            "spf" => &["smtp.mailfrom", "smtp.mail"],
            "dkim" => &["header.d", "header.i"],
            "dmarc" => &["header.from"],
            _ => &[],
        };
        names.iter().find_map(|name| domain_of(self.property(name)?))
    }
}

/// The domain of an address, of `@domain` (DKIM's `i=`), or the domain itself.
fn domain_of(value: &str) -> Option<Domain> {
    let value = value.trim_start_matches('<').trim_end_matches('>');
    match value.rsplit_once('@') {
        Some(("", domain)) => Domain::from_any(domain).ok(),
        Some(_) => Address::parse(value.as_bytes()).ok().map(|address| address.domain().clone()),
        None => Domain::from_any(value).ok(),
    }
}

/// Reads the value of one field; `None` when it does not begin with a server's name.
#[must_use]
pub fn parse(value: &[u8]) -> Option<Results> {
    if value.len() > FIELD_OCTETS_MAX {
        return None;
    }
    let mut cursor = Cursor { rest: value };
    cursor.skip_white()?;
    let server = cursor.value(b"/=")?.to_ascii_lowercase();
    cursor.skip_white()?;
    if !matches!(cursor.rest.first(), None | Some(b';')) {
        let version = cursor.value(b"=/")?;
        cursor.skip_white()?;
        if !version.bytes().all(|b| b.is_ascii_digit()) || !matches!(cursor.rest.first(), None | Some(b';')) {
            return None;
        }
    }
    let mut results = Vec::new();
    while cursor.take(b';') && results.len() < RESULTS_MAX {
        if let Some(result) = cursor.result() {
            results.push(result);
        }
        cursor.skip_result();
    }
    Some(Results { server, results })
}

/// Reads those of the fields that are of trusted servers. The server's name must stand at the beginning as it is, neither
/// behind a comment nor in quotes: no honest server writes it so, and what takes forged fields away may not see it.
pub fn of_trusted<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    trusted: impl Fn(&str) -> bool,
) -> Vec<Results> {
    let plain = |value: &[u8], server: &str| {
        let begins = value.trim_ascii_start().get(..server.len());
        begins.is_some_and(|text| text.eq_ignore_ascii_case(server.as_bytes()))
    };
    let read =
        |value| parse(value).filter(|results| plain(value, &results.server) && trusted(&results.server));
    values.into_iter().filter_map(read).collect()
}

/// Whether a list stands behind the letter, by these fields: by SPF only, for what a signature covers is not said in them.
#[must_use]
pub fn list_passes(fields: &[Results], list: &Domain) -> bool {
    let of_list = |domain: Option<Domain>| domain.is_some_and(|domain| same_organisation(&domain, list));
    fields.iter().flat_map(|field| &field.results).any(|r| r.is("spf", "pass") && of_list(r.domain()))
}

/// Whether the author's domain stands behind the letter, by these fields.
///
/// A DMARC result for the author's domain decides. Where there is none, an SPF or DKIM pass of the same organisation
/// does: which alignment a domain asks for is not in these fields.
#[must_use]
pub fn judge(fields: &[Results], author: &Domain) -> Told {
    let all = || fields.iter().flat_map(|field| &field.results);
    for result in all().filter(|r| r.method == "dmarc" && r.domain().as_ref() == Some(author)) {
        match result.result.as_str() {
            "pass" => return Told::Aligned { method: "dmarc", domain: author.clone() },
            "fail" => return Told::Not(format!("DMARC of {author} failed")),
            "temperror" => return Told::Trouble(format!("DMARC of {author} could not be looked up")),
            _ => {}
        }
    }
    let mut trouble = None;
    let mut asked = false;
    for result in all() {
        let method = match result.method.as_str() {
            "spf" => "spf",
            "dkim" => "dkim",
            "dmarc" => {
                asked = true;
                continue;
            }
            _ => continue,
        };
        asked = true;
        let Some(domain) = result.domain().filter(|domain| aligned(domain, author, Mode::Relaxed)) else {
            continue;
        };
        match result.result.as_str() {
            "pass" => return Told::Aligned { method, domain },
            "temperror" => trouble = Some(format!("{method} of {domain} could not be looked up")),
            _ => {}
        }
    }
    match (trouble, asked) {
        (Some(why), _) => Told::Trouble(why),
        (None, true) => Told::Not(format!("neither SPF nor DKIM of {author} passed")),
        (None, false) => Told::Silent,
    }
}

/// What is left to read.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn advance(&mut self, octets: usize) {
        self.rest = self.rest.get(octets..).unwrap_or_default();
    }

    fn take(&mut self, octet: u8) -> bool {
        let there = self.rest.first() == Some(&octet);
        if there {
            self.advance(1);
        }
        there
    }

    /// White space, folds and comments, nested ones too; `None` when a comment never ends.
    fn skip_white(&mut self) -> Option<()> {
        loop {
            match self.rest.first() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.advance(1),
                Some(b'(') => {
                    let length = comment_length(self.rest)?;
                    self.advance(length);
                }
                _ => return Some(()),
            }
        }
    }

    /// A quoted string, or everything up to white space, a semicolon, a comment or one of `stops`; not empty.
    fn value(&mut self, stops: &[u8]) -> Option<String> {
        if self.rest.first() == Some(&b'"') {
            return self.quoted();
        }
        let ends =
            |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b'"') || stops.contains(b);
        let length = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let text = self.rest.get(..length).filter(|text| !text.is_empty())?;
        let text = std::str::from_utf8(text).ok()?.to_owned();
        self.advance(length);
        Some(text)
    }

    fn quoted(&mut self) -> Option<String> {
        let mut text = Vec::new();
        let mut octets = self.rest.iter().enumerate().skip(1);
        while let Some((at, &b)) = octets.next() {
            match b {
                b'"' => {
                    self.advance(at + 1);
                    return String::from_utf8(text).ok();
                }
                b'\\' => text.push(*octets.next()?.1),
                b => text.push(b),
            }
        }
        None
    }

    /// `key = value`, white space and comments anywhere between.
    fn pair(&mut self) -> Option<(String, String)> {
        let key = self.value(b"=/")?.to_ascii_lowercase();
        self.skip_white()?;
        if self.take(b'/') {
            self.skip_white()?;
            self.value(b"=")?;
            self.skip_white()?;
        }
        if !self.take(b'=') {
            return None;
        }
        self.skip_white()?;
        Some((key, self.value(b"")?))
    }

    /// A method with its result and properties; `None` for `none` and for what is not well-formed.
    fn result(&mut self) -> Option<MethodResult> {
        self.skip_white()?;
        let (method, result) = self.pair()?;
        let mut properties = Vec::new();
        loop {
            self.skip_white()?;
            if matches!(self.rest.first(), None | Some(b';')) {
                return Some(MethodResult { method, result: result.to_ascii_lowercase(), properties });
            }
            let property = self.pair()?;
            if properties.len() < PROPERTIES_MAX {
                properties.push(property);
            }
        }
    }

    /// Goes on to the semicolon that ends this result, or to the end.
    fn skip_result(&mut self) {
        loop {
            match self.rest.first() {
                None | Some(b';') => return,
                // A string or a comment that never ends swallows the rest.
                Some(b'"') => {
                    if self.quoted().is_none() {
                        self.rest = &[];
                    }
                }
                Some(b'(') => match comment_length(self.rest) {
                    Some(length) => self.advance(length),
                    None => self.rest = &[],
                },
                Some(_) => self.advance(1),
            }
        }
    }
}

/// Octets of the comment that begins here. Depth is a number, not a recursion.
fn comment_length(text: &[u8]) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, &b) in text.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth <= 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Aligned { method, domain } => write!(f, "{method} of {domain}"),
            Self::Not(why) | Self::Trouble(why) => f.write_str(&shown(why.as_bytes())),
            Self::Silent => f.write_str("no trusted Authentication-Results"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A field as `server: method=result[name=value …] …`.
    fn shape(value: &str) -> Option<String> {
        let results = parse(value.as_bytes())?;
        let mut text = results.server + ":";
        for r in &results.results {
            text += &format!(" {}={}", r.method, r.result);
            for (name, value) in &r.properties {
                text += &format!("[{name}={value}]");
            }
        }
        Some(text)
    }

    #[test]
    fn fields_come_apart() {
        let table: &[(&str, Option<&str>)] = &[
            (" mx.b.example; none", Some("mx.b.example:")),
            (" mx.b.example 1; none", Some("mx.b.example:")),
            ("MX.b.example", Some("mx.b.example:")),
            (
                " mx.b.example;\r\n\tspf=pass (sender ok; really) smtp.mailfrom=alice@a.example;\r\n dkim=pass header.d=a.example",
                Some("mx.b.example: spf=pass[smtp.mailfrom=alice@a.example] dkim=pass[header.d=a.example]"),
            ),
            (
                "(c)mx.b.example(a (nested) one);DKIM / 1 = PASS reason=\"good; signature\" header . d=x",
                Some("mx.b.example:"),
            ),
            (
                "mx.b.example;DKIM/1 = PASS reason=\"good; \\\"signature\\\"\"",
                Some("mx.b.example: dkim=pass[reason=good; \"signature\"]"),
            ),
            (
                "mx.b.example; spf=pass smtp.mailfrom=bounce+bob=b.example@a.example",
                Some("mx.b.example: spf=pass[smtp.mailfrom=bounce+bob=b.example@a.example]"),
            ),
            (
                "mx.b.example; broken; dkim=pass header.d=a.example;",
                Some("mx.b.example: dkim=pass[header.d=a.example]"),
            ),
            ("mx.b.example; x=(; dkim=pass header.d=a.example", Some("mx.b.example:")),
            ("mx.b.example; x=\"; dkim=pass header.d=a.example", Some("mx.b.example:")),
            ("mx.b.example; dkim=pass \"x\"; spf=none", Some("mx.b.example: spf=none")),
            ("\"mx.b.example\"; spf=none", Some("mx.b.example: spf=none")),
            // A server that does not name itself.
            ("spf=pass smtp.mailfrom=a.example; dkim=pass", None),
            ("mx.b.example spf=pass; dkim=pass", None),
            ("mx.b.example 1 x; dkim=pass", None),
            ("", None),
            ("; dkim=pass", None),
            ("(", None),
        ];
        for (value, want) in table {
            assert_eq!(shape(value).as_deref(), *want, "{value:?}");
        }
    }

    #[test]
    fn who_the_servers_say_it_is() {
        let aligned = |method, domain: &str| Told::Aligned { method, domain: domain.parse().unwrap() };
        let not = || Told::Not(String::new());
        let trouble = || Told::Trouble(String::new());
        // The author is always alice@a.example, the trusted server mx.b.example.
        let table: &[(&[&str], Told)] = &[
            (&[], Told::Silent),
            (&["mx.b.example; none"], Told::Silent),
            (&["mx.b.example; auth=pass smtp.auth=alice; iprev=pass"], Told::Silent),
            (&["mx.b.example; dmarc=pass header.from=a.example"], aligned("dmarc", "a.example")),
            (&["mx.b.example; dmarc=pass header.from=evil.example"], not()),
            (&["mx.b.example; dmarc=pass"], not()),
            (&["mx.b.example; dmarc=fail header.from=a.example; spf=pass smtp.mailfrom=a.example"], not()),
            (&["mx.b.example; dmarc=temperror header.from=a.example"], trouble()),
            (&["mx.b.example; dmarc=none header.from=a.example"], not()),
            (
                &[
                    "mx.b.example; dmarc=none header.from=a.example",
                    "mx.b.example; dkim=pass header.i=@a.example",
                ],
                aligned("dkim", "a.example"),
            ),
            (&["mx.b.example; spf=pass smtp.mailfrom=alice@a.example"], aligned("spf", "a.example")),
            (&["mx.b.example; spf=pass smtp.mailfrom=<x@mail.a.example>"], aligned("spf", "mail.a.example")),
            (&["mx.b.example; spf=pass smtp.mailfrom=evil.example"], not()),
            (&["mx.b.example; spf=pass smtp.helo=a.example"], not()),
            (&["mx.b.example; spf=fail smtp.mailfrom=a.example; dkim=fail header.d=a.example"], not()),
            (
                &["mx.b.example; spf=fail smtp.mailfrom=a.example; dkim=pass header.d=news.a.example"],
                aligned("dkim", "news.a.example"),
            ),
            (
                &["mx.b.example; dkim=pass header.d=lists.example; dkim=pass header.d=a.example"],
                aligned("dkim", "a.example"),
            ),
            (
                &["mx.b.example; dkim=temperror header.d=a.example; spf=fail smtp.mailfrom=a.example"],
                trouble(),
            ),
            (&["mx.b.example; dkim=temperror header.d=evil.example"], not()),
            // Of somebody else, or forged: not read at all.
            (&["mx.evil.example; dmarc=pass header.from=a.example"], Told::Silent),
            (&["mx.evil.example mx.b.example; dmarc=pass header.from=a.example"], Told::Silent),
            (&["mx.b.example.evil.example; dmarc=pass header.from=a.example"], Told::Silent),
            (&["(x) mx.b.example; dmarc=pass header.from=a.example"], Told::Silent),
            (&["\"mx.b.example\"; dmarc=pass header.from=a.example"], Told::Silent),
            (&["mx.b.example; x \"y); dmarc=pass header.from=a.example"], Told::Silent),
            (&["mx.b.example; x=\"y; dmarc=pass header.from=a.example"], Told::Silent),
            (&["mx.b.example; spf=none (; dmarc=pass header.from=a.example"], Told::Silent),
        ];
        for (values, want) in table {
            let fields = of_trusted(values.iter().map(|v| v.as_bytes()), |server| server == "mx.b.example");
            let mut told = judge(&fields, &"a.example".parse().unwrap());
            if let Told::Not(why) | Told::Trouble(why) = &mut told {
                assert!(!std::mem::take(why).is_empty(), "{values:?}");
            }
            assert_eq!(told, *want, "{values:?}");
        }
    }

    /// Were any of this quadratic the test would not end well.
    #[test]
    fn fields_made_to_be_slow_are_read_at_once() {
        for piece in
            ["(", "((", "\"", "\\", ";", "; a=b", "; a=b c.d=e", "; a=b (", " x.y=z", "=", "a", "; \"a"]
        {
            let mut value = b"mx.b.example; spf=none".to_vec();
            value.extend(piece.repeat(FIELD_OCTETS_MAX / piece.len()).bytes());
            value.truncate(FIELD_OCTETS_MAX);
            let results = parse(&value);
            assert!(results.is_none_or(|r| r.results.len() <= RESULTS_MAX), "{piece:?}");
        }
        assert_eq!(parse(&vec![b'a'; FIELD_OCTETS_MAX + 1]), None);
    }

    proptest! {
        #[test]
        fn any_octets_can_be_read(value: Vec<u8>) {
            let fields = of_trusted([value.as_slice()], |_| true);
            let _ = judge(&fields, &"a.example".parse().unwrap());
        }
    }
}
