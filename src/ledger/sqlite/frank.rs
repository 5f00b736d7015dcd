//! Stamps for one letter: what each recipient gets, counted and paid for, in one transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    batch::Batch,
    copies,
    fail::{Fail, read_time, stored_time},
    franking, logins,
    redeem::day_of,
    rows::Statements,
};
use crate::{
    address::Domain,
    ledger::{
        copies::LETTER_KEPT_S,
        franking::{Budget, Copying, Given, OutgoingLetter, Over, PurseStamp, Taken, Wish},
    },
    money::Micros,
};

/// The login under which the whole site is counted.
const EVERYBODY: &str = "";

/// What one recipient will get.
struct Plan<'w> {
    wish: &'w Wish,
    /// Of its wish.
    index: usize,
    stamp: Option<PurseStamp>,
    /// On a copy of his own.
    apart: bool,
}

impl Plan<'_> {
    fn cost(&self) -> Micros {
        self.stamp.as_ref().map_or(self.wish.least, |stamp| stamp.value)
    }
}

/// Gives a letter's recipients what they want, or says why not and takes nothing.
pub(super) fn frank(
    batch: &mut Batch<'_>,
    letter: &OutgoingLetter,
    budget: &Budget,
    now: u64,
) -> Result<Taken, Fail> {
    let taken = decide(batch, letter, budget, now)?;
    if let Copying::Kept(seq) = letter.copying {
        // It takes room that others' need, unless the letter is its own by now.
        copies::let_go(batch.conn, seq)?;
    }
    Ok(taken)
}

fn decide(batch: &mut Batch<'_>, letter: &OutgoingLetter, budget: &Budget, now: u64) -> Result<Taken, Fail> {
    let can_copy = letter.copying != Copying::Impossible && !copies::is_full_for(batch.conn, &letter.login)?;
    let mut given = Vec::with_capacity(letter.wishes.len());
    let mut wishes = Vec::new();
    for (index, wish) in letter.wishes.iter().enumerate() {
        let before = given_before(batch.conn, &letter.key, wish, now)?;
        // Whom the others may not see gets nothing where no copy can be made.
        if before.is_none() && (can_copy || !wish.apart) {
            wishes.push((index, wish));
        }
        given.push(before);
    }
    // What they cost at the least: nothing is bought for a letter that may not have it.
    let least = sum(wishes.iter().map(|(_, wish)| wish.least))?;
    if let Some(over) = over(batch, &letter.login, least, budget, now)? {
        return Ok(over);
    }
    let room = room(batch.conn, &letter.login, budget, now)?;
    let wanted = Wanted { login: &letter.login, room, can_copy, now };
    let (plans, lacking) = wanted.plan(batch.conn, wishes)?;
    if !lacking.is_empty() {
        return Ok(Taken::Lacking(lacking));
    }
    let cost = sum(plans.iter().map(Plan::cost))?;
    if let Some(over) = over(batch, &letter.login, cost, budget, now)? {
        return Ok(over);
    }
    let needs_copy = plans.iter().any(|plan| plan.apart);
    let kept = match letter.copying {
        Copying::Kept(seq) if needs_copy => Some(seq),
        _ => None,
    };
    if needs_copy && !kept.map_or(Ok(false), |seq| copies::is_message(batch.conn, seq))? {
        return Ok(Taken::Keep);
    }
    if !plans.is_empty() {
        enter(batch, letter, &plans, kept, budget, now)?;
    }
    for plan in plans {
        if let Some(place) = given.get_mut(plan.index) {
            let on_letter = |stamp| if plan.apart { Given::Copy } else { Given::Stamp(stamp) };
            *place = Some(plan.stamp.map_or(Given::Copy, on_letter));
        }
    }
    Ok(Taken::Given(given.into_iter().map(|given| given.unwrap_or(Given::Nothing)).collect()))
}

/// What the recipient got when the same letter came before.
fn given_before(conn: &Connection, key: &[u8; 16], wish: &Wish, now: u64) -> Result<Option<Given>, Fail> {
    let mut find = conn.prepare_cached(
        "SELECT t.apart, t.office, t.id, t.selector, t.audience, t.value, t.expiry, t.signature
         FROM franked_letter l JOIN franked_to t ON t.letter = l.seq
         WHERE l.key = ?1 AND t.recipient = ?2
         AND (t.next_try IS NOT NULL OR coalesce(t.tried, l.time) >= ?3)",
    )?;
    let since = stored_time(now.saturating_sub(LETTER_KEPT_S));
    let found = find.query_row(params![key, wish.recipient.to_bytes(), since], |row| {
        Ok(if row.get(0)? { Ok(Given::Copy) } else { franking::read_stamp(row, 1).map(Given::Stamp) })
    });
    found.optional()?.transpose()
}

