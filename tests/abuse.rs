//! What users who mean harm, and whoever they write to, can make of stamps on outgoing mail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

mod abuse {
    pub mod franking;
}
#[path = "post/proxy.rs"]
#[allow(dead_code)] // this binary uses its own part
mod proxy;
#[path = "outbox/sink.rs"]
#[allow(dead_code)] // likewise
mod sink;
mod support;
