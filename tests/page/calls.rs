//! The page's calls, without a browser.

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64URL_NOPAD;
use farthing::{
    clock::unix_now,
    ledger::passes::{Means, Pass, Passes as _},
    stamp::{SecretKey, Stamp, Terms},
};
use serde_json::{Value, json};

use crate::post::{Customer, Post};

const PAGE: &str = "/p/bob@b.example";
const ALICE: &str = "alice@a.example";

/// Zero bits that the hash of these octets begins with, for a challenge.
fn bits(challenge: &Value, octets: &[u8], memory: &str) -> u64 {
    let salt = BASE64URL_NOPAD.decode(challenge["text"].as_str().unwrap().as_bytes()).unwrap();
    let memory_kib = u32::try_from(challenge[memory].as_u64().unwrap()).unwrap();
    let argon =
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory_kib, 1, 1, Some(16)).unwrap());
    let mut tag = [0; 16];
    argon.hash_password_into(octets, &salt, &mut tag).unwrap();
    u64::from(u128::from_be_bytes(tag).leading_zeros())
}

/// The numbers that solve a challenge, found as SPEC has no word on it: by what the page does.
fn solved(challenge: &Value) -> Vec<u64> {
    let solves = |puzzle: u8, number: u64| {
        let octets = [&[puzzle][..], &number.to_be_bytes()].concat();
        bits(challenge, &octets, "memory_kib") >= challenge["bits"].as_u64().unwrap()
    };
    let puzzles = u8::try_from(challenge["puzzles"].as_u64().unwrap()).unwrap();
    (0..puzzles).map(|puzzle| (0..).find(|n| solves(puzzle, *n)).unwrap()).collect()
}

/// The number that seals these, or the first that does not.
fn seal(challenge: &Value, nonces: &[u64], good: bool) -> u64 {
    let before: Vec<u8> = nonces.iter().flat_map(|number| number.to_be_bytes()).collect();
    let seals = |number: &u64| {
        let octets = [&before[..], &number.to_be_bytes()].concat();
        bits(challenge, &octets, "seal_memory_kib") >= challenge["seal_bits"].as_u64().unwrap()
    };
    (0..).find(|number| seals(number) == good).unwrap()
}

fn passes(post: &Post, from: &str, to: &str) -> Vec<Pass> {
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    post.runtime.block_on(post.ledger.passes(&from, &to, unix_now())).unwrap()
}

#[test]
fn work_gets_a_pass_for_one_letter() {
    let post = Post::start();
    let terms = post.post(PAGE, &json!({"from": "Alice@A.example"})).json();
    assert_eq!((&terms["from"], &terms["to"]), (&json!(ALICE), &json!("bob@b.example")));
    assert_eq!((&terms["price"], &terms["currency"]), (&json!(2500), &json!("USD")));
    let challenge = &terms["challenge"];
    assert_eq!((&challenge["puzzles"], &challenge["bits"]), (&json!(8), &json!(1)));
    assert_eq!((&challenge["seal_memory_kib"], &challenge["seal_bits"]), (&json!(256), &json!(3)));
    let nonces = solved(challenge);
    let seal = seal(challenge, &nonces, true);
    let solution = json!({"from": ALICE, "challenge": challenge["text"], "nonces": nonces, "seal": seal});
    let pass = post.post(PAGE, &solution).json();
    assert_eq!((&pass["pass"], &pass["from"]), (&json!("work"), &json!(ALICE)));
    let until = pass["until"].as_u64().unwrap();
    assert!((7 * 86_400 - 60..=7 * 86_400).contains(&(until - unix_now())), "{until}");
    assert_eq!(post.post(PAGE, &solution).json(), pass, "the same again is the same pass");
    let made = passes(&post, ALICE, "bob@b.example");
    assert_eq!(made.iter().map(|pass| &pass.means).collect::<Vec<_>>(), [&Means::Work]);

    // A solution is for its two alone.
    let other = |change: Value| {
        let mut changed = solution.clone();
        changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        changed
    };
    assert!(post.post("/p/eve@b.example", &solution).problem(400).contains("for another letter"));
    let from = post.post(PAGE, &other(json!({"from": "mallory@a.example"})));
    assert!(from.problem(400).contains("for another letter"));
    assert!(passes(&post, "mallory@a.example", "bob@b.example").is_empty());
}

