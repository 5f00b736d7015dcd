//! `farthing wallet`: the sender's wallet.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use qrcode::{QrCode, render::unicode::Dense1x2};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Context, Exit, Failure, read_message, shown_time, table};
use crate::{
    address::Domain,
    clock::unix_now,
    money::Micros,
    wallet::{
        self, AHEAD_MAX, ClientError, FileError, KnownOffice, NotAhead, OfficeClient, Teller, WalletError,
        WordsError,
    },
};

const EXAMPLES: &str = "Examples:
  farthing wallet show
  farthing --json wallet show --office https://b.example/";

const BACKUP_HELP: &str = "\
The words are the account and its money at every office. Stamps in hand are in the wallet's file alone: without it their \
     money comes back to the account when they expire.";

const RESTORE_EXAMPLES: &str = "Examples:
  farthing wallet restore < words.txt
  farthing wallet restore < ~/Downloads/postage-wallet-b.example.json";

const SET_EXAMPLES: &str = "Examples:
  farthing wallet set                                  shows the limits
  farthing wallet set --per-letter 5c --per-day 2.00
  farthing wallet set --ahead 5";

/// What to do with the wallet.
#[derive(Subcommand)]
pub enum Wallet {
    /// Make a wallet with a new account. Nobody needs to register: the account is a key.
    #[command(after_help = "Example:\n  farthing wallet new --wallet ~/mail/wallet.json")]
    New(WalletFile),
    /// Show the account, what it holds at each office, and the stamps in hand.
    #[command(after_help = EXAMPLES)]
    Show {
        #[command(flatten)]
        file: WalletFile,
        /// An office to ask besides those where stamps were bought before.
        #[arg(long, value_name = "URL")]
        office: Option<String>,
    },
    /// Print the 24 words that make this account again, to be kept on paper. Whoever reads them has the money.
    #[command(after_help = BACKUP_HELP)]
    Backup {
        /// As a QR code too.
        #[arg(long)]
        qr: bool,
        /// Instead of words: write the account into this new file, which the page of a refusal loads.
        #[arg(long, value_name = "FILE", conflicts_with = "qr")]
        to_file: Option<PathBuf>,
        #[command(flatten)]
        file: WalletFile,
    },
    /// Make a wallet of a backup read from standard input: of its words, or of a file that the page of a refusal saved.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(WalletFile),
    /// Show or set how much the wallet may spend by itself, and how many stamps are bought ahead.
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// The most that all stamps on one letter may be worth.
        #[arg(long, value_name = "AMOUNT")]
        per_letter: Option<Micros>,
        /// The most that all stamps of a day (UTC) may be worth.
        #[arg(long, value_name = "AMOUNT")]
        per_day: Option<Micros>,
        /// Stamps that `farthing sendmail` keeps in hand for each domain written to; 0: none.
        #[arg(long, value_name = "COUNT", value_parser = ahead)]
        ahead: Option<usize>,
        #[command(flatten)]
        file: WalletFile,
    },
}

fn ahead(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= AHEAD_MAX);
    count.ok_or_else(|| format!("a number from 0 to {AHEAD_MAX}"))
}

/// Which wallet; taken by every command of a sender.
#[derive(Args)]
pub struct WalletFile {
    /// The wallet's file [default: farthing/wallet.json in the XDG data directory].
    #[arg(long, value_name = "FILE", env = "FARTHING_WALLET", hide_env_values = true)]
    wallet: Option<PathBuf>,
}

impl WalletFile {
    /// The file of this name, else the one that the environment names.
    #[must_use]
    pub fn named(wallet: Option<PathBuf>) -> Self {
        Self { wallet: wallet.or_else(|| std::env::var_os("FARTHING_WALLET").map(PathBuf::from)) }
    }

