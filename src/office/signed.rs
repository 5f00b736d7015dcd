//! Signed requests (SPEC.md §10): an account proves itself by a signature over the request, nobody registers.
//!
//! Pure: the bytes that are signed, for both ends, and whether a request's signature holds at a time. The
//! answer to a request sent again is harmless by design of each call, not by anything here.

use crate::{
    address::Domain,
    ledger::AccountKey,
    stamp::{PublicKey, taglist},
};

/// Field with the account's public key.
pub const ACCOUNT: &str = "Postage-Account";
/// Field with the time of the request.
pub const DATE: &str = "Postage-Date";
/// Field with the signature.
pub const SIGNATURE: &str = "Postage-Signature";
/// How far a request's date may be from the office's clock, in seconds, either way (SPEC.md §10).
pub const DATE_WINDOW_S: u64 = 300;
/// Digits of a date; more are no time.
const DATE_DIGITS_MAX: usize = 15;

/// What is signed of a request, but its date and the account.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// As sent, in upper case: `POST`.
    pub method: &'a str,
    /// Path and query as sent, without any prefix of the office's URL: `/v1/stamps`.
    pub target: &'a str,
    /// The office's domain.
    pub office: &'a Domain,
    /// The body as sent; empty when there is none.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The bytes that are signed; `date` is the digits of the field.
    #[must_use]
    pub fn signed_bytes(&self, date: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(b"postage-request-v1\0");
        for line in [self.method, self.target, self.office.as_str(), date] {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(blake3::hash(self.body).as_bytes());
        bytes
    }
}

/// Why a request does not count as its account's: 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// A field is missing, or is there twice.
    #[error("this call is signed; it needs the field {0} exactly once")]
    Field(&'static str),
    /// The account is no public key.
    #[error("{ACCOUNT} is not an Ed25519 public key in base64url without padding")]
    Account,
    /// The date is no time.
    #[error("{DATE} is not a time in Unix seconds")]
    Date,
    /// The date is too far from now.
    #[error(
        "{DATE} is {0} s away from the office's clock, at most {DATE_WINDOW_S} are allowed; set your clock"
    )]
    Window(u64),
    /// The signature does not verify.
    #[error(
        "{SIGNATURE} does not verify: it covers method, path and query, the office's domain, date and body"
    )]
    Signature,
}

