//! Chains of ARC seals: whose findings are believed, and what breaks a chain.

use mail_auth::{AuthenticatedMessage, AuthenticationResults, arc::ArcSealer};

use super::*;
use crate::identity::arc::{Chain, speak_for_author, speak_for_list};

const PASS: &str = "dmarc=pass header.from=b.example";
const COVERED: [&str; 3] = ["From", "Subject", "List-Id"];

type Sealer = ArcSealer<Ed25519Key, Done>;

/// A sealer whose key is published.
fn sealer(zone: &ZoneServer, domain: &str) -> Sealer {
    covering(zone, domain, &COVERED)
}

fn covering(zone: &ZoneServer, domain: &str, names: &[&str]) -> Sealer {
    let (key, record) = ed25519();
    zone.remove(&format!("arc._domainkey.{domain}")).txt(&format!("arc._domainkey.{domain}"), record);
    ArcSealer::from_key(key).domain(domain).selector("arc").headers(names.iter().copied())
}

/// The letter as this sealer sends it on, having found these results.
async fn sealed(dns: &Dns, sealer: &Sealer, found: &str, letter: &str) -> String {
    let message = AuthenticatedMessage::parse(letter.as_bytes()).unwrap();
    let chain = dns.authenticator().verify_arc(&message).await;
    // What stands before the results is written as it is given.
    let results = format!("mx.old.example; {found}");
    let results = AuthenticationResults::new(&results);
    format!("{}{letter}", sealer.seal(&message, &results, &chain).unwrap().to_header())
}

async fn chain(dns: &Dns, message: &str, sealers: usize) -> Chain {
    inquiry(dns, "<>").chain(&Letter::from_message(message.as_bytes()), sealers).await
}

