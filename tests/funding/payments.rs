//! Payments that a provider tells of, by a sender of such news that signs as Stripe does.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
    thread,
};

use data_encoding::HEXLOWER;
use ring::hmac;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "whsec_a_secret_of_the_tests";
const NEW_SECRET: &str = "whsec_that_comes_after_it";
const ON: &str = "stripe_secret_file = \"stripe.secret\"\n";

fn write_secret(world: &World, text: &str, mode: u32) {
    let path = world.path("stripe.secret");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An office that takes payments by Stripe.
fn taking_payments() -> World {
    let mut world = site(ON);
    write_secret(&world, SECRET, 0o600);
    world.start_daemon();
    world
}

/// A session that somebody paid 5.00 in.
fn paid(event: &str, session: &str, account: &str) -> Value {
    json!({
        "id": event, "object": "event", "api_version": "2026-01-28", "created": unix_now(), "livemode": true,
        "pending_webhooks": 1, "type": "checkout.session.completed",
        "data": {"object": {
            "id": session, "object": "checkout.session", "amount_subtotal": 500, "amount_total": 500,
            "client_reference_id": account, "currency": "usd", "customer_details": {"email": "alice@a.example"},
            "mode": "payment", "payment_status": "paid", "status": "complete",
        }},
    })
}

/// The field as Stripe writes it.
fn signed(secret: &str, time: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, &[time.to_string().as_bytes(), b".", body].concat());
    format!("t={time},v1={}", HEXLOWER.encode(tag.as_ref()))
}

fn deliver_with(office: SocketAddr, signature: &str, body: &[u8]) -> Answer {
    let request = ureq::http::Request::post(format!("http://{office}/v1/webhooks/stripe"))
        .header("Content-Type", "application/json; charset=utf-8")
        .header("Stripe-Signature", signature);
    Answer::of(post::agent().run(request.body(body).unwrap()).unwrap())
}

fn deliver(world: &World, event: &Value) -> Answer {
    let body = event.to_string().into_bytes();
    deliver_with(world.office, &signed(SECRET, unix_now(), &body), &body)
}

/// Taken, and nothing credited; what it says of it.
fn ignored(answer: &Answer) -> String {
    let said = answer.json();
    assert_eq!((answer.status, &said["credited"]), (200, &json!(0)), "{answer:?}");
    said["note"].as_str().unwrap().to_owned()
}

#[test]
fn topup_says_where_to_pay_with_the_account_filled_in() {
    let mut world = site("payment_url = \"https://pay.example/b\"\n");
    let url = format!("http://{}/", world.office);
    world.start_daemon();
    let account = world.json(&["wallet", "new"])["account"].as_str().unwrap().to_owned();
    let link = format!("https://pay.example/b?client_reference_id={account}");
    let told = world.json(&["topup", "--office", &url]);
    assert_eq!(told, json!({"office": "b.example", "payment": link}));
    assert!(
        text(&world.farthing(&["topup", "--office", &url]).stdout).starts_with(&format!("pay at {link}\n"))
    );

    let mut elsewhere = site("");
    elsewhere.start_daemon();
    elsewhere.json(&["wallet", "new"]);
    let url = format!("http://{}/", elsewhere.office);
    says(&elsewhere.farthing(&["topup", "--office", &url]), 64, "names no place to pay");
}

#[test]
fn a_paid_session_is_credited_once_however_often_it_is_told() {
    let world = taking_payments();
    let account = someone(1);
    assert_eq!(well_known(&world)["funding"], json!(["voucher", "stripe", "credit"]));
    let event = paid("evt_1", "cs_1", &account);
    assert_eq!(deliver(&world, &event).json(), json!({"credited": 5_000_000}));
    assert_eq!(ignored(&deliver(&world, &event)), "credited before", "told again");
    let mut later = paid("evt_2", "cs_1", &account);
    later["type"] = json!("checkout.session.async_payment_succeeded");
    assert_eq!(ignored(&deliver(&world, &later)), "credited before", "told of by another event");
    later["data"]["object"]["id"] = json!("cs_2");
    assert_eq!(deliver(&world, &later).json()["credited"], 5_000_000);
    assert_eq!(world.balance(&format!("account:{account}")), 10_000_000);
    assert_eq!(world.balance("funding:stripe"), -10_000_000);
    let show = text(&world.farthing(&["account", "show", &account]).stdout);
    assert!(show.contains("stripe cs_1") && show.contains("payment"), "{show}");
    world.books_balance();
}

