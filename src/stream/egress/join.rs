//! Where a consumer can begin: the join index looks at every message once and knows the headers and the newest key
//! frame.
//!
//! The join index sends nothing and knows no consumers. The relay owns it, lets it [`advance`](JoinIndex::advance) once
//! per wake, before its consumers, and asks it where to put joiners and those that fell behind.
//!
//! **Bound:** the join index's own cursor stands at the head after each advance, and the GOP start is let go past
//! `gop_bytes` or `gop_ms`, so a publisher of one key frame and nothing but other frames after it pins a group's bound
//! of memory and not more.

mod headers;

pub(crate) use headers::{Header, HeaderRewrite, HeaderSet};

use crate::config::{Start, media};
use crate::proto::message::kind;
use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::Cursor;
use crate::stream::log::segment::{Mark, flag};

/// After this long without a picture a stream counts as sound alone, or a player that waits for a key frame would hear
/// nothing for as long as the camera is off. Longer than the slowest slide show's frames are apart.
const VIDEO_GONE_US: u64 = 30_000_000;

/// Pictures for so long without a key frame, and the publisher evidently makes none (periodic refresh): who begins then
/// begins with whatever picture comes, where key frames are not waited for without end. More than the longest group
/// that encoders make unasked (x264's 250 pictures, at 24 a second).
const WITHOUT_KEY_FRAMES_MS: u64 = 15_000;

/// A kind of media that has not come for so long after a stream began does not come. Encoders send the first of both within
/// a group of pictures, mostly at once.
const SETTLED_MS: u64 = 1_000;

/// Where a consumer begins, and what it needs before.
#[derive(Clone)]
pub(crate) struct JoinPoint {
    /// The first message to send.
    pub cursor: Cursor,
    /// The headers valid there.
    pub headers: HeaderSet,
    /// Timestamp for the headers, in milliseconds: that of the first message, or of the last one before the head.
    pub ts_ms: u32,
    /// Pictures do not begin here, but with the next key frame.
    pub without_pictures: bool,
    /// The kinds that the publisher has sent, bits of [`media`].
    pub seen: u32,
}

/// The answer to a joiner.
#[derive(Clone)]
pub(crate) enum Join {
    /// Begin here.
    Here(JoinPoint),
    /// Hold no cursor and take [`Seen::key`] as soon as there is one.
    WaitForKey,
}

/// The place that a consumer without a cursor waits for: one to begin at that is not before `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    /// The log position; what lies before it has been seen, or is not wanted.
    pub after: u64,
    /// The consumer has never been in the log, so it begins as any joiner does.
    pub fresh: bool,
    /// It begins where it is known which kinds of media there are, and so not at the very beginning of a stream.
    pub settled: bool,
}

impl Waits {
    /// For a consumer that comes for the first time.
    pub(crate) fn to_join() -> Self {
        Self { after: 0, fresh: true, settled: false }
    }

    /// For a consumer that has been in the log up to `after`.
    pub(crate) fn behind(after: u64) -> Self {
        Self { after, fresh: false, settled: false }
    }

    /// The same for one that is to begin where the kinds of media are known.
    pub(crate) fn settled(self, settled: bool) -> Self {
        Self { settled, ..self }
    }

    fn allows(self, point: &JoinPoint) -> bool {
        point.cursor.position() >= self.after
    }
}

/// The findings of an advance.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Messages passed.
    pub messages: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// The newest key frame among them, kept or not: consumers that wait begin here. In a stream without video it is
    /// the first audio message, in one of data alone the first message.
    pub key: Option<JoinPoint>,
    /// The oldest picture among them that is a key frame, where that is another one.
    pub first_key: Option<JoinPoint>,
    /// Another publisher began among them, with this message; what was known of the one before is forgotten. Consumers
    /// that were there before it begin here: it is the whole of the stream.
    pub first: Option<JoinPoint>,
    /// The header set is another one now.
    pub headers_changed: bool,
    /// Metadata that is [`flag::FLAWED`] was among them.
    pub flawed: bool,
    /// Headers that were too large, or found no memory. Those who join later will miss them.
    pub headers_lost: u32,
}

/// Looks at every message of the log once.
pub(crate) struct JoinIndex {
    cursor: Cursor,
    headers: HeaderSet,
    gop_start: Option<GopStart>,
    gop_bytes: u64,
    gop_us: u64,
    /// The lowest video track seen; its key frames are the join points. It is the one that plain players show, and 0 in
    /// all that is not multitrack. Tracks of one publisher mostly have their key frames together; where they have not,
    /// the others begin to be decodable a little later.
    join_track: Option<u8>,
    video_seen_us: Option<u64>,
    /// Arrival of the newest key frame to begin at, or of the first picture where none has come.
    group_since_us: Option<u64>,
    has_sound: bool,
    /// How long a key frame is waited for; 0 is without end.
    key_wait_ms: u64,
    /// Arrival of the publisher's first message.
    began_us: Option<u64>,
    last_arrival_us: u64,
    last_ts_ms: u32,
}

struct GopStart {
    point: JoinPoint,
    arrival_us: u64,
}

