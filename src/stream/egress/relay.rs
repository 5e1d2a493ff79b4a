//! relay: the thread (`relayDataThread`) that follows a stream's log and feeds its players and targets.
//!
//! It owns their sockets, reads included. On each wake it first looks at what is new (the join index), then sends to
//! everybody who has room, then reads who has something to say. It blocks on nobody: a socket that takes no more is
//! left until the poller says so, its lag is bounded, and past the bound it jumps forward to a key frame.

mod input;
mod leave;
mod memory_pressure;
mod missing_key_frame;
mod targets;
mod timers;

use std::sync::Arc;

use crossbeam::channel::Receiver;
use slab::Slab;

use crate::config::{READ_LITTLE_BYTES, Start};
use crate::error::{Failure, Result};
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::poll::{Poller, Ready};
use crate::session::{self, Role, State};
use crate::stream::egress::consumer::{Bounds, Consumer, Place, Sent, Who};
use crate::stream::egress::guest::{Bell, Guest};
use crate::stream::egress::join::{JoinIndex, Seen, Waits};
use crate::stream::egress::rewrite::Rewrite;
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
    /// A player that stopped playing and stays connected.
    Listener(Option<session::Event>),
    Over(Failure),
}

/// What consumers with a `merge_ms` have to say to the next wait.
#[derive(Clone, Copy, Default)]
struct Collection {
    /// The first of them is due then.
    until_us: Option<u64>,
    /// Others want every message at once.
    immediate: bool,
}

struct Relay {
    stream: Arc<RRStream>,
    poller: Poller,
    inbox: Receiver<Delivery>,
    join_index: JoinIndex,
    consumers: Slab<Box<Consumer>>,
    /// Plays of this stream on connections of other relays.
    guests: Vec<Arc<Guest>>,
    /// Rung by the relays whose guests are on connections here.
    bell: Arc<Bell>,
    /// How many hold no cursor and wait for a key frame.
    waiting: usize,
    /// Media flows: a publisher's messages have been seen, and its end has not.
    live: bool,
    /// When the last message came.
    media_ms: u64,
    /// Targets were closed because no media came: they are dialled when it does.
    has_idle_targets: bool,
    /// Somebody waits for a key frame to get more than before.
    filters_pending: bool,
    /// When it was last told that consumers wait for a key frame and none comes.
    missing_key_frame_warned_ms: Option<u64>,
    /// When the next consumer that is held by its bound may have more.
    limited_until_us: Option<u64>,
    timeouts: Timeouts,
    next_tick_ms: u64,
    /// Slots to read without being told.
    more: Backlog,
    scratch: Box<[u8]>,
}

/// The thread's body; ends when the stream is told to stop and all is flushed, or the deadline has passed.
pub(in crate::stream) fn run(stream: Arc<RRStream>, poller: Poller, inbox: Receiver<Delivery>, cursor: Cursor) {
    let join_index = JoinIndex::new(cursor, stream.config().gop_bytes, stream.config().gop_ms);
    let timeouts = stream.upcalls().timeouts();
    let bell = Bell::new(poller.waker());
    let mut this = Relay {
        stream,
        bell,
        guests: Vec::new(),
        poller,
        inbox,
        join_index,
        consumers: Slab::new(),
        waiting: 0,
        live: false,
        media_ms: 0,
        has_idle_targets: false,
        filters_pending: false,
        missing_key_frame_warned_ms: None,
        limited_until_us: None,
        timeouts,
        next_tick_ms: 0,
        more: Backlog::default(),
        scratch: vec![0; READ_LITTLE_BYTES].into_boxed_slice(),
    };
    if let Err(failure) = this.run() {
        log::error!("relay cannot wait: {failure}");
    }
    this.close();
    this.stream.upcalls().stream_over(&this.stream, None);
}

