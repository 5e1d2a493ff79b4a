//! The thread of hooks, and that of a controller: a runtime for the requests of one server, and the tasks on it.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::error::{Failure, RRError, Result};
use crate::server::RRServer;
use crate::server::events::Subscriber;

/// What tasks may take at the end, when the server is freed.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Stack of the thread: TLS and JSON nest deeper than the media side's flat code.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Look-ups of names at one time; each takes a thread while it lasts. There are no more names: those of seven hooks or eight
/// controllers, each looked up by one at a time (`names`).
const MAX_LOOKUPS: usize = 8;

/// The way to the thread.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    runtime: Handle,
    /// True once the thread is to end. Each task holds a receiver, so that the end can wait for them.
    stopping: Arc<watch::Sender<bool>>,
}

impl Tasks {
    /// Runs something on the thread.
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
    /// Starts a thread of this name; those that look names up have the other.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the process has no thread or fd left.
    fn start(server: &Arc<RRServer>, name: &'static str, resolver: &str) -> Result<Self> {
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
            // The thread does not keep the server.
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

/// Whoever is asked and told by a server, with tasks on a thread of its own.
pub(super) trait Desk: Subscriber + Sized + 'static {
    /// Its server.
    fn server(&self) -> &Weak<RRServer>;
    /// The server is to ask it from now on.
    fn take_place(self: Arc<Self>, server: &RRServer);
    /// The server is to ask it no more.
    fn leave_place(self: Arc<Self>, server: &RRServer);
    /// It is asked and told no more.
    fn left(&self) {}
}

/// A desk that is at its place, with its thread. Its end waits for the tasks.
#[derive(Debug)]
pub(super) struct Seated<D: Desk> {
    desk: Arc<D>,
    _worker: Worker,
}

impl<D: Desk> Seated<D> {
    /// Starts the thread and what it serves; its threads' names are as in [`Worker::start`].
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

    /// What it serves.
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
    /// Waits for the tasks, two seconds at most.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
