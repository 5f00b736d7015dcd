//! The purse: stamps in hand for the letters of local users.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use farthing::{
    ledger::{
        Ledger,
        franking::{
            Budget, Copying, Given, InHand, LIFE_LEFT_MIN_S, Need, OutgoingLetter, Over, Purse, PurseOrder,
            PurseStamp, Taken, WANTED_FOR_S, Wish,
        },
    },
    message::dsn::{LetterDsn, RecipientDsn},
    money::Micros,
};

use crate::support::*;

pub const PLENTY: Budget = Budget { per_letter: most(), per_user: most(), per_day: most(), by_login: false };

const fn most() -> Micros {
    match Micros::new(1 << 40) {
        Some(most) => most,
        None => Micros::ZERO,
    }
}

fn budget(letter: u64, user: u64, day: u64) -> Budget {
    Budget { per_letter: micros(letter), per_user: micros(user), per_day: micros(day), by_login: false }
}

/// Wishes of so many recipients in a domain, who may be seen and could wait.
pub fn wishes(audience: &str, count: u32) -> Vec<Wish> {
    let wish = |n| {
        let recipient = address(&format!("reader{n}@{audience}"));
        Wish {
            offices: vec![domain("other.example")],
            envelope: recipient.to_bytes(),
            recipient,
            least: micros(PRICE),
            apart: false,
            wait_s: Some(600),
            dsn: RecipientDsn::default(),
        }
    };
    (0..count).map(wish).collect()
}

/// A letter of its own each time, of which no copies can be made.
pub fn letter(login: &str, wishes: Vec<Wish>) -> OutgoingLetter {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = u128::from(NUMBER.fetch_add(1, Ordering::Relaxed));
    OutgoingLetter {
        login: login.into(),
        key: number.to_be_bytes(),
        sender: b"Carol@c.example".to_vec(),
        dsn: LetterDsn::default(),
        author: address("carol@c.example"),
        wishes,
        copying: Copying::Impossible,
    }
}

pub fn bought(n: u8, audience: &str, value: u64) -> PurseStamp {
    PurseStamp {
        office: domain("other.example"),
        id: id(n),
        selector: "s1".into(),
        audience: domain(audience),
        value: micros(value),
        expiry: EXPIRY,
        signature: signature(n),
    }
}

/// Puts these stamps into the purse, as an order brings them.
pub async fn fill(ledger: &dyn Ledger, stamps: Vec<PurseStamp>) {
    let first = stamps[0].clone();
    let order = PurseOrder {
        seq: 0,
        office: first.office,
        audience: first.audience,
        value: first.value,
        ids: stamps.iter().map(|stamp| stamp.id).collect(),
        time: NOW,
    };
    let seq = ledger.purse_order(order, most()).await.unwrap().unwrap();
    ledger.purse_filled(seq, stamps, NOW).await.unwrap();
}

async fn frank(ledger: &dyn Ledger, login: &str, wishes: &[Wish], budget: Budget) -> Taken {
    ledger.frank(letter(login, wishes.to_vec()), budget, NOW).await.unwrap()
}

