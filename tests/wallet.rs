//! The sender's side through its front door: the program `farthing`, against an office on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "wallet/buying.rs"]
mod buying;
#[path = "wallet/letters.rs"]
mod letters;
#[path = "wallet/mishaps.rs"]
mod mishaps;
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
        self.command_under(&[], arguments)
    }

    /// The same by way of a command that does something to it, such as `strace`.
    fn command_under(&self, prefix: &[&str], arguments: &[&str]) -> Command {
        let words = [prefix, &[env!("CARGO_BIN_EXE_farthing")], arguments].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
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
    let empty = ["offices", "stamps", "open_orders", "spent_today", "not_bought_ahead"];
    let shown = show.json();
    assert_eq!(shown["account"], json!(account));
    assert!(empty.iter().all(|member| shown[member] == json!([])), "{shown}");
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
