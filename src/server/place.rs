//! The places for those that a server asks before a session is let in, and how long they may take. The server knows their
//! traits; who stands behind them lies above (`rest`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync::locked;

/// How long an answer may take, and what is done without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Until then, monotonic ms.
    pub(crate) by_ms: u64,
    /// Whether the session is let in then.
    pub(crate) allow: bool,
}

/// The place of one. While it is empty a look costs one load.
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
    /// Whom to ask from now on.
    pub(super) fn set(&self, asked: Arc<T>) {
        let mut place = locked(&self.held);
        self.any.store(true, Ordering::Release);
        *place = Some(asked);
    }

    /// Takes this one off, unless another stands here meanwhile.
    pub(super) fn remove(&self, asked: &Arc<T>) {
        let mut place = locked(&self.held);
        if place.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, asked)) {
            self.any.store(false, Ordering::Release);
            *place = None;
        }
    }

    /// Who stands here, to be called without a lock.
    pub(super) fn get(&self) -> Option<Arc<T>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        locked(&self.held).clone()
    }
}
