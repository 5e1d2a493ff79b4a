//! Calls: the set of a thread's tasks that are to get a turn. Any thread can add a task, and the owner takes them all,
//! without waiting or allocating. A task that is called twice is in the set once.
//!
//! The set has a bit for each task, and for each 64 of these a bit that says whether any of them is set.

use std::sync::atomic::Ordering;

use crate::net::shim::{AtomicU64, bits};

/// The number of tasks in one word.
const WORD: usize = u64::BITS as usize;

/// The set. All its operations are sequentially consistent, because the handshake with a thread that goes to sleep
/// needs that order.
#[derive(Debug)]
pub(super) struct Calls {
    /// First a bit for each word of tasks, and then these words: a thread with a few tasks of its own has all in one line of the
    /// processor's cache, which goes to and fro between it and those that call.
    words: Box<[AtomicU64]>,
    /// How many words are of the first kind.
    groups: usize,
}

impl Calls {
    /// An empty set with room for at least this many tasks.
    pub(super) fn with_room(tasks: usize) -> Self {
        let tasks = tasks.div_ceil(WORD);
        let groups = tasks.div_ceil(WORD);
        Self { words: (0..groups + tasks).map(|_| AtomicU64::new(0)).collect(), groups }
    }

    /// A bit for each word of tasks; and those words.
    fn any_and_tasks(&self) -> (&[AtomicU64], &[AtomicU64]) {
        self.words.split_at_checked(self.groups).unwrap_or_default()
    }

    /// How many tasks the set has room for; they are numbered from 0.
    pub(super) fn room(&self) -> usize {
        (self.words.len() - self.groups) * WORD
    }

    /// Adds a task. The owner sees what the caller did before, once it has taken the call.
    pub(super) fn add(&self, task: usize) {
        let (word, group) = (task / WORD, task / WORD / WORD);
        let (any, tasks) = self.any_and_tasks();
        let (Some(tasks), Some(any)) = (tasks.get(word), any.get(group)) else { return };
        // This writes even if the task is in the set already: the write orders what the caller did before.
        tasks.fetch_or(1 << (task % WORD), Ordering::SeqCst);
        let bit = 1 << (word % WORD);
        // The owner clears `any` first, so a bit that is still set here also covers the bit just set.
        if bits(any) & bit == 0 {
            any.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Whether no task is called.
    pub(super) fn is_empty(&self) -> bool {
        self.any_and_tasks().0.iter().all(|any| bits(any) == 0)
    }

    /// Empties the set; `each` gets every task that was in it. Only the owner calls this.
    pub(super) fn take(&self, mut each: impl FnMut(usize)) {
        let (any, tasks) = self.any_and_tasks();
        for (group, any) in any.iter().enumerate() {
            for word in take_bits(any).map(|bit| group * WORD + bit) {
                let Some(tasks) = tasks.get(word) else { continue };
                take_bits(tasks).for_each(|bit| each(word * WORD + bit));
            }
        }
    }
}

/// Clears a word, and returns the bits that were set.
fn take_bits(word: &AtomicU64) -> impl Iterator<Item = usize> + use<> {
    // Usually the word is 0, and then no locked instruction is needed.
    let mut left = if bits(word) == 0 { 0 } else { word.swap(0, Ordering::SeqCst) };
    std::iter::from_fn(move || {
        let bit = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit as usize)
    })
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn taken(calls: &Calls) -> Vec<usize> {
        let mut tasks = Vec::new();
        calls.take(|task| tasks.push(task));
        tasks
    }

    #[test]
    fn a_called_task_is_reported_once() {
        let calls = Calls::with_room(5_000);
        assert!(calls.is_empty() && calls.room() >= 5_000);
        for task in [4_999, 0, 63, 64, 4_095, 4_096, 63] {
            calls.add(task);
        }
        assert!(!calls.is_empty());
        assert_eq!(taken(&calls), [0, 63, 64, 4_095, 4_096, 4_999]);
        assert!(calls.is_empty() && taken(&calls).is_empty());
        calls.add(calls.room());
        assert!(calls.is_empty(), "there is no such task");
    }

    #[test]
    fn no_call_is_lost_while_others_are_taken() {
        let calls = Calls::with_room(128);
        let done = AtomicU64::new(0);
        let sent: [AtomicU64; 3] = Default::default();
        std::thread::scope(|scope| {
            for (task, sent) in [1, 2, 100].into_iter().zip(&sent) {
                let (calls, done) = (&calls, &done);
                scope.spawn(move || {
                    for _ in 0..50_000 {
                        sent.fetch_add(1, Ordering::Relaxed);
                        calls.add(task);
                    }
                    done.fetch_add(1, Ordering::Release);
                });
            }
            let mut seen = [0; 3];
            while done.load(Ordering::Acquire) < 3 || !calls.is_empty() {
                calls.take(|task| {
                    let index = [1, 2, 100].iter().position(|&known| known == task).unwrap();
                    seen[index] = sent[index].load(Ordering::Relaxed);
                });
            }
            assert_eq!(seen, [50_000; 3], "the last call came after the last message");
        });
    }
}
