//! A real Postfix of the story's own: configuration, queue, port and mailbox under the temporary directory.
//!
//! Reads nothing of /etc/postfix and leaves nothing behind. Needs Postfix installed and root, as Postfix itself does.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use lettre::{
    address::Envelope,
    transport::smtp::{client::SmtpConnection, extension::ClientId},
};

use super::{
    mta::{Letter, Mta, Sent},
    site::{Site, free_address},
};
use crate::message::split_message;

/// How long Postfix may take to start, and to deliver one letter on loopback.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a mailbox is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Mail is delivered as `nobody`: virtual(8) refuses root.
const MAIL_UID: u32 = 65_534;

/// A running Postfix; stopped when dropped.
pub struct Postfix {
    directory: PathBuf,
    smtp: SocketAddr,
}

impl Postfix {
    /// Starts one with the site's gate as its milter.
    pub fn start(site: &Site) -> Result<Self, String> {
        let postfix = Self {
            directory: site.directory().join("postfix"),
            smtp: free_address().map_err(|e| e.to_string())?,
        };
        let owner = user_number("postfix").ok_or("Postfix is not installed; run: apt-get install postfix")?;
        for (name, uid) in [("", 0), ("etc", 0), ("queue", 0), ("data", owner), ("mail", MAIL_UID)] {
            let path = postfix.directory.join(name);
            fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            chown(&path, Some(uid), None)
                .map_err(|e| format!("--postfix needs root, as Postfix does: {e}"))?;
        }
        let etc = postfix.directory.join("etc");
        fs::write(etc.join("main.cf"), main_cf(&postfix.directory, &site.milter_path()))
            .map_err(|e| e.to_string())?;
        fs::write(etc.join("master.cf"), master_cf(postfix.smtp.port())).map_err(|e| e.to_string())?;
        postfix.control("start")?;
        let end = Instant::now() + PATIENCE;
        while let Err(e) = postfix.connect("127.0.0.1".parse().ok()) {
            if Instant::now() > end {
                return Err(format!("Postfix does not answer at {}: {e}\n{}", postfix.smtp, postfix.log()));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(postfix)
    }

    fn connect(
        &self,
        from: Option<std::net::IpAddr>,
    ) -> Result<SmtpConnection, lettre::transport::smtp::Error> {
        let hello = ClientId::Domain("client.example".into());
        SmtpConnection::connect(self.smtp, Some(PATIENCE), &hello, None, from)
    }

    fn control(&self, action: &str) -> Result<(), String> {
        let output = control(&self.directory, action)
            .map_err(|e| format!("postfix {action}: {e}; run: apt-get install postfix"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("postfix {action}: {}{}", String::from_utf8_lossy(&output.stderr), self.log()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn mailbox(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.join("mail/all/new")).into_iter().flatten();
        entries.filter_map(|e| Some(e.ok()?.path())).collect()
    }

    /// Waits for one more letter than `before`, and reads its header.
    fn delivered(&self, before: &[PathBuf]) -> Result<Vec<(String, String)>, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(path) = self.mailbox().into_iter().find(|path| !before.contains(path)) {
                let letter = fs::read(&path).map_err(|e| e.to_string())?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start().to_owned();
                return Ok(split_message(&letter)
                    .headers
                    .iter()
                    .map(|h| (text(h.name), text(h.value)))
                    .collect());
            }
            if Instant::now() > end {
                return Err(format!("Postfix took the letter and did not deliver it:\n{}", self.log()));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Mta for Postfix {
    fn send(&self, letter: &Letter<'_>) -> Result<Sent, String> {
        let before = self.mailbox();
        let mut smtp = self.connect(Some(letter.from_ip)).map_err(|e| e.to_string())?;
        let sender = letter.mail_from.parse().map_err(|e| format!("{}: {e}", letter.mail_from))?;
        let recipient = letter.rcpt_to.parse().map_err(|e| format!("{}: {e}", letter.rcpt_to))?;
        let envelope = Envelope::new(Some(sender), vec![recipient]).map_err(|e| e.to_string())?;
        match smtp.send(&envelope, letter.message) {
            Ok(response) => {
                let reply = format!("{} {}", response.code(), response.first_line().unwrap_or(""));
                let _ = smtp.quit();
                Ok(Sent { reply, delivered: Some(self.delivered(&before)?) })
            }
            Err(e) => match e.status() {
                Some(code) => {
                    let text = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
                    Ok(Sent { reply: format!("{code} {text}"), delivered: None })
                }
                None => Err(e.to_string()),
            },
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.control("stop");
    }
}

fn control(directory: &Path, action: &str) -> std::io::Result<std::process::Output> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("postfix");
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.arg("-c").arg(directory.join("etc")).arg(action).output()
}

/// Stops the Postfix of a story whose directory this is.
pub fn stop_below(directory: &Path) {
    let _ = control(&directory.join("postfix"), "stop");
}

fn user_number(name: &str) -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

fn main_cf(directory: &Path, milter: &Path) -> String {
    let common =
        format!(include_str!("postfix/main.cf"), directory = directory.display(), mail_uid = MAIL_UID);
    format!("{common}virtual_mailbox_domains = b.example\nsmtpd_milters = unix:{}\n", milter.display())
}

fn master_cf(port: u16) -> String {
    format!("127.0.0.1:{port} inet n - n - - smtpd\n{}", include_str!("postfix/master.cf"))
}
