//! The server behind a real Postfix: mail goes in by SMTP or sendmail(1), answers are read from the SMTP
//! dialogue, changes from the delivered mail.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::time::{Duration, Instant};

use farthing_milter::modification::Modification;
use farthing_milter::negotiate::{Actions, MacroList, Steps};
use farthing_milter::server::{Limits, Listen, UnixListen, group_number};
use farthing_milter::text::{HeaderName, HeaderValue, QuarantineReason, SmtpReply};
use farthing_milter::verdict::Delivery;
use support::filter::{Act, Filter, Plan, refuse};
use support::postfix::{Postfix, PostfixConfig, open_directory};
use support::smtp::Smtp;

const LIMIT: Duration = Duration::from_secs(30);

fn postfix(filter: &Filter) -> Postfix {
    Postfix::start(PostfixConfig::with_milter(filter.postfix_name()))
}

fn greeted(postfix: &Postfix) -> Smtp {
    let mut smtp = postfix.smtp();
    smtp.expect("EHLO a.example", 250);
    smtp
}

fn message(subject: &str) -> Vec<u8> {
    format!("From: ann@a.example\nSubject: {subject}\n\nhello\n").into_bytes()
}

fn send(smtp: &mut Smtp, recipients: &[&str], subject: &str) -> support::smtp::SmtpAnswer {
    smtp.send_mail("ann@a.example", recipients, &message(subject))
}

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (HeaderName::new(name).unwrap(), HeaderValue::new(value).unwrap())
}

#[test]
fn pitfall_04_postfix_of_every_protocol_version_gets_an_answer_it_takes() {
    let (name, value) = header("X-Seen", "yes");
    let delivery = Delivery { modifications: vec![Modification::AddHeader(name, value)], quarantine: None };
    let plan = Plan::default()
        .need(Actions::ADD_HEADERS)
        .steps(Steps::SKIP | Steps::NR_HEADER | Steps::NO_DATA | Steps::LEADING_SPACE)
        .rule("EOM", Act::Deliver(delivery));
    let mut plan = plan;
    plan.wanted = plan.wanted.macros(MacroList::EndOfMessage, &["i", "{auth_authen}"]);
    let filter = Filter::start(plan);
    let postfix = postfix(&filter);
    for (number, version) in ["2", "3", "4", "6"].iter().enumerate() {
        postfix.set("milter_protocol", version);
        let answer = send(&mut greeted(&postfix), &["bob@b.example"], &format!("version {version}"));
        assert_eq!(answer.code, 250, "{answer}\n{}", postfix.log());
        let mail = postfix.wait_for_mail(number + 1, LIMIT);
        assert!(mail.iter().all(|mail| mail.header("X-Seen") == ["yes"]), "{mail:#?}");
    }
}

#[test]
fn pitfall_06_three_messages_on_one_session_share_nothing() {
    let filter = Filter::start(Plan::default().rule("Subject:no", refuse(550, "5.7.1", "not this one")));
    let postfix = postfix(&filter);
    let mut smtp = greeted(&postfix);
    assert_eq!(send(&mut smtp, &["bob@b.example"], "yes 1").code, 250);
    assert_eq!(send(&mut smtp, &["bob@b.example"], "no").code, 550);
    assert_eq!(send(&mut smtp, &["bob@b.example"], "yes 2").code, 250);
    smtp.expect("MAIL FROM:<ann@a.example>", 250);
    smtp.expect("RSET", 250);
    smtp.expect("RSET", 250);
    assert_eq!(send(&mut smtp, &["bob@b.example"], "yes 3").code, 250);
    smtp.expect("QUIT", 221);
    filter.journal.wait_for("CLOSE", 1);

    let lines = filter.journal.session(1);
    let ids: Vec<_> = lines.iter().filter(|line| line.starts_with("EOM")).collect();
    assert_eq!(ids.len(), 3, "{lines:#?}");
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "each message has its own queue id: {ids:?}");
    let fresh = lines.iter().filter(|line| line.starts_with("MAIL")).all(|line| !line.contains("i="));
    assert!(fresh, "no queue id of the message before: {lines:#?}");
    assert_eq!(lines.iter().filter(|line| *line == "ABORT").count(), 1, "only the one that was given up");
}

