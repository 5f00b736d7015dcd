//! A smarthost that takes mail and keeps it, or answers as a test wants it to.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a client may keep it waiting.
const LINE_TIME: Duration = Duration::from_secs(30);
/// Instead of a reply: the connection ends.
pub const HANG_UP: &str = "hang up";

/// A mail as it was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    pub message: String,
    /// Options of MAIL and of each RCPT, as they stood there.
    pub options: Vec<String>,
}

impl Taken {
    /// The one value of a field, folding undone.
    pub fn field(&self, name: &str) -> String {
        let message = farthing::message::split_message(self.message.as_bytes());
        let values: Vec<_> = message.values(name).collect();
        assert_eq!(values.len(), 1, "{name}: {}", self.message);
        String::from_utf8_lossy(values[0]).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The body, decoded.
    pub fn text(&self) -> String {
        let message = mail_parser::MessageParser::default().parse(self.message.as_bytes()).unwrap();
        message.body_text(0).unwrap().replace("\r\n", "\n")
    }
}

#[derive(Default)]
struct Shared {
    taken: Mutex<Vec<Taken>>,
    /// What it says instead of its own words at `connect`, `EHLO`, `MAIL`, `RCPT`, `DATA` and `.`.
    says: Mutex<HashMap<&'static str, String>>,
    connections: AtomicUsize,
    stop: AtomicBool,
}

pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if own.stop.load(Ordering::Relaxed) {
                    break;
                }
                own.connections.fetch_add(1, Ordering::Relaxed);
                let of_session = own.clone();
                thread::spawn(move || session(stream.unwrap(), &of_session));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// From now on it says this there.
    pub fn say(&self, at: &'static str, words: &str) {
        self.shared.says.lock().unwrap().insert(at, words.into());
    }

    /// From now on it takes everything.
    pub fn say_nothing_else(&self) {
        self.shared.says.lock().unwrap().clear();
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One session; `None` when it breaks off.
fn session(stream: TcpStream, shared: &Shared) -> Option<()> {
    stream.set_read_timeout(Some(LINE_TIME)).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    let mut reply = |at: &'static str, usual: &str| {
        let said = shared.says.lock().unwrap().get(at).cloned().unwrap_or_else(|| usual.into());
        if said == HANG_UP {
            return None;
        }
        writer.write_all(format!("{said}\r\n").as_bytes()).ok()?;
        Some(said.starts_with(['2', '3']))
    };
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).ok()?;
        (read > 0).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    };
    reply("connect", "220 sink.example ESMTP")?;
    let mut mail = Taken { from: String::new(), to: vec![], message: String::new(), options: vec![] };
    loop {
        let said = line(&mut reader)?;
        let verb = said.split([' ', ':']).next()?.to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => drop(reply("EHLO", "250-sink.example\r\n250 8BITMIME")?),
            "MAIL" => {
                if reply("MAIL", "250 2.1.0 Ok")? {
                    mail = Taken {
                        from: path(&said),
                        to: vec![],
                        message: String::new(),
                        options: vec![options(&said)],
                    };
                }
            }
            "RCPT" => {
                if reply("RCPT", "250 2.1.5 Ok")? {
                    mail.to.push(path(&said));
                    mail.options.push(options(&said));
                }
            }
            "DATA" => {
                if !reply("DATA", "354 go on")? {
                    continue;
                }
                loop {
                    let text = line(&mut reader)?;
                    if text == "." {
                        break;
                    }
                    mail.message += text.strip_prefix('.').unwrap_or(&text);
                    mail.message += "\r\n";
                }
                // What breaks off here is kept: the client cannot know.
                let answer = reply(".", "250 2.0.0 Ok: queued");
                if answer != Some(false) {
                    shared.taken.lock().unwrap().push(mail.clone());
                }
                answer?;
            }
            "QUIT" => {
                reply("QUIT", "221 2.0.0 Bye")?;
                return Some(());
            }
            _ => drop(reply("other", "250 2.0.0 Ok")?),
        }
    }
}

/// What stands between the brackets.
fn path(line: &str) -> String {
    let start = line.find('<').unwrap() + 1;
    line[start..line.find('>').unwrap()].to_owned()
}

/// What stands behind them.
fn options(line: &str) -> String {
    line[line.find('>').unwrap() + 1..].trim().to_owned()
}
