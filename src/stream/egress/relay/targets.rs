//! The relay's work that only targets need: taking them over from the dialler, changing their settings while they run,
//! and closing them while the stream goes on.

use std::sync::Arc;

use super::Relay;
use crate::config::SlowPolicy;
use crate::error::{Failure, RRError, Result};
use crate::net::conn::Conn;
use crate::session::State;
use crate::stream::egress::consumer::{Consumer, Who};
use crate::stream::egress::push::{Parting, Push};
use crate::stream::egress::subscription::Subscription;
use crate::stream::exported::target::MovedPush;
use crate::stream::front::RRStream;
use crate::stream::log::buffer::Head;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::Target;

impl Relay {
    /// Takes over a target that has had `Publish.Start`.
    pub(super) fn new_target(
        &self,
        target: Arc<Target>,
        mut conn: Conn,
        endpoint: Arc<Endpoint>,
        moved: Option<Box<MovedPush>>,
        now_us: u64,
    ) -> Consumer {
        let stream_id = conn.client().map_or(1, |session| session.stream_id());
        target.move_to(State::Waiting, |event| event);
        let mut subscription =
            Subscription::of_target(Arc::<RRStream>::clone(&self.stream), stream_id, &endpoint.config, now_us);
        subscription.come_to(self.stream.id(), now_us);
        if !self.live && !matches!(self.stream.state(), State::InProgress | State::Recovering) {
            // The media ended while the target was being connected, so the target is released as those that were
            // connected.
            subscription.end_at(self.join_index.head().position);
        }
        let (who, private) = (Who::Target(target), self.stream.memory().private());
        let mut push = Push::new(endpoint, now_us / 1000);
        let mut unsent = Vec::new();
        if let Some(moved) = moved {
            push = push.resumed(moved.ran_ms);
            subscription = subscription.resuming_push(moved.share);
            unsent = moved.unsent;
        }
        let mut consumer = Consumer::new(conn, who, vec![subscription], private, now_us / 1000);
        consumer.resume(unsent);
        consumer.push = Some(Box::new(push));
        consumer
    }

    /// Checks whether the host has changed or stopped the target, and whether there is media for it.
    pub(super) fn check_target(&mut self, slot: usize, head: Head, now_us: u64) -> Result<()> {
        let now_ms = now_us / 1000;
        let (live, media_ms) = (self.live, self.media_ms);
        let Some(consumer) = self.consumers.get_mut(slot) else { return Ok(()) };
        let (Who::Target(target), Some(push)) = (&consumer.who, &consumer.push) else { return Ok(()) };
        match target.stop_by_ms() {
            Some(by) if now_ms >= by => return Err(Failure::ours(RRError::Kicked, "stopped")),
            Some(_) => {
                consumer.own().for_each(|subscription| subscription.end_at(head.position));
            }
            None if push.parting.is_some() => {}
            None => {
                let endpoint = target.endpoint();
                let idle_ms = endpoint.config.idle_ms.map_or(u64::MAX, u64::from);
                if !Arc::ptr_eq(&endpoint, &push.endpoint) {
                    self.update_target(slot, endpoint, now_us);
                } else if live && now_ms.saturating_sub(media_ms.max(push.began_ms)) > idle_ms {
                    self.part(slot, Parting::Idle);
                }
            }
        }
        Ok(())
    }

    /// Applies other settings: some can change on the running connection, others need a new one.
    fn update_target(&mut self, slot: usize, endpoint: Arc<Endpoint>, now_us: u64) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        let Some(push) = &mut consumer.push else { return };
        if !endpoint.config.same_way(&push.endpoint.config) {
            self.part(slot, Parting::Renewed);
            return;
        }
        push.endpoint = Arc::clone(&endpoint);
        for subscription in consumer.own() {
            subscription.update(&endpoint.config, now_us);
            self.filters_pending |= subscription.wants_key_frame();
        }
    }

    /// Closes a target after the message that is half sent; the dialler decides about the next step.
    pub(super) fn part(&mut self, slot: usize, parting: Parting) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        let Some(push) = &mut consumer.push else { return };
        push.parting.get_or_insert(parting);
        consumer.own().for_each(Subscription::end_here);
    }

    /// Tells the dialler of a target whose connection has ended without a stop.
    pub(super) fn target_left(
        &mut self,
        target: &Arc<Target>,
        push: Option<Box<Push>>,
        told_goodbye: bool,
        failure: &Failure,
        now_ms: u64,
    ) {
        let upcalls = self.stream.upcalls();
        let ran_ms = push.as_ref().map_or(0, |push| push.ran_ms(now_ms));
        match push.and_then(|push| push.parting) {
            Some(Parting::Moved { url, text }) => upcalls.target_moved(target, url, &text, ran_ms),
            Some(Parting::Renewed) => upcalls.target_renewed(target),
            Some(Parting::Idle) => {
                upcalls.target_released(target);
                self.has_idle_targets = true;
            }
            None if told_goodbye => {
                upcalls.target_released(target);
                // A publisher that came back meanwhile found the target busy.
                if self.live {
                    upcalls.dial(target);
                }
            }
            None => upcalls.target_lost(target, failure, ran_ms),
        }
    }
}

/// The failure that ends a consumer past its bounds; `None` as long as it may jump.
pub(super) fn too_slow(push: Option<&Push>, behind_ms: u64, slow_ms: u64) -> Option<Failure> {
    let limit_ms = match push {
        None => Some(slow_ms),
        Some(push) => match (push.endpoint.config.slow_policy, push.endpoint.config.slow_ms) {
            (SlowPolicy::Resync, None) => None,
            (_, limit) => Some(limit.unwrap_or(0).into()),
        },
    };
    let limit_ms = limit_ms.filter(|&limit| limit == 0 || behind_ms > limit)?;
    Some(Failure::peers(RRError::Slow, format!("behind for {} ms", behind_ms.max(limit_ms))))
}
