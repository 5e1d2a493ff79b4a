//! One chunk header: bytes and the previous header of that chunk stream in, a header or "n more bytes" out
//! (specification 5.3.1).
//!
//! The parser keeps no state and copies no body. [`super::chunk_read`] assembles messages with it; the librtmp face,
//! whose state lies in public C structures, calls it directly. The writing side is [`super::chunk_write`].

use minicbor::{Decode, Encode};

use super::message::MessageHead;
use crate::error::{Failure, Result};

/// Longest header: three bytes of chunk stream id, eleven of message header, four of extended timestamp.
pub(crate) const HEADER_MAX_BYTES: usize = 18;

/// The 24-bit timestamp field that says "see the four bytes after the header" (5.3.1.3).
pub(crate) const EXTENDED: u32 = 0xFF_FFFF;

/// Smallest chunk stream id a header can name; 0 and 1 mark the longer forms (5.3.1.1).
pub(crate) const CHUNK_STREAM_MIN: u32 = 2;

/// Largest chunk stream id, by the three byte form.
pub(crate) const CHUNK_STREAM_MAX: u32 = 65_599;

/// Chunk size of both directions until a Set Chunk Size says otherwise (5.4.1), in bytes.
pub(crate) const CHUNK_SIZE_DEFAULT: u32 = 128;

/// Largest chunk size: the top bit of the field must be zero (5.4.1).
pub(crate) const CHUNK_SIZE_MAX: u32 = 0x7FFF_FFFF;

/// Whether a peer repeats the extended timestamp on type 3 chunks. The specification asks for it (5.3.1.3), but some
/// senders leave it out. The first continuation of a message with an extended timestamp shows which it is, for the
/// whole chunk stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Repeat {
    /// Not seen yet.
    #[default]
    #[n(0)]
    Unknown,
    /// Type 3 chunks carry the four bytes.
    #[n(1)]
    Yes,
    /// Type 3 chunks leave the four bytes out.
    #[n(2)]
    No,
}

/// The state of one chunk stream between two headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Previous {
    /// Absolute time of the last message, in milliseconds.
    #[n(0)]
    pub timestamp_ms: u32,
    /// The last timestamp or delta as it was written (the extended one, if any); a type 3 chunk that starts a message
    /// adds it.
    #[n(1)]
    pub field_ms: u32,
    /// Bytes of the last message.
    #[n(2)]
    pub len: u32,
    /// Its message stream id.
    #[n(3)]
    pub stream_id: u32,
    /// Its type.
    #[n(4)]
    pub type_id: u8,
    /// The last timestamp field was `EXTENDED`.
    #[n(5)]
    pub extended: bool,
    /// Whether type 3 chunks repeat the extended timestamp.
    #[n(6)]
    pub repeat: Repeat,
    /// The message is unfinished: the next type 3 chunk continues it. The reader clears this at the message's last
    /// byte.
    #[n(7)]
    pub open: bool,
}

impl Previous {
    /// The head of the message this header belongs to.
    pub fn head(&self, chunk_stream: u32) -> MessageHead {
        MessageHead {
            timestamp_ms: self.timestamp_ms,
            type_id: self.type_id,
            stream_id: self.stream_id,
            len: self.len,
            chunk_stream,
        }
    }

    /// The first byte and size (with a repeated extended timestamp) of the headers that continue the open message, if
    /// all of them are alike. `None`: call [`parse_header`].
    #[inline]
    pub fn continuation(&self, chunk_stream: u32) -> Option<(u8, usize)> {
        let size = match (self.extended, self.repeat) {
            (false, _) | (true, Repeat::No) => 1,
            (true, Repeat::Yes) => 5,
            (true, Repeat::Unknown) => return None,
        };
        (self.open && (CHUNK_STREAM_MIN..64).contains(&chunk_stream)).then_some((0xC0 | chunk_stream as u8, size))
    }
}

/// A chunk header that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Chunk type, 0 to 3.
    pub fmt: u8,
    /// Bytes of the header, extended timestamp included.
    pub size: usize,
    /// The chunk stream, `CHUNK_STREAM_MIN` to `CHUNK_STREAM_MAX`.
    pub chunk_stream: u32,
    /// True if a message starts here: with every type except 3, and with type 3 if no message is open. The start of a
    /// message discards a half-read one of the same chunk stream.
    pub starts: bool,
    /// The chunk stream's state after this header. `open` is set if the message has a body.
    pub next: Previous,
}

/// The result of [`parse_header`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The header is incomplete: at least this many more bytes are needed.
    Need(usize),
    /// A whole header.
    Header(ChunkHeader),
}

