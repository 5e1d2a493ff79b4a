//! The event loop of a thread, and what a [`Task`] is: connections, or one stream's half of them, that a loop drives.
//!
//! The loop owns the poller, every task's inbox, backlog and tick, and the buffer that its tasks read into. A task owns
//! its connections and says what is to be done with them; it never waits and knows nothing of the thread it runs on.
//! A loop drives any number of tasks: in a round each of them that has something to do has one bounded turn, one that
//! panics ends alone, and one that is over leaves. Tasks can be added while the loop runs ([`LoopHandle`]).
//!
//! With one task a round costs what a loop written for that task would cost: one wait, no lock, no allocation.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use slab::Slab;

use crate::error::{Failure, RRError, Result};
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::poll::{Poller, Ready, Wake, Watch};
use crate::net::socket::Socket;
use crate::sync::panic_text;

/// Messages that one task takes in a round.
const MESSAGES: usize = 256;

/// Tasks that may wait to be taken in by a running loop.
const NEWCOMERS: usize = 1024;

/// The deadline of a task that waits to be told.
const NEVER: u64 = u64::MAX;

/// Something that a loop drives. In a round the loop calls, in this order: [`on_message`](Self::on_message) for what
/// came, [`begin_round`](Self::begin_round), [`on_ready`](Self::on_ready) for each connection that has a turn,
/// [`on_tick`](Self::on_tick) where there is reason to, and [`end_round`](Self::end_round).
pub trait Task: Send + 'static {
    /// Deliveries from other threads to the task.
    type Message: Send + 'static;

    /// The time between two ticks.
    const TICK_MS: u64;

    /// How much is read at once: the length of [`Io::scratch`].
    const SCRATCH_BYTES: usize;

    /// Whether there is anything for a tick to look after. A task without sleeps until it is told.
    fn wants_ticks(&self) -> bool;

    /// When the task wants a round besides its ticks without being told, monotonic us; what is past means at once.
    fn next_timeout(&self) -> Option<u64> {
        None
    }

    /// Whether something waits that neither a message nor a nudge tells of: media in a log. The loop asks when those
    /// who bring it know already that they have to wake the loop.
    fn has_work(&self) -> bool {
        false
    }

    /// Whether new media is no reason to wake the task, because it gathers some until its next timeout.
    fn is_collecting(&self) -> bool {
        false
    }

    /// A message came.
    fn on_message(&mut self, message: Self::Message, io: &mut Io<'_>);

    /// A round begins, and the poller tells of these.
    fn begin_round(&mut self, _ready: &[Ready], _io: &mut Io<'_>) {}

    /// A connection has its one turn of this round: the poller told of it, or the task did with [`Io::again`], which
    /// counts as readable to the end.
    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>);

    /// [`TICK_MS`](Self::TICK_MS) have passed since the last tick, or `nudged`: somebody has called [`Wake::wake`], as
    /// an order waits somewhere.
    fn on_tick(&mut self, nudged: bool, io: &mut Io<'_>);

    /// The last call of a round. What has come to the inbox meanwhile is of the next one.
    fn end_round(&mut self, _inbox: &Receiver<Self::Message>, _io: &mut Io<'_>) {}

    /// Whether the task is to leave the loop; asked before and after each round.
    fn is_over(&self) -> bool;

    /// The task leaves: everything it holds is closed. What is left in the inbox is the task's too; it has first to see
    /// to it that no more is sent.
    fn on_end(&mut self, inbox: &Receiver<Self::Message>, io: &mut Io<'_>);
}

/// The part of its loop that a task may use while it is called.
#[derive(Debug)]
pub struct Io<'a> {
    watch: Watch<'a>,
    backlog: &'a mut Backlog,
    next_tick_us: &'a mut u64,
    /// The buffer to read into, shared by all tasks of the loop: nothing stays in it from one call to the next.
    pub scratch: &'a mut [u8],
    /// When the round began, monotonic us.
    pub now_us: u64,
}

impl Io<'_> {
    /// The poller, as far as this task's connections go.
    pub fn watch(&self) -> Watch<'_> {
        self.watch
    }

    /// [`Watch::add`].
    ///
    /// # Errors
    /// As there.
    pub fn add(&self, socket: &mut Socket, slot: usize) -> Result<()> {
        self.watch.add(socket, slot)
    }

    /// [`Watch::remove`].
    pub fn remove(&self, socket: &mut Socket) {
        self.watch.remove(socket);
    }

    /// This slot has a turn in the next round, or still in this one where the call comes before the turns. The poller
    /// tells only once of what a turn leaves unread.
    pub fn again(&mut self, slot: usize) {
        self.backlog.push(slot);
    }

    /// The next tick comes at this time, monotonic us, if none is due before.
    pub fn tick_by(&mut self, at_us: u64) {
        *self.next_tick_us = at_us.min(*self.next_tick_us);
    }
}

