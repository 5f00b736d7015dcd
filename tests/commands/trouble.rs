//! Commands when the ledger is away, mails made to do harm, and programs that answer each other.

use super::*;

#[test]
fn a_ledger_in_trouble_defers_commands_and_lets_letters_go() {
    let world = with_answers(&Site::default());
    let stamps = world.buy(1);
    let token = token_address(&paid(&world, &stamps[0], BOB, "<1@a.example>"), "Postage-Wanted");
    let lock = world.lock_ledger();
    for letter in [command("allow x@x.example", ""), by("bob", BOB, &[&token], "")] {
        let said = refusal(&world.send(&letter));
        assert!(said.starts_with("451 4.7.1 <postage"), "{said}");
    }
    drop(lock);
    assert_eq!(refunded(&world), (0, PRICE));
    for letter in [command("allow x@x.example", ""), by("bob", BOB, &[&token], "")] {
        is_done(&world.send(&letter));
    }
    assert_eq!(refunded(&world), (PRICE, 0));
}

#[test]
fn mails_made_to_be_large_are_bounded_and_answered() {
    let world = with_answers(&Site::default());
    let lines: String = (0..10_000).map(|n| format!("allow u{n}@u.example\n")).collect();
    is_done(&world.send(&command("", &lines)));
    let first = answer(&world);
    assert_eq!(book(&world, BOB).len(), 100);
    assert!(first.contains("9900 more lines were not looked at: at most 100 commands a mail."), "{first}");
    let head = "--x\r\nContent-Type: text/plain\r\n\r\nallow big@big.example\r\n--x\r\nContent-Type: image/png\r\n\r\n";
    let big = command("", "").header("Content-Type", "multipart/mixed; boundary=x");
    is_done(&world.send(&big.body(format!("{head}{}", "iVBORw0KGgo=\r\n".repeat(750_000)))));
    assert_eq!(book(&world, BOB).len(), 101, "10 MB");
    let many: Vec<String> = (0..150).map(|n| format!("postage+w.{n:a>32}@b.example")).collect();
    let many = by("bob", BOB, &many.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let outcome = world.send(&many);
    assert_eq!(outcome.recipients.iter().filter(|said| said.code() == 250).count(), 100);
    assert!(world.memory_kib("VmHWM") < 200_000);
}

#[test]
fn a_mailbox_gets_its_answers_one_a_minute_whatever_detail_it_writes_from() {
    let world = with_answers(&Site::default());
    is_done(&world.send(&command("help", "")));
    answer(&world);
    for n in 0..5 {
        let from = format!("bob+{n}@b.example");
        is_done(&world.send(&by("bob", &from, &[POSTAGE], &format!("allow x{n}@x.example"))));
    }
    assert_eq!(book(&world, BOB).len(), 5);
    let waiting = support::block_on(async {
        let ledger = world.ledger();
        let state = ledger.outbox_state().await.unwrap();
        ledger.close().await;
        state
    });
    assert_eq!((waiting.answers, waiting.mails), (5, 0), "they wait for the minute to be over");
    assert_eq!(answers(&world).len(), 1);
}

#[test]
fn nothing_in_a_mail_gets_into_the_header_of_its_answer() {
    let world = with_answers(&Site::default());
    let letter = command(
        "=?utf-8?Q?list=0D=0ABcc=3A_eve=40e=2Eexample?=",
        "allow x\r\nBcc: eve@e.example\n\u{1b}[2J\u{202e}\n",
    )
    .header("Reply-To", "eve@e.example");
    let mut letter = letter;
    letter.headers.retain(|(name, _)| name != "Message-ID");
    let letter = letter.header("Message-ID", "<a\u{1}b@b.example>\r\n\tBcc: eve@e.example");
    is_done(&world.send(&letter));
    let answer = answer(&world);
    let (head, body) = answer.split_once("\n\n").unwrap();
    assert!(!head.contains("eve@e.example") && head.contains("To: bob@b.example\n"), "{answer}");
    assert!(!body.chars().any(|c| c.is_control() && c != '\n') && !body.contains('\u{202e}'), "{answer}");
}

#[test]
fn two_servers_that_write_to_each_other_fall_silent() {
    let (ours, theirs) = (with_answers(&Site::default()), with_answers(&Site::default()));
    is_done(&ours.send(&command("help", "")));
    let answer = answer(&ours);
    // The answer, as the other one's command mail: by some login, and from outside.
    let (head, body) = answer.split_once("\n\n").unwrap();
    let as_letter = |login: Option<&str>| {
        let mut letter = Letter::new("", &[POSTAGE], "");
        letter.headers.clear();
        for line in head.replace("\n ", " ").replace("\n\t", " ").lines().skip(1) {
            let (name, value) = line.split_once(':').unwrap();
            letter = letter.header(name, value.trim());
        }
        letter.sender = "<>".into();
        if let Some(login) = login {
            letter.macros.push((Stage::Mail, "{auth_authen}".into(), login.into()));
        }
        letter.body(body.replace('\n', "\r\n"))
    };
    is_done(&theirs.send(&as_letter(Some("postage"))));
    assert!(refusal(&theirs.send(&as_letter(None))).contains("from submission only"));
    let mut with_a_sender = as_letter(Some("postage"));
    with_a_sender.sender = format!("<{POSTAGE}>");
    is_done(&theirs.send(&with_a_sender));
    is_done(&theirs.send(&by("bob", BOB, &[POSTAGE], "list")));
    wait_until("the answer to Bob", || !answers(&theirs).is_empty());
    assert!(answers(&theirs)[0].contains("To: bob@b.example"), "the first that it answers");
}
