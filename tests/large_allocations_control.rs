//! A failed allocation of control by HTTP, of hooks or of a controller fails the request that needed the memory, in
//! words, and never the process: each large allocation fails here once.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/failing.rs"]
mod failing;
#[path = "support/live.rs"]
mod live;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rrelay::config::{ControllerConfig, Dialect, HooksConfig, ServerConfig, TargetConfig};
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::rest::{Rest, RestOptions};
use rrelay::server::{Id, LevelFilter, ListenOptions, RRServer};

const TOKEN: &str = "token-of-tests";

/// Sessions; the text about them takes a large piece of memory, as that about so many streams and targets.
const SESSIONS: usize = 40;

/// Streams, and targets of one of them.
#[derive(Clone, Copy)]
struct Many {
    streams: usize,
    targets: usize,
}

/// So many that the text about them takes large pieces of memory.
const SOME: Many = Many { streams: 40, targets: 40 };

/// So many that a list of their ids takes a large piece of memory too: a target's, which stands beside its stream's, has
/// 16 bytes, a stream's has eight.
const LISTED: Many = Many { streams: 2_100, targets: 1_100 };

/// Pages that need large pieces of memory.
const PAGES: [&str; 8] = [
    "/v1/streams",
    "/v1/streams/live/show0",
    "/v1/streams/live/show0/targets",
    "/v1/sessions",
    "/v1/openapi.json",
    "/metrics",
    "/stat",
    "/v1/server",
];

/// A JSON object with so much space around it that it is large.
fn spaced(object: &str) -> String {
    format!("{}{object}", " ".repeat(60_000))
}

/// A back end and controller that says yes, with so much space before it. Its thread ends with the program.
fn back_end(space: &str) -> u16 {
    let space = space.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        failing::spare_this_thread();
        for socket in listener.incoming().map_while(Result::ok) {
            let _ = says_yes(&socket, &space);
        }
    });
    port
}

fn says_yes(socket: &TcpStream, space: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket);
    let (mut head, mut len) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let begin = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
        let line = head[begin..].to_ascii_lowercase();
        len = line.strip_prefix("content-length: ").map_or(len, |len| len.trim().parse().unwrap());
    }
    reader.read_exact(&mut vec![0; len])?;
    let answer = if head.contains("/v1/next") { "{\"action\": \"relay\"}" } else { "{\"action\": \"allow\"}" };
    let body = format!("{space}{answer}");
    // In one piece: hyper's buffers grow where a head comes in several.
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    (&mut &*socket).write_all(answer.as_bytes())
}

struct Rig {
    server: Arc<RRServer>,
    rtmp_port: u16,
    rest: Rest,
    port: u16,
    /// The first stream's first target.
    target: Id,
    back_end: u16,
    /// The sessions that are listed.
    _sessions: Vec<TcpStream>,
}

impl Rig {
    /// With so much, and a back end that says so much before its answers.
    fn new(many: Many, space: &str) -> Self {
        let config = ServerConfig { handshake_ms: 600_000, max_streams: 10_000, ..ServerConfig::default() };
        // The host keeps nothing of its events.
        let server = Arc::new(RRServer::new(config, LevelFilter::Off, Some(Box::new(|_| ()))).unwrap());
        let rtmp_port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
        let create = |number: usize| server.stream_create(b"live", format!("show{number}").as_bytes(), None).unwrap();
        let streams: Vec<Id> = (0..many.streams).map(create).collect();
        let add = |number: usize| {
            let config = TargetConfig {
                url: format!("rtmp://127.0.0.1:1/app{number}"),
                retry_min_ms: 60_000,
                retry_max_ms: 60_000,
                ..TargetConfig::default()
            };
            server.target_add(streams[0], config).unwrap()
        };
        let targets: Vec<Id> = (0..many.targets).map(add).collect();
        let sessions = (0..SESSIONS).map(|_| live::raw(rtmp_port)).collect();
        let rest = Rest::new(Arc::clone(&server));
        let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
        live::until("all sessions are there", || server.stats(0).unwrap().sessions as usize == SESSIONS);
        Self { server, rtmp_port, rest, port, target: targets[0], back_end: back_end(space), _sessions: sessions }
    }

    /// Asks, and gives the status and the body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!("Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n");
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{body}");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// What the server says, and what it asks, needs much memory; what others say does not.
    fn says_much(&self, number: i64) {
        for page in PAGES {
            is_answer(page, self.ask("GET", page, ""));
        }
        for page in ["/v1/streams/live/show0", "/v1/openapi.json", "/page/page.js", "/page/mpegts.js"] {
            self.by_call("GET", page, "");
        }
        // The longest url that may be, with an escape for each of its characters.
        let url: String = format!("rtmp://127.0.0.1:1/{:x<8173}", "").chars().map(escaped).collect();
        let target = format!("/v1/streams/live/show0/targets/{}", self.target);
        self.by_call("PATCH", &target, &format!("{{\"url\": \"{url}\"}}"));
        for dialect in [Dialect::Json, Dialect::Nginx] {
            self.asks_about(dialect, number);
        }
    }

    /// What others say needs much memory.
    fn reads_much(&self, number: i64) {
        is_answer("a body", self.ask("PUT", "/v1/streams/live/show0", &spaced("{}")));
        self.by_call("PUT", "/v1/streams/live/show0", &spaced("{}"));
        self.asks_about(Dialect::Json, number);
    }

