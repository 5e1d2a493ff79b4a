//! accumulate: the task (of `accmDataThread`) that reads a stream's publishers and appends what the live one sends to
//! the log.
//!
//! accumulate owns a publisher's socket from the accepted `publish` to its end. It never waits for a consumer: it
//! appends, and then wakes the relay, or has it send here while the relay's own thread sleeps. When the peer unpublishes and
//! stays connected, its connection goes back to the listener. Standbys are read under the same budget and their media is
//! dropped; one of them takes over, at its key frame, when the live publisher is gone.

mod deferral;
mod export;
mod feed;
mod offer;
mod owed;

use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use slab::Slab;

use self::deferral::Deferral;
use self::feed::Feed;
use crate::config::{READ_BUDGET_BYTES, READ_BUFFER_BYTES};
use crate::error::{Failure, RRError};
use crate::net::clock;
use crate::net::conn::Pumped;
use crate::net::event_loop::{Io, Task};
use crate::net::poll::Ready;
use crate::net::socket::half_close;
use crate::session::{self, Role, State};
use crate::stream::book::Claim;
use crate::stream::event::EventKind;
use crate::stream::front::RRStream;
use crate::stream::handover::{ForAccumulate, NewPublisher};
use crate::stream::ingest::Incoming;
use crate::stream::offer::Offer;
use crate::stream::peer::{Leave, Stays};
use crate::stream::record::{Order, RRSession};
use crate::stream::remote::source::{self, Goes};
use crate::stream::upcalls::Timeouts;

/// A publisher that finds no room in memory tries again this often.
const LOOK_US: u64 = 5_000;

/// Why a publisher was replaced; sent to the publisher and logged.
const TAKEN_OVER: &str = "another publisher took over";

/// The task of `accmDataThread`; only that thread uses its fields.
pub(in crate::stream) struct Accumulate {
    stream: Arc<RRStream>,
    feeds: Slab<Box<Feed>>,
    /// The feed whose messages go into the log.
    live: Option<usize>,
    /// The feed that takes over at its next key frame.
    next: Option<usize>,
    /// When the live one is read while all consumers collect.
    deferral: Deferral,
    /// The end of the grace window of a lost publisher.
    grace_until_ms: Option<u64>,
    timeouts: Timeouts,
    /// What was offered to another process, until the verdict was carried out.
    offer: Option<Offer>,
    over: bool,
}

impl Accumulate {
    pub(in crate::stream) fn new(stream: Arc<RRStream>) -> Self {
        let timeouts = stream.upcalls().timeouts();
        Self {
            stream,
            feeds: Slab::new(),
            live: None,
            next: None,
            deferral: Deferral::default(),
            grace_until_ms: None,
            timeouts,
            offer: None,
            over: false,
        }
    }
}

impl Accumulate {
    /// Keeps the publisher's place until then.
    pub(in crate::stream) fn waiting_until(self, until_ms: u64) -> Self {
        Self { grace_until_ms: Some(until_ms), ..self }
    }
}

impl Task for Accumulate {
    type Message = Box<ForAccumulate>;

    const TICK_MS: u64 = 500;
    const SCRATCH_BYTES: usize = READ_BUFFER_BYTES;

    fn wants_ticks(&self) -> bool {
        !self.feeds.is_empty() || self.grace_until_ms.is_some()
    }

    fn next_timeout(&self) -> Option<u64> {
        self.deferral.next_us()
    }

    fn is_paused(&self) -> bool {
        self.offer.as_ref().is_some_and(Offer::is_open)
    }

    fn on_message(&mut self, message: Box<ForAccumulate>, io: &mut Io<'_>) {
        self.let_go(io);
        self.catch_up(io);
        self.end_deferral();
        match *message {
            ForAccumulate::Publisher(publisher) => self.adopt(*publisher, io),
            ForAccumulate::Offer { verdict, sources, caller } => {
                // An order that came before is carried out here: afterwards it would find nobody.
                self.check_timers(io);
                self.offer(verdict, sources, &caller, io);
            }
            ForAccumulate::ExportSource { source, history, room, anew, caller } => {
                self.export_source(&source, history, (room, anew), caller, io);
            }
        }
    }

