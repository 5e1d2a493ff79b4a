//! Reads of the live publisher that are put off: while all consumers collect (`merge_ms`), nobody needs what it sends before
//! they are sent to again, so it is read once for all of that instead of once for each message.
//!
//! The first message of such a time is read when it comes, which begins the time; then the socket is left alone until the end of
//! the time, and the next message is again read when it comes. [`Deferral`] keeps the times; the socket and the relay are
//! accumulate's.

/// Longest time for which a publisher is not read: commands, pings and what waits for a handover wait so long at most.
const MOST_US: u64 = if cfg!(test) { 3_600_000_000 } else { 250_000 };

/// Reads that are put off at the moment, if any.
#[derive(Debug, Default)]
pub(super) struct Deferral(Option<PutOff>);

#[derive(Clone, Copy, Debug)]
struct PutOff {
    /// The slot of the publisher.
    slot: usize,
    /// Until when the consumers collect.
    until_us: u64,
    /// When its socket was last found empty.
    drained_us: u64,
}

impl Deferral {
    /// Puts off reading the publisher in this slot, whose socket is empty now, while its consumers collect until then.
    pub(super) fn put_off(&mut self, slot: usize, until_us: u64, now_us: u64) {
        self.0 = Some(PutOff { slot, until_us, drained_us: now_us });
    }

    /// Ends it. Returns the slot of the publisher if it was put off.
    pub(super) fn end(&mut self) -> Option<usize> {
        self.0.take().map(|put_off| put_off.slot)
    }

    /// The slot of the publisher whose reading is put off.
    pub(super) fn slot(&self) -> Option<usize> {
        self.0.map(|put_off| put_off.slot)
    }

    /// When the publisher is to be read, monotonic us, if it has not sent much before.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.0.map(|put_off| put_off.until_us.min(put_off.drained_us.saturating_add(MOST_US)))
    }

    /// Whether the consumers of the publisher in this slot have collected for their time.
    pub(super) fn is_over(&self, slot: usize, now_us: u64) -> bool {
        self.0.is_some_and(|put_off| put_off.slot == slot && put_off.until_us <= now_us)
    }

    /// When messages of the publisher in this slot that are read now came at the earliest. Their consumers collect from then
    /// on, so that no message is collected for longer because it was read late.
    pub(super) fn came_us(&self, slot: usize, now_us: u64) -> u64 {
        self.0.filter(|put_off| put_off.slot == slot).map_or(now_us, |put_off| put_off.drained_us)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_read_when_consumers_have_collected_and_now_and_then_before() {
        let mut deferral = Deferral::default();
        assert_eq!((deferral.next_us(), deferral.slot()), (None, None));
        deferral.put_off(3, 60_000, 10_000);
        assert_eq!((deferral.next_us(), deferral.slot()), (Some(60_000), Some(3)));
        assert_eq!([59_999, 60_000].map(|now_us| deferral.is_over(3, now_us)), [false, true]);
        assert!(!deferral.is_over(2, 60_000));
        let until_us = 60_000 + 2 * MOST_US;
        for times in 0..=2 {
            deferral.put_off(3, until_us, 60_000 + times * MOST_US);
            assert_eq!(deferral.next_us(), Some(until_us.min(60_000 + (times + 1) * MOST_US)));
        }
        assert_eq!((deferral.end(), deferral.end(), deferral.next_us()), (Some(3), None, None));
    }

    #[test]
    fn what_is_read_late_counts_from_when_it_may_have_come() {
        let mut deferral = Deferral::default();
        assert_eq!(deferral.came_us(3, 50_000), 50_000);
        deferral.put_off(3, 60_000, 10_000);
        assert_eq!([3, 2].map(|slot| deferral.came_us(slot, 50_000)), [10_000, 50_000]);
        deferral.put_off(3, 60_000, 50_000);
        assert_eq!(deferral.came_us(3, 60_000), 50_000);
    }
}
