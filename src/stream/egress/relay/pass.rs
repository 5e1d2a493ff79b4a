//! The pass: everybody who has room is sent what is new, one consumer after the other, each in three steps.
//!
//! *Plan* asks the consumer for what it is to send next, *send* gives that to its socket, *advance* notes what was taken;
//! whoever took all is asked again, unless that was all up to the log's end, until it has nothing or no room. All steps of
//! one come before the next one's: what the pass knows of hundreds of consumers does not stay in the processor's cache
//! between two steps.
//!
//! A pass tells nobody and closes nobody: what it met stands in [`Pass`] afterwards, for the relay, which owns the
//! consumers.

use slab::Slab;

use crate::error::{Failure, Result};
use crate::stream::egress::consumer::{Consumer, Plan};
use crate::stream::egress::join::JoinIndex;
use crate::stream::event::Event;
use crate::stream::log::buffer::Head;
use crate::stream::stats::Sent;

/// Runs that one consumer is sent in a pass at most: of a stream that comes faster than it goes out a pass would have no
/// end. A run is a segment of the log at most, so this is some megabytes for everybody.
pub(super) const RUNS: usize = 8;

/// The times from the last pass that bound the next wait.
#[derive(Clone, Copy, Default)]
pub(super) struct Until {
    /// Somebody has room, and there is more to send to it.
    pub(super) unfinished: bool,
    /// The first of those that collect (`merge_ms`) has collected by then.
    pub(super) collected_us: Option<u64>,
    /// The first of those whose rate is used up may have more then.
    pub(super) limited_us: Option<u64>,
    /// Others want every message at once.
    pub(super) immediate: bool,
}

impl Until {
    /// What one consumer waits for.
    pub(super) fn note(&mut self, plan: Plan) {
        let earliest = |first: Option<u64>, at: u64| Some(first.map_or(at, |first| first.min(at)));
        match plan {
            Plan::Send(_) => self.unfinished = true,
            Plan::Collects(at) => self.collected_us = earliest(self.collected_us, at),
            Plan::Limited(at) => self.limited_us = earliest(self.limited_us, at),
            Plan::Nothing | Plan::Blocked => {}
        }
    }
}

/// What a pass met that the relay is to see to: mostly nothing, and then nothing is allocated.
#[derive(Default)]
pub(super) struct Met {
    /// Consumers whose sockets have failed.
    pub(super) failed: Vec<(usize, Failure)>,
    /// Consumers that have got all that they get, or whose peers sent a command.
    pub(super) between: Vec<usize>,
    /// Events for the host: consumers that were slow have all there is again.
    pub(super) events: Vec<Event>,
}

impl Met {
    pub(super) fn is_nothing(&self) -> bool {
        self.failed.is_empty() && self.between.is_empty() && self.events.is_empty()
    }
}

/// A pass, and what came of it.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) met: Met,
    pub(super) until: Until,
    /// What was sent of the stream.
    pub(super) sent: Sent,
    /// A paused subscription has let go of its place and waits for another.
    pub(super) let_go: bool,
}

impl Pass {
    /// Sends to everybody who has room and does not collect just now.
    pub(super) fn run(&mut self, consumers: &mut Slab<Box<Consumer>>, join_index: &JoinIndex, now_us: u64) {
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
            if consumer.blocked {
                continue;
            }
            match self.serve(consumer, head, now_us) {
                Ok(()) if !consumer.blocked && consumer.is_done() => self.met.between.push(slot),
                Ok(()) => {}
                Err(failure) => self.met.failed.push((slot, failure)),
            }
        }
    }

    /// Sends to one.
    fn serve(&mut self, consumer: &mut Consumer, head: Head, now_us: u64) -> Result<()> {
        let plan = consumer.send(RUNS, head, now_us)?;
        self.until.note(plan);
        self.sent += consumer.take_sent();
        if plan == Plan::Nothing {
            for subscription in &mut consumer.subscriptions {
                if subscription.has_recovered(head) {
                    self.met.events.push(consumer.who.slow_event(subscription, 0));
                }
            }
        }
        Ok(())
    }
}
