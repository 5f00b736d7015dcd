//! Connections: who may have one, how long, and how they end.
//!
//! Binding is apart from serving, so that a daemon can say it is ready when every listener is bound. A slow, idle or
//! silent client costs one of [`super::Limits`]' places for a bounded time and nothing else.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, http::Uri};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Office, Peer};
use crate::config::ListenHttp;

/// Octets of a request's header.
const HEADER_OCTETS_MAX: usize = 16 * 1_024;
/// Fields of a request.
const HEADER_FIELDS_MAX: usize = 64;
/// Pause when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The web server is another user; whoever reaches the directory may talk to the office, as all the world may.
const SOCKET_MODE: u32 = 0o666;

/// Below which paths the office's calls are.
const CALLS_BELOW: [&str; 5] = ["/v1/", "/.well-known/", "/p/", "/w/", "/u/"];

/// A bound listener, not yet served.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket; its file goes when this is dropped.
    Unix(UnixListener, SocketFile),
}

/// The file of a bound unix socket.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds where the configuration says. A unix socket that a dead daemon left behind is replaced, one that answers
    /// is not.
    ///
    /// # Errors
    /// What the system said.
    pub async fn bind(listen: &ListenHttp) -> io::Result<Self> {
        match listen {
            ListenHttp::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            ListenHttp::Unix(path) => {
                let listener = bind_unix(path).await?;
                Ok(Self::Unix(listener, SocketFile(path.clone())))
            }
        }
    }

    /// The address of a TCP listener: with the port the system chose, where 0 was asked.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Stream::Tcp(stream, peer)),
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let left_behind = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if left_behind {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// Serves until `shutdown` is done; then takes no more connections, finishes the requests in hand within twice
/// [`super::Limits::request_time`], and returns.
pub async fn serve(listener: Listener, office: Arc<Office>, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(office.limits.connections));
    let (closing, closed) = watch::channel(());
    let router = office.router();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (stream, place) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (office, router, closed) = (office.clone(), router.clone(), closed.clone());
        match stream {
            Ok(Stream::Tcp(stream, peer)) => connections.spawn(async move {
                connection(stream, Peer::Tcp(peer), &office, router, closed).await;
                drop(place);
            }),
            Ok(Stream::Unix(stream)) => connections.spawn(async move {
                connection(stream, Peer::Unix, &office, router, closed).await;
                drop(place);
            }),
            Err(error) => {
                tracing::warn!(%error, "the office could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
    }
    drop(listener);
    drop(closing);
    while connections.join_next().await.is_some() {}
}

/// One connection to its end, however the client behaves.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    office: &Office,
    router: Router,
    mut closing: watch::Receiver<()>,
) {
    let calls = TowerToHyperService::new(router);
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        let uri = without_prefix(request.uri(), &office.site().url);
        *request.uri_mut() = uri;
        request.extensions_mut().insert(peer);
        calls.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(office.limits.header_time)
        .max_buf_size(HEADER_OCTETS_MAX)
        .max_headers(HEADER_FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = sleep(office.limits.connection_time) => None,
        _ = closing.changed() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            // As long as the request in hand may take, and as long again for its answer to be read.
            timeout(2 * office.limits.request_time, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, ?peer, "a connection to the office ended early");
    }
}

/// A request's URI without the path of the office's URL, which a web server may hand on or not: only the rest is
/// routed and signed (SPEC.md §10).
fn without_prefix(uri: &Uri, office_url: &str) -> Uri {
    let path_of_url = office_url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    let prefix = path_of_url.map_or("", |(_, path)| path.trim_end_matches('/'));
    if prefix.is_empty() {
        return uri.clone();
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let rest = target.strip_prefix('/').and_then(|t| t.strip_prefix(prefix)).unwrap_or_default();
    if CALLS_BELOW.iter().any(|path| rest.starts_with(path)) {
        rest.parse().unwrap_or_else(|_| uri.clone())
    } else {
        uri.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::office::{Limits, office_of_b};

    #[tokio::test]
    async fn a_client_that_never_reads_its_answer_keeps_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let short = Duration::from_millis(100);
        let limits = Limits { request_time: short, connection_time: short, ..Limits::default() };
        let office = office_of_b(directory.path(), limits);
        let router = office.router();
        // A pipe that holds less than the answer: it cannot be written to its end.
        let (mut client, server) = tokio::io::duplex(64);
        let (_open, closing) = watch::channel(());
        let serving =
            tokio::spawn(async move { connection(server, Peer::Unix, &office, router, closing).await });
        client.write_all(b"GET /.well-known/postage HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        timeout(Duration::from_secs(30), serving).await.expect("it ends").unwrap();
        let mut answer = vec![];
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK") && answer.len() <= 64, "cut off");
    }

    #[test]
    fn the_path_of_the_offices_url_is_taken_off_when_it_is_handed_on() {
        let table = [
            ("https://b.example/", "/v1/stamps", "/v1/stamps"),
            ("https://b.example/post/", "/post/v1/stamps", "/v1/stamps"),
            ("https://b.example/post/", "/post/v1/quote?to=a%40b", "/v1/quote?to=a%40b"),
            ("https://b.example/post/", "/v1/stamps", "/v1/stamps"),
            ("https://b.example/post/", "/postv1/stamps", "/postv1/stamps"),
            ("https://b.example/post/", "/post", "/post"),
            ("https://b.example/a/b/", "/a/b/p/bob@b.example", "/p/bob@b.example"),
            ("https://b.example/p/", "/p/bob@b.example", "/p/bob@b.example"),
            ("https://b.example/p/", "/p/p/bob@b.example", "/p/bob@b.example"),
            ("https://b.example/w/", "/w/token", "/w/token"),
            ("https://b.example/w/", "/w/u/token", "/u/token"),
            ("https://b.example/v1/", "/v1/stamps", "/v1/stamps"),
            ("https://b.example/v1/", "/v1/v1/stamps", "/v1/stamps"),
        ];
        for (url, target, routed) in table {
            let uri = without_prefix(&target.parse().unwrap(), url);
            assert_eq!(uri.path_and_query().unwrap().as_str(), routed, "{url} {target}");
        }
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("office.sock");
        let listen = ListenHttp::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as after a crash");
        let bound = Listener::bind(&listen).await.unwrap();
        let error = Listener::bind(&listen).await.err().unwrap().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(bound);
        assert!(!path.exists());
        std::fs::write(&path, "a file of someone else").unwrap();
        assert!(Listener::bind(&listen).await.is_err());
        assert!(path.exists());
    }
}
