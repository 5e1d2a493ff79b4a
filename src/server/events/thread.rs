//! The event thread: the only thread of ours in which the host's code runs, and the only one that writes log lines.
//!
//! It takes log lines and (in callback mode) events in turn, so that a flood of one does not starve the other. It holds
//! no lock while the host's code runs, catches panics of that code, and sleeps when there is nothing to do. A sink or
//! callback that never returns stops only this thread; [`super::Events::stop`] then abandons it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::shared::{EventFn, IN_CALLBACK, Inner, LogSink, Shared, Sink, wait};
use crate::error::Result;
use crate::log::{Line, LogHandle, RRLog, print_stderr, told};
use crate::net::{clock, thread};
use crate::stream::event::{Event, EventKind, flag};
use crate::sync::{locked, panic_text, spawn};

/// A job of the event thread, done without the lock.
enum Job {
    /// Write a line.
    Line(Line, LogSink),
    /// Call the host; true: also report that there is room in the queue again.
    Event(Event, bool),
    End,
}

/// Starts the thread.
pub(super) fn start(shared: Arc<Shared>, log: LogHandle, callback: Option<EventFn>) -> Result<JoinHandle<()>> {
    let log_of_panic = log.clone();
    spawn(
        "eventThread",
        move || {
            thread::block_signals();
            let _log = RRLog::enter(&log);
            let _ended = EndGuard(&shared);
            EventThread { shared: &shared, callback, event_turn: false, sink_is_broken: false }.run();
        },
        move |text| {
            let _log = RRLog::enter(&log_of_panic);
            log::error!("the event thread panicked: {text}");
        },
    )
}

/// Reports the end of the thread, however it ends, and drops the sink.
struct EndGuard<'a>(&'a Shared);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        let mut inner = locked(&self.0.inner);
        inner.ended = true;
        let sink = std::mem::replace(&mut inner.sink, Sink::Here(LogSink::None));
        self.0.returned.notify_all();
        drop(inner);
        // A panic here can no longer be logged.
        let _ = call_host(|| drop(sink));
    }
}

struct EventThread<'a> {
    shared: &'a Shared,
    callback: Option<EventFn>,
    /// Whether an event comes next if a line waits as well.
    event_turn: bool,
    /// The sink panicked at the last line. This is reported once, since otherwise a panic at the report would be
    /// reported again.
    sink_is_broken: bool,
}

impl EventThread<'_> {
    fn run(mut self) {
        loop {
            match self.next_job() {
                Job::Line(line, sink) => self.write(&line, sink),
                Job::Event(event, room) => {
                    self.shared.tell(room);
                    let panicked = self.callback.as_ref().and_then(|callback| match event.kind {
                        EventKind::Log => call_host(|| RRLog::in_sink(|| callback(&event))),
                        _ => call_host(|| callback(&event)),
                    });
                    if let Some(text) = panicked {
                        log::error!("the host's event callback panicked: {text}");
                    }
                }
                Job::End => return,
            }
        }
    }

    /// Sleeps until there is a job. After the deadline of a stop, or when the thread was abandoned, the job is to end.
    fn next_job(&mut self) -> Job {
        let mut inner = locked(&self.shared.inner);
        loop {
            if inner.ended || inner.closing.is_some_and(|deadline| deadline <= Instant::now()) {
                return Job::End;
            }
            if inner.closing.is_some() {
                inner.repeats.flush();
            }
            let now_ms = clock::now_ms();
            inner.keep_summaries(now_ms);

            self.event_turn = !self.event_turn;
            let first = if self.event_turn { self.event_job(&mut inner) } else { None };
            // Events are checked after the lines, because a line may have become an event that nothing else reports to
            // this thread.
            let job = first.or_else(|| self.line_job(&mut inner)).or_else(|| self.event_job(&mut inner));
            if let Some(job) = job {
                return job;
            }
            if inner.closing.is_some() {
                return Job::End;
            }
            let summary =
                inner.repeats.next_due_ms().map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)));
            inner.thread_waits = true;
            inner = wait(&self.shared.work, inner, summary.map(|left| Instant::now() + left)).0;
            inner.thread_waits = false;
        }
    }

    fn event_job(&self, inner: &mut Inner) -> Option<Job> {
        self.callback.as_ref()?;
        self.shared.take(inner).map(|(event, room)| Job::Event(event, room))
    }

    /// The next line for the sink; lines that are also wanted as events become log events.
    fn line_job(&self, inner: &mut Inner) -> Option<Job> {
        while let Some(line) = inner.lines.pop_front().or_else(|| inner.drop_report()) {
            if line.level <= self.shared.log_events {
                inner.queue.push(log_event(&line));
                self.shared.show(inner);
            }
            if line.level > inner.sink_level {
                continue;
            }
            match std::mem::replace(&mut inner.sink, Sink::Out(None)) {
                Sink::Here(LogSink::None) => inner.sink = Sink::Here(LogSink::None),
                Sink::Here(sink) => return Some(Job::Line(line, sink)),
                // This cannot happen: only this thread takes the sink out, and it returns it before it comes here.
                out @ Sink::Out(_) => inner.sink = out,
            }
        }
        None
    }

    /// Writes a line and returns the sink, or drops the sink if it was changed meanwhile.
    fn write(&mut self, line: &Line, sink: LogSink) {
        let write = || match &sink {
            LogSink::None => {}
            LogSink::Stderr => print_stderr(line),
            LogSink::Callback(callback) => callback(line.level, &line.module, &line.text),
        };
        let panicked = call_host(|| RRLog::in_sink(write));
        let mut inner = locked(&self.shared.inner);
        let old = match std::mem::replace(&mut inner.sink, Sink::Here(LogSink::None)) {
            Sink::Out(None) => {
                inner.sink = Sink::Here(sink);
                None
            }
            Sink::Out(Some(new)) => {
                inner.sink = Sink::Here(new);
                Some(sink)
            }
            here @ Sink::Here(_) => {
                inner.sink = here;
                Some(sink)
            }
        };
        self.shared.returned.notify_all();
        drop(inner);
        // The host's code may run when its closure is dropped.
        let dropped = call_host(|| drop(old));
        let panicked = panicked.or(dropped);
        let was_broken = std::mem::replace(&mut self.sink_is_broken, panicked.is_some());
        if let Some(text) = panicked.filter(|_| !was_broken) {
            log::error!("the host's log callback panicked: {text}");
        }
    }
}

/// Runs the host's code: its log records are not taken as ours, blocking calls are refused, and a panic is caught and
/// its text returned.
fn call_host(call: impl FnOnce()) -> Option<String> {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            IN_CALLBACK.set(false);
        }
    }
    let _left = RRLog::leave();
    let _inside = Inside;
    IN_CALLBACK.set(true);
    catch_unwind(AssertUnwindSafe(call)).err().map(|panic| panic_text(panic.as_ref()).to_owned())
}

fn log_event(line: &Line) -> Event {
    let mut event = Event::new(EventKind::Log);
    event.level = line.level as u32;
    event.flags = if told::is(&line.module) { flag::TOLD } else { 0 };
    event.time_us = line.time_us;
    event.text = format!("{}: {}", line.module, line.text).into_bytes();
    event
}
