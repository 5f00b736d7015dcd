//! The audit chain: what is hashed of each row, of each committed batch, and how one head follows another.
//!
//! Pure. Every committed batch that moves money or sells stamps adds one head:
//! `BLAKE3(previous head || batch || time || rows || root)`. Rows name accounts by name, not by the number an
//! engine gave them, so that swapping two accounts shows. A change of any hashed column, a row added and a
//! row taken away each give another root; a changed head gives another next head.

use blake3::Hasher;

/// The link before the first head.
pub(super) const GENESIS: [u8; 32] = [0; 32];

/// Separates the hash of a batch's rows from every other use of BLAKE3.
const ROWS_CONTEXT: &str = "farthing ledger 1 rows of a batch";
/// Separates the hash of a head likewise.
const HEAD_CONTEXT: &str = "farthing ledger 1 head of a batch";

/// Separates the hash of a cut likewise.
const CUT_CONTEXT: &str = "farthing ledger 1 cut of history";

/// A movement of money that is no redemption.
pub(super) struct EntryRow<'a> {
    pub seq: i64,
    pub time: i64,
    pub kind: &'a str,
    pub debit: &'a str,
    pub credit: &'a str,
    pub amount: i64,
    pub memo: &'a str,
    /// The redemption this one gives back.
    pub redeemed: Option<i64>,
}

/// What was ordered with an entry of kind `sell`.
pub(super) struct OrderRow<'a> {
    pub account: &'a str,
    pub audience: &'a str,
    pub value: i64,
    pub expiry: i64,
    pub selector: &'a str,
    pub stamps: i64,
}

/// One stamp of an order; they are hashed in the order of their ids.
pub(super) struct SoldRow<'a> {
    pub id: &'a [u8],
    pub holder: &'a [u8],
    pub signature: &'a [u8],
}

/// A redemption.
pub(super) struct RedeemedRow<'a> {
    pub seq: i64,
    pub time: i64,
    pub day: i64,
    pub office: &'a str,
    pub id: &'a [u8],
    pub debit: &'a str,
    pub credit: &'a str,
    pub amount: i64,
    /// The order that sold it, for a stamp of our own office.
    pub order: Option<i64>,
    pub number: i64,
    pub claim: &'a [u8],
    pub recipient: &'a [u8],
    pub author: Option<&'a [u8]>,
    pub authenticated: bool,
}

/// Where history was cut off. It stands in the batch that did it, and the chain that is left begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The newest batch that was dropped.
    pub through: i64,
    /// Its head.
    pub head: [u8; 32],
    /// The newest entry that was dropped.
    pub entries: i64,
    /// The newest redemption that was dropped.
    pub redeemed: i64,
    /// The latest day on which a stamp expired whose redemption was dropped.
    pub day: i64,
    /// Digest of what is carried forward on all accounts.
    pub carried: [u8; 32],
}

impl Cut {
    /// Before anything was dropped.
    pub const NONE: Self =
        Self { through: 0, head: GENESIS, entries: 0, redeemed: 0, day: 0, carried: [0; 32] };
}

/// The head of one committed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub batch: i64,
    pub time: i64,
    pub rows: i64,
    pub root: [u8; 32],
    pub head: [u8; 32],
}

impl Head {
    /// The head that follows `previous`.
    pub fn following(previous: &[u8; 32], batch: i64, time: i64, rows: i64, root: [u8; 32]) -> Self {
        let mut hasher = Hasher::new_derive_key(HEAD_CONTEXT);
        hasher.update(previous);
        for number in [batch, time, rows] {
            hasher.update(&number.to_be_bytes());
        }
        hasher.update(&root);
        Self { batch, time, rows, root, head: *hasher.finalize().as_bytes() }
    }
}

