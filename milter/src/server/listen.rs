//! Where to listen: TCP addresses and unix sockets, with what an admin needs of the latter: mode and group,
//! no trouble with the file that a crash left, no second server in the place of the first.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream};

use super::incoming::Accept;
use crate::stream::Stream;

/// Connections that may wait to be taken; the kernel may allow fewer (net.core.somaxconn).
const BACKLOG: u32 = 1_024;

/// Mode of a unix socket when none is given: its user and group may connect.
const DEFAULT_MODE: u32 = 0o660;

/// How long another server may be at the same step of binding in the same directory.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address; port 0 finds a free one.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(UnixListen),
}

/// A unix socket to make. Its directory must exist and be writable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListen {
    /// The file.
    pub path: PathBuf,
    /// Permission bits; who may write may connect.
    pub mode: u32,
    /// Number of the group to give it to, if not the process's own.
    pub group: Option<u32>,
}

impl Listen {
    /// A unix socket that its user and group may connect to.
    pub fn unix(path: impl Into<PathBuf>) -> Listen {
        Listen::Unix(UnixListen { path: path.into(), mode: DEFAULT_MODE, group: None })
    }
}

/// Why a text is no [`Listen`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no place to listen: write unix:/PATH, or inet:ADDRESS:PORT with a literal address such as 127.0.0.1"
)]
pub struct ListenError(String);

impl FromStr for Listen {
    type Err = ListenError;

    /// Reads `unix:/run/filter.sock`, `inet:127.0.0.1:8894`, `inet:[::1]:8894`. Host names are not taken: an MTA that tries
    /// another of a name's addresses first would wait for a listener that is not there.
    fn from_str(text: &str) -> Result<Listen, ListenError> {
        let listen = match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Some(Listen::unix(path)),
            Some(("inet", address)) => address.parse().ok().map(Listen::Tcp),
            _ => None,
        };
        listen.ok_or_else(|| ListenError(text.into()))
    }
}

/// The number of a group, given by name or number; names are looked up in `/etc/group`.
///
/// # Errors
/// When the file cannot be read or has no such group.
pub fn group_number(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group")?;
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? == group { fields.nth(1)?.parse().ok() } else { None }
    });
    number.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no group {group:?} in /etc/group")))
}

/// Where a listener is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address, with its real port.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "inet:{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a listener cannot be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody listens there: most likely another instance.
    #[error("{0} is in use: another server listens there; stop it or choose another place")]
    InUse(Address),
    /// The path is taken by something that is not ours to remove.
    #[error("{} exists and is not a socket; remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The system says no.
    #[error("cannot listen on {address}: {step}: {source}")]
    System {
        /// Where.
        address: Address,
        /// What was tried.
        step: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// A bound listener.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    pub(super) async fn bind(listen: &Listen) -> Result<Listener, BindError> {
        match listen {
            Listen::Tcp(address) => bind_tcp(*address),
            Listen::Unix(listen) => bind_unix(listen).await,
        }
    }

    pub(super) fn address(&self) -> Address {
        match self {
            Listener::Tcp(_, address) => Address::Tcp(*address),
            Listener::Unix(_, file) => Address::Unix(file.path.clone()),
        }
    }
}

impl Accept for Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Option<SocketAddr>)>> {
        match self {
            Listener::Tcp(listener, _) => listener.poll_accept(cx).map_ok(|(stream, address)| {
                // Answers are small and waited for; without this each could wait for the one before to be
                // acknowledged. A socket that cannot be set so still works.
                let _ = stream.set_nodelay(true);
                (Stream::Tcp(stream), Some(address))
            }),
            Listener::Unix(listener, _) => {
                listener.poll_accept(cx).map_ok(|(stream, _)| (Stream::Unix(stream), None))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> Result<Listener, BindError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of a former instance may still be dying.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Listener::Tcp(listener, address))
    };
    bind().map_err(|source: io::Error| match source.kind() {
        ErrorKind::AddrInUse => BindError::InUse(Address::Tcp(address)),
        _ => BindError::System { address: Address::Tcp(address), step: "bind", source },
    })
}

/// Makes the socket under another name and moves it into place when it has its mode and group, so that nobody
/// meets it half made; a lock on the directory keeps two servers from doing so at once.
async fn bind_unix(listen: &UnixListen) -> Result<Listener, BindError> {
    let path = &listen.path;
    let failed =
        |step| move |source| BindError::System { address: Address::Unix(path.clone()), step, source };
    // A bare name is one in the working directory.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(directory).map_err(failed("open its directory"))?;
    lock_within_limit(&lock).await.map_err(failed("lock its directory"))?;
    refuse_if_in_use(path).await?;

    let fresh = directory.join(format!(".{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let socket = UnixSocket::new_stream().map_err(failed("make a socket"))?;
    socket.bind(&fresh).map_err(failed("bind in its directory"))?;
    let made = SocketFile::of(fresh).map_err(failed("look at it"))?;
    if let Some(group) = listen.group {
        chown(&made.path, None, Some(group)).map_err(failed("set its group"))?;
    }
    fs::set_permissions(&made.path, Permissions::from_mode(listen.mode)).map_err(failed("set its mode"))?;
    let listener = socket.listen(BACKLOG).map_err(failed("listen"))?;
    let file = made.move_to(path).map_err(failed("move it into place"))?;
    Ok(Listener::Unix(listener, file))
}

async fn lock_within_limit(directory: &File) -> io::Result<()> {
    let end = tokio::time::Instant::now() + LOCK_LIMIT;
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::Error(error)) => return Err(error),
            Err(fs::TryLockError::WouldBlock) if tokio::time::Instant::now() < end => {
                tokio::time::sleep(LOCK_AGAIN).await;
            }
            Err(fs::TryLockError::WouldBlock) => return Err(ErrorKind::TimedOut.into()),
        }
    }
}

