//! The buffers that messages are assembled in, as [`super::chunk_read`] uses them: grown by what arrives, used again
//! while data flows, given back when it stops.

use crate::error::{Failure, RRError, Result};

/// First capacity of a buffer: most commands and audio frames fit.
const FIRST_BYTES: usize = 512;

/// Larger spare buffers are given back when all input is read and no message is half-read.
const KEEP_IDLE_BYTES: usize = 16 * 1024;

/// Larger buffers are given back after each message: beyond this the allocation is nothing beside the copying.
const KEEP_BUSY_BYTES: usize = 1024 * 1024;

/// After so many reads in a row that needed no assembly, all spare buffers are given back. Audio that arrives whole
/// between two assembled video frames does not get that far.
const KEEP_UNUSED_READS: u8 = 4;

/// The spare buffers of one reader.
#[derive(Debug, Default)]
pub(super) struct Spares {
    /// Two, for the usual pair of an audio and a video message; the larger is the second.
    buffers: [Vec<u8>; 2],
    unused_reads: u8,
}

impl Spares {
    /// An empty buffer for a message of `len` bytes: the smallest that fits it, or else the largest there is.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        self.unused_reads = 0;
        let [small, large] = &mut self.buffers;
        if small.capacity() >= len || large.capacity() == 0 {
            return std::mem::take(small);
        }
        std::mem::replace(large, std::mem::take(small))
    }

    /// Keeps a finished buffer for later messages, the two largest of them.
    pub(super) fn keep(&mut self, mut buffer: Vec<u8>) {
        let [small, large] = &mut self.buffers;
        let size = buffer.capacity();
        if size > KEEP_BUSY_BYTES || size <= small.capacity() {
            return;
        }
        buffer.clear();
        *small = buffer;
        if size > large.capacity() {
            std::mem::swap(small, large);
        }
    }

    /// Gives back large or unused buffers. For when all input is consumed and no message is half-read: the connection
    /// may be silent for long then.
    pub(super) fn rest(&mut self) {
        if self.bytes() == 0 {
            return;
        }
        self.unused_reads = self.unused_reads.saturating_add(1);
        let largest = if self.unused_reads > KEEP_UNUSED_READS { 0 } else { KEEP_IDLE_BYTES };
        for buffer in &mut self.buffers {
            if buffer.capacity() > largest {
                *buffer = Vec::new();
            }
        }
    }

    /// Gives all buffers back.
    pub(super) fn release(&mut self) {
        self.buffers = Default::default();
    }

    /// Capacity held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.buffers.iter().map(Vec::capacity).sum()
    }
}

/// Makes room for `more` bytes of a message of `len` bytes: double, but not past the message.
///
/// # Errors
/// [`RRError::NoMem`].
#[inline]
pub(super) fn grow(buffer: &mut Vec<u8>, more: usize, len: usize) -> Result<()> {
    if buffer.capacity() - buffer.len() >= more { Ok(()) } else { reserve(buffer, more, len) }
}

#[cold]
fn reserve(buffer: &mut Vec<u8>, more: usize, len: usize) -> Result<()> {
    let doubled = buffer.capacity().saturating_mul(2).max(FIRST_BYTES).min(len);
    let target = doubled.max(buffer.len() + more);
    buffer.try_reserve_exact(target - buffer.len()).map_err(|_| Failure::from(RRError::NoMem))
}
