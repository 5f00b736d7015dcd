//! The daemon's configuration: one TOML file, resolved once into a checked [`Config`] (INTERFACE.md).
//!
//! What is wrong is found all at once, each fault with its line and key. Nothing here opens a socket or
//! touches the network; `file:PATH` lists are read, for a list that cannot be read is a fault of the file.

mod logins;
mod parse;
mod read;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;

pub use logins::Logins;
pub use parse::Listen;

use crate::{
    address::{Address, Domain},
    identity::forwarder::Forwarders,
    money::{Currency, Micros},
    stamp::records::MailPolicy,
};

/// Where the daemon looks when neither `-c` nor `$FARTHING_CONFIG` is given.
pub const DEFAULT_PATH: &str = "/etc/farthing/farthing.toml";

/// Everything the daemon is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// `[gate]`
    pub gate: Gate,
    /// `[office]`, if there is one.
    pub office: Option<Office>,
    /// `[ledger]`
    pub ledger: Ledger,
    /// `[identity]`
    pub identity: Identity,
    /// `[dns]`
    pub dns: Vec<SocketAddr>,
    /// `[commands]`
    pub commands: Commands,
    /// `[franking]`, if there is one.
    pub franking: Option<Franking>,
    /// `[log]`
    pub log: Log,
    /// `[metrics] listen`
    pub metrics: Option<SocketAddr>,
}

/// What the gate does with a letter that lacks postage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Deliver, with our own header only.
    Observe,
    /// Deliver, with a header that filters behind us act on.
    Tag,
    /// Quarantine.
    Hold,
    /// Refuse.
    Require,
}

impl Mode {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Tag => "tag",
            Self::Hold => "hold",
            Self::Require => "require",
        }
    }
}

/// What happens to mail when the ledger or DNS cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTrouble {
    /// 451: the sending server comes again.
    Tempfail,
    /// Let in, without postage.
    Accept,
}

/// How recipients of one message that differ are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixed {
    /// Those who differ from the first are deferred at RCPT.
    Split,
    /// The strictest decides for all.
    Strictest,
}

/// `[gate]`
#[derive(Clone, Debug)]
pub struct Gate {
    /// Where the MTA reaches the milter.
    pub listen: Vec<Listen>,
    /// Permission bits of unix sockets.
    pub socket_mode: u32,
    /// Group of unix sockets; empty: the daemon's own.
    pub socket_group: String,
    /// Our name in Postage-Status.
    pub hostname: String,
    /// Mail domains we guard, sorted.
    pub domains: Vec<Domain>,
    /// What happens without postage.
    pub mode: Mode,
    /// What an unknown sender pays.
    pub price: Micros,
    /// The most a recipient may ask.
    pub max_price: Micros,
    /// Hashcash bits taken instead; 0: none.
    pub work_bits: u32,
    /// Letters a UTC day let in by work, for a recipient.
    pub work_daily: u32,
    /// Post offices whose stamps are taken; see [`Config::accepted_offices`].
    pub accept_offices: Option<Vec<Domain>>,
    /// What another office may owe for its stamps: the value of those redeemed here and not given back.
    pub office_cap: Micros,
    /// Clients whose mail is not asked for postage.
    pub exempt_networks: Vec<IpNet>,
    /// Servers in front of us whose Received field names the real client. Their own address exempts and authenticates
    /// nobody, whatever `exempt_networks` says.
    pub relays: Vec<IpNet>,
    /// The MTA answers for SRS addresses and refuses those that it has not made itself: a bounce to one goes back to its
    /// author, and is not asked for postage.
    pub srs: bool,
    /// Recipients that differ.
    pub mixed: Mixed,
    /// Which addresses a login owns.
    pub logins: Logins,
    /// When the ledger or DNS cannot answer.
    pub on_trouble: OnTrouble,
}

impl Gate {
    /// Whether the gate guards this domain.
    #[must_use]
    pub fn guards(&self, domain: &Domain) -> bool {
        self.domains.binary_search(domain).is_ok()
    }
}

