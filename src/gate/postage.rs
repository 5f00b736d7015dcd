//! The postage that came with a letter, sorted out for each recipient (SPEC.md §3, §4). Pure.

use crate::{
    address::{Address, Domain},
    ledger::{
        Ledgered, StampCandidate, Want,
        passes::{Means, Pass},
        sent::Answering,
    },
    money::Micros,
    stamp::{
        Asked, CancelledStamp, STAMP_FIELDS_MAX, Word,
        check::{bound, in_order, is_for},
        hashcash::{Hashcash, WORK_FIELDS},
    },
};

/// Hashcash fields looked at in one letter.
const WORK_FIELDS_MAX: usize = 100;

/// All postage of a letter.
#[derive(Default)]
pub struct Offered {
    /// The first fields named Postage-Stamp; `None`: malformed.
    stamps: Vec<Option<CancelledStamp>>,
    work: Vec<Hashcash>,
}

impl Offered {
    /// Reads the postage of a letter; `values` gives the values of the fields of a name.
    pub fn read<'a, I: Iterator<Item = &'a [u8]>>(values: impl Fn(&'static str) -> I, work: bool) -> Self {
        let stamps = values(crate::stamp::STAMP_FIELD)
            .take(STAMP_FIELDS_MAX)
            .map(|value| CancelledStamp::parse(value).ok())
            .collect();
        let work = if work {
            let fields = WORK_FIELDS.into_iter().flat_map(values).take(WORK_FIELDS_MAX);
            fields.filter_map(|value| Hashcash::parse(value).ok()).collect()
        } else {
            vec![]
        };
        Self { stamps, work }
    }

    /// What is there for one recipient. `several`: the letter has other recipients here, and a field that is not
    /// bound to this one is not his. `work_bits`: 0 where work is not taken.
    #[must_use]
    pub fn for_recipient(&self, asked: &Asked<'_>, several: bool, work_bits: u32) -> ForRecipient {
        let mut found = ForRecipient::default();
        for stamp in &self.stamps {
            let Some(stamp) = stamp else {
                if !several {
                    found.note(Word::Malformed);
                }
                continue;
            };
            if several && !is_for(stamp, asked.recipient) {
                continue;
            }
            match bound(stamp, asked) {
                Err(word) => found.note(word),
                Ok(()) => {
                    let word = in_order(stamp, asked).err();
                    found.stamps.push(Bound {
                        stamp: stamp.clone(),
                        word,
                        cheap: false,
                        priced_out: false,
                        pass: false,
                    });
                }
            }
        }
        if work_bits > 0 {
            found.work =
                self.work.iter().filter_map(|w| w.candidate(asked.recipient, work_bits, asked.now)).collect();
        }
        found
    }
}

/// A stamp that is this recipient's and this author's.
pub struct Bound {
    /// The stamp.
    pub stamp: CancelledStamp,
    /// Why it does not pay, as far as was looked.
    pub word: Option<Word>,
    /// It is below the price that strangers are told: it pays where less is asked in silence, or is `underpaid`.
    pub cheap: bool,
    /// It did not come with the letter: the office keeps it, as a pass.
    pub pass: bool,
    /// It is `underpaid` by a price that strangers are not told, and good otherwise as far as was looked.
    pub priced_out: bool,
}

impl Bound {
    fn candidate(&self, own_office: Option<&Domain>) -> StampCandidate {
        let good = self.word.is_none();
        let foreign = good && own_office != Some(&self.stamp.stamp.terms.office);
        let field = foreign.then(|| self.stamp.to_field_value().replace("\r\n", "").into());
        StampCandidate { field, ..self.stamp.stamp.candidate(good) }
    }
}

/// The postage for one recipient.
#[derive(Default)]
pub struct ForRecipient {
    /// Stamps bound to him, in the order of their fields; those of passes come last.
    pub stamps: Vec<Bound>,
    /// Hashcash for him, and then passes worked for.
    pub work: Vec<crate::ledger::WorkCandidate>,
    /// Of the fields that are no candidates, the word furthest down the table.
    pub worst: Option<Word>,
    /// DNS did not answer for the key of a stamp that could have paid.
    pub key_trouble: bool,
}

impl ForRecipient {
    fn note(&mut self, word: Word) {
        self.worst = self.worst.max(Some(word));
    }