impl JoinIndex {
    /// A join index that begins at `cursor`. `gop_bytes` and `gop_ms` bound how far the kept key frame may be behind
    /// the head, on the wire and by arrival; 0 bytes keeps none.
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

    /// Where pictures have come for so long without a key frame, sound begins at once and pictures with the next key
    /// frame; 0 waits for that with both.
    #[must_use]
    pub(crate) fn with_key_wait(self, key_wait_ms: u32) -> Self {
        Self { key_wait_ms: key_wait_ms.into(), ..self }
    }

    /// A join index with this one's headers, which goes on from here by itself and keeps no key frame.
    pub(crate) fn fork(&self) -> Self {
        Self { cursor: self.cursor.clone(), headers: self.headers.clone(), gop_start: None, gop_bytes: 0, ..*self }
    }

    /// Looks at every message published since the last call. Allocates for a changed header alone.
    pub(crate) fn advance(&mut self) -> Seen {
        let mut seen = Seen::default();
        while let Some(mark) = self.cursor.mark_here() {
            seen.messages += 1;
            seen.bytes += u64::from(mark.len);
            if mark.has(flag::NEW_PUBLISHER) {
                seen = Seen { messages: seen.messages, bytes: seen.bytes, ..Seen::default() };
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
            self.cursor.skip_message();
        }
        self.bound_gop_start();
        if seen.messages > 0 && seen.key.is_none() && self.is_without_key_frames() {
            seen.key = Some(self.here());
        }
        seen
    }

    /// The end of the log as far as it was looked at: what lag is measured against.
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

    /// Whether the publisher evidently sends no key frames, and none is waited for any more.
    pub(crate) fn is_without_key_frames(&self) -> bool {
        self.key_wait_ms > 0 && self.without_key_frame_ms() >= WITHOUT_KEY_FRAMES_MS.max(self.key_wait_ms)
    }

    /// Whether it is known which kinds of media there are: both have come, or one has for some time.
    fn is_settled(&self) -> bool {
        let since_ms = self.began_us.map_or(0, |began_us| self.last_arrival_us.saturating_sub(began_us) / 1000);
        (self.has_sound && self.has_video()) || since_ms >= SETTLED_MS
    }

    /// Whether a key frame has stayed away for as long as sound waits for one.
    fn is_overdue(&self) -> bool {
        self.key_wait_ms > 0 && self.has_sound && self.without_key_frame_ms() >= self.key_wait_ms
    }

    /// Where a consumer begins that joins now. A stream without video, or without anything yet, can be joined at its
    /// head; so can one whose key frames stay away, at first for its sound alone.
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

    /// Where a waiting consumer goes on, if it need not wait for a key frame.
    pub(crate) fn place(&self, start: Start, waits: Waits) -> Option<JoinPoint> {
        if waits.settled && !self.is_settled() {
            return None;
        }
        match self.join(start) {
            Join::Here(point) if waits.fresh || waits.allows(&point) => Some(point),
            _ => None,
        }
    }

    /// Where a consumer that waits begins, now that the last advance has met this.
    pub(crate) fn place_at(&self, seen: &Seen, start: Start, waits: Waits) -> Option<JoinPoint> {
        if waits.settled && !self.is_settled() {
            return None;
        }
        if waits.fresh && start != Start::Key && !waits.settled {
            // A consumer that was there before the publisher begins at the very first message, however much has come at
            // once.
            let first = seen.first.clone();
            return first.or_else(|| self.place(start, waits)).or_else(|| seen.key.clone());
        }
        // The next key frame is the first one since; who fell behind is better off with the newest.
        let keys = [seen.first_key.as_ref().filter(|_| waits.fresh), seen.key.as_ref()];
        let key = keys.into_iter().flatten().find(|key| waits.allows(key)).cloned();
        // No wait where the stream has no pictures, where a cached group is new enough, or where key frames never come.
        let cached = || self.place(start, waits).filter(|_| waits.fresh || start == Start::Gop || self.is_overdue());
        key.or_else(cached)
    }

    /// The newest key frame, if it is within the bounds: where a consumer that fell behind goes on, provided that this
    /// lies before it.
    pub(crate) fn newest_key(&self) -> Option<&JoinPoint> {
        self.gop_start.as_ref().map(|gop_start| &gop_start.point)
    }

    /// Lets the kept key frame and all that only it holds go: the first thing to do where memory is short.
    pub(crate) fn drop_gop_start(&mut self) {
        self.gop_start = None;
    }

    /// The end of the log as a place to begin at.
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

    fn learn_header(&mut self, seen: &mut Seen) {
        let Some(message) = self.cursor.message() else { return };
        match self.headers.learn(&message) {
            Ok(changed) => seen.headers_changed |= changed,
            Err(_) => seen.headers_lost += 1,
        }
    }

    /// Notes the message that the cursor is at, if a consumer can begin there.
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
                    // A picture of long ago is no place to begin at any more.
                    self.gop_start = None;
                    seen.key = Some(self.point_here(mark.ts_ms));
                }
            }
            // A stream of data alone has no other places.
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
