//! Bad input and trouble, through the milter's socket: an answer or a clean close, the others unaffected, memory
//! bounded; nothing is lost or paid twice, and what was broken works again without anybody's help.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Command,
    time::{Duration, Instant},
};

use farthing::demo::dns::Manner as DnsManner;
use farthing_milter::client::{Change, FULL_OFFER, Letter, Manner, MtaClient, Outcome};
use support::{
    ALICE, ALICE_IP, BOB, Bought, MALLORY_IP, PATIENCE, Site, World, added, block_on, client, refusal,
    removed, result, wait_until,
};

const PRICE_MICROS: i64 = 2_500;
const ESCROW: &str = "escrow:b.example";
const UNCHECKED: &str = "451 4.7.1 <bob@b.example>: postage cannot be checked now; try again";

fn letter(subject: &str) -> Letter {
    Letter::new(ALICE, &[BOB], subject)
        .header("Message-ID", format!("<{subject}@a.example>"))
        .header("Date", "Mon, 02 Nov 2026 09:00:00 +0000")
}

fn stamped(stamp: &Bought, subject: &str) -> Letter {
    letter(subject).header("Postage-Stamp", stamp.to(BOB, ALICE))
}

/// The gate still judges as it should: a stranger is asked, a stamp pays.
fn is_well(world: &World, stamp: &Bought) {
    assert!(refusal(&world.send(&letter("well"))).starts_with("550 5.7.1 <bob@b.example>: postage of 0.25c"));
    assert_eq!(result(&world.send(&stamped(stamp, "well"))), "paid");
}

fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[code], payload].concat()
}

fn negotiation() -> Vec<u8> {
    frame(b'O', &[0, 0, 0, 6, 0, 0, 1, 0xFF, 0, 0x1F, 0xFF, 0xFF])
}

