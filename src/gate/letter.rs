//! A letter as it comes in over the milter, and what the gate keeps of it.
//!
//! Memory is bounded whatever is sent: header fields up to [`HEADER_OCTETS_MAX`], the body only where a DKIM
//! signature must be checked and the daemon's budget has room for it. What is beyond a bound is not kept,
//! and the letter says so.

use std::{collections::HashSet, ops::Range, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    address::Address,
    message::{DigestBuilder, is_name, kind::Kind, parts::PartKinds, thread::Returned},
    policy::{is_role, status},
};

/// Octets of header kept for one letter. Postfix takes 102,400 for one field by default; honest letters have less than 64 KiB in all.
pub const HEADER_OCTETS_MAX: usize = 1024 * 1024;
/// Header fields kept for one letter.
pub const HEADER_FIELDS_MAX: usize = 20_000;
/// Fields taken away from one letter. The MTA looks for each from the top of the letter on: 20,000 keep a Postfix busy for
/// half a minute; honest letters bring one stamp for each recipient.
pub const FORGED_FIELDS_MAX: usize = 1_000;
/// Recipients of our domains in one letter; the MTA's own limit is lower (Postfix: 1,000 a delivery, 2,000 a session).
pub const RECIPIENTS_MAX: usize = 5_000;
/// Octets of a body kept for DKIM; a longer letter is authenticated by SPF or not at all.
pub const BODY_OCTETS_MAX: usize = 64 * 1024 * 1024;
/// Octets of bodies kept by the whole daemon.
pub const BODIES_OCTETS_MAX: usize = 192 * 1024 * 1024;
/// The unit in which room for bodies is given out, in octets.
const BODY_UNIT_OCTETS: usize = 64 * 1024;

/// The room for bodies that all sessions share.
#[derive(Clone)]
pub struct BodyRoom(Arc<Semaphore>);

impl Default for BodyRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_OCTETS_MAX / BODY_UNIT_OCTETS)))
    }
}

/// A recipient of one of our domains.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The envelope's address in its signed form.
    pub address: Address,
    /// postmaster or abuse: never asked for postage.
    pub role: bool,
}

impl Recipient {
    /// The recipient with this address.
    #[must_use]
    pub fn of(address: Address) -> Self {
        let role = is_role(&address);
        Self { address, role }
    }
}

/// Whether what the letter needs to be kept for is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Everything is there.
    All,
    /// The body is longer than anyone's is checked.
    TooLong,
    /// The daemon holds too much mail right now.
    NoRoom,
}

/// The letter in hand.
pub struct Letter {
    /// The envelope sender as it came, without `<>`; empty for the null sender.
    pub mail_from: Vec<u8>,
    /// Recipients of our domains, each once.
    pub recipients: Vec<Recipient>,
    /// It has recipients in domains that are not ours.
    pub goes_elsewhere: bool,
    named: HashSet<Address>,
    /// More recipients of ours than [`RECIPIENTS_MAX`].
    pub too_many_recipients: bool,
    /// The header is over one of its bounds; what stands behind it was not kept.
    pub header_cut: bool,
    /// More fields must go than [`FORGED_FIELDS_MAX`].
    pub too_many_forged: bool,
    /// A Postage-Status of this host stands in it.
    pub passed_here: bool,
    /// Fields that must go, by name and index among the fields of that name, counted from 1.
    pub forged: Vec<(&'static str, u32)>,
    header: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
    own_fields_seen: [u32; OWN_FIELDS.len()],
    body: Option<KeptBody>,
    digest: Option<DigestBuilder>,
    returned: Option<Returned>,
    parts: Option<PartKinds>,
}

/// The fields the gate takes away, each counted for its index.
const OWN_FIELDS: [&str; 4] = [status::STATUS, status::WANTED, status::UNWANTED, status::STAMP];

/// The whole message so far: the header, and the body as it comes.
struct KeptBody {
    octets: Vec<u8>,
    permits: Option<OwnedSemaphorePermit>,
    room: BodyRoom,
    kept: Kept,
    limit_octets: usize,
    /// What is beyond the limit is left out; else nothing is kept then.
    beginning: bool,
}

impl Letter {
    /// A letter from this envelope sender.
    #[must_use]
    pub fn new(mail_from: &[u8]) -> Self {
        Self {
            mail_from: mail_from.to_vec(),
            recipients: vec![],
            goes_elsewhere: false,
            named: HashSet::new(),
            too_many_recipients: false,
            header_cut: false,
            too_many_forged: false,
            passed_here: false,
            forged: vec![],
            header: vec![],
            fields: vec![],
            own_fields_seen: [0; OWN_FIELDS.len()],
            body: None,
            digest: None,
            returned: None,
            parts: None,
        }
    }

