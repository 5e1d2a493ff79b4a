//! A wire that tests stretch in front of a stream's threads: the thread that meets it panics. Not in the library that
//! ships.

use std::sync::atomic::{AtomicU8, Ordering};

/// Which of the two threads.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Over {
    /// accumulate.
    Accumulate = 1,
    /// relay.
    Relay = 2,
}

/// The wire; at first none.
#[derive(Debug, Default)]
pub(crate) struct Trip(AtomicU8);

impl Trip {
    /// Stretches it. The thread is to be rung then.
    pub(crate) fn stretch(&self, over: Over) {
        self.0.store(over as u8, Ordering::Release);
    }

    /// Where the threads pass in each turn.
    pub(crate) fn pass(&self, me: Over) {
        if self.0.compare_exchange(me as u8, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            panic!("tripped in {me:?}");
        }
    }
}
