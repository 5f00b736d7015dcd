//! Who really sent a letter: SPF, DKIM and DMARC alignment for the author's domain.
//!
//! The author is the address of the one From field (`message`); a letter without exactly one has no author, and nothing
//! here can be asked about it. What is answered is only whether the author's domain stands behind the letter; who is
//! known to whom is `policy`'s. DNS trouble is always [`Authentication::Trouble`], never a "no" (SPEC.md §5), and all
//! questions about one letter together wait at most [`CHECK_TIME`].

pub mod align;
pub mod arc;
pub mod dkim;
pub mod forwarder;
mod published;
pub mod results;
pub mod spf;

use std::{net::IpAddr, time::Duration};

use crate::{
    address::Domain,
    dns::{Budget, Dns, DnsTrouble},
};
use align::{Mode, Modes};
pub use dkim::{DkimFinding, DkimResult, Letter};
pub use spf::{Envelope, SpfFinding, SpfResult};

/// All waiting for DNS on behalf of one letter. A mail server waits for its milter half a minute and more, but a
/// session kept waiting is one that others cannot have.
pub const CHECK_TIME: Duration = Duration::from_secs(5);

/// Whether the author's domain stands behind a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// It does.
    Aligned(Proof),
    /// It does not; why, for logs.
    Not(String),
    /// It cannot be told now; why, for logs. Where this decides between letting in and refusing, the answer is 451.
    Trouble(String),
}

/// What made a letter authentic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// By which means.
    pub means: Means,
    /// The domain that was authenticated, which aligns with the author's.
    pub domain: Domain,
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let means = match self.means {
            Means::Spf => "SPF",
            Means::Dkim => "DKIM",
        };
        write!(f, "{means} of {}", self.domain)
    }
}

/// For people: what made it authentic, or why it is not.
impl std::fmt::Display for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Aligned(proof) => proof.fmt(f),
            Self::Not(why) | Self::Trouble(why) => f.write_str(&crate::address::shown(why.as_bytes())),
        }
    }
}

/// The two means of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// The client's address, by SPF.
    Spf,
    /// A signature, by DKIM.
    Dkim,
}

/// What is known before the body has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The author's domain stands behind the letter: the body is not needed.
    Aligned(Proof),
    /// Only a signature can still show it: go on with [`Inquiry::by_dkim`].
    AskDkim,
}

/// The questions about one letter: its envelope, the time left, and what was found so far.
#[derive(Debug)]
pub struct Inquiry {
    dns: Dns,
    envelope: Envelope,
    budget: Budget,
    spf: Option<SpfFinding>,
    by_spf: Option<(Domain, Authentication)>,
}

impl Inquiry {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(dns: Dns, envelope: Envelope) -> Self {
        Self { dns, envelope, budget: Budget::of(CHECK_TIME), spf: None, by_spf: None }
    }

    /// The SPF result of the envelope sender, whoever the author is. Asked once.
    pub async fn spf(&mut self) -> &SpfFinding {
        let found = match self.spf.take() {
            Some(found) => found,
            None => {
                self.budget.spend(spf::check(&self.dns, &self.envelope)).await.unwrap_or_else(|| SpfFinding {
                    result: SpfResult::TempError,
                    domain: self.envelope.domain().cloned(),
                    why: "SPF: no answer in time".to_owned(),
                })
            }
        };
        self.spf.insert(found)
    }

    /// Whether SPF alone shows that the author's domain stands behind the letter. DNS is asked only if the envelope
    /// sender's domain could speak for the author's.
    pub async fn by_spf(&mut self, author: &Domain) -> Step {
        match self.spf_of_author(author).await {
            Authentication::Aligned(proof) => Step::Aligned(proof),
            Authentication::Not(_) | Authentication::Trouble(_) => Step::AskDkim,
        }
    }

