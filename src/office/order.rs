//! `POST /v1/stamps`: stamps are signed and sold (SPEC.md §10).
//!
//! An order is named by its ids: the same order again gets the same answer and is charged once, whatever became
//! of the first answer. Signing is done before the ledger sells, off the threads that serve, for who has the money; a
//! stamp that was signed and not sold is worth nothing, for our gate asks the ledger.

use std::{collections::HashSet, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};

use super::{
    SharedOffice, Site,
    problem::{Kind, Problem},
    request::signed_call,
    wire::{Bytes, OrderAnswer, OrderBody},
};
use crate::{
    address::Domain,
    clock::{DAY_S, unix_now},
    ledger::{AccountKey, Ledger, ORDER_STAMPS_MAX, Order, OrderedStamp, Sale, SoldStamp, StampId},
    money::Micros,
    stamp::{Terms, check::EXPIRY_AHEAD_MAX_S},
};

/// Answers the call.
///
/// # Errors
/// 400, 401, 402 (too little money), 409 (of these ids others were sold), 413, 429, 503.
pub async fn sell(
    State(office): State<SharedOffice>,
    request: Request,
) -> Result<Json<OrderAnswer>, Problem> {
    let site = office.site();
    let call = signed_call(request, &site, unix_now()).await?;
    let body = serde_json::from_slice(&call.body).map_err(Problem::from);
    let wanted = body.and_then(|body| Wanted::of(call.account, body));
    // What cannot be read counts as a call too.
    office.counters().account(call.account, wanted.as_ref().map_or(0, |w| w.stamps.len()))?;
    fill(&office, site, wanted?).await.map(Json)
}

/// Sells what is wanted; the same again gets the same and is charged once.
///
/// # Errors
/// 400 (the value), 402 (too little money), 409 (of these ids others were sold), 503.
pub async fn fill(office: &SharedOffice, site: Arc<Site>, wanted: Wanted) -> Result<OrderAnswer, Problem> {
    let ledger = office.ledger();
    if let Some(answer) = wanted.sold_before(ledger).await? {
        return Ok(answer);
    }
    site.takes_value(wanted.value)?;
    // Keys cost nothing to make up, and a signature takes time: without the money nothing is signed.
    let held = ledger.balance(wanted.account).await?;
    if held < wanted.cost() {
        // The same order, come twice at once, may just have taken it.
        let before = wanted.sold_before(ledger).await?;
        return before.ok_or_else(|| Problem::short(held, wanted.cost()));
    }
    let order = signed_order(office, site, wanted.clone(), unix_now()).await?;
    let answer = OrderAnswer {
        s: order.selector.clone(),
        x: order.expiry,
        b: order.stamps.iter().map(|stamp| Bytes(stamp.signature)).collect(),
    };
    match ledger.sell(order).await? {
        Sale::Sold(balance) => {
            tracing::info!(
                account = %wanted.account, audience = %wanted.audience, count = wanted.stamps.len(),
                value_micros = wanted.value.get(), balance_micros = balance.get(), "stamps sold"
            );
            Ok(answer)
        }
        Sale::Short(balance) => Err(Problem::short(balance, wanted.cost())),
        // The same order came twice at once, and the other was first.
        Sale::SomeSold => match wanted.sold_before(ledger).await? {
            Some(answer) => Ok(answer),
            None => Err(conflict()),
        },
    }
}

/// An order as the buyer sent it, well-formed.
#[derive(Clone)]
pub struct Wanted {
    account: AccountKey,
    audience: Domain,
    value: Micros,
    /// 1 to [`ORDER_STAMPS_MAX`] ids, each once, with their holders' keys.
    stamps: Vec<(StampId, [u8; 32])>,
}

impl Wanted {
    /// One stamp.
    #[must_use]
    pub fn one(account: AccountKey, audience: Domain, value: Micros, id: StampId, holder: [u8; 32]) -> Self {
        Self { account, audience, value, stamps: vec![(id, holder)] }
    }

