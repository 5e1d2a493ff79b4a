//! Heap trim: after a large peak of media memory, memory that the allocator has kept is returned to the system.
//!
//! With a memory limit, a peak of half the limit is large. Such a peak mostly leaves memory that is not counted
//! (buffers and stacks of threads), and a host that sets a small limit has little of it to spare.

use crate::net::{clock, heap};
use crate::stream::memory::budget::Budget;

/// The heap is trimmed after a peak this much above the present use (or half of the memory limit, if that is less): a
/// smaller amount would be needed again by the next peak anyway.
const LEAST_BYTES: u64 = 64 << 20;

/// Shortest time between two trims, because a trim walks the heaps of the whole process.
const REST_MS: u64 = 10_000;

/// The peak since memory was last returned to the system.
#[derive(Debug, Default)]
pub(super) struct HeapTrim {
    bytes: u64,
    next_ms: u64,
}

impl HeapTrim {
    /// Compares present and past use, and trims the heap if a peak is over.
    pub(super) fn look(&mut self, budget: &Budget) {
        if self.is_over(least_bytes(budget.limit()), budget.take_peak(), budget.used(), clock::now_ms()) {
            heap::give_back();
        }
    }

    fn is_over(&mut self, least: u64, most: u64, used: u64, now_ms: u64) -> bool {
        self.bytes = self.bytes.max(most);
        let fallen = self.bytes.saturating_sub(used) >= least && used <= self.bytes / 4;
        if !fallen || now_ms < self.next_ms {
            return false;
        }
        (self.bytes, self.next_ms) = (used, now_ms + REST_MS);
        true
    }
}

fn least_bytes(limit: Option<u64>) -> u64 {
    limit.map_or(LEAST_BYTES, |limit| LEAST_BYTES.min(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn memory_is_given_back_once_after_a_large_peak() {
        let mut peak = HeapTrim::default();
        assert!(!peak.is_over(LEAST_BYTES, 200 * MIB, 100 * MIB, 0));
        assert!(!peak.is_over(LEAST_BYTES, 100 * MIB, 60 * MIB, 1_000), "more than a quarter is still there");
        assert!(peak.is_over(LEAST_BYTES, 60 * MIB, 40 * MIB, 2_000));
        assert!(!peak.is_over(LEAST_BYTES, 40 * MIB, MIB, 3_000), "that was no peak");
        assert!(!peak.is_over(LEAST_BYTES, 100 * MIB, MIB, 4_000), "it has just been done");
        assert!(peak.is_over(LEAST_BYTES, MIB, MIB, 12_000));
        assert!(!peak.is_over(LEAST_BYTES, MIB, 0, 30_000));
    }

    #[test]
    fn with_a_small_limit_a_peak_of_half_of_it_is_large() {
        let mut peak = HeapTrim::default();
        let least = least_bytes(Some(48 * MIB));
        assert!(!peak.is_over(least, 20 * MIB, MIB, 0));
        assert!(!peak.is_over(least, 40 * MIB, 12 * MIB, 1_000), "more than a quarter is still there");
        assert!(peak.is_over(least, 12 * MIB, 0, 2_000));
        assert_eq!(least_bytes(Some(1 << 40)), LEAST_BYTES);
    }
}
