//! The daemon's task that buys stamps ahead for franking.
//!
//! What always holds: an order is in the ledger, durably, before it is sent; it is sent again until it is answered, and the
//! office charges it once; a stamp comes into the purse when its signature verifies by the key in DNS, as the gate that it
//! is for will check it. What may be spent in a day is bounded, whatever users or worms write to.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{OwnedMutexGuard, watch};

use super::{Dealing, Franker};
use crate::{
    address::Domain,
    clock::unix_now,
    config,
    gate::Site,
    ledger::{
        Ledger, LedgerError, StampId,
        franking::{LIFE_LEFT_MIN_S, Need, ORDER_KEPT_S, PurseOrder, PurseStamp},
    },
    office::wire::{Bytes, OrderAnswer, OrderBody, ReturnsBody, Wish},
    stamp::{SecretKey, Selector, Terms, check::EXPIRY_AHEAD_MAX_S},
    wallet::{ClientError, OfficeClient},
};

/// It is looked what is to be bought when a letter says so, and at the latest after this.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Offices of one domain that are tried in turn.
const OFFICES_TRIED: usize = 3;
/// Purchases of a day may be so many times what letters of a day may bear: what is in hand stays for the next.
const BOUGHT_DAYS: u64 = 2;

/// Dealings at a time; beyond them the next one waits until one has ended.
const AT_ONCE_MAX: usize = 16;
/// Calls in a row that ask what came back.
const RETURNS_CALLS_MAX: usize = 10;

/// Why nothing was bought.
#[derive(Debug, thiserror::Error)]
enum BuyError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It may pass.
    #[error("{0}")]
    Trouble(String),
    /// The next try in a moment would fare no better.
    #[error("{0}")]
    ForGood(String),
    #[error("the account {account} at {office} holds too little; put money on it: {words}")]
    Short { account: String, office: Domain, words: String },
}

impl BuyError {
    const fn is_for_good(&self) -> bool {
        matches!(self, Self::ForGood(_) | Self::Short { .. })
    }
}

impl From<ClientError> for BuyError {
    fn from(error: ClientError) -> Self {
        let words = error.to_string();
        if error.may_pass() { Self::Trouble(words) } else { Self::ForGood(words) }
    }
}

