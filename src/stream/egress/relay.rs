//! relay: the task (of `relayDataThread`) that follows a stream's log and feeds its players and targets. While its thread
//! sleeps, accumulate's thread may do so for it (`media_turn`).
//!
//! The relay owns their sockets, for reading too. In a round of its loop it takes in new connections; advances the join
//! index over new messages; sends to all consumers with room (the pass); and reads ready sockets. The tick checks
//! timers. The relay never waits for a consumer: a socket that takes no more is left until the poller reports it
//! writable, its lag is bounded, and past the bound the consumer jumps forward to a key frame.
//!
//! A large stream has several relays (`spread`), which follow the log independently. The first one leads: it has all targets,
//! and does what is done once for the stream. The relays share nothing but the log, and never wait for each other.

mod ahead;
mod consumers;
mod export;
mod input;
mod leave;
mod media_turn;
mod memory_pressure;
mod missing_key_frame;
mod offer;
mod pass;
mod spread;
mod tail;
mod targets;
mod timers;

use std::sync::Arc;

use crossbeam::channel::Receiver;

use crate::config::READ_LITTLE_BYTES;
use crate::net::conn::Conn;
use crate::net::event_loop::{Io, Task};
use crate::net::poll::Ready;
use crate::session::{Role, State};
use crate::stream::egress::consumer::{Consumer, Who};
use crate::stream::egress::foreign::Registrations;
use crate::stream::egress::join::{JoinIndex, JoinPoint, Seen};
use crate::stream::egress::relay::consumers::Consumers;
use crate::stream::egress::relay::pass::{Met, Pass, Until};
use crate::stream::egress::relay::tail::Tail;
use crate::stream::egress::subscription::Subscription;
use crate::stream::event::EventKind;
use crate::stream::front::RRStream;
use crate::stream::further_relays::RelayPlace;
use crate::stream::handover::Delivery;
use crate::stream::log::cursor::Cursor;
use crate::stream::offer::Offer;
use crate::stream::peer::Peer;
use crate::stream::relays::{LEAD, Spread};
use crate::stream::stats::Outgoing;
use crate::stream::upcalls::Timeouts;

/// The task; whoever has its turn uses its fields.
pub(in crate::stream) struct Relay {
    stream: Arc<RRStream>,
    /// Its number among the stream's relays.
    number: usize,
    /// When it starts another one.
    spread: Spread,
    /// Its own place among those of all streams.
    _place: RelayPlace,
    join_index: JoinIndex,
    consumers: Consumers,
    /// How many of them get what they are sent over TLS.
    over_tls: usize,
    /// Subscriptions of this stream on connections of other relays.
    registrations: Registrations,
    /// Some subscription may hold no cursor and wait for a place. A paused one is not counted: it is placed when it resumes.
    has_waiting: bool,
    /// Media flows: messages of a publisher have been seen, and its end has not.
    live: bool,
    /// The last end of a publisher that its consumers were told of; 0 before the first.
    told_end: u64,
    /// When the last message came.
    media_ms: u64,
    /// Targets were closed for lack of media: they are dialled again when media comes.
    has_idle_targets: bool,
    /// Some subscription waits for a key frame to get more kinds or tracks.
    filters_pending: bool,
    /// A log line about this publisher's flawed metadata has been written.
    flaw_told: bool,
    /// When the last log line about a missing key frame was written.
    missing_key_frame_warned_ms: Option<u64>,
    pass: Pass,
    timeouts: Timeouts,
    /// The streams through which media comes, which is told to relays that pull the stream.
    via: Vec<u8>,
    /// How often `via` has changed.
    via_changes: u32,
    /// How often the stream's settings had changed when this task took them.
    settings_changes: u64,
    /// Relays that pull the stream may be among the players.
    is_pulled: bool,
    /// The tail that came along from another process, for consumers that are to come from there.
    tail: Option<Tail>,
    /// What was offered to another process, until the verdict was carried out.
    offer: Option<Offer>,
    over: bool,
}

