//! The way to a task that starts when it is first needed: an inbox with a bound, and the means to call the task, which
//! are reached without a lock. It knows nothing of what is sent.

use std::sync::{Arc, Mutex, OnceLock};

use crossbeam::channel::{Receiver, Sender, TrySendError, unbounded};

use crate::error::{Failure, RRError, Result};
use crate::net::heap;
use crate::net::poll::Wake;
use crate::stream::threading::{Running, Spot, Threading};
use crate::sync::locked;

/// Hand-overs that may wait for one thread. More at one moment means that the thread does not run: they are refused.
const INBOX: usize = 4096;

/// The way to one thread. A link is made once: a thread that has ended is not started again.
#[derive(Debug)]
pub(in crate::stream) struct Link<T> {
    /// Set when the thread is started, and never taken away: who wakes a thread that has ended wakes nobody.
    wake: OnceLock<Arc<Wake>>,
    state: Mutex<LinkState<T>>,
}

#[derive(Debug)]
struct LinkState<T> {
    inbox: Inbox<T>,
    running: Option<Running>,
}

#[derive(Debug)]
enum Inbox<T> {
    Unmade,
    Open(Sender<T>),
    Closed,
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self { wake: OnceLock::new(), state: Mutex::new(LinkState { inbox: Inbox::Unmade, running: None }) }
    }
}

/// Why a hand-over was not taken.
pub(in crate::stream) fn refused() -> Failure {
    Failure::ours(RRError::Limit, "the stream's thread has ended or is overrun")
}

impl<T> Link<T> {
    /// Something other than media waits for the thread, if there is one.
    pub(in crate::stream) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake.wake();
        }
    }

    /// Media waits for the thread, if there is one.
    pub(in crate::stream) fn wake_for_data(&self) {
        if let Some(wake) = self.wake.get() {
            wake.wake_for_data();
        }
    }

    /// Has the task started, if that has not been done: `start` is called once and gets what the task is to run on, and
    /// its inbox. It runs under the link's lock.
    ///
    /// # Errors
    /// [`RRError::State`] after [`refuse`](Self::refuse), or where the task has ended; what `start` says and
    /// [`Threading::spot`], and [`RRError::NoMem`] where the system has no memory.
    pub(in crate::stream) fn start(
        &self,
        threading: &Threading,
        start: impl FnOnce(Spot<'_>, Receiver<T>) -> Result<Running>,
    ) -> Result<()> {
        let is_unmade = |state: &LinkState<T>| match state.inbox {
            Inbox::Unmade => Ok(true),
            Inbox::Open(_) => Ok(false),
            Inbox::Closed => Err(Failure::ours(RRError::State, "the stream is ending")),
        };
        if !is_unmade(&locked(&self.state))? {
            return Ok(());
        }
        // Made outside the lock (system calls); of two that race the second throws its spot away.
        heap::room()?;
        let spot = threading.spot()?;
        let mut state = locked(&self.state);
        if !is_unmade(&state)? {
            return Ok(());
        }
        let (sender, receiver) = unbounded();
        let wake = Arc::clone(&spot.wake);
        state.running = Some(start(spot, receiver)?);
        state.inbox = Inbox::Open(sender);
        let _ = self.wake.set(wake);
        Ok(())
    }

    /// Hands something over and wakes the thread. `before` sees the item while nobody else has it, and who is to be woken
    /// for it.
    ///
    /// # Errors
    /// The item, where the thread was not started, has ended or is overrun.
    pub(in crate::stream) fn send(
        &self,
        mut item: T,
        before: impl FnOnce(&mut T, &Arc<Wake>),
    ) -> std::result::Result<(), T> {
        // Sent under the lock, which makes the bound exact, and see `close`. The bound is kept here and not by the
        // channel: one that is bounded by itself takes the memory of all its places when it is made, for every stream
        // that anybody asks for.
        let state = locked(&self.state);
        let (Inbox::Open(inbox), Some(wake)) = (&state.inbox, self.wake.get()) else { return Err(item) };
        if inbox.len() >= INBOX {
            return Err(item);
        }
        before(&mut item, wake);
        inbox.try_send(item).map_err(TrySendError::into_inner)?;
        drop(state);
        wake.wake();
        Ok(())
    }

    /// The thread is not started any more; one that runs goes on. True where it was never started.
    pub(in crate::stream) fn refuse(&self) -> bool {
        let mut state = locked(&self.state);
        let unmade = self.wake.get().is_none();
        if unmade {
            state.inbox = Inbox::Closed;
        }
        unmade
    }

    /// The thread takes no more; by itself, before it empties its inbox a last time: nothing comes into it afterwards.
    pub(in crate::stream) fn close(&self) {
        let inbox = std::mem::replace(&mut locked(&self.state).inbox, Inbox::Closed);
        // Not under the lock: what was sent may go with it.
        drop(inbox);
    }

    /// Closes the link, so that what still sits in the inbox is dropped, and gives the task, to be waited for.
    pub(in crate::stream) fn take_running(&self) -> Option<Running> {
        self.close();
        locked(&self.state).running.take()
    }
}
