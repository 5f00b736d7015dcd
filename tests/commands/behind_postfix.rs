//! The same behind a real Postfix: the login comes by XCLIENT, as a proxy that has authenticated it says it; answers are
//! read from Bob's mailbox.

use std::{fs, time::Duration};

use super::{
    postfix::{Delivered, Postfix, PostfixConfig},
    smtp::{Smtp, SmtpAnswer},
    support::{ALICE, ALICE_IP, BOB, CAROL, Site, World, text},
    *,
};

/// How long Postfix may take for anything on loopback.
const LIMIT: Duration = Duration::from_secs(60);

struct Mx {
    postfix: Postfix, // stops before the daemon does
    world: World,
}

impl Mx {
    /// A site whose answers go to its own Postfix.
    fn start(change: impl FnOnce(PostfixConfig, &World) -> PostfixConfig) -> Self {
        let mut world = World::without_daemon(&Site::default());
        let milter = format!("unix:{}", world.path("milter.sock").display());
        let config = PostfixConfig::with_milter(format!("{{ {milter}, default_action=accept }}"));
        let postfix = Postfix::start(change(config, &world));
        world.configure(&Site {
            gate: "exempt_networks = [\"127.0.0.0/8\"]\n".into(),
            more: format!("[commands]\nsmtp = \"smtp://{}\"\n", postfix.smtp_addr),
            ..Site::default()
        });
        world.start_daemon();
        Self { postfix, world }
    }

    /// An SMTP session of a login.
    fn session(&self, login: &str) -> Smtp {
        let mut smtp = self.postfix.smtp();
        smtp.expect("EHLO proxy.example", 250);
        smtp.expect(&format!("XCLIENT ADDR=198.51.100.7 NAME=home.example LOGIN={login}"), 220);
        smtp.expect("EHLO home.example", 250);
        smtp
    }

    fn by(&self, login: &str, from: &str, to: &[&str], letter: &str) -> SmtpAnswer {
        self.session(login).send_mail(from, to, letter.as_bytes())
    }

    /// Brings a paid letter of Alice's to Bob, and gives it as delivered.
    fn paid(&self, id: &str, count: usize) -> Delivered {
        let stamp = self.world.buy(1).remove(0);
        let letter =
            format!("Postage-Stamp: {}\n{}", stamp.to(BOB, ALICE), letter(ALICE, BOB, id, "Hello\n"));
        let mut smtp = self.postfix.smtp();
        smtp.expect("EHLO proxy.example", 250);
        smtp.expect(&format!("XCLIENT ADDR={ALICE_IP} NAME=mx.a.example"), 220);
        smtp.expect("EHLO mx.a.example", 250);
        assert_eq!(smtp.send_mail(ALICE, &[BOB], letter.as_bytes()).code, 250);
        self.delivered(count, id)
    }

    /// Waits for so many copies delivered in all, and gives the one with this subject.
    fn delivered(&self, count: usize, subject: &str) -> Delivered {
        let mail = self.postfix.wait_for_mail(count, LIMIT);
        assert_eq!(mail.len(), count, "{mail:#?}");
        let found = mail.into_iter().find(|mail| mail.header("Subject") == [subject]);
        found.unwrap_or_else(|| panic!("nothing with the subject {subject:?} was delivered"))
    }
}

fn letter(from: &str, to: &str, subject: &str, body: &str) -> String {
    format!(
        "From: Me <{from}>\nTo: {to}\nSubject: {subject}\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
         Message-ID: <{subject}@x.example>\n\n{body}"
    )
}

