//! `farthing sendmail`: what programs call instead of sendmail(1). Stamps for those who ask for postage, then hands on.
//!
//! What always holds: every copy is stamped before the first is handed on; a letter that is not handed on is said to
//! be not, and what its stamps were put on is kept.

mod carried;
mod copies;
mod flags;
mod handing;
mod origin;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use clap::Args;

use super::{
    Context, Exit, Failure,
    buy::{self, Wish},
    ids,
    market::Names,
    read_message,
    wallet::WalletFile,
};
use crate::{
    address::{Address, Domain},
    clock::unix_now,
    message::{add_fields, split_message},
    money::{Currency, Micros},
    stamp::STAMP_FIELD,
    wallet::{BUYING_TRIES_MAX, Buyer, Count, Postmark, Wallet, WalletError},
};
use copies::{Asks, Copy};
use flags::Request;
use handing::Taker;

pub const EXAMPLES: &str = "Where programs name their sendmail:
  mutt           set sendmail=\"farthing sendmail -oem -oi\"
  git            git config sendemail.sendmailCmd \"farthing sendmail\"
  PHP            sendmail_path = \"farthing sendmail -t -i\"
  a link         ln -s \"$(command -v farthing)\" /usr/local/bin/sendmail

Flags are those of sendmail(1): -t, -i, -oi, -f ADDRESS, -F NAME, and those that tune a mail server, which are handed \
     on.
Besides: --smtp URL hands the copies to a mail server, --sendmail PATH (or $FARTHING_SENDMAIL) to another program than \
     /usr/sbin/sendmail; --wallet FILE, --office URL. How much it may spend: farthing wallet set --help.";

/// Processes that buy ahead after one letter; the other domains of a letter to many have their turn after another.
const BUYERS_MAX: usize = 4;

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
/// [`Failure`] with the codes of sysexits(3) that callers of sendmail expect: 64 flags or no recipient, 65 no author, 69
/// when there are no stamps to be had, 75 when DNS or an office cannot say now, 77 beyond the wallet's limits, and those
/// of the program that the copies are handed to.
pub fn run(args: &SendmailArgs, context: &Context) -> Result<(), Failure> {
    send(args, context).map_err(|failure| match failure.exit {
        // That is none of sysexits(3).
        Exit::No => Failure { exit: Exit::Unavailable, ..failure },
        _ => failure,
    })
}

fn send(args: &SendmailArgs, context: &Context) -> Result<(), Failure> {
    let request = flags::parse(args.words.iter().cloned()).map_err(|e| Failure::new(Exit::Usage, e))?;
    let letter = letter(&request)?;
    let recipients = copies::recipients(&request.recipients, &letter, request.by_fields);
    if recipients.is_empty() {
        return Err(Failure::new(Exit::Usage, "nobody is named as recipient; name one, or give -t"));
    }
    let shown = copies::shown(&letter);
    // Whoever named the recipients: mail servers take these fields off too late, or not at all.
    let (letter, carried) = carried::taken_off(&copies::without_hidden(&letter));
    let author = split_message(&letter).author();
    let domains: BTreeSet<&Domain> = recipients
        .iter()
        .filter_map(|recipient| recipient.address.as_ref().map(Address::domain))
        .filter(|domain| author.as_ref().is_none_or(|author| author.domain() != *domain))
        .collect();
    let asks = asked(&domains, &request, context)?;
    // What needs no stamp goes to the system's sendmail as it came: that one completes it.
    let as_it_came = asks.is_empty() && request.smtp.is_none();
    let letter = if as_it_came { letter } else { with_author(letter, &request) };
    let author = split_message(&letter).author();
    let taker = Taker::new(&request, author.as_ref().map(ToString::to_string).as_deref())?;
    let now = unix_now();
    let on_it = |recipient: &Address| {
        let asked = asks.get(recipient.domain()).copied();
        carried.value_for(recipient, author.as_ref(), asked, now).map(ToOwned::to_owned)
    };
    let copies = copies::copies(recipients, &shown, &asks, on_it);
    let stamped = stamped(&letter, &copies, &asks, &request, context)?;
    let handed = hand_on(&taker, &copies, &stamped);
    buy_ahead(&asks, &request, context);
    handed
}

/// The letter on standard input: to its end, or to a line with a single dot.
fn letter(request: &Request) -> Result<Vec<u8>, Failure> {
    let mut letter = read_message()?;
    if !request.dots_are_text
        && let Some(end) = single_dot(&letter)
    {
        letter.truncate(end);
    }
    Ok(letter)
}

