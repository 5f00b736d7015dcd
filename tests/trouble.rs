//! Bad input and trouble, through the milter's socket: an answer or a clean close, the others unaffected, memory
//! bounded; nothing is lost or paid twice, and what was broken works again without anybody's help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Command,
    time::{Duration, Instant},
};

use farthing::demo::dns::Manner as DnsManner;
use farthing_milter::client::{FULL_OFFER, Letter, Manner, MtaClient};
use support::{
    ALICE, BOB, Bought, MALLORY_IP, PATIENCE, Site, World, added, block_on, client, letter, refusal, removed,
    result, stamped, wait_until,
};

const PRICE_MICROS: i64 = 2_500;
const ESCROW: &str = "escrow:b.example";
const UNCHECKED: &str = "451 4.7.1 <bob@b.example>: postage cannot be checked now; try again";

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
    let connect = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(world.path("milter.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(bytes);
        stream
    };
    let answered = |mut stream: UnixStream, bytes: &[u8]| {
        let mut answers = Vec::new();
        // Hung up on with octets of ours unread, the stream says so.
        let reset = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionReset;
        let read = stream.read_to_end(&mut answers);
        assert!(read.as_ref().map_or_else(reset, |_| true), "{}: {read:?}", bytes.escape_ascii());
        answers
    };
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n".to_vec(),
        b"EHLO a.example\r\n".to_vec(),
        vec![0; 64],
        vec![0xFF; 64],
        [0xFFFF_FFFF_u32.to_be_bytes().to_vec(), b"L".to_vec()].concat(),
        frame(b'O', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        frame(b'O', b"\0\0"),
        frame(b'M', b"<a@a.example>\0"),
    ] {
        assert_eq!(
            answered(connect(&bytes), &bytes),
            b"",
            "{}: hung up on without a word",
            bytes.escape_ascii()
        );
    }
    for packet in [
        frame(b'R', b"<bob@b.example>\0"),
        frame(b'E', b""),
        frame(b'O', &[0, 0, 0, 6, 0, 0, 1, 0xFF, 0, 0x1F, 0xFF, 0xFF]),
        frame(b'C', b""),
        frame(b'C', b"host\x009"),
        frame(b'C', b"host\x004\x00"),
        frame(b'M', b""),
        frame(b'L', b"no end"),
        frame(b'D', b"M"),
        frame(b'?', b"what"),
        65_537_u32.to_be_bytes().to_vec(),
        vec![0, 0, 0, 0],
    ] {
        let bytes = [negotiation(), packet].concat();
        let stream = connect(&bytes);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answers = answered(stream, &bytes);
        assert!(answers.len() < 1_000, "{} is answered with {} octets", bytes.escape_ascii(), answers.len());
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

/// Letters of every kind while the ledger has no answer: each is deferred in the words for it.
fn everything_is_deferred(world: &World, stamp: &Bought) {
    for _ in 0..3 {
        assert_eq!(refusal(&world.send(&stamped(stamp, "paid"))), UNCHECKED);
    }
    let postmaster = Letter::new(ALICE, &["postmaster@b.example"], "help");
    assert_eq!(result(&world.send(&postmaster)), "exempt", "whom nobody asks needs no ledger");
}

/// The log says once why, however many letters wait, and once that it is over.
fn the_log_said_it_once(world: &World, why: &str, over: &str) {
    world.wait_for_log(over);
    let log = world.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ")).collect();
    assert!(errors.iter().any(|line| line.contains(why)), "{why:?}: {errors:#?}");
    let mut texts: Vec<_> = errors.iter().map(|line| line.split(" ERROR ").nth(1)).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), errors.len(), "each once: {errors:#?}");
    assert!(errors.len() <= 2, "once for reading, once for writing: {errors:#?}");
}

#[test]
fn a_ledger_that_vanishes_defers_the_mail_until_it_is_back() {
    let world = World::start(&Site::default());
    let stamps = world.buy(2);
    is_well(&world, &stamps[0]);
    fs::rename(world.path("ledger.db"), world.path("elsewhere.db")).unwrap();
    everything_is_deferred(&world, &stamps[1]);
    assert_eq!(refusal(&world.send(&letter("stranger"))), UNCHECKED, "he might be known");
    fs::rename(world.path("elsewhere.db"), world.path("ledger.db")).unwrap();
    assert_eq!(result(&world.send(&stamped(&stamps[1], "paid"))), "paid");
    the_log_said_it_once(&world, "ledger.db: No such file or directory", "the ledger is read again");
    assert_eq!(world.balance(ESCROW), 2 * PRICE_MICROS);
    world.books_balance();
}

