//! Keys for mail-auth, which checks signatures and asks DNS for nothing: it says here which key it lacks, is given it,
//! and checks again. So answers come, are limited and are kept as all others ([`Dns`]), and only keys that a signature
//! truly needs are asked for.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use hickory_resolver::proto::op::ResponseCode;
use mail_auth::{
    DnsError, Error, ResolverCache, Txt,
    common::{parse::TxtRecordParser as _, verify::DomainKey},
};

use crate::dns::{Dns, DnsTrouble};

/// The name of a key's record, as it is asked for.
pub fn key_name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// The keys that one check may need.
pub struct PublishedKeys {
    /// By absolute name, in lower case; `None`: not asked for yet.
    keys: HashMap<Box<str>, Option<Txt>>,
    lacking: Mutex<Option<Box<str>>>,
}

impl PublishedKeys {
    /// The keys of these selectors and domains; none is asked for yet.
    pub fn of<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let name = |(selector, domain)| {
            let name = format!("{}.", key_name(selector, domain)).to_ascii_lowercase();
            (name.into_boxed_str(), None)
        };
        Self { keys: keys.into_iter().map(name).collect(), lacking: Mutex::default() }
    }

    /// Asks for the key that was lacking; false when none was, and what the check said holds.
    ///
    /// # Errors
    /// [`DnsTrouble`] when DNS cannot say now.
    pub async fn fetch_lacking(&mut self, dns: &Dns) -> Result<bool, DnsTrouble> {
        let lacking = self.lacking.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(name) = lacking else { return Ok(false) };
        let key = read(&dns.txt(&name).await?);
        self.keys.insert(name, Some(key));
        Ok(true)
    }
}

/// The key of a name's records: the first that is one.
fn read(records: &[Vec<u8>]) -> Txt {
    let none = match records {
        [] => DnsError::RecordNotFound(ResponseCode::NXDomain),
        _ => DnsError::InvalidRecordType,
    };
    let mut found = Err(Error::Dns(none));
    for record in records {
        found = DomainKey::parse(record);
        if found.is_ok() {
            break;
        }
    }
    found.into()
}

impl ResolverCache<Box<str>, Txt> for PublishedKeys {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some((name, key)) = self.keys.get_key_value(name) {
            if let Some(key) = key {
                return Some(key.clone());
            }
            *self.lacking.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
        }
        // Never nothing: mail-auth would ask DNS itself.
        Some(Txt::Error(Error::Dns(DnsError::InvalidRecordType)))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}
