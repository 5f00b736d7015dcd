//! What a client may take of the office: how often it may call (more is 429), and for how long it may keep a place.
//!
//! Memory does not grow with who calls: addresses and accounts cost nothing to make up, so they are not kept: each falls by a keyed hash into one of
//! [`BUCKETS_MAX`] buckets, and a bucket has the rate. Two that share one by chance share its rate; nobody can aim.

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::{SharedOffice, problem::Problem};
use crate::ledger::{AccountKey, funding::NetworkKey};

/// Buckets of one limiter: some megabytes when all are full, and two busy clients seldom share one.
const BUCKETS_MAX: u64 = 65_536;
/// Solutions of one client address that are checked: a household tries a few times; each costs up to a quarter
/// of a second.
const SOLUTIONS: Rate = Rate { per_s: NonZeroU32::MIN, burst: number(6) };
/// Solutions of one challenge that are checked: what its seal cost is worth no more. The second is for an answer that
/// was lost.
const CHECKS_OF_A_CHALLENGE: NonZeroU32 = number(2);
/// After this one more is, which makes room in the bucket for another challenge; a challenge lives for an hour.
const CHECKED_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Stamps that count as one call of an account more: signing a hundred takes about two milliseconds.
const STAMPS_A_CALL: usize = 100;

/// So many calls a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls a second that go on for ever.
    pub per_s: NonZeroU32,
    /// Calls at once.
    pub burst: NonZeroU32,
}

/// The limits of an office.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one client address; of IPv6 one /64, which is one customer's.
    pub address: Rate,
    /// Of one account, over all addresses; an order counts one more for every hundred stamps begun.
    pub account: Rate,
    /// Codes of vouchers and proofs of work, of one client address and of one account each: who types them off paper is
    /// never so fast.
    pub guesses: Rate,
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// From the first octet of a request, or the end of the one before, to the end of its header.
    pub header_time: Duration,
    /// A whole request, its body and the making of its answer.
    pub request_time: Duration,
    /// After this a connection is closed at the next pause.
    pub connection_time: Duration,
}

impl Default for Limits {
    /// A house full of senders fits behind one address; an account can buy 2,000 stamps a second. A connection costs
    /// about 20 kilobytes. The largest order takes a fraction of a second: the times are for slow lines, and so that a
    /// client that does not read its answers keeps no place.
    fn default() -> Self {
        let rate = Rate { per_s: number(20), burst: number(200) };
        Self {
            address: rate,
            account: rate,
            guesses: Rate { per_s: number(1), burst: number(20) },
            connections: 512,
            header_time: Duration::from_secs(15),
            request_time: Duration::from_secs(20),
            connection_time: Duration::from_secs(120),
        }
    }
}

const fn number(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

/// Who has called how often.
pub struct Counters {
    addresses: DefaultKeyedRateLimiter<u64>,
    accounts: DefaultKeyedRateLimiter<u64>,
    solutions: DefaultKeyedRateLimiter<u64>,
    challenges: DefaultKeyedRateLimiter<u64>,
    guesses: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Counters {
    /// Nobody has called yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let limiter = |rate: Rate| RateLimiter::keyed(Quota::per_second(rate.per_s).allow_burst(rate.burst));
        let checks = Quota::with_period(CHECKED_AGAIN_AFTER).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        Self {
            challenges: RateLimiter::keyed(checks.allow_burst(CHECKS_OF_A_CHALLENGE)),
            addresses: limiter(limits.address),
            accounts: limiter(limits.account),
            solutions: limiter(SOLUTIONS),
            guesses: limiter(limits.guesses),
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a call of an account, and of an order its stamps.
    ///
    /// # Errors
    /// 429 with the seconds to wait.
    pub fn account(&self, account: AccountKey, stamps: usize) -> Result<(), Problem> {
        let calls = u32::try_from(1 + stamps.div_ceil(STAMPS_A_CALL)).unwrap_or(u32::MAX);
        self.count(&self.accounts, "account", account, number(calls))
    }

    /// Counts a solution that is to be checked.
    ///
    /// # Errors
    /// 429 with the seconds to wait.
    pub fn solution(&self, client: Option<IpAddr>) -> Result<(), Problem> {
        self.count(&self.solutions, "address", client.map(network), NonZeroU32::MIN)
    }

    /// Counts a solution of this challenge that is to be checked; false when there were too many.
    #[must_use]
    pub fn challenge(&self, id: &[u8; 16]) -> bool {
        self.challenges.check_key(&(self.hasher.hash_one(id) % BUCKETS_MAX)).is_ok()
    }

    /// Counts a code or a proof that the ledger is to be asked about.
    ///
    /// # Errors
    /// 429 with the seconds to wait.
    pub fn guess(&self, client: Option<IpAddr>, account: AccountKey) -> Result<(), Problem> {
        let from = ("address", client.map(network));
        self.count(&self.guesses, "address", from, NonZeroU32::MIN)?;
        self.count(&self.guesses, "account", ("account", account), NonZeroU32::MIN)
    }

    fn address(&self, client: Option<IpAddr>) -> Result<(), Problem> {
        self.count(&self.addresses, "address", client.map(network), NonZeroU32::MIN)
    }

    fn count(
        &self,
        limiter: &DefaultKeyedRateLimiter<u64>,
        what: &str,
        who: impl Hash,
        calls: NonZeroU32,
    ) -> Result<(), Problem> {
        let bucket = self.hasher.hash_one(who) % BUCKETS_MAX;
        match limiter.check_key_n(&bucket, calls) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Err(Problem::too_many(what, wait.as_secs() + 1))
            }
            // More than a full bucket holds: only a rate below one order's could mean it.
            Err(_) => Err(Problem::too_many(what, 60)),
        }
    }
}

/// From where a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over the unix socket: the site's web server.
    Unix,
}

