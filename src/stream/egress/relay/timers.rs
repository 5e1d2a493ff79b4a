//! What the relay looks after now and then: timeouts, pings, orders, and the bound of everybody's lag.

use super::targets::too_slow;
use super::{Fate, Relay, slow_event};
use crate::error::{Failure, RRError};
use crate::stream::egress::consumer::{Consumer, Place, Who};
use crate::stream::log::buffer::Head;
use crate::stream::peer::Order;

/// At most one report of a slow consumer in this time.
const SLOW_REPORT_MS: u64 = 1_000;

impl Relay {
    pub(super) fn tick(&mut self, now_us: u64) {
        let head = self.join_index.head();
        self.give_up_memory(head, now_us);
        self.warn_of_missing_key_frame(now_us);
        let slots: Vec<usize> = self.consumers.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let fate = self.check_timers(slot, head, now_us);
            if !matches!(fate, Fate::Stays) {
                self.leave(slot, fate, now_us);
            }
        }
        // The stream's own lag is that of whoever is furthest behind.
        let lag_ms = |consumer: &Consumer| consumer.who.counters().queue_ms.get();
        let lag_ms = self.consumers.iter().map(|(_, consumer)| lag_ms(consumer)).max().unwrap_or(0);
        self.stream.stats().lag(lag_ms);
    }

    fn check_timers(&mut self, slot: usize, head: Head, now_us: u64) -> Fate {
        let now_ms = now_us / 1000;
        let Some(consumer) = self.consumers.get_mut(slot) else { return Fate::Stays };
        if let Some(by) = consumer.close_by_ms {
            let over = now_ms >= by;
            return if over { Fate::Over(Failure::ours(RRError::Closed, "the stream has ended")) } else { Fate::Stays };
        }
        match &consumer.who {
            Who::Player(record) => {
                while let Some(order) = record.next_order() {
                    match order {
                        Order::Close(text) => return Fate::Over(Failure::ours(RRError::Kicked, text)),
                        Order::Reconnect(url, text) => {
                            if let Some(session) = consumer.conn.server() {
                                session.reconnect_request(url.as_deref(), &text);
                            }
                        }
                        // Answers to an ask that is over.
                        Order::Allow(_) | Order::Deny(..) | Order::Redirect(_) => {}
                    }
                }
            }
            Who::Target(_) => {
                let fate = self.check_target(slot, head, now_us);
                if !matches!(fate, Fate::Stays) {
                    return fate;
                }
            }
        }
        let Some(consumer) = self.consumers.get_mut(slot) else { return Fate::Stays };
        if consumer.leave_at.is_some() && !consumer.blocked && consumer.has_reached_end() {
            return Fate::Listener(None);
        }
        consumer.measure(head, now_us);
        let send_ms = self.timeouts.send_ms;
        let own_ms = consumer.push.as_ref().and_then(|push| push.plan.config.send_ms);
        let send_ms = own_ms.map_or(send_ms, u64::from);
        if consumer.blocked && now_ms.saturating_sub(consumer.progress_ms) > send_ms {
            return Fate::Over(Failure::peers(RRError::Timeout, format!("took nothing for {send_ms} ms")));
        }
        // One whose socket takes nothing has `send_ms`: a ping would not reach it. An open question is the listener's.
        if !consumer.blocked
            && let Err(failure) = consumer.conn.handle_timeout(now_ms)
        {
            return Fate::Over(failure);
        }
        self.bound_lag(slot, head, now_us)
    }

    /// A consumer past its lag bound jumps forward; one that does so for too long is closed.
    fn bound_lag(&mut self, slot: usize, head: Head, now_us: u64) -> Fate {
        let now_ms = now_us / 1000;
        let Some(consumer) = self.consumers.get_mut(slot) else { return Fate::Stays };
        let slow_ms = u64::from(self.stream.config().slow_ms);
        if let Some(since) = consumer.slow_since_ms.filter(|_| consumer.is_stuck())
            && let Some(failure) = too_slow(consumer, now_ms.saturating_sub(since), slow_ms)
        {
            return Fate::Over(failure);
        }
        let bounds = consumer.bounds;
        if consumer.blocked {
            for play in &mut consumer.plays {
                let lag = play.lag(now_us);
                if lag.bytes > bounds.bytes || lag.ms > bounds.ms {
                    play.fall_back();
                    consumer.who.counters().dropped.add(lag.messages, lag.bytes);
                }
            }
        }
        let counts = consumer.caught_up || now_ms.saturating_sub(consumer.joined_ms) > bounds.ms.saturating_mul(2);
        // Who joins has the cached group before it; beyond that its lag in bytes counts from the beginning.
        let group = if counts { 0 } else { u64::from(self.stream.config().gop_bytes) };
        let lag = consumer.lag(head, now_us);
        let is_within = lag.bytes <= bounds.bytes.saturating_add(group) && (!counts || lag.ms <= bounds.ms);
        if !consumer.is_stuck() || is_within {
            return Fate::Stays;
        }
        if consumer.push.is_some()
            && let Some(failure) = too_slow(consumer, 0, slow_ms)
        {
            return Fate::Over(failure);
        }
        let own = match &consumer.place {
            Place::At(cursor) => cursor.position(),
            Place::Waiting(_) => return Fate::Stays,
        };
        // A key frame ahead of it that is itself within the bounds, or the next one.
        let ahead = self.join_index.newest_key().filter(|key| {
            let lag = key.cursor.clone().lag(head, now_us);
            key.cursor.position() > own && lag.bytes <= bounds.bytes && lag.ms <= bounds.ms
        });
        let waits = ahead.is_none();
        let (messages, bytes) = consumer.jump(ahead, head);
        self.waiting += usize::from(waits);
        self.stream.stats().dropped(consumer.who.counters(), messages, bytes);
        consumer.slow_since_ms.get_or_insert(now_ms);
        if consumer.slow_told_ms == 0 || now_ms.saturating_sub(consumer.slow_told_ms) >= SLOW_REPORT_MS {
            consumer.slow_told_ms = now_ms;
            let event = slow_event(&self.stream, consumer, i64::try_from(messages).unwrap_or(i64::MAX));
            log::warn!("{} is too slow: {messages} messages dropped, {} ms behind", name_of(&consumer.who), lag.ms);
            self.stream.upcalls().event(event);
        }
        Fate::Stays
    }
}

fn name_of(who: &Who) -> String {
    match who {
        Who::Player(record) => format!("player {}", record.addr),
        Who::Target(target) => format!("target {}", crate::log::mask_url(&target.way().url)),
    }
}
