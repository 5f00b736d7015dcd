//! What `import`, `simulate` and `report` share: what could not be read, the overview as text.

use std::path::Path;

use serde_json::{Value, json};

use super::{Exit, Failure, table};
use crate::{
    clock::utc_day,
    mailbox::Place,
    warm::overview::{Overview, meaning},
};

/// Things that could not be read that are named; the rest are counted.
const UNREAD_NAMED_MAX: usize = 1_000;
/// Of those, how many the text names.
const UNREAD_SHOWN: usize = 10;
/// Senders the text names of those let in, and of those not.
const SENDERS_SHOWN: usize = 15;
/// What could not be read, and why.
#[derive(Default)]
pub struct Unread {
    named: Vec<(String, String)>,
    count: u64,
}

impl Unread {
    /// One thing more.
    pub fn add(&mut self, place: &Place<'_>, why: String) {
        self.count += 1;
        if self.named.len() < UNREAD_NAMED_MAX {
            self.named.push((place.to_string(), why));
        }
    }

    /// Things that were noted before: the first of them by name, and how many there are.
    pub fn add_noted(&mut self, named: Vec<(String, String)>, count: u64) {
        self.count += count;
        self.named.extend(named);
        self.named.truncate(UNREAD_NAMED_MAX);
    }

    /// How many.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first of them, for `--json`.
    pub fn shown(&self) -> Vec<Value> {
        self.named.iter().map(|(place, why)| json!({"place": place, "why": why})).collect()
    }

    /// A paragraph about them; empty when there are none.
    pub fn text(&self) -> String {
        if self.count == 0 {
            return String::new();
        }
        let mut text = format!("\n{} could not be read:\n", self.count);
        for (place, why) in self.named.iter().take(UNREAD_SHOWN) {
            text += &format!("  {place}: {why}\n");
        }
        if self.count > UNREAD_SHOWN as u64 {
            text += "  …; --json names more\n";
        }
        text
    }
}

/// Nothing was there to be read.
pub fn no_messages(unread: &Unread) -> Failure {
    let first = unread.named.first().map(|(place, why)| format!(" ({place}: {why})"));
    let advice = match unread.count {
        0 => "name Maildirs, mboxes or letters",
        _ => "name Maildirs, mboxes or letters, or copies of them that this user may read",
    };
    let text = format!("no messages there{}; {advice}", first.unwrap_or_default());
    Failure::new(if unread.count > 0 { Exit::Data } else { Exit::No }, text)
}

/// The overview as `simulate` and `report` print it with `--json` (INTERFACE.md), and more members beside it.
pub fn value(overview: &Overview, more: Value) -> Value {
    let days: serde_json::Map<String, Value> =
        overview.days.iter().map(|(day, counts)| (utc_day(*day), json!(counts))).collect();
    let mut value = json!({
        "messages": overview.messages(),
        "results": overview.results,
        "senders": overview.senders(),
        "days": days,
    });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

/// The overview for a person.
pub fn text(overview: &Overview) -> String {
    let all = overview.messages().max(1);
    let rows = overview
        .results
        .iter()
        .filter(|(_, letters)| *letters > 0)
        .map(|(word, letters)| {
            let share = u128::from(letters) * 100 / u128::from(all);
            let share = if share == 0 { " <1%".into() } else { format!("{share:>3}%") };
            vec![format!("{letters:>7}"), share, word.into(), meaning(word).into()]
        })
        .collect();
    let mut text = table(&["LETTERS", "", "RESULT", ""], rows);
    let (out, into): (Vec<_>, Vec<_>) = overview
        .senders()
        .into_iter()
        .partition(|line| matches!(line.result, "unpaid" | "invalid" | "blocked" | "unknown"));
    for (title, lines) in [("Neither known nor paid, or nobody can tell", out), ("Known, paid or free", into)]
    {
        if lines.is_empty() {
            continue;
        }
        let rows = lines.iter().take(SENDERS_SHOWN).map(|line| {
            let kind = if line.kind == "person" { "" } else { line.kind };
            let note =
                line.allow.clone().filter(|_| line.kind != "person").unwrap_or_else(|| line.reason.clone());
            vec![format!("{:>7}", line.messages), line.result.into(), line.sender.clone(), kind.into(), note]
        });
        text += &format!("\n{title}:\n");
        text += &table(&["LETTERS", "RESULT", "SENDER", "", ""], rows.collect());
        if lines.len() > SENDERS_SHOWN {
            text += &format!("and {} more; --json names all\n", lines.len() - SENDERS_SHOWN);
        }
    }
    text
}

/// Writes the page, if one is asked for.
///
/// # Errors
/// [`Exit::Io`] when the file cannot be written.
pub fn write_page(
    file: Option<&Path>,
    title: &str,
    summary: &str,
    overview: &Overview,
) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let html =
        crate::warm::page::page(title, summary, overview).map_err(|e| Failure::new(Exit::Software, e))?;
    std::fs::write(file, html)
        .map_err(|e| Failure::new(Exit::Io, format!("{}: cannot be written: {e}", file.display())))
}
