//! Who is to have a turn without being told: connections of which more was there than one turn takes.
//!
//! A flooder is in this list in every round, and the poller tells of him besides. If each of the two gave him a turn he would
//! be put down twice for the next round, and a third time there, and so on: his turns would grow round by round, and
//! whoever shares the thread would wait for all of them. So a slot is in the list once and has one turn a round. It
//! knows nothing of connections; the thread that owns them owns it.

/// Slots that are to have a turn, each once.
#[derive(Debug)]
pub struct Backlog {
    slots: Vec<usize>,
    /// For each slot the round it was last put down in.
    put: Vec<u64>,
    round: u64,
}

impl Default for Backlog {
    fn default() -> Self {
        // Rounds begin where no slot's 0 can be meant.
        Self { slots: Vec::new(), put: Vec::new(), round: 2 }
    }
}

impl Backlog {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// This slot has a turn in the next round.
    pub fn push(&mut self, slot: usize) {
        if slot >= self.put.len() {
            self.put.resize(slot + 1, 0);
        }
        let Some(put) = self.put.get_mut(slot) else { return };
        if *put != self.round {
            *put = self.round;
            self.slots.push(slot);
        }
    }

    /// Begins a round: these are to have a turn, and who is put down from now on has his in the next one.
    pub fn take(&mut self) -> Vec<usize> {
        self.round += 1;
        std::mem::take(&mut self.slots)
    }

    /// Whether this slot was among the last that were taken, or waits for the next round: what the poller tells of it
    /// is then no reason for one more turn.
    pub fn has(&self, slot: usize) -> bool {
        self.put.get(slot).is_some_and(|put| put + 1 >= self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooder_that_is_ready_in_every_round_has_one_turn_in_each() {
        let mut backlog = Backlog::default();
        let mut turns = 0;
        for _ in 0..100 {
            for slot in backlog.take() {
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
    fn who_has_had_his_turn_and_left_nothing_is_told_of_anew() {
        let mut backlog = Backlog::default();
        assert!(backlog.is_empty() && !backlog.has(0) && !backlog.has(3));
        backlog.push(3);
        backlog.push(3);
        assert!(backlog.has(3) && !backlog.has(0));
        assert_eq!(backlog.take(), [3]);
        assert!(backlog.has(3), "in the round of its turn");
        assert_eq!(backlog.take(), []);
        assert!(!backlog.has(3) && backlog.is_empty());
    }
}
