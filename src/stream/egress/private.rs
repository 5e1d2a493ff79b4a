//! Private bytes: what one consumer gets that the log does not have in these bytes, on the way to its socket. Join
//! headers, rewritten messages, and what the connection says between two messages.
//!
//! This module owns the buffer and counts it against the memory limit. The buffer has only whole messages of one origin
//! at a time; the consumer decides who puts them in and sends them.

use crate::error::Result;
use crate::stream::memory::budget::{Budget, Charge};

/// Rewritten messages are collected up to so many bytes before they are written.
pub(in crate::stream) const COLLECTED_BYTES: usize = 64 * 1024;

/// A buffer larger than this is given back when it is empty: idle consumers hold next to nothing.
const KEPT_BYTES: usize = 1024;

/// The private bytes of one consumer.
pub(in crate::stream) struct Private {
    bytes: Vec<u8>,
    /// How many of them have been sent.
    at: usize,
    /// Memory of the buffer and of the connection.
    charge: Charge,
    /// The connection's part of the charge, as last counted.
    connection_bytes: usize,
}

impl Private {
    pub(in crate::stream) fn new(budget: &Budget) -> Self {
        Self { bytes: Vec::new(), at: 0, charge: budget.nothing(), connection_bytes: 0 }
    }

    /// The bytes that have not been sent.
    pub(in crate::stream) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(in crate::stream) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Whether it has collected as much as goes out at once.
    pub(in crate::stream) fn is_full(&self) -> bool {
        self.bytes.len() >= COLLECTED_BYTES
    }

    /// So many have been sent. A buffer that was large goes as soon as it is empty.
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
        (self.bytes, self.at) = (messages, 0);
    }

    /// Lets `write` append about `bytes` more, where the memory limit allows it.
    ///
    /// # Errors
    /// [`RRError::Limit`](crate::error::RRError::Limit), or what `write` says; the consumer is over then.
    pub(in crate::stream) fn append<T>(
        &mut self,
        bytes: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        self.count(self.bytes.len() + bytes)?;
        let written = write(&mut self.bytes)?;
        self.count(0)?;
        Ok(written)
    }

    /// Counts the buffer as large as it is or as `needed`, where that is more than is counted: before it grows, since
    /// many who do not read would have a buffer each before the next figures.
    fn count(&mut self, needed: usize) -> Result<()> {
        let bytes = self.bytes.capacity().max(needed) + self.connection_bytes;
        if bytes as u64 <= self.charge.bytes() {
            return Ok(());
        }
        // The consumer is over then, and others that join in the same pass are not to find the buffer here.
        self.charge.follow(bytes).inspect_err(|_| (self.bytes, self.at) = (Vec::new(), 0))
    }

    /// Counts it as it is now, with what its connection holds; called with the other figures. What the limit has no
    /// room for is counted as soon as there is: the connection has it already, and others give way meanwhile.
    pub(in crate::stream) fn recount(&mut self, connection_bytes: usize) {
        self.connection_bytes = connection_bytes;
        let _ = self.charge.follow(self.bytes.capacity() + connection_bytes);
    }

    /// Memory of the buffer.
    pub(in crate::stream) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
