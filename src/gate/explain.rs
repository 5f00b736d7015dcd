//! Why a letter is treated as it is: the gate's own way through a letter, told row by row of the verdict (DESIGN.md).
//!
//! Nothing is redeemed, counted, learnt or remembered; DNS is asked exactly what the gate would ask. The verdict is not
//! guessed from the words: both come from the same facts.

use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;
use farthing_milter::verdict::Verdict;
use serde::Serialize;

use super::{
    BodyRoom, Site,
    answer::{self, Told},
    assess::{Assessment, Party},
    client::Client,
    letter::{Letter, Recipient},
    session::{behind_relays, is_within, recipient_here, too_large},
    settle::{Ask, Settled, SettledParty, settle, want},
    split::Splitter,
};
use crate::{
    address::{Address, shown},
    config::Mode,
    ledger::{self, Ledger, Ledgered, Outcome, book::Known},
    message::split_message,
    policy::{
        Answers, Authenticated, Class, Decision,
        reply::word,
        status::{is_own_status, must_go},
    },
    stamp::Word,
};

/// Who brings the letter, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// The client's address; `None`: it is not known, and SPF passes for nobody.
    pub client: Option<IpAddr>,
    /// The name it gave.
    pub helo: Vec<u8>,
    /// The name that the MTA found for its address; empty when it is not known.
    pub name: Vec<u8>,
    /// The envelope sender without `<>`; empty for the null sender.
    pub mail_from: Vec<u8>,
    /// The envelope's recipients.
    pub recipients: Vec<Vec<u8>>,
    /// The login of an authenticated submission.
    pub login: Option<String>,
}

/// What would become of the letter, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `deliver`, `hold`, `refuse` or `defer`.
    pub decision: &'static str,
    /// What the sending server reads; empty when the letter is let in.
    pub reply: String,
    /// Who brought it: behind a relay of ours the one its Received names.
    pub client: Option<IpAddr>,
    /// The author, if there is exactly one.
    pub author: Option<Address>,
    /// The list it names.
    pub list: Option<String>,
    /// One for each recipient, in their order.
    pub recipients: Vec<ForRecipient>,
}

/// The verdict for one recipient.
#[derive(Clone, Debug, Serialize)]
pub struct ForRecipient {
    /// The recipient as it was given.
    pub recipient: String,
    /// The word of Postage-Status, `blocked` or `unknown`; `none` for one who is not ours, `apart` for one whose copy is
    /// asked for separately.
    pub result: &'static str,
    /// The rows, up to the one that decided.
    pub rows: Vec<Row>,
}

/// One row of the verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its number in the table, from 1; 0 for what is looked at before, when the recipient is named.
    pub row: u8,
    /// What it is about.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
    /// Whether it decided.
    pub decides: bool,
}

/// What the rows are about, in their order.
const RULES: [&str; 9] =
    ["exempt", "our domain", "blocked", "freepost", "known", "answer", "stamp", "work", "mode"];

/// Explains a letter as the gate would judge it at this time (Unix seconds).
pub async fn explain(
    site: &Site,
    ledger: &dyn Ledger,
    envelope: &Envelope,
    message: &[u8],
    now: u64,
) -> Explanation {
    let gate = &site.config.gate;
    let parts = split_message(message);
    let mut letter = Letter::new(&envelope.mail_from);
    let recipients = recipients(site, envelope, ledger).await;
    for to in &recipients {
        if let To::Here(address) = to {
            letter.add_recipient(Recipient::of(address.clone()));
        }
    }
    for field in &parts.headers {
        letter.passed_here |= is_own_status(field.name, field.value, &gate.hostname);
        letter.header(field.name, field.value, |name, value| {
            must_go(name, value, |domain| gate.guards(domain))
        });
    }
    let (ip, helo, name) = (envelope.client, envelope.helo.clone(), envelope.name.clone());
    let connected = Client { ip, helo, name, relays_passed: 0 };
    let client = match &envelope.login {
        None => behind_relays(site, &connected, &letter).unwrap_or(connected),
        Some(_) => connected,
    };
    let mut told = Telling { envelope, recipients, client: &client, author: None, list: None };
    let exempt = match &envelope.login {
        Some(login) => Some(format!("handed in by the login {}", shown(login.as_bytes()))),
        None => {
            is_within(&gate.exempt_networks, client.ip).then(|| "the client is within exempt_networks".into())
        }
    };
    if let Some(why) = exempt {
        return told.all("deliver", String::new(), Class::Exempt.as_str(), &why);
    }
    if letter.recipients.is_empty() {
        return told.all("deliver", String::new(), "none", "no");
    }
    if (letter.header_cut || letter.too_many_forged) && gate.mode != Mode::Observe {
        return told.all("refuse", too_large().to_string(), "none", "not looked at: its header is too large");
    }
    let room = BodyRoom::default();
    let (assessment, certain) =
        Assessment::at_end_of_header(site, &mut letter, &client, ledger, &room, now).await;
    let (assessment, settled) = match certain {
        Some(settled) => (assessment, settled),
        None => {
            if letter.wants_body() {
                letter.body(parts.body);
            }
            let assessment = assessment.authenticate(site, &mut letter, &client, ledger).await;
            let settled = settle(&assessment, site, &mut letter, ledger, Ask::Foresee).await;
            (assessment, settled)
        }
    };
    told.author.clone_from(&assessment.author);
    told.list = assessment.list.as_ref().map(ToString::to_string);
    let mut rows = Vec::new();
    for (party, decided) in assessment.parties.iter().zip(&settled.parties) {
        let stamps = stamps(&assessment, party, site, ledger, message).await;
        rows.push((
            party.address.clone(),
            decided.class,
            rows_of(&assessment, party, decided, site, &stamps),
        ));
    }
    told.judged(&settled, verdict_text(&settled, site, &letter), &rows)
}

