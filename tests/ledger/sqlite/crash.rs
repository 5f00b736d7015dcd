//! Processes: killed at any instant, beside each other, on a full disk.
//!
//! A child is this test program again, asked for one test by name; the variable says which part it plays.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use farthing::ledger::{
    AccountKey, Ledger, LedgerError, Letter, Order, OrderedStamp, Outcome, Sale, StampCandidate, StampKey,
    sqlite::SqliteLedger,
};

use super::{SqliteBooks, options};
use crate::support::*;

const LEDGER_VARIABLE: &str = "LEDGER_OF_CHILD";
const ROUND_VARIABLE: &str = "ROUND_OF_CHILD";
const STAMPS_VARIABLE: &str = "STAMPS_OF_CHILD";
/// Ledgers killed, one after the other, on the same file.
const ROUNDS: u32 = 25;
/// Stamps sold for each round; more than a child redeems before it is killed.
const STAMPS_A_ROUND: u32 = 1_500;
/// Stamps that two processes race for: enough that the second comes before the first has them all.
const STAMPS_RACED: u32 = 20_000;
/// Requests a child has under way.
const REQUESTERS: u32 = 32;

fn numbered(round: u32, n: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&round.to_be_bytes());
    id[4..8].copy_from_slice(&n.to_be_bytes());
    // As random ids fall: far from each other in the index.
    id[8..].copy_from_slice(&(u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_be_bytes());
    id.rotate_right(8);
    id
}

fn numbered_stamp(round: u32, n: u32) -> StampCandidate {
    let id = numbered(round, n);
    StampCandidate {
        key: StampKey { day: EXPIRY_DAY, office: own_office(), id },
        value: micros(1),
        signature: [1; 64],
        fingerprint: id,
        good: true,
        field: None,
    }
}

fn numbered_letter(round: u32, n: u32) -> Letter {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(&numbered(round, n));
    Letter { digest, ..to_bob(0, &[numbered_stamp(round, n)]) }
}

async fn sell_round(ledger: &dyn Ledger, round: u32, count: u32) {
    for first in (0..count).step_by(1_000) {
        let stamp = |n| OrderedStamp { id: numbered(round, n), holder: [0; 32], signature: [1; 64] };
        let stamps = (first..count.min(first + 1_000)).map(stamp).collect();
        let order = Order { value: micros(1), stamps, ..order(&[]) };
        assert!(matches!(ledger.sell(order).await.unwrap(), Sale::Sold(_)));
    }
}

/// The child's part; on its own it redeems a little and is not killed.
#[test]
fn a_process_redeems_and_says_what_was_answered() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let Some(path) = env::var_os(LEDGER_VARIABLE).map(PathBuf::from) else {
        let books = SqliteBooks::new();
        runtime.block_on(async {
            let ledger = Arc::new(books.opened());
            ledger.credit(buyer(), "credit", micros(100), "", NOW).await.unwrap();
            sell_round(&*ledger, 0, 100).await;
            redeem_all(&ledger, 0, 100).await;
            assert_eq!(ledger.account(buyer(), NOW).await.unwrap().outstanding, micros(0));
            must_balance(&*ledger).await;
        });
        return;
    };
    let part = |variable| env::var(variable).unwrap().parse().unwrap();
    let (round, stamps) = (part(ROUND_VARIABLE), part(STAMPS_VARIABLE));
    runtime.block_on(async {
        let ledger = Arc::new(farthing::ledger::sqlite::open(path, options()).unwrap());
        println!("\nready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        redeem_all(&ledger, round, stamps).await;
    });
}

