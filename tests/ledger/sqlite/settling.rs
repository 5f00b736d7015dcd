//! Killed while it settles: nothing is settled twice, nothing is lost, and the books prove after every kill.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use farthing::ledger::{
    Ledger, Order, OrderedStamp, RETRY_WINDOW_S, Sale,
    settling::{HISTORY_KEPT_S, Settling as _},
    sqlite::SqliteLedger,
};

use super::{SqliteBooks, options, outsider};
use crate::support::*;

const LEDGER_VARIABLE: &str = "LEDGER_OF_SETTLER";
/// Letters paid by stamps of this office, and as many by those of another.
const LETTERS: u64 = 1_600;
/// Orders nothing of which was used.
const UNUSED_ORDERS: u64 = 150;
const KILLS: u32 = 12;
/// When all of it is settled, given back and dropped.
const AT_LAST: u64 = EXPIRY + 1 + RETRY_WINDOW_S + HISTORY_KEPT_S + DAY;

fn numbered(n: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    id
}

async fn fill(ledger: &Arc<SqliteLedger>) {
    ledger.credit(buyer(), "credit", micros((LETTERS + UNUSED_ORDERS) * PRICE), "", NOW).await.unwrap();
    let ids: Vec<u64> = (0..LETTERS + UNUSED_ORDERS).collect();
    let (used, unused) = ids.split_at(usize::try_from(LETTERS).unwrap());
    for some in used.chunks(400).chain(unused.chunks(1)) {
        let stamp = |&n: &u64| OrderedStamp { id: numbered(n), holder: [0; 32], signature: [1; 64] };
        let sale = Order { stamps: some.iter().map(stamp).collect(), ..order(&[]) };
        assert!(matches!(ledger.sell(sale).await.unwrap(), Sale::Sold(_)));
    }
    let mut letters = tokio::task::JoinSet::new();
    for n in 0..2 * LETTERS {
        let ledger = ledger.clone();
        let mut stamp = if n < LETTERS { stamp(1) } else { foreign(1, "other.example") };
        stamp.key.id = numbered(n);
        stamp.signature = [1; 64];
        stamp.fingerprint = numbered(n);
        let mut letter = to_bob(0, &[stamp]);
        letter.digest[..8].copy_from_slice(&n.to_be_bytes());
        letters.spawn(async move { paid(&redeem_one(&*ledger, letter).await) });
    }
    letters.join_all().await;
}

/// The child's part; on its own it settles empty books.
#[test]
fn a_process_settles() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let Some(path) = env::var_os(LEDGER_VARIABLE).map(PathBuf::from) else {
        let books = SqliteBooks::new();
        runtime.block_on(async { assert_eq!(settle(&books.opened(), AT_LAST).await.dropped, 0) });
        return;
    };
    runtime.block_on(async {
        let ledger = farthing::ledger::sqlite::open(path, options()).unwrap();
        println!("\nready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        // Step by step, as the daemon does it, but without its pauses.
        while ledger.settle(terms(AT_LAST)).await.unwrap().more {}
    });
}

fn child(path: &Path) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["sqlite::settling::a_process_settles", "--exact", "--nocapture", "--test-threads=1"])
        .env(LEDGER_VARIABLE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"), "the child opened the ledger");
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_settles_nothing_is_lost_and_nothing_doubles() {
    let books = SqliteBooks::new();
    let ledger = Arc::new(books.opened());
    fill(&ledger).await;
    ledger.close().await;
    let mut dice = Dice(u64::from(std::process::id()));
    for kill in 0..KILLS {
        // Two at a time, of which one lives a little longer.
        let mut children = [child(&books.path()), child(&books.path())];
        for child in &mut children {
            child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        }
        for mut child in children {
            std::thread::sleep(Duration::from_micros(dice.below(12_000)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let ledger = books.opened();
        let proof = ledger.check().await.unwrap();
        assert_eq!(proof.faults, Vec::<String>::new(), "kill {kill}");
        ledger.close().await;
    }
    let ledger = books.opened();
    settle(&ledger, AT_LAST).await;
    must_balance(&ledger).await;
    let balances = ledger.balances().await.unwrap();
    let balance = |name: &str| balances.iter().find(|(n, _)| n == name).map_or(0, |(_, b)| *b);
    assert_eq!(balance("kept"), (2 * LETTERS * PRICE).cast_signed());
    assert_eq!(balance(&buyer_account()), (UNUSED_ORDERS * PRICE).cast_signed());
    assert_eq!((balance("stamps"), balance("escrow:b.example")), (0, 0));
    let left: i64 = outsider(&books.path())
        .query_row("SELECT (SELECT count(*) FROM redeemed) + (SELECT count(*) FROM sold)", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(left, 0, "all of it has gone from the books, but for the sums");
}
