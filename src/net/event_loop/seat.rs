//! A seat of a loop: a task with the loop's data about it, and the lock under which the task has its turns.
//!
//! A task has its rounds in its loop's thread. While that thread sleeps, another one may do the task's work for new media
//! ([`Task::on_media`]), and so may another task of the same loop in its own turn: it takes the lock if that is free, and
//! never waits for it. Only the loop's thread waits, and it holds no other lock then. What is left to do after that, or
//! comes to be due before the loop's thread wakes by itself, that thread is called for.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, TryLockError, Weak};

use crossbeam::channel::{Receiver, Sender};

use super::deadlines::NEVER;
use super::{Io, MESSAGES, OnPanic, Task, scratch};
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::poll::{MediaTurn, Ready, Wake, Watch};
use crate::sync::locked;

/// A task, and the loop's data about it.
pub(super) struct Seat<T: Task> {
    task: T,
    inbox: Receiver<T::Message>,
    /// The inbox may have messages. Whoever sends one calls the task afterwards ([`Wake::wake`]), so a round without such a
    /// call does not look.
    has_mail: bool,
    /// The task has taken messages, and the loop does not know it yet.
    had_mail: bool,
    /// The task was called so, and has had no tick since.
    nudged: bool,
    wake: Arc<Wake>,
    backlog: Backlog,
    /// For this round: the connections that get a turn without a report of the poller.
    turns: Vec<usize>,
    next_tick: NextTick,
    /// When the task's next round is due without a call, as the loop knows it.
    due_us: u64,
    /// The time of its last turn for media in another thread.
    media_us: u64,
    /// It has panicked in such a turn: the panic goes on in its own thread.
    panic: Option<Box<dyn Any + Send>>,
    /// The last value given to the wake.
    is_collecting: bool,
    on_panic: OnPanic,
    /// Dropped after the task, which ends [`Running::wait`](super::Running::wait).
    _ends: Option<Sender<Infallible>>,
}

/// When a task has its next tick: with a round that it has between these two times, or at the latter.
#[derive(Debug, Default)]
pub(super) struct NextTick {
    due_us: u64,
    /// The thread is woken for the tick then. Where media flows, a round comes before.
    latest_us: u64,
}

impl NextTick {
    fn after(now_us: u64, tick_us: u64) -> Self {
        Self { due_us: now_us + tick_us, latest_us: now_us + tick_us + tick_us / 8 }
    }

    /// Moves the tick to this time, unless it comes earlier.
    pub(super) fn by(&mut self, at_us: u64) {
        self.due_us = self.due_us.min(at_us);
        self.latest_us = self.latest_us.min(at_us);
    }
}

impl<T: Task> Seat<T> {
    pub(super) fn new(
        task: T,
        inbox: Receiver<T::Message>,
        wake: Arc<Wake>,
        on_panic: OnPanic,
        ends: Option<Sender<Infallible>>,
    ) -> Box<Self> {
        const { assert!(T::SCRATCH_BYTES <= scratch::BYTES, "the loop's buffer suffices for the task") };
        Box::new(Self {
            task,
            inbox,
            has_mail: true,
            had_mail: false,
            nudged: false,
            wake,
            backlog: Backlog::default(),
            turns: Vec::new(),
            next_tick: NextTick::default(),
            due_us: NEVER,
            media_us: 0,
            panic: None,
            is_collecting: false,
            on_panic,
            _ends: ends,
        })
    }

    /// The time of the task's next round if it is not called; a time in the past means at once.
    fn settle(&mut self) -> u64 {
        let collects_until = self.task.collects_until();
        let is_collecting = collects_until.is_some();
        let has_more = is_collecting != self.is_collecting && self.wake.set_collecting(is_collecting);
        self.is_collecting = is_collecting;
        if has_more || !self.backlog.is_empty() || self.has_mail {
            return 0;
        }
        let tick_us = if self.task.wants_ticks() { self.next_tick.latest_us } else { NEVER };
        // A time that a caller keeps needs no timeout here. Should the caller not come, the next tick finds that it is over.
        let is_kept = |at_us: u64| self.wake.kept_us().is_some_and(|kept_us| kept_us <= at_us);
        let collects_until = collects_until.filter(|&at_us| !is_kept(at_us));
        [self.task.next_timeout(), collects_until].into_iter().flatten().fold(tick_us, u64::min)
    }
}

/// A seat for any type of task.
pub(super) type BoxedSeat = Box<dyn AnySeat>;

