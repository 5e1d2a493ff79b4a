//! How players and targets, and the tail of a stream's log, move to another process, and how those of another process
//! continue here.

use std::sync::Arc;

use std::os::fd::OwnedFd;

use super::{Relay, begins};
use crate::config::media;
use crate::error::{Failure, RRError};
use crate::net::event_loop::Io;
use crate::stream::egress::consumer::Who;
use crate::stream::egress::join::JoinIndex;
use crate::stream::egress::relay::tail::Tail;
use crate::stream::egress::subscription::Subscription;
use crate::stream::exported;
use crate::stream::exported::stream::{ExportedStream, StreamParts, ToExport};
use crate::stream::exported::target::{About, Pause};
use crate::stream::front::RRStream;
use crate::stream::handover::{Delivery, OfOthers};
use crate::stream::log::cursor::Cursor;
use crate::stream::log::lineage::LogPlace;
use crate::stream::peer::Peer;
use crate::stream::record::{Caller, Export, TargetExport};
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;

/// What a subscription from another process finds here.
struct Here<'a> {
    stream: &'a RRStream,
    tail: Option<&'a Tail>,
    join_index: &'a JoinIndex,
}

impl Here<'_> {
    /// Lets it go on where it was there. False where it comes from nowhere, or that place has not come along: it joins as
    /// any other does.
    fn go_on(&self, subscription: &mut Subscription, is_player: bool, now_us: u64) -> bool {
        let Some(share) = subscription.take_moved() else { return false };
        let place = share.place.as_ref().and_then(|place| self.stream.ingest().place_of(place));
        let Some(position) = place else { return false };
        if share.waits {
            subscription.go_on_behind(position);
            return false;
        }
        let Some(cursor) = self.tail.and_then(|tail| tail.message_at(position)) else { return false };
        subscription.go_on(cursor, &share, now_us);
        // It had not got all that it wants: that comes as when it asks for it, or its new settings do.
        if is_player {
            let missing = |kind: u32| (share.missing & kind != 0).then_some(true);
            subscription.receive(missing(media::AUDIO), missing(media::VIDEO), self.join_index);
        } else {
            subscription.await_key_frame_for(share.missing, share.missing_tracks);
        }
        true
    }
}

impl Relay {
    /// Keeps the log from here on for consumers that come from another process within this time.
    /// `bytes` of it come along.
    pub(in crate::stream) fn keeping_tail(self, begin: Cursor, bytes: u64, until_us: u64) -> Self {
        Self { tail: Some(Tail::new(begin, bytes, until_us)), ..self }
    }

    /// Lets the tail go once nobody is to come for it, or where it keeps more of the log than joiners and the slowest
    /// consumers may.
    pub(super) fn bound_tail(&mut self, now_us: u64) {
        let (head, bound) = (self.join_index.head(), self.tail_bytes());
        self.tail.take_if(|tail| tail.is_over(head, bound, now_us));
    }

    /// The first to go where memory is short.
    pub(super) fn drop_tail(&mut self) {
        self.tail = None;
    }

    /// As much of the log as the slowest joiner may be behind.
    fn tail_bytes(&self) -> u64 {
        let config = self.stream.config();
        u64::from(config.queue_bytes) + u64::from(config.gop_bytes)
    }