/// The letter with an author, if the flags name one or the machine has a name for its own.
fn with_author(letter: Vec<u8>, request: &Request) -> Vec<u8> {
    let parts = split_message(&letter);
    if parts.author().is_some() {
        return letter;
    }
    let sender = request.from.as_deref().filter(|from| !matches!(*from, "" | "<>"));
    let address = sender.and_then(|from| Address::parse(from.as_bytes()).ok());
    let domain = || address.as_ref().map(|address| address.domain().clone()).or_else(origin::mail_name);
    if parts.values("From").next().is_some() {
        return domain().and_then(|domain| origin::qualified(&letter, &domain)).unwrap_or(letter);
    }
    // Of a sender given without a domain, or none, as the mail server would write it.
    let login = || ["LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    let local = || Address::from_parts(sender.map(ToOwned::to_owned).or_else(login)?.as_bytes(), domain()?);
    match address.clone().or_else(local) {
        Some(address) => origin::with_author(&letter, &address, request.full_name.as_deref()),
        None => letter,
    }
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
fn asked(domains: &BTreeSet<&Domain>, request: &Request, context: &Context) -> Result<Asks, Failure> {
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
            Err(failure) => {
                let in_hand = price_in_hand(domain, request).ok_or(failure)?;
                asks.insert((*domain).clone(), in_hand);
            }
        }
    }
    Ok(asks)
}

/// What a domain asks that DNS cannot say now, going by the cheapest stamp in hand for it: who has some need not wait.
fn price_in_hand(domain: &Domain, request: &Request) -> Option<(Currency, Micros)> {
    let wallet = wallet_file(request).open().ok()?;
    let held = wallet.held(unix_now());
    let kinds = held.iter().filter(|held| held.audience == *domain);
    kinds.min_by_key(|held| held.value).map(|held| (held.currency, held.value))
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
    let mut with_stamps = if wanted.is_empty() {
        vec![].into_iter()
    } else {
        with_stamps(letter, &wanted, asks, request, context)?.into_iter()
    };
    let of = |copy: &Copy| {
        let own = if copy.stamps.is_empty() { None } else { with_stamps.next() };
        let own = own.unwrap_or_else(|| letter.to_vec());
        let fields: Vec<_> = copy.carried.iter().map(|value| (STAMP_FIELD, value.as_str())).collect();
        if fields.is_empty() { own } else { add_fields(&own, &fields) }
    };
    Ok(copies.iter().map(of).collect())
}

/// The copies that need stamps of the wallet, with them; what is missing is bought.
fn with_stamps(
    letter: &[u8],
    wanted: &[Vec<(Address, Micros)>],
    asks: &Asks,
    request: &Request,
    context: &Context,
) -> Result<Vec<Vec<u8>>, Failure> {
    let path = wallet_file(request).path()?;
    let mut wallet = Wallet::open(&path)?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| Failure::new(Exit::Software, e))?;
    let postmark = Postmark { now: unix_now(), random };
    let mut tries = BUYING_TRIES_MAX;
    loop {
        match wallet.stamp_copies(letter, wanted, postmark) {
            Err(WalletError::Lacking(lacking)) if tries > 0 => {
                tries -= 1;
                let of = |recipient: &Address| asks.get(recipient.domain()).copied();
                let worth = wanted.iter().flatten().filter_map(|(recipient, _)| of(recipient));
                wallet.may_spend(worth, postmark.now)?;
                drop(wallet);
                wallet = buy_missing(&path, &lacking, wanted, request, context)?;
            }
            done => return Ok(done?),
        }
    }
}

/// Buys for the domains of those who lack a stamp as many as the letter needs. If another process has bought them
/// meanwhile, so much the better.
fn buy_missing(
    path: &Path,
    lacking: &[Address],
    wanted: &[Vec<(Address, Micros)>],
    request: &Request,
    context: &Context,
) -> Result<Wallet, Failure> {
    let buyer = Buyer::wait(path)?;
    let by_domain: BTreeMap<&Domain, &Address> =
        lacking.iter().map(|recipient| (recipient.domain(), recipient)).collect();
    for (domain, recipient) in by_domain {
        let count = wanted.iter().flatten().filter(|(other, _)| other.domain() == domain).count();
        let (office, count) = (request.office.as_deref(), Count::UpTo(count));
        buy::purchase(&buyer, &Wish { office, value: None, recipient, count }, context)?;
    }
    Ok(buyer.wallet()?)
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

/// Fills up what the owner wants to have in hand, in processes of their own that nobody waits for. No more of them than
/// one letter can need: while one buys, and in a while after it failed, there is no other.
fn buy_ahead(asks: &Asks, request: &Request, context: &Context) {
    let Ok(path) = wallet_file(request).path() else { return };
    let Ok(wallet) = Wallet::open(&path) else { return };
    let (ahead, now) = (wallet.limits().ahead, unix_now());
    let is_low = |domain: &Domain, price: Micros| {
        // Not for each single one: half of them may go first.
        wallet.usable(domain, price, now) * 2 < ahead && !buy::has_failed_lately(&wallet, domain)
    };
    let low: Vec<&Domain> =
        asks.iter().filter(|(domain, (_, price))| is_low(domain, *price)).map(|(domain, _)| domain).collect();
    drop(wallet);
    if low.is_empty() || Buyer::is_busy(&path).unwrap_or(true) {
        return;
    }
    for domain in low.into_iter().take(BUYERS_MAX) {
        let _ = buyer(domain, ahead, &path, request, context).map(|mut buyer| buyer.spawn());
    }
}

fn buyer(
    domain: &Domain,
    ahead: usize,
    wallet: &Path,
    request: &Request,
    context: &Context,
) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["buy", domain.as_str(), "--ahead", "--up-to", &ahead.to_string(), "--wallet"]).arg(wallet);
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
