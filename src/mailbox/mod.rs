//! Old mail as it lies on disk: Maildirs, mboxes, single letters.
//!
//! Nothing is changed or locked. Symbolic links are followed to a path that was given and no further: the mail of many is
//! read by one who may read all of it, and a link in somebody's Maildir could lead into another's. Only files are waited for. One message is in memory at a time, and of
//! what is listed only one directory at a time; a message longer than [`MESSAGE_OCTETS_MAX`] and a file that cannot be read are
//! reported as unread, and the reading goes on.

pub mod folder;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom},
    marker::PhantomData,
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno};

use crate::warm::vcard::is_vcard;

pub use folder::{Purpose, purpose};

/// Octets of one message that is read; mail servers take less by default (Postfix: 10 MB), archives may hold more.
pub const MESSAGE_OCTETS_MAX: usize = 64 * 1024 * 1024;
/// Directories within directories that are gone into; the Maildirs of people have fewer than ten.
pub const DEPTH_MAX: usize = 32;
/// Octets from the beginning of a file by which it is told what it is.
const GLANCE_OCTETS: usize = 4096;
/// Octets read at a time.
const BUFFER_OCTETS: usize = 128 * 1024;
/// Names of files beside mail that hold none, by their beginnings: those of Dovecot, Courier and mutt.
const NOT_MAIL: &[&str] = &["dovecot", "courier", "maildir", "subscriptions", ".", "sieve"];

/// Where systems put the mail of each user in an mbox of his name.
const SPOOLS: &[&str] = &["/var/mail", "/var/spool/mail"];

/// What is found, in the order in which it lies there.
#[derive(Debug)]
pub enum Item<'a> {
    /// A message.
    Message {
        /// Where it lies.
        place: Place<'a>,
        /// The message; of an mbox without its `From ` line.
        octets: &'a [u8],
    },
    /// An address book: a file of vCards.
    Cards {
        /// Where it lies.
        place: Place<'a>,
        /// The whole file.
        octets: &'a [u8],
    },
    /// Something that is no message or could not be read as one.
    Unread {
        /// Where it lies.
        place: Place<'a>,
        /// What is the matter.
        why: String,
    },
}

/// Where a message lies.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub file: &'a Path,
    /// The number of the message in an mbox, from 1; 0 for a file of its own.
    pub number: u64,
    /// The folder's name: `Inbox` for the top of a Maildir, `Lists/Users` for `.Lists.Users`.
    pub folder: &'a str,
    /// Octets of the file up to the end of the message.
    pub end: u64,
}

/// How much of a file was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing: it is read.
    Nothing,
    /// All of it, or it is not wanted: it is not opened.
    All,
    /// Of an mbox so many octets with so many messages; it is read from there on, if a message begins there.
    To {
        /// Octets.
        octets: u64,
        /// Messages.
        messages: u64,
    },
}

/// Who is told of what is found.
pub trait Visitor<B> {
    /// How much of a file of this folder and length is to be passed over.
    fn done(&mut self, file: &Path, folder: &str, octets: u64) -> Done {
        let _ = (file, folder, octets);
        Done::Nothing
    }

    /// The next that was found; may break off.
    fn item(&mut self, item: Item<'_>) -> ControlFlow<B>;
}

/// Is told of everything.
struct Each<F>(F);

impl<B, F: FnMut(Item<'_>) -> ControlFlow<B>> Visitor<B> for Each<F> {
    fn item(&mut self, item: Item<'_>) -> ControlFlow<B> {
        (self.0)(item)
    }
}

/// Adds up how long the files are, and opens none of a Maildir.
#[derive(Default)]
struct Measure(u64);

impl Visitor<std::convert::Infallible> for Measure {
    fn done(&mut self, _file: &Path, _folder: &str, octets: u64) -> Done {
        self.0 = self.0.saturating_add(octets);
        Done::All
    }

    fn item(&mut self, _item: Item<'_>) -> ControlFlow<std::convert::Infallible> {
        ControlFlow::Continue(())
    }
}

/// Octets of all the files that [`read`] would read.
#[must_use]
pub fn measure(paths: &[PathBuf]) -> u64 {
    let mut measure = Measure::default();
    let ControlFlow::Continue(()) = visit(paths, &mut measure);
    measure.0
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", crate::address::shown(self.file.as_os_str().as_encoded_bytes()))?;
        if self.number > 0 { write!(f, " message {}", self.number) } else { Ok(()) }
    }
}

