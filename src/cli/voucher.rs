//! `farthing voucher`: codes that put money on whose account they are sent for.
//!
//! A code is seen once, when it is issued; the ledger keeps a hash.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Context, Exit, Failure, block_on, open, shown_time, table};
use crate::{
    address::escaped,
    clock::{DAY_S, unix_now},
    config::{Config, Office},
    ledger::funding::{Funding as _, ISSUE_VOUCHERS_MAX, NewVouchers, Voided, Voucher, VoucherState},
    money::Micros,
    voucher::{Code, Leaf, RANDOM_OCTETS, Sheet},
};

/// Vouchers that `list` shows: more than anybody reads.
const LISTED_MAX: u32 = 1_000_000;
/// Days a voucher may be good: a hundred years; for longer leave `--days` out.
const DAYS_MAX: u64 = 36_500;

const ISSUE_EXAMPLES: &str = "Examples:
  farthing voucher issue --value 5.00 --count 10
  farthing voucher issue --value 2.50 --count 24 --days 365 --sheet vouchers.html

Codes are shown now and never again: the ledger keeps only hashes. A sheet is one page to print and cut.";

/// What to do with vouchers.
#[derive(Subcommand)]
pub enum VoucherCommand {
    /// Make vouchers and print their codes.
    #[command(after_help = ISSUE_EXAMPLES)]
    Issue(Issue),
    /// Every voucher, newest first: its number, value and state, never its code.
    List,
    /// Make vouchers void that were not used yet, by their numbers.
    Void {
        /// As `list` shows them, and sheets.
        #[arg(required = true, value_name = "NUMBER", value_parser = number)]
        numbers: Vec<u64>,
    },
}

/// Vouchers to make.
#[derive(Args)]
pub struct Issue {
    /// What each is worth: 5.00 (units), 250c (hundredths) or 2500u (micros).
    #[arg(long, value_name = "AMOUNT")]
    value: Micros,
    /// How many.
    #[arg(long, default_value_t = 1, value_parser = count)]
    count: usize,
    /// Days they are good; without it, for ever.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=DAYS_MAX))]
    days: Option<u64>,
    /// What for; stands in the list and is shown to nobody else.
    #[arg(long, default_value = "", value_name = "TEXT")]
    memo: String,
    /// Write a page to print, with QR codes, into this file; it must not be there yet.
    #[arg(long, value_name = "FILE.html", value_parser = sheet_file)]
    sheet: Option<PathBuf>,
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=ISSUE_VOUCHERS_MAX).contains(count));
    count.ok_or_else(|| format!("a number from 1 to {ISSUE_VOUCHERS_MAX}"))
}

fn sheet_file(text: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    let html = path.extension().is_some_and(|ending| ending == "html" || ending == "htm");
    if html { Ok(path) } else { Err("a sheet is a page of HTML: name it FILE.html") }
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration, the sheet's file or the ledger; 1 when a voucher cannot be made void.
pub fn run(command: &VoucherCommand, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    match command {
        VoucherCommand::Issue(issue) => issue_vouchers(issue, &config, context),
        VoucherCommand::List => list(&config, context),
        VoucherCommand::Void { numbers } => void(numbers, &config, context),
    }
}

fn issue_vouchers(issue: &Issue, config: &Config, context: &Context) -> Result<(), Failure> {
    let none = || Failure::new(Exit::Config, "there is no [office] here: nobody could use the vouchers");
    let office = config.office.as_ref().ok_or_else(none)?;
    if issue.value == Micros::ZERO {
        return Err(Failure::new(Exit::Data, "a voucher of nothing is worth nothing; none was made"));
    }
    let ledger = open::ledger(config)?;
    let codes = (0..issue.count).map(|_| random_code()).collect::<Result<Vec<_>, _>>()?;
    // Before the codes are worth anything: a sheet that cannot be written costs nothing then.
    let file = issue.sheet.as_deref().map(new_file).transpose()?;
    let now = unix_now();
    let expiry = issue.days.map(|days| (now / DAY_S + days + 1) * DAY_S - 1);
    let new = NewVouchers {
        now,
        value: issue.value,
        expiry,
        memo: issue.memo.clone(),
        codes: codes.iter().map(Code::hash).collect(),
    };
    let numbers = match block_on(ledger.voucher_issue(new))? {
        Ok(numbers) => numbers,
        Err(error) => {
            // An empty sheet would only stand in the way of the next try.
            let _ = issue.sheet.as_deref().map(std::fs::remove_file);
            return Err(error.into());
        }
    };
    let leaf = |(number, code)| Leaf { number, code };
    let leaves: Vec<Leaf> = numbers.into_iter().zip(codes).map(leaf).collect();
    print(issue.value, expiry, &leaves, context)?;
    let Some((file, path)) = file.zip(issue.sheet.as_deref()) else { return Ok(()) };
    write_sheet(file, path, issue.value, expiry, &leaves, office, config)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no voucher's number; `farthing voucher list` shows them"))
}

fn random_code() -> Result<Code, Failure> {
    let mut random = Zeroizing::new([0; RANDOM_OCTETS]);
    getrandom::fill(random.as_mut())
        .map_err(|e| Failure::new(Exit::Software, format!("the system gives no random numbers: {e}")))?;
    Ok(Code::from_random(&random))
}

fn new_file(path: &Path) -> Result<File, Failure> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.map_err(|error| {
        let path = path.display();
        let what = match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{path} is there already; name another file"),
            _ => format!("{path}: {error}"),
        };
        Failure::new(Exit::Io, format!("{what}; no voucher was made"))
    })
}

