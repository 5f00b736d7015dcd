//! `POST /p/ADDRESS` as a form: pays for one letter from vouchers, where no script runs.
//!
//! There is no place to keep a key then, so the first code is one: it opens an account of its own
//! ([`Signer::of_voucher`]), onto which all the vouchers go, and what is left there the same code pays with the next time,
//! here or wherever codes are taken ([`vouchers::put`]). The office makes the stamp that the page's script would have made
//! and keeps it as a pass. What always holds: the form sent twice is charged once, for it names its stamp by `once`; of
//! vouchers that together are too little none is touched; codes are guessed no faster here than at `/v1/vouchers`;
//! nothing is asked about who reads mail. No cookie or other standing stands behind a form, so one that somebody else's
//! page sends gains nothing: it carries the codes that pay.

use std::net::IpAddr;

use askama::Template;
use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use data_encoding::BASE64URL_NOPAD;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::{
    answer, assets_path, language_of, not_found, pass, pay_page, recipient, trouble,
    words::{Filled, Language},
};
use crate::{
    address::Address,
    clock::{unix_now, utc_date},
    ledger::{AccountKey, LedgerError, StampId},
    money::Micros,
    office::{
        SharedOffice, Site,
        calls::told_price,
        limits::client_of,
        order::{Wanted, fill},
        problem::{Kind, Problem},
        request::read_body,
        vouchers,
    },
    stamp::{Stamp, Terms},
    voucher::{Code, CodeError},
    wallet::Signer,
};

/// What a browser sends of a form.
const MEDIA_TYPE: &[u8] = b"application/x-www-form-urlencoded";
/// Separates the ids of stamps paid so from every other use of BLAKE3.
const ID_CONTEXT: &str = "farthing page 1 id of a stamp paid by form";
/// Characters of `once`; the page's own has 22.
const ONCE_LEN_MAX: usize = 64;
/// Random octets of `once`.
const ONCE_OCTETS: usize = 16;
/// Vouchers of one form: each counts as a guess, of which so many may come at once.
const VOUCHERS_MAX: usize = 10;
/// Characters of a code that name it to its owner: a quarter.
const BEGINNING: usize = 5;

/// Whether a form is sent.
pub fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    kind.get(..MEDIA_TYPE.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(MEDIA_TYPE))
}

/// The form's fields, as they stand in it.
#[derive(Default)]
pub struct Typed {
    /// The address the letter is from.
    pub from: String,
    /// The codes, as many fields as the form shows.
    pub vouchers: Vec<Zeroizing<String>>,
    /// Which of them is at fault.
    pub bad_voucher: Option<usize>,
    /// Together they are too little.
    pub is_short: bool,
    /// What to pay; empty for the price.
    pub amount: String,
    /// Names the form: what it pays is paid once.
    pub once: String,
    /// What was wrong with it, in the reader's words; empty when it is new.
    pub fault: String,
}

impl Typed {
    /// An empty form.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut random = [0; ONCE_OCTETS];
        getrandom::fill(&mut random)?;
        let vouchers = vec![Zeroizing::default()];
        Ok(Self { once: BASE64URL_NOPAD.encode(&random), vouchers, ..Self::default() })
    }

    /// Reads what a browser sent. Unknown fields are passed over; of a field that comes twice the last counts, but for the
    /// vouchers, of which the empty ones do not.
    fn of(body: &[u8]) -> Self {
        let mut typed = Self::default();
        for pair in body.split(|b| *b == b'&') {
            let mut parts = pair.splitn(2, |b| *b == b'=');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let spaced: Zeroizing<Vec<u8>> =
                Zeroizing::new(value.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect());
            let octets: Zeroizing<Vec<u8>> = Zeroizing::new(percent_decode(&spaced).collect());
            let text = String::from_utf8_lossy(&octets);
            match name {
                b"from" => typed.from = text.trim().into(),
                b"voucher" if !text.trim().is_empty() && typed.vouchers.len() < VOUCHERS_MAX => {
                    typed.vouchers.push(Zeroizing::new(text.trim().into()));
                }
                b"amount" => typed.amount = text.trim().into(),
                b"once" => typed.once = text.into(),
                _ => {}
            }
        }
        typed
    }

    /// As the form shows it again: with what was wrong, and a field more where more is needed.
    fn with(mut self, fault: Fault) -> Self {
        let wants_more = self.vouchers.is_empty() || fault.is_short;
        if wants_more && self.vouchers.len() < VOUCHERS_MAX {
            self.vouchers.push(Zeroizing::default());
        }
        Self { fault: fault.words, bad_voucher: fault.voucher, is_short: fault.is_short, ..self }
    }

    /// The fields for codes.
    pub fn codes(&self) -> impl Iterator<Item = CodeField<'_>> {
        let last = self.vouchers.len().saturating_sub(1);
        self.vouchers.iter().enumerate().map(move |(index, text)| CodeField {
            text,
            is_bad: self.bad_voucher == Some(index),
            is_next: self.is_short && index == last,
        })
    }
}

