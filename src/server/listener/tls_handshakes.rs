//! TLS handshakes of the listener's pending peers get a limited share of each round: a signature takes as long as a
//! thousand reads, and peers past their handshake, with TLS or without, have their turns in between.
//!
//! Handshakes continue in the order in which they become ready, so none is passed over; the number of pending peers
//! bounds the list.

use super::Listener;
use crate::net::clock;
use crate::net::event_loop::Io;

/// Time that handshakes may take in one round; a handshake that has begun is finished.
const SHARE_US: u64 = 2_000;

impl Listener {
    /// Whether this pending peer's handshake is not done; then the peer is put in the list of handshakes.
    pub(super) fn waits_for_handshake(&mut self, slot: usize) -> bool {
        let Some(pending) = self.pending_peer(slot).filter(|pending| pending.peer.conn.socket.is_shaking()) else {
            return false;
        };
        if !std::mem::replace(&mut pending.handshakes, true) {
            self.handshaking.push_back(slot);
        }
        true
    }

    /// Continues handshakes for as long as their share lasts.
    pub(super) fn go_on_with_handshakes(&mut self, io: &mut Io<'_>) {
        if self.handshaking.is_empty() {
            return;
        }
        let began_us = clock::now_us();
        while let Some(slot) = self.handshaking.pop_front() {
            // If the peer has gone meanwhile, another may have its slot; reading that one once more does no harm.
            if let Some(pending) = self.pending_peer(slot) {
                pending.handshakes = false;
                self.read(slot, io);
            }
            if clock::now_us().saturating_sub(began_us) > SHARE_US {
                return;
            }
        }
    }
}
