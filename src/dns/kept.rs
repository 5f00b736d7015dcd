//! Answers kept for their TTL, within so many octets of memory: what an answer takes is the choice of whoever owns the
//! name, and there is no end of names.
//!
//! A DNS message has up to 65,535 octets, and takes twenty times that in memory when it is made of many small strings or
//! records. So answers are weighed, not counted; one that weighs more than any honest record does is not kept at all, and
//! is asked for anew.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::proto::rr::{Name, RData, RecordType};
use moka::{Expiry, sync::Cache};

/// Octets of memory for all answers: thirty thousand of the usual kind.
const OCTETS_MAX: u64 = 32 * 1_024 * 1_024;
/// Octets of memory one answer may take and be kept. The TXT records of large companies come to a third of it.
const ANSWER_OCTETS_MAX: usize = 64 * 1_024;
/// What a question, its place in the cache and a name within a record take, about.
const NAME_OCTETS: usize = 256;
/// What the system adds to a piece of memory, about.
const PIECE_OCTETS: usize = 32;

/// What is asked: a name, absolute, and a kind of record.
pub type Question = (Name, RecordType);

/// What was answered: the records' data, none when there are no such records.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The data of the records, aliases among them.
    pub data: Arc<[RData]>,
    /// How long it holds.
    pub ttl: Duration,
}

impl Answer {
    /// Octets of memory it takes, about, and rather more than less.
    fn octets(&self) -> usize {
        self.data.iter().map(octets_of).fold(NAME_OCTETS, usize::saturating_add)
    }
}

fn octets_of(data: &RData) -> usize {
    let beside = match data {
        RData::TXT(txt) => {
            txt.txt_data.iter().map(|text| size_of::<Box<[u8]>>() + PIECE_OCTETS + text.len()).sum()
        }
        RData::A(_) | RData::AAAA(_) => 0,
        _ => NAME_OCTETS,
    };
    size_of::<RData>() + beside
}

/// The answers. Clones share them.
#[derive(Clone)]
pub struct Kept {
    answers: Cache<Question, Answer>,
}

impl Kept {
    /// None yet.
    pub fn new() -> Self {
        let weigh = |_: &Question, answer: &Answer| u32::try_from(answer.octets()).unwrap_or(u32::MAX);
        Self { answers: Cache::builder().max_capacity(OCTETS_MAX).weigher(weigh).expire_after(Ttl).build() }
    }

    /// The answer to this question, while it holds.
    pub fn get(&self, question: &Question) -> Option<Arc<[RData]>> {
        self.answers.get(question).map(|answer| answer.data)
    }

    /// Keeps an answer, unless it is too large.
    pub fn keep(&self, question: Question, answer: Answer) {
        if answer.octets() <= ANSWER_OCTETS_MAX {
            self.answers.insert(question, answer);
        }
    }

    /// Forgets them all.
    pub fn forget(&self) {
        self.answers.invalidate_all();
    }
}

/// Each answer holds for its own time.
struct Ttl;

impl Expiry<Question, Answer> for Ttl {
    fn expire_after_create(&self, _: &Question, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Question,
        answer: &Answer,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(answer.ttl)
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::rdata::{A, TXT};

    use super::*;

    fn question(n: usize) -> Question {
        (Name::from_ascii(format!("d{n}.example.")).unwrap(), RecordType::TXT)
    }

    fn txt(strings: usize, octets: usize) -> RData {
        let text = vec![b'x'; octets];
        RData::TXT(TXT::from_bytes(vec![&text; strings]))
    }

    fn answer(data: Vec<RData>) -> Answer {
        Answer { data: data.into(), ttl: Duration::from_secs(60) }
    }

    #[test]
    fn what_weighs_much_is_not_kept() {
        let address = RData::A(A::new(192, 0, 2, 1));
        for (data, kept) in [
            (vec![], true),
            (vec![address.clone(); 30], true),
            (vec![txt(1, 255); 60], true),
            (vec![txt(40, 255)], true),
            (vec![txt(32_000, 1)], false),
            (vec![txt(64_000, 0)], false),
            (vec![txt(256, 255)], false),
            (vec![txt(1, 0); 4_800], false),
            (vec![address; 4_000], false),
        ] {
            let answers = Kept::new();
            let (records, octets) = (data.len(), answer(data.clone()).octets());
            answers.keep(question(1), answer(data));
            assert_eq!(answers.get(&question(1)).is_some(), kept, "{records} records, {octets} octets");
        }
    }

    #[test]
    fn many_answers_take_no_more_memory_than_they_may() {
        let answers = Kept::new();
        for n in 0..3_000 {
            answers.keep(question(n), answer(vec![txt(150, 255)]));
        }
        answers.answers.run_pending_tasks();
        assert!(answers.answers.weighted_size() <= OCTETS_MAX);
        assert!(answers.answers.entry_count() > 300, "and are not few");
    }

    #[test]
    fn an_answer_is_over_with_its_ttl() {
        let answers = Kept::new();
        answers.keep(question(1), Answer { data: Arc::new([]), ttl: Duration::ZERO });
        answers.keep(question(2), answer(vec![]));
        assert!(answers.get(&question(1)).is_none() && answers.get(&question(2)).is_some());
        answers.forget();
        assert!(answers.get(&question(2)).is_none());
    }
}