/// Runs until it is stopped; `site` gives the site as of now.
pub async fn run(
    franker: Arc<Franker>,
    ledger: Arc<dyn Ledger>,
    site: impl Fn() -> Arc<Site> + Send,
    mut stopped: watch::Receiver<bool>,
) {
    let mut in_trouble = false;
    loop {
        let site = site();
        let round = async {
            match &site.config.franking {
                Some(config) => {
                    let turns = Turns::default();
                    Buyer { franker: &franker, ledger: &*ledger, site: &site, config, turns }.round().await
                }
                None => Ok(()),
            }
        };
        let done = tokio::select! {
            done = round => done,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        if let Err(error) = &done
            && !in_trouble
        {
            tracing::error!(%error, "no stamps are bought ahead");
        }
        in_trouble = done.is_err();
        tokio::select! {
            () = franker.wake.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// A dealing with an office, and for which domain it buys.
type Running<'a> = BoxFuture<'a, (Option<Domain>, Result<(), LedgerError>)>;

struct Buyer<'a> {
    franker: &'a Franker,
    ledger: &'a dyn Ledger,
    site: &'a Site,
    config: &'a config::Franking,
    turns: Turns,
}

/// Whose turn it is at each office: one order at a time, for where one is not answered the next would not be either.
#[derive(Default)]
struct Turns(Mutex<HashMap<Domain, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn at(&self, office: &Domain) -> OwnedMutexGuard<()> {
        self.of(office).lock_owned().await
    }

    fn of(&self, office: &Domain) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(office.clone()).or_default())
    }
}

impl Buyer<'_> {
    /// Deals with all that is due, and with what comes to be due meanwhile: an office that takes its time holds up nobody
    /// but its own customers.
    async fn round(&self) -> Result<(), LedgerError> {
        let begun = Instant::now();
        let orders = self.ledger.purse_orders().await?;
        let mut running: FuturesUnordered<Running<'_>> = orders
            .into_iter()
            .map(|order| self.finish_open(order).map(|done| (None, done)).boxed())
            .collect();
        running.push(self.ask_for_returns().map(|done| (None, done)).boxed());
        let mut buying_for = HashSet::new();
        loop {
            // A round ends some time, so that a new configuration is heard of.
            let goes_on = begun.elapsed() < LOOK_EVERY;
            if goes_on {
                for need in self.ledger.purse_needs(self.config.ahead, unix_now()).await? {
                    let audience = need.audience.clone();
                    let put_off = self.franker.is_put_off(&Dealing::For(audience.clone()), unix_now());
                    if !put_off && running.len() < AT_ONCE_MAX && buying_for.insert(audience.clone()) {
                        running.push(self.meet(need).map(|done| (Some(audience), done)).boxed());
                    }
                }
            }
            tokio::select! {
                done = running.next() => {
                    let Some((audience, done)) = done else { return Ok(()) };
                    done?;
                    if let Some(audience) = audience {
                        buying_for.remove(&audience);
                    }
                }
                () = self.franker.wake.notified(), if goes_on => {}
            }
        }
    }

    /// Sends an order that was not answered once more, or gives it up.
    async fn finish_open(&self, order: PurseOrder) -> Result<(), LedgerError> {
        let dealing = Dealing::At(order.office.clone());
        let _turn = self.turns.at(&order.office).await;
        let now = unix_now();
        if order.time.saturating_add(ORDER_KEPT_S) < now {
            self.ledger.purse_filled(order.seq, vec![], now).await?;
        } else if !self.franker.is_put_off(&dealing, now) {
            let audience = order.audience.clone();
            let done = self.finish(order).await;
            self.note(&dealing, &audience, done).await?;
        }
        Ok(())
    }

    /// Buys what is needed for a domain.
    async fn meet(&self, need: Need) -> Result<(), LedgerError> {
        let done = self.buy(&need).await;
        self.note(&Dealing::For(need.audience.clone()), &need.audience, done).await
    }

    /// Asks offices what came back of the stamps that logins paid for.
    async fn ask_for_returns(&self) -> Result<(), LedgerError> {
        for _ in 0..RETURNS_CALLS_MAX {
            let Some((office, ids)) = self.ledger.returns_to_ask(unix_now()).await? else { break };
            let body = ReturnsBody { stamps: ids.into_iter().map(Bytes).collect() };
            let asked =
                self.call(&office, move |client, office, account| client.returns(office, account, &body));
            match asked.await {
                Ok(answer) => {
                    let ids: Vec<StampId> = answer.returned.into_iter().map(|id| id.0).collect();
                    let count = self.ledger.returned(&office, &ids, unix_now()).await?;
                    tracing::info!(%office, count, "postage came back to those who paid for it");
                }
                // It is asked again later.
                Err(error) => tracing::warn!(%office, %error, "it is not told what postage came back"),
            }
        }
        Ok(())
    }

    /// Remembers trouble, and says it once. Copies that wait for stamps of this domain wait for trouble that may pass, and no
    /// longer.
    async fn note(
        &self,
        dealing: &Dealing,
        audience: &Domain,
        done: Result<usize, BuyError>,
    ) -> Result<(), LedgerError> {
        let is_for_good = done.as_ref().is_err_and(BuyError::is_for_good);
        self.say(dealing, done)?;
        if is_for_good {
            let copies = self.ledger.copies_let_go(audience, unix_now()).await?;
            if copies > 0 {
                tracing::warn!(%audience, copies, "copies of letters that waited for stamps go without");
            }
        }
        Ok(())
    }

    fn say(&self, dealing: &Dealing, done: Result<usize, BuyError>) -> Result<(), LedgerError> {
        match (done, dealing) {
            (Ok(count), Dealing::For(domain) | Dealing::At(domain)) => {
                self.franker.succeeded(dealing);
                tracing::info!(%domain, count, "stamps bought ahead");
            }
            (Err(BuyError::Ledger(error)), _) => return Err(error),
            (Err(why), _) if !self.franker.failed(dealing, unix_now()) => {
                tracing::debug!(%why, "nothing bought")
            }
            (Err(why), Dealing::For(audience)) => {
                tracing::warn!(%audience, %why, "no stamps could be bought; letters there go without");
            }
            (Err(why), Dealing::At(office)) => {
                tracing::warn!(%office, %why, "an order of stamps is not answered; it is sent again");
            }
        }
        Ok(())
    }

    async fn buy(&self, need: &Need) -> Result<usize, BuyError> {
        let trouble = |e: &dyn std::fmt::Display| BuyError::Trouble(e.to_string());
        let policy = self.site.discovery.policy(&need.audience).await.map_err(|e| trouble(&e))?;
        let policy = policy.map_err(|e| BuyError::ForGood(e.to_string()))?;
        if policy.currency != self.site.config.ledger.currency || policy.price > self.config.max_price {
            return Err(BuyError::ForGood(format!("it asks {} {}", policy.price, policy.currency)));
        }
        if policy.price > need.price {
            // The next letter is judged by what it asks now; those that wait were not.
            let (now, before) = (policy.price, need.price);
            return Err(BuyError::ForGood(format!("it asks {now}, and {before} when it was written to")));
        }
        let mut last = BuyError::ForGood("no office sells stamps for it".into());
        for office in policy.offices.into_iter().take(OFFICES_TRIED) {
            let _turn = self.turns.at(&office).await;
            if self.ledger.purse_orders().await?.iter().any(|order| order.office == office) {
                last = BuyError::Trouble(format!("{office} has not answered an earlier order"));
                continue;
            }
            let mut ids = vec![[0; 16]; usize::try_from(need.count).unwrap_or(1)];
            getrandom::fill(ids.as_flattened_mut()).map_err(|e| trouble(&e))?;
            let mut order = PurseOrder {
                seq: 0,
                office,
                audience: need.audience.clone(),
                value: policy.price,
                ids,
                time: unix_now(),
            };
            let most = self.config.per_day.checked_mul(BOUGHT_DAYS).unwrap_or(self.config.per_day);
            let kept = self.ledger.purse_order(order.clone(), most).await?;
            order.seq = kept.ok_or_else(|| BuyError::ForGood("enough was bought for today".into()))?;
            match self.finish(order).await {
                Err(BuyError::Ledger(error)) => return Err(error.into()),
                // One office that may come back is worth waiting for.
                Err(why) if last.is_for_good() => last = why,
                Err(_) => {}
                done => return done,
            }
        }
        Err(last)
    }

    /// Sends an order, and puts what it brings into the purse.
    async fn finish(&self, order: PurseOrder) -> Result<usize, BuyError> {
        let answer = match self.send(&order).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.is_final() {
                    self.ledger.purse_filled(order.seq, vec![], unix_now()).await?;
                }
                if let ClientError::Refused { status: 402, detail, .. } = error {
                    let account = self.franker.signer.account().public().to_string();
                    return Err(BuyError::Short { account, office: order.office, words: detail });
                }
                return Err(error.into());
            }
        };
        let stamps = self.checked(&order, &answer).await?;
        let count = stamps.len();
        self.ledger.purse_filled(order.seq, stamps, unix_now()).await?;
        if answer.x < unix_now().saturating_add(LIFE_LEFT_MIN_S) {
            // More of them would be as useless, and cost as much.
            let words = format!("{} sells stamps that expire too soon to be used", order.office);
            return Err(BuyError::ForGood(words));
        }
        Ok(count)
    }

    async fn send(&self, order: &PurseOrder) -> Result<OrderAnswer, ClientError> {
        let wish = |id: &[u8; 16]| {
            let holder = self.franker.signer.holder(&order.office, id);
            Wish { id: Bytes(*id), k: Bytes(holder.public().to_bytes()) }
        };
        let body = OrderBody {
            audience: order.audience.clone(),
            value: order.value.get().into(),
            stamps: order.ids.iter().map(wish).collect(),
        };
        self.call(&order.office, move |client, office, account| client.order(office, account, &body)).await
    }

    /// Calls an office, aside, for it may take a while.
    async fn call<T: Send + 'static>(
        &self,
        office: &Domain,
        call: impl FnOnce(&OfficeClient, &Domain, &SecretKey) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let unreachable = |what: String| ClientError::Unreachable { url: office.to_string(), what };
        let url = self.site.discovery.office_url(office).await.map_err(|e| unreachable(e.to_string()))?;
        let (account, name) = (self.franker.signer.account(), office.clone());
        let calling = tokio::task::spawn_blocking(move || {
            let client = OfficeClient::new(&url)?;
            client.must_be(&name)?;
            call(&client, &name, &account)
        });
        calling.await.map_err(|_| unreachable("the call was broken off".into()))?
    }

    /// The stamps of an answer, if every one is what was ordered.
    async fn checked(&self, order: &PurseOrder, answer: &OrderAnswer) -> Result<Vec<PurseStamp>, BuyError> {
        let bad = |what: &str| {
            BuyError::ForGood(format!("{} answers something else than was asked: {what}", order.office))
        };
        let selector: Selector = answer.s.parse().map_err(|_| bad("its selector is none"))?;
        let key = match self.site.discovery.office_key(&order.office, &selector).await {
            Ok(Ok(key)) => key,
            // It may be there in a moment.
            Ok(Err(why)) => {
                return Err(BuyError::Trouble(format!("the key of {} is not in DNS: {why}", order.office)));
            }
            Err(trouble) => return Err(BuyError::Trouble(trouble.to_string())),
        };
        if answer.b.len() != order.ids.len() || answer.x > unix_now().saturating_add(EXPIRY_AHEAD_MAX_S) {
            return Err(bad("not as many stamps, or stamps that nobody takes yet"));
        }
        let stamp = |(id, b): (&[u8; 16], &Bytes<64>)| {
            let terms = Terms {
                office: order.office.clone(),
                selector: selector.clone(),
                id: *id,
                value: order.value,
                currency: self.site.config.ledger.currency,
                audience: order.audience.clone(),
                expiry: answer.x,
                holder: self.franker.signer.holder(&order.office, id).public().to_bytes(),
            };
            key.verify(&terms.signed_bytes(), &b.0).then(|| PurseStamp {
                office: terms.office,
                id: terms.id,
                selector: terms.selector.to_string(),
                audience: terms.audience,
                value: terms.value,
                expiry: terms.expiry,
                signature: b.0,
            })
        };
        let stamps: Option<Vec<PurseStamp>> = order.ids.iter().zip(&answer.b).map(stamp).collect();
        stamps.ok_or_else(|| bad("a stamp whose signature does not verify"))
    }
}
