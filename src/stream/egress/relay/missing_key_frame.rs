//! Whoever operates the server hears of players that wait in vain: a publisher may send pictures and never another key
//! frame (an encoder with periodic refresh, or with a group without end), and whoever joins or falls behind then waits.
//!
//! Called by the relay's tick; it changes nothing but its own memory of when it was told.

use super::Relay;

/// Pictures for so long without a key frame are told of. More than the longest group that encoders make unasked (x264's
/// 250 pictures, at 24 a second).
const MISSING_KEY_FRAME_MS: u64 = if cfg!(test) { 300 } else { 15_000 };

/// It is told again after this long, while it is so.
const AGAIN_MS: u64 = 60_000;

impl Relay {
    pub(super) fn warn_of_missing_key_frame(&mut self, now_us: u64) {
        let (now_ms, without_key_frame_ms) = (now_us / 1000, self.join_index.without_key_frame_ms());
        if !self.has_waiting || !self.live || without_key_frame_ms < MISSING_KEY_FRAME_MS {
            return;
        }
        let own = self.consumers.iter_mut().flat_map(|(_, consumer)| consumer.own());
        let waiting = own.filter(|subscription| subscription.waits().is_some()).count();
        if waiting == 0 || self.missing_key_frame_warned_ms.is_some_and(|told_ms| now_ms < told_ms + AGAIN_MS) {
            return;
        }
        self.missing_key_frame_warned_ms = Some(now_ms);
        let name = self.stream.masked_name();
        log::warn!(
            "{name}: no key frame for {} s, and {waiting} players or targets wait for one",
            without_key_frame_ms / 1000
        );
    }
}
