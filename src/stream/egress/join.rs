//! Where a consumer can begin: the join index looks at every message once and keeps the headers and the newest key
//! frame.
//!
//! The join index sends nothing and knows no consumers. The relay owns it, calls
//! [`advance_to_end`](JoinIndex::advance_to_end) before it serves its consumers, and asks it for the places of joiners and of
//! consumers that fell behind.
//!
//! **Bound:** the join index's own cursor is at the head after each advance, and the GOP start is dropped past
//! `gop_bytes` or `gop_ms`. So a publisher that sends one key frame and then only other frames holds no more memory
//! than the bound of a group.

mod headers;

pub(crate) use headers::{Header, HeaderRewrite, HeaderSet};

use crate::config::{Start, StreamConfig, media};
use crate::proto::message::kind;
use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::Cursor;
use crate::stream::log::segment::{Mark, flag};

/// After this long without a picture a stream counts as audio only; otherwise a player that waits for a key frame would
/// hear nothing while the camera is off. The time is longer than the gap between frames of the slowest slide show.
const VIDEO_GONE_US: u64 = 30_000_000;

/// After pictures for this long without a key frame, the publisher evidently makes none (periodic refresh), and joiners
/// begin with any picture, unless they are set to wait for key frames without end. The time is longer than the longest
/// group that encoders make by default (x264's 250 pictures, at 24 a second).
const WITHOUT_KEY_FRAMES_MS: u64 = 15_000;

/// A kind of media that has not come within this time after a stream began is not expected. Encoders send the first
/// message of both kinds within a group of pictures, mostly at once.
const SETTLED_MS: u64 = 1_000;

/// Where a consumer begins, and what it needs before that.
#[derive(Clone)]
pub(crate) struct JoinPoint {
    /// The first message to send.
    pub cursor: Cursor,
    /// The headers valid there.
    pub headers: HeaderSet,
    /// Timestamp for the headers, in milliseconds: that of the first message, or of the last one before the head.
    pub ts_ms: u32,
    /// Only sound begins here; pictures begin with the next key frame.
    pub without_pictures: bool,
    /// The kinds that the publisher has sent, bits of [`media`].
    pub seen: u32,
}

/// The answer to a joiner.
#[derive(Clone)]
pub(crate) enum Join {
    /// Begin at this point.
    Here(JoinPoint),
    /// Hold no cursor and take [`Seen::key`] as soon as there is one.
    WaitForKey,
}

/// What a consumer without a cursor waits for: a place to begin at that is not before `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    /// A log position; everything before it has been seen, or is not wanted.
    pub after: u64,
    /// The consumer has never had a place in the log, so it begins like any joiner.
    pub fresh: bool,
    /// The consumer begins only once it is known which kinds of media the stream has, so not at the very beginning of a
    /// stream.
    pub settled: bool,
}

impl Waits {
    /// The wait of a consumer that comes for the first time.
    pub(crate) fn to_join() -> Self {
        Self { after: 0, fresh: true, settled: false }
    }

    /// The wait of a consumer that has been in the log up to `after`.
    pub(crate) fn behind(after: u64) -> Self {
        Self { after, fresh: false, settled: false }
    }

    /// This wait, with [`settled`](Self::settled) set or cleared.
    pub(crate) fn settled(self, settled: bool) -> Self {
        Self { settled, ..self }
    }

    fn allows(self, point: &JoinPoint) -> bool {
        point.cursor.position() >= self.after
    }
}

/// The result of an advance.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Messages passed.
    pub messages: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// The arrival of the first of them.
    pub since_us: u64,
    /// The newest key frame among them, kept or not; waiting consumers begin here. In a stream without video it is the
    /// first audio message, in a stream of only data the first message.
    pub key: Option<JoinPoint>,
    /// The oldest key frame among them, if it is not the newest.
    pub first_key: Option<JoinPoint>,
    /// The first message of another publisher among them; what was known of the earlier publisher is forgotten.
    /// Consumers that waited for that publisher begin here and get its whole stream.
    pub first: Option<JoinPoint>,
    /// The header set has changed.
    pub headers_changed: bool,
    /// Metadata that is [`flag::FLAWED`] was among them.
    pub flawed: bool,
    /// Number of headers that were too large, or found no memory. Later joiners will miss them.
    pub headers_lost: u32,
    /// The advance went no further, because the next message is behind an end of the stream.
    pub at_end: bool,
}

