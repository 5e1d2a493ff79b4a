//! Targets are added, changed, retried and removed, streams made and stopped, sessions kicked, from many threads at
//! once, by HTTP and by the C calls, while media flows. Players that are left alone lose nothing, and in the end
//! everything is freed. The test has its own process, because it counts what the process holds.
#![cfg(feature = "rest")]
#![allow(unsafe_code, reason = "the C functions are called as C calls them")]
#![allow(clippy::unwrap_used, reason = "what cannot be done has failed the test")]

#[path = "support/live.rs"]
mod live;
#[path = "support/process.rs"]
mod process;

use std::ffi::{CStr, CString, c_int};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use live::{Client, PATIENCE, until};
use process::holds;
use rrelay::ffi::config::{rr_config_kind, rr_server_config, rr_target_config};
use rrelay::ffi::rr_base::{rr_config_init, rr_last_error};
use rrelay::ffi::rr_event::rr_event_next;
use rrelay::ffi::rr_rest::{rr_rest_listen, rr_rest_stop};
use rrelay::ffi::rr_server::{rr_server, rr_server_free, rr_server_listen, rr_server_new, rr_server_stop};
use rrelay::ffi::rr_session::rr_session_close;
use rrelay::ffi::rr_stream::{rr_stream_create, rr_stream_find, rr_stream_stop};
use rrelay::ffi::rr_target::{rr_stream_add_target, rr_target_retry, rr_target_stop};
use rrelay::ffi::types::rr_error;
use serde_json::{Value, json};

const TOKEN: &CStr = c"token-of-tests";
const REST_THREADS: u32 = 4;
const C_THREADS: u32 = 2;
const ROUNDS: u32 = 12;
/// Players that are left alone.
const UNTOUCHED: u32 = 2;
/// The first byte of the message after which a player may go.
const LAST: u8 = 0xff;

/// The number of calls that succeeded, so that the test does not pass if all are refused.
static DONE: AtomicU64 = AtomicU64::new(0);

/// A server that may be used from any thread, as the header says.
#[derive(Clone, Copy)]
struct Server {
    s: *mut rr_server,
    port: u16,
    rest: u16,
}
// SAFETY: that is what the test is about.
unsafe impl Send for Server {}
// SAFETY: as above.
unsafe impl Sync for Server {}

impl Server {
    fn new() -> Self {
        let mut s = null_mut();
        // SAFETY: zero is a valid rr_server_config.
        let mut config: rr_server_config = unsafe { std::mem::zeroed() };
        let kind = rr_config_kind::RR_CFG_SERVER as c_int;
        // SAFETY: the struct is there, with its size.
        assert_eq!(unsafe { rr_config_init(kind, (&raw mut config).cast(), size_of_val(&config)) }, 0);
        // SAFETY: both are there.
        assert_eq!(unsafe { rr_server_new(&config, &mut s) }, 0);
        // SAFETY: a server and a string.
        let port = unsafe { rr_server_listen(s, c"127.0.0.1:0".as_ptr(), 0) };
        // SAFETY: a server and strings.
        let rest = unsafe { rr_rest_listen(s, c":0".as_ptr(), TOKEN.as_ptr(), 0) };
        Self { s, port: u16::try_from(port).unwrap(), rest: u16::try_from(rest).unwrap() }
    }

    /// One request; the status, and the answer's object.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut socket = TcpStream::connect(("127.0.0.1", self.rest)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let token = TOKEN.to_str().unwrap();
        let head = format!("Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}");
        write!(socket, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let status = answer.get(9..12).unwrap_or_else(|| panic!("{method} {path}: no answer")).parse().unwrap();
        assert!(status < 500, "{method} {path}: {answer}");
        let object = answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
        (status, object.unwrap_or_default())
    }

