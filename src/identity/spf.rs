//! SPF (RFC 7208): may this address send for that domain?
//!
//! mail-auth reads the records and expands the macros; the evaluation is here, because whom a domain lets in must come
//! out exactly: a nested `?include:` or an unproven PTR name must not become a pass. The limit on void look-ups is a wider
//! one than the RFC's two, which would turn careless but honest senders away.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
};

use mail_auth::{
    common::parse::TxtRecordParser,
    spf::{Macro, Mechanism, Qualifier, Spf, Variables},
};

use crate::{
    address::{Address, Domain},
    dns::{Dns, DnsTrouble},
};

/// Terms that ask DNS in one evaluation, included records and all (RFC 7208 §4.6.4).
pub const TERMS_MAX: usize = 10;
/// Mail exchangers of one `mx`, and names of one address for `ptr` (RFC 7208 §4.6.4).
pub const NAMES_MAX: usize = 10;
/// Names with no address that are asked about in one evaluation. Ten `mx` with ten names each, all in a victim's zone,
/// would otherwise make a hundred questions to the victim's servers of one letter (RFC 7208 §4.6.4, §11.1).
pub const VOIDS_MAX: usize = 20;
/// Octets of a name that a macro may expand to; longer ones lose labels on the left (RFC 7208 §7.3).
const NAME_OCTETS_MAX: usize = 253;

/// What a domain's SPF record says about an address (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpfResult {
    /// The address may send for the domain.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The domain does not say.
    Neutral,
    /// There is no record, or no domain to ask about.
    None,
    /// The record cannot be read or asks too much.
    PermError,
    /// DNS failed; later the result may be another.
    TempError,
}

/// A result and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpfFinding {
    /// What the record says.
    pub result: SpfResult,
    /// The domain asked: the envelope sender's, or that of HELO for the null sender. `None` when neither names one.
    pub domain: Option<Domain>,
    /// The reason for an error, for logs; else empty.
    pub why: String,
}

/// What SPF looks at, as the SMTP client said it.
#[derive(Clone, Debug)]
pub struct Envelope {
    client: Option<IpAddr>,
    helo: String,
    identity: Option<(Domain, Vec<u8>)>,
}

impl Envelope {
    /// An envelope: the client's address (none on a local socket), the name it gave, and the argument of MAIL FROM with
    /// or without `<>`. The null sender is asked about as postmaster of the HELO name (RFC 7208 §2.4).
    #[must_use]
    pub fn new(client: Option<IpAddr>, helo: &[u8], mail_from: &[u8]) -> Self {
        let helo = String::from_utf8_lossy(helo).into_owned();
        let identity = match mail_from {
            b"" | b"<>" => Domain::from_any(&helo).ok().map(|domain| {
                let sender = format!("postmaster@{domain}").into_bytes();
                (domain, sender)
            }),
            _ => Address::parse(mail_from).ok().map(|address| (address.domain().clone(), address.to_bytes())),
        };
        // A client on a dual socket has an IPv4 address written as an IPv6 one; records name the former.
        Self { client: client.map(|ip| ip.to_canonical()), helo, identity }
    }

    /// The domain whose SPF record decides.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        self.identity.as_ref().map(|(domain, _)| domain)
    }
}

/// Asks the domain's record about the client. Not bounded in time beyond that of each DNS question; the caller does it.
pub async fn check(dns: &Dns, envelope: &Envelope) -> SpfFinding {
    let finding = |result, why: String| SpfFinding { result, domain: envelope.domain().cloned(), why };
    let (Some((domain, sender)), Some(ip)) = (&envelope.identity, envelope.client) else {
        return finding(SpfResult::None, String::new());
    };
    let mut evaluation =
        Evaluation { dns, ip, sender, helo: &envelope.helo, terms: 0, voids: 0, names: None };
    match evaluation.host(domain.as_str()).await {
        Ok(result) => finding(result, String::new()),
        Err(Stop::Permanent(why)) => finding(SpfResult::PermError, why),
        Err(Stop::Trouble(trouble)) => finding(SpfResult::TempError, trouble.to_string()),
    }
}

/// What ends an evaluation before its result.
enum Stop {
    Permanent(String),
    Trouble(DnsTrouble),
}

impl From<DnsTrouble> for Stop {
    fn from(trouble: DnsTrouble) -> Self {
        Self::Trouble(trouble)
    }
}

struct Evaluation<'a> {
    dns: &'a Dns,
    ip: IpAddr,
    sender: &'a [u8],
    helo: &'a str,
    /// Terms counted so far against [`TERMS_MAX`].
    terms: usize,
    /// Names without an address so far, against [`VOIDS_MAX`].
    voids: usize,
    /// The client's own names that resolve back to it, once asked.
    names: Option<Vec<String>>,
}

type Answer<'f, T> = Pin<Box<dyn Future<Output = Result<T, Stop>> + Send + 'f>>;

