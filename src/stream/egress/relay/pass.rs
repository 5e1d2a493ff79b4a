//! The pass: sends new media to every consumer that has room, one consumer after the other, each in three steps.
//!
//! *Plan* asks the consumer for its next bytes, *send* gives them to its socket, *advance* notes how many were taken. A
//! consumer that took all is asked again, unless that was all up to the log's end, until it has nothing or no room. The
//! steps of one consumer come before those of the next, because the data of hundreds of consumers would not stay in the
//! processor's cache between two steps.
//!
//! A pass sends no events and closes no consumer: it leaves its findings in [`Pass`] for the relay, which owns the
//! consumers.

use crate::error::{Failure, Result};
use crate::stream::egress::consumer::{Consumer, Plan};
use crate::stream::egress::join::JoinIndex;
use crate::stream::egress::relay::ahead::ahead;
use crate::stream::egress::relay::consumers::Consumers;
use crate::stream::egress::subscription::Next;
use crate::stream::event::Event;
use crate::stream::log::buffer::Head;
use crate::stream::stats::Sent;

/// Most runs that one consumer is sent in a pass: if a stream came faster than it goes out, a pass would have no end. A
/// run is at most two segments of the log, so this bounds each consumer to a few megabytes.
pub(super) const RUNS: usize = 8;

/// What the consumers wait for since the last pass, which bounds the next wait.
#[derive(Clone, Copy, Default)]
pub(super) struct Until {
    /// Some consumer has room, and there is more to send to it.
    pub(super) unfinished: bool,
    /// The earliest time at which a collecting consumer (`merge_ms`) is to be sent to.
    pub(super) collected_us: Option<u64>,
    /// The earliest time at which a rate-limited consumer may get more.
    pub(super) limited_us: Option<u64>,
    /// Some consumer follows the logs of other streams too.
    pub(super) follows: bool,
    /// The shortest time for which a consumer collects; 0 if one wants every message at once.
    pub(super) least_merge_us: Option<u64>,
}

/// The earlier one of a time that is known, if one is, and another.
fn earliest(first: Option<u64>, at: u64) -> Option<u64> {
    Some(first.map_or(at, |first| first.min(at)))
}

impl Until {
    /// Notes what one consumer waits for.
    pub(super) fn note(&mut self, plan: Plan) {
        match plan {
            Plan::Send(_) => self.unfinished = true,
            Plan::Collects(at) => self.note_collects(at),
            Plan::Limited(at) => self.limited_us = earliest(self.limited_us, at),
            Plan::Nothing | Plan::Blocked => {}
        }
    }

    /// Notes that a consumer collects until this time.
    pub(super) fn note_collects(&mut self, at_us: u64) {
        self.collected_us = earliest(self.collected_us, at_us);
    }

    /// Notes for how long a consumer collects.
    pub(super) fn note_merge(&mut self, merge_us: u64) {
        self.least_merge_us = earliest(self.least_merge_us, merge_us);
    }

    /// Whether some consumer wants every message at once.
    pub(super) fn is_immediate(&self) -> bool {
        self.least_merge_us == Some(0)
    }

    /// Notes that a pass has ended: media that comes from now on is due when those who collect for the shortest time have
    /// collected it, also if others collect until later.
    fn pass_ended(&mut self, now_us: u64) {
        if let (Some(collected_us), Some(merge_us)) = (self.collected_us, self.least_merge_us) {
            self.collected_us = Some(collected_us.min(now_us + merge_us));
        }
    }

    /// Notes that media has come, the first of it at this time: those who have been sent all begin to collect with that.
    pub(super) fn media_came(&mut self, at_us: u64) {
        if let Some(merge_us) = self.least_merge_us {
            self.collected_us = earliest(self.collected_us, at_us + merge_us);
        }
    }
}

/// The findings of a pass that the relay has to act on: mostly none, and then nothing is allocated.
#[derive(Default)]
pub(super) struct Met {
    /// Consumers whose sockets have failed.
    pub(super) failed: Vec<(usize, Failure)>,
    /// Consumers with a subscription at its end, or whose peers sent a command.
    pub(super) between: Vec<usize>,
    /// Events for the host about consumers that were slow and have caught up.
    pub(super) events: Vec<Event>,
}

impl Met {
    pub(super) fn is_nothing(&self) -> bool {
        self.failed.is_empty() && self.between.is_empty() && self.events.is_empty()
    }
}

