//! One publisher's connection as accumulate holds it: its rate, its timeouts, and its state for another process.

use std::sync::Arc;

use crate::config::{OVER_RATE_MS, UNREAD_BYTES};
use crate::error::{Failure, RRError, Result};
use crate::net::conn::Pumped;
use crate::session::{Role, State};
use crate::stream::book::Claim;
use crate::stream::exported::target::{About, MovedPull};
use crate::stream::exported::{self, Doing, MovedFeed, Named, Publishing};
use crate::stream::front::RRStream;
use crate::stream::handover::NewPublisher;
use crate::stream::ingest::Incoming;
use crate::stream::ingest::accumulate::owed::Owed;
use crate::stream::ingest::kept::KeptHeaders;
use crate::stream::log::lineage::LogPlace;
use crate::stream::memory::ROOM_MS;
use crate::stream::memory::budget::Charge;
use crate::stream::peer::Peer;
use crate::stream::remote::source::{self, Goes};
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;
use crate::stream::stats::Counters;

/// A publisher's connection.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) peer: Peer,
    pub(super) stream_id: u32,
    pub(super) kept: KeptHeaders,
    /// The headers are in another process's log, and not yet in this one.
    pub(super) opens: bool,
    /// The source of this connection, if we opened it, and the reason of its end.
    pub(super) source: Option<Arc<Target>>,
    pub(super) goes: Goes,
    since_ms: u64,
    /// When the last media message came; 0 before the first.
    media_ms: u64,
    /// How long media came in other processes before.
    ran_before_ms: u64,
    /// The failure of a write: the connection is read to its end and then ends with this failure.
    pub(super) gone: Option<Failure>,
    /// Bytes of the connection that have been counted.
    bytes_in: u64,
    /// Since when the publisher is above `max_kbps`.
    over_since_ms: Option<u64>,
    /// Bytes that a source sent over its earlier connections.
    sent_before: u64,
    /// Memory of its half-read messages.
    memory: Charge,
    /// Nothing was half-read or owed when that was counted last.
    was_clear: bool,
    pub(super) owed: Owed,
    /// Whether its socket can be read late; `None` as long as nobody has asked.
    can_wait: Option<bool>,
    /// It is left alone until it has sent much.
    waits: bool,
    /// Its socket is reported with so many bytes.
    reported_from: u32,
    /// This was so since its timers were checked last.
    has_waited: bool,
    /// What comes is acknowledged soon also if nobody reads it.
    acknowledges_soon: bool,
    /// The publisher is closed if it finds no room until then, monotonic ms; `None` while there is room.
    short_by_ms: Option<u64>,
}

impl Feed {
    pub(super) fn new(publisher: NewPublisher, memory: Charge, now_ms: u64) -> Self {
        let NewPublisher { peer, stream_id, claim, moved, source, ran_ms, .. } = publisher;
        let opens = moved.is_some();
        let MovedFeed { mut kept, mut owed, .. } = *moved.unwrap_or_default();
        if claim == Claim::Standby {
            // Of what it sent before it was to stand by here, only the headers matter.
            for (head, body) in std::mem::take(&mut owed) {
                kept.look(&Incoming::new(head, &body, now_ms * 1000));
            }
        }
        let sent_before = source.as_ref().map_or(0, |source| source.counters.bytes_out.get());
        // What was sent over this connection in another process has been counted there.
        let sent_before = sent_before.saturating_sub(if opens { peer.conn.bytes_out() } else { 0 });
        // A session has one connection, on which it may have published or played before; a source may have had other
        // connections.
        let bytes_in = if source.is_some() { 0 } else { peer.record.counters.bytes_in.get() };
        Self {
            sent_before,
            peer,
            stream_id,
            opens,
            kept,
            source,
            goes: Goes::Lost,
            since_ms: now_ms,
            media_ms: 0,
            ran_before_ms: ran_ms,
            gone: None,
            bytes_in,
            over_since_ms: None,
            memory,
            was_clear: false,
            owed: Owed::of(owed, now_ms * 1000),
            can_wait: None,
            waits: false,
            reported_from: 1,
            has_waited: false,
            acknowledges_soon: false,
            short_by_ms: None,
        }
    }

    /// Whether its last message found no room. Then the connection is not read, and its peer waits at the socket.
    pub(super) fn is_short(&self) -> bool {
        self.short_by_ms.is_some()
    }

    /// Whether it may be read some time after it has sent something.
    pub(super) fn can_wait(&mut self) -> bool {
        *self.can_wait.get_or_insert_with(|| self.peer.conn.socket.can_be_read_late())
    }

