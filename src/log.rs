//! RRLog: the one dispatcher of this library behind the `log` crate, and the only file that prints.
//!
//! DESIGN. Modules write `log::info!(..)`. Every thread of ours says once whose it is ([`RRLog::enter`]); a record
//! goes to the [`LogOutlet`] of that server, in the thread that made it, escaped and cut to a bounded line; records of
//! other crates go there from WARN on. The outlet only queues; sinks are called by the server's event thread (`server::events`). Records of threads that belong to
//! no server are dropped, so a Rust host's own records never come to our sinks.
//!
//! A Rust host that has set its own logger before the first server was made keeps it: [`RRLog::install`] gives false,
//! all records go to the host's logger under the targets `rrelay::..` at the level it set itself, and the sinks of
//! servers get nothing (and no `RR_EV_LOG` comes). One that wants ours instead makes its server first; its own
//! `set_logger` then fails. A C host is never in that position: the library carries its own copy of the facade.
//!
//! The librtmp face has a log of its own, of the whole process. A server may ask for its lines
//! ([`RRLog::take_librtmp`]): they then come to that server's outlet, past the facade, whatever logger the process has.
//!
//! It does not know what a server is, starts no thread, and keeps the clock out of [`Repeats`].

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
pub use crate::mask::{escape, mask_key, mask_url};
use crate::sync::locked;

/// Targets of records about a matter that an event tells of as well: a host that takes both can leave one out.
pub mod told {
    /// That the server has failed.
    pub const SERVER: &str = "rrelay::server";
    /// That a stream has failed, or its time has jumped.
    pub const STREAM: &str = "rrelay::stream";
    /// What a session does, how it has ended, or that it is slow.
    pub const SESSION: &str = "rrelay::session";
    /// What became of a target's or source's connection, or that it is slow.
    pub const TARGET: &str = "rrelay::target";

    /// Whether lines of this module are such.
    pub fn is(module: &str) -> bool {
        matches!(module, "server" | "stream" | "session" | "target")
    }
}

/// Where the records of one server go.
pub trait LogOutlet: Send + Sync {
    /// Takes one line: bounded in length, without control characters (so without NUL). Called by any thread, also by
    /// those that move media: it must neither block nor log. What it cannot keep it drops and counts.
    fn push(&self, level: Level, module: &str, line: String);
}

/// The level behind a number of the C API: 0 off, 1 error, 2 warn, 3 info, 4 debug, 5 trace.
pub fn level_filter(level: i32) -> Option<LevelFilter> {
    usize::try_from(level).ok().and_then(|level| LevelFilter::iter().nth(level))
}

/// One server's place in the dispatcher. Clones are the same place; it ends with the last of them.
#[derive(Clone)]
pub struct LogHandle(Arc<Place>);

struct Place {
    level: Arc<AtomicUsize>,
    outlet: Arc<dyn LogOutlet>,
}

impl LogHandle {
    /// From now on only records up to this level.
    pub fn set_level(&self, level: LevelFilter) {
        self.0.level.store(level as usize, Ordering::Relaxed);
        set_max_level();
    }

    /// Queues a line that was not made by the `log` crate's macros: escaped and cut as those are.
    pub fn line(&self, level: Level, module: &str, text: &str) {
        if !self.wants(level) {
            return;
        }
        let mut line = LineWriter(String::new());
        // Formatting fails where the line is full; what fits is enough.
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

/// The levels of all servers; the facade is told the highest, so that records nobody wants cost one load.
static LEVELS: Mutex<Vec<Weak<AtomicUsize>>> = Mutex::new(Vec::new());

/// Whether ours is the process's logger; empty before the first try.
static INSTALLED: OnceLock<bool> = OnceLock::new();

thread_local! {
    static CURRENT: RefCell<Option<LogHandle>> = const { RefCell::new(None) };
    static IN_SINK: Cell<bool> = const { Cell::new(false) };
}

/// The server that takes the lines of the librtmp face.
static LIBRTMP_TAKER: Mutex<Option<Weak<Place>>> = Mutex::new(None);

/// Whether there may be one: what programs that never asked for it pay.
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
    // Where the host has its own logger the level is the host's affair too. Under the lock: two servers at once
    // must not leave the lower of their levels.
    if INSTALLED.get() == Some(&true) {
        log::set_max_level(LevelFilter::iter().nth(max).unwrap_or(LevelFilter::Trace));
    }
}

/// The dispatcher. It has no state of its own.
#[derive(Debug)]
pub struct RRLog;

impl RRLog {
    /// Makes this the process's logger, once; any later call only tells. False where the process (a Rust host) has
    /// another one: see the head of this file.
    pub fn install() -> bool {
        let installed = *INSTALLED.get_or_init(|| log::set_logger(&Self).is_ok());
        set_max_level();
        installed
    }

    /// A place for a server whose records up to `level` go to `outlet`.
    pub fn register(outlet: Arc<dyn LogOutlet>, level: LevelFilter) -> LogHandle {
        let cell = Arc::new(AtomicUsize::new(level as usize));
        locked(&LEVELS).push(Arc::downgrade(&cell));
        set_max_level();
        LogHandle(Arc::new(Place { level: cell, outlet }))
    }

