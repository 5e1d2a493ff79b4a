//! RRLog: the one dispatcher of this library behind the `log` crate, and the only file that prints.
//!
//! DESIGN. Modules write `log::info!(..)`. Every thread of the library names its server once ([`RRLog::enter`]). A
//! record goes to the [`LogOutlet`] of that server, in the thread that made it, escaped and cut to a bounded line;
//! records of other crates go there only at WARN and above. The outlet only queues; the server's event thread
//! (`server::events`) calls the sinks. Records of threads that belong to no server are dropped, so a Rust host's own
//! records never come to our sinks.
//!
//! A Rust host that has set its own logger before it made the first server keeps that logger: [`RRLog::install`]
//! returns false, all records go to the host's logger under the targets `rrelay::..` at the host's level, and the sinks
//! of servers get nothing (and no `RR_EV_LOG` comes). A host that wants our logger makes its server first; its own
//! `set_logger` then fails. A C host never has a logger here: the library carries its own copy of the facade.
//!
//! The librtmp face has a log of its own, of the whole process. A server may ask for its lines
//! ([`RRLog::take_librtmp`]): they then come to that server's outlet, past the facade, whatever logger the process has.
//!
//! This module does not know servers and starts no thread; [`Repeats`] reads no clock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

pub use log::{Level, LevelFilter};

use crate::config::{LOG_LINE_BYTES, LOG_REPEAT_LINES, LOG_REPEAT_MS};
use crate::mask::push_escaped;
pub(crate) use crate::mask::{escape, mask_key, mask_url};
use crate::sync::locked;

/// The `target`s of records that repeat an event: a host that takes events and log lines can leave these out.
pub(crate) mod told {
    /// A server has failed.
    pub(crate) const SERVER: &str = "rrelay::server";
    /// A stream has failed, or its time has jumped.
    pub(crate) const STREAM: &str = "rrelay::stream";
    /// A session has begun to publish or play, has ended, or is slow.
    pub(crate) const SESSION: &str = "rrelay::session";
    /// A target or source has connected, is lost, or is slow.
    pub(crate) const TARGET: &str = "rrelay::target";

    /// Whether lines of this module repeat an event.
    pub(crate) fn is(module: &str) -> bool {
        matches!(module, "server" | "stream" | "session" | "target")
    }
}

/// The receiver of one server's records.
pub(crate) trait LogOutlet: Send + Sync {
    /// Takes one line: bounded in length, without control characters (so without NUL). Any thread calls `push`, also
    /// those that move media: an outlet must neither block nor log, and drops and counts lines that it cannot keep.
    fn push(&self, level: Level, module: &str, line: String);
}

/// The level for a number of the C API: 0 off, 1 error, 2 warn, 3 info, 4 debug, 5 trace.
pub(crate) fn level_filter(level: i32) -> Option<LevelFilter> {
    usize::try_from(level).ok().and_then(|level| LevelFilter::iter().nth(level))
}

/// One server's place in the dispatcher. Clones share the place, which ends with the last of them.
#[derive(Clone)]
pub(crate) struct LogHandle(Arc<Place>);

struct Place {
    level: Arc<AtomicUsize>,
    outlet: Arc<dyn LogOutlet>,
}

impl LogHandle {
    /// Lets only records up to this level pass from now on.
    pub(crate) fn set_level(&self, level: LevelFilter) {
        self.0.level.store(level as usize, Ordering::Relaxed);
        set_max_level();
    }

    /// Queues a line that was not made by the `log` crate's macros, escaped and cut as records are.
    #[cfg(any(test, feature = "librtmp"))]
    pub(crate) fn line(&self, level: Level, module: &str, text: &str) {
        if !self.wants(level) {
            return;
        }
        let mut line = LineWriter(String::new());
        // Writing fails when the line is full; the part that fits is enough.
        let _ = line.write_str(text);
        self.0.outlet.push(level, module, line.0);
    }

    /// Whether a record of this level is wanted.
    fn wants(&self, level: Level) -> bool {
        level as usize <= self.0.level.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogHandle").field(&self.0.level).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.level.store(0, Ordering::Relaxed);
        set_max_level();
    }
}

/// The levels of all servers; the facade gets the highest, so that unwanted records cost one load.
static LEVELS: Mutex<Vec<Weak<AtomicUsize>>> = Mutex::new(Vec::new());

/// Whether this library's logger is the process's; empty before the first try.
static INSTALLED: OnceLock<bool> = OnceLock::new();

thread_local! {
    static CURRENT: RefCell<Option<LogHandle>> = const { RefCell::new(None) };
    static IN_SINK: Cell<bool> = const { Cell::new(false) };
}

/// The server that takes the lines of the librtmp face.
static LIBRTMP_TAKER: Mutex<Option<Weak<Place>>> = Mutex::new(None);