/// The account whose request this is, given the three fields' values in the order of their constants.
///
/// # Errors
/// [`SignatureFault`], the first found.
pub fn verify(
    request: &Request<'_>,
    fields: [Option<&str>; 3],
    now: u64,
) -> Result<AccountKey, SignatureFault> {
    let [account, date, signature] = fields;
    let account = account.ok_or(SignatureFault::Field(ACCOUNT))?;
    let date = date.ok_or(SignatureFault::Field(DATE))?;
    let signature = signature.ok_or(SignatureFault::Field(SIGNATURE))?;

    let account: [u8; 32] = taglist::base64(account).ok_or(SignatureFault::Account)?;
    let key = PublicKey::from_bytes(&account).map_err(|_| SignatureFault::Account)?;
    let digits = (1..=DATE_DIGITS_MAX).contains(&date.len()) && date.bytes().all(|b| b.is_ascii_digit());
    let time = date.parse::<u64>().ok().filter(|_| digits).ok_or(SignatureFault::Date)?;
    if time.abs_diff(now) > DATE_WINDOW_S {
        return Err(SignatureFault::Window(time.abs_diff(now)));
    }
    let signature: [u8; 64] = taglist::base64(signature).ok_or(SignatureFault::Signature)?;
    if !key.verify(&request.signed_bytes(date), &signature) {
        return Err(SignatureFault::Signature);
    }
    Ok(AccountKey(account))
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;

    use super::*;
    use crate::stamp::SecretKey;

    const NOW: u64 = 1_795_262_400;

    fn office() -> Domain {
        "post.example".parse().unwrap()
    }

    /// The fields of this request, signed at that time by the key of that seed.
    fn fields(request: &Request<'_>, date: &str, seed: u8) -> [String; 3] {
        let key = SecretKey::from_seed(&[seed; 32]);
        let account = BASE64URL_NOPAD.encode(&key.public().to_bytes());
        [account, date.into(), BASE64URL_NOPAD.encode(&key.sign(&request.signed_bytes(date)))]
    }

    fn given(fields: &[String; 3]) -> [Option<&str>; 3] {
        [Some(&fields[0]), Some(&fields[1]), Some(&fields[2])]
    }

    #[test]
    fn the_signed_bytes_are_those_of_the_specification() {
        let office = office();
        let request = Request { method: "GET", target: "/v1/account?x=1", office: &office, body: b"" };
        let mut expected = b"postage-request-v1\0GET\n/v1/account?x=1\npost.example\n1795262400\n".to_vec();
        expected.extend_from_slice(blake3::hash(b"").as_bytes());
        assert_eq!(request.signed_bytes("1795262400"), expected);
    }

    #[test]
    fn a_signature_holds_for_its_own_request_alone() {
        let office = office();
        let other: Domain = "other.example".parse().unwrap();
        let request = Request { method: "POST", target: "/v1/stamps", office: &office, body: b"{}" };
        let date = NOW.to_string();
        let signed = fields(&request, &date, 1);
        assert_eq!(
            verify(&request, given(&signed), NOW).unwrap().to_string(),
            signed[0],
            "the account is the key"
        );
        let changed = [
            Request { method: "PUT", ..request },
            Request { target: "/v1/stamps?", ..request },
            Request { target: "/prefix/v1/stamps", ..request },
            Request { office: &other, ..request },
            Request { body: b"{} ", ..request },
        ];
        for request in changed {
            assert_eq!(verify(&request, given(&signed), NOW), Err(SignatureFault::Signature), "{request:?}");
        }
        let someone = fields(&request, &date, 2);
        let mixed = [Some(&*someone[0]), Some(&*signed[1]), Some(&*signed[2])];
        assert_eq!(verify(&request, mixed, NOW), Err(SignatureFault::Signature), "another account");
        let later = (NOW + 1).to_string();
        let moved = [Some(&*signed[0]), Some(&*later), Some(&*signed[2])];
        assert_eq!(verify(&request, moved, NOW), Err(SignatureFault::Signature), "another date");
    }

    #[test]
    fn dates_within_five_minutes_either_way() {
        let office = office();
        let request = Request { method: "GET", target: "/v1/account", office: &office, body: b"" };
        let table = [
            (NOW.to_string(), None),
            ((NOW - 300).to_string(), None),
            ((NOW + 300).to_string(), None),
            ((NOW - 301).to_string(), Some(SignatureFault::Window(301))),
            ((NOW + 301).to_string(), Some(SignatureFault::Window(301))),
            (format!("0{NOW}"), None),
            (format!("+{NOW}"), Some(SignatureFault::Date)),
            (format!(" {NOW}"), Some(SignatureFault::Date)),
            (format!("{NOW}.0"), Some(SignatureFault::Date)),
            ("9".repeat(16), Some(SignatureFault::Date)),
            (String::new(), Some(SignatureFault::Date)),
        ];
        for (date, fault) in table {
            let signed = fields(&request, &date, 1);
            assert_eq!(verify(&request, given(&signed), NOW).err(), fault, "{date}");
        }
    }

    #[test]
    fn fields_that_are_missing_or_out_of_form() {
        let office = office();
        let request = Request { method: "GET", target: "/v1/account", office: &office, body: b"" };
        let good = fields(&request, &NOW.to_string(), 1);
        for (at, name) in [ACCOUNT, DATE, SIGNATURE].into_iter().enumerate() {
            let mut some = given(&good);
            some[at] = None;
            assert_eq!(verify(&request, some, NOW), Err(SignatureFault::Field(name)));
        }
        let small_order = BASE64URL_NOPAD.encode(&[0; 32]);
        for account in ["", "AA", &format!("{}=", good[0]), &small_order] {
            let some = [Some(account), Some(&*good[1]), Some(&*good[2])];
            assert_eq!(verify(&request, some, NOW), Err(SignatureFault::Account), "{account}");
        }
        let short = [Some(&*good[0]), Some(&*good[1]), Some("AAAA")];
        assert_eq!(verify(&request, short, NOW), Err(SignatureFault::Signature));
    }
}
