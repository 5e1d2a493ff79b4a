//! relay: the thread (`relayDataThread`) that follows a stream's log and feeds its players and targets.
//!
//! The relay owns their sockets, reads included, and runs in phases: it waits; takes in who came (inbox); looks at what is
//! new in the log (the join index); sends to everybody who has room (the pass); reads who has something to say; and looks
//! at timers now and then (tick). It blocks on nobody: a socket that takes no more is left until the poller says so, its
//! lag is bounded, and past the bound a consumer jumps forward to a key frame.

mod input;
mod leave;
mod memory_pressure;
mod missing_key_frame;
mod pass;
mod targets;
mod timers;

use std::sync::Arc;

use crossbeam::channel::Receiver;
use slab::Slab;

use crate::config::READ_LITTLE_BYTES;
use crate::error::{Failure, Result};
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::poll::{Poller, Ready, Wake};
use crate::session::{Role, State};
use crate::stream::egress::consumer::{Consumer, Who};
use crate::stream::egress::foreign::Registrations;
use crate::stream::egress::join::{JoinIndex, Seen};
use crate::stream::egress::relay::pass::{Pass, Until};
use crate::stream::egress::subscription::Subscription;
use crate::stream::event::{Event, EventKind};
use crate::stream::front::RRStream;
use crate::stream::handover::Delivery;
use crate::stream::log::cursor::Cursor;
use crate::stream::peer::Peer;
use crate::stream::upcalls::Timeouts;

/// How often timeouts, lags and figures are looked at.
const TICK_MS: u64 = 250;

/// How a consumer goes on.
enum Fate {
    Stays,
    /// A stream has ended for it, or its peer has said something that is to be acted on now: it is between two messages.
    Between,
    Over(Failure),
}

struct Relay {
    stream: Arc<RRStream>,
    poller: Poller,
    wake: Arc<Wake>,
    inbox: Receiver<Delivery>,
    join_index: JoinIndex,
    consumers: Slab<Box<Consumer>>,
    /// Subscriptions of this stream on connections of other relays.
    registrations: Registrations,
    /// Somebody may hold no cursor and wait for a place.
    has_waiting: bool,
    /// Media flows: a publisher's messages have been seen, and its end has not.
    live: bool,
    /// When the last message came.
    media_ms: u64,
    /// Targets were closed because no media came: they are dialled when it does.
    has_idle_targets: bool,
    /// Somebody waits for a key frame to get more than before.
    filters_pending: bool,
    /// It has been told that the publisher's metadata is flawed.
    flaw_told: bool,
    /// When it was last told that consumers wait for a key frame and none comes.
    missing_key_frame_warned_ms: Option<u64>,
    /// The working memory of passes.
    pass: Pass,
    timeouts: Timeouts,
    next_tick_ms: u64,
    /// Slots to read without being told.
    more: Backlog,
    scratch: Box<[u8]>,
}

/// The thread's body; ends when the stream is told to stop and all is flushed, or the deadline has passed.
pub(in crate::stream) fn run(stream: Arc<RRStream>, poller: Poller, inbox: Receiver<Delivery>, cursor: Cursor) {
    let config = stream.config();
    let join_index = JoinIndex::new(cursor, config.gop_bytes, config.gop_ms).with_key_wait(config.key_wait_ms);
    let timeouts = stream.upcalls().timeouts();
    let mut this = Relay {
        stream,
        registrations: Registrations::default(),
        wake: poller.waker(),
        poller,
        inbox,
        join_index,
        consumers: Slab::new(),
        has_waiting: false,
        live: false,
        media_ms: 0,
        has_idle_targets: false,
        filters_pending: false,
        flaw_told: false,
        missing_key_frame_warned_ms: None,
        pass: Pass::default(),
        timeouts,
        next_tick_ms: 0,
        more: Backlog::default(),
        scratch: vec![0; READ_LITTLE_BYTES].into_boxed_slice(),
    };
    if let Err(failure) = this.run() {
        log::error!("relay cannot wait: {failure}");
    }
    this.close();
    this.stream.upcalls().stream_over(this.stream.id());
}

