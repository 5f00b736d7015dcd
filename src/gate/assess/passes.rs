//! Passes got on the page of a refusal (SPEC.md §10): looked for where a letter would be refused otherwise, and postage
//! of the letter once its author is authenticated.

use super::{Assessment, Party};
use crate::{
    address::Address,
    config::IdentityCheck,
    gate::Site,
    ledger::{Ledger, book::Known, passes::Means},
    money::Micros,
    policy::Answers,
    stamp::Asked,
};

impl Assessment {
    /// Looks for passes of the author, for recipients who would refuse him otherwise. One read a letter, and none
    /// where nobody is authenticated.
    pub(super) async fn look_up_passes(&mut self, site: &Site, ledger: &dyn Ledger) {
        let possible = site.config.identity.check != IdentityCheck::None && !self.ledger_trouble;
        let Some(author) = self.author.clone().filter(|_| possible) else { return };
        let mut parties: Vec<&mut Party> =
            self.parties.iter_mut().filter(|party| party.could_use_pass()).collect();
        if parties.is_empty() {
            return;
        }
        let recipients: Vec<Address> = parties.iter().map(|party| party.address.clone()).collect();
        match ledger.passes(&author, &recipients, self.now).await {
            Ok(all) => {
                for (party, passes) in parties.iter_mut().zip(all) {
                    party.facts.pass = !passes.is_empty();
                    party.passes = passes;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "passes cannot be looked up");
                self.ledger_trouble = true;
            }
        }
        // A stamp that the office keeps is held against the same price as one in the letter.
        for at in 0..self.parties.len() {
            let bought = |party: &&Party| party.price.is_none() && party.has_bought_pass();
            let Some(party) = self.parties.get(at).filter(bought) else { continue };
            let address = party.address.clone();
            let price = self.price(site, ledger, &address).await;
            if let Some(party) = self.parties.get_mut(at) {
                party.price = price;
            }
        }
    }

    /// Counts the passes as postage of the letter, for those to whom its author is authenticated: it is he who got them.
    pub(super) fn bring_passes(&mut self, site: &Site) {
        for party in self.parties.iter_mut().filter(|party| party.is_authentic()) {
            let asked = Asked {
                recipient: &party.address,
                author: self.author.as_ref(),
                currency: site.config.ledger.currency,
                price: party.price.map_or(Micros::ZERO, |price| price.asked),
                now: self.now,
            };
            party.postage.add_passes(&party.passes, &asked);
        }
    }
}

impl Party {
    fn has_bought_pass(&self) -> bool {
        self.passes.iter().any(|pass| matches!(pass.means, Means::Stamp(_)))
    }

    /// Whether the author, once authenticated, would still need postage. (One who is blocked may not buy his way in.)
    fn could_use_pass(&self) -> bool {
        let facts = &self.facts;
        let stranger = facts.book == Known::Unknown && !facts.own_domain && facts.answers != Answers::Yes;
        stranger && !facts.exempt && !facts.freepost
    }
}
