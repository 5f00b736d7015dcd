//! by the description alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod post;
mod support;

#[path = "program/client.rs"]
mod client;
#[path = "program/description.rs"]
mod description;
#[path = "program/hostile.rs"]
mod hostile;
#[path = "program/wire.rs"]
mod wire;
