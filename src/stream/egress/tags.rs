//! The log's messages as FLV tags, for players over HTTP: this file makes the bytes before and after a body, and the
//! body is sent from the log's own bytes, chunk by chunk, in the same system call.
//!
//! Only messages that must differ are copied: metadata that is corrected and, for browsers, multitrack messages of
//! several chunks (their tracks are known only once the body is in one piece) and the first messages of another
//! publisher, which show its tracks. This file does not decide what a consumer gets when.

use std::io::IoSlice;

use minicbor::{Decode, Encode};

use crate::config::{CHUNK_SIZE, media};
use crate::error::{RRError, Result};
use crate::net::conn::Conn;
use crate::proto::browser::{self, LEAD_BYTES, Narrowed, Tracks};
use crate::proto::chunk_write::BodyLayout;
use crate::proto::flv::{self, FILE_HEADER_BYTES, TAG_HEAD_BYTES, TAG_TAIL_BYTES};
use crate::proto::frame;
use crate::proto::framing::Short;
use crate::proto::message::kind;
use crate::session::FlvForm;
use crate::stream::egress::join::{Header, HeaderRewrite, HeaderSet};
use crate::stream::log::cursor::Message;
use crate::stream::log::segment::{Mark, flag};

/// Most bytes that framing puts before a piece of a stream, and after it.
const BEFORE_BYTES: usize = 10;
const BEHIND_BYTES: usize = 2;

/// Most bytes of a tag's tail with its framing, and of a tag's head, which includes the tail if there is no body
/// between.
const TAIL_BYTES: usize = TAG_TAIL_BYTES + BEHIND_BYTES;
const HEAD_BYTES: usize = BEFORE_BYTES + TAG_HEAD_BYTES + LEAD_BYTES + TAIL_BYTES;

/// Most messages whose tags are made at once, and most pieces of one system call. A live stream usually has one or two
/// new messages.
const MESSAGES: usize = 8;
const PLACES: usize = 3 * MESSAGES;

/// The form of one consumer's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) struct Tags {
    form: FlvForm,
    /// The file header has been written.
    begun: bool,
    /// The tracks that a browser gets.
    tracks: Tracks,
    /// Kinds of which a new publisher has sent no frame yet, bits of [`media`]; its headers show which track is the
    /// lowest.
    unsettled: u32,
    /// The kinds that a browser gets, bits of [`media`].
    kinds: u32,
}

/// The part of a run that has been sent.
#[derive(Debug, Default)]
pub(in crate::stream) struct Written {
    /// Bytes of the log that are done.
    pub(in crate::stream) log: usize,
    /// Bytes that were sent for them.
    pub(in crate::stream) sent: usize,
    /// The rest of a head or tail of which the socket took a part; it is sent first.
    pub(in crate::stream) rest: Short<HEAD_BYTES>,
}

/// The bytes around a part of a body.
#[derive(Clone, Copy, Debug, Default)]
struct Tag {
    head: Short<HEAD_BYTES>,
    start: usize,
    end: usize,
    tail: Short<TAIL_BYTES>,
}

/// A message and its tag.
#[derive(Clone, Copy)]
struct Tagged<'a> {
    wire: &'a [u8],
    sent: usize,
    /// `None` if the message is left out.
    tag: Option<(Tag, BodyLayout)>,
}

/// Bytes to send, and how much of the log is done once they have been sent.
#[derive(Clone, Copy)]
struct Piece<'a> {
    bytes: &'a [u8],
    of_log: usize,
    kind: PieceKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    Head,
    /// The log's own bytes.
    Body,
    Tail,
}

/// What the tags of a consumer depend on besides their form, for another process.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub(in crate::stream) struct TagsState {
    #[n(0)]
    begun: bool,
    #[n(1)]
    audio: u8,
    #[n(2)]
    video: u8,
    #[n(3)]
    unsettled: u32,
    #[n(4)]
    kinds: u32,
}

impl TagsState {
    /// Whether there are such kinds.
    pub(in crate::stream) fn is_possible(self) -> bool {
        (self.unsettled | self.kinds) & !media::ALL == 0
    }
}

impl Tags {
    /// What another process needs to go on.
    pub(in crate::stream) fn state(&self) -> TagsState {
        let Self { begun, tracks: Tracks { audio, video }, unsettled, kinds, .. } = *self;
        TagsState { begun, audio, video, unsettled, kinds }
    }

    /// Goes on from another process.
    pub(in crate::stream) fn resume(&mut self, state: TagsState) {
        let TagsState { begun, audio, video, unsettled, kinds } = state;
        *self = Self { form: self.form, begun, tracks: Tracks { audio, video }, unsettled, kinds };
    }

