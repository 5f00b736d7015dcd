//! Redeeming: first what would happen to a letter (only reading), then doing it.
//!
//! What always holds: retries are looked for in everything a recipient brings before anything is redeemed; a
//! letter that must be paid for all its recipients or none writes nothing unless all are; a plan is carried
//! out in the transaction it was made in (SPEC.md §3, §4).

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use super::{
    Site,
    batch::{Batch, NewRedeemed, newest_cut},
    fail::{Fail, read_time, stored_time},
    foreign,
    rows::Statements,
    sent::{self, Answer},
};
use crate::{
    address::{Address, Domain},
    clock::DAY_S,
    ledger::{
        LedgerError, Ledgered, Letter, Outcome, RETRIES_DAILY_MAX, RETRY_WINDOW_S, StampCandidate, StampKey,
        Want, WorkCandidate, owners::Owners,
    },
    money::Micros,
};

/// Names stamp (or work), recipient and letter: the same again is a retry, anything else is a second spending.
type Claim = [u8; 16];

/// Separates claims from every other use of BLAKE3.
const CLAIM_CONTEXT: &str = "farthing ledger 1 claim of a letter";

/// What would become of one want.
enum Planned {
    /// Stamp `index` is redeemed.
    Stamp { index: usize, number: u64, claim: Claim, order: Option<i64>, stamps: Vec<Ledgered> },
    /// Work `index` is used up.
    Work { index: usize, claim: Claim, stamps: Vec<Ledgered> },
    /// It answers what the recipient sent, and is counted.
    Answer { claim: Claim, author: Vec<u8> },
    /// The letter had paid for this recipient; one more retry is counted.
    Retry { outcome: Outcome, claim: Claim },
    /// The same recipient stands twice in the letter.
    Twice(Outcome),
    /// Nothing changes.
    No(Outcome),
}

/// What would become of a letter.
pub(super) struct Plan(Vec<Planned>);

impl Plan {
    /// Looks up what would become of each want; writes nothing. `balance` gives the balance of an account, as it stands in
    /// the transaction.
    pub fn of(
        letter: &Letter,
        conn: &Connection,
        site: &Site,
        mut balance: impl FnMut(&str) -> Result<i64, Fail>,
    ) -> Result<Self, Fail> {
        let mut planner = Planner {
            letter,
            conn,
            site,
            balance: &mut balance,
            owed: HashMap::new(),
            owners: site.owners(),
            claimed: HashMap::new(),
            taken: HashSet::new(),
            worked: HashMap::new(),
        };
        let wants: Result<Vec<_>, _> = letter.wants.iter().map(|want| planner.want(want)).collect();
        let mut plan = Self(wants?);
        if letter.all_or_nothing && plan.0.iter().any(|p| matches!(p, Planned::No(_))) {
            plan.0 = plan.0.into_iter().map(Planned::withheld).collect();
        }
        Ok(plan)
    }

    /// Whether carrying it out would write.
    pub fn writes(&self) -> bool {
        self.0.iter().any(|p| {
            matches!(
                p,
                Planned::Stamp { .. } | Planned::Work { .. } | Planned::Answer { .. } | Planned::Retry { .. }
            )
        })
    }

    /// The answer, once everything is done.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.0.into_iter().map(Planned::into_outcome).collect()
    }

    /// Carries it out in the transaction whose connection it was made on.
    pub fn carry_out(&self, letter: &Letter, batch: &mut Batch<'_>) -> Result<(), Fail> {
        for (planned, want) in self.0.iter().zip(&letter.wants) {
            match planned {
                Planned::Stamp { index, number, claim, order, .. } => {
                    let stamp =
                        want.stamps.get(*index).ok_or_else(|| Fail::damaged("a plan without its stamp"))?;
                    redeem_stamp(batch, letter, want, stamp, *number, claim, *order)?;
                }
                Planned::Work { index, claim, .. } => {
                    let work =
                        want.work.get(*index).ok_or_else(|| Fail::damaged("a plan without its work"))?;
                    use_work(batch, letter, want, work, claim)?;
                }
                Planned::Answer { claim, author } => {
                    let answering =
                        want.answering.as_ref().ok_or_else(|| Fail::damaged("a plan without its letter"))?;
                    sent::count(batch, author, answering, claim, letter.now)?;
                }
                Planned::Retry { claim, .. } => count_retry(batch, letter.now, claim)?,
                Planned::Twice(_) | Planned::No(_) => {}
            }
        }
        Ok(())
    }
}