/// Turns away clients that call too often.
pub async fn by_address(
    State(office): State<SharedOffice>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    office.counters().address(client_of(&request))?;
    Ok(next.run(request).await)
}

/// Whose request it is, as far as that is known.
pub fn client_of(request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer::Unix);
    client(peer, request.headers())
}

/// The client's address. X-Forwarded-For is believed only of a web server on this machine, and only its last entry,
/// which that server wrote itself. `None`: the web server does not say, and all its clients are one.
fn client(peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
    let direct = match peer {
        Peer::Tcp(address) => Some(address.ip().to_canonical()),
        Peer::Unix => None,
    };
    if direct.is_some_and(|ip| !ip.is_loopback()) {
        return direct;
    }
    let last = headers.get_all("x-forwarded-for").iter().next_back();
    let text = last.and_then(|value| value.to_str().ok())?.rsplit(',').next()?.trim();
    let ip = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}

/// What one customer has: an IPv4 address, or a /64 of IPv6.
fn network(ip: IpAddr) -> IpAddr {
    first_of(ip, 32, 64)
}

/// The first address of a client's network, of so many bits.
fn first_of(ip: IpAddr, bits_of_v4: u32, bits_of_v6: u32) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - bits_of_v4).unwrap_or_default();
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - bits_of_v6).unwrap_or_default();
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

/// Clients that share what is given to each network: an IPv4 /24 or an IPv6 /48, as much as one site is commonly given. Those of
/// whom the web server does not say where they are share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbours(Option<IpAddr>);

impl Neighbours {
    const BITS_OF_V4: u32 = 24;
    const BITS_OF_V6: u32 = 48;

    /// Those of a client.
    #[must_use]
    pub fn of(client: Option<IpAddr>) -> Self {
        Self(client.map(|ip| first_of(ip, Self::BITS_OF_V4, Self::BITS_OF_V6)))
    }

    /// Names them in the ledger.
    #[must_use]
    pub fn key(&self) -> NetworkKey {
        match self.0 {
            Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped().octets(),
            Some(IpAddr::V6(ip)) => ip.octets(),
            None => [0; 16],
        }
    }
}