#[test]
fn what_solves_nothing_gets_nothing() {
    let post = Post::with_config("page_work_bits = 24\n");
    let challenge = post.post(PAGE, &json!({"from": ALICE})).json()["challenge"].clone();
    let text = challenge["text"].as_str().unwrap();
    let with = |members: Value| {
        let mut question = json!({"from": ALICE});
        question.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        post.post(PAGE, &question)
    };
    for (members, words) in [
        (json!({"challenge": text, "nonces": [1, 2, 3], "seal": 1}), "a solution is 8 whole numbers"),
        (json!({"challenge": text, "nonces": [1, 2, 3, 4, 5, 6, 7, -8]}), "not the JSON of this call"),
        (json!({"challenge": text, "nonces": [1, 2, 3, 4, 5, 6, 7, 1e40]}), "not the JSON of this call"),
        (json!({"challenge": text}), "send challenge"),
        (json!({"nonces": [1, 2, 3, 4, 5, 6, 7, 8]}), "send challenge"),
        (json!({"challenge": text, "nonces": [], "seal": 1, "stamp": ""}), "send challenge"),
        (json!({"challenge": text, "nonces": [1, 2, 3, 4, 5, 6, 7, 8]}), "send challenge, nonces and seal"),
        (json!({"seal": 1}), "send challenge"),
        (json!({"challenge": "", "nonces": [1, 2, 3, 4, 5, 6, 7, 8], "seal": 1}), "not of this office"),
        (
            json!({"challenge": text.to_lowercase(), "nonces": [1, 2, 3, 4, 5, 6, 7, 8], "seal": 1}),
            "not of this office",
        ),
        (json!({"stamp": "nonsense"}), "tag"),
        (json!({"from": "alice"}), "alice"),
        (json!({"from": "alice@a.example\r\nX: 1"}), ""),
        (json!({"from": 1}), "not the JSON of this call"),
    ] {
        let detail = with(members.clone()).problem(400);
        assert!(detail.contains(words), "{members}: {detail}");
    }
    assert!(passes(&post, ALICE, "bob@b.example").is_empty());
}

/// Numbers that solve no puzzle of the difficulty they are brought for.
const WRONG: [u64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

#[test]
fn what_a_false_solution_costs_the_office_costs_its_maker_more() {
    let post = Post::with_config("page_work_bits = 24\n");
    let challenge = || post.post(PAGE, &json!({"from": ALICE})).json()["challenge"].clone();
    let bring = |challenge: &Value, seal: u64, client: &str| {
        let question = json!({"from": ALICE, "challenge": challenge["text"], "nonces": WRONG, "seal": seal});
        post.post_from(PAGE, &question, client)
    };
    // Without a seal nothing is hashed, from however many networks it comes, and nothing is counted.
    let first = challenge();
    let unsealed = seal(&first, &WRONG, false);
    for n in 0..40 {
        let detail = bring(&first, unsealed, &format!("192.0.{n}.7")).problem(400);
        assert!(detail.contains("not sealed"), "{detail}");
    }
    // A seal is good for two looks, whoever brings it.
    let sealed = seal(&first, &WRONG, true);
    let said = |n| bring(&first, sealed, &format!("198.51.{n}.7")).problem(400);
    let looks = (0..20).filter(|n| said(*n).contains("do not solve")).count();
    assert_eq!(looks, 2);
    // And one client is slowed down.
    let mut said = vec![];
    for _ in 0..12 {
        let challenge = challenge();
        let answer = bring(&challenge, seal(&challenge, &WRONG, true), "203.0.113.9");
        said.push(answer.status);
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty());
            break;
        }
        assert!(answer.problem(400).contains("do not solve"));
    }
    assert!(said.contains(&429) && said.len() > 5, "{said:?}");
    assert!(passes(&post, ALICE, "bob@b.example").is_empty());
}

/// A stamp that a customer bought, and its holder's key.
fn bought(post: &Post, alice: &Customer, id: u8) -> (Stamp, SecretKey) {
    let holder = SecretKey::from_seed(&[id; 32]);
    let (id, k) = ([id; 16], holder.public().to_bytes());
    let stamps = json!([{"id": BASE64URL_NOPAD.encode(&id), "k": BASE64URL_NOPAD.encode(&k)}]);
    let order = json!({"audience": "b.example", "value": 2500, "stamps": stamps});
    let sold = alice.order(&order).send(post).json();
    let terms = Terms {
        office: "b.example".parse().unwrap(),
        selector: sold["s"].as_str().unwrap().parse().unwrap(),
        id,
        value: "0.25c".parse().unwrap(),
        currency: "USD".parse().unwrap(),
        audience: "b.example".parse().unwrap(),
        expiry: sold["x"].as_u64().unwrap(),
        holder: k,
    };
    let b = BASE64URL_NOPAD.decode(sold["b"][0].as_str().unwrap().as_bytes()).unwrap();
    (Stamp { terms, signature: b.try_into().unwrap() }, holder)
}

