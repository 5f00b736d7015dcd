//! The post office through its front door: a real HTTP server on loopback over a real ledger.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod post;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    num::NonZeroU32,
    sync::Barrier,
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use farthing::{
    clock::unix_now,
    office::{Limits, Rate},
    stamp::{Selector, Terms},
};
use post::{Answer, Customer, Post, order, wish};
use serde_json::{Value, json};

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    BASE64URL_NOPAD.decode(value.as_str().unwrap().as_bytes()).unwrap().try_into().unwrap()
}

/// Every stamp of an answer verifies against its order, and expires at the end of a UTC day some 90 days ahead.
fn verify(post: &Post, order: &Value, answer: &Value) {
    let keys = post.keys();
    let selector: Selector = answer["s"].as_str().unwrap().parse().unwrap();
    let public = keys.of(&selector).unwrap().public;
    let expiry = answer["x"].as_u64().unwrap();
    assert_eq!(expiry % 86_400, 86_399);
    assert!((90..=91).contains(&((expiry - unix_now()) / 86_400)), "{expiry}");
    let (wishes, signatures) = (order["stamps"].as_array().unwrap(), answer["b"].as_array().unwrap());
    assert_eq!(wishes.len(), signatures.len());
    for (wish, b) in wishes.iter().zip(signatures) {
        let terms = Terms {
            office: "b.example".parse().unwrap(),
            selector: selector.clone(),
            id: bytes(&wish["id"]),
            value: farthing::money::Micros::new(order["value"].as_u64().unwrap()).unwrap(),
            currency: "USD".parse().unwrap(),
            audience: order["audience"].as_str().unwrap().parse().unwrap(),
            expiry,
            holder: bytes(&wish["k"]),
        };
        assert!(public.verify(&terms.signed_bytes(), &bytes(b)), "{wish}");
    }
}

