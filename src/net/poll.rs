//! Waiting: a thread's poller with the means to wake the thread, and the event fd that a host polls.
//!
//! mio is edge-triggered: after a partial read or write the poller does not report the socket again, so owners keep a
//! ready list ([`super::backlog`]).

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use slab::Slab;

use crate::error::{Failure, RRError, Result};
use crate::net::sleep::{Collecting, Sleep};
use crate::net::socket::Socket;
use crate::sync::locked;

/// The token that reports a wake; never one of a task.
const WAKE: Token = Token(usize::MAX);

/// A poller's token holds a task of the thread and a slot of that task.
const SLOT_BITS: u32 = 32;

/// A wait takes in so many events at first, and twice as many after one that was full, up to the second number. So a thread
/// with few connections has little memory for them.
const FEWEST_EVENTS: usize = 16;
const MOST_EVENTS: usize = 1024;

/// The sleep of a poller's thread, and what wakes it.
#[derive(Debug)]
struct Sleeper {
    waker: Waker,
    sleep: Sleep,
    /// The numbers of tasks: a number is in use as long as its [`Wake`] exists.
    numbers: Mutex<Slab<()>>,
    /// How often the thread has come to its wait; [`ENDED`] once it waits no more.
    waits: AtomicU64,
}

/// The count of a thread that has ended.
const ENDED: u64 = u64::MAX;

impl Sleeper {
    fn call(&self, task: usize) {
        if self.sleep.call(task) {
            self.wake();
        }
    }

    fn wake(&self) {
        // This fails only when the counter is full, and then the thread is woken already.
        let _ = self.waker.wake();
    }
}

/// A task whose work for new media any thread can do.
pub(crate) trait MediaTurn: fmt::Debug + Send + Sync {
    /// Does it, if the task is free and leaves it to other threads. False if the task is to be called. If the caller comes
    /// again, it does so when the task has collected for its time, which is set by [`Wake::keep`].
    fn media_turn(&self, comes_again: bool) -> bool;
}

/// Calls one task of the thread that owns the [`Poller`]: the task gets a turn soon, and the thread is woken if it
/// sleeps. While the thread is awake a call makes no system call. No call is lost.
#[derive(Debug)]
pub(crate) struct Wake {
    sleeper: Arc<Sleeper>,
    task: usize,
    nudged: AtomicBool,
    collecting: Collecting,
    /// The task, from when it has come to its loop.
    seat: OnceLock<Weak<dyn MediaTurn>>,
}

impl Wake {
    fn new(sleeper: &Arc<Sleeper>) -> Result<Arc<Self>> {
        let task = {
            let mut numbers = locked(&sleeper.numbers);
            if numbers.len() >= sleeper.sleep.room() {
                return Err(Failure::ours(RRError::Limit, "the event loop has as many tasks as it can have"));
            }
            numbers.insert(())
        };
        Ok(Arc::new(Self {
            sleeper: Arc::clone(sleeper),
            task,
            nudged: AtomicBool::new(false),
            collecting: Collecting::new(),
            seat: OnceLock::new(),
        }))
    }

    /// Lets callers do the task's work for new media. Called once, when the task comes to its loop.
    pub(crate) fn seat_at(&self, seat: Weak<dyn MediaTurn>) {
        let _ = self.seat.set(seat);
    }

    /// Creates the means to call another task of the same thread.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the thread has as many tasks as it can have.
    pub(crate) fn sibling(&self) -> Result<Arc<Self>> {
        Self::new(&self.sleeper)
    }

    /// The task's number among those of its thread; no other task has it as long as this value lives.
    pub(crate) fn task(&self) -> usize {
        self.task
    }

    /// Calls the task for something other than media.
    pub(crate) fn wake(&self) {
        self.nudged.store(true, Ordering::Release);
        self.sleeper.call(self.task);
    }

    /// Calls the task for media, unless it is collecting (`merge_ms`).
    pub(crate) fn wake_for_data(&self) {
        if !self.collecting.holds() {
            self.sleeper.call(self.task);
        }
    }

