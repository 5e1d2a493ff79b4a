//! The threads of a stream with several relays end with it, and leave nothing. This test has its own process, because it
//! counts threads and descriptors.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;

use std::fs;
use std::sync::Arc;

use live::{Live, until};
use rrelay::config::{ServerConfig, StreamConfig};

/// Threads and descriptors of this process.
fn held() -> [usize; 2] {
    ["/proc/self/task", "/proc/self/fd"].map(|folder| fs::read_dir(folder).unwrap().count())
}

/// Threads of streams.
fn of_streams() -> [usize; 2] {
    let names =
        fs::read_dir("/proc/self/task").unwrap().filter_map(|task| fs::read(task.ok()?.path().join("comm")).ok());
    let names: Vec<_> = names.collect();
    [&b"relayDataThread"[..], b"accmDataThread"]
        .map(|name| names.iter().filter(|other| other.starts_with(name)).count())
}

fn server() -> Live {
    let stream = StreamConfig { relay_threads: Some(3), ..StreamConfig::default() };
    Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() })
}

/// A stream with six players, which ends when its peers have gone, or is stopped before.
fn round(live: &Live, stop: bool) {
    let mut publisher = live.publish("show");
    let mut players: Vec<_> = (0..6).map(|_| live.play("show")).collect();
    publisher.key_frame(0, b"0").unwrap();
    players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(b"0")));
    assert_eq!(of_streams(), [3, 1]);
    if stop {
        live.server.stream_stop(live.server.stream_find(b"live", b"show").unwrap(), 0).unwrap();
        publisher.closed();
    }
    drop((publisher, players));
    until("the stream is gone", || live.server.stream_find(b"live", b"show").is_err() && live.sessions() == 0);
    until("its threads are gone", || of_streams() == [0, 0]);
}

#[test]
fn nothing_is_left_of_the_relays_of_a_stream_that_ends() {
    // Things that a process makes only once are made here.
    round(&server(), false);
    let before = held();
    let live = server();
    for _ in 0..5 {
        round(&live, false);
        round(&live, true);
    }
    drop(live);
    until("all that the server had is gone", || held() == before);
}
