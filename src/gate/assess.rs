//! What is known of a letter before the ledger is asked: who may have sent it, what it offers.
//!
//! The book is read first; DNS is asked only where its answer could change the verdict, or on a letter that a
//! stamp would pay for (what a later `wanted` may teach). Trouble is kept as trouble: it is no "no".

mod forwarded;
mod passes;
mod sender;

use std::time::Instant;

use sender::Behind;

use super::{
    Site,
    client::Client,
    learn::is_null_sender,
    letter::{BodyRoom, Letter},
    postage::{ForRecipient, Offered},
    settle::Settled,
};
use crate::{
    address::{Address, Domain},
    config::{IdentityCheck, Mode},
    identity::Inquiry,
    ledger::{
        Ledger,
        book::{Known, Sender},
        dossier::{self, About, Dossier},
        message_id_hash,
        passes::Pass,
        sent::Answerable,
    },
    message::{self, envelope, kind::kind, thread::first_message_id},
    policy::{self, Answers, Authenticated, Decision, Facts, Postage, price::Price},
    stamp::{Asked, CancelledStamp, PublicKey, Word, check::signed, freepost::Freepost},
};

/// What is known for one recipient.
pub struct Party {
    /// The recipient.
    pub address: Address,
    /// For the verdict.
    pub facts: Facts,
    /// The freepost address it is, if it is a valid one.
    pub freepost: Option<Freepost>,
    /// What was offered for him.
    pub postage: ForRecipient,
    /// What he asks of strangers.
    pub price: Price,
    /// What he sent, by its Message-ID, and the letter answers or returns.
    pub answering: Option<[u8; 16]>,
    /// What the author the letter names has got on the page for letters to him.
    passes: Vec<Pass>,
    /// The mode lets strangers' letters in without postage too.
    lets_strangers_in: bool,
    /// Sealers of the letter's ARC chain, from the last, whose word he takes.
    sealers: usize,
    /// The list is known to him only since he wrote to its address: whoever has an address beside it could name it in a
    /// List-Id, so only the envelope sender of the list itself, which SPF lets pass, shows that it is from there.
    list_by_address: bool,
}

/// All that is known of a letter.
pub struct Assessment {
    /// Unix seconds; the letter is judged as of then.
    pub now: u64,
    /// The author, if there is exactly one.
    pub author: Option<Address>,
    /// The list it names, if it names one.
    pub list: Option<Domain>,
    /// One for each recipient of ours, in their order.
    pub parties: Vec<Party>,
    /// The book could not be read.
    pub ledger_trouble: bool,
    begun: Instant,
    /// A bounce or another report: what it returns stands in its body.
    awaits_return: bool,
    inquiry: Option<Box<Inquiry>>,
    pub(super) by_author: Behind,
    pub(super) by_list: Behind,
    /// SPF alone has shown that the list stands behind it.
    list_by_spf: bool,
    /// What was found out about the author and the list, in words.
    pub(super) words: Words,
}

/// What was found out about who stands behind a letter, for people; `None`: it was not asked, nothing hung on it.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// About the author.
    pub author: Option<String>,
    /// About the list.
    pub list: Option<String>,
}

impl Assessment {
    /// All that can be found out once the header is there; and the refusal, if that is certain already. What the
    /// letter needs of its body is noted in it.
    pub async fn at_end_of_header(
        site: &Site,
        letter: &mut Letter,
        client: &Client,
        ledger: &dyn Ledger,
        room: &BodyRoom,
        now: u64,
    ) -> (Self, Option<Settled>) {
        let assessment = Self::of(site, letter, ledger, now).await;
        if let Some(settled) = assessment.certain_refusal(site) {
            return (assessment, Some(settled));
        }
        let assessment = assessment.ask_spf(site, letter, client, ledger).await;
        let needs_body = assessment.needs_body(letter);
        if assessment.awaits_return() {
            letter.expect_returned();
        }
        letter.expect_body(assessment.needs_digest(), needs_body.then_some(room));
        (assessment, None)
    }

