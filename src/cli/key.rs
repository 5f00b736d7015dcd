//! `farthing key`: the keys of the office, and what to publish in DNS.

use clap::Subcommand;
use serde_json::json;

use super::{Context, Exit, Failure, open, table};
use crate::{
    clock::unix_now,
    config::{Config, Office},
    keys::{self, KeyError},
    stamp::records,
};

/// What to do with keys.
#[derive(Subcommand)]
pub enum Key {
    /// Make a key: it signs from the daemon's next reload on. Publish it first (`farthing key dns`).
    New {
        /// A token key instead of an office key: makes tokens and freepost codes; the old ones stay good.
        #[arg(long)]
        token: bool,
    },
    /// The office's keys.
    List,
    /// The TXT records to publish, in zone file form.
    Dns,
    /// Stop signing with a key; its stamps stay good. Leave its record until the last has expired.
    Retire {
        /// The key's selector.
        selector: String,
    },
}

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration or the keys.
pub fn run(command: &Key, context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let directory = config.keys_directory();
    match command {
        Key::New { token: true } => {
            let name = keys::new_token_key(&directory, unix_now())?;
            context.print(&json!({"token_key": name}), || format!("token key {name} made; {RELOAD}\n"))
        }
        Key::New { token: false } => {
            if !config.takes_foreign_stamps() {
                office(&config)?;
            }
            let selector = keys::new_office_key(&directory, unix_now())?;
            context.print(&json!({"selector": selector}), || {
                format!("key {selector} made; publish its record (`farthing key dns`), then {RELOAD}\n")
            })
        }
        Key::List => list(&config, context),
        Key::Dns => dns(&config, context),
        Key::Retire { selector } => {
            keys::retire(&directory, selector)?;
            context.print(&json!({"retired": selector}), || format!("key {selector} retired; {RELOAD}\n"))
        }
    }
}

const RELOAD: &str = "reload the daemon: systemctl reload farthingd";

fn office(config: &Config) -> Result<&Office, Failure> {
    config.office.as_ref().ok_or_else(|| {
        Failure::new(Exit::Config, "this site runs no post office: there is no [office] in the configuration")
    })
}

fn list(config: &Config, context: &Context) -> Result<(), Failure> {
    let office = office(config)?;
    let keys = open::keys(config)?;
    let value: Vec<_> = keys
        .office
        .iter()
        .map(|key| json!({"office": office.domain, "selector": key.selector.as_str(), "public": public_text(key), "state": key.state}))
        .collect();
    context.print(&value, || {
        if value.is_empty() {
            return "no keys yet; the daemon makes one at its first start\n".into();
        }
        let row = |key: &keys::OfficeKey| {
            let state = if key.state == keys::KeyState::Active { "active" } else { "retired" };
            vec![office.domain.to_string(), key.selector.to_string(), state.into(), public_text(key)]
        };
        table(&["OFFICE", "SELECTOR", "STATE", "PUBLIC KEY"], keys.office.iter().map(row).collect())
    })
}

fn public_text(key: &keys::OfficeKey) -> String {
    data_encoding::BASE64URL_NOPAD.encode(&key.public.to_bytes())
}

fn dns(config: &Config, context: &Context) -> Result<(), Failure> {
    let keys = open::keys(config)?;
    let mut lines: Vec<(String, String)> = Vec::new();
    for domain in config.key_domains() {
        // Of another domain than the office's only what signs its settlements is asked for.
        let is_office = config.office.as_ref().is_some_and(|office| office.domain == *domain);
        for key in keys.office.iter().filter(|key| is_office || key.state == keys::KeyState::Active) {
            lines.push((records::key_name(&key.selector, domain), records::write_key(&key.public)));
        }
    }
    let policy = config.mail_policy();
    for domain in &config.gate.domains {
        lines.push((records::policy_name(domain), policy.to_string()));
    }
    let value: Vec<_> = lines.iter().map(|(name, txt)| json!({"name": name, "txt": txt})).collect();
    context.print(&value, || {
        lines.iter().map(|(name, txt)| format!("{name}. IN TXT {}\n", quoted(txt))).collect()
    })
}

/// A TXT value in zone file form: strings of at most 255 octets.
fn quoted(text: &str) -> String {
    let chunks: Vec<String> = text
        .as_bytes()
        .chunks(255)
        .map(|chunk| {
            format!("\"{}\"", String::from_utf8_lossy(chunk).replace('\\', "\\\\").replace('"', "\\\""))
        })
        .collect();
    chunks.join(" ")
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let exit = match error {
            KeyError::Io { .. } => Exit::Io,
            KeyError::Readable { .. } | KeyError::NotAKey { .. } => Exit::Config,
            KeyError::NoSuchKey(_) | KeyError::LastKey(_) => Exit::No,
        };
        Self::new(exit, error)
    }
}
