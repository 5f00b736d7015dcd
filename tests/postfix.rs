//! The whole gate behind a real Postfix: letters go in by SMTP or sendmail(1), answers are read from the SMTP
//! dialogue, fields from the delivered mail, money from the books.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "postfix/believed.rs"]
mod believed;
#[path = "postfix/forms.rs"]
mod forms;
#[path = "../milter/tests/support/postfix.rs"]
mod postfix;
#[path = "../milter/tests/support/smtp.rs"]
mod smtp;
mod support;
#[path = "postfix/trouble.rs"]
mod trouble;

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
