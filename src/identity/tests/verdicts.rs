//! SPF, DKIM and DMARC together: whether the author's domain stands behind a letter.

use super::*;

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
    zone.txt("_dmarc.two.b.example", "v=DMARC1; aspf=s").txt("_dmarc.two.b.example", "v=DMARC1; p=none");
    for (mail_from, author, passes) in [
        ("x@b.example", "b.example", true),
        ("x@mail.b.example", "b.example", false),
        ("x@b.example", "mail.b.example", false),
        ("x@b.example", "own.b.example", true),
        ("x@b.example", "two.b.example", true),
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
async fn an_inquiry_can_be_made_on_any_thread() {
    let (zone, dns) = world();
    zone.txt("b.example", "v=spf1 ip4:192.0.2.1 -all");
    let mut inquiry = inquiry(&dns, "x@b.example");
    let found = tokio::spawn(async move {
        let letter = Letter::from_message(LETTER.as_bytes());
        inquiry.by_dkim(&d("b.example"), &letter).await
    });
    assert_eq!(found.await.unwrap(), aligned(Means::Spf, "b.example"));
}

#[tokio::test]
async fn a_list_stands_behind_its_id_by_spf_or_by_a_signature_that_covers_it() {
    let (zone, dns) = world();
    for domain in ["lists.example", "elsewhere.example", "a.github.io"] {
        zone.txt(domain, "v=spf1 ip4:192.0.2.1 -all");
    }
    let letter = format!("List-Id: Users <users.lists.example>\r\n{LETTER}");
    let open = signed(&signer(&zone, "lists.example"), &letter);
    signer(&zone, "elsewhere.example");
    let covering_by = |domain: &str| {
        let signer = DkimSigner::from_key(ed25519().0).domain(domain).selector("s1");
        signed(&signer.headers(["From", "List-Id"]), &letter)
    };
    let (covering, foreign) = (covering_by("lists.example"), covering_by("elsewhere.example"));
    let table = [
        ("users-bounces+bob=b.example@lists.example", "users.lists.example", &letter, Some(Means::Spf)),
        ("users-bounces@elsewhere.example", "users.lists.example", &letter, None),
        ("x@a.github.io", "users.b.github.io", &letter, None),
        ("x@elsewhere.example", "users.lists.example", &covering, Some(Means::Dkim)),
        ("x@elsewhere.example", "users.lists.example", &open, None),
        ("x@elsewhere.example", "users.lists.example", &foreign, None),
        ("x@elsewhere.example", "users.lists.example", &covering.replace("Users <", "Others <"), None),
    ];
    for (mail_from, list, message, means) in table {
        let whole = Letter::from_message(message.as_bytes());
        let found = inquiry(&dns, mail_from).list_by_dkim(&d(list), &whole).await;
        let by = match &found {
            Authentication::Aligned(proof) => Some(proof.means),
            _ => None,
        };
        assert_eq!(by, means, "{mail_from} {list}: {found:?}");
        assert!(!matches!(found, Authentication::Trouble(_)), "{mail_from} {list}: {found:?}");
    }
    zone.manner("lists.example", Manner::ServFail);
    let fresh = Dns::new(&[zone.address()]).unwrap();
    let mut inquiry = inquiry(&fresh, "users-bounces@lists.example");
    let whole = Letter::from_message(letter.as_bytes());
    assert_trouble(&inquiry.list_by_dkim(&d("users.lists.example"), &whole).await);
}

#[tokio::test]
async fn domains_beyond_ascii_are_one_domain_however_they_are_written() {
    let (zone, dns) = world();
    let (letters, ascii) = ("b\u{fc}cher.example", "xn--bcher-kva.example");
    zone.txt(ascii, "v=spf1 ip4:192.0.2.1 -all");
    let author = crate::message::author(&[format!("Bob <bob@{letters}>").as_bytes()]).unwrap();
    for sender in [letters, ascii, "B\u{dc}CHER.example", "mail.xn--bcher-kva.example"] {
        let step = inquiry(&dns, &format!("bob@{sender}")).by_spf(author.domain()).await;
        let own = !sender.starts_with("mail.");
        assert_eq!(matches!(step, Step::Aligned(_)), own, "{sender}");
    }
    signer(&zone, ascii);
    let letter = LETTER.replace("b.example", letters);
    for signing in [letters, ascii] {
        let signer = DkimSigner::from_key(ed25519().0).domain(signing).selector("s1").headers(["From"]);
        let found = by_dkim(&dns, ascii, &signed(&signer, &letter)).await;
        assert_eq!(found, aligned(Means::Dkim, ascii), "{signing}");
    }
    // One that only looks like it.
    signer(&zone, "bucher.example");
    let foreign = signer(&zone, "bucher.example");
    assert_not(by_dkim(&dns, ascii, &signed(&foreign, &letter)).await, "no signature that could speak");
}

#[tokio::test]
async fn tenants_of_a_private_suffix_are_organisations_of_their_own() {
    let (zone, dns) = world();
    for domain in ["a.github.io", "mail.a.github.io", "b.github.io", "github.io", "a.co.uk", "b.co.uk"] {
        zone.txt(domain, "v=spf1 ip4:192.0.2.1 -all");
    }
    zone.txt("_dmarc.a.github.io", "v=DMARC1; p=none; aspf=s")
        .txt("_dmarc.github.io", "v=DMARC1; p=reject; aspf=r")
        .txt("_dmarc.co.uk", "v=DMARC1; p=reject; aspf=s");
    for (mail_from, author, passes) in [
        ("x@a.github.io", "a.github.io", true),
        ("x@mail.a.github.io", "a.github.io", false),
        ("x@mail.a.github.io", "www.a.github.io", false),
        ("x@b.github.io", "a.github.io", false),
        ("x@github.io", "a.github.io", false),
        ("x@github.io", "github.io", true),
        ("x@b.co.uk", "a.co.uk", false),
        ("x@a.co.uk", "www.a.co.uk", true),
    ] {
        let step = inquiry(&dns, mail_from).by_spf(&d(author)).await;
        assert_eq!(matches!(step, Step::Aligned(_)), passes, "{mail_from} {author}");
    }
    assert_eq!(zone.asked("_dmarc.github.io") + zone.asked("_dmarc.co.uk"), 0, "suffixes speak for nobody");
}
