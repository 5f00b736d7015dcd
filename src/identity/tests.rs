//! Letters signed here, DNS from a zone on loopback: who is believed to have sent them.

use ed25519_dalek::SigningKey;
use mail_auth::{
    common::{
        crypto::{Ed25519Key, RsaKey, Sha256},
        headers::HeaderWriter,
    },
    dkim::{Canonicalization, DkimSigner, Done},
};
use rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::demo::dns::{Manner, ZoneServer};

/// A key made for these tests; it signs nothing else.
const RSA_KEY: &str = "MIIEowIBAAKCAQEArdB3lLBuAAGQdqr6Usv3/PzsQc5bBH3ilEz9ueKnike3FNsUI0d5yASpKtXNkcAikIAiXupQ2AhSVK5QmBSC\
nupNpX3IwVKOQ3aOXw2Ro7OswCTfFfkwtjqNZAaNcdAe0baMKJ6l7lDEsPMg5RXWV+R9k6o3mGgTB9ZfIsxsFfjxD7bA+xYZTHGE\
mYr8H/8szrbnHtM3mAEsJ4eMY5hTGBoygPYCLfl47Bx54ubmYhtHOhdIe9SMYsykVdTNjoMQMpbveARMuvZOwN+Mu8+3sFjtUw8B\
s2Q3quvUdF6FppqnHO+a4vBAI7X3b7e2dkn4t+VI+t+KN8D4CpaYos5vaQIDAQABAoIBAAR6frxIa/sozyi5mNPVkNUWTL2Y1DBK\
UJJe5fo6SHQYCzP4vZz3mGASm6vAgMiYvWNBA/GzYqQgWcO4DphOjfuLgLbrBedSSdtb5Ij3M+mWhXTZdlyN9Eb7vP0m7JHSSZsA\
c73PsamRb/H5v78bWA+hceliPUa6ZsQgzkh6oS3TNneSYGREvPDHAhd4Kh6ATi5qh7ct/YwCBH3FNXK/p9V2crfKhAXHCixnpoxC\
Blk2R9FG+PlhqMTF5zr8ahueYuouUmmXsgJNc+x1EEBv2zkDuijPgc3k+dlzbtZYNJwwPb/pALjLvewcspxcb2F5PWHOZxGOKpAM\
CguI2ogCM9ECgYEA4vtc9qu2DgtB3SqjhXyOqn/NpYVwbgA5d3PeLuBybd5QaHVfFByYmFcii2v5oMlsh3FdnZ4dPMXoDg/A/Usq\
N24Z3XtjjpfsGpbDAowJt9CR0mbUBOMrGdN0PDbx3tooaJ67aJkfJ4ftU51PdfHqIxDfrMmq9hX5xG9IugfPo3kCgYEAxAkKyrlT\
ZC+qNOt2tulqYRyQ480WzNpEXHt2ZMbXgRy2rcq+eDpqV0a4Gu+XbgAhwRU4v4Zt+CrXvPfY8IfL6HeXEyy5+BszQPg3m2mTEyDX\
gjv3lTBfW/jQmT15i250yvfAPQHBEagtktCGMd0GUO+w8KkC/Jd7bJkaM3Kwv3ECgYEAlj40BsMaOqmQ60hx/MW52XnHMazmAqn7\
X+o+Q2El3TuulbY7PSDAkPX8U7UhAyDQycZsZQxn5fZJ6CTdZcv/IbmrPUOTXquJCQCKDIGNXTKdk1ulM6b6vJmO8tybtRtKbBXF\
jzLrwErk+NfD5RpAFP3yUHkcxM8/CJtw1FKfSmECgYB2a1PmlD8IxTZXU2naInRNh3kK8yfzxWIIT9h8FhW2e8bqgw++BuOYJzMt\
qk/adh/tyEkIgUdK426BS2L0IcQOgLd1MM6CTsQOWiMVMZhTtMIafOkZaSghodM4zobusGHC/hhVggrEBMjK6EY4NuEK4VAMgLw6\
I7O+LVpDe+PDMQKBgAnRvdez2Og7GIaqwc/yQru67FMUagHj7Q5hr7PA5RzyjZbYLah6cey0nDhdDYC1VLYfSeRnVX36S3XqGyI2\
Jqs4c2Ed8OvRpqqQEiI9XVd38sPa3gxd3yFwWTDyVSZRcXus7kBXIy3X2PiMG6lhgk8KSdW/A6e0vGIsbGvofPh5";