    /// Whether the ledger could say anything about it: a good stamp, or one that could be a retry's.
    #[must_use]
    pub fn has_candidates(&self) -> bool {
        !self.stamps.is_empty() || !self.work.is_empty()
    }

    /// Whether something would pay, if the ledger agrees.
    #[must_use]
    pub fn has_good(&self) -> bool {
        self.stamps.iter().any(|bound| bound.word.is_none()) || self.work.iter().any(|work| work.good)
    }

    /// Whether all that would pay is below the price that strangers are told. A refusal takes it for `underpaid`,
    /// whatever it is refused for: else it would tell that less is asked.
    #[must_use]
    pub fn is_cheap(&self) -> bool {
        let good_as_told = self.stamps.iter().any(|bound| bound.word.is_none() && !bound.cheap)
            || self.work.iter().any(|work| work.good);
        !good_as_told && self.stamps.iter().any(|bound| bound.word.is_none())
    }

    /// Adds what the author, who is authenticated, got on the page. What strangers are told of the price was looked at
    /// when a pass was made; what is `asked` may be more.
    pub fn add_passes(&mut self, passes: &[Pass], asked: &Asked<'_>) {
        let any = Asked { price: Micros::ZERO, ..*asked };
        for pass in passes {
            match &pass.means {
                Means::Work => self.work.push(pass.work(asked.now)),
                Means::Stamp(field) => {
                    let stamp = CancelledStamp::parse(field).ok().filter(|stamp| bound(stamp, &any).is_ok());
                    let Some(stamp) = stamp else { continue };
                    let over = (asked.now > pass.expires).then_some(Word::Expired);
                    let word = in_order(&stamp, &any).err().or(over);
                    let priced_out = word.is_none() && stamp.stamp.terms.value < asked.price;
                    let word = if priced_out { Some(Word::Underpaid) } else { word };
                    self.stamps.push(Bound { stamp, word, cheap: false, priced_out, pass: true });
                }
            }
        }
    }

    /// Whether a stamp is good but for a price that strangers are not told.
    #[must_use]
    pub fn is_priced_out(&self) -> bool {
        self.stamps.iter().any(|bound| bound.priced_out)
    }

    /// What the ledger is asked, where `own_office` is the site's.
    #[must_use]
    pub fn want(
        &self,
        recipient: &Address,
        answering: Option<Answering>,
        own_office: Option<&Domain>,
    ) -> Want {
        Want {
            recipient: recipient.clone(),
            answering,
            stamps: self.stamps.iter().map(|bound| bound.candidate(own_office)).collect(),
            work: self.work.clone(),
        }
    }

    /// The word to report, with what the ledger said of each stamp: the one furthest down the table. A letter whose
    /// passes are used up is one without postage: they did not come with it. But that a pass is too cheap is said.
    #[must_use]
    pub fn word(&self, ledgered: &[Ledgered]) -> Option<Word> {
        let of_stamps = self.stamps.iter().enumerate().map(|(i, bound)| match ledgered.get(i) {
            _ if bound.cheap && bound.word.is_none() => Some(Word::Underpaid),
            // What had a word before the ledger was asked keeps it, but for a price that only good stamps learn.
            _ if bound.word.is_some() && !bound.priced_out => bound.word,
            Some(Ledgered::Spent) => Some(Word::Spent),
            Some(Ledgered::Unsold) => Some(Word::Unsold),
            // For as long as it owes so much, it is no accepted office.
            Some(Ledgered::Capped) => Some(Word::UnknownIssuer),
            _ => bound.word,
        });
        let of_stamps = of_stamps.zip(&self.stamps).filter_map(|(word, bound)| {
            word.filter(|word| !bound.pass || bound.priced_out && *word == Word::Underpaid)
        });
        of_stamps.max().max(self.worst)
    }
}
