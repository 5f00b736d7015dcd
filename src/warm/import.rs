//! Who in old mail should be known: whom the user wrote to or answered, and whose letters he keeps.
//!
//! Messages go in one by one, in any order; what follows from each stands in [`Facts`] from then on. Letters in Inbox, junk,
//! trash and drafts make nobody known by lying there, and neither do lists, newsletters and programs: those are
//! named, for the user to decide.

use super::{
    facts::{Count, Facts, FactsError},
    recipient_of, told_by_trusted,
};
use crate::{
    address::Address,
    config::Config,
    identity::results::{self, Told},
    ledger::message_id_hash,
    mailbox::{Purpose, purpose},
    message::{
        Message,
        addresses::addresses,
        kind::{Kind, is_robot, kind, kind_of_message},
        list::mailto_addresses,
    },
};

/// Recipients of one letter the user sent that become known by it; who writes to more at once writes to a crowd.
pub const SENT_RECIPIENTS_MAX: usize = 10;
/// List-Post fields of one letter that are read; honest ones have one.
const LIST_POSTS_MAX: usize = 3;
/// Message-IDs read from the In-Reply-To fields of one letter.
const ANSWERED_MAX: usize = 10;

/// Reads old mail and remembers who should be known to whom.
pub struct Import<'a> {
    config: &'a Config,
    /// Whose mail it is, where the letters need not say it.
    recipient: Option<Address>,
    facts: Facts,
}

impl<'a> Import<'a> {
    /// An import that goes on from these facts.
    #[must_use]
    pub fn new(config: &'a Config, recipient: Option<&Address>, facts: Facts) -> Self {
        Self { config, recipient: recipient.map(Address::without_detail), facts }
    }

    /// What was found out so far.
    pub const fn facts(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Everything was read: what was found out.
    #[must_use]
    pub fn into_facts(self) -> Facts {
        self.facts
    }

    /// Takes an address from the user's address book.
    ///
    /// # Errors
    /// [`FactsError`].
    pub fn address(&mut self, owner: &Address, address: &Address) -> Result<(), FactsError> {
        self.facts.count(Count::Addresses, 1)?;
        self.add(&owner.without_detail(), address)
    }

    /// Takes a message that lies in a folder of this name.
    ///
    /// # Errors
    /// [`FactsError`].
    pub fn message(&mut self, message: &Message<'_>, folder: &str) -> Result<(), FactsError> {
        self.facts.count(Count::Messages, 1)?;
        let purpose = purpose(folder);
        // What nobody wants is not even heard about lists: it could call a friend's address one.
        if matches!(purpose, Purpose::Junk | Purpose::Drafts) {
            return Ok(());
        }
        for address in mailto_addresses(message.values("List-Post").take(LIST_POSTS_MAX)) {
            self.facts.list_address(&address)?;
        }
        match self.writer(message, purpose) {
            Some(owner) => self.sent(message, &owner),
            None if purpose != Purpose::Sent => self.came(message, purpose, folder),
            None => Ok(()),
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
        results::judge(&told_by_trusted(message, self.config), author.domain())
    }

    fn sent(&self, message: &Message<'_>, owner: &Address) -> Result<(), FactsError> {
        if !kind(|name| message.values(name)).means_recipients() {
            return Ok(());
        }
        for id in message.values("In-Reply-To").flat_map(message_ids).take(ANSWERED_MAX) {
            self.facts.answered(&id, owner)?;
        }
        let to: Vec<Address> = ["To", "Cc"]
            .into_iter()
            .flat_map(|name| message.values(name))
            .flat_map(addresses)
            .take(SENT_RECIPIENTS_MAX + 1)
            .collect();
        if to.len() > SENT_RECIPIENTS_MAX {
            return Ok(());
        }
        to.iter().try_for_each(|address| self.add(owner, address))
    }

    fn came(&self, message: &Message<'_>, purpose: Purpose, folder: &str) -> Result<(), FactsError> {
        let Some(owner) = self.recipient.clone().or_else(|| recipient_of(message, self.config)) else {
            return Ok(());
        };
        let owner = owner.without_detail();
        let Some(author) = message.author() else { return Ok(()) };
        match kind_of_message(message) {
            Kind::List(list) => return self.facts.list(&owner, &list),
            kind if !kind.means_recipients() => return Ok(()),
            _ => {}
        }
        // An mbox of the user's own name is what the system delivers to.
        let is_spool = folder.as_bytes() == owner.local();
        if purpose == Purpose::Kept && !is_spool {
            self.add(&owner, &author)?;
        }
        match message.values("Message-ID").next().map(message_id_hash) {
            Some(id) if is_other(&owner, &author) => self.facts.came(&id, &owner, &author),
            _ => Ok(()),
        }
    }

    fn add(&self, owner: &Address, sender: &Address) -> Result<(), FactsError> {
        if is_other(owner, sender) { self.facts.known(owner, sender) } else { Ok(()) }
    }
}

/// Whether it is somebody, and somebody else.
fn is_other(owner: &Address, sender: &Address) -> bool {
    sender.without_detail() != *owner && !is_robot(sender)
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
    use crate::{
        ledger::book::{How, NewEntry},
        message::split_message,
    };

    fn config() -> Config {
        let text = "[gate]\nhostname = \"mx.b.example\"\ndomains = [\"b.example\"]\n[ledger]\nurl = \"sqlite:x.db\"\n";
        Config::parse(text, std::path::Path::new("farthing.toml")).unwrap()
    }

    /// Who is known after these letters, each a folder and its fields; as `reader<-sender`.
    fn known(letters: &[(&str, &str)], recipient: Option<&str>) -> Vec<String> {
        let config = config();
        let recipient: Option<Address> = recipient.map(|r| r.parse().unwrap());
        let mut import = Import::new(&config, recipient.as_ref(), Facts::in_memory().unwrap());
        for (folder, fields) in letters {
            import.message(&split_message(format!("{fields}\n\nHello\n").as_bytes()), folder).unwrap();
        }
        let mut facts = import.into_facts();
        facts.conclude().unwrap();
        let entries = facts.entries(100, 1).unwrap();
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
            (
                &[
                    ("Sent", "From: bob@b.example\nTo: carol@c.example"),
                    ("Junk", "From: x@x.example\nTo: bob@b.example\nList-Post: <mailto:carol@c.example>"),
                ],
                &["bob@b.example<-carol@c.example"],
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
            // Who sent a letter with a Message-ID that he has seen on another's was not answered.
            (
                &[("Inbox", &CAME.replace("alice@a", "mallory@m")), ("Family", CAME), ("Sent", ANSWER)],
                &["bob@b.example<-alice@a.example", "bob@b.example<-list@x.example"],
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
