//! One line of a command mail: what it asks, or what is wrong with it, in words that help (SPEC.md §8). Pure.

use super::LetterId;
use crate::{
    address::{Address, shown},
    ledger::{
        Mark,
        book::{Sender, SenderError},
        settings::{Cadence, OwnPrice},
    },
    message::author,
    money::Micros,
};

/// The commands, as people write them.
pub const COMMANDS: [&str; 10] =
    ["wanted", "unwanted", "allow", "block", "forget", "price", "freepost", "digest", "list", "help"];
/// How many letters of a word may differ from a command's for it to be meant; not more than a third of the word.
const SLIPS_MAX: usize = 2;
/// Octets of a line that is read; the longest command, with a Message-ID, has about a thousand.
const LINE_OCTETS_MAX: usize = 4_096;

/// What a line asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `wanted`, `unwanted`.
    Mark(Mark, Which),
    /// Take a sender's mail without postage.
    Allow(Sender),
    /// Take nothing from a sender.
    Block(Sender),
    /// Take a sender out of the book.
    Forget(Sender),
    /// What strangers pay; `None`: the site's price.
    Price(Option<OwnPrice>),
    /// Make an address that takes mail free.
    Freepost {
        /// Its label, lower-case.
        label: String,
        /// Days that it is good; `None`: until it is revoked.
        days: Option<u16>,
    },
    /// How often a digest comes.
    Digest(Cadence),
    /// Show settings, book and newest strangers.
    List,
    /// Show the commands.
    Help,
}

/// Which letters are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The letter of that name: a token, a stamp's id, `<17@a.example>`.
    Named(LetterId),
    /// All that really came from that author: `alice@a.example`. In angle brackets alone it would name a letter: else
    /// whoever gives his letter a friend's address for a Message-ID could be marked in the friend's place.
    From(Address),
}

/// Why a line is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its first word is none of them.
    #[error("this is no command{}", near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// The command that was probably meant.
        near: Option<&'static str>,
    },
    /// What belongs to the command is missing, or not of its form.
    #[error("{problem}; write for example: {example}")]
    Argument {
        /// What is wrong.
        problem: String,
        /// A line that would be right.
        example: &'static str,
    },
}

/// Whether a line begins with a command's word.
#[must_use]
pub fn is_command_word(line: &str) -> bool {
    let (word, _) = split_word(line);
    COMMANDS.iter().any(|command| word.eq_ignore_ascii_case(command))
}

/// Reads a line.
///
/// # Errors
/// [`Fault`], for people.
pub fn parse(line: &str) -> Result<Command, Fault> {
    let line = line.get(..LINE_OCTETS_MAX).unwrap_or(line).trim();
    let (word, rest) = split_word(line);
    let word = word.to_lowercase();
    match word.as_str() {
        "wanted" => which(rest, "wanted alice@a.example").map(|l| Command::Mark(Mark::Wanted, l)),
        "unwanted" => which(rest, "unwanted alice@a.example").map(|l| Command::Mark(Mark::Unwanted, l)),
        "allow" => welcome(rest).map(Command::Allow),
        "block" => sender(rest, "block alice@a.example").map(Command::Block),
        "forget" => sender(rest, "forget alice@a.example").map(Command::Forget),
        "price" => price(rest).map(Command::Price),
        "freepost" => freepost(rest),
        "digest" => digest(rest).map(Command::Digest),
        "list" => alone(rest, Command::List, "list"),
        "help" => alone(rest, Command::Help, "help"),
        _ => Err(Fault::Unknown { near: near(&word) }),
    }
}

/// The first word, without what people write behind it, and the rest.
fn split_word(line: &str) -> (&str, &str) {
    let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    // Telephones end a line with a full stop.
    (word.trim_end_matches([':', '.', '!']), rest.trim())
}

fn near(word: &str) -> Option<&'static str> {
    let slips = |command: &&'static str| strsim::osa_distance(word, command);
    let most = SLIPS_MAX.min(word.chars().count() / 3);
    COMMANDS.into_iter().min_by_key(slips).filter(|command| slips(command) <= most)
}

fn wrong<T>(problem: impl Into<String>, example: &'static str) -> Result<T, Fault> {
    Err(Fault::Argument { problem: problem.into(), example })
}

fn alone(rest: &str, command: Command, example: &'static str) -> Result<Command, Fault> {
    if rest.is_empty() {
        return Ok(command);
    }
    wrong(format!("`{example}` stands alone on its line"), example)
}

