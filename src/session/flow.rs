//! Bytes sent and received, and how many may be unacknowledged (specification 5.4.3 to 5.4.5).
//!
//! [`Flow`] keeps the books; it writes nothing: whoever owns the output acts on what it says. Received bytes count from
//! the end of the handshake: a peer that counts its own bytes the other way must not see more acknowledged than it
//! sent.

/// We acknowledge at least after this much, however small the peer's window: 16 bytes back for 1024.
const MIN_ACK_BYTES: u64 = 1024;

use minicbor::{Decode, Encode};

use crate::error::{Failure, RRError, Result};

/// Largest count that is believed of another process: one that grows from here does not overflow.
const COUNT_MAX: u64 = 1 << 60;

/// The byte counts and windows of one connection.
#[derive(Clone, Copy, Debug, Default, Encode, Decode)]
pub(super) struct Flow {
    /// Bytes of our side of the handshake.
    #[n(0)]
    handshake_out: u64,
    /// Bytes of the session's output that have been sent.
    #[n(1)]
    consumed: u64,
    /// Bytes that the driver sent beside the output.
    #[n(2)]
    media_sent: u64,
    #[n(3)]
    received: u64,
    /// The part of `received` that we have acknowledged.
    #[n(4)]
    ack_sent_at: u64,
    /// The window that the peer announced; 0 where it has announced none.
    #[n(5)]
    peer_window: u32,
    #[n(6)]
    our_window: u32,
    /// The unacknowledged bytes that our Set Peer Bandwidth allowed the peer; 0 where none was sent.
    #[n(7)]
    allowance: u32,
    #[n(8)]
    peer_acked: Option<u32>,
}

impl Flow {
    /// Refuses what no connection has counted.
    pub(super) fn check(&self) -> Result<()> {
        let Self { handshake_out, consumed, media_sent, received, ack_sent_at, .. } = *self;
        let counts = [handshake_out, consumed, media_sent, received];
        if counts.iter().any(|count| *count > COUNT_MAX) || ack_sent_at > received {
            return Err(Failure::ours(RRError::Arg, "bytes were not counted like that"));
        }
        Ok(())
    }

    /// Bytes of our handshake were put into the output.
    pub(super) fn handshake(&mut self, bytes: usize) {
        self.handshake_out += bytes as u64;
    }

    /// Bytes of the output have been sent.
    pub(super) fn consumed(&mut self, bytes: usize) {
        self.consumed += bytes as u64;
    }

    /// The driver sent bytes of its own.
    pub(super) fn media_sent(&mut self, bytes: u64) {
        self.media_sent += bytes;
    }

    /// Bytes came.
    pub(super) fn receive(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn sent(&self) -> u64 {
        self.consumed + self.media_sent
    }

    /// Bytes sent and not acknowledged; `None` before the peer's first acknowledgement.
    pub(super) fn unacked(&self) -> Option<u64> {
        let sent = self.consumed.saturating_sub(self.handshake_out) + self.media_sent;
        // Modulo 2^32; a peer that counts the handshake too is ahead of us, which is nothing unacknowledged.
        let behind = (sent as u32).wrapping_sub(self.peer_acked?);
        Some(if behind.cast_signed() < 0 { 0 } else { behind.into() })
    }

    /// The peer acknowledged.
    pub(super) fn acknowledged(&mut self, total: u32) {
        self.peer_acked = Some(total);
    }

    /// The peer keeps this window.
    pub(super) fn set_peer_window(&mut self, bytes: u32) {
        self.peer_window = bytes;
    }

    pub(super) fn our_window(&self) -> u32 {
        self.our_window
    }

    pub(super) fn set_our_window(&mut self, bytes: u32) {
        self.our_window = bytes;
    }

    /// The peer is told to have no more than this on the way.
    pub(super) fn set_allowance(&mut self, bytes: u32) {
        self.allowance = bytes;
    }

    fn owed(&self) -> u64 {
        self.received - self.ack_sent_at
    }

    /// Whether an acknowledgement is due: at half the peer's window, so that one that waits for it need not stand
    /// still. A peer that has told of no window asks for nothing (5.4.4) and gets nothing while its bytes come;
    /// nginx-rtmp and SRS do it so too. ffmpeg is such a publisher, and closes with megabytes still in its socket: an
    /// acknowledgement that meets it then makes its kernel drop them (RFC 1122, 4.2.2.13). See
    /// [`may_wait`](Self::may_wait) for one that waits all the same.
    pub(super) fn is_ack_due(&self) -> bool {
        self.peer_window > 0 && self.owed() >= (u64::from(self.peer_window) / 2).max(MIN_ACK_BYTES)
    }

    /// Whether a peer that told of no window may wait for an acknowledgement all the same: we limit what it may have
    /// unacknowledged (5.4.5), and it has sent much of that.
    pub(super) fn may_wait(&self) -> bool {
        self.peer_window == 0 && self.allowance > 0 && self.owed() >= u64::from(self.allowance) / 2
    }

    /// The running total to acknowledge now, modulo 2^32 (5.4.3).
    pub(super) fn acknowledge(&mut self) -> u32 {
        self.ack_sent_at = self.received;
        self.received as u32
    }
}
