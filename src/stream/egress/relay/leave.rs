//! How consumers leave the relay: back to the listener, by an announced end, or closed; and the end of the stream.

use crossbeam::channel::Receiver;

use super::Relay;
use crate::error::Failure;
use crate::error::RRError;
use crate::net::clock;
use crate::net::conn::Conn;
use crate::net::event_loop::Io;
use crate::net::socket::half_close;
use crate::session::{self, Role, State};
use crate::stream::egress::consumer::{Consumer, Who};
use crate::stream::egress::subscription::Subscription;
use crate::stream::handover::Delivery;
use crate::stream::peer::{Leave, Peer, Stays};
use crate::stream::record::RRSession;
use crate::stream::remote::source::Refusal;

/// How long a target may take to receive its closing commands before it is closed.
const GOODBYE_MS: u64 = 3_000;

/// The shorter time for a target that connects again afterwards, because it loses the media that flows meanwhile.
const SHORT_GOODBYE_MS: u64 = 500;

impl Relay {
    pub(super) fn apply(&mut self, slot: usize, stays: Stays, io: &mut Io<'_>) {
        if let Err(Leave::Over(failure)) = stays
            && let Some(consumer) = self.take(slot)
        {
            self.end(consumer, &failure, io);
        }
    }

    /// Ends the subscriptions of a consumer that are at their end, or acts on its peer's command. If no subscription of
    /// this stream is left, a player's connection goes to the listener or to the relay of another stream; a target, and
    /// a player over HTTP whose answer is complete, gets its last output and is closed once its peer has received that.
    pub(super) fn between(&mut self, slot: usize, io: &mut Io<'_>) {
        let now_us = io.now_us;
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        if let Who::Target(_) = &consumer.who {
            if let Some(session) = consumer.conn.client() {
                session.close();
            }
            let goes_on = consumer.push.as_ref().is_some_and(|push| push.parting.is_some());
            self.say_goodbye(slot, now_us / 1000 + if goes_on { SHORT_GOODBYE_MS } else { GOODBYE_MS });
            return;
        }
        let said = consumer.said.take().map(|event| *event);
        for ended in consumer.remove(Subscription::has_ended) {
            if let Some(session) = consumer.conn.inbound() {
                session.end_play(ended.stream_id());
            }
        }
        if consumer.conn.inbound().is_some_and(|session| session.is_over()) {
            self.say_goodbye(slot, now_us / 1000 + GOODBYE_MS);
            return;
        }
        let next = match said {
            Some(session::Event::EndPlay { stream_id }) => {
                consumer.remove(|subscription| subscription.stream_id() == stream_id);
                None
            }
            Some(event) => {
                match event {
                    // The new play replaces the old one.
                    session::Event::Play { stream_id, .. } => {
                        consumer.remove(|subscription| subscription.stream_id() == stream_id)
                    }
                    _ => consumer.remove(|subscription| !subscription.is_foreign()),
                };
                Some(event)
            }
            None => None,
        };
        if next.is_none() && !consumer.is_due && consumer.has_own() {
            // The peer's next commands may have been read from the socket already.
            io.again(slot);
            return;
        }
        self.hand_on(slot, next, io);
    }