impl Relay {
    /// The relay that leads; `cursor` is where the log began when it was first needed.
    pub(in crate::stream) fn new(stream: Arc<RRStream>, cursor: Cursor) -> Self {
        let settings_changes = stream.identity().changes();
        let config = stream.config();
        let join_index = JoinIndex::new(cursor, config.gop_bytes, config.gop_ms).with_key_wait(config.key_wait_ms);
        let timeouts = stream.upcalls().timeouts();
        Self {
            spread: Spread::of(&config, stream.relays()),
            stream,
            number: LEAD,
            _place: RelayPlace::default(),
            registrations: Registrations::default(),
            join_index,
            consumers: Consumers::default(),
            over_tls: 0,
            has_waiting: false,
            live: false,
            told_end: 0,
            media_ms: 0,
            has_idle_targets: false,
            filters_pending: false,
            flaw_told: false,
            missing_key_frame_warned_ms: None,
            pass: Pass::default(),
            timeouts,
            via: Vec::new(),
            via_changes: 0,
            settings_changes,
            is_pulled: false,
            tail: None,
            offer: None,
            over: false,
        }
    }
}

impl Task for Relay {
    type Message = Box<Delivery>;

    const TICK_MS: u64 = 250;
    const SCRATCH_BYTES: usize = READ_LITTLE_BYTES;

    fn wants_ticks(&self) -> bool {
        let is_busy = !self.consumers.is_empty() || self.has_others();
        is_busy || self.stream.stop_by_ms().is_some() || self.tail.is_some()
    }

    fn next_timeout(&self) -> Option<u64> {
        let Until { unfinished, collected_us, limited_us, .. } = self.pass.until;
        // Where all collect, this time is that of `collects_until`.
        let collected_us = collected_us.filter(|_| self.collects_until().is_none());
        if unfinished { Some(0) } else { [collected_us, limited_us].into_iter().flatten().min() }
    }

    fn collects_until(&self) -> Option<u64> {
        // Whoever plays the stream on the connection of another relay wants its media perhaps earlier.
        let all_collect = !self.pass.until.is_immediate() && self.registrations.len() == 0;
        self.pass.until.collected_us.filter(|_| all_collect)
    }

    fn on_media(&mut self, now_us: u64, comes_again: bool) -> bool {
        self.send_for_accumulate(now_us, comes_again)
    }

    fn is_paused(&self) -> bool {
        self.offer.as_ref().is_some_and(Offer::is_open)
    }

    fn on_message(&mut self, delivery: Box<Delivery>, io: &mut Io<'_>) {
        self.let_go(io);
        self.see_to_met(io);
        self.pass.unchanged = false;
        let Some(delivery) = self.send_round(*delivery) else { return };
        match delivery {
            Delivery::Player(peer) if peer.home() != Some(self.stream.id()) => self.pass_on_moved(peer, io.now_us),
            Delivery::Player(peer) => {
                // It begins with what has come up to now.
                self.hurry_accumulate();
                let Some(peer) = self.give_away(peer) else { return };
                self.read_to_end(io.now_us);
                if self.join_index.head().position < peer.log_end {
                    self.read_log_up_to(peer.log_end, io.now_us);
                }
                self.adopt(self.new_player(peer, io.now_us), io);
            }
            Delivery::Target { target, conn, endpoint, moved, .. } => {
                self.hurry_accumulate();
                self.stream.relays().came(self.number);
                let consumer = self.new_target(target, *conn, endpoint, moved, io.now_us);
                self.adopt(consumer, io);
            }
            Delivery::ExportTarget { target, history, room, anew, caller } => {
                self.export_target(&target, history, (room, anew), caller, io);
            }
            Delivery::Export { room, caller, of_others } => self.export_stream(room, caller, of_others, io.now_us),
            Delivery::Offer { verdict, targets, caller, of_others } => {
                // An order that came before is carried out here: afterwards it would find nobody.
                self.on_tick(true, io);
                self.offer(verdict, targets, caller, of_others, io.now_us);
            }
            Delivery::Refuse(refusal) => {
                // Only those are refused that the log has nothing for.
                self.read_log(io.now_us);
                self.refuse_waiting(&refusal, io);
            }
            // These come to proxies only.
            Delivery::OfferProcess { .. } | Delivery::Adopt(_) | Delivery::GoOn { .. } => {}
        }
    }

