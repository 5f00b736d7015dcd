//! Passes got on the page of a refusal (SPEC.md §10): looked for where a letter would be refused otherwise, and postage
//! of the letter once its author is authenticated.

use super::{Assessment, Party};
use crate::{
    gate::Site,
    ledger::{book::Known, passes::Pass},
    policy::Answers,
    stamp::Asked,
};

impl Assessment {
    /// Counts the passes as postage of the letter, for those to whom its author is authenticated: it is he who got them.
    pub(super) fn bring_passes(&mut self, site: &Site) {
        for party in self.parties.iter_mut().filter(|party| party.is_authentic()) {
            let asked = Asked {
                recipient: &party.address,
                author: self.author.as_ref(),
                currency: site.config.ledger.currency,
                // A stamp that the office keeps is held against the same price as one in the letter.
                price: party.price.asked,
                now: self.now,
            };
            party.postage.add_passes(&party.passes, &asked);
        }
    }
}

impl Party {
    /// Notes passes of the author for letters to him, if he would refuse him otherwise.
    pub(super) fn note_passes(&mut self, passes: Vec<Pass>) {
        if self.could_use_pass() {
            self.facts.pass = !passes.is_empty();
            self.passes = passes;
        }
    }

    /// Whether the author, once authenticated, would still need postage. (One who is blocked may not buy his way in.)
    fn could_use_pass(&self) -> bool {
        let facts = &self.facts;
        let stranger = facts.book == Known::Unknown && !facts.own_domain && facts.answers != Answers::Yes;
        stranger && !facts.exempt && !facts.freepost
    }
}