/// What the sending server reads; empty when the letter is let in.
fn verdict_text(settled: &Settled, site: &Site, letter: &Letter) -> String {
    match answer::verdict(settled, &Told { site, queue_id: None, client: None, letter }) {
        Verdict::Refuse(reply) => reply.to_string(),
        _ => String::new(),
    }
}

/// A recipient, as the gate answers at RCPT.
enum To {
    /// One of ours.
    Here(Address),
    /// One of ours whose copy is asked for separately (`super::split`).
    Apart,
    /// Not ours.
    Elsewhere,
}

async fn recipients(site: &Site, envelope: &Envelope, ledger: &dyn Ledger) -> Vec<To> {
    let (gate, ip) = (&site.config.gate, envelope.client);
    let asked =
        envelope.login.is_none() && !is_within(&gate.relays, ip) && !is_within(&gate.exempt_networks, ip);
    let mut splitter = asked.then(|| Splitter::new(site, ip, &envelope.helo, &envelope.mail_from)).flatten();
    let mut all = vec![];
    for given in &envelope.recipients {
        let Some(address) = recipient_here(site, &envelope.mail_from, given) else {
            all.push(To::Elsewhere);
            continue;
        };
        let apart = match &mut splitter {
            Some(splitter) => splitter.differs(site, &Recipient::of(address.clone()), ledger).await,
            None => false,
        };
        all.push(if apart { To::Apart } else { To::Here(address) });
    }
    all
}

/// What stays the same in every explanation of a letter.
struct Telling<'a> {
    envelope: &'a Envelope,
    /// One for each of the envelope.
    recipients: Vec<To>,
    client: &'a Client,
    author: Option<Address>,
    list: Option<String>,
}

impl Telling<'_> {
    fn explanation(
        &self,
        decision: &'static str,
        reply: String,
        recipients: Vec<ForRecipient>,
    ) -> Explanation {
        let (client, author, list) = (self.client.ip, self.author.clone(), self.list.clone());
        Explanation { decision, reply, client, author, list, recipients }
    }

    /// A letter about which the first row says everything.
    fn all(&self, decision: &'static str, reply: String, result: &'static str, found: &str) -> Explanation {
        let recipients = self.each(|_| (result, vec![row(1, found.to_owned(), true)]));
        self.explanation(decision, reply, recipients)
    }

    /// One for each recipient: what is said of those of ours, and the same of all others.
    fn each(&self, ours: impl Fn(&Address) -> (&'static str, Vec<Row>)) -> Vec<ForRecipient> {
        let all = self.envelope.recipients.iter().zip(&self.recipients).map(|(given, to)| {
            let (result, rows) = match to {
                To::Here(address) => ours(address),
                To::Apart => ("apart", apart()),
                To::Elsewhere => ("none", not_ours()),
            };
            ForRecipient { recipient: shown(given), result, rows }
        });
        all.collect()
    }

    fn judged(&self, settled: &Settled, reply: String, rows: &[(Address, Class, Vec<Row>)]) -> Explanation {
        let decision = match settled.decision {
            Decision::Deliver => "deliver",
            Decision::Hold => "hold",
            Decision::Refuse(_) => "refuse",
            Decision::Defer(_) => "defer",
        };
        let recipients = self.each(|address| {
            let found = rows.iter().find(|(judged, ..)| judged == address);
            found.map_or_else(|| ("none", vec![]), |(_, class, rows)| (class.as_str(), rows.clone()))
        });
        self.explanation(decision, reply, recipients)
    }
}

