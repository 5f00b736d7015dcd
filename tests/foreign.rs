//! Other post offices: their stamps at the gate, up to what they may owe; refunds that travel back to them and reach the
//! buyer; and what comes of offices and domains that are dead, lie, or report twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use farthing::{
    address::Domain,
    clock::unix_now,
    demo::dns::{Manner, ZoneServer},
    money::Micros,
    office::wire::{Bytes, OrderAnswer, OrderBody, SettlementBody, Wish},
    stamp::{CancelledStamp, PublicKey, SecretKey, Terms, records},
    wallet::{ClientError, OfficeClient},
};
use farthing_milter::{
    client::{Letter, Said},
    macros::Stage,
};
use serde_json::{Value, json};
use support::{ALICE, BOB, Bought, Site, World, added, random, refusal, result, text, wait_until};

const POST: &str = "post.example";
const EVIL: &str = "evil.example";
const DORA: &str = "dora@d.example";

/// b.example, which takes the stamps of these offices, up to what they may owe.
fn gate(offices: &[&str], cap: &str) -> Site {
    Site::gate(&format!("accept_offices = {offices:?}\noffice_cap = \"{cap}\""))
}

/// The office of post.example, with its daemon and a customer who has some money there. It shares the name server.
fn seller(zone: &ZoneServer) -> World {
    let post = World::beside(zone, POST, &Site::default());
    post.publish(zone);
    assert!(post.farthing(&["wallet", "new"]).status.success());
    assert!(post.farthing(&["account", "credit", &account(&post), "1.00"]).status.success());
    post
}

fn account(site: &World) -> String {
    site.json(&["wallet", "show"])["account"].as_str().unwrap().to_owned()
}

/// What Alice has on her account at this office.
fn money(site: &World) -> i64 {
    site.balance(&format!("account:{}", account(site)))
}

/// Alice buys stamps for a domain, at an office on loopback.
fn buy(site: &World, audience: &str, count: usize) {
    let url = format!("http://{}/", site.office);
    let bought = site.farthing(&[
        "buy",
        audience,
        "--value",
        "0.25c",
        "--count",
        &count.to_string(),
        "--office",
        &url,
    ]);
    assert!(bought.status.success(), "{}", text(&bought.stderr));
}

/// A field with one of her stamps, on a letter to this recipient.
fn field(site: &World, to: &str) -> String {
    let letter = format!("From: {ALICE}\nTo: {to}\nSubject: Lunch?\n\nHello\n");
    let stamped = site.farthing_with(&["stamp", "--to", to], letter.as_bytes());
    assert!(stamped.status.success(), "{}", text(&stamped.stderr));
    let letter = text(&stamped.stdout);
    let rest = letter.split("Postage-Stamp: ").nth(1).unwrap();
    rest.split("\nFrom:").next().unwrap().lines().take_while(|line| !line.contains(": ")).collect()
}

fn letter(subject: &str, field: &str) -> Letter {
    support::letter(subject).header("Postage-Stamp", field)
}

fn want(site: &World, field: &str) {
    let id = CancelledStamp::parse(field.as_bytes()).unwrap().stamp.terms.id;
    let id = data_encoding::BASE64URL_NOPAD.encode(&id);
    let marked = site.farthing(&["wanted", &id]);
    assert!(marked.status.success(), "{}", text(&marked.stderr));
}

/// How b.example stands with an office.
fn standing(site: &World, office: &str) -> Value {
    let all = site.json(&["office", "list"]);
    all.as_array().unwrap().iter().find(|one| one["office"] == office).unwrap().clone()
}

