//! The programs themselves: git, mutt and mail(1) call it, and what arrives by SMTP pays.

use std::{fs, path::Path, process::Command};

use super::{sink::Sink, support::random, *};

const DAVE: &str = "dave@c.example";
const EVE: &str = "eve@b.example";

/// Alice with a smarthost.
struct Desk {
    sender: Sender,
    sink: Sink,
}

impl Desk {
    fn new() -> Self {
        Self { sender: Sender::new(), sink: Sink::start() }
    }

    /// What a program is told to call.
    fn sendmail(&self) -> String {
        format!("{} sendmail --smtp {}", env!("CARGO_BIN_EXE_farthing"), self.sink.url())
    }

    fn directory(&self) -> &Path {
        self.sender.world.directory.path()
    }

    /// A program as Alice runs it, with nothing of this machine's settings.
    fn program(&self, name: &str) -> Command {
        let mut command = self.sender.command(name);
        command
            .current_dir(self.directory())
            .env("HOME", self.directory())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("EMAIL", ALICE)
            .env_remove("MAILRC")
            .env_remove("XDG_CONFIG_HOME");
        command
    }

    /// Runs it; it must say that all is well.
    fn run(&self, command: &mut Command, stdin: &str) -> String {
        let output = ran(command, stdin);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn git(&self, arguments: &[&str]) -> String {
        self.run(self.program("git").args(arguments), "")
    }

    /// What the smarthost took.
    fn taken(&self) -> Vec<Handed> {
        let handed = |taken: sink::Taken| {
            assert_eq!(taken.from, ALICE);
            let arguments = ["--".to_owned()].into_iter().chain(taken.to).collect();
            Handed { arguments, letter: taken.message.into_bytes() }
        };
        self.sink.taken().into_iter().map(handed).collect()
    }

    /// Every copy for b.example is paid and shows nobody who is hidden; gives who got which.
    fn all_paid(&self, hidden: &str) -> Vec<Vec<String>> {
        let taken = self.taken();
        for copy in &taken {
            assert!(!copy.text().contains(hidden), "{}", copy.text());
            let (asking, stamps) = (copy.recipients(), copy.values("Postage-Stamp"));
            let asking = asking.iter().filter(|recipient| recipient.ends_with("@b.example")).count();
            assert_eq!(stamps.len(), asking, "{}", copy.text());
            if asking > 0 {
                assert_eq!(self.sender.delivered(copy), "paid", "{}", copy.text());
            }
        }
        self.sender.world.books_balance();
        taken.iter().map(|copy| copy.recipients().iter().map(|&r| r.to_owned()).collect()).collect()
    }
}

/// `git format-patch` and `git send-email` as a contributor types them: two patches with a cover letter, to a list of
/// people at two domains, and one who is hidden.
#[test]
fn git_sends_a_series() {
    let desk = Desk::new();
    desk.git(&["init", "--quiet", "--initial-branch=main", "work"]);
    let git = |arguments: &[&str]| desk.git(&[&["-C", "work"], arguments].concat());
    git(&["config", "user.name", "Alice"]);
    git(&["config", "user.email", ALICE]);
    for n in 0..3 {
        fs::write(desk.directory().join("work/file"), format!("line\n.\nof version {n}\n")).unwrap();
        git(&["add", "file"]);
        git(&["commit", "--quiet", "--message", &format!("Version {n}\n\nCc: {DAVE}")]);
    }
    git(&["config", "sendemail.sendmailCmd", &desk.sendmail()]);
    git(&["config", "sendemail.confirm", "never"]);
    git(&["config", "sendemail.suppresscc", "self"]);
    git(&["format-patch", "--quiet", "--cover-letter", "-2", "-o", "out"]);
    let cover = desk.directory().join("work/out/0000-cover-letter.patch");
    let filled = fs::read_to_string(&cover).unwrap().replace("*** SUBJECT HERE ***", "A series");
    fs::write(&cover, filled.replace("*** BLURB HERE ***", "As promised.")).unwrap();
    git(&["send-email", "--to", BOB, "--cc", CAROL, "--bcc", EVE, "--no-validate", "out"]);

    let got = desk.all_paid(EVE);
    // The cover letter has no line that names Dave.
    let of_one = |with_dave: bool| {
        let dave = with_dave.then(|| vec![DAVE.to_owned()]);
        [vec![BOB.to_owned(), CAROL.to_owned()], vec![EVE.to_owned()]].into_iter().chain(dave)
    };
    assert_eq!(got, of_one(false).chain(of_one(true)).chain(of_one(true)).collect::<Vec<_>>());
    let copies = desk.taken();
    let subjects: Vec<_> = copies.iter().map(|copy| copy.values("Subject").concat()).collect();
    assert_eq!(
        (subjects[0].as_str(), subjects[2].as_str()),
        ("[PATCH 0/2] A series", "[PATCH 1/2] Version 1")
    );
    assert_eq!(copies[2].values("In-Reply-To"), copies[0].values("Message-ID"), "one thread");
    assert!(copies[2].text().contains("\r\n .\r\n"), "{}", copies[2].text());
    assert_eq!(desk.sender.stamps_in_hand(), 0, "one stamp for each, no more");
}

/// A letter with an attachment from a script, by mutt without a screen.
#[test]
fn mutt_sends_a_letter_in_batch() {
    let desk = Desk::new();
    let attached: Vec<u8> = random::<512>().to_vec();
    fs::write(desk.directory().join("noise.bin"), &attached).unwrap();
    for (write_bcc, dsn) in [("no", "unset dsn_notify"), ("yes", "set dsn_notify=failure,delay")] {
        let settings = format!(
            "set realname=Alice\nset from={ALICE}\nset use_envelope_from=yes\nset copy=no\nset write_bcc={write_bcc}\n{dsn}\n\
             set sendmail=\"{} -oem -oi\"\n",
            desk.sendmail()
        );
        fs::write(desk.directory().join("muttrc"), settings).unwrap();
        let subject = format!("From a script, {write_bcc}");
        desk.run(
            desk.program("mutt")
                .args(["-n", "-F", "muttrc", "-s", &subject, "-c", CAROL, "-c", DAVE, "-b", EVE])
                .args(["-a", "noise.bin", "--", BOB]),
            "Dear Bob,\n.\nafter the dot\n",
        );
    }
    let of_one = || [vec![BOB.to_owned(), CAROL.to_owned()], vec![EVE.to_owned()], vec![DAVE.to_owned()]];
    assert_eq!(desk.all_paid(EVE), [of_one(), of_one()].concat());
    for copy in desk.taken() {
        assert!(copy.text().contains("Dear Bob,\r\n.\r\nafter the dot\r\n"), "{}", copy.text());
        assert!(copy.text().contains("noise.bin"));
    }
    assert_eq!(desk.sender.stamps_in_hand(), 0);
}

/// What cron's jobs and scripts call: mail(1).
#[test]
fn mail_sends_what_a_job_says() {
    let desk = Desk::new();
    // It has a setting for the program, without arguments.
    let link = desk.directory().join("sendmail");
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", desk.sendmail());
    fs::write(&link, script).unwrap();
    fs::set_permissions(&link, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(desk.directory().join(".mailrc"), format!("set sendmail={}\n", link.display())).unwrap();
    desk.run(
        desk.program("bsd-mailx")
            .args(["-s", "Backup done", "-a", &format!("From: {ALICE}")])
            .args(["-c", CAROL, "-b", EVE, BOB]),
        "All is well.\n",
    );
    assert_eq!(desk.all_paid(EVE), [vec![BOB.to_owned(), CAROL.to_owned()], vec![EVE.to_owned()]]);
    assert!(desk.taken()[0].text().ends_with("All is well.\r\n"));
}
