//! What domains publish about postage (SPEC.md §5): what they ask, and the keys their stamps are signed with.
//!
//! A domain that says nothing, or something that cannot be read, is an answer ([`RecordError`]); DNS that fails is not
//! ([`DnsTrouble`]), and the two never mix. Answers are kept by the resolver for their TTL, a minute to a day. A gate's
//! own office is not asked about here: its keys are files.

use std::time::Duration;

use crate::{
    address::Domain,
    dns::{Budget, Dns, DnsTrouble},
    stamp::{
        PublicKey, Selector,
        records::{self, MailPolicy, RecordError},
    },
};

/// Key look-ups for one message (SPEC.md §5): a letter full of stamps of made-up offices costs no more.
pub const KEY_LOOKUPS_MAX: usize = 4;
/// Waiting for all keys of one message.
pub const KEYS_TIME: Duration = Duration::from_secs(5);

/// Asks DNS about postage.
#[derive(Clone, Debug)]
pub struct Discovery {
    dns: Dns,
}

impl Discovery {
    /// Asks this resolver.
    #[must_use]
    pub fn new(dns: Dns) -> Self {
        Self { dns }
    }

    /// What a mail domain asks, from `_postage.<domain>`; the inner error when it publishes no good record.
    ///
    /// # Errors
    /// [`DnsTrouble`] when it cannot be told now.
    pub async fn policy(&self, domain: &Domain) -> Result<Result<MailPolicy, RecordError>, DnsTrouble> {
        Ok(MailPolicy::read(&self.dns.txt(&records::policy_name(domain)).await?))
    }

    /// An office's key, from `<selector>._postage.<office>`; the inner error when there is none to go by
    /// (`unknown-issuer`), a revoked one among them.
    ///
    /// # Errors
    /// [`DnsTrouble`] when it cannot be told now.
    pub async fn office_key(
        &self,
        office: &Domain,
        selector: &Selector,
    ) -> Result<Result<PublicKey, RecordError>, DnsTrouble> {
        Ok(records::read_key(&self.dns.txt(&records::key_name(selector, office)).await?))
    }

    /// Where an office is reached: the `u` of its own `_postage.<office>`, else `https://<office>/`.
    ///
    /// # Errors
    /// [`DnsTrouble`] when it cannot be told now.
    pub async fn office_url(&self, office: &Domain) -> Result<String, DnsTrouble> {
        let published = self.policy(office).await?.ok().and_then(|policy| policy.url);
        Ok(published.unwrap_or_else(|| format!("https://{office}/")))
    }

    /// Whether a host has an address, of whichever family.
    ///
    /// # Errors
    /// [`DnsTrouble`] when it cannot be told now.
    pub async fn has_address(&self, host: &str) -> Result<bool, DnsTrouble> {
        Ok(!self.dns.ipv4(host).await?.is_empty() || !self.dns.ipv6(host).await?.is_empty())
    }

    /// The keys for one message, at most [`KEY_LOOKUPS_MAX`] and within [`KEYS_TIME`] in all.
    #[must_use]
    pub fn keys(&self) -> MessageKeys {
        MessageKeys { discovery: self.clone(), budget: Budget::of(KEYS_TIME), asked: Vec::new() }
    }
}

/// The keys that the stamps of one message need.
#[derive(Debug)]
pub struct MessageKeys {
    discovery: Discovery,
    budget: Budget,
    asked: Vec<(Domain, Selector, Result<Option<PublicKey>, DnsTrouble>)>,
}