fn which(text: &str, example: &'static str) -> Result<Which, Fault> {
    if text.is_empty() {
        return wrong(
            "it must say which letters: by their sender's address, or one by its token or id",
            example,
        );
    }
    let id = LetterId::read(text);
    match (id, address(text)) {
        (Some(id @ (LetterId::Token(_) | LetterId::Stamp(..))), _) => Ok(Which::Named(id)),
        (Some(id), _) if text.starts_with('<') => Ok(Which::Named(id)),
        (_, Some(author)) => Ok(Which::From(author)),
        (Some(id), None) if !text.contains(char::is_whitespace) => Ok(Which::Named(id)),
        _ => wrong(
            format!("`{}` is neither an address nor the token or id of a letter", shown(text.as_bytes())),
            example,
        ),
    }
}

/// An address as people paste it: bare, in angle brackets, with a name, as a link.
fn address(text: &str) -> Option<Address> {
    let text = without_scheme(text);
    author(&[text.as_bytes()])
}

fn without_scheme(text: &str) -> &str {
    const SCHEME: &str = "mailto:";
    match text.get(..SCHEME.len()) {
        Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => text.get(SCHEME.len()..).unwrap_or_default(),
        _ => text,
    }
}

fn sender(text: &str, example: &'static str) -> Result<Sender, Fault> {
    if text.is_empty() {
        return wrong("it must say whom: an address, a domain or list:LIST-ID", example);
    }
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with("list:")
        && let Some(address) = address(text)
    {
        return Ok(Sender::Address(address));
    }
    let sender = if lower.starts_with("list:") { lower.parse() } else { without_scheme(text).parse() };
    sender.or_else(|error: SenderError| wrong(error.to_string(), example))
}

/// Whom to welcome.
fn welcome(text: &str) -> Result<Sender, Fault> {
    const EXAMPLE: &str = "allow alice@a.example";
    let sender = sender(text, EXAMPLE)?;
    match sender.check_welcome() {
        Ok(()) => Ok(sender),
        Err(error) => wrong(error.to_string(), EXAMPLE),
    }
}

fn price(text: &str) -> Result<Option<OwnPrice>, Fault> {
    const EXAMPLE: &str = "price 1c public";
    let mut words = text.split_ascii_whitespace();
    let (first, second, third) = (words.next(), words.next(), words.next());
    let is = |word: Option<&str>, other: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(other));
    if is(first, "default") && second.is_none() {
        return Ok(None);
    }
    let Some(Ok(value)) = first.map(str::parse::<Micros>) else {
        return wrong("it must say an amount, like 0.25c, or `default`", EXAMPLE);
    };
    match (second, third) {
        _ if value == Micros::ZERO => wrong("a price is more than nothing", EXAMPLE),
        (None, _) => Ok(Some(OwnPrice { value, public: false })),
        (public, None) if is(public, "public") => Ok(Some(OwnPrice { value, public: true })),
        _ => wrong("behind the amount stands nothing, or `public`", EXAMPLE),
    }
}

fn freepost(text: &str) -> Result<Command, Fault> {
    const EXAMPLE: &str = "freepost shop 90";
    let mut words = text.split_ascii_whitespace();
    let (label, days, more) = (words.next(), words.next(), words.next());
    let Some(label) = label else { return wrong("it must say a label, like `shop`", EXAMPLE) };
    let days = days.map(str::parse::<u16>).transpose();
    match (days, more) {
        (Ok(days), None) if days != Some(0) => Ok(Command::Freepost { label: label.to_lowercase(), days }),
        _ => wrong("behind the label stands nothing, or a number of days", EXAMPLE),
    }
}

