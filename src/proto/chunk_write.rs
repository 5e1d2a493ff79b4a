//! The chunk writer: turns a message into the bytes of its chunks (specification 5.3).
//!
//! The writer has no state: a message of the relay starts with a full (type 0) header and goes on with type 3 chunks,
//! so its bytes do not depend on earlier messages, and all receivers share them. Shorter headers ([`encode_as`]) are
//! for librtmp's face, which keeps the state they need. The extended timestamp is repeated on type 3 chunks (5.3.1.3).
//! The reading side is [`super::chunk_read`].

use std::borrow::Cow;

use super::chunk_header::{
    CHUNK_SIZE_DEFAULT, CHUNK_STREAM_MAX, EXTENDED, HEADER_MAX_BYTES, Previous, Step, parse_header,
};
use super::message::MessageHead;

/// The most frequent small chunk. Copies of this length and of single bytes (a continuation's header) are compiled with
/// a constant length, which saves a call for each.
const FREQUENT_BYTES: usize = CHUNK_SIZE_DEFAULT as usize;

/// Bytes that [`encode_into`] writes for a message of `head.len` bytes.
pub fn wire_len(head: &MessageHead, chunk_size: u32) -> usize {
    let len = head.len as usize;
    let continuations = len.saturating_sub(1) / chunk_bytes(chunk_size);
    let repeated = basic_len(head.chunk_stream) + extension_len(head);
    repeated + 11 + len + continuations * repeated
}

/// Writes a message to the start of `dst` and returns how much was written: exactly [`wire_len`].
///
/// `head.len` must be `body.len()` and below 2^24, `head.chunk_stream` 2 to 65599, `chunk_size` at least 1.
///
/// # Panics
/// Where `dst` is shorter than [`wire_len`].
pub fn encode_into(head: &MessageHead, body: &[u8], chunk_size: u32, dst: &mut [u8]) -> usize {
    encode_parts_into(head, &[body], chunk_size, dst)
}

/// [`encode_into`] for a body in several parts.
///
/// # Panics
/// Where `dst` is shorter than [`wire_len`].
pub fn encode_parts_into(head: &MessageHead, parts: &[&[u8]], chunk_size: u32, dst: &mut [u8]) -> usize {
    let mut rest = &mut *dst;
    write_chunks(0, head, parts, chunk_size, |bytes| {
        let (place, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        rest = after;
        match (bytes, <&[u8; FREQUENT_BYTES]>::try_from(bytes)) {
            ([byte], _) => place[0] = *byte,
            (_, Ok(bytes)) => place.copy_from_slice(bytes),
            (_, Err(_)) => place.copy_from_slice(bytes),
        }
    });
    let rest = rest.len();
    dst.len() - rest
}

/// Appends a message to `out`, under the conditions of [`encode_into`]. If the body is large, the caller reserves
/// [`wire_len`] bytes fallibly beforehand.
pub fn encode(head: &MessageHead, body: &[u8], chunk_size: u32, out: &mut Vec<u8>) {
    encode_as(0, head, body, chunk_size, out);
}

/// [`encode`] with a first header of another type (`fmt` 0 to 3), for writers who know what their peer has seen on this
/// chunk stream: the fields of `head` that the type leaves out are not written, and `head.timestamp_ms` goes into the
/// header unchanged, whether it is a time (type 0) or a difference to the one before.
pub fn encode_as(fmt: u8, head: &MessageHead, body: &[u8], chunk_size: u32, out: &mut Vec<u8>) {
    out.reserve(wire_len(head, chunk_size));
    write_chunks(fmt, head, &[body], chunk_size, |bytes| match (bytes, <&[u8; FREQUENT_BYTES]>::try_from(bytes)) {
        ([byte], _) => out.push(*byte),
        (_, Ok(bytes)) => out.extend_from_slice(bytes),
        (_, Err(_)) => out.extend_from_slice(bytes),
    });
}

/// Reads back the message at the start of `wire`, which [`encode`] or [`encode_into`] wrote with this chunk size, and
/// ignores the bytes after the message. `None` if the bytes are not such a message, or memory ran out.
pub fn body_of(wire: &[u8], chunk_size: u32) -> Option<(MessageHead, Cow<'_, [u8]>)> {
    let nothing = Previous::default();
    let Ok(Step::Header(header)) = parse_header(wire, |_| Some(&nothing)) else { return None };
    if header.fmt != 0 {
        return None;
    }
    let head = header.next.head(header.chunk_stream);
    let wire = wire.get(header.size..wire_len(&head, chunk_size))?;
    let (len, chunk_size) = (head.len as usize, chunk_bytes(chunk_size));
    if len <= chunk_size {
        return Some((head, Cow::Borrowed(wire)));
    }
    let mut body = Vec::new();
    body.try_reserve_exact(len).ok()?;
    let continuation = continuation_of(&head);
    for (number, chunk) in wire.chunks(chunk_size + continuation.len).enumerate() {
        // The first chunk's header is cut off, so each piece is a chunk's body and the header of the next chunk.
        let size = chunk_size.min(len - number * chunk_size);
        body.extend_from_slice(&chunk[..size]);
        if chunk.len() > size && chunk[size..] != *continuation.bytes() {
            return None;
        }
    }
    Some((head, Cow::Owned(body)))
}

/// Where the body of a message is in the bytes that [`encode`] or [`encode_into`] wrote.
#[derive(Clone, Copy, Debug)]
pub struct BodyLayout {
    /// Length of the body.
    pub len: usize,
    /// Bytes of the first header, and of each later one.
    first: usize,
    continuation: usize,
    chunk_size: usize,
}

impl BodyLayout {
    /// The layout of the message at the start of `wire`; `None` if the bytes are not such a message.
    pub fn of(wire: &[u8], chunk_size: u32) -> Option<Self> {
        let nothing = Previous::default();
        let Ok(Step::Header(header)) = parse_header(wire, |_| Some(&nothing)) else { return None };
        let head = header.next.head(header.chunk_stream);
        (header.fmt == 0).then(|| Self {
            len: head.len as usize,
            first: header.size,
            continuation: continuation_of(&head).len,
            chunk_size: chunk_bytes(chunk_size),
        })
    }

    /// The place in the bytes of byte `at` of the body; at the start of a chunk it is after the chunk's header. The end
    /// of the body is the end of the bytes.
    pub fn place(&self, at: usize) -> usize {
        let begins_behind = if at == self.len { at.saturating_sub(1) } else { at };
        let headers = begins_behind / self.chunk_size;
        self.first + at + headers * self.continuation
    }

    /// From a place after the first header: the number of header bytes that come next, and of body bytes in one piece
    /// after them.
    pub fn ahead(&self, place: usize) -> (usize, usize) {
        let behind = place.saturating_sub(self.first);
        let within = behind % (self.chunk_size + self.continuation);
        let header = if within < self.chunk_size { 0 } else { self.chunk_size + self.continuation - within };
        let body = if header == 0 { self.chunk_size - within } else { self.chunk_size };
        (header, body)
    }
}

/// The bytes of a header.
struct Header {
    bytes: [u8; HEADER_MAX_BYTES],
    len: usize,
}

impl Header {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Passes all bytes of a message to `put`, in order.
#[inline]
fn write_chunks(fmt: u8, head: &MessageHead, parts: &[&[u8]], chunk_size: u32, mut put: impl FnMut(&[u8])) {
    debug_assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), head.len as usize);
    debug_assert!(head.len < 1 << 24, "a message of {} bytes has no place in the header", head.len);
    put(first_header(fmt, head).bytes());
    let continuation = continuation_of(head);
    let chunk_size = chunk_bytes(chunk_size);
    let mut room = chunk_size;
    for part in parts {
        let mut part = *part;
        while !part.is_empty() {
            if room == 0 {
                put(continuation.bytes());
                room = chunk_size;
            }
            let (chunk, rest) = part.split_at(room.min(part.len()));
            put(chunk);
            room -= chunk.len();
            part = rest;
        }
    }
}

