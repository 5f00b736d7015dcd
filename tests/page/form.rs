//! The page's form, for who runs no scripts: a voucher pays for one letter.

use farthing::{
    clock::unix_now,
    ledger::{
        funding::{Funding as _, NewVouchers, VoucherState},
        passes::{Means, Passes as _},
    },
    voucher::Code,
};
use serde_json::json;

use crate::post::{Answer, Customer, Post, agent};

pub const PAGE: &str = "/p/bob@b.example";
const ALICE: &str = "alice@a.example";

/// A voucher's code, of this value.
fn voucher(post: &Post, seed: u8, value: &str) -> String {
    let code = Code::from_random(&[seed; 12]);
    let new = NewVouchers {
        now: unix_now(),
        value: value.parse().unwrap(),
        expiry: None,
        memo: String::new(),
        codes: vec![code.hash()],
    };
    post.runtime.block_on(post.ledger.voucher_issue(new)).unwrap();
    code.to_text().to_string()
}

/// What names the form on a page.
pub fn once(page: &str) -> &str {
    page.split("name=\"once\" value=\"").nth(1).unwrap().split('"').next().unwrap()
}

/// Sends a form as a browser does.
pub fn send(url: &str, fields: &[(&str, &str)], client: &str) -> Answer {
    let request = ureq::http::Request::post(url)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("X-Forwarded-For", client);
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    Answer::of(agent().run(request.body(body.join("&")).unwrap()).unwrap())
}

fn post_form(post: &Post, path: &str, fields: &[(&str, &str)]) -> Answer {
    send(&format!("http://{}{path}", post.address), fields, "192.0.2.7")
}

/// It is a page of this status that says this.
#[track_caller]
fn says(answer: &Answer, status: u16, words: &str) {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, "text/html; charset=utf-8"),
        "{answer:?}"
    );
    assert!(answer.body.contains(words), "{}", answer.body);
}

fn passes(post: &Post) -> usize {
    let (from, to) = (ALICE.parse().unwrap(), "bob@b.example".parse().unwrap());
    let made = post.runtime.block_on(post.ledger.passes(&from, &to, unix_now())).unwrap();
    assert!(made.iter().all(|pass| matches!(pass.means, Means::Stamp(_))));
    made.len()
}

#[test]
fn a_voucher_pays_for_letters_until_it_is_used_up() {
    let post = Post::start();
    let code = voucher(&post, 1, "0.6c");
    let empty = post.get(PAGE);
    assert!(empty.body.contains("<form method=\"post\""));
    let first = once(&empty.body);
    let fields = |once| [("from", " Alice@A.example"), ("voucher", &*code), ("amount", ""), ("once", once)];
    let paid = post_form(&post, PAGE, &fields(first));
    says(&paid, 200, "One letter from alice@a.example to bob@b.example is let in until ");
    says(&paid, 200, "It still holds 0.35c.");
    says(&paid, 200, "Postage-Stamp: v=1; i=b.example;");
    assert!(!paid.body.contains(&code) && paid.header("cache-control") == "no-store");
    assert_eq!(passes(&post), 1);

    says(&post_form(&post, PAGE, &fields(first)), 200, "It still holds 0.35c.");
    assert_eq!(passes(&post), 1, "the same form again is the same letter");

    let second = post.get(PAGE).body;
    assert_ne!(once(&second), first);
    says(&post_form(&post, PAGE, &fields(once(&second))), 200, "It still holds 0.1c.");
    assert_eq!(passes(&post), 2);

    let third = post_form(&post, PAGE, &fields("third"));
    says(&third, 402, "Only 0.1c are there; 0.25c are needed.");
    says(&third, 402, "value=\"Alice@A.example\"");
    assert!(!third.body.contains("<script"), "nothing runs over what is to be read");
    assert_eq!(passes(&post), 2);
    post.proof();
}

