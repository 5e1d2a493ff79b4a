//! The buffers in which [`super::chunk_read`] assembles messages: they grow with what arrives, are used again while
//! data flows, and are freed when it stops.

use crate::error::{Failure, RRError, Result};

/// First capacity of a buffer: most commands and audio frames fit.
const FIRST_BYTES: usize = 512;

/// Larger spare buffers are freed when all input is read and no message is half-read.
const KEEP_IDLE_BYTES: usize = 16 * 1024;

/// Larger buffers are freed after each message: above this size the allocation costs little beside the copying.
const KEEP_BUSY_BYTES: usize = 1024 * 1024;

/// After this many reads in a row without assembly, all spare buffers are freed. Audio that arrives whole between two
/// assembled video frames does not reach this number.
const KEEP_UNUSED_READS: u8 = 4;

/// The spare buffers of one reader.
#[derive(Debug, Default)]
pub(super) struct Spares {
    /// Two, for the usual pair of an audio and a video message; the larger is the second.
    buffers: [Vec<u8>; 2],
    unused_reads: u8,
}

impl Spares {
    /// An empty buffer for a message of `len` bytes: the smallest that fits it, or else the largest.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        self.unused_reads = 0;
        let [small, large] = &mut self.buffers;
        if small.capacity() >= len || large.capacity() == 0 {
            return std::mem::take(small);
        }
        std::mem::replace(large, std::mem::take(small))
    }

    /// Keeps a finished buffer for later messages, if it is one of the two largest.
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

    /// Frees large or unused buffers. Called when all input is consumed and no message is half-read, because the
    /// connection may then be silent for long.
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

    /// Frees all buffers.
    pub(super) fn release(&mut self) {
        self.buffers = Default::default();
    }

    /// Capacity held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.buffers.iter().map(Vec::capacity).sum()
    }
}

/// Makes room for `more` bytes of a message of `len` bytes: doubles the capacity, up to the length of the message.
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
