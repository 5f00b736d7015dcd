use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/farthing/farthing.toml")).map_err(|e| e.to_string())
}

const LEAST: &str = "[gate]\ndomains = [\"b.example\"]\n";

#[test]
fn the_least_configuration_observes() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.gate.mode, Mode::Observe);
    assert_eq!(config.gate.price.get(), 2500);
    assert_eq!(config.gate.listen, [Listen::Unix("/run/farthing/milter.sock".into())]);
    assert!(config.office.is_none());
    assert_eq!(config.ledger.refund_window_s, 30 * 86_400);
}

#[test]
fn every_key_of_the_interface() {
    let config = parse(
        r#"
[gate]
listen = ["unix:/run/farthing/milter.sock", "inet:127.0.0.1:8894"]
hostname = "mx.b.example"
domains = ["B.example", "bücher.example"]
mode = "require"
price = "0.25c"
max_price = "10c"
work_bits = 20
accept_offices = ["b.example"]
work_daily = 3
exempt_networks = ["127.0.0.0/8", "::1"]
relays = ["192.0.2.7"]
srs = true
mixed = "split"
logins = ""
on_trouble = "tempfail"
[office]
domain = "b.example"
listen = "127.0.0.1:8895"
url = "https://b.example"
keys = "/var/lib/farthing/keys"
stamp_lifetime = "90d"
grant = "2.5c"
grant_bits = 26
grant_daily = "1.00"
page_work_bits = 12
stripe_secret_file = "stripe.secret"
payment_url = "https://buy.stripe.com/test_1?locale=auto"
[ledger]
url = "sqlite:/var/lib/farthing/ledger.db"
currency = "USD"
refund_window = "30d"
keep = "burn"
[identity]
check = "verify"
trusted = []
learn_from_sent = true
own_domains_known = false
forwarders = ["arc:old.example", "host:mx.old.example", "192.0.2.8"]
[dns]
servers = ["127.0.0.1:5353", "192.0.2.53"]
[commands]
address = "postage"
smtp = "sendmail:/usr/sbin/sendmail"
[log]
level = "debug"
format = "json"
[metrics]
listen = "127.0.0.1:9894"
"#,
    )
    .unwrap();
    assert_eq!(
        config.gate.domains.iter().map(Domain::as_str).collect::<Vec<_>>(),
        ["b.example", "xn--bcher-kva.example"]
    );
    assert_eq!(config.dns, ["127.0.0.1:5353".parse().unwrap(), "192.0.2.53:53".parse().unwrap()]);
    let office = config.office.unwrap();
    assert_eq!(office.url, "https://b.example/", "a URL ends in a slash");
    assert_eq!(office.grant.get(), 25_000);
    assert_eq!(office.page_work_bits, 12);
    assert!(!config.ledger.keep_in_treasury);
    assert!(config.gate.srs && !config.identity.own_domains_known);
    assert_eq!(config.identity.forwarders.0.len(), 3);
    assert_eq!(config.commands.smtp, Smarthost::Sendmail("/usr/sbin/sendmail".into()));
}

#[test]
fn where_our_own_mail_is_handed_in() {
    for (text, shown) in [
        ("smtp://127.0.0.1:25", Some("smtp://127.0.0.1:25")),
        ("smtp://127.0.0.1", Some("smtp://127.0.0.1:25")),
        ("smtp://Mail.b.example:587/", Some("smtp://mail.b.example:587")),
        ("smtp://[::1]:2525", Some("smtp://[::1]:2525")),
        ("smtp://[::1]", Some("smtp://[::1]:25")),
        ("sendmail:/usr/sbin/sendmail", Some("sendmail:/usr/sbin/sendmail")),
        ("smtp://", None),
        ("smtp://:25", None),
        ("smtp://mail.b.example:", None),
        ("smtp://mail.b.example:0", None),
        ("smtp://mail.b.example:+25", None),
        ("smtp://mail.b.example:65536", None),
        ("smtp://bob:secret@mail.b.example", None),
        ("smtp://mail.b.example/x", None),
        ("smtp://[mail.b.example]", None),
        ("smtp://[::1]25", None),
        ("smtp://::1", None),
        ("smtps://mail.b.example", None),
        ("sendmail:sendmail", None),
        ("127.0.0.1:25", None),
    ] {
        let config = parse(&format!("[gate]\ndomains = [\"b.example\"]\n[commands]\nsmtp = \"{text}\"\n"));
        let read = config.ok().map(|config| config.commands.smtp.to_string());
        assert_eq!(read.as_deref(), shown, "{text}");
    }
}