const LETTER: &str = "From: Bob <bob@b.example>\r\nTo: ann@a.example\r\nSubject: Hello\r\n\tthere\r\n\r\nDear Ann,\r\n  how  are you? \r\n\r\n\r\n";
const CLIENT: &str = "192.0.2.1";

fn world() -> (ZoneServer, Dns) {
    let zone = ZoneServer::start().unwrap();
    let dns = Dns::new(&[zone.address()]).unwrap();
    (zone, dns)
}

fn d(text: &str) -> Domain {
    text.parse().unwrap()
}

fn inquiry(dns: &Dns, mail_from: &str) -> Inquiry {
    let envelope = Envelope::new(Some(CLIENT.parse().unwrap()), b"mail.helo.example", mail_from.as_bytes());
    Inquiry::new(dns.clone(), envelope)
}

fn rsa() -> (RsaKey<Sha256>, String) {
    let der = data_encoding::BASE64.decode(RSA_KEY.as_bytes()).unwrap();
    let key = RsaKey::from_key_der(PrivateKeyDer::Pkcs1(der.into())).unwrap();
    let public = data_encoding::BASE64.encode(&key.public_key());
    (key, format!("v=DKIM1; k=rsa; p={public}"))
}

fn ed25519() -> (Ed25519Key, String) {
    let seed = [7; 32];
    let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let key = Ed25519Key::from_seed_and_public_key(&seed, &public).unwrap();
    (key, format!("v=DKIM1; k=ed25519; p={}", data_encoding::BASE64.encode(&public)))
}

type Signer = DkimSigner<Ed25519Key, Done>;

/// A signer of `s1._domainkey.<domain>`, whose key is published.
fn signer(zone: &ZoneServer, domain: &str) -> Signer {
    let (key, record) = ed25519();
    zone.txt(&format!("s1._domainkey.{domain}"), record);
    DkimSigner::from_key(key).domain(domain).selector("s1").headers(["From", "To", "Subject"])
}

fn signed(signer: &Signer, letter: &str) -> String {
    format!("{}{letter}", signer.sign(letter.as_bytes()).unwrap().to_header())
}

async fn by_dkim(dns: &Dns, author: &str, message: &str) -> Authentication {
    inquiry(dns, "x@elsewhere.example").by_dkim(&d(author), &Letter::from_message(message.as_bytes())).await
}

fn aligned(means: Means, domain: &str) -> Authentication {
    Authentication::Aligned(Proof { means, domain: d(domain) })
}

#[track_caller]
fn assert_not(found: Authentication, why: &str) {
    assert!(matches!(&found, Authentication::Not(said) if said.contains(why)), "{found:?}");
}

#[track_caller]
fn assert_trouble(found: &Authentication) {
    assert!(matches!(found, Authentication::Trouble(_)), "{found:?}");
}

#[tokio::test]
async fn spf_speaks_for_the_author_if_it_passes_and_aligns() {
    let (zone, dns) = world();
    for (domain, record) in [
        ("b.example", "v=spf1 ip4:192.0.2.1 -all"),
        ("mail.b.example", "v=spf1 ip4:192.0.2.1 -all"),
        ("c.example", "v=spf1 ip4:192.0.2.1 -all"),
        ("a.github.io", "v=spf1 ip4:192.0.2.1 -all"),
        ("fail.example", "v=spf1 -all"),
        ("softfail.example", "v=spf1 ~all"),
        ("neutral.example", "v=spf1 ?all"),
        ("permerror.example", "v=spf1 include:nowhere.example -all"),
    ] {
        zone.txt(domain, record);
    }
    let table = [
        ("bob@b.example", "b.example", true),
        ("bob@B.Example", "b.example", true),
        ("bounce@mail.b.example", "b.example", true),
        ("bob@b.example", "news.b.example", true),
        ("bob@c.example", "b.example", false),
        ("bob@a.github.io", "a.github.io", true),
        ("bob@a.github.io", "b.github.io", false),
        ("bob@a.github.io", "github.io", false),
        ("bob@fail.example", "fail.example", false),
        ("bob@softfail.example", "softfail.example", false),
        ("bob@neutral.example", "neutral.example", false),
        ("bob@permerror.example", "permerror.example", false),
        ("bob@none.example", "none.example", false),
        ("<>", "b.example", false),
        ("root", "b.example", false),
    ];
    for (mail_from, author, passes) in table {
        let mut inquiry = inquiry(&dns, mail_from);
        let step = inquiry.by_spf(&d(author)).await;
        assert_eq!(matches!(step, Step::Aligned(_)), passes, "{mail_from} {author}");
        let found = inquiry.by_dkim(&d(author), &Letter::from_message(LETTER.as_bytes())).await;
        assert_eq!(matches!(found, Authentication::Aligned(_)), passes, "{mail_from} {author}: {found:?}");
        assert!(!matches!(found, Authentication::Trouble(_)), "{mail_from} {author}: {found:?}");
    }
}

