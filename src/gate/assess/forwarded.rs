//! Letters that came to a recipient's other address and were sent on: what the forwarder saw of their author, for those
//! recipients who take its word (`crate::identity::forwarder`).
//!
//! Looked into last, when neither SPF nor DKIM has shown who sent the letter: mail that comes directly costs nothing here.

use super::{Assessment, Party, sender::heard};
use crate::{
    address::Domain,
    gate::{Site, client::Client, letter::Letter},
    identity::{
        Inquiry,
        align::up_to_organisation,
        arc::{self, Chain, Finding},
        dkim,
        spf::Envelope,
    },
    ledger::{
        Ledger,
        book::{Known, Sender},
    },
    message::envelope,
    policy::Authenticated,
};

/// A letter and the way it came.
pub(super) struct Through<'a> {
    pub site: &'a Site,
    pub letter: &'a Letter,
    pub client: &'a Client,
    /// The whole letter; `None` when it could not be kept.
    pub whole: Option<dkim::Letter<'a>>,
}

/// What a forwarder shows of the author, and of the list.
#[derive(Clone, Copy, Default)]
struct Seen {
    author: Authenticated,
    list: Authenticated,
}

impl Assessment {
    /// Finds out how many of the letter's sealers each recipient trusts, the last first. A letter without seals asks nothing.
    pub(super) async fn allow_sealers(&mut self, site: &Site, letter: &Letter, ledger: &dyn Ledger) {
        let sealers = arc::sealers(letter.values(arc::SEAL_FIELD));
        let mut parties = std::mem::take(&mut self.parties);
        for party in parties.iter_mut().filter(|party| party.asks_author() || party.asks_list()) {
            for sealer in &sealers {
                let by_site = site.config.identity.forwarders.has_sealer(sealer);
                let names: Vec<Sender> = up_to_organisation(sealer).map(Sender::Sealer).collect();
                if !self.takes_word(ledger, party, &names, by_site).await {
                    break;
                }
                party.sealers += 1;
            }
        }
        self.parties = parties;
    }

    /// Whether a recipient takes the word of the forwarder that has these names: by his book or the site's, where a
    /// block is the last word, or by the site's configuration.
    async fn takes_word(
        &mut self,
        ledger: &dyn Ledger,
        party: &Party,
        names: &[Sender],
        by_site: bool,
    ) -> bool {
        match self.book(ledger, &party.address, names).await {
            Known::Allowed => true,
            Known::Unknown => by_site,
            Known::Blocked => false,
        }
    }

    /// Adds what forwarders saw, for those whose verdict still hangs on it.
    pub(super) async fn by_forwarder(
        &mut self,
        mut inquiry: Inquiry,
        through: Through<'_>,
        ledger: &dyn Ledger,
    ) {
        let mut parties = std::mem::take(&mut self.parties);
        let most = parties.iter().filter(|party| party.waits()).map(|party| party.sealers).max();
        if let (Some(most @ 1..), Some(whole)) = (most, &through.whole) {
            match inquiry.chain(whole, most).await {
                Chain::Good(findings) => {
                    let author = self.author.as_ref().map(|author| author.domain());
                    // A pass over the whole header: once, not for each recipient.
                    let left_open = author.is_some_and(|author| whole.is_left_open_by(author));
                    for party in parties.iter_mut().filter(|party| party.waits()) {
                        let findings = findings.get(..party.sealers).unwrap_or(&findings);
                        party.learn(self.by_seals(findings, left_open));
                    }
                }
                Chain::Bad(why) => tracing::debug!(why, "a forwarder's seals do not hold"),
                Chain::Trouble(why) => {
                    tracing::warn!(why, "cannot tell now whether a forwarder's seals hold");
                    let trouble = Authenticated::Trouble;
                    for party in parties.iter_mut().filter(|party| party.waits() && party.sealers > 0) {
                        party.learn(Seen { author: trouble, list: trouble });
                    }
                }
            }
        }
        let mut host = Host::new(through.client);
        let mut seen = None;
        for party in parties.iter_mut().filter(|party| party.waits()) {
            let takes = self.takes_word_of_host(&mut host, party, &mut inquiry, &through, ledger).await;
            if takes == Authenticated::Yes {
                let seen = match seen {
                    Some(seen) => seen,
                    None => *seen.insert(self.by_host(&mut inquiry, &through).await),
                };
                party.learn(seen);
            } else if takes == Authenticated::Trouble {
                party.learn(Seen { author: takes, list: takes });
            }
        }
        self.parties = parties;
    }