    fn begin_round(&mut self, _ready: &[Ready], io: &mut Io<'_>) {
        #[cfg(test)]
        {
            use crate::stream::fault_injection::In;
            self.stream.fault_injection().pass(In::Accumulate);
            self.stream.fault_injection().stand(In::Accumulate);
        }
        self.let_go(io);
        let is_called_back = || self.stream.relays().lead().kept_us().is_none();
        if self.deferral.next_us().is_some_and(|at_us| at_us <= io.now_us || is_called_back()) {
            self.catch_up(io);
        }
    }

    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>) {
        let stays = self.read_and_answer(ready, io);
        if stays.is_err() {
            self.apply(ready.slot, stays, io);
        }
    }

    fn on_tick(&mut self, _nudged: bool, io: &mut Io<'_>) {
        self.check_timers(io);
    }

    fn end_round(&mut self, _inbox: &Receiver<Box<ForAccumulate>>, io: &mut Io<'_>) {
        if self.next.is_some() {
            // What the publisher has sent up to now comes before the key frame of the one that follows it.
            self.catch_up(io);
        }
        if self.deferral.slot().is_some_and(|slot| !self.can_wait(slot)) {
            self.end_deferral();
        }
        self.over = self.stream.stop_by_ms().is_some();
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn on_end(&mut self, inbox: &Receiver<Box<ForAccumulate>>, io: &mut Io<'_>) {
        self.let_go(io);
        // What the publisher has sent before a stop goes out.
        self.catch_up(io);
        self.end_deferral();
        self.close(inbox, io);
        if self.stream.stop_by_ms().is_none() {
            // Its loop has failed, and nobody could publish this stream any more. Players get what the log has for them.
            self.stream.stop_unused();
        }
    }
}

impl Accumulate {
    // ---- new publishers

    /// Takes in a publisher, for which the claim on the stream was made before.
    fn adopt(&mut self, mut publisher: NewPublisher, io: &mut Io<'_>) {
        let NewPublisher { peer, claim, moved, source, .. } = &mut publisher;
        let record = Arc::clone(&peer.record);
        let standby = *claim == Claim::Standby;
        let place = moved.as_ref().and_then(|moved| moved.place.as_ref());
        let goes_on = place.is_some_and(|place| self.stream.ingest().ends_at(place));
        let entry = self.feeds.vacant_entry();
        let slot = entry.key();
        if let Err(failure) = io.add(&mut peer.conn.socket, slot) {
            self.stream.release(&peer.record);
            match source {
                Some(source) => source::over(&**self.stream.upcalls(), source, &failure, Goes::Lost, 0),
                None => self.stream.upcalls().session_over(&peer.record, &failure),
            }
            return;
        }
        // Many encoders do not answer pings, but their systems acknowledge the bytes while the host is reachable.
        let Timeouts { idle_ms, ping_ms, .. } = self.timeouts;
        let pings_ms = if ping_ms == 0 { idle_ms } else { ping_ms.saturating_mul(session::PINGS_LOST.into()) };
        peer.conn.socket.set_user_timeout(idle_ms.min(pings_ms));
        let state = if standby { State::Waiting } else { State::InProgress };
        let prev = peer.record.set_state(state);
        if source.is_none() {
            self.stream.upcalls().event(peer.record.event(EventKind::Session).moved(prev, state));
        }
        let memory = self.stream.memory().budget().nothing();
        entry.insert(Box::new(Feed::new(publisher, memory, clock::now_ms())));
        if standby {
            // The publisher that it was to stand by for may have gone while it was on its way.
            if self.live.is_none() && self.next.is_none() && !self.stream.book().awaits_moved() {
                self.appoint(slot);
            }
        } else if !self.stream.book().is_publisher(&record) {
            // Another publisher has taken the place over while this one was on its way.
            return self.replace(slot, io);
        } else {
            if let Some(old) = self.live.take() {
                self.replace(old, io);
            }
            (self.live, self.next, self.grace_until_ms) = (Some(slot), None, None);
            if !goes_on {
                self.stream.begin_feed();
            }
            if let Some(feed) = self.feeds.get_mut(slot) {
                feed.begins(goes_on);
            }
        }
        self.switch();
        // The poller does not report bytes again that came during the handover, so they are read at once.
        io.again(slot);
    }

    /// Replaces the publisher, because another one took over.
    fn replace(&mut self, slot: usize, io: &mut Io<'_>) {
        let Some(mut feed) = self.take_feed(slot) else { return };
        let stream_id = feed.stream_id;
        if let Some(session) = feed.peer.conn.inbound() {
            session.end_publish(stream_id, "NetStream.Publish.BadName", TAKEN_OVER);
        }
        self.end(*feed, &Failure::ours(RRError::TakenOver, TAKEN_OVER), io);
    }

