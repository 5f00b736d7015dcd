//! Whether a letter was written by a person, sent on by a list, or made by a program. Pure.
//!
//! A guess by the letter's own fields, good for statistics and for what is offered to a person to decide. Nothing
//! that lets mail in hangs on it.

use super::{Message, robot::first_word};
use crate::{address::Address, ledger::book::Sender};

/// Beginnings of local parts behind which nobody reads, letters only.
const ROBOTS: &[&str] = &[
    "noreply",
    "donotreply",
    "dontreply",
    "noanswer",
    "nobody",
    "mailerdaemon",
    "bounce",
    "autoreply",
    "autoresponder",
    "notification",
];

/// What wrote a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person, as far as can be seen.
    Person,
    /// A mailing list or a newsletter, by its List-Id.
    List(Sender),
    /// A program; by which sign.
    Robot(&'static str),
}

/// What wrote this letter.
#[must_use]
pub fn kind(message: &Message<'_>) -> Kind {
    if let Some(list) = message.values("List-Id").find_map(list_id) {
        return Kind::List(list);
    }
    let word_of =
        |name: &str| message.values(name).next().map(|value| first_word(value).to_ascii_lowercase());
    if word_of("Auto-Submitted").is_some_and(|word| word != b"no") {
        return Kind::Robot("Auto-Submitted");
    }
    if word_of("Precedence").is_some_and(|word| [&b"bulk"[..], b"list", b"junk"].contains(&&*word)) {
        return Kind::Robot("Precedence");
    }
    for sign in ["List-Id", "List-Unsubscribe", "List-Post", "Feedback-ID"] {
        if message.values(sign).next().is_some() {
            return Kind::Robot(sign);
        }
    }
    if message.values("Return-Path").next().is_some_and(|value| value.trim_ascii() == b"<>") {
        return Kind::Robot("Return-Path: <>");
    }
    match message.author() {
        Some(author) if is_robot(&author) => Kind::Robot("no-reply address"),
        _ => Kind::Person,
    }
}

/// Whether an address is one of those behind which nobody reads.
#[must_use]
pub fn is_robot(address: &Address) -> bool {
    let letters: Vec<u8> = address.local().iter().filter(|b| b.is_ascii_alphabetic()).copied().collect();
    ROBOTS.iter().any(|robot| letters.starts_with(robot.as_bytes()))
}

/// The list that a List-Id names, as the book writes it: what stands between the last `<` and `>`.
#[must_use]
pub fn list_id(value: &[u8]) -> Option<Sender> {
    let end = value.iter().rposition(|&b| b == b'>').unwrap_or(value.len());
    let value = value.get(..end)?;
    let start = value.iter().rposition(|&b| b == b'<').map_or(0, |at| at + 1);
    let id = std::str::from_utf8(value.get(start..)?.trim_ascii()).ok()?;
    format!("list:{id}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::split_message;

    #[test]
    fn what_wrote_a_letter() {
        let list = |id: &str| Kind::List(format!("list:{id}").parse().unwrap());
        let long = format!("List-Id: <{}>", "a".repeat(10_000));
        for (fields, want) in [
            ("From: alice@a.example", Kind::Person),
            ("From: alice@a.example\nAuto-Submitted: No", Kind::Person),
            ("From: alice@a.example\nPrecedence: normal", Kind::Person),
            ("From: alice@a.example\nList-Id: Users <Users.lists.example>", list("users.lists.example")),
            ("From: alice@a.example\nlist-id: users.lists.example", list("users.lists.example")),
            (
                "From: alice@a.example\nList-Id: \"<x>\" <users.lists.example> (all)",
                list("users.lists.example"),
            ),
            ("From: alice@a.example\nList-Id: <>", Kind::Robot("List-Id")),
            (&long, Kind::Robot("List-Id")),
            ("From: alice@a.example\nAuto-Submitted: auto-replied; x=y", Kind::Robot("Auto-Submitted")),
            ("From: alice@a.example\nPrecedence: BULK (really)", Kind::Robot("Precedence")),
            (
                "From: alice@a.example\nList-Unsubscribe: <mailto:x@a.example>",
                Kind::Robot("List-Unsubscribe"),
            ),
            ("Return-Path: <>\nFrom: alice@a.example", Kind::Robot("Return-Path: <>")),
            ("From: No-Reply+17@a.example", Kind::Robot("no-reply address")),
            ("From: do_not_reply@a.example", Kind::Robot("no-reply address")),
            ("From: MAILER-DAEMON@a.example", Kind::Robot("no-reply address")),
            ("From: noreen@a.example", Kind::Person),
            ("", Kind::Person),
        ] {
            assert_eq!(kind(&split_message(format!("{fields}\n\n").as_bytes())), want, "{fields:.80}");
        }
    }
}