impl Evaluation<'_> {
    /// check_host() of RFC 7208 §4. Boxed because an include comes back here; the terms bound the depth.
    fn host<'f>(&'f mut self, domain: &'f str) -> Answer<'f, SpfResult> {
        Box::pin(async move {
            let Some(record) = self.record(domain).await? else { return Ok(SpfResult::None) };
            for directive in &record.directives {
                if self.matches(&directive.mechanism, domain).await? {
                    return Ok(match directive.qualifier {
                        Qualifier::Pass => SpfResult::Pass,
                        Qualifier::Fail => SpfResult::Fail,
                        Qualifier::SoftFail => SpfResult::SoftFail,
                        Qualifier::Neutral => SpfResult::Neutral,
                    });
                }
            }
            let Some(redirect) = &record.redirect else { return Ok(SpfResult::Neutral) };
            self.count()?;
            let target = self.expand(redirect, domain).await?;
            match self.host(&target).await? {
                SpfResult::None => {
                    Err(Stop::Permanent(format!("redirect to {target}, which has no SPF record")))
                }
                result => Ok(result),
            }
        })
    }

    async fn record(&self, domain: &str) -> Result<Option<Spf>, Stop> {
        let records = self.dns.txt(domain).await?;
        let mut records = records.iter().filter(|record| is_spf(record));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(record), None) => match Spf::parse(record) {
                Ok(record) => Ok(Some(record)),
                Err(_) => Err(Stop::Permanent(format!("the SPF record of {domain} cannot be read"))),
            },
            _ => Err(Stop::Permanent(format!("{domain} has several SPF records"))),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4 { addr, mask } => {
                Ok(matches!(self.ip, IpAddr::V4(ip) if within4(ip, *addr, *mask)))
            }
            Mechanism::Ip6 { addr, mask } => {
                Ok(matches!(self.ip, IpAddr::V6(ip) if within6(ip, *addr, *mask)))
            }
            Mechanism::A { macro_string, ip4_mask, ip6_mask } => {
                self.count()?;
                let name = self.expand(macro_string, domain).await?;
                self.resolves_to_client(&name, *ip4_mask, *ip6_mask).await
            }
            Mechanism::Mx { macro_string, ip4_mask, ip6_mask } => {
                self.count()?;
                let name = self.expand(macro_string, domain).await?;
                let exchanges = self.dns.mx(&name).await?;
                if exchanges.len() > NAMES_MAX {
                    return Err(Stop::Permanent(format!("{name} has more than {NAMES_MAX} mail exchangers")));
                }
                for exchange in exchanges {
                    if self.resolves_to_client(&exchange, *ip4_mask, *ip6_mask).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Include { macro_string } => {
                self.count()?;
                let name = self.expand(macro_string, domain).await?;
                match self.host(&name).await? {
                    SpfResult::Pass => Ok(true),
                    SpfResult::None => {
                        Err(Stop::Permanent(format!("include of {name}, which has no SPF record")))
                    }
                    _ => Ok(false),
                }
            }
            Mechanism::Ptr { macro_string } => {
                self.count()?;
                let target = self.expand(macro_string, domain).await?.to_ascii_lowercase();
                Ok(self.proven_names().await.iter().any(|name| is_or_is_below(name, &target)))
            }
            Mechanism::Exists { macro_string } => {
                self.count()?;
                let name = self.expand(macro_string, domain).await?;
                Ok(!self.dns.ipv4(&name).await?.is_empty())
            }
        }
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(Stop::Permanent(format!("more than {TERMS_MAX} terms that need DNS")));
        }
        Ok(())
    }

    async fn resolves_to_client(&mut self, name: &str, mask4: u32, mask6: u128) -> Result<bool, Stop> {
        if self.voids >= VOIDS_MAX {
            return Err(Stop::Permanent(format!("more than {VOIDS_MAX} names without an address")));
        }
        let (matches, void) = match self.ip {
            IpAddr::V4(ip) => {
                let found = self.dns.ipv4(name).await?;
                (found.iter().any(|net| within4(ip, *net, mask4)), found.is_empty())
            }
            IpAddr::V6(ip) => {
                let found = self.dns.ipv6(name).await?;
                (found.iter().any(|net| within6(ip, *net, mask6)), found.is_empty())
            }
        };
        self.voids += usize::from(void);
        Ok(matches)
    }

    /// The names that the client's address has in reverse and that resolve back to it (RFC 7208 §5.5).
    /// Trouble with them is no match, as that section wants it.
    async fn proven_names(&mut self) -> Vec<String> {
        if let Some(names) = &self.names {
            return names.clone();
        }
        let mut proven = Vec::new();
        for name in self.dns.ptr(self.ip).await.unwrap_or_default().into_iter().take(NAMES_MAX) {
            if matches!(self.resolves_to_client(&name, u32::MAX, u128::MAX).await, Ok(true)) {
                proven.push(name);
            }
        }
        self.names = Some(proven.clone());
        proven
    }

    async fn expand(&mut self, text: &Macro, domain: &str) -> Result<String, Stop> {
        let mut variables = Variables::new();
        variables.set_ip(&self.ip);
        variables.set_sender(self.sender.to_vec());
        variables.set_helo_domain(self.helo.as_bytes().to_vec());
        variables.set_domain(domain.as_bytes().to_vec());
        if text.needs_ptr() {
            self.count()?;
            let names = self.proven_names().await;
            let best = names.iter().find(|name| *name == domain);
            let best = best.or_else(|| names.iter().find(|name| is_or_is_below(name, domain)));
            let best = best.or(names.first()).map_or("unknown", String::as_str);
            variables.set_validated_domain(best.as_bytes().to_vec());
        }
        let expanded = text.eval(&variables, domain, false);
        let mut name = expanded.strip_suffix('.').unwrap_or(&expanded);
        while name.len() > NAME_OCTETS_MAX {
            name = name.split_once('.').map_or("", |(_, rest)| rest);
        }
        Ok(name.to_owned())
    }
}

fn is_spf(record: &[u8]) -> bool {
    match record.split_at_checked(b"v=spf1".len()) {
        Some((version, rest)) => {
            version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' '))
        }
        None => false,
    }
}

fn is_or_is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn within4(ip: Ipv4Addr, net: Ipv4Addr, mask: u32) -> bool {
    ip.to_bits() & mask == net.to_bits() & mask
}

fn within6(ip: Ipv6Addr, net: Ipv6Addr, mask: u128) -> bool {
    ip.to_bits() & mask == net.to_bits() & mask
}
