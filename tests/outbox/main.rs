//! Our own outgoing mail through its front doors: answers and digests arrive at a smarthost, links of digests work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "../../milter/tests/support/postfix.rs"]
mod postfix;
#[path = "../../milter/tests/support/smtp.rs"]
mod smtp;
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod daemon;
mod desk;
mod digests;
mod links;
mod mta;
mod sink;
mod two;
