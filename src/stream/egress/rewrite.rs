//! Rewrites the log's messages for a consumer that cannot take them as they are: for another message stream id, chunk
//! size or clock, with `@setDataFrame` for servers, without some kinds or tracks, or in another container. [`Rewrite`]
//! has a field for each; FLV is [`Tags`](super::tags), and another container format goes beside it.
//!
//! A rewrite decides which messages differ for a consumer and encodes them; it sends nothing. The subscription owns it.

use minicbor::{Decode, Encode};

use crate::config::{CHUNK_SIZE, TargetConfig, media};
use crate::error::{RRError, Result};
use crate::proto::chunk_write;
use crate::proto::frame::{self, SET_DATA_FRAME};
use crate::proto::message::{MessageHead, kind};
use crate::proto::metadata;
use crate::session::FlvForm;
use crate::stream::egress::join::{HeaderRewrite, HeaderSet, JoinPoint};
use crate::stream::egress::tags::{Tags, TagsState};
use crate::stream::egress::track_mask;
use crate::stream::log::cursor::Message;
use crate::stream::log::segment::{Mark, flag};

/// Messages may come this much out of order around the first one; an earlier time belongs to another clock.
const DISORDER_MS: i64 = 1_000;

/// Headers that go out before the next message.
pub(in crate::stream) struct DueHeaders {
    headers: HeaderSet,
    /// The timestamp of the join.
    ts_ms: u32,
    /// The kinds whose headers go out, bits of [`media`].
    media: u32,
    /// The kinds that the stream has had.
    seen: u32,
}

impl DueHeaders {
    /// The headers of these kinds for a consumer that begins at this point.
    pub(in crate::stream) fn at(point: &JoinPoint, media: u32) -> Self {
        Self { headers: point.headers.clone(), ts_ms: point.ts_ms, media, seen: point.seen }
    }

    /// Bytes of their bodies.
    pub(in crate::stream) fn bytes(&self) -> usize {
        self.headers.bytes()
    }
}

/// The form in which a consumer gets messages.
#[derive(Clone, Debug)]
pub(in crate::stream) struct Rewrite {
    pub(in crate::stream) stream_id: u32,
    chunk_size: u32,
    /// The consumer is a server, which gets data messages in `@setDataFrame`.
    server: bool,
    /// Kinds that the consumer gets, bits of [`media`].
    pub(in crate::stream) media: u32,
    /// Kinds that the consumer may get at most, whatever its peer asks for.
    pub(in crate::stream) allowed: u32,
    /// Tracks that the consumer gets, bit n for id n.
    tracks: u64,
    clock: Option<Box<Zero>>,
    /// FLV tags instead of chunks.
    tags: Option<Box<Tags>>,
}

/// A clock that begins at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub(in crate::stream) struct Zero {
    /// The last timestamp that came in; `None` before the first.
    #[n(0)]
    last: Option<u32>,
    /// Where our clock is, and the farthest it has been.
    #[n(1)]
    now_ms: i64,
    #[n(2)]
    farthest_ms: i64,
}

impl Zero {
    /// Whether a clock can have come so far: it then runs on without an overflow.
    pub(in crate::stream) fn is_possible(&self) -> bool {
        [self.now_ms, self.farthest_ms].iter().all(|ms| ms.unsigned_abs() < 1 << 60)
    }

    fn restamp(&mut self, ts_ms: u32) -> u32 {
        let last = self.last.replace(ts_ms).unwrap_or(ts_ms);
        // The step is taken the shorter way round, so a wrap at 2^32 is a step like any other.
        self.now_ms += i64::from(ts_ms.wrapping_sub(last).cast_signed());
        if self.now_ms < -DISORDER_MS {
            self.now_ms = self.farthest_ms;
        }
        self.farthest_ms = self.farthest_ms.max(self.now_ms);
        self.now_ms.max(0) as u32 // the wire's clock wraps
    }

    /// The time of a header or a data message. It does not move the clock, because many come with time 0, whatever the
    /// frames have.
    fn aside(&self, ts_ms: u32) -> u32 {
        let step = self.last.map_or(0, |last| i64::from(ts_ms.wrapping_sub(last).cast_signed()));
        let at_ms = if step < -DISORDER_MS { self.now_ms } else { self.now_ms + step };
        at_ms.max(0) as u32
    }
}

impl Rewrite {
    /// The form for a player that may get these kinds; `flv` if it gets an FLV stream.
    pub(in crate::stream) fn of_player(stream_id: u32, allowed: u32, flv: Option<FlvForm>) -> Self {
        Self {
            stream_id,
            chunk_size: CHUNK_SIZE,
            server: false,
            media: allowed,
            allowed,
            tracks: track_mask::ALL,
            clock: None,
            tags: flv.map(|form| Box::new(Tags::new(form))),
        }
    }

    /// The form that a target's settings ask for.
    pub(in crate::stream) fn of_target(stream_id: u32, config: &TargetConfig) -> Self {
        Self {
            stream_id,
            chunk_size: config.chunk_size,
            server: true,
            media: config.media,
            allowed: media::ALL,
            tracks: track_mask::of_setting(config.tracks),
            clock: config.from_zero.then(Box::default),
            tags: None,
        }
    }

