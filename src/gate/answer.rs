//! The answer to the MTA: fields to take away and to add, or the text of a refusal; and the line in the log.

use std::net::IpAddr;

use farthing_milter::{
    modification::Modification,
    text::{HeaderName, HeaderValue, QuarantineReason},
    verdict::{Delivery, Verdict},
};

use super::{
    Site,
    letter::Letter,
    settle::{Settled, SettledParty},
};
use crate::{
    address::{Address, escaped},
    ledger::{self, Ledger, marks::REPLY_TO_MAX, message_id_hash},
    message::{addresses, list},
    policy::{
        Class, Decision, reply,
        status::{self, PaidBy},
    },
};

/// Recipients named in one line of the log.
const LOGGED_RECIPIENTS_MAX: usize = 10;

/// What an answer is about.
pub struct Told<'a> {
    /// By which it was judged.
    pub site: &'a Site,
    /// The MTA's name for the message.
    pub queue_id: Option<&'a [u8]>,
    /// Who brought it.
    pub client: Option<IpAddr>,
    /// The letter.
    pub letter: &'a Letter,
}

/// The answer for mail that nobody is asked about.
pub fn exempt(told: &Told<'_>) -> Verdict {
    let parties: Vec<SettledParty> = told
        .letter
        .recipients
        .iter()
        .map(|r| SettledParty {
            address: r.address.clone(),
            class: Class::Exempt,
            freepost: None,
            authenticated: false,
            list: None,
            paid: None,
            price: told.site.price(None).told,
        })
        .collect();
    log(told, &parties, "accepted", "");
    deliver(told, &parties, None)
}

/// The answer that a decision comes to.
pub fn answer(settled: &Settled, told: &Told<'_>, ledger: &dyn Ledger) -> Verdict {
    let verdict = verdict(settled, told);
    let (word, text) = match (&verdict, &settled.decision) {
        (Verdict::Refuse(refusal), Decision::Defer(_)) => ("deferred", refusal.to_string()),
        (Verdict::Refuse(refusal), _) => ("refused", refusal.to_string()),
        (_, Decision::Hold) => ("held", String::new()),
        _ => ("accepted", String::new()),
    };
    log(told, &settled.parties, word, &text);
    remember(settled, told, ledger);
    verdict
}

/// The same, told to nobody but the caller.
pub fn verdict(settled: &Settled, told: &Told<'_>) -> Verdict {
    let price = settled.price(told.site);
    match &settled.decision {
        Decision::Deliver => deliver(told, &settled.parties, None),
        Decision::Hold => deliver(told, &settled.parties, hold_reason(&settled.parties)),
        Decision::Refuse(who) => {
            let refusing: Vec<(&Address, Class)> =
                chosen(settled, who).map(|p| (&p.address, p.class)).collect();
            Verdict::Refuse(reply::refusal(&refusing, &told.site.terms(price)))
        }
        Decision::Defer(who) => {
            let waiting: Vec<&Address> = chosen(settled, who).map(|p| &p.address).collect();
            let ours = chosen(settled, who).any(|p| p.class == Class::Trouble);
            Verdict::Refuse(if ours {
                reply::deferral(&waiting)
            } else {
                reply::later(&waiting, &told.site.terms(price))
            })
        }
    }
}

fn chosen<'a>(settled: &'a Settled, who: &'a [usize]) -> impl Iterator<Item = &'a SettledParty> {
    who.iter().filter_map(|&i| settled.parties.get(i))
}

fn deliver(told: &Told<'_>, parties: &[SettledParty], quarantine: Option<QuarantineReason>) -> Verdict {
    // From the last to the first: whether or not an MTA counts anew after each, the indexes hold.
    let mut modifications: Vec<Modification> = told
        .letter
        .forged
        .iter()
        .rev()
        .filter_map(|(name, index)| Some(Modification::DeleteHeader(*index, HeaderName::new(*name).ok()?)))
        .collect();
    for (name, value) in fields(told, parties).into_iter().rev() {
        if let (Ok(name), Ok(value)) = (HeaderName::new(name), HeaderValue::new(value)) {
            // At the top, above the Received fields of servers that could have forged it.
            modifications.push(Modification::InsertHeader(0, name, value));
        }
    }
    Verdict::Deliver(Delivery { modifications, quarantine })
}

