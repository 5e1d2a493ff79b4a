//! One consumer of a stream's log: a cursor, a socket, and what lies between where the bytes are not the same.
//!
//! The relay owns consumers and tells them when to send. A plain player sends the log's own bytes, as many as the
//! socket takes, in one call. What must be different for this consumer (control messages, join headers, the rest of a
//! message before a jump, all that its [`Rewrite`] makes another message of) goes through its private `out`.

mod plays;
mod private_memory;

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::{Start, media};
use crate::error::Result;
use crate::net::clock;
use crate::net::conn::Conn;
use crate::session;
use crate::stream::egress::guest::Play;
use crate::stream::egress::join::{HeaderForm, HeaderSet, JoinIndex, JoinPoint, Waits};
use crate::stream::egress::pending_filter::PendingFilters;
use crate::stream::egress::push::Push;
use crate::stream::egress::rate_limit::RateLimit;
use crate::stream::egress::rewrite::Rewrite;
use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::{Cursor, Lag};
use crate::stream::memory::budget::Charge;
use crate::stream::peer::RRSession;
use crate::stream::remote::target::Target;
use crate::stream::stats::{Counters, Tally};

/// Private bytes that are collected before they are written, on the path of consumers that get their own messages.
pub(in crate::stream) const OUT_BYTES: usize = 64 * 1024;

/// A private buffer larger than this is given back when it is empty: idle consumers hold next to nothing.
const OUT_KEPT_BYTES: usize = 1024;

/// Who it is.
#[derive(Debug)]
pub(in crate::stream) enum Who {
    /// A session that plays.
    Player(Arc<RRSession>),
    /// A target we push to.
    Target(Arc<Target>),
}

impl Who {
    pub(in crate::stream) fn counters(&self) -> &Counters {
        match self {
            Self::Player(record) => &record.counters,
            Self::Target(target) => &target.counters,
        }
    }
}

/// Where it is in the log.
pub(in crate::stream) enum Place {
    /// Nowhere: it holds no cursor and waits for this.
    Waiting(Waits),
    /// Here.
    At(Cursor),
}

/// How a turn of sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Sent {
    /// Everything there is has been sent.
    All,
    /// The socket takes no more now.
    Blocked,
    /// It may not have more now.
    Limited,
}

/// Bounds of a consumer's lag.
#[derive(Clone, Copy, Debug)]
pub(in crate::stream) struct Bounds {
    pub(in crate::stream) bytes: u64,
    pub(in crate::stream) ms: u64,
}

/// A player or a target.
pub(in crate::stream) struct Consumer {
    pub(in crate::stream) conn: Conn,
    pub(in crate::stream) who: Who,
    pub(in crate::stream) place: Place,
    pub(in crate::stream) start: Start,
    pub(in crate::stream) bounds: Bounds,
    /// A message waits this long for others to go with it; 0 sends at once.
    pub(in crate::stream) merge_us: u64,
    /// The socket took less than all; the poller tells when it takes more.
    pub(in crate::stream) blocked: bool,
    /// It may not have more than so much in a time; where it is held for that, it is looked at again then.
    pub(in crate::stream) rate_limit: Option<RateLimit>,
    pub(in crate::stream) limited_until_us: Option<u64>,
    pub(in crate::stream) paused: bool,
    /// It has been at the head since it joined: from then on lag counts.
    pub(in crate::stream) caught_up: bool,
    pub(in crate::stream) joined_ms: u64,
    /// The socket last took something.
    pub(in crate::stream) progress_ms: u64,
    /// Since when it jumps.
    pub(in crate::stream) slow_since_ms: Option<u64>,
    pub(in crate::stream) slow_told_ms: u64,
    /// Log position at which the stream ends for it.
    pub(in crate::stream) leave_at: Option<u64>,
    /// It has been told goodbye and is closed by then.
    pub(in crate::stream) close_by_ms: Option<u64>,
    /// How it is to get messages.
    pub(in crate::stream) rewrite: Rewrite,
    /// What it is to get more, and from where on.
    pub(in crate::stream) pending_filters: PendingFilters,
    /// What it is besides, where it is a target.
    pub(in crate::stream) push: Option<Box<Push>>,
    /// Plays of other streams on its connection, or of this one again.
    pub(in crate::stream) plays: Vec<Play>,
    /// What its peer said, to be acted on between two messages.
    pub(in crate::stream) said: Option<session::Event>,
    due: Option<(HeaderSet, u32)>,
    out: Vec<u8>,
    out_at: usize,
    tally: Tally,
    /// Bytes and messages sent that its stream has counted, and of those it has not what other streams count: its plays'.
    counted: (u64, u64),
    others: (u64, u64),
    /// What a target received over the connections before this one.
    received_before: u64,
    /// Memory of the private bytes and of the session.
    held: Option<Charge>,
}

