//! What local users sent, and what comes back to it.

use farthing::ledger::{
    Decision, Letter, Outcome, RETRIES_DAILY_MAX, Want,
    book::{How, Known, NewEntry, Sender},
    message_id_hash,
    sent::{ANSWERS_MAX, ANSWERS_WINDOW_S, Answering, SENT_RECIPIENTS_MAX, Sent},
};

use crate::support::*;

const BOB: &str = "bob@b.example";

fn hash(id: &str) -> [u8; 16] {
    message_id_hash(id.as_bytes())
}

fn sent(id: &str, recipients: &[&str]) -> Sent {
    Sent {
        now: NOW,
        author: address("bob+work@b.example"),
        recipients: recipients.iter().map(|r| address(r)).collect(),
        message_id: Some(hash(id)),
    }
}

fn answer(number: u8, id: &str, from: Option<&str>) -> Letter {
    let answering = Some(Answering { message_id: hash(id), from: from.map(domain) });
    letter(number, &[Want { answering, ..want(BOB, &[]) }])
}

async fn is_known(site: &Site, sender: &str) -> Known {
    site.ledger.known(&address(BOB), &[sender.parse::<Sender>().unwrap()]).await.unwrap()
}

async fn answerable(site: &Site, id: &str, now: u64) -> Option<(Vec<String>, bool)> {
    let found = site.ledger.answerable(&address("bob+x@b.example"), &[hash("other"), hash(id)], now).await;
    found.unwrap().map(|found| (found.domains.iter().map(ToString::to_string).collect(), found.used_up))
}

pub async fn who_is_written_to_is_known(site: &Site) {
    let ledger = &site.ledger;
    assert_eq!(ledger.learn(sent("1", &["alice@a.example", "dave@d.example"])).await.unwrap(), 2);
    assert_eq!(ledger.learn(sent("2", &["alice@a.example"])).await.unwrap(), 0, "already");
    assert_eq!(is_known(site, "alice@a.example").await, Known::Allowed);
    assert_eq!(is_known(site, "a.example").await, Known::Unknown, "nobody else there");
    let book = ledger.book_list(Some(&address(BOB))).await.unwrap();
    assert!(book.iter().all(|entry| entry.how == How::Sent && entry.since == NOW), "{book:?}");
    let block = NewEntry {
        recipient: Some(address(BOB)),
        sender: "alice@a.example".parse().unwrap(),
        block: true,
        how: How::Added,
        since: NOW,
    };
    ledger.book_add(block).await.unwrap();
    ledger.learn(sent("3", &["alice@a.example"])).await.unwrap();
    assert_eq!(is_known(site, "alice@a.example").await, Known::Blocked, "a block stays");
}

pub async fn addresses_for_bounces_alone_are_nobodys(site: &Site) {
    let ledger = &site.ledger;
    let to = [
        "prvs=2150abcdef=alice@a.example",
        "users-bounces+bob=b.example@lists.example",
        "SRS0=hash=5Z=c.example=carol@old.example",
    ];
    assert_eq!(ledger.learn(sent("1", &to)).await.unwrap(), 1);
    let book = ledger.book_list(Some(&address(BOB))).await.unwrap();
    let senders: Vec<String> = book.iter().map(|entry| entry.sender.to_string()).collect();
    assert_eq!(senders, ["alice@a.example"]);
    let (domains, _) = answerable(site, "1", NOW).await.unwrap();
    assert_eq!(
        domains,
        ["a.example", "lists.example", "old.example"],
        "what is there may answer all the same"
    );
    let tagged = ledger.answerable(&address("prvs=2150abcdef=bob@b.example"), &[hash("1")], NOW).await;
    assert!(tagged.unwrap().is_some(), "a bounce comes back to Bob's own tagged address");
}