    /// Reads the header, the book, and checks the stamps' signatures.
    async fn of(site: &Site, letter: &Letter, ledger: &dyn Ledger, now: u64) -> Self {
        let gate = &site.config.gate;
        let from: Vec<&[u8]> = letter.values("From").collect();
        let author = message::author(&from);
        let own_domain = author.as_ref().is_some_and(|author| site.config.welcomes_as_own(author.domain()));
        let offered = Offered::read(|name| letter.values(name), gate.work_bits > 0);
        let several = letter.recipients.len() > 1;
        let senders: Vec<Sender> = author.iter().flat_map(Sender::names_of_author).collect();
        let list = message::list::list_id(&letter.values("List-Id").collect::<Vec<_>>());
        let ListNames { all: list_names, sent_by_list } = ListNames::of(list.as_ref(), &letter.mail_from);
        // What comes by a list is the list's, whatever it answers: its subscribers read every Message-ID.
        let by_list = ["List-Id", "List-Post"].into_iter().any(|name| letter.values(name).next().is_some());
        let in_reply_to = letter.values("In-Reply-To").take(usize::from(!by_list));
        let answered: Vec<[u8; 16]> = in_reply_to.filter_map(first_message_id).map(message_id_hash).collect();
        let mut assessment = Self {
            now,
            author,
            list,
            parties: vec![],
            ledger_trouble: false,
            begun: Instant::now(),
            awaits_return: is_null_sender(&letter.mail_from) || kind(|name| letter.values(name)).is_report(),
            inquiry: None,
            by_author: Behind::NotAsked,
            by_list: Behind::NotAsked,
            list_by_spf: false,
            words: Words::default(),
        };
        let freeposts: Vec<_> =
            letter.recipients.iter().map(|r| genuine_freepost(site, &r.address, now)).collect();
        let about = About {
            now,
            recipients: letter
                .recipients
                .iter()
                .zip(&freeposts)
                .filter(|(recipient, _)| !recipient.role)
                .map(|(recipient, freepost)| dossier::Recipient {
                    address: recipient.address.clone(),
                    freepost: freepost.as_ref().map(|f| (f.owner().clone(), f.label().to_owned())),
                })
                .collect(),
            senders,
            list: list_names,
            answers: answered,
            // A pass is its author's: where nobody is authenticated, nobody has one.
            bearer: assessment.author.clone().filter(|_| site.config.identity.check != IdentityCheck::None),
        };
        let mut dossiers = assessment.dossiers(ledger, about).await.into_iter();
        for (recipient, freepost) in letter.recipients.iter().zip(freeposts) {
            let mut party = Party {
                address: recipient.address.clone(),
                facts: Facts { exempt: recipient.role, own_domain, ..Facts::default() },
                freepost: None,
                postage: ForRecipient::default(),
                price: site.price(None),
                answering: None,
                passes: vec![],
                lets_strangers_in: site.config.gate.mode != Mode::Require,
                sealers: 0,
                list_by_address: false,
            };
            if !recipient.role {
                let Dossier { author: book, list, list_by_id, freepost_revoked, answers, passes, settings } =
                    dossiers.next().unwrap_or_default();
                let trouble = assessment.ledger_trouble;
                party.facts.book = book;
                party.freepost = freepost.filter(|_| !freepost_revoked && !trouble);
                party.facts.freepost = party.freepost.is_some();
                let is_list = list != Known::Allowed || list_by_id || sent_by_list;
                party.facts.list = if is_list { list } else { Known::Unknown };
                party.list_by_address = list == Known::Allowed && !list_by_id && sent_by_list;
                party.note_answers(answers, assessment.author.as_ref());
                party.note_passes(passes);
                party.price = site.price(settings.price);
                let asked = Asked {
                    recipient: &recipient.address,
                    author: assessment.author.as_ref(),
                    currency: site.config.ledger.currency,
                    price: party.price.least(),
                    now,
                };
                party.postage = offered.for_recipient(&asked, several, gate.work_bits);
            }
            assessment.parties.push(party);
        }
        assessment.check_signatures(site).await;
        assessment
    }

    /// What the books say of the letter; nothing, and trouble, when they cannot be read.
    async fn dossiers(&mut self, ledger: &dyn Ledger, about: About) -> Vec<Dossier> {
        ledger.dossiers(about).await.unwrap_or_else(|error| {
            // The ledger logs its trouble itself, once and not for every letter.
            tracing::debug!(%error, "the books cannot be read");
            self.ledger_trouble = true;
            vec![]
        })
    }

    async fn book(&mut self, ledger: &dyn Ledger, recipient: &Address, senders: &[Sender]) -> Known {
        if senders.is_empty() || self.ledger_trouble {
            return Known::Unknown;
        }
        match ledger.known(&recipient.without_detail(), senders).await {
            Ok(known) => known,
            Err(error) => {
                // The ledger logs its trouble itself, once and not for every letter.
                tracing::debug!(%error, "the book of known senders cannot be read");
                self.ledger_trouble = true;
                Known::Unknown
            }
        }
    }

    /// Looks whether the recipients sent what the letter returns.
    async fn look_up_answered(&mut self, ledger: &dyn Ledger, message_ids: &[[u8; 16]]) {
        if message_ids.is_empty() {
            return;
        }
        for party in &mut self.parties {
            if party.facts.exempt || party.answering.is_some() || self.ledger_trouble {
                continue;
            }
            match ledger.answerable(&party.address, message_ids, self.now).await {
                Ok(sent) => party.note_answers(sent, self.author.as_ref()),
                Err(error) => {
                    tracing::error!(%error, "what was sent cannot be looked up");
                    self.ledger_trouble = true;
                }
            }
        }
    }

