//! The event loop of a thread, and [`Task`], the trait of what a loop drives: a group of connections, for example one
//! stream's publishers or consumers.
//!
//! The loop owns the poller, every task's inbox, backlog and tick, and in a round a buffer into which its tasks read
//! ([`scratch`]). A task owns its connections and handles their bytes; it never waits and knows nothing of its thread.
//! A loop drives any number of tasks: in a round each task that has something to do gets one bounded turn. A task that
//! panics ends without harm to the others, and a task that is over leaves the loop. Tasks can be added while the loop
//! runs ([`LoopHandle`]).
//!
//! A task gets a turn when the poller reports one of its connections, when another task or thread calls it ([`Wake`]),
//! when its deadline has come, or when it left work over from its last turn. The loop does not visit other tasks,
//! however many there are. A task that another one calls in a round gets its turn in the same round, so passing work
//! between tasks of a loop needs no system call.
//!
//! While the loop's thread sleeps, a thread that brings media for a task may have the task take it there ([`seat`]); a task
//! of the same loop may always.
//!
//! With one task, a round costs as much as a loop written for that task: one wait, one lock and one more for each
//! connection that the poller reports, and no allocation.

mod deadlines;
mod newcomers;
mod scratch;
mod seat;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Receiver;

use self::deadlines::{Deadlines, NEVER};
use self::newcomers::Newcomers;
pub(crate) use self::newcomers::{LoopHandle, Running};
use self::scratch::{Right, Scratch};
use self::seat::{BoxedSeat, NextTick, Outcome, Seat, SharedSeat};
use crate::error::Result;
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::poll::{Poller, Ready, Wake, Watch};
use crate::net::socket::Socket;
use crate::net::stack::Stack;
use crate::sync::panic_text;

/// Most messages that one task takes in a round.
const MESSAGES: usize = 256;

/// Number of tasks for which a loop with few tasks reserves room.
const FEW: usize = 64;

/// Most tasks that get a turn in a round because their deadline has come. The ticks of many streams come at the same
/// time, and ready sockets must not wait for all of them.
const DEADLINES: usize = 16;

/// What a loop drives. In a round the loop calls, in this order: [`on_message`](Self::on_message) for each message,
/// [`begin_round`](Self::begin_round), [`on_ready`](Self::on_ready) for each connection that gets a turn,
/// [`on_tick`](Self::on_tick) if a tick is due or the task was woken, and [`end_round`](Self::end_round).
pub(crate) trait Task: Send + 'static {
    /// The type of the messages that other threads send to the task.
    type Message: Send + 'static;

    /// The time between two ticks. A tick may come an eighth of it later, with a round that the task has anyway.
    const TICK_MS: u64;

    /// Most bytes read at once: the length of [`Io::scratch`].
    const SCRATCH_BYTES: usize;

    /// Whether the task needs ticks now. A task that needs none sleeps until it is called; then it has a tick that is due.
    fn wants_ticks(&self) -> bool;

    /// The time at which the task wants a round besides its ticks without being called, monotonic us; a time in the
    /// past means at once.
    fn next_timeout(&self) -> Option<u64> {
        None
    }

    /// Until when the task collects media, monotonic us; `None` if it does not. New media need not wake it before. Then it
    /// wants a round, or a turn ([`on_media`](Self::on_media)) of whoever brings the media.
    fn collects_until(&self) -> Option<u64> {
        None
    }

    /// New media came while the task's thread sleeps or runs another task, and the caller, another thread or that task,
    /// offers to do the task's work for it: that part of a round which needs neither sockets' news nor the poller. False if
    /// the task leaves that to its own thread, or to its own round, which then is called, as it is for what is due earlier
    /// than before. Where the caller comes again, `comes_again`, this is not so for the end of
    /// [`collects_until`](Self::collects_until), at which it offers this again.
    fn on_media(&mut self, _now_us: u64, _comes_again: bool) -> bool {
        false
    }

    /// Whether the task must do nothing at all for now. What the poller reports, calls and messages wait until the task
    /// is called when this is over.
    fn is_paused(&self) -> bool {
        false
    }

    /// A message came.
    fn on_message(&mut self, message: Self::Message, io: &mut Io<'_>);

    /// A round begins; the poller has reported these connections.
    fn begin_round(&mut self, _ready: &[Ready], _io: &mut Io<'_>) {}

    /// A connection gets its one turn of this round, because the poller reported it or the task called [`Io::again`],
    /// which counts as readable to the end.
    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>);

    /// [`TICK_MS`](Self::TICK_MS) have passed since the last tick, or `nudged` is true: another thread has called
    /// [`Wake::wake`], because it left an order for the task.
    fn on_tick(&mut self, nudged: bool, io: &mut Io<'_>);

    /// The last call of a round. Messages that have come meanwhile belong to the next round.
    fn end_round(&mut self, _inbox: &Receiver<Self::Message>, _io: &mut Io<'_>) {}

    /// Whether the task wants to leave the loop; the loop asks before and after each of its rounds.
    fn is_over(&self) -> bool;

    /// The task leaves and closes everything it holds, including what is left in the inbox; before that it must make
    /// sure that nothing more is sent to it.
    fn on_end(&mut self, inbox: &Receiver<Self::Message>, io: &mut Io<'_>);
}

/// The part of its loop that a task may use while it is called.
#[derive(Debug)]
pub(crate) struct Io<'a> {
    watch: Watch<'a>,
    backlog: &'a mut Backlog,
    next_tick: &'a mut NextTick,
    /// The buffer to read into. All tasks of the loop share it, so its contents are lost between calls.
    pub scratch: &'a mut [u8],
    /// The time at which the turn began, monotonic us.
    pub now_us: u64,
}

impl Io<'_> {
    /// The poller, limited to this task's connections.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.watch
    }

    /// See [`Watch::add`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn add(&self, socket: &mut Socket, slot: usize) -> Result<()> {
        self.watch.add(socket, slot)
    }

    /// See [`Watch::remove`].
    pub(crate) fn remove(&self, socket: &mut Socket) {
        self.watch.remove(socket);
    }

    /// Gives this slot a turn in the next round, or in this round if the turns have not begun. It is needed because the
    /// poller does not report again what a turn leaves unread.
    pub(crate) fn again(&mut self, slot: usize) {
        self.backlog.push(slot);
    }

    /// Moves the next tick to this time, monotonic us, unless one is due earlier.
    pub(crate) fn tick_by(&mut self, at_us: u64) {
        self.next_tick.by(at_us);
    }
}

