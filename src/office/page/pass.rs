//! `POST /p/ADDRESS`: what the page's script asks for the sender of a refused letter.
//!
//! Three questions, told apart by their members, all about one letter from the address given to ADDRESS:
//! `{"from"}` what is asked, with a challenge where work is taken; `{"from","challenge","nonces","seal"}` a pass for its
//! solution; `{"from","stamp"}` a pass by a stamp (the value of its field), bought before. A pass for somebody else's
//! address is of no use to anyone but him, so nobody is asked who he is. The same question again gets the same answer.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{StatusCode, Uri},
};
use serde::{Deserialize, Serialize};

use super::{
    no_such_address,
    puzzle::{Challenge, MEMORY_KIB, PUZZLES, SEAL_MEMORY_KIB},
    recipient,
};
use crate::{
    address::Address,
    clock::{DAY_S, unix_now},
    ledger::passes::{Got, NewPass, PASSES_OF_A_PAIR_MAX, PassMade},
    money::Micros,
    office::{
        CHECKING_WAIT, SharedOffice, Site,
        calls::told_price,
        limits::client_of,
        problem::{Kind, Problem},
        request::read_body,
    },
    stamp::{
        Asked, CancelledStamp, Word,
        check::{bound, in_order, signed},
    },
};

/// What the page asks.
#[derive(Deserialize)]
struct Question {
    from: String,
    challenge: Option<String>,
    nonces: Option<Vec<u64>>,
    seal: Option<u64>,
    stamp: Option<String>,
}

/// What the page is answered.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// What a pass takes.
    Terms {
        /// The sender, in the form that is signed.
        from: String,
        /// The recipient, in the form that is signed.
        to: String,
        /// Micros.
        price: Micros,
        /// Of the price.
        currency: String,
        /// `None`: no work is taken.
        challenge: Option<Work>,
    },
    /// A pass is there.
    Pass {
        /// `work` or `paid`.
        pass: &'static str,
        /// Whose letter it lets in.
        from: String,
        /// To whom.
        to: String,
        /// When it ends, in Unix seconds.
        until: u64,
    },
}

/// A challenge, with all that one must know to solve it.
#[derive(Debug, Serialize)]
pub struct Work {
    /// The challenge; its octets are the salt.
    text: String,
    /// How many numbers are to be found.
    puzzles: usize,
    /// Zero bits each hash must begin with.
    bits: u32,
    /// Memory of a hash.
    memory_kib: u32,
    /// Zero bits the hash over all the numbers must begin with.
    seal_bits: u32,
    /// Memory of that hash.
    seal_memory_kib: u32,
    /// When it is over, in Unix seconds.
    expires: u64,
}

/// Answers the call.
///
/// # Errors
/// 400, 403 (no pass is given here that way), 404, 409 (the stamp is spent, or was not sold), 410 (the challenge is
/// over), 429, 503.
pub async fn make(office: &SharedOffice, request: Request) -> Result<Answer, Problem> {
    let (site, client) = (office.site(), client_of(&request));
    let letter = |uri: &Uri| recipient(&site, uri).ok_or_else(no_such_address);
    let to = letter(request.uri())?;
    let body = read_body(request.into_body()).await?;
    let question: Question = serde_json::from_slice(&body)?;
    let from: Address = question.from.parse().map_err(|e| Problem::bad(e).of(Kind::AddressUnfit))?;
    gives_passes(&site)?;
    let now = unix_now();
    let price = told_price(office, &site, &to).await?;
    let got = match (question.challenge, question.nonces, question.seal, question.stamp) {
        (None, None, None, None) => return terms(&site, price, &to, &from, now),
        (Some(challenge), Some(nonces), Some(seal), None) => {
            let challenge = checked_challenge(&site, &challenge, &to, &from, now)?;
            let nonces: [u64; PUZZLES] = nonces
                .try_into()
                .map_err(|_| Problem::bad(format!("a solution is {PUZZLES} whole numbers")))?;
            worked(office, client, Solution { challenge, nonces, seal }, &to, &from, now).await?
        }
        (None, None, None, Some(stamp)) => bought(&site, price, &stamp, &to, &from, now)?,
        _ => return Err(Problem::bad("send challenge, nonces and seal, or a stamp, or none of these")),
    };
    let pass = if matches!(got, Got::Work(_)) { "work" } else { "paid" };
    let until = keep(office, got, &to, &from, now).await?;
    Ok(Answer::Pass { pass, from: from.to_string(), to: to.to_string(), until })
}

