//! A refused sender opens the page in a browser, with nothing installed.
//!
//! With FARTHING_PICTURES=DIRECTORY the pages are also kept there as pictures, to be looked at.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    driver::Browser,
    form,
    postfix::{Postfix, PostfixConfig},
    provider,
    provider::Provider,
    support::{ALICE, ALICE_IP, BOB, MALLORY_IP, Site, World, wait_until},
};

/// How long Postfix may take for anything on loopback.
const LIMIT: Duration = Duration::from_secs(30);
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// A mail server with Farthing, whose page asks for little work.
pub struct Mx {
    postfix: Postfix, // stops before the daemon does
    pub world: World,
}

impl Mx {
    pub fn start() -> Self {
        Self::asking(3)
    }

    /// The same, whose page asks for so much work.
    fn asking(page_work_bits: u32) -> Self {
        Self::with(&format!("page_work_bits = {page_work_bits}\n"))
    }

    /// The same, whose customers pay at this provider.
    pub fn paid_at(provider: SocketAddr) -> Self {
        Self::with(&format!(
            "page_work_bits = 3\npayment_url = \"http://{provider}/pay?plan=1\"\nstripe_secret_file = \"stripe.secret\"\n"
        ))
    }

    /// The same, with these lines about the office.
    fn with(lines: &str) -> Self {
        let mut world = World::without_daemon(&Site::default());
        let secret = world.path("stripe.secret");
        std::fs::write(&secret, provider::SECRET).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = std::fs::read_to_string(world.config_path()).unwrap();
        let easy = text.replace("keys = \"keys\"\n", &format!("keys = \"keys\"\n{lines}"));
        assert_ne!(easy, text);
        std::fs::write(world.config_path(), easy).unwrap();
        world.start_daemon();
        let milter = format!("unix:{}", world.path("milter.sock").display());
        Self { postfix: Postfix::start(PostfixConfig::with_milter(milter)), world }
    }

    /// Sends a letter of Alice's to Bob; what the server answers to it.
    fn send(&self, ip: &str, subject: &str) -> String {
        let mut smtp = self.postfix.smtp();
        smtp.expect("EHLO proxy.example", 250);
        smtp.expect(&format!("XCLIENT ADDR={ip} NAME=mx.a.example"), 220);
        smtp.expect("EHLO mx.a.example", 250);
        let letter = format!(
            "From: Alice <{ALICE}>\r\nTo: <{BOB}>\r\nSubject: {subject}\r\n\
             Message-ID: <{subject}@a.example>\r\nDate: Mon, 02 Nov 2026 09:00:00 +0000\r\n\r\nHello!\r\n"
        );
        smtp.send_mail(ALICE, &[BOB], letter.as_bytes()).to_string()
    }

    /// A voucher of this value.
    pub fn voucher(&self, value: &str) -> String {
        let issued = self.world.json(&["voucher", "issue", "--value", value, "--count", "1"]);
        issued[0]["code"].as_str().unwrap().to_owned()
    }

    /// Sends a letter of Alice's that is refused; the page that the refusal names.
    pub fn refused(&self, ip: &str, subject: &str) -> String {
        let said = self.send(ip, subject);
        assert!(said.starts_with("550 5.7.1"), "{said}");
        said.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned()
    }

    /// Sends a letter that is let in; the values of its Postage-Status.
    pub fn delivered(&self, subject: &str, count: usize) -> String {
        let said = self.send(&ALICE_IP.to_string(), subject);
        assert!(said.starts_with("250"), "{said}");
        let mail = self.postfix.wait_for_mail(count, LIMIT);
        let subject = format!("Subject: {subject}");
        let letter = mail.iter().find(|letter| letter.text().contains(&subject)).unwrap();
        letter.header("Postage-Status").join(", ")
    }
}

fn keep_picture(browser: &Browser, name: &str) {
    if let Some(directory) = std::env::var_os("FARTHING_PICTURES") {
        browser.picture(&PathBuf::from(directory).join(format!("{name}.png")));
    }
}

/// Nothing went wrong in the page, nothing was forbidden to it, and all it loaded came from its office.
fn all_is_well(browser: &Browser, mx: &Mx) {
    assert_eq!(browser.console(), Vec::<String>::new());
    all_is_of_the_office(browser, mx);
}

/// All that the page loaded came from its office.
pub fn all_is_of_the_office(browser: &Browser, mx: &Mx) {
    let loaded = browser.script("return performance.getEntriesByType('resource').map((one) => one.name)");
    let office = format!("http://{}/", mx.world.office);
    for url in loaded.as_array().unwrap() {
        assert!(url.as_str().unwrap().starts_with(&office), "{url}");
    }
}

