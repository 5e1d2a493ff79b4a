//! The cost of control by HTTP, over loopback. With many streams: 100 requests for each page that readers request
//! repeatedly; `cargo bench --bench rest -- 1000` measures 1,000 streams, each with a publisher's media and a target.
//! And what players notice of a storm of requests: `-- storm` measures this alone, `-- pages` what one request of it
//! takes (`storm.rs`).
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says why and ends")]

#[path = "../tests/support/live.rs"]
mod live;
#[path = "rest/storm.rs"]
mod storm;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, TargetConfig};
use rrelay::rest::{Rest, RestOptions};
use rrelay::server::{LevelFilter, RRServer};

const TOKEN: &str = "token-of-benches";
const REQUESTS: u32 = 100;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["as", "requests", port] => storm::requests(port.parse().expect("a port")),
        ["as", "computing"] => storm::computing(),
        ["storm"] => storm::run(),
        ["pages"] => storm::pages(),
        words => {
            many_streams(words.iter().find_map(|word| word.parse().ok()).unwrap_or(1_000));
            storm::pages();
            storm::run();
        }
    }
}

fn many_streams(streams: u32) {
    let config = ServerConfig { max_streams: streams, ..ServerConfig::default() };
    let server = Arc::new(RRServer::new(config, LevelFilter::Off, Some(Box::new(|_| ()))).expect("a server"));
    for number in 0..streams {
        let id = server.stream_create(b"live", format!("show-{number}").as_bytes(), None).expect("room for a stream");
        let target = TargetConfig { url: "rtmp://127.0.0.1:1/app".to_owned(), ..TargetConfig::default() };
        server.target_add(id, target).expect("room for a target");
        server.stream_write(id, 9, 0, &[0x17, 1, 0, 0, 0, 7, 7, 7], false).expect("room for a message");
    }
    let rest = Rest::new(Arc::clone(&server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).expect("a port");
    println!("{streams} streams, {REQUESTS} requests each     bytes      mean       most");
    for path in ["/stat", "/metrics", "/v1/streams", "/v1/server"] {
        let (mut sum, mut most, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..REQUESTS {
            let begin = Instant::now();
            bytes = ask(port, path);
            let took = begin.elapsed();
            sum += took;
            most = most.max(took);
        }
        println!("{path:<34} {bytes:>9} {:>7.1} ms {:>7.1} ms", millis(sum / REQUESTS), millis(most));
    }
    rest.stop();
    let _ = server.shutdown();
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// One request; gives the answer's size.
fn ask(port: u16, path: &str) -> usize {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("it answers");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    answer.len()
}
