//! One subscription: a consumer's position in a stream's log, its filters and bounds, and the form of the messages on the
//! consumer's wire.
//!
//! A subscription yields the next bytes, either a run of the log's own or rewritten messages in the consumer's
//! `Private` buffer, and notes how many were sent. It owns no socket and knows no other subscription: the relay that
//! owns its consumer decides where a subscription begins, when it jumps and where it ends. A player's subscription is
//! on its stream's book as long as it lives.

use std::io::IoSlice;
use std::sync::Arc;

use crate::config::{Start, StreamConfig, TargetConfig, media};
use crate::error::{Failure, RRError, Result};
use crate::net::conn::Conn;
use crate::session::{FlvForm, State};
use crate::stream::egress::foreign::{Foreign, Registration};
use crate::stream::egress::join::{JoinIndex, JoinPoint, Waits};
use crate::stream::egress::lag_watch::{Bounds, LagWatch};
use crate::stream::egress::pending_filter::PendingFilters;
use crate::stream::egress::position::Position;
use crate::stream::egress::private::Private;
use crate::stream::egress::rate_limit::RateLimit;
use crate::stream::egress::rewrite::{DueHeaders, Rewrite};
use crate::stream::egress::subscribed::Subscribed;
use crate::stream::egress::tags::{Tags, Written};
use crate::stream::egress::track_mask;
use crate::stream::event::Id;
use crate::stream::exported::{Play, Share};
use crate::stream::identity::Identity;
use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::{Cursor, Lag, Message};
use crate::stream::log::lineage::LogPlace;
use crate::stream::log::segment::flag;
use crate::stream::record::RRSession;
use crate::stream::stats::{Counters, Dropped, Outgoing, Sent};

/// A subscription's next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Next {
    /// Send this many bytes of the log, from its position on.
    Log(usize),
    /// Messages were put into the private buffer, or left out: ask again.
    Private,
    /// Send nothing: there is no more, or the subscription is paused or at its end.
    Nothing,
    /// Send nothing until this time, in monotonic microseconds: the subscription is collecting.
    Collects(u64),
    /// Send nothing until this time: the rate is used up.
    Limited(u64),
}

/// The part of a run that the connection took.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::stream) struct Taken {
    /// Bytes of the run that are done.
    pub(in crate::stream) run: usize,
    /// Bytes that were sent for them: the same number, or that of their tags.
    pub(in crate::stream) sent: usize,
}

impl Taken {
    /// For a connection that was given the run's own bytes.
    pub(in crate::stream) fn of(taken: Option<usize>) -> Self {
        let run = taken.unwrap_or(0);
        Self { run, sent: run }
    }
}

/// One play of a connection, or a target's push. The fields in the order of declaration: what each pass touches comes
/// first, together, down to the beginning of `lag_watch`.
#[repr(C)]
pub(crate) struct Subscription {
    position: Position,
    /// Up to here all had come when it was last due: that goes out without collecting again, in however many runs and passes.
    due_to: u64,
    /// Present while the relay of another stream owns the connection.
    foreign: Option<Box<Foreign>>,
    /// The limit on the rate of sending.
    rate_limit: Option<Box<RateLimit>>,
    /// Headers to send before the next message.
    due: Option<DueHeaders>,
    /// Kinds and tracks that the consumer will get from a later place on.
    pending_filters: PendingFilters,
    rewrite: Rewrite,
    /// Messages and bytes that were sent and not yet counted.
    sent: Sent,
    paused: bool,
    start: Start,
    /// A message waits this long for others to go with it; 0 sends at once.
    merge_us: u32,
    lag_watch: LagWatch,
    stream: Arc<dyn Subscribed>,
    /// The player that is on the stream's book for this subscription.
    player: Option<Arc<RRSession>>,
    /// What it has had of the stream in another process, until it has a place here.
    moved: Option<Box<Share>>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscription({} to {})", self.rewrite.stream_id, self.stream().masked_name())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // A failed stream keeps its players on the book, which then shows whose connections failed with it.
        if let Some(record) = self.player.take()
            && (self.foreign.is_some() || self.stream.state() != State::Failed)
        {
            self.stream.leave(&record);
        }
    }
}

