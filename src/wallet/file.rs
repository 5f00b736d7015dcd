//! The file of a wallet: for its owner alone, one process at a time, and whole after a crash.
//!
//! It is never changed in place: a new file takes its name when it is safe on disk. The lock is on the file that has
//! the name, so the new one is locked before it gets it; who waited for the old one looks again. Nobody keeps that lock
//! while an office is asked; who buys has another one, [`BuyingLock`], so that letters are stamped meanwhile.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

/// Octets of a wallet: a hundred thousand stamps have fifteen million.
const OCTETS_MAX: u64 = 64 * 1_024 * 1_024;
/// How long to wait for another process: a purchase takes seldom more.
const LOCK_TIME: Duration = Duration::from_secs(60);
/// Between two looks whether it has finished.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why a wallet's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("there is no wallet at {}; make one with: farthing wallet new", .0.display())]
    Missing(PathBuf),
    /// There is one already.
    #[error("there is a wallet at {} already; nothing was changed", .0.display())]
    Exists(PathBuf),
    /// Others may read or write it.
    #[error("{} is open to others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it.
    #[error("another farthing has been using {} for {} s; try again when it is done", .0.display(), LOCK_TIME.as_secs())]
    Busy(PathBuf),
    /// Reading or writing failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A wallet's file, locked as long as this lives.
pub struct WalletFile {
    path: PathBuf,
    locked: File,
}

impl WalletFile {
    /// Makes a wallet with this content, and its directory (0700) if that is missing.
    ///
    /// # Errors
    /// [`FileError::Exists`] when there is a file of that name, or what the system said.
    pub fn create(path: &Path, content: &[u8]) -> Result<Self, FileError> {
        let fault = |error| FileError::Io { path: path.to_owned(), error };
        let directory = directory(path);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fault)?;
        // It has the name when it is whole: an empty file of that name would keep the next wallet from being made.
        let mut file =
            tempfile::Builder::new().prefix(".new-wallet.").tempfile_in(directory).map_err(fault)?;
        file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(fault)?;
        lock(file.as_file(), path)?;
        let locked = file.persist_noclobber(path).map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists(path.to_owned()),
            _ => fault(e.error),
        })?;
        sync_directory(directory).map_err(fault)?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The directory may be new too; one that may not be read was there before.
            let _ = sync_directory(parent);
        }
        Ok(Self { path: path.to_owned(), locked })
    }

    /// Opens and locks a wallet; its content beside it.
    ///
    /// # Errors
    /// [`FileError`]: missing, open to others, used by another process for too long, or what the system said.
    pub fn open(path: &Path) -> Result<(Self, Zeroizing<Vec<u8>>), FileError> {
        let fault = |error| FileError::Io { path: path.to_owned(), error };
        let path = real(path)?;
        // Before it is opened: opening a pipe waits for whoever writes into it.
        if !fs::metadata(&path).map_err(fault)?.is_file() {
            return Err(fault(io::Error::other("it is not a file")));
        }
        loop {
            let file = File::open(&path).map_err(fault)?;
            let metadata = file.metadata().map_err(fault)?;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(FileError::Open { path, mode });
            }
            lock(&file, &path)?;
            let named = fs::metadata(&path).map_err(fault)?;
            if (named.dev(), named.ino()) != (metadata.dev(), metadata.ino()) {
                continue;
            }
            let size = usize::try_from(named.len().min(OCTETS_MAX)).unwrap_or_default();
            // With room to spare: a vector that grows would leave copies of the seed behind.
            let mut content = Zeroizing::new(Vec::with_capacity(size + 1));
            (&file).take(OCTETS_MAX).read_to_end(&mut content).map_err(fault)?;
            return Ok((Self { path, locked: file }, content));
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the content, durably: after a crash at any instant the file holds the old content or the new.
    ///
    /// # Errors
    /// What the system said; the old content stays.
    pub fn replace(&mut self, content: &[u8]) -> Result<(), FileError> {
        let fault = |error| FileError::Io { path: self.path.clone(), error };
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.path.with_file_name(format!(".{name}.new"));
        // Only who has the lock writes here: what is there was left behind by a crash.
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fault(e)),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(fault)?;
        lock(&file, &self.path)?;
        let written = as_owned(&file, &self.locked)
            .and_then(|()| file.write_all(content))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&temporary);
            return Err(fault(error));
        }
        self.locked = file;
        sync_directory(directory(&self.path)).map_err(fault)
    }
}

