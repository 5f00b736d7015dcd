//! The command line `farthing`: what people and scripts type (INTERFACE.md).
//!
//! One file a command; each turns arguments into one call of the library and prints the answer. Errors are
//! one line on stderr that says what to do; exit codes are those of sysexits(3).

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use serde::Serialize;

use crate::{address::Address, clock, config::Config, service::leave_no_core};

mod account;
mod buy;
mod explain;
mod freepost;
mod import;
mod key;
mod known;
mod ledger;
mod mark;
mod market;
mod office;
mod open;
mod overview;
mod postfix;
mod price;
mod progress;
mod report;
mod sendmail;
mod settings;
mod simulate;
mod stamp;
mod status;
mod topup;
pub mod usage;
mod verify;
mod voucher;
mod wallet;
mod work;

/// Octets of a message on stdin: more than any MTA delivers.
const MESSAGE_OCTETS_MAX: u64 = 256 * 1024 * 1024;

/// What a command ends with when it is not done (sysexits(3), and 1 for a "no").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The answer is no: a stamp does not verify, the books do not balance.
    No = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The input is wrong.
    Data = 65,
    /// A recipient is not known, says the program that the letter was handed to.
    NoUser = 67,
    /// A recipient's host is not known, says the program that the letter was handed to.
    NoHost = 68,
    /// A service it needs does not answer as it should.
    Unavailable = 69,
    /// Something failed that should not; a fault of ours or the machine's.
    Software = 70,
    /// A file cannot be read or written.
    Io = 74,
    /// It may work later.
    TempFail = 75,
    /// It is not allowed.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

/// Why a command was not done: an exit code and a line that says what to do.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The line for stderr; empty when everything was said on stdout.
    pub message: String,
}

impl Failure {
    /// A failure with a message.
    pub fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// A "no" about which everything was said on stdout.
    #[must_use]
    pub const fn said(exit: Exit) -> Self {
        Self { exit, message: String::new() }
    }
}

/// What a command gets besides its own arguments.
#[derive(Clone, Debug)]
pub struct Context {
    /// One JSON value instead of text.
    pub json: bool,
    /// `-c`, if given.
    pub config: Option<PathBuf>,
}

impl Context {
    /// The daemon's configuration.
    ///
    /// # Errors
    /// [`Exit::Config`] with every fault.
    pub fn load_config(&self) -> Result<Config, Failure> {
        let path = Config::path(self.config.as_deref(), std::env::var_os("FARTHING_CONFIG"));
        Config::load(&path).map_err(|e| Failure::new(Exit::Config, e))
    }

    /// Prints the answer: the JSON value, or the text.
    ///
    /// # Errors
    /// When stdout cannot be written; a reader that went away ends the program quietly.
    pub fn print(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string(value).map_err(|e| Failure::new(Exit::Software, e))?;
            return say(&format!("{json}\n"));
        }
        say(&text())
    }
}

/// Writes to stdout; a closed pipe (`farthing … | head`) ends the program quietly.
///
/// # Errors
/// [`Exit::Io`] when stdout cannot be written.
pub fn say(text: &str) -> Result<(), Failure> {
    say_bytes(text.as_bytes())
}

/// [`say`] for bytes that need not be text.
///
/// # Errors
/// [`Exit::Io`] when stdout cannot be written.
pub fn say_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(Failure::new(Exit::Io, format!("the output cannot be written: {e}"))),
    }
}

/// The message on stdin, as it comes.
///
/// # Errors
/// [`Exit::Io`] when it cannot be read, [`Exit::Data`] when there is none or it is too long.
pub fn read_message() -> Result<Vec<u8>, Failure> {
    let mut message = Vec::new();
    std::io::stdin()
        .lock()
        .take(MESSAGE_OCTETS_MAX + 1)
        .read_to_end(&mut message)
        .map_err(|e| Failure::new(Exit::Io, format!("standard input cannot be read: {e}")))?;
    if message.is_empty() {
        return Err(Failure::new(Exit::Data, "nothing came on standard input; pipe the letter in"));
    }
    if message.len() as u64 > MESSAGE_OCTETS_MAX {
        return Err(Failure::new(Exit::Data, "the letter is longer than any mail server takes"));
    }
    Ok(message)
}