    /// Lets this standby take over at its next key frame.
    fn appoint(&mut self, slot: usize) {
        let Some(feed) = self.feeds.get(slot) else { return };
        if self.stream.book().succeed(&feed.peer.record) {
            self.next = Some(slot);
            self.grace_until_ms = None;
            self.stream.life().recovers();
        }
    }

    /// Lets a standby, if there is one, take over at its next key frame.
    fn appoint_standby(&mut self) {
        let stands_by = |feed: &Feed| feed.peer.record.role() == Role::Standby;
        let standby = self.feeds.iter().find(|(_, feed)| stands_by(feed)).map(|(slot, _)| slot);
        if let Some(slot) = standby {
            self.appoint(slot);
        }
    }

    // ---- reading

    /// Reads a publisher whose reading is put off.
    fn catch_up(&mut self, io: &mut Io<'_>) {
        let Some(slot) = self.deferral.slot() else { return };
        let stays = self.read_and_answer(Ready { slot, readable: true, closed: false, writable: false }, io);
        self.apply(slot, stays, io);
    }

    /// From now on the publisher is read whenever it sends something, and the relay keeps its own times.
    fn end_deferral(&mut self) {
        let Some(slot) = self.deferral.end() else { return };
        if let Some(feed) = self.feeds.get_mut(slot) {
            feed.wait_for_more(false);
        }
        self.stream.relays().lead().leave();
    }

    /// Has the relay send what has come from the live publisher, whose socket is empty. Where all consumers collect, the
    /// publisher is left alone from now on until they have.
    fn send(&mut self, slot: usize, now_us: u64) {
        let can_wait = self.can_wait(slot);
        if !can_wait || self.deferral.slot() != Some(slot) {
            self.end_deferral();
        }
        let Some(until_us) = self.stream.relays().turn_for_data(can_wait, now_us) else { return self.end_deferral() };
        self.deferral.put_off(slot, until_us, now_us);
        if let Some(feed) = self.feeds.get_mut(slot) {
            feed.wait_for_more(true);
        }
    }

    /// Whether this publisher may be read late: it is the live one and no other is about to follow it. One whose message has
    /// found no room is read when there is some.
    fn can_wait(&mut self, slot: usize) -> bool {
        let is_alone = self.live == Some(slot) && self.next.is_none();
        is_alone && self.feeds.get_mut(slot).is_some_and(|feed| feed.can_wait() && !feed.is_short())
    }

    /// Takes a publisher out, whose connection then leaves this task.
    fn take_feed(&mut self, slot: usize) -> Option<Box<Feed>> {
        if self.deferral.slot() == Some(slot) {
            self.end_deferral();
        }
        let mut feed = self.feeds.try_remove(slot)?;
        feed.reset_acknowledgement();
        Some(feed)
    }

    fn read_and_answer(&mut self, ready: Ready, io: &mut Io<'_>) -> Stays {
        if ready.readable {
            self.read(ready.slot, ready.closed, io)?;
        }
        self.flush(ready.slot, io);
        Ok(())
    }

    /// Sends the session's output. A peer that is gone may have left bytes in the socket; they are read before the feed
    /// ends.
    fn flush(&mut self, slot: usize, io: &mut Io<'_>) {
        let Some(feed) = self.feeds.get_mut(slot).filter(|feed| feed.gone.is_none()) else { return };
        if let Err(failure) = feed.peer.conn.flush() {
            feed.gone = Some(failure);
            io.again(slot);
        }
    }

