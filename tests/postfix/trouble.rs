//! A gate that dies, restarts or stops, and a client that never heard the answer: a retry at the worst.

use super::*;

#[test]
fn a_gate_that_dies_in_the_middle_costs_a_retry_and_nothing_else() {
    let mut mx = Mx::with(&Site::default(), |config| config.main("milter_default_action = tempfail"));
    let stamp = mx.world.buy(1).remove(0);
    let letter = stamped(&stamp, &letter("killed"));
    let mut smtp = mx.alice();
    smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
    smtp.expect(&format!("RCPT TO:<{BOB}>"), 250);
    mx.world.end_daemon("KILL");
    assert_eq!(smtp.send_data(letter.as_bytes()).code, 451, "before the letter came");
    assert_eq!(mx.local().say(&format!("MAIL FROM:<{ALICE}>")).code, 451, "while nobody is there");

    mx.world.start_daemon();
    // The letter is there, the ledger is busy, and the gate dies over it.
    let lock = mx.world.lock_ledger();
    let mut smtp = mx.alice();
    smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
    smtp.expect(&format!("RCPT TO:<{BOB}>"), 250);
    let sending = std::thread::spawn({
        let letter = letter.clone();
        move || smtp.send_data(letter.as_bytes())
    });
    mx.postfix.wait_for_log("message-id=<killed@a.example>", LIMIT);
    mx.world.end_daemon("KILL");
    assert_eq!(sending.join().unwrap().code, 451, "after the letter came");
    drop(lock);

    mx.world.start_daemon();
    accepted(&mx.send(&letter));
    assert_eq!(result(&mx.delivered(1, "killed")), "paid");
    assert_eq!(mx.escrow(), PRICE_MICROS, "paid once");
    mx.world.books_balance();
}

#[test]
fn a_client_that_never_heard_the_answer_brings_the_letter_again_for_nothing() {
    let mx = Mx::start(&Site::default());
    let stamp = mx.world.buy(1).remove(0);
    let letter = stamped(&stamp, &letter("unheard"));
    let mut smtp = mx.alice();
    smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250);
    smtp.expect(&format!("RCPT TO:<{BOB}>"), 250);
    smtp.expect("DATA", 354);
    smtp.send(format!("{}.\r\n", letter.replace('\n', "\r\n")).as_bytes());
    drop(smtp);
    mx.postfix.wait_for_mail(1, LIMIT);
    accepted(&mx.send(&letter));
    assert_eq!(mx.postfix.wait_for_mail(2, LIMIT).iter().filter(|mail| result(mail) == "paid").count(), 2);
    assert_eq!(mx.escrow(), PRICE_MICROS);
    let ids: Vec<_> = mx.postfix.mail().iter().map(|mail| mail.header("Postage-Wanted")).collect();
    assert_eq!(ids[0], ids[1], "both copies carry the same token");
}

#[test]
fn a_restart_between_two_letters_of_one_session_is_a_451_at_the_worst() {
    let mut mx = Mx::with(&Site::default(), |config| config.main("milter_default_action = tempfail"));
    let stamps = mx.world.buy(2);
    let mut smtp = mx.alice();
    accepted(&smtp.send_mail(ALICE, &[BOB], stamped(&stamps[0], &letter("first")).as_bytes()));
    assert!(mx.world.end_daemon("TERM").success());
    mx.world.start_daemon();
    let second = stamped(&stamps[1], &letter("second"));
    let answer = smtp.send_mail(ALICE, &[BOB], second.as_bytes());
    assert_eq!(answer.code, 451, "Postfix keeps to the connection that is gone: {answer}");
    accepted(&mx.send(&second));
    assert_eq!(result(&mx.delivered(2, "second")), "paid");
    assert_eq!(mx.escrow(), 2 * PRICE_MICROS);
}

#[test]
fn a_stop_answers_the_letter_in_hand_first() {
    let mut mx = Mx::start(&Site::default());
    let stamp = mx.world.buy(1).remove(0);
    let letter = stamped(&stamp, &letter("in-hand"));
    let lock = mx.world.lock_ledger();
    let mut smtp = mx.alice();
    let sending = std::thread::spawn(move || smtp.send_mail(ALICE, &[BOB], letter.as_bytes()));
    mx.postfix.wait_for_log("message-id=<in-hand@a.example>", LIMIT);
    mx.world.signal("TERM");
    mx.world.wait_for_log("stopping");
    drop(lock);
    accepted(&sending.join().unwrap());
    assert!(mx.world.wait_for_end().success());
    assert_eq!(mx.escrow(), PRICE_MICROS);
}