impl Relay {
    fn run(&mut self) -> Result<()> {
        let mut ready: Vec<Ready> = Vec::new();
        let mut collection = Collection::default();
        loop {
            self.wait(collection, &mut ready)?;
            #[cfg(test)]
            self.stream.fault_injection.pass(crate::stream::fault_injection::In::Relay);
            if self.stream.state() == State::Failed {
                // Nobody gets anything more of it, and nobody goes back to the listener from here.
                return Ok(());
            }
            let now_us = clock::now_us();
            while let Ok(delivery) = self.inbox.try_recv() {
                self.adopt(delivery, now_us);
            }
            self.bell.silence();
            let seen = self.join_index.advance();
            self.notice(&seen, now_us);
            for ready in &ready {
                self.unblock(*ready);
            }
            collection = self.send_all(now_us);
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

    fn wait(&mut self, collection: Collection, ready: &mut Vec<Ready>) -> Result<()> {
        let now_us = clock::now_us();
        let tick_ms = if self.consumers.is_empty() && self.stream.stop_by_ms().is_none() {
            None
        } else {
            Some(self.next_tick_ms.saturating_sub(now_us / 1000))
        };
        // A collection that ends between two milliseconds ends at the later one: the poller counts in those.
        let collect_ms = collection.until_us.map(|until| until.saturating_sub(now_us).div_ceil(1000));
        let held_ms = self.limited_until_us.map(|until| until.saturating_sub(now_us).div_ceil(1000));
        let timeout = [tick_ms, collect_ms, held_ms].into_iter().flatten().min();
        let timeout = if self.more.is_empty() { timeout } else { Some(0) };
        let collecting = collection.until_us.is_some() && !collection.immediate;
        let (join_index, inbox, bell) = (&self.join_index, &self.inbox, &self.bell);
        let has_work = || !inbox.is_empty() || bell.is_rung() || (!collecting && join_index.is_behind());
        self.poller.wait(timeout, collecting, has_work, ready)
    }

    // ---- coming

    fn adopt(&mut self, delivery: Delivery, now_us: u64) {
        let now_ms = now_us / 1000;
        let config = self.stream.config();
        let consumer = match delivery {
            Delivery::Player { peer: Peer { conn, record, plays }, stream_id, start, media, resumes } => {
                record.set_role(Role::Player);
                if resumes.is_none() {
                    let prev = record.set_state(State::Waiting);
                    self.stream.upcalls().event(record.event(EventKind::Session).moved(prev, State::Waiting));
                }
                let bounds = Bounds { bytes: config.queue_bytes.into(), ms: config.queue_ms.into() };
                let form = Rewrite::of_player(stream_id, media);
                let mut consumer = Consumer::new(conn, Who::Player(record), form, start, bounds, now_ms);
                if start == Start::Key {
                    // What lies in the log unseen is not what comes next.
                    consumer.place = Place::Waiting(Waits { after: self.stream.log_position(), fresh: true });
                }
                consumer.merge_us = u64::from(config.merge_ms) * 1000;
                plays.iter().for_each(|play| play.set_owner(&self.bell));
                consumer.plays = plays;
                if let Some(play) = resumes {
                    consumer.resume(*play);
                }
                consumer
            }
            Delivery::Target { target, conn, plan } => self.new_target(target, *conn, plan, now_us),
        };
        let mut consumer = Box::new(consumer);
        consumer.charge_to(self.stream.memory().private());
        let entry = self.consumers.vacant_entry();
        if let Err(failure) = self.poller.add(&mut consumer.conn.socket, entry.key()) {
            self.waiting += usize::from(consumer.is_waiting());
            self.over(consumer, &failure);
            return;
        }
        // What came while it was being handed over is read at once: nobody tells us of it again.
        self.more.push(entry.key());
        self.waiting += usize::from(consumer.is_waiting());
        self.filters_pending |= consumer.pending_filters.want_key();
        let slot = entry.key();
        entry.insert(consumer);
        self.place(slot, now_us);
    }

    /// Puts a waiting consumer where it may begin, if it may.
    fn place(&mut self, slot: usize, now_us: u64) {
        let Some(consumer) = self.consumers.get_mut(slot).filter(|consumer| !consumer.paused) else { return };
        let Place::Waiting(waits) = consumer.place else { return };
        if !self.live {
            return;
        }
        if let Some(point) = self.join_index.place(consumer.start, waits) {
            consumer.join(&point, now_us / 1000);
            self.waiting -= 1;
            flows(&self.stream, consumer);
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
            for target in self.stream.targets() {
                self.stream.upcalls().dial(&target);
            }
        }
        if seen.headers_lost > 0 {
            log::warn!("{} headers were too large to keep: late joiners will miss them", seen.headers_lost);
        }
        if seen.messages > 0 && self.waiting > 0 {
            self.place_waiting(seen, now_us);
        }
        if let Some(key) = seen.key.as_ref().filter(|_| self.filters_pending) {
            self.filters_pending =
                self.consumers.iter_mut().fold(false, |more, (_, consumer)| consumer.filter_from(key) || more);
        }
        // Once the join index has been where the publisher ended, so that the log up to there is known.
        let indexed = self.join_index.head().position;
        let ended = self.stream.ended_at().filter(|&end| self.live && indexed >= end && self.stream.take_end(end));
        let end = match self.stream.stop_by_ms() {
            Some(_) => ended.or(Some(indexed)),
            None => ended,
        };
        if let Some(end) = end {
            self.live = false;
            for (_, consumer) in &mut self.consumers {
                consumer.leave_at.get_or_insert(end);
            }
        }
        let (join_index, live, stream) = (&self.join_index, self.live, &self.stream);
        self.guests.retain(|guest| {
            let stays = guest.serve(join_index, seen, live, end);
            // Afterwards: one that has gone has got all that it gets.
            stream.stats().sent(guest.take_sent(), now_us);
            stays
        });
    }

    fn place_waiting(&mut self, seen: &Seen, now_us: u64) {
        let now_ms = now_us / 1000;
        for (_, consumer) in &mut self.consumers {
            let Place::Waiting(waits) = consumer.place else { continue };
            if consumer.paused {
                continue;
            }
            let Some(point) = self.join_index.place_at(seen, consumer.start, waits) else { continue };
            let was_slow = !waits.fresh;
            consumer.join(&point, now_ms);
            consumer.caught_up = was_slow;
            self.waiting -= 1;
            flows(&self.stream, consumer);
        }
    }

    // ---- sending

    fn unblock(&mut self, ready: Ready) {
        if let Some(consumer) = self.consumers.get_mut(ready.slot).filter(|_| ready.writable) {
            consumer.blocked = false;
        }
    }

    /// Sends to everybody who has room and does not collect just now.
    fn send_all(&mut self, now_us: u64) -> Collection {
        let mut collection = Collection::default();
        let mut failed: Vec<(usize, Fate)> = Vec::new();
        let (mut bytes, mut messages) = (0, 0);
        let head = self.join_index.head();
        let mut limited_until_us: Option<u64> = None;
        for (slot, consumer) in &mut self.consumers {
            if consumer.close_by_ms.is_some() {
                continue;
            }
            if let Some(at) = consumer.limited_until_us.filter(|&at| now_us < at) {
                limited_until_us = Some(limited_until_us.map_or(at, |held| held.min(at)));
                continue;
            }
            consumer.limited_until_us = None;
            collection.immediate |= consumer.merge_us == 0;
            if consumer.blocked {
                continue;
            }
            if let Some(at) = consumer.due_us().filter(|at| now_us < *at) {
                collection.until_us = Some(collection.until_us.map_or(at, |until| until.min(at)));
                continue;
            }
            if consumer.paused && consumer.rest(self.join_index.newest_key(), head, now_us) {
                self.waiting += 1;
            }
            consumer.pending_filters.indexed(head.position);
            match consumer.send(now_us) {
                Ok(Sent::All) => {
                    if consumer.has_reached_end() {
                        failed.push((slot, Fate::Listener(consumer.said.take())));
                    } else if let Some(event) = consumer.said.take() {
                        // Nothing is half sent: the connection may go.
                        failed.push((slot, Fate::Listener(Some(event))));
                    }
                    let caught_up = matches!(&consumer.place, Place::At(cursor) if cursor.position() >= head.position);
                    if caught_up && consumer.slow_since_ms.take().is_some() {
                        self.stream.upcalls().event(slow_event(&self.stream, consumer, 0));
                    }
                }
                Ok(Sent::Blocked) => consumer.blocked = true,
                Ok(Sent::Limited) => {
                    limited_until_us = limited_until_us.into_iter().chain(consumer.limited_until_us).min();
                }
                Err(failure) => failed.push((slot, Fate::Over(failure))),
            }
            let sent = consumer.take_sent();
            bytes += sent.0;
            messages += sent.1;
        }
        self.limited_until_us = limited_until_us;
        self.stream.stats().sent((bytes, messages), now_us);
        for (slot, fate) in failed {
            let fate = match fate {
                Fate::Over(failure) => self.last_words(slot, failure, now_us),
                fate => fate,
            };
            self.leave(slot, fate, now_us);
        }
        collection
    }
}

/// Media flows to it now.
fn flows(stream: &RRStream, consumer: &Consumer) {
    match &consumer.who {
        Who::Player(record) => {
            let prev = record.set_state(State::InProgress);
            if prev != State::InProgress {
                stream.upcalls().event(record.event(EventKind::Session).moved(prev, State::InProgress));
            }
        }
        Who::Target(target) => target.move_to(State::InProgress, |event| event),
    }
}

fn slow_event(stream: &RRStream, consumer: &Consumer, dropped: i64) -> Event {
    let about = match &consumer.who {
        Who::Player(record) => record.event(EventKind::Slow),
        Who::Target(target) => Event { kind: EventKind::Slow, ..target.event() },
    };
    Event { stream: stream.id(), value: dropped, ..about }
}
