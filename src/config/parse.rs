//! From the document to the checked configuration, section by section, in the order of INTERFACE.md.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{
    Commands, Config, Fault, Franking, Gate, Identity, IdentityCheck, Ledger, LedgerUrl, ListenHttp, Log,
    Logins, Mixed, Mode, Office, OnTrouble, Smarthost,
    read::{Document, Section},
};
use crate::{
    address::{Domain, shown},
    clock::DAY_S,
    identity::forwarder::Forwarders,
    money::{Currency, Micros, STAMP_VALUE_MAX},
    office::{PAGE_WORK_BITS_MAX, PAGE_WORK_BITS_MIN},
    stamp::records::is_office_url,
};

/// Hashcash bits nobody should ask for: a day's work of a fast machine.
const WORK_BITS_MAX: u32 = 40;
/// Work on the page of a refusal: about half a minute of a laptop, some minutes of an old phone.
const PAGE_WORK_BITS_DEFAULT: u32 = 11;
/// Stamps may be valid for less than 400 days (SPEC.md §3), rounding to the end of a day included.
const STAMP_LIFETIME_MAX_S: u64 = 399 * DAY_S;
/// A refund window longer than this keeps money in the air for no one's good.
const REFUND_WINDOW_MAX_S: u64 = 366 * DAY_S;

/// Where the MTA reaches the milter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `unix:PATH`
    Unix(PathBuf),
    /// `inet:HOST:PORT`
    Inet(SocketAddr),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inet(addr) => write!(f, "inet:{addr}"),
        }
    }
}

pub fn config(text: &str, path: &Path) -> Result<Config, Vec<Fault>> {
    let mut doc = Document::parse(text);
    let base = path.parent().unwrap_or(Path::new("."));
    if !doc.faults.is_empty() {
        // After a syntax error every key reads as left out; only the error itself is news.
        return Err(doc.faults);
    }
    let gate = gate(doc.section("gate"), base);
    let office = doc.has("office").then(|| office(doc.section("office"), base));
    if office.is_none() {
        doc.section("office").finish();
    }
    let ledger = ledger(doc.section("ledger"), base);
    let identity = identity(doc.section("identity"));
    let dns = {
        let mut section = doc.section("dns");
        let servers = section.parsed_list("servers", &[], |text| socket_addr(text, Some(53)));
        section.finish();
        servers
    };
    let commands = commands(doc.section("commands"));
    let franking = doc.has("franking").then(|| franking(doc.section("franking"), base));
    if franking.is_none() {
        doc.section("franking").finish();
    }
    let log = log(doc.section("log"));
    let metrics = {
        let mut section = doc.section("metrics");
        let listen = section.parsed("listen", "", |text| optional(text, |t| socket_addr(t, None)));
        section.finish();
        listen.flatten()
    };
    let mut faults = doc.finish();
    match (gate, office.transpose_ok(), ledger, commands, franking.transpose_ok()) {
        (Some(gate), Some(office), Some(ledger), Some(commands), Some(franking)) if faults.is_empty() => {
            Ok(Config {
                path: path.to_path_buf(),
                gate,
                office,
                ledger,
                identity,
                dns,
                commands,
                franking,
                log,
                metrics,
            })
        }
        _ => {
            if faults.is_empty() {
                faults.push(Fault { line: 0, text: "the configuration is incomplete".into() });
            }
            Err(faults)
        }
    }
}

/// `Option<Option<T>>` where the outer `None` means "left out", which is fine, and the inner one "wrong".
trait TransposeOk<T> {
    fn transpose_ok(self) -> Option<Option<T>>;
}

impl<T> TransposeOk<T> for Option<Option<T>> {
    fn transpose_ok(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(inner) => inner.map(Some),
        }
    }
}

