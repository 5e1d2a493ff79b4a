//! Memory after a peak with a small limit. The program has one test, because it looks at the memory of its process.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;
#[path = "support/process.rs"]
mod process;

use std::time::Duration;

use live::{Live, until};
use rrelay::config::ServerConfig;

/// Many publishers leave: what they have used lies in the heaps of many threads. A peak of half of a small limit is large, although it is smaller than one that counts without a limit.
#[test]
fn after_a_peak_with_a_small_limit_the_system_has_its_memory_back() {
    const LIMIT_BYTES: u64 = 64 << 20;
    const PEAK_BYTES: u64 = 40 << 20;
    let live = Live::new(ServerConfig { mem_limit_bytes: Some(LIMIT_BYTES), ..ServerConfig::default() });
    let mut stays = live.publish("show");
    stays.key_frame(0, b"key").unwrap();
    let before_kib = process::rss_kib();
    let used = || live.server.stats(0).unwrap().queue_bytes;
    let mut publishers = Vec::new();
    until("the peak", || {
        let mut publisher = live.publish(&format!("show{}", publishers.len()));
        let header = [&[0x17, 0, 0, 0, 0][..], &[1; 80_000]].concat();
        publisher.send(9, 0, &header).unwrap();
        publisher.key_frame(0, &[7; 1_000]).unwrap();
        publishers.push(publisher);
        used() > PEAK_BYTES
    });
    let peak_kib = process::rss_kib();
    assert!(peak_kib > before_kib + PEAK_BYTES / 1024 / 2, "{peak_kib} after {before_kib}");
    drop(publishers);
    until("the system has it", || {
        // One stream goes on.
        stays.key_frame(0, &[7; 1_000]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        used() < PEAK_BYTES / 20 && process::rss_kib() < before_kib + PEAK_BYTES / 1024 / 2
    });
}
