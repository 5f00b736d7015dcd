//! A real Postfix for tests: own configuration, queue, ports and log under a temporary directory.
//!
//! Not a wrapper of the system's Postfix: it reads nothing of `/etc/postfix` and leaves nothing behind.
//! It needs the Debian package `postfix` and the root user (Postfix switches users itself); without either
//! it fails the test with a text that says so. It knows nothing of any crate, so any test may take it in
//! by `#[path]` (it wants `smtp.rs` beside it and the crate `tempfile`). What the Postfix of `farthing demo` has in common
//! with it stands in that one's `main.cf` and `master.cf`.
//!
//! Mail for [`PostfixConfig::domains`] is taken for any local part and delivered to a Maildir that
//! [`Postfix::mail`] reads; mail for other domains goes to `discard:`. Clients may use XCLIENT.
#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::smtp::Smtp;

/// How often what another process does is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Delivered mail belongs to this user and group, `nobody` (virtual(8) refuses root).
const MAIL_UID: u32 = 65_534;

/// What a test wants of its Postfix. `PostfixConfig::default()` has no milter and takes mail for `b.example`.
#[derive(Clone, Debug)]
pub struct PostfixConfig {
    /// Milters of smtpd, in main.cf's words: `inet:127.0.0.1:1234`, `unix:/path`, `{ inet:…, default_action=accept }`.
    pub smtpd_milters: Vec<String>,
    /// Milters of mail that does not come by SMTP: sendmail(1), `postsuper -r`.
    pub non_smtpd_milters: Vec<String>,
    /// Domains whose mail is delivered to the Maildir.
    pub domains: Vec<String>,
    /// Lines put at the end of main.cf, where they win over ours.
    pub main: Vec<String>,
    /// Lines put at the end of master.cf: further services.
    pub master: Vec<String>,
    /// Options of the smtpd service, as `-o` takes them: `smtpd_client_restrictions=`.
    pub smtpd_options: Vec<String>,
}

impl Default for PostfixConfig {
    fn default() -> Self {
        PostfixConfig {
            smtpd_milters: Vec::new(),
            non_smtpd_milters: Vec::new(),
            domains: vec!["b.example".into()],
            main: Vec::new(),
            master: Vec::new(),
            smtpd_options: Vec::new(),
        }
    }
}

impl PostfixConfig {
    /// The default with this one milter in front of smtpd.
    pub fn with_milter(milter: impl Into<String>) -> Self {
        PostfixConfig { smtpd_milters: vec![milter.into()], ..PostfixConfig::default() }
    }

    /// Adds a line to main.cf.
    pub fn main(mut self, line: impl Into<String>) -> Self {
        self.main.push(line.into());
        self
    }
}

/// A running Postfix; stopped and deleted when dropped.
pub struct Postfix {
    /// Where smtpd listens: a port of 127.0.0.1.
    pub smtp_addr: SocketAddr,
    directory: tempfile::TempDir,
}

/// One delivered copy of a message.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The recipient it was delivered for.
    pub recipient: String,
    /// The file: Return-Path, X-Original-To and Delivered-To of the delivery agent, then the message. Lines end in LF.
    pub bytes: Vec<u8>,
}

impl Delivered {
    /// The message as text; octets that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The header lines, from the first, without the delivery agent's own; folded lines stay in one entry.
    pub fn headers(&self) -> Vec<String> {
        const DELIVERY_AGENTS: [&str; 3] = ["Return-Path:", "X-Original-To:", "Delivered-To:"];
        let mut headers: Vec<String> = Vec::new();
        for line in self.text().lines().take_while(|line| !line.is_empty()) {
            match headers.last_mut() {
                Some(last) if line.starts_with([' ', '\t']) => *last = format!("{last}\n{line}"),
                _ => headers.push(line.to_string()),
            }
        }
        headers.retain(|header| !DELIVERY_AGENTS.iter().any(|own| header.starts_with(own)));
        headers
    }

    /// The values of the fields of this name (any case), in order, without the space after the colon.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.headers()
            .iter()
            .filter_map(|header| header.split_once(':'))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.strip_prefix(' ').unwrap_or(value).to_string())
            .collect()
    }
}

/// A directory that other users can pass through (a plain temporary directory is closed to them), for sockets
/// that Postfix is to reach.
pub fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("fm").tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod 755");
    directory
}