#[test]
fn a_stamp_gets_a_pass_for_the_letter_it_was_written_out_for() {
    let post = Post::start();
    let alice = Customer::new(1);
    post.credit(&alice.account, "1c");
    let (stamp, holder) = bought(&post, &alice, 5);
    let written = |stamp: &Stamp, to: &str, from: &str| {
        let (to, from) = (to.parse().unwrap(), from.parse().unwrap());
        holder.cancel(stamp.clone(), &to, &from, unix_now()).unwrap().to_field_value()
    };
    let field = written(&stamp, "bob@b.example", ALICE);
    let question = json!({"from": ALICE, "stamp": field});
    let pass = post.post(PAGE, &question).json();
    assert_eq!(pass["pass"], "paid");
    assert_eq!(post.post(PAGE, &question).json(), pass, "the same again");
    assert_eq!(passes(&post, ALICE, "bob@b.example")[0].means, Means::Stamp(field.clone().into_bytes()));
    assert_eq!(post.account(&alice.account).outstanding.get(), 2_500, "it is not redeemed yet");

    let refused = |to: &str, from: &str, field: &str| {
        let target = format!("/p/{to}");
        let detail = post.post(&target, &json!({"from": from, "stamp": field}));
        let status = detail.status;
        (status, detail.problem(status))
    };
    let table = [
        (400, "wrong-sender", refused("bob@b.example", "mallory@a.example", &field)),
        (400, "wrong-recipient", refused("eve@b.example", ALICE, &field)),
        (400, "wrong-audience", refused("bob@bb.example", ALICE, &field)),
    ];
    for (status, word, (said, detail)) in table {
        assert!(said == status && detail.ends_with(word), "{word}: {said} {detail}");
    }
    let mut forged = stamp.clone();
    forged.terms.value = "0.5c".parse().unwrap();
    let (status, detail) = refused("bob@b.example", ALICE, &written(&forged, "bob@b.example", ALICE));
    assert!(status == 400 && detail.ends_with("bad-signature"), "{status} {detail}");
    let (_, detail) = refused("bob@b.example", ALICE, &field.replace("n=2500", "n=2499"));
    assert!(detail.ends_with("underpaid"), "{detail}");

    // Signed by the office's key, but never sold.
    let key = post.keys();
    let key = key.signing().unwrap();
    let unsold = key.secret.sell(Terms { id: [6; 16], ..stamp.terms.clone() }).unwrap();
    let (status, detail) = refused("bob@b.example", ALICE, &written(&unsold, "bob@b.example", ALICE));
    assert!(status == 409 && detail.ends_with("unsold"), "{status} {detail}");
    post.proof();
}

#[test]
fn nobody_learns_who_reads_mail_here() {
    let post = Post::start();
    let shape = |to: &str| {
        let mut answer = post.post(&format!("/p/{to}"), &json!({"from": ALICE})).json();
        assert_eq!(answer["to"].take(), to);
        answer["challenge"]["text"].take();
        answer["challenge"]["expires"].take();
        answer
    };
    assert_eq!(shape("bob@b.example"), shape("nobody-at-all@b.example"));
    for target in ["/p/bob@c.example", "/p/bob", "/p/"] {
        post.post(target, &json!({"from": ALICE})).problem(404);
    }
}

#[test]
fn a_site_may_take_no_work_or_give_no_pass_at_all() {
    let money_only = Post::with_config("page_work_bits = 0\n");
    let terms = money_only.post(PAGE, &json!({"from": ALICE})).json();
    assert_eq!(terms["challenge"], Value::Null);
    let page = money_only.get(PAGE).body;
    assert!(page.contains("id=\"pay\"") && !page.contains("id=\"work\""), "{page}");

    // Where nobody's authentication is looked at, a pass would never count.
    let blind = Post::with_config("[identity]\ncheck = \"none\"\n");
    assert!(blind.post(PAGE, &json!({"from": ALICE})).problem(403).contains("cannot tell who sent"));
    let page = blind.get(PAGE).body;
    assert!(page.contains("cannot tell whether a letter really is from its sender"), "{page}");
    assert!(!page.contains("<form") && page.contains("farthing stamp <span>--to bob@b.example"), "{page}");
}

