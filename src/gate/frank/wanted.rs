//! Which recipients of a letter want stamps; known once the header is there.

use std::time::Duration;

use super::super::{
    Site,
    learn::{Submission, is_null_sender},
    letter::Letter,
};
use crate::{
    address::{Address, Domain},
    config,
    dns::Budget,
    ledger::{copies::COPIES_OF_LETTER_MAX, franking::Wish},
    message::addresses,
    outgoing::{
        bounce,
        compose::envelope_address,
        copies::{self, COPY_FIELD},
    },
    stamp::{CancelledStamp, STAMP_FIELD, STAMP_FIELDS_MAX, check::is_for},
};

/// Domains of one letter that are asked whether they want stamps; a letter to more is written to nobody in particular.
const DOMAINS_MAX: usize = 20;
/// Waiting for all of their answers.
const POLICIES_TIME: Duration = Duration::from_secs(3);
/// Fields whose recipients all others may see.
const SHOWN: [&str; 4] = ["To", "Cc", "Resent-To", "Resent-Cc"];

/// What a letter of a user's wants.
pub struct Wanted {
    /// Its author, whose address the login owns.
    pub author: Address,
    /// Recipients whose domains want stamps, at least one; nobody waits yet.
    pub wishes: Vec<Wish>,
    /// Whether copies of it could be handed in, and its sender be told when one is not taken.
    pub can_copy: bool,
}

impl Wanted {
    /// What a letter wants whose header is there; `None`: nothing.
    pub async fn of(site: &Site, letter: &Letter, submission: &Submission) -> Option<Self> {
        let config = site.config.franking.as_ref()?;
        if letter.header_cut || is_null_sender(&letter.mail_from) || is_copy(site, letter) {
            return None;
        }
        let author = submission.author(site, letter)?;
        let mut wishes = wishes(site, config, recipients(site, letter, submission)).await;
        let is_copyable = |wish: &Wish| copies::to(&wish.envelope, &wish.recipient).is_some();
        // They get nothing, and all others what they would get without them.
        wishes.retain(|wish| !wish.apart || is_copyable(wish));
        let can_copy = wishes.len() <= COPIES_OF_LETTER_MAX
            && envelope_address(&letter.mail_from).is_some()
            && bounce::recipient(&letter.mail_from).is_some()
            && wishes.iter().all(is_copyable);
        (!wishes.is_empty()).then_some(Self { author, wishes, can_copy })
    }
}

/// Whether it is a copy that was made here: it has got what it gets.
fn is_copy(site: &Site, letter: &Letter) -> bool {
    let hostname = site.config.gate.hostname.as_bytes();
    letter.values(COPY_FIELD).any(|value| value.trim_ascii().eq_ignore_ascii_case(hostname))
}

/// Of these recipients, those whose domains want stamps that are bought here.
async fn wishes(site: &Site, config: &config::Franking, recipients: Vec<Wish>) -> Vec<Wish> {
    let mut domains: Vec<Domain> = recipients.iter().map(|wish| wish.recipient.domain().clone()).collect();
    domains.sort_unstable();
    domains.dedup();
    if domains.len() > DOMAINS_MAX {
        return vec![];
    }
    let mut budget = Budget::of(POLICIES_TIME);
    let mut policies = vec![];
    for domain in domains {
        let Some(Ok(Ok(policy))) = budget.spend(site.discovery.policy(&domain)).await else {
            continue;
        };
        if policy.currency != site.config.ledger.currency || policy.price > config.max_price {
            tracing::info!(%domain, price = %policy.price, currency = %policy.currency, "asks for stamps that are not bought here");
            continue;
        }
        policies.push((domain, policy));
    }
    let asked = |wish: Wish| {
        let (_, policy) = policies.iter().find(|(domain, _)| domain == wish.recipient.domain())?;
        Some(Wish { least: policy.price, offices: policy.offices.clone(), ..wish })
    };
    recipients.into_iter().filter_map(asked).collect()
}

/// Recipients elsewhere, each once, without those who have a stamp on the letter already. Whom it does not name, beside
/// others, these may not see: a stamp is bound to its recipient, and whoever can guess the address finds him by it.
fn recipients(site: &Site, letter: &Letter, submission: &Submission) -> Vec<Wish> {
    let shown: Vec<Address> = SHOWN
        .into_iter()
        .flat_map(|name| letter.values(name).flat_map(addresses::addresses).collect::<Vec<_>>())
        .collect();
    let stamped: Vec<CancelledStamp> = letter
        .values(STAMP_FIELD)
        .take(STAMP_FIELDS_MAX)
        .filter_map(|value| CancelledStamp::parse(value).ok())
        .collect();
    let gate = &site.config.gate;
    let mut wishes: Vec<Wish> = vec![];
    for (recipient, named) in submission.envelope() {
        if gate.guards(recipient.domain())
            || stamped.iter().any(|stamp| is_for(stamp, recipient))
            || wishes.iter().any(|wish| wish.recipient == *recipient)
        {
            continue;
        }
        wishes.push(Wish {
            offices: vec![],
            recipient: recipient.clone(),
            envelope: named.address.clone(),
            least: crate::money::Micros::ZERO,
            apart: submission.count() > 1 && !shown.contains(recipient),
            wait_s: None,
            dsn: named.dsn.clone(),
        });
    }
    wishes
}