#[test]
fn refused_then_work_on_the_page_then_delivered() {
    let mx = Mx::start();
    let alice_ip = ALICE_IP.to_string();
    let page = mx.refused(&alice_ip, "first");
    let browser = Browser::chromium("en-US", 1100, 900);
    browser.open_form(&page);
    assert_eq!(browser.text("h1"), format!("Your letter to {BOB} needs a stamp of 0.25c"));
    keep_picture(&browser, "desktop-light");

    browser.click("#work");
    browser.wait_for("the fault", "document.getElementById('fault').textContent");
    assert!(browser.text("#fault").contains("This is not an address"), "{}", browser.text("#fault"));
    assert_eq!(browser.script("return document.activeElement.id"), "from");
    keep_picture(&browser, "desktop-fault");

    // By keyboard alone: the focus is in the field, the next stop is the button.
    browser.press(&format!("{ALICE}{TAB}{ENTER}"));
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    let said = browser.text("#let-in");
    assert!(said.starts_with(&format!("One letter from {ALICE} to {BOB} is let in until ")), "{said}");
    assert_eq!(browser.script("return document.activeElement.id"), "done-heading");
    keep_picture(&browser, "desktop-done");
    all_is_well(&browser, &mx);

    assert_eq!(mx.refused(&MALLORY_IP.to_string(), "forged"), page, "nobody else's letter");
    assert_eq!(mx.delivered("first", 1), format!("mx.b.example; result=work; rcpt={BOB}"));
    assert_eq!(mx.refused(&alice_ip, "second"), page, "one letter");
    mx.world.books_balance();
}

#[test]
fn work_tells_how_far_it_is_and_can_be_stopped() {
    let mx = Mx::asking(20);
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let browser = Browser::chromium("en-US", 1100, 900);
    browser.open_form(&page);
    assert!(browser.text("#work-how").contains("5100 to 77000 seconds"), "{}", browser.text("#work-how"));
    browser.type_into("#from", ALICE);
    browser.wait_for("the speed", "!document.getElementById('speed').hidden");
    let speed = browser.text("#speed");
    assert!(speed.starts_with("This computer: usually between ") && speed.contains(" minutes"), "{speed}");
    browser.click("#work");
    browser.wait_for("the first hashes", "document.getElementById('energy').textContent.includes('joules')");
    browser.wait_for(
        "an estimate",
        "/Working: .* Usually between .* minutes more/.test(document.getElementById('work-said').textContent)",
    );
    keep_picture(&browser, "desktop-working");
    browser.click("#stop");
    browser.wait_for("the end of it", "document.getElementById('progress').hidden");
    assert_eq!(browser.text("#work-said"), "Stopped. Nothing was used up.");
    assert_eq!(browser.script("return document.getElementById('work').disabled"), false);
    all_is_well(&browser, &mx);
    assert_eq!(mx.refused(&ALICE_IP.to_string(), "first"), page);
}

#[test]
fn refused_then_paid_on_the_page_then_delivered() {
    let mx = Mx::start();
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let browser = Browser::chromium("en-US", 1100, 900);
    browser.open_form(&page);
    browser.type_into("#from", ALICE);
    browser.click("#pay");
    browser.wait_for("the account", "!document.getElementById('purse').hidden");
    browser.wait_for("the balance", "document.getElementById('pay-said').textContent.includes('needed')");
    assert_eq!(browser.text("#balance"), "0c");
    let account = browser.text("#account");
    let voucher = mx.voucher("1c");
    browser.type_into("#voucher", &voucher);
    keep_picture(&browser, "desktop-purse");
    browser.press(&ENTER.to_string());
    browser.wait_for("the money", "document.getElementById('balance').textContent === '1c'");
    assert_eq!(browser.text("#pay-said"), "1c were put on your account. Now press “Pay 0.25c”.");
    browser.click("#pay");
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    assert_eq!(browser.text("#balance"), "0.75c");
    keep_picture(&browser, "desktop-paid");
    let header = browser.script("return document.getElementById('header').textContent");
    all_is_well(&browser, &mx);

    let status = mx.delivered("first", 1);
    assert!(status.starts_with(&format!("mx.b.example; result=paid; rcpt={BOB}; value=2500; currency=USD")));
    assert!(header.as_str().unwrap().starts_with("Postage-Stamp: v=1; i=b.example;"), "{header}");
    assert_eq!(mx.world.balance("escrow:b.example"), 2500);
    assert_eq!(mx.world.balance(&format!("account:{account}")), 7500);

    // The key stays in the browser: another page of this office knows the account. Carol asks for more.
    browser.open_form(&page.replace("bob@", "carol@"));
    browser.type_into("#from", ALICE);
    browser.script("document.getElementById('amount').closest('details').open = true");
    browser.type_into("#amount", "0.2c");
    browser.click("#pay");
    browser.wait_for("the fault", "document.querySelector('#pay-said.fault')");
    assert!(browser.text("#pay-said").contains("at least 0.25c"), "{}", browser.text("#pay-said"));
    browser.script("document.getElementById('amount').value = '0.3c'");
    browser.click("#pay");
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    assert_eq!((browser.text("#account"), browser.text("#balance")), (account, "0.45c".into()));
    mx.world.books_balance();
}

