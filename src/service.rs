//! `farthingd` as the system runs it: command line to exit code, log, signals, readiness.

use std::{io::IsTerminal as _, path::Path, process::ExitCode, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    checkup::{self, Check},
    config::{Config, Log},
    daemon::{Daemon, StartError},
    keys::KeyError,
    office::SiteError,
};

/// What still waits for other offices when all else has ended is given up after this; it is made up for at the next start.
const LEFT_BEHIND_TIME: Duration = Duration::from_secs(1);
/// Exit code for a configuration that is wrong (sysexits(3) EX_CONFIG).
const EX_CONFIG: u8 = 78;
/// Exit code for what should not happen (EX_SOFTWARE).
const EX_SOFTWARE: u8 = 70;
/// Exit code for a listener, a ledger or a key that cannot be had now (EX_UNAVAILABLE).
const EX_UNAVAILABLE: u8 = 69;

/// Runs until SIGTERM or SIGINT, or checks and says what is wrong.
#[must_use]
pub fn main(config: Option<&Path>, check: bool) -> ExitCode {
    leave_no_core();
    let path = Config::path(config, std::env::var_os("FARTHING_CONFIG"));
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(e) => {
            complain(&e);
            return ExitCode::from(EX_CONFIG);
        }
    };
    if check {
        return report(&checkup::before_start(config));
    }
    start_log(&config.log);
    allow_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            complain(&e);
            return ExitCode::from(EX_SOFTWARE);
        }
    };
    let code = runtime.block_on(serve(config, &path));
    runtime.shutdown_timeout(LEFT_BEHIND_TIME);
    code
}

fn complain(error: &dyn std::fmt::Display) {
    for line in error.to_string().lines() {
        eprintln!("farthingd: {line}");
    }
}

/// Every fault on stderr; 0 when there is none, else 78.
fn report(checks: &[Check]) -> ExitCode {
    let faults: Vec<&Check> = checks.iter().filter(|check| !check.ok).collect();
    for fault in &faults {
        complain(&format!("{}: {}", fault.name, fault.detail));
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EX_CONFIG) }
}

/// A process that fails leaves no core file behind: it would hold its secret keys.
pub(crate) fn leave_no_core() {
    let limit = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
    // Less is always allowed.
    let _ = setrlimit(Resource::Core, limit);
}

/// Takes as many open files as the system allows: a busy MTA opens more connections than the 1,024 files that a process
/// may have open unless it asks for more.
fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "no more files can be opened than by default; connections may be refused");
    }
}

fn start_log(log: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(log.level)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if log.json { builder.json().flatten_event(true).init() } else { builder.init() }
}

async fn serve(config: Config, path: &Path) -> ExitCode {
    let signals = signal(SignalKind::terminate())
        .and_then(|term| Ok((term, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?)));
    let (mut terminate, mut interrupt, mut hangup) = match signals {
        Ok(signals) => signals,
        Err(e) => {
            complain(&e);
            return ExitCode::from(EX_SOFTWARE);
        }
    };
    for check in checkup::notes(&config) {
        tracing::warn!("{check}");
    }
    let mode = config.gate.mode.as_str();
    let daemon = match Daemon::start(config).await {
        Ok(daemon) => daemon,
        Err(e) => {
            complain(&e);
            return ExitCode::from(exit_code(&e));
        }
    };
    let milter: Vec<String> = daemon.milter_addresses().iter().map(ToString::to_string).collect();
    let office = daemon.office_address().map(|a| a.to_string()).unwrap_or_default();
    tracing::info!(milter = milter.join(" "), office, mode, "ready");
    notify(&[sd_notify::NotifyState::Ready]);
    let code = loop {
        tokio::select! {
            _ = terminate.recv() => break ExitCode::SUCCESS,
            _ = interrupt.recv() => break ExitCode::SUCCESS,
            () = daemon.ended() => {
                tracing::error!("the milter or the office broke off");
                break ExitCode::from(EX_SOFTWARE);
            }
            _ = hangup.recv() => reload(&daemon, path),
        }
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping: finishing the mail in hand");
    let summary = daemon.stop().await;
    tracing::info!(sessions = summary.sessions, cut = summary.cut, "stopped");
    code
}

/// 78 where a restart would find the same fault, so that nobody restarts it again and again.
const fn exit_code(error: &StartError) -> u8 {
    match error {
        StartError::Key(KeyError::Readable { .. } | KeyError::NotAKey { .. })
        | StartError::OfficeSite(SiteError::Secret(_))
        | StartError::Group(_) => EX_CONFIG,
        _ => EX_UNAVAILABLE,
    }
}

fn reload(daemon: &Daemon, path: &Path) {
    notify(&[sd_notify::NotifyState::Reloading]);
    match Config::load(path) {
        Err(e) => tracing::error!("not reloaded, the old configuration stays: {e}"),
        Ok(config) => match daemon.reload(config) {
            Err(e) => tracing::error!("not reloaded, the old configuration stays: {e}"),
            Ok(waiting) if waiting.is_empty() => tracing::info!("reloaded"),
            Ok(waiting) => tracing::warn!("reloaded; a restart is needed for {}", waiting.join(", ")),
        },
    }
    notify(&[sd_notify::NotifyState::Ready]);
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
