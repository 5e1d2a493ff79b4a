//! Waiting for conditions, on a machine that may have much else to do. No test measures time by this.

use std::time::{Duration, Instant};

/// The longest any single step may take on a loaded machine; a step that works takes a fraction of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Calls `look` again and again until it gives something, for at most [`PATIENCE`].
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
