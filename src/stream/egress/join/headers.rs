//! Metadata and sequence headers, which a decoder needs before it can begin, kept word for word.
//!
//! The [`JoinIndex`](super::JoinIndex) fills a set of headers, and decides when a consumer begins.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::media;
use crate::error::{Failure, RRError, Result};
use crate::proto::chunk_write::{encode_parts_into, wire_len};
use crate::proto::frame::{self, SET_DATA_FRAME};
use crate::proto::message::{MessageHead, kind};
use crate::proto::metadata::{self, Mend};
use crate::stream::egress::track_mask;
use crate::stream::log::buffer::chunk_stream_of;
use crate::stream::log::cursor::Message;
use crate::stream::log::segment::flag;

/// Most headers that are kept: sixteen tracks of sound and picture with their metadata, twice.
const MAX_HEADERS: usize = 64;

/// Bytes of all headers together. Real headers have some dozens to some thousand bytes; larger ones are not kept.
const MAX_HEADER_BYTES: usize = 1024 * 1024;

/// Most tracks of a header that are compared: more than any encoder has.
const MAX_COMPARED: usize = 64;

/// One message of a [`HeaderSet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// RTMP message type; data messages are all of type 18 here.
    pub type_id: u8,
    /// Metadata (of the stream, or of a codec: colours, speaker layout) rather than a sequence header.
    pub metadata: bool,
    /// FourCC of the codec; 0 for data messages.
    pub codec: u32,
    /// Track of a multitrack message, else 0.
    pub track: u8,
    /// Whether the header came as a multitrack message.
    pub multitrack: bool,
    /// Whether that message is for several tracks; then `track` and `codec` are those of the first.
    pub many_tracks: bool,
    /// The body as it came; for data messages without wrapping, as AMF0.
    pub body: Bytes,
    /// The repair with which players get the body, if it needs one.
    pub mend: Option<Mend>,
}

impl Header {
    /// Whether this header replaces the other one. A plain message is for its whole kind, so a plain header of another
    /// codec means that the publisher changed codecs; in multitrack messages every FourCC and track has its own header.
    fn replaces(&self, other: &Self) -> bool {
        let place = |header: &Self| {
            let codec = if header.multitrack { header.codec } else { 0 };
            (header.type_id, header.metadata, header.multitrack, header.many_tracks, header.track, codec)
        };
        place(self) == place(other)
    }

    /// Whether this header, which came later, is also for a track of the other one, and so overrides the other for that
    /// track.
    fn overrides(&self, other: &Self) -> bool {
        let sort = |header: &Self| (header.type_id, header.metadata, header.multitrack);
        if !(self.many_tracks || other.many_tracks) || sort(self) != sort(other) {
            return false;
        }
        let mut tracks = frame::tracks(other.type_id, &other.body).take(MAX_COMPARED);
        tracks.any(|track| {
            let mut ours = frame::tracks(self.type_id, &self.body).take(MAX_COMPARED);
            ours.any(|own| (own.id, own.codec) == (track.id, track.codec))
        })
    }

    fn is_stream_metadata(&self) -> bool {
        self.metadata && self.type_id == kind::DATA
    }
}

/// The form of headers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderRewrite {
    /// Timestamp of the sequence headers: that of the join point, in milliseconds.
    pub ts_ms: u32,
    /// Message stream id of the consumer.
    pub stream_id: u32,
    /// The chunk size that the consumer was told.
    pub chunk_size: u32,
    /// Metadata as `@setDataFrame`: for servers we push to. Players get it without.
    pub wrap_metadata: bool,
    /// The kinds that the consumer gets, bits of [`media`].
    pub media: u32,
    /// The tracks that the consumer gets, a mask of `track_mask`.
    pub tracks: u64,
}

/// The headers valid at one position of the log, metadata first, then in the order in which they first came. Clones
/// share them until one set changes; a change never affects another set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderSet(Arc<Vec<Header>>);

impl HeaderSet {
    /// Whether the set is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers in the order in which they go out.
    pub(crate) fn headers(&self) -> &[Header] {
        &self.0
    }

