//! How consumers leave the relay: back to the listener, told goodbye, or closed; and the end of the stream.

use std::sync::Arc;

use super::{Fate, Relay};
use crate::error::Failure;
use crate::error::RRError;
use crate::net::clock;
use crate::net::conn::Conn;
use crate::net::socket::half_close;
use crate::session::{self, Role};
use crate::stream::egress::consumer::{Consumer, Place, Who};
use crate::stream::egress::join::Seen;
use crate::stream::front::RRStream;
use crate::stream::handover::Delivery;
use crate::stream::peer::{Peer, RRSession};

/// A consumer that was told goodbye may take this long to take it.
const GOODBYE_MS: u64 = 3_000;

/// The same where the target connects again afterwards: the media that flows meanwhile is lost to it.
const SHORT_GOODBYE_MS: u64 = 500;

impl Relay {
    pub(super) fn leave(&mut self, slot: usize, fate: Fate, now_us: u64) {
        match fate {
            Fate::Stays => {}
            Fate::Over(failure) => {
                if let Some(consumer) = self.take(slot) {
                    self.over(consumer, &failure);
                }
            }
            Fate::Listener(event) => self.finish(slot, event, now_us),
        }
    }

    /// A consumer has had all there was, or wants no more: a player goes back to the listener, a target is told
    /// goodbye and closed once it has heard that.
    fn finish(&mut self, slot: usize, event: Option<session::Event>, now_us: u64) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        if let Who::Target(_) = &consumer.who {
            if let Some(session) = consumer.conn.client() {
                session.close();
            }
            let goes_on = consumer.push.as_ref().is_some_and(|push| push.parting.is_some());
            consumer.close_by_ms = Some(now_us / 1000 + if goes_on { SHORT_GOODBYE_MS } else { GOODBYE_MS });
            if consumer.conn.flush().is_ok() {
                half_close(&mut consumer.conn.socket);
            }
            return;
        }
        let ended = consumer.leave_at.is_some();
        let stream_id = consumer.rewrite.stream_id;
        let Some(mut consumer) = self.take(slot) else { return };
        if ended && let Some(session) = consumer.conn.server() {
            session.end_play(stream_id);
        }
        self.poller.remove(&mut consumer.conn.socket);
        let mut plays = std::mem::take(&mut consumer.plays);
        let another = match &event {
            Some(session::Event::Play { stream_id: other, .. }) => !ended && *other != stream_id,
            _ => false,
        };
        let guest = match &consumer.who {
            Who::Player(record) if another => {
                let record = Arc::clone(record);
                Some(consumer.make_guest(&self.stream, &record))
            }
            _ => None,
        };
        let (conn, Who::Player(record)) = consumer.into_parts() else { return };
        match guest {
            Some(play) => {
                self.guests.push(play.guest());
                plays.push(play);
            }
            // First: at the listener it may play this stream again before the next line.
            None => self.stream.leave(&record),
        }
        let event = event.filter(|event| !matches!(event, session::Event::EndPlay { .. }));
        let peer = Peer { conn, record, plays };
        if event.is_some() || peer.plays.is_empty() {
            self.stream.upcalls().reclaim(peer, event);
        } else if let Err((mut peer, failure)) = RRStream::resume(peer) {
            half_close(&mut peer.conn.socket);
            self.stream.upcalls().session_over(&peer.record, &failure);
        }
    }

    /// The players who wait for a first message are told that none will come, where that is known.
    pub(super) fn refuse_waiting(&mut self, now_us: u64) {
        let Some(refusal) = self.stream.sources().take_refusal() else { return };
        let waits = |consumer: &Consumer| matches!(consumer.place, Place::Waiting(waits) if waits.fresh);
        let slots = self.consumers.iter().filter(|(_, consumer)| waits(consumer)).map(|(slot, _)| slot);
        for slot in slots.collect::<Vec<_>>() {
            let Some(consumer) = self.consumers.get_mut(slot) else { continue };
            let stream_id = consumer.rewrite.stream_id;
            if let Some(session) = consumer.conn.server() {
                session.fail_play(stream_id, refusal.code, &refusal.failure.text);
                self.leave(slot, Fate::Over(refusal.failure.clone()), now_us);
            }
        }
    }

    fn take(&mut self, slot: usize) -> Option<Box<Consumer>> {
        let mut consumer = self.consumers.try_remove(slot)?;
        self.stream.stats().sent(consumer.take_sent(), clock::now_us());
        self.waiting -= usize::from(consumer.is_waiting());
        Some(consumer)
    }

    /// A consumer's connection ends here.
    pub(super) fn over(&mut self, mut consumer: Box<Consumer>, failure: &Failure) {
        self.poller.remove(&mut consumer.conn.socket);
        let told_goodbye = consumer.close_by_ms.is_some();
        let stream_id = consumer.rewrite.stream_id;
        let push = consumer.push.take();
        match consumer.into_parts() {
            (mut conn, Who::Player(record)) => {
                end_player(&mut conn, &record, stream_id, failure);
                self.stream.upcalls().session_over(&record, failure);
                self.stream.leave(&record);
            }
            (conn, Who::Target(target)) => {
                drop(conn);
                if target.is_stopped() {
                    self.stream.upcalls().target_over(&target);
                } else {
                    self.target_left(&target, push, told_goodbye, failure, clock::now_ms());
                }
            }
        }
    }

    /// The stream stops: everybody who is left is closed.
    pub(super) fn close(&mut self) {
        let failure = Failure::ours(RRError::Kicked, "the stream was stopped");
        // From here on nothing more arrives, so what is drained is all.
        self.stream.close_relay();
        let (join_index, end) = (&self.join_index, Some(self.join_index.head().position));
        self.guests.drain(..).for_each(|guest| {
            guest.serve(join_index, &Seen::default(), false, end);
            self.stream.stats().sent(guest.take_sent(), clock::now_us());
        });
        for target in self.stream.targets() {
            target.stop(0);
        }
        while let Ok(delivery) = self.inbox.try_recv() {
            match delivery {
                Delivery::Player { peer: Peer { mut conn, record, .. }, stream_id, .. } => {
                    end_player(&mut conn, &record, stream_id, &failure);
                    self.stream.upcalls().session_over(&record, &failure);
                }
                Delivery::Target { target, .. } => self.stream.upcalls().target_over(&target),
            }
        }
        let slots: Vec<usize> = self.consumers.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(consumer) = self.take(slot) {
                self.over(consumer, &failure);
            }
        }
    }
}

/// The player hears that it is over, if its socket takes that.
fn end_player(conn: &mut Conn, record: &RRSession, stream_id: u32, failure: &Failure) {
    if !failure.by_peer {
        if let Some(session) = conn.server() {
            session.end_play(stream_id);
        }
        let _ = conn.flush();
    }
    half_close(&mut conn.socket);
    record.set_role(Role::Player);
}