/// The rows of a batch while it grows. Entries and redemptions are hashed apart, for they are stored apart
/// and read back one after the other.
#[derive(Clone)]
pub(super) struct BatchRows {
    entries: Hasher,
    redeemed: Hasher,
    cut: Option<[u8; 32]>,
    rows: i64,
}

impl BatchRows {
    pub fn new() -> Self {
        Self {
            entries: Hasher::new_derive_key(ROWS_CONTEXT),
            redeemed: Hasher::new_derive_key(ROWS_CONTEXT),
            cut: None,
            rows: 0,
        }
    }

    /// Rows so far: entries, orders' stamps and redemptions.
    pub const fn count(&self) -> i64 {
        self.rows
    }

    pub fn entry(&mut self, row: &EntryRow<'_>) {
        Fields::of(&mut self.entries)
            .number(row.seq)
            .number(row.time)
            .text(row.kind.as_bytes())
            .text(row.debit.as_bytes())
            .text(row.credit.as_bytes())
            .number(row.amount)
            .text(row.memo.as_bytes())
            .number_or_none(row.redeemed);
        self.rows += 1;
    }

    /// Follows the entry it belongs to; its stamps follow it.
    pub fn order(&mut self, row: &OrderRow<'_>) {
        Fields::of(&mut self.entries)
            .text(row.account.as_bytes())
            .text(row.audience.as_bytes())
            .number(row.value)
            .number(row.expiry)
            .text(row.selector.as_bytes())
            .number(row.stamps);
    }

    pub fn sold(&mut self, row: &SoldRow<'_>) {
        Fields::of(&mut self.entries).text(row.id).text(row.holder).text(row.signature);
        self.rows += 1;
    }

    /// Follows the entry that settles these redemptions.
    pub fn settled(&mut self, first: i64, last: i64) {
        Fields::of(&mut self.entries).text(b"settled").number(first).number(last);
    }

    /// Follows the entry that ends this order.
    pub fn closed(&mut self, order: i64) {
        Fields::of(&mut self.entries).text(b"closed").number(order);
    }

    /// Follows the entry that gives back this stamp of this order, which a foreign domain redeemed.
    pub fn reported(&mut self, order: i64, id: &[u8]) {
        Fields::of(&mut self.entries).text(b"reported").number(order).text(id);
    }

    /// The cut that the batch made; there is one at the most.
    pub fn cut(&mut self, cut: &Cut) {
        let mut hasher = Hasher::new_derive_key(CUT_CONTEXT);
        Fields::of(&mut hasher)
            .number(cut.through)
            .text(&cut.head)
            .number(cut.entries)
            .number(cut.redeemed)
            .number(cut.day)
            .text(&cut.carried);
        self.cut = Some(*hasher.finalize().as_bytes());
        self.rows += 1;
    }

    /// Whether the batch made a cut.
    pub const fn has_cut(&self) -> bool {
        self.cut.is_some()
    }

    pub fn redeemed(&mut self, row: &RedeemedRow<'_>) {
        Fields::of(&mut self.redeemed)
            .number(row.seq)
            .number(row.time)
            .number(row.day)
            .text(row.office.as_bytes())
            .text(row.id)
            .text(row.debit.as_bytes())
            .text(row.credit.as_bytes())
            .number(row.amount)
            .number_or_none(row.order)
            .number(row.number)
            .text(row.claim)
            .text(row.recipient)
            .text_or_none(row.author)
            .number(i64::from(row.authenticated));
        self.rows += 1;
    }

    pub fn root(&self) -> [u8; 32] {
        let mut both = Hasher::new_derive_key(ROWS_CONTEXT);
        both.update(self.entries.finalize().as_bytes());
        both.update(self.redeemed.finalize().as_bytes());
        if let Some(cut) = &self.cut {
            both.update(cut);
        }
        *both.finalize().as_bytes()
    }
}

/// Feeds fields so that no two different rows give the same bytes: numbers have eight, text bears its length.
struct Fields<'h>(&'h mut Hasher);

