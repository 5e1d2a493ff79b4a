//! The two clocks: a monotonic one for everything that is measured, the wall's for what people read.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<Instant> = OnceLock::new();

/// Microseconds since this library was first used; never goes back.
pub(crate) fn now_us() -> u64 {
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since this library was first used; never goes back.
pub(crate) fn now_ms() -> u64 {
    now_us() / 1000
}

/// Wall clock in microseconds since 1970.
pub(crate) fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