/// A file that nobody listens on is left to be replaced: a crash leaves one.
async fn refuse_if_in_use(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(BindError::NotASocket(path.into())),
        _ => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        // A full backlog, or no right to connect, is somebody's too.
        _ => Err(BindError::InUse(Address::Unix(path.into()))),
    }
}

/// A socket's file, removed with it, unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<SocketFile> {
        let metadata = fs::symlink_metadata(&path)?;
        Ok(SocketFile { path, device: metadata.dev(), inode: metadata.ino() })
    }

    fn move_to(mut self, path: &Path) -> io::Result<SocketFile> {
        fs::rename(&self.path, path)?;
        self.path = path.into();
        Ok(self)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_listen_are_read() {
        let tcp = |text: &str| Listen::Tcp(text.parse().unwrap());
        for (text, expected) in [
            ("unix:/run/a/b.sock", Listen::unix("/run/a/b.sock")),
            ("inet:127.0.0.1:8894", tcp("127.0.0.1:8894")),
            ("inet:[::1]:0", tcp("[::1]:0")),
        ] {
            assert_eq!(text.parse(), Ok(expected));
        }
        for text in [
            "",
            "unix:",
            "unix:relative",
            "inet:localhost:8894",
            "inet:127.0.0.1",
            "8894",
            "inet:8894@localhost",
        ] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains("inet:ADDRESS:PORT"), "{error}");
        }
    }

    #[test]
    fn groups_are_found_by_name_and_number() {
        assert_eq!(group_number("root").unwrap(), 0);
        assert_eq!(group_number("1234").unwrap(), 1_234);
        assert_eq!(group_number("no such group").unwrap_err().kind(), ErrorKind::NotFound);
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn pitfall_28_a_unix_socket_has_its_mode_and_group_and_goes_with_its_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m");
        let own_group = fs::metadata(directory.path()).unwrap().gid();
        let listen = Listen::Unix(UnixListen { path: path.clone(), mode: 0o606, group: Some(own_group) });
        let listener = Listener::bind(&listen).await.unwrap();
        assert_eq!(mode(&path), 0o606);
        assert_eq!(listener.address(), Address::Unix(path.clone()));
        UnixStream::connect(&path).await.unwrap();
        drop(listener);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn pitfall_28_a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as a crash leaves it");

        let first = Listener::bind(&Listen::unix(&path)).await.unwrap();
        let second = Listener::bind(&Listen::unix(&path)).await;
        assert!(matches!(second, Err(BindError::InUse(_))), "{second:?}");
        drop(second);
        UnixStream::connect(&path).await.unwrap();
        drop(first);

        fs::write(&path, "precious").unwrap();
        let refused = Listener::bind(&Listen::unix(&path)).await;
        assert!(matches!(refused, Err(BindError::NotASocket(_))), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn pitfall_28_of_many_servers_started_at_once_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let listen = Listen::unix(directory.path().join("m"));
        let (a, b, c) =
            tokio::join!(Listener::bind(&listen), Listener::bind(&listen), Listener::bind(&listen));
        let bound = [a, b, c].into_iter().filter_map(Result::ok).count();
        assert_eq!(bound, 1);
    }

    #[tokio::test]
    async fn a_successor_s_socket_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m");
        let first = Listener::bind(&Listen::unix(&path)).await.unwrap();
        fs::remove_file(&path).unwrap();
        let second = Listener::bind(&Listen::unix(&path)).await.unwrap();
        drop(first);
        UnixStream::connect(&path).await.unwrap();
        drop(second);
    }

    #[tokio::test]
    async fn a_tcp_port_in_use_says_so() {
        let first = Listener::bind(&"inet:127.0.0.1:0".parse().unwrap()).await.unwrap();
        let Address::Tcp(address) = first.address() else { panic!("not TCP") };
        let error = Listener::bind(&Listen::Tcp(address)).await.unwrap_err().to_string();
        assert!(error.contains(&format!("inet:{address} is in use")), "{error}");
    }

    #[tokio::test]
    async fn a_missing_directory_says_so() {
        let error = Listener::bind(&Listen::unix("/nonexistent/m")).await.unwrap_err().to_string();
        assert!(error.contains("unix:/nonexistent/m: open its directory"), "{error}");
    }
}