    /// Has the task's work for new media done: by the calling thread if the task's thread sleeps, or is the calling thread
    /// (`is_here`), and the task is free and leaves it to others; otherwise the task is called as by
    /// [`Self::wake_for_data`].
    ///
    /// A caller that comes again, always in the same thread, may keep the time at which the task has collected: it is returned
    /// if the task's own thread does not keep it. Then the caller calls this again at that time, or [`Self::leave`] before it.
    pub(crate) fn turn_for_data(&self, is_here: bool, comes_again: bool, now_us: u64) -> Option<u64> {
        let turn = || self.seat.get().and_then(Weak::upgrade).is_some_and(|seat| seat.media_turn(comes_again));
        let can = is_here || self.sleeper.sleep.is_asleep();
        let (kept_us, is_called) = self.collecting.turn_for_data(can, comes_again, now_us, turn);
        if is_called {
            self.sleeper.call(self.task);
        }
        kept_us
    }

    /// When a caller gives the task, which collects, its next turn, monotonic us; `None` if the task's own thread keeps that
    /// time.
    pub(crate) fn kept_us(&self) -> Option<u64> {
        self.collecting.kept_us()
    }

    /// Sets that time. Only a turn that the caller has asked for sets one; the task itself, and the caller, may take it back.
    pub(crate) fn keep(&self, at_us: Option<u64>) {
        self.collecting.keep(at_us);
    }

    /// The caller keeps the task's time no longer: the task is called, and its own thread keeps it.
    pub(crate) fn leave(&self) {
        if self.collecting.leave() {
            self.sleeper.call(self.task);
        }
    }

    /// The task is about to look for media: what has come before needs no other look.
    pub(crate) fn look_for_data(&self) {
        self.collecting.look_for_data();
    }

    /// Whether [`Self::wake`] was called since the last check: orders may wait.
    pub(crate) fn take_nudge(&self) -> bool {
        // Nearly always false, and then no locked instruction is needed.
        self.nudged.load(Ordering::Relaxed) && self.nudged.swap(false, Ordering::AcqRel)
    }

    /// Calls the task, to see whether its thread goes on: see [`Pulse::has_passed`].
    pub(crate) fn pulse(&self) -> Pulse {
        let waits = self.sleeper.waits.load(Ordering::Acquire);
        self.sleeper.call(self.task);
        Pulse { sleeper: Arc::clone(&self.sleeper), waits }
    }

    /// Whether the thread sleeps until something comes. The caller is the only one who calls its tasks.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn finds_sleep(&self) -> bool {
        // In this order: a thread that has calls left does not sleep on, and without new ones it has none left later.
        self.sleeper.sleep.has_no_calls() && self.sleeper.sleep.is_asleep()
    }

    /// Sets whether [`Self::wake_for_data`] leaves the task asleep; the owner calls this before it waits. True if media
    /// came while the task was collecting, after it has looked for some ([`Self::look_for_data`]), and it no longer collects.
    pub(crate) fn set_collecting(&self, on: bool) -> bool {
        self.collecting.set(on)
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        locked(&self.sleeper.numbers).try_remove(self.task);
    }
}

/// How far a thread was when somebody looked whether it goes on.
#[derive(Debug)]
pub(crate) struct Pulse {
    sleeper: Arc<Sleeper>,
    waits: u64,
}

impl Pulse {
    /// Whether the thread has come to its wait since, or has ended. One that slept has been woken for that.
    pub(crate) fn has_passed(&self) -> bool {
        self.waits == ENDED || self.sleeper.waits.load(Ordering::Acquire) != self.waits
    }
}

/// A ready socket: the slot under which it was added, and its readiness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The slot given to [`Watch::add`].
    pub slot: usize,
    /// Bytes, an end or an error wait to be read.
    pub readable: bool,
    /// The peer has sent its last byte: reading must go on to the end, because the poller does not report it again.
    pub closed: bool,
    /// The socket takes bytes again.
    pub writable: bool,
}