/// What a letter may have bought.
struct Wanted<'a> {
    login: &'a str,
    /// What stamps for its recipients may cost, those in hand as well, if more are to be bought.
    room: Micros,
    can_copy: bool,
    now: u64,
}

impl Wanted<'_> {
    /// Who gets what of these; and domains for which recipients would have to wait that cannot. Notes what is wanted.
    fn plan<'w>(
        mut self,
        conn: &Connection,
        wishes: Vec<(usize, &'w Wish)>,
    ) -> Result<(Vec<Plan<'w>>, Vec<Domain>), Fail> {
        let mut by_domain: HashMap<&Domain, Vec<(usize, &Wish)>> = HashMap::new();
        for (index, wish) in wishes {
            by_domain.entry(wish.recipient.domain()).or_default().push((index, wish));
        }
        let (mut plans, mut lacking) = (vec![], vec![]);
        for (audience, wishes) in by_domain {
            let least = wishes.iter().map(|(_, wish)| wish.least).max().unwrap_or_default();
            if let Some((_, wish)) = wishes.first() {
                franking::throw_away_others(conn, audience, &wish.offices)?;
            }
            let stamps = franking::in_hand(conn, audience, least, wishes.len(), self.now)?;
            let (in_hand, mut stamps) = (stamps.len(), stamps.into_iter());
            let (mut missing, mut concerns) = (0, in_hand > 0);
            for (index, wish) in wishes {
                let stamp = stamps.next();
                let affordable = self.take(wish.least);
                concerns |= affordable;
                if stamp.is_none() && !affordable {
                    continue;
                }
                let waits = stamp.is_none() && wish.wait_s.is_some();
                missing += u32::from(stamp.is_none() && !(waits && self.can_copy));
                if waits && !self.can_copy {
                    if !lacking.contains(audience) {
                        lacking.push(audience.clone());
                    }
                } else if stamp.is_some() || waits {
                    plans.push(Plan { wish, index, apart: wish.apart || waits, stamp });
                }
            }
            if concerns {
                self.note(conn, audience, least, missing, in_hand)?;
            }
        }
        plans.sort_unstable_by_key(|plan| plan.index);
        Ok((plans, lacking))
    }

    fn take(&mut self, cost: Micros) -> bool {
        let left = self.room.checked_sub(cost);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    /// Notes what is missing, and counts what of it was not before. At a higher price what is kept ahead is of no use any
    /// more, and as many are kept again once as many were asked for.
    fn note(
        &self,
        conn: &Connection,
        audience: &Domain,
        price: Micros,
        missing: u32,
        in_hand: usize,
    ) -> Result<(), Fail> {
        let before: Option<i64> =
            conn.value("SELECT missing FROM purse_wanted WHERE audience = ?1", [audience.as_str()])?;
        let being_bought = read_time(before.unwrap_or_default()).saturating_sub(in_hand as u64);
        let more = u64::from(missing).saturating_sub(being_bought);
        conn.change(
            "INSERT INTO purse_wanted (audience, price, last, missing) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (audience)
             DO UPDATE SET price = ?2, last = max(last, ?3), missing = ?4, asked = iif(?2 > price, 0, asked)",
            params![audience.as_str(), price.signed(), stored_time(self.now), missing],
        )?;
        if more > 0 {
            let cost = price.checked_mul(more).ok_or_else(Fail::overflow)?;
            count_unspent(conn, self.login, cost, self.now)?;
        }
        Ok(())
    }
}

/// What may still be bought for letters of a login today: what its letters have had bought and not used counts as if it
/// were spent. So nobody can have more bought that nobody uses than he may spend.
fn room(conn: &Connection, login: &str, budget: &Budget, now: u64) -> Result<Micros, Fail> {
    let used: Option<i64> = conn.value(
        "SELECT spent + unspent FROM franked WHERE day = ?1 AND login = ?2",
        params![day_of(now), login],
    )?;
    Ok(budget.per_user.checked_sub(franking::amount(used.unwrap_or_default())?).unwrap_or_default())
}

fn count_unspent(conn: &Connection, login: &str, cost: Micros, now: u64) -> Result<(), Fail> {
    conn.change(
        "INSERT INTO franked (day, login, spent, unspent) VALUES (?1, ?2, 0, ?3)
         ON CONFLICT (day, login) DO UPDATE SET unspent = unspent + ?3",
        params![day_of(now), login, cost.signed()],
    )?;
    Ok(())
}

