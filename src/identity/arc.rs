//! ARC (RFC 8617): what a server that sent a letter on had found out about its author, sealed.
//!
//! mail-auth does the cryptography, over the whole chain. Here is decided whose word is worth it: that of the last sealer,
//! and of those before it as long as each is allowed by the caller. A finding counts if its set's signature covers From and
//! the whole body, rests on SHA-256, and is of the sealer's own domain; the field with the finding is the one the seal
//! covers. What earlier sealers found, beyond one that is not allowed, is not read.

use mail_auth::{
    AuthenticatedMessage, DkimResult as Verdict, Parameters,
    arc::{Seal, Signature},
    common::crypto::{Algorithm, HashAlgorithm},
};

use super::{
    dkim::{self, Letter, SIGNATURE_OCTETS_MAX, SIGNED_NAMES_MAX},
    published::PublishedKeys,
    results::{self, Results, Told},
};
use crate::{
    address::Domain,
    dns::{Budget, Dns},
};

/// Name of the field with a seal.
pub const SEAL_FIELD: &str = "ARC-Seal";
/// Sets of one letter (RFC 8617 §4.2.1).
pub const SETS_MAX: usize = 50;
/// Sealers one after the other whose findings are read. Each must be allowed: nobody forwards a letter so often.
pub const SEALERS_MAX: usize = 5;

/// What a sealer found, in a chain that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its results.
    pub results: Results,
    /// Whether List-Id is as this sealer saw it.
    pub covers_list: bool,
}

/// What became of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// It holds; the findings of the last sealers, the last first.
    Good(Vec<Finding>),
    /// It does not; why.
    Bad(String),
    /// A key cannot be fetched now; why.
    Trouble(String),
}

/// The domains that sealed a letter, the last first, at most [`SEALERS_MAX`]; none if the chain cannot hold as its seals
/// are numbered. No signature is checked here.
#[must_use]
pub fn sealers<'a>(seals: impl Iterator<Item = &'a [u8]>) -> Vec<Domain> {
    let mut found: Vec<Seal> = vec![];
    for value in seals {
        match Seal::parse(value) {
            Ok(seal) if value.len() <= SIGNATURE_OCTETS_MAX && found.len() < SETS_MAX => found.push(seal),
            _ => return vec![],
        }
    }
    found.sort_unstable_by_key(|seal| seal.i);
    if !(1_u32..).zip(&found).all(|(number, seal)| seal.i == number) {
        return vec![];
    }
    found.iter().rev().take(SEALERS_MAX).map_while(sealing_domain).collect()
}

/// The domain of a seal that would prove something if it held.
fn sealing_domain(seal: &Seal) -> Option<Domain> {
    let sound = seal.a != Algorithm::RsaSha1 && dkim::is_selector(&seal.s);
    if sound { Domain::from_any(&seal.d).ok() } else { None }
}

/// Whether the author's domain stands behind a letter, by what sealers found. Their trouble of then is no reason to wait
/// now. `left_open`: a signature of the author's [leaves part of the body open](Letter::is_left_open_by), so that none
/// of his counts, whoever verified it.
#[must_use]
pub fn speak_for_author(findings: &[Finding], author: &Domain, left_open: bool) -> bool {
    findings.iter().any(|finding| {
        let told = if left_open {
            results::judge(&[finding.results.without_signatures()], author)
        } else {
            results::judge(std::slice::from_ref(&finding.results), author)
        };
        matches!(told, Told::Aligned { .. })
    })
}

/// Whether a list stands behind a letter, by what sealers found whose signature covers its List-Id.
#[must_use]
pub fn speak_for_list(findings: &[Finding], list: &Domain) -> bool {
    findings.iter().any(|f| f.covers_list && results::list_passes(std::slice::from_ref(&f.results), list))
}