/// Held by who buys for a wallet, from before an order is written until it is finished: an order found open is one that
/// was left behind, never one that another process waits for.
pub struct BuyingLock {
    _locked: File,
}

impl BuyingLock {
    /// Waits until nobody else buys for this wallet.
    ///
    /// # Errors
    /// [`FileError`]: no wallet there, another process buys for too long, or what the system said.
    pub fn wait(wallet: &Path) -> Result<Self, FileError> {
        let (file, wallet) = Self::file(wallet)?;
        lock(&file, &wallet)?;
        Ok(Self { _locked: file })
    }

    /// The same if nobody else buys for it now.
    ///
    /// # Errors
    /// [`FileError`]: no wallet there, or what the system said.
    pub fn try_now(wallet: &Path) -> Result<Option<Self>, FileError> {
        let (file, wallet) = Self::file(wallet)?;
        Ok(try_lock(&file, &wallet)?.then_some(Self { _locked: file }))
    }

    /// A file of its own beside the wallet, which is replaced and cannot carry a lock for long. It stays: if it were
    /// removed two could hold it.
    fn file(wallet: &Path) -> Result<(File, PathBuf), FileError> {
        let wallet = real(wallet)?;
        let name = wallet.file_name().unwrap_or_default().to_string_lossy();
        let path = wallet.with_file_name(format!(".{name}.buying"));
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = match new {
            Ok(file) => File::open(&wallet).and_then(|wallet| as_owned(&file, &wallet)).map(|()| file),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => OpenOptions::new().write(true).open(&path),
            Err(error) => Err(error),
        };
        Ok((file.map_err(|error| FileError::Io { path, error })?, wallet))
    }
}

/// Gives a new file to the owner of another: who tops up a daemon's wallet as root must not lock the daemon out of it.
fn as_owned(new: &File, model: &File) -> io::Result<()> {
    let (new_is, model) = (new.metadata()?, model.metadata()?);
    if new_is.uid() == model.uid() { Ok(()) } else { fchown(new, Some(model.uid()), Some(model.gid())) }
}

/// The file itself, wherever a symbolic link leads: the link is to stay one.
fn real(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing(path.to_owned()),
        _ => FileError::Io { path: path.to_owned(), error },
    })
}

/// Makes the names in a directory durable.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory of a file, `.` of a bare name.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn lock(file: &File, path: &Path) -> Result<(), FileError> {
    let begin = Instant::now();
    while !try_lock(file, path)? {
        if begin.elapsed() > LOCK_TIME {
            return Err(FileError::Busy(path.to_owned()));
        }
        sleep(LOCK_PAUSE);
    }
    Ok(())
}

