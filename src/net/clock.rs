//! The two clocks: a monotonic clock for everything that is measured, and the wall clock for what people read.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The time of the system's clock at which this library was first used.
static START_US: OnceLock<u64> = OnceLock::new();

/// Microseconds since this library was first used; never goes back.
pub(crate) fn now_us() -> u64 {
    let us = system_us();
    us.saturating_sub(*START_US.get_or_init(|| us))
}

/// The system's monotonic clock. Threads read it in every round, and `Instant` computes more than they need.
#[allow(unsafe_code)] // std has no clock but Instant
fn system_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec that lives through the call, and a clock that every system has.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1_000
}

/// Milliseconds since this library was first used; never goes back.
pub(crate) fn now_ms() -> u64 {
    now_us() / 1000
}

/// The wall-clock time of a moment of the monotonic clock.
pub(crate) fn wall_at_us(moment_us: u64) -> i64 {
    wall_us() - i64::try_from(now_us().saturating_sub(moment_us)).unwrap_or(0)
}

/// Wall clock in microseconds since 1970.
pub(crate) fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