/// Reads everything below these paths: Maildirs with their folders, mboxes, single messages, and directories of any of
/// them. `each` is told of every message and may break off.
pub fn read<B>(paths: &[PathBuf], each: impl FnMut(Item<'_>) -> ControlFlow<B>) -> ControlFlow<B> {
    visit(paths, &mut Each(each))
}

/// [`read`] for one who says what need not be read.
pub fn visit<B>(paths: &[PathBuf], visitor: &mut impl Visitor<B>) -> ControlFlow<B> {
    let mut reader = Reader { visitor, buffer: Vec::new(), broken_off: PhantomData };
    for path in paths {
        reader.path(path, &Top { path, home: None }, 0)?;
    }
    ControlFlow::Continue(())
}

/// What folders are named by.
#[derive(Clone, Copy)]
struct Top<'a> {
    /// The path that was given.
    path: &'a Path,
    /// The uppermost directory of somebody's mail that we are in: folders are called by what stands below it.
    home: Option<&'a Path>,
}

struct Reader<'r, V, B> {
    visitor: &'r mut V,
    /// Of the message in hand; kept, so that it need not grow anew.
    buffer: Vec<u8>,
    broken_off: PhantomData<B>,
}

impl<B, V: Visitor<B>> Reader<'_, V, B> {
    fn path(&mut self, path: &Path, top: &Top<'_>, depth: usize) -> ControlFlow<B> {
        match fs::metadata(path) {
            Err(error) => self.unread(path, "", error),
            Ok(about) if about.is_dir() => self.directory(path, top, depth),
            Ok(about) if about.is_file() => self.file(path, top, about.len()),
            Ok(_) => self.unread(path, "", "neither a file nor a directory"),
        }
    }

    fn directory(&mut self, path: &Path, top: &Top<'_>, depth: usize) -> ControlFlow<B> {
        if depth > DEPTH_MAX {
            return self.unread(path, "", "too deep");
        }
        let is_maildir = is_maildir(path);
        let home = top.home.or_else(|| (is_maildir || holds_folders(path)).then_some(path));
        let top = &Top { path: top.path, home };
        if is_maildir {
            let folder = folder_of_maildir(path, top);
            for part in ["cur", "new"] {
                for file in match sorted(&path.join(part)) {
                    Ok(entries) => entries,
                    Err(error) => {
                        self.unread(&path.join(part), &folder, error)?;
                        continue;
                    }
                } {
                    let hidden =
                        file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                    if !hidden {
                        self.message_file(&file, &folder)?;
                    }
                }
            }
        }
        let entries = match sorted(path) {
            Ok(entries) => entries,
            Err(error) => return self.unread(path, "", error),
        };
        for entry in entries {
            let name = entry.file_name().unwrap_or_default();
            let link = fs::symlink_metadata(&entry).is_ok_and(|about| about.is_symlink());
            if entry.is_dir() {
                let part = is_maildir && ["cur", "new", "tmp"].iter().any(|own| name == *own);
                if !part && !link {
                    self.directory(&entry, top, depth + 1)?;
                }
            } else if !is_maildir && !is_not_mail(name) {
                self.path(&entry, top, depth + 1)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// A file outside a Maildir: a single message or an mbox.
    fn file(&mut self, path: &Path, top: &Top<'_>, octets: u64) -> ControlFlow<B> {
        let mut file = match open(path, path == top.path) {
            Ok(file) => BufReader::with_capacity(BUFFER_OCTETS, file),
            Err(error) => return self.unread(path, "", error),
        };
        let is_mbox = match file.fill_buf() {
            Err(error) => return self.unread(path, "", error),
            Ok(start) => start.starts_with(b"From "),
        };
        let folder = if is_mbox { folder_of_mbox(path, top) } else { folder_of_letter(path, top) };
        match self.visitor.done(path, &folder, octets) {
            Done::All => ControlFlow::Continue(()),
            _ if !is_mbox => self.message(path, &folder, file),
            Done::Nothing => self.mbox(path, &folder, file, 0, 0),
            Done::To { octets, messages } => match begins_at(&mut file, octets) {
                Ok(true) => self.mbox(path, &folder, file, octets, messages),
                Ok(false) => self.mbox(path, &folder, file, 0, 0),
                Err(error) => self.unread(path, &folder, error),
            },
        }
    }

    fn message_file(&mut self, path: &Path, folder: &str) -> ControlFlow<B> {
        match fs::metadata(path) {
            Ok(about) if about.is_file() => {
                if self.visitor.done(path, folder, about.len()) == Done::All {
                    return ControlFlow::Continue(());
                }
                match open(path, false) {
                    Ok(file) => self.message(path, folder, file),
                    Err(error) => self.unread(path, folder, error),
                }
            }
            Ok(_) => self.unread(path, folder, "not a file"),
            Err(error) => self.unread(path, folder, error),
        }
    }

    fn message(&mut self, path: &Path, folder: &str, file: impl io::Read) -> ControlFlow<B> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let read = file.take(MESSAGE_OCTETS_MAX as u64 + 1).read_to_end(&mut buffer);
        let place = Place { file: path, number: 0, folder, end: buffer.len() as u64 };
        let item = match read {
            Err(error) => Item::Unread { place, why: error.to_string() },
            Ok(_) if buffer.len() > MESSAGE_OCTETS_MAX => Item::Unread { place, why: too_long() },
            Ok(_) if is_vcard(&buffer) => Item::Cards { place, octets: &buffer },
            Ok(_) => match looks_like_mail(&buffer) {
                Ok(()) => Item::Message { place, octets: &buffer },
                Err(why) => Item::Unread { place, why: why.to_owned() },
            },
        };
        let flow = self.visitor.item(item);
        self.buffer = buffer;
        flow
    }

    /// A line `From ` at the top or after an empty line begins a message; `>From ` in it was `From ` (mboxo, mboxrd).
    /// `file` stands at `at`, behind `number` messages.
    fn mbox(
        &mut self,
        path: &Path,
        folder: &str,
        mut file: impl BufRead,
        mut at: u64,
        mut number: u64,
    ) -> ControlFlow<B> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let (mut in_hand, mut too_much, mut after_empty) = (false, false, true);
        let mut line = Vec::new();
        let flow = loop {
            line.clear();
            // A line without end is taken in pieces.
            let read = (&mut file).take(BUFFER_OCTETS as u64).read_until(b'\n', &mut line);
            let ended = match &read {
                Err(error) => Some(error.to_string()),
                Ok(0) => Some(String::new()),
                Ok(_) => None,
            };
            let begins = after_empty && (!in_hand || is_from_line(&line));
            if (begins || ended.is_some()) && in_hand {
                let place = Place { file: path, number, folder, end: at };
                let flow = self.mbox_message(place, &buffer, too_much);
                if flow.is_break() {
                    break flow;
                }
            }
            if let Some(error) = ended {
                break if error.is_empty() { flow_on() } else { self.unread(path, folder, error) };
            }
            at += line.len() as u64;
            if begins {
                number += 1;
                (in_hand, too_much, after_empty) = (true, false, false);
                buffer.clear();
                continue;
            }
            after_empty = matches!(line.as_slice(), b"\n" | b"\r\n");
            let content = unquoted(&line);
            too_much |= buffer.len() + content.len() > MESSAGE_OCTETS_MAX;
            if !too_much {
                buffer.extend_from_slice(content);
            }
        };
        self.buffer = buffer;
        flow
    }

    fn mbox_message(&mut self, place: Place<'_>, octets: &[u8], too_much: bool) -> ControlFlow<B> {
        // The empty line before the next `From ` is the mbox's, not the message's.
        let octets = octets.strip_suffix(b"\n").map_or(octets, |o| o.strip_suffix(b"\r").unwrap_or(o));
        self.visitor.item(match looks_like_mail(octets) {
            _ if too_much => Item::Unread { place, why: too_long() },
            Err(why) => Item::Unread { place, why: why.to_owned() },
            Ok(()) => Item::Message { place, octets },
        })
    }

    fn unread(&mut self, file: &Path, folder: &str, why: impl ToString) -> ControlFlow<B> {
        let place = Place { file, number: 0, folder, end: 0 };
        self.visitor.item(Item::Unread { place, why: why.to_string() })
    }
}

