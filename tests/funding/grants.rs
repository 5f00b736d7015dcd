//! Starter amounts for work.

use farthing::work;
use serde_json::{Value, json};

use super::*;

const ON: &str = "grant = \"2.5c\"\ngrant_bits = 12\ngrant_daily = \"6c\"\n";

fn proof(resource: &str, bits: u32, now: u64) -> String {
    work::mint(resource, bits, now, work::all_cores(), &work::Progress::default()).unwrap()
}

fn asking(customer: &Customer, proof: &str) -> Signed {
    customer.request("POST", "/v1/grants", json!({"proof": proof}).to_string())
}

fn worked(customer: &Customer) -> Signed {
    asking(customer, &proof(&format!("{}@b.example", customer.account), 12, unix_now()))
}

#[test]
fn no_grants_unless_the_site_says_so() {
    let world = running("");
    let said = well_known(&world);
    assert_eq!((&said["funding"], said.get("grant")), (&json!(["voucher", "credit"]), None));
    assert!(worked(&Customer::new(1)).send_to(world.office).problem(404).contains("no grants"));
    assert_eq!(world.balance("grants"), 0);
}

#[test]
fn a_newcomer_works_for_a_first_stamp() {
    let world = running(ON);
    let said = well_known(&world);
    assert_eq!(said["grant"], json!({"bits": 12, "left": 60_000, "amount": 25_000}));
    assert_eq!(said["funding"], json!(["voucher", "grant", "credit"]));
    world.json(&["wallet", "new"]);
    let url = format!("http://{}/", world.office);
    let topup = ["topup", "--work", "--office", &url];
    let credit = json!({"office": "b.example", "credited": 25_000, "balance": 25_000});
    assert_eq!(world.json(&topup), credit);
    says(&world.farthing(&topup), 75, "had its grant today");
    world.json(&["buy", "b.example", "--count", "10", "--office", &url]);
    assert_eq!(world.balance("grants"), -25_000);
    assert_eq!(world.balance("stamps"), 25_000);
    assert_eq!(well_known(&world)["grant"]["left"], 35_000);
    world.books_balance();
}

#[test]
fn one_a_day_an_account_within_the_days_budget() {
    let world = running(ON);
    let credited = |answer: Answer| {
        let said = answer.json();
        assert_eq!(answer.status, 200, "{said}");
        (said["credited"].as_u64().unwrap(), said["balance"].as_u64().unwrap())
    };
    let (alice, bob, carol) = (Customer::new(1), Customer::new(2), Customer::new(3));
    let first = worked(&alice);
    assert_eq!(credited(first.send_to(world.office)), (25_000, 25_000));
    assert_eq!(credited(first.send_to(world.office)), (25_000, 25_000), "the same proof: the same answer");
    let until_tomorrow = |answer: Answer, words: &str| {
        assert!(answer.problem(429).contains(words), "{answer:?}");
        let wait_s: u64 = answer.header("retry-after").parse().unwrap();
        let left_today_s = 86_400 - unix_now() % 86_400;
        assert!((left_today_s..=left_today_s + 60).contains(&wait_s), "{wait_s} {left_today_s}");
    };
    until_tomorrow(worked(&alice).send_to(world.office), "had its grant today");
    assert_eq!(credited(worked(&bob).send_to(world.office)), (25_000, 25_000));
    until_tomorrow(worked(&carol).send_to(world.office), "all given");
    assert_eq!(well_known(&world)["grant"]["left"], 10_000);
    let sender = world.farthing(&["wallet", "new"]);
    assert!(sender.status.success());
    let url = format!("http://{}/", world.office);
    says(&world.farthing(&["topup", "--work", "--office", &url]), 75, "try again tomorrow");
    assert_eq!(world.balance("grants"), -50_000);
    world.books_balance();
}

#[test]
fn only_work_for_this_account_at_this_office_counts() {
    let world = running(ON);
    let (alice, bob, now) = (Customer::new(1), Customer::new(2), unix_now());
    let resource = format!("{}@b.example", alice.account);
    let refused = |proof: &str, words: &str| {
        let detail = asking(&alice, proof).send_to(world.office).problem(400);
        assert!(detail.contains(words), "{proof}: {detail}");
    };
    refused("nonsense", "no hashcash stamp");
    refused(&proof(&format!("{}@b.example", bob.account), 12, now), "another address");
    refused(&proof(&format!("{}@c.example", alice.account), 12, now), "another address");
    refused(&proof(&alice.account, 12, now), "another address");
    refused(&proof(&resource, 11, now), "fewer bits than asked");
    refused(&proof(&resource, 12, now - 30 * 86_400), "28 days");
    refused(&proof(&resource, 12, now + 4 * 86_400), "ahead");
    refused(&proof(&resource, 12, now).replacen("1:12:", "1:40:", 1), "fewer bits than it claims");
    assert_eq!(world.balance("grants"), 0);
    // The hashcash program writes resources in lower case.
    let lower = asking(&alice, &proof(&resource.to_lowercase(), 12, now));
    assert_eq!(lower.send_to(world.office).json()["credited"], 25_000);
    let theirs: Value =
        asking(&bob, &proof(&format!("{}@b.example", bob.account), 13, now)).send_to(world.office).json();
    assert_eq!(theirs["credited"], 25_000, "more bits than asked are welcome");
    world.books_balance();
}

#[test]
fn a_grant_call_counts_only_for_who_signed_it_as_it_is() {
    let world = running(ON);
    let alice = Customer::new(1);
    let good = worked(&alice);
    counts_only_for_who_signed_it(&world, &alice, &good);
    refuses_bodies_out_of_form(&world, &alice, "/v1/grants", "proof");
    assert_eq!(world.balance("grants"), 0);
    assert_eq!(good.send_to(world.office).json(), good.send_to(world.office).json(), "replayed");
    assert_eq!(world.balance("grants"), -25_000);
    world.books_balance();
}