fn gate(mut s: Section<'_, '_>, base: &Path) -> Option<Gate> {
    let listen = s.parsed_list("listen", &["unix:/run/farthing/milter.sock"], |t| listen(t, base));
    if listen.is_empty() && s.is_unexplained("listen") {
        s.fault("listen", "at least one listener is needed, like unix:/run/farthing/milter.sock");
    }
    let socket_mode = s.parsed("socket_mode", "0660", octal_mode);
    let socket_group = s.text("socket_group").unwrap_or_default();
    let hostname = s.parsed("hostname", "", hostname);
    let mut domains: Vec<Domain> = Vec::new();
    for texts in s.parsed_list("domains", &[], |t| lines_or_item(t, base)) {
        for text in texts {
            match Domain::from_any(&text) {
                Ok(domain) => domains.push(domain),
                Err(e) => s.fault("domains", e),
            }
        }
    }
    if domains.is_empty() && s.is_unexplained("domains") {
        s.fault("domains", "name at least one mail domain to guard, like [\"b.example\"]");
    }
    domains.sort();
    domains.dedup();
    let mode = s.choice(
        "mode",
        Mode::Observe,
        &[("observe", Mode::Observe), ("tag", Mode::Tag), ("hold", Mode::Hold), ("require", Mode::Require)],
    );
    let price = s.parsed("price", "0.25c", stamp_value);
    let max_price = s.parsed("max_price", "10c", stamp_value);
    if let (Some(price), Some(max)) = (price, max_price)
        && price > max
    {
        s.fault("price", format!("{price} is more than max_price, {max}"));
    }
    let work_bits = s.integer("work_bits", 0, WORK_BITS_MAX).unwrap_or(0);
    let work_daily = s.integer("work_daily", 0, 100_000).unwrap_or(3);
    let offices_listed = s.has("accept_offices");
    let accept_offices = s.parsed_list("accept_offices", &[], Domain::from_any);
    let accept_offices = offices_listed.then_some(accept_offices);
    let office_cap = s.parsed("office_cap", "100.00", str::parse);
    let exempt_networks = s.parsed_list("exempt_networks", &["127.0.0.0/8", "::1"], network);
    let relays = s.parsed_list("relays", &[], network);
    let srs = s.boolean("srs").unwrap_or(false);
    let mixed = s.choice("mixed", Mixed::Split, &[("split", Mixed::Split), ("strictest", Mixed::Strictest)]);
    let logins = s.parsed("logins", "", |t| Logins::parse(t, base));
    let on_trouble = s.choice(
        "on_trouble",
        OnTrouble::Tempfail,
        &[("tempfail", OnTrouble::Tempfail), ("accept", OnTrouble::Accept)],
    );
    s.finish();
    Some(Gate {
        listen,
        socket_mode: socket_mode?,
        socket_group,
        hostname: hostname?,
        domains,
        mode,
        price: price?,
        max_price: max_price?,
        work_bits,
        work_daily,
        accept_offices,
        office_cap: office_cap?,
        exempt_networks,
        relays,
        srs,
        mixed,
        logins: logins?,
        on_trouble,
    })
}

