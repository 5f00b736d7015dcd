//! How money comes in, through the front doors: vouchers, grants and payments at a real daemon, and the command line
//! that issues, lists, voids and uses them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod post;
mod support;

#[path = "funding/grants.rs"]
mod grants;
#[path = "funding/payments.rs"]
mod payments;
#[path = "funding/vouchers.rs"]
mod vouchers;

use std::{fs, process::Output};

use farthing::{clock::unix_now, stamp::SecretKey};
use post::{Answer, Customer, Signed};
use support::{Site, World, text};

/// A site whose office has these lines more, not started yet.
fn site(lines: &str) -> World {
    let world = World::without_daemon(&Site::default());
    set_office(&world, lines);
    world
}

/// Writes these lines into `[office]`, in the place of those that stood there.
fn set_office(world: &World, lines: &str) {
    world.configure(&Site::default());
    let config = fs::read_to_string(world.config_path()).unwrap();
    let with_lines = config.replace("keys = \"keys\"\n", &format!("keys = \"keys\"\n{lines}\n"));
    assert_ne!(config, with_lines);
    fs::write(world.config_path(), with_lines).unwrap();
}

/// A running one.
fn running(lines: &str) -> World {
    let mut world = site(lines);
    world.start_daemon();
    world
}

/// The command ended with this code and one line on stderr that holds this text.
fn says(output: &Output, code: i32, said: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}{}", text(&output.stdout));
    assert!(stderr.contains(said), "{said:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr}");
}

/// A request from an address of its own, so that no rate but the one in question counts.
fn from(client: impl std::fmt::Display, request: Signed) -> Signed {
    Signed { client: Some(client.to_string()), ..request }
}

/// Every way in which a signed call is not its account's is refused, and nothing comes of it.
fn counts_only_for_who_signed_it(world: &World, alice: &Customer, good: &Signed) {
    let refused = |what: &str, request: &Signed, words: &str| {
        let detail = request.send_to(world.office).problem(401);
        assert!(detail.contains(words), "{what}: {detail}");
    };
    let changed = |change: &dyn Fn(&mut Signed)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let mallory = Customer::new(99);
    let does_not_verify = "does not verify";
    refused("wrong key", &good.clone().signed_by(&mallory.key), does_not_verify);
    refused("another account", &changed(&|r| r.account = mallory.account.clone()), does_not_verify);
    refused("tampered body", &changed(&|r| r.body.push(b' ')), does_not_verify);
    refused("tampered query", &changed(&|r| r.sent_to.push_str("?x=1")), does_not_verify);
    refused("another date", &changed(&|r| r.date = (unix_now() + 1).to_string()), does_not_verify);
    refused("other host", &changed(&|r| r.office = "c.example").signed_by(&alice.key), does_not_verify);
    let elsewhere = changed(&|r| r.target = "/v1/stamps".into()).signed_by(&alice.key);
    refused("another call", &elsewhere, does_not_verify);
    let put = Signed { method: "POST", ..changed(&|r| r.method = "PUT").signed_by(&alice.key) };
    refused("other method", &put, does_not_verify);
    let old = changed(&|r| r.date = (unix_now() - 301).to_string()).signed_by(&alice.key);
    refused("old date", &old, "set your clock");
    refused("no signature", &changed(&|r| r.signature.clear()), does_not_verify);
    changed(&|r| r.method = "GET").signed_by(&alice.key).send_to(world.office).problem(405);
}

/// Bodies that are none, signed well: each is told so, and nothing comes of it.
fn refuses_bodies_out_of_form(world: &World, alice: &Customer, call: &'static str, member: &str) {
    let bomb = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        String::new(),
        "null".into(),
        "[]".into(),
        "{".into(),
        "\u{0}".into(),
        "{}".into(),
        format!("{{\"{member}\":null}}"),
        format!("{{\"{member}\":18446744073709551616}}"),
        format!("{{\"{member}\":[\"x\"]}}"),
        format!("{{\"{member}\":\"x\",\"{member}\":\"y\"}}"),
        format!("{{\"{member}\":\"\"}}"),
        format!("{{\"{member}\":\"{}\"}}", "7".repeat(200_000)),
        bomb,
    ];
    for body in bodies {
        let detail = alice.request("POST", call, body.clone()).send_to(world.office).problem(400);
        assert!(detail.len() < 300, "{body:.40}: {detail}");
    }
    alice.request("POST", call, vec![b' '; 1_000_000]).send_to(world.office).problem(413);
    alice.request("POST", call, b"{\"code\":\"\xff\"}".to_vec()).send_to(world.office).problem(400);
}

fn well_known(world: &World) -> serde_json::Value {
    let request = ureq::http::Request::get(format!("http://{}/.well-known/postage", world.office));
    Answer::of(post::agent().run(request.body(()).unwrap()).unwrap()).json()
}

fn someone(seed: u8) -> String {
    SecretKey::from_seed(&[seed; 32]).public().to_string()
}
