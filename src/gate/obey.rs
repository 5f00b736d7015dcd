//! Mail to the command address, by authenticated submission: judged, carried out and answered before the MTA is
//! (SPEC.md §8). Then it is discarded, for it was done.

use farthing_milter::{
    text::SmtpReply,
    verdict::{Reply, Verdict},
};

use super::{
    BodyRoom, Site,
    learn::{Submission, is_null_sender},
    letter::{Kept, Letter},
    orders::{Ask, Order},
};
use crate::{
    address::{Address, escaped},
    commands::{Caller, Desk, Said, carry_out, read},
    ledger::{Ledger, LedgerError, outbox::AnswerAbout},
    message::{
        kind::{is_robot, kind},
        thread::first_message_id,
    },
    policy::reply,
};

/// Octets of a command mail that are looked at, header and all. Ten thousand commands have less; what makes a mail
/// longer is attached to it, behind the text.
const COMMAND_OCTETS_MAX: usize = 1024 * 1024;

/// A message to command addresses alone.
pub struct OrderMail<'a> {
    /// By which it is judged.
    pub site: &'a Site,
    /// Whose login brought it.
    pub submission: &'a Submission,
    /// Where it goes.
    pub orders: &'a [Order],
    /// The MTA's name for it.
    pub queue_id: Option<&'a [u8]>,
}

impl OrderMail<'_> {
    /// What can be said once the header is there: a program's mail is let go unread, one that is not the login's own is
    /// refused. What is left is kept to be read.
    pub fn judge(&self, letter: &mut Letter, room: &BodyRoom) -> Reply {
        if is_null_sender(&letter.mail_from) || !kind(|name| letter.values(name)).is_person() {
            self.log("a program's mail to the command address: nothing is done");
            return Reply::Discard;
        }
        match self.submission.author(self.site, letter) {
            None => {
                self.log("refused: commands in the name of an address that the login does not own");
                Reply::Refuse(self.address().map_or_else(|| reply::deferral(&[]), reply::not_own))
            }
            Some(author) if is_robot(&author) => {
                self.log("a program's mail to the command address: nothing is done");
                Reply::Discard
            }
            Some(_) => {
                if self.orders.iter().any(|order| order.ask == Ask::Commands) {
                    letter.expect_beginning(COMMAND_OCTETS_MAX, room);
                }
                Reply::Continue
            }
        }
    }

    /// Does what it says. Marks and commands are durable, and their answer queued, when this returns; when the ledger
    /// cannot, the sender is told to come again, and what was done already is not done twice.
    pub async fn obey(&self, letter: &mut Letter, ledger: &dyn Ledger, now: u64) -> Verdict {
        let (Some(author), Some(address)) = (self.submission.author(self.site, letter), self.address())
        else {
            return Verdict::Discard;
        };
        match self.carry_out(&author, address, letter, ledger, now).await {
            Ok(()) => Verdict::Discard,
            Err(error) => {
                tracing::error!(%error, %author, "commands are put off");
                Verdict::Refuse(self.later())
            }
        }
    }

    async fn carry_out(
        &self,
        author: &Address,
        address: &Address,
        letter: &mut Letter,
        ledger: &dyn Ledger,
        now: u64,
    ) -> Result<(), LedgerError> {
        let gate = &self.site.config.gate;
        let own = gate.logins.addresses(self.submission.login(), &gate.domains);
        let caller = Caller { author, own: &own };
        let desk = Desk {
            ledger,
            tokens: &self.site.keys.tokens,
            domains: &gate.domains,
            site_price: gate.price,
            max_price: gate.max_price,
            address,
            now,
        };
        let mut marked = 0_usize;
        for order in self.orders {
            match order.ask {
                Ask::Mark(verb, token) => match desk.mark_by_token(&token, verb, &caller).await? {
                    Some(_) => marked += 1,
                    None => self.log("a token that names no letter to this login: nothing is done"),
                },
                Ask::Garbled => self.log("a token that is none: nothing is done"),
                Ask::Commands => {}
            }
        }
        if marked > 0 {
            tracing::info!(queue_id = self.shown_queue_id(), %author, marked, "letters marked by token");
        }
        if self.orders.iter().any(|order| order.ask == Ask::Commands) {
            let about = about(address, letter);
            let said = self.said(letter).await?;
            let carried = carry_out(&said, &caller, &desk).await?;
            let (done, faults, left) = (carried.done, carried.faults, carried.left);
            tracing::info!(queue_id = self.shown_queue_id(), %author, done, faults, left, "commands carried out");
            ledger.answer(author, about, carried.text, now).await?;
        }
        Ok(())
    }

    /// What its author wrote; read aside, for a long mail takes a while.
    async fn said(&self, letter: &mut Letter) -> Result<Said, LedgerError> {
        let message = match letter.take_message() {
            Ok(message) => message,
            Err(Kept::NoRoom) => {
                return Err(LedgerError::Unavailable("too much mail is in hand just now".into()));
            }
            Err(Kept::All | Kept::TooLong) => return Ok(Said::default()),
        };
        let reading = tokio::task::spawn_blocking(move || read(&message.octets));
        reading.await.map_err(|_| LedgerError::Unavailable("the mail could not be read".into()))
    }

    fn address(&self) -> Option<&Address> {
        self.orders.first().map(|order| &order.address)
    }

    fn later(&self) -> SmtpReply {
        reply::deferral(&self.address().into_iter().collect::<Vec<_>>())
    }

    fn shown_queue_id(&self) -> String {
        self.queue_id.map(escaped).unwrap_or_default()
    }

    fn log(&self, what: &str) {
        tracing::info!(
            queue_id = self.shown_queue_id(),
            login = escaped(self.submission.login().as_bytes()),
            "{what}"
        );
    }
}

/// What the answer answers.
fn about(address: &Address, letter: &Letter) -> AnswerAbout {
    let in_reply_to = letter.values("Message-ID").next().and_then(first_message_id);
    AnswerAbout {
        from: address.clone(),
        subject: format!("Re: your mail to {address}"),
        in_reply_to: in_reply_to.and_then(|id| std::str::from_utf8(id).ok()).map(str::to_owned),
    }
}
