//! A whole filter: refuses mail whose subject has a word in it, and says on the rest that it has looked.
//!
//! `refuse_by_subject inet:127.0.0.1:8894 viagra`, and in Postfix's main.cf `smtpd_milters = inet:127.0.0.1:8894`.
//! It stops on SIGTERM, when the mail in hand is done.

use farthing_milter::handler::{Context, Handler, Peer, Service};
use farthing_milter::modification::Modification;
use farthing_milter::negotiate::{Actions, Steps, Wanted};
use farthing_milter::server::{Limits, Server};
use farthing_milter::text::{HeaderName, HeaderValue, SmtpReply};
use farthing_milter::verdict::{Delivery, Reply, Verdict};
use tokio::signal::unix::{SignalKind, signal};

struct Filter {
    word: String,
}

struct Session {
    word: String,
}

impl Service for Filter {
    type Handler = Session;

    fn open(&self, _peer: Peer) -> Session {
        Session { word: self.word.clone() }
    }

    fn wanted(&self) -> Wanted {
        Wanted::nothing().need(Actions::ADD_HEADERS).steps(Steps::NR_HEADER | Steps::NO_BODY)
    }
}

impl Handler for Session {
    fn header(&mut self, _ctx: &Context, name: &[u8], value: &[u8]) -> Reply {
        let value = String::from_utf8_lossy(value);
        if name.eq_ignore_ascii_case(b"Subject") && value.contains(&self.word) {
            let line = format!("not with {:?} in the subject", self.word);
            return SmtpReply::new(550, "5.7.1", [line]).map_or(Reply::Continue, Reply::Refuse);
        }
        Reply::Continue
    }

    async fn end_of_message(&mut self, _ctx: &Context) -> Verdict {
        let field = (HeaderName::new("X-Subject-Check"), HeaderValue::new("passed"));
        let (Ok(name), Ok(value)) = field else { return Verdict::deliver() };
        Delivery { modifications: vec![Modification::InsertHeader(0, name, value)], quarantine: None }.into()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(word)) = (args.next(), args.next()) else {
        return Err("usage: refuse_by_subject unix:PATH|inet:ADDRESS:PORT WORD".into());
    };
    let server = Server::bind(&[listen.parse()?], Limits::default()).await?;
    println!("ready on {}", server.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let mut stop = signal(SignalKind::terminate())?;
    let stopped = async move {
        stop.recv().await;
    };
    server.run(Filter { word }, stopped).await;
    Ok(())
}