/// Redeems every stamp of the round and prints each id once it is answered for.
async fn redeem_all(ledger: &Arc<SqliteLedger>, round: u32, count: u32) {
    let tasks = (0..REQUESTERS).map(|first| {
        let ledger = Arc::clone(ledger);
        tokio::spawn(async move {
            for n in (first..count).step_by(REQUESTERS as usize) {
                let outcome = redeem_one(&*ledger, numbered_letter(round, n)).await;
                if let Outcome::Stamp { number, retry: false, .. } = outcome {
                    // One write a line: a kill cuts no line in two.
                    let line = format!("\nredeemed {n} {number}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// A child, and what it says; it has opened the ledger and waits for a line before it begins.
fn child(path: &Path, round: u32, stamps: u32) -> (Child, impl Iterator<Item = String> + Send + use<>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "sqlite::crash::a_process_redeems_and_says_what_was_answered",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(LEDGER_VARIABLE, path)
        .env(ROUND_VARIABLE, round.to_string())
        .env(STAMPS_VARIABLE, stamps.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"), "the child opened the ledger");
    (child, lines)
}

fn begin(child: &mut Child) {
    child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
}

fn read_redeemed(line: &str) -> Option<(u32, u64)> {
    let mut words = line.strip_prefix("redeemed ")?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Kills the child when it has answered so many, and returns all it has said.
fn killed_after(
    (mut child, mut lines): (Child, impl Iterator<Item = String>),
    answers: usize,
    pause: Duration,
) -> BTreeMap<u32, u64> {
    begin(&mut child);
    let mut said = BTreeMap::new();
    while said.len() < answers {
        let Some(line) = lines.next() else { break };
        said.extend(read_redeemed(&line));
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    said.extend(lines.filter_map(|line| read_redeemed(&line)));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_instant_nothing_answered_is_lost_and_nothing_doubles() {
    let books = SqliteBooks::new();
    let mut dice = Dice(u64::from(std::process::id()));
    let setup = books.opened();
    setup.credit(buyer(), "credit", micros(u64::from(ROUNDS * STAMPS_A_ROUND)), "", NOW).await.unwrap();
    setup.close().await;
    let mut answered = 0;
    for round in 0..ROUNDS {
        let ledger = books.opened();
        sell_round(&ledger, round, STAMPS_A_ROUND).await;
        ledger.close().await;
        let child = child(&books.path(), round, STAMPS_A_ROUND);
        let answers = usize::try_from(1 + dice.below(600)).unwrap();
        let said = killed_after(child, answers, Duration::from_micros(dice.below(8_000)));
        assert!(!said.is_empty(), "round {round}: the child redeemed");
        answered += said.len();
        verify(&books, round, &said).await;
    }
    println!("{answered} answers survived {ROUNDS} kills");
}

async fn verify(books: &SqliteBooks, round: u32, said: &BTreeMap<u32, u64>) {
    let ledger = Arc::new(books.opened());
    must_balance(&*ledger).await;
    let retries = said.iter().map(|(&n, &number)| {
        let ledger = Arc::clone(&ledger);
        (n, number, tokio::spawn(async move { redeem_one(&*ledger, numbered_letter(round, n)).await }))
    });
    for (n, number, again) in retries.collect::<Vec<_>>() {
        let again = again.await.unwrap();
        assert_eq!(again, Outcome::Stamp { index: 0, number, retry: true }, "round {round}, stamp {n}");
    }
    // Redeemed are those answered, and at most those that were under way.
    let redeemed: i64 = super::outsider(&books.path())
        .query_row(
            "SELECT count(*) FROM redeemed WHERE substr(id, 9, 4) = ?1",
            [round.to_be_bytes()],
            |row| row.get(0),
        )
        .unwrap();
    let redeemed = usize::try_from(redeemed).unwrap();
    let under_way = REQUESTERS as usize;
    assert!((said.len()..=said.len() + under_way).contains(&redeemed), "{redeemed} of {}", said.len());
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_win_each_id_once() {
    let books = SqliteBooks::new();
    let ledger = books.opened();
    ledger.credit(buyer(), "credit", micros(u64::from(STAMPS_RACED)), "", NOW).await.unwrap();
    sell_round(&ledger, 0, STAMPS_RACED).await;
    let mut children: Vec<_> = (0..2).map(|_| child(&books.path(), 0, STAMPS_RACED)).collect();
    children.iter_mut().for_each(|(child, _)| begin(child));
    // Each runs until it has been through all; this process looks and credits meanwhile.
    let readers: Vec<_> = children
        .into_iter()
        .map(|(mut child, lines)| {
            std::thread::spawn(move || {
                let said: Vec<_> = lines.filter_map(|line| read_redeemed(&line)).collect();
                assert!(child.wait().unwrap().success());
                said
            })
        })
        .collect();
    let mut credits = 0;
    while !readers.iter().all(std::thread::JoinHandle::is_finished) {
        ledger.credit(AccountKey([9; 32]), "credit", micros(1), "", NOW).await.unwrap();
        credits += 1;
        ledger.balances().await.unwrap();
    }
    let mut won = BTreeSet::new();
    let mut wins = 0;
    for reader in readers {
        let said = reader.join().unwrap();
        assert!(!said.is_empty(), "both won some");
        wins += said.len();
        won.extend(said.into_iter().map(|(n, _)| n));
    }
    assert_eq!(wins, won.len(), "no id was won twice");
    assert_eq!(won.len(), STAMPS_RACED as usize, "every id was won");
    assert!(credits > 0);
    must_balance(&ledger).await;
}

/// The part of a process whose disk is full: it may write no file beyond a size, and then again.
#[test]
fn a_process_meets_a_full_disk_and_recovers() {
    let Some(path) = env::var_os(LEDGER_VARIABLE).map(PathBuf::from) else {
        full_disk_in_a_child();
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = Arc::new(farthing::ledger::sqlite::open(&path, options()).unwrap());
        ledger.credit(buyer(), "credit", micros(10_000), "", NOW).await.unwrap();
        sell_round(&*ledger, 0, 2_000).await;
        limit_files(Some(file_size(&path) + 64 * 1024));
        let mut answered = Vec::new();
        let fault = loop {
            let n = u32::try_from(answered.len()).unwrap();
            assert!(n < 2_000, "the disk never was full");
            match ledger.redeem(numbered_letter(0, n)).await {
                Ok(outcomes) => answered.push(paid(&outcomes[0])),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(&fault, LedgerError::Unavailable(_)), "{fault:?}");
        // What was in the log has moved into the file, and the log would find room again: take that too.
        limit_files(Some(4_096));
        assert!(ledger.health().await.is_err());
        assert!(ledger.redeem(numbered_letter(0, 1_999)).await.is_err());
        limit_files(None);
        ledger.health().await.unwrap();
        for (n, number) in (0..).zip(&answered) {
            let again = redeem_one(&*ledger, numbered_letter(0, n)).await;
            assert_eq!(retried(&again), *number, "what was answered is there");
        }
        let next = u32::try_from(answered.len()).unwrap();
        ledger.redeem(numbered_letter(0, next)).await.unwrap();
        paid(&redeem_one(&*ledger, numbered_letter(0, next + 1)).await);
        must_balance(&*ledger).await;
        println!("\nrecovered after {next} answers: {fault}");
    });
}

fn full_disk_in_a_child() {
    // A file beyond the limit brings a signal that would end the process; a shell can have it ignored.
    let prelude = "trap '' XFSZ; exec \"$@\"";
    let said = child_says(prelude, "a_process_meets_a_full_disk_and_recovers");
    assert!(said.contains("recovered after"), "{said}");
}

/// Runs a test of this file as a child of a shell that does something first, and returns what it said.
fn child_says(prelude: &str, test: &str) -> String {
    let books = SqliteBooks::new();
    let output = Command::new("sh")
        .args(["-c", prelude, "sh"])
        .arg(env::current_exe().unwrap())
        .args([&format!("sqlite::crash::{test}"), "--exact", "--nocapture"])
        .env(LEDGER_VARIABLE, books.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The part of a process that may not write its ledger for a while.
#[test]
fn a_process_meets_a_read_only_ledger_and_recovers() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let Some(path) = env::var_os(LEDGER_VARIABLE).map(PathBuf::from) else {
        // Root may write what nobody may; without that right root is bound by the modes like everybody else.
        let prelude = r#"[ "$(id -u)" = 0 ] && exec setpriv --bounding-set=-dac_override "$@"; exec "$@""#;
        let said = child_says(prelude, "a_process_meets_a_read_only_ledger_and_recovers");
        assert!(said.contains("recovered from"), "{said}");
        return;
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let directory = path.parent().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = farthing::ledger::sqlite::open(&path, options()).unwrap();
        ledger.credit(buyer(), "credit", micros(10_000), "", NOW).await.unwrap();
        sell_round(&ledger, 0, 100).await;
        // An open file stays writable; so it must be taken away for a moment to be opened anew.
        let away = directory.join("away.db");
        fs::rename(&path, &away).unwrap();
        assert!(ledger.redeem(numbered_letter(0, 0)).await.is_err());
        fs::rename(&away, &path).unwrap();
        mode(&path, 0o400);
        mode(&directory, 0o500);
        let refused = ledger.redeem(numbered_letter(0, 0)).await;
        let Err(LedgerError::Unavailable(words)) = &refused else { panic!("{refused:?}") };
        assert!(farthing::ledger::sqlite::open(directory.join("other.db"), options()).is_err());
        mode(&directory, 0o700);
        mode(&path, 0o600);
        paid(&redeem_one(&ledger, numbered_letter(0, 0)).await);
        must_balance(&ledger).await;
        println!("\nrecovered from: {words}");
    });
}

fn file_size(path: &Path) -> u64 {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    path.metadata().unwrap().len().max(log.metadata().unwrap().len())
}

fn limit_files(octets: Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: octets.or(maximum), maximum }).unwrap();
}

/// A child that is killed leaves the lock free at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_holds_nobody_up() {
    let books = SqliteBooks::new();
    let ledger = books.opened();
    ledger.credit(buyer(), "credit", micros(u64::from(STAMPS_A_ROUND)), "", NOW).await.unwrap();
    sell_round(&ledger, 0, STAMPS_A_ROUND).await;
    let child = child(&books.path(), 0, STAMPS_A_ROUND);
    let said = killed_after(child, 100, Duration::ZERO);
    let begun = Instant::now();
    let &n = said.keys().next().unwrap();
    retried(&redeem_one(&ledger, numbered_letter(0, n)).await);
    assert!(begun.elapsed() < Duration::from_secs(2));
    must_balance(&ledger).await;
}
