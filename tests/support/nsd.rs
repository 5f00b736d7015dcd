//! A real DNS server, NSD, with zones of the test's own on a free port.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::{free_address, wait_until};

/// NSD in the foreground; it ends with the value.
pub struct Nsd {
    directory: PathBuf,
    address: SocketAddr,
    zones: Vec<String>,
    child: Option<Child>,
}

impl Nsd {
    /// A server that is not started yet, its files in a new directory in this one.
    pub fn new(directory: &Path) -> Self {
        let directory = directory.join("nsd");
        fs::create_dir(&directory).unwrap();
        Self { directory, address: free_address(), zones: vec![], child: None }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a file beside the zones.
    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    /// Serves this zone from the next start on, from the file `NAME.zone`. Without such a file it knows nothing: SERVFAIL.
    pub fn zone(&mut self, name: &str) -> &mut Self {
        self.zones.push(name.to_owned());
        self
    }

    /// Starts it, or starts it anew with the files as they are now. NSD's own reader must find nothing wrong with them.
    pub fn start(&mut self) {
        self.end();
        for zone in &self.zones {
            let file = self.directory.join(format!("{zone}.zone"));
            if file.exists() {
                let said =
                    Command::new("nsd-checkzone").arg(zone).arg(&file).current_dir(&self.directory).output();
                let said = said.expect("nsd-checkzone of the package nsd");
                assert!(said.status.success(), "{zone}: {}", String::from_utf8_lossy(&said.stdout));
            }
        }
        let config = self.directory.join("nsd.conf");
        fs::write(&config, self.config()).unwrap();
        let child = Command::new("nsd").arg("-d").arg("-c").arg(&config).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("nsd of the package nsd"));
        wait_until("an answer of NSD", || self.answers());
    }

    fn config(&self) -> String {
        let (directory, address) = (self.directory.display(), self.address);
        let mut text = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  pidfile: \"\"\n  \
             zonesdir: \"{directory}\"\n  logfile: \"{directory}/log\"\n  xfrdfile: \"{directory}/xfrd\"\n  \
             zonelistfile: \"{directory}/list\"\n  xfrdir: \"{directory}\"\n  cookie-secret-file: \"{directory}/cookie\"\n  \
             server-count: 1\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n",
            address.ip(),
            address.port(),
        );
        for zone in &self.zones {
            text += &format!("zone:\n  name: \"{zone}\"\n  zonefile: \"{zone}.zone\"\n");
        }
        text
    }

    /// Whether it answers a question for the root's address, whatever it answers.
    fn answers(&self) -> bool {
        const QUESTION: &[u8] = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01";
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        let mut answer = [0; 512];
        socket.connect(self.address).is_ok()
            && socket.send(QUESTION).is_ok()
            && socket.recv(&mut answer).is_ok_and(|octets| octets >= 12)
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = child.wait();
        }
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        self.end();
    }
}
