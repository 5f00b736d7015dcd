//! The two TXT records of SPEC.md §5: an office's key, and what a mail domain asks. Pure: who asks DNS passes
//! in the values it got, each with its strings joined.

use std::fmt;

use super::{
    format::value_of,
    selector::Selector,
    sign::PublicKey,
    taglist::{TagList, TagListError, decimal},
};
use crate::{
    address::Domain,
    money::{Currency, Micros},
};

/// What a record of ours begins with.
const VERSION: &str = "postage1";
/// Octets of a TXT record; no answer holds more.
pub const RECORD_OCTETS_MAX: usize = 65_535;
/// The most hashcash bits there can be: SHA-1 has no more.
pub const WORK_BITS_MAX: u8 = 160;

/// Why there is no record to go by. For a key, each of these is `unknown-issuer`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No value begins with `v=postage1`.
    #[error("there is no record that begins with v={VERSION}")]
    None,
    /// Two or more do: neither counts.
    #[error("there are several records that begin with v={VERSION}; leave one")]
    Several,
    /// It is longer than any record.
    #[error("the record is longer than {RECORD_OCTETS_MAX} octets")]
    TooLong,
    /// It is not a tag list.
    #[error("the record is no tag list: {0}")]
    TagList(#[from] TagListError),
    /// A tag is missing.
    #[error("the record has no tag `{0}`")]
    Missing(&'static str),
    /// A tag's value is not of its form.
    #[error("the record's tag `{0}` has a value that is not of its form")]
    Value(&'static str),
    /// The key is empty: revoked.
    #[error("the key is revoked")]
    Revoked,
}

/// Name of the record of an office's key.
#[must_use]
pub fn key_name(selector: &Selector, office: &Domain) -> String {
    format!("{selector}._postage.{office}")
}

/// Name of the record of a mail domain.
#[must_use]
pub fn policy_name(domain: &Domain) -> String {
    format!("_postage.{domain}")
}

/// The key among the TXT values at [`key_name`].
///
/// # Errors
/// [`RecordError`] when there is not exactly one good record.
pub fn read_key<V: AsRef<[u8]>>(values: &[V]) -> Result<PublicKey, RecordError> {
    let tags = Tags(TagList::parse(only(values)?, &["p"])?);
    tags.read("v", |text| (text == VERSION).then_some(()))?;
    tags.read("k", |text| (text == "ed25519").then_some(()))?;
    if tags.0.get("p") == Some("") {
        return Err(RecordError::Revoked);
    }
    tags.read("p", |text| text.parse().ok())
}

/// The TXT value that publishes a key.
#[must_use]
pub fn write_key(key: &PublicKey) -> String {
    format!("v={VERSION}; k=ed25519; p={key}")
}

/// What a mail domain says of its postage: the record at [`policy_name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailPolicy {
    /// `c`.
    pub currency: Currency,
    /// `n`: the usual price, 1 to 10^12 micros.
    pub price: Micros,
    /// `i`: the offices whose stamps it takes; at least one.
    pub offices: Vec<Domain>,
    /// `w`: hashcash bits it takes instead, 1 to 160.
    pub work_bits: Option<u8>,
    /// `u`: where a person or a program can buy; see [`is_office_url`].
    pub url: Option<String>,
}

impl MailPolicy {
    /// The policy among the TXT values at [`policy_name`].
    ///
    /// # Errors
    /// [`RecordError`] when there is not exactly one good record.
    pub fn read<V: AsRef<[u8]>>(values: &[V]) -> Result<Self, RecordError> {
        let tags = Tags(TagList::parse(only(values)?, &[])?);
        tags.read("v", |text| (text == VERSION).then_some(()))?;
        Ok(Self {
            currency: tags.read("c", |text| text.parse().ok())?,
            price: tags.read("n", value_of)?,
            offices: tags.read("i", |text| text.split(',').map(|office| office.parse().ok()).collect())?,
            work_bits: tags.read_optional("w", read_bits)?.flatten(),
            url: tags.read_optional("u", read_url)?,
        })
    }
}

impl fmt::Display for MailPolicy {
    /// The TXT value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v={VERSION}; c={}; n={}; i=", self.currency, self.price.get())?;
        for (number, office) in self.offices.iter().enumerate() {
            write!(f, "{}{office}", if number == 0 { "" } else { "," })?;
        }
        if let Some(bits) = self.work_bits {
            write!(f, "; w={bits}")?;
        }
        match &self.url {
            Some(url) => write!(f, "; u={}", url.replace(';', "%3B")),
            None => Ok(()),
        }
    }
}

