//! One connection of the MTA: the milter's callbacks, in their order.

use std::{net::IpAddr, sync::Arc};

use farthing_milter::{
    address::{Args, Client as Connected, ClientAddress, EnvelopeAddress},
    handler::{Context, Handler},
    text::SmtpReply,
    verdict::{BodyReply, RcptReply, Reply, Verdict},
};

use ipnet::IpNet;

use super::{
    Gate, Site,
    answer::{self, Told},
    assess::Assessment,
    client::Client,
    learn::{Submission, is_null_sender, learn},
    letter::{Letter, Recipient},
    settle::Settled,
    split::Splitter,
};
use crate::{
    address::{Address, Domain, escaped},
    config::Mode,
    message::envelope,
    policy::{
        Class, reply,
        status::{is_own_status, must_go},
    },
};

/// Local parts that must reach a person whatever happens (RFC 5321 §4.5.1, RFC 2142).
const ROLES: [&[u8]; 2] = [b"postmaster", b"abuse"];

/// What the gate keeps of a connection.
pub struct Session {
    gate: Arc<Gate>,
    client: Option<IpAddr>,
    client_name: Vec<u8>,
    helo: Vec<u8>,
    in_hand: Option<InHand>,
}

/// The message in hand.
struct InHand {
    site: Arc<Site>,
    /// Authenticated submission.
    submission: Option<Submission>,
    /// From an exempt network.
    network: bool,
    /// Handed in by a program on this machine, not by SMTP: a refusal at RCPT would block the queue.
    local: bool,
    letter: Letter,
    splitter: Option<Splitter>,
    /// Who brought it; behind a relay of ours that is known once the header is there.
    client: Client,
    assessment: Option<Assessment>,
}

impl InHand {
    /// Who really brought it, where a relay of ours did the last step.
    fn look_behind_relays(&mut self) {
        let gate = &self.site.config.gate;
        if is_within(&gate.relays, self.client.ip) && self.submission.is_none() {
            self.client = Client::behind(&self.client, &self.letter, |ip| is_within(&gate.relays, Some(*ip)));
            self.network = is_within(&gate.exempt_networks, self.client.ip);
        }
    }

    /// The recipient, if the letter stays with us: an address of ours, unless a bounce to it goes back to where it came
    /// from. The MTA of such a site has checked that the address is one it made.
    fn recipient_here(&self, recipient: &[u8]) -> Option<Address> {
        let gate = &self.site.config.gate;
        let address = ours(recipient, &gate.domains, &gate.hostname)?;
        match envelope::original(&address) {
            Some(author) if gate.srs && gate.guards(author.domain()) => Some(author),
            Some(_) if gate.srs && is_null_sender(&self.letter.mail_from) => None,
            _ => Some(address),
        }
    }

    fn exempt(&self) -> bool {
        self.submission.is_some() || self.network
    }

    /// Whether nothing may be refused or deferred: the site is only to be watched.
    fn observed(&self) -> bool {
        self.site.config.gate.mode == Mode::Observe
    }

    /// Whether the gate has anything to do with this message.
    fn concerns_us(&self) -> bool {
        !(self.letter.recipients.is_empty() || self.network && self.letter.passed_here)
    }
}

impl Session {
    pub(super) const fn new(gate: Arc<Gate>) -> Self {
        Self { gate, client: None, client_name: vec![], helo: vec![], in_hand: None }
    }

    fn told<'a>(&'a self, ctx: &'a Context, hand: &'a InHand) -> Told<'a> {
        Told { site: &hand.site, queue_id: ctx.queue_id(), client: self.client, letter: &hand.letter }
    }
}

impl Handler for Session {
    async fn connect(&mut self, _ctx: &Context, client: &Connected) -> Reply {
        self.client = match &client.address {
            ClientAddress::Ip(ip) => Some(*ip),
            // A program of this machine.
            ClientAddress::Unix(_) => Some(IpAddr::from([127, 0, 0, 1])),
            ClientAddress::Unknown => None,
        };
        self.client_name = client.host.clone();
        Reply::Continue
    }

    async fn helo(&mut self, _ctx: &Context, name: &[u8]) -> Reply {
        self.helo = name.to_vec();
        Reply::Continue
    }

    async fn mail(&mut self, ctx: &Context, sender: EnvelopeAddress<'_>, _args: Args<'_>) -> Reply {
        let site = self.gate.site();
        let client = Client {
            ip: self.client,
            helo: self.helo.clone(),
            name: self.client_name.clone(),
            relays_passed: 0,
        };
        let relay = is_within(&site.config.gate.relays, self.client);
        let network = !relay && is_within(&site.config.gate.exempt_networks, self.client);
        let submission = ctx.macros().get("auth_authen").map(Submission::of);
        let local = !sender.has_brackets();
        let splitter = if submission.is_some() || network || local || relay {
            None
        } else {
            Splitter::new(&site, self.client, &self.helo, sender.bytes())
        };
        self.in_hand = Some(InHand {
            submission,
            network,
            local,
            splitter,
            client,
            letter: Letter::new(sender.bytes()),
            assessment: None,
            site,
        });
        Reply::Continue
    }