/// Reports, with a text, that a task has panicked or that there was no memory to add it. The loop's thread calls it
/// before it drops what the task holds.
pub(crate) type OnPanic = Box<dyn FnOnce(&str) + Send>;

/// One thread's loop.
pub(crate) struct EventLoop {
    poller: Poller,
    seats: Seats,
    deadlines: Deadlines,
    /// Tasks that get a turn in the next round by their own wish, after the poller has been asked.
    again: Vec<usize>,
    /// The tasks that get a turn now. The list is kept between rounds, so that no round allocates.
    due: Vec<usize>,
    /// The tasks that one of these has called; also kept between rounds.
    called: Vec<usize>,
    /// New tasks from other threads; `None` as long as there is no handle, and once there is none any more.
    newcomers: Option<Newcomers>,
    /// The stack of the thread that runs the loop.
    stack: Option<Stack>,
    right_to_scratch: Right,
    /// A task has taken messages since the thread last gave pages of its stack back.
    had_mail: bool,
    /// Read after each wait and each turn.
    now_us: u64,
}

/// The seats of a loop by the numbers of their tasks, with the marks of those that get a turn.
#[derive(Default)]
struct Seats {
    places: Vec<Option<Place>>,
    taken: usize,
}

struct Place {
    seat: Arc<SharedSeat>,
    /// The task is in a list of those that get a turn.
    is_due: bool,
    /// The connections that the poller has reported since the task's last round.
    ready: Vec<Ready>,
    /// The last round has left some of them, because the task pauses.
    has_left: bool,
}

impl Place {
    /// Notes, before the next round, a connection that the poller reported.
    fn tell(&mut self, ready: Ready) {
        // A pause may be long, and a connection is reported again whenever more of it comes.
        let known = self.has_left.then(|| self.ready.iter_mut().find(|known| known.slot == ready.slot)).flatten();
        match known {
            Some(known) => known.merge(ready),
            None => self.ready.push(ready),
        }
    }
}

impl Seats {
    fn insert(&mut self, seat: BoxedSeat) -> usize {
        let number = seat.number();
        if number >= self.places.len() {
            self.places.resize_with(number + 1, || None);
        }
        if let Some(place) = self.places.get_mut(number) {
            *place = Some(Place { seat: SharedSeat::new(seat), is_due: false, ready: Vec::new(), has_left: false });
            self.taken += 1;
        }
        number
    }

    fn get(&mut self, number: usize) -> Option<&mut Place> {
        self.places.get_mut(number)?.as_mut()
    }

    fn remove(&mut self, number: usize) {
        if self.places.get_mut(number).and_then(Option::take).is_some() {
            self.taken -= 1;
        }
    }

    /// Adds this task to the list of those that get a turn, unless it is in one already.
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
    /// [`RRError::Limit`] if the process has no fd left, [`RRError::NoMem`] if it has no memory for a read buffer.
    pub(crate) fn new() -> Result<Self> {
        Self::with_room(FEW)
    }

