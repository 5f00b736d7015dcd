//! Buying: what can be wrong with it, and what comes of orders large and left open.

use super::*;

#[test]
fn what_is_wrong_with_a_purchase_is_said_in_one_line() {
    let post = Post::start();
    let sender = Sender::new();
    let url = post.url();
    let error = sender.buy("10", &url).failed(1).to_owned();
    assert!(
        error.contains("holds 0c") && error.contains("2.5c") && error.contains(&sender.account()),
        "{error}"
    );
    assert_eq!(sender.open_orders(), 0, "what was refused is not tried again");
    post.credit(&sender.account(), "10.00");
    let out_of_bounds = sender.run(&["buy", "b.example", "--value", "11c", "--office", &url]);
    assert!(out_of_bounds.failed(65).contains("100000 micros"));
    assert!(sender.run(&["buy", "c.example", "--office", &url]).failed(65).contains("--value"));
    let foreign = sender.run(&["buy", "c.example", "--value", "0.3c", "--office", &url]);
    assert_eq!(foreign.code, 0, "an office sells for any domain: {foreign:?}");
    assert!(sender.buy("1", "http://192.0.2.1/").failed(65).contains("on this machine"));
    assert!(sender.buy("1", "http://127.0.0.1:1/").failed(69).contains("cannot be reached"));
    assert!(sender.run(&["buy", "b.example"]).failed(75).contains("DNS"), "no name server answers");
    for usage in [
        &["buy"][..],
        &["buy", "bob@b.example"],
        &["buy", "b.example", "--count", "0"],
        &["buy", "b.example", "--value", "1.5u"],
        &["stamp"],
        &["stamp", "--to", "bob"],
        &["stamp", "--to", "bob@b.example", "--office", &url],
        &["verify"],
        &["verify", "--to", "bob@b.example", "--key", "b.example:s1"],
        &["verify", "--to", "bob@b.example", "--key", "b.example:s1:AAAA"],
    ] {
        let ran = sender.run_with(usage, LETTER);
        assert_eq!((ran.code, ran.stdout.len()), (64, 0), "{usage:?}: {ran:?}");
    }
    post.proof();
}

#[test]
fn an_answer_that_does_not_verify_brings_nothing_into_the_purse() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    net.be(Manner::Tampered);
    assert!(sender.buy("3", &net.url()).failed(69).contains("does not verify"));
    assert_eq!((sender.in_hand(), sender.open_orders()), (0, 1));
    net.be(Manner::Honest);
    assert_eq!(sender.buy("3", &net.url()).code, 0);
    assert_eq!(sender.in_hand(), 3);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 7_500);
}

#[test]
fn an_order_left_open_is_finished_though_the_office_signs_with_another_key_now() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    net.be(Manner::Lost);
    sender.buy("2", &net.url()).failed(69);
    farthing::keys::new_office_key(&post.config().keys_directory(), farthing::clock::unix_now()).unwrap();
    post.reload();
    net.be(Manner::Honest);
    assert_eq!(sender.buy("3", &net.url()).code, 0);
    assert_eq!(sender.in_hand(), 3);
    let selectors: HashSet<String> = (0..3)
        .map(|_| {
            let stamped = sender.stamp(LETTER);
            let at = stamped.text().find("; s=").unwrap();
            stamped.text()[at + 4..].split(';').next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(selectors.len(), 2);
}

#[test]
fn a_wallet_is_shown_though_its_office_does_not_answer() {
    let mut post = Post::start();
    let sender = Sender::with_money(&post, "1c");
    assert_eq!(sender.buy("1", &post.url()).code, 0);
    assert!(post.stop());
    let show = sender.run(&["--json", "wallet", "show"]);
    assert_eq!(show.code, 0, "{show:?}");
    assert!(show.stderr.contains("cannot be reached"), "{show:?}");
    assert_eq!(show.json()["offices"], json!([{"office": "b.example", "balance": null}]));
    assert_eq!(show.json()["stamps"][0]["count"], 1);
    assert_eq!(sender.stamp(LETTER).code, 0, "a stamp in hand needs no office");
}

#[test]
fn more_than_one_order_holds_is_bought_in_several() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "10.00");
    let bought = sender.json(&["buy", "b.example", "--count", "2500", "--office", &post.url()]);
    assert_eq!((&bought["count"], &bought["in_hand"]), (&json!(2500), &json!(2500)));
    assert_eq!(post.account(&sender.account()).balance.get(), 10_000_000 - 2500 * 2500);
    assert_eq!(sender.stamp(LETTER).code, 0);
    assert_eq!(sender.in_hand(), 2499);
    post.proof();
}

