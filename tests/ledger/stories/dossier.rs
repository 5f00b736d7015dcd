//! What the books say of a letter in one look.

use farthing::ledger::{
    book::{How, Known, NewEntry, Sender},
    dossier::{About, Dossier, Recipient},
    freepost::NewLabel,
    message_id_hash,
    passes::{Got, NewPass},
    sent::Sent,
    settings::{OwnPrice, OwnSettings},
};

use crate::support::*;

const BOB: &str = "bob+x@b.example";
const EVE: &str = "eve@b.example";

fn known(recipient: &str, sender: &str, block: bool) -> NewEntry {
    let (recipient, sender) = (Some(address(recipient)), sender.parse().unwrap());
    NewEntry { recipient, sender, block, how: How::Added, since: NOW }
}

fn about(author: &str) -> About {
    let recipient = |to: &str, freepost| Recipient { address: address(to), freepost };
    About {
        now: NOW,
        recipients: vec![
            recipient(BOB, Some((address("bob@b.example"), "shop".into()))),
            recipient(EVE, None),
        ],
        senders: vec![Sender::Address(address(author))],
        list: Sender::names_of_list("news.a.example"),
        answers: vec![message_id_hash(b"1@b.example")],
        bearer: Some(address(author)),
    }
}

pub async fn one_look_says_what_each_question_would(site: &Site) {
    let ledger = &*site.ledger;
    assert_eq!(ledger.dossiers(About::default()).await.unwrap(), []);
    let nothing = [Dossier::default(), Dossier::default()];
    assert_eq!(ledger.dossiers(about("alice@a.example")).await.unwrap(), nothing, "of strangers");

    for author in ["alice@a.example", "al@a.example", "mal@a.example"] {
        let pass = NewPass {
            now: NOW,
            author: address(author),
            recipient: address(BOB),
            got: Got::Work(message_id_hash(author.as_bytes())),
        };
        ledger.pass_add(pass).await.unwrap();
    }
    ledger.book_add(known(BOB, "al@a.example", false)).await.unwrap();
    ledger.book_add(known(BOB, "mal@a.example", true)).await.unwrap();
    ledger.book_add(known(BOB, "list:news.a.example", false)).await.unwrap();
    ledger.book_add(known(EVE, "news@a.example", false)).await.unwrap();
    let label = NewLabel { owner: address("bob@b.example"), label: "shop".into(), expiry_day: 0, now: NOW };
    ledger.freepost_add(label).await.unwrap();
    let price = Some(OwnPrice { value: micros(9_000), public: true });
    ledger.set_price(&address(BOB), price).await.unwrap();
    let sent = Sent {
        now: NOW,
        author: address(BOB),
        recipients: vec![address("alice@a.example")],
        message_id: Some(message_id_hash(b"1@b.example")),
    };
    ledger.learn(sent).await.unwrap();
    ledger.book_remove(Some(&address(BOB)), &"alice@a.example".parse().unwrap()).await.unwrap();

    for (author, book, passes) in [
        ("alice@a.example", Known::Unknown, 1),
        ("al@a.example", Known::Allowed, 0),
        ("mal@a.example", Known::Blocked, 0),
        ("ann@a.example", Known::Unknown, 0),
    ] {
        let [bob, eve] = ledger.dossiers(about(author)).await.unwrap().try_into().unwrap();
        assert_eq!((bob.author, bob.passes.len()), (book, passes), "{author}");
        assert_eq!((bob.list, bob.list_by_id), (Known::Allowed, true));
        assert_eq!(bob.answers.unwrap().message_id, message_id_hash(b"1@b.example"));
        assert_eq!(bob.settings, OwnSettings { price, ..OwnSettings::default() });
        assert!(!bob.freepost_revoked);
        let by_address = Dossier { list: Known::Allowed, ..Dossier::default() };
        assert_eq!(eve, by_address, "what is Bob's is none of Eve's; she knows the list by its address");
    }
    assert_eq!(
        ledger.dossiers(About { bearer: None, ..about("alice@a.example") }).await.unwrap()[0].passes,
        []
    );
    ledger.freepost_revoke(&address("bob@b.example"), "shop", NOW).await.unwrap();
    assert!(ledger.dossiers(about("alice@a.example")).await.unwrap()[0].freepost_revoked);
}