    fn begin_round(&mut self, ready: &[Ready], io: &mut Io<'_>) {
        #[cfg(test)]
        self.stream.fault_injection().pass(crate::stream::fault_injection::In::Relay(self.number));
        self.see_to_met(io);
        self.let_go(io);
        self.take_settings();
        self.read_log(io.now_us);
        #[cfg(test)]
        self.stream.fault_injection().stand(crate::stream::fault_injection::In::Relay(self.number));
        for ready in ready {
            self.unblock(*ready);
        }
        self.run_pass(io);
    }

    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>) {
        if ready.readable {
            let stays = self.read(ready.slot, ready.closed, io);
            self.apply(ready.slot, stays, io);
        }
    }

    fn on_tick(&mut self, nudged: bool, io: &mut Io<'_>) {
        if nudged
            && self.is_lead()
            && let Some(refusal) = self.stream.sources().take_refusal()
        {
            self.tell_others(|| Delivery::Refuse(refusal.clone()));
            self.refuse_waiting(&refusal, io);
        }
        self.tick(nudged, io);
        self.pass.unchanged = false;
    }

    /// Ends the relay of a stream that stops, once all is sent or the stop's deadline has passed. The one that leads ends
    /// last.
    fn end_round(&mut self, inbox: &Receiver<Box<Delivery>>, io: &mut Io<'_>) {
        if self.is_ahead_of_accumulate() {
            self.hurry_accumulate();
        }
        let Some(by_ms) = self.stream.stop_by_ms() else { return };
        let is_last = || !self.is_lead() || self.stream.relays().others_are_over();
        let is_done = self.consumers.is_empty() && inbox.is_empty() && is_last();
        self.over = io.now_us / 1000 >= by_ms || is_done;
    }

    fn is_over(&self) -> bool {
        // In a failed stream no consumer gets any more media, and no connection goes back to the listener.
        self.over || self.stream.state() == State::Failed
    }

    fn on_end(&mut self, inbox: &Receiver<Box<Delivery>>, io: &mut Io<'_>) {
        self.let_go(io);
        self.close(inbox, io);
        if self.is_lead() {
            return self.stream.upcalls().stream_over(self.stream.id());
        }
        if !self.is_over() {
            // Its loop has failed. Its players are closed, and no relay may be missing from the round of an order.
            self.stream.stop(0);
        }
        self.stream.relays().lead().wake();
    }
}

impl Relay {
    // ---- coming

    fn adopt(&mut self, consumer: Consumer, io: &mut Io<'_>) {
        let now_us = io.now_us;
        let mut consumer = Box::new(consumer);
        let entry = self.consumers.vacant_entry();
        if let Err(failure) = io.add(&mut consumer.conn.socket, entry.key()) {
            self.stream.relays().left(self.number);
            self.end(consumer, &failure, io);
            return;
        }
        // The poller does not report bytes again that came during the handover, so they are read at once.
        io.again(entry.key());
        self.filters_pending |= consumer.own().any(|subscription| subscription.wants_key_frame());
        let slot = entry.key();
        self.over_tls += usize::from(consumer.conn.socket.is_tls());
        self.is_pulled |= consumer.told_via.is_some();
        entry.insert(consumer);
        self.resume(slot, now_us);
        self.place(slot, now_us);
    }

    /// Takes the stream's settings, if they have changed. They hold for the players that are there, too, except for where
    /// a player begins.
    fn take_settings(&mut self) {
        let changes = self.stream.identity().changes();
        if changes == self.settings_changes {
            return;
        }
        self.settings_changes = changes;
        self.pass.unchanged = false;
        let config = self.stream.config();
        self.join_index.set_bounds(&config);
        for (_, consumer) in self.consumers.iter_mut() {
            let push = consumer.push.as_ref().map(|push| Arc::clone(&push.endpoint));
            for subscription in consumer.own() {
                subscription.take_settings(&config, push.as_deref().map(|endpoint| &endpoint.config));
            }
        }
    }