#[test]
fn pitfall_07_nothing_waits_for_the_abort_that_postfix_sends_late() {
    let steps = Steps::NR_CONNECT | Steps::NR_HELO | Steps::NR_MAIL | Steps::NR_HEADER;
    let filter = Filter::start(Plan::default().steps(steps));
    let postfix = postfix(&filter);
    let mut smtp = greeted(&postfix);
    smtp.expect("MAIL FROM:<ann@a.example>", 250);
    smtp.expect("RCPT TO:<bob@b.example>", 250);
    assert_eq!(smtp.send_data(&message("one")).code, 250);
    filter.journal.wait_for("EOM", 1);
    smtp.expect("MAIL FROM:<eve@a.example>", 250);
    assert_eq!(filter.journal.count("MAIL <eve@"), 0, "Postfix keeps it until it needs an answer");
    smtp.expect("RCPT TO:<bob@b.example>", 250);
    filter.journal.wait_for("RCPT", 2);
    let lines = filter.journal.session(1);
    let mail = lines.iter().position(|line| line.starts_with("MAIL <eve@")).expect("MAIL came with RCPT");
    assert!(lines[mail + 1].starts_with("RCPT"), "{lines:#?}");
    assert!(!lines.contains(&"ABORT".to_string()), "the first message had its verdict: {lines:#?}");
}

#[test]
fn pitfall_08_clients_that_leave_or_greet_again_leave_nothing_behind() {
    let filter = Filter::start(Plan::default().rule("HELO bad", refuse(550, "5.7.1", "not you")));
    let postfix = postfix(&filter);
    let steps = ["EHLO a.example", "MAIL FROM:<ann@a.example>", "RCPT TO:<bob@b.example>", "DATA"];
    for length in 0..=steps.len() {
        let mut smtp = postfix.smtp();
        for step in &steps[..length] {
            assert!(smtp.say(step).code < 400);
        }
        drop(smtp);
        filter.journal.wait_for("CLOSE", length + 1);
    }
    let mut smtp = greeted(&postfix);
    smtp.expect("MAIL FROM:<ann@a.example>", 250);
    smtp.expect("EHLO again.example", 250);
    assert_eq!(send(&mut smtp, &["bob@b.example"], "after a second EHLO").code, 250);
    smtp.expect("MAIL FROM:<ann@a.example>", 250);
    smtp.expect("QUIT", 221);
    filter.journal.wait_for("CLOSE", 6);
    let lines = filter.journal.session(6);
    assert_eq!(lines.iter().filter(|line| *line == "ABORT").count(), 2, "{lines:#?}");

    let mut refused = postfix.smtp();
    refused.say("EHLO bad.example");
    assert_eq!(refused.say("MAIL FROM:<ann@a.example>").code, 550);
    drop(refused);
    filter.journal.wait_for("CLOSE", 7);
    assert_eq!(postfix.wait_for_mail(1, LIMIT).len(), 1);
}

#[test]
fn pitfall_10_the_queue_id_comes_with_the_second_recipient_or_with_data() {
    let filter = Filter::start(Plan::default());
    let postfix = postfix(&filter);
    let mut smtp = greeted(&postfix);
    assert_eq!(send(&mut smtp, &["bob@b.example"], "one").code, 250);
    assert_eq!(send(&mut smtp, &["bob@b.example", "eve@b.example"], "two").code, 250);
    let lines = filter.journal.session(1);
    let with_id = |text: &str| -> Vec<bool> {
        lines.iter().filter(|line| line.starts_with(text)).map(|line| line.contains(" i=")).collect()
    };
    assert_eq!(with_id("MAIL"), [false, false]);
    assert_eq!(with_id("RCPT"), [false, false, true]);
    assert_eq!(with_id("DATA"), [true, true]);
    assert!(with_id("HEADER").iter().chain(&with_id("BODY")).all(|with| *with));
    assert_eq!(with_id("EOM"), [true, true]);
}

#[test]
fn pitfall_12_addresses_of_every_kind() {
    let filter = Filter::start(Plan::default());
    let postfix = postfix(&filter);
    let mut smtp = greeted(&postfix);
    for (mail, seen) in [
        ("MAIL FROM:<ann@a.example>", "MAIL <ann@a.example>"),
        ("MAIL FROM:<>", "MAIL <>"),
        ("MAIL FROM:<\"a b\"@a.example>", "MAIL <\\\"a b\\\"@a.example>"),
        ("MAIL FROM:<ann@a.example> SIZE=100 BODY=8BITMIME", "MAIL <ann@a.example> SIZE=100 BODY=8BITMIME"),
        ("MAIL FROM:<j\u{fc}rg@a.example> SMTPUTF8", "MAIL <j\\xc3\\xbcrg@a.example> SMTPUTF8"),
    ] {
        smtp.expect(mail, 250);
        smtp.expect("RCPT TO:<bob+tag@b.example> NOTIFY=NEVER", 250);
        smtp.expect("RSET", 250);
        assert!(
            filter.journal.lines().iter().any(|line| line.contains(seen)),
            "{seen}: {:#?}",
            filter.journal.lines()
        );
    }
    assert_eq!(filter.journal.count("RCPT <bob+tag@b.example> NOTIFY=NEVER"), 5);
}

