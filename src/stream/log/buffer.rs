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
use super::segment::{Mark, SegmentWriter, Size, Spares, flag};
use crate::config::{CHUNK_SIZE, MAX_MESSAGE_BYTES};
use crate::error::{Failure, RRError, Result};
use crate::proto::chunk_write::{encode_parts_into, wire_len};
use crate::proto::message::{MessageHead, kind};
use crate::stream::memory::budget::Budget;

/// The message stream id in the log: what nearly every peer's first createStream gives.
pub(crate) const STREAM_ID: u32 = 1;

/// Memory of the first segment and of the smallest ones: small, so that thousands of streams with little media cost little.
const LEAST_BYTES: u32 = 8 * 1024;

/// Most memory of a segment, unless one message needs more: a third of a second at 6 Mbit/s, so the memory that a cursor
/// keeps before its own position stays small, and one allocation serves hundreds of messages.
const MOST_BYTES: u32 = 256 * 1024;

/// Where segments of this memory would be full sooner than the first time, as media has come lately, the next one has
/// twice as much; where they would last longer than the second time, half as much. So a stream keeps a part of a second
/// before the key frame that players begin with, and as much room behind its newest message.
const GROWS_BELOW_US: u64 = 200_000;
const SHRINKS_ABOVE_US: u64 = 1_000_000;

/// Before anything is known of a stream, its messages are taken to have so many bytes. Those of streams with video have
/// kilobytes, those of sound alone some 200 to 400 bytes.
const MESSAGE_BYTES: u32 = 256;

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
    /// Memory of the newest segment, apart from those of one large message, and when it began. 0 before the first.
    segment_bytes: u32,
    began_us: u64,
    /// The newest segment is that of one large message.
    is_large: bool,
    /// The bytes of the last segments and the time in which they came; older ones count less, large messages not at all.
    lately: (u64, u64),
    /// About the bytes of a message in the log.
    message_bytes: u32,
    /// Flags that the next message gets in addition to its own.
    pending_flags: u8,
}

impl std::fmt::Debug for RRBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RRBuffer").field("head", &self.head()).finish_non_exhaustive()
    }
}

impl RRBuffer {
    /// [`with_spares`](Self::with_spares), with spares of its own.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn new(budget: Budget) -> Self {
        Self::with_spares(budget, Spares::default())
    }

    /// An empty log. It holds no segment until the first message comes.
    pub(crate) fn with_spares(budget: Budget, spares: Spares) -> Self {
        Self {
            writer: SegmentWriter::start(spares),
            budget,
            segment_bytes: 0,
            began_us: 0,
            is_large: false,
            lately: (0, 0),
            message_bytes: MESSAGE_BYTES,
            pending_flags: 0,
        }
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
            reserved: 0,
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
    #[cold]
    fn roll(&mut self, wire_len: usize, now_us: u64) -> Result<()> {
        // Below 2^25, see `append`.
        let wire_len = wire_len as u32;
        let (mut lately, mut message_bytes) = (self.lately, self.message_bytes);
        let done = self.writer.published();
        if let Some(mean) = done.bytes.checked_div(done.marks).filter(|_| !self.is_large) {
            let lasted_us = now_us.saturating_sub(self.began_us).min(2 * SHRINKS_ABOVE_US);
            lately = (lately.0 * 3 / 4 + u64::from(done.bytes), lately.1 * 3 / 4 + lasted_us);
            // A segment with too few marks ends early, one with too many is hardly smaller. So larger messages count by half.
            message_bytes = mean.min(message_bytes.midpoint(mean));
        }
        let mut bytes = usual_bytes(self.segment_bytes, lately);
        let mut size = size_for(bytes, message_bytes);
        while size.bytes() < wire_len && bytes < MOST_BYTES {
            bytes *= 2;
            size = size_for(bytes, message_bytes);
        }
        let is_large = size.bytes() < wire_len;
        if is_large {
            // The message is larger than any segment, so it gets one of its own, of about its size.
            size = Size::of(wire_len, 1);
        }
        self.writer.roll(size, &self.budget)?;
        (self.lately, self.message_bytes, self.is_large) = (lately, message_bytes, is_large);
        if !is_large {
            (self.segment_bytes, self.began_us) = (bytes, now_us);
        }
        Ok(())
    }
}

/// Memory of the segment behind one of so much, as media has come lately and as long as no message needs more.
fn usual_bytes(bytes: u32, (came, in_us): (u64, u64)) -> u32 {
    let bytes = match (u64::from(bytes) * in_us).checked_div(came) {
        Some(lasts_us) if lasts_us < GROWS_BELOW_US => bytes * 2,
        Some(lasts_us) if lasts_us > SHRINKS_ABOVE_US => bytes / 2,
        _ => bytes,
    };
    bytes.clamp(LEAST_BYTES, MOST_BYTES)
}

/// What a segment with so much memory has room for: a quarter more marks than messages of that size need.
fn size_for(memory: u32, message_bytes: u32) -> Size {
    // Marks are a third of the memory at most, however small messages are.
    let messages = memory / (message_bytes.max(64) + size_of::<Mark>() as u32);
    Size::within(memory, (messages + messages / 4).max(MIN_MARKS))
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
