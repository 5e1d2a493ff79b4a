//! What a worker tells its server, on its way: messages wait here, and a thread of their own writes them, so that a server that is
//! slow to read delays nobody. One that stands still, under a debugger, is waited for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::super::wire::{LAST_MESSAGES, ToServer, cut};
use crate::error::{Failure, RRError, Result};
use crate::log::{Level, LevelFilter, LogHandle, LogOutlet, RRLog, level_filter};
use crate::net::fd_channel::FdChannel;
use crate::sync::{locked, spawn};

/// Most messages that wait for the server, beside the last ones of those who end while nothing is told; log lines find no room
/// before.
pub(super) const WAITING: usize = 64 * 1024;
const WAITING_LINES: usize = 1024;

/// With so many waiting, what is told again anyway is not told.
const BEHIND: usize = 1024;

/// How often it is tried again where the system carries no more descriptors: those of other processes may be on their way to a
/// server that stands still.
const AGAIN: Duration = Duration::from_millis(20);

/// Most messages of a description that wait; the main thread waits for room.
const DESCRIBING: usize = 64;

/// What is on its way to the server.
enum Outgoing {
    Message {
        kind: u8,
        body: Vec<u8>,
        fd: Option<OwnedFd>,
    },
    /// What comes behind this waits, and the description goes, until the end of the pause.
    Pause,
    Resume,
    /// There is another server.
    Server(Arc<FdChannel>),
    End,
}

/// What waits for the channel, and the thread that writes it there.
#[derive(Clone)]
pub(super) struct Outbox(Arc<OutboxState>);

