use super::{reply::Terms, *};
use crate::address::Address;

const FACTS: Facts = Facts {
    exempt: false,
    book: Known::Unknown,
    freepost: false,
    own_domain: false,
    authenticated: Authenticated::No,
    list: Known::Unknown,
    list_authenticated: Authenticated::No,
    answers: Answers::No,
    pass: false,
    postage: Postage::None,
};

#[test]
fn the_verdict_table() {
    use Authenticated::{No, Trouble, Yes};
    use Known::{Allowed, Blocked, Unknown};
    let spent = Postage::Bad(Word::Spent);
    let table = [
        ("a stranger", FACTS, Class::Unpaid),
        ("a stranger who is really himself", Facts { authenticated: Yes, ..FACTS }, Class::Unpaid),
        (
            "exempt comes first",
            Facts { exempt: true, book: Blocked, authenticated: Yes, ..FACTS },
            Class::Exempt,
        ),
        ("known", Facts { book: Allowed, authenticated: Yes, ..FACTS }, Class::Known),
        (
            "known pays nothing, stamp or not",
            Facts { book: Allowed, authenticated: Yes, postage: Postage::Paid, ..FACTS },
            Class::Known,
        ),
        (
            "a forged known sender is a stranger",
            Facts { book: Allowed, authenticated: No, ..FACTS },
            Class::Unpaid,
        ),
        (
            "a forged known sender may pay",
            Facts { book: Allowed, authenticated: No, postage: Postage::Paid, ..FACTS },
            Class::Paid,
        ),
        (
            "known, DNS is down: not a no",
            Facts { book: Allowed, authenticated: Trouble, ..FACTS },
            Class::Trouble,
        ),
        (
            "a good stamp never waits for DNS",
            Facts { book: Allowed, authenticated: Trouble, postage: Postage::Paid, ..FACTS },
            Class::Paid,
        ),
        ("DNS is down, and nothing hangs on it", Facts { authenticated: Trouble, ..FACTS }, Class::Unpaid),
        (
            "blocked mail may not buy its way in",
            Facts { book: Blocked, authenticated: Yes, postage: Postage::Paid, ..FACTS },
            Class::Blocked,
        ),
        ("forged as blocked: a stranger", Facts { book: Blocked, authenticated: No, ..FACTS }, Class::Unpaid),
        ("freepost", Facts { freepost: true, ..FACTS }, Class::Freepost),
        ("freepost pays nothing", Facts { freepost: true, postage: Postage::Paid, ..FACTS }, Class::Freepost),
        (
            "freepost, blocked",
            Facts { freepost: true, book: Blocked, authenticated: Yes, ..FACTS },
            Class::Blocked,
        ),
        (
            "freepost, blocked, nobody can say who it is",
            Facts { freepost: true, book: Blocked, authenticated: Trouble, ..FACTS },
            Class::Trouble,
        ),
        ("one of ours", Facts { own_domain: true, authenticated: Yes, ..FACTS }, Class::Known),
        (
            "one of ours, blocked by the recipient",
            Facts { own_domain: true, book: Blocked, authenticated: Yes, ..FACTS },
            Class::Blocked,
        ),
        ("forged as one of ours", Facts { own_domain: true, ..FACTS }, Class::Unpaid),
        ("from a known list", Facts { list: Allowed, list_authenticated: Yes, ..FACTS }, Class::Known),
        (
            "forged as from a known list, by someone who is really himself",
            Facts { list: Allowed, authenticated: Yes, ..FACTS },
            Class::Unpaid,
        ),
        (
            "a known author's name does not help where only the list is authentic",
            Facts { book: Allowed, list_authenticated: Yes, ..FACTS },
            Class::Unpaid,
        ),
        (
            "blocked, though by a known list",
            Facts { book: Blocked, authenticated: Yes, list: Allowed, list_authenticated: Yes, ..FACTS },
            Class::Blocked,
        ),
        (
            "a friend by a blocked list",
            Facts { book: Allowed, authenticated: Yes, list: Blocked, list_authenticated: Yes, ..FACTS },
            Class::Blocked,
        ),
        (
            "a list, DNS is down",
            Facts { list: Allowed, list_authenticated: Trouble, ..FACTS },
            Class::Trouble,
        ),
        ("an answer", Facts { answers: Answers::Yes, ..FACTS }, Class::Known),
        (
            "an answer needs no stamp",
            Facts { answers: Answers::Yes, postage: Postage::Paid, ..FACTS },
            Class::Known,
        ),
        (
            "an answer by someone blocked",
            Facts { answers: Answers::Yes, book: Blocked, authenticated: Yes, ..FACTS },
            Class::Blocked,
        ),
        ("one answer more", Facts { answers: Answers::IfAuthentic, ..FACTS }, Class::Unpaid),
        (
            "one answer more, from elsewhere",
            Facts { answers: Answers::IfRetry, authenticated: Yes, ..FACTS },
            Class::Unpaid,
        ),
        (
            "one answer more, from where it went",
            Facts { answers: Answers::IfAuthentic, authenticated: Yes, ..FACTS },
            Class::Known,
        ),
        (
            "one answer more, DNS is down",
            Facts { answers: Answers::IfAuthentic, authenticated: Trouble, ..FACTS },
            Class::Trouble,
        ),
        ("a pass that is not this sender's", Facts { pass: true, ..FACTS }, Class::Unpaid),
        ("a pass, used for another letter", Facts { pass: true, authenticated: Yes, ..FACTS }, Class::Unpaid),
        (
            "a pass lets in whom nobody knows",
            Facts { pass: true, authenticated: Yes, postage: Postage::Work, ..FACTS },
            Class::Work,
        ),
        (
            "a pass lets in nobody who is blocked",
            Facts { pass: true, book: Blocked, authenticated: Yes, postage: Postage::Paid, ..FACTS },
            Class::Blocked,
        ),
        (
            "a pass, DNS is down: not a no",
            Facts { pass: true, authenticated: Trouble, ..FACTS },
            Class::Trouble,
        ),
        ("paid", Facts { postage: Postage::Paid, ..FACTS }, Class::Paid),
        ("work", Facts { postage: Postage::Work, ..FACTS }, Class::Work),
        ("spent", Facts { postage: spent, ..FACTS }, Class::Invalid(Word::Spent)),
        ("the ledger is down", Facts { postage: Postage::Trouble, ..FACTS }, Class::Trouble),
        ("a retry too many", Facts { postage: Postage::Later, ..FACTS }, Class::Later),
        ("known, spent stamp", Facts { book: Unknown, postage: spent, ..FACTS }, Class::Invalid(Word::Spent)),
    ];
    for (name, facts, class) in table {
        assert_eq!(verdict(&facts), class, "{name}");
    }
}

