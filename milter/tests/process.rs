//! The example filter as a process: killed, stopped, started twice, short of files, and asked by `miltertest`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::process::Command;
use std::time::Duration;

use farthing_milter::client::{FULL_OFFER, Letter, Manner, MtaClient};
use farthing_milter::negotiate::Actions;
use farthing_milter::server::{Address, Limits};
use farthing_milter::text::QuarantineReason;
use farthing_milter::verdict::Delivery;
use support::filter::{Act, Filter, Plan};
use support::postfix::{Postfix, PostfixConfig, free_port, open_directory};
use support::process::Process;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn pitfall_24_killed_at_every_stage_and_back_again() {
    let listen = format!("inet:127.0.0.1:{}", free_port());
    let postfix = Postfix::start(PostfixConfig::with_milter(&listen));
    let steps = ["EHLO a.example", "MAIL FROM:<ann@a.example>", "RCPT TO:<bob@b.example>", "DATA"];
    for length in 1..=steps.len() {
        let mut filter = Process::start(&[], &listen);
        let mut smtp = postfix.smtp();
        let mut code = 0;
        for step in &steps[..length] {
            code = smtp.say(step).code;
        }
        filter.signal("KILL");
        filter.wait(LIMIT);
        // What Postfix says next is a temporary failure, at whatever stage.
        for step in &steps[length..] {
            if code < 400 {
                code = smtp.say(step).code;
            }
        }
        if code == 354 {
            smtp.send(b"Subject: x\r\n\r\nhi\r\n.\r\n");
            code = smtp.read().code;
        }
        assert_eq!(code, 451, "killed after {:?}\n{}", steps[length - 1], postfix.log());
    }
    let _filter = Process::start(&[], &listen);
    let mut smtp = postfix.smtp();
    smtp.expect("EHLO a.example", 250);
    let answer = smtp.send_mail("ann@a.example", &["bob@b.example"], b"Subject: hello\n\nhi\n");
    assert_eq!(answer.code, 250, "{answer}");
    let mail = postfix.wait_for_mail(1, LIMIT);
    assert_eq!(mail[0].header("X-Subject-Check"), ["passed"]);
    let answer = smtp.send_mail("ann@a.example", &["bob@b.example"], b"Subject: viagra\n\nhi\n");
    assert_eq!((answer.code, answer.text()), (550, "5.7.1 not with \"viagra\" in the subject".into()));
}

#[test]
fn pitfall_24_a_signal_to_stop_is_obeyed_with_connections_open() {
    let mut filter = Process::start(&[], "inet:127.0.0.1:0");
    let postfix = Postfix::start(PostfixConfig::with_milter(&filter.address));
    let mut smtp = postfix.smtp();
    smtp.expect("EHLO a.example", 250);
    filter.signal("TERM");
    assert!(filter.wait(LIMIT).success(), "an idle connection does not hold it up");
    assert_eq!(smtp.say("MAIL FROM:<ann@a.example>").code, 451);
}

#[test]
fn pitfall_28_after_a_kill_the_socket_is_taken_over_and_a_second_instance_is_not_started() {
    let directory = open_directory();
    let listen = format!("unix:{}/m.sock", directory.path().display());
    let mut killed = Process::start(&[], &listen);
    killed.signal("KILL");
    killed.wait(LIMIT);
    assert!(directory.path().join("m.sock").exists());
    let mut first = Process::start(&[], &listen);
    assert!(Process::try_start(&[], &listen).is_none(), "the place is taken");
    first.signal("TERM");
    first.wait(LIMIT);
    assert!(!directory.path().join("m.sock").exists());
}

#[tokio::test]
async fn pitfall_26_a_filter_short_of_files_goes_on_when_there_is_room_again() {
    let filter = Process::start(&["prlimit", "--nofile=40"], "inet:127.0.0.1:0");
    let address = Address::Tcp(filter.address.strip_prefix("inet:").unwrap().parse().unwrap());
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(MtaClient::connect_only(&address, FULL_OFFER, Manner::Postfix).await.unwrap());
    }
    let mut first = crowd.remove(0);
    first.negotiate().await.unwrap();
    drop(crowd);
    let mut later = MtaClient::connect(&address, FULL_OFFER, Manner::Postfix).await.unwrap();
    for client in [&mut first, &mut later] {
        let stranger = farthing_milter::address::Client {
            host: b"x".to_vec(),
            address: farthing_milter::address::ClientAddress::Unknown,
            port: 0,
        };
        client.greet(&stranger, "a.example").await.unwrap();
        let outcome = client.deliver(&Letter::new("ann@a.example", &["bob@b.example"], "hi")).await.unwrap();
        assert!(outcome.is_delivered());
    }
}