/// `[office]`
#[derive(Clone, Debug)]
pub struct Office {
    /// Its name in stamps.
    pub domain: Domain,
    /// Where the site's web server reaches it.
    pub listen: ListenHttp,
    /// How others reach it; ends in `/`.
    pub url: String,
    /// The directory of its keys.
    pub keys: PathBuf,
    /// Seconds from sale to expiry, before rounding up to the end of a day.
    pub stamp_lifetime_s: u64,
    /// Starter amount for work; zero: none.
    pub grant: Micros,
    /// Hashcash bits a grant asks.
    pub grant_bits: u32,
    /// What grants may give away in a UTC day; at least one grant, where there are any.
    pub grant_daily: Micros,
    /// log2 of the hashes that a pass worked for on the page of a refusal takes; 0: none is given for work.
    pub page_work_bits: u32,
    /// The file with the signing secrets of Stripe's webhook; `None`: no payments by Stripe.
    pub stripe_secret_file: Option<PathBuf>,
    /// Where customers pay money onto an account; `None`: nowhere that the page could name.
    pub payment_url: Option<String>,
}

/// Where the office listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenHttp {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// Which engine keeps the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerUrl {
    /// A file.
    Sqlite(PathBuf),
}

/// `[ledger]`
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Where the books are.
    pub url: LedgerUrl,
    /// What all amounts are in.
    pub currency: Currency,
    /// Seconds a redeemed stamp stays in escrow.
    pub refund_window_s: u64,
    /// Whether money not given back is kept by the treasury (else it is burned).
    pub keep_in_treasury: bool,
}

/// How a letter's sender is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityCheck {
    /// SPF, DKIM and DMARC here.
    Verify,
    /// Believe the Authentication-Results of trusted servers.
    Results,
    /// Nobody is authenticated, so nobody is known.
    None,
}

/// `[identity]`
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who checks.
    pub check: IdentityCheck,
    /// authserv-ids whose Authentication-Results are believed. Their servers must take away every such field in their
    /// own name that comes with a letter (RFC 8601 §5); one on another host must stand in [`Gate::relays`] too.
    pub trusted: Vec<String>,
    /// Whom local users write to becomes known to them.
    pub learn_from_sent: bool,
    /// Authenticated mail from domains of ours is known.
    pub own_domains_known: bool,
    /// Whose word about a letter's author is taken, for all recipients.
    pub forwarders: Forwarders,
}

/// `[commands]`
#[derive(Clone, Debug)]
pub struct Commands {
    /// Local part of the command address.
    pub address: String,
    /// Where our own mail is handed in.
    pub smtp: Smarthost,
}

/// A way to hand mail in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Smarthost {
    /// `smtp://HOST:PORT`: a server that takes mail of this host for everybody it is for.
    Smtp {
        /// A name, or an address without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// `sendmail:PATH`: a program that understands `-i`, `-f` and `--`, as every MTA brings one.
    Sendmail(PathBuf),
}

impl Smarthost {
    /// The port of [`Smarthost::Smtp`] when none is written.
    pub const PORT_DEFAULT: u16 = 25;
}

impl fmt::Display for Smarthost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp { host, port } if host.contains(':') => write!(f, "smtp://[{host}]:{port}"),
            Self::Smtp { host, port } => write!(f, "smtp://{host}:{port}"),
            Self::Sendmail(path) => write!(f, "sendmail:{}", path.display()),
        }
    }
}

/// `[franking]`: stamps on the mail that users send.
#[derive(Clone, Debug)]
pub struct Franking {
    /// The wallet whose account pays.
    pub wallet: PathBuf,
    /// Stamps kept in hand for each domain that is written to.
    pub ahead: u32,
    /// The most one stamp may cost.
    pub max_price: Micros,
    /// What all stamps of one letter may cost.
    pub per_letter: Micros,
    /// What a login may spend in a UTC day.
    pub per_user: Micros,
    /// What all may spend in a UTC day.
    pub per_day: Micros,
    /// A letter for which no stamp is in hand waits for the moment of buying; else it goes without.
    pub waits: bool,
    /// Each login pays from an account of its own; else the site does for all.
    pub by_login: bool,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: tracing::Level,
    /// JSON lines instead of text.
    pub json: bool,
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line it is on, from 1; 0 when it has none.
    pub line: usize,
    /// What is wrong, where, and what to do.
    pub text: String,
}

