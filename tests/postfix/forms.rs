//! Letters of every form are the same letter to the gate: alphabets, line lengths, folds, pipelining, many of them at once.

use super::*;

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