/// A pass and its results.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) met: Met,
    pub(super) until: Until,
    /// Messages and bytes of the stream that were sent.
    pub(super) sent: Sent,
    /// A paused subscription has given up its place and waits for another one.
    pub(super) let_go: bool,
    /// No change since the last pass concerns what consumers wait for, apart from new media.
    pub(super) unchanged: bool,
}

impl Pass {
    /// Whether some consumer may have to be sent something now. Where all of them collect and none is due, a pass would
    /// find nothing, but look at the memory of every consumer.
    pub(super) fn is_due(&self, now_us: u64) -> bool {
        self.until.follows || self.is_due_by_own(now_us)
    }

    /// Whether that is so not only because other streams may have brought something.
    pub(super) fn is_due_by_own(&self, now_us: u64) -> bool {
        let Until { unfinished, collected_us, limited_us, .. } = self.until;
        let has_come = [collected_us, limited_us].into_iter().flatten().any(|at| at <= now_us);
        !self.unchanged || unfinished || self.until.is_immediate() || has_come
    }

    /// Whether that is so only because some have collected for their time, all of them collecting.
    pub(super) fn is_due_by_collecting(&self, now_us: u64) -> bool {
        let Until { unfinished, collected_us, limited_us, follows, .. } = self.until;
        let is_due = |at_us: Option<u64>| at_us.is_some_and(|at_us| at_us <= now_us);
        let by_others = unfinished || follows || self.until.is_immediate() || is_due(limited_us);
        self.unchanged && !by_others && is_due(collected_us)
    }

    /// Sends to every consumer that has room and is not collecting. Once about `bytes` have been sent, the rest of them are
    /// left for the next pass.
    pub(super) fn run(&mut self, consumers: &mut Consumers, join_index: &JoinIndex, mut bytes: u64, now_us: u64) {
        let followed = std::mem::take(&mut self.until).follows;
        self.unchanged = true;
        let head = join_index.head();
        let in_step = consumers.plan_in_step(head, now_us);
        let (out_of_step, found) = consumers.out_of_step();
        for (slot, consumer) in ahead(out_of_step) {
            if consumer.close_by_ms.is_some() {
                continue;
            }
            consumer.follow(now_us);
            self.until.follows |= consumer.subscriptions.len() > 1;
            for subscription in &mut consumer.subscriptions {
                self.until.note_merge(subscription.merge_us());
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
            if bytes == 0 {
                self.until.unfinished = true;
                // Those that are left may be the ones.
                self.until.follows |= followed;
                break;
            }
            let before = self.sent.bytes;
            let served = self.serve(consumer, head, now_us);
            bytes = bytes.saturating_sub(self.sent.bytes - before);
            match served {
                Ok(()) if !consumer.blocked && consumer.is_done() => self.met.between.push(slot),
                Ok(()) => found.note(slot, consumer, head),
                Err(failure) => self.met.failed.push((slot, failure)),
            }
        }
        if let Some(next) = in_step {
            self.serve_in_step(consumers, next, head, bytes, now_us);
        }
        consumers.take_in_found(now_us);
        self.until.pass_ended(now_us);
    }

    /// Sends to all consumers in step, up to `head` at least, unless that were more than these bytes.
    fn serve_in_step(&mut self, consumers: &mut Consumers, mut next: Next, head: Head, mut bytes: u64, now_us: u64) {
        self.until.note_merge(consumers.merge_us());
        for _ in 0..RUNS {
            let Next::Log(len) = next else { break };
            let all = (len as u64).saturating_mul(consumers.in_step() as u64);
            if all > bytes {
                break;
            }
            bytes -= all;
            self.sent += consumers.send_in_step(len, now_us, &mut self.met.failed);
            if consumers.have_sent_all(head) {
                return;
            }
            let Some(then) = consumers.plan_in_step(head, now_us) else {
                // They are served one by one in the next pass.
                self.until.unfinished = true;
                return;
            };
            next = then;
        }
        match next {
            Next::Log(_) => self.until.unfinished = true,
            Next::Collects(at) => self.until.note_collects(at),
            Next::Private | Next::Nothing | Next::Limited(_) => {}
        }
    }

    /// Sends to one consumer.
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn who_collects_for_a_short_time_does_not_wait_for_who_collects_for_a_long_one() {
        let until_us = |collected_us, least_merge_us| {
            let mut until = Until { collected_us, least_merge_us, ..Until::default() };
            until.pass_ended(100_000);
            until.collected_us
        };
        assert_eq!(until_us(Some(900_000), Some(60_000)), Some(160_000));
        assert_eq!(until_us(Some(130_000), Some(60_000)), Some(130_000));
        assert_eq!(until_us(None, Some(60_000)), None);
    }
}
