//! Changes of streams, targets and sessions on the one side, a hand-over to another process on the other: one of the two
//! at a time. What is changed after its state was made for the other process would be lost if that takes over, so it
//! waits until it is known which process has it.
//!
//! [`Changes`] knows neither what changes nor how a hand-over goes. The thread that hands over waits for changes that
//! have begun, and a change waits for nothing else.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::stream::event::Id;
use crate::sync::locked;

/// The changes of a server.
#[derive(Debug, Default)]
pub(super) struct Changes {
    now: Mutex<Now>,
    /// Called when `now` changes.
    turn: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    /// Changes that are being made.
    running: usize,
    /// Whether it is not known which process has the streams.
    is_open: bool,
    /// The streams that another process has taken over, once one has.
    moved: Option<Vec<Id>>,
}

/// A change that is being made.
pub(super) struct Change<'a>(&'a Changes);

/// A hand-over of which the outcome is open.
pub(super) struct Held<'a>(&'a Changes);

impl Changes {
    /// Begins a change, as soon as it is known which process has the streams.
    pub(super) fn begin(&self) -> Change<'_> {
        let now = locked(&self.now);
        let mut now = self.turn.wait_while(now, |now| now.is_open).unwrap_or_else(PoisonError::into_inner);
        now.running += 1;
        Change(self)
    }

    /// Lets no change begin, as long as the result is there, and waits for those that are being made.
    ///
    /// # Errors
    /// [`RRError::Timeout`] if they are not made in time.
    pub(super) fn hold(&self, by_ms: u64) -> Result<Held<'_>> {
        let mut now = locked(&self.now);
        now.is_open = true;
        let held = Held(self);
        let left = Duration::from_millis(by_ms.saturating_sub(clock::now_ms()));
        let waited = self.turn.wait_timeout_while(now, left, |now| now.running > 0);
        let (now, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_still = now.running == 0;
        drop(now);
        if is_still { Ok(held) } else { Err(Failure::ours(RRError::Timeout, "a request to this server took too long")) }
    }

    /// Whether a change would wait.
    #[cfg(feature = "rest")]
    pub(super) fn are_held(&self) -> bool {
        locked(&self.now).is_open
    }

    /// Whether another process has taken over.
    #[cfg(feature = "rest")]
    pub(super) fn have_moved(&self) -> bool {
        locked(&self.now).moved.is_some()
    }

    /// Whether another process has taken over and has this stream, or, for 0, what belongs to none.
    pub(super) fn has_moved(&self, stream: Id) -> bool {
        locked(&self.now).moved.as_ref().is_some_and(|moved| stream == 0 || moved.contains(&stream))
    }
}

impl Held<'_> {
    /// Another process has taken over, and has these streams.
    pub(super) fn moved(&self, streams: Vec<Id>) {
        locked(&self.0.now).moved = Some(streams);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        locked(&self.0.now).running -= 1;
        self.0.turn.notify_all();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        locked(&self.0.now).is_open = false;
        self.0.turn.notify_all();
    }
}