    /// Adds a recipient of ours. One who is named again gets no second copy from the MTA, and his stamps are checked once.
    pub fn add_recipient(&mut self, recipient: Recipient) {
        if self.named.contains(&recipient.address) {
            return;
        }
        if self.recipients.len() < RECIPIENTS_MAX {
            self.named.insert(recipient.address.clone());
            self.recipients.push(recipient);
        } else {
            self.too_many_recipients = true;
        }
    }

    /// Takes a header field; `must_go` says whether the field, named as one of ours, has to be taken away.
    pub fn header(&mut self, name: &[u8], value: &[u8], must_go: impl FnOnce(&[u8], &[u8]) -> bool) {
        let own = OWN_FIELDS.iter().zip(&mut self.own_fields_seen).find(|(own, _)| is_name(name, own));
        if let Some((own, seen)) = own {
            *seen = seen.saturating_add(1);
            if must_go(name, value) {
                if self.forged.len() < FORGED_FIELDS_MAX {
                    self.forged.push((own, *seen));
                } else {
                    self.too_many_forged = true;
                }
            }
        }
        if self.header.len() + name.len() + value.len() > HEADER_OCTETS_MAX
            || self.fields.len() >= HEADER_FIELDS_MAX
        {
            self.header_cut = true;
            return;
        }
        let name_start = self.header.len();
        self.header.extend_from_slice(name);
        let name_range = name_start..self.header.len();
        self.header.push(b':');
        let value_start = self.header.len();
        push_with_crlf(&mut self.header, value);
        let value_range = value_start..self.header.len();
        self.header.extend_from_slice(b"\r\n");
        self.fields.push((name_range, value_range));
    }

