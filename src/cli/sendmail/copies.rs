//! Which copies of a letter go out: one for each recipient domain that asks for postage, one for each of its Bcc
//! recipients (SPEC.md §3), and one, as it is, for everybody else. Pure; nobody who was to get the letter is left out.

use std::collections::BTreeMap;

use mail_parser::MessageParser;

use crate::{
    address::{Address, Domain},
    message::{is_name, split_message, without},
    money::{Currency, Micros},
};

/// Fields that name recipients who may be seen, and those that replace them on a letter that was sent on (RFC 5322 §3.6.6).
const SHOWN: [[&str; 2]; 2] = [["To", "Cc"], ["Resent-To", "Resent-Cc"]];
/// Fields whose recipients nobody else may see.
const HIDDEN: [&str; 2] = ["Bcc", "Resent-Bcc"];

/// A recipient as given, with his address if it is one that a stamp could name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// For the envelope.
    pub text: String,
    /// `None` for what only the mail server understands, such as `root`.
    pub address: Option<Address>,
}

impl Recipient {
    fn of(text: &str) -> Self {
        let text = text.trim().to_owned();
        Self { address: Address::parse(text.as_bytes()).ok(), text }
    }
}

/// A copy of the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Who gets it.
    pub recipients: Vec<Recipient>,
    /// A stamp each, worth at least so much; none on the copy for those who ask for none.
    pub stamps: Vec<(Address, Micros)>,
    /// Values of stamps that the letter bore for them before.
    pub carried: Vec<String>,
}

impl Copy {
    const fn empty() -> Self {
        Self { recipients: vec![], stamps: vec![], carried: vec![] }
    }

    fn add(&mut self, recipient: Recipient, postage: Postage) {
        self.recipients.push(recipient);
        match postage {
            Postage::Asked(address, price) => self.stamps.push((address, price)),
            Postage::Carried(_, value) => self.carried.push(value),
        }
    }
}

/// How a recipient's postage is paid.
enum Postage {
    /// By a stamp of the wallet.
    Asked(Address, Micros),
    /// By one that is on the letter.
    Carried(Address, String),
}

impl Postage {
    const fn address(&self) -> &Address {
        match self {
            Self::Asked(address, _) | Self::Carried(address, _) => address,
        }
    }
}

/// The recipients of a letter: those given, and with `by_fields` those of its fields, each once.
#[must_use]
pub fn recipients(given: &[String], message: &[u8], by_fields: bool) -> Vec<Recipient> {
    let mut all: Vec<Recipient> = given.iter().flat_map(|word| read_word(word)).collect();
    if by_fields {
        let resent = names(message, &["Resent-To", "Resent-Cc", "Resent-Bcc"]);
        let named = if resent.is_empty() { names(message, &["To", "Cc", "Bcc"]) } else { resent };
        all.extend(named);
    }
    let mut once: Vec<Recipient> = vec![];
    for recipient in all {
        let same = |other: &Recipient| match (&other.address, &recipient.address) {
            (Some(a), Some(b)) => a == b,
            _ => other.text == recipient.text,
        };
        if !recipient.text.is_empty() && !once.iter().any(same) {
            once.push(recipient);
        }
    }
    once
}

/// The recipients that the letter shows to all.
#[must_use]
pub fn shown(message: &[u8]) -> Vec<Address> {
    SHOWN.iter().flat_map(|fields| names(message, fields)).filter_map(|recipient| recipient.address).collect()
}

/// What domains ask of strangers; those that ask for nothing are not in it.
pub type Asks = BTreeMap<Domain, (Currency, Micros)>;

/// The copies for these recipients; `carried` gives the stamp for a recipient that is on the letter already.
#[must_use]
pub fn copies(
    recipients: Vec<Recipient>,
    shown: &[Address],
    asks: &Asks,
    carried: impl Fn(&Address) -> Option<String>,
) -> Vec<Copy> {
    let mut free = Copy::empty();
    let mut by_domain: BTreeMap<Domain, Copy> = BTreeMap::new();
    let mut hidden = vec![];
    let postage_of = |address: Address| match carried(&address) {
        Some(value) => Some(Postage::Carried(address, value)),
        None => asks.get(address.domain()).map(|(_, price)| Postage::Asked(address, *price)),
    };
    for recipient in recipients {
        let Some(postage) = recipient.address.clone().and_then(postage_of) else {
            free.recipients.push(recipient);
            continue;
        };
        if shown.contains(postage.address()) {
            let domain = postage.address().domain().clone();
            by_domain.entry(domain).or_insert(Copy::empty()).add(recipient, postage);
        } else {
            let mut own = Copy::empty();
            own.add(recipient, postage);
            hidden.push(own);
        }
    }
    let free = (!free.recipients.is_empty()).then_some(free);
    by_domain.into_values().chain(hidden).chain(free).collect()
}

/// The letter without the fields that name hidden recipients.
#[must_use]
pub fn without_hidden(message: &[u8]) -> Vec<u8> {
    without(message, |name| HIDDEN.iter().any(|hidden| is_name(name, hidden)))
}

