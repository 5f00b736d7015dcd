//! Stamps on letters: one for each recipient, everything else of the letter as it was.

use super::*;

#[test]
fn stamps_are_bought_put_on_a_letter_and_verified() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1c");
    let bought = sender.json(&["buy", "b.example", "--count", "3", "--office", &post.url()]);
    assert_eq!(
        bought,
        json!({"office": "b.example", "audience": "b.example", "value": 2500, "count": 3, "others": 0, "in_hand": 3})
    );
    let show = sender.json(&["wallet", "show"]);
    assert_eq!(show["offices"], json!([{"office": "b.example", "balance": 2500}]));
    let held = &show["stamps"][0];
    assert_eq!(
        (&held["office"], &held["audience"], &held["value"], &held["count"]),
        (&json!("b.example"), &json!("b.example"), &json!(2500), &json!(3))
    );

    let stamped = sender.stamp(LETTER);
    assert_eq!((stamped.code, stamped.stderr.as_str()), (0, ""));
    assert_eq!(sender.in_hand(), 2, "it is out of the wallet");
    let key = key_of(&post);
    let verify = |more: &[&str], letter: &[u8]| {
        let arguments = [&["--json", "verify", "--to", "bob@b.example", "--key", &key], more].concat();
        sender.run_with(&arguments, letter)
    };
    let good = verify(&["--price", "0.25c", "--currency", "USD"], &stamped.stdout);
    assert_eq!(good.code, 0, "{good:?}");
    let said = good.json();
    assert_eq!((&said["enough"], &said["value"]), (&json!(true), &json!(2500)));
    let stamp = &said["stamps"][0];
    assert_eq!(
        (&stamp["result"], &stamp["office"], &stamp["value"]),
        (&json!("ok"), &json!("b.example"), &json!(2500))
    );
    assert_eq!(stamp["id"].as_str().unwrap().len(), 22);

    let word = |ran: &Ran| {
        assert_eq!(
            (ran.code, &ran.json()["enough"], &ran.json()["value"]),
            (1, &json!(false), &json!(0)),
            "{ran:?}"
        );
        ran.json()["stamps"][0]["result"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(word(&verify(&["--price", "0.2501c"], &stamped.stdout)), "underpaid");
    assert_eq!(word(&verify(&["--currency", "EUR"], &stamped.stdout)), "wrong-currency");
    assert_eq!(word(&verify(&["--at", "9999999999"], &stamped.stdout)), "expired");
    let in_a_month = (farthing::clock::unix_now() + 30 * 86_400).to_string();
    assert_eq!(word(&verify(&["--at", &in_a_month], &stamped.stdout)), "stale");
    assert_eq!(word(&verify(&[], LETTER)), "", "no stamp at all");
    let text = String::from_utf8(stamped.stdout.clone()).unwrap();
    assert_eq!(
        word(&verify(&[], text.replace("alice@a.example", "eve@a.example").as_bytes())),
        "wrong-sender"
    );
    assert_eq!(word(&verify(&[], text.replace("n=2500", "n=2501").as_bytes())), "bad-signature");
    assert_eq!(word(&verify(&[], text.replace("n=2500", "n=x").as_bytes())), "malformed");
    let other_key = "b.example:s9:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let to_eve =
        sender.run_with(&["--json", "verify", "--to", "eve@b.example", "--key", other_key], text.as_bytes());
    assert_eq!(word(&to_eve), "wrong-recipient");
    let unknown =
        sender.run_with(&["--json", "verify", "--to", "bob@b.example", "--key", other_key], text.as_bytes());
    assert_eq!(word(&unknown), "unknown-issuer");
    let people =
        sender.run_with(&["verify", "--to", "bob@b.example", "--key", &key_of(&post)], text.as_bytes());
    assert!(people.text().contains("ok") && people.text().contains("0.25c"), "{people:?}");
    post.proof();
}

#[test]
fn one_stamp_for_each_recipient_and_each_field_in_its_order() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    let url = post.url();
    assert_eq!(sender.buy("2", &url).code, 0);
    assert_eq!(sender.run(&["buy", "bb.example", "--count", "1", "--office", &url]).code, 0);
    let to = [
        "stamp",
        "--to",
        "bob@b.example",
        "--to",
        "BOB@B.example",
        "carol@b.example",
        "--to",
        "dora@bb.example",
    ];
    let stamped = sender.run_with(&to, LETTER);
    assert_eq!(stamped.code, 0, "{stamped:?}");
    assert_eq!(sender.in_hand(), 0);
    let text = String::from_utf8(stamped.stdout.clone()).unwrap();
    assert_eq!(text.matches("Postage-Stamp:").count(), 3);
    for (recipient, words) in [
        ("bob@b.example", ["ok", "wrong-recipient", "wrong-audience"]),
        ("carol@b.example", ["wrong-recipient", "ok", "wrong-audience"]),
        ("dora@bb.example", ["wrong-audience", "wrong-audience", "ok"]),
    ] {
        let arguments = ["--json", "verify", "--to", recipient, "--key", &key_of(&post)];
        let ran = sender.run_with(&arguments, &stamped.stdout);
        let results: Vec<Value> =
            ran.json()["stamps"].as_array().unwrap().iter().map(|stamp| stamp["result"].clone()).collect();
        assert_eq!((ran.code, results), (0, words.map(Value::from).to_vec()), "{recipient}");
    }
}

