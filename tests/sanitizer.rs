//! Tests of ThreadSanitizer itself, which `make tsan` runs first: it must report a race that is planted here, and must
//! not report accesses that the standard library's locks and channels put in order.
//!
//! In any other build this file is empty.

#![cfg(rr_tsan)]
#![allow(unsafe_code, reason = "a race takes memory that two threads write")]

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::Duration;

const THREADS: usize = 4;
const ROUNDS: usize = 2_000;

/// A number that any thread may write at any time: writing without an order is a race.
struct Plain(UnsafeCell<usize>);
// SAFETY: unsound on purpose, to plant a race.
unsafe impl Sync for Plain {}

impl Plain {
    fn add(&self) {
        // SAFETY: the memory is valid; each test decides whether others write at the same time.
        unsafe { *self.0.get() += 1 };
    }

    fn get(&self) -> usize {
        // SAFETY: as above.
        unsafe { *self.0.get() }
    }
}

fn plain() -> Arc<Plain> {
    Arc::new(Plain(UnsafeCell::new(0)))
}

#[test]
fn a_planted_race() {
    let number = plain();
    let threads = [(), ()].map(|()| {
        let number = Arc::clone(&number);
        thread::spawn(move || (0..ROUNDS).for_each(|_| number.add()))
    });
    threads.map(|thread| thread.join().expect("it counts"));
    assert!(number.get() > 0);
}

/// Runs `body` in several threads at once.
fn all_at_once(body: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let body = &body;
            scope.spawn(move || body(thread));
        }
    });
}

#[test]
fn mutexes_put_in_order() {
    let (number, lock, crossed) = (plain(), Mutex::new(()), RwLock::new(()));
    let other = plain();
    all_at_once(|thread| {
        for round in 0..ROUNDS {
            let _held = lock.lock().expect("nobody panics");
            number.add();
            drop(_held);
            if (round + thread) % 3 == 0 {
                let _held = crossed.write().expect("nobody panics");
                other.add();
            } else {
                let _held = crossed.read().expect("nobody panics");
                assert!(other.get() <= ROUNDS * THREADS);
            }
        }
    });
    // The end of a scope is an order too.
    assert_eq!(number.get(), ROUNDS * THREADS);
}

#[test]
fn conditions_put_in_order() {
    let (queue, filled) = (Mutex::new(VecDeque::new()), Condvar::new());
    let taken = plain();
    all_at_once(|thread| {
        if thread == 0 {
            for round in 0..ROUNDS {
                queue.lock().expect("nobody panics").push_back(vec![round; 3]);
                filled.notify_one();
            }
        } else if thread == 1 {
            for round in 0..ROUNDS {
                let mut held = queue.lock().expect("nobody panics");
                while held.is_empty() {
                    held = if round % 2 == 0 {
                        filled.wait(held).expect("nobody panics")
                    } else {
                        filled.wait_timeout(held, Duration::from_millis(1)).expect("nobody panics").0
                    };
                }
                assert_eq!(held.pop_front(), Some(vec![round; 3]));
                taken.add();
            }
        }
    });
    assert_eq!(taken.get(), ROUNDS);
}

#[test]
fn a_value_made_once_is_seen_in_order() {
    for _ in 0..ROUNDS / 10 {
        let (once, start) = (OnceLock::new(), Barrier::new(THREADS));
        all_at_once(|thread| {
            start.wait();
            let made: &Vec<usize> = once.get_or_init(|| vec![thread; 100]);
            assert!(made.iter().all(|&number| number == made[0]));
        });
    }
}

#[test]
fn barriers_put_in_order() {
    let (number, barrier) = (plain(), Barrier::new(THREADS));
    all_at_once(|thread| {
        for round in 0..ROUNDS / 10 {
            if round % THREADS == thread {
                number.add();
            }
            barrier.wait();
        }
    });
    assert_eq!(number.get(), ROUNDS / 10);
}

#[test]
fn the_last_holder_comes_after_all_others() {
    for _ in 0..ROUNDS / 10 {
        let shared = Arc::new([const { Mutex::new(0_usize) }; THREADS].map(Box::new));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || *shared[thread].lock().expect("nobody panics") += 1)
            })
            .collect();
        // The last of these threads frees the value; this one gives its share up first.
        drop(shared);
        threads.into_iter().for_each(|thread| thread.join().expect("it adds"));
    }
}

#[test]
fn channels_put_in_order() {
    let (sender, receiver) = mpsc::channel();
    let (bounded, from_bounded) = crossbeam::channel::bounded(2);
    let (unbounded, from_unbounded) = crossbeam::channel::unbounded();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sender, bounded, unbounded) = (sender.clone(), bounded.clone(), unbounded.clone());
            scope.spawn(move || {
                for round in 0..ROUNDS / 4 {
                    let boxed = || Box::new([thread, round]);
                    sender.send(boxed()).expect("somebody receives");
                    bounded.send(boxed()).expect("somebody receives");
                    unbounded.send(boxed()).expect("somebody receives");
                }
            });
        }
        drop((sender, bounded, unbounded));
        let counts = [
            scope.spawn(move || receiver.iter().filter(|boxed| boxed[0] < THREADS).count()),
            scope.spawn(move || from_bounded.iter().filter(|boxed| boxed[0] < THREADS).count()),
            scope.spawn(move || from_unbounded.iter().filter(|boxed| boxed[0] < THREADS).count()),
        ];
        for count in counts {
            assert_eq!(count.join().expect("it counts"), THREADS * (ROUNDS / 4));
        }
    });
}
