//! The one DNS resolver of a process: SPF, DKIM, DMARC and postage records all ask through it.
//!
//! It tells "there is no such record" (an empty answer) from "nobody could say" ([`DnsTrouble`]), because only the
//! first may lead to a refusal (SPEC.md §5). It never looks at /etc/hosts or search domains: who sent a letter is not
//! decided by local files. Every question ends within [`LOOKUP_TIME`]; answers, negative ones too, are kept for their
//! TTL within [`TTL_MIN`] and [`TTL_MAX`], within a bounded memory (`kept`).

mod kept;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use mail_auth::MessageAuthenticator;
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use kept::{Answer, Kept};

/// One attempt at a question. A resolver that walks the tree from the root needs about a second; a lost packet is
/// sent again within it.
pub const ATTEMPT_TIME: Duration = Duration::from_millis(1_500);
/// Attempts after the first. Two attempts leave time for an alias to be followed within [`LOOKUP_TIME`].
pub const RETRIES: usize = 1;
/// One question with everything that belongs to it (attempts, aliases, TCP after UDP).
pub const LOOKUP_TIME: Duration = Duration::from_secs(5);
/// Answers are kept at least this long (SPEC.md §5), so that no sender can make every letter cost a question.
pub const TTL_MIN: Duration = Duration::from_secs(60);
/// Answers are kept at most this long (SPEC.md §5).
pub const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// DNS could not be asked, or could not say: SERVFAIL, time-out, a refused connection, a broken answer.
/// It is never a "no".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DNS has no answer about {name} now: {what}")]
pub struct DnsTrouble {
    /// What was asked about.
    pub name: String,
    /// What went wrong.
    pub what: String,
}

/// A resolver cannot be made of the settings.
#[derive(Debug, thiserror::Error)]
pub enum DnsSetupError {
    /// The system's resolver configuration cannot be read or names no server.
    #[error("the system's DNS settings cannot be used ({0}); name a server in [dns] servers")]
    System(NetError),
    /// The resolver refuses the servers given.
    #[error("no resolver can be made of [dns] servers: {0}")]
    Servers(NetError),
}

/// A DNS client with its cache. Clones share both. Ask it on the tokio runtime on which it was first asked.
#[derive(Clone)]
pub struct Dns {
    /// It keeps nothing.
    resolver: TokioResolver,
    kept: Kept,
}