/// Reports that a task has panicked, or that there was no memory to take it in, with what there is to say of it; called
/// in the loop's thread before what the task holds is dropped.
pub type OnPanic = Box<dyn FnOnce(&str) + Send>;

/// A task with what the loop keeps for it.
struct Seat<T: Task> {
    task: T,
    inbox: Receiver<T::Message>,
    wake: Arc<Wake>,
    backlog: Backlog,
    /// Of this round: what the poller told, and who has a turn without being told.
    ready: Vec<Ready>,
    turns: Vec<usize>,
    next_tick_us: u64,
    /// When the task is to have a round without being told; worked out before each wait.
    deadline_us: u64,
    on_panic: OnPanic,
}

impl<T: Task> Seat<T> {
    fn new(task: T, inbox: Receiver<T::Message>, wake: Arc<Wake>, on_panic: OnPanic) -> Self {
        let (backlog, ready, turns) = (Backlog::default(), Vec::new(), Vec::new());
        Self { task, inbox, wake, backlog, ready, turns, next_tick_us: 0, deadline_us: 0, on_panic }
    }
}

/// A seat of any kind of task, as the loop holds it.
type BoxedSeat = Box<dyn AnySeat>;

/// The loop's next step with a seat.
trait AnySeat: Send {
    fn is_over(&self) -> bool;
    fn prepare_wait(&mut self) -> u64;
    fn has_work(&self) -> bool;
    fn tell(&mut self, ready: Ready);
    fn is_due(&self, now_us: u64) -> bool;
    fn round(&mut self, now_us: u64, watch: Watch<'_>, scratch: &mut [u8]);
    fn end(&mut self, watch: Watch<'_>, scratch: &mut [u8]);
    fn scratch_bytes(&self) -> usize;
    fn take_on_panic(&mut self) -> OnPanic;
}

impl<T: Task> AnySeat for Seat<T> {
    fn is_over(&self) -> bool {
        self.task.is_over()
    }

    /// Works out the deadline, and tells those who bring media whether to wake the task for it.
    fn prepare_wait(&mut self) -> u64 {
        self.wake.set_collecting(self.task.is_collecting());
        let tick_us = if self.task.wants_ticks() { self.next_tick_us } else { NEVER };
        self.deadline_us = match self.task.next_timeout() {
            _ if !self.backlog.is_empty() => 0,
            Some(us) => us.min(tick_us),
            None => tick_us,
        };
        self.deadline_us
    }

    fn has_work(&self) -> bool {
        self.wake.is_nudged() || !self.inbox.is_empty() || self.task.has_work()
    }

    fn tell(&mut self, ready: Ready) {
        self.ready.push(ready);
    }

    fn is_due(&self, now_us: u64) -> bool {
        !self.ready.is_empty() || now_us >= self.deadline_us || self.has_work()
    }

    fn round(&mut self, now_us: u64, watch: Watch<'_>, scratch: &mut [u8]) {
        let scratch = scratch.get_mut(..T::SCRATCH_BYTES).unwrap_or_default();
        let (backlog, next_tick_us) = (&mut self.backlog, &mut self.next_tick_us);
        let io = &mut Io { watch, backlog, next_tick_us, scratch, now_us };
        for message in self.inbox.try_iter().take(MESSAGES) {
            self.task.on_message(message, io);
        }
        self.task.begin_round(&self.ready, io);
        io.backlog.take(&mut self.turns);
        for slot in self.turns.drain(..) {
            self.task.on_ready(Ready { slot, readable: true, closed: true, writable: false }, io);
        }
        for ready in self.ready.drain(..) {
            if !io.backlog.has(ready.slot) {
                self.task.on_ready(ready, io);
            }
        }
        let nudged = self.wake.take_nudge();
        if nudged || now_us >= *io.next_tick_us {
            *io.next_tick_us = now_us + T::TICK_MS * 1000;
            self.task.on_tick(nudged, io);
        }
        self.task.end_round(&self.inbox, io);
    }

    fn end(&mut self, watch: Watch<'_>, scratch: &mut [u8]) {
        let scratch = scratch.get_mut(..T::SCRATCH_BYTES).unwrap_or_default();
        let (backlog, next_tick_us) = (&mut self.backlog, &mut self.next_tick_us);
        let io = &mut Io { watch, backlog, next_tick_us, scratch, now_us: clock::now_us() };
        self.task.on_end(&self.inbox, io);
    }

    fn scratch_bytes(&self) -> usize {
        T::SCRATCH_BYTES
    }

    fn take_on_panic(&mut self) -> OnPanic {
        std::mem::replace(&mut self.on_panic, Box::new(|_| {}))
    }
}

/// The way of other threads to a loop that runs.
///
/// Each thread of today knows its task before it starts. Loops that many streams share need this: a stream comes to such a
/// loop, and leaves it, while the loop drives others.
pub struct LoopHandle {
    /// `None` only while it is dropped.
    newcomers: Option<Sender<BoxedSeat>>,
    wake: Arc<Wake>,
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoopHandle")
    }
}

impl LoopHandle {
    /// The means to wake one task that is going to be added.
    pub fn wake(&self) -> Arc<Wake> {
        self.wake.sibling()
    }