    /// The values of the fields of this name, first to last.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter_map(move |(n, v)| {
            let found = self.header.get(n.clone())?;
            is_name(found, name).then(|| self.header.get(v.clone()))?
        })
    }

    /// From now on computes the digest, and keeps the body too when `body` gives room for it.
    pub fn expect_body(&mut self, digest: bool, body: Option<&BodyRoom>) {
        if digest {
            let mut builder = DigestBuilder::new();
            for (name, value) in &self.fields {
                if let (Some(name), Some(value)) =
                    (self.header.get(name.clone()), self.header.get(value.clone()))
                {
                    builder.header(name, value);
                }
            }
            self.digest = Some(builder);
        }
        self.body = body.map(|room| self.keep(room, BODY_OCTETS_MAX, false));
    }

    /// From now on keeps the message up to this many octets, for [`Letter::take_message`]; what follows is left out.
    pub fn expect_beginning(&mut self, octets_max: usize, room: &BodyRoom) {
        self.body = Some(self.keep(room, octets_max, true));
    }

    /// From now on computes the digest, and keeps the whole message if it has no more octets than this.
    pub fn expect_copy(&mut self, octets_max: usize, room: &BodyRoom) {
        self.expect_body(true, None);
        self.body = Some(self.keep(room, octets_max, false));
    }

    fn keep(&self, room: &BodyRoom, limit_octets: usize, beginning: bool) -> KeptBody {
        let (room, kept) = (room.clone(), Kept::All);
        let mut body = KeptBody { octets: vec![], permits: None, room, kept, limit_octets, beginning };
        body.push(&self.header);
        body.push(b"\r\n");
        body
    }

    /// From now on looks what the parts of the body are.
    pub fn expect_parts(&mut self) {
        self.parts = Some(PartKinds::default());
    }

    /// What a part of the body says about the whole letter, if they were looked at and one says something.
    pub fn take_kind_of_parts(&mut self) -> Option<Kind> {
        self.parts.take().and_then(PartKinds::finish)
    }

    /// From now on looks for the Message-ID of a letter that this one returns.
    pub fn expect_returned(&mut self) {
        self.returned = Some(Returned::default());
    }

    /// The Message-IDs found in the body, once; none when they were not looked for.
    pub fn take_returned(&mut self) -> Vec<Vec<u8>> {
        self.returned.take().map(Returned::finish).unwrap_or_default()
    }

    /// The values of the fields of this name that stand above the Received field of that number (from 0), first to
    /// last: those that the last servers on the way have written, if they write above what they get.
    pub fn values_above<'a>(&'a self, name: &'a str, received: usize) -> impl Iterator<Item = &'a [u8]> {
        let mut seen = 0;
        let above = self.fields.iter().take_while(move |(n, _)| {
            let is_received = self.header.get(n.clone()).is_some_and(|n| is_name(n, "Received"));
            seen += usize::from(is_received);
            seen <= received
        });
        above.filter_map(move |(n, v)| {
            let found = self.header.get(n.clone())?;
            is_name(found, name).then(|| self.header.get(v.clone()))?
        })
    }

    /// Whether anything is done with the body.
    #[must_use]
    pub fn wants_body(&self) -> bool {
        self.returned.as_ref().is_some_and(Returned::wants_more)
            || self.parts.as_ref().is_some_and(PartKinds::wants_more)
            || self.digest.is_some()
            || self.body.as_ref().is_some_and(KeptBody::wants_more)
    }

    /// Takes the next octets of the body.
    pub fn body(&mut self, chunk: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.body(chunk);
        }
        if let Some(returned) = &mut self.returned {
            returned.push(chunk);
        }
        if let Some(parts) = &mut self.parts {
            parts.push(chunk);
        }
        if let Some(body) = &mut self.body {
            body.push(chunk);
        }
    }

    /// The digest of the letter, once; `None` when it was not asked for.
    pub fn take_digest(&mut self) -> Option<[u8; 32]> {
        self.digest.take().map(DigestBuilder::finish)
    }

    /// The whole message as it was sent, for DKIM; the room it took is given back when it is dropped.
    ///
    /// # Errors
    /// Why it was not kept.
    pub fn take_message(&mut self) -> Result<Message, Kept> {
        let body = self.body.take().ok_or(Kept::TooLong)?;
        if body.kept != Kept::All {
            return Err(body.kept);
        }
        Ok(Message { octets: body.octets, _permits: body.permits })
    }
}

/// A whole message, and the room it takes.
pub struct Message {
    /// Its octets.
    pub octets: Vec<u8>,
    _permits: Option<OwnedSemaphorePermit>,
}

impl KeptBody {
    fn wants_more(&self) -> bool {
        self.kept == Kept::All && !(self.beginning && self.octets.len() >= self.limit_octets)
    }

    fn push(&mut self, chunk: &[u8]) {
        if self.kept != Kept::All {
            return;
        }
        let left = self.limit_octets.saturating_sub(self.octets.len());
        let chunk = if self.beginning { chunk.get(..left).unwrap_or(chunk) } else { chunk };
        let needed = self.octets.len() + chunk.len();
        if needed > self.limit_octets {
            return self.give_up(Kept::TooLong);
        }
        let held = self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = needed.div_ceil(BODY_UNIT_OCTETS).saturating_sub(held);
        if missing > 0 {
            let Ok(more) =
                self.room.0.clone().try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX))
            else {
                return self.give_up(Kept::NoRoom);
            };
            match &mut self.permits {
                Some(permits) => permits.merge(more),
                None => self.permits = Some(more),
            }
        }
        self.octets.extend_from_slice(chunk);
    }

    fn give_up(&mut self, why: Kept) {
        self.octets = vec![];
        self.permits = None;
        self.kept = why;
    }
}

