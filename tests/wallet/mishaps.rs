//! Lost answers, programs killed and programs at once: no stamp and no money is lost, none is used twice.

use super::*;

/// Calls of the system by which a wallet is made, read and written, an office is asked and an answer given.
const STEPS: [&str; 13] = [
    "mkdir",
    "openat",
    "flock",
    "unlink",
    "write",
    "fsync",
    "rename",
    "renameat2",
    "socket",
    "connect",
    "sendto",
    "recvfrom",
    "exit_group",
];

/// Runs a command again and again, killed each time just before its next step of each kind, until it gets past all of
/// them; what is true between two steps is looked at after each.
fn killed_before_each_step(
    sender: &Sender,
    arguments: &[&str],
    stdin: &[u8],
    mut afterwards: impl FnMut(&str, &Ran),
) -> usize {
    let mut killed = 0;
    for step in STEPS {
        for n in 1.. {
            let (trace, kill) = (format!("trace={step}"), format!("inject={step}:signal=KILL:when={n}"));
            let strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &kill];
            let mut child = sender.command_under(&strace, arguments).spawn().unwrap();
            let _ = child.stdin.take().unwrap().write_all(stdin);
            let ran = finished(child);
            afterwards(&format!("{step} {n}"), &ran);
            // One that is killed has no exit code.
            if ran.code != -1 {
                break;
            }
            killed += 1;
        }
    }
    killed
}

/// The id of the one stamp on a letter.
fn stamp_id(letter: &[u8]) -> String {
    let letter = std::str::from_utf8(letter).unwrap().replace("\r\n", "").replace('\n', "");
    let after = letter.split("Postage-Stamp:").nth(1).unwrap();
    after.split("id=").nth(1).unwrap().split(';').next().unwrap().split_whitespace().collect()
}

/// Micros that the wallet says it has put on letters today.
fn spent(sender: &Sender) -> u64 {
    let show = sender.json(&["wallet", "show"]);
    show["spent_today"].as_array().unwrap().iter().map(|sum| sum["micros"].as_u64().unwrap()).sum()
}

#[test]
fn killed_before_any_step_a_new_wallet_is_whole_or_not_there() {
    let sender = Sender::without_wallet();
    let killed = killed_before_each_step(&sender, &["wallet", "new"], b"", |step, _| {
        let again = sender.run(&["wallet", "new"]);
        assert!(again.code == 0 || again.failed(1).contains("already"), "{step}: {again:?}");
        assert_eq!(sender.run(&["wallet", "show"]).code, 0, "{step}");
        fs::remove_file(sender.path()).unwrap();
    });
    assert!(killed > 10, "{killed}");
}

#[test]
fn killed_before_any_step_of_buying_all_money_is_stamps_or_on_the_account() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "10.00");
    let url = post.url();
    let purchase = ["buy", "b.example", "--count", "2", "--office", &url];
    let worth = |micros: u64| micros / 2_500;
    let killed = killed_before_each_step(&sender, &purchase, b"", |step, ran| {
        assert!(matches!(ran.code, -1 | 0), "{step}: {ran:?}");
        let show = sender.json(&["wallet", "show"]);
        let orders = show["open_orders"].as_array().unwrap();
        let ordered: u64 = orders.iter().map(|order| order["count"].as_u64().unwrap()).sum();
        let paid = worth(10_000_000 - post.account(&sender.account()).balance.get());
        let in_hand = sender.in_hand();
        // An order that is not answered is paid for or not; nothing else is in doubt.
        assert!(
            (in_hand..=in_hand + ordered).contains(&paid),
            "{step}: {in_hand}, {ordered} ordered, {paid} paid"
        );
        assert!(ordered <= 2, "{step}: what was left open is finished first, not ordered again");
    });
    assert!(killed > 30, "{killed}");
    let last = sender.buy("1", &url);
    assert_eq!(last.code, 0, "{last:?}");
    let paid = worth(10_000_000 - post.account(&sender.account()).balance.get());
    assert_eq!((sender.in_hand(), sender.open_orders()), (paid, 0));
    post.proof();
}

#[test]
fn killed_before_any_step_of_stamping_no_stamp_is_on_two_letters_or_gone_unsaid() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    assert_eq!(sender.buy("100", &post.url()).code, 0);
    let mut ids = HashSet::new();
    let mut letters = 0;
    let killed =
        killed_before_each_step(&sender, &["stamp", "--to", "bob@b.example"], LETTER, |step, ran| {
            if !ran.stdout.is_empty() {
                letters += 1;
                assert!(ids.insert(stamp_id(&ran.stdout)), "{step}: on two letters");
            }
            let (in_hand, spent) = (sender.in_hand(), spent(&sender) / 2_500);
            assert_eq!(in_hand + spent, 100, "{step}: every stamp is in hand or spent");
            assert!(letters <= spent, "{step}: what came out was spent before");
        });
    assert!(killed > 10 && letters > 10, "{killed} {letters}");
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 100 * 2_500);
    post.proof();
}

