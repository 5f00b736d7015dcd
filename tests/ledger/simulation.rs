//! A life of the books, thrown by dice: every answer and every balance must be the model's.

use std::{collections::BTreeSet, env, sync::Arc};

use farthing::{
    address::Address,
    ledger::{
        AccountKey, Ledger, Ledgered, Letter, Mark, MarkError, MarkTarget, Order, OrderedStamp, Outcome,
        StampCandidate, StampKey, Want, book::Known, book::Sender,
    },
};

use crate::{funds::Funds, model::Model, support::*};

/// Lives of one run, each with books and a seed of its own.
const LIVES: u64 = 6;
/// Things that happen in a life.
const EVENTS: u64 = 1_000;
/// Set to the seed a failure names to live that life alone.
const SEED_VARIABLE: &str = "LEDGER_SEED";

pub fn run(make: impl Fn() -> Box<dyn Engine>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Ok(seed) = env::var(SEED_VARIABLE) {
        runtime.block_on(Life::new(make(), seed.parse().unwrap()).live());
        return;
    }
    let mut seen = BTreeSet::new();
    for seed in 0..LIVES {
        println!("{SEED_VARIABLE}={seed}");
        seen.extend(runtime.block_on(Life::new(make(), seed).live()));
    }
    let unseen: Vec<_> = EVERYTHING.iter().filter(|word| !seen.contains(**word)).collect();
    assert!(unseen.is_empty(), "the dice never brought {unseen:?}");
}

/// Days after which stamps have other ids and expire later.
const ERA_DAYS: u64 = 60;
/// What other offices may owe: more than comes to pass in a life.
const OFFICE_CAP: u64 = 1 << 40;

fn id_of_era(n: u8, era: u64) -> [u8; 16] {
    let mut of_era = id(n);
    of_era[1] = u8::try_from(era).unwrap();
    of_era
}

/// What must come to pass in these lives, for a life in which nothing happens proves nothing.
const EVERYTHING: &[&str] = &[
    "settled",
    "returned",
    "given up",
    "given back by a foreign domain",
    "dropped",
    "forgotten",
    "paid",
    "retry",
    "work",
    "work again",
    "too often",
    "not good",
    "unsold",
    "spent",
    "untouched",
    "work used up",
    "work untouched",
    "given back",
    "given back before",
    "too late",
    "known",
    "used",
    "used before",
    "worth nothing",
    "void",
    "granted",
    "granted before",
    "had today",
    "budget used",
    "paid in",
    "told before",
];

fn words(outcome: &Outcome) -> Vec<&'static str> {
    match outcome {
        Outcome::Stamp { retry: false, .. } => vec!["paid"],
        Outcome::Stamp { retry: true, .. } => vec!["retry"],
        Outcome::Work { retry: false, .. } => vec!["work"],
        Outcome::Work { retry: true, .. } => vec!["work again"],
        Outcome::TooOften => vec!["too often"],
        Outcome::Answer => vec!["answer"],
        Outcome::Unpaid { stamps, work_used_up, work_untouched } => {
            let state = |state: &Ledgered| match state {
                Ledgered::NotGood => "not good",
                Ledgered::Unsold => "unsold",
                Ledgered::Spent => "spent",
                Ledgered::Capped => "capped",
                Ledgered::Untouched => "untouched",
            };
            let work = [(*work_used_up, "work used up"), (*work_untouched, "work untouched")];
            stamps
                .iter()
                .map(state)
                .chain(work.into_iter().filter_map(|(is, word)| is.then_some(word)))
                .collect()
        }
    }
}

struct Life {
    engine: Box<dyn Engine>,
    ledger: Arc<dyn Ledger>,
    model: Model,
    funds: Funds,
    dice: Dice,
    now: u64,
    seen: BTreeSet<&'static str>,
}

impl Life {
    fn new(engine: Box<dyn Engine>, seed: u64) -> Self {
        let ledger = engine.open();
        let (model, funds) = (Model::default(), Funds::default());
        Self { engine, ledger, model, funds, dice: Dice(seed), now: NOW, seen: BTreeSet::new() }
    }

