//! Buying stamps so that no crash, time-out or lost answer costs money.
//!
//! An order is in the wallet, durably, before it is sent. Until it is answered it is sent again with every purchase
//! at its office; the office charges it once. A stamp comes into the purse when its signature verifies.

use std::{thread::sleep, time::Duration};

use super::{
    Wallet, WalletError,
    client::{ClientError, Description, OfficeClient},
    contents::OpenOrder,
};
use crate::{
    address::Domain,
    clock::unix_now,
    ledger::ORDER_STAMPS_MAX,
    money::Micros,
    office::wire::{Bytes, OrderAnswer, OrderBody, Wish},
    stamp::{Selector, Stamp, Terms, check::EXPIRY_AHEAD_MAX_S},
};

/// Stamps one wallet holds: more would make its file slow to replace, and belong in a server's books.
pub const PURSE_STAMPS_MAX: usize = 100_000;
/// How long an office may ask to wait between two orders of one purchase, in seconds.
const WAIT_MAX_S: u64 = 20;
/// How often it may.
const WAITS_MAX: u32 = 10;

/// What to buy.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// The domain that may redeem the stamps.
    pub audience: Domain,
    /// Of each stamp.
    pub value: Micros,
    /// How many, at least 1.
    pub count: usize,
}

/// What was bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// Stamps of the purchase, those that an earlier order left open brought among them.
    pub count: usize,
    /// Other stamps that earlier orders left open brought.
    pub others: usize,
}

impl Wallet {
    /// Buys stamps at an office, after finishing what earlier purchases there left open: if they were for the same
    /// stamps, they count.
    ///
    /// # Errors
    /// [`WalletError`]. What was ordered and not answered stays in the wallet and is sent again next time.
    pub fn buy(
        &mut self,
        client: &OfficeClient,
        office: &Description,
        purchase: &Purchase,
    ) -> Result<Bought, WalletError> {
        self.contents.met(&office.office, client.url());
        let finished = self.finish_orders(client, office)?;
        let same = |order: &OpenOrder| (&order.audience, order.value) == (&purchase.audience, purchase.value);
        let mut bought = Bought { count: 0, others: 0 };
        for (order, count) in &finished {
            if same(order) { bought.count += count } else { bought.others += count }
        }
        if self.contents.count() + purchase.count > PURSE_STAMPS_MAX {
            return Err(WalletError::Full);
        }
        while bought.count < purchase.count {
            let order = OpenOrder {
                office: office.office.clone(),
                audience: purchase.audience.clone(),
                value: purchase.value,
                currency: office.currency,
                time: unix_now(),
                ids: random_ids((purchase.count - bought.count).min(ORDER_STAMPS_MAX))?,
            };
            self.contents.orders.push(order.clone());
            self.save()?;
            let brought = self.finish(client, office, &order)?;
            if brought == 0 {
                // Ordering again would only spend again.
                return Err(client.answer("stamps that have expired already").into());
            }
            bought.count += brought;
        }
        Ok(bought)
    }

    /// Sends every order at this office that was not answered once more; each with the number of stamps it brought.
    fn finish_orders(
        &mut self,
        client: &OfficeClient,
        office: &Description,
    ) -> Result<Vec<(OpenOrder, usize)>, WalletError> {
        let open: Vec<OpenOrder> =
            self.contents.orders.iter().filter(|order| order.office == office.office).cloned().collect();
        let mut finished = Vec::with_capacity(open.len());
        for order in open {
            match self.finish(client, office, &order) {
                Ok(count) => finished.push((order, count)),
                // It never came to be, and now it is gone; the purchase at hand is another matter.
                Err(WalletError::Client(ClientError::Refused { status, .. })) if is_final(status) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(finished)
    }

    /// Sends an open order until it is answered, and puts its stamps into the purse; their number.
    fn finish(
        &mut self,
        client: &OfficeClient,
        office: &Description,
        order: &OpenOrder,
    ) -> Result<usize, WalletError> {
        let answer = match self.send(client, order) {
            Ok(answer) => answer,
            Err(error) => {
                if matches!(&error, ClientError::Refused { status, .. } if is_final(*status)) {
                    self.contents.orders.retain(|open| open != order);
                    self.save()?;
                }
                return Err(error.into());
            }
        };
        let stamps = self.checked(order, &answer, office).map_err(|what| client.answer(what))?;
        // Of an order that lay open until its stamps expired the money is back on the account.
        let live = if answer.x >= unix_now() { stamps } else { vec![] };
        let count = live.len();
        self.contents.put(live);
        self.contents.orders.retain(|open| open != order);
        self.save()?;
        Ok(count)
    }

    fn send(&self, client: &OfficeClient, order: &OpenOrder) -> Result<OrderAnswer, ClientError> {
        let wish = |id: &Bytes<16>| {
            let k = self.contents.seed.holder(&order.office, &id.0).public().to_bytes();
            Wish { id: *id, k: Bytes(k) }
        };
        let body = OrderBody {
            audience: order.audience.clone(),
            value: order.value.get().into(),
            stamps: order.ids.iter().map(wish).collect(),
        };
        let account = self.contents.seed.account();
        let mut waits = 0;
        loop {
            match client.order(&order.office, &account, &body) {
                Err(ClientError::Refused { status: 429, retry_after_s: Some(wait_s), .. })
                    if waits < WAITS_MAX && wait_s <= WAIT_MAX_S =>
                {
                    waits += 1;
                    sleep(Duration::from_secs(wait_s));
                }
                answer => return answer,
            }
        }
    }

    /// The stamps of an answer, if every one is what was ordered.
    fn checked(
        &self,
        order: &OpenOrder,
        answer: &OrderAnswer,
        office: &Description,
    ) -> Result<Vec<Stamp>, &'static str> {
        let selector: Selector = answer.s.parse().map_err(|_| "its selector is none")?;
        let key = office.key(&selector).ok_or("it signed with a key that it does not publish")?;
        if answer.b.len() != order.ids.len() {
            return Err("not as many stamps as were ordered");
        }
        if answer.x > unix_now().saturating_add(EXPIRY_AHEAD_MAX_S) {
            return Err("stamps that expire so late that nobody takes them yet");
        }
        let stamp = |(id, b): (&Bytes<16>, &Bytes<64>)| {
            let terms = Terms {
                office: order.office.clone(),
                selector: selector.clone(),
                id: id.0,
                value: order.value,
                currency: order.currency,
                audience: order.audience.clone(),
                expiry: answer.x,
                holder: self.contents.seed.holder(&order.office, &id.0).public().to_bytes(),
            };
            key.verify(&terms.signed_bytes(), &b.0).then_some(Stamp { terms, signature: b.0 })
        };
        let stamps: Option<Vec<Stamp>> = order.ids.iter().zip(&answer.b).map(stamp).collect();
        stamps.ok_or("a stamp whose signature does not verify")
    }
}

/// Whether a refusal says that the order was not done and never will be. The office looks at what was sold before it
/// looks at anything else, so these words mean that nothing was. Any other trouble may be on the way to the office.
const fn is_final(status: u16) -> bool {
    matches!(status, 400 | 402 | 409 | 422)
}

fn random_ids(count: usize) -> Result<Vec<Bytes<16>>, WalletError> {
    let mut random = vec![0; count * 16];
    getrandom::fill(&mut random).map_err(WalletError::Random)?;
    Ok(random.as_chunks::<16>().0.iter().map(|id| Bytes(*id)).collect())
}
