//! The chunk reader: turns the bytes of a connection into whole messages (specification 5.3).
//!
//! The reader owns the half-read messages of one connection, applies Set Chunk Size and Abort, and holds the peer to
//! limits. It does not interpret other messages, counts no acknowledgements, and reads no socket: its caller feeds the
//! bytes, cut anywhere. `chunk_header` parses the headers.
//!
//! Memory follows the bytes that arrived, never a length that a header claims: a message begins with a small buffer
//! that doubles up to its length. Finished buffers are used again while data flows (`chunk_buffers`).

use super::chunk_buffers::{Spares, grow};
use super::chunk_header::{CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX, HEADER_MAX_BYTES};
use super::message::{MessageHead, kind};
use crate::error::{Failure, RRError, Result, copied};

pub use super::chunk_header::{ChunkHeader, Previous, Repeat, Step, parse_header};

/// Limits on the memory that a peer can make the reader hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes of one message.
    pub max_message: u32,
    /// Bytes of all half-read messages together, counting the whole chunk that is being read.
    pub max_open_bytes: usize,
    /// Number of chunk streams ever used; larger values count as [`CHUNK_STREAMS_MAX`].
    pub max_chunk_streams: usize,
}

/// Upper bound of [`ReadLimits::max_chunk_streams`]: a slot's number is kept in one byte.
pub const CHUNK_STREAMS_MAX: usize = 254;

/// One chunk stream: its last header and the message being assembled.
#[derive(Debug)]
struct Slot {
    chunk_stream: u32,
    previous: Previous,
    buffer: Vec<u8>,
}

/// Where the body of the last message is.
#[derive(Clone, Copy, Debug)]
enum Body {
    Input { start: usize, end: usize },
    Assembled,
}

/// How far [`ChunkReader::assemble`] came with the input.
enum Assembly {
    Dry,
    Header,
    Complete,
}

/// Reads one connection's chunks. Feed input, call [`next`](Self::next) until it returns `None`, feed again. An error
/// is final: every later call fails too.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ReadLimits,
    chunk_size: u32,
    /// Slot number + 1 of chunk streams 2 to 63; 0 if there is none.
    index: [u8; 64],
    slots: Vec<Slot>,
    /// Bytes of the chunk being read that have not arrived, and its slot.
    left: usize,
    current: usize,
    /// Bytes in all slots' buffers.
    open_bytes: usize,
    /// The start of a header whose rest has not arrived.
    pending: [u8; HEADER_MAX_BYTES],
    pending_len: usize,
    body: Body,
    done: Vec<u8>,
    spares: Spares,
    failed: bool,
    discarded: u64,
}

impl ChunkReader {
    /// A reader at the start of a connection, after the handshake. It allocates nothing before the first chunk.
    pub fn new(limits: ReadLimits) -> Self {
        Self {
            limits,
            chunk_size: CHUNK_SIZE_DEFAULT,
            index: [0; 64],
            slots: Vec::new(),
            left: 0,
            current: 0,
            open_bytes: 0,
            pending: [0; HEADER_MAX_BYTES],
            pending_len: 0,
            body: Body::Input { start: 0, end: 0 },
            done: Vec::new(),
            spares: Spares::default(),
            failed: false,
            discarded: 0,
        }
    }

    /// Changes the limits from the next chunk on.
    pub fn set_limits(&mut self, limits: ReadLimits) {
        self.limits = limits;
    }

    /// The peer's chunk size in bytes, as last announced.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Bytes of half-read messages.
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Messages the peer began and gave up: by Abort, or by starting another on the same chunk stream.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Heap in use now, in bytes.
    pub fn heap_bytes(&self) -> usize {
        // A buffer without bytes has no memory.
        let open = match self.open_bytes {
            0 => 0,
            _ => self.slots.iter().map(|slot| slot.buffer.capacity()).sum(),
        };
        self.slots.capacity() * size_of::<Slot>() + open + self.spares.bytes() + self.done.capacity()
    }

    /// Whether [`next`](Self::next) would neither give nor free anything without further input; not to be asked before all
    /// input is read.
    #[inline]
    pub fn is_dry(&self) -> bool {
        self.done.capacity() == 0 && self.spares.bytes() == 0
    }

