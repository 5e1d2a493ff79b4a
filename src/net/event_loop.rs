//! The event loop of a thread, and what a [`Task`] is: connections, or one stream's half of them, that a loop drives.
//!
//! The loop owns the poller, every task's inbox, backlog and tick, and the buffer that its tasks read into. A task owns
//! its connections and says what is to be done with them; it never waits and knows nothing of the thread it runs on.
//! A loop drives any number of tasks: in a round each of them that has something to do has one bounded turn, one that
//! panics ends alone, and one that is over leaves. Tasks can be added while the loop runs ([`LoopHandle`]).
//!
//! A task has a turn where the poller tells of a connection of its, where somebody calls it ([`Wake`]), where its deadline
//! has come, or where it has left something over from its last turn. Nobody else is looked at, however many tasks there
//! are. Tasks that were called by those before them in a round have their turn in the same round: what passes from one task of a
//! loop to another needs no system call.
//!
//! With one task a round makes the one wait of a loop written for that task, takes no lock and allocates nothing.

mod deadlines;

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};

use self::deadlines::{Deadlines, NEVER};
use crate::error::{Failure, RRError, Result};
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::poll::{Poller, Ready, Wake, Watch};
use crate::net::socket::Socket;
use crate::sync::panic_text;

/// Messages that one task takes in a round.
const MESSAGES: usize = 256;

/// Tasks of a thread that has its own few.
const FEW: usize = 64;

/// Tasks that have a turn in a round because their deadline has come. Ticks of many streams come together; what comes from a
/// socket meanwhile does not wait for all of them.
const DEADLINES: usize = 16;

/// Tasks that may wait to be taken in by a running loop.
const NEWCOMERS: usize = 1024;

/// Something that a loop drives. In a round the loop calls, in this order: [`on_message`](Self::on_message) for what
/// came, [`begin_round`](Self::begin_round), [`on_ready`](Self::on_ready) for each connection that has a turn,
/// [`on_tick`](Self::on_tick) where there is reason to, and [`end_round`](Self::end_round).
pub(crate) trait Task: Send + 'static {
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

    /// Whether the task is to leave the loop; asked before and after each of its rounds.
    fn is_over(&self) -> bool;

    /// The task leaves: everything it holds is closed. What is left in the inbox is the task's too; it has first to see
    /// to it that no more is sent.
    fn on_end(&mut self, inbox: &Receiver<Self::Message>, io: &mut Io<'_>);
}

/// The part of its loop that a task may use while it is called.
#[derive(Debug)]
pub(crate) struct Io<'a> {
    watch: Watch<'a>,
    backlog: &'a mut Backlog,
    next_tick_us: &'a mut u64,
    /// The buffer to read into, shared by all tasks of the loop: nothing stays in it from one call to the next.
    pub scratch: &'a mut [u8],
    /// When the turn began, monotonic us.
    pub now_us: u64,
}

impl Io<'_> {
    /// The poller, as far as this task's connections go.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.watch
    }

    /// [`Watch::add`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn add(&self, socket: &mut Socket, slot: usize) -> Result<()> {
        self.watch.add(socket, slot)
    }

    /// [`Watch::remove`].
    pub(crate) fn remove(&self, socket: &mut Socket) {
        self.watch.remove(socket);
    }

    /// This slot has a turn in the next round, or still in this one where the call comes before the turns. The poller
    /// tells only once of what a turn leaves unread.
    pub(crate) fn again(&mut self, slot: usize) {
        self.backlog.push(slot);
    }

    /// The next tick comes at this time, monotonic us, if none is due before.
    pub(crate) fn tick_by(&mut self, at_us: u64) {
        *self.next_tick_us = at_us.min(*self.next_tick_us);
    }
}

/// Reports that a task has panicked, or that there was no memory to take it in, with what there is to say of it; called
/// in the loop's thread before what the task holds is dropped.
pub(crate) type OnPanic = Box<dyn FnOnce(&str) + Send>;

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
    /// What the wake was told last.
    is_collecting: bool,
    on_panic: OnPanic,
    /// Dropped behind the task.
    _ends: Option<Sender<Infallible>>,
}

