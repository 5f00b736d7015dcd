//! The page in WebKit, whose pages Safari shows: both ways to a pass.

use crate::{
    chromium::{Mx, all_is_of_the_office},
    driver::Browser,
    support::{ALICE, ALICE_IP, BOB},
};

#[test]
fn refused_then_let_in_by_a_webkit_browser_then_delivered() {
    let mx = Mx::start();
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let browser = Browser::webkit();
    browser.open_form(&page);
    browser.type_into("#from", ALICE);
    browser.wait_for("the speed", "!document.getElementById('speed').hidden");
    browser.click("#work");
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    let said = browser.text("#let-in");
    assert!(said.starts_with(&format!("One letter from {ALICE} to {BOB} is let in until ")), "{said}");
    assert_eq!(mx.delivered("first", 1), format!("mx.b.example; result=work; rcpt={BOB}"));

    browser.open_form(&mx.refused(&ALICE_IP.to_string(), "second"));
    browser.type_into("#from", ALICE);
    browser.click("#pay");
    browser.wait_for("the balance", "document.getElementById('pay-said').textContent.includes('needed')");
    browser.type_into("#voucher", &mx.voucher("1c"));
    browser.click("#voucher-use");
    browser.wait_for("the money", "document.getElementById('balance').textContent === '1c'");
    browser.click("#pay");
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    assert_eq!(browser.text("#balance"), "0.75c");
    all_is_of_the_office(&browser, &mx);
    assert!(mx.delivered("second", 2).starts_with("mx.b.example; result=paid;"));
    mx.world.books_balance();
}