/// A field for a code.
pub struct CodeField<'a> {
    /// What stands in it.
    pub text: &'a str,
    /// Whether that is at fault.
    pub is_bad: bool,
    /// Whether it is the one to go on with: the new one behind vouchers that are too little.
    pub is_next: bool,
}

/// Answers the call.
///
/// # Errors
/// 403 (no pass is given here), 413, 503 (the price cannot be told). Whatever else is wrong stands on the page that the
/// sender gets back, with its status.
pub async fn pay(office: &SharedOffice, request: Request) -> Result<Response, Problem> {
    let (site, client) = (office.site(), client_of(&request));
    let language = language_of(&request)?;
    let Some(to) = recipient(&site, request.uri()) else {
        return not_found(language, request.headers());
    };
    let body = Zeroizing::new(read_body(request.into_body()).await?);
    pass::gives_passes(&site)?;
    let price = told_price(office, &site, &to).await?;
    let typed = Typed::of(&body);
    let paid = match Wish::of(&typed, price, language) {
        Ok(wish) => let_in(office, client, &wish, &to).await.map_err(|refused| refused.fault(language)),
        Err(fault) => Err(fault),
    };
    match paid {
        Ok(paid) => answer(StatusCode::OK, language, &paid.page(language, &to, &site)),
        Err(fault) => {
            let (status, retry_after_s) = (fault.status, fault.retry_after_s);
            let mut page = pay_page(&site, language, &to, price, status, typed.with(fault))?;
            if let Some(seconds) = retry_after_s {
                page.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            Ok(page)
        }
    }
}

/// What went wrong, in the reader's words.
struct Fault {
    words: String,
    /// With which of the vouchers.
    voucher: Option<usize>,
    is_short: bool,
    status: StatusCode,
    retry_after_s: Option<u64>,
}

impl Fault {
    fn bad(words: String) -> Self {
        Self { words, voucher: None, is_short: false, status: StatusCode::BAD_REQUEST, retry_after_s: None }
    }
}

/// Why the office does not let the letter in.
struct Refused {
    problem: Problem,
    /// Because of which of the vouchers.
    voucher: Option<usize>,
}

impl<E: Into<Problem>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self { problem: error.into(), voucher: None }
    }
}

impl Refused {
    fn fault(self, language: &Language) -> Fault {
        let Self { problem, voucher } = self;
        Fault {
            words: language.problem(&problem),
            voucher,
            is_short: problem.short.is_some(),
            status: problem.status,
            retry_after_s: problem.retry_after_s,
        }
    }
}

/// What the form asks for, well-formed.
struct Wish {
    from: Address,
    /// The first, whose account pays.
    code: Code,
    /// Those put to it, none twice, each with its place in the form.
    more: Vec<(usize, Code)>,
    value: Micros,
    once: String,
}

impl Wish {
    fn of(typed: &Typed, price: Micros, language: &Language) -> Result<Self, Fault> {
        let bad = |key: &str, blanks: &[(&str, &str)]| Fault::bad(language.script_text(key, blanks));
        let from = typed.from.parse().map_err(|_| bad("bad_from", &[]))?;
        let value = match typed.amount.as_str() {
            "" => Some(price),
            amount => amount.parse().ok().filter(|amount| *amount >= price),
        };
        let value = value.ok_or_else(|| bad("bad_amount", &[("price", &price.to_string())]))?;
        let refused = |problem: Problem| Fault::bad(language.problem(&problem));
        let read = |(index, text): (usize, &Zeroizing<String>)| {
            let mistyped = |e| Fault { voucher: Some(index), ..refused(vouchers::mistyped(e)) };
            text.parse::<Code>().map_err(mistyped)
        };
        let codes = typed.vouchers.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let Some((code, rest)) = codes.split_first() else {
            let nothing = refused(vouchers::mistyped(CodeError::Length(0)));
            return Err(Fault { voucher: Some(0), ..nothing });
        };
        let mut more: Vec<(usize, Code)> = vec![];
        for (index, other) in (1..).zip(rest) {
            if other != code && more.iter().all(|(_, known)| known != other) {
                more.push((index, other.clone()));
            }
        }
        if !(1..=ONCE_LEN_MAX).contains(&typed.once.len()) {
            let problem = Problem::bad("the form is not whole; load the page again");
            return Err(refused(problem.of(Kind::FormBroken)));
        }
        Ok(Self { from, code: code.clone(), more, value, once: typed.once.clone() })
    }

