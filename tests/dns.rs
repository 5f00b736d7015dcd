//! Prices, offices and keys from a real DNS server, as senders and gates find them (SPEC.md §5).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "support/nsd.rs"]
mod nsd;
mod support;

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use farthing::{discovery::Discovery, dns::Dns, stamp::records::RecordError};
use farthing_milter::client::Letter;
use nsd::Nsd;
use support::{ALICE, ALICE_IP, BOB, Site, World, refusal, result, text};

const ZONE: &str = include_str!("../packaging/dns/b.example.zone");
/// SOA and name server of a zone that matters little.
const HEAD: &str =
    "$TTL 300\n@ IN SOA ns.b.example. hostmaster.b.example. 1 7200 3600 1209600 300\n@ IN NS ns.b.example.\n";

/// A site whose DNS, its own and everybody's, is NSD.
struct Town {
    world: World,
    nsd: Nsd,
}

impl Town {
    fn open() -> Self {
        let mut world = World::without_daemon(&Site::default());
        let mut nsd = Nsd::new(world.directory.path());
        let config = fs::read_to_string(world.config_path()).unwrap();
        let servers = config.replace(&world.zone.address().to_string(), &nsd.address().to_string());
        fs::write(world.config_path(), servers).unwrap();
        world.start_daemon();
        nsd.zone("b.example").zone("a.example");
        nsd.file("a.example.zone", &format!("{HEAD}@ IN TXT \"v=spf1 ip4:{ALICE_IP} -all\"\n"));
        let mut town = Self { world, nsd };
        town.publish();
        town
    }

    /// Publishes what `farthing key dns` says, as packaging/dns does it.
    fn publish(&mut self) {
        let records = text(&self.world.farthing(&["key", "dns"]).stdout);
        self.publish_as(&records);
    }

    fn publish_as(&mut self, records: &str) {
        self.nsd.file("b.example.zone", ZONE);
        self.nsd.file("b.example.postage", records);
        self.nsd.start();
    }

    fn records(&self) -> String {
        text(&self.world.farthing(&["key", "dns"]).stdout)
    }