/// Checks the chain, and gives the findings of its last `count` sealers.
pub(super) async fn check(dns: &Dns, letter: &Letter<'_>, count: usize, budget: &mut Budget) -> Chain {
    let Some(mut message) = AuthenticatedMessage::parse(letter.head()) else {
        return Chain::Bad("no message".to_owned());
    };
    if !dkim::has_one_from(&message) {
        return Chain::Bad("not exactly one From field".to_owned());
    }
    let numbers = [message.as_headers.len(), message.ams_headers.len(), message.aar_headers.len()];
    if message.has_arc_errors || !(1..=SETS_MAX).contains(&numbers[0]) || numbers != [numbers[0]; 3] {
        return Chain::Bad("the chain cannot be read".to_owned());
    }
    message.dkim_headers.clear();
    // The hashes made while reading are those of no body at all.
    message.body_hashes.clear();
    let findings = match findings(&mut message, count) {
        Ok(findings) => findings,
        Err(why) => return Chain::Bad(why),
    };
    let Some(last) = message.ams_headers.last().map(|field| field.header.clone()) else {
        return Chain::Bad("no signature".to_owned());
    };
    let algorithm = HashAlgorithm::from(last.a);
    let hash = dkim::body_hash(algorithm, last.cb, last.l, letter.body());
    message.body_hashes.push((last.cb, algorithm, last.l, hash));
    message.headers = dkim::covered(&message.headers, &last.h);
    let keys: Vec<(String, String)> = keys(&message, findings.len());
    let question = async {
        let authenticator = dns.authenticator();
        let mut published = PublishedKeys::of(all_keys(&message));
        let verdict = loop {
            let verdict = {
                let parameters = Parameters::new(&message).with_txt_cache(&published);
                authenticator.verify_arc(parameters).await.result().clone()
            };
            match published.fetch_lacking(dns).await {
                Ok(true) => {}
                Ok(false) => break verdict,
                Err(trouble) => return Chain::Trouble(trouble.to_string()),
            }
        };
        match verdict {
            Verdict::Pass => {}
            Verdict::TempError(e) => return Chain::Trouble(e.to_string()),
            Verdict::Neutral(e) | Verdict::Fail(e) | Verdict::PermError(e) => {
                return Chain::Bad(e.to_string());
            }
            Verdict::None => return Chain::Bad("no chain".to_owned()),
        }
        for (selector, domain) in keys {
            match dkim::key_is_for_mail(dns, &selector, &domain).await {
                Ok(true) => {}
                Ok(false) => return Chain::Bad("a key is not for mail or not for SHA-256".to_owned()),
                Err(trouble) => return Chain::Trouble(trouble.to_string()),
            }
        }
        Chain::Good(findings)
    };
    let answer = budget.spend(question).await;
    answer.unwrap_or_else(|| Chain::Trouble("no time left to fetch the keys of its seals".to_owned()))
}

/// Reads what the last `count` sealers found, the last first, as far as their sets are worth it; the keys of these sets
/// will be asked for under the very names that the caller allowed. An error if not even the last one's counts.
fn findings(message: &mut AuthenticatedMessage<'_>, count: usize) -> Result<Vec<Finding>, String> {
    let sets = message.as_headers.iter_mut().zip(&mut message.ams_headers).zip(&message.aar_headers);
    let mut findings = vec![];
    let mut covers_list = true;
    for ((seal, signature), result) in sets.rev().take(count.min(SEALERS_MAX)) {
        let domain = sealing_domain(&seal.header);
        let domain = domain.filter(|domain| signs_as(&signature.header, signature.value, domain));
        let Some(domain) = domain else { break };
        let Some((number, results)) = parse_results(result.value) else { break };
        if number != seal.header.i {
            break;
        }
        seal.header.d = domain.to_string();
        signature.header.d = domain.to_string();
        covers_list &= signature.header.h.iter().any(|name| name.eq_ignore_ascii_case("list-id"));
        findings.push(Finding { results, covers_list });
    }
    if findings.is_empty() { Err("the last seal proves nothing".to_owned()) } else { Ok(findings) }
}

/// Whether a set's signature is this domain's and covers what must not be changed behind it.
fn signs_as(signature: &Signature, value: &[u8], domain: &Domain) -> bool {
    value.len() <= SIGNATURE_OCTETS_MAX
        && signature.a != Algorithm::RsaSha1
        && signature.h.iter().any(|name| name.eq_ignore_ascii_case("from"))
        && signature.h.len() <= SIGNED_NAMES_MAX
        && dkim::is_selector(&signature.s)
        && !dkim::has_length_tag(value)
        && Domain::from_any(&signature.d).is_ok_and(|signer| signer == *domain)
}