/// Whether a pass would ever count here.
///
/// # Errors
/// 403 when it would not.
pub fn gives_passes(site: &Site) -> Result<(), Problem> {
    if site.gives_passes {
        return Ok(());
    }
    let detail = "this office cannot tell who sent a letter; put the stamp on it";
    Err(Problem::new(StatusCode::FORBIDDEN, detail).of(Kind::NoPasses))
}

/// Keeps what was got as a pass; until when, in Unix seconds. The same again changes nothing.
///
/// # Errors
/// 409 (the stamp is spent, or was not sold), 429, 503.
pub async fn keep(
    office: &SharedOffice,
    got: Got,
    to: &Address,
    from: &Address,
    now: u64,
) -> Result<u64, Problem> {
    let way = if matches!(got, Got::Work(_)) { "work" } else { "paid" };
    let pass = NewPass { now, author: from.clone(), recipient: to.clone(), got };
    let until = until(office.ledger().pass_add(pass).await?, now)?;
    tracing::info!(%from, %to, way, "a pass was made");
    Ok(until)
}

fn terms(site: &Site, price: Micros, to: &Address, from: &Address, now: u64) -> Result<Answer, Problem> {
    let challenge = if site.page_work_bits > 0 { Some(challenge(site, to, from, now)?) } else { None };
    Ok(Answer::Terms {
        from: from.to_string(),
        to: to.to_string(),
        price,
        currency: site.currency.to_string(),
        challenge,
    })
}

fn challenge(site: &Site, to: &Address, from: &Address, now: u64) -> Result<Work, Problem> {
    let failed = || {
        tracing::error!("no challenge can be made: no token key, or no random numbers");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "no work can be given out now; its postmaster has to look",
        )
    };
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|_| failed())?;
    let key = site.tokens.last().ok_or_else(failed)?;
    let challenge = Challenge::make(key, to, from, site.page_work_bits, seed, now);
    Ok(Work {
        text: challenge.to_text(),
        puzzles: PUZZLES,
        bits: challenge.bits_each(),
        memory_kib: MEMORY_KIB,
        seal_bits: challenge.seal_bits(),
        seal_memory_kib: SEAL_MEMORY_KIB,
        expires: challenge.expires(),
    })
}

/// A challenge that this office gave for these two and that is not over.
fn checked_challenge(
    site: &Site,
    text: &str,
    to: &Address,
    from: &Address,
    now: u64,
) -> Result<Challenge, Problem> {
    let challenge = Challenge::parse(text).filter(|challenge| challenge.is_genuine(&site.tokens, to, from));
    let challenge = challenge.ok_or_else(|| {
        Problem::bad("that challenge is not of this office, or for another letter; begin anew")
            .of(Kind::WorkUnfit)
    })?;
    if site.page_work_bits == 0 {
        return Err(Problem::new(StatusCode::FORBIDDEN, "no work is taken here").of(Kind::NoWork));
    }
    if challenge.is_over(now) {
        return Err(
            Problem::new(StatusCode::GONE, "the time for this work is over; begin anew").of(Kind::WorkOver)
        );
    }
    Ok(challenge)
}

/// A solution as it was brought.
struct Solution {
    challenge: Challenge,
    nonces: [u64; PUZZLES],
    seal: u64,
}

