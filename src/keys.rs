//! The keys of a site, as files: the office's signing keys and the token keys.
//!
//! One directory, one key a file, mode 0600: a file that others could read is refused, never used. The
//! names say it all: `SELECTOR.office` signs and is checked, `SELECTOR.retired` is only checked, `NAME.token`
//! makes and checks tokens and freepost codes (the newest name makes). A file holds 32 bytes in base64url.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use crate::{
    clock,
    stamp::{PublicKey, SecretKey, Selector, tokens::TokenKey},
};

/// Octets a key file may have; a longer one is something else.
const FILE_OCTETS_MAX: u64 = 200;
/// Keys in one directory; more is a sign of a wrong directory.
const FILES_MAX: usize = 1_000;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or writing failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others may read the file.
    #[error("{} can be read by others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its name or its content is not a key's.
    #[error("{} is not a key file: {what}", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// No active key has that selector.
    #[error("there is no active key `{0}`; `farthing key list` shows them")]
    NoSuchKey(String),
    /// The last active key cannot be retired.
    #[error("`{0}` is the only active key: make another first with `farthing key new`")]
    LastKey(String),
}

/// Whether a key of the office still signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It signs and is checked.
    Active,
    /// It is only checked, until its last stamp has expired.
    Retired,
}

/// One key of the office.
pub struct OfficeKey {
    /// Its selector in stamps and DNS.
    pub selector: Selector,
    /// Whether it signs.
    pub state: KeyState,
    /// The key.
    pub secret: SecretKey,
    /// Its public half, ready to verify with.
    pub public: PublicKey,
}

/// All keys of a site.
#[derive(Default)]
pub struct Keys {
    /// Office keys, in the order of their selectors.
    pub office: Vec<OfficeKey>,
    /// Token keys, oldest name first; the last makes.
    pub tokens: Vec<TokenKey>,
}

impl Keys {
    /// Reads every key of a directory. One that does not exist holds none.
    ///
    /// # Errors
    /// [`KeyError`] at the first file that cannot be used.
    pub fn load(directory: &Path) -> Result<Self, KeyError> {
        let mut keys = Self::default();
        for path in files(directory)? {
            let Some((name, kind)) = name_and_kind(&path) else { continue };
            let seed = read(&path)?;
            if kind == "token" {
                keys.tokens.push(TokenKey::new(*seed));
                continue;
            }
            let selector: Selector = name
                .parse()
                .map_err(|_| KeyError::NotAKey { path: path.clone(), what: "its name is not a selector" })?;
            let secret = SecretKey::from_seed(&seed);
            let public = secret.public();
            let state = if kind == "office" { KeyState::Active } else { KeyState::Retired };
            keys.office.push(OfficeKey { selector, state, secret, public });
        }
        Ok(keys)
    }

    /// The key that signs: of the active ones, the last by selector.
    #[must_use]
    pub fn signing(&self) -> Option<&OfficeKey> {
        self.office.iter().rfind(|key| key.state == KeyState::Active)
    }

    /// The office's key of that selector, active or retired.
    #[must_use]
    pub fn of(&self, selector: &Selector) -> Option<&OfficeKey> {
        self.office.iter().find(|key| key.selector == *selector)
    }
}

/// Makes what a first start needs and is not there: an office key (where there is an office) and a token key.
///
/// # Errors
/// [`KeyError`] when the directory or a file cannot be written or read.
pub fn ensure(directory: &Path, office: bool, now: u64) -> Result<Keys, KeyError> {
    let keys = Keys::load(directory)?;
    let mut made = false;
    if office && keys.signing().is_none() {
        new_office_key(directory, now)?;
        made = true;
    }
    if keys.tokens.is_empty() {
        new_token_key(directory, now)?;
        made = true;
    }
    if made { Keys::load(directory) } else { Ok(keys) }
}

/// Makes an office key named by the day; returns its selector.
///
/// # Errors
/// [`KeyError::Io`] when it cannot be written.
pub fn new_office_key(directory: &Path, now: u64) -> Result<String, KeyError> {
    new_key(directory, "office", now)
}

/// Makes a token key named by the day; returns its name.
///
/// # Errors
/// [`KeyError::Io`] when it cannot be written.
pub fn new_token_key(directory: &Path, now: u64) -> Result<String, KeyError> {
    new_key(directory, "token", now)
}

/// Retires an active office key: it signs no more and is checked as before.
///
/// # Errors
/// [`KeyError::NoSuchKey`], [`KeyError::LastKey`], or what the system said.
pub fn retire(directory: &Path, selector: &str) -> Result<(), KeyError> {
    let keys = Keys::load(directory)?;
    let active: Vec<&OfficeKey> = keys.office.iter().filter(|key| key.state == KeyState::Active).collect();
    if !active.iter().any(|key| key.selector.as_str() == selector) {
        return Err(KeyError::NoSuchKey(crate::address::shown(selector.as_bytes())));
    }
    if active.len() == 1 {
        return Err(KeyError::LastKey(selector.to_owned()));
    }
    let from = directory.join(format!("{selector}.office"));
    let to = directory.join(format!("{selector}.retired"));
    fs::rename(&from, &to).map_err(|error| KeyError::Io { path: from, error })?;
    sync(directory)
}

