//! Starter amounts for work.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    thread,
};

use farthing::work;
use serde_json::{Value, json};

use super::post::proxy::read_message;

use super::*;

const ON: &str = "grant = \"2.5c\"\ngrant_bits = 12\ngrant_daily = \"6c\"\n";

fn proof(resource: &str, bits: u32, now: u64) -> String {
    work::mint(resource, bits, now, work::all_cores(), &work::Progress::default()).unwrap()
}

fn asking(customer: &Customer, proof: &str) -> Signed {
    customer.request("POST", "/v1/grants", json!({"proof": proof}).to_string())
}

fn worked(customer: &Customer) -> Signed {
    worked_with(customer, 12)
}

fn worked_with(customer: &Customer, bits: u32) -> Signed {
    asking(customer, &proof(&format!("{}@b.example", customer.account), bits, unix_now()))
}

fn credited(answer: &Answer) -> (u64, u64) {
    let said = answer.json();
    assert_eq!(answer.status, 200, "{said}");
    (said["credited"].as_u64().unwrap(), said["balance"].as_u64().unwrap())
}

/// A refusal with these words, until the next UTC day.
fn until_tomorrow(answer: &Answer, words: &str) {
    assert!(answer.problem(429).contains(words), "{answer:?}");
    let wait_s: u64 = answer.header("retry-after").parse().unwrap();
    let left_today_s = 86_400 - unix_now() % 86_400;
    assert!((left_today_s..=left_today_s + 60).contains(&wait_s), "{wait_s} {left_today_s}");
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
    let (alice, bob, carol) = (Customer::new(1), Customer::new(2), Customer::new(3));
    let first = worked(&alice);
    assert_eq!(credited(&from("192.0.2.1", first.clone()).send_to(world.office)), (25_000, 25_000));
    let again = from("198.51.100.1", first).send_to(world.office);
    assert_eq!(credited(&again), (25_000, 25_000), "the same proof: the same answer");
    until_tomorrow(&worked(&alice).send_to(world.office), "had its grant today");
    let second = from("198.51.100.1", worked_with(&bob, 13)).send_to(world.office);
    assert_eq!(credited(&second), (25_000, 25_000));
    until_tomorrow(&worked_with(&carol, 20).send_to(world.office), "all given");
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
    let theirs: Value = from("192.0.2.1", worked_with(&bob, 14)).send_to(world.office).json();
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
    let first = good.send_to(world.office).json();
    let again = json!({"credited": first["credited"], "balance": first["balance"], "before": true});
    assert_eq!(good.send_to(world.office).json(), again, "replayed");
    assert_eq!(world.balance("grants"), -25_000);
    world.books_balance();
}

/// Twenty cents a day, one cent each.
const MANY: &str = "grant = \"1c\"\ngrant_bits = 8\ngrant_daily = \"20c\"\n";

#[test]
fn one_network_gets_a_part_of_the_budget_however_many_accounts_it_makes() {
    let world = running(MANY);
    let ask =
        |seed: u8, client: &str| from(client, worked_with(&Customer::new(seed), 12)).send_to(world.office);
    assert_eq!(credited(&ask(1, "192.0.2.1")), (10_000, 10_000));
    assert_eq!(credited(&ask(2, "192.0.2.200")), (10_000, 10_000));
    until_tomorrow(&ask(3, "192.0.2.99"), "the network 192.0.2.0/24 had its part of today's grants");
    assert_eq!(
        credited(&ask(3, "192.0.3.99")),
        (10_000, 10_000),
        "the work is not lost: it counts elsewhere"
    );
    for (seed, client) in [(4, "2001:db8:1::1"), (5, "2001:db8:1:ffff::1")] {
        assert_eq!(credited(&ask(seed, client)), (10_000, 10_000));
    }
    until_tomorrow(&ask(6, "2001:db8:1:2::3"), "2001:db8:1::/48");
    // All of whom the web server says nothing are one; what a client put before its words counts for nothing.
    for seed in [7, 8] {
        assert_eq!(credited(&worked_with(&Customer::new(seed), 12).send_to(world.office)), (10_000, 10_000));
    }
    until_tomorrow(
        &worked_with(&Customer::new(9), 12).send_to(world.office),
        "the network that this call came from",
    );
    until_tomorrow(&ask(10, "203.0.113.5, 192.0.2.7"), "192.0.2.0/24");
    world.json(&["wallet", "new"]);
    let url = format!("http://{}/", world.office);
    says(&world.farthing(&["topup", "--work", "--office", &url]), 75, "come again tomorrow (UTC)");
    assert_eq!(world.balance("grants"), -70_000);
    world.books_balance();
}

#[test]
fn the_work_grows_dearer_as_the_budget_goes_and_topup_does_it() {
    let world = running(MANY);
    let bits = || well_known(&world)["grant"]["bits"].as_u64().unwrap();
    let give = |seeds: std::ops::Range<u8>| {
        for seed in seeds {
            let request = from(format!("198.51.{seed}.1"), worked_with(&Customer::new(seed), 12));
            assert_eq!(credited(&request.send_to(world.office)), (10_000, 10_000));
        }
    };
    assert_eq!(bits(), 8);
    give(0..4);
    assert_eq!(bits(), 8);
    give(4..5);
    assert_eq!(bits(), 9, "a quarter is given");
    give(5..10);
    assert_eq!(bits(), 10);
    let late = from("192.0.2.1", worked_with(&Customer::new(90), 9));
    let detail = late.send_to(world.office).problem(400);
    assert!(detail.contains("10c of today's 20c are given, and 10 bits are asked now"), "{detail}");
    world.json(&["wallet", "new"]);
    let url = format!("http://{}/", world.office);
    assert_eq!(world.json(&["topup", "--work", "--office", &url])["credited"], 10_000);
    give(11..20);
    assert_eq!((bits(), &well_known(&world)["grant"]["left"]), (11, &json!(0)), "no dearer than that");
    assert_eq!(world.balance("grants"), -200_000);
    world.books_balance();
}

/// While the newcomer's computer works, others are given theirs: her proof has a bit too few when it comes, and her
/// program makes another.
#[test]
fn a_proof_that_others_made_too_cheap_is_made_again() {
    let world = running(MANY);
    let near = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", near.local_addr().unwrap());
    let office = world.office;
    let others: Vec<Signed> =
        (1..=5).map(|seed| from(format!("198.51.{seed}.1"), worked_with(&Customer::new(seed), 12))).collect();
    let relay = thread::spawn(move || {
        let mut proofs = vec![];
        let mut others = others;
        while proofs.len() < 2 {
            let (mut client, _) = near.accept().unwrap();
            let request = read_message(&mut client).unwrap();
            if request.starts_with(b"POST /v1/grants") {
                proofs.push(text(&request));
                for other in others.drain(..) {
                    assert_eq!(credited(&other.send_to(office)), (10_000, 10_000));
                }
            }
            let mut upstream = TcpStream::connect(office).unwrap();
            upstream.write_all(&request).unwrap();
            client.write_all(&read_message(&mut upstream).unwrap()).unwrap();
        }
        proofs
    });
    world.json(&["wallet", "new"]);
    assert_eq!(world.json(&["topup", "--work", "--office", &url])["credited"], 10_000);
    let proofs = relay.join().unwrap();
    assert!(proofs[0].contains("\"1:8:") && proofs[1].contains("\"1:9:"), "{proofs:?}");
    assert_eq!(world.balance("grants"), -60_000);
    world.books_balance();
}