pub async fn sent_letters_can_be_answered_for_a_while(site: &Site) {
    assert_eq!(answerable(site, "1", NOW).await, None);
    site.ledger.learn(sent("1", &["alice@a.example", "al@a.example", "dave@d.example"])).await.unwrap();
    let there = Some((vec!["a.example".into(), "d.example".into()], false));
    assert_eq!(answerable(site, "1", NOW).await, there);
    assert_eq!(answerable(site, "1", NOW + ANSWERS_WINDOW_S).await, there);
    assert_eq!(answerable(site, "1", NOW + ANSWERS_WINDOW_S + 1).await, None);
    let carols = site.ledger.answerable(&address("carol@b.example"), &[hash("1")], NOW).await.unwrap();
    assert_eq!(carols, None, "another did not send it");
}

pub async fn wide_letters_cannot_be_answered(site: &Site) {
    let many: Vec<String> = (0..=SENT_RECIPIENTS_MAX).map(|n| format!("r{n}@a.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    site.ledger.learn(sent("few", &many[..SENT_RECIPIENTS_MAX])).await.unwrap();
    assert!(answerable(site, "few", NOW).await.is_some());
    site.ledger.learn(sent("few", &many[..3])).await.unwrap();
    assert!(answerable(site, "few", NOW).await.is_some(), "the same copies again are no more recipients");
    site.ledger.learn(sent("few", &many[SENT_RECIPIENTS_MAX..])).await.unwrap();
    assert_eq!(answerable(site, "few", NOW).await, None, "one more, in a copy of his own");
    site.ledger.learn(sent("many", &many)).await.unwrap();
    assert_eq!(answerable(site, "many", NOW).await, None);
}

pub async fn letters_to_a_list_cannot_be_answered(site: &Site) {
    let list = NewEntry {
        recipient: Some(address(BOB)),
        sender: "list:users.lists.example".parse().unwrap(),
        block: false,
        how: How::Added,
        since: NOW,
    };
    site.ledger.book_add(list).await.unwrap();
    site.ledger.learn(sent("1", &["dave@d.example", "users@lists.example"])).await.unwrap();
    assert_eq!(answerable(site, "1", NOW).await, None);
}

/// A letter that bob got by a list.
fn by_list(list: &str, list_posts: &[&str], id: &str, now: u64) -> Decision {
    Decision {
        time: now,
        recipient: address("bob+lists@b.example"),
        author: Some(address("erin@e.example")),
        authenticated: false,
        message_id: Some(hash(id)),
        result: "known",
        reason: "",
        delivered: true,
        number: None,
        list: Some(list.into()),
        unsubscribe: vec![],
        reply_to: vec![],
        list_posts: list_posts.iter().map(|post| address(post)).collect(),
    }
}

pub async fn a_lists_own_letters_say_what_was_a_post(site: &Site) {
    let ledger = &site.ledger;
    let posts = ["users@lists.example", "users+x@lists.example", "team@lists.example"];
    for (n, to) in posts.into_iter().chain(["superusers@lists.example", "users@d.example"]).enumerate() {
        ledger.learn(sent(&n.to_string(), &["dave@d.example", to])).await.unwrap();
        assert!(
            answerable(site, &n.to_string(), NOW).await.is_some(),
            "nobody knows yet that {to} is a list"
        );
    }
    ledger.decided(by_list("users.lists.example", &["team@lists.example"], "x", NOW));
    ledger.health().await.unwrap();
    for (id, is_post) in [("0", true), ("1", true), ("2", true), ("3", false), ("4", false)] {
        assert_eq!(answerable(site, id, NOW).await.is_none(), is_post, "{id}");
    }
    ledger.learn(sent("later", &["team@lists.example"])).await.unwrap();
    assert_eq!(answerable(site, "later", NOW).await, None, "remembered");
    let refused = Decision { delivered: false, ..by_list("team.d.example", &[], "y", NOW) };
    ledger.decided(refused);
    ledger.health().await.unwrap();
    ledger.learn(sent("no list", &["team@d.example"])).await.unwrap();
    assert!(answerable(site, "no list", NOW).await.is_some(), "what was not let in tells nothing");
}

pub async fn what_comes_back_by_a_list_was_a_post(site: &Site) {
    site.ledger.learn(sent("1", &["everybody@elsewhere.example"])).await.unwrap();
    site.ledger.decided(by_list("all.lists.example", &[], "1", NOW));
    site.ledger.health().await.unwrap();
    assert_eq!(answerable(site, "1", NOW).await, None);
}

pub async fn a_few_answers_are_free_and_then_those_from_there(site: &Site) {
    let ledger = &*site.ledger;
    ledger.learn(sent("1", &["alice@a.example"])).await.unwrap();
    assert_eq!(redeem_one(ledger, answer(1, "never sent", None)).await, unpaid(&[]));
    for number in 1..=u8::try_from(ANSWERS_MAX).unwrap() {
        for _ in 0..3 {
            let outcome = redeem_one(ledger, answer(number, "1", None)).await;
            assert_eq!(outcome, Outcome::Answer, "{number}, and again: it counts once");
        }
    }
    assert_eq!(answerable(site, "1", NOW).await, Some((vec!["a.example".into()], true)));
    assert_eq!(redeem_one(ledger, answer(90, "1", None)).await, unpaid(&[]));
    assert_eq!(redeem_one(ledger, answer(90, "1", Some("m.example"))).await, unpaid(&[]));
    assert_eq!(redeem_one(ledger, answer(90, "1", Some("a.example"))).await, Outcome::Answer);
    let desk = redeem_one(ledger, answer(91, "1", Some("desk.a.example"))).await;
    assert_eq!(desk, Outcome::Answer, "from the same organisation");
    assert_eq!(redeem_one(ledger, answer(1, "1", None)).await, Outcome::Answer, "a retry of the first");
    // One letter brought again and again is no way round the count.
    for _ in 0..RETRIES_DAILY_MAX - 2 {
        assert_eq!(redeem_one(ledger, answer(2, "1", None)).await, Outcome::Answer);
    }
    assert_eq!(redeem_one(ledger, answer(2, "1", None)).await, Outcome::TooOften);
    let tomorrow = |days: u64| Letter { now: NOW + days * 86_400, ..answer(2, "1", None) };
    assert_eq!(redeem_one(ledger, tomorrow(1)).await, Outcome::Answer);
    assert_eq!(redeem_one(ledger, tomorrow(7)).await, unpaid(&[]), "no server tries so long");
}

pub async fn an_answer_redeems_no_stamp(site: &Site) {
    let ledger = site.with_stamps(1).await;
    ledger.learn(sent("1", &["alice@a.example"])).await.unwrap();
    let answering = Some(Answering { message_id: hash("1"), from: None });
    let both = letter(1, &[Want { answering, ..want(BOB, &[stamp(1)]) }]);
    assert_eq!(redeem_one(ledger, both).await, Outcome::Answer);
    assert_eq!(site.balance("escrow:b.example").await, 0);
}

pub async fn an_answer_refused_for_another_counts_nothing(site: &Site) {
    let ledger = &*site.ledger;
    ledger.learn(sent("1", &["alice@a.example"])).await.unwrap();
    let answering = Some(Answering { message_id: hash("1"), from: None });
    for number in 0..20 {
        let bobs = Want { answering: answering.clone(), ..want(BOB, &[]) };
        let outcomes = ledger.redeem(letter(number, &[bobs, want("carol@b.example", &[])])).await.unwrap();
        assert_eq!(outcomes, [Outcome::Answer, unpaid(&[])]);
    }
    assert_eq!(answerable(site, "1", NOW).await, Some((vec!["a.example".into()], false)));
}

pub async fn answers_raced_are_counted_one_by_one(site: &Site) {
    site.ledger.learn(sent("1", &["alice@a.example"])).await.unwrap();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..20 {
        let ledger = site.engine.open();
        asked.spawn(async move { redeem_one(&*ledger, answer(number, "1", None)).await });
    }
    let outcomes = asked.join_all().await;
    let let_in = outcomes.iter().filter(|outcome| **outcome == Outcome::Answer).count();
    assert_eq!(let_in, ANSWERS_MAX as usize, "{outcomes:?}");
}