    /// All codes, with their places in the form.
    fn codes(&self) -> impl Iterator<Item = (usize, &Code)> {
        [(0, &self.code)].into_iter().chain(self.more.iter().map(|(index, code)| (*index, code)))
    }

    /// How the first code begins: enough to tell it from the others, too little to be of use to anybody else.
    fn beginning(&self) -> String {
        self.code.to_text().chars().take(BEGINNING).collect()
    }

    /// The stamp's name. Nobody can foretell it who has not the code; another letter or amount is another stamp.
    fn id(&self, to: &Address) -> StampId {
        let code = self.code.to_text();
        let (to, from, value) = (to.to_bytes(), self.from.to_bytes(), self.value.get().to_be_bytes());
        let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
        for part in [code.as_bytes(), self.once.as_bytes(), &to, &from, &value] {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        id
    }
}

/// Vouchers to account, account to stamp, stamp to pass: each step done again changes nothing.
async fn let_in(
    office: &SharedOffice,
    client: Option<IpAddr>,
    wish: &Wish,
    to: &Address,
) -> Result<Paid, Refused> {
    let (site, now) = (office.site(), unix_now());
    let signer = Signer::of_voucher(&wish.code);
    let account = vouchers::own_account(&wish.code);
    office.counters().account(account, 1)?;
    // What cannot be sold leaves the vouchers as they are.
    site.takes_value(wish.value)?;
    let (id, audience) = (wish.id(to), to.domain().clone());
    let holder = signer.holder(&site.domain, &id);
    let k = holder.public().to_bytes();
    let wanted = Wanted::one(account, audience.clone(), wish.value, id, k);
    let sold = match wanted.sold_before(office.ledger()).await? {
        Some(before) => before,
        None => {
            pay_in(office, client, wish, account).await?;
            fill(office, site.clone(), wanted).await?
        }
    };
    let terms = Terms {
        office: site.domain.clone(),
        selector: sold.s.parse().map_err(|e| trouble(&e))?,
        id,
        value: wish.value,
        currency: site.currency,
        audience,
        expiry: sold.x,
        holder: k,
    };
    let signature = sold.b.first().ok_or_else(|| trouble(&"an order without its stamp"))?.0;
    let stamp = holder.cancel(Stamp { terms, signature }, to, &wish.from, now).map_err(|e| trouble(&e))?;
    let field = stamp.to_field_value();
    let got = pass::bought(&site, wish.value, &field, to, &wish.from, now)?;
    let until = pass::keep(office, got, to, &wish.from, now).await?;
    let left = office.ledger().balance(account).await?;
    let code = (!wish.more.is_empty()).then(|| wish.beginning());
    Ok(Paid { from: wish.from.clone(), until, field, left, code })
}

/// Puts what the vouchers are worth on the account of the first, if all together it is enough.
async fn pay_in(
    office: &SharedOffice,
    client: Option<IpAddr>,
    wish: &Wish,
    account: AccountKey,
) -> Result<(), Refused> {
    let mut held = Micros::ZERO;
    for (index, code) in wish.codes() {
        office.counters().guess(client, account)?;
        let worth = vouchers::worth(office, code).await?;
        let worth = worth.ok_or_else(|| Refused { problem: vouchers::worthless(), voucher: Some(index) })?;
        held = held.checked_add(worth).ok_or(LedgerError::Overflow)?;
    }
    if held < wish.value {
        return Err(Problem::short(held, wish.value).into());
    }
    for (_, code) in wish.codes() {
        vouchers::open(office, account, code).await?;
    }
    Ok(())
}

/// A letter that was paid for.
struct Paid {
    from: Address,
    until: u64,
    /// The value of the field `Postage-Stamp`.
    field: String,
    /// What is left on the account of the first code.
    left: Micros,
    /// How that code begins, where there were others.
    code: Option<String>,
}

impl Paid {
    fn page(self, language: &Language, to: &Address, site: &Site) -> LetIn {
        let (from, to, until) = (self.from.to_string(), to.to_string(), utc_date(self.until));
        let blanks = [("from", &*from), ("to", &*to), ("until", &*until)];
        LetIn {
            lang: language.code,
            words: language.filled(&[
                ("to", &to),
                ("left", &self.left.to_string()),
                ("code", self.code.as_deref().unwrap_or_default()),
            ]),
            assets: assets_path(),
            let_in: language.script_text("let_in", &blanks),
            is_something_left: self.left > Micros::ZERO,
            is_gathered: self.code.is_some(),
            field: self.field,
            url: site.url.clone(),
        }
    }
}

#[derive(Template)]
#[template(config = "src/office/page/askama.toml", path = "let_in.html")]
struct LetIn {
    lang: &'static str,
    words: Filled,
    assets: String,
    let_in: String,
    is_something_left: bool,
    /// Whether there were several vouchers.
    is_gathered: bool,
    field: String,
    url: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::page::words;