impl Planned {
    /// The same when the letter is refused for another recipient: what had paid had paid, nothing new does.
    fn withheld(self) -> Self {
        match self {
            Self::Stamp { stamps, .. } => {
                Self::No(Outcome::Unpaid { stamps, work_used_up: false, work_untouched: false })
            }
            Self::Work { stamps, .. } => {
                Self::No(Outcome::Unpaid { stamps, work_used_up: false, work_untouched: true })
            }
            // That it would be let in for him is so; it is counted when it is.
            Self::Answer { .. } => Self::No(Outcome::Answer),
            Self::Retry { outcome, .. } => Self::No(outcome),
            Self::Twice(_) | Self::No(_) => self,
        }
    }

    fn into_outcome(self) -> Outcome {
        match self {
            Self::Stamp { index, number, .. } => Outcome::Stamp { index, number, retry: false },
            Self::Work { index, .. } => Outcome::Work { index, retry: false },
            Self::Answer { .. } => Outcome::Answer,
            Self::Retry { outcome, .. } | Self::Twice(outcome) | Self::No(outcome) => outcome,
        }
    }
}

/// A stamp or a work that let a letter in before.
struct Earlier {
    claim: Claim,
    time: i64,
    number: u64,
}

/// A stamp of our own office, as it was sold.
pub(super) struct Sold {
    order: i64,
    /// The order was ended.
    pub closed: bool,
    /// Its domain, a foreign one then, redeemed it and gave it back.
    pub reported: bool,
}

struct Planner<'a> {
    letter: &'a Letter,
    conn: &'a Connection,
    site: &'a Site,
    balance: &'a mut dyn FnMut(&str) -> Result<i64, Fail>,
    /// What each office owes once the earlier wants of this letter are paid.
    owed: HashMap<&'a Domain, Micros>,
    owners: Owners,
    /// What earlier wants of this letter claim.
    claimed: HashMap<Claim, Outcome>,
    taken: HashSet<&'a StampKey>,
    /// Letters by work that earlier wants add to a recipient's day.
    worked: HashMap<Vec<u8>, u32>,
}

impl<'a> Planner<'a> {
    fn want(&mut self, want: &'a Want) -> Result<Planned, Fail> {
        if let Some(planned) = self.answer(want)? {
            return Ok(planned);
        }
        let earlier_stamps: Result<Vec<_>, Fail> =
            want.stamps.iter().map(|s| earlier_of(self.conn, &s.key)).collect();
        let earlier_work: Result<Vec<_>, Fail> = want.work.iter().map(|w| self.used(w)).collect();
        let (earlier_stamps, earlier_work) = (earlier_stamps?, earlier_work?);

        if let Some(retry) = self.retry(want, &earlier_stamps, &earlier_work)? {
            return Ok(retry);
        }
        let mut stamps = Vec::with_capacity(want.stamps.len());
        let mut paying = None;
        for (index, (stamp, earlier)) in want.stamps.iter().zip(&earlier_stamps).enumerate() {
            let (state, order) = self.state(want, stamp, earlier.is_some())?;
            if state == Ledgered::Untouched && paying.is_none() {
                paying = Some((index, stamp, order));
            }
            stamps.push(state);
        }
        if let Some((index, stamp, order)) = paying {
            let (claim, number) = (self.stamp_claim(want, stamp), random_number()?);
            self.taken.insert(&stamp.key);
            if order.is_none() {
                let owed = self.owed(&stamp.key.office)?;
                self.owed
                    .insert(&stamp.key.office, owed.checked_add(stamp.value).ok_or_else(Fail::overflow)?);
            }
            self.claimed.insert(claim, Outcome::Stamp { index, number, retry: true });
            return Ok(Planned::Stamp { index, number, claim, order, stamps });
        }
        self.work(want, &earlier_work, stamps)
    }

