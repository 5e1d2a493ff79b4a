//! Where a consumer's bytes go.
//!
//! A sink takes bytes and says how many it took. It knows nothing of the log, of subscriptions and of what the bytes
//! mean.

use std::io::IoSlice;

use crate::error::Result;
use crate::net::conn::Conn;

/// Where a consumer's bytes go.
pub(in crate::stream) enum Sink {
    /// A connection: a player's, or one that we opened to a target.
    Conn(Conn),
}

impl Sink {
    /// Writes; `None` when it takes nothing now.
    ///
    /// # Errors
    /// What the socket says.
    pub(in crate::stream) fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Self::Conn(conn) = self;
        conn.write(bytes)
    }

    /// [`write`](Self::write) for bytes that lie in several places.
    ///
    /// # Errors
    /// What the socket says.
    pub(in crate::stream) fn write_vectored(&mut self, parts: &mut [IoSlice<'_>]) -> Result<Option<usize>> {
        let Self::Conn(conn) = self;
        conn.write_vectored(parts)
    }

    /// Sends what TLS keeps of what was written; false where the socket takes no more of it now.
    ///
    /// # Errors
    /// What the socket says.
    pub(in crate::stream) fn flush_tls(&mut self) -> Result<bool> {
        let Self::Conn(conn) = self;
        conn.flush_tls()
    }

    /// The connection's own messages, whole, which go out between two others.
    pub(in crate::stream) fn take_control(&mut self) -> Option<Vec<u8>> {
        let Self::Conn(conn) = self;
        conn.has_output().then(|| conn.take_output())
    }

    pub(in crate::stream) fn heap_bytes(&mut self) -> usize {
        let Self::Conn(conn) = self;
        conn.heap_bytes()
    }

    /// The connection.
    pub(in crate::stream) fn conn(&mut self) -> &mut Conn {
        let Self::Conn(conn) = self;
        conn
    }

    pub(in crate::stream) fn into_conn(self) -> Conn {
        let Self::Conn(conn) = self;
        conn
    }
}