    /// Runs `farthing` as a stranger: no configuration, nothing but DNS.
    fn stranger(&self, arguments: &[&str], stdin: &str) -> Output {
        use std::io::Write as _;
        let mut child = Command::new(env!("CARGO_BIN_EXE_farthing"))
            .args(arguments)
            .env_clear()
            .env("FARTHING_DNS", self.nsd.address().to_string())
            .env("FARTHING_WALLET", self.world.path("strangers-wallet"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn done(&self, arguments: &[&str], stdin: &str) -> String {
        let output = self.stranger(arguments, stdin);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}{}",
            text(&output.stderr),
            text(&output.stdout)
        );
        text(&output.stdout)
    }

    /// The result word of a letter's only stamp, and the exit code.
    fn verified(&self, letter: &str) -> (String, i32) {
        let output = self.stranger(&["--json", "verify", "--to", BOB], letter);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let word = value["stamps"][0]["result"].as_str().unwrap().to_owned();
        (word, output.status.code().unwrap())
    }

    fn discovery(&self) -> Discovery {
        Discovery::new(Dns::new(&[self.nsd.address()]).unwrap())
    }
}

fn letter(subject: &str) -> String {
    format!(
        "From: {ALICE}\nTo: {BOB}\nSubject: {subject}\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nMessage-ID: <{subject}@a.example>\n\nHello\n"
    )
}

#[test]
fn a_stranger_needs_nothing_but_dns() {
    let town = Town::open();
    let refused = refusal(&town.world.send(&Letter::new(ALICE, &[BOB], "first")));
    assert!(refused.contains("postage of 0.25c required"), "{refused}");

    let price = town.done(&["price", BOB], "");
    assert!(price.contains("0.25c USD") && price.contains("b.example at http://"), "{price}");
    let page = refused.split("see ").nth(1).unwrap().trim();
    assert!(price.ends_with(&format!("or in a browser, nothing installed: {page}\n")), "{price}");
    let account = town.done(&["wallet", "new"], "");
    let account = account.split_whitespace().find(|word| word.len() == 43).expect("an account");
    assert!(town.world.farthing(&["account", "credit", account, "1.00"]).status.success());
    let bought = town.done(&["buy", "b.example"], "");
    assert!(bought.starts_with("10 stamps of 0.25c for b.example"), "{bought}");

    let stamped = town.done(&["stamp", "--to", BOB], &letter("stamped"));
    assert_eq!(town.verified(&stamped), ("ok".into(), 0));
    let stamp = stamped.split("Postage-Stamp:").nth(1).unwrap().split("\nFrom:").next().unwrap();
    let sent = Letter::new(ALICE, &[BOB], "stamped").header("Postage-Stamp", stamp.trim());
    assert_eq!(result(&town.world.send(&sent)), "paid");
    town.world.books_balance();
}

#[test]
fn keys_come_and_go_while_stamps_are_about() {
    let mut town = Town::open();
    let account = town.done(&["wallet", "new"], "");
    let account = account.split_whitespace().find(|word| word.len() == 43).expect("an account");
    assert!(town.world.farthing(&["account", "credit", account, "1.00"]).status.success());
    let stamp = |town: &Town, subject| {
        town.done(&["buy", "b.example", "--count", "1"], "");
        town.done(&["stamp", "--to", BOB], &letter(subject))
    };
    let old = stamp(&town, "old");
    let first_records = town.records();

    // A second key signs from now on; both are published, and stamps of both are good.
    assert!(town.world.farthing(&["key", "new"]).status.success());
    town.world.reload();
    let new = stamp(&town, "new");
    assert_eq!(town.verified(&new), ("unknown-issuer".into(), 1), "it is not published yet");
    town.publish();
    assert_eq!((town.verified(&old).0, town.verified(&new).0), ("ok".into(), "ok".into()));

    // The first is retired: it signs no more, its record stays, its stamps stay good.
    let list = town.world.json(&["key", "list"]);
    let first =
        list.as_array().unwrap().iter().find(|key| first_records.contains(key["public"].as_str().unwrap()));
    let selector = first.unwrap()["selector"].as_str().unwrap().to_owned();
    assert!(town.world.farthing(&["key", "retire", &selector]).status.success());
    town.world.reload();
    town.publish();
    assert_eq!(town.verified(&old), ("ok".into(), 0));

    // Stolen and revoked: an empty p.
    let public = first.unwrap()["public"].as_str().unwrap();
    let revoked = town.records().replace(&format!("p={public}"), "p=");
    town.publish_as(&revoked);
    assert_eq!((town.verified(&old).0, town.verified(&new).0), ("unknown-issuer".into(), "ok".into()));
}

#[test]
fn what_is_published_is_read_whole_or_not_at_all() {
    let mut town = Town::open();
    let key = town.world.json(&["key", "list"])[0]["public"].as_str().unwrap().to_owned();
    let good = format!("v=postage1; k=ed25519; p={key}");
    let (head, tail) = good.split_at(30);
    let filler: String =
        (0..40).map(|n| format!("many IN TXT \"another record {n} {}\"\n", "x".repeat(200))).collect();
    let records = format!(
        "parts._postage IN TXT \"{head}\" \"{tail}\"\nlong._postage IN TXT \"note={0};\" \"note2={0};\" \"x\"\n\
         many._postage IN TXT \"{good}\"\n{1}\
         twice._postage IN TXT \"{good}\"\ntwice._postage IN TXT \"{good} \"\n\
         alias._postage IN CNAME parts._postage\n",
        "y".repeat(240),
        filler.replace("many ", "many._postage "),
    );
    town.publish_as(&records);
    let discovery = town.discovery();
    let ask = |selector: &str| {
        support::block_on(discovery.office_key(&"b.example".parse().unwrap(), &selector.parse().unwrap()))
    };
    assert_eq!(ask("parts").unwrap().unwrap().to_string(), key, "strings are joined without a space");
    assert_eq!(ask("many").unwrap().unwrap().to_string(), key, "8 kB of answer come over TCP");
    assert_eq!(ask("alias").unwrap().unwrap().to_string(), key);
    assert_eq!(ask("twice").unwrap(), Err(RecordError::Several));
    assert_eq!(ask("long").unwrap(), Err(RecordError::None));
    assert_eq!(ask("nowhere").unwrap(), Err(RecordError::None));
}

#[test]
fn a_server_that_cannot_say_is_no_server_that_says_no() {
    let mut town = Town::open();
    town.nsd.zone("broken.example").start();
    let (code, said) = {
        let output = town.stranger(&["price", "bob@broken.example"], "");
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(code, Some(75), "SERVFAIL: {said}");
    let output = town.stranger(&["price", "alice@a.example"], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("says nothing of postage"), "{}", text(&output.stderr));
}
