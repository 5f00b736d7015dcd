//! Who in old mail should be known: whom the user wrote to or answered, and whose letters he keeps.
//!
//! Messages go in one by one, in any order; [`Import::finish`] gives the entries. Letters in Inbox, junk, trash and drafts
//! make nobody known by lying there, and neither do lists, newsletters and programs: those are named, for the
//! user to decide. What is kept in memory is one small record a letter, [`LETTERS_MAX`] at the most, and each sender once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{recipient_of, trusts};
use crate::{
    address::Address,
    config::Config,
    identity::results::{self, Told},
    ledger::{
        book::{How, NewEntry, Sender},
        message_id_hash,
    },
    mailbox::{Purpose, purpose},
    message::{
        Message,
        addresses::addresses,
        kind::{Kind, is_robot, kind, kind_of_message},
        list::mailto_addresses,
    },
};

/// Letters remembered by Message-ID, so that an answer to them can be told; of more, the later are not. About 100 octets each.
pub const LETTERS_MAX: usize = 2_000_000;
/// Recipients of one letter the user sent that become known by it; who writes to more at once writes to a crowd.
pub const SENT_RECIPIENTS_MAX: usize = 10;
/// Message-IDs read from one In-Reply-To field.
const ANSWERED_MAX: usize = 10;

/// Reads old mail and remembers who should be known to whom.
pub struct Import<'a> {
    config: &'a Config,
    /// Whose mail it is, where the letters need not say it.
    recipient: Option<Address>,
    known: BTreeSet<(Address, Address)>,
    lists: BTreeMap<(Address, Sender), u64>,
    /// Addresses that lists take letters at: nobody's own.
    list_addresses: HashSet<Address>,
    /// Letters that came, by Message-ID.
    came: HashMap<[u8; 16], (Address, Address)>,
    /// Letters that were answered, by Message-ID, and by whom.
    answered: HashMap<[u8; 16], Address>,
    /// Messages read.
    pub messages: u64,
}

/// What came of it.
pub struct Found {
    /// What to write into the book.
    pub entries: Vec<NewEntry>,
    /// Lists and newsletters with a List-Id: whose, which, and how many letters.
    pub lists: BTreeMap<(Address, Sender), u64>,
}

impl<'a> Import<'a> {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(config: &'a Config, recipient: Option<&Address>) -> Self {
        Self {
            config,
            recipient: recipient.map(Address::without_detail),
            known: BTreeSet::new(),
            lists: BTreeMap::new(),
            list_addresses: HashSet::new(),
            came: HashMap::new(),
            answered: HashMap::new(),
            messages: 0,
        }
    }

    /// Takes an address from the user's address book.
    pub fn address(&mut self, owner: &Address, address: Address) {
        self.add(owner.without_detail(), address);
    }

    /// Takes a message that lies in a folder of this name.
    pub fn message(&mut self, message: &Message<'_>, folder: &str) {
        self.messages += 1;
        for address in mailto_addresses(message.values("List-Post")) {
            self.list_addresses.insert(address);
        }
        let purpose = purpose(folder);
        if matches!(purpose, Purpose::Junk | Purpose::Drafts) {
            return;
        }
        match self.writer(message, purpose) {
            Some(owner) => self.sent(message, &owner),
            None if purpose != Purpose::Sent => self.came(message, purpose, folder),
            None => {}
        }
    }

    /// Who of ours wrote this letter, if one of ours did. In a folder of sent mail whoever stands there; elsewhere
    /// only who certainly did: a stranger can write any From.
    fn writer(&self, message: &Message<'_>, purpose: Purpose) -> Option<Address> {
        let author = message.author()?;
        let own = match &self.recipient {
            Some(recipient) => author.without_detail() == *recipient,
            None => self.config.gate.guards(author.domain()),
        };
        if purpose == Purpose::Sent {
            let owner = self.recipient.clone().or_else(|| own.then(|| author.without_detail()));
            return owner;
        }
        // What came by SMTP has a Received field; a copy of what was sent has none.
        let certain = || {
            message.values("Received").next().is_none() && message.values("Return-Path").next().is_none()
                || matches!(self.told(message, &author), Told::Aligned { .. })
        };
        (own && certain()).then(|| author.without_detail())
    }