    /// Appends what is left to send of a message that is half sent.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(in crate::stream) fn append_rest(&self, message: &Message<'_>, out: &mut Vec<u8>) -> Result<()> {
        let tagged = self.tagged(message);
        tagged.pieces().try_for_each(|piece| put(out, &[piece.bytes]))
    }

    pub(in crate::stream) fn new(form: FlvForm) -> Self {
        Self { form, begun: false, tracks: Tracks::default(), unsettled: 0, kinds: media::ALL }
    }

    /// Whether the tags are for players that must get only what they understand.
    pub(in crate::stream) fn is_for_browser(&self) -> bool {
        self.form.browser
    }

    /// Whether the message's tag has to be built in a buffer.
    pub(in crate::stream) fn is_special(&self, mark: &Mark) -> bool {
        let of_data = matches!(mark.type_id, kind::DATA | kind::DATA_AMF3) && mark.has(flag::META);
        let many = || mark.len > CHUNK_SIZE && mark.has(flag::MULTITRACK);
        let settles = || mark.has(flag::NEW_PUBLISHER) || self.unsettled & media_of(mark.type_id) != 0;
        mark.has(flag::FLAWED) || (self.form.browser && (of_data || many() || settles()))
    }

    /// Takes note of a special message. A new publisher has its own tracks: a browser gets the lowest track of each
    /// kind that appears before the first frame, as if it joined then.
    pub(in crate::stream) fn note(&mut self, mark: &Mark, body: &[u8]) {
        if mark.has(flag::NEW_PUBLISHER) {
            self.unsettled = media::AUDIO | media::VIDEO;
            self.tracks = Tracks { audio: u8::MAX, video: u8::MAX };
        }
        let bit = media_of(mark.type_id);
        if self.unsettled & bit == 0 {
            return;
        }
        let track = if bit == media::AUDIO { &mut self.tracks.audio } else { &mut self.tracks.video };
        let Some(lowest) = frame::tracks(mark.type_id, body).map(|track| track.id).min() else { return };
        if mark.has(flag::SEQ) {
            *track = lowest.min(*track);
        } else if !mark.has(flag::META) {
            // This is mostly sound without a header.
            *track = if *track == u8::MAX { lowest } else { *track };
            self.unsettled &= !bit;
        }
    }

    /// Appends the tags of these headers to `out`, the first time after the file header. `seen` are the kinds that the
    /// stream has had, bits of [`media`].
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(in crate::stream) fn begin(
        &mut self,
        headers: &HeaderSet,
        form: &HeaderRewrite,
        seen: u32,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let all = headers.headers();
        if self.form.browser {
            self.unsettled = 0;
            self.tracks = Tracks { audio: lowest_track(all, kind::AUDIO), video: lowest_track(all, kind::VIDEO) };
            self.kinds = self.kinds_for_browser(all, seen);
        } else {
            // Before the first message any kind may come.
            self.kinds = if seen == 0 { media::ALL } else { seen };
        }
        if !self.begun {
            self.begun = true;
            let has = |kind| self.kinds & kind != 0;
            let header = flv::file_header(has(media::AUDIO), has(media::VIDEO));
            let mut before = Short::<BEFORE_BYTES>::default();
            self.form.framing.begin(FILE_HEADER_BYTES, &mut before);
            put(out, &[before.bytes(), &header, self.form.framing.behind()])?;
        }
        for header in headers.messages(form) {
            self.encode(header.type_id, header.timestamp_ms, header.body, header.ends, out)?;
        }
        Ok(())
    }

    /// The kinds of the stream that a browser's player understands: judged by the headers for codecs that have them,
    /// and otherwise by what was seen.
    fn kinds_for_browser(&self, headers: &[Header], seen: u32) -> u32 {
        let mut kinds = 0;
        for (type_id, bit) in [(kind::AUDIO, media::AUDIO), (kind::VIDEO, media::VIDEO)] {
            let mut known = headers.iter().filter(|header| header.type_id == type_id).peekable();
            let taken = match known.peek() {
                Some(_) => {
                    known.any(|header| browser::narrow(type_id, &header.body, header.body.len(), self.tracks).is_some())
                }
                // All video codecs that it knows have headers.
                None => type_id == kind::AUDIO && seen & bit != 0,
            };
            kinds |= if taken { bit } else { 0 };
        }
        kinds
    }

    /// Appends a message with this body, and these bytes after it, to `out`; false if the message is left out.
    pub(in crate::stream) fn encode(
        &self,
        type_id: u8,
        ts_ms: u32,
        body: &[u8],
        ends: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool> {
        let Some(tag) = self.tag(type_id, ts_ms, body, body.len() + ends.len()) else { return Ok(false) };
        let body = body.get(tag.start..tag.end.min(body.len())).unwrap_or_default();
        let at = out.len() + tag.head.bytes().len();
        put(out, &[tag.head.bytes(), body, ends, tag.tail.bytes()])?;
        if self.form.browser && flv::tag_type(type_id) == Some(kind::DATA) {
            let has = |kind| self.kinds & kind != 0;
            let body = out.get_mut(at..).unwrap_or_default();
            browser::correct_metadata(body, has(media::AUDIO), has(media::VIDEO));
        }
        Ok(true)
    }

    /// The tag of a message whose body has `len` bytes and begins with `body`.
    fn tag(&self, type_id: u8, ts_ms: u32, body: &[u8], len: usize) -> Option<Tag> {
        let tag_type = flv::tag_type(type_id)?;
        let Narrowed { lead, start, end } = match tag_type {
            kind::DATA => Narrowed { start: frame::data_start(type_id, body), end: len, ..Narrowed::default() },
            _ if self.form.browser => browser::narrow(type_id, body, len, self.tracks)?,
            _ => Narrowed { end: len, ..Narrowed::default() },
        };
        // The length is below 2^24, as for every message.
        let data_len = (lead.bytes().len() + end.saturating_sub(start)) as u32;
        let mut tag = Tag { start, end, ..Tag::default() };
        self.form.framing.begin(TAG_HEAD_BYTES + data_len as usize + TAG_TAIL_BYTES, &mut tag.head);
        tag.head.put(&flv::tag_head(tag_type, ts_ms, data_len));
        tag.head.put(lead.bytes());
        tag.tail.put(&flv::tag_tail(data_len));
        tag.tail.put(self.form.framing.behind());
        if start >= end {
            // If the tag has no bytes of the log, only its head shows that the tail must follow.
            let tail = std::mem::take(&mut tag.tail);
            tag.head.put(tail.bytes());
        }
        Some(tag)
    }

    fn tagged<'a>(&self, message: &Message<'a>) -> Tagged<'a> {
        let Message { mark, wire, sent, .. } = *message;
        let tag = BodyLayout::of(wire, CHUNK_SIZE).and_then(|layout| {
            let first = wire.get(layout.place(0)..).unwrap_or_default();
            let first = first.get(..layout.len).unwrap_or(first);
            Some((self.tag(mark.type_id, mark.ts_ms, first, layout.len)?, layout))
        });
        Tagged { wire, sent, tag }
    }

    /// Gives messages, none of them special, to the connection.
    ///
    /// # Errors
    /// Errors of the socket.
    pub(in crate::stream) fn write<'a>(
        &self,
        mut messages: impl Iterator<Item = Message<'a>>,
        conn: &mut Conn,
    ) -> Result<Written> {
        let mut written = Written::default();
        loop {
            let mut tagged: [Option<Tagged<'a>>; MESSAGES] = [None; MESSAGES];
            for place in &mut tagged {
                *place = messages.next().map(|message| self.tagged(&message));
            }
            let mut pieces = tagged.iter().flatten().flat_map(Tagged::pieces).peekable();
            if pieces.peek().is_none() {
                return Ok(written);
            }
            while pieces.peek().is_some() {
                if !written.write(&mut pieces, conn)? {
                    return Ok(written);
                }
            }
        }
    }
}

