//! Stamps bought ahead, so that nobody waits for an office.

use super::*;

#[test]
fn stamps_are_bought_ahead_while_nobody_waits() {
    let sender = Sender::new();
    sender.world.json(&["wallet", "set", "--ahead", "4"]);
    sender.sent(&["-i", BOB], LETTER);
    wait_until("four stamps in hand", || sender.stamps_in_hand() == 4);
    sender.sent(&["-i", BOB], LETTER);
    assert_eq!(sender.stamps_in_hand(), 3, "half of them may go before more are bought");
}