    async fn rcpt(&mut self, _ctx: &Context, recipient: EnvelopeAddress<'_>, _args: Args<'_>) -> RcptReply {
        let Some(hand) = &mut self.in_hand else { return RcptReply::Continue };
        if let Some(submission) = &mut hand.submission {
            submission.add_recipient(recipient.bytes());
        }
        if let Some(address) = hand.recipient_here(recipient.bytes()) {
            let role = ROLES.contains(&address.without_detail().local());
            let recipient = Recipient { address, role };
            if let Some(splitter) = &mut hand.splitter
                && splitter.differs(&hand.site, &recipient, &*self.gate.ledger).await
            {
                return refuse_rcpt("please send this recipient's copy separately");
            }
            hand.letter.add_recipient(recipient);
            if hand.letter.too_many_recipients && !hand.local && !hand.observed() {
                return refuse_rcpt("too many recipients");
            }
        }
        RcptReply::Continue
    }

    fn header(&mut self, _ctx: &Context, name: &[u8], value: &[u8]) -> Reply {
        let Some(hand) = &mut self.in_hand else { return Reply::Continue };
        if hand.letter.recipients.is_empty() && hand.submission.is_none() {
            return Reply::Continue;
        }
        let gate = &hand.site.config.gate;
        if is_own_status(name, value, &gate.hostname) {
            hand.letter.passed_here = true;
        }
        hand.letter.header(name, value, |name, value| must_go(name, value, |domain| gate.guards(domain)));
        Reply::Continue
    }

    async fn end_of_headers(&mut self, ctx: &Context) -> Reply {
        let Some(mut hand) = self.in_hand.take() else { return Reply::Continue };
        let reply = self.assess(ctx, &mut hand).await;
        if matches!(reply, Reply::Continue) {
            self.in_hand = Some(hand);
        }
        reply
    }

    fn body(&mut self, _ctx: &Context, chunk: &[u8]) -> BodyReply {
        match &mut self.in_hand {
            Some(hand) if hand.letter.wants_body() => {
                hand.letter.body(chunk);
                BodyReply::Continue
            }
            _ => BodyReply::Skip,
        }
    }

    async fn end_of_message(&mut self, ctx: &Context) -> Verdict {
        let Some(mut hand) = self.in_hand.take() else { return Verdict::deliver() };
        if let Some(submission) = &hand.submission
            && let Some(sent) = submission.teaches(&hand.site, &hand.letter, crate::clock::unix_now())
        {
            learn(sent, &*self.gate.ledger).await;
        }
        if !hand.concerns_us() {
            return Verdict::deliver();
        }
        if hand.assessment.is_none() {
            // An MTA that sends no end of headers for a letter without any.
            if let Reply::Refuse(refusal) = self.assess(ctx, &mut hand).await {
                return Verdict::Refuse(refusal);
            }
        }
        let Some(assessment) = hand.assessment.take() else { return answer::exempt(&self.told(ctx, &hand)) };
        let assessment =
            assessment.authenticate(&hand.site, &mut hand.letter, &hand.client, &*self.gate.ledger).await;
        let settled =
            super::settle::settle(assessment, &hand.site, &mut hand.letter, &*self.gate.ledger).await;
        let verdict = answer::answer(&settled, &self.told(ctx, &hand), &*self.gate.ledger).await;
        if matches!(verdict, Verdict::Deliver(_)) {
            self.count_freepost(&settled).await;
        }
        verdict
    }

    fn abort(&mut self) {
        self.in_hand = None;
    }
}

impl Session {
    /// Counts what came through freepost addresses. No money hangs on it: trouble is only logged.
    async fn count_freepost(&self, settled: &Settled) {
        for party in settled.parties.iter().filter(|party| party.class == Class::Freepost) {
            if let Some(freepost) = &party.freepost {
                let (owner, label) = (freepost.owner(), freepost.label());
                let counted =
                    self.gate.ledger.freepost_used(owner, label, settled.author.as_ref(), settled.now).await;
                if let Err(error) = counted {
                    tracing::warn!(%error, "a freepost letter was not counted");
                }
            }
        }
    }

    /// All that can be said once the header is there: who may have sent it, and what was offered. Refuses as early as certain.
    async fn assess(&self, ctx: &Context, hand: &mut InHand) -> Reply {
        hand.look_behind_relays();
        if !hand.concerns_us() {
            return Reply::Continue;
        }
        if hand.letter.too_many_forged && !hand.observed() {
            return header_too_large(ctx, hand);
        }
        if hand.exempt() {
            return Reply::Continue;
        }
        if hand.letter.too_many_recipients && !hand.observed() {
            return Reply::Refuse(reply::temporary(
                "4.5.3",
                "too many recipients; send it in several copies",
            ));
        }
        if hand.letter.header_cut && !hand.observed() {
            return header_too_large(ctx, hand);
        }
        let assessment =
            Assessment::of(&hand.site, &hand.letter, &*self.gate.ledger, crate::clock::unix_now()).await;
        if let Some(settled) = assessment.certain_refusal(&hand.site) {
            return match answer::answer(&settled, &self.told(ctx, hand), &*self.gate.ledger).await {
                Verdict::Refuse(refusal) => Reply::Refuse(refusal),
                _ => Reply::Continue,
            };
        }
        let assessment = assessment.ask_spf(&hand.site, &hand.letter, &hand.client, &*self.gate.ledger).await;
        let needs_body = assessment.needs_body(&hand.letter);
        if assessment.awaits_return() {
            hand.letter.expect_returned();
        }
        hand.letter.expect_body(assessment.needs_digest(), needs_body.then_some(&self.gate.room));
        hand.assessment = Some(assessment);
        Reply::Continue
    }
}