#[tokio::test]
async fn the_null_sender_speaks_with_its_helo_name() {
    let (zone, dns) = world();
    zone.txt("mail.helo.example", "v=spf1 ip4:192.0.2.1 -all");
    let found = inquiry(&dns, "<>").by_spf(&d("helo.example")).await;
    assert_eq!(found, Step::Aligned(Proof { means: Means::Spf, domain: d("mail.helo.example") }));
}

#[tokio::test]
async fn a_domain_that_wants_its_own_spf_gets_it() {
    let (zone, dns) = world();
    for domain in ["b.example", "mail.b.example", "c.example", "mail.c.example"] {
        zone.txt(domain, "v=spf1 ip4:192.0.2.1 -all");
    }
    zone.txt("_dmarc.b.example", "v=DMARC1; p=reject; aspf=s")
        .txt("_dmarc.c.example", "v=DMARC1; p=reject; adkim=s");
    zone.txt("_dmarc.own.b.example", "v=DMARC1; p=none");
    for (mail_from, author, passes) in [
        ("x@b.example", "b.example", true),
        ("x@mail.b.example", "b.example", false),
        ("x@b.example", "mail.b.example", false),
        ("x@b.example", "own.b.example", true),
        ("x@mail.c.example", "c.example", true),
    ] {
        let step = inquiry(&dns, mail_from).by_spf(&d(author)).await;
        assert_eq!(matches!(step, Step::Aligned(_)), passes, "{mail_from} {author}");
    }
}

#[tokio::test]
async fn dns_is_asked_only_where_it_can_matter() {
    let (zone, dns) = world();
    zone.txt("b.example", "v=spf1 ip4:192.0.2.1 -all");
    inquiry(&dns, "x@c.example").by_spf(&d("b.example")).await;
    by_dkim(&dns, "b.example", LETTER).await;
    let foreign = signed(&signer(&zone, "c.example"), LETTER);
    assert_not(by_dkim(&dns, "b.example", &foreign).await, "no signature that could speak");
    let altered = signed(&signer(&zone, "b.example"), LETTER).replace("Dear", "Poor");
    assert_not(by_dkim(&dns, "b.example", &altered).await, "body hash");
    assert_eq!(zone.asked_in_all(), 0);
    assert!(matches!(inquiry(&dns, "x@b.example").by_spf(&d("b.example")).await, Step::Aligned(_)));
    assert_eq!((zone.asked("b.example"), zone.asked_in_all()), (1, 1), "no DMARC record for the very domain");
    for _ in 0..100 {
        assert!(matches!(inquiry(&dns, "y@b.example").by_spf(&d("b.example")).await, Step::Aligned(_)));
    }
    assert_eq!(zone.asked_in_all(), 1, "and nothing for the same sender again");
}

#[tokio::test]
async fn a_good_signature_speaks_for_the_author() {
    let (zone, dns) = world();
    let ed = signed(&signer(&zone, "b.example"), LETTER);
    assert_eq!(by_dkim(&dns, "b.example", &ed).await, aligned(Means::Dkim, "b.example"));
    let (key, record) = rsa();
    zone.txt("s2._domainkey.mail.b.example", record);
    let rsa = DkimSigner::from_key(key).domain("mail.b.example").selector("s2").headers(["From"]);
    let rsa = format!("{}{LETTER}", rsa.sign(LETTER.as_bytes()).unwrap().to_header());
    assert_eq!(by_dkim(&dns, "b.example", &rsa).await, aligned(Means::Dkim, "mail.b.example"));
    assert_not(by_dkim(&dns, "c.example", &rsa).await, "no signature that could speak");
}