impl Ready {
    /// Adds a later report of the same socket.
    pub(crate) fn merge(&mut self, later: Self) {
        self.readable |= later.readable;
        self.closed |= later.closed;
        self.writable |= later.writable;
    }
}

/// A poller as one task of its thread sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch<'a> {
    registry: &'a Registry,
    task: usize,
}

impl Watch<'_> {
    fn token(self, slot: usize) -> Token {
        Token(self.task << SLOT_BITS | slot)
    }

    /// Watches a socket for both directions under `slot`.
    ///
    /// # Errors
    /// [`RRError::Io`] where the system refuses.
    pub(crate) fn add(self, socket: &mut Socket, slot: usize) -> Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(socket.source(), self.token(slot), both).map_err(|error| Failure::io("register", &error))
    }

    /// Stops watching. Call this before the socket is closed or handed over: if the host holds a duplicate, events
    /// would keep coming.
    pub(crate) fn remove(self, socket: &mut Socket) {
        // A socket that was never added gives an error, which changes nothing.
        let _ = self.registry.deregister(socket.source());
    }

    /// Watches a socket of another kind for both directions.
    ///
    /// # Errors
    /// [`RRError::Io`] where the system refuses.
    pub(crate) fn add_raw(self, socket: &impl AsRawFd, slot: usize) -> Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = self.registry.register(&mut SourceFd(&socket.as_raw_fd()), self.token(slot), both);
        registered.map_err(|error| Failure::io("register", &error))
    }

    /// Watches a descriptor that is no socket, for reading: the fd of a process is readable once the process has ended.
    ///
    /// # Errors
    /// [`RRError::Io`] where the system refuses.
    pub(crate) fn add_fd(self, fd: &impl AsRawFd, slot: usize) -> Result<()> {
        let registered = self.registry.register(&mut SourceFd(&fd.as_raw_fd()), self.token(slot), Interest::READABLE);
        registered.map_err(|error| Failure::io("register", &error))
    }

    /// Stops watching such a descriptor.
    pub(crate) fn remove_fd(self, fd: &impl AsRawFd) {
        let _ = self.registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
    }

    /// Watches a listening socket.
    ///
    /// # Errors
    /// [`RRError::Io`] where the system refuses.
    pub(crate) fn add_listener(self, listener: &mut mio::net::TcpListener, slot: usize) -> Result<()> {
        self.registry
            .register(listener, self.token(slot), Interest::READABLE)
            .map_err(|error| Failure::io("register", &error))
    }

    /// Stops watching a listening socket.
    pub(crate) fn remove_listener(self, listener: &mut mio::net::TcpListener) {
        let _ = self.registry.deregister(listener);
    }
}

/// One thread's poller. Only that thread waits; any thread may use [`Wake`].
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
    sleeper: Arc<Sleeper>,
}

impl Poller {
    /// A poller whose thread can have at least this many tasks.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the process has no fd left.
    pub(crate) fn new(tasks: usize) -> Result<Self> {
        let failed = |error: io::Error| Failure::ours(RRError::Limit, format!("no poller: {error}"));
        let poll = Poll::new().map_err(failed)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(failed)?;
        let (sleep, numbers, waits) = (Sleep::with_room(tasks), Mutex::default(), AtomicU64::new(0));
        let sleeper = Arc::new(Sleeper { waker, sleep, numbers, waits });
        Ok(Self { poll, events: Events::with_capacity(FEWEST_EVENTS), sleeper })
    }

    /// Creates the means to call one task of this poller's thread.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the thread has as many tasks as it can have.
    pub(crate) fn wake(&self) -> Result<Arc<Wake>> {
        Wake::new(&self.sleeper)
    }