/// Whether some server may take those lines; in a program where none does, a line costs one load.
static LIBRTMP_TAKEN: AtomicBool = AtomicBool::new(false);

fn set_max_level() {
    let mut levels = locked(&LEVELS);
    let mut max = 0;
    levels.retain(|level| match level.upgrade() {
        Some(level) => {
            max = max.max(level.load(Ordering::Relaxed));
            true
        }
        None => false,
    });
    // A host with its own logger sets the level itself. The lock is still held: of two servers that change their
    // levels at once, neither may leave the facade at the lower one.
    if INSTALLED.get() == Some(&true) {
        log::set_max_level(LevelFilter::iter().nth(max).unwrap_or(LevelFilter::Trace));
    }
}

/// The dispatcher, without state of its own.
#[derive(Debug)]
pub(crate) struct RRLog;

impl RRLog {
    /// Makes this the process's logger at the first call, and returns whether it is. False if the process (a Rust host)
    /// has another logger: see the head of this file.
    pub(crate) fn install() -> bool {
        let installed = *INSTALLED.get_or_init(|| log::set_logger(&Self).is_ok());
        set_max_level();
        installed
    }

    /// Registers a server whose records up to `level` go to `outlet`.
    pub(crate) fn register(outlet: Arc<dyn LogOutlet>, level: LevelFilter) -> LogHandle {
        let cell = Arc::new(AtomicUsize::new(level as usize));
        locked(&LEVELS).push(Arc::downgrade(&cell));
        set_max_level();
        LogHandle(Arc::new(Place { level: cell, outlet }))
    }

    /// Gives this thread's records to that server until the guard is dropped; then to the previous one.
    #[must_use = "records belong to the server only while the guard lives"]
    pub(crate) fn enter(server: &LogHandle) -> Entered {
        Entered::swap(Some(server.clone()))
    }

    /// Gives this thread's records to no server until the guard is dropped. For threads that run the host's code.
    #[must_use = "the thread is out only while the guard lives"]
    pub(crate) fn leave() -> Entered {
        Entered::swap(None)
    }

    /// Sends the lines of the librtmp face to that server from now on, and to no other.
    pub(crate) fn take_librtmp(server: &LogHandle) {
        *locked(&LIBRTMP_TAKER) = Some(Arc::downgrade(&server.0));
        LIBRTMP_TAKEN.store(true, Ordering::Release);
    }

    /// Ends [`take_librtmp`](Self::take_librtmp) of that server: the lines again go where librtmp's own calls say.
    pub(crate) fn leave_librtmp(server: &LogHandle) {
        let mut taker = locked(&LIBRTMP_TAKER);
        if taker.as_ref().is_some_and(|taken| std::ptr::eq(taken.as_ptr(), Arc::as_ptr(&server.0))) {
            *taker = None;
            LIBRTMP_TAKEN.store(false, Ordering::Release);
        }
    }

    /// The server that takes a line which the librtmp face makes in this thread now. `None` inside a log sink: a sink
    /// that logs by librtmp's calls would get its own lines endlessly.
    #[cfg(any(test, feature = "librtmp"))]
    pub(crate) fn librtmp_taker() -> Option<LogHandle> {
        if !LIBRTMP_TAKEN.load(Ordering::Acquire) || IN_SINK.try_with(Cell::get).unwrap_or(true) {
            return None;
        }
        let taker = locked(&LIBRTMP_TAKER).clone();
        taker.and_then(|place| place.upgrade()).map(LogHandle)
    }

    /// Marks this thread as inside a sink while `call` runs.
    pub(crate) fn in_sink<T>(call: impl FnOnce() -> T) -> T {
        struct Out(bool);
        impl Drop for Out {
            fn drop(&mut self) {
                IN_SINK.set(self.0);
            }
        }
        let _out = Out(IN_SINK.replace(true));
        call()
    }

    /// The server that gets this thread's records, to be passed to a thread that this one starts.
    pub(crate) fn current() -> Option<LogHandle> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }
}

/// Puts the earlier server back when it is dropped. It stays in its thread.
#[derive(Debug)]
pub struct Entered {
    before: Option<LogHandle>,
    in_this_thread: PhantomData<*const ()>,
}

impl Entered {
    fn swap(server: Option<LogHandle>) -> Self {
        let before = CURRENT.try_with(|current| current.replace(server)).ok().flatten();
        Self { before, in_this_thread: PhantomData }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        // `replace` returns the old value, which is dropped outside the cell's borrow, because it may be its server's
        // last handle. At the very end of a thread the cell is gone, and nothing has to be restored.
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}

impl log::Log for RRLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let level = metadata.level();
        // Below a warning, records of other libraries in our threads concern only their own insides.
        let concerns = level <= Level::Warn || metadata.target().starts_with(env!("CARGO_PKG_NAME"));
        let wanted = || CURRENT.try_with(|current| current.borrow().as_ref().is_some_and(|server| server.wants(level)));
        concerns && wanted().unwrap_or(false)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Some(server) = Self::current() else { return };
        let mut line = LineWriter(String::new());
        // Formatting fails when the line is full; the part that fits is enough.
        let _ = line.write_fmt(*record.args());
        let module = record.target();
        let module = module.strip_prefix("rrelay::").unwrap_or(module);
        server.0.outlet.push(record.level(), module, line.0);
    }

    fn flush(&self) {}
}

