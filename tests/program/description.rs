//! `GET /v1/openapi.json` is true: every route stands in it, and every answer it names is given and is as it says.

use std::{
    collections::BTreeSet,
    fs,
    num::NonZeroU32,
    os::unix::fs::PermissionsExt as _,
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use farthing::{
    clock::unix_now,
    keys::Keys,
    ledger::{Ledger as _, settings::Settings as _},
    office::{Limits, Rate, paths},
    stamp::tokens::{Token, Verb},
    voucher::Code,
    work,
};
use farthing_milter::client::Letter;
use ring::hmac;
use serde_json::{Value, json};

use crate::{
    post::{self, Answer, Customer, Post, order, wish},
    support::{ALICE, BOB, Site, World, block_on, result},
};

/// Methods that a description may name.
const METHODS: [&str; 6] = ["get", "put", "post", "delete", "patch", "options"];
const SECRET: &str = "whsec_a_secret_of_the_tests";
/// An order with its members in a form that is none.
const NOT_JSON: &str = "{";

/// The description, and which of its answers were seen.
struct Description {
    document: Value,
    seen: BTreeSet<(String, String, String)>,
}

impl Description {
    fn of(document: Value) -> Self {
        Self { document, seen: BTreeSet::new() }
    }

    /// Every operation: its path and method.
    fn operations(&self) -> Vec<(String, String)> {
        let mut operations = vec![];
        for (path, item) in self.document["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys().filter(|key| METHODS.contains(&key.as_str()));
            operations.extend(methods.map(|method| (path.clone(), method.clone())));
        }
        operations
    }

    /// Every answer that it names for itself.
    fn answers(&self) -> BTreeSet<(String, String, String)> {
        let mut answers = BTreeSet::new();
        for (path, method) in self.operations() {
            let said = self.document["paths"][&path][&method]["responses"].as_object().unwrap();
            let statuses = said.keys().filter(|status| *status != "default");
            answers.extend(statuses.map(|status| (path.clone(), method.clone(), status.clone())));
        }
        answers
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(name) => self.document.pointer(name.trim_start_matches('#')).expect(name),
            None => value,
        }
    }

    /// Whether a value is of a schema; the faults otherwise.
    fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut whole = json!({"components": self.document["components"]});
        whole.as_object_mut().unwrap().extend(schema.as_object().unwrap().clone());
        let validator = jsonschema::draft202012::new(&whole).unwrap();
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// The answer is one that the description names for this operation, and of the form it says.
    fn holds(&mut self, path: &str, method: &str, answer: &Answer) {
        let said = &self.document["paths"][path][method]["responses"];
        let status = answer.status.to_string();
        let what = format!("{method} {path} {status}");
        let named = said.get(&status).unwrap_or_else(|| panic!("{what} is not named: {answer:?}"));
        let named = self.resolved(named);
        for (name, field) in named.get("headers").and_then(Value::as_object).into_iter().flatten() {
            let value = answer.header(name);
            let value = match field["schema"]["type"].as_str() {
                Some("integer") if !value.is_empty() => json!(value.parse::<u64>().unwrap()),
                _ => json!(value),
            };
            if value != json!("") || field["required"] == true {
                assert_eq!(self.faults(&field["schema"], &value), Vec::<String>::new(), "{what} {name}");
            }
        }
        let kind = answer.header("content-type").split(';').next().unwrap();
        match named.get("content").and_then(Value::as_object) {
            None => assert_eq!(answer.body, "", "{what}"),
            Some(kinds) => {
                let content = kinds.get(kind).or_else(|| kinds.get("*/*"));
                let content = content.unwrap_or_else(|| panic!("{what}: {kind:?} is not named"));
                if kind.ends_with("json") {
                    let faults = self.faults(&content["schema"], &answer.json());
                    assert_eq!(faults, Vec::<String>::new(), "{what}: {}", answer.body);
                }
            }
        }
        self.seen.insert((path.to_owned(), method.to_owned(), status));
    }
}

fn fetch(request: ureq::http::request::Builder, body: &[u8]) -> Answer {
    Answer::of(post::agent().run(request.body(body).unwrap()).unwrap())
}