impl Relay {
    fn run(&mut self) -> Result<()> {
        let mut ready: Vec<Ready> = Vec::new();
        let mut until = Until::default();
        loop {
            self.wait(until, &mut ready)?;
            #[cfg(test)]
            self.stream.fault_injection().pass(crate::stream::fault_injection::In::Relay);
            if self.stream.state() == State::Failed {
                // Nobody gets anything more of it, and nobody goes back to the listener from here.
                return Ok(());
            }
            let now_us = clock::now_us();
            while let Ok(delivery) = self.inbox.try_recv() {
                self.adopt(delivery, now_us);
            }
            let seen = self.join_index.advance();
            self.notice(&seen, now_us);
            for ready in &ready {
                self.unblock(*ready);
            }
            until = self.run_pass(now_us);
            self.read_all(&ready, now_us);
            let nudged = self.poller.take_nudge();
            if nudged {
                self.refuse_waiting(now_us);
            }
            if nudged || now_us / 1000 >= self.next_tick_ms {
                self.next_tick_ms = now_us / 1000 + TICK_MS;
                self.tick(now_us);
            }
            if let Some(by) = self.stream.stop_by_ms() {
                let flushed = self.consumers.is_empty() && self.inbox.is_empty();
                if now_us / 1000 >= by || flushed {
                    return Ok(());
                }
            }
        }
    }

    fn wait(&mut self, until: Until, ready: &mut Vec<Ready>) -> Result<()> {
        let now_us = clock::now_us();
        let tick_ms = if self.consumers.is_empty() && self.stream.stop_by_ms().is_none() {
            None
        } else {
            Some(self.next_tick_ms.saturating_sub(now_us / 1000))
        };
        // What is due between two milliseconds is done at the later one: the poller counts in those.
        let in_ms = |at_us: u64| at_us.saturating_sub(now_us).div_ceil(1000);
        let timeout = [tick_ms, until.collected_us.map(in_ms), until.limited_us.map(in_ms)].into_iter().flatten().min();
        let timeout = if until.unfinished || !self.more.is_empty() { Some(0) } else { timeout };
        let collecting = until.collected_us.is_some() && !until.immediate;
        let (join_index, inbox, wake) = (&self.join_index, &self.inbox, &self.wake);
        let has_work = || !inbox.is_empty() || (!collecting && (join_index.is_behind() || wake.is_elsewhere()));
        let waited = self.poller.wait(timeout, collecting, has_work, ready);
        self.wake.take_elsewhere();
        waited
    }

    // ---- coming

    fn adopt(&mut self, delivery: Delivery, now_us: u64) {
        let consumer = match delivery {
            Delivery::Player(peer) => self.new_player(peer, now_us),
            Delivery::Target { target, conn, plan } => self.new_target(target, *conn, plan, now_us),
        };
        let mut consumer = Box::new(consumer);
        let entry = self.consumers.vacant_entry();
        if let Err(failure) = self.poller.add(&mut consumer.sink.rtmp().socket, entry.key()) {
            self.over(consumer, &failure);
            return;
        }
        // What came while it was being handed over is read at once: nobody tells us of it again.
        self.more.push(entry.key());
        self.filters_pending |= consumer.own().any(|subscription| subscription.wants_key_frame());
        let slot = entry.key();
        entry.insert(consumer);
        self.place(slot, now_us);
    }

    /// A player's connection, with the subscription that it came for; and with others that go on.
    fn new_player(&self, peer: Peer, now_us: u64) -> Consumer {
        let Peer { conn, record, mut subscriptions } = peer;
        record.set_role(Role::Player);
        let (mut is_new, mut goes_on) = (false, false);
        for subscription in &mut subscriptions {
            is_new |= subscription.come_to(&self.stream, now_us);
            goes_on |= !subscription.is_foreign() && !subscription.is_waiting();
        }
        let who = Who::Player(Arc::clone(&record));
        if is_new {
            let prev = record.set_state(State::Waiting);
            self.stream.upcalls().event(record.event(EventKind::Session).moved(prev, State::Waiting));
        } else if goes_on {
            // It had asked for one more, which it did not get.
            flows(&self.stream, &who);
        }
        Consumer::new(conn, who, subscriptions, self.stream.memory().private(), now_us / 1000)
    }

