//! A command mail carried out line by line, and the text of the answer.

use super::{
    Said,
    parse::{Command, Fault, parse},
    perform::{Caller, Desk, shown_line},
};
use crate::ledger::LedgerError;

/// Commands of one mail that are done; the others are only counted. Who has more to say uses the command line.
pub const COMMANDS_MAX: usize = 100;
/// Lines that are no commands, of which the answer says so; the others are only counted.
const FAULTS_TOLD_MAX: usize = 10;

/// A command mail that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Commands that were done.
    pub done: usize,
    /// Lines that were none.
    pub faults: usize,
    /// Lines that were not looked at.
    pub left: usize,
    /// The text of the answer.
    pub text: String,
}

/// Carries out what a mail says: the subject, if it is a command, then line by line.
///
/// # Errors
/// [`LedgerError`] when the ledger cannot answer. What was done before stays done; the same again changes nothing of it.
pub async fn carry_out(said: &Said, caller: &Caller<'_>, desk: &Desk<'_>) -> Result<Carried, LedgerError> {
    let mut carried = Carried { done: 0, faults: 0, left: 0, text: String::new() };
    let mut helped = false;
    for (line, read) in commands(said) {
        let outcome = match read {
            _ if carried.done >= COMMANDS_MAX => {
                carried.left += 1;
                continue;
            }
            Ok(Command::Help) if helped => continue,
            Ok(command) => {
                carried.done += 1;
                helped = helped || command == Command::Help;
                desk.perform(&command, caller).await?
            }
            Err(fault) => {
                carried.faults += 1;
                if carried.faults > FAULTS_TOLD_MAX {
                    continue;
                }
                fault.to_string()
            }
        };
        carried.text.push_str(&format!("> {}\n{outcome}\n\n", shown_line(line)));
    }
    carried.text.push_str(&ending(&carried, helped, desk));
    Ok(carried)
}

/// The lines to carry out, each with what it asks. A subject that asks nothing is passed over in silence.
fn commands(said: &Said) -> impl Iterator<Item = (&str, Result<Command, Fault>)> {
    let subject = said.subject.as_deref().and_then(|subject| Some((subject, Ok(parse(subject).ok()?))));
    subject.into_iter().chain(said.lines.iter().map(|line| (line.as_str(), parse(line))))
}

/// What stands below the lines.
fn ending(carried: &Carried, helped: bool, desk: &Desk<'_>) -> String {
    let mut text = String::new();
    if let Some(more @ 1..) = carried.faults.checked_sub(FAULTS_TOLD_MAX) {
        text.push_str(&format!("And {more} more lines that are no commands.\n\n"));
    }
    if carried.left > 0 {
        let left = carried.left;
        text.push_str(&format!(
            "{left} more lines were not looked at: at most {COMMANDS_MAX} commands a mail.\n\n"
        ));
    }
    if carried.done + carried.faults == 0 {
        text.push_str("There was no command in your mail.\n\n");
    }
    if carried.done == 0 && !helped {
        text.push_str(&desk.help());
        text.push('\n');
    }
    text
}