fn new_key(directory: &Path, kind: &str, now: u64) -> Result<String, KeyError> {
    fs::DirBuilder::new()
        .recursive(true)
        .create(directory)
        .map_err(|error| KeyError::Io { path: directory.to_path_buf(), error })?;
    let taken: Vec<String> =
        files(directory)?.iter().filter_map(|p| name_and_kind(p)).map(|(name, _)| name).collect();
    let day = clock::utc(now, "%Y%m%d");
    // A second key of the same day gets a letter, so that the newest sorts last.
    let name = std::iter::once(day.clone())
        .chain((b'b'..=b'z').map(|letter| format!("{day}{}", char::from(letter))))
        .find(|name| !taken.contains(name))
        .ok_or_else(|| KeyError::NotAKey {
            path: directory.to_path_buf(),
            what: "it holds too many keys of today",
        })?;
    let mut seed = Zeroizing::new([0; 32]);
    let path = directory.join(format!("{name}.{kind}"));
    getrandom::fill(seed.as_mut())
        .map_err(|e| KeyError::Io { path: path.clone(), error: io::Error::other(e) })?;
    write(&path, &seed).map_err(|error| KeyError::Io { path: path.clone(), error })?;
    sync(directory)?;
    Ok(name)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let fault = |error| KeyError::Io { path: directory.to_path_buf(), error };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(fault(e)),
    };
    let mut paths =
        entries.take(FILES_MAX).map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    paths.sort();
    Ok(paths)
}

/// The name and kind of a key file; `None` for files that are none of ours.
fn name_and_kind(path: &Path) -> Option<(String, String)> {
    let (name, kind) = path.file_name()?.to_str()?.rsplit_once('.')?;
    matches!(kind, "office" | "retired" | "token").then(|| (name.to_owned(), kind.to_owned()))
}

/// Reads a file that nobody else can read, or refuses it; beyond so many octets it is cut.
///
/// # Errors
/// [`KeyError::Readable`], or what the system said.
pub fn read_private(path: &Path, octets_max: u64) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let fault = |error| KeyError::Io { path: path.to_path_buf(), error };
    let file = fs::File::open(path).map_err(fault)?;
    let mode = file.metadata().map_err(fault)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Readable { path: path.to_path_buf(), mode });
    }
    // A buffer that never grows: what a growing one leaves behind is not wiped.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(octets_max).unwrap_or_default()));
    file.take(octets_max).read_to_end(&mut text).map_err(fault)?;
    Ok(text)
}

fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let text = read_private(path, FILE_OCTETS_MAX)?;
    let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(text.trim_ascii()).unwrap_or_default());
    let seed: [u8; 32] = bytes.as_slice().try_into().map_err(|_| KeyError::NotAKey {
        path: path.to_path_buf(),
        what: "it does not hold 32 bytes in base64url",
    })?;
    Ok(Zeroizing::new(seed))
}

fn write(path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let mut text = Zeroizing::new(BASE64URL_NOPAD.encode(seed));
    text.push('\n');
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes a new name in a directory durable.
fn sync(directory: &Path) -> Result<(), KeyError> {
    fs::File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(|error| KeyError::Io { path: directory.to_path_buf(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_795_262_400; // 2026-11-21 12:00 UTC

    #[test]
    fn a_first_start_makes_its_keys_and_a_second_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("keys");
        let first = ensure(&at, true, NOON).unwrap();
        let second = ensure(&at, true, NOON + 86_400).unwrap();
        assert_eq!(first.signing().unwrap().selector, second.signing().unwrap().selector);
        assert_eq!(first.signing().unwrap().public.to_bytes(), second.signing().unwrap().public.to_bytes());
        assert_eq!(second.tokens.len(), 1);
        for file in files(&at).unwrap() {
            assert_eq!(
                fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                file.display()
            );
        }
    }

    #[test]
    fn the_newest_active_key_signs_and_a_retired_one_is_still_known() {
        let dir = tempfile::tempdir().unwrap();
        let old = new_office_key(dir.path(), NOON).unwrap();
        let new = new_office_key(dir.path(), NOON).unwrap();
        assert_eq!(new, format!("{old}b"));
        assert_eq!(Keys::load(dir.path()).unwrap().signing().unwrap().selector.as_str(), new);
        retire(dir.path(), &new).unwrap();
        let keys = Keys::load(dir.path()).unwrap();
        assert_eq!(keys.signing().unwrap().selector.as_str(), old);
        assert_eq!(keys.of(&new.parse().unwrap()).unwrap().state, KeyState::Retired);
        assert!(matches!(retire(dir.path(), &old), Err(KeyError::LastKey(_))));
        assert!(matches!(retire(dir.path(), "nosuch"), Err(KeyError::NoSuchKey(_))));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_line_to_type() {
        let dir = tempfile::tempdir().unwrap();
        let name = new_office_key(dir.path(), NOON).unwrap();
        let path = dir.path().join(format!("{name}.office"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Keys::load(dir.path()).err().unwrap().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_not_a_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("README"), "left alone").unwrap();
        assert!(Keys::load(dir.path()).unwrap().office.is_empty());
        let path = dir.path().join("s1.office");
        write(&path, &[7; 32]).unwrap();
        fs::write(&path, "not base64!").unwrap();
        let error = Keys::load(dir.path()).err().unwrap().to_string();
        assert!(error.contains("s1.office is not a key file"), "{error}");
    }
}