fn office(mut s: Section<'_, '_>, base: &Path) -> Option<Office> {
    let domain = s.text("domain");
    let domain = match domain {
        None => {
            s.fault("domain", "the office needs its domain, the name that stands in its stamps");
            None
        }
        Some(text) => Domain::from_any(&text).map_err(|e| s.fault("domain", e)).ok(),
    };
    let listen = s.parsed("listen", "127.0.0.1:8895", |text| match text.strip_prefix("unix:") {
        Some(path) => Ok(ListenHttp::Unix(base.join(path))),
        None => socket_addr(text, None).map(ListenHttp::Tcp),
    });
    // Without a domain there is no office to name a URL of.
    let default_url =
        domain.as_ref().map_or_else(|| "https://office.invalid/".into(), |d| format!("https://{d}/"));
    let url = s.parsed("url", &default_url, office_url);
    let keys = s.text("keys").unwrap_or_else(|| "/var/lib/farthing/keys".into());
    let stamp_lifetime_s = s.parsed("stamp_lifetime", "90d", |t| duration(t, 86_400, STAMP_LIFETIME_MAX_S));
    let grant: Option<Micros> = s.parsed("grant", "0", str::parse);
    let grant_bits = s.integer("grant_bits", 1, WORK_BITS_MAX).unwrap_or(26);
    let grant_daily = s.parsed("grant_daily", "1.00", str::parse);
    let page_work_bits = match s.integer("page_work_bits", 0, PAGE_WORK_BITS_MAX) {
        Some(bits @ 1..PAGE_WORK_BITS_MIN) => {
            let least = PAGE_WORK_BITS_MIN;
            s.fault("page_work_bits", format_args!("{bits} is too little; 0 for none, or at least {least}"));
            bits
        }
        other => other.unwrap_or(PAGE_WORK_BITS_DEFAULT),
    };
    if let (Some(grant), Some(daily)) = (grant, grant_daily)
        && grant > daily
    {
        s.fault("grant_daily", format!("a day's budget of {daily} is less than one grant of {grant}"));
    }
    let stripe_secret_file = s.parsed("stripe_secret_file", "", |text| secret_file(text, base)).flatten();
    let payment_url = s.parsed("payment_url", "", payment_url).flatten();
    s.finish();
    Some(Office {
        domain: domain?,
        listen: listen?,
        url: url?,
        keys: base.join(keys),
        stamp_lifetime_s: stamp_lifetime_s?,
        grant: grant?,
        grant_bits,
        grant_daily: grant_daily?,
        page_work_bits,
        stripe_secret_file,
        payment_url,
    })
}

fn ledger(mut s: Section<'_, '_>, base: &Path) -> Option<Ledger> {
    let url = s.parsed("url", "sqlite:/var/lib/farthing/ledger.db", |text| ledger_url(text, base));
    let currency = s.parsed("currency", "USD", str::parse::<Currency>);
    let refund_window_s = s.parsed("refund_window", "30d", |t| duration(t, 60, REFUND_WINDOW_MAX_S));
    let keep_in_treasury = s.choice("keep", true, &[("treasury", true), ("burn", false)]);
    s.finish();
    Some(Ledger { url: url?, currency: currency?, refund_window_s: refund_window_s?, keep_in_treasury })
}

fn identity(mut s: Section<'_, '_>) -> Identity {
    let check = s.choice(
        "check",
        IdentityCheck::Verify,
        &[
            ("verify", IdentityCheck::Verify),
            ("results", IdentityCheck::Results),
            ("none", IdentityCheck::None),
        ],
    );
    let trusted = s.list("trusted").unwrap_or_default();
    if check == IdentityCheck::Results && trusted.is_empty() {
        s.fault("trusted", "check = \"results\" needs the authserv-ids whose results are believed");
    }
    let learn_from_sent = s.boolean("learn_from_sent").unwrap_or(true);
    let own_domains_known = s.boolean("own_domains_known").unwrap_or(true);
    let forwarders = Forwarders(s.parsed_list("forwarders", &[], str::parse));
    if check != IdentityCheck::Verify && !forwarders.0.is_empty() {
        s.fault("forwarders", "what a forwarder saw is looked into only with check = \"verify\"");
    }
    s.finish();
    Identity { check, trusted, learn_from_sent, own_domains_known, forwarders }
}

fn commands(mut s: Section<'_, '_>) -> Option<Commands> {
    let address = s.parsed("address", "postage", |text| {
        let ok = !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b));
        if ok { Ok(text.to_owned()) } else { Err("it is a local part of a-z, 0-9, -, . and _, like postage") }
    });
    let smtp = s.parsed("smtp", "smtp://127.0.0.1:25", |text| {
        smarthost(text).ok_or("write smtp://127.0.0.1:25 or sendmail:/usr/sbin/sendmail")
    });
    s.finish();
    Some(Commands { address: address?, smtp: smtp? })
}

