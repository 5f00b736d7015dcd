//! Requests of those who mean no good, over every signed call: whose they are not, and what is no body.

use farthing::clock::unix_now;
use serde_json::{Value, json};

use crate::post::{Customer, Post, Signed, order};

/// Every signed call with a body that is in order, as far as a stranger can have one.
fn signed_calls(customer: &Customer) -> Vec<Signed> {
    let bodies: [(&'static str, &'static str, String); 6] = [
        ("POST", "/v1/stamps", order(0..1).to_string()),
        ("GET", "/v1/account", String::new()),
        ("POST", "/v1/returns", json!({"stamps": ["AAAAAAAAAAAAAAAAAAAAAA"]}).to_string()),
        ("POST", "/v1/vouchers", json!({"code": "AAAA-AAAA-AAAA-AAAA"}).to_string()),
        (
            "POST",
            "/v1/settlements",
            json!({"audience": "c.example", "s": "s1", "stamps": ["v=1"]}).to_string(),
        ),
        ("POST", "/v1/grants", json!({"proof": "1:26:261122:x@b.example::a:b"}).to_string()),
    ];
    bodies.into_iter().map(|(method, target, body)| customer.request(method, target, body)).collect()
}

#[test]
fn the_table_has_every_call_that_is_described_as_signed() {
    let said = Post::start().get("/v1/openapi.json").json();
    let mut described = vec![];
    for (path, item) in said["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.get("security").is_some() {
                described.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    let mut table: Vec<(String, String)> = signed_calls(&Customer::new(1))
        .into_iter()
        .map(|call| (call.method.to_owned(), call.target))
        .collect();
    described.sort();
    table.sort();
    assert_eq!(table, described);
}

#[test]
fn every_signed_call_counts_only_for_who_signed_it_as_it_is() {
    let post = Post::start();
    let (alice, mallory) = (Customer::new(1), Customer::new(2));
    post.credit(&alice.account, "1c");
    for good in signed_calls(&alice) {
        let changed = |change: &dyn Fn(&mut Signed)| {
            let mut request = good.clone();
            change(&mut request);
            request
        };
        let resigned = |change: &dyn Fn(&mut Signed)| changed(change).signed_by(&alice.key);
        let at = |ago: i64| unix_now().checked_add_signed(-ago).unwrap().to_string();
        let other_method = resigned(&|r| r.method = "PUT");
        let no = "does not verify";
        let table: Vec<(&str, Signed, &str)> = vec![
            ("wrong key", good.clone().signed_by(&mallory.key), no),
            ("another account", changed(&|r| r.account = mallory.account.clone()), no),
            ("tampered body", changed(&|r| r.body.push(b' ')), no),
            ("tampered query", changed(&|r| r.sent_to.push_str("?x")), no),
            ("another date", changed(&|r| r.date = at(-1)), no),
            ("old", resigned(&|r| r.date = at(301)), "set your clock"),
            ("early", resigned(&|r| r.date = at(-302)), "set your clock"),
            ("a date too long", resigned(&|r| r.date = format!("000000{}", at(0))), "Postage-Date"),
            ("a date with a sign", resigned(&|r| r.date = format!("+{}", at(0))), "Postage-Date"),
            ("other host", resigned(&|r| r.office = "c.example"), no),
            ("other call", resigned(&|r| r.target = "/v1/other".into()), no),
            ("other method", Signed { method: good.method, ..other_method }, no),
            ("no signature", changed(&|r| r.signature.clear()), no),
            ("a signature too long", changed(&|r| r.signature.push('A')), no),
            ("no key", changed(&|r| r.account.clear()), "not an Ed25519 public key"),
            ("a weak key", changed(&|r| r.account = "A".repeat(43)), "not an Ed25519 public key"),
        ];
        for (what, request, words) in table {
            let answer = request.send(&post);
            let detail = answer.problem(401);
            assert!(detail.contains(words), "{} {what}: {detail}", good.target);
            assert_eq!(answer.header("www-authenticate"), "Postage-Signature");
        }
        // A slash at the end and an encoded letter make another path, which is no call, signed or not.
        for path in
            [format!("{}/", good.target), good.target.replace("/v1", "/%761"), format!("/{}", good.target)]
        {
            resigned(&|r| (r.target, r.sent_to) = (path.clone(), path.clone())).send(&post).problem(404);
        }
    }
    assert_eq!(post.account(&alice.account).balance.get(), 10_000);
    assert_eq!(post.account(&mallory.account).balance.get(), 0);
    post.proof();
}

#[test]
fn a_request_sent_again_changes_nothing_more() {
    let post = Post::start();
    let alice = Customer::new(1);
    post.credit(&alice.account, "1c");
    for request in signed_calls(&alice) {
        let first = request.send(&post);
        let state = post.account(&alice.account);
        for _ in 0..2 {
            let again = request.send(&post);
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{}", request.target);
            assert_eq!(post.account(&alice.account), state);
        }
    }
    post.proof();
}

/// The same call with another body, signed well.
fn with_body(call: &Signed, customer: &Customer, body: Vec<u8>) -> Signed {
    Signed { body, ..call.clone() }.signed_by(&customer.key)
}

#[test]
fn bodies_that_are_bombs_or_none_are_refused_in_few_words() {
    let post = Post::with_config("grant = \"2.5c\"\ngrant_daily = \"6c\"\n");
    let alice = Customer::new(1);
    post.credit(&alice.account, "1c");
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(60_000), close.repeat(60_000));
    let digits = "9".repeat(100_000);
    for call in signed_calls(&alice).into_iter().filter(|call| call.method == "POST") {
        let good: Value = serde_json::from_slice(&call.body).unwrap();
        let mut bodies: Vec<Vec<u8>> = [
            String::new(),
            "null".into(),
            "[]".into(),
            "{}".into(),
            "\u{feff}{}".into(),
            "{\"a\":1}{}".into(),
            nested("[", "]"),
            format!("{{\"x\":{}}}", nested("[", "]")),
            format!("{{\"x\":{}}}", nested("{\"a\":", "}").get(..100_000).unwrap()),
            digits.clone(),
            format!("{{\"x\":\"{}", "\\u0000".repeat(10_000)),
        ]
        .map(String::into_bytes)
        .into();
        bodies.push(b"{\"x\":\"\xff\"}".to_vec());
        for (name, value) in good.as_object().unwrap() {
            let with = |text: &str| {
                let mut members = good.as_object().unwrap().clone();
                members.remove(name);
                let rest: String = members.iter().map(|(k, v)| format!(",\"{k}\":{v}")).collect();
                format!("{{\"{name}\":{text}{rest}}}").into_bytes()
            };
            let wrong =
                ["null", "true", "{}", "-1", "1e400", "18446744073709551616", "1.5", "[[]]", "\"\\ud800\""];
            bodies.extend(wrong.map(with));
            bodies.push(with(&digits));
            bodies.push(with(&format!("{value},\"{name}\":{value}")));
        }
        for body in bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let answer = with_body(&call, &alice, body).send(&post);
            let detail = answer.problem(400);
            assert!(detail.len() < 400, "{} {shown}: {detail:.500}", call.target);
        }
        with_body(&call, &alice, vec![b' '; 300_000]).send(&post).problem(413);
    }
    for audience in
        ["b", "b.example.", "-b.example", "b..example", "b.example/x", "b.example\u{0}", "127.0.0.1 x", ""]
    {
        let mut wanted = order(0..1);
        wanted["audience"] = json!(audience);
        assert!(alice.order(&wanted).send(&post).problem(400).contains("not a domain"), "{audience:?}");
    }
    for value in [u64::MAX, i64::MAX as u64, 1_000_000_000_001, 100_001, 0] {
        let mut wanted = order(0..2);
        wanted["value"] = json!(value);
        assert!(alice.order(&wanted).send(&post).problem(400).contains("micros"), "{value}");
    }
    let many = alice.order(&order(0..100_000)).send(&post).problem(413);
    assert!(many.contains("at most 1000 stamps"), "{many}");
    assert_eq!(post.account(&alice.account).balance.get(), 10_000);
    post.proof();
}
