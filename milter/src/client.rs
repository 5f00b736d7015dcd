//! The MTA's side, for tests and load: speaks as Postfix or as Sendmail does, keeps to what was negotiated, and
//! takes nothing from a filter that they would not take.
//!
//! [`MtaClient`] is one milter connection; [`Letter`] a whole message for [`MtaClient::deliver`].

mod letter;
mod said;

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::address::Client;
use crate::command::Command;
use crate::frame::{Frame, FrameBuffer, FrameError, split_string};
use crate::macros::{MacroPairs, Stage};
use crate::negotiate::{Actions, Offer, Steps, Terms};
use crate::reply::{Answer, AnswerError};
use crate::server::Address;
use crate::stream::Stream;
pub use letter::{Letter, Outcome};
pub use said::{Change, Said};

/// How long a filter may be silent; as long as Postfix waits at the end of a message.
const READ_LIMIT: Duration = Duration::from_secs(300);

/// Packets that wait for company, bytes, before they are sent anyhow; what Postfix's streams hold.
const BUFFER_BYTES: usize = 4 * 1024;

/// Everything that version 6 has.
pub const FULL_OFFER: Offer =
    Offer { version: 6, actions: Actions::from_bits(0x1FF), steps: Steps::from_bits(0x1F_FFFF) };

/// Which MTA's habits to take on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Packets that need no answer wait for one that does; ABORT follows every message, but only together with
    /// what comes next; macros for every header field and piece of the body; the queue id from the second recipient on.
    Postfix,
    /// Every packet is sent at once; ABORT only for a message that was not completed; the queue id from MAIL on.
    Sendmail,
}