/// Selector and domain of every key of a chain: of all seals, and of the signatures.
fn all_keys<'a>(message: &'a AuthenticatedMessage<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let seals = message.as_headers.iter().map(|f| (f.header.s.as_str(), f.header.d.as_str()));
    seals.chain(message.ams_headers.iter().map(|f| (f.header.s.as_str(), f.header.d.as_str())))
}

/// Selector and domain of the keys of the last `count` sets, each once.
fn keys(message: &AuthenticatedMessage<'_>, count: usize) -> Vec<(String, String)> {
    let seals = message.as_headers.iter().rev().take(count).map(|f| (f.header.s.clone(), f.header.d.clone()));
    let signatures =
        message.ams_headers.iter().rev().take(count).map(|f| (f.header.s.clone(), f.header.d.clone()));
    let mut keys: Vec<_> = seals.chain(signatures).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Reads ARC-Authentication-Results: `i=1; ` and then as Authentication-Results. White space may stand anywhere, comments
/// may not stand before the second `;`.
fn parse_results(value: &[u8]) -> Option<(u32, Results)> {
    let semicolon = value.iter().position(|&b| b == b';')?;
    let (instance, rest) = value.split_at(semicolon);
    let instance = std::str::from_utf8(instance).ok()?;
    let (name, number) = instance.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("i") {
        return None;
    }
    Some((number.trim().parse().ok()?, results::parse(rest.get(1..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_a_set() {
        for (value, read) in [
            (" i=1; mx.old.example; spf=pass smtp.mailfrom=a.example", Some((1, "mx.old.example", 1))),
            (
                "i = 12 ;\r\n\tmx.old.example 1;\r\n\tdmarc=pass header.from=a.example; arc=none",
                Some((12, "mx.old.example", 2)),
            ),
            ("i=1; mx.old.example; none", Some((1, "mx.old.example", 0))),
            ("i=1", None),
            ("i=; mx.old.example", None),
            ("1; mx.old.example", None),
            ("mx.old.example; i=1; spf=pass", None),
            ("j=1; mx.old.example", None),
            ("i=1;", None),
            ("i=-1; mx.old.example", None),
            ("", None),
        ] {
            let found = parse_results(value.as_bytes());
            let shape = found.as_ref().map(|(number, r)| (*number, r.server.as_str(), r.results.len()));
            assert_eq!(shape, read, "{value:?}");
        }
    }

    #[test]
    fn who_sealed_last() {
        let seal = |i: &str, d: &str| format!("i={i}; a=rsa-sha256; cv=none; d={d}; s=s1; t=1; b=AAAA");
        let of = |seals: &[String]| -> Vec<String> {
            sealers(seals.iter().map(String::as_bytes)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(of(&[]), [""; 0]);
        assert_eq!(of(&[seal("2", "New.example"), seal("1", "old.example")]), ["new.example", "old.example"]);
        assert_eq!(of(&[seal("1", "old.example"), seal("2", "new.example")]), ["new.example", "old.example"]);
        for broken in [
            vec![seal("2", "new.example")],
            vec![seal("1", "new.example"), seal("1", "old.example")],
            vec![seal("1", "old.example"), seal("3", "new.example")],
            vec![seal("0", "old.example")],
            vec![seal("1", "old.example"), "i=2".to_owned()],
            (1..=51).map(|i| seal(&i.to_string(), "old.example")).collect(),
        ] {
            assert_eq!(of(&broken), [""; 0], "{broken:?}");
        }
        let fifty: Vec<String> = (1..=50).map(|i| seal(&i.to_string(), "old.example")).collect();
        assert_eq!(of(&fifty).len(), SEALERS_MAX);
        let weak = seal("2", "old.example").replace("sha256", "sha1");
        assert_eq!(of(&[seal("1", "old.example"), weak]), [""; 0], "SHA-1 proves nothing");
        let odd = seal("2", "old.example").replace("s=s1", "s=s1\\.x");
        assert_eq!(of(&[seal("1", "old.example"), odd]), [""; 0]);
    }
}