#[test]
fn everything_else_of_a_letter_stays_octet_by_octet() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    assert_eq!(sender.buy("20", &post.url()).code, 0);
    let date = "Date: Sun, 22 Nov 2026 13:00:00 +0000";
    let table: Vec<(&str, Vec<u8>, usize)> = vec![
        ("LF", LETTER.to_vec(), 3),
        ("CRLF", String::from_utf8_lossy(LETTER).replace('\n', "\r\n").into_bytes(), 3),
        ("a Date is there", [date.as_bytes(), b"\n", LETTER].concat(), 2),
        ("both are there", [b"message-id:<1@a.example>\ndate : x\n".as_slice(), LETTER].concat(), 1),
        (
            "eight bits",
            b"From: alice@a.example\nSubject: caf\xe9 \xff\x80\n\n\xe4\xf6\xfc\x00\x01\n".to_vec(),
            3,
        ),
        ("odd folding", b"FROM :\n \t Alice\n\t<alice@a.example>\nX: \n  y\nSubject:\n\nbody".to_vec(), 3),
        ("mixed line ends", b"From: alice@a.example\r\nX: 1\n\r\nbody\nbody\r\n".to_vec(), 3),
        ("no body", b"From: alice@a.example\n".to_vec(), 3),
        ("no last line end", b"From: alice@a.example\r\n\r\nbody".to_vec(), 3),
        ("dots and From", b"From: alice@a.example\n\n.\n..\nFrom here\n".to_vec(), 3),
        ("a long line", [b"From: alice@a.example\n\n".as_slice(), &[b'x'; 100_000]].concat(), 3),
        ("a stamp of someone else", b"Postage-Stamp: v=1; whatever\nFrom: alice@a.example\n\n".to_vec(), 3),
    ];
    for (what, letter, fields) in table {
        let stamped = sender.stamp(&letter);
        assert_eq!(stamped.code, 0, "{what}: {stamped:?}");
        let added =
            stamped.stdout.strip_suffix(letter.as_slice()).unwrap_or_else(|| panic!("{what}: {stamped:?}"));
        let crlf = letter.windows(2).position(|two| two == b"\r\n");
        let first_lf = letter.iter().position(|&b| b == b'\n').unwrap();
        let with_crlf = crlf.is_some_and(|at| at + 1 == first_lf);
        let lines = added.iter().filter(|&&b| b == b'\n').count();
        let crlfs = added.windows(2).filter(|two| two == b"\r\n").count();
        assert_eq!(crlfs, if with_crlf { lines } else { 0 }, "{what}: its line ends");
        let added = String::from_utf8(added.to_vec()).unwrap();
        let names = added.lines().filter(|line| !line.starts_with([' ', '\t'])).count();
        assert_eq!(names, fields, "{what}: {added}");
        assert!(added.lines().all(|line| line.len() <= 78), "{what}: {added}");
        let verified =
            sender.run_with(&["verify", "--to", "bob@b.example", "--key", &key_of(&post)], &stamped.stdout);
        assert_eq!(verified.code, 0, "{what}: {verified:?}");
    }
    let mbox = [b"From alice Sun Nov 22 13:00:00 2026\n".as_slice(), LETTER].concat();
    let stamped = sender.stamp(&mbox);
    assert!(
        stamped.stdout.starts_with(b"From alice Sun Nov 22 13:00:00 2026\n"),
        "the mbox line stays first"
    );
    assert!(stamped.stdout.ends_with(LETTER));
    let message_id = |ran: &Ran| {
        let line = ran.text().lines().find(|line| line.starts_with("Message-ID: <")).unwrap().to_owned();
        assert!(line.ends_with("@a.example>"), "{line}");
        line
    };
    assert_ne!(message_id(&sender.stamp(LETTER)), message_id(&sender.stamp(LETTER)));
}

#[test]
fn a_recipient_without_a_stamp_is_named_and_nothing_is_used_up() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    assert_eq!(sender.buy("1", &post.url()).code, 0);
    let two = ["stamp", "--to", "bob@b.example", "--to", "carol@b.example"];
    let error = sender.run_with(&two, LETTER).failed(1).to_owned();
    assert!(
        error.contains("no stamp in hand for carol@b.example") && error.contains("farthing buy b.example"),
        "{error}"
    );
    assert_eq!(sender.in_hand(), 1);
    let dear = sender.run_with(&["stamp", "--to", "bob@b.example", "--value", "1c"], LETTER);
    assert!(dear.failed(1).contains("bob@b.example"));
    assert_eq!(sender.in_hand(), 1);
    let url = post.url();
    let bought = sender.run_with(&[two.as_slice(), &["--buy", "--office", &url]].concat(), LETTER);
    assert_eq!((bought.code, bought.text().matches("Postage-Stamp:").count()), (0, 2), "{bought:?}");
    assert_eq!(sender.in_hand(), 0);
    let cheap = sender.run(&["buy", "b.example", "--count", "1", "--value", "0.1c", "--office", &url]);
    assert_eq!(cheap.code, 0);
    assert_eq!(sender.buy("1", &url).code, 0);
    let least = sender.run_with(&["stamp", "--to", "bob@b.example", "--value", "0.25c"], LETTER);
    assert!(least.text().contains("n=2500;"), "{least:?}");
    assert!(sender.stamp(LETTER).text().contains("n=1000;"));
}

#[test]
fn a_letter_needs_one_author() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1c");
    assert_eq!(sender.buy("1", &post.url()).code, 0);
    for letter in [
        &b"To: bob@b.example\n\n"[..],
        b"From: a@a.example\nFrom: b@a.example\n\n",
        b"From: a@a.example, b@a.example\n\n",
        b"From: undisclosed:;\n\n",
        b"no header at all\n",
    ] {
        assert!(sender.stamp(letter).failed(65).contains("one From field"));
    }
    assert!(sender.stamp(b"").failed(65).contains("standard input"));
    assert_eq!(sender.in_hand(), 1);
}