    /// The file that was named, or the default one.
    ///
    /// # Errors
    /// [`Exit::Config`] when there is no home directory to look in.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = self.wallet.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            return Ok(path.clone());
        }
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data =
            variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")));
        let text = "there is no home directory; name the wallet with --wallet FILE";
        let data = data.ok_or_else(|| Failure::new(Exit::Config, text))?;
        Ok(data.join("farthing/wallet.json"))
    }

    /// The wallet, open and locked.
    ///
    /// # Errors
    /// [`Failure`] of the file.
    pub fn open(&self) -> Result<wallet::Wallet, Failure> {
        Ok(wallet::Wallet::open(&self.path()?)?)
    }
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the wallet's file; an office that does not answer is only said.
pub fn run(command: &Wallet, context: &Context) -> Result<(), Failure> {
    match command {
        Wallet::New(file) => {
            let wallet = wallet::Wallet::create(&file.path()?)?;
            let (account, path) = (wallet.account().to_string(), wallet.path().display().to_string());
            context.print(&json!({"account": account, "file": path}), || {
                format!("{path} made; keep a copy, it is as good as money\naccount {account}\n")
            })
        }
        Wallet::Backup { to_file: Some(copy), file, .. } => {
            let wallet = file.open()?;
            wallet.copy_account(copy)?;
            let (account, path) = (wallet.account().to_string(), copy.display().to_string());
            context.print(&json!({"account": account, "file": path}), || {
                format!("{path} made; whoever has it has the money on account {account}\n")
            })
        }
        Wallet::Backup { qr, file, .. } => backup(&file.open()?, *qr, context),
        Wallet::Restore(file) => {
            let backup = Zeroizing::new(read_message()?);
            let backup = std::str::from_utf8(&backup).map_err(|_| WalletError::Words(WordsError::Count))?;
            let wallet = wallet::Wallet::restore(&file.path()?, backup)?;
            let (account, path) = (wallet.account().to_string(), wallet.path().display().to_string());
            context.print(&json!({"account": account, "file": path}), || {
                format!(
                    "{path} made of the backup\naccount {account}\nits money: farthing wallet show --office URL, for each \
                     office it was at; stamps that were in hand come back to the account when they expire\n"
                )
            })
        }
        Wallet::Set { per_letter, per_day, ahead, file } => {
            let mut wallet = file.open()?;
            let mut limits = wallet.limits();
            limits.per_letter = per_letter.unwrap_or(limits.per_letter);
            limits.per_day = per_day.unwrap_or(limits.per_day);
            limits.ahead = ahead.unwrap_or(limits.ahead);
            if limits != wallet.limits() {
                wallet.set_limits(limits)?;
            }
            context.print(&limits, || {
                let wallet::Limits { per_letter, per_day, ahead } = limits;
                format!("a letter  at most {per_letter}\na day     at most {per_day}\nahead     {ahead} stamps a domain\n")
            })
        }
        Wallet::Show { file, office } => show(file.open()?, office.as_deref(), context),
    }
}

fn backup(wallet: &wallet::Wallet, qr: bool, context: &Context) -> Result<(), Failure> {
    let words = wallet.words();
    let code = match qr {
        false => None,
        true => Some(QrCode::new(words.as_bytes()).map_err(|e| Failure::new(Exit::Software, e))?),
    };
    context.print(&json!({"words": *words}), || {
        let mut text = String::new();
        for (n, line) in words.split(' ').collect::<Vec<_>>().chunks(6).enumerate() {
            text += &format!("{:>2}  {}\n", n * 6 + 1, line.join(" "));
        }
        if let Some(code) = code {
            text += &format!("\n{}\n", code.render::<Dense1x2>().build());
        }
        text
    })
}

