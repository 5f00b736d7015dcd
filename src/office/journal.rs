//! The log of requests: one line each, in which nothing secret can stand.
//!
//! Of the path only the route is written, as the office knows it (`/w/{token}`), never what the client put in its
//! place; of the query, the fields and the body nothing. What was done, and refusals that anybody can bring about at
//! will, are for `debug`; refusals worth a look are `info`, trouble of the office's own is `warn`.

use std::{net::IpAddr, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use tracing::Level;

use super::{Peer, limits::client_of};

/// What stands for a path that is no call.
const NO_ROUTE: &str = "none";

/// Does the call and writes its line.
pub async fn line(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let client = client_of(&request).or_else(|| peer_of(&request));
    let response = next.run(request).await;

    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let status = response.status();
    let client = client.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    // A method is the client's to name: of those that no call has, the name is not written.
    let method = if status == StatusCode::METHOD_NOT_ALLOWED { "other" } else { method.as_str() };
    let (status, level) = (status.as_u16(), level(status, route));
    match level {
        Level::WARN => tracing::warn!(method, route, status, ms, %client, "request to the office"),
        Level::INFO => tracing::info!(method, route, status, ms, %client, "request to the office"),
        _ => tracing::debug!(method, route, status, ms, %client, "request to the office"),
    }
    response
}

/// Who is at the other end of the connection, for the log alone: where a web server on this machine does not say whose
/// request it is, or somebody on this machine calls himself.
fn peer_of(request: &Request) -> Option<IpAddr> {
    match request.extensions().get::<Peer>()? {
        Peer::Tcp(address) => Some(address.ip().to_canonical()),
        Peer::Unix => None,
    }
}

/// How loud a request's line is.
fn level(status: StatusCode, route: &str) -> Level {
    match status {
        _ if status.is_server_error() => Level::WARN,
        // Programs that look for holes, and those that do not stop calling, must not fill the log.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::METHOD_NOT_ALLOWED => Level::DEBUG,
        _ if route == NO_ROUTE => Level::DEBUG,
        _ if status.is_client_error() => Level::INFO,
        _ => Level::DEBUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_call_is_told_by_its_peer() {
        let peer = |peer: Peer| {
            let mut request = Request::new(axum::body::Body::empty());
            request.extensions_mut().insert(peer);
            assert_eq!(client_of(&request), None, "limits do not go by it");
            peer_of(&request).map(|ip| ip.to_string())
        };
        assert_eq!(peer(Peer::Tcp("127.0.0.1:1234".parse().unwrap())).as_deref(), Some("127.0.0.1"));
        assert_eq!(peer(Peer::Tcp("[::1]:1234".parse().unwrap())).as_deref(), Some("::1"));
        assert_eq!(peer(Peer::Unix), None);
    }

    #[test]
    fn what_anybody_can_bring_about_is_quiet() {
        let table = [
            (200, "/v1/stamps", Level::DEBUG),
            (404, NO_ROUTE, Level::DEBUG),
            (404, "/v1/vouchers", Level::INFO),
            (405, "/v1/vouchers", Level::DEBUG),
            (429, "/v1/stamps", Level::DEBUG),
            (401, "/v1/stamps", Level::INFO),
            (503, "/v1/stamps", Level::WARN),
        ];
        for (status, route, wanted) in table {
            assert_eq!(level(StatusCode::from_u16(status).unwrap(), route), wanted, "{status} {route}");
        }
    }
}
