//! The milter protocol.

pub mod address;
#[cfg(feature = "client")]
pub mod client;
pub mod command;
pub mod frame;
#[cfg(feature = "client")]
#[doc(hidden)]
pub mod fuzz;
pub mod handler;
pub mod macros;
pub mod negotiate;
pub mod pace;
pub mod reply;
pub mod server;
pub mod session;
mod stream;
pub mod text;
pub mod verdict;