#[test]
fn a_ledger_that_another_program_locks_defers_what_must_be_redeemed() {
    let world = World::start(&Site::default());
    let stamps = world.buy(2);
    let lock = world.lock_ledger();
    assert_eq!(refusal(&world.send(&stamped(&stamps[0], "paid"))), UNCHECKED);
    assert!(refusal(&world.send(&letter("stranger"))).starts_with("550 5.7.1"), "reading goes on");
    drop(lock);
    is_well(&world, &stamps[0]);
    assert_eq!(result(&world.send(&stamped(&stamps[1], "paid"))), "paid");
    the_log_said_it_once(&world, "another process holds it", "the ledger is written again");
    assert_eq!(world.balance(ESCROW), 2 * PRICE_MICROS);
    world.books_balance();
}

#[test]
fn a_ledger_restored_with_the_wrong_rights_defers_the_mail_until_they_are_right() {
    let mut world = World::without_daemon(&Site::default());
    // As a service does, under a user of its own.
    let nobody = 65_534;
    let is_root = rustix::process::geteuid().is_root();
    let prefix: &[&str] = match is_root {
        true => &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        false => &[],
    };
    let give = |path: std::path::PathBuf| {
        if is_root {
            std::os::unix::fs::chown(path, Some(nobody), Some(nobody)).unwrap();
        }
    };
    give(world.directory.path().to_owned());
    world.start_daemon_under(prefix);
    let stamps = world.buy(2);
    is_well(&world, &stamps[0]);

    assert!(world.end_daemon("TERM").success());
    world.start_daemon_under(prefix);
    fs::copy(world.path("ledger.db"), world.path("restored.db")).unwrap();
    let rights = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(world.path("ledger.db"), fs::Permissions::from_mode(mode)).unwrap();
    };
    for file in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = fs::remove_file(world.path(file));
    }
    fs::rename(world.path("restored.db"), world.path("ledger.db")).unwrap();
    rights(0o444);
    everything_is_deferred(&world, &stamps[1]);
    give(world.path("ledger.db"));
    rights(0o600);
    wait_until("mail", || world.send(&stamped(&stamps[1], "paid")).is_delivered());
    the_log_said_it_once(&world, "readonly", "the ledger is written again");
    world.books_balance();
}

