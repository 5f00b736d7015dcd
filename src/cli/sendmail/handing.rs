//! Handing copies on: to the system's sendmail, or by SMTP.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use lettre::{
    SmtpTransport, Transport as _,
    address::{Address as SmtpAddress, Envelope},
};

use super::{copies::Recipient, flags::Request};
use crate::{
    address::shown,
    cli::{Exit, Failure},
    message::build::with_crlf,
};

/// The system's, where nothing else is said.
const SENDMAIL: &str = "/usr/sbin/sendmail";
/// Names another; for those who put farthing in the place of the first.
const SENDMAIL_VARIABLE: &str = "FARTHING_SENDMAIL";
/// Waiting for each answer of the SMTP server.
const SMTP_PATIENCE: Duration = Duration::from_secs(60);

/// Who takes the copies.
pub enum Taker {
    /// A program like sendmail(1), with the flags that go before the recipients.
    Program(PathBuf, Vec<String>),
    /// A mail server, as host and port, and the envelope sender.
    Smtp(Box<Server>, Option<SmtpAddress>),
}

/// A mail server.
pub struct Server {
    /// HOST:PORT, as it was named.
    place: String,
    transport: SmtpTransport,
}

impl Taker {
    /// The one that the command line names.
    ///
    /// # Errors
    /// [`Exit::Usage`] when the URL is none; [`Exit::Config`] when farthing itself would take the letter again.
    pub fn new(request: &Request, author: Option<&str>) -> Result<Self, Failure> {
        if let Some(url) = &request.smtp {
            return smtp(url, request.from.as_deref().or(author));
        }
        let variable = std::env::var_os(SENDMAIL_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = request.sendmail.clone().or(variable).unwrap_or_else(|| SENDMAIL.into());
        let same = |path: &Path| {
            Some((path.canonicalize().ok()?, std::env::current_exe().ok()?.canonicalize().ok()?))
        };
        if same(&path).is_some_and(|(path, ours)| path == ours) {
            let text = format!(
                "{} is farthing itself; name the system's own with {SENDMAIL_VARIABLE}",
                path.display()
            );
            return Err(Failure::new(Exit::Config, text));
        }
        let mut flags = vec!["-i".to_owned()];
        flags.extend(request.handed_on.iter().cloned());
        if let Some(name) = &request.full_name {
            flags.extend(["-F".to_owned(), name.clone()]);
        }
        if let Some(from) = &request.from {
            flags.extend(["-f".to_owned(), from.clone()]);
        }
        Ok(Self::Program(path, flags))
    }

    /// Hands one copy on. What stderr the program writes is the caller's to see.
    ///
    /// # Errors
    /// [`Failure`] with the program's own exit code, or one for the server's answer.
    pub fn take(&self, recipients: &[Recipient], letter: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Program(path, flags) => by_program(path, flags, recipients, letter),
            Self::Smtp(server, from) => by_smtp(server, from.clone(), recipients, letter),
        }
    }
}

fn by_program(path: &Path, flags: &[String], recipients: &[Recipient], letter: &[u8]) -> Result<(), Failure> {
    let fault = |e: std::io::Error| Failure::new(Exit::Unavailable, format!("{}: {e}", path.display()));
    let mut child = Command::new(path)
        .args(flags)
        .arg("--")
        .args(recipients.iter().map(|recipient| &recipient.text))
        .stdin(Stdio::piped())
        .spawn()
        .map_err(fault)?;
    // A program that does not read to the end says why by its exit code.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(letter));
    let status = child.wait().map_err(fault)?;
    if status.success() {
        return Ok(());
    }
    let text = format!("{} did not take the letter ({status})", path.display());
    Err(Failure::new(meant(status.code()), text))
}

/// What the caller is to make of a program's exit code: sysexits(3) pass through, any other says only that it failed.
fn meant(code: Option<i32>) -> Exit {
    use Exit::{Config, Data, Io, NoHost, NoPermission, NoUser, Software, TempFail, Unavailable, Usage};
    let all = [Usage, Data, NoUser, NoHost, Unavailable, Software, Io, TempFail, NoPermission, Config];
    all.into_iter().find(|exit| code == Some(*exit as i32)).unwrap_or(Unavailable)
}