    /// Lets the subscription of a player from another process go on where it was there, as far as that came along; otherwise it
    /// joins as any other does.
    pub(super) fn resume(&mut self, slot: usize, now_us: u64) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        let is_player = matches!(consumer.who, Who::Player(_));
        let here = Here { stream: &self.stream, tail: self.tail.as_ref(), join_index: &self.join_index };
        for subscription in &mut consumer.subscriptions {
            if here.go_on(subscription, is_player, now_us) {
                begins(&self.stream, &consumer.who, &mut consumer.conn, now_us);
            }
        }
    }

    /// Lets the plays of this stream go on that come from another process over the connection of another stream's relay,
    /// and passes the connection on to there. Nothing is sent or read before.
    pub(super) fn pass_on_moved(&mut self, mut peer: Peer, now_us: u64) {
        self.read_log(now_us);
        let here = Here { stream: &self.stream, tail: self.tail.as_ref(), join_index: &self.join_index };
        for subscription in &mut peer.subscriptions {
            if !subscription.come_to(self.stream.id(), now_us) {
                continue;
            }
            here.go_on(subscription, true, now_us);
            let point = subscription.waits().filter(|_| self.live);
            let point = point.and_then(|(start, waits)| self.join_index.place(start, waits));
            if let Some(point) = point {
                subscription.join(&point, now_us);
            }
            if let Some(registration) = subscription.leave_home(&self.join_index, self.live) {
                self.registrations.add(registration);
            }
        }
        self.stream.upcalls().pass_on(peer);
    }

    /// Gives a player away; where it stays, whoever waits for the outcome learns why.
    pub(super) fn export(&mut self, slot: usize, room: usize, caller: &Caller<Export>, io: &mut Io<'_>) {
        if !caller.take() {
            return;
        }
        let log = self.stream.log_place().log;
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        let Some(state) = exported::fitting(consumer.state(&log, io.now_us / 1000), room, caller) else { return };
        if let Some((fd, subscriptions)) = self.part_with(slot, io) {
            caller.tell(Ok(Export::Gone { fd, state }));
            // Last: dropping its subscriptions takes the player off the books.
            drop(subscriptions);
        }
    }

    /// Ends a player or target here that goes on in another process.
    pub(super) fn part_with(&mut self, slot: usize, io: &mut Io<'_>) -> Option<(OwnedFd, Vec<Subscription>)> {
        let mut consumer = self.take(slot)?;
        io.remove(&mut consumer.conn.socket);
        let (conn, who, subscriptions) = consumer.into_parts();
        match who {
            Who::Player(record) => self.stream.upcalls().session_exported(&record),
            Who::Target(target) => self.stream.upcalls().target_exported(&target),
        }
        Some((conn.into_fd(), subscriptions))
    }

    /// Gives a target away: with its connection, or without it, to connect `anew`, over TLS, whose keys stay here. A target
    /// whose connection is about to end, or has ended, is one that the dialler exports.
    pub(super) fn export_target(
        &mut self,
        target: &Arc<Target>,
        history: Backoff,
        (room, anew): (usize, bool),
        caller: Caller<TargetExport>,
        io: &mut Io<'_>,
    ) {
        let now_ms = io.now_us / 1000;
        let is_it = |who: &Who| matches!(who, Who::Target(other) if Arc::ptr_eq(other, target));
        let slot = self.consumers.iter().find(|(_, consumer)| is_it(&consumer.who)).map(|(slot, _)| slot);
        let Some(slot) = slot.filter(|_| !target.is_stopped()) else {
            return self.stream.upcalls().target_export(target, room, caller);
        };
        // New settings may need another connection. Only a stopped target is over.
        let _ = self.check_target(slot, self.join_index.head(), io.now_us);
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        if consumer.close_by_ms.is_some() || consumer.push.as_ref().is_none_or(|push| push.parting.is_some()) {
            let failure = Failure::ours(RRError::Closed, "its connection was about to end");
            self.apply(slot, Err(failure.into()), io);
            return self.stream.upcalls().target_export(target, room, caller);
        }
        if !caller.take() {
            return;
        }
        let anew = anew || consumer.conn.socket.is_tls();
        let state = if anew {
            About::of(target, history).paused(Pause::Waits(0), now_ms)
        } else {
            consumer.push_state(&self.stream.log_place().log, history, now_ms)
        };
        let Some(state) = exported::fitting_or(state, room, &caller, TargetExport::Needs) else { return };
        let Some(mut consumer) = self.take(slot) else { return };
        io.remove(&mut consumer.conn.socket);
        if anew && consumer.is_between() {
            if let Some(session) = consumer.conn.client() {
                session.close();
            }
            consumer.finish();
        }
        let (conn, ..) = consumer.into_parts();
        self.stream.upcalls().target_exported(target);
        caller.tell(Ok(TargetExport::Gone { fd: (!anew).then(|| conn.into_fd()), state }));
    }

    /// Gives what the state is made of with which the stream goes on in another process, once all relays have said what they
    /// need of the log.
    pub(super) fn export_stream(
        &mut self,
        room: usize,
        caller: Caller<ToExport>,
        of_others: Option<Box<OfOthers>>,
        now_us: u64,
    ) {
        self.read_log(now_us);
        let mut of_others = of_others.unwrap_or_default();
        of_others.needs_from = self.needs_from(of_others.needs_from);
        if !self.is_lead() {
            return self.pass_on_order(Delivery::Export { room, caller, of_others: Some(of_others) });
        }
        if caller.take() {
            caller.tell(Ok(ToExport::Parts(self.stream_parts(of_others.needs_from, now_us))));
        }
    }

    /// From where on the log is needed here, or by those that have said so.
    pub(super) fn needs_from(&mut self, others: Option<Cursor>) -> Option<Cursor> {
        let head = self.join_index.head().position;
        let (bound, group_bytes) = (self.tail_bytes(), u64::from(self.stream.config().gop_bytes));
        let own = self.consumers.iter_mut().flat_map(|(_, consumer)| consumer.own());
        let of_others = self.registrations.places().filter(|cursor| head.saturating_sub(cursor.position()) <= bound);
        // A target may be further behind than players.
        let needed = own.filter_map(|subscription| {
            let most = subscription.may_be_behind().saturating_add(group_bytes);
            subscription.needs_from().filter(|cursor| head.saturating_sub(cursor.position()) <= most)
        });
        needed.chain(of_others).chain(others).min_by_key(Cursor::position)
    }

    /// What the state is made of, with the log from `needed` or from the newest key frame on.
    pub(super) fn stream_parts(&self, needed: Option<Cursor>, now_us: u64) -> Box<StreamParts> {
        let (head, bound) = (self.join_index.head().position, self.tail_bytes());
        let newest_key = self.join_index.newest_key().cloned();
        let key = newest_key.iter().map(|key| key.cursor.clone());
        let key = key.filter(|cursor| head.saturating_sub(cursor.position()) <= bound);
        let within = needed.into_iter().chain(key);
        let begin = within.min_by_key(Cursor::position).unwrap_or_else(|| self.join_index.here().cursor);
        let headers = newest_key.map_or_else(|| self.join_index.here().headers, |key| key.headers);
        let stream = ExportedStream {
            name: self.stream.name().clone(),
            config: (*self.stream.config()).clone(),
            reserved: self.stream.book().is_reserved(),
            clock: self.stream.ingest().clock_state(now_us),
            from: LogPlace { position: begin.position(), ..self.stream.log_place() },
            headers: headers.headers().iter().map(|header| (header.type_id, header.body.to_vec())).collect(),
            tail: Vec::new(),
            flags: Vec::new(),
            publisher_moves: self.stream.book().publisher_can_move(),
        };
        Box::new(StreamParts::new(stream, begin, head))
    }
}
