//! Bytes sent and received, and how many may be unacknowledged (specification 5.4.3 to 5.4.5).
//!
//! [`Flow`] only counts; the owner of the output writes what [`Flow`] finds due. Received bytes count from the end of
//! the handshake, so that a peer that counts the same way never sees more acknowledged than it sent.

/// Fewest bytes between two of our acknowledgements, however small the peer's window: 16 bytes go back for 1024.
const MIN_ACK_BYTES: u64 = 1024;

use minicbor::{Decode, Encode};

use crate::error::{Failure, RRError, Result};

/// Largest count that is accepted from another process: a count that grows from here does not overflow.
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
    /// Bytes that the driver sent itself, besides the output.
    #[n(2)]
    media_sent: u64,
    #[n(3)]
    received: u64,
    /// The part of `received` that we have acknowledged.
    #[n(4)]
    ack_sent_at: u64,
    /// The window that the peer announced; 0 if it announced none.
    #[n(5)]
    peer_window: u32,
    #[n(6)]
    our_window: u32,
    /// The unacknowledged bytes that our Set Peer Bandwidth allowed the peer; 0 if none was sent.
    #[n(7)]
    allowance: u32,
    #[n(8)]
    peer_acked: Option<u32>,
}

impl Flow {
    /// Refuses counts that no connection can have.
    pub(super) fn check(&self) -> Result<()> {
        let Self { handshake_out, consumed, media_sent, received, ack_sent_at, .. } = *self;
        let counts = [handshake_out, consumed, media_sent, received];
        if counts.iter().any(|count| *count > COUNT_MAX) || ack_sent_at > received {
            return Err(Failure::ours(RRError::Arg, "no connection can have these byte counts"));
        }
        Ok(())
    }

    /// Counts bytes of our handshake that were put into the output.
    pub(super) fn handshake(&mut self, bytes: usize) {
        self.handshake_out += bytes as u64;
    }

    /// Counts bytes of the output that have been sent.
    pub(super) fn consumed(&mut self, bytes: usize) {
        self.consumed += bytes as u64;
    }

    /// Counts bytes that the driver sent itself.
    pub(super) fn media_sent(&mut self, bytes: u64) {
        self.media_sent += bytes;
    }

    /// Counts bytes that came.
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
        // Modulo 2^32. A peer that counts the handshake too is ahead of us; then nothing is unacknowledged.
        let behind = (sent as u32).wrapping_sub(self.peer_acked?);
        Some(if behind.cast_signed() < 0 { 0 } else { behind.into() })
    }

    /// Takes the peer's acknowledgement.
    pub(super) fn acknowledged(&mut self, total: u32) {
        self.peer_acked = Some(total);
    }

    /// Takes the window that the peer announced.
    pub(super) fn set_peer_window(&mut self, bytes: u32) {
        self.peer_window = bytes;
    }

    pub(super) fn our_window(&self) -> u32 {
        self.our_window
    }

    pub(super) fn set_our_window(&mut self, bytes: u32) {
        self.our_window = bytes;
    }

    /// Notes the limit on unacknowledged bytes that the peer is told.
    pub(super) fn set_allowance(&mut self, bytes: u32) {
        self.allowance = bytes;
    }

    fn owed(&self) -> u64 {
        self.received - self.ack_sent_at
    }

    /// Whether an acknowledgement is due: at half the peer's window, so that a peer that waits for acknowledgements
    /// never has to stop. A peer that announced no window asks for no acknowledgements (5.4.4) and gets none while its
    /// bytes come; nginx-rtmp and SRS do the same. ffmpeg is such a publisher, and it closes with megabytes still in
    /// its socket: an acknowledgement that arrives then makes its kernel drop them (RFC 1122, 4.2.2.13).
    /// [`may_wait`](Self::may_wait) is for peers that wait although they announced no window.
    pub(super) fn is_ack_due(&self) -> bool {
        self.peer_window > 0 && self.owed() >= (u64::from(self.peer_window) / 2).max(MIN_ACK_BYTES)
    }

    /// How many bytes of the peer may wait to be received without keeping it from an acknowledgement that it waits for.
    pub(super) fn may_be_unread(&self) -> u32 {
        let windows = [self.peer_window, self.allowance].into_iter().filter(|&window| window > 0);
        windows.min().map_or(u32::MAX, |window| (window / 2).max(1))
    }

    /// Whether a peer that announced no window may still wait for an acknowledgement: we limit its unacknowledged bytes
    /// (5.4.5), and it has used up much of that limit.
    pub(super) fn may_wait(&self) -> bool {
        self.peer_window == 0 && self.allowance > 0 && self.owed() >= u64::from(self.allowance) / 2
    }

    /// The running total to acknowledge now, modulo 2^32 (5.4.3).
    pub(super) fn acknowledge(&mut self) -> u32 {
        self.ack_sent_at = self.received;
        self.received as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_bytes_may_be_unread_than_half_of_what_the_peer_may_send_without_an_acknowledgement() {
        let mut flow = Flow::default();
        assert_eq!(flow.may_be_unread(), u32::MAX);
        flow.set_peer_window(10_000);
        assert_eq!(flow.may_be_unread(), 5_000);
        flow.set_allowance(4_000);
        assert_eq!(flow.may_be_unread(), 2_000);
        flow.set_allowance(1);
        assert_eq!(flow.may_be_unread(), 1, "it is read with the first byte");
    }
}
