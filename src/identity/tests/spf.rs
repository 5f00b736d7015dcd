//! SPF records and what they say of a client.

use std::net::{IpAddr, Ipv6Addr};

use super::super::spf::check;
use super::*;

fn from(client: &str, mail_from: &str) -> Envelope {
    Envelope::new(Some(client.parse().unwrap()), b"mail.helo.example", mail_from.as_bytes())
}

async fn result(dns: &Dns, client: &str, mail_from: &str) -> SpfResult {
    check(dns, &from(client, mail_from)).await.result
}

#[tokio::test]
async fn results_of_a_record() {
    use SpfResult::*;
    let (zone, dns) = world();
    zone.address_of("host.example", [192, 0, 2, 1])
        .address_of("host.example", "2001:db8::1".parse::<IpAddr>().unwrap())
        .mx("mx.example", 10, "host.example")
        .txt("ok.example", "v=spf1 ip4:192.0.2.0/28 -all")
        .txt("other.example", "v=spf1 ?include:ok.example ~all");
    let table = [
        ("v=spf1 ip4:192.0.2.0/24 -all", Pass),
        ("v=spf1 ip4:198.51.100.0/24 -all", Fail),
        ("v=spf1 ~all", SoftFail),
        ("v=spf1 ?all", Neutral),
        ("v=spf1", Neutral),
        ("V=SPF1 +ALL", Pass),
        ("v=spf1 a:host.example -all", Pass),
        ("v=spf1 a:host.example/30 -all", Pass),
        ("v=spf1 mx:mx.example -all", Pass),
        ("v=spf1 a:nowhere.example mx:nowhere.example -all", Fail),
        ("v=spf1 exists:%{ir}.%{l}.list.example -all", Fail),
        ("v=spf1 exists:%{o}.example -all", Fail),
        ("v=spf1 exists:host.example -all", Pass),
        ("v=spf1 include:ok.example -all", Pass),
        ("v=spf1 -include:ok.example +all", Fail),
        ("v=spf1 include:other.example -all", Fail),
        ("v=spf1 ?include:other.example -all", Fail),
        ("v=spf1 redirect=ok.example", Pass),
        ("v=spf1 -all redirect=ok.example", Fail),
        ("v=spf1 exp=why.example -all", Fail),
        ("v=spf1 some-modifier=x ip4:192.0.2.1", Pass),
        ("v=spf1 include:nowhere.example ip4:192.0.2.1", PermError),
        ("v=spf1 redirect=nowhere.example", PermError),
        ("v=spf1 ip4:192.0.2.1/x -all", PermError),
        ("v=spf1 ip4:192.0.2 -all", PermError),
        // A slip of the pen beside what the domain means is read over, as most receivers do.
        ("v=spf1 ipv4:198.51.100.1 ip4:192.0.2.1 -all", Pass),
        ("v=spf1 include:b.example +all", PermError),
        ("v=spf10 +all", None),
        ("spf1 +all", None),
        (" v=spf1 +all", None),
    ];
    for (i, (record, want)) in table.into_iter().enumerate() {
        let domain = format!("b{i}.example");
        zone.txt(&domain, record.replace("b.example", &domain));
        let found = check(&dns, &from("192.0.2.1", &format!("<bob@{domain}>"))).await;
        assert_eq!(
            (found.result, found.domain),
            (want, Some(domain.parse().unwrap())),
            "{record}: {}",
            found.why
        );
    }
}

#[tokio::test]
async fn a_pass_inside_a_neutral_or_failing_include_stays_inside() {
    let (zone, dns) = world();
    zone.txt("netblocks.host.example", "v=spf1 ip4:192.0.2.0/24 -all")
        .txt("spf.host.example", "v=spf1 include:netblocks.host.example -all")
        .txt("neutral.example", "v=spf1 ?include:spf.host.example -all")
        .txt("not.example", "v=spf1 -include:spf.host.example +all")
        .txt("softly.example", "v=spf1 ~include:spf.host.example -all")
        .txt("yes.example", "v=spf1 include:spf.host.example -all");
    assert_eq!(result(&dns, "192.0.2.9", "a@neutral.example").await, SpfResult::Neutral);
    assert_eq!(result(&dns, "192.0.2.9", "a@not.example").await, SpfResult::Fail);
    assert_eq!(result(&dns, "192.0.2.9", "a@softly.example").await, SpfResult::SoftFail);
    assert_eq!(result(&dns, "192.0.2.9", "a@yes.example").await, SpfResult::Pass);
}