    fn read(&mut self, slot: usize, to_end: bool, io: &mut Io<'_>) -> Stays {
        // A feed that is short of room has a turn as soon as there is room.
        let Some(feed) = self.feeds.get_mut(slot).filter(|feed| !feed.is_short()) else { return Ok(()) };
        let now_us = io.now_us;
        let stream = &self.stream;
        if stream.ingest().is_held(now_us) {
            feed.is_held(now_us / 1000);
            io.tick_by(now_us + LOOK_US);
            return Ok(());
        }
        let mut is_live = self.live == Some(slot);
        let may_step_in = self.next == Some(slot);
        let (came_us, is_due) = (self.deferral.came_us(slot, now_us), self.deferral.is_over(slot, now_us));
        let (mut failed, mut took) = (None, false);
        let Feed { peer, kept, opens: feed_opens, source, gone, owed, .. } = &mut **feed;
        let to_end = to_end || gone.is_some();
        let owes = !owed.is_empty();
        let record = &peer.record;
        let counters = source.as_ref().map_or(&record.counters, |source| &source.counters);
        let pumped = peer.conn.pump(io.scratch, now_us / 1000, READ_BUDGET_BYTES, to_end, |event, body| {
            let head = match event {
                session::Event::Message(head) => head,
                session::Event::Pause { .. } | session::Event::Receive { .. } => return ControlFlow::Continue(()),
                session::Event::Via(via) => {
                    let Err(failure) = stream.comes_via(record, &via) else { return ControlFlow::Continue(()) };
                    failed = Some(failure);
                    return ControlFlow::Break(session::Event::Via(via));
                }
                other => return ControlFlow::Break(other),
            };
            took = true;
            let message = Incoming::new(head, body, now_us).collected_from(came_us);
            counters.message_in(head.type_id, body.len() as u64, message.picture, now_us);
            counters.time(head.timestamp_ms, message.facts.is_key_frame(head.type_id));
            let ingest = stream.ingest();
            let mut opens = is_live && std::mem::take(feed_opens);
            if may_step_in && !is_live && kept.look(&message) {
                stream.begin_feed();
                // The headers go before this message, and so before none that follows.
                let _ = std::mem::take(feed_opens);
                (is_live, opens) = (true, true);
            }
            let opened = if opens { owed.push_headers(ingest, kept, &message) } else { Ok(()) };
            // The live publisher may stand by later, or move to another process, with the headers that it has sent
            // meanwhile.
            kept.look(&message);
            let taken = if is_live { opened.and_then(|()| owed.push(ingest, &message)) } else { Ok(()) };
            match taken {
                Ok(()) if owed.is_empty() => ControlFlow::Continue(()),
                // Nothing is read after a message that has found no room.
                Ok(()) => ControlFlow::Break(event),
                Err(failure) => {
                    failed = Some(failure);
                    ControlFlow::Break(event)
                }
            }
        });
        feed.count(took, now_us);
        // The session may have a deadline before the next tick.
        if let Some(at_ms) = feed.peer.conn.next_timeout() {
            io.tick_by(at_ms.saturating_mul(1000));
        }
        let pumped = if feed.owed.is_empty() { feed.heard(pumped) } else { pumped };
        let room = feed.find_room(stream, now_us / 1000);
        if is_live && self.live != Some(slot) {
            self.step_in(slot);
        }
        if is_live && (took || owes || is_due) {
            match pumped {
                Ok(Pumped::Drained) => self.send(slot, now_us),
                // Where there is more to read, reading and sending go on side by side.
                _ => {
                    self.end_deferral();
                    self.stream.relays().wake_for_data();
                }
            }
        } else if self.deferral.slot() == Some(slot) && matches!(pumped, Ok(Pumped::Drained)) {
            // A part of a message has come, or a command, or nothing.
            self.send(slot, now_us);
        }
        if let Some(failure) = failed {
            return Err(failure.into());
        }
        let has_room = room?;
        match pumped? {
            Pumped::Event(event) if !matches!(event, session::Event::Message(_)) => {
                let event = Some(event).filter(|event| !matches!(event, session::Event::EndPublish { .. }));
                self.hand_back(slot, event, io);
                return Err(Leave::Handed);
            }
            Pumped::Drained => {
                if let Some(failure) = self.feeds.get_mut(slot).and_then(|feed| feed.gone.take()) {
                    return Err(failure.into());
                }
            }
            // After a message that was owed for a moment there may be more to read.
            Pumped::More | Pumped::Event(_) if has_room => io.again(slot),
            Pumped::More | Pumped::Event(_) => {}
        }
        if !has_room {
            io.tick_by(now_us + LOOK_US);
        }
        Ok(())
    }

    /// Makes a standby the publisher; its key frame has come and is in the log. After a switch by the host the previous
    /// publisher stands by from now on.
    fn step_in(&mut self, slot: usize) {
        let before = self.live.replace(slot);
        if let Some(old) = before {
            if let Some(feed) = self.feeds.get_mut(old) {
                feed.stands_by();
            }
            self.rename(old, Role::Standby, State::Waiting);
        }
        self.next = None;
        self.rename(slot, Role::Publisher, State::InProgress);
        if before.is_none() {
            // A source may take its place among the standbys.
            self.stream.call_sources();
        }
    }

