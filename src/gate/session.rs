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
    answered,
    assess::Assessment,
    client::Client,
    frank::{Franked, Outgoing, Postage, Wanted},
    learn::{Submission, is_null_sender, learn},
    letter::{Letter, Recipient},
    obey::OrderMail,
    orders::{Order, Orders},
    settle::{Ask, Settled, settle},
    split::Splitter,
};
use crate::{
    address::{Address, Domain, escaped},
    config::Mode,
    ledger::{copies::COPY_OCTETS_MAX, marks::Answered},
    message::{
        dsn::{LetterDsn, RecipientDsn},
        envelope,
        kind::Kind,
    },
    policy::{
        Class, reply,
        status::{is_own_status, must_go},
    },
};

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
    /// The command addresses among its recipients.
    orders: Orders,
    /// A command address that a program of this machine wrote to; it is refused when that can be done.
    misdirected: Option<Address>,
    header_ended: bool,
    /// What it answers, if a person's answer it is.
    answered: Option<Answered>,
    splitter: Option<Splitter>,
    /// Who brought it; behind a relay of ours that is known once the header is there.
    client: Client,
    assessment: Option<Assessment>,
    /// The stamps it wants.
    wanted: Option<Wanted>,
}

impl InHand {
    /// Who really brought it, where a relay of ours did the last step.
    fn look_behind_relays(&mut self) {
        if self.submission.is_none()
            && let Some(client) = behind_relays(&self.site, &self.client, &self.letter)
        {
            self.network = is_within(&self.site.config.gate.exempt_networks, client.ip);
            self.client = client;
        }
    }

    fn exempt(&self) -> bool {
        self.submission.is_some() || self.network
    }

    /// Whether nothing may be refused or deferred: the site is only to be watched.
    fn observed(&self) -> bool {
        self.site.config.gate.mode == Mode::Observe
    }

    /// A recipient that is a command address. Commands come by authenticated submission only, whatever the mode.
    fn take_order(&mut self, order: Order) -> RcptReply {
        if self.submission.is_some() {
            return if self.orders.add(order) {
                RcptReply::Continue
            } else {
                refuse_rcpt("too many recipients")
            };
        }
        if self.local {
            self.misdirected.get_or_insert(order.address);
            return RcptReply::Continue;
        }
        tracing::info!(
            client = self.client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            from = escaped(&self.letter.mail_from),
            to = %order.address,
            "refused: mail to the command address without a login"
        );
        RcptReply::Refuse(reply::not_submitted(&order.address))
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

    async fn mail(&mut self, ctx: &Context, sender: EnvelopeAddress<'_>, args: Args<'_>) -> Reply {
        let site = self.gate.site();
        let client = Client {
            ip: self.client,
            helo: self.helo.clone(),
            name: self.client_name.clone(),
            relays_passed: 0,
        };
        let relay = is_within(&site.config.gate.relays, self.client);
        let network = !relay && is_within(&site.config.gate.exempt_networks, self.client);
        // An MTA that names a login that is none has authenticated nobody.
        let login = ctx.macros().get("auth_authen").filter(|login| !login.is_empty());
        let dsn = LetterDsn::new(args.value("RET"), args.value("ENVID"));
        let submission = login.map(|login| Submission::of(login, dsn));
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
            orders: Orders::default(),
            misdirected: None,
            header_ended: false,
            answered: None,
            assessment: None,
            wanted: None,
            site,
        });
        Reply::Continue
    }

    async fn rcpt(&mut self, _ctx: &Context, recipient: EnvelopeAddress<'_>, args: Args<'_>) -> RcptReply {
        let Some(hand) = &mut self.in_hand else { return RcptReply::Continue };
        let address = recipient_here(&hand.site, &hand.letter.mail_from, recipient.bytes());
        if let Some(order) = address.as_ref().and_then(|a| Order::of(recipient.bytes(), a, &hand.site)) {
            return hand.take_order(order);
        }
        hand.orders.others = true;
        if let Some(submission) = &mut hand.submission {
            let dsn = RecipientDsn::new(args.value("NOTIFY"), args.value("ORCPT"));
            submission.add_recipient(recipient.bytes(), dsn);
        }
        if let Some(address) = address {
            let recipient = Recipient::of(address);
            if let Some(splitter) = &mut hand.splitter
                && splitter.differs(&hand.site, &recipient, &*self.gate.ledger).await
            {
                return refuse_rcpt("please send this recipient's copy separately");
            }
            hand.letter.add_recipient(recipient);
            if hand.letter.too_many_recipients && !hand.local && !hand.observed() {
                return refuse_rcpt("too many recipients");
            }
        } else {
            hand.letter.goes_elsewhere = true;
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
        let reply = self.header_ended(ctx, &mut hand).await;
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
        let ledger = &*self.gate.ledger;
        if !hand.header_ended {
            // An MTA that sends no end of headers for a letter without any.
            match self.header_ended(ctx, &mut hand).await {
                Reply::Refuse(refusal) => return Verdict::Refuse(refusal),
                Reply::Discard => return Verdict::Discard,
                Reply::Continue | Reply::Accept => {}
            }
        }
        let mut postage = Postage::default();
        if let Some(submission) = &hand.submission {
            let now = crate::clock::unix_now();
            self.gate.note_submission(now).await;
            if let Some(orders) = hand.orders.alone() {
                let (site, queue_id) = (&hand.site, ctx.queue_id());
                let mail = OrderMail { site, submission, orders, queue_id };
                return mail.obey(&mut hand.letter, ledger, now).await;
            }
            let parts = hand.letter.take_kind_of_parts();
            if let Some(answered) = hand.answered.take().filter(|_| parts.is_none()) {
                answered::mark(answered, ledger).await;
            }
            if let (Some(franker), Some(wanted)) = (&self.gate.franker, hand.wanted.take()) {
                let outgoing = Outgoing { site: &hand.site, submission, wanted, now };
                match outgoing.frank(franker, ledger, &mut hand.letter).await {
                    Franked::Goes(with) => postage = with,
                    Franked::Deferred(reply) => {
                        tracing::info!(
                            queue_id = ctx.queue_id().map(escaped).unwrap_or_default(),
                            from = escaped(&hand.letter.mail_from),
                            said = %reply,
                            "deferred"
                        );
                        return Verdict::Refuse(reply);
                    }
                }
            }
            // Calendars put their answer, and programs their receipt, beside a text: neither is a letter to anybody.
            let by_itself = matches!(parts, Some(Kind::CalendarReply | Kind::Receipt));
            if let Some(sent) = submission.teaches(&hand.site, &hand.letter, now).filter(|_| !by_itself) {
                learn(sent, ledger).await;
            }
        }
        let verdict = self.verdict(ctx, &mut hand).await;
        postage.on(hand.orders.taken_off(verdict))
    }

    fn abort(&mut self) {
        self.in_hand = None;
    }
}