/// Postage for e-mail: buy, attach, check and refund stamps; look after the gate.
#[derive(Parser)]
#[command(name = "farthing", version, max_term_width = 100, infer_subcommands = false)]
struct Cli {
    /// Print one JSON value instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// The daemon's configuration file [default: $FARTHING_CONFIG, else /etc/farthing/farthing.toml].
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The sender's wallet: its account, and stamps in hand.
    #[command(subcommand)]
    Wallet(wallet::Wallet),
    /// What it costs to write to someone, who sells stamps, whether work is taken.
    #[command(after_help = price::EXAMPLES)]
    Price(price::PriceArgs),
    /// Buy stamps for a domain into the wallet.
    #[command(after_help = buy::EXAMPLES)]
    Buy(buy::BuyArgs),
    /// Put money on this wallet's account at an office: by voucher, or by work.
    #[command(after_help = topup::EXAMPLES)]
    Topup(topup::TopupArgs),
    /// Put stamps on a letter: from stdin to stdout.
    #[command(after_help = stamp::EXAMPLES)]
    Stamp(stamp::StampArgs),
    /// Send a letter from standard input, with stamps for those who ask for them: a drop-in for sendmail(1).
    #[command(after_help = sendmail::EXAMPLES)]
    Sendmail(sendmail::SendmailArgs),
    /// Make a hashcash stamp: work instead of money, for those who take it.
    #[command(after_help = work::EXAMPLES)]
    Work(work::WorkArgs),
    /// Check the stamps of a letter on stdin, as its recipient's server would. Ends with 1 if they do not pay.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Say that letters were wanted: the postage goes back and the sender becomes known.
    #[command(after_help = mark::EXAMPLES)]
    Wanted(mark::MarkArgs),
    /// Say that letters were not wanted: a known sender becomes unknown again.
    Unwanted(mark::MarkArgs),
    /// Who is known to whom, or to the site.
    #[command(subcommand)]
    Known(known::Known),
    /// Addresses that take mail without postage, for shops and newsletters.
    #[command(subcommand)]
    Freepost(freepost::FreepostCommand),
    /// What recipients have set for themselves: their own price, digests.
    #[command(subcommand)]
    Settings(settings::SettingsCommand),
    /// Other post offices whose stamps are taken here.
    #[command(subcommand)]
    Office(office::OfficeCommand),
    /// The accounts of those who buy stamps here.
    #[command(subcommand)]
    Account(account::Account),
    /// Codes that put money on an account: to sell, or to give away.
    #[command(subcommand)]
    Voucher(voucher::VoucherCommand),
    /// The books.
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// The keys of the office, and what to publish in DNS.
    #[command(subcommand)]
    Key(key::Key),
    /// What was let in, refused, paid and refunded in the last days.
    #[command(after_help = report::EXAMPLES)]
    Report(report::ReportArgs),
    /// What today's settings would have done to old mail. Changes nothing.
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::SimulateArgs),
    /// What the gate would do with a letter on stdin, and why. Changes nothing.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::ExplainArgs),
    /// Is everything well? Says the line to type for each fault.
    Status,
    /// The `postconf -e` lines that plug this configuration into Postfix.
    Postfix,
    /// Tell the whole story on this machine in half a minute, on loopback and a temporary ledger.
    Demo {
        /// Behind a real Postfix, letters going in by SMTP (needs Postfix installed, and root).
        #[arg(long)]
        postfix: bool,
    },
    /// Print a completion script for a shell.
    Completions(Completions),
}

#[derive(Args)]
struct Completions {
    shell: clap_complete::Shell,
}

