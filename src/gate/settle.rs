//! The verdict for each recipient, with the ledger's word, and what follows for the message.

use super::{
    Site,
    assess::{Assessment, Party},
    letter::Letter,
};
use crate::{
    address::{Address, Domain},
    config::Mode,
    ledger::{self, Ledger, LedgerError, Outcome, sent::Answering},
    money::Micros,
    policy::{self, Answers, Authenticated, Class, Decision, Postage},
    stamp::{Stamp, Word, freepost::Freepost},
};

/// Whether the ledger is to redeem, or only to say what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The letter is let in by the answer.
    Redeem,
    /// Somebody wants to know.
    Foresee,
}

impl Ask {
    async fn ask(self, ledger: &dyn Ledger, letter: ledger::Letter) -> Result<Vec<Outcome>, LedgerError> {
        match self {
            Self::Redeem => ledger.redeem(letter).await,
            Self::Foresee => ledger.foresee(letter).await,
        }
    }
}

/// What was decided, and why.
pub struct Settled {
    /// What happens to the message.
    pub decision: Decision,
    /// One for each recipient of ours, in their order.
    pub parties: Vec<SettledParty>,
    /// The author, if there is exactly one.
    pub author: Option<Address>,
    /// Unix seconds.
    pub now: u64,
}

/// The verdict for one recipient.
pub struct SettledParty {
    /// The recipient.
    pub address: Address,
    /// The verdict.
    pub class: Class,
    /// The freepost address it is, if it is a valid one.
    pub freepost: Option<Freepost>,
    /// Whether the letter is from its author, as far as it was asked and by whose word he takes.
    pub authenticated: bool,
    /// The list it is really from, likewise.
    pub list: Option<Domain>,
    /// The stamp that paid, its redemption number, and whether it had paid for this letter before.
    pub paid: Option<(Stamp, u64, bool)>,
    /// What a refusal tells him who wrote.
    pub price: Micros,
}

impl Settled {
    /// The verdict when nobody needs to ask the ledger: no stamp could pay, or the letter is refused for the sake of
    /// those who have none. Whose stamp is good is not named then.
    #[must_use]
    pub fn without_ledger(assessment: &Assessment, site: &Site) -> Self {
        let class = |party: &Party| {
            let good = party.postage.has_good() || party.postage.is_priced_out();
            let postage = match good {
                true if party.postage.is_cheap() => Postage::Bad(Word::Underpaid),
                true => Postage::Paid,
                false => party.postage_without_ledger(),
            };
            class_of(party, postage)
        };
        let classes = assessment.parties.iter().map(class).collect();
        Self::of(assessment, site, classes, vec![])
    }

    /// What a refusal says is required: enough for everybody for whom it is refused.
    pub fn price(&self, site: &Site) -> Micros {
        let Decision::Refuse(who) = &self.decision else { return site.price(None).told };
        who.iter().filter_map(|&i| self.parties.get(i)).map(|party| party.price).max().unwrap_or_default()
    }

    const fn lets_in(&self) -> bool {
        matches!(self.decision, Decision::Deliver | Decision::Hold)
    }

    fn of(
        assessment: &Assessment,
        site: &Site,
        classes: Vec<Class>,
        mut paid: Vec<Option<(Stamp, u64, bool)>>,
    ) -> Self {
        let gate = &site.config.gate;
        let decision = policy::decide(&classes, gate.mode, gate.on_trouble);
        paid.resize(classes.len(), None);
        let parties = assessment
            .parties
            .iter()
            .zip(classes.into_iter().zip(paid))
            .map(|(party, (class, paid))| SettledParty {
                address: party.address.clone(),
                class,
                freepost: party.freepost.clone(),
                authenticated: party.is_authentic(),
                list: assessment
                    .list
                    .clone()
                    .filter(|_| party.facts.list_authenticated == Authenticated::Yes),
                paid,
                price: match class {
                    Class::Blocked => Micros::ZERO,
                    // Only to whoever brought a stamp that is good but for that price.
                    Class::Invalid(Word::Underpaid) if party.postage.is_priced_out() => party.price.asked,
                    _ => party.price.told,
                },
            })
            .collect();
        Self { decision, parties, author: assessment.author.clone(), now: assessment.now }
    }
}