/// What a filter did that an MTA does not take, or what happened to the connection.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The socket.
    #[error("milter connection: {0}")]
    Io(#[from] io::Error),
    /// The filter hung up while an answer was owed.
    #[error("the filter hung up")]
    HungUp,
    /// No answer in the time an MTA would wait.
    #[error("the filter was silent for {READ_LIMIT:?}")]
    Silent,
    /// Not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not an answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// An answer where it may not stand, or not in answer to that.
    #[error("{0} in answer to {1}")]
    OutOfPlace(String, &'static str),
    /// More than was offered, or than was agreed on.
    #[error("the filter asks for what was not offered: {0}")]
    NotOffered(String),
}

/// One milter connection.
#[derive(Debug)]
pub struct MtaClient {
    stream: Stream,
    frames: FrameBuffer,
    out: Vec<u8>,
    manner: Manner,
    offer: Offer,
    terms: Terms,
    lists: Vec<(u32, String)>,
}

impl MtaClient {
    /// Connects and negotiates.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::HungUp`] when the filter does not like the offer.
    pub async fn connect(address: &Address, offer: Offer, manner: Manner) -> Result<MtaClient, ClientError> {
        let mut client = MtaClient::connect_only(address, offer, manner).await?;
        client.negotiate().await?;
        Ok(client)
    }

    /// Connects and says nothing yet; for a test that has something else to say.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub async fn connect_only(
        address: &Address,
        offer: Offer,
        manner: Manner,
    ) -> Result<MtaClient, ClientError> {
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
        };
        let terms = Terms { version: offer.version, actions: Actions::NONE, steps: Steps::NONE };
        Ok(MtaClient {
            stream,
            frames: FrameBuffer::new(),
            out: Vec::new(),
            manner,
            offer,
            terms,
            lists: Vec::new(),
        })
    }

    /// Sends the offer and reads what the filter takes of it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn negotiate(&mut self) -> Result<(), ClientError> {
        self.offer.encode(&mut self.out);
        self.flush().await?;
        let offer = self.offer;
        let (taken, lists) = {
            let frame = self.read_frame().await?;
            match Answer::decode(frame)? {
                Answer::Negotiate(taken, lists) => (taken, read_lists(lists)),
                other => return Err(ClientError::OutOfPlace(format!("{other:?}"), "the offer")),
            }
        };
        let more = (taken.actions.without(offer.actions), taken.steps.without(offer.steps));
        if taken.version > offer.version || more != (Actions::NONE, Steps::NONE) {
            let what = format!("version {}, {}, {}", taken.version, more.0, more.1);
            return Err(ClientError::NotOffered(what));
        }
        self.terms = Terms { version: taken.version, actions: taken.actions, steps: taken.steps };
        self.lists = lists;
        Ok(())
    }

    /// What the filter took of the offer.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The macro lists that the filter asked for: number of the stage, names.
    pub fn macro_lists(&self) -> &[(u32, String)] {
        &self.lists
    }

    /// Puts macros for a stage's command before it, whether or not that command will be sent.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub async fn macros<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        stage: Stage,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        for (name, value) in pairs {
            for part in [name.as_ref(), value.as_ref()] {
                bytes.extend_from_slice(part);
                bytes.push(0);
            }
        }
        Command::Macros(stage.code(), MacroPairs::new(&bytes)).encode(&mut self.out);
        self.flush_or_wait().await
    }

    /// Sends a command, unless the filter did not want its kind, and reads the answer if the filter owes one;
    /// otherwise "go on" is taken for it. Not for the end of a message: see [`MtaClient::end_of_message`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ask(&mut self, command: &Command<'_>) -> Result<Said, ClientError> {
        let Some(stage) = command.stage() else {
            command.encode(&mut self.out);
            self.flush_or_wait().await?;
            return Ok(Said::Continue);
        };
        if self.terms.omits(stage) {
            return Ok(Said::Continue);
        }
        command.encode(&mut self.out);
        if !self.terms.owes_reply(stage) {
            self.flush_or_wait().await?;
            return Ok(Said::Continue);
        }
        self.flush().await?;
        let skip_allowed = stage == Stage::Body && self.terms.steps.contains(Steps::SKIP);
        let said = Said::read(Answer::decode(self.read_frame().await?)?)?;
        match said {
            Said::Skip if !skip_allowed => Err(ClientError::OutOfPlace("skip".into(), "what is not a body")),
            said => Ok(said),
        }
    }

    /// CONNECT and HELO, with the macros of [`Manner`]. Gives the first answer that is not "go on".
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn greet(&mut self, client: &Client, helo: &str) -> Result<Said, ClientError> {
        self.macros(Stage::Connect, letter::connect_macros(self.manner, client)).await?;
        let said = self.ask(&Command::Connect(client.clone())).await?;
        if said != Said::Continue {
            return Ok(said);
        }
        if self.manner == Manner::Postfix {
            self.macros::<&str, &str>(Stage::Helo, []).await?;
        }
        self.ask(&Command::Helo(helo.as_bytes())).await
    }

    /// Sends the end of the message and collects what the filter does to it.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::NotOffered`] for a change that was not agreed on.
    pub async fn end_of_message(&mut self, outcome: &mut Outcome) -> Result<(), ClientError> {
        Command::EndOfMessage(b"").encode(&mut self.out);
        self.flush().await?;
        outcome.stage = Stage::EndOfMessage;
        let agreed = self.terms.actions;
        loop {
            let answer = Answer::decode(self.read_frame().await?)?;
            match answer {
                Answer::Progress => outcome.progress += 1,
                Answer::Quarantine(reason) if agreed.contains(Actions::QUARANTINE) => {
                    outcome.quarantine = Some(String::from_utf8_lossy(reason).into_owned());
                }
                Answer::Quarantine(_) => return Err(ClientError::NotOffered("quarantine".into())),
                answer => match Change::read(answer) {
                    Some((change, action)) if agreed.contains(action) => outcome.changes.push(change),
                    Some((change, _)) => return Err(ClientError::NotOffered(format!("{change:?}"))),
                    None => {
                        outcome.said = Said::read(answer)?;
                        return Ok(());
                    }
                },
            }
        }
    }

    /// Gives the message in hand up.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub async fn abort(&mut self) -> Result<(), ClientError> {
        self.ask(&Command::Abort).await.map(|_| ())
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub async fn quit(mut self) -> Result<(), ClientError> {
        Command::Quit.encode(&mut self.out);
        self.flush().await
    }

    /// Sends bytes as they are, after what waits to be sent.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.out.extend_from_slice(bytes);
        self.flush().await
    }

    /// The next packet from the filter, whatever it is.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::HungUp`] when there is none.
    pub async fn read_raw(&mut self) -> Result<(u8, Vec<u8>), ClientError> {
        let frame = self.read_frame().await?;
        Ok((frame.code, frame.payload.to_vec()))
    }

    /// Sends what waits to be sent.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    async fn flush_or_wait(&mut self) -> Result<(), ClientError> {
        match self.manner {
            Manner::Postfix if self.out.len() < BUFFER_BYTES => Ok(()),
            _ => self.flush().await,
        }
    }

    async fn read_frame(&mut self) -> Result<Frame<'_>, ClientError> {
        // Asked twice: a frame that is returned within the loop would stay borrowed through all of it.
        while !self.frames.has_frame()? {
            let read = timeout(READ_LIMIT, self.stream.read_buf(self.frames.spare())).await;
            if read.map_err(|_| ClientError::Silent)?? == 0 {
                return Err(ClientError::HungUp);
            }
        }
        self.frames.next_frame()?.ok_or(ClientError::HungUp)
    }
}

/// Pairs of a number and a string.
fn read_lists(mut bytes: &[u8]) -> Vec<(u32, String)> {
    let mut lists = Vec::new();
    while let Some((number, rest)) = bytes.split_first_chunk() {
        let (names, rest) = split_string(rest);
        lists.push((u32::from_be_bytes(*number), String::from_utf8_lossy(names).into_owned()));
        bytes = rest;
    }
    lists
}
