//! The flags of sendmail(1), as programs give them. Pure.
//!
//! What only a mail server can do (`-bs`, `-bp`, `-q`, …) is refused with a word; what merely tunes one is handed on.

use std::path::PathBuf;

/// Flags with a value that the system's sendmail gets as they are.
const HANDED_ON_WITH_VALUE: &str = "ABCLNORVXehop";
/// Flags without one.
const HANDED_ON: &str = "GUcmnvx";
/// What `-b` may be followed by, and what it means.
const MODES: [(&str, &str); 7] = [
    ("s", "speaking SMTP on standard input"),
    ("p", "listing the queue"),
    ("i", "making the aliases"),
    ("d", "running as a daemon"),
    ("D", "running as a daemon"),
    ("v", "verifying addresses"),
    ("t", "testing addresses"),
];

/// What a program asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `-t`: the letter's own fields name recipients.
    pub by_fields: bool,
    /// `-i`: a line with a single dot does not end the letter.
    pub dots_are_text: bool,
    /// `-f`: the envelope sender; empty for the null one.
    pub from: Option<String>,
    /// `-F`: the author's name, for a letter without From.
    pub full_name: Option<String>,
    /// Recipients as given.
    pub recipients: Vec<String>,
    /// Flags for the system's sendmail.
    pub handed_on: Vec<String>,
    /// `--smtp URL` instead of the system's sendmail.
    pub smtp: Option<String>,
    /// `--sendmail PATH`
    pub sendmail: Option<PathBuf>,
    /// `--wallet FILE`
    pub wallet: Option<PathBuf>,
    /// `--office URL`: who sells the stamps that are missing.
    pub office: Option<String>,
}

/// Reads the words after `sendmail`.
///
/// # Errors
/// What is wrong with them, for a usage error.
pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let mut request = Request::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            request.recipients.extend(words.by_ref());
        } else if let Some(long) = word.strip_prefix("--") {
            request.long(long, &mut words)?;
        } else if let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
            request.cluster(cluster, &mut words)?;
        } else {
            request.recipients.push(word);
        }
    }
    Ok(request)
}

impl Request {
    fn long(&mut self, word: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, words.next()),
        };
        let value = value.ok_or_else(|| format!("--{name} lacks its value"))?;
        match name {
            "smtp" => self.smtp = Some(value),
            "sendmail" => self.sendmail = Some(value.into()),
            "wallet" => self.wallet = Some(value.into()),
            "office" => self.office = Some(value),
            _ => return Err(format!("--{name} is no option of sendmail; see farthing sendmail --help")),
        }
        if self.smtp.is_some() && self.sendmail.is_some() {
            return Err("--smtp and --sendmail exclude each other".into());
        }
        Ok(())
    }

    /// Flags behind one dash: `-ti`, `-oi`, `-falice@a.example`.
    fn cluster(&mut self, cluster: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let mut rest = cluster.chars();
        while let Some(flag) = rest.next() {
            let joined = rest.as_str();
            let mut value = || match joined {
                "" => words.next().ok_or_else(|| format!("-{flag} lacks its value")),
                joined => Ok(joined.to_owned()),
            };
            match flag {
                't' => self.by_fields = true,
                'i' => self.dots_are_text = true,
                'f' | 'r' => self.from = Some(value()?),
                'F' => self.full_name = Some(value()?),
                'b' => return mode(&value()?),
                // Also as `-oitrue`, and as two words.
                'o' if joined.starts_with('i') => self.dots_are_text = true,
                'q' => return Err(refused("-q", "running the queue")),
                'I' => return Err(refused("-I", "making the aliases")),
                _ if HANDED_ON.contains(flag) => self.handed_on.push(format!("-{flag}")),
                'o' => match value()? {
                    value if value.starts_with('i') => self.dots_are_text = true,
                    value => self.handed_on.push(format!("-o{value}")),
                },
                _ if HANDED_ON_WITH_VALUE.contains(flag) => {
                    self.handed_on.push(format!("-{flag}{}", value()?))
                }
                _ => return Err(format!("-{flag} is no flag of sendmail that farthing knows")),
            }
            if "frFbo".contains(flag) || HANDED_ON_WITH_VALUE.contains(flag) {
                break;
            }
        }
        Ok(())
    }
}

