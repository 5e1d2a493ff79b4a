//! The way of new tasks into a running loop: other threads add them by a handle, and they wait until the loop takes them in.
//!
//! Both sides close that way under its lock, so whoever adds a task that no loop would take in learns so.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex};

use crossbeam::channel::{Receiver, bounded};

use super::seat::{BoxedSeat, Seat};
use super::{OnPanic, Task};
use crate::error::{Failure, RRError, Result};
use crate::net::poll::Wake;
use crate::sync::locked;

/// Most new tasks that may wait until a running loop takes them in.
const NEWCOMERS: usize = 1024;

/// A task that was added to a running loop; it counts as running until it has left and all that it held is dropped.
#[derive(Debug)]
pub(crate) struct Running(Receiver<Infallible>);

impl Running {
    /// Waits until the task has left and all that it held is dropped.
    pub(crate) fn wait(self) {
        // Nothing is ever sent: the other end is dropped with the task.
        let _ = self.0.recv();
    }
}

#[derive(Default)]
struct Waiting {
    seats: Vec<BoxedSeat>,
    /// No more tasks come: the loop has ended, or its handle is gone.
    is_closed: bool,
}

impl Waiting {
    fn has_room(&self) -> bool {
        !self.is_closed && self.seats.len() < NEWCOMERS
    }
}

/// The two ends of the way into a loop; `wake` is to be the loop's for this.
pub(super) fn pair(wake: Arc<Wake>) -> (LoopHandle, Newcomers) {
    let waiting = Arc::new(Mutex::new(Waiting::default()));
    (LoopHandle { waiting: Arc::clone(&waiting), wake: Arc::clone(&wake) }, Newcomers { waiting, wake })
}

/// The handle by which other threads add tasks to a running loop that many streams share.
pub(crate) struct LoopHandle {
    waiting: Arc<Mutex<Waiting>>,
    wake: Arc<Wake>,
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoopHandle")
    }
}

impl LoopHandle {
    /// The wake of one task that will be added.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the loop has as many tasks as it can have.
    pub(crate) fn wake(&self) -> Result<Arc<Wake>> {
        self.wake.sibling()
    }

    /// Whether the loop has ended, which it does by itself only where the system refuses to let it wait.
    pub(crate) fn has_ended(&self) -> bool {
        locked(&self.waiting).is_closed
    }

    /// Whether one more task can be added now.
    #[cfg(all(test, not(loom)))]
    pub(super) fn has_room(&self) -> bool {
        locked(&self.waiting).has_room()
    }

    /// [`EventLoop::add`](super::EventLoop::add), from any thread.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the loop has ended, or too many new tasks wait.
    pub(crate) fn add<T: Task>(
        &self,
        task: T,
        inbox: Receiver<T::Message>,
        wake: Arc<Wake>,
        on_panic: OnPanic,
    ) -> Result<Running> {
        let (ends, running) = bounded(0);
        let seat = Seat::new(task, inbox, wake, on_panic, Some(ends));
        {
            let mut waiting = locked(&self.waiting);
            if !waiting.has_room() {
                // The task is dropped outside the lock.
                drop(waiting);
                return Err(Failure::ours(RRError::Limit, "the event loop has ended or is overrun"));
            }
            waiting.seats.push(seat);
        }
        self.wake.wake();
        Ok(Running(running))
    }
}

impl Drop for LoopHandle {
    fn drop(&mut self) {
        locked(&self.waiting).is_closed = true;
        self.wake.wake();
    }
}

/// The loop's end of that way; once it is dropped, no task can be added.
pub(super) struct Newcomers {
    waiting: Arc<Mutex<Waiting>>,
    wake: Arc<Wake>,
}

impl Newcomers {
    /// The tasks that were added since the last call, and whether no more can come; `None` if nothing has changed.
    pub(super) fn take(&self) -> Option<(Vec<BoxedSeat>, bool)> {
        // Whoever adds a task or drops the handle nudges after that. The nudge is cleared before the list is read: a thread
        // that adds a task after this nudges again.
        if !self.wake.take_nudge() {
            return None;
        }
        let mut waiting = locked(&self.waiting);
        Some((std::mem::take(&mut waiting.seats), waiting.is_closed))
    }

    /// Lets no more tasks come, and returns the last ones.
    pub(super) fn close(&self) -> Vec<BoxedSeat> {
        let mut waiting = locked(&self.waiting);
        waiting.is_closed = true;
        std::mem::take(&mut waiting.seats)
    }
}

impl Drop for Newcomers {
    fn drop(&mut self) {
        // The tasks are dropped outside the lock.
        let left = self.close();
        drop(left);
    }
}
