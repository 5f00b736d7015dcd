//! The page that a refusal names (SPEC.md §10, `/p/ADDRESS`): what it tells, what its script asks, and, in a real
//! browser behind a real Postfix, how a refused letter comes in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a fault here fails the test, as it should

#[path = "page/calls.rs"]
mod calls;
#[path = "page/chromium.rs"]
mod chromium;
#[path = "page/driver.rs"]
mod driver;
#[path = "page/form.rs"]
mod form;
mod post;
#[path = "../milter/tests/support/postfix.rs"]
mod postfix;
#[path = "page/provider.rs"]
mod provider;
#[path = "../milter/tests/support/smtp.rs"]
mod smtp;
mod support;
#[path = "page/webkit.rs"]
mod webkit;