    /// [`EventLoop::add`], from any thread.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the loop has ended, or takes nobody in just now.
    pub fn add<T: Task>(&self, task: T, inbox: Receiver<T::Message>, wake: Arc<Wake>, on_panic: OnPanic) -> Result<()> {
        let seat = Box::new(Seat::new(task, inbox, wake, on_panic));
        let sent = self.newcomers.as_ref().map(|newcomers| newcomers.try_send(seat));
        if !matches!(sent, Some(Ok(()))) {
            return Err(Failure::ours(RRError::Limit, "the event loop has ended or is overrun"));
        }
        self.wake.wake();
        Ok(())
    }
}

impl Drop for LoopHandle {
    fn drop(&mut self) {
        // Before the wake: the loop is to see that no task comes any more.
        self.newcomers = None;
        self.wake.wake();
    }
}

/// One thread's loop.
pub struct EventLoop {
    poller: Poller,
    seats: Slab<BoxedSeat>,
    /// Tasks that others add, and what tells of them; `None` as long as nobody can.
    newcomers: Option<(Receiver<BoxedSeat>, Arc<Wake>)>,
    scratch: Vec<u8>,
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventLoop({} tasks)", self.seats.len())
    }
}

impl EventLoop {
    /// A loop without tasks.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the process has no fd left.
    pub fn new() -> Result<Self> {
        Ok(Self { poller: Poller::new()?, seats: Slab::new(), newcomers: None, scratch: Vec::new() })
    }

    /// The means to wake one task; each task has its own.
    pub fn wake(&self) -> Arc<Wake> {
        self.poller.wake()
    }

    /// The means to add tasks from other threads. The loop then runs until no handle and no task is left.
    pub fn handle(&mut self) -> LoopHandle {
        let (newcomers, receiver) = bounded(NEWCOMERS);
        let wake = self.poller.wake();
        self.newcomers = Some((receiver, Arc::clone(&wake)));
        LoopHandle { newcomers: Some(newcomers), wake }
    }

    /// Adds a task, which `wake` belongs to from here on. `on_panic` is called with a panic's text when the task has
    /// panicked.
    ///
    /// # Errors
    /// [`RRError::NoMem`] where there is none to read into.
    pub fn add<T: Task>(
        &mut self,
        task: T,
        inbox: Receiver<T::Message>,
        wake: Arc<Wake>,
        on_panic: OnPanic,
    ) -> Result<()> {
        self.grow_scratch(T::SCRATCH_BYTES)?;
        self.seats.insert(Box::new(Seat::new(task, inbox, wake, on_panic)));
        Ok(())
    }