#[tokio::test]
async fn every_canonicalization_holds_with_lf_ends_and_from_a_milters_fields() {
    let (zone, dns) = world();
    for (ch, cb) in [
        (Canonicalization::Simple, Canonicalization::Simple),
        (Canonicalization::Simple, Canonicalization::Relaxed),
        (Canonicalization::Relaxed, Canonicalization::Simple),
        (Canonicalization::Relaxed, Canonicalization::Relaxed),
    ] {
        for letter in
            [LETTER, "From: bob@b.example\r\nSubject:x\r\n\r\n", "From: bob@b.example\r\n\r\nno end"]
        {
            let signer = signer(&zone, "b.example").header_canonicalization(ch).body_canonicalization(cb);
            zone.remove("s1._domainkey.b.example").txt("s1._domainkey.b.example", ed25519().1);
            let crlf = signed(&signer, letter);
            let lf = crlf.replace("\r\n", "\n");
            for message in [&crlf, &lf] {
                let found = by_dkim(&dns, "b.example", message).await;
                assert_eq!(found, aligned(Means::Dkim, "b.example"), "{ch:?}/{cb:?} {message}");
            }
            // A milter gets folds as LF and the body as CRLF.
            let parts = crate::message::split_message(crlf.as_bytes());
            let fields: Vec<_> = parts
                .headers
                .iter()
                .map(|field| (field.name, String::from_utf8_lossy(field.value).replace("\r\n", "\n")))
                .collect();
            let letter = Letter::from_fields(fields.iter().map(|(n, v)| (*n, v.as_bytes())), parts.body);
            let found = inquiry(&dns, "<>").by_dkim(&d("b.example"), &letter).await;
            assert_eq!(found, aligned(Means::Dkim, "b.example"), "{ch:?}/{cb:?} from fields");
        }
    }
}

#[tokio::test]
async fn what_is_no_proof() {
    let (zone, dns) = world();
    let good = signer(&zone, "b.example");
    let whole = signed(&good, LETTER);
    let partly = signed(&signer(&zone, "b.example").body_length(true), LETTER);
    let bare =
        DkimSigner::from_key(ed25519().0).domain("b.example").selector("s1").headers(["To", "Subject"]);
    let unsigned_from = signed(&bare, LETTER);
    let table = [
        ("as signed", whole.clone(), true),
        ("another body", whole.replace("how", "who"), false),
        ("another subject", whole.replace("Hello", "Hallo"), false),
        ("another author", whole.replace("bob@b.example", "eve@b.example"), false),
        ("a second From above", whole.replacen("From:", "From: eve@b.example\r\nFrom:", 1), false),
        ("a second From below", whole.replacen("\r\nTo:", "\r\nFrom : eve@b.example\r\nTo:", 1), false),
        ("a body longer than signed", format!("{partly}And this.\r\n"), false),
        ("a body as long as signed", partly, false),
        ("From not signed", unsigned_from, false),
        ("SHA-1", whole.replace("ed25519-sha256", "rsa-sha1"), false),
        ("a signature that is none", format!("DKIM-Signature: v=1; d=b.example\r\n{LETTER}"), false),
        ("no header at all", "\r\n\r\n".to_owned(), false),
        ("nothing", String::new(), false),
    ];
    for (what, message, proves) in table {
        let found = by_dkim(&dns, "b.example", &message).await;
        let expected = if proves {
            matches!(found, Authentication::Aligned(_))
        } else {
            matches!(found, Authentication::Not(_))
        };
        assert!(expected, "{what}: {found:?}");
    }
}

