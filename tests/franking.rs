//! Franking: stamps on what local users send to domains that ask for them, bought ahead and within budgets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "../milter/tests/support/postfix.rs"]
mod postfix;
#[path = "outbox/sink.rs"]
#[allow(dead_code)] // this binary uses its own part
mod sink;
#[path = "../milter/tests/support/smtp.rs"]
mod smtp;
mod support;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    ops::Deref,
    time::{Duration, Instant},
};

use farthing::{
    ledger::copies::{COPY_OCTETS_MAX, PART_OCTETS},
    stamp::{CancelledStamp, check::is_for},
};
use farthing_milter::{
    client::{Change, Letter, Outcome, Said},
    macros::Stage,
};
use postfix::{Delivered, Postfix, PostfixConfig, free_port};
use sink::{HANG_UP, Sink, Taken};
use smtp::Smtp;
use support::{ALICE_IP, BOB, Site, World, added, refusal, result, wait_until};

const CAROL: &str = "carol@c.example";
/// Where b.example's server is, by SPF.
const B_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// c.example, which puts stamps on its users' letters, and where it hands copies in.
struct Franking {
    world: World,
    sink: Sink,
}

impl Deref for Franking {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

/// c.example with these lines for `[franking]`.
fn franking(b: &World, lines: &str) -> Franking {
    let sink = Sink::start();
    let world = franking_with(b, lines, &sink.url());
    Franking { world, sink }
}

/// The same, before another smarthost.
fn franking_with(b: &World, lines: &str, smarthost: &str) -> World {
    let more =
        format!("[franking]\nwallet = \"franking.wallet\"\n{lines}\n[commands]\nsmtp = \"{smarthost}\"\n");
    b.zone.txt("c.example", format!("v=spf1 ip4:{ALICE_IP} -all"));
    let site = Site { more, gate: "exempt_networks = [\"127.0.0.0/8\"]\n".into(), ..Site::default() };
    let c = World::beside(&b.zone, "c.example", &site);
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

/// Where mail programs are.
const DESK_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

impl Franking {
    /// Sends as a mail program does.
    fn submit(&self, letter: &Letter) -> Outcome {
        self.send_from(DESK_IP, letter)
    }

    /// Sends the first letter to a domain: it is taken, and goes as a copy once its stamp is there.
    fn submit_first(&self, letter: &Letter) -> Taken {
        let his = || {
            let taken = self.sink.taken();
            let is_his = |mail: &Taken| {
                mail.to.iter().eq(letter.recipients.iter().map(|r| r.trim_matches(['<', '>'])))
            };
            taken.into_iter().filter(is_his).collect::<Vec<_>>()
        };
        let before = his().len();
        let outcome = self.submit(letter);
        assert_eq!(outcome.said, Said::Discard, "{outcome:?}");
        wait_until("the copy", || his().len() > before);
        his().remove(before)
    }

    /// Its users have written to b.example often: stamps are bought ahead.
    fn have_written(&self) {
        let row = "INSERT INTO purse_wanted (audience, price, last, missing, asked)
                   VALUES ('b.example', 2500, unixepoch(), 0, 100)";
        books(self).execute(row, []).unwrap();
    }

    /// Has stamps bought for b.example.
    fn stock(&self) {
        self.have_written();
        let letter = to_bob("stock@c.example", "stock@c.example");
        assert_eq!(fields(&self.submit_first(&letter), "Postage-Stamp").len(), 1);
    }

    fn count(&self, sql: &str) -> i64 {
        count(&self.world, sql)
    }
}

fn books(site: &World) -> rusqlite::Connection {
    rusqlite::Connection::open(site.path("ledger.db")).unwrap()
}

/// A number out of a site's books.
fn count(site: &World, sql: &str) -> i64 {
    books(site).query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The values of a mail's fields of this name, unfolded.
fn fields(mail: &Taken, name: &str) -> Vec<String> {
    let message = farthing::message::split_message(mail.message.as_bytes());
    let unfold =
        |value: &[u8]| String::from_utf8_lossy(value).split_whitespace().collect::<Vec<_>>().join(" ");
    message.values(name).map(unfold).collect()
}

/// For whom a stamp is.
fn is_stamp_for(value: &str, recipient: &str) -> bool {
    is_for(&CancelledStamp::parse(value.as_bytes()).unwrap(), &recipient.parse().unwrap())
}

/// The recipients that were taken off the envelope.
fn taken_off(outcome: &Outcome) -> Vec<String> {
    let off = outcome.changes.iter().filter_map(|change| match change {
        Change::DeleteRecipient(recipient) => Some(recipient.trim_matches(['<', '>']).to_owned()),
        _ => None,
    });
    off.collect()
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
    let copy = c.submit_first(&first);
    assert_eq!((copy.from.as_str(), copy.to.as_slice()), (CAROL, &[BOB.to_owned()][..]));
    let stamp = &fields(&copy, "Postage-Stamp")[0];
    let stamped = Letter { macros: vec![], ..first }.header("Postage-Stamp", stamp);
    assert_eq!(result(&b.send(&stamped)), "paid");
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
    let outcome = c.submit(&second);
    assert_eq!(stamps(&outcome).len(), 1);
    assert_eq!(result(&b.send(&on_its_way(&second, &outcome))), "known");
    for site in [&b, &c.world] {
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
            "{submission} inet n - n - - smtpd\n  -o milter_macro_defaults=auth_authen={login}\n  -o smtpd_recipient_restrictions="
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

/// Two sites, each with its Postfix, that know each other; and where users of both submit.
struct Post {
    b: World,
    c: World,
    b_mail: Postfix,
    c_mail: Postfix,
    b_submission: SocketAddr,
    c_submission: SocketAddr,
}

impl Post {
    /// c.example franks, with the smarthost that this makes of its mail server and of where its users submit.
    fn start(lines: &str, smarthost: impl Fn(&Postfix, SocketAddr) -> SocketAddr) -> Self {
        let b = asking();
        let c = franking_with(&b, lines, "smtp://127.0.0.1:1");
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
        let smarthost = smarthost(&c_mail, c_submission);
        let config = std::fs::read_to_string(c.config_path()).unwrap();
        let config = config.replace("smtp://127.0.0.1:1\"", &format!("smtp://{smarthost}\""));
        std::fs::write(c.config_path(), config).unwrap();
        c.reload();
        Self { b, c, b_mail, c_mail, b_submission, c_submission }
    }

    fn carol_writes(&self, recipients: &[&str], letter: &str) {
        let mut smtp = Smtp::connect(self.c_submission);
        smtp.expect("EHLO desk.example", 250);
        let answer = smtp.send_mail(CAROL, recipients, letter.as_bytes());
        assert_eq!(answer.code, 250, "{answer}");
    }

    /// Everything that came to b.example, once it is so many mails and nothing waits at c.example's any more.
    fn arrived(&self, count: usize) -> Vec<Delivered> {
        self.b_mail.wait_for_mail(count, support::PATIENCE);
        for queue in ["incoming", "active", "deferred"] {
            self.c_mail
                .wait_until("an empty queue", support::PATIENCE, || self.c_mail.queue(queue).is_empty());
        }
        let all = self.b_mail.mail();
        assert_eq!(all.len(), count, "each once");
        all
    }
}

fn to(mail: &[Delivered], recipient: &str) -> Delivered {
    let found: Vec<_> = mail.iter().filter(|mail| mail.recipient == recipient).collect();
    assert_eq!(found.len(), 1, "{recipient}: {mail:#?}");
    found[0].clone()
}

#[test]
fn two_mail_servers_two_ledgers_and_nobody_typed_a_command() {
    let post = Post::start("", |mail, _| mail.smtp_addr);
    let (b, c) = (&post.b, &post.c);
    let letter = format!(
        "From: {CAROL}\nTo: {BOB}\nSubject: Lunch?\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
         Message-ID: <1@c.example>\n\nHello\n.with a dot\n"
    );
    post.carol_writes(&[BOB], &letter);
    // A mail program that had no answer sends it again; nothing is left of its first envelope.
    post.carol_writes(&[BOB], &letter);
    let mail = post.arrived(1).remove(0);
    assert!(mail.text().starts_with(&format!("Return-Path: <{CAROL}>\n")), "{}", mail.text());
    assert!(mail.header("Postage-Status")[0].contains("; result=paid; "), "{}", mail.text());
    assert!(mail.header("Postage-Stamp").is_empty(), "{}", mail.text());
    assert!(mail.text().ends_with("\n\nHello\n.with a dot\n"), "{}", mail.text());
    assert_eq!(b.balance("escrow:b.example"), 2_500);

    let answer = format!(
        "From: {BOB}\nTo: {CAROL}\nSubject: Re: Lunch?\nDate: Mon, 02 Nov 2026 10:00:00 +0000\n\
         Message-ID: <2@b.example>\nIn-Reply-To: <1@c.example>\n\nYes\n"
    );
    let (code, said) = by_smtp(post.b_submission, BOB, CAROL, &answer);
    assert_eq!(code, 250, "{said}");
    let mail = post.c_mail.wait_for_mail(1, support::PATIENCE).remove(0);
    assert!(mail.header("Postage-Status")[0].contains("; result="), "{}", mail.text());
    wait_until("the refund", || b.balance("escrow:b.example") == 0);
    let shown = b.json(&["account", "show", &account(c)]);
    let refund = shown["entries"].as_array().unwrap().iter().find(|entry| entry["kind"] == "refund");
    assert_eq!(refund.unwrap()["amount"], 2_500, "her server has it back");
    for site in [b, c] {
        site.books_balance();
    }
}

#[test]
fn a_first_letter_with_a_blind_copy_arrives_twice_and_neither_copy_tells_of_the_other() {
    let post = Post::start("", |mail, _| mail.smtp_addr);
    let letter = |id: &str, text: &str| {
        format!(
            "From: {CAROL}\nTo: {BOB}\nSubject: Lunch?\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
             Message-ID: <{id}@c.example>\n\n{text}\n"
        )
    };
    let eve = "eve@b.example";
    post.carol_writes(&[BOB, eve], &letter("1", "Hello"));
    let first = post.arrived(2);
    let (to_bob, to_eve) = (to(&first, BOB), to(&first, eve));
    for (mail, own, other) in [(&to_bob, BOB, eve), (&to_eve, eve, "")] {
        let status = &mail.header("Postage-Status")[0];
        assert!(status.contains("; result=paid; ") && status.contains(own), "{status}");
        assert!(other.is_empty() || !mail.text().contains(other), "{}", mail.text());
    }
    // From now on stamps are in hand: Bob's goes on the letter itself, Eve's on her copy.
    post.c.wait_for_log("stamps bought ahead");
    post.carol_writes(&[BOB, eve, "fay@e.example"], &letter("2", "Again"));
    let second: Vec<_> = post.arrived(4).into_iter().filter(|mail| mail.text().contains("Again")).collect();
    assert!(!to(&second, BOB).text().contains(eve));
    for recipient in [BOB, eve] {
        let status = &to(&second, recipient).header("Postage-Status")[0];
        assert!(status.contains("; result=paid; "), "{status}");
    }
    assert_eq!(post.b.balance("escrow:b.example"), 4 * 2_500);
    assert_eq!(count(&post.c, "SELECT count(*) FROM franked_part"), 0, "what went is not kept");
}

#[test]
fn a_blind_copy_by_a_source_route_goes_once() {
    let post = Post::start("", |mail, _| mail.smtp_addr);
    let letter = |id: &str| {
        format!(
            "From: {CAROL}\nTo: {BOB}\nSubject: Lunch?\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
             Message-ID: <{id}@c.example>\n\nHello\n"
        )
    };
    post.carol_writes(&[BOB], &letter("1"));
    post.arrived(1);
    post.c.wait_for_log("stamps bought ahead");
    // Were he not taken off the letter itself, his gate would refuse it to Bob too.
    post.carol_writes(&[BOB, "@d.example:Eve@b.example"], &letter("2"));
    let second = post.arrived(3);
    assert_eq!(second.iter().filter(|mail| mail.recipient.eq_ignore_ascii_case("eve@b.example")).count(), 1);
    assert_eq!(post.b.balance("escrow:b.example"), 3 * 2_500);
}

#[test]
fn a_copy_that_comes_back_as_a_users_letter_goes_on_and_round_no_more() {
    // The smarthost is the port at which Carol submits: what the courier hands in looks like hers.
    let post = Post::start("max_price = \"0.25c\"", |_, submission| submission);
    let letter = format!(
        "From: {CAROL}\nTo: {BOB}\nSubject: Lunch?\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
         Message-ID: <1@c.example>\n\nHello\n"
    );
    post.carol_writes(&[BOB, "eve@b.example"], &letter);
    let mail = post.arrived(2);
    for recipient in [BOB, "eve@b.example"] {
        let status = &to(&mail, recipient).header("Postage-Status")[0];
        assert!(status.contains("; result=paid; "), "{status}");
    }
    assert_eq!(count(&post.c, "SELECT count(*) FROM franked_to"), 2);
    assert_eq!(post.b.balance("escrow:b.example"), 2 * 2_500);
}

#[test]
fn a_copy_that_is_refused_comes_back_to_its_sender() {
    let post = Post::start("", |mail, _| mail.smtp_addr);
    post.c_mail
        .set("smtpd_recipient_restrictions", "check_recipient_access inline:{nobody@b.example=REJECT}");
    let letter = format!(
        "From: {CAROL}\nTo: {BOB}\nSubject: Lunch?\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
         Message-ID: <1@c.example>\n\nHello\n"
    );
    // At the port of users it is taken, as by a server that learns of it later.
    post.carol_writes(&[BOB, "nobody@b.example"], &letter);
    let told = post.c_mail.wait_for_mail(1, support::PATIENCE).remove(0);
    assert_eq!(told.recipient, CAROL);
    assert!(told.text().starts_with("Return-Path: <>\n"), "{}", told.text());
    assert!(told.header("Subject")[0].contains("nobody@b.example"), "{}", told.text());
    assert!(told.text().contains("Message-ID: <1@c.example>"), "with the letter: {}", told.text());
    assert_eq!(to(&post.arrived(1), BOB).header("Postage-Stamp").len(), 0);
    assert_eq!(post.c_mail.mail().len(), 1, "once");
}

#[test]
fn what_a_sender_wants_to_hear_of_his_letter_goes_with_the_copies() {
    let b = asking();
    let c = franking(&b, "");
    fund(&b, &c, "1.00");
    c.sink.say("EHLO", "250-sink.example\r\n250-8BITMIME\r\n250 DSN");
    let asked = [
        ("bob@b.example", "NOTIFY=success,failure ORCPT=rfc822;Bob+2Bx@b.example X=1"),
        ("eve@b.example", "NOTIFY=NEVER"),
        ("fay@b.example", "NOTIFY=NEVER,SUCCESS ORCPT=fay"),
    ];
    let mut letter = written(CAROL, &[], "1@c.example", BOB);
    letter.sender = format!("<{CAROL}> SIZE=1000 RET=hdrs ENVID=Q+2B1 AUTH=<>");
    letter.recipients = asked.iter().map(|(to, options)| format!("<{to}> {options}")).collect();
    assert_eq!(c.submit(&letter).said, Said::Discard);
    wait_until("the copies", || c.sink.taken().len() == 3);
    let of = |to: &str| c.sink.taken().into_iter().find(|mail| mail.to == [to]).unwrap().options;
    let mail = "RET=HDRS ENVID=Q+2B1";
    assert_eq!(of("bob@b.example"), [mail, "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@b.example"]);
    assert_eq!(of("eve@b.example"), [mail, "NOTIFY=NEVER"]);
    assert_eq!(of("fay@b.example"), [mail, ""], "what is no option is not passed on");
    // A server that does not know them is not asked.
    c.sink.say_nothing_else();
    letter.headers.retain(|(name, _)| name != "Message-ID");
    c.submit(&letter.header("Message-ID", "<2@c.example>"));
    wait_until("the copies of those who may not be seen", || c.sink.taken().len() >= 5);
    assert!(c.sink.taken()[3..].iter().all(|mail| mail.options == ["", ""]), "{:#?}", c.sink.taken());
}

#[test]
fn a_sender_hears_what_he_asked_for_and_nothing_where_he_forbade_it() {
    let post = Post::start("", |mail, _| mail.smtp_addr);
    post.c_mail.set(
        "smtpd_recipient_restrictions",
        "check_recipient_access inline:{{gone@b.example=REJECT},{nobody@b.example=REJECT}}",
    );
    let mut smtp = Smtp::connect(post.c_submission);
    smtp.expect("EHLO desk.example", 250);
    smtp.expect(&format!("MAIL FROM:<{CAROL}> RET=HDRS ENVID=Q1"), 250);
    smtp.expect(&format!("RCPT TO:<{BOB}> NOTIFY=SUCCESS ORCPT=rfc822;robert@b.example"), 250);
    smtp.expect("RCPT TO:<nobody@b.example> NOTIFY=NEVER", 250);
    smtp.expect("RCPT TO:<gone@b.example>", 250);
    let letter = format!(
        "From: {CAROL}\nTo: {BOB}\nSubject: Lunch?\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
         Message-ID: <1@c.example>\n\nat noon\n"
    );
    assert_eq!(smtp.send_data(letter.as_bytes()).code, 250);
    assert!(to(&post.arrived(1), BOB).header("Postage-Status")[0].contains("; result=paid; "));
    let told = post.c_mail.wait_for_mail(2, support::PATIENCE);
    let about = |text: &str| {
        let found: Vec<_> = told.iter().filter(|mail| mail.text().contains(text)).collect();
        assert_eq!(found.len(), 1, "{text}: {told:#?}");
        let text = found[0].text().to_owned();
        assert!(text.contains("\nOriginal-Envelope-Id: Q1\n") && !text.contains("at noon"), "{text}");
        text
    };
    let delivered = about("Original-Recipient: rfc822;robert@b.example");
    assert!(delivered.contains("\nAction: delivered\n"), "from his own server: {delivered}");
    assert!(about("Final-Recipient: rfc822; gone@b.example").contains("\nAction: failed\n"));
    let rows = "SELECT (SELECT count(*) FROM franked_to WHERE next_try IS NOT NULL)
                     + (SELECT count(*) FROM outgoing WHERE next_try IS NOT NULL)";
    wait_until("an empty queue", || count(&post.c, rows) == 0);
    assert!(post.c.log().contains("told=false"), "{}", post.c.log());
    assert_eq!(post.c_mail.mail().len(), 2, "nothing of nobody@b.example");
}

#[test]
fn a_daemon_killed_before_a_copy_went_hands_it_in_once_it_is_back() {
    let b = asking();
    let mut c = franking(&b, "ahead = 3");
    fund(&b, &c, "1.00");
    c.stock();
    // The smarthost hangs up in the middle, as does the daemon.
    c.sink.say("DATA", HANG_UP);
    let letter = written(CAROL, &[BOB, "eve@b.example"], "1@c.example", BOB);
    let outcome = c.submit(&letter);
    assert_eq!(stamps(&outcome).len(), 1);
    assert_eq!(taken_off(&outcome), ["eve@b.example"]);
    let _ = c.world.end_daemon("KILL");
    c.sink.say_nothing_else();
    c.world.start_daemon();
    // Postfix had failed after the answer, so the letter comes again: the same stamp, and no other copy.
    let again = c.submit(&letter);
    let ids = |outcome: &Outcome| -> Vec<[u8; 16]> {
        let parsed = |value: &String| CancelledStamp::parse(value.as_bytes()).unwrap().stamp.terms.id;
        stamps(outcome).iter().map(parsed).collect()
    };
    assert_eq!((ids(&again), taken_off(&again)), (ids(&outcome), taken_off(&outcome)));
    wait_until("the copy", || c.count("SELECT count(*) FROM franked_to WHERE next_try IS NOT NULL") == 0);
    let copies: Vec<Taken> = c.sink.taken().into_iter().filter(|mail| mail.to == ["eve@b.example"]).collect();
    assert_eq!(copies.len(), 1, "{copies:#?}");
    let found = fields(&copies[0], "Postage-Stamp");
    assert!(found.len() == 1 && is_stamp_for(&found[0], "eve@b.example"));
    c.books_balance();
}

#[test]
fn a_burst_stops_at_its_users_budget_and_the_postmaster_hears_of_it() {
    let b = asking();
    let c = franking(&b, "ahead = 10\nper_user = \"1c\"");
    fund(&b, &c, "1.00");
    let mut let_out = 0;
    c.stock();
    for n in 0..12 {
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
    assert_eq!(let_out, 4, "letters at a quarter cent");
    assert_eq!(c.log().matches("a user's postage of today is used up").count(), 1, "{}", c.log());
    let told = "SELECT (SELECT count(*) FROM answer_parts WHERE text LIKE '%carol@c.example%')
                     + (SELECT count(*) FROM outgoing WHERE message LIKE '%carol@c.example%')";
    wait_until("a mail to the postmaster", || {
        c.count(told) + i64::from(c.sink.taken().iter().any(|mail| mail.to == ["postmaster@c.example"])) > 0
    });
    // Others go on, and her letters to those who ask for nothing too.
    assert_eq!(stamps(&c.send(&to_bob("dave@c.example", "13@c.example"))).len(), 1);
    let free = c.send(&written(CAROL, &["eve@e.example"], "14@c.example", "eve@e.example"));
    assert_eq!(stamps(&free).len(), 0);
}

#[test]
fn ever_new_names_below_one_domain_use_up_their_users_purse_alone() {
    let b = asking();
    let c = franking(&b, "per_user = \"1c\"");
    fund(&b, &c, "1.00");
    let sold = || b.balance("stamps");
    for n in 0..10 {
        let (audience, to) = (format!("n{n}.evil.example"), format!("x@n{n}.evil.example"));
        let policy = format!("v=postage1; c=USD; n=2500; i=b.example; u=http://{}/", b.office);
        b.zone.txt(&format!("_postage.{audience}"), policy);
        let letter = written("mallory@c.example", &[&to], &format!("{n}@c.example"), &to);
        if n < 4 {
            assert_eq!(fields(&c.submit_first(&letter), "Postage-Stamp").len(), 1);
        } else {
            assert!(refusal(&c.submit(&letter)).contains("your postage of 1c for today is used up"));
        }
    }
    assert_eq!(sold(), 8 * 2_500, "for each letter its own, and one for the next");
}

#[test]
fn a_blind_copy_is_not_disclosed() {
    let b = asking();
    let c = franking(&b, "ahead = 6");
    fund(&b, &c, "1.00");
    c.stock();
    let recipients = [BOB, "Eve@b.example", "zoe@b.example"];
    let letter = written(CAROL, &recipients, "1@c.example", &format!("{BOB}, Zoe <zoe@b.example>"));
    // Some programs leave that to the server.
    let letter = letter.header("Bcc", "eve@b.example").body("text\r\n");
    let outcome = c.submit(&letter);
    let found = stamps(&outcome);
    let bound = |to: &str| found.iter().filter(|value| is_stamp_for(value, to)).count();
    assert_eq!((found.len(), bound(BOB), bound("zoe@b.example"), bound("eve@b.example")), (2, 1, 1, 0));
    assert_eq!(taken_off(&outcome), ["Eve@b.example"]);
    wait_until("the copy", || c.sink.taken().len() == 2);
    let copy = c.sink.taken()[1].clone();
    assert_eq!((copy.from.as_str(), copy.to.as_slice()), (CAROL, &["Eve@b.example".to_owned()][..]));
    let found = fields(&copy, "Postage-Stamp");
    assert!(found.len() == 1 && is_stamp_for(&found[0], "eve@b.example"), "{copy:#?}");
    assert_eq!((fields(&copy, "Bcc").len(), fields(&copy, "Postage-Copy")), (0, vec!["mx.c.example".into()]));
    assert_eq!(fields(&copy, "To"), [format!("{BOB}, Zoe <zoe@b.example>")]);
    assert!(copy.message.ends_with("\r\n\r\ntext\r\n"), "{}", copy.message);
    // One who stands nowhere but is alone gets his stamp on the letter: nobody else sees it.
    let alone = c.submit(&written(CAROL, &["eve@b.example"], "2@c.example", ""));
    assert_eq!((stamps(&alone).len(), taken_off(&alone).len()), (1, 0));
    // A recipient who has a stamp already needs no other.
    let stamped = on_its_way(&to_bob(CAROL, "3@c.example"), &c.submit(&to_bob(CAROL, "3@c.example")));
    assert_eq!(stamps(&c.submit(&by_login(CAROL, stamped))).len(), 0);
}

#[test]
fn only_the_owner_of_from_spends() {
    let b = asking();
    let c = franking(&b, "ahead = 2");
    fund(&b, &c, "1.00");
    c.stock();
    let mut forged = to_bob(CAROL, "2@c.example");
    forged.macros = by_login("mallory@c.example", Letter::new(CAROL, &[BOB], "x")).macros;
    assert_eq!(stamps(&c.submit(&forged)).len(), 0);
    let mut bounce = to_bob(CAROL, "3@c.example");
    bounce.sender = "<>".into();
    assert_eq!(stamps(&c.submit(&bounce)).len(), 0);
}

#[test]
fn a_large_letter_is_copied_whole_and_a_larger_one_is_put_off() {
    let b = asking();
    let c = franking(&b, "ahead = 2");
    fund(&b, &c, "1.00");
    let line = [b"x".repeat(70), b"\r\n".to_vec()].concat();
    let large = to_bob(CAROL, "1@c.example").body(line.repeat(3 * PART_OCTETS / 72));
    let copy = c.submit_first(&large);
    assert_eq!(copy.message.matches(&"x".repeat(70)).count(), 3 * PART_OCTETS / 72);
    let d = written(CAROL, &["dora@d.example"], "2@c.example", "dora@d.example");
    b.zone
        .txt("_postage.d.example", format!("v=postage1; c=USD; n=2500; i=b.example; u=http://{}/", b.office));
    let too_large = d.clone().body(line.repeat(COPY_OCTETS_MAX / 72 + 1));
    let said = refusal(&c.submit(&too_large));
    assert!(said.contains("451 4.7.1 postage for d.example is being bought"), "{said}");
}

#[test]
fn letters_that_read_the_same_and_bear_no_name_are_all_sent() {
    let b = asking();
    let c = franking(&b, "ahead = 2");
    fund(&b, &c, "1.00");
    let report = by_login(CAROL, Letter::new(CAROL, &[BOB], "Report").body("Nothing to report.\r\n"));
    let mut copies = 0;
    for _ in 0..2 {
        let outcome = c.submit(&report);
        if outcome.said == Said::Discard {
            copies += 1;
            wait_until("his copy", || c.sink.taken().len() == copies);
        } else {
            assert_eq!(stamps(&outcome).len(), 1, "{outcome:?}");
        }
        // The next one's stamp is to be bought as well.
        books(&c).execute("DELETE FROM purse", []).unwrap();
    }
}

/// An office that answers every call with this status.
fn office_that_says(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let said = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(said.as_bytes());
        }
    });
    address
}

#[test]
fn a_copy_does_not_wait_for_a_stamp_that_will_not_come() {
    let b = asking();
    // Nothing is on the account.
    let c = franking(&b, "");
    let unsold = office_that_says("404 Not Found");
    b.zone.txt("_postage.d.example", format!("v=postage1; c=USD; n=2500; i=d.example; u=http://{unsold}/"));
    for to in [BOB, "dora@d.example"] {
        let copy = c.submit_first(&written(CAROL, &[to], &format!("1-{to}"), to));
        assert_eq!(fields(&copy, "Postage-Stamp").len(), 0);
    }
    let log = c.log();
    assert!(
        log.contains("holds too little") && log.contains("404, where d.example should describe itself"),
        "{log}"
    );
    for audience in ["b.example", "d.example"] {
        let said =
            format!("copies of letters that waited for stamps go without audience={audience} copies=1");
        assert!(log.contains(&said), "{log}");
    }
    assert_eq!(c.count("SELECT sum(spent) FROM franked"), 0, "nothing is counted for them");
}

#[test]
fn a_copy_whose_stamp_does_not_come_goes_without_one() {
    let b = asking();
    let busy = office_that_says("503 Service Unavailable");
    b.zone.txt("_postage.d.example", format!("v=postage1; c=USD; n=2500; i=d.example; u=http://{busy}/"));
    let mut c = franking(&b, "");
    let outcome = c.submit(&written(CAROL, &["dora@d.example"], "1@c.example", "dora@d.example"));
    assert_eq!(outcome.said, Said::Discard, "{outcome:?}");
    c.wait_for_log("no stamps could be bought");
    let detail = c.farthing(&["status"]);
    let detail = support::text(&detail.stdout);
    assert!(detail.contains("1 copies wait for a stamp"), "{detail}");
    // A while later.
    let _ = c.world.end_daemon("TERM");
    books(&c).execute("UPDATE franked_to SET next_try = 1", []).unwrap();
    c.world.start_daemon();
    wait_until("the copy", || c.sink.taken().len() == 1);
    assert_eq!(fields(&c.sink.taken()[0], "Postage-Stamp").len(), 0);
    assert_eq!(c.count("SELECT sum(spent) FROM franked"), 0, "nothing is counted for it");
}

#[test]
fn without_money_letters_go_without_a_stamp_until_there_is_some() {
    let b = asking();
    let c = franking(&b, "ahead = 1\nmissing = \"send\"");
    assert_eq!(stamps(&c.submit(&to_bob(CAROL, "1@c.example"))).len(), 0, "it does not wait");
    c.wait_for_log("no stamps could be bought");
    assert!(c.log().contains(&account(&c)) && c.log().contains("holds too little"), "{}", c.log());
    fund(&b, &c, "1.00");
    // A restart tries anew, and what was wanted is in the books.
    let mut c = c;
    c.world.end_daemon("TERM");
    c.world.start_daemon();
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
    c.stock();
    for n in 0..7 {
        let letter = to_bob(CAROL, &format!("{n}@c.example"));
        wait_until("as many in hand as before", || c.count("SELECT count(*) FROM purse") == 5);
        assert_eq!(stamps(&c.submit(&letter)).len(), 1, "{n}");
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
    for n in 0..3 {
        let begun = Instant::now();
        let letter = written(CAROL, &["dora@d.example"], &format!("{n}@c.example"), "dora@d.example");
        assert_eq!(c.submit(&letter).said, Said::Discard);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert_eq!(c.sink.taken(), [], "they wait for their stamps");
    // Meanwhile another domain's stamps are asked for as ever, and letters elsewhere go.
    let free = c.send(&written(CAROL, &["eve@e.example"], "2@c.example", "eve@e.example"));
    assert_eq!(stamps(&free).len(), 0);
    fund(&b, &c, "1.00");
    let (mut waiting, _) = silent.accept().unwrap();
    let copy = c.submit_first(&to_bob(CAROL, "3@c.example"));
    assert_eq!(fields(&copy, "Postage-Stamp").len(), 1);
    waiting.set_nonblocking(true).unwrap();
    let mut asked = vec![];
    let silence = waiting.read_to_end(&mut asked).map_err(|error| error.kind());
    assert_eq!(silence, Err(ErrorKind::WouldBlock), "the silent office is waited for all the while");
}

#[test]
fn a_login_pays_from_an_account_of_its_own_and_has_back_what_is_given_back() {
    let b = asking();
    let mut c = franking(&b, "ahead = 2\npays = \"login\"");
    fund(&b, &c, "1.00");
    let letter = to_bob(CAROL, "1@c.example");
    let said = refusal(&c.submit(&letter));
    assert!(said.contains("451 4.7.1 the postage account of your login holds too little"), "{said}");
    let name = format!("login:{CAROL}");
    let credited = c.json(&["account", "credit", &name, "0.5c", "--memo", "pocket money"]);
    assert_eq!(credited["balance"], 5_000);

    let copy = c.submit_first(&letter);
    let stamped =
        Letter { macros: vec![], ..letter }.header("Postage-Stamp", &fields(&copy, "Postage-Stamp")[0]);
    assert_eq!(result(&b.send(&stamped)), "paid");
    assert_eq!(stamps(&c.submit(&to_bob(CAROL, "2@c.example"))).len(), 1);
    assert_eq!((c.balance(&name), c.balance("franking")), (0, 5_000));
    // Letters that need no stamp go all the same.
    assert_eq!(
        stamps(&c.submit(&written(CAROL, &["eve@e.example"], "3@c.example", "eve@e.example"))).len(),
        0
    );

    // Bob wants it; her server hears of that when it asks the next time.
    let id = CancelledStamp::parse(fields(&copy, "Postage-Stamp")[0].as_bytes()).unwrap().stamp.terms.id;
    let id = data_encoding::BASE64URL_NOPAD.encode(&id);
    assert!(b.farthing(&["wanted", &id]).status.success());
    let _ = c.world.end_daemon("TERM");
    books(&c).execute("UPDATE franked_charge SET asked = 0", []).unwrap();
    c.world.start_daemon();
    wait_until("what came back", || c.balance(&name) == 2_500);
    let shown = c.json(&["account", "show", &name]);
    let kinds: Vec<_> =
        shown["entries"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["unfrank", "frank", "frank", "credit"]);
    let listed = c.json(&["account", "list"]);
    let listed = listed.as_array().unwrap().iter().find(|account| account["account"] == name.as_str());
    assert_eq!(listed.unwrap()["balance"], 2_500);
    assert_eq!(c.farthing(&["account", "debit", &name, "1c"]).status.code(), Some(1));
    for site in [&b, &c.world] {
        site.books_balance();
    }
}