    fn told(&self, message: &Message<'_>, author: &Address) -> Told {
        let fields =
            results::of_trusted(message.values(results::FIELD), |server| trusts(self.config, server));
        results::judge(&fields, author.domain())
    }

    fn sent(&mut self, message: &Message<'_>, owner: &Address) {
        if !kind(|name| message.values(name)).means_recipients() {
            return;
        }
        for id in message.values("In-Reply-To").flat_map(message_ids).take(ANSWERED_MAX) {
            match self.came.get(&id) {
                Some((reader, author)) if reader == owner => {
                    let author = author.clone();
                    self.add(owner.clone(), author);
                }
                _ if self.answered.len() < LETTERS_MAX => {
                    self.answered.insert(id, owner.clone());
                }
                _ => {}
            }
        }
        let to: Vec<Address> = ["To", "Cc"]
            .into_iter()
            .flat_map(|name| message.values(name))
            .flat_map(addresses)
            .take(SENT_RECIPIENTS_MAX + 1)
            .collect();
        if to.len() <= SENT_RECIPIENTS_MAX {
            to.into_iter().for_each(|address| self.add(owner.clone(), address));
        }
    }

    fn came(&mut self, message: &Message<'_>, purpose: Purpose, folder: &str) {
        let Some(owner) = self.recipient.clone().or_else(|| recipient_of(message, self.config)) else {
            return;
        };
        let owner = owner.without_detail();
        let Some(author) = message.author() else { return };
        match kind_of_message(message) {
            Kind::List(list) => {
                *self.lists.entry((owner, list)).or_default() += 1;
                return;
            }
            kind if !kind.means_recipients() => return,
            _ => {}
        }
        // An mbox of the user's own name is what the system delivers to.
        let is_spool = folder.as_bytes() == owner.local();
        if purpose == Purpose::Kept && !is_spool {
            return self.add(owner, author);
        }
        let Some(id) = message.values("Message-ID").next().map(message_id_hash) else { return };
        if self.answered.get(&id) == Some(&owner) {
            self.add(owner, author);
        } else if self.came.len() < LETTERS_MAX {
            self.came.entry(id).or_insert((owner, author));
        }
    }

    fn add(&mut self, owner: Address, sender: Address) {
        if sender.without_detail() != owner && !is_robot(&sender) {
            self.known.insert((owner, sender));
        }
    }

    /// What should stand in the book, in order of recipient and sender.
    #[must_use]
    pub fn finish(self, now: u64) -> Found {
        let lists = &self.list_addresses;
        let persons = self.known.into_iter().filter(|(_, sender)| !lists.contains(sender));
        let entries = persons.map(|(owner, sender)| NewEntry {
            recipient: Some(owner),
            sender: Sender::Address(sender),
            block: false,
            how: How::Imported,
            since: now,
        });
        Found { entries: entries.collect(), lists: self.lists }
    }
}