    /// Whether the author's domain stands behind the letter, by SPF or by a signature. A letter none of whose
    /// signatures [could speak for](dkim::may_speak_for) the author needs no body here.
    pub async fn by_dkim(&mut self, author: &Domain, letter: &Letter<'_>) -> Authentication {
        let by_spf = self.spf_of_author(author).await;
        if let Authentication::Aligned(_) = by_spf {
            return by_spf;
        }
        let findings =
            self.findings(letter, std::slice::from_ref(author), |f| f.speaks_without_record(author)).await;
        let by_dkim = self.conclude(author, &findings).await;
        match (by_dkim, by_spf) {
            (aligned @ Authentication::Aligned(_), _) => aligned,
            (_, trouble @ Authentication::Trouble(_)) => trouble,
            (trouble @ Authentication::Trouble(_), _) => trouble,
            (Authentication::Not(dkim), Authentication::Not(spf)) => {
                Authentication::Not(format!("{spf}; {dkim}"))
            }
            (not, _) => not,
        }
    }

    /// Whether SPF alone shows that a list stands behind the letter: its List-Id and the envelope sender's domain belong
    /// to one organisation. A list's envelope senders (VERP) are of the list's domain, not of the author's.
    pub async fn list_by_spf(&mut self, list: &Domain) -> Step {
        match self.spf_of_list(list).await {
            Authentication::Aligned(proof) => Step::Aligned(proof),
            Authentication::Not(_) | Authentication::Trouble(_) => Step::AskDkim,
        }
    }

    /// [`Self::list_by_spf`], with what stands in the way.
    pub async fn spf_of_list(&mut self, list: &Domain) -> Authentication {
        let sender = self.envelope.domain().filter(|sender| align::same_organisation(sender, list)).cloned();
        let Some(domain) = sender else {
            return Authentication::Not(format!("not sent by {list}"));
        };
        let finding = self.spf().await;
        match finding.result {
            SpfResult::Pass => Authentication::Aligned(Proof { means: Means::Spf, domain }),
            SpfResult::TempError => Authentication::Trouble(finding.why.clone()),
            result => Authentication::Not(finding.words(&domain, result)),
        }
    }

    /// Whether a list stands behind the letter, by SPF or by a signature of its organisation that covers List-Id.
    pub async fn list_by_dkim(&mut self, list: &Domain, letter: &Letter<'_>) -> Authentication {
        let by_spf = self.spf_of_list(list).await;
        if let Authentication::Aligned(_) = by_spf {
            return by_spf;
        }
        let mut trouble = None;
        for finding in self.signatures(letter, std::slice::from_ref(list)).await {
            if !finding.signed.iter().any(|name| name == "list-id") {
                continue;
            }
            match finding.result {
                DkimResult::Good => {
                    return Authentication::Aligned(Proof { means: Means::Dkim, domain: finding.domain });
                }
                DkimResult::Trouble(why) => trouble = Some(format!("signature of {}: {why}", finding.domain)),
                DkimResult::Bad(_) => {}
            }
        }
        match (by_spf, trouble) {
            (Authentication::Not(_), Some(why)) => Authentication::Trouble(why),
            (by_spf, _) => by_spf,
        }
    }

    /// From here on SPF is asked about another envelope: what a forwarder saw. The time left stays what it is.
    pub fn look_behind(&mut self, envelope: Envelope) {
        self.envelope = envelope;
        self.spf = None;
        self.by_spf = None;
    }

    /// Whether a host has this name: whether the name leads to its address.
    ///
    /// # Errors
    /// [`DnsTrouble`] when nobody could say in time.
    pub async fn has_name(&mut self, host: IpAddr, name: &Domain) -> Result<bool, DnsTrouble> {
        let dns = &self.dns;
        let question = async {
            Ok(match host.to_canonical() {
                IpAddr::V4(ip) => dns.ipv4(name.as_str()).await?.contains(&ip),
                IpAddr::V6(ip) => dns.ipv6(name.as_str()).await?.contains(&ip),
            })
        };
        let answer = self.budget.spend(question).await;
        answer.unwrap_or_else(|| Err(DnsTrouble::out_of_time(name.as_str())))
    }

    /// What the last `sealers` of its ARC chain found out, if the chain holds.
    pub async fn chain(&mut self, letter: &Letter<'_>, sealers: usize) -> arc::Chain {
        arc::check(&self.dns, letter, sealers, &mut self.budget).await
    }

    /// All signatures that could speak for one of these domains (the author's, a list's), checked.
    pub async fn signatures(&mut self, letter: &Letter<'_>, domains: &[Domain]) -> Vec<DkimFinding> {
        self.findings(letter, domains, |_| false).await
    }