/// A word of the command line: an address, or several behind each other.
fn read_word(word: &str) -> Vec<Recipient> {
    let one = Recipient::of(word);
    if one.address.is_some() || !word.contains([',', '<', '(']) {
        vec![one]
    } else {
        read_list(word.as_bytes())
    }
}

fn names(message: &[u8], fields: &[&str]) -> Vec<Recipient> {
    let parts = split_message(message);
    let values = fields.iter().flat_map(|field| parts.values(field)).collect::<Vec<_>>();
    values.into_iter().flat_map(read_list).collect()
}

/// The addresses of a field's value; groups are opened.
fn read_list(value: &[u8]) -> Vec<Recipient> {
    let field = [b"To:", value.trim_ascii_end(), b"\r\n\r\n"].concat();
    let message = MessageParser::new().with_address_headers().parse_headers(&field);
    let Some(list) = message.as_ref().and_then(|message| message.to()) else { return vec![] };
    // A bare word is read as a name.
    list.iter().filter_map(|one| one.address.as_deref().or(one.name.as_deref())).map(Recipient::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(recipients: &[Recipient]) -> Vec<&str> {
        recipients.iter().map(|recipient| recipient.text.as_str()).collect()
    }

    fn given(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    const LETTER: &str = "From: alice@a.example\nTo: Bob <bob@b.example>, \"D, E\" <dave@b.example>\n\
        Cc: friends: carol@c.example;\nBcc: Eve <eve@b.example>,\n frank@f.example\nSubject: x\n\nBcc: no field\n";

    #[test]
    fn recipients_by_words_and_by_fields() {
        assert_eq!(
            texts(&recipients(&given(&["bob@b.example", "root"]), LETTER.as_bytes(), false)),
            ["bob@b.example", "root"]
        );
        assert_eq!(
            texts(&recipients(&given(&["root", "BOB@b.example"]), LETTER.as_bytes(), true)),
            [
                "root",
                "BOB@b.example",
                "dave@b.example",
                "carol@c.example",
                "eve@b.example",
                "frank@f.example"
            ],
            "each once"
        );
        assert_eq!(
            texts(&recipients(&given(&["a@b.example, <c@d.example>"]), b"", false)),
            ["a@b.example", "c@d.example"]
        );
        let odd = "To: root, x@y@z, <bad address@b.example>\n\n";
        let odd = recipients(&[], odd.as_bytes(), true);
        assert!(odd.iter().any(|r| r.text == "root" && r.address.is_none()), "{odd:?}");
        assert_eq!(odd.len(), 3, "nobody is left out, the mail server will judge: {odd:?}");
        let resent = "To: bob@b.example\nResent-To: carol@c.example\nResent-Bcc: eve@e.example\n\n";
        assert_eq!(texts(&recipients(&[], resent.as_bytes(), true)), ["carol@c.example", "eve@e.example"]);
    }

    #[test]
    fn a_copy_for_each_domain_that_asks_and_each_hidden_recipient_there() {
        let price = Micros::new(2_500).unwrap();
        let asks: Asks = [("b.example".parse().unwrap(), ("USD".parse().unwrap(), price))].into();
        let all = recipients(&given(&["root"]), LETTER.as_bytes(), true);
        let copies = copies(all.clone(), &shown(LETTER.as_bytes()), &asks, |_| None);
        let summary: Vec<(Vec<&str>, usize)> =
            copies.iter().map(|copy| (texts(&copy.recipients), copy.stamps.len())).collect();
        assert_eq!(
            summary,
            [
                (vec!["bob@b.example", "dave@b.example"], 2),
                (vec!["eve@b.example"], 1),
                (vec!["root", "carol@c.example", "frank@f.example"], 0),
            ]
        );
        assert_eq!(super::copies(all.clone(), &[], &Asks::new(), |_| None).len(), 1);
        let on_it = |address: &Address| {
            matches!(address.to_string().as_str(), "bob@b.example" | "carol@c.example")
                .then(|| "v=1".to_owned())
        };
        let copies = super::copies(all, &shown(LETTER.as_bytes()), &asks, on_it);
        let summary: Vec<(Vec<&str>, usize, usize)> = copies
            .iter()
            .map(|copy| (texts(&copy.recipients), copy.stamps.len(), copy.carried.len()))
            .collect();
        assert_eq!(
            summary,
            [
                (vec!["bob@b.example", "dave@b.example"], 1, 1),
                (vec!["carol@c.example"], 0, 1),
                (vec!["eve@b.example"], 1, 0),
                (vec!["root", "frank@f.example"], 0, 0),
            ],
            "who has a stamp on the letter needs none, and nobody else gets to see it"
        );
    }

    #[test]
    fn hidden_recipients_stand_in_no_copy() {
        let text = String::from_utf8(without_hidden(LETTER.as_bytes())).unwrap();
        assert!(!text.contains("eve@") && !text.contains("frank@"), "{text}");
        assert!(text.starts_with("From: alice") && text.ends_with("Subject: x\n\nBcc: no field\n"), "{text}");
        for same in ["", "\nBcc: body", "A: 1\r\n\r\nx", "no header at all"] {
            assert_eq!(without_hidden(same.as_bytes()), same.as_bytes());
        }
    }
}