impl Session {
    /// The verdict on a letter that is complete.
    async fn verdict(&self, ctx: &Context, hand: &mut InHand) -> Verdict {
        if !hand.concerns_us() {
            return Verdict::deliver();
        }
        let Some(assessment) = hand.assessment.take() else { return answer::exempt(&self.told(ctx, hand)) };
        let assessment =
            assessment.authenticate(&hand.site, &mut hand.letter, &hand.client, &*self.gate.ledger).await;
        let settled =
            settle(&assessment, &hand.site, &mut hand.letter, &*self.gate.ledger, Ask::Redeem).await;
        let verdict = answer::answer(&settled, &self.told(ctx, hand), &*self.gate.ledger);
        if matches!(verdict, Verdict::Deliver(_)) {
            self.count_freepost(&settled).await;
        }
        verdict
    }

    /// What is done once the header is there.
    async fn header_ended(&self, ctx: &Context, hand: &mut InHand) -> Reply {
        hand.header_ended = true;
        if let Some(address) = &hand.misdirected {
            return Reply::Refuse(reply::not_submitted(address));
        }
        if let Some(submission) = &hand.submission {
            if let Some(orders) = hand.orders.alone() {
                if hand.letter.header_cut {
                    return header_too_large(ctx, hand);
                }
                let mail = OrderMail { site: &hand.site, submission, orders, queue_id: ctx.queue_id() };
                return mail.judge(&mut hand.letter, &self.gate.room);
            }
            let now = crate::clock::unix_now();
            hand.answered = answered::answers(submission, &hand.site, &hand.letter, now);
            if hand.answered.is_some() || submission.teaches(&hand.site, &hand.letter, now).is_some() {
                hand.letter.expect_parts();
            }
            if self.gate.franker.is_some() {
                hand.wanted = Wanted::of(&hand.site, &hand.letter, submission).await;
            }
            if hand.wanted.is_some() {
                hand.letter.expect_copy(COPY_OCTETS_MAX, &self.gate.room);
            }
        }
        self.assess(ctx, hand).await
    }

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
        let now = crate::clock::unix_now();
        let (ledger, room) = (&*self.gate.ledger, &self.gate.room);
        let letter = &mut hand.letter;
        let (assessment, certain) =
            Assessment::at_end_of_header(&hand.site, letter, &hand.client, ledger, room, now).await;
        if let Some(settled) = certain {
            return match answer::answer(&settled, &self.told(ctx, hand), &*self.gate.ledger) {
                Verdict::Refuse(refusal) => Reply::Refuse(refusal),
                _ => Reply::Continue,
            };
        }
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
    Reply::Refuse(too_large())
}

/// The recipient, if the letter stays with us: an address of ours, unless a bounce to it goes back to where it came
/// from. The MTA of such a site has checked that the address is one it made.
pub(super) fn recipient_here(site: &Site, mail_from: &[u8], recipient: &[u8]) -> Option<Address> {
    let gate = &site.config.gate;
    let address = ours(recipient, &gate.domains, &gate.hostname)?;
    match envelope::original(&address) {
        Some(author) if gate.srs && gate.guards(author.domain()) => Some(author),
        Some(_) if gate.srs && is_null_sender(mail_from) => None,
        _ => Some(address),
    }
}

/// The refusal of a letter whose header is over its bounds.
pub(super) fn too_large() -> SmtpReply {
    reply::permanent("5.3.4", "the header of this message is too large")
}

/// Who really brought a letter, if a relay of ours did the last step.
pub(super) fn behind_relays(site: &Site, client: &Client, letter: &Letter) -> Option<Client> {
    let relays = &site.config.gate.relays;
    let is_relay = |ip: &IpAddr| is_within(relays, Some(*ip));
    is_within(relays, client.ip).then(|| Client::behind(client, letter, is_relay))
}

/// Whether an address is in one of these networks.
pub(super) fn is_within(networks: &[IpNet], ip: Option<IpAddr>) -> bool {
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