#[tokio::test]
async fn ipv6_clients_and_ipv4_clients_written_as_ipv6() {
    let (zone, dns) = world();
    zone.txt("b.example", "v=spf1 ip6:2001:db8:1::/48 a:host.example ip4:192.0.2.1 -all")
        .address_of("host.example", "2001:db8:2::1".parse::<IpAddr>().unwrap());
    for (client, want) in [
        ("2001:db8:1::77", SpfResult::Pass),
        ("2001:db8:2::1", SpfResult::Pass),
        ("2001:db8:2::2", SpfResult::Fail),
        ("::ffff:192.0.2.1", SpfResult::Pass),
        ("::ffff:192.0.2.2", SpfResult::Fail),
        ("::192.0.2.1", SpfResult::Fail),
    ] {
        assert_eq!(result(&dns, client, "bob@b.example").await, want, "{client}");
    }
}

#[tokio::test]
async fn a_name_in_reverse_counts_only_if_it_resolves_back() {
    let (zone, dns) = world();
    zone.ptr([192, 0, 2, 1], "MX.b.example")
        .address_of("mx.b.example", [192, 0, 2, 1])
        .ptr([192, 0, 2, 66], "mx.b.example")
        .address_of("mx.b.example._spf.b.example", [127, 0, 0, 2])
        .txt("b.example", "v=spf1 ptr -all")
        .txt("m.example", "v=spf1 exists:%{p}._spf.b.example -all");
    assert_eq!(result(&dns, "192.0.2.1", "a@b.example").await, SpfResult::Pass);
    assert_eq!(result(&dns, "192.0.2.66", "a@b.example").await, SpfResult::Fail);
    assert_eq!(result(&dns, "192.0.2.1", "a@m.example").await, SpfResult::Pass);
    assert_eq!(result(&dns, "192.0.2.66", "a@m.example").await, SpfResult::Fail);
}

#[tokio::test]
async fn macros_see_the_sender_and_the_client() {
    let (zone, dns) = world();
    zone.txt("b.example", "v=spf1 exists:%{l}.%{ir}.%{v}.%{h}.%{d2}._spf.b.example -all")
        .address_of("bob.1.2.0.192.in-addr.mail.helo.example.b.example._spf.b.example", [127, 0, 0, 2]);
    assert_eq!(result(&dns, "192.0.2.1", "bob@b.example").await, SpfResult::Pass);
    assert_eq!(result(&dns, "192.0.2.1", "eve@b.example").await, SpfResult::Fail);
    assert_eq!(result(&dns, "192.0.2.1", "bo\u{eb}b@b.example").await, SpfResult::Fail);
}

#[tokio::test]
async fn a_record_may_not_ask_too_much() {
    let (zone, dns) = world();
    zone.txt("loop.example", "v=spf1 include:loop.example -all");
    for i in 0..12 {
        zone.txt(&format!("c{i}.example"), format!("v=spf1 redirect=c{}.example", i + 1));
        zone.mx("many.example", 10, &format!("mx{i}.many.example"));
    }
    zone.txt("many.example", "v=spf1 mx -all").txt("c12.example", "v=spf1 +all");
    zone.txt("wide.example", "v=spf1 a:1.x a:2.x a:3.x a:4.x a:5.x a:6.x a:7.x a:8.x a:9.x a:10.x +all");
    zone.txt(
        "wider.example",
        "v=spf1 a:1.x a:2.x a:3.x a:4.x a:5.x a:6.x a:7.x a:8.x a:9.x a:10.x a:11.x +all",
    );
    for (domain, want) in [
        ("loop.example", SpfResult::PermError),
        ("c0.example", SpfResult::PermError),
        ("c2.example", SpfResult::Pass),
        ("many.example", SpfResult::PermError),
        ("wide.example", SpfResult::Pass),
        ("wider.example", SpfResult::PermError),
    ] {
        assert_eq!(result(&dns, "192.0.2.1", &format!("a@{domain}")).await, want, "{domain}");
    }
}

#[tokio::test]
async fn two_records_are_an_error_whichever_comes_first() {
    let (zone, dns) = world();
    zone.txt("b.example", "v=spf1 +all").txt("b.example", "v=spf1 -all").txt("b.example", "unrelated");
    assert_eq!(result(&dns, "192.0.2.1", "a@b.example").await, SpfResult::PermError);
}