impl Dns {
    /// A resolver that asks these servers, over UDP and, where an answer does not fit, TCP; no server given: the system's.
    ///
    /// # Errors
    /// [`DnsSetupError`] when the system's configuration is needed and cannot be read.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsSetupError> {
        let (config, opts) = if servers.is_empty() {
            let (system, opts) = read_system_conf().map_err(DnsSetupError::System)?;
            // Names are always asked whole, so the system's domain and search list have no meaning here.
            (ResolverConfig::from_name_servers(system.into_parts().2), opts)
        } else {
            (ResolverConfig::from_name_servers(servers.iter().map(server).collect()), ResolverOpts::default())
        };
        let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(limited(opts))
            .with_tls_config(trusting_nobody().map_err(DnsSetupError::Servers)?)
            .build()
            .map_err(DnsSetupError::Servers)?;
        Ok(Self { resolver, kept: Kept::new() })
    }

    /// The TXT records of a name, the strings of each joined without a space; none when there is no such record or name.
    ///
    /// # Errors
    /// [`DnsTrouble`] when nobody could say.
    pub async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsTrouble> {
        let data = self.ask(name, RecordType::TXT).await?;
        Ok(data
            .iter()
            .filter_map(|d| if let RData::TXT(txt) = d { Some(txt.txt_data.concat()) } else { None })
            .collect())
    }

    /// The IPv4 addresses of a name.
    ///
    /// # Errors
    /// [`DnsTrouble`] when nobody could say.
    pub async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsTrouble> {
        let data = self.ask(name, RecordType::A).await?;
        Ok(data.iter().filter_map(|d| if let RData::A(a) = d { Some(a.0) } else { None }).collect())
    }

    /// The IPv6 addresses of a name.
    ///
    /// # Errors
    /// [`DnsTrouble`] when nobody could say.
    pub async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsTrouble> {
        let data = self.ask(name, RecordType::AAAA).await?;
        Ok(data.iter().filter_map(|d| if let RData::AAAA(a) = d { Some(a.0) } else { None }).collect())
    }

    /// The mail exchangers of a name, as names without trailing dot, in no particular order.
    ///
    /// # Errors
    /// [`DnsTrouble`] when nobody could say.
    pub async fn mx(&self, name: &str) -> Result<Vec<String>, DnsTrouble> {
        let data = self.ask(name, RecordType::MX).await?;
        Ok(data
            .iter()
            .filter_map(|d| if let RData::MX(mx) = d { Some(plain(&mx.exchange)) } else { None })
            .collect())
    }

    /// The names an address says it has, lower-case, without trailing dot. Whoever owns the address wrote them: they
    /// prove nothing until the names resolve back to it.
    ///
    /// # Errors
    /// [`DnsTrouble`] when nobody could say.
    pub async fn ptr(&self, ip: IpAddr) -> Result<Vec<String>, DnsTrouble> {
        let data = self.answer(Name::from(ip), RecordType::PTR).await?;
        Ok(data
            .iter()
            .filter_map(|d| if let RData::PTR(ptr) = d { Some(plain(ptr)) } else { None })
            .collect())
    }

    /// The same resolver for mail-auth's checks. Nothing that it is asked is kept: whoever checks gives it what it needs.
    #[must_use]
    pub fn authenticator(&self) -> MessageAuthenticator {
        MessageAuthenticator(self.resolver.clone())
    }

    /// Forgets every answer.
    pub fn forget(&self) {
        self.kept.forget();
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Arc<[RData]>, DnsTrouble> {
        // What is no name in DNS has no records there: nobody can publish any.
        let Ok(mut whole) = Name::from_ascii(name) else { return Ok(Arc::new([])) };
        whole.set_fqdn(true);
        self.answer(whole, kind).await
    }

    async fn answer(&self, name: Name, kind: RecordType) -> Result<Arc<[RData]>, DnsTrouble> {
        let question = (name, kind);
        if let Some(data) = self.kept.get(&question) {
            return Ok(data);
        }
        let trouble = |what: String| DnsTrouble { name: plain(&question.0), what };
        let asked = self.resolver.lookup(question.0.clone(), kind);
        let answer = match tokio::time::timeout(LOOKUP_TIME, asked).await {
            Ok(Ok(lookup)) => answered(&lookup),
            Ok(Err(e)) => no_records(&e).ok_or_else(|| trouble(e.to_string()))?,
            Err(_) => return Err(trouble(format!("no answer within {} s", LOOKUP_TIME.as_secs()))),
        };
        let data = answer.data.clone();
        self.kept.keep(question, answer);
        Ok(data)
    }
}

/// Time left for questions that belong together. Only waiting counts: a client that sends slowly does not use it up.
#[derive(Debug)]
pub struct Budget {
    left: Duration,
}

impl Budget {
    /// This much time.
    #[must_use]
    pub fn of(time: Duration) -> Self {
        Self { left: time }
    }

    /// Waits for an answer, at most for what is left; `None` when that was not enough. What is in the cache is found
    /// even when nothing is left.
    pub async fn spend<F: Future>(&mut self, question: F) -> Option<F::Output> {
        let start = Instant::now();
        let answer = tokio::time::timeout(self.left, question).await.ok();
        self.left = self.left.saturating_sub(start.elapsed());
        answer
    }
}

