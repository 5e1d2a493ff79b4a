//! The state of a chunk reader, from which another reader continues.

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};

use super::{Body, CHUNK_SIZE_MAX, ChunkReader, HEADER_MAX_BYTES, Previous, ReadLimits, Slot, find};
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::chunk_header::{CHUNK_STREAM_MAX, CHUNK_STREAM_MIN};

/// Every message is shorter than this, in bytes: its length has 24 bits.
const MESSAGE_BYTES: u32 = 1 << 24;

/// Largest count that a state may claim: counting from there does not overflow.
const COUNT_MAX: u64 = 1 << 60;

/// Everything that reading the next chunks depends on.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ReaderState<'a> {
    /// The peer's chunk size.
    #[n(0)]
    chunk_size: u32,
    /// The chunk streams, in the order in which they were first used.
    #[b(1)]
    #[cbor(with = "crate::proto::cbor::list")]
    chunk_streams: Vec<ChunkStreamState<'a>>,
    /// The half-read chunk: the position of its chunk stream in the list, and how many of its bytes have not arrived.
    #[n(2)]
    chunk: Option<(usize, usize)>,
    /// The start of a header whose rest has not arrived.
    #[b(3)]
    #[cbor(with = "minicbor::bytes")]
    header: &'a [u8],
    /// Messages that the peer began and abandoned.
    #[n(4)]
    discarded: u64,
    /// The kept body of the last message, if the state was taken with it.
    #[b(5)]
    body: Option<&'a ByteSlice>,
}

/// One chunk stream.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
struct ChunkStreamState<'a> {
    #[n(0)]
    chunk_stream: u32,
    /// Its last header.
    #[n(1)]
    previous: Previous,
    /// The bytes of the open message that have arrived.
    #[b(2)]
    #[cbor(with = "minicbor::bytes")]
    body: &'a [u8],
}

impl Slot {
    fn state(&self) -> ChunkStreamState<'_> {
        ChunkStreamState { chunk_stream: self.chunk_stream, previous: self.previous, body: &self.buffer }
    }
}

impl ChunkReader {
    /// The state from which another reader continues; `with_body` adds the kept body (see
    /// [`keep_body`](Self::keep_body)).
    ///
    /// # Errors
    /// [`RRError::State`] after an error.
    pub fn state(&self, with_body: bool) -> Result<ReaderState<'_>> {
        if self.failed {
            return Err(Failure::ours(RRError::State, "the peer's bytes ended in an error"));
        }
        Ok(ReaderState {
            chunk_size: self.chunk_size,
            chunk_streams: self.slots.iter().map(Slot::state).collect(),
            chunk: (self.left > 0).then_some((self.current, self.left)),
            header: &self.pending[..self.pending_len],
            discarded: self.discarded,
            body: with_body.then(|| self.done.as_slice().into()),
        })
    }

    /// A reader that continues from a state. The half-read messages must be within `limits`; other limits may be set
    /// afterwards.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a state that no reader can have, [`RRError::Limit`] past one of the limits,
    /// [`RRError::NoMem`].
    pub fn from_state(limits: ReadLimits, state: &ReaderState<'_>) -> Result<Self> {
        let impossible = |what: &'static str| Err(Failure::ours(RRError::Arg, what));
        if !(1..=CHUNK_SIZE_MAX).contains(&state.chunk_size) || state.discarded > COUNT_MAX {
            return impossible("no peer can have such a chunk size");
        }
        let mut reader = Self { chunk_size: state.chunk_size, discarded: state.discarded, ..Self::new(limits) };
        for ChunkStreamState { chunk_stream, previous, body } in &state.chunk_streams {
            let known = find(&reader.index, &reader.slots, *chunk_stream).is_some();
            if known || !(CHUNK_STREAM_MIN..=CHUNK_STREAM_MAX).contains(chunk_stream) {
                return impossible("a chunk stream exists twice, or has an invalid id");
            }
            let fits = if previous.open { body.len() < previous.len as usize } else { body.is_empty() };
            if previous.len >= MESSAGE_BYTES || !fits {
                return impossible("a half-read message has more bytes than its length");
            }
            if previous.open && previous.len > limits.max_message {
                return Err(Failure::ours(RRError::Limit, "a half-read message is larger than is accepted here"));
            }
            reader.add_slot(*chunk_stream)?;
            reader.open_bytes += body.len();
            if reader.open_bytes > limits.max_open_bytes {
                return Err(Failure::ours(RRError::Limit, "the half-read messages are larger than is accepted here"));
            }
            if let Some(slot) = reader.slots.last_mut() {
                slot.previous = *previous;
                slot.buffer = copied(body)?;
            }
        }
        reader.resume_chunk(state)?;
        if let Some(body) = state.body {
            if body.len() > limits.max_message as usize {
                return Err(Failure::ours(RRError::Limit, "a message is larger than is accepted here"));
            }
            reader.done = copied(body)?;
            reader.body = Body::Assembled;
        }
        Ok(reader)
    }

    /// Takes over the half-read chunk or header.
    fn resume_chunk(&mut self, state: &ReaderState<'_>) -> Result<()> {
        let header = state.header;
        if let Some((current, left)) = state.chunk {
            let missing = |slot: &Slot| slot.previous.len as usize - slot.buffer.len();
            let open = self.slots.get(current).filter(|slot| slot.previous.open);
            let most = open.map_or(0, |slot| missing(slot).min(self.chunk_size as usize));
            if !(1..=most).contains(&left) || !header.is_empty() {
                return Err(Failure::ours(RRError::Arg, "no chunk can be half-read in this way"));
            }
            if left > self.limits.max_open_bytes - self.open_bytes {
                return Err(Failure::ours(RRError::Limit, "a half-read chunk is larger than is accepted here"));
            }
            (self.current, self.left) = (current, left);
        }
        if header.len() >= HEADER_MAX_BYTES {
            return Err(Failure::ours(RRError::Arg, "no header can be half-read in this way"));
        }
        self.pending[..header.len()].copy_from_slice(header);
        self.pending_len = header.len();
        Ok(())
    }
}