#[tokio::test]
async fn dns_that_fails_is_a_temporary_error_wherever_it_fails() {
    let (zone, dns) = world();
    for domain in ["itself.example", "included.example", "host.example"] {
        zone.manner(domain, Manner::ServFail);
    }
    zone.txt("a.example", "v=spf1 include:included.example -all")
        .txt("b.example", "v=spf1 a:host.example -all");
    zone.txt("early.example", "v=spf1 ip4:192.0.2.1 include:included.example -all");
    assert_eq!(result(&dns, "192.0.2.1", "a@itself.example").await, SpfResult::TempError);
    assert_eq!(result(&dns, "192.0.2.1", "a@a.example").await, SpfResult::TempError);
    assert_eq!(result(&dns, "192.0.2.1", "a@b.example").await, SpfResult::TempError);
    assert_eq!(
        result(&dns, "192.0.2.1", "a@early.example").await,
        SpfResult::Pass,
        "what is not needed is not asked"
    );
}

#[tokio::test]
async fn the_null_sender_is_the_postmaster_of_the_helo_name() {
    let (zone, dns) = world();
    zone.txt("mail.helo.example", "v=spf1 exists:%{l}.%{o}.x.example -all")
        .address_of("postmaster.mail.helo.example.x.example", [127, 0, 0, 2]);
    let found = check(&dns, &from("192.0.2.1", "<>")).await;
    assert_eq!((found.result, found.domain), (SpfResult::Pass, Some("mail.helo.example".parse().unwrap())));
}

#[tokio::test]
async fn an_envelope_without_domain_or_address_asks_nothing() {
    let (zone, dns) = world();
    let ip = Some("192.0.2.1".parse().unwrap());
    for envelope in [
        Envelope::new(ip, b"[192.0.2.1]", b"<>"),
        Envelope::new(ip, b"localhost", b"<>"),
        Envelope::new(ip, b"mail.helo.example", b"<root>"),
        Envelope::new(ip, b"mail.helo.example", b"<a@[192.0.2.1]>"),
        Envelope::new(ip, b"\xff\xfe", b""),
        Envelope::new(None, b"mail.helo.example", b"<a@b.example>"),
    ] {
        assert_eq!(check(&dns, &envelope).await.result, SpfResult::None, "{envelope:?}");
    }
    assert_eq!(zone.asked_in_all(), 0);
}

#[tokio::test]
async fn the_same_sender_again_asks_no_dns() {
    let (zone, dns) = world();
    zone.txt("b.example", "v=spf1 include:ok.example mx -all").txt("ok.example", "v=spf1 a -all");
    zone.mx("b.example", 1, "mx.b.example").address_of("mx.b.example", [192, 0, 2, 1]);
    assert_eq!(result(&dns, "192.0.2.1", "a@b.example").await, SpfResult::Pass);
    let asked = zone.asked_in_all();
    assert_eq!(asked, 5);
    for _ in 0..100 {
        assert_eq!(result(&dns, "192.0.2.1", "b@b.example").await, SpfResult::Pass);
    }
    assert_eq!(zone.asked_in_all(), asked);
}

#[test]
fn no_record_makes_it_fall_over() {
    let term = "([+?~-]?(all|a|mx|ptr|ip4|ip6|include|exists)|redirect|exp|[a-z]{1,9})[:=/]{0,2}\
                (%[{]?[slodipvhcrtSLODIPVHCRT]?[0-9]{0,12}r?[-.+,/_=]{0,2}[}]?|%[%_-]?|[0-9:./]{1,20}|x[.]example|\\PC{0,4}){0,4}";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (zone, dns) = world();
    let number = std::cell::Cell::new(0);
    proptest::proptest!(|(terms in proptest::collection::vec(term, 0..6), client in proptest::num::u128::ANY)| {
        number.set(number.get() + 1);
        let domain = format!("f{}.example", number.get());
        zone.txt(&domain, format!("v=spf1 {}", terms.join(" ")));
        let ip = Ipv6Addr::from(client).into();
        let envelope = Envelope::new(Some(ip), b"mail.helo.example", format!("bob@{domain}").as_bytes());
        let found = runtime.block_on(check(&dns, &envelope));
        proptest::prop_assert_eq!(found.domain.map(|d| d.to_string()), Some(domain));
    });
}

#[tokio::test]
async fn a_record_made_to_ask_somebodys_servers_asks_them_little() {
    let (zone, dns) = world();
    let mut record = "v=spf1".to_owned();
    for exchange in 0..10 {
        record += &format!(" mx:m{exchange}.evil.example");
        for host in 0..10 {
            zone.mx(&format!("m{exchange}.evil.example"), 10, &format!("{exchange}-{host}.victim.example"));
        }
    }
    zone.txt("evil.example", record + " +all");
    assert_eq!(result(&dns, "192.0.2.66", "x@evil.example").await, SpfResult::PermError);
    let asked = zone.asked_in_all();
    assert!(asked <= 31, "the record, ten terms and twenty names: {asked}");
}
