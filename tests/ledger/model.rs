//! The rules of the books in the plainest words: maps in memory, one thing after the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use farthing::{
    address::Address,
    ledger::{
        Ledgered, Letter, Mark, Marked, Order, Outcome, RETRIES_DAILY_MAX, RETRY_WINDOW_S, Sale,
        StampCandidate, StampKey, Want, WorkCandidate,
        settling::{FOREIGN_AFTER_S, HISTORY_KEPT_S, RETURN_AFTER_S},
        tally::Money,
    },
    money::Micros,
};

use crate::support::*;

/// What a redemption was for: the same again is a retry.
type Claim = ([u8; 16], Address, [u8; 32]);

pub struct Redemption {
    claim: Claim,
    time: u64,
    pub number: u64,
    debit: String,
    credit: String,
    amount: u64,
    author: Option<Address>,
    authenticated: bool,
    refunded: bool,
    settled: bool,
}

#[derive(Default)]
pub struct Model {
    pub balances: BTreeMap<String, i64>,
    sold: HashMap<[u8; 16], (String, Order)>,
    /// Stamps that went back to their buyers, or were given up.
    returned: HashSet<[u8; 16]>,
    /// Stamps that the foreign domain they were for gave back.
    reported: HashSet<[u8; 16]>,
    pub redeemed: HashMap<StampKey, Redemption>,
    worked: HashMap<[u8; 16], (Claim, u64)>,
    work_days: HashMap<(u64, Address), u32>,
    retries: HashMap<(u64, Claim), u32>,
    /// Known senders by recipient; nobody is blocked here.
    pub known: HashSet<(Address, Address)>,
}

impl Model {
    pub fn transfer(&mut self, from: &str, to: &str, amount: u64) {
        *self.balances.entry(from.into()).or_default() -= amount.cast_signed();
        *self.balances.entry(to.into()).or_default() += amount.cast_signed();
    }

    pub fn balance(&self, account: &str) -> u64 {
        self.balances.get(account).copied().unwrap_or_default().cast_unsigned()
    }

    pub fn credit(&mut self, account: &str, amount: u64) -> Micros {
        self.transfer("funding:credit", account, amount);
        micros(self.balance(account))
    }

    pub fn sell(&mut self, account: &str, order: &Order) -> Sale {
        if order.stamps.iter().any(|s| self.sold.contains_key(&s.id)) {
            return Sale::SomeSold;
        }
        let price = order.value.get() * order.stamps.len() as u64;
        if self.balance(account) < price {
            return Sale::Short(micros(self.balance(account)));
        }
        self.transfer(account, "stamps", price);
        for stamp in &order.stamps {
            self.sold.insert(stamp.id, (account.into(), order.clone()));
        }
        Sale::Sold(micros(self.balance(account)))
    }

    /// What the ledger should answer. Numbers of new redemptions are 0, to be told with [`Model::number`].
    pub fn redeem(&mut self, letter: &Letter) -> Vec<Outcome> {
        let mut trial = Trial { model: self, letter, done: Vec::new() };
        let outcomes: Vec<_> = letter.wants.iter().map(|want| trial.want(want)).collect();
        let done = std::mem::take(&mut trial.done);
        let refused = outcomes.iter().any(|o| matches!(o, Outcome::Unpaid { .. } | Outcome::TooOften));
        if letter.all_or_nothing && refused {
            return self.withheld(letter, outcomes);
        }
        self.carry_out(letter, done);
        outcomes
    }

    /// The answers when nobody pays because one cannot. What an earlier recipient would have taken is said to be
    /// spent for a later one.
    fn withheld(&self, letter: &Letter, outcomes: Vec<Outcome>) -> Vec<Outcome> {
        let mut taken = HashSet::new();
        let mut answers = Vec::new();
        for (want, outcome) in letter.wants.iter().zip(outcomes) {
            let (mut answer, took) = match outcome {
                Outcome::Stamp { index, retry: false, .. } => {
                    (self.unpaid(want, false), Some(want.stamps[index].key.clone()))
                }
                Outcome::Work { retry: false, .. } => (self.unpaid(want, true), None),
                other => (other, None),
            };
            if let Outcome::Unpaid { stamps, .. } = &mut answer {
                for (state, stamp) in stamps.iter_mut().zip(&want.stamps) {
                    if *state == Ledgered::Untouched && taken.contains(&stamp.key) {
                        *state = Ledgered::Spent;
                    }
                }
            }
            taken.extend(took);
            answers.push(answer);
        }
        answers
    }

    fn unpaid(&self, want: &Want, work_untouched: bool) -> Outcome {
        let stamps = want.stamps.iter().map(|s| self.state(want, s)).collect();
        Outcome::Unpaid { stamps, work_used_up: false, work_untouched }
    }