impl Written {
    /// Sends as many pieces as go at once. False if the socket took fewer bytes.
    fn write<'a>(&mut self, pieces: &mut impl Iterator<Item = Piece<'a>>, conn: &mut Conn) -> Result<bool> {
        const NOTHING: Piece<'_> = Piece { bytes: &[], of_log: 0, kind: PieceKind::Body };
        let mut batch = [NOTHING; PLACES];
        let mut count = 0;
        for (place, piece) in batch.iter_mut().zip(pieces) {
            *place = piece;
            count += 1;
        }
        let batch = batch.get(..count).unwrap_or_default();
        let mut places = [IoSlice::new(&[]); PLACES];
        let mut wanted = 0;
        let mut filled = 0;
        for piece in batch.iter().filter(|piece| !piece.bytes.is_empty()) {
            places[filled] = IoSlice::new(piece.bytes);
            filled += 1;
            wanted += piece.bytes.len();
        }
        let sent = if wanted == 0 { 0 } else { conn.write_vectored(&mut places[..filled])?.unwrap_or(0) };
        self.sent += sent;
        Ok(self.took(batch, sent))
    }

    /// Notes that this many bytes of these pieces were sent. False if that is not all.
    fn took(&mut self, pieces: &[Piece<'_>], mut sent: usize) -> bool {
        for piece in pieces {
            if piece.bytes.len() <= sent {
                sent -= piece.bytes.len();
                self.log += piece.of_log;
                continue;
            }
            match piece.kind {
                // The chunk header before it counts as done with the first of its bytes.
                PieceKind::Body if sent > 0 => self.log += piece.of_log - piece.bytes.len() + sent,
                // Its body has been sent, so nothing else shows that the tail must follow.
                PieceKind::Tail => self.rest_of(piece, sent),
                PieceKind::Head if sent > 0 => self.rest_of(piece, sent),
                PieceKind::Head | PieceKind::Body => {}
            }
            return false;
        }
        true
    }

    fn rest_of(&mut self, piece: &Piece<'_>, sent: usize) {
        self.log += piece.of_log;
        self.rest.put(piece.bytes.get(sent..).unwrap_or_default());
    }
}

