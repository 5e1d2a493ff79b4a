//! Decides whether a subscription is too far behind, and knows since when it is slow.
//!
//! The subscription measures its lag and knows what it has to drop; the relay asks, and carries out the drop.

use crate::config::{StreamConfig, TargetConfig};
use crate::stream::log::cursor::Lag;

/// Bounds of the lag.
#[derive(Clone, Copy, Debug)]
pub(in crate::stream) struct Bounds {
    bytes: u64,
    ms: u64,
}

impl Bounds {
    /// The bounds of a stream's players.
    pub(in crate::stream) fn of_players(config: &StreamConfig) -> Self {
        Self { bytes: config.queue_bytes.into(), ms: config.queue_ms.into() }
    }

    /// The bounds of a target.
    pub(in crate::stream) fn of_target(config: &TargetConfig) -> Self {
        Self { bytes: config.queue_bytes.into(), ms: config.queue_ms.into() }
    }

    /// The bound in bytes.
    pub(in crate::stream) fn bytes(self) -> u64 {
        self.bytes
    }

    /// Whether a lag is within the bounds.
    pub(in crate::stream) fn hold(self, lag: Lag) -> bool {
        lag.bytes <= self.bytes && lag.ms <= self.ms
    }
}

/// One subscription's bounds, and its history since it joined; what each pass looks at comes first.
#[derive(Debug)]
#[repr(C)]
pub(in crate::stream) struct LagWatch {
    /// When the subscription began to jump, while it is slow.
    slow_since_ms: Option<u64>,
    /// The subscription has reached the head since it joined; from then on lag counts.
    caught_up: bool,
    pub(in crate::stream) bounds: Bounds,
    joined_ms: u64,
    slow_told_ms: u64,
}

impl LagWatch {
    pub(in crate::stream) fn new(bounds: Bounds) -> Self {
        Self { bounds, caught_up: false, joined_ms: 0, slow_since_ms: None, slow_told_ms: 0 }
    }

    /// Notes that the subscription has come to its relay.
    pub(in crate::stream) fn came(&mut self, now_us: u64) {
        self.joined_ms = now_us / 1000;
    }

    /// Notes that the subscription begins; its lag counts at once if it `was_at_head` before.
    pub(in crate::stream) fn joined(&mut self, was_at_head: bool, now_us: u64) {
        self.caught_up = was_at_head;
        self.joined_ms = now_us / 1000;
    }

    /// Notes that the subscription is at the head.
    pub(in crate::stream) fn at_head(&mut self) {
        self.caught_up = true;
    }

    /// Whether this lag is too much. A joiner first has to catch up with the cached group, of at most `group_bytes`:
    /// until then only bytes beyond these count, and its lag in time does not count.
    pub(in crate::stream) fn is_past(&self, lag: Lag, group_bytes: u32, now_us: u64) -> bool {
        let Bounds { bytes, ms } = self.bounds;
        let counts = self.caught_up || (now_us / 1000).saturating_sub(self.joined_ms) > ms.saturating_mul(2);
        if counts { !self.bounds.hold(lag) } else { lag.bytes > bytes.saturating_add(group_bytes.into()) }
    }

    /// Notes a jump. True if the host is to be told, at most once in `every_ms`.
    pub(in crate::stream) fn note_slow(&mut self, now_ms: u64, every_ms: u64) -> bool {
        self.slow_since_ms.get_or_insert(now_ms);
        let tells = self.slow_told_ms == 0 || now_ms.saturating_sub(self.slow_told_ms) >= every_ms;
        if tells {
            self.slow_told_ms = now_ms;
        }
        tells
    }

    /// For how long the subscription has been slow.
    pub(in crate::stream) fn slow_ms(&self, now_ms: u64) -> Option<u64> {
        self.slow_since_ms.map(|since| now_ms.saturating_sub(since))
    }

    /// Notes that the subscription is no longer slow.
    pub(in crate::stream) fn recovered(&mut self) {
        self.slow_since_ms = None;
    }

    pub(in crate::stream) fn is_slow(&self) -> bool {
        self.slow_since_ms.is_some()
    }
}
