//! A whole message, told to a filter as Postfix or Sendmail tells it.

use crate::address::{Args, Client, EnvelopeAddress};
use crate::command::Command;
use crate::frame::MAX_PAYLOAD_BYTES;
use crate::macros::Stage;
use crate::negotiate::MacroList;

use super::{Change, ClientError, Manner, MtaClient, Said};

/// A message and its envelope.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    /// MAIL FROM, as on the wire: `<ann@a.example>`, its options behind it after a space.
    pub sender: String,
    /// RCPT TO, likewise.
    pub recipients: Vec<String>,
    /// Header fields: name, value without the space after the colon; lines joined by LF.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, lines ended by CR LF.
    pub body: Vec<u8>,
    /// The MTA's name for it.
    pub queue_id: String,
    /// Macros beside the usual ones: stage, name, value. `{auth_authen}` at [`Stage::Mail`] for one who has logged in.
    pub macros: Vec<(Stage, String, String)>,
}

impl Letter {
    /// A message of one field and one line.
    pub fn new(sender: &str, recipients: &[&str], subject: &str) -> Letter {
        Letter {
            sender: format!("<{sender}>"),
            recipients: recipients.iter().map(|recipient| format!("<{recipient}>")).collect(),
            headers: Vec::new(),
            body: b"Hello\r\n".to_vec(),
            queue_id: "4XYZ12345".into(),
            macros: Vec::new(),
        }
        .header("From", sender)
        .header("Subject", subject)
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Letter {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Takes another body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Letter {
        self.body = body.into();
        self
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where the last word fell.
    pub stage: Stage,
    /// The last word.
    pub said: Said,
    /// The answer to each recipient that was asked about.
    pub recipients: Vec<Said>,
    /// Changes, in order.
    pub changes: Vec<Change>,
    /// Why it is held.
    pub quarantine: Option<String>,
    /// How often the filter asked for patience.
    pub progress: u32,
}

impl Default for Outcome {
    fn default() -> Self {
        Outcome {
            stage: Stage::Mail,
            said: Said::Continue,
            recipients: Vec::new(),
            changes: Vec::new(),
            quarantine: None,
            progress: 0,
        }
    }
}

impl Outcome {
    /// Whether the message goes on its way to at least one recipient, held or not.
    pub fn is_delivered(&self) -> bool {
        matches!(self.said, Said::Continue | Said::Accept)
            && (self.recipients.is_empty() || self.recipients.iter().any(|said| said.code() < 300))
    }
}

/// The address, and the options behind it, each ended by NUL.
fn split_options(argument: &str) -> (&str, String) {
    let (address, options) = argument.split_at(argument.rfind("> ").map_or(argument.len(), |end| end + 1));
    (address, options.split_whitespace().map(|option| format!("{option}\0")).collect())
}

impl MtaClient {
    /// Tells the filter a whole message, after [`MtaClient::greet`]. A refusal ends it as it ends it for an MTA.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn deliver(&mut self, letter: &Letter) -> Result<Outcome, ClientError> {
        let mut outcome = Outcome::default();
        self.tell(letter, &mut outcome).await?;
        // Postfix says so after every message, when it next has something to say; Sendmail when one was not completed.
        if self.manner == Manner::Postfix || outcome.stage != Stage::EndOfMessage {
            self.abort().await?;
        }
        Ok(outcome)
    }

    async fn tell(&mut self, letter: &Letter, outcome: &mut Outcome) -> Result<(), ClientError> {
        self.put_macros(Stage::Mail, letter, 0).await?;
        let (sender, args) = split_options(&letter.sender);
        let mail = Command::Mail(EnvelopeAddress::new(sender.as_bytes()), Args::new(args.as_bytes()));
        if self.is_over(outcome, Stage::Mail, &mail).await? {
            return Ok(());
        }
        for (number, recipient) in letter.recipients.iter().enumerate() {
            self.put_macros(Stage::Rcpt, letter, number).await?;
            let (recipient, args) = split_options(recipient);
            let recipient = EnvelopeAddress::new(recipient.as_bytes());
            let said = self.ask(&Command::Rcpt(recipient, Args::new(args.as_bytes()))).await?;
            let whole = matches!(said, Said::Accept | Said::Discard | Said::Shutdown);
            outcome.recipients.push(said.clone());
            if whole {
                (outcome.stage, outcome.said) = (Stage::Rcpt, said);
                return Ok(());
            }
        }
        if !outcome.recipients.is_empty() && outcome.recipients.iter().all(|said| said.code() >= 400) {
            outcome.stage = Stage::Rcpt;
            outcome.said = outcome.recipients.last().cloned().unwrap_or_default();
            return Ok(());
        }
        self.put_macros(Stage::Data, letter, 0).await?;
        if self.is_over(outcome, Stage::Data, &Command::Data).await? {
            return Ok(());
        }
        self.tell_content(letter, outcome).await
    }

    async fn tell_content(&mut self, letter: &Letter, outcome: &mut Outcome) -> Result<(), ClientError> {
        let leading_space = self.terms().steps.contains(crate::negotiate::Steps::LEADING_SPACE);
        for (name, value) in &letter.headers {
            self.put_macros(Stage::Header, letter, 0).await?;
            let spaced = [b" ", value.as_slice()].concat();
            let value = if leading_space { &spaced } else { value };
            if self.is_over(outcome, Stage::Header, &Command::Header(name.as_bytes(), value)).await? {
                return Ok(());
            }
        }
        self.put_macros(Stage::EndOfHeaders, letter, 0).await?;
        if self.is_over(outcome, Stage::EndOfHeaders, &Command::EndOfHeaders).await? {
            return Ok(());
        }
        for chunk in letter.body.chunks(MAX_PAYLOAD_BYTES) {
            self.put_macros(Stage::Body, letter, 0).await?;
            match self.ask(&Command::Body(chunk)).await? {
                Said::Continue => {}
                Said::Skip => break,
                said => {
                    (outcome.stage, outcome.said) = (Stage::Body, said);
                    return Ok(());
                }
            }
        }
        self.put_macros(Stage::EndOfMessage, letter, 0).await?;
        self.end_of_message(outcome).await
    }

    /// Asks, and says whether the answer ends the message.
    async fn is_over(
        &mut self,
        outcome: &mut Outcome,
        stage: Stage,
        command: &Command<'_>,
    ) -> Result<bool, ClientError> {
        (outcome.stage, outcome.said) = (stage, self.ask(command).await?);
        Ok(outcome.said != Said::Continue)
    }

    /// The macros of a stage: those the filter chose, else the MTA's usual ones. `number` counts recipients.
    async fn put_macros(&mut self, stage: Stage, letter: &Letter, number: usize) -> Result<(), ClientError> {
        let chosen = macro_list(stage).and_then(|list| {
            self.lists.iter().find(|(found, _)| *found == list as u32).map(|(_, names)| names.clone())
        });
        let known = |stage| usual_macros(self.manner, stage, letter, number);
        let pairs: Vec<(String, String)> = match chosen {
            None => known(stage),
            Some(names) => {
                let all: Vec<_> = Stage::ALL.into_iter().flat_map(known).collect();
                let value = |name: &str| all.iter().find(|(known, _)| known == name).cloned();
                names.split(' ').filter_map(value).collect()
            }
        };
        if pairs.is_empty() && self.manner == Manner::Sendmail {
            return Ok(());
        }
        self.macros(stage, pairs).await
    }
}

pub(super) fn connect_macros(manner: Manner, client: &Client) -> Vec<(&'static str, String)> {
    let host = String::from_utf8_lossy(&client.host);
    let mut pairs = vec![
        ("j", "mx.b.example".to_string()),
        ("{daemon_name}", "smtpd".to_string()),
        ("_", format!("{host} [{}]", client.address)),
    ];
    pairs.push(match manner {
        Manner::Postfix => ("v", "Postfix".to_string()),
        Manner::Sendmail => ("{if_name}", "mx.b.example".to_string()),
    });
    pairs
}

/// What an MTA tells at a stage when nobody has asked for anything else.
fn usual_macros(manner: Manner, stage: Stage, letter: &Letter, number: usize) -> Vec<(String, String)> {
    let bare = |address: &str| address.trim_matches(['<', '>']).to_string();
    let recipient = letter.recipients.get(number).map(|recipient| bare(recipient)).unwrap_or_default();
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| pairs.push((name.into(), value));
    let has_queue_id = match manner {
        Manner::Postfix => {
            stage > Stage::Rcpt && stage < Stage::Unknown || stage == Stage::Rcpt && number > 0
        }
        Manner::Sendmail => stage == Stage::Mail,
    };
    if has_queue_id {
        put("i", letter.queue_id.clone());
    }
    match (stage, manner) {
        (Stage::Mail, _) => put("{mail_addr}", bare(&letter.sender)),
        (Stage::Rcpt, Manner::Postfix) => put("{rcpt_addr}", recipient),
        (Stage::Rcpt, Manner::Sendmail) => {
            put("{rcpt_addr}", recipient.split('@').next().unwrap_or_default().to_string());
        }
        (Stage::EndOfMessage, Manner::Sendmail) => {
            put("{msg_id}", format!("<{}@a.example>", letter.queue_id))
        }
        _ => {}
    }
    let more = letter.macros.iter().filter(|(found, ..)| *found == stage);
    pairs.extend(more.map(|(_, name, value)| (name.clone(), value.clone())));
    pairs
}

fn macro_list(stage: Stage) -> Option<MacroList> {
    Some(match stage {
        Stage::Connect => MacroList::Connect,
        Stage::Helo => MacroList::Helo,
        Stage::Mail => MacroList::Mail,
        Stage::Rcpt => MacroList::Rcpt,
        Stage::Data => MacroList::Data,
        Stage::EndOfMessage => MacroList::EndOfMessage,
        Stage::EndOfHeaders => MacroList::EndOfHeaders,
        Stage::Header | Stage::Body | Stage::Unknown => return None,
    })
}
