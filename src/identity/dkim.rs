//! DKIM (RFC 6376): which domains signed this letter?
//!
//! mail-auth does the cryptography. Here is decided which signatures are worth it: only those that could speak for a
//! domain asked about cost a hash of the body, and only those whose body hash is right cost a DNS question. A signature
//! that leaves the From field or part of the body open, or rests on SHA-1, proves nothing and is not looked at.

use std::collections::HashMap;

use mail_auth::{
    AuthenticatedMessage, DkimResult as Verdict, MessageAuthenticator, Parameters,
    common::{
        crypto::{Algorithm, HashAlgorithm},
        headers::Header,
    },
    dkim::{Canonicalization, Signature},
};

use super::{
    align::{self, tags},
    published::{PublishedKeys, key_name},
};
use crate::{
    address::Domain,
    dns::{Budget, Dns, DnsTrouble},
    message::split_message,
};

/// Signatures checked in one letter. Honest mail has one to four; a list adds one more.
pub const SIGNATURES_MAX: usize = 10;
/// Octets of a signature field. An RSA-4096 signature with a long `h=` needs about 2,000.
pub const SIGNATURE_OCTETS_MAX: usize = 16_384;
/// Names in `h=`. Real ones have up to about 60, doubled by over-signing.
pub const SIGNED_NAMES_MAX: usize = 200;
/// Bodies beyond this are hashed where waiting is allowed, so that other sessions go on.
const LONG_BODY_OCTETS: usize = 256 * 1024;

/// A letter as its signers saw it: header fields with CRLF line ends, and the body, CRLF or LF.
#[derive(Clone, Debug)]
pub struct Letter<'b> {
    head: Vec<u8>,
    body: &'b [u8],
}

impl<'b> Letter<'b> {
    /// A letter of the fields that a milter gets, in order: the name, and all that stood after the colon (its first
    /// space too) with CRLF or LF inside. A line of a value that is no continuation is made one, so that no value can
    /// bring in a field of its own; the signature then fails, as it should.
    #[must_use]
    pub fn from_fields<'f>(fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>, body: &'b [u8]) -> Self {
        let mut head = Vec::new();
        for (name, value) in fields {
            head.extend_from_slice(name);
            head.push(b':');
            let value = value.strip_suffix(b"\n").unwrap_or(value);
            for (i, line) in value.split(|&b| b == b'\n').enumerate() {
                if i > 0 {
                    head.extend_from_slice(b"\r\n");
                    if !matches!(line.first(), Some(b' ' | b'\t')) {
                        head.push(b' ');
                    }
                }
                head.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            }
            head.extend_from_slice(b"\r\n");
        }
        Self { head, body }
    }

    /// The header fields, each line ended by CRLF; no empty line after them.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The body, as it was given.
    #[must_use]
    pub fn body(&self) -> &'b [u8] {
        self.body
    }

    /// Whether a signature that could speak for this domain leaves part of the body open (`l=`): who got the letter can
    /// then have written on below, and a server that verified it may not have minded.
    #[must_use]
    pub fn is_left_open_by(&self, domain: &Domain) -> bool {
        let head = split_message(&self.head);
        head.values("DKIM-Signature").any(|value| {
            has_length_tag(value)
                && Signature::parse(value).is_ok_and(|signature| {
                    Domain::from_any(&signature.d).is_ok_and(|d| align::same_organisation(&d, domain))
                })
        })
    }

    /// A whole message as it stands in a file, CRLF or LF.
    #[must_use]
    pub fn from_message(message: &'b [u8]) -> Self {
        let message = split_message(message);
        Self::from_fields(message.headers.iter().map(|field| (field.name, field.value)), message.body)
    }
}

/// What became of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DkimResult {
    /// It holds.
    Good,
    /// It does not, or its key is not there or was revoked; why.
    Bad(String),
    /// Its key cannot be fetched now; why.
    Trouble(String),
}

/// A signature and whom it speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimFinding {
    /// The signing domain, `d=`.
    pub domain: Domain,
    /// `s=`.
    pub selector: String,
    /// The names of the fields it covers, `h=`, lower-case; From is always among them.
    pub signed: Vec<String>,
    /// What became of it.
    pub result: DkimResult,
}

/// Whether a DKIM-Signature field's value is one that could speak for this domain: worth waiting for the body.
#[must_use]
pub fn may_speak_for(value: &[u8], domain: &Domain) -> bool {
    value.len() <= SIGNATURE_OCTETS_MAX
        && Signature::parse(value).is_ok_and(|signature| {
            signing_domain(value, &signature).is_some_and(|signer| align::same_organisation(&signer, domain))
        })
}