    fn by_call(&self, method: &str, path: &str, body: &str) {
        let asks = || match self.rest.handle(method, path, body.as_bytes()) {
            Ok(answer) => assert!(matches!(answer.status, 200 | 503), "{path}: {}", answer.status),
            Err(failure) => assert_eq!(failure.kind, RRError::NoMem),
        };
        // The host's thread is not spared.
        std::thread::scope(|scope| drop(scope.spawn(asks)));
    }

    /// A publisher comes, about whom a back end and a controller are asked much.
    fn asks_about(&self, dialect: Dialect, number: i64) {
        let url = format!("http://127.0.0.1:{}", self.back_end);
        let (on_publish, urls) = (Some(format!("{url}/hook")), vec![url]);
        self.rest.set_hooks(Some(HooksConfig { on_publish, dialect, ..HooksConfig::default() })).unwrap();
        let controller = ControllerConfig { urls, heartbeat_ms: None, ..ControllerConfig::default() };
        self.rest.set_controller(Some(controller)).unwrap();
        // Each of these characters takes six in JSON, and the arguments three in a form.
        let key = format!("{number}{}?{}", "\u{1}".repeat(3_000), "\u{2}".repeat(1_000));
        let mut peer = live::shaken(self.rtmp_port);
        let publish = [Value::Null, Value::String(key.as_bytes()), Value::String(b"live")];
        let commands = [
            live::connect(),
            live::command(0, "createStream", 2.0, &[Value::Null]),
            live::command(1, "publish", 3.0, &publish),
        ];
        // It is let in, or refused.
        peer.write_all(&commands.concat()).unwrap();
        let mut said = Vec::new();
        while !said.windows(17).any(|word| word == b"NetStream.Publish") {
            let mut bytes = [0; 4096];
            match peer.read(&mut bytes) {
                Ok(n @ 1..) => said.extend_from_slice(&bytes[..n]),
                _ => break,
            }
        }
        self.rest.set_hooks(None).unwrap();
        self.rest.set_controller(None).unwrap();
    }
}

fn escaped(character: char) -> String {
    format!("\\u{:04x}", u32::from(character))
}

/// Asserts that it is the answer, or that it says that there is no memory.
fn is_answer(what: &str, (status, body): (u16, String)) {
    match status {
        200 => assert!(body.len() > 500, "{what}: {body}"),
        503 => assert!(body.contains("RR_ERR_NOMEM"), "{what}: {body}"),
        _ => panic!("{what}: {status}, {body}"),
    }
}

/// Lets each allocation of `least` bytes or more fail once.
fn each_fails_once(rig: &Rig, least: usize, works: impl Fn(&Rig, i64)) {
    works(rig, -1);
    for before in 0..1_000 {
        let one_failed = failing::once(least, before, || works(rig, before));
        for page in PAGES {
            assert_eq!(rig.ask("GET", page, "").0, 200, "{page} after it");
        }
        if !one_failed {
            assert!(before > 3, "nothing large was allocated");
            eprintln!("{before} allocations of {least} bytes or more failed, one at a time");
            return;
        }
    }
    panic!("there is no end of large allocations");
}

/// Lets each large allocation for a page about very many fail once.
fn lists_fail_once(rig: &Rig) {
    for page in PAGES {
        let asked = || is_answer(page, rig.ask("GET", page, ""));
        asked();
        let mut before = 0;
        while failing::once(failing::LARGE, before, asked) {
            before += 1;
        }
        asked();
        eprintln!("{page}: {before} large allocations failed, one at a time");
        assert!(before > 0 || page == "/v1/openapi.json", "{page}: nothing large was allocated");
    }
}

/// Another address for control by HTTP, and hooks; whether there was memory for them.
fn begins(rig: &Rig) -> Result<(), RRError> {
    let rest = Rest::new(Arc::clone(&rig.server));
    let hooks = HooksConfig { on_publish: Some("http://127.0.0.1:1/".to_owned()), ..HooksConfig::default() };
    let listens = rest.listen(":0", TOKEN, RestOptions::default());
    listens.and_then(|_| rest.set_hooks(Some(hooks))).map_err(|failure| failure.kind)
}

#[test]
fn a_large_allocation_that_fails_fails_one_request() {
    failing::spare_this_thread();
    let rig = Rig::new(SOME, "");
    for before in 0.. {
        // The host's thread is not spared.
        let mut begun = Ok(());
        let one_failed = failing::once(failing::LARGE, before, || {
            std::thread::scope(|scope| begun = scope.spawn(|| begins(&rig)).join().expect("it says it"));
        });
        if !one_failed {
            assert!(begun.is_ok() && before > 0, "{begun:?} after {before}");
            break;
        }
        assert_eq!(begun, Err(RRError::NoMem), "the large allocation {before}");
    }
    each_fails_once(&rig, failing::LARGE, Rig::says_much);
    lists_fail_once(&Rig::new(LISTED, ""));
    // The buffers that hyper reads into are smaller than these; where one of them fails, the process ends.
    each_fails_once(&Rig::new(SOME, &" ".repeat(60_000)), 2 * failing::LARGE + 1, Rig::reads_much);
}
