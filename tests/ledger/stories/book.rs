//! Who is known to whom.

use farthing::{
    address::Address,
    ledger::{
        LedgerError,
        book::{BookEntry, How, Known, MEMO_OCTETS_MAX, NewEntry, Sender},
    },
};

use crate::support::*;

fn entry(recipient: Option<&str>, sender: &str) -> NewEntry {
    NewEntry {
        recipient: recipient.map(address),
        sender: sender.parse().unwrap(),
        block: false,
        how: How::Added,
        since: NOW,
    }
}

fn block(recipient: Option<&str>, sender: &str) -> NewEntry {
    NewEntry { block: true, ..entry(recipient, sender) }
}

async fn known(site: &Site, recipient: &str, senders: &[&str]) -> Known {
    let senders: Vec<Sender> = senders.iter().map(|s| s.parse().unwrap()).collect();
    site.ledger.known(&address(recipient), &senders).await.unwrap()
}

pub async fn entries_are_written_once_and_taken_out_once(site: &Site) {
    let (bob, sender) = (address("bob@b.example"), "alice@a.example".parse::<Sender>().unwrap());
    assert!(site.ledger.book_add(entry(Some("bob@b.example"), "alice@a.example")).await.unwrap());
    let again =
        NewEntry { how: How::Sent, since: NOW + 9, ..entry(Some("bob@b.example"), "alice@a.example") };
    assert!(!site.ledger.book_add(again).await.unwrap());
    let book = site.ledger.book_list(Some(&bob)).await.unwrap();
    let stands = BookEntry {
        recipient: Some(bob.clone()),
        sender: sender.clone(),
        block: false,
        how: How::Added,
        since: NOW,
        memo: String::new(),
    };
    assert_eq!(book, std::slice::from_ref(&stands));
    let why = "met at the fair";
    assert!(site.ledger.book_memo(Some(&bob), &sender, why).await.unwrap());
    assert!(!site.ledger.book_memo(None, &sender, why).await.unwrap(), "the site's book is another");
    let long = site.ledger.book_memo(Some(&bob), &sender, &"x".repeat(MEMO_OCTETS_MAX + 1)).await;
    assert!(matches!(long, Err(LedgerError::Invalid(_))), "{long:?}");
    let book = site.ledger.book_list(Some(&bob)).await.unwrap();
    assert_eq!(book, [BookEntry { memo: why.into(), ..stands }]);
    assert!(!site.ledger.book_remove(None, &sender).await.unwrap(), "the site's book is another");
    assert!(site.ledger.book_remove(Some(&bob), &sender).await.unwrap());
    assert!(!site.ledger.book_remove(Some(&bob), &sender).await.unwrap());
    assert_eq!(known(site, "bob@b.example", &["alice@a.example"]).await, Known::Unknown);
}

pub async fn the_strongest_entry_counts(site: &Site) {
    for new in [
        entry(Some("bob@b.example"), "alice@a.example"),
        entry(Some("bob@b.example"), "friends.example"),
        entry(Some("bob@b.example"), "list:users.list.example"),
        entry(None, "partner.example"),
        block(Some("bob@b.example"), "spam@friends.example"),
        block(None, "pest.example"),
    ] {
        assert!(site.ledger.book_add(new).await.unwrap());
    }
    let table: &[(&str, &[&str], Known)] = &[
        ("bob@b.example", &["alice@a.example", "a.example"], Known::Allowed),
        ("eve@b.example", &["alice@a.example", "a.example"], Known::Unknown),
        ("bob@b.example", &["a.example"], Known::Unknown),
        ("bob@b.example", &["carol@friends.example", "friends.example"], Known::Allowed),
        ("bob@b.example", &["spam@friends.example", "friends.example"], Known::Blocked),
        ("bob@b.example", &["friends.example", "spam@friends.example"], Known::Blocked),
        ("bob@b.example", &["x@y.example", "list:users.list.example"], Known::Allowed),
        ("eve@b.example", &["x@partner.example", "partner.example"], Known::Allowed),
        ("bob@b.example", &["x@pest.example", "pest.example"], Known::Blocked),
        ("bob@b.example", &[], Known::Unknown),
    ];
    for (recipient, senders, expected) in table {
        assert_eq!(known(site, recipient, senders).await, *expected, "{senders:?} to {recipient}");
    }
}

