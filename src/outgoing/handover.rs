//! Handing one mail to the smarthost: over SMTP, or to a program like sendmail(1).
//!
//! To one recipient; our own mail from the null sender, so that nothing bounces back to us. It keeps nothing and tries once.

use std::{io, path::Path, process::Stdio, time::Duration};

use lettre::{
    Address,
    address::Envelope,
    transport::smtp::{Error as SmtpError, client::AsyncSmtpConnection, extension::ClientId},
};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::{address::shown, config::Smarthost, message::build::with_crlf};

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

/// Hands a mail in, from the null sender if from none; `hostname` is what we call ourselves. Returns what was answered.
///
/// # Errors
/// [`Fault`]. When the smarthost had the mail and its answer was lost, the fault is one for now: the mail comes twice, with
/// one Message-ID, rather than never.
pub async fn hand_over(
    smarthost: &Smarthost,
    hostname: &str,
    from: Option<Address>,
    to: Address,
    message: &[u8],
) -> Result<String, Fault> {
    match smarthost {
        Smarthost::Smtp { host, port } => {
            let envelope = Envelope::new(from, vec![to]).map_err(|e| Fault::Refused(e.to_string()))?;
            over_smtp((host, *port), hostname, &envelope, message).await
        }
        Smarthost::Sendmail(program) => by_program(program, from.as_ref(), &to, message).await,
    }
}

async fn over_smtp(
    server: (&str, u16),
    hostname: &str,
    envelope: &Envelope,
    message: &[u8],
) -> Result<String, Fault> {
    let late = |_| Fault::Away(format!("{}:{} does not answer in time", server.0, server.1));
    let hello = ClientId::Domain(hostname.to_owned());
    let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_TIME), &hello, None, None);
    // Whatever a server says before it hears of a mail is about itself, be it 5xx.
    let mut smtp = timeout(CONNECT_TIME, connecting)
        .await
        .map_err(late)?
        .map_err(|e| Fault::Away(format!("{}:{}: {}", server.0, server.1, words(&e))))?;
    // The client ends the last line itself, and puts a dot before one only where it sees that a line begins.
    let message = with_crlf(message);
    let message = message.strip_suffix(b"\r\n").unwrap_or(&message);
    let answer = timeout(SEND_TIME, smtp.send(envelope, message)).await.map_err(late)?;
    let response = answer.map_err(|error| match error.status() {
        Some(code) => fault(code.into(), words(&error)),
        // An address or octets that this server's extensions do not cover.
        None if error.is_client() => Fault::Refused(words(&error)),
        None => Fault::Away(words(&error)),
    })?;
    let _ = timeout(QUIT_TIME, smtp.quit()).await;
    Ok(format!("{} {}", response.code(), shown(response.first_line().unwrap_or_default().as_bytes())))
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

async fn by_program(
    program: &Path,
    from: Option<&Address>,
    to: &Address,
    message: &[u8],
) -> Result<String, Fault> {
    let away = |e: io::Error| Fault::Away(format!("{}: {e}", program.display()));
    let mut child = Command::new(program)
        .args(["-i", "-f", from.map_or("<>", AsRef::as_ref), "--", to.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(away)?;
    let mut stdin = child.stdin.take();
    // Programs take the line ends of their system.
    let text: Vec<u8> = message.iter().copied().filter(|&b| b != b'\r').collect();
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

#[cfg(test)]
mod tests {
    use super::*;

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
