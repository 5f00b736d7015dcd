//! Letters and records made to hurt: bounded time, and nothing falls over.

use super::*;

#[tokio::test]
async fn all_waiting_for_one_letter_is_bounded() {
    let (zone, dns) = world();
    zone.manner("b.example", Manner::Silent);
    let mut message = LETTER.to_owned();
    for i in 0..30 {
        let selector = format!("s{i}");
        zone.manner(&format!("{selector}._domainkey.b.example"), Manner::Silent);
        let signer =
            DkimSigner::from_key(ed25519().0).domain("b.example").selector(selector).headers(["From"]);
        message = format!("{}{message}", signer.sign(LETTER.as_bytes()).unwrap().to_header());
    }
    let start = std::time::Instant::now();
    let mut inquiry = inquiry(&dns, "x@b.example");
    assert_trouble(&inquiry.by_dkim(&d("b.example"), &Letter::from_message(message.as_bytes())).await);
    let took = start.elapsed();
    assert!(took < CHECK_TIME + Duration::from_secs(2), "{took:?}");
    assert_eq!(inquiry.spf().await.result, SpfResult::TempError);
    assert!(start.elapsed() < CHECK_TIME + Duration::from_secs(2), "and nothing is asked again");
}

#[tokio::test]
async fn so_many_signatures_are_looked_at_those_of_the_author_first() {
    let (zone, dns) = world();
    let mut message = signed(&signer(&zone, "b.example"), LETTER);
    let (field, _) = message.split_once(LETTER).unwrap();
    let bad = field.replace("d=b.example", "d=x.b.example");
    let worse = field.replace("b=", "b=AAAA");
    message = format!("{}{message}", bad.repeat(50));
    assert_eq!(by_dkim(&dns, "b.example", &message).await, aligned(Means::Dkim, "b.example"));
    let mut inquiry = inquiry(&dns, "<>");
    let letter = format!("{}{message}", worse.repeat(50));
    let found = inquiry.signatures(&Letter::from_message(letter.as_bytes()), &[d("b.example")]).await;
    assert_eq!(found.len(), dkim::SIGNATURES_MAX);
    assert!(zone.asked_in_all() < 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_bodies_without_end_take_no_time_without_end() {
    let (zone, dns) = world();
    let body = "All work and no play makes Jack a dull boy.\r\n".repeat(50_000);
    let many = "Subject: x\r\nReceived: y\r\n".repeat(30_000);
    let letter = format!("{many}From: bob@b.example\r\n\r\n{body}");
    let names = ["Subject", "Received"].into_iter().cycle().take(80).chain(["From"]);
    let signer = DkimSigner::from_key(ed25519().0).domain("b.example").selector("s1").headers(names);
    zone.txt("s1._domainkey.b.example", ed25519().1);
    let message = signed(&signer, &letter);
    let start = std::time::Instant::now();
    let found = by_dkim(&dns, "b.example", &message).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(matches!(found, Authentication::Aligned(_) | Authentication::Not(_)), "{found:?}");
}

#[test]
fn a_fields_value_cannot_bring_in_another_field() {
    let fields: [(&[u8], &[u8]); 3] =
        [(b"X", b" a\nFrom: eve@b.example\n\n\nbody"), (b"From", b" bob@b.example\r\n"), (b"Y", b"")];
    let letter = Letter::from_fields(fields, b"");
    let want = "X: a\r\n From: eve@b.example\r\n \r\n \r\n body\r\nFrom: bob@b.example\r\nY:\r\n";
    assert_eq!(letter.head(), want.as_bytes());
}

#[tokio::test]
async fn a_head_made_to_hurt_takes_linear_time() {
    let (zone, dns) = world();
    let (field, _) = signed(&signer(&zone, "b.example"), LETTER)
        .split_once("From:")
        .map(|(f, l)| (f.to_owned(), l.len()))
        .unwrap();
    for unit in [
        "(",
        "<",
        "\"",
        "=?utf-8?q?",
        "=?utf-8?b?",
        ",",
        "a@b.example,",
        "x:;",
        "\\",
        "\r\n ",
        ";b=",
        ";h=a:b",
        ";z=x|y",
    ] {
        for name in [
            "From: bob@b.example",
            "From: ",
            "DKIM-Signature: v=1; d=b.example",
            "ARC-Seal: i=1",
            "Subject: ",
        ] {
            let hurt = format!("{name}{}\r\n", unit.repeat(500_000 / unit.len()));
            let message = format!("{field}{hurt}From: bob@b.example\r\n\r\nx");
            let start = std::time::Instant::now();
            assert!(!matches!(by_dkim(&dns, "b.example", &message).await, Authentication::Aligned(_)));
            assert!(start.elapsed() < Duration::from_secs(3), "{name} {unit}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn no_signature_field_and_no_head_makes_it_fall_over() {
    let pieces = "(DKIM-Signature: ?|From: ?|ARC-Seal: |[ \t]|v=1; ?|a=(rsa|ed25519)-sha(1|256);|d=b.example; ?|s=s1;|h=|bh?=\
                  |c=(simple|relaxed)/?|x=|l=|z=|=\\?|\r?\n|[ -~]{0,8}|\\PC{0,3}){0,60}";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_zone, dns) = world();
    proptest::proptest!(|(head in pieces, noise in proptest::collection::vec(proptest::num::u8::ANY, 0..64))| {
        let message = [head.as_bytes(), &noise].concat();
        let _ = dkim::may_speak_for(&message, &d("b.example"));
        let letter = Letter::from_message(&message);
        let found = runtime.block_on(inquiry(&dns, "<>").by_dkim(&d("b.example"), &letter));
        proptest::prop_assert!(!matches!(found, Authentication::Aligned(_)));
    });
}

#[test]
fn no_key_record_makes_it_fall_over() {
    let pieces = "(v=DKIM1|k=rsa|k=ed25519|h=sha(1|256)|t=[sy:]{1,3}|s=email|p=|n=|;|=| |[A-Za-z0-9+/]{1,40}|\\PC{0,3}){0,20}";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (zone, dns) = world();
    let number = std::cell::Cell::new(0);
    proptest::proptest!(|(head in pieces, der in proptest::collection::vec(proptest::num::u8::ANY, 0..300), rsa in proptest::bool::ANY)| {
        number.set(number.get() + 1);
        let selector = format!("f{}", number.get());
        let algorithm = if rsa { "rsa-sha256" } else { "ed25519-sha256" };
        let key = data_encoding::BASE64.encode(&[if rsa { &[0x30_u8, 0x82][..] } else { &[] }, &der].concat());
        zone.txt(&format!("{selector}._domainkey.b.example"), format!("{head};p={key}"));
        let message = format!(
            "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d=b.example; s={selector}; h=From; \
             bh=Cb14Slp9mnMWtxTI2Z9moHcqOnygIzmtVogcmYpWBvQ=; b={LONG_SIGNATURE}\r\n{SHORT_LETTER}"
        );
        let found = runtime.block_on(by_dkim(&dns, "b.example", &message));
        proptest::prop_assert!(matches!(found, Authentication::Not(_)), "{found:?}");
    });
}
