//! TLS handshakes of the lobby's guests have a share of each turn and no more: a signature takes as long as a thousand
//! reads, and whoever talks already, with TLS or without, has his own turn in between.
//!
//! They go on in the order in which they can, so none is passed over; what waits here is bounded by the guests.

use std::collections::VecDeque;

use super::Lobby;
use crate::net::clock;

/// What handshakes may take of one turn; the one that begins before that ends.
const SHARE_US: u64 = 2_000;

/// Slots of guests that can go on with their handshake, each once.
pub(super) type Shaking = VecDeque<usize>;

impl Lobby {
    /// Whether this guest's handshake is not done: then it is among those that wait for their share.
    pub(super) fn waits_to_shake(&mut self, slot: usize) -> bool {
        let Some(guest) = self.guest(slot).filter(|guest| guest.peer.conn.socket.is_shaking()) else { return false };
        if !std::mem::replace(&mut guest.shakes, true) {
            self.shaking.push_back(slot);
        }
        true
    }

    /// Goes on with handshakes for as long as their share lasts.
    pub(super) fn shake(&mut self) {
        let began_us = clock::now_us();
        while let Some(slot) = self.shaking.pop_front() {
            // Where it has gone meanwhile, another may have its slot: reading that one once more costs nothing.
            if let Some(guest) = self.guest(slot) {
                guest.shakes = false;
                self.hear(slot);
            }
            if clock::now_us().saturating_sub(began_us) > SHARE_US {
                return;
            }
        }
    }
}