impl Consumer {
    pub(in crate::stream) fn new(
        conn: Conn,
        who: Who,
        rewrite: Rewrite,
        start: Start,
        bounds: Bounds,
        now_ms: u64,
    ) -> Self {
        let received_before = if let Who::Target(target) = &who { target.counters.bytes_in.get() } else { 0 };
        Self {
            received_before,
            conn,
            who,
            place: Place::Waiting(Waits::to_join()),
            start,
            bounds,
            merge_us: 0,
            blocked: false,
            rate_limit: None,
            limited_until_us: None,
            paused: false,
            caught_up: false,
            joined_ms: now_ms,
            progress_ms: now_ms,
            slow_since_ms: None,
            slow_told_ms: 0,
            leave_at: None,
            close_by_ms: None,
            rewrite,
            pending_filters: PendingFilters::default(),
            push: None,
            plays: Vec::new(),
            said: None,
            due: None,
            out: Vec::new(),
            out_at: 0,
            tally: Tally::default(),
            counted: (0, 0),
            others: (0, 0),
            held: None,
        }
    }

    /// It begins here: headers first, then from the cursor on.
    pub(in crate::stream) fn join(&mut self, point: &JoinPoint, now_ms: u64) {
        self.due = Some((point.headers.clone(), point.ts_ms));
        self.place = Place::At(point.cursor.clone());
        self.caught_up = false;
        self.joined_ms = now_ms;
        self.take_pending_filters();
    }

    /// It begins anew, with all headers, so it gets at once what it was to get later.
    fn take_pending_filters(&mut self) {
        for turn in self.pending_filters.all() {
            self.rewrite.widen(turn.media, turn.tracks);
        }
    }

    pub(in crate::stream) fn is_waiting(&self) -> bool {
        matches!(self.place, Place::Waiting(_))
    }

    /// Kinds of media the peer wants or does not want from here on. What it wants again comes with its header: pictures
    /// at the next key frame, sound where the log has got to.
    pub(in crate::stream) fn receive(&mut self, audio: Option<bool>, video: Option<bool>, join_index: &JoinIndex) {
        for (wanted, bit) in [(audio, media::AUDIO), (video, media::VIDEO)] {
            match wanted {
                Some(true) if self.rewrite.allowed & bit == 0 => {}
                Some(true) if (self.rewrite.media | self.pending_filters.media()) & bit != 0 => {}
                // It begins at a picture anyway.
                Some(true) if self.is_waiting() => self.rewrite.media |= bit,
                Some(true) => {
                    let at_once = bit != media::VIDEO || !join_index.has_video();
                    self.pending_filters.add(bit, 0, at_once.then(|| join_index.here()));
                }
                Some(false) => {
                    self.rewrite.media &= !bit;
                    self.pending_filters.drop_media(bit);
                }
                None => {}
            }
        }
    }

    /// A key frame has come: what waits for one begins there. True where something waits on.
    pub(in crate::stream) fn filter_from(&mut self, key: &JoinPoint) -> bool {
        if let Place::At(cursor) = &self.place {
            self.pending_filters.key(key, cursor.position());
        }
        self.pending_filters.want_key()
    }