    /// Tells relays that pull the stream through which streams its media comes, if they have not heard it yet. A relay
    /// that has not taken its last output hears it later: only the newest way counts, so output cannot pile up.
    fn tell_via(&mut self) {
        let via = self.stream.via();
        if via != self.via {
            (self.via, self.via_changes) = (via, self.via_changes.wrapping_add(1));
        }
        self.is_pulled = false;
        for (_, consumer) in self.consumers.iter_mut() {
            let Some(told) = consumer.told_via else { continue };
            self.is_pulled = true;
            let conn = &mut consumer.conn;
            if told == self.via_changes || conn.has_output() {
                continue;
            }
            let Some(session) = conn.inbound() else { continue };
            for subscription in consumer.subscriptions.iter().filter(|subscription| !subscription.is_foreign()) {
                session.tell_via(subscription.stream_id(), &self.via);
            }
            consumer.told_via = Some(self.via_changes);
        }
    }

    /// Makes a connection a player, with the subscription that it came for and its others that go on.
    fn new_player(&self, peer: Peer, now_us: u64) -> Consumer {
        let Peer { conn, record, mut subscriptions, unsent, question, .. } = peer;
        record.set_role(Role::Player);
        let (mut is_new, mut goes_on) = (false, false);
        for subscription in &mut subscriptions {
            let came = subscription.come_to(self.stream.id(), now_us);
            is_new |= came;
            if !came {
                self.end_missed(subscription);
            }
            goes_on |= !subscription.is_foreign() && !subscription.is_waiting();
        }
        let who = Who::Player(Arc::clone(&record));
        if is_new {
            let prev = record.set_state(State::Waiting);
            self.stream.upcalls().event(record.event(EventKind::Session).moved(prev, State::Waiting));
        } else if goes_on {
            // The player has come back with its old plays: a further play was refused, or is asked about.
            flows(&self.stream, &who);
        }
        let mut consumer = Consumer::new(conn, who, subscriptions, self.stream.memory().private(), now_us / 1000);
        consumer.resume(unsent);
        // One that comes from another process is asked about here as soon as the peer has what is on its way to it.
        consumer.is_due = question.as_ref().is_some_and(|question| question.by_ms <= now_us / 1000);
        consumer.question = question;
        consumer
    }

    /// Ends a subscription that has come back from another stream's relay, where it could not hear of an end that the
    /// consumers here were told of.
    fn end_missed(&self, subscription: &mut Subscription) {
        let end = self.told_end;
        let at = subscription.needs_from().filter(|_| !subscription.is_foreign()).map(|cursor| cursor.position());
        if end > 0 && at.is_some_and(|at| at < end || (at == end && !self.live)) {
            subscription.end_at(end);
        }
    }