/// Writes down who gets what, and lets it be paid.
fn enter(
    batch: &mut Batch<'_>,
    letter: &OutgoingLetter,
    plans: &[Plan<'_>],
    kept: Option<i64>,
    budget: &Budget,
    now: u64,
) -> Result<(), Fail> {
    let cost = sum(plans.iter().map(Plan::cost))?;
    count(batch.conn, &letter.login, cost, now)?;
    if budget.by_login {
        logins::pay(batch, &letter.login, cost, plans.len(), now)?;
    }
    let seq = copies::enter_letter(batch.conn, letter, kept, now)?;
    let mut ask =
        batch.conn.prepare_cached("UPDATE purse_wanted SET asked = asked + 1 WHERE audience = ?1")?;
    for plan in plans {
        ask.execute([plan.wish.recipient.domain().as_str()])?;
        if let Some(stamp) = &plan.stamp {
            franking::take(batch.conn, stamp)?;
            if budget.by_login {
                logins::note_charge(batch.conn, &letter.login, stamp, stamp.value, now)?;
            }
        }
        let next_try = match (&plan.stamp, plan.apart) {
            (_, false) => None,
            (Some(_), true) => Some(now),
            (None, true) => Some(now.saturating_add(plan.wish.wait_s.unwrap_or_default())),
        };
        let row = copies::NewRow {
            letter: seq,
            wish: plan.wish,
            stamp: plan.stamp.as_ref(),
            charged: plan.cost(),
            by_login: budget.by_login,
            apart: plan.apart,
            next_try,
        };
        copies::enter_row(batch.conn, &row)?;
    }
    Ok(())
}

/// The budget that so much more would go over, if any.
fn over(
    batch: &mut Batch<'_>,
    login: &str,
    cost: Micros,
    budget: &Budget,
    now: u64,
) -> Result<Option<Taken>, Fail> {
    let (conn, day) = (batch.conn, day_of(now));
    if cost == Micros::ZERO {
        return Ok(None);
    }
    if cost > budget.per_letter {
        return Ok(Some(Taken::Over { which: Over::Letter, first: note_over(conn, day, login)? }));
    }
    if budget.by_login && logins::balance(batch, login)? < cost {
        return Ok(Some(Taken::Over { which: Over::Account, first: note_over(conn, day, login)? }));
    }
    for (who, most, which) in [(login, budget.per_user, Over::User), (EVERYBODY, budget.per_day, Over::Site)]
    {
        if spent(conn, day, who)?.checked_add(cost).is_none_or(|spent| spent > most) {
            return Ok(Some(Taken::Over { which, first: note_over(conn, day, who)? }));
        }
    }
    Ok(None)
}

/// Counts what was put on letters of a day.
fn count(conn: &Connection, login: &str, cost: Micros, now: u64) -> Result<(), Fail> {
    let day = day_of(now);
    for who in [login, EVERYBODY] {
        let spent = spent(conn, day, who)?.checked_add(cost).ok_or_else(Fail::overflow)?;
        conn.change(
            "INSERT INTO franked (day, login, spent) VALUES (?1, ?2, ?3)
             ON CONFLICT (day, login) DO UPDATE SET spent = ?3",
            params![day, who, spent.signed()],
        )?;
    }
    Ok(())
}

/// Takes back what was counted for a letter of that time, but that it was to be bought; of a day that is over nothing is
/// known any more.
pub(super) fn uncount(conn: &Connection, login: &str, cost: Micros, time: i64) -> Result<(), Fail> {
    conn.change(
        "UPDATE franked SET spent = max(0, spent - ?3), unspent = unspent + iif(login = ?2, ?3, 0)
         WHERE day = ?1 AND login IN (?2, '')",
        params![day_of(read_time(time)), login, cost.signed()],
    )?;
    Ok(())
}

fn spent(conn: &Connection, day: i64, login: &str) -> Result<Micros, Fail> {
    let spent: Option<i64> =
        conn.value("SELECT spent FROM franked WHERE day = ?1 AND login = ?2", params![day, login])?;
    franking::amount(spent.unwrap_or_default())
}

/// Notes that a letter was held back; whether it is the first.
fn note_over(conn: &Connection, day: i64, login: &str) -> Result<bool, Fail> {
    Ok(conn.change(
        "INSERT INTO franked (day, login, spent, over) VALUES (?1, ?2, 0, 1)
         ON CONFLICT (day, login) DO UPDATE SET over = 1 WHERE over = 0",
        params![day, login],
    )? > 0)
}

fn sum(amounts: impl Iterator<Item = Micros>) -> Result<Micros, Fail> {
    let mut sum = Micros::ZERO;
    for amount in amounts {
        sum = sum.checked_add(amount).ok_or_else(Fail::overflow)?;
    }
    Ok(sum)
}
