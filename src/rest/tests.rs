//! The REST side's promises, over HTTP on loopback and by [`Rest::handle`].

mod bounds;
mod hostile;
mod parts;
mod races;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::config::{Isolate, ServerConfig};
use crate::log::LevelFilter;
use crate::server::ListenOptions;

const TOKEN: &str = "token-of-tests";

/// The longest any step may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with its REST side, on a port of loopback.
struct Rig {
    server: Arc<RRServer>,
    rest: Rest,
    port: u16,
}

impl Rig {
    fn new() -> Self {
        let server = Arc::new(RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap());
        let rest = Rest::new(Arc::clone(&server));
        let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
        Self { server, rest, port }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let head = format!("Authorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n", body.len());
        let (status, text) =
            raw(self.port, &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{body}"));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// Sends a request and reads the answer to the end of the connection.
fn raw(port: u16, request: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

/// The nice values of this process's threads of a name.
fn nice_values(name: &str) -> Vec<i32> {
    let stats = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = stats.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    // Behind the name in brackets the fields are numbered from 3 on; 19 is the nice value.
    stats
        .filter_map(|stat| {
            let (before, fields) = stat.rsplit_once(") ")?;
            (before.ends_with(&format!("({name}"))).then(|| fields.split(' ').nth(16)?.parse().ok())?
        })
        .collect()
}

#[test]
fn an_asynchronous_host_gets_an_answer_too() {
    let rig = Rig::new();
    let asks = || rig.rest.handle("GET", "/v1/server", b"").unwrap().status;
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(current.block_on(async { asks() }), 200);
    assert_eq!(current.block_on(tokio::task::LocalSet::new().run_until(async { asks() })), 200);
    let rest = Arc::new(rig.rest);
    let statuses = current.block_on(async move {
        let ask = |rest: Arc<Rest>| move || rest.handle("GET", "/v1/server", b"").unwrap().status;
        let (one, other) = (ask(Arc::clone(&rest)), ask(rest));
        let spawned = tokio::spawn(async move { one() }).await.unwrap();
        [spawned, tokio::task::spawn_blocking(other).await.unwrap()]
    });
    assert_eq!(statuses, [200, 200]);
}

#[test]
fn requests_have_a_lower_priority_than_media() {
    let rig = Rig::new();
    rig.server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    assert_eq!(rig.ask("GET", "/v1/server", "").0, 200, "the thread runs");
    let listeners = nice_values("listenerThread");
    let lowest = listeners.iter().max().expect("the thread that takes peers runs");
    assert!(nice_values("restThread").iter().any(|nice| nice > lowest), "{:?}", nice_values("restThread"));
}

#[test]
fn a_listener_on_loopback_serves_no_foreign_name_however_its_address_is_written() {
    let rig = Rig::new();
    for address in ["127.0.0.1:0", "[::ffff:127.0.0.1]:0"] {
        let port = rig.rest.listen(address, TOKEN, RestOptions::default()).unwrap();
        let status = |host: &str| raw(port, &format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n")).0;
        assert_eq!([status("localhost"), status("evil.example")], [200, 403], "{address}");
    }
}

#[test]
fn streams_are_found_by_their_coded_path() {
    let rig = Rig::new();
    let id = rig.server.stream_create(b"live/room", b"a b?\xff", None).unwrap();
    let (status, streams) = rig.ask("GET", "/v1/streams", "");
    assert_eq!((status, &streams[0]["id"]), (200, &Value::String(id.to_string())));
    let path = format!("/v1/streams/{}", streams[0]["path"].as_str().unwrap());
    let (status, stream) = rig.ask("GET", &path, "");
    assert_eq!((status, stream["state"].as_str()), (200, Some("IDLE")), "{path}");
    let (status, problem) = rig.ask("GET", "/v1/streams/live/other", "");
    assert_eq!((status, problem["error"].as_str()), (404, Some("RR_ERR_NOT_FOUND")));
    assert_eq!(rig.ask("DELETE", &format!("{path}?deadline_ms=0"), "").0, 204);
    while rig.server.stream_find(b"live/room", b"a b?\xff").is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(rig.ask("DELETE", &path, "").0, 204, "a delete may be repeated");
}

#[test]
fn every_stream_that_there_can_be_has_an_address() {
    let rig = Rig::new();
    let longest = "a".repeat(4096);
    let names = [("live", ""), ("", "show"), ("", ""), ("live/", "/"), ("/", "//a//"), ("live/room", ""), ("", "?k=1")];
    let names = names.into_iter().chain([("live", "a/../b?"), ("..a", "?/../"), (&longest, &longest)]);
    let ids = names.filter_map(|(app, key)| rig.server.stream_create(app.as_bytes(), key.as_bytes(), None).ok());
    let mut ids: Vec<_> = ids.map(|id| id.to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8, "one is the same stream as the first, and one is refused");
    let (_, streams) = rig.ask("GET", "/v1/streams", "");
    let path_of = |stream: &Value| format!("/v1/streams/{}", stream["path"].as_str().unwrap());
    for stream in streams.as_array().unwrap() {
        let path = path_of(stream);
        let (status, found) = rig.ask("GET", &path, "");
        assert_eq!((status, &found["id"]), (200, &stream["id"]), "{path}");
        let (status, found) = rig.ask("PUT", &path, "{\"grace_ms\": 6000}");
        assert_eq!((status, &found["id"], path_of(&found)), (200, &stream["id"], path.clone()), "it is that one");
        let target = "{\"url\": \"rtmp://127.0.0.1:1/app/key\"}";
        assert_eq!(rig.ask("POST", &format!("{path}/targets"), target).0, 201, "{path}");
        assert_eq!(rig.ask("GET", &format!("{path}/targets"), "").1.as_array().map(Vec::len), Some(1), "{path}");
        ids.retain(|id| stream["id"] != id.as_str());
    }
    assert!(ids.is_empty(), "{ids:?} are not in the list");
    for (path, app, key) in [("alone/%2F", "alone", ""), ("%2F/alone", "", "alone")] {
        let (status, made) = rig.ask("PUT", &format!("/v1/streams/{path}"), "");
        assert_eq!((status, &made["path"]), (200, &Value::String(path.to_owned())));
        assert_eq!((&made["app"], &made["key"]), (&Value::String(app.to_owned()), &Value::String(key.to_owned())));
    }
    assert_eq!(rig.ask("GET", "/v1/streams/live/", "").0, 404, "an empty segment is no key");
}

#[test]
fn a_refused_request_gets_its_problem_in_json() {
    let rig = Rig::new();
    rig.server.stream_create(b"live", b"show", None).unwrap();
    const FOR_TARGETS: &str = r#"{"url": "rtmp://127.0.0.1:1/app/key", "slow_policy": "stop"}"#;
    for (method, path, body, status, error) in [
        ("GET", "/v1/nothing", "", 404, "RR_ERR_NOT_FOUND"),
        ("PATCH", "/v1/streams", "", 405, "RR_ERR_UNSUPPORTED"),
        ("GET", "/v1/sessions/1", "", 404, "RR_ERR_NOT_FOUND"),
        ("GET", "/v1/sessions/x", "", 404, "RR_ERR_NOT_FOUND"),
        ("POST", "/v1/streams/live/show/switch", "{\"source\":\"x\"}", 400, "RR_ERR_ARG"),
        ("POST", "/v1/streams/live/show/switch", "{\"sauce\":\"1\"}", 400, "RR_ERR_ARG"),
        ("POST", "/v1/streams/live/show/switch", "{", 400, "RR_ERR_ARG"),
        ("POST", "/v1/streams/live/show/switch", "[[[[[[", 400, "RR_ERR_ARG"),
        ("POST", "/v1/streams/live/show/switch", "[\"1\"]", 400, "RR_ERR_ARG"),
        ("DELETE", "/v1/streams/live/show?deadline_ms=soon", "", 400, "RR_ERR_ARG"),
        ("POST", "/control/drop/%ff?%ff", "", 404, "RR_ERR_NOT_FOUND"),
        ("POST", "/control/drop/client", "app=live&name=show", 400, "RR_ERR_ARG"),
        ("GET", "/control/redirect/client?newname=", "", 400, "RR_ERR_ARG"),
        ("POST", "/v1/streams/live/show/sources", FOR_TARGETS, 422, "RR_ERR_UNSUPPORTED"),
    ] {
        let (got, problem) = rig.ask(method, path, body);
        assert_eq!((got, problem["error"].as_str()), (status, Some(error)), "{method} {path} {body}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 5), "{problem}");
    }
}

#[test]
fn without_the_token_streams_are_not_shown() {
    let rig = Rig::new();
    for head in ["", "Authorization: Bearer wrong-token\r\n", "Authorization: Basic dG9rZW4=\r\n"] {
        let (status, body) = raw(rig.port, &format!("GET /v1/streams HTTP/1.1\r\nHost: localhost\r\n{head}\r\n"));
        assert_eq!(status, 401);
        assert!(body.contains("RR_ERR_AUTH"), "{body}");
    }
    let (status, body) = raw(rig.port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((status, body.trim()), (200, "ok"));
    assert_eq!(raw(rig.port, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").0, 503, "it listens nowhere");
    rig.server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    assert_eq!(raw(rig.port, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").0, 200);
}

#[test]
fn a_host_with_a_web_server_of_its_own_asks_by_a_call() {
    let rig = Rig::new();
    rig.server.stream_create(b"live", b"show", None).unwrap();
    let answer = rig.rest.handle("GET", "/v1/streams/live/show", b"").unwrap();
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"));
    let stream: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(stream["key"], "show");
    assert_eq!(rig.rest.handle("GET", "/v1/none", b"").unwrap().status, 404);
    for (method, path) in [("G T", "/v1/streams"), ("GET", "http://[")] {
        assert_eq!(rig.rest.handle(method, path, b"").unwrap_err().kind, RRError::Arg, "{method} {path}");
    }
}

#[test]
fn a_listener_stops_with_requests_open_and_listens_again() {
    let rig = Rig::new();
    let mut half = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    half.write_all(b"GET /v1/streams HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    rig.rest.stop();
    assert!(TcpStream::connect(("127.0.0.1", rig.port)).is_err(), "nothing listens");
    let port = rig.rest.listen("127.0.0.1:0", TOKEN, RestOptions::default()).unwrap();
    assert_eq!(raw(port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").0, 200);
    assert_eq!(rig.rest.listen("nonsense", TOKEN, RestOptions::default()).unwrap_err().kind, RRError::Arg);
    assert_eq!(rig.rest.listen(&port.to_string(), TOKEN, RestOptions::default()).unwrap_err().kind, RRError::Io);
}

#[test]
fn every_route_is_in_the_openapi_document() {
    let rig = Rig::new();
    let (status, document) = rig.ask("GET", "/v1/openapi.json", "");
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    let paths = document["paths"].as_object().unwrap();
    let source = include_str!("api.rs");
    let routes: Vec<&str> = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(routes.len() > 10);
    for route in routes.into_iter().filter(|route| *route != "/v1/openapi.json") {
        assert!(paths.contains_key(route), "{route} is not described");
    }
}

/// `make openapi` (RR_BLESS=1) writes it anew.
#[test]
fn the_committed_openapi_document_is_that_of_the_routes() {
    let document = serde_json::to_value(<api::Document as utoipa::OpenApi>::openapi()).unwrap();
    let made = format!("{document:#}\n");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    if std::env::var_os("RR_BLESS").is_some() {
        std::fs::write(file, &made).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap();
    let differs = committed.lines().zip(made.lines()).find(|(one, other)| one != other);
    assert!(committed == made, "make openapi writes docs/openapi.json anew: {differs:?}");
}

#[test]
fn streams_targets_and_sources_are_made_changed_and_ended() {
    let rig = Rig::new();
    let show = "/v1/streams/live/show";
    let (status, stream) = rig.ask("PUT", show, r#"{"grace_ms": 7000}"#);
    assert_eq!((status, stream["state"].as_str()), (200, Some("IDLE")), "{stream}");
    let (again, same) = rig.ask("PUT", show, r#"{"grace_ms": 7000}"#);
    assert_eq!((again, &same["id"]), (200, &stream["id"]), "a put may be repeated");
    assert_eq!(rig.ask("PUT", show, "").0, 200, "without settings those that are there stay");
    let (changed, same) = rig.ask("PUT", show, r#"{"queue_ms": 900, "silent_ms": "off"}"#);
    assert_eq!((changed, &same["id"]), (200, &stream["id"]), "a put changes what can change");
    let (status, problem) = rig.ask("PUT", show, r#"{"grace_ms": 8000, "clock": "zero"}"#);
    assert_eq!((status, problem["error"].as_str()), (409, Some("RR_ERR_EXISTS")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("another clock"), "{problem}");
    assert_eq!(rig.ask("PUT", show, r#"{"silent_ms": null}"#).0, 200);
    let config = rig.server.stream_config(stream["id"].as_str().unwrap().parse().unwrap()).unwrap();
    let told = (config.grace_ms, config.queue_ms, config.silent_ms);
    assert_eq!(told, (7_000, 900, Some(2_000)), "what is not named stays");

    let targets = format!("{show}/targets");
    let (status, target) = rig.ask("POST", &targets, r#"{"url": "rtmp://127.0.0.1:1/app", "key": "secret-key"}"#);
    assert_eq!((status, target["role"].as_str()), (201, Some("target")), "{target}");
    assert!(!target.to_string().contains("secret-key"), "{target}");
    let one = format!("{targets}/{}", target["id"].as_str().unwrap());
    assert_eq!(rig.ask("PATCH", &one, r#"{"max_kbps": 800}"#).0, 200);
    let id = target["id"].as_str().unwrap().parse().unwrap();
    let config = rig.server.target_config(id).unwrap();
    assert_eq!(
        (config.max_kbps, config.key.as_deref()),
        (Some(800), Some(&b"secret-key"[..])),
        "what is not named stays"
    );
    let (status, problem) = rig.ask("PATCH", &one, r#"{"max_kbps": 1}"#);
    assert_eq!((status, problem["error"].as_str()), (400, Some("RR_ERR_ARG")));
    assert_eq!(rig.server.target_config(id).unwrap().max_kbps, Some(800), "a refused change changes nothing");
    assert_eq!(rig.ask("POST", &format!("{one}/retry"), "").0, 204);
    assert_eq!(rig.ask("GET", &one.replace("/live/", "/other/"), "").0, 404);
    assert_eq!(rig.ask("DELETE", &format!("{one}?deadline_ms=0"), "").0, 204);

    let pull = r#"{"url": "rtmp://127.0.0.1:1/app/key", "on_demand": true}"#;
    let (status, source) = rig.ask("POST", &format!("{show}/sources"), pull);
    assert_eq!((status, source["role"].as_str()), (201, Some("source")), "{source}");
    let (status, problem) = rig.ask("POST", &targets, pull);
    assert_eq!((status, problem["error"].as_str()), (400, Some("RR_ERR_ARG")), "{problem}");
    assert_eq!(rig.ask("POST", "/v1/streams/live/none/targets", r#"{"url": "rtmp://a/b"}"#).0, 404);
}

#[test]
fn streams_may_be_called_as_routes_are() {
    let rig = Rig::new();
    for path in ["targets/targets", "sessions/streams"] {
        assert_eq!(rig.ask("PUT", &format!("/v1/streams/{path}"), "").0, 200);
        let targets = format!("/v1/streams/{path}/targets");
        let (status, target) = rig.ask("POST", &targets, r#"{"url": "rtmp://127.0.0.1:1/app"}"#);
        assert_eq!(status, 201, "{target}");
        let one = format!("{targets}/{}", target["id"].as_str().unwrap());
        assert_eq!((rig.ask("GET", &one, "").0, rig.ask("DELETE", &one, "").0), (200, 204), "{one}");
    }
}

#[test]
fn a_peer_that_takes_no_answers_does_not_keep_its_place() {
    let rig = Rig::new();
    let mut socket = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let request = b"GET /page/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let deadline = std::time::Instant::now() + PATIENCE;
    let ended = loop {
        match socket.write(request) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(10))
            }
            Err(error) => break error,
        }
        assert!(std::time::Instant::now() < deadline, "it keeps its place");
    };
    assert!(matches!(ended.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{ended}");
    assert_eq!(rig.ask("GET", "/v1/server", "").0, 200);
}

#[test]
fn scrapers_get_figures_with_units_and_no_keys() {
    let rig = Rig::new();
    let id = rig.server.stream_create(b"live", b"secret-key", None).unwrap();
    rig.server.stream_write(id, 8, 0, b"\xaf\x01sound", false).unwrap();
    let (status, text) = raw(rig.port, &format!("GET /metrics?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(status, 200);
    for line in [
        "# TYPE rrelay_stream_received_bytes counter",
        "# UNIT rrelay_stream_received_bytes bytes",
        &format!("rrelay_stream_received_bytes_total{{stream=\"{id}\"}} 7"),
        "rrelay_server_received_bytes_total 7",
        "rrelay_streams 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("secret-key"));
    let options = RestOptions { readers_open: true, key_labels: true };
    let port = rig.rest.listen(":0", "another-token", options).unwrap();
    let (_, text) = raw(port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let line = format!("rrelay_stream_received_bytes_total{{stream=\"{id}\",app=\"live\",key=\"secret-key\"}} 7");
    assert!(text.contains(&line), "{line} is not in\n{text}");
    let (status, xml) = raw(rig.port, &format!("GET /stat?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert!(status == 200 && xml.starts_with("<?xml"), "{xml}");
    let (status, count) = rig.ask("GET", "/control/drop/publisher?app=live", "");
    assert_eq!((status, count), (200, Value::from(0)));
}

#[test]
fn scrapers_get_the_counts_of_processes_where_streams_have_them() {
    let text = |isolate| {
        let config = ServerConfig { isolate, ..ServerConfig::default() };
        let server = RRServer::new(config, LevelFilter::Off, None).unwrap();
        let mut text = answer::Buffer::default();
        metrics::write(&server, false, &mut text).unwrap();
        String::from_utf8(text.finish().unwrap().into()).unwrap()
    };
    for line in ["rrelay_workers_started_total 0", "rrelay_workers_crashed_total 0", "rrelay_workers_hung_total 0"] {
        assert!(text(Isolate::Process).contains(line) && !text(Isolate::Threads).contains(line), "{line}");
    }
}

/// A connection that reads server-sent events.
struct Listening {
    reader: std::io::BufReader<TcpStream>,
}

impl Listening {
    fn new(port: u16) -> Self {
        Self::behind(port, "")
    }

    /// One that says which event it has had last.
    fn behind(port: u16, last: &str) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let last = if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
        let head = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{last}");
        socket.write_all(format!("GET /v1/events HTTP/1.1\r\n{head}\r\n").as_bytes()).unwrap();
        Self { reader: std::io::BufReader::new(socket) }
    }

    /// The next line that begins so; `None` at the end.
    fn line(&mut self, begin: &str) -> Option<String> {
        use std::io::BufRead;
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if line.starts_with(begin) {
                return Some(line.trim_end().to_owned());
            }
        }
    }

    /// The kind and the object of the next event.
    fn event(&mut self) -> Option<(String, Value)> {
        let kind = self.line("event: ")?;
        let data = self.line("data: ")?;
        Some((kind["event: ".len()..].to_owned(), serde_json::from_str(&data["data: ".len()..]).unwrap()))
    }
}

#[test]
fn events_reach_readers_as_they_happen() {
    let rig = Rig::new();
    let mut readers = [(); 2].map(|()| Listening::new(rig.port));
    for reader in &mut readers {
        assert!(reader.line("HTTP/1.1 ").is_some_and(|line| line.contains("200")));
        assert!(reader.line("content-type: ").is_some_and(|line| line.contains("text/event-stream")));
        assert!(reader.line(": from here on").is_some());
    }
    let id = rig.server.stream_create(b"live", b"show", None).unwrap();
    for reader in &mut readers {
        let (kind, event) = reader.event().unwrap();
        assert_eq!((kind.as_str(), &event["kind"], &event["state"]), ("stream", &"stream".into(), &"IDLE".into()));
        assert_eq!(
            (&event["stream"], &event["app"], &event["key"]),
            (&id.to_string().into(), &"live".into(), &"show".into())
        );
    }
    // A line on which nothing happens is kept, and one that has gone is forgotten.
    assert_eq!(readers[0].line(":").as_deref(), Some(":"));
    let [mut stays, goes] = readers;
    drop(goes);
    rig.server.stream_stop(id, 0).unwrap();
    while !stays.event().unwrap().1["last"].as_bool().unwrap() {}
    // A stop of the listener ends it, in order.
    rig.rest.stop();
    assert!(stays.event().is_none());
}

#[test]
fn a_reader_that_comes_back_goes_on_where_it_was() {
    let rig = Rig::new();
    let mut reader = Listening::new(rig.port);
    assert!(reader.line(": from here on").is_some());
    let begin = reader.line("id: ").unwrap()["id: ".len()..].to_owned();
    rig.server.stream_create(b"live", b"one", None).unwrap();
    let id = reader.line("id: ").unwrap()["id: ".len()..].to_owned();
    drop(reader);
    for key in [b"two", b"six"] {
        rig.server.stream_create(b"live", key, None).unwrap();
    }
    let keys = |reader: &mut Listening, count| -> Vec<String> {
        (0..count).map(|_| reader.event().unwrap().1["key"].as_str().unwrap().to_owned()).collect()
    };
    let mut back = Listening::behind(rig.port, &id);
    assert_eq!(keys(&mut back, 2), ["two", "six"]);
    // So does one that was there before anything was told.
    assert_eq!(keys(&mut Listening::behind(rig.port, &begin), 3), ["one", "two", "six"]);
    // After a start anew the id means nothing: that is said, and then all that is kept.
    let mut from_before = Listening::behind(rig.port, "5e-7");
    assert_eq!(from_before.line("id: "), Some(format!("id: {begin}")));
    assert_eq!(from_before.event().unwrap(), ("lost".to_owned(), serde_json::json!({"count": 0})));
    assert_eq!(keys(&mut from_before, 3), ["one", "two", "six"]);
    // Who has had no event yet has a place too.
    let mut new = Listening::new(rig.port);
    let place = new.line("id: ").unwrap()["id: ".len()..].to_owned();
    drop(new);
    rig.server.stream_create(b"live", b"ten", None).unwrap();
    assert_eq!(keys(&mut Listening::behind(rig.port, &place), 1), ["ten"]);
}

#[test]
fn readers_of_events_are_bounded_and_need_the_token() {
    let rig = Rig::new();
    let (status, body) = raw(rig.port, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(status == 401 && body.contains("RR_ERR_AUTH"), "{body}");
    let mut readers = Vec::new();
    let (status, problem) = loop {
        let mut reader = Listening::new(rig.port);
        if reader.line("HTTP/1.1 ").is_some_and(|line| line.contains("429")) {
            break rig.ask("GET", "/v1/events", "");
        }
        readers.push(reader);
        assert!(readers.len() < 100, "there is no bound");
    };
    assert_eq!((status, problem["error"].as_str()), (429, Some("RR_ERR_LIMIT")), "{problem}");
    // Who goes makes room.
    drop(readers);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !Listening::new(rig.port).line("HTTP/1.1 ").is_some_and(|line| line.contains("200")) {
        assert!(std::time::Instant::now() < deadline, "there is no room");
    }
    assert_eq!(rig.rest.handle("GET", "/v1/events", b"").unwrap().status, 501, "an answer by a call has an end");
}

#[test]
fn the_page_may_reach_the_ports_for_players_and_nothing_else() {
    let rig = Rig::new();
    let answer = |path: &str| {
        let mut socket = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(answer("/").contains("; connect-src 'self'; "), "{}", answer("/"));
    let listens = |http| rig.server.listen("127.0.0.1:0", ListenOptions { http, ..ListenOptions::default() }).unwrap();
    let (rtmp, http) = (listens(false), listens(true));
    assert!(answer("/").contains(&format!("; connect-src 'self' http://*:{http}; ")), "{}", answer("/"));
    let listener = |scheme: &str, port| serde_json::json!({"scheme": scheme, "address": "127.0.0.1", "port": port, "proxy": false});
    let told = rig.ask("GET", "/v1/server", "").1;
    assert_eq!(told["listeners"], serde_json::json!([listener("rtmp", rtmp), listener("http", http)]));
    for path in ["/page/page.js", "/page/mpegts.js", "/page/mpegts.js.LICENSE.txt", "/v1/server", "/healthz", "/none"] {
        let head = answer(path).split_once("\r\n\r\n").unwrap().0.to_owned();
        for field in [
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(field), "{path}: {head}");
        }
    }
    rig.server.stop(None, 0).unwrap();
    while !rig.server.listeners().is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn what_the_page_has_of_others_is_as_it_was_taken() {
    use sha2::{Digest, Sha256};
    for line in include_str!("page/vendor/SHA256SUMS").lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rest/page/vendor").join(name);
        let found: String =
            Sha256::digest(std::fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, sum, "{name}: `make vendor` takes it anew");
    }
}
