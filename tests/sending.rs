//! `farthing sendmail`: what mutt, git, cron and PHP call instead of sendmail(1).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

#[path = "sending/ahead.rs"]
mod ahead;
#[path = "sending/programs.rs"]
mod programs;
#[allow(dead_code)] // it can do more than is needed here
#[path = "outbox/sink.rs"]
mod sink;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use farthing::{demo::dns::Manner, message::split_message};
use farthing_milter::client::Letter;
use sink::Sink;
use support::{ALICE, BOB, CAROL, Site, World, result, text, wait_until};

const LETTER: &str = "From: Alice <alice@a.example>\nTo: Bob <bob@b.example>, carol@b.example\nCc: dave@c.example\n\
    Bcc: eve@b.example\nSubject: Plans\n\nHello\n.\nafter the dot\n";

/// Alice at her machine: a wallet with money at b.example's office, and a sendmail that files what it is given.
struct Sender {
    world: World,
}

/// What the sendmail was given, once.
struct Handed {
    arguments: Vec<String>,
    letter: Vec<u8>,
}

impl Handed {
    fn text(&self) -> String {
        text(&self.letter)
    }

    fn recipients(&self) -> Vec<&str> {
        let end =
            self.arguments.iter().position(|argument| argument == "--").expect("-- before the recipients");
        self.arguments[end + 1..].iter().map(String::as_str).collect()
    }

    fn values(&self, name: &str) -> Vec<String> {
        split_message(&self.letter).values(name).map(|value| text(value.trim_ascii())).collect()
    }
}

impl Sender {
    fn new() -> Self {
        let world = World::start(&Site::default());
        for record in world.json(&["key", "dns"]).as_array().unwrap() {
            world.zone.txt(record["name"].as_str().unwrap(), record["txt"].as_str().unwrap());
        }
        let account = world.json(&["wallet", "new"])["account"].as_str().unwrap().to_owned();
        world.json(&["account", "credit", &account, "1.00"]);
        let sender = Self { world };
        sender.sink("exit 0");
        sender
    }

