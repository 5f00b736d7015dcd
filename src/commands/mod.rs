//! Command mail: a recipient tells the gate by mail what to do, in one word a line (SPEC.md §8).
//!
//! A mail goes `read` (the author's own lines) -> `parse` (what a line asks) -> `perform` (done, over the ledger) ->
//! `answer` (the text that says what was done). The first two are pure. Who may write is the gate's to find out; what
//! always holds here: a caller touches his own book, settings and letters and nobody else's, and whatever is done
//! again changes nothing, so that a mail that comes twice does no harm.

mod answer;
mod html;
mod id;
mod own_words;
mod parse;
mod perform;
mod read;

pub use answer::{COMMANDS_MAX, Carried, carry_out};
pub use id::LetterId;
pub use parse::{Command, Fault, Which, parse};
pub use perform::{Caller, Desk};
pub use read::{Said, read};