fn not_ours() -> Vec<Row> {
    vec![row(1, "no".into(), false), row(2, "no: not one of gate.domains; left alone".into(), true)]
}

fn apart() -> Vec<Row> {
    let found = "deferred (452 4.5.3) so that this copy comes separately: the sender stands otherwise with this recipient than \
                 with the first; explain it alone";
    vec![Row { row: 0, rule: "mixed", found: found.into(), decides: true }]
}

fn row(row: u8, found: String, decides: bool) -> Row {
    let rule = RULES.get(usize::from(row) - 1).copied().unwrap_or_default();
    Row { row, rule, found, decides }
}

/// What each stamp for this recipient comes to, with the ledger's word.
async fn stamps(
    assessment: &Assessment,
    party: &Party,
    site: &Site,
    ledger: &dyn Ledger,
    message: &[u8],
) -> Vec<(String, String)> {
    if party.postage.stamps.is_empty() {
        return vec![];
    }
    let request = ledger::Letter {
        now: assessment.now,
        digest: split_message(message).digest(),
        author: assessment.author.clone(),
        authenticated: party.facts.authenticated == Authenticated::Yes,
        wants: vec![ledger::Want { answering: None, ..want(party, assessment, site) }],
        all_or_nothing: false,
        work_daily_max: 0,
        office_cap: site.config.gate.office_cap,
    };
    let outcome = ledger.foresee(request).await.ok().and_then(|all| all.into_iter().next());
    let word_of = |at: usize, word: Option<Word>| match (&outcome, word) {
        (_, Some(word)) => word.as_str().to_owned(),
        (Some(Outcome::Stamp { index, retry: true, .. }), None) if *index == at => {
            "ok, has paid for this letter before".into()
        }
        (Some(Outcome::Stamp { index, .. }), None) if *index == at => "ok".into(),
        (Some(Outcome::Stamp { .. }), None) => "not needed".into(),
        (Some(Outcome::Unpaid { stamps, .. }), None) => match stamps.get(at) {
            Some(Ledgered::Spent) => Word::Spent.as_str().into(),
            Some(Ledgered::Unsold) => Word::Unsold.as_str().into(),
            Some(Ledgered::Capped) => {
                format!("{}: its office owes as much as it may", Word::UnknownIssuer.as_str())
            }
            _ => "not good".into(),
        },
        (Some(Outcome::TooOften), None) => "ok, but retried too often today".into(),
        _ => "in order, as far as can be told now".into(),
    };
    let all = party.postage.stamps.iter().enumerate();
    all.map(|(at, bound)| {
        let terms = &bound.stamp.stamp.terms;
        let name = format!("{} of {} for {}", BASE64URL_NOPAD.encode(&terms.id), terms.office, terms.value);
        (name, word_of(at, bound.word))
    })
    .collect()
}

/// The rows for one recipient, up to the one that decided.
fn rows_of(
    assessment: &Assessment,
    party: &Party,
    decided: &SettledParty,
    site: &Site,
    stamps: &[(String, String)],
) -> Vec<Row> {
    let facts = &party.facts;
    let author_may = facts.book == Known::Allowed || facts.own_domain;
    let known_by_book = author_may && facts.authenticated == Authenticated::Yes
        || facts.list == Known::Allowed && facts.list_authenticated == Authenticated::Yes;
    let deciding = match decided.class {
        Class::Exempt => 1,
        Class::Blocked => 3,
        Class::Freepost => 4,
        Class::Known if known_by_book => 5,
        Class::Known => 6,
        Class::Paid => 7,
        Class::Work => 8,
        Class::Unpaid | Class::Invalid(_) | Class::Trouble | Class::Later => 9,
    };
    let found = |number: u8| match number {
        1 if deciding == 1 => "postmaster and abuse are never asked".into(),
        1 => "no: no login, no network of exempt_networks, not to postmaster or abuse".into(),
        2 => "yes".into(),
        3 => blocked(assessment, party),
        4 => match (&party.freepost, facts.freepost) {
            (Some(freepost), true) => format!("label {} of {}", freepost.label(), freepost.owner()),
            _ => "no".into(),
        },
        5 => known(assessment, party),
        6 => answer(party.facts.answers),
        7 => stamp(party, stamps, site),
        8 => work(party, site),
        _ => mode(decided.class, site),
    };
    (1..=deciding).map(|number| row(number, found(number), number == deciding)).collect()
}

