//! The whole gate behind a real Postfix: letters go in by SMTP or sendmail(1), answers are read from the SMTP
//! dialogue, fields from the delivered mail, money from the books.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "../milter/tests/support/postfix.rs"]
mod postfix;
#[path = "../milter/tests/support/smtp.rs"]
mod smtp;
mod support;

use std::{fs, path::Path, time::Duration};

use farthing::message::{author, split_message};
use postfix::{Delivered, Postfix, PostfixConfig};
use smtp::{Smtp, SmtpAnswer};
use support::{ALICE, ALICE_IP, BOB, Bought, CAROL, Site, World};

/// How long Postfix may take for anything on loopback.
const LIMIT: Duration = Duration::from_secs(30);
const PRICE_MICROS: i64 = 2_500;
const ESCROW: &str = "escrow:b.example";

/// A mail server: Postfix, with Farthing for a milter.
struct Mx {
    postfix: Postfix, // stops before the daemon does
    world: World,
}

impl Mx {
    fn start(site: &Site) -> Self {
        Self::with(site, |config| config)
    }

    fn with(site: &Site, change: impl FnOnce(PostfixConfig) -> PostfixConfig) -> Self {
        let world = World::start(site);
        let config = PostfixConfig::with_milter(milter_name(&world));
        Self { postfix: Postfix::start(change(config)), world }
    }

    /// An SMTP session that has said EHLO, from Alice's server.
    fn alice(&self) -> Smtp {
        self.session(&ALICE_IP.to_string())
    }

    fn session(&self, ip: &str) -> Smtp {
        let mut smtp = self.postfix.smtp();
        smtp.expect("EHLO proxy.example", 250);
        smtp.expect(&format!("XCLIENT ADDR={ip} NAME=mx.a.example"), 220);
        smtp.expect("EHLO mx.a.example", 250);
        smtp
    }

    /// A session of a client on this machine.
    fn local(&self) -> Smtp {
        let mut smtp = self.postfix.smtp();
        smtp.expect("EHLO localhost", 250);
        smtp
    }

    /// Brings a letter to Bob in a session of its own.
    fn send(&self, letter: &str) -> SmtpAnswer {
        self.alice().send_mail(ALICE, &[BOB], letter.as_bytes())
    }

    /// Waits for so many copies delivered in all, and gives the one with this subject.
    fn delivered(&self, count: usize, subject: &str) -> Delivered {
        let mail = self.postfix.wait_for_mail(count, LIMIT);
        assert_eq!(mail.len(), count, "{mail:#?}");
        let found = mail.into_iter().find(|mail| mail.header("Subject") == [subject]);
        found.unwrap_or_else(|| panic!("nothing with the subject {subject:?} was delivered"))
    }

    fn escrow(&self) -> i64 {
        self.world.balance(ESCROW)
    }

    fn refusal(&self, recipient: &str) -> String {
        format!(
            "550 5.7.1 <{recipient}>: postage of 0.25c required from new senders; see http://{}/p/{recipient}",
            self.world.office
        )
    }
}

fn milter_name(world: &World) -> String {
    format!("unix:{}", world.path("milter.sock").display())
}

fn letter(subject: &str) -> String {
    format!(
        "From: Alice <{ALICE}>\nTo: {BOB}\nSubject: {subject}\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
         Message-ID: <{subject}@a.example>\n\nHello\n"
    )
}

fn stamped(stamp: &Bought, letter: &str) -> String {
    field(&stamp.to(BOB, ALICE), letter)
}

fn field(stamp: &str, letter: &str) -> String {
    format!("Postage-Stamp: {stamp}\n{letter}")
}

fn result(mail: &Delivered) -> String {
    let status = mail.header("Postage-Status");
    let [status] = &status[..] else { panic!("one Postage-Status, not {status:?}:\n{}", mail.text()) };
    let result = status.split("; result=").nth(1).expect("a result");
    result.split(';').next().unwrap_or_default().to_owned()
}

fn accepted(answer: &SmtpAnswer) {
    assert_eq!(answer.code, 250, "{answer}");
}

#[test]
fn a_stranger_reads_the_price_and_where_to_pay_in_the_smtp_dialogue() {
    let mx = Mx::with(&Site::default(), |config| {
        config.main("allow_percent_hack = no").main("allow_untrusted_routing = yes")
    });
    let mut smtp = mx.alice();
    let answer = smtp.send_mail(ALICE, &[BOB], letter("one").as_bytes());
    assert_eq!(answer.to_string(), mx.refusal(BOB));
    assert_eq!(answer.lines.len(), 1, "one line");

    let percent = "per%cent/x?y@b.example";
    let answer = smtp.send_mail(ALICE, &[percent], letter("two").as_bytes());
    let page = format!("http://{}/p/per%25cent%2Fx%3Fy@b.example", mx.world.office);
    assert_eq!(
        answer.to_string(),
        format!("550 5.7.1 <{percent}>: postage of 0.25c required from new senders; see {page}"),
        "every percent sign arrives"
    );
    let answer = smtp.send_mail(ALICE, &[BOB], field("v=1; junk", &letter("three")).as_bytes());
    assert_eq!(
        answer.to_string(),
        format!(
            "550 5.7.1 <{BOB}>: postage refused: malformed; postage of 0.25c required; see http://{}/p/{BOB}",
            mx.world.office
        )
    );
    smtp.expect("QUIT", 221);
    assert!(mx.postfix.mail().is_empty());
    assert!(mx.postfix.queue("hold").is_empty());
}

