//! The sender's side through its front door: the program `farthing`, against an office on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod post;

use std::{
    collections::HashSet,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use farthing::demo::dns::ZoneServer;
use post::{
    Post,
    proxy::{Manner, Proxy},
    wait_until,
};
use serde_json::{Value, json};

const LETTER: &[u8] = b"From: Alice <alice@a.example>\nTo: bob@b.example\nSubject: hello\n\nDear Bob\n";

/// A sender at a computer of her own.
struct Sender {
    directory: tempfile::TempDir,
    dns: String,
}

/// What a command said.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ran {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// It failed with this exit code, said so in one line, and printed nothing.
    fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        assert!(self.stderr.starts_with("farthing: ") && self.stderr.lines().count() == 1, "{self:?}");
        &self.stderr
    }
}

impl Sender {
    /// She has a wallet, and no name server answers.
    fn new() -> Self {
        let sender = Self::without_wallet();
        assert_eq!(sender.run(&["wallet", "new"]).code, 0);
        sender
    }

    fn without_wallet() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), dns: "127.0.0.1:1".into() }
    }

    /// She has a wallet with this much on its account.
    fn with_money(post: &Post, amount: &str) -> Self {
        let sender = Self::new();
        post.credit(&sender.account(), amount);
        sender
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("wallet.json")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farthing"));
        command
            .args(arguments)
            .env_clear()
            .env("FARTHING_WALLET", self.path())
            .env("FARTHING_DNS", &self.dns)
            .env("HOME", self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        let mut child = self.command(arguments).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin);
        finished(child)
    }

    /// The JSON value of a command that must be done.
    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.json()
    }

    fn account(&self) -> String {
        self.json(&["wallet", "show"])["account"].as_str().unwrap().to_owned()
    }

    /// How many stamps are in hand.
    fn in_hand(&self) -> u64 {
        let show = self.json(&["wallet", "show"]);
        show["stamps"].as_array().unwrap().iter().map(|held| held["count"].as_u64().unwrap()).sum()
    }

    fn open_orders(&self) -> usize {
        self.json(&["wallet", "show"])["open_orders"].as_array().unwrap().len()
    }

    fn buy(&self, count: &str, url: &str) -> Ran {
        self.run(&["buy", "b.example", "--count", count, "--office", url])
    }

    fn stamp(&self, letter: &[u8]) -> Ran {
        self.run_with(&["stamp", "--to", "bob@b.example"], letter)
    }
}