fn show(wallet: wallet::Wallet, office: Option<&str>, context: &Context) -> Result<(), Failure> {
    let account = wallet.account().to_string();
    let held = wallet.held(unix_now());
    let mut offices = wallet.offices().to_vec();
    let open: Vec<Value> = wallet
        .open_orders()
        .iter()
        .map(|o| json!({"office": o.office, "audience": o.audience, "value": o.value, "count": o.ids.len()}))
        .collect();
    let unanswered = wallet.open_orders().len();
    let (spent, not_ahead) = (wallet.spent(unix_now()), wallet.not_ahead().to_vec());
    let limit = wallet.limits().per_day;
    let teller = wallet.teller();
    // Others may use the wallet while offices are asked.
    drop(wallet);
    if let Some(url) = office {
        let client = OfficeClient::new(url)?;
        let office = client.describe()?.office;
        offices.retain(|known| known.office != office);
        offices.push(KnownOffice { office, url: client.url().to_owned() });
    }
    let balances: Vec<(Domain, Option<Micros>)> =
        offices.into_iter().map(|known| (known.office.clone(), balance(&teller, &known))).collect();

    let value = json!({
        "account": account,
        "offices": balances.iter().map(|(office, balance)| json!({"office": office, "balance": balance})).collect::<Vec<_>>(),
        "stamps": held,
        "open_orders": open,
        "spent_today": spent.iter().map(|(currency, micros)| json!({"currency": currency.as_str(), "micros": micros})).collect::<Vec<_>>(),
        "not_bought_ahead": not_ahead,
    });
    context.print(&value, || {
        let mut text = format!("account {account}\n");
        let shown = |balance: &Option<Micros>| balance.map_or("(no answer)".into(), |b| b.to_string());
        if !balances.is_empty() {
            let rows = balances.iter().map(|(office, balance)| vec![office.to_string(), shown(balance)]).collect();
            text += &format!("\n{}", table(&["OFFICE", "BALANCE"], rows));
        }
        let row = |h: &wallet::Held| {
            vec![h.count.to_string(), h.value.to_string(), h.audience.to_string(), h.office.to_string()]
        };
        text += &match held.as_slice() {
            [] => "\nno stamps in hand; `farthing buy DOMAIN` buys some\n".to_owned(),
            held => format!("\n{}", table(&["STAMPS", "OF", "FOR", "OFFICE"], held.iter().map(row).collect())),
        };
        if unanswered > 0 {
            text += &format!(
                "\n{unanswered} order(s) without an answer yet; the next `farthing buy` at that office finishes them\n"
            );
        }
        for (currency, micros) in spent {
            text += &format!("\n{micros} {currency} put on letters today (UTC), of at most {limit}\n");
        }
        for NotAhead { audience, time, why } in not_ahead {
            text += &format!("\nnot bought ahead for {audience} at {}: {why}\n", shown_time(time));
        }
        text
    })
}

/// What an office says of the account; `None`, and a line on stderr, when it says nothing.
fn balance(teller: &Teller, known: &KnownOffice) -> Option<Micros> {
    let answer = OfficeClient::new(&known.url).and_then(|client| teller.balance(&client, &known.office));
    match answer {
        Ok(answer) => Some(answer.balance),
        Err(error) => {
            eprintln!("farthing: {error}");
            None
        }
    }
}

impl From<WalletError> for Failure {
    fn from(error: WalletError) -> Self {
        let exit = match &error {
            WalletError::File(FileError::Missing(_)) => Exit::Config,
            WalletError::File(FileError::Exists(_)) | WalletError::Full | WalletError::Lacking(_) => Exit::No,
            WalletError::File(FileError::Open { .. }) | WalletError::Limit(_) => Exit::NoPermission,
            WalletError::File(FileError::Busy(_)) => Exit::TempFail,
            WalletError::File(FileError::Io { .. }) => Exit::Io,
            WalletError::Damaged { .. }
            | WalletError::TooNew(_)
            | WalletError::NoAuthor
            | WalletError::Words(_) => Exit::Data,
            WalletError::Random(_) | WalletError::Cancel(_) => Exit::Software,
            WalletError::Client(error) => exit_of(error),
        };
        Self::new(exit, error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(exit_of(&error), error)
    }
}

const fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Url(_) => Exit::Data,
        ClientError::TimeOut { .. } => Exit::TempFail,
        ClientError::Unreachable { .. } | ClientError::Answer { .. } => Exit::Unavailable,
        ClientError::Refused { status, .. } => match status {
            400 => Exit::Data,
            401 => Exit::NoPermission,
            402 => Exit::No,
            408 | 429 | 500..=599 => Exit::TempFail,
            _ => Exit::Unavailable,
        },
    }
}
