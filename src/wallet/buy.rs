//! Buying stamps so that no crash, time-out or lost answer costs money.
//!
//! An order is in the wallet, durably, before it is sent. Until it is answered it is sent again with every purchase
//! at its office; the office charges it once. A stamp comes into the purse when its signature verifies. One process
//! buys for a wallet at a time; while it waits for the office others may stamp letters.

use std::{
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use super::{
    Signer, Wallet, WalletError,
    client::{ClientError, Description, OfficeClient},
    contents::OpenOrder,
    file::BuyingLock,
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
/// How often stamps are bought for one letter: another process may put them on its own before this one has them.
pub const BUYING_TRIES_MAX: u32 = 3;
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
    /// How many.
    pub count: Count,
}

/// How many stamps to buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many, at least 1.
    More(usize),
    /// As many as are missing to have so many in hand of at least the value, whoever brought the others meanwhile.
    UpTo(usize),
}

/// What was bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// Stamps of the purchase, those that an earlier order left open brought among them.
    pub count: usize,
    /// Other stamps that earlier orders left open brought.
    pub others: usize,
}

/// Who buys for a wallet: one process at a time. While it waits for the office, or finds out which one to ask, others
/// may use the wallet.
pub struct Buyer {
    path: PathBuf,
    _lock: BuyingLock,
}

impl Buyer {
    /// For the wallet of this file; waits while another process buys for it.
    ///
    /// # Errors
    /// [`WalletError`] of the file, or when the other takes too long.
    pub fn wait(path: &Path) -> Result<Self, WalletError> {
        Ok(Self { path: path.to_owned(), _lock: BuyingLock::wait(path)? })
    }

    /// Whether there is one for the wallet of this file now.
    ///
    /// # Errors
    /// [`WalletError`] of the file.
    pub fn is_busy(path: &Path) -> Result<bool, WalletError> {
        Ok(BuyingLock::try_now(path)?.is_none())
    }

    /// The wallet, open; to be closed before anybody is asked over a network.
    ///
    /// # Errors
    /// [`WalletError`] of the file or its content.
    pub fn wallet(&self) -> Result<Wallet, WalletError> {
        Wallet::open(&self.path)
    }

    /// Buys stamps at an office, after finishing what earlier purchases there left open: if they were for the same
    /// stamps, they count. The wallet comes back open, and what was bought is in it.
    ///
    /// # Errors
    /// [`WalletError`]. What was ordered and not answered stays in the wallet and is sent again next time.
    pub fn buy(
        &self,
        client: &OfficeClient,
        office: &Description,
        purchase: &Purchase,
    ) -> Result<(Wallet, Bought), WalletError> {
        let (mut wallet, finished) = self.wallet()?.finish_orders(client, office)?;
        let same = |order: &OpenOrder| (&order.audience, order.value) == (&purchase.audience, purchase.value);
        let mut bought = Bought { count: 0, others: 0 };
        for (order, count) in &finished {
            if same(order) { bought.count += count } else { bought.others += count }
        }
        let mut missing = match purchase.count {
            Count::More(count) => count.saturating_sub(bought.count),
            Count::UpTo(count) => {
                count.saturating_sub(wallet.usable(&purchase.audience, purchase.value, unix_now()))
            }
        };
        if wallet.contents.count() + missing > PURSE_STAMPS_MAX {
            return Err(WalletError::Full);
        }
        wallet.contents.not_ahead.retain(|failure| failure.audience != purchase.audience);
        while missing > 0 {
            let order = OpenOrder {
                office: office.office.clone(),
                audience: purchase.audience.clone(),
                value: purchase.value,
                currency: office.currency,
                time: unix_now(),
                ids: random_ids(missing.min(ORDER_STAMPS_MAX))?,
            };
            missing -= order.ids.len();
            wallet.contents.met(&office.office, client.url());
            wallet.contents.orders.push(order.clone());
            wallet.save()?;
            let brought;
            (wallet, brought) = wallet.finish(client, office, &order)?;
            let brought = brought?;
            if brought == 0 {
                // Ordering again would only spend again.
                return Err(client.answer("stamps that have expired already").into());
            }
            bought.count += brought;
        }
        Ok((wallet, bought))
    }
}

impl Wallet {
    /// Sends every order at this office that was not answered once more; each with the number of stamps it brought.
    fn finish_orders(
        self,
        client: &OfficeClient,
        office: &Description,
    ) -> Result<(Self, Vec<(OpenOrder, usize)>), WalletError> {
        let mut wallet = self;
        let open: Vec<OpenOrder> =
            wallet.contents.orders.iter().filter(|order| order.office == office.office).cloned().collect();
        let mut finished = Vec::with_capacity(open.len());
        for order in open {
            let count;
            (wallet, count) = wallet.finish(client, office, &order)?;
            match count {
                Ok(count) => finished.push((order, count)),
                // It never came to be, and now it is gone; the purchase at hand is another matter.
                Err(error) if error.is_final() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((wallet, finished))
    }

    /// Sends an open order, with the wallet closed, until it is answered, and puts its stamps into the purse, if nobody
    /// has; how many of them are not expired.
    fn finish(
        self,
        client: &OfficeClient,
        office: &Description,
        order: &OpenOrder,
    ) -> Result<(Self, Result<usize, ClientError>), WalletError> {
        let (signer, path) = (self.signer(), self.path().to_owned());
        drop(self);
        let answer = send(&signer, client, order)
            .and_then(|answer| checked(&signer, order, &answer, office).map_err(|what| client.answer(what)));
        let mut wallet = Self::open(&path)?;
        let stamps = match answer {
            Ok(stamps) => stamps,
            Err(error) => {
                if error.is_final() {
                    wallet.contents.orders.retain(|open| open != order);
                    wallet.save()?;
                }
                return Ok((wallet, Err(error)));
            }
        };
        // Of an order that lay open until its stamps expired the money is back on the account.
        let now = unix_now();
        let live: Vec<Stamp> = stamps.into_iter().filter(|stamp| stamp.terms.expiry >= now).collect();
        let count = live.len();
        // To what is no longer open another process has brought them, and they may be on letters by now.
        if !wallet.contents.orders.contains(order) {
            return Ok((wallet, Ok(count)));
        }
        wallet.contents.put(live);
        wallet.contents.orders.retain(|open| open != order);
        wallet.save()?;
        Ok((wallet, Ok(count)))
    }
}

/// Sends an order, and again when the office asks for a pause.
fn send(signer: &Signer, client: &OfficeClient, order: &OpenOrder) -> Result<OrderAnswer, ClientError> {
    let wish = |id: &Bytes<16>| {
        let k = signer.holder(&order.office, &id.0).public().to_bytes();
        Wish { id: *id, k: Bytes(k) }
    };
    let body = OrderBody {
        audience: order.audience.clone(),
        value: order.value.get().into(),
        stamps: order.ids.iter().map(wish).collect(),
    };
    let account = signer.account();
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
    signer: &Signer,
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
            holder: signer.holder(&order.office, &id.0).public().to_bytes(),
        };
        key.verify(&terms.signed_bytes(), &b.0).then_some(Stamp { terms, signature: b.0 })
    };
    let stamps: Option<Vec<Stamp>> = order.ids.iter().zip(&answer.b).map(stamp).collect();
    stamps.ok_or("a stamp whose signature does not verify")
}

fn random_ids(count: usize) -> Result<Vec<Bytes<16>>, WalletError> {
    let mut random = vec![0; count * 16];
    getrandom::fill(&mut random).map_err(WalletError::Random)?;
    Ok(random.as_chunks::<16>().0.iter().map(|id| Bytes(*id)).collect())
}
