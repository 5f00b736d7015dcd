//! `farthing sendmail`: what programs call instead of sendmail(1). Stamps for those who ask for postage, then hands on.
//!
//! What always holds: every copy is stamped before the first is handed on; a letter that is not handed on is said to
//! be not, and what its stamps were put on is kept.

mod copies;
mod flags;
mod handing;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use clap::Args;

use super::{
    Context, Exit, Failure, buy, ids,
    market::{Names, Terms},
    read_message,
    wallet::WalletFile,
};
use crate::{
    address::{Address, Domain},
    clock::unix_now,
    message::{add_fields, split_message},
    money::Micros,
    wallet::{Postmark, Wallet, WalletError},
};
use copies::{Asks, Copy};
use flags::Request;
use handing::Taker;

pub const EXAMPLES: &str = "Where programs name their sendmail:
  mutt           set sendmail=\"farthing sendmail -oem -oi\"
  git            git config sendemail.sendmailCmd \"farthing sendmail\"
  PHP            sendmail_path = \"farthing sendmail -t -i\"
  a link         ln -s \"$(command -v farthing)\" /usr/local/bin/sendmail

Flags are those of sendmail(1): -t, -i, -oi, -f ADDRESS, -F NAME, and those that tune a mail server, which are handed on.
Besides: --smtp URL hands the copies to a mail server, --sendmail PATH (or $FARTHING_SENDMAIL) to another program than
/usr/sbin/sendmail; --wallet FILE, --office URL. How much it may spend: farthing wallet set --help.";

/// The words after `sendmail`.
#[derive(Args)]
#[command(disable_help_flag = true, override_usage = "farthing sendmail [FLAGS] [RECIPIENT…] < LETTER")]
pub struct SendmailArgs {
    /// Print help.
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: (),
    /// Flags and recipients, as sendmail(1) takes them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_parser = ids::typed, hide = true)]
    words: Vec<String>,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] with the codes of sysexits(3) that callers of sendmail expect: 64 flags, 65 no recipient or author, 75
/// when DNS or an office cannot say now, 77 beyond the wallet's limits.
pub fn run(args: &SendmailArgs, context: &Context) -> Result<(), Failure> {
    let request = flags::parse(args.words.iter().cloned()).map_err(|e| Failure::new(Exit::Usage, e))?;
    let letter = letter(&request)?;
    let recipients = copies::recipients(&request.recipients, &letter, request.by_fields);
    if recipients.is_empty() {
        return Err(Failure::new(Exit::Usage, "nobody is named as recipient; name one, or give -t"));
    }
    let shown = copies::shown(&letter);
    let letter = if request.by_fields { copies::without_hidden(&letter) } else { letter };
    let author = split_message(&letter).author();
    let domains: BTreeSet<&Domain> = recipients
        .iter()
        .filter_map(|recipient| recipient.address.as_ref().map(Address::domain))
        .filter(|domain| author.as_ref().is_none_or(|author| author.domain() != *domain))
        .collect();
    let asks = asked(&domains, context)?;
    let taker = Taker::new(&request, author.map(|author| author.to_string()).as_deref())?;
    let copies = copies::copies(recipients, &shown, &asks);
    let stamped = stamped(&letter, &copies, &asks, &request, context)?;
    let handed = hand_on(&taker, &copies, &stamped);
    buy_ahead(&asks, &request, context);
    handed
}

/// The letter on standard input: to its end, or to a line with a single dot. With an author, if only the flags name one.
fn letter(request: &Request) -> Result<Vec<u8>, Failure> {
    let mut letter = read_message()?;
    if !request.dots_are_text
        && let Some(end) = single_dot(&letter)
    {
        letter.truncate(end);
    }
    let from = request.from.as_deref().filter(|from| !matches!(*from, "" | "<>"));
    if let Some(from) = from
        && split_message(&letter).values("From").next().is_none()
        && let Ok(address) = Address::parse(from.as_bytes())
    {
        let value = match request.full_name.as_deref().filter(|name| !name.contains(['\r', '\n', '"', '\\']))
        {
            Some(name) if name.is_ascii() => format!("\"{name}\" <{address}>"),
            _ => address.to_string(),
        };
        letter = add_fields(&letter, &[("From", &value)]);
    }
    Ok(letter)
}

/// Where a line begins that is a single dot.
fn single_dot(letter: &[u8]) -> Option<usize> {
    let mut at = 0;
    letter.split_inclusive(|&b| b == b'\n').find_map(|line| {
        let begin = at;
        at += line.len();
        matches!(line, b".\n" | b".\r\n" | b".").then_some(begin)
    })
}

/// What these domains ask of strangers, of those that ask.
fn asked(domains: &BTreeSet<&Domain>, context: &Context) -> Result<Asks, Failure> {
    if domains.is_empty() {
        return Ok(Asks::new());
    }
    let names = Names::new(context)?;
    let mut asks = Asks::new();
    for domain in domains {
        // A record that cannot be read asks for nothing that could be bought.
        match names.policy(domain) {
            Ok(Some(policy)) => _ = asks.insert((*domain).clone(), (policy.currency, policy.price)),
            Ok(None) => {}
            Err(failure) if failure.exit == Exit::Unavailable => eprintln!("farthing: {}", failure.message),
            Err(failure) => return Err(failure),
        }
    }
    Ok(asks)
}