#[test]
fn a_site_without_an_office_names_its_record_in_dns() {
    let mx = Mx::start(&Site { office: false, ..Site::default() });
    assert_eq!(
        mx.send(&letter("one")).to_string(),
        format!(
            "550 5.7.1 <{BOB}>: postage of 0.25c required from new senders; see _postage.b.example in DNS"
        )
    );
}

#[test]
fn a_stamped_letter_arrives_with_the_fields_on_top_and_without_its_stamp() {
    let mx = Mx::start(&Site::default());
    let stamp = mx.world.buy(1).remove(0);
    let letter = stamped(&stamp, &letter("paid"));
    accepted(&mx.send(&letter));
    let mail = mx.delivered(1, "paid");
    let headers = mail.headers();
    assert_eq!(
        headers[0],
        format!(
            "Postage-Status: mx.b.example; result=paid; rcpt={BOB}; value=2500; currency=USD; issuer=b.example; id={}",
            stamp.id()
        )
    );
    assert!(headers[1].starts_with("Postage-Wanted: <mailto:postage+w."), "{headers:#?}");
    assert!(headers[2].starts_with("Postage-Unwanted: <mailto:postage+u."), "{headers:#?}");
    assert!(headers[3].starts_with("Received: from mx.a.example"), "above our own Received: {headers:#?}");
    assert!(mail.header("Postage-Stamp").is_empty(), "{headers:#?}");
    assert!(mail.text().ends_with("\n\nHello\n"), "{}", mail.text());
    assert_eq!(mx.escrow(), PRICE_MICROS);

    accepted(&mx.send(&letter));
    mx.postfix.wait_for_mail(2, LIMIT);
    assert_eq!(mx.escrow(), PRICE_MICROS, "the same letter again is free");
    let other = letter.replace("Subject: paid", "Subject: other");
    assert!(mx.send(&other).text().contains("postage refused: spent;"));

    let marked = mx.world.farthing_with(&["--json", "wanted", "--stdin"], &mail.bytes);
    assert!(marked.status.success(), "{marked:?}");
    assert_eq!(mx.escrow(), 0, "the delivered letter itself brings the refund");
    accepted(&mx.send(&self::letter("known")));
    assert_eq!(result(&mx.delivered(3, "known")), "known");
    mx.world.books_balance();
}

