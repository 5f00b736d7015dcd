//! `farthingd` as the system runs it: when it is ready, what it checks, signals, sockets, log, exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod support;

use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::{UnixDatagram, UnixStream},
    },
    path::Path,
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use farthing::{
    clock::unix_now,
    stamp::{SecretKey, Terms},
};
use farthing_milter::{
    address::{Args, EnvelopeAddress},
    client::{FULL_OFFER, Letter, Manner, MtaClient, Outcome},
    command::Command as Milter,
};
use support::{
    ALICE, ALICE_IP, BOB, Bought, Site, World, added, block_on, client, free_address, letter, random,
    refusal, result, text, wait_until,
};

fn farthingd(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farthingd"));
    command.args(arguments).current_dir(directory).env_remove("FARTHING_CONFIG").env_remove("NOTIFY_SOCKET");
    command.output().unwrap()
}

/// `--check` on a world's configuration.
fn check(world: &World) -> Output {
    farthingd(&["-c", "farthing.toml", "--check"], world.directory.path())
}

/// Every file below a directory: name, mode, size and time of the last change.
fn files(directory: &Path) -> BTreeMap<String, (u32, u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                open.push(entry.path());
            }
            let what = (metadata.mode(), metadata.len(), metadata.modified().unwrap());
            found.insert(entry.path().display().to_string(), what);
        }
    }
    found
}

#[test]
fn ready_means_that_every_listener_takes_connections() {
    let inet = free_address();
    let mut world = World::without_daemon(&Site::default());
    let config = fs::read_to_string(world.config_path()).unwrap();
    let listen = format!("[\"unix:milter.sock\", \"inet:{inet}\", \"unix:second.sock\"]");
    fs::write(world.config_path(), config.replace("[\"unix:milter.sock\"]", &listen)).unwrap();
    world.start_daemon();
    for socket in ["milter.sock", "second.sock"] {
        UnixStream::connect(world.path(socket)).unwrap();
    }
    TcpStream::connect(inet).unwrap();
    TcpStream::connect(world.office).unwrap();
    assert!(world.end_daemon("TERM").success());
    assert!(
        !world.path("milter.sock").exists() && !world.path("second.sock").exists(),
        "and leaves none behind"
    );
}

#[test]
fn one_listener_that_cannot_be_had_and_nobody_is_told_that_it_is_ready() {
    let world = World::without_daemon(&Site::default());
    let taken = TcpListener::bind(world.office).unwrap();
    let socket = world.path("notify");
    let notify = UnixDatagram::bind(&socket).unwrap();
    notify.set_nonblocking(true).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_farthingd"));
    let output = command.arg("-c").arg(world.config_path()).env("NOTIFY_SOCKET", &socket).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("[office] listen: {}: Address already in use", world.office)), "{said}");
    assert!(notify.recv(&mut [0; 64]).is_err(), "nobody was told anything");
    assert!(!world.path("milter.sock").exists(), "the milter's socket went with it");
    drop(taken);
}

#[test]
fn a_check_of_a_good_site_says_nothing_and_changes_nothing() {
    let mut world = World::without_daemon(&Site::default());
    let before = files(world.directory.path());
    let output = check(&world);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(files(world.directory.path()), before, "before the first start: no key, no ledger is made");

    world.start_daemon();
    // The daemon itself writes into the ledger after its start.
    wait_until("a check that changes nothing beside the running daemon", || {
        let before = files(world.directory.path());
        assert_eq!(check(&world).status.code(), Some(0), "beside the running daemon");
        files(world.directory.path()) == before
    });
    assert!(world.end_daemon("TERM").success());
    let before = files(world.directory.path());
    assert_eq!(check(&world).status.code(), Some(0), "after a stop");
    assert_eq!(files(world.directory.path()), before);
}