/// Looks at every message of the log once.
#[derive(Clone)]
pub(crate) struct JoinIndex {
    cursor: Cursor,
    headers: HeaderSet,
    gop_start: Option<GopStart>,
    gop_bytes: u64,
    gop_us: u64,
    /// The lowest video track seen; its key frames are the join points. Players without multitrack support show this
    /// track; without multitrack it is 0. The tracks of a publisher mostly have their key frames together; where they
    /// do not, the other tracks become decodable a little later.
    join_track: Option<u8>,
    video_seen_us: Option<u64>,
    /// Arrival of the newest key frame to begin at, or of the first picture if no key frame has come.
    group_since_us: Option<u64>,
    has_sound: bool,
    /// How long joiners wait for a key frame; 0 means without end.
    key_wait_ms: u64,
    /// Arrival of the publisher's first message.
    began_us: Option<u64>,
    last_arrival_us: u64,
    last_ts_ms: u32,
}

#[derive(Clone)]
struct GopStart {
    point: JoinPoint,
    arrival_us: u64,
}

impl JoinIndex {
    /// A join index that begins at `cursor`. `gop_bytes` and `gop_ms` bound how far the kept key frame may be behind
    /// the head, on the wire and by arrival; 0 bytes keeps no key frame.
    pub(crate) fn new(cursor: Cursor, gop_bytes: u32, gop_ms: u32) -> Self {
        Self {
            cursor,
            headers: HeaderSet::default(),
            gop_start: None,
            gop_bytes: gop_bytes.into(),
            gop_us: u64::from(gop_ms) * 1000,
            join_track: None,
            video_seen_us: None,
            group_since_us: None,
            has_sound: false,
            key_wait_ms: 0,
            began_us: None,
            last_arrival_us: 0,
            last_ts_ms: 0,
        }
    }

    /// The bounds of other settings from now on.
    pub(in crate::stream) fn set_bounds(&mut self, config: &StreamConfig) {
        (self.gop_bytes, self.gop_us) = (config.gop_bytes.into(), u64::from(config.gop_ms) * 1000);
        self.key_wait_ms = config.key_wait_ms.into();
        self.bound_gop_start();
    }

    /// After pictures for `key_wait_ms` without a key frame, sound begins at once and pictures with the next key frame;
    /// with 0 both wait for the key frame.
    #[must_use]
    pub(crate) fn with_key_wait(self, key_wait_ms: u32) -> Self {
        Self { key_wait_ms: key_wait_ms.into(), ..self }
    }

    /// An independent join index that continues from here with this one's headers and keeps no key frame.
    pub(crate) fn fork(&self) -> Self {
        Self { cursor: self.cursor.clone(), headers: self.headers.clone(), gop_start: None, gop_bytes: 0, ..*self }
    }

