//! Codes that are issued, printed, typed, guessed, raced for, made void.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, sync::Barrier, thread};

use farthing::{
    ledger::{
        AccountKey, Ledger as _,
        funding::{Funding as _, NewVouchers, VoucherUse},
    },
    money::Micros,
    voucher::Code,
};
use serde_json::{Value, json};

use super::*;

/// What the command line says when it issues so many of 5.00.
fn issued(world: &World, count: usize) -> Vec<String> {
    let said = world.json(&["voucher", "issue", "--value", "5.00", "--count", &count.to_string()]);
    let all = said.as_array().unwrap();
    all.iter().map(|voucher| voucher["code"].as_str().unwrap().to_owned()).collect()
}

fn sending(customer: &Customer, code: &str) -> Signed {
    customer.request("POST", "/v1/vouchers", json!({"code": code}).to_string())
}

#[test]
fn an_admin_issues_codes_and_a_sender_buys_stamps_for_one() {
    let world = running("");
    let said = world.json(&["voucher", "issue", "--value", "5.00", "--count", "3", "--memo", "fair\n"]);
    let codes: Vec<&str> = said.as_array().unwrap().iter().map(|v| v["code"].as_str().unwrap()).collect();
    assert_eq!(codes.len(), 3);
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!((&said[0]["value"], &said[2]["number"]), (&json!(5_000_000), &json!(3)));
    assert!(codes.iter().all(|code| code.len() == 23 && code.parse::<Code>().is_ok()), "{codes:?}");
    assert_eq!(well_known(&world)["funding"], json!(["voucher", "credit"]));

    let url = format!("http://{}/", world.office);
    world.json(&["wallet", "new"]);
    let topup = ["topup", "--voucher", codes[0], "--office", &url];
    let first = world.json(&topup);
    let credit = json!({"office": "b.example", "credited": 5_000_000, "balance": 5_000_000});
    assert_eq!(first, credit);
    let again = json!({"office": "b.example", "credited": 5_000_000, "balance": 5_000_000, "before": true});
    assert_eq!(world.json(&topup), again, "sent again, credited once");
    let told = text(&world.farthing(&topup).stdout);
    assert!(told.starts_with("500c were credited before at b.example"), "{told}");
    let typed = codes[1].to_lowercase().replace('-', " ") + "\n";
    let piped = world.farthing_with(&["topup", "--voucher", "-", "--office", &url], typed.as_bytes());
    assert_eq!(text(&piped.stdout), "500c credited at b.example; the account holds 1000c\n");
    world.json(&["buy", "b.example", "--count", "4", "--office", &url]);
    let wallet = world.json(&["wallet", "show"]);
    assert_eq!(wallet["offices"], json!([{"office": "b.example", "balance": 9_990_000}]));
    assert_eq!(world.balance("funding:voucher"), -10_000_000);
    world.books_balance();

    let account = wallet["account"].as_str().unwrap();
    let list = world.json(&["voucher", "list"]);
    let short: Vec<Value> =
        list.as_array().unwrap().iter().map(|v| json!([v["number"], v["state"], v["account"]])).collect();
    assert_eq!(short, [json!([3, "open", null]), json!([2, "used", account]), json!([1, "used", account])]);
    let shown = text(&world.farthing(&["voucher", "list"]).stdout);
    assert!(shown.contains("fair\\n") && shown.contains("open"), "{shown}");
    let show = text(&world.farthing(&["account", "show", account]).stdout);
    assert!(show.contains("voucher 1") && !show.contains("fair"), "{show}");

    // The codes were shown once, and are nowhere now.
    let mut kept = world.log() + &list.to_string() + &shown + &show;
    for file in ["ledger.db", "ledger.db-wal", "wallet"] {
        kept += &String::from_utf8_lossy(&fs::read(world.path(file)).unwrap_or_default());
    }
    for code in codes {
        assert!(!kept.contains(code) && !kept.contains(&code.replace('-', "")), "{code}");
    }
}

