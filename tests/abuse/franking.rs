//! Letters made to get something past franking: past its budgets, its smarthost, or the sender himself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use farthing_milter::{
    client::{Change, Letter, Outcome, Said},
    macros::Stage,
};

use crate::{
    proxy::{Manner, Proxy},
    sink::{Sink, Taken},
    support::{ALICE_IP, BOB, Site, World, added, free_address, refusal, wait_until},
};

const CAROL: &str = "carol@c.example";
/// Where mail programs are.
const DESK_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

/// b.example, which asks for stamps, and c.example, which puts them on its users' letters.
struct Sites {
    b: World,
    c: World,
    sink: Sink,
}

impl Sites {
    fn start(lines: &str) -> Self {
        let b = World::start(&Site::default());
        b.publish(&b.zone);
        b.zone.txt("c.example", format!("v=spf1 ip4:{ALICE_IP} -all"));
        let sink = Sink::start();
        let more = format!(
            "[franking]\nwallet = \"franking.wallet\"\n{lines}\n[commands]\nsmtp = \"{}\"\n",
            sink.url()
        );
        let site = Site { more, gate: "exempt_networks = [\"127.0.0.0/8\"]\n".into(), ..Site::default() };
        let c = World::beside(&b.zone, "c.example", &site);
        c.publish(&b.zone);
        let wallet = c.path("franking.wallet");
        let shown = c.json(&["wallet", "show", "--wallet", wallet.to_str().unwrap()]);
        assert!(
            b.farthing(&["account", "credit", shown["account"].as_str().unwrap(), "1.00"]).status.success()
        );
        Self { b, c, sink }
    }

    fn submit(&self, letter: &Letter) -> Outcome {
        let mut letter = letter.clone();
        letter.macros.push((Stage::Mail, "{auth_authen}".into(), CAROL.into()));
        self.c.send_from(DESK_IP, &letter)
    }

    fn books(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.c.path("ledger.db")).unwrap()
    }

    fn count(&self, sql: &str) -> i64 {
        self.books().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Waits until no copy has anything left to be done.
    fn settled(&self) -> Vec<Taken> {
        wait_until("the copies", || {
            self.count("SELECT count(*) FROM franked_to WHERE next_try IS NOT NULL") == 0
        });
        self.sink.taken()
    }
}

fn letter(recipients: &[&str], id: &str) -> Letter {
    Letter::new(CAROL, recipients, "Lunch?")
        .header("Message-ID", format!("<{id}@c.example>"))
        .header("Date", "Mon, 02 Nov 2026 09:00:00 +0000")
        .header("To", recipients[0])
}

#[test]
fn a_body_hides_no_second_letter_from_the_smarthost() {
    let sites = Sites::start("ahead = 2");
    let hidden = "MAIL FROM:<mallory@c.example>\r\nRCPT TO:<victim@e.example>\r\nDATA\r\nFrom: ceo@c.example\r\n\r\nPay.\r\n.\r\n";
    for (number, end) in
        ["\n.\r\n", "\r.\r\n", "\n.\n", "\r\r\n.\r\n", "\r\n.\r", "\r\n.\n"].into_iter().enumerate()
    {
        // The second recipient's is a copy in any case.
        let sly = letter(&[BOB, "eve@b.example"], &number.to_string());
        sites.submit(&sly.body(format!("Hello{end}{hidden}Bye\r\n")));
        let taken = sites.settled();
        assert_eq!(taken.iter().filter(|mail| mail.to == ["eve@b.example"]).count(), number + 1, "{end:?}");
        let strangers: Vec<_> = taken.iter().filter(|mail| mail.from != CAROL).collect();
        assert!(strangers.is_empty(), "{end:?}: {strangers:#?}");
    }
}

/// Sends a letter that cannot be copied: it is put off until its stamp is there, and then bears it.
fn goes_with_its_stamp_on_itself(sites: &Sites, letter: &Letter) {
    let first = sites.submit(letter);
    assert!(first.is_delivered() || refusal(&first).contains("is being bought"), "{first:?}");
    wait_until("a stamp", || sites.count("SELECT count(*) FROM purse") > 0);
    assert_eq!(added(&sites.submit(letter), "Postage-Stamp").len(), 1);
    assert_eq!(sites.count("SELECT count(*) FROM franked_to WHERE apart"), 0);
}

#[test]
fn who_could_not_be_told_that_a_copy_failed_gets_none_made() {
    let sites = Sites::start("ahead = 1");
    for (number, sender) in ["<carol@[127.0.0.1]>", "<carol@localhost>"].into_iter().enumerate() {
        let sender = sender.to_owned();
        let letter = Letter { sender, ..letter(&[BOB], &number.to_string()) };
        goes_with_its_stamp_on_itself(&sites, &letter);
    }
}

