//! The link to a task that starts when it is first needed: a bounded inbox, and the wake of the task, which is reached
//! without a lock. A link does not interpret what is sent.

use std::sync::{Arc, Mutex, OnceLock};

use crossbeam::channel::{Receiver, Sender, unbounded};

use crate::error::{Failure, RRError, Result};
use crate::net::heap;
use crate::net::poll::{Pulse, Wake};
use crate::stream::threading::{Running, Spot, Threading};
use crate::sync::locked;

/// Most hand-overs that may wait for one thread. More at one time mean that the thread does not run, and are refused.
const INBOX: usize = 4096;

/// The link to one thread. A link is used once: a thread that has ended is not started again.
#[derive(Debug)]
pub(in crate::stream) struct Link<T> {
    /// Set when the thread is started, and never removed; waking a thread that has ended does nothing.
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
    /// Items are boxed, because a channel makes places for 31 of them with the first one.
    Open(Sender<Box<T>>),
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
    /// Whether the task was started.
    pub(in crate::stream) fn is_made(&self) -> bool {
        self.wake.get().is_some()
    }

    /// Wakes the thread, if there is one, for something other than media.
    pub(in crate::stream) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake.wake();
        }
    }

    /// Calls the thread, if there is one, to see whether it goes on.
    pub(in crate::stream) fn pulse(&self) -> Option<Pulse> {
        self.wake.get().map(|wake| wake.pulse())
    }

    /// Wakes the thread, if there is one, for media.
    pub(in crate::stream) fn wake_for_data(&self) {
        if let Some(wake) = self.wake.get() {
            wake.wake_for_data();
        }
    }

    /// Has the task's work for new media done, by the calling thread if the task's thread sleeps, or is that one
    /// (`is_here`): see [`Wake::turn_for_data`].
    pub(in crate::stream) fn turn_for_data(&self, is_here: bool, comes_again: bool, now_us: u64) -> Option<u64> {
        self.wake.get()?.turn_for_data(is_here, comes_again, now_us)
    }

    /// [`Wake::kept_us`].
    pub(in crate::stream) fn kept_us(&self) -> Option<u64> {
        self.wake.get()?.kept_us()
    }

    /// [`Wake::keep`] of no time, by the task itself.
    pub(in crate::stream) fn keeps_itself(&self) {
        if let Some(wake) = self.wake.get() {
            wake.keep(None);
        }
    }

    /// [`Wake::leave`].
    pub(in crate::stream) fn leave(&self) {
        if let Some(wake) = self.wake.get() {
            wake.leave();
        }
    }

    /// Starts the task, if that has not been done: `start` is called once, under the link's lock, and gets the spot on
    /// which the task is to run, and its inbox.
    ///
    /// # Errors
    /// [`RRError::State`] after [`refuse`](Self::refuse), or if the task has ended; the errors of `start` and of
    /// [`Threading::spot`]; [`RRError::NoMem`] if the system has no memory.
    pub(in crate::stream) fn start(
        &self,
        threading: &Threading,
        start: impl FnOnce(Spot<'_>, Receiver<Box<T>>) -> Result<Running>,
    ) -> Result<()> {
        let is_unmade = |state: &LinkState<T>| match state.inbox {
            Inbox::Unmade => Ok(true),
            Inbox::Open(_) => Ok(false),
            Inbox::Closed => Err(Failure::ours(RRError::State, "the stream is ending")),
        };
        if !is_unmade(&locked(&self.state))? {
            return Ok(());
        }
        // The spot is made outside the lock because that takes system calls; of two callers that race, the second drops
        // its spot.
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

    /// Opens the inbox for a task that another link starts, and that has two inboxes.
    ///
    /// # Errors
    /// [`RRError::State`] after [`refuse`](Self::refuse), or if the task has ended.
    pub(in crate::stream) fn join(&self, wake: &Arc<Wake>) -> Result<Receiver<Box<T>>> {
        let mut state = locked(&self.state);
        if !matches!(state.inbox, Inbox::Unmade) {
            return Err(Failure::ours(RRError::State, "the stream is ending"));
        }
        let (sender, receiver) = unbounded();
        state.inbox = Inbox::Open(sender);
        let _ = self.wake.set(Arc::clone(wake));
        Ok(receiver)
    }

    /// How many hand-overs wait for the task.
    #[cfg(test)]
    pub(in crate::stream) fn waiting(&self) -> usize {
        match &locked(&self.state).inbox {
            Inbox::Open(inbox) => inbox.len(),
            Inbox::Unmade | Inbox::Closed => 0,
        }
    }

    /// Hands something over and wakes the thread. `before` gets the item, while no other thread has it, and the wake of
    /// its new owner.
    ///
    /// # Errors
    /// The item, if the thread was not started, has ended or is overrun.
    pub(in crate::stream) fn send(
        &self,
        mut item: T,
        before: impl FnOnce(&mut T, &Arc<Wake>),
    ) -> std::result::Result<(), T> {
        // The item is sent under the lock, which makes the bound exact and which `close` relies on. The bound is kept
        // here and not by the channel, because a bounded channel allocates all its places when it is made, for every
        // stream that anybody asks for.
        let state = locked(&self.state);
        let (Inbox::Open(inbox), Some(wake)) = (&state.inbox, self.wake.get()) else { return Err(item) };
        if inbox.len() >= INBOX {
            return Err(item);
        }
        before(&mut item, wake);
        inbox.try_send(Box::new(item)).map_err(|refused| *refused.into_inner())?;
        drop(state);
        wake.wake();
        Ok(())
    }

    /// Prevents a start of the thread; a thread that runs goes on. True if it was never started.
    pub(in crate::stream) fn refuse(&self) -> bool {
        let mut state = locked(&self.state);
        let unmade = self.wake.get().is_none();
        if unmade {
            state.inbox = Inbox::Closed;
        }
        unmade
    }

    /// Closes the inbox. The task itself calls this before it empties its inbox for the last time; afterwards nothing
    /// comes into it.
    pub(in crate::stream) fn close(&self) {
        let inbox = std::mem::replace(&mut locked(&self.state).inbox, Inbox::Closed);
        // The inbox is dropped outside the lock, because items may be dropped with it.
        drop(inbox);
    }

    /// Whether the task has ended, or will never be started.
    pub(in crate::stream) fn is_closed(&self) -> bool {
        matches!(locked(&self.state).inbox, Inbox::Closed)
    }

    /// Closes the link, so that items still in the inbox are dropped, and returns the running task, to be waited for.
    pub(in crate::stream) fn take_running(&self) -> Option<Running> {
        self.close();
        locked(&self.state).running.take()
    }
}
