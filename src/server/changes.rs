//! Changes of streams, targets and sessions on the one side, a hand-over to another process on the other: one of the two
//! at a time. What is changed after its state was made for the other process would be lost if that takes over, so it
//! waits until it is known which process has it.
//!
//! [`Changes`] knows neither what changes nor how a hand-over goes. The thread that hands over waits for changes that
//! have begun, and a change waits for nothing else. A thread that serves others meanwhile asks for a request, which is
//! given at once or not: with one, no change in it waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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
    /// Requests that are being carried out, with any changes.
    requests: usize,
    /// Changes that are being made.
    running: usize,
    /// Whether a hand-over is under way: no request begins.
    is_held: bool,
    /// Whether it is not known which process has the streams: no change begins. Before that, all requests are carried out.
    is_open: bool,
    /// The streams that another process has taken over, once one has.
    moved: Option<Vec<Id>>,
}

/// A change that is being made.
pub(super) struct Change<'a>(&'a Changes);

/// A request in which changes are made.
#[cfg(feature = "rest")]
pub(crate) struct Request<'a>(&'a Changes);

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

    /// Begins a request whose changes do not wait. `None` while it is not known which process has the streams.
    #[cfg(feature = "rest")]
    pub(super) fn request(&self) -> Option<Request<'_>> {
        let mut now = locked(&self.now);
        if now.is_held {
            return None;
        }
        now.requests += 1;
        Some(Request(self))
    }

    /// Lets no change begin, as long as the result is there, and waits for those that are being made, while `still` gives no
    /// error; who changes what it gives calls [`Self::look_again`].
    ///
    /// # Errors
    /// [`RRError::Timeout`] if they are not made in time, and those of `still`.
    pub(super) fn hold(&self, by_ms: u64, still: impl Fn() -> Result<()>) -> Result<Held<'_>> {
        locked(&self.now).is_held = true;
        let held = Held(self);
        // The changes of a request begin within it, so they are let in until the last one is done.
        self.comes(by_ms, &still, |now| now.requests == 0)?.is_open = true;
        drop(self.comes(by_ms, &still, |now| now.running == 0)?);
        Ok(held)
    }

    /// Waits until it is so.
    fn comes(
        &self,
        by_ms: u64,
        still: impl Fn() -> Result<()>,
        so: impl Fn(&Now) -> bool,
    ) -> Result<MutexGuard<'_, Now>> {
        let left = Duration::from_millis(by_ms.saturating_sub(clock::now_ms()));
        let waited = self.turn.wait_timeout_while(locked(&self.now), left, |now| !so(now) && still().is_ok());
        let (now, _) = waited.unwrap_or_else(PoisonError::into_inner);
        still()?;
        if so(&now) { Ok(now) } else { Err(Failure::ours(RRError::Timeout, "a request to this server took too long")) }
    }

    /// Lets whoever waits look whether to go on waiting.
    pub(super) fn look_again(&self) {
        drop(locked(&self.now));
        self.turn.notify_all();
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

#[cfg(feature = "rest")]
impl Drop for Request<'_> {
    fn drop(&mut self) {
        locked(&self.0.now).requests -= 1;
        self.0.turn.notify_all();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut now = locked(&self.0.now);
        (now.is_held, now.is_open) = (false, false);
        drop(now);
        self.0.turn.notify_all();
    }
}

#[cfg(all(test, feature = "rest"))]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_has_begun_waits_for_no_hand_over() {
        let changes = Changes::default();
        std::thread::scope(|scope| {
            let request = changes.request().unwrap();
            let hands_over =
                scope.spawn(|| changes.hold(clock::now_ms() + 20_000, || Ok(())).map(|held| held.moved(vec![7])));
            while changes.request().is_some() {
                std::thread::yield_now();
            }
            // A change in it is made at once; otherwise the hand-over ends without success first.
            drop(changes.begin());
            assert!(!changes.has_moved(0), "nor is it told that its streams have moved");
            drop(request);
            hands_over.join().unwrap().expect("all that has begun was carried out");
        });
        assert!(changes.request().is_some() && changes.has_moved(7));
    }
}