    async fn findings(
        &mut self,
        letter: &Letter<'_>,
        domains: &[Domain],
        enough: impl FnMut(&DkimFinding) -> bool + Send,
    ) -> Vec<DkimFinding> {
        dkim::check(&self.dns, letter, domains, &mut self.budget, enough).await
    }

    async fn conclude(&mut self, author: &Domain, findings: &[DkimFinding]) -> Authentication {
        let mut trouble = None;
        let mut why = "no signature that could speak for the author".to_owned();
        for finding in findings {
            let domain = &finding.domain;
            match &finding.result {
                DkimResult::Good => match self.aligned(domain, author, |modes| modes.dkim).await {
                    Ok(true) => {
                        return Authentication::Aligned(Proof { means: Means::Dkim, domain: domain.clone() });
                    }
                    Ok(false) => why = format!("signed by {domain}, but {author} wants its own signature"),
                    Err(e) => trouble = Some(e.to_string()),
                },
                DkimResult::Bad(reason) => why = format!("signature of {domain}: {reason}"),
                DkimResult::Trouble(reason) => trouble = Some(format!("signature of {domain}: {reason}")),
            }
        }
        trouble.map_or(Authentication::Not(why), Authentication::Trouble)
    }

    /// [`Self::by_spf`], with what stands in the way.
    pub async fn spf_of_author(&mut self, author: &Domain) -> Authentication {
        if let Some((asked, found)) = &self.by_spf
            && asked == author
        {
            return found.clone();
        }
        let found = self.ask_spf_of_author(author).await;
        self.by_spf = Some((author.clone(), found.clone()));
        found
    }

    async fn ask_spf_of_author(&mut self, author: &Domain) -> Authentication {
        let Some(sender) = self.envelope.domain().cloned() else {
            return Authentication::Not("the envelope names no sender's domain".to_owned());
        };
        if !align::same_organisation(&sender, author) {
            return Authentication::Not(format!("sent by {sender}, which does not speak for {author}"));
        }
        let finding = self.spf().await;
        match finding.result {
            SpfResult::Pass => {}
            SpfResult::TempError => return Authentication::Trouble(finding.why.clone()),
            result => return Authentication::Not(finding.words(&sender, result)),
        }
        match self.aligned(&sender, author, |modes| modes.spf).await {
            Ok(true) => Authentication::Aligned(Proof { means: Means::Spf, domain: sender }),
            Ok(false) => Authentication::Not(format!("sent by {sender}, but {author} wants its own SPF")),
            Err(trouble) => Authentication::Trouble(trouble.to_string()),
        }
    }

    /// Whether an authenticated domain speaks for the author's, by the author's DMARC record where it matters.
    async fn aligned(
        &mut self,
        authenticated: &Domain,
        author: &Domain,
        mode: impl Fn(Modes) -> Mode,
    ) -> Result<bool, DnsTrouble> {
        if !align::aligned(authenticated, author, Mode::Relaxed) || authenticated == author {
            return Ok(authenticated == author);
        }
        let modes = self
            .budget
            .spend(modes(&self.dns, author))
            .await
            .unwrap_or_else(|| Err(DnsTrouble::out_of_time(format!("_dmarc.{author}"))))?;
        Ok(align::aligned(authenticated, author, mode(modes)))
    }
}

impl SpfFinding {
    fn words(&self, domain: &Domain, result: SpfResult) -> String {
        let separator = if self.why.is_empty() { "" } else { ", " };
        format!("SPF of {domain}: {result:?}{separator}{}", self.why)
    }
}

impl DkimFinding {
    /// Good, and aligned in any mode.
    fn speaks_without_record(&self, author: &Domain) -> bool {
        self.result == DkimResult::Good && self.domain == *author
    }
}

/// The modes an author's domain asks for: of its own DMARC record, else its organisation's, else relaxed.
async fn modes(dns: &Dns, author: &Domain) -> Result<Modes, DnsTrouble> {
    if let Some(modes) = align::modes(&dns.txt(&format!("_dmarc.{author}")).await?) {
        return Ok(modes);
    }
    match align::organisation(author) {
        Some(organisation) if organisation != author.as_str() => {
            Ok(align::modes(&dns.txt(&format!("_dmarc.{organisation}")).await?).unwrap_or_default())
        }
        _ => Ok(Modes::default()),
    }
}

#[cfg(test)]
mod tests;