impl Subscription {
    fn new(stream: Arc<dyn Subscribed>, start: Start, bounds: Bounds, merge_ms: u32, rewrite: Rewrite) -> Self {
        Self {
            stream,
            player: None,
            foreign: None,
            position: Position::new(),
            start,
            lag_watch: LagWatch::new(bounds),
            merge_us: in_us(merge_ms),
            due_to: 0,
            rate_limit: None,
            paused: false,
            rewrite,
            pending_filters: PendingFilters::default(),
            due: None,
            sent: Sent::default(),
            moved: None,
        }
    }

    /// The subscription of a player that has had this of the stream in another process.
    #[must_use]
    pub(crate) fn resuming(mut self, share: Share) -> Self {
        self.paused = share.paused;
        self.rewrite.media = share.media | share.missing;
        self.rewrite.resume_tags(share.tags);
        self.moved = Some(Box::new(share));
        self
    }

    /// The subscription of a target that has had this of the stream in another process; where it has to begin anew, it
    /// gets all that its settings ask for.
    #[must_use]
    pub(in crate::stream) fn resuming_push(mut self, share: Share) -> Self {
        self.rewrite.resume_clock(share.clock);
        self.moved = Some(Box::new(share));
        self
    }

    /// Lets these kinds and tracks through as well, from the next key frame on.
    pub(in crate::stream) fn await_key_frame_for(&mut self, media: u32, tracks: u64) {
        if media != 0 || tracks != 0 {
            self.pending_filters.add(media, tracks, None);
        }
    }

    /// The subscription of a player that is on the book of `stream` already, on this message stream. `allowed` are the
    /// kinds that the player may get, bits of [`media`]; `flv` is set if it gets an FLV stream instead of RTMP
    /// messages.
    pub(crate) fn of_player(
        stream: Arc<dyn Subscribed>,
        record: Arc<RRSession>,
        stream_id: u32,
        start: Start,
        allowed: u32,
        flv: Option<FlvForm>,
    ) -> Self {
        let config = stream.identity().config();
        let bounds = Bounds::of_players(&config);
        let merge_ms = config.merge_ms;
        let mut this = Self::new(stream, start, bounds, merge_ms, Rewrite::of_player(stream_id, allowed, flv));
        this.player = Some(record);
        this
    }

    /// The subscription of a target with these settings.
    pub(in crate::stream) fn of_target(
        stream: Arc<dyn Subscribed>,
        stream_id: u32,
        config: &TargetConfig,
        now_us: u64,
    ) -> Self {
        let merge_ms = config.merge_ms.unwrap_or_else(|| stream.identity().config().merge_ms);
        let rewrite = Rewrite::of_target(stream_id, config);
        let mut this = Self::new(stream, config.start, Bounds::of_target(config), merge_ms, rewrite);
        this.limit_rate(config, now_us);
        this
    }

    fn limit_rate(&mut self, config: &TargetConfig, now_us: u64) {
        self.rate_limit = config.max_kbps.map(|kbps| Box::new(RateLimit::new(kbps, now_us)));
    }

    /// The stream of the subscription.
    pub(crate) fn stream(&self) -> &Identity {
        self.stream.identity()
    }

    /// The message stream id of the subscription.
    pub(in crate::stream) fn stream_id(&self) -> u32 {
        self.rewrite.stream_id
    }

    // ---- the relay that owns the connection

    /// Notes that the connection has come to the relay of the stream `owner`. If `owner` is this subscription's stream,
    /// a foreign subscription becomes an own one. True if the subscription was never with a relay before.
    pub(in crate::stream) fn come_to(&mut self, owner: Id, now_us: u64) -> bool {
        if self.stream().id() != owner {
            return false;
        }
        if self.player.is_some() {
            // They may have changed on its way here, where nobody takes them.
            self.take_settings_of_stream();
        }
        let Some(foreign) = self.foreign.take() else {
            self.lag_watch.came(now_us);
            if self.start == Start::Key && self.player.is_some() {
                // The next key frame is one after the log's present end: the join index may not have seen all before.
                let after = self.stream.log_position();
                self.position.wait(Waits { after, ..Waits::to_join() });
            }
            return true;
        };
        foreign.registration().count_sent(std::mem::take(&mut self.sent));
        if let Some(end) = foreign.ended_at() {
            self.position.end_at(end);
        }
        false
    }

