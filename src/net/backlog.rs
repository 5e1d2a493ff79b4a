//! The backlog: connections that had more to read than one turn allows, and get another turn although the poller does
//! not report them.
//!
//! A connection that floods is in this list in every round, and the poller reports it as well. If both gave it a turn,
//! it would be listed twice for the next round and three times for the one after; its turns would grow from round to
//! round, and all other connections of the thread would wait. So a slot is listed once and has one turn a round.
//!
//! The list holds only slot numbers; the thread that owns the connections owns the list.

/// Slots that have a turn in the next round, each once.
#[derive(Debug)]
pub(crate) struct Backlog {
    slots: Vec<usize>,
    /// For each slot the round in which it was last noted.
    put: Vec<u64>,
    round: u64,
}

impl Default for Backlog {
    fn default() -> Self {
        // A slot's 0 stands for "never listed", so rounds begin above 0.
        Self { slots: Vec::new(), put: Vec::new(), round: 2 }
    }
}

impl Backlog {
    /// Whether no slot waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Gives this slot a turn in the next round.
    pub(crate) fn push(&mut self, slot: usize) {
        if slot >= self.put.len() {
            self.put.resize(slot + 1, 0);
        }
        let Some(put) = self.put.get_mut(slot) else { return };
        if *put != self.round {
            *put = self.round;
            self.slots.push(slot);
        }
    }

    /// Begins a round: fills `slots`, which is empty, with the slots that have a turn in it. A slot that is pushed from
    /// now on has its turn in the next round.
    pub(crate) fn take(&mut self, slots: &mut Vec<usize>) {
        self.round += 1;
        std::mem::swap(&mut self.slots, slots);
    }

    /// Whether this slot has a turn in this round or waits for the next one. If so, a report of the poller does not
    /// give it another turn.
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.put.get(slot).is_some_and(|put| put + 1 >= self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooder_that_is_ready_in_every_round_has_one_turn_in_each() {
        let mut backlog = Backlog::default();
        let (mut turns, mut slots) = (0, Vec::new());
        for _ in 0..100 {
            backlog.take(&mut slots);
            for slot in slots.drain(..) {
                turns += 1;
                backlog.push(slot);
            }
            if !backlog.has(7) {
                turns += 1;
                backlog.push(7);
            }
        }
        assert_eq!(turns, 100);
    }

    #[test]
    fn a_slot_is_listed_once_and_leaves_after_its_turn() {
        let (mut backlog, mut slots) = (Backlog::default(), Vec::new());
        assert!(backlog.is_empty() && !backlog.has(0) && !backlog.has(3));
        backlog.push(3);
        backlog.push(3);
        assert!(backlog.has(3) && !backlog.has(0));
        backlog.take(&mut slots);
        assert_eq!(std::mem::take(&mut slots), [3]);
        assert!(backlog.has(3), "in the round of its turn");
        backlog.take(&mut slots);
        assert!(slots.is_empty());
        assert!(!backlog.has(3) && backlog.is_empty());
    }
}