pub async fn a_zone_is_a_domain_and_all_below_it(site: &Site) {
    let add = async |new| site.ledger.book_add(new).await.unwrap();
    let names = |author: &str| Sender::names_of_author(&address(author));
    let says = async |author| site.ledger.known(&address("bob@b.example"), &names(author)).await.unwrap();
    assert!(add(entry(Some("bob@b.example"), ".shop.example")).await);
    for (author, known) in [
        ("a@shop.example", Known::Allowed),
        ("a@news.shop.example", Known::Allowed),
        ("a@x.y.news.shop.example", Known::Allowed),
        ("a@othershop.example", Known::Unknown),
        ("a@shop.example.net", Known::Unknown),
    ] {
        assert_eq!(says(author).await, known, "{author}");
    }
    assert!(add(block(None, ".pest.example")).await);
    let learned = NewEntry { how: How::Sent, ..entry(Some("bob@b.example"), "al@x.pest.example") };
    assert!(add(learned).await);
    assert_eq!(says("al@x.pest.example").await, Known::Blocked, "what was only learned excepts nobody");
    assert!(add(entry(Some("bob@b.example"), "friend@x.pest.example")).await);
    assert_eq!(says("friend@x.pest.example").await, Known::Allowed, "by hand, and more exact");
    assert_eq!(says("foe@x.pest.example").await, Known::Blocked);
    let eves = site.ledger.known(&address("eve@b.example"), &names("friend@x.pest.example")).await.unwrap();
    assert_eq!(eves, Known::Blocked, "an exception of bob's alone");
}

pub async fn nobody_welcomes_all_the_world(site: &Site) {
    for sender in [".com", ".co.uk", ".github.io"] {
        let refused = site.ledger.book_add(entry(None, sender)).await;
        assert!(matches!(refused, Err(LedgerError::Invalid(_))), "{sender}: {refused:?}");
        let both = vec![entry(None, "alice@a.example"), entry(None, sender)];
        assert!(matches!(site.ledger.book_add_all(both).await, Err(LedgerError::Invalid(_))), "{sender}");
        assert!(site.ledger.book_add(block(None, sender)).await.unwrap(), "{sender}");
    }
    let entries = site.ledger.book_list(None).await.unwrap();
    assert_eq!(entries.len(), 3, "of many entries all or none: {entries:?}");
}

pub async fn blocks_give_way_by_hand_only(site: &Site) {
    let bob = Some("bob@b.example");
    let add = async |new| site.ledger.book_add(new).await.unwrap();
    assert!(add(entry(bob, "alice@a.example")).await);
    assert!(add(block(bob, "alice@a.example")).await, "a block is written over a welcome");
    assert!(!add(block(bob, "alice@a.example")).await);
    for how in [How::Wanted, How::Sent, How::Reply, How::Imported] {
        assert!(!add(NewEntry { how, ..entry(bob, "alice@a.example") }).await, "{how:?}");
    }
    assert_eq!(known(site, "bob@b.example", &["alice@a.example"]).await, Known::Blocked);
    assert!(add(entry(bob, "alice@a.example")).await);
    assert_eq!(known(site, "bob@b.example", &["alice@a.example"]).await, Known::Allowed);
}

pub async fn any_sender_can_be_read_back(site: &Site) {
    let mut senders: Vec<Sender> = [
        "alice@a.example",
        "\"list:x y\"@a.example",
        "\"a@b\"@a.example",
        "\".a\"@a.example",
        "a.example",
        ".a.example",
        ".com",
        "list:a@b.example",
    ]
    .map(|s| s.parse().unwrap())
    .into();
    senders.push(Sender::Address(Address::parse(b"zo\xeb@a.example").unwrap()));
    for sender in &senders {
        let new = NewEntry { sender: sender.clone(), ..block(Some("bob@b.example"), "x.example") };
        assert!(site.ledger.book_add(new).await.unwrap());
    }
    let bob = address("bob@b.example");
    let mut found: Vec<_> =
        site.ledger.book_list(Some(&bob)).await.unwrap().into_iter().map(|e| e.sender).collect();
    found.sort();
    senders.sort();
    assert_eq!(found, senders);
}

pub async fn the_book_is_that_of_the_address_without_detail(site: &Site) {
    assert!(site.ledger.book_add(entry(Some("bob+shop@b.example"), "alice@a.example")).await.unwrap());
    for recipient in ["bob@b.example", "bob+shop@b.example", "bob+x@b.example"] {
        assert_eq!(known(site, recipient, &["alice@a.example"]).await, Known::Allowed, "{recipient}");
    }
    let book = site.ledger.book_list(Some(&address("bob+y@b.example"))).await.unwrap();
    assert_eq!(book[0].recipient, Some(address("bob@b.example")));
    let removed = site.ledger.book_remove(Some(&address("bob+z@b.example")), &book[0].sender).await.unwrap();
    assert!(removed);
}

pub async fn what_another_handle_wrote_is_seen_at_once(site: &Site) {
    let other = site.engine.open();
    for round in 0..20 {
        assert_eq!(known(site, "bob@b.example", &["alice@a.example"]).await, Known::Unknown, "{round}");
        assert!(other.book_add(entry(Some("bob@b.example"), "alice@a.example")).await.unwrap());
        assert_eq!(known(site, "bob@b.example", &["alice@a.example"]).await, Known::Allowed, "{round}");
        let sender = "alice@a.example".parse().unwrap();
        assert!(other.book_remove(Some(&address("bob@b.example")), &sender).await.unwrap());
    }
    assert!(other.book_list(None).await.unwrap().is_empty());
}
