//! RRBuffer: the log of a stream, written once in the very bytes that go out.
//!
//! The log is a chain of [segments](super::segment). This file is the writer's end: it writes the chunks of a message
//! directly into the segment's memory and decides when a new segment begins. Readers are [`Cursor`]s; the writer never
//! waits for them, and segments that no cursor can reach any more are freed. The writer reads no clock, knows no
//! sockets and does not interpret bodies. The thread that reads the publisher owns it.
//!
//! A message is in one segment, as a type 0 chunk and type 3 continuations of [`CHUNK_SIZE`] on message stream
//! [`STREAM_ID`], absolute timestamp, so that any message can be the first one a consumer gets.

use super::cursor::Cursor;
pub(crate) use super::cursor::Head;
use super::segment::{Mark, SegmentWriter, flag};
use crate::config::{CHUNK_SIZE, MAX_MESSAGE_BYTES};
use crate::error::{Failure, RRError, Result};
use crate::proto::chunk_write::{encode_parts_into, wire_len};
use crate::proto::message::{MessageHead, kind};
use crate::stream::memory::budget::Budget;

/// The message stream id in the log: what nearly every peer's first createStream gives.
pub(crate) const STREAM_ID: u32 = 1;

/// Bytes of the first segment: small, so that thousands of streams with little media cost little.
const FIRST_SEGMENT_BYTES: u32 = 16 * 1024;

/// Most bytes of a segment: a third of a second at 6 Mbit/s, so the memory that a cursor keeps before its own position
/// stays small, and one allocation serves hundreds of messages.
const SEGMENT_BYTES: u32 = 256 * 1024;

/// A segment that is full sooner is followed by one of twice its bytes, a segment that lasts longer than the second time
/// by one of half of them. So a stream with little media keeps a second or two before the key frame that players begin
/// with, and not ten. A segment that ends because a message larger than any segment came was not full.
const GROWS_BELOW_US: u64 = 1_000_000;
const SHRINKS_ABOVE_US: u64 = 4_000_000;

/// A segment has one mark for this many bytes. Streams with video average kilobytes a message, so their segments run
/// out of bytes first; a stream of only sound (some 200 to 400 bytes a message) runs out of marks first and leaves the
/// last pages of its segments untouched. At 24 bytes a mark the table is a twentieth of the segment.
const BYTES_PER_MARK: u32 = 512;

/// Fewest marks of a segment, however small.
const MIN_MARKS: u32 = 32;

/// A message's facts besides its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// RTMP timestamp in milliseconds, as it goes out.
    pub ts_ms: u32,
    /// RTMP message type.
    pub type_id: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Track of a multitrack message, else 0.
    pub track: u8,
    /// Monotonic arrival time in microseconds; never less than that of the message before.
    pub arrival_us: u64,
}

/// The writer's end of the log. One for each stream; `&mut` is the right to write.
pub(crate) struct RRBuffer {
    writer: SegmentWriter,
    budget: Budget,
    /// Bytes of the newest segment, apart from those of one large message, and when it began. 0 before the first.
    segment_bytes: u32,
    began_us: u64,
    /// A large message came before it was full.
    is_cut: bool,
    /// Flags that the next message gets in addition to its own.
    pending_flags: u8,
}

impl std::fmt::Debug for RRBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RRBuffer").field("head", &self.head()).finish_non_exhaustive()
    }
}

impl RRBuffer {
    /// An empty log. It holds no segment until the first message comes.
    pub(crate) fn new(budget: Budget) -> Self {
        Self { writer: SegmentWriter::start(), budget, segment_bytes: 0, began_us: 0, is_cut: false, pending_flags: 0 }
    }