    /// Lets the poller report it only once it has sent much, or has ended; or again as soon as it has sent anything.
    pub(super) fn wait_for_more(&mut self, on: bool) {
        // The peer may have announced another window since.
        let bytes = if on { UNREAD_BYTES.min(self.peer.conn.may_be_unread()) } else { 1 };
        if bytes != std::mem::replace(&mut self.reported_from, bytes) {
            self.peer.conn.socket.read_from(bytes);
        }
        if on != std::mem::replace(&mut self.waits, on) {
            self.has_waited = true;
            if !std::mem::replace(&mut self.acknowledges_soon, true) {
                self.peer.conn.socket.acknowledge_soon(true);
            }
        }
    }

    /// Once it has not waited for a while, what comes is acknowledged as usual again.
    fn acknowledge_as_usual(&mut self) {
        let has_waited = std::mem::take(&mut self.has_waited) || self.waits;
        if !has_waited {
            self.reset_acknowledgement();
        }
    }

    /// What comes is acknowledged as usual, also when another task or process has the connection.
    pub(super) fn reset_acknowledgement(&mut self) {
        if std::mem::take(&mut self.acknowledges_soon) {
            self.peer.conn.socket.acknowledge_soon(false);
        }
    }

    /// Makes it the live publisher. With `goes_on` its headers are in the log already; otherwise they go before its
    /// next message, or the ones that wait.
    pub(super) fn begins(&mut self, goes_on: bool) {
        if !goes_on && self.opens {
            self.owed.lead(&self.kept);
        }
        self.opens &= !goes_on && self.owed.is_empty();
    }

    /// Another publisher is live instead: the log gets nothing more from it, and messages that have found no room are
    /// dropped.
    pub(super) fn stands_by(&mut self) {
        self.owed = Owed::default();
    }

    /// Notes that it is not read, because its stream moves to another process.
    pub(super) fn is_held(&mut self, now_ms: u64) {
        self.short_by_ms = Some(now_ms + ROOM_MS);
    }

    /// Looks for room for what the publisher has sent: appends the messages that wait, and charges the half-read ones.
    /// True if there is room for all; otherwise other streams are giving back memory, and the caller has to call this
    /// again soon.
    ///
    /// # Errors
    /// [`RRError::Limit`] if there has been no room for [`ROOM_MS`], and other failures that close the publisher.
    pub(super) fn find_room(&mut self, stream: &RRStream, now_ms: u64) -> Result<bool> {
        if stream.ingest().is_held(now_ms * 1000) {
            self.is_held(now_ms);
            return Ok(false);
        }
        let is_clear = self.peer.conn.is_clear() && self.owed.is_empty() && !self.is_short();
        if is_clear && self.was_clear {
            return Ok(true);
        }
        self.was_clear = is_clear;
        let half_read = self.peer.conn.heap_bytes() + self.owed.bytes();
        let found = self.owed.pay(stream.ingest(), self.peer.conn.body()).and_then(|()| self.memory.follow(half_read));
        let refused = match found {
            Err(failure) if failure.kind == RRError::Limit => failure,
            result => {
                self.short_by_ms = None;
                return result.map(|()| true);
            }
        };
        let by_ms = *self.short_by_ms.get_or_insert(now_ms + ROOM_MS);
        if now_ms >= by_ms || stream.life().is_stopping() {
            return Err(refused);
        }
        stream.memory().eviction().map_or(Ok(false), Err)
    }

    /// Counts what a turn of reading brought.
    pub(super) fn count(&mut self, took: bool, now_us: u64) {
        let bytes = self.peer.conn.bytes_in().saturating_sub(self.bytes_in);
        self.bytes_in += bytes;
        // The server of a source may send pings without media; a session that wants to publish takes precedence over
        // such a source.
        if bytes > 0 && (took || self.source.is_none()) {
            self.peer.record.set_read(now_us / 1000);
        }
        let counters = self.counters();
        counters.rate_in.add(bytes, now_us);
        counters.bytes_in.add(bytes);
        if took {
            counters.last_media_us.set(now_us);
            self.media_ms = now_us / 1000;
            if let Some(source) = self.source.as_ref().filter(|_| self.peer.record.role() == Role::Source) {
                source.move_to(State::InProgress, |event| event);
            }
        }
    }

    /// How long media has come over the connection of a source.
    pub(super) fn ran_ms(&self) -> u64 {
        self.ran_before_ms.saturating_add(self.media_ms.saturating_sub(self.since_ms))
    }

    /// Whether the connection of a source is about to end.
    pub(super) fn is_ending(&self) -> bool {
        self.gone.is_some() || self.source.as_ref().is_some_and(|source| !source.is_served())
    }

    /// The counters; those of a source cover all its connections.
    fn counters(&self) -> &Counters {
        self.source.as_ref().map_or(&self.peer.record.counters, |source| &source.counters)
    }

    /// How long the publisher's place is kept after its connection has ended. A source that reconnects as planned gets
    /// the time to connect, so that players can stay. A source that was stopped is not lost and has no grace window.
    pub(super) fn hold_ms(&self, grace_ms: u64) -> u64 {
        match (&self.goes, &self.source) {
            (Goes::Unwatched, _) => 0,
            // The host has stopped it, so it does not come back.
            (_, Some(source)) if source.is_stopped() => 0,
            (Goes::Renewed | Goes::Elsewhere(..), Some(source)) => {
                grace_ms.max(source.endpoint().config.connect_ms.into())
            }
            _ => grace_ms,
        }
    }