fn finished(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The office's key as `verify --key` takes it.
fn key_of(post: &Post) -> String {
    let keys = post.keys();
    let key = keys.signing().unwrap();
    format!("b.example:{}:{}", key.selector, key.public)
}

#[test]
fn a_wallet_is_lost_and_made_again_of_its_words() {
    let sender = Sender::new();
    let account = sender.account();
    let backup = sender.run(&["wallet", "backup", "--qr"]);
    assert_eq!(backup.code, 0, "{backup:?}");
    let paper = backup.text().to_owned();
    let words = paper.split_whitespace().filter(|word| word.bytes().all(|b| b.is_ascii_lowercase())).count();
    assert_eq!(words, 24, "{paper}");
    assert!(paper.contains('\u{2588}'), "a QR code: {paper}");
    let paper = paper.split("\n\n").next().unwrap();

    assert_eq!(sender.run_with(&["wallet", "restore"], paper.as_bytes()).code, 1, "there is one already");
    std::fs::remove_file(sender.path()).unwrap();
    let wrong = sender.run_with(&["wallet", "restore"], paper.replacen(' ', " zoo ", 1).as_bytes());
    assert!(wrong.failed(65).contains("24 words"));
    assert!(!sender.path().exists());
    assert_eq!(sender.run_with(&["wallet", "restore"], paper.as_bytes()).code, 0);
    assert_eq!(sender.account(), account);
}

#[test]
fn a_wallet_goes_into_a_file_and_comes_out_of_one() {
    let sender = Sender::new();
    let account = sender.account();
    let copy = sender.path().with_file_name("copy.json");
    let backup = ["wallet", "backup", "--to-file", copy.to_str().unwrap()];
    assert_eq!(sender.run(&backup).code, 0);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(sender.run(&backup).failed(1).contains("already"), "nothing is overwritten");
    let content = std::fs::read_to_string(&copy).unwrap();
    let seed = content.split("\"seed\":\"").nth(1).unwrap().split('"').next().unwrap();

    std::fs::remove_file(sender.path()).unwrap();
    let restore = |content: &str| sender.run_with(&["wallet", "restore"], content.as_bytes());
    for (broken, words) in [
        (content.replace(seed, &seed[1..]), "the seed is damaged"),
        (content[..content.len() / 2].to_owned(), "what was given is not a wallet, or is damaged"),
        (content.replace("\"version\":1", "\"version\":2"), "written by a newer farthing"),
        ("{}".into(), "missing field"),
    ] {
        let said = restore(&broken).failed(65).to_owned();
        assert!(said.contains(words) && !said.contains(&seed[1..]), "{said}");
    }
    assert!(!sender.path().exists());
    assert_eq!(restore(&format!("\n{content}")).code, 0);
    assert_eq!(sender.account(), account);
}

#[test]
fn a_wallet_is_made_once_and_for_its_owner_alone() {
    let sender = Sender::without_wallet();
    let ran = sender.run(&["--json", "wallet", "new"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let account = ran.json()["account"].as_str().unwrap().to_owned();
    assert_eq!(account.len(), 43);
    assert_eq!(fs::metadata(sender.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let content = fs::read(sender.path()).unwrap();
    assert!(sender.run(&["wallet", "new"]).failed(1).contains("already"));
    assert_eq!(fs::read(sender.path()).unwrap(), content, "nothing was changed");

    let show = sender.run(&["--json", "wallet", "show"]);
    assert_eq!(show.json(), json!({"account": account, "offices": [], "stamps": [], "open_orders": []}));
    let seed: Value = serde_json::from_slice(&content).unwrap();
    let seed = seed["seed"].as_str().unwrap();
    let said = [ran.text(), &ran.stderr, show.text(), sender.run(&["wallet", "show"]).text()].concat();
    assert!(said.contains(&account) && !said.contains(seed));
    assert_ne!(Sender::new().account(), account);
}

#[test]
fn without_a_name_the_wallet_is_in_the_xdg_data_directory() {
    let sender = Sender::without_wallet();
    let run = |name: &str, value: &str, arguments: &[&str]| {
        let child = sender.command(arguments).env_remove("FARTHING_WALLET").env(name, value).spawn().unwrap();
        finished(child)
    };
    let home = sender.directory.path();
    assert_eq!(run("X", "", &["wallet", "new"]).code, 0);
    assert!(home.join(".local/share/farthing/wallet.json").exists());
    let data = home.join("data");
    assert_eq!(run("XDG_DATA_HOME", data.to_str().unwrap(), &["wallet", "new"]).code, 0);
    assert!(data.join("farthing/wallet.json").exists());
    assert_eq!(run("XDG_DATA_HOME", "relative", &["wallet", "new"]).code, 1, "that is the first one again");
    let named = home.join("named");
    assert_eq!(
        run("FARTHING_WALLET", "/nowhere", &["wallet", "new", "--wallet", named.to_str().unwrap()]).code,
        0
    );
    assert!(named.exists());
}

#[test]
fn a_wallet_that_is_missing_open_to_others_or_damaged_is_refused() {
    let sender = Sender::without_wallet();
    let commands: [&[&str]; 3] =
        [&["wallet", "show"], &["buy", "b.example"], &["stamp", "--to", "bob@b.example"]];
    for command in commands {
        assert!(sender.run_with(command, LETTER).failed(78).contains("farthing wallet new"));
    }
    assert_eq!(sender.run(&["wallet", "new"]).code, 0);
    fs::set_permissions(sender.path(), fs::Permissions::from_mode(0o644)).unwrap();
    for command in commands {
        assert!(sender.run_with(command, LETTER).failed(77).contains("chmod 600"));
    }
    fs::set_permissions(sender.path(), fs::Permissions::from_mode(0o600)).unwrap();
    let good = fs::read_to_string(sender.path()).unwrap();
    for bad in [&good[..good.len() / 2], "", "{}", &good.replace("\"version\":1", "\"version\":2")] {
        fs::write(sender.path(), bad).unwrap();
        let error = sender.run(&["wallet", "show"]).failed(65).to_owned();
        assert!(error.contains("damaged") || error.contains("newer farthing"), "{error}");
    }
}

#[test]
fn stamps_are_bought_put_on_a_letter_and_verified() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1c");
    let bought = sender.json(&["buy", "b.example", "--count", "3", "--office", &post.url()]);
    assert_eq!(
        bought,
        json!({"office": "b.example", "audience": "b.example", "value": 2500, "count": 3, "others": 0, "in_hand": 3})
    );
    let show = sender.json(&["wallet", "show"]);
    assert_eq!(show["offices"], json!([{"office": "b.example", "balance": 2500}]));
    let held = &show["stamps"][0];
    assert_eq!(
        (&held["office"], &held["audience"], &held["value"], &held["count"]),
        (&json!("b.example"), &json!("b.example"), &json!(2500), &json!(3))
    );

    let stamped = sender.stamp(LETTER);
    assert_eq!((stamped.code, stamped.stderr.as_str()), (0, ""));
    assert_eq!(sender.in_hand(), 2, "it is out of the wallet");
    let key = key_of(&post);
    let verify = |more: &[&str], letter: &[u8]| {
        let arguments = [&["--json", "verify", "--to", "bob@b.example", "--key", &key], more].concat();
        sender.run_with(&arguments, letter)
    };
    let good = verify(&["--price", "0.25c", "--currency", "USD"], &stamped.stdout);
    assert_eq!(good.code, 0, "{good:?}");
    let said = good.json();
    assert_eq!((&said["enough"], &said["value"]), (&json!(true), &json!(2500)));
    let stamp = &said["stamps"][0];
    assert_eq!(
        (&stamp["result"], &stamp["office"], &stamp["value"]),
        (&json!("ok"), &json!("b.example"), &json!(2500))
    );
    assert_eq!(stamp["id"].as_str().unwrap().len(), 22);

    let word = |ran: &Ran| {
        assert_eq!(
            (ran.code, &ran.json()["enough"], &ran.json()["value"]),
            (1, &json!(false), &json!(0)),
            "{ran:?}"
        );
        ran.json()["stamps"][0]["result"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(word(&verify(&["--price", "0.2501c"], &stamped.stdout)), "underpaid");
    assert_eq!(word(&verify(&["--currency", "EUR"], &stamped.stdout)), "wrong-currency");
    assert_eq!(word(&verify(&["--at", "9999999999"], &stamped.stdout)), "expired");
    let in_a_month = (farthing::clock::unix_now() + 30 * 86_400).to_string();
    assert_eq!(word(&verify(&["--at", &in_a_month], &stamped.stdout)), "stale");
    assert_eq!(word(&verify(&[], LETTER)), "", "no stamp at all");
    let text = String::from_utf8(stamped.stdout.clone()).unwrap();
    assert_eq!(
        word(&verify(&[], text.replace("alice@a.example", "eve@a.example").as_bytes())),
        "wrong-sender"
    );
    assert_eq!(word(&verify(&[], text.replace("n=2500", "n=2501").as_bytes())), "bad-signature");
    assert_eq!(word(&verify(&[], text.replace("n=2500", "n=x").as_bytes())), "malformed");
    let other_key = "b.example:s9:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let to_eve =
        sender.run_with(&["--json", "verify", "--to", "eve@b.example", "--key", other_key], text.as_bytes());
    assert_eq!(word(&to_eve), "wrong-recipient");
    let unknown =
        sender.run_with(&["--json", "verify", "--to", "bob@b.example", "--key", other_key], text.as_bytes());
    assert_eq!(word(&unknown), "unknown-issuer");
    let people =
        sender.run_with(&["verify", "--to", "bob@b.example", "--key", &key_of(&post)], text.as_bytes());
    assert!(people.text().contains("ok") && people.text().contains("0.25c"), "{people:?}");
    post.proof();
}

#[test]
fn one_stamp_for_each_recipient_and_each_field_in_its_order() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    let url = post.url();
    assert_eq!(sender.buy("2", &url).code, 0);
    assert_eq!(sender.run(&["buy", "bb.example", "--count", "1", "--office", &url]).code, 0);
    let to = [
        "stamp",
        "--to",
        "bob@b.example",
        "--to",
        "BOB@B.example",
        "carol@b.example",
        "--to",
        "dora@bb.example",
    ];
    let stamped = sender.run_with(&to, LETTER);
    assert_eq!(stamped.code, 0, "{stamped:?}");
    assert_eq!(sender.in_hand(), 0);
    let text = String::from_utf8(stamped.stdout.clone()).unwrap();
    assert_eq!(text.matches("Postage-Stamp:").count(), 3);
    for (recipient, words) in [
        ("bob@b.example", ["ok", "wrong-recipient", "wrong-audience"]),
        ("carol@b.example", ["wrong-recipient", "ok", "wrong-audience"]),
        ("dora@bb.example", ["wrong-audience", "wrong-audience", "ok"]),
    ] {
        let arguments = ["--json", "verify", "--to", recipient, "--key", &key_of(&post)];
        let ran = sender.run_with(&arguments, &stamped.stdout);
        let results: Vec<Value> =
            ran.json()["stamps"].as_array().unwrap().iter().map(|stamp| stamp["result"].clone()).collect();
        assert_eq!((ran.code, results), (0, words.map(Value::from).to_vec()), "{recipient}");
    }
}

#[test]
fn everything_else_of_a_letter_stays_octet_by_octet() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    assert_eq!(sender.buy("20", &post.url()).code, 0);
    let date = "Date: Sun, 22 Nov 2026 13:00:00 +0000";
    let table: Vec<(&str, Vec<u8>, usize)> = vec![
        ("LF", LETTER.to_vec(), 3),
        ("CRLF", String::from_utf8_lossy(LETTER).replace('\n', "\r\n").into_bytes(), 3),
        ("a Date is there", [date.as_bytes(), b"\n", LETTER].concat(), 2),
        ("both are there", [b"message-id:<1@a.example>\ndate : x\n".as_slice(), LETTER].concat(), 1),
        (
            "eight bits",
            b"From: alice@a.example\nSubject: caf\xe9 \xff\x80\n\n\xe4\xf6\xfc\x00\x01\n".to_vec(),
            3,
        ),
        ("odd folding", b"FROM :\n \t Alice\n\t<alice@a.example>\nX: \n  y\nSubject:\n\nbody".to_vec(), 3),
        ("mixed line ends", b"From: alice@a.example\r\nX: 1\n\r\nbody\nbody\r\n".to_vec(), 3),
        ("no body", b"From: alice@a.example\n".to_vec(), 3),
        ("no last line end", b"From: alice@a.example\r\n\r\nbody".to_vec(), 3),
        ("dots and From", b"From: alice@a.example\n\n.\n..\nFrom here\n".to_vec(), 3),
        ("a long line", [b"From: alice@a.example\n\n".as_slice(), &[b'x'; 100_000]].concat(), 3),
        ("a stamp of someone else", b"Postage-Stamp: v=1; whatever\nFrom: alice@a.example\n\n".to_vec(), 3),
    ];
    for (what, letter, fields) in table {
        let stamped = sender.stamp(&letter);
        assert_eq!(stamped.code, 0, "{what}: {stamped:?}");
        let added =
            stamped.stdout.strip_suffix(letter.as_slice()).unwrap_or_else(|| panic!("{what}: {stamped:?}"));
        let crlf = letter.windows(2).position(|two| two == b"\r\n");
        let first_lf = letter.iter().position(|&b| b == b'\n').unwrap();
        let with_crlf = crlf.is_some_and(|at| at + 1 == first_lf);
        let lines = added.iter().filter(|&&b| b == b'\n').count();
        let crlfs = added.windows(2).filter(|two| two == b"\r\n").count();
        assert_eq!(crlfs, if with_crlf { lines } else { 0 }, "{what}: its line ends");
        let added = String::from_utf8(added.to_vec()).unwrap();
        let names = added.lines().filter(|line| !line.starts_with([' ', '\t'])).count();
        assert_eq!(names, fields, "{what}: {added}");
        assert!(added.lines().all(|line| line.len() <= 78), "{what}: {added}");
        let verified =
            sender.run_with(&["verify", "--to", "bob@b.example", "--key", &key_of(&post)], &stamped.stdout);
        assert_eq!(verified.code, 0, "{what}: {verified:?}");
    }
    let mbox = [b"From alice Sun Nov 22 13:00:00 2026\n".as_slice(), LETTER].concat();
    let stamped = sender.stamp(&mbox);
    assert!(
        stamped.stdout.starts_with(b"From alice Sun Nov 22 13:00:00 2026\n"),
        "the mbox line stays first"
    );
    assert!(stamped.stdout.ends_with(LETTER));
    let message_id = |ran: &Ran| {
        let line = ran.text().lines().find(|line| line.starts_with("Message-ID: <")).unwrap().to_owned();
        assert!(line.ends_with("@a.example>"), "{line}");
        line
    };
    assert_ne!(message_id(&sender.stamp(LETTER)), message_id(&sender.stamp(LETTER)));
}

#[test]
fn a_recipient_without_a_stamp_is_named_and_nothing_is_used_up() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    assert_eq!(sender.buy("1", &post.url()).code, 0);
    let two = ["stamp", "--to", "bob@b.example", "--to", "carol@b.example"];
    let error = sender.run_with(&two, LETTER).failed(1).to_owned();
    assert!(
        error.contains("no stamp in hand for carol@b.example") && error.contains("farthing buy b.example"),
        "{error}"
    );
    assert_eq!(sender.in_hand(), 1);
    let dear = sender.run_with(&["stamp", "--to", "bob@b.example", "--value", "1c"], LETTER);
    assert!(dear.failed(1).contains("bob@b.example"));
    assert_eq!(sender.in_hand(), 1);
    let url = post.url();
    let bought = sender.run_with(&[two.as_slice(), &["--buy", "--office", &url]].concat(), LETTER);
    assert_eq!((bought.code, bought.text().matches("Postage-Stamp:").count()), (0, 2), "{bought:?}");
    assert_eq!(sender.in_hand(), 0);
    let cheap = sender.run(&["buy", "b.example", "--count", "1", "--value", "0.1c", "--office", &url]);
    assert_eq!(cheap.code, 0);
    assert_eq!(sender.buy("1", &url).code, 0);
    let least = sender.run_with(&["stamp", "--to", "bob@b.example", "--value", "0.25c"], LETTER);
    assert!(least.text().contains("n=2500;"), "{least:?}");
    assert!(sender.stamp(LETTER).text().contains("n=1000;"));
}

#[test]
fn a_letter_needs_one_author() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1c");
    assert_eq!(sender.buy("1", &post.url()).code, 0);
    for letter in [
        &b"To: bob@b.example\n\n"[..],
        b"From: a@a.example\nFrom: b@a.example\n\n",
        b"From: a@a.example, b@a.example\n\n",
        b"From: undisclosed:;\n\n",
        b"no header at all\n",
    ] {
        assert!(sender.stamp(letter).failed(65).contains("one From field"));
    }
    assert!(sender.stamp(b"").failed(65).contains("standard input"));
    assert_eq!(sender.in_hand(), 1);
}

#[test]
fn what_is_wrong_with_a_purchase_is_said_in_one_line() {
    let post = Post::start();
    let sender = Sender::new();
    let url = post.url();
    let error = sender.buy("10", &url).failed(1).to_owned();
    assert!(
        error.contains("holds 0c") && error.contains("2.5c") && error.contains(&sender.account()),
        "{error}"
    );
    assert_eq!(sender.open_orders(), 0, "what was refused is not tried again");
    post.credit(&sender.account(), "10.00");
    let out_of_bounds = sender.run(&["buy", "b.example", "--value", "11c", "--office", &url]);
    assert!(out_of_bounds.failed(65).contains("100000 micros"));
    assert!(sender.run(&["buy", "c.example", "--office", &url]).failed(65).contains("--value"));
    let foreign = sender.run(&["buy", "c.example", "--value", "0.3c", "--office", &url]);
    assert_eq!(foreign.code, 0, "an office sells for any domain: {foreign:?}");
    assert!(sender.buy("1", "http://192.0.2.1/").failed(65).contains("on this machine"));
    assert!(sender.buy("1", "http://127.0.0.1:1/").failed(69).contains("cannot be reached"));
    assert!(sender.run(&["buy", "b.example"]).failed(75).contains("DNS"), "no name server answers");
    for usage in [
        &["buy"][..],
        &["buy", "bob@b.example"],
        &["buy", "b.example", "--count", "0"],
        &["buy", "b.example", "--value", "1.5u"],
        &["stamp"],
        &["stamp", "--to", "bob"],
        &["stamp", "--to", "bob@b.example", "--office", &url],
        &["verify"],
        &["verify", "--to", "bob@b.example", "--key", "b.example:s1"],
        &["verify", "--to", "bob@b.example", "--key", "b.example:s1:AAAA"],
    ] {
        let ran = sender.run_with(usage, LETTER);
        assert_eq!((ran.code, ran.stdout.len()), (64, 0), "{usage:?}: {ran:?}");
    }
    post.proof();
}

#[test]
fn an_order_whose_answer_was_lost_is_charged_once() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    net.be(Manner::Lost);
    assert!(sender.buy("10", &net.url()).failed(69).contains("cannot be reached"));
    assert_eq!((sender.in_hand(), sender.open_orders()), (0, 1));
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 25_000, "the office did its part");
    assert!(sender.buy("10", &net.url()).failed(69).contains("cannot be reached"), "and again");
    net.be(Manner::Honest);
    let bought = sender.json(&["buy", "b.example", "--count", "10", "--office", &net.url()]);
    assert_eq!((&bought["count"], &bought["in_hand"]), (&json!(10), &json!(10)));
    assert_eq!(sender.open_orders(), 0);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 25_000, "charged once");

    net.be(Manner::Lost);
    sender.buy("4", &net.url()).failed(69);
    net.be(Manner::Honest);
    let more = sender.json(&["buy", "b.example", "--count", "6", "--office", &net.url()]);
    assert_eq!(
        (&more["count"], &more["in_hand"]),
        (&json!(6), &json!(16)),
        "four of the six had been ordered"
    );
    net.be(Manner::Lost);
    sender.buy("3", &net.url()).failed(69);
    net.be(Manner::Honest);
    let other = sender.json(&["buy", "bb.example", "--count", "2", "--office", &net.url()]);
    assert_eq!((&other["count"], &other["others"]), (&json!(2), &json!(3)));
    assert_eq!(sender.in_hand(), 21);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 21 * 2500);
    post.proof();
}