#[tokio::test]
async fn keys_that_are_gone_revoked_broken_or_unreachable() {
    let (zone, dns) = world();
    let table = [
        ("gone", None, Manner::Records, "record not found"),
        ("revoked", Some("v=DKIM1; k=ed25519; p="), Manner::Records, "revoked"),
        ("broken", Some("v=DKIM1; k=ed25519; p=AAAA"), Manner::Records, "ignature"),
        ("other", Some("unrelated"), Manner::Records, "nvalid record"),
        ("servfail", None, Manner::ServFail, ""),
        ("refused", None, Manner::Refused, ""),
        ("silent", None, Manner::Silent, ""),
    ];
    for (selector, record, manner, why) in table {
        let name = format!("{selector}._domainkey.b.example");
        zone.manner(&name, manner);
        if let Some(record) = record {
            zone.txt(&name, record);
        }
        let signer =
            DkimSigner::from_key(ed25519().0).domain("b.example").selector(selector).headers(["From"]);
        let found = by_dkim(&dns, "b.example", &signed(&signer, LETTER)).await;
        if manner == Manner::Records {
            assert_not(found, why);
        } else {
            assert_trouble(&found);
        }
    }
}

#[tokio::test]
async fn an_expired_signature_proves_nothing() {
    let (zone, dns) = world();
    let fresh = signed(&signer(&zone, "b.example").expiration(3_600), LETTER);
    assert_eq!(by_dkim(&dns, "b.example", &fresh).await, aligned(Means::Dkim, "b.example"));
    let expired = signed(&signer(&zone, "b.example").expiration(1), LETTER);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_not(by_dkim(&dns, "b.example", &expired).await, "expired");
}

#[tokio::test]
async fn a_domain_that_wants_its_own_signature_gets_it() {
    let (zone, dns) = world();
    zone.txt("_dmarc.b.example", "v=DMARC1; p=reject; adkim=s")
        .txt("_dmarc.c.example", "v=DMARC1; p=reject; adkim=!; aspf=s");
    zone.manner("_dmarc.d.example", Manner::ServFail);
    for (author, signing, verdict) in [
        ("b.example", "b.example", Some(true)),
        ("b.example", "mail.b.example", Some(false)),
        ("news.b.example", "b.example", Some(false)),
        ("c.example", "mail.c.example", Some(true)),
        ("a.github.io", "b.github.io", Some(false)),
        ("d.example", "d.example", Some(true)),
        ("d.example", "mail.d.example", None),
    ] {
        let letter = LETTER.replace("b.example", author);
        let found = by_dkim(&dns, author, &signed(&signer(&zone, signing), &letter)).await;
        match verdict {
            Some(true) => assert_eq!(found, aligned(Means::Dkim, signing), "{author} {signing}"),
            Some(false) => assert!(matches!(found, Authentication::Not(_)), "{author} {signing}: {found:?}"),
            None => assert_trouble(&found),
        }
    }
}

#[tokio::test]
async fn trouble_with_one_means_gives_way_to_the_other() {
    let (zone, dns) = world();
    zone.manner("b.example", Manner::ServFail).txt("c.example", "v=spf1 ip4:192.0.2.1 -all");
    zone.manner("dead._domainkey.c.example", Manner::ServFail)
        .manner("dead._domainkey.b.example", Manner::ServFail);
    let author = d("b.example");
    let plain = Letter::from_message(LETTER.as_bytes());
    let mut inquiry_b = inquiry(&dns, "x@b.example");
    assert_eq!(inquiry_b.by_spf(&author).await, Step::AskDkim);
    assert_trouble(&inquiry_b.by_dkim(&author, &plain).await);

    let message = signed(&signer(&zone, "b.example"), LETTER);
    let letter = Letter::from_message(message.as_bytes());
    let found = inquiry(&dns, "x@b.example").by_dkim(&author, &letter).await;
    assert_eq!(found, aligned(Means::Dkim, "b.example"), "SPF in trouble, signature good");

    let dead = DkimSigner::from_key(ed25519().0).domain("b.example").selector("dead").headers(["From"]);
    let both = format!("{}{message}", dead.sign(LETTER.as_bytes()).unwrap().to_header());
    let letter = Letter::from_message(both.as_bytes());
    let found = inquiry(&dns, "x@elsewhere.example").by_dkim(&author, &letter).await;
    assert_eq!(found, aligned(Means::Dkim, "b.example"), "one key in trouble, the other good");

    let foreign = signed(
        &DkimSigner::from_key(ed25519().0).domain("c.example").selector("dead").headers(["From"]),
        LETTER,
    );
    let letter = Letter::from_message(foreign.as_bytes());
    let found = inquiry(&dns, "x@c.example").by_dkim(&author, &letter).await;
    assert!(matches!(found, Authentication::Not(_)), "trouble of strangers is none: {found:?}");
}