    /// Makes the subscription foreign when the connection leaves the relay of its stream for another one. Returns the
    /// registration that its own relay keeps; `None` if it is foreign already.
    pub(in crate::stream) fn leave_home(&mut self, join_index: &JoinIndex, live: bool) -> Option<Arc<Registration>> {
        let record = self.player.as_ref().filter(|_| self.foreign.is_none())?;
        let foreign = Foreign::new(join_index, live, Arc::clone(record));
        let registration = Arc::clone(foreign.registration());
        self.foreign = Some(Box::new(foreign));
        self.note_place();
        Some(registration)
    }

    /// Tells its stream's relay, if another one owns the connection, from where on the log is needed here.
    pub(in crate::stream) fn note_place(&self) {
        let Some(foreign) = &self.foreign else { return };
        let place = self.needs_from().unwrap_or_else(|| foreign.join_index.cursor());
        foreign.registration().note_place(Some(place));
    }

    /// Whether the relay of another stream owns the connection.
    pub(in crate::stream) fn is_foreign(&self) -> bool {
        self.foreign.is_some()
    }

    /// Takes the settings that the stream has now; for players.
    fn take_settings_of_stream(&mut self) {
        let config = self.stream.identity().config();
        self.take_settings(&config, None);
    }

    /// Follows another stream's log with the subscription's own join index, and acts on the notes of that stream's
    /// relay.
    pub(in crate::stream) fn follow(&mut self, now_us: u64) {
        let Some(mut foreign) = self.foreign.take() else { return };
        let seen = foreign.join_index.advance_to_end(foreign.live, u64::MAX);
        foreign.live |= seen.messages > 0;
        if foreign.has_changed(self.stream.identity().changes()) {
            self.take_settings_of_stream();
        }
        let head = foreign.join_index.head();
        let lets_go = foreign.take_let_go();
        if lets_go {
            let dropped = self.jump(None, head);
            foreign.registration().count_dropped(dropped);
        }
        // Another publisher may have begun before the stream's relay could say that it has ended.
        let ended = foreign.ended_at().or_else(|| seen.at_end.then_some(head.position));
        if let Some(end) = ended {
            self.position.end_at(end);
            foreign.live = false;
        } else if seen.messages > 0
            && foreign.live
            && let Some((start, waits)) = self.waits()
            && let Some(point) = foreign.join_index.place_at(&seen, start, waits)
        {
            self.join(&point, now_us);
        }
        if let Some(key) = &seen.key {
            self.key_frame(key);
        }
        self.indexed(head.position);
        self.foreign = Some(foreign);
        if lets_go {
            self.note_place();
        }
    }

    /// The join index of the subscription's stream: its own if it is foreign, otherwise the relay's (`home`).
    fn index<'a>(&'a self, home: &'a JoinIndex) -> &'a JoinIndex {
        self.foreign.as_ref().map_or(home, |foreign| &foreign.join_index)
    }

    // ---- another process

    /// Whether it comes from another process, and has not gone on here yet.
    pub(in crate::stream) fn has_moved(&self) -> bool {
        self.moved.is_some()
    }

    /// What it has had in another process, once.
    pub(in crate::stream) fn take_moved(&mut self) -> Option<Box<Share>> {
        self.moved.take()
    }

    /// Goes on here, where it was in another process, with the kinds and tracks that it got there and without headers.
    pub(in crate::stream) fn go_on(&mut self, cursor: Cursor, share: &Share, now_us: u64) {
        self.rewrite.set_filter(share.media, share.tracks);
        self.lag_watch.joined(true, now_us);
        self.position.go_to(cursor);
    }

    /// Goes on as one that has fallen behind, not before this place.
    pub(in crate::stream) fn go_on_behind(&mut self, position: u64) {
        self.position.wait(Waits::behind(position));
    }

    /// The place from which it needs the log, at the next message; `None` where it waits for one.
    pub(in crate::stream) fn needs_from(&self) -> Option<Cursor> {
        self.position.next_message()
    }

    /// How many bytes it may be behind, besides those of a group of pictures.
    pub(in crate::stream) fn may_be_behind(&self) -> u64 {
        self.lag_watch.bounds.bytes()
    }