fn class_of(party: &Party, postage: Postage) -> Class {
    policy::verdict(&policy::Facts { postage, ..party.facts })
}

/// The same, were the letter no answer to him: that it is one is the ledger's to say, which counts them.
fn class_unless_answer(party: &Party, postage: Postage) -> Class {
    policy::verdict(&policy::Facts { postage, answers: Answers::No, ..party.facts })
}

/// What the ledger is asked for one recipient.
pub fn want(party: &Party, assessment: &Assessment, site: &Site) -> ledger::Want {
    let from = assessment.author.as_ref().map(|author| author.domain().clone());
    let answering = party
        .answering
        .filter(|_| party.facts.answers != Answers::No)
        .map(|message_id| Answering { message_id, from: from.filter(|_| party.is_authentic()) });
    let own_office = site.config.office.as_ref().map(|office| &office.domain);
    party.postage.want(&party.address, answering, own_office)
}

/// Whether this recipient's verdict waits for the ledger.
fn pends(party: &Party) -> bool {
    party.asks_ledger()
        && !matches!(
            class_unless_answer(party, Postage::None),
            Class::Exempt | Class::Known | Class::Freepost | Class::Blocked
        )
}

/// Settles a letter whose sender has been looked into: redeems what pays, unless the letter cannot be let in anyway.
pub async fn settle(
    assessment: &Assessment,
    site: &Site,
    letter: &mut Letter,
    ledger: &dyn Ledger,
    ask: Ask,
) -> Settled {
    if assessment.ledger_trouble {
        return all_in_trouble(assessment, site);
    }
    // At the best every pending one is paid; if even that lets nobody in, the ledger is left alone.
    let at_best: Vec<Class> = assessment
        .parties
        .iter()
        .map(|party| if pends(party) { Class::Paid } else { class_of(party, party.postage_without_ledger()) })
        .collect();
    let gate = &site.config.gate;
    let hopeless = matches!(
        policy::decide(&at_best, gate.mode, gate.on_trouble),
        Decision::Refuse(_) | Decision::Defer(_)
    );
    let pending: Vec<usize> =
        (0..at_best.len()).filter(|&i| assessment.parties.get(i).is_some_and(pends)).collect();
    if hopeless || pending.is_empty() {
        return Settled::without_ledger(assessment, site);
    }
    let Some(digest) = letter.take_digest() else {
        // Nothing is let in as paid that was not redeemed.
        tracing::error!("a letter with postage has no digest");
        return all_in_trouble(assessment, site);
    };
    let mut request = ledger::Letter {
        now: assessment.now,
        digest,
        author: assessment.author.clone(),
        // It is kept once for all of them: what each takes for proven.
        authenticated: pending.iter().filter_map(|&i| assessment.parties.get(i)).all(Party::is_authentic),
        wants: pending
            .iter()
            .filter_map(|&i| assessment.parties.get(i))
            .map(|party| want(party, assessment, site))
            .collect(),
        // A letter that is refused or deferred for one of them must redeem nothing for the others.
        all_or_nothing: gate.mode != Mode::Observe,
        work_daily_max: gate.work_daily,
        office_cap: gate.office_cap,
    };
    let books = Books { ledger, ask };
    let settled = redeem(assessment, site, &at_best, &pending, &request, books).await;
    if !(settled.withheld && settled.settled.lets_in()) {
        return settled.settled;
    }
    // It is let in although one of them has not paid: what the others brought is redeemed all the same.
    request.all_or_nothing = false;
    redeem(assessment, site, &at_best, &pending, &request, books).await.settled
}

/// The ledger, and what for it is asked.
#[derive(Clone, Copy)]
struct Books<'a> {
    ledger: &'a dyn Ledger,
    ask: Ask,
}

/// What the ledger made of a letter.
struct Redeemed {
    settled: Settled,
    /// Nothing was redeemed for anyone, since one of them could not pay.
    withheld: bool,
}

