//! The threads of a stream with several relays end with it, and leave nothing. This test has its own process, because it
//! counts threads and descriptors.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
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

/// The descriptors with which threads wait.
fn pollers() -> Vec<String> {
    let all = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| Some(fd.ok()?.path()));
    let is_poller = |path: &PathBuf| fs::read_link(path).is_ok_and(|of| of.ends_with("anon_inode:[eventpoll]"));
    all.filter(is_poller).map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// Makes this descriptor useless for those who wait with it.
#[allow(unsafe_code, reason = "std has no dup2")]
fn break_poller(fd: i32) {
    let null = fs::File::open("/dev/null").unwrap();
    // SAFETY: both descriptors are open, and what the second one was stays open for those who wait with it now.
    assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), fd) }, fd);
}

/// The loop of a stream's second relay fails, which ends this stream and no other.
fn round_with_a_loop_that_fails(live: &Live) {
    let (mut other, mut of_other) = (live.publish("other"), live.play("other"));
    let mut publisher = live.publish("show");
    let before = pollers();
    // Two relays are started for these.
    let mut players: Vec<_> = (0..3).map(|_| live.play("show")).collect();
    publisher.key_frame(0, b"0").unwrap();
    players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(b"0")));
    let broken = pollers().into_iter().find(|fd| !before.contains(fd)).unwrap();
    break_poller(broken.parse().unwrap());
    publisher.key_frame(40, b"1").unwrap();
    live.line_with(&["relayDataThread cannot wait"]);
    publisher.closed();
    until("the stream is gone", || live.server.stream_find(b"live", b"show").is_err());
    other.key_frame(0, b"0").unwrap();
    assert!(of_other.message().1.ends_with(b"0"));
    drop((players, publisher, other, of_other));
    until("its threads are gone", || of_streams() == [0, 0]);
}

/// The loop of a stream's accumulate fails, which ends this stream: its name is free for the next publisher.
fn round_without_accumulate(live: &Live) {
    // The relays are started for players, accumulate for the publisher.
    let mut players: Vec<_> = (0..3).map(|_| live.play("show")).collect();
    until("the relays are there", || of_streams() == [3, 0]);
    let before = pollers();
    let mut publisher = live.publish("show");
    publisher.key_frame(0, b"0").unwrap();
    players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(b"0")));
    let new: Vec<_> = pollers().into_iter().filter(|fd| !before.contains(fd)).collect();
    assert_eq!(new.len(), 1, "accumulate's, of {new:?}");
    let failed = live.server.stream_find(b"live", b"show").unwrap();
    break_poller(new[0].parse().unwrap());
    // accumulate's thread wakes once more, and then cannot wait.
    let _ = publisher.key_frame(40, b"1");
    live.line_with(&["accmDataThread cannot wait"]);
    publisher.closed();
    until("the stream is gone", || live.server.stream_find(b"live", b"show") != Ok(failed));
    drop((publisher, players));
    round(live, false);
}

#[test]
fn nothing_is_left_of_the_relays_of_a_stream_that_ends() {
    // Things that a process makes only once are made here. A thread that was joined may still be listed for a moment.
    let [threads, _] = held();
    round(&server(), false);
    until("its threads are listed no more", || held()[0] == threads);
    let before = held();
    let live = server();
    for _ in 0..5 {
        round(&live, false);
        round(&live, true);
    }
    round_with_a_loop_that_fails(&live);
    round_without_accumulate(&live);
    drop(live);
    until("all that the server had is gone", || held() == before);
}
