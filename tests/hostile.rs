//! What becomes of customers of an office that means them harm: what it sells, asks and says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod post;

use std::{
    io::Write as _,
    net::TcpListener,
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use data_encoding::BASE64URL_NOPAD;
use farthing::{
    clock::unix_now,
    demo::dns::ZoneServer,
    stamp::{SecretKey, Terms},
};
use post::proxy::read_message;
use serde_json::{Value, json};

const EVIL: &str = "evil.example";
/// What takes a terminal over, and what only seems to be another line.
const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\nfarthing: all is well\u{202e}\u{9b}31m";

/// An office that answers as its maker likes: a path and a body become JSON.
struct Office {
    url: String,
    /// Paths that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Office {
    fn start(answer: impl Fn(&str, &Value) -> Value + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = asked.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Some(request) = read_message(&mut stream) else { continue };
                let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
                let head = String::from_utf8_lossy(&request[..end]);
                let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
                let body = serde_json::from_slice(&request[end + 4..]).unwrap_or_default();
                let answer = answer(&path, &body).to_string();
                noted.lock().unwrap().push(path);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
                let _ = stream.write_all((head + &answer).as_bytes());
            }
        });
        Self { url, asked }
    }

    fn orders(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| *path == "/v1/stamps").count()
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[5; 32])
}

fn description() -> Value {
    json!({
        "office": EVIL, "selector": "s1", "public": key().public().to_string(), "currency": "USD",
        "min": 1, "max": 1_000_000_000_000_000_u64, "lifetime_days": 90, "funding": [ESCAPES],
    })
}

/// The stamps of an order, as ordered but for their expiry.
fn sold(order: &Value, expiry: u64) -> Value {
    let octets = |wish: &Value, name: &str| BASE64URL_NOPAD.decode(wish[name].as_str().unwrap().as_bytes());
    let sign = |wish: &Value| {
        let terms = Terms {
            office: EVIL.parse().unwrap(),
            selector: "s1".parse().unwrap(),
            id: octets(wish, "id").unwrap().try_into().unwrap(),
            value: farthing::money::Micros::new(order["value"].as_u64().unwrap()).unwrap(),
            currency: "USD".parse().unwrap(),
            audience: order["audience"].as_str().unwrap().parse().unwrap(),
            expiry,
            holder: octets(wish, "k").unwrap().try_into().unwrap(),
        };
        BASE64URL_NOPAD.encode(&key().sell(terms).unwrap().signature)
    };
    let signatures: Vec<String> = order["stamps"].as_array().unwrap().iter().map(sign).collect();
    json!({"s": "s1", "x": expiry, "b": signatures})
}

/// Somebody with a wallet, who asks this name server.
struct Customer {
    directory: tempfile::TempDir,
    zone: ZoneServer,
}

impl Customer {
    fn new() -> Self {
        let customer = Self { directory: tempfile::tempdir().unwrap(), zone: ZoneServer::start().unwrap() };
        assert!(customer.run(&["wallet", "new"]).status.success());
        customer
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_farthing"))
            .args(arguments)
            .env("FARTHING_WALLET", self.directory.path().join("wallet"))
            .env("FARTHING_DNS", self.zone.address().to_string())
            .env("FARTHING_CONFIG", self.directory.path().join("none.toml"))
            .output()
            .unwrap()
    }

    fn in_hand(&self) -> Value {
        let shown = self.run(&["--json", "wallet", "show"]);
        serde_json::from_slice::<Value>(&shown.stdout).unwrap()["stamps"].clone()
    }
}

fn failed(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn who_sells_what_has_expired_is_paid_once_and_no_more() {
    let office = Office::start(|path, order| match path {
        "/v1/stamps" => sold(order, unix_now() - 5),
        _ => description(),
    });
    let customer = Customer::new();
    let bought = customer.run(&["buy", "b.example", "--value", "0.25c", "--office", &office.url]);
    assert!(failed(&bought, 69).contains("stamps that have expired already"));
    assert_eq!(office.orders(), 1);
    assert_eq!(customer.in_hand(), json!([]));
}

#[test]
fn a_price_beyond_what_a_stamp_can_be_worth_is_not_paid() {
    for price in [0, 1_000_000_000_001_u64, 1 << 62] {
        let office = Office::start(move |path, order| match path {
            "/v1/stamps" => sold(order, unix_now() + 86_400),
            "/v1/quote" => {
                json!({"to": "postmaster@b.example", "micros": price, "currency": "USD", "offices": [], "work_bits": 0})
            }
            _ => description(),
        });
        let customer = Customer::new();
        let bought = customer.run(&["buy", "b.example", "--office", &office.url]);
        assert!(failed(&bought, 69).contains("a price that no stamp can have"), "{price}");
        assert_eq!(office.orders(), 0, "{price}");
    }
}

#[test]
fn what_an_office_says_of_its_price_takes_no_terminal_over() {
    let good = json!({"office": EVIL, "url": "https://evil.example/"});
    let office = Office::start(move |path, _| match path {
        "/v1/quote" => json!({
            "to": ESCAPES, "micros": 2_500, "currency": "USD", "work_bits": u32::MAX,
            "offices": [{"office": EVIL, "url": format!("https://evil.example/{ESCAPES}")}, good],
        }),
        _ => description(),
    });
    let customer = Customer::new();
    let policy = format!("v=postage1; c=USD; n=1; i={EVIL}; u={}", office.url);
    customer.zone.txt(&format!("_postage.{EVIL}"), policy);
    for format in [&["price", "bob@evil.example"][..], &["--json", "price", "bob@evil.example"]] {
        let said = customer.run(format);
        assert!(said.status.success(), "{said:?}");
        let text = String::from_utf8(said.stdout).unwrap();
        assert!(text.contains("bob@evil.example") && text.contains("https://evil.example/"), "{text:?}");
        assert!(!text.contains("owned") && text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}