#[test]
fn one_event_delivered_by_many_at_once_is_credited_once() {
    let world = taking_payments();
    let credited: u32 = thread::scope(|scope| {
        let deliveries: Vec<_> = (0..24)
            .map(|n| {
                let world = &world;
                let event = paid(&format!("evt_{}", n % 3), "cs_1", &someone(1));
                scope.spawn(move || u32::from(deliver(world, &event).json()["credited"] != 0))
            })
            .collect();
        deliveries.into_iter().map(|delivery| delivery.join().unwrap()).sum()
    });
    assert_eq!(credited, 1);
    assert_eq!(world.balance("funding:stripe"), -5_000_000);
    world.books_balance();
}

#[test]
fn only_news_that_stripe_signed_just_now_is_believed() {
    let world = taking_payments();
    let body = paid("evt_1", "cs_1", &someone(1)).to_string().into_bytes();
    let now = unix_now();
    let good = signed(SECRET, now, &body);
    let tampered = String::from_utf8(body.clone()).unwrap().replace("500", "900").into_bytes();
    let other = someone(2);
    let redirected = String::from_utf8(body.clone()).unwrap().replace(&someone(1), &other).into_bytes();
    let table: [(&str, String, &[u8], &str); 9] = [
        ("wrong secret", signed("whsec_of_someone_else", now, &body), &body, "does not verify"),
        ("tampered", good.clone(), &tampered, "does not verify"),
        ("for another account", good.clone(), &redirected, "does not verify"),
        ("old", signed(SECRET, now - 400, &body), &body, "at most 300"),
        ("early", signed(SECRET, now + 400, &body), &body, "at most 300"),
        (
            "a new time on an old signature",
            good.replace(&now.to_string(), &(now + 1).to_string()),
            &body,
            "verify",
        ),
        ("no signature", String::new(), &body, "Stripe-Signature"),
        ("no scheme we know", good.replace("v1=", "v0="), &body, "Stripe-Signature"),
        ("out of form", "t=now,v1=xyz".into(), &body, "Stripe-Signature"),
    ];
    for (what, signature, body, words) in table {
        let detail = deliver_with(world.office, &signature, body).problem(400);
        assert!(detail.contains(words), "{what}: {detail}");
    }
    let twice = ureq::http::Request::post(format!("http://{}/v1/webhooks/stripe", world.office))
        .header("Stripe-Signature", &good)
        .header("Stripe-Signature", &good);
    Answer::of(post::agent().run(twice.body(body.as_slice()).unwrap()).unwrap()).problem(400);
    let bomb = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
    for body in [&b""[..], b"null", b"{", b"\xff", b"{\"id\":\"evt_1\"}", &bomb] {
        let detail = deliver_with(world.office, &signed(SECRET, now, body), body).problem(400);
        assert!(detail.contains("not the JSON"), "{detail}");
        deliver_with(world.office, &signed("whsec_of_someone_else", now, body), body).problem(400);
    }
    let megabyte = vec![b' '; 1_000_000];
    deliver_with(world.office, &signed(SECRET, now, &megabyte), &megabyte).problem(413);
    assert_eq!(world.balance("funding:stripe"), 0);
    assert!(!world.log().contains("whsec"), "{}", world.log());
    assert_eq!(deliver_with(world.office, &good, &body).json()["credited"], 5_000_000);
    world.books_balance();
}