#[tokio::test]
async fn all_waiting_for_one_letter_is_bounded() {
    let (zone, dns) = world();
    zone.manner("b.example", Manner::Silent);
    let mut message = LETTER.to_owned();
    for i in 0..30 {
        let selector = format!("s{i}");
        zone.manner(&format!("{selector}._domainkey.b.example"), Manner::Silent);
        let signer =
            DkimSigner::from_key(ed25519().0).domain("b.example").selector(selector).headers(["From"]);
        message = format!("{}{message}", signer.sign(LETTER.as_bytes()).unwrap().to_header());
    }
    let start = std::time::Instant::now();
    let mut inquiry = inquiry(&dns, "x@b.example");
    assert_trouble(&inquiry.by_dkim(&d("b.example"), &Letter::from_message(message.as_bytes())).await);
    let took = start.elapsed();
    assert!(took < CHECK_TIME + Duration::from_secs(2), "{took:?}");
    assert_eq!(inquiry.spf().await.result, SpfResult::TempError);
    assert!(start.elapsed() < CHECK_TIME + Duration::from_secs(2), "and nothing is asked again");
}

#[tokio::test]
async fn so_many_signatures_are_looked_at_those_of_the_author_first() {
    let (zone, dns) = world();
    let mut message = signed(&signer(&zone, "b.example"), LETTER);
    let (field, _) = message.split_once(LETTER).unwrap();
    let bad = field.replace("d=b.example", "d=x.b.example");
    let worse = field.replace("b=", "b=AAAA");
    message = format!("{}{message}", bad.repeat(50));
    assert_eq!(by_dkim(&dns, "b.example", &message).await, aligned(Means::Dkim, "b.example"));
    let mut inquiry = inquiry(&dns, "<>");
    let letter = format!("{}{message}", worse.repeat(50));
    let found = inquiry.signatures(&Letter::from_message(letter.as_bytes()), &[d("b.example")]).await;
    assert_eq!(found.len(), dkim::SIGNATURES_MAX);
    assert!(zone.asked_in_all() < 5);
}