    fn state(&self, want: &Want, stamp: &StampCandidate) -> Ledgered {
        if !stamp.good {
            let spent = self.redeemed.contains_key(&stamp.key);
            return if spent { Ledgered::Spent } else { Ledgered::NotGood };
        }
        if stamp.key.office == own_office() {
            let exactly = self.sold.get(&stamp.key.id).is_some_and(|(_, order)| {
                let sold = order.stamps.iter().find(|s| s.id == stamp.key.id).unwrap();
                sold.signature == stamp.signature
                    && order.value == stamp.value
                    && order.expiry / DAY == u64::from(stamp.key.day)
                    && order.audience == *want.recipient.domain()
            });
            if !exactly {
                return Ledgered::Unsold;
            }
        }
        let own = stamp.key.office == own_office();
        if self.redeemed.contains_key(&stamp.key) || own && self.reported.contains(&stamp.key.id) {
            Ledgered::Spent
        } else if self.returned.contains(&stamp.key.id) {
            Ledgered::Unsold
        } else {
            Ledgered::Untouched
        }
    }

    /// Ids of our office's stamps that were redeemed in these books.
    fn used_here(&self) -> HashSet<[u8; 16]> {
        self.redeemed.keys().filter(|key| key.office == own_office()).map(|key| key.id).collect()
    }

    /// A foreign domain reports refunds; which of the ids are given back now.
    pub fn give_back(&mut self, audience: &str, ids: &[[u8; 16]]) -> Vec<[u8; 16]> {
        let used = self.used_here();
        let mut given = Vec::new();
        for id in ids {
            let Some((account, order)) = self.sold.get(id) else { continue };
            let (account, value) = (account.clone(), order.value.get());
            if order.audience != domain(audience) || used.contains(id) {
                continue;
            }
            if !self.reported.contains(id) {
                if self.returned.contains(id) {
                    continue;
                }
                self.reported.insert(*id);
                self.transfer("stamps", &account, value);
            }
            given.push(*id);
        }
        given
    }

    /// Settles all that is due: what was settled, given back unused, and given up.
    pub fn settle(&mut self, now: u64) -> (Money, Money, Money) {
        let mut sums = [(0, 0); 3];
        let mut moves = Vec::new();
        for redemption in self.redeemed.values_mut() {
            let over = now.saturating_sub(redemption.time) > REFUND_WINDOW;
            if over && !redemption.settled {
                redemption.settled = true;
                if !redemption.refunded {
                    moves.push((0, redemption.credit.clone(), "kept".to_owned(), redemption.amount));
                }
            }
        }
        let mut used = self.used_here();
        used.extend(&self.reported);
        for (id, (account, order)) in &self.sold {
            let own = order.audience == domain("b.example");
            let after = if own { RETURN_AFTER_S } else { FOREIGN_AFTER_S };
            if order.expiry + after < now && !used.contains(id) && self.returned.insert(*id) {
                let to = if own { account.clone() } else { "kept".to_owned() };
                moves.push((if own { 1 } else { 2 }, "stamps".to_owned(), to, order.value.get()));
            }
        }
        for (kind, from, to, amount) in moves {
            self.transfer(&from, &to, amount);
            let (count, sum): &mut (u64, u64) = &mut sums[kind];
            *count += 1;
            *sum += amount;
        }
        let [settled, returned, given_up] = sums.map(|(count, value)| Money { count, value: micros(value) });
        (settled, returned, given_up)
    }

    /// Whether nobody can ask any more for the redemption of a stamp: the books may have forgotten it.
    pub fn may_be_forgotten(&self, key: &StampKey, now: u64) -> bool {
        self.redeemed.get(key).is_some_and(|redemption| {
            let expired = (u64::from(key.day) + 1) * DAY + RETRY_WINDOW_S;
            redemption.settled && expired < now && redemption.time + HISTORY_KEPT_S < now
        })
    }

    fn carry_out(&mut self, letter: &Letter, done: Vec<Done>) {
        let day = letter.now / DAY;
        for done in done {
            match done {
                Done::Retry(claim) => *self.retries.entry((day, claim)).or_default() += 1,
                Done::Work(id, claim) => {
                    *self.work_days.entry((day, claim.1.without_detail())).or_default() += 1;
                    self.worked.insert(id, (claim, letter.now));
                }
                Done::Stamp(stamp, claim) => {
                    let office = &stamp.key.office;
                    let own = *office == own_office();
                    let debit = if own { "stamps".into() } else { format!("office:{office}") };
                    let credit = format!("escrow:{}", claim.1.domain());
                    self.transfer(&debit, &credit, stamp.value.get());
                    self.redeemed.insert(
                        stamp.key,
                        Redemption {
                            claim,
                            time: letter.now,
                            number: 0,
                            debit,
                            credit,
                            amount: stamp.value.get(),
                            author: letter.author.clone(),
                            authenticated: letter.authenticated,
                            refunded: false,
                            settled: false,
                        },
                    );
                }
            }
        }
    }

    /// Takes over the number the ledger drew.
    pub fn number(&mut self, key: &StampKey, number: u64) {
        self.redeemed.get_mut(key).unwrap().number = number;
    }