impl<'h> Fields<'h> {
    fn of(hasher: &'h mut Hasher) -> Self {
        Self(hasher)
    }

    fn number(self, number: i64) -> Self {
        self.0.update(&number.to_be_bytes());
        self
    }

    fn number_or_none(self, number: Option<i64>) -> Self {
        let there = self.number(i64::from(number.is_some()));
        match number {
            Some(number) => there.number(number),
            None => there,
        }
    }

    fn text(self, text: &[u8]) -> Self {
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text);
        self
    }

    fn text_or_none(self, text: Option<&[u8]>) -> Self {
        let there = self.number(i64::from(text.is_some()));
        match text {
            Some(text) => there.text(text),
            None => there,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> EntryRow<'static> {
        EntryRow {
            seq: 1,
            time: 100,
            kind: "credit",
            debit: "funding:credit",
            credit: "account:a",
            amount: 2500,
            memo: "",
            redeemed: None,
        }
    }

    fn root_of(row: &EntryRow<'_>) -> [u8; 32] {
        let mut rows = BatchRows::new();
        rows.entry(row);
        rows.root()
    }

    #[test]
    fn every_column_of_an_entry_counts() {
        let was = root_of(&entry());
        let changed = [
            EntryRow { seq: 2, ..entry() },
            EntryRow { time: 101, ..entry() },
            EntryRow { kind: "debit", ..entry() },
            EntryRow { debit: "funding:other", ..entry() },
            EntryRow { credit: "account:b", ..entry() },
            EntryRow { amount: 2501, ..entry() },
            EntryRow { memo: "x", ..entry() },
            EntryRow { redeemed: Some(0), ..entry() },
            // The same letters, cut elsewhere.
            EntryRow { kind: "creditf", debit: "unding:credit", ..entry() },
        ];
        for row in &changed {
            assert_ne!(root_of(row), was);
        }
        assert_eq!(root_of(&entry()), was, "and nothing else does");
    }

    #[test]
    fn what_an_entry_ends_and_every_field_of_a_cut_count() {
        let cut = Cut { through: 1, head: [1; 32], entries: 2, redeemed: 3, day: 4, carried: [2; 32] };
        let of = |change: &dyn Fn(&mut BatchRows)| {
            let mut rows = BatchRows::new();
            rows.entry(&entry());
            change(&mut rows);
            rows.root()
        };
        let roots = [
            of(&|_| {}),
            of(&|rows| rows.settled(1, 2)),
            of(&|rows| rows.settled(1, 3)),
            of(&|rows| rows.closed(1)),
            of(&|rows| rows.reported(1, &[1; 16])),
            of(&|rows| rows.reported(2, &[1; 16])),
            of(&|rows| rows.reported(1, &[2; 16])),
            of(&|rows| rows.cut(&cut)),
            of(&|rows| rows.cut(&Cut { through: 2, ..cut.clone() })),
            of(&|rows| rows.cut(&Cut { head: [3; 32], ..cut.clone() })),
            of(&|rows| rows.cut(&Cut { entries: 3, ..cut.clone() })),
            of(&|rows| rows.cut(&Cut { redeemed: 4, ..cut.clone() })),
            of(&|rows| rows.cut(&Cut { day: 5, ..cut.clone() })),
            of(&|rows| rows.cut(&Cut { carried: [3; 32], ..cut.clone() })),
        ];
        for (i, root) in roots.iter().enumerate() {
            assert!(!roots[..i].contains(root), "{i}");
        }
    }

    #[test]
    fn a_head_follows_the_one_before() {
        let first = Head::following(&GENESIS, 1, 100, 1, root_of(&entry()));
        let second = Head::following(&first.head, 2, 100, 1, root_of(&entry()));
        assert_ne!(first.head, second.head);
        assert_ne!(Head::following(&GENESIS, 2, 100, 1, root_of(&entry())).head, second.head);
    }
}