#[tokio::test]
async fn signatures_say_what_they_cover_and_for_whom() {
    let (zone, dns) = world();
    let letter = format!("List-Id: <news.list.example>\r\n{LETTER}");
    let list =
        DkimSigner::from_key(ed25519().0).domain("list.example").selector("s1").headers(["From", "List-Id"]);
    zone.txt("s1._domainkey.list.example", ed25519().1);
    let message = signed(&list, &signed(&signer(&zone, "b.example"), &letter));
    let letter = Letter::from_message(message.as_bytes());
    let mut inquiry = inquiry(&dns, "<>");
    let found = inquiry.signatures(&letter, &[d("news.list.example"), d("b.example")]).await;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|f| f.result == DkimResult::Good && f.selector == "s1"), "{found:?}");
    let of_list = found.iter().find(|f| f.domain == d("list.example")).unwrap();
    assert!(of_list.signed.iter().any(|name| name == "list-id"));
    let of_author = found.iter().find(|f| f.domain == d("b.example")).unwrap();
    assert!(!of_author.signed.iter().any(|name| name == "list-id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_bodies_without_end_take_no_time_without_end() {
    let (zone, dns) = world();
    let body = "All work and no play makes Jack a dull boy.\r\n".repeat(50_000);
    let many = "Subject: x\r\nReceived: y\r\n".repeat(30_000);
    let letter = format!("{many}From: bob@b.example\r\n\r\n{body}");
    let names = ["Subject", "Received"].into_iter().cycle().take(80).chain(["From"]);
    let signer = DkimSigner::from_key(ed25519().0).domain("b.example").selector("s1").headers(names);
    zone.txt("s1._domainkey.b.example", ed25519().1);
    let message = signed(&signer, &letter);
    let start = std::time::Instant::now();
    let found = by_dkim(&dns, "b.example", &message).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(matches!(found, Authentication::Aligned(_) | Authentication::Not(_)), "{found:?}");
}

#[test]
fn a_fields_value_cannot_bring_in_another_field() {
    let fields: [(&[u8], &[u8]); 3] =
        [(b"X", b" a\nFrom: eve@b.example\n\n\nbody"), (b"From", b" bob@b.example\r\n"), (b"Y", b"")];
    let letter = Letter::from_fields(fields, b"");
    let want = "X: a\r\n From: eve@b.example\r\n \r\n \r\n body\r\nFrom: bob@b.example\r\nY:\r\n";
    assert_eq!(letter.head(), want.as_bytes());
}

#[test]
fn which_signatures_are_worth_the_body() {
    let base = "v=1; a=ed25519-sha256; d=b.example; s=s1; h=From:To; bh=AAAA; b=AAAA";
    let author = d("b.example");
    assert!(dkim::may_speak_for(base.as_bytes(), &author));
    for (from, to) in [
        ("b.example", "c.example"),
        ("b.example", "example"),
        ("b.example", "-b.example"),
        ("v=1", "v=2"),
        ("v=1; ", ""),
        ("ed25519-sha256", "rsa-sha1"),
        ("ed25519-sha256", "rsa-md5"),
        ("h=From:To", "h=To"),
        ("s=s1", "s=a\\"),
        ("s=s1", "s=a..b"),
        ("s=s1", "s="),
        ("b=AAAA", "b="),
        ("bh=AAAA", "bh=AAAA; l=0"),
        ("bh=AAAA", "bh=AAAA; l=1000"),
        ("bh=AAAA", "bh=AAAA;\r\n\tL =0"),
    ] {
        assert!(!dkim::may_speak_for(base.replacen(from, to, 1).as_bytes(), &author), "{from} -> {to}");
    }
    assert!(dkim::may_speak_for(base.replace("b.example", "Mail.B.Example").as_bytes(), &author));
    let long = base.replace("From", &format!("From{}", ":x".repeat(10_000)));
    assert!(!dkim::may_speak_for(long.as_bytes(), &author));
}

#[tokio::test]
async fn a_head_made_to_hurt_takes_linear_time() {
    let (zone, dns) = world();
    let (field, _) = signed(&signer(&zone, "b.example"), LETTER)
        .split_once("From:")
        .map(|(f, l)| (f.to_owned(), l.len()))
        .unwrap();
    for unit in [
        "(",
        "<",
        "\"",
        "=?utf-8?q?",
        "=?utf-8?b?",
        ",",
        "a@b.example,",
        "x:;",
        "\\",
        "\r\n ",
        ";b=",
        ";h=a:b",
        ";z=x|y",
    ] {
        for name in [
            "From: bob@b.example",
            "From: ",
            "DKIM-Signature: v=1; d=b.example",
            "ARC-Seal: i=1",
            "Subject: ",
        ] {
            let hurt = format!("{name}{}\r\n", unit.repeat(500_000 / unit.len()));
            let message = format!("{field}{hurt}From: bob@b.example\r\n\r\nx");
            let start = std::time::Instant::now();
            assert!(!matches!(by_dkim(&dns, "b.example", &message).await, Authentication::Aligned(_)));
            assert!(start.elapsed() < Duration::from_secs(3), "{name} {unit}: {:?}", start.elapsed());
        }
    }
}

/// A signature of [`SHORT_LETTER`] by an RSA key of 768 bits, which holds and must not count.
const SHORT_SIGNATURE: &str = "VKJvy+T8SRdcgnhIDu/irD2Vs/UPWEkRG5YE8Bxn0hsONK5eWSjGDhJghEjP8pKcFvNoEh1c1fxw6h/JzLpLnZ5cLuwfAVmceAb6\
9OQmIiq/Z0Iik8iC6muYYDoyDssn";
const SHORT_KEY: &str = "MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhANstoEgRCXi7ofYeusySU3c7Sj77H71Fu4RRg4WqKYBoOufv5a4omwJl8lXNpIISbzH5\
7deTEOkrjjawZVzYRRyujeWydFPQmXkkwH41bNppBENmxDeU1v1unYqMIXohvwIDAQAB";
/// The same by the key of 2,048 bits, to show that nothing else is wrong with it.
const LONG_SIGNATURE: &str = "VrnIhHIqhKxF1AV22/gF6DbR9qDHwr5d5psUxiS8VYyfxoZjyB2mnCU5b/Zs+bk1Brss84unz6YEysgqTe3d2YVavTbuInNtW8fd\
OppaxaL8861U44z4PsyFvpWeG7jYr21v905ktaITB+DADgfj32kZZde0Sv5Uc49KI43w0Pv43hvgPigQ+AB6y/m/NxKQKocO6Man\
XrenSIy8zKAwZhGlF6ADcdAvsBn5OOUK4VCWGSDvWh/Llu6B6cROIqDKgB0ElT617g0kiD3xhGUm1jzOZF+r/wHz0o+bEuVaOlCv\
/wCwlFkSNSIBAaOGDiEbt3qz3G72Ki8Abj/4A/MH1Q==";
const SHORT_LETTER: &str = "From: bob@b.example\r\n\r\nShort key.\r\n";

#[tokio::test]
async fn a_key_too_short_does_not_count() {
    let (zone, dns) = world();
    zone.txt("short._domainkey.b.example", format!("v=DKIM1; p={SHORT_KEY}"))
        .txt("long._domainkey.b.example", rsa().1);
    let letter = |selector: &str, signature: &str| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=b.example; s={selector}; h=From; \
             bh=Cb14Slp9mnMWtxTI2Z9moHcqOnygIzmtVogcmYpWBvQ=; b={signature}\r\n{SHORT_LETTER}"
        )
    };
    assert_eq!(
        by_dkim(&dns, "b.example", &letter("long", LONG_SIGNATURE)).await,
        aligned(Means::Dkim, "b.example")
    );
    assert_not(by_dkim(&dns, "b.example", &letter("short", SHORT_SIGNATURE)).await, "signature of b.example");
}