    /// Leaves out at once what these settings no longer include. True if they include something new, which has to begin
    /// at a key frame with [`widen`](Self::widen).
    pub(in crate::stream) fn narrow(&mut self, config: &TargetConfig) -> bool {
        let tracks = track_mask::of_setting(config.tracks);
        self.media &= config.media;
        self.tracks &= tracks;
        (self.media, self.tracks) != (config.media, tracks)
    }

    /// Lets these kinds and tracks through as well. Returns the kinds whose headers must be sent first, bits of
    /// [`media`].
    pub(in crate::stream) fn widen(&mut self, media: u32, tracks: u64) -> u32 {
        let before = (self.media, self.tracks);
        self.media |= media;
        self.tracks |= tracks;
        if self.tracks == before.1 { self.media & !before.0 } else { self.media }
    }

    /// The clock that begins at 0, where there is one, and the tracks, for another process.
    pub(in crate::stream) fn clock_and_tracks(&self) -> (Option<Zero>, u64) {
        (self.clock.as_deref().copied(), self.tracks)
    }

    /// Goes on with the clock of another process, if the settings ask for one.
    pub(in crate::stream) fn resume_clock(&mut self, clock: Option<Zero>) {
        if let (Some(own), Some(clock)) = (&mut self.clock, clock) {
            **own = clock;
        }
    }

    /// Goes on with the tags of another process, if messages go out as FLV.
    pub(in crate::stream) fn resume_tags(&mut self, state: Option<TagsState>) {
        if let (Some(tags), Some(state)) = (&mut self.tags, state) {
            tags.resume(state);
        }
    }

    /// Gets these kinds and tracks from here on.
    pub(in crate::stream) fn set_filter(&mut self, media: u32, tracks: u64) {
        (self.media, self.tracks) = (media, tracks);
    }

    /// Whether this consumer gets every message of the log unchanged, except flawed metadata.
    pub(in crate::stream) fn is_plain(&self) -> bool {
        !self.server && self.stream_id == 1 && self.media == media::ALL && self.tags.is_none()
    }

    /// Whether this message must be rewritten for this consumer.
    pub(in crate::stream) fn is_special(&self, mark: &Mark) -> bool {
        if let Some(tags) = &self.tags {
            return !self.wants(mark.type_id) || tags.is_special(mark);
        }
        self.stream_id != 1
            || self.clock.is_some()
            || !self.wants(mark.type_id)
            || (self.tracks != track_mask::ALL && matches!(mark.type_id, kind::AUDIO | kind::VIDEO))
            || mark.has(if self.server { flag::SET_DATA_FRAME | flag::META } else { flag::FLAWED })
            // A message that is one chunk in both sizes has the same bytes in both.
            || (self.chunk_size != CHUNK_SIZE && mark.len > self.chunk_size.min(CHUNK_SIZE))
    }

    /// Whether the consumer is a player in a browser, which must get only what it understands.
    pub(in crate::stream) fn is_for_browser(&self) -> bool {
        self.tags().is_some_and(Tags::is_for_browser)
    }

    /// The tags, if messages go out as FLV.
    pub(in crate::stream) fn tags(&self) -> Option<&Tags> {
        self.tags.as_deref()
    }