impl Tagged<'_> {
    /// The pieces that are left to send, in order.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let (mut at, mut ended) = (self.sent, false);
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let rest = self.wire.len().saturating_sub(at);
            let Some((tag, layout)) = &self.tag else {
                ended = true;
                return Some(Piece { bytes: &[], of_log: rest, kind: PieceKind::Body });
            };
            if at == 0 {
                at = layout.place(tag.start);
                return Some(Piece { bytes: tag.head.bytes(), of_log: at, kind: PieceKind::Head });
            }
            let end = layout.place(tag.end);
            if at < end {
                let (header, body) = layout.ahead(at);
                let body = self.wire.get(at + header..(at + header + body).min(end)).unwrap_or_default();
                at += header + body.len();
                return Some(Piece { bytes: body, of_log: header + body.len(), kind: PieceKind::Body });
            }
            ended = true;
            Some(Piece { bytes: tag.tail.bytes(), of_log: rest, kind: PieceKind::Tail })
        })
    }
}

/// The kind of audio and video messages, a bit of [`media`]; 0 for others.
fn media_of(type_id: u8) -> u32 {
    match type_id {
        kind::AUDIO => media::AUDIO,
        kind::VIDEO => media::VIDEO,
        _ => 0,
    }
}

/// The lowest track that headers of this type have; 0 if there is none.
fn lowest_track(headers: &[Header], type_id: u8) -> u8 {
    let of_type = headers.iter().filter(|header| header.type_id == type_id && !header.metadata);
    of_type.map(|header| header.track).min().unwrap_or(0)
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) -> Result<()> {
    let len = parts.iter().map(|part| part.len()).sum();
    out.try_reserve(len).map_err(|_| RRError::NoMem)?;
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::chunk_write;
    use crate::proto::framing::Framing;
    use crate::proto::message::MessageHead;

    /// The bytes that go out if the socket first takes `first` bytes, and then all.
    fn gone(tags: Tags, message: Message<'_>, first: usize) -> Vec<u8> {
        let bytes = |sent: usize| -> Vec<u8> {
            let tagged = tags.tagged(&Message { sent, ..message });
            tagged.pieces().flat_map(|piece| piece.bytes.to_vec()).collect()
        };
        let tagged = tags.tagged(&message);
        let pieces: Vec<_> = tagged.pieces().collect();
        let all = bytes(0);
        let mut written = Written::default();
        let whole = written.took(&pieces, first);
        let mut out = [&all[..first], written.rest.bytes()].concat();
        assert_eq!(whole, first == all.len());
        assert!(written.log <= message.wire.len());
        let mut elsewhere = out.clone();
        if written.log < message.wire.len() {
            out.extend(bytes(written.log));
            // Another process gets the same bytes.
            tags.append_rest(&Message { sent: written.log, ..message }, &mut elsewhere).unwrap();
        }
        assert_eq!(elsewhere, out);
        out
    }

    #[test]
    fn a_tag_goes_out_whole_wherever_the_socket_stops() {
        let long = vec![7; CHUNK_SIZE as usize + 9];
        let bodies: [(u8, &[u8]); 5] =
            [(kind::AUDIO, b""), (kind::VIDEO, b""), (kind::DATA_AMF3, b"\0"), (kind::VIDEO, b"\x17\x01"), (9, &long)];
        for framing in [Framing::None, Framing::Chunked, Framing::WebSocket] {
            for (type_id, body) in bodies {
                let mut wire = Vec::new();
                let head =
                    MessageHead { timestamp_ms: 40, type_id, stream_id: 1, len: body.len() as u32, chunk_stream: 4 };
                chunk_write::encode(&head, body, CHUNK_SIZE, &mut wire);
                let len = wire.len() as u32;
                let mark = Mark { len, ts_ms: 40, type_id, ..Mark::default() };
                let (message, tags) =
                    (Message { mark, wire: &wire, sent: 0 }, Tags::new(FlvForm { framing, browser: false }));
                let all = gone(tags, message, 0);
                assert!(all.len() >= TAG_HEAD_BYTES + TAG_TAIL_BYTES, "{framing:?} {type_id}: {all:?}");
                let cuts = (0..=all.len().min(60)).chain(all.len().saturating_sub(60)..=all.len());
                for cut in cuts {
                    assert_eq!(gone(tags, message, cut), all, "{framing:?} {type_id}, cut at {cut}");
                }
            }
        }
    }
}