#[test]
fn no_signature_field_and_no_head_makes_it_fall_over() {
    let pieces = "(DKIM-Signature: ?|From: ?|ARC-Seal: |[ \t]|v=1; ?|a=(rsa|ed25519)-sha(1|256);|d=b.example; ?|s=s1;|h=|bh?=\
                  |c=(simple|relaxed)/?|x=|l=|z=|=\\?|\r?\n|[ -~]{0,8}|\\PC{0,3}){0,60}";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_zone, dns) = world();
    proptest::proptest!(|(head in pieces, noise in proptest::collection::vec(proptest::num::u8::ANY, 0..64))| {
        let message = [head.as_bytes(), &noise].concat();
        let _ = dkim::may_speak_for(&message, &d("b.example"));
        let letter = Letter::from_message(&message);
        let found = runtime.block_on(inquiry(&dns, "<>").by_dkim(&d("b.example"), &letter));
        proptest::prop_assert!(!matches!(found, Authentication::Aligned(_)));
    });
}

#[test]
fn no_key_record_makes_it_fall_over() {
    let pieces = "(v=DKIM1|k=rsa|k=ed25519|h=sha(1|256)|t=[sy:]{1,3}|s=email|p=|n=|;|=| |[A-Za-z0-9+/]{1,40}|\\PC{0,3}){0,20}";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (zone, dns) = world();
    let number = std::cell::Cell::new(0);
    proptest::proptest!(|(head in pieces, der in proptest::collection::vec(proptest::num::u8::ANY, 0..300), rsa in proptest::bool::ANY)| {
        number.set(number.get() + 1);
        let selector = format!("f{}", number.get());
        let algorithm = if rsa { "rsa-sha256" } else { "ed25519-sha256" };
        let key = data_encoding::BASE64.encode(&[if rsa { &[0x30_u8, 0x82][..] } else { &[] }, &der].concat());
        zone.txt(&format!("{selector}._domainkey.b.example"), format!("{head};p={key}"));
        let message = format!(
            "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d=b.example; s={selector}; h=From; \
             bh=Cb14Slp9mnMWtxTI2Z9moHcqOnygIzmtVogcmYpWBvQ=; b={LONG_SIGNATURE}\r\n{SHORT_LETTER}"
        );
        let found = runtime.block_on(by_dkim(&dns, "b.example", &message));
        proptest::prop_assert!(matches!(found, Authentication::Not(_)), "{found:?}");
    });
}