#[test]
fn a_stamp_of_another_office_pays_and_its_refund_reaches_the_buyer() {
    let site = World::start(&gate(&["b.example", POST], "1.00"));
    site.publish(&site.zone);
    let post = seller(&site.zone);
    buy(&post, "b.example", 2);
    let before = money(&post);
    let fields = [field(&post, BOB), field(&post, BOB)];

    let outcome = site.send(&letter("one", &fields[0]));
    assert_eq!(result(&outcome), "paid");
    assert!(added(&outcome, "Postage-Status")[0].contains("; issuer=post.example; id="), "{outcome:?}");
    assert_eq!(result(&site.send(&letter("two", &fields[1]))), "paid");
    assert_eq!(site.balance("office:post.example"), -5_000);
    assert_eq!(post.balance("stamps"), 5_000, "the office knows nothing of it");

    want(&site, &fields[0]);
    assert_eq!(site.balance("office:post.example"), -2_500);
    wait_until("the refund at the office", || money(&post) == before + 2_500);
    wait_until("the office's answer", || standing(&site, POST)["waiting"] == 0);
    let shown = post.json(&["account", "show", &account(&post)]);
    let newest = &shown["entries"][0];
    assert_eq!((&newest["kind"], &newest["memo"]), (&json!("settlement"), &json!("b.example")));
    // It is known to Bob from now on: the next letter is free, and nothing is reported twice.
    want(&site, &fields[0]);
    assert_eq!(standing(&site, POST)["waiting"], 0);
    for one in [&site, &post] {
        one.books_balance();
    }
    let status = site.farthing(&["--json", "status"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let offices = status["checks"].as_array().unwrap().iter().find(|c| c["name"] == "other offices").unwrap();
    assert_eq!(offices["ok"], true, "{offices}");
}

#[test]
fn a_dead_office_is_told_when_it_is_back() {
    let site = World::start(&gate(&[POST], "1.00"));
    site.publish(&site.zone);
    let mut post = seller(&site.zone);
    buy(&post, "b.example", 1);
    let before = money(&post);
    let field = field(&post, BOB);
    post.end_daemon("TERM");

    // Its keys are in DNS: the gate needs nothing of it.
    assert_eq!(result(&site.send(&letter("one", &field))), "paid");
    want(&site, &field);
    assert_eq!(site.balance("office:post.example"), 0, "the reader's wish does not wait for anybody");
    wait_until("a try in vain", || standing(&site, POST)["trouble"].is_string());
    assert_eq!(standing(&site, POST)["waiting"], 1);
    site.wait_for_log("an office took no refunds");

    post.start_daemon();
    // The pause is shortened by hand, or the test would last a minute.
    let books = rusqlite::Connection::open(site.path("ledger.db")).unwrap();
    books.busy_timeout(support::PATIENCE).unwrap();
    books.execute("UPDATE reporting SET due = 0", []).unwrap();
    wait_until("the refund at the office", || money(&post) == before + 2_500);
    wait_until("the office's answer", || standing(&site, POST)["waiting"] == 0);
    assert!(standing(&site, POST)["trouble"].is_null());
    site.books_balance();
    post.books_balance();
}

#[test]
fn an_office_whose_stamps_are_worth_nothing_costs_its_cap() {
    let site = World::start(&gate(&["b.example", EVIL], "0.75c"));
    let answers = Arc::new(Mutex::new(vec![]));
    let evil = Stranger::start(&site.zone, EVIL, {
        let answers = answers.clone();
        move |body| {
            let said: Value = serde_json::from_slice(body).unwrap();
            answers.lock().unwrap().push(said);
            // It credits nobody, and somebody else.
            (200, json!({"credited": ["AAAAAAAAAAAAAAAAAAAAAA"], "more": [[[]]]}).to_string())
        }
    });
    let stamps: Vec<Bought> = (0..5).map(|_| evil.mint("b.example")).collect();
    let fields: Vec<String> = stamps.iter().map(|stamp| stamp.to(BOB, ALICE)).collect();
    for (n, field) in fields.iter().take(3).enumerate() {
        assert_eq!(result(&site.send(&letter(&format!("{n}"), field))), "paid");
    }
    let refused = refusal(&site.send(&letter("3", &fields[3])));
    assert!(refused.contains("postage refused: unknown-issuer; postage of 0.25c required"), "{refused}");
    assert_eq!(site.balance("office:evil.example"), -7_500);
    site.wait_for_log("an office owes nearly as much");
    let status = site.farthing(&["status"]);
    assert!(text(&status.stdout).contains("farthing office forgive evil.example"), "{status:?}");

    // A retry of what was paid is let in, and stamps of ours are taken as ever.
    assert_eq!(result(&site.send(&letter("0", &fields[0]))), "paid");
    let own = site.buy(1);
    assert_eq!(result(&site.send(&letter("own", &own[0].to(BOB, ALICE)))), "paid");

    // Mail that is wanted makes room; what the office then says of it changes nothing here.
    want(&site, &fields[0]);
    wait_until("a report", || standing(&site, EVIL)["waiting"] == 0);
    assert_eq!(answers.lock().unwrap()[0]["audience"], "b.example");
    site.wait_for_log("an office did not credit all refunds");
    assert_eq!(site.balance("office:evil.example"), -5_000);

    // An admin may give up what is owed once it was kept; before, there is nothing to give up.
    let forgiven = site.farthing(&["office", "forgive", EVIL, "1.00"]);
    assert_eq!(forgiven.status.code(), Some(1), "{}", text(&forgiven.stderr));
    site.books_balance();
}

#[test]
fn an_office_that_answers_nonsense_is_told_again_and_harms_nobody() {
    let turn = Arc::new(Mutex::new(0));
    let site = World::start(&gate(&[EVIL], "1.00"));
    let evil = Stranger::start(&site.zone, EVIL, {
        let turn = turn.clone();
        move |_| {
            let mut turn = turn.lock().unwrap();
            *turn += 1;
            match *turn {
                1 => (200, "[".repeat(100_000)),
                2 => (200, format!("\"{}\"", "x".repeat(3_000_000))),
                3 => (302, String::new()),
                4 => (500, json!({"detail": "\u{1b}[2Joops\r\n"}).to_string()),
                5 => (200, json!({"credited": [7]}).to_string()),
                6 => (401, String::new()),
                _ => (200, json!({"credited": []}).to_string()),
            }
        }
    });
    let field = evil.mint("b.example").to(BOB, ALICE);
    assert_eq!(result(&site.send(&letter("one", &field))), "paid");
    want(&site, &field);
    let books = rusqlite::Connection::open(site.path("ledger.db")).unwrap();
    books.busy_timeout(support::PATIENCE).unwrap();
    let tries = || -> i64 {
        books.query_row("SELECT coalesce(max(tries), 0) FROM reporting", [], |row| row.get(0)).unwrap()
    };
    for n in 1..=6 {
        wait_until("a try in vain", || tries() == n);
        books.execute("UPDATE reporting SET due = 0", []).unwrap();
    }
    wait_until("the end of it", || standing(&site, EVIL)["waiting"] == 0);
    assert!(!site.log().contains('\u{1b}'), "what another says is shown escaped");
    site.books_balance();
}

/// A listener, and a site that has one of EVIL's stamps to report; by DNS EVIL is reached there.
fn report_to_a_listener(answer: &'static str) -> (World, Stranger, mpsc::Receiver<String>) {
    let site = World::start(&gate(&[EVIL], "1.00"));
    let evil = Stranger::start(&site.zone, EVIL, |_| (200, String::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let policy = format!("_postage.{EVIL}");
    site.zone.remove(&policy).txt(&policy, format!("v=postage1; c=USD; n=1; i={EVIL}; u={url}"));
    let field = evil.mint("b.example").to(BOB, ALICE);
    assert_eq!(result(&site.send(&letter("one", &field))), "paid");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // Connections stay open for as long as the test runs.
        let mut open = vec![];
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let _ = stream.write_all(answer.as_bytes());
            if !answer.is_empty() {
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
            open.push(stream);
            if tell.send(line.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    want(&site, &field);
    (site, evil, told)
}

#[test]
fn what_a_strangers_record_leads_to_on_this_machine_is_asked_only_who_it_is() {
    let (site, _evil, told) = report_to_a_listener(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    );
    wait_until("a try in vain", || standing(&site, EVIL)["trouble"].is_string());
    assert_eq!(standing(&site, EVIL)["waiting"], 1);
    let asked: Vec<String> = told.try_iter().collect();
    assert_eq!(asked, ["GET /.well-known/postage HTTP/1.1"], "and sent nothing");
}

#[test]
fn an_office_that_does_not_answer_holds_up_no_stop() {
    let (mut site, _evil, told) = report_to_a_listener("");
    told.recv_timeout(support::PATIENCE).unwrap();
    let begun = Instant::now();
    assert!(site.end_daemon("TERM").success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn an_office_that_sells_what_is_of_no_use_is_paid_once_for_a_domain() {
    let more = "[franking]\nwallet = \"franking.wallet\"".to_owned();
    let site = World::start(&Site { more, ..Site::default() });
    let (tell, orders) = mpsc::channel();
    let key: Arc<Mutex<Option<SecretKey>>> = Arc::default();
    let evil = Stranger::start(&site.zone, EVIL, {
        let key = key.clone();
        move |order| {
            let order: OrderBody = serde_json::from_slice(order).unwrap();
            let expiry = unix_now() + 60;
            let sign = |wish: &Wish| {
                let terms = Terms {
                    office: EVIL.parse().unwrap(),
                    selector: "s1".parse().unwrap(),
                    id: wish.id.0,
                    value: Micros::new(order.value.as_u64().unwrap()).unwrap(),
                    currency: "USD".parse().unwrap(),
                    audience: order.audience.clone(),
                    expiry,
                    holder: wish.k.0,
                };
                Bytes(key.lock().unwrap().as_ref().unwrap().sell(terms).unwrap().signature)
            };
            let b = order.stamps.iter().map(sign).collect();
            let _ = tell.send(());
            (200, serde_json::to_string(&OrderAnswer { s: "s1".into(), x: expiry, b }).unwrap())
        }
    });
    *key.lock().unwrap() = Some(evil.key.clone());
    let send = |id: &str| {
        let to = format!("eve@{EVIL}");
        let mut letter =
            Letter::new(BOB, &[&to], "Lunch?").header("To", &to).header("Message-ID", format!("<{id}>"));
        letter.macros.push((Stage::Mail, "{auth_authen}".into(), BOB.into()));
        site.send(&letter)
    };
    assert_eq!(send("1@b.example").said, Said::Discard, "a copy waits");
    orders.recv_timeout(support::PATIENCE).unwrap();
    site.wait_for_log("expire too soon to be used");
    let second = send("2@b.example");
    assert!(
        second.is_delivered(),
        "where nothing of use can be bought no letter waits: {}",
        refusal(&second)
    );
    assert!(orders.try_recv().is_err(), "nothing was ordered again");
    site.books_balance();
}

/// A domain that reports refunds to b.example's office.
struct Reporter {
    key: SecretKey,
    selector: &'static str,
    audience: Domain,
    client: OfficeClient,
}

impl Reporter {
    /// Of d.example, whose key stands in DNS.
    fn new(office: &World) -> Self {
        let key = SecretKey::from_seed(&random());
        office.zone.txt("s1._postage.d.example", records::write_key(&key.public()));
        let client = OfficeClient::new(&format!("http://{}/", office.office)).unwrap();
        Self { key, selector: "s1", audience: "d.example".parse().unwrap(), client }
    }

    /// How many stamps the office credits, or its status and words.
    fn report(&self, stamps: &[&str]) -> Result<usize, (u16, String)> {
        let body = SettlementBody {
            audience: self.audience.clone(),
            s: self.selector.into(),
            stamps: stamps.iter().map(|field| (*field).to_owned()).collect(),
        };
        match self.client.settle(&"b.example".parse().unwrap(), &self.key, &body) {
            Ok(answer) => Ok(answer.credited.len()),
            Err(ClientError::Refused { status, detail, .. }) => Err((status, detail)),
            Err(other) => panic!("{other}"),
        }
    }
}

/// b.example's office with a customer who has bought stamps for d.example and used them.
fn office_with_stamps(count: usize) -> (World, Vec<String>) {
    let office = World::start(&Site::default());
    assert!(office.farthing(&["wallet", "new"]).status.success());
    assert!(office.farthing(&["account", "credit", &account(&office), "1.00"]).status.success());
    buy(&office, "d.example", count);
    let fields = (0..count).map(|_| field(&office, DORA)).collect();
    (office, fields)
}

#[test]
fn a_domain_that_reports_twice_is_credited_once() {
    let (office, fields) = office_with_stamps(4);
    let domain = Reporter::new(&office);
    let before = money(&office);
    assert_eq!(domain.report(&[&fields[0]]), Ok(1));
    assert_eq!(domain.report(&[&fields[0], &fields[0], &fields[1]]), Ok(2), "each id once");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(domain.report(&[&fields[0], &fields[1], &fields[2]]), Ok(3)));
        }
    });
    assert_eq!(money(&office), before + 7_500);
    assert_eq!(office.balance("stamps"), 2_500);
    office.books_balance();
}

#[test]
fn only_the_domains_own_key_reports() {
    let (office, fields) = office_with_stamps(1);
    let before = money(&office);
    let mut domain = Reporter::new(&office);
    let stamps = [fields[0].as_str()];
    let refused = |domain: &Reporter, status: u16, words: &str| {
        let (said, detail) = domain.report(&stamps).unwrap_err();
        assert!(said == status && detail.contains(words), "{said} {detail}");
    };
    let right = std::mem::replace(&mut domain.key, SecretKey::from_seed(&random()));
    refused(&domain, 401, "s1._postage.d.example in DNS is not the one that signed");
    domain.key = right;
    domain.selector = "s2";
    refused(&domain, 401, "s2._postage.d.example in DNS holds no key");
    office.zone.txt("s2._postage.d.example", "v=postage1; k=ed25519; p=");
    domain.selector = "S 2";
    refused(&domain, 400, "is no selector");
    domain.selector = "s3";
    office.zone.txt("s3._postage.d.example", "v=postage1; k=ed25519; p=");
    refused(&domain, 401, "holds no key");
    domain.selector = "s4";
    office.zone.manner("s4._postage.d.example", Manner::ServFail);
    refused(&domain, 503, "cannot be looked up");
    // Our own domain's stamps are redeemed in our own books, whoever asks.
    domain.selector = "s1";
    domain.audience = "b.example".parse().unwrap();
    refused(&domain, 403, "redeemed in this office's own books");
    // Another domain, with a good key of its own, has nothing to say about stamps for d.example.
    domain.audience = "e.example".parse().unwrap();
    office.zone.txt("s1._postage.e.example", records::write_key(&domain.key.public()));
    assert_eq!(domain.report(&stamps), Ok(0));
    assert_eq!(money(&office), before);
    office.books_balance();
}

#[test]
fn stamps_that_were_not_sold_or_not_cancelled_are_passed_over() {
    let (office, fields) = office_with_stamps(2);
    let before = money(&office);
    let domain = Reporter::new(&office);
    let good = CancelledStamp::parse(fields[0].as_bytes()).unwrap();
    let changed = |change: &dyn Fn(&mut CancelledStamp)| {
        let mut stamp = good.clone();
        change(&mut stamp);
        stamp.to_field_value().replace("\r\n", "")
    };
    let forged = [
        "v=1".to_owned(),
        String::new(),
        changed(&|stamp| stamp.cancellation.time += 1),
        changed(&|stamp| stamp.cancellation.recipient = [0; 16]),
        changed(&|stamp| stamp.cancellation.signature[0] ^= 1),
        changed(&|stamp| stamp.stamp.terms.value = "10c".parse().unwrap()),
        changed(&|stamp| stamp.stamp.signature[0] ^= 1),
        changed(&|stamp| stamp.stamp.terms.id = random()),
        changed(&|stamp| stamp.stamp.terms.audience = "e.example".parse().unwrap()),
        changed(&|stamp| stamp.stamp.terms.office = POST.parse().unwrap()),
        // The holder may be anybody's own, the stamp is not.
        minted(&SecretKey::from_seed(&random()), "b.example", "d.example").to(DORA, ALICE),
        minted(&SecretKey::from_seed(&random()), "b.example", "d.example").at(
            DORA,
            ALICE,
            unix_now() + 90_000,
        ),
    ];
    let all: Vec<&str> = forged.iter().map(String::as_str).collect();
    assert_eq!(domain.report(&all), Ok(0));
    assert_eq!(money(&office), before);
    let mixed: Vec<&str> = all.iter().copied().chain([fields[1].as_str()]).collect();
    assert_eq!(domain.report(&mixed), Ok(1), "the good one among them counts");
    assert_eq!(domain.report(&[]).unwrap_err().0, 400);
    assert_eq!(domain.report(&vec!["v=1"; 1_001]).unwrap_err().0, 400);
    assert_eq!(money(&office), before + 2_500);
    office.books_balance();
}

/// A stamp of an office with this key, for whoever holds it.
fn minted(key: &SecretKey, office: &str, audience: &str) -> Bought {
    let holder = SecretKey::from_seed(&random());
    let terms = Terms {
        office: office.parse().unwrap(),
        selector: "s1".parse().unwrap(),
        id: random(),
        value: "0.25c".parse().unwrap(),
        currency: "USD".parse().unwrap(),
        audience: audience.parse().unwrap(),
        expiry: (unix_now() / 86_400 + 91) * 86_400 - 1,
        holder: holder.public().to_bytes(),
    };
    Bought { stamp: key.sell(terms).unwrap(), holder }
}

/// An office made by hand: a key in DNS, and a server that answers reports as it likes.
struct Stranger {
    key: SecretKey,
    name: &'static str,
    stop: Arc<Mutex<bool>>,
    address: SocketAddr,
}

impl Stranger {
    fn start(
        zone: &ZoneServer,
        name: &'static str,
        answer: impl Fn(&[u8]) -> (u16, String) + Send + 'static,
    ) -> Self {
        let key = SecretKey::from_seed(&random());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let public: PublicKey = key.public();
        zone.txt(&format!("s1._postage.{name}"), records::write_key(&public));
        zone.txt(
            &format!("_postage.{name}"),
            format!("v=postage1; c=USD; n=1; i={name}; u=http://{address}/"),
        );
        let description = json!({
            "office": name, "selector": "s1", "public": public.to_string(), "currency": "USD", "min": 1, "max": 100_000,
            "lifetime_days": 90,
        });
        let description = description.to_string();
        let stop = Arc::new(Mutex::new(false));
        let stopped = stop.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if *stopped.lock().unwrap() {
                    return;
                }
                // Whoever breaks off is of no interest.
                let _ = stream.and_then(|stream| serve(stream, &description, &answer));
            }
        });
        Self { key, name, stop, address }
    }

    fn mint(&self, audience: &str) -> Bought {
        minted(&self.key, self.name, audience)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: TcpStream,
    description: &str,
    answer: &impl Fn(&[u8]) -> (u16, String),
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(&stream);
    let (mut line, mut octets) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let is_description = line.starts_with("GET /.well-known/postage ");
    line.clear();
    while reader.read_line(&mut line)? > 2 {
        if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            octets = length.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; octets];
    reader.read_exact(&mut body)?;
    let (status, text) = if is_description { (200, description.to_owned()) } else { answer(&body) };
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nLocation: /elsewhere\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(text.as_bytes())
}
