//! Where stamps are sold and what they cost: asked of DNS, or of the office that was named.

use std::net::{SocketAddr, ToSocketAddrs as _};

use serde::Deserialize;

use super::{Context, Exit, Failure};
use crate::{
    address::{Address, Domain, shown},
    discovery::Discovery,
    dns::{Dns, DnsTrouble},
    money::Micros,
    stamp::records::{MailPolicy, RecordError},
    wallet::{ClientError, Description, KnownOffice, OfficeClient},
};

/// Port of DNS servers that are named without one.
const DNS_PORT: u16 = 53;

/// DNS as the commands of a sender ask it.
pub struct Names {
    runtime: tokio::runtime::Runtime,
    discovery: Discovery,
}

impl Names {
    /// The servers of `-c FILE`, else `$FARTHING_DNS`, else the system's.
    ///
    /// # Errors
    /// [`Exit::Config`] when a server is no address.
    pub fn new(context: &Context) -> Result<Self, Failure> {
        let dns = Dns::new(&servers(context)?).map_err(|e| Failure::new(Exit::Config, e))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(Exit::Software, e))?;
        Ok(Self { runtime, discovery: Discovery::new(dns) })
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Exit::TempFail`] when DNS cannot say.
    pub fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Discovery) -> Result<T, DnsTrouble>,
    ) -> Result<T, Failure> {
        self.runtime.block_on(question(&self.discovery)).map_err(|e| Failure::new(Exit::TempFail, e))
    }

    /// What a mail domain asks; `None` when it publishes nothing.
    ///
    /// # Errors
    /// [`Failure`] when DNS cannot say, or what is published cannot be read.
    pub fn policy(&self, domain: &Domain) -> Result<Option<MailPolicy>, Failure> {
        match self.ask(async |discovery| discovery.policy(domain).await)? {
            Ok(policy) => Ok(Some(policy)),
            Err(RecordError::None) => Ok(None),
            Err(error) => {
                let text = format!("_postage.{domain} in DNS: {error}; its postmaster has to mend it");
                Err(Failure::new(Exit::Unavailable, text))
            }
        }
    }

    /// Where an office is.
    ///
    /// # Errors
    /// [`Exit::TempFail`] when DNS cannot say.
    pub fn office_url(&self, office: &Domain) -> Result<String, Failure> {
        self.ask(async |discovery| discovery.office_url(office).await)
    }
}

fn servers(context: &Context) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(path) = &context.config {
        return servers_of_file(path);
    }
    match std::env::var("FARTHING_DNS") {
        Ok(server) if !server.is_empty() => Ok(vec![server_address(&server, "$FARTHING_DNS")?]),
        _ => Ok(vec![]),
    }
}

/// `[dns] servers` of a configuration; the rest of it is the daemon's affair.
fn servers_of_file(path: &std::path::Path) -> Result<Vec<SocketAddr>, Failure> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct File {
        dns: Section,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Section {
        servers: Vec<String>,
    }
    let fault =
        |what: &dyn std::fmt::Display| Failure::new(Exit::Config, format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| fault(&e))?;
    let file: File = toml::from_str(&text).map_err(|e| fault(&e.message()))?;
    file.dns.servers.iter().map(|server| server_address(server, "[dns] servers")).collect()
}

fn server_address(text: &str, named_in: &str) -> Result<SocketAddr, Failure> {
    if let Ok(ip) = text.parse::<std::net::IpAddr>() {
        return Ok(SocketAddr::new(ip, DNS_PORT));
    }
    // Of names only this machine's: any other would have to be looked up in DNS.
    let found = match text.parse() {
        Ok(address) => Some(address),
        Err(_) if text.starts_with("localhost:") => {
            text.to_socket_addrs().ok().and_then(|mut found| found.next())
        }
        Err(_) => None,
    };
    found.ok_or_else(|| {
        let text = shown(text.as_bytes());
        Failure::new(Exit::Config, format!("{named_in}: `{text}` is not ADDRESS:PORT, like 127.0.0.1:5353"))
    })
}

/// An office that sells what is wanted, and at what price.
pub struct Offer {
    /// The office.
    pub client: OfficeClient,
    /// What it says of itself.
    pub office: Description,
    /// What one stamp is to be worth.
    pub value: Micros,
}

/// What the command line said about where and what to buy.
pub struct Terms<'a> {
    /// `--office URL`
    pub office: Option<&'a str>,
    /// `--value AMOUNT`
    pub value: Option<Micros>,
    /// Whose price is asked, where no value was given.
    pub recipient: &'a Address,
    /// Offices the wallet knows: of several that would do, these first.
    pub known: &'a [KnownOffice],
}

impl Terms<'_> {
    /// Finds the office and the price.
    ///
    /// # Errors
    /// [`Failure`] saying what to give on the command line instead.
    pub fn offer(&self, context: &Context) -> Result<Offer, Failure> {
        let domain = self.recipient.domain();
        if let Some(url) = self.office {
            let client = OfficeClient::new(url)?;
            let office = client.describe()?;
            must_be_itself(&client, &office.office, self.known, context)?;
            let value = match self.value {
                Some(value) => value,
                None => self.quoted(&client, &office)?,
            };
            return Ok(Offer { client, office, value });
        }
        let names = Names::new(context)?;
        let policy = names.policy(domain)?.ok_or_else(|| {
            let text = format!("{domain} says nothing of postage in DNS; if it asks some, give --office URL");
            Failure::new(Exit::No, text)
        })?;
        let known = |office: &&Domain| self.known.iter().any(|known| known.office == **office);
        let office = policy.offices.iter().find(known).or_else(|| policy.offices.first());
        let office = office.ok_or_else(|| Failure::new(Exit::Unavailable, "no office sells these stamps"))?;
        let client = OfficeClient::new(&names.office_url(office)?)?;
        let description = client.describe()?;
        if description.office != *office {
            let text = format!("{} is the office {}, not {office}", client.url(), description.office);
            return Err(Failure::new(Exit::Unavailable, text));
        }
        if self.value.is_none() && description.currency != policy.currency {
            return Err(other_currency(policy.currency.as_str(), &description));
        }
        Ok(Offer { client, office: description, value: self.value.unwrap_or(policy.price) })
    }

    fn quoted(&self, client: &OfficeClient, office: &Description) -> Result<Micros, Failure> {
        match client.quote(self.recipient) {
            Ok(quote) if quote.currency == office.currency.as_str() => Ok(quote.micros),
            Ok(quote) => Err(other_currency(&quote.currency, office)),
            Err(ClientError::Refused { status: 404, .. }) => {
                let text = format!(
                    "{} does not know the price of {}; give it with --value",
                    office.office,
                    self.recipient.domain()
                );
                Err(Failure::new(Exit::Data, text))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a URL that a person gave leads to the office that it says it is, as far as this wallet can know: anybody's page
/// may name a URL, and whoever is there may say any name. An office that the wallet deals with elsewhere is believed there
/// by its host's name, or by DNS; else its orders and vouchers would go to a stranger from then on.
///
/// # Errors
/// [`Failure`]: it is another, or DNS cannot say now.
pub fn must_be_itself(
    client: &OfficeClient,
    office: &Domain,
    known: &[KnownOffice],
    context: &Context,
) -> Result<(), Failure> {
    let Some(before) = known.iter().find(|known| known.office == *office) else { return Ok(()) };
    if is_host_of(client.url(), office) || host(client.url()) == host(&before.url) {
        return Ok(());
    }
    let published = Names::new(context)?.office_url(office)?;
    if host(client.url()) == host(&published) {
        return Ok(());
    }
    let text = format!(
        "{} says it is {office}, which this wallet knows at {}; DNS says {published}. Nothing was sent there",
        client.url(),
        before.url
    );
    Err(Failure::new(Exit::Unavailable, text))
}

/// Whether a URL's host is the office's own, or it is on this machine.
fn is_host_of(url: &str, office: &Domain) -> bool {
    url.starts_with("http://")
        || host(url).split(':').next().is_some_and(|name| {
            let name = name.to_ascii_lowercase();
            name.strip_suffix(office.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

/// Scheme, host and port.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

fn other_currency(price: &str, office: &Description) -> Failure {
    let price = shown(price.as_bytes());
    let text = format!("the price is in {price}, the stamps of {} in {}", office.office, office.currency);
    Failure::new(Exit::Unavailable, text)
}

/// An order that was not paid for: the account and its office, so that somebody can put money there.
pub fn short_of_money(error: Failure, account: &str, office: &Domain) -> Failure {
    if error.exit != Exit::No {
        return error;
    }
    let advice = format!(
        "{}; `farthing topup` with a voucher, or have postmaster@{office} credit account {account}",
        error.message
    );
    Failure::new(Exit::No, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_office_that_is_known_elsewhere_must_prove_that_it_is_itself() {
        let zone = crate::demo::dns::ZoneServer::start().unwrap();
        zone.txt("_postage.b.example", "v=postage1; c=USD; n=1; i=b.example; u=https://new.example/post/");
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("farthing.toml");
        std::fs::write(&config, format!("[dns]\nservers = [\"{}\"]\n", zone.address())).unwrap();
        let context = Context { json: false, config: Some(config) };
        let office: Domain = "b.example".parse().unwrap();
        let known = [KnownOffice { office: office.clone(), url: "https://old.example/".into() }];
        for (url, good) in [
            ("https://old.example/", true),
            ("https://old.example/moved/", true),
            ("https://new.example/post/", true),
            ("https://b.example/", true),
            ("https://post.B.example:8443/", true),
            ("http://127.0.0.1:8895/", true),
            ("https://evil.example/", false),
            ("https://evilb.example/", false),
            ("https://b.example.evil.example/", false),
            ("https://evil.example/b.example", false),
            ("https://old.example.evil.example/", false),
        ] {
            let client = OfficeClient::new(url).unwrap();
            let found = must_be_itself(&client, &office, &known, &context);
            assert_eq!(found.is_ok(), good, "{url}");
            must_be_itself(&client, &office, &[], &context).unwrap();
        }
    }
}