/// An office that grants, takes payments and work for passes, with what it takes to hear all its answers.
struct Stage {
    world: World,
    said: Description,
}

impl Stage {
    fn start() -> Self {
        let mut world = World::without_daemon(&Site::default());
        let lines = "keys = \"keys\"\ngrant = \"2.5c\"\ngrant_bits = 12\ngrant_daily = \"6c\"\n\
                     page_work_bits = 4\nstripe_secret_file = \"stripe.secret\"\n\
                     payment_url = \"https://pay.example/b\"\n";
        let config = fs::read_to_string(world.config_path()).unwrap();
        fs::write(world.config_path(), config.replace("keys = \"keys\"\n", lines)).unwrap();
        let secret = world.path("stripe.secret");
        fs::write(&secret, SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        world.start_daemon();
        let document =
            fetch(ureq::http::Request::get(format!("http://{}/v1/openapi.json", world.office)), b"");
        Self { world, said: Description::of(document.json()) }
    }

    fn ask(&self, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = format!("http://{}{target}", self.world.office);
        let request = ureq::http::Request::builder().method(method.to_uppercase().as_str()).uri(url);
        fetch(fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)), body)
    }

    /// Asks without a signature and holds the answer against the description.
    fn holds(&mut self, path: &str, method: &str, target: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(method, target, &[], body.as_bytes());
        self.said.holds(path, method, &answer);
        answer
    }

    /// The answers that every signed call gives to a request that is none.
    fn refuses(&mut self, customer: &Customer, method: &'static str, path: &'static str) {
        let answer = self.ask(method, path, &[], b"{}");
        self.said.holds(path, &method.to_lowercase(), &answer);
        if method == "POST" {
            for body in [NOT_JSON.as_bytes().to_vec(), vec![b' '; 300_000]] {
                let answer = customer.request(method, path, body).send_to(self.world.office);
                self.said.holds(path, "post", &answer);
            }
        }
    }
}