#[test]
fn with_dns_nothing_else_need_be_known() {
    let post = Post::start();
    let zone = ZoneServer::start().unwrap();
    let mut sender = Sender::with_money(&post, "1.00");
    sender.dns = zone.address().to_string();
    let keys = post.keys();
    let key = keys.signing().unwrap();
    zone.txt("_postage.b.example", format!("v=postage1; c=USD; n=2500; i=b.example; w=20; u={}", post.url()))
        .txt(
            &format!("{}._postage.b.example", key.selector),
            farthing::stamp::records::write_key(&key.public),
        );

    let price = sender.json(&["price", "bob@b.example"]);
    let expected = json!({
        "to": "bob@b.example", "micros": 2500, "currency": "USD", "work_bits": 20,
        "offices": [{"office": "b.example", "url": post.url()}],
    });
    assert_eq!(price, expected);
    assert!(sender.run(&["price", "bob@b.example"]).text().contains("0.25c USD"));
    assert!(sender.run(&["price", "eve@c.example"]).failed(1).contains("c.example says nothing"));
    assert!(sender.run(&["buy", "c.example"]).failed(1).contains("--office"));

    assert_eq!(sender.run(&["buy", "b.example"]).code, 0);
    assert_eq!(sender.in_hand(), 10);
    let stamped = sender.stamp(LETTER);
    let verified = sender.run_with(&["verify", "--to", "bob@b.example"], &stamped.stdout);
    assert_eq!(verified.code, 0, "{verified:?}");
    // A word a stamp, for scripts without JSON.
    assert!(verified.text().starts_with("ok ") && verified.text().lines().count() == 1, "{verified:?}");
    let bought = sender.run_with(&["stamp", "--to", "a@b.example", "--value", "0.5c", "--buy"], LETTER);
    assert!(bought.text().contains("n=5000;"), "{bought:?}");

    // The domain's published price holds where none is given; another office at that place is none of it.
    zone.remove("_postage.b.example");
    zone.txt("_postage.b.example", format!("v=postage1; c=USD; n=9999; i=b.example; u={}", post.url()));
    let underpaid = sender.run_with(&["--json", "verify", "--to", "bob@b.example"], &stamped.stdout);
    assert_eq!((underpaid.code, &underpaid.json()["stamps"][0]["result"]), (1, &json!("underpaid")));
    zone.remove("_postage.b.example");
    zone.txt("_postage.b.example", format!("v=postage1; c=USD; n=2500; i=post.example; u={}", post.url()));
    for priced in [&[][..], &["--price", "0.25c", "--currency", "USD"]] {
        let arguments = [&["--json", "verify", "--to", "bob@b.example"], priced].concat();
        let elsewhere = sender.run_with(&arguments, &stamped.stdout);
        let word = (elsewhere.code, elsewhere.json()["stamps"][0]["result"].clone());
        assert_eq!(word, (1, json!("unknown-issuer")), "{priced:?}");
    }
    zone.remove("_postage.b.example");
    zone.txt("_postage.b.example", format!("v=postage1; c=USD; n=2500; i=b.example; u={}", post.url()));
    zone.txt("_postage.d.example", "v=postage1; c=USD; n=2500; i=post.example");
    zone.txt("_postage.post.example", format!("v=postage1; c=USD; n=1; i=post.example; u={}", post.url()));
    assert!(sender.run(&["buy", "d.example"]).failed(69).contains("not post.example"));
    zone.txt("_postage.e.example", "v=postage1; c=EUR; n=2500; i=b.example");
    assert!(sender.run(&["buy", "e.example"]).failed(69).contains("EUR"));

    // `-c` names the server too, whatever else is in the file or missing.
    let config = sender.directory.path().join("other.toml");
    fs::write(&config, format!("[gate]\nmode = 7\n[dns]\nservers = [\"{}\"]\n", zone.address())).unwrap();
    sender.dns = "127.0.0.1:1".into();
    let with_config = sender.run(&["-c", config.to_str().unwrap(), "price", "bob@b.example"]);
    assert_eq!(with_config.code, 0, "{with_config:?}");
    assert!(
        sender.run_with(&["verify", "--to", "bob@b.example"], &stamped.stdout).failed(75).contains("DNS")
    );
    sender.dns = "dns.example:53".into();
    assert!(sender.run(&["price", "bob@b.example"]).failed(78).contains("$FARTHING_DNS"));
}