    /// As [`Self::ask`], counted if it succeeds.
    fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        DONE.fetch_add(u64::from(status < 300), Ordering::Relaxed);
        answer
    }

    /// A player that is kicked; a thread that has its id does it.
    fn kick_one(&self, key: &str, kick: impl Fn(&str)) {
        let mut player = Client::new(self.port, key, false);
        let addr = player.addr();
        let mut id = String::new();
        until("the player's id", || {
            let (_, sessions) = self.ask("GET", "/v1/sessions", &Value::Null);
            let found = sessions.as_array().unwrap().iter().find(|session| session["addr"] == *addr);
            id = found.map_or_else(String::new, |session| session["id"].as_str().unwrap().to_owned());
            !id.is_empty()
        });
        kick(&id);
        player.closed();
    }

    /// An operator by HTTP.
    fn operate(self, thread: u32) {
        for round in 0..ROUNDS {
            let mine = format!("/v1/streams/live/r{}", (thread + round) % 3);
            let away = json!({"url": "rtmp://127.0.0.1:1/live", "key": "x", "retry_min_ms": 5, "retry_max_ms": 20});
            let back =
                json!({"url": format!("rtmp://127.0.0.1:{}/copy", self.port), "key": format!("{thread}-{round}")});
            self.done("PUT", &mine, &Value::Null);
            let mut added = Vec::new();
            for (stream, target) in
                [("/v1/streams/live/show", &back), ("/v1/streams/live/show", &away), (&*mine, &away)]
            {
                let target = self.done("POST", &format!("{stream}/targets"), target);
                added.extend(target["id"].as_str().map(|id| format!("{stream}/targets/{id}")));
            }
            for target in &added {
                self.done("PATCH", target, &json!({"max_kbps": 1_000 + round}));
                self.done("POST", &format!("{target}/retry"), &Value::Null);
            }
            self.kick_one("show", |id| {
                self.done("DELETE", &format!("/v1/sessions/{id}?text=kicked"), &Value::Null);
            });
            for path in ["/v1/streams", "/metrics", "/stat", "/v1/server"] {
                self.done("GET", path, &Value::Null);
            }
            for target in &added {
                self.done("DELETE", &format!("{target}?deadline_ms=20"), &Value::Null);
            }
            if round % 2 == thread % 2 {
                self.done("DELETE", &format!("{mine}?deadline_ms=20"), &Value::Null);
            }
        }
    }

    /// A host by the C calls.
    fn host(self, thread: u32) {
        let url = CString::new(format!("rtmp://127.0.0.1:{}/copy/c{thread}", self.port)).unwrap();
        let config = rr_target_config { url: url.as_ptr(), ..rr_target_config::defaults() };
        for round in 0..ROUNDS {
            let name = CString::new(format!("r{}", (thread + round) % 3)).unwrap();
            let (mut show, mut mine, mut target) = (0, 0, 0);
            // SAFETY: every pointer is to something that lives through the call.
            calm(unsafe { rr_stream_find(self.s, c"live".as_ptr(), c"show".as_ptr(), &mut show) });
            // SAFETY: as above.
            calm(unsafe { rr_stream_create(self.s, c"live".as_ptr(), name.as_ptr(), null(), &mut mine) });
            for stream in [show, mine] {
                // SAFETY: as above.
                calm(unsafe { rr_stream_add_target(self.s, stream, &config, &mut target) });
                // SAFETY: as above.
                calm(unsafe { rr_target_retry(self.s, target) });
                // SAFETY: as above.
                calm(unsafe { rr_target_stop(self.s, target, 20) });
            }
            self.kick_one("show", |id| {
                // SAFETY: as above.
                calm(unsafe { rr_session_close(self.s, id.parse().unwrap(), c"kicked".as_ptr(), 0) });
            });
            if round % 2 == thread % 2 {
                // SAFETY: as above.
                calm(unsafe { rr_stream_stop(self.s, mine, 20) });
            }
        }
    }

    /// Publishes numbered messages until `over`, then the last one; gives their number.
    fn publish(self, over: &AtomicBool) -> u32 {
        let mut publisher = Client::new(self.port, "show", true);
        let mut count = 0;
        let mut send = |publisher: &mut Client, mark: u8| {
            count += 1;
            publisher.key_frame(count * 10, &[&[mark][..], &count.to_be_bytes(), &[0; 500]].concat()).unwrap();
        };
        while !over.load(Ordering::Relaxed) {
            send(&mut publisher, 0);
            publisher.turn(Duration::from_millis(5)).unwrap();
        }
        send(&mut publisher, LAST);
        // The connection stays until all players have the last message, which the end of the publish could take away.
        until("the publisher is closed", || publisher.turn(Duration::from_millis(20)).is_err());
        count
    }

    /// Plays until the last message; gives how many came, of which none may be missing.
    fn watch(self, ready: &AtomicU64) -> u32 {
        let mut player = Client::new(self.port, "show", false);
        ready.fetch_add(1, Ordering::Relaxed);
        let mut next = 1;
        loop {
            let (head, body) = player.message();
            let (9, Some(number)) = (head.type_id, body.get(6..10)) else { continue };
            let number = u32::from_be_bytes(number.try_into().unwrap());
            assert_eq!(number, next, "a message is missing");
            next = number + 1;
            if body[5] == LAST {
                return number;
            }
        }
    }

    /// Reads `/v1/events` to its end; gives how many came.
    fn listen(self) -> usize {
        let mut socket = TcpStream::connect(("127.0.0.1", self.rest)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let token = TOKEN.to_str().unwrap();
        write!(socket, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        let mut told = Vec::new();
        socket.read_to_end(&mut told).unwrap();
        String::from_utf8_lossy(&told).matches("event: ").count()
    }
}

/// No call may give RR_ERR_PANIC; any other error may be caused by the other threads.
fn calm(code: c_int) {
    // SAFETY: rr_last_error never gives NULL.
    let detail = unsafe { CStr::from_ptr(rr_last_error()) };
    assert_ne!(code, rr_error::RR_ERR_PANIC as c_int, "{detail:?}");
    DONE.fetch_add(u64::from(code == 0), Ordering::Relaxed);
}

#[test]
fn players_that_nobody_closes_lose_nothing() {
    let fresh = holds();
    let server = Server::new();
    // The stream exists until the end: its publisher comes after its players, so they get its very first message.
    server.done("PUT", "/v1/streams/live/show", &Value::Null);
    let (over, ready) = (AtomicBool::new(false), AtomicU64::new(0));
    let (sent, seen, told) = std::thread::scope(|scope| {
        let players: Vec<_> = (0..UNTOUCHED).map(|_| scope.spawn(|| server.watch(&ready))).collect();
        let listener = scope.spawn(|| server.listen());
        until("the players are there", || ready.load(Ordering::Relaxed) == u64::from(UNTOUCHED));
        let publisher = scope.spawn(|| server.publish(&over));
        let operators: Vec<_> = (0..REST_THREADS).map(|thread| scope.spawn(move || server.operate(thread))).collect();
        let hosts: Vec<_> = (0..C_THREADS).map(|thread| scope.spawn(move || server.host(thread))).collect();
        let mut failed = 0;
        for thread in operators.into_iter().chain(hosts) {
            failed += u32::from(thread.join().is_err());
        }
        over.store(true, Ordering::Relaxed);
        let seen: Vec<u32> = players.into_iter().map(|player| player.join().unwrap_or(0)).collect();
        // SAFETY: the server is there.
        assert_eq!(unsafe { rr_server_stop(server.s, null(), 500) }, 0);
        let sent = publisher.join().unwrap_or(0);
        // SAFETY: as above.
        assert_eq!(unsafe { rr_rest_stop(server.s) }, 0);
        let told = listener.join().unwrap_or(0);
        assert_eq!(failed, 0, "no operator fails");
        (sent, seen, told)
    });
    assert!(sent > 10 && seen.iter().all(|&last| last == sent), "{seen:?} of {sent}");
    let done = DONE.load(Ordering::Relaxed);
    assert!(done > u64::from(REST_THREADS * ROUNDS) * 10 && told > 100, "{done} requests, {told} events");
    let mut event = null();
    // SAFETY: the server is there; an event is not looked at.
    while unsafe { rr_event_next(server.s, &mut event, 0) } == 1 {}
    // SAFETY: the last call, and all threads have ended.
    unsafe { rr_server_free(server.s) };
    until("a server that is gone leaves nothing", || holds() == fresh);
}