    /// Whether the letter answers what the recipient sent.
    fn answer(&mut self, want: &Want) -> Result<Option<Planned>, Fail> {
        let Some(answering) = &want.answering else { return Ok(None) };
        let claim = claim(b"answer", &answering.message_id, &want.recipient, &self.letter.digest);
        if let Some(outcome) = self.claimed.get(&claim) {
            return Ok(Some(Planned::Twice(outcome.clone())));
        }
        let reader = self.owners.of(&want.recipient);
        let answer = sent::answer(self.conn, &reader, answering, &claim, self.letter.now)?;
        let planned = match answer {
            Answer::No => return Ok(None),
            // What the digest of a letter leaves out (its Content-Type) can show another content each time, so that one
            // answer is no more than any other letter brought again and again as if the first had got lost.
            Answer::Again(first) => {
                if self.letter.now.saturating_sub(read_time(first)) > RETRY_WINDOW_S {
                    return Ok(None);
                }
                if retries(self.conn, self.letter.now, &claim)? >= i64::from(RETRIES_DAILY_MAX) {
                    return Ok(Some(Planned::No(Outcome::TooOften)));
                }
                Planned::Retry { outcome: Outcome::Answer, claim }
            }
            Answer::New(author) => Planned::Answer { claim, author },
        };
        self.claimed.insert(claim, Outcome::Answer);
        Ok(Some(planned))
    }

    /// Whether the same letter was let in before for this recipient, by anything it brings.
    fn retry(
        &self,
        want: &Want,
        stamps: &[Option<Earlier>],
        work: &[Option<Earlier>],
    ) -> Result<Option<Planned>, Fail> {
        let by_stamp = want.stamps.iter().zip(stamps).enumerate().map(|(index, (stamp, earlier))| {
            let number = earlier.as_ref().map_or(0, |e| e.number);
            (self.stamp_claim(want, stamp), earlier, Outcome::Stamp { index, number, retry: true })
        });
        let by_work = want.work.iter().zip(work).enumerate().map(|(index, (work, earlier))| {
            (self.work_claim(want, work), earlier, Outcome::Work { index, retry: true })
        });
        let mut too_often = false;
        for (claim, earlier, outcome) in by_stamp.chain(by_work) {
            if let Some(outcome) = self.claimed.get(&claim) {
                return Ok(Some(Planned::Twice(outcome.clone())));
            }
            let Some(earlier) = earlier else { continue };
            let age_s = self.letter.now.saturating_sub(read_time(earlier.time));
            if earlier.claim != claim || age_s > RETRY_WINDOW_S {
                continue;
            }
            if retries(self.conn, self.letter.now, &claim)? < i64::from(RETRIES_DAILY_MAX) {
                return Ok(Some(Planned::Retry { outcome, claim }));
            }
            too_often = true;
        }
        Ok(too_often.then_some(Planned::No(Outcome::TooOften)))
    }

    /// What is to be said of a stamp that is no retry; `Untouched` when it can pay, with its order.
    fn state(
        &mut self,
        want: &Want,
        stamp: &'a StampCandidate,
        spent: bool,
    ) -> Result<(Ledgered, Option<i64>), Fail> {
        if !stamp.good || stamp.value == Micros::ZERO {
            return Ok((if spent { Ledgered::Spent } else { Ledgered::NotGood }, None));
        }
        if !self.site.is_own(&stamp.key.office) {
            if spent || self.taken.contains(&stamp.key) || self.is_forgotten(&stamp.key)? {
                return Ok((Ledgered::Spent, None));
            }
            let owed = self.owed(&stamp.key.office)?.checked_add(stamp.value);
            let fits = owed.is_some_and(|owed| owed <= self.letter.office_cap);
            return Ok((if fits { Ledgered::Untouched } else { Ledgered::Capped }, None));
        }
        let Some(sold) = sold_by(self.conn, stamp, want.recipient.domain())? else {
            return Ok((Ledgered::Unsold, None));
        };
        let Sold { order, closed, reported } = sold;
        let spent = spent || reported || self.taken.contains(&stamp.key);
        // An order that was ended has no more stamps: what was left of it is with its buyer again.
        if closed && !spent {
            return Ok((Ledgered::Unsold, None));
        }
        Ok((if spent { Ledgered::Spent } else { Ledgered::Untouched }, Some(order)))
    }

    /// What an office owes us for its stamps.
    fn owed(&mut self, office: &'a Domain) -> Result<Micros, Fail> {
        match self.owed.get(office) {
            Some(owed) => Ok(*owed),
            None => foreign::owed((self.balance)(&office_account(office))?),
        }
    }