/// A full or failing disk: the wallet stays whole, and no letter comes out whose stamp might be used again.
#[test]
fn on_a_disk_in_trouble_no_letter_comes_out_and_no_stamp_is_lost() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    assert_eq!(sender.buy("30", &post.url()).code, 0);
    let mut refused = 0;
    for (call, error) in [("write", "ENOSPC"), ("fsync", "EIO"), ("rename", "EIO"), ("unlink", "EACCES")] {
        for n in 1..=3 {
            let (trace, fault) = (format!("trace={call}"), format!("inject={call}:error={error}:when={n}"));
            let strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &fault];
            let mut child =
                sender.command_under(&strace, &["stamp", "--to", "bob@b.example"]).spawn().unwrap();
            child.stdin.take().unwrap().write_all(LETTER).unwrap();
            let ran = finished(child);
            let what = format!("{call} {n}");
            if ran.code != 0 {
                refused += 1;
                assert!(ran.stdout.is_empty(), "{what}: {ran:?}");
                assert_eq!(ran.code, 74, "{what}: {ran:?}");
            }
            assert_eq!(sender.in_hand() + spent(&sender) / 2_500, 30, "{what}");
        }
    }
    assert!(refused >= 5, "{refused}");
    let left = sender.directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What the disk is told, and in which order: a power cut at any instant leaves the old wallet or the new one.
#[test]
fn a_wallet_is_safe_on_disk_before_it_has_the_name_and_before_anything_is_said() {
    let sender = Sender::new();
    let trace = sender.directory.path().join("trace");
    let (output, calls) = (trace.to_str().unwrap(), "trace=openat,write,fsync,rename");
    let strace = ["strace", "-f", "-qqq", "-y", "-o", output, "-e", calls];
    let child = sender.command_under(&strace, &["wallet", "set", "--ahead", "3"]).spawn().unwrap();
    assert_eq!(finished(child).code, 0);
    let trace = fs::read_to_string(&trace).unwrap();
    let directory = sender.directory.path().canonicalize().unwrap();
    let new = directory.join(".wallet.json.new");
    let (new, directory) = (new.to_str().unwrap(), directory.to_str().unwrap());
    let mut lines = trace.lines();
    for (call, of) in [
        ("write(", format!("<{new}>")),
        ("fsync(", format!("<{new}>")),
        ("rename(", format!("\"{new}\", ")),
        ("fsync(", format!("<{directory}>")),
        ("write(1<", String::new()),
    ] {
        let found = lines.any(|line| line.contains(call) && line.contains(&of));
        assert!(found, "{call}{of} in its turn: {trace}");
    }
}

#[test]
fn a_stamp_in_hand_waits_for_no_purchase() {
    let post = Post::start();
    let net = Proxy::start(post.address);
    let sender = Sender::with_money(&post, "1.00");
    assert_eq!(sender.buy("2", &net.url()).code, 0);
    net.be(Manner::Silent);
    let answered = net.orders_answered();
    let purchase = ["buy", "b.example", "--count", "5", "--office", &net.url()];
    let mut buyer = sender.command(&purchase).spawn().unwrap();
    wait_until("the order to be done", || net.orders_answered() > answered);
    let letters = [sender.stamp(LETTER), sender.stamp(LETTER)];
    assert!(letters.iter().all(|ran| ran.code == 0), "{letters:?}");
    assert!(buyer.try_wait().unwrap().is_none(), "it still waits for the office");
    assert!(sender.stamp(LETTER).failed(1).contains("no stamp in hand"));
    buyer.kill().unwrap();
    buyer.wait().unwrap();
    net.be(Manner::Honest);
    // Stamped meanwhile or not: the order left behind is finished, once.
    assert_eq!(sender.json(&["buy", "b.example", "--up-to", "5", "--office", &net.url()])["in_hand"], 5);
    assert_eq!(sender.json(&["buy", "b.example", "--up-to", "5", "--office", &net.url()])["count"], 0);
    assert_eq!(post.account(&sender.account()).balance.get(), 1_000_000 - 7 * 2_500);
    assert_ne!(stamp_id(&letters[0].stdout), stamp_id(&letters[1].stdout));
}

#[test]
fn many_who_buy_and_stamp_at_once_never_share_a_stamp() {
    let post = Post::start();
    let sender = Sender::with_money(&post, "1.00");
    let url = post.url();
    let started = |arguments: &[&str]| {
        let mut child = sender.command(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(LETTER).unwrap();
        child
    };
    let stamp = ["stamp", "--to", "bob@b.example", "--buy", "--office", &url];
    let up_to = ["buy", "b.example", "--up-to", "2", "--office", &url];
    let (mut letters, mut buyers) = (vec![], vec![]);
    for _ in 0..12 {
        letters.push(started(&stamp));
        buyers.push(started(&up_to));
    }
    for buyer in buyers {
        let ran = finished(buyer);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let letters: Vec<Ran> = letters.into_iter().map(finished).collect();
    let out = letters.iter().filter(|ran| ran.code == 0);
    let ids: Vec<String> = out.map(|ran| stamp_id(&ran.stdout)).collect();
    assert_eq!(ids.len(), 12, "{letters:?}");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 12, "each stamp on one letter");
    let (in_hand, paid) = (sender.in_hand(), 1_000_000 - post.account(&sender.account()).balance.get());
    assert_eq!((in_hand + 12, 12 * 2_500), (paid / 2_500, spent(&sender)));
    assert!(in_hand <= 14, "nobody buys more than is missing and what he needs himself: {in_hand}");
    post.proof();
}

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