/// The domain whose signature, by this value of a DKIM-Signature field, covers the field of that name (lower-case);
/// whether the signature holds is not looked at.
#[must_use]
pub fn covers(value: &[u8], name: &str) -> Option<Domain> {
    let signature = Signature::parse(value.get(..SIGNATURE_OCTETS_MAX).unwrap_or(value)).ok()?;
    let covered = signature.h.iter().any(|signed| signed.eq_ignore_ascii_case(name));
    if covered { signing_domain(value, &signature) } else { None }
}

/// Checks the signatures that could speak for one of these domains, those of the very domains first, until `enough`
/// says of one that it is, or the budget is spent (what is left is then [`DkimResult::Trouble`]).
pub(super) async fn check(
    dns: &Dns,
    letter: &Letter<'_>,
    domains: &[Domain],
    budget: &mut Budget,
    mut enough: impl FnMut(&DkimFinding) -> bool + Send,
) -> Vec<DkimFinding> {
    let Some(mut message) = AuthenticatedMessage::parse(&letter.head) else { return Vec::new() };
    if !has_one_from(&message) {
        return Vec::new();
    }
    let candidates = candidates(std::mem::take(&mut message.dkim_headers), domains);
    if candidates.is_empty() {
        return Vec::new();
    }
    let fields = std::mem::take(&mut message.headers);
    // The hashes made while reading are those of no body at all.
    message.body_hashes.clear();
    let authenticator = dns.authenticator();
    let mut findings = Vec::new();
    for (domain, mut header) in candidates {
        // Neither failure reports nor third-party signatures are for us: no questions about them.
        header.header.r = false;
        header.header.atps = None;
        // The key is asked for under the very name that is compared with the author's.
        header.header.d = domain.to_string();
        hash_body(&mut message, &header.header, letter.body);
        message.headers = covered(&fields, &header.header.h);
        let mut finding = DkimFinding {
            domain,
            selector: header.header.s.clone(),
            signed: header.header.h.iter().map(|name| name.to_ascii_lowercase()).collect(),
            result: DkimResult::Trouble("no time left to fetch its key".to_owned()),
        };
        message.dkim_headers = vec![header];
        if let Some(result) = budget.spend(verify(dns, &authenticator, &message, &finding)).await {
            finding.result = result;
        }
        let stop = enough(&finding);
        findings.push(finding);
        if stop {
            break;
        }
    }
    findings
}

/// Verifies the one signature in a message.
async fn verify(
    dns: &Dns,
    authenticator: &MessageAuthenticator,
    message: &AuthenticatedMessage<'_>,
    finding: &DkimFinding,
) -> DkimResult {
    let mut keys = PublishedKeys::of([(&*finding.selector, finding.domain.as_str())]);
    let verdict = loop {
        let verdict = {
            let outputs = authenticator.verify_dkim(Parameters::new(message).with_txt_cache(&keys)).await;
            let checked = outputs.iter().find(|output| output.signature().is_some());
            checked.map(|output| output.result().clone())
        };
        match keys.fetch_lacking(dns).await {
            Ok(true) => {}
            Ok(false) => break verdict,
            Err(trouble) => return DkimResult::Trouble(trouble.to_string()),
        }
    };
    match verdict {
        Some(Verdict::Pass) => {}
        Some(Verdict::TempError(e)) => return DkimResult::Trouble(e.to_string()),
        Some(Verdict::Neutral(e) | Verdict::Fail(e) | Verdict::PermError(e)) => {
            return DkimResult::Bad(e.to_string());
        }
        Some(Verdict::None) | None => return DkimResult::Bad("not verified".to_owned()),
    }
    match key_is_for_mail(dns, &finding.selector, finding.domain.as_str()).await {
        Ok(true) => DkimResult::Good,
        Ok(false) => DkimResult::Bad("its key is not for mail or not for SHA-256".to_owned()),
        Err(trouble) => DkimResult::Trouble(trouble.to_string()),
    }
}

/// What mail-auth does not look at: what a key is for. The record has just come, so this asks the cache.
pub(super) async fn key_is_for_mail(dns: &Dns, selector: &str, domain: &str) -> Result<bool, DnsTrouble> {
    let records = dns.txt(&key_name(selector, domain)).await?;
    Ok(records.iter().all(|record| is_for_mail(record)))
}

