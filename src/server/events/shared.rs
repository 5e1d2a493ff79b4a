//! The state that producers of events and log lines, their taker and the event thread share: the host's queue with its
//! fd, the waiting lines, the sink, and one lock around them, which is held only for moments.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::queue::Queue;
use crate::config::LOG_LINES;
use crate::error::{Failure, RRError, Result};
use crate::log::{Level, LevelFilter, Line, LogOutlet, Repeats};
use crate::net::clock;
use crate::net::poll::EventFd;
use crate::stream::event::Event;
use crate::sync::locked;

/// The host's callback for events. Only the event thread calls it, with no lock held; the event is borrowed for the
/// call. The callback must not make blocking calls: these return [`RRError::Thread`].
pub type EventFn = Box<dyn Fn(&Event) + Send>;

/// The host's callback for log lines: level, module, line. Called like [`EventFn`].
pub(super) type LogFn = Box<dyn Fn(Level, &str, &str) + Send>;

/// The destination of a server's log lines.
#[derive(Default)]
pub enum LogSink {
    /// Log lines are dropped; nothing is printed unless the host asks for it.
    #[default]
    None,
    /// Log lines go to stderr.
    Stderr,
    /// Log lines go to the host's function.
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

thread_local! {
    pub(super) static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a callback of the host.
pub(crate) fn in_callback() -> bool {
    IN_CALLBACK.try_with(Cell::get).unwrap_or(false)
}

/// Refuses a call that could block; such calls begin with it.
///
/// # Errors
/// [`RRError::Thread`] inside a callback.
pub(crate) fn refuse_in_callback() -> Result<()> {
    if in_callback() {
        return Err(Failure::ours(RRError::Thread, "this call may block and must not be made from a callback"));
    }
    Ok(())
}

/// The state that producers, the taker and the event thread share.
pub(super) struct Shared {
    pub(super) inner: Mutex<Inner>,
    /// Wakes the taker in [`Events::next`](super::Events::next).
    pub(super) taker: Condvar,
    /// Wakes the event thread.
    pub(super) work: Condvar,
    /// Wakes threads that wait until the event thread has returned from a sink, or has ended.
    pub(super) returned: Condvar,
    pub(super) fd: EventFd,
    pub(super) by_callback: bool,
    pub(super) log_events: LevelFilter,
    pub(super) full: AtomicBool,
    pub(super) on_room: Option<Box<dyn Fn() + Send + Sync>>,
}

pub(super) struct Inner {
    pub(super) queue: Queue,
    pub(super) lines: VecDeque<Line>,
    pub(super) repeats: Repeats,
    /// Lines dropped because `lines` was full, since the last line that found room.
    pub(super) lines_dropped: u64,
    /// The most severe level among the dropped lines; `None` if there are none.
    pub(super) dropped_level: Option<Level>,
    pub(super) sink: Sink,
    pub(super) sink_level: LevelFilter,
    /// Whether the fd is readable.
    pub(super) raised: bool,
    pub(super) woken: bool,
    /// A taker is inside [`Events::next`](super::Events::next).
    pub(super) taking: bool,
    /// The event thread sleeps.
    pub(super) thread_waits: bool,
    /// How many wait for the host to be told of several things at once: it gets no event meanwhile.
    pub(super) holds: u32,
    /// No new events or lines are taken; the event thread ends when all are delivered, or at this time.
    pub(super) closing: Option<Instant>,
    /// The server has stopped: the taker of events is told so once it has taken all.
    pub(super) stopped: bool,
    /// The event thread has ended, or was abandoned and calls nothing more.
    pub(super) ended: bool,
}

/// The sink: present, or taken out by the event thread.
pub(super) enum Sink {
    Here(LogSink),
    /// The event thread has taken the sink out; this holds the sink to use afterwards, if the host has changed it
    /// meanwhile.
    Out(Option<LogSink>),
}

impl Shared {
    pub(super) fn push(&self, event: Event) {
        let mut inner = locked(&self.inner);
        if inner.closing.is_none() {
            inner.queue.push(event);
            self.show(&mut inner);
        }
    }

    /// The oldest event, and whether taking it made room in a queue that was full.
    pub(super) fn take(&self, inner: &mut Inner) -> Option<(Event, bool)> {
        if inner.is_held() {
            return None;
        }
        let was_full = inner.queue.is_full();
        let event = inner.queue.take()?;
        self.show(inner);
        Some((event, was_full && !inner.queue.is_full()))
    }

    /// Reports room in the queue; called after [`Shared::take`], without the lock.
    pub(super) fn tell(&self, room: bool) {
        if let Some(on_room) = self.on_room.as_ref().filter(|_| room) {
            on_room();
        }
    }

    /// Updates the fd and the flag, and wakes waiting threads; called after every change of the queue.
    pub(super) fn show(&self, inner: &mut Inner) {
        self.full.store(inner.queue.is_full(), Ordering::Release);
        let waiting = !inner.queue.is_empty() && !inner.is_held() || inner.woken;
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
        // This also applies to a line that was only counted: the thread may have to wake earlier now.
        if inner.thread_waits {
            self.work.notify_one();
        }
    }
}

impl Inner {
    /// Whether the host gets no event at the moment. It gets them all once the server ends.
    pub(super) fn is_held(&self) -> bool {
        self.holds > 0 && !self.stopped && self.closing.is_none()
    }

    /// Queues a line for the sink; a line without room is counted, and a report takes its place.
    pub(super) fn keep_line(&mut self, line: Line) {
        // The report of dropped lines needs room too. A line for which there is no memory is dropped.
        if self.lines.len() >= LOG_LINES || self.lines.try_reserve(2).is_err() {
            self.dropped_level = self.dropped_level.map_or(Some(line.level), |level| Some(level.min(line.level)));
            self.lines_dropped += 1;
            return;
        }
        let report = self.drop_report();
        self.lines.extend(report);
        self.lines.push_back(line);
    }

    pub(super) fn keep_summaries(&mut self, now_ms: u64) {
        while let Some(line) = self.repeats.due(now_ms) {
            self.keep_line(line);
        }
    }

    /// A line that reports dropped lines, at the most severe of their levels.
    pub(super) fn drop_report(&mut self) -> Option<Line> {
        let level = self.dropped_level.take()?;
        let count = std::mem::take(&mut self.lines_dropped);
        let text = format!("{count} log lines dropped: the sink does not take them fast enough");
        Some(Line { time_us: clock::wall_us(), level, module: "log".to_owned(), text })
    }
}

/// Waits on a condition up to a deadline; true if it has passed.
pub(super) fn wait<'a>(
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
