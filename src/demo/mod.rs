//! What `farthing demo` and the tests need around a gate: a small world on loopback, made and changed at run time.
//!
//! Nothing here is used by a running daemon.

pub mod dns;
