//! The proof of the books: every sum and every link computed anew from the rows.
//!
//! Pure: an engine reads its rows and hands them in, batch by batch; what is wrong comes out in words. What
//! only the engine can see (its keys and indices) it checks itself and adds with [`Prover::fault`].

use std::collections::HashMap;

use super::{
    Proof,
    carried::Carried,
    chain::{BatchRows, Cut, EntryRow, Head, OrderRow, RedeemedRow, SoldRow},
};
use crate::money::signed_cents;

/// Faults that are put in words; of a file that is torn to pieces a hundred say enough.
const FAULTS_MAX: usize = 100;
/// Seconds of a UTC day.
const DAY_S: i64 = 86_400;

/// What a redemption of our own office's stamp should agree with.
pub(super) struct SoldAs<'a> {
    pub order: i64,
    pub audience: &'a str,
    pub value: i64,
    pub expiry: i64,
}

/// What an entry should agree with that gives back a stamp redeemed elsewhere.
pub(super) struct ReportedAs<'a> {
    pub order: i64,
    pub buyer: &'a str,
    pub value: i64,
    /// It was redeemed in these books as well.
    pub redeemed_here: bool,
}

/// What a refund should agree with: the redemption it gives back.
pub(super) struct GivenBack<'a> {
    pub debit: &'a str,
    pub credit: &'a str,
    pub amount: i64,
    /// The order, for a stamp of our own office.
    pub order: Option<i64>,
    /// Account of its buyer, if the order is still there.
    pub buyer: Option<&'a str>,
}

/// Takes in the rows and says at the end whether they make books.
pub(super) struct Prover {
    transactions: u64,
    faults: Vec<String>,
    faults_unsaid: u64,
    sums: HashMap<String, i128>,
    /// Redeemed stamps of each order.
    redeemed: HashMap<i64, i64>,
    /// Value of stamps sold, and neither redeemed nor ended with their order.
    unredeemed: i128,
    /// What is carried forward.
    carried: Carried,
    carried_sum: i128,
    /// Where the rows begin.
    from: Cut,
    /// The newest cut that the chain held.
    last_cut: Cut,
    /// The redemption up to which entries settle.
    settled_to: i64,
    batch: i64,
    rows: BatchRows,
    head: [u8; 32],
}

impl Prover {
    /// Of what is left after the last cut.
    pub fn new(from: Cut) -> Self {
        Self {
            carried: Carried::nothing(),
            carried_sum: 0,
            last_cut: Cut::NONE,
            settled_to: from.redeemed,
            transactions: 0,
            faults: Vec::new(),
            faults_unsaid: 0,
            sums: HashMap::new(),
            redeemed: HashMap::new(),
            unredeemed: 0,
            batch: from.through,
            rows: BatchRows::new(),
            head: from.head,
            from,
        }
    }

    /// What an account carries forward of rows that were dropped; before any row.
    pub fn carried(&mut self, account: &str, micros: i64) {
        self.carried.change(account, 0, micros);
        self.carried_sum += i128::from(micros);
        if micros != 0 {
            self.sums.insert(account.to_owned(), i128::from(micros));
        }
    }

