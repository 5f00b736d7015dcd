//! Recipients of one message that differ, with a real Postfix on both sides: what is deferred arrives by itself, each copy
//! with its own verdict, and nobody can ask in this way whom somebody knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "../milter/tests/support/postfix.rs"]
mod postfix;
#[path = "../milter/tests/support/smtp.rs"]
mod smtp;
mod support;

use std::time::Duration;

use postfix::{Delivered, Postfix, PostfixConfig};
use support::{ALICE, ALICE_IP, BOB, CAROL, MALLORY_IP, Site, World};

/// How long Postfix may take for anything on loopback, a retry of its queue included.
const LIMIT: Duration = Duration::from_secs(60);
const PRICE_MICROS: i64 = 2_500;

/// Alice's mail server, which knows nothing of postage, and Bob's and Carol's, which asks for it.
struct Mail {
    alices: Postfix, // both stop before the daemon does
    bobs: Postfix,
    world: World,
}

impl Mail {
    /// `mixed` is what the configuration says; Bob knows Alice, Carol does not, and this machine may send for a.example.
    fn start(mixed: &str) -> Self {
        let world = World::start(&Site::gate(&format!("mixed = \"{mixed}\"")));
        world.zone.txt("home.example", "v=spf1 ip4:127.0.0.0/8 -all");
        assert!(world.farthing(&["known", "add", "alice@home.example", "--for", BOB]).status.success());
        let milter = format!("unix:{}", world.path("milter.sock").display());
        let bobs = Postfix::start(PostfixConfig::with_milter(milter));
        let sending = PostfixConfig { domains: vec![], ..PostfixConfig::default() };
        let alices = Postfix::start(
            sending
                .main(format!("default_transport = smtp:[127.0.0.1]:{}", bobs.smtp_addr.port()))
                .main("myhostname = mx.home.example")
                .main("minimal_backoff_time = 1s")
                .main("maximal_backoff_time = 2s")
                .main("queue_run_delay = 1s"),
        );
        Self { alices, bobs, world }
    }

    /// Alice hands in a letter to Bob and Carol, stamped for whom she has a stamp.
    fn send(&self, recipients: &[&str], subject: &str, stamped_for: &[&str]) {
        let stamps = self.world.buy(stamped_for.len());
        let fields: String = stamps
            .iter()
            .zip(stamped_for)
            .map(|(stamp, recipient)| {
                format!("Postage-Stamp: {}\n", stamp.to(recipient, "alice@home.example"))
            })
            .collect();
        let letter = format!(
            "{fields}From: alice@home.example\nTo: {}\nSubject: {subject}\nDate: Mon, 02 Nov 2026 09:00:00 +0000\n\
             Message-ID: <{subject}@home.example>\n\nHello\n",
            recipients.join(", ")
        );
        let mut smtp = self.alices.smtp();
        smtp.expect("EHLO laptop.home.example", 250);
        let answer = smtp.send_mail("alice@home.example", recipients, letter.as_bytes());
        assert_eq!(answer.code, 250, "{answer}");
    }

    fn delivered(&self, count: usize) -> Vec<Delivered> {
        // It is hers to bring them: if they do not come, her log says why.
        self.alices
            .wait_until(&format!("{count} letters at Bob's"), LIMIT, || self.bobs.mail().len() >= count);
        self.bobs.mail()
    }
}

