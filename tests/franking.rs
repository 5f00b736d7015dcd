//! Franking: stamps on what local users send to domains that ask for them, bought ahead and within budgets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "../milter/tests/support/postfix.rs"]
mod postfix;
#[path = "../milter/tests/support/smtp.rs"]
mod smtp;
mod support;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use farthing::stamp::{CancelledStamp, check::is_for};
use farthing_milter::{
    client::{Letter, Outcome},
    macros::Stage,
};
use postfix::{Postfix, PostfixConfig, free_port};
use smtp::Smtp;
use support::{ALICE_IP, BOB, Site, World, added, refusal, result, wait_until};

const CAROL: &str = "carol@c.example";
/// Where b.example's server is, by SPF.
const B_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// c.example, which puts stamps on its users' letters; with these lines for `[franking]`.
fn franking(b: &World, lines: &str) -> World {
    let more = format!("[franking]\nwallet = \"franking.wallet\"\n{lines}\n");
    b.zone.txt("c.example", format!("v=spf1 ip4:{ALICE_IP} -all"));
    let c = World::beside(&b.zone, "c.example", &Site { more, ..Site::default() });
    c.publish(&b.zone);
    c
}

/// b.example, which asks for stamps and sells them.
fn asking() -> World {
    let b = World::start(&Site::default());
    b.publish(&b.zone);
    b.zone.txt("b.example", format!("v=spf1 ip4:{B_IP} -all"));
    b
}

/// The account that c.example's wallet has at every office.
fn account(c: &World) -> String {
    let wallet = c.path("franking.wallet");
    let shown = c.json(&["wallet", "show", "--wallet", wallet.to_str().unwrap()]);
    shown["account"].as_str().unwrap().to_owned()
}

fn fund(b: &World, c: &World, amount: &str) {
    assert!(b.farthing(&["account", "credit", &account(c), amount]).status.success());
}

fn by_login(login: &str, mut letter: Letter) -> Letter {
    letter.macros.push((Stage::Mail, "{auth_authen}".into(), login.into()));
    letter
}

fn written(from: &str, recipients: &[&str], id: &str, to: &str) -> Letter {
    let letter = Letter::new(from, recipients, "Lunch?").header("Message-ID", format!("<{id}>"));
    let letter = letter.header("Date", "Mon, 02 Nov 2026 09:00:00 +0000");
    by_login(from, if to.is_empty() { letter } else { letter.header("To", to) })
}

fn to_bob(from: &str, id: &str) -> Letter {
    written(from, &[BOB], id, BOB)
}

/// Sends as a mail program does whose user presses the button again when he is told to.
fn submit(c: &World, letter: &Letter) -> Outcome {
    let outcome = c.send_from(IpAddr::from([203, 0, 113, 5]), letter);
    if outcome.is_delivered() {
        return outcome;
    }
    let said = refusal(&outcome);
    assert!(
        said.contains("451 4.7.1 postage for b.example is being bought; please send this again"),
        "{said}"
    );
    c.wait_for_log("stamps bought ahead");
    c.send_from(IpAddr::from([203, 0, 113, 5]), letter)
}

fn stamps(outcome: &Outcome) -> Vec<String> {
    assert!(outcome.is_delivered(), "{}", refusal(outcome));
    added(outcome, "Postage-Stamp")
}

/// The letter as it leaves c.example for b.example.
fn on_its_way(letter: &Letter, outcome: &Outcome) -> Letter {
    let mut letter = letter.clone();
    letter.macros.clear();
    stamps(outcome).into_iter().fold(letter, |letter, value| letter.header("Postage-Stamp", value))
}