    /// Turns an event of a source's server into the end of the pull; events of publishers are passed on.
    pub(super) fn heard(&mut self, pumped: Result<Pumped>) -> Result<Pumped> {
        match pumped {
            Ok(Pumped::Event(event)) if self.source.is_some() => {
                let (failure, goes) = source::heard(event);
                self.goes = goes;
                Err(failure)
            }
            pumped => pumped,
        }
    }

    /// Ends a source that the host has changed or stopped, and one on demand that nobody has played for its time.
    fn check_source(&mut self, stream: &RRStream, now_ms: u64) -> Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        if source.is_stopped() {
            return Err(Failure::ours(RRError::Kicked, "stopped"));
        }
        if !source.is_served() {
            self.goes = Goes::Renewed;
            return Err(Failure::ours(RRError::Closed, "its settings have changed"));
        }
        if let Some(after_ms) = stream.config().unwatched_ms.filter(|_| source.endpoint().config.on_demand)
            && stream.sources().unwatched_ms(now_ms) > u64::from(after_ms)
        {
            self.goes = Goes::Unwatched;
            return Err(Failure::ours(RRError::Closed, "nobody plays it"));
        }
        Ok(())
    }

    /// The state with which another process continues it; `place` is the end of the log that it fills.
    ///
    /// # Errors
    /// [`RRError::Unsupported`] if it cannot continue elsewhere, [`RRError::State`] if the connection has failed,
    /// [`RRError::NoMem`].
    pub(super) fn state(&mut self, place: Option<LogPlace>, now_ms: u64) -> Result<Vec<u8>> {
        if let Some(failure) = &self.gone {
            return Err(Failure::ours(RRError::State, format!("its connection has failed: {failure}")));
        }
        let (feed, record) = (self.moved(place, now_ms)?, &self.peer.record);
        let doing = Doing::Publishes(Publishing { stream_id: self.stream_id, named: Named::of(record), feed });
        exported::state_of(&mut self.peer.conn, record, &doing, now_ms)
    }

    /// The state with which another process continues its source, which has this history.
    ///
    /// # Errors
    /// [`RRError::Unsupported`] if it is no source's, [`RRError::NoMem`], and those of [`Conn::client_snapshot`].
    ///
    /// [`Conn::client_snapshot`]: crate::net::conn::Conn::client_snapshot
    pub(super) fn source_state(&mut self, place: Option<LogPlace>, history: Backoff, now_ms: u64) -> Result<Vec<u8>> {
        let (feed, ran_ms, via) = (self.moved(place, now_ms)?, self.ran_ms(), self.peer.record.names().via);
        let Some(source) = &self.source else {
            return Err(Failure::ours(RRError::Unsupported, "it is no source"));
        };
        About::of(source, history).pulling(&mut self.peer.conn, &MovedPull { feed, via, ran_ms }, now_ms)
    }

    fn moved(&self, place: Option<LogPlace>, now_ms: u64) -> Result<MovedFeed> {
        self.count_sent(now_ms);
        Ok(MovedFeed { kept: self.kept.clone(), place, owed: self.owed.messages(self.peer.conn.body())? })
    }

    fn count_sent(&self, now_ms: u64) {
        let sent = (self.sent_before + self.peer.conn.bytes_out()).saturating_sub(self.counters().bytes_out.get());
        self.counters().sent(sent, now_ms * 1000);
    }

    /// Acts on the session's timers, on the host's changes of a source, and on the rate limit.
    pub(super) fn check(&mut self, stream: &RRStream, now_ms: u64, max_kbps: u32) -> Result<()> {
        self.count_sent(now_ms);
        self.counters().tcp.refresh(&self.peer.conn, now_ms);
        self.acknowledge_as_usual();
        self.check_source(stream, now_ms)?;
        if stream.ingest().is_held(now_ms * 1000)
            && let Some(session) = self.peer.conn.inbound()
        {
            session.unheard(now_ms);
        }
        // No question is open while the session publishes, so there is no event to act on.
        self.peer.conn.handle_timeout(now_ms)?;
        self.check_rate(now_ms, max_kbps)
    }

    fn check_rate(&mut self, now_ms: u64, max_kbps: u32) -> Result<()> {
        let kbps = self.counters().rate_in.kbps(now_ms * 1000);
        if max_kbps == 0 || kbps <= max_kbps {
            self.over_since_ms = None;
            return Ok(());
        }
        let since = *self.over_since_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since) >= OVER_RATE_MS {
            return Err(Failure::limit(format!("{kbps} kbit/s, max_kbps is {max_kbps}")));
        }
        Ok(())
    }
}
