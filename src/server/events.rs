//! The events of a server: to its host, by a queue with an fd that the host polls or by the thread that calls the host,
//! and to other subscribers (`events/subscribers.rs`).
//!
//! DESIGN. Any thread pushes events and log lines; each push takes one short lock and never blocks. The host takes
//! events either by [`Events::next`] and the fd, or by a callback, never both. One **event thread** per server
//! (`eventThread`, in `events/thread.rs`) takes log lines to the sink and, in callback mode, events to the callback; so
//! a full stderr pipe or a slow host stops that thread and never media. No lock is held while the host's code runs.
//! Events come in the order of their pushes; so do log lines; between the two no order is promised.
//!
//! The fd is readable exactly while an event waits or a wake is pending: its counter is changed with the lock held (the
//! one exception to "no lock across a system call": it cannot block).
//!
//! `events/queue.rs` decides which events are folded or dropped when the host does not take them.

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

/// Extra time for the event thread to report its end, before it counts as stuck in the host's code.
const END_GRACE: Duration = Duration::from_millis(100);

/// The setup of a server's events.
pub(crate) struct EventsConfig {
    /// Events that may wait before some are folded or dropped (`events/queue.rs`).
    pub limit: u32,
    /// Log lines up to this level also come as `RR_EV_LOG` events.
    pub log_events: LevelFilter,
    /// The host's function for events; `None` queues them for [`Events::next`].
    pub callback: Option<EventFn>,
    /// Called without any lock, by the thread that took an event, when [`Events::is_full`] has become false. It is
    /// ours, not the host's, and wakes the listener.
    pub on_room: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Default for EventsConfig {
    fn default() -> Self {
        let limit = config::ServerConfig::default().event_limit;
        Self { limit, log_events: LevelFilter::Off, callback: None, on_room: None }
    }
}

/// Events and log of one server. Share it as `Arc<Events>`; when the last one is dropped, the event thread ends.
pub(crate) struct Events {
    shared: Arc<Shared>,
    log: LogHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
    subscribers: Subscribers,
    debug_log: Arc<dyn Subscriber>,
}

impl Events {
    /// Starts the event thread and registers with the log.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the system has no fd or thread left.
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
                holds: 0,
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

    /// Sends an event: to the subscribers at once, to the host by its queue. Any thread may call it; it never blocks.
    /// After [`Events::stop`] it does nothing.
    pub(crate) fn push(&self, event: Event) {
        self.subscribers.tell(&event);
        self.shared.push(event);
    }

    /// Adds a subscriber, which gets every event from now on, like the host. Log lines, and the queue's reports of its
    /// own losses, go only to the host.
    pub(crate) fn subscribe(&self, subscriber: &Arc<dyn Subscriber>) {
        self.subscribers.add(subscriber);
    }

    /// Removes a subscriber. An event that another thread is sending at that moment may still reach it.
    pub(crate) fn unsubscribe(&self, subscriber: &Arc<dyn Subscriber>) {
        self.subscribers.remove(subscriber);
    }

    /// Sets the level of log lines. At debug, events are logged too.
    fn log_at(&self, level: LevelFilter) {
        self.log.set_level(level);
        if level >= LevelFilter::Debug {
            self.subscribe(&self.debug_log);
        } else {
            self.unsubscribe(&self.debug_log);
        }
    }

    /// Takes the next event; waits up to `timeout_ms` (0: not at all, negative: for ever). `None` when there is none or
    /// after [`Events::wake`]. One taker at a time.
    ///
    /// # Errors
    /// [`RRError::State`] if the host has a callback, [`RRError::Thread`] for a second taker and for waiting inside a
    /// callback, [`RRError::Closed`] after `all_told` or [`Events::stop`] when all events were taken.
    pub(crate) fn next(&self, timeout_ms: i32) -> Result<Option<Event>> {
        if self.shared.by_callback {
            return Err(Failure::ours(RRError::State, "events come by the callback"));
        }
        if timeout_ms != 0 {
            refuse_in_callback()?;
        }
        // A deadline that does not fit the clock means none.
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
            let has_none = inner.queue.is_empty() || inner.is_held();
            if timed_out && has_none && !inner.woken && !inner.stopped && inner.closing.is_none() {
                return Ok(None);
            }
        }
    }

