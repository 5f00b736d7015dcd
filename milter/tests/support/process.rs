//! The example filter as a process of its own, to be killed, starved, or talked to by other programs.

#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a fault here fails the test, as it should

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// The example. It is built together with all tests; whoever builds one test alone gets it built here.
fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("this test's own path");
    let profile = tests.parent().and_then(Path::parent).expect("target/PROFILE/deps/this");
    let program = profile.join("examples/refuse_by_subject");
    let built = program.metadata().and_then(|metadata| metadata.modified());
    if !built.is_ok_and(|built| built >= newest(Path::new(env!("CARGO_MANIFEST_DIR")))) {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "farthing-milter", "--example", "refuse_by_subject"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        build.env("CARGO_TARGET_DIR", profile.parent().expect("target"));
        assert!(build.status().expect("cargo runs").success(), "the example does not build");
    }
    program
}

/// When the last of the sources that the example is made of was changed.
fn newest(package: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut folders = vec![package.join("src"), package.join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("sources").flatten() {
            let metadata = entry.metadata().expect("a source file");
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            newest = newest.max(metadata.modified().expect("a time"));
        }
    }
    newest
}

/// A running filter that refuses subjects with the word `viagra`; killed when dropped.
pub struct Process {
    child: Child,
    /// As it said itself: `inet:127.0.0.1:8894`.
    pub address: String,
}

impl Process {
    /// `prefix` is a command that starts it in a certain way, such as `prlimit --nofile=30`.
    pub fn start(prefix: &[&str], listen: &str) -> Process {
        Process::try_start(prefix, listen).expect("the example listens")
    }

    /// Nothing when it ends before it listens.
    pub fn try_start(prefix: &[&str], listen: &str) -> Option<Process> {
        let program = program();
        let mut command = match prefix {
            [] => Command::new(&program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
        };
        let command = command.args([listen, "viagra"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        match line.trim().strip_prefix("ready on ") {
            Some(address) => Some(Process { child, address: address.to_string() }),
            None => {
                child.wait().unwrap();
                None
            }
        }
    }

    /// Sends a signal by name: `KILL`, `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name}");
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the filter does not end within {limit:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