impl fmt::Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ip) => {
                let bits = if ip.is_ipv4() { Self::BITS_OF_V4 } else { Self::BITS_OF_V6 };
                write!(f, "the network {ip}/{bits}")
            }
            None => f.write_str("the network that this call came from"),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(forwarded: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("X-Forwarded-For", HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_a_web_server_on_this_machine_may_name_the_client() {
        let far = Peer::Tcp("192.0.2.9:1234".parse().unwrap());
        let near = Peer::Tcp("127.0.0.1:1234".parse().unwrap());
        let mapped = Peer::Tcp("[::ffff:192.0.2.9]:1234".parse().unwrap());
        let table: &[(Peer, &[&'static str], Option<&str>)] = &[
            (far, &[], Some("192.0.2.9")),
            (far, &["198.51.100.1"], Some("192.0.2.9")),
            (mapped, &["198.51.100.1"], Some("192.0.2.9")),
            (near, &["198.51.100.1"], Some("198.51.100.1")),
            (near, &["203.0.113.7, 198.51.100.1"], Some("198.51.100.1")),
            (near, &["203.0.113.7", "198.51.100.1"], Some("198.51.100.1")),
            (Peer::Unix, &["[2001:db8::1]:443"], Some("2001:db8::1")),
            (Peer::Unix, &["2001:db8::1"], Some("2001:db8::1")),
            (Peer::Unix, &["unknown"], None),
            (Peer::Unix, &[], None),
            (near, &[], None),
        ];
        for (peer, forwarded, ip) in table {
            let found = client(*peer, &headers(forwarded)).map(|ip| ip.to_string());
            assert_eq!(found.as_deref(), *ip, "{peer:?} {forwarded:?}");
        }
    }

    #[test]
    fn neighbours_share_a_network() {
        let shown = |ip: &str| Neighbours::of(Some(ip.parse().unwrap())).to_string();
        assert_eq!(shown("192.0.2.77"), "the network 192.0.2.0/24");
        assert_eq!(shown("2001:db8:1:2:3::4"), "the network 2001:db8:1::/48");
        let key = |ip: Option<&str>| Neighbours::of(ip.map(|ip| ip.parse().unwrap())).key();
        assert_eq!(key(Some("192.0.2.1")), key(Some("192.0.2.254")));
        assert_ne!(key(Some("192.0.2.1")), key(Some("192.0.3.1")));
        assert_eq!(key(Some("2001:db8:1::1")), key(Some("2001:db8:1:ffff::1")));
        assert_ne!(key(Some("2001:db8:1::1")), key(Some("2001:db8:2::1")));
        assert_eq!(key(None), [0; 16]);
        assert_ne!(key(Some("192.0.2.1")), key(None));
    }

    #[test]
    fn one_customer_one_rate() {
        let rate = Rate { per_s: number(1), burst: number(2) };
        let counters = Counters::new(Limits { address: rate, account: rate, ..Limits::default() });
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        counters.address(ip("2001:db8::1")).unwrap();
        counters.address(ip("2001:db8::2")).unwrap();
        let problem = counters.address(ip("2001:db8::3")).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.retry_after_s), (429, Some(1)));
        counters.address(ip("2001:db8:0:1::1")).unwrap();
        counters.address(None).unwrap();
    }

    #[test]
    fn an_order_counts_by_its_stamps() {
        let account = Rate { per_s: number(1), burst: number(12) };
        let counters = Counters::new(Limits { account, ..Limits::default() });
        counters.account(AccountKey([1; 32]), 1_000).unwrap();
        counters.account(AccountKey([1; 32]), 0).unwrap();
        assert_eq!(counters.account(AccountKey([1; 32]), 0).unwrap_err().status.as_u16(), 429);
        counters.account(AccountKey([2; 32]), 1).unwrap();
        let problem = counters.account(AccountKey([3; 32]), 10_000).unwrap_err();
        assert_eq!(problem.status.as_u16(), 429, "more than the bucket ever holds");
    }

    #[test]
    fn guesses_count_for_address_and_account() {
        let guesses = Rate { per_s: number(1), burst: number(3) };
        let counters = Counters::new(Limits { guesses, ..Limits::default() });
        let ip = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let refused = |client, account: u8| {
            let problem = counters.guess(client, AccountKey([account; 32])).err()?;
            Some((problem.status.as_u16(), problem.retry_after_s, problem.detail.contains("account")))
        };
        for account in 1..=3 {
            assert_eq!(refused(ip(1), account), None);
        }
        assert_eq!(refused(ip(1), 4), Some((429, Some(1), false)), "one address, many accounts");
        for address in 2..=4 {
            assert_eq!(refused(ip(address), 9), None);
        }
        assert_eq!(refused(ip(5), 9), Some((429, Some(1), true)), "one account, many addresses");
        assert_eq!(refused(ip(6), 5), None);
    }

    #[test]
    fn a_million_callers_cost_no_more_than_the_buckets() {
        let counters = Counters::new(Limits::default());
        for n in 0..200_000_u32 {
            let _ = counters.address(Some(IpAddr::V4(n.into())));
        }
        assert!(counters.addresses.len() <= usize::try_from(BUCKETS_MAX).unwrap());
    }
}