#[test]
fn a_check_names_every_fault_beside_the_configuration_with_what_to_do() {
    let mut world = World::start(&Site::default());
    assert!(world.end_daemon("TERM").success());
    world.configure(&Site::gate("socket_group = \"no-such-group\""));
    let key = fs::read_dir(world.path("keys")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(world.path("milter.sock"), "a file in the way").unwrap();
    fs::write(world.path("ledger.db"), "no ledger at all").unwrap();
    let before = files(world.directory.path());
    let output = check(&world);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    for fault in [
        "ledger: ",
        "listener unix:milter.sock: milter.sock exists and is no socket; name another path",
        "socket_group: no group \"no-such-group\" in /etc/group",
        &format!("chmod 600 keys/{}", key.file_name().unwrap().display()),
    ] {
        assert!(said.contains(fault), "{fault:?}: {said}");
    }
    assert!(said.lines().all(|line| line.starts_with("farthingd: ")), "{said}");
    assert_eq!(files(world.directory.path()), before);
}

#[test]
fn every_broken_configuration_is_named_word_for_word() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken_configs");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        count += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = fs::read_to_string(path.with_extension("error")).unwrap();
        for arguments in [&["-c", name, "--check"][..], &["--config", name]] {
            let output = farthingd(arguments, &folder);
            assert_eq!(output.status.code(), Some(78), "{name}");
            assert_eq!(text(&output.stderr), expected, "{name}");
            assert!(output.stdout.is_empty(), "{name}");
        }
    }
    assert!(count > 40, "only {count} configurations in {}", folder.display());
}

