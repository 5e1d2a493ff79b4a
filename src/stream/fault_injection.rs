//! Fault injection for tests: a test orders a panic, and the stream's thread panics in its next round; or it lets a relay
//! stand still in the middle of a round. Release builds of the library do not contain this module.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Which of the threads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum In {
    /// accumulate.
    Accumulate,
    /// The relay with this number.
    Relay(usize),
    /// accumulate, while it sends for the relay.
    MediaTurn,
}

impl In {
    fn number(self) -> usize {
        match self {
            Self::Accumulate => 1,
            Self::MediaTurn => 2,
            Self::Relay(number) => 3 + number,
        }
    }
}

/// The pending orders, at first none.
#[derive(Debug, Default)]
pub(crate) struct FaultInjection {
    panics: AtomicUsize,
    stalls: AtomicUsize,
    is_stalled: AtomicBool,
    /// One more than the slot of a consumer.
    failure: AtomicUsize,
    passes: AtomicUsize,
}

impl FaultInjection {
    /// Orders it. The caller wakes the thread.
    pub(crate) fn set(&self, thread: In) {
        self.panics.store(thread.number(), Ordering::Release);
    }

    /// Called by each thread once a round.
    pub(crate) fn pass(&self, me: In) {
        if self.panics.compare_exchange(me.number(), 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            panic!("injected in {me:?}");
        }
    }

    /// Lets this relay stand still after it has read the log and before it sends, until [`go_on`](Self::go_on). The caller
    /// wakes the thread.
    pub(crate) fn stall(&self, thread: In) {
        self.is_stalled.store(false, Ordering::Release);
        self.stalls.store(thread.number(), Ordering::Release);
    }

    /// Whether it stands still now.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Acquire)
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.stalls.store(0, Ordering::Release);
    }

    /// Lets the next turn that accumulate has for the relay find that the consumer in this slot cannot be sent to.
    pub(crate) fn fail(&self, slot: usize) {
        self.failure.store(slot + 1, Ordering::Release);
    }

    /// Whom it finds so.
    pub(crate) fn take_failure(&self) -> Option<usize> {
        self.failure.swap(0, Ordering::AcqRel).checked_sub(1)
    }

    /// Called for each pass.
    pub(crate) fn count_pass(&self) {
        self.passes.fetch_add(1, Ordering::AcqRel);
    }

    /// How many passes relays have made.
    pub(crate) fn passes(&self) -> usize {
        self.passes.load(Ordering::Acquire)
    }

    /// Called by each relay once a round, between reading and sending.
    pub(crate) fn stand(&self, me: In) {
        while self.stalls.load(Ordering::Acquire) == me.number() {
            self.is_stalled.store(true, Ordering::Release);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