#[test]
fn killed_between_order_and_answer_nothing_is_lost_and_nothing_paid_twice() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    for round in 1..=3 {
        net.be(Manner::Silent);
        let answered = net.orders_answered();
        let mut child =
            sender.command(&["buy", "b.example", "--count", "5", "--office", &net.url()]).spawn().unwrap();
        wait_until("the order to be done", || net.orders_answered() > answered);
        child.kill().unwrap();
        child.wait().unwrap();
        net.be(Manner::Honest);
        assert_eq!(sender.buy("5", &net.url()).code, 0);
        assert_eq!(sender.in_hand(), round * 5);
        assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - round * 5 * 2500);
    }
    post.proof();
}

#[test]
fn killed_at_any_instant_the_wallet_is_whole_and_every_micro_is_somewhere() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    let url = post.url();
    for step in 0..25 {
        let mut child =
            sender.command(&["buy", "b.example", "--count", "3", "--office", &url]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(step * 2));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // One more purchase finishes whatever was left open.
    assert_eq!(sender.buy("3", &url).code, 0);
    assert_eq!(sender.open_orders(), 0);
    let spent = 1_000_000 - post.account(&sender.account()).balance.get();
    assert_eq!(sender.in_hand() * 2500, spent);
    post.proof();
}

#[test]
fn an_answer_that_does_not_verify_brings_nothing_into_the_purse() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    net.be(Manner::Tampered);
    assert!(sender.buy("3", &net.url()).failed(69).contains("does not verify"));
    assert_eq!((sender.in_hand(), sender.open_orders()), (0, 1));
    net.be(Manner::Honest);
    assert_eq!(sender.buy("3", &net.url()).code, 0);
    assert_eq!(sender.in_hand(), 3);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 7_500);
}