/// Whether nobody else had the lock, so that it is ours now.
fn try_lock(file: &File, path: &Path) -> Result<bool, FileError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(FileError::Io { path: path.to_owned(), error: error.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below").join("wallet.json");
        (directory, path)
    }

    #[test]
    fn a_new_wallet_is_for_its_owner_alone_and_never_overwrites_one() {
        let (_directory, path) = place();
        drop(WalletFile::create(&path, b"one").unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(matches!(WalletFile::create(&path, b"two"), Err(FileError::Exists(_))));
        assert_eq!(**WalletFile::open(&path).unwrap().1, *b"one");
    }

    #[test]
    fn one_that_others_can_read_is_refused_with_the_line_to_type() {
        let (_directory, path) = place();
        drop(WalletFile::create(&path, b"one").unwrap());
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = WalletFile::open(&path).err().unwrap().to_string();
            assert!(error.contains("chmod 600") && error.contains(&format!("{mode:04o}")), "{error}");
        }
    }

    #[test]
    fn a_wallet_stays_its_owners_whoever_writes_it() {
        let (_directory, path) = place();
        drop(WalletFile::create(&path, b"one").unwrap());
        // Nobody but root can give files away.
        let own = fs::metadata(&path).unwrap().uid();
        let owner = if own == 0 { 65_534 } else { own };
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        WalletFile::open(&path).unwrap().0.replace(b"two").unwrap();
        drop(BuyingLock::wait(&path).unwrap());
        let uid = |path: &Path| fs::metadata(path).unwrap().uid();
        assert_eq!((uid(&path), uid(&path.with_file_name(".wallet.json.buying"))), (owner, owner));
    }

    #[test]
    fn replacing_keeps_a_link_a_link_and_survives_what_a_crash_left() {
        let (directory, path) = place();
        drop(WalletFile::create(&path, b"one").unwrap());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        fs::write(path.with_file_name(".wallet.json.new"), "half a wal").unwrap();
        let (mut file, content) = WalletFile::open(&link).unwrap();
        assert_eq!(**content, *b"one");
        file.replace(b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn whatever_a_power_cut_leaves_beside_it_the_wallet_is_opened_and_written() {
        // Before the rename the old content has the name, after it the new one; beside it may be anything.
        for (named, beside) in [
            ("old", None),
            ("old", Some("")),
            ("old", Some("ne")),
            ("old", Some("new")),
            ("new", None),
            ("new", Some("torn of an earlier one")),
        ] {
            let (_directory, path) = place();
            drop(WalletFile::create(&path, named.as_bytes()).unwrap());
            if let Some(beside) = beside {
                fs::write(path.with_file_name(".wallet.json.new"), beside).unwrap();
            }
            let (mut file, content) = WalletFile::open(&path).unwrap();
            assert_eq!(**content, *named.as_bytes());
            file.replace(b"newer").unwrap();
            drop(file);
            assert_eq!(**WalletFile::open(&path).unwrap().1, *b"newer", "{named} {beside:?}");
        }
    }

    #[test]
    fn who_buys_keeps_nobody_from_stamping_and_one_buys_at_a_time() {
        let (_directory, path) = place();
        assert!(matches!(BuyingLock::try_now(&path), Err(FileError::Missing(_))));
        drop(WalletFile::create(&path, b"one").unwrap());
        let buying = BuyingLock::wait(&path).unwrap();
        assert!(BuyingLock::try_now(&path).unwrap().is_none());
        WalletFile::open(&path).unwrap().0.replace(b"two").unwrap();
        assert!(BuyingLock::try_now(&path).unwrap().is_none(), "it is not the wallet's own lock");
        drop(buying);
        assert!(BuyingLock::try_now(&path).unwrap().is_some());
    }

    #[test]
    fn many_who_change_it_do_so_one_after_the_other() {
        let (_directory, path) = place();
        drop(WalletFile::create(&path, b"").unwrap());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let (mut file, content) = WalletFile::open(&path).unwrap();
                        // Twice under one lock: the second must still be ours alone.
                        let mut more = content.to_vec();
                        more.push(b'x');
                        file.replace(&more).unwrap();
                        more.push(b'y');
                        file.replace(&more).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read(&path).unwrap(), b"xy".repeat(80));
    }

    #[test]
    fn what_is_missing_or_no_file() {
        let (directory, path) = place();
        assert!(matches!(WalletFile::open(&path), Err(FileError::Missing(_))));
        assert!(matches!(WalletFile::open(directory.path()), Err(FileError::Io { .. })));
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(
            matches!(WalletFile::open(&pipe), Err(FileError::Io { .. })),
            "and nobody waits for a writer"
        );
    }
}