/// All that is wrong with a configuration file.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// At least one, in the order of the lines.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", self.path.display())?;
            if fault.line > 0 {
                write!(f, ":{}", fault.line)?;
            }
            write!(f, ": {}", fault.text)?;
        }
        Ok(())
    }
}

impl Config {
    /// The file a program reads: what was given, else `$FARTHING_CONFIG` (the argument `environment`), else [`DEFAULT_PATH`].
    #[must_use]
    pub fn path(given: Option<&Path>, environment: Option<std::ffi::OsString>) -> PathBuf {
        match (given, environment) {
            (Some(path), _) => path.to_path_buf(),
            (None, Some(path)) if !path.is_empty() => path.into(),
            _ => DEFAULT_PATH.into(),
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault found.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError {
            path: path.to_path_buf(),
            faults: vec![Fault { line: 0, text: format!("cannot be read: {e}; name another file with -c") }],
        })?;
        Self::parse(&text, path)
    }

    /// Checks a configuration's text; `path` is for messages and for `file:` lists relative to it.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault found.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        parse::config(text, path).map_err(|faults| ConfigError { path: path.to_path_buf(), faults })
    }

    /// Where the keys are: the office's directory, else `keys` beside the ledger.
    #[must_use]
    pub fn keys_directory(&self) -> PathBuf {
        match &self.office {
            Some(office) => office.keys.clone(),
            None => {
                let LedgerUrl::Sqlite(path) = &self.ledger.url;
                path.parent().unwrap_or(Path::new(".")).join("keys")
            }
        }
    }

    /// Whose stamps are taken: `accept_offices`, or when that is left out our own office's.
    #[must_use]
    pub fn accepted_offices(&self) -> Vec<Domain> {
        match (&self.gate.accept_offices, &self.office) {
            (Some(listed), _) => listed.clone(),
            (None, Some(office)) => vec![office.domain.clone()],
            (None, None) => vec![],
        }
    }

    /// What each of our mail domains says of its postage in DNS (SPEC.md §5).
    #[must_use]
    pub fn mail_policy(&self) -> MailPolicy {
        MailPolicy {
            currency: self.ledger.currency,
            price: self.gate.price,
            offices: self.accepted_offices(),
            work_bits: u8::try_from(self.gate.work_bits).ok().filter(|&bits| bits > 0),
            url: self.office.as_ref().map(|office| office.url.clone()),
        }
    }

    /// Whether stamps of an office other than our own are taken.
    #[must_use]
    pub fn takes_foreign_stamps(&self) -> bool {
        let own = self.office.as_ref().map(|office| &office.domain);
        self.accepted_offices().iter().any(|office| own != Some(office))
    }

    /// The domains at which our keys stand in DNS: the office's, and where stamps of other offices are taken each mail
    /// domain, whose key signs what is reported to those (SPEC.md §10).
    #[must_use]
    pub fn key_domains(&self) -> Vec<&Domain> {
        let mut domains: Vec<&Domain> = self.office.iter().map(|office| &office.domain).collect();
        if self.takes_foreign_stamps() {
            domains.extend(&self.gate.domains);
        }
        let first = domains.first().copied();
        let mut seen = false;
        domains.retain(|domain| Some(*domain) != first || !std::mem::replace(&mut seen, true));
        domains
    }

    /// Whether the authenticated mail of this domain is known because it is one of ours.
    #[must_use]
    pub fn welcomes_as_own(&self, domain: &Domain) -> bool {
        self.identity.own_domains_known && self.gate.guards(domain)
    }

    /// The address that takes commands in a domain of ours: `postage@b.example`.
    #[must_use]
    pub fn command_address(&self, domain: &Domain) -> Option<Address> {
        Address::from_parts(self.commands.address.as_bytes(), domain.clone())
    }
}

#[cfg(test)]
mod tests;