    /// A paused consumer keeps its place as long as that costs nothing, the log being kept from `newest_key` on for
    /// joiners: it can go on there as if nothing had been. Otherwise it lets go, and goes on as one that joins, but not
    /// before where it was. True where it has let go.
    pub(in crate::stream) fn rest(&mut self, newest_key: Option<&JoinPoint>, head: Head, now_us: u64) -> bool {
        let Place::At(cursor) = &mut self.place else { return false };
        let kept = newest_key.is_some_and(|key| key.cursor.position() <= cursor.position());
        let lag = cursor.lag(head, now_us);
        let near = lag.bytes <= self.bounds.bytes && lag.ms <= self.bounds.ms;
        if !cursor.at_boundary() || (kept && near && self.leave_at.is_none()) {
            return false;
        }
        self.place = Place::Waiting(Waits::behind(cursor.position()));
        self.due = None;
        self.pending_filters.let_go();
        true
    }

    /// When what it has not been sent is due, by the oldest message of it; `None`: now, or there is nothing.
    pub(in crate::stream) fn due_us(&mut self) -> Option<u64> {
        let private = self.out_at < self.out.len() || self.conn.has_output();
        match &mut self.place {
            Place::At(cursor) if self.merge_us > 0 && self.leave_at.is_none() && !private => {
                cursor.mark_here().map(|mark| mark.arrival_us + self.merge_us)
            }
            _ => None,
        }
    }

    /// Bytes and messages it was sent of the relay's own stream since this was last asked.
    pub(in crate::stream) fn take_sent(&mut self) -> (u64, u64) {
        let sent = self.tally.total();
        let (bytes, messages) = (sent.0 - self.counted.0, sent.1 - self.counted.1);
        self.counted = sent;
        let others = (self.others.0.min(bytes), self.others.1.min(messages));
        self.others = (self.others.0 - others.0, self.others.1 - others.1);
        (bytes - others.0, messages - others.1)
    }

    /// How far it is behind, as bytes, messages and age.
    pub(in crate::stream) fn lag(&mut self, head: Head, now_us: u64) -> Lag {
        match &mut self.place {
            Place::At(cursor) => cursor.lag(head, now_us),
            Place::Waiting(_) => Lag::default(),
        }
    }

    /// Whether it is where the stream ends for it, with nothing half sent.
    pub(in crate::stream) fn has_reached_end(&self) -> bool {
        let Some(end) = self.leave_at else { return false };
        self.out_at == self.out.len()
            && match &self.place {
                Place::At(cursor) => cursor.position() >= end && cursor.at_boundary(),
                Place::Waiting(_) => true,
            }
    }

    /// Leaves the place it has fallen behind at: what it is in the middle of is kept to be finished, the rest of the
    /// way to `to` (or to the next key frame) is dropped. Gives what was dropped, in messages and bytes.
    pub(in crate::stream) fn jump(&mut self, to: Option<&JoinPoint>, head: Head) -> (u64, u64) {
        let Place::At(cursor) = &mut self.place else { return (0, 0) };
        let tail = cursor.rest_of_message();
        let kept = tail.len() as u64;
        if !tail.is_empty() {
            self.out.drain(..self.out_at);
            self.out_at = 0;
            self.out.extend_from_slice(tail);
        }
        let (from, first) = (cursor.position() + kept, cursor.message_number() + u64::from(kept > 0));
        let (position, message) = match to {
            Some(point) => (point.cursor.position(), point.cursor.message_number()),
            None => (head.position, head.messages),
        };
        match to {
            Some(point) => {
                self.due = Some((point.headers.clone(), point.ts_ms));
                cursor.jump_to(&point.cursor);
                self.take_pending_filters();
            }
            None => {
                self.due = None;
                self.pending_filters.let_go();
                self.place = Place::Waiting(Waits::behind(head.position));
            }
        }
        (message.saturating_sub(first), position.saturating_sub(from))
    }