#[test]
fn a_user_writes_to_a_stranger_elsewhere_who_answers() {
    let b = asking();
    let c = franking(&b, "ahead = 2");
    fund(&b, &c, "1.00");

    let first = to_bob(CAROL, "1@c.example");
    let outcome = submit(&c, &first);
    assert_eq!(stamps(&outcome).len(), 1);
    assert_eq!(result(&b.send(&on_its_way(&first, &outcome))), "paid");
    assert_eq!(b.balance("escrow:b.example"), 2_500);

    // Bob answers. His answer is free at c.example, and gives Carol's postage back.
    let answer = Letter::new(BOB, &[CAROL], "Re: Lunch?")
        .header("To", CAROL)
        .header("Message-ID", "<2@b.example>")
        .header("In-Reply-To", "<1@c.example>");
    let sent = b.send_from(IpAddr::from([203, 0, 113, 6]), &by_login(BOB, answer.clone()));
    assert!(sent.is_delivered(), "{}", refusal(&sent));
    assert_eq!(result(&c.send_from(B_IP, &answer)), "known");
    wait_until("the refund", || b.balance("escrow:b.example") == 0);

    // From now on she is known to him; her stamp stays unspent and comes back when it expires.
    let second = to_bob(CAROL, "3@c.example");
    let outcome = submit(&c, &second);
    assert_eq!(stamps(&outcome).len(), 1);
    assert_eq!(result(&b.send(&on_its_way(&second, &outcome))), "known");
    for site in [&b, &c] {
        site.books_balance();
    }
}

/// Postfix in front of a site: an MX, and a port at which this login submits.
fn mail_server(site: &World, domain: &str, login: &str, others: &str) -> (Postfix, SocketAddr) {
    let submission = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let milter = format!("unix:{}", site.path("milter.sock").display());
    let config = PostfixConfig {
        domains: vec![domain.into()],
        master: vec![format!(
            "{submission} inet n - n - - smtpd\n  -o milter_macro_defaults=auth_authen={login}"
        )],
        ..PostfixConfig::with_milter(milter)
    };
    (Postfix::start(config.main(format!("transport_maps = inline:{{ {others} }}"))), submission)
}

fn by_smtp(server: SocketAddr, from: &str, to: &str, letter: &str) -> (u16, String) {
    let mut smtp = Smtp::connect(server);
    smtp.expect("EHLO desk.example", 250);
    let answer = smtp.send_mail(from, &[to], letter.as_bytes());
    (answer.code, answer.to_string())
}

#[test]
fn two_mail_servers_two_ledgers_and_nobody_typed_a_command() {
    let b = asking();
    let c = franking(&b, "");
    fund(&b, &c, "1.00");
    for domain in ["b.example", "c.example"] {
        b.zone.remove(domain).txt(domain, "v=spf1 ip4:127.0.0.1 -all");
    }
    // It learns where the other one is once that runs.
    let (c_mail, c_submission) = mail_server(&c, "c.example", CAROL, "");
    let to_c = format!("c.example=smtp:[127.0.0.1]:{}", c_mail.smtp_addr.port());
    let (b_mail, b_submission) = mail_server(&b, "b.example", BOB, &to_c);
    c_mail.set(
        "transport_maps",
        &format!("inline:{{ b.example=smtp:[127.0.0.1]:{} }}", b_mail.smtp_addr.port()),
    );

    let letter = format!(
        "From: {CAROL}\nTo: {BOB}\nSubject: Lunch?\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
         Message-ID: <1@c.example>\n\nHello\n"
    );
    let (code, said) = by_smtp(c_submission, CAROL, BOB, &letter);
    assert_eq!(code, 451, "{said}");
    c.wait_for_log("stamps bought ahead");
    let (code, said) = by_smtp(c_submission, CAROL, BOB, &letter);
    assert_eq!(code, 250, "{said}");
    let mail = b_mail.wait_for_mail(1, support::PATIENCE).remove(0);
    assert!(mail.header("Postage-Status")[0].contains("; result=paid; "), "{}", mail.text());
    assert!(mail.header("Postage-Stamp").is_empty(), "{}", mail.text());
    assert_eq!(b.balance("escrow:b.example"), 2_500);

    let answer = format!(
        "From: {BOB}\nTo: {CAROL}\nSubject: Re: Lunch?\nDate: Mon, 02 Nov 2026 10:00:00 +0000\n\
         Message-ID: <2@b.example>\nIn-Reply-To: <1@c.example>\n\nYes\n"
    );
    let (code, said) = by_smtp(b_submission, BOB, CAROL, &answer);
    assert_eq!(code, 250, "{said}");
    let mail = c_mail.wait_for_mail(1, support::PATIENCE).remove(0);
    assert!(mail.header("Postage-Status")[0].contains("; result=known"), "{}", mail.text());
    wait_until("the refund", || b.balance("escrow:b.example") == 0);
    let shown = b.json(&["account", "show", &account(&c)]);
    let refund = shown["entries"].as_array().unwrap().iter().find(|entry| entry["kind"] == "refund");
    assert_eq!(refund.unwrap()["amount"], 2_500, "her server has it back");
    for site in [&b, &c] {
        site.books_balance();
    }
}

