//! What a server tells: its host, by the queue of events with the fd the host polls or by the thread that calls the
//! host, and whoever else subscribes (`events/subscribers.rs`).
//!
//! DESIGN. Any thread pushes events and log lines; each push is one short lock and blocks on nothing. The host takes
//! events either by [`Events::next`] and the fd, or by a callback, never both. One **event thread** per server
//! (`eventThread`, in `events/thread.rs`) takes log lines to the sink and, in callback mode, events to the callback; so
//! a full stderr pipe or a slow host stops that thread and never media. No lock is held while the host's code runs.
//! Events come in the order of their pushes; so do log lines; between the two no order is promised.
//!
//! The fd is readable exactly while an event waits or a wake is pending: its counter is touched with the lock held
//! (the one exception to "no lock across a system call": it cannot block).
//!
//! `events/queue.rs` decides which events are given up when the host does not take them.

mod debug_log;
mod queue;
mod shared;
mod subscribers;
mod thread;

pub use shared::{EventFn, LogSink};
pub(crate) use shared::{in_callback, refuse_in_callback};
pub(crate) use subscribers::Subscriber;

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::{self, EVENT_THREAD_DROP_MS, LOG_SINK_SWITCH_MS};
use crate::error::{Failure, RRError, Result};
use crate::log::{LevelFilter, LogHandle, LogOutlet, RRLog, Repeats};
use crate::net::poll::EventFd;
use crate::stream::event::Event;
use crate::sync::locked;
use debug_log::DebugLog;
use queue::Queue;
use shared::{Inner, Shared, Sink, wait};
use subscribers::Subscribers;

/// Time beyond its deadline in which the event thread may report its end, before it counts as stuck in the host's code.
const END_GRACE: Duration = Duration::from_millis(100);