/// Opens a file for reading, and nothing that only became something else after it was looked at: a pipe would be waited
/// for until somebody writes. A link is followed only where `given`.
fn open(path: &Path, given: bool) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | if given { OFlags::empty() } else { OFlags::NOFOLLOW };
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::other("a symbolic link; name what it leads to, to have it read"),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a file")) }
}

const fn flow_on<B>() -> ControlFlow<B> {
    ControlFlow::Continue(())
}

/// Goes to this octet of an mbox, if its end is there or a message begins there; else to its beginning.
fn begins_at(file: &mut BufReader<File>, octets: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(octets))?;
    let start = file.fill_buf()?;
    let begins = start.is_empty() || start.starts_with(b"From ");
    let length = file.get_ref().metadata()?.len();
    if begins && length >= octets {
        return Ok(true);
    }
    file.rewind()?;
    Ok(false)
}

fn too_long() -> String {
    format!("longer than {} MiB", MESSAGE_OCTETS_MAX / (1024 * 1024))
}

/// Whether a line separates messages: it ends in a date, which a sentence of a letter does not.
fn is_from_line(line: &[u8]) -> bool {
    let is_time =
        |w: &[u8]| matches!(w, [a, b, b':', c, d] if [a, b, c, d].iter().all(|b| b.is_ascii_digit()));
    line.starts_with(b"From ") && line.windows(5).any(is_time)
}

