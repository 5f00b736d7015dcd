//! What stands around the code stays true: the example configuration, the example letters, the scripts, the paths that
//! the documents name.
#![allow(clippy::unwrap_used, clippy::panic)] // a fault here fails the test, as it should

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use farthing::{
    address::Address,
    config::Config,
    message::split_message,
    stamp::{
        Asked, CancelledStamp, SecretKey, Stamp, Terms,
        check::check,
        hashcash::{Hashcash, WorkError},
    },
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn letter(name: &str) -> Vec<u8> {
    fs::read(root().join("examples/letters").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

mod the_example_configuration {
    use super::*;

    /// Every section and key of the interface.
    const KEYS: [(&str, &[&str]); 9] = [
        (
            "gate",
            &[
                "listen",
                "socket_mode",
                "socket_group",
                "hostname",
                "domains",
                "mode",
                "price",
                "max_price",
                "work_bits",
                "accept_offices",
                "office_cap",
                "work_daily",
                "exempt_networks",
                "relays",
                "srs",
                "mixed",
                "logins",
                "on_trouble",
            ],
        ),
        (
            "office",
            &[
                "domain",
                "listen",
                "url",
                "keys",
                "stamp_lifetime",
                "grant",
                "grant_bits",
                "grant_daily",
                "page_work_bits",
                "stripe_secret_file",
                "payment_url",
            ],
        ),
        ("ledger", &["url", "currency", "refund_window", "keep"]),
        ("identity", &["check", "trusted", "own_domains_known", "forwarders", "learn_from_sent"]),
        ("dns", &["servers"]),
        ("commands", &["address", "smtp"]),
        (
            "franking",
            &["wallet", "ahead", "max_price", "per_letter", "per_user", "per_day", "missing", "pays"],
        ),
        ("log", &["level", "format"]),
        ("metrics", &["listen"]),
    ];

    fn example() -> String {
        text("packaging/farthing.toml")
    }

    /// The two edits that the file asks for.
    fn with_domains(text: &str) -> String {
        text.replace("\ndomains = []", "\ndomains = [\"b.example\"]")
            .replace("\ndomain = \"\"", "\ndomain = \"b.example\"")
    }

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/farthing/farthing.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn names_what_must_be_set_until_it_is() {
        let faults = parse(&example()).unwrap_err();
        assert!(faults.contains("[gate] domains: ") && faults.contains("[office] domain: "), "{faults}");
        parse(&with_domains(&example())).unwrap();
    }

    #[test]
    fn is_at_the_defaults() {
        let least = "[gate]\ndomains = [\"b.example\"]\n[office]\ndomain = \"b.example\"\n";
        let (example, least) = (parse(&with_domains(&example())).unwrap(), parse(least).unwrap());
        assert_eq!(format!("{example:#?}"), format!("{least:#?}"));
    }

    #[test]
    fn has_every_key_and_each_is_read() {
        let mut found = BTreeSet::new();
        let mut all_set = String::new();
        let mut section = String::new();
        for line in with_domains(&example()).lines() {
            // A key that is left to its default, and a section that is left out, have the sign right before them; prose
            // has a space there.
            let setting = line.strip_prefix('#');
            let setting = setting.filter(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '['));
            let line = setting.unwrap_or(line);
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            }
            if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                found.insert(format!("{section}.{key}"));
            }
            all_set.push_str(line);
            all_set.push('\n');
        }
        let wanted: BTreeSet<String> = KEYS
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")))
            .collect();
        assert_eq!(found, wanted);
        parse(&all_set).unwrap();
    }

    #[test]
    fn explains_each_key() {
        let text = example();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.contains(" = ") && !line.starts_with("# ") {
                assert!(lines[at - 1].starts_with("# "), "nothing is said of {line}");
            }
        }
    }
}

mod the_example_letters {
    use super::*;

    /// Each file with its author; a letter from nobody, or from several, has none.
    const LETTERS: [(&str, Option<&str>); 21] = [
        ("abuse-report.eml", Some("bob@b.example")),
        ("attachment.eml", Some("erik@e.example")),
        ("bounce.eml", Some("mailer-daemon@c.example")),
        ("crlf.eml", Some("alice@a.example")),
        ("eight-bit.eml", Some("zoe@a.example")),
        ("forged-fields.eml", Some("mallory@m.example")),
        ("group-from.eml", None),
        ("hashcash.eml", Some("dora@d.example")),
        ("invitation.eml", Some("alice@a.example")),
        ("latin1-header.eml", Some("andre@a.example")),
        ("long-lines.eml", Some("alice@a.example")),
        ("newsletter.eml", Some("news@lists.example")),
        ("no-message-id.eml", Some("printer@a.example")),
        ("not-spam-report.eml", Some("bob@b.example")),
        ("reply.eml", Some("carol@c.example")),
        ("smtputf8.eml", Some("zoë@xn--bcher-kva.example")),
        ("stamped.eml", Some("alice@a.example")),
        ("stranger.eml", Some("alice@a.example")),
        ("two-from.eml", None),
        ("vacation.eml", Some("carol@c.example")),
        ("spam.eml", Some("offers@m.example")),
    ];

    #[test]
    fn are_all_here_and_all_explained() {
        let found: BTreeSet<String> = fs::read_dir(root().join("examples/letters"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".eml"))
            .collect();
        assert_eq!(found, LETTERS.iter().map(|(name, _)| (*name).to_owned()).collect());
        let readme = text("examples/letters/README.md");
        for name in found {
            assert!(readme.contains(&format!("`{name}`")), "{name} is not explained");
        }
    }

