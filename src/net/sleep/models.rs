//! Loom models of a thread's sleep: every order in which three parties may meet, tried one by one. The relay sleeps, is
//! called and has deadlines; accumulate brings media, and does the relay's work for it while the relay sleeps; the host
//! leaves an order. A lost call shows as a relay that waits forever.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

use super::Sleep;

/// The relay's number among the tasks of its thread.
const RELAY: usize = 0;

/// How many messages come.
const MESSAGES: usize = 2;

/// The relay, under its lock.
#[derive(Default)]
struct Relay {
    /// How many messages it has sent.
    sent: usize,
    /// Something is due that only its own thread does, as after a message that some consumer collects.
    has_deadline: bool,
    /// Its thread knows that, and sleeps no longer.
    knows_deadline: bool,
    /// The host's order has been carried out.
    has_order: bool,
}

struct Stream {
    /// How many messages are in the log.
    log: AtomicUsize,
    order: AtomicBool,
    relay: Mutex<Relay>,
    sleep: Sleep,
    /// What the poller waits for: the waker's counter.
    waker: Notify,
}

impl Stream {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            log: AtomicUsize::new(0),
            order: AtomicBool::new(false),
            relay: Mutex::default(),
            sleep: Sleep::with_room(1),
            waker: Notify::new(),
        })
    }

    /// A pass, which sends what is new in the log. The last message makes a deadline.
    fn pass(&self, relay: &mut Relay) {
        let messages = self.log.load(Acquire);
        assert!(messages >= relay.sent);
        relay.has_deadline |= messages == MESSAGES && relay.sent < MESSAGES;
        relay.sent = messages;
    }

    /// The relay's thread, until it has done everything.
    fn run(&self) {
        loop {
            self.sleep.take_calls(|task| assert_eq!(task, RELAY));
            let waits = {
                let relay = &mut *self.relay.lock().unwrap();
                if relay.knows_deadline {
                    (relay.has_deadline, relay.knows_deadline) = (false, false);
                    if relay.sent == MESSAGES && relay.has_order {
                        return;
                    }
                }
                self.pass(relay);
                relay.has_order |= self.order.load(Acquire);
                relay.knows_deadline = relay.has_deadline;
                if relay.sent == MESSAGES && relay.has_order && !relay.has_deadline {
                    return;
                }
                !relay.knows_deadline
            };
            if self.sleep.begins() && waits {
                self.waker.wait();
            }
            self.sleep.ends();
        }
    }

    /// Brings a message.
    fn append(&self) {
        self.log.fetch_add(1, AcqRel);
        let turn = || {
            let Ok(mut relay) = self.relay.try_lock() else { return false };
            self.pass(&mut relay);
            relay.has_deadline == relay.knows_deadline
        };
        let is_done = self.sleep.is_asleep() && turn();
        if !is_done && self.sleep.call(RELAY) {
            self.waker.notify();
        }
    }

    /// Leaves an order.
    fn order(&self) {
        self.order.store(true, Release);
        if self.sleep.call(RELAY) {
            self.waker.notify();
        }
    }
}

#[test]
fn no_call_is_lost_while_accumulate_sends_for_the_relay() {
    let mut model = loom::model::Builder::new();
    // Two preemptions are enough for any two of the three parties to meet, and the model ends in seconds.
    model.preemption_bound = Some(2);
    model.check(|| {
        let stream = Stream::new();
        let [accumulate, host] = [Arc::clone(&stream), Arc::clone(&stream)];
        let accumulate = thread::spawn(move || (0..MESSAGES).for_each(|_| accumulate.append()));
        let host = thread::spawn(move || host.order());
        stream.run();
        accumulate.join().unwrap();
        host.join().unwrap();
        assert_eq!((stream.log.load(Relaxed), stream.relay.lock().unwrap().sent), (MESSAGES, MESSAGES));
    });
}
