//! Is everything well? What `farthingd --check` looks at before a start and `farthing status` beside a running daemon.
//!
//! Looks only: binds, makes and changes nothing. Every fault says the line to type.

use std::{
    net::{IpAddr, Ipv4Addr, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use axum::http::Uri;
use serde::Serialize;

use crate::{
    address::Domain,
    cli::shown_time,
    clock::{DAY_S, unix_now},
    config::{self, Config, LedgerUrl, Listen, ListenHttp, Smarthost},
    daemon::{self, Missing},
    discovery::Discovery,
    dns::DnsTrouble,
    gate::Site,
    ledger::{
        Ledger as _,
        copies::Copies as _,
        foreign::{Foreign as _, Standing},
        franking::{Franking as _, Purse},
        marks::Marks as _,
        outbox::{Outbox as _, OutboxState},
        settling::Settling as _,
        sqlite::{self, SqliteLedger},
    },
    office::webhook,
    reporter, settler,
    stamp::records::{self, MailPolicy, RecordError},
};

/// How long a listener may take to accept.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// Postage that is due for longer than this is not settled: the daemon does it every hour.
const LAG_MAX_S: u64 = 2 * DAY_S;
/// An order that is not answered for longer than this, in seconds, is in somebody's way.
const ORDER_LAG_MAX_S: u64 = 6 * 3_600;
/// An office that takes no refunds for longer than this is not only down for the night.
const REPORT_LAG_MAX_S: u64 = 2 * DAY_S;
/// 2026-01-01: a clock before it is wrong, for this program is younger.
const CLOCK_LEAST_S: u64 = 1_767_225_600;

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// How it is, and when it is not well what to type.
    pub detail: String,
}

impl Check {
    fn of(name: impl Into<String>, found: Result<String, String>) -> Self {
        let ok = found.is_ok();
        Self { name: name.into(), ok, detail: found.unwrap_or_else(|fault| fault) }
    }
}

/// What is asked for and not carried out by this version; said at the start and by `--check`.
#[must_use]
pub fn notes(config: &Config) -> Vec<String> {
    let mut notes = vec![];
    if config.metrics.is_some() {
        notes.push("[metrics] listen is not carried out by this version: no metrics are served".into());
    }
    notes
}

/// Configuration, keys, ledger and listeners, before a start.
#[must_use]
pub fn before_start(config: Config) -> Vec<Check> {
    let mut checks = vec![Check::of("ledger", ledger_file(&config))];
    for listen in &config.gate.listen {
        checks.push(Check::of(format!("listener {listen}"), can_listen(listen)));
    }
    if let Err(error) = daemon::socket_group(&config) {
        checks.push(Check::of("listener", Err(error.to_string())));
    }
    if let Some(office) = &config.office
        && let ListenHttp::Unix(path) = &office.listen
    {
        checks.push(Check::of(format!("listener unix:{}", path.display()), has_directory(path)));
    }
    checks.extend(payments(&config));
    checks.extend(asked_for(&config));
    checks.extend(places(&config));
    checks.push(match daemon::site(config, Missing::Leave) {
        Ok(site) => Check::of("keys", keys(&site)),
        Err(e) => Check::of("keys", Err(e.to_string())),
    });
    checks
}

/// What the daemon makes at its first start besides the ledger needs a directory to stand in.
fn places(config: &Config) -> Vec<Check> {
    let keys = config.office.as_ref().map(|office| ("keys", &office.keys));
    let wallet = config.franking.as_ref().map(|franking| ("franking", &franking.wallet));
    let missing = [keys, wallet].into_iter().flatten().filter(|(_, path)| !path.exists());
    missing.map(|(name, path)| Check::of(name, has_directory(path))).collect()
}

/// Everything, beside the running daemon.
pub async fn running(config: Config) -> Vec<Check> {
    let mut checks = vec![Check::of("clock", clock())];
    for listen in &config.gate.listen {
        checks.push(Check::of(format!("milter {listen}"), answers(listen)));
        if let Listen::Unix(path) = listen {
            checks.push(Check::of(format!("rights of {}", path.display()), reachable_by_mta(path)));
        }
    }
    if let Some(office) = &config.office {
        let listen = match &office.listen {
            ListenHttp::Tcp(address) => Listen::Inet(*address),
            ListenHttp::Unix(path) => Listen::Unix(path.clone()),
        };
        checks.push(Check::of(format!("office {listen}"), answers(&listen)));
    }
    checks.extend(ledger(&config).await);
    checks.extend(payments(&config));
    checks.push(Check::of("postage due", postage_due(&config).await));
    if config.takes_foreign_stamps() {
        checks.push(Check::of("other offices", other_offices(&config).await));
    }
    if let Some(franking) = &config.franking {
        checks.push(Check::of("franking", purse(&config, franking).await));
    }
    checks.push(Check::of("mail of ours at the gate", own_mail_is_exempt(&config)));
    checks.extend(asked_for(&config));
    match daemon::site(config, Missing::Leave) {
        Err(e) => checks.push(Check::of("keys", Err(e.to_string()))),
        Ok(site) => {
            checks.push(Check::of("keys", keys(&site)));
            checks.extend(published(&site).await);
            checks.extend(foreign_offices(&site).await);
        }
    }
    checks
}

/// What the configuration asks for that is not carried out, and how many logins it lists.
fn asked_for(config: &Config) -> Vec<Check> {
    let notes = notes(config).into_iter().map(|note| Check::of("configuration", Err(note)));
    let logins = config.gate.logins.counts().map(|(logins, addresses)| {
        Check::of("logins", Ok(format!("{logins} logins with {addresses} addresses")))
    });
    notes.chain(logins).collect()
}

/// The secrets of payment providers, where any are set.
fn payments(config: &Config) -> Option<Check> {
    let found = webhook::providers(config).map_err(|e| e.to_string());
    if found.as_ref().is_ok_and(Vec::is_empty) {
        return None;
    }
    let told = found.map(|all| {
        let paths: Vec<_> = all.iter().map(|provider| format!("v1/webhooks/{}", provider.name())).collect();
        format!("told of at {}", paths.join(", "))
    });
    Some(Check::of("payments", told))
}

fn clock() -> Result<String, String> {
    let now = unix_now();
    if now >= CLOCK_LEAST_S {
        return Ok("reads a time that can be".into());
    }
    Err("the clock is in the past; run: timedatectl set-ntp true".into())
}

fn ledger_file(config: &Config) -> Result<String, String> {
    let LedgerUrl::Sqlite(path) = &config.ledger.url;
    if path.exists() {
        return look_into_ledger(config).map(|_| format!("{} can be read", path.display()));
    }
    has_directory(path).map(|_| format!("{} will be made at the first start", path.display()))
}

fn look_into_ledger(config: &Config) -> Result<SqliteLedger, String> {
    let LedgerUrl::Sqlite(path) = &config.ledger.url;
    sqlite::open_read_only(path, daemon::ledger_options(config)).map_err(|e| e.to_string())
}

/// The books, and what waits in them.
async fn ledger(config: &Config) -> Vec<Check> {
    match open_healthy(config).await {
        Err(fault) => vec![Check::of("ledger", Err(fault))],
        Ok(ledger) => {
            let state = ledger.outbox_state().await.map_err(|e| e.to_string());
            let waiting = state.and_then(|state| outgoing(&state, &config.commands.smtp, unix_now()));
            let submitted = ledger.last_submission().await.map_err(|e| e.to_string());
            vec![
                Check::of("ledger", Ok("can be read and written".into())),
                Check::of("outgoing mail", waiting),
                Check::of("submission", submitted.and_then(|(last, any)| submission(config, last, any))),
            ]
        }
    }
}

async fn open_healthy(config: &Config) -> Result<SqliteLedger, String> {
    let LedgerUrl::Sqlite(path) = &config.ledger.url;
    if !path.exists() {
        return Err(format!("{} does not exist; run: systemctl start farthingd", path.display()));
    }
    let ledger = daemon::open_ledger(config).map_err(|e| e.to_string())?;
    ledger.health().await.map_err(|e| e.to_string())?;
    Ok(ledger)
}

/// Answers and digests that wait, and why.
fn outgoing(state: &OutboxState, smarthost: &Smarthost, now: u64) -> Result<String, String> {
    let Some(oldest) = state.oldest else { return Ok("nothing waits".into()) };
    let waits = format!(
        "{} to hand in, {} held back (one answer a minute); the oldest has waited for {} min",
        state.mails,
        state.answers,
        now.saturating_sub(oldest) / 60
    );
    match &state.last_error {
        None => Ok(waits),
        Some(error) => Err(not_taken(&waits, error, smarthost)),
    }
}

fn not_taken(what: &str, error: &str, smarthost: &Smarthost) -> String {
    format!("{what}; the last error: {error}; does {smarthost} take mail, and is [commands] smtp right?")
}

/// What we hand in on this machine comes back to the gate from a loopback address.
fn own_mail_is_exempt(config: &Config) -> Result<String, String> {
    let at = match &config.commands.smtp {
        Smarthost::Sendmail(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Smarthost::Smtp { host, .. } if host == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Smarthost::Smtp { host, .. } => match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => ip,
            _ => return Ok(format!("{} is not on this machine", config.commands.smtp)),
        },
    };
    if config.gate.exempt_networks.iter().any(|network| network.contains(&at)) {
        return Ok(format!("comes from {at}, which is exempt"));
    }
    Err(format!(
        "comes from {at} and would be asked for postage; add \"{at}\" to [gate] exempt_networks, then reload"
    ))
}

/// Whether the mail of the site's own users comes through the gate: without it no command and no answer can be known.
fn submission(config: &Config, last: Option<u64>, any_mail: bool) -> Result<String, String> {
    let domains = config.gate.domains.iter();
    let commands: Vec<_> = domains.filter_map(|d| config.command_address(d)).map(|a| a.to_string()).collect();
    let taken = format!(
        "commands go to {}; Postfix needs recipient_delimiter = + and an alias for it: farthing postfix prints them",
        commands.join(", ")
    );
    match last {
        Some(last) => Ok(format!("mail of a login came last on {}; {taken}", shown_time(last))),
        None if !any_mail => Ok(format!("no mail came yet; {taken}")),
        // No fault: a site may want no more than a gate in front of its mail.
        None => Ok(
            "mail came, but none of a login: commands and answers of users cannot be known; let submission \
                    go through the gate too, with the lines that farthing postfix prints"
                .into(),
        ),
    }
}

/// Whether postage is settled when it is due.
async fn postage_due(config: &Config) -> Result<String, String> {
    let (ledger, now) = (look_into_ledger(config)?, unix_now());
    let lag = ledger.lag(&settler::terms(config, now, now)).await.map_err(|e| e.to_string())?;
    let Some(oldest) = lag.oldest else { return Ok("all that is due is settled".into()) };
    let what = format!(
        "{} letters and {} orders of stamps are due, the oldest for {} hours",
        lag.unsettled,
        lag.unreturned,
        now.saturating_sub(oldest) / 3_600
    );
    if now.saturating_sub(oldest) <= LAG_MAX_S {
        return Ok(what);
    }
    let behind_s = lag.clock.map_or(0, |clock| now.saturating_sub(clock));
    if behind_s > LAG_MAX_S {
        let days = behind_s / DAY_S;
        return Err(format!(
            "{what}; settling is {days} days behind the clock and catches up a day an hour; is the clock right? run: timedatectl"
        ));
    }
    Err(format!("{what}; run: systemctl start farthingd, then journalctl -u farthingd"))
}

/// Whether other offices owe less than they may, and take the refunds they are told of.
async fn other_offices(config: &Config) -> Result<String, String> {
    let ledger = look_into_ledger(config)?;
    let standings = ledger.standings().await.map_err(|e| e.to_string())?;
    let (cap, now) = (config.gate.office_cap, unix_now());
    let mut faults = vec![];
    for Standing { office, outstanding, waiting, oldest, trouble } in &standings {
        if reporter::is_nearly(*outstanding, cap) {
            faults.push(format!(
                "{office} owes {outstanding} and may owe {cap}; is its customers' mail wanted? raise [gate] office_cap, or run: \
                 farthing office forgive {office} AMOUNT"
            ));
        }
        let waits_s = oldest.map_or(0, |oldest| now.saturating_sub(oldest));
        if let Some((why, _)) = trouble.as_ref().filter(|_| waits_s > REPORT_LAG_MAX_S) {
            let days = waits_s / DAY_S;
            faults.push(format!("{office} has taken none of {waiting} refunds for {days} days: {why}"));
        }
    }
    if faults.is_empty() {
        let owed = standings.iter().filter(|s| s.outstanding > crate::money::Micros::ZERO).count();
        return Ok(format!("{owed} owe for their stamps, none more than it may; refunds are reported"));
    }
    Err(faults.join("; "))
}

/// Stamps in hand for what users send, and what they have cost today.
async fn purse(config: &Config, franking: &config::Franking) -> Result<String, String> {
    let ledger = look_into_ledger(config)?;
    let Purse { in_hand, spent, lacking } = ledger.purse(unix_now()).await.map_err(|e| e.to_string())?;
    let count: u64 = in_hand.iter().map(|domain| domain.count).sum();
    let today = spent.iter().find(|(login, _)| login.is_empty()).map(|(_, spent)| *spent).unwrap_or_default();
    let orders = ledger.purse_orders().await.map_err(|e| e.to_string())?;
    let what = format!(
        "{count} stamps in hand for {} domains; {today} of {} put on letters today",
        in_hand.len(),
        franking.per_day
    );
    let copies = ledger.copies_state().await.map_err(|e| e.to_string())?;
    let what = match copies.oldest {
        None => what,
        Some(oldest) => format!(
            "{what}; {} copies wait for a stamp, {} to be handed in, the oldest for {} min",
            copies.unstamped,
            copies.ready,
            unix_now().saturating_sub(oldest) / 60
        ),
    };
    if let Some(domain) = lacking.first() {
        return Err(format!(
            "{what}; none for {domain}, where letters go without: journalctl -u farthingd | grep 'no stamps' says why; \
             where money lacks, it goes onto the account that this prints: farthing wallet show --wallet {}",
            franking.wallet.display()
        ));
    }
    if let Some(error) = copies.last_error {
        return Err(not_taken(&what, &error, &config.commands.smtp));
    }
    if let Some(order) = orders.iter().min_by_key(|order| order.time)
        && unix_now().saturating_sub(order.time) > ORDER_LAG_MAX_S
    {
        return Err(format!(
            "{what}; {} has not answered an order for hours; run: journalctl -u farthingd",
            order.office
        ));
    }
    Ok(what)
}

fn has_directory(path: &Path) -> Result<String, String> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = directory.display();
    if directory.is_dir() {
        return Ok(format!("{shown} is there"));
    }
    let make = "install -d -o farthing -g farthing -m 0750";
    Err(format!("the directory {shown} does not exist; run: {make} {shown}"))
}

