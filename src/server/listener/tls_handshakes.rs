//! TLS handshakes of the listener's pending peers have a share of each turn and no more: a signature takes as long as a thousand
//! reads, and whoever talks already, with TLS or without, has his own turn in between.
//!
//! They go on in the order in which they can, so none is passed over; what waits here is bounded by the pending peers.

use std::collections::VecDeque;

use super::Listener;
use crate::net::clock;

/// What handshakes may take of one turn; the one that begins before that ends.
const SHARE_US: u64 = 2_000;

/// Slots of pending peers that can go on with their handshake, each once.
pub(super) type Waiting = VecDeque<usize>;

impl Listener {
    /// Whether this pending peer's handshake is not done: then it is among those that wait for their share.
    pub(super) fn waits_for_handshake(&mut self, slot: usize) -> bool {
        let Some(pending) = self.pending_peer(slot).filter(|pending| pending.peer.conn.socket.is_shaking()) else {
            return false;
        };
        if !std::mem::replace(&mut pending.handshakes, true) {
            self.handshaking.push_back(slot);
        }
        true
    }

    /// Goes on with handshakes for as long as their share lasts.
    pub(super) fn go_on_with_handshakes(&mut self) {
        let began_us = clock::now_us();
        while let Some(slot) = self.handshaking.pop_front() {
            // Where it has gone meanwhile, another may have its slot: reading that one once more costs nothing.
            if let Some(pending) = self.pending_peer(slot) {
                pending.handshakes = false;
                self.read(slot);
            }
            if clock::now_us().saturating_sub(began_us) > SHARE_US {
                return;
            }
        }
    }
}