/// What a signature covers must be the very From field that was read: two are two authors.
pub(super) fn has_one_from(message: &AuthenticatedMessage<'_>) -> bool {
    let is_from = |(name, _): &&Field<'_>| name.trim_ascii().eq_ignore_ascii_case(b"from");
    message.headers.iter().filter(is_from).count() == 1
}

/// Whether a key record allows mail (`s=`) and SHA-256 (`h=`), as it does when it says nothing (RFC 6376 §3.6.1).
fn is_for_mail(record: &[u8]) -> bool {
    let allows = |list: &[u8], items: &[&[u8]]| {
        list.split(|&b| b == b':')
            .any(|item| items.iter().any(|want| item.trim_ascii().eq_ignore_ascii_case(want)))
    };
    tags(record).all(|(name, value)| match name {
        b"s" => allows(value, &[b"*", b"email"]),
        b"h" => allows(value, &[b"sha256"]),
        _ => true,
    })
}

type SignatureField<'x> = Header<'x, Signature>;

/// The signatures worth checking, with their domains; those of the very domains asked about first, because their
/// alignment needs no DMARC record.
fn candidates<'x>(headers: Vec<SignatureField<'x>>, domains: &[Domain]) -> Vec<(Domain, SignatureField<'x>)> {
    let mut found: Vec<_> = headers
        .into_iter()
        .filter_map(|header| {
            let signer = signing_domain(header.value, &header.header)?;
            domains.iter().any(|domain| align::same_organisation(&signer, domain)).then_some((signer, header))
        })
        .collect();
    found.sort_by_key(|(signer, _)| !domains.contains(signer));
    found.truncate(SIGNATURES_MAX);
    found
}

/// The domain of a signature that would prove something if it held.
fn signing_domain(value: &[u8], signature: &Signature) -> Option<Domain> {
    let sound = value.len() <= SIGNATURE_OCTETS_MAX
        && signature.v == 1
        // RFC 8301: SHA-1 no longer counts.
        && signature.a != Algorithm::RsaSha1
        // RFC 6376 §5.4: From must be covered.
        && signature.h.iter().any(|name| name.eq_ignore_ascii_case("from"))
        && signature.h.len() <= SIGNED_NAMES_MAX
        && is_selector(&signature.s)
        && !has_length_tag(value);
    if sound { Domain::from_any(&signature.d).ok() } else { None }
}

/// Labels of letters, digits, hyphens and underscores: no escape that would turn the key's name into another.
pub(super) fn is_selector(text: &str) -> bool {
    let in_label = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(in_label))
}

/// Whether there is an `l=` tag, `l=0` too: then anybody may write on below.
pub(super) fn has_length_tag(value: &[u8]) -> bool {
    value.split(|&b| b == b';').any(|tag| {
        let name: Vec<u8> =
            tag.iter().copied().take_while(|&b| b != b'=').filter(|b| !b.is_ascii_whitespace()).collect();
        name.eq_ignore_ascii_case(b"l")
    })
}

fn hash_body(message: &mut AuthenticatedMessage<'_>, signature: &Signature, body: &[u8]) {
    let algorithm = HashAlgorithm::from(signature.a);
    let key = (signature.cb, algorithm, signature.l);
    if message.body_hashes.iter().any(|(c, a, l, _)| (*c, *a, *l) == key) {
        return;
    }
    let hash = body_hash(algorithm, signature.cb, signature.l, body);
    message.body_hashes.push((signature.cb, algorithm, signature.l, hash));
}

/// The hash of a body's first `length` octets; 0: of all of it.
pub(super) fn body_hash(
    algorithm: HashAlgorithm,
    form: Canonicalization,
    length: u64,
    body: &[u8],
) -> Vec<u8> {
    let hash = || algorithm.hash(form.canonical_body(body, length)).as_ref().to_vec();
    if body.len() > LONG_BODY_OCTETS { off_the_reactor(hash) } else { hash() }
}

fn off_the_reactor<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

type Field<'x> = (&'x [u8], &'x [u8]);

/// The fields that `h=` can reach, in order: of each name the last so many. A head of a hundred thousand fields then
/// costs one pass, not one for each name.
pub(super) fn covered<'x>(fields: &[Field<'x>], names: &[String]) -> Vec<Field<'x>> {
    let mut wanted: HashMap<Vec<u8>, usize> = HashMap::new();
    for name in names {
        *wanted.entry(name.as_bytes().to_ascii_lowercase()).or_default() += 1;
    }
    let mut reached: Vec<Field<'x>> = fields
        .iter()
        .rev()
        .filter(|(name, _)| match wanted.get_mut(&name.to_ascii_lowercase()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
        .copied()
        .collect();
    reached.reverse();
    reached
}
