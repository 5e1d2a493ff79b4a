//! A stream's memory: the [`budget`] that its parts are charged to, and the steps that the stream takes when the
//! server's memory is short: it drops caches, lets cursors that are far behind jump, closes consumers that hold much
//! private memory, and lets its publisher wait for room and finally closes it.
//!
//! The server decides which stream has to give up what, and leaves the request here; the stream's threads carry it out.
//! Any thread may call these methods; none takes a lock.

pub(crate) mod budget;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::error::{Failure, RRError};
use crate::stream::log::segment::Spares;
use crate::stream::memory::budget::Budget;

/// A publisher waits this long for memory: by then the other streams have given back theirs.
pub(in crate::stream) const ROOM_MS: u64 = 2_000;

/// A stream that has used memory for this long is no longer a newcomer. The time is longer than a newcomer waits for
/// room.
const LIVED_MS: u64 = ROOM_MS + 1_000;

/// In the place of a request to a relay that has ended: nobody would carry it out.
const GONE: u8 = u8::MAX;

/// The parts of memory that the relays are asked to give up; each step includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum GiveUp {
    /// The cached group.
    Caches = 1,
    /// The part of the log held by the consumers furthest behind, which jump.
    Cursors,
    /// The private memory of the consumers that hold the most and cannot jump over it; they are closed.
    Holders,
}

/// The memory accounting of one stream.
#[derive(Debug)]
pub(crate) struct Memory {
    budget: Budget,
    /// The budget of consumers' private memory, which may be refused: consumers can be closed.
    private: Budget,
    /// The spare memory of the logs of all streams.
    spares: Spares,
    /// Of each relay: the greatest [`GiveUp`] that is asked for and not done yet, as a number; 0 means none, [`GONE`] that
    /// the relay has ended.
    asked: Box<[AtomicU8]>,
    evict: AtomicBool,
    /// Since when the stream has used memory, monotonic; 0 while it uses none.
    since_ms: AtomicU64,
    /// The most that the stream has used lately.
    lately: AtomicU64,
}

/// The memory that a stream has needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lived {
    /// Since when the stream has used memory, monotonic.
    pub since_ms: u64,
    /// The most that the stream has used lately; a peak decays by half in three quarters of a minute.
    pub bytes: u64,
}

impl Memory {
    /// The accounting in `budget`, which belongs to this stream only, with at most this many relays.
    pub(in crate::stream) fn new(budget: Budget, spares: Spares, relays: usize) -> Self {
        Self {
            private: budget.modest(),
            budget,
            spares,
            asked: (0..relays).map(|_| AtomicU8::new(0)).collect(),
            evict: AtomicBool::new(false),
            since_ms: AtomicU64::new(0),
            lately: AtomicU64::new(0),
        }
    }

    /// Bytes that the stream's log and its peers use.
    pub(crate) fn used(&self) -> u64 {
        self.budget.used()
    }

    /// The memory that the stream has needed, once it is three seconds old. The memory limit calls this once a second.
    pub(crate) fn lived_on(&self, now_ms: u64) -> Option<Lived> {
        let (most, before) = (self.budget.take_peak(), self.lately.load(Ordering::Relaxed));
        let bytes = most.max(before - before / 64);
        self.lately.store(bytes, Ordering::Relaxed);
        if self.used() == 0 {
            self.since_ms.store(0, Ordering::Relaxed);
            return None;
        }
        let since_ms = match self.since_ms.load(Ordering::Relaxed) {
            0 => now_ms,
            since_ms => since_ms,
        };
        self.since_ms.store(since_ms, Ordering::Relaxed);
        (now_ms.saturating_sub(since_ms) >= LIVED_MS).then_some(Lived { since_ms, bytes })
    }

    /// Sets how much the stream may use even when the server's memory is short.
    pub(crate) fn set_floor(&self, bytes: u64) {
        self.budget.set_floor(bytes);
    }

    /// How much the stream uses above its floor.
    pub(crate) fn above_floor(&self) -> u64 {
        self.budget.above_floor()
    }

    /// Whether more than half of the server's limit is used, apart from spare memory, which is given back then.
    pub(in crate::stream) fn is_tight(&self) -> bool {
        let is_tight = self.budget.is_tight();
        if is_tight {
            self.spares.clear();
        }
        is_tight && self.budget.is_tight()
    }

    /// The budget of publishers and the log.
    pub(in crate::stream) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The budget of consumers' private memory.
    pub(in crate::stream) fn private(&self) -> &Budget {
        &self.private
    }

    /// Leaves a request for the first `relays`, which the caller wakes.
    pub(in crate::stream) fn ask(&self, what: GiveUp, relays: usize) {
        for asked in self.asked.iter().take(relays) {
            asked.fetch_max(what as u8, Ordering::AcqRel);
        }
    }

    /// Whether a request to a relay has not been carried out yet.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.iter().any(|asked| !matches!(asked.load(Ordering::Acquire), 0 | GONE))
    }

    /// Notes that the relay with this number has ended: what it is asked for, now or later, is not waited for.
    pub(in crate::stream) fn relay_gone(&self, relay: usize) {
        if let Some(asked) = self.asked.get(relay) {
            asked.store(GONE, Ordering::Release);
        }
    }

    /// Takes the pending request to the relay with this number, which calls this and then carries the request out.
    pub(in crate::stream) fn asked(&self, relay: usize) -> Option<GiveUp> {
        let asked = self.asked.get(relay)?;
        // There is nearly always none, and then no locked instruction is needed.
        let none = asked.load(Ordering::Relaxed) == 0;
        match if none { 0 } else { asked.swap(0, Ordering::AcqRel) } {
            0 => None,
            1 => Some(GiveUp::Caches),
            2 => Some(GiveUp::Cursors),
            _ => Some(GiveUp::Holders),
        }
    }

    /// Orders the close of the publisher; the caller wakes the thread that reads it.
    pub(in crate::stream) fn evict(&self) {
        self.evict.store(true, Ordering::Release);
    }

    /// Takes the order to close the publisher, as its reason.
    pub(in crate::stream) fn eviction(&self) -> Option<Failure> {
        let evicted = self.evict.load(Ordering::Relaxed) && self.evict.swap(false, Ordering::AcqRel);
        let text = "the memory limit of the server is reached, and this stream uses the most";
        evicted.then(|| Failure::ours(RRError::Limit, text))
    }
}
