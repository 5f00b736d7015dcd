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
    for _ in 0..1_400 {
        many = many.header("Postage-Stamp", &forged);
    }
    let begun = Instant::now();
    let said = refusal(&world.send(&many.clone().header("Postage-Stamp", stamps[1].to(BOB, ALICE))));
    assert!(said.contains("postage refused: bad-signature;"), "the first hundred are looked at: {said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for _ in 0..8_600 {
        many = many.header("Postage-Stamp", "v=1");
    }
    let short = (0..10_000).fold(letter("short"), |letter, _| letter.header("postage-stamp", "v=1"));
    assert!(refusal(&world.send(&short)).contains("postage refused: malformed;"));
    assert_eq!(refusal(&world.send(&many)), "550 5.3.4 the header of this message is too large");
    is_well(&world, &stamps[1]);

    let world = World::start(&Site::mode("observe"));
    let outcome = world.send(&many);
    assert_eq!(result(&outcome), "invalid");
    assert_eq!(removed(&outcome).len(), 10_000, "every one of them is taken away");
}