#[test]
fn a_full_disk_defers_the_mail_until_there_is_room() {
    let mut world = World::without_daemon(&Site::default());
    // A disk on which no file can grow; the signal that comes with it is not for a disk that is full.
    world.start_daemon_under(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let stamps = world.buy(2);
    is_well(&world, &stamps[0]);
    let pid = world.daemon_pid().to_string();
    let file_size = |limit: &str| {
        let limit = format!("--fsize={limit}:");
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    };
    file_size("0");
    everything_is_deferred(&world, &stamps[1]);
    assert!(refusal(&world.send(&letter("stranger"))).starts_with("550 5.7.1"), "reading goes on");
    file_size("unlimited");
    assert_eq!(result(&world.send(&stamped(&stamps[1], "paid"))), "paid");
    the_log_said_it_once(&world, "the ledger is not written", "the ledger is written again");
    assert_eq!(world.balance(ESCROW), 2 * PRICE_MICROS);
    world.books_balance();
}

#[test]
fn a_site_may_rather_let_mail_in_than_defer_it() {
    for (mode, gate) in
        [("require", "on_trouble = \"accept\"\n"), ("observe", ""), ("observe", "on_trouble = \"accept\"\n")]
    {
        let world = World::start(&Site { mode, gate: gate.into(), ..Site::default() });
        let stamp = world.buy(1).remove(0);
        fs::rename(world.path("ledger.db"), world.path("elsewhere.db")).unwrap();
        let outcome = world.send(&stamped(&stamp, "paid"));
        assert_eq!(added(&outcome, "Postage-Status"), [format!("mx.b.example; result=unpaid; rcpt={BOB}")]);
        assert!(added(&outcome, "Postage-Wanted").is_empty());
        assert_eq!(result(&world.send(&letter("stranger"))), "unpaid", "{mode}");
        fs::rename(world.path("elsewhere.db"), world.path("ledger.db")).unwrap();
        let stranger = world.send(&letter("stranger"));
        assert_eq!(stranger.is_delivered(), mode == "observe", "{mode} as ever: {stranger:?}");
        assert_eq!(
            result(&world.send(&stamped(&stamp, "paid"))),
            "paid",
            "what let in then was not redeemed"
        );
    }
}

#[test]
fn observe_splits_no_recipients() {
    let world = World::start(&Site::mode("observe"));
    assert!(world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    let outcome = world.send(&Letter::new(ALICE, &[BOB, "carol@b.example"], "both"));
    assert!(outcome.recipients.iter().all(|said| said.code() == 250), "{:?}", outcome.recipients);
    assert_eq!(added(&outcome, "Postage-Status"), ["mx.b.example; result=unpaid"]);
}

/// Rounds of a daemon that is killed at some instant under load.
const KILL_ROUNDS: usize = 24;
/// Letters under way at a time.
const SENDERS: usize = 8;

/// What is known of a letter that was brought again and again until it was answered.
struct Sent {
    stamp: Bought,
    subject: String,
    accepted: bool,
}

#[test]
fn killed_at_any_instant_the_gate_loses_nothing_and_takes_nothing_twice() {
    let mut world = World::start(&Site::default());
    let mut purse = world.buy(6_000);
    let mut unanswered: Vec<Sent> = Vec::new();
    let (mut accepted, mut heard_nothing) = (0, 0);
    for round in 0..KILL_ROUNDS {
        if round > 0 {
            world.start_daemon();
        }
        // What got no answer comes again, the way a mail server brings it.
        for mut sent in unanswered.drain(..) {
            let outcome = world.send(&stamped_at(&sent));
            assert_eq!(result(&outcome), "paid", "{} again", sent.subject);
            sent.accepted = true;
            accepted += 1;
        }
        assert_eq!(world.balance(ESCROW), accepted * PRICE_MICROS, "each letter was paid for once");

        let delay = Duration::from_micros(u64::from(u16::from_be_bytes(support::random())) * 2);
        let pid = world.daemon_pid();
        let killer = std::thread::spawn(move || {
            // The instant is to be a random one.
            std::thread::sleep(delay);
            assert!(Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap().success());
        });
        let sent = bring_until_it_dies(&world, &mut purse, round);
        killer.join().unwrap();
        world.wait_for_end();
        let (done, open): (Vec<Sent>, Vec<Sent>) = sent.into_iter().partition(|sent| sent.accepted);
        accepted += done.len() as i64;
        heard_nothing += open.len();
        unanswered = open;
        world.books_balance();
        let escrow = world.balance(ESCROW);
        let most = accepted + unanswered.len() as i64;
        assert!(
            (accepted * PRICE_MICROS..=most * PRICE_MICROS).contains(&escrow) && escrow % PRICE_MICROS == 0,
            "{escrow} in escrow after {accepted} accepted letters and {} unanswered, killed after {delay:?}",
            unanswered.len()
        );
    }
    assert!(accepted > 50, "only {accepted} letters were accepted: no load");
    assert!(heard_nothing > 0, "no letter was under way when the daemon was killed");
}

fn stamped_at(sent: &Sent) -> Letter {
    // Written out at a fixed time: a retry brings the very same stamp.
    let time = farthing::clock::unix_now() / 86_400 * 86_400;
    letter(&sent.subject).header("Postage-Stamp", sent.stamp.at(BOB, ALICE, time))
}

/// Letters by several mail servers at once, until the daemon answers none of them any more.
fn bring_until_it_dies(world: &World, purse: &mut Vec<Bought>, round: usize) -> Vec<Sent> {
    let share = purse.len() / (KILL_ROUNDS - round) / SENDERS;
    let senders: Vec<Vec<Bought>> = (0..SENDERS).map(|_| purse.drain(..share).collect()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(sender, stamps)| {
                let address = world.milter();
                tokio::spawn(async move {
                    let mut sent = Vec::new();
                    let Ok(mut mta) = MtaClient::connect(&address, FULL_OFFER, Manner::Postfix).await else {
                        return sent;
                    };
                    if mta.greet(&client(support::ALICE_IP), "mx.a.example").await.is_err() {
                        return sent;
                    }
                    for (number, stamp) in stamps.into_iter().enumerate() {
                        let subject = format!("{round}-{sender}-{number}");
                        let mut letter = Sent { stamp, subject, accepted: false };
                        let answer = mta.deliver(&stamped_at(&letter)).await;
                        letter.accepted = answer.as_ref().is_ok_and(|outcome| result(outcome) == "paid");
                        sent.push(letter);
                        if answer.is_err() {
                            break;
                        }
                    }
                    sent
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    })
}