#[test]
fn a_code_of_no_worth_is_told_in_one_sentence() {
    let world = running("");
    let codes = issued(&world, 3);
    let (alice, bob) = (Customer::new(1), Customer::new(2));
    assert_eq!(sending(&alice, &codes[0]).send_to(world.office).status, 200);
    world.json(&["voucher", "void", "2"]);
    let expired = Code::from_random(b"long expired");
    support::block_on(async {
        let ledger = world.ledger();
        let new = NewVouchers {
            now: 1_700_000_000,
            value: Micros::new(5_000_000).unwrap(),
            expiry: Some(1_700_086_399),
            memo: String::new(),
            codes: vec![expired.hash()],
        };
        ledger.voucher_issue(new).await.unwrap();
        ledger.close().await;
    });
    let never = Code::from_random(b"never issued");
    let worthless = [
        ("used by another", codes[0].clone()),
        ("void", codes[1].clone()),
        ("expired", expired.to_text().to_string()),
        ("never issued", never.to_text().to_string()),
    ];
    let answers: BTreeSet<String> = worthless
        .iter()
        .map(|(what, code)| {
            let answer = sending(&bob, code).send_to(world.office);
            answer.problem(404);
            assert!(!answer.body.contains(code.as_str()), "{what}");
            format!("{:?}{}", answer.headers.keys().collect::<Vec<_>>(), answer.body)
        })
        .collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let mistyped = codes[2].replacen(|c: char| c.is_ascii_digit(), "", 1);
    assert!(sending(&bob, &mistyped).send_to(world.office).problem(400).contains("letters and digits"));
    let swapped: String = codes[2].chars().rev().collect();
    assert!(sending(&bob, &swapped).send_to(world.office).problem(400).contains("mistyped"));
    assert_eq!(sending(&bob, &codes[2]).send_to(world.office).json()["balance"], 5_000_000);
    let states = world.json(&["voucher", "list"]);
    let states: Vec<&str> = states.as_array().unwrap().iter().map(|v| v["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["expired", "used", "void", "used"]);
    world.books_balance();
}

#[test]
fn guessing_is_slowed_down_by_account_and_by_address() {
    let world = running("");
    let code = issued(&world, 1).remove(0);
    let guess = |n: u32| {
        let mut bits = [0; 12];
        bits[8..].copy_from_slice(&n.to_be_bytes());
        Code::from_random(&bits).to_text().to_string()
    };
    let alice = Customer::new(1);
    let slowed_down = |what: &str, ask: &dyn Fn(u32) -> Signed| {
        let refused = (0..200).find(|n| {
            let answer = ask(*n).send_to(world.office);
            if answer.status == 404 {
                return false;
            }
            assert!(answer.problem(429).contains(what), "{answer:?}");
            assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
            true
        });
        assert!(matches!(refused, Some(20..60)), "{what}: {refused:?}");
    };
    slowed_down("this account", &|n| from(format!("192.0.2.{n}"), sending(&alice, &guess(n))));
    let anybody = |n: u32| Customer::new(u8::try_from(100 + n).unwrap());
    slowed_down("this address", &|n| from("198.51.100.1", sending(&anybody(n), &guess(n))));
    // A typo is no guess: it is told without asking the ledger, however often.
    let typo = code.replacen(&code[..1], if code.starts_with('7') { "8" } else { "7" }, 1);
    for _ in 0..30 {
        from("203.0.113.1", sending(&Customer::new(201), &typo)).send_to(world.office).problem(400);
    }
    // Others are not held up, and soon neither is she.
    let bob = from("203.0.113.2", sending(&Customer::new(202), &guess(1)));
    assert_eq!(bob.send_to(world.office).status, 404);
    support::wait_until("her turn", || {
        from("203.0.113.3", sending(&alice, &code)).send_to(world.office).status == 200
    });
    world.books_balance();
}

/// Through the daemon and, at the same time, through this process, which writes the same file.
#[test]
fn two_processes_race_for_codes_and_each_is_won_once() {
    let world = running("");
    let codes = issued(&world, 6);
    let start = Barrier::new(48);
    let by_http = |n: u8, code: &str| {
        let request = from(format!("192.0.2.{n}"), sending(&Customer::new(n), code));
        start.wait();
        let answer = request.send_to(world.office);
        assert!(matches!(answer.status, 200 | 404), "{answer:?}");
        answer.status == 200
    };
    let by_ledger = |n: u8, code: &str| {
        let (hash, account) = (code.parse::<Code>().unwrap().hash(), AccountKey([n; 32]));
        support::block_on(async {
            let ledger = world.ledger();
            start.wait();
            let used = ledger.voucher_use(hash, account, unix_now()).await.unwrap();
            ledger.close().await;
            used != VoucherUse::No
        })
    };
    let won: u32 = thread::scope(|scope| {
        let racers: Vec<_> = (0..48_u8)
            .map(|n| {
                let (code, by_http, by_ledger) = (&codes[usize::from(n) % 6], &by_http, &by_ledger);
                scope.spawn(move || if n % 4 == 3 { by_ledger(n + 1, code) } else { by_http(n + 1, code) })
            })
            .collect();
        racers.into_iter().map(|racer| u32::from(racer.join().unwrap())).sum()
    });
    assert_eq!(won, 6);
    assert_eq!(world.balance("funding:voucher"), -30_000_000);
    world.books_balance();
}

#[test]
fn what_was_answered_survives_a_kill_and_what_was_not_can_be_sent_again() {
    let mut world = running("");
    let codes = issued(&world, 40);
    let (office, pid) = (world.office, world.daemon_pid().to_string());
    let answered: usize = thread::scope(|scope| {
        let senders: Vec<_> = codes
            .chunks(5)
            .zip(1_u8..)
            .map(|(codes, n)| {
                let customer = Customer::new(n);
                let pid = &pid;
                scope.spawn(move || {
                    let send = |code: &String| {
                        let request = from(format!("192.0.2.{n}"), sending(&customer, code));
                        // The connection may break: then nothing was answered.
                        std::panic::catch_unwind(|| request.send_to(office).status == 200).unwrap_or(false)
                    };
                    let answered = codes.iter().take_while(|code| send(code)).count();
                    if n == 1 {
                        std::process::Command::new("kill").args(["-s", "KILL", pid]).status().unwrap();
                    }
                    answered
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert!(answered >= 5, "{answered}");
    world.wait_for_end();
    world.start_daemon();
    let before = -world.balance("funding:voucher");
    assert!(before >= 5_000_000 * i64::try_from(answered).unwrap(), "{answered} answered, {before} micros");
    for (chunk, n) in codes.chunks(5).zip(1_u8..) {
        let customer = Customer::new(n);
        for code in chunk {
            let answer = from(format!("198.51.100.{n}"), sending(&customer, code)).send_to(office);
            assert_eq!(answer.json()["credited"], 5_000_000, "{answer:?}");
        }
        assert_eq!(world.balance(&format!("account:{}", customer.account)), 25_000_000);
    }
    world.books_balance();
}

#[test]
fn a_voucher_call_counts_only_for_who_signed_it_as_it_is() {
    let world = running("");
    let code = issued(&world, 1).remove(0);
    let alice = Customer::new(1);
    let good = sending(&alice, &code);
    counts_only_for_who_signed_it(&world, &alice, &good);
    refuses_bodies_out_of_form(&world, &alice, "/v1/vouchers", "code");
    assert_eq!(world.balance("funding:voucher"), 0);
    let first = good.send_to(world.office);
    assert_eq!((first.status, first.json()), (200, json!({"credited": 5_000_000, "balance": 5_000_000})));
    let again = json!({"credited": 5_000_000, "balance": 5_000_000, "before": true});
    assert_eq!(good.send_to(world.office).json(), again, "replayed: the same, credited once");
    world.books_balance();
}

#[test]
fn vouchers_are_printed_on_a_sheet_for_its_owner_alone() {
    let world = running("");
    let path = world.path("sheet.html");
    let sheet = path.to_str().unwrap();
    let issue = ["voucher", "issue", "--value", "2.50", "--count", "4", "--days", "30", "--sheet", sheet];
    let said = world.json(&issue);
    let html = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for voucher in said.as_array().unwrap() {
        assert_eq!(html.matches(voucher["code"].as_str().unwrap()).count(), 1, "{voucher}");
        let expires = voucher["expires"].as_u64().unwrap();
        assert!(expires % 86_400 == 86_399 && expires / 86_400 == unix_now() / 86_400 + 30, "{expires}");
    }
    assert!(html.matches("<svg").count() == 4 && html.contains("2.50 USD"));
    assert!(html.contains(&format!("http://{}/p/voucher", world.office)));
    says(&world.farthing(&issue), 74, "is there already; name another file; no voucher was made");
    assert_eq!(world.json(&["voucher", "list"]).as_array().unwrap().len(), 4, "none without its sheet");
    let page = world.get("/p/voucher");
    assert!(
        page.starts_with("HTTP/1.1 200 OK") && page.contains("farthing topup <span>--voucher -"),
        "{page}"
    );
    assert!(
        page.contains("content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';"),
        "{page}"
    );
}

#[test]
fn the_command_line_says_why_not() {
    let world = running("");
    let code = issued(&world, 3).remove(0);
    let url = format!("http://{}/", world.office);
    world.json(&["wallet", "new"]);
    let run = |arguments: &[&str]| world.farthing(arguments);
    // A typo is found before anybody is asked: nothing listens there.
    let mistyped = format!("{}{}", if code.starts_with('H') { 'J' } else { 'H' }, &code[1..]);
    says(&run(&["topup", "--voucher", &mistyped, "--office", "http://127.0.0.1:1/"]), 65, "mistyped");
    says(&run(&["topup", "--voucher", &code, "--office", "http://127.0.0.1:1/"]), 69, "cannot be reached");
    says(&run(&["topup", "--voucher", &code]), 64, "name the office");
    let never = Code::from_random(b"never issued").to_text();
    says(&run(&["topup", "--voucher", &never, "--office", &url]), 1, "worth nothing here");
    // An office that DNS alone names gets no voucher unasked.
    let policy = format!("v=postage1; c=USD; n=2500; i=b.example; u=http://{}/", world.office);
    world.zone.txt("_postage.b.example", policy);
    says(&run(&["topup", "--voucher", &code, "--office", "b.example"]), 77, "run again with --office");
    assert_eq!(world.balance("funding:voucher"), 0);
    let yes = run(&["topup", "--voucher", &code, "--office", "b.example", "--yes"]);
    assert_eq!(text(&yes.stdout), "500c credited at b.example; the account holds 500c\n");
    says(&run(&["topup", "--voucher", &code]), 77, "was not sent");
    assert_eq!(run(&["topup", "--voucher", &code, "--yes"]).status.code(), Some(0), "the one it knows");
    says(&run(&["topup", "--work", "--office", &url]), 1, "gives nothing for work");
    for usage in [&["topup"][..], &["topup", "--work", "--voucher", &code], &["voucher", "void"]] {
        assert_eq!(run(usage).status.code(), Some(64), "{usage:?}");
    }
    for (arguments, exit) in [
        (&["voucher", "issue", "--value", "0"][..], 65),
        (&["voucher", "issue", "--value", "5.00", "--count", "0"], 64),
        (&["voucher", "issue", "--value", "5.00", "--count", "1001"], 64),
        (&["voucher", "issue", "--value", "5.00", "--days", "0"], 64),
        (&["voucher", "issue", "--value", "5.00", "--sheet", "x.pdf"], 64),
        (&["voucher", "issue"], 64),
    ] {
        assert_eq!(run(arguments).status.code(), Some(exit), "{arguments:?}");
    }
    assert_eq!(world.json(&["voucher", "void", "2"]), json!([{"number": 2, "state": "void"}]));
    let output = run(&["--json", "voucher", "void", "2", "1", "9", "3"]);
    assert_eq!(output.status.code(), Some(1));
    let states: Value = serde_json::from_slice(&output.stdout).unwrap();
    let states: Vec<&str> = states.as_array().unwrap().iter().map(|v| v["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["void", "used", "unknown", "void"], "each for itself");
    let stderr = text(&output.stderr);
    assert!(stderr.contains("account debit") && stderr.contains("no voucher 9"), "{stderr}");
    world.books_balance();
}
