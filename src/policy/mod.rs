//! What follows from what is known of a letter: a verdict for each recipient, and one for the message.
//!
//! Pure: facts go in, words come out. Nobody here asks DNS, the ledger or a clock; the gate gathers the
//! facts, in the cheapest order, and carries the decision out. The rows are those of DESIGN.md "The verdict".

pub mod price;
pub mod reply;
pub mod status;

use crate::{
    address::Address,
    config::{Mode, OnTrouble},
    ledger::book::Known,
    stamp::Word,
};

/// Whether the letter is from whom it says (its author's domain, DMARC-aligned).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authenticated {
    /// An aligned SPF or DKIM pass.
    Yes,
    /// Nothing aligned passed, or nobody asked because nothing hangs on it.
    #[default]
    No,
    /// DNS did not answer; this is no "no".
    Trouble,
}

/// What the postage that came with a letter is worth for one recipient, by the ledger's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Postage {
    /// There is none.
    #[default]
    None,
    /// A stamp pays, or paid for this letter before.
    Paid,
    /// Work lets it in, or did before.
    Work,
    /// There is some, and the best of it fails for this word.
    Bad(Word),
    /// Nobody could tell: the ledger, or DNS about an office's key, did not answer.
    Trouble,
    /// Try again later: a retry too many, or today's letters by work are used up.
    Later,
}

/// Whether the letter answers, or returns, what the recipient sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// It does not, as far as anyone can tell.
    #[default]
    No,
    /// It does.
    Yes,
    /// So many have answered already that it must be from a domain the recipient wrote to; it names one.
    IfAuthentic,
    /// So many have answered already that it does no longer count, unless the ledger finds that it is a retry.
    IfRetry,
}

/// All that the verdict for one recipient needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Authenticated submission, an exempt network, postmaster or abuse.
    pub exempt: bool,
    /// What the recipient's book and the site's say of the sender the letter names.
    pub book: Known,
    /// The recipient's is a valid freepost address.
    pub freepost: bool,
    /// The author's domain is one of ours.
    pub own_domain: bool,
    /// Whether the letter is from that sender.
    pub authenticated: Authenticated,
    /// What the books say of the list the letter names.
    pub list: Known,
    /// Whether the letter is from that list.
    pub list_authenticated: Authenticated,
    /// Whether it answers what the recipient sent.
    pub answers: Answers,
    /// There are passes from the author the letter names; what they are worth, once he is authenticated, is in `postage`.
    pub pass: bool,
    /// What its postage is worth.
    pub postage: Postage,
}

/// The result of a letter for one recipient. The first seven stand in `Postage-Status`, in the order of SPEC.md §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nobody is asked.
    Exempt,
    /// From someone known, and authenticated.
    Known,
    /// To an address handed out for it.
    Freepost,
    /// A stamp paid.
    Paid,
    /// Work paid.
    Work,
    /// No postage.
    Unpaid,
    /// Postage that is not good, and the word for it.
    Invalid(Word),
    /// The recipient will have nothing from this sender.
    Blocked,
    /// It could not be found out now.
    Trouble,
    /// It may come again later.
    Later,
}

impl Class {
    /// The word for the log and for `result=`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exempt => "exempt",
            Self::Known => "known",
            Self::Freepost => "freepost",
            Self::Paid => "paid",
            Self::Work => "work",
            Self::Unpaid => "unpaid",
            Self::Invalid(_) => "invalid",
            Self::Blocked => "blocked",
            Self::Trouble | Self::Later => "unknown",
        }
    }
}

