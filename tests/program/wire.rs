//! What a client may do with HTTP itself, and what the log keeps of it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
};

use crate::{
    post::{PATIENCE, Post},
    support::{Site, World, wait_until},
};

/// Everything the office answers to these octets, until it closes.
fn said(post: &Post, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(post.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(octets).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn old_piped_and_odd_requests_are_answered_as_http_says() {
    let post = Post::start();
    let old = said(&post, b"GET /.well-known/postage HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 ") && old.ends_with('}'), "and closed: {old}");

    let quote =
        |n: u32, last: &str| format!("GET /v1/quote?to=n{n}@b.example HTTP/1.1\r\nHost: x\r\n{last}\r\n");
    let piped: String =
        (0..20).map(|n| quote(n, if n == 19 { "Connection: close\r\n" } else { "" })).collect();
    let answers = said(&post, piped.as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 20);
    let places: Vec<usize> = (0..20).map(|n| answers.find(&format!("\"n{n}@b.example\"")).unwrap()).collect();
    assert!(places.is_sorted(), "in the order of the requests");

    let close = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let fields: String = (0..65).map(|n| format!("X-{n}: 1\r\n")).collect();
    let two_lengths = "Content-Length: 2\r\nContent-Length: 30\r\n";
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let table = [
        (format!("OPTIONS /v1/stamps {close}\r\n"), "HTTP/1.1 405 "),
        (format!("OPTIONS * {close}\r\n"), "HTTP/1.1 404 "),
        (format!("FROB /v1/quote {close}\r\n"), "HTTP/1.1 405 "),
        (format!("HEAD /v1/quote?to=bob@b.example {close}\r\n"), "HTTP/1.1 200 "),
        (format!("GET /v1/quote/?to=bob@b.example {close}\r\n"), "HTTP/1.1 404 "),
        (format!("GET //v1/quote?to=bob@b.example {close}\r\n"), "HTTP/1.1 404 "),
        (format!("GET /v1/quote {close}{fields}\r\n"), "HTTP/1.1 431 "),
        (format!("GET /{} {close}\r\n", "x".repeat(60_000)), "HTTP/1.1 4"),
        (format!("POST /v1/stamps {close}{two_lengths}\r\n{{}}"), "HTTP/1.1 400 "),
        (format!("POST /v1/stamps {close}{both}\r\n0\r\n\r\n"), "HTTP/1.1 4"),
        (format!("POST /v1/stamps {close}Content-Length: 99999999999999999999\r\n\r\n"), "HTTP/1.1 400 "),
        (
            format!("POST /v1/stamps {close}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
            "HTTP/1.1 400 ",
        ),
    ];
    for (request, wanted) in table {
        let answer = said(&post, request.as_bytes());
        assert!(answer.starts_with(wanted), "{request:.80}: {answer:.200}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one request, one answer: {answer}");
    }
    assert_eq!(post.get("/.well-known/postage").status, 200);
}

#[test]
fn paths_that_play_tricks_lead_nowhere() {
    let post = Post::start();
    for path in [
        "/p/..%2f..%2fetc%2fpasswd",
        "/p/%2e%2e/v1/account",
        "/p/bob@b.example/",
        "/p/bob@b.example%00",
        "/p/bob@b.example%0d%0aX-Injected:%201",
        "/p/%",
        "/p/%ff%fe",
        "/p/-/x/..%2f..%2fCargo.toml",
        "/w/",
        "/w/..%2fv1%2faccount",
        "/w/%00",
        "/u/%ff",
        "/u/a/b",
        "/.well-known/postage/",
        "/.well-known/../v1/quote",
    ] {
        let answer = post.get(path);
        assert!((400..=404).contains(&answer.status), "{path}: {answer:?}");
        assert!(answer.headers.get("x-injected").is_none());
        let detail = answer.problem(answer.status);
        assert!(!detail.contains('\r') && !detail.contains('\n'), "{path}: {detail}");
    }
    for path in [
        "/p/%62%6f%62%40b.example",
        "/p/bob@B.EXAMPLE",
        "/p/%zz@b.example",
        "/p/bob@b.example?lang=%00&x=../..",
    ] {
        assert_eq!(post.get(path).status, 200, "{path}");
    }
}

#[test]
fn over_a_unix_socket_it_is_the_same_office_and_the_log_keeps_no_secret() {
    let mut world = World::without_daemon(&Site::default());
    let config = std::fs::read_to_string(world.config_path()).unwrap();
    let listen = format!("listen = \"{}\"", world.office);
    let changed =
        format!("{}[log]\nlevel = \"debug\"\n", config.replace(&listen, "listen = \"unix:office.sock\""));
    assert_ne!(config, changed);
    std::fs::write(world.config_path(), changed).unwrap();
    world.start_daemon();
    let ask = |method: &str, target: &str, fields: &str| {
        let mut stream = UnixStream::connect(world.path("office.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        write!(stream, "{head}X-Forwarded-For: 192.0.2.1, 192.0.2.77\r\n{fields}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(ask("GET", "/.well-known/postage", "").starts_with("HTTP/1.1 200 "));
    let token = "secrettokensecrettokensecrettoke";
    assert!(ask("GET", &format!("/w/{token}?key=secretquery"), "").starts_with("HTTP/1.1 404 "));
    assert!(ask("POST", &format!("/u/{token}"), "Content-Length: 0\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("GET", &format!("/elsewhere/{token}"), "").starts_with("HTTP/1.1 404 "));
    assert!(
        ask("POST", "/v1/vouchers", "Postage-Signature: secretfield\r\nContent-Length: 0\r\n")
            .contains(" 401 ")
    );
    wait_until("the last line of the log", || world.log().contains("/v1/vouchers"));
    let log = world.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("request to the office")).collect();
    assert_eq!(lines.len(), 5, "{log}");
    assert!(
        lines.iter().all(|line| line.contains("192.0.2.77") && !line.contains("192.0.2.1,")),
        "{lines:?}"
    );
    assert!(lines[1].contains("/w/{token}") && lines[1].contains("404"), "{lines:?}");
    assert!(lines[4].contains("401"), "{lines:?}");
    assert!(!log.contains("secret"), "{log}");
}