    /// Whether stamps of that day were spent that nobody remembers: only a clock that is wrong brings one again.
    fn is_forgotten(&self, key: &StampKey) -> Result<bool, Fail> {
        Ok(i64::from(key.day) <= newest_cut(self.conn)?.day)
    }

    fn used(&self, work: &WorkCandidate) -> Result<Option<Earlier>, Fail> {
        let sql = "SELECT claim, time FROM worked WHERE day = ?1 AND id = ?2";
        self.conn.find(sql, params![work.day, work.id], |row| {
            Ok(Earlier { claim: row.get(0)?, time: row.get(1)?, number: 0 })
        })
    }

    /// Work instead of money, as far as today's letters by work allow.
    fn work(
        &mut self,
        want: &Want,
        earlier: &[Option<Earlier>],
        stamps: Vec<Ledgered>,
    ) -> Result<Planned, Fail> {
        let claimed = &self.claimed;
        let fresh = want.work.iter().zip(earlier).enumerate().filter_map(|(index, (work, earlier))| {
            let claim = self.work_claim(want, work);
            let fresh = work.good && earlier.is_none() && !claimed.contains_key(&claim);
            fresh.then_some((index, work.counts, claim))
        });
        let fresh: Vec<_> = fresh.collect();
        let reader = self.owners.owner(&want.recipient).to_bytes();
        let mut used_up = false;
        for (index, counts, claim) in fresh {
            if counts && !self.has_work_left(&reader)? {
                used_up = true;
                continue;
            }
            if counts {
                *self.worked.entry(reader).or_default() += 1;
            }
            self.claimed.insert(claim, Outcome::Work { index, retry: true });
            return Ok(Planned::Work { index, claim, stamps });
        }
        Ok(Planned::No(Outcome::Unpaid { stamps, work_used_up: used_up, work_untouched: false }))
    }

    /// Whether one letter more by work may come in for this reader today.
    fn has_work_left(&self, reader: &Vec<u8>) -> Result<bool, Fail> {
        let before: Option<i64> = self.conn.value(
            "SELECT letters FROM work_days WHERE day = ?1 AND recipient = ?2",
            params![day_of(self.letter.now), reader],
        )?;
        let here = self.worked.get(reader).copied().unwrap_or_default();
        Ok(before.unwrap_or_default() + i64::from(here) < i64::from(self.letter.work_daily_max))
    }

    fn stamp_claim(&self, want: &Want, stamp: &StampCandidate) -> Claim {
        claim(b"stamp", &stamp.fingerprint, &want.recipient, &self.letter.digest)
    }

    fn work_claim(&self, want: &Want, work: &WorkCandidate) -> Claim {
        claim(b"work", &work.id, &want.recipient, &self.letter.digest)
    }
}

/// How our office sold exactly this stamp for this audience.
pub(super) fn sold_by(
    conn: &Connection,
    stamp: &StampCandidate,
    audience: &Domain,
) -> Result<Option<Sold>, Fail> {
    let exactly = |row: &rusqlite::Row<'_>| {
        let same = row.get_ref(1)?.as_blob()? == stamp.signature
            && row.get::<_, i64>(2)? == stamp.value.signed()
            && read_time(row.get(3)?) / DAY_S == u64::from(stamp.key.day)
            && row.get_ref(4)?.as_str()? == audience.as_str();
        Ok(same.then_some(Sold { order: row.get(0)?, closed: row.get(5)?, reported: row.get(6)? }))
    };
    Ok(conn
        .find(
            "SELECT s.order_seq, s.signature, o.value, o.expiry, o.audience, o.closed IS NOT NULL,
                    EXISTS (SELECT 1 FROM reported r WHERE r.id = s.id)
             FROM sold s JOIN orders o ON o.seq = s.order_seq WHERE s.id = ?1",
            [&stamp.key.id],
            exactly,
        )?
        .flatten())
}

/// Whether a stamp was redeemed, for whatever letter.
pub(super) fn is_redeemed(conn: &Connection, key: &StampKey) -> Result<bool, Fail> {
    Ok(earlier_of(conn, key)?.is_some())
}

