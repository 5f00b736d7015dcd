//! Forwarders: servers that get a recipient's mail at another address and send it on to us (`bob@old.example`).
//!
//! On the way a letter loses its author's SPF, and its signature where the forwarder (a list) has changed it. What the
//! forwarder has seen of the author is then taken from the forwarder, if the site or the recipient has allowed it, and only
//! in these two ways:
//!
//! - **A host** (by name or network) that brings the letter itself: its topmost Received field says from which address it
//!   has the letter, and SPF is asked about that address. A host by name is one of whose names, HELO's or the reverse one,
//!   DNS gives the address of the client; so only who may write that zone can be it. The field was written by the client
//!   that connects now, whatever stands below it. A claim in Authentication-Results is not looked at: nobody can see from
//!   here whether it came with the letter.
//! - **A sealer** (ARC, RFC 8617): its seal, the last one, covers what it found out about the author in its own
//!   ARC-Authentication-Results, and its signature the letter as it went out, From and body. The whole chain must
//!   hold. Anybody may bring such a letter, for none but the sealer could have written it.
//!
//! Either can forge any author towards those who allow it; nobody else can.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::align::organisation;
use crate::address::{AddressError, Domain, shown};

/// Before the domain of a sealer.
pub const SEALER_PREFIX: &str = "arc:";
/// Before the name of a host.
pub const HOST_PREFIX: &str = "host:";

/// A forwarder as people write it: `arc:DOMAIN`, `host:NAME`, or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarder {
    /// Who seals as this domain or one below it.
    Sealer(Domain),
    /// A host of this name or one below it.
    Host(Domain),
    /// A host in this network.
    Network(IpNet),
}

/// What was written is no forwarder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwarderError {
    /// None of the forms.
    #[error(
        "`{0}` is no forwarder; write arc:DOMAIN for who seals (ARC), host:NAME, or a network like 192.0.2.0/24"
    )]
    Form(String),
    /// Not a domain.
    #[error(transparent)]
    Name(#[from] AddressError),
    /// An address where a name is wanted.
    #[error("`{0}` is an address, not a name; write it without host: into [identity] forwarders")]
    Address(IpAddr),
    /// A public suffix: names below it belong to anybody.
    #[error("`{0}` is no one's own domain: anybody can have a name below it")]
    Public(Domain),
}

/// The domain of a sealer or the name of a host, as it stands behind the prefix.
///
/// # Errors
/// [`ForwarderError`] when it is no domain, an address, or a public suffix.
pub fn own_name(text: &str) -> Result<Domain, ForwarderError> {
    if let Ok(address) = text.parse() {
        return Err(ForwarderError::Address(address));
    }
    let name = Domain::from_any(text)?;
    if organisation(&name).is_some() { Ok(name) } else { Err(ForwarderError::Public(name)) }
}

impl FromStr for Forwarder {
    type Err = ForwarderError;

    fn from_str(text: &str) -> Result<Self, ForwarderError> {
        if let Some(domain) = text.strip_prefix(SEALER_PREFIX) {
            return Ok(Self::Sealer(own_name(domain)?));
        }
        if let Some(name) = text.strip_prefix(HOST_PREFIX) {
            return Ok(Self::Host(own_name(name)?));
        }
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self::Network).map_err(|_| ForwarderError::Form(shown(text.as_bytes())))
    }
}

/// The forwarders that a whole site allows.
#[derive(Clone, Debug, Default)]
pub struct Forwarders(pub Vec<Forwarder>);

impl Forwarders {
    /// Whether who seals as this domain is one.
    #[must_use]
    pub fn has_sealer(&self, domain: &Domain) -> bool {
        self.0.iter().any(|one| matches!(one, Forwarder::Sealer(allowed) if domain.is_within(allowed)))
    }

    /// Whether a host of this name is one.
    #[must_use]
    pub fn has_host(&self, name: &Domain) -> bool {
        self.0.iter().any(|one| matches!(one, Forwarder::Host(allowed) if name.is_within(allowed)))
    }

    /// Whether a host at this address is one, by its network.
    #[must_use]
    pub fn has_address(&self, ip: &IpAddr) -> bool {
        // A client on a dual socket has an IPv4 address written as an IPv6 one.
        let holds = |net: &IpNet| net.contains(ip) || net.contains(&ip.to_canonical());
        self.0.iter().any(|one| matches!(one, Forwarder::Network(net) if holds(net)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarders_as_people_write_them() {
        for (text, means) in [
            ("arc:Old.example", Some(Forwarder::Sealer("old.example".parse().unwrap()))),
            ("host:mx.old.example.", Some(Forwarder::Host("mx.old.example".parse().unwrap()))),
            ("192.0.2.0/24", Some(Forwarder::Network("192.0.2.0/24".parse().unwrap()))),
            ("2001:db8::1", Some(Forwarder::Network("2001:db8::1/128".parse().unwrap()))),
            ("mx.old.example", None),
            ("arc:", None),
            ("arc:github.io", None),
            ("host:co.uk", None),
            ("host:192.0.2.1", None),
            ("192.0.2.0/33", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Forwarder>().ok(), means, "{text}");
        }
    }

    #[test]
    fn a_name_stands_for_those_below_it() {
        let text = ["arc:old.example", "host:mx.old.example", "192.0.2.0/24"];
        let site = Forwarders(text.iter().map(|t| t.parse().unwrap()).collect());
        let d = |text: &str| text.parse::<Domain>().unwrap();
        assert!(site.has_sealer(&d("old.example")) && site.has_sealer(&d("mail.old.example")));
        assert!(!site.has_sealer(&d("cold.example")) && !site.has_sealer(&d("example.org")));
        assert!(site.has_host(&d("1.mx.old.example")) && !site.has_host(&d("old.example")));
        assert!(site.has_address(&"192.0.2.9".parse().unwrap()));
        assert!(site.has_address(&"::ffff:192.0.2.9".parse().unwrap()));
        assert!(!site.has_address(&"192.0.3.9".parse().unwrap()));
    }
}