    async fn live(mut self) -> BTreeSet<&'static str> {
        for event in 0..EVENTS {
            match self.dice.below(100) {
                0..3 => self.credit().await,
                3..8 => self.fund().await,
                8..20 => self.order().await,
                20..75 => self.letter(event).await,
                75..87 => self.mark().await,
                87..89 => self.settle().await,
                89 => self.give_back().await,
                90..97 => self.now += self.dice.below(8 * DAY),
                97 => self.reopen().await,
                _ => self.compare().await,
            }
        }
        self.compare().await;
        self.seen
    }

    fn account(&mut self) -> AccountKey {
        AccountKey([u8::try_from(self.dice.below(3)).unwrap(); 32])
    }

    /// Stamps are sold in eras of [`ERA_DAYS`]; their ids and days of expiry tell which.
    fn era(&self) -> u64 {
        (self.now - NOW) / DAY / ERA_DAYS
    }

    /// Today's era, or the one before, whose stamps may have expired.
    fn some_era(&mut self) -> u64 {
        self.era().saturating_sub(u64::from(self.dice.one_in(4)))
    }

    async fn settle(&mut self) {
        let (settled, returned, given_up) = self.model.settle(self.now);
        let done = settle(&*self.ledger, self.now).await;
        assert_eq!((done.settled, done.returned, done.given_up), (settled, returned, given_up));
        let said = [
            (settled.count > 0, "settled"),
            (returned.count > 0, "returned"),
            (given_up.count > 0, "given up"),
            (done.dropped > 0, "dropped"),
        ];
        self.seen.extend(said.into_iter().filter_map(|(is, word)| is.then_some(word)));
    }

    /// The foreign domain reports refunds.
    async fn give_back(&mut self) {
        let era = self.some_era();
        let ids: Vec<_> = (0..100).filter(|_| self.dice.one_in(4)).map(|n| id_of_era(n, era)).collect();
        let given = self.ledger.give_back(&domain("c.example"), &ids, self.now).await.unwrap();
        assert_eq!(given, self.model.give_back("c.example", &ids));
        if !given.is_empty() {
            self.seen.insert("given back by a foreign domain");
        }
    }

    async fn credit(&mut self) {
        let (key, amount) = (self.account(), 1 + self.dice.below(40_000));
        let balance = self.ledger.credit(key, "credit", micros(amount), "", self.now).await.unwrap();
        assert_eq!(balance, self.model.credit(&format!("account:{key}"), amount));
    }

    async fn fund(&mut self) {
        let account = self.account();
        let Self { ledger, model, funds, dice, now, .. } = self;
        self.seen.insert(funds.happen(dice, &**ledger, model, account, *now).await);
    }

    async fn order(&mut self) {
        let key = self.account();
        let first = self.dice.below(100);
        let ids = first..first + 1 + self.dice.below(5);
        let ids = ids.map(|n| u8::try_from(n).unwrap());
        let era = self.era();
        let stamps =
            ids.map(|n| OrderedStamp { id: id_of_era(n, era), holder: [n; 32], signature: signature(n) });
        let audience = if self.dice.one_in(8) { "c.example" } else { "b.example" };
        let order = Order {
            now: self.now,
            account: key,
            audience: domain(audience),
            expiry: EXPIRY + era * ERA_DAYS * DAY,
            stamps: stamps.collect(),
            ..order(&[])
        };
        let expected = self.model.sell(&format!("account:{key}"), &order);
        assert_eq!(self.ledger.sell(order).await.unwrap(), expected);
    }

    fn candidate(&mut self) -> StampCandidate {
        let n = u8::try_from(self.dice.below(100)).unwrap();
        let mut candidate = if self.dice.one_in(5) { foreign(n, "other.example") } else { stamp(n) };
        let era = self.some_era();
        candidate.key.id = id_of_era(n, era);
        candidate.key.day += u32::try_from(era * ERA_DAYS).unwrap();
        let expired = (u64::from(candidate.key.day) + 1) * DAY <= self.now;
        candidate.good = !expired && !self.dice.one_in(6);
        if self.dice.one_in(20) {
            candidate.value = micros(PRICE + 1);
        }
        if self.dice.one_in(20) {
            candidate.fingerprint = [0; 16];
        }
        candidate
    }

    fn recipient(&mut self) -> Address {
        let table = ["bob@b.example", "bob+x@b.example", "eve@b.example", "zoe@c.example"];
        address(table[usize::try_from(self.dice.below(table.len() as u64)).unwrap()])
    }

    fn want(&mut self) -> Want {
        let recipient = self.recipient();
        let stamps = (0..self.dice.below(4)).map(|_| self.candidate()).collect();
        // Work names its recipient, so that no two recipients bring the same.
        let person =
            recipient.to_bytes()[..5].iter().fold(0_u8, |sum, b| sum.wrapping_mul(31).wrapping_add(*b));
        let mut works = Vec::new();
        for _ in 0..self.dice.below(3).saturating_sub(1) {
            let mut one = work(u8::try_from(self.dice.below(12)).unwrap());
            one.id[1] = person;
            let era = self.some_era();
            one.id[2] = u8::try_from(era).unwrap();
            one.day += u32::try_from(era * ERA_DAYS).unwrap();
            one.good = u64::from(one.day) >= self.now / DAY && !self.dice.one_in(6);
            works.push(one);
        }
        Want { recipient, answering: None, stamps, work: works }
    }

    async fn letter(&mut self, event: u64) {
        let digest = [u8::try_from(self.dice.below(8)).unwrap(); 32];
        let mut wants: Vec<Want> = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let want = self.want();
            if wants.iter().all(|w| w.recipient != want.recipient) {
                wants.push(want);
            }
        }
        let letter = Letter {
            now: self.now,
            digest,
            author: (!self.dice.one_in(10)).then(|| address("alice@a.example")),
            authenticated: !self.dice.one_in(4),
            wants,
            all_or_nothing: !self.dice.one_in(3),
            work_daily_max: 3,
            office_cap: micros(OFFICE_CAP),
        };
        // Some servers try again and again.
        let times = if self.dice.one_in(8) { 1 + self.dice.below(14) } else { 1 };
        for _ in 0..times {
            self.hand_in(event, &letter).await;
        }
    }

    async fn hand_in(&mut self, event: u64, letter: &Letter) {
        let expected = self.model.redeem(letter);
        let found = self.ledger.redeem(letter.clone()).await.unwrap();
        let without_new_numbers = |outcome: &Outcome| match *outcome {
            Outcome::Stamp { index, retry: false, .. } => Outcome::Stamp { index, number: 0, retry: false },
            ref other => other.clone(),
        };
        let comparable: Vec<_> = found.iter().map(without_new_numbers).collect();
        let (comparable, expected) = (self.forget(letter, comparable), self.forget(letter, expected));
        assert_eq!(comparable, expected, "event {event}: {letter:?}");
        self.seen.extend(found.iter().flat_map(words));
        for (outcome, want) in found.iter().zip(&letter.wants) {
            if let Outcome::Stamp { index, number, retry: false } = outcome {
                self.model.number(&want.stamps[*index].key, *number);
            }
        }
    }

    /// Whether a stamp that expired was spent, the books may not know any more.
    fn forget(&self, letter: &Letter, mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
        for (outcome, want) in outcomes.iter_mut().zip(&letter.wants) {
            let Outcome::Unpaid { stamps, .. } = outcome else { continue };
            for (state, stamp) in stamps.iter_mut().zip(&want.stamps) {
                if self.model.may_be_forgotten(&stamp.key, self.now) {
                    *state = Ledgered::NotGood;
                }
            }
        }
        outcomes
    }

    async fn mark(&mut self) {
        let n = u8::try_from(self.dice.below(100)).unwrap();
        let era = self.some_era();
        let key = StampKey {
            office: if self.dice.one_in(4) { domain("other.example") } else { own_office() },
            id: id_of_era(n, era),
            day: EXPIRY_DAY + u32::try_from(era * ERA_DAYS).unwrap(),
        };
        let forgotten = self.model.may_be_forgotten(&key, self.now);
        let mark = if self.dice.one_in(3) { Mark::Unwanted } else { Mark::Wanted };
        let number = self.model.redeemed.get(&key).map(|r| r.number);
        if forgotten {
            self.seen.insert("forgotten");
            return;
        }
        // A word is often said twice: an answer, and the link in the digest.
        for _ in 0..=self.dice.below(2) {
            self.mark_one(&key, number, mark).await;
        }
    }

    async fn mark_one(&mut self, key: &StampKey, number: Option<u64>, mark: Mark) {
        let expected = self.model.mark(key, mark, self.now);
        let target = match number {
            Some(number) if self.dice.one_in(2) => MarkTarget::Number(number),
            _ => MarkTarget::Stamp(Some(key.office.clone()), key.id),
        };
        let found = match self.ledger.mark(target, mark, self.now).await {
            Ok(marked) => Some(marked),
            Err(MarkError::NoSuchLetter) => None,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, expected);
        if let Some(marked) = found {
            let said = [
                (marked.refunded.is_some(), "given back"),
                (marked.already_refunded, "given back before"),
                (marked.too_late, "too late"),
                (marked.known, "known"),
            ];
            self.seen.extend(said.into_iter().filter_map(|(is, word)| is.then_some(word)));
        }
    }

    async fn reopen(&mut self) {
        if self.dice.one_in(2) {
            self.ledger.close().await;
        }
        self.ledger = self.engine.open();
    }

    async fn compare(&mut self) {
        must_balance(&*self.ledger).await;
        let mut kept = self.ledger.balances().await.unwrap();
        kept.retain(|(_, balance)| *balance != 0);
        let modelled: Vec<_> =
            self.model.balances.iter().filter(|(_, b)| **b != 0).map(|(n, b)| (n.clone(), *b)).collect();
        assert_eq!(kept, modelled);
        let alice = [Sender::Address(address("alice@a.example"))];
        for recipient in ["bob@b.example", "eve@b.example", "zoe@c.example"].map(address) {
            let known = self.ledger.known(&recipient, &alice).await.unwrap() == Known::Allowed;
            let expected = self.model.known.contains(&(recipient, address("alice@a.example")));
            assert_eq!(known, expected);
        }
    }
}