fn can_listen(listen: &Listen) -> Result<String, String> {
    match listen {
        Listen::Unix(path) if path.exists() && !is_socket(path) => {
            Err(format!("{} exists and is no socket; name another path", path.display()))
        }
        Listen::Unix(path) => has_directory(path),
        Listen::Inet(_) => Ok("an address of the form it should have".into()),
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    path.metadata().is_ok_and(|m| m.file_type().is_socket())
}

fn answers(listen: &Listen) -> Result<String, String> {
    let connected = match listen {
        Listen::Unix(path) => UnixStream::connect(path).map(drop),
        Listen::Inet(address) => TcpStream::connect_timeout(address, CONNECT_TIME).map(drop),
    };
    connected.map(|()| "listens".into()).map_err(|e| {
        format!("nothing answers ({e}); run: systemctl start farthingd, then journalctl -u farthingd")
    })
}

/// Whether the MTA's user can come in: by everybody's rights, or by the socket's group.
fn reachable_by_mta(path: &Path) -> Result<String, String> {
    let metadata = path.metadata().map_err(|e| format!("{e}; run: systemctl start farthingd"))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o006 == 0o006 {
        return Ok(format!("mode {mode:04o}: everybody can connect"));
    }
    let gid = metadata.gid();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let group = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|g| g.get(2).and_then(|text| text.parse::<u32>().ok()) == Some(gid));
    let name = group.as_ref().and_then(|g| g.first().copied()).unwrap_or("?");
    if mode & 0o060 != 0o060 {
        return Err(format!(
            "mode {mode:04o} shuts the MTA out; set [gate] socket_mode = \"0660\" and restart"
        ));
    }
    let members = group.as_ref().and_then(|g| g.get(3).copied()).unwrap_or_default();
    if name == "postfix" || members.split(',').any(|member| member == "postfix") {
        return Ok(format!("mode {mode:04o}, group {name}: postfix can connect"));
    }
    Err(format!(
        "group {name} has no member postfix; run: adduser postfix {name}, then systemctl reload postfix"
    ))
}

