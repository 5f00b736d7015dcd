//! Books to open, and short ways to say what goes in and what must come out.

use std::sync::Arc;

use farthing::{
    address::{Address, Domain},
    ledger::{
        AccountKey, Ledger, Ledgered, Letter, Order, OrderedStamp, Outcome, Sale, StampCandidate, StampId,
        StampKey, Want, WorkCandidate,
        settling::{Done, Keep, Terms},
    },
    money::{Currency, Micros},
};

/// Noon of a UTC day, so that hours before and after are the same day.
pub const NOW: u64 = 20_600 * DAY + DAY / 2;
pub const DAY: u64 = 86_400;
pub const HOUR: u64 = 3_600;
/// How long postage can be given back in these books.
pub const REFUND_WINDOW: u64 = 30 * DAY;
/// The UTC day on which the stamps in these tests expire.
pub const EXPIRY_DAY: u32 = 20_690;
pub const EXPIRY: u64 = EXPIRY_DAY as u64 * DAY + DAY - 1;

/// An engine with books of its own, which can be opened many times. Their office is `post.example`, their
/// currency USD, their refund window [`REFUND_WINDOW`].
pub trait Engine: Send + Sync {
    fn open(&self) -> Arc<dyn Ledger>;
}

/// Books, opened.
pub struct Site {
    pub engine: Box<dyn Engine>,
    pub ledger: Arc<dyn Ledger>,
}

impl Site {
    pub fn new(engine: Box<dyn Engine>) -> Self {
        let ledger = engine.open();
        Self { engine, ledger }
    }

    /// The proof finds no fault, and the balances sum to zero.
    pub async fn must_balance(&self) {
        must_balance(&*self.engine.open()).await;
    }

    /// An account with so many stamps of a quarter cent, ids 1 to n, for b.example.
    pub async fn with_stamps(&self, count: u8) -> &dyn Ledger {
        self.credit(100_000).await;
        let order = order(&(1..=count).collect::<Vec<_>>());
        assert!(matches!(self.ledger.sell(order).await.unwrap(), Sale::Sold(_)));
        &*self.ledger
    }

    pub async fn credit(&self, micros_: u64) {
        self.ledger.credit(buyer(), "credit", micros(micros_), "", NOW).await.unwrap();
    }

    /// The balance of an account by its full name; zero when there is none.
    pub async fn balance(&self, name: &str) -> i64 {
        let all = self.ledger.balances().await.unwrap();
        all.iter().find(|(n, _)| n == name).map_or(0, |(_, balance)| *balance)
    }
}

pub async fn must_balance(ledger: &dyn Ledger) {
    let proof = ledger.check().await.unwrap();
    assert_eq!(proof.faults, Vec::<String>::new());
    let sum: i128 = ledger.balances().await.unwrap().iter().map(|(_, balance)| i128::from(*balance)).sum();
    assert_eq!(sum, 0, "the balances sum to zero");
}

/// By the wall clock, into the treasury; b.example is redeemed here alone.
pub fn terms(now: u64) -> Terms {
    Terms { now, clock: now, keep: Keep::Treasury, domains: vec![domain("b.example")] }
}

/// Settles until nothing is left to do, and says what was done.
pub async fn settle(ledger: &dyn Ledger, now: u64) -> Done {
    let mut all = Done::default();
    loop {
        let done = ledger.settle(terms(now)).await.unwrap();
        all = all.and(Done { more: false, ..done });
        if !done.more {
            return all;
        }
    }
}

pub fn usd() -> Currency {
    "USD".parse().unwrap()
}

pub fn address(text: &str) -> Address {
    text.parse().unwrap()
}

pub fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

pub fn own_office() -> Domain {
    domain("post.example")
}

pub fn micros(value: u64) -> Micros {
    Micros::new(value).unwrap()
}

pub const PRICE: u64 = 2_500;

pub fn buyer() -> AccountKey {
    AccountKey([7; 32])
}

pub fn buyer_account() -> String {
    format!("account:{}", buyer())
}

pub fn id(n: u8) -> StampId {
    [n; 16]
}

pub fn signature(n: u8) -> [u8; 64] {
    [n ^ 0x55; 64]
}

/// Stamps of these ids at a quarter cent for b.example.
pub fn order(ids: &[u8]) -> Order {
    let stamp = |&n: &u8| OrderedStamp { id: id(n), holder: [n; 32], signature: signature(n) };
    Order {
        now: NOW,
        account: buyer(),
        audience: domain("b.example"),
        value: micros(PRICE),
        expiry: EXPIRY,
        selector: "s1".into(),
        stamps: ids.iter().map(stamp).collect(),
    }
}

/// The stamp that [`order`] sells under this id, as a letter brings it.
pub fn stamp(n: u8) -> StampCandidate {
    StampCandidate {
        key: StampKey { day: EXPIRY_DAY, office: own_office(), id: id(n) },
        value: micros(PRICE),
        signature: signature(n),
        fingerprint: [n; 16],
        good: true,
        field: None,
    }
}

/// A stamp of another office.
pub fn foreign(n: u8, office: &str) -> StampCandidate {
    let fingerprint = [n ^ u8::try_from(office.len()).unwrap() ^ 0x80; 16];
    StampCandidate { key: StampKey { office: domain(office), ..stamp(n).key }, fingerprint, ..stamp(n) }
}

pub fn bad(stamp: StampCandidate) -> StampCandidate {
    StampCandidate { good: false, ..stamp }
}

pub fn work(n: u8) -> WorkCandidate {
    WorkCandidate { id: [n; 16], day: EXPIRY_DAY, good: true, counts: true }
}

pub fn want(recipient: &str, stamps: &[StampCandidate]) -> Want {
    Want { recipient: address(recipient), answering: None, stamps: stamps.to_vec(), work: vec![] }
}

pub fn want_by_work(recipient: &str, work: &[WorkCandidate]) -> Want {
    Want { recipient: address(recipient), answering: None, stamps: vec![], work: work.to_vec() }
}

/// An authenticated letter from alice@a.example, told apart by a number.
pub fn letter(number: u8, wants: &[Want]) -> Letter {
    Letter {
        now: NOW,
        digest: [number; 32],
        author: Some(address("alice@a.example")),
        authenticated: true,
        wants: wants.to_vec(),
        all_or_nothing: true,
        work_daily_max: 3,
        office_cap: micros(100_000_000),
    }
}

pub fn at(now: u64, letter: Letter) -> Letter {
    Letter { now, ..letter }
}

/// A letter to bob@b.example with these stamps.
pub fn to_bob(number: u8, stamps: &[StampCandidate]) -> Letter {
    letter(number, &[want("bob@b.example", stamps)])
}

/// The outcome of a letter to one recipient.
pub async fn redeem_one(ledger: &dyn Ledger, letter: Letter) -> Outcome {
    let mut outcomes = ledger.redeem(letter).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// The number under which it was paid anew.
pub fn paid(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Stamp { number, retry: false, .. } => *number,
        other => panic!("not paid anew: {other:?}"),
    }
}

pub fn retried(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Stamp { number, retry: true, .. } => *number,
        other => panic!("no retry: {other:?}"),
    }
}

pub fn unpaid(stamps: &[Ledgered]) -> Outcome {
    Outcome::Unpaid { stamps: stamps.to_vec(), work_used_up: false, work_untouched: false }
}

pub fn by_work(index: usize, retry: bool) -> Outcome {
    Outcome::Work { index, retry }
}

/// A sequence that a seed decides (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to `sides` - 1.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}