/// Checks a solution: its seal at once, and then eight hashes at the most, off the threads that serve, few at a time. One
/// that was accepted before is not checked again; of one challenge few are.
async fn worked(
    office: &SharedOffice,
    client: Option<IpAddr>,
    Solution { challenge, nonces, seal }: Solution,
    to: &Address,
    from: &Address,
    now: u64,
) -> Result<Got, Problem> {
    let id = challenge.id();
    let before = office.ledger().passes(from, to, now).await?;
    if before.iter().any(|pass| pass.id == id) {
        return Ok(Got::Work(id));
    }
    let unfit = |detail: &str| Problem::bad(detail).of(Kind::WorkUnfit);
    if !challenge.is_sealed_by(&nonces, seal) {
        return Err(unfit("these numbers are not sealed by that one; begin anew"));
    }
    office.counters().solution(client)?;
    let permit = office.checking_permit().await.ok_or_else(|| Problem {
        retry_after_s: Some(CHECKING_WAIT.as_secs()),
        ..Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too much work is brought just now; send the same again",
        )
    })?;
    // Counted here, so that who was sent away because many came loses nothing by it.
    if !office.counters().challenge(&id) {
        return Err(unfit("false solutions of this challenge were brought before; begin anew"));
    }
    let mut first = [0];
    // Without random numbers the order is a known one, and the check as good.
    let _ = getrandom::fill(&mut first);
    let [first] = first;
    let solved = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        challenge.is_solved_by(&nonces, first)
    });
    match solved.await {
        Ok(true) => Ok(Got::Work(id)),
        Ok(false) => Err(unfit("these numbers do not solve the challenge; begin anew")),
        Err(error) => {
            tracing::error!(%error, "a solution was not checked");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the work cannot be checked now; send it again",
            ))
        }
    }
}

/// A stamp of this office that would pay for the letter; what the ledger knows of it is not yet asked.
///
/// # Errors
/// 400 with the word of SPEC.md §3.
pub fn bought(
    site: &Site,
    price: Micros,
    field: &str,
    to: &Address,
    from: &Address,
    now: u64,
) -> Result<Got, Problem> {
    let refused = |word: Word| {
        Problem::bad(format!("the stamp does not pay for this letter: {word}")).of(Kind::StampUnfit)
    };
    let stamp = CancelledStamp::parse(field.as_bytes()).map_err(Problem::bad)?;
    let asked = Asked { recipient: to, author: Some(from), currency: site.currency, price, now };
    bound(&stamp, &asked).map_err(refused)?;
    in_order(&stamp, &asked).map_err(refused)?;
    let terms = &stamp.stamp.terms;
    let key =
        site.keys.iter().find(|(selector, _)| *selector == terms.selector && terms.office == site.domain);
    let (_, key) = key.ok_or_else(|| refused(Word::UnknownIssuer))?;
    signed(&stamp, key).map_err(refused)?;
    Ok(Got::Stamp(stamp.stamp.candidate(true), field.as_bytes().to_vec()))
}

fn until(made: PassMade, now: u64) -> Result<u64, Problem> {
    let conflict = |word: Word| {
        let detail = format!("the stamp does not pay for this letter: {word}");
        Problem::new(StatusCode::CONFLICT, detail).of(Kind::UsedBefore)
    };
    let enough = |kind: Kind, detail: String| Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).of(kind);
    match made {
        PassMade::Until(until) => Ok(until),
        PassMade::Unsold => Err(conflict(Word::Unsold)),
        PassMade::Spent => Err(conflict(Word::Spent)),
        PassMade::TooMany => {
            let detail = format!(
                "{PASSES_OF_A_PAIR_MAX} passes were made for letters between these two; put a stamp on the letter itself"
            );
            Err(enough(Kind::PassesEnough, detail))
        }
        PassMade::TooManyToday => Err(Problem {
            retry_after_s: Some(DAY_S - now % DAY_S),
            ..enough(
                Kind::WorkEnough,
                "enough work was taken for letters to this address today; pay, or come tomorrow".into(),
            )
        }),
    }
}