/// Fields of a form with these codes.
fn with_codes<'a>(codes: &[&'a str], once: &'a str) -> Vec<(&'a str, &'a str)> {
    let codes = codes.iter().map(|code| ("voucher", *code));
    [("from", ALICE), ("once", once), ("amount", "1.5c")].into_iter().chain(codes).collect()
}

#[test]
fn small_vouchers_pay_together_and_nothing_is_lost() {
    let post = Post::start();
    let [first, second, third] = [1, 2, 3].map(|seed| voucher(&post, seed, "1c"));
    let pay = |codes: &[&str], once| post_form(&post, PAGE, &with_codes(codes, once));
    let open = || {
        let all = post.runtime.block_on(post.ledger.voucher_list(10)).unwrap();
        all.iter().filter(|voucher| voucher.state == VoucherState::Open).count()
    };
    // One after the other, as people try them.
    for code in [&*first, &second] {
        let short = pay(&[code], "a");
        says(&short, 402, "Only 1c are there; 1.5c are needed.");
        says(&short, 402, "Another voucher code");
        assert_eq!(short.body.matches("name=\"voucher\"").count(), 2, "a field for one more");
    }
    says(&pay(&[&first, &first], "a"), 402, "Only 1c are there");
    assert_eq!(open(), 3, "vouchers that are too little are not touched");

    let paid = pay(&[&first, "", &second], "a");
    says(&paid, 200, &format!("on the code that begins with {};", &first[..5]));
    says(&paid, 200, "It still holds 0.5c.");
    says(&pay(&[&first, "", &second], "a"), 200, "It still holds 0.5c.");
    assert_eq!((passes(&post), open()), (1, 1), "the same form again is the same letter");

    // What is left goes on paying, from whichever code it is on; one that is empty does no harm.
    says(&pay(&[&first], "b"), 402, "Only 0.5c are there");
    says(&pay(&[&second, &first], "b"), 402, "Only 0.5c are there");
    let alone = post_form(&post, PAGE, &[("from", ALICE), ("once", "b"), ("voucher", &third)]);
    says(&alone, 200, "It still holds 0.75c.");
    let fourth = voucher(&post, 4, "0.25c");
    says(&pay(&[&third, &first, &fourth, &second], "c"), 200, "the code that begins with");
    assert_eq!((passes(&post), open()), (3, 0));
    says(&pay(&[&first], "d"), 402, "Only 0c are there");

    // Somebody else's does not help, and the form says which it is.
    let mallory = Customer::new(3);
    let fifth = voucher(&post, 5, "2c");
    let used = mallory.request("POST", "/v1/vouchers", json!({"code": fifth}).to_string()).send(&post);
    assert_eq!(used.status, 200, "{used:?}");
    let refused = pay(&[&first, &fifth], "d");
    says(&refused, 404, "This code is worth nothing here");
    let field = refused.body.split("<input").find(|field| field.contains(&*fifth)).unwrap();
    assert!(field.contains("aria-invalid=\"true\""), "{field}");
    post.proof();
}

#[test]
fn what_is_left_on_a_code_is_taken_wherever_codes_are() {
    let post = Post::start();
    let code = voucher(&post, 1, "1c");
    let fields = [("from", ALICE), ("voucher", &*code), ("once", "a")];
    says(&post_form(&post, PAGE, &fields), 200, "It still holds 0.75c.");
    let alice = Customer::new(4);
    let bring =
        |who: &Customer| who.request("POST", "/v1/vouchers", json!({"code": code}).to_string()).send(&post);
    assert_eq!(bring(&alice).json(), json!({"credited": 7_500, "balance": 7_500}));
    bring(&Customer::new(5)).problem(404);
    bring(&alice).problem(404);
    says(
        &post_form(&post, PAGE, &[("from", ALICE), ("voucher", &*code), ("once", "b")]),
        402,
        "Only 0c are there",
    );
    post.proof();
}