    /// Puts what waits of a consumer where it may begin, if it may.
    fn place(&mut self, slot: usize, now_us: u64) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        for subscription in consumer.subscriptions.iter_mut().filter(|subscription| !subscription.is_foreign()) {
            let point = subscription.waits().filter(|_| self.live);
            let point = point.and_then(|(start, waits)| self.join_index.place(start, waits));
            if let Some(point) = point {
                subscription.join(&point, now_us);
                flows(&self.stream, &consumer.who);
            }
            self.has_waiting |= subscription.is_waiting();
            self.filters_pending |= subscription.wants_key_frame();
        }
    }

    // ---- what is new in the log

    fn notice(&mut self, seen: &Seen, now_us: u64) {
        if seen.messages > 0 {
            self.media_ms = now_us / 1000;
        }
        if seen.messages > 0 && (!self.live || self.has_idle_targets) {
            self.live = true;
            self.has_idle_targets = false;
            for target in self.stream.book().targets() {
                self.stream.upcalls().dial(&target);
            }
        }
        if seen.headers_lost > 0 {
            log::warn!("{} headers were too large to keep: late joiners will miss them", seen.headers_lost);
        }
        if seen.flawed && !self.flaw_told {
            self.flaw_told = true;
            let name = self.stream.masked_name();
            log::warn!(
                "{name}: the publisher's metadata does not end as it should: players get it mended, targets as it came"
            );
        }
        if seen.messages > 0 && self.has_waiting {
            self.place_waiting(seen, now_us);
        }
        if let Some(key) = seen.key.as_ref().filter(|_| self.filters_pending) {
            self.filters_pending = false;
            for subscription in self.consumers.iter_mut().flat_map(|(_, consumer)| consumer.own()) {
                subscription.key_frame(key);
                self.filters_pending |= subscription.wants_key_frame();
            }
        }
        // Once the join index has been where the publisher ended, so that the log up to there is known.
        let (indexed, ingest) = (self.join_index.head().position, self.stream.ingest());
        let ended = ingest.ended_at().filter(|&end| self.live && indexed >= end && ingest.take_end(end));
        let end = match self.stream.stop_by_ms() {
            Some(_) => ended.or(Some(indexed)),
            None => ended,
        };
        if let Some(end) = end {
            self.live = false;
            for subscription in self.consumers.iter_mut().flat_map(|(_, consumer)| consumer.own()) {
                subscription.end_at(end);
            }
        }
        self.registrations.tell(seen.messages > 0, end, &self.stream, now_us);
    }

    fn place_waiting(&mut self, seen: &Seen, now_us: u64) {
        self.has_waiting = false;
        for (_, consumer) in &mut self.consumers {
            for subscription in consumer.subscriptions.iter_mut().filter(|subscription| !subscription.is_foreign()) {
                let point = subscription.waits();
                let point = point.and_then(|(start, waits)| self.join_index.place_at(seen, start, waits));
                if let Some(point) = point {
                    subscription.join(&point, now_us);
                    flows(&self.stream, &consumer.who);
                }
                self.has_waiting |= subscription.is_waiting();
                self.filters_pending |= subscription.wants_key_frame();
            }
        }
    }

    fn unblock(&mut self, ready: Ready) {
        if let Some(consumer) = self.consumers.get_mut(ready.slot).filter(|_| ready.writable) {
            consumer.blocked = false;
        }
    }
}

/// Media flows to it now.
fn flows(stream: &RRStream, who: &Who) {
    match who {
        Who::Player(record) => {
            let prev = record.set_state(State::InProgress);
            if prev != State::InProgress {
                stream.upcalls().event(record.event(EventKind::Session).moved(prev, State::InProgress));
            }
        }
        Who::Target(target) => target.move_to(State::InProgress, |event| event),
    }
}

fn slow_event(who: &Who, subscription: &Subscription, dropped: i64) -> Event {
    let about = match who {
        Who::Player(record) => record.event(EventKind::Slow),
        Who::Target(target) => Event { kind: EventKind::Slow, ..target.event() },
    };
    Event { stream: subscription.stream().id(), value: dropped, ..about }
}
