//! An allocator that fails once, at a large allocation of the library's: of each thread but those that say that they
//! are the test's own.
// A failing allocator implements an unsafe trait.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// The smallest allocation that docs/limits.md calls large.
pub(crate) const LARGE: usize = 16 * 1024;

/// The smallest allocation that may fail.
static LEAST: AtomicUsize = AtomicUsize::new(LARGE);

/// Large allocations before the one that fails; below 0 none fails.
static BEFORE: AtomicI64 = AtomicI64::new(-1);
/// Large allocations that have failed.
static FAILED: AtomicUsize = AtomicUsize::new(0);

struct Failing;

thread_local! {
    /// Whether this thread is the test's own, whose allocations do not fail.
    static OWN: Cell<bool> = const { Cell::new(false) };
}

fn fails(size: usize) -> bool {
    let fails = size >= LEAST.load(Ordering::Relaxed)
        && !OWN.get()
        && BEFORE.load(Ordering::SeqCst) >= 0
        && BEFORE.fetch_sub(1, Ordering::SeqCst) == 0;
    if fails {
        FAILED.fetch_add(1, Ordering::SeqCst);
    }
    fails
}

// SAFETY: every call goes to the system's allocator unchanged, or gives the null that says there is no memory.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && fails(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Allocations of this thread do not fail from now on: it is the test's own.
pub(crate) fn spare_this_thread() {
    OWN.set(true);
}

/// Lets one allocation of `least` bytes or more fail, after this many others, while `what` runs; whether there was one
/// to fail.
pub(crate) fn once(least: usize, before: i64, what: impl FnOnce()) -> bool {
    LEAST.store(least, Ordering::SeqCst);
    let failed = FAILED.load(Ordering::SeqCst);
    BEFORE.store(before, Ordering::SeqCst);
    what();
    BEFORE.store(-1, Ordering::SeqCst);
    FAILED.load(Ordering::SeqCst) > failed
}

/// Whether the allocation has failed that [`once`] lets fail.
#[allow(dead_code, reason = "not every test program waits for it")]
pub(crate) fn has_failed() -> bool {
    BEFORE.load(Ordering::SeqCst) < 0
}