#[test]
fn the_pages_key_is_a_wallet_and_a_wallet_is_the_pages_key() {
    let mx = Mx::start();
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let browser = Browser::chromium("en-US", 1100, 900);
    let pay = |voucher: Option<&str>| {
        browser.open_form(&page);
        browser.type_into("#from", ALICE);
        browser.click("#pay");
        browser.wait_for("the account", "!document.getElementById('purse').hidden");
        if let Some(code) = voucher {
            browser.wait_for(
                "the balance",
                "document.getElementById('pay-said').textContent.includes('needed')",
            );
            browser.type_into("#voucher", code);
            browser.press(&ENTER.to_string());
            browser.wait_for("the money", "document.getElementById('balance').textContent !== '0c'");
            browser.click("#pay");
        }
        browser.wait_for("the pass", "!document.getElementById('done').hidden");
        browser.script("document.querySelector('#purse details').open = true");
        browser.text("#account")
    };
    let account = pay(Some(&mx.voucher("1c")));
    let (wallet, other) = (mx.world.path("wallet.json"), mx.world.path("other.json"));
    let farthing = |file: &Path, command: &[&str]| {
        mx.world.json(&[command, &["--wallet", file.to_str().unwrap()]].concat())
    };

    // Another account than the page's would take the place of one that holds money and was never saved.
    farthing(&other, &["wallet", "new"]);
    let copy = mx.world.path("copy.json");
    farthing(&other, &["wallet", "backup", "--to-file", copy.to_str().unwrap()]);
    browser.type_into("#key-load", copy.to_str().unwrap());
    browser.wait_for("a warning", "document.querySelector('#pay-said.fault')");
    assert!(browser.text("#pay-said").contains("Save its key first"), "{}", browser.text("#pay-said"));

    browser.click("#key-save");
    let saved = browser.home().join("postage-wallet-b.example.json");
    wait_until("the download", || saved.exists());
    let content = std::fs::read(&saved).unwrap();
    let restored =
        mx.world.farthing_with(&["wallet", "restore", "--wallet", wallet.to_str().unwrap()], &content);
    assert!(restored.status.success(), "{restored:?}");
    let shown = farthing(&wallet, &["wallet", "show"]);
    assert_eq!((&shown["account"], &shown["offices"][0]["balance"]), (&json!(account), &json!(7500)));
    farthing(
        &wallet,
        &["buy", "b.example", "--count", "1", "--office", &format!("http://{}/", mx.world.office)],
    );

    browser.type_into("#key-load", copy.to_str().unwrap());
    browser.wait_for("the other account", "document.getElementById('balance').textContent === '0c'");
    assert_eq!(browser.text("#pay-said"), "The key was loaded.");
    assert_eq!(browser.text("#account"), farthing(&other, &["wallet", "show"])["account"]);
    browser.type_into("#key-load", wallet.to_str().unwrap());
    browser.wait_for("the first account", "document.getElementById('balance').textContent === '0.5c'");
    assert_eq!(pay(None), account);
    let stray = mx.world.config_path();
    browser.type_into("#key-load", stray.to_str().unwrap());
    browser.wait_for("the fault", "document.querySelector('#pay-said.fault')");
    assert_eq!(browser.text("#pay-said"), "This file holds no key of a wallet.");
    all_is_well(&browser, &mx);
    mx.world.books_balance();
}

