//! Streams that share loops (`threads`): the promises that other test programs check for streams with threads of their
//! own hold for these too, and each stream gets its turns whatever others do.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]
#![allow(clippy::duplicate_mod, reason = "each of these programs brings the parts that it uses")]

#[path = "support/live.rs"]
mod live;
#[path = "support/promises.rs"]
mod promises;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use live::{Live, until};
use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::error::RRError;
use rrelay::server::{LevelFilter, RRServer};

#[test]
fn a_flood_leaves_its_neighbours_their_turns() {
    let live = Live::new(ServerConfig { threads: Some(1), ..ServerConfig::default() });
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut flood = live.publish("flood");
            let picture = vec![7; 60_000];
            while !over.load(Ordering::Relaxed) {
                flood.key_frame(0, &picture).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        // These players do not read, so their sockets are full all the time.
        until("the flood", || sent.load(Ordering::Relaxed) > 100);
        let _stalled: Vec<_> = (0..5).map(|_| live.play("flood")).collect();
        let (mut publisher, mut player) = (live.publish("show"), live.play("show"));
        for number in 0..100_u32 {
            let before = sent.load(Ordering::Relaxed);
            publisher.key_frame(number, &number.to_be_bytes()).unwrap();
            assert!(player.message().1.ends_with(&number.to_be_bytes()));
            until("the flood goes on", || sent.load(Ordering::Relaxed) > before);
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_is_of_a_thread_of_its_own_is_refused_to_a_stream_that_shares_one() {
    let nice = StreamConfig { nice: 5, ..StreamConfig::default() };
    let cpus = StreamConfig { cpus: vec![0], ..StreamConfig::default() };
    let server = |stream: &StreamConfig| {
        let config = ServerConfig { threads: Some(1), stream: Arc::new(stream.clone()), ..ServerConfig::default() };
        RRServer::new(config, LevelFilter::Off, None)
    };
    let spread = StreamConfig { relay_threads: Some(2), ..StreamConfig::default() };
    for (stream, name) in [(nice, "nice"), (cpus, "cpus"), (spread, "relay_threads")] {
        let failure = server(&stream).unwrap_err();
        assert!(failure.kind == RRError::Arg && failure.text.contains(name), "{failure}");
        let server = server(&StreamConfig::default()).unwrap();
        let failure = server.stream_create(b"live", b"show", Some(stream)).unwrap_err();
        assert!(failure.kind == RRError::Arg && failure.text.contains(name), "{failure}");
        server.stream_create(b"live", b"show", None).unwrap();
    }
}
