//! The thread of hooks and the thread of a controller: a runtime for the requests of one server, and the tasks on it.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::error::{Failure, RRError, Result};
use crate::server::RRServer;
use crate::server::events::Subscriber;

/// Longest time that tasks may take at the end, when the server is freed.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Stack of the thread, larger than on the media side, because TLS and JSON nest deeper.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Most look-ups of names at a time; each uses a thread while it lasts. There are no more names than those of seven
/// hooks or eight controllers, each looked up once at a time (`names`).
const MAX_LOOKUPS: usize = 8;

/// The handle by which tasks are started on the thread.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    runtime: Handle,
    /// True when the thread is to end. Each task holds a receiver, so that the end can wait for them.
    stopping: Arc<watch::Sender<bool>>,
}

impl Tasks {
    /// Runs a task on the thread.
    pub(super) fn spawn<T: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(watch::Receiver<bool>) -> T) {
        self.runtime.spawn(task(self.stopping.subscribe()));
    }
}

/// The thread.
#[derive(Debug)]
struct Worker {
    tasks: Tasks,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread with this name; the threads that look names up have the name `resolver`.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the process has no thread or fd left, [`RRError::NoMem`].
    fn start(server: &Arc<RRServer>, name: &'static str, resolver: &str) -> Result<Self> {
        crate::net::heap::room()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(MAX_LOOKUPS)
            .thread_name(resolver)
            .build()
            .map_err(|error| Failure::ours(RRError::Limit, format!("no runtime could be started: {error}")))?;
        let tasks = Tasks { runtime: runtime.handle().clone(), stopping: Arc::new(watch::Sender::new(false)) };
        let (stop, stopped) = oneshot::channel::<()>();
        let (stopping, entered) = (Arc::clone(&tasks.stopping), Arc::clone(server));
        let body = move || {
            crate::net::thread::block_signals();
            let _log = entered.enter_log();
            // The thread does not keep the server alive.
            drop(entered);
            runtime.block_on(async {
                let _ = stopped.await;
                stopping.send_replace(true);
                let _ = tokio::time::timeout(STOP_TIMEOUT, stopping.closed()).await;
            });
            runtime.shutdown_background();
        };
        let panicked = move |text: &str| log::error!("{name} panicked: {text}");
        let thread = crate::sync::spawn_with_stack(name, STACK_BYTES, body, panicked)?;
        Ok(Self { tasks, stop: Some(stop), thread: Some(thread) })
    }
}

/// The part of hooks and of a controller that a server asks and notifies, with tasks on a thread of its own.
pub(super) trait Desk: Subscriber + Sized + 'static {
    /// The server that asks it.
    fn server(&self) -> &Weak<RRServer>;
    /// Makes the server ask it from now on.
    fn take_place(self: Arc<Self>, server: &RRServer);
    /// Makes the server stop asking it.
    fn leave_place(self: Arc<Self>, server: &RRServer);
    /// Called when the server no longer asks or notifies it.
    fn left(&self) {}
}

/// A desk that the server asks, with its thread. Dropping it waits for the tasks.
#[derive(Debug)]
pub(super) struct Seated<D: Desk> {
    desk: Arc<D>,
    _worker: Worker,
}

impl<D: Desk> Seated<D> {
    /// Starts the thread and puts the desk at its place; the names of its threads are as in [`Worker::start`].
    ///
    /// # Errors
    /// Those of [`Worker::start`].
    pub(super) fn start(
        server: &Arc<RRServer>,
        name: &'static str,
        resolver: &str,
        make: impl FnOnce(Tasks) -> Arc<D>,
    ) -> Result<Self> {
        let worker = Worker::start(server, name, resolver)?;
        let seated = Self { desk: make(worker.tasks.clone()), _worker: worker };
        Arc::clone(&seated.desk).take_place(server);
        server.subscribe(&seated.subscriber());
        Ok(seated)
    }

    /// The desk.
    pub(super) fn desk(&self) -> &Arc<D> {
        &self.desk
    }

    fn subscriber(&self) -> Arc<dyn Subscriber> {
        Arc::<D>::clone(&self.desk)
    }
}

impl<D: Desk> Drop for Seated<D> {
    fn drop(&mut self) {
        if let Some(server) = self.desk.server().upgrade() {
            Arc::clone(&self.desk).leave_place(&server);
            server.unsubscribe(&self.subscriber());
        }
        self.desk.left();
    }
}

impl Drop for Worker {
    /// Waits for the tasks, at most two seconds.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