/// What stands behind the author and the list, in brackets.
///
/// `direct`: what was found without any forwarder's word.
fn proof(words: Option<&String>, direct: Authenticated, authenticated: Authenticated) -> String {
    match (words, authenticated) {
        (Some(words), Authenticated::Yes) if direct != Authenticated::Yes => {
            format!("proven by a forwarder whose word is taken; by itself not: {words}")
        }
        (None, _) => "not asked, nothing hangs on it".into(),
        (Some(words), Authenticated::Yes) => format!("proven: {words}"),
        (Some(words), Authenticated::No) => format!("not proven: {words}"),
        (Some(words), Authenticated::Trouble) => format!("cannot be told now: {words}"),
    }
}

fn blocked(assessment: &Assessment, party: &Party) -> String {
    let (facts, words) = (&party.facts, &assessment.words);
    let author = (facts.book == Known::Blocked).then(|| {
        format!(
            "the author is blocked ({})",
            proof(words.author.as_ref(), assessment.by_author.found(), facts.authenticated)
        )
    });
    let list = (facts.list == Known::Blocked).then(|| {
        format!(
            "the list is blocked ({})",
            proof(words.list.as_ref(), assessment.by_list.found(), facts.list_authenticated)
        )
    });
    joined([author, list]).unwrap_or_else(|| "no".into())
}

fn known(assessment: &Assessment, party: &Party) -> String {
    let (facts, words) = (&party.facts, &assessment.words);
    let Some(author) = &assessment.author else {
        return "the letter has not exactly one author".into();
    };
    let by_author = proof(words.author.as_ref(), assessment.by_author.found(), facts.authenticated);
    let whose = party.address.without_detail();
    let entry = (facts.book == Known::Allowed)
        .then(|| format!("{author} is in the book of {whose} or of the site ({by_author})"));
    let own = facts.own_domain.then(|| format!("{} is ours ({by_author})", author.domain()));
    let list = assessment.list.as_ref().filter(|_| facts.list == Known::Allowed).map(|list| {
        let by_list = proof(words.list.as_ref(), assessment.by_list.found(), facts.list_authenticated);
        format!("list:{list} is in the book of {whose} or of the site ({by_list})")
    });
    joined([entry, own, list]).unwrap_or_else(|| {
        let list = assessment.list.as_ref().map(|list| format!(" or list:{list}")).unwrap_or_default();
        format!("{author}{list} is not in the book of {whose} or of the site")
    })
}

fn answer(answers: Answers) -> String {
    match answers {
        Answers::No => "no: nothing that the recipient is known to have sent",
        Answers::Yes => "it answers or returns what the recipient sent",
        Answers::IfAuthentic => {
            "it answers what the recipient sent, but so many did that it must be proven to be from a domain that went to"
        }
        Answers::IfRetry => {
            "it answers what the recipient sent, but so many did, and it is from a domain that did not go to"
        }
    }
    .into()
}

fn stamp(party: &Party, stamps: &[(String, String)], site: &Site) -> String {
    let each = stamps.iter().map(|(name, word)| format!("{name}: {word}"));
    let others = party.postage.worst.map(|word| format!("another field: {}", word.as_str()));
    let all: Vec<String> = each.chain(others).collect();
    if all.is_empty() {
        return format!("none for this recipient; the price is {}", site.config.gate.price);
    }
    all.join("; ")
}

fn work(party: &Party, site: &Site) -> String {
    match (site.config.gate.work_bits, party.postage.work.iter().any(|work| work.good)) {
        (0, _) => "not taken here".into(),
        (bits, false) => format!("none of {bits} bits for this recipient"),
        (bits, true) => format!("there is some of {bits} bits"),
    }
}

fn mode(class: Class, site: &Site) -> String {
    let mode = site.config.gate.mode;
    let why = match class {
        Class::Trouble => "it cannot be told now".to_owned(),
        Class::Later => "too often today".to_owned(),
        _ => {
            word(class).map_or("no postage".to_owned(), |word| format!("postage refused: {}", word.as_str()))
        }
    };
    let does = match mode {
        Mode::Observe => "lets everything in",
        Mode::Tag => "lets it in and says so",
        Mode::Hold => "holds it",
        Mode::Require => "does not take it",
    };
    format!("{why}; mode {} {does}", mode.as_str())
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