    /// The poller as this task of the thread sees it; tasks have numbers below 2^31.
    pub(crate) fn watch(&self, task: usize) -> Watch<'_> {
        Watch { registry: self.poll.registry(), task }
    }

    /// Waits until something is ready, a task is called or `timeout` has passed; [`Self::ready`] and
    /// [`Self::take_calls`] then say which.
    ///
    /// # Errors
    /// [`RRError::Io`] where the system refuses; an interrupted wait is not an error.
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> Result<()> {
        let room = self.events.capacity();
        if room < MOST_EVENTS && self.events.iter().count() == room {
            self.events = Events::with_capacity(2 * room);
        }
        // No other thread writes it.
        let waits = self.sleeper.waits.load(Ordering::Relaxed);
        self.sleeper.waits.store(waits + 1, Ordering::Release);
        let timeout = if self.sleeper.sleep.begins() { timeout } else { Some(Duration::ZERO) };
        let polled = self.poll.poll(&mut self.events, timeout);
        self.sleeper.sleep.ends();
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(Failure::io("poll", &error)),
            _ => Ok(()),
        }
    }

    /// Lets every wait from now on fail, as where the host closes descriptors that are not its own.
    #[cfg(all(test, not(loom)))]
    #[allow(unsafe_code)] // std has no dup2
    pub(crate) fn spoil(&self) {
        let other = std::fs::File::open("/dev/null").expect("it is there");
        // SAFETY: both descriptors are open, and the poller's stays the poller's.
        assert!(unsafe { libc::dup2(other.as_raw_fd(), self.poll.as_raw_fd()) } >= 0);
    }

    /// Takes the pending calls: `each` gets the number of every called task once.
    pub(crate) fn take_calls(&self, each: impl FnMut(usize)) {
        self.sleeper.sleep.take_calls(each);
    }

    /// The ready sockets of the last wait, each with its task's number.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (usize, Ready)> {
        self.events.iter().filter(|event| event.token() != WAKE).map(|event| {
            let Token(token) = event.token();
            let ready = Ready {
                slot: token & ((1 << SLOT_BITS) - 1),
                readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                closed: event.is_read_closed() || event.is_error(),
                writable: event.is_writable() || event.is_error(),
            };
            (token >> SLOT_BITS, ready)
        })
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.sleeper.waits.store(ENDED, Ordering::Release);
    }
}

/// A counter the host can poll: readable while raised.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// # Errors
    /// [`RRError::Limit`] where the process has no fd left.
    #[allow(unsafe_code)] // std has no eventfd
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: eventfd takes two integers and gives a new descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Failure::ours(RRError::Limit, format!("eventfd: {}", io::Error::last_os_error())));
        }
        // SAFETY: the descriptor is new, open and ours alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The descriptor, for polling only.
    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes the descriptor readable.
    #[allow(unsafe_code)] // a write to an fd that is no File
    pub(crate) fn raise(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer is 8 bytes long, as eventfd wants; a full counter gives EAGAIN and is readable anyway.
        unsafe { libc::write(self.raw(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes the descriptor unreadable.
    #[allow(unsafe_code)] // a read from an fd that is no File
    pub(crate) fn lower(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the buffer is 8 bytes long, as eventfd wants; an empty counter gives EAGAIN at once.
        unsafe { libc::read(self.raw(), count.as_mut_ptr().cast(), count.len()) };
    }
}

/// Whether an fd becomes writable, or fails, within `wait`.
pub(crate) fn is_writable(fd: &impl AsRawFd, wait: Duration) -> bool {
    let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    is_ready(fd.as_raw_fd(), libc::POLLOUT, wait_ms)
}

/// Whether an fd becomes readable, or fails, within `wait_ms`.
pub(crate) fn is_readable(fd: RawFd, wait_ms: i32) -> bool {
    is_ready(fd, libc::POLLIN, wait_ms)
}

/// Whether the other end of a socket is closed.
pub(crate) fn is_hung_up(fd: RawFd) -> bool {
    is_ready(fd, 0, 0)
}

#[allow(unsafe_code)] // std has no poll
fn is_ready(fd: RawFd, events: libc::c_short, wait_ms: i32) -> bool {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd that lives through the call, and its number.
    unsafe { libc::poll(&mut poll, 1, wait_ms) == 1 }
}