    /// This thread's records belong to that server until the guard is dropped; then to whom they did before.
    #[must_use = "records belong to the server only while the guard lives"]
    pub fn enter(server: &LogHandle) -> Entered {
        Entered::swap(Some(server.clone()))
    }

    /// This thread's records belong to nobody until the guard is dropped: for while the host's code runs.
    #[must_use = "the thread is out only while the guard lives"]
    pub fn leave() -> Entered {
        Entered::swap(None)
    }

    /// The lines of the librtmp face go to that server from now on; a server that had them before has them no more.
    pub fn take_librtmp(server: &LogHandle) {
        *locked(&LIBRTMP_TAKER) = Some(Arc::downgrade(&server.0));
        LIBRTMP_TAKEN.store(true, Ordering::Release);
    }

    /// The lines of the librtmp face go where librtmp's own calls say, if they went to that server.
    pub fn leave_librtmp(server: &LogHandle) {
        let mut taker = locked(&LIBRTMP_TAKER);
        if taker.as_ref().is_some_and(|taken| std::ptr::eq(taken.as_ptr(), Arc::as_ptr(&server.0))) {
            *taker = None;
            LIBRTMP_TAKEN.store(false, Ordering::Release);
        }
    }

    /// Who takes a line of the librtmp face made in this thread now. Nobody inside a log sink: one that logs by
    /// librtmp's calls would get its own lines without end.
    pub fn librtmp_taker() -> Option<LogHandle> {
        if !LIBRTMP_TAKEN.load(Ordering::Acquire) || IN_SINK.try_with(Cell::get).unwrap_or(true) {
            return None;
        }
        let taker = locked(&LIBRTMP_TAKER).clone();
        taker.and_then(|place| place.upgrade()).map(LogHandle)
    }

    /// This thread is inside a sink for as long as `call` runs.
    pub fn in_sink<T>(call: impl FnOnce() -> T) -> T {
        struct Out(bool);
        impl Drop for Out {
            fn drop(&mut self) {
                IN_SINK.set(self.0);
            }
        }
        let _out = Out(IN_SINK.replace(true));
        call()
    }

    /// Whose records this thread's are, to be handed to a thread it starts.
    pub fn current() -> Option<LogHandle> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }
}

/// Puts back on drop what was before. Stays in its thread.
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
        // The value that is replaced is dropped after the cell is free again: it may be the last of its server. At
        // the very end of a thread the cell is gone, and with it the need.
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}

impl log::Log for RRLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let level = metadata.level();
        // What other libraries say in our threads tells of their insides, until it is a warning.
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
        // Formatting fails where the line is full; what fits is enough.
        let _ = line.write_fmt(*record.args());
        let module = record.target();
        let module = module.strip_prefix("rrelay::").unwrap_or(module);
        server.0.outlet.push(record.level(), module, line.0);
    }

    fn flush(&self) {}
}

/// Escapes and cuts while the text is made, so that no text needs more memory than a line.
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
pub struct Line {
    /// Wall clock, microseconds since 1970.
    pub time_us: i64,
    /// How grave it is.
    pub level: Level,
    /// Where it was written, without the crate's name: `stream::relay`.
    pub module: String,
    /// What it says.
    pub text: String,
}

impl Line {
    fn same(&self, other: &Self) -> bool {
        self.level == other.level && self.text == other.text && self.module == other.module
    }
}

/// Holds back lines that were just said: the first comes at once, its repeats within a second come as one line with
/// their number, and so on for every second they go on.
///
/// Pure. For every line: [`Repeats::offer`], then [`Repeats::due`] until it gives `None`; the same `due` when
/// [`Repeats::next_due_ms`] has come, and [`Repeats::flush`] before it, at the end. `now_ms` never goes back.
#[derive(Debug, Default)]
pub struct Repeats {
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
    /// Gives the line back if it is to be shown, `None` if it was only counted.
    pub fn offer(&mut self, now_ms: u64, line: Line) -> Option<Line> {
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
    pub fn due(&mut self, now_ms: u64) -> Option<Line> {
        self.ripen(now_ms);
        self.ready.pop_front()
    }

    /// Makes all summaries due now.
    pub fn flush(&mut self) {
        self.ready.extend(self.watched.drain(..).filter_map(|watched| watched.summary()));
    }

    /// When the next summary is due; `None` while nothing was repeated.
    pub fn next_due_ms(&self) -> Option<u64> {
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
                // It goes on: the next second of the same line begins, silently.
                watched.since_ms = now_ms;
                watched.repeats = 0;
                self.watched.push_back(watched);
            }
        }
    }
}

/// Writes a line to stderr, in one write where the system lets it. May block where stderr does; a stderr that is
/// closed is no error.
pub(crate) fn print_stderr(line: &Line) {
    let text = format!("{} {:5} {}: {}\n", utc(line.time_us), line.level, line.module, line.text);
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A wall clock time as `2026-01-31T23:59:59.123Z`.
fn utc(time_us: i64) -> String {
    let (day, in_day_ms) = (time_us.div_euclid(86_400_000_000), time_us.rem_euclid(86_400_000_000) / 1000);
    // Counted in eras of 400 years that begin on 1 March of year 0, so that the leap day is a year's last.
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
