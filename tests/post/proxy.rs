//! The net between a customer and the office, when it is bad.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What becomes of the answers to orders.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// They arrive.
    Honest,
    /// They never arrive: the connection stays open and silent.
    Silent,
    /// The connection breaks in their place.
    Lost,
    /// They arrive with a signature changed.
    Tampered,
    /// A web server says in their place that it wants no such clients.
    TurnedAway,
}

/// Hands requests on to an office, and its answers back, in some manner.
pub struct Proxy {
    pub address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    orders: Arc<AtomicUsize>,
}

impl Proxy {
    pub fn start(office: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            manner: Arc::new(Mutex::new(Manner::Honest)),
            orders: Arc::default(),
        };
        let (manner, orders) = (proxy.manner.clone(), proxy.orders.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (manner, orders) = (manner.clone(), orders.clone());
                thread::spawn(move || relay(client.unwrap(), office, &manner, &orders));
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn be(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Orders that the office has answered.
    pub fn orders_answered(&self) -> usize {
        self.orders.load(Ordering::SeqCst)
    }
}

/// One request and its answer; then the connection ends.
fn relay(mut client: TcpStream, office: SocketAddr, manner: &Mutex<Manner>, orders: &AtomicUsize) {
    let Some(request) = read_message(&mut client) else { return };
    let is_order = request.starts_with(b"POST /v1/stamps");
    let mut upstream = TcpStream::connect(office).unwrap();
    upstream.write_all(&request).unwrap();
    let Some(mut answer) = read_message(&mut upstream) else { return };
    let manner = if is_order { *manner.lock().unwrap() } else { Manner::Honest };
    if is_order {
        orders.fetch_add(1, Ordering::SeqCst);
    }
    match manner {
        Manner::Honest => {}
        Manner::Silent => {
            // Until the client gives up.
            let _ = client.read(&mut [0]);
            return;
        }
        Manner::Lost => {
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        Manner::TurnedAway => answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n".to_vec(),
        Manner::Tampered => {
            let start = b"\"b\":[\"";
            if let Some(at) = answer.windows(start.len()).position(|window| window == start) {
                let octet = &mut answer[at + start.len()];
                *octet = if *octet == b'A' { b'B' } else { b'A' };
            }
        }
    }
    let _ = client.write_all(&answer);
}

/// A request or an answer with its body; `None` when it breaks off.
pub fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![];
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = message.windows(4).position(|window| window == b"\r\n\r\n") {
            let header = String::from_utf8_lossy(&message[..end]).to_ascii_lowercase();
            let length = header.lines().find_map(|line| line.strip_prefix("content-length:"));
            let body: usize = length.map_or(0, |digits| digits.trim().parse().unwrap());
            if message.len() >= end + 4 + body {
                return Some(message);
            }
        }
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => message.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}