    /// Looks at every message published since the last call.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn advance(&mut self) -> Seen {
        self.advance_up_to(u64::MAX)
    }

    /// Looks at every message published since the last call, but at none that begins at this log position or behind it.
    /// Allocates only for a changed header.
    pub(crate) fn advance_up_to(&mut self, position: u64) -> Seen {
        self.advance_while(position, |_, _| true)
    }

    /// As [`advance_up_to`](Self::advance_up_to), but no further than to an end that those who follow the stream are told of
    /// ([`flag::AFTER_END`]); `live` says whether there are any who may have had messages before it. With `live` false
    /// the next call goes on.
    pub(crate) fn advance_to_end(&mut self, live: bool, position: u64) -> Seen {
        self.advance_while(position, |mark, seen| !mark.has(flag::AFTER_END) || !(live || seen.messages > 0))
    }

    fn advance_while(&mut self, position: u64, goes_on: impl Fn(&Mark, &Seen) -> bool) -> Seen {
        let mut seen = Seen::default();
        while self.cursor.position() < position
            && let Some(mark) = self.cursor.mark_here()
        {
            if !goes_on(&mark, &seen) {
                seen.at_end = true;
                break;
            }
            if seen.messages == 0 {
                seen.since_us = mark.arrival_us;
            }
            seen.messages += 1;
            seen.bytes += u64::from(mark.len);
            if mark.has(flag::NEW_PUBLISHER) {
                let Seen { messages, bytes, since_us, .. } = seen;
                seen = Seen { messages, bytes, since_us, ..Seen::default() };
                seen.headers_changed = !self.headers.is_empty();
                self.forget();
                seen.first = Some(self.point_here(mark.ts_ms));
            }
            (self.last_ts_ms, self.last_arrival_us) = (mark.ts_ms, mark.arrival_us);
            self.began_us.get_or_insert(mark.arrival_us);
            seen.flawed |= mark.has(flag::FLAWED);
            if mark.has(flag::SEQ | flag::META) {
                self.learn_header(&mut seen);
            }
            self.look_for_join(&mark, &mut seen);
            self.cursor.pass(&mark);
        }
        self.bound_gop_start();
        if seen.messages > 0 && seen.key.is_none() && self.is_without_key_frames() {
            seen.key = Some(self.here());
        }
        seen
    }

    /// A cursor at the end of the part of the log that was looked at.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor.clone()
    }

    /// The end of the part of the log that was looked at; lag is measured against it.
    pub(crate) fn head(&self) -> Head {
        self.cursor.head()
    }

    /// The headers valid at [`head`](Self::head).
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn headers(&self) -> &HeaderSet {
        &self.headers
    }

    /// Whether the publisher sends pictures now.
    pub(crate) fn has_video(&self) -> bool {
        self.video_seen_us.is_some_and(|seen| self.last_arrival_us.saturating_sub(seen) < VIDEO_GONE_US)
    }

    /// For how long the publisher has been sending pictures without a key frame, in ms; 0 without pictures.
    pub(crate) fn without_key_frame_ms(&self) -> u64 {
        let since_us = self.group_since_us.filter(|_| self.has_video());
        since_us.map_or(0, |since_us| self.last_arrival_us.saturating_sub(since_us) / 1000)
    }

    /// Whether the publisher evidently sends no key frames, so that joiners no longer wait for one.
    pub(crate) fn is_without_key_frames(&self) -> bool {
        self.key_wait_ms > 0 && self.without_key_frame_ms() >= WITHOUT_KEY_FRAMES_MS.max(self.key_wait_ms)
    }

    /// Whether the kinds of media are known: both have come, or one has been coming for some time.
    fn is_settled(&self) -> bool {
        let since_ms = self.began_us.map_or(0, |began_us| self.last_arrival_us.saturating_sub(began_us) / 1000);
        (self.has_sound && self.has_video()) || since_ms >= SETTLED_MS
    }

    /// Whether no key frame has come for as long as sound waits for one.
    fn is_overdue(&self) -> bool {
        self.key_wait_ms > 0 && self.has_sound && self.without_key_frame_ms() >= self.key_wait_ms
    }

    /// Where a consumer that joins now begins. A stream without video, or without any media yet, can be joined at its
    /// head; so can a stream without key frames, at first only for its sound.
    pub(crate) fn join(&self, start: Start) -> Join {
        match (start, &self.gop_start) {
            (Start::Gop, Some(gop_start)) => Join::Here(gop_start.point.clone()),
            (Start::Gop | Start::Key, _) if self.has_video() && !self.is_without_key_frames() => {
                if self.is_overdue() {
                    Join::Here(JoinPoint { without_pictures: true, ..self.here() })
                } else {
                    Join::WaitForKey
                }
            }
            _ => Join::Here(self.here()),
        }
    }

    /// Where a waiting consumer begins, if it need not wait for a key frame.
    pub(crate) fn place(&self, start: Start, waits: Waits) -> Option<JoinPoint> {
        if waits.settled && !self.is_settled() {
            return None;
        }
        match self.join(start) {
            Join::Here(point) if waits.fresh || waits.allows(&point) => Some(point),
            _ => None,
        }
    }

    /// Where a waiting consumer begins, given the result of the last advance.
    pub(crate) fn place_at(&self, seen: &Seen, start: Start, waits: Waits) -> Option<JoinPoint> {
        if waits.settled && !self.is_settled() {
            return None;
        }
        if waits.fresh && start != Start::Key && !waits.settled {
            // A consumer that came before the publisher begins at its very first message, however much has come at
            // once.
            let first = seen.first.clone();
            return first.or_else(|| self.place(start, waits)).or_else(|| seen.key.clone());
        }
        // For a joiner the next key frame is the oldest one; a consumer that fell behind should take the newest.
        let keys = [seen.first_key.as_ref().filter(|_| waits.fresh), seen.key.as_ref()];
        let key = keys.into_iter().flatten().find(|key| waits.allows(key)).cloned();
        // There is no wait if the stream has no pictures, if a cached group is new enough, or if key frames never come.
        let cached = || self.place(start, waits).filter(|_| waits.fresh || start == Start::Gop || self.is_overdue());
        key.or_else(cached)
    }

    /// The newest key frame, if it is within the bounds: where a consumer that fell behind continues, provided that the
    /// key frame is ahead of it.
    pub(crate) fn newest_key(&self) -> Option<&JoinPoint> {
        self.gop_start.as_ref().map(|gop_start| &gop_start.point)
    }

    /// Drops the kept key frame and the memory that only it holds: the first step when memory is short.
    pub(crate) fn drop_gop_start(&mut self) {
        self.gop_start = None;
    }

    /// The end of the log as a point to begin at.
    pub(crate) fn here(&self) -> JoinPoint {
        self.point_here(self.last_ts_ms)
    }

    fn forget(&mut self) {
        self.headers = HeaderSet::default();
        self.gop_start = None;
        self.join_track = None;
        self.video_seen_us = None;
        self.group_since_us = None;
        self.has_sound = false;
        self.began_us = None;
    }

    #[cold]
    fn learn_header(&mut self, seen: &mut Seen) {
        let Some(message) = self.cursor.message() else { return };
        match self.headers.learn(&message) {
            Ok(changed) => seen.headers_changed |= changed,
            Err(_) => seen.headers_lost += 1,
        }
    }

    /// Notes the message at the cursor, if a consumer can begin there.
    fn look_for_join(&mut self, mark: &Mark, seen: &mut Seen) {
        let frame = !mark.has(flag::SEQ | flag::META);
        match mark.type_id {
            kind::VIDEO if !mark.has(flag::META) => {
                self.video_seen_us = Some(mark.arrival_us);
                self.group_since_us.get_or_insert(mark.arrival_us);
                let track = self.join_track.map_or(mark.track, |track| track.min(mark.track));
                self.join_track = Some(track);
                if frame && mark.has(flag::KEY) && mark.track == track {
                    let point = self.point_here(mark.ts_ms);
                    self.gop_start = Some(GopStart { point: point.clone(), arrival_us: mark.arrival_us });
                    self.group_since_us = Some(mark.arrival_us);
                    let is_video = |point: &JoinPoint| {
                        point.cursor.clone().mark_here().is_some_and(|mark| mark.type_id == kind::VIDEO)
                    };
                    if let Some(before) = seen.key.replace(point).filter(is_video) {
                        seen.first_key.get_or_insert(before);
                    }
                }
            }
            kind::AUDIO => {
                self.has_sound = true;
                if frame && seen.key.is_none() && !self.has_video() {
                    // A picture that is this old is no longer a place to begin at.
                    self.gop_start = None;
                    seen.key = Some(self.point_here(mark.ts_ms));
                }
            }
            // A stream of only data has no other places.
            _ if frame && seen.key.is_none() && !self.has_sound && !self.has_video() => {
                seen.key = Some(self.point_here(mark.ts_ms));
            }
            _ => {}
        }
    }

    fn point_here(&self, ts_ms: u32) -> JoinPoint {
        let video = if self.has_video() { media::VIDEO } else { 0 };
        let seen = video | if self.has_sound { media::AUDIO } else { 0 };
        JoinPoint { cursor: self.cursor.clone(), headers: self.headers.clone(), ts_ms, without_pictures: false, seen }
    }

    fn bound_gop_start(&mut self) {
        let Some(gop_start) = &self.gop_start else { return };
        let bytes = self.head().position - gop_start.point.cursor.position();
        let age_us = self.last_arrival_us.saturating_sub(gop_start.arrival_us);
        if self.gop_bytes == 0 || bytes > self.gop_bytes || age_us > self.gop_us {
            self.gop_start = None;
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