    /// Checks office and signatures of every stamp that is in order otherwise: forged ones never reach the ledger.
    async fn check_signatures(&mut self, site: &Site) {
        let own_office = site.config.office.as_ref().map(|office| &office.domain);
        let accepted = site.config.accepted_offices();
        let mut foreign = site.discovery.keys();
        for party in &mut self.parties {
            let Price { asked, told } = party.price;
            for bound in party.postage.stamps.iter_mut().filter(|bound| bound.word.is_none()) {
                let terms = &bound.stamp.stamp.terms;
                let word = if !accepted.contains(&terms.office) {
                    Some(Word::UnknownIssuer)
                } else if own_office == Some(&terms.office) {
                    // Known from its files, without DNS.
                    signed_by(&bound.stamp, site.keys.of(&terms.selector).map(|key| &key.public))
                } else {
                    match foreign.key(&terms.office, &terms.selector).await {
                        Ok(key) => signed_by(&bound.stamp, key.as_ref()),
                        Err(error) => {
                            tracing::warn!(%error, "an office's key cannot be looked up");
                            party.postage.key_trouble = true;
                            Some(Word::UnknownIssuer)
                        }
                    }
                };
                bound.cheap = terms.value < told;
                bound.priced_out = word.is_none() && terms.value < asked;
                // What is not even good says no more of the price than it would where the site's is asked.
                let underpaid = bound.priced_out || bound.cheap && word.is_some();
                bound.word = if underpaid { Some(Word::Underpaid) } else { word };
            }
        }
    }

    /// The refusal, if nothing that could still be found out would change it: no body, no DNS, no ledger needed.
    fn certain_refusal(&self, site: &Site) -> Option<Settled> {
        let gate = &site.config.gate;
        if gate.mode != Mode::Require || self.ledger_trouble || self.awaits_return {
            return None;
        }
        let certain = |party: &Party| {
            party.facts.exempt
                || !policy::may_be_known(&party.facts)
                    && !party.postage.has_candidates()
                    && !party.postage.key_trouble
        };
        if !self.parties.iter().all(certain) {
            return None;
        }
        let settled = Settled::without_ledger(self, site);
        matches!(settled.decision, Decision::Refuse(_)).then_some(settled)
    }

    /// Whether the digest will be needed: only a letter that is redeemed for, or counted, can be a retry.
    fn needs_digest(&self) -> bool {
        self.awaits_return || self.parties.iter().any(|party| party.asks_ledger() || party.facts.pass)
    }

    /// Whether the body has to be looked through for what the letter returns.
    fn awaits_return(&self) -> bool {
        self.awaits_return && self.parties.iter().any(|p| !p.facts.exempt && p.answering.is_none())
    }
}

/// By which names the list may be known.
struct ListNames {
    /// The List-Id first, then the addresses that go with it.
    all: Vec<Sender>,
    /// The envelope sender is one that the list's server gives its letters.
    sent_by_list: bool,
}

impl ListNames {
    fn of(list: Option<&Domain>, mail_from: &[u8]) -> Self {
        let Some(id) = list else { return Self { all: vec![], sent_by_list: false } };
        let sender = Address::parse(mail_from).ok();
        let address = Sender::address_of_list(id.as_str());
        let sent_by_list =
            sender.zip(address).is_some_and(|(sender, list)| envelope::is_of_list(&sender, &list));
        Self { all: Sender::names_of_list(id.as_str()), sent_by_list }
    }
}

/// The freepost address this is, if the site made it and its time is not over; it may have been revoked.
pub fn genuine_freepost(site: &Site, recipient: &Address, now: u64) -> Option<Freepost> {
    Freepost::parse(recipient)
        .filter(|freepost| !freepost.has_expired(now) && freepost.is_genuine(&site.keys.tokens))
}

fn signed_by(stamp: &CancelledStamp, key: Option<&PublicKey>) -> Option<Word> {
    key.map_or(Some(Word::UnknownIssuer), |key| signed(stamp, key).err())
}

impl Party {
    /// Notes that the letter answers, or returns, what he sent.
    fn note_answers(&mut self, sent: Option<Answerable>, author: Option<&Address>) {
        let Some(sent) = sent else { return };
        self.facts.answers = if !sent.used_up {
            Answers::Yes
        } else if author.is_some_and(|author| sent.went_to(author.domain())) {
            Answers::IfAuthentic
        } else {
            Answers::IfRetry
        };
        self.answering = Some(sent.message_id);
    }

    /// Whether the ledger has a word to say: about postage that could pay or be a retry's, or about an answer to count.
    #[must_use]
    pub fn asks_ledger(&self) -> bool {
        self.postage.has_candidates() || self.facts.answers != Answers::No
    }

    /// Whether the letter is from its author, as far as it was asked and by whose word he takes.
    #[must_use]
    pub fn is_authentic(&self) -> bool {
        self.facts.authenticated == Authenticated::Yes
    }

    /// What the offered postage is worth before the ledger was asked, for one with nothing to ask it about.
    #[must_use]
    pub fn postage_without_ledger(&self) -> Postage {
        if self.postage.key_trouble {
            return Postage::Trouble;
        }
        self.postage.word(&[]).map_or(Postage::None, Postage::Bad)
    }
}