#[test]
fn refused_then_paid_without_scripts_then_delivered() {
    let mx = Mx::start();
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let code = mx.voucher("0.5c");
    let form = mx.world.get(&format!("/p/{BOB}"));
    let fields = [("from", ALICE), ("voucher", &*code), ("once", form::once(&form))];
    let paid = form::send(&page, &fields, "192.0.2.7");
    assert_eq!(paid.status, 200, "{paid:?}");
    let status = mx.delivered("first", 1);
    assert!(status.starts_with(&format!("mx.b.example; result=paid; rcpt={BOB}; value=2500;")), "{status}");
    assert_eq!(mx.refused(&ALICE_IP.to_string(), "second"), page, "one letter");

    // What is left on the code can go into a wallet.
    let wallet = mx.world.path("wallet.json");
    let url = format!("http://{}/", mx.world.office);
    let wallet = ["--wallet", wallet.to_str().unwrap()];
    mx.world.json(&[&["wallet", "new"][..], &wallet].concat());
    let moved = mx.world.json(&[&["topup", "--voucher", &code, "--office", &url][..], &wallet].concat());
    assert_eq!(moved["credited"], 2500, "{moved}");
    assert_eq!(moved["balance"], 2500, "{moved}");
    mx.world.books_balance();
}

#[test]
fn refused_then_paid_by_card_then_delivered() {
    let provider = Provider::start();
    let mx = Mx::paid_at(provider.address);
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let browser = Browser::chromium("en-US", 1100, 900);
    browser.open_form(&page);
    browser.type_into("#from", ALICE);
    browser.click("#pay");
    browser.wait_for("what is missing", "document.getElementById('pay-said').textContent.includes('below')");
    keep_picture(&browser, "desktop-card");
    let account = browser.text("#account");
    browser.click("#payment");
    browser.wait_for("the waiting", "document.getElementById('pay-said').textContent.startsWith('Waiting')");

    // At the provider: the account is there without anybody's typing it.
    browser.window(true);
    browser.wait_for("the provider", "document.getElementById('reference')");
    assert_eq!(browser.text("#reference"), account);
    assert_eq!(browser.script("return [document.referrer, window.opener]"), json!(["", null]));
    provider.tells(mx.world.office);
    browser.click("button");
    browser.wait_for("its thanks", "document.body.innerText.includes('Thank you')");

    browser.window(false);
    browser.wait_for("the money", "document.getElementById('pay-said').textContent.includes('500c')");
    assert_eq!(browser.text("#pay-said"), "Your account holds 500c now. Now press “Pay 0.25c”.");
    keep_picture(&browser, "desktop-card-paid");
    browser.click("#pay");
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    assert_eq!(browser.text("#balance"), "499.75c");
    all_is_well(&browser, &mx);
    assert!(mx.delivered("first", 1).starts_with("mx.b.example; result=paid;"));
    assert_eq!(mx.world.balance("funding:stripe"), -5_000_000);
    mx.world.books_balance();
}

#[test]
fn two_small_vouchers_pay_for_one_letter() {
    let mx = Mx::start();
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let browser = Browser::chromium("en-US", 1100, 900);
    browser.open_form(&page);
    browser.type_into("#from", ALICE);
    browser.script("document.getElementById('amount').closest('details').open = true");
    browser.type_into("#amount", "1.5c");
    browser.click("#pay");
    browser.wait_for("what is missing", "document.getElementById('pay-said').textContent.includes('needed')");
    for (balance, code) in [("1c", mx.voucher("1c")), ("2c", mx.voucher("1c"))] {
        browser.type_into("#voucher", &code);
        browser.click("#voucher-use");
        browser.wait_for(
            "the money",
            &format!("document.getElementById('balance').textContent === '{balance}'"),
        );
        keep_picture(&browser, &format!("desktop-vouchers-{balance}"));
    }
    assert_eq!(browser.text("#pay-said"), "1c were put on your account. Now press “Pay 1.5c”.");
    browser.click("#pay");
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    assert_eq!(browser.text("#balance"), "0.5c");
    all_is_well(&browser, &mx);
    assert!(mx.delivered("first", 1).contains("value=15000;"));
    mx.world.books_balance();
}