/// How a server's events are set up.
pub(crate) struct EventsConfig {
    /// Events that may wait before some are given up (`events/queue.rs`).
    pub limit: u32,
    /// Log lines up to this level also come as `RR_EV_LOG` events.
    pub log_events: LevelFilter,
    /// Takes the events; `None` queues them for [`Events::next`].
    pub callback: Option<EventFn>,
    /// Called without any lock, by the thread that took an event, when [`Events::is_full`] has become false. Ours,
    /// not the host's: wakes the listener.
    pub on_room: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Default for EventsConfig {
    fn default() -> Self {
        let limit = config::ServerConfig::default().event_limit;
        Self { limit, log_events: LevelFilter::Off, callback: None, on_room: None }
    }
}

/// Events and log of one server. Share it as `Arc<Events>`; when the last goes, the event thread ends.
pub(crate) struct Events {
    shared: Arc<Shared>,
    log: LogHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
    subscribers: Subscribers,
    debug_log: Arc<dyn Subscriber>,
}

impl Events {
    /// Starts the event thread and takes a place in the log.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the system has no fd or thread left.
    pub(crate) fn start(config: EventsConfig) -> Result<Self> {
        RRLog::install();
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                queue: Queue::new(config.limit as usize),
                lines: VecDeque::new(),
                repeats: Repeats::default(),
                lines_dropped: 0,
                dropped_level: None,
                sink: Sink::Here(LogSink::None),
                sink_level: LevelFilter::Off,
                raised: false,
                woken: false,
                taking: false,
                thread_waits: false,
                closing: None,
                stopped: false,
                ended: false,
            }),
            taker: Condvar::new(),
            work: Condvar::new(),
            returned: Condvar::new(),
            fd: EventFd::new()?,
            by_callback: config.callback.is_some(),
            log_events: config.log_events,
            full: AtomicBool::new(false),
            on_room: config.on_room,
        });
        let outlet: Arc<dyn LogOutlet> = Arc::<Shared>::clone(&shared);
        let log = RRLog::register(outlet, config.log_events);
        let thread = thread::start(Arc::clone(&shared), log.clone(), config.callback)?;
        let (subscribers, debug_log) = (Subscribers::default(), Arc::new(DebugLog));
        let events = Self { shared, log, thread: Mutex::new(Some(thread)), subscribers, debug_log };
        events.log_at(config.log_events);
        Ok(events)
    }

    /// The server's place in the log, for [`RRLog::enter`].
    pub(crate) fn log(&self) -> &LogHandle {
        &self.log
    }

    /// Tells an event: the subscribers at once, the host by its queue. From any thread; never blocks. After
    /// [`Events::stop`] it does nothing.
    pub(crate) fn push(&self, event: Event) {
        self.subscribers.tell(&event);
        self.shared.push(event);
    }

    /// Adds a subscriber, who is told of every event from here on, beside the host. Log lines, and the queue's reports
    /// of its own losses, go to the host alone.
    pub(crate) fn subscribe(&self, subscriber: &Arc<dyn Subscriber>) {
        self.subscribers.add(subscriber);
    }

    /// Takes a subscriber off. One event that is being told on another thread may still reach it.
    pub(crate) fn unsubscribe(&self, subscriber: &Arc<dyn Subscriber>) {
        self.subscribers.remove(subscriber);
    }

    /// Takes in log lines up to this level. At debug they tell of events too.
    fn log_at(&self, level: LevelFilter) {
        self.log.set_level(level);
        if level >= LevelFilter::Debug {
            self.subscribe(&self.debug_log);
        } else {
            self.unsubscribe(&self.debug_log);
        }
    }

    /// Takes the next event; waits for it up to `timeout_ms` (0: not at all, below 0: for ever). `None` when there is
    /// none or after [`Events::wake`]. One taker at a time.
    ///
    /// # Errors
    /// [`RRError::State`] where the host has a callback, [`RRError::Thread`] for a second taker and for waiting inside
    /// a callback, [`RRError::Closed`] after `all_told` or [`Events::stop`] when all events were taken.
    pub(crate) fn next(&self, timeout_ms: i32) -> Result<Option<Event>> {
        if self.shared.by_callback {
            return Err(Failure::ours(RRError::State, "events come by the callback"));
        }
        if timeout_ms != 0 {
            refuse_in_callback()?;
        }
        // A deadline that does not fit the clock is as good as none.
        let deadline =
            u64::try_from(timeout_ms).ok().and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        let mut inner = locked(&self.shared.inner);
        if inner.taking {
            return Err(Failure::ours(RRError::Thread, "another thread is taking events"));
        }
        loop {
            if let Some((event, room)) = self.shared.take(&mut inner) {
                drop(inner);
                self.shared.tell(room);
                return Ok(Some(event));
            }
            if std::mem::take(&mut inner.woken) {
                self.shared.show(&mut inner);
                return Ok(None);
            }
            if inner.stopped || inner.closing.is_some() {
                return Err(Failure::ours(RRError::Closed, "the server has stopped"));
            }
            if timeout_ms == 0 {
                return Ok(None);
            }
            inner.taking = true;
            let (back, timed_out) = wait(&self.shared.taker, inner, deadline);
            inner = back;
            inner.taking = false;
            if timed_out && inner.queue.is_empty() && !inner.woken && !inner.stopped && inner.closing.is_none() {
                return Ok(None);
            }
        }
    }

    /// Makes one [`Events::next`], the present or the coming one, give `None` as soon as no event waits, and the fd
    /// readable until then.
    pub(crate) fn wake(&self) {
        let mut inner = locked(&self.shared.inner);
        inner.woken = !self.shared.by_callback;
        self.shared.show(&mut inner);
    }

    /// The server's last event has been told: a taker that waits, or comes later, gets what is left and then
    /// [`RRError::Closed`]. A log line that comes later still is taken before that.
    pub(crate) fn all_told(&self) {
        locked(&self.shared.inner).stopped = true;
        self.shared.taker.notify_all();
    }

    /// The fd a host polls for reading; never to be read or closed by it.
    ///
    /// # Errors
    /// [`RRError::State`] where the host has a callback.
    pub(crate) fn raw_fd(&self) -> Result<RawFd> {
        if self.shared.by_callback {
            return Err(Failure::ours(RRError::State, "events come by the callback"));
        }
        Ok(self.shared.fd.raw())
    }

    /// Whether so many events wait that nobody should start anything new: no accept, and no command taken from a
    /// connection that neither publishes nor plays yet. Cheap.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Acquire)
    }

    /// Changes where log lines go and up to which level. When it gives `Ok`, the sink before is not running and will
    /// not be called again, unless this is called from inside a callback: then it ends with that call.
    ///
    /// # Errors
    /// [`RRError::Timeout`] when the sink before was still running after two seconds: the new one is set, and the
    /// old one will not be called again, but has not returned yet.
    pub(crate) fn set_log(&self, level: LevelFilter, sink: LogSink) -> Result<()> {
        let mut inner = locked(&self.shared.inner);
        inner.sink_level = level;
        // In the lock, so that of two calls the later decides about both level and sink.
        self.log_at(level.max(self.shared.log_events));
        let old = match &mut inner.sink {
            Sink::Here(old) => Some(std::mem::replace(old, sink)),
            Sink::Out(next) => next.replace(sink),
        };
        let deadline = Instant::now() + Duration::from_millis(LOG_SINK_SWITCH_MS);
        while matches!(inner.sink, Sink::Out(_)) && !in_callback() {
            let (back, timed_out) = wait(&self.shared.returned, inner, Some(deadline));
            inner = back;
            if timed_out && matches!(inner.sink, Sink::Out(_)) {
                drop(inner);
                return Err(Failure::ours(RRError::Timeout, "the log callback before has not returned yet"));
            }
        }
        // The host's code may run when its closure is dropped.
        drop(inner);
        drop(old);
        Ok(())
    }

    /// Whether the lines of the librtmp face, of the whole process, come to this log. One log at a time has them: it
    /// takes them from another, and gives up only its own. They end with [`Events::stop`].
    pub(crate) fn take_librtmp(&self, on: bool) {
        // In the lock, so that it is not taken again once it has been left at the end.
        let inner = locked(&self.shared.inner);
        if !on {
            RRLog::leave_librtmp(&self.log);
        } else if inner.closing.is_none() {
            RRLog::take_librtmp(&self.log);
        }
    }

    /// Ends the event thread: what is queued for the sink and the callback is delivered first, for at most
    /// `deadline_ms`. Events queued for [`Events::next`] can still be taken. Nothing is taken in from now on.
    ///
    /// # Errors
    /// [`RRError::Thread`] inside a callback; [`RRError::Timeout`] when the host's code does not come back: the thread is
    /// then left behind and will call nothing more.
    pub(crate) fn stop(&self, deadline_ms: u32) -> Result<()> {
        refuse_in_callback()?;
        self.end(deadline_ms)
    }

    fn end(&self, deadline_ms: u32) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms));
        let mut inner = locked(&self.shared.inner);
        inner.closing = Some(inner.closing.map_or(deadline, |before| before.min(deadline)));
        self.log_at(LevelFilter::Off);
        self.subscribers.clear();
        RRLog::leave_librtmp(&self.log);
        self.shared.work.notify_all();
        self.shared.taker.notify_all();
        while !inner.ended {
            let (back, timed_out) = wait(&self.shared.returned, inner, Some(deadline + END_GRACE));
            inner = back;
            if timed_out && !inner.ended {
                inner.ended = true;
                drop(inner);
                drop(locked(&self.thread).take());
                return Err(Failure::ours(RRError::Timeout, "the host's callback does not return"));
            }
        }
        drop(inner);
        if let Some(thread) = locked(&self.thread).take() {
            // The thread has reported its end; its start handles a panic.
            let _ = thread.join();
        }
        Ok(())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if in_callback() {
            // The last owner is the host's code in the event thread: it cannot wait for itself.
            RRLog::leave_librtmp(&self.log);
            locked(&self.shared.inner).closing = Some(Instant::now());
        } else {
            // Left behind or not, there is nobody to tell.
            let _ = self.end(EVENT_THREAD_DROP_MS);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("by_callback", &self.shared.by_callback).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