    /// Sends what there is, as long as the socket takes it.
    ///
    /// # Errors
    /// What the socket or the allocator says; the consumer is over then.
    pub(in crate::stream) fn send(&mut self, now_us: u64) -> Result<Sent> {
        loop {
            if let Some(sent) = self.send_out(now_us)? {
                return Ok(sent);
            }
            if self.conn.has_output() && self.at_boundary() {
                self.out = self.conn.take_output();
                continue;
            }
            if !self.plays.is_empty() && self.at_boundary() && self.send_plays(now_us)? {
                self.hold(0)?;
                continue;
            }
            let Place::At(cursor) = &mut self.place else { return Ok(Sent::All) };
            if let Some((headers, ts_ms)) = self.due.take() {
                let form = self.rewrite.headers(ts_ms);
                self.hold(headers.bytes())?;
                headers.encode(&form, &mut self.out)?;
                self.hold(0)?;
                continue;
            }
            if (self.paused || self.said.is_some()) && cursor.at_boundary() {
                // It sees nothing until it goes on, or nothing more at all.
                return Ok(Sent::All);
            }
            if cursor.at_boundary()
                && let Some((turn, point)) = self.pending_filters.reached(cursor.position())
            {
                let media = self.rewrite.widen(turn.media, turn.tracks);
                let form = HeaderForm { media, ..self.rewrite.headers(point.ts_ms) };
                self.hold(point.headers.bytes())?;
                point.headers.encode(&form, &mut self.out)?;
                self.hold(0)?;
                continue;
            }
            let left = self.leave_at.map_or(u64::MAX, |end| end.saturating_sub(cursor.position()));
            if left == 0 && cursor.at_boundary() {
                return Ok(Sent::All);
            }
            let left = left.min(self.pending_filters.distance(cursor.position()));
            let rewrite = &self.rewrite;
            let mut run =
                if rewrite.is_plain() { cursor.run() } else { cursor.run_until(|mark| rewrite.is_special(mark)) };
            if u64::try_from(run.len()).is_ok_and(|len| len > left) {
                run = run.get(..usize::try_from(left).unwrap_or(0)).unwrap_or_default();
            }
            if run.is_empty() {
                if !self.encode_specials(now_us)? {
                    self.caught_up = true;
                    return Ok(Sent::All);
                }
                continue;
            }
            let Some(run) = within(&mut self.rate_limit, run, now_us) else {
                self.limited_until_us = self.rate_limit.as_ref().map(RateLimit::ready_us);
                return Ok(Sent::Limited);
            };
            let asked = run.len();
            match self.conn.write(run)? {
                None => return Ok(Sent::Blocked),
                Some(n) => {
                    if let Some(limit) = &mut self.rate_limit {
                        limit.spend(n);
                    }
                    let before = cursor.message_number();
                    cursor.advance(n);
                    let messages = cursor.message_number() - before;
                    self.tally.sent(n as u64, messages, now_us, self.who.counters());
                    self.progress_ms = now_us / 1000;
                    if n < asked {
                        return Ok(Sent::Blocked);
                    }
                }
            }
        }
    }

