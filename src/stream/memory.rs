//! A stream's memory: the [`budget`] that its parts are charged to, and what the stream does where the server's memory
//! is short: caches go, cursors that are far behind jump, consumers that hold much for themselves are closed, a
//! publisher waits for room, and in the end is closed.
//!
//! The server decides which stream has to give up what, and leaves it here; the stream's threads do it. Any thread may
//! call what is here; nothing takes a lock.

pub(crate) mod budget;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::error::{Failure, RRError};
use crate::stream::memory::budget::Budget;

/// A publisher waits this long for memory: the other streams have given theirs back by then.
pub(in crate::stream) const ROOM_MS: u64 = 2_000;

/// A stream that has used memory for this long is no newcomer any more: longer than a newcomer waits for room.
const LIVED_MS: u64 = ROOM_MS + 1_000;

/// The parts of memory that the relay is asked to give up; each step includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum GiveUp {
    /// The kept group.
    Caches = 1,
    /// The part of the log held by the consumers furthest behind, which jump.
    Cursors,
    /// The private memory of the consumers that hold the most and cannot jump over it; they are closed.
    Holders,
}

/// The memory part of one stream.
#[derive(Debug)]
pub(crate) struct Memory {
    budget: Budget,
    /// The budget of consumers' private memory, which may be refused: consumers can be closed.
    private: Budget,
    /// The greatest [`GiveUp`] that is asked for and not done yet, as a number; 0 is nothing.
    asked: AtomicU8,
    evict: AtomicBool,
    /// Since when it has used any, monotonic; 0 while it uses none.
    since_ms: AtomicU64,
    /// The most it has used lately.
    lately: AtomicU64,
}

/// The memory that a stream has needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lived {
    /// Since when it has used memory, monotonic.
    pub since_ms: u64,
    /// The most it has used lately; half of a peak is forgotten after three quarters of a minute.
    pub bytes: u64,
}

impl Memory {
    /// Counts in `budget`, which is this stream's alone.
    pub(in crate::stream) fn new(budget: Budget) -> Self {
        Self {
            private: budget.modest(),
            budget,
            asked: AtomicU8::new(0),
            evict: AtomicBool::new(false),
            since_ms: AtomicU64::new(0),
            lately: AtomicU64::new(0),
        }
    }

    /// Bytes that the stream's log and its peers use.
    pub(crate) fn used(&self) -> u64 {
        self.budget.used()
    }

    /// The memory that the stream has needed, once it is three seconds old. For the memory limit, which asks once a
    /// second.
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

    /// Sets what the stream may come to also where the server's memory is short.
    pub(crate) fn set_floor(&self, bytes: u64) {
        self.budget.set_floor(bytes);
    }

    /// How much more it uses than its floor.
    pub(crate) fn above_floor(&self) -> u64 {
        self.budget.above_floor()
    }

    /// Whether more than half of what the server may have is used.
    pub(in crate::stream) fn is_tight(&self) -> bool {
        self.budget.is_tight()
    }

    /// The budget of publishers and the log.
    pub(in crate::stream) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The budget of consumers' private memory.
    pub(in crate::stream) fn private(&self) -> &Budget {
        &self.private
    }

    /// Leaves a request for the relay, which the caller wakes.
    pub(in crate::stream) fn ask(&self, what: GiveUp) {
        self.asked.fetch_max(what as u8, Ordering::AcqRel);
    }

    /// Whether the relay has not yet got to what it was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire) != 0
    }

    /// Takes the pending request to give memory up; the relay, which calls this, then carries it out.
    pub(in crate::stream) fn asked(&self) -> Option<GiveUp> {
        // Nearly always nothing, so without a locked instruction.
        let none = self.asked.load(Ordering::Relaxed) == 0;
        match if none { 0 } else { self.asked.swap(0, Ordering::AcqRel) } {
            0 => None,
            1 => Some(GiveUp::Caches),
            2 => Some(GiveUp::Cursors),
            _ => Some(GiveUp::Holders),
        }
    }

    /// Orders the publisher closed; the caller wakes the thread that reads it.
    pub(in crate::stream) fn evict(&self) {
        self.evict.store(true, Ordering::Release);
    }

    /// Why the publisher has to go, if it has; once.
    pub(in crate::stream) fn eviction(&self) -> Option<Failure> {
        let evicted = self.evict.load(Ordering::Relaxed) && self.evict.swap(false, Ordering::AcqRel);
        let text = "the memory limit of the server is reached, and this stream uses the most";
        evicted.then(|| Failure::ours(RRError::Limit, text))
    }
}
