//! The peaks of media memory: after a large one, what the allocator has kept goes back to the system.

use crate::net::{clock, heap};
use crate::stream::memory::budget::Budget;

/// A peak has to have been so much above what is left: what is less, the next one needs again.
const LEAST_BYTES: u64 = 64 << 20;

/// Between two such calls: they touch the heaps of the whole process.
const REST_MS: u64 = 10_000;

/// The most there was since memory was last given back.
#[derive(Debug, Default)]
pub(super) struct HeapTrim {
    bytes: u64,
    next_ms: u64,
}

impl HeapTrim {
    /// Looks at what is used and has been, and has the rest given back where a peak is over.
    pub(super) fn look(&mut self, budget: &Budget) {
        if self.is_over(budget.take_peak(), budget.used(), clock::now_ms()) {
            heap::give_back();
        }
    }

    fn is_over(&mut self, most: u64, used: u64, now_ms: u64) -> bool {
        self.bytes = self.bytes.max(most);
        let fallen = self.bytes.saturating_sub(used) >= LEAST_BYTES && used <= self.bytes / 4;
        if !fallen || now_ms < self.next_ms {
            return false;
        }
        (self.bytes, self.next_ms) = (used, now_ms + REST_MS);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn memory_is_given_back_once_after_a_large_peak() {
        let mut peak = HeapTrim::default();
        assert!(!peak.is_over(200 * MIB, 100 * MIB, 0));
        assert!(!peak.is_over(100 * MIB, 60 * MIB, 1_000), "more than a quarter is still there");
        assert!(peak.is_over(60 * MIB, 40 * MIB, 2_000));
        assert!(!peak.is_over(40 * MIB, MIB, 3_000), "that was no peak");
        assert!(!peak.is_over(100 * MIB, MIB, 4_000), "it has just been done");
        assert!(peak.is_over(MIB, MIB, 12_000));
        assert!(!peak.is_over(MIB, 0, 30_000));
    }
}
