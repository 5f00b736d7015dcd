//! A payment provider of the tests: a page where a button pays, and the signed news of it, as Stripe's Checkout sends it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, OnceLock},
};

use data_encoding::HEXLOWER;
use farthing::clock::unix_now;
use ring::hmac;
use serde_json::json;

use crate::post::{Answer, agent};

/// What it signs its news with.
pub const SECRET: &str = "whsec_a_secret_of_the_tests";

/// Answers until the tests end.
pub struct Provider {
    pub address: SocketAddr,
    office: Arc<OnceLock<SocketAddr>>,
}

impl Provider {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, office) = (listener.local_addr().unwrap(), Arc::new(OnceLock::new()));
        let told = Arc::clone(&office);
        std::thread::spawn(move || {
            // A browser opens connections that it does not use: none may hold up the others.
            for stream in listener.incoming().map_while(Result::ok) {
                let told = Arc::clone(&told);
                std::thread::spawn(move || answer(stream, &told));
            }
        });
        Self { address, office }
    }

    /// From now on it tells this office what was paid.
    pub fn tells(&self, office: SocketAddr) {
        self.office.set(office).unwrap();
    }
}

fn answer(stream: TcpStream, office: &OnceLock<SocketAddr>) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(octets) = line.strip_prefix("content-length:") {
            length = octets.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let target = first.split(' ').nth(1).unwrap_or_default();
    let reference = |query: &str| {
        let mut pairs = query.split(['?', '&']);
        pairs.find_map(|pair| pair.strip_prefix("client_reference_id=")).map(str::to_owned)
    };
    let html = if first.starts_with("POST /paid") {
        tell(*office.get().unwrap(), &reference(std::str::from_utf8(&body).unwrap()).unwrap());
        "<title>Paid</title><p>Thank you. You may close this window.".to_owned()
    } else {
        let account = reference(target).unwrap_or_default();
        format!(
            "<title>Pay</title><form method=post action=/paid><p id=reference>{account}</p>\
             <input type=hidden name=client_reference_id value=\"{account}\"><button>Pay 5.00 USD</button></form>"
        )
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        html.len()
    );
    reader.get_mut().write_all(format!("{head}{html}").as_bytes()).unwrap();
}

/// Tells the office that somebody paid 5.00 for this account.
fn tell(office: SocketAddr, account: &str) {
    let event = json!({
        "id": "evt_1", "object": "event", "created": unix_now(), "livemode": true, "type": "checkout.session.completed",
        "data": {"object": {
            "id": "cs_1", "object": "checkout.session", "amount_subtotal": 500, "amount_total": 500,
            "client_reference_id": account, "currency": "usd", "mode": "payment", "payment_status": "paid",
            "status": "complete",
        }},
    });
    let (time, body) = (unix_now().to_string(), event.to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = HEXLOWER.encode(hmac::sign(&key, format!("{time}.{body}").as_bytes()).as_ref());
    let request = ureq::http::Request::post(format!("http://{office}/v1/webhooks/stripe"))
        .header("Content-Type", "application/json")
        .header("Stripe-Signature", format!("t={time},v1={tag}"));
    let answer = Answer::of(agent().run(request.body(body).unwrap()).unwrap());
    assert_eq!(answer.status, 200, "{answer:?}");
}
