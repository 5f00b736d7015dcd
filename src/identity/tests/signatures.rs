//! Which signatures prove something, and which do not.

use super::*;

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

#[tokio::test]
async fn a_key_for_other_things_does_not_count() {
    let (zone, dns) = world();
    let (_, record) = ed25519();
    for (selector, limits, proves) in [
        ("any", "s=*", true),
        ("mail", "s=email; h=sha256", true),
        ("some", "s=other:email; h=sha1:sha256", true),
        ("tlsrpt", "s=tlsrpt", false),
        ("sha1", "h=sha1", false),
        ("testing", "t=y", true),
    ] {
        zone.txt(&format!("{selector}._domainkey.b.example"), format!("{record}; {limits}"));
        let signer =
            DkimSigner::from_key(ed25519().0).domain("b.example").selector(selector).headers(["From"]);
        let found = by_dkim(&dns, "b.example", &signed(&signer, LETTER)).await;
        assert_eq!(matches!(found, Authentication::Aligned(_)), proves, "{limits}: {found:?}");
    }
    assert_eq!(zone.asked_in_all(), 6, "one question a key");
}

#[tokio::test]
async fn a_signing_domain_in_any_script_is_asked_about_as_it_is_compared() {
    let (zone, dns) = world();
    zone.txt("s1._domainkey.fass.example", ed25519().1);
    let signer =
        DkimSigner::from_key(ed25519().0).domain("fa\u{df}.example").selector("s1").headers(["From"]);
    let letter = LETTER.replace("b.example", "fa\u{df}.example");
    let message = signed(&signer, &letter);
    assert_not(by_dkim(&dns, "xn--fa-hia.example", &message).await, "not found");
    dns.forget();
    zone.txt("s1._domainkey.xn--fa-hia.example", ed25519().1);
    assert_eq!(
        by_dkim(&dns, "xn--fa-hia.example", &message).await,
        aligned(Means::Dkim, "xn--fa-hia.example")
    );
}