#[test]
fn pitfall_14_headers_arrive_as_they_were_and_leave_as_they_should() {
    for leading_space in [false, true] {
        let steps = if leading_space { Steps::LEADING_SPACE } else { Steps::NONE };
        let (name, value) = header("X-Added", "one\n\ttwo");
        let delivery =
            Delivery { modifications: vec![Modification::AddHeader(name, value)], quarantine: None };
        let plan =
            Plan::default().need(Actions::ADD_HEADERS).steps(steps).rule("EOM", Act::Deliver(delivery));
        let filter = Filter::start(plan);
        let postfix = postfix(&filter);
        let long = "x".repeat(70_000);
        let text = format!(
            "From: ann@a.example\nSubject: a\n\tb\nX-Two:none\nX-Two:  double\nX-Raw: \u{e9}\nX-Long: {long}\n\nhi\n"
        );
        let answer = greeted(&postfix).send_mail("ann@a.example", &["bob@b.example"], text.as_bytes());
        assert_eq!(answer.code, 250, "{answer}");
        let lines = filter.journal.lines();
        let space = if leading_space { " " } else { "" };
        for expected in [
            format!("HEADER Subject:{space}a\\n\\tb i="),
            "HEADER X-Two:none i=".to_string(),
            format!("HEADER X-Two:{space} double i="),
            format!("HEADER X-Raw:{space}\\xc3\\xa9 i="),
        ] {
            assert!(lines.iter().any(|line| line.contains(&expected)), "{expected}: {lines:#?}");
        }
        let seen = lines.iter().find(|line| line.contains("X-Long")).unwrap().len();
        assert!((50_000..60_100).contains(&seen), "Postfix cuts it at 60,000 bytes, not {seen}");
        let mail = &postfix.wait_for_mail(1, LIMIT)[0];
        assert_eq!(mail.header("X-Added"), ["one\n\ttwo"], "{}", mail.text());
    }
}

#[test]
fn pitfall_16_reply_texts_arrive_word_for_word() {
    let many =
        SmtpReply::new(550, "5.7.1", ["pay 100% here:", "https://b.example/p/bob%40b.example", "thank you"]);
    let plan = Plan::default()
        .rule("Subject:many", Act::Refuse(many.unwrap()))
        .rule("RCPT <eve@", refuse(452, "4.5.3", "one at a time, 50% each"))
        .rule("RCPT <kim@", refuse(550, "5.1.1", &"x".repeat(980)))
        .rule("Subject:long", Act::Refuse(SmtpReply::new(554, "5.7.0", vec!["y".repeat(70); 32]).unwrap()));
    let filter = Filter::start(plan);
    let postfix = postfix(&filter);
    let mut smtp = greeted(&postfix);
    let answer = send(&mut smtp, &["bob@b.example"], "many");
    assert_eq!(answer.code, 550);
    assert_eq!(
        answer.lines,
        ["5.7.1 pay 100% here:", "5.7.1 https://b.example/p/bob%40b.example", "5.7.1 thank you"]
    );
    let answer = send(&mut smtp, &["bob@b.example"], "long");
    assert_eq!((answer.code, answer.lines.len()), (554, 32));
    smtp.expect("MAIL FROM:<ann@a.example>", 250);
    let answer = smtp.expect("RCPT TO:<eve@b.example>", 452);
    assert_eq!(
        answer.text(),
        "4.5.3 <eve@b.example>: Recipient address rejected: one at a time, 50% each"
            .replace("<eve@b.example>: Recipient address rejected: ", "")
    );
    let answer = smtp.expect("RCPT TO:<kim@b.example>", 550);
    assert!(answer.text().contains(&"x".repeat(400)), "{answer}");
    smtp.expect("RCPT TO:<bob@b.example>", 250);
}