fn keys(site: &Site) -> Result<String, String> {
    let (active, tokens) = (site.keys.signing().map(|key| key.selector.to_string()), site.keys.tokens.len());
    match (&site.config.office, active) {
        (Some(_), None) => Ok("none yet; the daemon makes them at its first start".into()),
        (Some(office), Some(selector)) => {
            Ok(format!("{} signs with {selector}; {tokens} for tokens", office.domain))
        }
        (None, Some(selector)) if site.config.takes_foreign_stamps() => {
            Ok(format!("no office; {selector} signs what is reported to others; {tokens} for tokens"))
        }
        (None, _) => Ok(format!("no office; {tokens} for tokens")),
    }
}

/// Wherein a published policy is not ours, the first thing that differs; `None` when senders are told what is so.
fn difference(published: &MailPolicy, ours: &MailPolicy) -> Option<String> {
    let offices = |policy: &MailPolicy| {
        let mut names: Vec<String> = policy.offices.iter().map(ToString::to_string).collect();
        names.sort();
        names.join(", ")
    };
    let url = |policy: &MailPolicy| policy.url.clone().unwrap_or_else(|| "nowhere".into());
    let work = |policy: &MailPolicy| policy.work_bits.unwrap_or(0);
    if published.price != ours.price {
        Some(format!("asks {}, the gate {}", published.price, ours.price))
    } else if published.currency != ours.currency {
        Some(format!("asks {}, the books are in {}", published.currency, ours.currency))
    } else if offices(published) != offices(ours) {
        Some(format!("names the offices {}, the gate takes stamps of {}", offices(published), offices(ours)))
    } else if url(published) != url(ours) {
        Some(format!("sends buyers to {}, the office is at {}", url(published), url(ours)))
    } else if work(published) != work(ours) {
        Some(format!("says work of {} bits, the gate takes {}; 0 is none", work(published), work(ours)))
    } else {
        None
    }
}

