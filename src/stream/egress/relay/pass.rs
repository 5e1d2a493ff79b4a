//! The pass: everybody who has room is sent what is new, in three steps.
//!
//! *Plan* asks each consumer for what it is to send next, *send* gives all of that to the sockets, *advance* notes what
//! each took; whoever took all is asked again, until nobody has anything or room. The steps meet in a list of runs and
//! nowhere else, so the middle one may become a batch, and another thread may carry out a pass.
//!
//! A pass tells nobody and closes nobody: what it met stands in [`Pass`] afterwards, for the relay, which owns the consumers.

use slab::Slab;

use crate::error::{Failure, Result};
use crate::stream::egress::consumer::{Consumer, Plan, Run};
use crate::stream::egress::join::JoinIndex;
use crate::stream::event::Event;

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

/// A pass: its working memory, kept so that none allocates, and what it met.
#[derive(Default)]
pub(super) struct Pass {
    /// The consumers to ask for their plans.
    asked: Vec<usize>,
    /// The planned runs.
    parts: Vec<Part>,
    /// Consumers whose sockets have failed.
    pub(super) failed: Vec<(usize, Failure)>,
    /// Consumers that have got all that they get, or whose peers sent a command.
    pub(super) between: Vec<usize>,
    /// Events for the host: consumers that were slow have all there is again.
    pub(super) events: Vec<Event>,
    pub(super) until: Until,
    /// Bytes and messages of the stream that were sent.
    pub(super) sent: (u64, u64),
    /// A paused subscription has let go of its place and waits for another.
    pub(super) let_go: bool,
}

impl Pass {
    /// Sends to everybody who has room and does not collect just now.
    pub(super) fn run(&mut self, consumers: &mut Slab<Box<Consumer>>, join_index: &JoinIndex, now_us: u64) {
        self.begin(consumers, join_index, now_us);
        for _ in 0..ROUNDS {
            self.plan(consumers, join_index, now_us);
            self.send(consumers);
            self.advance(consumers, now_us);
            if self.asked.is_empty() {
                break;
            }
        }
        self.until.unfinished = !self.asked.is_empty();
        self.asked.clear();
    }

    /// The consumers that take part: all that have room and stay.
    fn begin(&mut self, consumers: &mut Slab<Box<Consumer>>, join_index: &JoinIndex, now_us: u64) {
        self.until = Until::default();
        let head = join_index.head();
        for (slot, consumer) in consumers {
            if consumer.close_by_ms.is_some() {
                continue;
            }
            consumer.follow(now_us);
            for subscription in &mut consumer.subscriptions {
                self.until.immediate |= subscription.is_immediate();
                if !subscription.is_foreign() {
                    subscription.indexed(head.position);
                }
                if subscription.is_paused() && !consumer.blocked {
                    self.let_go |= subscription.rest(join_index.newest_key(), head, now_us);
                }
            }
            if !consumer.blocked {
                self.asked.push(slot);
            }
        }
    }

    /// Asks for what is next. Who has nothing takes no further part.
    fn plan(&mut self, consumers: &mut Slab<Box<Consumer>>, join_index: &JoinIndex, now_us: u64) {
        for slot in self.asked.drain(..) {
            let Some(consumer) = consumers.get_mut(slot) else { continue };
            let until = &mut self.until;
            match consumer.plan(now_us) {
                Ok(Plan::Send(run)) => {
                    self.parts.push(Part { slot, run, taken: Ok(None) });
                    continue;
                }
                Ok(Plan::Blocked) => consumer.blocked = true,
                Ok(Plan::Collects(at)) => {
                    until.collected_us = Some(until.collected_us.map_or(at, |first| first.min(at)))
                }
                Ok(Plan::Limited(at)) => until.limited_us = Some(until.limited_us.map_or(at, |first| first.min(at))),
                Ok(Plan::Nothing) => {
                    let recovered = consumer.subscriptions.iter_mut().filter_map(|subscription| {
                        let recovered = subscription.has_recovered(join_index.head());
                        recovered.then(|| consumer.who.slow_event(subscription, 0))
                    });
                    self.events.extend(recovered);
                }
                Err(failure) => self.failed.push((slot, failure)),
            }
            if !consumer.blocked && (consumer.has_ended() || (consumer.said.is_some() && consumer.is_between())) {
                self.between.push(slot);
            }
        }
    }

    /// Gives every run to its socket: one system call each, of everything that is there.
    fn send(&mut self, consumers: &mut Slab<Box<Consumer>>) {
        for part in &mut self.parts {
            if let Some(consumer) = consumers.get_mut(part.slot) {
                part.taken = consumer.write(part.run);
            }
        }
    }

    /// Notes what was taken. Who has room left is asked again.
    fn advance(&mut self, consumers: &mut Slab<Box<Consumer>>, now_us: u64) {
        for Part { slot, run, taken } in self.parts.drain(..) {
            let Some(consumer) = consumers.get_mut(slot) else { continue };
            match taken {
                Ok(taken) => {
                    if consumer.advance(run, taken, now_us) {
                        self.asked.push(slot);
                    }
                    let sent = consumer.take_sent();
                    self.sent = (self.sent.0 + sent.0, self.sent.1 + sent.1);
                }
                Err(failure) => self.failed.push((slot, failure)),
            }
        }
    }
}