    pub fn mark(&mut self, key: &StampKey, mark: Mark, now: u64) -> Option<Marked> {
        let redemption = self.redeemed.get_mut(key)?;
        let recipient = redemption.claim.1.clone();
        let mut marked = Marked {
            recipient: recipient.clone(),
            author: redemption.author.clone(),
            refunded: None,
            already_refunded: false,
            too_late: false,
            known: false,
        };
        let (author, authenticated) = (redemption.author.clone(), redemption.authenticated);
        let mut back = None;
        if mark == Mark::Wanted {
            marked.already_refunded = redemption.refunded;
            marked.too_late = !redemption.refunded
                && (redemption.settled || now.saturating_sub(redemption.time) > REFUND_WINDOW);
            if !marked.already_refunded && !marked.too_late {
                redemption.refunded = true;
                marked.refunded = Some(micros(redemption.amount));
                back = Some((redemption.credit.clone(), redemption.debit.clone(), redemption.amount));
            }
        }
        if let Some((from, debit, amount)) = back {
            let to = if debit == "stamps" { self.sold[&key.id].0.clone() } else { debit };
            self.transfer(&from, &to, amount);
        }
        if let Some(author) = author {
            let pair = (recipient.without_detail(), author);
            match mark {
                Mark::Wanted if authenticated => drop(self.known.insert(pair.clone())),
                Mark::Unwanted if authenticated => drop(self.known.remove(&pair)),
                _ => {}
            }
            marked.known = self.known.contains(&pair);
        }
        Some(marked)
    }
}

enum Done {
    Stamp(StampCandidate, Claim),
    Work([u8; 16], Claim),
    Retry(Claim),
}

struct Trial<'m> {
    model: &'m Model,
    letter: &'m Letter,
    done: Vec<Done>,
}

impl Trial<'_> {
    fn claim(&self, want: &Want, means: [u8; 16]) -> Claim {
        (means, want.recipient.clone(), self.letter.digest)
    }

    fn want(&mut self, want: &Want) -> Outcome {
        if let Some(outcome) = self.retry(want) {
            return outcome;
        }
        let mut states: Vec<_> = want.stamps.iter().map(|s| self.model.state(want, s)).collect();
        for (state, stamp) in states.iter_mut().zip(&want.stamps) {
            let taken = |done: &Done| matches!(done, Done::Stamp(other, _) if other.key == stamp.key);
            if *state == Ledgered::Untouched && self.done.iter().any(taken) {
                *state = Ledgered::Spent;
            }
        }
        if let Some(index) = states.iter().position(|s| *s == Ledgered::Untouched) {
            let stamp = want.stamps[index].clone();
            let claim = self.claim(want, stamp.fingerprint);
            self.done.push(Done::Stamp(stamp, claim));
            return Outcome::Stamp { index, number: 0, retry: false };
        }
        let unused = |work: &WorkCandidate| {
            let here = |done: &Done| matches!(done, Done::Work(id, claim) if *id == work.id && claim.1 == want.recipient);
            work.good && !self.model.worked.contains_key(&work.id) && !self.done.iter().any(here)
        };
        let Some(index) = want.work.iter().position(unused) else {
            return Outcome::Unpaid { stamps: states, work_used_up: false, work_untouched: false };
        };
        let bob = want.recipient.without_detail();
        let before =
            self.model.work_days.get(&(self.letter.now / DAY, bob.clone())).copied().unwrap_or_default();
        let here = |done: &&Done| matches!(done, Done::Work(_, claim) if claim.1.without_detail() == bob);
        let here = u32::try_from(self.done.iter().filter(here).count()).unwrap();
        if before + here >= self.letter.work_daily_max {
            return Outcome::Unpaid { stamps: states, work_used_up: true, work_untouched: false };
        }
        let claim = self.claim(want, want.work[index].id);
        self.done.push(Done::Work(want.work[index].id, claim));
        Outcome::Work { index, retry: false }
    }

    fn retry(&mut self, want: &Want) -> Option<Outcome> {
        let stamps = want.stamps.iter().enumerate().map(|(index, stamp)| {
            let earlier = self.model.redeemed.get(&stamp.key);
            let number = earlier.map_or(0, |r| r.number);
            let earlier = earlier.map(|r| (&r.claim, r.time));
            (self.claim(want, stamp.fingerprint), earlier, Outcome::Stamp { index, number, retry: true })
        });
        let work = want.work.iter().enumerate().map(|(index, work)| {
            let earlier = self.model.worked.get(&work.id).map(|(claim, time)| (claim, *time));
            (self.claim(want, work.id), earlier, Outcome::Work { index, retry: true })
        });
        let mut too_often = false;
        let all: Vec<_> = stamps.chain(work).collect();
        for (claim, earlier, outcome) in all {
            let Some((first, time)) = earlier else { continue };
            if *first != claim || self.letter.now.saturating_sub(time) > RETRY_WINDOW_S {
                continue;
            }
            let today = self.model.retries.get(&(self.letter.now / DAY, claim.clone())).copied();
            if today.unwrap_or_default() < RETRIES_DAILY_MAX {
                self.done.push(Done::Retry(claim));
                return Some(outcome);
            }
            too_often = true;
        }
        too_often.then_some(Outcome::TooOften)
    }
}
