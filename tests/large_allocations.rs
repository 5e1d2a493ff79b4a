//! A failed allocation ends the object that needed the memory, with a reason, and never the process: each large
//! allocation of a running server fails here once; those of control by HTTP fail in `large_allocations_control.rs`.
//! (Small ones, and those of TLS, abort the process, as everywhere in Rust; docs/limits.md says which.)
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;
#[path = "support/failing.rs"]
mod failing;
#[path = "support/live.rs"]
mod live;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, StreamConfig, TargetConfig};
use rrelay::server::{LevelFilter, ListenOptions, LogSink, RRServer};
use rrelay::session::SessionConfig;

use live::{Client, until};

struct Server {
    server: RRServer,
    port: u16,
}

/// A server that logs much, and whose events are not taken for a while.
fn server() -> Server {
    let stream =
        Arc::new(StreamConfig { grace_ms: 100, queue_bytes: 65_536, queue_ms: 100, ..StreamConfig::default() });
    let config = ServerConfig { stream, ..ServerConfig::default() };
    let server = RRServer::new(config, LevelFilter::Trace, None).unwrap();
    server.set_log(LevelFilter::Trace, LogSink::Callback(Box::new(|_, _, _| ()))).unwrap();
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    Server { server, port }
}

/// Does several things in turn: large messages, players with and without a copy of their own, one that stalls and
/// jumps, many peers at once. Any connection may end meanwhile.
fn works(near: &Server, far: &Server, key: &str) {
    let by = Instant::now() + Duration::from_millis(100);
    let stream = near.server.stream_create(b"live", key.as_bytes(), None).unwrap();
    let url = format!("rtmp://127.0.0.1:{}/live", far.port);
    let target = TargetConfig { url, chunk_size: 4096, retry_min_ms: 20, ..TargetConfig::default() };
    let target = near.server.target_add(stream, target);
    let config = SessionConfig::default();
    let peer = |publish: bool| Client::configured(near.port, key, publish, &config).ok();
    let (mut publisher, mut players) = (peer(true), (0..8).map(|_| peer(false)).collect::<Vec<_>>());
    let stalled = peer(false);
    let strangers: Vec<_> = (0..30).map(|_| live::raw(near.port)).collect();
    for (number, size) in [100, 30_000, 200_000, 3_000_000, 3_000_000, 100].into_iter().enumerate() {
        let sent = publisher.as_mut().map(|peer| peer.key_frame(number as u32 * 40, &vec![7; size]));
        publisher = publisher.filter(|_| sent.is_some_and(|sent| sent.is_ok()));
        for player in players.iter_mut().flatten() {
            let _ = player.turn(Duration::from_millis(1));
        }
    }
    while publisher.is_some() && Instant::now() < by {
        for player in players.iter_mut().flatten() {
            let _ = player.turn(Duration::from_millis(1));
        }
    }
    drop((publisher, players, stalled, strangers));
    if let Ok(target) = target {
        let _ = near.server.target_stop(target, 0);
    }
    let _ = near.server.stream_stop(stream, 0);
}

fn sessions(of: &Server) -> u32 {
    of.server.stats(0).unwrap().sessions
}

/// Asserts that the server relays, while no allocation fails.
fn serves(live: &Server) {
    while live.server.next_event(0).unwrap().is_some() {}
    let mut player = Client::new(live.port, "after", false);
    let mut publisher = Client::new(live.port, "after", true);
    publisher.key_frame(0, &[7; 100_000]).unwrap();
    while player.message().0.len < 100_000 {}
}

#[test]
fn a_large_allocation_that_fails_ends_nothing_but_what_wanted_it() {
    failing::spare_this_thread();
    let (near, far) = (server(), server());
    works(&near, &far, "before");
    for before in 0..1_000 {
        let one_failed = failing::once(failing::LARGE, before, || works(&near, &far, &format!("show{before}")));
        until("what has begun is over", || sessions(&near) == 0 && sessions(&far) == 0);
        serves(&near);
        if !one_failed {
            assert!(before > 10, "nothing large was allocated");
            eprintln!("{before} large allocations failed, one at a time");
            near.server.shutdown().unwrap();
            far.server.shutdown().unwrap();
            return;
        }
    }
    panic!("there is no end of large allocations");
}

/// A program that ends with the test, also where the test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process with too little memory to begin says so, whatever the first is that finds none, and is not aborted.
#[test]
fn a_process_without_memory_for_a_server_says_so() {
    failing::spare_this_thread();
    let program = c::build("too-little", &c::server_sources(), c::As::C99);
    let (mut said, mut began) = (0, false);
    for limit_kib in (8_000..200_000).step_by(1_500) {
        let mut server = Command::new("sh")
            .args(["-c", &format!("ulimit -v {limit_kib}; exec \"$0\" \"$@\"")])
            .arg(&program)
            .args(["--addr", "127.0.0.1", "--port", "0"])
            .env("MALLOC_ARENA_MAX", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Ended)
            .unwrap();
        let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        began = lines.any(|line| line.contains("listens on port"));
        if began {
            break;
        }
        let status = server.0.wait().unwrap();
        let mut words = String::new();
        server.0.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        assert!(status.code().is_some() && !words.is_empty(), "with {limit_kib} KiB: {status}, {words}");
        said += usize::from(words.contains("out of memory"));
    }
    assert!(began && said > 2, "{said} said that there is too little memory");
}

/// Publishers come until there is no memory for more: the rest is refused, and those that are there go on.
#[test]
fn a_process_without_free_memory_refuses_new_peers_and_survives() {
    failing::spare_this_thread();
    let program = c::build("no-memory", &c::server_sources(), c::As::C99);
    let limited = "ulimit -v 500000; exec \"$0\" \"$@\"";
    let mut server = Command::new("sh")
        .args(["-c", limited])
        .arg(program)
        .args(["--addr", "127.0.0.1", "--port", "0", "--log", "off"])
        // glibc keeps 64 MiB of addresses for each thread that allocates: the limit would be used up before the first
        // peer.
        .env("MALLOC_ARENA_MAX", "1")
        .stdout(Stdio::piped())
        .spawn()
        .map(Ended)
        .unwrap();
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        let (_, rest) = line.split_once("listens on port ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    let port = port.expect("it says its port");
    // The output is not needed, but it must be read, or the program would block.
    std::thread::spawn(move || lines.for_each(drop));
    let config = SessionConfig::default();
    let (mut publishers, mut refused) = (Vec::new(), 0);
    while refused < 5 {
        let publisher = Client::configured(port, &format!("show{}", publishers.len()), true, &config).ok();
        match publisher.and_then(|mut publisher| publisher.key_frame(0, &[7; 200_000]).ok().map(|()| publisher)) {
            Some(publisher) => publishers.push(publisher),
            None => refused += 1,
        }
        assert!(publishers.len() < 1_000, "there is no end of memory");
    }
    let ended = server.0.try_wait().unwrap();
    assert!(ended.is_none() && publishers.len() > 5, "{ended:?} with {} publishers", publishers.len());
    // Publishers that leave make room for others.
    publishers.truncate(1);
    until("somebody new is taken in", || Client::configured(port, "new", true, &config).is_ok());
    publishers[0].key_frame(40, &[7; 1_000]).unwrap();
}