struct OutboxState {
    messages: Sender<Outgoing>,
    /// The way of a description, past the messages.
    description: Sender<Outgoing>,
    /// How many messages may wait.
    room: AtomicUsize,
    is_overrun: AtomicBool,
    lines_lost: AtomicU64,
    log: OnceLock<LogHandle>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Outbox {
    /// Starts the thread; log lines up to this level come here.
    pub(super) fn start(channel: &Arc<FdChannel>, log_level: u32) -> Result<Self> {
        let ((messages, waiting), (description, described)) = (unbounded(), bounded(DESCRIBING));
        let state = OutboxState {
            messages,
            description,
            room: AtomicUsize::new(WAITING),
            is_overrun: AtomicBool::new(false),
            lines_lost: AtomicU64::new(0),
            log: OnceLock::new(),
            writer: Mutex::default(),
        };
        let this = Self(Arc::new(state));
        RRLog::install();
        let outlet = Arc::new(Lines(Arc::downgrade(&this.0)));
        let _ = this.0.log.set(RRLog::register(outlet, level_of(log_level)));
        let (channel, overrun) = (Arc::clone(channel), Arc::downgrade(&this.0));
        let fails = move |_: &str| {
            if let Some(state) = overrun.upgrade() {
                state.is_overrun.store(true, Ordering::Release);
            }
        };
        let writer = spawn("reportThread", move || write(channel, &waiting, &described), fails)?;
        *locked(&this.0.writer) = Some(writer);
        Ok(this)
    }

    /// Sends a message behind those that wait.
    pub(super) fn push(&self, kind: u8, body: Vec<u8>, fd: Option<OwnedFd>) {
        let room = self.0.room.load(Ordering::Relaxed);
        if self.0.messages.len() >= room || self.0.messages.send(Outgoing::Message { kind, body, fd }).is_err() {
            self.misses();
        }
    }

    /// Notes that something could not be told.
    pub(super) fn misses(&self) {
        self.0.is_overrun.store(true, Ordering::Release);
    }

    /// Whether so much waits that what is told again anyway should not be told now.
    pub(super) fn is_behind(&self) -> bool {
        self.0.messages.len() >= BEHIND
    }

    /// Lets the messages behind this wait. So many sessions and targets may end meanwhile.
    pub(super) fn pause(&self, had: usize) {
        self.0.room.store(WAITING + had * LAST_MESSAGES, Ordering::Relaxed);
        // Without the thread nothing goes anyway.
        let _ = self.0.messages.send(Outgoing::Pause);
    }

    /// Sends a part of a description, while messages wait.
    pub(super) fn describe(&self, message: &ToServer<'_>) -> Result<()> {
        let (kind, body) = message.encode()?;
        self.send_past(Outgoing::Message { kind, body, fd: None })
    }

    /// Lets messages go again.
    ///
    /// # Errors
    /// [`RRError::Closed`] if the server has gone.
    pub(super) fn resume(&self) -> Result<()> {
        self.send_past(Outgoing::Resume)
    }

    fn send_past(&self, outgoing: Outgoing) -> Result<()> {
        self.0.description.send(outgoing).map_err(|_| Failure::ours(RRError::Closed, "the server has gone"))
    }

    /// From here on the server is at the other end of this channel, and hears what it is told once that goes again.
    ///
    /// # Errors
    /// [`RRError::Closed`] if the thread has ended.
    pub(super) fn serve(&self, channel: &Arc<FdChannel>) -> Result<()> {
        self.send_past(Outgoing::Server(Arc::clone(channel)))
    }

    /// Whether all could be told.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the server does not take its messages.
    pub(super) fn check(&self) -> Result<()> {
        if self.0.is_overrun.load(Ordering::Acquire) {
            return Err(Failure::ours(RRError::Limit, "the server does not take its messages"));
        }
        Ok(())
    }

    /// Sends the rest, and ends the thread.
    pub(super) fn finish(&self) {
        let _ = self.0.messages.send(Outgoing::End);
        let writer = locked(&self.0.writer).take();
        let _ = writer.map(JoinHandle::join);
    }

    /// Ends the thread; what waits is not told to anybody.
    pub(super) fn abandon(&self) {
        let _ = self.send_past(Outgoing::End);
        let writer = locked(&self.0.writer).take();
        let _ = writer.map(JoinHandle::join);
    }

    /// Sets the level of log lines.
    pub(super) fn set_level(&self, level: u32) {
        if let Some(log) = self.0.log.get() {
            log.set_level(level_of(level));
        }
    }

    /// Lets log lines of the calling thread come here, for the rest of its life.
    pub(super) fn enter_thread(&self) {
        if let Some(log) = self.0.log.get() {
            // The guard is kept for that.
            std::mem::forget(RRLog::enter(log));
        }
    }

    /// Tells how many log lines found no room.
    pub(super) fn tell_lost(&self) {
        let lost = self.0.lines_lost.swap(0, Ordering::Relaxed);
        if lost > 0
            && let Ok((kind, body)) = ToServer::LinesLost(lost).encode()
        {
            self.push(kind, body, None);
        }
    }
}

fn level_of(level: u32) -> LevelFilter {
    i32::try_from(level).ok().and_then(level_filter).unwrap_or(LevelFilter::Trace)
}

/// Writes what waits until the end, or until the server takes nothing any more. What waits for a server that has gone, which
/// the main thread notices, is dropped.
fn write(channel: Arc<FdChannel>, waiting: &Receiver<Outgoing>, described: &Receiver<Outgoing>) {
    let (mut from, mut server) = (waiting, Some(channel));
    while let Ok(outgoing) = from.recv() {
        match outgoing {
            Outgoing::Message { kind, body, fd } => {
                let Some(channel) = &server else { continue };
                let fd = fd.as_ref().map(AsFd::as_fd);
                match send(channel, kind, &body, fd) {
                    Ok(()) => {}
                    Err(failure) if failure.kind == RRError::Closed => server = None,
                    Err(_) => return,
                }
            }
            Outgoing::Server(channel) => server = Some(channel),
            Outgoing::Pause => from = described,
            Outgoing::Resume => from = waiting,
            Outgoing::End => return,
        }
    }
}

/// Sends a message, however long the server takes.
fn send(channel: &FdChannel, kind: u8, body: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    loop {
        match channel.send(kind, body, fd, u64::MAX) {
            // Nothing of it has gone.
            Err(failure) if failure.kind == RRError::Limit && fd.is_some() => std::thread::sleep(AGAIN),
            sent => return sent,
        }
    }
}

/// Where log lines go.
struct Lines(Weak<OutboxState>);

impl LogOutlet for Lines {
    fn push(&self, level: Level, module: &str, line: String) {
        let Some(state) = self.0.upgrade() else { return };
        let message = ToServer::Line { level: level as u32, module: cut(module), text: cut(&line) };
        match message.encode() {
            Ok((kind, body)) if state.messages.len() < WAITING_LINES => Outbox(state).push(kind, body, None),
            _ => drop(state.lines_lost.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
impl Outbox {
    /// One whose thread runs, and the server's end of its channel.
    pub(super) fn started() -> (Self, FdChannel) {
        let (here, there) = FdChannel::pair().unwrap();
        (Self::start(&Arc::new(here), 0).unwrap(), FdChannel::adopt(there).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock;

    #[test]
    fn a_server_that_does_not_read_gets_all_later_and_nothing_old_beside() {
        let (outbox, there) = Outbox::started();
        assert!(!outbox.is_behind());
        // More than the socket takes.
        let (count, bytes) = (BEHIND + 100, 16 * 1024);
        (0..count).for_each(|_| outbox.push(1, vec![7; bytes], None));
        assert!(outbox.is_behind() && outbox.check().is_ok());
        for _ in 0..count {
            let message = there.receive(|_| bytes, clock::now_ms() + 30_000).unwrap().unwrap();
            assert_eq!(message.body.len(), bytes);
        }
        assert!(!outbox.is_behind() && outbox.check().is_ok());
    }
}