    fn rename(&self, slot: usize, role: Role, state: State) {
        let Some(feed) = self.feeds.get(slot) else { return };
        let record = &feed.peer.record;
        if let Some(source) = &feed.source {
            record.set_role(if role == Role::Publisher { Role::Source } else { role });
            source.move_to(state, |event| event);
            return;
        }
        record.set_role(role);
        let prev = record.set_state(state);
        self.stream.upcalls().event(record.event(EventKind::Session).moved(prev, state));
    }

    // ---- orders and time

    fn check_timers(&mut self, io: &mut Io<'_>) {
        let now_ms = clock::now_ms();
        // There may be a change that was held back, with no message since.
        self.stream.ingest().tell_tracks(now_ms * 1000);
        let slots: Vec<usize> = self.feeds.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let stays = self.check_timers_of(slot, now_ms, io);
            self.apply(slot, stays, io);
        }
        self.switch();
        self.grace_until_ms.take_if(|until| now_ms >= *until);
        let nobody = self.live.is_none() && self.next.is_none() && self.grace_until_ms.is_none();
        if nobody && self.stream.book().is_recovering() {
            // The host was the publisher and has ended, or the one that was awaited has not come.
            self.appoint_standby();
            if self.next.is_none() {
                self.stream.give_up_waiting();
            }
        }
    }

    fn check_timers_of(&mut self, slot: usize, now_ms: u64, io: &mut Io<'_>) -> Stays {
        let max_kbps = if self.live == Some(slot) { self.stream.config().max_kbps } else { 0 };
        let Some(feed) = self.feeds.get(slot) else { return Ok(()) };
        let record = Arc::clone(&feed.peer.record);
        while let Some(order) = record.next_order() {
            match order {
                Order::Close(text) => return Err(Failure::ours(RRError::Kicked, text).into()),
                Order::Reconnect(url, text) => {
                    if let Some(feed) = self.feeds.get_mut(slot) {
                        feed.peer.ask_to_reconnect(url.as_deref(), &text);
                    }
                }
                Order::Export { room, caller } => self.export(slot, room, &caller, now_ms, io)?,
                // These are answers to a question that is over.
                Order::Allow(_) | Order::Deny(..) | Order::Redirect(_) | Order::Answer(..) => {}
            }
        }
        if self.live == Some(slot)
            && let Some(failure) = self.stream.memory().eviction()
        {
            return Err(failure.into());
        }
        let Some(feed) = self.feeds.get_mut(slot) else { return Ok(()) };
        feed.check(&self.stream, now_ms, max_kbps)?;
        if feed.is_short() {
            if feed.find_room(&self.stream, now_ms)? {
                io.again(slot);
            } else {
                io.tick_by(io.now_us + LOOK_US);
            }
            self.stream.relays().wake_for_data();
        }
        self.flush(slot, io);
        Ok(())
    }

    /// Carries out the host's request: makes a standby live from its next key frame. The last request counts, also if an
    /// earlier one still waits for its key frame.
    fn switch(&mut self) {
        let book = self.stream.book();
        let Some(id) = book.take_switch() else { return };
        let found = self.feeds.iter().find(|(_, feed)| feed.peer.record.id == id);
        // This session has the publisher's place in the book: the live one, or the one that takes over at its key frame.
        let holder = self.next.or(self.live).and_then(|slot| Some((slot, self.feeds.get(slot)?)));
        match (found, holder) {
            (Some((slot, _)), Some((holds, _))) if slot == holds => {}
            (Some((slot, feed)), Some((_, holder))) => {
                if book.exchange(&holder.peer.record, &feed.peer.record) {
                    self.next = Some(slot).filter(|_| self.live != Some(slot));
                } else {
                    // The book's publisher is still on its way to this thread.
                    book.keep_switch(id);
                }
            }
            (Some((slot, _)), None) if !book.has_publisher() => self.appoint(slot),
            // The standby or the publisher is still on its way to this thread.
            _ => book.keep_switch(id),
        }
    }

    // ---- leaving

    fn apply(&mut self, slot: usize, stays: Stays, io: &mut Io<'_>) {
        let Err(Leave::Over(failure)) = stays else { return };
        let Some(feed) = self.take_feed(slot) else { return };
        let record = Arc::clone(&feed.peer.record);
        // A publisher that unpublishes has ended on purpose; a lost one may come back, and the stream waits for it.
        let hold_ms = feed.hold_ms(self.stream.config().grace_ms.into());
        // This comes before the hand-over of the connection, so that the name is free for the next publisher.
        self.gone(slot, &record, hold_ms);
        self.end(*feed, &failure, io);
        self.stream.call_sources();
        self.stream.check_unused();
    }

    /// Gives a publisher that has unpublished and stays connected to the listener, which handles this event first.
    fn hand_back(&mut self, slot: usize, event: Option<session::Event>, io: &mut Io<'_>) {
        let Some(mut feed) = self.take_feed(slot) else { return };
        let record = Arc::clone(&feed.peer.record);
        // As in `apply`, the name is freed first.
        self.gone(slot, &record, 0);
        io.remove(&mut feed.peer.conn.socket);
        self.stream.upcalls().session_left(&record, self.stream.id());
        self.stream.upcalls().reclaim(feed.peer, event);
        self.stream.call_sources();
        self.stream.check_unused();
    }

    /// Handles the loss of a publisher: a standby follows, or its place is kept for the grace window, or the stream has
    /// no publisher.
    fn gone(&mut self, slot: usize, record: &RRSession, hold_ms: u64) {
        let was_next = self.next.take_if(|next| *next == slot).is_some();
        let was_live = self.live.take_if(|live| *live == slot).is_some();
        // Also a standby that was to follow may be the last one that the stream has waited for.
        let keep = hold_ms > 0 && (was_live || (was_next && self.live.is_none()));
        // Nobody takes the place while it is open who is to follow.
        let was_publisher = self.stream.book().lose(record, true);
        if was_next && self.live.is_some() {
            // The publisher to switch to is gone, so the live one keeps its place.
            let live = self.live.and_then(|live| self.feeds.get(live)).map(|feed| Arc::clone(&feed.peer.record));
            live.map(|live| self.stream.book().succeed(&live));
            return;
        }
        if was_live && self.next.is_some() {
            // The publisher that was to follow at its key frame still follows.
            self.stream.life().recovers();
            return;
        }
        if !was_publisher {
            return;
        }
        self.appoint_standby();
        if self.next.is_some() {
            return;
        }
        if keep {
            self.grace_until_ms = Some(clock::now_ms() + hold_ms);
            self.stream.life().recovers();
        } else {
            self.stream.book().give_up_waiting();
            self.stream.end_feed();
        }
    }

    /// Ends a publisher's connection.
    fn end(&self, feed: Feed, failure: &Failure, io: &mut Io<'_>) {
        let ran_ms = feed.ran_ms();
        let Feed { mut peer, source, goes, .. } = feed;
        if let Some(session) = peer.conn.client() {
            session.close();
        }
        // The session's last message (an onStatus) goes out if the socket takes it at once.
        let _ = peer.conn.flush();
        io.remove(&mut peer.conn.socket);
        half_close(&mut peer.conn.socket);
        self.stream.book().lose(&peer.record, false);
        match source {
            Some(source) => source::over(&**self.stream.upcalls(), &source, failure, goes, ran_ms),
            None => self.stream.upcalls().session_over(&peer.record, failure),
        }
    }

    /// Closes the publishers of a stream that stops, and those still in the inbox.
    fn close(&mut self, inbox: &Receiver<Box<ForAccumulate>>, io: &mut Io<'_>) {
        let failure = Failure::ours(RRError::Kicked, "the stream was stopped");
        // From now on nothing more arrives, so draining the inbox once is enough.
        self.stream.close_accumulate();
        self.stream.sources().list().iter().for_each(|source| source.stop(0));
        let feeds = std::mem::take(&mut self.feeds).into_iter().map(|(_, feed)| feed);
        let nothing = || self.stream.memory().budget().nothing();
        let now_ms = clock::now_ms();
        let feed = |message: Box<ForAccumulate>| match *message {
            ForAccumulate::Publisher(publisher) => Some(Box::new(Feed::new(*publisher, nothing(), now_ms))),
            // Its caller learns that there is no answer.
            ForAccumulate::Offer { .. } | ForAccumulate::ExportSource { .. } => None,
        };
        let waiting: Vec<Box<Feed>> = inbox.try_iter().filter_map(feed).collect();
        for mut feed in feeds.collect::<Vec<_>>().into_iter().chain(waiting) {
            let stream_id = feed.stream_id;
            if let Some(session) = feed.peer.conn.inbound() {
                session.end_publish(stream_id, "NetStream.Publish.Denied", &failure.text);
            }
            self.end(*feed, &failure, io);
        }
        self.stream.end_feed();
    }
}
