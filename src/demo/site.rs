//! The stage: a site of its own under a temporary directory, with a name server, a daemon and a sender's wallet.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use farthing_milter::server::Address as MilterAddress;

use super::dns::ZoneServer;
use crate::{config::Config, daemon::Daemon};

/// A site for the length of the story.
pub struct Site {
    runtime: tokio::runtime::Runtime,
    daemon: Option<Daemon>,
    zone: ZoneServer,
    office: SocketAddr,
    directory: tempfile::TempDir,
}

/// What a command said.
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: String,
}

impl Site {
    /// Writes a configuration, publishes DNS records, and starts the daemon in this process.
    pub fn start() -> Result<Self, String> {
        let directory =
            tempfile::Builder::new().prefix("farthing-demo").tempdir().map_err(|e| e.to_string())?;
        // The MTA's own users must come through to the milter's socket.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .map_err(|e| e.to_string())?;
        let zone = ZoneServer::start().map_err(|e| format!("no name server on loopback: {e}"))?;
        let office = free_address().map_err(|e| e.to_string())?;
        let path = directory.path().join("farthing.toml");
        fs::write(&path, configuration(zone.address(), office)).map_err(|e| e.to_string())?;
        // Alice's domain says that its mail comes from 127.0.0.1 alone; Mallory's computer is 127.0.0.66.
        zone.txt("a.example", "v=spf1 ip4:127.0.0.1 -all");

        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
        let config = Config::load(&path).map_err(|e| e.to_string())?;
        let daemon = runtime.block_on(Daemon::start(config)).map_err(|e| e.to_string())?;
        Ok(Self { runtime, daemon: Some(daemon), zone, office, directory })
    }

    /// Finishes and closes the books.
    pub fn stop(mut self) {
        if let Some(daemon) = self.daemon.take() {
            self.runtime.block_on(daemon.stop());
        }
    }

    /// Cleans up when somebody interrupts the story: `first` is given the directory of everything, which then goes.
    pub fn when_interrupted(&self, first: fn(&Path)) {
        use tokio::signal::unix::{SignalKind, signal};
        let directory = self.directory().to_path_buf();
        self.runtime.spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            first(&directory);
            let _ = fs::remove_dir_all(&directory);
            std::process::exit(130);
        });
    }

    /// Runs to its end what needs the daemon's runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The directory of everything.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The milter's socket.
    pub fn milter(&self) -> MilterAddress {
        MilterAddress::Unix(self.milter_path())
    }

    /// The path of the milter's socket.
    pub fn milter_path(&self) -> PathBuf {
        self.directory().join("milter.sock")
    }

    /// The office's URL.
    pub fn office_url(&self) -> String {
        format!("http://{}/", self.office)
    }

    /// Publishes what `farthing key dns` prints.
    pub fn publish(&self) -> Result<(), String> {
        let records = self.farthing(&["--json", "-c", &self.config_path(), "key", "dns"], b"")?;
        let records: Vec<serde_json::Value> =
            serde_json::from_slice(&records.stdout).map_err(|e| e.to_string())?;
        for record in &records {
            if let (Some(name), Some(txt)) =
                (record.get("name").and_then(|v| v.as_str()), record.get("txt").and_then(|v| v.as_str()))
            {
                self.zone.txt(name, txt);
            }
        }
        Ok(())
    }

    /// The configuration's path as text.
    pub fn config_path(&self) -> String {
        self.directory().join("farthing.toml").display().to_string()
    }

    /// Runs this program with these arguments, as someone would type them.
    pub fn farthing(&self, arguments: &[&str], stdin: &[u8]) -> Result<Ran, String> {
        use std::io::Write as _;
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("FARTHING_WALLET", self.directory().join("wallet"))
            .env("FARTHING_DNS", self.zone.address().to_string())
            .env_remove("FARTHING_CONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        if let Some(mut pipe) = child.stdin.take() {
            // A command that does not read its input closes it; what it says matters, not this.
            let _ = pipe.write_all(stdin);
        }
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        Ok(Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Ran {
    /// What it printed, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Itself if it ended with 0.
    pub fn done(self) -> Result<Self, String> {
        if self.code == 0 { Ok(self) } else { Err(format!("exit {}: {}", self.code, self.stderr)) }
    }

    /// The JSON value it printed.
    pub fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.stdout).map_err(|e| format!("{e}: {}", self.text()))
    }
}

fn configuration(dns: SocketAddr, office: SocketAddr) -> String {
    format!(
        "[gate]\nlisten = [\"unix:milter.sock\"]\nsocket_mode = \"0666\"\nhostname = \"mx.b.example\"\n\
         domains = [\"b.example\"]\nmode = \"require\"\nprice = \"0.25c\"\nexempt_networks = []\n\n\
         [office]\ndomain = \"b.example\"\nlisten = \"{office}\"\nurl = \"http://{office}/\"\nkeys = \"keys\"\n\n\
         [ledger]\nurl = \"sqlite:ledger.db\"\n\n[dns]\nservers = [\"{dns}\"]\n\n[log]\nlevel = \"warn\"\n"
    )
}

/// A loopback port that was free a moment ago.
pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