fn mode(mode: &str) -> Result<(), String> {
    if mode == "m" {
        return Ok(());
    }
    let what = MODES.iter().find(|(letter, _)| *letter == mode).map_or("that mode", |(_, what)| what);
    Err(refused(&format!("-b{mode}"), what))
}

fn refused(flag: &str, what: &str) -> String {
    format!("{flag} ({what}) is the mail server's; call its own sendmail for that")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(ToOwned::to_owned))
    }

    #[test]
    fn as_programs_call_it() {
        let request = |line: &str| read(line).unwrap();
        // mutt, git send-email, PHP, cron, mailx, Emacs.
        let mutt = request("-oem -oi -f alice@a.example -- bob@b.example carol@c.example");
        assert!(mutt.dots_are_text && !mutt.by_fields);
        assert_eq!(
            (mutt.from.as_deref(), mutt.handed_on),
            (Some("alice@a.example"), vec!["-oem".to_owned()])
        );
        assert_eq!(mutt.recipients, ["bob@b.example", "carol@c.example"]);
        let git = request("-f alice@a.example -i bob@b.example");
        assert!(git.dots_are_text && git.recipients == ["bob@b.example"]);
        let php = request("-t -i");
        assert!(php.by_fields && php.dots_are_text);
        let cron = request("-FCronDaemon -i -B8BITMIME -oem root");
        assert_eq!(
            (cron.full_name.as_deref(), cron.recipients),
            (Some("CronDaemon"), vec!["root".to_owned()])
        );
        assert_eq!(cron.handed_on, ["-B8BITMIME", "-oem"]);
        let joined = request("-ti -falice@a.example -bm");
        assert!(
            joined.by_fields && joined.dots_are_text && joined.from.as_deref() == Some("alice@a.example")
        );
        assert_eq!(
            parse(["-f".to_owned(), String::new()]).unwrap().from.as_deref(),
            Some(""),
            "the null sender"
        );
        assert_eq!(request("-odi -N failure,delay -v x").handed_on, ["-odi", "-Nfailure,delay", "-v"]);
        let cronie = request("-FCronDaemon -odi -oem -oi -t -f root");
        assert!(cronie.by_fields && cronie.dots_are_text && cronie.from.as_deref() == Some("root"));
        let old = request("-FCronDaemon -odi -oem -or0s root");
        assert_eq!(
            (old.handed_on.join(" "), old.recipients.join(" ")),
            ("-odi -oem -or0s".into(), "root".into())
        );
        for dots in ["-i", "-oi", "-o i", "-oitrue", "-vi", "-em -oi"] {
            assert!(request(dots).dots_are_text, "{dots}");
        }
        let tuned = request("-Am -p ESMTP -O DeliveryMode=b -R hdrs -V id-1 -h 3 x");
        assert_eq!(tuned.handed_on, ["-Am", "-pESMTP", "-ODeliveryMode=b", "-Rhdrs", "-Vid-1", "-h3"]);
        assert_eq!(tuned.recipients, ["x"]);
        let own = request("--smtp=smtp://127.0.0.1:25 --wallet w --office http://x/ -t");
        assert_eq!((own.smtp.as_deref(), own.wallet), (Some("smtp://127.0.0.1:25"), Some("w".into())));
        assert_eq!(request("- x").recipients, ["-", "x"]);
    }

    #[test]
    fn what_only_a_mail_server_does_is_refused() {
        for (line, said) in [
            ("-bs", "-bs (speaking SMTP on standard input) is the mail server's"),
            ("-t -bp", "-bp (listing the queue)"),
            ("-bz", "-bz (that mode)"),
            ("-q30m", "-q (running the queue)"),
            ("-I", "making the aliases"),
            ("-f", "-f lacks its value"),
            ("--smtp", "--smtp lacks its value"),
            ("--smtp a --sendmail b", "exclude each other"),
            ("--quick x", "--quick is no option"),
            ("-Z", "-Z is no flag"),
        ] {
            assert!(read(line).unwrap_err().contains(said), "{line}: {:?}", read(line));
        }
    }
}
