//! What several tests need: a real Postfix and the client's side of SMTP.

pub mod postfix;
pub mod smtp;