fn print(value: Micros, expiry: Option<u64>, leaves: &[Leaf], context: &Context) -> Result<(), Failure> {
    let json: Vec<Value> = leaves
        .iter()
        .map(|leaf| {
            json!({"code": *leaf.code.to_text(), "value": value, "number": leaf.number, "expires": expiry})
        })
        .collect();
    context.print(&json, || {
        let until = expiry.map_or("ever".into(), shown_time);
        let row = |leaf: &Leaf| {
            vec![leaf.number.to_string(), leaf.code.to_text().to_string(), value.to_string(), until.clone()]
        };
        table(&["NO.", "CODE", "VALUE", "GOOD FOR / UNTIL (UTC)"], leaves.iter().map(row).collect())
    })
}

fn write_sheet(
    mut file: File,
    path: &Path,
    value: Micros,
    expiry: Option<u64>,
    leaves: &[Leaf],
    office: &Office,
    config: &Config,
) -> Result<(), Failure> {
    let sheet = Sheet {
        office: &office.domain,
        url: &office.url,
        value,
        currency: config.ledger.currency,
        expiry,
        leaves,
    };
    let fault = |what: &dyn std::fmt::Display| {
        let text = format!("{}: {what}; the vouchers above are good all the same", path.display());
        Failure::new(Exit::Io, text)
    };
    let html = sheet.to_html().map_err(|e| fault(&e))?;
    file.write_all(html.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| fault(&e))?;
    eprintln!("{} is to be printed; who reads it can use the codes", path.display());
    Ok(())
}

fn list(config: &Config, context: &Context) -> Result<(), Failure> {
    let vouchers = block_on(open::ledger(config)?.voucher_list(LISTED_MAX))??;
    let now = unix_now();
    let json: Vec<Value> = vouchers
        .iter()
        .map(|v| {
            let (state, time, account) = state(v, now);
            json!({
                "number": v.number, "value": v.value, "state": state, "issued": v.issued, "expires": v.expiry,
                "memo": v.memo, "ended": time, "account": account,
            })
        })
        .collect();
    context.print(&json, || {
        if vouchers.is_empty() {
            return "no vouchers yet; `farthing voucher issue --value 5.00 --count 10` makes some\n".into();
        }
        let row = |v: &Voucher| {
            let (state, time, account) = state(v, now);
            let ended = time.or(v.expiry.filter(|_| state == "expired"));
            let until = v.expiry.map_or_else(|| "ever".to_owned(), shown_time);
            vec![
                v.number.to_string(),
                v.value.to_string(),
                state.to_owned(),
                shown_time(v.issued),
                until,
                ended.map(shown_time).unwrap_or_default(),
                account.unwrap_or_default(),
                escaped(v.memo.as_bytes()),
            ]
        };
        let header =
            ["NO.", "VALUE", "STATE", "ISSUED (UTC)", "GOOD UNTIL", "ENDED (UTC)", "ACCOUNT", "MEMO"];
        table(&header, vouchers.iter().map(row).collect())
    })
}

/// The word for what became of it, when, and who has the money.
fn state(voucher: &Voucher, now: u64) -> (&'static str, Option<u64>, Option<String>) {
    match voucher.state {
        VoucherState::Used { account, time } => ("used", Some(time), Some(account.to_string())),
        VoucherState::Void { time } => ("void", Some(time), None),
        VoucherState::Open if voucher.expiry.is_some_and(|last| now > last) => ("expired", None, None),
        VoucherState::Open => ("open", None, None),
    }
}

fn void(numbers: &[u64], config: &Config, context: &Context) -> Result<(), Failure> {
    let ledger = open::ledger(config)?;
    let (mut said, mut refused) = (vec![], vec![]);
    for number in numbers {
        let state = match block_on(ledger.voucher_void(*number, unix_now()))?? {
            Voided::Now | Voided::Before => "void",
            Voided::Used(account) => {
                let advice = "`farthing account debit` takes the money off again";
                refused.push(format!("voucher {number} was used by {account}; {advice}"));
                "used"
            }
            Voided::NoSuch => {
                refused.push(format!("there is no voucher {number}; `farthing voucher list` shows them"));
                "unknown"
            }
        };
        said.push((number, state));
    }
    let json: Vec<Value> =
        said.iter().map(|(number, state)| json!({"number": number, "state": state})).collect();
    context.print(&json, || {
        said.iter()
            .filter(|(_, state)| *state == "void")
            .map(|(number, _)| format!("voucher {number} is void\n"))
            .collect()
    })?;
    if refused.is_empty() { Ok(()) } else { Err(Failure::new(Exit::No, refused.join("\n"))) }
}
