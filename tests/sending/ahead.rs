//! Stamps bought ahead, so that nobody waits for an office.

use std::{
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use farthing::wallet::Buyer;

use super::*;

impl Sender {
    /// Keeps so many stamps in hand for each domain.
    fn keep_ahead(&self, count: &str) {
        self.world.json(&["wallet", "set", "--ahead", count]);
    }

    /// Sends so many letters to Bob; how each command ended.
    fn letters_to_bob(&self, count: usize) -> Vec<Option<i32>> {
        (0..count).map(|_| self.send(&["-i", BOB], LETTER).status.code()).collect()
    }

    fn sold(&self) -> i64 {
        self.world.balance("stamps") / 2_500
    }
}

/// Stands where the office was, and never answers.
struct Mute {
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Mute {
    fn in_the_place_of(sender: &mut Sender) -> Self {
        sender.world.end_daemon("TERM");
        let listener = TcpListener::bind(sender.world.office).unwrap();
        let mute = Self { connections: Arc::default() };
        let connections = mute.connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                connections.lock().unwrap().push(stream.unwrap());
            }
        });
        mute
    }

    fn asked(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Hangs up on all who wait.
    fn hang_up(&self) {
        for stream in self.connections.lock().unwrap().iter() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[test]
fn stamps_are_bought_ahead_while_nobody_waits() {
    let sender = Sender::new();
    sender.keep_ahead("4");
    sender.sent(&["-i", BOB], LETTER);
    wait_until("four stamps in hand", || sender.stamps_in_hand() == 4);
    sender.sent(&["-i", BOB], LETTER);
    assert_eq!(sender.stamps_in_hand(), 3, "half of them may go before more are bought");
}

#[test]
fn many_letters_at_once_fill_up_once() {
    let sender = Sender::new();
    sender.keep_ahead("4");
    let letters: Vec<_> = (0..12)
        .map(|_| {
            let mut command = sender.command(env!("CARGO_BIN_EXE_farthing"));
            let mut child = command.args(["sendmail", "-i", BOB]).spawn().unwrap();
            child.stdin.take().unwrap().write_all(LETTER.as_bytes()).unwrap();
            child
        })
        .collect();
    for letter in letters {
        let output = letter.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    }
    // Whether the last of them leave few enough for another purchase depends on who came when.
    assert_eq!(sender.letters_to_bob(3), [Some(0); 3]);
    wait_until("enough in hand", || sender.stamps_in_hand() >= 2);
    wait_until("the last buyer to be done", || !Buyer::is_busy(&sender.world.path("wallet")).unwrap());
    let in_hand = sender.stamps_in_hand();
    assert!((2..=4).contains(&in_hand), "enough, and no more: {in_hand}");
    assert_eq!(sender.sold(), 15 + i64::try_from(in_hand).unwrap());
    assert_eq!(sender.world.json(&["wallet", "show"])["spent_today"][0]["micros"], 15 * 2_500);
}

/// A job that sends every day does not notice that the office is away, as long as there are stamps in hand.
#[test]
fn an_office_in_trouble_keeps_no_letter_waiting_and_is_left_in_peace() {
    let mut sender = Sender::new();
    sender.keep_ahead("8");
    sender.sent(&["-i", BOB], LETTER);
    wait_until("eight stamps in hand", || sender.stamps_in_hand() == 8);
    let office = Mute::in_the_place_of(&mut sender);
    assert_eq!(sender.letters_to_bob(4), [Some(0); 4]);
    assert_eq!(office.asked(), 0, "half of them may go first");
    let begin = Instant::now();
    assert_eq!(sender.letters_to_bob(1), [Some(0)]);
    wait_until("somebody asks the office", || office.asked() == 1);
    assert_eq!(sender.letters_to_bob(1), [Some(0)]);
    assert!(begin.elapsed().as_secs() < 20, "nobody waited until it was given up");
    assert_eq!(office.asked(), 1, "one is waiting already");

    office.hang_up();
    // The command would ask the office.
    let wallet = || fs::read_to_string(sender.world.path("wallet")).unwrap();
    wait_until("the failure to be noted", || wallet().contains("\"why\":"));
    let asked = office.asked();
    let show = || text(&sender.world.farthing(&["wallet", "show"]).stdout);
    thread::scope(|scope| {
        let shown = scope.spawn(show);
        wait_until("the balance to be asked", || office.asked() > asked);
        office.hang_up();
        assert!(shown.join().unwrap().contains("not bought ahead for b.example at 20"));
    });
    let asked = office.asked();
    assert_eq!(sender.letters_to_bob(2), [Some(0); 2]);
    assert_eq!(office.asked(), asked, "not again with each letter");
    assert_eq!((sender.handed().len(), sender.handed()[7].values("Postage-Stamp").len()), (9, 1));
}

#[test]
fn an_empty_account_is_asked_once_and_letters_go_while_stamps_last() {
    let sender = Sender::new();
    sender.keep_ahead("4");
    sender.sent(&["-i", BOB], LETTER);
    wait_until("four stamps in hand", || sender.stamps_in_hand() == 4);
    let account = sender.world.json(&["wallet", "show"])["account"].as_str().unwrap().to_owned();
    sender.world.json(&["account", "debit", &account, "0.9875"]);
    assert_eq!(sender.letters_to_bob(3), [Some(0); 3]);
    let failed = || sender.world.json(&["wallet", "show"])["not_bought_ahead"].clone();
    wait_until("the failure to be noted", || failed()[0]["audience"] == "b.example");
    assert!(failed()[0]["why"].as_str().unwrap().contains("farthing topup"), "{}", failed());
    assert_eq!(sender.letters_to_bob(1), [Some(0)]);
    let output = sender.send(&["-i", BOB], LETTER);
    assert_eq!(output.status.code(), Some(69), "no stamps to be had: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the account holds 0c"), "{}", text(&output.stderr));
    assert_eq!(sender.handed().len(), 5, "and it is not sent without");

    sender.world.json(&["account", "credit", &account, "1.00"]);
    sender.sent(&["-i", BOB], LETTER);
    assert_eq!(failed(), serde_json::json!([]), "forgotten when some are bought");
}

#[test]
fn who_has_a_stamp_in_hand_needs_no_name_server() {
    let sender = Sender::new();
    sender.world.json(&["buy", "b.example", "--count", "1"]);
    sender.world.zone.manner("_postage.b.example", Manner::ServFail);
    let handed = sender.sent(&["-i", BOB], LETTER);
    assert_eq!(handed[0].values("Postage-Stamp").len(), 1);
    assert_eq!(sender.delivered(&handed[0]), "paid");
    assert_eq!(sender.letters_to_bob(1), [Some(75)], "and who has none waits for it");
}