#[test]
fn each_of_several_recipients_needs_a_stamp_and_sees_nobody_elses() {
    let mx = Mx::start(&Site::default());
    let stamps = mx.world.buy(2);
    let mut smtp = mx.alice();
    let plain = letter("both");
    let one = field(&stamps[0].to(BOB, ALICE), &plain);
    let answer = smtp.send_mail(ALICE, &[BOB, CAROL], one.as_bytes());
    assert_eq!(answer.to_string(), mx.refusal(CAROL), "Bob's stamp is not asked for again");
    assert_eq!(mx.escrow(), 0);

    let both = field(&stamps[1].to(CAROL, ALICE), &one);
    accepted(&smtp.send_mail(ALICE, &[BOB, CAROL], both.as_bytes()));
    for mail in mx.postfix.wait_for_mail(2, LIMIT) {
        assert_eq!(mail.header("Postage-Status"), ["mx.b.example; result=paid"]);
        for gone in ["Postage-Stamp", "Postage-Wanted", "Postage-Unwanted"] {
            assert!(mail.header(gone).is_empty(), "{}", mail.text());
        }
    }
    assert_eq!(mx.escrow(), 2 * PRICE_MICROS);

    let many: Vec<String> = (0..3).map(|n| format!("u{n}@b.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let answer = smtp.send_mail(ALICE, &many, plain.as_bytes());
    assert!(
        answer.to_string().starts_with("550 5.7.1 <u0@b.example> and 2 more: postage of 0.25c required"),
        "{answer}"
    );
    // Mail to others that Postfix relays goes with it, unasked.
    accepted(&mx.local().send_mail(ALICE, &["dave@elsewhere.example"], plain.as_bytes()));
}

#[test]
fn no_comment_or_old_route_hides_the_recipient() {
    let mx = Mx::with(&Site::default(), |config| {
        config.main("mydestination = mx.b.example, localhost.b.example").main("local_transport = virtual:")
    });
    for recipient in [
        "<bob@b.example(@x.example>",
        "<bob@b.example>(@x.example",
        "bob@b.example(@x.example",
        "<bob@b\\.example(@x.example>",
        "<bob@b.example(\\)@x.example>",
        "<x:bob@b.example;(@x.example>",
        "<<bob@b.example>(@x.example>",
        "<(@x.example)bob@b.example>",
        "<@x.example(:):bob@b.example(@x.example>",
        "<bob@mx.b.example>",
        "<bob@localhost.b.example>",
        "<bob%b.example@mx.b.example>",
        "<bob@b.example@mx.b.example>",
        "<b.example!bob>",
    ] {
        let mut smtp = mx.alice();
        smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
        smtp.expect(&format!("RCPT TO:{recipient}"), 250);
        let answer = smtp.send_data(letter("round").as_bytes());
        assert_eq!(answer.code, 550, "{recipient}: {answer}");
        assert!(answer.text().contains("postage of 0.25c required"), "{recipient}: {answer}");
    }
    assert!(mx.postfix.mail().is_empty());
}

#[test]
fn forged_fields_are_gone_however_they_were_written() {
    let mx = Mx::start(&Site::mode("tag"));
    let forged = format!(
        "Postage-Status: mx.b.example; result=known\nPOSTAGE-WANTED: <mailto:eve@a.example>\n\
         Postage-Stamp: d=elsewhere\npostage-status :mx.b.example;\n\tresult=paid\nPostage-Unwanted:\n X-Other: stays\n\
         X-Postage-Status: not ours\n{}Postage-Status: in the body\n",
        letter("forged")
    );
    accepted(&mx.send(&forged));
    let mail = mx.delivered(1, "forged");
    let status = format!("mx.b.example; result=invalid; reason=malformed; rcpt={BOB}");
    assert_eq!(mail.header("Postage-Status"), [status]);
    for gone in ["Postage-Wanted", "Postage-Unwanted", "Postage-Stamp"] {
        assert!(mail.header(gone).is_empty(), "{}", mail.text());
    }
    assert_eq!(mail.header("X-Postage-Status"), ["not ours"]);
    assert!(mail.text().ends_with("Postage-Status: in the body\n"), "the body is not touched");
}

#[test]
fn a_held_letter_waits_until_the_admin_releases_it() {
    let mx = Mx::start(&Site::mode("hold"));
    let stamp = mx.world.buy(1).remove(0);
    accepted(&mx.send(&letter("held")));
    let ids = mx.postfix.queue("hold");
    let [id] = &ids[..] else { panic!("one held letter, not {ids:?}\n{}", mx.postfix.log()) };
    mx.postfix.wait_for_log(&format!("{id}: milter-hold: END-OF-MESSAGE"), LIMIT);
    assert!(mx.postfix.run("postcat", &["-q", id]).contains("Postage-Status: mx.b.example; result=unpaid"));

    accepted(&mx.send(&stamped(&stamp, &letter("paid"))));
    assert_eq!(result(&mx.delivered(1, "paid")), "paid", "what is paid is not held");

    mx.postfix.run("postsuper", &["-H", id]);
    mx.postfix.run("postqueue", &["-f"]);
    assert_eq!(result(&mx.delivered(2, "held")), "unpaid");
}

#[test]
fn tag_and_observe_let_everything_in_and_say_what_it_was() {
    for mode in ["tag", "observe"] {
        let mx = Mx::start(&Site::mode(mode));
        let stamp = mx.world.buy(1).remove(0);
        accepted(&mx.send(&letter("plain")));
        assert_eq!(result(&mx.delivered(1, "plain")), "unpaid", "{mode}");
        accepted(&mx.send(&stamped(&stamp, &letter("paid"))));
        assert_eq!(result(&mx.delivered(2, "paid")), "paid", "{mode}");
        assert_eq!(mx.escrow(), PRICE_MICROS, "a stamp is redeemed in every mode");
        accepted(&mx.send(&stamped(&stamp, &letter("again"))));
        let again = mx.delivered(3, "again");
        assert!(again.header("Postage-Status")[0].contains("result=invalid; reason=spent"), "{mode}");
    }
}

#[test]
fn letters_beyond_ascii_find_their_way_and_are_paid() {
    let site = Site::gate("");
    let mx = Mx::with(&site, |config| config.main("virtual_mailbox_domains = b.example b\u{fc}cher.example"));
    // A domain is guarded by whichever name it is written.
    mx.world.guard(&site, &["b.example", "b\u{fc}cher.example"]);
    let (author, bob) = ("j\u{fc}rg@\u{fc}ber.example", "b\u{f8}b@b.example");
    let text = |to: &str, subject: &str| {
        format!(
            "From: J\u{fc}rg <{author}>\nTo: {to}\nSubject: {subject}\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
             Message-ID: <{subject}@a>\n\nGr\u{fc}\u{df}e\n"
        )
    };
    let send = |to: &str, letter: &str| {
        let mut smtp = mx.alice();
        smtp.expect(&format!("MAIL FROM:<{author}> BODY=8BITMIME SMTPUTF8"), 250);
        smtp.expect(&format!("RCPT TO:<{to}>"), 250);
        smtp.send_data(letter.as_bytes())
    };
    let answer = send(bob, &text(bob, "one"));
    assert!(answer.text().contains("/p/b%C3%B8b@b.example"), "the page's address is ASCII: {answer}");
    assert!(answer.text().contains(&format!("<{bob}>: postage of 0.25c")), "{answer}");

    let stamps = mx.world.buy(2);
    let one = field(&stamps[0].to(bob, author), &text(bob, "one"));
    accepted(&send(bob, &one));
    let mail = mx.delivered(1, "one");
    assert!(mail.header("Postage-Status")[0].contains(&format!("rcpt={bob};")), "{}", mail.text());
    assert!(mail.text().ends_with("Gr\u{fc}\u{df}e\n"));
    accepted(&send(bob, &one));
    assert_eq!(mx.escrow(), PRICE_MICROS, "again is free");

    let bob = "bob@b\u{fc}cher.example";
    let answer = send(bob, &text(bob, "two"));
    assert!(answer.text().contains("<bob@xn--bcher-kva.example>: postage of 0.25c"), "{answer}");
    let answer = send(bob, &field(&stamps[1].to(bob, author), &text(bob, "two")));
    assert!(answer.text().contains("postage refused: wrong-audience;"), "{answer}");
}

#[test]
fn bodies_of_any_shape_are_the_same_letter_when_they_come_again() {
    let mx = Mx::start(&Site::default());
    let stamps = mx.world.buy(4);
    let long = "x".repeat(5_000);
    let bodies: [(&str, Vec<u8>); 4] = [
        ("eight", b"caf\xe9 \xff\xfe\n.\n..dots\n".to_vec()),
        ("long", format!("{long}\n{long} {long}\n").into_bytes()),
        ("empty", b"".to_vec()),
        ("trailing", b"one  \t\n\n\n\n".to_vec()),
    ];
    for (number, ((subject, body), stamp)) in bodies.iter().zip(&stamps).enumerate() {
        let mut letter = stamped(stamp, &letter(subject).replace("Hello\n", "")).into_bytes();
        letter.extend_from_slice(body);
        for _ in 0..2 {
            accepted(&mx.alice().send_mail(ALICE, &[BOB], &letter));
        }
        assert_eq!(mx.escrow(), PRICE_MICROS * (number as i64 + 1), "{subject}: the second time is free");
        letter.extend_from_slice(b"one more line\n");
        let answer = mx.alice().send_mail(ALICE, &[BOB], &letter);
        assert!(answer.text().contains("postage refused: spent;"), "{subject}: {answer}");
    }
    mx.postfix.wait_for_mail(8, LIMIT);
    let eight = mx.postfix.mail().into_iter().find(|mail| mail.header("Subject") == ["eight"]).unwrap();
    assert!(eight.bytes.ends_with(b"caf\xe9 \xff\xfe\n.\n..dots\n"), "octet for octet");
}

#[test]
fn a_letter_without_date_and_message_id_is_taken_and_known_again() {
    // A client brought in by XCLIENT is still a local one to cleanup(8), for which it would add both.
    let mx = Mx::with(&Site::default(), |config| config.main("local_header_rewrite_clients ="));
    let stamp = mx.world.buy(1).remove(0);
    let bare = stamped(&stamp, &format!("From: {ALICE}\nSubject: bare\n\nHello\n"));
    for _ in 0..2 {
        accepted(&mx.send(&bare));
    }
    assert_eq!(mx.postfix.wait_for_mail(2, LIMIT).iter().filter(|mail| result(mail) == "paid").count(), 2);
    assert_eq!(mx.escrow(), PRICE_MICROS);
    let nothing = format!("Postage-Stamp: {}\n\nHello\n", stamp.to(BOB, ALICE));
    assert!(mx.send(&nothing).text().contains("postage refused: wrong-sender;"), "nobody wrote it");
    assert!(mx.send("\nHello\n").text().contains("postage of 0.25c required"));
}

#[test]
fn a_stamp_may_be_folded_in_every_way() {
    let mx = Mx::start(&Site::default());
    let stamps = mx.world.buy(6);
    let folds: [fn(&str) -> String; 6] = [
        |stamp| stamp.replace("; ", ";\n\t"),
        |stamp| stamp.replace("; ", " ;\n \t "),
        |stamp| format!("\n {stamp}\n\t"),
        |stamp| stamp.replace(';', " ; ").replace("; ", ";"),
        // In the middle of the base64 values.
        |stamp| {
            stamp
                .replace("; b=", ";b = ")
                .chars()
                .collect::<Vec<_>>()
                .chunks(70)
                .map(|c| c.iter().collect())
                .collect::<Vec<String>>()
                .join("")
        },
        |stamp| {
            format!(
                "{};",
                stamp.split("; ").collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(";\n\t")
            )
        },
    ];
    for (number, (fold, stamp)) in folds.iter().zip(&stamps).enumerate() {
        let unfolded = stamp.to(BOB, ALICE).split_whitespace().collect::<Vec<_>>().join(" ");
        let unfolded = unfolded.replace(";", "; ").replace(";  ", "; ");
        let subject = format!("fold{number}");
        accepted(&mx.send(&field(&fold(&unfolded), &letter(&subject))));
        let mail = mx.delivered(number + 1, &subject);
        assert_eq!(result(&mail), "paid", "{}", mail.text());
        assert!(mail.header("Postage-Stamp").is_empty(), "{}", mail.text());
        assert!(!mail.text().contains("k="), "no line of it is left: {}", mail.text());
    }
}

#[test]
fn a_hundred_letters_on_one_connection_are_each_judged_alone() {
    let mx = Mx::start(&Site::default());
    let stamps = mx.world.buy(50);
    let mut smtp = mx.alice();
    for (number, stamp) in stamps.iter().enumerate() {
        let subject = format!("number-{number}");
        let answer = smtp.send_mail(ALICE, &[BOB], letter(&subject).as_bytes());
        assert_eq!(answer.to_string(), mx.refusal(BOB), "the stamp of the letter before does not count");
        if number % 10 == 0 {
            smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
            smtp.expect("RCPT TO:<carol@b.example>", 250);
            smtp.expect("RSET", 250);
        }
        accepted(&smtp.send_mail(ALICE, &[BOB], stamped(stamp, &letter(&subject)).as_bytes()));
    }
    smtp.expect("QUIT", 221);
    let mail = mx.postfix.wait_for_mail(50, LIMIT);
    assert!(mail.iter().all(|mail| result(mail) == "paid"));
    assert_eq!(mx.escrow(), 50 * PRICE_MICROS);
}

#[test]
fn pipelining_and_bdat_change_nothing() {
    let mx = Mx::start(&Site::default());
    let stamps = mx.world.buy(2);
    let mut smtp = mx.postfix.smtp();
    let offered = smtp.expect("EHLO proxy.example", 250);
    for wanted in ["PIPELINING", "CHUNKING", "SMTPUTF8", "8BITMIME"] {
        assert!(offered.lines.iter().any(|line| line == wanted), "Postfix offers {wanted}: {offered:?}");
    }
    smtp.expect(&format!("XCLIENT ADDR={ALICE_IP} NAME=mx.a.example"), 220);
    let commands = format!("MAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\n");
    smtp.send(format!("EHLO mx.a.example\r\n{commands}DATA\r\n").as_bytes());
    let codes: Vec<u16> = (0..4).map(|_| smtp.read().code).collect();
    assert_eq!(codes, [250, 250, 250, 354]);
    let one = stamped(&stamps[0], &letter("piped")).replace('\n', "\r\n");
    // The next letter before the answer to this one.
    smtp.send(format!("{one}.\r\n{commands}").as_bytes());
    let codes: Vec<u16> = (0..3).map(|_| smtp.read().code).collect();
    assert_eq!(codes, [250, 250, 250]);

    let two = stamped(&stamps[1], &letter("chunked")).replace('\n', "\r\n");
    let (first, last) = two.split_at(300);
    smtp.send(format!("BDAT {}\r\n{first}BDAT {} LAST\r\n{last}", first.len(), last.len()).as_bytes());
    let codes: Vec<u16> = (0..2).map(|_| smtp.read().code).collect();
    assert_eq!(codes, [250, 250]);
    assert_eq!(result(&mx.delivered(2, "chunked")), "paid");
    smtp.send(format!("{commands}BDAT 30 LAST\r\n{:<28}\r\n", "Subject: x").as_bytes());
    let answers: Vec<String> = (0..3).map(|_| smtp.read().to_string()).collect();
    assert_eq!(answers[2], mx.refusal(BOB));
    assert_eq!(mx.escrow(), 2 * PRICE_MICROS);
}

#[test]
fn two_thousand_recipients_get_one_answer() {
    let mx = Mx::start(&Site::default());
    let mut smtp = mx.alice();
    let ask = |smtp: &mut Smtp| {
        let commands: String = (0..2_000).map(|n| format!("RCPT TO:<u{n}@b.example>\r\n")).collect();
        smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
        smtp.send(commands.as_bytes());
        assert!((0..2_000).all(|_| smtp.read().code == 250));
    };
    ask(&mut smtp);
    let answer = smtp.send_data(letter("all").as_bytes()).to_string();
    assert!(
        answer.starts_with(
            "550 5.7.1 <u0@b.example> and 1999 more: postage of 0.25c required from new senders; see"
        ),
        "{answer}"
    );
    assert!(answer.len() < 512, "a reply line that everybody takes");

    // A gate looks at the first hundred stamps: so many recipients can be paid for at once.
    let stamps = mx.world.buy(100);
    let recipients: Vec<String> = (0..100).map(|n| format!("u{n}@b.example")).collect();
    let fields: String = stamps
        .iter()
        .zip(&recipients)
        .map(|(stamp, recipient)| field(&stamp.to(recipient, ALICE), ""))
        .collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    accepted(&smtp.send_mail(ALICE, &recipients, format!("{fields}{}", letter("hundred")).as_bytes()));
    assert_eq!(mx.escrow(), 100 * PRICE_MICROS);
    let mail = mx.postfix.wait_for_mail(100, LIMIT);
    assert!(mail.iter().all(|mail| mail.header("Postage-Stamp").is_empty()));
}

#[test]
fn mail_of_this_machines_programs_is_free_and_strangers_programs_are_told_the_price() {
    let free = Mx::with(&Site::gate("exempt_networks = [\"127.0.0.0/8\"]"), |config| PostfixConfig {
        non_smtpd_milters: config.smtpd_milters.clone(),
        ..config
    });
    let forged = format!("Postage-Wanted: <mailto:x@b.example>\n{}", letter("cron"));
    assert!(free.postfix.submit("root@b.example", &[BOB], forged.as_bytes()).status.success());
    let mail = free.delivered(1, "cron");
    assert_eq!(mail.header("Postage-Status"), [format!("mx.b.example; result=exempt; rcpt={BOB}")]);
    assert!(mail.header("Postage-Wanted").is_empty(), "forged here, too");

    // The letter passes here again, as from a content filter: what the first pass found stays.
    let mut from_filter = mail.bytes.clone();
    from_filter.splice(..0, b"X-Filter: clean\n".iter().copied());
    accepted(&free.local().send_mail(ALICE, &[BOB], &from_filter));
    let again = free.postfix.wait_for_mail(2, LIMIT);
    let again = again.iter().find(|mail| !mail.header("X-Filter").is_empty()).unwrap();
    assert_eq!(again.header("Postage-Status"), [format!("mx.b.example; result=exempt; rcpt={BOB}")]);

    // Where no network is exempt, such a letter is refused at its end, never at a recipient: the queue goes on.
    let strict = Mx::with(&Site::default(), |config| PostfixConfig {
        non_smtpd_milters: config.smtpd_milters.clone(),
        ..config
    });
    let stamp = strict.world.buy(1).remove(0);
    assert!(strict.postfix.submit(ALICE, &[BOB], letter("refused").as_bytes()).status.success());
    strict.postfix.wait_for_log("milter-reject: END-OF-MESSAGE", LIMIT);
    let paid = stamped(&stamp, &letter("paid"));
    assert!(strict.postfix.submit(ALICE, &[BOB], paid.as_bytes()).status.success());
    assert_eq!(result(&strict.delivered(1, "paid")), "paid");
    strict
        .postfix
        .wait_until("an empty maildrop queue", LIMIT, || strict.postfix.queue("maildrop").is_empty());
}

#[test]
fn a_login_is_never_asked_whatever_it_writes() {
    // Postfix says who has logged in by a macro; here for everybody who comes to this port.
    let mx = Mx::with(&Site::default(), |config| PostfixConfig {
        smtpd_options: vec!["milter_macro_defaults=auth_authen=bob".into()],
        ..config
    });
    accepted(&mx.send(&letter("first")));
    assert_eq!(result(&mx.delivered(1, "first")), "exempt");
    let mut smtp = mx.alice();
    accepted(&smtp.send_mail("bob@b.example", &["carol@b.example"], letter("second").as_bytes()));
    assert_eq!(result(&mx.delivered(2, "second")), "exempt", "and the next letter of the session");
    assert_eq!(mx.world.zone.asked_in_all(), 0);
}

/// As the README has it.
const STRIP: &str =
    "/^Authentication-Results[[:space:]]*:[[:space:]]*mx\\.b\\.example([^[:alnum:].-]|$)/ IGNORE\n";

#[test]
fn header_checks_take_forged_results_away_before_they_are_believed() {
    assert!(fs::read_to_string("README.md").unwrap().contains(STRIP.trim_end()), "the README says another");
    let site = Site {
        more: "[identity]\ncheck = \"results\"\ntrusted = [\"mx.b.example\"]\n".into(),
        ..Site::default()
    };
    let forged = |field: &str| format!("{field} dmarc=pass header.from=a.example\n{}", letter("results"));
    let open = Mx::start(&site);
    assert!(open.world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    accepted(&open.send(&forged("Authentication-Results: mx.b.example;")));
    assert_eq!(result(&open.delivered(1, "results")), "known", "believed where nobody takes it away");

    let mx = Mx::with(&site, |config| {
        let table = open.world.path("header_checks");
        fs::write(&table, STRIP).unwrap();
        config.main(format!("header_checks = regexp:{}", table.display()))
    });
    assert!(mx.world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    for field in [
        "Authentication-Results: mx.b.example;",
        "authentication-results : MX.B.example ;",
        "Authentication-Results:\n\tmx.b.example 1;",
        "Authentication-Results:mx.b.example\n ;",
        "Authentication-Results: mx.b.example(x);",
        "Authentication-Results: (x) mx.b.example;",
        "Authentication-Results: \"mx.b.example\";",
        "Authentication-Results: mx.m.example; spf=pass\nAuthentication-Results: mx.b.example;",
    ] {
        assert_eq!(mx.send(&forged(field)).to_string(), mx.refusal(BOB), "{field:?}");
    }
}

#[test]
fn clients_on_ipv6_are_who_they_are() {
    let site = Site::gate("exempt_networks = [\"2001:db8:ffff::/48\"]");
    let mx = Mx::start(&site);
    mx.world.zone.txt("six.example", "v=spf1 ip6:2001:db8:1::/64 -all");
    assert!(mx.world.farthing(&["known", "add", "ann@six.example", "--for", BOB]).status.success());
    let send = |ip: &str, subject: &str| {
        let letter = letter(subject).replace(ALICE, "ann@six.example");
        mx.session(&format!("IPV6:{ip}")).send_mail("ann@six.example", &[BOB], letter.as_bytes())
    };
    accepted(&send("2001:db8:1::25", "known"));
    assert_eq!(result(&mx.delivered(1, "known")), "known");
    assert_eq!(send("2001:db8:2::25", "forged").to_string(), mx.refusal(BOB));
    accepted(&send("2001:db8:ffff:1::1", "exempt"));
    assert_eq!(result(&mx.delivered(2, "exempt")), "exempt");
}

#[test]
fn a_bounce_needs_a_stamp_as_well() {
    let mx = Mx::start(&Site::default());
    let stamp = mx.world.buy(1).remove(0);
    let mut smtp = mx.alice();
    let answer = smtp.send_mail("", &[BOB], letter("bounce").as_bytes());
    assert_eq!(answer.to_string(), mx.refusal(BOB));
    accepted(&smtp.send_mail("", &[BOB], stamped(&stamp, &letter("bounce")).as_bytes()));
    assert_eq!(result(&mx.delivered(1, "bounce")), "paid");
    accepted(&smtp.send_mail("", &["postmaster@b.example"], letter("help").as_bytes()));
    assert_eq!(result(&mx.delivered(2, "help")), "exempt");
}

#[test]
fn a_gate_that_dies_in_the_middle_costs_a_retry_and_nothing_else() {
    let mut mx = Mx::with(&Site::default(), |config| config.main("milter_default_action = tempfail"));
    let stamp = mx.world.buy(1).remove(0);
    let letter = stamped(&stamp, &letter("killed"));
    let mut smtp = mx.alice();
    smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
    smtp.expect(&format!("RCPT TO:<{BOB}>"), 250);
    mx.world.end_daemon("KILL");
    assert_eq!(smtp.send_data(letter.as_bytes()).code, 451, "before the letter came");
    assert_eq!(mx.local().say(&format!("MAIL FROM:<{ALICE}>")).code, 451, "while nobody is there");

    mx.world.start_daemon();
    // The letter is there, the ledger is busy, and the gate dies over it.
    let lock = mx.world.lock_ledger();
    let mut smtp = mx.alice();
    smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
    smtp.expect(&format!("RCPT TO:<{BOB}>"), 250);
    let sending = std::thread::spawn({
        let letter = letter.clone();
        move || smtp.send_data(letter.as_bytes())
    });
    mx.postfix.wait_for_log("message-id=<killed@a.example>", LIMIT);
    mx.world.end_daemon("KILL");
    assert_eq!(sending.join().unwrap().code, 451, "after the letter came");
    drop(lock);

    mx.world.start_daemon();
    accepted(&mx.send(&letter));
    assert_eq!(result(&mx.delivered(1, "killed")), "paid");
    assert_eq!(mx.escrow(), PRICE_MICROS, "paid once");
    mx.world.books_balance();
}

#[test]
fn a_client_that_never_heard_the_answer_brings_the_letter_again_for_nothing() {
    let mx = Mx::start(&Site::default());
    let stamp = mx.world.buy(1).remove(0);
    let letter = stamped(&stamp, &letter("unheard"));
    let mut smtp = mx.alice();
    smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
    smtp.expect(&format!("RCPT TO:<{BOB}>"), 250);
    smtp.expect("DATA", 354);
    smtp.send(format!("{}.\r\n", letter.replace('\n', "\r\n")).as_bytes());
    drop(smtp);
    mx.postfix.wait_for_mail(1, LIMIT);
    accepted(&mx.send(&letter));
    assert_eq!(mx.postfix.wait_for_mail(2, LIMIT).iter().filter(|mail| result(mail) == "paid").count(), 2);
    assert_eq!(mx.escrow(), PRICE_MICROS);
    let ids: Vec<_> = mx.postfix.mail().iter().map(|mail| mail.header("Postage-Wanted")).collect();
    assert_eq!(ids[0], ids[1], "both copies carry the same token");
}

#[test]
fn a_restart_between_two_letters_of_one_session_is_a_451_at_the_worst() {
    let mut mx = Mx::with(&Site::default(), |config| config.main("milter_default_action = tempfail"));
    let stamps = mx.world.buy(2);
    let mut smtp = mx.alice();
    accepted(&smtp.send_mail(ALICE, &[BOB], stamped(&stamps[0], &letter("first")).as_bytes()));
    assert!(mx.world.end_daemon("TERM").success());
    mx.world.start_daemon();
    let second = stamped(&stamps[1], &letter("second"));
    let answer = smtp.send_mail(ALICE, &[BOB], second.as_bytes());
    assert_eq!(answer.code, 451, "Postfix keeps to the connection that is gone: {answer}");
    accepted(&mx.send(&second));
    assert_eq!(result(&mx.delivered(2, "second")), "paid");
    assert_eq!(mx.escrow(), 2 * PRICE_MICROS);
}

#[test]
fn a_stop_answers_the_letter_in_hand_first() {
    let mut mx = Mx::start(&Site::default());
    let stamp = mx.world.buy(1).remove(0);
    let letter = stamped(&stamp, &letter("in-hand"));
    let lock = mx.world.lock_ledger();
    let mut smtp = mx.alice();
    let sending = std::thread::spawn(move || smtp.send_mail(ALICE, &[BOB], letter.as_bytes()));
    mx.postfix.wait_for_log("message-id=<in-hand@a.example>", LIMIT);
    mx.world.signal("TERM");
    mx.world.wait_for_log("stopping");
    drop(lock);
    accepted(&sending.join().unwrap());
    assert!(mx.world.wait_for_end().success());
    assert_eq!(mx.escrow(), PRICE_MICROS);
}

#[test]
fn no_way_to_write_the_recipient_goes_round_the_gate() {
    let mx = Mx::with(&Site::default(), |config| {
        config
            .main("myorigin = b.example")
            .main("local_transport = virtual")
            .main("resolve_numeric_domain = yes")
            .main("strict_rfc821_envelopes = no")
            .main("mydestination = localhost")
    });
    let ways = [
        ("\"bob\"@b.example", BOB),
        ("BOB@B.EXAMPLE", BOB),
        ("b\\ob@b.example", "b?ob@b.example"),
        ("bob+lunch@b.example", "bob+lunch@b.example"),
        ("\"bob x\"@b.example", "\"bob x\"@b.example"),
        ("bob@b.example.", BOB),
        ("@a.example:bob@b.example", BOB),
        ("bob", BOB),
        ("bob@[127.0.0.1]", BOB),
        ("bob@localhost", BOB),
    ];
    let stamps = mx.world.buy(ways.len());
    let mut smtp = mx.local();
    for (number, ((written, address), stamp)) in ways.iter().zip(&stamps).enumerate() {
        let subject = format!("way{number}");
        let answer = smtp.send_mail(ALICE, &[written], letter(&subject).as_bytes());
        assert!(
            answer.to_string().starts_with(&format!("550 5.7.1 <{address}>: postage of 0.25c")),
            "{written}: {answer}"
        );
        let paid = field(&stamp.to(address, ALICE), &letter(&subject));
        accepted(&smtp.send_mail(ALICE, &[written], paid.as_bytes()));
        assert_eq!(result(&mx.delivered(number + 1, &subject)), "paid", "{written}");
    }
    let bobs = field(&mx.world.buy(1)[0].to(BOB, ALICE), &letter("detail"));
    let answer = smtp.send_mail(ALICE, &["bob+lunch@b.example"], bobs.as_bytes());
    assert!(answer.text().contains("postage refused: wrong-recipient;"), "the detail counts: {answer}");
}

#[test]
fn a_stamp_on_any_kind_of_letter_survives_the_way_through_two_servers() {
    let mx = Mx::start(&Site::default());
    // Alice's own server, which knows nothing of postage and hands everything on.
    let smart_host = format!("default_transport = smtp:[127.0.0.1]:{}", mx.postfix.smtp_addr.port());
    let sending = PostfixConfig { domains: vec![], ..PostfixConfig::default() };
    let sending = Postfix::start(sending.main(smart_host).main("myhostname = mx.a.example"));
    let letters = letters_of_every_kind();
    let stamps = mx.world.buy(letters.len());
    let mut smtp = sending.smtp();
    smtp.expect("EHLO laptop.a.example", 250);
    let mut paid = 0;
    for ((name, letter), stamp) in letters.iter().zip(&stamps) {
        let split = split_message(letter);
        let from: Vec<&[u8]> = split.values("From").collect();
        let Some(author) = author(&from) else {
            let letter = [field(&stamp.to(BOB, ALICE), "").as_bytes(), letter].concat();
            let answer = mx.alice().send_mail(ALICE, &[BOB], &letter);
            assert!(answer.text().contains("postage refused: wrong-sender;"), "{name}: {answer}");
            continue;
        };
        let letter = [field(&stamp.to(BOB, &author.to_string()), "").as_bytes(), letter].concat();
        accepted(&smtp.send_mail(ALICE, &[BOB], &letter));
        paid += 1;
        let limit = LIMIT;
        mx.postfix
            .wait_until(&format!("{name} ({})", sending.log()), limit, || mx.postfix.mail().len() >= paid);
        let id = format!("id={}", stamp.id());
        let mail = mx.postfix.mail();
        let mail = mail.iter().find(|mail| mail.header("Postage-Status")[0].ends_with(&id));
        let mail = mail.unwrap_or_else(|| panic!("{name} was not paid by its stamp:\n{}", mx.world.log()));
        assert_eq!(result(mail), "paid", "{name}");
        for gone in ["Postage-Stamp:", "rcpt=bob@b.example; value=100000"] {
            assert!(!mail.headers().iter().any(|header| header.contains(gone)), "{name}: {}", mail.text());
        }
    }
    assert_eq!(mx.escrow(), paid as i64 * PRICE_MICROS);
}

/// Letters of some shapes, and those of the examples.
fn letters_of_every_kind() -> Vec<(String, Vec<u8>)> {
    let shapes = [
        ("plain", letter("plain")),
        ("quoted author", letter("quoted").replace(&format!("Alice <{ALICE}>"), "\"b a\"@a.example (she)")),
        ("author in UTF-8", letter("utf8").replace(ALICE, "zo\u{eb}@b\u{fc}cher.example")),
        ("folded author", letter("folded").replace("From: Alice <", "from :\n =?utf-8?q?Al?=\n\t<")),
        ("two authors", letter("two").replace("To: ", "From: eve@a.example\nTo: ")),
        (
            "a group",
            letter("group").replace(&format!("Alice <{ALICE}>"), "us: ann@a.example, ben@a.example;"),
        ),
        ("no body", letter("bodyless").replace("\nHello\n", "")),
        ("long lines", letter("long") + &"word ".repeat(2_000)),
    ];
    let mut letters: Vec<(String, Vec<u8>)> =
        shapes.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/letters");
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            letters.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    letters
}