#[test]
fn every_fault_is_named_with_its_line_and_what_to_do() {
    let table = [
        ("[gate]\nlisen = []", "farthing.toml:2: unknown key `lisen` in [gate]; did you mean `listen`?"),
        ("[gates]", "farthing.toml:1: unknown section `gates`; did you mean `gate`?"),
        (
            "[gate]\nmode = \"strict\"",
            "farthing.toml:2: [gate] mode: `strict` is none of observe, tag, hold, require",
        ),
        ("[gate]\nprice = 0.25", "[gate] price: a text in quotes is wanted here, not 0.25"),
        ("[gate]\nprice = \"25 cents\"", "`25 cents` is not an amount"),
        ("[gate]\nprice = \"0\"", "a stamp is worth 0.0001c to"),
        ("[gate]\nprice = \"20c\"", "20c is more than max_price, 10c"),
        ("[gate]\nlisten = [\"/run/x\"]", "`/run/x` is no listener"),
        ("[gate]\nlisten = []", "at least one listener"),
        ("[gate]\ndomains = [\"localhost\"]", "`localhost` is not a domain of two or more labels"),
        ("[gate]\ndomains = [\"file:/nowhere/domains\"]", "/nowhere/domains cannot be read"),
        ("[gate]", "name at least one mail domain"),
        ("[gate]\nexempt_networks = [\"10.0.0.0/33\"]", "`10.0.0.0/33` is not a network"),
        ("[gate]\nwork_bits = 64", "a whole number of 0 to 40"),
        ("[office]\nlisten = \"127.0.0.1:1\"", "the office needs its domain"),
        ("[office]\ndomain = \"b.example\"\nstamp_lifetime = \"400d\"", "it must be from 1d to 399d"),
        ("[office]\ndomain = \"b.example\"\nurl = \"b.example\"", "is not a URL"),
        (
            "[office]\ndomain = \"b.example\"\npage_work_bits = 1",
            "1 is too little; 0 for none, or at least 3",
        ),
        ("[office]\ndomain = \"b.example\"\npayment_url = \"http://pay.example/\"", "is not a URL of https"),
        ("[office]\ndomain = \"b.example\"\npayment_url = \"javascript:alert(1)\"", "is not a URL of https"),
        (
            "[office]\ndomain = \"b.example\"\npayment_url = \"https://me@pay.example/\"",
            "is not a URL of https",
        ),
        (
            "[office]\ndomain = \"b.example\"\npayment_url = \"https://pay.example/?client_reference_id=x\"",
            "leave client_reference_id out",
        ),
        ("[ledger]\ncurrency = \"usd\"", "three upper-case letters"),
        ("[ledger]\nurl = \"mysql://x\"", "is no ledger"),
        ("[ledger]\nrefund_window = \"1 month\"", "is not a time"),
        ("[identity]\ncheck = \"results\"", "needs the authserv-ids"),
        ("[identity]\nforwarders = [\"mx.old.example\"]", "write arc:DOMAIN for who seals (ARC), host:NAME"),
        ("[identity]\nforwarders = [\"arc:co.uk\"]", "anybody can have a name below it"),
        (
            "[identity]\ncheck = \"none\"\nforwarders = [\"192.0.2.8\"]",
            "farthing.toml:3: [identity] forwarders: what a forwarder saw is looked into only",
        ),
        ("[dns]\nservers = [\"dns.example\"]", "is not ADDRESS:PORT"),
        ("gate = 1", "`gate` is a section"),
        ("[gate\n", "farthing.toml:1: "),
    ];
    for (text, said) in table {
        let error = parse(text).unwrap_err();
        assert!(error.contains(said), "{text:?} says {error:?}, not {said:?}");
    }
}

#[test]
fn all_faults_at_once_in_the_order_of_the_lines() {
    let error =
        parse("[gate]\ndomains = [\"b.example\"]\nmod = \"tag\"\nprice = \"x\"\n[log]\nlevel = \"loud\"")
            .unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(lines[0].contains(":3:") && lines[1].contains(":4:") && lines[2].contains(":6:"), "{error}");
}

#[test]
fn a_syntax_error_alone_is_named() {
    let error = parse("[gate]\ndomains = [\"b.example\"\nmode = 1").unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
}
