//! Where a stream's two tasks run: on a thread each, which are the stream's own, or both on a loop that many streams share.
//!
//! On a shared loop a message never changes threads: accumulate's append calls the relay, whose turn is in the same round. In
//! return the stream waits while others of the loop have their turns.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam::channel::Receiver;

use crate::error::{Failure, RRError, Result};
use crate::net::event_loop::{self, EventLoop, LoopHandle, OnPanic, Task};
use crate::net::poll::Wake;
use crate::sync::locked;

/// Tasks that a shared loop has room for: two for each stream.
const TASKS: usize = 1 << 16;

/// A loop that many streams share, as they see it.
#[derive(Debug)]
pub(crate) struct SharedLoop {
    /// `None` once the loop takes nobody in any more.
    handle: Mutex<Option<LoopHandle>>,
    streams: AtomicUsize,
}

impl SharedLoop {
    /// A loop, and the way to it; the caller has a thread run it.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the process has no fd left.
    pub(crate) fn new() -> Result<(Arc<Self>, EventLoop)> {
        let mut event_loop = EventLoop::with_room(TASKS)?;
        let handle = Mutex::new(Some(event_loop.handle()?));
        Ok((Arc::new(Self { handle, streams: AtomicUsize::new(0) }), event_loop))
    }

    /// How many streams have their place here.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Nobody comes any more: the loop ends when all that are there have left.
    pub(crate) fn close(&self) {
        let handle = locked(&self.handle).take();
        drop(handle);
    }

    fn with_handle<R>(&self, call: impl FnOnce(&LoopHandle) -> Result<R>) -> Result<R> {
        let ended = || Failure::ours(RRError::State, "the server is stopping");
        locked(&self.handle).as_ref().ok_or_else(ended).and_then(call)
    }
}

/// A stream's place on a shared loop, which counts as long as this lives.
#[derive(Debug)]
pub(crate) struct Share(Arc<SharedLoop>);

impl Share {
    /// One more stream on this loop.
    pub(crate) fn on(shared: &Arc<SharedLoop>) -> Self {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a stream's two tasks run.
#[derive(Debug)]
pub(crate) enum Threading {
    /// On a thread each.
    Own,
    /// Both on this loop.
    Shared(Share),
}

impl Threading {
    /// What one of the tasks is going to run on. Makes system calls for a loop of its own.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the process has no fd left, or the shared loop no room; [`RRError::State`] once the
    /// server stops.
    pub(in crate::stream) fn spot(&self) -> Result<Spot<'_>> {
        match self {
            Self::Own => {
                let event_loop = EventLoop::new()?;
                Ok(Spot { wake: event_loop.wake()?, on: On::Own(Box::new(event_loop)) })
            }
            Self::Shared(Share(shared)) => {
                Ok(Spot { wake: shared.with_handle(LoopHandle::wake)?, on: On::Shared(shared) })
            }
        }
    }
}

/// What a task is going to run on, and the means to call it there.
#[derive(Debug)]
pub(in crate::stream) struct Spot<'a> {
    pub(in crate::stream) wake: Arc<Wake>,
    on: On<'a>,
}

#[derive(Debug)]
enum On<'a> {
    Own(Box<EventLoop>),
    Shared(&'a SharedLoop),
}

impl Spot<'_> {
    /// Has the task run. `start` starts the thread for a loop of its own.
    ///
    /// # Errors
    /// What `start` says; [`RRError::Limit`] where the shared loop is overrun, [`RRError::NoMem`] where there is no memory
    /// to read into.
    pub(in crate::stream) fn run<T: Task>(
        self,
        task: T,
        inbox: Receiver<T::Message>,
        on_panic: OnPanic,
        start: impl FnOnce(EventLoop) -> Result<JoinHandle<()>>,
    ) -> Result<Running> {
        match self.on {
            On::Own(mut event_loop) => {
                event_loop.add(task, inbox, self.wake, on_panic)?;
                Ok(Running::Thread(start(*event_loop)?))
            }
            On::Shared(shared) => {
                let running = shared.with_handle(|handle| handle.add(task, inbox, self.wake, on_panic))?;
                Ok(Running::Task(running))
            }
        }
    }
}

/// A task of a stream's that runs.
#[derive(Debug)]
pub(crate) enum Running {
    /// On a thread of its own.
    Thread(JoinHandle<()>),
    /// On a shared loop.
    Task(event_loop::Running),
}

impl Running {
    /// Waits until the task has ended, and all that it held is dropped.
    pub(crate) fn wait(self) {
        match self {
            // Its panic, if any, has been reported.
            Self::Thread(thread) => drop(thread.join()),
            Self::Task(task) => task.wait(),
        }
    }
}