#[test]
fn packets_that_are_none_end_their_own_connection_and_no_other() {
    let world = World::start(&Site::default());
    let stamp = world.buy(1).remove(0);
    let mut nonsense: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n".to_vec(),
        b"EHLO a.example\r\n".to_vec(),
        vec![0; 64],
        vec![0xFF; 64],
        [0xFFFF_FFFF_u32.to_be_bytes().to_vec(), b"L".to_vec()].concat(),
        frame(b'O', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        frame(b'O', b"\0\0"),
        frame(b'M', b"<a@a.example>\0"),
    ];
    for packet in [
        frame(b'C', b""),
        frame(b'C', b"host\x009"),
        frame(b'C', b"host\x004\x00"),
        frame(b'M', b""),
        frame(b'R', b"<bob@b.example>\0"),
        frame(b'L', b"no end"),
        frame(b'E', b""),
        frame(b'D', b"M"),
        frame(b'?', b"what"),
        65_537_u32.to_be_bytes().to_vec(),
        vec![0, 0, 0, 0],
    ] {
        nonsense.push([negotiation(), packet].concat());
    }
    for bytes in &nonsense {
        let mut stream = UnixStream::connect(world.path("milter.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        let reset = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(
            read.as_ref().is_ok() || read.as_ref().is_err_and(reset),
            "{}: {read:?}",
            bytes.escape_ascii()
        );
        assert!(rest.len() < 1_000, "{} was answered with {} bytes", bytes.escape_ascii(), rest.len());
    }
    is_well(&world, &stamp);
    assert!(world.log().contains("GET "), "the log says what came:\n{}", world.log());
    assert!(!world.log().contains("panic"), "{}", world.log());
}

#[test]
fn a_hundred_megabytes_of_header_take_no_more_memory_than_one() {
    let world = World::start(&Site::default());
    let stamp = world.buy(1).remove(0);
    is_well(&world, &stamp);
    let before = world.memory_kib("VmHWM");
    let mut flood = letter("flood");
    let value = vec![b'x'; 60_000];
    for _ in 0..1_700 {
        flood = flood.header("X-Flood", &value);
    }
    assert_eq!(refusal(&world.send(&flood)), "550 5.3.4 the header of this message is too large");
    let grown = world.memory_kib("VmHWM") - before;
    assert!(grown < 30_000, "{grown} KiB more");
    assert_eq!(result(&world.send(&stamped(&stamp, "well"))), "paid", "a retry, as before");
}

#[test]
fn ten_thousand_stamps_in_a_letter_are_not_ten_thousand_checks() {
    let world = World::start(&Site::default());
    let stamps = world.buy(2);
    // Forged by a holder: each would cost the office's key a check, and none of them is sold.
    let forged = stamps[0].to(BOB, ALICE).replace("n=2500", "n=9999");
    let mut many = letter("many");
    for _ in 0..900 {
        many = many.header("Postage-Stamp", &forged);
    }
    let begun = Instant::now();
    let said = refusal(&world.send(&many.clone().header("Postage-Stamp", stamps[1].to(BOB, ALICE))));
    assert!(said.contains("postage refused: bad-signature;"), "the first hundred are looked at: {said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let short = (0..10_000).fold(letter("short"), |letter, _| letter.header("postage-stamp", "v=1"));
    let too_large = "550 5.3.4 the header of this message is too large";
    assert_eq!(refusal(&world.send(&short)), too_large, "the MTA would look for each of them from the top");
    let long = (0..10_000).fold(letter("long"), |letter, _| letter.header("Postage-Stamp", &forged));
    assert_eq!(refusal(&world.send(&long)), too_large);
    is_well(&world, &stamps[1]);

    let world = World::start(&Site::mode("observe"));
    let outcome = world.send(&long);
    assert_eq!(result(&outcome), "invalid");
    assert_eq!(removed(&outcome).len(), 1_000, "as many as the MTA can look for");
}

#[test]
fn a_recipient_named_a_thousand_times_costs_no_more_than_one() {
    let world = World::start(&Site::default());
    let stamps = world.buy(1);
    let forged = stamps[0].to(BOB, ALICE).replace("n=2500", "n=9999");
    let again = vec![BOB; 1_000];
    let many = (0..100)
        .fold(Letter::new(ALICE, &again, "again"), |letter, _| letter.header("Postage-Stamp", &forged));
    let begun = Instant::now();
    let said = refusal(&world.send(&many));
    assert!(said.starts_with(&format!("550 5.7.1 <{BOB}>: postage refused: bad-signature;")), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let twice = Letter::new(ALICE, &[BOB, "Bob@B.example"], "twice")
        .header("Postage-Stamp", stamps[0].to(BOB, ALICE));
    let outcome = world.send(&twice);
    assert_eq!(added(&outcome, "Postage-Wanted").len(), 1, "he is the only one and can mark it");
}

#[test]
fn bodies_of_fifty_megabytes_are_bounded_all_together() {
    let world = World::start(&Site::default());
    assert!(world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    // Not from Alice's server, so that only the signature could show that it is hers.
    let signed = letter("large")
        .header("DKIM-Signature", "v=1; a=rsa-sha256; d=a.example; s=x; h=from; bh=AAAA; b=AAAA")
        .body("0123456789 abcdef\r\n".repeat(50 * 1024 * 1024 / 19));
    let said = block_on(async {
        let (world, signed) = (&world, &signed);
        let letters = (0..6).map(|_| async move {
            let mut mta = MtaClient::connect(&world.milter(), FULL_OFFER, Manner::Sendmail).await.unwrap();
            mta.greet(&client(MALLORY_IP), "mx.m.example").await.unwrap();
            mta.deliver(signed).await.unwrap()
        });
        join_all(letters).await
    });
    for outcome in &said {
        let said = refusal(outcome);
        let stranger = said.starts_with("550 5.7.1 <bob@b.example>: postage of 0.25c required");
        assert!(stranger || said == UNCHECKED, "{said}");
    }
    assert!(said.iter().any(|outcome| refusal(outcome).starts_with("550")), "some were looked at");
    let most = world.memory_kib("VmHWM");
    assert!(most < 400_000, "{most} KiB for 300 MB of mail");
    assert_eq!(result(&world.send(&letter("small"))), "known");
}

/// Runs futures together on this thread.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[test]
fn slow_and_silent_clients_keep_nobody_waiting() {
    let world = World::start(&Site::default());
    let stamp = world.buy(1).remove(0);
    let connect = || UnixStream::connect(world.path("milter.sock")).unwrap();
    let silent = connect();
    let mut halves: Vec<UnixStream> = Vec::new();
    for begun in [
        &b"\0"[..],
        b"\0\0\0\x0dO",
        &[negotiation(), 60_000_u32.to_be_bytes().to_vec(), b"Lx".to_vec()].concat(),
    ] {
        let mut stream = connect();
        stream.write_all(begun).unwrap();
        halves.push(stream);
    }
    // One that takes no answers, and asks for thousands.
    let mut greedy = connect();
    let connection = frame(b'C', b"mx.a.example\x004\x61\xa9192.0.2.1\0");
    let questions =
        [frame(b'M', b"<a@a.example>\0"), frame(b'R', b"<bob@b.example>\0"), frame(b'A', b"")].concat();
    greedy.write_all(&[negotiation(), connection, questions.repeat(100)].concat()).unwrap();
    greedy.set_nonblocking(true).unwrap();
    while greedy.write(&questions).is_ok_and(|written| written == questions.len()) {}
    let begun = Instant::now();
    is_well(&world, &stamp);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    // A whole letter, octet by octet.
    let mut slow = connect();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = frame(b'C', b"mx.a.example\x004\x61\xa9192.0.2.1\0");
    let header = frame(b'L', b"From\0alice@a.example\0");
    for byte in
        [negotiation(), connection, questions[..questions.len() - 5].to_vec(), header, frame(b'N', b"")]
            .concat()
    {
        slow.write_all(&[byte]).unwrap();
    }
    let mut answers = Vec::new();
    while !answers.windows(9).any(|window| window == b"550 5.7.1") {
        let mut chunk = [0; 1_024];
        let read = slow.read(&mut chunk).unwrap();
        assert!(read > 0, "hung up: {}", answers.escape_ascii());
        answers.extend_from_slice(&chunk[..read]);
    }
    // Whoever says nothing at all is hung up on.
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!((&silent).read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn two_thousand_idle_connections_are_no_hindrance() {
    let mut world = World::without_daemon(&Site::default());
    // As a service starts by default: few files open, unless the daemon asks for more.
    world.start_daemon_under(&["prlimit", "--nofile=1024:8192"]);
    let nofile = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(nofile, limit).unwrap();
    let stamps = world.buy(20);
    let idle: Vec<UnixStream> = (0..2_000)
        .map(|number| {
            let mut stream = UnixStream::connect(world.path("milter.sock")).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&negotiation()).unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap_or_else(|e| panic!("connection {number}: {e}"));
            stream
        })
        .collect();
    let begun = Instant::now();
    for (number, stamp) in stamps.iter().enumerate() {
        assert_eq!(result(&world.send(&stamped(stamp, &number.to_string()))), "paid");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let memory = world.memory_kib("VmRSS");
    assert!(memory < 150_000, "{memory} KiB");
    drop(idle);
    assert!(world.end_daemon("TERM").success());
}

#[test]
fn observe_refuses_nobody_whatever_the_letter() {
    let world = World::start(&Site::mode("observe"));
    let recipients: Vec<String> = (0..5_010).map(|number| format!("u{number}@b.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let outcome = world.send(&Letter::new(ALICE, &recipients, "all"));
    assert!(outcome.recipients.iter().all(|said| said.code() == 250), "{:?}", outcome.recipients.last());
    assert_eq!(result(&outcome), "unpaid");
    let flood = (0..300).fold(letter("flood"), |letter, _| letter.header("X-Flood", "x".repeat(10_000)));
    assert_eq!(result(&world.send(&flood)), "unpaid");
    assert!(world.farthing(&["known", "block", ALICE, "--for", BOB]).status.success());
    assert_eq!(result(&world.send(&letter("blocked"))), "unpaid");
}

#[test]
fn silent_dns_takes_its_time_and_observe_lets_in_all_the_same() {
    let gate = "accept_offices = [\"b.example\", \"post.example\"]\n".to_owned();
    let world = World::start(&Site { mode: "observe", gate, ..Site::default() });
    let mut slow = letter("slow");
    for (mut bought, selector) in world.buy(2).into_iter().zip(["s1", "s2"]) {
        bought.stamp.terms.office = "post.example".parse().unwrap();
        bought.stamp.terms.selector = selector.parse().unwrap();
        world.zone.manner(&format!("{selector}._postage.post.example"), DnsManner::Silent);
        slow = slow.header("Postage-Stamp", bought.to(BOB, ALICE));
    }
    world.zone.manner("a.example", DnsManner::Silent);
    assert!(world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    assert_eq!(result(&world.send(&slow)), "unpaid");
}