    /// What the sealers found.
    fn by_seals(&self, findings: &[Finding], left_open: bool) -> Seen {
        let yes = |speaks: bool| if speaks { Authenticated::Yes } else { Authenticated::No };
        let author = self.author.as_ref().map(|author| author.domain());
        Seen {
            author: yes(author.is_some_and(|author| arc::speak_for_author(findings, author, left_open))),
            list: yes(self.list.as_ref().is_some_and(|list| arc::speak_for_list(findings, list))),
        }
    }

    /// Whether a recipient takes the word of the host that brought the letter, and it is that host.
    async fn takes_word_of_host(
        &mut self,
        host: &mut Host<'_>,
        party: &Party,
        inquiry: &mut Inquiry,
        through: &Through<'_>,
        ledger: &dyn Ledger,
    ) -> Authenticated {
        let forwarders = &through.site.config.identity.forwarders;
        let Some(ip) = host.client.ip else { return Authenticated::No };
        if forwarders.has_address(&ip) {
            return Authenticated::Yes;
        }
        let mut found = Authenticated::No;
        for (name, proven) in &mut host.names {
            let names: Vec<Sender> = up_to_organisation(name).map(Sender::Host).collect();
            if !self.takes_word(ledger, party, &names, forwarders.has_host(name)).await {
                continue;
            }
            let known = match *proven {
                Some(known) => known,
                None => *proven.insert(match inquiry.has_name(ip, name).await {
                    Ok(true) => Authenticated::Yes,
                    Ok(false) => Authenticated::No,
                    Err(trouble) => {
                        tracing::warn!(%trouble, "cannot tell now whether this is the forwarder");
                        Authenticated::Trouble
                    }
                }),
            };
            found = better(found, known);
            if found == Authenticated::Yes {
                break;
            }
        }
        found
    }

    /// What SPF says of the client from which the host has the letter, by the Received field the host has written.
    async fn by_host(&self, inquiry: &mut Inquiry, through: &Through<'_>) -> Seen {
        let forwarders = &through.site.config.identity.forwarders;
        let host = through.client;
        let before =
            Client::behind(host, through.letter, |ip| Some(*ip) == host.ip || forwarders.has_address(ip));
        let mut sender = through.letter.mail_from.clone();
        for _ in host.relays_passed..before.relays_passed {
            // Each forwarder may have put an address of its own in the author's place.
            if let Some(earlier) = envelope::before_forwarding_of(&sender) {
                sender = earlier.to_bytes();
            }
        }
        inquiry.look_behind(Envelope::new(before.ip, &before.helo, &sender));
        let mut seen = Seen::default();
        if let Some(author) = &self.author {
            seen.author = heard(inquiry.spf_of_author(author.domain()).await);
        }
        if let Some(list) = &self.list {
            seen.list = heard(inquiry.spf_of_list(list).await);
        }
        seen
    }
}

/// The host that brought a letter, and which of its names are really its own, once that was asked.
struct Host<'a> {
    client: &'a Client,
    names: Vec<(Domain, Option<Authenticated>)>,
}

impl<'a> Host<'a> {
    fn new(client: &'a Client) -> Self {
        Self { client, names: client.names().into_iter().map(|name| (name, None)).collect() }
    }
}

impl Party {
    /// Whether a forwarder could still change his verdict.
    fn waits(&self) -> bool {
        let waits_for_list = self.asks_list() && !self.list_by_address;
        self.asks_author() && self.facts.authenticated != Authenticated::Yes
            || waits_for_list && self.facts.list_authenticated != Authenticated::Yes
    }

    fn learn(&mut self, seen: Seen) {
        self.facts.authenticated = better(self.facts.authenticated, seen.author);
        if !self.list_by_address {
            self.facts.list_authenticated = better(self.facts.list_authenticated, seen.list);
        }
    }
}

/// Two ways to show the same thing: one of them is enough, and what is in trouble could be it.
fn better(one: Authenticated, other: Authenticated) -> Authenticated {
    use Authenticated::{No, Trouble, Yes};
    match (one, other) {
        (Yes, _) | (_, Yes) => Yes,
        (Trouble, _) | (_, Trouble) => Trouble,
        (No, No) => No,
    }
}
