//! The sleep of a thread: whether it sleeps, and which of its tasks have been called. No call is lost, and a call makes a
//! system call only if the thread sleeps.
//!
//! A caller adds its call before it asks whether the thread sleeps; the thread notes that it sleeps before it looks for calls.
//! So one of the two sees what the other one did.

mod collecting;

pub(super) use collecting::Collecting;

use crate::net::calls::Calls;
use crate::net::shim::{AtomicBool, is_set, set};
use std::sync::atomic::Ordering::SeqCst;

/// One thread's sleep.
#[derive(Debug)]
pub(super) struct Sleep {
    asleep: AtomicBool,
    calls: Calls,
}

impl Sleep {
    /// A thread that is awake, with room for at least this many tasks.
    pub(super) fn with_room(tasks: usize) -> Self {
        Self { asleep: AtomicBool::new(false), calls: Calls::with_room(tasks) }
    }

    /// How many tasks there is room for.
    pub(super) fn room(&self) -> usize {
        self.calls.room()
    }

    // ---- the thread itself

    /// It is going to sleep. False if a task has been called: then it must not.
    pub(super) fn begins(&self) -> bool {
        set(&self.asleep, true);
        self.calls.is_empty()
    }

    /// It is awake again.
    pub(super) fn ends(&self) {
        set(&self.asleep, false);
    }

    /// Takes the calls: `each` gets every called task once.
    pub(super) fn take_calls(&self, each: impl FnMut(usize)) {
        self.calls.take(each);
    }

    // ---- other threads

    /// Whether no call waits to be taken.
    #[cfg(all(test, not(loom)))]
    pub(super) fn has_no_calls(&self) -> bool {
        self.calls.is_empty()
    }

    /// Calls a task. True if the thread has to be woken by a system call: of several callers one wakes it.
    #[must_use]
    pub(super) fn call(&self, task: usize) -> bool {
        self.calls.add(task);
        is_set(&self.asleep) && self.asleep.swap(false, SeqCst)
    }

    /// Whether the thread sleeps; it may wake at any time.
    pub(super) fn is_asleep(&self) -> bool {
        is_set(&self.asleep)
    }
}

#[cfg(loom)]
#[cfg(test)]
mod models;
#[cfg(loom)]
#[cfg(test)]
mod models_of_collecting;