#[test]
fn a_printed_voucher_is_opened_by_its_code_and_pays_later() {
    let mx = Mx::start();
    let code = mx.voucher("0.5c");
    let browser = Browser::chromium("en-US", 500, 900);
    browser.open_form(&format!("http://{}/p/voucher#{code}", mx.world.office));
    assert_eq!(browser.script("return document.getElementById('voucher').value"), code.as_str());
    assert_eq!(browser.script("return location.hash"), "", "it does not stay in the history");
    browser.click("#voucher-use");
    browser.wait_for("the money", "document.getElementById('balance').textContent === '0.5c'");
    keep_picture(&browser, "phone-voucher");
    // What is wrong with a code is said in the reader's words.
    browser.type_into("#voucher", &code);
    browser.click("#voucher-use");
    browser.wait_for("the same again", "document.getElementById('pay-said').textContent.includes('before')");
    assert_eq!(browser.text("#balance"), "0.5c", "a code is good once");
    browser.type_into("#voucher", "nonsense");
    browser.click("#voucher-use");
    browser.wait_for("the fault", "document.querySelector('#pay-said.fault')");
    assert!(
        browser.text("#pay-said").starts_with("This is no voucher code"),
        "{}",
        browser.text("#pay-said")
    );
    assert_eq!(browser.script("return document.activeElement.id"), "voucher", "where to mend it");
    assert_eq!(browser.script("return document.activeElement.ariaInvalid"), "true");

    let page = mx.refused(&ALICE_IP.to_string(), "first");
    browser.open_form(&page);
    browser.type_into("#from", ALICE);
    browser.click("#pay");
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    assert_eq!(browser.text("#balance"), "0.25c");
    assert!(mx.delivered("first", 1).starts_with("mx.b.example; result=paid;"));
}

#[test]
fn the_page_fits_a_phone_in_german_and_in_the_dark() {
    let mx = Mx::start();
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let browser = Browser::chromium("de-DE", 600, 900);
    for (width, dark, name) in [(320, false, "phone-320-light"), (390, true, "phone-390-dark")] {
        browser.view(width, 800, dark);
        browser.open_form(&page);
        browser.script("document.querySelectorAll('details').forEach((one) => { one.open = true })");
        assert_eq!(browser.script("return document.documentElement.lang"), "de");
        let wide = browser.script("return document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} at {width}");
        let small = browser.script(
            "return [...document.querySelectorAll('button')].filter((one) => one.offsetHeight && one.offsetHeight < 44).length",
        );
        assert_eq!(small, 0, "a thumb finds every button");
        keep_picture(&browser, name);
    }
    browser.type_into("#from", ALICE);
    browser.click("#work");
    browser.wait_for("the pass", "!document.getElementById('done').hidden");
    assert!(browser.text("#let-in").starts_with(&format!("Ein Brief von {ALICE} an {BOB} wird bis ")));
    keep_picture(&browser, "phone-done");
    all_is_well(&browser, &mx);
}

#[test]
fn a_screen_reader_finds_a_name_for_everything_and_every_word_can_be_read() {
    let mx = Mx::start();
    let page = mx.refused(&ALICE_IP.to_string(), "first");
    let browser = Browser::chromium("en-US", 1100, 900);
    for dark in [false, true] {
        browser.view(900, 900, dark);
        browser.open_form(&page);
        browser.script(
            "for (const one of document.querySelectorAll('[hidden]')) one.hidden = false;
             for (const one of document.querySelectorAll('details')) one.open = true;
             for (const id of ['fault', 'work-said', 'pay-said', 'let-in']) document.getElementById(id).textContent = 'words'",
        );
        assert_eq!(browser.script(NAMELESS), json!([]));
        assert_eq!(browser.script(FAINT), json!([]), "dark: {dark}");
        let headings = browser
            .script("return [...document.querySelectorAll('h1,h2,h3')].map((one) => Number(one.tagName[1]))");
        let levels: Vec<u64> = headings.as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1) && levels[0] == 1, "{levels:?}");
    }
}

/// Fields and buttons without a name.
const NAMELESS: &str = "
    const named = (one) => one.labels?.length || one.textContent.trim() || one.getAttribute('aria-labelledby');
    return [...document.querySelectorAll('input,button,a,progress,summary')]
        .filter((one) => !named(one)).map((one) => one.outerHTML)";

/// Texts whose contrast with what is behind them is below 4.5 to 1 (WCAG 2, level AA).
const FAINT: &str = "
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const light = (color) => {
        canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
            .map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const color = getComputedStyle(one).backgroundColor;
            if (color !== 'rgba(0, 0, 0, 0)') return color;
        }
        return 'white';
    };
    const faint = [];
    for (const one of document.querySelectorAll('body *')) {
        const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own || one.tagName === 'NOSCRIPT') continue;
        const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
        const ratio = (pair[0] + .05) / (pair[1] + .05);
        if (ratio < 4.5) faint.push(one.tagName + ' ' + ratio.toFixed(2) + ' ' + one.textContent.slice(0, 30));
    }
    return faint";