/// The fields the letter gets, from the top down (SPEC.md §6).
fn fields(told: &Told<'_>, parties: &[SettledParty]) -> Vec<(&'static str, String)> {
    let site = told.site;
    let hostname = &site.config.gate.hostname;
    let (party, goes_elsewhere) = (parties.first(), told.letter.goes_elsewhere);
    // Those elsewhere would read who of ours got it, be it as a Bcc.
    let Some(party) = party.filter(|_| parties.len() == 1 && !goes_elsewhere) else {
        let classes: Vec<Class> = parties.iter().map(|party| party.class).collect();
        return vec![(status::STATUS, status::status_of_several(hostname, &classes))];
    };
    let Some((stamp, number, _)) = &party.paid else {
        return vec![(status::STATUS, status::status_of_one(hostname, party.class, &party.address, None))];
    };
    let paid = PaidBy {
        value: stamp.terms.value,
        currency: stamp.terms.currency,
        issuer: &stamp.terms.office,
        id: &stamp.terms.id,
    };
    let mut fields =
        vec![(status::STATUS, status::status_of_one(hostname, party.class, &party.address, Some(&paid)))];
    if let Some(key) = site.keys.tokens.last() {
        let (wanted, unwanted) = status::links(key, &site.config.commands.address, &party.address, *number);
        fields.push((status::WANTED, wanted));
        fields.push((status::UNWANTED, unwanted));
    }
    fields
}

fn hold_reason(parties: &[SettledParty]) -> Option<QuarantineReason> {
    let party = parties.iter().find(|party| {
        !matches!(party.class, Class::Exempt | Class::Known | Class::Freepost | Class::Paid | Class::Work)
    })?;
    let mut text = format!("postage: {} <{}>", party.class.as_str(), party.address);
    while text.len() > QuarantineReason::MAX_BYTES {
        text.pop();
    }
    QuarantineReason::new(text).ok()
}

/// One line for each message decided.
fn log(told: &Told<'_>, parties: &[SettledParty], word: &str, said: &str) {
    let mut recipients: Vec<String> = parties.iter().take(LOGGED_RECIPIENTS_MAX).map(logged).collect();
    if parties.len() > LOGGED_RECIPIENTS_MAX {
        recipients.push(format!("and {} more", parties.len() - LOGGED_RECIPIENTS_MAX));
    }
    tracing::info!(
        queue_id = told.queue_id.map(escaped).unwrap_or_default(),
        client = told.client.map(|ip| ip.to_string()).unwrap_or_default(),
        from = escaped(&told.letter.mail_from),
        to = recipients.join(", "),
        said,
        "{word}"
    );
}

fn logged(party: &SettledParty) -> String {
    let (address, class) = (&party.address, party.class.as_str());
    match (&party.paid, reply::word(party.class)) {
        (Some((stamp, _, true)), _) => {
            format!("<{address}> {class} 0c (retry; {} before)", stamp.terms.value)
        }
        (Some((stamp, _, false)), _) => format!("<{address}> {class} {}", stamp.terms.value),
        (None, Some(word)) => format!("<{address}> {class} ({word})"),
        (None, None) => format!("<{address}> {class}"),
    }
}

/// Hands the decision to the ledger, for marks by Message-ID and for the report. No money hangs on it.
fn remember(settled: &Settled, told: &Told<'_>, ledger: &dyn Ledger) {
    let delivered = matches!(settled.decision, Decision::Deliver | Decision::Hold);
    let message_id = told.letter.values("Message-ID").next().map(message_id_hash);
    let addresses = |name| if delivered { list::mailto_addresses(told.letter.values(name)) } else { vec![] };
    let unsubscribe = addresses("List-Unsubscribe");
    let posts = addresses("List-Post");
    let mut reply_to = vec![];
    if let (Some(value), true) = (told.letter.values("Reply-To").next(), delivered) {
        reply_to = addresses::addresses(value);
        reply_to.truncate(REPLY_TO_MAX);
    }
    for party in &settled.parties {
        // No list speaks for the addresses of others.
        let of_list =
            |post: &&Address| party.list.as_ref().is_some_and(|list| post.domain().is_of_organisation(list));
        ledger.decided(ledger::Decision {
            time: settled.now,
            recipient: party.address.clone(),
            author: settled.author.clone(),
            authenticated: party.authenticated,
            message_id,
            result: party.class.as_str(),
            reason: reply::word(party.class).map_or("", crate::stamp::Word::as_str),
            delivered,
            number: party.paid.as_ref().map(|(_, number, _)| *number),
            list: party.list.as_ref().map(ToString::to_string),
            unsubscribe: unsubscribe.clone(),
            reply_to: reply_to.clone(),
            list_posts: posts.iter().filter(of_list).cloned().collect(),
        });
    }
}
