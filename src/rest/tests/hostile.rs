//! Whoever speaks no HTTP, or speaks it to harm, is answered or closed within bounds, and others are served.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{PATIENCE, Rig, TOKEN, raw};

/// Sends bytes as they are and gives all that comes back until the end, which must come in time.
fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be closed before it has taken all.
    let _ = socket.write_all(bytes);
    read_to_end(&mut socket)
}

fn read_to_end(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = socket.read_to_end(&mut answer) {
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it was never closed");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request of somebody who has the token.
fn request(line: &str, headers: &str) -> String {
    format!("{line}\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\r\n")
}

#[test]
fn a_head_that_comes_byte_by_byte_has_its_time() {
    let rig = Rig::new();
    let mut socket = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let endless = b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
    for byte in endless {
        if socket.write_all(&[*byte]).is_err() {
            break;
        }
        assert!(Instant::now() < deadline, "it keeps its place");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(rig.ask("GET", "/v1/server", "").0, 200);
}

#[test]
fn silent_peers_hold_their_places_only_for_a_while() {
    let rig = Rig::new();
    let silent: Vec<TcpStream> =
        (0..super::http::MAX_CONNECTIONS).map(|_| TcpStream::connect(("127.0.0.1", rig.port)).unwrap()).collect();
    assert_eq!(rig.ask("GET", "/v1/server", "").0, 200, "the next one waits, and is served");
    drop(silent);
}

#[test]
fn a_body_that_breaks_off_or_has_no_end_is_refused() {
    let rig = Rig::new();
    let half = request("POST /v1/drain HTTP/1.1", "Content-Length: 100\r\n") + "{\"dead";
    let mut socket = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(half.as_bytes()).unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    let mut socket = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(half.as_bytes()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = read_to_end(&mut socket);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "it broke off: {answer}");
    let claimed = request("POST /v1/drain HTTP/1.1", "Content-Length: 99999999999\r\nConnection: close\r\n");
    let answer = exchange(rig.port, (claimed + &"x".repeat(1_000_000)).as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let endless = request("POST /v1/drain HTTP/1.1", "Transfer-Encoding: chunked\r\nConnection: close\r\n");
    let answer = exchange(rig.port, (endless + &chunk.repeat(50)).as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    let broken = request("POST /v1/drain HTTP/1.1", "Transfer-Encoding: chunked\r\nConnection: close\r\n") + "zz\r\n{}";
    let answer = exchange(rig.port, broken.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("RR_ERR_PROTOCOL"), "{answer}");
    assert!(rig.server.state() != crate::session::State::Stopping, "nothing of it was done");
    assert_eq!(rig.ask("GET", "/v1/server", "").0, 200);
}

#[test]
fn json_that_is_none_or_nests_without_end_is_refused() {
    let rig = Rig::new();
    assert_eq!(rig.ask("PUT", "/v1/streams/live/show", "").0, 200);
    let deep = "[".repeat(60_000);
    let nested = "{\"url\":".repeat(9_000);
    for body in [
        &*deep,
        &nested,
        "{\"url\": 1e999}",
        "{\"url\"}",
        "\u{0}",
        "null",
        "\"\\ud800\"",
        "{\"url\":\"\\u0000\"}",
        "{}{}",
    ] {
        let (status, problem) = rig.ask("POST", "/v1/streams/live/show/targets", body);
        assert_eq!((status, problem["error"].as_str()), (400, Some("RR_ERR_ARG")), "{:.40}: {problem}", body);
    }
    let bytes = [
        request("PUT /v1/streams/live/show HTTP/1.1", "Content-Length: 2\r\nConnection: close\r\n").as_bytes(),
        b"\xff\xfe",
    ]
    .concat();
    assert!(exchange(rig.port, &bytes).starts_with("HTTP/1.1 400"));
}

#[test]
fn arguments_are_bounded() {
    let rig = Rig::new();
    let path = |pairs: usize| format!("/control/drop/client?app=none{}", "&".repeat(pairs - 1));
    for (pairs, status) in [(64, 200), (65, 400), (10_000, 400)] {
        let (got, answer) = rig.ask("POST", &path(pairs), "");
        assert_eq!(got, status, "{pairs}: {answer}");
        let by_call = rig.rest.handle("GET", &path(pairs), b"").unwrap();
        assert_eq!(by_call.status, status, "{pairs}: {by_call:?}");
    }
    let problem = rig.ask("DELETE", &format!("/v1/sessions/1?{}", "text=a&".repeat(64)), "").1;
    assert_eq!(problem["error"].as_str(), Some("RR_ERR_ARG"), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("more than 64"), "{problem}");
}

#[test]
fn paths_lead_nowhere_else() {
    let rig = Rig::new();
    for path in [
        "/page/../v1/server",
        "/page/%2e%2e/%2e%2e/etc/passwd",
        "/page/..%2fpage.js",
        "//v1/server",
        "/./v1/server",
        "/healthz/../v1/server",
        "/healthz/",
        "/page/page.js/..",
        "/V1/server",
        "/v1/server/",
        "/v1/streams/%",
        "/v1/streams/%zz/%00",
        "/metrics/..;/v1/server",
    ] {
        let (status, body) = raw(rig.port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(matches!(status, 401 | 404), "{path}: {status} {body}");
        let (status, body) = raw(rig.port, &request(&format!("GET {path} HTTP/1.1"), ""));
        assert!(matches!(status, 400 | 404), "{path} with the token: {status} {body}");
    }
    for path in ["/v1/server", "/v1/events", "/v1/streams", "/control/drop/client"] {
        let (status, _) = raw(rig.port, &format!("GET {path}?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(status, 401, "{path}: addresses end in logs");
    }
    // The whole address in the first line names the host, whatever `Host` says.
    let (status, _) = raw(rig.port, &request("GET http://evil.example/v1/server HTTP/1.1", ""));
    assert_eq!(status, 403);
}

#[test]
fn what_is_no_request_is_answered_or_closed() {
    let rig = Rig::new();
    let port = rig.port;
    let noise: Vec<u8> = (0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let both =
        request("POST /v1/drain HTTP/1.1", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\nGET";
    let twice = request("POST /v1/drain HTTP/1.1", "Content-Length: 2\r\nContent-Length: 40\r\n") + "{}";
    let folded = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n";
    let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(2_000));
    let hostile = [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x03\x00\x00\x00\x00\x00\x00\x00\x00",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
        &noise,
        both.as_bytes(),
        twice.as_bytes(),
        folded.as_bytes(),
        many.as_bytes(),
    ];
    // Side by side: those without an end are waited for.
    std::thread::scope(|scope| {
        for bytes in hostile {
            scope.spawn(move || {
                let answer = exchange(port, bytes);
                let status = answer.split(' ').nth(1).unwrap_or_default();
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
                assert!(answer.is_empty() || status.starts_with('4') || status == "202", "{shown}: {answer}");
                assert!(!answer.contains(TOKEN));
            });
        }
    });
    // One connection, many requests at once: all are answered, in order.
    let one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(rig.port, (one.repeat(499) + last).as_bytes()).matches("HTTP/1.1 200").count(), 500);
    assert_eq!(raw(rig.port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").0, 200);
}

#[test]
fn pages_of_others_reach_nothing() {
    let rig = Rig::new();
    for (headers, status) in
        [("Origin: http://evil.example\r\n", 403), ("Origin: null\r\n", 403), ("Origin: http://localhost\r\n", 202)]
    {
        let line = format!("Content-Length: 2\r\n{headers}");
        assert_eq!(raw(rig.port, &(request("POST /v1/drain HTTP/1.1", &line) + "{}")).0, status, "{headers}");
    }
    let rebound = format!("GET /v1/server HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    assert_eq!(raw(rig.port, &rebound).0, 403);
    let (status, body) = raw(rig.port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(status == 200 && body.contains("<title>rrelay</title>"));
}