fn ids(taken: &Taken) -> Vec<u8> {
    match taken {
        Taken::Given(given) => given
            .iter()
            .map(|given| match given {
                Given::Stamp(stamp) => stamp.id[0],
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

pub async fn a_letter_takes_all_its_stamps_or_none(site: &Site) {
    let ledger = &*site.ledger;
    fill(ledger, (1..=2).map(|n| bought(n, "b.example", PRICE)).collect()).await;
    fill(ledger, vec![bought(3, "d.example", PRICE)]).await;
    let lacking =
        frank(ledger, "carol", &[wishes("b.example", 1), wishes("d.example", 2)].concat(), PLENTY).await;
    assert_eq!(lacking, Taken::Lacking(vec![domain("d.example")]));
    let both =
        frank(ledger, "carol", &[wishes("b.example", 2), wishes("d.example", 1)].concat(), PLENTY).await;
    assert_eq!(ids(&both), [1, 2, 3]);
    let more = frank(ledger, "carol", &wishes("b.example", 1), PLENTY).await;
    assert_eq!(more, Taken::Lacking(vec![domain("b.example")]), "each is handed out once");
    let Purse { in_hand, spent, lacking } = ledger.purse(NOW).await.unwrap();
    assert_eq!((in_hand, lacking), (vec![], vec![domain("b.example"), domain("d.example")]));
    assert_eq!(spent, [(String::new(), micros(3 * PRICE)), ("carol".into(), micros(3 * PRICE))]);
}

pub async fn the_cheapest_that_will_do_and_lasts_is_taken(site: &Site) {
    let ledger = &*site.ledger;
    let dying = PurseStamp { expiry: NOW + LIFE_LEFT_MIN_S - 1, ..bought(1, "b.example", PRICE) };
    fill(ledger, vec![dying, bought(2, "b.example", 9_000), bought(3, "b.example", PRICE)]).await;
    fill(ledger, vec![bought(4, "b.example", PRICE - 1)]).await;
    assert_eq!(ids(&frank(ledger, "carol", &wishes("b.example", 1), PLENTY).await), [3]);
    assert_eq!(ids(&frank(ledger, "carol", &wishes("b.example", 1), PLENTY).await), [2]);
    assert!(matches!(frank(ledger, "carol", &wishes("b.example", 1), PLENTY).await, Taken::Lacking(_)));
    let Purse { in_hand, .. } = ledger.purse(NOW).await.unwrap();
    let left = InHand { audience: domain("b.example"), count: 1, value: micros(PRICE - 1) };
    assert_eq!(in_hand, [left]);
    assert_eq!(ledger.purse(NOW).await.unwrap().lacking, [domain("b.example")], "that one is too cheap");
    fill(ledger, vec![bought(5, "b.example", PRICE)]).await;
    assert_eq!(ledger.purse(NOW).await.unwrap().lacking, []);
}

pub async fn stamps_of_an_office_that_is_taken_no_longer_are_put_on_nothing(site: &Site) {
    let ledger = &*site.ledger;
    let dear = PurseStamp { office: domain("new.example"), ..bought(3, "b.example", 2 * PRICE) };
    fill(ledger, vec![bought(1, "b.example", PRICE), bought(2, "b.example", PRICE)]).await;
    fill(ledger, vec![dear, bought(4, "d.example", PRICE)]).await;
    let wish = Wish { offices: vec![domain("new.example")], ..wishes("b.example", 1).remove(0) };
    assert_eq!(
        ids(&frank(ledger, "carol", std::slice::from_ref(&wish), PLENTY).await),
        [3],
        "the dearer one"
    );
    assert!(matches!(frank(ledger, "carol", &[wish], PLENTY).await, Taken::Lacking(_)));
    let needs = ledger.purse_needs(2, NOW).await.unwrap();
    assert_eq!(needs.first().unwrap().count, 1, "what is of no use is not counted as in hand");
    assert_eq!(
        ids(&frank(ledger, "carol", &wishes("d.example", 1), PLENTY).await),
        [4],
        "that of another domain"
    );
}

pub async fn letters_users_and_the_site_have_budgets(site: &Site) {
    let ledger = &*site.ledger;
    fill(ledger, (1..=20).map(|n| bought(n, "b.example", PRICE)).collect()).await;
    let over = |which, first| Taken::Over { which, first };
    let two = wishes("b.example", 2);
    let one = wishes("b.example", 1);
    let limits = budget(4_999, 100_000, 100_000);
    assert_eq!(frank(ledger, "carol", &two, limits).await, over(Over::Letter, true));
    assert_eq!(frank(ledger, "carol", &two, limits).await, over(Over::Letter, false));
    let limits = budget(100_000, 5_000, 7_500);
    assert_eq!(ids(&frank(ledger, "dave", &two, limits).await).len(), 2);
    assert_eq!(frank(ledger, "dave", &one, limits).await, over(Over::User, true));
    assert_eq!(frank(ledger, "DAVE", &one, limits).await, over(Over::User, false), "whatever the case");
    assert_eq!(ids(&frank(ledger, "carol", &one, limits).await).len(), 1);
    assert_eq!(frank(ledger, "carol", &one, limits).await, over(Over::Site, true));
    assert_eq!(frank(ledger, "", &one, limits).await, over(Over::Site, false));
    // Nothing is bought for what may not be sent.
    let elsewhere = wishes("d.example", 1);
    assert_eq!(frank(ledger, "dave", &elsewhere, limits).await, over(Over::User, false));
    assert_eq!(ledger.purse_needs(5, NOW).await.unwrap(), []);
    // A new day, and what is known of the old one goes.
    let tomorrow = ledger.frank(letter("dave", one), limits, NOW + DAY).await.unwrap();
    assert_eq!(ids(&tomorrow).len(), 1);
    ledger.purse_needs(1, NOW + DAY).await.unwrap();
    let Purse { spent: today, .. } = ledger.purse(NOW).await.unwrap();
    assert_eq!(today, []);
}

pub async fn stamps_raced_for_are_handed_out_once(site: &Site) {
    fill(&*site.ledger, (1..=10).map(|n| bought(n, "b.example", PRICE)).collect()).await;
    let handles: [Arc<dyn Ledger>; 2] = [site.engine.open(), site.engine.open()];
    let letters = (0..30_usize).map(|n| {
        let ledger = handles[n % 2].clone();
        tokio::spawn(async move {
            frank(&*ledger, &format!("user{n}"), &wishes("b.example", 1), budget(2_500, 2_500, 20_000)).await
        })
    });
    let mut taken = Vec::new();
    for letter in letters.collect::<Vec<_>>() {
        let given = letter.await.unwrap();
        if matches!(given, Taken::Given(_)) {
            taken.extend(ids(&given));
        }
    }
    assert_eq!(taken.len(), 8, "by the site's budget");
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 8);
}

pub async fn what_is_to_be_bought_follows_what_is_written(site: &Site) {
    let ledger = &*site.ledger;
    let needs = async |ahead, now| {
        let needs = ledger.purse_needs(ahead, now).await.unwrap();
        needs.into_iter().map(|need: Need| (need.audience.to_string(), need.count)).collect::<Vec<_>>()
    };
    assert_eq!(needs(5, NOW).await, [], "nobody was written to");
    frank(ledger, "carol", &wishes("b.example", 7), PLENTY).await;
    assert_eq!(needs(5, NOW).await, [("b.example".to_owned(), 7)]);
    assert_eq!(needs(9, NOW).await, [("b.example".to_owned(), 7)], "as many as were asked for at the most");
    let order = PurseOrder {
        seq: 0,
        office: domain("other.example"),
        audience: domain("b.example"),
        value: micros(PRICE),
        ids: (1..=7).map(id).collect(),
        time: NOW,
    };
    let seq = ledger.purse_order(order.clone(), most()).await.unwrap().unwrap();
    assert_eq!(needs(5, NOW).await.len(), 1, "nothing is here yet");
    assert_eq!(ledger.purse_orders().await.unwrap(), [PurseOrder { seq, ..order.clone() }]);
    let stamps: Vec<_> = (1..=7).map(|n| bought(n, "b.example", PRICE)).collect();
    for _ in 0..2 {
        ledger.purse_filled(seq, stamps.clone(), NOW).await.unwrap();
    }
    assert_eq!(needs(7, NOW).await, []);
    assert_eq!(ledger.purse_orders().await.unwrap(), []);
    assert_eq!(ids(&frank(ledger, "carol", &wishes("b.example", 7), PLENTY).await).len(), 7);
    ledger.purse_filled(seq, stamps, NOW).await.unwrap();
    assert!(matches!(frank(ledger, "carol", &wishes("b.example", 1), PLENTY).await, Taken::Lacking(_)));
    // A void order brings nothing; what a day's orders may cost is bounded.
    let void = ledger.purse_order(PurseOrder { ids: vec![id(9)], ..order.clone() }, most()).await.unwrap();
    ledger.purse_filled(void.unwrap(), vec![], NOW).await.unwrap();
    let dear = PurseOrder { ids: vec![id(10)], ..order.clone() };
    assert_eq!(ledger.purse_order(dear.clone(), micros(8 * PRICE - 1)).await.unwrap(), None);
    let open = ledger.purse_order(dear.clone(), micros(8 * PRICE)).await.unwrap().unwrap();
    assert!(open > void.unwrap() && void.unwrap() > seq, "no name is used again");
    let tomorrow = PurseOrder { time: NOW + DAY, ..dear };
    assert_eq!(
        ledger.purse_order(tomorrow.clone(), micros(2 * PRICE - 1)).await.unwrap(),
        None,
        "with the open one"
    );
    assert!(ledger.purse_order(tomorrow, micros(2 * PRICE)).await.unwrap().is_some());
    for order in ledger.purse_orders().await.unwrap() {
        ledger.purse_filled(order.seq, vec![], NOW).await.unwrap();
    }
    assert_eq!(needs(5, NOW + WANTED_FOR_S).await.len(), 1);
    assert_eq!(needs(5, NOW + WANTED_FOR_S + 1).await, [], "long ago");
}

/// Buys what is needed; returns how many stamps that were.
async fn buy_all(ledger: &dyn Ledger, ahead: u32, next: &mut u8) -> u32 {
    let mut bought_now = 0;
    for need in ledger.purse_needs(ahead, NOW).await.unwrap() {
        let ids = *next..*next + u8::try_from(need.count).unwrap();
        *next = ids.end;
        fill(ledger, ids.map(|n| bought(n, need.audience.as_str(), PRICE)).collect()).await;
        bought_now += need.count;
    }
    bought_now
}

pub async fn no_more_is_kept_ahead_than_was_asked_for(site: &Site) {
    let ledger = &*site.ledger;
    let mut next = 1;
    let mut bought_for = vec![];
    for _ in 0..6 {
        // One that finds no stamp lacks it, has it bought, and is sent again.
        let one = letter("carol", wishes("b.example", 1));
        if let Taken::Lacking(_) = ledger.frank(one.clone(), PLENTY, NOW).await.unwrap() {
            bought_for.push(buy_all(ledger, 3, &mut next).await);
            assert!(matches!(ledger.frank(one, PLENTY, NOW).await.unwrap(), Taken::Given(_)));
        }
        bought_for.push(buy_all(ledger, 3, &mut next).await);
    }
    // The first for the letter in hand, then as many ahead as were used, up to what is wished for.
    assert_eq!(bought_for, [1, 1, 2, 2, 1, 1, 1]);
}

pub async fn a_domain_that_changes_its_terms_has_nothing_bought_for_nothing(site: &Site) {
    let ledger = &*site.ledger;
    fill(ledger, (1..=9).map(|n| bought(n, "b.example", PRICE)).collect()).await;
    for _ in 0..9 {
        assert_eq!(ids(&frank(ledger, "carol", &wishes("b.example", 1), PLENTY).await).len(), 1);
    }
    assert_eq!(ledger.purse_needs(3, NOW).await.unwrap()[0].count, 3, "it was written to often");
    let mut price = PRICE;
    // A letter at ever higher prices buys its own stamp each time.
    for _ in 0..10 {
        price += 1;
        let wish = Wish { least: micros(price), ..wishes("b.example", 1).remove(0) };
        let taken = ledger.frank(letter("carol", vec![wish]), PLENTY, NOW).await.unwrap();
        assert_eq!(taken, Taken::Lacking(vec![domain("b.example")]));
        let needs = ledger.purse_needs(3, NOW).await.unwrap();
        assert_eq!(needs.first().map(|need| need.count), Some(1), "{needs:?}");
    }
}

pub async fn a_user_cannot_have_the_purse_spent_on_what_nobody_uses(site: &Site) {
    let ledger = &*site.ledger;
    let own = Budget { per_user: micros(10 * PRICE), ..PLENTY };
    let mut next = 1;
    let mut all_bought = 0;
    for n in 0..30 {
        // To ever new names, by letters that are never sent again, or that go without.
        let mut wish = wishes(&format!("n{n}.evil.example"), 1).remove(0);
        wish.wait_s = (n % 2 == 0).then_some(600);
        let taken = ledger.frank(letter("mallory", vec![wish]), own, NOW).await.unwrap();
        let expected = match (n < 10, n % 2 == 0) {
            (true, true) => Taken::Lacking(vec![domain(&format!("n{n}.evil.example"))]),
            _ => Taken::Given(vec![Given::Nothing]),
        };
        assert_eq!(taken, expected, "{n}");
        all_bought += buy_all(ledger, 5, &mut next).await;
    }
    assert_eq!(all_bought, 10, "his day's budget, and no more");
    // What is in hand he may use; and others are not concerned.
    let used = ledger.frank(letter("mallory", wishes("n0.evil.example", 1)), own, NOW).await.unwrap();
    assert_eq!(ids(&used).len(), 1);
    assert_eq!(
        ledger.frank(letter("carol", wishes("b.example", 1)), own, NOW).await.unwrap(),
        Taken::Lacking(vec![domain("b.example")])
    );
    let tomorrow = ledger.frank(letter("mallory", wishes("d.example", 1)), own, NOW + DAY).await.unwrap();
    assert_eq!(tomorrow, Taken::Lacking(vec![domain("d.example")]));
}