/// One `>` less where quoting put it.
fn unquoted(line: &[u8]) -> &[u8] {
    let marks = line.iter().position(|&b| b != b'>').unwrap_or(0);
    let quoted = marks > 0 && line.get(marks..).is_some_and(|rest| rest.starts_with(b"From "));
    if quoted { line.get(1..).unwrap_or(line) } else { line }
}

/// Whether something can be a message: it begins with a header field, of a name that mail programs make.
fn looks_like_mail(octets: &[u8]) -> Result<(), &'static str> {
    let start = octets.get(..GLANCE_OCTETS.min(octets.len())).unwrap_or_default();
    let usual = |name: &[u8]| name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    let is_mail =
        || crate::message::split_message(start).headers.first().is_some_and(|header| usual(header.name));
    match () {
        () if start.is_empty() => Err("empty"),
        () if !is_mail() => Err("no message: it does not begin with a header field"),
        () => Ok(()),
    }
}

fn is_maildir(path: &Path) -> bool {
    let is_own = |part: &str| fs::symlink_metadata(path.join(part)).is_ok_and(|about| about.is_dir());
    is_own("cur") && is_own("new")
}

fn is_not_mail(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    NOT_MAIL.iter().any(|start| name.starts_with(start.as_bytes())) || name.ends_with(b".msf")
}

/// The entries of a directory in order of their names, which in a Maildir is that of their coming.
fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(directory)?.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    Ok(entries)
}

/// Whether Maildirs in this directory are the folders of one person.
fn holds_folders(path: &Path) -> bool {
    ["INBOX", "Inbox", "inbox", "Sent", "sent"].iter().any(|name| is_maildir(&path.join(name)))
}

/// The folder a Maildir is. Maildir++ writes `.Lists.Users` for `Lists/Users`.
fn folder_of_maildir(path: &Path, top: &Top<'_>) -> String {
    let below = path.strip_prefix(top.home.unwrap_or(path)).unwrap_or(Path::new(""));
    let named = |part: &OsStr| {
        let part = part.to_string_lossy();
        part.strip_prefix('.').map_or(part.to_string(), |inner| inner.replace('.', "/"))
    };
    let parts: Vec<String> = below.components().map(|part| named(part.as_os_str())).collect();
    if !parts.is_empty() {
        return parts.join("/");
    }
    // The top of somebody's mail, or one folder that was given by itself.
    let name = path.file_name().unwrap_or_default();
    let own = named(name);
    let is_folder = name.as_encoded_bytes().starts_with(b".") || purpose(&own) != Purpose::Kept;
    if is_folder && !own.is_empty() { own } else { "Inbox".into() }
}

/// The folder an mbox is: its name, but for those the system delivers to.
fn folder_of_mbox(path: &Path, top: &Top<'_>) -> String {
    if SPOOLS.iter().any(|spool| path.starts_with(spool)) {
        return "Inbox".into();
    }
    folder_of_file(path, top)
}

