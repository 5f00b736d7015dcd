//! `farthing` as admins and scripts type it: what it does, the shapes of `--json`, exit codes, and what it says
//! when it cannot.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use farthing_milter::client::{Letter, Outcome};
use serde_json::{Value, json};
use support::{ALICE, BOB, BUYER, CAROL, Site, World, added, letter, refusal, result, stamped, text};

const FARTHING: &str = env!("CARGO_BIN_EXE_farthing");

/// A letter as it lies in the mailbox: the gate's fields on top.
fn delivered(outcome: &Outcome, letter: &Letter) -> String {
    let mut mail = String::new();
    for name in ["Postage-Status", "Postage-Wanted", "Postage-Unwanted"] {
        added(outcome, name).iter().for_each(|value| mail.push_str(&format!("{name}: {value}\n")));
    }
    for (name, value) in letter.headers.iter().filter(|(name, _)| name != "Postage-Stamp") {
        mail.push_str(&format!("{name}: {}\n", text(value)));
    }
    mail + "\nHello\n"
}

/// The command must end with this code and one line on stderr that holds this text; gives what it printed.
fn says(output: &Output, code: i32, said: &str) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}{}", text(&output.stdout));
    assert!(stderr.starts_with("farthing: ") && stderr.contains(said), "{said:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr}");
    text(&output.stdout)
}

#[test]
fn the_book_of_who_is_known() {
    let world = World::start(&Site::default());
    assert_eq!(world.json(&["known", "list"]), json!([]));
    let add = |arguments: &[&str]| world.json(&[&["known", "add"], arguments].concat());
    assert_eq!(add(&["Alice@A.example", "--for", "bob+lists@b.example"])["new"], true);
    assert_eq!(add(&[ALICE, "--for", BOB])["new"], false, "it stands there already");
    add(&["c.example"]);
    add(&["list:Users.Lists.example", "--for", CAROL]);
    world.json(&["known", "block", "eve@e.example", "--for", BOB]);

    let list = world.json(&["known", "list"]);
    let rows: Vec<Value> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            assert!(row["since"].as_u64().unwrap() > 1_700_000_000, "{row}");
            json!([row["recipient"], row["sender"], row["how"], row["block"]])
        })
        .collect();
    for row in [
        json!([BOB, ALICE, "added", false]),
        json!([null, "c.example", "added", false]),
        json!([CAROL, "list:users.lists.example", "added", false]),
        json!([BOB, "eve@e.example", "added", true]),
    ] {
        assert!(rows.contains(&row), "{row}: {rows:#?}");
    }
    assert_eq!(rows.len(), 4);
    assert_eq!(world.json(&["known", "list", "--for", BOB]).as_array().unwrap().len(), 2);

    assert_eq!(result(&world.send(&letter("known"))), "known", "the daemon sees it at once");
    world.json(&["known", "remove", ALICE, "--for", BOB]);
    assert!(refusal(&world.send(&letter("unknown"))).starts_with("550"));
    let again = world.farthing(&["known", "remove", ALICE, "--for", BOB]);
    says(&again, 1, "alice@a.example does not stand in the book of bob@b.example");
    let whose = world.farthing(&["known", "remove", "c.example", "--for", BOB]);
    says(&whose, 1, "but in the site's: leave --for away");
    let whose = world.farthing(&["known", "remove", "eve@e.example"]);
    says(&whose, 1, "but in that of bob@b.example: --for bob@b.example names it");

    let table = text(&world.farthing(&["known", "list"]).stdout);
    assert!(
        table.starts_with("RECIPIENT") && table.contains("(site)") && table.contains("blocked"),
        "{table}"
    );
    assert!(!table.contains('\u{1b}'), "no colour but on a terminal");
}