fn earlier_of(conn: &Connection, key: &StampKey) -> Result<Option<Earlier>, Fail> {
    conn.find(
        "SELECT claim, time, number FROM redeemed
         WHERE day = ?1 AND office = (SELECT id FROM office WHERE name = ?2) AND id = ?3",
        params![key.day, key.office, key.id],
        |row| {
            let number: i64 = row.get(2)?;
            Ok(Earlier { claim: row.get(0)?, time: row.get(1)?, number: number.cast_unsigned() })
        },
    )
}

fn claim(kind: &[u8], means: &[u8; 16], recipient: &Address, digest: &[u8; 32]) -> Claim {
    let mut hasher = blake3::Hasher::new_derive_key(CLAIM_CONTEXT);
    hasher.update(kind).update(means).update(digest).update(&recipient.to_bytes());
    let mut claim = Claim::default();
    hasher.finalize_xof().fill(&mut claim);
    claim
}

fn redeem_stamp(
    batch: &mut Batch<'_>,
    letter: &Letter,
    want: &Want,
    stamp: &StampCandidate,
    number: u64,
    claim: &Claim,
    order: Option<i64>,
) -> Result<(), Fail> {
    let debit = if order.is_some() { "stamps".to_owned() } else { office_account(&stamp.key.office) };
    let author = letter.author.as_ref().map(Address::to_bytes);
    let seq = batch.enter_redeemed(&NewRedeemed {
        time: stored_time(letter.now),
        day: stamp.key.day.into(),
        office: stamp.key.office.as_str(),
        id: &stamp.key.id,
        debit: &debit,
        credit: &escrow_account(want.recipient.domain()),
        amount: stamp.value,
        order,
        number,
        claim,
        recipient: &want.recipient.to_bytes(),
        author: author.as_deref(),
        authenticated: letter.authenticated,
    })?;
    let StampKey { office, id, .. } = &stamp.key;
    match &stamp.field {
        Some(field) if order.is_none() => {
            foreign::keep_field(batch.conn, seq, office, want.recipient.domain(), id, field)
        }
        _ => Ok(()),
    }
}

fn use_work(
    batch: &mut Batch<'_>,
    letter: &Letter,
    want: &Want,
    work: &WorkCandidate,
    claim: &Claim,
) -> Result<(), Fail> {
    let time = stored_time(letter.now);
    batch.conn.change(
        "INSERT INTO worked (day, id, time, claim) VALUES (?1, ?2, ?3, ?4)",
        params![work.day, work.id, time, claim],
    )?;
    if !work.counts {
        return Ok(());
    }
    let owner = batch.site.owners().owner(&want.recipient);
    batch.conn.change(
        "INSERT INTO work_days (day, recipient, letters) VALUES (?1, ?2, 1)
         ON CONFLICT (day, recipient) DO UPDATE SET letters = letters + 1",
        params![day_of(letter.now), owner],
    )?;
    Ok(())
}

fn retries(conn: &Connection, now: u64, claim: &Claim) -> Result<i64, Fail> {
    let sql = "SELECT times FROM retried WHERE day = ?1 AND claim = ?2";
    Ok(conn.value(sql, params![day_of(now), claim])?.unwrap_or_default())
}

fn count_retry(batch: &mut Batch<'_>, now: u64, claim: &Claim) -> Result<(), Fail> {
    batch.conn.change(
        "INSERT INTO retried (day, claim, times) VALUES (?1, ?2, 1)
         ON CONFLICT (day, claim) DO UPDATE SET times = times + 1",
        params![day_of(now), claim],
    )?;
    Ok(())
}

/// The UTC day of a time.
pub(super) fn day_of(seconds: u64) -> i64 {
    stored_time(seconds / DAY_S)
}

/// Where postage for a domain waits to be wanted.
pub(super) fn escrow_account(audience: &Domain) -> String {
    format!("escrow:{audience}")
}

/// What another office owes us for its stamps, as a negative balance.
pub(super) fn office_account(office: &Domain) -> String {
    format!("office:{office}")
}

fn random_number() -> Result<u64, Fail> {
    loop {
        let number = getrandom::u64().map_err(|e| Fail::Storage(LedgerError::Unavailable(e.to_string())))?;
        if number != 0 {
            return Ok(number);
        }
    }
}