    /// The play that it is, for another process; `log` names the log of its stream.
    ///
    /// # Errors
    /// [`RRError::State`] where it is at its end.
    pub(in crate::stream) fn play(&self, log: &[u8]) -> Result<Play> {
        let (stream_id, name, allowed) = (self.stream_id(), self.stream().name().clone(), self.rewrite.allowed);
        Ok(Play { stream_id, name, start: self.start, allowed, share: self.share(log)? })
    }

    /// Where it begins, and the kinds that it may have.
    pub(in crate::stream) fn terms(&self) -> (Start, u32) {
        (self.start, self.rewrite.allowed)
    }

    /// The name of its stream's log.
    pub(in crate::stream) fn log_name(&self) -> Vec<u8> {
        self.stream.log_name()
    }

    /// What it has had of the stream, for another process; `log` names this one's.
    ///
    /// # Errors
    /// [`RRError::State`] where it is at its end.
    pub(in crate::stream) fn share(&self, log: &[u8]) -> Result<Share> {
        if self.position.end().is_some() {
            return Err(Failure::ours(RRError::State, "what it plays is at its end"));
        }
        let place = self.position.reached().map(|position| LogPlace { log: log.to_vec(), position });
        let (media, (clock, tracks)) = (self.rewrite.media, self.rewrite.clock_and_tracks());
        Ok(Share {
            media,
            missing: self.pending_filters.media() & !media,
            tracks,
            missing_tracks: self.pending_filters.tracks() & !tracks,
            clock,
            tags: self.rewrite.tags().map(Tags::state),
            paused: self.paused,
            place,
            waits: self.is_waiting(),
        })
    }

