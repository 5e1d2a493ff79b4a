//! The handshake before the first chunk (specification 5.2), in both roles: that of rml_rtmp, with this crate's errors
//! and bounds.
//!
//! Plain and digest handshakes, chosen by the form of the peer's first packet. No encryption (version 6), no check of
//! the second packet (peers in the field fail it), no deadline, because the caller has the clock. rml_rtmp draws its
//! own random bytes.

use rml_rtmp::handshake::{Handshake as Rml, HandshakeProcessResult, PeerType};

use crate::error::{Failure, RRError, Result};

/// All bytes of the handshake that one side sends: the version, and packets 1 and 2.
pub const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;

/// The only version without encryption.
const VERSION: u8 = 3;

/// One side of a handshake. A client calls [`start`](Self::start) first; then both roles feed arriving bytes and send
/// the bytes appended to `out`, until [`feed`](Self::feed) gives true. A finished handshake holds no memory.
pub struct Handshake {
    /// `None` once the handshake is over or has failed.
    inner: Option<Box<Rml>>,
    taken: usize,
}

impl Handshake {
    /// The side that accepted the connection.
    pub fn server() -> Self {
        Self::new(PeerType::Server)
    }

    /// The side that connects.
    pub fn client() -> Self {
        Self::new(PeerType::Client)
    }

    fn new(role: PeerType) -> Self {
        Self { inner: Some(Box::new(Rml::new(role))), taken: 0 }
    }

    /// Appends a client's version and packet 1 to `out`. A client calls this once, before any [`feed`](Self::feed).
    ///
    /// # Errors
    /// [`RRError::Handshake`] if the bytes cannot be generated.
    pub fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(inner) = &mut self.inner else { return Err(RRError::State.into()) };
        let bytes = inner
            .generate_outbound_p0_and_p1()
            .map_err(|error| Failure::ours(RRError::Handshake, error.to_string()))?;
        out.extend_from_slice(&bytes);
        Ok(())
    }

    /// Takes the handshake's bytes from `input[*at..]`, and none beyond, moves `*at`, and appends the answer to `out`.
    /// True when the handshake is complete; the chunk reader continues at `*at`.
    ///
    /// A server answers the first byte with its version and packet 1.
    ///
    /// # Errors
    /// [`RRError::Handshake`] where the peer's version is not 3, and at every call after an error.
    pub fn feed(&mut self, input: &[u8], at: &mut usize, out: &mut Vec<u8>) -> Result<bool> {
        if self.taken == HANDSHAKE_BYTES {
            return Ok(true);
        }
        let Some(mut inner) = self.inner.take() else { return Err(refused("the handshake failed before")) };
        let rest = input.get(*at..).unwrap_or_default();
        let bytes = &rest[..rest.len().min(HANDSHAKE_BYTES - self.taken)];
        let Some(&first) = bytes.first() else {
            self.inner = Some(inner);
            return Ok(false);
        };
        if self.taken == 0 && first != VERSION {
            return Err(refused(format!("the peer's version is {first:#04x}, not {VERSION}")));
        }
        let done = match inner.process_bytes(bytes).map_err(|error| refused(error.to_string()))? {
            HandshakeProcessResult::InProgress { response_bytes } => {
                out.extend_from_slice(&response_bytes);
                false
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                debug_assert!(remaining_bytes.is_empty(), "no byte past the handshake was given");
                out.extend_from_slice(&response_bytes);
                true
            }
        };
        *at += bytes.len();
        self.taken += bytes.len();
        if done != (self.taken == HANDSHAKE_BYTES) {
            return Err(Failure::ours(RRError::Panic, "the handshake ended at another byte than expected"));
        }
        if !done {
            self.inner = Some(inner);
        }
        Ok(done)
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("taken", &self.taken).finish_non_exhaustive()
    }
}

fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::peers(RRError::Handshake, text)
}

#[cfg(test)]
mod tests;
