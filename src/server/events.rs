//! What a server tells its host: the queue of events with the fd the host polls, and the thread that calls the host.
//!
//! DESIGN. Any thread pushes events and log lines; each push is one short lock and blocks on nothing. The host takes events
//! either by [`Events::next`] and the fd, or by a callback, never both. One **event thread** per server
//! (`eventThread`, in `events/thread.rs`) takes log lines to the sink and, in callback mode, events to the callback;
//! so a full stderr pipe or a slow host stops that thread and never media. No lock is held while the host's code runs.
//! Events come in the order of their pushes; so do log lines; between the two no order is promised.
//!
//! The fd is readable exactly while an event waits or a wake is pending: its counter is touched with the lock held
//! (the one exception to "no lock across a system call": it cannot block).
//!
//! What is given up when the host does not take events is the affair of `events/queue.rs`.

mod debug_log;
mod queue;
mod thread;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::{self, EVENT_THREAD_DROP_MS, LOG_LINES, LOG_SINK_SWITCH_MS};
use crate::error::{Failure, RRError, Result};
use crate::log::{Level, LevelFilter, Line, LogHandle, LogOutlet, RRLog, Repeats};
use crate::net::clock;
use crate::net::poll::EventFd;
use crate::stream::event::Event;
use crate::sync::locked;
use queue::Queue;

/// What the event thread gets beyond its deadline to say that it ends, before it counts as stuck in the host's code.
const END_GRACE: Duration = Duration::from_millis(100);

/// The host's callback for events. Called by the event thread alone, with no lock held; the event is borrowed for the
/// call. What blocks must not be called from it ([`in_callback`]).
pub type EventFn = Box<dyn Fn(&Event) + Send>;

/// The host's callback for log lines: level, module, line. Called like [`EventFn`].
pub type LogFn = Box<dyn Fn(Level, &str, &str) + Send>;

/// Where log lines of a server go.
#[derive(Default)]
pub enum LogSink {
    /// Nowhere; nothing is printed unless somebody asks.
    #[default]
    None,
    /// To stderr, one line each.
    Stderr,
    /// To the host.
    Callback(LogFn),
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Stderr => "Stderr",
            Self::Callback(_) => "Callback",
        })
    }
}

/// How a server's events are set up.
pub struct EventsConfig {
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

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a callback of the host.
pub fn in_callback() -> bool {
    IN_CALLBACK.try_with(Cell::get).unwrap_or(false)
}

/// The first line of every call that would block.
///
/// # Errors
/// [`RRError::Thread`] inside a callback.
pub fn refuse_in_callback() -> Result<()> {
    if in_callback() {
        return Err(Failure::ours(RRError::Thread, "this call may block and must not be made from a callback"));
    }
    Ok(())
}

/// Events and log of one server. Share it as `Arc<Events>`; when the last goes, the event thread ends.
pub struct Events {
    shared: Arc<Shared>,
    log: LogHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What producers, the taker and the event thread share.
struct Shared {
    inner: Mutex<Inner>,
    /// For the taker in [`Events::next`].
    taker: Condvar,
    /// For the event thread.
    work: Condvar,
    /// For those who wait until the event thread has come back from a sink, or has ended.
    returned: Condvar,
    fd: EventFd,
    by_callback: bool,
    log_events: LevelFilter,
    full: AtomicBool,
    on_room: Option<Box<dyn Fn() + Send + Sync>>,
}

struct Inner {
    queue: Queue,
    lines: VecDeque<Line>,
    repeats: Repeats,
    /// Lines that found `lines` full since the last that did not.
    lines_dropped: u64,
    /// The gravest of them; `None` while there are none.
    dropped_level: Option<Level>,
    sink: Sink,
    sink_level: LevelFilter,
    /// Whether the fd is readable.
    raised: bool,
    woken: bool,
    /// A taker is inside [`Events::next`].
    taking: bool,
    /// The event thread sleeps.
    thread_waits: bool,
    /// Nothing is taken in any more; the event thread ends when it is through, or at this moment.
    closing: Option<Instant>,
    /// The event thread has ended, or was left behind and will call nothing more.
    ended: bool,
}

/// The sink while it is here, and while the event thread has it.
enum Sink {
    Here(LogSink),
    /// Out, and the one to use from then on if it was changed meanwhile.
    Out(Option<LogSink>),
}

impl Events {
    /// Starts the event thread and takes a place in the log.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the system has no fd or thread left.
    pub fn start(config: EventsConfig) -> Result<Self> {
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
        Ok(Self { shared, log, thread: Mutex::new(Some(thread)) })
    }

    /// The server's place in the log, for [`RRLog::enter`].
    pub fn log(&self) -> &LogHandle {
        &self.log
    }

    /// Queues an event. From any thread; never blocks. After [`Events::stop`] it does nothing.
    pub fn push(&self, event: Event) {
        debug_log::tell(&event);
        self.shared.push(event);
    }

    /// Takes the next event; waits for it up to `timeout_ms` (0: not at all, below 0: for ever). `None` when there is
    /// none or after [`Events::wake`]. One taker at a time.
    ///
    /// # Errors
    /// [`RRError::State`] where the host has a callback, [`RRError::Thread`] for a second taker and for waiting inside
    /// a callback, [`RRError::Closed`] after [`Events::stop`] when all events were taken.
    pub fn next(&self, timeout_ms: i32) -> Result<Option<Event>> {
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
            if inner.closing.is_some() {
                return Err(Failure::ours(RRError::Closed, "the server has stopped"));
            }
            if timeout_ms == 0 {
                return Ok(None);
            }
            inner.taking = true;
            let (back, timed_out) = wait(&self.shared.taker, inner, deadline);
            inner = back;
            inner.taking = false;
            if timed_out && inner.queue.is_empty() && !inner.woken && inner.closing.is_none() {
                return Ok(None);
            }
        }
    }