    fn of(account: AccountKey, body: OrderBody) -> Result<Self, Problem> {
        let count = body.stamps.len();
        if !(1..=ORDER_STAMPS_MAX).contains(&count) {
            return Err(Problem::bad(format!(
                "an order holds 1 to {ORDER_STAMPS_MAX} stamps, this one {count}; send several orders"
            )));
        }
        let mut ids = HashSet::with_capacity(count);
        if let Some(twice) = body.stamps.iter().find(|wish| !ids.insert(wish.id)) {
            return Err(Problem::bad(format!("the id {} stands twice in the order", twice.id)));
        }
        let value = body.value.as_u64().and_then(Micros::new).ok_or_else(|| {
            Problem::bad(format!(
                "value is a whole number of micros, as a JSON integer; {} is none",
                body.value
            ))
        })?;
        let stamps = body.stamps.iter().map(|wish| (wish.id.0, wish.k.0)).collect();
        Ok(Self { account, audience: body.audience, value, stamps })
    }

    /// What all of it costs.
    #[must_use]
    pub fn cost(&self) -> Micros {
        // The greatest cost is 1,000 times 10^12.
        self.value.checked_mul(self.stamps.len() as u64).unwrap_or(Micros::ZERO)
    }

    /// The answer this order got before, if it did.
    ///
    /// # Errors
    /// 409 (of these ids others were sold), 503.
    pub async fn sold_before(&self, ledger: &dyn Ledger) -> Result<Option<OrderAnswer>, Problem> {
        let ids: Vec<StampId> = self.stamps.iter().map(|(id, _)| *id).collect();
        self.answer_of(&ledger.sold(&ids).await?)
    }

    /// What to say when this much of it was sold: `None` when nothing was.
    fn answer_of(&self, sold: &[Option<SoldStamp>]) -> Result<Option<OrderAnswer>, Problem> {
        let Some(first) = sold.iter().flatten().next() else { return Ok(None) };
        let mut answer = OrderAnswer { s: first.selector.clone(), x: first.expiry, b: Vec::new() };
        for ((id, holder), sold) in self.stamps.iter().zip(sold) {
            let same = sold.as_ref().filter(|sold| {
                sold.account == self.account
                    && sold.audience == self.audience
                    && sold.value == self.value
                    && (sold.stamp.id, sold.stamp.holder) == (*id, *holder)
                    && (&sold.selector, sold.expiry) == (&answer.s, answer.x)
            });
            answer.b.push(Bytes(same.ok_or_else(conflict)?.stamp.signature));
        }
        Ok(Some(answer))
    }
}

fn conflict() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "some of these ids were sold before, in another order; nothing was sold now, choose new ids",
    )
    .of(Kind::UsedBefore)
}

/// Signs every stamp, on a thread where that holds nobody up.
async fn signed_order(
    office: &SharedOffice,
    site: Arc<Site>,
    wanted: Wanted,
    now: u64,
) -> Result<Order, Problem> {
    let failed = |what: &str| {
        tracing::error!(what, "an order was not signed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the office could not sign; nothing was sold")
    };
    let permit = office.signing_permit().await.ok_or_else(|| failed("no permit"))?;
    let signing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        sign(&site, &wanted, now)
    });
    signing.await.map_err(|_| failed("the signing thread"))?.ok_or_else(|| failed("terms"))
}

fn sign(site: &Site, wanted: &Wanted, now: u64) -> Option<Order> {
    let expiry = expiry(now, site.stamp_lifetime_s);
    let stamps = wanted.stamps.iter().map(|&(id, holder)| {
        let terms = Terms {
            office: site.domain.clone(),
            selector: site.selector.clone(),
            id,
            value: wanted.value,
            currency: site.currency,
            audience: wanted.audience.clone(),
            expiry,
            holder,
        };
        let signature = site.secret.sell(terms).ok()?.signature;
        Some(OrderedStamp { id, holder, signature })
    });
    Some(Order {
        now,
        account: wanted.account,
        audience: wanted.audience.clone(),
        value: wanted.value,
        expiry,
        selector: site.selector.to_string(),
        stamps: stamps.collect::<Option<_>>()?,
    })
}