#[test]
fn the_page_speaks_the_readers_language() {
    let post = Post::start();
    let german = post.get_with(PAGE, "Accept-Language", "de-AT,de;q=0.9,en;q=0.5");
    assert!(german.body.contains("<html lang=\"de\">"));
    assert!(
        german.body.contains("Ihr Brief an bob@b.example braucht eine Marke zu 0.25c"),
        "{}",
        german.body
    );
    assert!(german.body.contains("0.25c (0,0025 USD)"), "{}", german.body);
    assert_eq!(
        (german.header("content-language"), german.header("vary")),
        ("de", "Accept-Language, Accept-Encoding")
    );
    let chosen = post.get_with(&format!("{PAGE}?lang=en"), "Accept-Language", "de");
    assert!(chosen.body.contains("Your letter to bob@b.example needs a stamp of 0.25c"));
    let elsewhere = post.get_with("/p/bob@c.example", "Accept", "text/html");
    assert_eq!(elsewhere.status, 404);
    assert!(elsewhere.body.contains("Not an address of this office"));
}

#[test]
fn the_files_of_the_page_are_small_and_kept_for_ever() {
    let post = Post::start();
    let page = post.get(PAGE);
    let path = page.body.split("href=\"-/").nth(1).unwrap().split("page.css").next().unwrap();
    let at = |name: &str| format!("/p/-/{path}{name}");
    let mut loaded = page.body.len();
    for (name, kind) in [
        ("page.css", "text/css; charset=utf-8"),
        ("page.js", "text/javascript; charset=utf-8"),
        ("work.js", "text/javascript; charset=utf-8"),
        ("purse.js", "text/javascript; charset=utf-8"),
        ("vendor/argon2id.js", "text/javascript; charset=utf-8"),
        ("vendor/noble.js", "text/javascript; charset=utf-8"),
        ("vendor/LICENSES", "text/plain; charset=utf-8"),
    ] {
        let file = post.get(&at(name));
        assert_eq!((file.status, file.header("content-type")), (200, kind), "{name}");
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
        if name.starts_with("page.") {
            loaded += file.body.len();
        }
        let again = post.get_with(&at(name), "If-None-Match", file.header("etag"));
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{name}");
    }
    let packed = |target: &str| post.get_packed(target);
    for target in [PAGE, &at("page.js"), &at("vendor/noble.js")] {
        let (octets, plain) = (packed(target), post.get(target).body.len());
        assert!(octets * 2 < plain, "{target}: {octets} of {plain} octets");
    }
    assert!(loaded < 30_000, "the page and what it loads: {loaded} octets");
    post.get(&at("nothing.js")).problem(404);
    post.get(&at("../page.js")).problem(404);
    post.get("/p/-/aaaaaaaaaaaaaaaa/page.js").problem(404);
}

#[test]
fn the_page_says_where_to_pay_and_programs_are_told_too() {
    let post = Post::with_config("payment_url = \"https://pay.example/b?a=1&b=2\"\ngrant = \"2.5c\"\n");
    let page = post.get(PAGE).body;
    let link = "<a id=\"payment\" class=\"button\" data-before=\"https://pay.example/b?a=1&#38;b=2&#38;client_reference_id=\" \
                target=\"_blank\" rel=\"noopener noreferrer\">";
    assert!(page.contains(link), "{page}");
    assert!(page.contains("farthing topup --work <span>--office"), "{page}");
    assert_eq!(post.get("/.well-known/postage").json()["payment"], "https://pay.example/b?a=1&b=2");

    let without = Post::start();
    let page = without.get(PAGE).body;
    assert!(!page.contains("id=\"payment\"") && !page.contains("topup --work"), "{page}");
    assert_eq!(without.get("/.well-known/postage").json().get("payment"), None);
}

#[test]
fn what_kind_of_problem_it_is_stands_in_a_word_that_does_not_change() {
    let post = Post::start();
    let customer = Customer::new(3);
    let voucher = |code: &str| {
        let body = json!({"code": code}).to_string();
        customer.request("POST", "/v1/vouchers", body).send(&post).json()["code"].clone()
    };
    assert_eq!(voucher("nonsense"), "voucher-mistyped");
    let never = farthing::voucher::Code::from_random(&[9; 12]).to_text();
    assert_eq!(voucher(&never), "voucher-worthless");
    let ask = |question: Value| post.post(PAGE, &question).json()["code"].clone();
    assert_eq!(ask(json!({"from": "alice"})), "address-unfit");
    assert_eq!(
        ask(json!({"from": ALICE, "challenge": "x", "nonces": [1, 2, 3, 4, 5, 6, 7, 8], "seal": 1})),
        "work-unfit"
    );
    assert_eq!(ask(json!({"from": ALICE, "challenge": "x"})), Value::Null, "no page sends this");
}