    /// A sendmail that files arguments and letter, and ends so.
    fn sink(&self, end: &str) {
        let directory = self.world.path("handed");
        let script = format!(
            "#!/bin/sh\nmkdir -p {0}; n=$(ls {0} | wc -l); printf '%s\\n' \"$@\" >{0}/$n.a; cat >{0}/$n.l; {end}\n",
            directory.display()
        );
        fs::write(self.path(), script).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.world.path("sendmail-of-the-system")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("FARTHING_WALLET", self.world.path("wallet"))
            .env("FARTHING_DNS", self.world.zone.address().to_string())
            .env("FARTHING_SENDMAIL", self.path())
            .env("TMPDIR", self.world.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn send(&self, flags: &[&str], letter: &str) -> Output {
        let mut command = self.command(env!("CARGO_BIN_EXE_farthing"));
        ran(command.arg("sendmail").args(flags), letter)
    }

    fn sent(&self, flags: &[&str], letter: &str) -> Vec<Handed> {
        let output = self.send(flags, letter);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "programs expect silence");
        self.handed()
    }

    /// Everything handed on so far.
    fn handed(&self) -> Vec<Handed> {
        // Two files each.
        let read = |n: usize, end: &str| fs::read(self.world.path(&format!("handed/{}.{end}", n * 2))).ok();
        let one = |n| {
            let arguments = text(&read(n, "a")?).lines().map(ToOwned::to_owned).collect();
            Some(Handed { arguments, letter: read(n, "l")? })
        };
        (0..).map_while(one).collect()
    }

    fn stamps_in_hand(&self) -> u64 {
        let stamps = self.world.json(&["wallet", "show"])["stamps"].clone();
        stamps.as_array().unwrap().iter().map(|stamps| stamps["count"].as_u64().unwrap()).sum()
    }

    /// Brings a copy to the gate, as the mail server would.
    fn delivered(&self, copy: &Handed) -> String {
        let recipients = copy.recipients();
        let mut letter = Letter::new(ALICE, &recipients, "unused");
        letter.headers.clear();
        for header in split_message(&copy.letter).headers {
            letter = letter.header(&text(header.name), text(header.value.trim_ascii()).as_str());
        }
        result(&self.world.send(&letter))
    }
}

fn ran(command: &mut Command, stdin: &str) -> Output {
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn each_domain_gets_its_copy_and_each_hidden_recipient_one_of_his_own() {
    let sender = Sender::new();
    let handed = sender.sent(&["-t", "-oi", "-oem", "-f", ALICE], LETTER);
    let to: Vec<_> = handed.iter().map(Handed::recipients).collect();
    assert_eq!(to, [vec![BOB, CAROL], vec!["eve@b.example"], vec!["dave@c.example"]]);
    let stamps: Vec<_> = handed.iter().map(|copy| copy.values("Postage-Stamp").len()).collect();
    assert_eq!(stamps, [2, 1, 0]);
    for copy in &handed {
        assert!(copy.text().ends_with("Hello\n.\nafter the dot\n"), "{}", copy.text());
        assert!(!copy.text().contains("eve@b.example"), "{}", copy.text());
        assert_eq!(&copy.arguments[..4], ["-i", "-oem", "-f", ALICE]);
    }
    assert_eq!(handed[0].values("Message-ID").len(), 1);
    assert_eq!(handed[0].values("Message-ID"), handed[1].values("Message-ID"), "one letter, one Message-ID");
    assert_eq!(sender.delivered(&handed[0]), "paid");
    assert_eq!(sender.delivered(&handed[1]), "paid");
    assert_eq!(sender.stamps_in_hand(), 0);
    sender.world.books_balance();
}

#[test]
fn as_cron_mutt_and_a_link_call_it() {
    let sender = Sender::new();
    let link = sender.world.path("sendmail");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_farthing"), &link).unwrap();
    let cron = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> true\n\nnothing\n";
    let mut command = sender.command(link.to_str().unwrap());
    let output = ran(command.args(["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"]), cron);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let handed = sender.handed();
    assert_eq!(handed[0].text(), cron, "what needs no stamp goes as it came");
    assert_eq!(handed[0].arguments, ["-i", "-B8BITMIME", "-oem", "-F", "CronDaemon", "--", "root"]);

    let bare = "To: bob@b.example\nSubject: x\n\nHello\n.\nnot any more\n";
    let handed = sender.sent(&["-f", ALICE, "-F", "Alice A.", "--", BOB], bare);
    let copy = &handed[1];
    assert_eq!(copy.values("From"), ["\"Alice A.\" <alice@a.example>"]);
    assert!(copy.text().ends_with("\n\nHello\n"), "a single dot ends it: {}", copy.text());
    assert_eq!(sender.delivered(copy), "paid");

    // To a stranger's domain its author is completed as a mail server does it: a stamp is bound to him.
    let to_bob = cron.replace("To: root", "To: bob@b.example");
    let handed = sender.sent(&["-FCronDaemon", "-i", "-f", ALICE, BOB], &to_bob);
    assert_eq!(handed[2].values("From"), ["root@a.example (Cron Daemon)"]);
    assert_eq!(sender.delivered(&handed[2]), "paid");

    // Itself in the system's place: it must not call itself for ever.
    let mut command = sender.command(link.to_str().unwrap());
    let output = ran(command.env("FARTHING_SENDMAIL", &link).arg("root"), cron);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
}

#[test]
fn the_wallet_has_limits() {
    let sender = Sender::new();
    let shown = sender.world.json(&["wallet", "set", "--per-letter", "0.5c", "--per-day", "1c"]);
    assert_eq!((&shown["per_letter"], &shown["per_day"]), (&5_000.into(), &10_000.into()));
    let output = sender.send(&["-t", "-i"], LETTER);
    assert_eq!(output.status.code(), Some(77), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("0.75c for one letter is over the wallet's limit of 0.5c"));
    assert!(sender.handed().is_empty() && sender.stamps_in_hand() == 0, "nothing was bought or sent");

    let letter = LETTER.replace("Bcc: eve@b.example\n", "");
    sender.sent(&["-t", "-i"], &letter);
    sender.sent(&["-t", "-i"], &letter);
    let output = sender.send(&["-t", "-i"], &letter);
    assert_eq!(output.status.code(), Some(77), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("over the wallet's limit of 1c a day, of which 1c is used"));
    assert_eq!(sender.stamps_in_hand(), 0);
}

#[test]
fn a_letter_that_is_not_taken_is_kept_with_its_stamps() {
    let sender = Sender::new();
    sender.sink("exit 75");
    let output = sender.send(&["-i", BOB], LETTER);
    assert_eq!(output.status.code(), Some(75));
    let said = text(&output.stderr);
    assert!(said.contains("not handed on to bob@b.example"), "{said}");
    let path = said.split("kept as ").nth(1).unwrap().split(": send").next().unwrap();
    let kept = fs::read(path).unwrap();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);

    // Sent again as it is, it costs nothing more; to others it goes without Bob's stamp.
    fs::remove_dir_all(sender.world.path("handed")).unwrap();
    sender.sink("exit 0");
    let handed = sender.sent(&["-i", BOB, CAROL, "dave@c.example"], &text(&kept));
    let to: Vec<_> =
        handed.iter().map(|copy| (copy.recipients(), copy.values("Postage-Stamp").len())).collect();
    assert_eq!(to, [(vec![BOB, CAROL], 2), (vec!["dave@c.example"], 0)]);
    assert_eq!(sender.delivered(&handed[0]), "paid");
    assert_eq!(sender.world.balance("stamps"), 0, "a stamp each was sold, and used");
    assert_eq!(sender.world.balance("escrow:b.example"), 2 * 2_500);
    fs::remove_file(path).unwrap();
}

#[test]
fn what_is_not_for_it_or_cannot_be_said_now_hands_nothing_on() {
    let sender = Sender::new();
    for (flags, code, said) in [
        (vec!["-bs"], 64, "is the mail server's"),
        (vec!["-q"], 64, "is the mail server's"),
        (vec!["-i"], 64, "nobody is named"),
        (vec!["-i", "--smtp", "mail.example", BOB], 64, "smtp://HOST:PORT"),
    ] {
        let output = sender.send(&flags, LETTER);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{flags:?}: {}", text(&output.stderr));
    }
    sender.world.zone.manner("_postage.c.example", Manner::ServFail);
    assert_eq!(sender.send(&["-t", "-i"], LETTER).status.code(), Some(75), "who knows what c.example asks");
    let no_author = LETTER.replace("From: Alice <alice@a.example>\n", "");
    assert_eq!(
        sender.send(&["-i", BOB], &no_author).status.code(),
        Some(65),
        "a stamp is bound to an author"
    );
    assert!(sender.handed().is_empty());
}

#[test]
fn a_mail_server_takes_it_by_smtp() {
    let sender = Sender::new();
    let sink = Sink::start();
    let output = sender.send(&["-i", "--smtp", &sink.url(), BOB], LETTER);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let taken = sink.taken();
    assert_eq!(
        (taken.len(), taken[0].from.as_str(), taken[0].to.as_slice()),
        (1, ALICE, &[BOB.to_owned()][..])
    );
    assert!(taken[0].message.ends_with("Hello\r\n.\r\nafter the dot\r\n"), "a dot is stuffed");
    assert!(taken[0].field("Postage-Stamp").contains("d=b.example"));
}