#[test]
fn a_burst_stops_at_its_users_budget_and_the_postmaster_hears_of_it() {
    let b = asking();
    let c = franking(&b, "ahead = 10\nper_user = \"1c\"");
    fund(&b, &c, "1.00");
    let mut let_out = 0;
    assert_eq!(stamps(&submit(&c, &to_bob(CAROL, "0@c.example"))).len(), 1);
    for n in 1..12 {
        let to = format!("victim{n}@b.example");
        let outcome = c.send(&written(CAROL, &[&to], &format!("{n}@c.example"), &to));
        if outcome.is_delivered() {
            assert_eq!(stamps(&outcome).len(), 1);
            let_out += 1;
        } else {
            let said = refusal(&outcome);
            assert!(said.contains("451 4.7.1 your postage of 1c for today is used up"), "{said}");
        }
    }
    assert_eq!(let_out, 3, "four letters at a quarter cent, the first one among them");
    assert_eq!(c.log().matches("a user's postage of today is used up").count(), 1, "{}", c.log());
    let books = rusqlite::Connection::open(c.path("ledger.db")).unwrap();
    let count = |sql: &str| -> i64 { books.query_row(sql, [], |row| row.get(0)).unwrap() };
    let told = "SELECT (SELECT count(*) FROM answer_parts WHERE text LIKE '%carol@c.example%')
                     + (SELECT count(*) FROM outgoing WHERE message LIKE '%carol@c.example%')";
    wait_until("a mail to the postmaster", || count(told) == 1);
    // Others go on, and her letters to those who ask for nothing too.
    assert_eq!(stamps(&c.send(&to_bob("dave@c.example", "13@c.example"))).len(), 1);
    let free = c.send(&written(CAROL, &["eve@e.example"], "14@c.example", "eve@e.example"));
    assert_eq!(stamps(&free).len(), 0);
}

#[test]
fn a_blind_copy_is_not_disclosed() {
    let b = asking();
    let c = franking(&b, "ahead = 6");
    fund(&b, &c, "1.00");
    let recipients = [BOB, "eve@b.example", "zoe@b.example"];
    let letter = written(CAROL, &recipients, "1@c.example", &format!("{BOB}, Zoe <zoe@b.example>"));
    let found: Vec<CancelledStamp> = stamps(&submit(&c, &letter))
        .iter()
        .map(|value| CancelledStamp::parse(value.as_bytes()).unwrap())
        .collect();
    let bound = |to: &str| found.iter().filter(|stamp| is_for(stamp, &to.parse().unwrap())).count();
    assert_eq!((found.len(), bound(BOB), bound("zoe@b.example"), bound("eve@b.example")), (2, 1, 1, 0));
    // One who stands nowhere but is alone gets his stamp: nobody else sees it.
    let alone = c.send(&written(CAROL, &["eve@b.example"], "2@c.example", ""));
    assert_eq!(stamps(&alone).len(), 1);
    // A recipient who has a stamp already needs no other.
    let stamped = on_its_way(&to_bob(CAROL, "3@c.example"), &c.send(&to_bob(CAROL, "3@c.example")));
    assert_eq!(stamps(&c.send(&by_login(CAROL, stamped))).len(), 0);
}

