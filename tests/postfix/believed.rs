//! Who is believed to be whom: programs of this machine, logins, clients on IPv6, fields of earlier servers, bounces.

use super::*;

#[test]
fn mail_of_this_machines_programs_is_free_and_strangers_programs_are_told_the_price() {
    let free = Mx::with(&Site::gate("exempt_networks = [\"127.0.0.0/8\"]"), |config| PostfixConfig {
        non_smtpd_milters: config.smtpd_milters.clone(),
        ..config
    });
    let forged = format!("Postage-Wanted: <mailto:x@b.example>\n{}", letter("cron"));
    assert!(free.postfix.submit("root@b.example", &[BOB], forged.as_bytes()).status.success());
    let mail = free.delivered(1, "cron");
    assert_eq!(mail.header("Postage-Status"), [format!("mx.b.example; result=exempt; rcpt={BOB}")]);
    assert!(mail.header("Postage-Wanted").is_empty(), "forged here, too");

    // The letter passes here again, as from a content filter: what the first pass found stays.
    let mut from_filter = mail.bytes.clone();
    from_filter.splice(..0, b"X-Filter: clean\n".iter().copied());
    accepted(&free.local().send_mail(ALICE, &[BOB], &from_filter));
    let again = free.postfix.wait_for_mail(2, LIMIT);
    let again = again.iter().find(|mail| !mail.header("X-Filter").is_empty()).unwrap();
    assert_eq!(again.header("Postage-Status"), [format!("mx.b.example; result=exempt; rcpt={BOB}")]);

    // Where no network is exempt, such a letter is refused at its end, never at a recipient: the queue goes on.
    let strict = Mx::with(&Site::default(), |config| PostfixConfig {
        non_smtpd_milters: config.smtpd_milters.clone(),
        ..config
    });
    let stamp = strict.world.buy(1).remove(0);
    assert!(strict.postfix.submit(ALICE, &[BOB], letter("refused").as_bytes()).status.success());
    strict.postfix.wait_for_log("milter-reject: END-OF-MESSAGE", LIMIT);
    let paid = stamped(&stamp, &letter("paid"));
    assert!(strict.postfix.submit(ALICE, &[BOB], paid.as_bytes()).status.success());
    assert_eq!(result(&strict.delivered(1, "paid")), "paid");
    strict
        .postfix
        .wait_until("an empty maildrop queue", LIMIT, || strict.postfix.queue("maildrop").is_empty());
}

#[test]
fn a_login_is_never_asked_whatever_it_writes() {
    // Postfix says who has logged in by a macro; here for everybody who comes to this port.
    let mx = Mx::with(&Site::default(), |config| PostfixConfig {
        smtpd_options: vec!["milter_macro_defaults=auth_authen=bob".into()],
        ..config
    });
    accepted(&mx.send(&letter("first")));
    assert_eq!(result(&mx.delivered(1, "first")), "exempt");
    let mut smtp = mx.alice();
    accepted(&smtp.send_mail("bob@b.example", &["carol@b.example"], letter("second").as_bytes()));
    assert_eq!(result(&mx.delivered(2, "second")), "exempt", "and the next letter of the session");
    assert_eq!(mx.world.zone.asked_in_all(), 0);
}

/// As the README has it.
const STRIP: &str =
    "/^Authentication-Results[[:space:]]*:[[:space:]]*mx\\.b\\.example([^[:alnum:].-]|$)/ IGNORE\n";

#[test]
fn header_checks_take_forged_results_away_before_they_are_believed() {
    assert!(fs::read_to_string("README.md").unwrap().contains(STRIP.trim_end()), "the README says another");
    let site = Site {
        more: "[identity]\ncheck = \"results\"\ntrusted = [\"mx.b.example\"]\n".into(),
        ..Site::default()
    };
    let forged = |field: &str| format!("{field} dmarc=pass header.from=a.example\n{}", letter("results"));
    let open = Mx::start(&site);
    assert!(open.world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    accepted(&open.send(&forged("Authentication-Results: mx.b.example;")));
    assert_eq!(result(&open.delivered(1, "results")), "known", "believed where nobody takes it away");

    let mx = Mx::with(&site, |config| {
        let table = open.world.path("header_checks");
        fs::write(&table, STRIP).unwrap();
        config.main(format!("header_checks = regexp:{}", table.display()))
    });
    assert!(mx.world.farthing(&["known", "add", ALICE, "--for", BOB]).status.success());
    for field in [
        "Authentication-Results: mx.b.example;",
        "authentication-results : MX.B.example ;",
        "Authentication-Results:\n\tmx.b.example 1;",
        "Authentication-Results:mx.b.example\n ;",
        "Authentication-Results: mx.b.example(x);",
        "Authentication-Results: (x) mx.b.example;",
        "Authentication-Results: \"mx.b.example\";",
        "Authentication-Results: mx.m.example; spf=pass\nAuthentication-Results: mx.b.example;",
    ] {
        assert_eq!(mx.send(&forged(field)).to_string(), mx.refusal(BOB), "{field:?}");
    }
}

#[test]
fn clients_on_ipv6_are_who_they_are() {
    let site = Site::gate("exempt_networks = [\"2001:db8:ffff::/48\"]");
    let mx = Mx::start(&site);
    mx.world.zone.txt("six.example", "v=spf1 ip6:2001:db8:1::/64 -all");
    assert!(mx.world.farthing(&["known", "add", "ann@six.example", "--for", BOB]).status.success());
    let send = |ip: &str, subject: &str| {
        let letter = letter(subject).replace(ALICE, "ann@six.example");
        mx.session(&format!("IPV6:{ip}")).send_mail("ann@six.example", &[BOB], letter.as_bytes())
    };
    accepted(&send("2001:db8:1::25", "known"));
    assert_eq!(result(&mx.delivered(1, "known")), "known");
    assert_eq!(send("2001:db8:2::25", "forged").to_string(), mx.refusal(BOB));
    accepted(&send("2001:db8:ffff:1::1", "exempt"));
    assert_eq!(result(&mx.delivered(2, "exempt")), "exempt");
}

#[test]
fn a_bounce_needs_a_stamp_as_well() {
    let mx = Mx::start(&Site::default());
    let stamp = mx.world.buy(1).remove(0);
    let mut smtp = mx.alice();
    let answer = smtp.send_mail("", &[BOB], letter("bounce").as_bytes());
    assert_eq!(answer.to_string(), mx.refusal(BOB));
    accepted(&smtp.send_mail("", &[BOB], stamped(&stamp, &letter("bounce")).as_bytes()));
    assert_eq!(result(&mx.delivered(1, "bounce")), "paid");
    accepted(&smtp.send_mail("", &["postmaster@b.example"], letter("help").as_bytes()));
    assert_eq!(result(&mx.delivered(2, "help")), "exempt");
}