fn wallet_file(request: &Request) -> WalletFile {
    WalletFile::named(request.wallet.clone())
}

/// Each copy as it is handed on; the one for those who ask for nothing goes as it came.
fn stamped(
    letter: &[u8],
    copies: &[Copy],
    asks: &Asks,
    request: &Request,
    context: &Context,
) -> Result<Vec<Vec<u8>>, Failure> {
    let wanted: Vec<Vec<(Address, Micros)>> =
        copies.iter().filter(|copy| !copy.stamps.is_empty()).map(|copy| copy.stamps.clone()).collect();
    if wanted.is_empty() {
        return Ok(vec![letter.to_vec(); copies.len()]);
    }
    let mut wallet = wallet_file(request).open()?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| Failure::new(Exit::Software, e))?;
    let postmark = Postmark { now: unix_now(), random };
    let with_stamps = match wallet.stamp_copies(letter, &wanted, postmark) {
        Err(WalletError::Lacking(lacking)) => {
            let of = |recipient: &Address| asks.get(recipient.domain()).copied();
            wallet.may_spend(
                wanted.iter().flatten().filter_map(|(recipient, _)| of(recipient)),
                postmark.now,
            )?;
            buy_missing(&mut wallet, &lacking, request, context)?;
            wallet.stamp_copies(letter, &wanted, postmark)?
        }
        done => done?,
    };
    let mut with_stamps = with_stamps.into_iter();
    let of = |copy: &Copy| if copy.stamps.is_empty() { None } else { with_stamps.next() };
    Ok(copies.iter().map(of).map(|copy| copy.unwrap_or_else(|| letter.to_vec())).collect())
}

/// Buys a stamp for each who lacks one.
fn buy_missing(
    wallet: &mut Wallet,
    lacking: &[Address],
    request: &Request,
    context: &Context,
) -> Result<(), Failure> {
    let mut by_domain: BTreeMap<&Domain, (usize, &Address)> = BTreeMap::new();
    for recipient in lacking {
        by_domain.entry(recipient.domain()).or_insert((0, recipient)).0 += 1;
    }
    let known = wallet.offices().to_vec();
    for (count, recipient) in by_domain.into_values() {
        let terms = Terms { office: request.office.as_deref(), value: None, recipient, known: &known };
        buy::purchase(wallet, &terms, count, context)?;
    }
    Ok(())
}

/// Hands every copy on, whatever became of the others.
fn hand_on(taker: &Taker, copies: &[Copy], stamped: &[Vec<u8>]) -> Result<(), Failure> {
    let mut first: Option<Failure> = None;
    for (copy, letter) in copies.iter().zip(stamped) {
        if let Err(failure) = taker.take(&copy.recipients, letter) {
            let to: Vec<&str> = copy.recipients.iter().map(|recipient| recipient.text.as_str()).collect();
            let kept = if copy.stamps.is_empty() { String::new() } else { kept(letter) };
            let message = format!("not handed on to {}: {}{kept}", to.join(", "), failure.message);
            match &mut first {
                Some(first) => first.message += &format!("\n{message}"),
                None => first = Some(Failure::new(failure.exit, message)),
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Keeps a stamped letter whose stamps have left the wallet: sent again it costs nothing more.
fn kept(letter: &[u8]) -> String {
    let file = tempfile::Builder::new().prefix("stamped-letter.").tempfile();
    let kept = file.and_then(|mut file| {
        file.write_all(letter)?;
        Ok(file.into_temp_path().keep()?)
    });
    match kept {
        Ok(path) => format!("; the stamped letter is kept as {}: send that one", path.display()),
        Err(error) => format!("; and the stamped letter could not be kept: {error}"),
    }
}

/// Fills up what the owner wants to have in hand, in a process of its own that nobody waits for.
fn buy_ahead(asks: &Asks, request: &Request, context: &Context) {
    let Ok(wallet) = wallet_file(request).open() else { return };
    let (ahead, held, path) = (wallet.limits().ahead, wallet.held(unix_now()), wallet.path().to_owned());
    drop(wallet);
    for domain in asks.keys() {
        let in_hand: usize = held.iter().filter(|held| held.audience == *domain).map(|held| held.count).sum();
        // Not for each single one: half of them may go first.
        if in_hand * 2 < ahead {
            let _ = buyer(domain, ahead - in_hand, &path, request, context).map(|mut buyer| buyer.spawn());
        }
    }
}

fn buyer(
    domain: &Domain,
    count: usize,
    wallet: &PathBuf,
    request: &Request,
    context: &Context,
) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["buy", domain.as_str(), "--count", &count.to_string(), "--wallet"]).arg(wallet);
    if let Some(office) = &request.office {
        command.args(["--office", office]);
    }
    if let Some(config) = &context.config {
        command.arg("-c").arg(config);
    }
    // Not ended with the caller's terminal.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_dot_ends_the_letter() {
        for (letter, end) in [
            ("a\n.\nb\n", Some(2)),
            ("a\r\n.\r\nb", Some(3)),
            (".", Some(0)),
            ("a\n..\n.b\nc.\n", None),
            ("", None),
        ] {
            assert_eq!(single_dot(letter.as_bytes()), end, "{letter:?}");
        }
    }
}
