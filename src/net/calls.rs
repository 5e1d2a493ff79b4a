//! Calls: the set of a thread's tasks that are to get a turn. Any thread can add a task, and the owner takes them all,
//! without waiting or allocating. A task that is called twice is in the set once.
//!
//! The set has a bit for each task, and one word whose bits say in which part of the set any of them is set. So to look
//! whether a task is called costs one load, however many there are.

use std::sync::atomic::Ordering;

use crate::net::shim::{AtomicU64, bits};

/// The number of tasks in one word.
const WORD: usize = u64::BITS as usize;

/// The set. All its operations are sequentially consistent, because the handshake with a thread that goes to sleep
/// needs that order.
#[derive(Debug)]
pub(super) struct Calls {
    /// First a word with a bit for each part of the set, and then the words of tasks: a thread with a few tasks of its own has
    /// all in one line of the processor's cache, which goes to and fro between it and those that call.
    words: Box<[AtomicU64]>,
    /// How many words of tasks are one part.
    part: usize,
}

impl Calls {
    /// An empty set with room for at least this many tasks.
    pub(super) fn with_room(tasks: usize) -> Self {
        let tasks = tasks.div_ceil(WORD);
        Self { words: (0..1 + tasks).map(|_| AtomicU64::new(0)).collect(), part: tasks.div_ceil(WORD).max(1) }
    }

    /// The word of the parts, and the words of tasks.
    fn any_and_tasks(&self) -> (&AtomicU64, &[AtomicU64]) {
        (&self.words[0], &self.words[1..])
    }

    /// How many tasks the set has room for; they are numbered from 0.
    pub(super) fn room(&self) -> usize {
        (self.words.len() - 1) * WORD
    }

    /// Adds a task. The owner sees what the caller did before, once it has taken the call.
    pub(super) fn add(&self, task: usize) {
        let word = task / WORD;
        let (any, tasks) = self.any_and_tasks();
        let Some(tasks) = tasks.get(word) else { return };
        // This writes even if the task is in the set already: the write orders what the caller did before.
        tasks.fetch_or(1 << (task % WORD), Ordering::SeqCst);
        let bit = 1 << (word / self.part);
        // The owner clears `any` first, so a bit that is still set here also covers the bit just set.
        if bits(any) & bit == 0 {
            any.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Whether no task is called.
    pub(super) fn is_empty(&self) -> bool {
        bits(self.any_and_tasks().0) == 0
    }

    /// Empties the set; `each` gets every task that was in it. Only the owner calls this.
    pub(super) fn take(&self, mut each: impl FnMut(usize)) {
        let (any, tasks) = self.any_and_tasks();
        for first in take_bits(any).map(|part| part * self.part) {
            for (word, tasks) in tasks.iter().enumerate().skip(first).take(self.part) {
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
