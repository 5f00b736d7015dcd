//! What every engine must tell the same.

pub mod book;
pub mod copies;
pub mod dossier;
pub mod foreign;
pub mod foresee;
pub mod franking;
pub mod funding;
pub mod keeping;
pub mod marks;
pub mod outbox;
pub mod owners;
pub mod passes;
pub mod redeeming;
pub mod retries;
pub mod selling;
pub mod sent;
pub mod settings;
pub mod settling;
pub mod work;