    /// Places the waiting subscriptions of a consumer that may begin now.
    fn place(&mut self, slot: usize, now_us: u64) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        for subscription in consumer.subscriptions.iter_mut().filter(|subscription| !subscription.is_foreign()) {
            let point = subscription.waits().filter(|_| self.live);
            let point = point.and_then(|(start, waits)| self.join_index.place(start, waits));
            if let Some(point) = point {
                subscription.join(&point, now_us);
                begins(&self.stream, &consumer.who, &mut consumer.conn, now_us);
            }
            self.has_waiting |= subscription.waits().is_some();
            self.filters_pending |= subscription.wants_key_frame();
        }
    }

    // ---- new messages in the log

    fn read_log(&mut self, now_us: u64) {
        self.read_log_up_to(u64::MAX, now_us);
    }

    /// Reads the log up to this position, at which a message begins.
    fn read_log_up_to(&mut self, position: u64, now_us: u64) {
        if self.is_lead() {
            let seen = self.join_index.advance_up_to(position);
            self.notice(&seen, now_us);
            return;
        }
        // The end that the leading relay has taken may be followed by another publisher already.
        while self.step_to_end(position, now_us) {}
    }

    /// Reads the log up to the last end that the leading relay has told of, for a player that has come after that: it is
    /// not told of it.
    fn read_to_end(&mut self, now_us: u64) {
        while self.told_end < self.stream.relays().told_end() && self.step_to_end(u64::MAX, now_us) {}
    }

    /// Reads the log up to this position or to an end before it; false if there is none.
    fn step_to_end(&mut self, position: u64, now_us: u64) -> bool {
        let seen = self.join_index.advance_to_end(self.live, position);
        self.notice(&seen, now_us);
        seen.at_end
    }

    /// Where the publisher has ended, if the consumers are to be told of that now: once the join index has passed it, so
    /// that all messages before it are known. The relay that leads decides, and the others follow.
    fn publisher_end(&self, seen: &Seen) -> Option<u64> {
        let indexed = self.join_index.head().position;
        if seen.at_end {
            return Some(indexed);
        }
        let (ingest, relays) = (self.stream.ingest(), self.stream.relays());
        let is_here = |end: u64| self.live && indexed >= end;
        if !self.is_lead() {
            return Some(relays.told_end()).filter(|&end| end > self.told_end && is_here(end));
        }
        let taken = ingest.ended_at().filter(|&end| is_here(end) && ingest.take_end(end))?;
        relays.tell_end(taken);
        Some(taken)
    }

    fn notice(&mut self, seen: &Seen, now_us: u64) {
        if seen.messages > 0 {
            self.media_ms = now_us / 1000;
            self.pass.until.media_came(seen.since_us);
        }
        if seen.messages > 0 && (!self.live || self.has_idle_targets) {
            self.media_begins();
        }
        if seen.headers_lost > 0 || seen.flawed {
            self.warn_of_headers(seen);
        }
        if seen.messages > 0 && self.has_waiting {
            self.pass.unchanged = false;
            self.place_waiting(seen, now_us);
        }
        if let Some(key) = seen.key.as_ref().filter(|_| self.filters_pending) {
            self.key_frame(key);
        }
        let ended = self.publisher_end(seen);
        let end = match self.stream.stop_by_ms() {
            // accumulate is called by the stop, too, and reads what its publisher has sent before.
            Some(_) if self.stream.relays().lead().kept_us().is_some() => ended,
            Some(_) => ended.or_else(|| Some(self.join_index.head().position)),
            None => ended,
        };
        if let Some(end) = end {
            self.end_at(end);
        }
        let outgoing = self.stream.stats().outgoing(self.number);
        self.registrations.tell(seen.messages > 0, end, outgoing, now_us);
    }

    // ---- what is rare; apart, so that the code for each message is dense

    #[cold]
    fn media_begins(&mut self) {
        self.live = true;
        self.has_idle_targets = false;
        for target in self.stream.book().targets().iter().filter(|_| self.is_lead()) {
            self.stream.upcalls().dial(target);
        }
    }

    #[cold]
    fn warn_of_headers(&mut self, seen: &Seen) {
        if seen.headers_lost > 0 && self.is_lead() {
            log::warn!("{} headers were too large to keep: late joiners will miss them", seen.headers_lost);
        }
        if seen.flawed && !self.flaw_told {
            self.flaw_told = true;
            let name = self.stream.masked_name();
            log::warn!(
                "{name}: the publisher's metadata does not end as it should: players get it repaired, targets unchanged"
            );
        }
    }

    #[cold]
    fn key_frame(&mut self, key: &JoinPoint) {
        self.pass.unchanged = false;
        self.filters_pending = false;
        for subscription in self.consumers.iter_mut().flat_map(|(_, consumer)| consumer.own()) {
            subscription.key_frame(key);
            self.filters_pending |= subscription.wants_key_frame();
        }
    }

    #[cold]
    fn end_at(&mut self, end: u64) {
        self.live = false;
        self.told_end = end;
        self.pass.unchanged = false;
        for subscription in self.consumers.iter_mut().flat_map(|(_, consumer)| consumer.own()) {
            subscription.end_at(end);
        }
    }

    #[cold]
    fn place_waiting(&mut self, seen: &Seen, now_us: u64) {
        self.has_waiting = false;
        // Those in step have their place.
        let (out_of_step, _) = self.consumers.out_of_step();
        for (_, consumer) in out_of_step {
            for subscription in consumer.subscriptions.iter_mut().filter(|subscription| !subscription.is_foreign()) {
                let point = subscription.waits();
                let point = point.and_then(|(start, waits)| self.join_index.place_at(seen, start, waits));
                if let Some(point) = point {
                    subscription.join(&point, now_us);
                    begins(&self.stream, &consumer.who, &mut consumer.conn, now_us);
                }
                self.has_waiting |= subscription.waits().is_some();
                self.filters_pending |= subscription.wants_key_frame();
            }
        }
    }

    // ---- sending

    /// Where it counts what it sends.
    fn outgoing(&self) -> &Outgoing {
        self.stream.stats().outgoing(self.number)
    }

    /// Sends to every consumer that has room, if that may be due, and then acts on what the pass found.
    fn run_pass(&mut self, io: &mut Io<'_>) {
        if self.pass.is_due(io.now_us) && !self.leaves_pass(io.now_us) {
            self.send(u64::MAX, io.now_us);
        }
        self.see_to_met(io);
    }

    /// Sends to every consumer that has room, until about this many bytes have been sent.
    fn send(&mut self, bytes: u64, now_us: u64) {
        #[cfg(test)]
        self.stream.fault_injection().count_pass();
        let pass = &mut self.pass;
        pass.run(&mut self.consumers, &self.join_index, bytes, now_us);
        self.has_waiting |= std::mem::take(&mut pass.let_go);
        self.stream.stats().outgoing(self.number).sent(std::mem::take(&mut pass.sent), now_us);
    }

    /// Acts on what the last pass found. This comes before anything else that a round does with consumers, because accumulate
    /// may have carried out the pass, and the slots of what it found are not to be given to others before.
    fn see_to_met(&mut self, io: &mut Io<'_>) {
        if !self.pass.met.is_nothing() {
            let met = std::mem::take(&mut self.pass.met);
            self.see_to(met, io);
        }
    }

    fn see_to(&mut self, met: Met, io: &mut Io<'_>) {
        self.pass.unchanged = false;
        for event in met.events {
            self.stream.upcalls().event(event);
        }
        for (slot, failure) in met.failed {
            let failure = self.last_words(slot, failure, io);
            self.apply(slot, Err(failure.into()), io);
        }
        for slot in met.between {
            self.between(slot, io);
        }
    }

    fn unblock(&mut self, ready: Ready) {
        if let Some(consumer) = self.consumers.get_mut(ready.slot).filter(|_| ready.writable) {
            self.pass.unchanged &= !consumer.blocked;
            if consumer.blocked && consumer.close_by_ms.is_some() {
                consumer.finish();
            } else {
                consumer.blocked = false;
            }
        }
    }
}

/// Tells the connection that media is about to flow to it.
fn begins(stream: &RRStream, who: &Who, conn: &mut Conn, now_us: u64) {
    if let Some(session) = conn.inbound() {
        session.begin_media(now_us / 1000);
    }
    flows(stream, who);
}

/// Notes that media flows to a consumer now. The state of a player that has asked for more says how that stands.
fn flows(stream: &RRStream, who: &Who) {
    match who {
        Who::Player(record) if record.wish() != Role::None => {}
        Who::Player(record) => {
            let prev = record.set_state(State::InProgress);
            if prev != State::InProgress {
                stream.upcalls().event(record.event(EventKind::Session).moved(prev, State::InProgress));
            }
        }
        Who::Target(target) => target.move_to(State::InProgress, |event| event),
    }
}