/// What the loop does with a seat, whatever the type of its task.
pub(super) trait AnySeat: Send {
    /// The number of the task.
    fn number(&self) -> usize;
    /// Runs one round of the task, and takes the connections that the poller has reported, unless the task pauses. Returns
    /// the time at which the next one is due if the task is not called; `None` if the task is over.
    fn round(&mut self, now_us: u64, ready: &mut Vec<Ready>, watch: Watch<'_>, scratch: &mut [u8]) -> Option<u64>;
    /// Does the task's work for new media, in any thread. False if its own thread is to be called.
    fn media_turn(&mut self, comes_again: bool) -> bool;
    fn end(&mut self, watch: Watch<'_>, scratch: &mut [u8]);
    fn wake(&self) -> &Arc<Wake>;
    /// Whether the task has taken a message since the last call of this.
    fn had_mail(&mut self) -> bool;
    fn take_on_panic(&mut self) -> OnPanic;
}

impl<T: Task> AnySeat for Seat<T> {
    fn number(&self) -> usize {
        self.wake.task()
    }

    fn round(&mut self, now_us: u64, ready: &mut Vec<Ready>, watch: Watch<'_>, scratch: &mut [u8]) -> Option<u64> {
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic);
        }
        if self.task.is_paused() {
            return Some(NEVER);
        }
        // The loop has read the clock before it waited for the lock.
        let now_us = now_us.max(self.media_us);
        if self.task.is_over() {
            return None;
        }
        let scratch = scratch.get_mut(..T::SCRATCH_BYTES).unwrap_or_default();
        let (backlog, next_tick) = (&mut self.backlog, &mut self.next_tick);
        let io = &mut Io { watch, backlog, next_tick, scratch, now_us };
        self.nudged |= self.wake.take_nudge();
        self.has_mail |= self.nudged;
        if self.has_mail {
            for message in self.inbox.try_iter().take(MESSAGES) {
                self.had_mail = true;
                self.task.on_message(message, io);
                if self.task.is_paused() {
                    return Some(NEVER);
                }
            }
            self.has_mail = !self.inbox.is_empty();
        }
        self.wake.look_for_data();
        self.task.begin_round(ready, io);
        io.backlog.take(&mut self.turns);
        for &slot in &self.turns {
            self.task.on_ready(Ready { slot, readable: true, closed: true, writable: false }, io);
        }
        self.turns.clear();
        for ready in ready.drain(..) {
            if !io.backlog.has(ready.slot) {
                self.task.on_ready(ready, io);
            }
        }
        let nudged = std::mem::take(&mut self.nudged);
        if nudged || now_us >= io.next_tick.due_us {
            *io.next_tick = NextTick::after(now_us, T::TICK_MS * 1000);
            self.task.on_tick(nudged, io);
        }
        self.task.end_round(&self.inbox, io);
        (!self.task.is_over()).then(|| {
            self.due_us = self.settle();
            self.due_us
        })
    }

    fn media_turn(&mut self, comes_again: bool) -> bool {
        if self.panic.is_some() || self.task.is_paused() || self.task.is_over() {
            return false;
        }
        let now_us = clock::now_us();
        self.media_us = now_us;
        self.wake.look_for_data();
        // Media brings a tick that is due also to a task which does not want it without.
        let is_done = || {
            if !self.task.on_media(now_us, comes_again) || now_us >= self.next_tick.latest_us {
                return false;
            }
            self.wake.keep(self.task.collects_until().filter(|_| comes_again && self.task.wants_ticks()));
            self.settle() >= self.due_us
        };
        let is_done = catch_unwind(AssertUnwindSafe(is_done)).unwrap_or_else(|panic| {
            self.panic = Some(panic);
            false
        });
        if !is_done {
            self.wake.keep(None);
        }
        is_done
    }

    fn end(&mut self, watch: Watch<'_>, scratch: &mut [u8]) {
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic);
        }
        let scratch = scratch.get_mut(..T::SCRATCH_BYTES).unwrap_or_default();
        let (backlog, next_tick) = (&mut self.backlog, &mut self.next_tick);
        let io = &mut Io { watch, backlog, next_tick, scratch, now_us: clock::now_us() };
        self.task.on_end(&self.inbox, io);
    }

    fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }

    fn had_mail(&mut self) -> bool {
        std::mem::take(&mut self.had_mail)
    }

    fn take_on_panic(&mut self) -> OnPanic {
        std::mem::replace(&mut self.on_panic, Box::new(|_| {}))
    }
}

/// The seat under its lock; `None` once the task has left.
pub(super) struct SharedSeat(Mutex<Option<BoxedSeat>>);

impl fmt::Debug for SharedSeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSeat")
    }
}

/// How a round has ended.
pub(super) enum Outcome {
    /// The time of the next round if the task is not called; 0 means at once. Messages may have been taken.
    Next { at_us: u64, had_mail: bool },
    /// The task wants to leave.
    Over,
    /// The task has panicked.
    Fell(Option<BoxedSeat>, Box<dyn Any + Send>),
}

impl SharedSeat {
    pub(super) fn new(seat: BoxedSeat) -> Arc<Self> {
        let wake = Arc::clone(seat.wake());
        let shared = Arc::new(Self(Mutex::new(Some(seat))));
        let weak: Weak<Self> = Arc::downgrade(&shared);
        wake.seat_at(weak);
        shared
    }

    /// [`AnySeat::round`], after which no turn follows if the task has panicked.
    pub(super) fn round(&self, now_us: u64, ready: &mut Vec<Ready>, watch: Watch<'_>, scratch: &mut [u8]) -> Outcome {
        let mut place = locked(&self.0);
        let Some(seat) = &mut *place else { return Outcome::Over };
        match catch_unwind(AssertUnwindSafe(|| seat.round(now_us, ready, watch, scratch))) {
            Ok(Some(at_us)) => Outcome::Next { at_us, had_mail: seat.had_mail() },
            Ok(None) => Outcome::Over,
            Err(panic) => Outcome::Fell(place.take(), panic),
        }
    }

    /// Ends a task that leaves in order, and returns its seat, with the panic if it has panicked.
    pub(super) fn end(&self, watch: Watch<'_>, scratch: &mut [u8]) -> Option<(BoxedSeat, Option<Box<dyn Any + Send>>)> {
        let mut place = locked(&self.0);
        let seat = place.as_mut()?;
        let ended = catch_unwind(AssertUnwindSafe(|| seat.end(watch, scratch)));
        place.take().map(|seat| (seat, ended.err()))
    }
}

impl MediaTurn for SharedSeat {
    fn media_turn(&self, comes_again: bool) -> bool {
        match self.0.try_lock() {
            Ok(mut place) => place.as_mut().is_some_and(|seat| seat.media_turn(comes_again)),
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => false,
        }
    }
}
