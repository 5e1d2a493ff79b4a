//! What a task that collects media and those that bring it know of each other: whether it collects, whether media came
//! meanwhile, and who keeps the time at which it has collected.
//!
//! A caller adds media before it asks whether the task collects; the task's thread says whether it does before it looks for what
//! came meanwhile. A caller that keeps the time no longer says so before it calls the task, and the task looks who keeps it
//! before its thread sleeps. So no media and no time is left to nobody.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::net::shim::{AtomicBool, AtomicU64, bits, is_set, put, set};

/// No caller keeps the time of the task.
const NOBODY: u64 = u64::MAX;

/// One task's collecting.
#[derive(Debug)]
pub(in crate::net) struct Collecting {
    collects: AtomicBool,
    /// Media came while the task was collecting, and it has not looked for any since.
    held: AtomicBool,
    /// When a caller that brings media gives the collecting task its next turn, monotonic us; [`NOBODY`] if none does: then
    /// the task's own thread keeps that time.
    kept_us: AtomicU64,
}

impl Collecting {
    /// A task that does not collect.
    pub(in crate::net) fn new() -> Self {
        Self { collects: AtomicBool::new(false), held: AtomicBool::new(false), kept_us: AtomicU64::new(NOBODY) }
    }

    // ---- callers

    /// Whether media that has come is left for when the task has collected; otherwise it is to be called.
    pub(in crate::net) fn holds(&self) -> bool {
        if !self.collects.load(Relaxed) {
            return false;
        }
        // This comes before the second check of `collects`; `set` checks `held` after it has changed `collects`.
        set(&self.held, true);
        is_set(&self.collects)
    }

    /// Has the task's work for new media done by `turn`, if the caller `can` take it on. Returns the time at which a caller
    /// that `comes_again` is to do so, if that keeps it, and whether the task is to be called.
    pub(in crate::net) fn turn_for_data(
        &self,
        can: bool,
        comes_again: bool,
        now_us: u64,
        turn: impl FnOnce() -> bool,
    ) -> (Option<u64>, bool) {
        let kept_us = self.kept_us();
        if self.collects.load(Relaxed) && kept_us.is_none_or(|at_us| now_us < at_us) {
            // The task's thread was awake when it began to collect. The caller keeps the time from now on if it can.
            let is_free = kept_us.is_none() && comes_again && can;
            if !is_free {
                return (kept_us, !self.holds());
            }
            return if turn() { (self.kept_us(), false) } else { (None, true) };
        }
        // Unless the turn sets it again, the task's own thread keeps its next time.
        self.keep(None);
        let is_done = can && turn();
        (self.kept_us(), !is_done)
    }

    /// The caller keeps the time no longer. True if the task is to be called.
    pub(in crate::net) fn leave(&self) -> bool {
        let is_kept = self.kept_us().is_some();
        if is_kept {
            self.keep(None);
        }
        is_kept
    }

    /// When a caller gives the task, which collects, its next turn, monotonic us; `None` if the task's own thread keeps that
    /// time.
    pub(in crate::net) fn kept_us(&self) -> Option<u64> {
        Some(bits(&self.kept_us)).filter(|&at_us| at_us != NOBODY)
    }

    /// Sets that time. Only a turn that the caller has asked for sets one; the task itself, and the caller, may take it back.
    pub(in crate::net) fn keep(&self, at_us: Option<u64>) {
        put(&self.kept_us, at_us.unwrap_or(NOBODY));
    }

    // ---- the task

    /// It is about to look for media: what has come before needs no other look.
    pub(in crate::net) fn look_for_data(&self) {
        // Nearly always false, and then no locked instruction is needed.
        if self.held.load(Relaxed) {
            self.held.swap(false, SeqCst);
        }
    }

    /// Sets whether it collects; its thread does so before it waits. True if media came while it was collecting, after it
    /// has looked for some, and it no longer collects.
    pub(in crate::net) fn set(&self, on: bool) -> bool {
        set(&self.collects, on);
        !on && self.held.swap(false, SeqCst)
    }
}
