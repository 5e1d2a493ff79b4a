//! Waiting: a thread's poller with the means to wake it, and the event fd a host polls.
//!
//! mio is edge-triggered: after a partial read or write nobody wakes the owner again, so owners keep a ready list.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::error::{Failure, RRError, Result};
use crate::net::socket::Socket;

/// The token that reports a wake; never one of a task.
const WAKE: Token = Token(usize::MAX);

/// A poller's token holds a task of the thread and a slot of that task.
const SLOT_BITS: u32 = 32;

/// Where the thread of a poller is: whoever wants it awake looks here first, and makes no system call where it is.
#[derive(Debug)]
struct Sleeper {
    waker: Waker,
    asleep: AtomicBool,
}

impl Sleeper {
    fn wake(&self) {
        // A wake fails only when its counter is full, and then the thread is woken already.
        let _ = self.waker.wake();
    }
}

/// Wakes the thread that owns the [`Poller`], for one task of that thread. Cheap where the thread is not asleep: no
/// system call.
#[derive(Debug)]
pub(crate) struct Wake {
    sleeper: Arc<Sleeper>,
    nudged: AtomicBool,
    collecting: AtomicBool,
    elsewhere: AtomicBool,
}

impl Wake {
    fn new(sleeper: &Arc<Sleeper>) -> Self {
        let off = || AtomicBool::new(false);
        Self { sleeper: Arc::clone(sleeper), nudged: off(), collecting: off(), elsewhere: off() }
    }

    /// The means to wake another task of the same thread.
    #[cfg_attr(not(test), allow(dead_code, reason = "several tasks on one loop are for tests so far"))]
    pub(crate) fn sibling(&self) -> Arc<Self> {
        Arc::new(Self::new(&self.sleeper))
    }

    /// Something other than media waits for the task.
    pub(crate) fn wake(&self) {
        self.nudged.store(true, Ordering::Release);
        // Orders what the caller published before the look at `asleep`; pairs with the fence in `Poller::poll`.
        fence(Ordering::SeqCst);
        if self.sleeper.asleep.swap(false, Ordering::SeqCst) {
            self.sleeper.wake();
        }
    }

    /// Media waits for the task; one that collects (`merge_ms`) is not disturbed.
    pub(crate) fn wake_for_data(&self) {
        fence(Ordering::SeqCst);
        // Where a stale `collecting` is seen the fence came before that of `Poller::poll`, whose look for work then
        // sees the media.
        if !self.collecting.load(Ordering::Relaxed)
            && self.sleeper.asleep.compare_exchange(true, false, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        {
            self.sleeper.wake();
        }
    }

    /// Media waits where the task does not look before it sleeps, as in another stream's log; otherwise as
    /// [`Self::wake_for_data`].
    pub(crate) fn wake_for_data_elsewhere(&self) {
        self.elsewhere.store(true, Ordering::Release);
        self.wake_for_data();
    }

    /// Whether [`Self::wake_for_data_elsewhere`] was called since [`Self::take_elsewhere`]: the task has work.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere.load(Ordering::Acquire)
    }

    /// The task looks everywhere now.
    pub(crate) fn take_elsewhere(&self) {
        // Nearly always false, so mostly without a locked instruction.
        if self.is_elsewhere() {
            self.elsewhere.store(false, Ordering::SeqCst);
        }
    }

    /// Whether [`Self::wake`] was called since [`Self::take_nudge`].
    pub(crate) fn is_nudged(&self) -> bool {
        self.nudged.load(Ordering::Acquire)
    }

    /// Whether [`Self::wake`] was called since the last look: orders may wait.
    pub(crate) fn take_nudge(&self) -> bool {
        // Nearly always false, so mostly without a locked instruction.
        self.nudged.load(Ordering::Relaxed) && self.nudged.swap(false, Ordering::AcqRel)
    }

    /// Says whether [`Self::wake_for_data`] is to leave the task asleep; by the owner, before it waits.
    pub(crate) fn set_collecting(&self, on: bool) {
        self.collecting.store(on, Ordering::Relaxed);
    }
}

/// A ready socket: the slot under which it was added, and its readiness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The slot given to [`Watch::add`].
    pub slot: usize,
    /// Bytes, an end or an error wait to be read.
    pub readable: bool,
    /// The peer has sent its last byte: reading must go on to the end, for nobody tells of it again.
    pub closed: bool,
    /// The socket takes bytes again.
    pub writable: bool,
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

    /// Stops watching; must come before the socket is closed or handed over (a duplicate in the host would keep
    /// events coming).
    pub(crate) fn remove(self, socket: &mut Socket) {
        // A socket that was never added gives an error, which changes nothing.
        let _ = self.registry.deregister(socket.source());
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

/// One thread's poller. Only that thread waits; [`Wake`] may be used from any.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
    sleeper: Arc<Sleeper>,
}

impl Poller {
    /// # Errors
    /// [`RRError::Limit`] where the process has no fd left.
    pub(crate) fn new() -> Result<Self> {
        let failed = |error: io::Error| Failure::ours(RRError::Limit, format!("no poller: {error}"));
        let poll = Poll::new().map_err(failed)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(failed)?;
        let sleeper = Arc::new(Sleeper { waker, asleep: AtomicBool::new(false) });
        Ok(Self { poll, events: Events::with_capacity(256), sleeper })
    }

    /// The means to wake one of the tasks of this poller's thread.
    pub(crate) fn wake(&self) -> Arc<Wake> {
        Arc::new(Wake::new(&self.sleeper))
    }

    /// The poller as this task of the thread sees it; tasks have numbers below 2^31.
    pub(crate) fn watch(&self, task: usize) -> Watch<'_> {
        Watch { registry: self.poll.registry(), task }
    }

    /// Waits until something is ready, somebody wakes the thread or `timeout` has passed; [`Self::ready`] then says
    /// what is. `has_work` is asked after wakers were told that the thread sleeps: true makes the wait a mere look.
    ///
    /// # Errors
    /// [`RRError::Io`] where the system refuses; an interrupted wait is not an error.
    pub(crate) fn poll(&mut self, timeout: Option<Duration>, has_work: impl FnOnce() -> bool) -> Result<()> {
        self.sleeper.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let timeout = if has_work() { Some(Duration::ZERO) } else { timeout };
        let polled = self.poll.poll(&mut self.events, timeout);
        self.sleeper.asleep.store(false, Ordering::SeqCst);
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(Failure::io("poll", &error)),
            _ => Ok(()),
        }
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

/// Whether something can be written to an fd within `wait`, or it has failed.
#[allow(unsafe_code)] // std has no poll
#[cfg(feature = "librtmp")]
pub(crate) fn is_writable(fd: &impl AsRawFd, wait: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one pollfd that lives through the call, and its number.
    unsafe { libc::poll(&mut poll, 1, wait_ms) == 1 }
}

/// Whether an fd is readable within `timeout_ms`, as a host's poll(2) sees it.
#[cfg(test)]
#[allow(unsafe_code)] // std has no poll
pub(crate) fn readable(fd: RawFd, timeout_ms: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd that lives through the call, and its number.
    unsafe { libc::poll(&mut poll, 1, timeout_ms) == 1 }
}