    /// Starts sending the last output; the consumer has until `by_ms` to take it.
    fn say_goodbye(&mut self, slot: usize, by_ms: u64) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        consumer.close_by_ms = Some(by_ms);
        consumer.finish();
    }

    /// Hands a player's connection on: to the listener, which handles `next` or the answer to the open question, or to
    /// the relay of the newest stream that it still plays.
    fn hand_on(&mut self, slot: usize, next: Option<session::Event>, io: &mut Io<'_>) {
        let Some(mut consumer) = self.take(slot) else { return };
        io.remove(&mut consumer.conn.socket);
        let (question, is_due) = (consumer.question.take(), consumer.is_due);
        let (conn, Who::Player(record), mut subscriptions) = consumer.into_parts() else { return };
        for subscription in &mut subscriptions {
            if let Some(registration) = subscription.leave_home(&self.join_index, self.live) {
                self.registrations.add(registration);
            }
        }
        let peer = Peer { subscriptions, question, ..Peer::new(conn, record) };
        if next.is_some() || is_due || peer.subscriptions.is_empty() {
            self.stream.upcalls().reclaim(peer, next);
        } else {
            self.stream.upcalls().pass_on(peer);
        }
    }

    /// Tells players that wait for a first message that none will come, after a source has been refused. A player's
    /// other plays go on; without others its connection ends.
    pub(super) fn refuse_waiting(&mut self, refusal: &Refusal, io: &mut Io<'_>) {
        for slot in self.slots() {
            let Some(consumer) = self.consumers.get_mut(slot) else { continue };
            let Some(session) = consumer.conn.inbound() else { continue };
            let (mut refused, mut goes_on) = (false, false);
            for subscription in &mut consumer.subscriptions {
                if !subscription.is_foreign() && subscription.waits().is_some_and(|(_, waits)| waits.fresh) {
                    session.fail_play(subscription.stream_id(), refusal.code, &refusal.failure.text);
                    subscription.end_here();
                    refused = true;
                } else {
                    goes_on = true;
                }
            }
            if refused && !goes_on {
                self.apply(slot, Err(refusal.failure.clone().into()), io);
            }
        }
    }

    /// The slots of all consumers, copied, because some consumers may leave during the walk.
    pub(super) fn slots(&self) -> Vec<usize> {
        self.consumers.iter().map(|(slot, _)| slot).collect()
    }

    pub(super) fn take(&mut self, slot: usize) -> Option<Box<Consumer>> {
        let mut consumer = self.consumers.try_remove(slot)?;
        self.over_tls -= usize::from(consumer.conn.socket.is_tls());
        self.stream.relays().left(self.number);
        self.outgoing().sent(consumer.take_sent(), clock::now_us());
        if self.consumers.is_empty() {
            // There may be no tick before the next one comes.
            self.stream.stats().lag(self.number, 0);
        }
        Some(consumer)
    }

    /// Ends a consumer's connection.
    pub(super) fn end(&mut self, mut consumer: Box<Consumer>, failure: &Failure, io: &mut Io<'_>) {
        io.remove(&mut consumer.conn.socket);
        let told_goodbye = consumer.close_by_ms.is_some();
        let is_between = consumer.is_between();
        let push = consumer.push.take();
        match consumer.into_parts() {
            (mut conn, Who::Player(record), subscriptions) => {
                end_player(&mut conn, &record, is_between.then_some(&*subscriptions), failure);
                self.stream.upcalls().session_over(&record, failure);
                // This comes last: dropping its subscriptions takes the player off the books.
                drop(subscriptions);
            }
            (conn, Who::Target(target), _) => {
                drop(conn);
                if target.is_stopped() {
                    self.stream.upcalls().target_over(&target);
                } else {
                    self.target_left(&target, push, told_goodbye, failure, clock::now_ms());
                }
            }
        }
    }

    /// Closes all remaining consumers when the stream stops or has failed. In a failed stream the task that panicked
    /// ends the sessions too, for the same cause; only the first end of a session is reported.
    pub(super) fn close(&mut self, inbox: &Receiver<Box<Delivery>>, io: &mut Io<'_>) {
        let failure = match self.stream.state() {
            State::Failed => Failure::ours(RRError::Panic, "the stream has failed"),
            _ => Failure::ours(RRError::Kicked, "the stream was stopped"),
        };
        // With the link closed nothing more arrives, so draining the inbox once is enough.
        self.stream.close_relay(self.number);
        self.stream.relays().note_held(self.number, 0, 0);
        let end = Some(self.join_index.head().position);
        let outgoing = self.stream.stats().outgoing(self.number);
        self.registrations.tell(false, end, outgoing, clock::now_us());
        for target in self.stream.book().targets().iter().filter(|_| self.is_lead()) {
            target.stop(0);
        }
        while let Ok(delivery) = inbox.try_recv() {
            match *delivery {
                Delivery::Player(Peer { mut conn, record, subscriptions, .. }) => {
                    end_player(&mut conn, &record, Some(&subscriptions), &failure);
                    self.stream.upcalls().session_over(&record, &failure);
                }
                Delivery::Target { target, .. } => self.stream.upcalls().target_over(&target),
                // A caller learns that there is no answer.
                Delivery::Export { .. }
                | Delivery::Offer { .. }
                | Delivery::ExportTarget { .. }
                | Delivery::OfferProcess { .. }
                | Delivery::Refuse(_)
                | Delivery::Adopt(_)
                | Delivery::GoOn { .. } => {}
            }
        }
        for slot in self.slots() {
            if let Some(consumer) = self.take(slot) {
                self.end(consumer, &failure, io);
            }
        }
    }
}

/// Ends a player's connection, after telling it that these plays are over, if its socket takes that. `None` in the
/// middle of a message, where any output would become a part of the message.
fn end_player(conn: &mut Conn, record: &RRSession, plays: Option<&[Subscription]>, failure: &Failure) {
    if let Some(plays) = plays {
        if let Some(session) = conn.inbound().filter(|_| !failure.by_peer) {
            plays.iter().for_each(|subscription| session.end_play(subscription.stream_id()));
        }
        let _ = conn.flush();
    }
    half_close(&mut conn.socket);
    record.set_role(Role::Player);
}
