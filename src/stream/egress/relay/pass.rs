//! The pass: everybody who has room is sent what is new, in three steps.
//!
//! *Plan* asks each consumer for what it is to send next, *send* gives all of that to the sockets, *advance* notes what
//! each took; whoever took all is asked again, until nobody has anything or room. The steps meet in a list of runs and
//! nowhere else, so the middle one may become a batch, and another thread may carry out a pass.

use std::mem;

use super::{Relay, slow_event};
use crate::error::{Failure, Result};
use crate::net::event_loop::Io;
use crate::stream::egress::consumer::{Plan, Run};

/// Times that one pass asks everybody at most: of a stream that comes faster than it goes out a pass would have no end.
/// One run is a segment of the log at most, so this is some megabytes for everybody.
const ROUNDS: usize = 8;

/// The times from the last pass that bound the next wait.
#[derive(Clone, Copy, Default)]
pub(super) struct Until {
    /// Somebody has room and was not asked to the end.
    pub(super) unfinished: bool,
    /// The first of those that collect (`merge_ms`) has collected by then.
    pub(super) collected_us: Option<u64>,
    /// The first of those whose rate is used up may have more then.
    pub(super) limited_us: Option<u64>,
    /// Others want every message at once.
    pub(super) immediate: bool,
}

/// One consumer's part in a round.
struct Part {
    slot: usize,
    run: Run,
    taken: Result<Option<usize>>,
}

/// The working memory of passes, kept so that none allocates.
#[derive(Default)]
pub(super) struct Pass {
    /// The consumers to ask for their plans.
    asked: Vec<usize>,
    /// The planned runs.
    parts: Vec<Part>,
    /// Consumers whose sockets have failed.
    failed: Vec<(usize, Failure)>,
    /// Consumers that have got all that they get, or whose peers sent a command.
    between: Vec<usize>,
    until: Until,
    /// Bytes and messages of the stream that were sent.
    sent: (u64, u64),
}

impl Relay {
    /// Sends to everybody who has room and does not collect just now.
    pub(super) fn run_pass(&mut self, io: &mut Io<'_>) {
        let now_us = io.now_us;
        let mut pass = mem::take(&mut self.pass);
        self.begin(&mut pass, now_us);
        for _ in 0..ROUNDS {
            self.plan(&mut pass, now_us);
            self.send(&mut pass);
            self.advance(&mut pass, now_us);
            if pass.asked.is_empty() {
                break;
            }
        }
        pass.until.unfinished = !pass.asked.is_empty();
        pass.asked.clear();
        self.stream.stats().sent(mem::take(&mut pass.sent), now_us);
        for (slot, failure) in pass.failed.drain(..) {
            let failure = self.last_words(slot, failure, io);
            self.apply(slot, Err(failure.into()), io);
        }
        for slot in pass.between.drain(..) {
            self.between(slot, io);
        }
        self.until = pass.until;
        self.pass = pass;
    }

    /// The consumers that take part: all that have room and stay.
    fn begin(&mut self, pass: &mut Pass, now_us: u64) {
        pass.until = Until::default();
        let head = self.join_index.head();
        for (slot, consumer) in &mut self.consumers {
            if consumer.close_by_ms.is_some() {
                continue;
            }
            consumer.follow(now_us);
            for subscription in &mut consumer.subscriptions {
                pass.until.immediate |= subscription.is_immediate();
                if !subscription.is_foreign() {
                    subscription.indexed(head.position);
                }
                if subscription.is_paused() && !consumer.blocked {
                    self.has_waiting |= subscription.rest(self.join_index.newest_key(), head, now_us);
                }
            }
            if !consumer.blocked {
                pass.asked.push(slot);
            }
        }
    }

    /// Asks for what is next. Who has nothing takes no further part.
    fn plan(&mut self, pass: &mut Pass, now_us: u64) {
        for slot in pass.asked.drain(..) {
            let Some(consumer) = self.consumers.get_mut(slot) else { continue };
            let until = &mut pass.until;
            match consumer.plan(now_us) {
                Ok(Plan::Send(run)) => {
                    pass.parts.push(Part { slot, run, taken: Ok(None) });
                    continue;
                }
                Ok(Plan::Blocked) => consumer.blocked = true,
                Ok(Plan::Collects(at)) => {
                    until.collected_us = Some(until.collected_us.map_or(at, |first| first.min(at)))
                }
                Ok(Plan::Limited(at)) => until.limited_us = Some(until.limited_us.map_or(at, |first| first.min(at))),
                Ok(Plan::Nothing) => self.tell_recovered(slot),
                Err(failure) => pass.failed.push((slot, failure)),
            }
            let Some(consumer) = self.consumers.get(slot) else { continue };
            if !consumer.blocked && (consumer.has_ended() || (consumer.said.is_some() && consumer.is_between())) {
                pass.between.push(slot);
            }
        }
    }

    /// The host hears of those that were slow and have all there is again.
    fn tell_recovered(&mut self, slot: usize) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        let head = self.join_index.head();
        for subscription in &mut consumer.subscriptions {
            if subscription.has_recovered(head) {
                self.stream.upcalls().event(slow_event(&consumer.who, subscription, 0));
            }
        }
    }

    /// Gives every run to its socket: one system call each, of everything that is there.
    fn send(&mut self, pass: &mut Pass) {
        for part in &mut pass.parts {
            if let Some(consumer) = self.consumers.get_mut(part.slot) {
                part.taken = consumer.write(part.run);
            }
        }
    }

    /// Notes what was taken. Who has room left is asked again.
    fn advance(&mut self, pass: &mut Pass, now_us: u64) {
        for Part { slot, run, taken } in pass.parts.drain(..) {
            let Some(consumer) = self.consumers.get_mut(slot) else { continue };
            match taken {
                Ok(taken) => {
                    if consumer.advance(run, taken, now_us) {
                        pass.asked.push(slot);
                    }
                    let sent = consumer.take_sent();
                    pass.sent = (pass.sent.0 + sent.0, pass.sent.1 + sent.1);
                }
                Err(failure) => pass.failed.push((slot, failure)),
            }
        }
    }
}