/// The result for a recipient among what was delivered.
fn result_for(mail: &[Delivered], recipient: &str) -> String {
    let mine: Vec<_> = mail.iter().filter(|mail| mail.recipient == recipient).collect();
    let [mine] = mine[..] else { panic!("one copy for {recipient}, not {}", mine.len()) };
    let status = mine.header("Postage-Status").remove(0);
    status.split("; result=").nth(1).unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn those_who_differ_are_brought_separately_and_each_gets_his_own_verdict() {
    let mail = Mail::start("split");
    mail.send(&[BOB, CAROL], "both", &[CAROL]);
    let deferred = mail.alices.wait_for_log("status=deferred", LIMIT);
    assert!(deferred.contains(&format!("to=<{CAROL}>")), "{deferred}");
    assert!(deferred.contains("452 4.5.3 please send this recipient's copy separately"), "{deferred}");
    let copies = mail.delivered(2);
    assert_eq!((result_for(&copies, BOB).as_str(), result_for(&copies, CAROL).as_str()), ("known", "paid"));
    for copy in &copies {
        let status = &copy.header("Postage-Status")[0];
        assert!(
            status.contains(&format!("rcpt={}", copy.recipient)),
            "each copy has one recipient: {status}"
        );
    }
    assert_eq!(mail.world.balance("escrow:b.example"), PRICE_MICROS, "one of them pays");

    // Carol is asked alone, and Bob's copy is not held up by her: Alice's server hears of it for Carol only.
    mail.send(&[BOB, CAROL], "unpaid", &[]);
    let bounced = mail.alices.wait_for_log("status=bounced", LIMIT);
    assert!(bounced.contains(&format!("to=<{CAROL}>")) && bounced.contains("postage of 0.25c"), "{bounced}");
    let bobs = mail.delivered(3);
    let copy = bobs.iter().find(|copy| copy.header("Subject") == ["unpaid"]).unwrap();
    assert_eq!(copy.recipient, BOB);
    mail.alices.wait_until("an empty queue", LIMIT, || mail.alices.queue("deferred").is_empty());
    assert!(!mail.alices.log().contains(&format!("to=<{BOB}>, relay=none")), "{}", mail.alices.log());
    mail.world.books_balance();
}

#[test]
fn where_the_strictest_decides_one_answer_is_for_all() {
    let mail = Mail::start("strictest");
    mail.send(&[BOB, CAROL], "unpaid", &[]);
    for recipient in [BOB, CAROL] {
        let line = mail.alices.wait_for_log(&format!("to=<{recipient}>"), LIMIT);
        assert!(
            line.contains("status=bounced") && line.contains(&format!("550 5.7.1 <{CAROL}>: postage of")),
            "{line}"
        );
    }
    mail.send(&[BOB, CAROL], "paid", &[CAROL]);
    let copies = mail.delivered(2);
    assert!(copies.iter().all(|copy| copy.header("Subject") == ["paid"]), "{copies:#?}");
    assert_eq!((result_for(&copies, BOB).as_str(), result_for(&copies, CAROL).as_str()), ("paid", "paid"));
    assert!(!mail.alices.log().contains("status=deferred"), "{}", mail.alices.log());
    assert_eq!(mail.world.balance("escrow:b.example"), PRICE_MICROS);
}

#[test]
fn without_spf_nothing_at_the_recipients_tells_whom_bob_knows() {
    let mail = Mail::start("split");
    assert!(mail.world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    assert!(mail.world.farthing(&["known", "block", "eve@a.example", "--for", BOB]).status.success());
    let ask = |ip: &str, sender: &str| -> Vec<String> {
        let mut smtp = mail.bobs.smtp();
        smtp.expect("EHLO proxy.example", 250);
        smtp.expect(&format!("XCLIENT ADDR={ip} NAME=mx.a.example"), 220);
        smtp.expect("EHLO mx.a.example", 250);
        smtp.expect(&format!("MAIL FROM:<{sender}>"), 250);
        let recipients = [BOB, CAROL, "bob+x@b.example", "dave@b.example", BOB];
        let answers = recipients.map(|recipient| smtp.say(&format!("RCPT TO:<{recipient}>")).to_string());
        smtp.expect("RSET", 250);
        answers.to_vec()
    };
    let stranger = ask(&MALLORY_IP.to_string(), "stranger@m.example");
    assert!(stranger.iter().all(|answer| answer.starts_with("250 ")), "{stranger:?}");
    let (alices, mallorys) = (ALICE_IP.to_string(), MALLORY_IP.to_string());
    for (ip, sender) in [
        (&mallorys, ALICE),
        (&mallorys, "eve@a.example"),
        (&mallorys, "alice@home.example"),
        (&mallorys, ""),
        // SPF has nothing to say of that domain.
        (&mallorys, "alice@unheard-of.example"),
        (&alices, "stranger@a.example"),
    ] {
        assert_eq!(ask(ip, sender), stranger, "{sender} from {ip}");
    }
    // Whoever may send for Alice learns that her letter comes to Bob without postage; he is told so anyway.
    assert_ne!(ask(&alices, ALICE), stranger);
}