/// The verdict for one recipient: the first row that fits.
#[must_use]
pub fn verdict(facts: &Facts) -> Class {
    if facts.exempt {
        return Class::Exempt;
    }
    let names = [(facts.book, facts.authenticated), (facts.list, facts.list_authenticated)];
    let says = |known| names.contains(&(known, Authenticated::Yes));
    if says(Known::Blocked) {
        return Class::Blocked;
    }
    if facts.freepost {
        // Blocked mail stays out at a freepost address too, and whether it is that nobody can say now.
        let unsure = names.contains(&(Known::Blocked, Authenticated::Trouble));
        return if unsure { Class::Trouble } else { Class::Freepost };
    }
    let authentic = facts.authenticated == Authenticated::Yes;
    if says(Known::Allowed) || facts.own_domain && authentic {
        return Class::Known;
    }
    match facts.answers {
        Answers::Yes => return Class::Known,
        Answers::IfAuthentic if authentic => return Class::Known,
        _ => {}
    }
    let asks_identity = author_matters(facts) && facts.authenticated == Authenticated::Trouble
        || list_matters(facts) && facts.list_authenticated == Authenticated::Trouble;
    match facts.postage {
        Postage::Paid => Class::Paid,
        Postage::Work => Class::Work,
        // Whether he is known would decide, and nobody could say: not a "no".
        _ if asks_identity => Class::Trouble,
        Postage::Trouble => Class::Trouble,
        Postage::Later => Class::Later,
        Postage::Bad(word) => Class::Invalid(word),
        Postage::None => Class::Unpaid,
    }
}

/// Whether it could change this recipient's verdict who the author is: only then is DNS asked for it.
#[must_use]
pub fn author_matters(facts: &Facts) -> bool {
    let could_be_known =
        facts.book == Known::Allowed || facts.own_domain || facts.answers == Answers::IfAuthentic;
    let could_come_in = could_be_known || facts.pass;
    !facts.exempt && (facts.book == Known::Blocked || could_come_in && !facts.freepost)
}

/// Whether it could change this recipient's verdict which list the letter is from.
#[must_use]
pub fn list_matters(facts: &Facts) -> bool {
    !facts.exempt && (facts.list == Known::Blocked || facts.list == Known::Allowed && !facts.freepost)
}

/// Whether anything but postage could still let the letter in, or shut it out.
#[must_use]
pub fn may_be_known(facts: &Facts) -> bool {
    author_matters(facts) || list_matters(facts) || !facts.exempt && facts.answers != Answers::No
}

/// Local parts that must reach a person whatever happens (RFC 5321 §4.5.1, RFC 2142).
const ROLES: [&[u8]; 2] = [b"postmaster", b"abuse"];

/// Whether an address is one that is never asked for postage: postmaster, abuse.
#[must_use]
pub fn is_role(address: &Address) -> bool {
    ROLES.contains(&address.without_detail().local())
}

/// What happens to the whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let in.
    Deliver,
    /// Let in, but into quarantine.
    Hold,
    /// Refused for good; the recipients (by index) that refuse it.
    Refuse(Vec<usize>),
    /// Deferred for trouble of our own or too many tries; the recipients (by index) it hangs on.
    Defer(Vec<usize>),
}

/// The strictest of the recipients decides for the message (one reply is all that SMTP has).
///
/// `observe` refuses and defers nothing: it is there to be watched.
#[must_use]
pub fn decide(classes: &[Class], mode: Mode, on_trouble: OnTrouble) -> Decision {
    let those = |fits: &dyn Fn(Class) -> bool| -> Vec<usize> {
        classes.iter().enumerate().filter(|(_, class)| fits(**class)).map(|(i, _)| i).collect()
    };
    if mode == Mode::Observe {
        return Decision::Deliver;
    }
    let blocked = those(&|class| class == Class::Blocked);
    if !blocked.is_empty() {
        return Decision::Refuse(blocked);
    }
    let unpaid = those(&|class| matches!(class, Class::Unpaid | Class::Invalid(_)));
    if mode == Mode::Require && !unpaid.is_empty() {
        return Decision::Refuse(unpaid);
    }
    let deferred = those(&|class| match class {
        Class::Trouble => on_trouble == OnTrouble::Tempfail,
        Class::Later => mode == Mode::Require,
        _ => false,
    });
    if !deferred.is_empty() {
        return Decision::Defer(deferred);
    }
    let lacks = |class: &Class| matches!(class, Class::Unpaid | Class::Invalid(_) | Class::Later);
    if mode == Mode::Hold && classes.iter().any(lacks) { Decision::Hold } else { Decision::Deliver }
}

#[cfg(test)]
mod tests;