#[test]
fn exit_codes_and_help() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| farthingd(arguments, directory.path());
    for arguments in [&["--no-such-flag"][..], &["an-argument"], &["-c"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", text(&output.stderr));
        let said = text(&output.stderr);
        assert!(said.starts_with("farthingd: ") && said.lines().count() == 1, "{said}");
    }
    let output = run(&["-c", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    assert_eq!(
        said,
        "farthingd: nowhere.toml: cannot be read: No such file or directory (os error 2); name another file with -c\n"
    );
    for arguments in [&["--help"][..], &["--version"]] {
        let output = run(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(text(&output.stdout).contains("farthingd"), "{}", text(&output.stdout));
    }
}

#[test]
fn a_reload_counts_from_the_next_message_on() {
    let world = World::start(&Site::default());
    let price = |subject: &str| {
        let said = refusal(&world.send(&letter(subject)));
        said.split("postage of ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(price("one"), "0.25c");
    let carol = Letter::new(ALICE, &["carol@c.example"], "other");
    assert!(world.send(&carol).changes.is_empty(), "not our domain yet");

    let site = Site::gate("max_price = \"2c\"");
    world.configure(&site);
    let text = fs::read_to_string(world.config_path()).unwrap().replace("0.25c", "1.5c");
    fs::write(world.config_path(), text.replace("[\"b.example\"]", "[\"b.example\", \"c.example\"]"))
        .unwrap();
    world.reload();
    assert_eq!(price("two"), "1.5c");
    assert!(refusal(&world.send(&carol)).contains("<carol@c.example>: postage of 1.5c"));
    let shown = world.get("/v1/quote?to=bob@b.example");
    assert!(shown.contains("\"micros\":15000"), "the office, too: {shown}");

    world.configure(&Site::mode("observe"));
    world.reload();
    assert_eq!(result(&world.send(&letter("three"))), "unpaid");

    fs::write(world.config_path(), "[gate]\nmode = \"requires\"\n").unwrap();
    world.signal("HUP");
    world.wait_for_log("not reloaded, the old configuration stays");
    assert!(world.log().contains("farthing.toml:2: [gate] mode: `requires` is none of"), "{}", world.log());
    assert_eq!(result(&world.send(&letter("four"))), "unpaid", "it observes, as before");

    world.configure(&Site { more: "[metrics]\nlisten = \"127.0.0.1:9\"".into(), ..Site::default() });
    world.signal("HUP");
    world.wait_for_log("a restart is needed for [metrics] listen");
    assert_eq!(price("five"), "0.25c", "the rest is taken");
}

#[test]
fn a_reload_takes_new_keys_and_keeps_the_old_ones_good() {
    let world = World::start(&Site::default());
    let old = world.buy(2);
    world.json(&["key", "new"]);
    let new = world.buy(1);
    assert_ne!(old[0].stamp.terms.selector, new[0].stamp.terms.selector);
    let stamped =
        |stamp: &Bought, subject: &str| letter(subject).header("Postage-Stamp", stamp.to(BOB, ALICE));
    assert!(refusal(&world.send(&stamped(&new[0], "new"))).contains("unknown-issuer"), "not read yet");
    world.reload();
    assert_eq!(result(&world.send(&stamped(&new[0], "new"))), "paid");
    assert_eq!(result(&world.send(&stamped(&old[0], "old"))), "paid");
    world.json(&["key", "retire", old[1].stamp.terms.selector.as_str()]);
    world.reload();
    assert_eq!(result(&world.send(&stamped(&old[1], "retired"))), "paid", "what it signed stays good");

    let key = fs::read_dir(world.path("keys")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    world.signal("HUP");
    world.wait_for_log("not reloaded, the old configuration stays");
    assert!(world.log().contains("can be read by others (mode 0640); run: chmod 600"), "{}", world.log());
    assert!(refusal(&world.send(&letter("still there"))).starts_with("550"));
}

#[test]
fn a_stop_answers_the_letter_in_hand_and_takes_no_other() {
    let mut world = World::start(&Site::default());
    let stamp = world.buy(1).remove(0);
    let stamped = stamp.to(BOB, ALICE);
    let outcome = block_on(async {
        let mut mta = MtaClient::connect(&world.milter(), FULL_OFFER, Manner::Sendmail).await.unwrap();
        mta.greet(&client(ALICE_IP), "mx.a.example").await.unwrap();
        let (none, alice, bob) = (Args::default(), format!("<{ALICE}>"), format!("<{BOB}>"));
        let (alice, bob) = (EnvelopeAddress::new(alice.as_bytes()), EnvelopeAddress::new(bob.as_bytes()));
        mta.ask(&Milter::Mail(alice, none)).await.unwrap();
        mta.ask(&Milter::Rcpt(bob, none)).await.unwrap();
        world.signal("TERM");
        world.wait_for_log("stopping: finishing the mail in hand");
        wait_until("no new connections", || UnixStream::connect(world.path("milter.sock")).is_err());
        for (name, value) in [("From", ALICE), ("Postage-Stamp", &stamped)] {
            mta.ask(&Milter::Header(name.as_bytes(), format!(" {value}").as_bytes())).await.unwrap();
        }
        mta.ask(&Milter::EndOfHeaders).await.unwrap();
        let mut outcome = Outcome::default();
        mta.end_of_message(&mut outcome).await.unwrap();
        outcome
    });
    assert_eq!(result(&outcome), "paid");
    assert!(world.wait_for_end().success());
    assert!(!world.path("ledger.db-wal").exists(), "the books are closed");
    assert_eq!(world.balance("escrow:b.example"), 2_500);
}

#[test]
fn a_stop_with_nothing_in_hand_is_at_once() {
    let mut world = World::start(&Site::default());
    let idle = UnixStream::connect(world.path("milter.sock")).unwrap();
    let begun = std::time::Instant::now();
    assert!(world.end_daemon("TERM").success(), "an idle connection keeps nobody");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(idle);
    world.start_daemon();
    assert!(world.end_daemon("INT").success(), "as with ^C");
}

#[test]
fn a_second_instance_is_refused_and_the_first_goes_on() {
    let world = World::start(&Site::default());
    let second = farthingd(&["-c", "farthing.toml"], world.directory.path());
    assert_eq!(second.status.code(), Some(69));
    let said = text(&second.stderr);
    assert!(said.contains("is in use: another server listens there"), "{said}");
    assert!(refusal(&world.send(&letter("one"))).starts_with("550"), "the first is still there");
    world.books_balance();
}

#[test]
fn a_socket_that_a_crash_left_is_replaced_and_a_file_in_its_place_is_not() {
    let mut world = World::start(&Site::default());
    world.end_daemon("KILL");
    assert!(world.path("milter.sock").exists(), "what a crash leaves");
    world.start_daemon();
    assert!(refusal(&world.send(&letter("one"))).starts_with("550"));
    assert!(world.end_daemon("TERM").success());

    fs::write(world.path("milter.sock"), "somebody's notes").unwrap();
    let output = farthingd(&["-c", "farthing.toml"], world.directory.path());
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("exists and is not a socket"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(world.path("milter.sock")).unwrap(), "somebody's notes");
}

#[test]
fn a_socket_has_the_mode_and_the_group_it_was_given() {
    for mode in [0o600, 0o660, 0o666] {
        let mut world = World::without_daemon(&Site::gate("socket_group = \"daemon\""));
        let config = fs::read_to_string(world.config_path()).unwrap();
        let config = config.replace("\"0666\"", &format!("\"{mode:04o}\""));
        // Only root, or a member, can give a file to a group.
        let root = rustix::process::geteuid().is_root();
        let config = if root { config } else { config.replace("socket_group = \"daemon\"", "") };
        fs::write(world.config_path(), config).unwrap();
        world.start_daemon();
        let socket = fs::metadata(world.path("milter.sock")).unwrap();
        assert_eq!(socket.mode() & 0o777, mode);
        let group = if root { 1 } else { rustix::process::getegid().as_raw() };
        assert_eq!(socket.gid(), group);
        for secret in ["ledger.db", "keys"] {
            let others = fs::metadata(world.path(secret)).unwrap().mode() & 0o007;
            assert!(secret == "keys" || others == 0, "{secret} is nobody else's");
        }
    }
}

#[test]
fn a_key_that_others_can_read_is_no_key_to_start_with() {
    let mut world = World::start(&Site::default());
    assert!(world.end_daemon("TERM").success());
    for key in fs::read_dir(world.path("keys")).unwrap() {
        let key = key.unwrap().path();
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600, "as it was made");
        for mode in [0o640, 0o604] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let output = farthingd(&["-c", "farthing.toml"], world.directory.path());
            assert_eq!(output.status.code(), Some(78), "nothing that a restart would mend");
            let path = format!("keys/{}", key.file_name().unwrap().display());
            let said =
                format!("farthingd: {path} can be read by others (mode {mode:04o}); run: chmod 600 {path}\n");
            assert_eq!(text(&output.stderr), said);
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    world.start_daemon();
}

#[test]
fn one_line_a_decision_says_who_what_and_how_much_and_no_secret_ever() {
    let world = World::start(&Site { more: "[log]\nlevel = \"trace\"".into(), ..Site::default() });
    let stamp = world.buy(1).remove(0);
    let mut paid = letter("paid").header("Postage-Stamp", stamp.to(BOB, ALICE));
    paid.queue_id = "4PAID00001".into();
    let outcome = world.send(&paid);
    let mut again = paid.clone();
    again.queue_id = "4AGAIN0001".into();
    world.send(&again);
    let mut refused = letter("refused");
    refused.queue_id = "4REFUSED01".into();
    refused.sender = "<evil\n\x1b[31m@a.example>".into();
    world.send(&refused);
    world.json(&["wanted", &added(&outcome, "Postage-Wanted")[0]]);
    world.get("/v1/quote?to=bob@b.example");
    let log = world.log();
    let line = |id: &str| {
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains(id) && line.contains(" INFO ")).collect();
        let [line] = &lines[..] else { panic!("one line for {id}, not {lines:#?}") };
        (*line).to_owned()
    };
    let expect = |line: &str, parts: &[&str]| {
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?}: {line}");
    };
    expect(&line("4PAID00001"), &["accepted", "192.0.2.1", "alice@a.example", "<bob@b.example> paid 0.25c"]);
    expect(&line("4AGAIN0001"), &["accepted", "<bob@b.example> paid 0c (retry; 0.25c before)"]);
    expect(&line("4REFUSED01"), &["refused", "<bob@b.example> unpaid", "550 5.7.1", "@a.example"]);

    assert!(!log.contains('\u{1b}') && !log.contains("evil\n"), "what came from outside is escaped");
    let keys: Vec<_> = fs::read_dir(world.path("keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(keys.len(), 2, "an office key and a token key");
    for key in keys {
        let encoded = fs::read_to_string(&key).unwrap();
        let seed = data_encoding::BASE64URL_NOPAD.decode(encoded.trim().as_bytes()).unwrap();
        let written = [
            encoded.trim().to_owned(),
            data_encoding::BASE64.encode(&seed),
            data_encoding::HEXLOWER.encode(&seed),
            data_encoding::HEXUPPER.encode(&seed),
            format!("{seed:?}").trim_matches(['[', ']']).to_owned(),
        ];
        for written in written {
            assert!(!log.contains(&written), "{} is in the log", key.display());
        }
    }
}

#[test]
fn a_log_in_json_is_json_line_by_line() {
    let mut world = World::start(&Site { more: "[log]\nformat = \"json\"".into(), ..Site::default() });
    let mut letter = letter("one");
    letter.queue_id = "4\"QUOTED\\".into();
    world.send(&letter);
    UnixStream::connect(world.path("milter.sock"))
        .map(|mut stream| std::io::Write::write_all(&mut stream, b"GET /"))
        .unwrap()
        .unwrap();
    world.wait_for_log("milter session ended");
    world.signal("TERM");
    world.wait_for_log("stopped");
    let log = world.log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log}");
    let refused = lines.iter().find(|line| line["message"] == "refused").unwrap();
    assert!(refused["queue_id"].as_str().unwrap().starts_with("4\"QUOTED\\"), "{refused}");
    assert_eq!(refused["from"], ALICE);
    assert!(world.wait_for_end().success());
}

#[test]
fn a_daemon_that_fails_leaves_no_core_with_its_keys() {
    let mut world = World::without_daemon(&Site::default());
    world.start_daemon_under(&["prlimit", "--core=unlimited"]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", world.daemon_pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn a_site_without_an_office_takes_another_offices_stamps() {
    let site = Site { office: false, ..Site::gate("accept_offices = [\"post.example\"]") };
    let mut world = World::start(&site);
    let office = SecretKey::from_seed(&random());
    let key = data_encoding::BASE64URL_NOPAD.encode(&office.public().to_bytes());
    world.zone.txt("s1._postage.post.example", format!("v=postage1; k=ed25519; p={key}"));
    let sold = || {
        let holder = SecretKey::from_seed(&random());
        let terms = Terms {
            office: "post.example".parse().unwrap(),
            selector: "s1".parse().unwrap(),
            id: random(),
            value: "0.25c".parse().unwrap(),
            currency: "USD".parse().unwrap(),
            audience: "b.example".parse().unwrap(),
            expiry: (unix_now() / 86_400 + 31) * 86_400 - 1,
            holder: holder.public().to_bytes(),
        };
        Bought { stamp: office.sell(terms).unwrap(), holder }
    };
    let stamped =
        |stamp: &Bought, subject: &str| letter(subject).header("Postage-Stamp", stamp.to(BOB, ALICE));
    let stamp = sold();
    let outcome = world.send(&stamped(&stamp, "one"));
    assert!(added(&outcome, "Postage-Status")[0].contains("result=paid; rcpt=bob@b.example; value=2500"));
    assert!(added(&outcome, "Postage-Status")[0].contains("issuer=post.example"), "{outcome:?}");
    assert!(refusal(&world.send(&stamped(&stamp, "two"))).contains("spent"));
    assert!(TcpStream::connect(world.office).is_err(), "nobody sells here");
    assert_eq!(world.balance("escrow:b.example"), 2_500);
    assert_eq!(world.balance("office:post.example"), -2_500);
    world.books_balance();
    assert!(world.end_daemon("TERM").success());
    // It sells nothing, but what it reports to that office it signs.
    let mut kinds: Vec<_> = fs::read_dir(world.path("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path().extension().unwrap().to_string_lossy().into_owned())
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["office", "token"]);
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    let world = World::without_daemon(&Site::default());
    fs::write(world.path("notes"), "no ledger, and no directory either").unwrap();
    let mut euros = World::start(&Site::default());
    assert!(euros.end_daemon("TERM").success());
    fs::copy(euros.path("ledger.db"), world.path("euros.db")).unwrap();
    let config = fs::read_to_string(world.config_path()).unwrap();
    let office = world.office.to_string();
    for (good, bad, said) in [
        ("unix:milter.sock", "unix:nowhere/milter.sock", "cannot listen on unix:nowhere/milter.sock: "),
        ("unix:milter.sock", "inet:192.0.2.1:8894", "cannot listen on inet:192.0.2.1:8894: "),
        ("sqlite:ledger.db", "sqlite:nowhere/ledger.db", "the directory nowhere does not exist; create it"),
        ("sqlite:ledger.db", "sqlite:notes", "notes: this file is not a ledger of farthing"),
        (
            "sqlite:ledger.db\"",
            "sqlite:euros.db\"\ncurrency = \"EUR\"",
            "its books are in USD, but ledger.currency is EUR",
        ),
        ("keys = \"keys\"", "keys = \"notes\"", "notes: Not a directory"),
        (office.as_str(), "192.0.2.1:80", "[office] listen: 192.0.2.1:80: "),
    ] {
        assert!(config.contains(good), "{good}: {config}");
        fs::write(world.config_path(), config.replacen(good, bad, 1)).unwrap();
        let output = farthingd(&["-c", "farthing.toml"], world.directory.path());
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{bad}: {stderr}");
        let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with("farthingd: ")).collect();
        assert_eq!(lines.len(), 1, "{bad}: {stderr}");
        assert!(lines[0].contains(said), "{bad}: {stderr}");
        assert!(!world.path("milter.sock").exists(), "{bad}: nothing is left behind");
    }
}