    fn codes(typed: &Typed) -> Vec<&str> {
        typed.vouchers.iter().map(|code| code.as_str()).collect()
    }

    #[test]
    fn forms_as_browsers_send_them() {
        let typed =
            Typed::of(b"from=+alice%2Bx%40a.example&voucher=WNFZF-D637G&amount=&once=a+b&once=c%&x&=&&y=1");
        assert_eq!((&*typed.from, &*codes(&typed)), ("alice+x@a.example", &["WNFZF-D637G"][..]));
        assert_eq!((&*typed.amount, &*typed.once), ("", "c%"));
        let odd = Typed::of(b"from=%ff%00&voucher");
        assert_eq!((&*odd.from, &*codes(&odd)), ("\u{fffd}\0", &[][..]));
        assert_eq!(*codes(&Typed::of(b"voucher=a&voucher=+&voucher=b")), ["a", "b"]);
        assert_eq!(codes(&Typed::of("voucher=x&".repeat(99).as_bytes())).len(), VOUCHERS_MAX);
    }

    #[test]
    fn a_form_is_told_by_its_media_type() {
        for (kind, form) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-form-urlencoded; charset=utf-8", true),
            ("application/json", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(is_form(&headers), form, "{kind}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }

    #[test]
    fn one_form_is_one_stamp_and_another_letter_another() {
        let english = words::language(None, "").unwrap();
        let (price, bob): (Micros, Address) = ("0.25c".parse().unwrap(), "bob@b.example".parse().unwrap());
        let id = |change: fn(&mut Typed), to: &Address| {
            let code = Zeroizing::new("wnfzf-d637g-jc9hk-jc6fb".into());
            let mut typed = Typed {
                from: "alice@a.example".into(),
                vouchers: vec![code],
                once: "once".into(),
                ..Typed::default()
            };
            change(&mut typed);
            Wish::of(&typed, price, english).ok().unwrap().id(to)
        };
        let first = id(|_| {}, &bob);
        assert_eq!(
            id(|typed| typed.vouchers = vec![Zeroizing::new("WNFZF D637G JC9HK JC6FB".into())], &bob),
            first
        );
        assert_eq!(id(|typed| typed.amount = "0.25c".into(), &bob), first);
        let others = [
            id(|typed| typed.once = "again".into(), &bob),
            id(|typed| typed.from = "alice2@a.example".into(), &bob),
            id(|typed| typed.amount = "0.3c".into(), &bob),
            id(|_| {}, &"carol@b.example".parse().unwrap()),
        ];
        for other in others {
            assert_ne!(other, first);
        }
        let fault = |change: fn(&mut Typed)| {
            let code = Zeroizing::new("wnfzf-d637g-jc9hk-jc6fb".into());
            let mut typed = Typed {
                from: "alice@a.example".into(),
                vouchers: vec![code],
                once: "once".into(),
                ..Typed::default()
            };
            change(&mut typed);
            Wish::of(&typed, price, english).err().unwrap().words
        };
        assert!(fault(|typed| typed.from = "alice".into()).contains("not an address"));
        assert!(fault(|typed| typed.amount = "0.2c".into()).contains("at least 0.25c"));
        assert!(fault(|typed| typed.amount = "lots".into()).contains("at least 0.25c"));
        assert!(fault(|typed| typed.vouchers[0].insert(3, '7')).contains("20 letters and digits"));
        assert!(fault(|typed| typed.once.clear()).contains("load the page again"));
    }
}