#[test]
fn only_the_owner_of_from_spends() {
    let b = asking();
    let c = franking(&b, "ahead = 2");
    fund(&b, &c, "1.00");
    assert_eq!(stamps(&submit(&c, &to_bob(CAROL, "1@c.example"))).len(), 1);
    let mut forged = to_bob(CAROL, "2@c.example");
    forged.macros = by_login("mallory@c.example", Letter::new(CAROL, &[BOB], "x")).macros;
    assert_eq!(stamps(&c.send(&forged)).len(), 0);
    let mut bounce = to_bob(CAROL, "3@c.example");
    bounce.sender = "<>".into();
    assert_eq!(stamps(&c.send(&bounce)).len(), 0);
}

#[test]
fn without_money_letters_go_without_a_stamp_until_there_is_some() {
    let b = asking();
    let c = franking(&b, "ahead = 1\nmissing = \"send\"");
    assert_eq!(stamps(&c.send(&to_bob(CAROL, "1@c.example"))).len(), 0, "it does not wait");
    c.wait_for_log("no stamps could be bought");
    assert!(c.log().contains(&account(&c)) && c.log().contains("holds too little"), "{}", c.log());
    fund(&b, &c, "1.00");
    // A restart tries anew, and what was wanted is in the books.
    let mut c = c;
    c.end_daemon("TERM");
    c.start_daemon();
    c.wait_for_log("stamps bought ahead");
    assert_eq!(stamps(&c.send(&to_bob(CAROL, "2@c.example"))).len(), 1);
}

#[test]
fn another_office_of_the_domain_sells_where_the_first_is_dead() {
    let b = asking();
    let closed = support::free_address();
    b.zone
        .txt("_postage.dead.example", format!("v=postage1; c=USD; n=1; i=dead.example; u=http://{closed}/"));
    b.zone.remove("_postage.b.example").txt(
        "_postage.b.example",
        format!("v=postage1; c=USD; n=2500; i=dead.example,b.example; u=http://{}/", b.office),
    );
    let c = franking(&b, "");
    fund(&b, &c, "1.00");
    for n in 0..7 {
        let letter = to_bob(CAROL, &format!("{n}@c.example"));
        assert_eq!(stamps(&submit(&c, &letter)).len(), 1, "{n}");
        let in_hand = rusqlite::Connection::open(c.path("ledger.db")).unwrap();
        let count =
            || -> i64 { in_hand.query_row("SELECT count(*) FROM purse", [], |row| row.get(0)).unwrap() };
        wait_until("as many in hand as before", || count() == 5);
    }
    assert_eq!(stamps(&c.send(&to_bob(CAROL, "8@c.example"))).len(), 1);
}

#[test]
fn an_office_that_does_not_answer_holds_no_letter_up() {
    let b = asking();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    b.zone.txt(
        "_postage.d.example",
        format!("v=postage1; c=USD; n=2500; i=d.example; u=http://{}/", silent.local_addr().unwrap()),
    );
    let c = franking(&b, "");
    let letter = written(CAROL, &["dora@d.example"], "1@c.example", "dora@d.example");
    for _ in 0..3 {
        let begun = Instant::now();
        assert!(refusal(&c.send(&letter)).contains("postage for d.example is being bought"));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    // Meanwhile another domain's stamps are asked for as ever, and letters elsewhere go.
    let free = c.send(&written(CAROL, &["eve@e.example"], "2@c.example", "eve@e.example"));
    assert_eq!(stamps(&free).len(), 0);
}
