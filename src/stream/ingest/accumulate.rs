//! accumulate: the thread (`accmDataThread`) that reads a stream's publishers and appends what the live one sends to the
//! log.
//!
//! It owns a publisher's socket from the accepted `publish` to its end. It never waits for a consumer: it appends
//! and rings the relay. A connection goes back to the listener when the peer unpublishes and stays. Standbys are read
//! under the same budget and dropped; one of them steps in, at its key frame, when the live one has gone.

mod feed;

use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use slab::Slab;

use self::feed::Feed;
use crate::config::{PublisherPolicy, READ_BUDGET_BYTES};
use crate::error::{Failure, RRError};
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::conn::Pumped;
use crate::net::poll::{Poller, Ready};
use crate::net::socket::half_close;
use crate::session::{self, Role, State};
use crate::stream::book::Claim;
use crate::stream::event::{EventKind, Id};
use crate::stream::front::RRStream;
use crate::stream::handover::NewPublisher;
use crate::stream::ingest::Incoming;
use crate::stream::peer::{Order, RRSession};
use crate::stream::remote::source::{self, Goes};
use crate::stream::upcalls::Timeouts;

/// How often timeouts are looked at.
const TICK_MS: u64 = 500;

/// Why a publisher was replaced, for it and for people.
const TAKEN_OVER: &str = "another publisher took over";

/// How a publisher's connection goes on.
enum Fate {
    /// It goes on publishing.
    Stays,
    /// It has unpublished and stays connected.
    Listener(Option<session::Event>),
    /// It is over.
    Over(Failure),
}

struct Accumulate {
    stream: Arc<RRStream>,
    poller: Poller,
    inbox: Receiver<Box<NewPublisher>>,
    feeds: Slab<Box<Feed>>,
    /// Whose messages go into the log.
    live: Option<usize>,
    /// Who steps in at its next key frame.
    next: Option<usize>,
    /// The publisher was lost; until then its place is kept.
    grace_until_ms: Option<u64>,
    /// Feeds to read without being told.
    more: Backlog,
    next_tick_ms: u64,
    timeouts: Timeouts,
    scratch: Box<[u8]>,
}

/// The thread's body; ends when the stream is told to stop.
pub(in crate::stream) fn run(
    stream: Arc<RRStream>,
    poller: Poller,
    inbox: Receiver<Box<NewPublisher>>,
    scratch: Box<[u8]>,
) {
    let timeouts = stream.upcalls().timeouts();
    let mut this = Accumulate {
        stream,
        poller,
        inbox,
        feeds: Slab::new(),
        live: None,
        next: None,
        grace_until_ms: None,
        more: Backlog::default(),
        next_tick_ms: 0,
        timeouts,
        scratch,
    };
    this.run();
    this.close();
}

impl Accumulate {
    fn run(&mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        while self.stream.stop_by_ms().is_none() {
            let idle = self.feeds.is_empty() && self.grace_until_ms.is_none();
            let timeout = if idle { None } else { Some(self.next_tick_ms.saturating_sub(clock::now_ms())) };
            let timeout = if self.more.is_empty() { timeout } else { Some(0) };
            let (stream, inbox) = (&self.stream, &self.inbox);
            let has_work = || !inbox.is_empty() || stream.stop_by_ms().is_some();
            if let Err(failure) = self.poller.wait(timeout, false, has_work, &mut ready) {
                log::error!("accumulate cannot wait: {failure}");
                return;
            }
            #[cfg(test)]
            self.stream.fault_injection().pass(crate::stream::fault_injection::In::Accumulate);
            while let Ok(publisher) = self.inbox.try_recv() {
                self.adopt(*publisher);
            }
            for slot in self.more.take() {
                self.turn(slot, true, true);
            }
            for ready in &ready {
                if !self.more.has(ready.slot) {
                    self.turn(ready.slot, ready.readable, ready.closed);
                }
            }
            let due = clock::now_ms() >= self.next_tick_ms;
            if self.poller.take_nudge() || due {
                self.check_timers();
            }
        }
    }

    // ---- coming

