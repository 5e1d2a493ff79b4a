//! The synchronisation primitives of [`segment`](super): the standard library's, or loom's under `--cfg loom`.
//!
//! Nothing else in the crate may use these; everything else stays on `std` under loom too.

#[cfg(not(loom))]
mod real {
    pub(in crate::stream) use std::sync::atomic::{AtomicBool, AtomicU64};
    pub(in crate::stream) use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

    pub(in crate::stream) use crate::sync::locked;

    /// The value, if this was the last handle. If several handles are dropped at once, exactly one call gets the value.
    pub(in crate::stream) fn into_inner<T>(arc: Arc<T>) -> Option<T> {
        Arc::into_inner(arc)
    }

    /// Watches the accesses to one message under loom; here it is nothing.
    pub(in crate::stream) struct Watch;

    impl Watch {
        pub(in crate::stream) fn table(_marks: usize) -> Self {
            Self
        }
        #[inline(always)]
        pub(in crate::stream) fn wrote(&self, _mark: usize) {}
        #[inline(always)]
        pub(in crate::stream) fn read(&self, _marks: usize) {}
    }
}

#[cfg(loom)]
mod model {
    use loom::cell::UnsafeCell;
    use std::sync::atomic::Ordering::{Acquire, Release};

    pub(in crate::stream) use loom::sync::atomic::{AtomicBool, AtomicU64};
    pub(in crate::stream) use loom::sync::{Arc, Mutex, MutexGuard};

    pub(in crate::stream) fn into_inner<T>(arc: Arc<T>) -> Option<T> {
        Arc::try_unwrap(arc).ok()
    }

    pub(in crate::stream) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("no model panics with a lock held")
    }

    /// `std`'s `OnceLock` for a single setter, made of primitives that loom can follow.
    pub(in crate::stream) struct OnceLock<T> {
        set: AtomicBool,
        value: UnsafeCell<Option<T>>,
    }

    // SAFETY: as for std's OnceLock; loom itself reports an access that is not ordered by `set`.
    unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

    impl<T> OnceLock<T> {
        pub(in crate::stream) fn new() -> Self {
            Self { set: AtomicBool::new(false), value: UnsafeCell::new(None) }
        }

        pub(in crate::stream) fn get(&self) -> Option<&T> {
            if !self.set.load(Acquire) {
                return None;
            }
            self.value.with(|value| {
                // SAFETY: the value is set, and never written again through a shared reference.
                unsafe { (*value).as_ref() }
            })
        }

        pub(in crate::stream) fn set(&self, value: T) -> Result<(), T> {
            if self.set.load(Acquire) {
                return Err(value);
            }
            self.value.with_mut(|slot| {
                // SAFETY: there is one setter, and readers wait for `set`.
                unsafe { *slot = Some(value) }
            });
            self.set.store(true, Release);
            Ok(())
        }

        pub(in crate::stream) fn take(&mut self) -> Option<T> {
            self.value.with_mut(|slot| {
                // SAFETY: `&mut self` gives exclusive access.
                unsafe { (*slot).take() }
            })
        }
    }

    /// One loom cell for each message: every access to a message's bytes or mark is recorded here, so that loom fails
    /// if a reader could touch what the writer has not published.
    pub(in crate::stream) struct Watch(Vec<UnsafeCell<()>>);

    // SAFETY: the cells hold nothing; loom checks that accesses to them are ordered.
    unsafe impl Sync for Watch {}

    impl Watch {
        pub(in crate::stream) fn table(marks: usize) -> Self {
            Self((0..marks).map(|_| UnsafeCell::new(())).collect())
        }
        pub(in crate::stream) fn wrote(&self, mark: usize) {
            self.0[mark].with_mut(|_| ());
        }
        pub(in crate::stream) fn read(&self, marks: usize) {
            self.0[..marks].iter().for_each(|cell| cell.with(|_| ()));
        }
    }
}

#[cfg(loom)]
pub(in crate::stream) use model::*;
#[cfg(not(loom))]
pub(in crate::stream) use real::*;
