//! Where a stream's two tasks run: each on a thread of the stream's own, or both on a loop that many streams share.
//!
//! On a shared loop a message never changes threads: accumulate has the relay send it, or calls the relay, which has its
//! turn in the same round. In return a stream waits while other streams of the loop have their turns.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam::channel::Receiver;

use crate::error::{Failure, RRError, Result};
use crate::net::event_loop::{self, EventLoop, LoopHandle, OnPanic, Task};
use crate::net::poll::Wake;
use crate::stream::name::StreamName;
use crate::stream::process::host::HostMessages;
use crate::stream::process::supervisor::Supervisor;
use crate::stream::process::workers::Workers;
use crate::sync::locked;

/// Number of tasks that a shared loop has room for; a stream has two.
const TASKS: usize = 1 << 16;

/// A loop that many streams share, as the streams see it.
#[derive(Debug)]
pub(crate) struct SharedLoop {
    /// `None` once the loop takes in no more streams.
    handle: Mutex<Option<LoopHandle>>,
    streams: AtomicUsize,
}

impl SharedLoop {
    /// A loop and its handle; the caller runs the loop on a thread.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the process has no fd left.
    pub(crate) fn new() -> Result<(Arc<Self>, EventLoop)> {
        let mut event_loop = EventLoop::with_room(TASKS)?;
        let handle = Mutex::new(Some(event_loop.handle()?));
        Ok((Arc::new(Self { handle, streams: AtomicUsize::new(0) }), event_loop))
    }

    /// How many streams run on this loop.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether the loop takes in no more streams.
    pub(crate) fn has_ended(&self) -> bool {
        locked(&self.handle).as_ref().is_none_or(LoopHandle::has_ended)
    }

    /// Closes the loop to new streams; it ends when all present ones have left.
    pub(crate) fn close(&self) {
        let handle = locked(&self.handle).take();
        drop(handle);
    }

    fn with_handle<R>(&self, call: impl FnOnce(&LoopHandle) -> Result<R>) -> Result<R> {
        let ended = || Failure::ours(RRError::State, "the server is stopping");
        locked(&self.handle).as_ref().ok_or_else(ended).and_then(call)
    }
}

/// A stream's place on a shared loop; the loop counts it as long as this value lives.
#[derive(Debug)]
pub(crate) struct Share(Arc<SharedLoop>);

impl Share {
    /// A place for one more stream on this loop.
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
    /// Each on a thread of its own.
    Own,
    /// Both on this loop.
    Shared(Share),
    /// In a process of their own.
    Process(Isolated),
}

/// How a stream has a process of its own.
#[derive(Debug)]
pub(crate) struct Isolated {
    /// The place of the task that stands for its tasks here.
    share: Share,
    pub(in crate::stream) workers: Arc<Workers>,
    pub(in crate::stream) supervisor: Arc<Supervisor>,
    /// What the host publishes itself.
    pub(in crate::stream) host: Arc<HostMessages>,
}

impl Isolated {
    /// One of these workers for the stream of this name.
    pub(crate) fn new(share: Share, workers: &Arc<Workers>, name: &StreamName) -> Self {
        let supervisor = Arc::new(workers.supervisor(name));
        Self { share, workers: Arc::clone(workers), supervisor, host: Arc::default() }
    }
}

impl Threading {
    /// Prepares the place where one of the tasks will run. For a loop of its own this makes system calls.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the process has no fd left, or the shared loop no room; [`RRError::NoMem`] if it has no memory
    /// for a read buffer; [`RRError::State`] once the server stops.
    pub(in crate::stream) fn spot(&self) -> Result<Spot<'_>> {
        match self {
            Self::Own => {
                let event_loop = EventLoop::new()?;
                Ok(Spot { wake: event_loop.wake()?, on: On::Own(Box::new(event_loop)) })
            }
            Self::Shared(Share(shared)) | Self::Process(Isolated { share: Share(shared), .. }) => {
                Ok(Spot { wake: shared.with_handle(LoopHandle::wake)?, on: On::Shared(shared) })
            }
        }
    }
}

/// The place where a task will run, and its wake.
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
    /// Runs the task. `start` starts the thread for a loop of its own.
    ///
    /// # Errors
    /// The errors of `start`; [`RRError::Limit`] if the shared loop is overrun.
    pub(in crate::stream) fn run<T: Task>(
        self,
        task: T,
        inbox: Receiver<T::Message>,
        on_panic: OnPanic,
        start: impl FnOnce(Box<EventLoop>) -> Result<JoinHandle<()>>,
    ) -> Result<Running> {
        match self.on {
            On::Own(mut event_loop) => {
                event_loop.add(task, inbox, self.wake, on_panic);
                Ok(Running::Thread(start(event_loop)?))
            }
            On::Shared(shared) => {
                let running = shared.with_handle(|handle| handle.add(task, inbox, self.wake, on_panic))?;
                Ok(Running::Task(running))
            }
        }
    }
}

/// A running task of a stream.
#[derive(Debug)]
pub(crate) enum Running {
    /// On a thread of its own.
    Thread(JoinHandle<()>),
    /// On a shared loop.
    Task(event_loop::Running),
}

impl Running {
    /// Waits until the task has ended and everything that it held is dropped.
    pub(crate) fn wait(self) {
        match self {
            // Its panic, if any, has been reported.
            Self::Thread(thread) => drop(thread.join()),
            Self::Task(task) => task.wait(),
        }
    }
}
