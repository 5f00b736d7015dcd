//! What is said to somebody whose command line is wrong: one line, as every other error (INTERFACE.md).

use clap::error::{Error, ErrorKind};

use super::Exit;
use crate::address::escaped;

/// Prints help, version, or what is wrong with a command line of `program`, and gives the exit code for it.
#[must_use]
pub fn answer(program: &str, error: &Error) -> u8 {
    match error.kind() {
        // Somebody who typed only half of it is shown what there is, the whole page.
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
        }
        _ => eprintln!("{program}: {}", one_line(&error.render().to_string())),
    }
    if error.use_stderr() { Exit::Usage as u8 } else { 0 }
}

/// What is wrong, tips, and how it is used, without the pointer to `--help` where something else says what to do.
fn one_line(message: &str) -> String {
    let paragraphs = message.split("\n\n").map(|text| {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join(" ")
    });
    let mut line = String::new();
    for text in paragraphs.filter(|text| !text.is_empty() && !text.starts_with("For more information")) {
        let text = text.strip_prefix("error: ").or(text.strip_prefix("tip: ")).unwrap_or(&text).to_owned();
        let text = text.replacen("Usage:", "usage:", 1);
        line = if line.is_empty() { text } else { format!("{line}; {text}") };
    }
    // What was typed stands in it, whatever it was.
    escaped(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_paragraphs_become_one_line() {
        assert_eq!(
            one_line(
                "error: unrecognized subcommand 'knwon'\n\n  tip: a similar subcommand exists: 'known'\n\n\
                 Usage: farthing [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n"
            ),
            "unrecognized subcommand 'knwon'; a similar subcommand exists: 'known'; usage: farthing [OPTIONS] <COMMAND>"
        );
        assert_eq!(
            one_line("error: the following required arguments were not provided:\n  <KEY>\n  <AMOUNT>\n"),
            "the following required arguments were not provided: <KEY> <AMOUNT>"
        );
        assert_eq!(
            one_line("error: unexpected argument '--\x1b[31m' found\n"),
            "unexpected argument '--\\u{1b}[31m' found"
        );
    }
}
