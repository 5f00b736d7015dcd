//! Handing one mail to the smarthost: over SMTP, or to a program like sendmail(1).
//!
//! To one recipient; our own mail from the null sender, so that nothing bounces back to us. It keeps nothing and tries once.

use std::{io, path::Path, process::Stdio, time::Duration};

use lettre::{
    Address,
    transport::smtp::{
        Error as SmtpError,
        client::AsyncSmtpConnection,
        commands::{Data, Ehlo, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter, RcptParameter},
        response::Response,
    },
};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::{
    address::shown,
    config::Smarthost,
    message::{
        build::with_crlf,
        dsn::{Dsn, Ret},
    },
};

/// How long a server may take to accept a connection and greet: it is near.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// How long a mail may take from MAIL to the answer to its end: filters behind the server look at it meanwhile.
const SEND_TIME: Duration = Duration::from_secs(300);
/// How long a server may take to say goodbye; the mail is its own by then.
const QUIT_TIME: Duration = Duration::from_secs(2);
/// Exit codes of sysexits(3) that say that this mail will never be taken: data error, no such user, no such host.
const PERMANENT_CODES: [i32; 3] = [65, 67, 68];
/// Octets of what a program complains that are kept.
const COMPLAINT_OCTETS_MAX: usize = 500;

/// Why a mail was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// For good: the smarthost will say the same again.
    #[error("{0}")]
    Refused(String),
    /// For now, and this mail alone.
    #[error("{0}")]
    Deferred(String),
    /// The smarthost itself cannot be had; the next mail would fare no better.
    #[error("{0}")]
    Away(String),
}

/// A mail to hand in.
#[derive(Clone, Debug)]
pub struct Parcel<'a> {
    /// The envelope's sender; `None`: the null one.
    pub from: Option<Address>,
    /// The one recipient.
    pub to: Address,
    /// What the sender wants to hear of it; the smarthost is told if it knows how to tell him.
    pub dsn: &'a Dsn,
    /// The mail; whatever ends its lines, CRLF does on the way.
    pub message: &'a [u8],
}

/// Hands a mail in; `hostname` is what we call ourselves. Returns what was answered.
///
/// # Errors
/// [`Fault`]. When the smarthost had the mail and its answer was lost, the fault is one for now: the mail comes twice, with
/// one Message-ID, rather than never.
pub async fn hand_over(smarthost: &Smarthost, hostname: &str, parcel: &Parcel<'_>) -> Result<String, Fault> {
    match smarthost {
        Smarthost::Smtp { host, port } => over_smtp((host, *port), hostname, parcel).await,
        Smarthost::Sendmail(program) => by_program(program, parcel).await,
    }
}

async fn over_smtp(server: (&str, u16), hostname: &str, parcel: &Parcel<'_>) -> Result<String, Fault> {
    let late = |_| Fault::Away(format!("{}:{} does not answer in time", server.0, server.1));
    let hello = ClientId::Domain(hostname.to_owned());
    let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_TIME), &hello, None, None);
    // Whatever a server says before it hears of a mail is about itself, be it 5xx.
    let mut smtp = timeout(CONNECT_TIME, connecting)
        .await
        .map_err(late)?
        .map_err(|e| Fault::Away(format!("{}:{}: {}", server.0, server.1, words(&e))))?;
    let sending = async {
        let sent = send(&mut smtp, &hello, parcel).await;
        if sent.is_err() {
            smtp.abort().await;
        }
        sent
    };
    let response = timeout(SEND_TIME, sending).await.map_err(late)??;
    let _ = timeout(QUIT_TIME, smtp.quit()).await;
    Ok(format!("{} {}", response.code(), shown(response.first_line().unwrap_or_default().as_bytes())))
}

/// From MAIL to the answer to the end of the mail.
async fn send(
    smtp: &mut AsyncSmtpConnection,
    hello: &ClientId,
    parcel: &Parcel<'_>,
) -> Result<Response, Fault> {
    let failed = |error: SmtpError| match error.status() {
        Some(code) => fault(code.into(), words(&error)),
        None => Fault::Away(words(&error)),
    };
    let needs = |is_needed: bool, extension: Extension, option: MailParameter| match (
        is_needed,
        smtp.server_info().supports_feature(extension),
    ) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(option)),
        (true, false) => Err(Fault::Refused(format!("this mail needs {extension}, which the server lacks"))),
    };
    let all_ascii =
        parcel.from.iter().chain([&parcel.to]).all(|address| AsRef::<str>::as_ref(address).is_ascii());
    let body = MailParameter::Body(MailBodyParameter::EightBitMime);
    let mut of_mail: Vec<MailParameter> = [
        needs(!all_ascii, Extension::SmtpUtfEight, MailParameter::SmtpUtfEight)?,
        needs(!parcel.message.is_ascii(), Extension::EightBitMime, body)?,
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut of_rcpt = vec![];
    if !parcel.dsn.is_empty() && offers_dsn(smtp, hello).await.map_err(failed)? {
        let (letter, recipient) = (&parcel.dsn.letter, &parcel.dsn.recipient);
        of_mail.extend(
            options([("RET", letter.ret().map(Ret::as_str)), ("ENVID", letter.envid())])
                .map(|keyword| MailParameter::Other { keyword, value: None }),
        );
        let notify = recipient.notify().map(|notify| notify.to_string());
        of_rcpt.extend(
            options([("NOTIFY", notify.as_deref()), ("ORCPT", recipient.orcpt())])
                .map(|keyword| RcptParameter::Other { keyword, value: None }),
        );
    }
    smtp.command(Mail::new(parcel.from.clone(), of_mail)).await.map_err(failed)?;
    smtp.command(Rcpt::new(parcel.to.clone(), of_rcpt)).await.map_err(failed)?;
    smtp.command(Data).await.map_err(failed)?;
    // The client ends the last line itself, and puts a dot before one only where it sees that a line begins.
    let message = with_crlf(parcel.message);
    let message = message.strip_suffix(b"\r\n").unwrap_or(&message);
    smtp.message(message).await.map_err(failed)
}