#[test]
fn bob_clicks_answers_and_commands_by_submission() {
    let mx = Mx::start(|config, _| config.main("mynetworks = 127.0.0.0/8 198.51.100.0/24"));
    let first = mx.paid("first", 1);
    let token = first.header("Postage-Wanted").remove(0);
    let token = token.trim_start_matches("<mailto:").trim_end_matches('>').to_owned();
    // Carol may not, nor may Alice, nor a program of this machine.
    assert_eq!(mx.by("carol", CAROL, &[&token], &letter(CAROL, &token, "x", "")).code, 250, "it is let go");
    let forged = mx.by("carol", BOB, &[&token], &letter(BOB, &token, "x", ""));
    assert_eq!(forged.code, 550, "{forged}");
    let mut local = mx.postfix.smtp();
    local.expect("EHLO localhost", 250);
    local.expect(&format!("MAIL FROM:<{BOB}>"), 250);
    let said = local.expect(&format!("RCPT TO:<{token}>"), 550).to_string();
    assert_eq!(said, format!("550 5.7.1 <{POSTAGE}>: commands are taken from submission only"));
    assert_eq!(refunded(&mx.world), (0, PRICE));

    assert_eq!(mx.by("bob", BOB, &[&token], &letter(BOB, &token, "", "")).code, 250);
    assert_eq!(refunded(&mx.world), (PRICE, 0));

    mx.world.json(&["unwanted", "<first@x.example>", "--for", BOB]);
    let second = mx.paid("second", 2);
    assert_eq!(second.header("Postage-Status").len(), 1);
    let answer = letter(BOB, ALICE, "Re: second", "Thanks!\n")
        .replace("Date:", "In-Reply-To: <second@x.example>\nDate:");
    assert_eq!(mx.by("bob", BOB, &[ALICE], &answer).code, 250);
    assert_eq!(refunded(&mx.world), (2 * PRICE, 0));

    let commands = letter(BOB, POSTAGE, "allow dave@d.example", "block spam.example\nwantd x\n-- \nBob\n");
    let commands = commands.replace("<allow dave@d.example@", "<commands@");
    assert_eq!(mx.by("bob", BOB, &[POSTAGE], &commands).code, 250);
    let answer = mx.delivered(3, "Re: your mail to postage@b.example");
    assert_eq!(answer.recipient, BOB);
    assert_eq!(answer.header("Auto-Submitted"), ["auto-replied"]);
    assert_eq!(answer.header("In-Reply-To"), ["<commands@x.example>"]);
    assert!(answer.text().starts_with("Return-Path: <>\n"), "{}", answer.text());
    let said = plain(&answer.text());
    assert!(
        said.contains("> allow dave@d.example\nmail that really comes from dave@d.example needs no"),
        "{said}"
    );
    assert!(said.contains("did you mean `wanted`?") && !said.contains("Bob\n>"), "{said}");

    // With Carol it is a letter, and the command address gets no copy.
    let both = letter(BOB, CAROL, "fyi", "allow eve@e.example\n");
    assert_eq!(mx.by("bob", BOB, &["Postage@b.example", CAROL, &token], &both).code, 250);
    assert_eq!(mx.delivered(4, "fyi").recipient, CAROL);
    assert!(!book(&mx.world, BOB).iter().any(|(sender, _)| sender == "eve@e.example"));
    assert!(mx.postfix.queue("deferred").is_empty() && mx.postfix.queue("active").is_empty());
}

#[test]
fn the_lines_that_farthing_postfix_prints_make_postfix_take_commands() {
    let mx = Mx::start(|config, world| {
        let (aliases, users) = (world.path("aliases"), world.path("users"));
        let output = world.farthing(&["postfix"]);
        let lines = text(&output.stdout);
        let alias = lines.lines().find(|line| line.contains("/etc/aliases")).unwrap();
        let alias = alias.split_once("echo '").unwrap().1.rsplit_once('\'').unwrap().0;
        fs::write(&aliases, format!("{alias}\n")).unwrap();
        fs::write(&users, "bob@b.example all/\n").unwrap();
        let maps = lines.lines().find(|line| line.contains("virtual_alias_maps")).unwrap();
        let maps = maps.split_once("), ").unwrap().1.strip_suffix('"').unwrap().to_owned();
        assert!(lines.contains("postconf -e 'recipient_delimiter = +'"), "{lines}");
        config
            .main("recipient_delimiter = +")
            .main(format!("virtual_alias_maps = {maps}"))
            .main(format!("virtual_mailbox_maps = texthash:{}", users.display()))
            .main("mydestination = localhost")
            .main(format!("alias_maps = hash:{}", aliases.display()))
    });
    mx.postfix.run("postalias", &[&format!("hash:{}", mx.world.path("aliases").display())]);
    let mut smtp = mx.session("bob");
    smtp.expect(&format!("MAIL FROM:<{BOB}>"), 250);
    smtp.expect("RCPT TO:<nobody@b.example>", 550);
    smtp.expect("RCPT TO:<postage@b.example>", 250);
    smtp.expect("RCPT TO:<postage+w.aaaaaaaaaaaac46hy433rxluheswwp7q@b.example>", 250);
    smtp.expect("RSET", 250);
    assert_eq!(smtp.send_mail(BOB, &[POSTAGE], letter(BOB, POSTAGE, "list", "").as_bytes()).code, 250);
    mx.delivered(1, "Re: your mail to postage@b.example");

    // While the daemon is down a command comes back: it is not lost.
    let Mx { postfix, mut world } = mx;
    world.end_daemon("TERM");
    let mx = Mx { postfix, world };
    assert_eq!(mx.by("bob", BOB, &[POSTAGE], &letter(BOB, POSTAGE, "list", "")).code, 250);
    let back = mx.delivered(2, "Undelivered Mail Returned to Sender").text();
    assert!(back.contains("Farthing was not there to read this: send it again"), "{back}");
}
