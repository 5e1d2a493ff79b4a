//! The memory that the relay gives up when the server's memory is short.

use std::cmp::Reverse;

use super::Relay;
use crate::error::{Failure, RRError};
use crate::net::event_loop::Io;
use crate::stream::log::buffer::Head;
use crate::stream::memory::GiveUp;

/// A consumer with a smaller lag holds little more than the segment that is being written.
const NEAR_BYTES: u64 = 256 * 1024;

/// A consumer with more private memory than this that has taken nothing for [`PRIVATE_MS`] is closed: a jump does not free
/// private memory, and it would be held until `send_ms`.
const PRIVATE_BYTES: usize = 256 * 1024;
const PRIVATE_MS: u64 = 500;

/// A consumer with less private memory holds little more than the message that it is sending.
const LEAST_BYTES: usize = 32 * 1024;

impl Relay {
    /// Carries out a request to give up memory, if there is one.
    pub(super) fn give_up_memory(&mut self, head: Head, io: &mut Io<'_>) {
        // This happens without a request, before memory is short, because a stream that has ended and still sends its
        // last messages gets no requests.
        if self.stream.memory().is_tight() {
            self.drop_idle(io);
        }
        // What each held before it carried out the request: a relay notes that when it takes one, and while there is none.
        let (lag_bytes, held_bytes) = self.stream.relays().most_held(self.number);
        let asked = self.stream.memory().asked(self.number);
        if asked.is_some() || !self.stream.memory().is_asked() {
            self.note_held(head, io.now_us);
        }
        let Some(asked) = asked else { return };
        self.join_index.drop_gop_start();
        self.drop_tail();
        if asked >= GiveUp::Cursors {
            self.drop_lag(lag_bytes, head, io.now_us);
            // Only the owners of these subscriptions know their lag.
            self.registrations.let_go();
        }
        if asked >= GiveUp::Holders {
            self.drop_holders(held_bytes, io);
        }
    }

    /// Closes consumers that hold large headers, or the rest of a large message, for too long.
    fn drop_idle(&mut self, io: &mut Io<'_>) {
        for (_, slot) in self.idle(PRIVATE_BYTES, PRIVATE_MS, io.now_us) {
            self.close_for_memory(slot, io);
        }
    }

    /// Notes what the consumers here hold that hold most, for the other relays.
    fn note_held(&mut self, head: Head, now_us: u64) {
        if self.stream.relays().made() > 1 {
            let lag_bytes = self.furthest(head, now_us);
            let held = self.consumers.iter().map(|(_, consumer)| consumer.idle_bytes(now_us / 1000, 0));
            self.stream.relays().note_held(self.number, lag_bytes, held.max().unwrap_or(0));
        }
    }

    /// Closes the consumers that hold the most private memory while their sockets take nothing, at least one, until
    /// half of that memory is free: at once where the relay's consumers hold no less than half of the `held_bytes` of the
    /// one that holds the most in all relays; otherwise that one goes first.
    fn drop_holders(&mut self, held_bytes: usize, io: &mut Io<'_>) {
        let mut holders = self.idle(LEAST_BYTES, 0, io.now_us);
        let most = holders.iter().map(|&(bytes, _)| bytes).max().unwrap_or(0);
        if most < held_bytes / 2 {
            return;
        }
        holders.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        for (_, slot) in holders {
            self.close_for_memory(slot, io);
            if !self.stream.memory().is_tight() {
                break;
            }
        }
    }

    /// Consumers with more than `bytes` of private memory that have taken nothing for `ms`: the amount and the slot of
    /// each.
    fn idle(&self, bytes: usize, ms: u64, now_us: u64) -> Vec<(usize, usize)> {
        let own = self.consumers.iter().map(|(slot, consumer)| (consumer.idle_bytes(now_us / 1000, ms), slot));
        own.filter(|&(own, _)| own > bytes).collect()
    }

    fn close_for_memory(&mut self, slot: usize, io: &mut Io<'_>) {
        let why = "the memory limit of the server is reached, and the peer takes nothing";
        self.apply(slot, Err(Failure::ours(RRError::Limit, why).into()), io);
    }

    /// The largest lag of a consumer, bytes.
    fn furthest(&mut self, head: Head, now_us: u64) -> u64 {
        let own = self.consumers.iter_mut().flat_map(|(_, consumer)| consumer.own());
        own.map(|subscription| subscription.lag(head, now_us).bytes).max().unwrap_or(0)
    }

    /// Makes every consumer with more than half the largest lag, which in another relay may be `lag_bytes`, jump to the head
    /// and continue at the next key frame.
    fn drop_lag(&mut self, lag_bytes: u64, head: Head, now_us: u64) {
        let furthest = self.furthest(head, now_us).max(lag_bytes);
        let bound = (furthest / 2).max(NEAR_BYTES);
        let (mut jumped, mut messages_dropped) = (0, 0);
        self.consumers.leave_place();
        for (_, consumer) in self.consumers.iter_mut() {
            let counters = consumer.who.counters();
            for subscription in consumer.subscriptions.iter_mut().filter(|subscription| !subscription.is_foreign()) {
                if subscription.lag(head, now_us).bytes <= bound {
                    continue;
                }
                let dropped = subscription.jump(None, head);
                subscription.count_dropped(counters, self.stream.stats().outgoing(self.number), dropped);
                self.has_waiting = true;
                jumped += 1;
                messages_dropped += dropped.msgs;
            }
        }
        if jumped > 0 {
            let name = self.stream.masked_name();
            log::warn!("memory is short: {jumped} consumers of {name} jumped over {messages_dropped} messages");
        }
    }
}
