//! What a consumer holds for itself alone, counted against the memory limit. Its relay asks, and acts.

use super::Consumer;
use crate::error::Result;
use crate::stream::memory::budget::Budget;

/// A private buffer larger than this is counted when it is made, not only with the next figures: many that join at once
/// and do not read would have a buffer each before that.
const OUT_COUNTED_BYTES: usize = 128 * 1024;

impl Consumer {
    /// What it holds for itself counts there.
    pub(in crate::stream) fn charge_to(&mut self, budget: &Budget) {
        self.held = Some(budget.nothing());
    }

    /// Counts the private bytes and those that are about to come to them, where that makes many.
    pub(super) fn hold(&mut self, more: usize) -> Result<()> {
        let bytes = self.out.capacity().max(self.out.len() + more);
        match &mut self.held {
            Some(held) if bytes > OUT_COUNTED_BYTES => {
                let held = held.follow(bytes + self.conn.heap_bytes());
                // It is over then, and others that join in the same turn are not to find it here.
                held.inspect_err(|_| self.out = Vec::new())
            }
            _ => Ok(()),
        }
    }

    /// Counts them as they are now; called with the other figures.
    pub(super) fn recount(&mut self) {
        if let Some(held) = &mut self.held {
            held.follow_anyway(self.out.capacity() + self.conn.heap_bytes());
        }
    }

    /// Memory of private bytes of which its socket has taken nothing for `ms`; 0 where it takes some now and then.
    pub(in crate::stream) fn idle_bytes(&self, now_ms: u64, ms: u64) -> usize {
        let idle = self.blocked && now_ms.saturating_sub(self.progress_ms) >= ms;
        if idle { self.out.capacity() } else { 0 }
    }
}
