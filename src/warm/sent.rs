//! What the site's users wrote, by the letters in their folders of sent mail: answers to it are let in (DESIGN.md "The
//! verdict" row 6). Pure. Memory is bounded: [`SENT_MAX`] letters are remembered, about 100 octets each; later ones are not.

use std::collections::HashMap;

use super::time_of;
use crate::{
    address::{Address, Domain},
    ledger::{
        message_id_hash,
        sent::{ANSWERS_MAX, ANSWERS_WINDOW_S, SENT_RECIPIENTS_MAX},
    },
    message::{Message, addresses::addresses, kind::kind, thread::first_message_id},
    policy::Answers,
};

/// Letters remembered: ten years of a thousand people who write much.
pub const SENT_MAX: usize = 1_000_000;
/// How far a letter's clock may be behind the one of what it answers, in seconds.
const CLOCKS_DIFFER_S: u64 = 86_400;

/// What was sent.
#[derive(Default)]
pub struct SentBefore {
    letters: HashMap<[u8; 16], One>,
}

/// One letter.
struct One {
    /// Unix seconds, if it says when.
    time: Option<u64>,
    /// The domains it went to, each as a short hash.
    domains: Box<[u32]>,
    answers: u32,
}

impl SentBefore {
    /// Notes a letter that `owner` sent; not one to a crowd or to a list, nor an automatic one.
    pub fn note(&mut self, message: &Message<'_>, owner: &Address, is_list: impl Fn(&Address) -> bool) {
        let to = ["To", "Cc"].into_iter().flat_map(|name| message.values(name)).flat_map(addresses);
        let to: Vec<Address> = to.take(SENT_RECIPIENTS_MAX + 1).collect();
        let Some(id) = message.values("Message-ID").next().and_then(first_message_id) else { return };
        if self.letters.len() >= SENT_MAX
            || to.is_empty()
            || to.len() > SENT_RECIPIENTS_MAX
            || to.iter().any(is_list)
            || !kind(|name| message.values(name)).means_recipients()
        {
            return;
        }
        let mut domains: Vec<u32> = to.iter().map(|address| short(address.domain())).collect();
        domains.sort_unstable();
        domains.dedup();
        let one = One { time: time_of(message), domains: domains.into(), answers: 0 };
        self.letters.entry(key(owner, &message_id_hash(id))).or_insert(one);
    }

    /// Whether a letter of this time answers one of these that `owner` sent.
    #[must_use]
    pub fn answers(
        &self,
        owner: &Address,
        ids: &[[u8; 16]],
        time: Option<u64>,
        from: Option<&Domain>,
    ) -> (Answers, Option<[u8; 16]>) {
        let of = |id: &[u8; 16]| self.letters.get_key_value(&key(owner, id));
        let in_time = |one: &One| match (one.time, time) {
            (Some(sent), Some(came)) => {
                came + CLOCKS_DIFFER_S >= sent && came <= sent.saturating_add(ANSWERS_WINDOW_S)
            }
            _ => true,
        };
        let Some((key, one)) = ids.iter().filter_map(of).find(|(_, one)| in_time(one)) else {
            return (Answers::No, None);
        };
        let answers = match from {
            _ if one.answers < ANSWERS_MAX => Answers::Yes,
            Some(from) if one.domains.contains(&short(from)) => Answers::IfAuthentic,
            _ => Answers::No,
        };
        (answers, Some(*key))
    }

    /// Counts an answer that is let in.
    pub fn count(&mut self, key: &[u8; 16]) {
        if let Some(one) = self.letters.get_mut(key) {
            one.answers = one.answers.saturating_add(1);
        }
    }
}

fn key(owner: &Address, id: &[u8; 16]) -> [u8; 16] {
    let mut hash = blake3::Hasher::new();
    hash.update(id).update(&owner.without_detail().to_bytes());
    let mut key = [0; 16];
    hash.finalize_xof().fill(&mut key);
    key
}

/// A few octets that stand for a domain: of two that share them the one is taken for the other, in a statistic.
fn short(domain: &Domain) -> u32 {
    let hash = blake3::hash(domain.as_str().as_bytes());
    hash.as_bytes().first_chunk().copied().map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::split_message;

    const DAY: u64 = 86_400;
    /// 2026-11-02 09:00 UTC.
    const SENT_AT: u64 = 1_793_610_000;

    #[test]
    fn five_answers_in_sixty_days_to_what_was_sent_to_a_few() {
        let bob: Address = "bob@b.example".parse().unwrap();
        let (id, from) = (message_id_hash(b"1@b.example"), "x.example".parse().unwrap());
        let yes = |sent: &SentBefore, days: u64| {
            sent.answers(&bob, &[id], Some(SENT_AT + days * DAY), Some(&from)).0
        };
        let sent = |to: &str, more: &str| {
            let letter = format!(
                "From: bob@b.example\nTo: {to}\nDate: Mon, 02 Nov 2026 09:00:00 +0000\nMessage-ID: <1@b.example>\n{more}\n"
            );
            let mut sent = SentBefore::default();
            sent.note(&split_message(letter.as_bytes()), &bob, |to| to.to_string() == "users@lists.example");
            sent
        };
        let crowd = ["a@a.example"; 11].join(", ");
        for (to, more) in [
            (crowd.as_str(), ""),
            ("users@lists.example", ""),
            ("", ""),
            ("alice@a.example", "Auto-Submitted: auto-replied\n"),
        ] {
            assert_eq!(yes(&sent(to, more), 1), Answers::No, "{to} {more}");
        }
        let mut sent = sent("alice@a.example, x@x.example", "");
        for (days, want) in [(0, Answers::Yes), (60, Answers::Yes), (61, Answers::No)] {
            assert_eq!(yes(&sent, days), want, "{days} days later");
        }
        assert_eq!(
            sent.answers(&bob, &[id], Some(SENT_AT - 2 * DAY), None).0,
            Answers::No,
            "before it was sent"
        );
        assert_eq!(sent.answers(&bob, &[id], None, None).0, Answers::Yes, "it says not when");
        assert_eq!(sent.answers(&"eve@b.example".parse().unwrap(), &[id], None, None).0, Answers::No);
        for _ in 0..ANSWERS_MAX {
            let (answers, key) = sent.answers(&"bob+x@b.example".parse().unwrap(), &[id], None, None);
            assert_eq!(answers, Answers::Yes);
            sent.count(&key.unwrap());
        }
        assert_eq!(sent.answers(&bob, &[id], None, Some(&"evil.example".parse().unwrap())).0, Answers::No);
        assert_eq!(yes(&sent, 1), Answers::IfAuthentic);
    }
}