    /// Appends what the consumer is to get before the next message, the rest of one and headers, to `out`, and notes in
    /// `share` what that changes.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(in crate::stream) fn unsent(&self, share: &mut Share, out: &mut Vec<u8>) -> Result<()> {
        if let Some(tags) = self.rewrite.tags() {
            self.position.with_half_sent(|message| tags.append_rest(message, out))?;
        } else {
            let rest = self.position.rest_of_message();
            out.try_reserve(rest.len()).map_err(|_| RRError::NoMem)?;
            out.extend_from_slice(rest);
        }
        let Some(due) = &self.due else { return Ok(()) };
        // The headers are due still where it stays.
        let mut rewrite = self.rewrite.clone();
        rewrite.encode_headers(due, out)?;
        share.tags = rewrite.tags().map(Tags::state);
        Ok(())
    }

    // ---- begin and end

    pub(in crate::stream) fn is_waiting(&self) -> bool {
        self.position.waits().is_some()
    }

    /// The start setting and the wait of a waiting subscription; `None` while it is paused or has a place.
    pub(in crate::stream) fn waits(&self) -> Option<(Start, Waits)> {
        let waits = self.position.waits().filter(|_| !self.paused)?;
        Some((self.start, waits.settled(self.rewrite.is_for_browser())))
    }

    /// Begins at this point: sends the headers first, then the log from the cursor on.
    pub(in crate::stream) fn join(&mut self, point: &JoinPoint, now_us: u64) {
        // A subscription that fell behind had been at the head before.
        let was_at_head = self.position.waits().is_some_and(|waits| !waits.fresh);
        self.lag_watch.joined(was_at_head, now_us);
        self.begin_at(point);
        self.position.go_to(point.cursor.clone());
    }

    /// Begins again with all headers, including those of pending kinds and tracks, so these begin at once. Video waits
    /// for the next key frame if the point is one without pictures.
    fn begin_at(&mut self, point: &JoinPoint) {
        for filter in self.pending_filters.all() {
            self.rewrite.widen(filter.media, filter.tracks);
        }
        let media = self.rewrite.media;
        self.due = Some(DueHeaders::at(point, media));
        if point.without_pictures && media & media::VIDEO != 0 {
            self.rewrite.media &= !media::VIDEO;
            self.pending_filters.add(media::VIDEO, 0, None);
        }
    }

    /// Ends the subscription at this position, unless it has an end already.
    pub(in crate::stream) fn end_at(&mut self, position: u64) {
        self.position.end_at(position);
    }

    /// Ends the subscription after the message that is half sent.
    pub(in crate::stream) fn end_here(&mut self) {
        self.position.end_here();
    }

    /// Whether the subscription is at its end, with nothing half sent.
    pub(in crate::stream) fn has_ended(&self) -> bool {
        self.position.has_ended()
    }

    /// Whether the subscription is between two messages.
    pub(in crate::stream) fn is_between(&self) -> bool {
        self.position.is_between()
    }

    // ---- requests of the peer and changes of settings

    /// Pauses or resumes the subscription.
    pub(in crate::stream) fn pause(&mut self, on: bool) {
        self.paused = on;
    }

    pub(in crate::stream) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Sets the kinds of media that the peer wants from here on. A kind that it wants again comes with its header:
    /// video at the next key frame, audio from the end of the log on.
    pub(in crate::stream) fn receive(&mut self, audio: Option<bool>, video: Option<bool>, home: &JoinIndex) {
        for (wanted, bit) in [(audio, media::AUDIO), (video, media::VIDEO)] {
            match wanted {
                Some(true) if self.rewrite.allowed & bit == 0 => {}
                Some(true) if (self.rewrite.media | self.pending_filters.media()) & bit != 0 => {}
                // A waiting subscription begins with all headers anyway.
                Some(true) if self.is_waiting() => self.rewrite.media |= bit,
                Some(true) => {
                    let join_index = self.index(home);
                    let at_once = bit != media::VIDEO || !join_index.has_video();
                    let here = at_once.then(|| join_index.here());
                    self.pending_filters.add(bit, 0, here);
                }
                Some(false) => {
                    self.rewrite.media &= !bit;
                    self.pending_filters.drop_media(bit);
                }
                None => {}
            }
        }
    }

    /// Applies the settings of a target that can change without a new connection.
    pub(in crate::stream) fn update(&mut self, config: &TargetConfig, now_us: u64) {
        self.lag_watch.bounds = Bounds::of_target(config);
        self.start = config.start;
        self.merge_us = in_us(config.merge_ms.unwrap_or_else(|| self.stream().config().merge_ms));
        if self.rate_limit.as_ref().map(|limit| limit.kbps()) != config.max_kbps {
            self.limit_rate(config, now_us);
        }
        self.pending_filters.clear();
        if self.rewrite.narrow(config) {
            let (media, tracks) = (config.media, track_mask::of_setting(config.tracks));
            if self.is_waiting() {
                // A waiting subscription begins at a key frame anyway.
                self.rewrite.widen(media, tracks);
            } else {
                self.pending_filters.add(media, tracks, None);
            }
        }
    }

    /// Applies new settings of the stream; `target` are those of a target, which has bounds of its own.
    pub(in crate::stream) fn take_settings(&mut self, stream: &StreamConfig, target: Option<&TargetConfig>) {
        if target.is_none() {
            self.lag_watch.bounds = Bounds::of_players(stream);
        }
        self.merge_us = in_us(target.and_then(|target| target.merge_ms).unwrap_or(stream.merge_ms));
    }

    /// Whether pending kinds or tracks wait for a key frame.
    pub(in crate::stream) fn wants_key_frame(&self) -> bool {
        self.pending_filters.want_key()
    }

    /// Lets the filters that wait for a key frame begin at this one.
    pub(in crate::stream) fn key_frame(&mut self, key: &JoinPoint) {
        if let Some(cursor) = self.position.cursor() {
            self.pending_filters.key(key, cursor.position());
        }
    }

    /// Notes how far the join index has read.
    pub(in crate::stream) fn indexed(&mut self, position: u64) {
        self.pending_filters.indexed(position);
    }

    // ---- sending

    /// Plans the next step. If `begins` is false, no further message is begun. No message behind an end of the stream goes
    /// before the join index (the relay's, up to `home`, or its own) has passed the end, because the consumer may have to be
    /// told of it.
    ///
    /// # Errors
    /// Errors of memory and of its limit; each ends the consumer.
    pub(in crate::stream) fn plan(
        &mut self,
        private: &mut Private,
        begins: bool,
        home: Head,
        now_us: u64,
    ) -> Result<Next> {
        let indexed = self.head(home).position;
        if let Some(tail) = self.position.tail() {
            let len = tail.bytes().len();
            return Ok(self.within_rate(len, now_us).map_or_else(Next::Limited, Next::Log));
        }
        let leave_at = self.position.end();
        let Some(cursor) = self.position.cursor_mut() else { return Ok(Next::Nothing) };
        if cursor.at_boundary() {
            let stands = self.paused || !begins;
            let collects = self.merge_us > 0 && cursor.position() >= self.due_to;
            if collects && leave_at.is_none() && !stands {
                let until = cursor.mark_here().map(|mark| mark.arrival_us + u64::from(self.merge_us));
                if let Some(until) = until.filter(|&until| now_us < until) {
                    return Ok(Next::Collects(until));
                }
            }
            if let Some(due) = self.due.take() {
                private.append(due.bytes(), |out| self.rewrite.encode_headers(&due, out))?;
                return Ok(Next::Private);
            }
            if stands || leave_at.is_some_and(|end| cursor.position() >= end) {
                // A paused subscription gets nothing, and one at its end nothing more.
                return Ok(Next::Nothing);
            }
            if let Some((filter, point)) = self.pending_filters.reached(cursor.position()) {
                let due = DueHeaders::at(&point, self.rewrite.widen(filter.media, filter.tracks));
                private.append(due.bytes(), |out| self.rewrite.encode_headers(&due, out))?;
                return Ok(Next::Private);
            }
        }
        let position = cursor.position();
        let left = leave_at.map_or(u64::MAX, |end| end.saturating_sub(position));
        let left = left.min(self.pending_filters.distance(position));
        let rewrite = &self.rewrite;
        let len = if rewrite.is_plain() {
            let run = cursor.run().len();
            run + cursor.beyond(run).len()
        } else {
            cursor.run_until(|mark| rewrite.is_special(mark)).len()
        };
        // All who collect get the same messages in a pass. If those that come during the pass went to some of them, each of
        // these would collect from another message on, and have a pass of its own.
        let stops_here = cursor.may_pass_end() || self.merge_us > 0;
        let left = if stops_here { left.min(indexed.saturating_sub(position)) } else { left };
        self.due_to = indexed;
        let len = usize::try_from(left).map_or(len, |left| left.min(len));
        if len == 0 {
            return self.rewrite_next(private, indexed);
        }
        Ok(self.within_rate(len, now_us).map_or_else(Next::Limited, Next::Log))
    }

    /// Rewrites consecutive messages that differ for this consumer, up to the bytes of one send.
    fn rewrite_next(&mut self, private: &mut Private, indexed: u64) -> Result<Next> {
        let leave_at = self.position.end();
        let Some(cursor) = self.position.cursor_mut() else { return Ok(Next::Nothing) };
        let end = cursor.position().saturating_add(self.pending_filters.distance(cursor.position()));
        let end = leave_at.map_or(end, |leave_at| end.min(leave_at));
        let mut any = false;
        while !private.is_full() && cursor.position() < end {
            let at = cursor.position();
            let Some(message) = cursor.message() else { break };
            let is_behind_end = message.mark.has(flag::AFTER_END) && at >= indexed;
            if is_behind_end || !self.rewrite.is_special(&message.mark) {
                break;
            }
            any = true;
            let rewrite = &mut self.rewrite;
            if private.append(message.wire.len(), |out| rewrite.encode(&message, out))? {
                self.sent.msgs += 1;
            }
            cursor.skip_message();
        }
        if any {
            return Ok(Next::Private);
        }
        self.lag_watch.at_head();
        Ok(Next::Nothing)
    }

    /// Whether the subscription has sent all up to the head of its log, with nothing to be done before the next message; it
    /// has caught up then.
    pub(in crate::stream) fn reaches(&mut self, home: Head) -> bool {
        let head = self.head(home);
        let is_at_head = self.position.is_at(head.position) && self.position.tail().is_none();
        let reaches = is_at_head && self.due.is_none() && self.pending_filters.is_empty();
        if reaches {
            self.lag_watch.at_head();
        }
        reaches
    }

    /// The place of a subscription that is sent the log's own bytes from there on, and nothing else; `None` for any other.
    pub(in crate::stream) fn in_step(&self) -> Option<&Cursor> {
        let is_plain = self.rewrite.is_plain() && self.foreign.is_none() && self.rate_limit.is_none();
        let goes_on = !self.paused && self.position.end().is_none() && !self.lag_watch.is_slow();
        let has_more = self.due.is_some() || !self.pending_filters.is_empty() || !self.position.is_between();
        self.position.cursor().filter(|_| is_plain && goes_on && !has_more)
    }

    /// Takes one that was [in step](Self::in_step) to this place. Returns what was sent to it up to there.
    pub(in crate::stream) fn catch_up(&mut self, place: &Cursor) -> Sent {
        let Some(cursor) = self.position.cursor_mut() else { return Sent::default() };
        let (from, to) = (cursor.head(), place.head());
        cursor.jump_to(place);
        Sent { msgs: to.messages - from.messages, bytes: to.position - from.position }
    }

    /// How many of `len` bytes the rate limit allows now; if none, the time at which some may go.
    pub(in crate::stream) fn within_rate(&mut self, len: usize, now_us: u64) -> std::result::Result<usize, u64> {
        let Some(limit) = &mut self.rate_limit else { return Ok(len) };
        match limit.room(now_us) {
            0 => Err(limit.rests_until_us().unwrap_or(now_us)),
            room => Ok(room.min(len)),
        }
    }

    /// Whether the rate is used up for now.
    pub(in crate::stream) fn is_limited(&self, now_us: u64) -> bool {
        let until = self.rate_limit.as_ref().and_then(|limit| limit.rests_until_us());
        until.is_some_and(|until| now_us < until)
    }

    /// How long a message waits for others to go with it, in microseconds; 0 if every message is sent at once.
    pub(in crate::stream) fn merge_us(&self) -> u64 {
        u64::from(self.merge_us)
    }

    /// Gives the run that was planned last to the connection: the log's own bytes, or tags of FLV around them.
    ///
    /// # Errors
    /// Errors of the socket or of memory; each ends the consumer.
    pub(in crate::stream) fn write(&self, len: usize, conn: &mut Conn, private: &mut Private) -> Result<Taken> {
        let Some(tags) = self.rewrite.tags() else {
            return Ok(Taken::of(match self.position.bytes(len) {
                [bytes, []] => conn.write(bytes)?,
                places => conn.write_vectored(&mut places.map(IoSlice::new))?,
            }));
        };
        let written = match (self.position.tail(), self.position.cursor()) {
            (Some(tail), _) => tags.write(std::iter::once(Message::from(tail)), conn)?,
            (None, Some(cursor)) => tags.write(cursor.messages_ahead(len), conn)?,
            (None, None) => Written::default(),
        };
        let rest = written.rest.bytes();
        if !rest.is_empty() {
            private.append(rest.len(), |out| {
                out.extend_from_slice(rest);
                Ok(())
            })?;
        }
        Ok(Taken { run: written.log, sent: written.sent })
    }

    /// Notes how much of the last planned run was taken.
    pub(in crate::stream) fn advance(&mut self, Taken { run: taken, sent }: Taken) {
        self.spend(sent);
        self.sent.msgs += self.position.advance(taken);
    }

    /// Notes that this many private bytes were sent.
    pub(in crate::stream) fn spend(&mut self, taken: usize) {
        self.sent.bytes += taken as u64;
        if let Some(limit) = &mut self.rate_limit {
            limit.spend(taken);
        }
    }

    /// Messages and bytes sent since the last call. A foreign subscription reports them to its own stream; for others
    /// their owner counts them.
    pub(in crate::stream) fn take_sent(&mut self) -> Sent {
        let sent = std::mem::take(&mut self.sent);
        if let Some(foreign) = &self.foreign {
            foreign.registration().count_sent(sent);
        }
        sent
    }

    // ---- lag

    /// The end of the stream's log, as far as the join index has read.
    pub(in crate::stream) fn head(&self, home: Head) -> Head {
        self.foreign.as_ref().map_or(home, |foreign| foreign.join_index.head())
    }

    /// The lag, as bytes, messages and age.
    pub(in crate::stream) fn lag(&mut self, head: Head, now_us: u64) -> Lag {
        self.position.lag(head, now_us)
    }

    /// The timestamp of the last message that was sent or left out.
    pub(in crate::stream) fn passed_ts_ms(&self) -> Option<u32> {
        self.position.cursor().and_then(Cursor::passed_ts_ms)
    }

    /// The bytes of the rest of a message after a jump, and the memory that it keeps.
    pub(in crate::stream) fn tail_bytes(&self) -> (usize, usize) {
        self.position.tail().map_or((0, 0), |tail| (tail.bytes().len(), tail.held_bytes()))
    }

    /// The lag, if it is past the bounds.
    pub(in crate::stream) fn past_bounds(&mut self, head: Head, now_us: u64) -> Option<Lag> {
        let lag = self.lag(head, now_us);
        let past = !self.is_waiting() && self.lag_watch.is_past(lag, self.stream().config().gop_bytes, now_us);
        past.then_some(lag)
    }

    /// The newest key frame, if it is ahead and itself within the bounds.
    pub(in crate::stream) fn key_frame_ahead<'a>(
        &self,
        join_index: &'a JoinIndex,
        head: Head,
        now_us: u64,
    ) -> Option<&'a JoinPoint> {
        let cursor = self.position.cursor()?;
        // The join index of a foreign subscription keeps no key frame.
        join_index.newest_key().filter(|_| self.foreign.is_none()).filter(|key| {
            let lag = key.cursor.clone().lag(head, now_us);
            key.cursor.position() > cursor.position() && self.lag_watch.bounds.hold(lag)
        })
    }

    /// Lets a paused subscription rest. The subscription keeps its place while that costs no memory (the log is kept
    /// from `newest_key` on for joiners anyway), and later resumes there without a gap. Otherwise it gives up its
    /// place, and later begins like a joiner, but not before its old place. True if it has given up the place.
    pub(in crate::stream) fn rest(&mut self, newest_key: Option<&JoinPoint>, head: Head, now_us: u64) -> bool {
        let has_end = self.position.end().is_some();
        let Some(cursor) = self.position.cursor_mut() else { return false };
        let newest_key = newest_key.filter(|_| self.foreign.is_none());
        let kept = newest_key.is_some_and(|key| key.cursor.position() <= cursor.position());
        let lag = cursor.lag(head, now_us);
        let near = self.lag_watch.bounds.hold(lag);
        if !cursor.at_boundary() || (kept && near && !has_end) {
            return false;
        }
        let here = cursor.position();
        self.position.wait(Waits::behind(here));
        self.due = None;
        self.pending_filters.let_go();
        true
    }

    /// Jumps from a place that is too far behind to `to`, or to the next key frame. The rest of a half-sent message is
    /// sent first, from the log's own memory. Returns what is dropped.
    pub(in crate::stream) fn jump(&mut self, to: Option<&JoinPoint>, head: Head) -> Dropped {
        let Some(dropped) = self.position.jump(to, head) else { return Dropped::default() };
        match to {
            Some(point) => self.begin_at(point),
            None => {
                self.due = None;
                self.pending_filters.let_go();
            }
        }
        dropped
    }

    /// Notes a jump. True if the host is to be told, at most once in `every_ms`.
    pub(in crate::stream) fn note_slow(&mut self, now_ms: u64, every_ms: u64) -> bool {
        self.lag_watch.note_slow(now_ms, every_ms)
    }

    /// For how long the subscription has been slow.
    pub(in crate::stream) fn slow_ms(&self, now_ms: u64) -> Option<u64> {
        self.lag_watch.slow_ms(now_ms)
    }

    /// Whether a slow subscription has caught up with the head again; true once.
    pub(in crate::stream) fn has_recovered(&mut self, home: Head) -> bool {
        if !self.lag_watch.is_slow() {
            return false;
        }
        let head = self.head(home);
        let recovered = self.position.is_at(head.position);
        if recovered {
            self.lag_watch.recovered();
        }
        recovered
    }

    /// Counts a jump in the figures of the consumer and of its relay, or of its own stream's relay.
    pub(in crate::stream) fn count_dropped(&self, consumer: &Counters, outgoing: &Outgoing, dropped: Dropped) {
        consumer.dropped.add(dropped);
        match &self.foreign {
            None => outgoing.dropped.add(dropped),
            Some(foreign) => foreign.registration().count_dropped(dropped),
        }
    }
}

/// A time of collecting, of 10 s at most, in microseconds.
fn in_us(merge_ms: u32) -> u32 {
    merge_ms.saturating_mul(1000)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