#[test]
fn news_that_cannot_be_credited_is_taken_and_the_admin_told() {
    let world = taking_payments();
    let with = |name: &str, value: Value| {
        let mut event = paid("evt_1", "cs_1", &someone(1));
        event["data"]["object"][name] = value;
        event
    };
    let kind = |kind: &str| {
        let mut event = paid("evt_1", "cs_1", &someone(1));
        event["type"] = json!(kind);
        event
    };
    let table = [
        (kind("payment_intent.succeeded"), "not for the books"),
        (kind("checkout.session.expired"), "not for the books"),
        (kind("charge.refunded"), "not for the books"),
        (with("payment_status", json!("unpaid")), "not paid"),
        (with("client_reference_id", Value::Null), "names no account"),
        (with("client_reference_id", json!("order-17")), "is no account"),
        (with("currency", json!("eur")), "the books are in USD"),
        (with("amount_total", json!(u64::MAX)), "no account can hold"),
        (with("amount_total", json!(i64::MAX)), "no account can hold"),
        (with("amount_total", json!(-1)), "no account can hold"),
        (with("amount_total", json!(0)), "nothing was paid"),
    ];
    for (event, words) in table {
        let note = ignored(&deliver(&world, &event));
        assert!(note.contains(words), "{event}: {note}");
    }
    world.wait_for_log("a payment was not credited");
    assert!(world.log().contains("the books are in USD"), "{}", world.log());
    // On a full account the books stay as they are, and Stripe comes again.
    world.json(&["account", "credit", &someone(1), &format!("{}u", i64::MAX)]);
    let more = paid("evt_2", "cs_2", &someone(1));
    deliver(&world, &more).problem(500);
    assert_eq!(deliver(&world, &paid("evt_2", "cs_2", &someone(2))).json()["credited"], 5_000_000);
    world.books_balance();
}

#[test]
fn secrets_rotate_by_a_reload() {
    let world = taking_payments();
    let deliver_by = |secret: &str, n: u32| {
        let body = paid(&format!("evt_{n}"), &format!("cs_{n}"), &someone(1)).to_string().into_bytes();
        deliver_with(world.office, &signed(secret, unix_now(), &body), &body).status
    };
    assert_eq!((deliver_by(SECRET, 1), deliver_by(NEW_SECRET, 2)), (200, 400));
    write_secret(&world, &format!("# since today\n{NEW_SECRET}\n{SECRET}\n"), 0o600);
    world.reload();
    assert_eq!((deliver_by(SECRET, 3), deliver_by(NEW_SECRET, 4)), (200, 200));
    write_secret(&world, NEW_SECRET, 0o600);
    world.reload();
    assert_eq!((deliver_by(SECRET, 5), deliver_by(NEW_SECRET, 6)), (400, 200));
    // A file that others read is not used: the office goes on as it was.
    write_secret(&world, SECRET, 0o644);
    world.signal("HUP");
    world.wait_for_log("not reloaded");
    assert_eq!((deliver_by(SECRET, 7), deliver_by(NEW_SECRET, 8)), (400, 200));
    assert_eq!(world.balance("funding:stripe"), -5 * 5_000_000);
}

#[test]
fn without_a_secret_nobody_is_believed_and_a_bad_one_is_named_before_the_start() {
    let world = running("");
    let body = paid("evt_1", "cs_1", &someone(1)).to_string().into_bytes();
    deliver_with(world.office, &signed("", unix_now(), &body), &body).problem(404);
    let other = ureq::http::Request::post(format!("http://{}/v1/webhooks/other", world.office));
    Answer::of(post::agent().run(other.body(body.as_slice()).unwrap()).unwrap()).problem(404);
    drop(world);

    let world = site(ON);
    let farthingd = |arguments: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farthingd"));
        command.arg("-c").arg(world.config_path()).args(arguments).output().unwrap()
    };
    for (secret, mode, words) in [
        (None, 0o600, "stripe.secret: No such file"),
        (Some(SECRET), 0o640, "chmod 600"),
        (Some("\n# none\n"), 0o600, "whsec_"),
        (Some("short"), 0o600, "at least 16 characters"),
    ] {
        if let Some(secret) = secret {
            write_secret(&world, secret, mode);
        }
        for arguments in [&["--check"][..], &[]] {
            let output = farthingd(arguments);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{arguments:?}: {said}");
            assert!(said.contains(words) && !said.contains(SECRET), "{arguments:?}: {said}");
        }
    }
    write_secret(&world, SECRET, 0o600);
    assert_eq!(farthingd(&["--check"]).status.code(), Some(0));
}