    /// A loop without tasks, with room for at least this many.
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
            stack: None,
            right_to_scratch: Right::new()?,
            had_mail: false,
            now_us: clock::now_us(),
        })
    }

    /// The wake by which one task is called; each task has its own.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the loop has as many tasks as it can have.
    pub(crate) fn wake(&self) -> Result<Arc<Wake>> {
        self.poller.wake()
    }

    /// The handle to add tasks from other threads. The loop then runs until no handle and no task is left.
    ///
    /// # Errors
    /// As [`Self::wake`].
    pub(crate) fn handle(&mut self) -> Result<LoopHandle> {
        let (handle, newcomers) = newcomers::pair(self.poller.wake()?);
        self.newcomers = Some(newcomers);
        Ok(handle)
    }

    /// Adds a task, to which `wake` belongs from now on. `on_panic` is called with the panic's text if the task panics.
    pub(crate) fn add<T: Task>(&mut self, task: T, inbox: Receiver<T::Message>, wake: Arc<Wake>, on_panic: OnPanic) {
        self.take_seat(Seat::new(task, inbox, wake, on_panic, None));
    }

    /// Takes a new task in and gives it a turn at once, because calls before this moment reached no task.
    fn take_seat(&mut self, seat: BoxedSeat) {
        let number = self.seats.insert(seat);
        self.seats.note(number, &mut self.again);
    }

    /// Drives the tasks until the last one has left.
    pub(crate) fn run(mut self) {
        // Where many tasks share a stack, it has few pages for each.
        self.stack = if self.newcomers.is_none() { Stack::of_caller() } else { None };
        loop {
            self.take_in();
            if self.seats.taken == 0 && self.newcomers.is_none() {
                return;
            }
            if let Err(failure) = self.wait() {
                let thread = std::thread::current();
                log::error!("{} cannot wait: {failure}", thread.name().unwrap_or("an event loop"));
                let last = self.newcomers.take().map(|newcomers| newcomers.close()).unwrap_or_default();
                last.into_iter().for_each(|seat| self.take_seat(seat));
                return self.end_all();
            }
            self.round();
        }
    }

    /// Takes in the tasks that other threads have added.
    fn take_in(&mut self) {
        let Some((seats, are_last)) = self.newcomers.as_ref().and_then(Newcomers::take) else { return };
        if are_last {
            self.newcomers = None;
        }
        seats.into_iter().for_each(|seat| self.take_seat(seat));
    }

    fn wait(&mut self) -> Result<()> {
        if self.had_mail && self.again.is_empty() {
            // To take a connection over, tasks go twice as deep as otherwise, and threads may have few of them in their life.
            self.had_mail = false;
            self.stack.iter().for_each(Stack::give_back);
        }
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
                place.tell(ready);
                seats.note(task, due);
            }
        }
        deadlines.take(*now_us, DEADLINES, |task| seats.note(task, due));
        Ok(())
    }

    /// Gives one turn to each task that has a reason for one, and after it one to each task that it has called.
    fn round(&mut self) {
        let Self { poller, seats, due, .. } = self;
        poller.take_calls(|task| seats.note(task, due));
        let (mut scratch, mut at) = (self.right_to_scratch.take(), 0);
        while let Some(&task) = self.due.get(at) {
            self.turn(task, &mut scratch);
            self.turn_of_called(&mut scratch);
            at += 1;
        }
        self.due.clear();
    }

    /// Gives one turn to each task that was called meanwhile. They follow at once, because the data for which they were
    /// called is still in the processor's cache.
    fn turn_of_called(&mut self, scratch: &mut Scratch) {
        let Self { poller, seats, called, .. } = self;
        poller.take_calls(|task| seats.note(task, called));
        let mut at = 0;
        while let Some(&task) = self.called.get(at) {
            self.turn(task, scratch);
            at += 1;
        }
        self.called.clear();
    }

    fn turn(&mut self, task: usize, scratch: &mut Scratch) {
        let Some(place) = self.seats.get(task) else { return };
        place.is_due = false;
        let (now_us, watch) = (self.now_us, self.poller.watch(task));
        let outcome = place.seat.round(now_us, &mut place.ready, watch, scratch.bytes());
        place.has_left = !place.ready.is_empty();
        match outcome {
            Outcome::Next { at_us, had_mail } => {
                self.had_mail |= had_mail;
                match at_us {
                    0 => self.seats.note(task, &mut self.again),
                    at_us => self.deadlines.set(task, at_us),
                }
            }
            Outcome::Over => self.end(task, scratch),
            Outcome::Fell(seat, panic) => {
                self.leave(task);
                seat.into_iter().for_each(|seat| fall(seat, panic_text(panic.as_ref())));
            }
        }
        self.now_us = clock::now_us();
    }

    /// Ends a task that leaves in order.
    fn end(&mut self, task: usize, scratch: &mut Scratch) {
        let Some(place) = self.seats.get(task) else { return };
        let ended = place.seat.end(self.poller.watch(task), scratch.bytes());
        self.leave(task);
        match ended {
            Some((seat, Some(panic))) => fall(seat, panic_text(panic.as_ref())),
            ended => drop(ended),
        }
    }

    fn leave(&mut self, task: usize) {
        self.deadlines.set(task, NEVER);
        self.seats.remove(task);
    }

    fn end_all(&mut self) {
        let mut scratch = self.right_to_scratch.take();
        (0..self.seats.places.len()).for_each(|task| self.end(task, &mut scratch));
    }
}

/// Ends a task that has panicked or for which there is no memory: reports this, and then drops what the task holds,
/// which closes its sockets.
fn fall(mut seat: BoxedSeat, text: &str) {
    let on_panic = seat.take_on_panic();
    let _ = catch_unwind(AssertUnwindSafe(|| on_panic(text)));
    // Dropping the incomplete state after a panic may panic again.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(seat)));
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