#[test]
fn an_order_left_open_is_finished_though_the_office_signs_with_another_key_now() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    net.be(Manner::Lost);
    sender.buy("2", &net.url()).failed(69);
    farthing::keys::new_office_key(&post.config().keys_directory(), farthing::clock::unix_now()).unwrap();
    post.reload();
    net.be(Manner::Honest);
    assert_eq!(sender.buy("3", &net.url()).code, 0);
    assert_eq!(sender.in_hand(), 3);
    let selectors: HashSet<String> = (0..3)
        .map(|_| {
            let stamped = sender.stamp(LETTER);
            let at = stamped.text().find("; s=").unwrap();
            stamped.text()[at + 4..].split(';').next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(selectors.len(), 2);
}

#[test]
fn a_wallet_is_shown_though_its_office_does_not_answer() {
    let mut post = Post::start();
    let sender = Sender::with_money(&post, "1c");
    assert_eq!(sender.buy("1", &post.url()).code, 0);
    assert!(post.stop());
    let show = sender.run(&["--json", "wallet", "show"]);
    assert_eq!(show.code, 0, "{show:?}");
    assert!(show.stderr.contains("cannot be reached"), "{show:?}");
    assert_eq!(show.json()["offices"], json!([{"office": "b.example", "balance": null}]));
    assert_eq!(show.json()["stamps"][0]["count"], 1);
    assert_eq!(sender.stamp(LETTER).code, 0, "a stamp in hand needs no office");
}

#[test]
fn two_programs_at_once_take_turns() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    let url = post.url();
    let buyers: Vec<Child> = (0..4)
        .map(|_| sender.command(&["buy", "b.example", "--count", "3", "--office", &url]).spawn().unwrap())
        .collect();
    for buyer in buyers {
        let ran = finished(buyer);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(sender.in_hand(), 12);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 12 * 2500);

    let stampers: Vec<Child> = (0..16)
        .map(|_| {
            let mut child = sender.command(&["stamp", "--to", "bob@b.example"]).spawn().unwrap();
            child.stdin.take().unwrap().write_all(LETTER).unwrap();
            child
        })
        .collect();
    let ran: Vec<Ran> = stampers.into_iter().map(finished).collect();
    let ids: HashSet<String> = ran
        .iter()
        .filter(|ran| ran.code == 0)
        .map(|ran| {
            let checked = sender.run_with(
                &["--json", "verify", "--to", "bob@b.example", "--key", &key_of(&post)],
                &ran.stdout,
            );
            checked.json()["stamps"][0]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 12, "each stamp on one letter");
    assert_eq!(ran.iter().filter(|ran| ran.code == 1).count(), 4, "and four found none");
    assert_eq!(sender.in_hand(), 0);
}

#[test]
fn more_than_one_order_holds_is_bought_in_several() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "10.00");
    let bought = sender.json(&["buy", "b.example", "--count", "2500", "--office", &post.url()]);
    assert_eq!((&bought["count"], &bought["in_hand"]), (&json!(2500), &json!(2500)));
    assert_eq!(post.account(&sender.account()).balance.get(), 10_000_000 - 2500 * 2500);
    assert_eq!(sender.stamp(LETTER).code, 0);
    assert_eq!(sender.in_hand(), 2499);
    post.proof();
}