    /// A publisher comes in; the stream's claim for it was made before.
    fn adopt(&mut self, NewPublisher { mut peer, stream_id, claim, source }: NewPublisher) {
        let standby = claim == Claim::Standby;
        let entry = self.feeds.vacant_entry();
        let slot = entry.key();
        if let Err(failure) = self.poller.add(&mut peer.conn.socket, slot) {
            self.stream.release(&peer.record);
            match source {
                Some(source) => source::over(&**self.stream.upcalls(), &source, &failure, Goes::Lost, 0),
                None => self.stream.upcalls().session_over(&peer.record, &failure),
            }
            return;
        }
        // Encoders often leave pings unanswered, but their systems take them, if they are there.
        let Timeouts { idle_ms, ping_ms, .. } = self.timeouts;
        let pings_ms = if ping_ms == 0 { idle_ms } else { ping_ms.saturating_mul(session::PINGS_LOST.into()) };
        peer.conn.socket.set_user_timeout(idle_ms.min(pings_ms));
        let state = if standby { State::Waiting } else { State::InProgress };
        let prev = peer.record.set_state(state);
        if source.is_none() {
            self.stream.upcalls().event(peer.record.event(EventKind::Session).moved(prev, state));
        }
        entry.insert(Box::new(Feed::new(
            peer,
            stream_id,
            source,
            self.stream.memory().budget().nothing(),
            clock::now_ms(),
        )));
        if standby {
            // The one it was to stand behind may have gone while it was on its way.
            if self.live.is_none() && self.next.is_none() {
                self.appoint(slot);
            }
        } else {
            if let Some(old) = self.live.take() {
                self.replace(old);
            }
            (self.live, self.next, self.grace_until_ms) = (Some(slot), None, None);
            self.stream.begin_feed();
        }
        // What came while it was being handed over is read at once: nobody tells us of it again.
        self.more.push(slot);
    }

    /// The publisher is replaced by one that took over.
    fn replace(&mut self, slot: usize) {
        let Some(mut feed) = self.feeds.try_remove(slot) else { return };
        let stream_id = feed.stream_id;
        if let Some(session) = feed.peer.conn.server() {
            session.end_publish(stream_id, "NetStream.Publish.BadName", TAKEN_OVER);
        }
        self.end(*feed, &Failure::ours(RRError::TakenOver, TAKEN_OVER));
    }

    /// This standby steps in at its next key frame.
    fn appoint(&mut self, slot: usize) {
        let Some(feed) = self.feeds.get(slot) else { return };
        if self.stream.book().succeed(&feed.peer.record) {
            self.next = Some(slot);
            self.grace_until_ms = None;
            self.stream.life().recovers();
        }
    }

    /// Whoever stands by, if anybody does, steps in at its next key frame.
    fn appoint_standby(&mut self) {
        let stands_by = |feed: &Feed| feed.peer.record.role() == Role::Standby;
        let standby = self.feeds.iter().find(|(_, feed)| stands_by(feed)).map(|(slot, _)| slot);
        if let Some(slot) = standby {
            self.appoint(slot);
        }
    }

    // ---- reading

    fn turn(&mut self, slot: usize, readable: bool, to_end: bool) {
        let fate = if readable { self.read(slot, to_end) } else { Fate::Stays };
        if matches!(fate, Fate::Stays) {
            self.flush(slot);
        }
        self.apply(slot, fate);
    }

    /// Sends what its session has to say. A peer that is gone may have left much behind: that is read before its end.
    fn flush(&mut self, slot: usize) {
        let Some(feed) = self.feeds.get_mut(slot).filter(|feed| feed.gone.is_none()) else { return };
        if let Err(failure) = feed.peer.conn.flush() {
            feed.gone = Some(failure);
            self.more.push(slot);
        }
    }

