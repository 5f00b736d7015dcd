//! Lost answers, programs killed and programs at once: no stamp and no money is lost, none is used twice.

use super::*;

#[test]
fn an_order_whose_answer_was_lost_is_charged_once() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    net.be(Manner::Lost);
    assert!(sender.buy("10", &net.url()).failed(69).contains("cannot be reached"));
    assert_eq!((sender.in_hand(), sender.open_orders()), (0, 1));
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 25_000, "the office did its part");
    assert!(sender.buy("10", &net.url()).failed(69).contains("cannot be reached"), "and again");
    net.be(Manner::Honest);
    let bought = sender.json(&["buy", "b.example", "--count", "10", "--office", &net.url()]);
    assert_eq!((&bought["count"], &bought["in_hand"]), (&json!(10), &json!(10)));
    assert_eq!(sender.open_orders(), 0);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 25_000, "charged once");

    net.be(Manner::Lost);
    sender.buy("4", &net.url()).failed(69);
    net.be(Manner::Honest);
    let more = sender.json(&["buy", "b.example", "--count", "6", "--office", &net.url()]);
    assert_eq!(
        (&more["count"], &more["in_hand"]),
        (&json!(6), &json!(16)),
        "four of the six had been ordered"
    );
    net.be(Manner::Lost);
    sender.buy("3", &net.url()).failed(69);
    net.be(Manner::Honest);
    let other = sender.json(&["buy", "bb.example", "--count", "2", "--office", &net.url()]);
    assert_eq!((&other["count"], &other["others"]), (&json!(2), &json!(3)));
    assert_eq!(sender.in_hand(), 21);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 21 * 2500);
    post.proof();
}

#[test]
fn killed_between_order_and_answer_nothing_is_lost_and_nothing_paid_twice() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    for round in 1..=3 {
        net.be(Manner::Silent);
        let answered = net.orders_answered();
        let mut child =
            sender.command(&["buy", "b.example", "--count", "5", "--office", &net.url()]).spawn().unwrap();
        wait_until("the order to be done", || net.orders_answered() > answered);
        child.kill().unwrap();
        child.wait().unwrap();
        net.be(Manner::Honest);
        assert_eq!(sender.buy("5", &net.url()).code, 0);
        assert_eq!(sender.in_hand(), round * 5);
        assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - round * 5 * 2500);
    }
    post.proof();
}

#[test]
fn killed_at_any_instant_the_wallet_is_whole_and_every_micro_is_somewhere() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    let url = post.url();
    for step in 0..25 {
        let mut child =
            sender.command(&["buy", "b.example", "--count", "3", "--office", &url]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(step * 2));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // One more purchase finishes whatever was left open.
    assert_eq!(sender.buy("3", &url).code, 0);
    assert_eq!(sender.open_orders(), 0);
    let spent = 1_000_000 - post.account(&sender.account()).balance.get();
    assert_eq!(sender.in_hand() * 2500, spent);
    post.proof();
}

#[test]
fn two_programs_at_once_take_turns() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    let url = post.url();
    let buyers: Vec<Child> = (0..4)
        .map(|_| sender.command(&["buy", "b.example", "--count", "3", "--office", &url]).spawn().unwrap())
        .collect();
    for buyer in buyers {
        let ran = finished(buyer);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(sender.in_hand(), 12);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 12 * 2500);

    let stampers: Vec<Child> = (0..16)
        .map(|_| {
            let mut child = sender.command(&["stamp", "--to", "bob@b.example"]).spawn().unwrap();
            child.stdin.take().unwrap().write_all(LETTER).unwrap();
            child
        })
        .collect();
    let ran: Vec<Ran> = stampers.into_iter().map(finished).collect();
    let ids: HashSet<String> = ran
        .iter()
        .filter(|ran| ran.code == 0)
        .map(|ran| {
            let checked = sender.run_with(
                &["--json", "verify", "--to", "bob@b.example", "--key", &key_of(&post)],
                &ran.stdout,
            );
            checked.json()["stamps"][0]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 12, "each stamp on one letter");
    assert_eq!(ran.iter().filter(|ran| ran.code == 1).count(), 4, "and four found none");
    assert_eq!(sender.in_hand(), 0);
}
