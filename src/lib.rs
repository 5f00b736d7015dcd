//! Farthing: postage for e-mail.
//!
//! A milter asks unknown senders for a stamp, redeems it in a local ledger, and gives the money back when
//! the recipient wanted the letter. A message goes one way through this crate: the milter's callbacks
//! (`gate`) ask `message` and `identity` what came and from whom, `policy` what follows from it, `stamp` and
//! `ledger` whether it is paid. Nothing on the right knows what stands left of it.

pub mod address;
pub mod checkup;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod discovery;
pub mod dns;
pub mod franking;
pub mod gate;
pub mod identity;
pub mod keys;
pub mod ledger;
pub mod mailbox;
pub mod message;
pub mod money;
pub mod office;
pub mod outgoing;
pub mod policy;
pub mod reporter;
pub mod service;
pub mod settler;
pub mod stamp;
mod tasks;
pub mod voucher;
pub mod wallet;
pub mod warm;
pub mod work;