    fn read(&mut self, slot: usize, to_end: bool) -> Fate {
        let Some(feed) = self.feeds.get_mut(slot) else { return Fate::Stays };
        let now_us = clock::now_us();
        let stream = &self.stream;
        let mut is_live = self.live == Some(slot);
        let may_step_in = self.next == Some(slot);
        // One that is live may stand by later, and step in again with the headers it has sent meanwhile.
        let may_stand_by = stream.config().publisher_policy == PublisherPolicy::Standby;
        let (mut failed, mut took) = (None, false);
        let is_over = || stream.life().is_stopping();
        let push = |message: &Incoming<'_>| stream.memory().wait_for_room(is_over, || stream.ingest().push(message));
        let Feed { peer, kept, source, gone, .. } = &mut **feed;
        let to_end = to_end || gone.is_some();
        let record = &peer.record;
        let counters = source.as_ref().map_or(&record.counters, |source| &source.counters);
        let pumped = peer.conn.pump(&mut self.scratch, now_us / 1000, READ_BUDGET_BYTES, to_end, |event, body| {
            let session::Event::Message(head) = event else {
                return match event {
                    session::Event::Pause { .. } | session::Event::Receive { .. } => ControlFlow::Continue(()),
                    other => ControlFlow::Break(other),
                };
            };
            took = true;
            let message = Incoming::new(head, body, now_us);
            counters.message_in(head.type_id, body.len() as u64, message.picture, now_us);
            counters.time(head.timestamp_ms, message.facts.is_key_frame(head.type_id));
            let may_begin = (!is_live || may_stand_by) && kept.look(&message);
            let steps_in = may_begin && may_step_in && !is_live;
            let taken = if steps_in {
                is_live = true;
                stream.begin_feed();
                kept.before(&message).try_for_each(|header| push(&header)).and_then(|()| push(&message))
            } else if is_live {
                push(&message)
            } else {
                Ok(())
            };
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    failed = Some(failure);
                    ControlFlow::Break(event)
                }
            }
        });
        feed.count(took, now_us);
        // The session may want to be looked at before the next tick.
        self.next_tick_ms = self.next_tick_ms.min(feed.peer.conn.next_timeout().unwrap_or(u64::MAX));
        let pumped = feed.heard(pumped);
        let half_read = feed.peer.conn.heap_bytes();
        let held = stream.memory().wait_for_room(is_over, || feed.held.follow(half_read));
        if is_live && self.live != Some(slot) {
            self.step_in(slot);
        }
        if is_live && took {
            self.stream.relay().wake_for_data();
        }
        if let Some(failure) = failed {
            return Fate::Over(failure);
        }
        if let Err(failure) = held {
            return Fate::Over(failure);
        }
        match pumped {
            Ok(Pumped::Drained) => {
                let gone = self.feeds.get_mut(slot).and_then(|feed| feed.gone.take());
                gone.map_or(Fate::Stays, Fate::Over)
            }
            Ok(Pumped::More) => {
                self.more.push(slot);
                Fate::Stays
            }
            Ok(Pumped::Held(session::Event::EndPublish { .. })) => Fate::Listener(None),
            Ok(Pumped::Held(event)) => Fate::Listener(Some(event)),
            Err(failure) => Fate::Over(failure),
        }
    }

    /// A standby's key frame has come, and it is in the log: the standby is the publisher. One that was live by the
    /// host's switch stands by from here on.
    fn step_in(&mut self, slot: usize) {
        let before = self.live.replace(slot);
        if let Some(old) = before {
            self.rename(old, Role::Standby, State::Waiting);
        }
        self.next = None;
        self.rename(slot, Role::Publisher, State::InProgress);
        if before.is_none() {
            // A source may have its place among those that stand by.
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

    fn check_timers(&mut self) {
        let now_ms = clock::now_ms();
        self.next_tick_ms = now_ms + TICK_MS;
        // A change that was not told at once, and no message has come since.
        self.stream.ingest().tell_tracks(now_ms * 1000);
        let slots: Vec<usize> = self.feeds.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let fate = self.check_timers_of(slot, now_ms);
            self.apply(slot, fate);
        }
        if let Some(id) = self.stream.book().take_switch() {
            self.switch(id);
        }
        if self.grace_until_ms.is_some_and(|until| now_ms >= until) {
            self.grace_until_ms = None;
            self.stream.give_up_waiting();
        }
        let nobody = self.live.is_none() && self.next.is_none() && self.grace_until_ms.is_none();
        if nobody && self.stream.book().is_recovering() {
            // The host published, and has ended.
            self.appoint_standby();
            if self.next.is_none() {
                self.stream.give_up_waiting();
            }
        }
    }

    fn check_timers_of(&mut self, slot: usize, now_ms: u64) -> Fate {
        let max_kbps = if self.live == Some(slot) { self.stream.config().max_kbps } else { 0 };
        let Some(feed) = self.feeds.get_mut(slot) else { return Fate::Stays };
        while let Some(order) = feed.peer.record.next_order() {
            match order {
                Order::Close(text) => return Fate::Over(Failure::ours(RRError::Kicked, text)),
                Order::Reconnect(url, text) => feed.peer.ask_to_reconnect(url.as_deref(), &text),
                // Answers to an ask that is over.
                Order::Allow(_) | Order::Deny(..) | Order::Redirect(_) => {}
            }
        }
        if self.live == Some(slot)
            && let Some(failure) = self.stream.memory().eviction()
        {
            return Fate::Over(failure);
        }
        match feed.check(&self.stream, now_ms, max_kbps) {
            Ok(()) => {
                self.flush(slot);
                Fate::Stays
            }
            Err(failure) => Fate::Over(failure),
        }
    }

    /// The host wants this one live from its next key frame.
    fn switch(&mut self, id: Id) {
        let found = self.feeds.iter().find(|(_, feed)| feed.peer.record.id == id).map(|(slot, _)| slot);
        let Some(slot) = found.filter(|&slot| self.live != Some(slot)) else { return };
        match self.live.and_then(|live| self.feeds.get(live)) {
            Some(live) => {
                let (from, to) =
                    (Arc::clone(&live.peer.record), self.feeds.get(slot).map(|f| Arc::clone(&f.peer.record)));
                if to.is_some_and(|to| self.stream.book().exchange(&from, &to)) {
                    self.next = Some(slot);
                }
            }
            None => self.appoint(slot),
        }
    }

    // ---- going

    fn apply(&mut self, slot: usize, fate: Fate) {
        let (event, failure) = match fate {
            Fate::Stays => return,
            Fate::Listener(event) => (event, None),
            Fate::Over(failure) => (None, Some(failure)),
        };
        let Some(mut feed) = self.feeds.try_remove(slot) else { return };
        let record = Arc::clone(&feed.peer.record);
        // Who unpublishes means it; who is lost may come back.
        let hold_ms = failure.as_ref().map_or(0, |_| feed.hold_ms(self.stream.config().grace_ms.into()));
        // Before the connection goes anywhere: the name is free for whoever comes next.
        self.gone(slot, &record, hold_ms);
        match failure {
            Some(failure) => self.end(*feed, &failure),
            None => {
                self.poller.remove(&mut feed.peer.conn.socket);
                self.stream.upcalls().reclaim(feed.peer, event);
            }
        }
        self.stream.call_sources();
        self.stream.check_unused();
    }

    /// A publisher has gone: a standby follows, or the place is kept for a while, or the stream is without.
    fn gone(&mut self, slot: usize, record: &RRSession, hold_ms: u64) {
        let was_next = self.next.take_if(|next| *next == slot).is_some();
        let was_live = self.live.take_if(|live| *live == slot).is_some();
        let keep = hold_ms > 0 && was_live;
        let held = self.stream.book().lose(record, keep);
        if was_next && self.live.is_some() {
            // It was to be switched to and has gone: the one that is live keeps its place.
            let live = self.live.and_then(|live| self.feeds.get(live)).map(|feed| Arc::clone(&feed.peer.record));
            live.map(|live| self.stream.book().succeed(&live));
            return;
        }
        if was_live && self.next.is_some() {
            // The one that was to follow at its key frame follows all the same.
            self.stream.life().recovers();
            return;
        }
        if !held {
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
            self.stream.end_feed();
        }
    }

    /// A publisher's connection is over.
    fn end(&mut self, Feed { mut peer, source, goes, media_ms, since_ms, .. }: Feed, failure: &Failure) {
        if let Some(session) = peer.conn.client() {
            session.close();
        }
        // What the session has to say last (an onStatus) goes out if the socket takes it; the rest is the peer's loss.
        let _ = peer.conn.flush();
        self.poller.remove(&mut peer.conn.socket);
        half_close(&mut peer.conn.socket);
        self.stream.book().lose(&peer.record, false);
        match source {
            Some(source) => {
                source::over(&**self.stream.upcalls(), &source, failure, goes, media_ms.saturating_sub(since_ms))
            }
            None => self.stream.upcalls().session_over(&peer.record, failure),
        }
    }

    /// The stream stops: its publishers and whoever is still on the way here are closed.
    fn close(&mut self) {
        let failure = Failure::ours(RRError::Kicked, "the stream was stopped");
        // From here on nothing more arrives, so what is drained is all.
        self.stream.close_accumulate();
        self.stream.sources().list().iter().for_each(|source| source.stop(0));
        let feeds = std::mem::take(&mut self.feeds).into_iter().map(|(_, feed)| feed);
        let nothing = || self.stream.memory().budget().nothing();
        let now_ms = clock::now_ms();
        let feed = |NewPublisher { peer, stream_id, source, .. }| Feed::new(peer, stream_id, source, nothing(), now_ms);
        let waiting: Vec<Box<Feed>> = self.inbox.try_iter().map(|publisher| Box::new(feed(*publisher))).collect();
        for mut feed in feeds.collect::<Vec<_>>().into_iter().chain(waiting) {
            let stream_id = feed.stream_id;
            if let Some(session) = feed.peer.conn.server() {
                session.end_publish(stream_id, "NetStream.Publish.Denied", &failure.text);
            }
            self.end(*feed, &failure);
        }
        self.stream.end_feed();
    }
}