    /// Frees the spare buffers, for a connection that is not expected to send much more.
    pub fn release_spare(&mut self) {
        self.spares.release();
    }

    /// The next message of `input[*at..]`; `*at` moves past the bytes read. `None` means that all input was consumed
    /// and more is needed. [`body`](Self::body) gives the message's body.
    ///
    /// A returned Set Chunk Size or Abort has already been applied.
    ///
    /// # Errors
    /// [`RRError::Protocol`] for bytes that are not chunks, [`RRError::Limit`] past one of the [`ReadLimits`],
    /// [`RRError::NoMem`].
    #[inline]
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Option<MessageHead>> {
        if self.done.capacity() > 0 {
            self.spares.keep(std::mem::take(&mut self.done));
        }
        let found = if self.failed { Err(failed_before()) } else { self.run(input, at) };
        self.failed = found.is_err();
        found
    }

    /// The body of the message that [`next`](Self::next) has just returned. `input` must be the same as in that call.
    /// It is valid until the next call of `next`, and empty if the last call returned no message.
    #[inline]
    pub fn body<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self.body {
            Body::Input { start, end } => input.get(start..end).unwrap_or_default(),
            Body::Assembled => &self.done,
        }
    }

    /// Keeps the body of the last message: from now on [`body`](Self::body) gives it with any input, until the next
    /// call of [`next`](Self::next). `input` must be the same as in that last message's call.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub fn keep_body(&mut self, input: &[u8]) -> Result<()> {
        if let Body::Input { .. } = self.body {
            self.done = copied(self.body(input))?;
            self.body = Body::Assembled;
        }
        Ok(())
    }

    fn run(&mut self, input: &[u8], at: &mut usize) -> Result<Option<MessageHead>> {
        self.body = Body::Input { start: 0, end: 0 };
        *at = (*at).min(input.len());
        loop {
            if self.left > 0 {
                match self.assemble(input, at)? {
                    Assembly::Complete => return self.complete(input).map(Some),
                    Assembly::Header => {}
                    Assembly::Dry => break,
                }
            }
            let Some(whole) = self.header(input, at)? else { break };
            if whole {
                return self.complete(input).map(Some);
            }
        }
        if self.open_bytes == 0 {
            self.spares.rest();
        }
        Ok(None)
    }

    /// Reads one chunk header and prepares for its body. `None`: input exhausted. `Some(true)`: the message is whole.
    #[inline]
    fn header(&mut self, input: &[u8], at: &mut usize) -> Result<Option<bool>> {
        let waiting = self.pending_len;
        let rest = &input[*at..];
        if waiting > 0 {
            let fill = rest.len().min(HEADER_MAX_BYTES - waiting);
            self.pending[waiting..waiting + fill].copy_from_slice(&rest[..fill]);
            self.pending_len += fill;
        }
        let bytes = if waiting > 0 { &self.pending[..self.pending_len] } else { rest };
        let mut found = None;
        let step = parse_header(bytes, |chunk_stream| {
            found = find(&self.index, &self.slots, chunk_stream);
            found.map(|slot| &self.slots[slot].previous)
        })?;
        let header = match step {
            Step::Header(header) => header,
            Step::Need(_) => {
                // A header is cut off only if fewer than HEADER_MAX_BYTES are available, so these bytes fit.
                if waiting == 0 {
                    self.pending[..rest.len()].copy_from_slice(rest);
                    self.pending_len = rest.len();
                }
                *at = input.len();
                return Ok(None);
            }
        };
        self.begin(&header, found)?;
        if waiting == 0 {
            *at += header.size;
        } else if header.size >= waiting {
            *at += header.size - waiting;
            self.pending_len = 0;
        } else {
            self.split_waiting(header.size, waiting)?;
        }
        Ok(Some(self.begun(header.starts, input, at)))
    }

    /// Makes the header's chunk the current one, within the limits.
    #[inline]
    fn begin(&mut self, header: &ChunkHeader, found: Option<usize>) -> Result<()> {
        let number = match found {
            Some(number) => number,
            None => self.add_slot(header.chunk_stream)?,
        };
        let slot = &mut self.slots[number];
        if header.starts {
            if header.next.len > self.limits.max_message {
                return Err(too_large(header, self.limits.max_message));
            }
            if slot.previous.open {
                slot.previous.open = false;
                let buffer = std::mem::take(&mut slot.buffer);
                self.discard(buffer);
            }
        }
        let slot = &mut self.slots[number];
        slot.previous = header.next;
        let missing = slot.previous.len as usize - slot.buffer.len();
        let size = missing.min(self.chunk_size as usize);
        if size > self.limits.max_open_bytes.saturating_sub(self.open_bytes) {
            return Err(too_much(self.limits.max_open_bytes));
        }
        self.left = size;
        self.current = number;
        Ok(())
    }

    /// Whether the message is whole right after a header: an empty message, a message of one chunk that is in `input`,
    /// or one whose last bytes were kept as possible header bytes.
    #[inline]
    fn begun(&mut self, starts: bool, input: &[u8], at: &mut usize) -> bool {
        let len = self.slots[self.current].previous.len as usize;
        if starts && self.left == len && input.len() - *at >= len {
            self.body = Body::Input { start: *at, end: *at + len };
            *at += len;
            self.left = 0;
            return true;
        }
        self.left == 0 && self.slots[self.current].buffer.len() == len
    }

    /// Releases bytes that were kept as a possible extended timestamp and are not one: the first of them are body, the
    /// rest begin the next header.
    #[cold]
    fn split_waiting(&mut self, header_size: usize, waiting: usize) -> Result<()> {
        let body = self.left.min(waiting - header_size);
        let slot = &mut self.slots[self.current];
        grow(&mut slot.buffer, body, slot.previous.len as usize)?;
        slot.buffer.extend_from_slice(&self.pending[header_size..header_size + body]);
        self.open_bytes += body;
        self.left -= body;
        self.pending.copy_within(header_size + body..waiting, 0);
        self.pending_len = waiting - header_size - body;
        Ok(())
    }

    /// Appends to the current message: the rest of the chunk, then every whole type 3 chunk of the message that follows
    /// directly. Connections with small chunks spend most time in this loop.
    fn assemble(&mut self, input: &[u8], at: &mut usize) -> Result<Assembly> {
        debug_assert_eq!(self.pending_len, 0, "inside a chunk no header is half-read");
        if *at == input.len() {
            return Ok(Assembly::Dry);
        }
        let slot = &mut self.slots[self.current];
        let len = slot.previous.len as usize;
        if slot.buffer.capacity() == 0 {
            slot.buffer = self.spares.take(len);
        }
        let buffer = &mut slot.buffer;
        let mut rest = &input[*at..];
        let size = self.left.min(rest.len());
        grow(buffer, size, len)?;
        buffer.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
        self.left -= size;
        self.open_bytes += size;
        *at += size;
        if self.left > 0 {
            return Ok(Assembly::Dry);
        }
        if buffer.len() == len {
            return Ok(Assembly::Complete);
        }
        let Some((first, header_size)) = slot.previous.continuation(slot.chunk_stream) else {
            return Ok(Assembly::Header);
        };
        let before = buffer.len();
        // The loop stays below both limits; `begin` reports a chunk that exceeds them.
        let bound = len.min(before + self.limits.max_open_bytes.saturating_sub(self.open_bytes));
        while rest.first() == Some(&first) {
            let size = (self.chunk_size as usize).min(len - buffer.len());
            if rest.len() < header_size + size || buffer.len() + size > bound {
                break;
            }
            let (chunk, after) = rest.split_at(header_size + size);
            rest = after;
            grow(buffer, size, len)?;
            let body = &chunk[header_size..];
            match <&[u8; CHUNK_SIZE_DEFAULT as usize]>::try_from(body) {
                // The compiler knows the copy's length, so the most frequent small size needs no call.
                Ok(body) => buffer.extend_from_slice(body),
                Err(_) => buffer.extend_from_slice(body),
            }
            if buffer.len() == len {
                break;
            }
        }
        self.open_bytes += buffer.len() - before;
        *at = input.len() - rest.len();
        Ok(if buffer.len() == len { Assembly::Complete } else { Assembly::Header })
    }

    /// Ends the current message, which is complete: [`body`](Self::body) returns its body from now on. Applies Set
    /// Chunk Size and Abort.
    #[inline]
    fn complete(&mut self, input: &[u8]) -> Result<MessageHead> {
        let slot = &mut self.slots[self.current];
        slot.previous.open = false;
        let head = slot.previous.head(slot.chunk_stream);
        if !slot.buffer.is_empty() {
            self.open_bytes -= slot.buffer.len();
            self.done = std::mem::take(&mut slot.buffer);
            self.body = Body::Assembled;
        }
        if matches!(head.type_id, kind::SET_CHUNK_SIZE | kind::ABORT) {
            self.control(head.type_id, input)?;
        }
        Ok(head)
    }

    #[cold]
    fn control(&mut self, type_id: u8, input: &[u8]) -> Result<()> {
        let value = self.body(input).first_chunk::<4>().map(|&value| u32::from_be_bytes(value));
        match (type_id, value) {
            (kind::SET_CHUNK_SIZE, Some(size @ 1..=CHUNK_SIZE_MAX)) => self.chunk_size = size,
            (kind::SET_CHUNK_SIZE, Some(size)) => {
                return Err(Failure::protocol(format!("a chunk size of {size:#x}")));
            }
            (kind::SET_CHUNK_SIZE, None) => return Err(Failure::protocol("a Set Chunk Size without a size")),
            (_, Some(chunk_stream)) => self.abort(chunk_stream),
            // An Abort that names no chunk stream does nothing.
            (_, None) => {}
        }
        Ok(())
    }

    fn abort(&mut self, chunk_stream: u32) {
        let Some(number) = find(&self.index, &self.slots, chunk_stream) else { return };
        let slot = &mut self.slots[number];
        if slot.previous.open {
            slot.previous.open = false;
            let buffer = std::mem::take(&mut slot.buffer);
            self.discard(buffer);
        }
    }

    #[cold]
    fn discard(&mut self, buffer: Vec<u8>) {
        self.open_bytes -= buffer.len();
        self.discarded += 1;
        self.spares.keep(buffer);
    }

    #[cold]
    fn add_slot(&mut self, chunk_stream: u32) -> Result<usize> {
        let number = self.slots.len();
        if number >= self.limits.max_chunk_streams.min(CHUNK_STREAMS_MAX) {
            return Err(Failure::limit(format!("more than {number} chunk streams")));
        }
        if number == self.slots.capacity() {
            self.slots.try_reserve_exact(2).map_err(|_| RRError::NoMem)?;
        }
        self.slots.push(Slot { chunk_stream, previous: Previous::default(), buffer: Vec::new() });
        if let Some(entry) = self.index.get_mut(chunk_stream as usize) {
            *entry = number as u8 + 1; // below CHUNK_STREAMS_MAX
        }
        Ok(number)
    }
}

/// The slot of a chunk stream. Ids past 63 are rare enough for a walk over at most [`CHUNK_STREAMS_MAX`] slots.
#[inline]
fn find(index: &[u8; 64], slots: &[Slot], chunk_stream: u32) -> Option<usize> {
    match index.get(chunk_stream as usize) {
        Some(0) => None,
        Some(&number) => Some(usize::from(number) - 1),
        None => slots.iter().position(|slot| slot.chunk_stream == chunk_stream),
    }
}

#[cold]
fn too_large(header: &ChunkHeader, limit: u32) -> Failure {
    let (len, chunk_stream) = (header.next.len, header.chunk_stream);
    Failure::limit(format!("a message of {len} bytes on chunk stream {chunk_stream}; at most {limit} are accepted"))
}

#[cold]
fn too_much(limit: usize) -> Failure {
    Failure::limit(format!("more than {limit} bytes of half-sent messages"))
}

#[cold]
fn failed_before() -> Failure {
    Failure::protocol("nothing is read after an error")
}

mod state;
#[cfg(test)]
mod tests;

pub use state::ReaderState;
