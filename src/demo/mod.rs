//! `farthing demo`: the whole story on this machine in half a minute, on loopback and a temporary ledger.
//!
//! Nothing is acted: a real daemon runs here, letters go in as an MTA brings them (or through a real Postfix), and
//! the commands shown are run by this very program. A step that does not go as told ends the story with an error.

pub mod dns;
mod mta;
mod postfix;
mod site;
mod story;

use std::io::Write as _;

use serde::Serialize;
use serde_json::json;

use crate::cli::{Context, Exit, Failure};

/// Tells the story; `behind_postfix` puts a real Postfix in front of the gate. With `--json` it is one value at the end:
/// `{"ok":true,"steps":[{"title","shown":[line,…]}]}`.
///
/// # Errors
/// [`Failure`] at the first step that did not go as told, or of the machine.
pub fn run(behind_postfix: bool, context: &Context) -> Result<(), Failure> {
    let fault = |text: String| Failure::new(Exit::Software, text);
    let site = site::Site::start().map_err(fault)?;
    let mta: Box<dyn mta::Mta> = if behind_postfix {
        site.when_interrupted(postfix::stop_below);
        Box::new(postfix::Postfix::start(&site).map_err(|text| Failure::new(Exit::Unavailable, text))?)
    } else {
        Box::new(mta::Direct::new(&site))
    };
    let mut narrator = Narrator { aloud: !context.json, told: vec![] };
    story::tell(&site, &*mta, &mut narrator).map_err(|text| {
        let text = text.trim_end().to_owned();
        Failure::new(Exit::Software, format!("step {} did not go as told: {text}", narrator.told.len()))
    })?;
    drop(mta);
    site.stop();
    narrator.say("\nEvery step went as told.\n");
    if narrator.aloud {
        return Ok(());
    }
    context.print(&json!({"ok": true, "steps": narrator.told}), String::new)
}

/// Says what happens, step by step, or keeps it for the end.
struct Narrator {
    aloud: bool,
    told: Vec<Step>,
}

/// What was told of one step.
#[derive(Serialize)]
struct Step {
    title: String,
    shown: Vec<String>,
}

impl Narrator {
    /// Prints; a reader that went away (`farthing demo | head`) misses the rest of a story that goes on to its end.
    fn say(&self, text: &str) {
        if !self.aloud {
            return;
        }
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    /// Begins a step.
    fn step(&mut self, title: &str) {
        self.told.push(Step { title: title.to_owned(), shown: vec![] });
        self.say(&format!("\n{}. {title}\n", self.told.len()));
    }

    /// Shows lines of what was typed, sent or answered.
    fn show(&mut self, mark: &str, text: &str) {
        for line in text.lines() {
            self.say(&format!("     {mark} {line}\n"));
            if let Some(step) = self.told.last_mut() {
                step.shown.push(format!("{mark} {line}"));
            }
        }
    }
}

/// Whether something is as the story says.
fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
