//! What the tests with real programs share: a folder each, programs that are ended by their own pid, an FLV reader that
//! knows nothing of the crate, and servers to drive.

pub(crate) mod c;
pub(crate) mod flv;
pub(crate) mod login;
pub(crate) mod media;
pub(crate) mod nginx;
pub(crate) mod program;
pub(crate) mod rml;
pub(crate) mod server;
pub(crate) mod stored;
pub(crate) mod tunnel;

use std::time::{Duration, Instant};

/// The longest any single step may take on a loaded machine; a step that works takes a fraction of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How soon a client that is told no must be gone.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(2);

/// Looks again and again until there is something, for at most [`PATIENCE`].
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