#[test]
fn every_route_is_described_and_every_description_is_routed() {
    let post = Post::start();
    let said = Description::of(post.get("/v1/openapi.json").json());
    assert_eq!(said.document["servers"], json!([{"url": post.url().trim_end_matches('/')}]));
    let description = post.get("/.well-known/postage").json();
    assert_eq!(description["openapi"], format!("{}v1/openapi.json", post.url()));

    let described: BTreeSet<String> = said.document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(described, paths().into_iter().collect(), "a path of the router, and one of the description");
    for path in &described {
        let target = path.replace('{', "x").replace('}', "");
        let request = ureq::http::Request::builder().method("TRACE");
        let answer = fetch(request.uri(format!("http://{}{target}", post.address)), b"");
        answer.problem(405);
        let allowed: BTreeSet<String> =
            answer.header("allow").split(',').filter(|m| *m != "HEAD").map(str::to_lowercase).collect();
        let operations = said.operations();
        let methods = operations.iter().filter(|(of, _)| of == path).map(|(_, method)| method.clone());
        assert_eq!(allowed, methods.collect(), "{path}");
    }
    let names: BTreeSet<&str> = said
        .operations()
        .iter()
        .map(|(path, method)| said.document["paths"][path][method]["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), said.operations().len(), "each operation has a name of its own");
}

#[test]
fn every_answer_that_is_described_is_given_and_is_as_described() {
    let mut stage = Stage::start();
    unsigned_calls(&mut stage);
    stamps(&mut stage);
    money(&mut stage);
    settlements(&mut stage);
    payments(&mut stage);
    page(&mut stage);
    links(&mut stage);
    too_many(&mut stage.said);
    let missing: Vec<_> = stage.said.answers().difference(&stage.said.seen).cloned().collect();
    assert_eq!(missing, [], "described and never seen");
}

fn unsigned_calls(stage: &mut Stage) {
    for path in ["/.well-known/postage", "/v1/openapi.json", "/p/voucher"] {
        stage.holds(path, "get", path, &Value::Null);
    }
    for query in ["?to=bob@b.example", "?to=bob@c.example", ""] {
        stage.holds("/v1/quote", "get", &format!("/v1/quote{query}"), &Value::Null);
    }
    let page = stage.ask("GET", "/p/bob@b.example", &[], b"").body;
    let file = page.split("\"-/").nth(1).unwrap().split('"').next().unwrap();
    let (route, target) = ("/p/-/{version}/{name}", format!("/p/-/{file}"));
    let answer = stage.holds(route, "get", &target, &Value::Null);
    let tag = answer.header("etag").to_owned();
    let unchanged = stage.ask("GET", &target, &[("If-None-Match", &tag)], b"");
    stage.said.holds(route, "get", &unchanged);
    stage.holds(route, "get", "/p/-/nothing/page.js", &Value::Null);
}

fn stamps(stage: &mut Stage) {
    let alice = Customer::new(1);
    let world = &stage.world;
    world.json(&["account", "credit", &alice.account, "1c"]);
    let mut other = order(0..2);
    other["value"] = json!(2501);
    for (wanted, status) in [(order(0..2), 200), (other, 409), (order(2..9), 402)] {
        assert_eq!(stage.said.faults(&json!({"$ref": "#/components/schemas/Order"}), &wanted), [""; 0]);
        let answer = alice.order(&wanted).send_to(world.office);
        assert_eq!(answer.status, status, "{answer:?}");
        stage.said.holds("/v1/stamps", "post", &answer);
    }
    stage.refuses(&alice, "POST", "/v1/stamps");
    stage.refuses(&alice, "GET", "/v1/account");
    let account = alice.request("GET", "/v1/account", "").send_to(stage.world.office);
    stage.said.holds("/v1/account", "get", &account);
    let ids = [[1_u8; 16], [2; 16]].map(|id| BASE64URL_NOPAD.encode(&id));
    let asked = json!({"stamps": ids});
    assert_eq!(stage.said.faults(&json!({"$ref": "#/components/schemas/Returns"}), &asked), [""; 0]);
    let answer = alice.request("POST", "/v1/returns", asked.to_string()).send_to(stage.world.office);
    assert_eq!(answer.json(), json!({"returned": []}));
    stage.said.holds("/v1/returns", "post", &answer);
    stage.refuses(&alice, "POST", "/v1/returns");
}

fn money(stage: &mut Stage) {
    let bob = Customer::new(2);
    let codes = stage.world.json(&["voucher", "issue", "--value", "5.00", "--count", "1"]);
    let office = stage.world.office;
    for code in [codes[0]["code"].clone(), codes[0]["code"].clone()] {
        let body = json!({"code": code}).to_string();
        for customer in [&bob, &Customer::new(3)] {
            let answer = customer.request("POST", "/v1/vouchers", body.clone()).send_to(office);
            stage.said.holds("/v1/vouchers", "post", &answer);
        }
    }
    stage.refuses(&bob, "POST", "/v1/vouchers");

    let resource = format!("{}@b.example", bob.account);
    let proof = work::mint(&resource, 12, unix_now(), work::all_cores(), &work::Progress::default()).unwrap();
    let asked = bob.request("POST", "/v1/grants", json!({"proof": proof}).to_string());
    stage.said.holds("/v1/grants", "post", &asked.send_to(office));
    stage.refuses(&bob, "POST", "/v1/grants");
    let none = Post::start();
    stage.said.holds("/v1/grants", "post", &asked.send(&none));
}

fn settlements(stage: &mut Stage) {
    let domain = Customer::new(5);
    stage.world.zone.txt("s1._postage.c.example", format!("v=postage1; k=ed25519; p={}", domain.account));
    for (audience, status) in [("c.example", 200), ("b.example", 403)] {
        let body = json!({"audience": audience, "s": "s1", "stamps": ["v=1"]});
        assert_eq!(stage.said.faults(&json!({"$ref": "#/components/schemas/Settlement"}), &body), [""; 0]);
        let answer = domain.request("POST", "/v1/settlements", body.to_string()).send_to(stage.world.office);
        assert_eq!(answer.status, status, "{answer:?}");
        stage.said.holds("/v1/settlements", "post", &answer);
    }
    stage.refuses(&domain, "POST", "/v1/settlements");
}

fn payments(stage: &mut Stage) {
    let path = "/v1/webhooks/{provider}";
    let event = json!({
        "id": "evt_1", "object": "event", "type": "checkout.session.completed",
        "data": {"object": {
            "id": "cs_1", "object": "checkout.session", "amount_total": 500, "currency": "usd",
            "client_reference_id": Customer::new(4).account, "payment_status": "paid",
        }},
    })
    .to_string();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("{time}.{event}").as_bytes());
    let signature = format!("t={time},v1={}", HEXLOWER.encode(tag.as_ref()));
    // The second time it is known; then it is nobody's, of no provider, and too large.
    let large = vec![b' '; 300_000];
    let table: [(&str, &str, &[u8], u16); 5] = [
        ("stripe", &signature, event.as_bytes(), 200),
        ("stripe", &signature, event.as_bytes(), 200),
        ("stripe", "t=1,v1=00", event.as_bytes(), 400),
        ("nobody", &signature, event.as_bytes(), 404),
        ("stripe", &signature, &large, 413),
    ];
    for (provider, signature, body, status) in table {
        let target = format!("/v1/webhooks/{provider}");
        let answer = stage.ask("POST", &target, &[("Stripe-Signature", signature)], body);
        assert_eq!(answer.status, status, "{answer:?}");
        stage.said.holds(path, "post", &answer);
    }
}

fn page(stage: &mut Stage) {
    let (path, here) = ("/p/{address}", "/p/bob@b.example");
    stage.holds(path, "get", here, &Value::Null);
    stage.holds(path, "get", "/p/bob@c.example", &Value::Null);
    let for_people = stage.ask("GET", "/p/bob@c.example", &[("Accept", "text/html")], b"");
    stage.said.holds(path, "get", &for_people);

    let terms = stage.holds(path, "post", here, &json!({"from": ALICE})).json();
    assert!(terms["challenge"]["text"].is_string(), "{terms}");
    stage.holds(path, "post", "/p/bob@c.example", &json!({"from": ALICE}));
    stage.holds(path, "post", here, &json!({"from": 1}));
    let large = stage.ask("POST", here, &[], &vec![b' '; 300_000]);
    stage.said.holds(path, "post", &large);
    let over = overdue_challenge(&stage.world);
    stage.holds(
        path,
        "post",
        here,
        &json!({"from": ALICE, "challenge": over, "nonces": [1, 2, 3, 4, 5, 6, 7, 8], "seal": 1}),
    );

    let bought = stage.world.buy(1).remove(0);
    let pass = stage.holds(path, "post", here, &json!({"from": ALICE, "stamp": bought.to(BOB, ALICE)}));
    assert_eq!(pass.json()["pass"], "paid");
    let spent = stage.world.buy(1).remove(0);
    let field = spent.to(BOB, ALICE);
    assert_eq!(result(&stage.world.send(&letter("1", &field))), "paid");
    let conflict = stage.holds(path, "post", here, &json!({"from": ALICE, "stamp": field}));
    assert_eq!(conflict.status, 409, "{conflict:?}");

    // As a form, for people without scripts.
    let code = |value: &str, world: &World| {
        let issued = world.json(&["voucher", "issue", "--value", value, "--count", "1"]);
        issued[0]["code"].as_str().unwrap().to_owned()
    };
    let (small, enough) = (code("0.1c", &stage.world), code("1c", &stage.world));
    let mut fill = |voucher: &str, status: u16| {
        let body = format!("from={ALICE}&voucher={voucher}&once=1");
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let answer = stage.ask("POST", here, &[kind], body.as_bytes());
        assert_eq!((answer.status, answer.header("content-type")), (status, "text/html; charset=utf-8"));
        stage.said.holds(path, "post", &answer);
    };
    fill("nonsense", 400);
    fill(&Code::from_random(&[7; 12]).to_text(), 404);
    fill(&small, 402);
    fill(&enough, 200);

    let trusting = Post::with_config("[identity]\ncheck = \"none\"\n");
    stage.said.holds(path, "post", &trusting.post(here, &json!({"from": ALICE})));
}

/// A challenge of this office that ended a second ago.
fn overdue_challenge(world: &World) -> String {
    let keys = fs::read_dir(world.config().keys_directory()).unwrap();
    let files = keys.map(|file| file.unwrap().path());
    let token = files.filter(|path| path.extension().is_some_and(|kind| kind == "token")).last().unwrap();
    let key = BASE64URL_NOPAD.decode(fs::read_to_string(token).unwrap().trim().as_bytes()).unwrap();
    let (over, bits, seed) = ((unix_now() - 1).to_be_bytes(), [4], [7; 16]);
    let mut hasher = blake3::Hasher::new_keyed(key[..].try_into().unwrap());
    for part in [b"postage-page-v1\0", BOB.as_bytes(), b"\0", ALICE.as_bytes(), b"\0", &over, &bits, &seed] {
        hasher.update(part);
    }
    let mac = hasher.finalize();
    BASE64URL_NOPAD.encode(&[&over[..], &bits, &seed, &mac.as_bytes()[..16]].concat())
}

fn letter(id: &str, stamp: &str) -> Letter {
    crate::support::letter(id).header("Postage-Stamp", stamp)
}

fn links(stage: &mut Stage) {
    let stamp = stage.world.buy(1).remove(0).to(BOB, ALICE);
    // The pass of the page would let it in else.
    assert_eq!(result(&stage.world.send(&letter("2", &stamp))), "paid");
    let keys = Keys::load(&stage.world.config().keys_directory()).unwrap();
    let mut number = None;
    crate::support::wait_until("the letter in the ledger", || {
        let strangers = block_on(async {
            let ledger = stage.world.ledger();
            let strangers = ledger.strangers(&BOB.parse().unwrap(), 0, 10).await.unwrap();
            ledger.close().await;
            strangers
        });
        number = strangers.into_iter().find_map(|letter| letter.postage).map(|postage| postage.number);
        number.is_some()
    });
    for (path, verb) in [("/u/{token}", Verb::LinkUnwanted), ("/w/{token}", Verb::LinkWanted)] {
        let token = Token::make(keys.tokens.last().unwrap(), verb, number.unwrap(), &BOB.parse().unwrap());
        for token in [token.to_string(), "a".repeat(32)] {
            for method in ["get", "post"] {
                stage.holds(path, method, &path.replace("{token}", &token), &Value::Null);
            }
        }
    }
}

/// Whoever calls too often hears so at every call, and when to come again.
fn too_many(said: &mut Description) {
    let once = Rate { per_s: NonZeroU32::MIN, burst: NonZeroU32::MIN };
    let post = Post::with(Limits { address: once, ..Limits::default() }, "");
    for (path, method) in said.operations() {
        let target = path.replace('{', "x").replace('}', "");
        let method = method.to_uppercase();
        // The bucket fills up again while we look at answers.
        let answer = std::iter::repeat_with(|| {
            let request = ureq::http::Request::builder().method(method.as_str());
            fetch(request.uri(format!("http://{}{target}", post.address)), b"")
        })
        .take(100)
        .find(|answer| answer.status == 429)
        .unwrap();
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        said.holds(&path, &method.to_lowercase(), &answer);
    }
}

#[test]
fn a_description_that_is_not_true_does_not_hold() {
    let mut said = Description::of(Post::start().get("/v1/openapi.json").json());
    let of = |schema: &str, value: Value| {
        !said.faults(&json!({"$ref": format!("#/components/schemas/{schema}")}), &value).is_empty()
    };
    assert!(of("Micros", json!(-1)) && of("Micros", json!(1.5)) && of("Micros", json!("1")));
    assert!(of("Key", json!("A".repeat(42))) && of("Domain", json!("b")) && of("Quote", json!({})));
    assert!(of("Order", json!({"audience": "b.example", "value": 2500, "stamps": []})));
    let mut wrong = wish(1);
    wrong["k"] = json!("x");
    assert!(of("Order", json!({"audience": "b.example", "value": 2500, "stamps": [wrong]})));
    said.document["paths"]["/v1/nothing"] = json!({"get": {"responses": {"200": {"description": ""}}}});
    assert!(said.answers().contains(&("/v1/nothing".into(), "get".into(), "200".into())));
}
