//! The answers of control by HTTP that are in memory at the same time are bounded. The test has its own process, because
//! the bound is the process's.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rrelay::config::ServerConfig;
use rrelay::rest::{Rest, RestOptions};
use rrelay::server::{LevelFilter, RRServer};

const TOKEN: &str = "token-of-tests";

/// The most bytes of all answers.
const MOST: usize = 64 << 20;

/// Streams; a list of them has some hundred KiB.
const MANY: usize = 400;

/// Asks by HTTP for all streams, and gives the status and the body.
fn ask(port: u16) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n");
    socket.write_all(format!("GET /v1/streams HTTP/1.1\r\n{head}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[test]
fn answers_that_nobody_takes_leave_memory_for_what_the_relay_is_for() {
    let config = ServerConfig { threads: Some(1), ..ServerConfig::default() };
    let server = Arc::new(RRServer::new(config, LevelFilter::Off, None).unwrap());
    for number in 0..MANY {
        server.stream_create(b"live", format!("show{number}").as_bytes(), None).unwrap();
    }
    let rest = Rest::new(Arc::clone(&server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    let one = ask(port).1.len();
    assert!(one > 100_000, "{one} bytes are no large answer");

    let mut held = Vec::new();
    let refusal = loop {
        let answer = rest.handle("GET", "/v1/streams", b"").unwrap();
        if answer.status != 200 {
            break answer;
        }
        held.push(answer);
        assert!(held.len() * one <= MOST, "{} answers are held", held.len());
    };
    let words = String::from_utf8_lossy(&refusal.body).into_owned();
    assert!(refusal.status == 503 && words.contains("RR_ERR_AGAIN") && words.contains("ask again"), "{words}");
    assert!((held.len() + 2) * one > MOST * 2 / 3, "{} answers of {one} bytes already", held.len());
    assert_eq!(ask(port).0, 503, "nor by HTTP");
    assert_eq!(rest.handle("GET", "/v1/server", b"").unwrap().status, 200, "small ones are given");
    drop(held);
    // What is sent is given back: there are more of them than could be held.
    for _ in 0..MOST / one + 1 {
        let (status, body) = ask(port);
        assert!(status == 200 && body.len() > one / 2, "{status}");
    }
}
