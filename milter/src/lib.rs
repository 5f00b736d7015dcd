//! The milter protocol.

pub mod address;
pub mod command;
pub mod frame;
pub mod handler;
pub mod macros;
pub mod negotiate;
pub mod reply;
pub mod session;
pub mod text;
pub mod verdict;