/// The folder of a letter in a file of its own: the directory it lies in.
fn folder_of_letter(path: &Path, top: &Top<'_>) -> String {
    let directory = path.parent().unwrap_or(path);
    if path == top.path {
        folder_of_file(directory, &Top { path: directory, home: None })
    } else {
        folder_of_file(directory, top)
    }
}

fn folder_of_file(path: &Path, top: &Top<'_>) -> String {
    // Thunderbird keeps the folders within `Lists` in `Lists.sbd`.
    let named = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let below = path.strip_prefix(top.path).unwrap_or(Path::new(""));
    if below.as_os_str().is_empty() {
        return named(path);
    }
    let above = named(top.path);
    // What lies in a directory of junk is junk, whatever it is called.
    let first = (purpose(&above) != Purpose::Kept && !above.is_empty()).then_some(above);
    let parts = below.components().map(|part| named(Path::new(part.as_os_str())));
    first.into_iter().chain(parts).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(path: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let flow: ControlFlow<()> = read(&[path.to_owned()], |item| {
            found.push(match item {
                Item::Message { place, octets } => {
                    format!("{}:{}:{}", place.folder, place.number, String::from_utf8_lossy(octets))
                }
                Item::Cards { place, octets } => format!("{}:cards:{}", place.folder, octets.len()),
                Item::Unread { place, why } => format!("{}:{}!{why}", place.folder, place.number),
            });
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        found
    }

    fn put(path: &Path, octets: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, octets).unwrap();
    }

    #[test]
    fn an_mbox_comes_apart_at_its_from_lines_and_quoted_ones_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("friends.mbox");
        put(
            &path,
            b"From alice Mon Nov  2 09:00:00 2026\nA: 1\n\nHello\n>From me\n>>From you\nFrom us\n\nFrom now on\n\n\
              From bob Mon Nov  2 09:01:00 2026\r\nB: 2\r\n\r\nx\r\n\r\nFrom x 10:00\nnot mail\n\nFrom y 10:01\nC: 3\n\n",
        );
        assert_eq!(
            all(&path),
            [
                "friends:1:A: 1\n\nHello\nFrom me\n>From you\nFrom us\n\nFrom now on\n",
                "friends:2:B: 2\r\n\r\nx\r\n",
                "friends:3!no message: it does not begin with a header field",
                "friends:4:C: 3\n",
            ]
        );
    }

    /// Passes over what was read before, as [`Done`] says.
    struct Later(Done, Vec<String>);

    impl Visitor<()> for Later {
        fn done(&mut self, _file: &Path, _folder: &str, _octets: u64) -> Done {
            self.0
        }

        fn item(&mut self, item: Item<'_>) -> ControlFlow<()> {
            if let Item::Message { place, octets } = item {
                self.1.push(format!("{} to {}: {}", place.number, place.end, octets.len()));
            }
            ControlFlow::Continue(())
        }
    }

    #[test]
    fn an_mbox_is_read_on_from_where_a_message_begins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("friends");
        put(&path, b"From a 10:00\nA: 1\n\n\nFrom b 10:01\nB: 22\n\n\n");
        let octets = fs::metadata(&path).unwrap().len();
        let all = ["1 to 20: 6", "2 to 41: 7"];
        for (done, want) in [
            (Done::Nothing, &all[..]),
            (Done::All, &[]),
            (Done::To { octets: 20, messages: 1 }, &all[1..]),
            (Done::To { octets, messages: 2 }, &[]),
            (Done::To { octets: 19, messages: 1 }, &all),
            (Done::To { octets: octets + 1, messages: 3 }, &all),
        ] {
            let mut later = Later(done, Vec::new());
            assert!(visit(std::slice::from_ref(&path), &mut later).is_continue());
            assert_eq!(later.1, want, "{done:?}");
        }
        assert_eq!(measure(&[directory.path().to_owned()]), octets);
    }

    #[test]
    fn maildirs_are_read_with_their_folders_and_what_lies_beside_mail_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("Maildir");
        for folder in ["", ".Lists.Users", ".Junk", "Nested/Deep"] {
            for part in ["cur", "new", "tmp"] {
                put(&top.join(folder).join(part).join("1"), format!("X: {part}\n\n").as_bytes());
            }
            put(&top.join(folder).join("dovecot-uidlist"), b"3 V1\n");
        }
        put(&top.join("cur/2"), b"");
        put(&top.join("cur/.hidden"), b"X: hidden\n\n");
        put(&top.join("cur/3"), b"\0\xff\x01");
        let want = [
            "Inbox:0:X: cur\n\n",
            "Inbox:0!empty",
            "Inbox:0!no message: it does not begin with a header field",
            "Inbox:0:X: new\n\n",
            "Junk:0:X: cur\n\n",
            "Junk:0:X: new\n\n",
            "Lists/Users:0:X: cur\n\n",
            "Lists/Users:0:X: new\n\n",
            "Nested/Deep:0:X: cur\n\n",
            "Nested/Deep:0:X: new\n\n",
        ];
        assert_eq!(all(&top), want);
        assert_eq!(all(directory.path()), want, "a directory of people's mail");
        assert_eq!(all(&top.join(".Junk"))[0], "Junk:0:X: cur\n\n", "a folder by itself");
    }

    #[test]
    fn single_letters_and_what_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("archive");
        put(&top.join("a.eml"), b"A: 1\n\n");
        put(&top.join("sub/b.eml"), b"B: 1\n\n");
        put(&top.join("c.png"), b"\x89PNG");
        put(&top.join("d.vcf"), b"BEGIN:VCARD\r\n");
        std::os::unix::fs::symlink(&top, top.join("loop")).unwrap();
        assert_eq!(
            all(&top),
            [
                "archive:0:A: 1\n\n",
                "archive:0!no message: it does not begin with a header field",
                "archive:cards:13",
                "sub:0:B: 1\n\n"
            ]
        );
        assert_eq!(all(&top.join("a.eml")), ["archive:0:A: 1\n\n"]);
        let junk = directory.path().join("spam");
        put(&junk.join("1"), b"From a 10:00\nA: 1\n\n");
        put(&junk.join("sub/2.eml"), b"B: 1\n\n");
        put(&junk.join("3.json"), b"{\"a\": 1}\n");
        assert_eq!(
            all(&junk),
            [
                "spam/1:1:A: 1\n",
                "spam:0!no message: it does not begin with a header field",
                "spam/sub:0:B: 1\n\n"
            ]
        );
        assert!(all(&top.join("missing"))[0].contains("No such file"));
    }

    #[test]
    fn links_lead_nowhere_but_to_what_was_named() {
        let directory = tempfile::tempdir().unwrap();
        let (bobs, carols) = (directory.path().join("bob"), directory.path().join("carol"));
        for home in [&bobs, &carols] {
            for part in ["cur", "new"] {
                fs::create_dir_all(home.join(part)).unwrap();
            }
        }
        put(&carols.join("cur/1"), b"X: hers\n\n");
        put(&carols.join("mbox"), b"From a 10:00\nX: hers\n\n");
        let link = |to: &str, at: &str| {
            fs::create_dir_all(bobs.join(at).parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(carols.join(to), bobs.join(at)).unwrap();
        };
        link("cur/1", "cur/1");
        link("cur", ".Stolen/cur");
        link("new", ".Stolen/new");
        link("", ".All");
        let why = "a symbolic link; name what it leads to, to have it read";
        assert_eq!(all(&bobs), [format!("Inbox:0!{why}")]);
        link("mbox", "mail/mbox");
        assert_eq!(all(&bobs.join("mail")), [format!(":0!{why}")]);
        assert_eq!(all(&bobs.join("mail/mbox")), ["mbox:1:X: hers\n"], "that is named");
        assert_eq!(all(&bobs.join(".All")).len(), 1, "likewise");
        let pipe = bobs.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(open(&pipe, true).unwrap_err().to_string(), "not a file", "nobody is waited for");
    }

    #[test]
    fn what_is_too_long_is_not_read_and_what_follows_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("big");
        let mut octets = b"From a 10:00\nA: 1\n\n".to_vec();
        octets.resize(MESSAGE_OCTETS_MAX + 100, b'x');
        octets.extend_from_slice(b"\n\nFrom b 10:01\nB: 1\n\n");
        put(&path, &octets);
        assert_eq!(all(&path), ["big:1!longer than 64 MiB", "big:2:B: 1\n"]);
    }
}