#[test]
fn pitfall_17_one_recipient_is_refused_and_the_others_get_the_mail() {
    let filter = Filter::start(Plan::default().rule("RCPT <eve@", refuse(550, "5.1.1", "no such user")));
    let postfix = postfix(&filter);
    let mut smtp = greeted(&postfix);
    smtp.expect("MAIL FROM:<ann@a.example>", 250);
    smtp.expect("RCPT TO:<bob@b.example>", 250);
    smtp.expect("RCPT TO:<eve@b.example>", 550);
    smtp.expect("RCPT TO:<kim@b.example>", 250);
    assert_eq!(smtp.send_data(&message("x")).code, 250);
    let mut recipients: Vec<_> =
        postfix.wait_for_mail(2, LIMIT).into_iter().map(|mail| mail.recipient).collect();
    recipients.sort();
    assert_eq!(recipients, ["bob@b.example", "kim@b.example"]);
}

#[test]
fn pitfall_18_mail_of_sendmail_is_told_apart_and_can_be_refused_at_the_end() {
    let plan = Plan::default().rule("Subject:no", refuse(550, "5.7.1", "not this one"));
    let listens = vec!["inet:127.0.0.1:0".parse().unwrap(), "inet:127.0.0.1:0".parse().unwrap()];
    let filter = Filter::start_on(plan, listens);
    let postfix = Postfix::start(PostfixConfig {
        smtpd_milters: vec![filter.addresses[0].to_string()],
        non_smtpd_milters: vec![filter.addresses[1].to_string()],
        ..PostfixConfig::default()
    });
    postfix.submit("carol@b.example", &["bob@b.example"], &message("yes"));
    postfix.wait_for_mail(1, LIMIT);
    let lines = filter.journal.session(1);
    assert_eq!(lines[0], "OPEN listener=1", "a listener of its own");
    assert!(lines[1].starts_with("CONNECT localhost 127.0.0.1 0"), "port 0: {lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("MAIL carol@b.example i=")), "no brackets: {lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("RCPT bob@b.example i=")), "{lines:#?}");

    postfix.submit("carol@b.example", &["bob@b.example"], &message("no"));
    let line = postfix.wait_for_log("not this one", LIMIT);
    assert!(line.contains("milter-reject: END-OF-MESSAGE") || line.contains("milter-reject"), "{line}");
    assert_eq!(send(&mut greeted(&postfix), &["bob@b.example"], "by SMTP").code, 250);
    assert_eq!(filter.journal.count("OPEN listener=0"), 1);
}

#[test]
fn pitfall_19_a_held_message_is_in_the_hold_queue_with_its_changes() {
    let (name, value) = header("X-Held", "yes");
    let delivery = Delivery {
        modifications: vec![Modification::InsertHeader(0, name, value)],
        quarantine: Some(QuarantineReason::new("r".repeat(100)).unwrap()),
    };
    let plan =
        Plan::default().need(Actions::ADD_HEADERS | Actions::QUARANTINE).rule("EOM", Act::Deliver(delivery));
    let filter = Filter::start(plan);
    let postfix = postfix(&filter);
    let answer = send(&mut greeted(&postfix), &["bob@b.example"], "held");
    assert_eq!(answer.code, 250, "{answer}");
    let ids = postfix.queue("hold");
    let [id] = &ids[..] else { panic!("{ids:?}\n{}", postfix.log()) };
    assert!(postfix.run("postcat", &["-q", id]).contains("X-Held: yes"));
    assert!(postfix.mail().is_empty());
    postfix.run("postsuper", &["-H", id]);
    postfix.run("postqueue", &["-f"]);
    let mail = postfix.wait_for_mail(1, LIMIT);
    assert_eq!(mail[0].header("X-Held"), ["yes"]);
    assert_eq!(filter.journal.count("EOM"), 1, "a release does not come back to the filter");
}

#[test]
fn pitfall_20_postfix_waits_for_a_slow_verdict_while_it_is_asked_for_patience() {
    let limits = Limits { progress: Duration::from_secs(2), ..Limits::default() };
    let plan = Plan { limits, ..Plan::default() }.rule("EOM", Act::Take(Duration::from_secs(9)));
    let filter = Filter::start(plan);
    let config = PostfixConfig::with_milter(filter.postfix_name()).main("milter_content_timeout = 4s");
    let postfix = Postfix::start(config);
    let start = Instant::now();
    let answer = send(&mut greeted(&postfix), &["bob@b.example"], "slow");
    assert_eq!(answer.code, 250, "{answer}\n{}", postfix.log());
    assert!(start.elapsed() >= Duration::from_secs(9));
    assert_eq!(postfix.wait_for_mail(1, LIMIT).len(), 1);
}

