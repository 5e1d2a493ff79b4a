//! A server with shared loops that cannot start, or that ends, leaves neither thread nor descriptor. This test has its
//! own process, because it counts both.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;

use live::{Live, until};
use rrelay::config::ServerConfig;
use rrelay::error::RRError;
use rrelay::server::{LevelFilter, RRServer};

fn config() -> ServerConfig {
    ServerConfig { threads: Some(3), ..ServerConfig::default() }
}

/// Threads and descriptors of this process.
fn held() -> [usize; 2] {
    ["/proc/self/task", "/proc/self/fd"].map(|folder| std::fs::read_dir(folder).unwrap().count())
}

/// Sets the soft limit of descriptors, and gives what it was.
#[allow(unsafe_code, reason = "std has no setrlimit")]
fn limit_descriptors(most: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is there.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let before = std::mem::replace(&mut limit.rlim_cur, most);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    before
}

#[test]
fn nothing_is_left_of_a_server_that_cannot_start_or_has_ended() {
    // Things that a process makes only once are made here. A thread that was joined may still be listed for a moment.
    let [threads, _] = held();
    drop(Live::new(config()));
    until("its threads are listed no more", || held()[0] == threads);
    let before = held();

    let mut refusals = 0;
    loop {
        let usual = limit_descriptors(before[1] as u64 + refusals);
        let server = RRServer::new(config(), LevelFilter::Off, None);
        limit_descriptors(usual);
        let Err(failure) = server else { break };
        assert_eq!(failure.kind, RRError::Limit, "{failure}");
        until("all that was made is gone", || held() == before);
        refusals += 1;
    }
    assert!(refusals > 6, "three loops alone have six descriptors, and {refusals} were missing");
    until("the server that could start is gone", || held() == before);

    let live = Live::new(config());
    for key in ["a", "b", "c", "d", "e"] {
        let (mut publisher, mut player) = (live.publish(key), live.play(key));
        publisher.key_frame(0, key.as_bytes()).unwrap();
        assert!(player.message().1.ends_with(key.as_bytes()));
        if key == "c" {
            live.server.stream_stop(live.server.stream_find(b"live", b"c").unwrap(), 0).unwrap();
            publisher.closed();
        }
    }
    let (mut publisher, _player) = (live.publish("last"), live.play("last"));
    publisher.key_frame(0, b"last").unwrap();
    live.server.shutdown().unwrap();
    publisher.closed();
    drop((live, publisher, _player));
    until("the server is gone", || held() == before);
}