impl MessageKeys {
    /// An office's key; `None` when there is none to go by, or this would be a look-up too many: `unknown-issuer`.
    /// The same key again is no look-up, nor is trouble asked twice.
    ///
    /// # Errors
    /// [`DnsTrouble`] when it cannot be told now.
    pub async fn key(
        &mut self,
        office: &Domain,
        selector: &Selector,
    ) -> Result<Option<PublicKey>, DnsTrouble> {
        if let Some((_, _, found)) = self.asked.iter().find(|(o, s, _)| o == office && s == selector) {
            return found.clone();
        }
        if self.asked.len() >= KEY_LOOKUPS_MAX {
            return Ok(None);
        }
        let found = match self.budget.spend(self.discovery.office_key(office, selector)).await {
            Some(found) => found.map(Result::ok),
            None => Err(DnsTrouble::out_of_time(records::key_name(selector, office))),
        };
        self.asked.push((office.clone(), selector.clone(), found.clone()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::dns::{Manner, ZoneServer};

    const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn world() -> (ZoneServer, Discovery) {
        let zone = ZoneServer::start().unwrap();
        let dns = Dns::new(&[zone.address()]).unwrap();
        (zone, Discovery::new(dns))
    }

    fn d(text: &str) -> Domain {
        text.parse().unwrap()
    }

    fn s(text: &str) -> Selector {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_key_is_published_revoked_doubled_or_missing() {
        let (zone, discovery) = world();
        let good = format!("v=postage1; k=ed25519; p={KEY}");
        zone.txt("s1._postage.post.example", &good)
            .txt("s1._postage.post.example", "google-site-verification=x")
            .txt("revoked._postage.post.example", "v=postage1; k=ed25519; p=")
            .txt("twice._postage.post.example", &good)
            .txt("twice._postage.post.example", &good)
            .txt("other._postage.post.example", "v=postage2; k=x; p=y")
            .txt("bad._postage.post.example", "v=postage1; k=ed25519; p=AAAA");
        let ask =
            async |selector: &str| discovery.office_key(&d("post.example"), &s(selector)).await.unwrap();
        assert_eq!(ask("s1").await.unwrap().to_string(), KEY);
        assert_eq!(ask("revoked").await, Err(RecordError::Revoked));
        assert_eq!(ask("twice").await, Err(RecordError::Several));
        assert_eq!(ask("other").await, Err(RecordError::None));
        assert_eq!(ask("bad").await, Err(RecordError::Value("p")));
        assert_eq!(ask("nowhere").await, Err(RecordError::None));
        assert_eq!(ask(&["a"; 120].join(".")).await, Err(RecordError::None), "a name too long for DNS");
    }

    #[tokio::test]
    async fn a_record_of_many_strings_is_one_text() {
        let (zone, discovery) = world();
        let text = format!("v=postage1; k=ed25519; note={}; p={KEY}", "x".repeat(700));
        zone.txt("s1._postage.post.example", text);
        let key = discovery.office_key(&d("post.example"), &s("s1")).await.unwrap().unwrap();
        assert_eq!(key.to_string(), KEY);
    }

    #[tokio::test]
    async fn what_a_domain_asks_and_where_to_buy() {
        let (zone, discovery) = world();
        zone.txt(
            "_postage.b.example",
            "v=postage1; c=USD; n=2500; i=b.example,post.example; u=https://b.example/x%3By/",
        );
        zone.txt("_postage.quiet.example", "v=postage1; c=USD; n=2500; i=quiet.example");
        let policy = discovery.policy(&d("b.example")).await.unwrap().unwrap();
        assert_eq!((policy.price.get(), policy.offices.len()), (2500, 2));
        assert_eq!(discovery.policy(&d("c.example")).await.unwrap(), Err(RecordError::None));
        assert_eq!(discovery.office_url(&d("b.example")).await.unwrap(), "https://b.example/x;y/");
        assert_eq!(discovery.office_url(&d("quiet.example")).await.unwrap(), "https://quiet.example/");
        assert_eq!(discovery.office_url(&d("c.example")).await.unwrap(), "https://c.example/");
    }

    #[tokio::test]
    async fn dns_that_fails_is_not_a_no() {
        let (zone, discovery) = world();
        for name in ["_postage.b.example", "s1._postage.b.example"] {
            zone.manner(name, Manner::ServFail);
        }
        discovery.policy(&d("b.example")).await.unwrap_err();
        discovery.office_url(&d("b.example")).await.unwrap_err();
        discovery.office_key(&d("b.example"), &s("s1")).await.unwrap_err();
        discovery.keys().key(&d("b.example"), &s("s1")).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_message_has_four_look_ups_and_no_key_is_asked_twice() {
        let (zone, discovery) = world();
        zone.txt("s1._postage.o1.example", format!("v=postage1; k=ed25519; p={KEY}"))
            .txt("s1._postage.o9.example", format!("v=postage1; k=ed25519; p={KEY}"))
            .manner("s1._postage.o2.example", Manner::ServFail);
        let mut keys = discovery.keys();
        for _ in 0..2 {
            assert!(keys.key(&d("o1.example"), &s("s1")).await.unwrap().is_some());
            keys.key(&d("o2.example"), &s("s1")).await.unwrap_err();
            assert!(keys.key(&d("o3.example"), &s("s1")).await.unwrap().is_none());
            assert!(keys.key(&d("o4.example"), &s("s1")).await.unwrap().is_none());
            assert!(keys.key(&d("o9.example"), &s("s1")).await.unwrap().is_none(), "one too many");
        }
        let asked_of_trouble = 1 + crate::dns::RETRIES as u64;
        assert_eq!(zone.asked_in_all(), 3 + asked_of_trouble);
        assert!(discovery.keys().key(&d("o9.example"), &s("s1")).await.unwrap().is_some());
    }
}