/// `w`: 0 says the same as no tag.
fn read_bits(text: &str) -> Option<Option<u8>> {
    let bits = u8::try_from(decimal(text)?).ok().filter(|&bits| bits <= WORK_BITS_MAX)?;
    Some((bits > 0).then_some(bits))
}

fn read_url(text: &str) -> Option<String> {
    let url = text.replace("%3B", ";").replace("%3b", ";");
    is_office_url(&url).then_some(url)
}

/// Whether an office may be reached at this URL: printable ASCII, https, or http on loopback (SPEC.md §10).
#[must_use]
pub fn is_office_url(url: &str) -> bool {
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return false;
    }
    let (rest, loopback_only) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return false,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A login in a URL is a way to show one host and reach another.
    if authority.is_empty() || authority.contains('@') {
        return false;
    }
    !loopback_only || is_loopback(authority)
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The one value that begins with `v=postage1`.
fn only<V: AsRef<[u8]>>(values: &[V]) -> Result<&[u8], RecordError> {
    let mut ours = values.iter().map(AsRef::as_ref).filter(|value| is_ours(value));
    let first = ours.next().ok_or(RecordError::None)?;
    if ours.next().is_some() {
        return Err(RecordError::Several);
    }
    if first.len() > RECORD_OCTETS_MAX { Err(RecordError::TooLong) } else { Ok(first) }
}

/// A later version (`v=postage10`) is not ours.
fn is_ours(value: &[u8]) -> bool {
    let rest = value.strip_prefix(b"v=").and_then(|rest| rest.strip_prefix(VERSION.as_bytes()));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b';' | b' ' | b'\t' | b'\r' | b'\n')))
}

struct Tags<'a>(TagList<'a>);

