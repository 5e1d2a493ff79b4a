//! Private bytes: bytes for one consumer that are not in the log, on the way to its socket. They are join headers,
//! rewritten messages, and the session's output between two messages.
//!
//! This module owns the buffer and counts it against the memory limit. The buffer holds only whole messages from one
//! origin at a time; the consumer decides who fills it, and sends it.

use crate::error::Result;
use crate::stream::memory::budget::{Budget, Charge};

/// Rewritten messages are collected up to this many bytes before they are written.
pub(in crate::stream) const COLLECTED_BYTES: usize = 64 * 1024;

/// A larger buffer is freed when it is empty, so that idle consumers hold almost no memory.
const KEPT_BYTES: usize = 1024;

/// The private bytes of one consumer; what each pass looks at comes first.
#[repr(C)]
pub(in crate::stream) struct Private {
    bytes: Vec<u8>,
    /// How many of the bytes have been sent.
    at: usize,
    /// Memory of the buffer and of the connection.
    charge: Charge,
    /// The connection's part of the charge, as last counted.
    connection_bytes: usize,
    /// Something was put into the buffer since the last [`recount`](Self::recount).
    is_used: bool,
}

impl Private {
    pub(in crate::stream) fn new(budget: &Budget) -> Self {
        Self { bytes: Vec::new(), at: 0, is_used: false, charge: budget.nothing(), connection_bytes: 0 }
    }

    /// The bytes that have not been sent.
    pub(in crate::stream) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(in crate::stream) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Whether the buffer has collected as much as is sent at once.
    pub(in crate::stream) fn is_full(&self) -> bool {
        self.bytes.len() >= COLLECTED_BYTES
    }

    /// Notes that `sent` bytes have been sent. A large buffer is freed as soon as it is empty.
    pub(in crate::stream) fn advance(&mut self, sent: usize) {
        self.at += sent;
        if self.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.at = 0;
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }

    /// Takes whole messages from another buffer; all earlier private bytes must have been sent.
    pub(in crate::stream) fn fill(&mut self, messages: Vec<u8>) {
        debug_assert!(self.is_empty(), "what was there goes first");
        (self.bytes, self.at, self.is_used) = (messages, 0, true);
    }

    /// Lets `write` append about `bytes` more, if the memory limit allows it.
    ///
    /// # Errors
    /// [`RRError::Limit`](crate::error::RRError::Limit), or an error of `write`; either ends the consumer.
    pub(in crate::stream) fn append<T>(
        &mut self,
        bytes: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        self.is_used = true;
        self.count(self.bytes.len() + bytes)?;
        let written = write(&mut self.bytes)?;
        self.count(0)?;
        Ok(written)
    }

    /// Charges the larger of the buffer's size and `needed`, if that is more than is charged. This happens before the
    /// buffer grows, since otherwise many consumers that do not read could each have a buffer before the next recount.
    fn count(&mut self, needed: usize) -> Result<()> {
        let bytes = self.bytes.capacity().max(needed) + self.connection_bytes;
        if bytes as u64 <= self.charge.bytes() {
            return Ok(());
        }
        // This ends the consumer; the buffer is freed at once, for others that join in the same pass.
        self.charge.follow(bytes).inspect_err(|_| (self.bytes, self.at) = (Vec::new(), 0))
    }

    /// Frees the buffer if nothing was put into it since the last call, and charges its present size and the connection's
    /// memory; called with the other figures. Where the limit has no room for what is more now, that stays uncounted
    /// until a later call: the connection holds it already, and it is less than what one read and one write leave behind.
    pub(in crate::stream) fn recount(&mut self, connection_bytes: usize) {
        if !std::mem::take(&mut self.is_used) && self.is_empty() {
            (self.bytes, self.at) = (Vec::new(), 0);
        }
        self.connection_bytes = connection_bytes;
        let _ = self.charge.follow(self.bytes.capacity() + connection_bytes);
    }

    /// Memory of the buffer.
    pub(in crate::stream) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
