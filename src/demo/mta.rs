//! Who brings the letters to the gate: an MTA of a few lines that speaks the milter protocol, or a real Postfix.

use std::net::IpAddr;

use farthing_milter::{
    address::{Client, ClientAddress},
    client::{Change, FULL_OFFER, Letter as MilterLetter, Manner, MtaClient},
};

use super::site::Site;
use crate::message::split_message;

/// A letter on its way.
pub struct Letter<'a> {
    /// The client's address.
    pub from_ip: IpAddr,
    /// The envelope sender.
    pub mail_from: &'a str,
    /// The envelope recipient.
    pub rcpt_to: &'a str,
    /// The message.
    pub message: &'a [u8],
}

/// What became of it.
pub struct Sent {
    /// The last SMTP reply.
    pub reply: String,
    /// The header as delivered, if it was: fields of postage first.
    pub delivered: Option<Vec<(String, String)>>,
}

impl Sent {
    /// The values of a field of the delivered letter.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.delivered.iter().flatten();
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
}

/// Somebody who brings letters to the gate.
pub trait Mta {
    /// Brings one, and tells what was answered.
    fn send(&self, letter: &Letter<'_>) -> Result<Sent, String>;
}

/// Speaks to the milter's socket as Postfix does.
pub struct Direct<'a> {
    site: &'a Site,
}

impl<'a> Direct<'a> {
    /// For this site.
    pub const fn new(site: &'a Site) -> Self {
        Self { site }
    }
}

impl Mta for Direct<'_> {
    fn send(&self, letter: &Letter<'_>) -> Result<Sent, String> {
        let message = split_message(letter.message);
        let mut told = MilterLetter {
            sender: format!("<{}>", letter.mail_from),
            recipients: vec![format!("<{}>", letter.rcpt_to)],
            headers: vec![],
            body: message.body.to_vec(),
            queue_id: "4DEMO1".into(),
            macros: vec![],
        };
        for header in &message.headers {
            let value = header.value.strip_prefix(b" ").unwrap_or(header.value);
            let value: Vec<u8> = value.iter().copied().filter(|&b| b != b'\r').collect();
            told = told.header(&String::from_utf8_lossy(header.name), value);
        }
        let client = Client {
            host: b"client.example".to_vec(),
            address: ClientAddress::Ip(letter.from_ip),
            port: 4711,
        };
        let outcome = self.site.block_on(async {
            let mut mta = MtaClient::connect(&self.site.milter(), FULL_OFFER, Manner::Postfix).await?;
            mta.greet(&client, "client.example").await?;
            let outcome = mta.deliver(&told).await?;
            mta.quit().await?;
            Ok::<_, farthing_milter::client::ClientError>(outcome)
        });
        let outcome = outcome.map_err(|e| e.to_string())?;
        if !outcome.is_delivered() {
            let reply = match &outcome.said {
                farthing_milter::client::Said::Reply(text) => text.clone(),
                said => format!("{} {said:?}", said.code()),
            };
            return Ok(Sent { reply, delivered: None });
        }
        Ok(Sent { reply: "250 2.0.0 Ok".into(), delivered: Some(changed(&told, &outcome.changes)) })
    }
}

/// The header as the MTA delivers it after these changes.
fn changed(letter: &MilterLetter, changes: &[Change]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, Option<String>)> = letter
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), Some(String::from_utf8_lossy(value).into_owned())))
        .collect();
    let mut on_top = Vec::new();
    for change in changes {
        match change {
            Change::ChangeHeader(index, name, _) => {
                let nth = usize::try_from(*index).unwrap_or(0).saturating_sub(1);
                if let Some((_, value)) =
                    fields.iter_mut().filter(|(n, _)| n.eq_ignore_ascii_case(name)).nth(nth)
                {
                    *value = None;
                }
            }
            Change::InsertHeader(_, name, value) => {
                on_top.insert(0, (name.clone(), String::from_utf8_lossy(value).trim_start().to_owned()));
            }
            _ => {}
        }
    }
    on_top.extend(fields.into_iter().filter_map(|(name, value)| Some((name, value?))));
    on_top
}