impl Postfix {
    /// Writes the configuration and starts it; when this returns it takes connections. None was made before the
    /// caller's first, so the first session that a milter sees is the test's.
    ///
    /// # Panics
    /// When Postfix is not installed, the user is not root, or it does not come up; the text says which.
    pub fn start(config: PostfixConfig) -> Postfix {
        let directory = open_directory();
        for (name, user) in [("etc", 0), ("queue", 0), ("data", postfix_uid()), ("mail", MAIL_UID)] {
            let path = directory.path().join(name);
            fs::create_dir(&path).expect("a directory for Postfix");
            chown(&path, Some(user), None)
                .expect("Postfix in a test needs the root user: chown of its directories failed");
        }
        let port = free_port();
        let postfix = Postfix { smtp_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), directory };
        fs::write(postfix.config_directory().join("main.cf"), postfix.main_cf(&config)).expect("main.cf");
        fs::write(postfix.config_directory().join("master.cf"), master_cf(port, &config)).expect("master.cf");
        postfix.control("start");
        postfix
    }

    /// The temporary directory: `etc`, `queue`, `data`, `mail`, `log`. Other users can pass through it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What `-c` of the Postfix commands takes.
    pub fn config_directory(&self) -> PathBuf {
        self.directory().join("etc")
    }

    /// A new SMTP connection that has read the greeting.
    pub fn smtp(&self) -> Smtp {
        Smtp::connect(self.smtp_addr)
    }

    /// Hands a message to sendmail(1). The status is sendmail's own: 0 = in the maildrop queue.
    pub fn submit(&self, sender: &str, recipients: &[&str], message: &[u8]) -> Output {
        let mut command = self.command("sendmail", "-C");
        command.args(["-i", "-f", sender, "--"]).args(recipients);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| missing("sendmail", &error));
        child.stdin.take().expect("a pipe").write_all(message).expect("sendmail reads the message");
        child.wait_with_output().expect("sendmail ends")
    }

    /// Everything Postfix has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory().join("log")).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds this text, and gives the first line that does.
    ///
    /// # Panics
    /// With the whole log, when the time is over.
    pub fn wait_for_log(&self, text: &str, limit: Duration) -> String {
        let find = || self.log().lines().find(|line| line.contains(text)).map(str::to_string);
        self.wait_until(&format!("a log line with {text:?}"), limit, || find().is_some());
        find().unwrap_or_default()
    }

    /// Everything delivered so far, in no order.
    pub fn mail(&self) -> Vec<Delivered> {
        let Ok(entries) = fs::read_dir(self.directory().join("mail/all/new")) else { return Vec::new() };
        let files = entries.filter_map(|entry| fs::read(entry.ok()?.path()).ok());
        files.map(|bytes| Delivered { recipient: first_header(&bytes, "X-Original-To"), bytes }).collect()
    }

    /// Waits for this many delivered copies, in all since the start.
    ///
    /// # Panics
    /// With the whole log, when the time is over.
    pub fn wait_for_mail(&self, count: usize, limit: Duration) -> Vec<Delivered> {
        self.wait_until(&format!("{count} delivered messages"), limit, || self.mail().len() >= count);
        self.mail()
    }

    /// Queue ids in one of Postfix's queues: `hold`, `deferred`, `active`, `incoming`, `maildrop`.
    pub fn queue(&self, name: &str) -> Vec<String> {
        let mut ids = Vec::new();
        let mut folders = vec![self.directory().join("queue").join(name)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    _ => ids.push(entry.file_name().to_string_lossy().into_owned()),
                }
            }
        }
        ids
    }

    /// Runs a Postfix command (`postsuper`, `postqueue`, `postcat` …) on this configuration and gives what it printed.
    ///
    /// # Panics
    /// When it is not installed or fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, "-c").args(arguments).output();
        let output = output.unwrap_or_else(|error| missing(program, &error));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {}: {error}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sets `name = value` in main.cf and reloads.
    pub fn set(&self, name: &str, value: &str) {
        self.run("postconf", &["-e", &format!("{name} = {value}")]);
        self.control("reload");
    }

    /// Waits until `ready` says yes.
    ///
    /// # Panics
    /// With the whole log, when the time is over.
    pub fn wait_until(&self, what: &str, limit: Duration, ready: impl Fn() -> bool) {
        let end = Instant::now() + limit;
        while !ready() {
            assert!(
                Instant::now() < end,
                "no {what} from Postfix within {limit:?}; its log:\n{}",
                self.log()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn control(&self, action: &str) {
        let output = self.command("postfix", "-c").arg(action).output();
        let output = output.unwrap_or_else(|error| missing("postfix", &error));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "postfix {action}: {error}\n{}", self.log());
    }

    fn command(&self, program: &str, config_flag: &str) -> Command {
        let mut command = Command::new(program);
        // Debian keeps these in /usr/sbin, which is not in every user's path.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.env("MAIL_CONFIG", self.config_directory());
        command.arg(config_flag).arg(self.config_directory());
        command
    }

    fn main_cf(&self, config: &PostfixConfig) -> String {
        let common = format!(
            include_str!("../../../src/demo/postfix/main.cf"),
            directory = self.directory().display(),
            mail_uid = MAIL_UID
        );
        format!(
            "{common}virtual_mailbox_domains = {domains}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 10000
smtpd_hard_error_limit = 10000
smtpd_recipient_limit = 10000
smtpd_recipient_overshoot_limit = 10000
smtpd_milters = {smtpd}
non_smtpd_milters = {other}
{extra}
",
            domains = config.domains.join(" "),
            smtpd = config.smtpd_milters.join(", "),
            other = config.non_smtpd_milters.join(", "),
            extra = config.main.join("\n"),
        )
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let master = fs::read_to_string(self.directory().join("queue/pid/master.pid")).unwrap_or_default();
        let stopped =
            self.command("postfix", "-c").arg("stop").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !stopped.is_ok_and(|status| status.success()) && !master.trim().is_empty() {
            let _ = Command::new("kill").args(["-9", master.trim()]).status();
        }
    }
}

fn master_cf(port: u16, config: &PostfixConfig) -> String {
    let options: String = config.smtpd_options.iter().map(|option| format!("\n  -o {option}")).collect();
    let (common, more) = (include_str!("../../../src/demo/postfix/master.cf"), config.master.join("\n"));
    format!("127.0.0.1:{port} inet n - n - - smtpd{options}\n{common}{more}\n")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn first_header(message: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(message);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_string()
}

fn postfix_uid() -> u32 {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let fields =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == "postfix");
    let fields =
        fields.expect("there is no user 'postfix': this test needs Postfix (apt-get install postfix)");
    fields[2].parse().expect("a user number")
}

fn missing(program: &str, error: &std::io::Error) -> ! {
    panic!(
        "cannot run {program}: {error}. This test needs Postfix (apt-get install postfix; tests/run does it)"
    )
}