#[test]
fn what_is_wrong_with_a_form_stands_on_the_page() {
    let post = Post::start();
    let code = voucher(&post, 1, "5.00");
    let german = format!("{PAGE}?lang=de");
    let with = |name: &str, value: &str, path: &str| {
        let mut fields = vec![("from", ALICE), ("voucher", &*code), ("amount", ""), ("once", "once")];
        fields.retain(|field| field.0 != name);
        fields.push((name, value));
        post_form(&post, path, &fields)
    };
    says(&with("from", "<alice>\"", PAGE), 400, "This is not an address.");
    says(&with("from", "<alice>\"", PAGE), 400, "value=\"&#60;alice&#62;&#34;\"");
    says(&with("from", "alice", &german), 400, "Das ist keine Adresse.");
    says(&with("amount", "0.2c", PAGE), 400, "at least 0.25c");
    says(&with("amount", "11c", PAGE), 400, "cannot be worth that much here");
    says(&with("voucher", "nonsense", PAGE), 400, "This is no voucher code");
    says(&with("voucher", "", PAGE), 400, "20 letters and digits");
    says(&with("voucher", "nonsense", &german), 400, "Das ist kein Gutscheincode");
    says(&with("once", "", PAGE), 400, "load the page again");
    says(&with("once", &"x".repeat(65), PAGE), 400, "load the page again");
    let never = Code::from_random(&[9; 12]).to_text().to_string();
    says(&with("voucher", &never, PAGE), 404, "This code is worth nothing here");
    says(&with("voucher", &never, &german), 404, "Dieser Code ist hier nichts wert");
    assert_eq!(passes(&post), 0);

    // Somebody else has it already.
    let mallory = Customer::new(3);
    let used = mallory.request("POST", "/v1/vouchers", json!({"code": code}).to_string()).send(&post);
    assert_eq!(used.status, 200, "{used:?}");
    says(&with("from", ALICE, PAGE), 404, "This code is worth nothing here");
    assert_eq!(post.account(&mallory.account).balance.to_string(), "500c");

    let elsewhere = post_form(&post, "/p/bob@c.example", &[("from", ALICE)]);
    assert_eq!(elsewhere.status, 404);
    let large = [("from", "x")].repeat(100_000);
    assert_eq!(post_form(&post, PAGE, &large).status, 413);
    let blind = Post::with_config("[identity]\ncheck = \"none\"\n");
    assert_eq!(post_form(&blind, PAGE, &[("from", ALICE)]).status, 403);
    post.proof();
}

#[test]
fn codes_are_guessed_no_faster_than_by_the_call_and_nobody_learns_who_reads_mail() {
    let post = Post::start();
    let shape = |to: &str| {
        let page = post.get(&format!("/p/{to}")).body;
        let name = once(&page).to_owned();
        page.replace(to, "TO").replace(&name, "ONCE")
    };
    assert_eq!(shape("bob@b.example"), shape("nobody-at-all@b.example"));
    let mut said = vec![];
    for seed in 0..30 {
        let code = Code::from_random(&[seed; 12]).to_text().to_string();
        let to = if seed % 2 == 0 { PAGE } else { "/p/nobody@b.example" };
        let answer = post_form(&post, to, &[("from", ALICE), ("voucher", &code), ("once", "x")]);
        said.push(answer.status);
        if answer.status == 429 {
            says(&answer, 429, "too many tries");
            assert!(!answer.header("retry-after").is_empty());
            break;
        }
        says(&answer, 404, "This code is worth nothing here");
    }
    assert!((20..26).contains(&said.len()) && said.last() == Some(&429), "{said:?}");
    let customer = Customer::new(4);
    let code = Code::from_random(&[77; 12]).to_text().to_string();
    let mut call = customer.request("POST", "/v1/vouchers", json!({"code": code}).to_string());
    call.client = Some("192.0.2.7".into());
    assert_eq!(call.send(&post).status, 429, "the same count");
}
