//! Fault injection for tests: a test orders a panic, and the stream's thread panics in its next round. Release builds
//! of the library do not contain this module.

use std::sync::atomic::{AtomicU8, Ordering};

/// Which of the two threads.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum In {
    /// accumulate.
    Accumulate = 1,
    /// relay.
    Relay = 2,
}

/// The pending order, at first none.
#[derive(Debug, Default)]
pub(crate) struct FaultInjection(AtomicU8);

impl FaultInjection {
    /// Orders it. The caller wakes the thread.
    pub(crate) fn set(&self, thread: In) {
        self.0.store(thread as u8, Ordering::Release);
    }

    /// Called by each thread once a round.
    pub(crate) fn pass(&self, me: In) {
        if self.0.compare_exchange(me as u8, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            panic!("injected in {me:?}");
        }
    }
}