    #[test]
    fn say_who_wrote_them() {
        for (name, author) in LETTERS {
            let bytes = letter(name);
            let message = split_message(&bytes);
            assert_eq!(message.author().map(|a| a.to_string()).as_deref(), author, "{name}");
            assert!(!message.body.is_empty(), "{name} has no body");
            mail_parser::MessageParser::default().parse(&bytes).unwrap_or_else(|| panic!("{name}"));
        }
    }

    #[test]
    fn are_as_odd_as_they_say() {
        let has = |name: &str, field: &str| split_message(&letter(name)).values(field).count();
        assert_eq!(has("no-message-id.eml", "Message-ID") + has("no-message-id.eml", "Date"), 0);
        assert_eq!(has("two-from.eml", "From"), 2);
        assert_eq!(has("newsletter.eml", "List-Id"), 1);
        assert!(std::str::from_utf8(&letter("latin1-header.eml")).is_err());
        let crlf = letter("crlf.eml");
        assert!(crlf.windows(2).filter(|pair| pair[1] == b'\n').all(|pair| pair[0] == b'\r'));
        let long = letter("long-lines.eml");
        assert_eq!(long.split(|&byte| byte == b'\n').map(<[u8]>::len).max(), Some(998));
    }

    const CANCELLED: u64 = 1_795_339_800; // 2026-11-22 09:30 UTC

    fn asked<'a>(recipient: &'a Address, author: &'a Address) -> Asked<'a> {
        Asked {
            recipient,
            author: Some(author),
            currency: "USD".parse().unwrap(),
            price: "0.25c".parse().unwrap(),
            now: CANCELLED + 60,
        }
    }

    /// The keys that examples/letters/README.md names: no secrets.
    fn office() -> SecretKey {
        SecretKey::from_seed(&[1; 32])
    }

    #[test]
    fn the_stamp_on_the_stamped_one_pays() {
        let (recipient, author) = ("bob@b.example".parse().unwrap(), "alice@a.example".parse().unwrap());
        let holder = SecretKey::from_seed(&[2; 32]);
        let terms = Terms {
            office: "b.example".parse().unwrap(),
            selector: "example".parse().unwrap(),
            id: *b"an example stamp",
            value: "0.25c".parse().unwrap(),
            currency: "USD".parse().unwrap(),
            audience: "b.example".parse().unwrap(),
            expiry: 1_803_167_999, // 2027-02-20 23:59:59 UTC
            holder: holder.public().to_bytes(),
        };
        let stamp: Stamp = office().sell(terms).unwrap();
        let made = holder.cancel(stamp, &recipient, &author, CANCELLED).unwrap();

        let bytes = letter("stamped.eml");
        let message = split_message(&bytes);
        let value = message.values("Postage-Stamp").next().unwrap();
        assert_eq!(
            CancelledStamp::parse(value),
            Ok(made.clone()),
            "it should be:\n{}",
            made.to_field_value()
        );
        let asked = asked(&recipient, &author);
        check(value, &asked, |_| Some(office().public()), |_| Ok(())).unwrap();
        let key = data_encoding::BASE64URL_NOPAD.encode(&office().public().to_bytes());
        let readme = text("examples/letters/README.md");
        assert!(readme.contains(&format!("b.example:example:{key}")), "the README's key should be {key}");
    }

    #[test]
    fn the_work_on_the_worked_one_counts() {
        let bytes = letter("hashcash.eml");
        let message = split_message(&bytes);
        let work = Hashcash::parse(message.values("X-Hashcash").next().unwrap()).unwrap();
        assert_eq!(work.check(b"bob@b.example", 20, CANCELLED), Ok(()));
        assert_eq!(work.check(b"carol@b.example", 20, CANCELLED), Err(WorkError::Resource));
    }
}

mod a_machine_without_certificates {
    use super::*;

    /// A mail server in a container often has no package `ca-certificates`; DNS needs none.
    #[test]
    fn runs_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let none = directory.path().join("none.pem");
        fs::write(&none, "").unwrap();
        let config = directory.path().join("farthing.toml");
        let text = "[gate]\nlisten = [\"unix:milter.sock\"]\ndomains = [\"b.example\"]\n\
                    [ledger]\nurl = \"sqlite:ledger.db\"\n[dns]\nservers = [\"127.0.0.1:9\"]\n";
        fs::write(&config, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_farthingd"))
            .arg("--check")
            .arg("-c")
            .arg(&config)
            .env("SSL_CERT_FILE", &none)
            .env("SSL_CERT_DIR", directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

mod the_scripts {
    use super::*;

    const SCRIPTS: [&str; 5] = [
        "tests/run",
        ".ci/run",
        "packaging/install.sh",
        "packaging/dovecot/farthing-mark",
        "examples/send-stamped.sh",
    ];

    #[test]
    fn can_be_run_and_are_well_formed() {
        for script in SCRIPTS {
            let path = root().join(script);
            let mode = fs::metadata(&path).unwrap_or_else(|e| panic!("{script}: {e}")).permissions().mode();
            assert_eq!(mode & 0o111, 0o111, "{script} cannot be executed");
            let output = Command::new("bash").arg("-n").arg(&path).output().unwrap();
            assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

mod the_documents {
    use super::*;

    const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "SECURITY.md", "examples/letters/README.md"];
    /// Paths of this repository begin with one of these.
    const FOLDERS: [&str; 6] = ["packaging/", "examples/", "tests/", "src/", "milter/", ".ci/"];

    #[test]
    fn name_only_files_that_are_there() {
        for document in DOCUMENTS {
            let content = text(document);
            let words = content.split(|c: char| c.is_whitespace() || "`()[],;:<>\"'".contains(c));
            let paths: Vec<PathBuf> = words
                .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
                .map(|word| root().join(word.trim_end_matches(['.', '/'])))
                .collect();
            for path in paths {
                assert!(path.exists(), "{document} names {}, which is not there", path.display());
            }
        }
    }
}