/// Reads the chunk header at the start of `bytes`. `previous` returns the remembered state of the named chunk stream,
/// and is called at most once. The result does not depend on how many bytes follow the header.
///
/// Peers deviate in two ways that are accepted: a type 1 header may open a chunk stream (librtmp does so for control
/// messages; time and message stream id count from 0), and an extended timestamp may be missing on type 3 chunks.
///
/// # Errors
/// [`crate::error::RRError::Protocol`] if a type 2 or 3 header names a chunk stream that has had no message: the length
/// is unknown, so nothing after it can be read.
#[inline]
pub fn parse_header<'p>(bytes: &[u8], previous: impl FnOnce(u32) -> Option<&'p Previous>) -> Result<Step> {
    let Some(&first) = bytes.first() else { return Ok(Step::Need(1)) };
    let fmt = first >> 6;
    let (chunk_stream, basic) = match (first & 0x3F, bytes) {
        (0, [_, low, ..]) => (64 + u32::from(*low), 2),
        (0, _) => return Ok(Step::Need(1)),
        (1, [_, low, high, ..]) => (64 + u32::from(*low) + 256 * u32::from(*high), 3),
        (1, _) => return Ok(Step::Need(3 - bytes.len())),
        (id, _) => (u32::from(id), 1),
    };
    let before = previous(chunk_stream);
    if fmt >= 2 && before.is_none() {
        return Err(unknown_length(fmt, chunk_stream));
    }
    let mut next = before.copied().unwrap_or_default();
    let starts = fmt != 3 || !next.open;

    let fields = [11, 7, 3, 0][usize::from(fmt)];
    let mut size = basic + fields;
    if bytes.len() < size {
        return Ok(Step::Need(size - bytes.len()));
    }
    if fmt == 3 {
        if next.extended {
            // This is a copy, so that `next` stays in registers for most headers.
            let mut found = next;
            match type_3_extension(&bytes[size..], &mut found, starts) {
                Extension::Cut(more) => return Ok(Step::Need(more)),
                Extension::Absent => {}
                Extension::Present => size += 4,
            }
            next = found;
        }
    } else {
        let header = &bytes[basic..size];
        next.field_ms = be24(header);
        next.extended = next.field_ms == EXTENDED;
        if next.extended {
            let Some(&value) = bytes[size..].first_chunk::<4>() else {
                return Ok(Step::Need(size + 4 - bytes.len()));
            };
            next.field_ms = u32::from_be_bytes(value);
            size += 4;
        }
        if let [_, _, _, len @ .., type_id] = &header[..fields.min(7)]
            && fmt < 2
        {
            next.len = be24(len);
            next.type_id = *type_id;
        }
        if let Some(&stream_id) = header.last_chunk::<4>()
            && fmt == 0
        {
            next.stream_id = u32::from_le_bytes(stream_id);
        }
    }
    if fmt == 0 {
        next.timestamp_ms = next.field_ms;
    } else if starts {
        // A type 3 that starts a message adds the last field, and after a type 0 that field is the time itself, as
        // 5.3.1.2.4 says literally. ffmpeg sends this (a captured session is among the vectors: frames at 200, 400, 600
        // ms as type 0, type 3, type 3), and so do Flash Media Live Encoder (by SRS's notes) and rml_rtmp; ffmpeg,
        // librtmp, SRS and rml_rtmp read it this way. nginx-rtmp and gortmplib read a step of 0. librtmp and nginx-rtmp
        // write type 3 for two equal times, but a message that they start with type 0 is either at time 0, where both
        // readings agree, or no message with the same time follows.
        next.timestamp_ms = next.timestamp_ms.wrapping_add(next.field_ms);
    }
    next.open = next.len > 0;
    Ok(Step::Header(ChunkHeader { fmt, size, chunk_stream, starts, next }))
}

enum Extension {
    Cut(usize),
    Absent,
    Present,
}

/// Decides whether the bytes after a type 3 header are a repeated extended timestamp, and takes its value if the chunk
/// starts a message.
///
/// Inside a message the bytes must look like the value written before: senders repeat either the field or the absolute
/// time, some with the top bit cleared. Other bytes are body. At a message's start the value may be new, so the bytes
/// count as a timestamp unless this peer is known to leave it out.
#[cold]
fn type_3_extension(bytes: &[u8], next: &mut Previous, starts: bool) -> Extension {
    if next.repeat == Repeat::No {
        return Extension::Absent;
    }
    if next.repeat == Repeat::Unknown && !starts {
        // The first byte that differs decides, so that a body shorter than four bytes is not delayed.
        let seen = &bytes[..bytes.len().min(4)];
        if !looks_like(seen, next.field_ms) && !looks_like(seen, next.timestamp_ms) {
            next.repeat = Repeat::No;
            return Extension::Absent;
        }
    }
    let Some(&value) = bytes.first_chunk::<4>() else { return Extension::Cut(1) };
    next.repeat = Repeat::Yes;
    if starts {
        next.field_ms = u32::from_be_bytes(value);
    }
    Extension::Present
}

/// Whether `seen` (up to four bytes) begins like `value`, the top bit aside.
fn looks_like(seen: &[u8], value: u32) -> bool {
    let value = value.to_be_bytes();
    match seen {
        [] => true,
        [first, rest @ ..] => first & 0x7F == value[0] & 0x7F && value[1..].starts_with(rest),
    }
}

/// The first three bytes as a big-endian number.
fn be24(bytes: &[u8]) -> u32 {
    match bytes {
        [a, b, c, ..] => u32::from_be_bytes([0, *a, *b, *c]),
        _ => 0,
    }
}

#[cold]
fn unknown_length(fmt: u8, chunk_stream: u32) -> Failure {
    Failure::protocol(format!("a type {fmt} chunk on chunk stream {chunk_stream}, which has had no message before"))
}

#[cfg(test)]
mod tests;
