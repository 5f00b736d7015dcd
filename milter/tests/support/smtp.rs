//! The client's side of SMTP for tests: says a line, reads a reply. Nothing is hidden and nothing is retried.
#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long any one reply may take before the test fails; above every limit of a server under test.
const REPLY_LIMIT: Duration = Duration::from_secs(180);

/// An SMTP connection.
pub struct Smtp {
    stream: BufReader<TcpStream>,
}

/// A reply: the code, and the lines without code and separator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpAnswer {
    /// 250, 550 …; 0 when the server hung up instead of answering.
    pub code: u16,
    /// The text of each line.
    pub lines: Vec<String>,
}

impl SmtpAnswer {
    /// The lines with a space between them.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }
}

impl std::fmt::Display for SmtpAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

impl Smtp {
    /// Connects and reads the greeting.
    pub fn connect(address: SocketAddr) -> Smtp {
        let (smtp, greeting) =
            Smtp::open(address).unwrap_or_else(|error| panic!("no SMTP at {address}: {error}"));
        assert_eq!(greeting.code, 220, "greeted with {greeting}");
        smtp
    }

    /// Connects and gives the greeting, whatever it is.
    pub fn open(address: SocketAddr) -> io::Result<(Smtp, SmtpAnswer)> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        let mut smtp = Smtp { stream: BufReader::new(stream) };
        let greeting = smtp.read();
        Ok((smtp, greeting))
    }

    /// Says one line and reads the reply to it.
    pub fn say(&mut self, line: &str) -> SmtpAnswer {
        self.send(format!("{line}\r\n").as_bytes());
        self.read()
    }

    /// Says one line and fails the test unless the reply has this code.
    pub fn expect(&mut self, line: &str, code: u16) -> SmtpAnswer {
        let answer = self.say(line);
        assert_eq!(answer.code, code, "{line:?} was answered {answer}");
        answer
    }

    /// Sends bytes as they are; says nothing of a server that has hung up (the next read does).
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Reads one reply; code 0 when there is none.
    pub fn read(&mut self) -> SmtpAnswer {
        let mut answer = SmtpAnswer { code: 0, lines: Vec::new() };
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                return answer;
            }
            let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_string();
            answer.code = line.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            answer.lines.push(line.get(4..).unwrap_or("").to_string());
            if line.as_bytes().get(3) != Some(&b'-') {
                return answer;
            }
        }
    }

    /// MAIL, RCPT for each, DATA and the message; gives the reply to the final dot, or the first refusal.
    /// Lines of `message` may end in LF or CRLF; dots are doubled here.
    pub fn send_mail(&mut self, sender: &str, recipients: &[&str], message: &[u8]) -> SmtpAnswer {
        let answer = self.say(&format!("MAIL FROM:<{sender}>"));
        if answer.code != 250 {
            return answer;
        }
        for recipient in recipients {
            let answer = self.say(&format!("RCPT TO:<{recipient}>"));
            if answer.code != 250 {
                return answer;
            }
        }
        self.send_data(message)
    }

    /// DATA and the message; gives the reply to the final dot, or to DATA when that is not 354.
    pub fn send_data(&mut self, message: &[u8]) -> SmtpAnswer {
        let answer = self.say("DATA");
        if answer.code != 354 {
            return answer;
        }
        let mut wire = Vec::with_capacity(message.len() + 64);
        for line in message.split_inclusive(|&byte| byte == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            wire.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b".\r\n");
        self.send(&wire);
        self.read()
    }
}
