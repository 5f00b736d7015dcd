//! by the description alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod post;
mod support;

#[path = "program/description.rs"]
mod description;