fn digest(text: &str) -> Result<Cadence, Fault> {
    match Cadence::from_word(&text.to_lowercase()) {
        Some(cadence) => Ok(cadence),
        None => wrong("it must say `off`, `daily` or `weekly`", "digest weekly"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "aaaaaaaaaaaac46hy433rxluheswwp7q";

    fn id(text: &str) -> LetterId {
        LetterId::read(text).unwrap()
    }

    fn address_of(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn sender_of(text: &str) -> Sender {
        text.parse().unwrap()
    }

    #[test]
    fn commands() {
        let wanted = |letters| Command::Mark(Mark::Wanted, letters);
        let alice = address_of("alice@a.example");
        let bracketed = Which::Named(id("alice@a.example"));
        let bare = Which::From(alice.clone());
        let own =
            |text: &str, public| Command::Price(Some(OwnPrice { value: text.parse().unwrap(), public }));
        let table: Vec<(String, Command)> = vec![
            (format!("wanted {TOKEN}"), wanted(Which::Named(id(TOKEN)))),
            (format!("WANTED: {}", TOKEN.to_uppercase()), wanted(Which::Named(id(TOKEN)))),
            (format!("wanted <mailto:postage+w.{TOKEN}@b.example>"), wanted(Which::Named(id(TOKEN)))),
            (
                "unwanted HCg35w7TlOudJrnzCsj-Qg".into(),
                Command::Mark(Mark::Unwanted, Which::Named(id("HCg35w7TlOudJrnzCsj-Qg"))),
            ),
            (
                "wanted b.example/HCg35w7TlOudJrnzCsj-Qg".into(),
                wanted(Which::Named(id("b.example/HCg35w7TlOudJrnzCsj-Qg"))),
            ),
            ("wanted alice@a.example".into(), wanted(bare.clone())),
            ("unwanted mailto:alice@a.example".into(), Command::Mark(Mark::Unwanted, bare.clone())),
            ("wanted\tAlice@A.Example".into(), wanted(bare.clone())),
            ("wanted <alice@a.example>".into(), wanted(bracketed)),
            ("wanted Alice <alice@a.example>".into(), wanted(bare)),
            ("wanted <a..b@[192.0.2.1]>".into(), wanted(Which::Named(id("<a..b@[192.0.2.1]>")))),
            ("allow alice@a.example (a friend)".into(), Command::Allow(Sender::Address(alice.clone()))),
            ("allow mailto:alice@a.example".into(), Command::Allow(Sender::Address(alice.clone()))),
            ("allow \"Anderson, Alice\" <ALICE@a.example>".into(), Command::Allow(Sender::Address(alice))),
            (
                "allow \"odd one\"@a.example".into(),
                Command::Allow(Sender::Address(address_of("\"odd one\"@a.example"))),
            ),
            (
                "allow zoë@bücher.example".into(),
                Command::Allow(Sender::Address(address_of("zoë@xn--bcher-kva.example"))),
            ),
            ("block A.example".into(), Command::Block(sender_of("a.example"))),
            ("block .co.uk".into(), Command::Block(sender_of(".co.uk"))),
            (
                "forget List:<Users.Lists.Example>".into(),
                Command::Forget(sender_of("list:users.lists.example")),
            ),
            ("price 1c".into(), own("1c", false)),
            ("price 1c PUBLIC".into(), own("1c", true)),
            ("price Default".into(), Command::Price(None)),
            ("freepost Shop".into(), Command::Freepost { label: "shop".into(), days: None }),
            ("freepost shop 90".into(), Command::Freepost { label: "shop".into(), days: Some(90) }),
            ("digest Weekly".into(), Command::Digest(Cadence::Weekly)),
            ("digest off".into(), Command::Digest(Cadence::Off)),
            ("  list  ".into(), Command::List),
            ("List.".into(), Command::List),
            ("Help!".into(), Command::Help),
        ];
        for (line, command) in table {
            assert_eq!(parse(&line), Ok(command), "{line}");
        }
    }

    #[test]
    fn faults_help() {
        for (line, said) in [
            ("wantd alice@a.example", "this is no command; did you mean `wanted`?"),
            ("unwnated x", "this is no command; did you mean `unwanted`?"),
            ("blok x", "this is no command; did you mean `block`?"),
            ("hello", "this is no command"),
            ("is", "this is no command"),
            ("Re: list", "this is no command"),
            ("AW: wanted alice@a.example", "this is no command"),
            (
                "wanted",
                "it must say which letters: by their sender's address, or one by its token or id; write for example: wanted alice@a.example",
            ),
            (
                "wanted poster",
                "`poster` is neither an address nor the token or id of a letter; write for example: wanted alice@a.example",
            ),
            ("wanted a letter from alice@a.example", "neither an address nor"),
            ("allow", "it must say whom: an address, a domain or list:LIST-ID"),
            (
                "allow everybody",
                "`everybody` is not a domain of two or more labels; a sender is an address, a domain",
            ),
            ("allow .co.uk", "anybody can have a name below `.co.uk`"),
            ("allow .github.io", "anybody can have"),
            ("allow list:", "is not a List-Id"),
            ("allow a@a.example, b@b.example", "write for example"),
            ("price", "it must say an amount"),
            ("price free", "it must say an amount"),
            ("price -1", "it must say an amount"),
            ("price 0", "a price is more than nothing"),
            ("price 1c secret", "behind the amount"),
            ("price 1c public now", "behind the amount"),
            ("freepost", "it must say a label"),
            ("freepost shop 0", "a number of days"),
            ("freepost shop 70000", "a number of days"),
            ("freepost shop 9 days", "a number of days"),
            ("digest hourly", "it must say `off`, `daily` or `weekly`; write for example: digest weekly"),
            ("list everything", "`list` stands alone"),
        ] {
            let fault = parse(line).unwrap_err().to_string();
            assert!(fault.contains(said), "{line}: {fault}");
        }
    }

    #[test]
    fn command_words() {
        for (line, is) in
            [("Wanted 1", true), ("wanted:", true), ("wantedly", false), ("", false), ("On list", false)]
        {
            assert_eq!(is_command_word(line), is, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "(wanted|allow|list:|price|freepost|<|>|@|a\\.example|\"| |é|\\(|\\)|[0-9]){0,20}") {
            let _ = parse(&line);
        }
    }
}
