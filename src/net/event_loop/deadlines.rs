//! The deadlines of a loop: the time of each task's next round if it is not called, and the earliest of these times.

/// The deadline of a task that waits to be called.
pub(super) const NEVER: u64 = u64::MAX;

/// Deadlines by the numbers of tasks, monotonic us. This is a dense list: a search among thousands takes a microsecond,
/// and is needed only when the task with the earliest deadline gets a later one.
#[derive(Debug)]
pub(super) struct Deadlines {
    of: Vec<u64>,
    first: u64,
    /// The task at which the next search begins: the one at which the last search stopped.
    from: usize,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { of: Vec::new(), first: NEVER, from: 0 }
    }
}

impl Deadlines {
    /// The earliest deadline.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Sets the deadline of one task.
    pub(super) fn set(&mut self, task: usize, at_us: u64) {
        if task >= self.of.len() {
            self.of.resize(task + 1, NEVER);
        }
        let Some(of) = self.of.get_mut(task) else { return };
        let before = std::mem::replace(of, at_us);
        if at_us <= self.first {
            self.first = at_us;
        } else if before == self.first {
            self.find_first();
        }
    }

    /// Takes deadlines that have come, at most `most`, and passes their tasks, which then have no deadline, to `each`.
    /// Deadlines that are left over are taken first the next time.
    pub(super) fn take(&mut self, now_us: u64, most: usize, mut each: impl FnMut(usize)) {
        if now_us < self.first {
            return;
        }
        let from = self.from.min(self.of.len());
        let mut taken = 0;
        for task in (from..self.of.len()).chain(0..from) {
            let Some(of) = self.of.get_mut(task).filter(|of| **of <= now_us) else { continue };
            if taken == most {
                self.from = task;
                break;
            }
            taken += 1;
            *of = NEVER;
            each(task);
        }
        self.find_first();
    }

    fn find_first(&mut self) {
        self.first = self.of.iter().copied().min().unwrap_or(NEVER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(deadlines: &mut Deadlines, now_us: u64) -> Vec<usize> {
        let mut tasks = Vec::new();
        deadlines.take(now_us, 3, |task| tasks.push(task));
        tasks
    }

    #[test]
    fn those_that_are_left_are_taken_first() {
        let mut deadlines = Deadlines::default();
        (0..7).for_each(|task| deadlines.set(task, 10));
        assert_eq!(taken(&mut deadlines, 10), [0, 1, 2]);
        assert_eq!(deadlines.first(), 10);
        deadlines.set(0, 11);
        assert_eq!(taken(&mut deadlines, 11), [3, 4, 5]);
        assert_eq!(taken(&mut deadlines, 11), [6, 0]);
        assert_eq!(deadlines.first(), NEVER);
    }

    #[test]
    fn the_first_is_known_however_they_change() {
        let mut deadlines = Deadlines::default();
        assert_eq!((deadlines.first(), taken(&mut deadlines, NEVER - 1)), (NEVER, vec![]));
        deadlines.set(3, 300);
        deadlines.set(0, 100);
        deadlines.set(1, 100);
        assert_eq!(deadlines.first(), 100);
        deadlines.set(0, 500);
        assert_eq!(deadlines.first(), 100, "another has the same");
        deadlines.set(1, 200);
        assert_eq!(deadlines.first(), 200);
        assert!(taken(&mut deadlines, 199).is_empty());
        assert_eq!(taken(&mut deadlines, 300), [1, 3]);
        assert_eq!(deadlines.first(), 500);
        deadlines.set(0, NEVER);
        assert_eq!(deadlines.first(), NEVER);
    }
}
