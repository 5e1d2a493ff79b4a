//! A server of very many streams and sessions needs no list of all of them to stop, to drain, to end them or to keep its memory
//! limit: where there is no memory for such a list, each of these happens all the same, and the process goes on.
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/failing.rs"]
mod failing;
#[path = "support/live.rs"]
mod live;

use rrelay::config::ServerConfig;
use rrelay::server::{LevelFilter, ListenOptions, RRServer};

use live::until;

/// So many that a list of them is a large piece of memory.
const MANY: usize = 2_100;

fn server() -> RRServer {
    let (many, handshake_ms) = (MANY as u32 + 10, 600_000);
    let config = ServerConfig { max_streams: many, max_sessions: many, handshake_ms, ..ServerConfig::default() };
    // The host keeps nothing of its events.
    RRServer::new(ServerConfig { mem_limit_bytes: Some(1 << 30), ..config }, LevelFilter::Off, Some(Box::new(|_| ())))
        .unwrap()
}

fn with_streams() -> RRServer {
    let server = server();
    for number in 0..MANY {
        server.stream_create(b"live", format!("show{number}").as_bytes(), None).unwrap();
    }
    server
}

/// Lets each large allocation fail once that one of these servers makes for this.
fn each_fails_once(server: impl Fn() -> RRServer, what: impl Fn(&RRServer)) {
    for before in 0.. {
        let server = server();
        let one_failed = failing::once(failing::LARGE, before, || what(&server));
        server.shutdown().unwrap();
        if !one_failed {
            return;
        }
    }
}

#[test]
fn no_memory_for_a_list_of_all_ends_nothing() {
    failing::spare_this_thread();
    // The thread that ends the streams lists them as they come, and may be as fast as they come.
    for _ in 0..5 {
        each_fails_once(with_streams, |server| {
            std::thread::scope(|scope| scope.spawn(|| server.shutdown().unwrap()).join().unwrap());
            assert!(server.stream_find(b"live", b"show0").is_err());
        });
    }

    // The lists of the streams and of their floors, which are made every second.
    for before in 0..4 {
        let server = with_streams();
        failing::once(failing::LARGE, before, || until("a list finds no memory", failing::has_failed));
        server.stream_create(b"live", b"another", None).unwrap();
        server.shutdown().unwrap();
    }

    let server = server();
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    let peers: Vec<_> = (0..MANY).map(|_| live::raw(port)).collect();
    until("all are there", || server.stats(0).unwrap().sessions as usize == MANY);
    let drain = || {
        let stop = || server.stop(Some("rtmp://127.0.0.1:1/live"), 600_000).unwrap();
        std::thread::scope(|scope| scope.spawn(stop).join().unwrap());
    };
    failing::once(failing::LARGE, 0, drain);
    drop(peers);
    server.shutdown().unwrap();
}