#[test]
fn pitfall_21_forged_copies_go_and_ours_stands_on_top() {
    let (name, value) = header("X-Verdict", "good; by=us");
    let (second, _) = header("X-Second", "");
    let modifications = Modification::remove_copies(&name, 3)
        .chain([
            Modification::InsertHeader(0, name, value.clone()),
            Modification::InsertHeader(1, second, value),
        ])
        .collect();
    let delivery = Delivery { modifications, quarantine: None };
    let plan = Plan::default()
        .need(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS)
        .rule("EOM", Act::Deliver(delivery));
    let filter = Filter::start(plan);
    let postfix = postfix(&filter);
    let text =
        b"X-Verdict: forged\nFrom: ann@a.example\nx-verdict: forged\nSubject: x\nX-VERDICT: forged\n\nhi\n";
    let answer = greeted(&postfix).send_mail("ann@a.example", &["bob@b.example"], text);
    assert_eq!(answer.code, 250, "{answer}");
    let mail = &postfix.wait_for_mail(1, LIMIT)[0];
    assert_eq!(mail.header("X-Verdict"), ["good; by=us"], "{}", mail.text());
    let headers = mail.headers();
    assert!(headers[0].starts_with("X-Verdict:"), "above Received: {headers:#?}");
    assert!(
        headers[1].starts_with("X-Second:"),
        "after an insert at 0, one at 1 is above it too: {headers:#?}"
    );
    assert!(headers[2].starts_with("Received:"), "{headers:#?}");
}

#[test]
fn pitfall_23_the_same_message_again_is_a_message_like_the_first() {
    let ours = Filter::start(Plan::default());
    let later = Filter::start(Plan::default().rule("EOM", refuse(451, "4.7.1", "come again")));
    let config = PostfixConfig {
        smtpd_milters: vec![ours.postfix_name(), later.postfix_name()],
        ..PostfixConfig::default()
    };
    let postfix = Postfix::start(config);
    let text =
        b"From: ann@a.example\nMessage-Id: <1@a.example>\nDate: Sat, 21 Nov 2026 08:00:00 +0000\n\nhello\n";
    for _ in 0..2 {
        assert_eq!(greeted(&postfix).send_mail("ann@a.example", &["bob@b.example"], text).code, 451);
    }
    ours.journal.wait_for("CLOSE", 2);
    let strip = |number| -> Vec<String> {
        let lines = ours.journal.session(number).into_iter().filter(|line| !line.starts_with("CONNECT"));
        lines.map(|line| line.split(" i=").next().unwrap_or_default().to_string()).collect()
    };
    assert_eq!(strip(1), strip(2), "nothing tells them apart but the queue id");
    assert_eq!(ours.journal.count("EOM"), 2);
    assert_eq!(ours.journal.count("ABORT"), 0, "nobody says that a later filter refused what ours accepted");
}

#[test]
fn pitfall_24_a_stop_answers_the_message_in_hand() {
    let mut filter = Filter::start(Plan::default().rule("EOM", Act::Take(Duration::from_secs(2))));
    let postfix = postfix(&filter);
    let mut smtp = greeted(&postfix);
    let sending = std::thread::spawn(move || send(&mut smtp, &["bob@b.example"], "in hand"));
    filter.journal.wait_for("EOM", 1);
    filter.begin_stop();
    assert_eq!(sending.join().unwrap().code, 250, "{}", postfix.log());
    let summary = filter.stop();
    assert_eq!(summary.cut, 0);
    let answer = greeted(&postfix).say("MAIL FROM:<ann@a.example>");
    assert_eq!(answer.code, 451, "nobody listens any more: {answer}");
}

#[test]
fn pitfall_27_one_connection_too_many_costs_postfix_no_time() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let filter = Filter::start(Plan { limits, ..Plan::default() });
    let postfix = postfix(&filter);
    let mut first = greeted(&postfix);
    first.expect("MAIL FROM:<ann@a.example>", 250);
    let start = Instant::now();
    let mut second = postfix.smtp();
    second.say("EHLO a.example");
    assert_eq!(second.say("MAIL FROM:<ann@a.example>").code, 451);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    first.expect("RCPT TO:<bob@b.example>", 250);
    assert_eq!(first.send_data(&message("x")).code, 250);
}

