//! The atomics of [`sleep`](super::sleep) and [`calls`](super::calls): the standard library's, or loom's under `--cfg loom`.
//!
//! Loom takes sequentially consistent loads and stores for weaker ones; only its read-modify-writes have one order that all
//! threads agree on. So under loom every access is one.

#[cfg(not(loom))]
mod real {
    use std::sync::atomic::Ordering::SeqCst;
    pub(in crate::net) use std::sync::atomic::{AtomicBool, AtomicU64};

    /// A sequentially consistent store.
    #[inline(always)]
    pub(in crate::net) fn set(flag: &AtomicBool, on: bool) {
        flag.store(on, SeqCst);
    }

    /// A sequentially consistent load.
    #[inline(always)]
    pub(in crate::net) fn is_set(flag: &AtomicBool) -> bool {
        flag.load(SeqCst)
    }

    /// A sequentially consistent load.
    #[inline(always)]
    pub(in crate::net) fn bits(word: &AtomicU64) -> u64 {
        word.load(SeqCst)
    }

    /// A sequentially consistent store.
    #[inline(always)]
    pub(in crate::net) fn put(word: &AtomicU64, bits: u64) {
        word.store(bits, SeqCst);
    }
}

#[cfg(loom)]
mod model {
    pub(in crate::net) use loom::sync::atomic::{AtomicBool, AtomicU64};
    use std::sync::atomic::Ordering::SeqCst;

    pub(in crate::net) fn set(flag: &AtomicBool, on: bool) {
        flag.swap(on, SeqCst);
    }

    pub(in crate::net) fn is_set(flag: &AtomicBool) -> bool {
        flag.fetch_or(false, SeqCst)
    }

    pub(in crate::net) fn bits(word: &AtomicU64) -> u64 {
        word.fetch_or(0, SeqCst)
    }

    pub(in crate::net) fn put(word: &AtomicU64, bits: u64) {
        word.swap(bits, SeqCst);
    }
}

#[cfg(loom)]
pub(super) use model::*;
#[cfg(not(loom))]
pub(super) use real::*;
