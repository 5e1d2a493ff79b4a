//! The end of a server: a stop, or a drain, which lets peers leave before.
//!
//! A server that takes over from another process is told at one moment that the other has let go, and then gives all of it
//! its place here. A stop that comes in between would find nobody to end. So it is only noted ([`Stopping::commit`]), and
//! carried out when everybody has begun.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::sync::locked;

/// The value of the deadline while the server runs.
const NEVER: u64 = u64::MAX;

/// Where peers are sent that understand reconnect requests.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    /// The url; `None`: the same again, at which another process listens.
    pub(super) url: Option<String>,
}

/// How far a server's end has come.
#[derive(Debug)]
pub(super) struct Stopping {
    by_ms: AtomicU64,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// Where peers are sent while the server drains.
    reconnect: Option<Elsewhere>,
    /// Whether a takeover commits.
    commits: bool,
    /// The stop that has come meanwhile.
    noted: Option<Stop>,
}

/// A stop, by this time; with an `elsewhere` a drain.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) by_ms: u64,
    pub(super) elsewhere: Option<Elsewhere>,
}

impl Default for Stopping {
    fn default() -> Self {
        Self { by_ms: AtomicU64::new(NEVER), now: Mutex::default() }
    }
}

impl Stopping {
    /// The deadline, once the server stops.
    pub(super) fn by_ms(&self) -> Option<u64> {
        Some(self.by_ms.load(Ordering::Acquire)).filter(|&by| by != NEVER)
    }

    /// # Errors
    /// [`RRError::State`] once the server stops.
    pub(super) fn still_open(&self) -> Result<()> {
        if self.by_ms().is_some() {
            return Err(Failure::ours(RRError::State, "the server is stopping"));
        }
        Ok(())
    }

    /// Begins a stop; gives it back with whether it is the first one. `None`: it is noted.
    pub(super) fn begin(&self, stop: Stop) -> Option<(Stop, bool)> {
        let mut now = locked(&self.now);
        if now.commits {
            now.noted = Some(match now.noted.take() {
                Some(before) => before.and(stop),
                None => stop,
            });
            return None;
        }
        // Before the deadline: whoever sees that looks for this.
        if stop.elsewhere.is_some() {
            now.reconnect.clone_from(&stop.elsewhere);
        }
        let first = self.by_ms.fetch_min(stop.by_ms, Ordering::AcqRel) == NEVER;
        Some((stop, first))
    }

    /// Only notes stops from here on.
    ///
    /// # Errors
    /// [`RRError::State`] once the server stops.
    pub(super) fn commit(&self) -> Result<()> {
        // A stop looks under the same lock: it either is found here or is noted.
        let mut now = locked(&self.now);
        self.still_open()?;
        now.commits = true;
        Ok(())
    }

    /// Notes no more stops. Returns the one that has come.
    pub(super) fn committed(&self) -> Option<Stop> {
        let mut now = locked(&self.now);
        now.commits = false;
        now.noted.take()
    }

    /// Where peers are sent while the server drains.
    pub(super) fn elsewhere(&self) -> Option<Elsewhere> {
        locked(&self.now).reconnect.clone()
    }

    /// Sends nobody away any more.
    pub(super) fn end_drain(&self) {
        locked(&self.now).reconnect = None;
    }
}

impl Stop {
    /// A stop in so many ms.
    pub(super) fn within(deadline_ms: u64) -> Self {
        let by_ms = clock::now_ms().saturating_add(deadline_ms).min(NEVER - 1);
        Self { by_ms, elsewhere: None }
    }

    /// One stop in place of two: by the earlier time, and a drain only if both are.
    fn and(self, later: Self) -> Self {
        Self { by_ms: self.by_ms.min(later.by_ms), elsewhere: self.elsewhere.and(later.elsewhere) }
    }
}

#[cfg(test)]
mod tests;