#[test]
fn senders_may_be_copied_and_slips_are_told() {
    let world = World::start(&Site::default());
    let add = |sender: &str| world.farthing(&["known", "add", sender, "--for", BOB]);
    let done = |output: Output| {
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(done(add("Alice <Alice@a.example>")), "alice@a.example is known to bob@b.example\n");
    let list = done(add("list:<users.lists.example>"));
    assert_eq!(list, "list:users.lists.example is known to bob@b.example\n");
    says(&add("*@a.example"), 64, "for everybody at that domain write a.example");
    says(&add("@a.example"), 64, "for everybody at that domain write a.example");
    says(&add("*.a.example"), 64, "for a domain and all below it write .a.example");
    let blocked = world.farthing(&["known", "block", "pest.example"]);
    assert_eq!(done(blocked), "pest.example is blocked for the whole site\n");
    let elsewhere = world.farthing(&["known", "add", ALICE, "--for", "bob@elsewhere.example"]);
    says(&elsewhere, 65, "bob@elsewhere.example is not in a domain of this site ([gate] domains)");
    says(&world.farthing(&["freepost", "new", "shop", "--for", BOB, "--days", "0"]), 64, "from 1 to 65535");
    world.json(&["freepost", "new", "shop", "--for", BOB]);
    let revoke = |label: &str| done(world.farthing(&["freepost", "revoke", label, "--for", BOB]));
    assert_eq!(revoke("shop"), "shop revoked\n");
    assert_eq!(revoke("shop"), "shop was revoked already\n");
    assert!(revoke("shpo").contains("no such address was made here"), "a slip of the finger is seen");
}

#[test]
fn accounts_are_credited_debited_listed_and_shown() {
    let world = World::start(&Site::default());
    // Keys whose text begins as an option does.
    let keys = [[0xF8; 32], [0xFB, 0xEF, 0xBE].repeat(11)[..32].try_into().unwrap()]
        .map(|key: [u8; 32]| data_encoding::BASE64URL_NOPAD.encode(&key));
    assert!(keys[0].starts_with("-P") && keys[1].starts_with("----"), "{keys:?}");
    assert_eq!(world.json(&["account", "list"]), json!([]));
    for key in &keys {
        let credited = world.json(&["account", "credit", key, "1.5c", "--memo", "by invoice 17"]);
        assert_eq!(credited, json!({"account": key, "balance": 15_000}));
        assert_eq!(world.json(&["account", "debit", key, "5000u"])["balance"], 10_000);
        let shown = world.json(&["account", "show", key]);
        assert_eq!((&shown["balance"], &shown["outstanding"]), (&json!(10_000), &json!(0)));
        let entries: Vec<Value> = shown["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| json!([e["kind"], e["amount"], e["memo"]]))
            .collect();
        assert_eq!(entries, [json!(["debit", -5_000, ""]), json!(["credit", 15_000, "by invoice 17"])]);
    }
    world.buy(2);
    let list = world.json(&["account", "list"]);
    assert!(
        list.as_array()
            .unwrap()
            .contains(&json!({"account": BUYER.to_string(), "balance": 0, "outstanding": 5_000}))
    );
    assert_eq!(list.as_array().unwrap().len(), 3);

    let (key, farthing) = (keys[0].as_str(), |arguments: &[&str]| world.farthing(arguments));
    says(&farthing(&["account", "debit", key, "2c"]), 1, "the account holds only 1c");
    says(&farthing(&["account", "credit", key, "0"]), 65, "the amount is zero; nothing was moved");
    says(&farthing(&["account", "credit", "short", "1c"]), 65, "`short` is not an account: 43 characters");
    says(&farthing(&["account", "credit", key, "1,50"]), 64, "write 0.25c");
    says(&farthing(&["account", "credit", key, "1000000000000000000"]), 64, "");
    world.books_balance();
}

#[test]
fn the_books_are_shown_and_proved() {
    let world = World::start(&Site::default());
    let stamps = world.buy(3);
    world.send(&stamped(&stamps[0], "one"));
    let balances = world.json(&["ledger", "balances"]);
    assert_eq!(balances["currency"], "USD");
    let accounts = balances["balances"].as_object().unwrap();
    assert_eq!(accounts["stamps"], 5_000);
    assert_eq!(accounts["escrow:b.example"], 2_500);
    assert_eq!(accounts["funding:credit"], -7_500);
    assert_eq!(accounts[&format!("account:{BUYER}")], 0);
    assert_eq!(accounts.values().map(|value| value.as_i64().unwrap()).sum::<i64>(), 0, "{accounts:?}");

    let proof = world.json(&["ledger", "check"]);
    assert_eq!(proof["ok"], true);
    assert!(proof["transactions"].as_u64().unwrap() >= 3, "{proof}");
    let head = data_encoding::BASE64URL_NOPAD.decode(proof["head"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(head.len(), 32);

    let books = rusqlite::Connection::open(world.path("ledger.db")).unwrap();
    books.busy_timeout(support::PATIENCE).unwrap();
    books.execute("UPDATE account SET balance = balance + 1 WHERE name = 'stamps'", []).unwrap();
    let output = world.farthing(&["--json", "ledger", "check"]);
    assert_eq!(output.status.code(), Some(1));
    let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(proof["ok"], false);
    assert!(proof["faults"][0].as_str().unwrap().contains("stamps"), "{proof}");
    let output = world.farthing(&["ledger", "check"]);
    assert!(text(&output.stdout).contains("THE BOOKS DO NOT BALANCE"), "{output:?}");
    assert!(output.stderr.is_empty(), "everything was said on stdout");
}

#[test]
fn a_ledger_that_cannot_be_written_now_is_a_try_again() {
    let world = World::start(&Site::default());
    let lock = world.lock_ledger();
    says(&world.farthing(&["known", "add", ALICE]), 75, "another process holds it");
    assert_eq!(world.json(&["known", "list"]), json!([]), "reading goes on");
    drop(lock);
    world.json(&["known", "add", ALICE]);

    let first = World::without_daemon(&Site::default());
    says(
        &first.farthing(&["ledger", "check"]),
        69,
        "ledger.db does not exist yet; start farthingd once, it makes it",
    );
    assert!(!first.path("ledger.db").exists());
}

#[test]
fn keys_are_made_listed_published_and_retired() {
    let world = World::start(&Site::default());
    let list = world.json(&["key", "list"]);
    let [first] = &list.as_array().unwrap()[..] else { panic!("the daemon made one: {list}") };
    assert_eq!((&first["office"], &first["state"]), (&json!("b.example"), &json!("active")));
    let public = first["public"].as_str().unwrap();
    assert_eq!(data_encoding::BASE64URL_NOPAD.decode(public.as_bytes()).unwrap().len(), 32);
    let old = first["selector"].as_str().unwrap();

    let records = world.json(&["key", "dns"]);
    assert_eq!(
        records,
        json!([
            {"name": format!("{old}._postage.b.example"), "txt": format!("v=postage1; k=ed25519; p={public}")},
            {"name": "_postage.b.example",
             "txt": format!("v=postage1; c=USD; n=2500; i=b.example; u=http://{}/", world.office)},
        ])
    );
    let zone = text(&world.farthing(&["key", "dns"]).stdout);
    assert!(
        zone.starts_with(&format!(
            "{old}._postage.b.example. IN TXT \"v=postage1; k=ed25519; p={public}\"\n"
        )),
        "{zone}"
    );

    says(&world.farthing(&["key", "retire", old]), 1, "is the only active key: make another first");
    says(
        &world.farthing(&["key", "retire", "nosuch"]),
        1,
        "there is no active key `nosuch`; `farthing key list`",
    );
    let new = world.json(&["key", "new"])["selector"].as_str().unwrap().to_owned();
    world.json(&["key", "retire", old]);
    let states: Vec<Value> = world
        .json(&["key", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|key| json!([key["selector"], key["state"]]))
        .collect();
    assert_eq!(states, [json!([old, "retired"]), json!([new, "active"])]);
    let names: Vec<Value> =
        world.json(&["key", "dns"]).as_array().unwrap().iter().map(|r| r["name"].clone()).collect();
    assert!(
        names.contains(&json!(format!("{old}._postage.b.example"))),
        "until its last stamp has expired: {names:?}"
    );

    let token = world.json(&["key", "new", "--token"])["token_key"].as_str().unwrap().to_owned();
    let file = world.path("keys").join(format!("{token}.token"));
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    let gate_only = World::without_daemon(&Site { office: false, ..Site::default() });
    says(&gate_only.farthing(&["key", "list"]), 78, "there is no [office] in the configuration");
    says(&gate_only.farthing(&["key", "new"]), 78, "there is no [office]");
}

/// Publishes what `farthing key dns` says.
fn publish(world: &World) {
    for record in world.json(&["key", "dns"]).as_array().unwrap() {
        world.zone.txt(record["name"].as_str().unwrap(), record["txt"].as_str().unwrap());
    }
}

/// Mail of the daemon's own, which comes from here, is not asked for postage.
const LOOPBACK: &str = "exempt_networks = [\"127.0.0.0/8\"]";

/// The checks of `farthing status` that are not well, by name.
fn faults(world: &World) -> Vec<(String, String)> {
    let output = world.farthing(&["--json", "status"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = status["checks"].as_array().unwrap();
    assert!(checks.len() >= 6, "{status}");
    let faults: Vec<_> = checks
        .iter()
        .filter(|check| check["ok"] == false)
        .map(|check| (word(&check["name"]), word(&check["detail"])))
        .collect();
    assert_eq!(status["ok"], faults.is_empty(), "{status}");
    assert_eq!(output.status.code(), Some(i32::from(!faults.is_empty())));
    faults
}

/// There is one fault, of this name, and it says this.
fn one_fault(world: &World, name: &str, said: &str) {
    let faults = faults(world);
    let [(found, detail)] = &faults[..] else { panic!("one fault, {name}, not {faults:#?}") };
    assert!(found.contains(name) && detail.contains(said), "{found}: {detail}");
}

#[test]
fn status_says_that_all_is_well_or_the_line_to_type() {
    let world = World::start(&Site::gate(LOOPBACK));
    let unpublished = faults(&world);
    assert_eq!(unpublished.len(), 2, "{unpublished:#?}");
    assert!(unpublished.iter().all(|(name, detail)| name.starts_with("DNS ")
        && detail.contains("publish what `farthing key dns` prints")));
    let world = World::start(&Site::gate(LOOPBACK));
    publish(&world);
    assert_eq!(faults(&world), []);
    let table = text(&world.farthing(&["status"]).stdout);
    assert!(table.lines().count() > 6 && !table.contains("FAULT"), "{table}");

    let socket = world.path("milter.sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    one_fault(&world, "rights of", "set [gate] socket_mode = \"0660\" and restart");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();

    let lock = world.lock_ledger();
    one_fault(&world, "ledger", "another process holds it; find it with fuser");
    drop(lock);

    world.configure(&Site::gate(&format!("{LOOPBACK}\nmax_price = \"2c\"")));
    let text = fs::read_to_string(world.config_path()).unwrap();
    fs::write(world.config_path(), text.replace("\"0.25c\"", "\"1.5c\"")).unwrap();
    one_fault(
        &world,
        "DNS _postage.b.example",
        "asks 0.25c, the gate 1.5c; publish what `farthing key dns` prints",
    );
}

#[test]
fn status_finds_what_is_down_and_what_dns_cannot_say() {
    let mut world = World::start(&Site::gate(LOOPBACK));
    publish(&world);
    world.end_daemon("KILL");
    let down = faults(&world);
    let names: Vec<&str> = down.iter().map(|(name, _)| name.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["milter", "office"], "{down:#?}");
    assert!(
        down.iter().all(
            |(_, detail)| detail.contains("run: systemctl start farthingd, then journalctl -u farthingd")
        )
    );
    world.start_daemon();
    assert_eq!(faults(&world), []);

    let selector = world.json(&["key", "list"])[0]["selector"].as_str().unwrap().to_owned();
    let name = format!("{selector}._postage.b.example");
    world.zone.manner(&name, farthing::demo::dns::Manner::ServFail);
    one_fault(&world, &format!("DNS {name}"), "is [dns] right, and the name server up?");

    let other = World::start(&Site::gate(LOOPBACK));
    publish(&other);
    // Another key of the same day, as after a restored backup.
    fs::remove_dir_all(other.path("keys")).unwrap();
    other.json(&["key", "new"]);
    one_fault(&other, "DNS", "is another key than ours; publish what `farthing key dns` prints");
    let key = fs::read_dir(other.path("keys")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    one_fault(&other, "keys", "run: chmod 600");
}

#[test]
fn a_delivered_letter_piped_in_is_marked_by_its_token() {
    let world = World::start(&Site::default());
    let stamps = world.buy(2);
    let (one, two) = (stamped(&stamps[0], "one"), stamped(&stamps[1], "two"));
    let mail = [delivered(&world.send(&one), &one), delivered(&world.send(&two), &two)];
    let mark = |verb: &str, mail: &str| {
        let output = world.farthing_with(&["--json", verb, "--stdin"], mail.as_bytes());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let unwanted = mark("unwanted", &mail[0]);
    assert_eq!(unwanted[0]["mark"], "unwanted");
    assert_eq!((&unwanted[0]["refunded"], &unwanted[0]["known"]), (&json!(0), &json!(false)));
    let wanted = mark("wanted", &mail[0].replace('\n', "\r\n"));
    assert_eq!(
        (&wanted[0]["refunded"], &wanted[0]["known"]),
        (&json!(2_500), &json!(true)),
        "it can still turn"
    );
    assert_eq!((&wanted[0]["recipient"], &wanted[0]["author"]), (&json!(BOB), &json!(ALICE)));
    assert_eq!(mark("wanted", &mail[0])[0]["already_refunded"], true, "once");
    assert_eq!(world.balance(&format!("account:{BUYER}")), 2_500);

    // A token of another letter in the field of this one marks that one; a forged one marks nothing.
    let token = |mail: &str| mail.split("postage+w.").nth(1).unwrap()[..32].to_owned();
    let forged: String = token(&mail[1]).chars().rev().collect();
    let output = world.farthing(&["wanted", &forged]);
    says(&output, 1, "that token names no letter of this site");
    let swapped = mail[1].replace(&token(&mail[1]), &forged).replace("Message-ID", "X-Message-ID");
    let output = world.farthing_with(&["wanted", "--stdin"], swapped.as_bytes());
    says(&output, 65, "the letter has neither a token of this site nor a Message-ID");
    assert_eq!(world.balance("escrow:b.example"), 2_500, "the second letter is still in escrow");
    world.books_balance();
}

#[test]
fn the_id_in_a_letters_header_is_never_believed() {
    let world = World::start(&Site::default());
    let stamps = world.buy(2);
    let (one, two) = (stamped(&stamps[0], "one"), stamped(&stamps[1], "two"));
    world.send(&one);
    let mail = delivered(&world.send(&two), &two);
    // The stranger wrote the header himself, with the id of another letter, and without a token.
    let lines: Vec<String> = mail
        .lines()
        .filter(|line| !line.starts_with("Postage-Wanted") && !line.starts_with("Postage-Unwanted"))
        .map(|line| line.replace(&stamps[1].id(), &stamps[0].id()))
        .collect();
    let mail = lines.join("\n") + "\n";
    assert!(mail.contains(&format!("id={}", stamps[0].id())), "{mail}");
    let output = world.farthing_with(&["wanted", "--stdin"], mail.as_bytes());
    says(&output, 64, "a Message-ID needs the recipient too: add --for RCPT");
    world.wait_for_decision("<two@a.example>", BOB);
    let marked = world.farthing_with(&["--json", "wanted", "--stdin", "--for", BOB], mail.as_bytes());
    assert!(marked.status.success(), "{}", text(&marked.stderr));
    assert_eq!(world.json(&["wanted", &stamps[1].id()])[0]["already_refunded"], true, "by its Message-ID");
    assert_eq!(world.json(&["wanted", &stamps[0].id()])[0]["refunded"], 2_500, "which had not been touched");
}

#[test]
fn letters_are_marked_by_every_kind_of_id() {
    let world = World::start(&Site::default());
    // The first begins as an option does.
    let ids = (0..4_u8).map(|number| [if number == 0 { 0xF8 } else { number }; 16]);
    let stamps = world.buy_ids(ids, "0.25c".parse().unwrap());
    assert!(stamps[0].id().starts_with('-'));
    let outcomes: Vec<Outcome> =
        stamps.iter().enumerate().map(|(n, stamp)| world.send(&stamped(stamp, &n.to_string()))).collect();
    let token = added(&outcomes[2], "Postage-Wanted")[0].to_uppercase();
    let token = token.split("+W.").nth(1).unwrap()[..32].to_owned();
    let both = world.json(&["wanted", &stamps[0].id(), &format!("b.example/{}", stamps[1].id()), &token]);
    let refunds: Vec<&Value> = both.as_array().unwrap().iter().map(|done| &done["refunded"]).collect();
    assert_eq!(refunds, [&json!(2_500); 3], "{both}");
    world.wait_for_decision("<3@a.example>", BOB);
    let by_message_id = world.json(&["wanted", "<3@a.example>", "--for", "Bob@B.example"]);
    assert_eq!(by_message_id[0]["refunded"], 2_500);
    assert_eq!(world.balance("escrow:b.example"), 0);

    says(&world.farthing(&["wanted", "<3@a.example>"]), 64, "add --for RCPT");
    says(&world.farthing(&["wanted", "<3@a.example>", "--for", CAROL]), 1, "no such letter");
    says(&world.farthing(&["wanted", "nonsense"]), 65, "not a token");
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    let output = world.farthing(&["wanted", unknown, &stamps[0].id()]);
    let done = says(&output, 1, &format!("{unknown}: no such letter"));
    assert!(done.contains("had gone back before"), "the other one was done: {done}");
    says(&world.farthing_with(&["wanted", "--stdin"], b""), 65, "nothing came on standard input");
    says(&world.farthing(&["wanted"]), 64, "");
}

#[test]
fn an_abuse_report_marks_the_letter_it_is_about() {
    let world = World::start(&Site::default());
    let stamps = world.buy(2);
    let reports: Vec<String> = [("one", "abuse"), ("two", "not-spam")]
        .iter()
        .zip(&stamps)
        .map(|((subject, kind), stamp)| {
            let letter = stamped(stamp, subject);
            let mail = delivered(&world.send(&letter), &letter);
            format!(
                "From: {BOB}\nTo: postage@b.example\nSubject: report\nMIME-Version: 1.0\n\
                 Content-Type: multipart/report; report-type=feedback-report; boundary=\"=_x\"\n\n\
                 --=_x\nContent-Type: text/plain\n\nSee below.\n\n--=_x\nContent-Type: message/feedback-report\n\n\
                 Feedback-Type: {kind}\nUser-Agent: X/1\nVersion: 1\n\n\
                 --=_x\nContent-Type: message/rfc822\n\n{mail}\n--=_x--\n"
            )
        })
        .collect();
    // Whichever command it is piped into: the report says what it is.
    for (report, mark, refunded) in [(&reports[0], "unwanted", 0), (&reports[1], "wanted", 2_500)] {
        let output = world.farthing_with(&["--json", "unwanted", "--stdin"], report.as_bytes());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&done[0]["mark"], &done[0]["refunded"]), (&json!(mark), &json!(refunded)));
    }
}

#[test]
fn whoever_stops_reading_ends_it_quietly() {
    let world = World::start(&Site::default());
    for number in 0..50 {
        world.json(&["known", "add", &format!("friend-{number}@a.example")]);
    }
    let pipe = |command: &str| {
        let script = format!("set -o pipefail; {FARTHING} {command} | head -c1");
        let output =
            Command::new("bash").args(["-c", &script]).env("FARTHING_CONFIG", world.config_path()).output();
        output.unwrap()
    };
    for command in ["completions bash", "known list", "--json known list", "--help", "known --help"] {
        let output = pipe(command);
        assert!(output.status.success(), "{command}: {}", output.status);
        assert!(output.stderr.is_empty(), "{command}: {}", text(&output.stderr));
        assert_eq!(output.stdout.len(), 1, "{command}");
    }
}

#[test]
fn completions_know_every_command() {
    let world = World::without_daemon(&Site::default());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = world.farthing(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = text(&output.stdout);
        for command in ["wanted", "known", "account", "ledger", "status", "wallet"] {
            assert!(script.contains(command), "{shell} knows {command}");
        }
    }
    says(&world.farthing(&["completions", "csh"]), 64, "csh");
}

#[test]
fn an_error_is_one_line_that_says_what_to_do() {
    let world = World::without_daemon(&Site::default());
    let nowhere = world.path("nowhere.toml");
    let nowhere = nowhere.to_str().unwrap();
    for (arguments, code, said) in [
        (
            &["-c", nowhere, "known", "list"][..],
            78,
            "nowhere.toml: cannot be read: No such file or directory (os error 2); name another file with -c",
        ),
        (&["knwon", "list"], 64, "unrecognized subcommand 'knwon'"),
        (&["known", "add"], 64, "<SENDER>"),
        (&["known", "add", "alice"], 64, "'alice'"),
        (&["known", "add", ALICE, "--for", "b.example"], 64, "`b.example` is not an address: it has no @"),
        (&["known", "list", "--fro", BOB], 64, "'--fro'"),
        (&["account", "credit", "KEY"], 64, "<AMOUNT>"),
        (&["wanted", "--stdin", "ID"], 64, "--stdin"),
    ] {
        let output = world.farthing(arguments);
        says(&output, code, said);
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let help = world.farthing(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    for half in [&[][..], &["ledger"]] {
        let shown = world.farthing(half);
        assert_eq!(shown.status.code(), Some(64));
        assert!(
            text(&shown.stderr).contains("Usage: farthing"),
            "who types half of it is shown what there is"
        );
    }

    fs::write(world.config_path(), "[gate]\nmode = \"loud\"\nprice = 1\n").unwrap();
    let output = world.farthing(&["known", "list"]);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 3, "every fault of the configuration: {said}");
    assert!(said.lines().all(|line| line.starts_with("farthing: ")), "{said}");
}
