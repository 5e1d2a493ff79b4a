//! The relay's periodic work: timeouts, pings, orders, and the bound on each consumer's lag.

use super::Relay;
use super::targets::too_slow;
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::net::event_loop::Io;
use crate::stream::egress::consumer::Who;
use crate::stream::log::buffer::Head;
use crate::stream::peer::Leave;
use crate::stream::record::Order;

/// A slow consumer is reported at most once in this time.
const SLOW_REPORT_MS: u64 = 1_000;

impl Relay {
    /// Checks its consumers; all of them if somebody has called (`nudged`).
    pub(super) fn tick(&mut self, nudged: bool, io: &mut Io<'_>) {
        let now_us = io.now_us;
        let head = self.join_index.head();
        self.give_up_memory(head, io);
        self.bound_tail(now_us);
        self.warn_of_missing_key_frame(now_us);
        if self.is_pulled {
            self.tell_via();
        }
        let slots = self.consumers.slots_to_check(nudged);
        for &slot in &slots {
            let stays = self.check_timers(slot, head, io);
            self.apply(slot, stays.map_err(Leave::Over), io);
        }
        let checked = slots.iter().filter_map(|&slot| self.consumers.get(slot));
        let lag_ms = checked.map(|consumer| consumer.who.counters().queue_ms.get()).max().unwrap_or(0);
        let lag_ms = lag_ms.max(self.consumers.lag_ms_in_step(head, now_us));
        self.stream.stats().lag(self.number, lag_ms);
    }

    fn check_timers(&mut self, slot: usize, head: Head, io: &mut Io<'_>) -> Result<()> {
        let now_us = io.now_us;
        let now_ms = now_us / 1000;
        let Some(consumer) = self.consumers.get_mut(slot) else { return Ok(()) };
        if let Some(by) = consumer.close_by_ms {
            let over = now_ms >= by;
            return if over { Err(Failure::ours(RRError::Closed, "the stream has ended")) } else { Ok(()) };
        }
        let mut wanted = None;
        match &consumer.who {
            Who::Player(record) => {
                let asks = consumer.question.is_some();
                let next = || if asks { record.next_order_beside_answers() } else { record.next_order() };
                while let Some(order) = next() {
                    match order {
                        Order::Close(text) => return Err(Failure::ours(RRError::Kicked, text)),
                        Order::Reconnect(url, text) => {
                            if let Some(session) = consumer.conn.inbound() {
                                session.reconnect_request(url.as_deref(), &text);
                            }
                        }
                        Order::Export { room, caller } => wanted = Some((room, caller)),
                        // The session's question has been answered before.
                        Order::Allow(_) | Order::Deny(..) | Order::Redirect(_) | Order::Answer(..) => {}
                    }
                }
            }
            Who::Target(_) => self.check_target(slot, head, now_us)?,
        }
        if let Some((room, caller)) = wanted {
            self.export(slot, room, &caller, io);
        }
        let Some(consumer) = self.consumers.get_mut(slot) else { return Ok(()) };
        if let (Some(question), Who::Player(record)) = (&consumer.question, &consumer.who) {
            consumer.is_due |= now_ms >= question.by_ms || record.has_orders();
        }
        if !consumer.blocked && consumer.is_done() {
            self.between(slot, io);
            return Ok(());
        }
        // A blocked consumer takes no part in the pass, in which other consumers follow their foreign logs; without
        // this call its foreign cursors would keep other streams' logs in memory.
        consumer.follow(now_us);
        consumer.measure(head, now_us);
        let send_ms = self.timeouts.send_ms;
        let own_ms = consumer.push.as_ref().and_then(|push| push.endpoint.config.send_ms);
        let send_ms = own_ms.map_or(send_ms, u64::from);
        if consumer.blocked && now_ms.saturating_sub(consumer.progress_ms) > send_ms {
            return Err(Failure::peers(RRError::Timeout, format!("took nothing for {send_ms} ms")));
        }
        // A ping would not reach a peer whose socket takes nothing; `send_ms` is the deadline of such a peer.
        if !consumer.blocked {
            if self.live && consumer.own().any(|subscription| subscription.is_waiting()) {
                // The stream has media, although the key frame for this player has not come.
                if let Some(session) = consumer.conn.inbound() {
                    session.begin_media(now_ms);
                }
            }
            // While a question is open, no other time of the session runs, and that one is the listener's.
            if consumer.question.is_none() {
                consumer.conn.handle_timeout(now_ms)?;
            }
        }
        self.bound_lag(slot, head, now_us)
    }

    /// A subscription past its lag bound jumps forward; a consumer that stays past its bound for too long is closed.
    fn bound_lag(&mut self, slot: usize, home: Head, now_us: u64) -> Result<()> {
        let now_ms = now_us / 1000;
        let Some(consumer) = self.consumers.get_mut(slot) else { return Ok(()) };
        if !consumer.is_stuck(now_us) {
            return Ok(());
        }
        let (who, push) = (&consumer.who, consumer.push.as_deref());
        for subscription in &mut consumer.subscriptions {
            let slow_ms = u64::from(subscription.stream().config().slow_ms);
            if let Some(behind_ms) = subscription.slow_ms(now_ms)
                && let Some(failure) = too_slow(push, behind_ms, slow_ms)
            {
                return Err(failure);
            }
            let head = subscription.head(home);
            let Some(lag) = subscription.past_bounds(head, now_us) else { continue };
            if push.is_some()
                && let Some(failure) = too_slow(push, 0, slow_ms)
            {
                return Err(failure);
            }
            // Jump to a key frame ahead that is itself within the bounds, or wait for the next one.
            let ahead = subscription.key_frame_ahead(&self.join_index, head, now_us);
            self.has_waiting |= ahead.is_none();
            let dropped = subscription.jump(ahead, head);
            subscription.count_dropped(who.counters(), self.stream.stats().outgoing(self.number), dropped);
            if subscription.note_slow(now_ms, SLOW_REPORT_MS) {
                let ((subject, name), messages) = (told_of(who), dropped.msgs);
                log::warn!(target: subject, "{name} is too slow: {messages} messages dropped, {} ms behind", lag.ms);
                let event = who.slow_event(subscription, i64::try_from(messages).unwrap_or(i64::MAX));
                self.stream.upcalls().event(event);
            }
        }
        Ok(())
    }
}

/// The `target` of log lines about a consumer, and the consumer's name.
fn told_of(who: &Who) -> (&'static str, String) {
    match who {
        Who::Player(record) => (told::SESSION, format!("player {}", record.addr)),
        Who::Target(target) => (told::TARGET, format!("target {}", crate::log::mask_url(&target.way().url))),
    }
}