/// `smtp://HOST`, `smtp://HOST:PORT`, an IPv6 address in brackets, or `sendmail:` and an absolute path.
fn smarthost(text: &str) -> Option<Smarthost> {
    if let Some(path) = text.strip_prefix("sendmail:") {
        return path.starts_with('/').then(|| Smarthost::Sendmail(path.into()));
    }
    let place = text.strip_prefix("smtp://")?;
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let in_brackets = place.starts_with('[');
    let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if host.is_empty() || !(in_brackets || is_name) {
        return None;
    }
    let port = match port {
        None => Smarthost::PORT_DEFAULT,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|p| *p > 0)?
        }
        Some(_) => return None,
    };
    Some(Smarthost::Smtp { host: host.to_ascii_lowercase(), port })
}

fn franking(mut s: Section<'_, '_>, base: &Path) -> Option<Franking> {
    let wallet = s.text("wallet").unwrap_or_else(|| "/var/lib/farthing/franking.wallet".into());
    let ahead = s.integer("ahead", 1, crate::ledger::franking::BOUGHT_AT_ONCE_MAX).unwrap_or(5);
    let max_price = s.parsed("max_price", "1c", stamp_value);
    let per_letter = s.parsed("per_letter", "10c", str::parse);
    let per_user = s.parsed("per_user", "0.25", str::parse);
    let per_day = s.parsed("per_day", "5.00", str::parse);
    let waits = s.choice("missing", true, &[("defer", true), ("send", false)]);
    let by_login = s.choice("pays", false, &[("site", false), ("login", true)]);
    s.finish();
    Some(Franking {
        wallet: base.join(wallet),
        ahead,
        max_price: max_price?,
        per_letter: per_letter?,
        per_user: per_user?,
        per_day: per_day?,
        waits,
        by_login,
    })
}

fn log(mut s: Section<'_, '_>) -> Log {
    use tracing::Level;
    let level = s.choice(
        "level",
        Level::INFO,
        &[
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ],
    );
    let json = s.choice("format", false, &[("text", false), ("json", true)]);
    s.finish();
    Log { level, json }
}

fn optional<T, E>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, E> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

fn listen(text: &str, base: &Path) -> Result<Listen, String> {
    match text.split_once(':') {
        Some(("unix", path)) if !path.is_empty() => Ok(Listen::Unix(base.join(path))),
        Some(("inet", addr)) => socket_addr(addr, None).map(Listen::Inet),
        _ => Err(format!(
            "`{}` is no listener; write unix:/PATH or inet:127.0.0.1:8894",
            shown(text.as_bytes())
        )),
    }
}

/// `HOST:PORT`, where HOST is a literal address or `localhost`: no name that DNS would have to answer for.
fn socket_addr(text: &str, default_port: Option<u16>) -> Result<SocketAddr, String> {
    let fault = || format!("`{}` is not ADDRESS:PORT, like 127.0.0.1:8894", shown(text.as_bytes()));
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    if let (Some(port), Ok(ip)) = (default_port, text.parse::<std::net::IpAddr>()) {
        return Ok(SocketAddr::new(ip, port));
    }
    match text.strip_prefix("localhost:") {
        Some(_) => text.to_socket_addrs().ok().and_then(|mut a| a.next()).ok_or_else(fault),
        None => Err(fault()),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map(|net| net.trunc())
        .map_err(|_| format!("`{}` is not a network, like 192.0.2.0/24 or ::1", shown(text.as_bytes())))
}

fn stamp_value(text: &str) -> Result<Micros, String> {
    let value: Micros = text.parse().map_err(|e: crate::money::AmountError| e.to_string())?;
    if value > Micros::ZERO && value <= STAMP_VALUE_MAX {
        Ok(value)
    } else {
        Err(format!("a stamp is worth 0.0001c to {STAMP_VALUE_MAX}"))
    }
}

/// A number of seconds between `least` and `most`: `90d`, `12h`, `30m`, `45s`.
fn duration(text: &str, least_s: u64, most_s: u64) -> Result<u64, String> {
    let fault = || format!("`{}` is not a time, like 90d, 12h, 30m or 45s", shown(text.as_bytes()));
    let unit_s = match text.as_bytes().last() {
        Some(b'd') => 86_400,
        Some(b'h') => 3_600,
        Some(b'm') => 60,
        Some(b's') => 1,
        _ => return Err(fault()),
    };
    let count = text.get(..text.len() - 1).unwrap_or_default();
    if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fault());
    }
    let seconds = count.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_s)).unwrap_or(u64::MAX);
    if (least_s..=most_s).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("it must be from {} to {}", shown_duration(least_s), shown_duration(most_s)))
    }
}

