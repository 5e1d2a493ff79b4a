//! The slots for hooks and placement, which a server asks before it admits a session, and how long they may take. The
//! server knows only their traits; the implementations are in a layer above (`rest`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync::locked;

/// How long an answer may take, and what happens without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// The deadline of the answer, monotonic ms.
    pub(crate) by_ms: u64,
    /// Whether the session is allowed without an answer.
    pub(crate) allow: bool,
}

/// The slot of one of them. While it is empty, a check costs one load.
#[derive(Debug)]
pub(super) struct Place<T: ?Sized> {
    any: AtomicBool,
    held: Mutex<Option<Arc<T>>>,
}

impl<T: ?Sized> Default for Place<T> {
    fn default() -> Self {
        Self { any: AtomicBool::new(false), held: Mutex::new(None) }
    }
}

impl<T: ?Sized> Place<T> {
    /// Fills the slot.
    pub(super) fn set(&self, asked: Arc<T>) {
        let mut place = locked(&self.held);
        self.any.store(true, Ordering::Release);
        *place = Some(asked);
    }

    /// Empties the slot, unless another value has replaced this one meanwhile.
    pub(super) fn remove(&self, asked: &Arc<T>) {
        let mut place = locked(&self.held);
        if place.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, asked)) {
            self.any.store(false, Ordering::Release);
            *place = None;
        }
    }

    /// The value in the slot, which is called without a lock.
    pub(super) fn get(&self) -> Option<Arc<T>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        locked(&self.held).clone()
    }
}