    /// Makes the buffer to read into at least this long.
    fn grow_scratch(&mut self, bytes: usize) -> Result<()> {
        let more = bytes.saturating_sub(self.scratch.len());
        let reserved = self.scratch.try_reserve_exact(more);
        reserved.map_err(|_| Failure::ours(RRError::NoMem, "no memory to read into"))?;
        self.scratch.resize(self.scratch.len() + more, 0);
        Ok(())
    }

    /// Drives the tasks until the last of them has left.
    pub fn run(mut self) {
        loop {
            self.take_in();
            self.dismiss();
            if self.seats.is_empty() && self.newcomers.is_none() {
                return;
            }
            if let Err(failure) = self.wait() {
                let thread = std::thread::current();
                log::error!("{} cannot wait: {failure}", thread.name().unwrap_or("an event loop"));
                self.take_in();
                return self.end_all();
            }
            self.dismiss();
            self.round();
        }
    }

    /// Takes in what others have added.
    fn take_in(&mut self) {
        while let Some((newcomers, wake)) = &self.newcomers {
            // Before the look: whoever adds one after it nudges anew.
            wake.take_nudge();
            match newcomers.try_recv() {
                Ok(seat) => match self.grow_scratch(seat.scratch_bytes()) {
                    Ok(()) => {
                        self.seats.insert(seat);
                    }
                    Err(failure) => fall(seat, &failure.text),
                },
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.newcomers = None,
            }
        }
    }

    /// Tasks that are over leave.
    fn dismiss(&mut self) {
        while let Some((id, _)) = self.seats.iter().find(|(_, seat)| seat.is_over()) {
            self.end(id);
        }
    }

    fn wait(&mut self) -> Result<()> {
        let deadline_us = self.seats.iter_mut().map(|(_, seat)| seat.prepare_wait()).min().unwrap_or(NEVER);
        let timeout = match deadline_us {
            NEVER => None,
            0 => Some(Duration::ZERO),
            // The system waits whole milliseconds, and mio rounds up.
            at_us => Some(Duration::from_micros(at_us.saturating_sub(clock::now_us()))),
        };
        let Self { poller, seats, newcomers, .. } = self;
        poller.poll(timeout, || {
            newcomers.as_ref().is_some_and(|(_, wake)| wake.is_nudged())
                || seats.iter().any(|(_, seat)| seat.has_work())
        })?;
        for (task, ready) in poller.ready() {
            if let Some(seat) = seats.get_mut(task) {
                seat.tell(ready);
            }
        }
        Ok(())
    }

    /// One turn for each task that has something to do.
    fn round(&mut self) {
        let now_us = clock::now_us();
        let Self { poller, seats, scratch, .. } = self;
        let mut fallen = Vec::new();
        for (id, seat) in seats.iter_mut().filter(|(_, seat)| seat.is_due(now_us)) {
            let turn = AssertUnwindSafe(|| seat.round(now_us, poller.watch(id), scratch));
            if let Err(panic) = catch_unwind(turn) {
                fallen.push((id, panic));
            }
        }
        for (id, panic) in fallen {
            fall(self.seats.remove(id), panic_text(panic.as_ref()));
        }
    }

    /// This task leaves in order.
    fn end(&mut self, id: usize) {
        let Some(seat) = self.seats.get_mut(id) else { return };
        let (watch, scratch) = (self.poller.watch(id), &mut self.scratch);
        match catch_unwind(AssertUnwindSafe(|| seat.end(watch, scratch))) {
            Ok(()) => drop(self.seats.remove(id)),
            Err(panic) => fall(self.seats.remove(id), panic_text(panic.as_ref())),
        }
    }

    fn end_all(&mut self) {
        let ids: Vec<usize> = self.seats.iter().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.end(id));
    }
}

/// A task has panicked, or finds no memory. Its report is made, and what it holds is dropped, which closes its sockets.
fn fall(mut seat: BoxedSeat, text: &str) {
    let on_panic = seat.take_on_panic();
    let _ = catch_unwind(AssertUnwindSafe(|| on_panic(text)));
    // Dropping the half-done state that a panic has left may panic once more.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(seat)));
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