/// Options that were given, each whole, to stand for a keyword: the client would put a value into xtext, which these are
/// already.
fn options(given: [(&str, Option<&str>); 2]) -> impl Iterator<Item = String> {
    given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)))
}

/// Whether the server takes what RFC 3461 adds to MAIL and RCPT. The client does not keep that of the first answer to EHLO,
/// so it is asked again, which changes nothing.
async fn offers_dsn(smtp: &mut AsyncSmtpConnection, hello: &ClientId) -> Result<bool, SmtpError> {
    let answer = smtp.command(Ehlo::new(hello.clone())).await?;
    let mut words = answer.message().skip(1).filter_map(|line| line.split_whitespace().next());
    Ok(words.any(|word| word.eq_ignore_ascii_case("DSN")))
}

/// What a reply to a command of the mail's means.
fn fault(code: u16, said: String) -> Fault {
    match code {
        // It closes, or wants TLS or a login first: every mail would hear the same.
        421 | 530 | 534 | 535 | 538 => Fault::Away(said),
        500..600 => Fault::Refused(said),
        _ => Fault::Deferred(said),
    }
}

/// The server's own words, safe to log.
fn words(error: &SmtpError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let text = match (error.status(), source) {
        (Some(code), Some(said)) => format!("{code} {said}"),
        (Some(code), None) => code.to_string(),
        (None, _) => error.to_string(),
    };
    shown(text.as_bytes())
}

async fn by_program(program: &Path, parcel: &Parcel<'_>) -> Result<String, Fault> {
    let away = |e: io::Error| Fault::Away(format!("{}: {e}", program.display()));
    let mut child = Command::new(program)
        .args(["-i", "-f", parcel.from.as_ref().map_or("<>", AsRef::as_ref)])
        .args(dsn_flags(parcel.dsn))
        .args(["--", parcel.to.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(away)?;
    let mut stdin = child.stdin.take();
    // Programs take the line ends of their system.
    let text: Vec<u8> = parcel.message.iter().copied().filter(|&b| b != b'\r').collect();
    let writing = async move {
        if let Some(mut stdin) = stdin.take() {
            // Who does not read to the end says why by his exit code.
            let _ = stdin.write_all(&text).await;
        }
    };
    // At the same time, for it may complain before it reads.
    let running = async { tokio::join!(writing, child.wait_with_output()).1 };
    let output = timeout(SEND_TIME, running)
        .await
        .map_err(|_| Fault::Away(format!("{} does not end", program.display())))?
        .map_err(away)?;
    if output.status.success() {
        return Ok("taken".into());
    }
    let complaint = output.stderr.get(..COMPLAINT_OCTETS_MAX).unwrap_or(&output.stderr);
    let said =
        format!("{} ended with {}: {}", program.display(), output.status, shown(complaint.trim_ascii()));
    match output.status.code() {
        Some(code) if PERMANENT_CODES.contains(&code) => Err(Fault::Refused(said)),
        _ => Err(Fault::Deferred(said)),
    }
}

/// The options as flags of Postfix's sendmail(1); it has none for ORCPT.
fn dsn_flags(dsn: &Dsn) -> Vec<String> {
    let notify = dsn.recipient.notify().map(|notify| notify.to_string().to_lowercase());
    let ret = dsn.letter.ret().map(|ret| ret.as_str().to_lowercase());
    let flags = [("-N", notify), ("-R", ret), ("-V", dsn.letter.envelope_id().map(ToOwned::to_owned))];
    flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::dsn::{LetterDsn, RecipientDsn};

    #[test]
    fn flags_of_a_program() {
        let dsn = Dsn {
            letter: LetterDsn::new(Some(b"HDRS"), Some(b"Q+2B1")),
            recipient: RecipientDsn::new(Some(b"DELAY,FAILURE"), Some(b"rfc822;eve@b.example")),
        };
        assert_eq!(dsn_flags(&dsn), ["-N", "failure,delay", "-R", "hdrs", "-V", "Q+1"]);
        assert_eq!(dsn_flags(&Dsn::default()), [""; 0]);
    }

    #[test]
    fn what_replies_mean() {
        let said = String::new;
        for (codes, meant) in [
            (&[450, 451, 452, 455, 400][..], Fault::Deferred(said())),
            (&[550, 551, 552, 553, 554, 500, 501, 503, 599][..], Fault::Refused(said())),
            (&[421, 530, 535][..], Fault::Away(said())),
        ] {
            for code in codes {
                assert_eq!(fault(*code, said()), meant, "{code}");
            }
        }
    }
}