#[test]
fn what_each_mode_does_with_a_message() {
    use Class::{Blocked, Known, Later, Paid, Trouble, Unpaid};
    let invalid = Class::Invalid(Word::Spent);
    let (o, t, h, r) = (Mode::Observe, Mode::Tag, Mode::Hold, Mode::Require);
    let table: &[(&[Class], [Decision; 4])] = &[
        (&[Known, Paid], [Decision::Deliver, Decision::Deliver, Decision::Deliver, Decision::Deliver]),
        (&[Known, Unpaid], [Decision::Deliver, Decision::Deliver, Decision::Hold, Decision::Refuse(vec![1])]),
        (
            &[invalid, Paid, Unpaid],
            [Decision::Deliver, Decision::Deliver, Decision::Hold, Decision::Refuse(vec![0, 2])],
        ),
        (
            &[Unpaid, Blocked],
            [
                Decision::Deliver,
                Decision::Refuse(vec![1]),
                Decision::Refuse(vec![1]),
                Decision::Refuse(vec![1]),
            ],
        ),
        (
            &[Trouble, Known],
            [Decision::Deliver, Decision::Defer(vec![0]), Decision::Defer(vec![0]), Decision::Defer(vec![0])],
        ),
        (&[Later, Unpaid], [Decision::Deliver, Decision::Deliver, Decision::Hold, Decision::Refuse(vec![1])]),
        (&[Later], [Decision::Deliver, Decision::Deliver, Decision::Hold, Decision::Defer(vec![0])]),
        (&[], [Decision::Deliver, Decision::Deliver, Decision::Deliver, Decision::Deliver]),
    ];
    for (classes, decisions) in table {
        for (mode, decision) in [o, t, h, r].into_iter().zip(decisions) {
            assert_eq!(decide(classes, mode, OnTrouble::Tempfail), *decision, "{classes:?} in {mode:?}");
        }
    }
    assert_eq!(
        decide(&[Trouble], r, OnTrouble::Accept),
        Decision::Deliver,
        "the site prefers mail to postage"
    );
    assert_eq!(
        decide(&[Later], r, OnTrouble::Accept),
        Decision::Defer(vec![0]),
        "which is no trouble of ours"
    );
}