    /// Lets the host get no event before the result is dropped: whoever gets one of a stream, then finds all that belongs
    /// to it.
    pub(crate) fn hold(&self) -> Hold<'_> {
        locked(&self.shared.inner).holds += 1;
        Hold(&self.shared)
    }

    /// Makes the present or the next call of [`Events::next`] return `None` as soon as no event waits, and the fd
    /// readable until then.
    pub(crate) fn wake(&self) {
        let mut inner = locked(&self.shared.inner);
        inner.woken = !self.shared.by_callback;
        self.shared.show(&mut inner);
    }

    /// Notes that the server's last event has been sent: a taker, waiting or later, gets the remaining events and then
    /// [`RRError::Closed`]. A log line that comes even later is taken before that.
    pub(crate) fn all_told(&self) {
        locked(&self.shared.inner).stopped = true;
        self.shared.taker.notify_all();
    }

    /// The fd that a host polls for reading; the host must not read or close it.
    ///
    /// # Errors
    /// [`RRError::State`] if the host has a callback.
    pub(crate) fn raw_fd(&self) -> Result<RawFd> {
        if self.shared.by_callback {
            return Err(Failure::ours(RRError::State, "events come by the callback"));
        }
        Ok(self.shared.fd.raw())
    }

    /// Whether so many events wait that nothing new may start: no connection is accepted, and no command is taken from
    /// a connection that neither publishes nor plays yet. A cheap check.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Acquire)
    }

    /// Changes the sink and the level of log lines. When it returns `Ok`, the old sink is not running and will not be
    /// called again; called from inside a callback, the old sink ends with that call.
    ///
    /// # Errors
    /// [`RRError::Timeout`] if the old sink was still running after two seconds: the new one is set, and the old one
    /// will not be called again but has not returned yet.
    pub(crate) fn set_log(&self, level: LevelFilter, sink: LogSink) -> Result<()> {
        let mut inner = locked(&self.shared.inner);
        inner.sink_level = level;
        // This runs under the lock, so that of two calls the later one decides about both level and sink.
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
                return Err(Failure::ours(RRError::Timeout, "the previous log callback has not returned yet"));
            }
        }
        // The host's code may run when its closure is dropped.
        drop(inner);
        drop(old);
        Ok(())
    }

    /// Sets whether the lines of the librtmp face, of the whole process, come to this log. Only one log at a time gets
    /// them: `true` takes them from another log, and `false` gives up only this log's own. [`Events::stop`] ends this.
    pub(crate) fn take_librtmp(&self, on: bool) {
        // This runs under the lock, so that the lines are not taken again after the end.
        let inner = locked(&self.shared.inner);
        if !on {
            RRLog::leave_librtmp(&self.log);
        } else if inner.closing.is_none() {
            RRLog::take_librtmp(&self.log);
        }
    }

    /// Ends the event thread: lines and events queued for the sink and the callback are delivered first, for at most
    /// `deadline_ms`. Events queued for [`Events::next`] can still be taken. New events and lines are ignored from now
    /// on.
    ///
    /// # Errors
    /// [`RRError::Thread`] inside a callback; [`RRError::Timeout`] if the host's code does not return: the thread is
    /// then abandoned and calls nothing more.
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

/// Keeps events from the host as long as it is there.
#[must_use]
pub(crate) struct Hold<'a>(&'a Shared);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut inner = locked(&self.0.inner);
        inner.holds -= 1;
        self.0.show(&mut inner);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if in_callback() {
            // The last owner is the host's code in the event thread, which cannot wait for itself.
            RRLog::leave_librtmp(&self.log);
            locked(&self.shared.inner).closing = Some(Instant::now());
        } else {
            // Whether the thread ended or was abandoned, there is nobody to tell.
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