impl Tags<'_> {
    fn read<T>(&self, name: &'static str, reader: impl FnOnce(&str) -> Option<T>) -> Result<T, RecordError> {
        self.read_optional(name, reader)?.ok_or(RecordError::Missing(name))
    }

    fn read_optional<T>(
        &self,
        name: &'static str,
        reader: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, RecordError> {
        self.0.get(name).map(|text| reader(text).ok_or(RecordError::Value(name))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stamp::SecretKey;

    fn key() -> PublicKey {
        SecretKey::from_seed(&[1; 32]).public()
    }

    #[test]
    fn names() {
        let office = "post.example".parse().unwrap();
        assert_eq!(key_name(&"2026a.mail".parse().unwrap(), &office), "2026a.mail._postage.post.example");
        assert_eq!(policy_name(&office), "_postage.post.example");
    }

    #[test]
    fn a_key_is_written_as_it_is_read() {
        let record = write_key(&key());
        assert_eq!(record, format!("v=postage1; k=ed25519; p={}", key()));
        assert_eq!(read_key(&[record]), Ok(key()));
        assert_eq!(read_key(&["v=postage1; k=ed25519; p="]), Err(RecordError::Revoked));
    }

    #[test]
    fn only_records_of_ours_count() {
        let good = write_key(&key());
        let others = [
            "v=spf1 -all",
            "",
            "V=postage1; k=rsa",
            " v=postage1",
            "v=postage10; p=x",
            "v=postage2; p=x",
            "postage1",
        ];
        for other in others {
            assert_eq!(read_key(&[other, &good, other]), Ok(key()), "{other:?}");
            assert_eq!(read_key(&[other]), Err(RecordError::None), "{other:?}");
        }
        for second in [good.as_str(), "v=postage1", "v=postage1; c=USD", "v=postage1;\t;", "v=postage1 "] {
            assert_eq!(read_key(&[&good, second]), Err(RecordError::Several), "{second:?}");
        }
        assert_eq!(read_key::<&str>(&[]), Err(RecordError::None));
    }

    #[test]
    fn keys_that_are_none() {
        let key = key();
        let small = "A".repeat(43);
        let table: &[(&str, RecordError)] = &[
            ("v=postage1; k=ed25519", RecordError::Missing("p")),
            (&format!("v=postage1; p={key}"), RecordError::Missing("k")),
            (&format!("v=postage1; k=rsa; p={key}"), RecordError::Value("k")),
            (&format!("v=postage1; k=ed25519; p={key}="), RecordError::Value("p")),
            (&format!("v=postage1; k=ed25519; p={small}"), RecordError::Value("p")),
            (&format!("v=postage1;; k=ed25519; p={key}"), RecordError::TagList(TagListError::Empty)),
            (
                &format!("v=postage1; k=ed25519; p={key}; v=postage1"),
                RecordError::TagList(TagListError::Twice("v".into())),
            ),
        ];
        for (record, fault) in table {
            assert_eq!(read_key(&[record]), Err(fault.clone()), "{record}");
        }
        let text = key.to_string();
        let (front, back) = text.split_at(20);
        assert_eq!(
            read_key(&[format!("v=postage1; k=ed25519; t=x; p={front} {back};")]),
            Ok(key),
            "joined with a space"
        );
    }

    #[test]
    fn a_policy_is_written_as_it_is_read() {
        let full =
            "v=postage1; c=USD; n=2500; i=office.example,other.example; w=24; u=https://office.example/";
        let policy = MailPolicy::read(&[full]).unwrap();
        assert_eq!(
            policy.offices.iter().map(Domain::as_str).collect::<Vec<_>>(),
            ["office.example", "other.example"]
        );
        assert_eq!((policy.price.get(), policy.work_bits), (2500, Some(24)));
        assert_eq!(policy.to_string(), full);
        let least = "v=postage1; c=EUR; n=1; i=office.example";
        assert_eq!(MailPolicy::read(&[least]).unwrap().to_string(), least);
        let odd = MailPolicy::read(&["v=postage1;c=USD;n=1;i=b.example;w=0;u=https://b.example/a%3Bb;zz="])
            .unwrap();
        assert_eq!(odd.url.as_deref(), Some("https://b.example/a;b"));
        assert!(odd.to_string().ends_with("u=https://b.example/a%3Bb"));
        assert_eq!(odd.work_bits, None);
    }

    #[test]
    fn policies_that_are_none() {
        let table: &[(&str, RecordError)] = &[
            ("c=USD; n=2500", RecordError::Missing("i")),
            ("n=2500; i=b.example", RecordError::Missing("c")),
            ("c=USD; i=b.example", RecordError::Missing("n")),
            ("c=usd; n=2500; i=b.example", RecordError::Value("c")),
            ("c=USD; n=0; i=b.example", RecordError::Value("n")),
            ("c=USD; n=0.25c; i=b.example", RecordError::Value("n")),
            ("c=USD; n=1; i=", RecordError::Value("i")),
            ("c=USD; n=1; i=b.example,", RecordError::Value("i")),
            ("c=USD; n=1; i=B.example", RecordError::Value("i")),
            ("c=USD; n=1; i=b.example; w=161", RecordError::Value("w")),
            ("c=USD; n=1; i=b.example; w=", RecordError::Value("w")),
            ("c=USD; n=1; i=b.example; u=http://b.example/", RecordError::Value("u")),
        ];
        for (tags, fault) in table {
            assert_eq!(MailPolicy::read(&[format!("v=postage1; {tags}")]), Err(fault.clone()), "{tags}");
        }
    }

    #[test]
    fn where_an_office_may_be() {
        for good in [
            "https://b.example/",
            "https://b.example",
            "https://b.example:8443/postage?x=1",
            "http://localhost:8895",
            "http://127.0.0.1:8895/",
            "http://127.9.9.9",
            "http://[::1]:8895/",
        ] {
            assert!(is_office_url(good), "{good}");
        }
        for bad in [
            "",
            "https://",
            "https:///p",
            "b.example",
            "ftp://b.example/",
            "http://b.example/",
            "http://localhost.b.example/",
            "http://127.0.0.1.b.example/",
            "http://localhost@b.example/",
            "https://b.example@c.example/",
            "http://b.example#localhost",
            "javascript:alert(1)",
            "https://b.example/a b",
            "https://b.example/\u{e9}",
        ] {
            assert!(!is_office_url(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(mut octets: Vec<u8>) {
            octets.splice(0..0, *b"v=postage1;");
            let _ = read_key(&[&octets]);
            let _ = MailPolicy::read(&[&octets]);
        }
    }
}
