//! How a stream and its players are offered to another process while the stream runs.

use std::sync::Arc;

use super::Relay;
use crate::error::Result;
use crate::net::event_loop::Io;
use crate::stream::egress::consumer::{Consumer, Who};
use crate::stream::handover::{Delivery, OfOthers};
use crate::stream::offer::{Besides, Offer, OfferedSession, OfferedStream, OfferedTarget, Verdict};
use crate::stream::record::Caller;
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;

impl Relay {
    /// Offers the stream with all players that can go, and those of these targets whose connections can. Each relay adds
    /// its own and does nothing more until the verdict; the one that leads is the last.
    pub(super) fn offer(
        &mut self,
        verdict: Arc<Verdict>,
        mut targets: Vec<(Arc<Target>, Backoff)>,
        caller: Caller<OfferedStream>,
        of_others: Option<Box<OfOthers>>,
        now_us: u64,
    ) {
        self.read_log(now_us);
        let mut of_others = of_others.unwrap_or_default();
        let needed = self.needs_from(of_others.needs_from.take());
        if !self.is_lead() {
            let (offer, players, _) = self.offer_consumers(&verdict, &mut Vec::new(), now_us);
            of_others.players.extend(players);
            of_others.needs_from = needed;
            self.offer = Some(offer);
            return self.pass_on_order(Delivery::Offer { verdict, targets, caller, of_others: Some(of_others) });
        }
        if !caller.take() {
            return;
        }
        let parts = self.stream_parts(needed, now_us);
        let (offer, mut players, targets) = self.offer_consumers(&verdict, &mut targets, now_us);
        self.offer = Some(offer);
        players.extend(of_others.players);
        caller.tell(Ok(OfferedStream { parts, players, targets }));
    }

    /// Makes the states of all that can go.
    fn offer_consumers(
        &mut self,
        verdict: &Arc<Verdict>,
        targets: &mut Vec<(Arc<Target>, Backoff)>,
        now_us: u64,
    ) -> (Offer, Vec<OfferedSession>, Vec<OfferedTarget>) {
        let log = self.stream.log_place().log;
        let (mut slots, mut players, mut pushed) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, consumer) in self.consumers.iter_mut() {
            let record = match &consumer.who {
                Who::Player(record) => Arc::clone(record),
                Who::Target(target) => {
                    let at = targets.iter().position(|(known, _)| Arc::ptr_eq(known, target));
                    let known = at.map(|at| targets.swap_remove(at));
                    if let Some((target, history)) = known
                        && let Some(offered) = pushed_to(consumer, &target, history, &log, now_us / 1000)
                    {
                        slots.push(slot);
                        pushed.push(offered);
                    }
                    continue;
                }
            };
            match player(consumer, &log, now_us / 1000) {
                Ok(player) => {
                    slots.push(slot);
                    players.push((slot, player));
                }
                Err(failure) => log::info!("{} stays in this process: {failure}", record.addr),
            }
        }
        let with_others = |offer: Offer, (slot, player): &(usize, OfferedSession)| match &player.besides {
            Some(besides) => offer.unless_stays(*slot, besides),
            None => offer,
        };
        let offer = players.iter().fold(Offer::new(Arc::clone(verdict), slots), with_others);
        (offer, players.into_iter().map(|(_, player)| player).collect(), pushed)
    }

    /// Lets go of what another process has taken.
    pub(super) fn let_go(&mut self, io: &mut Io<'_>) {
        let Some(offer) = self.offer.take() else { return };
        for slot in offer.taken() {
            drop(self.part_with(slot, io));
        }
    }
}

/// A player as another process gets it.
fn player(consumer: &mut Consumer, log: &[u8], now_ms: u64) -> Result<OfferedSession> {
    let (state, fd) = (consumer.state(log, now_ms)?, consumer.conn.second_fd()?);
    Ok(OfferedSession { state, fd, besides: Besides::of(consumer.foreign_streams()) })
}

/// A target over a connection that can move, and is not about to end; any other is connected anew.
fn pushed_to(
    consumer: &mut Consumer,
    target: &Target,
    history: Backoff,
    log: &[u8],
    now_ms: u64,
) -> Option<OfferedTarget> {
    let ends = consumer.close_by_ms.is_some() || consumer.push.as_ref().is_none_or(|push| push.parting.is_some());
    if ends || target.is_stopped() || consumer.conn.socket.is_tls() {
        return None;
    }
    let state = consumer.push_state(log, history, now_ms).ok()?;
    Some(OfferedTarget { id: target.id, state, fd: consumer.conn.second_fd().ok()? })
}