/// Runs a Lua script of Debian's `miltertest` against a filter; the script sees `address`.
fn miltertest(filter: &str, script: &str) {
    let port = filter.rsplit(':').next().unwrap();
    let directory = open_directory();
    let file = directory.path().join("script.lua");
    std::fs::write(&file, script).unwrap();
    let output = Command::new("miltertest")
        .args(["-D", &format!("address=inet:{port}@127.0.0.1"), "-s"])
        .arg(&file)
        .output()
        .expect("miltertest is missing: apt-get install miltertest (tests/run does it)");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{error}", output.status);
}

const BEGIN: &str = r#"
conn = mt.connect(address)
if conn == nil then error("no connection") end
if mt.conninfo(conn, "mx.a.example", "192.0.2.1") ~= nil then error("conninfo") end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error("conninfo was not answered with continue") end
mt.helo(conn, "a.example")
if mt.getreply(conn) ~= SMFIR_CONTINUE then error("helo") end
mt.macro(conn, SMFIC_MAIL, "i", "4XYZ")
mt.mailfrom(conn, "<ann@a.example>")
if mt.getreply(conn) ~= SMFIR_CONTINUE then error("mail") end
mt.rcptto(conn, "<bob@b.example>")
if mt.getreply(conn) ~= SMFIR_CONTINUE then error("rcpt") end
"#;

/// Goes on from [`BEGIN`] to the end of a message.
const MESSAGE: &str = r#"
mt.header(conn, "Subject", "hello")
mt.eoh(conn)
mt.getreply(conn)
mt.bodystring(conn, "hi\r\n")
mt.getreply(conn)
mt.eom(conn)
"#;

#[test]
fn pitfall_19_miltertest_sees_the_quarantine_and_then_the_final_word() {
    let reason = QuarantineReason::new("to be looked at").unwrap();
    let delivery = Delivery { modifications: Vec::new(), quarantine: Some(reason) };
    let filter = Filter::start(Plan::default().need(Actions::QUARANTINE).rule("EOM", Act::Deliver(delivery)));
    miltertest(
        &filter.postfix_name(),
        &format!(
            r#"{BEGIN}{MESSAGE}
            if mt.getreply(conn) ~= SMFIR_CONTINUE then error("no final word") end
            if not mt.eom_check(conn, MT_QUARANTINE, "to be looked at") then error("not held") end
            mt.disconnect(conn)
            "#
        ),
    );
    assert_eq!(filter.journal.count("EOM i=4XYZ"), 1, "{:#?}", filter.journal.lines());
}

#[test]
fn pitfall_20_miltertest_waits_while_it_is_asked_for_patience() {
    let limits = Limits { progress: Duration::from_millis(300), ..Limits::default() };
    let plan = Plan { limits, ..Plan::default() }.rule("EOM", Act::Take(Duration::from_millis(1_500)));
    let filter = Filter::start(plan);
    miltertest(
        &filter.postfix_name(),
        &format!(
            r#"{BEGIN}{MESSAGE}
            if mt.getreply(conn) ~= SMFIR_CONTINUE then error("no final word") end
            mt.disconnect(conn)
            "#
        ),
    );
    assert_eq!(filter.journal.count("EOM DONE"), 1);
}

#[test]
fn pitfall_21_miltertest_sees_the_header_inserted_on_top() {
    let filter = Process::start(&[], "inet:127.0.0.1:0");
    miltertest(
        &filter.address,
        &format!(
            r#"{BEGIN}
        mt.header(conn, "Subject", "hello")
        mt.eoh(conn)
        if mt.getreply(conn) ~= SMFIR_CONTINUE then error("eoh") end
        mt.eom(conn)
        if mt.getreply(conn) ~= SMFIR_CONTINUE then error("eom") end
        if not mt.eom_check(conn, MT_HDRINSERT, "X-Subject-Check", "passed") then error("no header") end
        if mt.eom_check(conn, MT_HDRADD) then error("added, not inserted") end
        mt.disconnect(conn)
        "#
        ),
    );
}

#[test]
fn pitfall_05_miltertest_gets_a_refusal_at_the_end_of_the_header_and_not_before() {
    let filter = Process::start(&[], "inet:127.0.0.1:0");
    miltertest(
        &filter.address,
        &format!(
            r#"{BEGIN}
        mt.header(conn, "Subject", "cheap viagra")
        mt.header(conn, "X-More", "of it")
        mt.eoh(conn)
        if mt.getreply(conn) ~= SMFIR_REPLYCODE then error("not refused at the end of the header") end
        mt.abort(conn)
        mt.mailfrom(conn, "<ann@a.example>")
        if mt.getreply(conn) ~= SMFIR_CONTINUE then error("the next message is refused too") end
        mt.disconnect(conn)
        "#
        ),
    );
}