/// The last second of the UTC day on which a stamp sold now has lasted its time (SPEC.md §3 `x`), at most
/// [`EXPIRY_AHEAD_MAX_S`] ahead.
fn expiry(now: u64, lifetime_s: u64) -> u64 {
    let last_second = |time: u64| (time / DAY_S).saturating_mul(DAY_S).saturating_add(DAY_S - 1);
    let furthest = now.saturating_add(EXPIRY_AHEAD_MAX_S);
    let wanted = last_second(now.saturating_add(lifetime_s));
    if wanted <= furthest { wanted } else { last_second(furthest.saturating_sub(DAY_S)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        office::{Limits, office_of_b, signed},
        stamp::SecretKey,
    };

    const DAY_START: u64 = 20_000 * DAY_S;

    #[test]
    fn expiry_is_the_end_of_a_day_and_never_too_far() {
        let table = [
            (DAY_START, 90 * DAY_S, DAY_START + 91 * DAY_S - 1),
            (DAY_START + 1, 90 * DAY_S, DAY_START + 91 * DAY_S - 1),
            (DAY_START + DAY_S - 1, 90 * DAY_S, DAY_START + 91 * DAY_S - 1),
            (DAY_START + 43_200, 3_600, DAY_START + DAY_S - 1),
            (DAY_START, 399 * DAY_S, DAY_START + 400 * DAY_S - 1),
            (DAY_START + DAY_S - 1, 399 * DAY_S, DAY_START + 400 * DAY_S - 1),
            (DAY_START, 1_000 * DAY_S, DAY_START + 400 * DAY_S - 1),
        ];
        for (now, lifetime, end) in table {
            let x = expiry(now, lifetime);
            assert_eq!(x, end, "{now} {lifetime}");
            assert!(x <= now + EXPIRY_AHEAD_MAX_S && x % DAY_S == DAY_S - 1);
        }
    }

    #[tokio::test]
    async fn nothing_is_signed_for_who_has_not_the_money() {
        let directory = tempfile::tempdir().unwrap();
        let office = office_of_b(directory.path(), Limits::default());
        // Whoever waits for a signature would wait for ever.
        office.signers.close();
        let key = SecretKey::from_seed(&[1; 32]);
        let (id, k) = ("A".repeat(22), key.public().to_string());
        let body = format!(r#"{{"audience":"b.example","value":2500,"stamps":[{{"id":"{id}","k":"{k}"}}]}}"#);
        let domain = "b.example".parse().unwrap();
        let signed =
            signed::Request { method: "POST", target: "/v1/stamps", office: &domain, body: body.as_bytes() };
        let date = unix_now().to_string();
        let signature = Bytes(key.sign(&signed.signed_bytes(&date))).to_string();
        let order = || {
            Request::post("/v1/stamps")
                .header(signed::ACCOUNT, &k)
                .header(signed::DATE, &date)
                .header(signed::SIGNATURE, &signature)
                .body(body.clone().into())
                .unwrap()
        };
        assert_eq!(sell(State(office.clone()), order()).await.unwrap_err().status.as_u16(), 402);
        let price = Micros::new(2_500).unwrap();
        let account = AccountKey(key.public().to_bytes());
        office.ledger().credit(account, "credit", price, "", unix_now()).await.unwrap();
        assert_eq!(
            sell(State(office), order()).await.unwrap_err().status.as_u16(),
            500,
            "it would be signed"
        );
    }

    fn wanted(ids: &[u8]) -> Wanted {
        Wanted {
            account: AccountKey([9; 32]),
            audience: "b.example".parse().unwrap(),
            value: Micros::new(2500).unwrap(),
            stamps: ids.iter().map(|&n| ([n; 16], [n; 32])).collect(),
        }
    }

    fn sold(n: u8) -> SoldStamp {
        let Wanted { account, audience, value, .. } = wanted(&[]);
        let stamp = OrderedStamp { id: [n; 16], holder: [n; 32], signature: [n; 64] };
        SoldStamp { account, audience, value, expiry: 7, selector: "s1".into(), stamp }
    }

    #[test]
    fn the_same_order_gets_the_same_answer_and_any_other_a_conflict() {
        let order = wanted(&[1, 2]);
        assert_eq!(order.answer_of(&[None, None]).unwrap(), None);
        let again = order.answer_of(&[Some(sold(1)), Some(sold(2))]).unwrap().unwrap();
        assert_eq!(again, OrderAnswer { s: "s1".into(), x: 7, b: vec![Bytes([1; 64]), Bytes([2; 64])] });

        let other = |change: fn(&mut SoldStamp)| {
            let mut second = sold(2);
            change(&mut second);
            [Some(sold(1)), Some(second)]
        };
        let conflicts = [
            [Some(sold(1)), None],
            [None, Some(sold(2))],
            other(|s| s.account = AccountKey([8; 32])),
            other(|s| s.audience = "c.example".parse().unwrap()),
            other(|s| s.value = Micros::ZERO),
            other(|s| s.stamp.holder = [8; 32]),
            other(|s| s.expiry = 8),
            other(|s| s.selector = "s2".into()),
        ];
        for sold in conflicts {
            assert_eq!(order.answer_of(&sold).unwrap_err().status, StatusCode::CONFLICT, "{sold:?}");
        }
    }

    #[test]
    fn orders_out_of_form() {
        let parsed = |json: &str| {
            serde_json::from_str::<OrderBody>(json)
                .map_err(Problem::from)
                .and_then(|body| Wanted::of(AccountKey([9; 32]), body))
                .map(|wanted| wanted.value.get())
                .map_err(|problem| (problem.status.as_u16(), problem.detail))
        };
        let (id, k) = ("A".repeat(22), "A".repeat(43));
        let stamp = format!(r#"{{"id":"{id}","k":"{k}"}}"#);
        let order = |value: &str, stamps: &str| {
            format!(r#"{{"audience":"b.example","value":{value},"stamps":[{stamps}],"later":{{"x":[1]}}}}"#)
        };
        assert_eq!(parsed(&order("2500", &stamp)), Ok(2500));
        let many = vec![stamp.as_str(); 1_001].join(",");
        let table = [
            (order("2500.0", &stamp), "value is a whole number"),
            (order("0.5", &stamp), "value is a whole number"),
            (order("-1", &stamp), "value is a whole number"),
            (order("1e3", &stamp), "value is a whole number"),
            (order("9223372036854775808", &stamp), "value is a whole number"),
            (order("18446744073709551616", &stamp), "value is a whole number"),
            (order("1e400", &stamp), "out of range"),
            (order("\"2500\"", &stamp), "invalid type"),
            (order("2500", ""), "1 to 1000 stamps, this one 0"),
            (order("2500", &many), "1 to 1000 stamps, this one 1001"),
            (order("2500", &format!("{stamp},{stamp}")), "stands twice"),
            (order("2500", &stamp.replacen('A', "", 1)), "16 bytes in base64url"),
            (order("2500", &stamp.replace("\"k\"", "\"q\"")), "missing field `k`"),
            (order("2500", &stamp).replace("b.example", "b"), "not a domain"),
            (order("2500", &stamp).replace("b.example", "B.example"), "not a domain"),
            (format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)), "not the JSON"),
            (format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), "missing field"),
            ("{}".into(), "missing field"),
            (String::new(), "EOF"),
            ("\u{feff}{}".into(), "not the JSON"),
        ];
        for (json, words) in table {
            let (status, detail) = parsed(&json).unwrap_err();
            let shown: String = json.chars().take(80).collect();
            assert!(status == 400 && detail.contains(words), "{shown}: {detail}");
            assert!(detail.len() < 300, "{shown}");
        }
    }
}