/// Runs the command line; never panics for what is typed.
#[must_use]
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    leave_no_core();
    let cli = match Cli::try_parse_from(as_sendmail(ids::protected(arguments))) {
        Ok(cli) => cli,
        Err(e) => return ExitCode::from(usage::answer("farthing", &e)),
    };
    let context = Context { json: cli.json, config: cli.config };
    match run(cli.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                for line in failure.message.lines() {
                    eprintln!("farthing: {line}");
                }
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Called by the name of sendmail, it is `farthing sendmail`.
fn as_sendmail(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().map(std::path::Path::new).and_then(std::path::Path::file_name);
    // mail(1) has its own spelling.
    if name.is_some_and(|name| name == "sendmail" || name == "send-mail") {
        arguments.insert(1, "sendmail".into());
    }
    arguments
}

fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Wallet(wallet) => wallet::run(&wallet, context),
        Command::Price(args) => price::run(&args, context),
        Command::Buy(args) => buy::run(&args, context),
        Command::Topup(args) => topup::run(&args, context),
        Command::Stamp(args) => stamp::run(&args, context),
        Command::Sendmail(args) => sendmail::run(&args, context),
        Command::Work(args) => work::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Wanted(args) => mark::run(&args, crate::ledger::Mark::Wanted, context),
        Command::Unwanted(args) => mark::run(&args, crate::ledger::Mark::Unwanted, context),
        Command::Known(known) => known::run(&known, context),
        Command::Freepost(command) => freepost::run(&command, context),
        Command::Settings(command) => settings::run(&command, context),
        Command::Office(command) => office::run(&command, context),
        Command::Account(account) => account::run(&account, context),
        Command::Voucher(command) => voucher::run(&command, context),
        Command::Ledger(ledger) => ledger::run(&ledger, context),
        Command::Key(key) => key::run(&key, context),
        Command::Report(args) => report::run(&args, context),
        Command::Simulate(args) => simulate::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Status => status::run(context),
        Command::Postfix => postfix::run(context),
        Command::Demo { postfix } => crate::demo::run(postfix, context),
        Command::Completions(Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "farthing", &mut script);
            say_bytes(&script)
        }
    }
}

/// Keys and ids are base64url and may begin with `-`: they are taken as they stand (INTERFACE.md).
pub mod ids {
    use std::ffi::OsString;

    /// Octets of an id and of a key in base64url.
    const ENCODED_OCTETS: [usize; 2] = [22, 43];
    /// Stands before such an argument until it is read; no shell types it.
    const MARK: char = '\u{1}';

    /// The arguments with those that are ids or keys marked, so that they are not read as options.
    pub(super) fn protected(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
        arguments
            .map(|argument| match argument.to_str() {
                Some(text) if looks_like_option_but_is_id(text) => format!("{MARK}{text}").into(),
                _ => argument,
            })
            .collect()
    }

    fn looks_like_option_but_is_id(text: &str) -> bool {
        text.starts_with('-')
            && ENCODED_OCTETS.contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }

    /// An argument as it was typed; the value parser of every key and id.
    ///
    /// # Errors
    /// Never; the signature is clap's.
    pub fn typed(text: &str) -> Result<String, std::convert::Infallible> {
        Ok(text.strip_prefix(MARK).unwrap_or(text).to_owned())
    }
}

/// An address whose mail this site guards.
///
/// # Errors
/// 65 for any other: whatever is set for it would never be asked.
pub fn ours<'a>(recipient: &'a crate::address::Address, config: &Config) -> Result<&'a Address, Failure> {
    if config.gate.guards(recipient.domain()) {
        return Ok(recipient);
    }
    Err(Failure::new(Exit::Data, format!("{recipient} is not in a domain of this site ([gate] domains)")))
}

/// A table for people: a header, where there is one, and rows, columns padded, no frame.
#[must_use]
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    table.add_rows(rows);
    // Columns are padded on both sides; the first need not be.
    let bare = |line: &str| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned() + "\n";
    let mut text: String = table.lines().map(|line| bare(&line)).collect();
    if text.is_empty() {
        text.push('\n');
    }
    text
}

/// A time for people, in UTC: `2026-11-22 13:04`.
#[must_use]
pub fn shown_time(unix_s: u64) -> String {
    clock::utc(unix_s, "%Y-%m-%d %H:%M")
}

/// Runs one asynchronous call to its end.
///
/// # Errors
/// When the runtime cannot be made.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map(|runtime| runtime.block_on(future))
        .map_err(|e| Failure::new(Exit::Software, e))
}