    /// Appends these headers to `out`.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(in crate::stream) fn encode_headers(&mut self, due: &DueHeaders, out: &mut Vec<u8>) -> Result<()> {
        let form = HeaderRewrite { media: due.media, ..self.headers(due.ts_ms) };
        match &mut self.tags {
            Some(tags) => tags.begin(&due.headers, &form, due.seen & self.allowed, out),
            None => due.headers.encode(&form, out),
        }
    }

    /// The form of headers for a join at `ts_ms`.
    fn headers(&self, ts_ms: u32) -> HeaderRewrite {
        HeaderRewrite {
            ts_ms: self.clock.as_ref().map_or(ts_ms, |clock| clock.aside(ts_ms)),
            stream_id: self.stream_id,
            chunk_size: self.chunk_size,
            wrap_metadata: self.server,
            media: self.media,
            tracks: self.tracks,
        }
    }

    /// Appends one message of the log to `out` in this consumer's form; false if the consumer does not get the message.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(in crate::stream) fn encode(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Result<bool> {
        let mark = &message.mark;
        let timestamp_ms = self.restamp(mark);
        if !self.wants(mark.type_id) {
            if let Some(tags) = &mut self.tags {
                // Another publisher may begin with a message that is left out here.
                tags.note(mark, &[]);
            }
            return Ok(false);
        }
        let body = message.body().ok_or(RRError::NoMem)?;
        if !track_mask::wants(self.tracks, mark.type_id, &body) {
            return Ok(false);
        }
        // An AMF3 data message keeps its leading 0 before the name.
        let lead = frame::data_start(mark.type_id, &body);
        let (lead, rest) = body.split_at_checked(lead).unwrap_or((&[], &body));
        let name = if self.server && is_wrapped(mark) { &SET_DATA_FRAME[..] } else { &[] };
        let mend = if !self.server && mark.has(flag::FLAWED) { metadata::mend(rest) } else { None };
        let [rest, ends] = mend.map_or([rest, &[]], |mend| mend.parts(rest));
        if let Some(tags) = &mut self.tags {
            tags.note(mark, &body);
            return tags.encode(mark.type_id, timestamp_ms, rest, ends, out);
        }
        let head = MessageHead {
            timestamp_ms,
            type_id: mark.type_id,
            stream_id: self.stream_id,
            len: u32::try_from(lead.len() + name.len() + rest.len() + ends.len()).unwrap_or(u32::MAX),
            chunk_stream: crate::stream::log::buffer::chunk_stream_of(mark.type_id),
        };
        let (begin, len) = (out.len(), chunk_write::wire_len(&head, self.chunk_size));
        out.try_reserve(len).map_err(|_| RRError::NoMem)?;
        out.resize(begin + len, 0);
        let parts = [lead, name, rest, ends];
        chunk_write::encode_parts_into(&head, &parts, self.chunk_size, out.get_mut(begin..).unwrap_or_default());
        Ok(true)
    }

    fn restamp(&mut self, mark: &Mark) -> u32 {
        let Some(clock) = &mut self.clock else { return mark.ts_ms };
        let frame = !mark.has(flag::SEQ | flag::META) && !matches!(mark.type_id, kind::DATA | kind::DATA_AMF3);
        if frame { clock.restamp(mark.ts_ms) } else { clock.aside(mark.ts_ms) }
    }

    /// Whether a message of this type is sent. Sequence headers belong to their kind: a peer that wants no video needs
    /// none.
    fn wants(&self, type_id: u8) -> bool {
        match type_id {
            kind::AUDIO => self.media & media::AUDIO != 0,
            kind::VIDEO => self.media & media::VIDEO != 0,
            kind::DATA | kind::DATA_AMF3 => self.media & media::DATA != 0,
            _ => true,
        }
    }
}

/// Whether a server that we publish to gets this message in `@setDataFrame`: messages that came so, and metadata that
/// the host wrote without it. (META also marks side configuration in media messages.)
fn is_wrapped(mark: &Mark) -> bool {
    matches!(mark.type_id, kind::DATA | kind::DATA_AMF3) && mark.has(flag::SET_DATA_FRAME | flag::META)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::framing::Framing;

    #[test]
    fn a_clock_from_zero_never_goes_below_it_and_wraps_with_the_wire() {
        let mut clock = Zero::default();
        let start = u32::MAX - 50;
        let out: Vec<u32> =
            [0, 40, 30, 80, 120, 60].iter().map(|step| clock.restamp(start.wrapping_add(*step))).collect();
        assert_eq!(out, [0, 40, 30, 80, 120, 60]);
        let mut clock = Zero::default();
        assert_eq!([5_000, 4_980, 5_040].map(|ts| clock.restamp(ts)), [0, 0, 40], "sound before the first picture");
        assert_eq!(clock.restamp(0), 40, "another publisher's clock goes on where this one was");
        assert_eq!(clock.restamp(25), 65);
    }

    #[test]
    fn another_publisher_has_its_own_tracks_also_where_its_first_message_is_left_out() {
        let form = FlvForm { framing: Framing::None, browser: true };
        let mut rewrite = Rewrite::of_player(1, media::VIDEO, Some(form));
        let mut video_is_sent = |type_id, flags, body: &[u8]| {
            let head = MessageHead { timestamp_ms: 0, type_id, stream_id: 1, len: body.len() as u32, chunk_stream: 4 };
            let mut wire = Vec::new();
            chunk_write::encode(&head, body, CHUNK_SIZE, &mut wire);
            let mark = Mark { len: wire.len() as u32, type_id, flags, ..Mark::default() };
            rewrite.encode(&Message { mark, wire: &wire, sent: 0 }, &mut Vec::new()).unwrap()
        };
        let of_track_1 = |packet: u8| [&[0x96, packet][..], b"avc1\x01", &[0; 8]].concat();
        assert!(!video_is_sent(kind::AUDIO, flag::NEW_PUBLISHER, b"\xaf\0\x12\x10"));
        assert!(video_is_sent(kind::VIDEO, flag::SEQ | flag::MULTITRACK, &of_track_1(0)));
        assert!(video_is_sent(kind::VIDEO, flag::MULTITRACK, &of_track_1(1)));
    }

    #[test]
    fn headers_and_data_do_not_move_a_clock_from_zero() {
        let mut clock = Zero::default();
        assert_eq!(clock.aside(0), 0);
        assert_eq!([700_000, 700_040].map(|ts| clock.restamp(ts)), [0, 40]);
        assert_eq!([0, 700_030, 700_060, 705_040].map(|ts| clock.aside(ts)), [40, 30, 60, 5_040]);
        assert_eq!(clock.restamp(700_080), 80);
    }
}
