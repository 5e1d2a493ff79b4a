//! A thousand publishers and players come and go, or are kicked: threads, descriptors and memory stay the same. This
//! test has a process of its own, because it counts all threads, descriptors and memory.
// A counting allocator implements an unsafe trait.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what cannot be done has failed the test")]

#[path = "support/live.rs"]
mod live;
#[path = "support/process.rs"]
mod process;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

use live::{Live, until};
use process::{Holds, holds};
use rrelay::config::ServerConfig;
use rrelay::server::kind;

struct Counting;

/// Bytes that are allocated now.
static BYTES: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches a number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BYTES.fetch_add(size as i64 - layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that a thousand cycles may leave, for tables that have grown. A hundred bytes left by each cycle would be
/// more.
const TABLES: i64 = 64 * 1024;

/// Lets one publisher and one player meet, passes a message, and ends both in one of the possible ways.
fn cycle(live: &Live, round: u32) {
    let key = format!("show{}", round % 7);
    let mut publisher = live.publish(&key);
    let mut player = live.play(&key);
    publisher.key_frame(0, &[7; 20_000]).unwrap();
    player.message();
    match round % 4 {
        0 => {
            for id in live.server.list(0, kind::SESSION).unwrap() {
                // The session may have ended with the other one.
                let _ = live.server.session_close(id, "kicked", 0);
            }
        }
        1 => drop(publisher),
        2 => live.server.stream_stop(live.server.stream_find(b"live", key.as_bytes()).unwrap(), 100).unwrap(),
        _ => drop(player),
    }
}

/// Waits until all peers have gone, and returns what the process holds: the least of each within a while.
fn at_rest(live: &Live) -> (Holds, i64) {
    until("all have gone", || live.sessions() == 0 && live.server.list(0, kind::STREAM).unwrap().is_empty());
    // The id of a stream ends a moment before its memory goes.
    until("no media memory is counted", || live.server.stats(0).unwrap().queue_bytes == 0);
    let by_now = || {
        *live.events.lock().unwrap() = Vec::new();
        *live.lines.lock().unwrap() = Vec::new();
        (holds(), BYTES.load(Ordering::Relaxed))
    };
    let mut least = by_now();
    // Threads end a moment after their stream.
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let now = by_now();
        let held = Holds { threads: now.0.threads.min(least.0.threads), fds: now.0.fds.min(least.0.fds) };
        least = (held, now.1.min(least.1));
    }
    least
}

#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    let fresh = holds();
    let live = Live::new(ServerConfig::default());
    // These cycles let tables grow to their sizes.
    (0..40).for_each(|round| cycle(&live, round));
    let (before, bytes) = at_rest(&live);
    (0..1_000).for_each(|round| cycle(&live, round));
    // Threads end a moment after their stream.
    until("what it was before", || {
        let (after, bytes_after) = at_rest(&live);
        println!("{before:?} and {bytes} bytes before, {after:?} and {bytes_after} after");
        after.threads <= before.threads && after.fds <= before.fds && bytes_after - bytes < TABLES
    });
    drop(live);
    until("a server that is gone leaves nothing", || holds() == fresh);
}