    /// Notes a fault.
    pub fn fault(&mut self, words: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(words.into());
        } else {
            self.faults_unsaid += 1;
        }
    }

    /// Begins a batch; its rows follow, and then its head.
    pub fn open_batch(&mut self, batch: i64) {
        if batch <= self.batch {
            self.fault(format!("batch {batch} has rows among those of later batches"));
        } else if batch != self.batch + 1 {
            self.fault(format!("batches {} to {} are missing", self.batch + 1, batch - 1));
        }
        self.batch = self.batch.max(batch);
        self.rows = BatchRows::new();
    }

    /// An entry; of kind `refund` with what it gives back.
    pub fn entry(&mut self, row: &EntryRow<'_>, given_back: Option<&GivenBack<'_>>) {
        self.rows.entry(row);
        self.transfer(row.debit, row.credit, row.amount);
        if row.kind != "refund" {
            return;
        }
        let seq = row.seq;
        let Some(back) = given_back else {
            if row.redeemed.is_none_or(|redeemed| redeemed > self.from.redeemed) {
                self.fault(format!("entry {seq} gives back a redemption that is not there"));
            }
            return;
        };
        if row.amount != back.amount {
            self.fault(format!(
                "entry {seq} gives back {} of {} redeemed",
                signed_cents(row.amount),
                signed_cents(back.amount)
            ));
        }
        // Of an order that was dropped nobody knows any more who bought it.
        let dropped = back.order.is_some_and(|order| order <= self.from.entries);
        let to_buyer = dropped && row.credit.starts_with("account:");
        if row.debit != back.credit || !to_buyer && row.credit != back.buyer.unwrap_or(back.debit) {
            self.fault(format!("entry {seq} gives back postage from or to the wrong account"));
        }
    }

    /// What the entry just handed in settles, and the sum of it as far as it is known: of a range whose beginning was
    /// dropped it is not.
    pub fn settled(&mut self, entry: &EntryRow<'_>, first: i64, last: i64, sum: i128) {
        self.rows.settled(first, last);
        let seq = entry.seq;
        let named = |kind, account| entry.kind == kind && entry.credit == account;
        if !entry.debit.starts_with("escrow:") || !named("keep", "kept") && !named("burn", "burned") {
            self.fault(format!("entry {seq} settles postage from or to the wrong account"));
        }
        if first > self.from.redeemed && sum != i128::from(entry.amount) {
            self.fault(format!(
                "entry {seq} settles {}, but redemptions {first} to {last} that were not given back sum to {sum} micros",
                signed_cents(entry.amount)
            ));
        }
        self.settled_to = self.settled_to.max(last);
    }

    /// The order that the entry just handed in ends, with its account, if it is still there.
    pub fn closed(&mut self, entry: &EntryRow<'_>, order: i64, buyer: Option<&str>) {
        self.rows.closed(order);
        let seq = entry.seq;
        let to = match entry.kind {
            "return" => buyer,
            "keep" => Some("kept"),
            "burn" => Some("burned"),
            _ => None,
        };
        let dropped = order <= self.from.entries;
        if entry.debit != "stamps" || !dropped && to != Some(entry.credit) {
            self.fault(format!("entry {seq} ends order {order} from or to the wrong account"));
        }
        if !dropped {
            self.unredeemed -= i128::from(entry.amount);
        }
    }

    /// The stamp that the entry just handed in gives back, as it was sold if its order is still there.
    pub fn reported(&mut self, entry: &EntryRow<'_>, order: i64, id: &[u8], sold: Option<&ReportedAs<'_>>) {
        self.rows.reported(order, id);
        if order <= self.from.entries {
            return;
        }
        let seq = entry.seq;
        *self.redeemed.entry(order).or_default() += 1;
        self.unredeemed -= i128::from(entry.amount);
        let Some(sold) = sold.filter(|sold| sold.order == order) else {
            self.fault(format!("entry {seq} gives back a stamp that order {order} has not sold"));
            return;
        };
        if entry.debit != "stamps" || entry.credit != sold.buyer || entry.amount != sold.value {
            self.fault(format!("entry {seq} does not give back to its buyer what the stamp cost"));
        }
        if sold.redeemed_here {
            self.fault(format!("entry {seq} gives back a stamp that was redeemed here"));
        }
    }

    /// A cut that the batch made.
    pub fn cut(&mut self, cut: Cut) {
        self.rows.cut(&cut);
        self.last_cut = cut;
    }

    /// The order of the entry just handed in, and its stamps in order of their ids.
    pub fn order(&mut self, entry: &EntryRow<'_>, order: &OrderRow<'_>) {
        self.rows.order(order);
        let price = order.value.checked_mul(order.stamps);
        if price != Some(entry.amount) || entry.debit != order.account || entry.credit != "stamps" {
            self.fault(format!("order {} does not agree with its entry", entry.seq));
        }
        self.unredeemed += i128::from(order.value) * i128::from(order.stamps);
    }

    /// A stamp of the order just handed in.
    pub fn sold(&mut self, row: &SoldRow<'_>) {
        self.rows.sold(row);
    }

    /// The stamps of an order have been handed in.
    pub fn order_ends(&mut self, seq: i64, said: i64, found: i64) {
        if said != found {
            self.fault(format!("order {seq} has {found} stamps and should have {said}"));
        }
    }

    /// A redemption; of our own office's stamp with what was sold under its id.
    pub fn redeemed(&mut self, row: &RedeemedRow<'_>, sold: Option<&SoldAs<'_>>) {
        self.rows.redeemed(row);
        self.transfer(row.debit, row.credit, row.amount);
        let seq = row.seq;
        let domain = row.recipient.rsplit(|&b| b == b'@').next().unwrap_or_default();
        if row.credit.strip_prefix("escrow:").map(str::as_bytes) != Some(domain) {
            self.fault(format!("redemption {seq} went to {} and not to its recipient's domain", row.credit));
        }
        let Some(order) = row.order else {
            if row.debit.strip_prefix("office:") != Some(row.office) {
                self.fault(format!(
                    "redemption {seq} is of no stamp sold here, yet is paid by {}",
                    row.debit
                ));
            }
            return;
        };
        if order <= self.from.entries {
            // Of an order that was dropped: nothing is left to compare it with.
            return;
        }
        *self.redeemed.entry(order).or_default() += 1;
        self.unredeemed -= i128::from(row.amount);
        let agrees = |sold: &SoldAs<'_>| {
            sold.order == order
                && sold.value == row.amount
                && sold.expiry.div_euclid(DAY_S) == row.day
                && sold.audience.as_bytes() == domain
                && row.debit == "stamps"
        };
        match sold {
            None => self.fault(format!("redemption {seq} is of a stamp of our own office that was not sold")),
            Some(sold) if !agrees(sold) => {
                self.fault(format!("redemption {seq} does not agree with the stamp that was sold"));
            }
            Some(_) => {}
        }
    }

    /// Ends a batch with its head, if it has one.
    pub fn close_batch(&mut self, stored: Option<&Head>) {
        let batch = self.batch;
        let Some(stored) = stored else {
            self.fault(format!("batch {batch} has no head"));
            return;
        };
        let root = self.rows.root();
        if stored.rows != self.rows.count() {
            self.fault(format!(
                "batch {batch} has {} rows and should have {}",
                self.rows.count(),
                stored.rows
            ));
        } else if stored.root != root {
            self.fault(format!("batch {batch} does not hold the rows that were committed: one was changed"));
        }
        let head = Head::following(&self.head, batch, stored.time, stored.rows, stored.root).head;
        if head != stored.head {
            self.fault(format!(
                "the chain breaks at batch {batch}: its head does not follow from the one before"
            ));
        }
        self.head = stored.head;
    }

    /// How often the redemptions say an order's stamps were redeemed, against what the order says.
    pub fn order_redeemed(&mut self, seq: i64, said: i64) {
        let found = self.redeemed.remove(&seq).unwrap_or_default();
        if said != found {
            self.fault(format!("order {seq} says {said} of its stamps were redeemed, but {found} were"));
        }
    }

    /// What waits in an account to be settled or given back, by the redemptions, against its balance.
    pub fn escrow(&mut self, account: &str, kept: i64, waiting: i128) {
        if i128::from(kept) != waiting {
            self.fault(format!(
                "{account} holds {}, but what can still be given back sums to {waiting} micros",
                signed_cents(kept)
            ));
        }
    }

    /// Up to which redemption the books say that all is settled; and the newest of those that wait no more.
    pub fn settled_to(&mut self, said: i64) {
        if said < self.settled_to {
            self.fault(format!(
                "redemptions up to {said} are said to be settled, but entries settle them up to {}",
                self.settled_to
            ));
        }
    }

    /// An account's balance as it is kept; `may_owe` for those that may be below zero.
    pub fn balance(&mut self, account: &str, kept: i64, may_owe: bool) {
        let sum = self.sums.remove(account).unwrap_or_default();
        if sum != i128::from(kept) {
            let sum = i64::try_from(sum).map_or_else(|_| sum.to_string(), signed_cents);
            self.fault(format!("{account} is kept as {}, but its entries sum to {sum}", signed_cents(kept)));
        }
        if kept < 0 && !may_owe {
            self.fault(format!("{account} is below zero: {}", signed_cents(kept)));
        }
        if account == "stamps" && i128::from(kept) != self.unredeemed {
            self.fault(format!(
                "stamps holds {}, but the stamps sold and not redeemed are worth {} micros",
                signed_cents(kept),
                self.unredeemed
            ));
        }
    }

    /// Everything was handed in; `total` is the sum of all balances.
    pub fn conclude(mut self, total: i128) -> Proof {
        if total != 0 {
            self.fault(format!("the balances sum to {total} micros and not to zero"));
        }
        if self.carried_sum != 0 {
            self.fault(format!(
                "what is carried forward sums to {} micros and not to zero",
                self.carried_sum
            ));
        }
        if self.last_cut != self.from {
            self.fault("history begins elsewhere than where the audit chain says that it was cut off");
        }
        if self.from != Cut::NONE && self.carried.digest() != self.from.carried {
            self.fault("what is carried forward on the accounts is not what it was when history was cut off");
        }
        if self.from == Cut::NONE && self.carried != Carried::nothing() {
            self.fault("something is carried forward, but no history was cut off");
        }
        let lost: Vec<_> = self.sums.drain().filter(|(_, sum)| *sum != 0).map(|(name, _)| name).collect();
        for name in lost {
            self.fault(format!("{name} has entries but is no account"));
        }
        let orders: Vec<_> = self.redeemed.drain().map(|(order, _)| order).collect();
        for order in orders {
            self.fault(format!("stamps of order {order} were redeemed, but there is no such order"));
        }
        if self.faults_unsaid > 0 {
            self.faults.push(format!("and {} more", self.faults_unsaid));
        }
        Proof { transactions: self.transactions, head: self.head, faults: self.faults }
    }

    fn transfer(&mut self, debit: &str, credit: &str, amount: i64) {
        self.transactions += 1;
        for (account, change) in [(debit, -i128::from(amount)), (credit, i128::from(amount))] {
            match self.sums.get_mut(account) {
                Some(sum) => *sum += change,
                None => {
                    self.sums.insert(account.to_owned(), change);
                }
            }
        }
    }
}
