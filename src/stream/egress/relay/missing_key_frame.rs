//! The missing-key-frame warning, for operators: a publisher sends pictures and never another key frame (an encoder
//! with periodic refresh, or with a group without end), so players that join or fall behind wait in vain, or begin
//! without one.
//!
//! The relay's tick calls it. The relay that leads writes the line, for all that wait with any relay.

use super::Relay;
use crate::stream::egress::subscription::Subscription;

/// The warning comes after pictures for this long without a key frame. The time is longer than the longest group that
/// encoders make by default (x264's 250 pictures, at 24 a second).
const MISSING_KEY_FRAME_MS: u64 = if cfg!(test) { 300 } else { 15_000 };

/// The warning is repeated after this long while no key frame comes.
const AGAIN_MS: u64 = 60_000;

impl Relay {
    pub(super) fn warn_of_missing_key_frame(&mut self, now_us: u64) {
        let (now_ms, without_key_frame_ms) = (now_us / 1000, self.join_index.without_key_frame_ms());
        if !self.live || without_key_frame_ms < MISSING_KEY_FRAME_MS {
            self.stream.relays().note_awaiting_key_frame(self.number, 0);
            return;
        }
        let own = self.consumers.iter_mut().flat_map(|(_, consumer)| consumer.own());
        let waits = |subscription: &&mut Subscription| subscription.waits().is_some() || subscription.wants_key_frame();
        let relays = self.stream.relays();
        relays.note_awaiting_key_frame(self.number, own.filter(waits).count());
        if !self.is_lead() {
            return;
        }
        let waiting = relays.awaiting_key_frame();
        let told_ms = self.missing_key_frame_warned_ms;
        let (name, for_s) = (self.stream.masked_name(), without_key_frame_ms / 1000);
        if waiting > 0 && told_ms.is_none_or(|told_ms| now_ms >= told_ms + AGAIN_MS) {
            log::warn!("{name}: no key frame for {for_s} s, and {waiting} players or targets wait for one");
        } else if self.join_index.is_without_key_frames() && told_ms.is_none() {
            log::warn!("{name}: no key frame for {for_s} s: players that join now begin between key frames");
        } else {
            return;
        }
        self.missing_key_frame_warned_ms = Some(now_ms);
    }
}
