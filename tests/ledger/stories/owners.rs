//! Addresses of one login.

use farthing::{
    address::Address,
    ledger::{
        Decision, Mark, MarkError, MarkTarget, Outcome, Want,
        book::{How, Known, NewEntry, Sender},
        message_id_hash,
        owners::Owners,
        sent::{Answering, Sent},
        settings::OwnPrice,
    },
};

use crate::support::*;

const BOB: &str = "bob@b.example";
const ROBERT: &str = "robert@b.example";
const INFO: &str = "info@b.example";
const CAROL: &str = "carol@b.example";
const ALICE: &str = "alice@a.example";

/// Bob has two addresses, and one together with Carol.
fn share(site: &Site) {
    own(site, &[&[BOB, ROBERT, INFO], &[CAROL, INFO]]);
}

fn own(site: &Site, logins: &[&[&str]]) {
    let read = |own: &&[&str]| own.iter().map(|text| address(text)).collect::<Vec<Address>>();
    site.ledger.set_owners(Owners::of_logins(&logins.iter().map(read).collect::<Vec<_>>()));
}

fn entry(recipient: &str, sender: &str, block: bool) -> NewEntry {
    NewEntry {
        recipient: Some(address(recipient)),
        sender: sender.parse().unwrap(),
        block,
        how: How::Added,
        since: NOW,
    }
}

async fn known(site: &Site, recipient: &str, sender: &str) -> Known {
    site.ledger.known(&address(recipient), &[sender.parse::<Sender>().unwrap()]).await.unwrap()
}

/// Whose entries a list of a recipient's book shows.
async fn listed(site: &Site, recipient: &str) -> Vec<(String, String)> {
    let entries = site.ledger.book_list(Some(&address(recipient))).await.unwrap();
    entries.into_iter().map(|e| (e.recipient.unwrap().to_string(), e.sender.to_string())).collect()
}

pub async fn one_login_has_one_book(site: &Site) {
    share(site);
    assert!(site.ledger.book_add(entry("robert+x@b.example", ALICE, false)).await.unwrap());
    for (recipient, says) in [
        (BOB, Known::Allowed),
        ("bob+y@b.example", Known::Allowed),
        (ROBERT, Known::Allowed),
        (INFO, Known::Unknown),
        (CAROL, Known::Unknown),
    ] {
        assert_eq!(known(site, recipient, ALICE).await, says, "{recipient}");
    }
    assert!(!site.ledger.book_add(entry(BOB, ALICE, false)).await.unwrap(), "it stands there already");
    assert!(site.ledger.book_add(entry(BOB, ALICE, true)).await.unwrap());
    assert_eq!(known(site, ROBERT, ALICE).await, Known::Blocked);
    assert_eq!(listed(site, ROBERT).await, [(BOB.into(), ALICE.into())]);
    assert!(site.ledger.book_remove(Some(&address(ROBERT)), &ALICE.parse().unwrap()).await.unwrap());
    assert_eq!(known(site, BOB, ALICE).await, Known::Unknown);
}

pub async fn a_shared_mailbox_has_a_book_of_its_own_that_its_owners_read(site: &Site) {
    share(site);
    assert!(site.ledger.book_add(entry(INFO, ALICE, false)).await.unwrap());
    for recipient in [INFO, BOB, ROBERT, CAROL] {
        assert_eq!(known(site, recipient, ALICE).await, Known::Allowed, "{recipient}");
    }
    assert_eq!(listed(site, CAROL).await, [(INFO.into(), ALICE.into())], "where it stands is said");
    let removed = site.ledger.book_remove(Some(&address(BOB)), &ALICE.parse().unwrap()).await.unwrap();
    assert!(!removed, "what is Carol's too is not Bob's to take out of it by his name");
    assert!(site.ledger.book_add(entry(BOB, ALICE, true)).await.unwrap());
    assert_eq!(known(site, ROBERT, ALICE).await, Known::Blocked, "for himself he may block");
    assert_eq!(known(site, INFO, ALICE).await, Known::Allowed);
}

pub async fn what_was_learned_apart_is_not_lost_when_logins_change(site: &Site) {
    let dave = "dave@d.example";
    site.ledger.book_add(entry(ROBERT, ALICE, false)).await.unwrap();
    site.ledger.book_add(entry(ROBERT, dave, false)).await.unwrap();
    site.ledger.book_add(entry(BOB, dave, true)).await.unwrap();
    assert_eq!(known(site, BOB, ALICE).await, Known::Unknown);
    for logins in [&[&[BOB, ROBERT][..]][..], &[&[ROBERT, BOB]], &[&[CAROL, BOB, ROBERT]]] {
        own(site, logins);
        for recipient in [BOB, ROBERT] {
            assert_eq!(known(site, recipient, ALICE).await, Known::Allowed, "{logins:?} {recipient}");
            assert_eq!(known(site, recipient, dave).await, Known::Blocked, "{logins:?} {recipient}");
        }
        own(site, &[]);
        assert_eq!(known(site, BOB, ALICE).await, Known::Unknown, "as it was");
        assert_eq!(known(site, ROBERT, dave).await, Known::Allowed, "as it was");
    }
    // Said anew by hand, it holds whatever stood under the other address.
    own(site, &[&[BOB, ROBERT]]);
    assert!(site.ledger.book_add(entry(ROBERT, dave, false)).await.unwrap());
    assert_eq!(known(site, BOB, dave).await, Known::Allowed);
    assert!(site.ledger.book_remove(Some(&address(BOB)), &ALICE.parse().unwrap()).await.unwrap());
    assert_eq!(known(site, ROBERT, ALICE).await, Known::Unknown);
}