fn rate(per_s: u32, burst: u32) -> Rate {
    Rate { per_s: NonZeroU32::new(per_s).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

#[test]
fn an_office_describes_itself() {
    let post = Post::start();
    let answer = post.get("/.well-known/postage");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let said = answer.json();
    let key = post.keys();
    let key = key.signing().unwrap();
    assert_eq!(said["office"], "b.example");
    assert_eq!(said["selector"], key.selector.as_str());
    assert_eq!(said["public"], key.public.to_string());
    assert_eq!(said["keys"], json!([{"selector": key.selector.as_str(), "public": key.public.to_string()}]));
    assert_eq!((&said["currency"], &said["min"], &said["max"]), (&json!("USD"), &json!(1), &json!(100_000)));
    assert_eq!((&said["lifetime_days"], &said["funding"]), (&json!(90), &json!(["voucher", "credit"])));
    assert!(said.get("grant").is_none(), "no grants are given");
}

#[test]
fn a_price_is_the_same_for_addresses_that_do_not_exist() {
    let post = Post::start();
    let url = post.url();
    for to in ["bob@b.example", "nobody-at-all@b.example", "postmaster@bb.example", "bob+shop@b.example"] {
        let answer = post.get(&format!("/v1/quote?to={to}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let expected = json!({
            "to": to, "micros": 2500, "currency": "USD", "work_bits": 20,
            "offices": [{"office": "b.example", "url": url}],
        });
        assert_eq!(answer.json(), expected);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert!(post.get("/v1/quote?to=bob@c.example").problem(404).contains("_postage.c.example"));
    assert!(post.get("/v1/quote?to=bob@sub.b.example").problem(404).contains("sub.b.example"));
    for bad in ["", "?", "?to=", "?to=bob", "?from=bob@b.example", "?to=a@b.example&to=b@b.example"] {
        post.get(&format!("/v1/quote{bad}")).problem(400);
    }
}

#[test]
fn a_stranger_buys_stamps_and_every_one_of_them_verifies() {
    let post = Post::start();
    let alice = Customer::new(1);
    post.credit(&alice.account, "1c");
    let three = order(0..3);
    let answer = alice.order(&three).send(&post);
    assert_eq!(answer.status, 200, "{answer:?}");
    verify(&post, &three, &answer.json());

    let account = alice.request("GET", "/v1/account", "").send(&post).json();
    assert_eq!(account["account"], alice.account.as_str());
    assert_eq!((&account["balance"], &account["outstanding"]), (&json!(2500), &json!(7500)));
    let entries = account["entries"].as_array().unwrap();
    let amounts: Vec<i64> = entries.iter().map(|entry| entry["amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [-7500, 10_000], "newest first: {entries:?}");
    assert_eq!(entries[1]["memo"], "for tests");
    let elsewhere = Customer::new(2).request("GET", "/v1/account", "").send(&post).json();
    assert_eq!((&elsewhere["balance"], &elsewhere["entries"]), (&json!(0), &json!([])));
    post.proof();
}

#[test]
fn a_thousand_stamps_are_one_order() {
    let post = Post::start();
    let alice = Customer::new(1);
    post.credit(&alice.account, "5.00");
    let thousand = order(0..1000);
    let answer = alice.order(&thousand).send(&post);
    assert_eq!(answer.status, 200, "{answer:?}");
    verify(&post, &thousand, &answer.json());
    assert_eq!(post.account(&alice.account).balance.get(), 2_500_000);
    let detail = alice.order(&order(2000..3001)).send(&post).problem(400);
    assert!(detail.contains("1 to 1000 stamps, this one 1001"), "{detail}");
    post.proof();
}

#[test]
fn the_same_order_again_gets_the_same_answer_and_is_charged_once() {
    let post = Post::start();
    let alice = Customer::new(1);
    post.credit(&alice.account, "1c");
    let two = order(0..2);
    let first = alice.order(&two).send(&post);
    let sent_again = alice.order(&two).send(&post);
    assert_eq!((sent_again.status, sent_again.json()), (200, first.json()));
    let request = alice.order(&two);
    assert_eq!(request.send(&post).json(), request.send(&post).json(), "the very same request");
    // A new key signs from now on; what was sold was signed by the old one.
    farthing::keys::new_office_key(&post.config().keys_directory(), unix_now()).unwrap();
    post.reload();
    let after_rotation = alice.order(&two).send(&post).json();
    assert_eq!(after_rotation, first.json());
    verify(&post, &two, &after_rotation);
    let new = alice.order(&order(2..3)).send(&post).json();
    assert_ne!(new["s"], first.json()["s"]);
    assert_eq!(post.account(&alice.account).balance.get(), 10_000 - 7_500);
    // With nothing left on the account it is still the same.
    alice.order(&order(3..4)).send(&post);
    assert_eq!(post.account(&alice.account).balance.get(), 0);
    assert_eq!(alice.order(&two).send(&post).json(), first.json());
    post.proof();
}

#[test]
fn sixteen_at_once_with_one_order_are_charged_once() {
    let post = Post::start();
    let alice = Customer::new(1);
    post.credit(&alice.account, "10.00");
    for round in 0..12 {
        let hundred = order(round * 100..(round + 1) * 100);
        let start = Barrier::new(16);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        alice.order(&hundred).send(&post)
                    })
                })
                .collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        for answer in &answers {
            assert_eq!(answer.status, 200, "round {round}: {answer:?}");
            assert!(answer.body == answers[0].body, "round {round}: two answers");
        }
        verify(&post, &hundred, &answers[0].json());
        let spent = u64::from(round + 1) * 100 * 2500;
        assert_eq!(post.account(&alice.account).balance.get(), 10_000_000 - spent);
    }
    post.proof();
}

#[test]
fn ids_that_were_sold_in_another_order_are_a_conflict_before_anything_else() {
    let post = Post::start();
    let (alice, bob) = (Customer::new(1), Customer::new(2));
    post.credit(&alice.account, "0.5c");
    let two = order(0..2);
    assert_eq!(alice.order(&two).send(&post).status, 200);
    // No money is left, and the values are out of bounds: the conflict comes first all the same.
    let changed = |name: &str, value: Value| {
        let mut order = two.clone();
        order[name] = value;
        order
    };
    let mut other_key = two.clone();
    other_key["stamps"][1]["k"] = wish(9)["k"].clone();
    let conflicts = [
        ("some but not all", alice.order(&order(1..3))),
        ("another value", alice.order(&changed("value", json!(2499)))),
        ("a value out of bounds", alice.order(&changed("value", json!(999_999_999)))),
        ("another audience", alice.order(&changed("audience", json!("c.example")))),
        ("another k", alice.order(&other_key)),
        ("another account", bob.order(&two)),
    ];
    for (what, request) in conflicts {
        let detail = request.send(&post).problem(409);
        assert!(detail.contains("choose new ids"), "{what}: {detail}");
    }
    assert_eq!(alice.order(&order(0..1)).send(&post).status, 200, "a part of it is the same stamps");
    post.proof();
}

#[test]
fn an_order_beyond_the_balance_sells_nothing() {
    let post = Post::start();
    let alice = Customer::new(1);
    post.credit(&alice.account, "0.5c");
    let answer = alice.order(&order(0..3)).send(&post);
    let detail = answer.problem(402);
    assert!(detail.contains("0.5c") && detail.contains("0.75c"), "{detail}");
    assert_eq!((&answer.json()["balance"], &answer.json()["cost"]), (&json!(5000), &json!(7500)));
    assert_eq!(post.account(&alice.account).balance.get(), 5000);
    assert_eq!(alice.order(&order(0..2)).send(&post).status, 200, "its ids are not used up");
    Customer::new(2).order(&order(10..11)).send(&post).problem(402);
    post.proof();
}

#[test]
fn orders_out_of_form_or_bounds_are_named() {
    let post = Post::start();
    let alice = Customer::new(1);
    post.credit(&alice.account, "100.00");
    let with = |value: &str| {
        let text = order(0..1).to_string().replace("2500", value);
        alice.request("POST", "/v1/stamps", text).send(&post).problem(400)
    };
    for value in ["0", "100001", "1000000000001", "9223372036854775807"] {
        let detail = with(value);
        assert!(detail.contains("1 to 100000 micros"), "{value}: {detail}");
    }
    for value in ["2500.0", "-2500", "1e3", "9223372036854775808", "18446744073709551616"] {
        let detail = with(value);
        assert!(detail.contains("whole number of micros"), "{value}: {detail}");
    }
    for value in ["\"2500\"", "null", "[2500]", "1e999", ""] {
        with(value);
    }
    let mut twice = order(0..2);
    twice["stamps"][1]["id"] = twice["stamps"][0]["id"].clone();
    assert!(alice.order(&twice).send(&post).problem(400).contains("twice"));
    for audience in ["b", "B.example", "b.example.", "bücher.example", "*.example", ""] {
        let mut order = order(0..1);
        order["audience"] = json!(audience);
        assert!(alice.order(&order).send(&post).problem(400).contains("not a domain"), "{audience}");
    }
    for body in ["", "null", "[]", "{", "\u{0}", "{\"audience\":\"b.example\",\"audience\":\"b.example\"}"] {
        alice.request("POST", "/v1/stamps", body).send(&post).problem(400);
    }
    let not_utf8 = b"{\"audience\":\"b\xff.example\"}".to_vec();
    alice.request("POST", "/v1/stamps", not_utf8).send(&post).problem(400);
    let bomb = format!("{{\"x\":{}1{}}}", "[".repeat(120_000), "]".repeat(120_000));
    alice.request("POST", "/v1/stamps", bomb).send(&post).problem(400);
    let mut unknown = order(0..1);
    unknown["gift"] = json!({"wrapping": [true, 1.5, null]});
    assert_eq!(alice.order(&unknown).send(&post).status, 200, "unknown members are passed over");
    post.proof();
}

#[test]
fn a_hundred_thousand_stamps_in_one_order_are_turned_away_with_the_limit() {
    let post = Post::start();
    let alice = Customer::new(1);
    let detail = alice.order(&order(0..100_000)).send(&post).problem(413);
    assert!(detail.contains("262144 octets") && detail.contains("at most 1000 stamps"), "{detail}");
    assert_eq!(post.get("/.well-known/postage").status, 200);
}

#[test]
fn a_request_counts_only_for_who_signed_it_as_it_is() {
    let post = Post::start();
    let (alice, mallory) = (Customer::new(1), Customer::new(2));
    post.credit(&alice.account, "1c");
    let good = alice.order(&order(0..1));
    let refused = |what: &str, request: &post::Signed, words: &str| {
        let answer = request.send(&post);
        let detail = answer.problem(401);
        assert!(detail.contains(words), "{what}: {detail}");
        assert_eq!(answer.header("www-authenticate"), "Postage-Signature");
    };
    let changed = |change: &dyn Fn(&mut post::Signed)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let does_not_verify = "does not verify";
    refused("tampered body", &changed(&|r| r.body.push(b' ')), does_not_verify);
    refused("another account", &changed(&|r| r.account = mallory.account.clone()), does_not_verify);
    refused("signed by someone else", &good.clone().signed_by(&mallory.key), does_not_verify);
    refused("a query that was not signed", &changed(&|r| r.sent_to.push_str("?x")), does_not_verify);
    refused("another date", &changed(&|r| r.date = (unix_now() + 1).to_string()), does_not_verify);
    let office = changed(&|r| r.office = "c.example").signed_by(&alice.key);
    refused("for another office", &office, does_not_verify);
    let target = changed(&|r| r.target = "/v1/account".into()).signed_by(&alice.key);
    refused("for another target", &target, does_not_verify);
    let prefixed = changed(&|r| r.target = "/office/v1/stamps".into()).signed_by(&alice.key);
    refused("with a prefix", &prefixed, does_not_verify);
    let method = changed(&|r| r.method = "PUT").signed_by(&alice.key);
    let as_post = post::Signed { method: "POST", ..method };
    refused("for another method", &as_post, does_not_verify);
    refused("no signature at all", &changed(&|r| r.signature.clear()), does_not_verify);
    for ago in [301_i64, 86_400, -301] {
        let date = unix_now().checked_add_signed(-ago).unwrap().to_string();
        let old = changed(&|r| r.date = date.clone()).signed_by(&alice.key);
        refused("an old or early date", &old, "set your clock");
    }
    refused("a weak key", &changed(&|r| r.account = "A".repeat(43)), "not an Ed25519 public key");
    let padded = format!("{}=", good.account);
    refused("padding", &changed(&|r| r.account = padded.clone()), "not an Ed25519 public key");
    let unsigned = post.get("/v1/account");
    assert!(unsigned.problem(401).contains("Postage-Account"));

    assert_eq!(post.account(&alice.account).balance.get(), 10_000, "nothing was bought");
    assert_eq!(good.send(&post).status, 200);
    let replayed = good.send(&post);
    assert_eq!(replayed.status, 200, "a replay gets the same answer");
    assert_eq!(post.account(&alice.account).balance.get(), 7_500);
    let mut with_query = alice.request("GET", "/v1/account", "");
    with_query.target = "/v1/account?b=%41&a".into();
    with_query.sent_to = with_query.target.clone();
    assert_eq!(with_query.signed_by(&alice.key).send(&post).status, 200, "the query as it was sent");
}

#[test]
fn an_office_below_a_path_signs_for_the_path_without_it() {
    let post = Post::with(Limits::default(), "post/office/");
    let alice = Customer::new(1);
    post.credit(&alice.account, "1c");
    let mut request = alice.order(&order(0..1));
    assert_eq!(request.send(&post).status, 200, "a web server that takes the path off");
    request.sent_to = "/post/office/v1/stamps".into();
    assert_eq!(request.send(&post).status, 200, "and one that hands it on");
    assert_eq!(post.get("/post/office/v1/quote?to=bob@b.example").status, 200);
    post.get("/post/office/v1/nothing").problem(404);
    post.get("/elsewhere/v1/quote?to=bob@b.example").problem(404);
}

#[test]
fn every_refusal_is_a_problem_document() {
    let post = Post::start();
    let alice = Customer::new(1);
    for path in ["/", "/v1", "/v1/stamps/", "/v2/stamps", "/w/token", "/p", "/p/", "/../etc/passwd"] {
        post.get(path).problem(404);
    }
    for (method, path, allow) in [
        ("GET", "/v1/stamps", "POST"),
        ("GET", "/v1/vouchers", "POST"),
        ("GET", "/v1/grants", "POST"),
        ("POST", "/v1/account", "GET,HEAD"),
        ("PUT", "/p/bob@b.example", "GET,HEAD,POST"),
    ] {
        let answer = alice.request(method, path, "").send(&post);
        answer.problem(405);
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    let head = alice.request("HEAD", "/v1/quote?to=bob@b.example", "").send(&post);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn the_page_says_what_is_asked_and_how_to_pay_it() {
    let post = Post::start();
    let answer = post.get_as("/p/bob@b.example", "text/html,*/*;q=0.8");
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // Where a command may be wrapped is no part of it.
    let shown = answer.body.replace("<span>", "").replace("</span>", "");
    for words in [
        "Your letter to bob@b.example needs a stamp of 0.25c",
        "0.0025 USD",
        "farthing wallet new",
        &format!("farthing buy b.example --count 10 --office {}", post.url()),
        "farthing stamp --to bob@b.example &lt; letter.eml",
        "hashcash -m -b 20 -X bob@b.example",
        "<html lang=\"en\">",
        "name=\"viewport\"",
        "<main ",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let scripts: Vec<&str> = answer.body.split("<script ").skip(1).collect();
    assert!(scripts[0].starts_with("type=\"module\" src=\"-/"), "its own, from a file");
    assert!(scripts[1].starts_with("type=\"text/html\" "), "words, which do not run");
    assert_eq!(scripts.len(), 2);
    assert!(!answer.body.contains("<style") && !answer.body.contains("style="));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
}

#[test]
fn the_page_reads_the_same_for_everyone_and_reflects_nothing_raw() {
    let post = Post::start();
    let page = |address: &str| {
        let answer = post.get(&format!("/p/{address}"));
        assert_eq!(answer.status, 200, "{address}");
        // What names the form is another each time.
        let (before, once) = answer.body.split_once("name=\"once\" value=\"").unwrap();
        // Where a command may be wrapped is no part of it.
        format!("{before}{}", once.split_once('"').unwrap().1).replace("<span>", "").replace("</span>", "")
    };
    let bob = page("bob@b.example");
    assert_eq!(bob, page("nobody@b.example").replace("nobody@", "bob@"));
    assert_eq!(bob, page("%62ob%40B.EXAMPLE"));
    assert_ne!(page("bob@b.example").find("bob"), None);

    let quoted = page("%22%3Cscript%3Ealert(1)%3C%2Fscript%3E%22@b.example");
    assert!(!quoted.contains("<script>") && quoted.contains("&#60;script&#62;"), "{quoted}");
    assert!(quoted.contains("farthing stamp --to ADDRESS &lt;"), "{quoted}");
    let shell = page("a%60reboot%60$(reboot)@b.example".replace("(reboot)", "%7Breboot%7D").as_str());
    assert!(!shell.contains("--to a`") && shell.contains("--to ADDRESS"), "{shell}");
    for address in ["bob@c.example", "bob", "bob@", "@b.example", "bob%0d%0aX:%201@b.example", "x"] {
        let detail = post.get(&format!("/p/{address}")).problem(404);
        assert!(!detail.contains("bob"), "{detail}");
        let for_people = post.get_as(&format!("/p/{address}"), "text/html");
        assert_eq!((for_people.status, for_people.header("content-type")), (404, "text/html; charset=utf-8"));
    }
}

#[test]
fn who_calls_too_often_is_told_when_to_come_again() {
    let limits = Limits { address: rate(1, 5), account: rate(1, 30), ..Limits::default() };
    let post = Post::with(limits, "");
    let alice = Customer::new(1);
    post.credit(&alice.account, "1.00");
    let behind = |client: &str| {
        let request = ureq::http::Request::get(format!("http://{}/v1/quote?to=bob@b.example", post.address))
            .header("X-Forwarded-For", format!("203.0.113.99, {client}"));
        Answer::of(post::agent().run(request.body(()).unwrap()).unwrap())
    };
    for _ in 0..5 {
        assert_eq!(behind("192.0.2.1").status, 200);
    }
    let answer = behind("192.0.2.1");
    assert!(answer.problem(429).contains("address"));
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(behind("192.0.2.2").status, 200, "another client of the same web server");
}

#[test]
fn an_account_that_orders_too_much_is_slowed_down_wherever_it_calls_from() {
    let limits = Limits { account: rate(1, 15), ..Limits::default() };
    let post = Post::with(limits, "");
    let (alice, bob) = (Customer::new(1), Customer::new(2));
    post.credit(&alice.account, "50.00");
    post.credit(&bob.account, "1.00");
    assert_eq!(alice.order(&order(0..1000)).send(&post).status, 200);
    let answer = alice.order(&order(1000..2000)).send(&post);
    assert!(answer.problem(429).contains("account"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 5);
    assert_eq!(bob.order(&order(2000..2001)).send(&post).status, 200);
    assert_eq!(post.account(&alice.account).balance.get(), 47_500_000);
}

#[test]
fn slow_and_silent_clients_lose_their_place_and_others_are_served_meanwhile() {
    let limits = Limits {
        header_time: Duration::from_millis(300),
        request_time: Duration::from_millis(600),
        connection_time: Duration::from_millis(900),
        connections: 8,
        ..Limits::default()
    };
    let post = Post::with(limits, "");
    let open = |sent: &[u8]| {
        let mut stream = TcpStream::connect(post.address).unwrap();
        stream.set_read_timeout(Some(post::PATIENCE)).unwrap();
        stream.write_all(sent).unwrap();
        stream
    };
    let rest = |mut stream: TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let silent: Vec<TcpStream> = (0..8).map(|_| open(b"")).collect();
    // All places are taken; whoever comes now is served when the silent ones are sent away.
    assert_eq!(post.get("/.well-known/postage").status, 200);
    for stream in silent {
        assert_eq!(rest(stream), "");
    }
    let half_a_header = open(b"GET /.well-known/postage HTTP/1.1\r\nHost: x\r\n");
    assert_eq!(rest(half_a_header), "");
    let half_a_body = open(b"POST /v1/stamps HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
    let answer = rest(half_a_body);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("problem+json"), "{answer}");
    let idle = open(b"GET /.well-known/postage HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(rest(idle).starts_with("HTTP/1.1 200 "), "and then it is closed");
    let huge_header = open(format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(60_000)).as_bytes());
    assert!(rest(huge_header).starts_with("HTTP/1.1 431 "));
    let nonsense = open(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS");
    assert!(rest(nonsense).starts_with("HTTP/1.1 400 "));
    assert_eq!(post.get("/.well-known/postage").status, 200);
}

#[test]
fn a_stop_finishes_the_request_in_hand_and_takes_no_other() {
    let mut post = Post::start();
    let mut half = TcpStream::connect(post.address).unwrap();
    half.set_read_timeout(Some(post::PATIENCE)).unwrap();
    let header = "POST /v1/stamps HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    half.write_all(header.as_bytes()).unwrap();
    // The office has the request in hand, and says so.
    let mut go_on = [0; 25];
    half.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut idle = TcpStream::connect(post.address).unwrap();
    idle.set_read_timeout(Some(post::PATIENCE)).unwrap();
    idle.write_all(b"GET /.well-known/postage HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let address = post.address;
    let stopped = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| post.stop());
        post::wait_until("the listener to close", || TcpStream::connect(address).is_err());
        half.write_all(b"{}").unwrap();
        let mut text = String::new();
        half.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
        stopping.join().unwrap()
    });
    assert!(stopped);
}