#[test]
fn what_a_refused_sender_reads() {
    let bob: Address = "bob@b.example".parse().unwrap();
    let carol: Address = "carol+x@b.example".parse().unwrap();
    let odd: Address = "\"a %b\"@b.example".parse().unwrap();
    let office = Terms { price: "0.25c".parse().unwrap(), office_url: Some("https://b.example/") };
    let none = Terms { office_url: None, ..office };
    let unpaid = Class::Unpaid;
    type Row<'a> = (Vec<(&'a Address, Class)>, Terms<'a>, &'a str);
    let table: Vec<Row<'_>> = vec![
        (
            vec![(&bob, unpaid)],
            office,
            "550 5.7.1 <bob@b.example>: postage of 0.25c required from new senders; see https://b.example/p/bob@b.example",
        ),
        (
            vec![(&bob, unpaid)],
            none,
            "550 5.7.1 <bob@b.example>: postage of 0.25c required from new senders; see _postage.b.example in DNS",
        ),
        (
            vec![(&bob, Class::Invalid(Word::Spent))],
            office,
            "550 5.7.1 <bob@b.example>: postage refused: spent; postage of 0.25c required; see https://b.example/p/bob@b.example",
        ),
        (vec![(&bob, Class::Blocked)], office, "550 5.7.1 <bob@b.example>: not accepted"),
        (
            vec![(&carol, unpaid), (&bob, unpaid)],
            office,
            "550 5.7.1 <carol+x@b.example>, <bob@b.example>: postage of 0.25c required from new senders; see https://b.example/p/carol+x@b.example",
        ),
        (
            vec![(&bob, unpaid), (&carol, unpaid), (&odd, unpaid)],
            office,
            "550 5.7.1 <bob@b.example> and 2 more: postage of 0.25c required from new senders; see https://b.example/p/bob@b.example",
        ),
        (
            vec![(&odd, unpaid)],
            office,
            "550 5.7.1 <\"a %b\"@b.example>: postage of 0.25c required from new senders; see https://b.example/p/%22a%20%25b%22@b.example",
        ),
    ];
    for (recipients, terms, text) in table {
        assert_eq!(reply::refusal(&recipients, &terms).to_string(), text);
    }
    assert_eq!(
        reply::deferral(&[&bob]).to_string(),
        "451 4.7.1 <bob@b.example>: postage cannot be checked now; try again"
    );
}

#[test]
fn a_reply_is_always_one_line_of_bounded_length() {
    let long = format!("{}@b.example", "x".repeat(400)).parse::<Address>().unwrap();
    let terms = Terms { price: "0.25c".parse().unwrap(), office_url: Some("https://b.example/") };
    let text = reply::refusal(&[(&long, Class::Unpaid)], &terms).to_string();
    assert!(text.len() < 512 && text.starts_with("550 5.7.1 <xxx"), "{text}");
}

#[test]
fn the_status_of_a_letter() {
    let bob: Address = "bob@b.example".parse().unwrap();
    let office = "post.example".parse().unwrap();
    let paid = status::PaidBy {
        value: "0.25c".parse().unwrap(),
        currency: "USD".parse().unwrap(),
        issuer: &office,
        id: &[0; 16],
    };
    let one = |class, paid| status::status_of_one("mx.b.example", class, &bob, paid);
    assert_eq!(
        one(Class::Paid, Some(&paid)),
        "mx.b.example; result=paid; rcpt=bob@b.example; value=2500; currency=USD; issuer=post.example; id=AAAAAAAAAAAAAAAAAAAAAA"
    );
    assert_eq!(one(Class::Known, None), "mx.b.example; result=known; rcpt=bob@b.example");
    assert_eq!(
        one(Class::Invalid(Word::Stale), None),
        "mx.b.example; result=invalid; reason=stale; rcpt=bob@b.example"
    );
    assert_eq!(one(Class::Blocked, None), "mx.b.example; result=unpaid; rcpt=bob@b.example");
    let several = |classes: &[Class]| status::status_of_several("mx.b.example", classes);
    assert_eq!(several(&[Class::Paid, Class::Known]), "mx.b.example; result=paid");
    assert_eq!(
        several(&[Class::Invalid(Word::Spent), Class::Unpaid]),
        "mx.b.example; result=invalid; reason=spent"
    );
}

#[test]
fn fields_that_came_with_the_mail_and_must_go() {
    let ours = |d: &crate::address::Domain| d.as_str() == "b.example";
    for (name, value, goes) in [
        (&b"Postage-Status"[..], &b"mx.b.example; result=known"[..], true),
        (b"POSTAGE-status ", b"", true),
        (b"postage-wanted", b"<mailto:x>", true),
        (b"Postage-Unwanted", b"", true),
        (b"Postage-Stamp", b"malformed", true),
        (b"Postage-Stampede", b"", false),
        (b"Subject", b"Postage-Status: x", false),
    ] {
        assert_eq!(status::must_go(name, value, ours), goes, "{}", String::from_utf8_lossy(name));
    }
    assert!(status::is_own_status(b"postage-status", b" MX.b.example; result=paid", "mx.b.example"));
    assert!(!status::is_own_status(b"postage-status", b"mx.b.example.evil; result=paid", "mx.b.example"));
}