/// The milter brings folded values with LF; DKIM wants them as they were sent. A line break that folds nothing is no
/// line break here: it could end the field and begin another.
fn push_with_crlf(out: &mut Vec<u8>, value: &[u8]) {
    let mut lines = value.split(|&b| b == b'\n');
    let first = lines.next().unwrap_or_default();
    out.extend_from_slice(first.strip_suffix(b"\r").unwrap_or(first));
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        out.extend_from_slice(if folded { b"\r\n" } else { b" " });
        out.extend_from_slice(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(fields: &[(&str, &str)]) -> Letter {
        let mut letter = Letter::new(b"alice@a.example");
        for (name, value) in fields {
            letter.header(name.as_bytes(), value.as_bytes(), |_, value| value != b" keep");
        }
        letter
    }

    #[test]
    fn the_message_is_rebuilt_as_it_was_sent() {
        let mut letter = letter(&[("Subject", " a\n\tb"), ("X", ""), ("Y", " 1\nFrom: forged\r\n 2")]);
        letter.expect_body(true, Some(&BodyRoom::default()));
        letter.body(b"one\r\n");
        letter.body(b"two");
        assert!(letter.take_digest().is_some());
        assert_eq!(
            letter.take_message().ok().unwrap().octets,
            b"Subject: a\r\n\tb\r\nX:\r\nY: 1 From: forged\r\n 2\r\n\r\none\r\ntwo"
        );
    }

    #[test]
    fn the_beginning_of_a_long_message_is_kept() {
        let mut letter = letter(&[("A", " 1")]);
        letter.expect_beginning(12, &BodyRoom::default());
        letter.body(b"ab");
        assert!(letter.wants_body());
        letter.body(b"cdefgh");
        letter.body(b"ij");
        assert!(!letter.wants_body(), "no more is sent");
        assert_eq!(letter.take_message().ok().unwrap().octets, b"A: 1\r\n\r\nabcd");
    }

    #[test]
    fn fields_of_ours_are_numbered_among_their_own_kind() {
        let letter = letter(&[
            ("Postage-Stamp", " keep"),
            ("postage-stamp", " go"),
            ("POSTAGE-STATUS", " go"),
            ("Postage-Stamp", " go"),
        ]);
        assert_eq!(letter.forged, [("Postage-Stamp", 2), ("Postage-Status", 1), ("Postage-Stamp", 3)]);
    }

    #[test]
    fn a_recipient_named_twice_is_one() {
        let mut letter = Letter::new(b"");
        for address in ["bob@b.example", "carol@b.example", "BOB@b.example"] {
            letter.add_recipient(Recipient { address: address.parse().unwrap(), role: false });
        }
        assert_eq!(letter.recipients.len(), 2);
        for number in 0..2 * RECIPIENTS_MAX {
            let address = format!("u{}@b.example", number % (RECIPIENTS_MAX - 2)).parse().unwrap();
            letter.add_recipient(Recipient { address, role: false });
        }
        assert!(!letter.too_many_recipients);
    }

    #[test]
    fn a_flood_of_header_is_cut_and_forged_fields_behind_it_are_still_found() {
        let mut letter = Letter::new(b"");
        let value = vec![b'x'; 60_000];
        for _ in 0..200 {
            letter.header(b"X-Flood", &value, |_, _| true);
        }
        letter.header(b"Postage-Status", b" mx; result=known", |_, _| true);
        assert!(letter.header_cut);
        assert!(letter.header.len() <= HEADER_OCTETS_MAX + 1_000);
        assert_eq!(letter.forged, [("Postage-Status", 1)]);
    }

    #[test]
    fn bodies_share_the_room_and_give_it_back() {
        let room = BodyRoom::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let mut kept = vec![];
        for _ in 0..4 {
            let mut letter = Letter::new(b"");
            letter.expect_body(false, Some(&room));
            (0..60).for_each(|_| letter.body(&chunk));
            kept.push(letter);
        }
        let mut last = kept.pop().unwrap();
        assert!(!last.wants_body(), "what is not kept need not be sent");
        assert_eq!(last.take_message().err(), Some(Kept::NoRoom));
        drop(kept);
        last.expect_body(false, Some(&room));
        (0..65).for_each(|_| last.body(&chunk));
        assert_eq!(last.take_message().err(), Some(Kept::TooLong));
        assert_eq!(room.0.available_permits(), BODIES_OCTETS_MAX / BODY_UNIT_OCTETS);
    }
}
