//! Letters counted by result, day and sender: what `simulate` and `report` say. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::{clock::DAY_S, policy::Class};

/// Senders counted by name; of more, the later are counted together. About 200 octets each.
pub const SENDERS_MAX: usize = 50_000;
/// What senders beyond [`SENDERS_MAX`] are called.
pub const OTHERS: &str = "(others)";

/// The results in the order in which they are told: let in, paid for, not let in, and cannot tell.
pub const RESULTS: [&str; 9] =
    ["known", "exempt", "freepost", "paid", "work", "unpaid", "invalid", "blocked", "unknown"];

/// Letters by result, in the order of [`RESULTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub [u64; RESULTS.len()]);

impl Counts {
    /// Counts letters of a result; a word that is none of [`RESULTS`] is `unknown`.
    pub fn add(&mut self, result: &str, letters: u64) {
        let at = RESULTS.iter().position(|word| *word == result).unwrap_or(RESULTS.len() - 1);
        if let Some(count) = self.0.get_mut(at) {
            *count += letters;
        }
    }

    /// Result and letters, every one.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        RESULTS.into_iter().zip(self.0)
    }

    /// All letters.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(RESULTS.len()))?;
        for (word, count) in self.iter() {
            map.serialize_entry(word, &count)?;
        }
        map.end()
    }
}

/// One sender with one result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SenderLine {
    /// An address, `list:LIST-ID`, or words in brackets for letters without one author.
    pub sender: String,
    /// How many letters.
    pub messages: u64,
    /// What became of them.
    pub result: &'static str,
    /// `person`, `list` or `robot`.
    pub kind: &'static str,
    /// Why, of the first of them.
    pub reason: String,
    /// The command that would let such letters in, where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
}

/// All that was counted.
#[derive(Default)]
pub struct Overview {
    /// By result.
    pub results: Counts,
    /// By UTC day since 1970, of letters that say when they came.
    pub days: BTreeMap<u64, Counts>,
    senders: HashMap<(String, &'static str), SenderLine>,
}

impl Overview {
    /// Counts letters of one sender and result; `time` in Unix seconds.
    pub fn add(&mut self, line: SenderLine, time: Option<u64>) {
        self.count(line.result, time.map(|t| t / DAY_S), line.messages);
        self.sender(line);
    }

    /// Counts letters of a UTC day, whoever sent them.
    pub fn count(&mut self, result: &str, day: Option<u64>, letters: u64) {
        self.results.add(result, letters);
        if let Some(day) = day {
            self.days.entry(day).or_default().add(result, letters);
        }
    }

    /// Counts letters of a sender that are counted by day already.
    pub fn sender(&mut self, mut line: SenderLine) {
        let full = self.senders.len() >= SENDERS_MAX;
        if full && !self.senders.contains_key(&(line.sender.clone(), line.result)) {
            line = SenderLine { sender: OTHERS.into(), reason: String::new(), allow: None, ..line };
        }
        let messages = line.messages;
        self.senders
            .entry((line.sender.clone(), line.result))
            .and_modify(|known| known.messages += messages)
            .or_insert(line);
    }

    /// Letters counted.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.results.sum()
    }

    /// The senders, those with most letters first.
    #[must_use]
    pub fn senders(&self) -> Vec<&SenderLine> {
        let mut lines: Vec<_> = self.senders.values().collect();
        lines.sort_unstable_by(|a, b| {
            b.messages.cmp(&a.messages).then_with(|| (&a.sender, a.result).cmp(&(&b.sender, b.result)))
        });
        lines
    }
}

/// The word of a verdict among [`RESULTS`].
#[must_use]
pub const fn word(class: Class) -> &'static str {
    class.as_str()
}

/// What a result means to somebody who reads it the first time.
#[must_use]
pub fn meaning(result: &str) -> &'static str {
    match result {
        "known" => "from someone known, free",
        "exempt" => "never asked (postmaster, abuse, own users)",
        "freepost" => "to an address handed out for it, free",
        "paid" => "a stamp paid",
        "work" => "work paid",
        "unpaid" => "from a stranger, without postage",
        "invalid" => "with postage that is not good",
        "blocked" => "from someone blocked",
        _ => "cannot tell",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sender: &str, messages: u64, result: &'static str) -> SenderLine {
        SenderLine {
            sender: sender.into(),
            messages,
            result,
            kind: "person",
            reason: String::new(),
            allow: None,
        }
    }

    #[test]
    fn results_sum_to_the_letters_and_senders_stand_by_their_number() {
        let mut overview = Overview::default();
        overview.add(line("b@x.example", 2, "known"), Some(DAY_S * 3 + 5));
        overview.add(line("a@x.example", 1, "unpaid"), Some(DAY_S * 3));
        overview.add(line("a@x.example", 2, "unpaid"), Some(DAY_S));
        overview.add(line("a@x.example", 1, "known"), None);
        overview.add(line("c@x.example", 1, "unknown"), None);
        assert_eq!(overview.messages(), 7);
        assert_eq!(overview.days.keys().copied().collect::<Vec<_>>(), [1, 3]);
        let senders: Vec<_> =
            overview.senders().iter().map(|s| (s.sender.as_str(), s.messages, s.result)).collect();
        assert_eq!(
            senders,
            [
                ("a@x.example", 3, "unpaid"),
                ("b@x.example", 2, "known"),
                ("a@x.example", 1, "known"),
                ("c@x.example", 1, "unknown")
            ]
        );
        let json = serde_json::to_value(overview.results).unwrap();
        assert_eq!((&json["known"], &json["unpaid"], &json["paid"]), (&3.into(), &3.into(), &0.into()));
        overview.count("refused", None, 1);
        assert_eq!(overview.results.0.last(), Some(&2), "a word that nobody knows");
    }

    #[test]
    fn a_flood_of_senders_is_counted_together() {
        let mut overview = Overview::default();
        for i in 0..SENDERS_MAX + 10 {
            overview.add(line(&i.to_string(), 1, "unpaid"), None);
        }
        assert_eq!(overview.senders().len(), SENDERS_MAX + 1);
        assert_eq!((overview.senders()[0].sender.as_str(), overview.senders()[0].messages), (OTHERS, 10));
    }
}