#[test]
fn with_dns_nothing_else_need_be_known() {
    let post = Post::start();
    let zone = ZoneServer::start().unwrap();
    let mut sender = Sender::with_money(&post, "1.00");
    sender.dns = zone.address().to_string();
    let keys = post.keys();
    let key = keys.signing().unwrap();
    zone.txt("_postage.b.example", format!("v=postage1; c=USD; n=2500; i=b.example; w=20; u={}", post.url()))
        .txt(
            &format!("{}._postage.b.example", key.selector),
            farthing::stamp::records::write_key(&key.public),
        );

    let price = sender.json(&["price", "bob@b.example"]);
    let expected = json!({
        "to": "bob@b.example", "micros": 2500, "currency": "USD", "work_bits": 20,
        "offices": [{"office": "b.example", "url": post.url()}],
    });
    assert_eq!(price, expected);
    assert!(sender.run(&["price", "bob@b.example"]).text().contains("0.25c USD"));
    assert!(sender.run(&["price", "eve@c.example"]).failed(1).contains("c.example says nothing"));
    assert!(sender.run(&["buy", "c.example"]).failed(1).contains("--office"));

    assert_eq!(sender.run(&["buy", "b.example"]).code, 0);
    assert_eq!(sender.in_hand(), 10);
    let stamped = sender.stamp(LETTER);
    let verified = sender.run_with(&["verify", "--to", "bob@b.example"], &stamped.stdout);
    assert_eq!(verified.code, 0, "{verified:?}");
    let bought = sender.run_with(&["stamp", "--to", "a@b.example", "--value", "0.5c", "--buy"], LETTER);
    assert!(bought.text().contains("n=5000;"), "{bought:?}");

    // The domain's published price holds where none is given; another office at that place is none of it.
    zone.remove("_postage.b.example");
    zone.txt("_postage.b.example", format!("v=postage1; c=USD; n=9999; i=b.example; u={}", post.url()));
    let underpaid = sender.run_with(&["--json", "verify", "--to", "bob@b.example"], &stamped.stdout);
    assert_eq!((underpaid.code, &underpaid.json()["stamps"][0]["result"]), (1, &json!("underpaid")));
    zone.txt("_postage.d.example", "v=postage1; c=USD; n=2500; i=post.example");
    zone.txt("_postage.post.example", format!("v=postage1; c=USD; n=1; i=post.example; u={}", post.url()));
    assert!(sender.run(&["buy", "d.example"]).failed(69).contains("not post.example"));
    zone.txt("_postage.e.example", "v=postage1; c=EUR; n=2500; i=b.example");
    assert!(sender.run(&["buy", "e.example"]).failed(69).contains("EUR"));

    // `-c` names the server too, whatever else is in the file or missing.
    let config = sender.directory.path().join("other.toml");
    fs::write(&config, format!("[gate]\nmode = 7\n[dns]\nservers = [\"{}\"]\n", zone.address())).unwrap();
    sender.dns = "127.0.0.1:1".into();
    let with_config = sender.run(&["-c", config.to_str().unwrap(), "price", "bob@b.example"]);
    assert_eq!(with_config.code, 0, "{with_config:?}");
    assert!(
        sender.run_with(&["verify", "--to", "bob@b.example"], &stamped.stdout).failed(75).contains("DNS")
    );
    sender.dns = "dns.example:53".into();
    assert!(sender.run(&["price", "bob@b.example"]).failed(78).contains("$FARTHING_DNS"));
}

#[test]
fn help_teaches_with_an_example() {
    let sender = Sender::without_wallet();
    for command in
        [&["wallet", "new"][..], &["wallet", "show"], &["price"], &["buy"], &["stamp"], &["verify"]]
    {
        let help = sender.run(&[command, &["--help"]].concat());
        let example = format!("\n  farthing {}", command.join(" "));
        let shown = help.text().replace("--json ", "");
        assert!(help.code == 0 && shown.contains("Example") && shown.contains(&example), "{}", help.text());
    }
}