fn findings(chain: Chain) -> Vec<arc::Finding> {
    match chain {
        Chain::Good(findings) => findings,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_sealer_speaks_for_the_author_it_has_verified() {
    let (zone, dns) = world();
    let old = sealer(&zone, "old.example");
    let author = d("b.example");
    for (found, speaks, left_open) in [
        (PASS, true, false),
        ("spf=pass smtp.mailfrom=bob@b.example; dkim=none", true, true),
        ("spf=pass smtp.mailfrom=bob@b.example; dmarc=pass header.from=b.example", true, true),
        ("dkim=pass header.d=b.example", true, false),
        ("dkim=pass header.i=@mail.b.example; dmarc=bestguesspass header.from=b.example", true, false),
        ("dmarc=fail header.from=b.example; spf=pass smtp.mailfrom=bob@b.example", false, false),
        ("dmarc=pass header.from=m.example", false, false),
        ("spf=pass smtp.mailfrom=m.example; dkim=pass header.d=m.example", false, false),
        ("spf=temperror smtp.mailfrom=b.example", false, false),
        ("none", false, false),
    ] {
        let message = sealed(&dns, &old, found, LETTER).await;
        let findings = findings(chain(&dns, &message, 1).await);
        assert_eq!(findings.len(), 1);
        assert_eq!(speak_for_author(&findings, &author, false), speaks, "{found}");
        assert_eq!(speak_for_author(&findings, &author, true), left_open, "{found}, a signature left open");
        assert!(!speak_for_list(&findings, &d("users.lists.example")));
    }
}

#[tokio::test]
async fn a_sealer_speaks_for_a_list_whose_id_it_covers() {
    let (zone, dns) = world();
    let letter = format!("List-Id: <users.lists.example>\r\n{LETTER}");
    let list = d("users.lists.example");
    for (names, found, speaks) in [
        (&COVERED[..], "spf=pass smtp.mailfrom=users-bounces+bob=b.example@lists.example", true),
        (&["From"], "spf=pass smtp.mailfrom=users-bounces@lists.example", false),
        (&COVERED, "spf=fail smtp.mailfrom=users-bounces@lists.example", false),
        (&COVERED, "spf=pass smtp.mailfrom=x@m.example; dkim=pass header.d=lists.example", false),
    ] {
        let message = sealed(&dns, &covering(&zone, "old.example", names), found, &letter).await;
        let findings = findings(chain(&dns, &message, 1).await);
        assert_eq!(speak_for_list(&findings, &list), speaks, "{names:?} {found}");
    }
}

#[tokio::test]
async fn what_was_changed_behind_the_seal_breaks_it() {
    let (zone, dns) = world();
    let message =
        sealed(&dns, &sealer(&zone, "old.example"), "dmarc=fail header.from=b.example", LETTER).await;
    assert!(matches!(chain(&dns, &message, 1).await, Chain::Good(_)));
    assert!(matches!(chain(&dns, &message.replace("\r\n", "\n"), 1).await, Chain::Good(_)), "LF at the ends");
    let above = format!("Received: from x\r\nX-Spam: no\r\n{message}");
    assert!(matches!(chain(&dns, &above, 1).await, Chain::Good(_)), "what is not covered may come");
    let table = [
        ("another result", message.replace("dmarc=fail", "dmarc=pass")),
        ("another author", message.replace("<bob@b.example>", "<eve@b.example>")),
        ("another author beside him", format!("From: eve@b.example\r\n{message}")),
        ("another subject", message.replace("Hello", "Offer")),
        ("another body", message.replace("Dear", "Poor")),
        ("more body", format!("{message}and more\r\n")),
        ("another sealer", message.replace("d=old.example", "d=new.example")),
        ("no results", message.replace("ARC-Authentication-Results", "X")),
        ("no signature", message.replace("ARC-Message-Signature", "X")),
        ("no seal", message.replace("ARC-Seal", "X")),
        ("two results", format!("ARC-Authentication-Results: i=1; x; {PASS}\r\n{message}")),
        ("a second set half", format!("ARC-Authentication-Results: i=2; x; {PASS}\r\n{message}")),
        ("a claim to fail", message.replace("cv=none", "cv=fail")),
        ("a claim to hold", message.replace("cv=none", "cv=pass")),
        ("part of the body", message.replace("; bh=", "; l=10; bh=")),
        ("all of the body, said so", message.replace("; bh=", "; l=0; bh=")),
        ("SHA-1", message.replace("ed25519-sha256", "rsa-sha1")),
    ];
    signer(&zone, "new.example");
    zone.txt("arc._domainkey.new.example", ed25519().1);
    for (what, changed) in table {
        assert_ne!(changed, message, "{what}");
        let found = chain(&dns, &changed, 1).await;
        assert!(matches!(found, Chain::Bad(_)), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn a_seal_that_leaves_the_letter_open_proves_nothing() {
    let (zone, dns) = world();
    for (what, sealer) in [
        ("the author", covering(&zone, "old.example", &["Subject", "To"])),
        ("part of the body", sealer(&zone, "old.example").body_length(true)),
    ] {
        let message = sealed(&dns, &sealer, PASS, LETTER).await;
        let found = chain(&dns, &message, 1).await;
        assert!(matches!(found, Chain::Bad(_)), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn so_many_sealers_are_read_as_are_allowed() {
    let (zone, dns) = world();
    let first = sealed(&dns, &sealer(&zone, "lists.example"), PASS, LETTER).await;
    let both =
        sealed(&dns, &sealer(&zone, "old.example"), "dmarc=fail header.from=b.example; arc=pass", &first)
            .await;
    let author = d("b.example");
    let one = findings(chain(&dns, &both, 1).await);
    assert!(one.len() == 1 && !speak_for_author(&one, &author, false), "the last has not seen the author");
    let two = findings(chain(&dns, &both, 2).await);
    assert!(two.len() == 2 && speak_for_author(&two, &author, false));
    // A list that changes a sealed letter and does not own up to it.
    let changed = first.replace("Dear", "[users] Dear");
    let hidden = sealed(&dns, &sealer(&zone, "old.example"), PASS, &changed).await;
    assert!(hidden.contains("cv=fail"));
    assert!(
        matches!(chain(&dns, &hidden, 2).await, Chain::Bad(_)),
        "the last sealer says that the chain is broken"
    );
    let forged = hidden.replace("cv=fail", "cv=pass");
    assert!(matches!(chain(&dns, &forged, 2).await, Chain::Bad(_)));
}

#[tokio::test]
async fn keys_that_cannot_be_had() {
    let (zone, dns) = world();
    let message = sealed(&dns, &sealer(&zone, "old.example"), PASS, LETTER).await;
    let key = "arc._domainkey.old.example";
    let ask = async || chain(&Dns::new(&[zone.address()]).unwrap(), &message, 1).await;
    zone.manner(key, Manner::ServFail);
    assert!(matches!(ask().await, Chain::Trouble(_)));
    zone.manner(key, Manner::Records).remove(key);
    assert!(matches!(ask().await, Chain::Bad(_)), "revoked");
    zone.txt(key, ed25519().1.replace("k=ed25519;", "k=ed25519; s=tlsrpt;"));
    assert!(matches!(ask().await, Chain::Bad(_)), "not for mail");
}

#[tokio::test]
async fn a_forged_chain_costs_one_question() {
    let (zone, dns) = world();
    let mut message = LETTER.to_owned();
    for _ in 0..10 {
        message = sealed(&dns, &sealer(&zone, "old.example"), PASS, &message).await;
    }
    // The signature of the last set, which is looked at first, is not the sealer's.
    let at = message.find("; b=").unwrap();
    let at = at + message[at..].find("ARC-Message-Signature").unwrap();
    let b = at + message[at..].rfind("; b=").map_or(0, |_| message[at..].find("; b=").unwrap()) + 4;
    message.replace_range(b..b + 4, "AAAA");
    let fresh = Dns::new(&[zone.address()]).unwrap();
    let before = zone.asked_in_all();
    assert!(matches!(chain(&fresh, &message, 5).await, Chain::Bad(_)));
    assert_eq!(zone.asked_in_all() - before, 1);
    let altered = message.replace("Dear", "Poor");
    assert!(matches!(chain(&fresh, &altered, 5).await, Chain::Bad(_)));
    assert_eq!(zone.asked_in_all() - before, 1, "a body of another letter costs none");
}

#[test]
fn no_chain_makes_it_fall_over() {
    let pieces = "(ARC-Seal: |ARC-Message-Signature: |ARC-Authentication-Results: |From: bob@b.example|i=[0-9]{0,3};|a=(rsa|ed25519)-sha(1|256);\
                  |cv=(none|pass|fail|x);|d=old.example;|s=arc;|h=from(:from)?;|bh?=AAAA;|c=(simple|relaxed)/?|x=1;|l=[01];|\r?\n|[ -~]{0,6}|\\PC{0,2}){0,60}";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_zone, dns) = world();
    proptest::proptest!(|(head in pieces, count in 0_usize..7)| {
        let message = format!("From: bob@b.example\r\n{head}");
        let parts = crate::message::split_message(message.as_bytes());
        let _ = arc::sealers(parts.values(arc::SEAL_FIELD));
        let found = runtime.block_on(chain(&dns, &message, count));
        proptest::prop_assert!(!matches!(found, Chain::Good(_)));
    });
}