    /// Bytes of all bodies together.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|header| header.body.len()).sum()
    }

    /// The headers that a consumer gets, in the order in which they go out.
    pub(in crate::stream) fn messages(&self, rewrite: &HeaderRewrite) -> impl Iterator<Item = HeaderMessage<'_>> {
        let wanted = |header: &&Header| {
            rewrite.media & media_of(header.type_id) != 0
                && track_mask::wants(rewrite.tracks, header.type_id, &header.body)
        };
        self.0.iter().filter(wanted).map(|header| HeaderMessage::of(header, rewrite))
    }

    /// Appends the headers to `out` as messages in chunks.
    ///
    /// # Errors
    /// [`RRError::NoMem`]; then `out` is unchanged.
    pub(crate) fn encode(&self, rewrite: &HeaderRewrite, out: &mut Vec<u8>) -> Result<()> {
        let begin = out.len();
        for message in self.messages(rewrite) {
            if let Err(failure) = message.encode(rewrite, out) {
                out.truncate(begin);
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Adds a message that is marked as metadata or a sequence header. True if the set has changed.
    pub(super) fn learn(&mut self, message: &Message<'_>) -> Result<bool> {
        let mark = &message.mark;
        let whole = message.body().ok_or_else(no_memory)?;
        let facts = frame::facts(mark.type_id, &whole);
        let is_data = media_of(mark.type_id) == media::DATA;
        let bare = if is_data { bare_data(mark.type_id, &whole) } else { &whole };
        if bare.len() > MAX_HEADER_BYTES {
            return Err(Failure::limit("a header is larger than all headers together may be"));
        }
        let mut header = Header {
            type_id: if is_data { kind::DATA } else { mark.type_id },
            metadata: mark.has(flag::META),
            codec: facts.codec,
            track: facts.track,
            multitrack: facts.multitrack,
            many_tracks: facts.many_tracks,
            body: Bytes::new(),
            mend: if mark.has(flag::FLAWED) { metadata::mend(bare) } else { None },
        };
        let place = self.0.iter().position(|other| header.replaces(other));
        let from_place = place.map_or(&[][..], |place| &self.0[place..]);
        let overridden = |header: &Header| from_place.iter().skip(1).any(|later| later.overrides(header));
        // Many encoders repeat their headers before each key frame: that changes nothing and must cost nothing.
        if let Some(known) = from_place.first()
            && known.body == bare
            && !overridden(known)
        {
            return Ok(false);
        }
        header.body = copy(bare)?;
        let overridden = overridden(&header);
        let headers = Arc::make_mut(&mut self.0);
        match place {
            // The newest header for a track must come after those that it overrides.
            Some(place) if overridden => {
                headers.remove(place);
                headers.push(header.clone());
            }
            Some(place) => headers[place] = header.clone(),
            None if header.is_stream_metadata() => headers.insert(0, header.clone()),
            None => headers.push(header.clone()),
        }
        make_room(headers, &header);
        Ok(true)
    }
}

/// Drops headers until the bounds hold: first the oldest of the new header's kind, then the oldest of any kind except
/// metadata.
fn make_room(headers: &mut Vec<Header>, newest: &Header) {
    let bytes = |headers: &[Header]| headers.iter().map(|header| header.body.len()).sum::<usize>();
    while headers.len() > MAX_HEADERS || bytes(headers) > MAX_HEADER_BYTES {
        let others = || headers.iter().enumerate().filter(|(_, header)| !newest.replaces(header));
        let sort = |header: &Header| (header.type_id, header.metadata);
        let victim = others()
            .find(|(_, header)| sort(header) == sort(newest))
            .or_else(|| others().find(|(_, header)| !header.is_stream_metadata()))
            .or_else(|| others().next())
            .map(|(index, _)| index);
        // A single header is within the bounds, so there is another one.
        let Some(victim) = victim else { return };
        headers.remove(victim);
    }
}

/// A header in the form that a consumer gets.
pub(in crate::stream) struct HeaderMessage<'a> {
    pub(in crate::stream) type_id: u8,
    pub(in crate::stream) timestamp_ms: u32,
    /// The bytes before the body: `@setDataFrame`, or none.
    wrap: &'static [u8],
    pub(in crate::stream) body: &'a [u8],
    /// The bytes after the body: the end markers that metadata lacks.
    pub(in crate::stream) ends: &'a [u8],
}

impl<'a> HeaderMessage<'a> {
    fn of(header: &'a Header, rewrite: &HeaderRewrite) -> Self {
        let wraps = rewrite.wrap_metadata && header.is_stream_metadata();
        let mend = header.mend.filter(|_| !rewrite.wrap_metadata);
        let [body, ends] = mend.map_or([&header.body[..], &[]], |mend| mend.parts(&header.body));
        Self {
            type_id: header.type_id,
            // ffmpeg takes metadata at any time other than 0 for a subtitle, and would open a third stream for it.
            timestamp_ms: if header.is_stream_metadata() { 0 } else { rewrite.ts_ms },
            wrap: if wraps { SET_DATA_FRAME } else { &[] },
            body,
            ends,
        }
    }

    fn encode(&self, rewrite: &HeaderRewrite, out: &mut Vec<u8>) -> Result<()> {
        let Self { type_id, timestamp_ms, wrap, body, ends } = *self;
        let head = MessageHead {
            timestamp_ms,
            type_id,
            stream_id: rewrite.stream_id,
            // The sum is at most MAX_HEADER_BYTES, the name and some end markers.
            len: (wrap.len() + body.len() + ends.len()) as u32,
            chunk_stream: chunk_stream_of(type_id),
        };
        let (begin, len) = (out.len(), wire_len(&head, rewrite.chunk_size));
        out.try_reserve(len).map_err(|_| no_memory())?;
        out.resize(begin + len, 0);
        encode_parts_into(&head, &[wrap, body, ends], rewrite.chunk_size, &mut out[begin..]);
        Ok(())
    }
}

/// A data message without the leading 0 of type 15 and without `@setDataFrame`.
fn bare_data(type_id: u8, body: &[u8]) -> &[u8] {
    let start = frame::strip_set_data_frame(type_id, body).unwrap_or_else(|| frame::data_start(type_id, body));
    body.get(start..).unwrap_or_default()
}

fn copy(body: &[u8]) -> Result<Bytes> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(body.len()).map_err(|_| no_memory())?;
    bytes.extend_from_slice(body);
    Ok(Bytes::from(bytes))
}

fn no_memory() -> Failure {
    Failure::ours(RRError::NoMem, "no memory for a header")
}

/// The bit of [`media`] that a message type belongs to; 0 for other types.
fn media_of(type_id: u8) -> u32 {
    match type_id {
        kind::AUDIO => media::AUDIO,
        kind::VIDEO => media::VIDEO,
        kind::DATA | kind::DATA_AMF3 => media::DATA,
        _ => 0,
    }
}