    /// Makes one [`Events::next`], the present or the coming one, give `None` as soon as no event waits, and the fd
    /// readable until then.
    pub fn wake(&self) {
        let mut inner = locked(&self.shared.inner);
        inner.woken = !self.shared.by_callback;
        self.shared.show(&mut inner);
    }

    /// The fd a host polls for reading; never to be read or closed by it.
    ///
    /// # Errors
    /// [`RRError::State`] where the host has a callback.
    pub fn raw_fd(&self) -> Result<RawFd> {
        if self.shared.by_callback {
            return Err(Failure::ours(RRError::State, "events come by the callback"));
        }
        Ok(self.shared.fd.raw())
    }

    /// Whether so many events wait that nobody should start anything new: no accept, and no command taken from a
    /// connection that neither publishes nor plays yet. Cheap.
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Acquire)
    }

    /// Changes where log lines go and up to which level. When it gives `Ok`, the sink before is not running and will not
    /// be called again, unless this is called from inside a callback: then it ends with that call.
    ///
    /// # Errors
    /// [`RRError::Timeout`] when the sink before was still running after two seconds: the new one is set, and the
    /// old one will not be called again, but has not returned yet.
    pub fn set_log(&self, level: LevelFilter, sink: LogSink) -> Result<()> {
        let mut inner = locked(&self.shared.inner);
        inner.sink_level = level;
        // In the lock, so that of two calls the later decides about both level and sink.
        self.log.set_level(level.max(self.shared.log_events));
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
    pub fn take_librtmp(&self, on: bool) {
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
    pub fn stop(&self, deadline_ms: u32) -> Result<()> {
        refuse_in_callback()?;
        self.end(deadline_ms)
    }

    fn end(&self, deadline_ms: u32) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms));
        let mut inner = locked(&self.shared.inner);
        inner.closing = Some(inner.closing.map_or(deadline, |before| before.min(deadline)));
        self.log.set_level(LevelFilter::Off);
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
            // It has said that it ends; a panic was dealt with where it was started.
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

impl Shared {
    fn push(&self, event: Event) {
        let mut inner = locked(&self.inner);
        if inner.closing.is_none() {
            inner.queue.push(event);
            self.show(&mut inner);
        }
    }

    /// The oldest event, and whether taking it made room in a queue that was full.
    fn take(&self, inner: &mut Inner) -> Option<(Event, bool)> {
        let was_full = inner.queue.is_full();
        let event = inner.queue.take()?;
        self.show(inner);
        Some((event, was_full && !inner.queue.is_full()))
    }

    /// After [`Shared::take`], without the lock.
    fn tell(&self, room: bool) {
        if let Some(on_room) = self.on_room.as_ref().filter(|_| room) {
            on_room();
        }
    }

    /// Makes the fd, the flag and whoever waits agree with the queue; after every change of it.
    fn show(&self, inner: &mut Inner) {
        self.full.store(inner.queue.is_full(), Ordering::Release);
        let waiting = !inner.queue.is_empty() || inner.woken;
        if self.by_callback {
            if waiting && inner.thread_waits {
                self.work.notify_one();
            }
            return;
        }
        if waiting != inner.raised {
            inner.raised = waiting;
            if waiting { self.fd.raise() } else { self.fd.lower() }
        }
        if waiting && inner.taking {
            self.taker.notify_one();
        }
    }
}

impl LogOutlet for Shared {
    fn push(&self, level: Level, module: &str, line: String) {
        let line = Line { time_us: clock::wall_us(), level, module: module.to_owned(), text: line };
        let mut inner = locked(&self.inner);
        if inner.closing.is_some() {
            return;
        }
        let now_ms = clock::now_ms();
        if let Some(line) = inner.repeats.offer(now_ms, line) {
            inner.keep_line(line);
        }
        inner.keep_summaries(now_ms);
        // Also for a line that was only counted: the thread may have to wake earlier now.
        if inner.thread_waits {
            self.work.notify_one();
        }
    }
}

impl Inner {
    /// Queues a line for the sink; one too many is counted and told of in its place.
    fn keep_line(&mut self, line: Line) {
        // Room for the report of dropped lines too. Where there is no memory for more, the line is one too many.
        if self.lines.len() >= LOG_LINES || self.lines.try_reserve(2).is_err() {
            self.dropped_level = self.dropped_level.map_or(Some(line.level), |level| Some(level.min(line.level)));
            self.lines_dropped += 1;
            return;
        }
        let report = self.drop_report();
        self.lines.extend(report);
        self.lines.push_back(line);
    }

    fn keep_summaries(&mut self, now_ms: u64) {
        while let Some(line) = self.repeats.due(now_ms) {
            self.keep_line(line);
        }
    }

    /// A line that tells of dropped ones, as grave as the gravest of them.
    fn drop_report(&mut self) -> Option<Line> {
        let level = self.dropped_level.take()?;
        let count = std::mem::take(&mut self.lines_dropped);
        let text = format!("{count} log lines dropped: the sink does not take them fast enough");
        Some(Line { time_us: clock::wall_us(), level, module: "log".to_owned(), text })
    }
}

/// Waits on a condition up to a deadline; true when that has passed.
fn wait<'a>(
    condition: &Condvar,
    inner: MutexGuard<'a, Inner>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, Inner>, bool) {
    let Some(deadline) = deadline else {
        return (condition.wait(inner).unwrap_or_else(PoisonError::into_inner), false);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return (inner, true);
    }
    let (inner, result) = condition.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner);
    (inner, result.timed_out())
}

#[cfg(test)]
mod tests;