fn dns_trouble(trouble: &DnsTrouble) -> String {
    format!("{trouble}; is [dns] right, and the name server up?")
}

/// What DNS says against what we have.
async fn published(site: &Site) -> Vec<Check> {
    const PUBLISH: &str = "publish what `farthing key dns` prints";
    let mut checks = vec![];
    let signing = site.keys.signing();
    for (domain, key) in
        signing.iter().flat_map(|key| site.config.key_domains().into_iter().map(move |d| (d, key)))
    {
        let found = match site.discovery.office_key(domain, &key.selector).await {
            Ok(Ok(public)) if public.to_bytes() == key.public.to_bytes() => Ok("is what we sign with".into()),
            Ok(Ok(_)) => Err(format!("is another key than ours; {PUBLISH}")),
            Ok(Err(e)) => Err(format!("{e}; {PUBLISH}")),
            Err(e) => Err(dns_trouble(&e)),
        };
        checks.push(Check::of(format!("DNS {}", records::key_name(&key.selector, domain)), found));
    }
    let ours = site.config.mail_policy();
    for domain in &site.config.gate.domains {
        let found = match site.discovery.policy(domain).await {
            Ok(Ok(policy)) => match difference(&policy, &ours) {
                None => Ok(format!("asks {}", policy.price)),
                Some(said) => Err(format!("{said}; {PUBLISH}")),
            },
            Ok(Err(e)) => Err(format!("{e}; {PUBLISH}")),
            Err(e) => Err(dns_trouble(&e)),
        };
        checks.push(Check::of(format!("DNS {}", records::policy_name(domain)), found));
    }
    checks
}