fn header_too_large(ctx: &Context, hand: &InHand) -> Reply {
    tracing::info!(
        queue_id = ctx.queue_id().map(escaped).unwrap_or_default(),
        from = escaped(&hand.letter.mail_from),
        "refused: the header is too large"
    );
    Reply::Refuse(reply::permanent("5.3.4", "the header of this message is too large"))
}

fn is_within(networks: &[IpNet], ip: Option<IpAddr>) -> bool {
    // A client on a dual socket has an IPv4 address written as an IPv6 one.
    ip.is_some_and(|ip| networks.iter().any(|net| net.contains(&ip) || net.contains(&ip.to_canonical())))
}

fn refuse_rcpt(text: &str) -> RcptReply {
    SmtpReply::new(452, "4.5.3", [text]).map_or(RcptReply::Continue, RcptReply::Refuse)
}

/// The recipient's address, if it is in one of our domains. What no sender could have bought a stamp for, but the MTA
/// would deliver all the same (a local part out of form, no domain, the machine's own names, a percent sign for the @),
/// is ours too: a way to write an address must not be a way round the gate.
fn ours(recipient: &[u8], domains: &[Domain], hostname: &str) -> Option<Address> {
    let address = match Address::parse(recipient) {
        Ok(address) => address,
        Err(_) => Address::out_of_form(recipient, domains)?,
    };
    if domains.binary_search(address.domain()).is_ok() {
        return Some(address);
    }
    let domain = address.domain().as_str();
    let of_this_machine = domain.eq_ignore_ascii_case(hostname) || domain.starts_with("localhost.");
    if of_this_machine || is_routed_to(address.local(), domains) {
        return Address::from_parts(address.local(), domains.first()?.clone());
    }
    None
}

/// Whether a local part holds an address in one of these domains in the old notations `bob%b.example` and
/// `b.example!bob`, which Postfix takes where it is the host they are sent to.
fn is_routed_to(local: &[u8], domains: &[Domain]) -> bool {
    let is_mark = |b: &u8| b"%!@".contains(b);
    let is_one =
        |part: &[u8]| domains.binary_search_by(|domain| domain.as_str().as_bytes().cmp(part)).is_ok();
    let bare = local.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(local);
    bare.iter().any(is_mark) && bare.split(is_mark).any(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_to_write_an_address_goes_round_the_gate() {
        let domains = ["b.example".parse().unwrap(), "c.example".parse().unwrap()];
        for (recipient, address) in [
            (&b"bob@b.example"[..], Some("bob@b.example")),
            (b"BOB@C.Example.", Some("bob@c.example")),
            (b"@relay.example:bob@b.example", Some("bob@b.example")),
            (b"bob@elsewhere.example", None),
            (b"bob+..@b.example", Some("\"bob+..\"@b.example")),
            (b"bob x@b.example", Some("\"bob x\"@b.example")),
            (b"bob", Some("bob@b.example")),
            (b"Postmaster", Some("postmaster@b.example")),
            (b"bob@[127.0.0.1]", Some("bob@b.example")),
            (b"bob@localhost", Some("bob@b.example")),
            (b"bob@b.example(@x.example", Some("\"bob@b.example(\"@b.example")),
            (b"<bob@c.example>(@x.example", Some("\"<bob@c.example>(\"@b.example")),
            (b"bob@b\\.example(@x.example", Some("\"bob@b?.example(\"@b.example")),
            (b"bob@b.example(\\)@x.example", Some("\"bob@b.example(?)\"@b.example")),
            (b"x:bob@b.example;(@x.example", Some("\"x:bob@b.example;(\"@b.example")),
            (b"@b.example(:bob@x.example", Some("\"@b.example(:bob\"@b.example")),
            (b"bob@c.example@x.example", Some("\"bob@c.example\"@b.example")),
            (b"bob@mx.b.example", Some("bob@b.example")),
            (b"bob@localhost.c.example", Some("bob@b.example")),
            (b"bob%c.example@x.example", Some("bob%c.example@b.example")),
            (b"C.example!bob@x.example", Some("c.example!bob@b.example")),
            (b"100%@elsewhere.example", None),
            (b"b.example@elsewhere.example", None),
            (b"\"bob (x)\"@elsewhere.example", None),
            (b"bob..x@elsewhere.example", None),
            (b"", None),
        ] {
            assert_eq!(
                ours(recipient, &domains, "MX.b.example").map(|a| a.to_string()).as_deref(),
                address,
                "{}",
                escaped(recipient)
            );
        }
    }
}