    /// Writes the private bytes; `None` when none is left.
    fn send_out(&mut self, now_us: u64) -> Result<Option<Sent>> {
        while let Some(rest) = self.out.get(self.out_at..).filter(|rest| !rest.is_empty()) {
            let Some(rest) = within(&mut self.rate_limit, rest, now_us) else {
                self.limited_until_us = self.rate_limit.as_ref().map(RateLimit::ready_us);
                return Ok(Some(Sent::Limited));
            };
            match self.conn.write(rest)? {
                None => return Ok(Some(Sent::Blocked)),
                Some(n) => {
                    if let Some(limit) = &mut self.rate_limit {
                        limit.spend(n);
                    }
                    self.out_at += n;
                    self.tally.sent(n as u64, 0, now_us, self.who.counters());
                    self.progress_ms = now_us / 1000;
                }
            }
        }
        self.out_at = 0;
        if self.out.capacity() > OUT_KEPT_BYTES {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
        // What TLS holds has left the log, not the machine.
        Ok((!self.conn.settle()?).then_some(Sent::Blocked))
    }

    fn at_boundary(&self) -> bool {
        match &self.place {
            Place::At(cursor) => cursor.at_boundary(),
            Place::Waiting(_) => true,
        }
    }

    /// Makes the messages that this consumer gets in a form of its own, as far as they follow each other, within
    /// [`OUT_BYTES`]. False where none is next.
    fn encode_specials(&mut self, now_us: u64) -> Result<bool> {
        let Place::At(cursor) = &mut self.place else { return Ok(false) };
        let turn = cursor.position().saturating_add(self.pending_filters.distance(cursor.position()));
        let end = self.leave_at.map_or(turn, |end| end.min(turn));
        let mut any = false;
        while self.out.len() < OUT_BYTES && cursor.position() < end {
            let Some(message) = cursor.message() else { break };
            if !self.rewrite.is_special(&message.mark) {
                break;
            }
            any = true;
            if self.rewrite.encode(&message, &mut self.out)? {
                self.tally.sent(0, 1, now_us, self.who.counters());
            }
            cursor.skip_message();
        }
        Ok(any)
    }

    /// Makes the queue's figures current; called now and then.
    pub(in crate::stream) fn measure(&mut self, head: Head, now_us: u64) {
        self.recount();
        // What a paused one does not get, it does not wait for.
        let lag = if self.paused { Lag::default() } else { self.lag(head, now_us) };
        let private = (self.out.len() - self.out_at) as u64;
        let counters = self.who.counters();
        self.tally.report(counters);
        counters.queue_bytes.set(lag.bytes + private);
        counters.queue_msgs.set(lag.messages);
        counters.queue_ms.set(if lag.bytes == 0 { 0 } else { lag.ms });
        counters.queue_ms_max.set(counters.queue_ms_max.get().max(counters.queue_ms.get()));
        counters.received(self.received_before, self.conn.bytes_in(), now_us);
        if counters.msgs_out.get() > 0 {
            let ago_us = i64::try_from(now_us.saturating_sub(self.progress_ms * 1000)).unwrap_or(0);
            counters.last_media_us.store(clock::wall_us() - ago_us, Ordering::Relaxed);
            if let Place::At(cursor) = &self.place
                && let Some(ts_ms) = cursor.passed_ts_ms()
            {
                counters.sent_time(ts_ms);
            }
        }
        counters.tcp.refresh(&self.conn, now_us / 1000);
    }

    /// Whether what waits for it waits for it: the socket, or its own bound.
    pub(in crate::stream) fn is_stuck(&self) -> bool {
        self.blocked || self.limited_until_us.is_some()
    }

    /// It ends after the message it is in the middle of.
    pub(in crate::stream) fn leave_here(&mut self) {
        let here = match &self.place {
            Place::At(cursor) => cursor.position() + cursor.rest_of_message().len() as u64,
            Place::Waiting(waits) => waits.after,
        };
        self.leave_at = Some(self.leave_at.map_or(here, |end| end.min(here)));
    }

    /// Whether it is between two messages, with nothing half sent.
    pub(in crate::stream) fn is_between(&self) -> bool {
        self.out_at == self.out.len() && self.at_boundary()
    }

    /// The connection and who it was, for the listener or the end.
    pub(in crate::stream) fn into_parts(mut self) -> (Conn, Who) {
        mem::take(&mut self.out);
        self.tally.report(self.who.counters());
        (self.conn, self.who)
    }
}

/// As much of the bytes as may go now; `None` where none may.
fn within<'a>(limit: &mut Option<RateLimit>, bytes: &'a [u8], now_us: u64) -> Option<&'a [u8]> {
    let Some(limit) = limit else { return Some(bytes) };
    let room = limit.room(now_us).min(bytes.len());
    bytes.get(..room).filter(|some| !some.is_empty())
}