    /// Appends one message whose body is the parts one after another, and publishes it to all cursors at once. Only a
    /// new segment now and then is allocated.
    ///
    /// # Errors
    /// [`RRError::Limit`] if a new segment would exceed the budget, or the body is longer than the format allows;
    /// [`RRError::NoMem`]. Then the log is unchanged, and the same call may be repeated.
    pub(crate) fn append(&mut self, entry: &Entry, body: &[&[u8]]) -> Result<()> {
        let len = body.iter().map(|part| part.len()).sum::<usize>();
        let len = u32::try_from(len).ok().filter(|&len| len <= MAX_MESSAGE_BYTES);
        let len = len.ok_or_else(|| Failure::ours(RRError::Limit, "a message may have at most 16 MiB - 1"))?;
        let head = MessageHead {
            timestamp_ms: entry.ts_ms,
            type_id: entry.type_id,
            stream_id: STREAM_ID,
            len,
            chunk_stream: chunk_stream_of(entry.type_id),
        };
        let wire_len = wire_len(&head, CHUNK_SIZE);
        if self.writer.marks_left() == 0 || self.writer.tail().len() < wire_len {
            self.roll(wire_len, entry.arrival_us)?;
        }
        let written = encode_parts_into(&head, body, CHUNK_SIZE, self.writer.tail());
        debug_assert_eq!(written, wire_len);
        self.writer.publish(Mark {
            arrival_us: entry.arrival_us,
            start: 0,
            len: wire_len as u32, // below 2^25: a body is below 2^24 and each 60000 bytes of it cost 5 at most
            ts_ms: entry.ts_ms,
            type_id: entry.type_id,
            flags: entry.flags | self.pending_flags,
            track: entry.track,
        });
        self.pending_flags = 0;
        Ok(())
    }

    /// Notes that the next message is the first of another publisher. The message gets [`flag::NEW_PUBLISHER`], so that
    /// readers forget the earlier publisher exactly there.
    pub(crate) fn new_publisher(&mut self) {
        self.pending_flags |= flag::NEW_PUBLISHER;
    }

    /// Notes that consumers are told of the end of the stream before the next message, which gets [`flag::AFTER_END`].
    pub(crate) fn ended(&mut self) {
        self.pending_flags |= flag::AFTER_END;
    }

    /// The end of the log now.
    pub(crate) fn head(&self) -> Head {
        let (segment, done) = (self.writer.segment(), self.writer.published());
        Head {
            position: segment.base() + u64::from(done.bytes),
            messages: segment.first_message() + u64::from(done.marks),
        }
    }

    /// A cursor at the end of the log.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::at_end_of(self.writer.segment())
    }

    /// Continues in a new segment that has room for `wire_len`, which has just arrived.
    fn roll(&mut self, wire_len: usize, now_us: u64) -> Result<()> {
        // Below 2^25, see `append`.
        let wire_len = wire_len as u32;
        let is_large = wire_len > SEGMENT_BYTES;
        let (bytes, marks) = if is_large {
            // The message is larger than any segment, so it gets one of its own, of exactly its size.
            (wire_len, 1)
        } else {
            let bytes = self.usual_bytes(now_us).max(wire_len.next_power_of_two());
            (bytes, (bytes / BYTES_PER_MARK).max(MIN_MARKS))
        };
        let capacity = u64::from(bytes) + u64::from(marks) * size_of::<Mark>() as u64;
        self.writer.roll(bytes, marks, self.budget.charge(capacity)?)?;
        self.is_cut = is_large;
        if !is_large {
            (self.segment_bytes, self.began_us) = (bytes, now_us);
        }
        Ok(())
    }

    /// Bytes of a segment that begins now, as long as no message needs more.
    fn usual_bytes(&self, now_us: u64) -> u32 {
        let lasted_us = now_us.saturating_sub(self.began_us);
        let bytes = match self.segment_bytes {
            bytes if lasted_us < GROWS_BELOW_US && !self.is_cut => bytes.saturating_mul(2),
            bytes if lasted_us > SHRINKS_ABOVE_US => bytes / 2,
            bytes => bytes,
        };
        bytes.clamp(FIRST_SEGMENT_BYTES, SEGMENT_BYTES)
    }
}

/// Whether messages of this type may stand in a log: no control messages and no commands, which are a connection's own.
pub(crate) fn may_stand_in_log(type_id: u8) -> bool {
    !matches!(type_id, 0..=kind::PEER_BANDWIDTH | kind::COMMAND | kind::COMMAND_AMF3)
}

/// The chunk stream of a message type in the log: each kind has its own, all in the one-byte form.
pub(crate) fn chunk_stream_of(type_id: u8) -> u32 {
    match type_id {
        kind::AUDIO => 4,
        kind::DATA | kind::DATA_AMF3 => 5,
        kind::VIDEO => 6,
        _ => 7,
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