/// The hashes of the Message-IDs in a field, each between `<` and `>`.
fn message_ids(value: &[u8]) -> impl Iterator<Item = [u8; 16]> + use<'_> {
    value.split(|&b| b == b'<').skip(1).filter_map(|part| {
        let end = part.iter().position(|&b| b == b'>')?;
        part.get(..end).map(message_id_hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::split_message;

    fn config() -> Config {
        let text = "[gate]\nhostname = \"mx.b.example\"\ndomains = [\"b.example\"]\n[ledger]\nurl = \"sqlite:x.db\"\n";
        Config::parse(text, std::path::Path::new("farthing.toml")).unwrap()
    }

    /// Who is known after these letters, each a folder and its fields; as `reader<-sender`.
    fn known(letters: &[(&str, &str)], recipient: Option<&str>) -> Vec<String> {
        let config = config();
        let recipient: Option<Address> = recipient.map(|r| r.parse().unwrap());
        let mut import = Import::new(&config, recipient.as_ref());
        for (folder, fields) in letters {
            import.message(&split_message(format!("{fields}\n\nHello\n").as_bytes()), folder);
        }
        let entries = import.finish(1).entries;
        assert!(entries.iter().all(|e| e.how == How::Imported && !e.block && e.since == 1));
        let who = |e: &NewEntry| format!("{}<-{}", e.recipient.as_ref().unwrap(), e.sender);
        entries.iter().map(who).collect()
    }

    const CAME: &str =
        "Received: by mx\nDelivered-To: bob@b.example\nFrom: alice@a.example\nMessage-ID: <1@a.example>";
    const SENT: &str = "From: bob@b.example\nTo: carol@c.example, Dan <dan@d.example>";
    const ANSWER: &str = "From: bob@b.example\nTo: list@x.example\nIn-Reply-To: <1@a.example>";

    #[test]
    fn whom_the_user_answered_or_keeps_is_known() {
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
        let table: &[Row<'_>] = &[
            (&[("Inbox", CAME)], &[]),
            (&[("Junk", CAME), ("Trash", CAME), ("Drafts", SENT)], &[]),
            (&[("Family", CAME)], &["bob@b.example<-alice@a.example"]),
            (&[("bob", CAME)], &[]),
            (&[("Sent", SENT)], &["bob@b.example<-carol@c.example", "bob@b.example<-dan@d.example"]),
            (
                &[("Inbox", CAME), ("Sent", ANSWER)],
                &["bob@b.example<-alice@a.example", "bob@b.example<-list@x.example"],
            ),
            (
                &[("Sent", ANSWER), ("Inbox", CAME)],
                &["bob@b.example<-alice@a.example", "bob@b.example<-list@x.example"],
            ),
            // A list's address is nobody's.
            (
                &[
                    ("Sent", ANSWER),
                    (
                        "Lists",
                        "From: x@x.example\nTo: bob@b.example\nList-Id: <l.x.example>\nList-Post: <mailto:List@x.example?x>",
                    ),
                ],
                &[],
            ),
            // Of an answer to somebody else's letter nothing follows.
            (
                &[
                    ("Inbox", CAME),
                    ("Sent", "From: eve@b.example\nTo: eve@b.example\nIn-Reply-To: <1@a.example>"),
                ],
                &[],
            ),
            (&[("Inbox", SENT)], &["bob@b.example<-carol@c.example", "bob@b.example<-dan@d.example"]),
        ];
        for (letters, want) in table {
            assert_eq!(known(letters, None), *want, "{letters:?}");
        }
    }

    #[test]
    fn a_stranger_cannot_write_in_the_users_name() {
        let forged = format!("Received: by mx\n{SENT}");
        assert!(known(&[("Inbox", &forged), ("Junk", SENT)], None).is_empty());
        let proven = format!(
            "Received: by mx\nAuthentication-Results: mx.b.example; dmarc=pass header.from=b.example\n{SENT}"
        );
        assert_eq!(known(&[("Inbox", &proven)], None).len(), 2);
        let claimed = format!(
            "Received: by mx\nAuthentication-Results: mx.evil.example; dmarc=pass header.from=b.example\n{SENT}"
        );
        assert!(known(&[("Inbox", &claimed)], None).is_empty());
    }

    #[test]
    fn lists_and_programs_are_nobody() {
        for field in [
            "List-Id: <l.a.example>",
            "Auto-Submitted: auto-generated",
            "Precedence: bulk",
            "List-Unsubscribe: <mailto:x@y>",
        ] {
            assert!(known(&[("Family", &format!("{CAME}\n{field}"))], None).is_empty(), "{field}");
        }
        assert!(known(&[("Family", &CAME.replace("alice@", "no-reply@"))], None).is_empty());
        let vacation = format!("{SENT}\nAuto-Submitted: auto-replied");
        assert!(known(&[("Sent", &vacation)], None).is_empty());
        let crowd = (0..20).map(|i| format!("x{i}@c.example")).collect::<Vec<_>>().join(", ");
        assert!(known(&[("Sent", &format!("From: bob@b.example\nTo: {crowd}"))], None).is_empty());
    }

    #[test]
    fn with_a_recipient_named_the_mail_is_his() {
        let plain = "From: alice@a.example\nMessage-ID: <1@a.example>";
        assert_eq!(known(&[("Family", plain)], Some("bob+x@b.example")), ["bob@b.example<-alice@a.example"]);
        assert!(known(&[("Family", plain)], None).is_empty(), "nobody says whose it is");
        let other = "From: bob@home.example\nTo: carol@c.example";
        assert_eq!(known(&[("Sent", other)], Some("bob@b.example")), ["bob@b.example<-carol@c.example"]);
        assert!(known(&[("Sent", other)], None).is_empty());
    }
}
