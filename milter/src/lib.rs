//! The milter protocol, versions 2 to 6: how a mail server (Postfix, Sendmail) asks a filter about every
//! connection, recipient and message, and what the filter may answer.
//!
//! A filter implements [`Service`] and [`Handler`] and gives them to a [`Server`]:
//!
//! ```no_run
//! use farthing_milter::{
//!     Args, Context, EnvelopeAddress, Handler, Limits, Peer, RcptReply, Server, Service, SmtpReply, Wanted,
//! };
//!
//! struct NoSuchUser;
//!
//! impl Service for NoSuchUser {
//!     type Handler = NoSuchUser;
//!     fn open(&self, _peer: Peer) -> NoSuchUser {
//!         NoSuchUser
//!     }
//!     fn wanted(&self) -> Wanted {
//!         Wanted::nothing()
//!     }
//! }
//!
//! impl Handler for NoSuchUser {
//!     async fn rcpt(&mut self, _: &Context, recipient: EnvelopeAddress<'_>, _: Args<'_>) -> RcptReply {
//!         match SmtpReply::new(550, "5.1.1", ["no such user"]) {
//!             Ok(reply) if recipient.bytes().starts_with(b"nobody@") => RcptReply::Refuse(reply),
//!             _ => RcptReply::Continue,
//!         }
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Server::bind(&["inet:127.0.0.1:8894".parse()?], Limits::default()).await?;
//!     server.run(NoSuchUser, std::future::pending()).await;
//!     Ok(())
//! }
//! ```
//!
//! Below that everything is pure, bytes to values and back, and can be used without a socket: [`frame`], [`command`],
//! [`reply`], [`negotiate`], and [`session`], the state machine that knows when an answer is owed. With the feature
//! `client` there is the MTA's side too, for tests and load.
//!
//! What the types see to: a reply has a text that MTAs take; a recipient can be refused but not accept the
//! message for all; what is asked of an MTA is never more than it offers; a held message is not refused.

pub mod address;
#[cfg(feature = "client")]
pub mod client;
pub mod command;
pub mod flags;
pub mod frame;
#[cfg(feature = "client")]
#[doc(hidden)]
pub mod fuzz;
pub mod handler;
pub mod macros;
pub mod modification;
pub mod negotiate;
pub mod pace;
pub mod reply;
pub mod server;
pub mod session;
mod stream;
pub mod text;
pub mod verdict;

pub use address::{Args, Client, ClientAddress, EnvelopeAddress, EsmtpArgs, Mailbox};
pub use flags::{Actions, Steps};
pub use handler::{Context, Handler, Peer, Service};
pub use macros::{MacroPairs, Macros, Stage};
pub use modification::Modification;
pub use negotiate::{MacroList, Terms, Wanted};
pub use pace::Limits;
pub use server::{Address, Listen, Server, Summary, UnixListen};
pub use text::{HeaderName, HeaderValue, QuarantineReason, SmtpReply};
pub use verdict::{BodyReply, Delivery, RcptReply, Reply, Verdict};

/// The README's examples, compiled with the tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
