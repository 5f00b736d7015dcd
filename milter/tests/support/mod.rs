//! What several tests need: a filter that writes down what it hears, a real Postfix, the client's side of SMTP.

pub mod filter;
pub mod postfix;
pub mod process;
pub mod smtp;