fn first_header(fmt: u8, head: &MessageHead) -> Header {
    let mut header = basic_header(fmt, head.chunk_stream);
    if fmt < 3 {
        header.put(&head.timestamp_ms.min(EXTENDED).to_be_bytes()[1..]);
    }
    if fmt < 2 {
        header.put(&head.len.to_be_bytes()[1..]);
        header.put(&[head.type_id]);
    }
    if fmt == 0 {
        header.put(&head.stream_id.to_le_bytes());
    }
    put_extension(&mut header, head);
    header
}

fn continuation_of(head: &MessageHead) -> Header {
    let mut header = basic_header(3, head.chunk_stream);
    put_extension(&mut header, head);
    header
}

fn put_extension(header: &mut Header, head: &MessageHead) {
    if extension_len(head) > 0 {
        header.put(&head.timestamp_ms.to_be_bytes());
    }
}

fn basic_header(fmt: u8, chunk_stream: u32) -> Header {
    debug_assert!(fmt <= 3 && chunk_stream <= CHUNK_STREAM_MAX);
    let mut header = Header { bytes: [0; HEADER_MAX_BYTES], len: 0 };
    let [low, high, ..] = chunk_stream.saturating_sub(64).to_le_bytes();
    match basic_len(chunk_stream) {
        1 => header.put(&[fmt << 6 | chunk_stream as u8]), // below 64
        2 => header.put(&[fmt << 6, low]),
        _ => header.put(&[fmt << 6 | 1, low, high]),
    }
    header
}

fn basic_len(chunk_stream: u32) -> usize {
    match chunk_stream {
        0..=63 => 1,
        64..=319 => 2,
        _ => 3,
    }
}

fn extension_len(head: &MessageHead) -> usize {
    if head.timestamp_ms >= EXTENDED { 4 } else { 0 }
}

/// The chunk size, at least 1: with 0 a message would never end.
fn chunk_bytes(chunk_size: u32) -> usize {
    chunk_size.max(1) as usize
}

#[cfg(test)]
mod tests;