fn sent(author: &str, id: &str) -> Sent {
    Sent {
        now: NOW,
        author: address(author),
        recipients: vec![address(ALICE)],
        message_id: Some(message_id_hash(id.as_bytes())),
    }
}

pub async fn an_answer_may_come_to_another_address_of_the_login(site: &Site) {
    share(site);
    site.ledger.learn(sent(ROBERT, "roberts")).await.unwrap();
    site.ledger.learn(sent(INFO, "infos")).await.unwrap();
    let hash = |id: &str| message_id_hash(id.as_bytes());
    for (recipient, roberts, infos) in
        [(BOB, true, true), ("robert+x@b.example", true, true), (CAROL, false, true), (INFO, false, true)]
    {
        for (id, there) in [("roberts", roberts), ("infos", infos)] {
            let found = site.ledger.answerable(&address(recipient), &[hash(id)], NOW).await.unwrap();
            assert_eq!(found.is_some(), there, "{id} to {recipient}");
        }
    }
    // Whoever of them is answered, the letter is answered five times in all.
    let answer = |number: u8, recipient: &str| {
        let answering = Some(Answering { message_id: hash("infos"), from: None });
        letter(number, &[Want { answering, ..want(recipient, &[]) }])
    };
    for (number, recipient) in [(1, BOB), (2, CAROL), (3, INFO), (4, ROBERT), (5, BOB)] {
        assert_eq!(redeem_one(&*site.ledger, answer(number, recipient)).await, Outcome::Answer);
    }
    for recipient in [BOB, CAROL, INFO] {
        assert_eq!(redeem_one(&*site.ledger, answer(9, recipient)).await, unpaid(&[]), "{recipient}");
    }
    assert_eq!(redeem_one(&*site.ledger, answer(1, BOB)).await, Outcome::Answer, "a retry of the first");
}

pub async fn work_for_one_login_is_counted_together(site: &Site) {
    share(site);
    for (number, recipient) in [(1, BOB), (2, ROBERT), (3, BOB)] {
        let by = letter(number, &[want_by_work(recipient, &[work(number)])]);
        assert_eq!(redeem_one(&*site.ledger, by).await, by_work(0, false));
    }
    let one_more = letter(4, &[want_by_work(ROBERT, &[work(4)])]);
    let used_up = Outcome::Unpaid { stamps: vec![], work_used_up: true, work_untouched: false };
    assert_eq!(redeem_one(&*site.ledger, one_more).await, used_up);
}

fn stranger_letter(recipient: &str) -> Decision {
    Decision {
        time: NOW,
        recipient: address(recipient),
        author: Some(address(ALICE)),
        authenticated: true,
        message_id: None,
        result: "unpaid",
        reason: "",
        delivered: false,
        number: None,
        list: None,
        unsubscribe: vec![],
        reply_to: vec![],
        list_posts: vec![],
    }
}

pub async fn a_letter_to_one_address_is_marked_by_another(site: &Site) {
    share(site);
    let decided = |recipient: &str, id: &str| Decision {
        message_id: Some(message_id_hash(id.as_bytes())),
        delivered: true,
        ..stranger_letter(recipient)
    };
    let mark = async |id: &str, recipient: &str| {
        let target = MarkTarget::MessageId(message_id_hash(id.as_bytes()), address(recipient));
        site.ledger.mark(target, Mark::Wanted, NOW).await
    };
    site.ledger.decided(decided("robert+x@b.example", "1"));
    site.ledger.decided(decided(CAROL, "2"));
    let marked = mark("1", BOB).await.unwrap();
    assert_eq!((marked.recipient, marked.known), (address("robert+x@b.example"), true));
    assert_eq!(known(site, BOB, ALICE).await, Known::Allowed);
    assert!(matches!(mark("2", BOB).await, Err(MarkError::NoSuchLetter)), "another's letter");
    site.ledger.decided(decided(ROBERT, "3"));
    site.ledger.decided(decided(BOB, "3"));
    assert_eq!(mark("3", BOB).await.unwrap().recipient, address(BOB), "his very address comes first");
}

pub async fn one_login_has_one_price_and_hears_of_all_its_strangers(site: &Site) {
    share(site);
    let price = Some(OwnPrice { value: micros(9_000), public: true });
    site.ledger.set_price(&address("robert+x@b.example"), price).await.unwrap();
    assert_eq!(site.ledger.settings(&address(BOB)).await.unwrap().price, price);
    assert_eq!(site.ledger.settings(&address(CAROL)).await.unwrap().price, None);
    for (n, to) in [BOB, ROBERT, CAROL, "robert+x@b.example"].into_iter().enumerate() {
        let stranger = Decision { time: NOW + n as u64, ..stranger_letter(to) };
        site.ledger.decided(stranger);
    }
    // A request to the writer, so that what was decided is there.
    site.ledger.set_price(&address(BOB), None).await.unwrap();
    let letters = site.ledger.strangers(&address(BOB), NOW, 2).await.unwrap();
    let to: Vec<_> = letters.iter().map(|letter| letter.recipient.to_string()).collect();
    assert_eq!(to, ["robert+x@b.example", ROBERT], "the newest first, and no more than asked for");
}