fn smtp(url: &str, from: Option<&str>) -> Result<Taker, Failure> {
    let usage = || {
        let url = shown(url.as_bytes());
        Failure::new(
            Exit::Usage,
            format!("--smtp: `{url}` is not smtp://HOST:PORT, like smtp://127.0.0.1:25"),
        )
    };
    let place = url.strip_prefix("smtp://").ok_or_else(usage)?.trim_end_matches('/');
    let (host, port) = place.rsplit_once(':').ok_or_else(usage)?;
    let port = port.parse().map_err(|_| usage())?;
    let from = from.filter(|from| !matches!(*from, "" | "<>")).map(str::parse).transpose().map_err(|e| {
        Failure::new(Exit::Data, format!("the sender's address cannot be used with --smtp: {e}"))
    })?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let transport = SmtpTransport::builder_dangerous(host).port(port).timeout(Some(SMTP_PATIENCE)).build();
    Ok(Taker::Smtp(Box::new(Server { place: place.to_owned(), transport }), from))
}

fn by_smtp(
    server: &Server,
    from: Option<SmtpAddress>,
    recipients: &[Recipient],
    letter: &[u8],
) -> Result<(), Failure> {
    let to = recipients.iter().map(|recipient| {
        recipient.text.parse::<SmtpAddress>().map_err(|_| {
            let text = shown(recipient.text.as_bytes());
            Failure::new(Exit::Data, format!("`{text}` is no address that can be used with --smtp"))
        })
    });
    let envelope =
        Envelope::new(from, to.collect::<Result<_, _>>()?).map_err(|e| Failure::new(Exit::Data, e))?;
    // The transport ends the last line, also one that has an end.
    let letter = with_crlf(letter);
    let sent = server.transport.send_raw(&envelope, letter.strip_suffix(b"\r\n").unwrap_or(&letter));
    sent.map(drop).map_err(|error| {
        let exit = if error.is_permanent() { Exit::Unavailable } else { Exit::TempFail };
        Failure::new(
            exit,
            format!("the mail server {} did not take the letter: {error}", shown(server.place.as_bytes())),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_sendmail_pass_through() {
        for (code, exit) in [
            (Some(67), Exit::NoUser),
            (Some(75), Exit::TempFail),
            (Some(78), Exit::Config),
            (Some(1), Exit::Unavailable),
            (Some(127), Exit::Unavailable),
            (None, Exit::Unavailable),
        ] {
            assert_eq!(meant(code), exit, "{code:?}");
        }
    }

    #[test]
    fn a_server_that_is_down_is_named() {
        // Bound and let go: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let request = Request { smtp: Some(format!("smtp://127.0.0.1:{port}/")), ..Request::default() };
        let taker = Taker::new(&request, Some("alice@a.example")).unwrap();
        let Taker::Smtp(server, from) = taker else { panic!("a server was named") };
        assert_eq!(server.place, format!("127.0.0.1:{port}"));
        let bob = Recipient { text: "bob@b.example".into(), address: None };
        let failure = by_smtp(&server, from, &[bob], b"Subject: x\n\nx\n").unwrap_err();
        assert_eq!(failure.exit, Exit::TempFail);
        assert!(failure.message.contains(&format!("127.0.0.1:{port} did not take")), "{}", failure.message);
    }

    #[test]
    fn a_server_is_named_by_url() {
        for bad in
            ["127.0.0.1:25", "smtp://mail.example", "smtp://mail.example:port", "smtps://mail.example:465"]
        {
            let request = Request { smtp: Some(bad.into()), ..Request::default() };
            assert_eq!(Taker::new(&request, None).err().unwrap().exit, Exit::Usage, "{bad}");
        }
        let request = Request { smtp: Some("smtp://[::1]:2525/".into()), ..Request::default() };
        assert!(matches!(Taker::new(&request, Some("alice@a.example")).unwrap(), Taker::Smtp(_, Some(_))));
    }
}