/// Escapes and cuts a text while it is formatted, so that no text needs more memory than a line.
struct LineWriter(String);

impl fmt::Write for LineWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() >= LOG_LINE_BYTES {
                self.0.push_str("...");
                return Err(fmt::Error);
            }
            push_escaped(&mut self.0, c);
        }
        Ok(())
    }
}

/// One log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Wall clock, microseconds since 1970.
    pub time_us: i64,
    /// The line's level.
    pub level: Level,
    /// The module that wrote the line, without the crate's name: `stream::relay`.
    pub module: String,
    /// The line's text.
    pub text: String,
}

impl Line {
    fn same(&self, other: &Self) -> bool {
        self.level == other.level && self.text == other.text && self.module == other.module
    }
}

/// Holds back repeated lines: the first one passes at once; its repeats come as one line with their number, once a
/// second while they go on.
///
/// It reads no clock. For every line the caller calls [`Repeats::offer`], then [`Repeats::due`] until it returns
/// `None`, and `due` again at the time of [`Repeats::next_due_ms`]. At the end it calls [`Repeats::flush`] before the
/// last `due`. `now_ms` must never go back.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// In the order of `since_ms`.
    watched: VecDeque<Watched>,
    /// Summaries that are ready.
    ready: VecDeque<Line>,
}

#[derive(Debug)]
struct Watched {
    since_ms: u64,
    repeats: u64,
    line: Line,
}

impl Watched {
    fn summary(&self) -> Option<Line> {
        (self.repeats > 0).then(|| {
            let mut line = self.line.clone();
            line.text.push_str(&format!("... (repeated {} times)", self.repeats));
            line
        })
    }
}

impl Repeats {
    /// Returns the line if it is new, and `None` if it was counted as a repeat.
    pub(crate) fn offer(&mut self, now_ms: u64, line: Line) -> Option<Line> {
        self.ripen(now_ms);
        if let Some(known) = self.watched.iter_mut().find(|watched| watched.line.same(&line)) {
            known.repeats += 1;
            known.line.time_us = line.time_us;
            return None;
        }
        if self.watched.len() >= LOG_REPEAT_LINES {
            let oldest = self.watched.pop_front();
            self.ready.extend(oldest.and_then(|watched| watched.summary()));
        }
        self.watched.push_back(Watched { since_ms: now_ms, repeats: 0, line: line.clone() });
        Some(line)
    }

    /// The next summary whose second is over.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<Line> {
        self.ripen(now_ms);
        self.ready.pop_front()
    }

    /// Makes all summaries due now.
    pub(crate) fn flush(&mut self) {
        self.ready.extend(self.watched.drain(..).filter_map(|watched| watched.summary()));
    }

    /// When the next summary is due; `None` while nothing was repeated.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        if !self.ready.is_empty() {
            return Some(0);
        }
        self.watched.iter().find(|watched| watched.repeats > 0).map(|watched| watched.since_ms + LOG_REPEAT_MS)
    }

    fn ripen(&mut self, now_ms: u64) {
        while self.watched.front().is_some_and(|first| first.since_ms + LOG_REPEAT_MS <= now_ms) {
            let Some(mut watched) = self.watched.pop_front() else { return };
            if let Some(summary) = watched.summary() {
                self.ready.push_back(summary);
                // The line keeps repeating, so its next second begins without the line itself.
                watched.since_ms = now_ms;
                watched.repeats = 0;
                self.watched.push_back(watched);
            }
        }
    }
}

/// Writes a line to stderr, in one write if the system allows that. It blocks if stderr does; a closed stderr is not an
/// error.
pub(crate) fn print_stderr(line: &Line) {
    let text = format!("{} {:5} {}: {}\n", utc(line.time_us), line.level, line.module, line.text);
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A wall clock time as `2026-01-31T23:59:59.123Z`.
fn utc(time_us: i64) -> String {
    let (day, in_day_ms) = (time_us.div_euclid(86_400_000_000), time_us.rem_euclid(86_400_000_000) / 1000);
    // Days count in eras of 400 years from 1 March of year 0, so that the leap day is the last of its year.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year, month + 3);
    let (year, month) = if month > 12 { (year + 1, month - 12) } else { (year, month) };
    let (hours, minutes) = (in_day_ms / 3_600_000, in_day_ms / 60_000 % 60);
    let (seconds, ms) = (in_day_ms / 1000 % 60, in_day_ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests;