/// Whether DNS knows the other offices whose stamps are taken. They are not called.
async fn foreign_offices(site: &Site) -> Vec<Check> {
    let mut checks = vec![];
    let ours = site.config.office.as_ref().map(|office| &office.domain);
    for office in site.config.accepted_offices().into_iter().filter(|office| ours != Some(office)) {
        checks.push(Check::of(format!("office {office}"), foreign_office(&site.discovery, &office).await));
    }
    checks
}

/// Where an office sells, when it says so or its name leads anywhere. Its key has a name that only its stamps tell.
async fn foreign_office(discovery: &Discovery, office: &Domain) -> Result<String, String> {
    const WRONG: &str = "is its name right in [gate] accept_offices, and does it still exist?";
    let trouble = |e| dns_trouble(&e);
    let policy = discovery.policy(office).await.map_err(trouble)?;
    if let Err(e) = &policy
        && !matches!(e, RecordError::None)
    {
        return Err(format!("{}: {e}; {WRONG}", records::policy_name(office)));
    }
    let url = discovery.office_url(office).await.map_err(trouble)?;
    let said = if policy.is_ok() { "published" } else { "publishes nothing; by its name" };
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let Some(host) = host else { return Err(format!("{url} is no URL; {WRONG}")) };
    let is_ip = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_ip || discovery.has_address(&host).await.map_err(trouble)? {
        return Ok(format!("at {url} ({said})"));
    }
    Err(format!("{host} has no address in DNS, so nothing can be bought there ({said}); {WRONG}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        demo::dns::{Manner, ZoneServer},
        dns::Dns,
    };

    #[tokio::test]
    async fn a_dead_or_mistyped_office_is_seen() {
        let zone = ZoneServer::start().unwrap();
        let discovery = Discovery::new(Dns::new(&[zone.address()]).unwrap());
        zone.txt(
            "_postage.good.example",
            "v=postage1; c=USD; n=2500; i=good.example; u=http://127.0.0.1:8025/",
        )
        .txt("_postage.moved.example", "v=postage1; c=USD; n=2500; i=moved.example")
        .txt("_postage.broken.example", "v=postage1; c=USD; n=x; i=broken.example")
        .manner("_postage.down.example", Manner::ServFail);
        let ask = async |office: &str| foreign_office(&discovery, &office.parse().unwrap()).await;
        assert!(ask("good.example").await.unwrap().contains("http://127.0.0.1:8025/"));
        for (office, said) in [
            ("moved.example", "moved.example has no address"),
            ("nowhere.example", "publishes nothing"),
            ("broken.example", "_postage.broken.example: "),
            ("down.example", "name server up?"),
        ] {
            let fault = ask(office).await.unwrap_err();
            assert!(fault.contains(said), "{office}: {fault}");
        }
    }

    #[test]
    fn what_dns_says_of_the_postage_must_be_what_the_gate_does() {
        let read = |text: &str| MailPolicy::read(&[text]).unwrap();
        let ours = read("v=postage1; c=USD; n=2500; i=b.example,c.example; w=20; u=https://b.example/");
        let cases = [
            ("c=USD; n=2500; i=c.example,b.example; w=20; u=https://b.example/", None),
            (
                "c=USD; n=5000; i=b.example,c.example; w=20; u=https://b.example/",
                Some("asks 0.5c, the gate 0.25c"),
            ),
            (
                "c=EUR; n=2500; i=b.example,c.example; w=20; u=https://b.example/",
                Some("asks EUR, the books are in USD"),
            ),
            (
                "c=USD; n=2500; i=b.example; w=20; u=https://b.example/",
                Some("names the offices b.example, the gate takes stamps of b.example, c.example"),
            ),
            (
                "c=USD; n=2500; i=b.example,c.example; w=20",
                Some("sends buyers to nowhere, the office is at https://b.example/"),
            ),
            (
                "c=USD; n=2500; i=b.example,c.example; u=https://b.example/",
                Some("says work of 0 bits, the gate takes 20; 0 is none"),
            ),
        ];
        for (published, said) in cases {
            let found = difference(&read(&format!("v=postage1; {published}")), &ours);
            assert_eq!(found.as_deref(), said, "{published}");
        }
    }
}