/// The classes that the reply to a letter is made of. One that is not let in redeems nothing, so what is asked in
/// silence must not show in it, or asking were free: a stamp below the price that is told is underpaid, and who asks more
/// than that is no reason where there is another. `unpaid` tells for whom, by index, the ledger found no postage.
fn as_told(
    assessment: &Assessment,
    site: &Site,
    classes: Vec<Class>,
    unpaid: impl Fn(usize) -> bool,
) -> Vec<Class> {
    let gate = &site.config.gate;
    let lets_in = |classes: &[Class]| {
        matches!(policy::decide(classes, gate.mode, gate.on_trouble), Decision::Deliver | Decision::Hold)
    };
    if lets_in(&classes) {
        return classes;
    }
    let told = |dear: Class| {
        let told_of = |(i, (party, &class)): (usize, (&Party, &Class))| match class {
            _ if unpaid(i) && party.postage.is_cheap() => {
                class_unless_answer(party, Postage::Bad(Word::Underpaid))
            }
            Class::Invalid(Word::Underpaid) if party.postage.is_priced_out() => dear,
            class => class,
        };
        assessment.parties.iter().zip(&classes).enumerate().map(told_of).collect::<Vec<_>>()
    };
    let without_dear = told(Class::Paid);
    if lets_in(&without_dear) { told(Class::Invalid(Word::Underpaid)) } else { without_dear }
}

/// Asks the ledger once for those whose verdict waits for it (`pending`, by index); the others are classed already.
async fn redeem(
    assessment: &Assessment,
    site: &Site,
    classes: &[Class],
    pending: &[usize],
    request: &ledger::Letter,
    books: Books<'_>,
) -> Redeemed {
    let outcomes = books.ask.ask(books.ledger, request.clone()).await;
    if let Err(error) = &outcomes {
        // The ledger logs its trouble itself, once and not for every letter.
        tracing::debug!(%error, "postage cannot be redeemed");
    }
    let mut classes = classes.to_vec();
    let mut paid = vec![None; classes.len()];
    for (nth, &i) in pending.iter().enumerate() {
        let (Some(party), Some(class), Some(paid)) =
            (assessment.parties.get(i), classes.get_mut(i), paid.get_mut(i))
        else {
            continue;
        };
        let outcome = outcomes.as_ref().ok().and_then(|all| all.get(nth));
        *class = match outcome {
            Some(Outcome::Answer) => Class::Known,
            _ => class_unless_answer(party, postage_of(party, outcome)),
        };
        if let Some(&Outcome::Stamp { index, number, retry }) = outcome {
            *paid = party.postage.stamps.get(index).map(|bound| (bound.stamp.stamp.clone(), number, retry));
        }
    }
    let unpaid = |i: usize| {
        let nth = pending.iter().position(|&at| at == i);
        let outcome = outcomes.as_ref().ok().zip(nth).and_then(|(all, nth)| all.get(nth));
        matches!(outcome, Some(Outcome::Unpaid { .. }))
    };
    let classes = as_told(assessment, site, classes, unpaid);
    let fails = |outcome: &Outcome| matches!(outcome, Outcome::Unpaid { .. } | Outcome::TooOften);
    Redeemed {
        settled: Settled::of(assessment, site, classes, paid),
        withheld: request.all_or_nothing && outcomes.is_ok_and(|all| all.iter().any(fails)),
    }
}

fn all_in_trouble(assessment: &Assessment, site: &Site) -> Settled {
    let classes = assessment.parties.iter().map(|party| class_of(party, Postage::Trouble)).collect();
    Settled::of(assessment, site, classes, vec![])
}

fn postage_of(party: &Party, outcome: Option<&Outcome>) -> Postage {
    match outcome {
        None => Postage::Trouble,
        Some(Outcome::Stamp { .. }) => Postage::Paid,
        // It is let in as an answer, whatever postage it brings.
        Some(Outcome::Answer) => Postage::None,
        Some(Outcome::Work { .. }) => Postage::Work,
        Some(Outcome::TooOften) => Postage::Later,
        Some(Outcome::Unpaid { stamps, work_used_up, work_untouched }) => {
            if *work_untouched || stamps.contains(&ledger::Ledgered::Untouched) {
                // His postage is good; the letter is refused for another's sake.
                Postage::Paid
            } else if party.postage.key_trouble {
                Postage::Trouble
            } else if *work_used_up {
                Postage::Later
            } else {
                party.postage.word(stamps).map_or(Postage::None, Postage::Bad)
            }
        }
    }
}
