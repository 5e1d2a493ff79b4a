//! What a stream does where the server's memory is short: caches go, cursors that are far behind jump, consumers that
//! hold much for themselves are closed, a publisher waits for room, and in the end is closed.
//!
//! The server decides which stream has to do what, and leaves it here for the stream's threads.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::proto::message::MessageHead;
use crate::stream::RRStream;

/// Let the kept group go.
const CACHES: u8 = 1;

/// Let those who are furthest behind jump.
const CURSORS: u8 = 2;

/// Close those who hold the most for themselves.
const HOLDERS: u8 = 4;

/// A publisher waits so long for memory. What others have to give is given by then.
const ROOM_MS: u64 = 2_000;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

/// What is wanted of a stream's threads.
#[derive(Debug, Default)]
pub(in crate::stream) struct Pressure {
    wanted: AtomicU8,
    evict: AtomicBool,
}

/// What the relay is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) struct Wanted {
    pub(in crate::stream) caches: bool,
    pub(in crate::stream) cursors: bool,
    pub(in crate::stream) holders: bool,
}

impl RRStream {
    /// The kept group is to go.
    pub fn drop_caches(&self) {
        self.want(CACHES);
    }

    /// Those who are furthest behind are to jump.
    pub fn drop_lag(&self) {
        self.want(CACHES | CURSORS);
    }

    /// Those who hold the most for themselves, and cannot jump over it, are to be closed.
    pub fn drop_holders(&self) {
        self.want(CACHES | CURSORS | HOLDERS);
    }

    fn want(&self, bits: u8) {
        self.pressure.wanted.fetch_or(bits, Ordering::AcqRel);
        self.ring_relay();
    }

    /// Whether its relay has not yet got to what is wanted of it.
    pub fn is_to_relieve(&self) -> bool {
        self.pressure.wanted.load(Ordering::Acquire) != 0
    }

    /// The publisher is to be closed: this stream uses the most.
    pub fn evict_publisher(&self) {
        self.pressure.evict.store(true, Ordering::Release);
        self.ring_accumulate();
    }

    /// What is wanted; for the relay, which does it then.
    pub(in crate::stream) fn pressure_wanted(&self) -> Wanted {
        // Nearly always nothing, so without a locked instruction.
        let none = self.pressure.wanted.load(Ordering::Relaxed) == 0;
        let bits = if none { 0 } else { self.pressure.wanted.swap(0, Ordering::AcqRel) };
        Wanted { caches: bits & CACHES != 0, cursors: bits & CURSORS != 0, holders: bits & HOLDERS != 0 }
    }

    /// Why the publisher has to go, if it has; true once.
    pub(in crate::stream) fn eviction(&self) -> Option<Failure> {
        let evicted = self.pressure.evict.load(Ordering::Relaxed) && self.pressure.evict.swap(false, Ordering::AcqRel);
        let text = "the memory limit of the server is reached, and this stream uses the most";
        evicted.then(|| Failure::ours(RRError::Limit, text))
    }

    /// As `take`, for a publisher that can wait until others have given memory back: its peer waits in the socket.
    pub(in crate::stream) fn take_with_patience(&self, head: &MessageHead, body: &[u8], now_us: u64) -> Result<()> {
        self.with_patience(|| self.take(head, body, now_us))
    }

    /// Tries until there is room, the time is over, the stream stops, or the publisher has to go.
    pub(in crate::stream) fn with_patience(&self, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
        let mut until_ms = None;
        loop {
            let refused = match attempt() {
                Err(failure) if failure.kind == RRError::Limit => failure,
                result => return result,
            };
            let now_ms = clock::now_ms();
            if now_ms >= *until_ms.get_or_insert(now_ms + ROOM_MS) || self.stop_by_ms().is_some() {
                return Err(refused);
            }
            if let Some(failure) = self.eviction() {
                return Err(failure);
            }
            std::thread::sleep(LOOK);
        }
    }
}
