//! The links of a digest at the office's door: who follows one changes nothing, who presses the button does.

use farthing::{
    keys::Keys,
    ledger::settings::{Settings as _, StrangerLetter},
    stamp::tokens::{Token, Verb},
};

use crate::support::{ALICE, BOB, Site, World, block_on, result, stamped};

const ESCROW: &str = "escrow:b.example";

/// Brings Bob a letter with a stamp, and gives what the ledger says of it.
fn paid(world: &World) -> StrangerLetter {
    let stamp = world.buy(1).remove(0);
    assert_eq!(result(&world.send(&stamped(&stamp, "1"))), "paid");
    let mut found = None;
    crate::support::wait_until("the letter in the ledger", || {
        found = block_on(async {
            let ledger = world.ledger();
            ledger.strangers(&BOB.parse().unwrap(), 0, 10).await.unwrap().into_iter().next()
        });
        found.is_some()
    });
    found.unwrap()
}

fn token(world: &World, verb: Verb, letter: &StrangerLetter) -> String {
    let keys = Keys::load(&world.config().keys_directory()).unwrap();
    let number = letter.postage.as_ref().unwrap().number;
    Token::make(keys.tokens.last().unwrap(), verb, number, &letter.recipient).to_string()
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn ask(world: &World, method: &str, path: &str) -> Answer {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(world.office).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        world.office
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer { status: head[9..12].parse().unwrap(), head: head.to_ascii_lowercase(), body: body.into() }
}

#[test]
fn following_a_link_asks_and_the_button_does() {
    let world = World::start(&Site::default());
    let letter = paid(&world);
    let wanted = format!("/w/{}", token(&world, Verb::LinkWanted, &letter));
    for method in ["GET", "HEAD"] {
        let page = ask(&world, method, &wanted);
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.head.contains("form-action 'self'") && page.head.contains("default-src 'none'"));
        assert!(page.head.contains("cache-control: no-store") && page.head.contains("no-referrer"));
    }
    let page = ask(&world, "GET", &wanted).body;
    assert!(
        page.contains(ALICE) && page.contains("0.25c") && page.contains("<form method=\"post\">"),
        "{page}"
    );
    assert!(!page.contains(BOB), "it does not say whose it is: {page}");
    assert_eq!(world.balance(ESCROW), 2_500, "a program that looks at links marks nothing");

    let done = ask(&world, "POST", &wanted);
    assert_eq!(done.status, 200);
    assert!(
        done.body.contains("The postage of 0.25c has gone back") && done.body.contains("without postage")
    );
    assert_eq!(world.balance(ESCROW), 0);
    let known = world.json(&["known", "list", "--for", BOB]);
    assert_eq!((&known[0]["sender"], &known[0]["how"]), (&ALICE.into(), &"wanted".into()), "{known}");

    let again = ask(&world, "POST", &wanted);
    assert!(
        again.status == 200 && again.body.contains("had gone back to the sender before"),
        "{}",
        again.body
    );
    assert!(ask(&world, "GET", &wanted).body.contains("has been given back"));
    assert_eq!(world.balance(ESCROW), 0);
    world.books_balance();
    assert!(world.log().contains("marked by a link"));
}

#[test]
fn unwanted_makes_a_sender_a_stranger_again_and_may_turn_to_wanted() {
    let world = World::start(&Site::default());
    let letter = paid(&world);
    let unwanted = format!("/u/{}", token(&world, Verb::LinkUnwanted, &letter));
    assert!(world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    assert_eq!(ask(&world, "GET", &unwanted).status, 200);
    assert_eq!(world.json(&["known", "list", "--for", BOB]).as_array().unwrap().len(), 1);
    for _ in 0..2 {
        let done = ask(&world, "POST", &unwanted);
        assert!(done.status == 200 && done.body.contains("is not given back"), "{}", done.body);
        assert_eq!(world.json(&["known", "list", "--for", BOB]), serde_json::json!([]));
    }
    assert_eq!(world.balance(ESCROW), 2_500);
    let wanted = format!("/w/{}", token(&world, Verb::LinkWanted, &letter));
    assert!(ask(&world, "GET", &wanted).body.contains("has been marked as unwanted"));
    assert_eq!(ask(&world, "POST", &wanted).status, 200);
    assert_eq!(world.balance(ESCROW), 0);
}

#[test]
fn what_is_no_token_of_this_link_is_told_nothing() {
    let world = World::start(&Site::default());
    let letter = paid(&world);
    let of = |verb| token(&world, verb, &letter);
    let key = farthing::stamp::tokens::TokenKey::new([7; 32]);
    let forged =
        Token::make(&key, Verb::LinkWanted, letter.postage.as_ref().unwrap().number, &letter.recipient);
    let unsold = Token::make(&key, Verb::LinkWanted, 4_711, &letter.recipient);
    let mut said = vec![];
    for path in [
        format!("/w/{}", of(Verb::Wanted)),
        format!("/w/{}", of(Verb::LinkUnwanted)),
        format!("/u/{}", of(Verb::LinkWanted)),
        format!("/u/{}", of(Verb::Unwanted)),
        format!("/w/{forged}"),
        format!("/w/{unsold}"),
        format!("/w/{}", &of(Verb::LinkWanted)[1..]),
        "/w/x".into(),
        format!("/w/{}", "x".repeat(5_000)),
    ] {
        for method in ["GET", "POST"] {
            let answer = ask(&world, method, &path);
            assert_eq!(answer.status, 404, "{method} {path}");
            let nonce_at = answer.body.find("nonce=").unwrap();
            said.push(format!("{}{}", &answer.body[..nonce_at], &answer.body[nonce_at + 40..]));
        }
    }
    said.dedup();
    assert_eq!(said.len(), 1, "word for word the same: {said:#?}");
    assert_eq!(world.balance(ESCROW), 2_500);
    // In any case of letters, as mail programs may make of it.
    let shouted = format!("/w/{}", of(Verb::LinkWanted).to_ascii_uppercase());
    assert_eq!(ask(&world, "POST", &shouted).status, 200);
    assert_eq!(ask(&world, "DELETE", &shouted).status, 405);
    let problem = world.get(&format!("/w/{forged}"));
    assert!(problem.contains("application/problem+json") && problem.contains("404"), "{problem}");
}

#[test]
fn links_work_below_a_path_and_until_the_ledger_can_answer() {
    let world = World::start(&Site::default());
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let (from, to) = (format!("url = \"http://{}/\"", world.office), "url = \"https://b.example/a/post\"");
    std::fs::write(world.config_path(), text.replace(&from, to)).unwrap();
    world.reload();
    let letter = paid(&world);
    let path = format!("/a/post/w/{}", token(&world, Verb::LinkWanted, &letter));
    let page = ask(&world, "GET", &path);
    assert!(
        page.status == 200 && page.body.contains("<form method=\"post\">"),
        "it goes back to where it came from"
    );
    let lock = world.lock_ledger();
    assert_eq!(ask(&world, "POST", &path).status, 503);
    drop(lock);
    assert_eq!(world.balance(ESCROW), 2_500);
    assert_eq!(ask(&world, "POST", &path).status, 200);
    assert_eq!(world.balance(ESCROW), 0);
}