impl<T: Task> Seat<T> {
    fn new(
        task: T,
        inbox: Receiver<T::Message>,
        wake: Arc<Wake>,
        on_panic: OnPanic,
        ends: Option<Sender<Infallible>>,
    ) -> Box<Self> {
        Box::new(Self {
            task,
            inbox,
            wake,
            backlog: Backlog::default(),
            ready: Vec::new(),
            turns: Vec::new(),
            next_tick_us: 0,
            is_collecting: false,
            on_panic,
            _ends: ends,
        })
    }

    /// When the task is to have its next round without being called; what is past means at once.
    fn settle(&mut self) -> u64 {
        let is_collecting = self.task.is_collecting();
        let has_more = is_collecting != self.is_collecting && self.wake.set_collecting(is_collecting);
        self.is_collecting = is_collecting;
        if has_more || !self.backlog.is_empty() || !self.inbox.is_empty() {
            return 0;
        }
        let tick_us = if self.task.wants_ticks() { self.next_tick_us } else { NEVER };
        self.task.next_timeout().map_or(tick_us, |us| us.min(tick_us))
    }
}

/// A seat of any kind of task, as the loop holds it.
type BoxedSeat = Box<dyn AnySeat>;

/// The loop's next step with a seat.
trait AnySeat: Send {
    /// The number of the task.
    fn number(&self) -> usize;
    /// The poller tells of this before the next round.
    fn tell(&mut self, ready: Ready);
    /// One round of the task. When the next is due without a reason from outside; `None` where the task is over.
    fn round(&mut self, now_us: u64, watch: Watch<'_>, scratch: &mut [u8]) -> Option<u64>;
    fn end(&mut self, watch: Watch<'_>, scratch: &mut [u8]);
    fn scratch_bytes(&self) -> usize;
    fn take_on_panic(&mut self) -> OnPanic;
}

impl<T: Task> AnySeat for Seat<T> {
    fn number(&self) -> usize {
        self.wake.task()
    }

    fn tell(&mut self, ready: Ready) {
        self.ready.push(ready);
    }

    fn round(&mut self, now_us: u64, watch: Watch<'_>, scratch: &mut [u8]) -> Option<u64> {
        if self.task.is_over() {
            return None;
        }
        let scratch = scratch.get_mut(..T::SCRATCH_BYTES).unwrap_or_default();
        let (backlog, next_tick_us) = (&mut self.backlog, &mut self.next_tick_us);
        let io = &mut Io { watch, backlog, next_tick_us, scratch, now_us };
        if !self.inbox.is_empty() {
            for message in self.inbox.try_iter().take(MESSAGES) {
                self.task.on_message(message, io);
            }
        }
        self.task.begin_round(&self.ready, io);
        io.backlog.take(&mut self.turns);
        for &slot in &self.turns {
            self.task.on_ready(Ready { slot, readable: true, closed: true, writable: false }, io);
        }
        self.turns.clear();
        for &ready in &self.ready {
            if !io.backlog.has(ready.slot) {
                self.task.on_ready(ready, io);
            }
        }
        self.ready.clear();
        let nudged = self.wake.take_nudge();
        if nudged || now_us >= *io.next_tick_us {
            *io.next_tick_us = now_us + T::TICK_MS * 1000;
            self.task.on_tick(nudged, io);
        }
        self.task.end_round(&self.inbox, io);
        (!self.task.is_over()).then(|| self.settle())
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

/// A task that was added to a loop that runs, until it has left and all that it held is dropped.
#[derive(Debug)]
pub(crate) struct Running(Receiver<Infallible>);

impl Running {
    /// Waits for that.
    pub(crate) fn wait(self) {
        // Nothing is ever sent: the other end is dropped with the task.
        let _ = self.0.recv();
    }
}

/// The way of other threads to a loop that runs: a stream comes to a loop that many share, and leaves it, while the loop
/// drives others.
pub(crate) struct LoopHandle {
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
    /// The means to call one task that is going to be added.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the loop has as many tasks as it can have.
    pub(crate) fn wake(&self) -> Result<Arc<Wake>> {
        self.wake.sibling()
    }

    /// [`EventLoop::add`], from any thread.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the loop has ended, or takes nobody in just now.
    pub(crate) fn add<T: Task>(
        &self,
        task: T,
        inbox: Receiver<T::Message>,
        wake: Arc<Wake>,
        on_panic: OnPanic,
    ) -> Result<Running> {
        let (ends, running) = bounded(0);
        let seat = Seat::new(task, inbox, wake, on_panic, Some(ends));
        let sent = self.newcomers.as_ref().map(|newcomers| newcomers.try_send(seat));
        if !matches!(sent, Some(Ok(()))) {
            return Err(Failure::ours(RRError::Limit, "the event loop has ended or is overrun"));
        }
        self.wake.wake();
        Ok(Running(running))
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
pub(crate) struct EventLoop {
    poller: Poller,
    seats: Seats,
    deadlines: Deadlines,
    /// Tasks that have a turn without a reason from outside as soon as the poller has been asked.
    again: Vec<usize>,
    /// The tasks that have a turn now; a list that is kept, so that no round allocates.
    due: Vec<usize>,
    /// Those that one of these has called; likewise.
    called: Vec<usize>,
    /// Tasks that others add, and what tells of them; `None` as long as nobody can.
    newcomers: Option<(Receiver<BoxedSeat>, Arc<Wake>)>,
    scratch: Vec<u8>,
    /// Read after each wait and each turn.
    now_us: u64,
}

/// The seats of a loop by the numbers of their tasks, and which of them are to have a turn.
#[derive(Default)]
struct Seats {
    places: Vec<Option<Place>>,
    taken: usize,
}

struct Place {
    seat: BoxedSeat,
    /// It is in a list of those that have a turn.
    is_due: bool,
}

impl Seats {
    fn insert(&mut self, seat: BoxedSeat) -> usize {
        let number = seat.number();
        if number >= self.places.len() {
            self.places.resize_with(number + 1, || None);
        }
        if let Some(place) = self.places.get_mut(number) {
            *place = Some(Place { seat, is_due: false });
            self.taken += 1;
        }
        number
    }

    fn get(&mut self, number: usize) -> Option<&mut Place> {
        self.places.get_mut(number)?.as_mut()
    }

    fn remove(&mut self, number: usize) -> Option<BoxedSeat> {
        let place = self.places.get_mut(number)?.take()?;
        self.taken -= 1;
        Some(place.seat)
    }

    /// This task is to have a turn: it comes into the list, unless it is in one.
    fn note(&mut self, number: usize, list: &mut Vec<usize>) {
        if let Some(place) = self.get(number).filter(|place| !place.is_due) {
            place.is_due = true;
            list.push(number);
        }
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventLoop({} tasks)", self.seats.taken)
    }
}

impl EventLoop {
    /// A loop without tasks, for a few of them.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the process has no fd left.
    pub(crate) fn new() -> Result<Self> {
        Self::with_room(FEW)
    }

    /// A loop without tasks, with room for this many at least.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn with_room(tasks: usize) -> Result<Self> {
        Ok(Self {
            poller: Poller::new(tasks)?,
            seats: Seats::default(),
            deadlines: Deadlines::default(),
            again: Vec::new(),
            due: Vec::new(),
            called: Vec::new(),
            newcomers: None,
            scratch: Vec::new(),
            now_us: clock::now_us(),
        })
    }

    /// The means to call one task; each task has its own.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the loop has as many tasks as it can have.
    pub(crate) fn wake(&self) -> Result<Arc<Wake>> {
        self.poller.wake()
    }

    /// The means to add tasks from other threads. The loop then runs until no handle and no task is left.
    ///
    /// # Errors
    /// As [`Self::wake`].
    pub(crate) fn handle(&mut self) -> Result<LoopHandle> {
        let (newcomers, receiver) = bounded(NEWCOMERS);
        let wake = self.poller.wake()?;
        self.newcomers = Some((receiver, Arc::clone(&wake)));
        Ok(LoopHandle { newcomers: Some(newcomers), wake })
    }

    /// Adds a task, which `wake` belongs to from here on. `on_panic` is called with a panic's text when the task has
    /// panicked.
    ///
    /// # Errors
    /// [`RRError::NoMem`] where there is none to read into.
    pub(crate) fn add<T: Task>(
        &mut self,
        task: T,
        inbox: Receiver<T::Message>,
        wake: Arc<Wake>,
        on_panic: OnPanic,
    ) -> Result<()> {
        self.grow_scratch(T::SCRATCH_BYTES)?;
        self.take_seat(Seat::new(task, inbox, wake, on_panic, None));
        Ok(())
    }

    /// A task comes in. Its first turn is at once: calls that came before it was there have told nobody.
    fn take_seat(&mut self, seat: BoxedSeat) {
        let number = self.seats.insert(seat);
        self.seats.note(number, &mut self.again);
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
    pub(crate) fn run(mut self) {
        loop {
            self.take_in();
            if self.seats.taken == 0 && self.newcomers.is_none() {
                return;
            }
            if let Err(failure) = self.wait() {
                let thread = std::thread::current();
                log::error!("{} cannot wait: {failure}", thread.name().unwrap_or("an event loop"));
                self.take_in();
                return self.end_all();
            }
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
                    Ok(()) => self.take_seat(seat),
                    Err(failure) => fall(seat, &failure.text),
                },
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.newcomers = None,
            }
        }
    }

    fn wait(&mut self) -> Result<()> {
        let timeout = match self.deadlines.first() {
            _ if !self.again.is_empty() => Some(Duration::ZERO),
            NEVER => None,
            // The system waits whole milliseconds, and mio rounds up.
            at_us => Some(Duration::from_micros(at_us.saturating_sub(self.now_us))),
        };
        self.poller.poll(timeout)?;
        self.now_us = clock::now_us();
        let Self { poller, seats, due, again, deadlines, now_us, .. } = self;
        std::mem::swap(due, again);
        for (task, ready) in poller.ready() {
            if let Some(place) = seats.get(task) {
                place.seat.tell(ready);
                seats.note(task, due);
            }
        }
        deadlines.take(*now_us, DEADLINES, |task| seats.note(task, due));
        Ok(())
    }

    /// One turn for each task that there is reason for, and behind it one for each that it has called.
    fn round(&mut self) {
        let Self { poller, seats, due, .. } = self;
        poller.take_calls(|task| seats.note(task, due));
        let mut at = 0;
        while let Some(&task) = self.due.get(at) {
            self.turn(task);
            self.turn_of_called();
            at += 1;
        }
        self.due.clear();
    }

    /// One turn for each task that was called meanwhile. At once: what they were called for is still in the processor's
    /// cache.
    fn turn_of_called(&mut self) {
        let Self { poller, seats, called, .. } = self;
        poller.take_calls(|task| seats.note(task, called));
        let mut at = 0;
        while let Some(&task) = self.called.get(at) {
            self.turn(task);
            at += 1;
        }
        self.called.clear();
    }

    fn turn(&mut self, task: usize) {
        let Some(place) = self.seats.get(task) else { return };
        place.is_due = false;
        let (now_us, watch, scratch) = (self.now_us, self.poller.watch(task), &mut self.scratch);
        match catch_unwind(AssertUnwindSafe(|| place.seat.round(now_us, watch, scratch))) {
            Ok(Some(0)) => self.seats.note(task, &mut self.again),
            Ok(Some(at_us)) => self.deadlines.set(task, at_us),
            Ok(None) => self.end(task),
            Err(panic) => self.fall(task, panic.as_ref()),
        }
        self.now_us = clock::now_us();
    }

    /// This task leaves in order.
    fn end(&mut self, task: usize) {
        let Some(place) = self.seats.get(task) else { return };
        let (watch, scratch) = (self.poller.watch(task), &mut self.scratch);
        match catch_unwind(AssertUnwindSafe(|| place.seat.end(watch, scratch))) {
            Ok(()) => drop(self.leave(task)),
            Err(panic) => self.fall(task, panic.as_ref()),
        }
    }

    fn fall(&mut self, task: usize, panic: &(dyn Any + Send)) {
        if let Some(seat) = self.leave(task) {
            fall(seat, panic_text(panic));
        }
    }

    fn leave(&mut self, task: usize) -> Option<BoxedSeat> {
        self.deadlines.set(task, NEVER);
        self.seats.remove(task)
    }

    fn end_all(&mut self) {
        (0..self.seats.places.len()).for_each(|task| self.end(task));
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