impl DnsTrouble {
    /// There was no time left to wait for an answer.
    #[must_use]
    pub fn out_of_time(name: impl Into<String>) -> Self {
        Self { name: name.into(), what: "no answer in time".to_owned() }
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dns")
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

/// TLS that is never used, for all is asked over UDP and TCP. Left to itself, the resolver would read the system's
/// certificates each time one is made, and there would be none where the system has no certificates.
fn trusting_nobody() -> Result<ClientConfig, NetError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let tls = tls.with_safe_default_protocol_versions()?;
    Ok(tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn limited(mut opts: ResolverOpts) -> ResolverOpts {
    opts.timeout = ATTEMPT_TIME;
    opts.attempts = RETRIES;
    // Its own cache counts answers and does not weigh them.
    opts.cache_size = 0;
    opts.use_hosts_file = ResolveHosts::Never;
    opts
}

fn answered(lookup: &Lookup) -> Answer {
    let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
    let data = lookup.answers().iter().map(|record| record.data.clone()).collect();
    Answer { data, ttl: ttl.clamp(TTL_MIN, TTL_MAX) }
}

/// The answer that an error is which says that the name or the record does not exist, and nothing else.
fn no_records(error: &NetError) -> Option<Answer> {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else { return None };
    if !matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) {
        return None;
    }
    let ttl = Duration::from_secs(none.negative_ttl.unwrap_or_default().into());
    Some(Answer { data: Arc::new([]), ttl: ttl.clamp(TTL_MIN, TTL_MAX) })
}

fn plain(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::dns::{Manner, ZoneServer};

    fn world() -> (ZoneServer, Dns) {
        let zone = ZoneServer::start().unwrap();
        let dns = Dns::new(&[zone.address()]).unwrap();
        (zone, dns)
    }

    #[tokio::test]
    async fn every_kind_of_record_is_read() {
        let (zone, dns) = world();
        zone.txt("b.example", "one")
            .txt("b.example", "two")
            .address_of("b.example", [192, 0, 2, 1])
            .address_of("b.example", "2001:db8::1".parse::<IpAddr>().unwrap())
            .mx("b.example", 10, "MX.B.example")
            .ptr([192, 0, 2, 1], "b.example")
            .alias("www.b.example", "b.example");
        assert_eq!(dns.txt("B.example").await.unwrap(), [b"one", b"two"]);
        assert_eq!(dns.ipv4("b.example.").await.unwrap(), [Ipv4Addr::new(192, 0, 2, 1)]);
        assert_eq!(dns.ipv6("b.example").await.unwrap(), ["2001:db8::1".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(dns.mx("b.example").await.unwrap(), ["mx.b.example"]);
        assert_eq!(dns.ptr([192, 0, 2, 1].into()).await.unwrap(), ["b.example"]);
        assert_eq!(dns.ipv4("www.b.example").await.unwrap(), [Ipv4Addr::new(192, 0, 2, 1)]);
    }

    #[tokio::test]
    async fn no_such_name_and_no_such_record_are_a_no() {
        let (zone, dns) = world();
        zone.address_of("mx.b.example", [192, 0, 2, 1]);
        assert!(dns.txt("mx.b.example").await.unwrap().is_empty(), "other records");
        assert!(dns.txt("b.example").await.unwrap().is_empty(), "names below it");
        assert!(dns.txt("c.example").await.unwrap().is_empty(), "no such name");
        assert!(dns.txt("c..example").await.unwrap().is_empty(), "no name at all");
        assert!(dns.txt(&"a.".repeat(200)).await.unwrap().is_empty(), "too long a name");
        assert_eq!(zone.asked_in_all(), 3);
    }

    #[tokio::test]
    async fn a_failure_is_never_a_no_and_is_not_remembered() {
        let (zone, dns) = world();
        zone.txt("b.example", "one");
        for manner in [Manner::ServFail, Manner::Refused, Manner::Silent] {
            zone.manner("b.example", manner);
            let trouble = dns.txt("b.example").await.unwrap_err();
            assert_eq!(trouble.name, "b.example", "{manner:?}");
        }
        zone.manner("b.example", Manner::Records);
        assert_eq!(dns.txt("b.example").await.unwrap(), [b"one"]);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_trouble() {
        let (zone, dns) = world();
        drop(zone);
        dns.txt("b.example").await.unwrap_err();
    }

    #[tokio::test]
    async fn an_answer_too_large_for_udp_comes_by_tcp() {
        let (zone, dns) = world();
        let long = "x".repeat(10_000);
        zone.txt("b.example", &long);
        assert_eq!(dns.txt("b.example").await.unwrap(), [long.as_bytes()]);
        assert_eq!(zone.asked("b.example"), 2, "once by UDP, once by TCP");
    }

    #[tokio::test]
    async fn answers_are_remembered_the_negative_too_until_forgotten() {
        let (zone, dns) = world();
        zone.txt("b.example", "one");
        for _ in 0..3 {
            assert_eq!(dns.txt("b.example").await.unwrap().len(), 1);
            assert!(dns.txt("c.example").await.unwrap().is_empty());
        }
        assert_eq!((zone.asked("b.example"), zone.asked("c.example")), (1, 1));
        dns.forget();
        zone.remove("b.example");
        assert!(dns.txt("b.example").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_takes_much_memory_is_read_and_not_kept() {
        let (zone, dns) = world();
        let huge = "x".repeat(60_000);
        zone.txt("huge.example", &huge).txt("b.example", "one");
        for _ in 0..2 {
            assert_eq!(dns.txt("huge.example").await.unwrap(), [huge.as_bytes()]);
            assert_eq!(dns.txt("b.example").await.unwrap(), [b"one"]);
        }
        assert_eq!((zone.asked("huge.example"), zone.asked("b.example")), (4, 1), "by UDP and TCP each time");
    }

    #[test]
    fn the_systems_settings_or_servers_with_ports() {
        let config = server(&"127.0.0.1:5353".parse().unwrap());
        assert!(config.connections.iter().all(|c| c.port == 5353));
        assert_eq!(limited(ResolverOpts::default()).use_hosts_file, ResolveHosts::Never);
    }
}