#[test]
fn pitfall_28_postfix_reaches_a_unix_socket_by_its_group() {
    let directory = open_directory();
    let path = directory.path().join("m.sock");
    let group = group_number("postfix").unwrap();
    let listen = Listen::Unix(UnixListen { path: path.clone(), mode: 0o660, group: Some(group) });
    let filter = Filter::start_on(Plan::default(), vec![listen]);
    let postfix = postfix(&filter);
    let answer = send(&mut greeted(&postfix), &["bob@b.example"], "x");
    assert_eq!(answer.code, 250, "{answer}\n{}", postfix.log());
    filter.stop();

    let closed = Listen::Unix(UnixListen { path, mode: 0o600, group: None });
    let _filter = Filter::start_on(Plan::default(), vec![closed]);
    let answer = greeted(&postfix).say("MAIL FROM:<ann@a.example>");
    assert_eq!(answer.code, 451, "closed to Postfix: {answer}");
    postfix.wait_for_log("Permission denied", LIMIT);
}

#[test]
fn pitfall_29_refused_recipients_bdat_pipelining_and_many_of_everything() {
    let filter =
        Filter::start(Plan::default().steps(Steps::REJECTED_RECIPIENTS | Steps::NR_HEADER | Steps::SKIP));
    let postfix = postfix(&filter);

    let mut smtp = greeted(&postfix);
    smtp.expect("XCLIENT ADDR=192.0.2.1 NAME=mx.a.example", 220);
    smtp.expect("EHLO mx.a.example", 250);
    smtp.send(
        b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nRCPT TO:<x@else.example>\r\nRCPT TO:<kim@b.example>\r\n",
    );
    let codes: Vec<u16> = (0..4).map(|_| smtp.read().code).collect();
    assert_eq!(codes, [250, 250, 554, 250]);
    assert_eq!(filter.journal.count("REJECTED <x@else.example>"), 1, "{:#?}", filter.journal.lines());
    assert_eq!(filter.journal.count("RCPT <x@else.example>"), 0);
    smtp.send(b"BDAT 12\r\nSubject: x\r\nBDAT 8 LAST\r\n\r\nbdat\r\n");
    let codes: Vec<u16> = (0..2).map(|_| smtp.read().code).collect();
    assert_eq!(codes, [250, 250], "{}", postfix.log());
    postfix.wait_for_mail(2, LIMIT);
    assert_eq!(filter.journal.count("CONNECT mx.a.example 192.0.2.1"), 1);

    smtp.expect("MAIL FROM:<ann@a.example>", 250);
    let recipients: String = (0..2_000).map(|n| format!("RCPT TO:<u{n}@b.example>\r\n")).collect();
    smtp.send(recipients.as_bytes());
    assert!((0..2_000).all(|_| smtp.read().code == 250));
    assert_eq!(filter.journal.count("RCPT <u"), 2_000);
    smtp.expect("RSET", 250);

    for number in 0..100 {
        let answer = send(&mut smtp, &["bob@b.example"], &format!("number {number}"));
        assert_eq!(answer.code, 250, "{answer}");
    }
    assert_eq!(filter.journal.count("EOM"), 101);
    postfix.wait_for_mail(102, LIMIT);
}

#[test]
fn pitfall_30_what_becomes_of_mail_while_the_filter_is_down() {
    let nobody = format!("inet:127.0.0.1:{}", support::postfix::free_port());
    for (action, code) in [("tempfail", 451), ("reject", 554), ("accept", 250), ("quarantine", 250)] {
        let postfix =
            Postfix::start(PostfixConfig::with_milter(format!("{{ {nobody}, default_action={action} }}")));
        // `shutdown` (421) is known to newer releases only. Where Postfix does not even greet, the greeting is its answer.
        let (mut smtp, greeting) = Smtp::open(postfix.smtp_addr).unwrap();
        let answer = match greeting.code {
            220 => {
                smtp.say("EHLO a.example");
                send(&mut smtp, &["bob@b.example"], "nobody looks")
            }
            _ => greeting,
        };
        assert_eq!(answer.code, code, "{action}: {answer}\n{}", postfix.log());
        let held = postfix.queue("hold").len();
        assert_eq!(held, usize::from(action == "quarantine"), "{action}");
        if action == "accept" {
            postfix.wait_for_mail(1, LIMIT);
        }
        assert_eq!(postfix.mail().len(), usize::from(action == "accept"), "{action}");
    }
}
