//! Loom models of the time that accumulate keeps for a relay that collects: every order in which three parties may meet. The
//! relay collects until a time, for which it sleeps, or leaves to accumulate; accumulate brings a message, and then comes at
//! that time with another one, or leaves before; the host leaves an order, which may be a player that does not collect. A time
//! that nobody keeps shows as a relay that waits forever.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

use super::{Collecting, Sleep};

/// The relay's number among the tasks of its thread.
const RELAY: usize = 0;

/// Until when the relay collects. It is 0 at first.
const THEN_US: u64 = 1;

/// The next round of a task that waits for no time, and of one that has more to do.
const NEVER: u64 = u64::MAX;
const AT_ONCE: u64 = 0;

/// The relay, under the lock of its seat.
struct Relay {
    sent: usize,
    has_order: bool,
    /// The last value given to `Collecting`.
    is_collecting: bool,
    /// When its thread has its next round, as that knows it.
    due_us: u64,
}

struct Stream {
    /// How many messages come.
    messages: usize,
    /// How many are in the log.
    log: AtomicUsize,
    order: AtomicBool,
    /// The order is a player that does not collect.
    is_player: bool,
    now_us: AtomicU64,
    relay: Mutex<Relay>,
    collecting: Collecting,
    sleep: Sleep,
    /// What the poller waits for: the waker's counter.
    waker: Notify,
}

impl Stream {
    fn new(messages: usize, is_player: bool) -> Arc<Self> {
        let relay = Relay { sent: 0, has_order: false, is_collecting: false, due_us: NEVER };
        Arc::new(Self {
            messages,
            log: AtomicUsize::new(0),
            order: AtomicBool::new(false),
            is_player,
            now_us: AtomicU64::new(0),
            relay: Mutex::new(relay),
            collecting: Collecting::new(),
            sleep: Sleep::with_room(1),
            waker: Notify::new(),
        })
    }

    fn is_over(&self, relay: &Relay) -> bool {
        relay.sent == self.messages && relay.has_order
    }

    // ---- the relay, under its lock

    fn is_immediate(&self, relay: &Relay) -> bool {
        relay.has_order && self.is_player
    }

    fn collects_until(&self, relay: &Relay) -> Option<u64> {
        (relay.sent < self.log.load(Acquire) && !self.is_immediate(relay)).then_some(THEN_US)
    }

    /// Sends what is in the log, if that is due.
    fn pass(&self, relay: &mut Relay) {
        if self.is_immediate(relay) || self.now_us.load(Acquire) >= THEN_US {
            relay.sent = self.log.load(Acquire);
        }
    }

    /// The time of its next round.
    fn settle(&self, relay: &mut Relay) -> u64 {
        let until_us = self.collects_until(relay);
        let is_collecting = until_us.is_some();
        let has_more = is_collecting != relay.is_collecting && self.collecting.set(is_collecting);
        relay.is_collecting = is_collecting;
        let is_kept = |at_us: u64| self.collecting.kept_us().is_some_and(|kept_us| kept_us <= at_us);
        if has_more { AT_ONCE } else { until_us.filter(|&at_us| !is_kept(at_us)).unwrap_or(NEVER) }
    }

    /// A round. True if there is nothing left to do.
    fn round(&self, relay: &mut Relay) -> bool {
        self.collecting.look_for_data();
        relay.has_order |= self.order.load(Acquire);
        // A pass that is due because of the time alone is accumulate's, where that keeps it.
        if self.is_immediate(relay) || self.collecting.kept_us().is_none() {
            self.pass(relay);
        }
        if self.collecting.kept_us().is_some() && self.collects_until(relay).is_none() {
            self.collecting.keep(None);
        }
        relay.due_us = self.settle(relay);
        self.is_over(relay)
    }

    /// A turn in accumulate's thread. False if the relay's own thread is to be called.
    fn media_turn(&self, relay: &mut Relay) -> bool {
        self.collecting.look_for_data();
        self.pass(relay);
        self.collecting.keep(self.collects_until(relay));
        let is_done = self.settle(relay) >= relay.due_us && !self.is_over(relay);
        if !is_done {
            self.collecting.keep(None);
        }
        is_done
    }

    // ---- its thread

    fn run(&self) {
        loop {
            self.sleep.take_calls(|task| assert_eq!(task, RELAY));
            let due_us = {
                let relay = &mut *self.relay.lock().unwrap();
                if self.round(relay) {
                    return;
                }
                relay.due_us
            };
            if self.sleep.begins() {
                match due_us {
                    NEVER => self.waker.wait(),
                    // The time comes while it waits.
                    due_us => drop(self.now_us.fetch_max(due_us, AcqRel)),
                }
            }
            self.sleep.ends();
        }
    }

    fn call(&self) {
        if self.sleep.call(RELAY) {
            self.waker.notify();
        }
    }

    // ---- accumulate

    /// Offers the relay a turn. True if it is to come again.
    fn offer(&self) -> bool {
        let turn = || self.relay.try_lock().is_ok_and(|mut relay| self.media_turn(&mut relay));
        let (can, now_us) = (self.sleep.is_asleep(), self.now_us.load(Acquire));
        let (kept_us, is_called) = self.collecting.turn_for_data(can, true, now_us, turn);
        if is_called {
            self.call();
        }
        kept_us.is_some()
    }

    /// Brings all messages. The next one is read when the relay has collected, or takes its time back.
    fn bring(&self) {
        for number in 1..=self.messages {
            self.log.fetch_add(1, AcqRel);
            let mut keeps = self.offer();
            while keeps {
                if let Some(kept_us) = self.collecting.kept_us() {
                    self.now_us.fetch_max(kept_us, AcqRel);
                }
                if number < self.messages {
                    break;
                }
                keeps = self.offer();
            }
        }
    }

    /// Brings one message, and does not come again.
    fn bring_one(&self) {
        self.log.fetch_add(1, AcqRel);
        if self.offer() && self.collecting.leave() {
            self.call();
        }
    }

    // ---- the host

    fn order(&self) {
        self.order.store(true, Release);
        self.call();
    }
}

fn check(messages: usize, brings: fn(&Stream), is_player: bool) {
    let mut model = loom::model::Builder::new();
    // Two preemptions are enough for any two of the three parties to meet, and the model ends in seconds.
    model.preemption_bound = Some(2);
    model.check(move || {
        let stream = Stream::new(messages, is_player);
        let [accumulate, host] = [Arc::clone(&stream), Arc::clone(&stream)];
        let accumulate = thread::spawn(move || brings(&accumulate));
        let host = thread::spawn(move || host.order());
        stream.run();
        accumulate.join().unwrap();
        host.join().unwrap();
        assert!(stream.is_over(&stream.relay.lock().unwrap()));
    });
}

#[test]
fn a_time_that_accumulate_keeps_is_not_lost_when_it_comes() {
    check(2, Stream::bring, false);
}

#[test]
fn a_time_that_accumulate_keeps_is_not_lost_when_it_leaves() {
    check(1, Stream::bring_one, false);
}

#[test]
fn the_relay_takes_a_time_back_that_accumulate_keeps() {
    check(2, Stream::bring, true);
}