#[test]
fn an_address_that_no_copy_can_have_has_its_letter_all_the_same() {
    let sites = Sites::start("ahead = 1");
    // As shops and forges give them out for answers.
    let long = format!("reply+{}@b.example", "a".repeat(70));
    goes_with_its_stamp_on_itself(&sites, &letter(&[&long], "1"));
}

#[test]
fn a_recipient_in_a_form_of_old_spoils_no_other_recipients_letter() {
    let sites = Sites::start("ahead = 9");
    let none = format!("reply+{}@b.example", "a".repeat(70));
    for (number, (given, copied)) in
        [("eve@b.example.", true), ("@d.example:eve@b.example", true), (&none, false)].into_iter().enumerate()
    {
        let outcome = sites.submit(&letter(&[BOB, given, "fay@b.example"], &number.to_string()));
        sites.settled();
        let is_his =
            |change: &Change| matches!(change, Change::DeleteRecipient(off) if off.contains("eve@b.example"));
        let is_off = outcome.changes.iter().any(is_his);
        // Of the first letter nobody is left: no stamp is in hand for it.
        assert!(outcome.said == Said::Discard || is_off == copied, "{given}: {outcome:?}");
        let taken = sites.sink.taken();
        let to = |who: &str| taken.iter().filter(|mail| mail.to == [who]).count();
        assert_eq!(to("fay@b.example"), number + 1, "{given}");
        assert_eq!(to("eve@b.example"), (number + 1).min(2), "{given}");
    }
}

#[test]
fn a_letter_that_its_author_sends_anew_goes_anew() {
    let sites = Sites::start("ahead = 1");
    let first = letter(&[BOB], "1");
    assert_eq!(sites.submit(&first).said, Said::Discard);
    assert_eq!(sites.settled().len(), 1);
    // What the MTA sends again, for it had no answer, goes once.
    assert_eq!(sites.submit(&first).said, Said::Discard);
    assert_eq!(sites.settled().len(), 1);
    // Bob has lost it, and Carol's program bounces it to him.
    let anew = first
        .header("Resent-From", CAROL)
        .header("Resent-To", BOB)
        .header("Resent-Date", "Mon, 02 Nov 2026 10:00:00 +0000")
        .header("Resent-Message-ID", "<2@c.example>");
    // By then a stamp may be in hand for the letter itself.
    let outcome = sites.submit(&anew);
    if !outcome.is_delivered() {
        assert_eq!(outcome.said, Said::Discard, "{outcome:?}");
        wait_until("his second", || sites.sink.taken().len() == 2);
    }
    sites.c.books_balance();
    sites.b.books_balance();
}

#[test]
fn an_order_that_was_done_is_not_given_up_because_a_web_server_turns_its_answer_away() {
    let sites = Sites::start("ahead = 2");
    // Before b.example's office stands a web server that says no to whoever has called.
    let front = Proxy::start(sites.b.office);
    front.be(Manner::TurnedAway);
    sites
        .b
        .zone
        .remove("_postage.b.example")
        .txt("_postage.b.example", format!("v=postage1; c=USD; n=2500; i=b.example; u={}", front.url()));
    sites.submit(&letter(&[BOB], "1"));
    sites.c.wait_for_log("no stamps could be bought");
    assert_eq!(sites.count("SELECT count(*) FROM purse_orders"), 1, "it is paid for, and asked for again");
    assert!(sites.b.balance("stamps") > 0);
}

#[test]
fn what_was_written_to_at_one_price_is_not_bought_for_at_another() {
    let mut sites = Sites::start("ahead = 5");
    let zone = &sites.b.zone;
    let asks = |price: u32, office: SocketAddr| {
        let record = format!("v=postage1; c=USD; n={price}; i=b.example; u=http://{office}/");
        zone.remove("_postage.b.example").txt("_postage.b.example", record);
    };
    // Nearly nothing, while its office cannot be reached; the most that is paid here, once it can.
    asks(1, free_address());
    assert_eq!(sites.submit(&letter(&[BOB], "1")).said, Said::Discard);
    sites.c.wait_for_log("no stamps could be bought");
    sites.c.end_daemon("TERM");
    // As if it had been refused.
    sites.books().execute("DELETE FROM purse_orders", []).unwrap();
    asks(10_000, sites.b.office);
    sites.c.start_daemon();
    sites.c.wait_for_log("when it was written to");
    assert_eq!(sites.b.balance("stamps"), 0);
    // What it asks now counts once somebody writes to it.
    assert!(sites.submit(&letter(&["eve@b.example"], "2")).is_delivered());
    assert_eq!(sites.count("SELECT price FROM purse_wanted"), 10_000);
}