/// A number of seconds as a person would write it.
fn shown_duration(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let unit = units.into_iter().find(|(unit_s, _)| seconds >= *unit_s && seconds.is_multiple_of(*unit_s));
    unit.map_or_else(|| format!("{seconds}s"), |(unit_s, letter)| format!("{}{letter}", seconds / unit_s))
}

fn octal_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("`{}` is not a mode in octal, like 0660", shown(text.as_bytes())))
}

fn hostname(text: &str) -> Result<String, String> {
    let name = if text.is_empty() {
        rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
    } else {
        text.to_ascii_lowercase()
    };
    // It stands in a header field: an atom and dots, nothing that could end the field.
    let ok = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if ok { Ok(name) } else { Err(format!("`{}` is not a host name", shown(name.as_bytes()))) }
}

fn office_url(text: &str) -> Result<String, String> {
    let fault =
        || format!("`{}` is not a URL of http or https, like https://b.example/", shown(text.as_bytes()));
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(fault)?;
    if rest.is_empty()
        || rest.starts_with('/')
        || !text.bytes().all(|b| b.is_ascii_graphic())
        || text.contains(['?', '#', '"', '<', '>'])
    {
        return Err(fault());
    }
    // Senders take no other: the whole record that names it would count for nothing.
    if !is_office_url(text) {
        return Err(format!(
            "`{text}` is nothing senders go to: write https://, or http:// only on loopback"
        ));
    }
    Ok(if text.ends_with('/') { text.to_owned() } else { format!("{text}/") })
}

/// The site where customers pay, or none: https, for it takes their cards, but on loopback.
fn payment_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if !is_office_url(text) || text.contains(['#', '"', '\'', '<', '>', '\\']) {
        let shown = shown(text.as_bytes());
        return Err(format!("`{shown}` is not a URL of https, like https://buy.stripe.com/…"));
    }
    if text.contains("client_reference_id=") {
        return Err("leave client_reference_id out: each customer's account is put there".into());
    }
    Ok(Some(text.to_owned()))
}

/// A path, and not by a slip of the hand what should stand in that file; which is not repeated.
fn secret_file(text: &str, base: &Path) -> Result<Option<PathBuf>, &'static str> {
    if text.starts_with("whsec_") {
        return Err(
            "this is the secret itself; put it into a file that nobody else can read, and name the file here",
        );
    }
    Ok((!text.is_empty()).then(|| base.join(text)))
}

fn ledger_url(text: &str, base: &Path) -> Result<LedgerUrl, String> {
    match text.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(LedgerUrl::Sqlite(base.join(path))),
        _ => Err(format!("`{}` is no ledger; write sqlite:/PATH", shown(text.as_bytes()))),
    }
}

/// `file:PATH` is the lines of that file, empty lines and `#` comments left out; anything else is itself.
fn lines_or_item(text: &str, base: &Path) -> Result<Vec<String>, String> {
    let Some(path) = text.strip_prefix("file:") else { return Ok(vec![text.to_owned()]) };
    Ok(content_lines(&base.join(path))?.into_iter().map(|(_, line)| line).collect())
}

/// The lines of a file with their numbers, comments left out, and lines in which nothing else stands.
pub(super) fn content_lines(path: &Path) -> Result<Vec<(usize, String)>, String> {
    let content =
        std::fs::read_to_string(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    let bare = content.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    Ok(bare
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(n, line)| (n + 1, line.to_owned()))
        .collect())
}
